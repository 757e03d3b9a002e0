//! Oracles of knowledge: what is held was written, comes with its causes, and is not given up.

use std::collections::{BTreeMap, BTreeSet};

use driftless::inspect;
use driftless::{Action, Author, Hlc, Knowledge, Notice, SyncgroupId, Version, Wall, Written};

use super::rows::fault;
use super::{Checked, Held, Oracle, Seen, Views, Violation, Watch, WriteExpected, notice, part};
use crate::coverage::Coverage;
use crate::model::{Fact, Generation, Impossible, RowKey, View};

/// A generation as it comes about.
struct Birth<'b> {
    /// What its author holds, it included.
    past: &'b Knowledge,
    /// What was said to be written; metadata is not told of.
    written: Option<&'b Written>,
    says: Fact,
    /// Its stamp.
    stamp: Hlc,
    /// What its author's clock shows.
    wall: Wall,
}

impl Watch {
    /// Checks that a replica gave up nothing that it held.
    pub(super) fn gave_up(&self, replica: usize, before: &Held, held: &Held, notices: &[&Notice]) -> Checked {
        let is_cut = |group: &SyncgroupId, author: &Author, now: u64| {
            notices.iter().any(|notice| match notice {
                Notice::Forked { syncgroup, author: of, last, .. } => {
                    (syncgroup, of) == (group, author) && now >= *last
                }
                _ => false,
            })
        };
        for (group, old) in before {
            let new = held.get(group);
            let gave_up = old.iter().find(|(author, last)| {
                let now = new.and_then(|new| new.get(author)).copied().unwrap_or(0);
                now < **last && !is_cut(group, author, now)
            });
            if let Some((author, last)) = gave_up {
                let what = format!("held {author:?}/{last} of {group:?}, and does not any more");
                return Err(Violation::new(Oracle::SilentLoss, "S-21", replica, what));
            }
        }
        Ok(())
    }

    /// Takes note of the generations that a replica wrote itself. It builds on what its readers see.
    pub(super) fn take_note(
        &mut self,
        seen: Seen<'_>,
        wall: Wall,
        before: Views<'_>,
        held: &Held,
        (parts, actions): (&[Written], &[Action]),
        expected: Option<&WriteExpected>,
    ) -> Checked {
        let notices: Vec<&Notice> = actions.iter().filter_map(notice).collect();
        let author = seen.core.author();
        let nothing = Knowledge::new();
        for (group, new) in held {
            let old = before.shown.get(group).unwrap_or(&nothing);
            let came = self.came(seen.replica, group, before.held.get(group).unwrap_or(&nothing));
            let last = old.get(&author).copied().unwrap_or(0);
            let newest = new.get(&author).copied().unwrap_or(0);
            for generation in last + 1..=newest {
                let version = Version { author, generation };
                let written = part(parts, group, &version);
                // What comes before the last one only joins what there is.
                let says = match written {
                    None if generation == newest => self.fact(seen, &notices, group, &version)?,
                    _ => Fact::Nothing,
                };
                // What came in by the same event came before: nobody writes first and takes in then. Where nothing
                // came, whatever is shown by the same event is so because of what was written: who leaves waits no
                // more. But who leaves before it has seen its own admission sees that first, and writes then.
                let was_in = || self.model.rights(group, &author.device, old, None).is_some();
                // Nothing builds on what lies beyond the reach of a log that is forked.
                let past = if came || !was_in() { new } else { old };
                let reached = |(author, last): (&Author, &u64)| {
                    Some((*author, *last.min(new.get(author)?))).filter(|(_, last)| *last > 0)
                };
                let past = &past.iter().filter_map(reached).collect::<Knowledge>();
                let stamp = match written {
                    Some(written) => written.stamp,
                    None => stamp_of(seen, actions, (*group, version))?,
                };
                let birth = Birth { past, written, says, stamp, wall };
                self.record(seen.replica, *group, version, &birth, expected)?;
            }
        }
        for part in parts {
            if !held.get(&part.syncgroup).is_some_and(|held| crate::model::holds(held, &part.version)) {
                let what = format!("wrote {:?}, and does not hold it", part.version);
                return Err(Violation::new(Oracle::SilentLoss, "S-9", seen.replica, what));
            }
        }
        Ok(())
    }

