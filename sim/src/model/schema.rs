//! Schemas: for each collection and prefix the last rule by (stamp, version) among the generations that are held
//! counts; of several prefixes that a key has, the longest (S-16, S-20).

use std::collections::BTreeMap;

use bytes::Bytes;
use driftless::{Knowledge, Name, Policy, SyncgroupId};

use super::{Model, RowKey, holds};

/// Rules by collection and prefix; `None` takes one away.
pub type Rules = BTreeMap<(Name, Bytes), Option<Policy>>;

impl Model {
    /// The rules that count in a set of generations, those that were taken away left out.
    pub fn rules(&self, group: &SyncgroupId, held: &Knowledge) -> BTreeMap<(Name, Bytes), Policy> {
        let mut last = BTreeMap::new();
        for (version, generation) in self.schemas(group).filter(|(version, _)| holds(held, version)) {
            for (place, policy) in &generation.rules {
                let rule = (generation.stamp, *version, policy.clone());
                let before = last.entry(place.clone()).or_insert(rule.clone());
                if (before.0, before.1) < (rule.0, rule.1) {
                    *before = rule;
                }
            }
        }
        last.into_iter().filter_map(|(place, (.., policy))| Some((place, policy?))).collect()
    }

    /// What becomes of a row's conflicts in a set of generations.
    pub fn policy(&self, group: &SyncgroupId, row: &RowKey, held: &Knowledge) -> Policy {
        let rules = self.rules(group, held);
        let matching = rules
            .into_iter()
            .filter(|((collection, prefix), _)| *collection == row.collection && row.key.starts_with(prefix));
        matching.max_by_key(|((_, prefix), _)| prefix.len()).map_or(Policy::LastWins, |(_, policy)| policy)
    }
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
