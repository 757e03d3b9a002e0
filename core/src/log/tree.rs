//! The log tree: an append-only Merkle tree over an author's generations (S-8), in the structure of RFC 9162
//! §2.1 with BLAKE3.
//!
//! A replica keeps the *peaks*: the roots of the complete subtrees that the leaves held so far fall into,
//! largest first. Six leaves:
//!
//! ```text
//!          o            peak 1: leaves 0..4, height 2
//!        /   \
//!       o     o     o   peak 2: leaves 4..6, height 1
//!      / \   / \   / \
//!     0   1 2   3 4   5
//! ```
//!
//! An author signs the root at some size `n`, and whoever holds the first `held` leaves is shown that they
//! are a prefix of that tree by the *completion*: the roots of the largest subtrees to the right of `held`.
//! Together with the peaks they give the root at `n`. (RFC 9162's consistency proof also repeats what is on
//! the left; here the verifier always holds that.)

use alloc::vec::Vec;

use crate::hash::{self, Hash};
use crate::store::Fault;

/// The hash of a leaf.
pub(crate) fn leaf(header: &[u8]) -> Hash {
    hash::derive(hash::LEAF, &[header])
}

fn parent(left: &Hash, right: &Hash) -> Hash {
    hash::derive(hash::NODE, &[&left.0, &right.0])
}

/// The peaks of an author's tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

impl Tree {
    /// A tree of so many leaves, less than there can be, by its peaks.
    pub(crate) fn of(size: u64, peaks: &[Hash]) -> Option<Self> {
        let is_one = size < u64::MAX && peaks.len() == size.count_ones() as usize;
        is_one.then(|| Self { size, peaks: peaks.to_vec() })
    }

    /// How many leaves.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees that they fall into, the largest first.
    pub(crate) fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds a leaf. Returns the inner nodes that it completes, lowest first: as many as `size` has trailing
    /// zero bits, which is one on average.
    pub(crate) fn append(&mut self, leaf: Hash) -> Vec<Hash> {
        self.size += 1;
        let mut completed = Vec::new();
        let mut node = leaf;
        for _ in 0..self.size.trailing_zeros() {
            let Some(left) = self.peaks.pop() else { break };
            node = parent(&left, &node);
            completed.push(node);
        }
        self.peaks.push(node);
        completed
    }

    /// The root of the leaves so far; a fixed hash if there are none.
    pub(crate) fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(&last) = peaks.next() else { return hash::derive(hash::NODE, &[]) };
        peaks.fold(last, |right, left| parent(left, &right))
    }

    /// The root at `size`, of which this tree is claimed to be a prefix, given the completion from here to
    /// there. `None` if the completion has not the right length.
    pub(crate) fn root_at(&self, size: u64, completion: &[Hash]) -> Option<Hash> {
        if size == self.size {
            return completion.is_empty().then(|| self.root());
        }
        if size < self.size {
            return None;
        }
        let mut left = self.peaks.iter();
        let mut right = completion.iter();
        let root = self.climb(Span { lo: 0, hi: size }, &mut left, &mut right)?;
        (left.next().is_none() && right.next().is_none()).then_some(root)
    }

    fn climb<'a>(
        &self,
        span: Span,
        left: &mut impl Iterator<Item = &'a Hash>,
        right: &mut impl Iterator<Item = &'a Hash>,
    ) -> Option<Hash> {
        if span.hi <= self.size {
            return left.next().copied();
        }
        if span.lo >= self.size {
            return right.next().copied();
        }
        let (a, b) = span.halves();
        let a = self.climb(a, left, right)?;
        let b = self.climb(b, left, right)?;
        Some(parent(&a, &b))
    }

    /// The tree at `size` from its stored nodes.
    pub(crate) fn load(size: u64, nodes: &dyn Nodes) -> Result<Self, Fault> {
        let mut peaks = Vec::new();
        let mut end = 0;
        for level in (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1) {
            end += 1 << level;
            peaks.push(nodes.node(level, end)?);
        }
        Ok(Self { size, peaks })
    }
}

/// Where the nodes of a tree are kept.
pub(crate) trait Nodes {
    /// The root of the complete subtree of `2^level` leaves that ends before leaf `end`.
    fn node(&self, level: u32, end: u64) -> Result<Hash, Fault>;
}

/// The leaves from `lo` up to, not including, `hi`, under one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    lo: u64,
    hi: u64,
}

impl Span {
    /// The spans of the two children: the left one is the largest complete subtree that leaves something for
    /// the right one.
    fn halves(self) -> (Span, Span) {
        let len = self.hi - self.lo;
        let left = 1 << (u64::BITS - 1 - (len - 1).leading_zeros());
        (Span { lo: self.lo, hi: self.lo + left }, Span { lo: self.lo + left, hi: self.hi })
    }

    /// The largest subtrees of this span to the right of `held`, from left to right.
    fn right_of(self, held: u64, each: &mut impl FnMut(Span) -> Result<(), Fault>) -> Result<(), Fault> {
        if self.hi <= held {
            Ok(())
        } else if self.lo >= held {
            each(self)
        } else {
            let (a, b) = self.halves();
            a.right_of(held, each)?;
            b.right_of(held, each)
        }
    }
}

/// A tree of `size` leaves, of which a replica holds the first `held` in `nodes` and the rest as the
/// completion that it was given.
pub(crate) struct Known<'a> {
    pub(crate) nodes: &'a dyn Nodes,
    pub(crate) held: u64,
    pub(crate) size: u64,
    pub(crate) completion: &'a [Hash],
}

