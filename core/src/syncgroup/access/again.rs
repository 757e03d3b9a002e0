//! What was given once, or taken, and is said again: by a device whose log is forked, in another log of its own (S-2, S-26).
//!
//! Others may have ended it under its old name, and not have heard of the new one. It is the same that was given; so what
//! ends it under one name ends it under the other, whatever came first. The generation that gives it again says which one
//! it repeats, so that this follows from what it says, and does not hang on having the branch on which that was, nor on
//! which others are known that repeat the same.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::facts::Standing;
use super::keys::EndedLogs;
use super::{Access, Rank};
use crate::id::Version;
use crate::object::history::Place;

/// By generation, those that it repeats: one, or more if that had repeated another one itself. A generation says so of a few
/// at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Again(BTreeMap<Version, Vec<Version>>);

impl Again {
    pub(super) fn take(&mut self, by: Version, repeated: Version) {
        self.0.entry(by).or_default().push(repeated);
    }

    /// Whether nothing was given again, as nearly always.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn repeated(&self, by: &Version) -> &[Version] {
        if self.is_empty() {
            return &[];
        }
        self.0.get(by).map_or(&[], Vec::as_slice)
    }

    /// A generation, and those that it repeats: what ends a grant under one of these names ends it.
    pub(super) fn names(&self, by: Version) -> impl Iterator<Item = Version> {
        core::iter::once(by).chain(self.repeated(&by).iter().copied())
    }

    /// The rank of a grant that lies so far from the creator's. A grant that is given again has the lesser one of both
    /// names: whoever might end it under one may end it under the other.
    pub(super) fn rank(&self, depth: u32, grant: &Version) -> Rank {
        (depth, self.names(*grant).fold(*grant, Version::max))
    }
}

impl Access {
    /// Whether a departure that is known ended a grant or an enrolment, under whatever name. One beyond the end of its log is
    /// not the device's.
    pub(super) fn has_left(
        &self,
        standing: &Standing,
        version: &Version,
        known: impl Fn(Place) -> bool,
        ended: &EndedLogs,
    ) -> bool {
        self.again.names(*version).any(|version| standing.has_left(&version, &known, ended))
    }
}
