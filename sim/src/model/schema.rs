//! Schemas: for each collection and prefix the last rule by (stamp, version) among the generations that are held
//! counts; of several prefixes that a key has, the longest (S-16, S-20).

use std::collections::BTreeMap;

use bytes::Bytes;
use driftless::{Knowledge, Name, Policy, SyncgroupId, Version};

use super::{Model, RowKey, holds};

/// Rules by collection and prefix; `None` takes one away.
pub type Rules = BTreeMap<(Name, Bytes), Option<Policy>>;

impl Model {
    /// The rules that count in a set of generations, those that were taken away left out.
    pub fn rules(&self, group: &SyncgroupId, held: &Knowledge) -> BTreeMap<(Name, Bytes), Policy> {
        let last = self.last_rules(group, held, |_, _| true).into_iter();
        last.filter_map(|((collection, prefix), policy)| {
            Some(((collection.clone(), prefix.clone()), policy?.clone()))
        })
        .collect()
    }

    /// For each place that is asked for, what was said of it last.
    fn last_rules<'m>(
        &'m self,
        group: &SyncgroupId,
        held: &Knowledge,
        asked: impl Fn(&Name, &Bytes) -> bool,
    ) -> BTreeMap<(&'m Name, &'m Bytes), Option<&'m Policy>> {
        let mut last = BTreeMap::new();
        let counts = |version: &Version| holds(held, version) && !self.is_void(group, version, held);
        for (version, generation) in self.schemas(group).filter(|(version, _)| counts(version)) {
            for ((collection, prefix), policy) in &generation.rules {
                if asked(collection, prefix) {
                    let rule = ((generation.stamp, *version), policy.as_ref());
                    let before = last.entry((collection, prefix)).or_insert(rule);
                    if before.0 < rule.0 {
                        *before = rule;
                    }
                }
            }
        }
        last.into_iter().map(|(place, (_, policy))| (place, policy)).collect()
    }

    /// What becomes of a row's conflicts in a set of generations.
    pub fn policy(&self, group: &SyncgroupId, row: &RowKey, held: &Knowledge) -> Policy {
        let matches = |of: &Name, prefix: &Bytes| *of == row.collection && row.key.starts_with(prefix);
        let rules = self.last_rules(group, held, matches).into_iter();
        let standing = rules.filter_map(|((_, prefix), policy)| Some((prefix.len(), policy?)));
        standing.max_by_key(|(length, _)| *length).map_or(Policy::LastWins, |(_, policy)| policy.clone())
    }
}

/// The rules that must be written for some of a collection's to change so: those that change.
pub fn changes_to_write(
    collection: &Name,
    present: &BTreeMap<(Name, Bytes), Policy>,
    wanted: &BTreeMap<Bytes, Option<Policy>>,
) -> Rules {
    let place = |prefix: &Bytes| (collection.clone(), prefix.clone());
    let changes = wanted.iter().map(|(prefix, policy)| (place(prefix), policy.clone()));
    changes.filter(|(place, policy)| present.get(place) != policy.as_ref()).collect()
}

/// The rules that must be written for a collection to have these, where it has others.
pub fn rules_to_write(
    collection: &Name,
    present: &BTreeMap<(Name, Bytes), Policy>,
    wanted: &BTreeMap<Bytes, Policy>,
) -> Rules {
    let mut rules = Rules::new();
    for (place, _) in
        present.iter().filter(|((of, prefix), _)| of == collection && !wanted.contains_key(prefix))
    {
        rules.insert(place.clone(), None);
    }
    for (prefix, policy) in wanted {
        let place = (collection.clone(), prefix.clone());
        if present.get(&place) != Some(policy) {
            rules.insert(place, Some(policy.clone()));
        }
    }
    rules
}
