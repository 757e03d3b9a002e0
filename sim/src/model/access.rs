//! Who may do what, said as plainly as possible.
//!
//! * A *grant* gives a device rights, or a user, who has several devices. The first generation of a syncgroup grants all
//!   rights to its creator; others are written when somebody is admitted, or gets more rights (S-30, S-32).
//! * A device is *enrolled* as one of a user's by the user's word, which anybody may write down who may write anything,
//!   and which stands whatever becomes of who wrote it down. At what a device writes in the knowledge of that, it may do
//!   what the user was granted (S-3).
//! * A device is *struck off* by the user's word, likewise: its enrolments up to a number do not count for what it wrote
//!   or will write, but for what that word names (S-35).
//! * A device that *leaves* ends the grants to it and its enrolments that are in the past of its departure (S-31), for
//!   all that it writes in the knowledge of that.
//! * A *revocation* ends some grants to a device or a user, or leaves less of them, for all that was or will be written by
//!   them but what it names: an honest admin names what it holds (S-34).
//! * A generation *counts*, where some revocations are known, if its author has the right that it needs by a grant in
//!   its past that counts and is left to it, with what is left of it (S-34). It is *permitted*, so that anybody may
//!   hold it, if it counts by the revocations in its own past: so everybody agrees, whatever else they know.
//! * A grant counts if the generation counts that gave it. What is granted to *everybody*, and whom members let in by that,
//!   is said in `everybody`.
//! * A revocation of a grant that makes an admin counts only if it was made by a *senior* (S-35). A grant's distance
//!   is how many grants lie between it and the creator's; whoever acts by a grant of less distance, or of the same and
//!   an earlier version, is senior to it.
//! * A device may *write again* under another name what it had written. What it says that this stands for does not
//!   count any more where that is known, as long as it might be here when it said so. What was granted by it stays granted
//!   (S-27).
//! * A grant may have an *end*. It is for what is stamped no later, and so is what a revocation leaves until an end: that
//!   takes part in all of the above. Who is a member *now* goes by somebody's clock in the place of a stamp; whatever
//!   the time is, nothing else follows from the clock.
//! * Whoever has *forked* a log has said two things under one name. Of both nothing counts where that is known, from where
//!   they part on. What was granted by it stays granted (S-26, S-35).
//! * What lies beyond the end of a key of its device does not count, nor what it grants or ends (see [`super::keys`]).
//! * A device is entitled to a generation if it was ever granted something of whose end the generation's author
//!   did not know (S-36).

use std::collections::BTreeSet;

use driftless::{Author, DeviceId, Knowledge, Rights, SyncgroupId, UserId, Version, Wall};

use super::keys::{Turn, Words};
use super::{Enrolled, Fact, Generation, Granted, Group, Model, Revoked, Struck, Whom, holds};

/// A grant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant<'g> {
    pub(super) by: &'g Version,
    to: Whom,
    pub(super) gives: Granted,
}

impl Grant<'_> {
    pub(super) fn to(&self) -> Whom {
        self.to
    }
}

/// A way for a device to do something: by a grant to it, or by one to its user and what makes it the user's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'g> {
    pub(super) grant: Grant<'g>,
    pub(super) enrolled: Option<(&'g Version, Enrolled)>,
}

impl Way<'_> {
    /// What a set of generations must have for it.
    pub(super) fn is_in(&self, known: &Knowledge) -> bool {
        holds(known, self.grant.by) && self.enrolled.is_none_or(|(by, _)| holds(known, by))
    }

    /// What the device itself was given.
    pub(super) fn given(&self) -> &Version {
        self.enrolled.map_or(self.grant.by, |(by, _)| by)
    }
}

/// How senior whoever acts by a grant is: by how many grants from the creator's, and its version.
pub(super) type Seniority = (usize, Version);

/// What a right is for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct For {
    /// Which generation; `None` is what is written from now on.
    of: Option<(Author, u64)>,
    /// At which moment; `None` is whatever the time is.
    when: Option<Wall>,
}

impl For {
    /// A generation, and its moment.
    pub(super) fn generation(of: (Author, u64), when: Option<Wall>) -> Self {
        Self { of: Some(of), when }
    }

    /// What is written from now on.
    pub(super) fn now(when: Option<Wall>) -> Self {
        Self { of: None, when }
    }
}

