//! What a replica keeps in memory of its store, and how it changes: in plans, which read and decide, and
//! which are then applied as a whole together with their commit.

pub(crate) mod authors;
pub(crate) mod load;
pub(crate) mod plan;
pub(crate) mod stored;

use alloc::collections::BTreeMap;

use self::authors::Authors;
pub use self::load::BootError;

use crate::action::Refusal;
use crate::crypto::Keys;
use crate::id::{Author, CommitSeq, Incarnation, Name, SyncgroupId};
use crate::limits::Limits;
use crate::store::Fault;
use crate::store::key::GroupIx;
use crate::syncgroup::group::Group;
use crate::time::Hlc;

/// Everything that this replica knows and that its store holds.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub(crate) keys: Keys,
    pub(crate) limits: Limits,
    /// What this device calls itself.
    pub(crate) name: Name,
    pub(crate) incarnation: Incarnation,
    pub(crate) authors: Authors,
    pub(crate) groups: BTreeMap<GroupIx, Group>,
    by_id: BTreeMap<SyncgroupId, GroupIx>,
    /// The greatest stamp of any generation held.
    pub(crate) stamp: Hlc,
    /// The last commit handed out.
    pub(crate) seq: CommitSeq,
}

impl Replica {
    /// Who this replica writes as.
    pub(crate) fn author(&self) -> Author {
        Author { device: self.keys.device, incarnation: self.incarnation }
    }

    pub(crate) fn group(&self, id: &SyncgroupId) -> Option<&Group> {
        self.groups.get(self.by_id.get(id)?)
    }

    /// The number that the next syncgroup gets.
    pub(crate) fn next_group(&self) -> GroupIx {
        self.groups.last_key_value().map_or(0, |(ix, _)| ix + 1)
    }
}

/// Why a plan was given up. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The store could not be read.
    Fault(Fault),
    /// The application's command cannot be followed.
    Refused(Refusal),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}
