//! Whole batches win or lose ([`Policy::BatchWins`](crate::Policy::BatchWins)): the core's own answer to a conflict.

mod heads;

use alloc::vec::Vec;

use super::answer::Parts;
use super::conflict::Conflict;
use crate::batch::{self, Part};
use crate::dice::Dice;
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
    let decided = heads::decide(plan, conflict)?;
    write(plan, wall, dice, decided)
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
