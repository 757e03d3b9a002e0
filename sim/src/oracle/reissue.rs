//! The oracle of what is written again (S-27): whoever had written by a clock that was far ahead has all of it once,
//! and gives up nothing that others take.
//!
//! What a device writes again is known to the model already: each generation under the new name says what an earlier
//! one said that was taken back, one after the other, and has in its past what that had, as far as it is left. So the
//! rows that come of it are checked like all others; here it is checked that there is one for each, and no other.

use std::collections::{BTreeMap, BTreeSet};

use driftless::inspect::{self, Content, Entry};
use driftless::{
    Action, Author, Core, Hlc, Knowledge, Refusal, Reissued, SyncgroupId, SyncgroupState, Version,
};
use driftless::{Wall, Written};

use super::rows::fault;
use super::{Checked, Oracle, Seen, Views, Violation, Watch, WriteExpected};
use crate::coverage::{Coverage, Point};
use crate::model::{Fact, Generation, Revoked, RowKey, Undone, View, holds};
use crate::world::Sabotage;

/// A generation, wherever it is.
type Place = (SyncgroupId, Version);

/// What is written again, with what it says.
type Brought = BTreeMap<Place, Content>;

impl Watch {
    /// Says what should become of writing again what lies ahead. It may be refused where somebody else had said by a
    /// clock that was ahead what lets this device write; and where the syncgroup came about by one.
    pub(crate) fn expect_reissue(&self, core: &Core, wall: Wall, stopping: bool) -> WriteExpected {
        let mut expected =
            WriteExpected { optional: !stopping, reissues: Some(core.author()), ..WriteExpected::default() };
        if stopping {
            expected.reasons.push(Refusal::ShuttingDown);
        }
        let limit = wall + self.limits.drift;
        for info in core.syncgroups() {
            let held = core.held(&info.id).unwrap_or_default();
            let mut facts = self.model.facts(&info.id).filter(|(version, _)| holds(&held, version));
            let needs =
                |by: &Version, says: &Fact| by.author.device != core.author().device || *says == Fact::Begins;
            if facts.any(|(by, it)| needs(by, &it.says) && it.stamp.is_some_and(|stamp| stamp.wall() > limit))
            {
                expected.reasons.push(Refusal::MadeAhead(info.id));
            }
        }
        expected
    }

    /// What a version is called since it was written again.
    pub(super) fn called_now(&self, group: &SyncgroupId, version: &Version) -> Version {
        let mut version = *version;
        while let Some(now) = self.again.get(&(*group, version)) {
            version = *now;
        }
        version
    }

    /// A replica has taken back what lay ahead of its clock, and written again what of it was its own. Returns the
    /// batches that it has written.
    pub(super) fn written_again(
        &mut self,
        seen: Seen<'_>,
        wall: Wall,
        before: Views<'_>,
        actions: &[Action],
        coverage: &mut Coverage,
    ) -> Result<Vec<Vec<Written>>, Violation> {
        let author = seen.core.author();
        let gone = self.taken_back(seen, wall, before)?;
        let mut brought = Brought::new();
        for action in actions {
            let Action::Commit(commit) = action else { continue };
            let all = inspect::generations(commit, seen.store).map_err(fault(seen))?;
            let own = all.into_iter().filter(|(_, version, _)| version.author == author);
            brought.extend(own.map(|(group, version, content)| ((group, version), content)));
        }
        let mine = |(_, version): &&Place| version.author.device == author.device;
        if gone.iter().any(|place| !mine(&place)) {
            coverage.hit(Point::DroppedAhead);
        }
        let said: Vec<Place> =
            gone.iter().filter(mine).filter(|it| self.says_something(it, before)).copied().collect();
        let mut names: BTreeMap<Place, Version> = BTreeMap::new();
        let groups: BTreeSet<SyncgroupId> =
            said.iter().chain(brought.keys()).map(|(group, _)| *group).collect();
        for group in groups {
            names.extend(self.paired(seen, group, (&said, &gone), &brought)?);
        }
        if !names.is_empty() {
            coverage.hit(Point::Reissued);
        }
        let others = gone.iter().filter(|place| !mine(place)).count();
        let serial = |(group, old): &Place| self.model.generation(group, old).and_then(|it| it.batch);
        let together: BTreeSet<u64> = names.keys().filter_map(serial).collect();
        let alone = names.keys().filter(|place| serial(place).is_none()).count();
        self.reissued.insert(author, (together.len() + alone, others));
        let batches = self.take_note_again(seen, (&gone, &names), &brought)?;
        self.dropped.extend(gone.iter().filter(|it| mine(it) && !names.contains_key(it)));
        self.again.extend(names);
        let notes = &mut self.notes[seen.replica];
        notes.told.begins_anew(notes.seq);
        Ok(batches)
    }

