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
use crate::wire::codec::{DecodeError, Decoded, Reader, put_bytes, put_varint};

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
        let mut out = Vec::with_capacity(24 * entries.len());
        entries.iter().for_each(|entry| entry.write(&mut out));
        out.into()
    }

    /// Entries of the usual kind are written by hand: there is one with nearly every commit.
    fn write(&self, out: &mut Vec<u8>) {
        if let Changed::Generation { by, local, collection } = &self.what {
            let of_one = if collection.is_some() { OF_ONE_COLLECTION } else { 0 };
            out.push(GENERATION | of_one | if *local { LOCAL } else { 0 });
            put_varint(out, u64::from(self.group));
            put_varint(out, u64::from(by.0));
            put_varint(out, by.1);
            collection.iter().for_each(|collection| out.extend_from_slice(&collection.0));
        } else {
            out.push(0);
            // Serialising such a type into memory cannot fail; an empty entry would be refused.
            put_bytes(out, &postcard::to_allocvec(self).unwrap_or_default());
        }
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Vec<Self>, Fault> {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        let mut entries = Vec::new();
        while !reader.is_empty() {
            entries.push(Self::read(&mut reader).map_err(|error| corrupt(Table::Change, error))?);
        }
        Ok(entries)
    }

    fn read(reader: &mut Reader) -> Decoded<Self> {
        let kind = reader.u8(WHAT)?;
        if kind == 0 {
            let entry = reader.bytes(usize::MAX, WHAT)?;
            return postcard::from_bytes(&entry).map_err(|_| DecodeError { what: WHAT });
        }
        if kind & GENERATION == 0 || kind & !(GENERATION | LOCAL | OF_ONE_COLLECTION) != 0 {
            return Err(DecodeError { what: WHAT });
        }
        let mut number = || u32::try_from(reader.varint(WHAT)?).map_err(|_| DecodeError { what: WHAT });
        let (group, author) = (number()?, number()?);
        let by = (author, reader.varint(WHAT)?);
        let of_one = kind & OF_ONE_COLLECTION != 0;
        let collection = if of_one { Some(CollectionId(reader.array(WHAT)?)) } else { None };
        Ok(Self { group, what: Changed::Generation { by, local: kind & LOCAL != 0, collection } })
    }
}

const WHAT: &str = "the changes of a commit";

/// Marks of an entry that names a generation; all others start with 0.
const GENERATION: u8 = 1;
const LOCAL: u8 = 2;
const OF_ONE_COLLECTION: u8 = 4;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn entries_of_all_kinds_come_back() {
        let (id, key) = (CollectionId([7; 8]), Bytes::from_static(b"key"));
        let shows = [Shows::Nothing, Shows::Version((3, u64::MAX)), Shows::Derived];
        let row = |shows| ChangedRow { collection: id, key: key.clone(), shows };
        let rows = Changed::Rows {
            by: (1, 2),
            local: true,
            batch: Some([9; 16]),
            rows: shows.into_iter().map(row).collect(),
        };
        let generation =
            |local, collection| Changed::Generation { by: (u32::MAX, u64::MAX), local, collection };
        let kinds = [
            generation(true, Some(id)),
            rows,
            generation(false, None),
            Changed::Schema(id),
            generation(true, None),
            generation(false, Some(id)),
        ];
        let entry = |(group, what)| ChangeEntry { group: group as GroupIx, what };
        let entries: Vec<ChangeEntry> = kinds.into_iter().enumerate().map(entry).collect();
        assert_eq!(ChangeEntry::from_bytes(&ChangeEntry::to_bytes(&entries)).unwrap(), entries);
        for wrong in [vec![8], vec![2], vec![1, 0, 0], vec![0, 5, 1], vec![5, 0, 0, 1, 1, 2]] {
            assert!(ChangeEntry::from_bytes(&wrong).is_err(), "{wrong:?}");
        }
    }
}