impl Group {
    /// The grants to somebody.
    pub(super) fn grants(&self, whom: Whom) -> impl Iterator<Item = Grant<'_>> {
        let grants = self.facts().filter_map(|(by, generation)| {
            let (to, gives) = generation.says.grants(&by.author.device)?;
            Some(Grant { by, to, gives })
        });
        grants.filter(move |grant| grant.to == whom)
    }

    /// The generations that say that a device is somebody's.
    pub(super) fn enrolments(&self, device: &DeviceId) -> impl Iterator<Item = (&Version, Enrolled)> {
        let enrolments = self.facts().filter_map(|(by, generation)| match generation.says {
            Fact::Enrols(it) => Some((by, it)),
            _ => None,
        });
        enrolments.filter(move |(_, it)| it.device == *device)
    }

    /// All ways of a device.
    pub(super) fn ways(&self, device: &DeviceId) -> Vec<Way<'_>> {
        let own = self.grants(Whom::Device(*device)).map(|grant| Way { grant, enrolled: None });
        let of_users = self.enrolments(device).flat_map(|enrolled| {
            let grants = self.grants(Whom::User(enrolled.1.user));
            grants.map(move |grant| Way { grant, enrolled: Some(enrolled) })
        });
        own.chain(of_users).collect()
    }

    /// Whether a device has ended what it was given by leaving, in a set of generations: judged by some facts, at a turn.
    pub(super) fn has_left(
        &self,
        given: &Version,
        device: &DeviceId,
        known: &Knowledge,
        (facts, turn): (&Knowledge, Turn),
    ) -> bool {
        self.has_departed(given, device, known, |departure| !self.is_undone(departure, facts, turn))
    }

    /// The same of those of its departures that are meant.
    pub(super) fn has_departed(
        &self,
        given: &Version,
        device: &DeviceId,
        known: &Knowledge,
        is_meant: impl Fn(&Version) -> bool,
    ) -> bool {
        self.facts().any(|(version, generation)| {
            generation.says.leaves()
                && version.author.device == *device
                && holds(known, version)
                && holds(&generation.past, given)
                && is_meant(version)
        })
    }

    /// Whether a way is closed because its user has struck the device off, where some of these words are known.
    fn is_struck_off(&self, way: &Way<'_>, revocations: &Knowledge, at: For) -> bool {
        let Some((_, enrolled)) = way.enrolled else { return false };
        self.facts().filter(|(by, _)| holds(revocations, by)).any(|(_, generation)| {
            let Fact::StrikesOff(it) = &generation.says else { return false };
            let spared = |(author, number): (Author, u64)| {
                it.until.get(&author.incarnation).is_some_and(|last| number <= *last)
            };
            it.user == enrolled.user
                && it.device == enrolled.device
                && it.number >= enrolled.number
                && !at.of.is_some_and(spared)
        })
    }

    /// How senior a grant is, where some revocations are known; `None` if it does not count.
    pub(super) fn seniority(&self, grant: &Grant<'_>, revocations: &Knowledge) -> Option<Seniority> {
        self.seniority_below(grant, revocations, None)
    }

    /// The same, if it is above another.
    pub(super) fn seniority_below(
        &self,
        grant: &Grant<'_>,
        revocations: &Knowledge,
        below: Option<Seniority>,
    ) -> Option<Seniority> {
        let giver = self.generations.get(grant.by)?;
        let distance = match giver.says {
            Fact::Begins => 0,
            _ => self.authority(grant.by, revocations, below)?.0 + 1,
        };
        let found = (distance, *grant.by);
        below.is_none_or(|below| found < below).then_some(found)
    }

    /// By how senior a grant an admin's generation counts, if it counts: the most senior one that is in its past and
    /// left to it. Only those above `below` are looked at.
    pub(super) fn authority(
        &self,
        act: &Version,
        revocations: &Knowledge,
        below: Option<Seniority>,
    ) -> Option<Seniority> {
        let generation = self.generations.get(act)?;
        let past = &generation.past;
        let at = For { of: Some((act.author, act.generation)), when: generation.moment() };
        let device = &act.author.device;
        let admin = self.ways(device).into_iter().filter(|way| way.grant.gives.rights == Rights::Admin);
        let mut best = None;
        for way in admin.filter(|way| way.is_in(past)) {
            let Some(senior) = self.seniority_below(&way.grant, revocations, below) else { continue };
            let turn = Some(senior);
            if self.has_left(way.given(), device, past, (revocations, turn))
                || self.is_undone(act, revocations, turn)
            {
                continue;
            }
            let left = self.left(&way, revocations, Some(senior), at);
            if left.and_then(|left| left.at(at.when)) == Some(Rights::Admin) {
                best = Some(best.map_or(senior, |best: Seniority| best.min(senior)));
            }
        }
        best
    }

    /// What is left of a way by the revocations that count.
    pub(super) fn left(
        &self,
        way: &Way<'_>,
        revocations: &Knowledge,
        senior: Option<Seniority>,
        at: For,
    ) -> Option<Granted> {
        let above = senior.filter(|_| way.grant.gives.rights == Rights::Admin);
        self.left_above(way, revocations, above, at)
    }

    /// What is left of it by the revocations of whoever acts by a grant above another.
    pub(super) fn left_above(
        &self,
        way: &Way<'_>,
        revocations: &Knowledge,
        above: Option<Seniority>,
        at: For,
    ) -> Option<Granted> {
        if self.is_struck_off(way, revocations, at) {
            return None;
        }
        self.left_of_above(&way.grant, revocations, above, at)
    }

    /// What is left of a grant by the revocations that count, of a grant of `Admin` those by whoever is senior to it.
    pub(super) fn left_of(
        &self,
        grant: &Grant<'_>,
        revocations: &Knowledge,
        senior: Option<Seniority>,
        at: For,
    ) -> Option<Granted> {
        let above = senior.filter(|_| grant.gives.rights == Rights::Admin);
        self.left_of_above(grant, revocations, above, at)
    }

    fn left_of_above(
        &self,
        grant: &Grant<'_>,
        revocations: &Knowledge,
        above: Option<Seniority>,
        at: For,
    ) -> Option<Granted> {
        let mut left = Some(grant.gives);
        for (by, generation) in self.facts().filter(|(by, _)| holds(revocations, by)) {
            let names = |it: &&Revoked| it.whom == grant.to && it.grants.contains(grant.by);
            for revoked in generation.says.revokes().iter().filter(names) {
                let spared =
                    |(author, number)| revoked.until.get(&author).is_some_and(|last| number <= *last);
                if !at.of.is_some_and(spared) && self.authority(by, revocations, above).is_some() {
                    left = left.zip(revoked.keep).map(|(left, keep)| left.least(keep));
                }
            }
        }
        left
    }

    /// What a device may do at one of its generations, where some grants and some revocations are known.
    pub(super) fn rights(
        &self,
        device: &DeviceId,
        known: &Knowledge,
        revocations: &Knowledge,
        at: For,
    ) -> Option<Rights> {
        self.rights_by(device, known, (revocations, Words::Judged), at)
    }

    /// The same by some words on keys.
    pub(super) fn rights_by(
        &self,
        device: &DeviceId,
        known: &Knowledge,
        (revocations, words): (&Knowledge, Words),
        at: For,
    ) -> Option<Rights> {
        let known_ways = self.ways(device).into_iter().filter(|way| way.is_in(known));
        let undone = |departure: &Version| match words {
            Words::Judged => self.is_undone(departure, revocations, None),
            Words::AsSaid => self.is_said_to_be_ended(departure, revocations),
        };
        let there = known_ways.filter(|way| !self.has_departed(way.given(), device, known, |it| !undone(it)));
        let left = there.filter_map(|way| {
            let senior = self.counted_by(&way.grant, revocations, words)?;
            self.left(&way, revocations, senior, at)?.at(at.when)
        });
        left.max()
    }

    /// What a user may do at a moment, by all that is known.
    fn rights_of(&self, user: &UserId, known: &Knowledge, when: Option<Wall>) -> Option<Rights> {
        let grants = self.grants(Whom::User(*user)).filter(|grant| holds(known, grant.by));
        let left = grants.filter_map(|grant| {
            let senior = self.counted(&grant, known)?;
            self.left_of(&grant, known, senior, For::default())?.at(when)
        });
        left.max()
    }

    /// Whether a generation counts where some revocations are known.
    fn counts(&self, version: &Version, revocations: &Knowledge) -> bool {
        let Some(generation) = self.generations.get(version) else { return false };
        if generation.says == Fact::Begins {
            return true;
        }
        let known = self.facts().filter(|(by, _)| holds(revocations, by));
        let may_be_here = |by: &Version, it: &Generation| {
            let at = For { of: Some((by.author, by.generation)), when: it.moment() };
            self.rights(&by.author.device, &it.past, revocations, at).is_some()
        };
        let cuts = |by: &Version, it: &Generation| {
            let is_again = || it.says.stands_for(version) && !self.is_ended(by, revocations);
            it.says.is_forked(version) || is_again() && may_be_here(by, it)
        };
        if self.is_ended(version, revocations) || known.into_iter().any(|(by, it)| cuts(by, it)) {
            return false;
        }
        let at = For { of: Some((version.author, version.generation)), when: generation.moment() };
        let rights = self.rights(&version.author.device, &generation.past, revocations, at);
        rights.is_some_and(|rights| rights >= generation.needs()) || self.is_by_a_member(version, revocations)
    }

    /// Whether a generation may say of a device whose it is, or is not: somebody was granted something of whom it says
    /// that, and nobody has said the same before.
    fn may_say(&self, generation: &Generation) -> bool {
        let past = &generation.past;
        let is_user = |user: &UserId| self.grants(Whom::User(*user)).any(|grant| holds(past, grant.by));
        match &generation.says {
            Fact::Enrols(it) => {
                let mut before = self.enrolments(&it.device).filter(|(by, _)| holds(past, by));
                (it.granted.is_some() || is_user(&it.user))
                    && !before.any(|(by, other)| {
                        (other.user, other.number) == (it.user, it.number)
                            && !self.has_departed(by, &it.device, past, |departure| {
                                !self.is_said_to_be_ended(departure, past)
                            })
                    })
            }
            Fact::StrikesOff(it) => {
                let mut before = self.facts().filter(|(by, _)| holds(past, by));
                let is_same = |other: &Struck| {
                    (other.user, other.device) == (it.user, it.device) && other.number >= it.number
                };
                is_user(&it.user)
                    && !before
                        .any(|(_, other)| matches!(&other.says, Fact::StrikesOff(other) if is_same(other)))
            }
            _ => true,
        }
    }

    /// The revocations and strikings-off in a set of generations, and what says that it stands for others.
    fn revocations(&self, known: &Knowledge) -> Vec<Version> {
        let of = |(_, it): &(&Version, &Generation)| it.says.takes();
        let facts = self.facts().filter(of).map(|(by, _)| *by);
        facts.chain(self.rolled.iter().copied()).filter(|by| holds(known, by)).collect()
    }

    /// What of a set of generations decides what is void: the same; and where anything is said of keys, on what others have
    /// built.
    fn deciding(&self, known: &Knowledge) -> Vec<Version> {
        match self.rolled.iter().any(|by| holds(known, by)) {
            true => {
                let facts = self.facts().map(|(by, _)| *by).filter(|by| holds(known, by));
                facts.chain(self.rolled.iter().copied().filter(|by| holds(known, by))).collect()
            }
            false => self.revocations(known),
        }
    }
}

