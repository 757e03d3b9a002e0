//! What generations say of who may do what.

use std::collections::{BTreeMap, BTreeSet};

use driftless::{Address, DeviceId, Incarnation, Knowledge, Rights, SpecChange, UserId, Version};

use super::Generation;

/// What a generation says besides its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fact {
    /// Nothing of significance here.
    #[default]
    Nothing,
    /// The syncgroup begins.
    Begins,
    /// A device may do something.
    Admits(DeviceId, Rights),
    /// A user may do something.
    AdmitsUser(UserId, Rights),
    /// A device is a user's.
    Enrols(Enrolled),
    /// A device is a user's no more.
    StrikesOff(Struck),
    /// The author's device leaves.
    Leaves,
    /// There is another collection.
    AddsCollection,
    /// Members are told something else.
    Describes(SpecChange),
    /// A device is asked to take part, and where it can be reached.
    Publishes(DeviceId, Rights, Vec<Address>),
    /// It is asked no more by those generations.
    Unpublishes(DeviceId, BTreeSet<Version>),
    /// It has declined what those generations asked for.
    Declines(DeviceId, BTreeSet<Version>),
    /// Somebody loses rights.
    Revokes(Vec<Revoked>),
    /// All lose what the author may take, and its device leaves.
    Destroys(Vec<Revoked>),
    /// What the author's device had written under other names is written again under this one, and counts no more
    /// there.
    StandsFor(BTreeSet<Version>),
}

/// To whom something is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// A device.
    Device(DeviceId),
    /// A user.
    User(UserId),
}

/// A device is a user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolled {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub device: DeviceId,
    /// The number of the certificate.
    pub number: u64,
    /// What the user is granted in the same step.
    pub granted: Option<Rights>,
    /// Whether the device has asked for it.
    pub asked: bool,
}

/// A device is a user's no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Struck {
    /// Whose it was.
    pub user: UserId,
    /// Which.
    pub device: DeviceId,
    /// Up to which certificate.
    pub number: u64,
    /// The last generation of each of its logs for which it still is.
    pub until: BTreeMap<Incarnation, u64>,
}

/// What somebody loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Who.
    pub whom: Whom,
    /// By which grants.
    pub grants: BTreeSet<Version>,
    /// What is left of them.
    pub keep: Option<Rights>,
    /// The last generation of each log for which they stay as they were.
    pub until: Knowledge,
}

impl Fact {
    pub(super) fn leaves(&self) -> bool {
        matches!(self, Fact::Leaves | Fact::Destroys(_))
    }

    /// What is lost by it.
    pub fn revokes(&self) -> &[Revoked] {
        match self {
            Fact::Revokes(all) | Fact::Destroys(all) => all,
            _ => &[],
        }
    }

    /// Whether it makes void something that others may have.
    pub fn takes(&self) -> bool {
        !self.revokes().is_empty() || matches!(self, Fact::StrikesOff(_) | Fact::StandsFor(_))
    }

    /// Whether a generation counts no more by it.
    pub(super) fn stands_for(&self, version: &Version) -> bool {
        matches!(self, Fact::StandsFor(all) if all.contains(version))
    }

    /// Whether something is granted by it to somebody. `author` is the device that says it.
    pub fn is_for(&self, whom: Whom, author: &DeviceId) -> bool {
        self.grants(author).is_some_and(|(to, _)| to == whom)
    }

    /// What is granted by it, and to whom.
    pub(super) fn grants(&self, author: &DeviceId) -> Option<(Whom, Rights)> {
        match self {
            Fact::Begins => Some((Whom::Device(*author), Rights::Admin)),
            Fact::Admits(device, rights) => Some((Whom::Device(*device), *rights)),
            Fact::AdmitsUser(user, rights) => Some((Whom::User(*user), *rights)),
            Fact::Enrols(it) => it.granted.map(|rights| (Whom::User(it.user), rights)),
            _ => None,
        }
    }
}

impl Generation {
    /// The right that it takes to write it.
    pub fn needs(&self) -> Rights {
        match &self.says {
            Fact::Begins | Fact::Admits(..) | Fact::AdmitsUser(..) | Fact::AddsCollection => Rights::Admin,
            Fact::Revokes(_) | Fact::Destroys(_) | Fact::Describes(_) => Rights::Admin,
            Fact::Publishes(..) | Fact::Unpublishes(..) | Fact::Declines(..) => Rights::Admin,
            Fact::Enrols(it) if it.granted.is_some() => Rights::Admin,
            _ if !self.rules.is_empty() => Rights::Admin,
            _ if self.rows.is_empty() => Rights::Read,
            _ => Rights::Write,
        }
    }
}
