//! What becomes of what a device wrote while its clock was far ahead (S-2, S-6, S-27).

use driftless::read::{Changes, Resumed, Update};

use super::*;

const YEAR: Millis = Millis(365 * 24 * 3_600_000);

impl World {
    /// Lets a device do something while the clocks of all are ahead by so much; nothing is delivered meanwhile.
    pub(super) fn ahead(&mut self, by: Millis, act: impl FnOnce(&mut Self)) {
        let here = self.now.wall;
        self.now.wall = here + by;
        act(self);
        self.now.wall = here;
    }

    fn reissue(&mut self, at: usize) -> Reissued {
        match self.command(at, Command::Reissue).unwrap() {
            Outcome::Reissued(reissued) => reissued,
            other => panic!("{other:?}"),
        }
    }

    /// Has it written again, and lets all come to know.
    pub(super) fn repair(&mut self, at: usize) -> Reissued {
        let reissued = self.reissue(at);
        self.run(30_000);
        reissued
    }

    fn assert_sound(&mut self, at: usize) {
        for found in self.verify(at, &self.nodes[at].store) {
            assert_eq!(found.problems, [], "at {at}");
        }
        // What memory holds is what the store says.
        let (store, node) = (self.nodes[at].store.clone(), &self.nodes[at]);
        let (core, _) = boot(&node.secret, &node.config, 7, &store, Continuity::Shown);
        for info in node.core.syncgroups() {
            assert_eq!(core.held(&info.id), node.core.held(&info.id));
            assert_eq!(core.visible_digest(&info.id), node.core.visible_digest(&info.id));
            assert_eq!(core.members(&info.id), node.core.members(&info.id));
        }
        assert_eq!(core.author(), node.core.author());
        assert_eq!(core.last_stamp(), node.core.last_stamp());
    }
}

fn ahead(notices: &[Notice]) -> Vec<u64> {
    let told = notices.iter().filter_map(|notice| match notice {
        Notice::Ahead { written, .. } => Some(*written),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_clock_that_was_years_ahead_does_not_mute_its_device() {
    let (mut world, id) = World::together(2);
    world.put(0, id, "before", "1");
    world.run(5_000);
    world.ahead(YEAR, |world| {
        world.put(0, id, "during", "2");
        world.put(0, id, "before", "3");
    });
    world.put(0, id, "after", "4");
    world.run(30_000);
    assert_eq!(world.rows(1, id), [("before".into(), "1".into())], "it is mute");
    assert_eq!(ahead(&world.nodes[0].notices), [2], "and told so, by the first event with the right clock");
    let old = world.nodes[0].core.author();
    let reissued = world.repair(0);
    assert_eq!((reissued.batches, reissued.dropped), (3, 0));
    assert_eq!(reissued.author, world.nodes[0].core.author());
    assert_ne!(reissued.author, old);
    let all = [("after", "4"), ("before", "3"), ("during", "2")].map(|(a, b)| (a.to_string(), b.to_string()));
    assert_eq!(world.rows(0, id), all);
    world.assert_same(id);
    world.put(0, id, "later", "5");
    world.run(5_000);
    assert_eq!(world.text(1, id, "later").as_deref(), Some("5"));
    assert!(world.nodes[0].core.last_stamp().wall() <= world.now.wall);
    assert_eq!(world.reissue(0), Reissued { author: reissued.author, batches: 0, dropped: 0 });
    (0..2).for_each(|at| world.assert_sound(at));
    assert_eq!(ahead(&world.nodes[0].notices).len(), 1);
}

#[test]
fn what_others_changed_meanwhile_stands_beside_it_and_counts_as_newer() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("n/", Policy::Merge(Merge::Counter)), ("s/", Policy::Merge(Merge::Set))]);
    world.put(0, id, "row", "old");
    world.operate(0, id, "n/a", Operation::Add(10));
    world.operate(0, id, "s/a", Operation::Insert("stays".into()));
    world.run(5_000);
    world.ahead(YEAR, |world| {
        world.put(0, id, "row", "mine");
        world.put(0, id, "row", "mine again");
        world.operate(0, id, "n/a", Operation::Add(5));
        world.operate(0, id, "s/a", Operation::Insert("goes".into()));
        world.operate(0, id, "s/a", Operation::Remove("goes".into()));
        world.operate(0, id, "s/a", Operation::Insert("comes".into()));
    });
    world.put(1, id, "row", "theirs");
    world.operate(1, id, "n/a", Operation::Add(100));
    world.run(30_000);
    world.repair(0);
    world.assert_same(id);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("theirs"));
    let heads: Vec<_> = world.heads(1, id, "row").into_iter().filter_map(|head| head.value).collect();
    assert_eq!(heads, ["theirs", "mine again"]);
    assert_eq!(world.text(1, id, "n/a").as_deref(), Some("115"), "each counts once");
    let set = world.get(1, id, "s/a").unwrap().value;
    assert_eq!(
        Elements::from_bytes(&set).unwrap(),
        ["stays", "comes"].map(Bytes::from).into_iter().collect()
    );
    (0..2).for_each(|at| world.assert_sound(at));
}

