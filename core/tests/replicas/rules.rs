//! Rights, refusals, bad input.

use driftless::store::{Commit, Scan, Table, View, Write};

use super::*;

#[test]
fn a_reader_may_not_write_and_a_stranger_sees_nothing() {
    let mut world = World::new(3);
    let id = world.create(0, "notes");
    world.put(0, id, "k", "v");
    let invitation = world.invite(0, id, Rights::Read);
    world.ask_to_join(1, invitation).unwrap();
    world.link(0, 1);
    world.link(0, 2);
    world.run(60_000);
    assert_eq!(world.text(1, id, "k").as_deref(), Some("v"));
    let write = LocalWrite::new().put(world.row(id, "k"), "changed");
    assert_eq!(world.command(1, Command::Write(write)), Err(Refusal::Forbidden("write")));
    let invite = Command::Invite {
        syncgroup: id,
        rights: Rights::Admin,
        ends: None,
        valid_for: Millis(1_000),
        reusable: false,
        addresses: vec![],
    };
    assert_eq!(world.command(1, invite), Err(Refusal::Forbidden("invite")));
    assert_eq!(world.nodes[2].core.syncgroups(), []);
    assert_eq!(world.nodes[2].store.bytes(), World::new(3).nodes[2].store.bytes());
}

#[test]
fn an_invitation_admits_one_device_unless_it_says_otherwise() {
    let mut world = World::new(3);
    let id = world.create(0, "notes");
    let invitation = world.invite(0, id, Rights::Write);
    for at in [1, 2] {
        world.ask_to_join(at, invitation.clone()).unwrap();
        world.link(0, at);
        world.run(10_000);
    }
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    assert_eq!(world.state(2, id), SyncgroupState::Refused(JoinRefusal::Used));
    // A fresh one helps.
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(2, invitation).unwrap();
    world.run(10_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active);
}

#[test]
fn an_expired_invitation_is_refused_on_both_sides() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation.clone()).unwrap();
    world.run(4_000_000);
    world.link(0, 1);
    world.run(10_000);
    assert_eq!(world.state(1, id), SyncgroupState::Refused(JoinRefusal::Expired));
    assert!(matches!(world.ask_to_join(1, invitation), Err(Refusal::Invitation(_))));
}

#[test]
fn two_admins_who_admit_at_the_same_time_lose_nobody() {
    let mut world = World::new(4);
    let id = world.create(0, "notes");
    let invitation = world.invite(0, id, Rights::Admin);
    world.ask_to_join(1, invitation).unwrap();
    let link = world.link(0, 1);
    world.run(10_000);
    world.unlink(link);
    for (admin, joiner) in [(0, 2), (1, 3)] {
        let invitation = world.invite(admin, id, Rights::Write);
        world.ask_to_join(joiner, invitation).unwrap();
        world.link(admin, joiner);
    }
    world.run(10_000);
    world.link(0, 1);
    world.run(60_000);
    for at in 0..4 {
        assert_eq!(world.info(at, id).members, 4, "at {at}");
    }
    world.put(2, id, "a", "1");
    world.put(3, id, "b", "2");
    world.run(60_000);
    world.assert_same(id);
}

#[test]
fn whoever_leaves_keeps_what_it_has_and_others_know_it() {
    let (mut world, id) = World::together(3);
    world.put(1, id, "k", "mine");
    world.run(10_000);
    assert_eq!(world.command(0, Command::Leave { syncgroup: id }), Err(Refusal::LastAdmin));
    assert_eq!(world.command(1, Command::Leave { syncgroup: id }), Ok(Outcome::Left(id)));
    world.run(10_000);
    world.put(0, id, "k", "changed since");
    world.run(60_000);
    assert_eq!(world.text(1, id, "k").as_deref(), Some("mine"));
    assert_eq!(world.text(2, id, "k").as_deref(), Some("changed since"));
    let write = LocalWrite::new().put(world.row(id, "k"), "no");
    assert_eq!(world.command(1, Command::Write(write)), Err(Refusal::NotMember));
    assert_eq!(world.info(2, id).members, 2);
    // And comes back with a new invitation.
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    world.put(1, id, "k", "again");
    world.run(60_000);
    world.assert_same(id);
}

