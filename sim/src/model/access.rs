//! Who may do what, said as plainly as possible.
//!
//! * A *grant* gives a device rights. The first generation of a syncgroup grants all rights to its creator;
//!   others are written when a device is admitted (S-30, S-32).
//! * A device that *leaves* ends the grants to it that are in the past of its departure (S-31).
//! * A generation is permitted if its author has the right that it needs by the grants in its past that have
//!   not ended in its past (S-34). So everybody judges alike, whatever else they know.
//! * A device is entitled to a generation if it was ever granted something whose end the generation's author
//!   did not know of (S-36).

use driftless::{DeviceId, Knowledge, Rights, SyncgroupId, Version};

use super::{Generation, Group, Model, holds};

/// What a generation says besides its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
}

impl Generation {
    /// The right that it takes to write it.
    pub fn needs(&self) -> Rights {
        match self.says {
            Fact::Begins | Fact::Admits(..) | Fact::AddsCollection => Rights::Admin,
            Fact::Nothing | Fact::Leaves if self.rows.is_empty() => Rights::Read,
            Fact::Nothing | Fact::Leaves => Rights::Write,
        }
    }
}

impl Group {
    /// The grants to a device.
    fn grants<'g>(&'g self, device: &'g DeviceId) -> impl Iterator<Item = (&'g Version, Rights)> {
        self.facts().filter_map(move |(version, generation)| match generation.says {
            Fact::Admits(whom, rights) if whom == *device => Some((version, rights)),
            Fact::Begins if version.author.device == *device => Some((version, Rights::Admin)),
            _ => None,
        })
    }

    /// Whether a grant to a device has ended in a set of generations.
    fn has_ended(&self, grant: &Version, device: &DeviceId, known: &Knowledge) -> bool {
        self.facts().any(|(version, generation)| {
            generation.says == Fact::Leaves
                && version.author.device == *device
                && holds(known, version)
                && holds(&generation.past, grant)
        })
    }
}

impl Model {
    /// What a device may do by a set of generations.
    pub fn rights(&self, group: &SyncgroupId, device: &DeviceId, known: &Knowledge) -> Option<Rights> {
        let group = self.groups.get(group)?;
        let grants = group.grants(device).filter(|(grant, _)| holds(known, grant));
        grants.filter(|(grant, _)| !group.has_ended(grant, device, known)).map(|(_, rights)| rights).max()
    }

    /// Whether a generation's author might write it.
    pub fn is_permitted(&self, group: &SyncgroupId, version: &Version) -> bool {
        let Some(generation) = self.generation(group, version) else { return false };
        if generation.says == Fact::Begins {
            return self.generations(group).all(|(other, it)| it.says != Fact::Begins || other == version);
        }
        let rights = self.rights(group, &version.author.device, &generation.past);
        rights.is_some_and(|rights| rights >= generation.needs())
    }

    /// Whether a device was at any time entitled to a generation.
    pub fn is_entitled(&self, group: &SyncgroupId, device: &DeviceId, version: &Version) -> bool {
        let (Some(of), Some(generation)) = (self.groups.get(group), self.generation(group, version)) else {
            return false;
        };
        let valid = |grant: &Version| self.is_permitted(group, grant);
        of.grants(device).any(|(grant, _)| valid(grant) && !of.has_ended(grant, device, &generation.past))
    }

    /// Whether a device was ever granted anything anywhere.
    pub fn was_ever_admitted(&self, device: &DeviceId) -> bool {
        self.groups
            .iter()
            .any(|(id, group)| group.grants(device).any(|(grant, _)| self.is_permitted(id, grant)))
    }

    /// Whether a device is a member by all that was ever written.
    pub fn is_member(&self, group: &SyncgroupId, device: &DeviceId) -> bool {
        let Some(of) = self.groups.get(group) else { return false };
        let known = of.everything();
        of.grants(device)
            .any(|(grant, _)| self.is_permitted(group, grant) && !of.has_ended(grant, device, &known))
    }

    /// The departures of a device.
    pub fn departures(&self, group: &SyncgroupId, device: &DeviceId) -> Vec<Version> {
        let facts = self.groups.get(group).into_iter().flat_map(Group::facts);
        let own = facts.filter(|(version, it)| version.author.device == *device && it.says == Fact::Leaves);
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
}
