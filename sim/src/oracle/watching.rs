//! Oracles of watching (S-52): each change is told exactly once, batch by batch, causes first; and whoever takes in
//! all that was told sees what readers see, after interruptions too.

mod resuming;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use bytes::Bytes;
use driftless::read::{self, Changes, Marker, RowUpdate, Update};
use driftless::{Action, CommitSeq, Knowledge, Name, SyncgroupId, SyncgroupState, Version};

use super::collections::{Collections, collections};
use super::rows::{fault, name};
use super::{Checked, Held, Oracle, Seen, Violation, Watch};
use crate::coverage::{Coverage, Point};
use crate::model::{Content, Generation, RowKey, holds};

/// A row, wherever it is.
type Place = (SyncgroupId, RowKey);

/// What each commit of a replica changed, as readers were told at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    commits: BTreeMap<CommitSeq, Commit>,
    /// Up to this one it is not known.
    unknown: CommitSeq,
    /// After these whoever watches begins anew: what lay ahead of the clock was taken back.
    anew: BTreeSet<CommitSeq>,
}

#[derive(Debug, Clone, Default)]
struct Commit {
    /// In order.
    changes: Vec<(Place, Option<Bytes>)>,
    before: Held,
    after: Held,
    /// What was held before, and after.
    judged: (Held, Held),
}

impl Told {
    /// Commits after this one were lost in a crash.
    pub(super) fn survived(&mut self, last: CommitSeq) {
        self.commits.retain(|seq, _| *seq <= last);
        self.anew.retain(|seq| *seq <= last);
    }

    /// After this commit whoever watches begins anew.
    pub(super) fn begins_anew(&mut self, seq: CommitSeq) {
        self.anew.insert(seq);
    }

    /// The disk was set back to what it was after a commit, maybe one of another course of things.
    pub(super) fn set_back(unknown: CommitSeq) -> Self {
        Self { unknown, ..Self::default() }
    }
}

/// Somebody who watches, with what they keep where crashes do not reach it.
#[derive(Debug, Clone)]
pub(crate) struct Watcher {
    /// What is watched.
    pub(crate) watched: BTreeSet<(SyncgroupId, Name)>,
    /// Rows whose keys start so.
    pub(crate) prefix: String,
    /// How many updates are taken at a time.
    pub(crate) page: Option<usize>,
    /// Whether somebody watches now.
    pub(crate) is_on: bool,
    changes: Option<Changes>,
    marker: Option<Marker>,
    rows: BTreeMap<Place, Bytes>,
    /// Pages of a state that is not complete yet.
    pages: BTreeMap<Place, Bytes>,
    /// Batches of the commit that is being told.
    batches: Vec<Vec<RowUpdate>>,
    /// The marker may be of a commit that was lost, or what was told with it, or of another life.
    in_doubt: bool,
    restarted: bool,
}

impl Watcher {
    pub(crate) fn new(watched: BTreeSet<(SyncgroupId, Name)>, prefix: String) -> Self {
        Self {
            watched,
            prefix,
            page: None,
            is_on: true,
            changes: None,
            marker: None,
            rows: BTreeMap::new(),
            pages: BTreeMap::new(),
            batches: Vec::new(),
            in_doubt: false,
            restarted: false,
        }
    }

    /// Stops in the middle of whatever is being told.
    pub(crate) fn stop(&mut self) {
        self.changes = None;
        self.pages.clear();
        self.batches.clear();
    }

    /// The device starts again.
    pub(crate) fn restart(&mut self, shown: bool, survived: CommitSeq) {
        self.stop();
        self.in_doubt |= !shown || self.marker.is_some_and(|marker| marker.shown > survived);
        self.restarted = true;
    }

    /// The device's disk was set back, or lost.
    pub(crate) fn set_back(&mut self) {
        self.in_doubt = true;
    }

    fn takes(&mut self, told: BTreeMap<Place, Vec<Option<Bytes>>>, marker: Marker) {
        for (place, mut values) in told {
            match values.pop().flatten() {
                Some(value) => self.rows.insert(place, value),
                None => self.rows.remove(&place),
            };
        }
        self.marker = Some(marker);
    }

