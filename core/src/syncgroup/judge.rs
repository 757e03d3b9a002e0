//! Whether a generation is allowed: by the metadata in its own causal past, so alike at every replica (S-34).

use super::Rights;
use super::command::id_of;
use super::metadata::Past;
use crate::id::{Author, Generation};
use crate::log::generation::Encoded;
use crate::log::record::{MetaRecord, Record};
use crate::replica::plan::Plan;
use crate::store::key::GroupIx;

/// The right that a record needs; `None` if no right allows it.
fn needed(record: &Record) -> Option<Rights> {
    match record {
        Record::Row(_) => Some(Rights::Write),
        Record::Meta(MetaRecord::Admit { .. } | MetaRecord::Collection { .. } | MetaRecord::Rule { .. }) => {
            Some(Rights::Admin)
        }
        Record::Meta(MetaRecord::Leave { .. }) => Some(Rights::Read),
        Record::Meta(MetaRecord::Genesis { .. }) | Record::Unknown => None,
    }
}

/// Judges the generation of this number by an author, given the metadata in its past.
pub(crate) fn is_allowed(
    plan: &Plan<'_>,
    group: GroupIx,
    author: &Author,
    generation: Generation,
    encoded: &Encoded,
    records: &[Record],
    past: &Past,
) -> bool {
    if let Some(Record::Meta(MetaRecord::Genesis { .. })) = records.first() {
        let id = plan.record(group).map(|record| record.id);
        return generation == 1 && Some(id_of(author, &encoded.leaf)) == id;
    }
    let Some(metadata) = plan.metadata(group) else { return false };
    let Some(rights) = metadata.rights_in(&author.device, past) else { return false };
    records.iter().all(|record| needed(record).is_some_and(|needed| needed <= rights))
}
