//! What a device whose log is forked has said on its branches, and what others have made of that (S-26, S-34, S-35).

use super::*;

impl World {
    /// One more copy of a device: it goes on from the same store.
    fn copy(&mut self, at: usize) -> usize {
        self.arrive();
        let copy = self.nodes.len() - 1;
        let (secret, store) = (self.nodes[at].secret.clone(), self.nodes[at].store.clone());
        self.nodes[copy].secret = secret;
        self.reboot(copy, store, Continuity::Shown);
        copy
    }

    /// These two exchange what they have, and part again.
    fn meet(&mut self, one: usize, other: usize) {
        let link = self.link(one, other);
        self.run(20_000);
        self.unlink(link);
    }

    /// One more device, that one admits.
    fn let_in(&mut self, by: usize, id: SyncgroupId) -> usize {
        self.arrive();
        let invitation = self.invite(by, id, Rights::Write);
        let admitted = self.nodes.len() - 1;
        self.ask_to_join(admitted, invitation).unwrap();
        self.meet(by, admitted);
        assert!(self.rights(by, id, admitted).is_some());
        admitted
    }
}

#[test]
fn who_was_removed_on_a_branch_is_no_member_whoever_built_on_the_admission() {
    let (mut world, id) = World::together(3);
    world.apart();
    let copy = world.copy(0);
    let removed = world.let_in(0, id);
    world.meet(0, 1);
    world.put(1, id, "by 1", "builds on the admission");
    world.eject(0, id, removed);
    world.put(copy, id, "b", "of the other branch");
    world.meet(copy, 2);
    world.link(1, 2);
    world.run(60_000);
    world.link(0, 1);
    world.link(copy, 2);
    world.run(120_000);
    for at in [0, 1, 2, copy] {
        assert_eq!(world.rights(at, id, removed), None, "at {at}");
        assert!(world.text(at, id, "b").is_some());
    }
    world.link(1, removed);
    world.run(60_000);
    assert_eq!(world.state(removed, id), SyncgroupState::Removed);
}

/// The first one admits somebody, whose membership ends; then its disk is set back to before that.
#[test]
fn whoever_is_no_member_any_more_is_none_by_an_admission_that_is_written_again() {
    for leaves in [false, true] {
        let (mut world, id) = World::together(3);
        world.set_rights(0, id, 1, Rights::Admin);
        world.run(10_000);
        world.apart();
        let backup = world.nodes[0].store.clone();
        let gone = world.let_in(0, id);
        world.meet(0, 1);
        world.put(1, id, "by 1", "builds on the admission");
        if leaves {
            world.meet(1, gone);
            assert_eq!(world.command(gone, Command::Leave { syncgroup: id }), Ok(Outcome::Left(id)));
            world.meet(1, gone);
        } else {
            world.eject(1, id, gone);
        }
        world.reboot(0, backup, Continuity::Shown);
        world.put(0, id, "b", "of the other branch");
        world.meet(0, 2);
        world.link(1, 2);
        world.run(60_000);
        world.link(0, 1);
        world.link(0, 2);
        world.run(120_000);
        for at in 0..3 {
            assert_eq!(world.rights(at, id, gone), None, "at {at}, {leaves}");
            let members = world.nodes[at].core.members(&id).unwrap();
            let it = members.iter().find(|member| member.device == world.device(gone)).unwrap();
            assert_eq!(it.removed, !leaves, "at {at}");
        }
        assert_eq!(world.written_again(0).len(), 2, "the admission is written again");
        world.assert_same_at(id, &[0, 1, 2]);
        // It can be let in anew.
        world.link(1, gone);
        world.run(60_000);
        let invitation = world.invite(1, id, Rights::Write);
        world.ask_to_join(gone, invitation).unwrap();
        world.run(60_000);
        assert_eq!(world.state(gone, id), SyncgroupState::Active, "{leaves}");
        for at in 0..3 {
            assert_eq!(world.rights(at, id, gone), Some(Rights::Write), "at {at}, {leaves}");
        }
    }
}

