//! Taking in the answer to a conflict (S-17): it is one batch, whose parents are the heads that were shown.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::conflict::{Answer, Choice, Conflict, NoAnswer, Resolution};
use crate::action::{Refusal, Written};
use crate::batch::{self, Part};
use crate::event::RowRef;
use crate::id::{CollectionId, SyncgroupId, Version};
use crate::log::record::Content;
use crate::object::HeadContent;
use crate::read::{self, Gathering, RowPlace};
use crate::replica::plan::Plan;
use crate::replica::rows::ReadRow;
use crate::replica::{Replica, Stop};
use crate::store::key::{self, GroupIx};
use crate::syncgroup::group::Group;
use crate::time::Wall;

/// The rows that an answer changes, by syncgroup, in order: what each becomes, and whether that was picked.
pub(super) type Parts = BTreeMap<GroupIx, BTreeMap<(CollectionId, Bytes), (Content, bool)>>;

/// Plans an answer. `id` names its batch where it touches several syncgroups.
pub(crate) fn resolve(
    plan: &mut Plan<'_>,
    wall: Wall,
    id: [u8; 16],
    resolution: Resolution,
) -> Result<Vec<Written>, Stop> {
    let parts = decided(plan, resolution)?;
    let mut written = Vec::with_capacity(parts.len());
    for (ix, rows) in parts {
        let mut part = Part::new(ix, rows.len());
        for ((collection, key), (content, pick)) in rows {
            let row = ReadRow::get(plan, ix, &collection, &key)?;
            part.change(plan, row, (collection, key), content, pick);
        }
        written.push(part);
    }
    batch::write_parts(plan, wall, id, written)
}

/// What an answer makes of its rows, if it is one to its conflict.
fn decided(plan: &Plan<'_>, resolution: Resolution) -> Result<Parts, Stop> {
    let conflict = conflict_of(plan, &resolution)?;
    check(&conflict, &resolution)?;
    parts(plan, resolution)
}

/// What an answer makes of its rows; it is one to the conflict as it is.
pub(super) fn parts(plan: &Plan<'_>, resolution: Resolution) -> Result<Parts, Stop> {
    let mut parts = Parts::new();
    for Answer { row, choice, .. } in resolution.answers {
        let group = where_to(plan.replica, &row.syncgroup, &choice)?;
        let collection = batch::collection(group, &row)?;
        let content = match choice {
            Choice::Leave => continue,
            Choice::Delete => (Content::Delete, false),
            Choice::Pick(version) => (picked(plan, group.ix, &collection, &row, version)?, true),
            Choice::Put(value) => {
                batch::check_value(plan.policy(group.ix, &collection, &row.key), &value)?;
                (Content::Put(value), false)
            }
        };
        parts.entry(group.ix).or_default().insert((collection, row.key), content);
    }
    Ok(parts)
}

/// The syncgroup of a row. What is left as it is may lie where this device can only read.
fn where_to<'r>(replica: &'r Replica, id: &SyncgroupId, choice: &Choice) -> Result<&'r Group, Refusal> {
    match choice {
        Choice::Leave => replica.group(id).ok_or(Refusal::NoSyncgroup(*id)),
        _ => batch::writable(replica, id),
    }
}

/// The conflict to which it is an answer. Of one that has more rows than are told together only those that are answered:
/// which of them were told depends on which row was asked about.
fn conflict_of(plan: &Plan<'_>, resolution: &Resolution) -> Result<Conflict, Stop> {
    let Some(Answer { row, choice, .. }) = resolution.answers.first() else {
        return Err(NoAnswer::Empty.into());
    };
    let group = where_to(plan.replica, &row.syncgroup, choice)?;
    let id = batch::collection(group, row)?;
    let collections = read::collections(plan.view())?;
    let collection = collections.iter().find(|known| known.index == group.ix && known.id == id);
    let Some(collection) = collection else {
        return Err(Refusal::NoCollection(row.collection.clone()).into());
    };
    let gathering = Gathering::new(plan.view(), &collections)?;
    let conflict = gathering.gather(collection, &row.key)?;
    if conflict.is_whole {
        return Ok(conflict);
    }
    let place = |Answer { row, .. }: &Answer| -> Option<RowPlace> {
        let group = plan.replica.group(&row.syncgroup)?;
        Some((group.ix, CollectionId::of(&row.collection), row.key.clone()))
    };
    let answered: BTreeSet<RowPlace> = resolution.answers.iter().filter_map(place).collect();
    Ok(gathering.gather_among(collection, &row.key, |place| answered.contains(place))?)
}

/// Whether the answer is one to the conflict as it is.
fn check(conflict: &Conflict, resolution: &Resolution) -> Result<(), NoAnswer> {
    let answers = &resolution.answers;
    let mut seen = BTreeSet::new();
    for answer in answers {
        if !seen.insert(&answer.row) {
            return Err(NoAnswer::Twice(answer.row.clone()));
        }
    }
    // A row that has moved on may belong elsewhere by now: that comes first.
    for answer in answers {
        if let Some(row) = conflict.row(&answer.row) {
            let mut now: Vec<Version> = row.heads.iter().map(|head| head.version).collect();
            let mut shown = answer.heads.clone();
            now.sort();
            shown.sort();
            if now != shown {
                return Err(NoAnswer::Stale(conflict.clone()));
            }
        }
    }
    if conflict.open().next().is_none()
        && let Some(row) = answers.first().and_then(|answer| conflict.row(&answer.row))
    {
        let name = row.row.clone();
        return Err(match &row.policy {
            policy if policy.takes_answers() => NoAnswer::NoConflict(name),
            policy => NoAnswer::TakesNone(name, policy.clone()),
        });
    }
    for answer in answers {
        let Some(row) = conflict.row(&answer.row) else {
            return Err(NoAnswer::UnknownRow(answer.row.clone()));
        };
        if let Choice::Pick(version) = &answer.choice
            && !row.heads.iter().any(|head| head.version == *version)
        {
            return Err(NoAnswer::NoSuchHead(answer.row.clone(), *version));
        }
    }
    match conflict.open().find(|row| !seen.contains(&row.row)) {
        Some(row) => Err(NoAnswer::MissingRow(row.row.clone())),
        None => Ok(()),
    }
}

/// The content of a head.
fn picked(
    plan: &Plan<'_>,
    group: GroupIx,
    collection: &CollectionId,
    row: &RowRef,
    version: Version,
) -> Result<Content, Stop> {
    let state = plan.row(&key::row(group, collection, &row.key))?;
    let head = state.heads.iter().find(|head| head.version(|ix| plan.author(ix)) == version);
    match head.map(|head| &head.content) {
        Some(HeadContent::Put(value)) => Ok(Content::Put(value.clone())),
        Some(HeadContent::Delete) => Ok(Content::Delete),
        // An operation is no content by itself, and a policy under which its row is in conflict does not know
        // it: what it was built on is what the row shows there.
        Some(HeadContent::Operate) => {
            let last = state.bases(|ix| plan.author(ix)).into_iter().next();
            Ok(last.and_then(|base| base.value).map_or(Content::Delete, Content::Put))
        }
        None => Err(NoAnswer::NoSuchHead(row.clone(), version).into()),
    }
}
