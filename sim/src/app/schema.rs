//! The collections of an application, and what becomes of conflicts in them.

use std::collections::BTreeMap;

use bytes::Bytes;
use driftless::{Name, Policy, Rule};

/// The collections of an application, each with its rules.
///
/// ```
/// use driftless::{Merge, Policy};
/// use driftless_sim::app::Schema;
///
/// let schema = Schema::new()
///     .collection("stock", &[("", Policy::Merge(Merge::Counter))])
///     .collection("orders", &[("", Policy::AppResolves), ("draft/", Policy::LastWins)]);
/// # assert_eq!(schema.names().count(), 2);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    collections: BTreeMap<Name, Vec<Rule>>,
}

impl Schema {
    /// No collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a collection with its rules, each for the rows whose keys start with a prefix (S-16). The longest prefix
    /// counts; where none matches, the last version wins.
    ///
    /// # Panics
    /// If the text is no [`Name`].
    #[must_use]
    pub fn collection(mut self, name: &str, rules: &[(&str, Policy)]) -> Self {
        let rule = |(prefix, policy): &(&str, Policy)| Rule {
            prefix: Bytes::copy_from_slice(prefix.as_bytes()),
            policy: policy.clone(),
        };
        let mut rules: Vec<Rule> = rules.iter().map(rule).collect();
        rules.sort();
        self.collections.insert(named(name), rules);
        self
    }

    /// The names of the collections.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.collections.keys()
    }

    /// The rules of a collection, by prefix.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (&Name, &[Rule])> {
        self.collections.iter().map(|(name, rules)| (name, rules.as_slice()))
    }

    /// Whether some conflicts are left to the application.
    pub(crate) fn asks(&self) -> bool {
        let mut rules = self.collections.values().flatten();
        rules.any(|rule| matches!(rule.policy, Policy::AppResolves | Policy::Defer))
    }
}

/// The name of a collection.
#[allow(clippy::panic, reason = "a slip in a test, which should say so")]
pub(super) fn named(text: &str) -> Name {
    Name::new(text).unwrap_or_else(|error| panic!("\"{text}\" names no collection: {error}"))
}
