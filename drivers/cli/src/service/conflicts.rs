//! Answers `conflicts`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use driftless::{Conflict, ConflictedRow};
use driftless_tokio::{Collection, Node, Snapshot};
use tokio::sync::mpsc::Sender;

use super::schema::word;
use super::who::{Names, short};
use super::{find, tell};
use crate::protocol::{
    AncestorText, CollectionRef, ConflictText, HeadText, Problem, Response, RowInConflict, ValueText,
};

/// Rows that are looked for at a time.
const PAGE: usize = 256;

/// How much is told of a conflict, its rows, and their values.
#[derive(Clone, Copy)]
struct Length {
    rows: usize,
    heads: usize,
    bytes: usize,
}

impl Length {
    const WHOLE: Self = Self { rows: usize::MAX, heads: usize::MAX, bytes: usize::MAX };
    /// For people: more than fits on a screen.
    const BRIEF: Self = Self { rows: 50, heads: 20, bytes: 256 };
}

pub(super) async fn list(
    node: &Node,
    of: &CollectionRef,
    prefix: Vec<u8>,
    limit: Option<u64>,
    brief: bool,
    out: &Sender<Response>,
) -> Result<(), Problem> {
    let collection = find(node, of).await?;
    let listing = Listing {
        snapshot: collection.database().snapshot()?,
        names: Names::new(collection.database()),
        collection,
        length: if brief { Length::BRIEF } else { Length::WHOLE },
        out,
    };
    listing.list(&prefix, limit.unwrap_or(u64::MAX)).await
}

/// The conflict that an answer to a row is an answer to; `None` if the row is in none.
///
/// A row whose policy asks nobody stands alone, whatever its batches have written besides: it is closed by the next
/// write, and so is each of the others.
pub(super) fn conflict_of(
    snapshot: &Snapshot,
    collection: &Collection,
    key: &[u8],
) -> Result<Option<Conflict>, Problem> {
    let conflict = snapshot.conflict(collection, key)?;
    let is_row = |row: &ConflictedRow| is_in(row, collection) && row.row.key == key;
    let Some(row) = conflict.rows.iter().find(|row| is_row(row)).filter(|row| row.in_conflict) else {
        return Ok(None);
    };
    Ok(Some(match row.needs_answer() {
        true => conflict,
        false => Conflict { rows: vec![row.clone()], is_whole: true },
    }))
}

/// Whether a row is one of this collection.
pub(super) fn is_in(row: &ConflictedRow, collection: &Collection) -> bool {
    row.row.syncgroup == collection.syncgroup() && row.row.collection == *collection.name()
}

/// What stands for a conflict as it is now.
pub(super) fn state(conflict: &Conflict) -> String {
    HEXLOWER.encode(&conflict.tag().0)
}

/// What a row can be called where `collection` is meant if nothing else is said, the best first. `key` is its key, as
/// it is written there.
pub(super) fn names(row: &ConflictedRow, collection: &Collection, key: &[u8]) -> Vec<Vec<u8>> {
    let within = [row.row.collection.as_str().as_bytes(), b"/", key].concat();
    let syncgroup = row.row.syncgroup.to_string();
    let anywhere = [&syncgroup.as_bytes()[..12.min(syncgroup.len())], b"/", &within].concat();
    let own = is_in(row, collection).then(|| key.to_vec());
    own.into_iter().chain([within, anywhere]).collect()
}

/// Names that a row of the collection itself has.
const NAMES: usize = 3;

/// How many rows of a conflict each name could mean.
fn meanings(conflict: &Conflict, collection: &Collection) -> BTreeMap<Vec<u8>, usize> {
    let mut meanings = BTreeMap::new();
    for name in conflict.rows.iter().flat_map(|row| names(row, collection, &row.row.key)) {
        *meanings.entry(name).or_default() += 1;
    }
    meanings
}

struct Listing<'o> {
    snapshot: Snapshot,
    collection: Collection,
    names: Names,
    length: Length,
    out: &'o Sender<Response>,
}

