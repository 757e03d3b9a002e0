//! Conflicts that applications resolve (S-17, S-18).

use super::*;

/// Replicas under a policy, cut off from each other while `act` writes.
fn split(count: usize, policy: Policy, act: impl FnOnce(&mut World, SyncgroupId)) -> (World, SyncgroupId) {
    let (mut world, id) = World::together(count);
    world.schema(0, id, &[("", policy)]);
    world.run(60_000);
    for at in 0..count {
        for link in world.links_of(at) {
            world.unlink(link);
        }
    }
    act(&mut world, id);
    for at in 1..count {
        for other in 0..at {
            world.link(other, at);
        }
    }
    world.run(30_000);
    (world, id)
}

fn attach(world: &mut World, at: usize) {
    world.command(at, Command::Resolver { database: name("db"), attached: true }).unwrap();
}

fn batch(world: &World, id: SyncgroupId, rows: &[(&str, &'static str)]) -> Command {
    let put = |batch: LocalWrite, (key, value): &(&str, &'static str)| batch.put(world.row(id, key), *value);
    Command::Write(rows.iter().fold(LocalWrite::new(), put))
}

fn keys(conflict: &Conflict) -> Vec<String> {
    conflict.rows.iter().map(|row| String::from_utf8(row.row.key.to_vec()).unwrap()).collect()
}

#[test]
fn a_conflict_is_raised_with_its_ancestor_and_closed_by_the_answer() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("", Policy::AppResolves)]);
    world.put(0, id, "k", "old");
    world.run(60_000);
    let link = world.links_of(0)[0];
    world.unlink(link);
    world.put(0, id, "k", "zero");
    world.put(1, id, "k", "one");
    attach(&mut world, 0);
    world.link(0, 1);
    world.run(60_000);
    assert_eq!(world.nodes[1].raised, [], "nobody resolves there");
    let conflict = world.nodes[0].raised.remove(0);
    assert!(conflict.is_whole);
    assert_eq!(keys(&conflict), ["k"]);
    let row = &conflict.rows[0];
    assert_eq!(row.heads.len(), 2);
    assert_eq!(row.ancestor.as_ref().unwrap().value.as_deref(), Some(&b"old"[..]));
    assert!(world.get(1, id, "k").unwrap().in_conflict);
    let answer = Resolution::new().answer(row, Choice::Put("both".into()));
    world.command(0, Command::Resolve(answer.clone())).unwrap();
    world.run(60_000);
    assert_eq!(world.text(1, id, "k").as_deref(), Some("both"));
    assert!(!world.get(1, id, "k").unwrap().in_conflict);
    world.assert_same(id);
    assert_eq!(world.nodes[0].raised, [], "it is not asked again");
    let stale = world.command(0, Command::Resolve(answer)).unwrap_err();
    let Refusal::NoAnswer(reason) = stale else { panic!("{stale:?}") };
    let NoAnswer::Stale(now) = *reason else { panic!("{reason:?}") };
    assert_eq!(now.rows[0].heads.len(), 1, "the new state comes with the refusal");
}

#[test]
fn the_heads_of_a_batch_over_two_syncgroups_name_it_alike_on_every_replica() {
    let mut world = World::new(2);
    let groups = [world.create(0, "notes"), world.create(0, "notes")];
    let link = world.link(0, 1);
    for id in groups {
        let invitation = world.invite(0, id, Rights::Write);
        world.ask_to_join(1, invitation).unwrap();
        world.run(60_000);
        assert_eq!(world.state(1, id), SyncgroupState::Active);
        world.schema(0, id, &[("", Policy::AppResolves)]);
    }
    world.run(60_000);
    world.unlink(link);
    let both = groups.iter().fold(LocalWrite::new(), |batch, id| batch.put(world.row(*id, "k"), "both"));
    world.command(0, Command::Write(both)).unwrap();
    for id in groups {
        world.put(1, id, "k", "one");
    }
    world.link(0, 1);
    world.run(120_000);
    // Of each head of each row: what it says, and the batch that it names.
    let heads = |at: usize, id: SyncgroupId| {
        let conflict = read::conflict(&world.nodes[at].store, &world.collection(at, id), b"k").unwrap();
        let heads = conflict.rows.into_iter().flat_map(|row| row.heads);
        heads.map(|head| (head.value.unwrap(), head.version, head.batch)).collect::<Vec<_>>()
    };
    let first = heads(0, groups[0]);
    assert_eq!(first.len(), 4, "the batch ties the rows of both syncgroups: {first:?}");
    for at in 0..2 {
        for id in groups {
            assert_eq!(heads(at, id), first, "at {at}");
        }
    }
    let mut batches = first.iter().filter(|head| head.0 == "both").map(|head| head.2);
    let (one, two) = (batches.next().unwrap(), batches.next().unwrap());
    assert!(one.is_some() && one == two, "{first:?}");
    assert!(first.iter().all(|head| head.0 == "both" || head.2.is_none()), "{first:?}");
    groups.iter().for_each(|id| world.assert_same(*id));
}

