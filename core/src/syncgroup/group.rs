//! What a replica keeps in memory of one syncgroup: nothing that grows with its rows.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::access::Left;
use super::knowledge::{Counted, Knowledge};
use super::metadata::Metadata;
use super::past::{Numbered, Pasts};
use super::{Invitation, JoinRefusal, Open, Rights, SyncgroupInfo, SyncgroupState};
use crate::hash::{Hash, SetDigest};
use crate::id::{Author, DeviceId, Generation, Incarnation, Name, SyncgroupId};
use crate::log::tree::Tree;
use crate::log::{Checkpoint, Log};
use crate::object::history::Place;
use crate::replica::authors::Authors;
use crate::store::key::{AuthorIx, GroupIx};
use crate::user::Certificate;
use crate::wire::codec::{DecodeError, Decoded, Reader, put_varint};

/// A request to join that has not been answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asking {
    pub(crate) invitation: Invitation,
    /// Drawn for this request: so that neither a late answer to another one counts for it, nor a late copy of
    /// it counts as another one.
    pub(crate) nonce: [u8; 16],
    /// Whose device the asker is, if it asks as one of a user's.
    pub(crate) certificate: Option<Box<Certificate>>,
}

/// A device was admitted, and waits for what there was then (S-32).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Admitted {
    /// By whom: until something has arrived, nobody else is known.
    pub(crate) by: DeviceId,
    pub(crate) vector: Vec<(Author, Generation)>,
}

/// How far this device is in a syncgroup, with what it needs to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// Asking to be admitted, by one invitation or several, the latest last: any may be granted.
    Joining(Vec<Asking>),
    /// Admitted, and not complete.
    Pending(Admitted),
    Active,
    /// Has given up on joining, but may have been admitted already: asks.
    Withdrawing(Vec<Asking>),
    /// Was admitted, and leaves as soon as this is held.
    Leaving(Admitted),
    /// Has left, and no other member is known to know it yet.
    Departing,
    Left,
    /// The latest request was refused. Earlier ones that have not been answered may have been granted, and are asked
    /// for.
    Refused(JoinRefusal, Vec<Asking>),
    /// Was removed, and knows it; or its time is over.
    Removed,
}

impl Stage {
    /// The requests that wait for an answer, the earliest first.
    pub(crate) fn requests(&self) -> &[Asking] {
        match self {
            Stage::Joining(asking) | Stage::Withdrawing(asking) | Stage::Refused(_, asking) => asking,
            _ => &[],
        }
    }

    /// By what this device was let in, if it waits for what there was then.
    pub(crate) fn admitted(&self) -> Option<&Admitted> {
        match self {
            Stage::Pending(admitted) | Stage::Leaving(admitted) => Some(admitted),
            _ => None,
        }
    }

    /// Whether requests are only there to be withdrawn.
    pub(crate) fn withdraws(&self) -> bool {
        matches!(self, Stage::Withdrawing(_))
    }

    /// Whether this device follows what happens in the syncgroup: then batches that touch it are seen whole (S-28).
    pub(crate) fn is_read(&self) -> bool {
        matches!(self, Stage::Pending(_) | Stage::Active)
    }

    /// Whether it does, or what comes next may have it do so: the admission that it asked for, or one that lets it in
    /// again after a removal.
    pub(crate) fn may_be_read(&self) -> bool {
        self.is_read() || *self == Stage::Removed || self.may_be_admitted()
    }

    /// Whether this device may be a member already, and not know. No refusal is the last word: it may have been admitted
    /// before, or since by a copy of its request. Whoever pauses a database answers that nothing is valid (S-37), a clock
    /// that said that the invitation has expired may have been set right, and an answer may be lost, or overtaken.
    pub(crate) fn may_be_admitted(&self) -> bool {
        !self.requests().is_empty() || matches!(self, Stage::Refused(..))
    }

