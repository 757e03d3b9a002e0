//! How fast one core writes and takes over rows, in memory: `cargo run --release --example throughput -- 100000`.
//!
//! `throughput [WRITES [ROWS [WATCH_LOG]]]`: so many writes, of so many rows, with so many commits kept for those who
//! watch. Every write is a batch of its own, the most expensive way. The machine's noise is in the figures: compare
//! runs on one machine, or count instructions with `valgrind --tool=callgrind`, as COSTS.md shows.
#![allow(clippy::disallowed_types, reason = "this program measures; the core never reads a clock")]

#[path = "node/mod.rs"]
mod node;

use std::time::Instant;

use driftless::*;
use node::Node;

fn main() {
    let argument = |at| std::env::args().nth(at).and_then(|n| n.parse::<u32>().ok());
    let writes = argument(1).unwrap_or(100_000);
    let rows = argument(2).unwrap_or(writes).max(1);
    let mut config = Config::new(Name::new("bench").expect("a name"));
    config.limits.watch_log = argument(3).map_or(config.limits.watch_log, u64::from);
    let (mut a, mut b) = (Node::with(1, &config), Node::with(2, &config));
    let (database, name) = (Name::new("db").expect("a name"), Name::new("rows").expect("a name"));
    let create = Command::CreateSyncgroup {
        database: database.clone(),
        name: name.clone(),
        collections: vec![name.clone()],
    };
    let Outcome::Created(syncgroup) = a.command(create) else { return };

    let start = Instant::now();
    for n in 0..writes {
        // Keys in no order, as people's are.
        let key = (n % rows).wrapping_mul(2_654_435_761).to_be_bytes().to_vec();
        let row = RowRef { syncgroup, collection: name.clone(), key: key.into() };
        let batch = LocalWrite::new().put(row, vec![n as u8; 100]);
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
        ends: None,
        valid_for: Millis(1_000_000),
        reusable: false,
        addresses: vec![],
    };
    a.replies.clear();
    let Outcome::Invited(invitation) = a.command(invite) else { return };
    b.command(Command::Join { database, invitation });
    let start = Instant::now();
    let (frames, bytes) = node::link(&mut a, &mut b, 1);
    let taken = start.elapsed();
    assert_eq!(a.core.visible_digest(&syncgroup), b.core.visible_digest(&syncgroup), "both show the same");
    let rate = |time: std::time::Duration| f64::from(writes) / time.as_secs_f64();
    println!("written   {writes} batches of one row: {written:.2?}, {:.0}/s", rate(written));
    println!("synced    {frames} frames, {:.1} MB: {taken:.2?}, {:.0}/s", bytes as f64 / 1e6, rate(taken));
}
