//! Reading rows from a view of the store, without the core: applications read on their own snapshot, and
//! never wait for synchronisation.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;

use crate::id::{CollectionId, Name, SyncgroupId, Version};
use crate::store::{Fault, View};
use crate::time::Hlc;

/// A collection that this store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// The database, on this device.
    pub database: Name,
    /// The syncgroup.
    pub syncgroup: SyncgroupId,
    /// The collection's name.
    pub name: Name,
    /// The collection's id within the syncgroup.
    pub id: CollectionId,
    /// The syncgroup's local number.
    pub(crate) index: u32,
}

/// A row as readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The version that is shown.
    pub version: Version,
    /// The stamp of that version.
    pub stamp: Hlc,
    /// Whether other versions, which this one did not know, say something else (S-19).
    pub in_conflict: bool,
}

/// A version of a row that no other known version supersedes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Which version.
    pub version: Version,
    /// Its stamp.
    pub stamp: Hlc,
    /// Its value; `None` if it deleted the row.
    pub value: Option<Bytes>,
}

/// All collections of the store, ordered by database, name and syncgroup.
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn collections(_view: &dyn View) -> Result<Vec<Collection>, Fault> {
    unimplemented!()
}

/// The row of this key, if it is there (S-13, S-14).
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn get(_view: &dyn View, _collection: &Collection, _key: &[u8]) -> Result<Option<Row>, Fault> {
    unimplemented!()
}

/// The heads of this key, the shown one first; none if nobody ever wrote it. These are what
/// [`crate::Precondition::Heads`] compares.
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn heads(_view: &dyn View, _collection: &Collection, _key: &[u8]) -> Result<Vec<Head>, Fault> {
    unimplemented!()
}

/// Calls `each` for the rows from `from` up to, not including, `to`, in the order of their keys or in the
/// reverse. `None` for `to` is the end of the collection.
///
/// # Errors
/// [`Fault`] if the store cannot say; `each` may have been called by then.
pub fn scan(
    _view: &dyn View,
    _collection: &Collection,
    _from: &[u8],
    _to: Option<&[u8]>,
    _reverse: bool,
    _each: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<(), Fault> {
    unimplemented!()
}

/// The first key after all keys that start with `prefix`; `None` if there is none. With it a prefix is a
/// range.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    if let Some(byte) = end.last_mut() {
        *byte += 1;
    }
    Some(end)
}
