//! Questions that change while they wait for an answer (S-18): whoever can decide what is left does.

use super::*;

/// Two replicas, of which each has written a batch of its own of all these rows beside the other's, and both have both.
/// `before` is done while they cannot hear of each other.
fn met(
    rules: &[(&'static str, Policy)],
    keys: &[String],
    before: impl FnOnce(&mut World, SyncgroupId),
) -> (World, SyncgroupId) {
    let (mut world, id) = World::together(2);
    world.schema(0, id, rules);
    world.run(60_000);
    world.apart();
    for (at, text) in [(0, "a"), (1, "b")] {
        let put = |batch: LocalWrite, key: &String| batch.put(world.row(id, key), text);
        let batch = keys.iter().fold(LocalWrite::new(), put);
        world.command(at, Command::Write(batch)).unwrap();
        world.run(10);
    }
    before(&mut world, id);
    world.all_linked();
    (world, id)
}

fn keys(keys: &[&str]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

fn attach(world: &mut World, at: usize, attached: bool) {
    world.command(at, Command::Resolver { database: name("db"), attached }).unwrap();
}

/// The rows that are in conflict on a device.
fn open(world: &World, at: usize, id: SyncgroupId) -> Vec<String> {
    let open = read::conflicts(&world.nodes[at].store, &world.collection(at, id), b"", usize::MAX).unwrap();
    open.into_iter().map(|row| String::from_utf8(row.key.to_vec()).unwrap()).collect()
}

const TIED: [(&str, Policy); 2] = [("", Policy::BatchWins), ("app", Policy::AppResolves)];

#[test]
fn what_was_raised_and_not_answered_is_decided_once_whole_batches_win() {
    let (mut world, id) = met(&[("", Policy::AppResolves)], &keys(&["x"]), |world, _| attach(world, 0, true));
    world.run(60_000);
    assert_eq!(world.nodes[0].raised.len(), 1);
    world.apart();
    world.schema(0, id, &[("", Policy::BatchWins)]);
    world.run(60_000);
    assert_eq!(open(&world, 0, id), [] as [&str; 0]);
}

#[test]
fn a_row_that_was_left_with_one_of_the_applications_is_decided_once_that_has_come_together() {
    let (mut world, id) = met(&TIED, &keys(&["app", "x"]), |world, _| attach(world, 0, true));
    world.run(60_000);
    let conflict = world.nodes[0].raised.pop().unwrap();
    let leave = conflict.open().fold(Resolution::new(), |answer, row| answer.answer(row, Choice::Leave));
    assert_eq!(leave.answers.len(), 2);
    world.command(0, Command::Resolve(leave)).unwrap();
    world.run(60_000);
    assert_eq!(open(&world, 0, id), ["app", "x"], "that was the answer");
    assert_eq!(world.nodes[0].raised, []);
    world.apart();
    world.put(0, id, "app", "c");
    world.run(60_000);
    assert_eq!(open(&world, 0, id), [] as [&str; 0]);
}

#[test]
fn a_row_that_was_raised_with_one_of_the_applications_is_decided_also_after_that_has_gone() {
    let (mut world, id) = met(&TIED, &keys(&["app", "x"]), |world, _| attach(world, 0, true));
    world.run(60_000);
    assert_eq!(world.nodes[0].raised.len(), 1);
    world.apart();
    attach(&mut world, 0, false);
    world.run(60_000);
    assert_eq!(open(&world, 0, id), ["app", "x"]);
    world.put(0, id, "app", "c");
    world.run(60_000);
    assert_eq!(open(&world, 0, id), [] as [&str; 0]);
}

#[test]
fn what_whole_batches_decide_is_decided_although_the_application_went_before_its_turn() {
    // One of the two has the first turn; the other waits for its own.
    for last in 0..2 {
        let (mut world, id) = met(&[("", Policy::BatchWins)], &keys(&["x"]), |world, _| {
            (0..2).for_each(|at| attach(world, at, true));
        });
        // Both have decided by now; they meet a third time, alone.
        world.apart();
        world.put(last, id, "x", "c");
        world.put(1 - last, id, "x", "d");
        world.link(0, 1);
        while open(&world, last, id).is_empty() {
            world.run(10);
        }
        world.apart();
        world.run(600);
        attach(&mut world, last, false);
        world.run(120_000);
        assert_eq!(open(&world, last, id), [] as [&str; 0]);
    }
}

#[test]
fn a_generation_that_is_not_taken_yet_keeps_nobody_from_deciding() {
    let (mut world, id) = World::together(3);
    world.schema(0, id, &[("", Policy::BatchWins)]);
    world.run(60_000);
    world.apart();
    let ahead = Millis(60 * 60_000);
    world.now.wall = world.now.wall + ahead;
    world.put(2, id, "k", "from the future");
    world.now.wall = Wall(world.now.wall.0 - ahead.0);
    world.put(0, id, "x", "a");
    world.put(1, id, "x", "b");
    world.all_linked();
    world.run(5 * 60_000);
    assert_eq!(world.text(0, id, "k"), None, "it is still held back");
    for at in 0..2 {
        assert_eq!(open(&world, at, id), [] as [&str; 0]);
    }
}

#[test]
fn a_batch_of_more_rows_than_a_conflict_can_have_loses_or_wins_all_the_same() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("", Policy::BatchWins)]);
    world.run(60_000);
    world.apart();
    let rows = (0..5_000).map(|at| format!("a/{at:04}")).chain(["x".to_owned()]);
    let batch = rows.fold(LocalWrite::new(), |batch, key| batch.put(world.row(id, &key), "a"));
    world.command(0, Command::Write(batch)).unwrap();
    world.run(10);
    world.put(1, id, "x", "b");
    world.all_linked();
    world.run(60_000);
    for at in 0..2 {
        assert_eq!(open(&world, at, id), [] as [&str; 0]);
        assert_eq!(world.text(at, id, "x").as_deref(), Some("b"));
    }
    world.assert_same(id);
}

