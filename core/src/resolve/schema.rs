//! The schemas of a syncgroup's collections: for each prefix a register of its own, the last valid change of
//! which counts (S-16, S-20). Stamps lie above all stamps in their past, so a change that knew another one
//! takes its place.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Policy, Rule};
use crate::id::{CollectionId, Version};
use crate::time::Hlc;

/// The register of one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Register {
    at: (Hlc, Version),
    /// `None` where the rule was taken away.
    policy: Option<Policy>,
}

/// The rules of all collections of a syncgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Schemas(BTreeMap<CollectionId, BTreeMap<Bytes, Register>>);

impl Schemas {
    /// Takes in a change. Returns whether it counts: whether no later one is known.
    pub(crate) fn set(
        &mut self,
        collection: CollectionId,
        prefix: &Bytes,
        policy: Option<&Policy>,
        at: (Hlc, Version),
    ) -> bool {
        let rules = self.0.entry(collection).or_default();
        if rules.get(prefix).is_some_and(|register| register.at >= at) {
            return false;
        }
        rules.insert(prefix.clone(), Register { at, policy: policy.cloned() });
        true
    }

    /// The policy of a row.
    pub(crate) fn policy(&self, collection: &CollectionId, key: &[u8]) -> &Policy {
        const LAST_WINS: &Policy = &Policy::LastWins;
        let matching = self.rules(collection).filter(|(prefix, _)| key.starts_with(prefix));
        matching.max_by_key(|(prefix, _)| prefix.len()).map_or(LAST_WINS, |(_, policy)| policy)
    }

    /// The rules of a collection, by prefix.
    pub(crate) fn of(&self, collection: &CollectionId) -> Vec<Rule> {
        let rule =
            |(prefix, policy): (&Bytes, &Policy)| Rule { prefix: prefix.clone(), policy: policy.clone() };
        self.rules(collection).map(rule).collect()
    }

    fn rules(&self, collection: &CollectionId) -> impl Iterator<Item = (&Bytes, &Policy)> {
        let rules = self.0.get(collection).into_iter().flatten();
        rules.filter_map(|(prefix, register)| Some((prefix, register.policy.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Merge;
    use super::*;
    use crate::id::{Author, DeviceId, Incarnation};

    fn at(stamp: u64, author: u8) -> (Hlc, Version) {
        let author = Author { device: DeviceId([author; 16]), incarnation: Incarnation(1) };
        (Hlc(stamp), Version { author, generation: 1 })
    }

    #[test]
    fn the_longest_prefix_counts_whatever_arrived_first() {
        let notes = CollectionId([1; 8]);
        let counter = Policy::Merge(Merge::Counter);
        let facts = [
            (Bytes::from_static(b""), Some(Policy::Defer), at(5, 1)),
            (Bytes::from_static(b"stock/"), Some(counter.clone()), at(3, 1)),
            (Bytes::from_static(b"stock/"), Some(Policy::AppResolves), at(2, 2)),
            (Bytes::from_static(b"stock/old"), Some(Policy::Defer), at(6, 1)),
            (Bytes::from_static(b"stock/old"), None, at(7, 2)),
        ];
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 4, 0, 3, 1]] {
            let mut schemas = Schemas::default();
            for (prefix, policy, at) in order.map(|n: usize| &facts[n]) {
                schemas.set(notes, prefix, policy.as_ref(), *at);
            }
            assert_eq!(*schemas.policy(&notes, b"stock/apples"), counter);
            assert_eq!(*schemas.policy(&notes, b"stock/old/pears"), counter, "the rule was taken away");
            assert_eq!(*schemas.policy(&notes, b"milk"), Policy::Defer);
            assert_eq!(*schemas.policy(&CollectionId([2; 8]), b"milk"), Policy::LastWins);
            assert_eq!(schemas.of(&notes).len(), 2);
        }
    }
}