    /// What it is called. Whether this device is no member only because its time is over is said by what is known of the
    /// syncgroup, and by the clock.
    pub(crate) fn state(&self, is_expired: bool) -> SyncgroupState {
        match self {
            Stage::Joining(_) => SyncgroupState::Joining,
            Stage::Pending(_) => SyncgroupState::Pending,
            Stage::Active => SyncgroupState::Active,
            Stage::Withdrawing(_) | Stage::Leaving(_) => SyncgroupState::Leaving,
            Stage::Departing | Stage::Left => SyncgroupState::Left,
            Stage::Refused(refusal, _) => SyncgroupState::Refused(*refusal),
            Stage::Removed if is_expired => SyncgroupState::Expired,
            Stage::Removed => SyncgroupState::Removed,
        }
    }
}

/// What is stored of a syncgroup under its local number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupRecord {
    pub(crate) id: SyncgroupId,
    pub(crate) database: Name,
    pub(crate) stage: Stage,
}

/// A syncgroup.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) ix: GroupIx,
    pub(crate) record: GroupRecord,
    /// Its database is paused: as far as others can tell, it is not here (S-37).
    pub(crate) paused: bool,
    /// Boxed, as a map has room for eleven of whatever it holds.
    pub(crate) logs: BTreeMap<AuthorIx, Box<Log>>,
    pub(crate) tip: Tip,
    pub(crate) metadata: Metadata,
    pub(crate) pasts: Pasts,
    pub(crate) knowledge: Knowledge,
}

/// What changes with every generation whose rows are shown, and is stored with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The digest of what readers see (S-12).
    pub(crate) visible: SetDigest,
    /// The generations shown that no other one shown has in its past: what the next one depends on.
    pub(crate) frontier: BTreeMap<AuthorIx, Generation>,
    /// Of logs that are forked, how far they reach.
    pub(crate) forked: BTreeMap<AuthorIx, Reach>,
}

/// How far a forked log reaches: as far as its branches have in common, or as others build on the one that is here. What
/// lies beyond is held, and counts neither here nor for anybody else: it is not told of, and nothing builds on it (S-22).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) last: Generation,
    /// What is held of that.
    pub(crate) tree: Tree,
}

impl Tip {
    /// Whether something lies beyond the reach of a forked log.
    pub(crate) fn is_beyond(&self, (author, generation): Place) -> bool {
        self.forked.get(&author).is_some_and(|reach| generation > reach.last)
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(40);
        out.extend_from_slice(&self.visible.to_bytes());
        put_varint(&mut out, self.frontier.len() as u64);
        for (author, generation) in &self.frontier {
            put_varint(&mut out, u64::from(*author));
            put_varint(&mut out, *generation);
        }
        put_varint(&mut out, self.forked.len() as u64);
        for (author, Reach { last, tree }) in &self.forked {
            put_varint(&mut out, u64::from(*author));
            put_varint(&mut out, *last);
            put_varint(&mut out, tree.size());
            tree.peaks().iter().for_each(|peak| out.extend_from_slice(&peak.0));
        }
        out.into()
    }

    pub(crate) fn from_bytes(bytes: Bytes) -> Decoded<Self> {
        const WHAT: &str = "a syncgroup's tip";
        let mut reader = Reader::new(bytes);
        let visible = SetDigest::from_bytes(&reader.array(WHAT)?);
        let wrong = DecodeError { what: WHAT };
        let author = |reader: &mut Reader| AuthorIx::try_from(reader.varint(WHAT)?).map_err(|_| wrong);
        let (mut frontier, mut forked) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..reader.count(usize::MAX, WHAT)? {
            let author = author(&mut reader)?;
            frontier.insert(author, reader.varint(WHAT)?);
        }
        for _ in 0..reader.count(usize::MAX, WHAT)? {
            let (author, last, size) = (author(&mut reader)?, reader.varint(WHAT)?, reader.varint(WHAT)?);
            let peaks = (0..size.count_ones()).map(|_| reader.array(WHAT).map(Hash));
            let peaks = peaks.collect::<Decoded<Vec<_>>>()?;
            let tree = Tree::of(size, &peaks).ok_or(wrong)?;
            forked.insert(author, Reach { last, tree });
        }
        reader.end(WHAT)?;
        Ok(Self { visible, frontier, forked })
    }
}

