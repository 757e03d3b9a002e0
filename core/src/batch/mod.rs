//! Local writes: a batch becomes one generation in every syncgroup that it touches (S-4, S-5).

pub(crate) mod edited;
mod precondition;

use alloc::vec::Vec;

use bytes::Bytes;

use self::edited::EditedRow;
use crate::action::{Refusal, Written};
use crate::event::{Edit, LocalWrite, RowRef};
use crate::id::{CollectionId, SyncgroupId, Version};
use crate::limits;
use crate::log::generation::BatchPart;
use crate::log::record::{Content, Record, RowRecord};
use crate::replica::plan::Plan;
use crate::replica::rows::ReadRow;
use crate::replica::{Replica, Stop};
use crate::resolve::merge;
use crate::resolve::{Operation, Policy};
use crate::store::key::GroupIx;
use crate::syncgroup::Rights;
use crate::syncgroup::command::{active, require};
use crate::syncgroup::group::Group;
use crate::time::Wall;

/// What a batch comes to in one syncgroup: records, and the row that each of them changes, as it was read.
pub(crate) struct Part {
    pub(crate) group: GroupIx,
    pub(crate) records: Vec<Record>,
    pub(crate) rows: Vec<ReadRow>,
}

impl Part {
    pub(crate) fn new(group: GroupIx, rows: usize) -> Self {
        Self { group, records: Vec::with_capacity(rows), rows: Vec::with_capacity(rows) }
    }

    /// Adds a change of a row that knows all its heads.
    pub(crate) fn change(
        &mut self,
        plan: &Plan<'_>,
        row: ReadRow,
        (collection, key): (CollectionId, Bytes),
        content: Content,
        pick: bool,
    ) {
        let heads = row.state.heads.iter();
        let mut parents: Vec<Version> = heads.map(|head| head.version(|ix| plan.author(ix))).collect();
        // More heads than a record can name: the rest stay, and the next write takes them.
        parents.truncate(limits::MAX_PARENTS);
        self.records.push(Record::Row(RowRecord { collection, key, parents, repeats: None, pick, content }));
        self.rows.push(row);
    }
}

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
    let mut edits = edits(plan, batch)?.into_iter().peekable();
    let mut parts: Vec<Part> = Vec::new();
    while let Some(Located { place, edit }) = edits.next() {
        let (group, collection, key) = place;
        let row = ReadRow::get(plan, group, &collection, &key)?;
        let mut content = edited(plan, &row, None, edit)?;
        while let Some(next) = edits.next_if(|next| next.is_at(group, &collection, &key)) {
            content = edited(plan, &row, Some(&content), next.edit)?;
        }
        // Deleting what is not there writes nothing; where versions disagree whether it is, a deletion decides.
        if content == Content::Delete
            && !row.state.is_split()
            && plan.shown(group, &collection, &key, &row.state).is_none()
        {
            continue;
        }
        if parts.last().is_none_or(|part| part.group != group) {
            parts.push(Part::new(group, 1));
        }
        if let Some(part) = parts.last_mut() {
            part.change(plan, row, (collection, key), content, false);
        }
    }
    write_parts(plan, wall, id, parts)
}

/// A change of a row, and where that is.
struct Located {
    place: (GroupIx, CollectionId, Bytes),
    edit: Edit,
}

impl Located {
    fn is_at(&self, group: GroupIx, collection: &CollectionId, key: &Bytes) -> bool {
        (self.place.0, &self.place.1, &self.place.2) == (group, collection, key)
    }
}

/// Checks every change, and orders them by rows: those of one row stay in the order of the batch.
fn edits(plan: &Plan<'_>, batch: LocalWrite) -> Result<Vec<Located>, Refusal> {
    let mut edits = Vec::with_capacity(batch.changes.len());
    for change in batch.changes {
        let group = writable(plan.replica, &change.row.syncgroup)?;
        let collection = collection(group, &change.row)?;
        let key = change.row.key;
        check_key(&key)?;
        let policy = plan.policy(group.ix, &collection, &key);
        match &change.edit {
            Edit::Put(value) => check_value(policy, value)?,
            Edit::Delete => {}
            Edit::Operate(operation) => check_operation(policy, operation)?,
        }
        edits.push(Located { place: (group.ix, collection, key), edit: change.edit });
    }
    edits.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(edits)
}

