//! A replica of the demo: a process of this same command, and the connection over which it is told what to do.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use driftless::Name;
use tokio::process::{Child, Command};

use super::kept;
use crate::control::{self, Found};
use crate::protocol::{Change, CollectionRef, Request, Response, StatusText, TrafficText};
use crate::session::Session;

/// How long a replica may take to start. A machine that is busy with other things makes it slow.
const START: Duration = Duration::from_secs(60);
/// How long it may take to stop in good order.
const STOP: Duration = Duration::from_secs(20);
/// How often to look whether it has started.
const LOOK: Duration = Duration::from_millis(20);

/// A replica.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) name: &'static str,
    pub(super) dir: PathBuf,
    pub(super) session: Session,
    state: PathBuf,
    child: Child,
    /// What crossed the wire in the lives of it that have ended.
    past_traffic: TrafficText,
}

impl Replica {
    /// Starts a replica with a data directory below `root`.
    pub(super) async fn start(root: &Path, name: &'static str) -> Result<Self> {
        let (dir, state) = (root.join(name), kept::state_dir(root));
        let (child, session) =
            launch(&dir, &state).await.with_context(|| format!("cannot start replica {name}"))?;
        Ok(Self { name, dir, session, state, child, past_traffic: TrafficText::default() })
    }

    /// Remembers what crossed the wire so far, because the process's own count ends with it.
    pub(super) async fn note_traffic(&mut self) -> Result<()> {
        self.past_traffic = self.traffic().await?;
        Ok(())
    }

    /// Ends the process at once, in the middle of whatever it does: SIGKILL on Unix.
    pub(super) async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill replica {}", self.name))
    }

    /// Starts it again on the same data.
    pub(super) async fn restart(&mut self) -> Result<()> {
        let started = launch(&self.dir, &self.state).await;
        (self.child, self.session) =
            started.with_context(|| format!("cannot start replica {} again", self.name))?;
        Ok(())
    }

    /// Ends it in good order: its standard input ends, and it finishes.
    pub(super) async fn stop(&mut self) {
        drop(self.child.stdin.take());
        if tokio::time::timeout(STOP, self.child.wait()).await.is_err() {
            // Whatever keeps it, it must not outlive the demo.
            let _ = self.child.kill().await;
        }
    }

    pub(super) async fn write(&mut self, of: &CollectionRef, changes: Vec<Change>) -> Result<()> {
        let request = Request::Write { of: of.clone(), changes };
        self.session.tell(request).await.with_context(|| format!("replica {} cannot write", self.name))
    }

    pub(super) async fn status(&mut self) -> Result<StatusText> {
        match self.session.one(Request::Status).await? {
            Response::Status(status) => Ok(status),
            other => bail!("replica {} answers {other:?} when asked for its status", self.name),
        }
    }

    pub(super) async fn set_online(&mut self, on: bool) -> Result<()> {
        self.session.tell(Request::SetOnline { on }).await
    }

    /// What crossed the wire in all its lives.
    pub(super) async fn traffic(&mut self) -> Result<TrafficText> {
        let now = self.status().await?.traffic;
        let past = self.past_traffic;
        Ok(TrafficText {
            sent: past.sent + now.sent,
            received: past.received + now.received,
            frames_sent: past.frames_sent + now.frames_sent,
            frames_received: past.frames_received + now.frames_received,
        })
    }

    /// A second connection, for what goes on at the same time.
    pub(super) async fn another_session(&self) -> Result<Session> {
        match control::connect(&self.dir).await? {
            Found::Server(connection) => Ok(Session::Remote(connection)),
            _ => bail!(
                "replica {} is not there any more; its log is {}",
                self.name,
                log_path(&self.dir).display()
            ),
        }
    }

    /// Makes the syncgroup that all share.
    pub(super) async fn create(&mut self, database: &Name, name: &Name, collection: &Name) -> Result<()> {
        let collections = vec![collection.clone()];
        let request = Request::CreateSyncgroup {
            database: database.clone(),
            name: name.clone(),
            collections,
            another: false,
        };
        self.session
            .tell(request)
            .await
            .with_context(|| format!("replica {} cannot make a syncgroup", self.name))
    }
}

fn log_path(dir: &Path) -> PathBuf {
    dir.with_extension("log")
}

/// Starts a process and connects to it.
async fn launch(dir: &Path, state: &Path) -> Result<(Child, Session)> {
    let program = std::env::current_exe().context("cannot find the program that is running")?;
    let log_path = log_path(dir);
    let log = File::options()
        .append(true)
        .create(true)
        .open(&log_path)
        .with_context(|| format!("cannot write {}", log_path.display()))?;
    let mut child = Command::new(program)
        .arg("serve")
        .args(["--listen", "127.0.0.1:0", "--no-discovery", "--until-stdin-ends", "--dir"])
        .arg(dir)
        // What a replica notes outside its directory must not mix with what the user's own replicas note.
        .env("XDG_STATE_HOME", state)
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a process")?;
    let started = Instant::now();
    loop {
        if let Found::Server(connection) = control::connect(dir).await? {
            return Ok((child, Session::Remote(connection)));
        }
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}, and said:\n{}", tail(&log_path));
        }
        if started.elapsed() > START {
            bail!("it is not ready after {} s, and said:\n{}", START.as_secs(), tail(&log_path));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The last lines of a log.
fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
