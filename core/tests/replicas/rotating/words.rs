//! What a word on keys undoes, whose counts, and what it costs (S-1).

use super::*;

impl World {
    /// Somebody else who has a device's first secret and a copy of its disk from before.
    fn thief_with(&mut self, at: usize, store: MemStore) -> usize {
        let thief = self.nodes.len();
        self.arrive();
        self.nodes[thief].secret = self.nodes[at].secret.clone();
        self.reboot(thief, store, Continuity::Shown);
        thief
    }

    /// The second device is an admin, and has let in a fourth one. What the second one had on its disk before that.
    fn with_a_friend() -> (Self, SyncgroupId, MemStore) {
        let (mut world, id) = World::together(3);
        let device = world.nodes[1].core.public_key().device();
        let raise = Command::SetRights { syncgroup: id, device, rights: Rights::Admin, ends: None };
        world.command(0, raise).unwrap();
        world.run(20_000);
        let early = world.nodes[1].store.clone();
        let invitation = world.invite(1, id, Rights::Write);
        world.arrive();
        world.link(1, 3);
        world.ask_to_join(3, invitation).unwrap();
        world.run(20_000);
        world.put(3, id, "friend", "let in");
        world.run(20_000);
        world.assert_same(id);
        (world, id, early)
    }

    /// How many logs of a device another one has.
    fn logs_of(&self, at: usize, id: SyncgroupId, whom: usize) -> usize {
        let device = self.nodes[whom].core.public_key().device();
        let held = self.nodes[at].core.held(&id).unwrap();
        held.iter().filter(|(author, last)| author.device == device && **last > 0).count()
    }
}

#[test]
fn whoever_has_the_key_of_a_removed_device_undoes_nothing_by_another_one() {
    let (mut world, id, early) = World::with_a_friend();
    let thief = world.thief_with(1, early);
    (0..4).for_each(|at| world.unlink_all(at));
    let device = world.nodes[1].core.public_key().device();
    world.command(0, Command::Eject { syncgroup: id, device }).unwrap();
    // Whoever has not heard of that believes that nothing stays of what the device did since.
    world.rotate(thief, 2);
    world.link(thief, 2);
    world.run(20_000);
    assert_eq!(world.member_of(2, id, 3).rights, None, "it does not know better yet");
    world.unlink_all(thief);
    world.link(0, 2);
    world.link(2, 3);
    world.run(60_000);
    world.assert_same_among(id, &[0, 2, 3]);
    for at in [0, 2, 3] {
        assert_eq!(world.member_of(at, id, 3).rights, Some(Rights::Write), "{at}");
        assert_eq!(world.text(at, id, "friend").as_deref(), Some("let in"), "{at}");
        assert_eq!(world.member_of(at, id, 1).rights, None, "{at}");
    }
}

#[test]
fn a_word_undoes_no_admission_on_which_a_senior_has_built() {
    let (mut world, id, early) = World::with_a_friend();
    let thief = world.thief_with(1, early);
    (0..4).for_each(|at| world.unlink_all(at));
    // Who made the device an admin knows of the friend.
    let invitation = world.invite(0, id, Rights::Read);
    world.arrive();
    let guest = world.nodes.len() - 1;
    world.link(0, guest);
    world.ask_to_join(guest, invitation).unwrap();
    world.run(20_000);
    world.unlink_all(guest);
    world.rotate(thief, 2);
    world.link(thief, 2);
    world.run(20_000);
    assert_eq!(world.member_of(2, id, 3).rights, None, "it does not know better yet");
    world.unlink_all(thief);
    world.link(0, 2);
    world.link(2, 3);
    world.run(60_000);
    world.assert_same_among(id, &[0, 2, 3]);
    for at in [0, 2, 3] {
        assert_eq!(world.member_of(at, id, 3).rights, Some(Rights::Write), "{at}");
        assert_eq!(world.text(at, id, "friend").as_deref(), Some("let in"), "{at}");
    }
}

#[test]
fn whom_a_member_has_let_in_ends_its_key_like_anybody() {
    let (mut world, id) = World::together(3);
    world.command(0, Command::Open { syncgroup: id, rights: Rights::Write, ends: None }).unwrap();
    world.run(20_000);
    let invitation = world.invite(2, id, Rights::Write);
    world.arrive();
    world.link(2, 3);
    world.ask_to_join(3, invitation).unwrap();
    world.run(20_000);
    let thief = world.thief_of(3);
    (0..4).for_each(|at| world.unlink_all(at));
    // The thief lets in somebody as well, and neither knows of the other.
    let invitation = world.invite(thief, id, Rights::Write);
    world.arrive();
    let friend = world.nodes.len() - 1;
    world.link(thief, friend);
    world.ask_to_join(friend, invitation).unwrap();
    world.run(20_000);
    world.put(thief, id, "row", "by a thief");
    world.link(thief, 0);
    world.run(20_000);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("by a thief"));
    assert_eq!(world.member_of(0, id, friend).rights, Some(Rights::Write));
    world.unlink_all(thief);
    world.rotate(3, 1);
    world.put(3, id, "row", "by its owner");
    world.link(3, 2);
    world.link(2, 0);
    world.link(0, 1);
    world.run(60_000);
    world.assert_same_among(id, &[0, 1, 2, 3]);
    assert_eq!(world.text(1, id, "row").as_deref(), Some("by its owner"));
    assert_eq!(world.member_of(1, id, 3).rollovers, 1);
    assert_eq!(world.member_of(1, id, friend).rights, None, "let in by a thief");
}

