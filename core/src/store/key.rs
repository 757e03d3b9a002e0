//! The layout of keys. Numbers are big-endian, so that the order of bytes is the order of numbers; local
//! numbers of syncgroups and authors keep keys short.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{CollectionId, CommitSeq, Generation};

/// The local number of a syncgroup in one store.
pub(crate) type GroupIx = u32;
/// The local number of an author in one store.
pub(crate) type AuthorIx = u32;

/// Keys of [`super::Table::Meta`].
pub(crate) mod meta {
    /// Format of the store, number of the last commit, incarnation: changed by nearly every commit.
    pub(crate) const STATE: &[u8] = b"state";
    /// Of which commits it is kept which rows they changed.
    pub(crate) const KEPT: &[u8] = b"kept";
    pub(crate) const LIVES: &[u8] = b"lives";
    /// Which batches were shown in part.
    pub(crate) const SPLIT: &[u8] = b"split";
    /// Which merges of the application were registered at the last boot.
    pub(crate) const MERGES: &[u8] = b"merges";
    /// The databases whose exchange is paused.
    pub(crate) const PAUSED: &[u8] = b"paused";
    /// The keys of the device whose store it is, as they were when it was last written.
    pub(crate) const KEYS: &[u8] = b"keys";
    /// The device whose store it is.
    pub(crate) const DEVICE: &[u8] = b"device";
}

pub(crate) fn number(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

/// A key that starts with this number, taken apart.
pub(crate) fn split_number(key: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = key.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), rest))
}

/// Keys of the log: also of the table of metadata.
pub(crate) fn log(group: GroupIx, author: AuthorIx, generation: Generation) -> Bytes {
    let mut key = [0; 16];
    let (a, rest) = key.split_at_mut(4);
    let (b, c) = rest.split_at_mut(4);
    a.copy_from_slice(&group.to_be_bytes());
    b.copy_from_slice(&author.to_be_bytes());
    c.copy_from_slice(&generation.to_be_bytes());
    Bytes::copy_from_slice(&key)
}

/// The number of a commit: what it changed.
pub(crate) fn change(seq: CommitSeq) -> Bytes {
    Bytes::copy_from_slice(&seq.0.to_be_bytes())
}

/// Two numbers: an author's checkpoint, or a set of metadata.
pub(crate) fn pair(group: GroupIx, other: u32) -> Bytes {
    let mut key = [0; 8];
    let (a, b) = key.split_at_mut(4);
    a.copy_from_slice(&group.to_be_bytes());
    b.copy_from_slice(&other.to_be_bytes());
    Bytes::copy_from_slice(&key)
}

/// What all rows of a collection start with; also the key of the collection itself.
pub(crate) fn collection(group: GroupIx, collection: &CollectionId) -> Bytes {
    row(group, collection, &[])
}

pub(crate) fn row(group: GroupIx, collection: &CollectionId, key: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(12 + key.len());
    bytes.extend_from_slice(&group.to_be_bytes());
    bytes.extend_from_slice(&collection.0);
    bytes.extend_from_slice(key);
    bytes.into()
}

/// Bytes before the key in a row's key.
pub(crate) const ROW_PREFIX: usize = 12;