#[test]
fn rows_for_which_there_is_no_room_come_after_those_that_nobody_can_decide() {
    // The application's row comes first, so that it is among those which a conflict can have.
    let all: Vec<String> =
        ["0".to_owned()].into_iter().chain((0..1_100).map(|at| format!("a/{at:04}"))).collect();
    let (mut world, id) = met(&[("", Policy::BatchWins), ("0", Policy::AppResolves)], &all, |world, id| {
        world.put(0, id, "z", "a");
        world.put(1, id, "z", "b");
    });
    world.run(120_000);
    for at in 0..2 {
        assert!(open(&world, at, id) == all, "a resolver is wanting, but not for z");
    }
}

#[test]
fn a_row_for_which_there_is_no_room_gets_its_turn_though_later_ones_wait_for_room_already() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("", Policy::AppResolves)]);
    attach(&mut world, 0, true);
    world.run(60_000);
    let split = |world: &mut World, keys: &[String]| {
        world.apart();
        for (at, text) in [(0, "a"), (1, "b")] {
            keys.iter().for_each(|key| world.put(at, id, key, text));
        }
        world.all_linked();
    };
    let many: Vec<String> = (0..1_100).map(|at| format!("m/{at:04}")).collect();
    split(&mut world, &many);
    split(&mut world, &keys(&["a"]));
    let mut answers = 0;
    while !world.nodes[0].raised.is_empty() {
        for conflict in std::mem::take(&mut world.nodes[0].raised) {
            let answer =
                conflict.open().fold(Resolution::new(), |answer, row| answer.answer(row, Choice::Delete));
            world.command(0, Command::Resolve(answer)).unwrap();
            answers += 1;
        }
        world.run(60_000);
    }
    assert_eq!(open(&world, 0, id), [] as [&str; 0]);
    assert_eq!(answers, 1_101);
}

/// How long until a conflict is raised on a device.
fn raised_after(world: &mut World, at: usize) -> u64 {
    let began = world.now.mono;
    while world.nodes[at].raised.is_empty() {
        world.run(100);
        assert!(world.now.mono.0 - began.0 < 86_400_000, "it is not raised");
    }
    world.now.mono.0 - began.0
}

