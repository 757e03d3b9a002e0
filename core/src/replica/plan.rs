//! A change of the replica that is being planned: what it will write, and what memory will look like then.
//!
//! ```text
//!   &Replica + &View ──► Plan ──(reads, decides, may be dropped)──► Effects ──► Replica::apply ──► Commit
//! ```
//!
//! Whoever writes a generation, and whoever receives one, comes through [`Plan::append`].

mod effects;
mod generation;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cell::RefCell;

use bytes::Bytes;

pub(crate) use self::effects::Effects;
use super::Replica;
use super::authors::Authors;
use super::changes::ChangeEntry;
use super::cited::Citations;
use super::paused::Paused;
use super::release::Moves;
use super::rows::ReadRow;
use super::stored::{Kept, Stored, corrupt};
use crate::action::{Notice, RowChange};
use crate::crypto::Keys;
use crate::id::{Author, CommitSeq, Generation, Incarnation};
use crate::keys::Life;
use crate::log::{Log, Proof};
use crate::object::RowState;
use crate::store::key::{self, AuthorIx, GroupIx, meta};
use crate::store::staged::Staged;
use crate::store::{Fault, Table, View};
use crate::syncgroup::PastIx;
use crate::syncgroup::access::Recent;
use crate::syncgroup::group::{Group, GroupRecord, Reach, Tip};
use crate::syncgroup::metadata::Metadata;
use crate::syncgroup::past::{Numbered, Past, Sets};
use crate::time::{Hlc, Now, Wall};
use crate::wire::codec::put_author;

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
    authors: Authors,
    drafts: BTreeMap<GroupIx, Draft>,
    pub(super) changes: Vec<RowChange>,
    /// The same, as it is kept for those who watch.
    pub(super) news: Vec<ChangeEntry>,
    /// Syncgroups of which rows have split, and rows that have come together.
    pub(super) split: BTreeSet<(GroupIx, Option<Bytes>)>,
    pub(super) moves: Moves,
    pub(super) stamp: Hlc,
    pruned: CommitSeq,
    life: Option<Life>,
    keys: Option<Keys>,
    paused: Option<Paused>,
    /// Whoever watches begins anew after this: what earlier commits have changed is not kept any more.
    pub(super) forgets_changes: bool,
    notices: Vec<Notice>,
    /// See [`Plan::judging`].
    judged: RefCell<Option<(GroupIx, Recent)>>,
    /// What was read of generations that others build on, beside what the replica keeps of them.
    cited: RefCell<Citations>,
    /// What the replica keeps of them is not true any more: something else may be in their place.
    forgets_cited: bool,
}

/// What one syncgroup will look like. What is absent stays as it is.
#[derive(Debug, Default)]
pub(super) struct Draft {
    created: Option<Box<Group>>,
    record: Option<GroupRecord>,
    /// `None` is that nothing of it is left.
    logs: BTreeMap<AuthorIx, Option<Box<Log>>>,
    pub(super) tip: Option<Tip>,
    metadata: Option<Metadata>,
    pasts: Sets,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(replica: &'a Replica, view: &'a dyn View) -> Self {
        Self {
            replica,
            staged: Staged::new(view),
            authors: Authors::default(),
            drafts: BTreeMap::new(),
            changes: Vec::new(),
            news: Vec::new(),
            split: BTreeSet::new(),
            moves: Moves::default(),
            stamp: replica.stamp,
            pruned: replica.pruned,
            life: None,
            keys: None,
            paused: None,
            forgets_changes: false,
            notices: Vec::new(),
            judged: RefCell::default(),
            cited: RefCell::default(),
            forgets_cited: false,
        }
    }

    // ---- what it looks like so far ----