    /// A replica has come to hold something: its stamps follow those of that, too.
    pub(super) fn sees_stamps(&mut self, replica: usize, before: &Held, held: &Held) {
        let mut highest = self.notes[replica].highest;
        for (group, now) in held {
            for (author, last) in now {
                let known = before.get(group).and_then(|had| had.get(author)).copied().unwrap_or(0);
                let new = (known + 1..=*last).map(|generation| Version { author: *author, generation });
                let stamps = new.filter_map(|version| self.model.generation(group, &version)?.stamp);
                highest = stamps.fold(highest, Hlc::max);
            }
        }
        self.notes[replica].highest = highest;
    }

    /// Whether a replica has come to hold what others wrote.
    fn came(&self, replica: usize, group: &SyncgroupId, before: &Knowledge) -> bool {
        let others = self.notes[replica].held.get(group).into_iter().flatten();
        let mut others = others.filter(|(author, _)| author.device != self.devices[replica]);
        others.any(|(author, last)| before.get(author).is_none_or(|had| had < last))
    }

    /// Takes note of a generation at its birth, and checks its stamp (S-7).
    fn record(
        &mut self,
        replica: usize,
        group: SyncgroupId,
        version: Version,
        birth: &Birth<'_>,
        expected: Option<&WriteExpected>,
    ) -> Checked {
        let Birth { past, written, ref says, stamp: given, wall } = *birth;
        let says = says.clone();
        let wrong = |rule, what: String| Err(Violation::new(Oracle::Clocks, rule, replica, what));
        if self.model.generation(&group, &version).is_some() {
            let what = format!("goes on as an author whose {version:?} of {group:?} is written already");
            return Err(Violation::new(Oracle::Durability, "S-2", replica, what));
        }
        // Stamps follow the clock of whoever gives them.
        if given.wall() < wall {
            return wrong("S-7", format!("{version:?} is stamped {given:?}, and its clock shows {wall:?}"));
        }
        self.are_apart(given.wall().0 - wall.0);
        let notes = &mut self.notes[replica];
        notes.wrote.push_back((notes.seq, group, version));
        let mut past = past.clone();
        past.insert(version.author, version.generation - 1);
        let latest = self.model.latest_stamp(&group, &past).unwrap_or_default();
        if given <= latest {
            let what = format!("{version:?} is stamped {given:?}, which is not above {latest:?} in its past");
            return wrong("S-7", what);
        }
        // What a driver takes for the time may not be: no clock is as far.
        let furthest = latest.wall().max(self.fastest).max(self.greatest.wall());
        if given.wall() > furthest && given != Hlc(latest.0 + 1) {
            let fastest = self.fastest;
            let what = format!("{version:?} is stamped {given:?}, and no clock shows more than {fastest:?}");
            return wrong("S-7", what);
        }
        let highest = &mut self.notes[replica].highest;
        let before = latest.max(*highest);
        *highest = given.max(*highest);
        if given.wall() > before.wall().max(wall) && given != Hlc(before.0 + 1) {
            let what = format!(
                "{version:?} is stamped {given:?}; its clock shows {wall:?}, and it has seen no more than {before:?}"
            );
            return wrong("S-7", what);
        }
        let own = self.model.last_stamp(&version.author).unwrap_or_default();
        let Some(written) = written else {
            // What it says of its key it says in several syncgroups at once, in whatever order.
            if given < own && !self.rolled.contains_key(&(group, version)) {
                let what = format!("{version:?} is stamped {given:?}, and {own:?} came before");
                return wrong("S-43", what);
            }
            let fact = expected.and_then(|expected| expected.fact.clone());
            let fact = fact.filter(|(of, at, _)| (*of, *at) == (group, version));
            let says = fact.map(|(.., fact)| fact).unwrap_or(says);
            let schema = expected.and_then(|expected| expected.schema.clone());
            let schema = schema.filter(|(of, at, _)| (*of, *at) == (group, version));
            let rules = schema.map(|(.., rules)| rules).unwrap_or_default();
            let rolled = self.word_on_keys(group, version);
            let generation =
                Generation { past, says, stamp: Some(given), rules, rolled, ..Generation::default() };
            self.model.record(group, version, generation);
            return Ok(());
        };
        let stamp = self.sabotage.map_or(written.stamp, |it| it.stamp(self.batches, written.stamp));
        // Parts of one batch have one stamp.
        let asked = || Some((expected?.rows.get(&group)?.clone(), self.batch));
        let unasked = self.unasked.get(&(group, version)).cloned();
        let (rows, batch) = unasked.or_else(asked).unwrap_or_default();
        if stamp < own || stamp == own && batch.is_none() {
            return wrong("S-43", format!("{version:?} is stamped {stamp:?}, and {own:?} came before"));
        }
        self.batches += 1;
        if expected.is_some_and(|expected| expected.is_answer) {
            self.resolutions.insert((group, version));
        }
        if let Some(sabotage) = self.sabotage {
            if sabotage.withholds(self.batches) {
                return Ok(());
            }
            sabotage.past(&version.author, &mut past);
        }
        let stamp = Some(written.stamp);
        let parents = self.parents(replica, &group, &rows, &past);
        let held = self.notes[replica].held.get(&group).unwrap_or(&past);
        let undoes = self.model.undone(&group, &rows, View { shown: &past, held });
        let generation = Generation { past, stamp, rows, batch, parents, undoes, ..Generation::default() };
        self.model.record(group, version, generation);
        Ok(())
    }

