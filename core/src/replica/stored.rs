//! What is stored, as bytes: generations with what belongs to them, and the state that every commit notes.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::id::{Author, CollectionId, CommitSeq, Generation, Incarnation};
use crate::keys::Life;
use crate::log::generation::Encoded;
use crate::log::record::Record;
use crate::log::tree;
use crate::object::history::Node;
use crate::store::key::{self, AuthorIx, GroupIx, meta};
use crate::store::{Fault, Scan, Table, View, Write};
use crate::syncgroup::PastIx;
use crate::wire::codec::{DecodeError, Reader, put_varint};

/// What every commit notes.
pub(crate) struct StateRecord {
    /// The format of the whole store.
    pub(super) format: u32,
    pub(crate) seq: CommitSeq,
    /// The present life of the store, and what was drawn for it.
    pub(crate) life: Life,
}

impl StateRecord {
    /// The format that this code writes.
    pub(super) const FORMAT: u32 = 3;

    pub(super) fn new(seq: CommitSeq, life: Life) -> Self {
        Self { format: Self::FORMAT, seq, life }
    }

    /// What the last commit noted; `None` if there was none.
    pub(crate) fn get(view: &dyn View) -> Result<Option<Self>, Fault> {
        let Some(bytes) = view.get(Table::Meta, meta::STATE)? else { return Ok(None) };
        let read = || {
            let mut reader = Reader::new(bytes);
            let format = u32::from_le_bytes(reader.array("the format")?);
            let seq = CommitSeq(reader.u64("the last commit")?);
            let incarnation = Incarnation(reader.u64("the incarnation")?);
            // Where nothing follows, it was drawn as it stands: for a first key.
            let nonce = if reader.is_empty() { incarnation.0 } else { reader.u64("the incarnation")? };
            Ok(Self { format, seq, life: Life { incarnation, nonce } })
        };
        read().map(Some).map_err(|error| corrupt(Table::Meta, error))
    }

    pub(super) fn to_write(&self) -> Write {
        let mut bytes = [0; 28];
        let (format, rest) = bytes.split_at_mut(4);
        let (seq, rest) = rest.split_at_mut(8);
        let (incarnation, nonce) = rest.split_at_mut(8);
        format.copy_from_slice(&self.format.to_le_bytes());
        seq.copy_from_slice(&self.seq.0.to_le_bytes());
        incarnation.copy_from_slice(&self.life.incarnation.0.to_le_bytes());
        nonce.copy_from_slice(&self.life.nonce.to_le_bytes());
        let key = Bytes::from_static(meta::STATE);
        Write { table: Table::Meta, key, value: Some(Bytes::copy_from_slice(&bytes)) }
    }
}

/// From which commit on it is kept which rows they changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Not from before this one.
    floor: CommitSeq,
    /// Of so many commits.
    limit: u64,
}

impl Kept {
    pub(crate) fn get(view: &dyn View) -> Result<Self, Fault> {
        let wrong = |_| corrupt(Table::Meta, DecodeError { what: "which changes are kept" });
        let bytes = view.get(Table::Meta, meta::KEPT)?;
        bytes.map_or(Ok(Self::default()), |bytes| postcard::from_bytes(&bytes).map_err(wrong))
    }

    /// The first commit of which it is kept, where `last` is the last one.
    pub(crate) fn from(&self, last: CommitSeq) -> CommitSeq {
        self.floor.max(CommitSeq((last.0 + 1).saturating_sub(self.limit)))
    }

    /// The same, of what comes after a commit alone.
    pub(super) fn after(self, seq: CommitSeq) -> Bytes {
        let kept = Self { floor: CommitSeq(seq.0 + 1).max(self.floor), ..self };
        postcard::to_allocvec(&kept).unwrap_or_default().into()
    }

    /// Keeps that of so many commits from now on, and drops what is older. `next` is the commit that will do so.
    pub(super) fn keep(self, limit: u64, next: CommitSeq, view: &dyn View) -> Result<Vec<Write>, Fault> {
        let kept = Self { floor: self.from(CommitSeq(next.0.saturating_sub(1))), limit };
        let oldest = key::change(kept.from(next));
        let mut writes = Vec::new();
        view.scan(&Scan::range(Table::Change, &[], Some(&oldest)), &mut |key, _| {
            writes.push(Write::remove(Table::Change, key));
            core::ops::ControlFlow::Continue(())
        })?;
        let bytes = postcard::to_allocvec(&kept).unwrap_or_default();
        writes.push(Write::put(Table::Meta, meta::KEPT, &bytes));
        Ok(writes)
    }
}

/// How many earlier boots are remembered.
const MOST_LIVES: usize = 256;

/// The boots of a store: each has a random name of its own, and the commits from its first one on, up to where the
/// next one began. What a crash took was in none that can be found here: so a marker of a commit that is gone is
/// known to be one, although its number has been given again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lives(Vec<(u64, CommitSeq)>);