    /// What is watched and not there can be watched no more.
    fn forgets_what_is_gone(&mut self, there: &Collections) {
        self.watched.retain(|place| there.contains_key(place));
        let watched = &self.watched;
        self.rows.retain(|(group, row), _| watched.contains(&(*group, row.collection.clone())));
    }

    fn watches(&self, (group, row): &Place) -> bool {
        self.watched.contains(&(*group, row.collection.clone()))
            && row.key.starts_with(self.prefix.as_bytes())
    }
}

impl Watch {
    /// Takes note of what readers are told of a commit.
    pub(super) fn told(
        &mut self,
        seen: Seen<'_>,
        (before, after): (&Held, &Held),
        judged: (&Held, &Held),
        actions: &[Action],
    ) -> Checked {
        let changed = actions.iter().filter_map(|action| match action {
            Action::Changed(changes) => Some(changes),
            _ => None,
        });
        let judged = (judged.0.clone(), judged.1.clone());
        let mut commit = Commit { changes: Vec::new(), before: before.clone(), after: after.clone(), judged };
        let mut known = None;
        for change in changed.flatten() {
            if known.is_none() {
                known = Some(collections(seen)?);
            }
            let of = |(group, _): &&(SyncgroupId, Name), it: &read::Collection| {
                *group == change.syncgroup && it.id == change.collection
            };
            let mut all = known.iter().flatten();
            let Some(((_, name), _)) = all.find(|(place, it)| of(place, it)) else { continue };
            let row = RowKey { collection: name.clone(), key: change.key.clone() };
            commit.changes.push(((change.syncgroup, row), change.value.clone()));
        }
        let notes = &mut self.notes[seen.replica];
        notes.told.commits.insert(notes.seq, commit);
        Ok(())
    }

    /// Somebody who watches takes what there is; `all` of it, or as much as they like.
    pub(crate) fn watch_on(
        &self,
        seen: Seen<'_>,
        watcher: &mut Watcher,
        all: bool,
        coverage: &mut Coverage,
    ) -> Checked {
        let resumes = watcher.changes.is_none() && watcher.marker.is_some();
        let mut changes = match watcher.changes.take() {
            Some(changes) => changes,
            None => start(seen, watcher)?,
        };
        let most = if all { usize::MAX } else { watcher.page.unwrap_or(usize::MAX) };
        let rows = watcher.page.unwrap_or(100);
        let mut took = 0;
        while took < most {
            let update = changes.next(seen.store, rows).map_err(fault(seen))?;
            took += 1;
            if resumes
                && took == 1
                && changes.marker().is_some()
                && !matches!(update, Some(Update::State { .. }))
            {
                coverage.hit(if watcher.restarted { Point::WatchRestarted } else { Point::WatchResumed });
                watcher.restarted = false;
            }
            let Some(update) = update else {
                self.caught_up(seen, watcher, &changes)?;
                break;
            };
            self.told_update(seen, watcher, &changes, update, coverage)?;
        }
        watcher.changes = Some(changes);
        Ok(())
    }