#[test]
fn the_tag_of_a_conflict_is_the_same_everywhere_until_it_changes() {
    let (mut world, id) = split(2, Policy::AppResolves, |world, id| {
        for (at, text) in [(0, "zero"), (1, "one")] {
            let both = batch(world, id, &[("x", text), ("y", text)]);
            world.command(at, both).unwrap();
        }
    });
    let tag = |world: &World, at: usize, key: &[u8]| {
        read::conflict(&world.nodes[at].store, &world.collection(at, id), key).unwrap().tag()
    };
    let shown = tag(&world, 0, b"x");
    assert_eq!(tag(&world, 1, b"y"), shown, "whoever looks, and at whichever of its rows");
    let mut other = read::conflict(&world.nodes[0].store, &world.collection(0, id), b"x").unwrap();
    other.rows[1].heads.reverse();
    assert_eq!(other.tag(), shown, "in whatever order its heads come");
    other.rows[1].heads.pop();
    assert_ne!(other.tag(), shown, "but not with other heads");
    // Another head of a row that belongs to it.
    world.put(1, id, "y", "again");
    assert_eq!(tag(&world, 0, b"x"), shown, "it has not heard of that");
    assert_ne!(tag(&world, 1, b"x"), shown);
    world.run(60_000);
    assert_eq!(tag(&world, 0, b"x"), tag(&world, 1, b"x"));
    assert_ne!(tag(&world, 0, b"x"), shown);
}

#[test]
fn what_is_left_open_may_lie_where_this_device_can_only_read() {
    let mut world = World::new(2);
    let groups = [world.create(0, "notes"), world.create(0, "notes")];
    let link = world.link(0, 1);
    for id in groups {
        let invitation = world.invite(0, id, Rights::Write);
        world.ask_to_join(1, invitation).unwrap();
        world.run(60_000);
        world.schema(0, id, &[("", Policy::AppResolves)]);
    }
    world.run(60_000);
    world.unlink(link);
    for at in 0..2 {
        let both = groups.iter().fold(LocalWrite::new(), |batch, id| {
            batch.put(world.row(*id, "k"), if at == 0 { "zero" } else { "one" })
        });
        world.command(at, Command::Write(both)).unwrap();
    }
    world.link(0, 1);
    world.run(120_000);
    let device = world.nodes[1].core.public_key().device();
    let readable = groups.iter().max().copied().unwrap();
    let lessen = Command::SetRights { syncgroup: readable, device, rights: Rights::Read, ends: None };
    world.command(0, lessen).unwrap();
    world.run(60_000);
    // The row that is left comes first in the one case, and last in the other.
    for reverse in [false, true] {
        let at = world.collection(1, groups[0]);
        let conflict = read::conflict(&world.nodes[1].store, &at, b"k").unwrap();
        let mut rows: Vec<_> = conflict.open().collect();
        if reverse {
            rows.reverse();
        }
        let answer = |choice: Choice| {
            rows.iter().fold(Resolution::new(), |answer, row| {
                let is_left = row.row.syncgroup == readable;
                answer.answer(row, if is_left { Choice::Leave } else { choice.clone() })
            })
        };
        let decides = rows.iter().fold(Resolution::new(), |answer, row| answer.answer(row, Choice::Delete));
        let refused = world.command(1, Command::Resolve(decides));
        assert!(matches!(refused, Err(Refusal::Forbidden(_))), "{refused:?}");
        if reverse {
            world.command(1, Command::Resolve(answer(Choice::Put("both".into())))).unwrap();
        } else {
            let none = world.command(1, Command::Resolve(answer(Choice::Leave)));
            assert!(matches!(none, Ok(Outcome::Written(parts)) if parts.is_empty()));
        }
    }
    let written = groups.iter().find(|id| **id != readable).unwrap();
    assert_eq!(world.text(1, *written, "k").as_deref(), Some("both"));
}

