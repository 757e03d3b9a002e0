//! What admins have taken from somebody, which no member gives back (S-3): see [`opening`](super::opening).
//!
//! Members may let in one device as often as they like, each beside the others; so what of all that was taken from it is
//! looked up and not searched. It is kept by log, in the order of the log: whatever one generation has in its past, the
//! later ones of its log have in theirs. So of each log of an admin it is asked where something begins, and not what each of
//! its generations says; and how much members gave does not matter.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::super::past::{Numbered, Past};
use super::facts::Standing;
use super::{Access, At, Grant, Holder, Judgement, Left, Nth};
use crate::id::{DeviceId, Generation, UserId, Version};
use crate::object::history::Place;
use crate::store::key::AuthorIx;

/// What generations say, by their logs, in the order of these.
type ByLog<T> = BTreeMap<AuthorIx, Vec<(Generation, T)>>;

/// What admins have taken, and what they have given, of those from whom anything was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// The revocations of what was given to somebody. Those of what was given to a user are there for each of its devices,
    /// too, as far as whoever made them knew that it was one.
    ends: BTreeMap<Holder, ByLog<Nth>>,
    /// What admins have given to these. What members have does not matter: it counts where an admin had given as much.
    gifts: BTreeMap<Holder, ByLog<Left>>,
    /// Where a revocation stands that these repeat, which was written again in another log.
    repeated: BTreeMap<Nth, Vec<Place>>,
}

impl Taken {
    /// Whether anything was taken from somebody.
    pub(super) fn is_from(&self, holder: Holder) -> bool {
        self.ends.contains_key(&holder)
    }

    /// Where a revocation stands that one repeats.
    pub(super) fn repeated(&self, nth: &Nth) -> &[Place] {
        self.repeated.get(nth).map_or(&[], Vec::as_slice)
    }

    /// The revocations of what was given to somebody, each once.
    pub(super) fn ends_of(&self, holder: Holder) -> impl Iterator<Item = Nth> {
        self.ends.get(&holder).into_iter().flatten().flat_map(|(_, ends)| ends).map(|(_, nth)| *nth)
    }
}

impl Access {
    /// What revocations that count take from whom, by what is `known`; and of what was `given`, as far as admins gave it,
    /// what stands against that. A revocation takes from somebody by what its author knew to be given: so what it takes
    /// does not hang on what else is known, but by what it repeats.
    pub(super) fn taken<'g>(
        &self,
        pasts: Numbered<'_>,
        known: Option<&Past>,
        takes: BTreeSet<(Holder, Nth)>,
        given: impl Iterator<Item = (Holder, &'g Grant)>,
    ) -> Taken {
        let mut taken = Taken::default();
        for (holder, nth) in takes {
            let Some(end) = self.revocations.get(&nth) else { continue };
            let repeated = self.again.repeated(&nth.0).iter().filter_map(|name| self.revocation_of(name));
            let repeated: Vec<Place> =
                repeated.filter(|place| known.is_none_or(|past| past.has(*place))).collect();
            if !repeated.is_empty() {
                taken.repeated.insert(nth, repeated);
            }
            let (ix, generation) = end.by;
            taken.ends.entry(holder).or_default().entry(ix).or_default().push((generation, nth));
        }
        taken.ends.values_mut().flat_map(BTreeMap::values_mut).for_each(|ends| ends.sort_unstable());
        let of_users = taken.ends.iter().filter_map(|(holder, ends)| match holder {
            Holder::User(user) => Some((*user, ends.clone())),
            _ => None,
        });
        for (user, ends) in of_users.collect::<Vec<_>>() {
            for device in self.devices_of(&user) {
                let of_device = taken.ends.entry(Holder::Device(*device)).or_default();
                for (ix, ends) in &ends {
                    let known = self.known_as_of_user(pasts, (device, &user), *ix, ends);
                    of_device.entry(*ix).or_default().extend_from_slice(known);
                }
                // Another revocation may have ended what was given to the device itself, or to another user of it.
                of_device.values_mut().for_each(|ends| {
                    ends.sort_unstable();
                    ends.dedup();
                });
            }
        }
        for (holder, grant) in given.filter(|(holder, _)| taken.ends.contains_key(holder)) {
            let ((ix, generation), Grant { rights, ends, .. }) = (grant.place(), grant);
            let left = Left { rights: *rights, ends: *ends };
            taken.gifts.entry(holder).or_default().entry(ix).or_default().push((generation, left));
        }
        taken.gifts.values_mut().flat_map(BTreeMap::values_mut).for_each(|gifts| gifts.sort_unstable());
        taken
    }

