//! The schemas of a syncgroup's collections: for each prefix a register of its own, the last valid change of
//! which counts (S-16, S-20). Stamps lie above all stamps in their past, so a change that knew another one
//! takes its place. How many count is bounded, whoever made them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Policy, Rule};
use crate::id::{CollectionId, Version};
use crate::limits::{MAX_REGISTERS, MAX_RULES};
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
pub(crate) struct Schemas(BTreeMap<CollectionId, Registers>);

/// The registers of a collection, by prefix: never more than [`MAX_REGISTERS`].
///
/// One admin never makes more rules than [`MAX_RULES`]; several, while apart, can. What counts then follows from
/// the set of all changes and not from the order of their arrival: of the last change of each prefix the last
/// [`MAX_REGISTERS`], by stamp, version and prefix, are kept; and of the rules among these the last [`MAX_RULES`]
/// count. A register that is dropped never comes back, as those above it only rise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Registers {
    of: BTreeMap<Bytes, Register>,
    /// How many of them hold a rule.
    rules: usize,
}

impl Registers {
    fn set(&mut self, prefix: &Bytes, register: Register) -> bool {
        if self.of.get(prefix).is_some_and(|known| known.at >= register.at) {
            return false;
        }
        self.put(prefix.clone(), register);
        if self.of.len() <= MAX_REGISTERS {
            return true;
        }
        let Some(first) = self.by_time().next().cloned() else { return true };
        self.take(&first);
        first != *prefix
    }

    fn put(&mut self, prefix: Bytes, register: Register) {
        self.rules += usize::from(register.policy.is_some());
        let before = self.of.insert(prefix, register);
        self.rules -= usize::from(before.is_some_and(|before| before.policy.is_some()));
    }

    fn take(&mut self, prefix: &Bytes) {
        let before = self.of.remove(prefix);
        self.rules -= usize::from(before.is_some_and(|before| before.policy.is_some()));
    }

    /// The prefixes, the one that was changed first before the others.
    fn by_time(&self) -> impl Iterator<Item = &Bytes> {
        let mut all: Vec<_> = self.of.iter().map(|(prefix, register)| (register.at, prefix)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, prefix)| prefix)
    }

    /// The rules that count, by prefix.
    fn counting(&self) -> impl Iterator<Item = (&Bytes, &Policy)> {
        let holds_rule =
            |prefix: &&Bytes| self.of.get(*prefix).is_some_and(|register| register.policy.is_some());
        let too_many = self.rules.saturating_sub(MAX_RULES);
        // As nearly never.
        let left_out: BTreeSet<&Bytes> = match too_many {
            0 => BTreeSet::new(),
            _ => self.by_time().filter(holds_rule).take(too_many).collect(),
        };
        let rules = self.of.iter().filter_map(|(prefix, register)| Some((prefix, register.policy.as_ref()?)));
        rules.filter(move |(prefix, _)| !left_out.contains(prefix))
    }
}

impl Schemas {
    /// Takes in a change. Returns whether it counts: whether no later one is known, nor too many that are later.
    pub(crate) fn set(
        &mut self,
        collection: CollectionId,
        prefix: &Bytes,
        policy: Option<&Policy>,
        at: (Hlc, Version),
    ) -> bool {
        let registers = self.0.entry(collection).or_default();
        registers.set(prefix, Register { at, policy: policy.cloned() })
    }

    /// The policy of a row.
    pub(crate) fn policy(&self, collection: &CollectionId, key: &[u8]) -> &Policy {
        const LAST_WINS: &Policy = &Policy::LastWins;
        let rules = self.0.get(collection).into_iter().flat_map(Registers::counting);
        let matching = rules.filter(|(prefix, _)| key.starts_with(prefix));
        matching.max_by_key(|(prefix, _)| prefix.len()).map_or(LAST_WINS, |(_, policy)| policy)
    }

    /// The rules of a collection that count, by prefix.
    pub(crate) fn of(&self, collection: &CollectionId) -> Vec<Rule> {
        let rule =
            |(prefix, policy): (&Bytes, &Policy)| Rule { prefix: prefix.clone(), policy: policy.clone() };
        self.0.get(collection).into_iter().flat_map(Registers::counting).map(rule).collect()
    }

    /// The collections that have, or had, rules.
    pub(crate) fn collections(&self) -> impl Iterator<Item = &CollectionId> {
        self.0.keys()
    }

