//! What the last commits changed, as it is kept for those who watch: which rows, and which version each of them
//! showed then. The values stand in the log; and where all rows of a generation show what that made of them, as they
//! nearly always do, the log tells which rows too, and a change costs a write little more than a number.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::stored::corrupt;
use crate::id::CollectionId;
use crate::log::record::{Content, RowRecord};
use crate::object::RowState;
use crate::object::history::Place;
use crate::store::key::GroupIx;
use crate::store::{Fault, Table};
use crate::wire::codec::DecodeError;

/// What one generation, or one change of the metadata, changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChangeEntry {
    pub(crate) group: GroupIx,
    pub(crate) what: Changed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Changed {
    /// Rows, by a generation.
    Rows {
        by: Place,
        /// Whether this device's application wrote it.
        local: bool,
        /// The batch that it is a part of, if that touches several syncgroups.
        batch: Option<[u8; 16]>,
        rows: Vec<ChangedRow>,
    },
    /// A collection's schema, and with it maybe what all its rows show.
    Schema(CollectionId),
    /// All rows of a generation, and each shows what that made of it: as after nearly every write. Which they are
    /// stands in the log.
    Generation {
        by: Place,
        /// Whether this device's application wrote it.
        local: bool,
        /// The collection of all its rows, if they are of one: whoever watches others need not look.
        collection: Option<CollectionId>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChangedRow {
    pub(crate) collection: CollectionId,
    pub(crate) key: Bytes,
    pub(crate) shows: Shows,
}

/// What a row showed after a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Shows {
    Nothing,
    /// The value of this version.
    Version(Place),
    /// Something that was derived: only what it shows now can be told.
    Derived,
}

impl Shows {
    /// What a row shows if it shows what a generation made of it: `None` where that cannot be said of one version.
    pub(super) fn own(row: &RowRecord, by: Place) -> Option<Self> {
        match row.content {
            Content::Put(_) => Some(Shows::Version(by)),
            Content::Delete => Some(Shows::Nothing),
            Content::Operate(_) => None,
        }
    }

    /// What a row shows, where this is its value.
    pub(super) fn of(state: &RowState, value: Option<&Bytes>) -> Self {
        let last = state.last().filter(|head| head.value() == value);
        match (value, last) {
            (None, _) => Shows::Nothing,
            (Some(_), Some(last)) => Shows::Version((last.author, last.generation)),
            (Some(_), None) => Shows::Derived,
        }
    }
}

impl ChangedRow {
    pub(super) fn new(row: &RowRecord, shows: Shows) -> Self {
        Self { collection: row.collection, key: row.key.clone(), shows }
    }

    /// A row that shows what a generation made of it.
    pub(super) fn own(row: &RowRecord, by: Place) -> Option<Self> {
        Shows::own(row, by).map(|shows| Self::new(row, shows))
    }
}

impl ChangeEntry {
    pub(crate) fn schema(group: GroupIx, collection: CollectionId) -> Self {
        Self { group, what: Changed::Schema(collection) }
    }

    pub(crate) fn to_bytes(entries: &[Self]) -> Bytes {
        // Serialising such a type into memory cannot fail; an empty list would be refused.
        postcard::to_extend(entries, Vec::with_capacity(32)).unwrap_or_default().into()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Vec<Self>, Fault> {
        let wrong = DecodeError { what: "the changes of a commit" };
        postcard::from_bytes(bytes).map_err(|_| corrupt(Table::Change, wrong))
    }
}
