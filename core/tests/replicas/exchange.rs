//! What is written on one device appears on the others.

use super::*;

#[test]
fn a_row_written_on_one_device_appears_on_the_other() {
    let (mut world, id) = World::together(2);
    world.put(0, id, "greeting", "hello");
    world.deliver();
    assert_eq!(
        world.text(1, id, "greeting").as_deref(),
        Some("hello"),
        "within a round trip, without a timer"
    );
    world.put(1, id, "greeting", "hello yourself");
    world.deliver();
    assert_eq!(world.text(0, id, "greeting").as_deref(), Some("hello yourself"));
    world.run(10_000);
    world.assert_same(id);
}

#[test]
fn a_newcomer_receives_what_was_there_and_then_may_write() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    for n in 0..500 {
        world.put(0, id, &format!("row {n:03}"), "value");
    }
    let invitation = world.invite(0, id, Rights::Write);
    assert_eq!(world.ask_to_join(1, invitation), Ok(Outcome::Joining(id)));
    assert_eq!(world.state(1, id), SyncgroupState::Joining);
    world.link(1, 0);
    world.run(10_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    assert_eq!(world.rows(1, id).len(), 500);
    world.put(1, id, "mine", "too");
    world.run(1_000);
    world.assert_same(id);
    let members = world.nodes[0].core.members(&id).unwrap();
    assert_eq!(members.iter().filter(|member| member.rights == Some(Rights::Write)).count(), 1);
}

#[test]
fn a_newcomer_whose_admitter_vanished_makes_itself_known_to_the_other_members() {
    let mut world = World::new(4);
    let id = world.create(0, "notes");
    for newcomer in [1, 2] {
        let invitation = world.invite(0, id, Rights::Write);
        world.ask_to_join(newcomer, invitation).unwrap();
        let link = world.link(newcomer, 0);
        world.run(10_000);
        world.unlink(link);
    }
    world.put(1, id, "by 1", "there");
    world.put(2, id, "by 2", "there");
    // 0 admitted both, and is never seen again: to 1, 2 is a stranger.
    let link = world.link(1, 2);
    world.run(10_000);
    assert_eq!(world.rows(1, id).len(), 2);
    assert_eq!(world.rows(2, id), world.rows(1, id));
    world.unlink(link);
    // A device that was never admitted learns nothing.
    world.link(3, 2);
    world.run(600_000);
    assert!(world.nodes[3].core.syncgroups().is_empty());
    let sent = world.sent;
    world.run(86_400_000);
    assert_eq!(world.sent, sent, "nothing to say for a day");
}

#[test]
fn concurrent_writes_converge_on_the_same_winner_and_the_next_write_closes_the_conflict() {
    let (mut world, id) = World::together(3);
    for link in world.links.keys().copied().collect::<Vec<_>>() {
        world.unlink(link);
    }
    for at in 0..3 {
        world.put(at, id, "contested", &format!("by {at}"));
        world.put(at, id, &format!("own {at}"), "kept");
    }
    world.link(0, 1);
    world.link(1, 2);
    world.run(60_000);
    world.assert_same(id);
    assert_eq!(world.heads(0, id, "contested").len(), 3);
    assert!(world.get(0, id, "contested").unwrap().in_conflict);
    assert_eq!(world.rows(0, id).len(), 4);
    world.put(1, id, "contested", "settled");
    world.run(60_000);
    world.assert_same(id);
    assert_eq!(world.heads(2, id, "contested").len(), 1);
    assert_eq!(world.text(2, id, "contested").as_deref(), Some("settled"));
}

#[test]
fn replicas_that_agree_fall_silent() {
    let (mut world, id) = World::together(4);
    world.put(0, id, "k", "v");
    world.run(60_000);
    world.assert_same(id);
    let before = world.sent;
    world.run(86_400_000);
    assert_eq!(world.sent, before, "nothing to say for a day");
}

#[test]
fn what_comes_from_the_future_is_asked_for_less_and_less_often() {
    let (mut world, id) = World::together(4);
    let links: Vec<_> = world.links_of(0);
    links.into_iter().for_each(|link| world.unlink(link));
    let ahead = Millis(20 * 60_000);
    world.now.wall = world.now.wall + ahead;
    world.put(0, id, "k", "from the future");
    world.now.wall = Wall(world.now.wall.0 - ahead.0);
    let sent = world.sent;
    for other in 1..4 {
        world.link(0, other);
    }
    world.run(10 * 60_000);
    assert_eq!(world.text(1, id, "k"), None);
    assert!(world.sent - sent < 600, "{} frames in ten minutes", world.sent - sent);
    world.run(15 * 60_000);
    assert_eq!(world.text(1, id, "k").as_deref(), Some("from the future"));
    world.assert_same(id);
}

