//! The oracle of batches over several syncgroups: they are seen whole (S-28).
//!
//! At the moment at which a part is shown, every other part is shown in every syncgroup that the replica reads,
//! unless the application is told that the batch is split, and why; and the reason must be true. Nothing waits
//! for longer than the bound. Whoever asks is told of each batch that waits or is shown in part, and of no other.

use std::collections::{BTreeMap, BTreeSet};

use driftless::{Action, Notice, Split, SyncgroupId, SyncgroupState, Version, Written};

use super::{Checked, Held, Oracle, Seen, Violation, Watch};
use crate::coverage::{Coverage, Point};
use crate::model::holds;
use crate::world::Sabotage;

/// How late the end of a wait may come, in milliseconds: a driver's tick is due at once.
const SLACK: u64 = 1_000;

/// Of how many batches at most a replica says that they wait, and of how many that they were shown in part.
const MOST_TOLD: usize = 64;

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

/// What was said when a part was shown without others.
#[derive(Debug, Clone)]
struct Told {
    why: Split,
    /// Where others were missing.
    missing: BTreeSet<SyncgroupId>,
    /// Where of these the replica has read all the time since.
    read: BTreeSet<SyncgroupId>,
}

/// What waits on a replica, and what it shows in part.
#[derive(Debug, Clone, Default)]
struct Waits {
    split: BTreeMap<Place, Told>,
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
        // What was split in a commit that is lost was shown in that commit.
        let mut split = std::mem::take(&mut self.replicas[replica].split);
        split.retain(|(group, version), _| shown.get(group).is_some_and(|shown| holds(shown, version)));
        self.replicas[replica] = Waits { split, since, booted: None };
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
        let mut split = BTreeMap::new();
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
            if let Some(why) = why {
                let missing: BTreeSet<SyncgroupId> = said.iter().copied().collect();
                split.insert(*place, Told { why, read: missing.clone(), missing });
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
        self.parts.replicas[seen.replica].split.extend(split);
        self.parts.waits(seen.replica, &waiting, patience, coverage).map_err(wrong)?;
        let scene = Scene { shown: &notes.shown, waiting: &waiting, read: &read };
        self.parts.incomplete(seen, self.sabotage, &scene, coverage).map_err(wrong)
    }
}

/// What a replica shows, what waits there, and what it reads.
struct Scene<'a> {
    shown: &'a Held,
    waiting: &'a BTreeSet<Place>,
    read: &'a BTreeSet<SyncgroupId>,
}

impl Parts {
    /// Checks that a replica says of which batches not all is there: all that it waits for, and all that it showed in
    /// part and has not seen since.
    fn incomplete(
        &mut self,
        seen: Seen<'_>,
        sabotage: Option<Sabotage>,
        scene: &Scene<'_>,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let split = &mut self.replicas[seen.replica].split;
        split.values_mut().for_each(|told| told.read.retain(|group| scene.read.contains(group)));
        let others = &self.others;
        let is_missing = |place: &Place, group: &SyncgroupId| {
            let other = others.get(place).into_iter().flatten().find(|(of, _)| of == group);
            other.is_some_and(|(group, version)| {
                !scene.shown.get(group).is_some_and(|shown| holds(shown, version))
            })
        };
        // Of what nobody ever wrote it is not known when it is missed no more.
        let is_there = |place: &Place| {
            let mut others = others.get(place).into_iter().flatten();
            others.all(|(_, version)| version.generation != u64::MAX)
        };
        let mut listed = BTreeMap::new();
        for batch in seen.core.status().incomplete {
            let missing: BTreeSet<SyncgroupId> = batch.missing.into_iter().collect();
            listed.insert((batch.syncgroup, batch.version), (batch.shown, missing));
        }
        if sabotage == Some(Sabotage::ForgetsSplits) {
            listed.retain(|_, (shown, _)| shown.is_none());
        }
        let mut needs: BTreeMap<Place, BTreeSet<SyncgroupId>> = BTreeMap::new();
        for place in scene.waiting.iter().filter(|place| scene.read.contains(&place.0)) {
            let others = others.get(place).into_iter().flatten().map(|(group, _)| *group);
            needs.insert(*place, others.filter(|group| scene.read.contains(group)).collect());
        }
        // What was taken back since, as it lay ahead of the clock, is not shown any more, in part or as a whole.
        let is_shown = |(group, version): &Place| scene.shown.get(group).is_some_and(|it| holds(it, version));
        let split_now = split.iter().filter(|(place, _)| is_shown(place));
        needs.extend(split_now.map(|(place, told)| (*place, told.read.clone())));
        // More than are told of at once, and what is forged, is not asked for.
        needs.retain(|place, missing| {
            missing.retain(|group| is_missing(place, group));
            !missing.is_empty() && is_there(place)
        });
        for (place, (shown, missing)) in &listed {
            let told = split.get(place);
            let is_known = match (shown, told) {
                (None, _) => scene.waiting.contains(place),
                (Some(why), Some(told)) => told.why == *why && missing.is_subset(&told.missing),
                (Some(_), None) => false,
            };
            let lacks = |group| is_missing(place, group) && scene.read.contains(group);
            if !is_known || is_there(place) && !missing.iter().all(lacks) {
                return Err(format!("says that of {place:?} not all is here, shown: {shown:?}, {missing:?}"));
            }
            coverage.hit(if shown.is_some() { Point::SplitListed } else { Point::WaitListed });
        }
        let is_told = |(place, missing): &(&Place, &BTreeSet<SyncgroupId>)| {
            listed.get(place).is_some_and(|(_, listed)| missing.is_subset(listed))
        };
        let needs_all = needs.len() <= MOST_TOLD && split.len() <= MOST_TOLD;
        match needs.iter().find(|need| !is_told(need)).filter(|_| needs_all) {
            Some((place, missing)) => Err(format!("does not say that of {place:?} {missing:?} is not here")),
            None => Ok(()),
        }
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
        for place in waiting {
            if !waits.since.contains_key(place) && self.others.contains_key(place) {
                coverage.hit(Point::BatchWaited);
            }
            waits.since.entry(*place).or_insert(Some(patience.now));
        }
        // Also what waits no more: often nothing happens between the end of the bound and that of the wait.
        for (place, since) in &waits.since {
            let waited = patience.now - since.unwrap_or(booted);
            if waited > patience.bound + SLACK && patience.now > patience.awake + SLACK {
                let bound = patience.bound;
                return Err(format!("{place:?} has waited for {waited} ms, and the bound is {bound}"));
            }
        }
        waits.since.retain(|place, _| waiting.contains(place));
        match waiting.len() > patience.waiting {
            true => Err(format!("{} generations wait, and at most {} may", waiting.len(), patience.waiting)),
            false => Ok(()),
        }
    }
}
