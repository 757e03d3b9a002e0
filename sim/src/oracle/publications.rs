//! Oracles of publication (S-33): members are told what the model says, nobody is said to have declined that has not, and
//! in the end whoever is asked to take part knows it, and nobody else.

use std::collections::BTreeSet;

use driftless::{
    Address, Core, DeviceId, Invitation, Knowledge, PublicationStatus, Refusal, Rights, SyncgroupId,
    SyncgroupState, Version,
};

use super::{Checked, Oracle, Seen, Violation, Watch, WriteExpected};
use crate::coverage::{Coverage, Point};
use crate::model::{Fact, Published};

/// What a device was offered.
#[derive(Debug, Clone)]
pub(super) struct Invited {
    device: DeviceId,
    invitation: Invitation,
    /// The requests that there were when it was first told: the offer stands for one of them.
    attempts: BTreeSet<Version>,
}

impl Watch {
    /// Says what should become of the wish that a syncgroup be published.
    pub(crate) fn expect_publish(
        &self,
        core: &Core,
        (group, device): (SyncgroupId, DeviceId),
        rights: Rights,
        addresses: &[Address],
        stopping: bool,
    ) -> WriteExpected {
        let (mut expected, held) = self.expect_of_guest(core, &group, device, stopping);
        let is_asked = self.model.published(&group, &device, &held).is_some_and(|it| {
            it.status == PublicationStatus::Pending && it.rights == rights && it.addresses == addresses
        });
        let fact = Fact::Publishes(device, rights, addresses.to_vec());
        expected.says(core, group, (!is_asked).then_some(fact));
        expected
    }

    /// What is refused of a wish that concerns a device that is no member yet, and what is held of the syncgroup.
    fn expect_of_guest(
        &self,
        core: &Core,
        group: &SyncgroupId,
        device: DeviceId,
        stopping: bool,
    ) -> (WriteExpected, Knowledge) {
        let mut expected = self.expect_admin(core, group, stopping);
        let held = core.held(group).unwrap_or_default();
        let is_member = self.model.rights(group, &device, &held, None).is_some();
        expected.reasons.extend(is_member.then_some(Refusal::IsMember(device)));
        (expected, held)
    }

    /// Says what should become of the wish that it be published no more.
    pub(crate) fn expect_unpublish(
        &self,
        core: &Core,
        (group, device): (SyncgroupId, DeviceId),
        stopping: bool,
    ) -> WriteExpected {
        let (mut expected, held) = self.expect_of_guest(core, &group, device, stopping);
        let published = self.model.published(&group, &device, &held);
        if published.is_none() {
            expected.reasons.push(Refusal::NotPublished(device));
        }
        let ended = self.model.ends(&group, &device, &held, false);
        let fact = published.map(|_| Fact::Unpublishes(device, ended));
        expected.says(core, group, fact);
        expected
    }

    /// A device is told of an offer.
    pub(super) fn invited(&mut self, device: DeviceId, invitation: &Invitation) {
        if self.stands_for(device, invitation).is_none() {
            let attempts = self.model.requests(&invitation.syncgroup(), &device);
            self.invited.push(Invited { device, invitation: invitation.clone(), attempts });
        }
    }

    /// The attempts that an offer may stand for, if the device was told of it.
    fn stands_for(&self, device: DeviceId, invitation: &Invitation) -> Option<&BTreeSet<Version>> {
        let mut all = self.invited.iter();
        all.find(|it| it.device == device && it.invitation == *invitation).map(|it| &it.attempts)
    }

    /// A device declines an offer.
    pub(crate) fn declines(&mut self, device: DeviceId, invitation: &Invitation) {
        self.invited(device, invitation);
        let attempts = self.stands_for(device, invitation).cloned().unwrap_or_default();
        let (group, by) = (invitation.syncgroup(), invitation.issuer().device());
        self.declined.extend(attempts.into_iter().map(|attempt| (group, device, by, attempt)));
    }

    /// What a replica writes that has heard that its offer was declined.
    pub(super) fn heard_decline(
        &self,
        seen: Seen<'_>,
        group: &SyncgroupId,
        (device, attempt): (DeviceId, Version),
    ) -> Result<Fact, Violation> {
        let issuer = self.devices[seen.replica];
        let is_hostile =
            self.devices.iter().position(|it| *it == device).is_none_or(|at| self.fates[at].hostile);
        if !is_hostile && !self.declined.contains(&(*group, device, issuer, attempt)) {
            let what =
                format!("says that {device:?} has declined {attempt:?} of {group:?}, which it has not");
            return Err(Violation::new(Oracle::Access, "S-33", seen.replica, what));
        }
        let held = seen.core.held(group).unwrap_or_default();
        Ok(Fact::Declines(device, self.model.ends(group, &device, &held, true)))
    }

    /// Members are told where a syncgroup is published, and what has become of that.
    pub(super) fn tells_the_publications(&self, seen: Seen<'_>) -> Checked {
        for info in seen.core.syncgroups() {
            let held = seen.core.held(&info.id).unwrap_or_default();
            let mut asked: Vec<DeviceId> = self
                .model
                .facts(&info.id)
                .filter_map(|(_, it)| match &it.says {
                    Fact::Publishes(device, ..) => Some(*device),
                    _ => None,
                })
                .collect();
            asked.sort();
            asked.dedup();
            let expected = asked
                .into_iter()
                .filter_map(|device| Some((device, self.model.published(&info.id, &device, &held)?)));
            let told = info.publications.into_iter().map(|it| {
                let published = Published {
                    attempt: it.attempt,
                    rights: it.rights,
                    addresses: it.addresses,
                    status: it.status,
                };
                (it.device, published)
            });
            let (expected, told): (Vec<_>, Vec<_>) = (expected.collect(), told.collect());
            if told != expected {
                let what =
                    format!("tells of {:?} that it is published {told:?}; it is {expected:?}", info.id);
                return Err(Violation::new(Oracle::Model, "S-33", seen.replica, what));
            }
        }
        Ok(())
    }

