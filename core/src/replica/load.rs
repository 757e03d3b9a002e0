//! Boot: the replica's memory from its store. What it costs grows with syncgroups, authors and metadata, not
//! with rows or history.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::authors::Authors;
use super::cited::Citations;
use super::ends::Ends;
use super::incomplete::SplitPart;
use super::paused::Paused;
use super::stored::{Kept, Lives, LogNodes, StateRecord, Stored, corrupt};
use super::waiting::{Part, Slot, Waiting, Waits, causes};
use super::{Merges, Replica, registered};
use crate::action::Notice;
use crate::config::Config;
use crate::crypto::Keys;
use crate::id::{Author, CommitSeq, DeviceId, Generation};
use crate::keys::{KeyChain, Life};
use crate::log::record::{Record, Until};
use crate::log::tree::Tree;
use crate::log::{Log, Proof};
use crate::store::key::{self, AuthorIx, GroupIx, meta};
use crate::store::{Commit, Fault, Scan, Table, View, Write};
use crate::syncgroup::access::Source;
use crate::syncgroup::group::{Group, GroupRecord, Tip};
use crate::syncgroup::judge;
use crate::syncgroup::past::{Numbered, Past};
use crate::time::{Hlc, Mono, Wall};
use crate::wire::codec::{DecodeError, Decoded, Reader};

/// An entry of a table.
type Entry = (Bytes, Bytes);

pub(crate) fn entries(view: &dyn View, scan: &Scan<'_>) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::new();
    view.scan(scan, &mut |key, value| {
        entries.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        ControlFlow::Continue(())
    })?;
    Ok(entries)
}

/// All entries of a syncgroup.
fn entries_of(view: &dyn View, table: Table, group: GroupIx) -> Result<Vec<Entry>, Fault> {
    let end = group.checked_add(1).map(key::number);
    entries(view, &Scan::range(table, &key::number(group), end.as_deref()))
}

impl Replica {
    /// Loads the replica, and returns its first commit, and what is to be told. Every boot makes one: once it is
    /// durable, so is all that was found. `incarnation` is fresh, and used where the store is new or may have been set back (S-2).
    pub(crate) fn load(
        keys: Keys,
        config: &Config,
        continues: bool,
        life: Life,
        view: &dyn View,
    ) -> Result<(Self, Commit, Vec<Notice>), BootError> {
        let found = view.get(Table::Meta, meta::DEVICE)?;
        let is_new = found.is_none();
        if let Some(device) = found {
            let wrong = DecodeError { what: "the device" };
            let store = DeviceId(device.as_ref().try_into().map_err(|_| corrupt(Table::Meta, wrong))?);
            if store != keys.device {
                return Err(BootError::OtherDevice { store, key: keys.device });
            }
        }
        // With another key the device goes on as another author: one log is of one key (S-1).
        let is_rolled_over = changes_key(&keys.chain, view)?;
        let state = StateRecord::get(view)?;
        if let Some(state) = state.as_ref().filter(|state| state.format > StateRecord::FORMAT) {
            return Err(BootError::NewerFormat { found: state.format, known: StateRecord::FORMAT });
        }
        if let Some(state) = state.as_ref().filter(|state| state.format < StateRecord::FORMAT) {
            return Err(BootError::OlderFormat { found: state.format, known: StateRecord::FORMAT });
        }
        let device = keys.device;
        let mut replica = Self {
            keys,
            limits: config.limits.clone(),
            name: config.name.clone(),
            merges: Merges(config.merges.clone()),
            life: state.as_ref().map_or(life, |state| state.life),
            found: BTreeMap::new(),
            authors: load_authors(view)?,
            groups: BTreeMap::new(),
            by_id: BTreeMap::new(),
            paused: Paused::load(view)?,
            waiting: Waiting::default(),
            parts: config.timing.parts,
            cited: Citations::default(),
            ends: Ends::default(),
            wanted: BTreeMap::new(),
            stamp: Hlc::default(),
            pruned: CommitSeq(0),
            seq: state.as_ref().map_or(CommitSeq(0), |state| state.seq),
        };
        replica.load_groups(view)?;
        replica.load_waiting(view)?;
        if replica.keys.chain.rollovers() > 0 {
            let groups = replica.groups.values();
            let found = groups.map(|group| Ok((group.ix, replica.written_in(group, view)?)));
            replica.found = found.collect::<Result<_, Fault>>()?;
        }
        if is_new || is_rolled_over || !continues {
            replica.life = life;
        }
        replica.seq = CommitSeq(replica.seq.0 + 1);
        let state = StateRecord::new(replica.seq, replica.life).to_write();
        replica.pruned = CommitSeq(replica.seq.0.saturating_sub(replica.limits.watch_log));
        let mut writes = alloc::vec![Write::put(Table::Meta, meta::DEVICE, &device.0), state];
        writes.extend((is_new || is_rolled_over).then(|| keys_to_write(&replica.keys.chain)));
        writes.push(Lives::get(view)?.begin(life.incarnation.0, replica.seq));
        writes.extend(Kept::get(view)?.keep(replica.limits.watch_log, replica.seq, view)?);
        let (more, notices) = registered::compare(&replica, view)?;
        writes.extend(more);
        let commit = Commit { seq: replica.seq, writes };
        Ok((replica, commit, notices))
    }

