//! Randomness, forked by concern.
//!
//! Every choice is drawn from a stream of its own, named by the seed, a [`Concern`] and some numbers (which
//! replica, which link, which frame). So taking one step out of a plan does not change what the rest meets.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// What a choice is about. The numbers are part of every seed's meaning: append, do not reorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Concern {
    /// Which faults and workloads are on, how strongly, and the settings of the replicas.
    Swarm = 1,
    /// Who makes and joins which syncgroup.
    People = 2,
    /// What is written.
    Writes = 3,
    /// Crashes and restarts.
    Process = 4,
    /// Partitions and broken links.
    Partitions = 5,
    /// A frame's fate.
    Frame = 6,
    /// Attempts to connect.
    Connect = 7,
    /// How a link ends.
    LinkEnd = 8,
    /// How long a sync of the disk takes.
    Disk = 9,
    /// What a crash loses.
    Crash = 10,
    /// The seed given to a core at boot.
    Boot = 11,
    /// Who finds whom, and when.
    Discovery = 12,
    /// Secret keys.
    Key = 13,
    /// When readers look.
    Readers = 14,
    /// The origin of a replica's monotonic clock.
    Clock = 15,
    /// Clogged links, and devices that cannot be called.
    Links = 16,
    /// Neighbourhoods that come and go.
    Neighbourhoods = 17,
    /// Disks that fail.
    Disks = 18,
    /// Disks that are damaged, lost, or set back.
    Losses = 19,
    /// Processes that sleep.
    Pauses = 20,
    /// Settings that change at a restart.
    Settings = 21,
    /// Clocks that drift and jump.
    Jumps = 22,
    /// Devices that vanish.
    Vanishing = 23,
    /// What hostile devices do.
    Hostile = 24,
    /// How a replica gets on after its disk failed.
    Recovery = 25,
    /// A random walk through a scope that is explored.
    Walk = 40,
    /// Schemas, and what is done to rows that merge.
    Policies = 41,
    /// Which resolvers there are.
    Resolvers = 42,
    /// What a resolver does about a question.
    Answer = 43,
    /// Who watches what.
    Watchers = 44,
    /// Transfers between accounts.
    Transfers = 45,
    /// What the users of an application do.
    App = 46,
    /// Which devices take another key, and when.
    Rotations = 47,
    /// Which of these keys somebody has stolen, and what they do with them.
    Thefts = 48,
}

/// A stream of choices.
#[derive(Debug, Clone)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of a seed for one concern and some numbers.
    pub(crate) fn new(seed: u64, concern: Concern, numbers: &[u64]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.update(&[concern as u8]);
        for number in numbers {
            hasher.update(&number.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// Evenly from `0..n`; 0 if `n` is 0. The bias of the multiplication is far below what a test can see.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(n);
        (wide >> 64) as u64
    }

    /// Evenly from `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// An index into something of this length.
    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// One of several, `None` if there are none.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.index(from.len()))
    }

    /// True so many times in a million.
    pub(crate) fn ppm(&mut self, parts: u32) -> bool {
        self.below(1_000_000) < u64::from(parts)
    }

    /// True one time in `n`.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Thirty-two bytes.
    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// Mixes a list.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.index(last + 1));
        }
    }

    /// A span whose lengths are spread over the orders of magnitude up to `high`: many short, few long.
    pub(crate) fn skewed(&mut self, low: u64, high: u64) -> u64 {
        let mut top = high;
        while top > low.saturating_mul(2).max(1) && self.one_in(2) {
            top /= 4;
        }
        self.between(low, top.max(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_concern_and_numbers_and_on_nothing_else() {
        let draw = |seed, concern, numbers: &[u64]| Dice::new(seed, concern, numbers).bytes();
        let one = draw(1, Concern::Disk, &[2, 3]);
        assert_eq!(one, draw(1, Concern::Disk, &[2, 3]));
        assert_ne!(one, draw(2, Concern::Disk, &[2, 3]));
        assert_ne!(one, draw(1, Concern::Boot, &[2, 3]));
        assert_ne!(one, draw(1, Concern::Disk, &[3, 2]));
    }

    #[test]
    fn choices_keep_within_their_bounds() {
        let mut dice = Dice::new(7, Concern::Swarm, &[]);
        for _ in 0..1_000 {
            assert!(dice.below(3) < 3);
            assert!((5..=9).contains(&dice.between(5, 9)));
            assert!((10..=5_000).contains(&dice.skewed(10, 5_000)));
        }
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.pick::<u8>(&[]), None);
    }
}
