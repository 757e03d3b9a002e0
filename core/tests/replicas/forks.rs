//! Two branches of one log (S-2, S-26, S-35): proven by whoever meets the other one, cut where they part, and written again
//! by the device whose log it is.

use super::*;

/// Two members hold different branches of the log of a third one, whose disk was set back, and what they wrote before.
pub(super) fn forked() -> (World, SyncgroupId, SyncgroupId) {
    forked_at(&["a"], &["b", "bb", "bbb"])
}

fn forked_at(one: &[&str], other: &[&str]) -> (World, SyncgroupId, SyncgroupId) {
    let (mut world, id) = World::together(3);
    let elsewhere = world.create(0, "other");
    let invitation = world.invite(0, elsewhere, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    world.put(2, id, "common", "to both branches");
    world.run(60_000);
    world.apart();
    world.put(0, id, "by 0", "fresh");
    world.put(1, id, "by 1", "fresh");
    let backup = world.nodes[2].store.clone();
    for (at, store, branch) in [(0, None, one), (1, Some(backup), other)] {
        if let Some(store) = store {
            world.reboot(2, store, Continuity::Shown);
        }
        branch.iter().for_each(|key| world.put(2, id, key, "of one branch"));
        let link = world.link(at, 2);
        world.run(10_000);
        world.unlink(link);
        assert_eq!(world.text(at, id, branch[0]).as_deref(), Some("of one branch"));
    }
    world.nodes.iter_mut().for_each(|node| node.notices.clear());
    (world, id, elsewhere)
}

impl World {
    fn told_of_forks(&self, at: usize) -> Vec<(Author, u64)> {
        let told = self.nodes[at].notices.iter().filter_map(|notice| match notice {
            Notice::Forked { author, last, .. } => Some((*author, *last)),
            _ => None,
        });
        told.collect()
    }

    pub(super) fn written_again(&self, at: usize) -> Vec<usize> {
        let told = self.nodes[at].notices.iter().filter_map(|notice| match notice {
            Notice::WrittenAgain { batches, .. } => Some(*batches),
            _ => None,
        });
        told.collect()
    }

    fn keys(&self, at: usize, id: SyncgroupId) -> Vec<String> {
        self.rows(at, id).into_iter().map(|(key, _)| key).collect()
    }

    /// These show the same, and blame nobody.
    fn assert_agree(&self, id: SyncgroupId, all: &[usize]) {
        for at in all {
            assert_eq!(self.rows(*at, id), self.rows(all[0], id), "rows of {at}");
            let (one, other) = (&self.nodes[*at], &self.nodes[all[0]]);
            assert_eq!(one.core.visible_digest(&id), other.core.visible_digest(&id), "digest of {at}");
            let faults =
                |notice: &&Notice| matches!(notice, Notice::Diverged { .. } | Notice::PeerFault { .. });
            assert_eq!(one.notices.iter().find(faults), None);
        }
    }
}

#[test]
fn whoever_meets_the_other_branch_proves_it_and_both_end_where_they_part() {
    let (mut world, id, _) = forked();
    let author =
        *world.nodes[0].core.held(&id).unwrap().keys().find(|it| it.device == world.device(2)).unwrap();
    world.link(0, 1);
    world.run(60_000);
    for at in 0..2 {
        assert_eq!(world.told_of_forks(at), [(author, 1)], "{at}");
        assert_eq!(world.keys(at, id), ["by 0", "by 1", "common"]);
    }
    world.assert_agree(id, &[0, 1]);
    assert_eq!(world.closed, []);
    let (frames, bytes) = (world.sent, world.bytes);
    world.run(3_600_000);
    let (frames, bytes) = (world.sent - frames, world.bytes - bytes);
    assert_eq!((frames, bytes), (0, 0), "they have come to rest");
}

#[test]
fn what_was_written_on_a_branch_is_written_again_by_its_device() {
    let (mut world, id, _) = forked();
    world.link(0, 1);
    world.run(60_000);
    world.put(0, id, "row", "by 0");
    world.link(0, 2);
    world.link(1, 2);
    world.run(60_000);
    assert_eq!(world.written_again(2), [3, 1], "its own branch, and the one that it has lost");
    let author = world.nodes[2].core.author();
    assert!(!world.told_of_forks(2).iter().any(|(forked, _)| *forked == author), "it goes on as another one");
    for key in ["a", "b", "bb", "bbb", "common", "row"] {
        assert!(world.text(0, id, key).is_some(), "{key}");
    }
    world.assert_same(id);
    world.put(2, id, "later", "as another author");
    world.run(10_000);
    assert_eq!(world.text(1, id, "later").as_deref(), Some("as another author"));
    world.assert_same(id);
    // Nothing is written once more.
    let store = world.nodes[2].store.clone();
    world.reboot(2, store, Continuity::Shown);
    world.link(1, 2);
    world.run(60_000);
    assert_eq!(world.written_again(2), [3, 1]);
    world.assert_same(id);
    assert_eq!(world.closed, []);
}

#[test]
fn what_others_built_on_one_branch_reaches_holders_of_the_other() {
    let (mut world, id, _) = forked();
    world.put(0, id, "a", "changed by 0");
    world.put(0, id, "more", "by 0, who has the branch in its past");
    world.link(0, 1);
    world.run(60_000);
    for at in 0..2 {
        assert_eq!(world.keys(at, id), ["a", "by 0", "by 1", "common", "more"], "{at}");
    }
    world.assert_agree(id, &[0, 1]);
    world.link(1, 2);
    world.link(0, 2);
    world.run(60_000);
    // By then its own branch is written again, and it has the other one, which it writes again as well.
    assert_eq!(world.text(0, id, "a").as_deref(), Some("changed by 0"));
    for key in ["b", "bb", "bbb", "more"] {
        assert!(world.text(0, id, key).is_some(), "{key}");
    }
    world.assert_same(id);
    let frames = world.sent;
    world.run(3_600_000);
    assert_eq!(world.sent, frames, "they have come to rest");
}

#[test]
fn what_others_built_on_both_branches_keeps_them_from_nothing_else() {
    let (mut world, id, other) = forked();
    for at in 0..2 {
        world.put(at, id, &format!("built by {at}"), "on a branch");
    }
    let closed = world.closed.len();
    world.link(0, 1);
    world.run(60_000);
    let elsewhere =
        |key: &str| RowRef { syncgroup: other, collection: name("other"), key: key.to_owned().into() };
    for at in 0..2 {
        let batch = LocalWrite::new().put(elsewhere(&format!("late by {at}")), "fresh");
        world.command(at, Command::Write(batch)).unwrap();
    }
    world.run(60_000);
    for at in 0..2 {
        for by in 0..2 {
            assert_eq!(world.text(at, id, &format!("by {by}")).as_deref(), Some("fresh"), "{by} at {at}");
            let collection = world.collection(at, other);
            let late = read::get(&world.nodes[at].store, &collection, format!("late by {by}").as_bytes());
            assert!(late.unwrap().is_some(), "{by} at {at}");
        }
        assert_eq!(world.told_of_forks(at).len(), 1);
        assert_eq!((world.text(at, id, "a"), world.text(at, id, "b")), (None, None), "void at {at}");
        let blamed = |notice: &&Notice| matches!(notice, Notice::PeerFault { .. });
        assert_eq!(world.nodes[at].notices.iter().find(blamed), None);
    }
    assert_eq!(world.closed.len(), closed);
    let (frames, bytes) = (world.sent, world.bytes);
    world.run(3_600_000);
    let (frames, bytes) = (world.sent - frames, world.bytes - bytes);
    assert!(frames < 300 && bytes < 60_000, "{frames} frames, {bytes} bytes in an hour");
}

#[test]
fn long_branches_are_found_to_part_without_sending_them() {
    let keys: Vec<String> = (0..600).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (mut world, id, _) = forked_at(&keys[..599], &["b"]);
    let (frames, bytes) = (world.sent, world.bytes);
    world.link(0, 1);
    world.run(60_000);
    assert_eq!(world.keys(0, id), ["by 0", "by 1", "common"]);
    world.assert_agree(id, &[0, 1]);
    let (frames, bytes) = (world.sent - frames, world.bytes - bytes);
    assert!(frames < 60 && bytes < 20_000, "{frames} frames, {bytes} bytes");
    assert!(world.told_of_forks(0).iter().chain(&world.told_of_forks(1)).all(|(_, last)| *last == 1));
}

#[test]
fn a_proof_reaches_whoever_holds_one_branch_or_none_in_any_order() {
    let (mut world, id, _) = forked();
    world.arrive();
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(3, invitation).unwrap();
    let link = world.link(0, 3);
    world.run(30_000);
    world.unlink(link);
    assert!(world.text(3, id, "a").is_some(), "it has taken one branch");
    world.link(0, 1);
    world.run(30_000);
    world.arrive();
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(4, invitation).unwrap();
    world.link(0, 4);
    world.link(1, 3);
    world.run(60_000);
    for at in [0, 1, 3, 4] {
        assert_eq!(world.keys(at, id), ["by 0", "by 1", "common"], "{at}");
        assert_eq!(world.told_of_forks(at).first().map(|(_, last)| *last), Some(1), "{at}");
    }
    world.assert_agree(id, &[0, 1, 3, 4]);
    // What a store says of it is what was known, and it can be checked.
    for at in [0, 1, 3, 4] {
        let store = world.nodes[at].store.clone();
        for found in world.verify(at, &store) {
            assert_eq!(found.problems, [], "at {at}");
        }
        let node = &world.nodes[at];
        let (core, _) = boot(&node.secret, &node.config, 7, &store, Continuity::Shown);
        assert_eq!(core.held(&id), node.core.held(&id));
        assert_eq!(core.visible_digest(&id), node.core.visible_digest(&id));
    }
}

/// Two copies of a device, both of which go on.
#[test]
fn what_two_copies_of_a_device_have_written_counts_once_each() {
    let (mut world, id) = World::together(3);
    world.schema(0, id, &[("n/", Policy::Merge(Merge::Counter))]);
    world.run(5_000);
    world.operate(2, id, "n/a", Operation::Add(1));
    world.run(10_000);
    world.apart();
    world.arrive();
    let (secret, store) = (world.nodes[2].secret.clone(), world.nodes[2].store.clone());
    world.nodes[3].secret = secret;
    world.reboot(3, store, Continuity::Shown);
    world.operate(2, id, "n/a", Operation::Add(10));
    world.operate(2, id, "n/a", Operation::Add(20));
    world.operate(3, id, "n/a", Operation::Add(100));
    world.link(2, 0);
    world.link(3, 1);
    world.run(20_000);
    assert_eq!([0, 1].map(|at| world.text(at, id, "n/a").unwrap()), ["31", "101"]);
    world.link(0, 1);
    world.run(120_000);
    assert_eq!((world.written_again(2), world.written_again(3)), (vec![2], vec![1]));
    assert_ne!(world.nodes[2].core.author(), world.nodes[3].core.author());
    for at in 0..4 {
        assert_eq!(world.text(at, id, "n/a").as_deref(), Some("131"), "{at}");
        world.operate(at, id, "n/a", Operation::Add(1_000));
    }
    world.run(120_000);
    for at in 0..4 {
        assert_eq!(world.text(at, id, "n/a").as_deref(), Some("4131"), "{at}");
    }
    world.assert_same(id);
    assert_eq!(world.closed, []);
}

/// What was written before the disk was set back, others may still have, and the device has not.
#[test]
fn what_a_device_has_lost_of_a_branch_it_gets_from_others_and_writes_again() {
    for [one, other] in [[&["a", "aa"][..], &["b"][..]], [&["a"], &["b", "bb", "bbb"]]] {
        let (mut world, id, _) = forked_at(one, other);
        world.link(0, 1);
        world.run(60_000);
        world.link(0, 2);
        world.link(1, 2);
        world.run(120_000);
        for key in one.iter().chain(other) {
            assert_eq!(world.text(0, id, key).as_deref(), Some("of one branch"), "{key}");
        }
        world.assert_same(id);
        assert_eq!(world.written_again(2).iter().sum::<usize>(), one.len() + other.len());
        world.put(2, id, "later", "as another author");
        world.run(60_000);
        world.assert_same(id);
        let frames = world.sent;
        world.run(3_600_000);
        assert_eq!(world.sent, frames, "they have come to rest");
    }
}
