//! What removals cost, and many members: `cargo run --release -p driftless --example removal`.
//!
//! A device writes, some of it beside its removal: how much does a replica that has applied all of it do when it hears
//! of that? And what does a replica keep of each of many members?

#![allow(clippy::disallowed_types, reason = "it measures real time")]

use std::time::Instant;

use driftless::*;

use crate::node::{Node, deliver, link};

mod node;

/// Members of a large syncgroup.
const MEMBERS: u32 = 1_000;
/// Copies of a replica whose memory is measured together.
const COPIES: usize = 400;

fn main() {
    println!("{:>10}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}", "void", "reads", "scans", "writes", "bytes", "ms");
    for void in [0, 10, 100, 1_000, 10_000] {
        removal(void);
    }
    members();
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn create(node: &mut Node) -> SyncgroupId {
    let (database, collections) = (name("db"), vec![name("notes")]);
    match node.command(Command::CreateSyncgroup { database, name: name("notes"), collections }) {
        Outcome::Created(id) => id,
        other => panic!("{other:?}"),
    }
}

/// Lets a device in over a link; returns how many frames that took, and their bytes.
fn admit(admin: &mut Node, newcomer: &mut Node, syncgroup: SyncgroupId, number: u64) -> (u64, u64) {
    let invite = Command::Invite {
        syncgroup,
        rights: Rights::Write,
        ends: None,
        valid_for: Millis(3_600_000),
        reusable: false,
        addresses: Vec::new(),
    };
    let Outcome::Invited(invitation) = admin.command(invite) else { panic!("no invitation") };
    newcomer.command(Command::Join { database: name("db"), invitation });
    let first = link(admin, newcomer, number);
    later(admin, newcomer);
    let more = deliver(admin, newcomer, LinkId(number));
    (first.0 + more.0, first.1 + more.1)
}

fn later(a: &mut Node, b: &mut Node) {
    let now = a.now.max(b.now) + 60_000;
    (a.now, b.now) = (now, now);
}

/// A device writes a thousand rows that everybody knows, and some that its remover does not.
fn removal(void: u32) {
    let (mut admin, mut removed, mut witness) = (Node::new(1), Node::new(2), Node::new(3));
    let id = create(&mut admin);
    admit(&mut admin, &mut removed, id, 1);
    admit(&mut admin, &mut witness, id, 2);
    link(&mut removed, &mut witness, 3);
    let put = |removed: &mut Node, number: u32| {
        let key = number.to_be_bytes().to_vec().into();
        let row = RowRef { syncgroup: id, collection: name("notes"), key };
        removed.command(Command::Write(LocalWrite::new().put(row, vec![7; 100])));
    };
    (0..1_000).for_each(|number| put(&mut removed, number));
    for (other, on) in [(&mut admin, 1), (&mut witness, 3)] {
        later(&mut removed, other);
        deliver(&mut removed, other, LinkId(on));
    }
    // From here on the admin hears nothing of it.
    admin.handle(Event::LinkDown { link: LinkId(1) });
    removed.handle(Event::LinkDown { link: LinkId(1) });
    (0..void).for_each(|number| put(&mut removed, number));
    later(&mut removed, &mut witness);
    deliver(&mut removed, &mut witness, LinkId(3));
    let device = removed.core.public_key().device();
    admin.command(Command::Eject { syncgroup: id, device });
    let held = witness.core.knowledge(&id).expect("held").values().sum::<u64>();
    later(&mut admin, &mut witness);
    let started = Instant::now();
    let counts = witness.counting(|witness| {
        deliver(&mut admin, witness, LinkId(2));
    });
    let took = started.elapsed().as_secs_f64() * 1_000.0;
    let members = witness.core.members(&id).expect("members");
    assert!(members.iter().any(|member| member.device == device && member.removed), "it has heard");
    assert!(held >= u64::from(void) + 1_000, "it had all of it");
    let node::Counts { reads, scans, writes, bytes } = counts;
    println!("{void:>10}  {reads:>9}  {scans:>9}  {writes:>9}  {bytes:>9}  {took:>9.2}");
}

/// Many devices are let in, one after the other.
fn members() {
    let config = Config::new(name("bench"));
    let mut admin = Node::new(1);
    let id = create(&mut admin);
    let before = memory_of(&admin);
    let mut frames = Vec::new();
    for number in 0..MEMBERS {
        let mut secret = [9; 32];
        secret[..4].copy_from_slice(&number.to_le_bytes());
        let mut newcomer = Node::with_key(secret, &config);
        let at = u64::from(number) + 10;
        frames.push(admit(&mut admin, &mut newcomer, id, at).0);
        admin.handle(Event::LinkDown { link: LinkId(at) });
    }
    let info = admin.core.syncgroups();
    assert_eq!(info[0].members, MEMBERS as usize + 1);
    println!("members {MEMBERS}: the first took {} frames, the last {}", frames[0], frames[frames.len() - 1]);
    match (before, memory_of(&admin)) {
        (Some(before), Some(after)) => {
            println!("memory for each member: {} bytes", after.saturating_sub(before) / MEMBERS as usize);
        }
        _ => println!("memory for each member: not known on this system"),
    }
}

/// The memory of a replica: what many copies of it take, and a share of it.
fn memory_of(node: &Node) -> Option<usize> {
    let before = resident()?;
    let copies: Vec<Core> = (0..COPIES).map(|_| node.core.clone()).collect();
    let after = resident()?;
    drop(copies);
    Some(after.saturating_sub(before) / COPIES)
}

fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().ok().map(|kib| kib * 1_024)
}
