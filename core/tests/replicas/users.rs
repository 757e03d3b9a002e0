//! Users with several devices (S-3): let in, enrolled at any member, struck off, removed.

use super::*;

pub(super) const LONG: Millis = Millis(3_600_000);

pub(super) fn key(n: u8) -> UserKey {
    UserKey::new(name(&format!("user {n}")), SecretKey([100 + n; 32]), &Ed25519)
}

impl World {
    pub(super) fn certificate(&self, user: &UserKey, at: usize, number: u64) -> Certificate {
        user.certify(self.nodes[at].core.public_key(), name(&format!("device {at}")), number)
    }

    pub(super) fn join_as(
        &mut self,
        at: usize,
        invitation: Invitation,
        user: &UserKey,
    ) -> Result<Outcome, Refusal> {
        let certificate = Box::new(self.certificate(user, at, 1));
        self.command(at, Command::JoinAs { database: name("db"), invitation, certificate })
    }

    pub(super) fn invite_device(&mut self, at: usize, id: SyncgroupId, user: &UserKey) -> Invitation {
        let (user, valid_for, addresses) = (user.id(), LONG, vec![]);
        match self.command(at, Command::InviteDevice { syncgroup: id, user, valid_for, addresses }) {
            Ok(Outcome::Invited(invitation)) => invitation,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn strike_off(&mut self, at: usize, id: SyncgroupId, whom: usize, user: &UserKey) {
        let device = self.nodes[whom].core.public_key().device();
        let striking = self.nodes[at].core.striking_off(&id, &device, user).unwrap();
        let outcome = self.command(at, Command::StrikeOff { syncgroup: id, striking });
        assert_eq!(outcome, Ok(Outcome::StruckOff(id, user.id(), device)));
    }

    pub(super) fn member(&self, at: usize, id: SyncgroupId, of: usize) -> Member {
        let device = self.nodes[of].core.public_key().device();
        let members = self.nodes[at].core.members(&id).unwrap();
        members.into_iter().find(|member| member.device == device).expect("a member")
    }

    pub(super) fn relink(&mut self) {
        for at in 0..self.nodes.len() {
            (0..at).for_each(|other| {
                self.link(other, at);
            });
        }
        self.run(60_000);
    }
}

/// 0 has created a syncgroup; 1 has joined it as a device of user 1, who may write, and 2 as another at 1.
pub(super) fn family(count: usize) -> (World, SyncgroupId) {
    let mut world = World::new(count);
    let id = world.create(0, "notes");
    let invitation = world.invite(0, id, Rights::Write);
    world.relink();
    world.join_as(1, invitation, &key(1)).unwrap();
    world.run(10_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    let invitation = world.invite_device(1, id, &key(1));
    world.join_as(2, invitation, &key(1)).unwrap();
    world.run(60_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    (world, id)
}

#[test]
fn an_invitation_lets_in_a_user_with_its_device_and_any_member_lets_in_its_other_devices() {
    let (mut world, id) = family(5);
    world.put(2, id, "row", "from the second device");
    world.run(60_000);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("from the second device"));
    let users = world.nodes[0].core.users(&id).unwrap();
    let [user] = users.as_slice() else { panic!("{users:?}") };
    assert_eq!((user.user, user.rights, user.name.as_str()), (key(1).id(), Some(Rights::Write), "user 1"));
    let second = world.member(0, id, 2);
    assert_eq!((second.user, second.rights), (Some(key(1).id()), Some(Rights::Write)));
    assert_eq!(second.name.as_str(), "device 2");
    // Even a member that may only read, and is no device of the user's, passes a certificate on.
    let invitation = world.invite(0, id, Rights::Read);
    world.ask_to_join(3, invitation).unwrap();
    world.run(10_000);
    let invitation = world.invite_device(3, id, &key(1));
    world.join_as(4, invitation, &key(1)).unwrap();
    world.run(60_000);
    assert_eq!(world.member(0, id, 4).admitted.author.device, world.nodes[3].core.public_key().device());
    world.put(4, id, "row", "from the third");
    world.run(60_000);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("from the third"));
    world.assert_same(id);
}

#[test]
fn a_member_can_write_down_a_certificate_before_the_device_asks() {
    let (mut world, id) = family(4);
    let certificate = world.certificate(&key(1), 3, 1);
    let device = certificate.device();
    let outcome = world.command(2, Command::Enrol { syncgroup: id, certificate: certificate.clone() });
    assert_eq!(outcome, Ok(Outcome::Enrolled(id, key(1).id(), device)));
    let before = world.nodes[2].core.held(&id);
    assert!(world.command(2, Command::Enrol { syncgroup: id, certificate }).is_ok());
    assert_eq!(world.nodes[2].core.held(&id), before, "once is enough");
    world.run(60_000);
    let invitation = world.invite_device(0, id, &key(1));
    world.join_as(3, invitation, &key(1)).unwrap();
    world.run(60_000);
    assert_eq!(world.state(3, id), SyncgroupState::Active);
    world.assert_same(id);
}

#[test]
fn what_a_device_wrote_beside_its_being_struck_off_is_undone_everywhere() {
    let (mut world, id) = family(4);
    world.put(2, id, "row", "before");
    world.run(60_000);
    for link in world.links.keys().copied().collect::<Vec<_>>() {
        world.unlink(link);
    }
    world.put(2, id, "row", "by the thief");
    world.strike_off(1, id, 2, &key(1));
    world.link(0, 2);
    world.run(10_000);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("by the thief"), "nobody has told 0");
    world.relink();
    assert_eq!(world.text(0, id, "row").as_deref(), Some("before"));
    assert_eq!(world.text(1, id, "row").as_deref(), Some("before"));
    assert_eq!(world.state(2, id), SyncgroupState::Removed);
    assert_eq!(world.member(0, id, 2).rights, None);
    assert!(world.member(0, id, 2).removed);
    assert_eq!(world.member(0, id, 1).rights, Some(Rights::Write), "the user goes on by its other device");
    // The old certificate lets it in no more, and a new one does.
    let invitation = world.invite_device(1, id, &key(1));
    world.join_as(2, invitation.clone(), &key(1)).unwrap();
    world.run(60_000);
    assert_eq!(world.state(2, id), SyncgroupState::Refused(JoinRefusal::NotValid));
    let certificate = Box::new(world.certificate(&key(1), 2, 2));
    world.command(2, Command::JoinAs { database: name("db"), invitation, certificate }).unwrap();
    world.run(60_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    assert_eq!(world.text(2, id, "row").as_deref(), Some("before"));
}

#[test]
fn who_removes_a_user_removes_all_its_devices() {
    let (mut world, id) = family(3);
    world.put(1, id, "one", "of one");
    world.put(2, id, "two", "of two");
    world.run(60_000);
    let user = key(1).id();
    let device = world.nodes[2].core.public_key().device();
    let refused = world.command(0, Command::Eject { syncgroup: id, device });
    assert_eq!(refused, Err(Refusal::DeviceOf { device, user }), "not one by itself");
    let outcome = world.command(0, Command::EjectUser { syncgroup: id, user });
    assert_eq!(outcome, Ok(Outcome::UserRightsSet(id, user, None)));
    world.run(60_000);
    for at in [1, 2] {
        assert_eq!(world.state(at, id), SyncgroupState::Removed, "{at}");
    }
    assert_eq!(world.rows(0, id).len(), 2, "what they wrote stays");
    let certificate = world.certificate(&key(1), 2, 2);
    let refused = world.command(0, Command::Enrol { syncgroup: id, certificate });
    assert_eq!(refused, Err(Refusal::NoUser(user)));
}

#[test]
fn a_user_is_given_more_and_less_for_all_its_devices() {
    let (mut world, id) = family(3);
    let set = |world: &mut World, rights| {
        let (user, name) = (key(1).public(), key(1).name().clone());
        let outcome = world.command(0, Command::AdmitUser { syncgroup: id, user, name, rights, ends: None });
        assert_eq!(outcome, Ok(Outcome::UserRightsSet(id, key(1).id(), Some(rights))));
        world.run(60_000);
        assert_eq!(
            (world.member(2, id, 1).rights, world.member(1, id, 2).rights),
            (Some(rights), Some(rights))
        );
    };
    set(&mut world, Rights::Admin);
    // A device acts by what its user may: it lets in another user, which is junior to it.
    let invitation = world.invite(2, id, Rights::Admin);
    assert_eq!(invitation.user(), None);
    set(&mut world, Rights::Read);
    let batch = LocalWrite::new().put(world.row(id, "row"), "no more");
    assert!(matches!(world.command(2, Command::Write(batch)), Err(Refusal::Forbidden(_))));
}

#[test]
fn what_a_user_did_not_sign_is_refused() {
    let (mut world, id) = family(4);
    let of_another = world.certificate(&key(2), 3, 1);
    let refused = world.command(1, Command::Enrol { syncgroup: id, certificate: of_another.clone() });
    assert_eq!(refused, Err(Refusal::NoUser(key(2).id())));
    let invitation = world.invite_device(1, id, &key(1));
    let join = |invitation, certificate| {
        let certificate = Box::new(certificate);
        Command::JoinAs { database: name("db"), invitation, certificate }
    };
    let refused = world.command(3, join(invitation.clone(), of_another));
    assert!(matches!(refused, Err(Refusal::Invitation(_))), "{refused:?}");
    let for_another = world.certificate(&key(1), 0, 1);
    let refused = world.command(3, join(invitation.clone(), for_another));
    assert!(matches!(refused, Err(Refusal::Certificate(_))), "{refused:?}");
    let refused = world.ask_to_join(3, invitation);
    assert!(matches!(refused, Err(Refusal::Invitation(_))), "without a certificate: {refused:?}");
    // A statement for one syncgroup is none for another.
    let other = world.create(0, "other");
    let (user, name) = (key(1).public(), key(1).name().clone());
    let rights = Rights::Read;
    world.command(0, Command::AdmitUser { syncgroup: other, user, name, rights, ends: None }).unwrap();
    let device = world.nodes[2].core.public_key().device();
    let striking = world.nodes[0].core.striking_off(&id, &device, &key(1)).unwrap();
    let refused = world.command(0, Command::StrikeOff { syncgroup: other, striking });
    assert!(matches!(refused, Err(Refusal::Certificate(_))), "{refused:?}");
}

#[test]
fn a_device_of_a_user_leaves_and_comes_back() {
    let (mut world, id) = family(3);
    assert_eq!(world.command(2, Command::Leave { syncgroup: id }), Ok(Outcome::Left(id)));
    world.run(60_000);
    assert_eq!(world.state(2, id), SyncgroupState::Left);
    assert_eq!(world.member(0, id, 1).rights, Some(Rights::Write), "the other stays");
    let invitation = world.invite_device(1, id, &key(1));
    world.join_as(2, invitation, &key(1)).unwrap();
    world.run(60_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    world.assert_same(id);
}

#[test]
fn users_are_the_same_after_a_restart() {
    let (mut world, id) = family(3);
    world.strike_off(2, id, 1, &key(1));
    world.run(60_000);
    let of = |world: &World| (world.nodes[0].core.members(&id), world.nodes[0].core.users(&id));
    let before = of(&world);
    let store = world.nodes[0].store.clone();
    world.reboot(0, store, Continuity::Shown);
    assert_eq!(of(&world), before);
}

#[test]
fn who_destroys_a_syncgroup_leaves_users_nothing() {
    let (mut world, id) = family(3);
    assert_eq!(world.command(0, Command::Destroy { syncgroup: id }), Ok(Outcome::Destroyed(id)));
    world.run(60_000);
    for at in [1, 2] {
        assert_eq!(world.state(at, id), SyncgroupState::Removed, "{at}");
    }
}
