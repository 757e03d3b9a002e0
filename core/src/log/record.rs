//! Records: one change of one row, or of one piece of a syncgroup's metadata (S-6, S-30).

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::fork::Fork;
use super::generation::Dependency;
use crate::hash::Tag;
use crate::id::{
    Address, Author, CollectionId, DeviceId, Generation, Incarnation, Name, PublicKey, UserId, Version,
};
use crate::keys::KeyChain;
use crate::limits;
use crate::resolve::Policy;
use crate::resolve::merge::Operations;
use crate::syncgroup::{Rights, SpecChange};
use crate::time::{Hlc, Wall};
use crate::user::{Certificate, StrikingOff};
use crate::wire::codec::{DecodeError, Decoded, Reader, put_author, put_bytes, put_varint};

/// Kinds of records. A reader takes any number that it does not know as newer.
const PUT: u8 = 1;
const DELETE: u8 = 2;
const OPERATE: u8 = 3;
const META: u8 = 16;

/// Marks of a row's record.
const REPEATS: u8 = 1;
const PICK: u8 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    Row(RowRecord),
    Meta(MetaRecord),
    /// Of a kind that a newer version brought.
    Unknown,
}

/// A change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowRecord {
    pub(crate) collection: CollectionId,
    pub(crate) key: Bytes,
    /// The heads of the row that the author knew.
    pub(crate) parents: Vec<Version>,
    /// The version that this one writes again, and its stamp (S-6): see `replica/reissue`. Nothing follows from it.
    pub(crate) repeats: Option<(Version, Hlc)>,
    /// Whether this is the choice of a head by somebody who resolved a conflict (S-17).
    pub(crate) pick: bool,
    pub(crate) content: Content,
}

/// What a record does to its row (S-6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Put(Bytes),
    Delete,
    Operate(Operations),
}

/// A change of a syncgroup's metadata. The names of variants are never reused: their order is the encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MetaRecord {
    /// The start of a syncgroup: first record of generation 1 of its creator, whose hash is its id.
    Genesis { name: Name, nonce: [u8; 16] },
    /// A device becomes a member, or gets other rights: for what it stamps no later than the end, if there is one.
    Admit { key: PublicKey, name: Name, rights: Rights, ends: Option<Wall>, request: Option<Used> },
    /// The author's device leaves: these grants to it end.
    Leave { grants: Vec<Version> },
    /// A collection exists.
    Collection { name: Name },
    /// What becomes of conflicts of a collection's rows whose keys start so; `None` takes a rule away (S-16).
    Rule { collection: CollectionId, prefix: Bytes, policy: Option<Policy> },
    /// These grants to a device give no more than `keep` from now on, and no longer than until the end; only what the
    /// device had written in each of its logs until then stays allowed by them as before (S-34).
    Revoke {
        device: DeviceId,
        grants: Vec<Version>,
        keep: Option<Rights>,
        ends: Option<Wall>,
        until: Vec<(Incarnation, Generation)>,
    },
    /// A user may do something, by whatever device it has certified (S-3), as long as a device that is admitted may.
    AdmitUser { key: PublicKey, name: Name, rights: Rights, ends: Option<Wall>, request: Option<Used> },
    /// A device is one of a user's. The user's signature says so; who writes it down need only be a member.
    Enrol {
        certificate: Certificate,
        /// The nonce of the request that was granted by it.
        request: Option<[u8; 16]>,
    },
    /// A device is none of a user's any more, in this syncgroup. The user's signature says so.
    StrikeOff(StrikingOff),
    /// These grants to a user give no more than `keep` from now on, and no longer than until the end; only what its
    /// devices had written until then stays allowed by them as before.
    RevokeUser {
        user: UserId,
        grants: Vec<Version>,
        keep: Option<Rights>,
        ends: Option<Wall>,
        until: Vec<(Author, Generation)>,
    },
    /// What members are told of the syncgroup (S-30).
    Spec(SpecChange),
    /// A device is to take part, and is asked until it answers (S-33).
    Publish { device: DeviceId, rights: Rights, addresses: Vec<Address> },
    /// It is asked no more, as far as this attempt goes.
    Unpublish { device: DeviceId, attempt: Version },
    /// It has declined, as the author has heard from it.
    Decline { device: DeviceId, attempt: Version },
    /// What another log of the author's device says from one generation to another, both included, its author has
    /// written again: there it does not count any more (S-27).
    Cut { incarnation: Incarnation, first: Generation, last: Generation },
    /// Somebody has forked its log: behind where its branches part it does not count (S-26).
    Fork(Box<Fork>),
    /// This generation gives again what that one of another log of the author's device gave: whatever ends it there ends it
    /// here as well (S-26).
    Repeats { incarnation: Incarnation, generation: Generation },
    /// Whoever wants to be a member may be let in by any member, with rights no greater than these and for no longer (S-3).
    /// Nobody is a member by it.
    Open { rights: Rights, ends: Option<Wall> },
    /// These grants to everybody give no more than `keep` from now on, and no longer than until the end; only whom members
    /// had let in by them until then, in each of these logs, stays let in as before.
    Close { grants: Vec<Version>, keep: Option<Rights>, ends: Option<Wall>, until: Vec<(Author, Generation)> },
    /// The author's log is of the last of these keys, as its name tells with what was drawn for it; and of the device's logs
    /// of keys before, so much stays (S-1). It stands in the first generation.
    Rollover { chain: KeyChain, nonce: u64, until: Vec<Until> },
}