    fn told_update(
        &self,
        seen: Seen<'_>,
        watcher: &mut Watcher,
        changes: &Changes,
        update: Update,
        coverage: &mut Coverage,
    ) -> Checked {
        let wrong = |what: String| Err(Violation::new(Oracle::Watching, "S-52", seen.replica, what));
        match update {
            Update::State { because, begins, rows, complete } => {
                self.may_begin(seen, watcher, because, coverage)?;
                if begins {
                    watcher.pages.clear();
                }
                for row in rows {
                    let (place, Some(value)) = (place(&row), row.value) else {
                        return wrong("a state has a row that is not there".into());
                    };
                    if !watcher.watches(&place) || watcher.pages.insert(place.clone(), value).is_some() {
                        return wrong(format!(
                            "a state tells of {} twice, or unasked",
                            name(&place.0, &place.1)
                        ));
                    }
                }
                if let Some(marker) = complete {
                    watcher.rows = std::mem::take(&mut watcher.pages);
                    watcher.marker = Some(marker);
                    watcher.in_doubt = false;
                    watcher.batches.clear();
                    self.same_rows(seen, watcher)?;
                }
            }
            Update::Batch { marker, local, rows } => {
                coverage.hit(Point::BatchTold);
                let own = seen.core.author().device;
                if local && rows.iter().any(|row| row.version.author.device != own) {
                    return wrong("what another device wrote is told as local".into());
                }
                watcher.batches.push(rows);
                if changes.marker() != marker {
                    return wrong(format!(
                        "goes on from {:?} after a batch with {marker:?}",
                        changes.marker()
                    ));
                }
                if let Some(marker) = marker {
                    self.commit_told(seen, watcher, marker)?;
                }
            }
            Update::End { syncgroup, .. } => {
                let mut groups = seen.core.syncgroups().into_iter();
                let is_in = groups.any(|it| it.id == syncgroup && it.state == SyncgroupState::Active);
                if is_in {
                    return wrong(format!("a watch of {syncgroup:?} ended, and the device is a member"));
                }
                coverage.hit(Point::WatchEnded);
                watcher.watched.retain(|(group, _)| *group != syncgroup);
                watcher.rows.retain(|(group, _), _| *group != syncgroup);
            }
            other => return wrong(format!("tells something unheard of: {other:?}")),
        }
        Ok(())
    }

    /// All that a commit changed was told.
    fn commit_told(&self, seen: Seen<'_>, watcher: &mut Watcher, marker: Marker) -> Checked {
        let batches = std::mem::take(&mut watcher.batches);
        let wrong = |what: String| Err(Violation::new(Oracle::Watching, "S-52", seen.replica, what));
        self.nothing_missed(seen, watcher, marker.seq)?;
        let flat = batches.iter().flatten().map(|row| (place(row), row.value.clone()));
        let told = by_row(flat);
        let known = &self.notes[seen.replica].told;
        if marker.seq <= known.unknown {
            watcher.takes(told, marker);
            return Ok(());
        }
        let Some(commit) = known.commits.get(&marker.seq) else {
            return wrong(format!("commit {} changed nothing, and {batches:?} is told of it", marker.seq.0));
        };
        let expected = by_row(commit.changes.iter().filter(|(place, _)| watcher.watches(place)).cloned());
        if !expected.keys().eq(told.keys()) {
            let names = |rows: &BTreeMap<Place, Vec<Option<Bytes>>>| -> Vec<String> {
                rows.keys().map(|(group, row)| name(group, row)).collect()
            };
            let (told, expected) = (names(&told), names(&expected));
            return wrong(format!("of commit {} rows {told:?} are told; {expected:?} changed", marker.seq.0));
        }
        for (place, values) in &told {
            let now = self.now(seen, place);
            // What is derived is read when the commit is: at any moment up to now, if it waited to be taken.
            let since = known.commits.range(marker.seq..).flat_map(|(_, it)| &it.changes);
            let shown: Vec<&Option<Bytes>> =
                since.filter(|(at, _)| at == place).map(|(_, value)| value).chain([&now]).collect();
            let later = |value: &Option<Bytes>| self.is_derived(place) && shown.contains(&value);
            let same = |(told, value): (&Option<Bytes>, &Option<Bytes>)| told == value || later(told);
            if values.len() != expected[place].len() || !values.iter().zip(&expected[place]).all(same) {
                let (row, expected) = (name(&place.0, &place.1), &expected[place]);
                return wrong(format!(
                    "of {row} commit {} told {values:?}; it showed {expected:?}",
                    marker.seq.0
                ));
            }
        }
        self.told_whole(seen, &batches, commit)?;
        watcher.takes(told, marker);
        Ok(())
    }