    /// Whoever shall take part, as an admin says that can be asked, has been told of it; or takes part for all it knows,
    /// or has asked to.
    pub(super) fn offered(&self, all: &[Seen<'_>]) -> Checked {
        for admin in all {
            let own = self.devices[admin.replica];
            for info in admin.core.syncgroups() {
                let is_admin = info.state == SyncgroupState::Active && info.rights == Some(Rights::Admin);
                let is_sound =
                    !self.fates[admin.replica].is_changed() && self.is_member(&info.id, admin.replica);
                let pending = info.publications.iter().filter(|it| {
                    is_admin && is_sound && !info.paused && it.status == PublicationStatus::Pending
                });
                for publication in pending {
                    let is_it = |seen: &&Seen<'_>| self.devices[seen.replica] == publication.device;
                    let Some(target) = all.iter().find(is_it) else { continue };
                    let attempt = &publication.attempt;
                    if self.fates[target.replica].hostile || self.knows_of(target, &info.id, &own, attempt) {
                        continue;
                    }
                    let what = format!(
                        "was never told that {:?} is published there, as replica {} says",
                        info.id, admin.replica
                    );
                    return Err(Violation {
                        oracle: Oracle::Convergence,
                        rule: "S-33",
                        replicas: vec![target.replica, admin.replica],
                        what,
                    });
                }
            }
        }
        Ok(())
    }

    /// What a device was offered that it has not answered is still published there, as each admin says who has offered it
    /// and is linked to it.
    pub(super) fn not_withdrawn(&self, all: &[Seen<'_>]) -> Checked {
        for target in all.iter().filter(|seen| !self.fates[seen.replica].hostile) {
            let device = self.devices[target.replica];
            for offer in target.core.invitations() {
                let (group, by) = (offer.syncgroup(), offer.issuer().device());
                let is_linked = |one: &Seen<'_>, to: &DeviceId| {
                    one.core.status().links.iter().any(|link| link.device == *to)
                };
                let issuer = all.iter().find(|seen| self.devices[seen.replica] == by);
                let sound = issuer.filter(|seen| {
                    !self.fates[seen.replica].is_changed()
                        && is_linked(seen, &device)
                        && is_linked(target, &by)
                });
                let Some(issuer) = sound else { continue };
                let infos = issuer.core.syncgroups();
                let info = infos.iter().find(|info| info.id == group);
                if info.is_some_and(|info| info.paused) {
                    continue;
                }
                let is_it =
                    |attempt| self.stands_for(device, &offer).is_some_and(|all| all.contains(attempt));
                let is_pending = info.into_iter().flat_map(|info| &info.publications).any(|it| {
                    it.device == device && it.status == PublicationStatus::Pending && is_it(&it.attempt)
                });
                if !is_pending {
                    let what = format!(
                        "is told that {group:?} is published there by replica {}, which says that it is not",
                        issuer.replica
                    );
                    return Err(Violation {
                        oracle: Oracle::Convergence,
                        rule: "S-33",
                        replicas: vec![target.replica, issuer.replica],
                        what,
                    });
                }
            }
        }
        Ok(())
    }

    fn knows_of(&self, seen: &Seen<'_>, group: &SyncgroupId, by: &DeviceId, attempt: &Version) -> bool {
        use SyncgroupState::{Active, Joining, Leaving, Pending};
        let device = self.devices[seen.replica];
        let is_offer = |it: &Invitation| {
            it.syncgroup() == *group
                && it.issuer().device() == *by
                && self.stands_for(device, it).is_some_and(|all| all.contains(attempt))
        };
        let infos = seen.core.syncgroups();
        let info = infos.iter().find(|info| info.id == *group);
        info.is_some_and(|it| it.paused || matches!(it.state, Active | Joining | Leaving | Pending))
            || seen.core.invitations().iter().any(is_offer)
            || self.declined.contains(&(*group, device, *by, *attempt))
    }

    /// Counts what has become of publications, as a member is told.
    pub(super) fn count_publications(&self, core: &Core, group: &SyncgroupId, coverage: &mut Coverage) {
        let infos = core.syncgroups();
        let info = infos.iter().find(|info| info.id == *group);
        for publication in info.into_iter().flat_map(|info| &info.publications) {
            match publication.status {
                PublicationStatus::Running => coverage.hit(Point::PublicationRunning),
                PublicationStatus::Rejected => coverage.hit(Point::PublicationRejected),
                _ => {}
            }
        }
    }
}

impl WriteExpected {
    /// What it exercises, if it is a wish about publication.
    pub(crate) fn publishes(&self) -> Option<Point> {
        match self.fact {
            Some((_, _, Fact::Publishes(..))) => Some(Point::Published),
            Some((_, _, Fact::Unpublishes(..))) => Some(Point::Unpublished),
            _ => None,
        }
    }
}