#[test]
fn what_cannot_be_taken_yet_keeps_no_news_waiting() {
    let (mut world, id) = World::together(4);
    world.apart();
    // 1 takes what 3 writes by a clock that is ahead, and 2 does not.
    let ahead = Millis(60 * 60_000);
    world.nodes[1].config.limits.drift = ahead;
    let store = world.nodes[1].store.clone();
    world.reboot(1, store, Continuity::Shown);
    world.now.wall = world.now.wall + ahead;
    world.put(3, id, "k", "from the future");
    world.now.wall = Wall(world.now.wall.0 - ahead.0);
    for (one, other) in [(3, 1), (0, 1), (1, 2)] {
        world.link(one, other);
    }
    world.run(20 * 60_000);
    assert_eq!(world.text(1, id, "k").as_deref(), Some("from the future"));
    assert_eq!(world.text(2, id, "k"), None);
    let links = world.links_of(0);
    links.into_iter().for_each(|link| world.unlink(link));
    world.put(0, id, "row", "now");
    world.link(0, 1);
    world.run(5_000);
    assert_eq!(world.text(2, id, "row").as_deref(), Some("now"));
}

#[test]
fn one_device_that_says_nothing_does_not_hold_all_links() {
    let mut world = World::new(3);
    let peer = world.nodes[1].core.keys().clone();
    for number in 0..200 {
        let link = LinkId(1_000 + number);
        world.event(0, Event::LinkUp { link, peer: peer.clone(), initiated: false, address: None });
    }
    assert_eq!(world.nodes[0].core.status().links.len(), 4);
    assert!(world.closed.iter().all(|reason| *reason == CloseReason::Duplicate));
    // Others, and the device itself once it speaks, get through.
    for other in [1, 2] {
        world.link(other, 0);
        world.run(5_000);
        let links = world.nodes[other].core.status().links;
        assert!(links.iter().any(|link| link.agreed), "{links:?}");
    }
}

#[test]
fn two_replicas_that_agree_find_out_with_frames_of_constant_size() {
    let bytes = |rows: usize| {
        let (mut world, id) = World::together(2);
        for n in 0..rows {
            world.put(n % 2, id, &format!("row {n}"), "value");
        }
        world.run(60_000);
        for link in world.links.keys().copied().collect::<Vec<_>>() {
            world.unlink(link);
        }
        let (frames, bytes) = (world.sent, world.bytes);
        world.link(0, 1);
        world.run(60_000);
        (world.sent - frames, world.bytes - bytes)
    };
    let (few, many) = (bytes(2), bytes(400));
    assert_eq!(few.0, many.0);
    assert!(many.1 <= few.1 + 16, "{few:?} {many:?}");
}

#[test]
fn what_is_not_durable_is_neither_shown_nor_called_safe() {
    let (mut world, id) = World::together(2);
    world.nodes[0].durable = false;
    let write = LocalWrite::new().put(world.row(id, "k"), "v");
    let request = world.ask(0, Command::Write(write));
    world.run(60_000);
    assert_eq!(world.text(0, id, "k").as_deref(), Some("v"), "visible to local readers at once");
    assert_eq!(world.text(1, id, "k"), None);
    assert_eq!(world.nodes[0].replies.get(&request), None);
    let seq = world.nodes[0].core.last_commit();
    world.event(0, Event::Durable { seq });
    world.deliver();
    assert!(world.nodes[0].replies.get(&request).is_some_and(Result::is_ok));
    world.run(60_000);
    assert_eq!(world.text(1, id, "k").as_deref(), Some("v"));
}

#[test]
fn a_restart_continues_where_the_store_is() {
    let (mut world, id) = World::together(3);
    for n in 0..20 {
        world.put(n % 3, id, &format!("row {n}"), "before");
    }
    world.run(60_000);
    let author = world.nodes[1].core.author();
    let (status, members) = (world.nodes[1].core.syncgroups(), world.nodes[1].core.members(&id));
    let store = world.nodes[1].store.clone();
    world.reboot(1, store, Continuity::Shown);
    assert_eq!(world.nodes[1].core.author(), author);
    assert_eq!(world.nodes[1].core.syncgroups(), status);
    assert_eq!(world.nodes[1].core.members(&id), members);
    world.link(1, 0);
    world.link(1, 2);
    world.put(1, id, "row 1", "after");
    world.run(60_000);
    world.assert_same(id);
    assert_eq!(world.text(2, id, "row 1").as_deref(), Some("after"));
}

