//! Oracles of removals: who may take what from whom, and what that comes to (S-34, S-35).

use driftless::{Core, DeviceId, Knowledge, Refusal, Rights, SyncgroupId, SyncgroupState, Version};

use super::answers::infos;
use super::{Watch, WriteExpected};
use crate::coverage::{Coverage, Point};
use crate::model::{Fact, Granted, Revoked, Whom, holds};

impl Watch {
    /// What a change of rights should come to, for all that somebody holds: `None` if it changes nothing. `Err` if it is
    /// not theirs to make.
    pub(super) fn changed(
        &self,
        core: &Core,
        group: &SyncgroupId,
        whom: Whom,
        wanted: Option<Granted>,
        (present, by_others): (&[Granted], bool),
    ) -> Result<Option<Fact>, ()> {
        let held = core.held(group).unwrap_or_default();
        let moment = self.moment(core);
        // What it has by itself is lessened where it is more in any way, and completed where it is less in any.
        let own = self.model.granted_itself(group, whom, &held);
        let is_more = |left: &Granted| !wanted.is_some_and(|wanted| wanted.covers(*left));
        let lessened = if own.iter().any(is_more) || wanted.is_none() {
            let (by, known) = (core.author().device, (&held, moment));
            let revoked = match (whom, wanted) {
                (Whom::Device(device), None) => self.model.ejecting(group, &by, &device, known),
                _ => self.model.revoking(group, &by, whom, wanted, known),
            };
            Some(revoked.map_err(|_| ())?)
        } else {
            None
        };
        if by_others {
            return Err(());
        }
        let lacking = wanted.filter(|wanted| !present.iter().any(|left| left.covers(*wanted)));
        Ok(match (lessened, lacking, whom) {
            (Some(lessened), Some(granted), _) => Some(Fact::Replaces(lessened, granted)),
            (Some(lessened), None, _) => Some(Fact::Revokes(vec![lessened])),
            (None, Some(granted), Whom::Device(device)) => Some(Fact::Admits(device, granted)),
            (None, Some(granted), Whom::User(user)) => Some(Fact::AdmitsUser(user, granted)),
            (None, Some(granted), Whom::Everybody) => Some(Fact::Opens(granted)),
            (None, None, _) => None,
        })
    }

    /// Says what should become of the wish that a device have other rights, or none.
    pub(crate) fn expect_rights(
        &self,
        core: &Core,
        group: SyncgroupId,
        device: DeviceId,
        wanted: Option<Granted>,
        stopping: bool,
    ) -> WriteExpected {
        let mut expected = self.expect_admin(core, &group, stopping);
        if device == core.author().device {
            expected.reasons.push(Refusal::Yourself);
        }
        let held = core.held(&group).unwrap_or_default();
        let present = self.model.left_to(&group, Whom::Device(device), &held);
        // Of one that has left, a copy may not know.
        let is_copied = wanted.is_none() && self.model.is_forsaken(&group, &device, &held);
        if present.is_empty() && !is_copied {
            expected.reasons.push(Refusal::NoMember(device));
        }
        // What a device may do as a user's is not its own to lose.
        let more = |left: &Granted| match wanted {
            None => true,
            Some(wanted) => {
                let order = |it: &Granted| (it.rights, it.ends.is_none(), it.ends);
                order(left) > order(&wanted)
            }
        };
        let by_user = self.model.by_user(&group, &device, (&held, self.moment(core)));
        let by_user = by_user.filter(|(left, _)| more(left)).map(|(_, user)| user);
        // Where it has nothing by itself, there is nothing to take from it, whenever its user's time is over.
        let itself = self.model.granted_itself(&group, Whom::Device(device), &held);
        let known = (&held, self.moment(core));
        let taken = self.model.ejecting(&group, &core.author().device, &device, known);
        let is_taken = taken.is_ok_and(|it| !it.grants.is_empty());
        let is_all_its_users = wanted.is_none() && itself.is_empty() && !is_taken;
        let whenever = || self.model.by_user(&group, &device, (&held, None)).map(|(_, user)| user);
        let by_user = by_user.or_else(|| is_all_its_users.then(whenever).flatten());
        expected.reasons.extend(by_user.map(|user| Refusal::DeviceOf { device, user }));
        let of = (present.as_slice(), by_user.is_some());
        let fact = match self.changed(core, &group, Whom::Device(device), wanted, of) {
            Ok(fact) => fact,
            Err(()) => {
                expected.reasons.extend(by_user.is_none().then_some(Refusal::Senior(device)));
                None
            }
        };
        let withheld = self.sabotage.is_some_and(crate::world::Sabotage::withholds_removals);
        expected.says(core, group, fact.map(|fact| if withheld { Fact::Nothing } else { fact }));
        expected
    }

