//! A signature scheme that costs one hash, for runs in which signatures are not what is tested.

use driftless::{PublicKey, SecretKey, Signature, SignatureScheme};

/// Signs with a keyed hash of which everybody can compute the key. It notices frames that were mixed up or
/// damaged, and stops nobody who means harm: for simulations only. Real signatures take most of the time of
/// a run, so that most seeds run with this scheme and some with the real one.
#[derive(Debug, Clone, Copy)]
pub struct KeyedHash;

const PUBLIC: &str = "driftless-sim 2026 keyed hash: public key";

impl SignatureScheme for KeyedHash {
    fn public(&self, secret: &SecretKey) -> PublicKey {
        PublicKey(blake3::derive_key(PUBLIC, &secret.0))
    }

    fn sign(&self, secret: &SecretKey, message: &[u8]) -> Signature {
        Signature::from_bytes(&tag(&self.public(secret), message))
    }

    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        signature.to_bytes() == tag(key, message)
    }
}

fn tag(key: &PublicKey, message: &[u8]) -> [u8; 64] {
    let mut tag = [0; 64];
    blake3::Hasher::new_keyed(&key.0).update(message).finalize_xof().fill(&mut tag);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_key_and_its_message_only() {
        let (one, two) = (SecretKey([1; 32]), SecretKey([2; 32]));
        let signature = KeyedHash.sign(&one, b"message");
        assert!(KeyedHash.verify(&KeyedHash.public(&one), b"message", &signature));
        assert!(!KeyedHash.verify(&KeyedHash.public(&two), b"message", &signature));
        assert!(!KeyedHash.verify(&KeyedHash.public(&one), b"massage", &signature));
    }
}
