//! Oracles of rows: what readers see is what the model computes from what the replica says it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use driftless::read::{self, Collection};
use driftless::{Action, Fault, SyncgroupId, Version};

use super::collections::{Collections, collections, told_of_collection};
use super::{Checked, Held, Oracle, Seen, Violation, Watch};
use crate::coverage::{Coverage, Point};
use crate::model::{Content, Head, RowKey, Seen as SeenRow, Shown, Views, holds};
use crate::plan::Ledger;

impl Watch {
    /// Checks the rows that a commit touched (S-11 … S-14), also by what it says of who may do what (S-35), and that
    /// readers were told of each that changed, and of no other (S-52).
    pub(super) fn changed_rows(
        &self,
        seen: Seen<'_>,
        before: Views<'_>,
        actions: &[Action],
        coverage: &mut Coverage,
    ) -> Checked {
        let now = self.views(seen.replica);
        // What is taken back, as it lay ahead of the clock, leaves its rows to what there was before.
        let written = &self.touched(before.shown, now.shown) | &self.touched(now.shown, before.shown);
        let found = self.found_with_collections(before, now.held);
        let touched = &(&written | &self.judged_anew(before, now.held)) | &found;
        if touched.is_empty() && !actions.iter().any(|action| matches!(action, Action::Changed(_))) {
            return Ok(());
        }
        let collections = collections(seen)?;
        let mut told = told(seen, actions, &collections)?;
        // Of what lies behind a cut that came with it nothing is left, and it was shown until then.
        let is_cut = |group: &SyncgroupId| {
            actions.iter().filter_map(super::notice).any(
                |notice| matches!(notice, driftless::Notice::Forked { syncgroup, .. } if syncgroup == group),
            )
        };
        let flips = |group: &SyncgroupId| {
            let (old, held) = (before.held.get(group), now.held.get(group));
            is_cut(group)
                || old.zip(held).is_some_and(|(old, held)| self.model.may_have_flipped(group, old, held))
        };
        let is_account = |key: &[u8]| Ledger::ALL.into_iter().any(|ledger| ledger.has(key));
        let accounts = touched.iter().filter(|(_, row)| !self.has_app && is_account(&row.key));
        for group in accounts.map(|(group, _)| *group).collect::<BTreeSet<_>>() {
            self.totals(seen, &group, coverage)?;
        }
        for (group, row) in touched {
            let Some(view) = now.of(&group) else { continue };
            let known = self.model.seen(&group, &row, view);
            let policy = self.model.policy(&group, &row, &now.held[&group]);
            let collection = collections.get(&(group, row.collection.clone()));
            if !self.model.has_collection(&group, &row.collection, view.held) {
                if collection.is_some() {
                    let what = format!("{} is there, and nobody has added it", row.collection);
                    return Err(Violation::new(Oracle::Model, "S-12", seen.replica, what));
                }
                continue;
            }
            let real = match collection {
                Some(collection) => read::heads(seen.store, collection, &row.key).map_err(fault(seen))?,
                None => Vec::new(),
            };
            compare_heads(seen.replica, &group, &row, &known.heads, &real)?;
            self.count_conflicts(&group, &row, &known, coverage);
            let shows = self.model.show(&known, &policy);
            if let Some(collection) = collection {
                let real = read::get(seen.store, collection, &row.key).map_err(fault(seen))?;
                compare_row(seen.replica, &group, &row, shows.as_ref(), real.as_ref())?;
            }
            let old = before.of(&group).and_then(|old| self.model.shown(&group, &row, old));
            if old.as_ref().is_some_and(|old| old.in_conflict)
                && shows.as_ref().is_none_or(|shows| !shows.in_conflict)
            {
                coverage.hit(Point::ConflictClosed);
            }
            let shows = shows.map(|shows| shows.value);
            let reported = told.remove(&(group, row.clone()));
            if found.contains(&(group, row.clone())) {
                coverage.hit(Point::CollectionCame);
                told_of_collection(seen, (&group, &row.collection), actions)?;
                continue;
            }
            if self.ruled_anew(&group, &row.collection, before.held, now.held) {
                // What was told in between was true then, under one schema or the other.
                continue;
            }
            let differs = old.map(|old| old.value) != shows;
            match reported {
                None if differs => {
                    let what = format!("{} changed, and readers were not told", name(&group, &row));
                    return Err(Violation::new(Oracle::Model, "S-52", seen.replica, what));
                }
                Some(value) if value != shows => {
                    let what = format!("readers were told something else of {}", name(&group, &row));
                    return Err(Violation::new(Oracle::Model, "S-52", seen.replica, what));
                }
                Some(_) if !differs && !written.contains(&(group, row.clone())) && !flips(&group) => {
                    let what =
                        format!("readers were told of {}, which shows what it did", name(&group, &row));
                    return Err(Violation::new(Oracle::Model, "S-52", seen.replica, what));
                }
                _ => {}
            }
        }
        // What was told in between was true then, too.
        let odd = told.keys().find(|(group, row)| {
            !flips(group) && !self.ruled_anew(group, &row.collection, before.held, now.held)
        });
        match odd {
            Some((group, row)) => {
                let what = format!("readers were told of {}, which nothing touched", name(group, row));
                Err(Violation::new(Oracle::Model, "S-52", seen.replica, what))
            }
            None => Ok(()),
        }
    }

