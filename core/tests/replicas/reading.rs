//! Reading what is not written yet, and what has changed.

use driftless::read::{Changes, Edited, Update};

use super::*;

fn fields(path: &[&str]) -> Vec<String> {
    path.iter().map(ToString::to_string).collect()
}

#[test]
fn what_a_batch_would_show_is_what_it_shows_once_it_is_written() {
    let mut world = World::new(1);
    let id = world.create(0, "notes");
    let rule = |prefix: &'static str, merge| Rule { prefix: prefix.into(), policy: Policy::Merge(merge) };
    let rules = vec![rule("n/", Merge::Counter), rule("s/", Merge::Set), rule("f/", Merge::Fields)];
    let schema = Command::SetSchema { syncgroup: id, collection: name("notes"), rules };
    world.command(0, schema).unwrap();
    let set = |path: &[&str], value: &'static str| {
        Edit::Operate(Operation::SetField { path: fields(path), value: value.into() })
    };
    let (insert, remove) = (
        |e: &'static str| Edit::Operate(Operation::Insert(e.into())),
        |e: &'static str| Edit::Operate(Operation::Remove(e.into())),
    );
    let add = |amount| Edit::Operate(Operation::Add(amount));
    let batches = [
        ("plain", vec![Edit::Put("a".into()), Edit::Put("b".into())]),
        ("plain", vec![Edit::Delete]),
        ("n/x", vec![add(3), add(4)]),
        ("n/x", vec![add(-10)]),
        ("n/x", vec![Edit::Put("100".into()), add(1)]),
        ("n/x", vec![Edit::Delete, add(1)]),
        ("n/x", vec![]),
        ("s/x", vec![insert("a"), insert("b"), remove("a")]),
        ("s/x", vec![remove("b"), insert("c"), insert("b")]),
        ("f/x", vec![set(&["a", "b"], "1"), set(&["c"], "2")]),
        ("f/x", vec![set(&["a"], "3"), Edit::Operate(Operation::RemoveField { path: fields(&["c"]) })]),
    ];
    for (key, edits) in batches {
        let notes = read::collections(&world.nodes[0].store).unwrap().remove(0);
        let ahead = read::edited(&world.nodes[0].store, &notes, key.as_bytes(), &edits).unwrap().unwrap();
        let mut batch = LocalWrite::new();
        batch.changes.extend(edits.iter().map(|edit| Change { row: world.row(id, key), edit: edit.clone() }));
        world.command(0, Command::Write(batch)).unwrap();
        let shown = read::get(&world.nodes[0].store, &notes, key.as_bytes()).unwrap();
        assert_eq!(ahead, shown.map(|row| row.value), "{key}: {edits:?}");
    }
    let notes = read::collections(&world.nodes[0].store).unwrap().remove(0);
    let refused = read::edited(&world.nodes[0].store, &notes, b"plain", &[add(1)]).unwrap();
    assert!(matches!(refused, Err(Refusal::OtherPolicy { .. })));
}

#[test]
fn a_watch_looks_past_any_number_of_commits_that_do_not_concern_it() {
    let mut world = World::new(1);
    let id = world.create(0, "notes");
    let notes = read::collections(&world.nodes[0].store).unwrap().remove(0);
    let mut changes = Changes::new(vec![(notes, "a/".into())]);
    let state = changes.next(&world.nodes[0].store, 2).unwrap();
    assert!(matches!(state, Some(Update::State { complete: Some(_), .. })));
    for at in 0..20 {
        world.put(0, id, &format!("b/{at}"), "x");
    }
    world.put(0, id, "a/1", "x");
    let Some(Update::Batch { rows, .. }) = changes.next(&world.nodes[0].store, 2).unwrap() else { panic!() };
    assert_eq!(rows[0].key, "a/1");
    assert_eq!(changes.next(&world.nodes[0].store, 2).unwrap(), None);
}

