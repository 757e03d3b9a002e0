//! What the last commits changed, as it is kept for those who watch: which rows, and which version each of them
//! showed then. The values stand in the log.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::stored::corrupt;
use crate::id::CollectionId;
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

impl ChangeEntry {
    pub(crate) fn schema(group: GroupIx, collection: CollectionId) -> Self {
        Self { group, what: Changed::Schema(collection) }
    }

    pub(crate) fn to_bytes(entries: &[Self]) -> Bytes {
        // Serialising such a type into memory cannot fail; an empty list would be refused.
        postcard::to_allocvec(entries).unwrap_or_default().into()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Vec<Self>, Fault> {
        let wrong = DecodeError { what: "the changes of a commit" };
        postcard::from_bytes(bytes).map_err(|_| corrupt(Table::Change, wrong))
    }
}
