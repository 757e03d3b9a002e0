//! Conflicts that are open (S-19).

use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::names::Names;
use super::{Collection, Head, prefix_end, state};
use crate::resolve::Policy;
use crate::store::{Fault, Scan, Table, View, key};

/// A row in conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictRow {
    /// Its key.
    pub key: Bytes,
    /// What becomes of the conflict.
    pub policy: Policy,
    /// Its heads, the one that is shown first.
    pub heads: Vec<Head>,
}

/// The rows of a collection that are in conflict, by key, from `from` on and `limit` at most. It costs the rows
/// whose heads disagree, not those of the collection.
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn conflicts(
    view: &dyn View,
    collection: &Collection,
    from: &[u8],
    limit: usize,
) -> Result<Vec<ConflictRow>, Fault> {
    let start = key::row(collection.index, &collection.id, from);
    let end = prefix_end(&key::collection(collection.index, &collection.id));
    let mut keys = Vec::new();
    view.scan(&Scan::range(Table::Conflict, &start, end.as_deref()), &mut |key, _| {
        keys.push(Bytes::copy_from_slice(key.get(key::ROW_PREFIX..).unwrap_or_default()));
        ControlFlow::Continue(())
    })?;
    let mut names = Names::new(view, collection);
    let mut found = Vec::new();
    for key in keys {
        if found.len() == limit {
            break;
        }
        let policy = names.policy(&key)?;
        let state = state(view, collection, &key)?;
        if state.in_conflict(&policy) {
            let heads = state.heads.iter().map(|head| names.head(head)).collect::<Result<_, _>>()?;
            found.push(ConflictRow { key, policy, heads });
        }
    }
    Ok(found)
}
