//! A device in the hands of the application.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use bytes::Bytes;
use driftless::read::{self, Collection, ConflictRow, Row};
use driftless::store::MemStore;
use driftless::{Author, LocalWrite, Name, Precondition, RowRef, SyncgroupId, Wall, Written, counter};

use super::{Batch, NotWritten};
use crate::oracle::Violation;

/// What devices are run by.
pub(crate) trait Host {
    /// The store of a replica.
    fn store(&self, replica: usize) -> &MemStore;
    /// What its wall clock shows.
    fn wall(&self, replica: usize) -> Wall;
    /// Writes a batch there.
    fn write(
        &mut self,
        replica: usize,
        batch: LocalWrite,
    ) -> Result<Result<Vec<Written>, NotWritten>, Violation>;
}

/// One device, as the application on it sees it: it reads its own copy, and writes to it.
pub struct Device<'w> {
    host: &'w mut dyn Host,
    replica: usize,
    author: Author,
    syncgroup: SyncgroupId,
    collections: BTreeMap<Name, Collection>,
    sometimes: RefCell<Vec<&'static str>>,
    violation: Option<Violation>,
}

impl fmt::Debug for Device<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("number", &self.replica).finish_non_exhaustive()
    }
}

impl<'w> Device<'w> {
    /// A replica, and as whom it writes, with the collections of a syncgroup.
    pub(crate) fn new(
        host: &'w mut dyn Host,
        (replica, author): (usize, Author),
        syncgroup: SyncgroupId,
        collections: BTreeMap<Name, Collection>,
    ) -> Self {
        Self { host, replica, author, syncgroup, collections, sometimes: RefCell::default(), violation: None }
    }

    /// What it leaves behind: the points that it reached, and the rule that was broken when it wrote.
    pub(crate) fn done(self) -> (Vec<&'static str>, Option<Violation>) {
        (self.sometimes.into_inner(), self.violation)
    }

    /// Its number in the plan, from 0. An application outside of the simulator has no such thing: this is for what
    /// tests say.
    pub fn index(&self) -> usize {
        self.replica
    }

    /// As whom it writes. A device whose disk was lost or set back to an old copy writes as another author from then
    /// on, because what the earlier one wrote may be somewhere (S-2).
    pub fn author(&self) -> Author {
        self.author
    }

    /// The same as a short text, for keys of rows that only this author writes.
    pub fn me(&self) -> String {
        format!("{:?}", self.author)
    }

    /// What its clock shows, which may be wrong.
    pub fn now(&self) -> Wall {
        self.host.wall(self.replica)
    }

    /// What a row shows, if it is there.
    pub fn get(&self, collection: &str, key: impl AsRef<[u8]>) -> Option<Bytes> {
        // A store in memory does not fail; one that is damaged is for the oracles to find.
        let row = read::get(self.store(), self.collection(collection), key.as_ref());
        row.ok().flatten().map(|row| row.value)
    }

    /// The number that a row shows; 0 if it is not there, or shows none. Counters are such rows.
    pub fn number(&self, collection: &str, key: impl AsRef<[u8]>) -> i64 {
        let value = self.get(collection, key);
        let number = value.and_then(|value| counter::parse(&value)).unwrap_or(0);
        i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
    }

    /// All rows of a collection, by key.
    pub fn rows(&self, collection: &str) -> Vec<Row> {
        self.rows_under(collection, "")
    }

    /// The rows of a collection whose keys start so.
    pub fn rows_under(&self, collection: &str, prefix: impl AsRef<[u8]>) -> Vec<Row> {
        let (from, mut rows) = (prefix.as_ref(), Vec::new());
        let to = read::prefix_end(from);
        let _ =
            read::scan(self.store(), self.collection(collection), from, to.as_deref(), false, &mut |row| {
                rows.push(row);
                ControlFlow::Continue(())
            });
        rows
    }

    /// The rows of a collection that are in conflict, with all their versions.
    pub fn conflicts(&self, collection: &str) -> Vec<ConflictRow> {
        read::conflicts(self.store(), self.collection(collection), b"", usize::MAX).unwrap_or_default()
    }

    /// The store, for everything else that [`driftless::read`] can tell.
    pub fn store(&self) -> &MemStore {
        self.host.store(self.replica)
    }

    /// A collection of the schema, for [`driftless::read`].
    ///
    /// # Panics
    /// If the schema has no such collection.
    #[allow(clippy::panic, reason = "a slip in a test, which should say so")]
    pub fn collection(&self, name: &str) -> &Collection {
        let found = self.collections.iter().find(|(known, _)| known.as_str() == name);
        found.map_or_else(|| panic!("the schema has no collection \"{name}\""), |(_, found)| found)
    }

    /// A row, as `driftless` names it: answers to conflicts compare by it.
    pub fn row(&self, collection: &str, key: impl AsRef<[u8]>) -> RowRef {
        let key = Bytes::copy_from_slice(key.as_ref());
        RowRef { syncgroup: self.syncgroup, collection: self.collection(collection).name.clone(), key }
    }

    pub(super) fn unchanged(&self, collection: &str, key: &[u8]) -> Precondition {
        let heads = read::heads(self.store(), self.collection(collection), key).unwrap_or_default();
        let heads = heads.into_iter().map(|head| head.version).collect();
        Precondition::Heads { row: self.row(collection, key), heads }
    }

    /// Writes a batch. It is visible on this device from now on, and no one else has heard of it; a crash may take it
    /// back. Returns what it became: nothing, if there was nothing to change.
    ///
    /// # Errors
    /// [`NotWritten`] if it was refused, or the process ended over it.
    pub fn write(&mut self, batch: Batch) -> Result<Option<Written>, NotWritten> {
        if self.violation.is_some() {
            return Err(NotWritten::Ended);
        }
        match self.host.write(self.replica, batch.local_write(self.syncgroup)) {
            Ok(written) => written.map(|parts| parts.first().copied()),
            Err(violation) => {
                // The run ends here, as soon as the application returns.
                self.violation = Some(violation);
                Err(NotWritten::Ended)
            }
        }
    }

    /// Something that must come up in some run: see [`Runs::sometimes`](super::Runs::sometimes).
    pub fn sometimes(&self, point: &'static str) {
        self.sometimes.borrow_mut().push(point);
    }
}