#[test]
fn a_store_that_was_set_back_goes_on_as_another_author_and_gets_its_own_log_back() {
    let (mut world, id) = World::together(2);
    world.put(1, id, "old", "in the backup");
    world.run(10_000);
    let backup = world.nodes[1].store.clone();
    world.put(1, id, "new", "not in the backup");
    world.run(10_000);
    let author = world.nodes[1].core.author();
    // The driver believes that the store continues: the peer knows better.
    world.reboot(1, backup, Continuity::Shown);
    world.link(0, 1);
    world.run(10_000);
    assert_ne!(world.nodes[1].core.author(), author);
    assert!(world.nodes[1].notices.iter().any(|notice| matches!(notice, Notice::SetBack { .. })));
    assert_eq!(world.text(1, id, "new").as_deref(), Some("not in the backup"));
    world.put(1, id, "newer", "by the successor");
    world.run(10_000);
    world.assert_same(id);
}

#[test]
fn a_store_set_back_to_before_it_knew_a_syncgroup_goes_on_as_another_author_there() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    let backup = world.nodes[1].store.clone();
    let invitation = world.invite(0, id, Rights::Write);
    world.link(0, 1);
    world.ask_to_join(1, invitation).unwrap();
    world.run(10_000);
    world.put(1, id, "new", "not in the backup");
    world.run(10_000);
    let author = world.nodes[1].core.author();
    // Nothing of the syncgroup is known when the peer tells what it holds of this device's log.
    world.reboot(1, backup, Continuity::Shown);
    assert_eq!(world.nodes[1].core.author(), author);
    world.link(0, 1);
    world.run(10_000);
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    world.run(10_000);
    assert_eq!(world.text(1, id, "new").as_deref(), Some("not in the backup"));
    assert_ne!(world.nodes[1].core.author(), author);
    assert!(world.nodes[1].notices.iter().any(|notice| matches!(notice, Notice::SetBack { .. })));
    world.put(1, id, "newer", "by the successor");
    world.run(10_000);
    world.assert_same(id);
}

#[test]
fn nobody_is_let_in_before_they_have_shown_what_they_hold_of_ones_own_log() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    let invitation = world.invite(0, id, Rights::Write);
    world.link(0, 1);
    world.ask_to_join(1, invitation).unwrap();
    // What node 1 offers gets lost, and what it asks does not.
    let is_offer = |frame: &[u8]| matches!(inspect::frame(frame), Some(inspect::Frame::Offer { .. }));
    let mut asked = 0;
    while let Some((at, link, frame)) = world.frames.pop_front() {
        if at == 0 && is_offer(&frame) {
            continue;
        }
        asked += usize::from(matches!(inspect::frame(&frame), Some(inspect::Frame::Join { .. })));
        world.event(at, Event::Received { link, frame });
    }
    assert!(asked > 0);
    assert_eq!(world.info(0, id).members, 1);
    world.run(10_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
}

#[test]
fn knowledge_travels_along_a_chain() {
    let (mut world, id) = World::together(5);
    for link in world.links.keys().copied().collect::<Vec<_>>() {
        world.unlink(link);
    }
    for at in 0..4 {
        world.link(at, at + 1);
    }
    world.run(60_000);
    for round in 0..10 {
        for at in 0..5 {
            world.put(at, id, &format!("row {at}"), &format!("round {round}"));
        }
    }
    world.run(60_000);
    world.assert_same(id);
}

#[test]
fn large_amounts_come_in_chunks_against_credit() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    let value = "x".repeat(100_000);
    for n in 0..50 {
        world.put(0, id, &format!("row {n:02}"), &value);
    }
    let invitation = world.invite(0, id, Rights::Read);
    world.ask_to_join(1, invitation).unwrap();
    let (near, far) = (LinkId(1_001), LinkId(1_002));
    world.links.insert(near, (0, far, 1));
    world.links.insert(far, (1, near, 0));
    for (at, link, peer) in [(0, near, 1), (1, far, 0)] {
        let peer = world.nodes[peer].core.keys().clone();
        world.event(at, Event::LinkUp { link, peer, initiated: at == 0, address: None });
    }
    world.event(1, Event::Writable { link: far, credit: 1 << 20 });
    world.event(0, Event::Writable { link: near, credit: 1_000 });
    world.run(1_000);
    assert_eq!(world.state(1, id), SyncgroupState::Pending);
    assert!(world.info(1, id).generations < 5, "no more than one chunk has come with so little credit");
    for _ in 0..30 {
        world.event(0, Event::Writable { link: near, credit: 200_000 });
        let before = world.bytes;
        world.run(100);
        assert!(world.bytes - before < 700_000, "one chunk at a time");
    }
    assert_eq!(world.rows(1, id).len(), 50);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
}

