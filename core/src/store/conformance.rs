//! The contract of a store, as a check that anybody's store can run: no test framework, no panics.
//!
//! Say how to make and how to crash the store by writing a [`Subject`], then call [`check`]. What comes back
//! is `Ok`, or a [`Failure`] that names the check, what the contract asks for, and what the store did.
//!
//! ```
//! use driftless::store::{conformance, SharedMemStore};
//!
//! struct Memory;
//! impl conformance::Subject for Memory {
//!     type Store = SharedMemStore;
//!     fn create(&mut self) -> Result<SharedMemStore, String> {
//!         Ok(SharedMemStore::new())
//!     }
//!     /// Memory that outlives the crash loses nothing, which is one of the prefixes that are allowed.
//!     fn crash(&mut self, store: SharedMemStore) -> Result<SharedMemStore, String> {
//!         Ok(store)
//!     }
//! }
//! conformance::check(&mut Memory).unwrap();
//! ```

#[cfg(test)]
mod broken;
mod inputs;
mod model;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use self::inputs::{awkward_keys, below, pick, random_bytes, random_key, random_writes};
use self::model::{Entries, Model, brief};
use super::{Commit, Fault, Scan, Store, Table, View, Write};
use crate::id::CommitSeq;

/// How the suite gets at a store.
pub trait Subject {
    /// What is checked.
    type Store: Store;

    /// A new, empty store. Stores made before are not used again.
    ///
    /// # Errors
    /// Words for the [`Failure`], if there can be none.
    fn create(&mut self) -> Result<Self::Store, String>;

    /// Ends a store without making anything more durable, as hard as the test can, and opens it again on
    /// what is left.
    ///
    /// # Errors
    /// Words for the [`Failure`], if it does not open.
    fn crash(&mut self, store: Self::Store) -> Result<Self::Store, String>;
}

/// What a store did wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store breaks its contract: {check}: expected {expected}, found {found}")]
pub struct Failure {
    /// The rule that was checked, as a sentence.
    pub check: &'static str,
    /// What the contract asks for.
    pub expected: String,
    /// What the store did instead.
    pub found: String,
}

/// Runs every check, and the random one on a few seeds.
///
/// # Errors
/// The first [`Failure`].
pub fn check<S: Subject>(subject: &mut S) -> Result<(), Failure> {
    a_new_store_is_empty(subject)?;
    a_commit_is_seen_whole_and_at_once(subject)?;
    tables_are_separate(subject)?;
    scans_keep_order_and_bounds(subject)?;
    any_bytes_are_keys_and_values(subject)?;
    snapshots_do_not_move(subject)?;
    synced_commits_survive(subject)?;
    a_crash_leaves_a_prefix(subject)?;
    for seed in 0..4 {
        check_random(subject, seed, 300)?;
    }
    Ok(())
}

/// Compares the store with a model through `steps` random commits, reads, snapshots, syncs and crashes.
///
/// # Errors
/// The first [`Failure`].
pub fn check_random<S: Subject>(subject: &mut S, seed: u64, steps: usize) -> Result<(), Failure> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut run = Run::start(subject, "a random history shows what a map would show")?;
    let mut held = Vec::new();
    for _ in 0..steps {
        match below(&mut rng, 100) {
            0..50 => run.commit(random_writes(&mut rng))?,
            50..75 => {
                let (table, from, to) =
                    (pick(&mut rng, &Table::ALL), random_key(&mut rng), random_key(&mut rng));
                let to = (below(&mut rng, 4) > 0).then_some(to.as_ref());
                let scan = Scan { reverse: rng.next_u32() & 1 == 1, ..Scan::range(table, &from, to) };
                let limit = [usize::MAX, 0, 1, 3].get(below(&mut rng, 4)).copied().unwrap_or(2);
                run.compare_scan(&run.store.snapshot(), run.now(), &scan.limit(limit))?;
                run.compare_get(&run.store.snapshot(), run.now(), table, &from)?;
            }
            75..85 => held.push((run.store.snapshot(), run.now().clone())),
            85..93 if !held.is_empty() => {
                let (snapshot, model) = held.swap_remove(below(&mut rng, held.len()));
                run.compare(&snapshot, &model)?;
            }
            93..98 => run.sync()?,
            98.. => {
                held.clear();
                run = run.crash()?;
            }
            _ => {}
        }
    }
    for (snapshot, model) in &held {
        run.compare(snapshot, model)?;
    }
    drop(held);
    run.sync()?;
    run.crash()?.finish()
}

