//! Which generations wait, and when their rows are shown after all (S-28).
//!
//! What can be shown is the greatest set of what waits that is whole: each generation in it comes with what it
//! builds on, and with the other parts of its batch, as far as this replica reads them. The greatest, because
//! parts of two batches may each need the other batch in another syncgroup.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::incomplete::{Reached, SplitPart};
use super::plan::Plan;
use super::waiting::{Part, Slot, Waiting, Waits, causes};
use crate::action::{Notice, Split};
use crate::id::{Generation, Version};
use crate::log::generation::{BatchPart, Encoded};
use crate::log::record::Record;
use crate::object::history::Place;
use crate::store::key::{self, AuthorIx, GroupIx, meta};
use crate::store::staged::Staged;
use crate::store::{Fault, Table};
use crate::time::{Hlc, Mono, Now};

#[cfg(test)]
mod tests;

/// What a plan changes of what waits.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// What begins to wait, or waits for more than before.
    waits: BTreeMap<Slot, Waits>,
    /// What does not wait any more.
    shown: BTreeSet<Slot>,
    /// What is shown in part from now on, with what was before.
    split: Option<Vec<SplitPart>>,
}

impl Moves {
    pub(super) fn apply(self, waiting: &mut Waiting) {
        self.shown.iter().for_each(|slot| waiting.remove(slot));
        let kept = self.waits.into_iter().filter(|(slot, _)| !self.shown.contains(slot));
        kept.for_each(|(slot, waits)| waiting.insert(slot, waits));
        if let Some(split) = self.split {
            waiting.split = split;
        }
    }

    pub(super) fn store(&self, before: &Waiting, staged: &mut Staged<'_>) {
        let key = |(group, author, generation): &Slot| key::log(*group, *author, *generation);
        let is_new = |slot: &Slot| before.get(slot).is_none();
        for (slot, waits) in self.waits.iter().filter(|(slot, _)| is_new(slot) && !self.shown.contains(slot))
        {
            staged.put(Table::Waiting, key(slot), Bytes::copy_from_slice(&waits.since.0.to_le_bytes()));
        }
        self.shown
            .iter()
            .filter(|slot| !is_new(slot))
            .for_each(|slot| staged.remove(Table::Waiting, key(slot)));
        if let Some(split) = &self.split {
            staged.put(Table::Meta, Bytes::from_static(meta::SPLIT), SplitPart::to_bytes(split));
        }
    }
}

/// Whether another part of a batch is there.
enum Other {
    /// Its author's log there has not come so far.
    Missing,
    /// It is held, and waits itself.
    Waits(Slot),
    /// It is shown, or will never be there.
    Settled,
}

/// What waits, at one moment.
struct Scene<'p> {
    slots: BTreeMap<Slot, &'p Waits>,
    by_stamp: BTreeMap<(GroupIx, AuthorIx, Hlc), Slot>,
}

impl<'p> Scene<'p> {
    fn new(slots: BTreeMap<Slot, &'p Waits>) -> Self {
        let by_stamp = slots.iter().map(|(slot, waits)| ((slot.0, slot.1, waits.stamp), *slot)).collect();
        Self { slots, by_stamp }
    }

    /// What a generation builds on that waits too.
    fn causes(&self, slot: &Slot) -> impl Iterator<Item = Slot> {
        let (group, author, generation) = *slot;
        let causes = self.slots.get(slot).map(|waits| &waits.causes).into_iter().flatten();
        let all = causes.copied().chain([(author, generation - 1)]);
        all.map(move |(author, generation)| (group, author, generation))
            .filter(|slot| self.slots.contains_key(slot))
    }

    /// Has a generation wait for no batch any more, nor anything that it builds on.
    fn force(&self, slot: Slot, why: Split, forced: &mut BTreeMap<Slot, Split>) {
        let mut work = alloc::vec![slot];
        while let Some(slot) = work.pop() {
            if self.slots.contains_key(&slot) && !forced.contains_key(&slot) {
                forced.insert(slot, why);
                work.extend(self.causes(&slot));
            }
        }
    }
}

