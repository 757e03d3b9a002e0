//! Conflicts that are open (S-17, S-19).

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::names::{Names, Recent, RowVersions};
use super::parts::{generation, other_parts};
use super::{Collection, Head, collections, prefix_end, state};
use crate::event::RowRef;
use crate::id::{CollectionId, Version};
use crate::limits;
use crate::log::record::{Content, Record};
use crate::object::history::{self, Place, Versions};
use crate::object::{HeadContent, RowHead, RowState};
use crate::replica::authors::Authors;
use crate::replica::load::load_authors;
use crate::replica::stored::corrupt;
use crate::resolve::Policy;
use crate::resolve::conflict::{Ancestor, Conflict, ConflictHead, ConflictedRow};
use crate::store::key::{self, GroupIx};
use crate::store::{Fault, Scan, Table, View};
use crate::wire::codec::DecodeError;

/// How many versions are read to find what the heads of a row have in common.
const MOST_READ: usize = 1_000;
/// Bytes of generations that are read for the same, for all rows that are gathered together: beyond that it is not looked
/// for.
const MOST_BYTES: usize = 64 << 20;

/// A row in conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictRow {
    /// Its key.
    pub key: Bytes,
    /// What becomes of the conflict.
    pub policy: Policy,
    /// Its heads, the one that is shown first.
    pub heads: Vec<Head>,
}

/// The rows of a collection that are in conflict, by key, from `from` on and `limit` at most. It costs the rows
/// whose heads disagree, not those of the collection.
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn conflicts(
    view: &dyn View,
    collection: &Collection,
    from: &[u8],
    limit: usize,
) -> Result<Vec<ConflictRow>, Fault> {
    let start = key::row(collection.index, &collection.id, from);
    let end = prefix_end(&key::collection(collection.index, &collection.id));
    let mut names = Names::new(view, collection);
    let mut found = Vec::new();
    let mut result = Ok(());
    view.scan(&Scan::range(Table::Conflict, &start, end.as_deref()), &mut |key, _| {
        let key = Bytes::copy_from_slice(key.get(key::ROW_PREFIX..).unwrap_or_default());
        match in_conflict(&mut names, key) {
            Ok(row) => found.extend(row),
            Err(fault) => result = Err(fault),
        }
        if found.len() < limit && result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result.map(|()| found)
}

fn in_conflict(names: &mut Names<'_>, key: Bytes) -> Result<Option<ConflictRow>, Fault> {
    let policy = names.policy(&key)?;
    let state = state(names.view, names.collection, &key)?;
    if !state.in_conflict(&policy) {
        return Ok(None);
    }
    let heads = state.heads.iter().map(|head| names.head(head)).collect::<Result<_, _>>()?;
    Ok(Some(ConflictRow { key, policy, heads }))
}

/// The conflict that a row is in, with all rows that belong to it. If it is in none, the row alone, or with what
/// its batches wrote.
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn conflict(view: &dyn View, collection: &Collection, key: &[u8]) -> Result<Conflict, Fault> {
    Gathering::new(view, &collections(view)?)?.gather(collection, key)
}

/// A row by local numbers.
pub(crate) type RowPlace = (GroupIx, CollectionId, Bytes);

/// Gathers the rows of conflicts, in one view.
pub(crate) struct Gathering<'v> {
    view: &'v dyn View,
    collections: &'v [Collection],
    authors: Authors,
    recent: Recent,
}

impl<'v> Gathering<'v> {
    pub(crate) fn new(view: &'v dyn View, collections: &'v [Collection]) -> Result<Self, Fault> {
        Ok(Self { view, collections, authors: load_authors(view)?, recent: Recent::default() })
    }

    /// Gathers the conflict of a row.
    pub(crate) fn gather(&self, collection: &Collection, key: &[u8]) -> Result<Conflict, Fault> {
        self.gather_among(collection, key, |_| true)
    }

    /// The same among some rows alone, and this one: as if the others were in no conflict, and nobody's.
    pub(crate) fn gather_among(
        &self,
        collection: &Collection,
        key: &[u8],
        is_among: impl Fn(&RowPlace) -> bool,
    ) -> Result<Conflict, Fault> {
        let mut gathered =
            Gathered { from: self, batches: BTreeSet::new(), todo: VecDeque::new(), rows: BTreeMap::new() };
        gathered.todo.push_back((collection.index, collection.id, Bytes::copy_from_slice(key)));
        let mut is_whole = true;
        while let Some(place) = gathered.todo.pop_front() {
            if gathered.rows.contains_key(&place) {
                continue;
            }
            if !gathered.rows.is_empty() && !is_among(&place) {
                is_whole = false;
                continue;
            }
            if gathered.rows.len() >= limits::MAX_CONFLICT_ROWS {
                is_whole = false;
                break;
            }
            gathered.add(&place)?;
        }
        let mut rows: Vec<_> = gathered.rows.into_values().collect();
        rows.sort_by(|a, b| a.row.cmp(&b.row));
        Ok(Conflict { rows, is_whole })
    }
}

/// What belongs together so far, from batch to batch.
struct Gathered<'g> {
    from: &'g Gathering<'g>,
    /// Batches whose rows are known.
    batches: BTreeSet<(GroupIx, Place)>,
    todo: VecDeque<RowPlace>,
    rows: BTreeMap<RowPlace, ConflictedRow>,
}