#[test]
fn a_pending_syncgroup_refuses_writes_with_the_reason() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    let write = LocalWrite::new().put(world.row(id, "k"), "v");
    assert_eq!(world.command(1, Command::Write(write)), Err(Refusal::Pending));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let (mut world, id) = World::together(1);
    let mut refuse = |batch: LocalWrite| {
        let before = world.nodes[0].store.clone();
        let refusal = world.command(0, Command::Write(batch)).unwrap_err();
        assert_eq!(world.nodes[0].store, before);
        refusal
    };
    let row = |collection: &str, key: Vec<u8>| RowRef {
        syncgroup: id,
        collection: name(collection),
        key: key.into(),
    };
    let ok = || row("notes", vec![1]);
    let put = |row, value: Vec<u8>| LocalWrite::new().put(row, value);
    assert_eq!(refuse(put(row("notes", vec![0; 1025]), vec![])), Refusal::KeyTooLong { size: 1025 });
    assert_eq!(refuse(put(ok(), vec![0; (1 << 20) + 1])), Refusal::ValueTooLong { size: (1 << 20) + 1 });
    assert_eq!(refuse(put(row("letters", vec![1]), vec![])), Refusal::NoCollection(name("letters")));
    let many =
        (0..5u8).fold(LocalWrite::new(), |batch, n| batch.put(row("notes", vec![n]), vec![0; 1 << 20]));
    assert!(matches!(refuse(many), Refusal::BatchTooLarge { .. }));
    let elsewhere = RowRef { syncgroup: SyncgroupId([9; 32]), ..ok() };
    assert_eq!(refuse(put(elsewhere, vec![])), Refusal::NoSyncgroup(SyncgroupId([9; 32])));
}

#[test]
fn the_largest_key_and_value_are_taken() {
    let (mut world, id) = World::together(2);
    let row = RowRef { key: vec![7; 1024].into(), ..world.row(id, "") };
    world.command(0, Command::Write(LocalWrite::new().put(row, vec![9; 1 << 20]))).unwrap();
    world.put(0, id, "", "");
    world.run(10_000);
    assert_eq!(world.nodes[1].core.visible_digest(&id), world.nodes[0].core.visible_digest(&id));
    assert_eq!(world.text(1, id, "").as_deref(), Some(""), "the empty key is a key");
}

#[test]
fn a_batch_is_its_net_effect_and_deleting_nothing_writes_nothing() {
    let (mut world, id) = World::together(2);
    let held = |world: &World| world.nodes[0].core.knowledge(&id).unwrap();
    let before = held(&world);
    assert_eq!(world.delete(0, id, "unknown"), Ok(Outcome::Written(vec![])));
    assert_eq!(held(&world), before);
    let (a, b) = (world.row(id, "a"), world.row(id, "b"));
    let batch = LocalWrite::new().put(a.clone(), "1").put(b.clone(), "1").put(a, "2").delete(b);
    world.command(0, Command::Write(batch)).unwrap();
    world.run(10_000);
    for at in 0..2 {
        assert_eq!(world.rows(at, id), [("a".into(), "2".into())], "at {at}");
        assert_eq!(world.heads(at, id, "b"), [], "never there, never written");
        assert_eq!(world.heads(at, id, "unknown"), []);
    }
    world.assert_same(id);
}

#[test]
fn preconditions_guard_rows_and_ranges() {
    let (mut world, id) = World::together(1);
    world.put(0, id, "a", "1");
    world.put(0, id, "c", "1");
    let row = |world: &World, key: &str| world.row(id, key);
    let heads: Vec<_> = world.heads(0, id, "a").iter().map(|head| head.version).collect();
    let seen = Precondition::Heads { row: row(&world, "a"), heads };
    let absent = Precondition::Heads { row: row(&world, "b"), heads: vec![] };
    let rows: Vec<_> = ["a", "c"].iter().map(|key| world.get(0, id, key).unwrap()).collect();
    let range = Precondition::Range { from: row(&world, ""), to: None, rows };
    let guarded = |world: &World| {
        let batch = LocalWrite::new().put(world.row(id, "b"), "2");
        batch.require(seen.clone()).require(absent.clone()).require(range.clone())
    };
    let batch = guarded(&world);
    world.command(0, Command::Write(batch)).unwrap();
    let batch = guarded(&world);
    assert_eq!(world.command(0, Command::Write(batch)), Err(Refusal::Precondition { index: 1 }));
    let phantom = LocalWrite::new().put(world.row(id, "d"), "3").require(range.clone());
    assert_eq!(world.command(0, Command::Write(phantom)), Err(Refusal::Precondition { index: 0 }));
}