#[test]
fn three_heads_are_raised_together_and_closed_by_one_answer() {
    let (mut world, id) = split(3, Policy::AppResolves, |world, id| {
        world.put(0, id, "k", "zero");
        world.put(1, id, "k", "one");
        world.put(2, id, "k", "two");
    });
    attach(&mut world, 1);
    world.run(60_000);
    let conflict = world.nodes[1].raised.remove(0);
    let row = &conflict.rows[0];
    let values: Vec<_> = row.heads.iter().map(|head| head.value.as_deref().unwrap()).collect();
    assert_eq!(values, [&b"two"[..], b"one", b"zero"], "the last first");
    let answer = Resolution::new().answer(row, Choice::Pick(row.heads[2].version));
    world.command(1, Command::Resolve(answer)).unwrap();
    world.run(60_000);
    for at in 0..3 {
        assert_eq!(world.text(at, id, "k").as_deref(), Some("zero"));
        assert_eq!(world.heads(at, id, "k").len(), 1);
    }
    assert!(world.nodes.iter().all(|node| node.raised.is_empty()));
    world.assert_same(id);
}

#[test]
fn a_newcomer_gets_a_row_with_all_its_heads_at_once() {
    let mut world = World::new(4);
    let id = world.create(0, "notes");
    world.schema(0, id, &[("", Policy::Defer)]);
    for at in 1..3 {
        let invitation = world.invite(0, id, Rights::Write);
        world.ask_to_join(at, invitation).unwrap();
        let link = world.link(0, at);
        world.run(10_000);
        world.unlink(link);
    }
    for at in 0..3 {
        world.put(at, id, "k", &format!("by {at}"));
    }
    for at in 1..3 {
        let link = world.link(0, at);
        world.run(10_000);
        world.unlink(link);
    }
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(3, invitation).unwrap();
    world.link(0, 3);
    world.run(10_000);
    assert_eq!(world.heads(3, id, "k"), world.heads(0, id, "k"));
    assert_eq!(world.heads(3, id, "k").len(), 3);
    assert_eq!(world.text(3, id, "k").as_deref(), Some("by 2"));
    assert!(world.get(3, id, "k").unwrap().in_conflict);
}

