//! Taking back what is held of a syncgroup and stamped later than some moment, as if it had never come (S-27).
//!
//! ```text
//!   stamps:     1   4   6 │ 9   12        what is above the line builds on what is below, and never the other way:
//!   one log:    o───o───o─┼─o────o        a stamp lies above those of all causes, and of all that a row builds on
//!   another:      o───o───┼────o          (checked when a generation is applied, see `sync/receive`)
//!                         │
//! ```
//!
//! So what is left is a set that might have been held, and what is kept of it besides is found from it: logs end
//! earlier, rows come to what they would have come to, metadata is read anew and all is judged by it. That costs what
//! is taken back, and all metadata. Numbers of sets of metadata that nothing has any more stay taken.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use bytes::Bytes;

use super::load::entries;
use super::plan::Plan;
use super::rows::{Change, ReadRow};
use super::stored::{LogNodes, Stored, corrupt};
use crate::id::{CollectionId, Generation};
use crate::log::record::Record;
use crate::log::tree::{Known, Tree};
use crate::log::{Log, Proof};
use crate::object::history::Place;
use crate::object::{RowHead, RowState};
use crate::store::key::{self, AuthorIx, GroupIx};
use crate::store::{Fault, Scan, Table};
use crate::syncgroup::access::Source;
use crate::syncgroup::judge;
use crate::syncgroup::metadata::Metadata;
use crate::time::Hlc;
use crate::wire::codec::DecodeError;

/// What was taken back of a syncgroup: of each log that has become shorter, which generations.
#[derive(Debug, Clone, Default)]
pub(crate) struct TakenBack(BTreeMap<AuthorIx, RangeInclusive<Generation>>);

impl TakenBack {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, (author, generation): Place) -> bool {
        self.0.get(&author).is_some_and(|range| range.contains(&generation))
    }

    pub(crate) fn add(&mut self, author: AuthorIx, range: RangeInclusive<Generation>) {
        self.0.insert(author, range);
    }

    pub(crate) fn logs(&self) -> impl Iterator<Item = (AuthorIx, &RangeInclusive<Generation>)> {
        self.0.iter().map(|(author, range)| (*author, range))
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        self.logs().flat_map(|(author, range)| range.clone().map(move |generation| (author, generation)))
    }
}

/// What lies right beneath what is taken back.
#[derive(Default)]
struct Beneath {
    /// Of each row that was shown by it, the versions that it had built on.
    rows: BTreeMap<(CollectionId, Bytes), BTreeSet<Place>>,
    /// What it had depended on, and follows on.
    causes: BTreeSet<Place>,
}