impl Lives {
    pub(crate) fn get(view: &dyn View) -> Result<Self, Fault> {
        let wrong = |_| corrupt(Table::Meta, DecodeError { what: "the boots of the store" });
        let bytes = view.get(Table::Meta, meta::LIVES)?;
        bytes.map_or(Ok(Self::default()), |bytes| postcard::from_bytes(&bytes).map_err(wrong))
    }

    /// Begins another one with this commit.
    pub(super) fn begin(mut self, life: u64, first: CommitSeq) -> Write {
        self.0.push((life, first));
        let too_many = self.0.len().saturating_sub(MOST_LIVES);
        self.0.drain(..too_many);
        // Serialising such a type into memory cannot fail; an empty list would make every marker unknown.
        Write::put(Table::Meta, meta::LIVES, &postcard::to_allocvec(&self).unwrap_or_default())
    }

    /// The one that goes on now.
    pub(crate) fn now(&self) -> u64 {
        self.0.last().map_or(0, |(life, _)| *life)
    }

    /// Whether the commit of this number that a life knew is in the store.
    pub(crate) fn has(&self, life: u64, seq: CommitSeq) -> bool {
        let Some(at) = self.0.iter().rposition(|(known, _)| *known == life) else { return false };
        self.0.get(at + 1).is_none_or(|(_, next)| seq < *next)
    }
}

/// A generation as stored: with the number of the metadata in its past, and the nodes of the log tree that
/// it completes.
pub(crate) struct Stored {
    pub(crate) past: PastIx,
    pub(crate) nodes: Vec<Hash>,
    pub(crate) bytes: Bytes,
}

type Get<'g> = &'g dyn Fn(Table, &Bytes) -> Result<Option<Bytes>, Fault>;

impl Stored {
    pub(crate) fn get(
        get: Get<'_>,
        group: GroupIx,
        author: AuthorIx,
        generation: Generation,
    ) -> Result<Self, Fault> {
        let missing = DecodeError { what: "a generation that is held" };
        let bytes = get(Table::Log, &key::log(group, author, generation))?;
        Self::from_bytes(bytes.ok_or_else(|| corrupt(Table::Log, missing))?, generation)
    }

    /// The version of a row that a generation wrote; `None` if it is not held, or did not change the row.
    pub(crate) fn row(
        get: Get<'_>,
        group: GroupIx,
        ix: AuthorIx,
        author: Author,
        generation: Generation,
        (collection, key): (CollectionId, &Bytes),
    ) -> Result<Option<Node>, Fault> {
        let Some(bytes) = get(Table::Log, &key::log(group, ix, generation))? else { return Ok(None) };
        let encoded = Self::from_bytes(bytes, generation)?.encoded()?;
        let records = encoded.records(&author).map_err(|error| corrupt(Table::Log, error))?;
        let (stamp, batch) = (encoded.header.stamp, encoded.header.batch.as_ref().map(|part| part.id));
        let found = records.into_iter().find_map(|record| match record {
            Record::Row(record) if record.collection == collection && record.key == *key => Some(record),
            _ => None,
        });
        let Some(record) = found else { return Ok(None) };
        let void = get(Table::Void, &key::log(group, ix, generation))?.is_some();
        Ok(Some(Node { stamp, batch, record, void }))
    }

    pub(crate) fn from_bytes(bytes: Bytes, generation: Generation) -> Result<Self, Fault> {
        let read = || {
            let mut reader = Reader::new(bytes);
            let past = reader.varint("a past")? as PastIx;
            let nodes = (0..generation.trailing_zeros())
                .map(|_| reader.array("a node").map(Hash))
                .collect::<Result<_, _>>()?;
            Ok(Self { past, nodes, bytes: reader.rest() })
        };
        read().map_err(|error| corrupt(Table::Log, error))
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.bytes.len() + 32 * self.nodes.len() + 4);
        put_varint(&mut out, u64::from(self.past));
        self.nodes.iter().for_each(|node| out.extend_from_slice(&node.0));
        out.extend_from_slice(&self.bytes);
        out.into()
    }

    pub(crate) fn encoded(&self) -> Result<Encoded, Fault> {
        Encoded::read_trusted(self.bytes.clone()).map_err(|error| corrupt(Table::Log, error))
    }
}

/// The nodes of an author's log tree, as stored with its generations.
pub(crate) struct LogNodes<'g> {
    pub(crate) get: Get<'g>,
    pub(crate) group: GroupIx,
    pub(crate) author: AuthorIx,
}

impl tree::Nodes for LogNodes<'_> {
    fn node(&self, level: u32, end: u64) -> Result<Hash, Fault> {
        let stored = Stored::get(self.get, self.group, self.author, end)?;
        let Some(above) = level.checked_sub(1) else { return Ok(stored.encoded()?.leaf) };
        let missing = DecodeError { what: "a node of a log tree" };
        stored.nodes.get(above as usize).copied().ok_or_else(|| corrupt(Table::Log, missing))
    }
}

/// The fault of a store that gave back something else than was written.
pub(crate) fn corrupt(table: Table, error: DecodeError) -> Fault {
    Fault::Corrupt { table, what: error.to_string() }
}
