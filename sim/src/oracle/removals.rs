//! Oracles of removals: who may take what from whom, and what that comes to (S-34, S-35).

use driftless::{Core, DeviceId, Knowledge, Refusal, Rights, SyncgroupId, SyncgroupState, Version};

use super::answers::infos;
use super::{Watch, WriteExpected};
use crate::coverage::{Coverage, Point};
use crate::model::{Fact, Revoked, Whom, holds};

impl Watch {
    /// Says what should become of the wish that a device have other rights, or none.
    pub(crate) fn expect_rights(
        &self,
        core: &Core,
        group: SyncgroupId,
        device: DeviceId,
        rights: Option<Rights>,
        stopping: bool,
    ) -> WriteExpected {
        let mut expected = self.expect_admin(core, &group, stopping);
        if device == core.author().device {
            expected.reasons.push(Refusal::Yourself);
        }
        let held = core.held(&group).unwrap_or_default();
        let had = self.model.rights(&group, &device, &held);
        if had.is_none() {
            expected.reasons.push(Refusal::NoMember(device));
        }
        let fact = if had > rights {
            // What a device may do as a user's is not its own to lose.
            let by_user = self.model.by_user(&group, &device, &held);
            let by_user = by_user.filter(|(left, _)| Some(*left) > rights).map(|(_, user)| user);
            expected.reasons.extend(by_user.map(|user| Refusal::DeviceOf { device, user }));
            match self.model.revoking(&group, &core.author().device, Whom::Device(device), rights, &held) {
                _ if by_user.is_some() => None,
                Ok(revoked) => Some(Fact::Revokes(vec![revoked])),
                Err(_) => {
                    expected.reasons.push(Refusal::Senior(device));
                    None
                }
            }
        } else {
            rights.filter(|rights| had < Some(*rights)).map(|rights| Fact::Admits(device, rights))
        };
        let withheld = self.sabotage.is_some_and(crate::world::Sabotage::withholds_removals);
        expected.says(core, group, fact.map(|fact| if withheld { Fact::Nothing } else { fact }));
        expected
    }

    /// Says what should become of the wish that a syncgroup be no more.
    pub(crate) fn expect_end(&self, core: &Core, group: SyncgroupId, stopping: bool) -> WriteExpected {
        let mut expected = self.expect_admin(core, &group, stopping);
        let held = core.held(&group).unwrap_or_default();
        let ended = self.model.destroying(&group, &core.author().device, &held);
        expected.says(core, group, Some(Fact::Destroys(ended)));
        expected
    }

    /// Says what should become of the wish to leave (S-31): whoever is the last that may let anybody in stays, unless
    /// nobody else is there.
    pub(crate) fn expect_leave(&self, core: &Core, group: SyncgroupId, stopping: bool) -> WriteExpected {
        let mut expected = WriteExpected::default();
        expected.reasons.extend(stopping.then_some(Refusal::ShuttingDown));
        let is_active = infos(core).get(&group).is_some_and(|info| info.state == SyncgroupState::Active);
        let all = self.model.all_rights(&group, &core.held(&group).unwrap_or_default());
        let own = Whom::Device(core.author().device);
        let is_other = |whom: &Whom| matches!(whom, Whom::Device(_)) && *whom != own;
        let others: Vec<Rights> = all.iter().filter(|(it, _)| is_other(it)).map(|(_, has)| *has).collect();
        let is_admin = |rights: &Rights| *rights == Rights::Admin;
        let is_last = all.get(&own).is_some_and(is_admin) && !others.iter().any(is_admin);
        expected.reasons.extend((is_active && is_last && !others.is_empty()).then_some(Refusal::LastAdmin));
        expected
    }

    pub(crate) fn expect_admin(&self, core: &Core, group: &SyncgroupId, stopping: bool) -> WriteExpected {
        self.expect_with(core, group, Rights::Admin, stopping)
    }

    /// What is refused of something for which it takes a right.
    pub(super) fn expect_with(
        &self,
        core: &Core,
        group: &SyncgroupId,
        right: Rights,
        stopping: bool,
    ) -> WriteExpected {
        let infos = infos(core);
        let waits = infos.get(group).is_some_and(|info| info.waiting > 0);
        let mut expected = WriteExpected { waits, ..WriteExpected::default() };
        expected.reasons.extend(stopping.then_some(Refusal::ShuttingDown));
        expected.reasons.extend(self.reasons(core, group, right, [].into_iter()));
        expected
    }

    /// Counts what comes of removals.
    pub(crate) fn count_removal(&self, core: &Core, expected: &WriteExpected, coverage: &mut Coverage) {
        let Some((group, version, fact)) = &expected.fact else { return };
        let held = core.held(group).unwrap_or_default();
        if !holds(&held, version) {
            return;
        }
        match fact {
            Fact::Admits(..) => coverage.hit(Point::RightsRaised),
            Fact::AdmitsUser(..) => coverage.hit(Point::UserAdmitted),
            Fact::Enrols(_) => coverage.hit(Point::DeviceEnrolled),
            Fact::StrikesOff(struck) => {
                coverage.hit(Point::StruckOff);
                let writes_on =
                    |(other, _): (&Version, _)| other.author.device == struck.device && !holds(&held, other);
                if self.model.generations(group).any(writes_on) {
                    coverage.hit(Point::StruckOffBesideWrites);
                }
            }
            Fact::Revokes(all) if all.iter().all(|it| matches!(it.whom, Whom::User(_))) => {
                coverage.hit(Point::UserRevoked);
            }
            Fact::Destroys(_) => coverage.hit(Point::Destroyed),
            Fact::Revokes(all) if all.iter().all(|revoked| revoked.keep.is_none()) => {
                coverage.hit(Point::Removed);
                let author = version.author.device;
                let removes_author = |it: &Revoked| it.whom == Whom::Device(author);
                let devices: Vec<Whom> = all.iter().map(|revoked| revoked.whom).collect();
                let mut others = self.model.generations(group).filter(|(other, _)| !holds(&held, other));
                if others.any(|(other, it)| {
                    devices.contains(&Whom::Device(other.author.device))
                        && it.says.revokes().iter().any(removes_author)
                }) {
                    coverage.hit(Point::RemovedEachOther);
                }
            }
            Fact::Revokes(_) => coverage.hit(Point::RightsLowered),
            _ => {}
        }
    }

    /// Whether a device that writes was removed already, as somebody knows, and has not heard of it.
    pub(crate) fn is_removed_elsewhere(&self, replica: usize, group: &SyncgroupId) -> bool {
        let device = &self.devices[replica];
        let nothing = Knowledge::new();
        let own = self.notes[replica].held.get(group).unwrap_or(&nothing);
        let mut others = self.notes.iter().filter_map(|notes| notes.held.get(group));
        self.model.rights(group, device, own).is_some()
            && others.any(|held| {
                self.model.has_revocations(group, held) && self.model.rights(group, device, held).is_none()
            })
    }
}

impl WriteExpected {
    pub(super) fn says(&mut self, core: &Core, group: SyncgroupId, fact: Option<Fact>) {
        let author = core.author();
        let held = core.held(&group).unwrap_or_default();
        let generation = held.get(&author).copied().unwrap_or(0) + 1;
        let fact = fact.filter(|_| self.reasons.is_empty());
        self.fact = fact.map(|fact| (group, Version { author, generation }, fact));
    }
}
