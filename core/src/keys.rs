//! The keys of a device, one after the other (S-1).
//!
//! A device is named by its first key for ever. When it takes a new one, the key before signs for it:
//!
//! ```text
//!   first key ──signs──► second key ──signs──► third key        the last one is the device's key now
//!       └──► the device's id
//! ```
//!
//! Such a chain proves itself, so it is shown wherever a device's signature is. What it cannot prove is that nobody else
//! has signed for another key: who has stolen a key can. Which chain counts then is judged by what a syncgroup's members
//! have said: see [`crate::syncgroup`].

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::crypto::{SecretKey, Signature, SignatureScheme};
use crate::hash;
use crate::id::{DeviceId, Incarnation, PublicKey};
use crate::limits::MAX_ROLLOVERS;

/// The keys of a device, from the first to the one that it has now; each is signed for by the one before.
///
/// ```
/// use driftless::{Ed25519, KeyChain, SecretKey, SignatureScheme};
///
/// let (old, new) = (SecretKey([1; 32]), SecretKey([2; 32]));
/// let before = KeyChain::new(Ed25519.public(&old));
/// let after = before.rolled_over(&old, &new, &Ed25519).unwrap();
/// assert_eq!(after.device(), before.device(), "the id survives");
/// assert_eq!(after.current(), Ed25519.public(&new));
/// assert!(after.verify(&Ed25519));
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChain {
    first: PublicKey,
    rollovers: Vec<Rollover>,
}

/// A life of a device's store, and what was drawn for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) incarnation: Incarnation,
    pub(crate) nonce: u64,
}

impl Life {
    /// What is told with the name of one of its logs, so that others can tell of which key that is.
    pub(crate) fn told(self) -> u64 {
        if self.incarnation.rollovers() > 0 { self.nonce } else { 0 }
    }
}

#[cfg(test)]
impl Life {
    /// The life of a device with its first key for which that was drawn.
    pub(crate) const fn first(nonce: u64) -> Self {
        Self { incarnation: Incarnation(nonce), nonce }
    }
}

/// How many hashes it takes to see of which key a log is.
const NAME_ROUNDS: u32 = 256;

/// That a device has another key from now on: the word of the key before.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Rollover {
    key: PublicKey,
    signature: Signature,
}

/// What a key signs when another one takes its place: whose it is, the how manieth, and which. What came before is signed
/// for by the keys before.
fn message(device: &DeviceId, nth: usize, key: &PublicKey) -> [u8; 32] {
    hash::derive(hash::ROLLOVER, &[&device.0, &(nth as u64).to_le_bytes(), &key.0]).0
}

impl KeyChain {
    /// The chain of a device that still has its first key.
    pub fn new(first: PublicKey) -> Self {
        Self { first, rollovers: Vec::new() }
    }

    /// Which device.
    pub fn device(&self) -> DeviceId {
        self.first.device()
    }

    /// The key that gives the device its id.
    pub fn first(&self) -> PublicKey {
        self.first
    }

    /// The key that the device has now.
    pub fn current(&self) -> PublicKey {
        self.rollovers.last().map_or(self.first, |rollover| rollover.key)
    }

    /// How often the device has taken another key: at most [`crate::limits::MAX_ROLLOVERS`] times.
    pub fn rollovers(&self) -> usize {
        self.rollovers.len()
    }

    /// The same chain with one more key, `next`, for which the current one signs. `current` is its secret half. Whoever
    /// makes a device's chain longer must keep it, with `next`, before anything is signed by that.
    ///
    /// # Errors
    /// [`KeyChainError`]: `current` is not the current key, `next` was a key of this device before, or there have been as
    /// many as there may be.
    pub fn rolled_over(
        &self,
        current: &SecretKey,
        next: &SecretKey,
        scheme: &dyn SignatureScheme,
    ) -> Result<Self, KeyChainError> {
        if self.rollovers.len() >= MAX_ROLLOVERS {
            return Err(KeyChainError::Full);
        }
        if scheme.public(current) != self.current() {
            return Err(KeyChainError::NotCurrent);
        }
        let key = scheme.public(next);
        if self.keys().any(|known| known == key) {
            return Err(KeyChainError::Again);
        }
        let signature = scheme.sign(current, &message(&self.device(), self.rollovers.len() + 1, &key));
        let mut longer = self.clone();
        longer.rollovers.push(Rollover { key, signature });
        Ok(longer)
    }

