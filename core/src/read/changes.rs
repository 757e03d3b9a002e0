//! Watching rows: the current state, then every later change, batch by batch (S-52).
//!
//! ```text
//!   new ───────────► State pages ──────────► Batch, Batch, …        a marker with each
//!                      ▲     ▲                   │
//!   resume(marker) ────┼─────┼──────────────────►┘
//!           too old or unknown └── another schema
//! ```
//!
//! A watch is nothing but a marker: the store keeps which rows its last commits changed
//! ([`Limits::watch_log`](crate::Limits::watch_log)), and a watch reads on from where it stands whenever it is
//! asked. So a slow reader costs no memory, an interrupted one goes on where it stopped, after a restart too,
//! and one that comes back too late is told so and gets the current state.

use alloc::vec::Vec;
use core::fmt;
use core::ops::ControlFlow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::names::author;
use super::told::{Batch, Told};
use super::{Collection, Row, get, prefix_end, scan};
use crate::id::{CollectionId, CommitSeq, Name, SyncgroupId, Version};
use crate::log::record::{Content, Record, RowRecord};
use crate::object::history::Place;
use crate::replica::changes::{ChangeEntry, Changed, ChangedRow, Shows};
use crate::replica::stored::{Kept, Lives, StateRecord, Stored, corrupt};
use crate::store::key::GroupIx;
use crate::store::{Fault, Scan, Table, View, key};
use crate::syncgroup::SyncgroupState;
use crate::syncgroup::group::GroupRecord;
use crate::wire::codec::DecodeError;

/// Bytes of values in a page of the state; the row that reaches it is the last.
const PAGE_BYTES: usize = 1 << 20;

/// Commits that are looked at together, at most.
const MOST_COMMITS: usize = 256;

/// Where a watch stands: how many commits of this store it has seen. As text it is one word.
///
/// ```
/// use driftless::read::Marker;
/// let text = "00000000000000ff-42";
/// assert_eq!(text.parse::<Marker>().unwrap().to_string(), text);
/// assert!("yesterday".parse::<Marker>().is_err());
/// let text = "00000000000000ff-42-45";
/// assert_eq!(text.parse::<Marker>().unwrap().to_string(), text);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Marker {
    /// The boot at which the number was given: after a crash that lost commits it may be given again.
    pub life: u64,
    /// The last commit that was seen.
    pub seq: CommitSeq,
    /// The last commit of which anything was seen: a merging row is told as it is when it is read, and where a store
    /// does not hold that commit any more, what was told is not so.
    pub shown: CommitSeq,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.life, self.seq.0)?;
        if self.shown > self.seq { write!(f, "-{}", self.shown.0) } else { Ok(()) }
    }
}

/// A text that is no marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a marker is 16 hexadecimal digits and one or two numbers, with hyphens between, as a watch printed it"
)]
pub struct ParseMarkerError;

impl core::str::FromStr for Marker {
    type Err = ParseMarkerError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (life, seq) = text.split_once('-').ok_or(ParseMarkerError)?;
        let is_hex = life.len() == 16 && life.bytes().all(|byte| byte.is_ascii_hexdigit());
        let life = u64::from_str_radix(life, 16).ok().filter(|_| is_hex);
        let number = |text: &str| text.parse().map(CommitSeq).map_err(|_| ParseMarkerError);
        let (seq, shown) = seq.split_once('-').unwrap_or((seq, seq));
        let (seq, shown) = (number(seq)?, number(shown)?);
        Ok(Self { life: life.ok_or(ParseMarkerError)?, seq, shown: shown.max(seq) })
    }
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// A page of the current state: rows that are there. Rows that are in none of its pages are not there.
    State {
        /// Why the state is told, and not just what changed.
        because: Resumed,
        /// Whether this is the first page: what earlier pages said does not count, if the state began before and
        /// the view has changed since.
        begins: bool,
        /// The rows of this page, in the order of collections and keys.
        rows: Vec<RowUpdate>,
        /// Whether this is the last page, and from where changes follow.
        complete: Option<Marker>,
    },
    /// A batch has changed rows: all of them that are watched, as they were shown then.
    Batch {
        /// Where to resume after it; `None` if more batches of the same commit follow, which would be missed.
        marker: Option<Marker>,
        /// Whether this device's application wrote it.
        local: bool,
        /// The rows.
        rows: Vec<RowUpdate>,
    },
    /// There is nothing more to come of a syncgroup; the watch goes on with the others, if there are any.
    End {
        /// Which syncgroup.
        syncgroup: SyncgroupId,
        /// Why.
        why: WatchEnd,
    },
}

