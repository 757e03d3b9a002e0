//! Conflict policies: what becomes of versions of a row that did not know of each other (S-13, S-16).
//!
//! A collection has a **schema**: rules that give a policy to the rows whose keys start with a prefix. Of
//! several that match, the longest prefix counts; where none does, [`Policy::LastWins`]. Each rule is a fact of
//! the syncgroup's metadata by itself, so that two admins who add rules while apart both have their way, and
//! only of two for the same prefix the later one counts.
//!
//! | policy | what readers see of concurrent versions | who ends it |
//! |---|---|---|
//! | [`LastWins`](Policy::LastWins) | the last by `(stamp, version)` | the next write |
//! | [`Defer`](Policy::Defer) | the same, and all siblings | a resolver that attaches, or the next write |
//! | [`AppResolves`](Policy::AppResolves) | the same, until it is resolved | the application's resolver |
//! | [`BatchWins`](Policy::BatchWins) | the same, until it is resolved | the core: the last batch wins as a whole |
//! | [`Merge`](Policy::Merge) | what merging comes to, derived on every device | nobody need |

pub(crate) mod answer;
pub(crate) mod conflict;
pub(crate) mod merge;
pub(crate) mod raise;
pub(crate) mod schema;
mod whole;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::merge::fields::Fields;
pub use self::merge::{Elements, Merge, MergeFunction, Operation, counter};

/// What becomes of concurrent versions of a row (S-16).
///
/// The names of variants are never reused: their order is the encoding.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Policy {
    /// The version with the greatest `(stamp, version)` is shown (S-13).
    ///
    /// Each row is decided by itself, which may tear batches that did not know of each other: the one that loses a
    /// row which both wrote keeps the rows that only it wrote. And two batches on two devices that read the same
    /// and write different rows are both kept (write skew): no row has two versions, so there is nothing to decide.
    #[default]
    LastWins,
    /// The conflict is left open: readers see the last version and can ask for all of them. It is handed to a
    /// resolver whenever one attaches.
    Defer,
    /// The conflict is raised to the application's resolver, whose answer is written as a batch (S-17).
    AppResolves,
    /// Batches win or lose as a whole. The core itself answers the conflict like a resolver: of the batches
    /// that are in dispute the last one wins, together with what it builds on; then the last that goes with it, and so
    /// on. What was built on a loser loses too, and rows that only losers changed go back to what they were before. So
    /// a total that every batch conserves is conserved.
    ///
    /// That holds for batches that knew of no open conflict on their rows: a write on top of one closes it for that
    /// row alone. Two versions that say the same are no conflict: where that matters, make values distinct. Rows of a
    /// batch under another policy are left alone. If more than
    /// [`MAX_DISPUTED_VERSIONS`](crate::limits::MAX_DISPUTED_VERSIONS) versions are in dispute, only the batches whose
    /// versions are heads win or lose together. And batches that read the same and write different rows are no
    /// conflict: both are kept. A batch that is void, as its author was removed, takes no part; what others built on it
    /// stays, answers in which it won among that, so a total may then be off by what it moved.
    BatchWins,
    /// What is shown is derived from operations, and from puts and deletes beside them.
    Merge(Merge),
}

impl Policy {
    /// Whether a conflict under it waits for an answer: of the application, or of the core itself (S-17).
    pub fn takes_answers(&self) -> bool {
        matches!(self, Policy::AppResolves | Policy::Defer | Policy::BatchWins)
    }
}

/// A rule of a collection's schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rule {
    /// The rows whose keys start with these bytes; the empty prefix is all rows.
    pub prefix: Bytes,
    /// What becomes of their conflicts.
    pub policy: Policy,
}
