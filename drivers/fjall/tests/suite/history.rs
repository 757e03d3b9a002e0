//! A history of commits that can be told from its last number: what a store must show after commit `n`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use driftless::CommitSeq;
use driftless::store::{Commit, Fault, Scan, Store, Table, View, Write};
use driftless_fjall::{OpenError, Opened, Options, open};

/// How many entries of the log stay.
const KEPT: u64 = 200;
const ROWS: u64 = 50;

/// Commit `n`: a row that comes around again, an entry of the log, and the removal of an old one.
pub(crate) fn commit(n: u64) -> Commit {
    let mut writes = vec![
        Write::put(Table::Row, &(n % ROWS).to_be_bytes(), &value(n, 100)),
        Write::put(Table::Log, &n.to_be_bytes(), &value(n, size(n))),
        Write::put(Table::Meta, b"", &n.to_be_bytes()),
    ];
    if let Some(old) = n.checked_sub(KEPT).filter(|old| *old > 0) {
        writes.push(Write::remove(Table::Log, &old.to_be_bytes()));
    }
    Commit { seq: CommitSeq(n), writes }
}

/// Most are small, a few are larger than a page, and now and then one is kept apart from its key.
fn size(n: u64) -> usize {
    match n % 41 {
        0 => 300_000,
        1..6 => 9_000,
        _ => 150,
    }
}

fn value(n: u64, size: usize) -> Vec<u8> {
    n.to_be_bytes().into_iter().cycle().take(size).collect()
}

type Entries = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// What a store shows after commit `last`.
fn expected(last: u64) -> Entries {
    let mut entries = Entries::new();
    for n in last.saturating_sub(KEPT + ROWS) + 1..=last {
        for write in commit(n).writes {
            let key = (write.table, write.key.to_vec());
            match write.value {
                Some(value) => entries.insert(key, value.to_vec()),
                None => entries.remove(&key),
            };
        }
    }
    entries.retain(|(table, key), _| {
        *table != Table::Log || u64::from_be_bytes(key[..].try_into().unwrap()) + KEPT > last
    });
    entries
}

/// Compares all of a store with what its last number says; a fault is the store's way to say that it cannot.
pub(crate) fn verify(store: &impl Store) -> Result<(), Fault> {
    let view = store.snapshot();
    let expected = expected(store.seq().0);
    for ((table, key), value) in &expected {
        let found = view.get(*table, key)?;
        assert_eq!(found.as_deref(), Some(&value[..]), "{table:?} {key:?} after commit {}", store.seq().0);
    }
    let mut found = Entries::new();
    for table in Table::ALL {
        view.scan(&Scan::all(table), &mut |key, value| {
            found.insert((table, key.to_vec()), value.to_vec());
            ControlFlow::Continue(())
        })?;
    }
    assert!(found == expected, "a scan shows something else after commit {}", store.seq().0);
    Ok(())
}

/// Applies the next `n` commits.
pub(crate) fn extend(store: &mut impl Store, n: u64) {
    let last = store.seq().0;
    for n in last + 1..=last + n {
        store.apply(&commit(n)).unwrap();
    }
}

/// A data directory, and the place of its mark outside.
pub(crate) struct Home {
    root: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Small memtables, so that little data is enough for sorted files and merges.
    pub(crate) fn options(&self) -> Options {
        Options::new().state_dir(self.state()).memtable_bytes(256 << 10)
    }

    pub(crate) fn open(&self) -> Result<Opened, OpenError> {
        open(&self.data(), self.options())
    }

    /// A store with `n` durable commits.
    pub(crate) fn with_commits(n: u64) -> Self {
        let home = Self::new();
        let mut store = home.open().unwrap().store;
        extend(&mut store, n);
        assert_eq!(store.syncer()().unwrap(), CommitSeq(n));
        home
    }
}

/// Copies a directory.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
