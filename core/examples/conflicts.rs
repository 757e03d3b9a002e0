//! What conflicts cost one core, in memory: `cargo run --release --example conflicts -- 10000`.
//!
//! Two replicas write the same rows while apart, each row by a batch of its own, and meet. Measured is what the
//! first one takes to take over the other's versions and to have no conflict left; and, to compare with, what it
//! takes where the rows are others.
#![allow(clippy::disallowed_types, reason = "this program measures; the core never reads a clock")]

#[path = "node/mod.rs"]
mod node;

use std::time::{Duration, Instant};

use driftless::*;
use node::Node;

/// Virtual time after which conflicts must be gone, in milliseconds.
const PATIENCE: u64 = 3_600_000;

fn main() {
    let rows: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let counter = Policy::Merge(Merge::Counter);
    let set = Policy::Merge(Merge::Set);
    let fields = Policy::Merge(Merge::Fields);
    let apart = run(rows, &Policy::LastWins, false);
    println!("{rows} rows, no conflict   {apart:.2?}");
    for (name, policy) in [
        ("last wins", Policy::LastWins),
        ("left open", Policy::Defer),
        ("counters", counter),
        ("sets", set),
        ("fields", fields),
        ("batches win", Policy::BatchWins),
    ] {
        let took = run(rows, &policy, true);
        let ratio = took.as_secs_f64() / apart.as_secs_f64();
        println!("{rows} rows, {name:<12}  {took:.2?}, {ratio:.1} times as much");
    }
}

fn run(rows: u32, policy: &Policy, same: bool) -> Duration {
    let (mut a, mut b) = (Node::new(1), Node::new(2));
    let (database, name) = (Name::new("db").expect("a name"), Name::new("rows").expect("a name"));
    let collections = vec![name.clone()];
    let create = Command::CreateSyncgroup { database: database.clone(), name: name.clone(), collections };
    let Outcome::Created(syncgroup) = a.command(create) else { return Duration::MAX };
    let rule = Rule { prefix: "".into(), policy: policy.clone() };
    a.command(Command::SetSchema { syncgroup, collection: name.clone(), rules: vec![rule] });
    let invite = Command::Invite {
        syncgroup,
        rights: Rights::Write,
        ends: None,
        valid_for: Millis(1_000_000),
        reusable: false,
        addresses: vec![],
    };
    let Outcome::Invited(invitation) = a.command(invite) else { return Duration::MAX };
    b.command(Command::Join { database, invitation });
    node::link(&mut a, &mut b, 1);
    for node in [&mut a, &mut b] {
        node.handle(Event::LinkDown { link: LinkId(1) });
        node.frames.clear();
    }
    for (at, node) in [&mut a, &mut b].into_iter().enumerate() {
        for n in 0..rows {
            let n = if same { n } else { 2 * n + at as u32 };
            let key = n.wrapping_mul(2_654_435_761).to_be_bytes().to_vec();
            let row = RowRef { syncgroup, collection: name.clone(), key: key.into() };
            let text = format!("{at}");
            let batch = LocalWrite::new();
            let batch = match policy {
                Policy::Merge(Merge::Counter) => batch.operate(row, Operation::Add(1)),
                Policy::Merge(Merge::Set) => batch.operate(row, Operation::Insert(text.into())),
                Policy::Merge(_) => {
                    batch.operate(row, Operation::SetField { path: vec![text], value: "x".into() })
                }
                _ => batch.put(row, text),
            };
            node.handle(Event::Command { request: RequestId(1), command: Command::Write(batch) });
            if n % 1_000 == 999 {
                node.durable();
                node.replies.clear();
            }
        }
        node.durable();
        node.replies.clear();
    }
    let all = read::collections(&a.store).expect("memory does not fail");
    let collection = &all[0];
    let decided = |node: &Node| {
        let open = read::conflicts(&node.store, collection, b"", 1).expect("memory does not fail");
        *policy != Policy::BatchWins || open.is_empty()
    };
    // Both run on this one core, so only what the first one does is counted, by its share of the work: half.
    let start = Instant::now();
    node::link(&mut a, &mut b, 2);
    while !decided(&a) && a.now < PATIENCE {
        let next = [a.core.next_deadline(), b.core.next_deadline()].into_iter().flatten().min();
        let now = next.map_or(PATIENCE, |next| next.0.max(a.now + 1));
        (a.now, b.now) = (now, now);
        node::deliver(&mut a, &mut b, LinkId(2));
    }
    let took = start.elapsed() / 2;
    assert!(decided(&a), "no conflict is left that somebody must end");
    assert_eq!(a.core.knowledge(&syncgroup), b.core.knowledge(&syncgroup), "both hold the same");
    assert_eq!(a.core.visible_digest(&syncgroup), b.core.visible_digest(&syncgroup), "both show the same");
    took
}