impl Plan<'_> {
    // ---- what waits so far ----

    fn waits(&self, slot: &Slot) -> Option<&Waits> {
        let waits = self.moves.waits.get(slot).or_else(|| self.replica.waiting.get(slot));
        waits.filter(|_| !self.moves.shown.contains(slot))
    }

    /// The last generation of an author whose rows are shown: what readers see follows from these.
    pub(crate) fn last_shown(&self, group: GroupIx, author: AuthorIx) -> Generation {
        let held = self.log(group, author).map_or(0, crate::log::Log::held);
        self.first_waiting(group, author).map_or(held, |((.., first), _)| first - 1)
    }

    fn first_waiting(&self, group: GroupIx, author: AuthorIx) -> Option<(&Slot, &Waits)> {
        let waits = |(slot, _): &(&Slot, &Waits)| !self.moves.shown.contains(*slot);
        let before = self.replica.waiting.of(group, author).find(waits);
        let new = (group, author, 0)..=(group, author, Generation::MAX);
        before.into_iter().chain(self.moves.waits.range(new).find(waits)).min_by_key(|(slot, _)| **slot)
    }

    /// Whether anything waits in a syncgroup.
    pub(super) fn waits_in(&self, group: GroupIx) -> bool {
        if self.replica.waiting.is_empty() && self.moves.waits.is_empty() {
            return false; // As nearly always.
        }
        let new = (group, 0, 0)..=(group, AuthorIx::MAX, Generation::MAX);
        let new = self.moves.waits.range(new).map(|(slot, _)| slot);
        let before = self.replica.waiting.of_group(group).map(|(slot, _)| slot);
        before.chain(new).any(|slot| !self.moves.shown.contains(slot))
    }

    /// Whether this device follows what happens in a syncgroup (S-28).
    pub(crate) fn is_read(&self, group: GroupIx) -> bool {
        self.record(group).is_some_and(|record| record.stage.is_read())
    }

    // ---- what begins to wait ----

    /// Has a generation that was just received wait, if it is a part of something that is not all here, or builds
    /// on what waits. Where this cannot be seen at a glance it waits until [`Plan::release`] has had a look.
    pub(super) fn hold(
        &mut self,
        group: GroupIx,
        place: Place,
        encoded: &Encoded,
        records: &[Record],
        now: Now,
    ) -> bool {
        if encoded.header.batch.is_none() && self.moves.waits.is_empty() && self.replica.waiting.is_empty() {
            return false;
        }
        let slot = (group, place.0, place.1);
        let named = causes(encoded, records);
        let named = named.filter_map(|cause| Some((self.author_ix(&cause.author)?, cause.generation)));
        let mut causes: Vec<_> = named
            .filter(|(author, generation)| self.waits(&(group, *author, *generation)).is_some())
            .collect();
        causes.sort_unstable();
        causes.dedup();
        let may_be_read = self.record(group).is_some_and(|record| record.stage.may_be_read());
        let part = encoded.header.batch.as_ref().filter(|_| may_be_read);
        let part = part.map(|batch| {
            let read = self.groups().filter(|record| record.1.stage.is_read());
            Part::find(batch, group, read.map(|(ix, record)| (ix, &record.id)))
        });
        let stamp = encoded.header.stamp;
        let is_open = |other: &GroupIx| {
            let waits = self.first_waiting(*other, place.0).is_some_and(|(_, first)| first.stamp <= stamp);
            waits || self.log(*other, place.0).is_none_or(|log| log.stamp < stamp)
        };
        let before = (group, place.0, place.1 - 1);
        let must = !causes.is_empty()
            || self.waits(&before).is_some()
            || part.as_ref().is_some_and(|part| part.elsewhere.iter().any(is_open));
        if must {
            let due = now.mono + self.replica.parts;
            let bytes = encoded.bytes.len();
            self.moves.waits.insert(slot, Waits { stamp, bytes, part, causes, since: now.wall, due });
        }
        must
    }

    /// Syncgroups that this replica reads from now on may have parts of batches that wait.
    fn look_in_new_groups(&mut self) {
        let was_read =
            |ix: &GroupIx| self.replica.groups.get(ix).is_some_and(|group| group.record.stage.is_read());
        let new: Vec<GroupIx> = self.touched().filter(|ix| self.is_read(*ix) && !was_read(ix)).collect();
        for ix in new {
            let Some(id) = self.record(ix).map(|record| record.id) else { continue };
            let names = |(slot, waits): &(Slot, &Waits)| {
                let part = waits.part.as_ref().filter(|part| slot.0 != ix && !part.elsewhere.contains(&ix));
                part.is_some_and(|part| part.batch.others.contains(&BatchPart::tag(&part.batch.id, &id)))
            };
            let more =
                self.all_waiting().into_iter().filter(names).map(|(slot, waits)| (slot, waits.clone()));
            for (slot, mut waits) in more.collect::<Vec<_>>() {
                waits.part.iter_mut().for_each(|part| part.elsewhere.push(ix));
                self.moves.waits.insert(slot, waits);
            }
        }
    }

    /// What waits in a syncgroup and is there no more waits no more; nor is it remembered that it was shown in part.
    pub(super) fn forget_waits(&mut self, group: GroupIx, is_gone: impl Fn(Place) -> bool) {
        let is_gone = |slot: &Slot| slot.0 == group && is_gone((slot.1, slot.2));
        let waits = self.replica.waiting.of_group(group).map(|(slot, _)| *slot);
        let gone: Vec<Slot> = waits.filter(|slot| is_gone(slot)).collect();
        self.moves.shown.extend(gone);
        let split = self.moves.split.as_ref().unwrap_or(&self.replica.waiting.split);
        if split.iter().any(|part| is_gone(&part.slot)) {
            self.moves.split = Some(split.iter().filter(|part| !is_gone(&part.slot)).cloned().collect());
        }
    }

    fn all_waiting(&self) -> BTreeMap<Slot, &Waits> {
        let all = self.replica.waiting.iter().chain(&self.moves.waits);
        all.filter(|(slot, _)| !self.moves.shown.contains(*slot))
            .map(|(slot, waits)| (*slot, waits))
            .collect()
    }

    // ---- what need not wait any more ----

    /// Shows the rows of all that need not wait any more, and of what has waited long enough; in an order that
    /// respects causes, parts of one batch one after the other.
    pub(crate) fn release(&mut self, now: Mono) -> Result<(), Fault> {
        if self.replica.waiting.is_empty() && self.moves.waits.is_empty() {
            return Ok(());
        }
        self.look_in_new_groups();
        let scene = Scene::new(self.all_waiting());
        let mut forced = BTreeMap::new();
        self.replica.waiting.due(now).for_each(|slot| scene.force(*slot, Split::Time, &mut forced));
        let staying = self.staying_within_bounds(&scene, &mut forced);
        let mut ready: Vec<(Hlc, AuthorIx, Slot)> = Vec::new();
        let mut split = Vec::new();
        for (slot, waits) in scene.slots.iter().filter(|(slot, _)| !staying.contains(*slot)) {
            ready.push((waits.stamp, slot.1, *slot));
            split.extend(self.split(&scene, slot, waits, &staying, forced.get(slot)));
        }
        self.tell_split(split);
        // Stamps lie above those of causes, and parts of one batch share theirs.
        ready.sort_unstable();
        self.show_all(ready.into_iter().map(|(.., slot)| slot).collect())
    }

    /// What stays waiting, once the oldest of what is more than the limits allow is not waited for.
    fn staying_within_bounds(&self, scene: &Scene<'_>, forced: &mut BTreeMap<Slot, Split>) -> BTreeSet<Slot> {
        loop {
            let staying = self.staying(scene, forced);
            let bytes = staying.iter().filter_map(|slot| scene.slots.get(slot)).map(|waits| waits.bytes);
            let limits = &self.replica.limits;
            if staying.len() <= limits.waiting && bytes.sum::<usize>() <= limits.waiting_bytes {
                return staying;
            }
            let age = |slot: &Slot| scene.slots.get(slot).map(|waits| (waits.due, waits.stamp, *slot));
            let mut by_age: Vec<_> = staying.iter().filter_map(age).collect();
            by_age.sort_unstable();
            let half = by_age.len().div_ceil(2);
            by_age.iter().take(half).for_each(|(.., slot)| scene.force(*slot, Split::Number, forced));
        }
    }

    /// What has to wait on, unless it is forced: what lacks a part, and all that follows from it.
    fn staying(&self, scene: &Scene<'_>, forced: &BTreeMap<Slot, Split>) -> BTreeSet<Slot> {
        let mut behind: BTreeMap<Slot, Vec<Slot>> = BTreeMap::new();
        let mut staying = BTreeSet::new();
        for (slot, waits) in scene.slots.iter().filter(|(slot, _)| !forced.contains_key(*slot)) {
            scene.causes(slot).for_each(|cause| behind.entry(cause).or_default().push(*slot));
            let elsewhere = waits.part.iter().flat_map(|part| &part.elsewhere);
            for group in elsewhere.filter(|group| self.is_read(slot.0) && self.is_read(**group)) {
                match self.other(scene, slot, waits, *group) {
                    Other::Missing => {
                        staying.insert(*slot);
                    }
                    Other::Waits(other) => behind.entry(other).or_default().push(*slot),
                    Other::Settled => {}
                }
            }
        }
        let mut work: Vec<Slot> = staying.iter().copied().collect();
        while let Some(slot) = work.pop() {
            let follow = behind.remove(&slot).unwrap_or_default();
            work.extend(follow.into_iter().filter(|slot| staying.insert(*slot)));
        }
        staying
    }

    /// Where the other part of a batch is. What stands in its place and does not name the batch back is none.
    fn other(&self, scene: &Scene<'_>, slot: &Slot, waits: &Waits, group: GroupIx) -> Other {
        if self.log(group, slot.1).is_none_or(|log| log.stamp < waits.stamp) {
            return Other::Missing;
        }
        let Some(other) = scene.by_stamp.get(&(group, slot.1, waits.stamp)) else { return Other::Settled };
        let part = scene.slots.get(other).and_then(|other| other.part.as_ref());
        let batch = waits.part.as_ref().map(|part| part.batch.id);
        let names_back =
            part.is_some_and(|part| Some(part.batch.id) == batch && part.elsewhere.contains(&slot.0));
        if names_back { Other::Waits(*other) } else { Other::Settled }
    }

    /// A generation that is shown without other parts of its batch.
    fn split(
        &self,
        scene: &Scene<'_>,
        slot: &Slot,
        waits: &Waits,
        staying: &BTreeSet<Slot>,
        forced: Option<&Split>,
    ) -> Option<SplitPart> {
        let lacks = |group: &&GroupIx| match self.other(scene, slot, waits, **group) {
            Other::Missing => true,
            Other::Waits(other) => staying.contains(&other),
            Other::Settled => false,
        };
        let missing: Vec<GroupIx> = waits.part.as_ref()?.elsewhere.iter().filter(lacks).copied().collect();
        // Nothing but its place in a syncgroup that is not read any more lets a part go without the others.
        let why = forced.copied().unwrap_or(Split::Left);
        (!missing.is_empty()).then(|| SplitPart::new(*slot, waits, missing, why))
    }

    /// Tells the application of batches that are shown in part, and remembers them until the rest has come.
    fn tell_split(&mut self, split: Vec<SplitPart>) {
        if split.is_empty() {
            return;
        }
        for part in &split {
            let (group, author, generation) = part.slot;
            let Some(syncgroup) = self.record(group).map(|record| record.id) else { continue };
            let version = Version { author: self.author(author), generation };
            let missing = part.missing.iter().filter_map(|group| self.record(*group));
            let missing = missing.map(|record| record.id).collect();
            self.notice(Notice::BatchSplit { syncgroup, version, missing, why: part.why });
        }
        let reached = |group, author| {
            self.is_read(group).then(|| Reached {
                held: self.log(group, author).map(|log| log.stamp),
                waits: self.first_waiting(group, author).map(|(_, waits)| waits.stamp),
            })
        };
        let known = self.moves.split.as_ref().unwrap_or(&self.replica.waiting.split);
        let remembered = SplitPart::remembered(known, split, reached);
        self.moves.split = Some(remembered);
    }

    /// Shows rows, in order, causes first.
    fn show_all(&mut self, mut slots: Vec<Slot>) -> Result<(), Fault> {
        while !slots.is_empty() {
            let before = slots.len();
            let mut later = Vec::new();
            for slot in slots {
                let (group, author, generation) = slot;
                let causes = self.waits(&slot).map(|waits| waits.causes.clone()).unwrap_or_default();
                let mut causes = causes.into_iter().chain([(author, generation - 1)]);
                // Only for parents that are in no past it takes a second round: their stamps say nothing.
                if causes.any(|(author, generation)| self.waits(&(group, author, generation)).is_some()) {
                    later.push(slot);
                    continue;
                }
                let encoded = self.stored(group, author, generation)?.encoded()?;
                let records = encoded.records(&self.author(author));
                let records = records.map_err(|error| super::stored::corrupt(Table::Log, error))?;
                self.show(group, (author, generation), &encoded, &records, Vec::new())?;
                self.moves.shown.insert(slot);
            }
            if later.len() == before {
                return Ok(());
            }
            slots = later;
        }
        Ok(())
    }
}
