//! Conflicts as an application sees them, and its answers (S-17).

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::Policy;
use crate::event::RowRef;
use crate::hash::{self, Tag};
use crate::id::{CollectionId, Name, Version};
use crate::time::Hlc;

/// Rows in conflict that belong together: whoever answers one of them must see the others.
///
/// Two rows belong together if one batch wrote a head of each. All that do so, directly or through others, are
/// one conflict; rows of the same batches that are in no conflict come along, for the application to change
/// with the rest if it wants to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The rows, ordered by syncgroup, collection and key.
    pub rows: Vec<ConflictedRow>,
    /// Whether these are all rows that belong together; `false` if there are more than
    /// [`crate::limits::MAX_CONFLICT_ROWS`]. Then these are some of them, found from the row that was asked about, or whose
    /// turn it was, and an answer may be to any of all those rows, as many as that at a time, as long as those that it
    /// names belong together. What it says nothing of stays open, and is raised again.
    pub is_whole: bool,
}

impl Conflict {
    /// The rows that an answer must decide; if the conflict is not whole, those that one may decide.
    pub fn open(&self) -> impl Iterator<Item = &ConflictedRow> {
        self.rows.iter().filter(|row| row.needs_answer())
    }

    /// A row of the conflict.
    pub fn row(&self, row: &RowRef) -> Option<&ConflictedRow> {
        self.rows.iter().find(|known| known.row == *row)
    }

    /// A tag of the rows and their heads: another one as soon as a row comes, goes or has other heads, and the same on
    /// every device that holds the same. So somebody who was shown a conflict can say in a few characters what an
    /// answer is to (S-17). Policies and values are not in it: heads decide what there is to answer.
    pub fn tag(&self) -> Tag {
        let mut bytes = Vec::new();
        for ConflictedRow { row, heads, .. } in &self.rows {
            bytes.extend_from_slice(&row.syncgroup.0);
            bytes.extend_from_slice(&CollectionId::of(&row.collection).0);
            bytes.extend_from_slice(&(row.key.len() as u64).to_le_bytes());
            bytes.extend_from_slice(&row.key);
            let mut versions: Vec<Version> = heads.iter().map(|head| head.version).collect();
            versions.sort();
            bytes.extend_from_slice(&(versions.len() as u64).to_le_bytes());
            for Version { author, generation } in versions {
                bytes.extend_from_slice(&author.device.0);
                bytes.extend_from_slice(&author.incarnation.0.to_le_bytes());
                bytes.extend_from_slice(&generation.to_le_bytes());
            }
        }
        hash::derive(hash::CONFLICT, &[&bytes]).tag()
    }
}

/// A row of a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictedRow {
    /// Which row.
    pub row: RowRef,
    /// The database of its syncgroup on this device.
    pub database: Name,
    /// What its schema says.
    pub policy: Policy,
    /// Whether its heads disagree; otherwise it comes along because a batch of the conflict wrote it.
    pub in_conflict: bool,
    /// Its heads, the one that is shown first.
    pub heads: Vec<ConflictHead>,
    /// The nearest common ancestor of the heads, while it is held (S-15), if there are several: one alone can be in
    /// conflict if it is an operation on values that disagree. No policy of the core depends on it.
    pub ancestor: Option<Ancestor>,
}

impl ConflictedRow {
    /// Whether an answer must decide this row.
    pub fn needs_answer(&self) -> bool {
        self.in_conflict && self.policy.takes_answers()
    }
}

/// A version that stands against others. Its author tells the device that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictHead {
    /// Which version. Heads of several rows with the same version were written by one batch.
    pub version: Version,
    /// When it was written, by its author's clock.
    pub stamp: Hlc,
    /// Its value; `None` if it deleted the row, or is an operation.
    pub value: Option<Bytes>,
    /// Whether it is an operation, from when the row still merged: it has no value of its own.
    pub is_operation: bool,
    /// The batch that wrote it, if that touched several syncgroups: the same in all of them.
    pub batch: Option<[u8; 16]>,
}

/// What heads have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    /// Which version.
    pub version: Version,
    /// Its value; `None` if it deleted the row.
    pub value: Option<Bytes>,
}

/// An application's answer to a conflict: written as one batch, or refused as a whole.
///
/// ```
/// use driftless::{Choice, Conflict, Resolution};
///
/// /// Keeps the longest text of each row.
/// fn longest(conflict: &Conflict) -> Resolution {
///     let mut resolution = Resolution::new();
///     for row in conflict.open() {
///         let longest = row.heads.iter().max_by_key(|head| head.value.as_ref().map(|v| v.len()));
///         let choice = longest.map_or(Choice::Leave, |head| Choice::Pick(head.version));
///         resolution = resolution.answer(row, choice);
///     }
///     resolution
/// }
/// # assert!(longest(&Conflict { rows: vec![], is_whole: true }).answers.is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    /// One for each row that needs it, and for any row that comes along. Of a conflict that is not
    /// [whole](Conflict::is_whole), one for each row that shall be decided now.
    pub answers: Vec<Answer>,
}

impl Resolution {
    /// An answer that decides nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what shall become of a row, as it was shown.
    #[must_use]
    pub fn answer(mut self, row: &ConflictedRow, choice: Choice) -> Self {
        let heads = row.heads.iter().map(|head| head.version).collect();
        self.answers.push(Answer { row: row.row.clone(), heads, choice });
        self
    }
}

/// What shall become of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which row.
    pub row: RowRef,
    /// The heads that were shown, in any order. If the row has others by now, the answer is refused as stale.
    pub heads: Vec<Version>,
    /// What was chosen.
    pub choice: Choice,
}

/// A choice for one row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// The content of this head, be it a value or a deletion.
    Pick(Version),
    /// Another value.
    Put(Bytes),
    /// No row.
    Delete,
    /// The conflict stays open, or the row as it is.
    Leave,
}

/// Why an answer is no answer to its conflict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// Rows have other heads by now: this is how things are. Answer that, or wait until it is raised again, as
    /// whatever is open still is after an answer was refused.
    #[error("the rows have changed meanwhile; look at the conflict again")]
    Stale(Conflict),
    /// Nothing of the conflict waits for an answer: this row has the heads that were shown, and a policy under which
    /// nobody answers, which an admin may have set meanwhile. Write the row like any other.
    #[error("row {0} takes no answer: its policy is {1:?}; write it like any other row")]
    TakesNone(RowRef, Policy),
    /// Nothing of the conflict waits for an answer: the heads of this row, which are those that were shown, agree.
    #[error("row {0} is in no conflict; write it like any other row")]
    NoConflict(RowRef),
    /// It decides nothing.
    #[error("the answer names no row")]
    Empty,
    /// A row that is not a part of the conflict; or one too many, where that has more rows than are told together.
    #[error("row {0} is no part of the conflict; answer it by itself")]
    UnknownRow(RowRef),
    /// A row that is a part of the conflict, and not of the answer; only where the conflict is
    /// [whole](Conflict::is_whole).
    #[error(
        "row {0} is in the same conflict, and the answer says nothing of it; say \"leave\" to leave it open"
    )]
    MissingRow(RowRef),
    /// A row twice.
    #[error("row {0} is answered twice")]
    Twice(RowRef),
    /// The version that was picked is none of the row's heads.
    #[error("version {1} is no head of row {0}")]
    NoSuchHead(RowRef, Version),
}

impl fmt::Display for RowRef {
    /// The collection and the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection, self.key.escape_ascii())
    }
}
