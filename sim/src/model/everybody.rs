//! What is granted to everybody, said as plainly as possible (S-3).
//!
//! * A grant to *everybody* makes nobody a member. An admin makes it, and an admin ends it, or leaves less of it, like any
//!   other grant.
//! * A *member*, whatever it may do itself, may let in somebody with no more than that, and for no longer: where some
//!   revocations are known, its generation counts if the grant is in its past, counts and is left to it, though its author
//!   is no admin.
//! * But what an admin has *taken* from somebody, no member gives back. Whatever leaves that one less than a member gives it
//!   must have had the member's generation in its past, so that it was taken from this one, too; or an admin has given as
//!   much since, and the member knew. What an admin has taken from a user was taken from each device of which it knew then
//!   that it was one of the user's. With a user no device comes in, in the same step, from which that was taken.
//! * And a member gives *more* than there is: what somebody has already, as far as the member knew, nobody holds.

use driftless::{Author, DeviceId, Knowledge, Rights, SyncgroupId, Version, Wall};

use super::access::{For, Grant, Seniority};
use super::keys::Words;
use super::{Fact, Granted, Group, Model, Revoked, Whom, holds};

/// Somebody lets in somebody else.
#[derive(Debug, Clone, Copy)]
pub(super) struct LettingIn<'k> {
    /// The log, and which generation of it.
    by: (Author, u64),
    /// That generation, if it is there.
    version: Option<&'k Version>,
    /// What its author knew.
    past: &'k Knowledge,
    when: Option<Wall>,
    whom: Whom,
    /// The device that comes in with its user.
    with: Option<DeviceId>,
    gives: Granted,
}

impl Group {
    /// How senior a grant is, where some revocations are known, if it makes an admin; `None` if it does not count.
    pub(super) fn counted(&self, grant: &Grant<'_>, revocations: &Knowledge) -> Option<Option<Seniority>> {
        self.counted_by(grant, revocations, Words::Judged)
    }

    /// The same by some words on keys.
    pub(super) fn counted_by(
        &self,
        grant: &Grant<'_>,
        revocations: &Knowledge,
        words: Words,
    ) -> Option<Option<Seniority>> {
        let by_admin = self.seniority(grant, revocations).map(Some);
        by_admin.or_else(|| self.is_by_a_member_by(grant.by, revocations, words).then_some(None))
    }

    /// Whether a generation counts though its author is no admin, as it lets in somebody whom any member may let in.
    pub(super) fn is_by_a_member(&self, version: &Version, revocations: &Knowledge) -> bool {
        self.is_by_a_member_by(version, revocations, Words::Judged)
    }

    fn is_by_a_member_by(&self, version: &Version, revocations: &Knowledge, words: Words) -> bool {
        let Some(generation) = self.generations.get(version) else { return false };
        let (past, when) = (&generation.past, generation.moment());
        let Some((whom, with, gives)) = generation.says.lets_in() else { return false };
        let by = (version.author, version.generation);
        let says_more = !generation.rows.is_empty() || !generation.rules.is_empty();
        let letting = LettingIn { by, version: Some(version), past, when, whom, with, gives };
        let at = For::generation(by, when);
        !says_more
            && self.may_let_in(letting, revocations)
            && self.rights_by(&version.author.device, past, (revocations, words), at).is_some()
            && !(words == Words::Judged && self.is_undone(version, revocations, None))
    }

    /// Whether a generation, by which a member that is no admin lets in somebody, gives more than there is.
    pub(super) fn gives_more(&self, version: &Version) -> bool {
        let Some(generation) = self.generations.get(version) else { return false };
        let past = &generation.past;
        let Some((whom, _, gives)) = generation.says.lets_in() else { return true };
        let has = || {
            let mut own = self.standing(whom, past).into_iter().filter(|(way, ..)| way.enrolled.is_none());
            own.any(|(.., left)| left.covers(gives))
        };
        self.authority(version, past, None).is_some() || !has()
    }

    /// Whether whoever is a member may let in somebody so.
    fn may_let_in(&self, it: LettingIn<'_>, revocations: &Knowledge) -> bool {
        let with = it.with.map(|device| LettingIn { whom: Whom::Device(device), ..it });
        it.gives.rights < Rights::Admin
            && self.is_open(it, revocations)
            && !self.is_taken(it, revocations)
            && !with.is_some_and(|it| self.is_taken(it, revocations))
    }

