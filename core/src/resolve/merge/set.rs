//! Sets. An insertion is named by its version; a removal names the insertions that its author saw, and touches
//! no other: an element stays if somebody inserted it meanwhile (the observed-remove set of Shapiro and
//! others, *A comprehensive study of Convergent and Commutative Replicated Data Types*, 2011).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Base;
use crate::id::Version;

/// A change of one element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SetChange {
    pub(crate) element: Bytes,
    /// The insertions that it undoes; `None` inserts.
    pub(crate) removes: Option<Vec<Version>>,
}

/// The value of a set: its elements.
///
/// ```
/// use driftless::Elements;
/// let set = Elements::from_iter(["pear", "apple", "pear"].map(Into::into));
/// let value = set.to_bytes();
/// assert_eq!(Elements::from_bytes(&value).unwrap().0.len(), 2);
/// assert!(Elements::from_bytes(b"no set at all").is_none());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elements(
    /// In order.
    pub BTreeSet<Bytes>,
);

impl Elements {
    /// Reads the value of a row. `None` if it is no set.
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes(value) {
            Ok((elements, [])) => Some(elements),
            _ => None,
        }
    }

    /// The value of a row with these elements.
    pub fn to_bytes(&self) -> Bytes {
        // Serialising such a type into memory cannot fail.
        postcard::to_allocvec(self).unwrap_or_default().into()
    }
}

impl FromIterator<Bytes> for Elements {
    fn from_iter<I: IntoIterator<Item = Bytes>>(elements: I) -> Self {
        Self(elements.into_iter().collect())
    }
}

/// What is known of one element.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    inserted: BTreeSet<Version>,
    removed: BTreeSet<Version>,
}

/// The insertions and removals of a set's live operations.
///
/// Removals are kept with the insertions that they undo, so that either may come first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tags(BTreeMap<Bytes, Known>);

impl Tags {
    pub(super) fn take(&mut self, changes: &[SetChange], version: Version) {
        for change in changes {
            let known = self.0.entry(change.element.clone()).or_default();
            match &change.removes {
                None => _ = known.inserted.insert(version),
                Some(removes) => known.removed.extend(removes),
            }
        }
    }

    /// The versions that put an element into the set, and were not removed.
    pub(super) fn of(&self, bases: &[Base], element: &[u8]) -> Vec<Version> {
        let nothing = Known::default();
        let known = self.0.get(element).unwrap_or(&nothing);
        let holds = |base: &&Base| elements(base).is_some_and(|elements| elements.0.contains(element));
        let bases = bases.iter().filter(holds).map(|base| base.version);
        let all = bases.chain(known.inserted.iter().copied());
        all.filter(|version| !known.removed.contains(version)).collect()
    }

    pub(super) fn elements(&self, bases: &[Base]) -> Elements {
        let mut shown = BTreeSet::new();
        for base in bases {
            let is_there = |element: &Bytes| {
                !self.0.get(element).is_some_and(|known| known.removed.contains(&base.version))
            };
            shown.extend(elements(base).unwrap_or_default().0.into_iter().filter(is_there));
        }
        let there =
            self.0.iter().filter(|(_, known)| known.inserted.difference(&known.removed).next().is_some());
        shown.extend(there.map(|(element, _)| element.clone()));
        Elements(shown)
    }
}

fn elements(base: &Base) -> Option<Elements> {
    Elements::from_bytes(base.value.as_ref()?)
}
