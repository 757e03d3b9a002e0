//! Generations as bytes: what an author encodes once, and everybody hashes, keeps and passes on unchanged.
//!
//! ```text
//! generation  = length of header, header, body
//! header      = format, flags, stamp, hash of body, dependencies, [batch], [acknowledged proposal]
//! body        = records
//! record      = kind, length, content
//! ```
//!
//! A leaf of the log tree hashes the header, and the header holds the hash of the body, so that a body can be
//! forgotten and the log still be proven (S-8). Records of a kind that this version does not know are kept as
//! bytes: they are newer, not wrong (S-26).

use alloc::vec::Vec;

use bytes::Bytes;

use super::record::Record;
use super::tree;
use crate::hash::{self, Hash, Tag};
use crate::id::{Author, Generation, Version};
use crate::limits;
use crate::time::Hlc;
use crate::wire::codec::{DecodeError, Decoded, Reader, put_author, put_varint};

const FORMAT: u8 = 1;
/// Bytes of a generation at least: the length of its header, and a header that names nothing.
pub(crate) const MIN_GENERATION: usize = 44;
const HAS_BATCH: u8 = 1;
const HAS_ACKNOWLEDGED: u8 = 2;

/// What comes before the records (S-6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) stamp: Hlc,
    pub(crate) body: Hash,
    /// The author's causal frontier: of other authors, the latest generations known, without those that
    /// others of them imply.
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) batch: Option<BatchPart>,
    /// The last proposal of a floor that the author acknowledged (S-48). Nothing proposes one yet; the field
    /// is there so that formats need not change.
    pub(crate) acknowledged: Option<Version>,
}

/// A generation that another one builds on. The tag of the log tree's root says which content is meant, even
/// if its author should fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) author: Author,
    pub(crate) generation: Generation,
    pub(crate) tag: Tag,
}

/// That this generation is part of a batch which touches several syncgroups (S-5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchPart {
    pub(crate) id: [u8; 16],
    /// For every other part, a hash of batch and syncgroup: whoever has that syncgroup recognises it, and
    /// nobody else learns anything.
    pub(crate) others: Vec<Tag>,
}

impl BatchPart {
    /// The tag of one part of a batch.
    pub(crate) fn tag(id: &[u8; 16], syncgroup: &crate::id::SyncgroupId) -> Tag {
        hash::derive(hash::BATCH_PART, &[id, &syncgroup.0]).tag()
    }
}

/// A generation as encoded, with its header read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    pub(crate) header: Header,
    pub(crate) leaf: Hash,
    body: Bytes,
}

impl Encoded {
    /// Encodes a generation. The header's hash of the body is filled in.
    pub(crate) fn write(header: Header, author: &Author, records: &[Record]) -> Self {
        let mut body = Vec::new();
        for record in records {
            record.write(author, &header.dependencies, &mut body);
        }
        Self::seal(header, &body)
    }

    /// Puts a header, with its hash of the body, before a body.
    pub(crate) fn seal(mut header: Header, body: &[u8]) -> Self {
        header.body = hash::derive(hash::BODY, &[body]);
        let mut head = Vec::with_capacity(48);
        header.write(&mut head);
        let mut bytes = Vec::with_capacity(head.len() + body.len() + 4);
        put_varint(&mut bytes, head.len() as u64);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(body);
        let bytes = Bytes::from(bytes);
        let body = bytes.slice(bytes.len() - body.len()..);
        Self { leaf: tree::leaf(&head), bytes, header, body }
    }

    /// Reads a generation up to its records, and checks that the body is the one that the header names.
    pub(crate) fn read(bytes: Bytes) -> Decoded<Self> {
        let too_large = bytes.len() > limits::MAX_GENERATION;
        let encoded = Self::read_trusted(bytes)?;
        if too_large || hash::derive(hash::BODY, &[&encoded.body]) != encoded.header.body {
            return Err(DecodeError { what: "a generation's body" });
        }
        Ok(encoded)
    }

    /// The same for what this replica has checked before and kept.
    pub(crate) fn read_trusted(bytes: Bytes) -> Decoded<Self> {
        let mut reader = Reader::new(bytes.clone());
        let head = reader.bytes(limits::MAX_GENERATION, "a generation's header")?;
        let leaf = tree::leaf(&head);
        Ok(Self { bytes, header: Header::read(head)?, leaf, body: reader.rest() })
    }

