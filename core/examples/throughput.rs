//! How fast one core writes and takes over rows, in memory: `cargo run --release --example throughput -- 100000`.
//!
//! Every row is a batch of its own, the most expensive way. The machine's noise is in the figures: compare
//! runs on one machine, or count instructions with `valgrind --tool=callgrind`.
#![allow(clippy::disallowed_types, reason = "this program measures; the core never reads a clock")]

#[path = "node/mod.rs"]
mod node;

use std::time::Instant;

use driftless::*;
use node::Node;

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
    let (frames, bytes) = node::link(&mut a, &mut b, 1);
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