fn a_new_store_is_empty<S: Subject>(subject: &mut S) -> Result<(), Failure> {
    Run::start(subject, "a new store is empty and its last commit is 0")?.finish()
}

fn a_commit_is_seen_whole_and_at_once<S: Subject>(subject: &mut S) -> Result<(), Failure> {
    let mut run = Run::start(subject, "a commit is seen whole, and at once, by every later snapshot")?;
    let (a, b, c) = (&b"a"[..], &b"b"[..], &b"c"[..]);
    run.commit(vec![Write::put(Table::Row, a, b"1"), Write::put(Table::Log, b, b"1")])?;
    run.agree()?;
    run.commit(vec![Write::put(Table::Row, a, b"2"), Write::put(Table::Row, c, b"2")])?;
    run.agree()?;
    run.commit(vec![Write::remove(Table::Row, a), Write::put(Table::Log, b, b"3")])?;
    run.agree()?;
    run.commit(vec![Write::remove(Table::Row, b"never there"), Write::remove(Table::Log, a)])?;
    run.agree()?;
    run.commit(vec![Write::put(Table::Row, a, b"again")])?;
    run.agree()?;
    run.commit(Vec::new())?;
    run.finish()
}

fn tables_are_separate<S: Subject>(subject: &mut S) -> Result<(), Failure> {
    let mut run = Run::start(subject, "the same key in two tables is two entries")?;
    let same = |table: Table| Write::put(table, b"same", table.name().as_bytes());
    run.commit(Table::ALL.map(same).to_vec())?;
    run.agree()?;
    for table in Table::ALL {
        run.commit(vec![Write::remove(table, b"same")])?;
        run.agree()?;
    }
    run.finish()
}

fn scans_keep_order_and_bounds<S: Subject>(subject: &mut S) -> Result<(), Failure> {
    let mut run = Run::start(subject, "a scan gives the entries of its range in order, up to its limit")?;
    let keys = awkward_keys();
    let mut writes = Vec::new();
    for table in [Table::Log, Table::Collection, Table::Row, Table::Tip] {
        writes.extend(keys.iter().map(|key| Write {
            table,
            key: key.clone(),
            value: Some(Bytes::from(format!("{} {}", table.name(), brief(key)))),
        }));
    }
    run.commit(writes)?;
    // Gaps, so that bounds are also keys that are not there.
    run.commit(keys.iter().step_by(3).map(|key| Write::remove(Table::Row, key)).collect())?;
    let snapshot = run.store.snapshot();
    for from in &keys {
        for to in keys.iter().map(Some).chain([None]) {
            for (reverse, limit) in
                [(false, usize::MAX), (true, usize::MAX), (false, 2), (true, 1), (true, 0)]
            {
                let range = Scan::range(Table::Row, from, to.map(Bytes::as_ref));
                run.compare_scan(&snapshot, run.now(), &Scan { reverse, limit, ..range })?;
            }
        }
    }
    for reverse in [false, true] {
        run.compare_early_end(&snapshot, &Scan { reverse, ..Scan::all(Table::Row) })?;
    }
    drop(snapshot);
    run.finish()
}

fn any_bytes_are_keys_and_values<S: Subject>(subject: &mut S) -> Result<(), Failure> {
    let mut run = Run::start(subject, "keys of 0 to 4 KiB and values of 0 to 16 MiB of any bytes are kept")?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let keys = [0, 1, 1024, 1025, 4096].map(|size| random_bytes(&mut rng, size));
    // A generation of the largest size stands in the log with what belongs to it, and rows can be larger.
    let sizes = [0, 1, 65_535, 65_536, 1 << 20, 4 << 20, (4 << 20) + 4_096, 16 << 20];
    for size in sizes {
        let writes = keys.iter().map(|key| Write {
            table: Table::Log,
            key: key.clone(),
            value: Some(random_bytes(&mut rng, size / keys.len())),
        });
        let mut writes: Vec<_> = writes.collect();
        writes.push(Write {
            table: Table::Row,
            key: Bytes::from(size.to_string()),
            value: Some(random_bytes(&mut rng, size)),
        });
        run.commit(writes)?;
        run.agree()?;
    }
    run.sync()?;
    run.crash()?.finish()
}