    /// What has to be written for a collection to have these rules: each change of a prefix, and `None` where a rule is
    /// to be taken away, be it one that counts or one too many.
    pub(crate) fn changes(
        &self,
        collection: &CollectionId,
        wanted: BTreeMap<Bytes, Policy>,
    ) -> Vec<(Bytes, Option<Policy>)> {
        let registers = self.0.get(collection);
        let present = registers.into_iter().flat_map(|registers| &registers.of);
        let present = present.filter(|(_, register)| register.policy.is_some());
        let gone = present.map(|(prefix, _)| prefix).filter(|prefix| !wanted.contains_key(*prefix));
        let mut changes: Vec<_> = gone.map(|prefix| (prefix.clone(), None)).collect();
        // Where many prefixes have come and gone, rules that stay are written again before they are among the oldest.
        let again = registers.is_some_and(|registers| registers.of.len() > MAX_REGISTERS / 2);
        let is_present = |prefix: &Bytes, policy: &Policy| {
            let register = registers.and_then(|registers| registers.of.get(prefix));
            register.is_some_and(|register| register.policy.as_ref() == Some(policy))
        };
        let all_stay = changes.is_empty() && wanted.iter().all(|(prefix, policy)| is_present(prefix, policy));
        let wanted = wanted.into_iter().filter(|(prefix, policy)| again || !is_present(prefix, policy));
        if !all_stay {
            changes.extend(wanted.map(|(prefix, policy)| (prefix, Some(policy))));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

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

    /// A change of the rule of prefix `number`, at a time that no other change has.
    fn change(number: usize, time: u64, policy: Option<Policy>) -> (Bytes, Option<Policy>, (Hlc, Version)) {
        (number.to_string().into(), policy, at(time, 1))
    }

    /// The rules that come of changes in this order.
    fn rules(changes: &[(Bytes, Option<Policy>, (Hlc, Version))]) -> (Schemas, Vec<Rule>) {
        let notes = CollectionId([1; 8]);
        let mut schemas = Schemas::default();
        for (prefix, policy, at) in changes {
            schemas.set(notes, prefix, policy.as_ref(), *at);
        }
        let rules = schemas.of(&notes);
        (schemas, rules)
    }

    #[test]
    fn of_too_many_rules_the_last_ones_count_in_whatever_order_they_came() {
        let many = 2 * MAX_REGISTERS;
        // Every other one is taken away again, and every third one is set anew.
        let mut changes: Vec<_> =
            (0..many).map(|n| change(n, n as u64, (n % 2 == 0).then_some(Policy::Defer))).collect();
        changes.extend((0..many / 3).map(|n| {
            change(3 * n, (many + (7 * n) % many) as u64, (n % 5 != 0).then_some(Policy::AppResolves))
        }));
        let (schemas, expected) = rules(&changes);
        assert_eq!(expected.len(), MAX_RULES);
        for stride in [1, 5, 11, 1_001] {
            // A number without a divisor in common with the length visits all.
            let length = changes.len();
            let stride = (stride..).find(|stride| gcd(*stride, length) == 1).unwrap();
            for first in [0, length / 2] {
                let order: Vec<_> =
                    (0..length).map(|n| changes[(first + n * stride) % length].clone()).collect();
                let (other, found) = rules(&order);
                assert_eq!(found, expected, "from {first} by {stride}");
                assert_eq!(other, schemas, "from {first} by {stride}");
            }
        }
        let kept = schemas.0.values().map(|registers| registers.of.len()).sum::<usize>();
        assert_eq!(kept, MAX_REGISTERS);
        // A row's policy comes of a rule that counts.
        let last = expected.last().unwrap();
        assert_eq!(*schemas.policy(&CollectionId([1; 8]), &last.prefix), last.policy);
    }

    fn gcd(a: usize, b: usize) -> usize {
        if b == 0 { a } else { gcd(b, a % b) }
    }

    #[test]
    fn a_rule_that_stays_outlives_any_number_of_others_that_come_and_go() {
        let notes = CollectionId([1; 8]);
        let mut schemas = Schemas::default();
        let mut written = 0;
        for time in 0..5 * MAX_REGISTERS {
            let wanted = BTreeMap::from([
                (Bytes::new(), Policy::AppResolves),
                (Bytes::from(time.to_string()), Policy::Defer),
            ]);
            let changes = schemas.changes(&notes, wanted.clone());
            written += changes.len();
            for (prefix, policy) in changes {
                schemas.set(notes, &prefix, policy.as_ref(), at(time as u64, 1));
            }
            let rules = schemas.of(&notes).into_iter().map(|rule| (rule.prefix, rule.policy));
            assert_eq!(rules.collect::<BTreeMap<_, _>>(), wanted);
            assert_eq!(schemas.changes(&notes, wanted), [], "nothing is left to be written");
        }
        assert!(written < 4 * 5 * MAX_REGISTERS, "{written} rules were written");
    }
}
