//! What the core asks of a store: ordered tables of bytes, read through a [`View`], changed by [`Commit`]s.
//!
//! The contract, which [`conformance`] checks on any store:
//!
//! 1. A commit is atomic, and is applied before the next call of `Core::handle`: the view given to that call
//!    shows all of it.
//! 2. A commit becomes durable later, and in order: after a crash the store shows a prefix of the commits.
//!    [`crate::Event::Durable`] tells the core how long a prefix is certain to survive.
//! 3. A view shows one moment: while it is used, nothing in it changes.
//! 4. Keys and values are any bytes, and may be empty. Keys have up to 4 KiB. Values have no bound: an entry of the log
//!    is a generation of up to 4 MiB ([`crate::limits::MAX_GENERATION`]) and some kilobytes beside it, and a row holds all
//!    its heads, each with up to 1 MiB, so it grows with the number of devices that write it at the same time.
//!
//! ```
//! use driftless::store::{Commit, MemStore, Scan, Table, View, Write};
//! use driftless::CommitSeq;
//! use std::ops::ControlFlow;
//!
//! let mut store = MemStore::new();
//! store.apply(&Commit { seq: CommitSeq(1), writes: vec![Write::put(Table::Row, b"a", b"1")] });
//! assert_eq!(store.get(Table::Row, b"a").unwrap().as_deref(), Some(&b"1"[..]));
//!
//! let mut keys = Vec::new();
//! store.scan(&Scan::all(Table::Row), &mut |key, _value| {
//!     keys.push(key.to_vec());
//!     ControlFlow::Continue(())
//! }).unwrap();
//! assert_eq!(keys, [b"a".to_vec()]);
//! ```

pub mod conformance;
pub(crate) mod key;
mod mem;
pub(crate) mod staged;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::mem::MemStore;
#[cfg(target_has_atomic = "64")]
pub use self::mem::{SharedMemSnapshot, SharedMemStore};
use crate::id::CommitSeq;

/// The tables of a store. Each is an ordered map from bytes to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Table {
    /// Single values: the format's version, the identity, the number of the last commit.
    Meta = 0,
    /// Authors by their local number.
    Author = 1,
    /// Syncgroups by their local number, with what this replica notes about each.
    Syncgroup = 2,
    /// Generations by syncgroup, author and number.
    Log = 3,
    /// Latest checkpoints by syncgroup and author.
    Checkpoint = 4,
    /// Which generations hold metadata.
    Metadata = 5,
    /// Sets of metadata that generations have in their past, by syncgroup and local number.
    Past = 6,
    /// Collections by syncgroup and id, with their names.
    Collection = 7,
    /// Rows by syncgroup, collection and key, with their heads.
    Row = 8,
    /// What the next generation of each syncgroup builds on, and the digest of its visible state.
    Tip = 9,
    /// Devices that were reached, with their addresses.
    Peer = 10,
    /// Schemas by syncgroup and collection.
    Schema = 11,
    /// Which rows have heads that disagree.
    Conflict = 12,
    /// Which rows each of the last commits changed, for those who watch.
    Change = 13,
    /// Generations that are held, and whose rows wait for other parts of their batches.
    Waiting = 14,
    /// Generations that are held, and do not count.
    Void = 15,
}

impl Table {
    /// All tables, in order: what a store creates when it opens.
    pub const ALL: [Table; 16] = [
        Table::Meta,
        Table::Author,
        Table::Syncgroup,
        Table::Log,
        Table::Checkpoint,
        Table::Metadata,
        Table::Past,
        Table::Collection,
        Table::Row,
        Table::Tip,
        Table::Peer,
        Table::Schema,
        Table::Conflict,
        Table::Change,
        Table::Waiting,
        Table::Void,
    ];

    /// A short name, for stores whose tables have names.
    pub fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Author => "author",
            Table::Syncgroup => "syncgroup",
            Table::Log => "log",
            Table::Checkpoint => "checkpoint",
            Table::Metadata => "metadata",
            Table::Past => "past",
            Table::Collection => "collection",
            Table::Row => "row",
            Table::Tip => "tip",
            Table::Peer => "peer",
            Table::Schema => "schema",
            Table::Conflict => "conflict",
            Table::Change => "change",
            Table::Waiting => "waiting",
            Table::Void => "void",
        }
    }
}

