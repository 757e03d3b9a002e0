//! Oracles of conflicts: what is raised is what belongs together, what is answered is written as one batch on top
//! of what was shown, and in the end nothing is open that somebody would have answered (S-16 … S-19).

use std::collections::{BTreeMap, BTreeSet};

use driftless::read;
use driftless::{
    Choice, Conflict, Core, Hlc, Knowledge, NoAnswer, Policy, Refusal, Resolution, Rights, RowRef,
    SyncgroupId, SyncgroupState, Version, Written,
};

use super::answers::{infos, key};
use super::collections::collections;
use super::rows::{fault, name};
use super::{Checked, Held, Oracle, Seen, Violation, Watch, WriteExpected};
use crate::coverage::{Coverage, Point};
use crate::model::{self, Content, RowKey, Rows, View, Views, changes_to_write, rules_to_write};
use crate::plan::Ledger;
use crate::world::Sabotage;

/// What replicas wrote without being asked: the rows, and the batch.
pub(super) type Unasked = BTreeMap<(SyncgroupId, Version), (Rows, Option<u64>)>;

/// What somebody says of the rules of a collection.
#[derive(Debug)]
pub(crate) enum Ruling {
    /// All of them.
    All(Vec<driftless::Rule>),
    /// What changes; `None` takes a rule away.
    Some(BTreeMap<bytes::Bytes, Option<Policy>>),
}

/// A row, wherever it is.
type Place = (SyncgroupId, RowKey);

/// How often each member may answer for one row once nothing goes wrong: turns double from a twentieth of a
/// second at least, and no answer takes longer than some minutes to be given and to arrive (S-18).
const ROUNDS: u64 = 14;

impl Watch {
    /// Says what should become of a schema (S-16).
    pub(crate) fn expect_schema(
        &self,
        core: &Core,
        (group, collection): (SyncgroupId, &driftless::Name),
        rules: &Ruling,
        stopping: bool,
    ) -> WriteExpected {
        let mut expected = WriteExpected::default();
        expected.reasons.extend(stopping.then_some(Refusal::ShuttingDown));
        expected.reasons.extend(self.reasons(core, &group, Rights::Admin, [collection].into_iter()));
        let held = core.held(&group).unwrap_or_default();
        let present = self.model.rules(&group, &held);
        let rules = match rules {
            Ruling::All(rules) => {
                let wanted = rules.iter().map(|rule| (rule.prefix.clone(), rule.policy.clone())).collect();
                rules_to_write(collection, &present, &wanted)
            }
            Ruling::Some(changes) => changes_to_write(collection, &present, changes),
        };
        if expected.reasons.is_empty() && !rules.is_empty() {
            expected.schema = Some((group, super::next(core, &group), rules));
        }
        expected
    }

    /// Says what should become of an answer (S-17).
    pub(crate) fn expect_answer(&self, core: &Core, answer: &Resolution, stopping: bool) -> WriteExpected {
        let (shown, held) = (super::shown(core), super::held(core));
        let mut expected = WriteExpected { is_answer: true, ..WriteExpected::default() };
        expected.reasons.extend(stopping.then_some(Refusal::ShuttingDown));
        for row in answer.answers.iter().map(|answer| &answer.row) {
            let collection = [&row.collection].into_iter();
            expected.reasons.extend(self.reasons(core, &row.syncgroup, Rights::Write, collection));
        }
        let Some(first) = answer.answers.first() else { return expected };
        let views = Views { shown: &shown, held: &held };
        let conflict = self.model.conflict(&place(&first.row), views);
        let wrong = no_answer(&conflict, answer);
        expected.reasons.extend(wrong.map(|wrong| Refusal::NoAnswer(Box::new(wrong))));
        let mut rows: BTreeMap<SyncgroupId, Rows> = BTreeMap::new();
        for answer in &answer.answers {
            let (group, row) = place(&answer.row);
            let content = match &answer.choice {
                Choice::Put(value) => Content::Put(value.clone()),
                Choice::Delete => Content::Delete,
                Choice::Pick(version) => self.model.picked(&group, &row, version, views.of(&group)),
                _ => continue,
            };
            rows.entry(group).or_default().insert(row, content);
        }
        rows.into_iter().for_each(|(group, rows)| expected.comes_to(core, group, rows));
        expected
    }

