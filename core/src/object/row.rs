//! A row is the set of its heads: the versions that no other known version supersedes (S-11). A deletion is a
//! head like any other (S-14).
//!
//! Where a head is an *operation*, what it builds on still counts (S-16):
//!
//! ```text
//!   put p ──► add a ──► add b          heads: b, c        what the next write names as its parents
//!        └──► add c                    bases: p           what operations apply to
//!                                      live: a, b, c      operations that no put or delete has in its past
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::hash::{self, Hash, SetDigest};
use crate::id::{Author, CollectionId, Generation, Version};
use crate::resolve::Policy;
use crate::resolve::merge::{self, Base, Fold, Functions};
use crate::store::key::AuthorIx;
use crate::time::Hlc;
use crate::wire::codec::{DecodeError, Decoded, Reader, put_bytes, put_varint};

/// One version of a row, with its author as a local number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowHead {
    pub(crate) author: AuthorIx,
    pub(crate) generation: Generation,
    pub(crate) stamp: Hlc,
    pub(crate) content: HeadContent,
}

/// What a version does to its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeadContent {
    Put(Bytes),
    Delete,
    /// An operation: it is among those that were folded. Or a copy that does not count: see [`super::history::counting`].
    Operate,
}

impl RowHead {
    pub(crate) fn value(&self) -> Option<&Bytes> {
        if let HeadContent::Put(value) = &self.content { Some(value) } else { None }
    }

    fn is_base(&self) -> bool {
        self.content != HeadContent::Operate
    }

    pub(crate) fn version(&self, authors: impl Fn(AuthorIx) -> Author) -> Version {
        Version { author: authors(self.author), generation: self.generation }
    }
}

/// What is kept of a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowState {
    /// By descending `(stamp, version)`.
    pub(crate) heads: Vec<RowHead>,
    /// Only while there are live operations.
    pub(crate) merging: Option<Box<Merging>>,
}

/// The operations of a row, and what they apply to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Merging {
    /// Bases that are no heads any more, because operations build on them.
    pub(crate) beneath: Vec<RowHead>,
    /// The live operations, folded; one fold for each merge.
    pub(crate) folds: Vec<Fold>,
    /// Which operations are live.
    pub(crate) live: SetDigest,
}

const WHAT: &str = "a row";

/// What a base takes in the digest of visible state: its version, whether it has a value, and a hash of that.
const BASE_BYTES: usize = 16 + 8 + 8 + 1 + 32;