#[test]
fn a_publication_that_was_withdrawn_on_a_branch_is_withdrawn_everywhere() {
    let (mut world, id) = World::together(3);
    world.apart();
    let copy = world.copy(0);
    let device = PublicKey([77; 32]).device();
    let publish = Command::Publish { syncgroup: id, device, rights: Rights::Read, addresses: vec![] };
    world.command(0, publish).unwrap();
    world.meet(0, 1);
    world.put(1, id, "by 1", "builds on the publication");
    world.command(0, Command::Unpublish { syncgroup: id, device }).unwrap();
    world.put(copy, id, "b", "of the other branch");
    world.meet(copy, 2);
    world.link(1, 2);
    world.run(60_000);
    world.link(0, 1);
    world.link(copy, 2);
    world.run(120_000);
    for at in [0, 1, 2, copy] {
        assert_eq!(world.info(at, id).publications, [], "at {at}");
    }
}

/// The disk of the last one was set back twice, further the second time: what it wrote on three branches, two of which
/// part where a third one has gone another way already.
#[test]
fn what_was_written_on_branches_of_branches_counts_once() {
    let (mut world, id) = World::together(3);
    world.schema(0, id, &[("n/", Policy::Merge(Merge::Counter))]);
    world.run(5_000);
    world.operate(2, id, "n/a", Operation::Add(1));
    world.run(10_000);
    let first = world.nodes[2].store.clone();
    world.operate(2, id, "n/a", Operation::Add(10));
    world.run(10_000);
    let second = world.nodes[2].store.clone();
    world.apart();
    world.operate(2, id, "n/a", Operation::Add(100));
    world.meet(2, 0);
    world.reboot(2, second, Continuity::Shown);
    world.operate(2, id, "n/a", Operation::Add(1_000));
    world.meet(2, 1);
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        world.link(one, other);
    }
    world.run(120_000);
    for at in 0..3 {
        assert_eq!(world.text(at, id, "n/a").as_deref(), Some("1111"), "{at}");
    }
    world.apart();
    world.reboot(2, first, Continuity::Shown);
    world.operate(2, id, "n/a", Operation::Add(10_000));
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        world.link(one, other);
    }
    world.run(240_000);
    for at in 0..3 {
        assert_eq!(world.text(at, id, "n/a").as_deref(), Some("11111"), "{at}");
    }
    world.assert_same(id);
    let frames = world.sent;
    world.run(3_600_000);
    assert_eq!(world.sent, frames, "they have come to rest");
}

/// Three copies of a device, none of which is set back again; the earlier fork becomes known later.
#[test]
fn what_copies_wrote_counts_though_an_earlier_fork_becomes_known_later() {
    let (mut world, id) = World::together(5);
    world.schema(0, id, &[("n/", Policy::Merge(Merge::Counter))]);
    world.run(5_000);
    world.operate(4, id, "n/a", Operation::Add(1));
    world.run(10_000);
    world.apart();
    let early = world.copy(4);
    world.operate(early, id, "n/a", Operation::Add(10_000));
    world.meet(early, 2);
    world.operate(4, id, "n/a", Operation::Add(10));
    for at in [0, 1, 3] {
        world.meet(4, at);
    }
    let late = world.copy(4);
    world.operate(4, id, "n/a", Operation::Add(100));
    world.operate(late, id, "n/a", Operation::Add(1_000));
    world.meet(4, 0);
    world.meet(late, 1);
    for (one, other) in [(0, 1), (4, 0), (late, 1)] {
        world.link(one, other);
    }
    world.run(60_000);
    for at in [0, 1, 4, late] {
        assert_eq!(world.text(at, id, "n/a").as_deref(), Some("1111"), "{at}");
    }
    for at in [0, 1] {
        world.link(2, at);
    }
    world.run(120_000);
    for at in [0, 1, 2, 4, late] {
        assert_eq!(world.text(at, id, "n/a").as_deref(), Some("1111"), "{at}, without the third copy");
    }
    for (one, other) in [(early, 2), (3, 0), (3, 1)] {
        world.link(one, other);
    }
    world.run(240_000);
    for at in 0..7 {
        assert_eq!(world.text(at, id, "n/a").as_deref(), Some("11111"), "{at}");
    }
    world.assert_same(id);
}

