//! Hashes: BLAKE3, each use under a context of its own, and an order-independent sum of hashes.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A BLAKE3 hash.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The first `N` bytes, `N` at most 32.
    pub fn prefix<const N: usize>(&self) -> &[u8; N] {
        const { assert!(N <= 32) };
        self.0.first_chunk().unwrap_or(&[0; N])
    }

    /// A short tag that stands for the hash where a collision would only cost time.
    pub fn tag(&self) -> Tag {
        Tag(*self.prefix())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The first 16 bytes of a hash.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag(pub [u8; 16]);

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a hash is for. Hashes under two contexts never coincide, so nothing signed or named for one purpose
/// can be used for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context(u8);

pub(crate) const DEVICE: Context = Context(0x10);
pub(crate) const COLLECTION: Context = Context(0x11);
pub(crate) const SYNCGROUP: Context = Context(0x12);
pub(crate) const CHECKPOINT: Context = Context(0x13);
pub(crate) const INVITATION: Context = Context(0x14);
pub(crate) const INVITATION_TEXT: Context = Context(0x15);
pub(crate) const LINK_SALT: Context = Context(0x16);
pub(crate) const LINK_NAME: Context = Context(0x17);
pub(crate) const KNOWLEDGE: Context = Context(0x18);
pub(crate) const VISIBLE_ROW: Context = Context(0x19);
pub(crate) const SUMMARY: Context = Context(0x1a);
pub(crate) const BODY: Context = Context(0x1b);
pub(crate) const BATCH_PART: Context = Context(0x1c);
pub(crate) const DICE: Context = Context(0x1d);
pub(crate) const HEADS: Context = Context(0x20);
pub(crate) const MERGING_ROW: Context = Context(0x1e);
pub(crate) const LIVE_OPERATION: Context = Context(0x1f);
pub(crate) const DISPUTED_VALUE: Context = Context(0x21);
pub(crate) const CONFLICT: Context = Context(0x22);
pub(crate) const USER: Context = Context(0x23);
pub(crate) const CERTIFICATE: Context = Context(0x24);
pub(crate) const STRIKING_OFF: Context = Context(0x25);
pub(crate) const CERTIFICATE_TEXT: Context = Context(0x26);
pub(crate) const PUBLICATION: Context = Context(0x27);
pub(crate) const BASE_VALUE: Context = Context(0x28);
pub(crate) const REISSUE: Context = Context(0x29);
pub(crate) const ROLLOVER: Context = Context(0x2a);
pub(crate) const LIFE: Context = Context(0x2b);
/// Leaves and inner nodes of log trees keep the prefixes of RFC 9162.
pub(crate) const LEAF: Context = Context(0x00);
pub(crate) const NODE: Context = Context(0x01);

/// Hashes some parts under a context. Every caller's parts are of fixed length, but for the last: so no two
/// different lists of parts give the same input.
pub(crate) fn derive(context: Context, parts: &[&[u8]]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[context.0]);
    for part in parts {
        hasher.update(part);
    }
    Hash(*hasher.finalize().as_bytes())
}

/// The sum of a set of hashes: the same whatever the order in which they were added, and cheap to update.
///
/// It notices accidents and defects. It is no commitment against somebody who can choose the elements: for
/// those there are the log trees.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SetDigest([u64; 4]);

impl SetDigest {
    fn lanes(hash: &Hash) -> [u64; 4] {
        let mut lanes = [0; 4];
        for (lane, bytes) in lanes.iter_mut().zip(hash.0.as_chunks::<8>().0) {
            *lane = u64::from_le_bytes(*bytes);
        }
        lanes
    }

    /// Adds an element.
    pub fn add(&mut self, hash: &Hash) {
        for (sum, lane) in self.0.iter_mut().zip(Self::lanes(hash)) {
            *sum = sum.wrapping_add(lane);
        }
    }

    /// Takes an element out again.
    pub fn remove(&mut self, hash: &Hash) {
        for (sum, lane) in self.0.iter_mut().zip(Self::lanes(hash)) {
            *sum = sum.wrapping_sub(lane);
        }
    }

    /// The digest as bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, lane) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *chunk = lane.to_le_bytes();
        }
        bytes
    }

    /// The digest that [`SetDigest::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Self::lanes(&Hash(*bytes)))
    }
}

impl fmt::Debug for SetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0[0] >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_digest_forgets_the_order_and_undoes_what_it_added() {
        let [a, b, c] = [1u8, 2, 3].map(|n| derive(BODY, &[&[n]]));
        let mut one = SetDigest::default();
        let mut two = SetDigest::default();
        [a, b, c].iter().for_each(|hash| one.add(hash));
        [c, a, b].iter().for_each(|hash| two.add(hash));
        assert_eq!(one, two);
        assert_eq!(SetDigest::from_bytes(&one.to_bytes()), one);
        one.remove(&b);
        assert_ne!(one, two);
        two.remove(&b);
        assert_eq!(one, two);
    }

    #[test]
    fn contexts_keep_purposes_apart() {
        assert_ne!(derive(BODY, &[b"x"]), derive(LEAF, &[b"x"]));
    }
}
