//! What waits: generations that are held, and whose rows are not shown yet, because they are parts of batches
//! of which another part has not arrived, or build on such (S-28, S-29).
//!
//! ```text
//!   log of one author in one syncgroup:   1  2  3 | 4  5  6
//!                                           shown ┘ └ waiting: in the log like all others, passed on like all
//!                                                     others; only their rows are not applied
//! ```
//!
//! All parts of a batch carry one stamp, and an author's stamps grow in every syncgroup. So the part in a
//! syncgroup is there, or will never be, as soon as the author's log there has reached that stamp.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::incomplete::SplitPart;
use crate::id::{Generation, SyncgroupId, Version};
use crate::log::generation::{BatchPart, Encoded};
use crate::log::record::Record;
use crate::store::key::{AuthorIx, GroupIx};
use crate::time::{Hlc, Millis, Mono, Now, Wall};

/// A generation's place among all logs of all syncgroups.
pub(crate) type Slot = (GroupIx, AuthorIx, Generation);

/// A generation whose rows wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) stamp: Hlc,
    /// How long it is.
    pub(crate) bytes: usize,
    /// What it is a part of, if that touches several syncgroups.
    pub(crate) part: Option<Part>,
    /// What else of its syncgroup it builds on that waits. That it builds on the one before goes without saying.
    pub(crate) causes: Vec<(AuthorIx, Generation)>,
    /// When it was first received, by the wall clock: so that the wait is bounded across restarts.
    pub(crate) since: Wall,
    /// When it has waited long enough. By the monotonic clock, so that no jump of the other makes it wait for
    /// ever.
    pub(crate) due: Mono,
}

/// The part of a batch that touches several syncgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) batch: BatchPart,
    /// Where this replica reads other parts.
    pub(crate) elsewhere: Vec<GroupIx>,
}

impl Part {
    /// Finds the other parts among the syncgroups that this replica reads.
    pub(crate) fn find<'i>(
        batch: &BatchPart,
        group: GroupIx,
        read: impl Iterator<Item = (GroupIx, &'i SyncgroupId)>,
    ) -> Self {
        let mut elsewhere = Vec::new();
        for (ix, id) in read.filter(|(ix, _)| *ix != group) {
            if batch.others.contains(&BatchPart::tag(&batch.id, id)) {
                elsewhere.push(ix);
                if elsewhere.len() == batch.others.len() {
                    break;
                }
            }
        }
        Self { batch: batch.clone(), elsewhere }
    }
}

/// What a generation builds on, besides the one before it.
pub(super) fn causes<'g>(encoded: &'g Encoded, records: &'g [Record]) -> impl Iterator<Item = Version> + 'g {
    let named = encoded.header.dependencies.iter();
    let named =
        named.map(|dependency| Version { author: dependency.author, generation: dependency.generation });
    // Parents stand in the past that is named, unless somebody wrote what nobody should.
    let parents = records.iter().filter_map(|record| match record {
        Record::Row(row) => Some(&row.parents),
        _ => None,
    });
    named.chain(parents.flatten().copied())
}

/// All that waits in a replica.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting {
    slots: BTreeMap<Slot, Waits>,
    by_due: BTreeSet<(Mono, Slot)>,
    /// Something was loaded, and the time was not known yet.
    is_loaded: bool,
    /// What was shown in part: it waits no more, and others may ask what became of it.
    pub(super) split: Vec<SplitPart>,
}

impl Waiting {
    /// Nothing that waits, and what was shown in part.
    pub(super) fn new(split: Vec<SplitPart>) -> Self {
        Self { split, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn get(&self, slot: &Slot) -> Option<&Waits> {
        self.slots.get(slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Slot, &Waits)> {
        self.slots.iter()
    }

    /// What waits of one author in a syncgroup.
    pub(super) fn of(&self, group: GroupIx, author: AuthorIx) -> impl Iterator<Item = (&Slot, &Waits)> {
        self.slots.range((group, author, 0)..=(group, author, Generation::MAX))
    }

    /// What waits in a syncgroup.
    pub(super) fn of_group(&self, group: GroupIx) -> impl Iterator<Item = (&Slot, &Waits)> {
        self.slots.range((group, 0, 0)..=(group, AuthorIx::MAX, Generation::MAX))
    }

    /// Whether anything waits in a syncgroup.
    pub(crate) fn waits_in(&self, group: GroupIx) -> bool {
        self.of_group(group).next().is_some()
    }

    /// How many generations wait in a syncgroup.
    pub(crate) fn count(&self, group: GroupIx) -> u64 {
        self.of_group(group).count() as u64
    }

    /// The last generation that is shown of an author of whom so many are held.
    pub(crate) fn last_shown(&self, group: GroupIx, author: AuthorIx, held: Generation) -> Generation {
        self.of(group, author).next().map_or(held, |((.., first), _)| first - 1)
    }

    /// When something has waited long enough.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// What has waited long enough.
    pub(super) fn due(&self, now: Mono) -> impl Iterator<Item = &Slot> {
        self.by_due.iter().take_while(move |(due, _)| *due <= now).map(|(_, slot)| slot)
    }

    pub(super) fn insert(&mut self, slot: Slot, waits: Waits) {
        self.by_due.insert((waits.due, slot));
        if let Some(before) = self.slots.insert(slot, waits)
            && self.slots.get(&slot).is_some_and(|now| now.due != before.due)
        {
            self.by_due.remove(&(before.due, slot));
        }
    }

    /// The same for what was found in the store: it is due when the time is known and says so.
    pub(super) fn load(&mut self, slot: Slot, waits: Waits) {
        self.is_loaded = true;
        self.insert(slot, waits);
    }

    pub(super) fn remove(&mut self, slot: &Slot) {
        if let Some(waits) = self.slots.remove(slot) {
            self.by_due.remove(&(waits.due, *slot));
        }
    }

    /// Whether something was found in the store, and it was not said yet what time it is.
    pub(crate) fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    /// Says what time it is, after a boot: what was found has waited since it was first received, and waits no
    /// longer than if it had just come.
    pub(crate) fn start(&mut self, now: Now, bound: Millis) {
        if !core::mem::take(&mut self.is_loaded) {
            return;
        }
        self.by_due.clear();
        for (slot, waits) in &mut self.slots {
            let left = (waits.since + bound).0.saturating_sub(now.wall.0).min(bound.0);
            waits.due = now.mono + Millis(left);
            self.by_due.insert((waits.due, *slot));
        }
    }
}
