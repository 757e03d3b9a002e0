//! Sets of metadata: what of it a generation has in its causal past (S-34).
//!
//! Whether a generation is allowed is judged by the facts in *its own causal past*, which are the same at every
//! replica. So that this costs little, every generation carries the number of the set of metadata in its past (see
//! [`Pasts`]); nearly always it is the number of the generation before.

use alloc::vec::Vec;

use crate::id::Generation;
use crate::object::history::Place;
use crate::store::key::AuthorIx;

/// The local number of a set of metadata generations.
pub(crate) type PastIx = u32;

/// The empty set: always number 0.
pub(crate) const NO_PAST: PastIx = 0;

/// A set of metadata generations closed under causes, as the last one of each author that has any.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Past(pub(crate) Vec<(AuthorIx, Generation)>);

impl Past {
    pub(crate) fn contains(&self, author: AuthorIx, generation: Generation) -> bool {
        (1..=self.last(author)).contains(&generation)
    }

    /// The last generation of an author's metadata that is in it; 0 if there is none.
    pub(crate) fn last(&self, author: AuthorIx) -> Generation {
        #[cfg(test)]
        tests::LOOKS.with(|looks| looks.set(looks.get() + 1));
        let found = self.0.binary_search_by_key(&author, |(a, _)| *a).ok();
        found.and_then(|at| self.0.get(at)).map_or(0, |(_, last)| *last)
    }

    /// Whether a generation of metadata is in it.
    pub(crate) fn has(&self, (author, generation): Place) -> bool {
        self.contains(author, generation)
    }

    pub(crate) fn add(&mut self, author: AuthorIx, generation: Generation) {
        match self.0.binary_search_by_key(&author, |(a, _)| *a) {
            Ok(at) => {
                if let Some((_, last)) = self.0.get_mut(at) {
                    *last = generation.max(*last);
                }
            }
            Err(at) => self.0.insert(at, (author, generation)),
        }
    }

    pub(crate) fn join(&mut self, other: &Past) {
        for (author, generation) in &other.0 {
            self.add(*author, *generation);
        }
    }
}

/// Different sets, each with a number, counted from 0.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sets {
    sets: Vec<Past>,
    /// The numbers of all of them, in the order of the sets.
    order: Vec<PastIx>,
}

impl Sets {
    pub(crate) fn number(&self, past: &Past) -> Option<PastIx> {
        self.find(past).ok().and_then(|at| self.order.get(at).copied())
    }

    /// The number that the next new set will get.
    pub(crate) fn next(&self) -> PastIx {
        self.sets.len() as PastIx
    }

    /// Adds a set that is not there yet.
    pub(crate) fn push(&mut self, mut past: Past) {
        let (Ok(at) | Err(at)) = self.find(&past);
        self.order.insert(at, self.next());
        past.0.shrink_to_fit();
        self.sets.push(past);
    }

    /// All of them, by number.
    pub(crate) fn list(&self) -> &[Past] {
        &self.sets
    }

    pub(crate) fn into_list(self) -> Vec<Past> {
        self.sets
    }

    fn find(&self, past: &Past) -> Result<usize, usize> {
        self.order.binary_search_by(|ix| self.sets.get(*ix as usize).cmp(&Some(past)))
    }
}

/// The sets of metadata that generations of one syncgroup have in their past.
#[derive(Debug, Clone)]
pub(crate) struct Pasts(Sets);

impl Default for Pasts {
    fn default() -> Self {
        let mut sets = Sets::default();
        sets.push(Past::default());
        Self(sets)
    }
}

impl Pasts {
    pub(crate) fn get(&self, ix: PastIx) -> &Past {
        const EMPTY: &Past = &Past(Vec::new());
        self.0.list().get(ix as usize).unwrap_or(EMPTY)
    }

    pub(crate) fn number(&self, past: &Past) -> Option<PastIx> {
        self.0.number(past)
    }

    pub(crate) fn next(&self) -> PastIx {
        self.0.next()
    }

    pub(crate) fn push(&mut self, past: Past) {
        self.0.push(past);
    }
}

/// The numbered sets of a syncgroup, with those that are being planned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbered<'p> {
    pub(crate) held: &'p Pasts,
    pub(crate) planned: &'p [Past],
}

impl<'p> Numbered<'p> {
    pub(crate) fn get(self, ix: PastIx) -> &'p Past {
        let planned = ix.checked_sub(self.held.next()).and_then(|at| self.planned.get(at as usize));
        planned.unwrap_or_else(|| self.held.get(ix))
    }
}

#[cfg(test)]
pub(crate) use self::tests::looks;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    std::thread_local! {
        pub(super) static LOOKS: Cell<usize> = const { Cell::new(0) };
    }

    /// How often this thread has looked up something in a set.
    pub(crate) fn looks() -> usize {
        LOOKS.with(Cell::get)
    }

    #[test]
    fn pasts_join_as_sets() {
        let mut one = Past(alloc::vec![(1, 4), (5, 1)]);
        one.join(&Past(alloc::vec![(1, 2), (3, 7), (5, 2)]));
        assert_eq!(one.0, [(1, 4), (3, 7), (5, 2)]);
        assert!(one.contains(3, 7) && !one.contains(3, 8) && !one.contains(2, 1));
    }

    #[test]
    fn sets_that_are_planned_are_numbered_after_those_that_are_held() {
        let mut held = Pasts::default();
        held.push(Past(alloc::vec![(1, 1)]));
        let planned = [Past(alloc::vec![(1, 2)])];
        let numbered = Numbered { held: &held, planned: &planned };
        assert_eq!(numbered.get(NO_PAST), &Past::default());
        assert_eq!(numbered.get(1), &Past(alloc::vec![(1, 1)]));
        assert_eq!(numbered.get(2), &planned[0]);
    }
}
