//! Whole batches win or lose ([`Policy::BatchWins`](crate::Policy::BatchWins)): the core's own answer to a conflict.
//!
//! **In dispute** is the smallest set of batches such that, on rows where whole batches win,
//!
//! - whoever wrote a head of the row that is asked about is in it;
//! - of a row that one of them wrote, every version is theirs that is not in the past of all their versions of it: what
//!   they did not know, and what builds on them;
//! - so are the versions that one of theirs took the place of, if these said different things: if it loses, they stand
//!   against each other again.
//!
//! Of the batches in dispute the **last wins**, by stamp, together with all in dispute that it builds on; then the last
//! of those that are left with which every row still says one thing, and so on. Each row gets what the last version
//! says that does not lose.
//!
//! ```text
//!   row x:   u ──► a1 ──► a2        a2 is overwritten by nobody, b stands against both
//!            └───► b                in dispute: a1, a2, b, and whatever these batches wrote elsewhere
//!   row y:   v ──► a1 ──► c         c builds on a1: if b wins, a1, a2 and c lose, and y is v again
//! ```
//!
//! So what is left is what would be there if the losers had never been, up to what they wrote under other policies: a
//! total that every batch conserves is conserved. It is what everybody finds who knows the same, whatever came first.
//!
//! Where more than [`MAX_DISPUTED_VERSIONS`](limits::MAX_DISPUTED_VERSIONS) versions would have to be read, or an
//! operation from when a row still merged is in dispute, only heads are looked at (`heads`): earlier batches of the
//! losing side then keep the rows that nobody else wrote.

mod dispute;
mod heads;
mod history;
mod verdict;

use alloc::vec::Vec;

use self::dispute::Dispute;
use self::history::{RowPlace, Says, Unable};
use self::verdict::Verdict;
use super::answer::Parts;
use super::conflict::Conflict;
use crate::batch::{self, Part};
use crate::dice::Dice;
use crate::id::CollectionId;
use crate::limits;
use crate::log::record::Content;
use crate::replica::Stop;
use crate::replica::plan::Plan;
use crate::replica::rows::ReadRow;
use crate::store::key::GroupIx;
use crate::time::Wall;

/// Bytes of records that one generation of an answer gets, at most: the rest is for its header.
const MOST_BYTES: usize = limits::MAX_GENERATION - limits::MAX_GENERATION / 16;
/// Bytes of a record beside its key, its parents and its value, at most.
const RECORD_BYTES: usize = 64;
/// Bytes of a parent, at most.
const PARENT_BYTES: usize = 40;

/// Plans the answer of the core to a conflict that is its own to decide.
///
/// Its values were written by others, in several generations: together they may be more than one generation can
/// hold, or lie in more syncgroups than one batch may touch. Then the answer is written as several batches, in one
/// commit. Elsewhere readers may see them come one by one, as they see rows that are not resolved yet.
pub(super) fn answer(
    plan: &mut Plan<'_>,
    wall: Wall,
    dice: &mut Dice,
    conflict: &Conflict,
) -> Result<(), Stop> {
    let decided = match start(plan, conflict).map(|start| decide(plan, &start)) {
        Some(Ok(decided)) => decided,
        Some(Err(Unable::Fault(fault))) => return Err(fault.into()),
        None | Some(Err(Unable::TooMuch | Unable::Operation)) => heads::decide(plan, conflict)?,
    };
    for group in decided.keys() {
        if let Some(record) = plan.record(*group) {
            batch::writable(plan.replica, &record.id)?;
        }
    }
    write(plan, wall, dice, decided)
}

/// A row that the conflict is about.
fn start(plan: &Plan<'_>, conflict: &Conflict) -> Option<RowPlace> {
    let row = &conflict.open().next()?.row;
    Some((plan.replica.group(&row.syncgroup)?.ix, CollectionId::of(&row.collection), row.key.clone()))
}

/// What becomes of all rows that are in dispute with the heads of a row.
fn decide(plan: &Plan<'_>, start: &RowPlace) -> Result<Parts, Unable> {
    let dispute = Dispute::about(plan, start, limits::MAX_DISPUTED_VERSIONS)?;
    let verdict = Verdict::on(&dispute);
    let mut parts = Parts::new();
    for (place, row) in dispute.rows.iter().filter(|(_, row)| !row.disputed.is_empty()) {
        let last = verdict.last(row);
        let says = last.and_then(|last| row.nodes.get(&last)).map_or(Says::Nothing, |node| node.says);
        if says == Says::Operation {
            return Err(Unable::Operation);
        }
        let mut heads = row.heads.iter().filter_map(|head| row.nodes.get(head));
        if heads.all(|head| head.says.agrees(says)) {
            continue;
        }
        let content = match last {
            Some(last) => dispute.history.content(place, last)?,
            None => None,
        };
        let picked = last.is_some_and(|last| row.heads.contains(&last));
        let (group, collection, key) = place.clone();
        let content = (content.unwrap_or(Content::Delete), picked);
        parts.entry(group).or_default().insert((collection, key), content);
    }
    Ok(parts)
}

fn write(plan: &mut Plan<'_>, wall: Wall, dice: &mut Dice, decided: Parts) -> Result<(), Stop> {
    let mut piece = Piece::default();
    for (group, rows) in decided {
        for ((collection, key), (content, pick)) in rows {
            let row = ReadRow::get(plan, group, &collection, &key)?;
            let value = if let Content::Put(value) = &content { value.len() } else { 0 };
            let parents = row.state.heads.len().min(limits::MAX_PARENTS);
            let bytes = RECORD_BYTES + key.len() + PARENT_BYTES * parents + value;
            if !piece.has_room(group, bytes) {
                let full = core::mem::take(&mut piece);
                batch::write_parts(plan, wall, dice.bytes(), full.parts)?;
            }
            if let Some(part) = piece.part(group, bytes) {
                part.change(plan, row, (collection, key), content, pick);
            }
        }
    }
    batch::write_parts(plan, wall, dice.bytes(), piece.parts).map(drop)
}

/// As much of an answer as one batch can hold.
#[derive(Default)]
struct Piece {
    parts: Vec<Part>,
    /// The bytes of the last part.
    bytes: usize,
}

impl Piece {
    fn has_room(&self, group: GroupIx, bytes: usize) -> bool {
        match self.parts.last() {
            Some(last) if last.group == group => self.bytes + bytes <= MOST_BYTES,
            _ => self.parts.len() < limits::MAX_BATCH_PARTS,
        }
    }

    /// The part of a syncgroup, where another record comes in.
    fn part(&mut self, group: GroupIx, bytes: usize) -> Option<&mut Part> {
        if self.parts.last().is_none_or(|last| last.group != group) {
            self.parts.push(Part::new(group, 1));
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.parts.last_mut()
    }
}
