//! The oracle of batches over several syncgroups: they are seen whole (S-28).
//!
//! At the moment at which a part is shown, every other part is shown in every syncgroup that the replica reads,
//! unless the application is told that the batch is split, and why; and the reason must be true. Nothing waits
//! for longer than the bound.

use std::collections::{BTreeMap, BTreeSet};

use driftless::{Action, Notice, Split, SyncgroupId, SyncgroupState, Version, Written};

use super::{Checked, Held, Oracle, Seen, Violation, Watch};
use crate::coverage::{Coverage, Point};
use crate::model::holds;

/// How late the end of a wait may come, in milliseconds: a driver's tick is due at once.
const SLACK: u64 = 1_000;

/// A generation in a syncgroup.
type Place = (SyncgroupId, Version);

/// How long and how many parts may wait for others on a replica.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// The moment of virtual time.
    pub(crate) now: u64,
    /// Since when the process is awake: who sleeps does nothing in time.
    pub(crate) awake: u64,
    /// The longest wait.
    pub(crate) bound: u64,
    /// How many generations may wait.
    pub(crate) waiting: usize,
}

/// All batches over several syncgroups, and what of them replicas have.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    /// The other parts, by each part.
    others: BTreeMap<Place, Vec<Place>>,
    replicas: Vec<Waits>,
}

/// What waits on a replica.
#[derive(Debug, Clone, Default)]
struct Waits {
    /// When it was first held, by generation; `None` if that was before a restart.
    since: BTreeMap<Place, Option<u64>>,
    /// When the process was first seen after a restart.
    booted: Option<u64>,
}

impl Parts {
    pub(super) fn new(replicas: usize) -> Self {
        Self { others: BTreeMap::new(), replicas: vec![Waits::default(); replicas] }
    }

    fn written(&mut self, parts: &[Written]) {
        let place = |part: &Written| (part.syncgroup, part.version);
        for part in parts.iter().filter(|_| parts.len() > 1) {
            let others = parts.iter().filter(|other| other.syncgroup != part.syncgroup);
            self.others.insert(place(part), others.map(place).collect());
        }
    }

    /// A generation says that it is a part of a batch which has others in these syncgroups. There are none.
    pub(super) fn lacking(&mut self, part: Place, elsewhere: &[SyncgroupId]) {
        let nobodys = Version { generation: u64::MAX, ..part.1 };
        self.others.insert(part, elsewhere.iter().map(|group| (*group, nobodys)).collect());
    }

    /// A generation was lost before anybody else had it.
    pub(super) fn withdraw(&mut self, group: &SyncgroupId, version: &Version) {
        self.others.remove(&(*group, *version));
    }

    /// A replica goes on from what its disk had.
    pub(super) fn restarted(&mut self, replica: usize, held: &Held, shown: &Held) {
        let since = not_in(held, shown).into_iter().map(|place| (place, None)).collect();
        self.replicas[replica] = Waits { since, booted: None };
    }
}

/// What is in one set of generations and not in another.
fn not_in(these: &Held, those: &Held) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    for (group, these) in these {
        for (author, last) in these {
            let known = those.get(group).and_then(|those| those.get(author)).copied().unwrap_or(0);
            let more =
                (known + 1..=*last).map(|generation| (*group, Version { author: *author, generation }));
            places.extend(more);
        }
    }
    places
}