#[test]
fn whoever_took_it_by_a_clock_that_was_ahead_as_well_counts_it_once() {
    let (mut world, id) = World::together(3);
    world.schema(0, id, &[("n/", Policy::Merge(Merge::Counter))]);
    world.run(5_000);
    for at in [0, 1] {
        world.links_of(at).into_iter().for_each(|link| world.unlink(link));
    }
    world.ahead(Millis(3_600_000), |world| {
        world.link(0, 1);
        world.operate(0, id, "n/a", Operation::Add(7));
        world.put(0, id, "row", "from 0");
        world.run(5_000);
        world.put(1, id, "row", "from 1");
        world.operate(1, id, "n/a", Operation::Add(1));
        world.run(5_000);
    });
    assert_eq!(world.text(1, id, "n/a").as_deref(), Some("8"));
    world.link(0, 2);
    world.link(1, 2);
    let reissued = world.repair(0);
    assert_eq!((reissued.batches, reissued.dropped), (2, 2));
    assert_eq!(world.text(2, id, "n/a").as_deref(), Some("7"));
    assert_eq!(world.text(0, id, "n/a").as_deref(), Some("7"), "what 1 wrote so far ahead is dropped");
    assert_eq!(world.text(1, id, "n/a").as_deref(), Some("8"), "and it counts what 0 wrote again once");
    assert!(!ahead(&world.nodes[1].notices).is_empty(), "it is mute as well");
    let others = world.repair(1);
    assert_eq!((others.batches, others.dropped), (2, 2));
    world.run(60_000);
    world.assert_same(id);
    assert_eq!(world.text(2, id, "n/a").as_deref(), Some("8"));
    (0..3).for_each(|at| world.assert_sound(at));
}

#[test]
fn what_was_written_again_is_void_where_it_comes_in_its_time() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("n/", Policy::Merge(Merge::Counter))]);
    world.run(5_000);
    world.ahead(Millis(3_600_000), |world| {
        world.operate(0, id, "n/a", Operation::Add(7));
        world.put(0, id, "row", "mine");
        // 1 takes it, and goes away before its clock is right.
        world.run(5_000);
    });
    world.links_of(1).into_iter().for_each(|link| world.unlink(link));
    world.repair(0);
    world.put(0, id, "row", "newer");
    let old = world.nodes[1].core.held(&id).unwrap();
    assert!(old.iter().any(|(author, last)| world.nodes[0].core.held(&id).unwrap()[author] < *last));
    world.link(0, 1);
    world.run(2 * 3_600_000);
    world.assert_same(id);
    assert_eq!(world.text(0, id, "n/a").as_deref(), Some("7"));
    assert_eq!(world.text(1, id, "row").as_deref(), Some("newer"));
    let voided =
        world.nodes[1].notices.iter().any(|notice| matches!(notice, Notice::Judged { voided: 2, .. }));
    assert!(voided, "{:?}", world.nodes[1].notices);
    assert_eq!(world.nodes[0].core.held(&id), world.nodes[1].core.held(&id), "held by all, for nothing");
    (0..2).for_each(|at| world.assert_sound(at));
}