    /// Whether another schema came in, or a part of one is void that was not, or the other way round.
    pub(super) fn ruled_anew(
        &self,
        group: &SyncgroupId,
        collection: &driftless::Name,
        before: &Held,
        held: &Held,
    ) -> bool {
        let nothing = driftless::Knowledge::new();
        let before = before.get(group).unwrap_or(&nothing);
        let held = held.get(group).unwrap_or(&nothing);
        self.model.schemas(group).any(|(version, generation)| {
            let is_void = |held| self.model.is_void(group, version, held);
            (holds(held, version) || holds(before, version))
                && generation.rules.keys().any(|(of, _)| of == collection)
                && (holds(before, version) != holds(held, version)
                    || is_void(before) != is_void(held)
                    || self.model.may_have_flipped(group, before, held))
        })
    }

    /// The rows of generations that were shown and are void now, or were void and count.
    fn judged_anew(&self, before: Views<'_>, held: &Held) -> BTreeSet<(SyncgroupId, RowKey)> {
        let mut rows = BTreeSet::new();
        for (group, held) in held {
            let Some(before) = before.of(group) else { continue };
            let judged = self.model.judged_anew(group, before.held, held).into_iter();
            let shown = judged.filter(|(version, _)| holds(before.shown, version));
            rows.extend(shown.flat_map(|(_, it)| it.rows.keys()).map(|row| (*group, row.clone())));
        }
        rows
    }

    fn count_conflicts(&self, group: &SyncgroupId, row: &RowKey, known: &SeenRow, coverage: &mut Coverage) {
        count_conflicts(&known.bases, coverage);
        let authors: BTreeSet<_> = known.live.iter().map(|live| live.at.1.author).collect();
        if authors.len() > 1 {
            coverage.hit(Point::OperationsBeside);
        }
        let beside = |one: &Version, other: &Version| {
            !self.covers(group, one, other) && !self.covers(group, other, one)
        };
        let puts = known.bases.iter().filter(|base| base.value.is_some());
        if puts.clone().any(|put| known.live.iter().any(|live| beside(&put.version, &live.at.1))) {
            coverage.hit(Point::PutBesideOperation);
        }
        let does = |live: &crate::model::Live, removes: bool| {
            live.operations.iter().any(|operation| match operation {
                driftless::Operation::Remove(_) => removes,
                driftless::Operation::Insert(_) => !removes,
                _ => false,
            })
        };
        let mut pairs = known.live.iter().flat_map(|one| known.live.iter().map(move |other| (one, other)));
        if pairs.any(|(one, other)| does(one, true) && does(other, false) && beside(&one.at.1, &other.at.1)) {
            coverage.hit(Point::RemoveBesideInsert);
        }
        let resolutions = known.heads.iter().filter(|head| {
            let knew = |other: &Version| self.covers(group, &head.version, other) && *other != head.version;
            let of = self.model.generation(group, &head.version).and_then(|it| it.rows.get(row));
            matches!(of, Some(Content::Put(_) | Content::Delete))
                && self.resolutions.contains(&(*group, head.version))
                && !known.heads.iter().any(|other| knew(&other.version))
        });
        if resolutions.count() > 1 {
            coverage.hit(Point::ResolutionsMet);
        }
    }

    /// The rows of the generations that are in one set and not in another.
    fn touched(&self, before: &Held, held: &Held) -> BTreeSet<(SyncgroupId, RowKey)> {
        let mut touched = BTreeSet::new();
        for (group, held) in held {
            let old = before.get(group);
            for (author, last) in held {
                let known = old.and_then(|old| old.get(author)).copied().unwrap_or(0);
                for generation in known + 1..=*last {
                    let version = Version { author: *author, generation };
                    let rows =
                        self.model.generation(group, &version).into_iter().flat_map(|it| it.rows.keys());
                    touched.extend(rows.map(|row| (*group, row.clone())));
                }
            }
        }
        touched
    }