    /// An answer was taken: counts it (S-18).
    pub(crate) fn answered(
        &mut self,
        replica: usize,
        members: usize,
        rows: &BTreeMap<SyncgroupId, Rows>,
    ) -> Checked {
        if !self.healed {
            return Ok(());
        }
        for (group, row) in rows.iter().flat_map(|(group, rows)| rows.keys().map(|row| (*group, row.clone())))
        {
            let count = self.resolved.entry((group, row.clone())).or_default();
            *count += 1;
            if *count > ROUNDS * members as u64 {
                let what = format!("{} was resolved {count} times by {members} members", name(&group, &row));
                return Err(Violation::new(Oracle::Conflicts, "S-18", replica, what));
            }
        }
        Ok(())
    }

    /// The faults have ended.
    pub(crate) fn heals(&mut self) {
        self.healed = true;
    }

    /// Conflicts were raised to an application.
    pub(crate) fn raised(
        &mut self,
        seen: Seen<'_>,
        conflicts: &[Conflict],
        coverage: &mut Coverage,
    ) -> Checked {
        for conflict in conflicts {
            let Some(start) = conflict.open().next() else {
                let what = "a conflict is raised in which nothing is to be decided";
                return Err(Violation::new(Oracle::Conflicts, "S-17", seen.replica, what));
            };
            self.belongs_together(seen, &start.row, conflict, coverage)?;
            self.asked_once(seen, conflict)?;
        }
        Ok(())
    }

    /// What is said to belong to a row is what does.
    fn belongs_together(
        &self,
        seen: Seen<'_>,
        start: &RowRef,
        conflict: &Conflict,
        coverage: &mut Coverage,
    ) -> Checked {
        let expected = self.model.conflict(&place(start), self.views(seen.replica));
        self.same_conflict(&expected, conflict)
            .map_err(|what| Violation::new(Oracle::Conflicts, "S-17", seen.replica, what))?;
        for (is_so, point) in [
            (expected.batches >= 3 && expected.rows.len() > 1, Point::GroupOfThreeBatches),
            (expected.open().any(|(_, row)| row.heads.len() > 2), Point::ThreeHeadsRaised),
            (expected.open().any(|(_, row)| row.policy == Policy::Defer), Point::DeferredRaised),
            (
                expected.rows.keys().map(|(group, _)| group).collect::<BTreeSet<_>>().len() > 1,
                Point::GroupOverSyncgroups,
            ),
        ] {
            if is_so {
                coverage.hit(point);
            }
        }
        Ok(())
    }

    fn same_conflict(&self, expected: &model::Conflict, real: &Conflict) -> Result<(), String> {
        let places: BTreeSet<Place> = real.rows.iter().map(|row| place(&row.row)).collect();
        if !places.iter().eq(expected.rows.keys()) || places.len() != real.rows.len() {
            return Err(format!(
                "a conflict has rows {:?}; those that belong together are {:?}",
                places.iter().map(|(group, row)| name(group, row)).collect::<Vec<_>>(),
                expected.rows.keys().map(|(group, row)| name(group, row)).collect::<Vec<_>>()
            ));
        }
        for row in &real.rows {
            let (group, key) = place(&row.row);
            let known = &expected.rows[&(group, key.clone())];
            let heads: Vec<_> = row
                .heads
                .iter()
                .map(|head| (head.version, head.stamp, &head.value, head.is_operation))
                .collect();
            let known_heads: Vec<_> = known
                .heads
                .iter()
                .map(|head| (head.version, head.stamp, &head.value, head.is_operation))
                .collect();
            let ancestor = row.ancestor.as_ref().map(|ancestor| (ancestor.version, ancestor.value.clone()));
            if (&row.policy, row.in_conflict, &heads, &ancestor)
                != (&known.policy, known.in_conflict, &known_heads, &known.ancestor)
            {
                return Err(format!("{} is raised as {row:?}; it should be {known:?}", name(&group, &key)));
            }
            for head in &row.heads {
                let batch = self.model.generation(&group, &head.version).and_then(|it| it.batch);
                if batch.is_some() != head.batch.is_some() {
                    return Err(format!(
                        "{:?} is raised with batch {:?}, not {batch:?}",
                        head.version, head.batch
                    ));
                }
            }
        }
        Ok(())
    }