/// Why a watch tells the current state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Resumed {
    /// It begins.
    Started,
    /// It was away for longer than changes are kept: some were missed. Or what lay ahead of the clock was taken back and
    /// written again since ([`crate::Command::Reissue`]): of earlier changes nothing is kept.
    TooOld,
    /// Its marker is not of this store, or of a commit that a crash took.
    Unknown,
    /// The schema has changed, or a merge of the application that it names was registered or is missing since this
    /// device was last started, and with it maybe what rows show.
    Schema,
}

/// Why there is nothing more to come of a syncgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum WatchEnd {
    /// This device is not a member any more: this is how it stands.
    NotMember(SyncgroupState),
    /// The syncgroup is not in this store.
    Gone,
}

/// A row, as a watch tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowUpdate {
    /// Its syncgroup.
    pub syncgroup: SyncgroupId,
    /// Its collection.
    pub collection: Name,
    /// Its key.
    pub key: Bytes,
    /// What it shows; `None` if it is not there any more.
    pub value: Option<Bytes>,
    /// By which version: the one that changed it, the one by which somebody was removed if that made others void, or,
    /// where the state is told, the last of its heads. All rows of
    /// a batch have the same one in each syncgroup; its author tells the device.
    pub version: Version,
}

/// Rows that are watched, and how far.
///
/// ```
/// # use driftless::store::MemStore;
/// use driftless::read::{self, Changes, Update};
/// # fn watch(store: &MemStore) -> Result<(), driftless::Fault> {
/// let notes = read::collections(store)?.into_iter().find(|c| c.name.as_str() == "notes").unwrap();
/// let mut changes = Changes::new(vec![(notes, "2026/".into())]);
/// while let Some(update) = changes.next(store, 100)? {
///     if let Update::Batch { marker, rows, .. } = update {
///         println!("{} rows changed", rows.len());
///         if let Some(marker) = marker {
///             println!("to go on from here: {marker}");
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Changes {
    watched: Vec<(Collection, Bytes)>,
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    Resume(Marker),
    /// Tells the state as of a commit; so far up to a row of the collection of this number.
    State {
        because: Resumed,
        at: Option<Marker>,
        collection: usize,
        after: Option<Bytes>,
    },
    Changes {
        marker: Marker,
        ready: Vec<Update>,
    },
}

impl Changes {
    /// Watches rows of these collections whose keys start with the prefixes, from the current state on.
    pub fn new(watched: Vec<(Collection, Bytes)>) -> Self {
        Self { watched, stage: Stage::state(Resumed::Started) }
    }

    /// The same, from where a watch stopped: only what changed since, if that is still known.
    pub fn resume(watched: Vec<(Collection, Bytes)>, marker: Marker) -> Self {
        Self { watched, stage: Stage::Resume(marker) }
    }

    /// What comes next in this view; `None` if nothing does, until there is another commit. While a state is
    /// told the view should stay the same: another one makes it start over. `limit` is how many rows a page
    /// has at most, and it is full with a mebibyte of values; batches come whole.
    ///
    /// # Errors
    /// [`Fault`] if the store cannot say; then nothing has been skipped.
    pub fn next(&mut self, view: &dyn View, limit: usize) -> Result<Option<Update>, Fault> {
        let Some(now) = now(view)? else { return Ok(None) };
        if let Stage::Resume(marker) = self.stage {
            self.stage = match is_known(view, &marker, &now)? {
                Some(because) => Stage::state(because),
                None => Stage::Changes { marker, ready: Vec::new() },
            };
        }
        if let Stage::State { because, at: Some(at), .. } = self.stage
            && at != now
        {
            self.stage = Stage::state(because);
        }
        match &mut self.stage {
            Stage::Resume(_) => Ok(None),
            Stage::State { at, .. } => {
                *at = Some(now);
                self.page(view, now, limit.max(1)).map(Some)
            }
            Stage::Changes { ready, .. } if !ready.is_empty() => Ok(Some(ready.remove(0))),
            Stage::Changes { .. } => {
                self.read_on(view, now)?;
                match &mut self.stage {
                    Stage::Changes { ready, .. } if !ready.is_empty() => Ok(Some(ready.remove(0))),
                    Stage::State { .. } => self.next(view, limit),
                    _ => self.ended(view),
                }
            }
        }
    }