#[test]
fn rows_tied_by_batches_are_one_conflict_and_others_of_the_batch_come_along() {
    let (mut world, _id) = split(3, Policy::AppResolves, |world, id| {
        // a ties x and y, b ties y and z, and w comes along with b.
        let (a, b) = (
            batch(world, id, &[("x", "a"), ("y", "a")]),
            batch(world, id, &[("y", "b"), ("z", "b"), ("w", "b")]),
        );
        world.command(0, a).unwrap();
        world.command(1, b).unwrap();
        world.put(2, id, "x", "c");
        world.put(2, id, "z", "c");
        world.put(2, id, "alone", "c");
    });
    attach(&mut world, 0);
    world.run(60_000);
    assert_eq!(world.nodes[0].raised.len(), 1);
    let conflict = world.nodes[0].raised.remove(0);
    assert_eq!(keys(&conflict), ["w", "x", "y", "z"]);
    assert_eq!(conflict.open().count(), 3);
    // An answer must decide all of them, and none that is not there.
    let row = |key: &str| conflict.rows.iter().find(|row| row.row.key == key).unwrap();
    let part = Resolution::new().answer(row("x"), Choice::Delete);
    let refusal = |world: &mut World, answer| match world.command(0, Command::Resolve(answer)).unwrap_err() {
        Refusal::NoAnswer(reason) => *reason,
        other => panic!("{other:?}"),
    };
    let reason = refusal(&mut world, part.clone());
    assert!(matches!(&reason, NoAnswer::MissingRow(row) if row.key == "y"), "{reason}");
    let mut stranger = row("x").clone();
    stranger.row.key = "alone".into();
    let reason = refusal(&mut world, part.clone().answer(&stranger, Choice::Delete));
    assert!(matches!(&reason, NoAnswer::UnknownRow(row) if row.key == "alone"), "{reason}");
    let reason = refusal(&mut world, part.clone().answer(row("x"), Choice::Delete));
    assert!(matches!(reason, NoAnswer::Twice(_)));
    let elsewhere = row("x").heads[0].version;
    let other = Version { generation: elsewhere.generation + 50, ..elsewhere };
    let reason = refusal(&mut world, Resolution::new().answer(row("x"), Choice::Pick(other)));
    assert!(matches!(reason, NoAnswer::NoSuchHead(..)));
    assert!(matches!(refusal(&mut world, Resolution::new()), NoAnswer::Empty));
    let pick = row("y").heads[1].version;
    let whole = part.answer(row("y"), Choice::Pick(pick)).answer(row("z"), Choice::Leave);
    world.command(0, Command::Resolve(whole.answer(row("w"), Choice::Put("w".into())))).unwrap();
    world.run(60_000);
    assert_eq!(world.text(2, _id, "x"), None);
    assert_eq!(world.text(2, _id, "w").as_deref(), Some("w"));
    assert!(world.get(2, _id, "z").unwrap().in_conflict, "left open");
    world.assert_same(_id);
}

#[test]
fn an_answer_that_nobody_waits_for_is_refused_by_what_is_so() {
    let (mut world, id) = split(2, Policy::AppResolves, |world, id| {
        world.put(0, id, "k", "zero");
        world.put(1, id, "k", "one");
    });
    world.put(0, id, "alone", "value");
    world.run(60_000);
    let conflict = |world: &World, key: &str| {
        read::conflict(&world.nodes[0].store, &world.collection(0, id), key.as_bytes()).unwrap()
    };
    let answer =
        |conflict: &Conflict| Resolution::new().answer(&conflict.rows[0], Choice::Put("both".into()));
    let refusal = |world: &mut World, answer| match world.command(0, Command::Resolve(answer)).unwrap_err() {
        Refusal::NoAnswer(reason) => *reason,
        other => panic!("{other:?}"),
    };
    let of_k = answer(&conflict(&world, "k"));
    let alone = answer(&conflict(&world, "alone"));
    assert_eq!(refusal(&mut world, alone.clone()), NoAnswer::NoConflict(world.row(id, "alone")));
    // The versions are those that were shown; what an admin says of them is another thing by now.
    for policy in [Policy::LastWins, Policy::Merge(Merge::Counter)] {
        world.schema(0, id, &[("", policy.clone())]);
        assert_eq!(refusal(&mut world, of_k.clone()), NoAnswer::TakesNone(world.row(id, "k"), policy));
    }
    world.schema(0, id, &[("", Policy::Defer)]);
    world.command(0, Command::Resolve(of_k)).unwrap();
    world.put(0, id, "alone", "other");
    assert!(matches!(refusal(&mut world, alone), NoAnswer::Stale(_)), "it has other heads now");
}

#[test]
fn a_resolver_that_is_away_blocks_nothing_and_what_is_open_is_raised_again_after_a_restart() {
    let (mut world, id) = split(2, Policy::AppResolves, |world, id| {
        world.put(0, id, "k", "zero");
        world.put(1, id, "k", "one");
    });
    world.put(0, id, "other", "value");
    world.run(60_000);
    assert_eq!(world.text(1, id, "other").as_deref(), Some("value"));
    attach(&mut world, 0);
    world.run(60_000);
    assert_eq!(world.nodes[0].raised.len(), 1);
    // It crashes before it answers.
    let store = world.nodes[0].store.clone();
    world.reboot(0, store, Continuity::Shown);
    world.nodes[0].raised.clear();
    attach(&mut world, 0);
    world.run(60_000);
    assert_eq!(world.nodes[0].raised.len(), 1, "raised again");
}