    /// A replica says what it has written again, once that is safe.
    pub(crate) fn says_written_again(&mut self, replica: usize, said: &Reissued) -> Checked {
        // Whoever asks once more is told that there is nothing.
        let expected = self.reissued.remove(&said.author).unwrap_or_default();
        if (said.batches, said.dropped) == expected && said.author.device == self.devices[replica] {
            return Ok(());
        }
        let what = format!(
            "says {said:?}; of batches written again, and generations dropped, there are {expected:?}"
        );
        Err(Violation::new(Oracle::Conduct, "S-27", replica, what))
    }

    /// What a replica has given up: only what others would not take, and all of that where it may write.
    fn taken_back(
        &self,
        seen: Seen<'_>,
        wall: Wall,
        before: Views<'_>,
    ) -> Result<BTreeSet<Place>, Violation> {
        let limit = wall + self.limits.drift;
        let wrong = |oracle, what| Err(Violation::new(oracle, "S-27", seen.replica, what));
        let stamp = |group: &SyncgroupId, version: &Version| self.model.generation(group, version)?.stamp;
        let state = |group: &SyncgroupId| {
            seen.core.syncgroups().into_iter().find(|info| info.id == *group).map(|info| info.state)
        };
        let mut gone = BTreeSet::new();
        for (group, old) in before.held {
            let now = seen.core.held(group).unwrap_or_default();
            let is_read = matches!(state(group), Some(SyncgroupState::Active | SyncgroupState::Pending));
            for (author, last) in old {
                let left = now.get(author).copied().unwrap_or(0);
                for generation in left + 1..=*last {
                    let version = Version { author: *author, generation };
                    if !is_read || stamp(group, &version).is_some_and(|stamp| stamp.wall() <= limit) {
                        let what = format!("gave up {version:?} of {group:?}, which others take");
                        return wrong(Oracle::SilentLoss, what);
                    }
                    gone.insert((*group, version));
                }
                let kept = Version { author: *author, generation: left };
                if is_read && stamp(group, &kept).is_some_and(|stamp| stamp.wall() > limit) {
                    let what =
                        format!("goes on holding {kept:?} of {group:?}, which lies ahead of its clock");
                    return wrong(Oracle::Clocks, what);
                }
            }
        }
        Ok(gone)
    }

    /// Whether a generation said something that counted.
    fn says_something(&self, (group, version): &Place, before: Views<'_>) -> bool {
        let Some(it) = self.model.generation(group, version) else { return false };
        let is_something = !it.rows.is_empty() || !it.rules.is_empty() || it.says != Fact::Nothing;
        is_something && before.held.get(group).is_some_and(|held| !self.model.is_void(group, version, held))
    }

    /// Which generation of a syncgroup says again what which one had said.
    fn paired(
        &self,
        seen: Seen<'_>,
        group: SyncgroupId,
        (said, gone): (&[Place], &BTreeSet<Place>),
        brought: &Brought,
    ) -> Result<BTreeMap<Place, Version>, Violation> {
        let wrong = |what: String| Violation::new(Oracle::SilentLoss, "S-27", seen.replica, what);
        let mut old: Vec<Version> = said.iter().filter(|(of, _)| *of == group).map(|(_, it)| *it).collect();
        let when = |version: &Version| {
            let it = self.model.generation(&group, version);
            it.and_then(|it| it.stamp)
        };
        old.sort_by_key(|version| (when(version), *version));
        let mut new =
            brought.iter().filter(|((of, _), _)| *of == group).map(|((_, it), content)| (*it, content));
        let (first, stands_for) = match new.next() {
            Some((first, content)) => (first, stands_for(&first.author, content)),
            None if old.is_empty() => return Ok(BTreeMap::new()),
            None => return Err(wrong(format!("wrote nothing again of {old:?} in {group:?}"))),
        };
        if !old.iter().all(|version| stands_for.contains(version))
            || !stands_for.iter().all(|version| gone.contains(&(group, *version)))
        {
            return Err(wrong(format!(
                "says in {first:?} that {stands_for:?} count no more, and what it took back is {old:?}"
            )));
        }
        let new: Vec<Version> = new.map(|(version, _)| version).collect();
        if new.len() != old.len() {
            return Err(wrong(format!("wrote {new:?} in the place of {old:?} of {group:?}")));
        }
        Ok(old.into_iter().map(|version| (group, version)).zip(new).collect())
    }