    /// No commit between the last one that was told and this one changed anything that is watched.
    fn nothing_missed(&self, seen: Seen<'_>, watcher: &Watcher, upto: CommitSeq) -> Checked {
        let Some(from) = watcher.marker.map(|marker| marker.seq.0 + 1) else { return Ok(()) };
        let commits = self.notes[seen.replica].told.commits.range(CommitSeq(from)..upto.max(CommitSeq(from)));
        for (seq, commit) in commits {
            if let Some((place, _)) = commit.changes.iter().find(|(place, _)| watcher.watches(place)) {
                let what =
                    format!("commit {} changed {}, and that is not told", seq.0, name(&place.0, &place.1));
                return Err(Violation::new(Oracle::Watching, "S-52", seen.replica, what));
            }
        }
        Ok(())
    }

    /// Each batch comes once, as a whole, by what the commit brought, and its causes before it.
    fn told_whole(&self, seen: Seen<'_>, batches: &[Vec<RowUpdate>], commit: &Commit) -> Checked {
        let wrong = |rule, what: String| Err(Violation::new(Oracle::Watching, rule, seen.replica, what));
        let nothing = Knowledge::new();
        let mut before: BTreeSet<(SyncgroupId, Version)> = BTreeSet::new();
        for batch in batches {
            let versions: BTreeSet<_> = batch.iter().map(|row| (row.syncgroup, row.version)).collect();
            let ids: BTreeSet<_> = versions
                .iter()
                .map(|(group, version)| {
                    let id = self.model.generation(group, version).and_then(|it| it.batch);
                    (id, id.is_none().then_some((*group, *version)))
                })
                .collect();
            if ids.len() != 1 {
                return wrong("S-28", format!("{versions:?} are told as one batch"));
            }
            if self.tells_of_judging(batch, commit)? {
                continue;
            }
            // Under its own name it has forged what it likes, and its readers may meet several branches of that.
            let is_forged = |(_, version): &(SyncgroupId, Version)| {
                self.fates[seen.replica].hostile && version.author.device == self.devices[seen.replica]
            };
            for (group, version) in versions.iter().filter(|it| !is_forged(it)) {
                let known = |held: &Held| holds(held.get(group).unwrap_or(&nothing), version);
                if !known(&commit.after) || known(&commit.before) {
                    return wrong("S-52", format!("{version:?} is told where it did not come"));
                }
                let late =
                    before.iter().find(|(of, earlier)| of == group && self.covers(group, earlier, version));
                if let Some((_, earlier)) = late {
                    return wrong("S-29", format!("{earlier:?} is told before {version:?}, or twice"));
                }
                let wrote = self.model.generation(group, version).map(|it| &it.rows);
                let stranger = batch.iter().find(|row| {
                    row.syncgroup == *group && !wrote.is_some_and(|rows| rows.contains_key(&place(row).1))
                });
                if let Some(row) = stranger {
                    return wrong(
                        "S-28",
                        format!("{version:?} is told with {row:?}, which it did not write"),
                    );
                }
            }
            before.extend(versions);
        }
        Ok(())
    }

    /// Whether a batch tells what became of rows when somebody lost rights, or a key: then each of them was written by some
    /// generation that counts now and did not before, or the other way round.
    fn tells_of_judging(&self, batch: &[RowUpdate], commit: &Commit) -> Result<bool, Violation> {
        let by_removal = batch.iter().all(|row| {
            let known = self.model.generation(&row.syncgroup, &row.version);
            // Whoever forges a log may write a row where it says of which key that is.
            let is_word = |it: &Generation| it.rolled.is_some() && !it.rows.contains_key(&place(row).1);
            known.is_some_and(|it| it.says.takes() || is_word(it))
        });
        if !by_removal {
            return Ok(false);
        }
        let nothing = Knowledge::new();
        for row in batch {
            let (group, (_, key)) = (row.syncgroup, place(row));
            let (before, after) = (&commit.judged.0, &commit.judged.1);
            let (before, after) =
                (before.get(&group).unwrap_or(&nothing), after.get(&group).unwrap_or(&nothing));
            let is_judged = self.model.generations(&group).any(|(version, it)| {
                it.rows.contains_key(&key)
                    && self.model.is_void(&group, version, before)
                        != self.model.is_void(&group, version, after)
            });
            if !is_judged {
                let what =
                    format!("{row:?} is told by a removal or another key, which changed nothing of it");
                return Err(Violation { oracle: Oracle::Watching, rule: "S-35", replicas: Vec::new(), what });
            }
        }
        Ok(true)
    }

