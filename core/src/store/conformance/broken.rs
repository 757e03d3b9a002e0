//! The suite is itself tested: stores that break one rule each must fail, at the check that guards it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

use super::*;
use crate::store::{Each, MemStore, Syncer};

/// What is wrong with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    LosesRemoves,
    ReverseEndsAtTheWrongSide,
    IncludesTheEnd,
    IgnoresLimits,
    DoesNotStop,
    MixesTables,
    CutsLongKeys,
    CutsLargeValues,
    CutsValuesAbove4MiB,
    EmptyValueIsNothing,
    SnapshotsMove,
    ShowsLate,
    CountsFromOne,
    ForgetsTheNumber,
    SyncsNothing,
    SyncsOneLess,
    TearsTheLastCommit,
    LosesOneInTheMiddle,
    KeepsButMiscounts,
}

/// A store in memory with a disk that keeps what was synced, and one defect.
struct Broken {
    defect: Defect,
    now: Arc<Mutex<MemStore>>,
    disk: Arc<Mutex<Vec<Commit>>>,
    /// All commits, those on the disk first.
    all: Vec<Commit>,
    durable: Arc<AtomicU64>,
    applied: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Look {
    defect: Defect,
    now: Arc<Mutex<MemStore>>,
}

impl Look {
    fn store(&self) -> MemStore {
        self.now.lock().unwrap().clone()
    }

    fn key(&self, key: &[u8]) -> Bytes {
        let long = self.defect == Defect::CutsLongKeys && key.len() > 1_024;
        Bytes::copy_from_slice(if long { &key[..1_024] } else { key })
    }
}

impl View for Look {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.store().get(table, &self.key(key))
    }

    fn scan(&self, scan: &Scan<'_>, each: Each<'_>) -> Result<(), Fault> {
        let mut scan = *scan;
        let mut end = scan.to.map(<[u8]>::to_vec).unwrap_or_default();
        match self.defect {
            Defect::ReverseEndsAtTheWrongSide if scan.reverse => {
                let mut entries = Entries::new();
                self.store().scan(&Scan { reverse: false, ..scan }, &mut |key, value| {
                    entries.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
                    ControlFlow::Continue(())
                })?;
                entries.reverse();
                let _ = entries.iter().try_for_each(|(key, value)| each(key, value));
                return Ok(());
            }
            Defect::IncludesTheEnd => end.push(0),
            Defect::IgnoresLimits => scan.limit = usize::MAX,
            Defect::DoesNotStop => {
                return self.store().scan(&scan, &mut |key, value| {
                    let _ = each(key, value);
                    ControlFlow::Continue(())
                });
            }
            _ => {}
        }
        self.store().scan(&Scan { to: scan.to.map(|_| &end[..]), ..scan }, each)
    }
}

impl Broken {
    fn open(defect: Defect, disk: Arc<Mutex<Vec<Commit>>>) -> Self {
        let all = disk.lock().unwrap().clone();
        let seq = all.last().map_or(0, |commit| commit.seq.0);
        let mut store = Self {
            defect,
            now: Arc::default(),
            disk,
            all: Vec::new(),
            durable: Arc::new(AtomicU64::new(all.len() as u64)),
            applied: Arc::new(AtomicU64::new(seq)),
        };
        for commit in &all {
            store.apply(commit).unwrap();
        }
        store.applied.store(seq, Ordering::Relaxed);
        store
    }

    /// What a crash leaves: what is durable, and half of the rest.
    fn left(&self) -> Vec<Commit> {
        let durable = self.durable.load(Ordering::Relaxed) as usize;
        let mut left = self.all.clone();
        left.truncate(durable + (self.all.len() - durable).div_ceil(2));
        match self.defect {
            Defect::TearsTheLastCommit if left.len() > durable => {
                let half = left.last().unwrap().writes.len() / 2;
                left.last_mut().unwrap().writes.truncate(half);
            }
            Defect::LosesOneInTheMiddle if left.len() > durable + 1 => {
                let at = left.len() - 2;
                left[at].writes.clear();
            }
            Defect::KeepsButMiscounts if left.len() > durable => left.last_mut().unwrap().seq.0 -= 1,
            _ => {}
        }
        left
    }
}

impl Store for Broken {
    type Snapshot = Look;