    fn is_open(&self, it: LettingIn<'_>, revocations: &Knowledge) -> bool {
        self.grants(Whom::Everybody).filter(|grant| holds(it.past, grant.by)).any(|grant| {
            let left = || self.left_of(&grant, revocations, None, For::generation(it.by, it.when));
            self.seniority(&grant, revocations).is_some()
                && left().is_some_and(|left| left.covers(it.gives) && left.at(it.when).is_some())
        })
    }

    fn is_taken(&self, it: LettingIn<'_>, revocations: &Knowledge) -> bool {
        self.facts().filter(|(by, _)| holds(revocations, by)).any(|(by, generation)| {
            let was_of = |whom| match (it.whom, whom) {
                (Whom::Device(device), Whom::User(user)) => self
                    .enrolments(&device)
                    .any(|(enrolled, it)| it.user == user && holds(&generation.past, enrolled)),
                _ => false,
            };
            let takes = |revoked: &&Revoked| {
                (revoked.whom == it.whom || was_of(revoked.whom))
                    && !revoked.keep.is_some_and(|keep| keep.covers(it.gives))
            };
            let had_it_in_its_past = it.version.is_some_and(|version| holds(&generation.past, version));
            let mut taken = generation.says.revokes().iter().filter(takes);
            !had_it_in_its_past
                && taken.any(|revoked| self.has_effect(by, revoked, revocations))
                && !self.is_given_since(it, by, revocations)
        })
    }

    /// Whether a revocation ends any of the grants that it names, of which its author knew.
    fn has_effect(&self, by: &Version, revoked: &Revoked, revocations: &Knowledge) -> bool {
        let knew = |named: &&Version| self.generations.get(by).is_some_and(|by| holds(&by.past, named));
        revoked.grants.iter().filter(knew).any(|named| {
            let grant = self.grants(revoked.whom).find(|grant| grant.by == named);
            let Some(grant) = grant else { return false };
            let admin = Some(grant).filter(|grant| grant.gives.rights == Rights::Admin);
            let above = admin.and_then(|grant| self.seniority(&grant, revocations));
            self.authority(by, revocations, above).is_some()
        })
    }

    fn is_given_since(&self, it: LettingIn<'_>, taken: &Version, revocations: &Knowledge) -> bool {
        self.grants(it.whom).any(|grant| {
            let knew =
                grant.by == taken || self.generations.get(grant.by).is_some_and(|by| holds(&by.past, taken));
            knew && Some(grant.by) != it.version
                && holds(it.past, grant.by)
                && grant.gives.covers(it.gives)
                && self.seniority(&grant, revocations).is_some()
        })
    }
}

impl Model {
    /// Whether a member that is no admin may let in somebody, a user with a device of its, with so much, by a set of
    /// generations, in the next generation of its log; or `None`, whomever.
    pub fn lets_in(
        &self,
        group: &SyncgroupId,
        by: Author,
        whom: Option<(Whom, Option<DeviceId>)>,
        gives: Granted,
        (held, when): (&Knowledge, Option<Wall>),
    ) -> bool {
        let Some(of) = self.groups.get(group) else { return false };
        let next = held.get(&by).copied().unwrap_or(0) + 1;
        let it = LettingIn {
            by: (by, next),
            version: None,
            past: held,
            when,
            whom: whom.map_or(Whom::Everybody, |(whom, _)| whom),
            with: whom.and_then(|(_, with)| with),
            gives,
        };
        let is_member = of.rights(&by.device, held, held, For::generation(it.by, when)).is_some();
        let may = match whom {
            Some(_) => of.may_let_in(it, held),
            None => gives.rights < Rights::Admin && of.is_open(it, held),
        };
        is_member && may
    }

    /// What is granted to everybody at a moment, by a set of generations: the most of it.
    pub fn open(&self, group: &SyncgroupId, held: &Knowledge, when: Option<Wall>) -> Option<Granted> {
        let left = self.left_to(group, Whom::Everybody, held).into_iter();
        left.filter(|left| left.at(when).is_some()).max_by_key(|it| (it.rights, it.ends.is_none(), it.ends))
    }

    /// Whether a generation lets in somebody as any member may.
    pub fn is_by_a_member(&self, group: &SyncgroupId, version: &Version, held: &Knowledge) -> bool {
        self.groups
            .get(group)
            .is_some_and(|of| of.authority(version, held, None).is_none() && of.is_by_a_member(version, held))
    }