    /// Tells the model of what was written again.
    fn take_note_again(
        &mut self,
        seen: Seen<'_>,
        (gone, names): (&BTreeSet<Place>, &BTreeMap<Place, Version>),
        brought: &Brought,
    ) -> Result<Vec<Vec<Written>>, Violation> {
        let was: BTreeMap<Place, Version> =
            names.iter().map(|((group, old), new)| ((*group, *new), *old)).collect();
        let mut in_order: Vec<(&Place, &Content)> = brought.iter().collect();
        in_order.sort_by_key(|((_, version), content)| (content.stamp, *version));
        let (mut bound, mut serials) = (Hlc::default(), BTreeMap::new());
        let mut batches: BTreeMap<u64, Vec<Written>> = BTreeMap::new();
        for ((group, version), content) in in_order.iter().copied() {
            let past = self.past_of(group, version, content);
            let stamp = content.stamp;
            // Parts of one batch have one stamp, above what all of them build on.
            let parts = in_order.iter().filter(|(_, other)| other.stamp == stamp);
            let causes = parts.map(|((of, part), content)| (*of, self.past_of(of, part, content)));
            bound = causes
                .map(|(of, past)| self.said_last(&of, &past))
                .max()
                .max(Some(bound))
                .unwrap_or_default();
            self.as_early_as_may_be((seen, *group, *version), stamp, &past, bound)?;
            bound = bound.max(stamp);
            let rolled = self.word_on_keys(*group, *version);
            let mut new = Generation { past, stamp: Some(stamp), rolled, ..Generation::default() };
            match was.get(&(*group, *version)) {
                None if self.sabotage.is_some_and(Sabotage::withholds_cuts) => {}
                None => new.says = Fact::StandsFor(stands_for(&version.author, content)),
                Some(old) => {
                    let old = *old;
                    let Some(it) = self.model.generation(group, &old).cloned() else { continue };
                    let name =
                        |version: &Version| names.get(&(*group, *version)).copied().unwrap_or(*version);
                    let parents = it
                        .rows
                        .keys()
                        .map(|row| (row.clone(), self.parents_again(group, row, &old, (gone, names))));
                    new.parents = Some(parents.collect());
                    new.says = renamed(&it.says, name);
                    let undone = it.undoes.iter().map(|(row, undone)| {
                        let undone = undone.iter().map(|(element, by)| (element.clone(), name(by)));
                        (row.clone(), undone.collect::<Undone>())
                    });
                    new.undoes = undone.collect();
                    (new.rows, new.rules) = (it.rows, it.rules);
                    if !new.rows.is_empty() {
                        let part = Written { syncgroup: *group, version: *version, stamp };
                        let serial =
                            it.batch.map(|old| *serials.entry(old).or_insert_with(|| self.next_batch()));
                        new.batch = serial;
                        let serial = serial.unwrap_or_else(|| self.next_batch());
                        batches.entry(serial).or_default().push(part);
                    }
                    if self.resolutions.contains(&(*group, old)) {
                        self.resolutions.insert((*group, *version));
                    }
                }
            }
            self.model.record(*group, *version, new);
            let notes = &mut self.notes[seen.replica];
            notes.wrote.push_back((notes.seq, *group, *version));
        }
        Ok(batches.into_values().collect())
    }

    /// What a generation has in its past by what it names, with what comes before it in its log.
    pub(super) fn past_of(&self, group: &SyncgroupId, version: &Version, content: &Content) -> Knowledge {
        let own = version.generation - 1;
        let own = (own > 0).then_some(Version { author: version.author, generation: own });
        let mut past = Knowledge::new();
        for cause in content.dependencies.iter().chain(&own) {
            let known =
                self.model.generation(group, cause).map(|known| known.past.clone()).unwrap_or_default();
            for (author, last) in known.into_iter().chain([(cause.author, cause.generation)]) {
                let entry = past.entry(author).or_default();
                *entry = last.max(*entry);
            }
        }
        past
    }

