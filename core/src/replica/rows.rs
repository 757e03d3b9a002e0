//! How generations change rows.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use super::changes::{ChangeEntry, Changed, ChangedRow, Shows};
use super::plan::Plan;
use super::stored::Stored;
use crate::action::RowChange;
use crate::hash::Hash;
use crate::id::{Author, CollectionId, Generation, Version};
use crate::log::generation::Encoded;
use crate::log::record::{Content, Record, RowRecord};
use crate::object::history::{self, Counting, Node, Place, Versions};
use crate::object::{HeadContent, Merging, RowHead, RowState, sort};
use crate::resolve::Policy;
use crate::store::key::{self, AuthorIx, GroupIx};
use crate::store::{Fault, Table};
use crate::syncgroup::group::Tip;
use crate::time::Hlc;

/// A row as a plan has read it.
pub(crate) struct ReadRow {
    /// Its place in the store.
    pub(super) key: Bytes,
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
pub(super) struct Change {
    pub(super) group: GroupIx,
    pub(super) by: Place,
    pub(super) stamp: Hlc,
    pub(super) local: bool,
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
        let local = self.author(by.0) == self.own();
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
        let name = (row.collection, row.key.clone());
        Ok(self.show_anew(change, row_key, name, (was_split, counted, before), &state, tip))
    }

