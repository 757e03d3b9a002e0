//! Oracles of users: what may be said of them, and of their devices (S-3).

use driftless::{Certificate, Core, DeviceId, Refusal, Rights, StrikingOff, SyncgroupId, UserId, Version};

use super::{Oracle, Violation, Watch, WriteExpected};
use crate::model::{Enrolled, Fact, Granted, Struck, Whom, holds};

impl Watch {
    /// Says what should become of the wish that a user have these rights, or none.
    pub(crate) fn expect_user_rights(
        &self,
        core: &Core,
        group: SyncgroupId,
        user: UserId,
        wanted: Option<Granted>,
        stopping: bool,
    ) -> WriteExpected {
        let mut expected = self.expect_admin(core, &group, stopping);
        let held = core.held(&group).unwrap_or_default();
        let present = self.model.left_to(&group, Whom::User(user), &held);
        if wanted.is_none() && present.is_empty() {
            expected.reasons.push(Refusal::NoUser(user));
        }
        let fact = match self.changed(core, &group, Whom::User(user), wanted, (&present, false)) {
            Ok(fact) => fact,
            Err(()) => {
                expected.reasons.push(Refusal::SeniorUser(user));
                None
            }
        };
        expected.says(core, group, fact);
        expected
    }

    /// Says what should become of the wish to invite a user's devices.
    pub(crate) fn expect_device_invitation(
        &self,
        core: &Core,
        group: SyncgroupId,
        user: &UserId,
        stopping: bool,
    ) -> WriteExpected {
        let mut expected = self.expect_with(core, &group, Rights::Read, stopping);
        let now = self.clock_of(core.author().device);
        if self.model.rights_of(&group, user, &core.held(&group).unwrap_or_default(), now).is_none() {
            expected.reasons.push(Refusal::NoUser(*user));
        }
        expected
    }

    /// Says what should become of a certificate that is written down.
    pub(crate) fn expect_enrolment(
        &self,
        core: &Core,
        group: SyncgroupId,
        certificate: &Certificate,
        stopping: bool,
    ) -> WriteExpected {
        let mut expected = self.expect_with(core, &group, Rights::Read, stopping);
        let held = core.held(&group).unwrap_or_default();
        let (user, device, number) = (certificate.user(), certificate.device(), certificate.number());
        let now = self.clock_of(core.author().device);
        if self.model.rights_of(&group, &user, &held, now).is_none() {
            expected.reasons.push(Refusal::NoUser(user));
        }
        let enrolled = Enrolled { user, device, number, granted: None, asked: false };
        if self.model.is_struck_off(&group, &enrolled, &held) {
            expected.reasons.push(Refusal::Certificate("it is struck off"));
        }
        let known = self.model.certificates(&group, (&user, &device), &held);
        let is_there = known.iter().any(|(known, stands)| *known >= number && *stands);
        let withheld = self.sabotage.is_some_and(crate::world::Sabotage::withholds_enrolments);
        let fact = if withheld { Fact::Nothing } else { Fact::Enrols(enrolled) };
        expected.says(core, group, (!is_there).then_some(fact));
        expected
    }

    /// Says what should become of the word that a device is none of a user's any more.
    ///
    /// # Errors
    /// That word ends every certificate that is known, and spares just what is held of the device's.
    pub(crate) fn expect_striking_off(
        &self,
        core: &Core,
        group: SyncgroupId,
        striking: &StrikingOff,
        stopping: bool,
    ) -> Result<WriteExpected, Violation> {
        let mut expected = self.expect_with(core, &group, Rights::Read, stopping);
        let held = core.held(&group).unwrap_or_default();
        let (user, device, number) = (striking.user(), striking.device(), striking.number());
        let known = self.model.certificates(&group, (&user, &device), &held);
        let own = held.iter().filter(|(author, last)| author.device == device && **last > 0);
        let until = own.map(|(author, last)| (author.incarnation, *last)).collect();
        let drawn_up = striking.until().iter().copied().collect();
        if known.iter().map(|(number, _)| *number).max() != Some(number) || until != drawn_up {
            let by = self.devices.iter().position(|it| *it == core.author().device).unwrap_or_default();
            let what = format!("strikes off {known:?} up to {number}, and spares {drawn_up:?} of {until:?}");
            return Err(Violation::new(Oracle::Access, "S-35", by, what));
        }
        let is_there = {
            let enrolled = Enrolled { user, device, number, granted: None, asked: false };
            self.model.is_struck_off(&group, &enrolled, &held)
        };
        let fact = Fact::StrikesOff(Struck { user, device, number, until });
        let withheld = self.sabotage.is_some_and(crate::world::Sabotage::withholds_strikings);
        let fact = if withheld { Fact::Nothing } else { fact };
        expected.says(core, group, (!is_there).then_some(fact));
        Ok(expected)
    }

    /// Whether a device was ever enrolled as anybody's without having asked, and has not left in the knowledge of that.
    pub(super) fn is_enrolled_unasked(&self, group: &SyncgroupId, device: &DeviceId) -> bool {
        let departures = self.model.departures(group, device);
        let has_left = |enrolment: &Version| {
            let past = |departure| self.model.generation(group, departure).map(|it| &it.past);
            departures.iter().filter_map(past).any(|past| holds(past, enrolment))
        };
        self.model.generations(group).any(|(version, generation)| {
            matches!(&generation.says, Fact::Enrols(it) if it.device == *device && !it.asked)
                && !has_left(version)
        })
    }

    /// Whether a device was ever enrolled as one of a user's.
    pub(super) fn is_device_of(&self, group: &SyncgroupId, user: &UserId, device: &DeviceId) -> bool {
        self.model.generations(group).any(|(_, generation)| {
            matches!(&generation.says, Fact::Enrols(it) if it.user == *user && it.device == *device)
        })
    }

    /// Whether a device may write in a syncgroup by what was granted to its user alone.
    pub(crate) fn writes_as_user(&self, core: &Core, group: &SyncgroupId) -> bool {
        let (device, held) = (core.author().device, core.held(group).unwrap_or_default());
        let by_user = self.model.by_user(group, &device, (&held, None));
        let granted_itself = self.model.generations(group).any(|(version, generation)| {
            holds(&held, version) && generation.says.is_for(Whom::Device(device), &version.author.device)
        });
        by_user.is_some_and(|(left, _)| left.rights >= Rights::Write) && !granted_itself
    }
}
