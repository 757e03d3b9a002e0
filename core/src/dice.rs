//! Random choices, each concern with a stream of its own, so that a draw in one place does not shift the
//! others.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::hash;
use crate::time::Millis;

/// A stream of random choices.
#[derive(Debug, Clone)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of one concern under a seed.
    pub(crate) fn new(seed: &[u8; 32], concern: &str) -> Self {
        Self(ChaCha8Rng::from_seed(hash::derive(hash::DICE, &[seed, concern.as_bytes()]).0))
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Between half of a span and the whole of it: many who wait the same time do not all act at once.
    pub(crate) fn about(&mut self, span: Millis) -> Millis {
        let half = span.0 / 2;
        Millis(half + if half == 0 { 0 } else { self.u64() % (half + 1) })
    }
}