    /// Reads the records. Rows are ordered, and none comes twice. Nothing is read beyond the first record that is not known,
    /// as the whole cannot be taken then, nor more metadata than one author may write (S-53): tiny records would take many
    /// times the memory that they take as bytes.
    pub(crate) fn records(&self, author: &Author) -> Decoded<Vec<Record>> {
        let mut reader = Reader::new(self.body.clone());
        let mut records: Vec<Record> = Vec::new();
        let mut room = (limits::MAX_METADATA + limits::METADATA_RESERVE) / limits::METADATA_RECORD;
        while !reader.is_empty() {
            let record = Record::read(&mut reader, author, &self.header.dependencies)?;
            if let (Some(Record::Row(before)), Record::Row(row)) = (records.last(), &record) {
                if (before.collection, &before.key) >= (row.collection, &row.key) {
                    return Err(DecodeError { what: "the order of rows" });
                }
            } else if matches!((records.last(), &record), (Some(Record::Meta(_)), Record::Row(_))) {
                return Err(DecodeError { what: "the order of records" });
            }
            if matches!(record, Record::Meta(_)) {
                room = room.checked_sub(1).ok_or(DecodeError { what: "so much metadata" })?;
            }
            let is_last = record == Record::Unknown;
            records.push(record);
            if is_last {
                break;
            }
        }
        Ok(records)
    }
}

impl Header {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        let batch = if self.batch.is_some() { HAS_BATCH } else { 0 };
        let acknowledged = if self.acknowledged.is_some() { HAS_ACKNOWLEDGED } else { 0 };
        out.push(batch | acknowledged);
        out.extend_from_slice(&self.stamp.0.to_le_bytes());
        out.extend_from_slice(&self.body.0);
        put_varint(out, self.dependencies.len() as u64);
        for dependency in &self.dependencies {
            put_author(out, &dependency.author);
            put_varint(out, dependency.generation);
            out.extend_from_slice(&dependency.tag.0);
        }
        if let Some(batch) = &self.batch {
            out.extend_from_slice(&batch.id);
            put_varint(out, batch.others.len() as u64);
            batch.others.iter().for_each(|tag| out.extend_from_slice(&tag.0));
        }
        if let Some(version) = &self.acknowledged {
            put_author(out, &version.author);
            put_varint(out, version.generation);
        }
    }

    fn read(bytes: Bytes) -> Decoded<Self> {
        let mut reader = Reader::new(bytes);
        if reader.u8("a header's format")? != FORMAT {
            return Err(DecodeError { what: "a header's format" });
        }
        let flags = reader.u8("a header's flags")?;
        if flags & !(HAS_BATCH | HAS_ACKNOWLEDGED) != 0 {
            return Err(DecodeError { what: "a header's flags" });
        }
        let stamp = Hlc(reader.u64("a stamp")?);
        let body = Hash(reader.array("a body's hash")?);
        let count = reader.count(limits::MAX_DEPENDENCIES, "dependencies")?;
        let mut dependencies: Vec<Dependency> = Vec::with_capacity(count);
        for _ in 0..count {
            let author = reader.author("a dependency")?;
            let generation = reader.varint("a dependency")?;
            let tag = Tag(reader.array("a dependency")?);
            if generation == 0 || dependencies.last().is_some_and(|before| before.author >= author) {
                return Err(DecodeError { what: "the order of dependencies" });
            }
            dependencies.push(Dependency { author, generation, tag });
        }
        let batch = if flags & HAS_BATCH == 0 { None } else { Some(BatchPart::read(&mut reader)?) };
        let acknowledged = if flags & HAS_ACKNOWLEDGED == 0 {
            None
        } else {
            let author = reader.author("a proposal")?;
            Some(Version { author, generation: reader.varint("a proposal")? })
        };
        reader.end("the end of a header")?;
        Ok(Self { stamp, body, dependencies, batch, acknowledged })
    }
}