#[test]
fn whoever_only_writes_does_not_make_others_wait() {
    let (mut world, id) = World::together(3);
    world.schema(0, id, &[("", Policy::AppResolves)]);
    attach(&mut world, 0, true);
    world.run(60_000);
    let mut turns = BTreeMap::new();
    for _ in 0..24 {
        for _ in 0..15 {
            // Neither has heard of the other's.
            world.put(1, id, "k", "one");
            world.put(2, id, "k", "two");
            world.run(700);
        }
        world.put(1, id, "k", "one");
        world.put(2, id, "k", "two");
        world.nodes[0].raised.clear();
        // It is looked for after half a second, and a turn takes two.
        *turns.entry(raised_after(&mut world, 0) / 2_000).or_insert(0) += 1;
    }
    assert!(turns.keys().eq(&[0, 1, 2]), "whosever turn it is, it is over in time: {turns:?}");
}

#[test]
fn resolutions_that_meet_again_and_again_are_not_waited_for_without_end() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("", Policy::AppResolves)]);
    attach(&mut world, 0, true);
    world.run(60_000);
    world.put(0, id, "k", "zero");
    world.put(1, id, "k", "one");
    let mut waits = Vec::new();
    for _ in 0..30 {
        waits.push(raised_after(&mut world, 0));
        let conflict = world.nodes[0].raised.remove(0);
        let row = conflict.open().next().unwrap();
        // At the same moment the other one answers too, by a write.
        world.put(1, id, "k", "one");
        let answer = Resolution::new().answer(row, Choice::Put("zero".into()));
        world.command(0, Command::Resolve(answer)).unwrap();
    }
    let longest = *waits.iter().max().unwrap();
    assert!(longest > 64_000, "they wait longer and longer: {waits:?}");
    assert!(longest < 10 * 60_000 + 1_000, "and not for ever: {waits:?}");
}

/// More rows in one conflict than are told together.
fn very_many() -> Vec<String> {
    (0..1_100).map(|at| format!("a/{at:04}")).collect()
}

fn conflict(world: &World, id: SyncgroupId, key: &str) -> Conflict {
    read::conflict(&world.nodes[0].store, &world.collection(0, id), key.as_bytes()).unwrap()
}

fn answer_open(conflict: &Conflict, choice: &Choice) -> Command {
    let answer = conflict.open().fold(Resolution::new(), |answer, row| answer.answer(row, choice.clone()));
    Command::Resolve(answer)
}

#[test]
fn of_more_rows_than_are_told_together_those_that_are_told_can_be_answered() {
    let all = very_many();
    for asked in ["a/0000", "a/0500", "a/1050"] {
        let (mut world, id) = met(&[("", Policy::AppResolves)], &all, |_, _| ());
        let shown = conflict(&world, id, asked);
        assert!(
            !shown.is_whole && shown.rows.len() == 1_024 && shown.rows.iter().any(|row| row.row.key == asked)
        );
        world.command(0, answer_open(&shown, &Choice::Put("c".into()))).unwrap();
        let rest = open(&world, 0, id);
        assert_eq!(rest.len(), 76);
        let shown = conflict(&world, id, &rest[40]);
        assert!(shown.is_whole);
        world.command(0, answer_open(&shown, &Choice::Put("c".into()))).unwrap();
        assert_eq!(open(&world, 0, id), [] as [&str; 0]);
    }
}

