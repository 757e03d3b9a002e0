//! Defects on purpose: with each of them a run must fail, by the oracle that guards the rule. An oracle that
//! never fails proves nothing.

use bytes::Bytes;
use driftless::store::{Commit, Table};
use driftless::{Action, Config, Millis, Notice};

use super::replica::Replica;
use crate::oracle::Oracle;

/// Something that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sabotage {
    /// Disks lose a durable commit in a crash.
    ForgetsDurable,
    /// Disks report commits as durable as soon as they are applied.
    DurableTooEarly,
    /// Stores change a byte of a row.
    CorruptsRows,
    /// Stores apply a commit without one of its rows.
    LosesARow,
    /// The network changes a byte of some frames.
    AltersFrames,
    /// The model does not hear of a batch.
    WithholdsABatch,
    /// The model believes that each author knew a batch more of some other than it did.
    InventsCauses,
    /// Applications are told that batches are safe which nobody ever wrote.
    PromisesTooMuch,
    /// Nobody ever gets a link to one replica.
    Isolates,
    /// Replicas do not wait for the other parts of batches, and do not say so.
    SplitsBatches,
    /// Replicas do not wait for the other parts of batches, and say that they did.
    WaitsTooShort,
}

impl Sabotage {
    /// All of them.
    pub const ALL: &'static [Sabotage] = &[
        Sabotage::ForgetsDurable,
        Sabotage::DurableTooEarly,
        Sabotage::CorruptsRows,
        Sabotage::LosesARow,
        Sabotage::AltersFrames,
        Sabotage::WithholdsABatch,
        Sabotage::InventsCauses,
        Sabotage::PromisesTooMuch,
        Sabotage::Isolates,
        Sabotage::SplitsBatches,
        Sabotage::WaitsTooShort,
    ];

    /// Who must notice.
    pub fn noticed_by(self) -> Oracle {
        match self {
            Sabotage::ForgetsDurable | Sabotage::DurableTooEarly => Oracle::Durability,
            Sabotage::CorruptsRows | Sabotage::LosesARow => Oracle::Model,
            Sabotage::AltersFrames => Oracle::Conduct,
            // What was written and is not known to have been was written by nobody.
            Sabotage::WithholdsABatch => Oracle::Durability,
            Sabotage::InventsCauses | Sabotage::SplitsBatches | Sabotage::WaitsTooShort => Oracle::Causality,
            Sabotage::PromisesTooMuch => Oracle::SilentLoss,
            Sabotage::Isolates => Oracle::Convergence,
        }
    }

    /// Whether the model does not hear of this many-th batch.
    pub(crate) fn withholds(self, batch: u64) -> bool {
        self == Sabotage::WithholdsABatch && batch == 2
    }

    /// What the model is told of what an author knew.
    pub(crate) fn past(self, author: &driftless::Author, past: &mut driftless::Knowledge) {
        if self == Sabotage::InventsCauses
            && let Some((_, last)) = past.iter_mut().find(|(other, _)| *other != author)
        {
            *last += 1;
        }
    }

    /// A batch that the application is told of, beside one that there is.
    pub(crate) fn promise(self, part: &driftless::Written) -> Option<driftless::Version> {
        let generation = part.version.generation + 1_000;
        (self == Sabotage::PromisesTooMuch).then_some(driftless::Version { generation, ..part.version })
    }

    /// Changes how a replica is set up.
    pub(super) fn config(self, config: &mut Config) {
        if matches!(self, Sabotage::SplitsBatches | Sabotage::WaitsTooShort) {
            config.timing.parts = Millis(0);
        }
    }

    /// Whether oracles do not get to see what a core does.
    pub(super) fn hides(self, action: &Action) -> bool {
        self == Sabotage::SplitsBatches && matches!(action, Action::Notice(Notice::BatchSplit { .. }))
    }

    pub(super) fn crash(self, replica: &mut Replica) {
        if self == Sabotage::ForgetsDurable {
            replica.disk.forget_durable();
        }
    }

    /// Applies a commit, or something like it.
    pub(super) fn commit(self, replica: &mut Replica, commit: &Commit) {
        let row = commit.writes.iter().position(|write| write.table == Table::Row && write.value.is_some());
        let mut changed = commit.clone();
        match (self, row) {
            (Sabotage::CorruptsRows, Some(row)) => {
                let value = changed.writes[row].value.take().map(|value| flip(&value));
                changed.writes[row].value = value;
            }
            (Sabotage::LosesARow, Some(row)) => {
                changed.writes.remove(row);
            }
            _ => {}
        }
        replica.disk.apply(&changed);
    }

    /// A frame as it arrives; `nth` counts all frames of the run.
    pub(super) fn frame(self, nth: u64, frame: Bytes) -> Bytes {
        if self == Sabotage::AltersFrames && nth.is_multiple_of(10) { flip(&frame) } else { frame }
    }

    pub(super) fn unreachable(self, from: usize, to: usize) -> bool {
        self == Sabotage::Isolates && (from == 0 || to == 0)
    }
}

/// Changes the last byte.
fn flip(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes.into()
}
