//! One pass over all that admins have said, from the creator down.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::super::Rights;
use super::super::past::{Numbered, Past};
use super::{Access, Act, Grant, Nth, Revocation, Standing};
use crate::id::{Author, DeviceId, Generation, Version};
use crate::object::history::Place;

/// The rank of a grant of `Admin`: how many grants lie between it and the creator's, and its version. The less, the
/// higher.
pub(crate) type Rank = (u32, Version);

/// Which acts are void, and which revocations end which grants. Without revocations it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    void: BTreeSet<Place>,
    ends: BTreeMap<(DeviceId, Version), Vec<Nth>>,
}

impl Judgement {
    /// Whether everything counts that was allowed when it was written.
    pub(crate) fn is_clean(&self) -> bool {
        self.void.is_empty() && self.ends.is_empty()
    }

    /// Whether an act is void.
    pub(super) fn is_void(&self, act: &Place) -> bool {
        self.void.contains(act)
    }

    /// The revocations that count for a grant.
    pub(super) fn ends(&self, device: &DeviceId, grant: &Version) -> &[Nth] {
        if self.ends.is_empty() {
            return &[];
        }
        self.ends.get(&(*device, *grant)).map_or(&[], Vec::as_slice)
    }
}

/// The ranks of grants of `Admin`.
pub(crate) type Ranks = BTreeMap<(DeviceId, Version), Rank>;

impl Access {
    /// Judges by what is known: by all, or by the facts in a past alone.
    pub(super) fn judged(&self, pasts: Numbered<'_>, known: Option<&Past>) -> Judgement {
        let is_known = |revocation: &Revocation| known.is_none_or(|past| past.has(revocation.by));
        if !self.revocations.values().any(is_known) {
            return Judgement::default();
        }
        Court::new(self, pasts, known).sit().0
    }

    /// The ranks of grants, by all that is known.
    pub(crate) fn ranks(&self, pasts: Numbered<'_>) -> Ranks {
        Court::new(self, pasts, None).sit().1
    }

    /// The devices of which something may count that did not, or the other way round. `before` is what was thought.
    pub(crate) fn judged_anew(&self, before: &Judgement) -> BTreeSet<DeviceId> {
        let now = &self.judgement;
        let all = before.ends.keys().chain(now.ends.keys());
        let changed = all.filter(|key| before.ends.get(key) != now.ends.get(key));
        let mut devices: BTreeSet<DeviceId> = changed.map(|(device, _)| *device).collect();
        let void: BTreeSet<&Place> = before.void.symmetric_difference(&now.void).collect();
        if !void.is_empty() {
            let is_given = |standing: &Standing| standing.grants.iter().any(|it| void.contains(&it.place()));
            let given = self.standings.iter().filter(|(_, standing)| is_given(standing));
            devices.extend(given.map(|(device, _)| *device));
        }
        devices
    }

    /// The first generation of an author's log of which that may be so.
    pub(crate) fn first_judged_anew(&self, before: &Judgement, author: &Author) -> Generation {
        let (now, device) = (&self.judgement, &author.device);
        let grants = self.standings.get(device).map(|standing| &standing.grants);
        let grants = || grants.into_iter().flatten();
        if grants().any(|grant| before.is_void(&grant.place()) != now.is_void(&grant.place())) {
            return 1;
        }
        let ends = |judgement: &Judgement| -> BTreeSet<Nth> {
            grants().flat_map(|grant| judgement.ends(device, &grant.version)).copied().collect()
        };
        let (before, now) = (ends(before), ends(now));
        let changed = before.symmetric_difference(&now).filter_map(|nth| self.revocations.get(nth));
        let last = changed.map(|it| it.until.get(&author.incarnation).copied().unwrap_or(0)).min();
        last.map_or(1, |last| last.saturating_add(1))
    }
}

