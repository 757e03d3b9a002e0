//! Who may do what: grants, what ends them, and which of all that counts (S-20, S-34, S-35).
//!
//! Grants, departures and revocations are facts that only add up, each named by its version, so they merge in any
//! order. What of them counts is *judged*, by all facts that are known, and anew when a revocation comes along:
//!
//! * A generation is **valid** if for what it does there is a grant in its past that counts for it.
//! * A grant **counts** if the generation that gave it is valid; for its device's generations that do not know of a
//!   departure which ended it; and as far as valid revocations of it allow.
//! * A **revocation** leaves a grant as it was for the generations that it names, which are those that its author
//!   knew; for all others nothing is left of it, or less. So it reaches back to what was written beside it.
//! * Every grant of `Admin` has a **rank**: how many grants lie between it and the creator, and then its version.
//!   Whoever acts by a grant may revoke a grant of `Admin` only if that one has a greater rank: so two admins who
//!   remove each other while apart have one outcome, and nothing is ever judged by what hangs on it.
//!
//! By this order judging is one pass, from the creator down (S-35): when the turn of a grant comes, all is known that
//! may end it. A rank belongs to a grant, and not to its holder by its best grant, for a holder may have lost that one
//! and been let in again by somebody who ranks below it: what is judged first must not rest on what is judged later.
//!
//! That a revocation *names* the generations which it leaves alone, instead of leaving alone what is in its past,
//! saves everybody a walk through that past. What its author names wrongly harms nobody but the one whom its author
//! may remove altogether.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::past::{Numbered, Past, PastIx};
use super::{Member, Rights};
use crate::id::{Author, DeviceId, Generation, Incarnation, Name, Version};
use crate::log::record::MetaRecord;
use crate::object::history::Place;
use crate::store::key::AuthorIx;
use crate::time::Hlc;

mod judging;
#[cfg(test)]
mod tests;

pub(crate) use self::judging::{Judgement, Rank, Ranks};

/// A right given to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    author: AuthorIx,
    version: Version,
    stamp: Hlc,
    rights: Rights,
    name: Name,
}

impl Grant {
    fn place(&self) -> Place {
        (self.author, self.version.generation)
    }
}

/// That a device has left, and which grants to it ended by that.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Departure {
    by: Place,
    grants: BTreeSet<Version>,
}

/// All that is known of one device in a syncgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Standing {
    grants: Vec<Grant>,
    departures: Vec<Departure>,
}

impl Standing {
    /// Of several grants the one that gives the name: the same everywhere, whatever arrived first.
    fn latest(&self) -> Option<&Grant> {
        self.grants.iter().max_by_key(|grant| (grant.stamp, grant.version))
    }

    /// Whether a departure that is known ended a grant.
    fn has_left(&self, grant: &Version, known: impl Fn(Place) -> bool) -> bool {
        self.departures.iter().any(|departure| known(departure.by) && departure.grants.contains(grant))
    }
}

/// That grants to a device end, or give less.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Revocation {
    by: Place,
    stamp: Hlc,
    device: DeviceId,
    grants: BTreeSet<Version>,
    /// What is left of them.
    keep: Option<Rights>,
    /// The last generation of each of the device's logs for which they stay as they were.
    until: BTreeMap<Incarnation, Generation>,
}

impl Revocation {
    /// What a right comes to by it, for one of the device's generations.
    fn leaves(&self, rights: Rights, at: (Incarnation, Generation)) -> Option<Rights> {
        let is_before = self.until.get(&at.0).is_some_and(|last| at.1 <= *last);
        if is_before { Some(rights) } else { self.keep.map(|keep| keep.min(rights)) }
    }
}

/// Which revocation: its generation's version, and which record there.
type Nth = (Version, u32);

/// A generation by which somebody acts on what others may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Act {
    author: Author,
    /// The metadata in its past, itself included.
    past: PastIx,
}

/// The generation of a device whose rights are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'p> {
    pub(crate) author: Author,
    pub(crate) place: Option<Place>,
    pub(crate) generation: Generation,
    /// The metadata in its past.
    pub(crate) past: &'p Past,
}

/// What a syncgroup's log says of who may do what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    standings: BTreeMap<DeviceId, Standing>,
    revocations: BTreeMap<Nth, Revocation>,
    acts: BTreeMap<Place, Act>,
    genesis: Option<Place>,
    /// By all that is known.
    judgement: Judgement,
}

/// The generation that says something, as it is taken in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) place: Place,
    pub(crate) author: Author,
    pub(crate) stamp: Hlc,
    pub(crate) past: PastIx,
}

impl Source {
    pub(crate) fn version(&self) -> Version {
        Version { author: self.author, generation: self.place.1 }
    }
}

