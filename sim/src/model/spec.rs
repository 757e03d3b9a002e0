//! What members are told of a syncgroup: of each field what was said last by (stamp, version), among the generations that
//! are held and count (S-20, S-30).

use driftless::{Hlc, Knowledge, Spec, SpecChange, SpecVersion, SyncgroupId, Version};

use super::{Fact, Model, holds};

impl Model {
    /// What members are told who hold these generations, and by which of them, field by field.
    pub fn spec(&self, group: &SyncgroupId, held: &Knowledge) -> (Spec, SpecVersion) {
        let counts = |version: &Version| holds(held, version) && !self.is_void(group, version, held);
        let mut said: Vec<((Option<Hlc>, Version), &SpecChange)> = self
            .facts(group)
            .filter(|(version, _)| counts(version))
            .filter_map(|(version, generation)| match &generation.says {
                Fact::Describes(change) => Some(((generation.stamp, *version), change)),
                _ => None,
            })
            .collect();
        said.sort_by_key(|(at, _)| *at);
        let (mut spec, mut last) = (Spec::default(), SpecVersion::default());
        for ((_, version), change) in said {
            if let Some(description) = &change.description {
                spec.description.clone_from(description);
                last.description = Some(version);
            }
            if let Some(rendezvous) = &change.rendezvous {
                spec.rendezvous.clone_from(rendezvous);
                last.rendezvous = Some(version);
            }
        }
        (spec, last)
    }
}
