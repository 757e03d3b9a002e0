//! What devices have written again: generations of one of their logs that count no more, since another log of theirs
//! says the same (S-27).
//!
//! A device whose clock was far ahead has written what nobody takes before that time. When its clock is right again it
//! goes on under a new incarnation, and writes there again what nobody has taken: see `replica/reissue`. Somebody whose
//! clock was ahead as well may have taken it all the same, and then it would count twice; so the new log says which
//! generations it stands for. It names them one by one, from the first to the last, and not all from some point on:
//! what was written under the old name and has got lost since, as the disk was set back, was not written again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::super::past::{Numbered, PastIx};
use super::{Access, At, Judgement};
use crate::id::{Author, Generation};
use crate::log::record::MetaRecord;
use crate::time::Hlc;

/// A generation that says what counts no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cutting {
    pub(super) by: Author,
    pub(super) stamp: Hlc,
    /// The metadata in its past, itself included.
    pub(super) past: PastIx,
    pub(super) cuts: Vec<(Author, RangeInclusive<Generation>)>,
}

impl Access {
    /// What counts no more, by a judgement of everything else: a generation by which nothing is given and nothing ended
    /// takes no part in that.
    pub(super) fn cuts_by(&self, judgement: &Judgement, pasts: Numbered<'_>) -> Cuts {
        if judgement.is_clean() {
            return self.cuts.clone();
        }
        let mut cuts = Cuts::default();
        for (place, it) in &self.cutting {
            let (generation, past) = (place.1, pasts.get(it.past));
            let at = At { author: it.by, place: Some(*place), generation, stamp: it.stamp, past };
            if self.rights_at(judgement, at).is_some() {
                it.cuts.iter().for_each(|(author, range)| cuts.take(*author, range.clone()));
            }
        }
        // Nobody's word is taken for that.
        self.forked()
            .for_each(|(author, prefix)| cuts.take(*author, prefix.saturating_add(1)..=Generation::MAX));
        cuts
    }
}

/// By log, the generations that count no more: ranges in order, with others between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cuts(BTreeMap<Author, Vec<RangeInclusive<Generation>>>);

impl Cuts {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds generations. What comes of it is the same in any order.
    pub(crate) fn take(&mut self, author: Author, range: RangeInclusive<Generation>) {
        let ranges = self.0.entry(author).or_default();
        let (mut first, mut last) = range.into_inner();
        let touches = |it: &mut RangeInclusive<Generation>| {
            *it.start() <= last.saturating_add(1) && first <= it.end().saturating_add(1)
        };
        for joined in ranges.extract_if(.., touches).collect::<Vec<_>>() {
            (first, last) = (first.min(*joined.start()), last.max(*joined.end()));
        }
        let at = ranges.partition_point(|it| it.end() < &first);
        ranges.insert(at, first..=last);
    }

    /// How many ranges there are.
    pub(crate) fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// The last generation of a log that counts no more.
    pub(crate) fn last(&self, author: &Author) -> Option<Generation> {
        self.0.get(author)?.last().map(|it| *it.end())
    }

    /// The records that say so, for a generation of another log of the same device.
    pub(crate) fn records(&self) -> impl Iterator<Item = MetaRecord> {
        self.0.iter().flat_map(|(author, ranges)| {
            let incarnation = author.incarnation;
            ranges.iter().map(move |it| MetaRecord::Cut { incarnation, first: *it.start(), last: *it.end() })
        })
    }

    pub(super) fn has(&self, author: &Author, generation: Generation) -> bool {
        self.0.get(author).is_some_and(|ranges| {
            let at = ranges.partition_point(|it| *it.end() < generation);
            ranges.get(at).is_some_and(|it| it.contains(&generation))
        })
    }

    /// The first generation of a log that counts no more.
    pub(super) fn first(&self, author: &Author) -> Option<Generation> {
        self.0.get(author)?.first().map(|it| *it.start())
    }

    /// The logs of which other generations count than by another state of knowledge.
    pub(super) fn changed<'c>(&'c self, before: &'c Self) -> impl Iterator<Item = Author> + 'c {
        let logs = self.0.keys().chain(before.0.keys().filter(|author| !self.0.contains_key(author)));
        logs.copied().filter(|author| self.0.get(author) != before.0.get(author))
    }

    /// The generations of a log that count no more, and did by what was known before. So each is looked at once,
    /// however often its device says so.
    pub(super) fn added(&self, before: &Self, author: &Author) -> Vec<RangeInclusive<Generation>> {
        let mut added = Vec::new();
        let known = before.0.get(author).map_or(&[][..], Vec::as_slice);
        for range in self.0.get(author).into_iter().flatten() {
            let mut next = *range.start();
            let within = known.iter().filter(|it| it.end() >= range.start() && it.start() <= range.end());
            for it in within {
                if next < *it.start() {
                    added.push(next..=it.start() - 1);
                }
                next = it.end().saturating_add(1);
            }
            if next <= *range.end() {
                added.push(next..=*range.end());
            }
        }
        added
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DeviceId, Incarnation};

    fn author(incarnation: u64) -> Author {
        Author { device: DeviceId([1; 16]), incarnation: Incarnation(incarnation) }
    }

    fn cuts(ranges: &[(Generation, Generation)]) -> Cuts {
        let mut cuts = Cuts::default();
        ranges.iter().for_each(|(first, last)| cuts.take(author(1), *first..=*last));
        cuts
    }

    #[test]
    fn ranges_join_where_they_touch_whatever_their_order() {
        let all = [(7, 9), (1, 2), (20, u64::MAX), (3, 4), (12, 13), (8, 10)];
        let mut backwards = all;
        backwards.reverse();
        let one = cuts(&all);
        assert_eq!(one, cuts(&backwards));
        let ranges: Vec<_> = one.0.values().flatten().map(|it| (*it.start(), *it.end())).collect();
        assert_eq!(ranges, [(1, 4), (7, 10), (12, 13), (20, u64::MAX)]);
        for (generation, is_cut) in
            [(1, true), (4, true), (5, false), (10, true), (11, false), (14, false), (99, true)]
        {
            assert_eq!(one.has(&author(1), generation), is_cut, "{generation}");
            assert!(!one.has(&author(2), generation));
        }
    }

    #[test]
    fn what_was_cut_before_is_not_added_again() {
        let (before, now) = (cuts(&[(1, 2), (7, 9)]), cuts(&[(1, 2), (4, 4), (6, 12), (20, 21)]));
        assert_eq!(now.added(&before, &author(1)), [4..=4, 6..=6, 10..=12, 20..=21]);
        assert_eq!(now.added(&now, &author(1)), []);
        assert_eq!(now.added(&Cuts::default(), &author(1)), [1..=2, 4..=4, 6..=12, 20..=21]);
        assert_eq!(now.added(&before, &author(2)), []);
        assert_eq!(now.changed(&before).collect::<Vec<_>>(), [author(1)]);
        assert_eq!(Cuts::default().changed(&now).collect::<Vec<_>>(), [author(1)]);
        assert_eq!(now.changed(&now).count(), 0);
    }
}
