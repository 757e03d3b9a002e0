//! What was given once, and is said again: by a device whose log is forked, in another log of its own (S-2, S-26).
//!
//! Others may have ended it under its old name, and not have heard of the new one. It is the same that was given; so what
//! ends it under one name ends it under the other, whatever came first. The generation that gives it again says which one
//! it repeats, so that this follows from what it says, and does not hang on having the branch on which that was.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::facts::{Grant, Holder, Standing};
use super::{Access, Rank};
use crate::id::Version;
use crate::object::history::Place;

/// In how many generations the same may be given again, for what ends it to end it there: a device has no more logs that
/// are forked. Of more, whoever may give it may as well have said it anew.
const MOST_COPIES: usize = crate::limits::MAX_FORKS;

/// By generation, those that it repeats: one, or more if that had repeated another one itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Again(BTreeMap<Version, Vec<Version>>);

impl Again {
    pub(super) fn take(&mut self, by: Version, repeated: Version) {
        self.0.entry(by).or_default().push(repeated);
    }

    fn repeated(&self, by: &Version) -> &[Version] {
        if self.0.is_empty() {
            return &[]; // As nearly always.
        }
        self.0.get(by).map_or(&[], Vec::as_slice)
    }

    /// The rank of a grant that lies so far from the creator's. A grant that is given again has the lesser one of both
    /// names: whoever might end it under one may end it under the other.
    pub(super) fn rank(&self, depth: u32, grant: &Version) -> Rank {
        (depth, self.repeated(grant).iter().copied().fold(*grant, Version::max))
    }
}

/// The grants of which others are known that give the same again.
#[derive(Default)]
pub(super) struct Copies(BTreeMap<(Holder, Version), BTreeSet<Version>>);

impl Copies {
    pub(super) fn note(&mut self, again: &Again, holder: Holder, grant: &Grant) {
        for repeated in again.repeated(&grant.version) {
            let copies = self.0.entry((holder, *repeated)).or_default();
            copies.insert(grant.version);
            if copies.len() > MOST_COPIES {
                copies.pop_last();
            }
        }
    }

    /// A grant, and those that give the same again.
    pub(super) fn of(&self, holder: Holder, grant: Version) -> impl Iterator<Item = Version> {
        let copies = self.0.get(&(holder, grant)).into_iter().flatten().copied();
        core::iter::once(grant).chain(copies)
    }
}

impl Access {
    /// Whether a departure that is known ended a grant or an enrolment, under whatever name.
    pub(super) fn has_left(
        &self,
        standing: &Standing,
        version: &Version,
        known: impl Fn(Place) -> bool,
    ) -> bool {
        let mut names = core::iter::once(version).chain(self.again.repeated(version));
        names.any(|version| standing.has_left(version, &known))
    }
}
