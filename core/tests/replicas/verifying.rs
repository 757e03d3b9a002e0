//! A whole store is checked against what its authors signed.

use std::ops::ControlFlow;

use driftless::store::{Commit, Scan, Table, View, Write};
use driftless::verify::{Problem, Verification, Verified};

use super::*;

impl World {
    pub(super) fn verify(&self, at: usize, store: &MemStore) -> Vec<Verified> {
        let node = &self.nodes[at];
        let identity = Identity {
            chain: node.chain.clone(),
            secret: node.secret.clone(),
            continuity: Continuity::Shown,
        };
        let mut scratch = MemStore::new();
        let (mut verification, first) = Verification::begin(&node.config, &identity, [7; 32], store).unwrap();
        scratch.apply(&first);
        while let Some(commit) = verification.step(store, &scratch).unwrap() {
            scratch.apply(&commit);
        }
        verification.finish(store, &scratch)
    }

    fn problems(&self, at: usize, store: &MemStore) -> Vec<Problem> {
        self.verify(at, store).into_iter().flat_map(|verified| verified.problems).collect()
    }
}

/// The entries of a table.
fn entries(store: &MemStore, table: Table) -> Vec<(Bytes, Bytes)> {
    let mut all = Vec::new();
    let mut take = |key: &[u8], value: &[u8]| {
        all.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        ControlFlow::Continue(())
    };
    store.scan(&Scan::all(table), &mut take).unwrap();
    all
}

fn altered(store: &MemStore, table: Table, key: &Bytes, value: Option<Bytes>) -> MemStore {
    let mut store = store.clone();
    let seq = CommitSeq(store.seq().0 + 1);
    store.apply(&Commit { seq, writes: vec![Write { table, key: key.clone(), value }] });
    store
}

/// Three devices with all that rows can have: conflicts, deletions, operations, and what became void.
fn eventful() -> (World, SyncgroupId) {
    let (mut world, id) = World::together(3);
    world.schema(0, id, &[("count/", Policy::Merge(Merge::Counter))]);
    world.run(10_000);
    world.put(1, id, "row", "first");
    world.put(2, id, "gone", "soon");
    world.run(10_000);
    world.apart();
    for at in 0..3 {
        world.put(at, id, "row", &format!("by {at}"));
        world.operate(at, id, "count/1", Operation::Add(at as i64 + 1));
    }
    world.delete(0, id, "gone").unwrap();
    world.eject(0, id, 2);
    // 1 takes what 2 wrote before it hears of the removal.
    world.link(1, 2);
    world.run(10_000);
    world.apart();
    world.all_linked();
    (world, id)
}

#[test]
fn what_nobody_has_touched_is_right() {
    let (world, id) = eventful();
    for at in 0..3 {
        let found = world.verify(at, &world.nodes[at].store);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].syncgroup, id);
        assert_eq!(found[0].problems, []);
        assert_eq!(found[0].generations, world.info(at, id).generations);
        assert!(found[0].rows.is_some_and(|rows| rows >= 2), "{found:?}");
    }
}

#[test]
fn a_row_that_shows_something_else_is_named() {
    let (world, _) = eventful();
    let store = &world.nodes[0].store;
    for (key, value) in entries(store, Table::Row) {
        let mut other = value.to_vec();
        let last = other.len() - 1;
        other[last] ^= 1;
        let problems = world.problems(0, &altered(store, Table::Row, &key, Some(other.into())));
        assert!(
            matches!(problems[..], [Problem::Row { .. } | Problem::Unreadable(_)]),
            "{key:?}: {problems:?}"
        );
        if value.len() > 30 {
            let problems = world.problems(0, &altered(store, Table::Row, &key, None));
            assert!(matches!(&problems[..], [Problem::Row { .. }] | []), "{key:?}: {problems:?}");
        }
    }
    let (key, _) = entries(store, Table::Row).into_iter().find(|(key, _)| key.ends_with(b"row")).unwrap();
    let problems = world.problems(0, &altered(store, Table::Row, &key, None));
    let (collection, row) = ("notes".to_owned(), "row".to_owned());
    assert_eq!(problems, [Problem::Row { collection, key: row }]);
}

#[test]
fn no_byte_of_a_log_can_be_altered() {
    let (world, _) = eventful();
    let store = &world.nodes[0].store;
    let logs = entries(store, Table::Log);
    assert!(logs.len() > 8);
    for (key, value) in &logs {
        for at in (0..value.len()).step_by(7) {
            let mut other = value.to_vec();
            other[at] ^= 1;
            let store = altered(store, Table::Log, key, Some(other.into()));
            let node = &world.nodes[0];
            let identity = Identity {
                chain: node.chain.clone(),
                secret: node.secret.clone(),
                continuity: Continuity::Shown,
            };
            // Some of it is read at boot, and refused there.
            if Verification::begin(&node.config, &identity, [7; 32], &store).is_ok() {
                assert_ne!(world.problems(0, &store), [], "byte {at} of {key:?}");
            }
        }
    }
}