impl RowState {
    /// Reads what [`RowState::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: Bytes) -> Decoded<Self> {
        let mut reader = Reader::new(bytes);
        let heads = read_heads(&mut reader)?;
        if reader.is_empty() {
            return Ok(Self { heads, merging: None });
        }
        let live = SetDigest::from_bytes(&reader.array(WHAT)?);
        let beneath = read_heads(&mut reader)?;
        let folds = postcard::from_bytes(&reader.rest()).map_err(|_| DecodeError { what: WHAT })?;
        Ok(Self { heads, merging: Some(Box::new(Merging { beneath, folds, live })) })
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let values: usize = self.heads.iter().filter_map(RowHead::value).map(Bytes::len).sum();
        let mut out = Vec::with_capacity(values + 20 * self.heads.len() + 1);
        put_heads(&mut out, &self.heads);
        if let Some(merging) = &self.merging {
            out.extend_from_slice(&merging.live.to_bytes());
            put_heads(&mut out, &merging.beneath);
            // Serialising such a type into memory cannot fail; a row without its folds would not be read.
            out.extend_from_slice(&postcard::to_allocvec(&merging.folds).unwrap_or_default());
        }
        out.into()
    }

    /// The same row as another store keeps it, which has other local numbers; `None` where one has no number there.
    pub(crate) fn renumbered(mut self, number: impl Fn(AuthorIx) -> Option<AuthorIx>) -> Option<Self> {
        let beneath = self.merging.iter_mut().flat_map(|merging| &mut merging.beneath);
        for head in self.heads.iter_mut().chain(beneath) {
            head.author = number(head.author)?;
        }
        Some(self)
    }

    /// Takes in a head that supersedes some of the others: `(H \ P) ∪ {v}` (S-11). `authors` gives the full
    /// name of a local number, for the order of versions with equal stamps (S-13).
    pub(crate) fn supersede(
        &mut self,
        head: RowHead,
        superseded: impl Fn(&RowHead) -> bool,
        authors: impl Fn(AuthorIx) -> Author,
    ) -> Vec<RowHead> {
        let out = self.heads.extract_if(.., |old| superseded(old)).collect();
        self.heads.push(head);
        sort(&mut self.heads, authors);
        out
    }

    /// The bases, the last first.
    pub(crate) fn bases(&self, authors: impl Fn(AuthorIx) -> Author) -> Vec<Base> {
        let beneath = self.merging.iter().flat_map(|merging| &merging.beneath);
        let bases = self.heads.iter().filter(|head| head.is_base()).chain(beneath);
        let base = |head: &RowHead| Base {
            stamp: head.stamp,
            version: head.version(&authors),
            value: head.value().cloned(),
        };
        let mut bases: Vec<Base> = bases.map(base).collect();
        bases.sort_by_key(|base| core::cmp::Reverse((base.stamp, base.version)));
        bases
    }

    /// Whether what it shows depends on nothing but its one head.
    pub(crate) fn is_plain(&self) -> bool {
        self.merging.is_none() && self.heads.len() < 2
    }

    /// The stamp of one of its heads.
    pub(crate) fn stamp_of(&self, (author, generation): (AuthorIx, Generation)) -> Hlc {
        let head = self.heads.iter().find(|head| (head.author, head.generation) == (author, generation));
        head.map_or(Hlc::default(), |head| head.stamp)
    }

    /// The last head (S-13): its version is that of the row.
    pub(crate) fn last(&self) -> Option<&RowHead> {
        self.heads.first()
    }

    /// What readers see under a policy: nothing if the row was never written, or is deleted (S-12).
    pub(crate) fn value(
        &self,
        policy: &Policy,
        functions: &Functions,
        authors: impl Fn(AuthorIx) -> Author,
    ) -> Option<Bytes> {
        match policy {
            Policy::Merge(merge) if !self.is_plain() => {
                let folds = self.merging.as_ref().map_or(&[][..], |merging| &merging.folds);
                merge::shown(merge, &self.bases(authors), folds, functions)
            }
            _ if self.merging.is_none() => self.heads.first()?.value().cloned(),
            _ => self.bases(authors).first()?.value.clone(),
        }
    }

    /// Whether bases disagree: heads of the same content are in no conflict (S-11). Merging rows never are.
    pub(crate) fn is_split(&self) -> bool {
        let beneath = self.merging.iter().flat_map(|merging| &merging.beneath);
        let mut contents =
            self.heads.iter().chain(beneath).filter(|head| head.is_base()).map(|head| &head.content);
        contents.next().is_some_and(|first| contents.any(|content| content != first))
    }

    /// The same, under a policy.
    pub(crate) fn in_conflict(&self, policy: &Policy) -> bool {
        !matches!(policy, Policy::Merge(_)) && self.is_split()
    }

    /// What the row adds to the digest of visible state (S-12): all that it shows under any policy follows
    /// from its bases and the live operations, wherever it does not follow from the value of one head alone.
    pub(crate) fn visible(
        &self,
        collection: &CollectionId,
        key: &[u8],
        authors: impl Fn(AuthorIx) -> Author,
    ) -> Option<Hash> {
        let len = (key.len() as u64).to_le_bytes();
        if self.is_plain() {
            let value = self.heads.first()?.value()?;
            return Some(hash::derive(hash::VISIBLE_ROW, &[&collection.0, &len, key, value]));
        }
        let live = self.merging.as_ref().map(|merging| merging.live).unwrap_or_default();
        let bases = self.bases(authors);
        let mut all = Vec::with_capacity(bases.len() * BASE_BYTES);
        for Base { version: Version { author, generation }, value, .. } in &bases {
            all.extend_from_slice(&author.device.0);
            all.extend_from_slice(&author.incarnation.0.to_le_bytes());
            all.extend_from_slice(&generation.to_le_bytes());
            all.push(u8::from(value.is_some()));
            let value = value.as_deref().unwrap_or_default();
            all.extend_from_slice(&hash::derive(hash::BASE_VALUE, &[value]).0);
        }
        Some(hash::derive(hash::MERGING_ROW, &[&collection.0, &live.to_bytes(), &len, key, &all]))
    }
}