    /// What a replica has written by itself: answers where whole batches win (S-16). Says what each answer became.
    pub(super) fn own_answers(
        &mut self,
        seen: Seen<'_>,
        before: Views<'_>,
        shown: &Held,
        coverage: &mut Coverage,
    ) -> Result<Vec<Vec<Written>>, Violation> {
        let new = new_versions(seen.core, before.shown, shown);
        if new.is_empty() {
            return Ok(Vec::new());
        }
        // Which rows they changed stands in the heads of rows that were in conflict.
        let collections = collections(seen)?;
        let mut starts: BTreeMap<Hlc, Vec<Place>> = BTreeMap::new();
        for group in new.keys() {
            let Some(known) = before.of(group) else { continue };
            for row in self.model.rows(group) {
                let policy = self.model.policy(group, row, known.held);
                let collection = collections.get(&(*group, row.collection.clone()));
                let Some(collection) = collection.filter(|_| policy == Policy::BatchWins) else { continue };
                let heads = read::heads(seen.store, collection, &row.key).map_err(fault(seen))?;
                let own = heads.iter().find(|head| new[group].contains(&head.version));
                if let Some(head) = own.filter(|_| self.model.seen(group, row, known).is_split()) {
                    starts.entry(head.stamp).or_default().push((*group, row.clone()));
                }
            }
        }
        let mut known = before.shown.clone();
        let mut written = Vec::new();
        for (stamp, places) in starts {
            let views = Views { shown: &known, held: before.held };
            // It was asked about that one of the rows with which all others are in dispute. Where batches tie a row to
            // one that is not its to decide, it was not asked about that one, but decides it with others.
            let asked = places.iter().map(|place| self.model.conflict(place, views));
            let is_own = |row: &model::ConflictedRow| row.policy == Policy::BatchWins;
            let asked = asked.filter(|conflict| conflict.open().all(|(_, row)| is_own(row)));
            let asked = asked.map(|conflict| (self.model.batch_wins(&conflict, views), conflict));
            let whole = asked.max_by_key(|(rows, _)| rows.values().map(Rows::len).sum::<usize>());
            let Some((mut rows, conflict)) = whole else { continue };
            let batch = self.next_batch();
            if self.sabotage.is_some_and(Sabotage::first_batch_wins) {
                for ((group, row), it) in conflict.open() {
                    let first = it.heads.last().and_then(|head| head.value.clone());
                    let content = first.map_or(Content::Delete, Content::Put);
                    rows.entry(*group).or_default().insert(row.clone(), content);
                }
            }
            if self.sabotage.is_some_and(Sabotage::only_heads_lose) {
                rows = self.model.heads_win(&conflict, views);
            }
            let batch = (rows.len() > 1).then_some(batch);
            coverage.hit(Point::BatchWon);
            if rows.values().flat_map(Rows::keys).any(|row| Ledger::Whole.has(&row.key)) {
                coverage.hit(Point::TransfersLost);
            }
            let mut parts = Vec::new();
            for (group, rows) in rows {
                let author = seen.core.author();
                let last = known.entry(group).or_default().entry(author).or_default();
                // What it says of its key comes first.
                let begins = *last == 0 && seen.core.keys().rollovers() > 0;
                *last += 1 + u64::from(begins);
                let version = Version { author, generation: *last };
                self.unasked.insert((group, version), (rows, batch));
                parts.push(Written { syncgroup: group, version, stamp });
            }
            written.push(parts);
        }
        Ok(written)
    }