impl Model {
    /// What a device may do at a moment by a set of generations; without a moment, whatever the time is.
    pub fn rights(
        &self,
        group: &SyncgroupId,
        device: &DeviceId,
        known: &Knowledge,
        when: Option<Wall>,
    ) -> Option<Rights> {
        self.groups.get(group)?.rights(device, known, known, For::now(when))
    }

    /// What a user may do, by whatever device, at a moment by a set of generations.
    pub fn rights_of(
        &self,
        group: &SyncgroupId,
        user: &UserId,
        known: &Knowledge,
        when: Option<Wall>,
    ) -> Option<Rights> {
        self.groups.get(group)?.rights_of(user, known, when)
    }

    /// All ends that anybody has set.
    pub fn all_ends(&self) -> impl Iterator<Item = Wall> {
        self.groups.keys().flat_map(|group| self.ends_in(group)).map(|(_, end)| end)
    }

    /// All ends that anybody has set in a syncgroup, and for whom.
    pub fn ends_in(&self, group: &SyncgroupId) -> impl Iterator<Item = (Whom, Wall)> + use<'_> {
        let facts = self.groups.get(group).into_iter().flat_map(Group::facts);
        facts.flat_map(|(by, it)| {
            let granted =
                it.says.grants(&by.author.device).and_then(|(to, granted)| Some((to, granted.ends?)));
            let kept = it.says.revokes().iter().filter_map(|it| Some((it.whom, it.keep?.ends?)));
            granted.into_iter().chain(kept).collect::<Vec<_>>()
        })
    }

    /// Whether anybody may hold a generation.
    pub fn is_permitted(&self, group: &SyncgroupId, version: &Version) -> bool {
        let Some(generation) = self.generation(group, version) else { return false };
        if generation.says == Fact::Begins {
            return self.generations(group).all(|(other, it)| it.says != Fact::Begins || other == version);
        }
        let is_fit = |group: &Group| {
            let is_sayable = group.may_say(generation) && group.gives_more(version);
            is_sayable && group.counts(version, &generation.past)
        };
        self.groups.get(group).is_some_and(is_fit)
    }

    /// Whether a generation does not count in a set of generations (S-35).
    pub fn is_void(&self, group: &SyncgroupId, version: &Version, held: &Knowledge) -> bool {
        let Some(of) = self.groups.get(group) else { return false };
        let deciding = of.deciding(held);
        if deciding.is_empty() {
            return false;
        }
        // Nothing else matters: grants count by what is in the past of the generation itself.
        let question = (*group, deciding, *version);
        let known = self.verdicts.borrow().get(&question).copied();
        known.unwrap_or_else(|| {
            let void = !of.counts(version, held);
            self.verdicts.borrow_mut().insert(question, void);
            void
        })
    }

    /// The generations that are void in one of two sets of generations and not in the other.
    pub fn judged_anew(
        &self,
        group: &SyncgroupId,
        before: &Knowledge,
        held: &Knowledge,
    ) -> Vec<(&Version, &Generation)> {
        let Some(of) = self.groups.get(group) else { return Vec::new() };
        if of.deciding(before) == of.deciding(held) {
            return Vec::new();
        }
        let differs = |version| self.is_void(group, version, before) != self.is_void(group, version, held);
        of.generations.iter().filter(|(version, _)| differs(version)).collect()
    }

    /// Whether more than one revocation is in the second set and not in the first, so that one may have ended what another
    /// one did.
    pub fn may_have_flipped(&self, group: &SyncgroupId, before: &Knowledge, held: &Knowledge) -> bool {
        let of = |held| self.groups.get(group).map_or(0, |of| of.revocations(held).len());
        of(held) > of(before) + 1
    }

    /// Whether any revocation is in a set of generations.
    pub fn has_revocations(&self, group: &SyncgroupId, held: &Knowledge) -> bool {
        self.groups.get(group).is_some_and(|group| !group.revocations(held).is_empty())
    }

    /// Whether a device was at any time entitled to a generation.
    pub fn is_entitled(&self, group: &SyncgroupId, device: &DeviceId, version: &Version) -> bool {
        let (Some(of), Some(generation)) = (self.groups.get(group), self.generation(group, version)) else {
            return false;
        };
        let past = &generation.past;
        of.ways(device).iter().any(|way| {
            self.is_way(group, way)
                && !of.has_left(way.given(), device, past, (past, None))
                && of
                    .counted(&way.grant, past)
                    .is_some_and(|senior| of.left(way, past, senior, For::default()).is_some())
        })
    }

    /// Whether anybody may hold what makes a way.
    fn is_way(&self, group: &SyncgroupId, way: &Way<'_>) -> bool {
        self.is_permitted(group, way.grant.by)
            && way.enrolled.is_none_or(|(by, _)| self.is_permitted(group, by))
    }

    /// Whether a device was ever granted anything anywhere.
    pub fn was_ever_admitted(&self, device: &DeviceId) -> bool {
        self.groups.iter().any(|(id, group)| group.ways(device).iter().any(|way| self.is_way(id, way)))
    }

    /// Whether a device is a member at a moment, by all that was ever written.
    pub fn is_member(&self, group: &SyncgroupId, device: &DeviceId, when: Option<Wall>) -> bool {
        let Some(of) = self.groups.get(group) else { return false };
        of.rights(device, &of.everything(), &of.everything(), For::now(when)).is_some()
    }

    /// Whether somebody removed a device at any time.
    pub fn was_removed(&self, group: &SyncgroupId, device: &DeviceId) -> bool {
        let Some(of) = self.groups.get(group) else { return false };
        let users: BTreeSet<Whom> = of.enrolments(device).map(|(_, it)| Whom::User(it.user)).collect();
        of.facts().any(|(_, generation)| match &generation.says {
            Fact::StrikesOff(it) => it.device == *device,
            says => says.revokes().iter().any(|it| {
                it.keep.is_none() && (it.whom == Whom::Device(*device) || users.contains(&it.whom))
            }),
        })
    }

    /// Whether a generation does not count by all that was ever written.
    pub fn is_void_in_the_end(&self, group: &SyncgroupId, version: &Version) -> bool {
        self.groups.get(group).is_some_and(|of| self.is_void(group, version, &of.everything()))
    }

    /// The departures of a device.
    pub fn departures(&self, group: &SyncgroupId, device: &DeviceId) -> Vec<Version> {
        let facts = self.groups.get(group).into_iter().flat_map(Group::facts);
        let own = facts.filter(|(version, it)| version.author.device == *device && it.says.leaves());
        own.map(|(version, _)| *version).collect()
    }
}

