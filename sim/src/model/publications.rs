//! Where a syncgroup is published, and what has become of that (S-33).
//!
//! * An *attempt* is a generation that counts, by which an admin asks a device to take part. Of several at one device the
//!   last by (stamp, version) counts.
//! * It is none any more where a generation that counts has withdrawn it. Else it has succeeded if the device is a
//!   member, or was one until its time was over. Else it is over if anything was said of the device's membership with a later stamp, that counts: that it was
//!   let in, has left, or was removed. Else it was rejected if a generation that counts says so, or is pending.

use driftless::{Address, DeviceId, Hlc, Knowledge, PublicationStatus, Rights, SyncgroupId, Version};

use super::{Fact, Group, Model, holds};

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
        let at = |version: &Version| self.generations.get(version).and_then(|it| it.said);
        for way in self.ways(device).into_iter().filter(|way| holds(held, way.grant.by)) {
            let Some(senior) = self.seniority(&way.grant, held) else { continue };
            if way.enrolled.is_some_and(|(by, _)| !holds(held, by)) {
                continue;
            }
            said.extend([at(way.grant.by), way.enrolled.and_then(|(by, _)| at(by))]);
            let above = (way.grant.gives.rights == Rights::Admin).then_some(senior);
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
                    said.push(generation.said);
                }
            }
        }
        let departures = self
            .facts()
            .filter(|(by, it)| holds(held, by) && by.author.device == *device && it.says.leaves());
        said.extend(departures.map(|(_, it)| it.said));
        said.into_iter().flatten().max()
    }
}

impl Model {
    /// What is published at a device, by a set of generations.
    pub fn published(&self, group: &SyncgroupId, device: &DeviceId, held: &Knowledge) -> Option<Published> {
        let of = self.groups.get(group)?;
        let counts = |version: &Version| holds(held, version) && !self.is_void(group, version, held);
        let attempts = of.facts().filter_map(|(version, generation)| match &generation.says {
            Fact::Publishes(at, rights, addresses) if at == device => {
                Some(((generation.said, *version), *rights, addresses))
            }
            _ => None,
        });
        let counting = attempts.filter(|((_, version), ..)| counts(version));
        let ((said, attempt), rights, addresses) = counting.max_by_key(|(at, ..)| *at)?;
        let is_said = |fact: Fact| of.facts().any(|(version, it)| it.says == fact && counts(version));
        if is_said(Fact::Unpublishes(*device, attempt)) {
            return None;
        }
        let status = if self.rights(group, device, held, None).is_some() {
            PublicationStatus::Running
        } else if of.last_said_of(device, held) > said {
            return None;
        } else if is_said(Fact::Declines(*device, attempt)) {
            PublicationStatus::Rejected
        } else {
            PublicationStatus::Pending
        };
        Some(Published { attempt, rights, addresses: addresses.clone(), status })
    }
}
