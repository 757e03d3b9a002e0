//! Who may do what, said as plainly as possible.
//!
//! * A *grant* gives a device rights. The first generation of a syncgroup grants all rights to its creator;
//!   others are written when a device is admitted, or gets more rights (S-30, S-32).
//! * A device that *leaves* ends the grants to it that are in the past of its departure (S-31), for all that it
//!   writes in the knowledge of that.
//! * A *revocation* ends some grants to a device, or leaves less of them, for all that the device wrote or will
//!   write but what it names: an honest admin names what it holds of that device (S-34).
//! * A generation *counts*, where some revocations are known, if its author has the right that it needs by a grant in
//!   its past that counts and is left to it, with what is left of it (S-34). It is *permitted*, so that anybody may
//!   hold it, if it counts by the revocations in its own past: so everybody agrees, whatever else they know.
//! * A grant counts if the generation counts that gave it.
//! * A revocation of a grant that makes an admin counts only if it was made by a *senior* (S-35). A grant's distance
//!   is how many grants lie between it and the creator's; whoever acts by a grant of less distance, or of the same and
//!   an earlier version, is senior to it.
//! * A device is entitled to a generation if it was ever granted something of whose end the generation's author
//!   did not know (S-36).

use std::collections::{BTreeMap, BTreeSet};

use driftless::{Author, DeviceId, Incarnation, Knowledge, Rights, SyncgroupId, Version};

use super::{Generation, Group, Model, holds};

/// What a generation says besides its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fact {
    /// Nothing of significance here.
    #[default]
    Nothing,
    /// The syncgroup begins.
    Begins,
    /// A device may do something.
    Admits(DeviceId, Rights),
    /// The author's device leaves.
    Leaves,
    /// There is another collection.
    AddsCollection,
    /// Devices lose rights.
    Revokes(Vec<Revoked>),
    /// Devices are removed, and the author's leaves.
    Destroys(Vec<Revoked>),
}

/// What a device loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Which device.
    pub device: DeviceId,
    /// By which grants.
    pub grants: BTreeSet<Version>,
    /// What is left of them.
    pub keep: Option<Rights>,
    /// The last generation of each of its logs for which they stay as they were.
    pub until: BTreeMap<Incarnation, u64>,
}

impl Fact {
    fn leaves(&self) -> bool {
        matches!(self, Fact::Leaves | Fact::Destroys(_))
    }

    /// What devices lose by it.
    pub fn revokes(&self) -> &[Revoked] {
        match self {
            Fact::Revokes(all) | Fact::Destroys(all) => all,
            _ => &[],
        }
    }
}

impl Generation {
    /// The right that it takes to write it.
    pub fn needs(&self) -> Rights {
        match self.says {
            Fact::Begins | Fact::Admits(..) | Fact::AddsCollection => Rights::Admin,
            Fact::Revokes(_) | Fact::Destroys(_) => Rights::Admin,
            _ if !self.rules.is_empty() => Rights::Admin,
            Fact::Nothing | Fact::Leaves if self.rows.is_empty() => Rights::Read,
            Fact::Nothing | Fact::Leaves => Rights::Write,
        }
    }
}

/// A grant to a device.
#[derive(Debug, Clone, Copy)]
struct Grant<'g> {
    by: &'g Version,
    rights: Rights,
}

/// How senior whoever acts by a grant is: by how many grants from the creator's, and its version.
type Seniority = (usize, Version);

/// Which generation of a device a right is for; `None` is what it writes from now on.
type For = Option<(Incarnation, u64)>;

