//! A row is the set of its heads: the versions that no other known version supersedes (S-11). The head that
//! readers see comes first. A deletion is a head like any other (S-14).

use alloc::vec::Vec;

use bytes::Bytes;

use crate::hash::{self, Hash};
use crate::id::{Author, CollectionId, Generation};
use crate::store::key::AuthorIx;
use crate::time::Hlc;
use crate::wire::codec::{DecodeError, Decoded, Reader, put_bytes, put_varint};

/// One head, with its author as a local number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowHead {
    pub(crate) author: AuthorIx,
    pub(crate) generation: Generation,
    pub(crate) stamp: Hlc,
    /// `None` deletes the row.
    pub(crate) value: Option<Bytes>,
}

/// The heads of a row, the shown one first, the others by descending `(stamp, version)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowState {
    pub(crate) heads: Vec<RowHead>,
}

impl RowState {
    /// Reads what [`RowState::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: Bytes) -> Decoded<Self> {
        let mut reader = Reader::new(bytes);
        let count = reader.count(usize::MAX, "a row's heads")?;
        let mut heads = Vec::with_capacity(count);
        for _ in 0..count {
            let author =
                AuthorIx::try_from(reader.varint("a head")?).map_err(|_| DecodeError { what: "a head" })?;
            let generation = reader.varint("a head")?;
            let stamp = Hlc(reader.u64("a head")?);
            let value = match reader.u8("a head")? {
                0 => None,
                _ => Some(reader.bytes(usize::MAX, "a head")?),
            };
            heads.push(RowHead { author, generation, stamp, value });
        }
        reader.end("the end of a row")?;
        Ok(Self { heads })
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let values: usize = self.heads.iter().flat_map(|head| &head.value).map(Bytes::len).sum();
        let mut out = Vec::with_capacity(values + 20 * self.heads.len() + 1);
        put_varint(&mut out, self.heads.len() as u64);
        for head in &self.heads {
            put_varint(&mut out, u64::from(head.author));
            put_varint(&mut out, head.generation);
            out.extend_from_slice(&head.stamp.0.to_le_bytes());
            match &head.value {
                None => out.push(0),
                Some(value) => {
                    out.push(1);
                    put_bytes(&mut out, value);
                }
            }
        }
        out.into()
    }

    /// Takes in a head that supersedes some of the others: `(H \ P) ∪ {v}` (S-11). `authors` gives the full
    /// name of a local number, for the order of versions with equal stamps (S-13).
    pub(crate) fn supersede(
        &mut self,
        head: RowHead,
        superseded: impl Fn(AuthorIx, Generation) -> bool,
        authors: impl Fn(AuthorIx) -> Author,
    ) {
        self.heads.retain(|old| !superseded(old.author, old.generation));
        self.heads.push(head);
        self.heads
            .sort_by_key(|head| core::cmp::Reverse((head.stamp, authors(head.author), head.generation)));
    }

    /// The head that readers see: the greatest by `(stamp, version)` (S-13).
    pub(crate) fn shown(&self) -> Option<&RowHead> {
        self.heads.first()
    }

    /// What readers see: nothing if the row was never written, or is deleted.
    pub(crate) fn value(&self) -> Option<&Bytes> {
        self.shown()?.value.as_ref()
    }

    /// Whether heads disagree: heads of the same content are in no conflict (S-11).
    pub(crate) fn in_conflict(&self) -> bool {
        let mut values = self.heads.iter().map(|head| &head.value);
        values.next().is_some_and(|first| values.any(|value| value != first))
    }
}

/// What a visible row adds to the digest of visible state (S-12).
pub(crate) fn visible(collection: &CollectionId, key: &[u8], value: &[u8]) -> Hash {
    let len = (key.len() as u64).to_le_bytes();
    hash::derive(hash::VISIBLE_ROW, &[&collection.0, &len, key, value])
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::id::{DeviceId, Incarnation};

    fn author(ix: AuthorIx) -> Author {
        // Local numbers in the order of arrival; names in another.
        Author { device: DeviceId([9 - ix as u8; 16]), incarnation: Incarnation(1) }
    }

    fn head(author: AuthorIx, generation: Generation, stamp: u64, value: Option<&'static [u8]>) -> RowHead {
        RowHead { author, generation, stamp: Hlc(stamp), value: value.map(Bytes::from_static) }
    }

    #[test]
    fn heads_come_back_from_their_bytes() {
        let state = RowState {
            heads: vec![
                head(300, 7, u64::MAX, Some(b"value")),
                head(0, 1, 3, None),
                head(1, 1, 2, Some(b"")),
            ],
        };
        assert_eq!(RowState::from_bytes(state.to_bytes()).unwrap(), state);
        assert_eq!(RowState::from_bytes(RowState::default().to_bytes()).unwrap(), RowState::default());
    }

    #[test]
    fn concurrent_heads_show_the_same_winner_in_any_order() {
        let heads = [head(0, 1, 5, Some(b"a")), head(1, 1, 5, Some(b"b")), head(2, 1, 4, None)];
        let mut orders = vec![];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut row = RowState::default();
            for at in order {
                row.supersede(heads[at].clone(), |_, _| false, author);
            }
            orders.push(row);
        }
        assert!(orders.iter().all(|row| *row == orders[0]));
        assert_eq!(orders[0].value().unwrap(), "a", "equal stamps: the greater author wins");
        assert!(orders[0].in_conflict());
    }

    #[test]
    fn a_successor_closes_the_conflict_even_with_a_smaller_stamp() {
        let mut row = RowState::default();
        row.supersede(head(0, 1, 50, Some(b"a")), |_, _| false, author);
        row.supersede(head(1, 1, 60, Some(b"b")), |_, _| false, author);
        row.supersede(head(2, 1, 10, None), |by, at| [(0, 1), (1, 1)].contains(&(by, at)), author);
        assert_eq!(row.heads.len(), 1);
        assert_eq!(row.value(), None);
        assert!(!row.in_conflict());
    }

    #[test]
    fn equal_content_is_no_conflict() {
        let mut row = RowState::default();
        row.supersede(head(0, 1, 5, Some(b"same")), |_, _| false, author);
        row.supersede(head(1, 1, 6, Some(b"same")), |_, _| false, author);
        assert_eq!(row.heads.len(), 2);
        assert!(!row.in_conflict());
    }
}
