//! Random choices, each concern with a stream of its own, so that a draw in one place does not shift the
//! others.

use core::fmt;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::hash;
use crate::time::Millis;

/// A stream of random choices: where it comes from, and how far it is. A generator has a buffer besides, and the buffers
/// of a few streams would be much of what an idle replica takes; so one is made for each choice.
#[derive(Clone)]
pub(crate) struct Dice {
    seed: [u8; 32],
    /// Words of 32 bits that were drawn.
    drawn: u64,
}

/// What comes next in a stream is nobody's business.
impl fmt::Debug for Dice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dice(..)")
    }
}

impl Dice {
    /// The stream of one concern under a seed.
    pub(crate) fn new(seed: &[u8; 32], concern: &str) -> Self {
        Self { seed: hash::derive(hash::DICE, &[seed, concern.as_bytes()]).0, drawn: 0 }
    }

    fn draw<T>(&mut self, draw: impl FnOnce(&mut ChaCha8Rng) -> T) -> T {
        let mut stream = ChaCha8Rng::from_seed(self.seed);
        stream.set_word_pos(self.drawn.into());
        let drawn = draw(&mut stream);
        self.drawn = stream.get_word_pos() as u64;
        drawn
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.draw(|stream| stream.fill_bytes(&mut bytes));
        bytes
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.draw(ChaCha8Rng::next_u64)
    }

    /// Between half of a span and the whole of it: many who wait the same time do not all act at once.
    pub(crate) fn about(&mut self, span: Millis) -> Millis {
        let half = span.0 / 2;
        Millis(half + if half == 0 { 0 } else { self.u64() % (half + 1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_on_where_it_was_whatever_is_drawn() {
        let mut dice = Dice::new(&[7; 32], "a concern");
        let mut stream = ChaCha8Rng::from_seed(dice.seed);
        for n in 0..100 {
            let mut bytes = [0; 20];
            stream.fill_bytes(&mut bytes);
            assert_eq!(dice.bytes::<20>(), bytes, "{n}");
            assert_eq!(dice.u64(), stream.next_u64(), "{n}");
        }
    }
}
