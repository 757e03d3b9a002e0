//! What a write asks of the store: it stays what it is, whatever is built around it.

#[path = "../examples/node/mod.rs"]
mod node;
#[path = "../examples/scene/mod.rs"]
mod scene;

use driftless::*;
use node::Counts;
use scene::Scene;

const WATCHED: u64 = 100_000;

fn rules() -> Vec<Rule> {
    let rule = |prefix: &'static str, policy| Rule { prefix: prefix.into(), policy };
    vec![rule("", Policy::Defer), rule("row", Policy::AppResolves), rule("n", Policy::Merge(Merge::Counter))]
}

fn put(scene: &Scene, value: &str) -> LocalWrite {
    LocalWrite::new().put(scene.row("row"), value.to_owned())
}

/// Reads, scans and writes.
fn asked(counts: Counts) -> (u64, u64, u64) {
    (counts.reads, counts.scans, counts.writes)
}

#[test]
fn a_write_reads_its_row_and_nothing_else_whatever_the_schema() {
    for rules in [vec![], rules()] {
        let mut scene = Scene::new(rules, WATCHED);
        for value in ["new", "changed", "changed again"] {
            let batch = put(&scene, value);
            // Written: log, row, tip, log of changes, state.
            assert_eq!(asked(scene.write(batch)), (1, 0, 5));
            // And the proof of what others wrote.
            assert_eq!(asked(scene.take_over()), (1, 0, 6));
            scene.settle();
        }
        let delete = LocalWrite::new().delete(scene.row("row"));
        assert_eq!(asked(scene.write(delete)), (1, 0, 5));
        assert_eq!(asked(scene.take_over()), (1, 0, 6));
    }
}

#[test]
fn a_batch_reads_each_of_its_rows_once() {
    let mut scene = Scene::new(rules(), WATCHED);
    let batch = |scene: &Scene| {
        let rows = (0..10).map(|n| scene.row(&format!("row {n}")));
        let batch = rows.fold(LocalWrite::new(), |batch, row| batch.put(row, "value"));
        let count = scene.row("n");
        batch.operate(count.clone(), Operation::Add(1)).operate(count, Operation::Add(2))
    };
    for _ in 0..2 {
        let batch = batch(&scene);
        // Eleven rows, and one of each of log, tip, log of changes, state.
        assert_eq!(asked(scene.write(batch)), (11, 0, 15));
        assert_eq!(asked(scene.take_over()), (11, 0, 16));
        scene.settle();
    }
}

#[test]
fn without_a_log_for_watches_nothing_is_written_for_them() {
    let mut scene = Scene::new(rules(), 0);
    let batch = put(&scene, "value");
    assert_eq!(asked(scene.write(batch)), (1, 0, 4));
    assert_eq!(asked(scene.take_over()), (1, 0, 5));
}

#[test]
fn the_log_for_watches_does_not_repeat_what_was_written() {
    let cost = |watch_log| {
        let mut scene = Scene::new(vec![], watch_log);
        let rows = (0..100).map(|n| scene.row(&format!("a row with a long key {n}")));
        let batch = rows.fold(LocalWrite::new(), |batch, row| batch.put(row, "value"));
        (scene.write(batch).bytes, scene.take_over().bytes)
    };
    let (with, without) = (cost(WATCHED), cost(0));
    assert!(with.0 - without.0 <= 32, "{} bytes more for a hundred rows", with.0 - without.0);
    assert!(with.1 - without.1 <= 32, "{} bytes more for a hundred rows", with.1 - without.1);
}

#[test]
fn a_conflict_costs_a_mark_and_the_next_write_takes_it_away() {
    let mut scene = Scene::new(rules(), WATCHED);
    let batch = put(&scene, "known to both");
    scene.write(batch);
    scene.take_over();
    scene.settle();
    let (theirs, ours) = (put(&scene, "theirs"), put(&scene, "ours"));
    scene.write_there(theirs);
    scene.here.now += 1;
    scene.write(ours);
    assert_eq!(asked(scene.take_over()), (1, 0, 7));
    let batch = put(&scene, "settled");
    assert_eq!(asked(scene.write_there(batch)), (1, 0, 6));
}

#[test]
fn a_put_beside_operations_that_builds_on_no_operation_reads_none_of_them() {
    let costs = |operations: usize| {
        let mut scene = Scene::new(rules(), WATCHED);
        for _ in 0..operations {
            let add = LocalWrite::new().operate(scene.row("n"), Operation::Add(1));
            scene.write_there(add);
        }
        let put = |scene: &mut Scene, value: &str| {
            let batch = LocalWrite::new().put(scene.row("n"), value.to_owned());
            scene.write(batch);
            asked(scene.take_over())
        };
        // The first knows nothing of the row; each of the others the one before it, and no operation.
        ["1", "2", "3"].map(|value| put(&mut scene, value))
    };
    let few = costs(100);
    assert_eq!(costs(10_000), few);
    assert!(few.iter().all(|(reads, scans, _)| (*reads, *scans) == (1, 0)), "the row alone: {few:?}");
}
