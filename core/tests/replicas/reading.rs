//! Reading what is not written yet, and what has changed.

use driftless::read::{Changes, Update};

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
