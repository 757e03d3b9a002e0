//! Users: people with several devices (S-3).
//!
//! A user is a key pair. Its public half is named in grants; its secret half signs two things only: a [`Certificate`],
//! that a device is one of the user's, and a [`StrikingOff`], that it is none any more. Both are facts in the logs of
//! syncgroups, where any member may write them down: they stand by their signatures, whoever passed them on.
//!
//! The core never sees a user's secret. It is asked for seldom, and may be kept where devices' keys are not: on one of
//! the devices, on paper, in a token. So a [`UserKey`] signs outside of the state machine, and commands carry what it has
//! signed. Whoever keeps the secret in hardware gives a [`SignatureScheme`] that takes the secret for a handle.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::crypto::{Keys, SecretKey, Signature, SignatureScheme};
use crate::hash;
use crate::id::{DeviceId, Generation, Incarnation, Name, PublicKey, SyncgroupId, UserId};
use crate::pasted::{Pasted, Unread};
use crate::time::Wall;

/// What a certificate's text starts with.
const PREFIX: &str = "driftless-device:";
const TEXT: Pasted = Pasted { prefix: PREFIX, checksum: hash::CERTIFICATE_TEXT };

/// A user's key, to sign with.
///
/// ```
/// use driftless::{Ed25519, Name, SecretKey, UserKey};
/// # use driftless::SignatureScheme;
/// let anna = UserKey::new(Name::new("Anna").unwrap(), SecretKey([7; 32]), &Ed25519);
/// let phone = Ed25519.public(&SecretKey([8; 32])); // Each device makes its own; it tells its public half.
/// let certificate = anna.certify(phone, Name::new("phone").unwrap(), 1);
/// assert_eq!((certificate.user(), certificate.device()), (anna.id(), phone.device()));
/// assert_eq!(certificate.to_string().parse(), Ok(certificate));
/// ```
#[derive(Clone)]
pub struct UserKey {
    name: Name,
    secret: SecretKey,
    public: PublicKey,
    scheme: &'static dyn SignatureScheme,
}

impl UserKey {
    /// The key of this secret, and what the user calls itself. `scheme` must be the one that all devices use.
    pub fn new(name: Name, secret: SecretKey, scheme: &'static dyn SignatureScheme) -> Self {
        Self { name, public: scheme.public(&secret), secret, scheme }
    }

    /// What the user calls itself.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The user.
    pub fn id(&self) -> UserId {
        self.public.user()
    }

    /// Signs that a device is one of the user's, under a name for people to read. A device that was struck off becomes
    /// one again by a certificate of a greater `number`.
    pub fn certify(&self, device: PublicKey, name: Name, number: u64) -> Certificate {
        self.sign(device, name, number, None)
    }

    /// The same until an end: the device is one of the user's for what it stamps no later (S-7), and shares what the user
    /// shares until then, by the clocks of others. Of several certificates each stands by itself, so a device that is to
    /// stay longer gets another one with a later end; what shall end earlier is struck off, and certified anew under a
    /// greater number. An old certificate that turns up again neither shortens nor lengthens anything.
    ///
    /// ```
    /// use driftless::{Ed25519, Name, SecretKey, UserKey, Wall};
    /// # use driftless::SignatureScheme;
    /// let anna = UserKey::new(Name::new("Anna").unwrap(), SecretKey([7; 32]), &Ed25519);
    /// let lent = Ed25519.public(&SecretKey([8; 32]));
    /// let new_year = Wall(1_798_761_600_000);
    /// let certificate = anna.certify_until(lent, Name::new("lent phone").unwrap(), 1, new_year);
    /// assert_eq!(certificate.ends(), Some(new_year));
    /// ```
    pub fn certify_until(&self, device: PublicKey, name: Name, number: u64, ends: Wall) -> Certificate {
        self.sign(device, name, number, Some(ends))
    }

    fn sign(&self, device: PublicKey, name: Name, number: u64, ends: Option<Wall>) -> Certificate {
        let (user, user_name) = (self.public, self.name.clone());
        let message = Certificate::message(&user, &device, (number, ends), (&user_name, &name));
        let signature = self.scheme.sign(&self.secret, &message);
        Certificate { user, user_name, device, name, number, ends, signature }
    }

