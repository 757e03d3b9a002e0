//! What a batch has read: on one snapshot, with the batch's own changes on top, and remembered so that it can be
//! required to still hold when the batch is written.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use driftless::{Edit, Precondition, RowRef, Version, read};

use super::{Collection, Database};
use crate::error::Error;
use crate::reading::{Range, Row, Snapshot};

/// The changes of a batch, in order for each row.
pub(super) type Changes = BTreeMap<RowRef, Vec<Edit>>;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Reads {
    /// Taken at the first read.
    snapshot: Option<Snapshot>,
    /// Rows that were read, each with the heads that it had.
    rows: BTreeMap<RowRef, Vec<Version>>,
    ranges: Vec<Precondition>,
}

impl Reads {
    /// What must hold for everything that was read to be still so.
    pub(super) fn preconditions(self) -> impl Iterator<Item = Precondition> {
        let rows = self.rows.into_iter().map(|(row, heads)| Precondition::Heads { row, heads });
        rows.chain(self.ranges)
    }

    /// What a row shows under these changes.
    pub(super) fn row(
        &mut self,
        collection: &Collection,
        key: &[u8],
        changes: &Changes,
    ) -> Result<Option<Bytes>, Error> {
        let row = collection.row(key);
        let edits = changes.get(&row).map_or(&[][..], Vec::as_slice);
        if let [Edit::Put(value)] = edits {
            return Ok(Some(value.clone()));
        }
        let snapshot = self.snapshot(collection.database())?;
        // What starts with a put or a delete does not depend on what is stored.
        if matches!(edits.first(), None | Some(Edit::Operate(_))) {
            self.require_row(&snapshot, collection, row)?;
        }
        edited(&snapshot, collection, key, edits)
    }

    /// What the rows of a range show under these changes.
    pub(super) fn range(
        &mut self,
        collection: &Collection,
        range: &Range,
        changes: &Changes,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let snapshot = self.snapshot(collection.database())?;
        let mut stored = snapshot.scan(collection, range.clone().unlimited()).peekable();
        let mut own = own_changes(collection, range, changes).into_iter().peekable();
        let (mut shown, mut seen): (Vec<(Bytes, Bytes)>, Vec<Row>) = (Vec::new(), Vec::new());
        while shown.len() < range.rows() {
            let order = match (stored.peek(), own.peek()) {
                (None, None) => break,
                (Some(Ok(row)), Some((key, _))) => range.order(&row.key, key),
                (Some(_), _) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            let row = if order.is_le() { stored.next().transpose()? } else { None };
            let change = if order.is_ge() { own.next() } else { None };
            let (key, value) = match (change, &row) {
                (Some((key, edits)), _) => {
                    let value = edited(&snapshot, collection, &key, edits)?;
                    (key, value)
                }
                (None, Some(row)) => (row.key.clone(), Some(row.value.clone())),
                (None, None) => break,
            };
            seen.extend(row);
            shown.extend(value.map(|value| (key, value)));
        }
        let is_whole = shown.len() < range.rows();
        let last = shown.last().filter(|_| !is_whole).map(|(key, _)| key);
        let (from, to) = range.up_to(last);
        seen.sort_by(|a, b| a.key.cmp(&b.key));
        self.ranges.push(Precondition::Range { from: collection.row(&from), to, rows: seen });
        Ok(shown)
    }

    fn snapshot(&mut self, database: &Database) -> Result<Snapshot, Error> {
        if self.snapshot.is_none() {
            self.snapshot = Some(database.snapshot()?);
        }
        self.snapshot.clone().map_or_else(|| database.snapshot(), Ok)
    }

    fn require_row(
        &mut self,
        snapshot: &Snapshot,
        collection: &Collection,
        row: RowRef,
    ) -> Result<(), Error> {
        if let Entry::Vacant(place) = self.rows.entry(row) {
            let heads = snapshot.heads(collection, &place.key().key)?;
            place.insert(heads.iter().map(|head| head.version).collect());
        }
        Ok(())
    }
}

fn edited(
    snapshot: &Snapshot,
    collection: &Collection,
    key: &[u8],
    edits: &[Edit],
) -> Result<Option<Bytes>, Error> {
    Ok(read::edited(&**snapshot.view(), collection.stored(), key, edits)??)
}

/// The changes within a range, in its order.
fn own_changes<'c>(collection: &Collection, range: &Range, changes: &'c Changes) -> Vec<(Bytes, &'c [Edit])> {
    let (from, to) = range.bounds();
    let first = collection.row(&from);
    let within = |row: &RowRef| {
        (row.syncgroup, &row.collection) == (first.syncgroup, &first.collection)
            && to.as_ref().is_none_or(|to| row.key < to)
    };
    let own = changes.range(&first..).take_while(|(row, _)| within(row));
    let mut own: Vec<_> = own.map(|(row, edits)| (row.key.clone(), edits.as_slice())).collect();
    if range.is_reversed() {
        own.reverse();
    }
    own
}
