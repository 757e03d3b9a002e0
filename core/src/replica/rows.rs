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

/// A row as a plan has read it.
pub(crate) struct ReadRow {
    /// Its place in the store.
    key: Bytes,
    pub(crate) state: RowState,
}

impl ReadRow {
    pub(crate) fn get(
        plan: &Plan<'_>,
        group: GroupIx,
        collection: &CollectionId,
        key: &[u8],
    ) -> Result<Self, Fault> {
        let key = key::row(group, collection, key);
        Ok(Self { state: plan.row(&key)?, key })
    }
}

/// The generation that changes rows.
struct Change {
    group: GroupIx,
    by: Place,
    stamp: Hlc,
    local: bool,
}

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

    /// Changes the rows of a generation. The first of them may have been read before, in the same order.
    pub(super) fn apply_rows(
        &mut self,
        group: GroupIx,
        by: Place,
        encoded: &Encoded,
        (records, read): (&[Record], Vec<ReadRow>),
        tip: &mut Tip,
    ) -> Result<(), Fault> {
        let local = self.author(by.0) == self.replica.author();
        let change = Change { group, by, stamp: encoded.header.stamp, local };
        let mut read = read.into_iter();
        // Spelled out only once one of them shows something else than what this generation made of it.
        let mut spelled_out: Option<Vec<ChangedRow>> = None;
        for (at, row) in rows_of(records).enumerate() {
            let read = match read.next() {
                Some(read) => read,
                None => ReadRow::get(self, group, &row.collection, &row.key)?,
            };
            let shows = self.apply_row(&change, read, row, tip)?;
            if spelled_out.is_none() && shows.is_some() && shows == Shows::own(row, by) {
                continue;
            }
            let earlier = || rows_of(records).take(at).filter_map(|row| ChangedRow::own(row, by)).collect();
            let rows = spelled_out.get_or_insert_with(earlier);
            rows.extend(shows.map(|shows| ChangedRow::new(row, shows)));
        }
        let what = match spelled_out {
            Some(rows) if rows.is_empty() => return Ok(()),
            Some(rows) => {
                let batch = encoded.header.batch.as_ref().map(|part| part.id);
                Changed::Rows { by, local, batch, rows }
            }
            None => {
                let mut collections = rows_of(records).map(|row| row.collection);
                let Some(first) = collections.next() else { return Ok(()) };
                let collection = collections.all(|other| other == first).then_some(first);
                Changed::Generation { by, local, collection }
            }
        };
        self.news.push(ChangeEntry { group, what });
        Ok(())
    }

    /// Changes one row. Returns what it shows now, if that is something else than before.
    fn apply_row(
        &mut self,
        change: &Change,
        ReadRow { key: row_key, mut state }: ReadRow,
        row: &RowRecord,
        tip: &mut Tip,
    ) -> Result<Option<Shows>, Fault> {
        if self.is_in_no_conflict(&state, row) {
            return Ok(self.replace(change, (row_key, state), row, tip));
        }
        let group = change.group;
        let before = self.shown(group, &row.collection, &row.key, &state);
        let was_split = state.is_split();
        let counted = state.visible(&row.collection, &row.key, |ix| self.author(ix));

        self.take_version(group, change.by, change.stamp, row, &mut state)?;

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
        self.staged.put(Table::Row, row_key, state.to_bytes());
        if before == after {
            return Ok(None);
        }
        let shows = Shows::of(&state, after.as_ref());
        self.changed(change, row, after);
        Ok(Some(shows))
    }

    /// Whether a row has one head before a change and after it: a put or a delete that knew the one head there
    /// was, or the first version of all. Nearly every change is of this kind, and conflicts cost it nothing but
    /// the look at this. Never inlined, so that whoever counts instructions finds that cost under its name.
    #[inline(never)]
    fn is_in_no_conflict(&self, state: &RowState, row: &RowRecord) -> bool {
        let is_known = |old: &RowHead| row.parents.contains(&old.version(|ix| self.author(ix)));
        let is_operation = matches!(row.content, Content::Operate(_));
        !is_operation && state.is_plain() && state.heads.first().is_none_or(is_known)
    }

    /// Changes a row that has one head before and after. Returns what it shows now, if that is something else.
    fn replace(
        &mut self,
        change: &Change,
        (row_key, mut state): (Bytes, RowState),
        row: &RowRecord,
        tip: &mut Tip,
    ) -> Option<Shows> {
        let (author, generation) = change.by;
        let head = RowHead { author, generation, stamp: change.stamp, content: content_of(row) };
        let is_same = state.heads.first().and_then(RowHead::value) == head.value();
        let visible = |state: &RowState| state.visible(&row.collection, &row.key, |ix| self.author(ix));
        if !is_same {
            visible(&state).iter().for_each(|hash| tip.visible.remove(hash));
        }
        state.heads.clear();
        state.heads.push(head);
        if !is_same {
            visible(&state).iter().for_each(|hash| tip.visible.add(hash));
            self.changed(change, row, state.heads.first().and_then(RowHead::value).cloned());
        }
        self.staged.put(Table::Row, row_key, state.to_bytes());
        if is_same { None } else { Shows::own(row, change.by) }
    }

    /// Notes for the application that a row shows something else now.
    fn changed(&mut self, change: &Change, row: &RowRecord, value: Option<Bytes>) {
        if let Some(syncgroup) = self.record(change.group).map(|record| record.id) {
            let (collection, key) = (row.collection, row.key.clone());
            self.changes.push(RowChange { syncgroup, collection, key, value, local: change.local });
        }
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
        let head = RowHead { author, generation, stamp, content: content_of(row) };
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
        for ((ix, generation), Node { stamp, record, .. }) in counting.live {
            if let Content::Operate(operations) = &record.content {
                merging.take(operations, stamp, Version { author: self.author(ix), generation });
            }
        }
        Ok(Some(Box::new(merging)))
    }
}

fn content_of(row: &RowRecord) -> HeadContent {
    match &row.content {
        Content::Put(value) => HeadContent::Put(value.clone()),
        Content::Delete => HeadContent::Delete,
        Content::Operate(_) => HeadContent::Operate,
    }
}

fn rows_of(records: &[Record]) -> impl Iterator<Item = &RowRecord> {
    records.iter().filter_map(|record| if let Record::Row(row) = record { Some(row) } else { None })
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
            // No walk asks for the batch.
            return Ok(Some(Node { stamp: self.stamp, batch: None, record: self.row.clone() }));
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