    pub(crate) fn view(&self) -> &'a dyn View {
        self.staged.view()
    }

    /// Who this device writes as.
    pub(crate) fn own(&self) -> Author {
        Author { incarnation: self.life().incarnation, ..self.replica.author() }
    }

    /// As whom this device writes, and what was drawn for that.
    pub(crate) fn life(&self) -> Life {
        self.life.unwrap_or(self.replica.life)
    }

    pub(crate) fn author_ix(&self, author: &Author) -> Option<AuthorIx> {
        self.replica.authors.find(author).or_else(|| {
            let at = self.authors.find(author)?;
            Some(self.replica.authors.len() as AuthorIx + at)
        })
    }

    pub(crate) fn author(&self, ix: AuthorIx) -> Author {
        const NOBODY: Author = Author { device: crate::id::DeviceId([0; 16]), incarnation: Incarnation(0) };
        let new = || self.authors.get(ix.checked_sub(self.replica.authors.len() as AuthorIx)?);
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

    /// What becomes of a log; `None` is that nothing of it is left.
    pub(super) fn set_log(&mut self, group: GroupIx, author: AuthorIx, log: Option<Log>) {
        self.draft(group).logs.insert(author, log.map(Box::new));
    }

    pub(super) fn set_metadata(&mut self, group: GroupIx, metadata: Metadata) {
        self.draft(group).metadata = Some(metadata);
    }

    /// Has a syncgroup looked at like one that changes.
    pub(crate) fn touch(&mut self, ix: GroupIx) {
        self.draft(ix);
    }

    pub(super) fn draft(&mut self, ix: GroupIx) -> &mut Draft {
        self.drafts.entry(ix).or_default()
    }

    pub(crate) fn record(&self, ix: GroupIx) -> Option<&GroupRecord> {
        let changed = self.drafts.get(&ix).and_then(|draft| draft.record.as_ref());
        changed.or_else(|| Some(&self.group(ix)?.record))
    }

    pub(crate) fn log(&self, group: GroupIx, author: AuthorIx) -> Option<&Log> {
        match self.drafts.get(&group).and_then(|draft| draft.logs.get(&author)) {
            Some(changed) => changed.as_deref(),
            None => self.group(group)?.logs.get(&author).map(|log| &**log),
        }
    }

    /// The last generation held of an author.
    pub(crate) fn held(&self, group: GroupIx, author: &Author) -> Generation {
        self.author_ix(author).and_then(|ix| self.log(group, ix)).map_or(0, Log::held)
    }

    /// How many authors have a log in a syncgroup.
    pub(crate) fn log_count(&self, ix: GroupIx) -> usize {
        let known = self.group(ix).map(|group| &group.logs);
        let is_known = |author: &AuthorIx| known.is_some_and(|logs| logs.contains_key(author));
        let planned = || self.drafts.get(&ix).into_iter().flat_map(|draft| &draft.logs);
        let new = planned().filter(|(author, log)| log.is_some() && !is_known(author)).count();
        let gone = planned().filter(|(author, log)| log.is_none() && is_known(author)).count();
        known.map_or(0, BTreeMap::len) + new - gone
    }

    pub(crate) fn metadata(&self, ix: GroupIx) -> Option<&Metadata> {
        let changed = self.drafts.get(&ix).and_then(|draft| draft.metadata.as_ref());
        changed.or_else(|| Some(&self.group(ix)?.metadata))
    }

    /// The authors whose logs change.
    pub(super) fn planned_logs(&self, ix: GroupIx) -> impl Iterator<Item = AuthorIx> {
        self.drafts.get(&ix).into_iter().flat_map(|draft| draft.logs.keys().copied())
    }

    pub(super) fn tip(&self, ix: GroupIx) -> Tip {
        self.known_tip(ix).cloned().unwrap_or_default()
    }

    fn known_tip(&self, ix: GroupIx) -> Option<&Tip> {
        let changed = self.drafts.get(&ix).and_then(|draft| draft.tip.as_ref());
        changed.or_else(|| Some(&self.group(ix)?.tip))
    }

    /// The logs of a syncgroup that are forked, and how far they reach.
    pub(super) fn reaches(&self, ix: GroupIx) -> &BTreeMap<AuthorIx, Reach> {
        const NONE: &BTreeMap<AuthorIx, Reach> = &BTreeMap::new();
        self.known_tip(ix).map_or(NONE, |tip| &tip.forked)
    }

    /// The numbered sets of metadata of a syncgroup.
    pub(crate) fn pasts(&self, group: GroupIx) -> Option<Numbered<'_>> {
        let planned = self.drafts.get(&group).map_or(&[][..], |draft| draft.pasts.list());
        Some(Numbered { held: &self.group(group)?.pasts, planned })
    }

    /// Judges a generation of a syncgroup by what is in its past, with what was found out for the one before.
    pub(crate) fn judging<T>(&self, group: GroupIx, judge: impl FnOnce(&mut Recent) -> T) -> T {
        let recent = self.judged.take().filter(|(of, _)| *of == group);
        let mut recent = recent.map(|(_, recent)| recent).unwrap_or_default();
        let judged = judge(&mut recent);
        self.judged.replace(Some((group, recent)));
        judged
    }

    pub(super) fn past(&self, group: GroupIx, ix: PastIx) -> Past {
        self.pasts(group).map(|pasts| pasts.get(ix).clone()).unwrap_or_default()
    }

    /// The syncgroup's metadata, to be changed. It is copied once for each plan, and only if it changes.
    pub(super) fn metadata_mut(&mut self, ix: GroupIx) -> &mut Metadata {
        let now = self.drafts.get(&ix).is_some_and(|draft| draft.metadata.is_some());
        let copy = if now { None } else { self.group(ix).map(|group| group.metadata.clone()) };
        let clock = self.replica.ends.clock();
        let start = || {
            let mut metadata = copy.unwrap_or_default();
            // What is taken in may end between when the clock was looked at for this syncgroup, and now.
            metadata.access.set_clock(clock);
            metadata
        };
        self.draft(ix).metadata.get_or_insert_with(start)
    }

    /// The moment at which what this device writes next is stamped, at the earliest.
    pub(crate) fn moment(&self) -> Wall {
        self.replica.moment().max(self.stamp.wall())
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

    // ---- what changes ----

    /// Adds a syncgroup, or changes what is noted of it.
    pub(crate) fn set_record(&mut self, ix: GroupIx, record: GroupRecord) {
        let bytes = postcard::to_allocvec(&record).unwrap_or_default();
        self.staged.put(Table::Syncgroup, key::number(ix), bytes.into());
        if self.group(ix).is_none() {
            let mut group = Box::new(Group::new(ix, record));
            self.replica.start_clock(&mut group);
            self.draft(ix).created = Some(group);
        } else {
            if record.stage.is_read() {
                // It may not have been, and what it has not counted then: see [`Plan::settle_stamp`].
                self.stamp = self.stamp.max(self.last_stamp_in(ix));
            }
            self.draft(ix).record = Some(record);
        }
    }

    /// Keeps what proves an author's log.
    pub(crate) fn set_proof(&mut self, group: GroupIx, author: AuthorIx, proof: Proof) {
        let bytes = postcard::to_allocvec(&proof).unwrap_or_default();
        self.staged.put(Table::Checkpoint, key::pair(group, author), bytes.into());
        if let Some(mut log) = self.log(group, author).cloned() {
            log.proof = Some(proof);
            self.draft(group).logs.insert(author, Some(Box::new(log)));
        }
    }

    /// Keeps where a device was reached.
    pub(crate) fn put_peer(&mut self, device: &crate::id::DeviceId, addresses: &[u8]) {
        let key = Bytes::copy_from_slice(&device.0);
        self.staged.put(Table::Peer, key, Bytes::copy_from_slice(addresses));
    }

    /// Forgets what was read of generations that others build on.
    pub(super) fn forget_cited(&mut self) {
        self.cited.take();
        self.forgets_cited = true;
    }

    /// Goes on as another author, by the key that this device has.
    pub(crate) fn reincarnate(&mut self, drawn: u64) {
        self.write_as(self.keys().chain.life(drawn));
    }

    /// Writes as that author from now on.
    pub(crate) fn write_as(&mut self, life: Life) {
        self.life = Some(life);
    }

    /// What this device signs with.
    pub(crate) fn keys(&self) -> &Keys {
        self.keys.as_ref().unwrap_or(&self.replica.keys)
    }

    /// Signs with another key from now on.
    pub(crate) fn take_key(&mut self, keys: Keys) {
        self.staged.put(Table::Meta, Bytes::from_static(meta::KEYS), keys.chain.to_bytes().into());
        self.keys = Some(keys);
    }

    /// What earlier commits have changed is not kept any more, nor what this one does: whoever watches begins anew.
    pub(super) fn forget_changes(&mut self) -> Result<(), Fault> {
        let kept = Kept::get(self.view())?.after(CommitSeq(self.replica.seq.0 + 1));
        self.staged.put(Table::Meta, Bytes::from_static(meta::KEPT), kept);
        self.forgets_changes = true;
        Ok(())
    }

    /// Pauses databases.
    pub(crate) fn set_paused(&mut self, paused: Paused) {
        self.staged.put(Table::Meta, Bytes::from_static(meta::PAUSED), paused.to_bytes());
        self.paused = Some(paused);
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }
}
