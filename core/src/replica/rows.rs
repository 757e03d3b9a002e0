//! How generations change rows.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::changes::{ChangeEntry, Changed, ChangedRow, Shows};
use super::plan::Plan;
use super::stored::Stored;
use crate::action::RowChange;
use crate::id::{Author, CollectionId, Version};
use crate::log::generation::Encoded;
use crate::log::record::{Content, Record, RowRecord};
use crate::object::history::{self, Node, Place, Versions};
use crate::object::{HeadContent, Merging, RowHead, RowState, sort};
use crate::resolve::Policy;
use crate::store::key::{self, AuthorIx, GroupIx};
use crate::store::{Fault, Table};
use crate::syncgroup::group::Tip;
use crate::time::Hlc;

impl Plan<'_> {
    /// The policy of a row.
    pub(crate) fn policy(&self, group: GroupIx, collection: &CollectionId, key: &[u8]) -> &Policy {
        const LAST_WINS: &Policy = &Policy::LastWins;
        self.metadata(group).map_or(LAST_WINS, |metadata| metadata.schemas().policy(collection, key))
    }

    /// What readers see of a row. The policy is looked up only where it matters.
    pub(crate) fn shown(
        &self,
        group: GroupIx,
        collection: &CollectionId,
        key: &[u8],
        state: &RowState,
    ) -> Option<Bytes> {
        if state.is_plain() {
            return state.heads.first()?.value().cloned();
        }
        let policy = self.policy(group, collection, key);
        state.value(policy, &self.replica.merges.0, |ix| self.author(ix))
    }

    /// Changes the rows of a generation.
    pub(super) fn apply_rows(
        &mut self,
        group: GroupIx,
        by: Place,
        encoded: &Encoded,
        records: &[Record],
        tip: &mut Tip,
    ) -> Result<(), Fault> {
        let mut rows = Vec::new();
        for record in records {
            if let Record::Row(row) = record {
                rows.extend(self.apply_row(group, by, encoded.header.stamp, row, tip)?);
            }
        }
        if !rows.is_empty() {
            let local = self.author(by.0) == self.replica.author();
            let batch = encoded.header.batch.as_ref().map(|part| part.id);
            self.news.push(ChangeEntry { group, what: Changed::Rows { by, local, batch, rows } });
        }
        Ok(())
    }

    /// Changes one row. Returns what it shows now, if that is something else than before.
    fn apply_row(
        &mut self,
        group: GroupIx,
        (ix, generation): Place,
        stamp: Hlc,
        row: &RowRecord,
        tip: &mut Tip,
    ) -> Result<Option<ChangedRow>, Fault> {
        let row_key = key::row(group, &row.collection, &row.key);
        let mut state = self.row(&row_key)?;
        let before = self.shown(group, &row.collection, &row.key, &state);
        let was_split = state.is_split();
        let counted = state.visible(&row.collection, &row.key, |ix| self.author(ix));

        let place = (ix, generation);
        self.take_version(group, place, stamp, row, &mut state)?;

        let counts = state.visible(&row.collection, &row.key, |ix| self.author(ix));
        if counted != counts {
            counted.iter().for_each(|hash| tip.visible.remove(hash));
            counts.iter().for_each(|hash| tip.visible.add(hash));
        }
        if state.is_split() {
            self.split.insert((group, None));
        } else if was_split {
            self.split.insert((group, Some(row_key.clone())));
        }
        match (was_split, state.is_split()) {
            (false, true) => self.staged.put(Table::Conflict, row_key.clone(), Bytes::new()),
            (true, false) => self.staged.remove(Table::Conflict, row_key.clone()),
            _ => {}
        }
        let after = self.shown(group, &row.collection, &row.key, &state);
        let shows = if before == after { None } else { Some(shows(&state, after.as_ref())) };
        self.staged.put(Table::Row, row_key, state.to_bytes());
        let Some(shows) = shows else { return Ok(None) };
        if let Some(syncgroup) = self.record(group).map(|record| record.id) {
            let local = self.author(ix) == self.replica.author();
            let (collection, key) = (row.collection, row.key.clone());
            self.changes.push(RowChange { syncgroup, collection, key, value: after, local });
        }
        Ok(Some(ChangedRow { collection: row.collection, key: row.key.clone(), shows }))
    }

    /// Takes a version into a row (S-11, S-16).
    fn take_version(
        &self,
        group: GroupIx,
        place: Place,
        stamp: Hlc,
        row: &RowRecord,
        state: &mut RowState,
    ) -> Result<(), Fault> {
        let (author, generation) = place;
        let content = match &row.content {
            Content::Put(value) => HeadContent::Put(value.clone()),
            Content::Delete => HeadContent::Delete,
            Content::Operate(_) => HeadContent::Operate,
        };
        let head = RowHead { author, generation, stamp, content };
        let superseded = |old: &RowHead| {
            !row.parents.is_empty() && row.parents.contains(&old.version(|ix| self.author(ix)))
        };
        let built_on = state.supersede(head, superseded, |ix| self.author(ix));
        if let Content::Operate(operations) = &row.content {
            let merging = state.merging.get_or_insert_default();
            merging.beneath.extend(built_on.into_iter().filter(|old| old.content != HeadContent::Operate));
            sort(&mut merging.beneath, |ix| self.author(ix));
            merging.take(operations, stamp, Version { author: self.author(author), generation });
        } else if state.merging.is_some() {
            // It takes the place of what it knew. Usually that is all there was.
            state.merging =
                if state.heads.len() == 1 { None } else { self.recount(group, row, place, state)? };
        }
        Ok(())
    }

    /// Finds anew which operations count beside a put or a delete that did not know all of them.
    fn recount(
        &self,
        group: GroupIx,
        row: &RowRecord,
        place: Place,
        state: &RowState,
    ) -> Result<Option<Box<Merging>>, Fault> {
        let versions = PlannedVersions { plan: self, group, row, place, stamp: state.stamp_of(place) };
        let heads: Vec<Place> = state.heads.iter().map(|head| (head.author, head.generation)).collect();
        let counting = history::counting(&versions, &heads)?;
        if counting.live.is_empty() {
            return Ok(None);
        }
        let mut merging = Merging::default();
        let is_head = |base: &RowHead| heads.contains(&(base.author, base.generation));
        merging.beneath = counting.bases.into_iter().filter(|base| !is_head(base)).collect();
        sort(&mut merging.beneath, |ix| self.author(ix));
        for ((ix, generation), Node { stamp, record }) in counting.live {
            if let Content::Operate(operations) = &record.content {
                merging.take(operations, stamp, Version { author: self.author(ix), generation });
            }
        }
        Ok(Some(Box::new(merging)))
    }
}