#[test]
fn garbage_and_half_frames_close_the_link_and_nothing_else() {
    let (mut world, id) = World::together(3);
    let mut frames = Vec::new();
    world.put(0, id, "k", "v");
    world.event(0, Event::Tick);
    frames.extend(world.frames.iter().map(|(_, _, frame)| frame.clone()));
    assert!(!frames.is_empty());
    world.run(10_000);
    let mut garbage: Vec<Bytes> = vec![Bytes::new(), Bytes::from_static(&[0xff; 100])];
    garbage.extend(frames.iter().map(|frame| frame.slice(..frame.len() / 2)));
    for frame in garbage {
        let link = world.links_of(1)[0];
        let (_, _, peer) = world.links[&link];
        world.event(1, Event::Received { link, frame });
        assert_eq!(world.closed.last(), Some(&CloseReason::Garbled));
        assert!(!world.links.contains_key(&link));
        world.link(1, peer);
        world.run(10_000);
    }
    world.put(1, id, "k", "still here");
    world.run(10_000);
    assert_eq!(world.text(2, id, "k").as_deref(), Some("still here"));
}

#[test]
fn a_run_that_was_tampered_with_is_refused_and_nothing_of_it_applied() {
    let (mut world, id) = World::together(2);
    world.put(0, id, "k", "genuine");
    world.event(0, Event::Tick);
    let (to, link, frame) = world.frames.pop_back().expect("the deltas");
    assert_eq!(to, 1);
    let at = frame.windows(7).position(|part| part == b"genuine").expect("the value in the frame");
    let mut forged = frame.to_vec();
    forged[at..at + 7].copy_from_slice(b"forgery");
    world.event(to, Event::Received { link, frame: forged.into() });
    assert_eq!(world.closed, [CloseReason::BadRun]);
    assert_eq!(world.text(1, id, "k"), None);
    // Every other single changed byte is refused too, or changes nothing that is shown.
    for at in (0..frame.len()).step_by(3) {
        world.link(0, 1);
        world.deliver();
        world.frames.clear();
        let Some(link) = world.links_of(1).first().copied() else { continue };
        let mut forged = frame.to_vec();
        forged[at] ^= 0x41;
        world.event(1, Event::Received { link, frame: forged.into() });
        assert!(world.text(1, id, "k").is_none_or(|text| text == "genuine"), "byte {at}");
        world.links_of(1).into_iter().for_each(|link| world.unlink(link));
    }
    world.link(0, 1);
    world.run(400_000);
    assert_eq!(world.text(1, id, "k").as_deref(), Some("genuine"));
}

#[test]
fn the_same_events_give_the_same_actions() {
    let trace = || {
        let (mut world, id) = World::together(3);
        for n in 0..10 {
            world.put(n % 3, id, "k", &format!("{n}"));
        }
        world.run(10_000);
        let digests: Vec<_> = world.nodes.iter().map(|node| node.core.visible_digest(&id)).collect();
        (world.sent, world.bytes, digests, world.nodes[2].store.clone())
    };
    assert_eq!(trace(), trace());
}

#[test]
fn a_second_link_to_the_same_device_is_closed_and_a_link_to_oneself() {
    let (mut world, id) = World::together(2);
    world.link(0, 1);
    world.run(1_000);
    assert_eq!(world.closed, [CloseReason::Duplicate]);
    assert_eq!(world.links.len(), 2, "one link, two ends");
    world.put(0, id, "k", "v");
    world.run(10_000);
    world.assert_same(id);
    let link = LinkId(9_999);
    let peer = world.nodes[0].core.keys().clone();
    world.event(0, Event::LinkUp { link, peer, initiated: true, address: None });
    assert_eq!(world.closed.last(), Some(&CloseReason::Myself));
}

#[test]
fn a_device_announces_itself_while_it_has_a_reason_to() {
    let mut world = World::new(1);
    assert!(!world.nodes[0].advertised);
    let id = world.create(0, "notes");
    assert!(world.nodes[0].advertised);
    world.command(0, Command::Leave { syncgroup: id }).unwrap();
    assert!(!world.nodes[0].advertised);
}

