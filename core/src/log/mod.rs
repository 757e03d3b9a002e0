//! An author's log in one syncgroup: generations, the tree over them, and checkpoints.

pub(crate) mod fork;
pub(crate) mod generation;
pub(crate) mod record;
pub(crate) mod tree;

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use self::tree::Tree;
use crate::crypto::{Keys, Signature};
use crate::hash::{self, Hash};
use crate::id::{Author, Generation, SyncgroupId};
use crate::keys::KeyChain;
use crate::time::Hlc;

/// An author's word for the first `size` generations of its log: a signature over the root of the tree
/// (S-8). It carries the keys of the author's device, of which the id is a hash of the first, so that it can be checked by
/// itself: the log's name tells which of them may sign it, that one and those that follow on it (S-1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) size: Generation,
    pub(crate) root: Hash,
    pub(crate) keys: KeyChain,
    /// What was drawn for the life of the log's author, if it was of a later key than the first.
    pub(crate) nonce: u64,
    pub(crate) signature: Signature,
}

impl Checkpoint {
    /// `nonce` is what was drawn for the author's life, and 0 for one of the first key.
    pub(crate) fn sign(
        syncgroup: &SyncgroupId,
        author: &Author,
        tree: &Tree,
        (keys, nonce): (&Keys, u64),
    ) -> Self {
        let (size, root) = (tree.size(), tree.root());
        let signature = keys.sign(
            hash::CHECKPOINT,
            &parts(syncgroup, author, &size.to_le_bytes(), &root, &author.incarnation.0.to_le_bytes()),
        );
        Self { size, root, keys: keys.chain.clone(), nonce, signature }
    }

    /// Whether the author's device signed it, by a key that can be its own.
    pub(crate) fn verify(&self, syncgroup: &SyncgroupId, author: &Author, keys: &Keys) -> bool {
        self.keys.verify(keys.scheme)
            && self.keys.owns(author.incarnation, self.nonce)
            && self.verify_by_known(syncgroup, author, keys)
    }

    /// The same, where the chain is known to hold, and to be that of the log.
    pub(crate) fn verify_by_known(&self, syncgroup: &SyncgroupId, author: &Author, keys: &Keys) -> bool {
        let size = self.size.to_le_bytes();
        let incarnation = author.incarnation.0.to_le_bytes();
        let parts = parts(syncgroup, author, &size, &self.root, &incarnation);
        self.keys.device() == author.device
            && keys.verify(&self.keys, hash::CHECKPOINT, &parts, &self.signature)
    }
}

fn parts<'a>(
    syncgroup: &'a SyncgroupId,
    author: &'a Author,
    size: &'a [u8; 8],
    root: &'a Hash,
    incarnation: &'a [u8; 8],
) -> [&'a [u8]; 5] {
    [&syncgroup.0, &author.device.0, incarnation, size, &root.0]
}

/// What a replica keeps in memory of one author's log.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Log {
    /// The generations held, as a tree.
    pub(crate) tree: Tree,
    /// The stamp of the last one.
    pub(crate) stamp: Hlc,
    /// The metadata that the last one has in its past, itself included.
    pub(crate) past: crate::syncgroup::PastIx,
    /// The latest checkpoint, and the completion from what is held to it. This device's own logs need none:
    /// it signs anew.
    pub(crate) proof: Option<Proof>,
}

/// How a log is shown to be its author's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Proof {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) completion: Vec<Hash>,
}

impl Log {
    /// The last generation held.
    pub(crate) fn held(&self) -> Generation {
        self.tree.size()
    }
}