    /// A reader looks at everything that a replica shows, at a moment of no significance.
    pub(crate) fn look(&self, seen: Seen<'_>, coverage: &mut Coverage) -> Checked {
        let (held, notes) = (super::shown(seen.core), &self.notes[seen.replica]);
        if held != notes.shown || super::held(seen.core) != notes.held {
            let what = "what it says it holds has changed without a commit";
            return Err(Violation::new(Oracle::Durability, "S-10", seen.replica, what));
        }
        self.tells_the_spec(seen)?;
        self.tells_the_publications(seen)?;
        self.tells_the_rights(seen)?;
        let collections = collections(seen)?;
        for group in held.keys() {
            let Some(view) = self.views(seen.replica).of(group) else { continue };
            let rows: BTreeSet<&RowKey> = self.model.rows(group).collect();
            let mut shown: BTreeSet<Version> = BTreeSet::new();
            let mut seen_rows: BTreeSet<RowKey> = BTreeSet::new();
            for ((_, name), collection) in collections.iter().filter(|((of, _), _)| of == group) {
                for row in scan(seen, collection)? {
                    let key = RowKey { collection: name.clone(), key: row.key.clone() };
                    let expected = self.model.shown(group, &key, view);
                    compare_row(seen.replica, group, &key, expected.as_ref(), Some(&row))?;
                    shown.insert(row.version);
                    seen_rows.insert(key);
                }
            }
            for row in rows {
                if !seen_rows.contains(row)
                    && self.model.has_collection(group, &row.collection, view.held)
                    && let Some(expected) = self.model.shown(group, row, view)
                {
                    compare_row(seen.replica, group, row, Some(&expected), None)?;
                }
            }
            for version in shown {
                self.whole(seen, group, &version, &collections)?;
            }
            if !self.has_app {
                // Other rules can change what accounts show, and no commit touches them.
                self.totals(seen, group, coverage)?;
            }
        }
        Ok(())
    }

    /// A reader who sees one row of a batch sees all of it: each row of it, or what superseded it (S-28); and
    /// the row is there with its past (S-29).
    fn whole(
        &self,
        seen: Seen<'_>,
        group: &SyncgroupId,
        version: &Version,
        collections: &Collections,
    ) -> Checked {
        let held = &self.notes[seen.replica].shown[group];
        let Some(generation) = self.model.generation(group, version) else { return Ok(()) };
        let wrong = |rule, what| Err(Violation::new(Oracle::Causality, rule, seen.replica, what));
        if !holds(held, version)
            || generation.past.iter().any(|(author, last)| {
                *last > 0 && !holds(held, &Version { author: *author, generation: *last })
            })
        {
            return wrong("S-29", format!("shows {version:?} of {group:?} without its past"));
        }
        for row in generation.rows.keys() {
            let Some(collection) = collections.get(&(*group, row.collection.clone())) else {
                let held = &self.notes[seen.replica].held[group];
                if !self.model.has_collection(group, &row.collection, held) {
                    continue;
                }
                return wrong("S-28", format!("shows {version:?} without its collection {}", row.collection));
            };
            let heads = read::heads(seen.store, collection, &row.key).map_err(fault(seen))?;
            if !heads.iter().any(|head| self.covers(group, &head.version, version)) {
                let row = name(group, row);
                return wrong("S-28", format!("shows {version:?} in other rows and not in {row}"));
            }
        }
        Ok(())
    }

    /// Whether a version is another, or has it in its past.
    pub(super) fn covers(&self, group: &SyncgroupId, version: &Version, other: &Version) -> bool {
        version == other
            || self.model.generation(group, version).is_some_and(|known| holds(&known.past, other))
    }

    /// Checks the heads of every row (S-11).
    pub(super) fn all_heads(&self, seen: Seen<'_>) -> Checked {
        let collections = collections(seen)?;
        let views = self.views(seen.replica);
        for group in views.shown.keys() {
            let Some(view) = views.of(group) else { continue };
            for row in self.model.rows(group) {
                if !self.model.has_collection(group, &row.collection, view.held) {
                    continue;
                }
                let real = match collections.get(&(*group, row.collection.clone())) {
                    Some(collection) => read::heads(seen.store, collection, &row.key).map_err(fault(seen))?,
                    None => Vec::new(),
                };
                compare_heads(seen.replica, group, row, &self.model.heads(group, row, view), &real)?;
            }
        }
        Ok(())
    }
}

fn scan(seen: Seen<'_>, collection: &Collection) -> Result<Vec<read::Row>, Violation> {
    let mut rows: Vec<read::Row> = Vec::new();
    read::scan(seen.store, collection, &[], None, false, &mut |row| {
        rows.push(row);
        ControlFlow::Continue(())
    })
    .map_err(fault(seen))?;
    if !rows.is_sorted_by(|one, two| one.key < two.key) {
        let what = format!("a scan of {} is out of order", collection.name);
        return Err(Violation::new(Oracle::Model, "S-12", seen.replica, what));
    }
    Ok(rows)
}

