//! What is left of a conflict where only the heads of its rows are looked at.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::batch;
use crate::id::Version;
use crate::read::{self, Collection, history_among};
use crate::replica::Stop;
use crate::replica::authors::Authors;
use crate::replica::load::load_authors;
use crate::replica::plan::Plan;
use crate::resolve::Policy;
use crate::resolve::answer::{Parts, parts};
use crate::resolve::conflict::{Choice, Conflict, ConflictHead, ConflictedRow, Resolution};

/// The last batch wins with those of its rows whose heads it wrote, then the last of those that are in no conflict
/// with it, and so on. Rows that only losing batches wrote go back to what they were before, as far as they are among those
/// that a conflict can have.
pub(super) fn decide(plan: &Plan<'_>, conflict: &Conflict) -> Result<Parts, Stop> {
    // Of each batch what it says of which rows. All its parts have one stamp, which its author gives once.
    let name = |head: &ConflictHead| (head.stamp, head.version.author);
    let mut batches: BTreeMap<_, Vec<(usize, &Option<Bytes>)>> = BTreeMap::new();
    for (at, row) in conflict.open().enumerate() {
        for head in &row.heads {
            batches.entry(name(head)).or_default().push((at, &head.value));
        }
    }
    // What those say that win: there may be as many heads as somebody likes, and each is looked at once.
    let (mut winners, mut won) = (BTreeSet::new(), BTreeMap::new());
    for (batch, rows) in batches.iter().rev() {
        if rows.iter().all(|(at, value)| won.get(at).is_none_or(|won| won == value)) {
            winners.insert(*batch);
            won.extend(rows.iter().copied());
        }
    }
    let (collections, authors) = (read::collections(plan.view())?, load_authors(plan.view())?);
    let mut resolution = Resolution::new();
    for row in conflict.rows.iter().filter(|row| row.policy == Policy::BatchWins) {
        let winner = row.heads.iter().find(|head| winners.contains(&name(head)));
        let loses = row.heads.iter().any(|head| batches.contains_key(&name(head)));
        let choice = match winner {
            Some(head) if row.in_conflict => Choice::Pick(head.version),
            None if loses => before(plan, row, &collections, &authors)?,
            _ => continue,
        };
        resolution = resolution.answer(row, choice);
    }
    parts(plan, resolution)
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
    let counts = |entry: &read::Entry| !is_head(&entry.version) && !entry.is_void;
    Ok(match entries.into_iter().find(counts).map(|entry| entry.edited) {
        Some(read::Edited::Put(value)) => Choice::Put(value),
        Some(read::Edited::Operated { .. }) => Choice::Leave,
        Some(read::Edited::Deleted) | None => Choice::Delete,
    })
}
