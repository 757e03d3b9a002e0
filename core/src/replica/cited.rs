//! What generations say that others build on. It stands in the log beside all that they hold, megabytes perhaps, and each
//! of many small generations may build on any of them; so it is kept in short, as far as it was looked at lately.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::hash::Hash;
use crate::id::Generation;
use crate::store::key::{AuthorIx, GroupIx};
use crate::syncgroup::PastIx;
use crate::time::Hlc;

/// Generations of which this is kept: some 150 bytes each.
const MOST_KEPT: usize = 8_192;

/// A generation that is held.
type Place = (GroupIx, AuthorIx, Generation);

/// What a generation says of itself to those that build on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cited {
    pub(crate) past: PastIx,
    pub(crate) stamp: Hlc,
    pub(crate) leaf: Hash,
    /// The nodes of the log tree that it completes.
    pub(crate) nodes: Vec<Hash>,
}

/// Those that were looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Citations(BTreeMap<Place, Cited>);

impl Citations {
    pub(crate) fn get(&self, place: &Place) -> Option<&Cited> {
        self.0.get(place)
    }

    /// Keeps one, and forgets all others where there are too many.
    pub(crate) fn keep(&mut self, place: Place, cited: Cited) {
        if self.0.len() >= MOST_KEPT {
            self.0.clear();
        }
        self.0.insert(place, cited);
    }

    pub(crate) fn extend(&mut self, others: Self) {
        others.0.into_iter().for_each(|(place, cited)| self.keep(place, cited));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let cited = |n| Cited { past: 0, stamp: Hlc(n), leaf: Hash([0; 32]), nodes: Vec::new() };
        let mut citations = Citations::default();
        for n in 1..3 * MOST_KEPT as u64 {
            citations.keep((0, 0, n), cited(n));
            assert_eq!(citations.get(&(0, 0, n)), Some(&cited(n)));
            assert!(citations.0.len() <= MOST_KEPT);
        }
    }
}