    /// Whether a member had let in a device that an admin had removed, or lets it in beside that, and that is void.
    pub fn is_taken_from(&self, group: &SyncgroupId, device: &DeviceId, version: &Version) -> bool {
        self.groups.get(group).is_some_and(|of| {
            let everything = of.everything();
            of.generations.get(version).is_some_and(|generation| {
                let (past, when) = (&generation.past, generation.moment());
                matches!(generation.says.lets_in(), Some((it, with, gives)) if with.map_or(it, Whom::Device) == Whom::Device(*device) && {
                    let (by, whom, with) = ((version.author, version.generation), Whom::Device(*device), None);
                    of.is_taken(LettingIn { by, version: Some(version), past, when, whom, with, gives }, &everything)
                })
            })
        })
    }
}

impl Fact {
    /// Whom it lets in, with which of its devices, and with what, if that is all that it says.
    fn lets_in(&self) -> Option<(Whom, Option<DeviceId>, Granted)> {
        match self {
            Fact::Admits(device, granted) => Some((Whom::Device(*device), None, *granted)),
            Fact::AdmitsUser(user, granted) => Some((Whom::User(*user), None, *granted)),
            Fact::Enrols(it) => it.granted.map(|granted| (Whom::User(it.user), Some(it.device), granted)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use driftless::{Incarnation, UserId};

    use super::super::{Enrolled, Generation};
    use super::*;

    const GROUP: SyncgroupId = SyncgroupId([1; 32]);

    fn version(number: u8, generation: u64) -> Version {
        let author = Author { device: DeviceId([number; 16]), incarnation: Incarnation(0) };
        Version { author, generation }
    }

    fn admits(number: u8, rights: Rights) -> Fact {
        Fact::Admits(DeviceId([number; 16]), Granted::for_ever(rights))
    }

    fn revokes(whom: Whom, grant: Version, until: &[Version]) -> Fact {
        let until = until.iter().map(|it| (it.author, it.generation)).collect();
        Fact::Revokes(vec![Revoked { whom, grants: BTreeSet::from([grant]), keep: None, until }])
    }

    fn add(model: &mut Model, it: Version, past: &[Version], says: Fact) {
        let past = past.iter().map(|version| (version.author, version.generation)).collect();
        model.record(GROUP, it, Generation { past, says, ..Generation::default() });
    }

    /// 1 begins, lets in 2 to read, and opens the syncgroup for writing.
    fn opened() -> Model {
        let mut model = Model::default();
        add(&mut model, version(1, 1), &[], Fact::Begins);
        add(&mut model, version(1, 2), &[version(1, 1)], admits(2, Rights::Read));
        add(&mut model, version(1, 3), &[version(1, 2)], Fact::Opens(Granted::for_ever(Rights::Write)));
        model
    }

    fn rights(model: &Model, number: u8) -> Option<Rights> {
        let everything = model.groups[&GROUP].everything();
        model.rights(&GROUP, &DeviceId([number; 16]), &everything, None)
    }

    #[test]
    fn a_member_lets_in_others_with_what_is_granted_to_everybody_and_no_more() {
        let mut model = opened();
        add(&mut model, version(2, 1), &[version(1, 3)], admits(3, Rights::Write));
        add(&mut model, version(2, 2), &[version(1, 3), version(2, 1)], admits(4, Rights::Admin));
        add(&mut model, version(5, 1), &[version(1, 3)], admits(6, Rights::Read));
        let is_permitted = |number, generation| model.is_permitted(&GROUP, &version(number, generation));
        assert!(is_permitted(2, 1) && !is_permitted(2, 2) && !is_permitted(5, 1));
        assert_eq!(rights(&model, 3), Some(Rights::Write));
    }

    #[test]
    fn a_closing_ends_what_it_does_not_spare() {
        let mut model = opened();
        add(&mut model, version(2, 1), &[version(1, 3)], admits(3, Rights::Write));
        let closes = revokes(Whom::Everybody, version(1, 3), &[version(2, 1)]);
        add(&mut model, version(1, 4), &[version(1, 3), version(2, 1)], closes);
        add(&mut model, version(2, 2), &[version(1, 3), version(2, 1)], admits(4, Rights::Write));
        assert_eq!((rights(&model, 3), rights(&model, 4)), (Some(Rights::Write), None));
        assert!(model.is_permitted(&GROUP, &version(2, 2)), "its author had not heard");
        assert!(model.is_void_in_the_end(&GROUP, &version(2, 2)));
    }

    #[test]
    fn a_member_gives_more_than_there_is() {
        let mut model = opened();
        add(&mut model, version(2, 1), &[version(1, 3)], admits(3, Rights::Read));
        add(&mut model, version(2, 2), &[version(1, 3), version(2, 1)], admits(3, Rights::Read));
        add(&mut model, version(2, 3), &[version(1, 3), version(2, 2)], admits(3, Rights::Write));
        let leaves = [version(1, 3), version(2, 1), version(2, 3)];
        add(&mut model, version(3, 1), &leaves, Fact::Leaves);
        add(
            &mut model,
            version(2, 4),
            &[version(2, 3), version(3, 1), version(1, 3)],
            admits(3, Rights::Read),
        );
        let is_permitted = |generation| model.is_permitted(&GROUP, &version(2, generation));
        assert!(is_permitted(1) && !is_permitted(2) && is_permitted(3));
        assert!(is_permitted(4), "it has left, and has nothing");
    }

    #[test]
    fn what_an_admin_has_taken_from_a_user_no_member_gives_to_a_device_that_was_known_as_its() {
        let user = UserId([9; 16]);
        let enrols = |number: u8| {
            let (device, number, granted) = (DeviceId([number; 16]), 1, None);
            Fact::Enrols(Enrolled { user, device, number, granted, asked: false })
        };
        let mut model = opened();
        let grants = Fact::AdmitsUser(user, Granted::for_ever(Rights::Write));
        add(&mut model, version(1, 4), &[version(1, 3)], grants);
        add(&mut model, version(1, 5), &[version(1, 4)], enrols(3));
        add(&mut model, version(1, 6), &[version(1, 5)], revokes(Whom::User(user), version(1, 4), &[]));
        // What somebody signs that has lost all takes nothing from others.
        add(&mut model, version(1, 7), &[version(1, 6)], enrols(4));
        add(&mut model, version(2, 1), &[version(1, 7)], admits(3, Rights::Write));
        add(&mut model, version(2, 2), &[version(1, 7), version(2, 1)], admits(4, Rights::Write));
        add(&mut model, version(1, 8), &[version(1, 7)], admits(3, Rights::Write));
        let is_permitted = |generation| model.is_permitted(&GROUP, &version(2, generation));
        assert!(!is_permitted(1) && is_permitted(2));
        assert_eq!(rights(&model, 3), Some(Rights::Write), "but an admin does");
    }

    #[test]
    fn whom_an_admin_has_removed_no_member_lets_in_with_a_user() {
        let mut model = opened();
        let enrols = |device: u8, number| {
            let (user, device) = (UserId([9; 16]), DeviceId([device; 16]));
            let granted = Some(Granted::for_ever(Rights::Read));
            Fact::Enrols(Enrolled { user, device, number, granted, asked: true })
        };
        add(&mut model, version(1, 4), &[version(1, 3)], admits(3, Rights::Write));
        let removes = revokes(Whom::Device(DeviceId([3; 16])), version(1, 4), &[]);
        add(&mut model, version(1, 5), &[version(1, 4)], removes);
        add(&mut model, version(2, 1), &[version(1, 4)], enrols(3, 1));
        assert_eq!(rights(&model, 3), None, "as if it had not heard");
        add(&mut model, version(2, 2), &[version(1, 5), version(2, 1)], enrols(3, 2));
        add(&mut model, version(2, 3), &[version(1, 5), version(2, 2)], enrols(4, 1));
        let is_permitted = |generation| model.is_permitted(&GROUP, &version(2, generation));
        assert!(is_permitted(1) && !is_permitted(2) && is_permitted(3));
        assert_eq!(rights(&model, 4), Some(Rights::Read), "another device of it");
    }

    #[test]
    fn no_member_gives_back_what_an_admin_has_taken() {
        let mut model = opened();
        add(&mut model, version(1, 4), &[version(1, 3)], admits(3, Rights::Write));
        let removes = revokes(Whom::Device(DeviceId([3; 16])), version(1, 4), &[]);
        add(&mut model, version(1, 5), &[version(1, 4)], removes);
        add(&mut model, version(2, 1), &[version(1, 4)], admits(3, Rights::Read));
        assert_eq!(rights(&model, 3), None, "as if it had not heard");
        add(&mut model, version(2, 2), &[version(1, 5), version(2, 1)], admits(3, Rights::Read));
        assert!(!model.is_permitted(&GROUP, &version(2, 2)), "now it has");
        add(&mut model, version(1, 6), &[version(1, 5)], admits(3, Rights::Read));
        add(&mut model, version(3, 1), &[version(1, 6)], Fact::Leaves);
        let knew = [version(1, 6), version(3, 1)];
        add(&mut model, version(2, 3), &knew, admits(3, Rights::Write));
        add(&mut model, version(2, 4), &knew, admits(3, Rights::Read));
        let is_permitted = |generation| model.is_permitted(&GROUP, &version(2, generation));
        assert!(!is_permitted(3) && is_permitted(4), "no more than an admin has given since");
    }
}