    fn snapshot(&self) -> Look {
        let moving = self.defect == Defect::SnapshotsMove;
        let now =
            if moving { self.now.clone() } else { Arc::new(Mutex::new(self.now.lock().unwrap().clone())) };
        Look { defect: self.defect, now }
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), Fault> {
        let mut written = commit.clone();
        for write in &mut written.writes {
            let size = write.value.as_ref().map(Bytes::len);
            match self.defect {
                Defect::MixesTables if write.table == Table::Tip => write.table = Table::Row,
                Defect::CutsLongKeys => write.key.truncate(1_024),
                Defect::CutsLargeValues if size > Some(1 << 20) => {
                    write.value.as_mut().unwrap().truncate(1 << 20);
                }
                Defect::CutsValuesAbove4MiB if size > Some(4 << 20) => {
                    write.value.as_mut().unwrap().truncate(4 << 20);
                }
                Defect::EmptyValueIsNothing if size == Some(0) => write.value = None,
                _ => {}
            }
        }
        written.writes.retain(|write| self.defect != Defect::LosesRemoves || write.value.is_some());
        let late = self.defect == Defect::ShowsLate && self.all.len() % 2 == 1;
        if late {
            written.writes.clear();
        }
        self.now.lock().unwrap().apply(&written);
        self.all.push(commit.clone());
        self.applied.store(commit.seq.0, Ordering::Relaxed);
        Ok(())
    }

    fn seq(&self) -> CommitSeq {
        let seq = self.applied.load(Ordering::Relaxed);
        CommitSeq(if self.defect == Defect::CountsFromOne { seq + 1 } else { seq })
    }

    fn syncer(&self) -> Syncer {
        let (defect, applied, durable) = (self.defect, self.applied.clone(), self.durable.clone());
        Box::new(move || {
            let seq = applied.load(Ordering::Relaxed);
            durable.store(if defect == Defect::SyncsNothing { 0 } else { seq }, Ordering::Relaxed);
            Ok(CommitSeq(if defect == Defect::SyncsOneLess { seq.saturating_sub(1) } else { seq }))
        })
    }
}

struct Subjected(Defect);

impl Subject for Subjected {
    type Store = Broken;

    fn create(&mut self) -> Result<Broken, String> {
        Ok(Broken::open(self.0, Arc::default()))
    }

    fn crash(&mut self, store: Broken) -> Result<Broken, String> {
        let left = store.left();
        *store.disk.lock().unwrap() = left;
        let again = Broken::open(self.0, store.disk);
        if self.0 == Defect::ForgetsTheNumber {
            again.applied.store(0, Ordering::Relaxed);
        }
        Ok(again)
    }
}

#[test]
fn a_store_without_a_defect_passes_although_crashes_lose_commits() {
    check(&mut Subjected(Defect::None)).unwrap();
}

#[test]
fn every_defect_is_found_at_the_check_that_guards_it() {
    for (defect, words) in [
        (Defect::LosesRemoves, "seen whole"),
        (Defect::ReverseEndsAtTheWrongSide, "up to its limit"),
        (Defect::IncludesTheEnd, "up to its limit"),
        (Defect::IgnoresLimits, "up to its limit"),
        (Defect::DoesNotStop, "up to its limit"),
        (Defect::MixesTables, "two tables"),
        (Defect::CutsLongKeys, "up to its limit"),
        (Defect::CutsLargeValues, "any bytes"),
        (Defect::CutsValuesAbove4MiB, "any bytes"),
        (Defect::EmptyValueIsNothing, "any bytes"),
        (Defect::SnapshotsMove, "one moment"),
        (Defect::ShowsLate, "seen whole"),
        (Defect::CountsFromOne, "a new store"),
        (Defect::ForgetsTheNumber, "any bytes"),
        (Defect::SyncsNothing, "any bytes"),
        (Defect::SyncsOneLess, "any bytes"),
        (Defect::TearsTheLastCommit, "a prefix"),
        (Defect::LosesOneInTheMiddle, "a prefix"),
        (Defect::KeepsButMiscounts, "a prefix"),
    ] {
        let failure = check(&mut Subjected(defect)).expect_err("the defect must be found");
        assert!(failure.check.contains(words), "{defect:?} was found elsewhere: {failure}");
    }
}

#[test]
fn a_failure_says_what_was_expected_and_what_was_found() {
    let failure = check(&mut Subjected(Defect::CountsFromOne)).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "the store breaks its contract: a new store is empty and its last commit is 0: \
         expected the last commit to be 0, found 1"
    );
}
