//! What applications do about conflicts, and who watches: the steps of a plan that make schemas matter.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use driftless::read;
use driftless::{
    Choice, Command, CommitSeq, Conflict, ConflictedRow, NoAnswer, Refusal, Resolution, RowRef, Rule,
    SyncgroupId, Version,
};

use super::queue::Happening;
use super::replica::{End, Question};
use super::{World, label};
use crate::coverage::Point;
use crate::dice::{Concern, Dice};
use crate::oracle::{Checked, Oracle, Ruling, Violation, Watcher};
use crate::plan::{Act, ResolverKind};

/// The longest that a resolver thinks, in milliseconds.
pub(crate) const LONGEST_THOUGHT: u64 = 45_000;

impl World<'_> {
    pub(super) fn policy_step(&mut self, act: &Act) -> Checked {
        match act {
            Act::Schema { replica, group, collection, rules } => {
                let Some(syncgroup) = self.group_at(*replica, *group) else { return Ok(()) };
                let rules = rules.iter().map(|rule| Rule {
                    prefix: Bytes::from(rule.prefix.clone()),
                    policy: rule.policy.clone(),
                });
                self.rule(*replica, syncgroup, label("c", *collection), Ruling::All(rules.collect()))
            }
            Act::ChangeSchema { replica, group, collection, changes } => {
                let Some(syncgroup) = self.group_at(*replica, *group) else { return Ok(()) };
                let changes =
                    changes.iter().map(|change| (Bytes::from(change.prefix.clone()), change.policy.clone()));
                self.rule(*replica, syncgroup, label("c", *collection), Ruling::Some(changes.collect()))
            }
            Act::Transfer { replica, group, from, to, amount, think_ms } => {
                let Some(syncgroup) = self.group_at(*replica, *group) else { return Ok(()) };
                self.transfer(*replica, syncgroup, (*from, *to, *amount), *think_ms)
            }
            Act::Resolver { replica, kind } => {
                self.replicas[*replica].resolver = *kind;
                self.attach(*replica, *kind != ResolverKind::Absent)
            }
            Act::Watch { replica, watcher, group, collection, prefix, page } => {
                if let Some(syncgroup) = self.group_at(*replica, *group) {
                    self.start_watching(*replica, *watcher, (syncgroup, *collection), prefix, *page);
                }
                Ok(())
            }
            Act::Unwatch { replica, watcher } => {
                if let Some(watcher) = self.replicas[*replica].watchers.get_mut(watcher) {
                    watcher.is_on = false;
                    watcher.stop();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// After a start: the application attaches its resolver again, and goes on watching.
    pub(super) fn application_starts(&mut self, replica: usize, shown: bool, survived: CommitSeq) -> Checked {
        for watcher in self.replicas[replica].watchers.values_mut() {
            watcher.restart(shown, survived);
        }
        self.application_boots(replica);
        self.attach(replica, self.replicas[replica].resolver != ResolverKind::Absent)
    }

    /// Somebody says what becomes of conflicts.
    pub(super) fn rule(
        &mut self,
        replica: usize,
        syncgroup: SyncgroupId,
        collection: driftless::Name,
        rules: Ruling,
    ) -> Checked {
        let it = &self.replicas[replica];
        let Some(core) = it.core.as_ref() else { return Ok(()) };
        let expected = self.watch.expect_schema(core, (syncgroup, &collection), &rules, it.stopping);
        let is_taken = expected.must_be_taken();
        if is_taken && self.watch.is_in_conflict(core, &syncgroup, &collection) {
            self.coverage.hit(Point::SchemaUnderConflict);
        }
        let request = self.replicas[replica].request();
        let asked = super::replica::Asked { what: Question::Other, seq: CommitSeq(0) };
        self.replicas[replica].asked.insert(request, asked);
        let command = match rules {
            Ruling::All(rules) => Command::SetSchema { syncgroup, collection, rules },
            Ruling::Some(changes) => {
                if is_taken {
                    self.coverage.hit(Point::SomeRulesChanged);
                }
                let command = Command::ChangeSchema { syncgroup, collection, changes };
                match &self.sabotage {
                    Some(saboteur) => saboteur.metadata(command),
                    None => command,
                }
            }
        };
        self.feed(replica, driftless::Event::Command { request, command }, Some(&expected))
    }

    // ---- resolvers ----

    /// The resolver comes, or goes.
    pub(super) fn attach(&mut self, replica: usize, attached: bool) -> Checked {
        let it = &mut self.replicas[replica];
        let changes = attached || it.attached;
        if it.core.is_none() || it.stopping || it.has_yet_to_hear() || !changes {
            return Ok(());
        }
        it.attached = attached;
        self.watch.forgets_questions(replica);
        let databases = it.core.iter().flat_map(driftless::Core::syncgroups).map(|group| group.database);
        let databases: BTreeSet<_> = databases.chain([label("db", 0), label("db", 1)]).collect();
        for database in databases {
            self.ask(replica, Command::Resolver { database, attached }, Question::Other)?;
        }
        Ok(())
    }

    /// Conflicts are raised to the application.
    pub(super) fn raised(&mut self, replica: usize, conflicts: Vec<Conflict>) -> Checked {
        let it = &self.replicas[replica];
        if !it.attached {
            let what = "raises a conflict, and no resolver is attached";
            return Err(Violation::new(Oracle::Conflicts, "S-17", replica, what));
        }
        let conflicts: Vec<Conflict> = match &self.sabotage {
            Some(saboteur) => conflicts.into_iter().flat_map(|conflict| saboteur.raised(conflict)).collect(),
            None => conflicts,
        };
        if let Some(seen) = it.seen() {
            self.watch.raised(seen, &conflicts, &mut self.coverage)?;
        }
        for conflict in conflicts {
            self.coverage.hit(Point::Raised);
            self.consider(replica, conflict);
        }
        Ok(())
    }

    /// What a resolver does about a question.
    fn consider(&mut self, replica: usize, conflict: Conflict) {
        let (healed, now) = (self.healed, self.now);
        let asked = self.people.asked.entry(shown(&conflict)).or_default();
        asked.insert(replica);
        if asked.len() > 1 {
            self.coverage.hit(Point::TwoResolvers);
        }
        let it = &mut self.replicas[replica];
        it.questions += 1;
        let boot = it.boots;
        let mut dice = Dice::new(self.plan.seed, Concern::Answer, &[replica as u64, it.questions]);
        let after = match it.resolver {
            ResolverKind::Absent | ResolverKind::Silent => return,
            ResolverKind::Crashing if !healed => {
                self.coverage.hit(Point::ResolverDied);
                let back = now + dice.skewed(50, 20_000);
                if dice.one_in(2) {
                    it.end = Some(End::Crash(None));
                    self.queue.push(back, Happening::Restart { replica });
                } else {
                    self.queue.push(now, Happening::Attach { replica, boot, attached: false });
                    self.queue.push(back, Happening::Attach { replica, boot, attached: true });
                }
                return;
            }
            ResolverKind::Slow => dice.between(1_000, LONGEST_THOUGHT),
            _ => dice.skewed(0, 2_000),
        };
        self.answers_due += 1;
        self.queue.push(now + after, Happening::Answer { replica, boot, conflict: Box::new(conflict) });
    }

    /// A resolver has made up its mind.
    pub(super) fn answer(&mut self, replica: usize, boot: u64, conflict: &Conflict) -> Checked {
        self.answers_due -= 1;
        self.people.asked.remove(&shown(conflict));
        let it = &self.replicas[replica];
        if it.boots != boot || !it.resolver.answers() {
            return Ok(());
        }
        let decided = self.decide(replica, conflict)?;
        let it = &self.replicas[replica];
        let Some(core) = it.core.as_ref() else { return Ok(()) };
        if self.sabotage.as_ref().is_some_and(super::Saboteur::drops_answers) {
            return Ok(());
        }
        let resolution = match decided {
            Some(decided) => decided,
            None => conflict.open().fold(Resolution::new(), |resolution, row| {
                let choice = match it.resolver {
                    ResolverKind::Stubborn => stubborn(replica, it.questions),
                    _ => agreed(row),
                };
                resolution.answer(row, choice)
            }),
        };
        let answered: Vec<RowRef> = resolution.answers.iter().map(|answer| answer.row.clone()).collect();
        let Some(start) = answered.first() else { return Ok(()) };
        let expected = self.watch.expect_answer(core, &resolution, it.stopping);
        let members = self.replicas.len();
        if self.ask_for(replica, Command::Resolve(resolution), &expected)? {
            self.coverage.hit(Point::Answered);
            return self.watch.answered(replica, members, &expected.rows);
        }
        let refusal = self.refusal.take();
        if refusal.is_some() {
            self.watch.is_still_open(replica, answered.iter());
        }
        refusal.iter().try_for_each(|refusal| self.no_answer(replica, refusal))?;
        let Some(Refusal::NoAnswer(reason)) = refusal else { return Ok(()) };
        match (*reason, self.replicas[replica].seen()) {
            (NoAnswer::Stale(now), Some(seen)) => {
                self.watch.raised_again(seen, start, &now, &mut self.coverage)?;
            }
            (NoAnswer::TakesNone(..), _) => self.coverage.hit(Point::NeedlessAnswer),
            _ => {}
        }
        Ok(())
    }

    /// In the end nobody thinks any more, and nothing is open that somebody answers.
    pub(super) fn resolved(&self) -> Checked {
        if self.answers_due > 0 {
            let what = format!("{} answers are being thought about", self.answers_due);
            return Err(Violation::new(Oracle::Conflicts, "S-18", 0, what));
        }
        let seen: Vec<_> = self.replicas.iter().filter_map(super::replica::Replica::seen).collect();
        let resolves = |replica: usize| {
            let it = &self.replicas[replica];
            it.attached && it.resolver.answers() && !it.leaves_open
        };
        self.watch.outstanding(&seen, resolves)
    }

    // ---- watchers ----

    fn start_watching(
        &mut self,
        replica: usize,
        number: u8,
        (syncgroup, collection): (SyncgroupId, u8),
        prefix: &str,
        page: Option<usize>,
    ) {
        let it = &mut self.replicas[replica];
        // An even one watches a collection, an odd one all that there are.
        let all = read::collections(it.disk.store()).unwrap_or_default();
        let name = label("c", collection);
        let wanted =
            all.into_iter().filter(|it| number % 2 == 1 || it.syncgroup == syncgroup && it.name == name);
        let watched: BTreeSet<_> = wanted.map(|it| (it.syncgroup, it.name)).collect();
        let old = it.watchers.remove(&number);
        let old = old.filter(|old| old.watched == watched && old.prefix == prefix);
        let mut watcher = old.unwrap_or_else(|| Watcher::new(watched, prefix.to_owned()));
        watcher.page = page;
        watcher.is_on = true;
        it.watchers.insert(number, watcher);
    }

    /// Those who watch look.
    pub(super) fn watchers_look(&mut self, replica: usize, all: bool) -> Checked {
        let mut watchers: BTreeMap<u8, Watcher> = std::mem::take(&mut self.replicas[replica].watchers);
        let Some(seen) = self.replicas[replica].seen() else {
            self.replicas[replica].watchers = watchers;
            return Ok(());
        };
        for watcher in watchers.values_mut().filter(|watcher| watcher.is_on) {
            self.watch.watch_on(seen, watcher, all, &mut self.coverage)?;
        }
        self.replicas[replica].watchers = watchers;
        Ok(())
    }

    /// Sometimes those who watch look right after a write, before it is durable.
    pub(super) fn watchers_may_look(&mut self, replica: usize) -> Checked {
        let request = self.replicas[replica].next_request;
        let mut dice = Dice::new(self.plan.seed, Concern::Watchers, &[replica as u64, request]);
        if dice.one_in(3) { self.watchers_look(replica, false) } else { Ok(()) }
    }

    /// Those who watch take in all that there is.
    pub(crate) fn watchers_catch_up(&mut self) -> Checked {
        (0..self.replicas.len()).try_for_each(|replica| self.watchers_look(replica, true))
    }
}

/// What a resolver was asked about: rows, as they were.
pub(super) type Asked = Vec<(RowRef, Vec<Version>)>;

fn shown(conflict: &Conflict) -> Asked {
    let heads = |row: &ConflictedRow| row.heads.iter().map(|head| head.version).collect();
    conflict.open().map(|row| (row.row.clone(), heads(row))).collect()
}

/// An answer that every device gives alike.
fn agreed(row: &ConflictedRow) -> Choice {
    let mut values: Vec<&Bytes> = row.heads.iter().filter_map(|head| head.value.as_ref()).collect();
    values.sort();
    values.dedup();
    let size: usize = values.iter().map(|value| value.len()).sum();
    match (size % 4, values.last()) {
        (0, _) | (_, None) => Choice::Delete,
        (1, _) => Choice::Put(values.iter().flat_map(|value| value.iter().copied()).take(4_000).collect()),
        (_, Some(greatest)) => {
            let head = row.heads.iter().find(|head| head.value.as_ref() == Some(greatest));
            head.map_or(Choice::Delete, |head| Choice::Pick(head.version))
        }
    }
}

/// An answer that nobody else gives.
fn stubborn(replica: usize, question: u64) -> Choice {
    Choice::Put(format!("r{replica} says so, {question}").into())
}