#[cfg(test)]
mod tests {
    use driftless::{Author, Incarnation};

    use super::*;

    const GROUP: SyncgroupId = SyncgroupId([1; 32]);

    fn device(number: u8) -> DeviceId {
        DeviceId([number; 16])
    }

    fn version(number: u8, generation: u64) -> Version {
        Version { author: Author { device: device(number), incarnation: Incarnation(0) }, generation }
    }

    fn admits(number: u8, rights: Rights) -> Fact {
        Fact::Admits(device(number), Granted::for_ever(rights))
    }

    fn add(model: &mut Model, it: Version, past: &[Version], says: Fact) {
        let past = past.iter().map(|version| (version.author, version.generation)).collect();
        model.record(GROUP, it, Generation { past, says, ..Generation::default() });
    }

    /// 1 begins, admits 2 to read and write, and 3 to read; 2 leaves, and 1 hears of it.
    fn story() -> Model {
        let mut model = Model::default();
        add(&mut model, version(1, 1), &[], Fact::Begins);
        add(&mut model, version(1, 2), &[version(1, 1)], admits(2, Rights::Write));
        add(&mut model, version(1, 3), &[version(1, 2)], admits(3, Rights::Read));
        add(&mut model, version(2, 1), &[version(1, 2)], Fact::Leaves);
        add(
            &mut model,
            version(1, 4),
            &[version(1, 3)],
            Fact::AddsCollection(driftless::Name::new("c").unwrap()),
        );
        add(
            &mut model,
            version(1, 5),
            &[version(1, 4), version(2, 1)],
            Fact::AddsCollection(driftless::Name::new("c").unwrap()),
        );
        model
    }

