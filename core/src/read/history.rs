//! The history of a row: who made it what, when, on top of what, as far as it is kept (S-15, S-56).

use alloc::vec::Vec;

use bytes::Bytes;

use super::names::{Recent, RowVersions};
use super::{Collection, state};
use crate::id::Version;
use crate::log::record::Content;
use crate::object::history::{self, Node, Place, Versions};
use crate::replica::authors::Authors;
use crate::replica::load::load_authors;
use crate::resolve::{Merge, Operation};
use crate::store::{Fault, View};
use crate::time::Hlc;

/// A version in the history of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which version; its author tells the device.
    pub version: Version,
    /// When it was written, by its author's clock.
    pub stamp: Hlc,
    /// What it did.
    pub edited: Edited,
    /// The heads of the row that its author knew.
    pub parents: Vec<Version>,
    /// Whether it was the choice of one of several heads (S-17).
    pub is_pick: bool,
    /// Whether nothing known supersedes it.
    pub is_head: bool,
    /// The batch that wrote it, if that touched several syncgroups: the same in all of them. Within a syncgroup the
    /// rows of a batch have the same version.
    pub batch: Option<[u8; 16]>,
    /// Whether it does not count, as its author was removed or lost the right to write it (S-35). It is in the history
    /// because others have built on it.
    pub is_void: bool,
}

/// What a version did to its row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Edited {
    /// Set it to this value.
    Put(Bytes),
    /// Removed it.
    Deleted,
    /// Changed it by operations (S-16).
    Operated {
        /// Of which merge.
        merge: Merge,
        /// All that its batch did to the row, in that order. Several additions to a counter are one; of several
        /// changes of one element or field, the last.
        operations: Vec<Operation>,
    },
}

impl From<Content> for Edited {
    fn from(content: Content) -> Self {
        match content {
            Content::Put(value) => Edited::Put(value),
            Content::Delete => Edited::Deleted,
            Content::Operate(operations) => {
                Edited::Operated { merge: operations.merge(), operations: operations.into_told() }
            }
        }
    }
}

/// The history of a row from its heads on, the last version first, `limit` entries at most. It costs that many
/// reads of the log.
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn history(
    view: &dyn View,
    collection: &Collection,
    key: &[u8],
    limit: usize,
) -> Result<Vec<Entry>, Fault> {
    history_among(view, collection, &Bytes::copy_from_slice(key), &load_authors(view)?, limit)
}

/// The same, for who asks for many rows and has read the authors.
pub(crate) fn history_among(
    view: &dyn View,
    collection: &Collection,
    key: &Bytes,
    authors: &Authors,
    limit: usize,
) -> Result<Vec<Entry>, Fault> {
    let versions = RowVersions { view, collection, key, authors, recent: &Recent::default() };
    let heads = places(view, collection, key)?;
    let found = history::versions(&versions, &heads, limit)?;
    found.into_iter().map(|(place, node)| entry(&versions, &heads, place, node)).collect()
}

/// The nearest common ancestor of a row's heads: of their common ancestors that have no other such descendant
/// the last by `(stamp, version)`, the same on every device. `None` if they have none, or if more than `limit`
/// versions lie between.
///
/// # Errors
/// [`Fault`] if the store cannot say.
pub fn common_ancestor(
    view: &dyn View,
    collection: &Collection,
    key: &[u8],
    limit: usize,
) -> Result<Option<Entry>, Fault> {
    let (key, authors) = (Bytes::copy_from_slice(key), load_authors(view)?);
    let versions = RowVersions { view, collection, key: &key, authors: &authors, recent: &Recent::default() };
    let heads = places(view, collection, &key)?;
    let found = history::common_ancestor(&versions, &heads, limit)?;
    found.map(|(place, node)| entry(&versions, &heads, place, node)).transpose()
}

fn places(view: &dyn View, collection: &Collection, key: &[u8]) -> Result<Vec<Place>, Fault> {
    Ok(state(view, collection, key)?.heads.iter().map(|head| (head.author, head.generation)).collect())
}

fn entry(versions: &RowVersions<'_>, heads: &[Place], place: Place, node: Node) -> Result<Entry, Fault> {
    let edited = Edited::from(node.record.content);
    Ok(Entry {
        version: Version { author: versions.author(place.0)?, generation: place.1 },
        stamp: node.stamp,
        edited,
        parents: node.record.parents,
        is_pick: node.record.pick,
        is_head: heads.contains(&place),
        batch: node.batch,
        is_void: node.void,
    })
}
