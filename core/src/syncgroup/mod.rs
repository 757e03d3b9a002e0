//! Syncgroups: who shares what with whom.

pub(crate) mod access;
pub(crate) mod admission;
pub(crate) mod command;
pub(crate) mod group;
pub(crate) mod invitation;
pub(crate) mod judge;
pub(crate) mod knowledge;
pub(crate) mod metadata;
pub(crate) mod offered;
mod open;
pub(crate) mod past;
pub(crate) mod publish;
pub(crate) mod remove;
mod sharing;
mod spec;
pub(crate) mod user;

use serde::{Deserialize, Serialize};

pub(crate) use self::invitation::Terms;
pub use self::invitation::{Invitation, InvitationError};
pub(crate) use self::past::PastIx;
pub use self::publish::{Publication, PublicationStatus};
pub use self::spec::{Rendezvous, Spec, SpecChange, SpecVersion};
use crate::id::{DeviceId, Name, PublicKey, SyncgroupId, UserId, Version};
use crate::time::Wall;

/// What a member may do (S-34). An admin may admit others and add collections; a member that is none may admit others as
/// far as everybody is granted that ([`crate::Command::Open`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rights {
    /// Read everything.
    #[default]
    Read,
    /// Read and write rows.
    Write,
    /// Read and write rows, and say who else may.
    Admin,
}

/// How far this device is in a syncgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SyncgroupState {
    /// The request to join has not been answered yet.
    Joining,
    /// Admitted; what the syncgroup held at that moment is still arriving (S-32).
    Pending,
    /// A full member.
    Active,
    /// Not a member any more as far as this device goes, but others may still count it as one: that ends
    /// when an admin can be asked, or what they know has arrived.
    Leaving,
    /// Not a member any more; what is here can be read.
    Left,
    /// Not a member any more, because an admin has removed this device; what is here can be read (S-36). Another
    /// invitation makes it one again.
    Removed,
    /// Not a member any more, because the time is over for which this device was one; what is here can be read (S-36).
    /// It is one again if an admin extends that, or if a clock that was wrong is set right.
    Expired,
    /// The request to join was refused.
    Refused(JoinRefusal),
}

/// Why an admin refused a request to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum JoinRefusal {
    /// The invitation is not known to be good there. Whether the syncgroup exists is not told.
    #[error("the invitation is not valid there")]
    NotValid,
    /// It was good once, or the time is over for which it would let in.
    #[error("the invitation has expired; ask for a new one")]
    Expired,
    /// It was good for one device, and another one has used it.
    #[error("another device has used the invitation; ask for a new one")]
    Used,
    /// The syncgroup has as many members as that device takes, or that device has written all the metadata that it may.
    #[error("the syncgroup is full")]
    Full,
}

/// A syncgroup as this device sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SyncgroupInfo {
    /// Its id.
    pub id: SyncgroupId,
    /// What its members call it; `None` while its first generation has not arrived.
    pub name: Option<Name>,
    /// The database that it belongs to on this device.
    pub database: Name,
    /// How far this device is.
    pub state: SyncgroupState,
    /// Whether the exchange of its database is paused (S-37).
    pub paused: bool,
    /// What this device may do in it now; `None` if nothing.
    pub rights: Option<Rights>,
    /// The last moment for which it may do that, or could; `None` if that has no end.
    pub ends: Option<Wall>,
    /// What is granted to everybody now: with so much any member may let in others (S-3). Of several grants the one that
    /// gives most.
    pub open: Option<Open>,
    /// What members are told of it (S-30).
    pub spec: Spec,
    /// By which changes of that.
    pub spec_version: SpecVersion,
    /// Where it is published, by device, and what has become of that (S-33).
    pub publications: alloc::vec::Vec<Publication>,
    /// Its collections, by name.
    pub collections: alloc::vec::Vec<Name>,
    /// How many devices are members.
    pub members: usize,
    /// Generations held, of all authors together.
    pub generations: u64,
    /// Those of them whose rows are not shown yet, because parts of their batches are missing (S-28).
    pub waiting: u64,
}

/// What is granted to everybody: to be let in by a member's act (S-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Open {
    /// What members may give at most: to read, or to write.
    pub rights: Rights,
    /// The last moment for which they may, and until which they may give it; `None` if that has no end.
    pub ends: Option<Wall>,
}

/// A device that is or was a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The device.
    pub device: DeviceId,
    /// What it called itself when it was admitted.
    pub name: Name,
    /// What it may do now; `None` once it has left or was removed, or its time is over.
    pub rights: Option<Rights>,
    /// The last moment for which it may do that, or could, by the stamps of what it writes; `None` if that has no end.
    pub ends: Option<Wall>,
    /// Whether it is none now only because its time is over, by this device's clock.
    pub expired: bool,
    /// The latest generation that admitted it.
    pub admitted: Version,
    /// Whether it is none any more because it was removed.
    pub removed: bool,
    /// The user whose device it is, or was when it was let in last; `None` if it is let in by itself (S-3).
    pub user: Option<UserId>,
    /// How often it has taken another key, as far as it has said so here (S-1).
    pub rollovers: usize,
    /// One of its keys has signed for two that take its place, so one of these is a thief's: an admin should remove it.
    pub disputed: bool,
}

/// A user to whom something is or was granted in a syncgroup (S-3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// The user.
    pub user: UserId,
    /// Its key.
    pub key: PublicKey,
    /// What it is called.
    pub name: Name,
    /// What it may do now, by each of its devices that is enrolled; `None` once that has ended.
    pub rights: Option<Rights>,
    /// The last moment for which it may do that, or could; `None` if that has no end.
    pub ends: Option<Wall>,
    /// Whether it may do nothing now only because its time is over, by this device's clock.
    pub expired: bool,
    /// The latest generation that granted it something.
    pub granted: Version,
}