/// What is found out in the course of one pass.
struct Court<'a> {
    access: &'a Access,
    pasts: Numbered<'a>,
    known: Option<&'a Past>,
    /// The grants that each act gives.
    given: BTreeMap<Place, Vec<(&'a DeviceId, &'a Grant)>>,
    /// The revocations that each act makes.
    made: BTreeMap<Place, Vec<(Nth, &'a Revocation)>>,
    acts: BTreeMap<DeviceId, Vec<(Place, &'a Act)>>,
    /// Grants of `Admin` whose turn has not come.
    queue: BTreeSet<(Rank, DeviceId)>,
    valid: BTreeSet<Place>,
    /// What valid revocations end, each with the rank by which it was made.
    ends: BTreeMap<(DeviceId, Version), Vec<(Rank, Nth)>>,
    ranks: Ranks,
}

impl<'a> Court<'a> {
    fn new(access: &'a Access, pasts: Numbered<'a>, known: Option<&'a Past>) -> Self {
        let is_known = |place: Place| known.is_none_or(|past| past.has(place));
        let mut court = Self {
            access,
            pasts,
            known,
            given: BTreeMap::new(),
            made: BTreeMap::new(),
            acts: BTreeMap::new(),
            queue: BTreeSet::new(),
            valid: BTreeSet::new(),
            ends: BTreeMap::new(),
            ranks: Ranks::new(),
        };
        for (device, standing) in &access.standings {
            for grant in standing.grants.iter().filter(|grant| is_known(grant.place())) {
                court.given.entry(grant.place()).or_default().push((device, grant));
            }
        }
        for (nth, revocation) in access.revocations.iter().filter(|(_, it)| is_known(it.by)) {
            court.made.entry(revocation.by).or_default().push((*nth, revocation));
        }
        for (place, act) in access.acts.iter().filter(|(place, _)| is_known(**place)) {
            court.acts.entry(act.author.device).or_default().push((*place, act));
        }
        court
    }

    fn sit(mut self) -> (Judgement, Ranks) {
        if let Some(genesis) = self.access.genesis {
            // The creator's own grant lies at no distance from itself.
            self.admit(genesis, None);
        }
        while let Some((rank, device)) = self.queue.pop_first() {
            self.ranks.insert((device, rank.1), rank);
            for (place, act) in self.acts.get(&device).cloned().unwrap_or_default() {
                if !self.valid.contains(&place) && self.supports(&device, rank, place, act) {
                    self.admit(place, Some(rank));
                }
            }
        }
        let is_known = |place: &Place| self.known.is_none_or(|past| past.has(*place));
        let acts = self.access.acts.keys().filter(|place| is_known(place));
        let void = acts.copied().filter(|place| !self.valid.contains(place)).collect();
        let ranks = &self.ranks;
        let ends = self.ends.into_iter().filter_map(|(key, ends)| {
            let is_junior = |by: &Rank| ranks.get(&key).is_none_or(|rank| by < rank);
            let ends: Vec<Nth> =
                ends.into_iter().filter(|(by, _)| is_junior(by)).map(|(_, nth)| nth).collect();
            (!ends.is_empty()).then_some((key, ends))
        });
        let ends = ends.map(|(key, mut ends)| {
            ends.sort_unstable();
            (key, ends)
        });
        (Judgement { void, ends: ends.collect() }, self.ranks)
    }

    /// An act is valid, by a grant of this rank: what it gives may be used, and what it ends may end.
    fn admit(&mut self, place: Place, by: Option<Rank>) {
        self.valid.insert(place);
        let depth = by.map_or(0, |(depth, _)| depth.saturating_add(1));
        for (device, grant) in self.given.get(&place).into_iter().flatten() {
            if grant.rights == Rights::Admin {
                self.queue.insert(((depth, grant.version), **device));
            }
        }
        let Some(by) = by else { return };
        for (nth, revocation) in self.made.get(&place).into_iter().flatten() {
            for grant in &revocation.grants {
                self.ends.entry((revocation.device, *grant)).or_default().push((by, *nth));
            }
        }
    }

    /// Whether a grant of `Admin` to a device, whose turn it is, allows one of its acts.
    fn supports(&self, device: &DeviceId, rank: Rank, place: Place, act: &Act) -> bool {
        let past = self.pasts.get(act.past);
        let Some(standing) = self.access.standings.get(device) else { return false };
        let mut grants = standing.grants.iter().filter(|grant| grant.version == rank.1);
        let is_in_past = grants.any(|grant| grant.place() != place && past.has(grant.place()));
        let known = |other: Place| other != place && past.has(other);
        let at = (act.author.incarnation, place.1);
        let ends = self.ends.get(&(*device, rank.1)).into_iter().flatten();
        let mut ends = ends.filter(|(by, _)| *by < rank);
        is_in_past
            && !standing.has_left(&rank.1, known)
            && ends.all(|(_, nth)| {
                let revocation = self.access.revocations.get(nth);
                revocation.is_none_or(|it| it.leaves(Rights::Admin, at) == Some(Rights::Admin))
            })
    }
}