    /// Of the revocations of a log those that were made in the knowledge that a device is a user's. What somebody signs
    /// after that, who has lost all, takes nothing from anybody.
    fn known_as_of_user<'e>(
        &self,
        pasts: Numbered<'_>,
        (device, user): (&DeviceId, &UserId),
        ix: AuthorIx,
        ends: &'e [(Generation, Nth)],
    ) -> &'e [(Generation, Nth)] {
        let standing = self.standings.get(device).into_iter();
        let enrolments = standing.flat_map(Standing::enrolments).filter(|it| it.user == *user);
        let first =
            |place: Place| ends.partition_point(|(end, _)| !self.has_in_its_past(pasts, (ix, *end), place));
        let first = enrolments.map(|it| first(it.place())).min().unwrap_or(ends.len());
        ends.get(first..).unwrap_or_default()
    }

    /// What took away from somebody what a generation gives it, so that only an admin may give it again: all that leaves it
    /// less, and neither had that generation in its past nor is in the past of what an admin, as the generation knew, has
    /// given it since; nor does it repeat what did, or is. For one that is written again (S-26) is no other.
    pub(super) fn what_took<'a>(
        &'a self,
        judgement: &'a Judgement,
        pasts: Numbered<'a>,
        at: At<'a>,
        whom: Holder,
        given: Left,
    ) -> impl Iterator<Item = Nth> + 'a {
        let since: Vec<&Past> = self.given_since(&judgement.taken, pasts, at, whom, given).collect();
        // What somebody took, and has written again, was taken when it was written first.
        let repeated = &judgement.taken.repeated;
        let before = if repeated.is_empty() { Vec::new() } else { since.clone() };
        let not_said_before = move |(_, nth): &&(Generation, Nth)| {
            !repeated.get(nth).into_iter().flatten().any(|place| {
                let knew = |act: Place| self.has_in_its_past(pasts, *place, act);
                before.iter().any(|past| past.has(*place)) || at.place.is_some_and(knew)
            })
        };
        let logs = judgement.taken.ends.get(&whom).into_iter().flatten();
        let takes = move |(_, nth): &&(Generation, Nth)| {
            self.revocations.get(nth).is_some_and(|end| {
                let leaves = end.keep.map(|rights| Left { rights, ends: end.ends });
                !leaves.is_some_and(|left| left.covers(given))
            })
        };
        let not_excused = move |(ix, ends): (&AuthorIx, &'a Vec<(Generation, Nth)>)| {
            let excused = since.iter().map(|past| past.last(*ix)).max().unwrap_or(0);
            let first = ends.partition_point(|(end, _)| *end <= excused);
            let ends = ends.get(first..).unwrap_or_default();
            let last = at.place.map_or(ends.len(), |place| {
                ends.partition_point(|(end, _)| !self.has_in_its_past(pasts, (*ix, *end), place))
            });
            ends.get(..last).unwrap_or_default()
        };
        logs.flat_map(not_excused).filter(takes).filter(not_said_before).map(|(_, nth)| *nth)
    }

    /// Where a generation stands that revokes something, if that is known.
    fn revocation_of(&self, version: &Version) -> Option<Place> {
        let mut of_it = self.revocations.range((*version, 0)..=(*version, u32::MAX));
        of_it.next().map(|(_, end)| end.by)
    }

    /// Whether whoever revoked something knew of a generation.
    pub(super) fn knew(&self, pasts: Numbered<'_>, nth: &Nth, place: Place) -> bool {
        self.revocations.get(nth).is_some_and(|end| self.has_in_its_past(pasts, end.by, place))
    }

    /// The pasts of what admins have given to somebody, as a generation knew, that is as much as that one gives: of each log
    /// the last such, whose past is the greatest.
    fn given_since<'a>(
        &'a self,
        taken: &'a Taken,
        pasts: Numbered<'a>,
        at: At<'a>,
        whom: Holder,
        given: Left,
    ) -> impl Iterator<Item = &'a Past> {
        let logs = taken.gifts.get(&whom).into_iter().flatten();
        logs.filter_map(move |(ix, gifts)| {
            let known = at.past.last(*ix);
            let known = gifts.partition_point(|(gift, _)| *gift <= known && Some((*ix, *gift)) != at.place);
            let mut known = gifts.get(..known).unwrap_or_default().iter().rev();
            let (gift, _) = known.find(|(_, left)| left.covers(given))?;
            self.acts.past_of((*ix, *gift)).map(|past| pasts.get(past))
        })
    }

    /// Whether an act has a generation in its past, or is it.
    fn has_in_its_past(&self, pasts: Numbered<'_>, act: Place, other: Place) -> bool {
        self.acts.past_of(act).is_some_and(|past| pasts.get(past).has(other))
    }
}
