//! The facts from which it follows who may do what. They only add up, and each is named by its version.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::super::Rights;
use super::super::past::{Past, PastIx};
use super::keys::EndedLogs;
use crate::id::{Author, DeviceId, Generation, Incarnation, Name, PublicKey, UserId, Version};
use crate::object::history::Place;
use crate::store::key::AuthorIx;
use crate::time::{Hlc, Wall};

/// To whom something was given that may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// A right, to a device.
    Device(DeviceId),
    /// A right, to a user: all its devices act by it.
    User(UserId),
    /// A user's certificate, to a device.
    DeviceOf(UserId, DeviceId),
    /// That whoever wants to may be let in by a member.
    Everybody,
}

/// A right given to a device, or to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) author: AuthorIx,
    pub(super) version: Version,
    pub(super) stamp: Hlc,
    pub(super) rights: Rights,
    /// The last moment, by their own stamps, for whose generations it is.
    pub(super) ends: Wall,
    pub(super) name: Name,
}

impl Grant {
    pub(super) fn place(&self) -> Place {
        (self.author, self.version.generation)
    }
}

/// That members may let in whoever wants to be one, with so much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) author: AuthorIx,
    pub(super) version: Version,
    pub(super) given: Left,
}

impl Opening {
    pub(super) fn place(&self) -> Place {
        (self.author, self.version.generation)
    }
}

/// That a device is one of a user's, as the user has signed. It stands whatever becomes of the generation that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Enrolment {
    pub(super) author: AuthorIx,
    pub(super) version: Version,
    pub(super) stamp: Hlc,
    pub(super) user: UserId,
    /// What the user calls the device.
    pub(super) name: Name,
    /// The certificate's number.
    pub(super) number: u64,
    /// The last moment, by their own stamps, for whose generations it is.
    pub(super) ends: Wall,
}

impl Enrolment {
    pub(super) fn place(&self) -> Place {
        (self.author, self.version.generation)
    }
}

/// That a device has left, and which grants to it, or enrolments of it, ended by that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Departure {
    pub(super) author: Author,
    pub(super) by: Place,
    pub(super) stamp: Hlc,
    pub(super) grants: BTreeSet<Version>,
}

/// All that is known of one device in a syncgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) grants: Vec<Grant>,
    /// What most devices have nothing of.
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rest {
    enrolments: Vec<Enrolment>,
    departures: Vec<Departure>,
}

/// By what a device was let in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admission<'a> {
    pub(super) version: Version,
    pub(super) name: &'a Name,
    /// Whose device it was then.
    pub(super) user: Option<UserId>,
}

impl Standing {
    pub(super) fn enrolments(&self) -> &[Enrolment] {
        self.rest.as_ref().map_or(&[], |rest| &rest.enrolments)
    }

    pub(super) fn departures(&self) -> &[Departure] {
        self.rest.as_ref().map_or(&[], |rest| &rest.departures)
    }

    pub(super) fn enrol(&mut self, enrolment: Enrolment) {
        add(&mut self.rest.get_or_insert_default().enrolments, enrolment);
    }

    pub(super) fn depart(&mut self, departure: Departure) {
        add(&mut self.rest.get_or_insert_default().departures, departure);
    }

    /// Of several grants and enrolments the one that gives the name: the same everywhere, whatever arrived first.
    pub(super) fn latest(&self) -> Option<Admission<'_>> {
        let grants = self.grants.iter().map(|it| {
            let admission = Admission { version: it.version, name: &it.name, user: None };
            ((it.stamp, it.version, 0), admission)
        });
        let enrolments = self.enrolments().iter().map(|it| {
            let admission = Admission { version: it.version, name: &it.name, user: Some(it.user) };
            ((it.stamp, it.version, it.number), admission)
        });
        grants.chain(enrolments).max_by_key(|(order, _)| *order).map(|(_, admission)| admission)
    }

    /// Whether a departure that is known ended a grant or an enrolment. One beyond the end of its log is not the device's.
    pub(super) fn has_left(
        &self,
        version: &Version,
        known: impl Fn(Place) -> bool,
        ended: &EndedLogs,
    ) -> bool {
        self.departures().iter().any(|departure| {
            known(departure.by)
                && departure.grants.contains(version)
                && !ended.undoes(&departure.author, departure.by)
        })
    }
}

