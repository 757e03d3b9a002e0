//! Publication at a named device (S-33): it is asked until it answers, and then is a member like any other.

use super::*;

impl World {
    pub(super) fn publish(&mut self, at: usize, id: SyncgroupId, whom: usize) -> Result<Outcome, Refusal> {
        self.publish_for(at, id, whom, Rights::Write)
    }

    fn publish_for(
        &mut self,
        at: usize,
        id: SyncgroupId,
        whom: usize,
        rights: Rights,
    ) -> Result<Outcome, Refusal> {
        let device = self.device(whom);
        let addresses = vec![Address::new(&format!("quic:here:{whom}")).unwrap()];
        self.command(at, Command::Publish { syncgroup: id, device, rights, addresses })
    }

    pub(super) fn unpublish(&mut self, at: usize, id: SyncgroupId, whom: usize) -> Result<Outcome, Refusal> {
        let device = self.device(whom);
        self.command(at, Command::Unpublish { syncgroup: id, device })
    }

    /// What a device sees of what is published at another one.
    pub(super) fn status_of(&self, at: usize, id: SyncgroupId, whom: usize) -> Option<PublicationStatus> {
        let device = self.device(whom);
        let all = self.info(at, id).publications;
        all.into_iter().find(|it| it.device == device).map(|it| it.status)
    }

    pub(super) fn offers(&self, at: usize) -> Vec<Invitation> {
        self.nodes[at].core.invitations()
    }

    /// How often a device's application was told of an offer.
    pub(super) fn told(&self, at: usize) -> usize {
        let is_offer = |notice: &&Notice| matches!(notice, Notice::Invited { .. });
        self.nodes[at].notices.iter().filter(is_offer).count()
    }

    pub(super) fn accept(&mut self, at: usize) {
        let invitation = self.offers(at).remove(0);
        self.ask_to_join(at, invitation).unwrap();
        self.run(10_000);
    }

    pub(super) fn decline(&mut self, at: usize) {
        let invitation = self.offers(at).remove(0);
        let id = invitation.syncgroup();
        assert_eq!(self.command(at, Command::Decline { invitation }), Ok(Outcome::Declined(id)));
        self.run(10_000);
    }

    fn leave_for_good(&mut self, at: usize, id: SyncgroupId) {
        self.command(at, Command::Leave { syncgroup: id }).unwrap();
        self.run(60_000);
    }

    fn make_member_admin(&mut self, at: usize, id: SyncgroupId) {
        let device = self.device(at);
        self.command(0, Command::SetRights { syncgroup: id, device, rights: Rights::Admin, ends: None })
            .unwrap();
        self.run(60_000);
    }
}

/// One syncgroup of the first so many replicas, and one more replica, which is a stranger.
pub(super) fn with_a_stranger(members: usize) -> (World, SyncgroupId) {
    let (mut world, id) = World::together(members + 1);
    world.eject(0, id, members);
    world.run(60_000);
    // The stranger is one that has never heard of it: another store, and another key.
    let secret = SecretKey([200; 32]);
    world.nodes[members].secret = secret;
    world.reboot(members, MemStore::new(), Continuity::Unknown);
    world.nodes[members].notices.clear();
    (world, id)
}

#[test]
fn a_device_that_accepts_is_a_member_and_what_it_writes_reaches_the_others() {
    let (mut world, id) = with_a_stranger(2);
    world.put(1, id, "before", "by a member");
    assert!(matches!(world.publish(0, id, 2), Ok(Outcome::Published(..))));
    world.run(10_000);
    for at in 0..2 {
        assert_eq!(world.status_of(at, id, 2), Some(PublicationStatus::Pending), "at {at}");
        assert!(world.nodes[at].notices.contains(&Notice::Publications { syncgroup: id }), "{at} is told");
    }
    let at = Address::new("quic:here:2").unwrap();
    assert!(world.nodes[0].called.contains(&(world.device(2), vec![at])), "it is tried where it should be");
    world.link(0, 2);
    world.run(10_000);
    assert_eq!((world.told(2), world.offers(2).len()), (1, 1));
    assert!(world.nodes[2].core.syncgroups().is_empty(), "nothing is made before it accepts");
    let offer = world.offers(2).remove(0);
    assert_eq!((offer.issuer().device(), offer.device()), (world.device(0), Some(world.device(2))));
    assert_eq!((offer.syncgroup(), offer.name().as_str(), offer.rights()), (id, "notes", Rights::Write));
    world.accept(2);
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    assert!(world.offers(2).is_empty());
    for at in 0..3 {
        assert_eq!(world.status_of(at, id, 2), Some(PublicationStatus::Running), "at {at}");
    }
    assert_eq!(world.text(2, id, "before").as_deref(), Some("by a member"));
    world.put(2, id, "own", "by the publishee");
    world.run(60_000);
    assert_eq!(world.text(1, id, "own").as_deref(), Some("by the publishee"));
    world.assert_same(id);
    let before = world.sent;
    world.run(3_600_000);
    assert_eq!(world.sent, before, "nothing is said once all agree");
    assert!(matches!(world.publish(0, id, 2), Err(Refusal::IsMember(_))));
    assert!(matches!(world.unpublish(0, id, 2), Err(Refusal::IsMember(_))));
}