    /// Whether nothing is watched any more.
    pub fn is_over(&self) -> bool {
        self.watched.is_empty()
    }

    /// Where to resume, if all that was told so far was taken in; `None` while the state is not complete.
    pub fn marker(&self) -> Option<Marker> {
        match &self.stage {
            Stage::Changes { marker, ready } if ready.is_empty() => Some(*marker),
            Stage::Resume(marker) => Some(*marker),
            _ => None,
        }
    }

    /// The next page of the state.
    fn page(&mut self, view: &dyn View, now: Marker, limit: usize) -> Result<Update, Fault> {
        let Stage::State { because, collection, after, .. } = &mut self.stage else {
            let (because, rows) = (Resumed::Started, Vec::new());
            return Ok(Update::State { because, begins: true, rows, complete: Some(now) });
        };
        let because = *because;
        let begins = *collection == 0 && after.is_none();
        let (mut rows, mut bytes): (Vec<RowUpdate>, usize) = (Vec::new(), 0);
        while let Some((watched, prefix)) = self.watched.get(*collection) {
            let seen = after.clone();
            let from = seen.as_deref().unwrap_or(prefix);
            let to = prefix_end(prefix);
            let mut is_full = false;
            scan(view, watched, from, to.as_deref(), false, &mut |row| {
                if seen.as_ref() == Some(&row.key) {
                    return ControlFlow::Continue(());
                }
                is_full = rows.len() >= limit || bytes >= PAGE_BYTES;
                if is_full {
                    return ControlFlow::Break(());
                }
                *after = Some(row.key.clone());
                bytes += row.value.len();
                rows.push(update(watched, row));
                ControlFlow::Continue(())
            })?;
            if is_full {
                return Ok(Update::State { because, begins, rows, complete: None });
            }
            *collection += 1;
            *after = None;
        }
        self.stage = Stage::Changes { marker: now, ready: Vec::new() };
        Ok(Update::State { because, begins, rows, complete: Some(now) })
    }

    /// Reads on up to the next commit that matters.
    fn read_on(&mut self, view: &dyn View, now: Marker) -> Result<(), Fault> {
        let Stage::Changes { marker: last, .. } = self.stage else { return Ok(()) };
        if last.seq >= now.seq {
            return Ok(());
        }
        if let Some(because) = is_known(view, &last, &now)? {
            self.stage = Stage::state(because);
            return Ok(());
        }
        let (mut from, mut page) = (CommitSeq(last.seq.0 + 1), 1);
        loop {
            let commits = commits(view, from, page)?;
            let is_last = commits.len() < page;
            for (seq, entries) in commits {
                if entries.iter().any(|entry| self.is_schema(entry)) {
                    self.stage = Stage::state(Resumed::Schema);
                    return Ok(());
                }
                // What was seen of an earlier life goes on in this one.
                let (batches, is_derived) = self.batches(view, entries)?;
                let shown = if is_derived { now.seq } else { last.shown.max(seq) };
                let marker = Marker { seq, shown, ..now };
                let mut ready: Vec<_> =
                    batches.map(|(local, rows)| Update::Batch { marker: None, local, rows }).collect();
                if let Some(Update::Batch { marker: last, .. }) = ready.last_mut() {
                    *last = Some(marker);
                }
                if !ready.is_empty() {
                    self.stage = Stage::Changes { marker, ready };
                    return Ok(());
                }
                from = CommitSeq(seq.0 + 1);
            }
            if is_last {
                self.stage = Stage::Changes { marker: now, ready: Vec::new() };
                return Ok(());
            }
            // The next one usually matters; where it does not, many may not.
            page = (2 * page).min(MOST_COMMITS);
        }
    }