/// A snapshot of a machine was taken up three times. That there are two of the branches is known before the third one is
/// met with.
#[test]
fn what_was_written_on_each_of_three_branches_is_written_again() {
    let (mut world, id) = World::together(4);
    world.put(3, id, "common", "to all branches");
    world.run(10_000);
    world.apart();
    let snapshot = world.nodes[3].store.clone();
    for at in 0..3 {
        world.reboot(3, snapshot.clone(), Continuity::Shown);
        world.put(3, id, &format!("k{at}"), "of one branch");
        world.meet(3, at);
    }
    for (one, other) in [(1, 2), (1, 3), (2, 3)] {
        world.link(one, other);
    }
    world.run(120_000);
    assert!(world.text(3, id, "k1").is_some() && world.text(3, id, "k2").is_some());
    for other in 1..4 {
        world.link(0, other);
    }
    world.run(120_000);
    for at in 0..4 {
        for branch in 0..3 {
            assert!(world.text(at, id, &format!("k{branch}")).is_some(), "{branch} at {at}");
        }
    }
    world.assert_same(id);
    let frames = world.sent;
    world.run(3_600_000);
    assert_eq!(world.sent, frames, "they have come to rest");
}

/// The branch on which somebody has built is the longer one: whoever holds the other takes it all the same.
#[test]
fn what_others_built_on_a_longer_branch_reaches_holders_of_a_shorter_one() {
    let (mut world, id, _) = forks::forked();
    world.put(1, id, "built", "by 1, who has the longer branch in its past");
    world.link(0, 1);
    world.run(60_000);
    assert!(world.text(0, id, "built").is_some());
    world.assert_same_at(id, &[0, 1]);
    world.link(0, 2);
    world.link(1, 2);
    world.run(60_000);
    for key in ["b", "bb", "bbb", "built"] {
        assert!(world.text(0, id, key).is_some(), "{key}");
    }
    world.assert_same(id);
}

/// One member has built on a branch before it was heard of that the log is forked: what it replaced, and took out, stays so
/// where the branch is written again, whether that comes first or not.
#[test]
fn what_others_replaced_of_a_branch_is_replaced_where_it_is_written_again() {
    for late in [false, true] {
        let (mut world, id) = World::together(4);
        let (counter, set) = (Policy::Merge(Merge::Counter), Policy::Merge(Merge::Set));
        world.schema(0, id, &[("n/", counter), ("s/", set), ("d/", Policy::Defer)]);
        world.run(5_000);
        world.operate(2, id, "n/a", Operation::Add(1));
        world.run(10_000);
        world.apart();
        let backup = world.nodes[2].store.clone();
        world.operate(2, id, "n/a", Operation::Add(30));
        world.operate(2, id, "s/a", Operation::Insert("x".into()));
        world.operate(2, id, "s/a", Operation::Insert("y".into()));
        world.put(2, id, "d/a", "of the branch");
        world.operate(2, id, "n/b", Operation::Add(5));
        world.meet(2, 0);
        world.meet(2, 3);
        world.run(60_000);
        world.put(0, id, "n/a", "7");
        world.operate(0, id, "s/a", Operation::Remove("x".into()));
        world.put(0, id, "d/a", "changed by 0");
        world.operate(0, id, "n/b", Operation::Add(100));
        world.put(0, id, "n/b", "2");
        world.reboot(2, backup, Continuity::Shown);
        world.put(2, id, "other", "of the other branch");
        world.meet(2, 1);
        let (first, last) = if late { (3, 0) } else { (0, 3) };
        for (one, other) in [(first, 1), (first, 2), (1, 2)] {
            world.link(one, other);
        }
        world.run(120_000);
        assert_eq!(world.written_again(2).iter().sum::<usize>(), 6);
        for other in [first, 1, 2] {
            world.link(last, other);
        }
        world.run(120_000);
        for at in 0..4 {
            assert_eq!(world.text(at, id, "n/a").as_deref(), Some("7"), "{at}, {late}");
            assert_eq!(world.text(at, id, "n/b").as_deref(), Some("2"), "{at}, {late}");
            assert_eq!(world.text(at, id, "d/a").as_deref(), Some("changed by 0"), "{at}, {late}");
            let heads = world.heads(at, id, "d/a");
            assert_eq!(heads.iter().filter(|head| !head.is_operation).count(), 1, "{at}, {late}");
            let set = Elements::from_bytes(&world.get(at, id, "s/a").unwrap().value).unwrap();
            assert_eq!(set.0.into_iter().collect::<Vec<_>>(), ["y"], "{at}, {late}");
        }
        world.assert_same(id);
        for at in 0..4 {
            world.operate(at, id, "n/a", Operation::Add(10));
        }
        world.run(60_000);
        assert_eq!(world.text(1, id, "n/a").as_deref(), Some("47"));
        world.assert_same(id);
        // Whoever hears of all of it at once shows the same.
        world.let_in(0, id);
        world.link(0, 4);
        world.run(60_000);
        world.assert_same(id);
    }
}
