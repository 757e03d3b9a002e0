//! A change of the replica that is being planned: what it will write, and what memory will look like then.
//!
//! ```text
//!   &Replica + &View ──► Plan ──(reads, decides, may be dropped)──► Effects ──► Replica::apply ──► Commit
//! ```
//!
//! Whoever writes a generation, and whoever receives one, comes through [`Plan::append`].

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::changes::ChangeEntry;
use super::paused::Paused;
use super::release::Moves;
use super::rows::ReadRow;
use super::stored::{LogNodes, StateRecord, Stored, corrupt};
use super::{Replica, Stop};
use crate::action::{Notice, Refusal, RowChange};
use crate::hash::{Hash, Tag};
use crate::id::{Author, CollectionId, CommitSeq, Generation, Incarnation, Version};
use crate::limits;
use crate::log::generation::{BatchPart, Dependency, Encoded, Header};
use crate::log::record::Record;
use crate::log::tree::Tree;
use crate::log::{Log, Proof};
use crate::object::RowState;
use crate::object::history::Place;
use crate::store::key::{self, AuthorIx, GroupIx, meta};
use crate::store::staged::Staged;
use crate::store::{Commit, Fault, Table, View, Write};
use crate::syncgroup::group::{Group, GroupRecord, Tip};
use crate::syncgroup::metadata::Metadata;
use crate::syncgroup::past::{NO_PAST, Numbered, Past};
use crate::syncgroup::{PastIx, judge};
use crate::time::{Hlc, Now, Wall};
use crate::wire::codec::{put_author, put_varint};

/// Old changes of rows that one commit drops, at most.
const MOST_PRUNED: u64 = 64;

/// Where a generation that is applied comes from.
pub(crate) enum Origin {
    /// This device writes it, and has read the rows that it changes; those that it has not are read then.
    Own(Vec<ReadRow>),
    /// It was received now. Its rows may have to wait: see [`Plan::release`].
    Received(Now),
}

/// A change being planned.
pub(crate) struct Plan<'a> {
    pub(crate) replica: &'a Replica,
    pub(super) staged: Staged<'a>,
    authors: Vec<Author>,
    drafts: BTreeMap<GroupIx, Draft>,
    pub(super) changes: Vec<RowChange>,
    /// The same, as it is kept for those who watch.
    pub(super) news: Vec<ChangeEntry>,
    /// Syncgroups of which rows have split, and rows that have come together.
    pub(super) split: BTreeSet<(GroupIx, Option<Bytes>)>,
    pub(super) moves: Moves,
    stamp: Hlc,
    pruned: CommitSeq,
    incarnation: Option<Incarnation>,
    paused: Option<Paused>,
    notices: Vec<Notice>,
}

/// What one syncgroup will look like. What is absent stays as it is.
#[derive(Debug, Default)]
pub(super) struct Draft {
    created: Option<Box<Group>>,
    record: Option<GroupRecord>,
    logs: BTreeMap<AuthorIx, Box<Log>>,
    pub(super) tip: Option<Tip>,
    metadata: Option<Metadata>,
    pasts: Vec<Past>,
}

/// A planned change, free of what it was planned on.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    writes: Vec<Write>,
    authors: Vec<Author>,
    drafts: BTreeMap<GroupIx, Draft>,
    pub(crate) changes: Vec<RowChange>,
    pub(crate) split: BTreeSet<(GroupIx, Option<Bytes>)>,
    moves: Moves,
    stamp: Hlc,
    pruned: CommitSeq,
    incarnation: Option<Incarnation>,
    paused: Option<Paused>,
    pub(crate) notices: Vec<Notice>,
}

impl Effects {
    /// The syncgroups that change, and of each the authors of which it gains generations.
    pub(crate) fn gains(&self) -> impl Iterator<Item = (GroupIx, impl Iterator<Item = AuthorIx>)> {
        self.drafts.iter().map(|(ix, draft)| (*ix, draft.logs.keys().copied()))
    }

    /// Whether it pauses databases, or resumes them.
    pub(crate) fn changes_pauses(&self) -> bool {
        self.paused.is_some()
    }

    /// Whether it changes who shares what with whom.
    pub(crate) fn changes_sharing(&self) -> bool {
        let changes = |draft: &Draft| {
            let is_known_elsewhere = !draft.pasts.is_empty();
            draft.created.is_some()
                || draft.record.is_some()
                || draft.metadata.is_some()
                || is_known_elsewhere
        };
        self.changes_pauses() || self.drafts.values().any(changes)
    }
}

