//! Reading rows from a view of the store, without the core: applications read on their own snapshot, and
//! never wait for synchronisation.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;

use crate::id::{Author, CollectionId, Name, SyncgroupId, Version};
use crate::object::{RowHead, RowState};
use crate::replica::load::entries;
use crate::replica::stored::corrupt;
use crate::store::key::{self, AuthorIx};
use crate::store::{Fault, Scan, Table, View};
use crate::syncgroup::group::GroupRecord;
use crate::time::Hlc;
use crate::wire::codec::{DecodeError, Reader};

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
            found.push(Collection { database, syncgroup, name: name.ok_or_else(wrong)?, id, index });
        }
    }
    found.sort_by(|a, b| (&a.database, &a.name, a.syncgroup).cmp(&(&b.database, &b.name, b.syncgroup)));
    Ok(found)
}

/// The row of this key, if it is there (S-13, S-14).
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn get(view: &dyn View, collection: &Collection, key: &[u8]) -> Result<Option<Row>, Fault> {
    let state = state(view, collection, key)?;
    Names::new(view).row(Bytes::copy_from_slice(key), &state)
}

/// The heads of this key, the shown one first; none if nobody ever wrote it. These are what
/// [`crate::Precondition::Heads`] compares.
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn heads(view: &dyn View, collection: &Collection, key: &[u8]) -> Result<Vec<Head>, Fault> {
    let mut names = Names::new(view);
    let head = |head: RowHead| {
        let version = names.version(&head)?;
        Ok(Head { version, stamp: head.stamp, value: head.value })
    };
    state(view, collection, key)?.heads.into_iter().map(head).collect()
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
    let start = key::row(collection.index, &collection.id, from);
    let end = match to {
        Some(to) => Some(key::row(collection.index, &collection.id, to)),
        None => prefix_end(&key::collection(collection.index, &collection.id)).map(Bytes::from),
    };
    let mut names = Names::new(view);
    let mut result = Ok(());
    let scan = Scan { table: Table::Row, from: &start, to: end.as_deref(), reverse, limit: usize::MAX };
    view.scan(&scan, &mut |key, value| {
        let key = Bytes::copy_from_slice(key.get(key::ROW_PREFIX..).unwrap_or_default());
        let state = RowState::from_bytes(Bytes::copy_from_slice(value));
        let state = state.map_err(|error| corrupt(Table::Row, error));
        match state.and_then(|state| names.row(key, &state)) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(row)) => each(row),
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

/// The full names of local author numbers, each read once.
struct Names<'v> {
    view: &'v dyn View,
    known: BTreeMap<AuthorIx, Author>,
}

impl<'v> Names<'v> {
    fn new(view: &'v dyn View) -> Self {
        Self { view, known: BTreeMap::new() }
    }

    fn version(&mut self, head: &RowHead) -> Result<Version, Fault> {
        let author = match self.known.get(&head.author) {
            Some(author) => *author,
            None => {
                let wrong = |error| corrupt(Table::Author, error);
                let bytes = self.view.get(Table::Author, &key::number(head.author))?;
                let bytes = bytes.ok_or_else(|| wrong(DecodeError { what: "an author" }))?;
                let author = Reader::new(bytes).author("an author").map_err(wrong)?;
                self.known.insert(head.author, author);
                author
            }
        };
        Ok(Version { author, generation: head.generation })
    }

    fn row(&mut self, key: Bytes, state: &RowState) -> Result<Option<Row>, Fault> {
        let Some(head) = state.shown() else { return Ok(None) };
        let Some(value) = head.value.clone() else { return Ok(None) };
        let version = self.version(head)?;
        Ok(Some(Row { key, value, version, stamp: head.stamp, in_conflict: state.in_conflict() }))
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
