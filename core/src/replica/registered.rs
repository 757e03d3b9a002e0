//! Which merges of the application were registered at the last boot (S-16). A row that merges by one of them shows
//! something else where it is missing. So once another set is registered, that is told like a change of the schema: a
//! watch that goes on from a marker gets the current state, and the application a notice (S-52).

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Replica;
use super::changes::ChangeEntry;
use super::stored::corrupt;
use crate::action::Notice;
use crate::resolve::{Merge, Policy};
use crate::store::key::{self, meta};
use crate::store::{Fault, Table, View, Write};
use crate::wire::codec::DecodeError;

/// What the commit of a boot writes besides, and what is told, if other merges are registered than at the last one.
pub(super) fn compare(replica: &Replica, view: &dyn View) -> Result<(Vec<Write>, Vec<Notice>), Fault> {
    let before = stored(view)?;
    let now: BTreeSet<String> = replica.merges.0.iter().map(|merge| merge.name().to_string()).collect();
    if now == before {
        return Ok((Vec::new(), Vec::new()));
    }
    let is_other = |policy: &Policy| match policy {
        Policy::Merge(Merge::Named(name)) => now.contains(name.as_str()) != before.contains(name.as_str()),
        _ => false,
    };
    let (mut entries, mut notices) = (Vec::new(), Vec::new());
    for (ix, group) in replica.groups.iter() {
        for collection in group.metadata.collections().keys() {
            if group.metadata.schemas().of(collection).iter().any(|rule| is_other(&rule.policy)) {
                entries.push(ChangeEntry::schema(*ix, *collection));
                notices.push(Notice::Schema { syncgroup: group.record.id, collection: *collection });
            }
        }
    }
    // Serialising such a type into memory cannot fail; nothing would be told once more than needed.
    let names = postcard::to_allocvec(&now).unwrap_or_default();
    let mut writes = alloc::vec![Write::put(Table::Meta, meta::MERGES, &names)];
    if !entries.is_empty() && replica.limits.watch_log > 0 {
        let changes = ChangeEntry::to_bytes(&entries);
        writes.push(Write::put(Table::Change, &key::change(replica.seq), &changes));
    }
    Ok((writes, notices))
}

fn stored(view: &dyn View) -> Result<BTreeSet<String>, Fault> {
    let wrong = |_| corrupt(Table::Meta, DecodeError { what: "which merges were registered" });
    let bytes = view.get(Table::Meta, meta::MERGES)?;
    bytes.map_or(Ok(BTreeSet::new()), |bytes| postcard::from_bytes(&bytes).map_err(wrong))
}
