//! What waits: rows for their turn, syncgroups for a look.

use alloc::collections::BTreeSet;

use bytes::Bytes;

use crate::hash::Hash;
use crate::id::Name;
use crate::time::Mono;

/// A row whose conflict is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) heads: Hash,
    /// When it is this device's turn.
    pub(super) due: Mono,
    /// How often resolutions of this device have met others, or were refused.
    pub(super) rounds: u32,
    /// The question in which it was raised with others, while an answer to that is waited for.
    pub(super) question: Option<u64>,
    /// Whole batches win it, by the schema when it was looked at.
    pub(super) wins: bool,
    /// The core answers, unless the row is tied to others that it does not decide.
    pub(super) is_own: bool,
    /// An answer has left it open: nothing is waited for any more.
    pub(super) is_left: bool,
    /// Its application has said what shall become of it, and that is being written.
    pub(super) is_answered: bool,
    pub(super) database: Name,
}

impl Waiting {
    /// Whether it is this device that has it come together. What the core answers it writes as soon as it is raised.
    pub(super) fn is_resolved_here(&self) -> bool {
        self.is_answered || self.is_own && self.question.is_some() && !self.is_left
    }

    /// Whether there is room for it among what is raised.
    pub(super) fn has_room(&self, full: &BTreeSet<Name>) -> bool {
        self.is_own || !full.contains(&self.database)
    }
}

/// A row that has come together: what comes apart again soon is the same conflict going on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met {
    /// How often resolutions will have met, should it come apart.
    pub(super) rounds: u32,
    pub(super) until: Mono,
}

/// A look that is due.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) due: Mono,
    /// Also at those that were left open.
    pub(super) deferred: bool,
    /// At this row and those after it; at all, if `None`.
    pub(super) from: Option<Bytes>,
}

impl Look {
    pub(super) fn at_all(due: Mono, deferred: bool) -> Self {
        Self { due, deferred, from: None }
    }

    /// One look instead of two.
    pub(super) fn join(&mut self, other: Self) {
        self.due = self.due.min(other.due);
        self.deferred |= other.deferred;
        self.from = self.from.take().min(other.from);
    }
}

/// What has found no room in a syncgroup.
#[derive(Debug, Clone)]
pub(super) struct More {
    pub(super) database: Name,
    pub(super) deferred: bool,
    /// The first row of those.
    pub(super) from: Bytes,
    /// Some are the core's to answer.
    pub(super) own: bool,
    /// Some are others' to answer.
    pub(super) others: bool,
}