#[test]
fn a_shutdown_makes_durable_what_was_accepted_and_takes_nothing_more() {
    let (mut world, id) = World::together(2);
    world.nodes[0].durable = false;
    let write = LocalWrite::new().put(world.row(id, "k"), "v");
    let accepted = world.ask(0, Command::Write(write.clone()));
    world.event(0, Event::Shutdown);
    let refused = world.ask(0, Command::Write(write));
    assert_eq!(world.nodes[0].replies[&refused], Err(Refusal::ShuttingDown));
    assert!(!world.nodes[0].stopped);
    let seq = world.nodes[0].core.last_commit();
    world.event(0, Event::Durable { seq });
    assert!(world.nodes[0].stopped);
    assert!(world.nodes[0].replies[&accepted].is_ok());
    assert_eq!(world.closed, [CloseReason::Shutdown]);
    assert!(!world.nodes[0].advertised);
}

#[test]
fn a_batch_over_several_syncgroups_is_written_in_each() {
    let mut world = World::new(1);
    let (one, two) = (world.create(0, "notes"), world.create(0, "notes"));
    let batch = LocalWrite::new().put(world.row(one, "a"), "1").put(world.row(two, "b"), "2");
    let Ok(Outcome::Written(parts)) = world.command(0, Command::Write(batch)) else { panic!("not written") };
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0].stamp, parts[1].stamp);
    assert_eq!(world.text(0, one, "a").as_deref(), Some("1"));
    assert_eq!(world.text(0, two, "b").as_deref(), Some("2"));
}

#[test]
fn stamps_from_too_far_ahead_wait_for_the_clock() {
    let (mut world, id) = World::together(2);
    let here = world.now.wall;
    world.now.wall = here + Millis(600_000);
    world.put(0, id, "k", "from the future");
    world.now.wall = here;
    world.run(30_000);
    assert_eq!(world.text(1, id, "k"), None);
    assert!(world.nodes[1].notices.iter().any(|notice| matches!(notice, Notice::FromTheFuture { .. })));
    world.run(1_200_000);
    assert_eq!(world.text(1, id, "k").as_deref(), Some("from the future"));
    world.assert_same(id);
}

#[test]
fn whoever_gives_up_on_joining_is_no_member_in_the_end() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    // Admitted, but the answer does not arrive.
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    let link = world.link(1, 0);
    while world.info(0, id).members == 1 {
        let (at, on, frame) = world.frames.pop_front().expect("a request to join");
        world.event(at, Event::Received { link: on, frame });
    }
    world.unlink(link);
    assert_eq!(world.state(1, id), SyncgroupState::Joining);
    world.command(1, Command::Leave { syncgroup: id }).unwrap();
    assert_eq!(world.state(1, id), SyncgroupState::Leaving);
    world.link(0, 1);
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Left);
    assert_eq!(world.info(0, id).members, 1);
    // Never admitted: asking whether it was does not make it so, and does not use the invitation up.
    let invitation = world.invite(0, id, Rights::Write);
    for link in world.links_of(0) {
        world.unlink(link);
    }
    world.ask_to_join(1, invitation.clone()).unwrap();
    world.command(1, Command::Leave { syncgroup: id }).unwrap();
    world.link(0, 1);
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Left);
    assert_eq!(world.info(0, id).members, 1);
    world.ask_to_join(1, invitation).unwrap();
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
}

#[test]
fn a_member_that_asks_again_with_a_used_invitation_stays_one() {
    let mut world = World::new(3);
    let id = world.create(0, "notes");
    let used = world.invite(0, id, Rights::Write);
    world.ask_to_join(2, used.clone()).unwrap();
    world.link(0, 2);
    world.run(10_000);
    // Admitted, but the answer does not arrive; then another invitation, which is used up.
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    let link = world.link(1, 0);
    while world.info(0, id).members == 2 {
        let (at, on, frame) = world.frames.pop_front().expect("a request to join");
        world.event(at, Event::Received { link: on, frame });
    }
    world.unlink(link);
    world.ask_to_join(1, used).unwrap();
    world.link(0, 1);
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
}