#[test]
fn what_waits_survives_restarts_and_is_offered_by_any_admin_that_meets_the_device() {
    let (mut world, id) = with_a_stranger(2);
    world.publish(0, id, 2).unwrap();
    world.run(10_000);
    world.link(1, 2);
    world.run(10_000);
    assert!(world.offers(2).is_empty(), "only admins offer it");
    world.make_member_admin(1, id);
    assert_eq!(world.offers(2).len(), 1, "whoever becomes one does");
    let store = world.nodes[0].store.clone();
    world.reboot(0, store, Continuity::Shown);
    assert_eq!(world.status_of(0, id, 2), Some(PublicationStatus::Pending));
    let store = world.nodes[2].store.clone();
    world.reboot(2, store, Continuity::Shown);
    assert!(world.offers(2).is_empty(), "nothing is stored where it is offered");
    world.link(0, 2);
    world.run(10_000);
    assert_eq!(world.offers(2).remove(0).issuer().device(), world.device(0));
    world.accept(2);
    world.link(0, 1);
    world.run(60_000);
    assert_eq!(world.status_of(1, id, 2), Some(PublicationStatus::Running));
    world.assert_same(id);
}

#[test]
fn who_declines_is_asked_no_more_until_it_is_published_anew_and_may_change_its_mind() {
    let (mut world, id) = with_a_stranger(2);
    world.link(0, 2);
    world.publish(0, id, 2).unwrap();
    world.run(10_000);
    let offer = world.offers(2).remove(0);
    world.decline(2);
    for at in 0..2 {
        assert_eq!(world.status_of(at, id, 2), Some(PublicationStatus::Rejected), "at {at}");
    }
    let before = world.sent;
    world.run(3_600_000);
    assert_eq!((world.sent, world.told(2)), (before, 1), "it is asked no more");
    world.publish(0, id, 2).unwrap();
    world.run(10_000);
    assert_eq!((world.status_of(1, id, 2), world.told(2)), (Some(PublicationStatus::Pending), 2));
    world.decline(2);
    assert_eq!(world.status_of(1, id, 2), Some(PublicationStatus::Rejected));
    // The first attempt does not count any more; the last one does, declined or not.
    world.ask_to_join(2, offer).unwrap();
    world.run(10_000);
    assert_eq!(world.state(2, id), SyncgroupState::Refused(JoinRefusal::NotValid));
    assert!(world.nodes[2].core.invitations().is_empty());
}

#[test]
fn a_decline_that_did_not_arrive_is_said_again_when_it_is_offered_again() {
    let (mut world, id) = with_a_stranger(2);
    let link = world.link(0, 2);
    world.publish(0, id, 2).unwrap();
    world.run(10_000);
    world.unlink(link);
    world.decline(2);
    assert_eq!(world.status_of(0, id, 2), Some(PublicationStatus::Pending));
    world.link(0, 2);
    world.run(10_000);
    assert_eq!((world.status_of(0, id, 2), world.told(2)), (Some(PublicationStatus::Rejected), 1));
}

#[test]
fn what_is_withdrawn_is_offered_no_more_and_cannot_be_accepted() {
    let (mut world, id) = with_a_stranger(2);
    world.link(0, 2);
    world.publish(0, id, 2).unwrap();
    world.run(10_000);
    let offer = world.offers(2).remove(0);
    world.unpublish(0, id, 2).unwrap();
    world.run(10_000);
    assert_eq!((world.status_of(1, id, 2), world.offers(2).len()), (None, 0));
    assert!(matches!(world.unpublish(0, id, 2), Err(Refusal::NotPublished(_))));
    world.ask_to_join(2, offer).unwrap();
    world.run(10_000);
    assert_eq!(world.state(2, id), SyncgroupState::Refused(JoinRefusal::NotValid));
}

