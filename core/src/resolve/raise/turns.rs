//! Whose turn it is, and by what: the heads of a row.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::event::RowRef;
use crate::hash::{self, Hash};
use crate::id::CollectionId;
use crate::object::RowState;
use crate::replica::Replica;
use crate::replica::stored::corrupt;
use crate::store::key;
use crate::store::{Fault, Table, View};
use crate::syncgroup::Rights;
use crate::syncgroup::group::{Group, Stage};
use crate::wire::codec::DecodeError;

/// No device waits for more turns than this.
const MOST_TURNS: u64 = 16;

/// Whose turn it is: the members that may write, in the order of their names.
pub(super) struct Turns {
    pub(super) own: u64,
    pub(super) members: u64,
}

impl Turns {
    /// `None` if this device may not write, so that it is never its turn.
    pub(super) fn of(replica: &Replica, group: &Group) -> Option<Self> {
        if group.record.stage != Stage::Active {
            return None;
        }
        let writers = group.metadata.access.joined().filter(|(_, rights)| *rights >= Rights::Write);
        let (mut own, mut members) = (None, 0);
        for (device, _) in writers {
            if *device == replica.keys.device {
                own = Some(members);
            }
            members += 1;
        }
        Some(Self { own: own?, members })
    }

    /// How many others come first for a conflict at most, and one where there are none.
    pub(super) fn most(&self) -> u64 {
        self.members.saturating_sub(1).clamp(1, MOST_TURNS)
    }

    /// How many others come first for a conflict.
    pub(super) fn before(&self, heads: &Hash) -> u64 {
        let first = u64::from_le_bytes(*heads.prefix::<8>()) % self.members;
        ((self.own + self.members - first) % self.members).min(MOST_TURNS)
    }
}

pub(super) fn name_of(replica: &Replica, row: &RowRef) -> Option<Bytes> {
    let group = replica.group(&row.syncgroup)?;
    Some(key::row(group.ix, &CollectionId::of(&row.collection), &row.key))
}

pub(super) fn split(row_key: &Bytes) -> Option<(CollectionId, Bytes)> {
    let (_, rest) = key::split_number(row_key)?;
    let id = CollectionId(*rest.first_chunk()?);
    Some((id, row_key.slice(key::ROW_PREFIX..)))
}

/// A hash of a row's heads: the same on every device, whatever their local numbers.
pub(super) fn heads_of(view: &dyn View, row_key: &Bytes) -> Result<Hash, Fault> {
    let Some(bytes) = view.get(Table::Row, row_key)? else { return Ok(Hash::default()) };
    let state = RowState::from_bytes(bytes).map_err(|error| corrupt(Table::Row, error))?;
    let mut all = Vec::with_capacity(32 * state.heads.len());
    for head in &state.heads {
        let bytes = view.get(Table::Author, &key::number(head.author))?;
        let missing = DecodeError { what: "an author" };
        all.extend_from_slice(&bytes.ok_or_else(|| corrupt(Table::Author, missing))?);
        all.extend_from_slice(&head.generation.to_le_bytes());
    }
    Ok(hash::derive(hash::HEADS, &[&all]))
}
