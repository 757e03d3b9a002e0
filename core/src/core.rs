//! The core: boot, handle, next deadline. It routes, and decides nothing itself.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::action::Outbox;
use crate::config::{Config, Identity};
use crate::event::Event;
use crate::id::{Author, DeviceId, Generation, PublicKey, SyncgroupId};
use crate::store::{Fault, View};
use crate::syncgroup::{Member, SyncgroupInfo};
use crate::time::{Mono, Now};

/// A replica: all its databases, all its links.
#[derive(Debug, Clone)]
pub struct Core {}

/// Why a replica could not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// The store failed, or is damaged.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The store belongs to another key.
    #[error("the store belongs to device {store}, the key to device {key}: give the key that made the store")]
    OtherDevice {
        /// Whose store it is.
        store: DeviceId,
        /// Whose key was given.
        key: DeviceId,
    },
    /// The store was written by a newer version.
    #[error("the store has format {found}, this version reads format {known}: use a newer version")]
    NewerFormat {
        /// The store's format.
        found: u32,
        /// The newest that this version reads.
        known: u32,
    },
}

/// What a replica holds of one syncgroup: for each author the last generation of its log (S-21).
pub type Knowledge = BTreeMap<Author, Generation>;

impl Core {
    /// Builds the state from the store. The first actions wait in the outbox.
    ///
    /// `seed` comes from good randomness at each boot: salts and waiting times are drawn from it.
    ///
    /// # Errors
    /// [`BootError`] if the store cannot be used.
    pub fn boot(
        _config: Config,
        _identity: &Identity,
        _seed: [u8; 32],
        _view: &dyn View,
        _out: &mut Outbox,
    ) -> Result<Self, BootError> {
        unimplemented!()
    }

    /// Takes in an event and puts what is to be done into the outbox. The only way in.
    ///
    /// # Errors
    /// [`Fault`] if the store could not be read; then nothing has changed.
    pub fn handle(
        &mut self,
        _now: Now,
        _event: Event,
        _view: &dyn View,
        _out: &mut Outbox,
    ) -> Result<(), Fault> {
        unimplemented!()
    }

    /// When to send the next [`Event::Tick`]; a moment in the past means at once.
    pub fn next_deadline(&self) -> Option<Mono> {
        unimplemented!()
    }

    /// This device's public key.
    pub fn public_key(&self) -> PublicKey {
        unimplemented!()
    }

    /// Who this replica writes as.
    pub fn author(&self) -> Author {
        unimplemented!()
    }

    /// All syncgroups on this device, ordered by database and id.
    pub fn syncgroups(&self) -> Vec<SyncgroupInfo> {
        unimplemented!()
    }

    /// The members of a syncgroup and those that left, by device; `None` if it is not here.
    pub fn members(&self, _syncgroup: &SyncgroupId) -> Option<Vec<Member>> {
        unimplemented!()
    }

    /// What is held of a syncgroup, durable or not; `None` if it is not here.
    pub fn knowledge(&self, _syncgroup: &SyncgroupId) -> Option<Knowledge> {
        unimplemented!()
    }

    /// The digest of what readers see of a syncgroup: equal at replicas that show the same rows (S-12).
    pub fn visible_digest(&self, _syncgroup: &SyncgroupId) -> Option<[u8; 32]> {
        unimplemented!()
    }

    /// A look at the whole replica.
    pub fn status(&self) -> Status {
        unimplemented!()
    }
}

/// A look at a replica.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// This device.
    pub device: DeviceId,
    /// Who it writes as.
    pub author: Author,
    /// Its syncgroups.
    pub syncgroups: Vec<SyncgroupInfo>,
    /// Its open links.
    pub links: Vec<LinkStatus>,
    /// Devices that it would like to reach and has no link to.
    pub wanted: Vec<DeviceId>,
}

/// An open link.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LinkStatus {
    /// The device at the other end.
    pub device: DeviceId,
    /// How many syncgroups both ends share.
    pub shared: usize,
    /// Whether both ends are known to hold the same.
    pub agreed: bool,
}
