//! Which collections there are. Rows may come before their collection, where that is held back: nobody finds them until it
//! is there, and then readers have to look (S-52).

use std::collections::{BTreeMap, BTreeSet};

use driftless::read::{self, Collection};
use driftless::{Action, CollectionId, Knowledge, Name, Notice, SyncgroupId, Version};

use super::rows::fault;
use super::{Checked, Held, Oracle, Seen, Violation, Watch};
use crate::model::{Fact, RowKey, View, Views, holds};

/// The collections of a store, by syncgroup and name.
pub(super) type Collections = BTreeMap<(SyncgroupId, Name), Collection>;

pub(super) fn collections(seen: Seen<'_>) -> Result<Collections, Violation> {
    let all = read::collections(seen.store).map_err(fault(seen))?;
    Ok(all
        .into_iter()
        .map(|collection| collection.with_merges(seen.merges.list()))
        .map(|collection| ((collection.syncgroup, collection.name.clone()), collection))
        .collect())
}

impl Watch {
    /// The rows that were held and are found now, as their collections have come.
    pub(super) fn found_with_collections(
        &self,
        before: Views<'_>,
        held: &Held,
    ) -> BTreeSet<(SyncgroupId, RowKey)> {
        let mut found = BTreeSet::new();
        for (group, held) in held {
            let Some(before) = before.of(group) else { continue };
            let is_new = |version: &Version| holds(held, version) && !holds(before.held, version);
            let mut facts = self.model.facts(group);
            if facts.any(|(version, it)| matches!(it.says, Fact::AddsCollection(_)) && is_new(version)) {
                let rows = self.model.rows(group).filter(|row| self.comes_to(group, row, (before, held)));
                found.extend(rows.map(|row| (*group, row.clone())));
            }
        }
        found
    }

    /// Whether a collection has come of which there were rows.
    pub(super) fn came_after_rows(
        &self,
        group: &SyncgroupId,
        name: &Name,
        before: &Held,
        held: &Held,
    ) -> bool {
        let both = before.get(group).map(View::from).zip(held.get(group));
        let mut rows = self.model.rows(group).filter(|row| row.collection == *name);
        both.is_some_and(|both| rows.any(|row| self.comes_to(group, row, both)))
    }

    /// Whether a row was held, and its collection has come.
    fn comes_to(&self, group: &SyncgroupId, row: &RowKey, (before, held): (View<'_>, &Knowledge)) -> bool {
        let is_there = |held| self.model.has_collection(group, &row.collection, held);
        !is_there(before.held) && is_there(held) && !self.model.heads(group, row, before).is_empty()
    }
}

/// Readers were told to look at a collection that came when it had rows already.
pub(super) fn told_of_collection(
    seen: Seen<'_>,
    (group, name): (&SyncgroupId, &Name),
    actions: &[Action],
) -> Checked {
    let id = CollectionId::of(name);
    let mut notices = actions.iter().filter_map(super::notice);
    let is_told = notices.any(|notice| {
        matches!(notice, Notice::Schema { syncgroup, collection } if syncgroup == group && *collection == id)
    });
    if is_told {
        return Ok(());
    }
    let what = format!("{name} of {group:?} came with rows, and readers were not told");
    Err(Violation::new(Oracle::Model, "S-52", seen.replica, what))
}