/// All rows of the collection at replica 0, as a reader sees them, to be required of a batch.
fn all_rows(world: &World, id: SyncgroupId) -> Precondition {
    let mut rows = Vec::new();
    read::scan(&world.nodes[0].store, &world.collection(0, id), b"", None, false, &mut |row| {
        rows.push(row);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    Precondition::Range { from: world.row(id, ""), to: None, rows }
}

/// Whether replica 0 would still write what was computed from these rows.
fn holds(world: &mut World, id: SyncgroupId, seen: &Precondition) -> bool {
    let batch = LocalWrite::new().delete(world.row(id, "nobody wrote this")).require(seen.clone());
    match world.command(0, Command::Write(batch)) {
        Ok(_) => true,
        Err(Refusal::Precondition { index: 0 }) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_range_holds_while_readers_see_the_same_and_no_longer() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("n/", Policy::Merge(Merge::Counter))]);
    world.put(0, id, "n/x", "5");
    world.put(0, id, "k", "0");
    world.run(60_000);
    // What is written here comes first by stamp, and arrives later.
    let meets_late = |world: &mut World, act: &dyn Fn(&mut World, usize)| {
        let link = world.links_of(0)[0];
        world.unlink(link);
        act(world, 1);
        world.run(10);
        act(world, 0);
        let seen = all_rows(world, id);
        assert!(holds(world, id, &seen));
        let last = |world: &World| world.get(0, id, "n/x").unwrap().version;
        let before = last(world);
        world.link(0, 1);
        world.run(60_000);
        (seen, before == last(world))
    };
    let (seen, same_last) =
        meets_late(&mut world, &|world, at| world.operate(at, id, "n/x", Operation::Add(2)));
    assert!(same_last, "the last version is the one that was seen");
    assert!(!holds(&mut world, id, &seen), "an operation has come in before it");

    let seen = all_rows(&world, id);
    world.schema(0, id, &[]);
    assert!(!holds(&mut world, id, &seen), "the schema makes another value of the same versions");

    let (seen, _) = meets_late(&mut world, &|world, at| world.put(at, id, "k", &format!("of {at}")));
    assert_eq!(world.text(0, id, "k").as_deref(), Some("of 0"));
    assert!(!holds(&mut world, id, &seen), "the value that was seen stands against another one");

    let seen = all_rows(&world, id);
    world.delete(1, id, "nobody saw this").unwrap();
    world.put(1, id, "soon gone", "x");
    world.delete(1, id, "soon gone").unwrap();
    world.run(60_000);
    assert!(holds(&mut world, id, &seen), "nothing that can be seen has changed");
    world.put(1, id, "new", "x");
    world.run(60_000);
    assert!(!holds(&mut world, id, &seen), "a phantom");
}

/// Shows the last operation: it is there to be recorded.
struct Last;

impl MergeFunction for Last {
    fn name(&self) -> &str {
        "last"
    }
    fn merge(&self, bases: &[&[u8]], operations: &[&[u8]]) -> Option<Vec<u8>> {
        operations.last().or(bases.first()).map(|bytes| bytes.to_vec())
    }
}

#[test]
fn the_history_tells_what_operations_did() {
    let mut world = World::new(1);
    world.nodes[0].config.merges = vec![&Last];
    let store = world.nodes[0].store.clone();
    world.reboot(0, store, Continuity::Shown);
    let id = world.create(0, "notes");
    let last = Merge::Named(name("last"));
    let merges = [("n", Merge::Counter), ("s", Merge::Set), ("f", Merge::Fields), ("x", last)];
    let rules = merges.clone().map(|(prefix, merge)| (prefix, Policy::Merge(merge)));
    world.schema(0, id, &rules);
    let set = |path: &[&str]| Operation::SetField { path: fields(path), value: "1".into() };
    let named = |bytes: &'static str| Operation::Named { merge: name("last"), operation: bytes.into() };
    world.operate(0, id, "s", Operation::Insert("gone".into()));
    let done = [
        ("n", vec![Operation::Add(3), Operation::Add(-5)]),
        ("s", vec![Operation::Insert("a".into()), Operation::Remove("gone".into())]),
        ("f", vec![set(&["a", "b"]), set(&["c"]), Operation::RemoveField { path: fields(&["a"]) }]),
        ("x", vec![named("one"), named("two")]),
    ];
    for (key, operations) in done.clone() {
        let batch = operations
            .into_iter()
            .fold(LocalWrite::new(), |batch, operation| batch.operate(world.row(id, key), operation));
        world.command(0, Command::Write(batch)).unwrap();
    }
    // What one batch did to a thing comes to one: the counter's sum, and of nested fields the last change.
    let told = [
        ("n", vec![Operation::Add(-2)]),
        done[1].clone(),
        ("f", vec![set(&["c"]), Operation::RemoveField { path: fields(&["a"]) }]),
        done[3].clone(),
    ];
    for ((key, operations), (_, merge)) in told.into_iter().zip(merges) {
        let history =
            read::history(&world.nodes[0].store, &world.collection(0, id), key.as_bytes(), 1).unwrap();
        assert_eq!(history[0].edited, Edited::Operated { merge, operations });
        assert_eq!(history[0].batch, None);
    }
}

#[test]
fn the_history_names_a_batch_over_several_syncgroups_alike_in_all_of_them() {
    let mut world = World::new(1);
    let groups = [world.create(0, "notes"), world.create(0, "notes")];
    let both = groups.iter().fold(LocalWrite::new(), |batch, id| batch.put(world.row(*id, "k"), "both"));
    world.command(0, Command::Write(both)).unwrap();
    world.put(0, groups[0], "k", "one");
    let batches = groups.map(|id| {
        let history = read::history(&world.nodes[0].store, &world.collection(0, id), b"k", 9).unwrap();
        history.into_iter().map(|entry| entry.batch).collect::<Vec<_>>()
    });
    let batch = batches[1][0];
    assert!(batch.is_some());
    assert_eq!(batches, [vec![None, batch], vec![batch]]);
}
