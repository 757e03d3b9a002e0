//! Keys and signatures. The scheme is a parameter, so that a simulator can run a cheap one.

use core::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::hash::{self, Context, Hash};
use crate::id::{DeviceId, PublicKey};
use crate::keys::KeyChain;

/// The secret half of a device's key. It prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(pub [u8; 32]);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A signature.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    r: [u8; 32],
    s: [u8; 32],
}

impl Signature {
    /// Takes 64 bytes as a signature; whether it is one is for [`SignatureScheme::verify`] to say.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(bytes.first_chunk::<32>().unwrap_or(&[0; 32]));
        s.copy_from_slice(bytes.last_chunk::<32>().unwrap_or(&[0; 32]));
        Self { r, s }
    }

    /// The 64 bytes.
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let (r, s) = bytes.split_at_mut(32);
        r.copy_from_slice(&self.r);
        s.copy_from_slice(&self.s);
        bytes
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:02x}{:02x}..)", self.r[0], self.r[1])
    }
}

/// How to sign and to verify. Implementations are pure: the same input gives the same signature.
pub trait SignatureScheme: Sync {
    /// The public half of a secret key.
    fn public(&self, secret: &SecretKey) -> PublicKey;
    /// Signs a message.
    fn sign(&self, secret: &SecretKey, message: &[u8]) -> Signature;
    /// Whether the owner of the key signed the message.
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool;
}

/// Ed25519 (RFC 8032), with strict verification.
#[derive(Debug, Clone, Copy)]
pub struct Ed25519;

impl SignatureScheme for Ed25519 {
    fn public(&self, secret: &SecretKey) -> PublicKey {
        PublicKey(SigningKey::from_bytes(&secret.0).verifying_key().to_bytes())
    }

    fn sign(&self, secret: &SecretKey, message: &[u8]) -> Signature {
        Signature::from_bytes(&SigningKey::from_bytes(&secret.0).sign(message).to_bytes())
    }

    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.to_bytes());
        VerifyingKey::from_bytes(&key.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

/// What this replica signs with.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) secret: SecretKey,
    /// What shows that the key is this device's.
    pub(crate) chain: KeyChain,
    pub(crate) device: DeviceId,
    pub(crate) scheme: &'static dyn SignatureScheme,
}

impl Keys {
    pub(crate) fn new(secret: SecretKey, scheme: &'static dyn SignatureScheme) -> Self {
        let chain = KeyChain::new(scheme.public(&secret));
        Self { device: chain.device(), chain, secret, scheme }
    }

    /// The keys of a device that has had another key before; `None` if the chain does not hold, or is of another key.
    pub(crate) fn of(
        secret: SecretKey,
        chain: KeyChain,
        scheme: &'static dyn SignatureScheme,
    ) -> Option<Self> {
        let is_whole = scheme.public(&secret) == chain.current() && chain.verify(scheme);
        is_whole.then(|| Self { device: chain.device(), chain, secret, scheme })
    }

    /// The key that gives this device its id.
    pub(crate) fn first(&self) -> PublicKey {
        self.chain.first()
    }

    /// Signs the hash of some parts under a context.
    pub(crate) fn sign(&self, context: Context, parts: &[&[u8]]) -> Signature {
        self.scheme.sign(&self.secret, &hash::derive(context, parts).0)
    }

    /// Checks a signature that [`Keys::sign`] made, maybe elsewhere, by the last key of a chain that was checked.
    pub(crate) fn verify(&self, by: &KeyChain, context: Context, parts: &[&[u8]], sig: &Signature) -> bool {
        let Hash(message) = hash::derive(context, parts);
        self.scheme.verify(&by.current(), &message, sig)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({:?})", self.device)
    }
}