    /// Says what should become of the wish that so much be granted to everybody, or nothing.
    pub(crate) fn expect_opening(
        &self,
        core: &Core,
        group: SyncgroupId,
        wanted: Option<Granted>,
        stopping: bool,
    ) -> WriteExpected {
        let mut expected = self.expect_admin(core, &group, stopping);
        if wanted.is_some_and(|wanted| wanted.rights == Rights::Admin) {
            expected.reasons.push(Refusal::NotForEverybody);
        }
        let held = core.held(&group).unwrap_or_default();
        let present = self.model.left_to(&group, Whom::Everybody, &held);
        // Nobody's grant is closed where nothing is granted.
        let has_none = wanted.is_none() && present.is_empty();
        let fact = self.changed(core, &group, Whom::Everybody, wanted, (&present, false)).ok().flatten();
        expected.says(core, group, fact.filter(|_| !has_none));
        expected
    }

    /// Says what should become of the wish to invite somebody with so much.
    pub(crate) fn expect_invitation(
        &self,
        core: &Core,
        group: SyncgroupId,
        gives: Granted,
        stopping: bool,
    ) -> WriteExpected {
        let held = core.held(&group).unwrap_or_default();
        let by = (&held, self.moment(core));
        if self.model.lets_in(&group, core.author(), None, gives, by) {
            return self.expect_with(core, &group, Rights::Read, stopping);
        }
        let mut expected = self.expect_admin(core, &group, stopping);
        let now = self.clock_of(core.author().device);
        let is_forbidden = expected.reasons.iter().any(|it| matches!(it, Refusal::Forbidden(_)));
        let is_open = self.model.open(&group, &held, now).is_some();
        expected.reasons.extend((is_forbidden && is_open).then_some(Refusal::NotOpen));
        expected
    }

    /// Says what should become of the wish that a syncgroup be no more.
    pub(crate) fn expect_end(&self, core: &Core, group: SyncgroupId, stopping: bool) -> WriteExpected {
        let mut expected = self.expect_admin(core, &group, stopping);
        let held = core.held(&group).unwrap_or_default();
        let ended = self.model.destroying(&group, &core.author().device, (&held, self.moment(core)));
        expected.says(core, group, Some(Fact::Destroys(ended)));
        expected
    }

    /// Says what should become of the wish to leave (S-31): whoever is the last that may let anybody in stays, unless
    /// nobody else is there.
    pub(crate) fn expect_leave(&self, core: &Core, group: SyncgroupId, stopping: bool) -> WriteExpected {
        let mut expected = WriteExpected::default();
        expected.reasons.extend(stopping.then_some(Refusal::ShuttingDown));
        let is_active = infos(core).get(&group).is_some_and(|info| info.state == SyncgroupState::Active);
        let now = self.clock_of(core.author().device);
        let all = self.model.all_rights(&group, &core.held(&group).unwrap_or_default(), now);
        let own = Whom::Device(core.author().device);
        let is_other = |whom: &Whom| matches!(whom, Whom::Device(_)) && *whom != own;
        let others: Vec<Rights> = all.iter().filter(|(it, _)| is_other(it)).map(|(_, has)| *has).collect();
        let is_admin = |rights: &Rights| *rights == Rights::Admin;
        let is_last = all.get(&own).is_some_and(is_admin) && !others.iter().any(is_admin);
        expected.reasons.extend((is_active && is_last && !others.is_empty()).then_some(Refusal::LastAdmin));
        // What it would write is stamped after its end, though its clock is not there yet.
        let held = core.held(&group).unwrap_or_default();
        let may = |when| self.model.rights(&group, &core.author().device, &held, when).is_some();
        let is_late = is_active && may(now) && !may(self.moment(core));
        expected.reasons.extend(is_late.then_some(Refusal::Expired(driftless::Wall::default())));
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
        let ends = match fact {
            Fact::Admits(_, granted)
            | Fact::AdmitsUser(_, granted)
            | Fact::Replaces(_, granted)
            | Fact::Opens(granted) => granted.ends,
            Fact::Revokes(all) => all.iter().find_map(|it| it.keep?.ends),
            _ => None,
        };
        if ends.is_some() {
            coverage.hit(Point::EndSet);
        }
        match fact {
            Fact::Opens(_) => coverage.hit(Point::Opened),
            Fact::Revokes(all) if all.iter().any(|it| it.whom == Whom::Everybody) => {
                coverage.hit(Point::Closed);
            }
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
            Fact::Revokes(_) | Fact::Replaces(..) => coverage.hit(Point::RightsLowered),
            _ => {}
        }
    }

    /// Whether a device that writes was removed already, as somebody knows, and has not heard of it.
    pub(crate) fn is_removed_elsewhere(&self, replica: usize, group: &SyncgroupId) -> bool {
        let device = &self.devices[replica];
        let nothing = Knowledge::new();
        let own = self.notes[replica].held.get(group).unwrap_or(&nothing);
        let mut others = self.notes.iter().filter_map(|notes| notes.held.get(group));
        self.model.rights(group, device, own, None).is_some()
            && others.any(|held| {
                self.model.has_revocations(group, held)
                    && self.model.rights(group, device, held, None).is_none()
            })
    }
}

impl WriteExpected {
    pub(super) fn says(&mut self, core: &Core, group: SyncgroupId, fact: Option<Fact>) {
        let fact = fact.filter(|_| self.reasons.is_empty());
        self.fact = fact.map(|fact| (group, super::next(core, &group), fact));
    }
}