    /// Whether each key is signed for by the one before, no key returns, and there are no more than there may be.
    pub fn verify(&self, scheme: &dyn SignatureScheme) -> bool {
        let device = self.device();
        let mut before = self.first;
        self.rollovers.len() <= MAX_ROLLOVERS
            && self.rollovers.iter().enumerate().all(|(at, Rollover { key, signature })| {
                let is_new = self.keys().take(at + 1).all(|known| known != *key);
                let signer = core::mem::replace(&mut before, *key);
                is_new && scheme.verify(&signer, &message(&device, at + 1, key), signature)
            })
    }

    /// Whether another chain is this one, or the beginning of it. Keys alone are compared: one rollover can be signed in
    /// several ways.
    pub fn starts_with(&self, other: &Self) -> bool {
        other.rollovers.len() <= self.rollovers.len()
            && other.keys().eq(self.keys().take(other.rollovers.len() + 1))
    }

    /// How many rollovers it has in common with another chain of its device: the same keys, one after the other.
    pub(crate) fn common(&self, other: &Self) -> usize {
        self.keys().zip(other.keys()).skip(1).take_while(|(one, other)| one == other).count()
    }

    /// Whether it goes on beyond another chain.
    pub(crate) fn is_beyond(&self, other: &Self) -> bool {
        self.rollovers.len() > other.rollovers.len() && self.starts_with(other)
    }

    /// What it was when the device had had so many keys before the one that it had.
    pub(crate) fn up_to(&self, rollovers: usize) -> Self {
        Self { first: self.first, rollovers: self.rollovers.iter().take(rollovers).copied().collect() }
    }

    /// The life of a device with these keys for which that was drawn. With the first key it is what was drawn. Of later ones it
    /// is bound to them: who has an earlier key can make up as many others to follow it as there is time for, and must not
    /// find one that gives the same. So a guess costs some hashes.
    pub(crate) fn life(&self, nonce: u64) -> Life {
        let incarnation = match self.rollovers.len() {
            0 => Incarnation::of_key(0, nonce),
            rollovers => {
                let mut bytes = Vec::with_capacity((rollovers + 1) * 32);
                self.keys().for_each(|key| bytes.extend_from_slice(&key.0));
                let first = hash::derive(hash::LIFE, &[&nonce.to_le_bytes(), &bytes]);
                let bound = (1..NAME_ROUNDS).fold(first, |before, _| hash::derive(hash::LIFE, &[&before.0]));
                Incarnation::of_key(rollovers, u64::from_le_bytes(*bound.prefix()))
            }
        };
        Life { incarnation, nonce }
    }

    /// Whether a log of such a name, for which that was drawn, is of one of these keys. What was drawn for one of the first
    /// key is its name.
    pub(crate) fn owns(&self, incarnation: Incarnation, nonce: u64) -> bool {
        match incarnation.rollovers() {
            0 => nonce == 0,
            key => key <= self.rollovers() && self.up_to(key).life(nonce).incarnation == incarnation,
        }
    }

    /// Its keys, the first one first.
    pub fn keys(&self) -> impl Iterator<Item = PublicKey> {
        core::iter::once(self.first).chain(self.rollovers.iter().map(|rollover| rollover.key))
    }

    /// As bytes: what a driver keeps beside the secret.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Serialising such a type into memory cannot fail.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads such bytes; `None` if they are no chain. Whether it holds is for [`KeyChain::verify`] to say.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (chain, rest) = postcard::take_from_bytes::<Self>(bytes).ok()?;
        (rest.is_empty() && chain.rollovers.len() <= MAX_ROLLOVERS).then_some(chain)
    }
}

/// The chain of a first key.
impl From<PublicKey> for KeyChain {
    fn from(first: PublicKey) -> Self {
        Self::new(first)
    }
}

impl fmt::Debug for KeyChain {
    /// The device, and how many keys it has had before this one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyChain({:?}+{})", self.device(), self.rollovers.len())
    }
}

