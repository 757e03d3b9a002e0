//! A device and the others do not agree on whether it is a member: one of them knows less, and hears of it (S-32, S-36).

use super::users::{family, key};
use super::*;

/// 1 has joined, is removed by 0 while apart, and writes down meanwhile that it is a device of user 1, who may write.
fn enrolled_beside_its_removal() -> (World, SyncgroupId) {
    let (mut world, id) = World::together(2);
    let (user, rights) = (key(1), Rights::Write);
    let admit =
        Command::AdmitUser { syncgroup: id, user: user.public(), name: name("user 1"), rights, ends: None };
    world.command(0, admit).unwrap();
    world.run(10_000);
    world.apart();
    world.eject(0, id, 1);
    let certificate = world.certificate(&user, 1, 1);
    world.command(1, Command::Enrol { syncgroup: id, certificate }).unwrap();
    world.put(1, id, "row", "of a user's device");
    (world, id)
}

#[test]
fn a_device_that_became_a_users_beside_its_removal_stays_a_member() {
    let (mut world, id) = enrolled_beside_its_removal();
    world.relink();
    assert_eq!(world.rights(0, id, 1), Some(Rights::Write));
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("of a user's device"));
    world.assert_same(id);
}

#[test]
fn a_device_that_became_a_users_beside_its_removal_hears_that_the_user_was_removed() {
    let (mut world, id) = enrolled_beside_its_removal();
    let eject = Command::EjectUser { syncgroup: id, user: key(1).id() };
    world.command(0, eject).unwrap();
    world.relink();
    assert_eq!(world.rights(0, id, 1), None);
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
    assert_eq!(world.text(0, id, "row"), None, "what a device writes that was removed is not taken");
}

#[test]
fn a_device_that_left_as_a_users_and_became_one_again_beside_its_removal_stays_a_member() {
    let (mut world, id) = family(3);
    let user = key(1);
    world.command(2, Command::Leave { syncgroup: id }).unwrap();
    world.run(60_000);
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(2, invitation).unwrap();
    world.run(60_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    world.apart();
    world.eject(0, id, 2);
    let certificate = world.certificate(&user, 2, 1);
    world.command(2, Command::Enrol { syncgroup: id, certificate }).unwrap();
    world.relink();
    assert_eq!(world.rights(0, id, 2), Some(Rights::Write));
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    world.assert_same(id);
}

#[test]
fn a_certificate_of_a_user_who_counts_no_more_lets_nobody_in() {
    // 2 lets in the user beside losing the right to do so.
    let (mut world, id) = World::together(3);
    world.set_rights(0, id, 2, Rights::Admin);
    world.run(60_000);
    world.apart();
    world.link(1, 2);
    let (user, rights) = (key(1), Rights::Write);
    let admit =
        Command::AdmitUser { syncgroup: id, user: user.public(), name: name("user 1"), rights, ends: None };
    world.command(2, admit).unwrap();
    world.run(10_000);
    let certificate = world.certificate(&user, 1, 1);
    world.command(1, Command::Enrol { syncgroup: id, certificate }).unwrap();
    world.apart();
    world.eject(0, id, 1);
    world.set_rights(0, id, 2, Rights::Read);
    world.link(0, 1);
    world.run(3_600_000);
    world.link(0, 2);
    world.run(60_000);
    for at in [0, 2] {
        assert_eq!(world.rights(at, id, 1), None, "{at}");
    }
    assert_eq!(world.nodes[0].core.knowledge(&id), world.nodes[2].core.knowledge(&id));
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
}

#[test]
fn a_device_that_shows_what_its_user_struck_off_hears_of_that() {
    let (mut world, id) = family(3);
    world.apart();
    let user = key(1);
    let again = world.certificate(&user, 2, 2);
    world.command(2, Command::Enrol { syncgroup: id, certificate: again }).unwrap();
    // Whoever signs that knows of the second certificate, and 0 does not.
    let striking = user.strike_off(&id, world.nodes[2].core.public_key().device(), 2, vec![]);
    world.command(0, Command::StrikeOff { syncgroup: id, striking }).unwrap();
    world.relink();
    assert_eq!(world.rights(0, id, 2), None);
    assert_eq!(world.state(2, id), SyncgroupState::Removed);
}

#[test]
fn a_device_that_has_left_is_not_told_of_what_came_later() {
    let (mut world, id) = family(3);
    let backup = world.nodes[2].store.clone();
    world.command(2, Command::Leave { syncgroup: id }).unwrap();
    world.run(60_000);
    let before = world.nodes[0].core.knowledge(&id);
    world.strike_off(1, id, 2, &key(1));
    world.run(60_000);
    assert_ne!(world.nodes[0].core.knowledge(&id), before);
    for loses in [false, true] {
        world.reboot(2, backup.clone(), Continuity::Unknown);
        world.link(0, 2);
        // What tells it of its departure is lost at first, and it shows its certificate.
        for _ in 0..if loses { 30 } else { 0 } {
            world.now = Now { mono: world.now.mono + Millis(100), wall: world.now.wall + Millis(100) };
            world.deliver_if(|frame| frame.len() < 250);
        }
        world.relink();
        assert_eq!(world.state(2, id), SyncgroupState::Left);
        assert_eq!(world.nodes[2].core.knowledge(&id), before, "what was there when it left");
    }
}

#[test]
fn who_leaves_is_not_brought_back_by_an_admission_that_was_forgotten() {
    let (mut world, id) = World::together(3);
    let invitation = world.invite(0, id, Rights::Write);
    world.eject(0, id, 1);
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
    let backup = world.nodes[0].store.clone();
    let links = world.links_of(1);
    links.into_iter().for_each(|link| world.unlink(link));
    let link = world.link(0, 1);
    world.ask_to_join(1, invitation).unwrap();
    while world.state(1, id) != SyncgroupState::Pending {
        let (at, link, frame) = world.frames.pop_front().expect("an answer");
        world.event(at, Event::Received { link, frame });
    }
    world.unlink(link);
    world.run(60_000); // 2 hears of the admission.
    assert_eq!(world.rights(2, id, 1), Some(Rights::Write));
    world.command(1, Command::Leave { syncgroup: id }).unwrap();
    world.reboot(0, backup, Continuity::Unknown);
    world.link(0, 1);
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Left);
    world.link(1, 2);
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Left);
    assert_eq!(world.rights(2, id, 1), None);
    world.relink();
    assert_eq!(world.rights(0, id, 1), None);
}