/// All that is known of one user in a syncgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UserStanding {
    /// Its key, once something is granted to it.
    pub(super) key: Option<PublicKey>,
    pub(super) grants: Vec<Grant>,
    /// The devices that were enrolled as its own.
    pub(super) devices: BTreeSet<DeviceId>,
    /// The strikings-off of devices of its, each with the number up to which it ends certificates.
    pub(super) strikings: Vec<(DeviceId, u64, Nth)>,
}

/// What ends by a revocation, or gives less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// These grants.
    Grants(Holder, BTreeSet<Version>),
    /// A user's certificates of a device: see [`UserStanding::strikings`].
    Certificates,
}

/// That grants end, or give less; or certificates of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revocation {
    pub(super) by: Place,
    pub(super) stamp: Hlc,
    pub(super) what: Ended,
    /// What is left.
    pub(super) keep: Option<Rights>,
    /// Until when.
    pub(super) ends: Wall,
    /// The last generation of each of the logs concerned for which all stays as it was.
    pub(super) until: BTreeMap<Author, Generation>,
}

impl Revocation {
    /// What a right comes to by it, for one of the generations concerned, which is stamped so.
    pub(super) fn leaves(&self, rights: Rights, at: (Author, Generation), stamp: Hlc) -> Option<Rights> {
        let is_before = self.until.get(&at.0).is_some_and(|last| at.1 <= *last);
        if is_before { Some(rights) } else { self.keep_at(stamp.wall()).map(|keep| keep.min(rights)) }
    }

    /// What a right comes to by it for one of the generations concerned, whenever that is stamped.
    pub(super) fn lessens_for(&self, left: Left, (author, generation): (Author, Generation)) -> Option<Left> {
        let is_before = self.until.get(&author).is_some_and(|last| generation <= *last);
        if is_before { Some(left) } else { self.lessens(left) }
    }

    /// What is left at a moment.
    pub(super) fn keep_at(&self, moment: Wall) -> Option<Rights> {
        self.keep.filter(|_| moment <= self.ends)
    }

    /// What a right comes to by it for all that is written from now on.
    pub(super) fn lessens(&self, left: Left) -> Option<Left> {
        self.keep.map(|keep| Left { rights: keep.min(left.rights), ends: self.ends.min(left.ends) })
    }
}

/// What is left of a right for all that is written from now on, and until when. Of two the greater gives more rights, or
/// the same for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Left {
    pub(crate) rights: Rights,
    pub(crate) ends: Wall,
}

impl Left {
    pub(crate) fn new(rights: Rights, ends: Option<Wall>) -> Self {
        Self { rights, ends: end(ends) }
    }

    /// What it gives at a moment.
    pub(crate) fn at(self, moment: Wall) -> Option<Rights> {
        (moment <= self.ends).then_some(self.rights)
    }

    /// Whether it gives as much, for as long.
    pub(crate) fn covers(self, other: Left) -> bool {
        self.rights >= other.rights && self.ends >= other.ends
    }

    /// When it ends, for whoever asks.
    pub(crate) fn end(self) -> Option<Wall> {
        (self.ends < Wall::NEVER).then_some(self.ends)
    }
}

/// When something ends that may have no end.
pub(crate) fn end(ends: Option<Wall>) -> Wall {
    ends.unwrap_or(Wall::NEVER)
}

/// Which revocation: its generation's version, and which record there.
pub(super) type Nth = (Version, u32);

/// A generation by which somebody acts on what others may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Act {
    pub(super) author: Author,
    pub(super) place: Place,
    pub(super) stamp: Hlc,
    /// The metadata in its past, itself included.
    pub(super) past: PastIx,
    /// The right that it takes to say all else that is said there, beside whom it lets in.
    pub(super) beside: Rights,
}

