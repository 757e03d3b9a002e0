//! A replica with its store, and what it has not made durable.

use std::collections::VecDeque;

use bytes::Bytes;
use driftless::CommitSeq;
use driftless::store::{Commit, MemStore};
use driftless::{
    Action, Config, Continuity, Core, Event, Identity, LinkId, Mono, Name, Now, Outbox, Outcome, SecretKey,
    Wall,
};

use crate::dice::{Concern, Dice};
use crate::keyed::KeyedHash;

/// The wall clock at the start: the first of January 2026.
const START: u64 = 1_767_225_600_000;

/// A replica.
#[derive(Debug)]
pub(super) struct Node {
    /// `None` while its process is down.
    pub(super) core: Option<Box<Core>>,
    store: MemStore,
    /// What takes back the commits that are not durable, in order.
    undo: VecDeque<Commit>,
    /// A sync of its disk goes on.
    syncing: bool,
    /// How often it was started.
    pub(super) boot: u32,
    /// The next tick that is in the queue.
    pub(super) tick_at: u64,
}

impl Default for Node {
    fn default() -> Self {
        let (store, undo) = (MemStore::new(), VecDeque::new());
        Self { core: None, store, undo, syncing: false, boot: 0, tick_at: u64::MAX }
    }
}

impl Node {
    /// Starts its process. Returns what is to be done first.
    pub(super) fn start(&mut self, seed: u64, at: u32) -> Result<Outbox, String> {
        self.boot += 1;
        self.tick_at = u64::MAX;
        let number = u64::from(at);
        let secret = SecretKey(Dice::new(seed, Concern::Key, &[number]).bytes());
        let continuity = if self.boot == 1 { Continuity::Unknown } else { Continuity::Shown };
        let mut config = Config::new(Name::new(&format!("r{at}")).map_err(|error| error.to_string())?);
        config.signatures = &KeyedHash;
        let boot = Dice::new(seed, Concern::Boot, &[number, u64::from(self.boot)]).bytes();
        let mut out = Outbox::new();
        let core =
            Core::boot(&config, &Identity { chain: None, secret, continuity }, boot, &self.store, &mut out);
        self.core = Some(Box::new(core.map_err(|error| format!("replica {at} does not start: {error}"))?));
        Ok(out)
    }

    /// Ends its process at once. Returns whether there was one.
    pub(super) fn crash(&mut self) -> bool {
        self.boot += u32::from(self.core.is_some());
        self.tick_at = u64::MAX;
        self.syncing = false;
        while let Some(undo) = self.undo.pop_back() {
            self.store.undo(&undo);
        }
        self.core.take().is_some()
    }

    /// Gives its core an event; `None` if there is no core.
    pub(super) fn handle(&mut self, now: u64, event: Event) -> Result<Option<Outbox>, String> {
        let Some(core) = &mut self.core else { return Ok(None) };
        let mut out = Outbox::new();
        let now = Now { mono: Mono(now), wall: Wall(START + now) };
        core.handle(now, event, &self.store, &mut out).map_err(|fault| fault.to_string())?;
        Ok(Some(out))
    }

    pub(super) fn commit(&mut self, commit: &Commit) {
        self.undo.push_back(self.store.apply(commit));
    }

    /// What a sync that begins now makes durable; `None` if one goes on, or nothing is to be synced.
    pub(super) fn begin_sync(&mut self) -> Option<CommitSeq> {
        let last = self.undo.back().filter(|_| !self.syncing)?;
        self.syncing = true;
        Some(last.seq)
    }

    /// Everything up to a commit is durable.
    pub(super) fn synced(&mut self, seq: CommitSeq) {
        self.syncing = false;
        while self.undo.front().is_some_and(|undo| undo.seq <= seq) {
            self.undo.pop_front();
        }
        if self.undo.is_empty() {
            self.undo = VecDeque::new();
        }
    }
}

/// What an action asks of the world around.
pub(super) enum Performed {
    Commit(Commit),
    Send(LinkId, Bytes),
    Close(LinkId),
    Reply(Box<Outcome>),
    /// Links are not dialled here, and nobody looks at what is told to applications.
    Nothing,
    Wrong(String),
}

pub(super) fn performed(action: Action) -> Performed {
    match action {
        Action::Commit(commit) => Performed::Commit(commit),
        Action::Send { link, frame } => Performed::Send(link, frame),
        Action::Disconnect { link, .. } => Performed::Close(link),
        Action::Reply { result: Ok(outcome), .. } => Performed::Reply(Box::new(outcome)),
        Action::Reply { result: Err(refusal), .. } => Performed::Wrong(refusal.to_string()),
        Action::Notice(driftless::Notice::Diverged { .. }) => {
            Performed::Wrong("holds the same as another and shows something else".to_owned())
        }
        _ => Performed::Nothing,
    }
}
