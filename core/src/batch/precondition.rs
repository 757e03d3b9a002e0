//! Preconditions: what a batch's author read must still be so (S-4). With them an application gets
//! optimistic transactions: read, compute, write if nothing has changed, otherwise try again.

use alloc::collections::BTreeSet;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::collection;
use crate::action::Refusal;
use crate::event::{Precondition, RowRef};
use crate::id::{CollectionId, Version};
use crate::object::RowState;
use crate::read::Row;
use crate::replica::Stop;
use crate::replica::plan::Plan;
use crate::replica::stored::corrupt;
use crate::store::key::{self, GroupIx};
use crate::store::{Scan, Table};

/// Whether a precondition holds.
pub(super) fn holds(plan: &Plan<'_>, condition: &Precondition) -> Result<bool, Stop> {
    match condition {
        Precondition::Heads { row, heads } => {
            let row_key = row_key(plan, row)?;
            let version = |head: &crate::object::RowHead| Version {
                author: plan.author(head.author),
                generation: head.generation,
            };
            let now: BTreeSet<_> = plan.row(&row_key)?.heads.iter().map(version).collect();
            Ok(now == heads.iter().copied().collect())
        }
        Precondition::Range { from, to, rows } => range(plan, from, to.as_ref(), rows),
    }
}

fn row_key(plan: &Plan<'_>, row: &RowRef) -> Result<Bytes, Refusal> {
    let group = plan.replica.group(&row.syncgroup).ok_or(Refusal::NoSyncgroup(row.syncgroup))?;
    Ok(key::row(group.ix, &collection(group, row)?, &row.key))
}

fn range(plan: &Plan<'_>, from: &RowRef, to: Option<&Bytes>, rows: &[Row]) -> Result<bool, Stop> {
    let group = plan.replica.group(&from.syncgroup).ok_or(Refusal::NoSyncgroup(from.syncgroup))?;
    let collection_id = collection(group, from)?;
    let from_key = row_key(plan, from)?;
    let to_key = match to {
        Some(to) => Some(row_key(plan, &RowRef { key: to.clone(), ..from.clone() })?),
        None => crate::read::prefix_end(&row_key(plan, &RowRef { key: Bytes::new(), ..from.clone() })?)
            .map(Bytes::from),
    };
    let mut expected = rows.iter();
    let mut result: Result<bool, Stop> = Ok(true);
    // Preconditions are checked before the batch stages anything: the view is the present.
    plan.view().scan(&Scan::range(Table::Row, &from_key, to_key.as_deref()), &mut |key, value| {
        let state = match RowState::from_bytes(Bytes::copy_from_slice(value)) {
            Ok(state) => state,
            Err(error) => {
                result = Err(corrupt(Table::Row, error).into());
                return ControlFlow::Break(());
            }
        };
        let key = Bytes::copy_from_slice(key.get(key::ROW_PREFIX..).unwrap_or_default());
        let Some(row) = read(plan, group.ix, &collection_id, key, &state) else {
            return ControlFlow::Continue(());
        };
        if expected.next() == Some(&row) {
            return ControlFlow::Continue(());
        }
        result = Ok(false);
        ControlFlow::Break(())
    })?;
    Ok(result? && expected.next().is_none())
}

/// A row as [`crate::read::scan`] tells it: all that a reader sees, which is more than its last version says.
fn read(
    plan: &Plan<'_>,
    group: GroupIx,
    collection: &CollectionId,
    key: Bytes,
    state: &RowState,
) -> Option<Row> {
    let value = plan.shown(group, collection, &key, state)?;
    let last = state.last()?;
    let version = last.version(|ix| plan.author(ix));
    let in_conflict = !state.is_plain() && state.in_conflict(plan.policy(group, collection, &key));
    Some(Row { key, value, version, stamp: last.stamp, in_conflict })
}
