//! Users and their devices, and what all may do, for whoever asks (S-3).

use std::collections::{BTreeMap, BTreeSet};

use driftless::{DeviceId, Knowledge, Rights, SyncgroupId, UserId, Version, Wall};

use super::{Enrolled, Fact, Granted, Model, Struck, Whom, holds};

impl Model {
    /// All devices and users that may do anything at a moment by a set of generations, with what.
    pub fn all_rights(
        &self,
        group: &SyncgroupId,
        held: &Knowledge,
        when: Option<Wall>,
    ) -> BTreeMap<Whom, Rights> {
        let facts = self.facts(group).filter(|(by, _)| holds(held, by));
        let granted = facts.flat_map(|(by, generation)| {
            let enrolled = match &generation.says {
                Fact::Enrols(it) => Some(Whom::Device(it.device)),
                _ => None,
            };
            let granted = generation.says.grants(&by.author.device).map(|(whom, _)| whom);
            granted.into_iter().chain(enrolled)
        });
        let rights = granted.collect::<BTreeSet<Whom>>().into_iter().filter_map(|whom| {
            let rights = match &whom {
                Whom::Device(device) => self.rights(group, device, held, when),
                Whom::User(user) => self.rights_of(group, user, held, when),
                // It makes nobody a member.
                Whom::Everybody => None,
            };
            Some((whom, rights?))
        });
        rights.collect()
    }

    /// What is left to somebody by a set of generations, by each grant that is left, whatever the time is.
    pub fn left_to(&self, group: &SyncgroupId, whom: Whom, held: &Knowledge) -> Vec<Granted> {
        let of = self.groups.get(group);
        of.map(|of| of.standing(whom, held)).into_iter().flatten().map(|(.., left)| left).collect()
    }

    /// The same, of a device only by what is granted to it by itself.
    pub fn granted_itself(&self, group: &SyncgroupId, whom: Whom, held: &Knowledge) -> Vec<Granted> {
        let standing = self.groups.get(group).map(|of| of.standing(whom, held)).into_iter().flatten();
        standing.filter(|(way, ..)| way.enrolled.is_none()).map(|(.., left)| left).collect()
    }

    /// The user by whom a device may do the most at a moment, and then for longest, with what, by a set of generations.
    pub fn by_user(
        &self,
        group: &SyncgroupId,
        device: &DeviceId,
        (held, when): (&Knowledge, Option<Wall>),
    ) -> Option<(Granted, UserId)> {
        let of = self.groups.get(group)?;
        let users = of.standing(Whom::Device(*device), held).into_iter().filter_map(|(way, _, left)| {
            let (_, enrolled) = way.enrolled?;
            left.at(when).map(|_| (left, enrolled.user))
        });
        users.max_by_key(|(left, user)| (left.rights, left.ends.is_none(), left.ends, *user))
    }

    /// Whether a certificate is of no use any more, by a set of generations.
    pub fn is_struck_off(&self, group: &SyncgroupId, it: &Enrolled, held: &Knowledge) -> bool {
        let Some(of) = self.groups.get(group) else { return false };
        of.facts().filter(|(by, _)| holds(held, by)).any(|(_, generation)| {
            let struck = |other: &Struck| {
                (other.user, other.device) == (it.user, it.device) && other.number >= it.number
            };
            matches!(&generation.says, Fact::StrikesOff(other) if struck(other))
        })
    }

    /// The numbers of a user's certificates for a device in a set of generations, and whether each still stands.
    pub fn certificates(
        &self,
        group: &SyncgroupId,
        (user, device): (&UserId, &DeviceId),
        held: &Knowledge,
    ) -> Vec<(u64, bool)> {
        let Some(of) = self.groups.get(group) else { return Vec::new() };
        let known = of.enrolments(device).filter(|(by, it)| it.user == *user && holds(held, by));
        let stands = |(by, it): (&Version, Enrolled)| {
            let stands =
                !of.has_left(by, device, held, (held, None)) && !self.is_struck_off(group, &it, held);
            (it.number, stands)
        };
        known.map(stands).collect()
    }
}