/// How much stays of a log of an earlier key. The tag of the root of its tree says of which branch, should it be forked: the
/// device may have written several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Until {
    pub(crate) incarnation: Incarnation,
    pub(crate) last: Generation,
    pub(crate) tag: Tag,
}

/// What an admission has used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Used {
    /// The nonce of the invitation.
    pub(crate) invitation: [u8; 16],
    /// The nonce of the request.
    pub(crate) request: [u8; 16],
}

impl MetaRecord {
    /// What it counts for in its author's share (S-53).
    pub(crate) fn cost(&self) -> usize {
        let size = postcard::to_allocvec(self).map_or(limits::MAX_GENERATION, |bytes| bytes.len());
        size.max(limits::METADATA_RECORD)
    }

    /// The same in several records, if it ends more than one of them may.
    pub(crate) fn in_parts(mut self) -> impl Iterator<Item = Self> {
        let grants = match &mut self {
            MetaRecord::Leave { grants }
            | MetaRecord::Revoke { grants, .. }
            | MetaRecord::RevokeUser { grants, .. }
            | MetaRecord::Close { grants, .. } => core::mem::take(grants),
            _ => Vec::new(),
        };
        // Each part says again what it spares: so it ends about as many, that all of them stay as long as what there is to say.
        let spares = match &self {
            MetaRecord::RevokeUser { until, .. } | MetaRecord::Close { until, .. } => until.len(),
            _ => 0,
        };
        let most = spares.clamp(limits::MAX_ENDED, 4 * limits::MAX_ENDED);
        let parts: Vec<Vec<Version>> = grants.chunks(most).map(<[_]>::to_vec).collect();
        let none = parts.is_empty().then(Vec::new);
        parts.into_iter().chain(none).map(move |part| {
            let mut record = self.clone();
            if let MetaRecord::Leave { grants }
            | MetaRecord::Revoke { grants, .. }
            | MetaRecord::RevokeUser { grants, .. }
            | MetaRecord::Close { grants, .. } = &mut record
            {
                *grants = part;
            }
            record
        })
    }

    /// Whether it gives nothing, and only ends what was given.
    pub(crate) fn ends_something(&self) -> bool {
        matches!(
            self,
            MetaRecord::Leave { .. }
                | MetaRecord::Revoke { .. }
                | MetaRecord::RevokeUser { .. }
                | MetaRecord::StrikeOff(_)
                | MetaRecord::Unpublish { .. }
                | MetaRecord::Decline { .. }
                | MetaRecord::Cut { .. }
                | MetaRecord::Fork(_)
                | MetaRecord::Close { .. }
                | MetaRecord::Rollover { .. }
        )
    }

    /// Whether it says something of the syncgroup that counts only while its generation does, beside who may do what.
    pub(crate) fn rules_something(&self) -> bool {
        matches!(
            self,
            MetaRecord::Rule { .. }
                | MetaRecord::Spec(_)
                | MetaRecord::Publish { .. }
                | MetaRecord::Unpublish { .. }
                | MetaRecord::Decline { .. }
        )
    }
}

impl Record {
    /// Appends the record. Parents are written as the author itself, as one of the dependencies, or in full.
    pub(crate) fn write(&self, author: &Author, dependencies: &[Dependency], out: &mut Vec<u8>) {
        let mut content = Vec::new();
        let kind = match self {
            Record::Row(row) => {
                row.write(author, dependencies, &mut content);
                match row.content {
                    Content::Put(_) => PUT,
                    Content::Delete => DELETE,
                    Content::Operate(_) => OPERATE,
                }
            }
            Record::Meta(meta) => {
                // Serialising such a type into memory cannot fail; an empty record would be refused.
                content = postcard::to_allocvec(meta).unwrap_or_default();
                META
            }
            Record::Unknown => return,
        };
        out.push(kind);
        put_varint(out, content.len() as u64);
        out.extend_from_slice(&content);
    }

    pub(crate) fn read(reader: &mut Reader, author: &Author, dependencies: &[Dependency]) -> Decoded<Self> {
        let kind = reader.u8("a record's kind")?;
        let content = reader.bytes(limits::MAX_GENERATION, "a record")?;
        match kind {
            PUT | DELETE | OPERATE => {
                let mut content = Reader::new(content);
                let row = RowRecord::read(&mut content, author, dependencies, kind)?;
                content.end("the end of a record")?;
                Ok(Record::Row(row))
            }
            META => match postcard::take_from_bytes::<MetaRecord>(&content) {
                // No key is as long: a rule for none costs memory for ever.
                Ok((MetaRecord::Rule { prefix, .. }, [])) if prefix.len() > limits::MAX_KEY => {
                    Err(DecodeError { what: "a rule's prefix" })
                }
                Ok((MetaRecord::Spec(change), [])) if change.excess().is_some() => {
                    Err(DecodeError { what: "what a syncgroup is for" })
                }
                Ok((MetaRecord::Publish { addresses, .. }, []))
                    if addresses.len() > limits::MAX_ADDRESSES =>
                {
                    Err(DecodeError { what: "where a syncgroup is published" })
                }
                Ok((meta, [])) => Ok(Record::Meta(meta)),
                _ => Ok(Record::Unknown),
            },
            _ => Ok(Record::Unknown),
        }
    }
}

