//! What measuring examples and tests share: replicas in memory whose stores count, and a link that takes no time.
#![allow(dead_code, reason = "who measures one thing does not look at the others")]

use std::cell::Cell;

use driftless::store::{Each, Fault, MemStore, Scan, Table, View};
use driftless::*;

/// A store in memory that counts what it is asked.
#[derive(Default)]
pub(crate) struct Store {
    tables: MemStore,
    reads: Cell<u64>,
    scans: Cell<u64>,
    writes: u64,
    bytes: u64,
}

/// What a store was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Reads of one key.
    pub(crate) reads: u64,
    /// Reads of a range.
    pub(crate) scans: u64,
    /// Keys that commits set or removed.
    pub(crate) writes: u64,
    /// Bytes of those keys, and of what they were set to.
    pub(crate) bytes: u64,
}

impl Store {
    fn apply(&mut self, commit: &store::Commit) {
        self.writes += commit.writes.len() as u64;
        let bytes =
            |write: &store::Write| write.key.len() + write.value.as_ref().map_or(0, bytes::Bytes::len);
        self.bytes += commit.writes.iter().map(bytes).sum::<usize>() as u64;
        self.tables.apply(commit);
    }

    fn counts(&self) -> Counts {
        let Self { reads, scans, writes, bytes, .. } = self;
        Counts { reads: reads.get(), scans: scans.get(), writes: *writes, bytes: *bytes }
    }
}

impl View for Store {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<bytes::Bytes>, Fault> {
        self.reads.set(self.reads.get() + 1);
        self.tables.get(table, key)
    }

    fn scan(&self, scan: &Scan<'_>, each: Each<'_>) -> Result<(), Fault> {
        self.scans.set(self.scans.get() + 1);
        self.tables.scan(scan, each)
    }
}

/// A replica in memory, and what it wants to say.
pub(crate) struct Node {
    pub(crate) core: Core,
    pub(crate) store: Store,
    /// Milliseconds since the start.
    pub(crate) now: u64,
    pub(crate) frames: Vec<bytes::Bytes>,
    pub(crate) replies: Vec<Outcome>,
}

impl Node {
    pub(crate) fn new(secret: u8) -> Self {
        Self::with(secret, &Config::new(Name::new("bench").expect("a name")))
    }

    pub(crate) fn with(secret: u8, config: &Config) -> Self {
        Self::with_key([secret; 32], config)
    }

    pub(crate) fn with_key(secret: [u8; 32], config: &Config) -> Self {
        let identity = Identity { chain: None, secret: SecretKey(secret), continuity: Continuity::Unknown };
        let (mut store, mut out) = (Store::default(), Outbox::new());
        let core = Core::boot(config, &identity, secret, &store, &mut out).expect("a new store");
        let mut seq = None;
        while let Some(action) = out.pop() {
            if let Action::Commit(commit) = action {
                store.apply(&commit);
                seq = Some(commit.seq);
            }
        }
        let mut node = Self { core, store, now: 1, frames: Vec::new(), replies: Vec::new() };
        node.handle(Event::Durable { seq: seq.expect("the first commit") });
        node
    }

    pub(crate) fn handle(&mut self, event: Event) {
        let now = Now { mono: Mono(self.now), wall: Wall(1_700_000_000_000 + self.now) };
        let mut out = Outbox::new();
        self.core.handle(now, event, &self.store, &mut out).expect("memory does not fail");
        while let Some(action) = out.pop() {
            match action {
                Action::Commit(commit) => self.store.apply(&commit),
                Action::Send { frame, .. } => self.frames.push(frame),
                Action::Reply { result, .. } => self.replies.push(result.expect("no refusal")),
                _ => {}
            }
        }
    }

    /// What the store is asked while something is done.
    pub(crate) fn counting(&mut self, work: impl FnOnce(&mut Self)) -> Counts {
        let before = self.store.counts();
        work(self);
        let after = self.store.counts();
        Counts {
            reads: after.reads - before.reads,
            scans: after.scans - before.scans,
            writes: after.writes - before.writes,
            bytes: after.bytes - before.bytes,
        }
    }

    pub(crate) fn durable(&mut self) {
        let seq = self.core.last_commit();
        self.handle(Event::Durable { seq });
    }

    pub(crate) fn command(&mut self, command: Command) -> Outcome {
        self.handle(Event::Command { request: RequestId(1), command });
        self.durable();
        self.replies.pop().expect("a reply")
    }
}

/// Links two replicas by a link of this number, and delivers until they have nothing more to say. Returns how many
/// frames that took, and their bytes.
pub(crate) fn link(a: &mut Node, b: &mut Node, link: u64) -> (u64, u64) {
    let link = LinkId(link);
    let (key_a, key_b) = (a.core.keys().clone(), b.core.keys().clone());
    for (node, peer, initiated) in [(&mut *a, key_b, true), (&mut *b, key_a, false)] {
        node.handle(Event::LinkUp { link, peer, initiated, address: None });
        node.handle(Event::Writable { link, credit: 1 << 50 });
    }
    deliver(a, b, link)
}

/// Delivers until two replicas have nothing more to say at this moment.
pub(crate) fn deliver(a: &mut Node, b: &mut Node, link: LinkId) -> (u64, u64) {
    let (mut frames, mut bytes) = (0u64, 0u64);
    loop {
        for node in [&mut *a, &mut *b] {
            node.durable();
            node.handle(Event::Tick);
        }
        let (from_a, from_b) = (std::mem::take(&mut a.frames), std::mem::take(&mut b.frames));
        if from_a.is_empty() && from_b.is_empty() {
            break;
        }
        frames += (from_a.len() + from_b.len()) as u64;
        bytes += from_a.iter().chain(&from_b).map(|frame| frame.len() as u64).sum::<u64>();
        from_a.into_iter().for_each(|frame| b.handle(Event::Received { link, frame }));
        from_b.into_iter().for_each(|frame| a.handle(Event::Received { link, frame }));
    }
    (frames, bytes)
}
