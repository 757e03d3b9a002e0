//! Batches over several syncgroups of which not all is here, for whoever wants to know (S-28): those whose rows wait,
//! and those that were shown in part, until the rest has come.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Replica;
use super::stored::corrupt;
use super::waiting::{Slot, Waits};
use crate::action::Split;
use crate::id::{Generation, SyncgroupId, Version};
use crate::store::key::{AuthorIx, GroupIx, meta};
use crate::store::{Fault, Table, View};
use crate::time::{Hlc, Wall};
use crate::wire::codec::DecodeError;

/// How many batches that were shown in part are remembered, the last ones.
const MOST_SPLIT: usize = 64;
/// How many are told of those that wait, and of those that were shown in part.
const MOST_TOLD: usize = 64;

/// A part of a batch over several syncgroups, where another part has not come to this device (S-28).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IncompleteBatch {
    /// Where this part is.
    pub syncgroup: SyncgroupId,
    /// The version of its rows.
    pub version: Version,
    /// Where other parts are missing, or wait themselves.
    pub missing: Vec<SyncgroupId>,
    /// When this part came, by the wall clock of this device.
    pub since: Wall,
    /// If its rows are shown: why they were not held back longer. Otherwise they wait.
    pub shown: Option<Split>,
}

/// A part that is shown without the others, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SplitPart {
    pub(super) slot: Slot,
    stamp: Hlc,
    since: Wall,
    pub(super) missing: Vec<GroupIx>,
    pub(super) why: Split,
}

impl SplitPart {
    pub(super) fn new(slot: Slot, waits: &Waits, missing: Vec<GroupIx>, why: Split) -> Self {
        Self { slot, stamp: waits.stamp, since: waits.since, missing, why }
    }

    /// What is remembered once `new` has come, where `reached` says how far an author's rows are shown in a syncgroup
    /// that is read.
    pub(super) fn remembered(
        known: &[Self],
        new: Vec<Self>,
        reached: impl Fn(GroupIx, AuthorIx) -> Option<Reached>,
    ) -> Vec<Self> {
        let is_open = |part: &&Self| part.missing.iter().any(|group| part.lacks(*group, &reached));
        let mut parts: Vec<Self> = known.iter().filter(is_open).cloned().collect();
        parts.extend(new);
        let too_many = parts.len().saturating_sub(MOST_SPLIT);
        parts.drain(..too_many);
        parts
    }

    fn lacks(&self, group: GroupIx, reached: impl Fn(GroupIx, AuthorIx) -> Option<Reached>) -> bool {
        reached(group, self.slot.1).is_some_and(|reached| reached.lacks(self.stamp))
    }

    pub(super) fn to_bytes(parts: &[Self]) -> Bytes {
        // Serialising such a type into memory cannot fail; nothing would be told of what nobody remembers.
        postcard::to_allocvec(parts).unwrap_or_default().into()
    }

    pub(super) fn load(view: &dyn View) -> Result<Vec<Self>, Fault> {
        let wrong = |_| corrupt(Table::Meta, DecodeError { what: "batches that are shown in part" });
        let bytes = view.get(Table::Meta, meta::SPLIT)?;
        bytes.map_or(Ok(Vec::new()), |bytes| postcard::from_bytes(&bytes).map_err(wrong))
    }
}

/// How far an author's log in a syncgroup has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// The stamp of the last generation that is held; `None` if none is.
    pub(super) held: Option<Hlc>,
    /// The stamp of the first one that waits.
    pub(super) waits: Option<Hlc>,
}

impl Reached {
    /// Whether the part of this stamp is not shown, and may yet be.
    fn lacks(self, stamp: Hlc) -> bool {
        self.held.is_none_or(|held| held < stamp) || self.waits.is_some_and(|waits| waits <= stamp)
    }
}

impl Replica {
    /// Batches of which not all is here: what waits, and what was shown in part; of each [`MOST_TOLD`] at most, those
    /// first that came first.
    pub(crate) fn incomplete(&self) -> Vec<IncompleteBatch> {
        let waiting = self.waiting.iter().filter_map(|(slot, waits)| {
            let elsewhere = &waits.part.as_ref()?.elsewhere;
            let missing = elsewhere.iter().copied().filter(|group| {
                self.reached(*group, slot.1).is_some_and(|reached| reached.lacks(waits.stamp))
            });
            self.told(slot, missing, waits.since, None)
        });
        let split = self.waiting.split.iter().filter_map(|part| {
            let missing = part.missing.iter().copied();
            let missing =
                missing.filter(|group| part.lacks(*group, |group, author| self.reached(group, author)));
            self.told(&part.slot, missing, part.since, Some(part.why))
        });
        let mut told = Vec::new();
        for mut batches in [waiting.collect::<Vec<_>>(), split.collect()] {
            batches.sort_by_key(|batch| batch.since);
            batches.truncate(MOST_TOLD);
            told.extend(batches);
        }
        told
    }

    /// How far an author's log in a syncgroup has come, if that is read here.
    fn reached(&self, group: GroupIx, author: AuthorIx) -> Option<Reached> {
        let it = self.groups.get(&group).filter(|group| group.record.stage.is_read())?;
        let waits = self.waiting.of(group, author).next().map(|(_, waits)| waits.stamp);
        Some(Reached { held: it.logs.get(&author).map(|log| log.stamp), waits })
    }

    fn told(
        &self,
        (group, author, generation): &(GroupIx, AuthorIx, Generation),
        missing: impl Iterator<Item = GroupIx>,
        since: Wall,
        shown: Option<Split>,
    ) -> Option<IncompleteBatch> {
        let id = |group: &GroupIx| Some(self.groups.get(group)?.record.id);
        let missing: Vec<SyncgroupId> = missing.filter_map(|group| id(&group)).collect();
        let version = Version { author: self.authors.get(*author)?, generation: *generation };
        let batch = IncompleteBatch { syncgroup: id(group)?, version, missing, since, shown };
        Some(batch).filter(|batch| !batch.missing.is_empty())
    }
}
