//! A store in memory: for tests, for the simulator, and as the shortest description of the contract.

use alloc::sync::Arc;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::ops::{Bound, ControlFlow};
#[cfg(target_has_atomic = "64")]
use {alloc::boxed::Box, core::sync::atomic::AtomicU64};

use bytes::Bytes;

use super::{Commit, Each, Fault, Scan, Table, View};
#[cfg(target_has_atomic = "64")]
use super::{Store, Syncer};
use crate::id::CommitSeq;
use crate::small::SmallMap;

/// An ordered map for each table. Cloning it copies the maps but shares keys and values.
#[derive(Debug, Clone, Default)]
pub struct MemStore {
    tables: [SmallMap<Entry, ()>; Table::ALL.len()],
    seq: CommitSeq,
}

/// A key with its value, in one piece of memory: most are a few bytes, and simulators have very many of them. Entries
/// are in the order of their keys, and equal by them.
#[derive(Debug, Clone)]
struct Entry {
    bytes: Arc<[u8]>,
    /// How many of the bytes are the key.
    key: usize,
}

impl Entry {
    fn new(key: &[u8], value: &[u8]) -> Self {
        Self { bytes: [key, value].concat().into(), key: key.len() }
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        self.bytes.split_at(self.key)
    }

    /// The value, which is not copied.
    fn value(&self) -> Bytes {
        Bytes::from_owner(self.bytes.clone()).split_off(self.key)
    }
}

impl Borrow<[u8]> for Entry {
    fn borrow(&self) -> &[u8] {
        self.parts().0
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().0.cmp(other.parts().0)
    }
}

/// Equal if they hold the same.
impl PartialEq for MemStore {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&SmallMap<Entry, ()>, &SmallMap<Entry, ()>)| {
            one.keys().map(Entry::parts).eq(other.keys().map(Entry::parts))
        };
        self.seq == other.seq && self.tables.iter().zip(&other.tables).all(is_same)
    }
}

impl Eq for MemStore {}

impl MemStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies a commit, and returns what undoes it: the values before, in a commit of the same number.
    pub fn apply(&mut self, commit: &Commit) -> Commit {
        let mut undo =
            Commit { seq: commit.seq, writes: alloc::vec::Vec::with_capacity(commit.writes.len()) };
        for write in &commit.writes {
            let value = self.put(write);
            undo.writes.push(super::Write { table: write.table, key: write.key.clone(), value });
        }
        self.seq = commit.seq;
        undo
    }

    /// Takes back the last commit, given what [`MemStore::apply`] returned for it. The simulator loses
    /// commits that were not durable this way.
    pub fn undo(&mut self, undo: &Commit) {
        for write in &undo.writes {
            self.put(write);
        }
        self.seq = CommitSeq(undo.seq.0.saturating_sub(1));
    }

    /// Makes one change, and returns the value before.
    fn put(&mut self, write: &super::Write) -> Option<Bytes> {
        let table = self.table_mut(write.table);
        let before = table.remove_entry(&write.key[..]).map(|(entry, ())| entry.value());
        if let Some(value) = &write.value {
            table.insert(Entry::new(&write.key, value), ());
        }
        before
    }

    /// The number of the last commit applied.
    pub fn seq(&self) -> CommitSeq {
        self.seq
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.tables.iter().flat_map(|table| table.keys()).map(|entry| entry.bytes.len()).sum()
    }

    #[allow(clippy::indexing_slicing, reason = "one map for each table, by construction")]
    fn table(&self, table: Table) -> &SmallMap<Entry, ()> {
        &self.tables[table as usize]
    }

    #[allow(clippy::indexing_slicing, reason = "one map for each table, by construction")]
    fn table_mut(&mut self, table: Table) -> &mut SmallMap<Entry, ()> {
        &mut self.tables[table as usize]
    }
}