    /// What is written again is stamped above all in its past, and not later than that and what came before it take: so
    /// what others wrote meanwhile counts as newer.
    fn as_early_as_may_be(
        &self,
        (seen, group, version): (Seen<'_>, SyncgroupId, Version),
        stamp: Hlc,
        past: &Knowledge,
        least: Hlc,
    ) -> Checked {
        let wrong = |what| Err(Violation::new(Oracle::Clocks, "S-7", seen.replica, what));
        let latest = self.model.latest_stamp(&group, past).unwrap_or_default();
        if stamp <= latest {
            return wrong(format!(
                "{version:?} is stamped {stamp:?}, which is not above {latest:?} in its past"
            ));
        }
        if stamp.0 > least.0 + 1 {
            return wrong(format!(
                "{version:?} is written again as of {stamp:?}, and {least:?} came before it"
            ));
        }
        Ok(())
    }

    /// When the last of a set of generations was written. Of some it is only known that it was not later.
    fn said_last(&self, group: &SyncgroupId, past: &Knowledge) -> Hlc {
        let known = self.model.generations(group).filter(|(it, _)| holds(past, it));
        known.filter_map(|(_, it)| it.stamp).max().unwrap_or_default()
    }

    /// What a version supersedes that says again what another one said: what that one did, where it is left; of what is
    /// gone what is called otherwise now, and of the rest what that had superseded.
    fn parents_again(
        &self,
        group: &SyncgroupId,
        row: &RowKey,
        old: &Version,
        (gone, names): (&BTreeSet<Place>, &BTreeMap<Place, Version>),
    ) -> BTreeSet<Version> {
        let (mut parents, mut seen, mut work) = (BTreeSet::new(), BTreeSet::new(), vec![*old]);
        while let Some(of) = work.pop() {
            let Some(it) = self.model.generation(group, &of) else { continue };
            let heads = || self.model.heads(group, row, View::from(&it.past)).into_iter();
            let named: Vec<Version> = match &it.parents {
                Some(parents) => parents.get(row).into_iter().flatten().copied().collect(),
                None => heads().map(|head| head.version).collect(),
            };
            for parent in named.into_iter().filter(|parent| seen.insert(*parent)).collect::<Vec<_>>() {
                match names.get(&(*group, parent)) {
                    Some(now) => _ = parents.insert(*now),
                    None if gone.contains(&(*group, parent)) => work.push(parent),
                    None => _ = parents.insert(parent),
                }
            }
        }
        parents
    }
}

/// Which generations one says that it stands for.
fn stands_for(author: &Author, content: &Content) -> BTreeSet<Version> {
    let cut = content.entries.iter().filter_map(|entry| match entry {
        Entry::Cut { incarnation, first, last } => Some((*incarnation, *first..=*last)),
        _ => None,
    });
    let versions = cut.flat_map(|(incarnation, range)| {
        let author = Author { incarnation, ..*author };
        range.map(move |generation| Version { author, generation })
    });
    versions.collect()
}

/// What is said, where it names what has another name now: of both names, as what was given under the old one stays given
/// where that is held.
fn renamed(says: &Fact, name: impl Fn(&Version) -> Version) -> Fact {
    let both = |all: &BTreeSet<Version>| all.iter().flat_map(|it| [*it, name(it)]).collect();
    let one = |it: &Revoked| Revoked { grants: both(&it.grants), ..it.clone() };
    let revoked = |all: &[Revoked]| -> Vec<Revoked> { all.iter().map(one).collect() };
    match says {
        Fact::Replaces(what, by) => Fact::Replaces(one(what), *by),
        Fact::Revokes(all) => Fact::Revokes(revoked(all)),
        Fact::Destroys(all) => Fact::Destroys(revoked(all)),
        Fact::Unpublishes(device, attempts) => Fact::Unpublishes(*device, both(attempts)),
        Fact::Declines(device, attempts) => Fact::Declines(*device, both(attempts)),
        other => other.clone(),
    }
}