    /// Signs that a device is none of the user's any more in a syncgroup: no certificate up to this `number` counts
    /// there, but for the generations `until` of each of the device's logs. [`crate::Core::striking_off`] does it with
    /// what is known in the syncgroup.
    pub fn strike_off(
        &self,
        syncgroup: &SyncgroupId,
        device: DeviceId,
        number: u64,
        until: Vec<(Incarnation, Generation)>,
    ) -> StrikingOff {
        let message = StrikingOff::message(syncgroup, &self.public, &device, number, &until);
        let signature = self.scheme.sign(&self.secret, &message);
        StrikingOff { user: self.public, device, number, until, signature }
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserKey({:?})", self.id())
    }
}

/// A user's word that a device is one of its own. It is no secret: it says what the device may do to nobody but those
/// who grant something to the user.
///
/// Its text form is one word with a checksum, like that of an invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    user: PublicKey,
    user_name: Name,
    device: PublicKey,
    name: Name,
    number: u64,
    ends: Option<Wall>,
    signature: Signature,
}

impl Certificate {
    fn message(
        user: &PublicKey,
        device: &PublicKey,
        (number, ends): (u64, Option<Wall>),
        names: (&Name, &Name),
    ) -> [u8; 32] {
        let (of_user, of_device) = (names.0.as_str().as_bytes(), names.1.as_str().as_bytes());
        let (number, length) = (number.to_le_bytes(), (of_user.len() as u64).to_le_bytes());
        // One that never ends and one that ends at the end of time are the same.
        let ends = ends.unwrap_or(Wall::NEVER).0.to_le_bytes();
        let parts: [&[u8]; 7] = [&user.0, &device.0, &number, &ends, &length, of_user, of_device];
        hash::derive(hash::CERTIFICATE, &parts).0
    }

    /// The same, with another user's name on it: a forgery.
    #[cfg(any(test, feature = "hostile"))]
    pub(crate) fn made_out_to(self, user: PublicKey) -> Self {
        Self { user, ..self }
    }

    /// The same, with another device's key on it: a forgery.
    #[cfg(feature = "hostile")]
    pub(crate) fn made_out_for(self, device: PublicKey) -> Self {
        Self { device, ..self }
    }

    /// Whether the user signed it.
    pub(crate) fn verify(&self, keys: &Keys) -> bool {
        let names = (&self.user_name, &self.name);
        let message = Self::message(&self.user, &self.device, (self.number, self.ends), names);
        keys.scheme.verify(&self.user, &message, &self.signature)
    }

    /// Whose device it is.
    pub fn user(&self) -> UserId {
        self.user.user()
    }

    /// The user's key.
    pub fn user_key(&self) -> PublicKey {
        self.user
    }

    /// What the user calls itself.
    pub fn user_name(&self) -> &Name {
        &self.user_name
    }

    /// Which device.
    pub fn device(&self) -> DeviceId {
        self.device.device()
    }

    /// The device's key.
    pub fn device_key(&self) -> PublicKey {
        self.device
    }

    /// What the user calls the device.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its number: a striking-off ends all certificates up to one.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The last moment for which it is good; `None` if it has no end.
    pub fn ends(&self) -> Option<Wall> {
        self.ends
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TEXT.write(self, f)
    }
}

impl FromStr for Certificate {
    type Err = CertificateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        TEXT.read(text).map_err(|error| match error {
            Unread::OtherKind => CertificateError::NotACertificate,
            Unread::Damaged => CertificateError::Damaged,
            Unread::Unreadable => CertificateError::Unreadable,
        })
    }
}

/// Why a text is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It does not start like one.
    #[error("this is no certificate of a device: one starts with \"{PREFIX}\"")]
    NotACertificate,
    /// Its checksum is wrong.
    #[error("the certificate is damaged: it was cut short or changed on its way; copy the whole of it again")]
    Damaged,
    /// Its checksum is right, but its content is not.
    #[error("the certificate was made by another version of Driftless; make a new one with this version")]
    Unreadable,
}

/// A user's word that a device is none of its own any more in a syncgroup, and which of what the device wrote there
/// stays all the same: what was known to whoever drew it up. All else does not count (S-35).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrikingOff {
    pub(crate) user: PublicKey,
    pub(crate) device: DeviceId,
    /// It ends all certificates of the device up to this one.
    pub(crate) number: u64,
    /// The last generation of each of the device's logs that stays.
    pub(crate) until: Vec<(Incarnation, Generation)>,
    signature: Signature,
}

impl StrikingOff {
    fn message(
        syncgroup: &SyncgroupId,
        user: &PublicKey,
        device: &DeviceId,
        number: u64,
        until: &[(Incarnation, Generation)],
    ) -> [u8; 32] {
        let mut spared = Vec::with_capacity(16 * until.len());
        for (incarnation, last) in until {
            spared.extend_from_slice(&incarnation.0.to_le_bytes());
            spared.extend_from_slice(&last.to_le_bytes());
        }
        let parts: [&[u8]; 5] = [&syncgroup.0, &user.0, &device.0, &number.to_le_bytes(), &spared];
        hash::derive(hash::STRIKING_OFF, &parts).0
    }