/// How a version's author is written: itself, in full, or by its place among the dependencies.
const SELF: u64 = 0;
const IN_FULL: u64 = 1;
const FIRST_DEPENDENCY: u64 = 2;

fn put_version(out: &mut Vec<u8>, version: &Version, author: &Author, dependencies: &[Dependency]) {
    if version.author == *author {
        put_varint(out, SELF);
    } else if let Ok(at) = dependencies.binary_search_by_key(&version.author, |d| d.author) {
        put_varint(out, FIRST_DEPENDENCY + at as u64);
    } else {
        put_varint(out, IN_FULL);
        put_author(out, &version.author);
    }
    put_varint(out, version.generation);
}

fn read_version(reader: &mut Reader, author: &Author, dependencies: &[Dependency]) -> Decoded<Version> {
    const WHAT: DecodeError = DecodeError { what: "a version" };
    let author = match reader.varint(WHAT.what)? {
        SELF => *author,
        IN_FULL => reader.author(WHAT.what)?,
        n => usize::try_from(n - FIRST_DEPENDENCY)
            .ok()
            .and_then(|at| dependencies.get(at))
            .map(|dependency| dependency.author)
            .ok_or(WHAT)?,
    };
    let generation: Generation = reader.varint(WHAT.what)?;
    if generation == 0 { Err(WHAT) } else { Ok(Version { author, generation }) }
}

impl RowRecord {
    fn write(&self, author: &Author, dependencies: &[Dependency], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.collection.0);
        put_bytes(out, &self.key);
        let repeats = if self.repeats.is_some() { REPEATS } else { 0 };
        out.push(repeats | if self.pick { PICK } else { 0 });
        put_varint(out, self.parents.len() as u64);
        for parent in &self.parents {
            put_version(out, parent, author, dependencies);
        }
        if let Some((version, stamp)) = &self.repeats {
            put_version(out, version, author, dependencies);
            out.extend_from_slice(&stamp.0.to_le_bytes());
        }
        match &self.content {
            Content::Put(value) => out.extend_from_slice(value),
            Content::Delete => {}
            Content::Operate(operations) => out.extend_from_slice(&operations.to_bytes()),
        }
    }

    fn read(reader: &mut Reader, author: &Author, dependencies: &[Dependency], kind: u8) -> Decoded<Self> {
        let collection = CollectionId(reader.array("a collection")?);
        let key = reader.bytes(limits::MAX_KEY, "a key")?;
        let marks = reader.u8("a record's marks")?;
        if marks & !(REPEATS | PICK) != 0 {
            return Err(DecodeError { what: "a record's marks" });
        }
        let count = reader.count(limits::MAX_PARENTS, "parents")?;
        let parents =
            (0..count).map(|_| read_version(reader, author, dependencies)).collect::<Decoded<Vec<_>>>()?;
        let repeats = if marks & REPEATS == 0 {
            None
        } else {
            let version = read_version(reader, author, dependencies)?;
            Some((version, Hlc(reader.u64("a repeated stamp")?)))
        };
        let rest = core::mem::replace(reader, Reader::new(Bytes::new())).rest();
        let content = match kind {
            _ if rest.len() > limits::MAX_VALUE => return Err(DecodeError { what: "a value" }),
            PUT => Content::Put(rest),
            OPERATE => Content::Operate(Operations::from_bytes(&rest)?),
            _ if rest.is_empty() => Content::Delete,
            _ => return Err(DecodeError { what: "a deletion" }),
        };
        Ok(Self { collection, key, parents, repeats, pick: marks & PICK != 0, content })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::id::{DeviceId, Incarnation};

    #[test]
    fn a_rule_for_rows_that_cannot_be_is_refused() {
        let author = Author { device: DeviceId([1; 16]), incarnation: Incarnation(1) };
        let read = |len: usize| {
            let (collection, prefix) = (CollectionId([2; 8]), Bytes::from(vec![3; len]));
            let rule = Record::Meta(MetaRecord::Rule { collection, prefix, policy: Some(Policy::Defer) });
            let mut bytes = Vec::new();
            rule.write(&author, &[], &mut bytes);
            Record::read(&mut Reader::new(bytes.into()), &author, &[]).map(|read| read == rule)
        };
        assert_eq!(read(limits::MAX_KEY), Ok(true));
        assert_eq!(read(limits::MAX_KEY + 1), Err(DecodeError { what: "a rule's prefix" }));
    }
}