    /// There is nothing more to tell: now it must be what readers see.
    fn caught_up(&self, seen: Seen<'_>, watcher: &mut Watcher, changes: &Changes) -> Checked {
        let Some(marker) = changes.marker() else { return Ok(()) };
        self.nothing_missed(seen, watcher, CommitSeq(marker.seq.0 + 1))?;
        watcher.marker = Some(marker);
        self.same_rows(seen, watcher)
    }

    fn same_rows(&self, seen: Seen<'_>, watcher: &Watcher) -> Checked {
        let mut rows = BTreeMap::new();
        for (at, collection) in collections(seen)?.iter().filter(|(at, _)| watcher.watched.contains(*at)) {
            let from = watcher.prefix.as_bytes();
            let to = read::prefix_end(from);
            read::scan(seen.store, collection, from, to.as_deref(), false, &mut |row| {
                let key = RowKey { collection: at.1.clone(), key: row.key };
                rows.insert((at.0, key), row.value);
                ControlFlow::Continue(())
            })
            .map_err(fault(seen))?;
        }
        if rows == watcher.rows {
            return Ok(());
        }
        let odd = rows.keys().chain(watcher.rows.keys()).find(|row| rows.get(row) != watcher.rows.get(row));
        let what = odd.map_or(String::new(), |place| {
            let (told, real) = (watcher.rows.get(place), rows.get(place));
            format!("whoever watched believes of {} {told:?}; readers see {real:?}", name(&place.0, &place.1))
        });
        Err(Violation::new(Oracle::Watching, "S-52", seen.replica, what))
    }

    fn now(&self, seen: Seen<'_>, (group, row): &Place) -> Option<Bytes> {
        self.model.shown(group, row, self.views(seen.replica).of(group)?).map(|shown| shown.value)
    }

    /// Whether what a row shows may be derived: then watchers that come late are told what it shows by then.
    fn is_derived(&self, (group, row): &Place) -> bool {
        let operates = |content: Option<&Content>| matches!(content, Some(Content::Operate(_)));
        let merges = self.model.schemas(group).flat_map(|(_, it)| &it.rules);
        self.model.generations(group).any(|(_, it)| operates(it.rows.get(row)))
            || merges
                .filter(|((collection, _), _)| *collection == row.collection)
                .any(|(_, policy)| matches!(policy, Some(driftless::Policy::Merge(_))))
    }
}

fn start(seen: Seen<'_>, watcher: &mut Watcher) -> Result<Changes, Violation> {
    let all = collections(seen)?;
    watcher.forgets_what_is_gone(&all);
    let all = all.into_iter().filter(|(at, _)| watcher.watched.contains(at));
    let watched = all.map(|(_, collection)| (collection, Bytes::from(watcher.prefix.clone()))).collect();
    Ok(match watcher.marker {
        // As it is written down, and read again.
        Some(marker) => Changes::resume(watched, marker.to_string().parse().unwrap_or(marker)),
        None => Changes::new(watched),
    })
}

fn by_row(changes: impl Iterator<Item = (Place, Option<Bytes>)>) -> BTreeMap<Place, Vec<Option<Bytes>>> {
    let mut rows: BTreeMap<Place, Vec<Option<Bytes>>> = BTreeMap::new();
    changes.for_each(|(place, value)| rows.entry(place).or_default().push(value));
    rows
}

fn place(row: &RowUpdate) -> Place {
    (row.syncgroup, RowKey { collection: row.collection.clone(), key: row.key.clone() })
}