fn snapshots_do_not_move<S: Subject>(subject: &mut S) -> Result<(), Failure> {
    let mut run = Run::start(subject, "a snapshot, and a clone of it, shows one moment")?;
    run.compare(&run.store.snapshot(), &Model::default())?;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut held = vec![(run.store.snapshot(), run.now().clone())];
    for round in 0..60 {
        run.commit(random_writes(&mut rng))?;
        if round % 10 == 3 {
            held.push((run.store.snapshot(), run.now().clone()));
        }
        if round % 20 == 5 {
            run.sync()?;
        }
        for (snapshot, model) in &held {
            run.compare(snapshot, model)?;
        }
    }
    let clones: Vec<_> = held.iter().map(|(snapshot, model)| (snapshot.clone(), model.clone())).collect();
    drop(held);
    run.commit(random_writes(&mut rng))?;
    for (snapshot, model) in &clones {
        run.compare(snapshot, model)?;
    }
    drop(clones);
    run.finish()
}

fn synced_commits_survive<S: Subject>(subject: &mut S) -> Result<(), Failure> {
    let mut run = Run::start(subject, "what a syncer said is durable survives, and numbers go on after it")?;
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    // One syncer, made before all commits, serves many of them: group commit.
    let mut syncer = run.store.syncer();
    run.expect_synced(syncer())?;
    for _ in 0..10 {
        for _ in 0..7 {
            run.commit(random_writes(&mut rng))?;
        }
        run.expect_synced(syncer())?;
    }
    run.expect_synced(syncer())?;
    drop(syncer);
    for _ in 0..5 {
        run = run.crash()?;
        run.commit(random_writes(&mut rng))?;
        run.sync()?;
    }
    run.crash()?.finish()
}

fn a_crash_leaves_a_prefix<S: Subject>(subject: &mut S) -> Result<(), Failure> {
    let mut run = Run::start(subject, "after a crash the store shows a prefix of the commits, each whole")?;
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for round in 0..12 {
        for n in 0..below(&mut rng, 40) {
            let mut writes = random_writes(&mut rng);
            if n % 8 == round % 8 {
                let large = 1 << (10 + below(&mut rng, 10));
                writes.push(Write {
                    table: Table::Past,
                    key: Bytes::from(n.to_string()),
                    value: Some(random_bytes(&mut rng, large)),
                });
            }
            run.commit(writes)?;
            if below(&mut rng, 30) == 0 {
                run.sync()?;
            }
        }
        run = run.crash()?;
    }
    run.finish()
}

/// A store under check, and what it must show.
struct Run<'s, S: Subject> {
    subject: &'s mut S,
    store: S::Store,
    /// The states that a crash may lead to: from the last durable commit to now.
    states: Vec<Model>,
    check: &'static str,
}

impl<'s, S: Subject> Run<'s, S> {
    fn start(subject: &'s mut S, check: &'static str) -> Result<Self, Failure> {
        let store = subject.create().map_err(|words| Failure {
            check,
            expected: "a new store".into(),
            found: format!("the error: {words}"),
        })?;
        let run = Self { subject, store, states: vec![Model::default()], check };
        run.agree()?;
        Ok(run)
    }

    fn fail<T>(&self, expected: impl Into<String>, found: impl Into<String>) -> Result<T, Failure> {
        Err(Failure { check: self.check, expected: expected.into(), found: found.into() })
    }

    /// Turns a fault of the store into a failure.
    fn ask<T>(&self, what: &str, answer: Result<T, Fault>) -> Result<T, Failure> {
        answer.or_else(|fault| self.fail(what, format!("the fault: {fault}")))
    }

    /// What the store must show.
    #[allow(clippy::expect_used, reason = "starts with one state and only ever drops those before the last")]
    fn now(&self) -> &Model {
        self.states.last().expect("there is always a state")
    }

