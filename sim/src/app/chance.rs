//! What users might do, drawn.

use crate::dice::Dice;

/// Choices for [`App::draw`](super::App::draw), all of which follow from the seed.
#[derive(Debug, Clone)]
pub struct Chance(Dice);

impl Chance {
    pub(crate) fn new(dice: Dice) -> Self {
        Self(dice)
    }

    /// Evenly from `0..n`; 0 if `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0.below(n)
    }

    /// Evenly from `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.between(low, high)
    }

    /// From `low..=high`, spread over the orders of magnitude: many small, few large.
    pub fn skewed(&mut self, low: u64, high: u64) -> u64 {
        self.0.skewed(low, high)
    }

    /// True one time in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.0.one_in(n)
    }

    /// One of several.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.0.index(from.len())]
    }
}
