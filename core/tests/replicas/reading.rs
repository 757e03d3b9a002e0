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