    /// The versions of each row that a generation names as what it supersedes, if those are not all in its past: void
    /// ones are no heads to its author.
    fn parents(
        &self,
        replica: usize,
        group: &SyncgroupId,
        rows: &crate::model::Rows,
        past: &Knowledge,
    ) -> Option<BTreeMap<RowKey, BTreeSet<Version>>> {
        let held = self.notes[replica].held.get(group)?;
        if !self.model.has_revocations(group, held) {
            return None;
        }
        let view = View { shown: past, held };
        let heads = |row| self.model.heads(group, row, view).into_iter().map(|head| head.version).collect();
        Some(rows.keys().map(|row| (row.clone(), heads(row))).collect())
    }

    /// Whether what a replica holds can be held (S-9, S-29).
    pub(super) fn causality(&self, replica: usize, held: &Held, _coverage: &mut Coverage) -> Checked {
        for (group, held) in held {
            self.model
                .check(group, held)
                .map_err(|impossible| self.impossible(replica, group, &impossible))?;
        }
        Ok(())
    }

    fn impossible(&self, replica: usize, group: &SyncgroupId, impossible: &Impossible) -> Violation {
        match impossible {
            Impossible::Unwritten(version) => {
                let what = format!(
                    "holds {version:?} of {group:?}, which nobody wrote, or which its author lost in a crash \
                     before it was durable"
                );
                Violation::new(Oracle::Durability, "S-9", replica, what)
            }
            Impossible::WithoutCause { effect, cause } => {
                let what = format!("holds {effect:?} of {group:?} without {cause:?}, which is in its past");
                Violation::new(Oracle::Causality, "S-29", replica, what)
            }
        }
    }
}

/// The stamp of a generation that some commit brings.
fn stamp_of(
    seen: Seen<'_>,
    actions: &[Action],
    (group, version): (SyncgroupId, Version),
) -> Result<Hlc, Violation> {
    for action in actions {
        let Action::Commit(commit) = action else { continue };
        let all = inspect::generations(commit, seen.store).map_err(fault(seen))?;
        let found = all.into_iter().find(|(of, it, _)| (*of, *it) == (group, version));
        if let Some((.., content)) = found {
            return Ok(content.stamp);
        }
    }
    let what = format!("holds {version:?} of {group:?} as its own, and no commit has brought it");
    Err(Violation::new(Oracle::Durability, "S-9", seen.replica, what))
}