/// What readers were told: the last word on each row.
fn told(
    seen: Seen<'_>,
    actions: &[Action],
    collections: &Collections,
) -> Result<BTreeMap<(SyncgroupId, RowKey), Option<bytes::Bytes>>, Violation> {
    let mut told = BTreeMap::new();
    let changes = actions.iter().filter_map(|action| match action {
        Action::Changed(changes) => Some(changes),
        _ => None,
    });
    for change in changes.flatten() {
        let of = |it: &&Collection| it.syncgroup == change.syncgroup && it.id == change.collection;
        let Some(collection) = collections.values().find(of) else {
            let what = format!("readers were told of a row in {:?}, which is not there", change.collection);
            return Err(Violation::new(Oracle::Model, "S-52", seen.replica, what));
        };
        let row = RowKey { collection: collection.name.clone(), key: change.key.clone() };
        told.insert((change.syncgroup, row), change.value.clone());
    }
    Ok(told)
}

/// Compares heads: the same set, the shown one first.
fn compare_heads(
    replica: usize,
    group: &SyncgroupId,
    row: &RowKey,
    expected: &[Head],
    real: &[read::Head],
) -> Checked {
    let real: Vec<Head> = real
        .iter()
        .map(|head| Head {
            version: head.version,
            stamp: head.stamp,
            value: head.value.clone(),
            is_operation: head.is_operation,
        })
        .collect();
    let mut sorted = real.clone();
    sorted.sort_by_key(|head| std::cmp::Reverse((head.stamp, head.version)));
    if sorted == expected && real.first() == expected.first() {
        return Ok(());
    }
    let list = |heads: &[Head]| -> Vec<String> {
        heads
            .iter()
            .map(|head| format!("{:?}@{:?}={}", head.version, head.stamp, brief(&head.value)))
            .collect()
    };
    let row = name(group, row);
    let what = format!("{row} has heads {:?}; the model has {:?}", list(&real), list(expected));
    Err(Violation::new(Oracle::Model, "S-11", replica, what))
}

fn compare_row(
    replica: usize,
    group: &SyncgroupId,
    key: &RowKey,
    expected: Option<&Shown>,
    real: Option<&read::Row>,
) -> Checked {
    let real = real.map(|row| Shown {
        value: row.value.clone(),
        version: row.version,
        stamp: row.stamp,
        in_conflict: row.in_conflict,
    });
    if real.as_ref() == expected {
        return Ok(());
    }
    let text = |shown: Option<&Shown>| match shown {
        Some(row) => {
            let conflict = if row.in_conflict { ", in conflict" } else { "" };
            format!("{} by {:?}@{:?}{conflict}", brief(&Some(row.value.clone())), row.version, row.stamp)
        }
        None => "nothing".to_owned(),
    };
    let row = name(group, key);
    let what = format!("{row} shows {}; the model shows {}", text(real.as_ref()), text(expected));
    Err(Violation::new(Oracle::Model, "S-13", replica, what))
}

fn count_conflicts(heads: &[Head], coverage: &mut Coverage) {
    let Some(first) = heads.first() else { return };
    let differs = heads.iter().any(|head| head.value != first.value);
    match heads.len() {
        1 => return,
        _ if !differs && first.value.is_none() => {}
        _ if !differs => coverage.hit(Point::SameContent),
        2 => coverage.hit(Point::TwoHeads),
        _ => coverage.hit(Point::ThreeHeads),
    }
    if differs && heads.iter().any(|head| head.value.is_none()) {
        coverage.hit(Point::DeletionInConflict);
    }
}

/// A row, for people.
pub(super) fn name(group: &SyncgroupId, row: &RowKey) -> String {
    format!("{group:?}/{}/{}", row.collection, String::from_utf8_lossy(&row.key))
}

/// A value, for people: its start and its length.
fn brief(value: &Option<bytes::Bytes>) -> String {
    match value {
        None => "deleted".to_owned(),
        Some(value) => {
            let start: String = String::from_utf8_lossy(value).chars().take(12).collect();
            format!("\"{start}\" of {} bytes", value.len())
        }
    }
}

/// A store that cannot be read is a violation of its own: no store of an honest run fails.
pub(super) fn fault(seen: Seen<'_>) -> impl Fn(Fault) -> Violation {
    let replica = seen.replica;
    move |fault| Violation::new(Oracle::Model, "S-12", replica, format!("reading rows: {fault}"))
}