#[test]
fn what_was_left_open_is_handed_to_a_resolver_that_appears_later() {
    let (mut world, id) = split(2, Policy::Defer, |world, id| {
        world.put(0, id, "k", "zero");
        world.put(1, id, "k", "one");
    });
    world.run(60_000);
    assert_eq!(world.heads(0, id, "k").len(), 2, "siblings can be read");
    attach(&mut world, 0);
    world.run(60_000);
    assert_eq!(world.nodes[0].raised.len(), 1);
}

/// Resolvers that never agree, each with an answer of its own.
fn answer_all(world: &mut World, rounds: usize) -> usize {
    let mut answers = 0;
    for _ in 0..rounds {
        for at in 0..world.nodes.len() {
            for conflict in std::mem::take(&mut world.nodes[at].raised) {
                let mut resolution = Resolution::new();
                for row in conflict.open() {
                    resolution = resolution.answer(row, Choice::Put(format!("answer of {at}").into()));
                }
                answers += 1;
                let _ = world.command(at, Command::Resolve(resolution));
            }
        }
        world.run(1_000);
    }
    answers
}

#[test]
fn stubborn_resolvers_on_every_device_end() {
    let (mut world, id) = split(4, Policy::AppResolves, |world, id| {
        for at in 0..4 {
            world.put(at, id, "k", &format!("value of {at}"));
        }
    });
    for at in 0..4 {
        attach(&mut world, at);
    }
    let answers = answer_all(&mut world, 120);
    assert!(!world.get(0, id, "k").unwrap().in_conflict);
    assert!(answers <= 2, "{answers} answers: they take turns");
    world.assert_same(id);
}

#[test]
fn two_resolutions_that_meet_are_resolved_in_turn() {
    let (mut world, id) = split(2, Policy::AppResolves, |world, id| {
        world.put(0, id, "k", "zero");
        world.put(1, id, "k", "one");
    });
    // Both hold both heads, are cut off, and answer differently.
    for link in world.links_of(0) {
        world.unlink(link);
    }
    for at in 0..2 {
        attach(&mut world, at);
    }
    world.run(60_000);
    answer_all(&mut world, 1);
    world.link(0, 1);
    world.run(5_000);
    answer_all(&mut world, 120);
    assert!(!world.get(0, id, "k").unwrap().in_conflict);
    world.assert_same(id);
}

#[test]
fn batches_win_or_lose_as_a_whole() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("", Policy::BatchWins)]);
    let both = batch(&world, id, &[("from", "10"), ("to", "0"), ("note", "")]);
    world.command(0, both).unwrap();
    world.run(60_000);
    let link = world.links_of(0)[0];
    world.unlink(link);
    let first = batch(&world, id, &[("from", "7"), ("to", "3"), ("note", "three")]);
    world.command(0, first).unwrap();
    world.run(10);
    let second = batch(&world, id, &[("from", "5"), ("other", "5")]);
    world.command(1, second).unwrap();
    world.link(0, 1);
    world.run(60_000);
    let rows = world.rows(0, id);
    let row = |key: &str, value: &str| (key.to_string(), value.to_string());
    // Not 3 for "to": that batch has lost, and what it wrote alone goes back.
    assert_eq!(rows, [row("from", "5"), row("note", ""), row("other", "5"), row("to", "0")]);
    assert!(!world.get(1, id, "from").unwrap().in_conflict);
    world.assert_same(id);
}