impl Merging {
    /// Takes in a live operation.
    pub(crate) fn take(&mut self, operations: &merge::Operations, stamp: Hlc, version: Version) {
        merge::take(&mut self.folds, operations, stamp, version);
        let incarnation = version.author.incarnation.0.to_le_bytes();
        let generation = version.generation.to_le_bytes();
        self.live
            .add(&hash::derive(hash::LIVE_OPERATION, &[&version.author.device.0, &incarnation, &generation]));
    }
}

/// Orders heads, the last first (S-13).
pub(crate) fn sort(heads: &mut [RowHead], authors: impl Fn(AuthorIx) -> Author) {
    heads.sort_by_key(|head| core::cmp::Reverse((head.stamp, head.version(&authors))));
}

fn put_heads(out: &mut Vec<u8>, heads: &[RowHead]) {
    put_varint(out, heads.len() as u64);
    for head in heads {
        put_varint(out, u64::from(head.author));
        put_varint(out, head.generation);
        out.extend_from_slice(&head.stamp.0.to_le_bytes());
        match &head.content {
            HeadContent::Delete => out.push(0),
            HeadContent::Put(value) => {
                out.push(1);
                put_bytes(out, value);
            }
            HeadContent::Operate => out.push(2),
        }
    }
}

fn read_heads(reader: &mut Reader) -> Decoded<Vec<RowHead>> {
    let count = reader.count(usize::MAX, WHAT)?;
    let mut heads = Vec::with_capacity(count);
    for _ in 0..count {
        let author = AuthorIx::try_from(reader.varint(WHAT)?).map_err(|_| DecodeError { what: WHAT })?;
        let generation = reader.varint(WHAT)?;
        let stamp = Hlc(reader.u64(WHAT)?);
        let content = match reader.u8(WHAT)? {
            0 => HeadContent::Delete,
            1 => HeadContent::Put(reader.bytes(usize::MAX, WHAT)?),
            2 => HeadContent::Operate,
            _ => return Err(DecodeError { what: WHAT }),
        };
        heads.push(RowHead { author, generation, stamp, content });
    }
    Ok(heads)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::id::{DeviceId, Incarnation};
    use crate::resolve::Merge;
    use crate::resolve::merge::Operations;

    fn author(ix: AuthorIx) -> Author {
        // Local numbers in the order of arrival; names in another.
        Author { device: DeviceId([9 - ix as u8; 16]), incarnation: Incarnation(1) }
    }

    fn head(author: AuthorIx, generation: Generation, stamp: u64, value: Option<&'static [u8]>) -> RowHead {
        let content = value.map_or(HeadContent::Delete, |value| HeadContent::Put(Bytes::from_static(value)));
        RowHead { author, generation, stamp: Hlc(stamp), content }
    }

    fn shown(row: &RowState) -> Option<Bytes> {
        row.value(&Policy::LastWins, &[], author)
    }

    #[test]
    fn rows_come_back_from_their_bytes() {
        let heads = vec![
            head(7, 7, u64::MAX, Some(b"value")),
            RowHead { content: HeadContent::Operate, ..head(0, 1, 3, None) },
            head(1, 1, 2, Some(b"")),
        ];
        let mut merging = Merging { beneath: heads.clone(), ..Merging::default() };
        merging.take(&Operations::Counter(3), Hlc(3), Version { author: author(0), generation: 1 });
        let plain = RowState { heads: heads.clone(), merging: None };
        for state in [plain, RowState { heads, merging: Some(Box::new(merging)) }, RowState::default()] {
            assert_eq!(RowState::from_bytes(state.to_bytes()).unwrap(), state);
        }
    }

    #[test]
    fn concurrent_heads_show_the_same_winner_in_any_order() {
        let heads = [head(0, 1, 5, Some(b"a")), head(1, 1, 5, Some(b"b")), head(2, 1, 4, None)];
        let mut orders = vec![];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut row = RowState::default();
            for at in order {
                row.supersede(heads[at].clone(), |_| false, author);
            }
            orders.push(row);
        }
        assert!(orders.iter().all(|row| *row == orders[0]));
        assert_eq!(shown(&orders[0]).unwrap(), "a", "equal stamps: the greater author wins");
        assert!(orders[0].in_conflict(&Policy::LastWins));
        assert!(!orders[0].in_conflict(&Policy::Merge(Merge::Counter)));
    }

    #[test]
    fn a_successor_closes_the_conflict_even_with_a_smaller_stamp() {
        let mut row = RowState::default();
        row.supersede(head(0, 1, 50, Some(b"a")), |_| false, author);
        row.supersede(head(1, 1, 60, Some(b"b")), |_| false, author);
        row.supersede(head(2, 1, 10, None), |old| old.author < 2, author);
        assert_eq!(row.heads.len(), 1);
        assert_eq!(shown(&row), None);
        assert!(!row.is_split());
    }

    #[test]
    fn equal_content_is_no_conflict() {
        let mut row = RowState::default();
        row.supersede(head(0, 1, 5, Some(b"same")), |_| false, author);
        row.supersede(head(1, 1, 6, Some(b"same")), |_| false, author);
        assert_eq!(row.heads.len(), 2);
        assert!(!row.is_split());
    }

    #[test]
    fn all_that_a_row_shows_under_some_policy_counts_for_the_digest() {
        let counts = |row: &RowState| row.visible(&CollectionId([1; 8]), b"key", author);
        let of = |heads: &[RowHead]| RowState { heads: heads.to_vec(), merging: None };
        let beneath = |heads: &[RowHead]| {
            let mut merging = Merging { beneath: heads.to_vec(), ..Merging::default() };
            merging.take(&Operations::Counter(3), Hlc(9), Version { author: author(7), generation: 1 });
            let head = RowHead { content: HeadContent::Operate, ..head(7, 1, 9, None) };
            RowState { heads: vec![head], merging: Some(Box::new(merging)) }
        };
        let last = head(0, 1, 5, Some(b"a"));
        for of in [&of as &dyn Fn(&[RowHead]) -> RowState, &beneath] {
            let all = [
                vec![last.clone()],
                vec![last.clone(), head(1, 1, 4, Some(b"b"))],
                // Another value, another version, nothing, and no row.
                vec![last.clone(), head(1, 1, 4, Some(b"c"))],
                vec![last.clone(), head(1, 2, 4, Some(b"b"))],
                vec![last.clone(), head(1, 1, 4, Some(b""))],
                vec![last.clone(), head(1, 1, 4, None)],
                // And one more.
                vec![last.clone(), head(1, 1, 4, Some(b"b")), head(2, 1, 3, None)],
            ];
            let hashes: Vec<_> = all.iter().map(|heads| counts(&of(heads))).collect();
            for (at, hash) in hashes.iter().enumerate() {
                assert!(hash.is_some() && !hashes[..at].contains(hash), "{at}");
            }
        }
        // Of one head alone, only what it shows: two that say the same are told apart by what is known, not by this.
        assert_eq!(counts(&of(&[head(0, 1, 5, None)])), None);
        assert_eq!(counts(&of(&[head(0, 1, 5, Some(b"a"))])), counts(&of(&[head(1, 3, 6, Some(b"a"))])));
        assert_ne!(counts(&beneath(&[head(0, 1, 5, None)])), counts(&beneath(&[head(0, 1, 5, Some(b""))])));
    }
}
