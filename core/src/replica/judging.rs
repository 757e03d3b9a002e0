//! What becomes of a syncgroup's metadata, and of generations that are held, when a generation says something of who
//! may do what (S-34, S-35).
//!
//! Whether a generation counts follows from what is held, whatever came first: see [`crate::syncgroup::access`]. The
//! store marks those that do not. When a judgement changes, this looks through the logs of the devices that it
//! concerns, turns the marks, and finds anew what the rows of these generations come to. So a revocation costs what
//! there is to take back, and a replica that had applied what is void now shows what one shows that never did.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use bytes::Bytes;

use super::changes::{ChangeEntry, Changed, ChangedRow};
use super::plan::Plan;
use super::rows::{Change, ReadRow};
use super::stored::corrupt;
use crate::action::Notice;
use crate::id::{Author, CollectionId, DeviceId, Generation, Name};
use crate::keys::KeyChain;
use crate::log::Log;
use crate::log::record::{MetaRecord, Record};
use crate::object::history::Place;
use crate::object::{RowHead, RowState};
use crate::store::key::{self, AuthorIx, GroupIx};
use crate::store::{Fault, Table};
use crate::syncgroup::access::{Access, At, Judgement, Left, Source};
use crate::syncgroup::metadata::Metadata;
use crate::syncgroup::{PastIx, SpecVersion, judge};
use crate::time::Hlc;

/// What is judged otherwise than before.
#[derive(Default)]
struct Verdicts {
    /// Rows of generations that are shown, or were, with these.
    rows: BTreeMap<(CollectionId, Bytes), Vec<Place>>,
    /// Whether there are rules among it.
    rules: bool,
    /// How many generations of each device became void, and how many count again.
    count: BTreeMap<DeviceId, (usize, usize)>,
}

/// By which keys a device was known.
struct KnownKeys {
    device: DeviceId,
    chain: Option<KeyChain>,
    is_disputed: bool,
}