    /// Keeps a row that has changed. Returns what it shows now, if that is something else.
    pub(super) fn show_anew(
        &mut self,
        change: &Change,
        row_key: Bytes,
        (collection, key): (CollectionId, Bytes),
        (was_split, counted, before): (bool, Option<Hash>, Option<Bytes>),
        state: &RowState,
        tip: &mut Tip,
    ) -> Option<Shows> {
        let group = change.group;
        let counts = state.visible(&collection, &key, |ix| self.author(ix));
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
        let after = self.shown(group, &collection, &key, state);
        if state.heads.is_empty() {
            self.staged.remove(Table::Row, row_key);
        } else {
            self.staged.put(Table::Row, row_key, state.to_bytes());
        }
        if before == after {
            return None;
        }
        let shows = Shows::of(state, after.as_ref());
        self.changed(change, (collection, key), after);
        Some(shows)
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
            let name = (row.collection, row.key.clone());
            self.changed(change, name, state.heads.first().and_then(RowHead::value).cloned());
        }
        self.staged.put(Table::Row, row_key, state.to_bytes());
        if is_same { None } else { Shows::own(row, change.by) }
    }

    /// Whether a collection is there, so that readers find what is in it.
    pub(super) fn has_collection(&self, group: GroupIx, id: &CollectionId) -> bool {
        self.metadata(group).is_some_and(|metadata| metadata.collections().contains_key(id))
    }

    /// Notes for the application that a row shows something else now.
    fn changed(&mut self, change: &Change, (collection, key): (CollectionId, Bytes), value: Option<Bytes>) {
        if let Some(syncgroup) = self.record(change.group).map(|record| record.id) {
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
        let parents = self.parents_that_count(group, row)?;
        let superseded =
            |old: &RowHead| !parents.is_empty() && parents.contains(&old.version(|ix| self.author(ix)));
        let built_on = state.supersede(head, superseded, |ix| self.author(ix));
        if let Content::Operate(operations) = &row.content {
            let merging = state.merging.get_or_insert_default();
            merging.beneath.extend(built_on.into_iter().filter(|old| old.content != HeadContent::Operate));
            sort(&mut merging.beneath, |ix| self.author(ix));
            merging.take(operations, stamp, Version { author: self.author(author), generation });
        } else if state.merging.is_some() {
            let is_base = |parent: &Version| {
                let mut known = built_on.iter().filter(|old| old.content != HeadContent::Operate);
                known.any(|old| old.version(|ix| self.author(ix)) == *parent)
            };
            if state.heads.len() == 1 {
                // It takes the place of what it knew. Usually that is all there was.
                state.merging = None;
            } else if !parents.iter().all(is_base) {
                state.merging = self.recount(group, row, place, state)?;
            }
            // What it knew was replaced by the puts and deletes on which it builds: no operation counts less for it.
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
        let now = Some((place, state.stamp_of(place), row));
        let versions = PlannedVersions { plan: self, group, row: (row.collection, &row.key), now };
        let heads: Vec<Place> = state.heads.iter().map(|head| (head.author, head.generation)).collect();
        let counting = history::counting(&versions, &heads)?;
        if counting.live.is_empty() {
            return Ok(None);
        }
        let mut merging = Merging::default();
        let is_head = |base: &RowHead| heads.contains(&(base.author, base.generation));
        merging.beneath = counting.bases.into_iter().filter(|base| !is_head(base)).collect();
        sort(&mut merging.beneath, |ix| self.author(ix));
        self.take_live(&mut merging, counting.live);
        Ok(Some(Box::new(merging)))
    }

    fn take_live(&self, merging: &mut Merging, live: Vec<(Place, Node)>) {
        for ((ix, generation), Node { stamp, record, .. }) in live {
            if let Content::Operate(operations) = &record.content {
                merging.take(operations, stamp, Version { author: self.author(ix), generation });
            }
        }
    }

    /// What a row comes to, found anew from its log: from some of its versions on, among which are all that nothing
    /// else supersedes.
    pub(super) fn recounted(
        &self,
        group: GroupIx,
        (collection, key): (CollectionId, &Bytes),
        tips: &[Place],
    ) -> Result<RowState, Fault> {
        let versions = PlannedVersions { plan: self, group, row: (collection, key), now: None };
        let Counting { mut heads, mut bases, live } = history::counting(&versions, tips)?;
        sort(&mut heads, |ix| self.author(ix));
        if live.is_empty() {
            return Ok(RowState { heads, merging: None });
        }
        let is_head = |base: &RowHead| heads.iter().any(|head| head == base);
        bases.retain(|base| !is_head(base));
        sort(&mut bases, |ix| self.author(ix));
        let mut merging = Merging { beneath: bases, ..Merging::default() };
        self.take_live(&mut merging, live);
        Ok(RowState { heads, merging: Some(Box::new(merging)) })
    }

    /// What a version supersedes: its parents; and where those are void, what they supersede (S-11).
    fn parents_that_count<'r>(
        &self,
        group: GroupIx,
        row: &'r RowRecord,
    ) -> Result<Cow<'r, [Version]>, Fault> {
        if self.metadata(group).is_none_or(|metadata| metadata.access.judgement().is_clean()) {
            return Ok(Cow::Borrowed(&row.parents));
        }
        let versions = PlannedVersions { plan: self, group, row: (row.collection, &row.key), now: None };
        let (mut found, mut work) = (BTreeSet::new(), row.parents.clone());
        while let Some(parent) = work.pop() {
            if !found.insert(parent) {
                continue;
            }
            let Some(ix) = self.author_ix(&parent.author) else { continue };
            if let Some(node) = versions.void(ix, parent.generation)? {
                work.extend(node.record.parents);
            }
        }
        Ok(Cow::Owned(found.into_iter().collect()))
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
    row: (CollectionId, &'p Bytes),
    now: Option<(Place, Hlc, &'p RowRecord)>,
}

impl PlannedVersions<'_, '_> {
    /// A version, if it is void.
    fn void(&self, author: AuthorIx, generation: Generation) -> Result<Option<Node>, Fault> {
        if self.plan.is_void(self.group, (author, generation))? {
            self.node((author, generation))
        } else {
            Ok(None)
        }
    }
}

impl Versions for PlannedVersions<'_, '_> {
    fn node(&self, place: Place) -> Result<Option<Node>, Fault> {
        if let Some((now, stamp, record)) = self.now
            && place == now
        {
            // No walk asks for the batch.
            return Ok(Some(Node { stamp, batch: None, record: record.clone(), void: false }));
        }
        let get = |table, key: &Bytes| self.plan.staged.get(table, key);
        let (author, generation) = (self.plan.author(place.0), place.1);
        Stored::row(&get, self.group, place.0, author, generation, self.row)
    }

    fn author(&self, ix: AuthorIx) -> Result<Author, Fault> {
        Ok(self.plan.author(ix))
    }

    fn author_ix(&self, author: &Author) -> Result<Option<AuthorIx>, Fault> {
        Ok(self.plan.author_ix(author))
    }
}
