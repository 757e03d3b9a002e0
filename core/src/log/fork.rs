//! Proofs that an author has forked its log: signed two logs of which neither continues the other (S-26).
//!
//! ```text
//!                         ┌─ leaf ─ … ─ checkpoint, signed
//!   peaks of the prefix ──┤
//!                         └─ other leaf ─ … ─ other checkpoint, signed
//! ```
//!
//! It counts by itself, whoever brings it: the common prefix by its peaks, the next leaf of either branch, and what leads
//! from there to something that the author has signed. Its size grows with the logarithm of the log's. By which key is a
//! matter of its own: for a log of a later key than the first nobody signs with one that came before it, or that took the
//! place of the same, as its name says so; and of two that took the place of that one the branches are not both the
//! device's (S-1).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Checkpoint;
use super::tree::Tree;
use crate::crypto::Keys;
use crate::hash::{self, Hash, Tag};
use crate::id::{Author, Generation, PublicKey, SyncgroupId};
use crate::keys::{KeyChain, Life};

/// One of the logs, behind the common prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Branch {
    /// Its first leaf.
    pub(crate) leaf: Hash,
    /// What the author has signed of it.
    pub(crate) checkpoint: Checkpoint,
    /// What leads there from that leaf.
    pub(crate) completion: Vec<Hash>,
}

/// A proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fork {
    pub(crate) author: Author,
    /// How many generations both logs begin with.
    pub(crate) prefix: Generation,
    peaks: Vec<Hash>,
    /// In the order of their leaves.
    branches: (Branch, Branch),
}

impl Fork {
    /// Puts a proof together. Whether it is one is for [`Fork::is_proof`] to say.
    pub(crate) fn new(author: Author, prefix: &Tree, one: Branch, other: Branch) -> Self {
        let branches = if one.leaf < other.leaf { (one, other) } else { (other, one) };
        Self { author, prefix: prefix.size(), peaks: prefix.peaks().to_vec(), branches }
    }

    /// What both logs begin with, in a tag.
    pub(crate) fn tag(&self) -> Tag {
        Tree::of(self.prefix, &self.peaks).map(|tree| tree.root().tag()).unwrap_or_default()
    }

    /// The key of which the log is, if that is not its device's first: of the keys by which the branches are signed the one
    /// that its name tells.
    pub(crate) fn key(&self) -> Option<PublicKey> {
        let key = self.author.incarnation.rollovers();
        (key > 0).then(|| self.branches.0.checkpoint.keys.up_to(key).current())
    }

    /// Whether it proves what it says, in a syncgroup.
    pub(crate) fn is_proof(&self, syncgroup: &SyncgroupId, keys: &Keys) -> bool {
        let Some(prefix) = Tree::of(self.prefix, &self.peaks) else { return false };
        let leads = |branch: &Branch| {
            let mut tree = prefix.clone();
            tree.append(branch.leaf);
            tree.root_at(branch.checkpoint.size, &branch.completion) == Some(branch.checkpoint.root)
        };
        let (one, other) = (&self.branches.0, &self.branches.1);
        one.leaf < other.leaf
            && leads(one)
            && leads(other)
            && (one.checkpoint.keys.starts_with(&other.checkpoint.keys)
                || other.checkpoint.keys.starts_with(&one.checkpoint.keys))
            && one.checkpoint.verify(syncgroup, &self.author, keys)
            && other.checkpoint.verify(syncgroup, &self.author, keys)
    }
}

/// The name under which a device that has these keys writes again what one branch of a log of its own said. It follows from
/// the branch and the keys: so whatever copies of the device do so write the same, and it counts once.
pub(crate) fn successor(author: &Author, leaf: &Hash, keys: &KeyChain) -> Life {
    let (incarnation, key) = (author.incarnation.0.to_le_bytes(), keys.current());
    let drawn = hash::derive(hash::REISSUE, &[&author.device.0, &incarnation, &leaf.0, &key.0]);
    keys.life(u64::from_le_bytes(*drawn.prefix()))
}