#[test]
fn an_offer_is_for_the_named_device_alone() {
    let (mut world, id) = with_a_stranger(3);
    world.leave_for_good(2, id);
    world.link(0, 3);
    world.publish(0, id, 3).unwrap();
    world.run(10_000);
    let offer = world.offers(3).remove(0);
    let refused = |world: &mut World, offer: &Invitation| world.ask_to_join(2, offer.clone());
    assert!(matches!(refused(&mut world, &offer), Err(Refusal::Invitation(_))));
    let declined = world.command(2, Command::Decline { invitation: offer });
    assert!(matches!(declined, Err(Refusal::Invitation(_))));
}

#[test]
fn an_offer_makes_a_member_of_a_device_and_gives_no_more_to_one_that_is_one() {
    for is_invited in [false, true] {
        let (mut world, id) = with_a_stranger(2);
        world.make_member_admin(1, id);
        world.link(0, 2);
        world.link(1, 2);
        world.publish_for(0, id, 2, Rights::Admin).unwrap();
        world.run(10_000);
        let (device, of_other) = (world.device(2), world.device(1));
        let (unused, used): (Vec<_>, Vec<_>) =
            world.offers(2).into_iter().partition(|offer| offer.issuer().device() == of_other);
        if is_invited {
            let invitation = world.invite(0, id, Rights::Read);
            world.ask_to_join(2, invitation).unwrap();
            world.run(10_000);
        } else {
            world.ask_to_join(2, used[0].clone()).unwrap();
            world.run(10_000);
            assert_eq!(world.info(2, id).rights, Some(Rights::Admin));
            world
                .command(0, Command::SetRights { syncgroup: id, device, rights: Rights::Read, ends: None })
                .unwrap();
        }
        world.run(60_000);
        assert_eq!(world.info(2, id).rights, Some(Rights::Read));
        // It forgets that it was let in, and asks the other admin anew, by an offer that has not been used.
        world.reboot(2, MemStore::new(), Continuity::Unknown);
        world.create(2, "another request has another nonce");
        world.link(1, 2);
        world.run(10_000);
        world.ask_to_join(2, unused[0].clone()).unwrap();
        world.link(0, 2);
        world.run(60_000);
        for at in 0..3 {
            let members = world.nodes[at].core.members(&id).unwrap();
            let member = members.iter().find(|member| member.device == device);
            assert_eq!(member.and_then(|it| it.rights), Some(Rights::Read), "at {at}, {is_invited}");
        }
        assert_eq!(world.state(2, id), SyncgroupState::Active, "a member is let in, as one");
    }
}