    fn commit(&mut self, writes: Vec<Write>) -> Result<(), Failure> {
        let mut next = self.now().clone();
        let commit = Commit { seq: CommitSeq(next.seq.0 + 1), writes };
        next.apply(&commit);
        let answer = self.store.apply(&commit);
        self.ask("the commit to be applied", answer)?;
        self.states.push(next);
        self.compare_seq()
    }

    fn sync(&mut self) -> Result<(), Failure> {
        let answer = self.store.syncer()();
        self.expect_synced(answer)
    }

    /// Every commit so far is durable, and the syncer must say so.
    fn expect_synced(&mut self, answer: Result<CommitSeq, Fault>) -> Result<(), Failure> {
        let durable = self.ask("the commits to become durable", answer)?;
        if durable != self.now().seq {
            return self.fail(format!("a sync of commit {}", self.now().seq.0), durable.0.to_string());
        }
        self.states.drain(..self.states.len() - 1);
        Ok(())
    }

    /// Crashes the store, finds which of the allowed states it shows, and goes on from there.
    fn crash(self) -> Result<Self, Failure> {
        let Self { subject, store, mut states, check } = self;
        let store = subject.crash(store).map_err(|words| Failure {
            check,
            expected: "the store to open after a crash".into(),
            found: format!("the error: {words}"),
        })?;
        let allowed = format!(
            "the last commit to be between {} and {}",
            states.first().map_or(0, |state| state.seq.0),
            states.last().map_or(0, |state| state.seq.0)
        );
        let shown = store.seq();
        states.retain(|state| state.seq == shown);
        if states.is_empty() {
            return Err(Failure { check, expected: allowed, found: shown.0.to_string() });
        }
        let run = Self { subject, store, states, check };
        run.agree()?;
        Ok(run)
    }

    /// A last look.
    fn finish(self) -> Result<(), Failure> {
        self.agree()
    }

    /// The store shows what it must show.
    fn agree(&self) -> Result<(), Failure> {
        self.compare_seq()?;
        self.compare(&self.store.snapshot(), self.now())
    }

    fn compare_seq(&self) -> Result<(), Failure> {
        let (expected, found) = (self.now().seq.0, self.store.seq().0);
        if found == expected {
            return Ok(());
        }
        self.fail(format!("the last commit to be {expected}"), found.to_string())
    }

    /// A view shows the whole of a model.
    fn compare(&self, view: &impl View, model: &Model) -> Result<(), Failure> {
        for table in Table::ALL {
            self.compare_scan(view, model, &Scan::all(table))?;
            self.compare_scan(view, model, &Scan::all(table).reversed())?;
            for (key, _) in model.scan(&Scan::all(table)) {
                self.compare_get(view, model, table, &key)?;
            }
            self.compare_get(view, model, table, b"\x00not there")?;
        }
        Ok(())
    }

    fn compare_get(&self, view: &impl View, model: &Model, table: Table, key: &[u8]) -> Result<(), Failure> {
        let what = format!("{} {} at commit {}", table.name(), brief(key), model.seq.0);
        let found = self.ask(&what, view.get(table, key))?;
        let expected = model.get(table, key);
        if found == expected {
            return Ok(());
        }
        let show = |value: Option<Bytes>| value.map_or("nothing".into(), |value| brief(&value));
        self.fail(format!("{what} to be {}", show(expected)), show(found))
    }

    fn compare_scan(&self, view: &impl View, model: &Model, scan: &Scan<'_>) -> Result<(), Failure> {
        let mut found = Entries::new();
        let answer = view.scan(scan, &mut |key, value| {
            found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            ControlFlow::Continue(())
        });
        let what = model::describe(scan, model.seq);
        self.ask(&what, answer)?;
        match model::first_difference(&model.scan(scan), &found) {
            None => Ok(()),
            Some((expected, found)) => self.fail(format!("{what} to give {expected}"), found),
        }
    }

    /// A scan ends as soon as its closure says so.
    fn compare_early_end(&self, view: &impl View, scan: &Scan<'_>) -> Result<(), Failure> {
        for end in 1..4 {
            let mut calls = 0;
            let answer = view.scan(scan, &mut |_, _| {
                calls += 1;
                if calls < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            self.ask("a scan that ends early", answer)?;
            if calls != end {
                return self.fail(format!("{end} calls before a scan is ended"), calls.to_string());
            }
        }
        Ok(())
    }
}