    #[test]
    fn a_generation_is_judged_by_its_own_past() {
        let mut model = story();
        assert!(model.generations(&GROUP).all(|(version, _)| model.is_permitted(&GROUP, version)));
        add(&mut model, version(3, 1), &[version(1, 3)], admits(4, Rights::Read));
        add(&mut model, version(2, 2), &[version(2, 1), version(1, 2)], Fact::Nothing);
        add(&mut model, version(5, 1), &[], Fact::Begins);
        for not in [version(3, 1), version(2, 2), version(5, 1)] {
            assert!(!model.is_permitted(&GROUP, &not), "{not:?}");
        }
        assert!(!model.was_ever_admitted(&device(4)), "only a reader has admitted it");
    }

    #[test]
    fn a_device_is_entitled_to_what_was_written_before_its_departure_was_known() {
        let model = story();
        let entitled =
            |number, generation| model.is_entitled(&GROUP, &device(number), &version(1, generation));
        assert!(entitled(2, 1) && entitled(2, 4), "4 was written without knowing that 2 had left");
        assert!(!entitled(2, 5) && entitled(3, 5) && !entitled(4, 1));
        assert!(model.is_member(&GROUP, &device(3), None) && !model.is_member(&GROUP, &device(2), None));
    }

    fn revokes(whom: u8, grants: &[Version], until: u64) -> Fact {
        let grants = grants.iter().copied().collect();
        let until = Knowledge::from([(version(whom, 1).author, until)]);
        Fact::Revokes(vec![Revoked { whom: Whom::Device(device(whom)), grants, keep: None, until }])
    }

