//! Generations, and the parts of batches over several syncgroups, found in the log.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::ControlFlow;

use crate::hash::Tag;
use crate::id::{Generation, SyncgroupId};
use crate::log::generation::{BatchPart, Encoded};
use crate::object::history::Place;
use crate::replica::stored::Stored;
use crate::store::key::{self, GroupIx};
use crate::store::{Fault, Scan, Table, View};

/// A generation, if it is held.
pub(crate) fn generation(
    view: &dyn View,
    group: GroupIx,
    (author, generation): Place,
) -> Result<Option<Encoded>, Fault> {
    match view.get(Table::Log, &key::log(group, author, generation))? {
        None => Ok(None),
        Some(bytes) => Stored::from_bytes(bytes, generation)?.encoded().map(Some),
    }
}

/// The other parts of a batch that are held, in these syncgroups. `encoded` is the part by `author` in `group`.
pub(crate) fn other_parts<'g>(
    view: &dyn View,
    groups: impl Iterator<Item = (GroupIx, &'g SyncgroupId)>,
    (group, author): (GroupIx, u32),
    encoded: &Encoded,
) -> Result<Vec<(GroupIx, Place)>, Fault> {
    let Some(part) = &encoded.header.batch else { return Ok(Vec::new()) };
    let others = groups.filter(|(ix, _)| *ix != group);
    let others: BTreeMap<Tag, GroupIx> =
        others.map(|(ix, syncgroup)| (BatchPart::tag(&part.id, syncgroup), ix)).collect();
    let mut found = Vec::new();
    for other in part.others.iter().filter_map(|tag| others.get(tag)) {
        // All parts of a batch have the same stamp, and an author's stamps grow.
        let (mut low, mut high) = (1, last(view, *other, author)?);
        while low <= high {
            let middle = low + (high - low) / 2;
            let Some(there) = generation(view, *other, (author, middle))? else { break };
            match there.header.stamp.cmp(&encoded.header.stamp) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle - 1,
                Ordering::Equal => {
                    if there.header.batch.is_some_and(|there| there.id == part.id) {
                        found.push((*other, (author, middle)));
                    }
                    break;
                }
            }
        }
    }
    Ok(found)
}

/// The last generation of an author that is held.
fn last(view: &dyn View, group: GroupIx, author: u32) -> Result<Generation, Fault> {
    let (from, to) = (key::log(group, author, 0), key::log(group, author, Generation::MAX));
    let mut last = 0;
    let scan = Scan::range(Table::Log, &from, Some(&to)).reversed().limit(1);
    view.scan(&scan, &mut |key, _| {
        last = key.last_chunk().map_or(0, |generation| Generation::from_be_bytes(*generation));
        ControlFlow::Break(())
    })?;
    Ok(last)
}