impl Access {
    /// Takes in a fact. Says whether what counts may be something else by it: then it has to be judged again.
    pub(crate) fn take(&mut self, from: Source, record: &MetaRecord) -> bool {
        match record {
            MetaRecord::Genesis { .. } => {
                self.genesis = Some(from.place);
                false
            }
            MetaRecord::Admit { key, name, rights, .. } => {
                let (author, version) = (from.place.0, from.version());
                let grant = Grant { author, version, stamp: from.stamp, rights: *rights, name: name.clone() };
                self.standings.entry(key.device()).or_default().grants.push(grant);
                self.acts.insert(from.place, Act { author: from.author, past: from.past });
                !self.revocations.is_empty()
            }
            MetaRecord::Leave { grants } => {
                let departure = Departure { by: from.place, grants: grants.iter().copied().collect() };
                self.standings.entry(from.author.device).or_default().departures.push(departure);
                // What knows of it was judged so before.
                false
            }
            MetaRecord::Revoke { device, grants, keep, until } => {
                let revocation = Revocation {
                    by: from.place,
                    stamp: from.stamp,
                    device: *device,
                    grants: grants.iter().copied().collect(),
                    keep: *keep,
                    until: until.iter().copied().collect(),
                };
                let version = from.version();
                let of_it = (version, 0)..=(version, u32::MAX);
                let nth = self.revocations.range(of_it).count() as u32;
                self.revocations.insert((version, nth), revocation);
                self.acts.insert(from.place, Act { author: from.author, past: from.past });
                true
            }
            MetaRecord::Collection { .. } | MetaRecord::Rule { .. } => false,
        }
    }

    /// Judges by all that is known. Returns what was thought before.
    pub(crate) fn judge(&mut self, pasts: Numbered<'_>) -> Judgement {
        let judgement = self.judged(pasts, None);
        core::mem::replace(&mut self.judgement, judgement)
    }

    /// What counts by all that is known.
    pub(crate) fn judgement(&self) -> &Judgement {
        &self.judgement
    }

    /// What a device may do at one of its generations, by the facts in the past of that alone: what everybody may
    /// hold is judged so, the same everywhere and for ever.
    pub(crate) fn rights_in(&self, pasts: Numbered<'_>, at: At<'_>) -> Option<Rights> {
        let known = |revocation: &Revocation| at.past.has(revocation.by);
        if !self.revocations.values().any(known) {
            self.rights_at(&Judgement::default(), at)
        } else if self.revocations.values().all(known) {
            // Further grants, which are not in the past, change nothing for those that are.
            self.rights_at(&self.judgement, at)
        } else {
            self.rights_at(&self.judged(pasts, Some(at.past)), at)
        }
    }

    /// What a device may do at one of its generations, by a judgement.
    pub(crate) fn rights_at(&self, judgement: &Judgement, at: At<'_>) -> Option<Rights> {
        if self.genesis.is_some() && at.place == self.genesis {
            return Some(Rights::Admin);
        }
        let device = &at.author.device;
        let standing = self.standings.get(device)?;
        let known = |place: Place| at.past.has(place) && Some(place) != at.place;
        let counts = |grant: &&Grant| {
            known(grant.place())
                && !judgement.is_void(&grant.place())
                && !standing.has_left(&grant.version, known)
        };
        let of = (at.author.incarnation, at.generation);
        let left = |grant: &Grant| {
            let ends = judgement.ends(device, &grant.version).iter();
            let mut ends = ends.filter_map(|nth| self.revocations.get(nth));
            ends.try_fold(grant.rights, |rights, end| end.leaves(rights, of))
        };
        standing.grants.iter().filter(counts).filter_map(left).max()
    }

    /// What is left of a grant for what its device writes from now on.
    fn left(&self, device: &DeviceId, standing: &Standing, grant: &Grant) -> Option<Rights> {
        if self.judgement.is_void(&grant.place()) || standing.has_left(&grant.version, |_| true) {
            return None;
        }
        let ends = self.judgement.ends(device, &grant.version).iter();
        let mut ends = ends.filter_map(|nth| self.revocations.get(nth));
        ends.try_fold(grant.rights, |rights, end| end.keep.map(|keep| keep.min(rights)))
    }