impl Group {
    /// The grants to a device.
    fn grants(&self, device: &DeviceId) -> Vec<Grant<'_>> {
        let grants = self.facts().filter_map(|(by, generation)| match generation.says {
            Fact::Admits(whom, rights) if whom == *device => Some(Grant { by, rights }),
            Fact::Begins if by.author.device == *device => Some(Grant { by, rights: Rights::Admin }),
            _ => None,
        });
        grants.collect()
    }

    /// Whether a device has ended a grant to it by leaving, in a set of generations.
    fn has_left(&self, grant: &Version, device: &DeviceId, known: &Knowledge) -> bool {
        self.facts().any(|(version, generation)| {
            generation.says.leaves()
                && version.author.device == *device
                && holds(known, version)
                && holds(&generation.past, grant)
        })
    }

    /// How senior a grant is, where some revocations are known; `None` if it does not count.
    fn seniority(&self, grant: &Grant<'_>, revocations: &Knowledge) -> Option<Seniority> {
        self.seniority_below(grant, revocations, None)
    }

    /// The same, if it is above another.
    fn seniority_below(
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
    fn authority(
        &self,
        act: &Version,
        revocations: &Knowledge,
        below: Option<Seniority>,
    ) -> Option<Seniority> {
        let past = &self.generations.get(act)?.past;
        let (device, at) = (&act.author.device, Some((act.author.incarnation, act.generation)));
        let admin = self.grants(device).into_iter().filter(|grant| grant.rights == Rights::Admin);
        let mut best = None;
        for grant in admin.filter(|grant| holds(past, grant.by) && !self.has_left(grant.by, device, past)) {
            let Some(senior) = self.seniority_below(&grant, revocations, below) else { continue };
            if self.left(&grant, device, revocations, Some(senior), at) == Some(Rights::Admin) {
                best = Some(best.map_or(senior, |best: Seniority| best.min(senior)));
            }
        }
        best
    }

    /// What is left of a grant by the revocations that count, of a grant of `Admin` those by whoever is senior to it.
    fn left(
        &self,
        grant: &Grant<'_>,
        device: &DeviceId,
        revocations: &Knowledge,
        senior: Option<Seniority>,
        at: For,
    ) -> Option<Rights> {
        let above = senior.filter(|_| grant.rights == Rights::Admin);
        let mut left = Some(grant.rights);
        for (by, generation) in self.facts().filter(|(by, _)| holds(revocations, by)) {
            let names = |it: &&Revoked| it.device == *device && it.grants.contains(grant.by);
            for revoked in generation.says.revokes().iter().filter(names) {
                let spared = |(incarnation, number)| {
                    revoked.until.get(&incarnation).is_some_and(|last| number <= *last)
                };
                if !at.is_some_and(spared) && self.authority(by, revocations, above).is_some() {
                    left = left.min(revoked.keep);
                }
            }
        }
        left
    }

    /// What a device may do at one of its generations, where some grants and some revocations are known.
    fn rights(
        &self,
        device: &DeviceId,
        known: &Knowledge,
        revocations: &Knowledge,
        at: For,
    ) -> Option<Rights> {
        let known_grants = self.grants(device).into_iter().filter(|grant| holds(known, grant.by));
        let there = known_grants.filter(|grant| !self.has_left(grant.by, device, known));
        let left = there.filter_map(|grant| {
            let senior = self.seniority(&grant, revocations)?;
            self.left(&grant, device, revocations, Some(senior), at)
        });
        left.max()
    }

    /// Whether a generation counts where some revocations are known.
    fn counts(&self, version: &Version, revocations: &Knowledge) -> bool {
        let Some(generation) = self.generations.get(version) else { return false };
        if generation.says == Fact::Begins {
            return true;
        }
        let at = Some((version.author.incarnation, version.generation));
        let rights = self.rights(&version.author.device, &generation.past, revocations, at);
        rights.is_some_and(|rights| rights >= generation.needs())
    }

    /// The revocations in a set of generations.
    fn revocations(&self, known: &Knowledge) -> Vec<Version> {
        let of = |(_, generation): &(&Version, &Generation)| !generation.says.revokes().is_empty();
        self.facts().filter(of).map(|(by, _)| *by).filter(|by| holds(known, by)).collect()
    }
}

impl Model {
    /// What a device may do by a set of generations.
    pub fn rights(&self, group: &SyncgroupId, device: &DeviceId, known: &Knowledge) -> Option<Rights> {
        self.groups.get(group)?.rights(device, known, known, None)
    }

    /// Whether anybody may hold a generation.
    pub fn is_permitted(&self, group: &SyncgroupId, version: &Version) -> bool {
        let Some(generation) = self.generation(group, version) else { return false };
        if generation.says == Fact::Begins {
            return self.generations(group).all(|(other, it)| it.says != Fact::Begins || other == version);
        }
        self.groups.get(group).is_some_and(|group| group.counts(version, &generation.past))
    }