    fn everything(model: &Model) -> Knowledge {
        model.groups[&GROUP].everything()
    }

    #[test]
    fn what_a_removed_device_wrote_beside_its_removal_does_not_count_where_that_is_known() {
        let mut model = story();
        let three = version(1, 3);
        add(&mut model, version(3, 1), &[three], Fact::Nothing);
        add(&mut model, version(1, 6), &[version(1, 5), version(3, 1)], revokes(3, &[three], 1));
        add(&mut model, version(3, 2), &[version(3, 1), three], Fact::Nothing);
        let void = |model: &Model, it| model.is_void(&GROUP, &it, &everything(model));
        assert!(!void(&model, version(3, 1)) && void(&model, version(3, 2)));
        let before = Knowledge::from([(version(3, 2).author, 2), (version(1, 5).author, 5)]);
        assert!(!model.is_void(&GROUP, &version(3, 2), &before));
        assert!(model.is_permitted(&GROUP, &version(3, 2)), "its author had not heard");
        assert!(!model.is_member(&GROUP, &device(3), None));
        add(&mut model, version(3, 3), &[version(1, 6), version(3, 2)], Fact::Nothing);
        assert!(!model.is_permitted(&GROUP, &version(3, 3)), "now it has");
        assert!(model.is_entitled(&GROUP, &device(3), &version(1, 6)), "of its removal a device may hear");
        add(
            &mut model,
            version(1, 7),
            &[version(1, 6)],
            Fact::AddsCollection(driftless::Name::new("c").unwrap()),
        );
        assert!(!model.is_entitled(&GROUP, &device(3), &version(1, 7)));
    }

