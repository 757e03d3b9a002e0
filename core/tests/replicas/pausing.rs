//! The exchange of a database is paused, and resumed (S-37).

use super::*;

impl World {
    fn pause(&mut self, at: usize, database: &str, paused: bool) {
        let database = name(database);
        assert_eq!(self.command(at, Command::Pause { database, paused }), Ok(Outcome::PauseNoted));
    }

    fn paused(&self, at: usize) -> Vec<String> {
        self.nodes[at].core.paused().map(ToString::to_string).collect()
    }
}

#[test]
fn what_is_written_in_a_paused_database_is_seen_when_it_is_resumed() {
    let (mut world, id) = World::together(3);
    world.pause(0, "db", true);
    world.run(10_000);
    assert!(world.info(0, id).paused);
    let before = world.sent;
    world.put(0, id, "by 0", "written while paused");
    world.put(1, id, "by 1", "beside");
    world.run(600_000);
    assert_eq!(world.text(1, id, "by 0"), None);
    assert_eq!(world.text(2, id, "by 1").as_deref(), Some("beside"), "others go on");
    assert_eq!(world.text(0, id, "by 1"), None);
    assert_eq!(world.text(0, id, "by 0").as_deref(), Some("written while paused"), "and it is read here");
    assert!(world.sent - before < 100, "{} frames", world.sent - before);
    world.pause(0, "db", false);
    world.run(10_000);
    assert!(!world.info(0, id).paused);
    world.assert_same(id);
    assert_eq!(world.text(1, id, "by 0").as_deref(), Some("written while paused"));
    assert_eq!(world.text(0, id, "by 1").as_deref(), Some("beside"));
}

#[test]
fn another_database_goes_on() {
    let (mut world, id) = World::together(2);
    world.pause(0, "other", true);
    world.put(0, id, "row", "value");
    world.run(10_000);
    assert!(!world.info(0, id).paused);
    assert_eq!(world.text(1, id, "row").as_deref(), Some("value"));
}

#[test]
fn a_pause_survives_a_restart_also_without_a_syncgroup() {
    let mut world = World::new(2);
    world.pause(0, "db", true);
    world.pause(0, "other", true);
    world.pause(0, "db", true);
    world.pause(0, "other", false);
    let store = world.nodes[0].store.clone();
    world.reboot(0, store, Continuity::Shown);
    assert_eq!(world.paused(0), ["db"]);
    // What is made in it later is paused too.
    let id = world.create(0, "notes");
    assert!(world.info(0, id).paused);
    world.link(0, 1);
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation.clone()).unwrap();
    world.run(10_000);
    assert_eq!(world.state(1, id), SyncgroupState::Refused(JoinRefusal::NotValid), "as if it were not there");
    let store = world.nodes[0].store.clone();
    world.reboot(0, store, Continuity::Shown);
    assert!(world.info(0, id).paused);
    world.pause(0, "db", false);
    world.link(0, 1);
    world.ask_to_join(1, invitation).unwrap();
    world.run(10_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
}

#[test]
fn a_device_does_not_ask_to_join_while_that_database_is_paused() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    world.link(0, 1);
    world.pause(1, "db", true);
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    world.run(600_000);
    assert_eq!(world.state(1, id), SyncgroupState::Joining);
    assert_eq!(world.info(0, id).members, 1);
    world.pause(1, "db", false);
    world.run(10_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
}

#[test]
fn a_paused_syncgroup_looks_like_one_that_is_not_there() {
    // Two pairs: one has paused, the other never heard of the syncgroup. The peer gets the same frames.
    let frames = |paused: bool| {
        let mut world = World::new(2);
        let id = world.create(0, "notes");
        world.link(0, 1);
        if paused {
            let invitation = world.invite(0, id, Rights::Write);
            world.ask_to_join(1, invitation).unwrap();
            world.run(10_000);
            world.pause(1, "db", true);
        }
        let links = world.links_of(0);
        links.into_iter().for_each(|link| world.unlink(link));
        world.run(10_000);
        let (sent, bytes) = (world.sent, world.bytes);
        world.link(0, 1);
        world.run(600_000);
        (world.sent - sent, world.bytes - bytes, world.nodes[0].core.status().links[0].shared)
    };
    let ((count, bytes, shared), (without, bytes_without, shared_without)) = (frames(true), frames(false));
    assert_eq!((shared, shared_without), (0, 0));
    // It is offered the syncgroup, as it is a member, and says as little as one that does not know the name.
    assert!(count.abs_diff(without) <= 8, "{count} frames, and {without} without");
    assert!(bytes.abs_diff(bytes_without) <= 2_000, "{bytes} bytes, and {bytes_without} without");
}

#[test]
fn a_removal_that_was_told_while_paused_is_heard_of_after_it() {
    let (mut world, id) = World::together(2);
    world.pause(1, "db", true);
    world.eject(0, id, 1);
    world.run(600_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    world.pause(1, "db", false);
    world.run(10_000);
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
}

#[test]
fn the_names_of_paused_databases_are_bounded() {
    let mut world = World::new(1);
    let limit = Limits::default().syncgroups;
    for number in 0..limit {
        world.pause(0, &format!("db{number}"), true);
    }
    let one_more = Command::Pause { database: name("more"), paused: true };
    assert_eq!(world.command(0, one_more), Err(Refusal::Limit { what: "paused databases", limit }));
    world.pause(0, "db0", false);
    world.pause(0, "more", true);
}

#[test]
fn a_newcomer_that_introduced_itself_in_vain_does_so_again_once_the_other_has_resumed() {
    let (mut world, id) = World::together(2);
    world.apart();
    let mut newcomer = World::new(3);
    world.nodes.push(newcomer.nodes.pop().expect("three nodes"));
    world.link(0, 2);
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(2, invitation).unwrap();
    world.run(10_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    world.apart();
    // Nobody tells 1 of the admission but the newcomer itself, and 1 does not listen.
    world.pause(1, "db", true);
    world.link(1, 2);
    world.run(3_600_000);
    let before = world.sent;
    world.run(3_600_000);
    assert_eq!(world.sent, before, "both are silent");
    world.pause(1, "db", false);
    world.run(60_000);
    world.assert_same_at(id, &[1, 2]);
    world.put(2, id, "row", "by the newcomer");
    world.run(10_000);
    assert_eq!(world.text(1, id, "row").as_deref(), Some("by the newcomer"));
}
