//! What a replica keeps in memory of its store, and how it changes: in plans, which read and decide, and
//! which are then applied as a whole together with their commit.

pub(crate) mod authors;
pub(crate) mod changes;
pub(crate) mod cited;
mod ends;
pub(crate) mod forks;
mod incomplete;
mod judging;
pub(crate) mod load;
pub(crate) mod paused;
pub(crate) mod plan;
mod registered;
pub(crate) mod reissue;
mod release;
pub(crate) mod rotate;
pub(crate) mod rows;
pub(crate) mod stored;
mod take_back;
pub(crate) mod waiting;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use self::authors::Authors;
use self::cited::Citations;
use self::ends::Ends;
pub use self::incomplete::IncompleteBatch;
pub use self::load::BootError;
use self::paused::Paused;
use self::waiting::Waiting;

use crate::action::Refusal;
use crate::crypto::Keys;
use crate::id::{Author, CommitSeq, Name, SyncgroupId};
use crate::keys::Life;
use crate::limits::Limits;
use crate::log::record::Until;
use crate::resolve::MergeFunction;
use crate::resolve::conflict::NoAnswer;
use crate::store::Fault;
use crate::store::key::GroupIx;
use crate::syncgroup::group::Group;
use crate::time::{Hlc, Millis};

/// Everything that this replica knows and that its store holds.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub(crate) keys: Keys,
    pub(crate) limits: Limits,
    /// What this device calls itself.
    pub(crate) name: Name,
    /// The application's own merges.
    pub(crate) merges: Merges,
    pub(crate) life: Life,
    /// What was there at the boot of this device's own logs, where it has had another key before: that it wrote it itself, it
    /// knows, whatever others say of where these logs end.
    pub(crate) found: BTreeMap<GroupIx, Vec<Until>>,
    pub(crate) authors: Authors,
    /// Boxed, as a map has room for eleven of whatever it holds.
    pub(crate) groups: BTreeMap<GroupIx, Box<Group>>,
    by_id: BTreeMap<SyncgroupId, GroupIx>,
    pub(crate) paused: Paused,
    /// Generations that are held, and not shown yet.
    pub(crate) waiting: Waiting,
    /// How long they wait at most.
    pub(crate) parts: Millis,
    /// Of generations on which others build, what was read of late.
    pub(crate) cited: Citations,
    /// The clock, and when rights end by it.
    pub(crate) ends: Ends,
    /// Forked logs of which somebody builds on another branch than the one that is here, and whether that has made way.
    pub(crate) wanted: BTreeMap<(GroupIx, Author), bool>,
    /// The greatest stamp of any generation held.
    pub(crate) stamp: Hlc,
    /// The last commit of which it is not kept any more which rows it changed.
    pub(crate) pruned: CommitSeq,
    /// The last commit handed out.
    pub(crate) seq: CommitSeq,
}

impl Replica {
    /// Who this replica writes as.
    pub(crate) fn author(&self) -> Author {
        Author { device: self.keys.device, incarnation: self.life.incarnation }
    }

    /// Whether the database of a syncgroup is paused (S-37).
    pub(crate) fn is_paused(&self, ix: GroupIx) -> bool {
        self.groups.get(&ix).is_some_and(|group| group.paused)
    }

    pub(crate) fn group(&self, id: &SyncgroupId) -> Option<&Group> {
        self.groups.get(self.by_id.get(id)?).map(|group| &**group)
    }

    /// Brings what is known up to date for those who compare it.
    pub(crate) fn settle_knowledge(&mut self) {
        for group in self.groups.values_mut() {
            group.settle_knowledge(&self.authors);
        }
    }

    /// The number that the next syncgroup gets.
    pub(crate) fn next_group(&self) -> GroupIx {
        self.groups.last_key_value().map_or(0, |(ix, _)| ix + 1)
    }
}

/// The application's own merges.
#[derive(Clone, Default)]
pub(crate) struct Merges(pub(crate) Vec<&'static dyn MergeFunction>);

impl core::fmt::Debug for Merges {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|merge| merge.name())).finish()
    }
}

/// Equal by name: a name stands for one function.
impl PartialEq for Merges {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|merge| merge.name()).eq(other.0.iter().map(|merge| merge.name()))
    }
}

impl Eq for Merges {}

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

impl From<NoAnswer> for Stop {
    fn from(reason: NoAnswer) -> Self {
        Stop::Refused(Refusal::NoAnswer(Box::new(reason)))
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}