    #[test]
    fn of_two_admins_who_remove_each_other_the_senior_stays() {
        let mut model = Model::default();
        let (two, three) = (version(1, 2), version(1, 3));
        add(&mut model, version(1, 1), &[], Fact::Begins);
        add(&mut model, two, &[version(1, 1)], admits(2, Rights::Admin));
        add(&mut model, three, &[two], admits(3, Rights::Admin));
        add(&mut model, version(2, 1), &[three], revokes(3, &[three], 0));
        add(&mut model, version(3, 1), &[three], revokes(2, &[two], 0));
        add(&mut model, version(3, 2), &[version(3, 1), three], admits(4, Rights::Write));
        let is_member = |number| model.is_member(&GROUP, &device(number), None);
        assert!(is_member(2) && !is_member(3) && !is_member(4));
        assert!(model.is_void(&GROUP, &version(3, 1), &everything(&model)));
        let held = everything(&model);
        assert!(model.revoking(&GROUP, &device(2), Whom::Device(device(1)), None, (&held, None)).is_err());
        let ended = model.destroying(&GROUP, &device(1), (&held, None));
        assert_eq!(ended.iter().map(|it| it.whom).collect::<Vec<_>>(), [Whom::Device(device(2))]);
    }

    #[test]
    fn a_grant_is_for_what_is_stamped_no_later_than_its_end_and_what_was_done_by_it_stays() {
        let mut model = Model::default();
        let at = |it: &mut Model, version, past: &[Version], moment: u64, says| {
            let past = past.iter().map(|version| (version.author, version.generation)).collect();
            let stamp = Some(driftless::Hlc(moment << 16));
            it.record(GROUP, version, Generation { past, stamp, says, ..Generation::default() });
        };
        let until = |rights, end| Granted { rights, ends: Some(Wall(end)) };
        let two = version(1, 2);
        at(&mut model, version(1, 1), &[], 1, Fact::Begins);
        at(&mut model, two, &[version(1, 1)], 2, Fact::Admits(device(2), until(Rights::Admin, 5)));
        at(&mut model, version(2, 1), &[two], 5, admits(3, Rights::Write));
        at(&mut model, version(2, 2), &[version(2, 1), two], 6, admits(4, Rights::Write));
        assert!(model.is_permitted(&GROUP, &version(2, 1)) && !model.is_permitted(&GROUP, &version(2, 2)));
        let may = |model: &Model, number, moment| {
            model.rights(&GROUP, &device(number), &everything(model), Some(Wall(moment)))
        };
        assert_eq!((may(&model, 2, 5), may(&model, 2, 6)), (Some(Rights::Admin), None));
        assert_eq!((may(&model, 3, 9), may(&model, 4, 9)), (Some(Rights::Write), None));
        // Less of it is left from now on, and less long.
        let keep = Some(until(Rights::Write, 3));
        let lessened =
            Revoked { whom: Whom::Device(device(2)), grants: [two].into(), keep, until: Knowledge::new() };
        at(&mut model, version(1, 3), &[two], 4, Fact::Revokes(vec![lessened]));
        assert_eq!((may(&model, 2, 3), may(&model, 2, 4)), (Some(Rights::Write), None));
        assert_eq!(may(&model, 3, 9), None);
    }
}