    /// Whether a generation does not count in a set of generations (S-35).
    pub fn is_void(&self, group: &SyncgroupId, version: &Version, held: &Knowledge) -> bool {
        let Some(of) = self.groups.get(group) else { return false };
        let revocations = of.revocations(held);
        if revocations.is_empty() {
            return false;
        }
        // Nothing else matters: grants count by what is in the past of the generation itself.
        let question = (*group, revocations, *version);
        let known = self.verdicts.borrow().get(&question).copied();
        known.unwrap_or_else(|| {
            let void = !of.counts(version, held);
            self.verdicts.borrow_mut().insert(question, void);
            void
        })
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
        of.grants(device).iter().any(|grant| {
            self.is_permitted(group, grant.by)
                && !of.has_left(grant.by, device, past)
                && of
                    .seniority(grant, past)
                    .is_some_and(|senior| of.left(grant, device, past, Some(senior), None).is_some())
        })
    }

    /// Whether a device was ever granted anything anywhere.
    pub fn was_ever_admitted(&self, device: &DeviceId) -> bool {
        self.groups
            .iter()
            .any(|(id, group)| group.grants(device).iter().any(|grant| self.is_permitted(id, grant.by)))
    }

    /// Whether a device is a member by all that was ever written.
    pub fn is_member(&self, group: &SyncgroupId, device: &DeviceId) -> bool {
        let Some(of) = self.groups.get(group) else { return false };
        of.rights(device, &of.everything(), &of.everything(), None).is_some()
    }