#[test]
fn what_an_admin_said_by_such_a_clock_is_said_again_and_whom_it_let_in_becomes_a_member() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("d/", Policy::Defer)]);
    world.run(5_000);
    world.arrive();
    let now = world.now.wall;
    world.now.wall = now + YEAR;
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(2, invitation).unwrap();
    let more = Command::CreateCollection { syncgroup: id, collection: name("more") };
    world.command(0, more).unwrap();
    world.schema(0, id, &[("d/", Policy::LastWins), ("n/", Policy::Merge(Merge::Counter))]);
    world.operate(0, id, "n/a", Operation::Add(7));
    let row = RowRef { syncgroup: id, collection: name("more"), key: "x".into() };
    world.command(0, Command::Write(LocalWrite::new().put(row, "y"))).unwrap();
    // It lets the newcomer in, whose clock is right.
    let link = world.link(2, 0);
    while world.info(0, id).members < 3 {
        let (at, on, frame) = world.frames.pop_front().expect("a request to join");
        world.event(at, Event::Received { link: on, frame });
    }
    world.now.wall = now;
    world.run(30_000);
    assert_eq!(world.state(2, id), SyncgroupState::Pending);
    assert_eq!(world.info(1, id).members, 2);
    world.repair(0);
    assert_eq!(world.state(2, id), SyncgroupState::Active, "what it waited for was written again");
    world.link(1, 2);
    world.put(2, id, "hello", "world");
    world.run(30_000);
    world.assert_same(id);
    assert_eq!(world.info(1, id).members, 3);
    assert!(world.info(1, id).collections.contains(&name("more")));
    let read = |collection: &str, key: &str| {
        let all = read::collections(&world.nodes[1].store).unwrap();
        let of = all.into_iter().find(|it| it.name == name(collection)).expect("the collection");
        let row = read::get(&world.nodes[1].store, &of, key.as_bytes()).unwrap();
        row.map(|row| String::from_utf8(row.value.to_vec()).unwrap())
    };
    assert_eq!(read("notes", "n/a").as_deref(), Some("7"));
    assert_eq!(read("notes", "hello").as_deref(), Some("world"));
    assert_eq!(read("more", "x").as_deref(), Some("y"));
    (0..3).for_each(|at| world.assert_sound(at));
    world.unlink(link);
}

#[test]
fn a_batch_over_several_syncgroups_is_written_again_as_one() {
    let (mut world, one) = World::together(2);
    let two = world.create(0, "notes");
    let invitation = world.invite(0, two, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    world.run(30_000);
    world.ahead(YEAR, |world| {
        for value in ["1", "2"] {
            let batch = LocalWrite::new().put(world.row(one, "a"), value).put(world.row(two, "b"), value);
            world.command(0, Command::Write(batch)).unwrap();
        }
    });
    world.run(30_000);
    assert_eq!(world.repair(0).batches, 2);
    for id in [one, two] {
        assert_eq!(world.rows(1, id).len(), 1);
        world.assert_same(id);
    }
    assert!(world.nodes[1].core.status().incomplete.is_empty());
    let newest = |id| {
        let head = &world.heads(1, id, if id == one { "a" } else { "b" })[0];
        assert_eq!(head.value.as_deref(), Some(&b"2"[..]));
        head.stamp
    };
    assert_eq!(newest(one), newest(two));
    assert!(!world.nodes[1].notices.iter().any(|notice| matches!(notice, Notice::BatchSplit { .. })));
    (0..2).for_each(|at| world.assert_sound(at));
}

#[test]
fn a_syncgroup_that_was_made_by_such_a_clock_is_left_alone_and_nothing_else_is_changed() {
    let (mut world, id) = World::together(2);
    let mut made = None;
    world.ahead(YEAR, |world| {
        world.put(0, id, "during", "2");
        made = Some(world.create(0, "notes"));
    });
    let made = made.unwrap();
    let before = world.nodes[0].store.clone();
    assert_eq!(world.command(0, Command::Reissue), Err(Refusal::MadeAhead(made)));
    assert_eq!(format!("{:?}", world.nodes[0].store), format!("{before:?}"));
    world.command(0, Command::Leave { syncgroup: made }).unwrap();
    assert_eq!(world.state(0, made), SyncgroupState::Left);
    world.repair(0);
    assert_eq!(world.text(1, id, "during").as_deref(), Some("2"));
    assert!(world.nodes[0].core.last_stamp().wall() <= world.now.wall + Millis(300_000));
    // Also after a restart, though the log of what it has left is as it was.
    world.assert_sound(0);
    world.put(0, id, "later", "3");
    world.link(0, 1);
    world.run(30_000);
    world.assert_same(id);
}

#[test]
fn who_watches_begins_anew_and_readers_are_told_of_what_they_see() {
    let (mut world, id) = World::together(1);
    world.put(0, id, "a", "1");
    let mut changes = Changes::new(vec![(world.collection(0, id), Bytes::new())]);
    while changes.next(&world.nodes[0].store, 10).unwrap().is_some() {}
    world.ahead(YEAR, |world| world.put(0, id, "a", "2"));
    let marker = changes.marker().unwrap();
    while changes.next(&world.nodes[0].store, 10).unwrap().is_some() {}
    world.reissue(0);
    for mut watch in [changes, Changes::resume(vec![(world.collection(0, id), Bytes::new())], marker)] {
        let Some(Update::State { because: Resumed::TooOld, rows, complete, .. }) =
            watch.next(&world.nodes[0].store, 10).unwrap()
        else {
            panic!("not the state")
        };
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].value.as_deref(), Some(&b"2"[..]));
        assert!(complete.is_some());
        world.put(0, id, "a", "3");
        let Some(Update::Batch { rows, .. }) = watch.next(&world.nodes[0].store, 10).unwrap() else {
            panic!("not the change")
        };
        assert_eq!(rows[0].value.as_deref(), Some(&b"3"[..]));
        world.put(0, id, "a", "2");
    }
}

