//! Local writes: a batch becomes one generation in every syncgroup that it touches (S-4, S-5).

mod precondition;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::action::{Refusal, Written};
use crate::event::{LocalWrite, RowRef};
use crate::id::{CollectionId, SyncgroupId, Version};
use crate::limits;
use crate::log::generation::BatchPart;
use crate::log::record::{Record, RowRecord};
use crate::replica::plan::Plan;
use crate::replica::{Replica, Stop};
use crate::store::key::{self, GroupIx};
use crate::syncgroup::Rights;
use crate::syncgroup::group::{Group, Stage};
use crate::time::Wall;

/// A batch's net effect: for each syncgroup the rows that change, in order.
type Parts = BTreeMap<GroupIx, BTreeMap<(CollectionId, Bytes), Option<Bytes>>>;

/// Plans a batch. `id` names it where it touches several syncgroups.
pub(crate) fn write(
    plan: &mut Plan<'_>,
    wall: Wall,
    id: [u8; 16],
    batch: LocalWrite,
) -> Result<Vec<Written>, Stop> {
    for (index, condition) in batch.preconditions.iter().enumerate() {
        if !precondition::holds(plan, condition)? {
            return Err(Refusal::Precondition { index }.into());
        }
    }
    let mut records = Vec::new();
    for (ix, rows) in net_effect(plan, batch)? {
        let mut part = Vec::with_capacity(rows.len());
        for ((collection, key), value) in rows {
            let row = plan.row(&key::row(ix, &collection, &key))?;
            if value.is_none() && row.value().is_none() {
                continue; // Deleting what is not there writes nothing.
            }
            let version = |author, generation| Version { author: plan.author(author), generation };
            let mut parents: Vec<_> =
                row.heads.iter().map(|head| version(head.author, head.generation)).collect();
            // More heads than a record can name: the rest stay, and the next write takes them.
            parents.truncate(limits::MAX_PARENTS);
            part.push(Record::Row(RowRecord { collection, key, parents, repeats: None, pick: false, value }));
        }
        if !part.is_empty() {
            records.push((ix, part));
        }
    }
    write_parts(plan, wall, id, &records)
}

fn write_parts(
    plan: &mut Plan<'_>,
    wall: Wall,
    id: [u8; 16],
    parts: &[(GroupIx, Vec<Record>)],
) -> Result<Vec<Written>, Stop> {
    if parts.len() > limits::MAX_BATCH_PARTS {
        return Err(Refusal::TooManyParts { count: parts.len() }.into());
    }
    let syncgroups: Vec<SyncgroupId> =
        parts.iter().filter_map(|(ix, _)| plan.record(*ix).map(|record| record.id)).collect();
    let stamp = plan.next_stamp(wall);
    let mut written = Vec::with_capacity(parts.len());
    for ((ix, records), &syncgroup) in parts.iter().zip(&syncgroups) {
        let others = syncgroups.iter().filter(|other| **other != syncgroup);
        let others: Vec<_> = others.map(|other| BatchPart::tag(&id, other)).collect();
        let part = (!others.is_empty()).then_some(BatchPart { id, others });
        let encoded = plan.encode(*ix, stamp, records, part)?;
        if encoded.bytes.len() > limits::MAX_GENERATION {
            return Err(Refusal::BatchTooLarge { size: encoded.bytes.len() }.into());
        }
        let version = plan.append_own(*ix, &encoded, records)?;
        written.push(Written { syncgroup, version, stamp: encoded.header.stamp });
    }
    Ok(written)
}

/// Checks every change, and leaves the last one of each row.
fn net_effect(plan: &Plan<'_>, batch: LocalWrite) -> Result<Parts, Refusal> {
    let mut parts = Parts::new();
    for change in batch.changes {
        let group = writable(plan.replica, &change.row.syncgroup)?;
        let collection = collection(group, &change.row)?;
        if change.row.key.len() > limits::MAX_KEY {
            return Err(Refusal::KeyTooLong { size: change.row.key.len() });
        }
        if let Some(value) = &change.value
            && value.len() > limits::MAX_VALUE
        {
            return Err(Refusal::ValueTooLong { size: value.len() });
        }
        parts.entry(group.ix).or_default().insert((collection, change.row.key), change.value);
    }
    Ok(parts)
}

fn writable<'r>(replica: &'r Replica, id: &SyncgroupId) -> Result<&'r Group, Refusal> {
    let group = replica.group(id).ok_or(Refusal::NoSyncgroup(*id))?;
    match group.record.stage {
        Stage::Active => {}
        Stage::Joining(_) | Stage::Pending(_) => return Err(Refusal::Pending),
        _ => return Err(Refusal::NotMember),
    }
    match group.metadata.rights(&replica.keys.device) {
        Some(rights) if rights >= Rights::Write => Ok(group),
        Some(_) => Err(Refusal::Forbidden("write")),
        None => Err(Refusal::NotMember),
    }
}

fn collection(group: &Group, row: &RowRef) -> Result<CollectionId, Refusal> {
    let id = CollectionId::of(&row.collection);
    match group.metadata.collections().get(&id) {
        Some(name) if *name == row.collection => Ok(id),
        _ => Err(Refusal::NoCollection(row.collection.clone())),
    }
}
