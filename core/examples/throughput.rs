//! How fast one core writes and takes over rows, in memory: `cargo run --release --example throughput -- 100000`.
//!
//! Every row is a batch of its own, the most expensive way. The machine's noise is in the figures: compare
//! runs on one machine, or count instructions with `valgrind --tool=callgrind`.
#![allow(clippy::disallowed_types, reason = "this program measures; the core never reads a clock")]

use std::time::Instant;

use driftless::store::MemStore;
use driftless::*;

struct Node {
    core: Core,
    store: MemStore,
    frames: Vec<bytes::Bytes>,
    replies: Vec<Outcome>,
}

impl Node {
    fn new(secret: u8) -> Self {
        let identity = Identity { secret: SecretKey([secret; 32]), continuity: Continuity::Unknown };
        let config = Config::new(Name::new("bench").expect("a name"));
        let (mut store, mut out) = (MemStore::new(), Outbox::new());
        let core = Core::boot(&config, &identity, [secret; 32], &store, &mut out).expect("a new store");
        let mut seq = None;
        while let Some(action) = out.pop() {
            if let Action::Commit(commit) = action {
                store.apply(&commit);
                seq = Some(commit.seq);
            }
        }
        let mut node = Self { core, store, frames: Vec::new(), replies: Vec::new() };
        node.handle(Event::Durable { seq: seq.expect("the first commit") });
        node
    }

    fn handle(&mut self, event: Event) {
        let now = Now { mono: Mono(1), wall: Wall(1_700_000_000_000) };
        let mut out = Outbox::new();
        self.core.handle(now, event, &self.store, &mut out).expect("memory does not fail");
        while let Some(action) = out.pop() {
            match action {
                Action::Commit(commit) => {
                    self.store.apply(&commit);
                }
                Action::Send { frame, .. } => self.frames.push(frame),
                Action::Reply { result, .. } => self.replies.push(result.expect("no refusal")),
                _ => {}
            }
        }
    }

    fn durable(&mut self) {
        let seq = self.core.last_commit();
        self.handle(Event::Durable { seq });
    }

    fn command(&mut self, command: Command) -> Outcome {
        self.handle(Event::Command { request: RequestId(1), command });
        self.durable();
        self.replies.pop().expect("a reply")
    }
}

fn main() {
    let rows: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    let (database, name) = (Name::new("db").expect("a name"), Name::new("rows").expect("a name"));
    let create = Command::CreateSyncgroup {
        database: database.clone(),
        name: name.clone(),
        collections: vec![name.clone()],
    };
    let Outcome::Created(syncgroup) = a.command(create) else { return };

    let start = Instant::now();
    for n in 0..rows {
        // Keys in no order, as people's are.
        let key = n.wrapping_mul(2_654_435_761).to_be_bytes().to_vec();
        let row = RowRef { syncgroup, collection: name.clone(), key: key.into() };
        let batch = LocalWrite::new().put(row, vec![7u8; 100]);
        a.handle(Event::Command { request: RequestId(1), command: Command::Write(batch) });
        if n % 1_000 == 999 {
            a.durable();
            a.replies.clear();
        }
    }
    a.durable();
    let written = start.elapsed();

    let invite = Command::Invite {
        syncgroup,
        rights: Rights::Read,
        valid_for: Millis(1_000_000),
        reusable: false,
        addresses: vec![],
    };
    a.replies.clear();
    let Outcome::Invited(invitation) = a.command(invite) else { return };
    b.command(Command::Join { database, invitation });
    let start = Instant::now();
    let (key_a, key_b) = (a.core.public_key(), b.core.public_key());
    for (node, peer, initiated) in [(&mut a, key_b, true), (&mut b, key_a, false)] {
        node.handle(Event::LinkUp { link: LinkId(1), peer, initiated, address: None });
        node.handle(Event::Writable { link: LinkId(1), credit: 1 << 50 });
    }
    let (mut frames, mut bytes) = (0u64, 0u64);
    loop {
        for node in [&mut a, &mut b] {
            node.durable();
            node.handle(Event::Tick);
        }
        let (from_a, from_b) = (std::mem::take(&mut a.frames), std::mem::take(&mut b.frames));
        if from_a.is_empty() && from_b.is_empty() {
            break;
        }
        frames += (from_a.len() + from_b.len()) as u64;
        bytes += from_a.iter().chain(&from_b).map(|frame| frame.len() as u64).sum::<u64>();
        from_a.into_iter().for_each(|frame| b.handle(Event::Received { link: LinkId(1), frame }));
        from_b.into_iter().for_each(|frame| a.handle(Event::Received { link: LinkId(1), frame }));
    }
    let taken = start.elapsed();
    assert_eq!(a.core.visible_digest(&syncgroup), b.core.visible_digest(&syncgroup), "both show the same");
    let rate = |time: std::time::Duration| f64::from(rows) / time.as_secs_f64();
    println!("written   {rows} rows, each a batch: {written:.2?}, {:.0} rows/s", rate(written));
    println!(
        "synced    {frames} frames, {:.1} MB: {taken:.2?}, {:.0} rows/s",
        bytes as f64 / 1e6,
        rate(taken)
    );
}