    /// What of this device's own logs stays in a syncgroup, by all that is known. Of a log whose end it has said already that
    /// says it: what is held of it may be another branch, by whoever else has the key.
    fn written_in(&self, group: &Group, view: &dyn View) -> Result<Vec<Until>, Fault> {
        let get = |table, key: &Bytes| view.get(table, key);
        let logs = group.logs.iter().filter_map(|(ix, log)| Some((*ix, log, self.authors.get(*ix)?)));
        let access = &group.metadata.access;
        let is_unsaid = |author: &Author| access.stays(author).next().is_none();
        let earlier = |author: &Author| author.incarnation.rollovers() < self.keys.chain.rollovers();
        let own = logs
            .filter(|(.., author)| author.device == self.keys.device && earlier(author) && is_unsaid(author));
        let left = own.map(|(ix, log, author)| {
            // What nobody else has signed was written here, and is said to stay once that can be said.
            let end = access.end_of(&author).filter(|_| log.proof.is_some());
            (ix, author, end.map_or(log.held(), |end| log.held().min(end)))
        });
        let stays = left.filter(|(.., last)| *last > 0).map(|(ix, author, last)| {
            let nodes = LogNodes { get: &get, group: group.ix, author: ix };
            let tag = Tree::load(last, &nodes)?.root().tag();
            Ok(Until { incarnation: author.incarnation, last, tag })
        });
        stays.collect()
    }

    fn load_groups(&mut self, view: &dyn View) -> Result<(), Fault> {
        for (number, bytes) in entries(view, &Scan::all(Table::Syncgroup))? {
            let wrong = || corrupt(Table::Syncgroup, DecodeError { what: "a syncgroup" });
            let (ix, _) = key::split_number(&number).ok_or_else(wrong)?;
            let (record, _) = postcard::take_from_bytes::<GroupRecord>(&bytes).map_err(|_| wrong())?;
            let mut group = self.load_group(ix, record, view)?;
            group.paused = self.paused.contains(&group.record.database);
            // Elsewhere nothing is written: see [`Plan::settle_stamp`]. But one author's stamps never go backwards
            // (S-43).
            let own = self.authors.find(&self.author());
            let is_read = group.record.stage.is_read();
            let logs = group.logs.iter().filter(|(ix, _)| is_read || Some(**ix) == own);
            let stamps = logs.map(|(_, log)| log.stamp);
            self.stamp = stamps.max().unwrap_or_default().max(self.stamp);
            self.by_id.insert(group.record.id, ix);
            self.groups.insert(ix, Box::new(group));
            self.note_ends(ix);
        }
        Ok(())
    }