impl View for MemStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.table(table).get_key_value(key).map(|(entry, ())| entry.value()))
    }

    fn scan(&self, scan: &Scan<'_>, each: Each<'_>) -> Result<(), Fault> {
        if scan.to.is_some_and(|to| to <= scan.from) {
            return Ok(());
        }
        let to = scan.to.map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = self.table(scan.table).range((Bound::Included(scan.from), to));
        for _ in 0..scan.limit {
            let entry = if scan.reverse { range.next_back() } else { range.next() };
            let Some((entry, ())) = entry else { break };
            let (key, value) = entry.parts();
            if let ControlFlow::Break(()) = each(key, value) {
                break;
            }
        }
        Ok(())
    }
}

/// A [`MemStore`] as a [`Store`], for drivers in tests: readers share the maps, which are copied only when
/// a commit meets a snapshot that is still held. Every commit counts as durable as soon as it is synced,
/// though nothing outlives the value.
#[cfg(target_has_atomic = "64")]
#[derive(Debug, Default)]
pub struct SharedMemStore {
    now: Arc<MemStore>,
    /// The last commit, where syncers see it.
    applied: Arc<AtomicU64>,
}

#[cfg(target_has_atomic = "64")]
impl SharedMemStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

#[cfg(target_has_atomic = "64")]
impl From<MemStore> for SharedMemStore {
    fn from(store: MemStore) -> Self {
        Self { applied: Arc::new(AtomicU64::new(store.seq.0)), now: Arc::new(store) }
    }
}

#[cfg(target_has_atomic = "64")]
impl Store for SharedMemStore {
    type Snapshot = SharedMemSnapshot;

    fn snapshot(&self) -> SharedMemSnapshot {
        SharedMemSnapshot(self.now.clone())
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), Fault> {
        Arc::make_mut(&mut self.now).apply(commit);
        self.applied.store(commit.seq.0, core::sync::atomic::Ordering::Release);
        Ok(())
    }

    fn seq(&self) -> CommitSeq {
        self.now.seq
    }

    fn syncer(&self) -> Syncer {
        let applied = self.applied.clone();
        Box::new(move || Ok(CommitSeq(applied.load(core::sync::atomic::Ordering::Acquire))))
    }
}

/// One moment of a [`SharedMemStore`].
#[cfg(target_has_atomic = "64")]
#[derive(Debug, Clone)]
pub struct SharedMemSnapshot(Arc<MemStore>);

#[cfg(target_has_atomic = "64")]
impl View for SharedMemSnapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.0.get(table, key)
    }

    fn scan(&self, scan: &Scan<'_>, each: Each<'_>) -> Result<(), Fault> {
        self.0.scan(scan, each)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::store::{Write, conformance};

    /// Memory that outlives the crash.
    struct Memory;

    impl conformance::Subject for Memory {
        type Store = SharedMemStore;

        fn create(&mut self) -> Result<SharedMemStore, String> {
            Ok(SharedMemStore::new())
        }

        fn crash(&mut self, store: SharedMemStore) -> Result<SharedMemStore, String> {
            Ok(store)
        }
    }

    #[test]
    fn memory_keeps_the_contract_of_a_store() {
        conformance::check(&mut Memory).unwrap();
    }

    #[test]
    fn undoing_in_reverse_order_leads_back_to_the_start() {
        let mut store = MemStore::new();
        let first = store.apply(&Commit {
            seq: CommitSeq(1),
            writes: alloc::vec![Write::put(Table::Row, b"a", b"1"), Write::put(Table::Row, b"b", b"1")],
        });
        let after_first = store.clone();
        let second = store.apply(&Commit {
            seq: CommitSeq(2),
            writes: alloc::vec![Write::put(Table::Row, b"a", b"2"), Write::remove(Table::Row, b"b")],
        });
        store.undo(&second);
        assert_eq!(store, after_first);
        store.undo(&first);
        assert_eq!(store, MemStore::new());
    }
}