/// What a row shows, as it is kept for those who watch.
fn shows(state: &RowState, value: Option<&Bytes>) -> Shows {
    let last = state.last().filter(|head| head.value() == value);
    match (value, last) {
        (None, _) => Shows::Nothing,
        (Some(_), Some(last)) => Shows::Version((last.author, last.generation)),
        (Some(_), None) => Shows::Derived,
    }
}

/// The versions of a row, with one that is being applied.
struct PlannedVersions<'p, 'a> {
    plan: &'p Plan<'a>,
    group: GroupIx,
    row: &'p RowRecord,
    place: Place,
    stamp: Hlc,
}

impl Versions for PlannedVersions<'_, '_> {
    fn node(&self, place: Place) -> Result<Option<Node>, Fault> {
        if place == self.place {
            return Ok(Some(Node { stamp: self.stamp, record: self.row.clone() }));
        }
        let get = |table, key: &Bytes| self.plan.staged.get(table, key);
        let (author, generation) = (self.plan.author(place.0), place.1);
        let name = (self.row.collection, &self.row.key);
        Stored::row(&get, self.group, place.0, author, generation, name)
    }

    fn author(&self, ix: AuthorIx) -> Result<Author, Fault> {
        Ok(self.plan.author(ix))
    }

    fn author_ix(&self, author: &Author) -> Result<Option<AuthorIx>, Fault> {
        Ok(self.plan.author_ix(author))
    }
}