    /// The same, with another user's name on it: a forgery.
    #[cfg(any(test, feature = "hostile"))]
    pub(crate) fn made_out_to(self, user: PublicKey) -> Self {
        Self { user, ..self }
    }

    /// Whether the user signed it, for this syncgroup.
    pub(crate) fn verify(&self, syncgroup: &SyncgroupId, keys: &Keys) -> bool {
        let message = Self::message(syncgroup, &self.user, &self.device, self.number, &self.until);
        keys.scheme.verify(&self.user, &message, &self.signature)
    }

    /// Whose device it was.
    pub fn user(&self) -> UserId {
        self.user.user()
    }

    /// Which device.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// It ends all certificates of the device up to this number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The last generation of each of the device's logs that stays.
    pub fn until(&self) -> &[(Incarnation, Generation)] {
        &self.until
    }
}

#[cfg(test)]
impl Certificate {
    /// One that nobody has signed.
    pub(crate) fn unsigned(user: PublicKey, device: PublicKey, number: u64) -> Self {
        let name = Name::new("device").unwrap();
        let signature = Signature::from_bytes(&[0; 64]);
        Self { user, user_name: name.clone(), device, name, number, ends: None, signature }
    }

    /// The same until an end.
    pub(crate) fn until(self, ends: Wall) -> Self {
        Self { ends: Some(ends), ..self }
    }
}

#[cfg(test)]
impl StrikingOff {
    /// One that nobody has signed.
    pub(crate) fn unsigned(
        user: PublicKey,
        device: DeviceId,
        number: u64,
        until: Vec<(Incarnation, Generation)>,
    ) -> Self {
        Self { user, device, number, until, signature: Signature::from_bytes(&[0; 64]) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use alloc::vec;

    use super::*;
    use crate::crypto::Ed25519;

    fn keys(n: u8) -> Keys {
        Keys::new(SecretKey([n; 32]), &Ed25519)
    }

    fn anna() -> UserKey {
        UserKey::new(Name::new("Anna").unwrap(), SecretKey([7; 32]), &Ed25519)
    }

    fn certificate() -> Certificate {
        anna().certify(keys(1).first(), Name::new("phone").unwrap(), 3)
    }

    #[test]
    fn a_certificate_verifies_as_long_as_nothing_of_it_is_changed() {
        assert!(certificate().verify(&keys(9)));
        let changes: [fn(&mut Certificate); 6] = [
            |it| it.user = keys(2).first(),
            |it| it.user_name = Name::new("Bert").unwrap(),
            |it| it.device = keys(2).first(),
            |it| it.name = Name::new("tablet").unwrap(),
            |it| it.number += 1,
            |it| it.ends = Some(Wall(5)),
        ];
        for change in changes {
            let mut changed = certificate();
            change(&mut changed);
            assert!(!changed.verify(&keys(9)), "{changed:?}");
        }
    }

    #[test]
    fn a_striking_off_verifies_for_its_syncgroup_as_long_as_nothing_of_it_is_changed() {
        let (group, device) = (SyncgroupId([1; 32]), keys(1).device);
        let struck = anna().strike_off(&group, device, 3, vec![(Incarnation(5), 6)]);
        assert!(struck.verify(&group, &keys(9)));
        assert!(!struck.verify(&SyncgroupId([2; 32]), &keys(9)));
        let changes: [fn(&mut StrikingOff); 4] = [
            |it| it.user = keys(2).first(),
            |it| it.device = keys(2).device,
            |it| it.number += 1,
            |it| it.until[0].1 += 1,
        ];
        for change in changes {
            let mut changed = struck.clone();
            change(&mut changed);
            assert!(!changed.verify(&group, &keys(9)), "{changed:?}");
        }
    }

    #[test]
    fn a_user_and_a_device_of_one_key_have_different_ids() {
        assert_ne!(anna().id().0, anna().public().device().0);
    }

    #[test]
    fn every_shortened_or_changed_text_is_refused() {
        let text = certificate().to_string();
        for end in 0..text.len() {
            assert!(text[..end].parse::<Certificate>().is_err(), "cut at {end}");
        }
        for at in PREFIX.len()..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(changed.parse::<Certificate>().is_err(), "changed at {at}");
        }
    }
}
