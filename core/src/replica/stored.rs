//! What is stored, as bytes: generations with what belongs to them, and the state that every commit notes.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::hash::Hash;
use crate::id::{CommitSeq, Generation, Incarnation};
use crate::log::generation::Encoded;
use crate::log::tree;
use crate::store::key::{self, AuthorIx, GroupIx, meta};
use crate::store::{Fault, Table, Write};
use crate::syncgroup::PastIx;
use crate::wire::codec::{DecodeError, Reader, put_varint};

/// What every commit notes.
pub(super) struct StateRecord {
    pub(super) seq: CommitSeq,
    pub(super) incarnation: Incarnation,
}

impl StateRecord {
    /// The format of the whole store.
    pub(super) const FORMAT: u32 = 1;

    pub(super) fn to_write(&self) -> Write {
        let mut bytes = [0; 20];
        let (format, rest) = bytes.split_at_mut(4);
        let (seq, incarnation) = rest.split_at_mut(8);
        format.copy_from_slice(&Self::FORMAT.to_le_bytes());
        seq.copy_from_slice(&self.seq.0.to_le_bytes());
        incarnation.copy_from_slice(&self.incarnation.0.to_le_bytes());
        Write::put(Table::Meta, meta::STATE, &bytes)
    }
}

/// A generation as stored: with the number of the metadata in its past, and the nodes of the log tree that
/// it completes.
pub(crate) struct Stored {
    pub(crate) past: PastIx,
    pub(super) nodes: Vec<Hash>,
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