    fn load_group(&self, ix: GroupIx, record: GroupRecord, view: &dyn View) -> Result<Group, Fault> {
        let mut group = Group::new(ix, record);
        if let Some(bytes) = view.get(Table::Tip, &key::number(ix))? {
            group.tip = Tip::from_bytes(bytes).map_err(|error| corrupt(Table::Tip, error))?;
        }
        for (_, bytes) in entries_of(view, Table::Past, ix)? {
            group.pasts.push(read_past(bytes).map_err(|error| corrupt(Table::Past, error))?);
        }
        for (pair, proof) in entries_of(view, Table::Checkpoint, ix)? {
            let wrong = || corrupt(Table::Checkpoint, DecodeError { what: "a checkpoint" });
            let (_, rest) = key::split_number(&pair).ok_or_else(wrong)?;
            let (author_ix, _) = key::split_number(rest).ok_or_else(wrong)?;
            self.authors.get(author_ix).ok_or_else(wrong)?;
            let mut log = load_log(view, ix, author_ix)?;
            if !proof.is_empty() {
                log.proof = Some(postcard::from_bytes::<Proof>(&proof).map_err(|_| wrong())?);
            }
            group.knowledge.grow(author_ix);
            group.logs.insert(author_ix, Box::new(log));
        }
        for (log_key, _) in entries_of(view, Table::Metadata, ix)? {
            self.load_metadata(&mut group, &log_key, view)?;
        }
        group.metadata.access.judge(Numbered { held: &group.pasts, planned: &[] });
        Ok(group)
    }

    fn load_waiting(&mut self, view: &dyn View) -> Result<(), Fault> {
        let wrong = || corrupt(Table::Waiting, DecodeError { what: "what waits" });
        let mut since: BTreeMap<Slot, Wall> = BTreeMap::new();
        for (slot, wall) in entries(view, &Scan::all(Table::Waiting))? {
            let (group, rest) = key::split_number(&slot).ok_or_else(wrong)?;
            let (author, rest) = key::split_number(rest).ok_or_else(wrong)?;
            let generation = Generation::from_be_bytes(rest.try_into().map_err(|_| wrong())?);
            let wall = Wall(u64::from_le_bytes(wall.as_ref().try_into().map_err(|_| wrong())?));
            since.insert((group, author, generation), wall);
        }
        let mut waiting = Waiting::new(SplitPart::load(view)?);
        for (slot, wall) in &since {
            let (group, ix, generation) = *slot;
            let author = self.authors.get(ix).ok_or_else(wrong)?;
            let encoded =
                Stored::get(&|table, key| view.get(table, key), group, ix, generation)?.encoded()?;
            let records = encoded.records(&author).map_err(|error| corrupt(Table::Log, error))?;
            let named = causes(&encoded, &records);
            let named = named.filter_map(|cause| Some((self.authors.find(&cause.author)?, cause.generation)));
            let mut causes: Vec<_> = named.filter(|(ix, n)| since.contains_key(&(group, *ix, *n))).collect();
            causes.sort_unstable();
            causes.dedup();
            // As when it came: see `Plan::hold`.
            let read = self.groups.values().filter(|group| group.record.stage.is_read());
            let may_be_read = self.groups.get(&group).is_some_and(|it| it.record.stage.may_be_read());
            let batch = encoded.header.batch.as_ref().filter(|_| may_be_read);
            let part = batch.map(|batch| Part::find(batch, group, read.map(|it| (it.ix, &it.record.id))));
            let (stamp, bytes) = (encoded.header.stamp, encoded.bytes.len());
            waiting.load(*slot, Waits { stamp, bytes, part, causes, since: *wall, due: Mono(0) });
        }
        self.waiting = waiting;
        Ok(())
    }

    fn load_metadata(&self, group: &mut Group, log_key: &Bytes, view: &dyn View) -> Result<(), Fault> {
        let wrong = || corrupt(Table::Metadata, DecodeError { what: "the place of metadata" });
        let (_, rest) = key::split_number(log_key).ok_or_else(wrong)?;
        let (ix, rest) = key::split_number(rest).ok_or_else(wrong)?;
        let generation = Generation::from_be_bytes(rest.try_into().map_err(|_| wrong())?);
        let author = self.authors.get(ix).ok_or_else(wrong)?;
        let get = |table, key: &Bytes| view.get(table, key);
        let stored = Stored::get(&get, group.ix, ix, generation)?;
        let encoded = stored.encoded()?;
        let stamp = encoded.header.stamp;
        let is_void = view.get(Table::Void, log_key)?.is_some();
        let records = encoded.records(&author).map_err(|error| corrupt(Table::Log, error))?;
        let (place, past, beside) = ((ix, generation), stored.past, judge::needed_beside(&records));
        let from = Source { place, author, stamp, past, beside };
        for record in records {
            if let Record::Meta(meta) = record {
                group.metadata.reload(&self.keys.device, from, &meta, is_void);
            }
        }
        Ok(())
    }
}