#[test]
fn an_offer_that_was_not_used_extends_no_time_that_is_over() {
    let (mut world, id) = with_a_stranger(2);
    world.link(0, 2);
    world.publish_for(0, id, 2, Rights::Write).unwrap();
    world.run(10_000);
    let offer = world.offers(2).remove(0);
    let (rights, ends) = (Rights::Write, Some(world.now.wall + Millis(100_000)));
    let (valid_for, addresses) = (Millis(3_600_000), vec![]);
    let invite = Command::Invite { syncgroup: id, rights, ends, valid_for, reusable: false, addresses };
    let Ok(Outcome::Invited(invitation)) = world.command(0, invite) else { panic!("no invitation") };
    world.ask_to_join(2, invitation).unwrap();
    world.run(10_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    world.run(200_000);
    assert_eq!(world.state(2, id), SyncgroupState::Expired);
    world.ask_to_join(2, offer).unwrap();
    world.run(60_000);
    assert_eq!(world.member(0, id, 2).rights, None);
    assert_ne!(world.state(2, id), SyncgroupState::Active);
}

#[test]
fn who_was_removed_or_has_left_is_not_asked_again_because_of_what_was_asked_before() {
    for leaves in [false, true] {
        let (mut world, id) = with_a_stranger(2);
        world.link(0, 2);
        world.publish(0, id, 2).unwrap();
        world.run(10_000);
        world.accept(2);
        world.run(60_000);
        if leaves {
            world.leave_for_good(2, id);
        } else {
            world.eject(0, id, 2);
        }
        world.run(600_000);
        assert_eq!((world.status_of(0, id, 2), world.offers(2).len()), (None, 0), "leaves: {leaves}");
        // What is asked after that is asked.
        world.publish(0, id, 2).unwrap();
        world.run(60_000);
        assert_eq!(world.offers(2).len(), 1, "leaves: {leaves}");
        world.accept(2);
        world.run(60_000);
        assert_eq!(world.state(2, id), SyncgroupState::Active);
        assert_eq!(world.status_of(1, id, 2), Some(PublicationStatus::Running));
        world.assert_same(id);
    }
}

#[test]
fn what_an_admin_said_beside_its_removal_does_not_count() {
    let (mut world, id) = with_a_stranger(3);
    world.make_member_admin(1, id);
    world.publish(0, id, 3).unwrap();
    world.run(60_000);
    world.apart();
    world.eject(0, id, 1);
    // Apart from that the other admin hears that it is declined, and asks another device.
    world.link(1, 3);
    world.run(10_000);
    world.decline(3);
    world
        .command(
            1,
            Command::Publish {
                syncgroup: id,
                device: DeviceId([9; 16]),
                rights: Rights::Read,
                addresses: vec![],
            },
        )
        .unwrap();
    assert_eq!(world.status_of(1, id, 3), Some(PublicationStatus::Rejected));
    world.link(1, 2);
    world.run(10_000);
    assert_eq!(world.info(2, id).publications.len(), 2);
    world.link(0, 2);
    world.run(60_000);
    for at in [0, 2] {
        assert_eq!(world.status_of(at, id, 3), Some(PublicationStatus::Pending), "at {at}");
        assert_eq!(world.info(at, id).publications.len(), 1, "at {at}");
    }
}

#[test]
fn a_member_that_is_no_admin_cannot_publish_and_there_is_a_bound() {
    let (mut world, id) = World::together(2);
    let publish = |nth: u8, addresses: usize| Command::Publish {
        syncgroup: id,
        device: DeviceId([nth; 16]),
        rights: Rights::Read,
        addresses: vec![Address::new("quic:here").unwrap(); addresses],
    };
    assert!(matches!(world.command(1, publish(99, 1)), Err(Refusal::Forbidden(_))));
    let many = world.command(0, publish(99, limits::MAX_ADDRESSES + 1));
    assert!(matches!(many, Err(Refusal::Limit { .. })));
    for nth in 0..limits::MAX_PUBLICATIONS {
        world.command(0, publish(100 + nth as u8, 1)).unwrap();
    }
    assert!(matches!(world.command(0, publish(99, 1)), Err(Refusal::Limit { .. })));
    let before = world.nodes[0].core.held(&id);
    world.command(0, publish(100, 1)).unwrap();
    assert_eq!(world.nodes[0].core.held(&id), before, "what is so already is not written again");
}

#[test]
fn where_it_is_published_with_success_leaves_room_to_publish_it_elsewhere() {
    let most = limits::MAX_PUBLICATIONS;
    let mut world = World::new(most + 2);
    let id = world.create(0, "notes");
    for whom in 1..=most {
        let link = world.link(0, whom);
        world.publish(0, id, whom).unwrap();
        world.run(1_000);
        let offer = world.offers(whom).remove(0);
        world.ask_to_join(whom, offer).unwrap();
        world.run(1_000);
        assert_eq!(world.status_of(0, id, whom), Some(PublicationStatus::Running));
        world.unlink(link);
    }
    world.publish(0, id, most + 1).unwrap();
    assert_eq!(world.status_of(0, id, most + 1), Some(PublicationStatus::Pending));
    assert_eq!(world.info(0, id).publications.len(), most + 1, "all of them are told of");
}

#[test]
fn a_device_is_asked_for_no_more_at_a_time_than_it_can_be_told_of() {
    let mut world = World::new(2);
    let all: Vec<_> = (0..=limits::MAX_OFFERS).map(|_| world.create(0, "notes")).collect();
    let (last, first) = all.split_last().unwrap();
    first.iter().for_each(|id| drop(world.publish(0, *id, 1).unwrap()));
    assert!(matches!(world.publish(0, *last, 1), Err(Refusal::Limit { .. })));
    world.publish_for(0, first[0], 1, Rights::Read).unwrap();
    world.link(0, 1);
    world.run(10_000);
    assert_eq!(world.offers(1).len(), limits::MAX_OFFERS);
    // Once it has answered one it can be asked for another.
    world.decline(1);
    world.publish(0, *last, 1).unwrap();
    world.run(10_000);
    assert!(world.offers(1).iter().any(|offer| offer.syncgroup() == *last));
}

#[test]
fn what_is_withdrawn_or_declined_stays_so_where_the_last_attempt_turns_out_void() {
    for declines in [false, true] {
        let (mut world, id) = with_a_stranger(3);
        world.make_member_admin(1, id);
        world.make_member_admin(2, id);
        world.apart();
        world.link(1, 2);
        world.publish(1, id, 3).unwrap();
        world.run(10_000);
        world.publish_for(2, id, 3, Rights::Read).unwrap();
        world.run(10_000);
        if declines {
            world.link(1, 3);
            world.run(10_000);
            world.decline(3);
        } else {
            world.unpublish(1, id, 3).unwrap();
        }
        // Apart from that the creator has removed whoever made the last attempt.
        world.eject(0, id, 2);
        world.link(0, 1);
        world.run(60_000);
        let expected = declines.then_some(PublicationStatus::Rejected);
        for at in 0..2 {
            assert_eq!(world.status_of(at, id, 3), expected, "at {at}, declines: {declines}");
        }
    }
}

#[test]
fn of_a_database_that_is_paused_nothing_is_offered_and_nothing_told() {
    let (mut world, id) = with_a_stranger(2);
    world.link(0, 2);
    world.command(0, Command::Pause { database: name("db"), paused: true }).unwrap();
    world.publish(0, id, 2).unwrap();
    world.run(60_000);
    assert!(world.offers(2).is_empty());
    world.command(0, Command::Pause { database: name("db"), paused: false }).unwrap();
    world.run(10_000);
    assert_eq!(world.offers(2).len(), 1);
}

#[cfg(feature = "hostile")]
mod made_up {
    use driftless::hostile::{self, Flood, Lie, Stage};

    use super::*;

    impl World {
        /// Device 1, which means harm, says something to device 2, or to the admin.
        fn says(&mut self, to: usize, id: SyncgroupId, seed: u8, say: impl FnOnce(&Stage<'_>) -> Vec<Bytes>) {
            let ends = self.links.iter().find(|(_, (near, _, peer))| (*near, *peer) == (1, to));
            let (link, far) = ends.map(|(link, (_, far, _))| (*link, *far)).unwrap();
            let node = &self.nodes[1];
            let stage = Stage {
                core: &node.core,
                view: &node.store,
                link,
                peer: self.nodes[to].core.public_key().device(),
                syncgroup: id,
                collection: self.collection(0, id).id,
                wall: self.now.wall,
                stolen: None,
                seed: [seed; 32],
            };
            let frames = say(&stage);
            self.frames.extend(frames.into_iter().map(|frame| (to, far, frame)));
            self.deliver();
        }
    }

    #[test]
    fn what_its_issuer_did_not_sign_or_is_for_somebody_else_is_not_offered() {
        let (mut world, id) = with_a_stranger(2);
        world.link(1, 2);
        world.run(10_000);
        world.says(2, id, 1, |stage| hostile::lie(stage, Lie::Publishes).unwrap());
        assert_eq!((world.told(2), world.offers(2).len()), (0, 0));
        assert!(world.nodes[2].core.syncgroups().is_empty());
    }

    #[test]
    fn whoever_makes_up_ever_new_offers_is_soon_silent_and_stores_nothing() {
        let (mut world, id) = with_a_stranger(2);
        world.link(1, 2);
        world.run(10_000);
        let before = world.nodes[2].store.clone();
        for seed in 0..3 {
            world.says(2, id, seed, |stage| hostile::flood(stage, Flood::Publishes).unwrap().frames);
            assert_eq!(world.offers(2).len(), limits::MAX_OFFERS);
        }
        assert_eq!(world.told(2), 64);
        assert_eq!(world.nodes[2].store, before);
        // What is offered honestly beside is told.
        world.link(0, 2);
        world.publish(0, id, 2).unwrap();
        world.run(10_000);
        assert!(world.offers(2).iter().any(|offer| offer.syncgroup() == id));
        assert_eq!(world.told(2), 65);
    }

    #[test]
    fn nobody_declines_for_another() {
        let (mut world, id) = with_a_stranger(2);
        world.publish(0, id, 2).unwrap();
        world.run(60_000);
        world.says(0, id, 1, |stage| hostile::lie(stage, Lie::Declines).unwrap());
        world.run(10_000);
        assert_eq!(world.status_of(0, id, 2), Some(PublicationStatus::Pending));
    }
}
