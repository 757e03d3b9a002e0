//! Where a syncgroup is published, and what has become of that (S-33).
//!
//! * An *attempt* is a generation that counts, by which an admin asks a device to take part. Of several at one device the
//!   last by (stamp, version) counts. Which one that is changes when it turns out to be void: then the one before it is
//!   the last.
//! * So whoever withdraws what is published at a device ends not only the last attempt that it knows, but those before it
//!   too: of the last eight that count for it those that are not withdrawn. So does whoever hears that it was declined:
//!   those that are neither withdrawn nor rejected.
//! * It is none any more where a generation that counts has withdrawn it. Else it has succeeded if the device is a
//!   member, or was one until its time was over. Else it is over if anything was said of the device's membership with a later stamp, that counts: that it was
//!   let in, has left, or was removed. Else it was rejected if a generation that counts says so, or is pending.

use std::collections::BTreeSet;

use driftless::{Address, DeviceId, Hlc, Knowledge, PublicationStatus, Rights, SyncgroupId, Version};

use super::{Fact, Group, Model, holds};

/// How many attempts at one device end at once.
const END_AT_ONCE: usize = 8;

/// A publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The generation that asked for it.
    pub attempt: Version,
    /// What the device may do then.
    pub rights: Rights,
    /// Where it can be reached.
    pub addresses: Vec<Address>,
    /// What has become of it.
    pub status: PublicationStatus,
}

impl Group {
    /// When the last thing was said of a device's membership, of what is held and counts.
    fn last_said_of(&self, device: &DeviceId, held: &Knowledge) -> Option<Hlc> {
        let mut said = Vec::new();
        let at = |version: &Version| self.generations.get(version).and_then(|it| it.stamp);
        for way in self.ways(device).into_iter().filter(|way| holds(held, way.grant.by)) {
            let Some(senior) = self.counted(&way.grant, held) else { continue };
            if way.enrolled.is_some_and(|(by, _)| !holds(held, by)) {
                continue;
            }
            said.extend([at(way.grant.by), way.enrolled.and_then(|(by, _)| at(by))]);
            let above = senior.filter(|_| way.grant.gives.rights == Rights::Admin);
            for (by, generation) in self.facts().filter(|(by, _)| holds(held, by)) {
                let mut revoked = generation.says.revokes().iter();
                let is_named =
                    revoked.any(|it| it.whom == way.grant.to() && it.grants.contains(way.grant.by));
                let is_ended = is_named && self.authority(by, held, above).is_some();
                let is_struck = match (&generation.says, way.enrolled) {
                    (Fact::StrikesOff(it), Some((_, enrolled))) => {
                        (it.user, it.device) == (enrolled.user, *device) && it.number >= enrolled.number
                    }
                    _ => false,
                };
                if is_ended || is_struck {
                    said.push(generation.stamp);
                }
            }
        }
        let departures = self
            .facts()
            .filter(|(by, it)| holds(held, by) && by.author.device == *device && it.says.leaves());
        said.extend(departures.map(|(_, it)| it.stamp));
        said.into_iter().flatten().max()
    }
}

impl Model {
    /// The attempts at a device that count, in their order.
    fn attempts(
        &self,
        group: &SyncgroupId,
        device: &DeviceId,
        held: &Knowledge,
    ) -> Vec<(Option<Hlc>, Version)> {
        let Some(of) = self.groups.get(group) else { return Vec::new() };
        let attempts = of.facts().filter(|(version, generation)| {
            matches!(&generation.says, Fact::Publishes(at, ..) if at == device)
                && holds(held, version)
                && !self.is_void(group, version, held)
        });
        let mut attempts: Vec<_> =
            attempts.map(|(version, generation)| (generation.stamp, *version)).collect();
        attempts.sort();
        attempts
    }

    /// What is said by generations that count to have ended of the attempts at a device: withdrawn, and rejected.
    fn ended(
        &self,
        group: &SyncgroupId,
        device: &DeviceId,
        held: &Knowledge,
    ) -> (BTreeSet<Version>, BTreeSet<Version>) {
        let (mut withdrawn, mut rejected) = (BTreeSet::new(), BTreeSet::new());
        let facts = self.groups.get(group).into_iter().flat_map(Group::facts);
        for (version, generation) in facts.filter(|(version, _)| holds(held, version)) {
            let (ended, all) = match &generation.says {
                Fact::Unpublishes(at, all) if at == device => (&mut withdrawn, all),
                Fact::Declines(at, all) if at == device => (&mut rejected, all),
                _ => continue,
            };
            if !self.is_void(group, version, held) {
                ended.extend(all.iter().copied());
            }
        }
        (withdrawn, rejected)
    }

    /// The attempts at a device that whoever holds a set of generations ends as it withdraws what is published there, or
    /// hears that it was `declined`.
    pub fn ends(
        &self,
        group: &SyncgroupId,
        device: &DeviceId,
        held: &Knowledge,
        declined: bool,
    ) -> BTreeSet<Version> {
        let (withdrawn, rejected) = self.ended(group, device, held);
        let last = self.attempts(group, device, held).into_iter().rev().take(END_AT_ONCE);
        let is_over = |it: &Version| withdrawn.contains(it) || declined && rejected.contains(it);
        last.map(|(_, attempt)| attempt).filter(|attempt| !is_over(attempt)).collect()
    }

    /// The generations that ask a device to take part, whether or not they count.
    pub fn requests(&self, group: &SyncgroupId, device: &DeviceId) -> BTreeSet<Version> {
        let facts = self.groups.get(group).into_iter().flat_map(Group::facts);
        let asks = |it: &Fact| matches!(it, Fact::Publishes(at, ..) if at == device);
        facts.filter(|(_, generation)| asks(&generation.says)).map(|(version, _)| *version).collect()
    }

    /// What is published at a device, by a set of generations.
    pub fn published(&self, group: &SyncgroupId, device: &DeviceId, held: &Knowledge) -> Option<Published> {
        let of = self.groups.get(group)?;
        let (said, attempt) = self.attempts(group, device, held).pop()?;
        let Fact::Publishes(_, rights, addresses) = &self.generation(group, &attempt)?.says else {
            return None;
        };
        let (withdrawn, rejected) = self.ended(group, device, held);
        if withdrawn.contains(&attempt) {
            return None;
        }
        let status = if self.rights(group, device, held, None).is_some() {
            PublicationStatus::Running
        } else if of.last_said_of(device, held) > said {
            return None;
        } else if rejected.contains(&attempt) {
            PublicationStatus::Rejected
        } else {
            PublicationStatus::Pending
        };
        Some(Published { attempt, rights: *rights, addresses: addresses.clone(), status })
    }
}
