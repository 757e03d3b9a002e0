//! What generations say of who may do what.

use std::collections::{BTreeMap, BTreeSet};

use driftless::{
    Address, Author, DeviceId, Incarnation, Knowledge, Name, Rights, SpecChange, UserId, Version, Wall,
};

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
    Admits(DeviceId, Granted),
    /// A user may do something.
    AdmitsUser(UserId, Granted),
    /// Members may let in whoever wants to be one.
    Opens(Granted),
    /// A device is a user's.
    Enrols(Enrolled),
    /// A device is a user's no more.
    StrikesOff(Struck),
    /// The author's device leaves.
    Leaves,
    /// There is another collection.
    AddsCollection(Name),
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
    /// Somebody gets other rights: what there was becomes less, and something is granted beside it.
    Replaces(Revoked, Granted),
    /// All lose what the author may take, and its device leaves.
    Destroys(Vec<Revoked>),
    /// What the author's device had written under other names is written again under this one, and counts no more
    /// there.
    StandsFor(BTreeSet<Version>),
    /// An author has forked its log: what it says in either branch, behind so many generations, does not count.
    Forks(Author, u64),
}

/// A right, and the last moment for which it is; `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// What somebody may do.
    pub rights: Rights,
    /// Until when.
    pub ends: Option<Wall>,
}

impl Granted {
    /// A right without an end.
    pub fn for_ever(rights: Rights) -> Self {
        Self { rights, ends: None }
    }

    /// What it comes to at a moment; whatever the moment is, if there is none.
    pub fn at(self, when: Option<Wall>) -> Option<Rights> {
        let is_over = self.ends.zip(when).is_some_and(|(end, when)| when > end);
        (!is_over).then_some(self.rights)
    }

    /// Whether it gives as much as another, and for as long.
    pub fn covers(self, other: Granted) -> bool {
        let lasts = match (self.ends, other.ends) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => own >= other,
        };
        lasts && self.rights >= other.rights
    }

    /// What both give.
    pub(super) fn least(self, other: Granted) -> Granted {
        let ends = [self.ends, other.ends].into_iter().flatten().min();
        Granted { rights: self.rights.min(other.rights), ends }
    }
}

/// To whom something is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// A device.
    Device(DeviceId),
    /// A user.
    User(UserId),
    /// Everybody: to be let in by a member.
    Everybody,
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
    pub granted: Option<Granted>,
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
    pub keep: Option<Granted>,
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
            Fact::Replaces(it, _) => std::slice::from_ref(it),
            _ => &[],
        }
    }

    /// Of whose rights it says something.
    pub fn concerns(&self) -> Vec<Whom> {
        let lose = self.revokes().iter().map(|it| it.whom);
        let granted = match self {
            Fact::Admits(device, _) => Some(Whom::Device(*device)),
            Fact::AdmitsUser(user, _) => Some(Whom::User(*user)),
            Fact::Opens(_) => Some(Whom::Everybody),
            _ => None,
        };
        lose.chain(granted).collect()
    }

    /// Whether it makes void something that others may have.
    pub fn takes(&self) -> bool {
        !self.revokes().is_empty()
            || matches!(self, Fact::StrikesOff(_) | Fact::StandsFor(_) | Fact::Forks(..))
    }

    /// Whether a generation is written again by it.
    pub(super) fn stands_for(&self, version: &Version) -> bool {
        matches!(self, Fact::StandsFor(all) if all.contains(version))
    }

    /// Whether a generation lies behind where its log is forked.
    pub(super) fn is_forked(&self, version: &Version) -> bool {
        let Fact::Forks(author, last) = self else { return false };
        version.author == *author && version.generation > *last
    }

    /// Whether something is granted by it to somebody. `author` is the device that says it.
    pub fn is_for(&self, whom: Whom, author: &DeviceId) -> bool {
        self.grants(author).is_some_and(|(to, _)| to == whom)
    }

    /// What is granted by it, and to whom.
    pub(super) fn grants(&self, author: &DeviceId) -> Option<(Whom, Granted)> {
        match self {
            Fact::Begins => Some((Whom::Device(*author), Granted::for_ever(Rights::Admin))),
            Fact::Admits(device, granted) => Some((Whom::Device(*device), *granted)),
            Fact::AdmitsUser(user, granted) => Some((Whom::User(*user), *granted)),
            Fact::Opens(granted) => Some((Whom::Everybody, *granted)),
            Fact::Replaces(it, granted) => Some((it.whom, *granted)),
            Fact::Enrols(it) => it.granted.map(|granted| (Whom::User(it.user), granted)),
            _ => None,
        }
    }
}

impl Generation {
    /// The moment that it is stamped with, as far as that matters to anybody.
    pub fn moment(&self) -> Option<Wall> {
        self.stamp.map(driftless::Hlc::wall)
    }

    /// The right that it takes to write it.
    pub fn needs(&self) -> Rights {
        match &self.says {
            Fact::Begins | Fact::Admits(..) | Fact::AdmitsUser(..) | Fact::AddsCollection(_) => Rights::Admin,
            Fact::Revokes(_) | Fact::Replaces(..) | Fact::Destroys(_) | Fact::Describes(_) => Rights::Admin,
            Fact::Opens(_) => Rights::Admin,
            Fact::Publishes(..) | Fact::Unpublishes(..) | Fact::Declines(..) => Rights::Admin,
            Fact::Enrols(it) if it.granted.is_some() => Rights::Admin,
            _ if !self.rules.is_empty() => Rights::Admin,
            _ if self.rows.is_empty() => Rights::Read,
            _ => Rights::Write,
        }
    }
}