#[test]
fn of_more_rows_than_are_told_together_the_rest_is_raised_though_the_first_ones_were_left() {
    let all = very_many();
    let (mut world, id) = met(&[("", Policy::AppResolves)], &all, |world, _| attach(world, 0, true));
    world.run(60_000);
    let first = world.nodes[0].raised.remove(0);
    assert!(!first.is_whole && first.open().count() == 1_024);
    world.command(0, answer_open(&first, &Choice::Leave)).unwrap();
    world.run(60_000);
    let rest = world.nodes[0].raised.remove(0);
    let rest_keys: Vec<_> = rest.open().map(|row| row.row.key.clone()).collect();
    assert_eq!(rest_keys.len(), 76);
    assert!(rest_keys.iter().all(|key| first.rows.iter().all(|row| row.row.key != *key)));
    world.command(0, answer_open(&rest, &Choice::Put("c".into()))).unwrap();
    world.run(60_000);
    let left: Vec<_> = first.open().map(|row| String::from_utf8(row.row.key.to_vec()).unwrap()).collect();
    assert_eq!(open(&world, 0, id), left);
}

#[test]
fn of_more_rows_than_are_told_together_any_can_be_answered_and_the_others_are_raised_again() {
    let all = very_many();
    let (mut world, id) = met(&[("", Policy::AppResolves)], &all, |world, id| {
        attach(world, 0, true);
        world.put(0, id, "z", "a");
        world.put(1, id, "z", "b");
    });
    world.run(60_000);
    let shown = world.nodes[0].raised.iter().position(|conflict| !conflict.is_whole).unwrap();
    let mut few = world.nodes[0].raised.remove(shown);
    few.rows.truncate(10);
    // What has nothing to do with it is no part of it.
    let other = conflict(&world, id, "z");
    let mut strange = few.clone();
    strange.rows.extend(other.rows);
    let refused = world.command(0, answer_open(&strange, &Choice::Delete)).unwrap_err();
    let Refusal::NoAnswer(reason) = refused else { panic!("{refused:?}") };
    assert!(matches!(&*reason, NoAnswer::UnknownRow(row) if row.key == "z"), "{reason:?}");
    world.command(0, answer_open(&few, &Choice::Leave)).unwrap();
    world.run(60_000);
    while !world.nodes[0].raised.is_empty() {
        for conflict in std::mem::take(&mut world.nodes[0].raised) {
            // In the end all that is left fits together, and those come along.
            let is_left = |row: &ConflictedRow| few.rows.iter().any(|known| known.row == row.row);
            let choice = |row: &ConflictedRow| if is_left(row) { Choice::Leave } else { Choice::Delete };
            let answer =
                conflict.open().fold(Resolution::new(), |answer, row| answer.answer(row, choice(row)));
            // What was raised twice is stale the second time.
            let _ = world.command(0, Command::Resolve(answer));
        }
        world.run(60_000);
    }
    assert_eq!(open(&world, 0, id), all[..10]);
}

/// Another head comes while a device waits for its turn, and it looks again only after that. It may be tied to a row that
/// has split by the same batch.
#[test]
fn what_has_changed_before_it_was_raised_is_raised_once() {
    let (mut both, mut tied) = (0, 0);
    let all = (0..3).flat_map(|at| (0..50).map(move |later| (at, 100 * later)));
    for ((at, later), is_tied) in all.flat_map(|case| [(case, false), (case, true)]) {
        let (mut world, id) = World::together(3);
        world.schema(0, id, &[("", Policy::AppResolves)]);
        world.run(60_000);
        world.apart();
        attach(&mut world, at, true);
        for (node, text) in ["a", "b", "c"].into_iter().enumerate() {
            let batch = LocalWrite::new().put(world.row(id, "k"), text);
            let batch =
                if is_tied && node != (at + 1) % 3 { batch.put(world.row(id, "l"), text) } else { batch };
            world.command(node, Command::Write(batch)).unwrap();
        }
        world.link(at, (at + 1) % 3);
        world.run(later);
        world.link(at, (at + 2) % 3);
        world.run(60_000);
        let raised = &world.nodes[at].raised;
        assert!(!raised.is_empty(), "device {at}, {later} ms later");
        both += usize::from(raised[0].rows[0].heads.len() == 3);
        tied += usize::from(raised[0].open().count() == 2);
        let again = raised.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(again, None, "device {at}, {later} ms later");
    }
    assert!(both > 0 && tied > 0, "the other one never came before the first question");
}
