//! Reading from a view of the store, without the core: applications read on their own snapshot, and never wait
//! for synchronisation.
//!
//! Rows are read by [`get`], [`scan`] and [`count`]; what lies behind them by [`heads`], [`history`] and
//! [`conflicts`]; what has changed since by [`Changes`]; what a batch would make of a row by [`edited`].

mod changes;
mod conflicts;
mod edited;
mod history;
mod names;
mod parts;
mod told;

use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;

pub use self::changes::{Changes, Marker, ParseMarkerError, Resumed, RowUpdate, Update, WatchEnd};
pub use self::conflicts::{ConflictRow, conflict, conflicts};
pub(crate) use self::conflicts::{Gathering, RowPlace};
pub use self::edited::edited;
pub(crate) use self::history::history_among;
pub use self::history::{Edited, Entry, common_ancestor, history};
use self::names::Names;
pub(crate) use self::names::author;
pub(crate) use self::parts::{generation, other_parts};
use crate::id::{CollectionId, Name, SyncgroupId, Version};
use crate::object::RowState;
use crate::replica::Merges;
use crate::replica::load::entries;
use crate::replica::stored::corrupt;
use crate::resolve::{MergeFunction, Rule};
use crate::store::{Fault, Scan, Table, View, key};
use crate::syncgroup::group::GroupRecord;
use crate::time::Hlc;
use crate::wire::codec::DecodeError;

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
    /// The application's own merges.
    merges: Merges,
}

impl Collection {
    /// The same, for a reader that has registered these merges (S-16): the ones of
    /// [`Config::merges`](crate::Config::merges). Without them such rows show their last put.
    #[must_use]
    pub fn with_merges(self, merges: &[&'static dyn MergeFunction]) -> Self {
        Self { merges: Merges(merges.to_vec()), ..self }
    }
}

/// A row as readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The last of its heads. Its content is what is shown, unless the row is merged (S-16).
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
    /// Its value; `None` if it deleted the row, or is an operation.
    pub value: Option<Bytes>,
    /// Whether it is an operation of a merging row.
    pub is_operation: bool,
}

/// All collections of the store, ordered by database, name and syncgroup.
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn collections(view: &dyn View) -> Result<Vec<Collection>, Fault> {
    let mut found = Vec::new();
    for (number, bytes) in entries(view, &Scan::all(Table::Syncgroup))? {
        let wrong = || corrupt(Table::Syncgroup, DecodeError { what: "a syncgroup" });
        let (index, _) = key::split_number(&number).ok_or_else(wrong)?;
        let group: GroupRecord = postcard::from_bytes(&bytes).map_err(|_| wrong())?;
        let end = index.checked_add(1).map(key::number);
        for (at, name) in entries(view, &Scan::range(Table::Collection, &number, end.as_deref()))? {
            let wrong = || corrupt(Table::Collection, DecodeError { what: "a collection" });
            let id = CollectionId(*at.last_chunk().ok_or_else(wrong)?);
            let name = core::str::from_utf8(&name).ok().and_then(|name| Name::new(name).ok());
            let (database, syncgroup) = (group.database.clone(), group.id);
            let (name, merges) = (name.ok_or_else(wrong)?, Merges::default());
            found.push(Collection { database, syncgroup, name, id, index, merges });
        }
    }
    found.sort_by(|a, b| (&a.database, &a.name, a.syncgroup).cmp(&(&b.database, &b.name, b.syncgroup)));
    Ok(found)
}

/// The rules of a collection's schema, by prefix (S-16).
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn schema(view: &dyn View, collection: &Collection) -> Result<Vec<Rule>, Fault> {
    let key = key::collection(collection.index, &collection.id);
    let Some(bytes) = view.get(Table::Schema, &key)? else { return Ok(Vec::new()) };
    let wrong = |_| corrupt(Table::Schema, DecodeError { what: "a schema" });
    postcard::from_bytes(&bytes).map_err(wrong)
}

/// The row of this key, if it is there (S-13, S-14).
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn get(view: &dyn View, collection: &Collection, key: &[u8]) -> Result<Option<Row>, Fault> {
    let state = state(view, collection, key)?;
    Names::new(view, collection).row(Bytes::copy_from_slice(key), &state)
}

/// The heads of this key, the last one first; none if nobody ever wrote it. These are what
/// [`crate::Precondition::Heads`] compares.
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn heads(view: &dyn View, collection: &Collection, key: &[u8]) -> Result<Vec<Head>, Fault> {
    let mut names = Names::new(view, collection);
    state(view, collection, key)?.heads.iter().map(|head| names.head(head)).collect()
}

/// Calls `each` for the rows from `from` up to, not including, `to`, in the order of their keys or in the
/// reverse. `None` for `to` is the end of the collection.
///
/// # Errors
/// [`Fault`] if the store cannot say; `each` may have been called by then.
pub fn scan(
    view: &dyn View,
    collection: &Collection,
    from: &[u8],
    to: Option<&[u8]>,
    reverse: bool,
    each: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<(), Fault> {
    let mut names = Names::new(view, collection);
    scan_states(view, collection, (from, to, reverse), &mut |key, state| {
        Ok(match names.row(key, &state)? {
            None => ControlFlow::Continue(()),
            Some(row) => each(row),
        })
    })
}

/// How many rows there are from `from` up to, not including, `to`; `None` is the end of the collection. It
/// costs as much as reading them.
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn count(view: &dyn View, collection: &Collection, from: &[u8], to: Option<&[u8]>) -> Result<u64, Fault> {
    let mut names = Names::new(view, collection);
    let mut count = 0;
    scan_states(view, collection, (from, to, false), &mut |key, state| {
        count += u64::from(names.value(&key, &state)?.is_some());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(count)
}

/// Calls `each` for what is kept of the rows of a range.
fn scan_states(
    view: &dyn View,
    collection: &Collection,
    (from, to, reverse): (&[u8], Option<&[u8]>, bool),
    each: &mut dyn FnMut(Bytes, RowState) -> Result<ControlFlow<()>, Fault>,
) -> Result<(), Fault> {
    let start = key::row(collection.index, &collection.id, from);
    let end = match to {
        Some(to) => Some(key::row(collection.index, &collection.id, to)),
        None => prefix_end(&key::collection(collection.index, &collection.id)).map(Bytes::from),
    };
    let mut result = Ok(());
    let scan = Scan { table: Table::Row, from: &start, to: end.as_deref(), reverse, limit: usize::MAX };
    view.scan(&scan, &mut |key, value| {
        let key = Bytes::copy_from_slice(key.get(key::ROW_PREFIX..).unwrap_or_default());
        let state = RowState::from_bytes(Bytes::copy_from_slice(value));
        match state.map_err(|error| corrupt(Table::Row, error)).and_then(|state| each(key, state)) {
            Ok(flow) => flow,
            Err(fault) => {
                result = Err(fault);
                ControlFlow::Break(())
            }
        }
    })?;
    result
}

fn state(view: &dyn View, collection: &Collection, key: &[u8]) -> Result<RowState, Fault> {
    match view.get(Table::Row, &key::row(collection.index, &collection.id, key))? {
        None => Ok(RowState::default()),
        Some(bytes) => RowState::from_bytes(bytes).map_err(|error| corrupt(Table::Row, error)),
    }
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
