//! Taking in the answer to a conflict (S-17): it is one batch, whose parents are the heads that were shown.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::Policy;
use super::conflict::{Answer, Choice, Conflict, ConflictedRow, NoAnswer, Resolution};
use crate::action::Written;
use crate::batch::{self, Part};
use crate::event::RowRef;
use crate::id::{CollectionId, Version};
use crate::log::record::Content;
use crate::object::HeadContent;
use crate::read::{self, Collection, history_among};
use crate::replica::Stop;
use crate::replica::authors::Authors;
use crate::replica::load::load_authors;
use crate::replica::plan::Plan;
use crate::replica::rows::ReadRow;
use crate::store::key::{self, GroupIx};
use crate::time::Wall;

/// The rows that an answer changes, by syncgroup, in order.
type Parts = BTreeMap<GroupIx, BTreeMap<(CollectionId, Bytes), (Content, bool)>>;

/// Plans an answer. `id` names its batch where it touches several syncgroups.
pub(crate) fn resolve(
    plan: &mut Plan<'_>,
    wall: Wall,
    id: [u8; 16],
    resolution: Resolution,
) -> Result<Vec<Written>, Stop> {
    let Some(first) = resolution.answers.first() else { return Err(NoAnswer::Empty.into()) };
    let conflict = conflict_of(plan, &first.row)?;
    check(&conflict, &resolution)?;
    let mut parts = Parts::new();
    for Answer { row, choice, .. } in resolution.answers {
        let group = batch::writable(plan.replica, &row.syncgroup)?;
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

fn conflict_of(plan: &Plan<'_>, row: &RowRef) -> Result<Conflict, Stop> {
    let group = batch::writable(plan.replica, &row.syncgroup)?;
    let id = batch::collection(group, row)?;
    let collections = read::collections(plan.view())?;
    let collection = collections.iter().find(|known| known.index == group.ix && known.id == id);
    match collection {
        Some(collection) => Ok(read::conflict(plan.view(), collection, &row.key)?),
        None => Err(crate::action::Refusal::NoCollection(row.collection.clone()).into()),
    }
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

/// The answer of [`Policy::BatchWins`]: the last batch wins with all its rows, then the last of those that are in
/// no conflict with it, and so on. Rows that only losing batches wrote go back to what they were before.
pub(crate) fn batch_wins(plan: &Plan<'_>, conflict: &Conflict) -> Result<Resolution, Stop> {
    // Of each batch those that it is in conflict with. All its parts have one stamp, which its author gives once.
    let name = |head: &super::conflict::ConflictHead| (head.stamp, head.version.author);
    let mut against: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in conflict.open() {
        for head in &row.heads {
            let others = row.heads.iter().filter(|other| other.value != head.value).map(name);
            against.entry(name(head)).or_default().extend(others);
        }
    }
    let mut winners = Vec::new();
    for (batch, others) in against.iter().rev() {
        if !others.iter().any(|other| winners.contains(other)) {
            winners.push(*batch);
        }
    }
    let (collections, authors) = (read::collections(plan.view())?, load_authors(plan.view())?);
    let mut resolution = Resolution::new();
    for row in conflict.rows.iter().filter(|row| row.policy == Policy::BatchWins) {
        let winner = row.heads.iter().find(|head| winners.contains(&name(head)));
        let loses = row.heads.iter().any(|head| against.contains_key(&name(head)));
        let choice = match winner {
            Some(head) if row.in_conflict => Choice::Pick(head.version),
            None if loses => before(plan, row, &collections, &authors)?,
            _ => continue,
        };
        resolution = resolution.answer(row, choice);
    }
    Ok(resolution)
}

/// What a row was before its heads.
fn before(
    plan: &Plan<'_>,
    row: &ConflictedRow,
    collections: &[Collection],
    authors: &Authors,
) -> Result<Choice, Stop> {
    let group = batch::writable(plan.replica, &row.row.syncgroup)?;
    let id = batch::collection(group, &row.row)?;
    let Some(collection) = collections.iter().find(|known| known.index == group.ix && known.id == id) else {
        return Ok(Choice::Leave);
    };
    let is_head = |version: &Version| row.heads.iter().any(|head| head.version == *version);
    let limit = 2 * row.heads.len() + 1;
    let entries = history_among(plan.view(), collection, &row.row.key, authors, limit)?;
    Ok(match entries.into_iter().find(|entry| !is_head(&entry.version)).map(|entry| entry.edited) {
        Some(read::Edited::Put(value)) => Choice::Put(value),
        Some(read::Edited::Operated(_)) => Choice::Leave,
        Some(read::Edited::Deleted) | None => Choice::Delete,
    })
}
