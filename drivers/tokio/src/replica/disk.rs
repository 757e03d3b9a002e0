//! Making commits durable, on a thread of its own: while it works, the replica goes on, and all commits that
//! come meanwhile share the next turn (group commit).

use std::io;
use std::sync::mpsc as blocking;
use std::thread::{self, JoinHandle};

use driftless::store::Syncer;
use driftless::{CommitSeq, Fault};
use tokio::sync::mpsc;

/// The thread and where it stands.
pub(super) struct Disk {
    /// `None` once it is told to end.
    turns: Option<blocking::Sender<()>>,
    done: mpsc::UnboundedReceiver<Result<CommitSeq, Fault>>,
    thread: Option<JoinHandle<()>>,
    working: bool,
    /// The last commit that a turn was asked for.
    asked: CommitSeq,
}

impl Disk {
    pub(super) fn start(mut sync: Syncer) -> io::Result<Self> {
        let (turns, turn) = blocking::channel();
        let (report, done) = mpsc::unbounded_channel();
        let work = move || {
            while let Ok(()) = turn.recv() {
                if report.send(sync()).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("driftless-disk".to_owned()).spawn(work)?;
        Ok(Self {
            turns: Some(turns),
            done,
            thread: Some(thread),
            working: false,
            asked: CommitSeq::default(),
        })
    }

    /// Has everything up to `applied` made durable, unless a turn is under way: then it waits for the next.
    pub(super) fn want(&mut self, applied: CommitSeq) {
        if applied > self.asked
            && !self.working
            && let Some(turns) = &self.turns
        {
            self.asked = applied;
            self.working = turns.send(()).is_ok();
        }
    }

    /// The end of a turn: everything up to the commit returned is durable. It can be cancelled.
    pub(super) async fn done(&mut self) -> Result<CommitSeq, Fault> {
        if !self.working {
            return std::future::pending().await;
        }
        let result = self.done.recv().await;
        self.working = false;
        // Without an answer the thread has panicked, in the store's code.
        result.unwrap_or_else(|| Err(Fault::Store("its thread has ended unexpectedly".to_owned())))
    }
}

impl Drop for Disk {
    /// Lets the turn under way end, so that the store is free afterwards.
    fn drop(&mut self) {
        drop(self.turns.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported as a fault already.
            let _ = thread.join();
        }
    }
}
