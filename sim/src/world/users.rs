//! Users: their keys, and what they do with them. Nobody but them has these.

use driftless::{Certificate, Command, Millis, SecretKey, UserKey};

use super::replica::{Invited, Question, scheme};
use super::{World, address, label};
use crate::dice::{Concern, Dice};
use crate::model::Granted;
use crate::oracle::Checked;
use crate::plan::Act;

/// The keys of users are drawn like those of devices, under numbers that no device has.
const FIRST_USER: u64 = 1_000_000;

impl World<'_> {
    fn user(&self, number: u8) -> UserKey {
        let secret = Dice::new(self.plan.seed, Concern::Key, &[FIRST_USER + u64::from(number)]).bytes();
        UserKey::new(label("u", number), SecretKey(secret), scheme(self.plan.setup.signatures))
    }

    /// A user's word that a device is its own.
    pub(super) fn certificate(&self, replica: usize, (user, number): (u8, u8)) -> Certificate {
        let it = &self.replicas[replica];
        self.user(user).certify(it.key, super::replica::name(replica), u64::from(number))
    }

    /// A step that has to do with users.
    pub(super) fn user_step(&mut self, act: &Act) -> Checked {
        match *act {
            Act::AdmitUser { replica, group, user, rights, lasts_ms } => {
                let ends = self.end(replica, lasts_ms);
                self.user_rights(replica, group, user, Some(Granted { rights, ends }))
            }
            Act::EjectUser { replica, group, user } => self.user_rights(replica, group, user, None),
            Act::InviteDevice { replica, group, ticket, user } => {
                let Some(syncgroup) = self.group_at(replica, group) else { return Ok(()) };
                let (user, valid_for) = (self.user(user).id(), Millis(24 * 3_600_000));
                let addresses = vec![address(replica)];
                let command = Command::InviteDevice { syncgroup, user, valid_for, addresses };
                let it = &self.replicas[replica];
                let Some(core) = it.core.as_ref() else { return Ok(()) };
                let question = Question::Invite(ticket, syncgroup, Invited::DevicesOf(user));
                let expected = self.watch.expect_device_invitation(core, syncgroup, &user, it.stopping);
                self.ask_expecting(replica, command, question, &expected)
            }
            Act::Enrol { replica, group, peer, user, number } => {
                let Some(syncgroup) = self.group_at(replica, group) else { return Ok(()) };
                let certificate = self.certificate(peer, (user, number));
                let it = &self.replicas[replica];
                let Some(core) = it.core.as_ref() else { return Ok(()) };
                let expected = self.watch.expect_enrolment(core, syncgroup, &certificate, it.stopping);
                self.ask_of_access(replica, Command::Enrol { syncgroup, certificate }, &expected)
            }
            Act::StrikeOff { replica, group, peer, user } => {
                let Some(syncgroup) = self.group_at(replica, group) else { return Ok(()) };
                let (key, device) = (self.user(user), self.replicas[peer].device);
                let it = &self.replicas[replica];
                let Some(core) = it.core.as_ref() else { return Ok(()) };
                let Some(striking) = core.striking_off(&syncgroup, &device, &key) else { return Ok(()) };
                let expected = self.watch.expect_striking_off(core, syncgroup, &striking, it.stopping)?;
                self.ask_of_access(replica, Command::StrikeOff { syncgroup, striking }, &expected)
            }
            _ => Ok(()),
        }
    }

    fn user_rights(&mut self, replica: usize, group: u8, user: u8, wanted: Option<Granted>) -> Checked {
        let Some(syncgroup) = self.group_at(replica, group) else { return Ok(()) };
        let key = self.user(user);
        let it = &self.replicas[replica];
        let Some(core) = it.core.as_ref() else { return Ok(()) };
        let expected = self.watch.expect_user_rights(core, syncgroup, key.id(), wanted, it.stopping);
        let (user, name) = (key.public(), key.name().clone());
        let command = match wanted {
            Some(Granted { rights, ends }) => Command::AdmitUser { syncgroup, user, name, rights, ends },
            None => Command::EjectUser { syncgroup, user: key.id() },
        };
        self.ask_of_access(replica, command, &expected)
    }
}
