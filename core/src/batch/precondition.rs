//! Preconditions: what a batch's author read must still be so (S-4). With them an application gets
//! optimistic transactions: read, compute, write if nothing has changed, otherwise try again.

use alloc::collections::BTreeSet;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::collection;
use crate::action::Refusal;
use crate::event::{Precondition, RowRef};
use crate::id::Version;
use crate::object::RowState;
use crate::replica::Stop;
use crate::replica::plan::Plan;
use crate::replica::stored::corrupt;
use crate::store::{Scan, Table, key};

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

fn range(
    plan: &Plan<'_>,
    from: &RowRef,
    to: Option<&Bytes>,
    rows: &[(Bytes, Version)],
) -> Result<bool, Stop> {
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
        let name = key.get(key::ROW_PREFIX..).unwrap_or_default();
        if plan.shown(group.ix, &collection_id, name, &state).is_none() {
            return ControlFlow::Continue(());
        }
        let Some(head) = state.last() else { return ControlFlow::Continue(()) };
        let version = Version { author: plan.author(head.author), generation: head.generation };
        let same = expected.next().is_some_and(|(expected, at)| name == expected.as_ref() && *at == version);
        if same {
            return ControlFlow::Continue(());
        }
        result = Ok(false);
        ControlFlow::Break(())
    })?;
    Ok(result? && expected.next().is_none())
}