    /// The grants to a device that still give something, and what.
    fn standing_grants<'a>(&'a self, device: &'a DeviceId) -> impl Iterator<Item = (&'a Grant, Rights)> {
        let standing = self.standings.get(device).into_iter();
        let grants = standing.flat_map(|standing| standing.grants.iter().map(move |grant| (standing, grant)));
        grants.filter_map(|(standing, grant)| Some((grant, self.left(device, standing, grant)?)))
    }

    /// What a device may do by all that is known here.
    pub(crate) fn rights(&self, device: &DeviceId) -> Option<Rights> {
        self.standing_grants(device).map(|(_, rights)| rights).max()
    }

    /// The grants to a device that have not ended.
    pub(crate) fn grants(&self, device: &DeviceId) -> Vec<Version> {
        self.standing_grants(device).map(|(grant, _)| grant.version).collect()
    }

    /// The grants to a device that give more than something.
    pub(crate) fn grants_above(&self, device: &DeviceId, rights: Option<Rights>) -> Vec<Version> {
        let more = self.standing_grants(device).filter(|(_, left)| Some(*left) > rights);
        more.map(|(grant, _)| grant.version).collect()
    }

    /// Whether a device is or was a member.
    pub(crate) fn is_known(&self, device: &DeviceId) -> bool {
        self.standings.get(device).is_some_and(|standing| !standing.grants.is_empty())
    }

    /// Whether a device was a member and is none any more.
    pub(crate) fn is_former(&self, device: &DeviceId) -> bool {
        self.is_known(device) && self.rights(device).is_none()
    }

    /// Whether a device is no member any more, and not because it left: that goes by its latest admission, as it may
    /// have been let in again.
    pub(crate) fn is_removed(&self, device: &DeviceId) -> bool {
        let has_left = |standing: &Standing| {
            standing.latest().is_some_and(|grant| standing.has_left(&grant.version, |_| true))
        };
        self.is_former(device) && !self.standings.get(device).is_some_and(has_left)
    }

    /// Whether the facts in a past say all that is known of a device's departure.
    pub(crate) fn has_departed_in(&self, device: &DeviceId, past: &Past) -> bool {
        let departures = self.standings.get(device).map(|standing| &standing.departures);
        departures.is_some_and(|departures| departures.iter().all(|departure| past.has(departure.by)))
    }

    /// Whether a device is known to be no member any more, by something of which somebody did not know.
    pub(crate) fn has_gone_since(&self, device: &DeviceId, knew: impl Fn(Place) -> bool) -> bool {
        let standing = self.standings.get(device);
        let mut departures = standing.into_iter().flat_map(|standing| &standing.departures);
        let is_news = departures.any(|departure| !knew(departure.by))
            || self.what_removed(device).into_iter().any(|place| !knew(place));
        is_news && self.is_former(device)
    }

    /// Whether what an author wrote up to some generation as an admin is void from some point before on.
    pub(crate) fn is_void_before(&self, author: &Author, last: Generation) -> bool {
        let grants = self.standings.get(&author.device).into_iter().flat_map(|standing| &standing.grants);
        let ends = grants.flat_map(|grant| self.judgement.ends(&author.device, &grant.version));
        let mut ends = ends.filter_map(|nth| self.revocations.get(nth));
        ends.any(|end| {
            end.keep < Some(Rights::Admin) && end.until.get(&author.incarnation).is_none_or(|it| *it < last)
        })
    }

    /// What a device that is no member any more has to know to see that: of each grant what ended it, or what made
    /// void the generation that gave it. The first of several, as others may know more than the device may learn.
    pub(crate) fn what_ended(&self, device: &DeviceId) -> BTreeSet<Place> {
        let mut found = self.what_removed(device);
        let standing = self.standings.get(device);
        found.extend(standing.into_iter().flat_map(|it| &it.departures).map(|departure| departure.by));
        found
    }

    fn what_removed(&self, device: &DeviceId) -> BTreeSet<Place> {
        let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::from([*device]));
        // Of who gave a grant it matters what ended the right to give any.
        let mut work = alloc::vec![(*device, None)];
        while let Some((device, least)) = work.pop() {
            for grant in self.standings.get(&device).into_iter().flat_map(|standing| &standing.grants) {
                let ends = self.judgement.ends(&device, &grant.version).iter();
                let ends = ends.filter_map(|nth| Some((self.revocations.get(nth)?, nth)));
                let ends = ends.filter(|(end, _)| end.keep <= least);
                if let Some((end, _)) = ends.min_by_key(|(end, nth)| (end.stamp, **nth)) {
                    found.insert(end.by);
                } else if self.judgement.is_void(&grant.place()) {
                    let giver = grant.version.author.device;
                    work.extend(seen.insert(giver).then_some((giver, Some(Rights::Write))));
                }
            }
        }
        found
    }

    /// The devices that may do anything, with what they may do.
    pub(crate) fn joined(&self) -> impl Iterator<Item = (&DeviceId, Rights)> {
        self.standings.keys().filter_map(|device| Some((device, self.rights(device)?)))
    }

    /// Everybody who was ever admitted, by device.
    pub(crate) fn members(&self) -> Vec<Member> {
        let member = |(device, standing): (&DeviceId, &Standing)| {
            let latest = standing.latest()?;
            let removed = self.is_removed(device);
            let (name, admitted) = (latest.name.clone(), latest.version);
            Some(Member { device: *device, name, rights: self.rights(device), admitted, removed })
        };
        self.standings.iter().filter_map(member).collect()
    }
}