impl Listing<'_> {
    async fn list(mut self, prefix: &[u8], limit: u64) -> Result<(), Problem> {
        let (mut left, mut from) = (limit, prefix.to_vec());
        // Keys of this collection that were told with others, and that are still to come.
        let mut told: BTreeSet<Bytes> = BTreeSet::new();
        while left > 0 {
            let page = self.snapshot.conflicts(&self.collection, &from, PAGE)?;
            let is_last = page.len() < PAGE;
            for row in page {
                if left == 0 || !row.key.starts_with(prefix) {
                    return Ok(());
                }
                // The first key after a key is that key with a zero byte at its end.
                from = [&row.key[..], &[0]].concat();
                if told.remove(&row.key) {
                    continue;
                }
                let Some(conflict) = conflict_of(&self.snapshot, &self.collection, &row.key)? else {
                    continue;
                };
                left -= 1;
                let own = conflict.rows.iter().filter(|other| is_in(other, &self.collection));
                told.extend(own.map(|other| &other.row.key).filter(|key| **key > row.key).cloned());
                self.tell(&conflict).await?;
            }
            if is_last {
                break;
            }
        }
        Ok(())
    }

    async fn tell(&mut self, conflict: &Conflict) -> Result<(), Problem> {
        let mut rows: Vec<&ConflictedRow> = conflict.rows.iter().collect();
        // What asks for an answer comes before what comes along. This keeps the order otherwise.
        rows.sort_by_key(|row| (!row.needs_answer(), !row.in_conflict));
        let told = rows.len().min(self.length.rows);
        let text = ConflictText {
            state: state(conflict),
            rows: rows.len() as u64,
            told: told as u64,
            is_whole: conflict.is_whole,
        };
        tell(self.out, Response::Conflict(text)).await?;
        let meanings = meanings(conflict, &self.collection);
        for row in &rows[..told] {
            self.names.learn(row.row.syncgroup).await?;
            let heads = row.heads.len().min(self.length.heads);
            tell(self.out, Response::ConflictRow(self.row(row, heads, &meanings))).await?;
            for head in &row.heads[..heads] {
                let text = HeadText {
                    who: self.names.who(&row.row.syncgroup, head.version, head.stamp, head.batch),
                    value: head.value.as_ref().map(|value| self.value(value)),
                    is_operation: head.is_operation,
                };
                tell(self.out, Response::Head(text)).await?;
            }
        }
        Ok(())
    }

    fn row(&self, row: &ConflictedRow, heads: usize, meanings: &BTreeMap<Vec<u8>, usize>) -> RowInConflict {
        let own = names(row, &self.collection, &row.row.key);
        // A key in the collection itself comes before all else that it could mean.
        let is_clear = |name: &&Vec<u8>| own.len() == NAMES || meanings.get(*name) == Some(&1);
        let name = own.iter().find(is_clear).or(own.last()).cloned();
        let ancestor = row.ancestor.as_ref().map(|ancestor| AncestorText {
            version: ancestor.version.to_string(),
            short: short(&ancestor.version),
            device: ancestor.version.author.device.to_string(),
            name: self.names.name(&row.row.syncgroup, &ancestor.version.author.device),
            value: ancestor.value.as_ref().map(|value| self.value(value)),
        });
        RowInConflict {
            name: name.unwrap_or_default(),
            syncgroup: row.row.syncgroup.to_string(),
            collection: row.row.collection.to_string(),
            key: row.row.key.to_vec(),
            policy: word(&row.policy),
            in_conflict: row.in_conflict,
            is_open: row.needs_answer(),
            ancestor,
            heads: row.heads.len() as u64,
            told: heads as u64,
        }
    }

    fn value(&self, value: &Bytes) -> ValueText {
        let bytes = value[..value.len().min(self.length.bytes)].to_vec();
        ValueText { bytes, size: value.len() as u64 }
    }
}