#[test]
fn what_was_lost_with_the_disk_is_not_cut_with_the_rest() {
    let (mut world, id) = World::together(2);
    let hour = Millis(3_600_000);
    world.ahead(hour, |world| {
        world.put(0, id, "kept", "1");
        world.run(5_000);
    });
    let copy = world.nodes[0].store.clone();
    world.ahead(Millis(hour.0 + 10_000), |world| {
        world.put(0, id, "lost", "2");
        world.run(5_000);
    });
    assert_eq!(world.text(1, id, "lost").as_deref(), Some("2"));
    world.reboot(0, copy, Continuity::Unknown);
    assert_eq!(world.repair(0).batches, 1);
    world.link(0, 1);
    world.run(2 * 3_600_000);
    world.assert_same(id);
    assert_eq!(world.rows(0, id), [("kept".into(), "1".into()), ("lost".into(), "2".into())]);
    assert_eq!(world.heads(0, id, "kept").len(), 1);
}

#[test]
fn a_clock_that_is_set_right_in_two_steps_has_it_written_again_twice() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("n/", Policy::Merge(Merge::Counter))]);
    world.run(5_000);
    let hour = Millis(3_600_000);
    world.ahead(hour, |world| world.put(0, id, "early", "x"));
    world.ahead(Millis(2 * hour.0), |world| {
        world.operate(0, id, "n/a", Operation::Add(7));
        // 1 takes it, by the same clock.
        world.run(5_000);
    });
    world.links_of(0).into_iter().for_each(|link| world.unlink(link));
    world.ahead(hour, |world| assert_eq!(world.reissue(0).batches, 1));
    assert_eq!(world.reissue(0).batches, 2, "what was written again by half of the way is ahead as well");
    assert!(world.nodes[0].core.last_stamp().wall() <= world.now.wall);
    world.reissue(1);
    world.link(0, 1);
    world.run(3 * hour.0);
    world.assert_same(id);
    let shown = |world: &World, at, key| world.text(at, id, key);
    assert_eq!(shown(&world, 1, "early").as_deref(), Some("x"));
    assert_eq!(shown(&world, 1, "n/a").as_deref(), Some("7"), "by whatever name it has come");
    (0..2).for_each(|at| world.assert_sound(at));
}

/// Two steps back, and somebody goes on holding the first of three names.
#[test]
fn what_a_log_stood_for_the_next_one_stands_for() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("n/", Policy::Merge(Merge::Counter))]);
    world.run(5_000);
    let hour = Millis(3_600_000);
    world.ahead(hour, |world| world.put(0, id, "early", "x"));
    world.ahead(Millis(2 * hour.0), |world| {
        world.operate(0, id, "n/a", Operation::Add(7));
        world.run(5_000);
    });
    world.links_of(0).into_iter().for_each(|link| world.unlink(link));
    world.ahead(hour, |world| _ = world.reissue(0));
    world.reissue(0);
    // The time of the first name comes, and 1 still has it.
    world.now.wall = world.now.wall + Millis(3 * hour.0);
    world.link(0, 1);
    world.run(60_000);
    world.assert_same(id);
    assert_eq!(world.text(1, id, "n/a").as_deref(), Some("7"));
    (0..2).for_each(|at| world.assert_sound(at));
}