    /// Whether somebody removed a device at any time.
    pub fn was_removed(&self, group: &SyncgroupId, device: &DeviceId) -> bool {
        let revoked = self.generations(group).flat_map(|(_, generation)| generation.says.revokes());
        revoked.into_iter().any(|revoked| revoked.device == *device && revoked.keep.is_none())
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

    /// What a device would lose if another one left it no more than `keep`, by all that one holds; `Err` names the
    /// grants that are not its to end.
    ///
    /// # Errors
    /// Nothing can be taken from a senior.
    pub fn revoking(
        &self,
        group: &SyncgroupId,
        by: &DeviceId,
        device: &DeviceId,
        keep: Option<Rights>,
        held: &Knowledge,
    ) -> Result<Revoked, BTreeSet<Version>> {
        let nothing = || Revoked { device: *device, grants: BTreeSet::new(), keep, until: BTreeMap::new() };
        let Some(of) = self.groups.get(group) else { return Ok(nothing()) };
        let standing = |device: &DeviceId| -> Vec<(Grant<'_>, Seniority, Rights)> {
            let grants = of.grants(device).into_iter().filter(|grant| holds(held, grant.by));
            let there = grants.filter(|grant| !of.has_left(grant.by, device, held));
            let left = there.filter_map(|grant| {
                let senior = of.seniority(&grant, held)?;
                Some((grant, senior, of.left(&grant, device, held, Some(senior), None)?))
            });
            left.collect()
        };
        let own = standing(by).into_iter().filter(|(.., left)| *left == Rights::Admin);
        let own = own.map(|(_, senior, _)| senior).min();
        let more = standing(device).into_iter().filter(|(.., left)| Some(*left) > keep);
        let (may, may_not): (Vec<_>, Vec<_>) = more.partition(|(grant, senior, _)| {
            grant.rights != Rights::Admin || own.is_some_and(|own| own < *senior)
        });
        if !may_not.is_empty() {
            return Err(may_not.into_iter().map(|(grant, ..)| *grant.by).collect());
        }
        let grants = may.into_iter().map(|(grant, ..)| *grant.by).collect();
        let logs = held.iter().filter(|(author, last)| author.device == *device && **last > 0);
        let until = logs.map(|(author, last): (&Author, &u64)| (author.incarnation, *last)).collect();
        Ok(Revoked { grants, until, ..nothing() })
    }

    /// What everybody would lose whom a device may remove, by all that it holds.
    pub fn destroying(&self, group: &SyncgroupId, by: &DeviceId, held: &Knowledge) -> Vec<Revoked> {
        let Some(of) = self.groups.get(group) else { return Vec::new() };
        let admitted = of.facts().filter_map(|(version, generation)| match generation.says {
            Fact::Admits(device, _) => Some(device),
            Fact::Begins => Some(version.author.device),
            _ => None,
        });
        let devices: BTreeSet<DeviceId> = admitted.filter(|device| device != by).collect();
        let ended = devices.iter().filter_map(|device| {
            let all = self.revoking(group, by, device, None, held);
            all.ok().filter(|revoked| !revoked.grants.is_empty())
        });
        ended.collect()
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

    fn add(model: &mut Model, it: Version, past: &[Version], says: Fact) {
        let past = past.iter().map(|version| (version.author, version.generation)).collect();
        model.record(GROUP, it, Generation { past, says, ..Generation::default() });
    }

    /// 1 begins, admits 2 to read and write, and 3 to read; 2 leaves, and 1 hears of it.
    fn story() -> Model {
        let mut model = Model::default();
        add(&mut model, version(1, 1), &[], Fact::Begins);
        add(&mut model, version(1, 2), &[version(1, 1)], Fact::Admits(device(2), Rights::Write));
        add(&mut model, version(1, 3), &[version(1, 2)], Fact::Admits(device(3), Rights::Read));
        add(&mut model, version(2, 1), &[version(1, 2)], Fact::Leaves);
        add(&mut model, version(1, 4), &[version(1, 3)], Fact::AddsCollection);
        add(&mut model, version(1, 5), &[version(1, 4), version(2, 1)], Fact::AddsCollection);
        model
    }

    #[test]
    fn a_generation_is_judged_by_its_own_past() {
        let mut model = story();
        assert!(model.generations(&GROUP).all(|(version, _)| model.is_permitted(&GROUP, version)));
        add(&mut model, version(3, 1), &[version(1, 3)], Fact::Admits(device(4), Rights::Read));
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
        assert!(model.is_member(&GROUP, &device(3)) && !model.is_member(&GROUP, &device(2)));
    }

    fn revokes(whom: u8, grants: &[Version], until: u64) -> Fact {
        let grants = grants.iter().copied().collect();
        let until = BTreeMap::from([(Incarnation(0), until)]);
        Fact::Revokes(vec![Revoked { device: device(whom), grants, keep: None, until }])
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
        assert!(!model.is_member(&GROUP, &device(3)));
        add(&mut model, version(3, 3), &[version(1, 6), version(3, 2)], Fact::Nothing);
        assert!(!model.is_permitted(&GROUP, &version(3, 3)), "now it has");
        assert!(model.is_entitled(&GROUP, &device(3), &version(1, 6)), "of its removal a device may hear");
        add(&mut model, version(1, 7), &[version(1, 6)], Fact::AddsCollection);
        assert!(!model.is_entitled(&GROUP, &device(3), &version(1, 7)));
    }

    #[test]
    fn of_two_admins_who_remove_each_other_the_senior_stays() {
        let mut model = Model::default();
        let (two, three) = (version(1, 2), version(1, 3));
        add(&mut model, version(1, 1), &[], Fact::Begins);
        add(&mut model, two, &[version(1, 1)], Fact::Admits(device(2), Rights::Admin));
        add(&mut model, three, &[two], Fact::Admits(device(3), Rights::Admin));
        add(&mut model, version(2, 1), &[three], revokes(3, &[three], 0));
        add(&mut model, version(3, 1), &[three], revokes(2, &[two], 0));
        add(&mut model, version(3, 2), &[version(3, 1), three], Fact::Admits(device(4), Rights::Write));
        let is_member = |number| model.is_member(&GROUP, &device(number));
        assert!(is_member(2) && !is_member(3) && !is_member(4));
        assert!(model.is_void(&GROUP, &version(3, 1), &everything(&model)));
        let held = everything(&model);
        assert!(model.revoking(&GROUP, &device(2), &device(1), None, &held).is_err());
        let ended = model.destroying(&GROUP, &device(1), &held);
        assert_eq!(ended.iter().map(|it| it.device).collect::<Vec<_>>(), [device(2)]);
    }
}
