//! The changes of a commit as those who watch are told them: batch by batch (S-28, S-52).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::RowUpdate;
use crate::store::key::{AuthorIx, GroupIx};

/// A batch, if a generation is a part of one that touches several syncgroups.
pub(super) type Batch = Option<[u8; 16]>;

/// What a commit changed, generation by generation, with the parts of a batch put together.
#[derive(Default)]
pub(super) struct Told {
    batches: Vec<(bool, Vec<RowUpdate>)>,
    /// Where the last part of each batch is, and in which syncgroups it has parts. Whoever names somebody else's batch, or
    /// one batch twice in a syncgroup, has no part in it.
    last_of: BTreeMap<([u8; 16], AuthorIx), (usize, BTreeSet<GroupIx>)>,
}

impl Told {
    /// Adds what a generation changed, and with it the earlier parts of its batch: they come where the last of them was
    /// applied.
    pub(super) fn add(
        &mut self,
        (group, author): (GroupIx, AuthorIx),
        batch: Batch,
        local: bool,
        mut rows: Vec<RowUpdate>,
    ) {
        if let Some(batch) = batch {
            let (last, groups) = self.last_of.entry((batch, author)).or_default();
            if groups.contains(&group) {
                groups.clear();
            } else if !groups.is_empty()
                && let Some((_, earlier)) = self.batches.get_mut(*last)
            {
                rows.splice(0..0, core::mem::take(earlier));
            }
            groups.insert(group);
            *last = self.batches.len();
        }
        self.batches.push((local, rows));
    }

    /// The batches that changed something, each with whether this device wrote it.
    pub(super) fn batches(self) -> impl Iterator<Item = (bool, Vec<RowUpdate>)> {
        self.batches.into_iter().filter(|(_, rows)| !rows.is_empty())
    }
}