impl Group {
    pub(crate) fn new(ix: GroupIx, record: GroupRecord) -> Self {
        Self {
            ix,
            record,
            paused: false,
            logs: BTreeMap::new(),
            tip: Tip::default(),
            metadata: Metadata::default(),
            pasts: Pasts::default(),
            knowledge: Knowledge::default(),
        }
    }

    /// The sets of metadata that generations held have in their past.
    pub(crate) fn numbered(&self) -> Numbered<'_> {
        Numbered { held: &self.pasts, planned: &[] }
    }

    /// All that is held, as one hash.
    pub(crate) fn known(&self, authors: &Authors) -> SetDigest {
        self.knowledge.digest(&self.counted(), authors)
    }

    /// Brings that up to date for those who compare it.
    pub(crate) fn settle_knowledge(&mut self, authors: &Authors) {
        let mut knowledge = core::mem::take(&mut self.knowledge);
        knowledge.settle(&self.counted(), authors);
        self.knowledge = knowledge;
    }

    /// What others are told of: all logs, as far as they count.
    fn counted(&self) -> Counted<'_> {
        Counted { logs: &self.logs, forked: &self.tip.forked }
    }

    /// What counts of an author's log, as a tree; `None` if nothing is held.
    pub(crate) fn counted_of(&self, author: AuthorIx) -> Option<&Tree> {
        self.counted().tree(author)
    }

    /// The last generation held of an author that counts.
    pub(crate) fn held(&self, author: AuthorIx) -> Generation {
        self.counted_of(author).map_or(0, Tree::size)
    }

    /// What is held of a device's own logs.
    pub(crate) fn written_by(&self, device: &DeviceId, authors: &Authors) -> Vec<(Incarnation, Generation)> {
        let named = self.logs.keys().filter_map(|ix| Some((authors.get(*ix)?, self.held(*ix))));
        let own = named.filter(|(author, _)| author.device == *device);
        own.map(|(author, held)| (author.incarnation, held)).collect()
    }

    /// A device's own word for its logs, as far as it is here.
    pub(crate) fn signed_by(&self, device: &DeviceId, authors: &Authors) -> Vec<(Incarnation, Checkpoint)> {
        let signed = self.logs.iter().filter_map(|(ix, log)| {
            let author = authors.get(*ix).filter(|author| author.device == *device)?;
            Some((author.incarnation, log.proof.as_ref()?.checkpoint.clone()))
        });
        let mut signed: Vec<_> = signed.collect();
        signed.sort_unstable_by_key(|(incarnation, _)| *incarnation);
        signed
    }

    /// How far this device is.
    pub(crate) fn state(&self, own: &DeviceId) -> SyncgroupState {
        self.record.stage.state(self.metadata.access.is_expired(own))
    }

    pub(crate) fn info(&self, device: &DeviceId, waiting: u64) -> SyncgroupInfo {
        let mut collections: Vec<Name> = self.metadata.collections().values().cloned().collect();
        collections.sort();
        let rights: Option<Rights> = self.metadata.access.rights(device);
        let ends = self.metadata.access.present(device).and_then(Left::end);
        let open = self.metadata.access.open_to_everybody();
        SyncgroupInfo {
            id: self.record.id,
            name: self.metadata.name().cloned(),
            database: self.record.database.clone(),
            state: self.state(device),
            paused: self.paused,
            rights,
            ends,
            open: open.map(|left| Open { rights: left.rights, ends: left.end() }),
            spec: self.metadata.spec().spec(),
            spec_version: self.metadata.spec().version(),
            publications: self.publications(),
            collections,
            members: self.metadata.access.joined().count(),
            generations: self.logs.keys().map(|ix| self.held(*ix)).sum(),
            waiting,
        }
    }
}