/// A range of one table to be read in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan<'a> {
    /// The table.
    pub table: Table,
    /// The first key, included.
    pub from: &'a [u8],
    /// The key at which to end, not included; `None` is the end of the table.
    pub to: Option<&'a [u8]>,
    /// From the end of the range to its start.
    pub reverse: bool,
    /// How many entries at most: an asynchronous store fetches no more than these.
    pub limit: usize,
}

impl<'a> Scan<'a> {
    /// A whole table, forwards.
    pub fn all(table: Table) -> Self {
        Self { table, from: &[], to: None, reverse: false, limit: usize::MAX }
    }

    /// The keys from `from` up to, not including, `to`.
    pub fn range(table: Table, from: &'a [u8], to: Option<&'a [u8]>) -> Self {
        Self { table, from, to, reverse: false, limit: usize::MAX }
    }

    /// The same, from the end.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { reverse: true, ..self }
    }

    /// The same, with at most this many entries.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }
}

/// What a scan calls for each entry; `Break` ends the scan.
pub type Each<'e> = &'e mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// A read-only look at one moment of a store.
pub trait View {
    /// The value of a key.
    ///
    /// # Errors
    /// [`Fault`] if the store cannot say.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault>;

    /// Calls `each` for the entries of a range, in the order of their keys as bytes, or in the reverse.
    ///
    /// # Errors
    /// [`Fault`] if the store cannot say; `each` may have been called by then.
    fn scan(&self, scan: &Scan<'_>, each: Each<'_>) -> Result<(), Fault>;
}

/// A store that a driver can run a replica on.
pub trait Store {
    /// A look at one moment, for a reader on any thread.
    type Snapshot: View + Clone + Send + Sync + 'static;

    /// The store as it is now: every commit applied so far, and none that is applied later.
    fn snapshot(&self) -> Self::Snapshot;

    /// Applies a commit: all of it is in every later snapshot. It need not be durable yet.
    ///
    /// # Errors
    /// [`Fault::Store`] if it could not be applied; then the replica must be closed.
    fn apply(&mut self, commit: &Commit) -> Result<(), Fault>;

    /// The number of the last commit applied; 0 in a new store.
    fn seq(&self) -> CommitSeq;

    /// What makes commits durable. A driver may run it on a thread of its own.
    fn syncer(&self) -> Syncer;
}

/// Makes durable every commit that was applied before the call, and returns the number of the last of them.
/// One call serves any number of commits (group commit).
pub type Syncer = Box<dyn FnMut() -> Result<CommitSeq, Fault> + Send>;

/// One change of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: Bytes,
    /// The new value; `None` removes the key.
    pub value: Option<Bytes>,
}

impl Write {
    /// Sets a key, copying both.
    pub fn put(table: Table, key: &[u8], value: &[u8]) -> Self {
        Self { table, key: Bytes::copy_from_slice(key), value: Some(Bytes::copy_from_slice(value)) }
    }

    /// Removes a key. Removing what is not there is allowed.
    pub fn remove(table: Table, key: &[u8]) -> Self {
        Self { table, key: Bytes::copy_from_slice(key), value: None }
    }
}

/// Changes that are applied together or not at all. There is at most one write for each (table, key).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// One more than that of the commit before.
    pub seq: CommitSeq,
    /// The changes.
    pub writes: Vec<Write>,
}

/// Why the core could not go on. Nothing of the event was applied: all reads come before the first change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The store failed. The driver closes the replica; it can be opened again from what is durable.
    #[error("the store failed: {0}")]
    Store(String),
    /// The store does not have these keys at hand. The driver fetches them and offers the event again.
    #[error("{n} keys must be fetched first", n = .0.len())]
    Need(Vec<(Table, Bytes)>),
    /// The store holds something that this code did not write, or has lost something that it did.
    #[error("the store is damaged: {what} in table {table}; restore a backup, or make a new store and join again", table = .table.name())]
    Corrupt {
        /// Where.
        table: Table,
        /// What is wrong.
        what: String,
    },
}