    fn is_schema(&self, entry: &ChangeEntry) -> bool {
        let is_it = |(collection, _): &(Collection, Bytes)| {
            collection.index == entry.group && entry.what == Changed::Schema(collection.id)
        };
        self.watched.iter().any(is_it)
    }

    /// As part of which collection a row is watched.
    fn watching(&self, group: GroupIx, (id, key): (&CollectionId, &Bytes)) -> Option<&Collection> {
        let here = |(collection, prefix): &&(Collection, Bytes)| {
            collection.index == group && collection.id == *id && key.starts_with(prefix)
        };
        self.watched.iter().find(here).map(|(collection, _)| collection)
    }

    /// What a commit changed of what is watched: for each batch, whether this device's application wrote it. The parts of
    /// a batch that touches several syncgroups come as one, where the last of them was applied. Says, too, whether some
    /// rows are told as they are by now.
    fn batches(
        &self,
        view: &dyn View,
        entries: Vec<ChangeEntry>,
    ) -> Result<(impl Iterator<Item = (bool, Vec<RowUpdate>)> + use<>, bool), Fault> {
        let (mut all, mut is_derived) = (Told::default(), false);
        for ChangeEntry { group, what } in entries {
            let (by, local, batch, told) = match what {
                Changed::Schema(_) => continue,
                Changed::Rows { by: (ix, generation), local, batch, rows } => {
                    let watched = |row: &ChangedRow| self.watching(group, (&row.collection, &row.key));
                    let rows: Vec<_> = rows.iter().filter_map(|row| Some((watched(row)?, row))).collect();
                    if rows.is_empty() {
                        (ix, local, batch, Vec::new())
                    } else {
                        let version = Version { author: author(view, ix)?, generation };
                        let mut told = Vec::with_capacity(rows.len());
                        for (collection, row) in rows {
                            let (row, is_now) = shown(view, collection, row, version)?;
                            told.push(row);
                            is_derived |= is_now;
                        }
                        (ix, local, batch, told)
                    }
                }
                Changed::Generation { by, local, collection } => {
                    if !self.is_watched(group, collection.as_ref()) {
                        continue;
                    }
                    let (batch, told) = self.generation(view, group, by)?;
                    (by.0, local, batch, told)
                }
            };
            all.add((group, by), batch, local, told);
        }
        Ok((all.batches(), is_derived))
    }

    /// Whether a collection of a syncgroup is watched, or any.
    fn is_watched(&self, group: GroupIx, id: Option<&CollectionId>) -> bool {
        let is_it = |collection: &Collection| id.is_none_or(|id| collection.id == *id);
        self.watched.iter().any(|(collection, _)| collection.index == group && is_it(collection))
    }

    /// The rows that are watched of a generation, as that made them, and the batch that it is a part of.
    fn generation(
        &self,
        view: &dyn View,
        group: GroupIx,
        (ix, generation): Place,
    ) -> Result<(Batch, Vec<RowUpdate>), Fault> {
        let encoded = Stored::get(&|table, key| view.get(table, key), group, ix, generation)?.encoded()?;
        let author = author(view, ix)?;
        let version = Version { author, generation };
        let records = encoded.records(&author).map_err(|error| corrupt(Table::Log, error))?;
        let rows = records.into_iter().filter_map(|record| {
            let Record::Row(RowRecord { collection: id, key, content, .. }) = record else { return None };
            let collection = self.watching(group, (&id, &key))?;
            let value = if let Content::Put(value) = content { Some(value) } else { None };
            let (syncgroup, collection) = (collection.syncgroup, collection.name.clone());
            Some(RowUpdate { syncgroup, collection, key, value, version })
        });
        Ok((encoded.header.batch.as_ref().map(|part| part.id), rows.collect()))
    }

    /// Takes out what cannot be watched any more.
    fn ended(&mut self, view: &dyn View) -> Result<Option<Update>, Fault> {
        for at in 0..self.watched.len() {
            let Some((collection, _)) = self.watched.get(at) else { break };
            let syncgroup = collection.syncgroup;
            if let Some(why) = end(view, collection)? {
                self.watched.retain(|(collection, _)| collection.syncgroup != syncgroup);
                return Ok(Some(Update::End { syncgroup, why }));
            }
        }
        Ok(None)
    }
}