impl Known<'_> {
    /// The completion from `from` leaves on, `from` at most `held`. It reads O(log² size) nodes at most, and
    /// O(log size) where everything is held.
    pub(crate) fn completion_from(&self, from: u64) -> Result<Vec<Hash>, Fault> {
        let whole = Span { lo: 0, hi: self.size };
        let mut given = Vec::new();
        if self.held < self.size {
            let mut hashes = self.completion.iter();
            whole.right_of(self.held, &mut |span| {
                given.extend(hashes.next().map(|hash| (span, *hash)));
                Ok(())
            })?;
        }
        let mut completion = Vec::new();
        if from < self.size {
            whole.right_of(from, &mut |span| {
                completion.push(self.subtree(span, &given)?);
                Ok(())
            })?;
        }
        Ok(completion)
    }

    fn subtree(&self, span: Span, given: &[(Span, Hash)]) -> Result<Hash, Fault> {
        let len = span.hi - span.lo;
        if span.hi <= self.held && len.is_power_of_two() {
            return self.nodes.node(len.trailing_zeros(), span.hi);
        }
        if let Some((_, hash)) = given.iter().find(|(at, _)| *at == span) {
            return Ok(*hash);
        }
        if len <= 1 {
            let what = alloc::format!("no hash of leaf {} in a log tree", span.lo);
            return Err(Fault::Corrupt { table: crate::store::Table::Log, what });
        }
        let (a, b) = span.halves();
        Ok(parent(&self.subtree(a, given)?, &self.subtree(b, given)?))
    }
}

/// The completion of a tree of these leaves from some size on.
#[cfg(test)]
pub(crate) fn completion(leaves: &[Hash], from: u64) -> Vec<Hash> {
    struct Leaves<'a>(&'a [Hash]);
    impl Nodes for Leaves<'_> {
        fn node(&self, level: u32, end: u64) -> Result<Hash, Fault> {
            let mut tree = Tree::default();
            self.0[(end - (1 << level)) as usize..end as usize]
                .iter()
                .for_each(|leaf| _ = tree.append(*leaf));
            Ok(tree.root())
        }
    }
    let size = leaves.len() as u64;
    Known { nodes: &Leaves(leaves), held: size, size, completion: &[] }.completion_from(from).unwrap()
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;

    /// A tree that keeps all its nodes.
    #[derive(Default)]
    struct Kept {
        tree: Tree,
        nodes: BTreeMap<(u32, u64), Hash>,
    }

    impl Kept {
        fn of(size: u64) -> Self {
            let mut kept = Self::default();
            for at in 0..size {
                let leaf = leaf(&at.to_le_bytes());
                let completed = kept.tree.append(leaf);
                kept.nodes.insert((0, at + 1), leaf);
                for (level, node) in (1..).zip(completed) {
                    kept.nodes.insert((level, at + 1), node);
                }
            }
            kept
        }
    }

    impl Nodes for Kept {
        fn node(&self, level: u32, end: u64) -> Result<Hash, Fault> {
            Ok(self.nodes[&(level, end)])
        }
    }

    /// The definition in RFC 9162 §2.1.1, word by word.
    fn reference(leaves: &[Hash]) -> Hash {
        match leaves {
            [leaf] => *leaf,
            _ => {
                let k = (leaves.len() - 1).ilog2();
                let (a, b) = leaves.split_at(1 << k);
                parent(&reference(a), &reference(b))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_definition() {
        let leaves: Vec<_> = (0..70u64).map(|at| leaf(&at.to_le_bytes())).collect();
        for size in 1..leaves.len() {
            assert_eq!(Kept::of(size as u64).tree.root(), reference(&leaves[..size]), "{size} leaves");
        }
    }

    #[test]
    fn every_prefix_is_proven_by_its_completion_and_by_no_other() {
        const MAX: u64 = 34;
        let trees: Vec<_> = (0..=MAX).map(Kept::of).collect();
        for size in 1..=MAX {
            let whole = &trees[size as usize];
            let known = Known { nodes: whole, held: size, size, completion: &[] };
            for held in 0..=size {
                let tree = &trees[held as usize].tree;
                let completion = known.completion_from(held).unwrap();
                assert_eq!(tree.root_at(size, &completion), Some(whole.tree.root()), "{held} of {size}");
                let mut longer = completion.clone();
                longer.push(Hash::default());
                assert_eq!(tree.root_at(size, &longer), None);
                if let Some((_, shorter)) = completion.split_last() {
                    assert_eq!(tree.root_at(size, shorter), None);
                }
                for at in 0..completion.len() {
                    let mut wrong = completion.clone();
                    wrong[at] = Hash::default();
                    assert_ne!(tree.root_at(size, &wrong), Some(whole.tree.root()));
                }
            }
        }
    }

    #[test]
    fn a_relay_that_holds_a_prefix_proves_every_shorter_one() {
        const MAX: u64 = 21;
        for size in 1..=MAX {
            let whole = Kept::of(size);
            let all = Known { nodes: &whole, held: size, size, completion: &[] };
            for held in 0..=size {
                let part = Kept::of(held);
                let completion = all.completion_from(held).unwrap();
                let relay = Known { nodes: &part, held, size, completion: &completion };
                for from in 0..=held {
                    let shown = relay.completion_from(from).unwrap();
                    assert_eq!(shown, all.completion_from(from).unwrap(), "{from} by {held} of {size}");
                }
            }
        }
    }

    #[test]
    fn the_peaks_come_back_from_the_stored_nodes() {
        for size in 0..40 {
            let kept = Kept::of(size);
            assert_eq!(Tree::load(size, &kept).unwrap(), kept.tree);
        }
    }
}