/// All such generations: few authors have many of them, as there is one for each member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Acts {
    by_log: BTreeMap<AuthorIx, (Author, Vec<ActOf>)>,
    /// The logs that have any.
    logs: BTreeMap<Author, AuthorIx>,
    /// How many there are.
    count: usize,
}

/// One of an author: which, when, the metadata in its past, and what it takes beside.
type ActOf = (Generation, Hlc, PastIx, Rights);

impl Acts {
    pub(super) fn take(&mut self, from: Source) {
        let (ix, generation) = from.place;
        self.logs.insert(from.author, ix);
        let (_, acts) = self.by_log.entry(ix).or_insert_with(|| (from.author, Vec::new()));
        if let Err(at) = acts.binary_search_by_key(&generation, |(it, ..)| *it) {
            acts.insert(at, (generation, from.stamp, from.past, from.beside));
            self.count += 1;
        }
    }

    /// The logs of a device that have some.
    pub(super) fn logs_of(&self, device: &DeviceId) -> impl Iterator<Item = AuthorIx> {
        let of = |incarnation| Author { device: *device, incarnation: Incarnation(incarnation) };
        self.logs.range(of(0)..=of(u64::MAX)).map(|(_, ix)| *ix)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Act> {
        self.by_log.iter().flat_map(|(ix, (author, acts))| {
            acts.iter().map(|(generation, stamp, past, beside)| Act {
                author: *author,
                place: (*ix, *generation),
                stamp: *stamp,
                past: *past,
                beside: *beside,
            })
        })
    }

    /// One of them.
    pub(super) fn get(&self, place: Place) -> Option<Act> {
        let (author, acts) = self.by_log.get(&place.0)?;
        let at = acts.binary_search_by_key(&place.1, |(it, ..)| *it).ok()?;
        let (_, stamp, past, beside) = *acts.get(at)?;
        Some(Act { author: *author, place, stamp, past, beside })
    }

    /// The metadata in the past of one of them, itself included.
    pub(super) fn past_of(&self, place: Place) -> Option<PastIx> {
        self.get(place).map(|act| act.past)
    }

    /// Whose they are.
    pub(super) fn authors(&self) -> impl Iterator<Item = (AuthorIx, &Author)> {
        self.by_log.iter().map(|(ix, (author, _))| (*ix, author))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// How many of a device there are in a past, in all its logs.
    pub(super) fn count_of(&self, device: DeviceId, past: &Past) -> usize {
        let logs = self.logs_of(&device).filter_map(|ix| Some((ix, self.by_log.get(&ix)?)));
        let known = |acts: &[ActOf], last: Generation| acts.partition_point(|(it, ..)| *it <= last);
        logs.map(|(ix, (_, acts))| known(acts, past.last(ix))).sum()
    }

    /// Whose they are.
    pub(super) fn devices(&self) -> impl Iterator<Item = DeviceId> {
        let mut last = None;
        let devices = self.logs.keys().map(|author| author.device);
        devices.filter(move |device| last.replace(*device) != Some(*device))
    }
}

/// The generation of a device whose rights are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'p> {
    pub(crate) author: Author,
    pub(crate) place: Option<Place>,
    pub(crate) generation: Generation,
    pub(crate) stamp: Hlc,
    /// The metadata in its past.
    pub(crate) past: &'p Past,
}

/// The generation that says something, as it is taken in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) place: Place,
    pub(crate) author: Author,
    pub(crate) stamp: Hlc,
    pub(crate) past: PastIx,
    /// The right that it takes to say all that it says beside whom it lets in.
    pub(crate) beside: Rights,
}

impl Source {
    pub(crate) fn version(&self) -> Version {
        Version { author: self.author, generation: self.place.1 }
    }
}

/// Adds to a list that has one entry mostly, and one of them for each member: no room is kept for more.
pub(super) fn add<T>(list: &mut Vec<T>, entry: T) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.push(entry);
}