impl Watch {
    /// Checks that what a commit has shown it has shown whole.
    pub(super) fn whole_batches(
        &mut self,
        seen: Seen<'_>,
        patience: Patience,
        before: &Held,
        written: &[Vec<Written>],
        actions: &[Action],
        coverage: &mut Coverage,
    ) -> Checked {
        written.iter().for_each(|parts| self.parts.written(parts));
        let notes = &self.notes[seen.replica];
        let waiting = not_in(&notes.held, &notes.shown);
        let is_shown = |(group, version): &Place| notes.shown.get(group).is_some_and(|it| holds(it, version));
        let read: BTreeSet<SyncgroupId> = seen
            .core
            .syncgroups()
            .into_iter()
            .filter(|group| matches!(group.state, SyncgroupState::Active | SyncgroupState::Pending))
            .map(|group| group.id)
            .collect();
        let wrong = |what: String| Violation::new(Oracle::Causality, "S-28", seen.replica, what);
        let mut told: BTreeMap<Place, (&[SyncgroupId], Split)> = BTreeMap::new();
        for action in actions {
            let Action::Notice(Notice::BatchSplit { syncgroup, version, missing, why }) = action else {
                continue;
            };
            told.insert((*syncgroup, *version), (missing, *why));
        }
        let new = not_in(&notes.shown, before);
        for place in &new {
            let others = self.parts.others.get(place).into_iter().flatten();
            let missing = others.filter(|other| !is_shown(other)).map(|(group, _)| *group);
            let missing: BTreeSet<SyncgroupId> = missing.collect();
            let (said, why) = told.remove(place).map_or((&[][..], None), |(said, why)| (said, Some(why)));
            if let Some(group) = said.iter().find(|group| !missing.contains(group)) {
                return Err(wrong(format!("says that {place:?} is split, and it is whole in {group:?}")));
            }
            let must = missing.iter().find(|group| read.contains(&place.0) && read.contains(group));
            if let Some(group) = must.filter(|group| !said.contains(group)) {
                return Err(wrong(format!("shows {place:?}, and not its other part in {group:?}")));
            }
            let since = self.parts.replicas[seen.replica].since.get(place).copied();
            let waited = since.flatten().map(|since| patience.now - since);
            match why {
                None => {}
                // It says "for lack of time" of what it had before a restart by the wall clock, which may be wrong.
                Some(Split::Time) if since == Some(None) => coverage.hit(Point::BatchSplit),
                Some(Split::Time) if waited.is_some_and(|waited| waited >= patience.bound) => {
                    coverage.hit(Point::BatchSplit);
                }
                Some(Split::Number) if new.len() + waiting.len() > patience.waiting => {
                    coverage.hit(Point::BatchSplit);
                }
                Some(Split::Left) if must.is_none() => coverage.hit(Point::BatchSplitByLeaving),
                Some(why) => {
                    let bound = patience.bound;
                    let what = format!(
                        "shows {place:?} in part for the reason {why:?}, after {waited:?} ms of {bound}, \
                         when {} wait",
                        waiting.len()
                    );
                    return Err(wrong(what));
                }
            }
        }
        if let Some((place, _)) = told.first_key_value() {
            return Err(wrong(format!("says that {place:?} is split, which it does not show")));
        }
        self.parts.waits(seen.replica, &waiting, patience, coverage).map_err(wrong)
    }
}

impl Parts {
    /// Takes note of what waits, and checks that nothing waits for too long.
    fn waits(
        &mut self,
        replica: usize,
        waiting: &BTreeSet<Place>,
        patience: Patience,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let waits = &mut self.replicas[replica];
        let booted = *waits.booted.get_or_insert(patience.now);
        waits.since.retain(|place, _| waiting.contains(place));
        for place in waiting {
            if !waits.since.contains_key(place) && self.others.contains_key(place) {
                coverage.hit(Point::BatchWaited);
            }
            let since = *waits.since.entry(*place).or_insert(Some(patience.now));
            let waited = patience.now - since.unwrap_or(booted);
            if waited > patience.bound + SLACK && patience.now > patience.awake + SLACK {
                return Err(format!(
                    "{place:?} has waited for {waited} ms, and the bound is {}",
                    patience.bound
                ));
            }
        }
        match waiting.len() > patience.waiting {
            true => Err(format!("{} generations wait, and at most {} may", waiting.len(), patience.waiting)),
            false => Ok(()),
        }
    }
}