impl Author {
    /// How many generations of its log come first that say of which key it is: one, unless it is of its device's first key.
    pub(crate) fn says_its_key(&self) -> Generation {
        Generation::from(self.incarnation.rollovers() > 0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::crypto::{Ed25519, SecretKey};
    use crate::id::{DeviceId, Incarnation};
    use crate::log::tree;

    const GROUP: SyncgroupId = SyncgroupId([1; 32]);

    fn keys(of: u8) -> Keys {
        Keys::new(SecretKey([of; 32]), &Ed25519)
    }

    fn author(keys: &Keys) -> Author {
        Author { device: keys.device, incarnation: Incarnation(7) }
    }

    fn leaf(at: u64, of: u64) -> Hash {
        tree::leaf(&[at.to_le_bytes(), of.to_le_bytes()].concat())
    }

    /// Two logs of these sizes, which begin with the same leaves.
    fn forked(keys: &Keys, prefix: u64, sizes: [u64; 2]) -> Fork {
        let mut common = Tree::default();
        (0..prefix).for_each(|at| _ = common.append(leaf(at, 0)));
        let branch = |of: u64, size: u64| {
            let (mut whole, mut first) = (common.clone(), common.clone());
            first.append(leaf(prefix, of));
            let leaves: Vec<Hash> = (0..size).map(|at| leaf(at, if at < prefix { 0 } else { of })).collect();
            leaves.iter().skip(prefix as usize).for_each(|leaf| _ = whole.append(*leaf));
            let completion = tree::completion(&leaves, prefix + 1);
            let checkpoint = Checkpoint::sign(&GROUP, &author(keys), &whole, (keys, 0));
            Branch { leaf: leaf(prefix, of), checkpoint, completion }
        };
        Fork::new(author(keys), &common, branch(1, sizes[0]), branch(2, sizes[1]))
    }

    #[test]
    fn two_branches_of_any_size_prove_a_fork() {
        let keys = keys(1);
        for prefix in [0, 1, 2, 5, 8, 13] {
            for sizes in [[1, 1], [1, 4], [3, 2], [20, 31]] {
                let fork = forked(&keys, prefix, sizes.map(|more| prefix + more));
                assert!(fork.is_proof(&GROUP, &keys), "{prefix} {sizes:?}");
                let bytes = postcard::to_allocvec(&fork).unwrap();
                assert!(bytes.len() < 700, "{} bytes", bytes.len());
                assert_eq!(postcard::from_bytes(&bytes), Ok(fork));
            }
        }
    }

    #[test]
    fn who_has_a_key_that_has_ended_proves_nothing_of_a_log_of_a_later_one() {
        let old = keys(1);
        let chain = old.chain.rolled_over(&old.secret, &SecretKey([2; 32]), &Ed25519).unwrap();
        let new = Keys::of(SecretKey([2; 32]), chain, &Ed25519).unwrap();
        let rival = old.chain.rolled_over(&old.secret, &SecretKey([3; 32]), &Ed25519).unwrap();
        let rival = Keys::of(SecretKey([3; 32]), rival, &Ed25519).unwrap();
        let life = [old.chain.life(7), new.chain.life(7)];
        let of = |key: usize, one: &Keys, other: &Keys| {
            let author = Author { incarnation: life[key].incarnation, ..author(&old) };
            let branch = |keys: &Keys, of| {
                let mut tree = Tree::default();
                tree.append(leaf(0, of));
                let checkpoint = Checkpoint::sign(&GROUP, &author, &tree, (keys, life[key].told()));
                Branch { leaf: leaf(0, of), checkpoint, completion: Vec::new() }
            };
            Fork::new(author, &Tree::default(), branch(one, 1), branch(other, 2)).is_proof(&GROUP, &old)
        };
        assert!(of(0, &old, &old) && of(0, &old, &new) && of(1, &new, &new));
        assert!(!of(1, &old, &old) && !of(1, &new, &old) && !of(1, &old, &new));
        assert!(!of(0, &rival, &new) && !of(1, &rival, &new), "one of the two is not the device's");
        // Whoever has the former key signs for another one, and that for what it likes: the name is not that key's.
        assert!(!of(1, &rival, &rival));
        assert_ne!(rival.chain.life(7).incarnation, life[1].incarnation);
    }

    #[test]
    fn what_proves_nothing_is_none() {
        let keys = keys(1);
        let good = forked(&keys, 5, [9, 7]);
        let wrong = |change: &dyn Fn(&mut Fork)| {
            let mut fork = good.clone();
            change(&mut fork);
            assert!(!fork.is_proof(&GROUP, &keys), "{fork:?}");
        };
        assert!(!good.is_proof(&SyncgroupId([2; 32]), &keys), "in another syncgroup");
        wrong(&|it| it.author.device = DeviceId([9; 16]));
        wrong(&|it| it.author.incarnation.0 += 1);
        wrong(&|it| it.branches.1 = it.branches.0.clone());
        wrong(&|it| core::mem::swap(&mut it.branches.0, &mut it.branches.1));
        wrong(&|it| it.prefix -= 1);
        wrong(&|it| it.prefix = u64::MAX);
        wrong(&|it| it.peaks = vec![Hash([1; 32]); 2]);
        wrong(&|it| it.peaks = vec![Hash([1; 32]); 2_000]);
        wrong(&|it| it.branches.0.leaf = Hash([0; 32]));
        wrong(&|it| it.branches.0.completion.push(Hash([0; 32])));
        wrong(&|it| _ = it.branches.1.completion.pop());
        wrong(&|it| it.branches.1.checkpoint.size = u64::MAX);
        wrong(&|it| it.branches.1.checkpoint.size = 0);
        wrong(&|it| it.branches.1.checkpoint.root = Hash([3; 32]));
        wrong(&|it| it.branches.0.checkpoint.nonce = 1);
        wrong(&|it| it.branches.0.checkpoint.signature = it.branches.1.checkpoint.signature);
        wrong(&|it| it.branches.0.checkpoint.keys = Keys::new(SecretKey([2; 32]), &Ed25519).chain);
        // A log and its continuation are no branches, whatever is said of where they part.
        let same = forked(&keys, 5, [9, 9]);
        let (one, _) = same.branches;
        let twice = Fork::new(good.author, &Tree::of(5, &good.peaks).unwrap(), one.clone(), one);
        assert!(!twice.is_proof(&GROUP, &keys));
    }
}