impl Plan<'_> {
    /// The greatest stamp in the logs of a syncgroup.
    pub(crate) fn last_stamp_in(&self, group: GroupIx) -> Hlc {
        let logs = self.authors_in(group).into_iter().filter_map(|ix| self.log(group, ix));
        logs.map(|log| log.stamp).max().unwrap_or_default()
    }

    /// How many generations of this device are stamped later, where it may still write.
    pub(crate) fn written_after(&self, last: Hlc) -> Result<u64, Fault> {
        let mut written = 0;
        for (ix, _) in self.groups().filter(|(_, record)| record.stage.is_read()) {
            for author in self.authors_in(ix) {
                if self.author(author).device == self.own().device {
                    let held = self.log(ix, author).map_or(0, Log::held);
                    written += held - self.held_until(ix, author, held, last)?;
                }
            }
        }
        Ok(written)
    }

    /// Leaves of what is told of rows the last word on each, and none where that is what readers saw all along.
    pub(crate) fn tell_once(&mut self) -> Result<(), Fault> {
        let mut last = BTreeMap::new();
        for change in core::mem::take(&mut self.changes) {
            last.insert((change.syncgroup, change.collection, change.key.clone()), change);
        }
        for change in last.into_values() {
            let Some(group) = self.replica.group(&change.syncgroup) else { continue };
            let at = key::row(group.ix, &change.collection, &change.key);
            let state = self.view().get(Table::Row, &at)?;
            let state = state.map_or(Ok(RowState::default()), RowState::from_bytes);
            let state = state.map_err(|error| corrupt(Table::Row, error))?;
            let policy = group.metadata.schemas().policy(&change.collection, &change.key);
            let before = state.value(policy, &self.replica.merges.0, |ix| self.author(ix));
            if before != change.value {
                self.changes.push(change);
            }
        }
        Ok(())
    }

    /// Takes back all that is stamped later, before anything else is planned. `by` is the place of the generation on
    /// whose behalf that is done.
    pub(crate) fn take_back(&mut self, group: GroupIx, last: Hlc, by: Place) -> Result<TakenBack, Fault> {
        let mut back = TakenBack::default();
        for ix in self.authors_in(group) {
            let held = self.log(group, ix).map_or(0, Log::held);
            let stays = self.held_until(group, ix, held, last)?;
            if stays < held {
                back.0.insert(ix, stays + 1..=held);
            }
        }
        if !back.is_empty() {
            self.take_back_all(group, &back, (by, last))?;
        }
        Ok(back)
    }

    /// Takes back these generations, on which none builds that is left.
    pub(super) fn take_back_all(
        &mut self,
        group: GroupIx,
        back: &TakenBack,
        by: (Place, Hlc),
    ) -> Result<(), Fault> {
        let beneath = self.beneath(group, back)?;
        self.shorten_logs(group, back)?;
        self.read_metadata_anew(group, back, by)?;
        self.rows_without(group, back, beneath.rows, by)?;
        self.frontier_without(group, back, beneath.causes);
        self.reach_anew(group)
    }

    /// How many generations of an author are not stamped later. Stamps rise within a log.
    pub(super) fn held_until(
        &self,
        group: GroupIx,
        author: AuthorIx,
        held: Generation,
        last: Hlc,
    ) -> Result<Generation, Fault> {
        if self.log(group, author).is_none_or(|log| log.stamp <= last) {
            return Ok(held);
        }
        let (mut least, mut most) = (0, held - 1);
        while least < most {
            let middle = least + (most - least).div_ceil(2);
            if self.stamp(group, author, middle)? <= last {
                least = middle;
            } else {
                most = middle - 1;
            }
        }
        Ok(least)
    }

    fn beneath(&self, group: GroupIx, back: &TakenBack) -> Result<Beneath, Fault> {
        let mut beneath = Beneath::default();
        for (ix, generation) in back.places() {
            if generation > self.last_shown(group, ix) {
                continue; // Its rows wait, and nothing is seen of it.
            }
            let encoded = self.stored(group, ix, generation)?.encoded()?;
            let before = (generation > 1).then_some((ix, generation - 1));
            let named = encoded.header.dependencies.iter();
            let named = named.filter_map(|it| Some((self.author_ix(&it.author)?, it.generation)));
            beneath.causes.extend(named.chain(before).filter(|place| !back.has(*place)));
            let records = encoded.records(&self.author(ix)).map_err(|error| corrupt(Table::Log, error))?;
            for record in records {
                let Record::Row(row) = record else { continue };
                let parents = row.parents.iter();
                let parents = parents.filter_map(|it| Some((self.author_ix(&it.author)?, it.generation)));
                let stay: Vec<Place> = parents.filter(|place| !back.has(*place)).collect();
                beneath.rows.entry((row.collection, row.key)).or_default().extend(stay);
            }
        }
        Ok(beneath)
    }

    fn shorten_logs(&mut self, group: GroupIx, back: &TakenBack) -> Result<(), Fault> {
        self.forget_cited();
        for (ix, range) in back.logs() {
            let stays = range.start() - 1;
            if stays == 0 {
                self.staged.remove(Table::Checkpoint, key::pair(group, ix));
                self.set_log(group, ix, None);
                continue;
            }
            let Some(log) = self.log(group, ix).cloned() else { continue };
            let get = |table, key: &Bytes| self.view().get(table, key);
            let nodes = LogNodes { get: &get, group, author: ix };
            let proof = log.proof.as_ref().map(|Proof { checkpoint, completion }| {
                let known = Known { nodes: &nodes, held: log.held(), size: checkpoint.size, completion };
                Ok::<_, Fault>(Proof {
                    checkpoint: checkpoint.clone(),
                    completion: known.completion_from(stays)?,
                })
            });
            let (proof, tree) = (proof.transpose()?, Tree::load(stays, &nodes)?);
            let last = Stored::get(&get, group, ix, stays)?;
            let stamp = last.encoded()?.header.stamp;
            self.set_log(group, ix, Some(Log { tree, stamp, past: last.past, proof: None }));
            if let Some(proof) = proof {
                self.set_proof(group, ix, proof);
            }
        }
        for (ix, generation) in back.places() {
            let at = key::log(group, ix, generation);
            self.staged.remove(Table::Log, at.clone());
            for table in [Table::Metadata, Table::Void] {
                if self.view().get(table, &at)?.is_some() {
                    self.staged.remove(table, at.clone());
                }
            }
        }
        self.forget_waits(group, |place| back.has(place));
        Ok(())
    }

    /// Reads the metadata that is left, and judges by it.
    fn read_metadata_anew(
        &mut self,
        group: GroupIx,
        back: &TakenBack,
        (by, stamp): (Place, Hlc),
    ) -> Result<(), Fault> {
        let wrong = || corrupt(Table::Metadata, DecodeError { what: "the place of metadata" });
        let (from, end) = (key::number(group), group.checked_add(1).map(key::number));
        let places = entries(self.view(), &Scan::range(Table::Metadata, &from, end.as_deref()))?;
        let mut metadata = Metadata::default();
        metadata.access.set_clock(self.replica.ends.clock());
        for (at, _) in places {
            let (_, rest) = key::split_number(&at).ok_or_else(wrong)?;
            let (ix, rest) = key::split_number(rest).ok_or_else(wrong)?;
            let place = (ix, Generation::from_be_bytes(rest.try_into().map_err(|_| wrong())?));
            if back.has(place) {
                continue;
            }
            let stored = self.stored(group, ix, place.1)?;
            let encoded = stored.encoded()?;
            let author = self.author(ix);
            let (stamp, past) = (encoded.header.stamp, stored.past);
            let is_void = self.staged.get(Table::Void, &at)?.is_some();
            let records = encoded.records(&author).map_err(|error| corrupt(Table::Log, error))?;
            let from = Source { place, author, stamp, past, beside: judge::needed_beside(&records) };
            for record in records {
                if let Record::Meta(meta) = record {
                    metadata.reload(&self.replica.keys.device, from, &meta, is_void);
                }
            }
        }
        self.judge_by(group, metadata, (by, stamp))
    }

    /// Finds out what rows come to without what was taken back.
    fn rows_without(
        &mut self,
        group: GroupIx,
        back: &TakenBack,
        rows: BTreeMap<(CollectionId, Bytes), BTreeSet<Place>>,
        (by, stamp): (Place, Hlc),
    ) -> Result<(), Fault> {
        let change = Change { group, by, stamp, local: true };
        let mut tip = self.tip(group);
        for ((collection, name), tips) in rows {
            let ReadRow { key, state } = ReadRow::get(self, group, &collection, &name)?;
            let place = |head: &RowHead| (head.author, head.generation);
            let heads = state.heads.iter().map(place).filter(|place| !back.has(*place));
            let tips: Vec<Place> = tips.into_iter().chain(heads).collect();
            let before = self.shown(group, &collection, &name, &state);
            let counted = state.visible(&collection, &name, |ix| self.author(ix));
            let was = (state.is_split(), counted, before);
            let now = self.recounted(group, (collection, &name), &tips)?;
            self.show_anew(&change, key, (collection, name), was, &now, &mut tip);
        }
        self.draft(group).tip = Some(tip);
        Ok(())
    }

    /// What the next generation depends on: as before, and what was only implied by what was taken back. Some of that
    /// may be implied by something else; naming it once too often does no harm, and the next generation sets that
    /// right.
    fn frontier_without(&mut self, group: GroupIx, back: &TakenBack, causes: BTreeSet<Place>) {
        let mut tip = self.tip(group);
        tip.frontier.retain(|ix, generation| !back.has((*ix, *generation)));
        for (ix, generation) in causes {
            if generation == self.last_shown(group, ix) {
                tip.frontier.insert(ix, generation);
            }
        }
        self.draft(group).tip = Some(tip);
    }
}