#[test]
fn whoever_was_removed_takes_back_nothing_that_it_was_left() {
    let (mut world, id) = World::together(3);
    world.run(5_000);
    world.apart();
    world.ahead(Millis(3_600_000), |world| {
        let link = world.link(1, 2);
        world.put(1, id, "row", "left alone");
        world.run(5_000);
        world.unlink(link);
    });
    world.reissue(1);
    world.run(2 * 3_600_000);
    let link = world.link(0, 2);
    world.run(30_000);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("left alone"));
    world.unlink(link);
    world.eject(0, id, 1);
    // 2 has not heard, and takes what 1 has written again, and what it says of the rest.
    let link = world.link(1, 2);
    world.run(30_000);
    world.unlink(link);
    world.link(0, 2);
    world.run(30_000);
    assert_eq!(world.nodes[0].core.held(&id), world.nodes[2].core.held(&id));
    for at in [0, 2] {
        assert_eq!(world.text(at, id, "row").as_deref(), Some("left alone"), "{at}");
        world.assert_sound(at);
    }
}

#[test]
fn a_device_goes_on_knowing_its_own_certificates() {
    let (mut world, id) = World::together(2);
    let (user, rights) = (users::key(1), Rights::Write);
    let admit =
        Command::AdmitUser { syncgroup: id, user: user.public(), name: name("user 1"), rights, ends: None };
    world.command(0, admit).unwrap();
    world.run(10_000);
    world.apart();
    world.eject(0, id, 1);
    let certificate = world.certificate(&user, 1, 1);
    world.command(1, Command::Enrol { syncgroup: id, certificate }).unwrap();
    world.ahead(YEAR, |world| world.put(1, id, "row", "of a user's device"));
    world.reissue(1);
    world.relink();
    assert_eq!(world.state(1, id), SyncgroupState::Active, "it has shown it");
    assert_eq!(world.text(0, id, "row").as_deref(), Some("of a user's device"));
    world.assert_same(id);
}

#[test]
fn what_is_written_again_in_a_collection_that_is_held_back_is_found_when_that_comes() {
    let (mut world, id) = World::together(3);
    world.put(1, id, "row", "before");
    world.run(5_000);
    let more = |world: &World, at: usize| {
        let all = read::collections(&world.nodes[at].store).unwrap();
        all.into_iter().find(|it| it.name == name("more"))
    };
    world.links_of(2).into_iter().for_each(|link| world.unlink(link));
    world.ahead(YEAR, |world| {
        let command = Command::CreateCollection { syncgroup: id, collection: name("more") };
        world.command(0, command).unwrap();
        world.run(5_000);
        let row = RowRef { syncgroup: id, collection: name("more"), key: "a".into() };
        world.command(1, Command::Write(LocalWrite::new().put(row, "1"))).unwrap();
    });
    assert_eq!(world.reissue(1).batches, 1);
    assert_eq!(more(&world, 1), None, "it is held back");
    world.link(1, 2);
    world.run(30_000);
    assert_eq!(more(&world, 2), None);
    let of_more = CollectionId::of(&name("more"));
    // Of 1 it may have been told while that was there.
    assert!(!world.nodes[2].changed.iter().any(|it| it.collection == of_more), "nobody finds it");
    (0..3).for_each(|at| world.nodes[at].notices.clear());
    world.link(0, 2);
    world.repair(0);
    for at in 0..3 {
        let collection = more(&world, at).unwrap();
        let row = read::get(&world.nodes[at].store, &collection, b"a").unwrap().unwrap();
        assert_eq!(row.value, "1", "at {at}");
        world.assert_sound(at);
    }
    for at in [1, 2] {
        let looks =
            |notice: &Notice| matches!(notice, Notice::Schema { collection, .. } if *collection == of_more);
        assert!(world.nodes[at].notices.iter().any(looks), "readers of {at} are not told to look");
    }
}

#[test]
fn readers_are_told_of_rows_that_go_where_their_collection_is_written_again() {
    let (mut world, id) = World::together(2);
    let row = RowRef { syncgroup: id, collection: name("more"), key: "a".into() };
    world.ahead(YEAR, |world| {
        let command = Command::CreateCollection { syncgroup: id, collection: name("more") };
        world.command(0, command).unwrap();
        world.run(5_000);
        world.command(1, Command::Write(LocalWrite::new().put(row, "1"))).unwrap();
        world.run(5_000);
    });
    let told = |world: &World| {
        let of = CollectionId::of(&name("more"));
        let last = world.nodes[0].changed.iter().rev().find(|it| it.collection == of && it.key == "a");
        last.map(|it| it.value.clone())
    };
    assert_eq!(told(&world), Some(Some("1".into())));
    world.reissue(0);
    assert_eq!(told(&world), Some(None), "it is gone, and the collection is there");
}