#[test]
fn two_replicas_that_know_the_same_and_show_something_else_raise_an_alarm() {
    let (mut world, id) = World::together(2);
    world.put(0, id, "k", "v");
    world.run(10_000);
    // A defect, or a disk that lies: the digest of what is shown is not what it was.
    let mut store = world.nodes[1].store.clone();
    let mut tips = Vec::new();
    store
        .scan(&Scan::all(Table::Tip), &mut |key, value| {
            tips.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    let writes = tips.into_iter().map(|(key, mut value)| {
        value[0] ^= 1;
        Write::put(Table::Tip, &key, &value)
    });
    let seq = CommitSeq(store.seq().0);
    store.apply(&Commit { seq, writes: writes.collect() });
    world.reboot(1, store, Continuity::Shown);
    world.link(0, 1);
    world.run(10_000);
    let diverged = |node: &Node| node.notices.iter().any(|notice| matches!(notice, Notice::Diverged { .. }));
    assert!(world.nodes.iter().all(diverged), "both ends say so");
}

#[test]
fn a_damaged_store_is_refused_at_boot_by_name() {
    let (world, _) = World::together(2);
    let store = &world.nodes[0].store;
    let identity = |secret| Identity { chain: None, secret, continuity: Continuity::Shown };
    let boot = |store: &MemStore, secret: &SecretKey| {
        let config = Config::new(name("again"));
        Core::boot(&config, &identity(secret.clone()), [0; 32], store, &mut Outbox::new()).err()
    };
    let secret = &world.nodes[0].secret;
    assert_eq!(boot(store, secret), None);
    assert!(matches!(boot(store, &SecretKey([99; 32])), Some(BootError::OtherDevice { .. })));
    // Every single entry that is cut short or lost: an error that names the table, or no harm; never a panic.
    for table in Table::ALL {
        let mut keys = Vec::new();
        store
            .scan(&Scan::all(table), &mut |key, value| {
                keys.push((key.to_vec(), value.to_vec()));
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        for (key, value) in keys {
            let seq = store.seq();
            let mut damage = vec![Write::remove(table, &key)];
            damage.extend((0..value.len()).map(|len| Write::put(table, &key, &value[..len])));
            for write in damage {
                let mut damaged = store.clone();
                damaged.apply(&Commit { seq, writes: vec![write] });
                let error = boot(&damaged, secret);
                let is_named = matches!(
                    error,
                    None | Some(
                        BootError::Fault(Fault::Corrupt { .. })
                            | BootError::NewerFormat { .. }
                            | BootError::OlderFormat { .. }
                    )
                );
                assert!(is_named, "{error:?}");
            }
        }
    }
}

#[test]
fn deleting_a_row_of_which_versions_disagree_whether_it_is_there_decides_that() {
    let (mut world, id) = World::together(2);
    world.put(0, id, "k", "old");
    world.run(10_000);
    let link = world.links_of(0)[0];
    world.unlink(link);
    world.put(1, id, "k", "kept");
    world.now.mono.0 += 1_000;
    world.now.wall.0 += 1_000;
    let delete = |world: &World| LocalWrite::new().delete(world.row(id, "k"));
    let batch = delete(&world);
    world.command(0, Command::Write(batch)).unwrap();
    world.link(0, 1);
    world.run(10_000);
    assert_eq!(world.heads(1, id, "k").len(), 2, "the deletion is shown, and the value stands against it");
    let batch = delete(&world);
    world.command(1, Command::Write(batch)).unwrap();
    world.run(10_000);
    for at in 0..2 {
        assert_eq!((world.rows(at, id), world.heads(at, id, "k").len()), (vec![], 1));
    }
    world.assert_same(id);
}

#[test]
fn an_admin_that_has_written_its_share_of_metadata_can_still_remove_others() {
    let (mut world, id) = World::together(2);
    // Rules as large as they can be, each time other ones, until there is no room for more.
    let flip = |world: &mut World, round: usize| {
        let policy = if round.is_multiple_of(2) { Policy::Defer } else { Policy::AppResolves };
        let prefix = |n: u8| -> Bytes { vec![n; limits::MAX_KEY].into() };
        let changes = (0..=u8::MAX).map(|n| (prefix(n), Some(policy.clone()))).collect();
        world.command(0, Command::ChangeSchema { syncgroup: id, collection: name("notes"), changes })
    };
    let rounds = (0..100).take_while(|round| flip(&mut world, *round).is_ok()).count();
    let size = 256 * limits::MAX_KEY;
    assert!((limits::MAX_METADATA - 2 * size..=limits::MAX_METADATA).contains(&(rounds * size)), "{rounds}");
    let refusal = flip(&mut world, rounds).unwrap_err();
    assert!(matches!(refusal, Refusal::Limit { limit: limits::MAX_METADATA, .. }), "{refusal}");
    world.put(0, id, "k", "rows are no metadata");
    world.run(60_000);
    world.assert_same(id);
    world.eject(0, id, 1);
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
}