impl<'a> Plan<'a> {
    pub(crate) fn new(replica: &'a Replica, view: &'a dyn View) -> Self {
        Self {
            replica,
            staged: Staged::new(view),
            authors: Vec::new(),
            drafts: BTreeMap::new(),
            changes: Vec::new(),
            news: Vec::new(),
            split: BTreeSet::new(),
            moves: Moves::default(),
            stamp: replica.stamp,
            pruned: replica.pruned,
            incarnation: None,
            paused: None,
            notices: Vec::new(),
        }
    }

    // ---- what it looks like so far ----

    pub(crate) fn view(&self) -> &'a dyn View {
        self.staged.view()
    }

    pub(crate) fn author_ix(&self, author: &Author) -> Option<AuthorIx> {
        self.replica.authors.find(author).or_else(|| {
            let at = self.authors.iter().position(|known| known == author)?;
            Some((self.replica.authors.len() + at) as AuthorIx)
        })
    }

    pub(crate) fn author(&self, ix: AuthorIx) -> Author {
        const NOBODY: Author = Author { device: crate::id::DeviceId([0; 16]), incarnation: Incarnation(0) };
        let new = || self.authors.get((ix as usize).checked_sub(self.replica.authors.len())?).copied();
        self.replica.authors.get(ix).or_else(new).unwrap_or(NOBODY)
    }

    /// The local number of an author, a new one if need be.
    pub(crate) fn enter(&mut self, author: Author) -> AuthorIx {
        self.author_ix(&author).unwrap_or_else(|| {
            let ix = (self.replica.authors.len() + self.authors.len()) as AuthorIx;
            let mut bytes = Vec::with_capacity(24);
            put_author(&mut bytes, &author);
            self.staged.put(Table::Author, key::number(ix), bytes.into());
            self.authors.push(author);
            ix
        })
    }

    pub(super) fn group(&self, ix: GroupIx) -> Option<&Group> {
        let created = self.drafts.get(&ix).and_then(|draft| draft.created.as_ref());
        created.or_else(|| self.replica.groups.get(&ix)).map(|group| &**group)
    }

    /// All syncgroups, new ones too.
    pub(super) fn groups(&self) -> impl Iterator<Item = (GroupIx, &GroupRecord)> {
        let created =
            self.drafts.iter().filter_map(|(ix, draft)| Some((*ix, &draft.created.as_ref()?.record)));
        let known = self.replica.groups.keys().filter_map(|ix| Some((*ix, self.record(*ix)?)));
        known.chain(created)
    }

    /// The syncgroups that change.
    pub(crate) fn touched(&self) -> impl Iterator<Item = GroupIx> {
        self.drafts.keys().copied()
    }

    pub(super) fn draft(&mut self, ix: GroupIx) -> &mut Draft {
        self.drafts.entry(ix).or_default()
    }

    pub(crate) fn record(&self, ix: GroupIx) -> Option<&GroupRecord> {
        let changed = self.drafts.get(&ix).and_then(|draft| draft.record.as_ref());
        changed.or_else(|| Some(&self.group(ix)?.record))
    }

    pub(crate) fn log(&self, group: GroupIx, author: AuthorIx) -> Option<&Log> {
        let changed = self.drafts.get(&group).and_then(|draft| draft.logs.get(&author));
        changed.or_else(|| self.group(group)?.logs.get(&author)).map(|log| &**log)
    }

    /// The last generation held of an author.
    pub(crate) fn held(&self, group: GroupIx, author: &Author) -> Generation {
        self.author_ix(author).and_then(|ix| self.log(group, ix)).map_or(0, Log::held)
    }

    /// How many authors have a log in a syncgroup.
    pub(crate) fn log_count(&self, ix: GroupIx) -> usize {
        let known = self.group(ix).map(|group| &group.logs);
        let is_new = |author: &&AuthorIx| !known.is_some_and(|logs| logs.contains_key(author));
        let new = self.drafts.get(&ix).map_or(0, |draft| draft.logs.keys().filter(is_new).count());
        known.map_or(0, BTreeMap::len) + new
    }

    pub(crate) fn metadata(&self, ix: GroupIx) -> Option<&Metadata> {
        let changed = self.drafts.get(&ix).and_then(|draft| draft.metadata.as_ref());
        changed.or_else(|| Some(&self.group(ix)?.metadata))
    }

    /// The authors whose logs grow.
    pub(super) fn planned_logs(&self, ix: GroupIx) -> impl Iterator<Item = AuthorIx> {
        self.drafts.get(&ix).into_iter().flat_map(|draft| draft.logs.keys().copied())
    }

    pub(super) fn tip(&self, ix: GroupIx) -> Tip {
        let changed = self.drafts.get(&ix).and_then(|draft| draft.tip.as_ref());
        changed.or_else(|| Some(&self.group(ix)?.tip)).cloned().unwrap_or_default()
    }

    /// The numbered sets of metadata of a syncgroup.
    pub(crate) fn pasts(&self, group: GroupIx) -> Option<Numbered<'_>> {
        let planned = self.drafts.get(&group).map_or(&[][..], |draft| &draft.pasts);
        Some(Numbered { held: &self.group(group)?.pasts, planned })
    }

    pub(super) fn past(&self, group: GroupIx, ix: PastIx) -> Past {
        self.pasts(group).map(|pasts| pasts.get(ix).clone()).unwrap_or_default()
    }

    /// The syncgroup's metadata, to be changed. It is copied once for each plan, and only if it changes.
    pub(super) fn metadata_mut(&mut self, ix: GroupIx) -> &mut Metadata {
        let now = self.drafts.get(&ix).is_some_and(|draft| draft.metadata.is_some());
        let copy = if now { None } else { self.group(ix).map(|group| group.metadata.clone()) };
        self.draft(ix).metadata.get_or_insert_with(|| copy.unwrap_or_default())
    }

    /// The heads of a row.
    pub(crate) fn row(&self, row_key: &Bytes) -> Result<RowState, Fault> {
        match self.staged.get(Table::Row, row_key)? {
            None => Ok(RowState::default()),
            Some(bytes) => RowState::from_bytes(bytes).map_err(|error| corrupt(Table::Row, error)),
        }
    }

    /// A generation that is held.
    pub(crate) fn stored(
        &self,
        group: GroupIx,
        author: AuthorIx,
        generation: Generation,
    ) -> Result<Stored, Fault> {
        Stored::get(&|table, key| self.staged.get(table, key), group, author, generation)
    }

    // ---- what a generation builds on ----

    /// The metadata in the past of a generation that follows the author's last one and depends on these.
    pub(crate) fn past_of(
        &self,
        group: GroupIx,
        author: &Author,
        dependencies: &[Dependency],
    ) -> Result<Past, Fault> {
        let mut numbers = Vec::with_capacity(dependencies.len() + 1);
        let log = self.author_ix(author).and_then(|ix| self.log(group, ix));
        numbers.push(log.map_or(NO_PAST, |log| log.past));
        for dependency in dependencies {
            let Some(ix) = self.author_ix(&dependency.author) else { continue };
            let number = match self.log(group, ix) {
                Some(log) if log.held() == dependency.generation => log.past,
                _ => self.stored(group, ix, dependency.generation)?.past,
            };
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        let mut numbers = numbers.into_iter();
        let mut past = numbers.next().map(|ix| self.past(group, ix)).unwrap_or_default();
        numbers.for_each(|ix| past.join(&self.past(group, ix)));
        Ok(past)
    }

    /// The tag of an author's tree at a generation that is held.
    pub(crate) fn tag(&self, group: GroupIx, author: AuthorIx, generation: Generation) -> Result<Tag, Fault> {
        match self.log(group, author) {
            Some(log) if log.held() == generation => Ok(log.tree.root().tag()),
            _ => {
                let get = |table, key: &Bytes| self.staged.get(table, key);
                let nodes = LogNodes { get: &get, group, author };
                Ok(Tree::load(generation, &nodes)?.root().tag())
            }
        }
    }

    /// The stamp of a generation that is held.
    pub(crate) fn stamp(
        &self,
        group: GroupIx,
        author: AuthorIx,
        generation: Generation,
    ) -> Result<Hlc, Fault> {
        match self.log(group, author) {
            Some(log) if log.held() == generation => Ok(log.stamp),
            _ => Ok(self.stored(group, author, generation)?.encoded()?.header.stamp),
        }
    }

    // ---- what changes ----

    /// Adds a syncgroup, or changes what is noted of it.
    pub(crate) fn set_record(&mut self, ix: GroupIx, record: GroupRecord) {
        let bytes = postcard::to_allocvec(&record).unwrap_or_default();
        self.staged.put(Table::Syncgroup, key::number(ix), bytes.into());
        if self.group(ix).is_none() {
            self.draft(ix).created = Some(Box::new(Group::new(ix, record)));
        } else {
            self.draft(ix).record = Some(record);
        }
    }

    /// Keeps what proves an author's log.
    pub(crate) fn set_proof(&mut self, group: GroupIx, author: AuthorIx, proof: Proof) {
        let bytes = postcard::to_allocvec(&proof).unwrap_or_default();
        self.staged.put(Table::Checkpoint, key::pair(group, author), bytes.into());
        if let Some(mut log) = self.log(group, author).cloned() {
            log.proof = Some(proof);
            self.draft(group).logs.insert(author, Box::new(log));
        }
    }

    /// Keeps where a device was reached.
    pub(crate) fn put_peer(&mut self, device: &crate::id::DeviceId, addresses: &[u8]) {
        let key = Bytes::copy_from_slice(&device.0);
        self.staged.put(Table::Peer, key, Bytes::copy_from_slice(addresses));
    }

    /// Goes on as another author.
    pub(crate) fn reincarnate(&mut self, incarnation: Incarnation) {
        self.incarnation = Some(incarnation);
    }

    /// Pauses databases.
    pub(crate) fn set_paused(&mut self, paused: Paused) {
        self.staged.put(Table::Meta, Bytes::from_static(meta::PAUSED), paused.to_bytes());
        self.paused = Some(paused);
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    /// Writes a generation of this device, and returns its version. `stamp` lies above everything held.
    pub(crate) fn write(
        &mut self,
        group: GroupIx,
        stamp: Hlc,
        records: &[Record],
        batch: Option<BatchPart>,
    ) -> Result<Version, Stop> {
        let own = self.author_ix(&self.replica.author());
        if !self.metadata(group).is_none_or(|metadata| metadata.has_room(own, records)) {
            let limit = limits::MAX_METADATA;
            return Err(Refusal::Limit { what: "bytes of metadata that one device may write", limit }.into());
        }
        self.join_frontier(group, stamp.wall())?;
        let encoded = self.encode(group, stamp.max(self.next_stamp(stamp.wall())), records, batch)?;
        if encoded.bytes.len() > limits::MAX_GENERATION {
            return Err(Refusal::BatchTooLarge { size: encoded.bytes.len() }.into());
        }
        self.append_own(group, &encoded, records, Vec::new())
    }

    /// Writes generations that do nothing but join what the next one would depend on, as long as that is more
    /// than a header can name.
    pub(crate) fn join_frontier(&mut self, group: GroupIx, wall: Wall) -> Result<(), Stop> {
        let own = self.author_ix(&self.replica.author());
        while self.tip(group).frontier.keys().filter(|ix| Some(**ix) != own).count()
            > limits::MAX_DEPENDENCIES
        {
            let encoded = self.encode(group, self.next_stamp(wall), &[], None)?;
            self.append_own(group, &encoded, &[], Vec::new())?;
        }
        Ok(())
    }

    /// Encodes the next generation of this device. It names no more dependencies than it may: see
    /// [`Plan::join_frontier`].
    pub(crate) fn encode(
        &mut self,
        group: GroupIx,
        stamp: Hlc,
        records: &[Record],
        batch: Option<BatchPart>,
    ) -> Result<Encoded, Fault> {
        let author = self.replica.author();
        let own = self.enter(author);
        let frontier = self.tip(group).frontier;
        let mut dependencies = Vec::with_capacity(frontier.len());
        for (&ix, &generation) in frontier.iter().filter(|(ix, _)| **ix != own) {
            let tag = self.tag(group, ix, generation)?;
            dependencies.push(Dependency { author: self.author(ix), generation, tag });
        }
        dependencies.sort_by_key(|dependency| dependency.author);
        dependencies.truncate(limits::MAX_DEPENDENCIES);
        let header = Header { stamp, body: Hash::default(), dependencies, batch, acknowledged: None };
        Ok(Encoded::write(header, &author, records))
    }

    /// Whether what [`Plan::encode`] made can be applied now. It builds on what is shown: if what allows it is held
    /// and still waits for a part of a batch, others would not take it, and it is refused for now (S-28, S-34).
    pub(crate) fn check_own(
        &self,
        group: GroupIx,
        encoded: &Encoded,
        records: &[Record],
    ) -> Result<(), Stop> {
        if !self.waits_in(group) {
            return Ok(());
        }
        let author = self.replica.author();
        let past = self.past_of(group, &author, &encoded.header.dependencies)?;
        let held = self.held(group, &author);
        let shown = self.author_ix(&author).map_or(0, |own| self.last_shown(group, own));
        let is_allowed = judge::is_allowed(self, group, &author, held + 1, encoded, records, &past);
        if shown == held && is_allowed { Ok(()) } else { Err(Refusal::Pending.into()) }
    }

    /// Applies what [`Plan::encode`] made; of each record the row that it changes, as far as they were read.
    pub(crate) fn append_own(
        &mut self,
        group: GroupIx,
        encoded: &Encoded,
        records: &[Record],
        rows: Vec<ReadRow>,
    ) -> Result<Version, Stop> {
        self.check_own(group, encoded, records)?;
        let author = self.replica.author();
        let own = self.enter(author);
        let past = self.past_of(group, &author, &encoded.header.dependencies)?;
        let generation = self.append(group, own, encoded, records, past, Origin::Own(rows))?;
        Ok(Version { author, generation })
    }

    /// The next stamp of this device (S-7).
    pub(crate) fn next_stamp(&self, wall: Wall) -> Hlc {
        Hlc::after(self.stamp, wall)
    }

    /// Applies the next generation of an author, which was judged valid, and everything that it builds on is
    /// held.
    pub(crate) fn append(
        &mut self,
        group: GroupIx,
        author: AuthorIx,
        encoded: &Encoded,
        records: &[Record],
        mut past: Past,
        origin: Origin,
    ) -> Result<Generation, Fault> {
        let mut log = self.log(group, author).cloned().unwrap_or_default();
        let nodes = log.tree.append(encoded.leaf);
        let generation = log.held();
        if generation == 1 {
            self.staged.put(Table::Checkpoint, key::pair(group, author), Bytes::new());
        }
        let holds_metadata = records.iter().any(|record| matches!(record, Record::Meta(_)));
        if holds_metadata {
            past.add(author, generation);
            self.staged.put(Table::Metadata, key::log(group, author, generation), Bytes::new());
        }
        log.past = self.number_past(group, past);
        log.stamp = encoded.header.stamp;
        self.stamp = self.stamp.max(log.stamp);
        let stored = Stored { past: log.past, nodes, bytes: encoded.bytes.clone() };
        self.staged.put(Table::Log, key::log(group, author, generation), stored.to_bytes());
        self.draft(group).logs.insert(author, Box::new(log));

        let place = (author, generation);
        self.judge(group, place, encoded.header.stamp, records)?;
        let rows = match origin {
            Origin::Own(rows) => rows,
            Origin::Received(now) if self.hold(group, place, encoded, records, now) => return Ok(generation),
            Origin::Received(_) => Vec::new(),
        };
        self.show(group, place, encoded, records, rows)?;
        Ok(generation)
    }

    /// Shows the rows of a generation that is held. What this device writes from now on builds on it.
    pub(super) fn show(
        &mut self,
        group: GroupIx,
        place: Place,
        encoded: &Encoded,
        records: &[Record],
        rows: Vec<ReadRow>,
    ) -> Result<(), Fault> {
        let mut tip = self.tip(group);
        for dependency in &encoded.header.dependencies {
            if let Some(ix) = self.author_ix(&dependency.author)
                && tip.frontier.get(&ix).is_some_and(|held| *held <= dependency.generation)
            {
                tip.frontier.remove(&ix);
            }
        }
        tip.frontier.insert(place.0, place.1);
        if !self.is_void(group, place)? {
            self.apply_rows(group, place, encoded, (records, rows), &mut tip)?;
        }
        self.draft(group).tip = Some(tip);
        Ok(())
    }

    /// Writes down a collection's schema, for readers.
    pub(super) fn keep_schema(&mut self, group: GroupIx, collection: &CollectionId) {
        let rules =
            self.metadata(group).map(|metadata| metadata.schemas().of(collection)).unwrap_or_default();
        let bytes = postcard::to_allocvec(&rules).unwrap_or_default();
        self.staged.put(Table::Schema, key::collection(group, collection), bytes.into());
        if let Some(syncgroup) = self.record(group).map(|record| record.id) {
            self.notice(Notice::Schema { syncgroup, collection: *collection });
            self.news.push(ChangeEntry::schema(group, *collection));
        }
    }

    fn number_past(&mut self, group: GroupIx, past: Past) -> PastIx {
        let Some(base) = self.group(group) else { return NO_PAST };
        if let Some(number) = base.pasts.number(&past) {
            return number;
        }
        let next = base.pasts.next();
        let draft = self.draft(group);
        if let Some(at) = draft.pasts.iter().position(|known| *known == past) {
            return next + at as PastIx;
        }
        let number = next + draft.pasts.len() as PastIx;
        let mut bytes = Vec::with_capacity(8 * past.0.len());
        for (author, generation) in &past.0 {
            put_varint(&mut bytes, u64::from(*author));
            put_varint(&mut bytes, *generation);
        }
        draft.pasts.push(past);
        self.staged.put(Table::Past, key::pair(group, number), bytes.into());
        number
    }

    /// Ends planning.
    pub(crate) fn finish(mut self) -> Effects {
        self.moves.store(&self.replica.waiting, &mut self.staged);
        let news = self.log_of_changes();
        let Self {
            staged,
            authors,
            drafts,
            changes,
            split,
            moves,
            stamp,
            pruned,
            incarnation,
            paused,
            notices,
            ..
        } = self;
        let mut writes = staged.into_writes();
        // What nothing in a plan reads back joins only here.
        let tips = drafts.iter().filter_map(|(ix, draft)| Some((*ix, draft.tip.as_ref()?)));
        writes.extend(tips.map(|(ix, tip)| put(Table::Tip, key::number(ix), tip.to_bytes())));
        writes.extend(news);
        Effects {
            writes,
            authors,
            drafts,
            changes,
            split,
            moves,
            stamp,
            pruned,
            incarnation,
            paused,
            notices,
        }
    }

    /// Keeps what changed for those who watch, and drops what is too old.
    fn log_of_changes(&mut self) -> Vec<Write> {
        let limit = self.replica.limits.watch_log;
        if self.news.is_empty() || limit == 0 {
            return Vec::new();
        }
        let seq = CommitSeq(self.replica.seq.0 + 1);
        // Commits that changed no row left nothing, and take nothing away: catch up with them by and by.
        let due = CommitSeq(seq.0.saturating_sub(limit));
        let last = due.min(CommitSeq(self.replica.pruned.0 + MOST_PRUNED));
        let old = self.replica.pruned.0 + 1..=last.0;
        self.pruned = last;
        let remove = |old| Write { table: Table::Change, key: key::change(CommitSeq(old)), value: None };
        let news = put(Table::Change, key::change(seq), ChangeEntry::to_bytes(&self.news));
        core::iter::once(news).chain(old.map(remove)).collect()
    }
}

fn put(table: Table, key: Bytes, value: Bytes) -> Write {
    Write { table, key, value: Some(value) }
}

impl Replica {
    /// Makes a planned change, and returns the commit that stores it, if there is anything to store.
    pub(crate) fn apply(&mut self, effects: Effects) -> Option<Commit> {
        let Effects { mut writes, authors, drafts, moves, stamp, pruned, incarnation, paused, .. } = effects;
        self.pruned = self.pruned.max(pruned);
        authors.into_iter().for_each(|author| self.authors.push(author));
        self.stamp = self.stamp.max(stamp);
        let reincarnated = incarnation.is_some();
        self.incarnation = incarnation.unwrap_or(self.incarnation);
        for (ix, mut draft) in drafts {
            if let Some(mut group) = draft.created.take() {
                group.paused = self.paused.contains(&group.record.database);
                self.by_id.insert(group.record.id, ix);
                self.groups.insert(ix, group);
            }
            let Some(group) = self.groups.get_mut(&ix) else { continue };
            for (author_ix, log) in draft.logs {
                group.knowledge.grow(author_ix);
                group.logs.insert(author_ix, log);
            }
            draft.pasts.into_iter().for_each(|past| group.pasts.push(past));
            if let Some(record) = draft.record {
                group.record = record;
            }
            group.tip = draft.tip.unwrap_or_else(|| core::mem::take(&mut group.tip));
            group.metadata = draft.metadata.unwrap_or_else(|| core::mem::take(&mut group.metadata));
        }
        moves.apply(&mut self.waiting);
        if let Some(paused) = paused {
            self.paused = paused;
            for group in self.groups.values_mut() {
                group.paused = self.paused.contains(&group.record.database);
            }
        }
        if writes.is_empty() && !reincarnated {
            return None;
        }
        self.seq = CommitSeq(self.seq.0 + 1);
        writes.push(StateRecord::new(self.seq, self.incarnation).to_write());
        Some(Commit { seq: self.seq, writes })
    }
}