/// Whether a device has taken another key since its store was last written.
fn changes_key(chain: &KeyChain, view: &dyn View) -> Result<bool, BootError> {
    let Some(bytes) = view.get(Table::Meta, meta::KEYS)? else { return Ok(chain.rollovers() > 0) };
    let wrong = || corrupt(Table::Meta, DecodeError { what: "the device's keys" });
    let known = KeyChain::from_bytes(&bytes).ok_or_else(wrong)?;
    if chain.starts_with(&known) {
        Ok(chain.is_beyond(&known))
    } else {
        let [key, store] = [chain.rollovers(), known.rollovers()];
        Err(if known.starts_with(chain) { BootError::FormerKey { key, store } } else { BootError::OtherKey })
    }
}

/// Keeps the keys of the device.
pub(super) fn keys_to_write(chain: &KeyChain) -> Write {
    Write::put(Table::Meta, meta::KEYS, &chain.to_bytes())
}

pub(crate) fn load_authors(view: &dyn View) -> Result<Authors, Fault> {
    let mut authors = Authors::default();
    for (number, bytes) in entries(view, &Scan::all(Table::Author))? {
        let author = Reader::new(bytes).author("an author").map_err(|error| corrupt(Table::Author, error))?;
        if key::split_number(&number).map(|(ix, _)| ix as usize) != Some(authors.len()) {
            return Err(corrupt(Table::Author, DecodeError { what: "the numbers of authors" }));
        }
        authors.push(author);
    }
    Ok(authors)
}

fn read_past(bytes: Bytes) -> Decoded<Past> {
    let mut past = Past::default();
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let author = reader.varint("a past")? as AuthorIx;
        past.add(author, reader.varint("a past")?);
    }
    Ok(past)
}

/// An author's log from its last generation and the nodes of its tree.
fn load_log(view: &dyn View, group: GroupIx, author: AuthorIx) -> Result<Log, Fault> {
    let from = key::log(group, author, 0);
    let to = key::log(group, author, Generation::MAX);
    let scan = Scan::range(Table::Log, &from, Some(&to)).reversed().limit(1);
    let wrong = || corrupt(Table::Log, DecodeError { what: "the end of a log" });
    let (last, bytes) = entries(view, &scan)?.pop().ok_or_else(wrong)?;
    let held = Generation::from_be_bytes(*last.last_chunk().ok_or_else(wrong)?);
    let stored = Stored::from_bytes(bytes, held)?;
    let get = |table, key: &Bytes| view.get(table, key);
    let tree = Tree::load(held, &LogNodes { get: &get, group, author })?;
    Ok(Log { tree, stamp: stored.encoded()?.header.stamp, past: stored.past, proof: None })
}

/// Why a replica could not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// The store failed, or is damaged.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The store belongs to another key.
    #[error("the store belongs to device {store}, the key to device {key}: give the key that made the store")]
    OtherDevice {
        /// Whose store it is.
        store: DeviceId,
        /// Whose key was given.
        key: DeviceId,
    },
    /// The chain of keys does not hold, or is not that of the secret key.
    #[error(
        "the secret key and the device's chain of keys do not belong together: restore both from one copy"
    )]
    BrokenChain,
    /// The device has taken another key since the one that was given.
    #[error(
        "the key that was given is number {key} of the device, and it has number {store} by now (the first is 0): give \
         the key that it took last"
    )]
    FormerKey {
        /// How many keys the device had had before the one that was given.
        key: usize,
        /// How many it had had when the store was last written.
        store: usize,
    },
    /// The device has taken another key than the one that was given.
    #[error(
        "the store belongs to another key of this device, which took the place of the same one: give that key"
    )]
    OtherKey,
    /// The store was written by a newer version.
    #[error("the store has format {found}, this version reads format {known}: use a newer version")]
    NewerFormat {
        /// The store's format.
        found: u32,
        /// The newest that this version reads.
        known: u32,
    },
    /// The store was written by a version from before the first release, which said other things of members.
    #[error("the store has format {found}, this version reads format {known}: use the version that made it")]
    OlderFormat {
        /// The store's format.
        found: u32,
        /// The one that this version reads.
        known: u32,
    },
}