#[test]
fn a_checkpoint_that_was_not_signed_is_found() {
    let (world, _) = eventful();
    let store = &world.nodes[0].store;
    let mut found = 0;
    for (key, value) in entries(store, Table::Checkpoint).into_iter().filter(|(_, proof)| !proof.is_empty()) {
        let mut other = value.to_vec();
        // Behind size, root and key.
        other[80] ^= 1;
        let store = altered(store, Table::Checkpoint, &key, Some(other.into()));
        let problems = world.problems(0, &store);
        assert!(problems.iter().any(|it| matches!(it, Problem::Unproven(_))), "{problems:?}");
        found += 1;
    }
    assert!(found > 0);
}

#[test]
fn a_wrong_digest_and_missing_schemas_are_found() {
    let (world, _) = eventful();
    let store = &world.nodes[0].store;
    let (tip, value) = entries(store, Table::Tip).pop().unwrap();
    let mut other = value.to_vec();
    other[3] ^= 1;
    assert_eq!(world.problems(0, &altered(store, Table::Tip, &tip, Some(other.into()))), [Problem::Digest]);
    for (table, what) in [(Table::Schema, "schemas"), (Table::Collection, "collections")] {
        let (key, _) = entries(store, table).pop().unwrap();
        let problems = world.problems(0, &altered(store, table, &key, None));
        assert!(problems.contains(&Problem::Metadata(what)), "{problems:?}");
    }
}

#[test]
fn what_is_checked_is_not_left_once_more() {
    let mut world = World::new(1);
    let id = world.create(0, "notes");
    world.command(0, Command::Leave { syncgroup: id }).unwrap();
    // The departure comes after the genesis, and not with it.
    world.nodes[0].config.limits.chunk_bytes = 1;
    assert_eq!(world.problems(0, &world.nodes[0].store), []);
}

#[test]
fn marks_that_are_lost_are_found() {
    let (world, _) = eventful();
    let node = &world.nodes[0];
    let identity =
        Identity { chain: node.chain.clone(), secret: node.secret.clone(), continuity: Continuity::Shown };
    for table in [Table::Metadata, Table::Conflict, Table::Void] {
        let marks = entries(&node.store, table);
        assert!(!marks.is_empty(), "{table:?}");
        for (key, _) in marks {
            let store = altered(&node.store, table, &key, None);
            if Verification::begin(&node.config, &identity, [7; 32], &store).is_ok() {
                assert_ne!(world.problems(0, &store), [], "{key:?} of {table:?}");
            }
        }
    }
}

#[test]
fn marks_of_what_is_right_are_found() {
    let (world, _) = eventful();
    let store = &world.nodes[0].store;
    let logs = entries(store, Table::Log);
    for (key, _) in &logs {
        if store.get(Table::Void, key).unwrap().is_none() {
            let problems = world.problems(0, &altered(store, Table::Void, key, Some(Bytes::new())));
            assert!(matches!(problems[..], [Problem::Noted { .. }, ..]), "{key:?}: {problems:?}");
        }
    }
    for (key, _) in entries(store, Table::Row) {
        if store.get(Table::Conflict, &key).unwrap().is_none() {
            let problems = world.problems(0, &altered(store, Table::Conflict, &key, Some(Bytes::new())));
            assert!(matches!(problems[..], [Problem::Row { .. }]), "{key:?}: {problems:?}");
        }
    }
}

#[test]
fn no_byte_of_a_tip_can_be_altered() {
    let (world, _) = eventful();
    let node = &world.nodes[0];
    let identity =
        Identity { chain: node.chain.clone(), secret: node.secret.clone(), continuity: Continuity::Shown };
    let (tip, value) = entries(&node.store, Table::Tip).pop().unwrap();
    for at in 0..value.len() {
        let mut other = value.to_vec();
        other[at] ^= 1;
        let store = altered(&node.store, Table::Tip, &tip, Some(other.into()));
        if Verification::begin(&node.config, &identity, [7; 32], &store).is_ok() {
            assert_ne!(world.problems(0, &store), [], "byte {at} of {}", value.len());
        }
    }
}

/// How many logs a replica takes says nothing about those that it has.
#[test]
fn more_logs_than_are_taken_now_are_no_problem() {
    let (mut world, _) = eventful();
    world.nodes[0].config.limits.authors = 1;
    assert_eq!(world.problems(0, &world.nodes[0].store), []);
}