impl Stage {
    fn state(because: Resumed) -> Self {
        Stage::State { because, at: None, collection: 0, after: None }
    }
}

/// Where the store is; `None` if it is new.
fn now(view: &dyn View) -> Result<Option<Marker>, Fault> {
    let Some(state) = StateRecord::get(view)? else { return Ok(None) };
    Ok(Some(Marker { life: Lives::get(view)?.now(), seq: state.seq, shown: state.seq }))
}

/// Why a marker cannot be resumed from; `None` if it can.
fn is_known(view: &dyn View, marker: &Marker, now: &Marker) -> Result<Option<Resumed>, Fault> {
    let last = marker.seq.max(marker.shown);
    if last > now.seq || !Lives::get(view)?.has(marker.life, last) {
        return Ok(Some(Resumed::Unknown));
    }
    let from = Kept::get(view)?.from(now.seq);
    Ok((marker.seq.0 + 1 < from.0).then_some(Resumed::TooOld))
}

fn end(view: &dyn View, collection: &Collection) -> Result<Option<WatchEnd>, Fault> {
    let Some(bytes) = view.get(Table::Syncgroup, &key::number(collection.index))? else {
        return Ok(Some(WatchEnd::Gone));
    };
    let wrong = |_| corrupt(Table::Syncgroup, DecodeError { what: "a syncgroup" });
    let record: GroupRecord = postcard::from_bytes(&bytes).map_err(wrong)?;
    Ok(match record.stage.state(false) {
        SyncgroupState::Joining | SyncgroupState::Pending | SyncgroupState::Active => None,
        state => Some(WatchEnd::NotMember(state)),
    })
}

/// What the log of changes says of the next commits, at most so many.
fn commits(
    view: &dyn View,
    from: CommitSeq,
    limit: usize,
) -> Result<Vec<(CommitSeq, Vec<ChangeEntry>)>, Fault> {
    let (from, mut found) = (key::change(from), Vec::new());
    let mut wrong = Ok(());
    view.scan(&Scan::range(Table::Change, &from, None).limit(limit), &mut |key, value| {
        match commit(key, value) {
            Ok(commit) => found.push(commit),
            Err(fault) => wrong = Err(fault),
        }
        if wrong.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    wrong.map(|()| found)
}

/// What the log of changes says of a commit.
fn commit(key: &[u8], value: &[u8]) -> Result<(CommitSeq, Vec<ChangeEntry>), Fault> {
    let wrong = || corrupt(Table::Change, DecodeError { what: "the number of a commit" });
    let seq = u64::from_be_bytes(*key.first_chunk().ok_or_else(wrong)?);
    Ok((CommitSeq(seq), ChangeEntry::from_bytes(value)?))
}

fn update(collection: &Collection, row: Row) -> RowUpdate {
    let (syncgroup, name) = (collection.syncgroup, collection.name.clone());
    RowUpdate { syncgroup, collection: name, key: row.key, value: Some(row.value), version: row.version }
}

/// A row as a commit left it; or, where it was derived, as it is now, and that it is so.
fn shown(
    view: &dyn View,
    collection: &Collection,
    row: &ChangedRow,
    version: Version,
) -> Result<(RowUpdate, bool), Fault> {
    let now = || Ok((get(view, collection, &row.key)?.map(|row| row.value), true));
    let (value, is_now) = match &row.shows {
        Shows::Nothing => (None, false),
        Shows::Derived => now()?,
        Shows::Version((ix, generation)) => {
            let read = |table, key: &Bytes| view.get(table, key);
            let (author, name) = (author(view, *ix)?, (collection.id, &row.key));
            match Stored::row(&read, collection.index, *ix, author, *generation, name)?
                .map(|n| n.record.content)
            {
                Some(Content::Put(value)) => (Some(value), false),
                _ => now()?,
            }
        }
    };
    let (syncgroup, name) = (collection.syncgroup, collection.name.clone());
    Ok((RowUpdate { syncgroup, collection: name, key: row.key.clone(), value, version }, is_now))
}