/// Why a device cannot have another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyChainError {
    /// There have been as many as there may be.
    #[error(
        "the device has taken a new key {MAX_ROLLOVERS} times, and may not again: make a new device, let it in, and \
         remove this one"
    )]
    Full,
    /// The secret that was given is not that of the current key.
    #[error("the secret is not that of the device's current key")]
    NotCurrent,
    /// The new key is one that the device has had before.
    #[error("the device has had this key before")]
    Again,
}

/// A key that takes the place of a device's current one: its secret half, and the chain that ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// The secret half, made from good randomness.
    pub secret: SecretKey,
    /// The device's chain, made longer by it.
    pub chain: KeyChain,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Ed25519;

    fn secret(n: usize) -> SecretKey {
        SecretKey([n as u8 + 1; 32])
    }

    fn chain(rollovers: usize) -> KeyChain {
        (0..rollovers).fold(KeyChain::new(Ed25519.public(&secret(0))), |chain, n| {
            chain.rolled_over(&secret(n), &secret(n + 1), &Ed25519).unwrap()
        })
    }

    #[test]
    fn a_chain_holds_as_long_as_nothing_of_it_is_changed() {
        let whole = chain(3);
        assert!(whole.verify(&Ed25519));
        assert_eq!(KeyChain::from_bytes(&whole.to_bytes()), Some(whole.clone()));
        let bytes = whole.to_bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let read = KeyChain::from_bytes(&changed);
            assert!(read.is_none_or(|read| !read.verify(&Ed25519)), "changed at {at}");
        }
        let mut swapped = whole.clone();
        swapped.rollovers.swap(0, 1);
        assert!(!swapped.verify(&Ed25519));
        let mut shortened = whole;
        shortened.rollovers.remove(1);
        assert!(!shortened.verify(&Ed25519));
    }

    #[test]
    fn a_chain_begins_with_its_own_beginnings_and_with_nothing_else() {
        let (short, long) = (chain(1), chain(3));
        assert!(long.starts_with(&short) && long.starts_with(&long) && !short.starts_with(&long));
        assert!(long.is_beyond(&short) && !long.is_beyond(&long) && !short.is_beyond(&long));
        let rival = chain(0).rolled_over(&secret(0), &secret(9), &Ed25519).unwrap();
        assert!(!long.starts_with(&rival) && !rival.starts_with(&short));
        assert_eq!(rival.device(), long.device());
    }

    #[test]
    fn a_log_of_a_later_key_has_a_name_that_is_of_no_other_key() {
        let (short, long) = (chain(1), chain(3));
        let Life { incarnation, nonce } = short.life(5);
        assert_eq!((incarnation.rollovers(), nonce), (1, 5));
        assert!(short.owns(incarnation, 5) && long.owns(incarnation, 5), "those that follow on it");
        assert!(!short.owns(incarnation, 6) && !chain(0).owns(incarnation, 5));
        let rival = chain(0).rolled_over(&secret(0), &secret(9), &Ed25519).unwrap();
        assert!((0..200).all(|nonce| !rival.owns(incarnation, nonce)));
        assert!(!chain(3).owns(rival.life(5).incarnation, 5));
        // Under the first key the name is what was drawn.
        let first = long.up_to(0).life(7);
        assert_eq!((first.incarnation, first.told()), (Incarnation(7), 0));
        assert!(long.owns(first.incarnation, 0) && !long.owns(first.incarnation, 7));
    }

    #[test]
    fn a_device_has_so_many_keys_and_none_of_them_twice() {
        let full = chain(MAX_ROLLOVERS);
        assert!(full.verify(&Ed25519));
        let more = full.rolled_over(&secret(MAX_ROLLOVERS), &secret(99), &Ed25519);
        assert_eq!(more, Err(KeyChainError::Full));
        assert_eq!(chain(1).rolled_over(&secret(0), &secret(9), &Ed25519), Err(KeyChainError::NotCurrent));
        assert_eq!(chain(1).rolled_over(&secret(1), &secret(0), &Ed25519), Err(KeyChainError::Again));
        let mut again = chain(1);
        let key = Ed25519.public(&secret(0));
        let signature = Ed25519.sign(&secret(1), &message(&again.device(), 2, &key));
        again.rollovers.push(Rollover { key, signature });
        assert!(!again.verify(&Ed25519), "an ended key does not return");
    }
}