impl Plan<'_> {
    /// Whether a generation that is held is void.
    pub(crate) fn is_void(&self, group: GroupIx, place: Place) -> Result<bool, Fault> {
        if self.metadata(group).is_none_or(|metadata| metadata.access.judgement().is_clean()) {
            return Ok(false); // As nearly always.
        }
        Ok(self.staged.get(Table::Void, &key::log(group, place.0, place.1))?.is_some())
    }

    /// Takes in what a generation says of the syncgroup, and judges it and whatever hangs on it. It is in the log, and
    /// its rows are not shown yet.
    pub(super) fn judge(
        &mut self,
        group: GroupIx,
        place: Place,
        stamp: Hlc,
        records: &[Record],
    ) -> Result<(), Fault> {
        let author = self.author(place.0);
        let past = self.log(group, place.0).map_or(0, |log| log.past);
        let from = Source { place, author, stamp, past, beside: judge::needed_beside(records) };
        let mut is_news = false;
        let open = metadata_of(records).next().map(|_| self.openness(group));
        let keys = self.keys_in(group, records);
        for meta in metadata_of(records) {
            if let MetaRecord::Collection { name } = meta {
                self.take_collection(group, name)?;
            }
            is_news |= self.metadata_mut(group).take(from, meta);
            let own = self.replica.keys.device;
            self.metadata_mut(group).keep_own(&own, from, meta);
        }
        let before = match is_news {
            true => self.judge_all(group),
            false => {
                self.judge_alone(group, (place, stamp), records, past);
                None
            }
        };
        self.tell_keys(group, keys);
        if !self.counts(group, (place, stamp), records, past) {
            self.staged.put(Table::Void, key::log(group, place.0, place.1), Bytes::new());
        } else {
            let (mut ruled, spec) = (BTreeSet::new(), self.spec_version(group));
            for meta in metadata_of(records) {
                self.metadata_mut(group).rule(from, meta);
                if let MetaRecord::Rule { collection, .. } = meta {
                    ruled.insert(*collection);
                }
            }
            ruled.iter().for_each(|collection| self.keep_schema(group, collection));
            self.tell_spec(group, spec);
        }
        if let Some(before) = before {
            self.judge_anew(group, &before, (place, stamp))?;
        }
        if let Some(before) = open {
            self.tell_openness(group, &before);
        }
        metadata_of(records).try_for_each(|meta| match meta {
            MetaRecord::Fork(fork) => self.forked(group, place, fork),
            _ => Ok(()),
        })
    }

    /// There is a collection, maybe a new one. There may be rows of it already: written again by somebody who had known it
    /// by a clock that was ahead. No name led to them until now, and readers were told of none.
    fn take_collection(&mut self, group: GroupIx, name: &Name) -> Result<(), Fault> {
        let id = CollectionId::of(name);
        let at = key::collection(group, &id);
        let is_new = !self.has_collection(group, &id);
        self.staged.put(Table::Collection, at.clone(), Bytes::copy_from_slice(name.as_str().as_bytes()));
        if is_new && self.staged.has_under(Table::Row, &at)? {
            self.read_anew(group, &id);
        }
        Ok(())
    }

    /// By which keys a device is known, if a generation of its says something of them.
    fn keys_in(&self, group: GroupIx, records: &[Record]) -> Option<KnownKeys> {
        let device = metadata_of(records).find_map(|meta| match meta {
            MetaRecord::Rollover { chain, .. } => Some(chain.device()),
            _ => None,
        })?;
        let access = &self.metadata(group)?.access;
        let chain = access.keys_of(&device).cloned();
        Some(KnownKeys { device, chain, is_disputed: access.is_disputed(&device) })
    }

    /// Tells of keys that a device has taken.
    fn tell_keys(&mut self, group: GroupIx, before: Option<KnownKeys>) {
        let Some((before, syncgroup)) = before.zip(self.record(group).map(|record| record.id)) else {
            return;
        };
        let device = before.device;
        let Some(access) = self.metadata(group).map(|metadata| &metadata.access) else { return };
        let is_disputed = access.is_disputed(&device) && !before.is_disputed;
        let chain = access.keys_of(&device).filter(|chain| Some(*chain) != before.chain.as_ref());
        let rollovers = chain.map(KeyChain::rollovers).filter(|_| device != self.own().device);
        if let Some(rollovers) = rollovers {
            self.notice(Notice::KeyRotated { syncgroup, device, rollovers });
        }
        if is_disputed {
            self.notice(Notice::KeysDisputed { syncgroup, device });
        }
    }

    /// Judges by all that is known. What was thought before, if that was something else.
    fn judge_all(&mut self, group: GroupIx) -> Option<Judgement> {
        let mut metadata = core::mem::take(self.metadata_mut(group));
        let before = self.pasts(group).map(|pasts| metadata.access.judge(pasts));
        let before = before.filter(|before| before != metadata.access.judgement());
        *self.metadata_mut(group) = metadata;
        before
    }

    /// Judges a generation that concerns no other.
    fn judge_alone(
        &mut self,
        group: GroupIx,
        (place, stamp): (Place, Hlc),
        records: &[Record],
        past: PastIx,
    ) {
        if self.metadata(group).is_none_or(|metadata| metadata.access.judgement().is_clean()) {
            return; // As nearly always.
        }
        let (author, generation) = (self.author(place.0), place.1);
        let mut metadata = core::mem::take(self.metadata_mut(group));
        if let Some(pasts) = self.pasts(group) {
            let at = At { author, place: Some(place), generation, stamp, past: pasts.get(past) };
            judge::judge_alone(&mut metadata.access, pasts, at, records);
        }
        *self.metadata_mut(group) = metadata;
    }

    /// Whether a generation counts, by all that is known.
    fn counts(&self, group: GroupIx, (place, stamp): (Place, Hlc), records: &[Record], past: PastIx) -> bool {
        let (Some(metadata), Some(pasts)) = (self.metadata(group), self.pasts(group)) else { return true };
        let (author, judgement) = (self.author(place.0), metadata.access.judgement());
        judge::counts(metadata, (judgement, pasts), &author, (place, stamp), records, pasts.get(past))
    }

    /// Takes other metadata in the place of what there was, for want of some of it, and judges what is held by that.
    pub(super) fn judge_by(
        &mut self,
        group: GroupIx,
        mut metadata: Metadata,
        cause: (Place, Hlc),
    ) -> Result<(), Fault> {
        let (old, spec) = (self.metadata(group).cloned().unwrap_or_default(), self.spec_version(group));
        let open = self.openness(group);
        if let Some(pasts) = self.pasts(group) {
            metadata.access.judge(pasts);
        }
        self.set_metadata(group, metadata);
        // Of what is not there any more it cannot be said what it had spared: whole logs are looked through.
        let whole = |_: &Access, _: &Author, held| alloc::vec![1..=held];
        self.judge_logs(group, old.access.judgement(), whole, cause)?;
        let metadata = self.metadata(group).cloned().unwrap_or_default();
        let gone = old.collections().keys().filter(|id| !metadata.collections().contains_key(*id));
        gone.for_each(|id| self.staged.remove(Table::Collection, key::collection(group, id)));
        for id in old.schemas().collections() {
            if old.schemas().of(id) != metadata.schemas().of(id) {
                self.keep_schema(group, id);
            }
        }
        self.tell_spec(group, spec);
        self.tell_openness(group, &open);
        Ok(())
    }

    /// Judges again what is held, after `cause`.
    fn judge_anew(&mut self, group: GroupIx, before: &Judgement, cause: (Place, Hlc)) -> Result<(), Fault> {
        let anew =
            |access: &Access, author: &Author, held| access.judged_anew_of(before, (author, held), cause.0);
        self.judge_logs(group, before, anew, cause)
    }

    /// Judges again what there is of those of whom something may count otherwise than before: of each, these
    /// generations.
    fn judge_logs(
        &mut self,
        group: GroupIx,
        before: &Judgement,
        anew: impl Fn(&Access, &Author, Generation) -> Vec<RangeInclusive<Generation>>,
        (cause, stamp): (Place, Hlc),
    ) -> Result<(), Fault> {
        let devices = self.metadata(group).map(|it| it.access.judged_anew(before, cause)).unwrap_or_default();
        let mut verdicts = Verdicts::default();
        for ix in self.authors_in(group) {
            let author = self.author(ix);
            if !devices.contains(&author.device) {
                continue;
            }
            let held = self.log(group, ix).map_or(0, Log::held);
            let anew = self.metadata(group).map(|it| anew(&it.access, &author, held)).unwrap_or_default();
            for generation in anew.into_iter().flatten() {
                if (ix, generation) != cause {
                    self.judge_one(group, (ix, generation), &mut verdicts)?;
                }
            }
        }
        if verdicts.rules {
            self.rule_anew(group)?;
        }
        self.show_rows_anew(group, verdicts.rows, (cause, stamp))?;
        if let Some(syncgroup) = self.record(group).map(|record| record.id) {
            for (device, (voided, restored)) in verdicts.count {
                self.notice(Notice::Judged { syncgroup, device, voided, restored });
            }
        }
        Ok(())
    }

    pub(super) fn authors_in(&self, group: GroupIx) -> BTreeSet<AuthorIx> {
        let held = self.group(group).into_iter().flat_map(|group| group.logs.keys().copied());
        held.chain(self.planned_logs(group)).collect()
    }

    fn judge_one(&mut self, group: GroupIx, place: Place, verdicts: &mut Verdicts) -> Result<(), Fault> {
        let (ix, generation) = place;
        let author = self.author(ix);
        let stored = self.stored(group, ix, generation)?;
        let mark = key::log(group, ix, generation);
        let was_void = self.staged.get(Table::Void, &mark)?.is_some();
        let encoded = stored.encoded()?;
        let records = encoded.records(&author).map_err(|error| corrupt(Table::Log, error))?;
        let counts = self.counts(group, (place, encoded.header.stamp), &records, stored.past);
        if counts != was_void {
            return Ok(());
        }
        let count = verdicts.count.entry(author.device).or_default();
        if counts {
            self.staged.remove(Table::Void, mark);
            count.1 += 1;
        } else {
            self.staged.put(Table::Void, mark, Bytes::new());
            count.0 += 1;
        }
        // What waits for other parts of its batch is not shown, and judged when it is.
        let is_shown = generation <= self.last_shown(group, ix);
        for record in records {
            match record {
                Record::Row(row) if is_shown => {
                    verdicts.rows.entry((row.collection, row.key)).or_default().push(place);
                }
                Record::Meta(meta) if meta.rules_something() => verdicts.rules = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Finds out anew what the rules are.
    fn rule_anew(&mut self, group: GroupIx) -> Result<(), Fault> {
        let of = |plan: &Self| {
            // There may be rules for collections that nobody has made yet.
            let schemas = plan.metadata(group).map(Metadata::schemas);
            let ruled =
                schemas.into_iter().flat_map(|schemas| schemas.collections().map(move |id| (schemas, *id)));
            ruled.map(|(schemas, id)| (id, schemas.of(&id))).collect::<BTreeMap<_, _>>()
        };
        let (before, spec) = (of(self), self.spec_version(group));
        for place in self.metadata_mut(group).forget_rules() {
            if self.staged.get(Table::Void, &key::log(group, place.0, place.1))?.is_some() {
                continue;
            }
            let author = self.author(place.0);
            let stored = self.stored(group, place.0, place.1)?;
            let encoded = stored.encoded()?;
            let records = encoded.records(&author).map_err(|error| corrupt(Table::Log, error))?;
            let (stamp, past) = (encoded.header.stamp, stored.past);
            let from = Source { place, author, stamp, past, beside: judge::needed_beside(&records) };
            for meta in metadata_of(&records) {
                self.metadata_mut(group).rule(from, meta);
            }
        }
        let now = of(self);
        let ruled: BTreeSet<_> = before.keys().chain(now.keys()).collect();
        let changed = ruled.into_iter().filter(|id| before.get(*id) != now.get(*id));
        changed.for_each(|id| self.keep_schema(group, id));
        self.tell_spec(group, spec);
        Ok(())
    }

    fn spec_version(&self, group: GroupIx) -> SpecVersion {
        self.metadata(group).map(|metadata| metadata.spec().version()).unwrap_or_default()
    }

    /// Tells of the spec if it is another one now.
    fn tell_spec(&mut self, group: GroupIx, before: SpecVersion) {
        if let Some(record) = self.record(group).filter(|_| self.spec_version(group) != before) {
            let syncgroup = record.id;
            self.notice(Notice::Spec { syncgroup });
        }
    }

    fn openness(&self, group: GroupIx) -> Vec<Left> {
        self.metadata(group).map(|metadata| metadata.access.openness()).unwrap_or_default()
    }

    /// Tells that something else is granted to everybody now.
    fn tell_openness(&mut self, group: GroupIx, before: &[Left]) {
        if let Some(record) = self.record(group).filter(|_| self.openness(group) != before) {
            let syncgroup = record.id;
            self.notice(Notice::Openness { syncgroup });
        }
    }

    /// Finds out anew what rows come to, and tells of those that show something else.
    fn show_rows_anew(
        &mut self,
        group: GroupIx,
        rows: BTreeMap<(CollectionId, Bytes), Vec<Place>>,
        (by, stamp): (Place, Hlc),
    ) -> Result<(), Fault> {
        if rows.is_empty() {
            return Ok(());
        }
        let local = self.author(by.0) == self.own();
        let change = Change { group, by, stamp, local };
        let mut tip = self.tip(group);
        let mut news = Vec::new();
        for ((collection, name), mut tips) in rows {
            let ReadRow { key, state } = ReadRow::get(self, group, &collection, &name)?;
            let place = |head: &RowHead| (head.author, head.generation);
            tips.extend(state.heads.iter().map(place));
            let before = self.shown(group, &collection, &name, &state);
            let counted = state.visible(&collection, &name, |ix| self.author(ix));
            let was = (state.is_split(), counted, before);
            let now: RowState = self.recounted(group, (collection, &name), &tips)?;
            let shows = self.show_anew(&change, key, (collection, name.clone()), was, &now, &mut tip);
            news.extend(shows.map(|shows| ChangedRow { collection, key: name, shows }));
        }
        self.draft(group).tip = Some(tip);
        if !news.is_empty() {
            self.news.push(ChangeEntry { group, what: Changed::Rows { by, local, batch: None, rows: news } });
        }
        Ok(())
    }
}

fn metadata_of(records: &[Record]) -> impl Iterator<Item = &MetaRecord> {
    records.iter().filter_map(|record| if let Record::Meta(meta) = record { Some(meta) } else { None })
}