#[test]
fn an_answer_of_the_core_that_is_larger_than_a_batch_may_be_is_written_all_the_same() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("", Policy::BatchWins)]);
    // Each row fits into a batch, and all of them together do not.
    let keys = ["a", "b", "c", "d", "e"];
    let old = |key: &str| key.repeat(1 << 20);
    for key in keys {
        world.put(0, id, key, &old(key));
    }
    world.run(60_000);
    let link = world.links_of(0)[0];
    world.unlink(link);
    let rows: Vec<_> = keys.into_iter().chain(["x"]).map(|key| (key, "lost")).collect();
    let loses = batch(&world, id, &rows);
    world.command(0, loses).unwrap();
    world.run(10);
    world.put(1, id, "x", "won");
    world.link(0, 1);
    world.run(60_000);
    assert!(!world.get(0, id, "x").unwrap().in_conflict);
    assert_eq!(world.text(0, id, "x").as_deref(), Some("won"));
    for key in keys {
        assert!(
            world.text(1, id, key).unwrap() == old(key),
            "{key} is what it was before the batch that lost"
        );
    }
    world.assert_same(id);
}

#[test]
fn an_operation_from_before_another_schema_stands_in_no_batch_s_way() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("", Policy::Merge(Merge::Counter))]);
    world.run(60_000);
    let link = world.links_of(0)[0];
    world.unlink(link);
    world.put(0, id, "k", "7");
    world.run(10);
    world.put(1, id, "k", "5");
    world.operate(1, id, "k", Operation::Add(1));
    world.schema(0, id, &[("", Policy::BatchWins)]);
    world.link(0, 1);
    world.run(60_000);
    for at in 0..2 {
        let open = read::conflicts(&world.nodes[at].store, &world.collection(at, id), b"", 10).unwrap();
        assert_eq!(open, []);
        assert_eq!(world.text(at, id, "k").as_deref(), Some("5"), "what the last batch built on");
    }
    world.assert_same(id);
}

#[test]
fn what_is_open_after_an_answer_was_refused_is_raised_again_later_and_later() {
    let (mut world, id) = split(2, Policy::AppResolves, |world, id| {
        for (at, text) in [(0, "a"), (1, "b")] {
            let both = batch(world, id, &[("x", text), ("y", text)]);
            world.command(at, both).unwrap();
        }
    });
    attach(&mut world, 0);
    world.run(60_000);
    let conflict = world.nodes[0].raised.remove(0);
    let x = conflict.rows.iter().find(|row| row.row.key == "x").unwrap();
    let refused = Resolution::new().answer(x, Choice::Delete);
    let mut waits = Vec::new();
    for _ in 0..3 {
        world.command(0, Command::Resolve(refused.clone())).unwrap_err();
        let mut waited = 0;
        while world.nodes[0].raised.is_empty() {
            world.run(1_000);
            waited += 1_000;
            assert!(waited < 60_000, "it is not raised again");
        }
        assert_eq!(world.nodes[0].raised.remove(0), conflict);
        waits.push(waited);
    }
    assert!(waits.is_sorted_by(|one, two| one < two), "{waits:?}");
    // A row that has moved on makes the answer stale, and the other one is raised again.
    let stale = conflict.open().fold(Resolution::new(), |answer, row| answer.answer(row, Choice::Delete));
    world.put(0, id, "x", "c");
    world.command(0, Command::Resolve(stale)).unwrap_err();
    world.run(120_000);
    let again = world.nodes[0].raised.remove(0);
    assert_eq!(again.open().map(|row| row.row.key.clone()).collect::<Vec<_>>(), ["y"]);
}

#[test]
fn a_row_that_needs_no_answer_any_more_when_its_turn_comes_loses_it() {
    let (mut world, id) = split(2, Policy::AppResolves, |world, id| {
        for at in 0..2 {
            let rows = [[("a", "0"), ("b", "0")], [("a", "1"), ("b", "1")]];
            world.command(at, batch(world, id, &rows[at])).unwrap();
        }
    });
    (0..2).for_each(|at| attach(&mut world, at));
    world.run(1_600);
    let second = (0..2).find(|at| world.nodes[*at].raised.is_empty()).expect("they take turns");
    // It has seen that both rows are in conflict; what is in conflict by the new rules it looks for half a second later.
    world.schema(0, id, &[("", Policy::AppResolves), ("b", Policy::LastWins)]);
    world.nodes[second].raised.clear();
    world.run(60_000);
    let raised: Vec<_> = world.nodes[second].raised.iter().map(keys).collect();
    assert_eq!(raised, [["a", "b"]], "once, and the other row comes along");
}
