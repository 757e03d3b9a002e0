//! A generation in a plan: what it builds on, and what becomes of it.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Origin, Plan};
use crate::action::{Notice, Refusal};
use crate::hash::{Hash, Tag};
use crate::id::{Author, CollectionId, Generation, Version};
use crate::limits;
use crate::log::generation::{BatchPart, Dependency, Encoded, Header};
use crate::log::record::{MetaRecord, Record, Until};
use crate::log::tree::{self, Tree};
use crate::object::history::Place;
use crate::replica::Stop;
use crate::replica::changes::ChangeEntry;
use crate::replica::cited::Cited;
use crate::replica::rows::ReadRow;
use crate::replica::stored::{Stored, corrupt};
use crate::store::key::{self, AuthorIx, GroupIx};
use crate::store::{Fault, Table};
use crate::syncgroup::past::{NO_PAST, Past};
use crate::syncgroup::{PastIx, judge};
use crate::time::{Hlc, Wall};
use crate::wire::codec::{DecodeError, put_varint};

impl Plan<'_> {
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
            let number = self.past_number(group, dependency)?;
            numbers.extend(number.filter(|number| !numbers.contains(number)));
        }
        let mut numbers = numbers.into_iter();
        let mut past = numbers.next().map(|ix| self.past(group, ix)).unwrap_or_default();
        numbers.for_each(|ix| past.join(&self.past(group, ix)));
        Ok(past)
    }

    /// The number of the metadata in the past of a generation that is held, and in itself.
    fn past_number(&self, group: GroupIx, dependency: &Dependency) -> Result<Option<PastIx>, Fault> {
        let Some(ix) = self.author_ix(&dependency.author) else { return Ok(None) };
        Ok(Some(match self.log(group, ix) {
            Some(log) if log.held() == dependency.generation => log.past,
            _ => self.cited(group, ix, dependency.generation)?.past,
        }))
    }

    /// The tag of an author's tree at a generation that is held.
    pub(crate) fn tag(&self, group: GroupIx, author: AuthorIx, generation: Generation) -> Result<Tag, Fault> {
        match self.log(group, author) {
            Some(log) if log.held() == generation => Ok(log.tree.root().tag()),
            _ => Ok(self.tree(group, author, generation)?.root().tag()),
        }
    }

    /// An author's tree at a generation that is held.
    pub(crate) fn tree(&self, group: GroupIx, author: AuthorIx, size: Generation) -> Result<Tree, Fault> {
        Tree::load(size, &CitedNodes { plan: self, group, author })
    }

    /// What a generation that is held says to those that build on it.
    fn cited(&self, group: GroupIx, author: AuthorIx, generation: Generation) -> Result<Cited, Fault> {
        let place = (group, author, generation);
        let kept = || self.replica.cited.get(&place).filter(|_| !self.forgets_cited);
        let known = self.cited.borrow().get(&place).or_else(kept).cloned();
        if let Some(cited) = known {
            return Ok(cited);
        }
        let stored = self.stored(group, author, generation)?;
        let encoded = stored.encoded()?;
        let (past, stamp) = (stored.past, encoded.header.stamp);
        let cited = Cited { past, stamp, leaf: encoded.leaf, nodes: stored.nodes };
        self.cited.borrow_mut().keep(place, cited.clone());
        Ok(cited)
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
            _ => Ok(self.cited(group, author, generation)?.stamp),
        }
    }

    // ---- writing and applying ----

    /// Writes a generation of this device, and returns its version. `stamp` lies above everything held.
    pub(crate) fn write(
        &mut self,
        group: GroupIx,
        stamp: Hlc,
        records: &[Record],
        batch: Option<BatchPart>,
    ) -> Result<Version, Stop> {
        let own = self.author_ix(&self.own());
        if !self.metadata(group).is_none_or(|metadata| metadata.has_room(own, records)) {
            let limit = limits::MAX_METADATA;
            return Err(Refusal::Limit { what: "bytes of metadata that one device may write", limit }.into());
        }
        self.join_frontier(group, stamp.wall())?;
        let encoded =
            self.encode(group, stamp.max(self.next_stamp_in(group, stamp.wall())), records, batch)?;
        if encoded.bytes.len() > limits::MAX_GENERATION {
            return Err(Refusal::BatchTooLarge { size: encoded.bytes.len() }.into());
        }
        self.append_own(group, &encoded, records, Vec::new())
    }

    /// Begins this device's log in a syncgroup if it has to say of which key it is: whatever comes first in it has to wait for
    /// that (S-1).
    pub(crate) fn begin_log(&mut self, group: GroupIx, wall: Wall) -> Result<(), Stop> {
        if self.held(group, &self.own()) == 0
            && let Some(word) = self.word_on_keys(group)?
        {
            let records = [Record::Meta(word)];
            let encoded = self.encode(group, self.next_stamp_in(group, wall), &records, None)?;
            self.append_own(group, &encoded, &records, Vec::new())?;
        }
        Ok(())
    }

    /// What the first generation of a log of this device says of its keys; `None` if it still has its first one.
    pub(crate) fn word_on_keys(&self, group: GroupIx) -> Result<Option<MetaRecord>, Fault> {
        let (own, chain) = (self.own(), &self.keys().chain);
        if chain.rollovers() == 0 {
            return Ok(None);
        }
        let access = self.metadata(group).map(|metadata| &metadata.access);
        let mut until: BTreeSet<Until> = BTreeSet::new();
        for ix in self.authors_in(group) {
            let author = self.author(ix);
            let incarnation = author.incarnation;
            // Logs of its present key have no end, so there is nothing to be said of them.
            if author.device != own.device || incarnation.rollovers() >= chain.rollovers() {
                continue;
            }
            // Where it has been said already, what is held may be somebody else's by now, who has that key.
            let said = access.into_iter().flat_map(|access| access.stays(&author));
            let said: Vec<Until> = said.map(|(last, tag)| Until { incarnation, last, tag }).collect();
            let last = match said.is_empty() {
                true => self.stays(group, &author),
                false => 0,
            };
            if last > 0 {
                until.insert(Until { incarnation, last, tag: self.tag(group, ix, last)? });
            }
            until.extend(said);
        }
        let found = self.replica.found.get(&group).into_iter().flatten();
        until.extend(found.filter(|it| it.incarnation.rollovers() < chain.rollovers()));
        let until = until.into_iter().collect();
        Ok(Some(MetaRecord::Rollover { chain: chain.clone(), nonce: self.life().nonce, until }))
    }

    /// Writes generations that do nothing but join what the next one would depend on, as long as that is more
    /// than a header can name.
    pub(crate) fn join_frontier(&mut self, group: GroupIx, wall: Wall) -> Result<(), Stop> {
        self.begin_log(group, wall)?;
        let own = self.author_ix(&self.own());
        while self.tip(group).frontier.keys().filter(|ix| Some(**ix) != own).count()
            > limits::MAX_DEPENDENCIES
        {
            let encoded = self.encode(group, self.next_stamp_in(group, wall), &[], None)?;
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
        let author = self.own();
        let own = self.enter(author);
        let frontier = self.tip(group).frontier;
        let mut dependencies = Vec::with_capacity(frontier.len());
        for (&ix, &generation) in frontier.iter().filter(|(ix, _)| **ix != own) {
            let tag = self.tag(group, ix, generation)?;
            dependencies.push(Dependency { author: self.author(ix), generation, tag });
        }
        dependencies.sort_by_key(|dependency| dependency.author);
        self.fit(group, &mut dependencies)?;
        let header = Header { stamp, body: Hash::default(), dependencies, batch, acknowledged: None };
        Ok(Encoded::write(header, &author, records))
    }

    /// Leaves as many dependencies as may be. What allows this device to write is among them if it is not in the past of
    /// its log already: without it nobody would take the first generation, nor any other (S-34).
    pub(crate) fn fit(&self, group: GroupIx, dependencies: &mut Vec<Dependency>) -> Result<(), Fault> {
        if dependencies.len() <= limits::MAX_DEPENDENCIES {
            return Ok(());
        }
        let own = self.author_ix(&self.own());
        let allowed_by = match self.metadata(group) {
            Some(metadata) if own.is_none_or(|own| self.log(group, own).is_none()) => {
                metadata.access.let_in_by(&self.replica.keys.device)
            }
            _ => Vec::new(),
        };
        let mut first: BTreeSet<usize> = BTreeSet::new();
        let mut missing = allowed_by;
        for (at, dependency) in dependencies.iter().enumerate() {
            if missing.is_empty() || first.len() == limits::MAX_DEPENDENCIES {
                break;
            }
            let Some(number) = self.past_number(group, dependency)? else { continue };
            let (past, before) = (self.past(group, number), missing.len());
            missing.retain(|place| !past.has(*place));
            if missing.len() < before {
                first.insert(at);
            }
        }
        let mut room = limits::MAX_DEPENDENCIES - first.len();
        let mut at = 0;
        dependencies.retain(|_| {
            let is_first = first.contains(&at);
            at += 1;
            let stays = is_first || room > 0;
            room -= usize::from(stays && !is_first);
            stays
        });
        Ok(())
    }

    /// Whether what [`Plan::encode`] made can be applied now. It builds on what is shown: if what allows it is held
    /// and still waits for a part of a batch, others would not take it, and it is refused for now (S-28, S-34). The first
    /// generation of a log is looked at in any case, as all others follow on it, and so are all where rights end: a stamp
    /// may lie ahead of the clock.
    pub(crate) fn check_own(
        &self,
        group: GroupIx,
        encoded: &Encoded,
        records: &[Record],
    ) -> Result<(), Stop> {
        let author = self.own();
        let held = self.held(group, &author);
        let has_ends = self.metadata(group).is_some_and(|metadata| metadata.access.has_ends());
        if held > 0 && !self.waits_in(group) && !has_ends {
            return Ok(());
        }
        let past = self.past_of(group, &author, &encoded.header.dependencies)?;
        let shown = self.author_ix(&author).map_or(0, |own| self.last_shown(group, own));
        let is_allowed = judge::is_allowed(self, group, &author, held + 1, encoded, records, &past);
        if shown == held && is_allowed {
            return Ok(());
        }
        let needed = judge::needed_for(records);
        let over = self.metadata(group).and_then(|metadata| {
            metadata.access.over_since(&author.device, needed, encoded.header.stamp.wall())
        });
        Err(over.map_or(Refusal::Pending, Refusal::Expired).into())
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
        let author = self.own();
        let own = self.enter(author);
        let past = self.past_of(group, &author, &encoded.header.dependencies)?;
        let generation = self.append(group, own, encoded, records, past, Origin::Own(rows))?;
        Ok(Version { author, generation })
    }

    /// The next stamp of this device (S-7).
    pub(crate) fn next_stamp(&self, wall: Wall) -> Hlc {
        Hlc::after(self.stamp, wall)
    }

    /// The same in a syncgroup that may have ended for this device: see [`Plan::settle_stamp`].
    fn next_stamp_in(&self, group: GroupIx, wall: Wall) -> Hlc {
        let next = self.next_stamp(wall);
        let is_read = self.record(group).is_some_and(|record| record.stage.is_read());
        if is_read { next } else { next.max(Hlc::after(self.last_stamp_in(group), wall)) }
    }

    /// The last stamp that this replica gave or took in.
    pub(crate) fn last_stamp(&self) -> Hlc {
        self.stamp
    }

    /// Finds that anew, as another author, who has given none yet: what is above what is held wherever this device may
    /// write. Logs of syncgroups in which it is no member any more stay as they are, and must not keep it ahead.
    pub(crate) fn settle_stamp(&mut self) {
        let read = self.groups().filter(|(_, record)| record.stage.is_read());
        let read: Vec<GroupIx> = read.map(|(ix, _)| ix).collect();
        self.stamp = read.into_iter().map(|ix| self.last_stamp_in(ix)).max().unwrap_or_default();
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
        self.draft(group).logs.insert(author, Some(Box::new(log)));

        let place = (author, generation);
        self.extend_reach(group, place, encoded, records)?;
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
    pub(crate) fn show(
        &mut self,
        group: GroupIx,
        place: Place,
        encoded: &Encoded,
        records: &[Record],
        rows: Vec<ReadRow>,
    ) -> Result<(), Fault> {
        let mut tip = self.tip(group);
        // Nothing may build on what lies beyond the reach of a forked log.
        let is_beyond = tip.is_beyond(place);
        for dependency in encoded.header.dependencies.iter().filter(|_| !is_beyond) {
            if let Some(ix) = self.author_ix(&dependency.author)
                && tip.frontier.get(&ix).is_some_and(|held| *held <= dependency.generation)
            {
                tip.frontier.remove(&ix);
            }
        }
        if !is_beyond {
            tip.frontier.insert(place.0, place.1);
        }
        if !self.is_void(group, place)? {
            self.apply_rows(group, place, encoded, (records, rows), &mut tip)?;
        }
        self.draft(group).tip = Some(tip);
        Ok(())
    }

    /// Writes down a collection's schema, for readers.
    pub(crate) fn keep_schema(&mut self, group: GroupIx, collection: &CollectionId) {
        let rules =
            self.metadata(group).map(|metadata| metadata.schemas().of(collection)).unwrap_or_default();
        let at = key::collection(group, collection);
        // Where no rule counts any more there is as little as where none ever did.
        match rules.is_empty() {
            true => self.staged.remove(Table::Schema, at),
            false => {
                let bytes = postcard::to_allocvec(&rules).unwrap_or_default();
                self.staged.put(Table::Schema, at, bytes.into());
            }
        }
        self.read_anew(group, collection);
    }

    /// Tells readers that all rows of a collection may show something else.
    pub(crate) fn read_anew(&mut self, group: GroupIx, collection: &CollectionId) {
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
        if let Some(at) = draft.pasts.number(&past) {
            return next + at;
        }
        let number = next + draft.pasts.next();
        let mut bytes = Vec::with_capacity(8 * past.0.len());
        for (author, generation) in &past.0 {
            put_varint(&mut bytes, u64::from(*author));
            put_varint(&mut bytes, *generation);
        }
        draft.pasts.push(past);
        self.staged.put(Table::Past, key::pair(group, number), bytes.into());
        number
    }
}

/// The nodes of an author's log tree, as far as others build on them.
struct CitedNodes<'p> {
    plan: &'p Plan<'p>,
    group: GroupIx,
    author: AuthorIx,
}

impl tree::Nodes for CitedNodes<'_> {
    fn node(&self, level: u32, end: u64) -> Result<Hash, Fault> {
        let cited = self.plan.cited(self.group, self.author, end)?;
        let Some(above) = level.checked_sub(1) else { return Ok(cited.leaf) };
        let missing = DecodeError { what: "a node of a log tree" };
        cited.nodes.get(above as usize).copied().ok_or_else(|| corrupt(Table::Log, missing))
    }
}