impl BatchPart {
    fn read(reader: &mut Reader) -> Decoded<Self> {
        let id = reader.array("a batch")?;
        let count = reader.count(limits::MAX_BATCH_PARTS - 1, "a batch's parts")?;
        let others =
            (0..count).map(|_| reader.array("a batch's part").map(Tag)).collect::<Decoded<Vec<_>>>()?;
        Ok(Self { id, others })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::id::{CollectionId, DeviceId, Incarnation, Name, PublicKey};
    use crate::log::record::{Content, MetaRecord, Repeated, RowRecord, Used};
    use crate::resolve::merge::Operations;
    use crate::syncgroup::Rights;

    fn author() -> impl Strategy<Value = Author> {
        // Few enough that parents are sometimes the author itself, sometimes a dependency.
        (0u8..4, 0u64..2).prop_map(|(device, incarnation)| Author {
            device: DeviceId([device; 16]),
            incarnation: Incarnation(incarnation),
        })
    }

    fn version() -> impl Strategy<Value = Version> {
        (author(), 1u64..u64::MAX).prop_map(|(author, generation)| Version { author, generation })
    }

    prop_compose! {
        fn header()(
            stamp: u64,
            dependencies in btree_map(author(), (1u64..1 << 40, any::<[u8; 16]>()), 0..4),
            batch in prop::option::of((any::<[u8; 16]>(), vec(any::<[u8; 16]>(), 0..4))),
            acknowledged in prop::option::of(version()),
        ) -> Header {
            let dependency = |(author, (generation, tag))| Dependency { author, generation, tag: Tag(tag) };
            let part = |(id, others): ([u8; 16], Vec<[u8; 16]>)| BatchPart {
                id,
                others: others.into_iter().map(Tag).collect(),
            };
            Header {
                stamp: Hlc(stamp),
                body: Hash::default(),
                dependencies: dependencies.into_iter().map(dependency).collect(),
                batch: batch.map(part),
                acknowledged,
            }
        }
    }

    prop_compose! {
        fn content()(
            parents in vec(version(), 0..3),
            repeats in prop::option::of((version(), any::<u64>(), prop::option::of(any::<[u8; 16]>()))),
            pick: bool,
            content in prop_oneof![
                vec(any::<u8>(), 0..100).prop_map(|value| Content::Put(value.into())),
                Just(Content::Delete),
                any::<i64>().prop_map(|amount| Content::Operate(Operations::Counter(amount))),
            ],
        ) -> RowRecord {
            let (collection, key) = (CollectionId::default(), Bytes::new());
            let repeated = |(version, stamp, copies)| Repeated { version, stamp: Hlc(stamp), copies: copies.map(Tag) };
            RowRecord { collection, key, parents, repeats: repeats.map(repeated), pick, content }
        }
    }

    prop_compose! {
        fn rows()(
            rows in btree_map((any::<[u8; 8]>(), vec(any::<u8>(), 0..20)), content(), 0..5),
        ) -> Vec<Record> {
            let mut records = Vec::new();
            for ((collection, key), content) in rows {
                let collection = CollectionId(collection);
                records.push(Record::Row(RowRecord { collection, key: key.into(), ..content }));
            }
            records
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(header in header(), by in author(), mut records in rows(), nonce: [u8; 16]) {
            let name = Name::new("x").unwrap();
            let admit = MetaRecord::Admit {
                key: PublicKey([3; 32]),
                name: name.clone(),
                rights: Rights::Write,
                ends: None,
                request: Some(Used { invitation: nonce, request: nonce }),
            };
            records.extend([Record::Meta(admit), Record::Meta(MetaRecord::Collection { name })]);
            let written = Encoded::write(header, &by, &records);
            let read = Encoded::read(written.bytes.clone()).unwrap();
            prop_assert_eq!(&read, &written);
            prop_assert_eq!(read.records(&by).unwrap(), records);
        }

        #[test]
        fn a_changed_byte_changes_the_leaf_or_is_refused(
            header in header(),
            by in author(),
            records in rows(),
            at: prop::sample::Index,
            bit in 0u32..8,
        ) {
            let written = Encoded::write(header, &by, &records);
            let mut bytes = written.bytes.to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(read) = Encoded::read(bytes.into()) {
                prop_assert_ne!(read.leaf, written.leaf);
            }
        }
    }

    /// Nobody takes more, and reading them must not take many times the memory that they take themselves.
    #[test]
    fn no_more_records_are_read_than_anybody_takes() {
        let author = Author { device: DeviceId([1; 16]), incarnation: Incarnation(1) };
        let header = || Header {
            stamp: Hlc(1),
            body: Hash::default(),
            dependencies: Vec::new(),
            batch: None,
            acknowledged: None,
        };
        let unknown = Encoded::seal(header(), &[200u8, 0].repeat(1 << 20));
        assert_eq!(unknown.records(&author).unwrap(), [Record::Unknown]);
        let meta = || Record::Meta(MetaRecord::Collection { name: Name::new("x").unwrap() });
        let most = (limits::MAX_METADATA + limits::METADATA_RESERVE) / limits::METADATA_RECORD;
        let read = |count| {
            let encoded = Encoded::write(header(), &author, &alloc::vec![meta(); count]);
            encoded.records(&author).map(|records| records.len())
        };
        assert_eq!(read(most), Ok(most));
        assert!(read(most + 1).is_err());
    }

    #[test]
    fn rows_out_of_order_or_twice_are_refused() {
        let author = Author { device: DeviceId([1; 16]), incarnation: Incarnation(1) };
        let row = |key: &'static [u8]| {
            Record::Row(RowRecord {
                collection: CollectionId([1; 8]),
                key: Bytes::from_static(key),
                parents: Vec::new(),
                repeats: None,
                pick: false,
                content: Content::Delete,
            })
        };
        let header = || Header {
            stamp: Hlc(1),
            body: Hash::default(),
            dependencies: Vec::new(),
            batch: None,
            acknowledged: None,
        };
        for keys in [[b"b", b"a"], [b"a", b"a"]] {
            let encoded = Encoded::write(header(), &author, &keys.map(|key| row(key)));
            assert!(encoded.records(&author).is_err());
        }
        assert!(Encoded::write(header(), &author, &[row(b"a"), row(b"b")]).records(&author).is_ok());
    }
}