#[test]
fn a_paused_database_does_not_hear_that_its_admission_was_forgotten_before_it_is_resumed() {
    let (mut world, id) = forgotten(true);
    let pause = |paused| Command::Pause { database: name("db"), paused };
    world.command(1, pause(true)).unwrap();
    world.relink();
    assert_eq!(world.state(1, id), SyncgroupState::Pending);
    world.command(1, pause(false)).unwrap();
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
}

/// 0 removes 1, which hears of it, and lets it in again. Then the disk of 0 is set back to before that, when it had
/// removed 1, or had not, and only the answer to 1 has arrived.
fn forgotten(was_removed: bool) -> (World, SyncgroupId) {
    let (mut world, id) = World::together(2);
    let invitation = world.invite(0, id, Rights::Write);
    world.run(10_000);
    let before = world.nodes[0].store.clone();
    world.eject(0, id, 1);
    world.run(10_000);
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
    let backup = if was_removed { world.nodes[0].store.clone() } else { before };
    world.put(0, id, "row", "lost");
    // What the answer names is sent on a tick after it, of which there is none here.
    world.ask_to_join(1, invitation).unwrap();
    while world.state(1, id) != SyncgroupState::Pending {
        let (at, link, frame) = world.frames.pop_front().expect("an answer");
        world.event(at, Event::Received { link, frame });
    }
    world.reboot(0, backup, Continuity::Unknown);
    world.run(10_000);
    assert_eq!(world.state(1, id), SyncgroupState::Pending);
    (world, id)
}

#[test]
fn who_was_let_in_again_by_one_that_has_forgotten_it_is_removed_as_before() {
    for was_removed in [false, true] {
        let (mut world, id) = forgotten(was_removed);
        world.relink();
        assert_eq!(world.state(1, id), SyncgroupState::Removed, "{was_removed}");
        assert_eq!(world.rights(0, id, 1), None, "it has its own removal of 1 back");
        let invitation = world.invite(0, id, Rights::Write);
        world.ask_to_join(1, invitation).unwrap();
        world.run(60_000);
        assert_eq!(world.state(1, id), SyncgroupState::Active);
        world.assert_same(id);
    }
}

#[test]
fn a_member_does_not_wait_for_what_was_lost_with_the_disk_of_who_let_it_in() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    world.link(0, 1);
    world.run(10_000);
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    let hears = |world: &mut World, what: fn(&World, SyncgroupId) -> bool| {
        while !what(world, id) {
            let (at, link, frame) = world.frames.pop_front().expect("a frame");
            world.event(at, Event::Received { link, frame });
        }
    };
    hears(&mut world, |world, id| world.rights(0, id, 1).is_some());
    world.frames.clear();
    let backup = world.nodes[0].store.clone();
    world.put(0, id, "row", "lost");
    // It asks again, and the answer names what was written since.
    let soon = Millis(world.nodes[1].config.timing.patience.0 * 2);
    world.now = Now { mono: world.now.mono + soon, wall: world.now.wall + soon };
    world.event(1, Event::Tick);
    hears(&mut world, |world, id| world.state(1, id) == SyncgroupState::Pending);
    world.reboot(0, backup, Continuity::Unknown);
    world.relink();
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    world.put(1, id, "row", "goes on");
    world.run(10_000);
    world.assert_same(id);
}