    /// An answer that begins with a row was refused as stale: this is said to be the new state. It may be no conflict
    /// any more; then it is that row, and what its batches wrote.
    pub(crate) fn raised_again(
        &mut self,
        seen: Seen<'_>,
        start: &RowRef,
        now: &Conflict,
        coverage: &mut Coverage,
    ) -> Checked {
        coverage.hit(Point::StaleAnswer);
        self.belongs_together(seen, start, now, coverage)
    }

    /// Whether rows of a collection are in conflict.
    pub(crate) fn is_in_conflict(
        &self,
        core: &Core,
        group: &SyncgroupId,
        collection: &driftless::Name,
    ) -> bool {
        let held = core.knowledge(group).unwrap_or_default();
        let mut rows = self.model.rows(group).filter(|row| row.collection == *collection);
        rows.any(|row| self.model.seen(group, row, &held).is_split())
    }

    /// Readers ask for the rows in conflict, and for the schema. Says whether one is left open.
    pub(crate) fn conflicts(&self, seen: Seen<'_>) -> Result<bool, Violation> {
        let mut deferred = false;
        let wrong = |rule, what| Err(Violation::new(Oracle::Model, rule, seen.replica, what));
        for ((group, collection), found) in collections(seen)? {
            let Some(view) = self.views(seen.replica).of(&group) else { continue };
            let real: Vec<_> = read::conflicts(seen.store, &found, b"", usize::MAX)
                .map_err(fault(seen))?
                .into_iter()
                .map(|row| {
                    (row.key, row.policy, row.heads.iter().map(|head| head.version).collect::<Vec<_>>())
                })
                .collect();
            let rows = self.model.rows(&group).filter(|row| row.collection == collection);
            let expected: Vec<_> = rows
                .filter_map(|row| {
                    let (known, policy) =
                        (self.model.seen(&group, row, view), self.model.policy(&group, row, view.held));
                    let in_conflict = !matches!(policy, Policy::Merge(_)) && known.is_split();
                    let heads = known.heads.iter().map(|head| head.version).collect();
                    in_conflict.then(|| (row.key.clone(), policy, heads))
                })
                .collect();
            if real != expected {
                return wrong(
                    "S-19",
                    format!("{collection} of {group:?} has conflicts {real:?}; they are {expected:?}"),
                );
            }
            let rules = self.model.rules(&group, view.held);
            let rules = rules.into_iter().filter(|((of, _), _)| *of == collection);
            let rules: Vec<_> =
                rules.map(|((_, prefix), policy)| driftless::Rule { prefix, policy }).collect();
            let real = read::schema(seen.store, &found).map_err(fault(seen))?;
            if real != rules {
                return wrong(
                    "S-16",
                    format!("the schema of {collection} is {real:?}; it should be {rules:?}"),
                );
            }
            deferred |= expected.iter().any(|(_, policy, _)| *policy == Policy::Defer);
        }
        Ok(deferred)
    }

