//! Invitations: one string that can be pasted on another device.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Rights;
use crate::crypto::{Keys, Signature};
use crate::hash;
use crate::id::{Address, DeviceId, Name, PublicKey, SyncgroupId, UserId};
use crate::keys::KeyChain;
use crate::limits;
use crate::pasted::{Pasted, Unread};
use crate::time::Wall;

/// What an invitation's text starts with.
const PREFIX: &str = "driftless:";
const TEXT: Pasted = Pasted { prefix: PREFIX, checksum: hash::INVITATION_TEXT };

/// A right to join a syncgroup, for whoever holds it until it expires, signed by the admin who made it, or by a member where
/// everybody is granted as much ([`crate::Command::Open`]). One for the
/// devices of a user gives no right: it says where a member is that lets them in, by their certificates (S-3). One for a
/// device at which the syncgroup is published is good for that device alone, as long as it is published there (S-33).
///
/// Its text form is one word of letters and digits with a checksum, so that a copy that was cut short is
/// noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    pub(crate) terms: Terms,
    /// The keys of the admin who made it, or of the member, at whose device to join.
    pub(crate) issuer: KeyChain,
    pub(crate) signature: Signature,
    /// What the syncgroup was called, for people to read. Not signed.
    pub(crate) name: Name,
    /// Where the issuer can be reached. Not signed: whoever answers there must own the issuer's key.
    pub(crate) addresses: Vec<Address>,
}

/// What the issuer signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    pub(crate) syncgroup: SyncgroupId,
    pub(crate) rights: Rights,
    pub(crate) expires: Wall,
    pub(crate) reusable: bool,
    pub(crate) nonce: [u8; 16],
    pub(crate) whom: Whom,
    /// When what it gives ends.
    pub(crate) ends: Option<Wall>,
}

/// Who may use an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Whom {
    /// Whoever holds it.
    Anybody,
    /// Devices of this user, by their certificates; any member may have made it.
    DevicesOf(UserId),
    /// This device, which an admin has asked to take part (S-33).
    Device(DeviceId),
}

impl Invitation {
    pub(crate) fn sign(terms: Terms, name: Name, addresses: Vec<Address>, keys: &Keys) -> Self {
        let signature = keys.sign(hash::INVITATION, &[&terms.to_bytes()]);
        Self { terms, issuer: keys.chain.clone(), signature, name, addresses }
    }

    /// Whether the issuer signed the terms.
    pub(crate) fn verify(&self, keys: &Keys) -> bool {
        self.issuer.verify(keys.scheme)
            && keys.verify(&self.issuer, hash::INVITATION, &[&self.terms.to_bytes()], &self.signature)
    }

    /// The syncgroup to join.
    pub fn syncgroup(&self) -> SyncgroupId {
        self.terms.syncgroup
    }

    /// What the syncgroup was called when the invitation was made.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The user whose devices it lets in, if it is for one user's: what they may do is what the user may. Otherwise it
    /// lets in whoever holds it.
    pub fn user(&self) -> Option<UserId> {
        match self.terms.whom {
            Whom::DevicesOf(user) => Some(user),
            _ => None,
        }
    }

    /// The device that it lets in and no other, as the syncgroup is published there (S-33).
    pub fn device(&self) -> Option<DeviceId> {
        match self.terms.whom {
            Whom::Device(device) => Some(device),
            _ => None,
        }
    }

    /// What the newcomer will be allowed to do.
    pub fn rights(&self) -> Rights {
        self.terms.rights
    }

    /// The last moment for which the newcomer will be a member; `None` if that has no end.
    pub fn ends(&self) -> Option<Wall> {
        self.terms.ends
    }

    /// The first key of the device of the admin who made it.
    pub fn issuer(&self) -> PublicKey {
        self.issuer.first()
    }

    /// When it stops being good, by the issuer's clock; at the end of time for one that is good for [a device](Self::device).
    pub fn expires(&self) -> Wall {
        self.terms.expires
    }

    /// Whether it lets in any number of devices, until it expires; else the first that uses it.
    pub fn is_reusable(&self) -> bool {
        self.terms.reusable
    }

    /// Where the issuer can be reached.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }
}

impl Terms {
    fn to_bytes(&self) -> Vec<u8> {
        // Serialising into memory cannot fail for a type without maps or unsized sequences.
        postcard::to_allocvec(self).unwrap_or_default()
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TEXT.write(self, f)
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invitation: Self = TEXT.read(text).map_err(|error| match error {
            Unread::OtherKind => InvitationError::NotAnInvitation,
            Unread::Damaged => InvitationError::Damaged,
            Unread::Unreadable => InvitationError::Unreadable,
        })?;
        if invitation.addresses.len() > limits::MAX_ADDRESSES {
            return Err(InvitationError::Unreadable);
        }
        Ok(invitation)
    }
}

/// Why a text is no invitation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationError {
    /// It does not start like one.
    #[error("this is no invitation: one starts with \"{PREFIX}\"")]
    NotAnInvitation,
    /// Its checksum is wrong.
    #[error("the invitation is damaged: it was cut short or changed on its way; copy the whole of it again")]
    Damaged,
    /// Its checksum is right, but its content is not.
    #[error("the invitation was made by another version of Driftless; make a new one with this version")]
    Unreadable,
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};

    use super::*;
    use crate::crypto::{Ed25519, SecretKey};

    fn invitation() -> (Invitation, Keys) {
        let keys = Keys::new(SecretKey([7; 32]), &Ed25519);
        let terms = Terms {
            syncgroup: SyncgroupId([1; 32]),
            rights: Rights::Write,
            expires: Wall(1_000),
            reusable: false,
            nonce: [2; 16],
            whom: Whom::Anybody,
            ends: None,
        };
        let addresses = alloc::vec![Address::new("quic:127.0.0.1:4433").unwrap()];
        (Invitation::sign(terms, Name::new("notes").unwrap(), addresses, &keys), keys)
    }

    #[test]
    fn an_invitation_survives_being_pasted_over_several_lines() {
        let (invitation, keys) = invitation();
        let text = invitation.to_string();
        let (one, two) = text.split_at(40);
        let pasted: Invitation = alloc::format!("  {one}\n  {two}\n").parse().unwrap();
        assert_eq!(pasted, invitation);
        assert!(pasted.verify(&keys));
    }

    #[test]
    fn every_shortened_or_changed_invitation_is_refused() {
        let text = invitation().0.to_string();
        for end in 0..text.len() {
            assert!(text[..end].parse::<Invitation>().is_err(), "cut at {end}");
        }
        for at in PREFIX.len()..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(changed.parse::<Invitation>().is_err(), "changed at {at}");
        }
    }

    #[test]
    fn changed_terms_do_not_verify() {
        let (mut invitation, keys) = invitation();
        invitation.terms.rights = Rights::Admin;
        assert!(!invitation.verify(&keys));
    }
}