#[test]
fn a_restart_in_the_middle_of_a_transfer_resumes_from_what_is_held() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    let value = "x".repeat(10_000);
    for n in 0..200 {
        world.put(0, id, &format!("row {n:03}"), &value);
    }
    let invitation = world.invite(0, id, Rights::Read);
    world.ask_to_join(1, invitation).unwrap();
    for _ in 0..100 {
        let link = world.link(0, 1);
        // A few frames, then the link breaks.
        for _ in 0..12 {
            if let Some((at, on, frame)) = world.frames.pop_front() {
                world.event(at, Event::Received { link: on, frame });
            } else {
                world.event(0, Event::Tick);
            }
        }
        world.unlink(link);
    }
    assert_eq!(world.rows(1, id).len(), 200);
    let data = 200 * 10_000;
    assert!(world.bytes < 3 * data, "{} bytes for {data}", world.bytes);
}

/// It has written as much as it had before, and something else.
#[test]
fn a_store_that_was_set_back_and_has_caught_up_is_noticed_too() {
    let (mut world, id) = World::together(2);
    world.put(1, id, "old", "in the backup");
    world.run(10_000);
    let backup = world.nodes[1].store.clone();
    world.put(1, id, "new", "not in the backup");
    world.run(10_000);
    let author = world.nodes[1].core.author();
    world.reboot(1, backup, Continuity::Shown);
    for n in 0..5 {
        world.put(1, id, &format!("row {n}"), "in the place of the other");
    }
    world.link(0, 1);
    world.run(10_000);
    assert_ne!(world.nodes[1].core.author(), author);
    let told = |notice: &&Notice| matches!(notice, Notice::SetBack { .. });
    assert_eq!(world.nodes[1].notices.iter().filter(told).count(), 1);
}

/// Of more logs than a replica takes the rest is sent again and again: it may have room some day.
#[test]
fn logs_for_which_there_is_no_room_are_sent_less_and_less_often() {
    let (mut world, id) = World::together(4);
    world.apart();
    world.nodes[3].config.limits.authors = 3;
    let store = world.nodes[3].store.clone();
    world.reboot(3, store, Continuity::Shown);
    world.link(0, 1);
    world.link(0, 2);
    let value = "x".repeat(100_000);
    for begins_anew in [false, true] {
        for at in [1, 2] {
            if begins_anew {
                let store = world.nodes[at].store.clone();
                world.reboot(at, store, Continuity::Unknown);
                world.link(0, at);
            }
            for n in 0..8 {
                world.put(at, id, &format!("row {n} by {at}, {begins_anew}"), &value);
            }
            world.run(60_000);
        }
    }
    let held = |world: &World, at: usize| world.nodes[at].core.held(&id).unwrap().len();
    assert_eq!(held(&world, 0), 5);
    world.link(0, 3);
    world.run(600_000);
    assert_eq!(held(&world, 3), 3);
    let bytes = world.bytes;
    world.run(3_600_000);
    let bytes = world.bytes - bytes;
    // Two logs of 800 kB, once in five minutes.
    assert!(bytes < 30 * 1_600_000, "{bytes} bytes in an hour");
}

/// A member of two others' syncgroup that knows where both can be reached, and takes so many links.
fn lonely(links: usize) -> World {
    let (mut world, _) = World::together(3);
    world.apart();
    world.nodes[0].config.limits.links = links;
    let store = world.nodes[0].store.clone();
    world.reboot(0, store, Continuity::Shown);
    for other in [1, 2] {
        let device = world.nodes[other].core.public_key().device();
        world.event(0, Event::PeerFound { device, address: Address::new("somewhere").unwrap() });
    }
    world
}

#[test]
fn a_link_for_which_there_is_no_room_is_not_dialled_for_at_once_again() {
    let mut world = lonely(4);
    world.nodes[0].is_answered = true;
    let peer = world.nodes[1].core.keys().clone();
    for number in 0..4 {
        let link = LinkId(1_000 + number);
        world.event(0, Event::LinkUp { link, peer: peer.clone(), initiated: false, address: None });
    }
    world.run(3_600_000);
    assert!(world.closed.contains(&CloseReason::TooManyLinks));
    let (hour, calls) = (3_600, world.nodes[0].called.len());
    assert!((10..hour / 10).contains(&calls), "{calls} calls in an hour");
}

#[test]
fn whoever_takes_one_link_makes_one() {
    let mut world = lonely(1);
    world.run(1_000);
    assert!(!world.nodes[0].called.is_empty());
}