#[test]
fn who_shows_a_rival_key_takes_nothing_of_the_owners_link() {
    for first in [true, false] {
        let (mut world, id) = World::together(3);
        let thief = world.thief_of(1);
        world.unlink_all(1);
        world.rotate(1, 1);
        world.rotate(thief, 2);
        let link = world.link(0, 1);
        world.run(10_000);
        if !first {
            world.unlink(link);
        }
        world.closed.clear();
        world.link(0, thief);
        if !first {
            world.link(0, 1);
        }
        world.run(10_000);
        assert!(!world.links_of(1).is_empty(), "{first}");
        assert!(!world.closed.contains(&CloseReason::Duplicate), "{first}");
        world.put(1, id, "row", "by its owner");
        world.run(10_000);
        assert_eq!(world.text(0, id, "row").as_deref(), Some("by its owner"), "{first}");
    }
}

#[test]
fn a_store_that_may_have_been_set_back_says_nothing_of_keys_that_is_known() {
    let (mut world, id) = World::together(2);
    world.rotate(1, 1);
    world.link(0, 1);
    world.run(20_000);
    let logs = world.logs_of(0, id, 1);
    for boot in 0..3 {
        let store = world.nodes[1].store.clone();
        world.reboot(1, store, Continuity::Unknown);
        world.link(0, 1);
        world.run(20_000);
        assert_eq!(world.logs_of(0, id, 1), logs, "boot {boot}");
        world.assert_same(id);
    }
    // With the first thing that it writes it does.
    world.put(1, id, "row", "of another life");
    world.run(20_000);
    world.assert_same(id);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("of another life"));
    assert_eq!(world.logs_of(0, id, 1), logs + 1);
    assert_eq!(world.member_of(0, id, 1).rollovers, 1);
}

#[test]
fn what_did_not_count_as_the_device_was_removed_beside_is_said_again_once_it_is_let_in_anew() {
    let (mut world, id) = World::together(3);
    let thief = world.thief_of(1);
    (0..3).for_each(|at| world.unlink_all(at));
    world.rotate(1, 1);
    let device = world.nodes[1].core.public_key().device();
    world.command(0, Command::Eject { syncgroup: id, device }).unwrap();
    world.link(0, 1);
    world.link(0, 2);
    world.run(20_000);
    assert_eq!(world.member_of(2, id, 1).rights, None);
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    world.run(20_000);
    world.assert_same_among(id, &[0, 1, 2]);
    assert_eq!(world.member_of(2, id, 1).rollovers, 1, "without anything being written");
    world.closed.clear();
    world.put(thief, id, "row", "by a thief");
    world.link(2, thief);
    world.run(20_000);
    assert!(world.closed.contains(&CloseReason::KeyEnded));
    world.put(1, id, "row", "by its owner");
    world.run(20_000);
    world.assert_same_among(id, &[0, 1, 2]);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("by its owner"));
    let logs = world.logs_of(0, id, 1);
    world.run(600_000);
    assert_eq!(world.logs_of(0, id, 1), logs, "once is enough");
}

#[test]
fn no_junior_admin_puts_out_a_senior_by_building_on_what_a_thief_left() {
    let (mut world, id) = World::together(3);
    let device = world.nodes[1].core.public_key().device();
    let raise = Command::SetRights { syncgroup: id, device, rights: Rights::Admin, ends: None };
    world.command(0, raise).unwrap();
    world.run(20_000);
    let thief = world.thief_of(0);
    (0..3).for_each(|at| world.unlink_all(at));
    world.command(thief, Command::Leave { syncgroup: id }).unwrap();
    world.rotate(0, 1);
    world.link(thief, 1);
    world.run(20_000);
    assert_eq!(world.member_of(1, id, 0).rights, None, "it does not know better yet");
    world.unlink_all(thief);
    world.set_rights(1, id, 2, Rights::Read);
    world.link(0, 1);
    world.link(1, 2);
    world.run(60_000);
    world.assert_same_among(id, &[0, 1, 2]);
    for at in 0..3 {
        assert_eq!(world.member_of(at, id, 0).rights, Some(Rights::Admin), "{at}");
    }
    world.put(0, id, "row", "still here");
    world.run(20_000);
    assert_eq!(world.text(2, id, "row").as_deref(), Some("still here"));
}

#[test]
fn a_departure_that_counts_after_all_as_a_senior_has_built_on_it_is_judged_so_by_everybody() {
    let (mut world, id) = World::together(4);
    let thief = world.thief_of(1);
    (0..4).for_each(|at| world.unlink_all(at));
    world.command(thief, Command::Leave { syncgroup: id }).unwrap();
    world.link(thief, 0);
    world.link(thief, 2);
    world.run(20_000);
    world.unlink_all(thief);
    // The owner says that its old log ended before that, hears of it, and writes on.
    world.rotate(1, 1);
    world.link(1, 2);
    world.run(20_000);
    world.put(1, id, "row", "beside what the admin does");
    world.run(20_000);
    assert_eq!(world.text(2, id, "row").as_deref(), Some("beside what the admin does"));
    world.unlink_all(1);
    // The admin knows of the departure, and of no other key.
    world.set_rights(0, id, 3, Rights::Read);
    world.link(0, 3);
    world.run(20_000);
    world.link(0, 2);
    world.link(1, 2);
    world.run(60_000);
    world.assert_same_among(id, &[0, 2, 3]);
    assert_eq!(world.text(2, id, "row"), None);
    assert_eq!(world.member_of(2, id, 1).rights, None);
}