impl Gathered<'_> {
    fn add(&mut self, place: &RowPlace) -> Result<(), Fault> {
        let (group, id, key) = place;
        let found = self.from.collections.iter().find(|c| c.index == *group && c.id == *id);
        let Some(collection) = found.cloned() else { return Ok(()) };
        let state = state(self.from.view, &collection, key)?;
        let policy = Names::new(self.from.view, &collection).policy(key)?;
        let in_conflict = state.in_conflict(&policy);
        let mut heads = Vec::with_capacity(state.heads.len());
        for head in &state.heads {
            let encoded = generation(self.from.view, *group, (head.author, head.generation))?;
            let batch = encoded.as_ref().and_then(|encoded| Some(encoded.header.batch.as_ref()?.id));
            heads.push(ConflictHead {
                version: self.version(head)?,
                stamp: head.stamp,
                value: head.value().cloned(),
                is_operation: head.content == HeadContent::Operate,
                batch,
            });
        }
        let several = in_conflict && state.heads.len() > 1 && self.from.recent.bytes() < MOST_BYTES;
        let ancestor = if several { self.ancestor(&collection, key, &state)? } else { None };
        let Collection { database, syncgroup, name, .. } = collection;
        let row = RowRef { syncgroup, collection: name, key: key.clone() };
        let row = ConflictedRow { row, database, policy, in_conflict, heads, ancestor };
        let ties = row.needs_answer() || self.rows.is_empty();
        self.rows.insert(place.clone(), row);
        if ties {
            for head in &state.heads {
                self.batch(place.0, (head.author, head.generation))?;
            }
        }
        Ok(())
    }

    fn version(&self, head: &RowHead) -> Result<Version, Fault> {
        let wrong = || corrupt(Table::Author, DecodeError { what: "an author" });
        let author = self.from.authors.get(head.author).ok_or_else(wrong)?;
        Ok(Version { author, generation: head.generation })
    }

    fn ancestor(
        &self,
        collection: &Collection,
        key: &Bytes,
        state: &RowState,
    ) -> Result<Option<Ancestor>, Fault> {
        let Gathering { view, authors, recent, .. } = self.from;
        let versions = RowVersions { view: *view, collection, key, authors, recent };
        let heads: Vec<Place> = state.heads.iter().map(|head| (head.author, head.generation)).collect();
        let found = history::common_ancestor(&versions, &heads, MOST_READ)?;
        let Some((place, node)) = found else { return Ok(None) };
        let version = Version { author: versions.author(place.0)?, generation: place.1 };
        let value = if let Content::Put(value) = node.record.content { Some(value) } else { None };
        Ok(Some(Ancestor { version, value }))
    }

    /// Adds the rows that a batch wrote and of which its versions are heads still.
    fn batch(&mut self, group: GroupIx, place: Place) -> Result<(), Fault> {
        if !self.batches.insert((group, place)) {
            return Ok(());
        }
        let Some(encoded) = generation(self.from.view, group, place)? else { return Ok(()) };
        let Some(author) = self.from.authors.get(place.0) else { return Ok(()) };
        let wrong = |error| corrupt(Table::Log, error);
        for record in encoded.records(&author).map_err(wrong)? {
            let Record::Row(record) = record else { continue };
            let row_key = key::row(group, &record.collection, &record.key);
            let Some(bytes) = self.from.view.get(Table::Row, &row_key)? else { continue };
            let state = RowState::from_bytes(bytes).map_err(|error| corrupt(Table::Row, error))?;
            if state.heads.iter().any(|head| (head.author, head.generation) == place) {
                self.todo.push_back((group, record.collection, record.key));
            }
        }
        let groups = self.from.collections.iter().map(|collection| (collection.index, &collection.syncgroup));
        for other in other_parts(self.from.view, groups, (group, place.0), &encoded)? {
            self.batch(other.0, other.1)?;
        }
        Ok(())
    }
}
