//! Users with several devices (S-3), in a syncgroup and where one is joined.

use std::time::Duration;

use driftless::{
    Certificate, Command, DeviceId, Generation, Incarnation, Invitation, Name, Outcome, PublicKey, Rights,
    StrikingOff, User, UserId, UserKey, Wall,
};

use super::{Database, Syncgroup};
use crate::error::Error;
use crate::options::millis;

impl Database {
    /// Joins a syncgroup as a device of a user, and waits as [`Database::join`] does: by an invitation of an admin, which
    /// then lets in the user with this device in one step, or by one that any member made for the devices of the user.
    ///
    /// # Errors
    /// As [`Database::join`]; [`Error::Refused`] also if the certificate is not the user's word for this device.
    pub async fn join_as(
        &self,
        invitation: &Invitation,
        certificate: &Certificate,
        patience: Duration,
    ) -> Result<Syncgroup, Error> {
        self.join_by(self.as_device_of(invitation, certificate), patience).await
    }

    /// Asks to join a syncgroup as a device of a user, and does not wait: see [`Database::join_later`].
    ///
    /// # Errors
    /// As [`Database::join_later`]; [`Error::Refused`] also if the certificate is not the user's word for this device.
    pub async fn join_later_as(
        &self,
        invitation: &Invitation,
        certificate: &Certificate,
    ) -> Result<Syncgroup, Error> {
        self.ask_to_join(self.as_device_of(invitation, certificate)).await
    }

    fn as_device_of(&self, invitation: &Invitation, certificate: &Certificate) -> Command {
        let (invitation, certificate) = (invitation.clone(), Box::new(certificate.clone()));
        Command::JoinAs { database: self.name().clone(), invitation, certificate }
    }
}

impl Syncgroup {
    /// The users to whom something is or was granted.
    ///
    /// # Errors
    /// [`Error::UnknownSyncgroup`] if it is not on this device; [`Error::Closed`].
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        let id = self.id();
        let users = self.database().node().look(move |core| core.users(&id)).await?;
        users.ok_or_else(|| self.unknown())
    }

    /// Says what a user may do, by whatever device it has certified. With less than it had its devices keep what is
    /// left.
    ///
    /// # Errors
    /// [`Error::Refused`] if this device is no admin, or the user is an admin whom it cannot overrule.
    pub async fn admit_user(&self, user: PublicKey, name: &Name, rights: Rights) -> Result<(), Error> {
        self.grant_user(user, name, rights, None).await
    }

    /// The same until an end, for all its devices: see [`Syncgroup::set_rights_until`].
    ///
    /// # Errors
    /// As [`Syncgroup::admit_user`]; [`Error::Refused`] also if the end lies in the past.
    pub async fn admit_user_until(
        &self,
        user: PublicKey,
        name: &Name,
        rights: Rights,
        ends: Wall,
    ) -> Result<(), Error> {
        self.grant_user(user, name, rights, Some(ends)).await
    }

    async fn grant_user(
        &self,
        user: PublicKey,
        name: &Name,
        rights: Rights,
        ends: Option<Wall>,
    ) -> Result<(), Error> {
        let command = Command::AdmitUser { syncgroup: self.id(), user, name: name.clone(), rights, ends };
        match self.database().node().command(command).await? {
            Outcome::UserRightsSet(..) => Ok(()),
            _ => Err(Error::Unexpected("say what a user may do")),
        }
    }

    /// Ends what was granted to a user, for all its devices.
    ///
    /// # Errors
    /// [`Error::Refused`] if this device is no admin, if nothing is granted to the user, or if that one is an admin whom
    /// this device cannot overrule.
    pub async fn eject_user(&self, user: UserId) -> Result<(), Error> {
        match self.database().node().command(Command::EjectUser { syncgroup: self.id(), user }).await? {
            Outcome::UserRightsSet(..) => Ok(()),
            _ => Err(Error::Unexpected("remove a user")),
        }
    }

    /// Makes an invitation for the devices of a user to whom something is granted: whoever holds it, and has a
    /// certificate of that user, can [join](Database::join_as). Any member may make one.
    ///
    /// # Errors
    /// [`Error::Refused`] if nothing is granted to the user.
    pub async fn invite_device(&self, user: UserId, valid_for: Duration) -> Result<Invitation, Error> {
        let (syncgroup, valid_for, addresses) = (self.id(), millis(valid_for), self.addresses());
        self.invited(Command::InviteDevice { syncgroup, user, valid_for, addresses }).await
    }

    /// Writes down that a device is one of a user's. It takes no right but to be a member. Writing down what is there is
    /// not an error.
    ///
    /// # Errors
    /// [`Error::Refused`] if nothing is granted to the user, or the certificate is not valid, or struck off.
    pub async fn enrol(&self, certificate: &Certificate) -> Result<(), Error> {
        let command = Command::Enrol { syncgroup: self.id(), certificate: certificate.clone() };
        match self.database().node().command(command).await? {
            Outcome::Enrolled(..) => Ok(()),
            _ => Err(Error::Unexpected("enrol a device")),
        }
    }

    /// Strikes a device of a user off, with the user's key: what it wrote stays as far as this device has it, and what
    /// it wrote beside that does not count. The key is used and not kept.
    ///
    /// # Errors
    /// [`Error::Refused`] if the device was never enrolled as one of this user's.
    pub async fn strike_off(&self, device: DeviceId, user: &UserKey) -> Result<(), Error> {
        let (id, key) = (self.id(), user.clone());
        let drawn_up = self.database().node().look(move |core| core.striking_off(&id, &device, &key)).await?;
        let striking = drawn_up.ok_or_else(|| driftless::Refusal::NoMember(device))?;
        self.pass_on(striking).await
    }

    /// What a user signs, maybe somewhere else, to strike a device off by what this device knows: up to which certificate,
    /// and the last generation of each of the device's logs that stays ([`UserKey::strike_off`]). `None` if the device
    /// was never enrolled as one of this user's.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn known_of(
        &self,
        device: DeviceId,
        user: UserId,
    ) -> Result<Option<(u64, Vec<(Incarnation, Generation)>)>, Error> {
        let id = self.id();
        let look = move |core: &driftless::Core| {
            let number = core.certificate(&id, &user, &device)?;
            let own =
                core.held(&id)?.into_iter().filter(|(author, last)| author.device == device && *last > 0);
            Some((number, own.map(|(author, last)| (author.incarnation, last)).collect()))
        };
        self.database().node().look(look).await
    }

    /// Writes down that a device is none of a user's any more, as the user has signed somewhere else.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is not signed by the user, or for another syncgroup, or the device is not known.
    pub async fn pass_on(&self, striking: StrikingOff) -> Result<(), Error> {
        match self.database().node().command(Command::StrikeOff { syncgroup: self.id(), striking }).await? {
            Outcome::StruckOff(..) => Ok(()),
            _ => Err(Error::Unexpected("strike off a device")),
        }
    }
}