    /// In the end no conflict is open that somebody would have answered: the core where batches win as a whole,
    /// otherwise a resolver on a device that may write wherever the conflict reaches (S-18).
    pub(crate) fn outstanding(&self, all: &[Seen<'_>], resolves: impl Fn(usize) -> bool) -> Checked {
        for seen in all {
            let views = self.views(seen.replica);
            let infos = infos(seen.core);
            let writes = |group: &SyncgroupId| {
                infos.get(group).is_some_and(|info| {
                    info.state == SyncgroupState::Active && info.rights >= Some(Rights::Write)
                })
            };
            for group in views.held.keys().filter(|group| writes(group)) {
                let Some(view) = views.of(group) else { continue };
                for row in self.open_rows(group, view) {
                    let conflict = self.model.conflict(&(*group, row.clone()), views);
                    let policies: BTreeSet<&Policy> = conflict.open().map(|(_, row)| &row.policy).collect();
                    let answers =
                        resolves(seen.replica) || policies.iter().all(|policy| **policy == Policy::BatchWins);
                    if answers
                        && conflict.rows.keys().all(|(group, _)| writes(group))
                        && !self.is_left(&conflict, views)
                    {
                        let what = format!("{} is still in conflict", name(group, row));
                        return Err(Violation::new(Oracle::Conflicts, "S-18", seen.replica, what));
                    }
                }
            }
        }
        Ok(())
    }

    fn open_rows<'w>(&'w self, group: &'w SyncgroupId, view: View<'w>) -> impl Iterator<Item = &'w RowKey> {
        self.model.rows(group).filter(move |row| {
            let policy = self.model.policy(group, row, view.held);
            matches!(policy, Policy::AppResolves | Policy::BatchWins)
                && self.model.seen(group, row, view).is_split()
        })
    }

    /// Whether it is where batches win, and nothing is known that a losing row could go back to.
    fn is_left(&self, conflict: &model::Conflict, views: Views<'_>) -> bool {
        let rows = self.model.batch_wins(conflict, views);
        conflict.open().any(|((group, row), known)| {
            known.policy == Policy::BatchWins && !rows.get(group).is_some_and(|rows| rows.contains_key(row))
        })
    }
}

/// The generations that a replica has written itself in the last event.
fn new_versions(core: &Core, before: &Held, held: &Held) -> BTreeMap<SyncgroupId, BTreeSet<Version>> {
    let author = core.author();
    let last = |held: Option<&Knowledge>| held.and_then(|held| held.get(&author)).copied().unwrap_or(0);
    let new = held.iter().map(|(group, now)| {
        let generations = last(before.get(group)) + 1..=last(Some(now));
        (*group, generations.map(|generation| Version { author, generation }).collect::<BTreeSet<_>>())
    });
    new.filter(|(_, versions)| !versions.is_empty()).collect()
}

/// Why an answer is none to a conflict.
fn no_answer(conflict: &model::Conflict, answer: &Resolution) -> Option<NoAnswer> {
    let stale = || NoAnswer::Stale(Conflict { rows: Vec::new(), is_whole: true });
    let versions =
        |row: &model::ConflictedRow| row.heads.iter().map(|head| head.version).collect::<BTreeSet<_>>();
    for answer in &answer.answers {
        let shown: BTreeSet<_> = answer.heads.iter().copied().collect();
        if conflict.rows.get(&place(&answer.row)).is_some_and(|row| versions(row) != shown) {
            return Some(stale());
        }
    }
    if conflict.open().next().is_none() {
        // Nobody need say anything: because of what the schema says now, or because all agree.
        let first = answer.answers[0].row.clone();
        let policy = conflict.rows[&place(&first)].policy.clone();
        let is_asked = matches!(policy, Policy::AppResolves | Policy::Defer | Policy::BatchWins);
        return Some(if is_asked { NoAnswer::NoConflict(first) } else { NoAnswer::TakesNone(first, policy) });
    }
    for answer in &answer.answers {
        let Some(row) = conflict.rows.get(&place(&answer.row)) else {
            return Some(NoAnswer::UnknownRow(answer.row.clone()));
        };
        match answer.choice {
            Choice::Pick(version) if !versions(row).contains(&version) => {
                return Some(NoAnswer::NoSuchHead(answer.row.clone(), version));
            }
            _ => {}
        }
    }
    let answered: BTreeSet<Place> = answer.answers.iter().map(|answer| place(&answer.row)).collect();
    let missing = conflict.open().map(|(place, _)| place).find(|place| !answered.contains(place));
    missing.map(|(group, row)| {
        let (collection, key) = (row.collection.clone(), row.key.clone());
        NoAnswer::MissingRow(RowRef { syncgroup: *group, collection, key })
    })
}

fn place(row: &RowRef) -> Place {
    (row.syncgroup, key(row))
}