/// What a row comes to by one more change. Of several puts and deletes the last counts; operations add up, and apply
/// to a put or a delete before them.
fn edited(plan: &Plan<'_>, row: &ReadRow, before: Option<&Content>, edit: Edit) -> Result<Content, Refusal> {
    match edit {
        Edit::Put(value) => Ok(Content::Put(value)),
        Edit::Delete => Ok(Content::Delete),
        Edit::Operate(operation) => {
            let bases = row.state.bases(|ix| plan.author(ix));
            let (functions, author) = (&plan.replica.merges.0, plan.replica.author());
            let row = EditedRow { state: &row.state, bases: &bases, functions, author };
            row.operate(before, operation)
        }
    }
}

/// Writes what a batch comes to, all of it at one stamp: by that its parts are known to belong together.
pub(crate) fn write_parts(
    plan: &mut Plan<'_>,
    wall: Wall,
    id: [u8; 16],
    parts: Vec<Part>,
) -> Result<Vec<Written>, Stop> {
    if parts.len() > limits::MAX_BATCH_PARTS {
        return Err(Refusal::TooManyParts { count: parts.len() }.into());
    }
    let syncgroups: Vec<SyncgroupId> =
        parts.iter().filter_map(|part| plan.record(part.group).map(|record| record.id)).collect();
    for part in &parts {
        plan.join_frontier(part.group, wall)?;
    }
    let stamp = plan.next_stamp(wall);
    // All are checked before the first is applied: a batch is written as a whole, or not at all.
    let mut encoded = Vec::with_capacity(parts.len());
    for (Part { group, records, .. }, syncgroup) in parts.iter().zip(&syncgroups) {
        let others = syncgroups.iter().filter(|other| *other != syncgroup);
        let others: Vec<_> = others.map(|other| BatchPart::tag(&id, other)).collect();
        let part = (!others.is_empty()).then_some(BatchPart { id, others });
        let part = plan.encode(*group, stamp, records, part)?;
        if part.bytes.len() > limits::MAX_GENERATION {
            return Err(Refusal::BatchTooLarge { size: part.bytes.len() }.into());
        }
        plan.check_own(*group, &part, records)?;
        encoded.push(part);
    }
    let mut written = Vec::with_capacity(parts.len());
    for ((Part { group, records, rows }, syncgroup), encoded) in
        parts.into_iter().zip(syncgroups).zip(encoded)
    {
        let version = plan.append_own(group, &encoded, &records, rows)?;
        written.push(Written { syncgroup, version, stamp: encoded.header.stamp });
    }
    Ok(written)
}

pub(crate) fn check_key(key: &Bytes) -> Result<(), Refusal> {
    if key.len() > limits::MAX_KEY { Err(Refusal::KeyTooLong { size: key.len() }) } else { Ok(()) }
}

/// Whether a value can be put into a row of this policy.
pub(crate) fn check_value(policy: &Policy, value: &Bytes) -> Result<(), Refusal> {
    match policy {
        _ if value.len() > limits::MAX_VALUE => Err(Refusal::ValueTooLong { size: value.len() }),
        Policy::Merge(merge) if !merge::is_base(merge, value) => Err(Refusal::NotMergeable(merge.clone())),
        _ => Ok(()),
    }
}

/// Whether an operation can change a row of this policy.
pub(crate) fn check_operation(policy: &Policy, operation: &Operation) -> Result<(), Refusal> {
    if let Operation::SetField { path, .. } | Operation::RemoveField { path } = operation
        && !merge::fields::is_path(path)
    {
        let limit = limits::MAX_PATH;
        return Err(match path.is_empty() {
            true => Refusal::NoField,
            false => Refusal::Limit { what: "names in the path of a field", limit },
        });
    }
    let merge = operation.merge();
    match policy {
        Policy::Merge(named) if *named == merge => Ok(()),
        other => Err(Refusal::OtherPolicy { merge, policy: other.clone() }),
    }
}

pub(crate) fn writable<'r>(replica: &'r Replica, id: &SyncgroupId) -> Result<&'r Group, Refusal> {
    let group = active(replica, id)?;
    require(replica, group, Rights::Write, "write")?;
    Ok(group)
}

pub(crate) fn collection(group: &Group, row: &RowRef) -> Result<CollectionId, Refusal> {
    let id = CollectionId::of(&row.collection);
    match group.metadata.collections().get(&id) {
        Some(name) if *name == row.collection => Ok(id),
        _ => Err(Refusal::NoCollection(row.collection.clone())),
    }
}
