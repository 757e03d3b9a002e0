//! Syncgroups that are open to everybody: members let in others, as far as and as long as an admin says (S-3).

use super::users::{family, key};
use super::*;

impl World {
    fn open(&mut self, at: usize, id: SyncgroupId, rights: Rights, ends: Option<Wall>) {
        let outcome = self.command(at, Command::Open { syncgroup: id, rights, ends });
        assert_eq!(outcome, Ok(Outcome::EverybodysRightsSet(id, Some(rights))));
    }

    fn close(&mut self, at: usize, id: SyncgroupId) {
        let outcome = self.command(at, Command::Close { syncgroup: id });
        assert_eq!(outcome, Ok(Outcome::EverybodysRightsSet(id, None)));
    }

    fn opened(&self, at: usize, id: SyncgroupId) -> Option<(Rights, Option<Wall>)> {
        self.info(at, id).open.map(|open| (open.rights, open.ends))
    }

    fn may_invite(
        &mut self,
        at: usize,
        id: SyncgroupId,
        rights: Rights,
        ends: Option<Wall>,
    ) -> Result<(), Refusal> {
        let (valid_for, reusable, addresses) = (Millis(3_600_000), false, vec![]);
        let command = Command::Invite { syncgroup: id, rights, ends, valid_for, reusable, addresses };
        self.command(at, command).map(drop)
    }

    /// 0 has opened a syncgroup, and removed 2; 1 is a member.
    fn open_without_one() -> (Self, SyncgroupId) {
        let (mut world, id) = Self::of_readers(2);
        world.open(0, id, Rights::Write, None);
        world.run(60_000);
        world.eject(0, id, 2);
        world.run(60_000);
        assert_eq!(world.state(2, id), SyncgroupState::Removed);
        (world, id)
    }

    /// 0 has created a syncgroup, and so many others are let in to read; one more has no part in it.
    fn of_readers(readers: usize) -> (Self, SyncgroupId) {
        let mut world = Self::new(readers + 2);
        let id = world.create(0, "notes");
        for at in 1..=readers {
            world.link(0, at);
            let invitation = world.invite(0, id, Rights::Read);
            world.ask_to_join(at, invitation).unwrap();
            world.run(5_000);
        }
        world.all_linked();
        (world, id)
    }

    fn forbidden(&mut self, at: usize, id: SyncgroupId) -> bool {
        matches!(self.may_invite(at, id, Rights::Read, None), Err(Refusal::Forbidden(_)))
    }
}

#[test]
fn a_member_that_may_only_read_lets_in_a_writer_and_that_one_the_next() {
    let (mut world, id) = World::of_readers(1);
    world.arrive();
    assert!(world.forbidden(1, id), "nobody but an admin, before it is open");
    world.open(0, id, Rights::Write, None);
    world.all_linked();
    assert_eq!(world.opened(1, id), Some((Rights::Write, None)));
    assert!(world.nodes[1].notices.contains(&Notice::Openness { syncgroup: id }));
    assert_eq!(world.may_invite(1, id, Rights::Admin, None), Err(Refusal::NotOpen));
    let invitation = world.invite(1, id, Rights::Write);
    // The admin is not needed for it, not even to be reached.
    world.apart();
    world.link(1, 2);
    world.ask_to_join(2, invitation).unwrap();
    world.run(10_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    world.put(2, id, "row", "by a newcomer");
    let invitation = world.invite(2, id, Rights::Read);
    world.link(2, 3);
    world.ask_to_join(3, invitation).unwrap();
    world.run(10_000);
    world.all_linked();
    world.assert_same(id);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("by a newcomer"));
    assert_eq!((world.rights(0, id, 2), world.rights(0, id, 3)), (Some(Rights::Write), Some(Rights::Read)));
    assert_eq!(world.judged(0), []);
}

#[test]
fn closing_it_undoes_whom_members_let_in_beside_that_wherever_it_is() {
    let (mut world, id) = World::of_readers(2);
    world.arrive();
    world.open(0, id, Rights::Write, None);
    world.run(60_000);
    // Whom 1 lets in before that, and the admin hears of it, stays.
    let invitation = world.invite(1, id, Rights::Write);
    world.ask_to_join(3, invitation).unwrap();
    world.run(60_000);
    assert_eq!(world.state(3, id), SyncgroupState::Active);
    world.apart();
    world.close(0, id);
    let invitation = world.invite(2, id, Rights::Write);
    world.link(2, 4);
    world.ask_to_join(4, invitation).unwrap();
    world.run(10_000);
    assert_eq!(world.state(4, id), SyncgroupState::Active);
    world.put(4, id, "row", "beside the closing");
    world.run(10_000);
    assert_eq!(world.text(2, id, "row").as_deref(), Some("beside the closing"));
    world.all_linked();
    assert_eq!(world.state(4, id), SyncgroupState::Removed, "it is told");
    assert_eq!((world.rights(2, id, 4), world.text(2, id, "row")), (None, None));
    let mut judged = world.judged(2);
    judged.sort();
    let mut expected = [(world.device(2), 1, 0), (world.device(4), 1, 0)];
    expected.sort();
    assert_eq!(judged, expected);
    world.put(3, id, "row", "by one who stays");
    world.run(60_000);
    world.assert_same_at(id, &[0, 1, 2, 3]);
    assert!(world.forbidden(2, id));
}

#[test]
fn an_invitation_outlives_neither_the_closing_nor_its_issuer() {
    let (mut world, id) = World::of_readers(2);
    world.arrive();
    world.open(0, id, Rights::Read, None);
    world.run(60_000);
    let (by_one, by_two) = (world.invite(1, id, Rights::Read), world.invite(2, id, Rights::Read));
    world.eject(0, id, 1);
    world.run(60_000);
    world.ask_to_join(3, by_one).unwrap();
    world.run(10_000);
    assert_eq!(world.state(3, id), SyncgroupState::Refused(JoinRefusal::NotValid));
    world.close(0, id);
    world.run(60_000);
    world.link(2, 4);
    world.ask_to_join(4, by_two.clone()).unwrap();
    world.run(10_000);
    assert_eq!(world.state(4, id), SyncgroupState::Refused(JoinRefusal::NotValid));
    // It is good again when the syncgroup is open again.
    world.open(0, id, Rights::Write, None);
    world.run(60_000);
    world.ask_to_join(4, by_two).unwrap();
    world.run(60_000);
    assert_eq!(world.state(4, id), SyncgroupState::Active);
}

#[test]
fn whom_an_admin_has_removed_no_member_lets_in_again() {
    let (mut world, id) = World::open_without_one();
    let invitation = world.invite(1, id, Rights::Read);
    world.ask_to_join(2, invitation).unwrap();
    world.run(60_000);
    assert!(matches!(world.state(2, id), SyncgroupState::Refused(_)), "{:?}", world.state(2, id));
    let invitation = world.invite(0, id, Rights::Read);
    world.ask_to_join(2, invitation).unwrap();
    world.run(60_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active, "but an admin does");
}

#[test]
fn an_admin_s_removal_is_not_undone_by_a_member_that_has_not_heard_of_it() {
    let (mut world, id) = World::of_readers(2);
    world.open(0, id, Rights::Write, None);
    world.run(60_000);
    world.apart();
    world.eject(0, id, 2);
    // 2 leaves, and 1 lets it in again.
    world.command(2, Command::Leave { syncgroup: id }).unwrap();
    world.link(1, 2);
    world.run(10_000);
    let invitation = world.invite(1, id, Rights::Write);
    world.ask_to_join(2, invitation).unwrap();
    world.run(10_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    world.put(2, id, "row", "by one who was removed");
    world.all_linked();
    assert_eq!((world.rights(0, id, 2), world.rights(1, id, 2)), (None, None));
    assert_eq!((world.text(0, id, "row"), world.text(1, id, "row")), (None, None));
    assert_ne!(world.state(2, id), SyncgroupState::Active);
    world.assert_same_at(id, &[0, 1]);
}

#[test]
fn whom_an_admin_has_removed_no_member_lets_in_again_as_a_user_that_it_has_made_up() {
    let (mut world, id) = World::open_without_one();
    let invitation = world.invite(1, id, Rights::Read);
    world.join_as(2, invitation, &key(7)).unwrap();
    world.run(60_000);
    assert!(matches!(world.state(2, id), SyncgroupState::Refused(_)), "{:?}", world.state(2, id));
    assert_eq!(world.nodes[0].core.users(&id).unwrap(), []);
    let invitation = world.invite(1, id, Rights::Read);
    world.join_as(3, invitation, &key(7)).unwrap();
    world.run(60_000);
    assert_eq!(world.state(3, id), SyncgroupState::Active, "another device comes in so");
    let invitation = world.invite(0, id, Rights::Read);
    world.join_as(2, invitation, &key(8)).unwrap();
    world.run(60_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active, "and an admin may let it in");
}

#[test]
fn a_user_comes_in_by_a_member_and_ends_with_what_everybody_was_granted() {
    let (mut world, id) = World::of_readers(1);
    world.arrive();
    let ends = Wall(world.now.wall.0 + 600_000);
    world.open(0, id, Rights::Write, Some(ends));
    world.run(60_000);
    assert_eq!(world.may_invite(1, id, Rights::Write, None), Err(Refusal::NotOpen), "not for longer");
    let (valid_for, addresses) = (Millis(3_600_000), vec![]);
    let (rights, reusable) = (Rights::Write, false);
    let command = Command::Invite { syncgroup: id, rights, ends: Some(ends), valid_for, reusable, addresses };
    let Ok(Outcome::Invited(invitation)) = world.command(1, command) else { panic!("no invitation") };
    world.join_as(2, invitation.clone(), &key(1)).unwrap();
    world.run(60_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    let users = world.nodes[0].core.users(&id).unwrap();
    assert_eq!(
        (users[0].user, users[0].rights, users[0].ends),
        (key(1).id(), Some(Rights::Write), Some(ends))
    );
    world.put(2, id, "row", "in time");
    world.run(600_000);
    assert_eq!(world.state(2, id), SyncgroupState::Expired);
    assert_eq!((world.opened(0, id), world.text(0, id, "row").as_deref()), (None, Some("in time")));
    assert!(world.forbidden(1, id), "its time is over");
    assert!(matches!(world.ask_to_join(3, invitation), Err(Refusal::Invitation(_))));
}

#[test]
fn what_is_granted_to_everybody_is_replaced_and_closing_twice_says_nothing() {
    let (mut world, id) = World::of_readers(1);
    world.open(0, id, Rights::Write, None);
    world.open(0, id, Rights::Read, None);
    world.run(60_000);
    assert_eq!(world.opened(1, id), Some((Rights::Read, None)));
    assert_eq!(world.may_invite(1, id, Rights::Write, None), Err(Refusal::NotOpen));
    assert_eq!(
        world.command(0, Command::Open { syncgroup: id, rights: Rights::Admin, ends: None }),
        Err(Refusal::NotForEverybody)
    );
    assert!(matches!(
        world.command(1, Command::Open { syncgroup: id, rights: Rights::Read, ends: None }),
        Err(Refusal::Forbidden(_))
    ));
    world.close(0, id);
    let held = world.nodes[0].core.knowledge(&id);
    world.close(0, id);
    assert_eq!(world.nodes[0].core.knowledge(&id), held);
    world.reboot(0, world.nodes[0].store.clone(), Continuity::Shown);
    assert_eq!(world.opened(0, id), None);
}

#[test]
fn admissions_by_members_count_the_same_in_whatever_order_all_becomes_known() {
    // At first by those of whom each knows a part, or by 2, which knows all of it.
    for order in [[0, 1, 4], [0, 4, 1], [1, 0, 4], [1, 4, 0], [4, 0, 1], [4, 1, 0], [2, 0, 1], [4, 2, 0]] {
        let (mut world, id) = World::of_readers(3);
        world.arrive();
        world.set_rights(0, id, 2, Rights::Write);
        world.open(0, id, Rights::Write, None);
        world.run(60_000);
        world.apart();
        // The admin closes it, 1 lets in 4 beside that, and 2 hears of both: it writes on top of what 4 wrote.
        world.close(0, id);
        let invitation = world.invite(1, id, Rights::Write);
        world.link(1, 4);
        world.ask_to_join(4, invitation).unwrap();
        world.run(10_000);
        world.put(4, id, "row", "beside");
        world.run(10_000);
        world.link(1, 2);
        world.run(10_000);
        assert_eq!(world.text(2, id, "row").as_deref(), Some("beside"));
        world.put(2, id, "row", "on top of that");
        world.link(0, 2);
        world.run(10_000);
        assert_eq!(
            (world.rights(2, id, 4), world.text(2, id, "row").as_deref()),
            (None, Some("on top of that"))
        );
        world.apart();
        // 3 hears of all of it in this order.
        for other in order {
            let link = world.link(other, 3);
            world.run(20_000);
            world.unlink(link);
        }
        assert_eq!(world.rights(3, id, 4), None, "{order:?}");
        world.all_linked();
        assert_eq!(world.text(3, id, "row").as_deref(), Some("on top of that"), "{order:?}");
        world.assert_same_at(id, &[0, 1, 2, 3]);
        assert_eq!(world.state(4, id), SyncgroupState::Removed, "{order:?}");
    }
}

#[test]
fn what_was_opened_closed_and_let_in_by_clocks_that_were_ahead_is_written_again() {
    const YEAR: Millis = Millis(365 * 24 * 3_600_000);
    let (mut world, id) = World::of_readers(1);
    world.apart();
    world.ahead(YEAR, |world| {
        world.open(0, id, Rights::Write, None);
        world.close(0, id);
        world.open(0, id, Rights::Read, None);
    });
    world.all_linked();
    assert_eq!(world.opened(1, id), None, "nobody takes that");
    assert_eq!(world.repair(0).batches, 3);
    assert_eq!(world.opened(1, id), Some((Rights::Read, None)));
    assert_eq!(
        world.may_invite(1, id, Rights::Write, None),
        Err(Refusal::NotOpen),
        "that grant is closed by its new name"
    );
    world.apart();
    world.link(1, 2);
    world.ahead(YEAR, |world| {
        let invitation = world.invite(1, id, Rights::Read);
        world.ask_to_join(2, invitation).unwrap();
        world.run(10_000);
    });
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    world.apart();
    world.repair(1);
    world.all_linked();
    assert_eq!(world.rights(0, id, 2), Some(Rights::Read));
    world.put(0, id, "row", "for all");
    world.run(60_000);
    assert_eq!(world.text(2, id, "row").as_deref(), Some("for all"));
}

#[test]
fn whom_an_admin_has_removed_with_its_user_no_member_lets_in_by_its_key() {
    let (mut world, id) = family(5);
    for at in [3, 4] {
        let invitation = world.invite(0, id, Rights::Read);
        world.ask_to_join(at, invitation).unwrap();
        world.run(10_000);
    }
    world.open(0, id, Rights::Write, None);
    world.run(60_000);
    world.apart();
    // 4 does not hear of the removal, and lets in a device of the user's by itself.
    let user = key(1).id();
    world.command(0, Command::EjectUser { syncgroup: id, user }).unwrap();
    world.command(2, Command::Leave { syncgroup: id }).unwrap();
    world.link(2, 4);
    world.run(10_000);
    let invitation = world.invite(4, id, Rights::Write);
    world.ask_to_join(2, invitation).unwrap();
    world.run(10_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    world.put(2, id, "row", "by one that was removed");
    world.relink();
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
    for at in [0, 3, 4] {
        assert_eq!((world.rights(at, id, 2), world.text(at, id, "row")), (None, None), "{at}");
    }
    assert_ne!(world.state(2, id), SyncgroupState::Active);
    // 3 has heard of it: it lets in neither.
    for at in [1, 2] {
        let invitation = world.invite(3, id, Rights::Read);
        world.ask_to_join(at, invitation).unwrap();
        world.run(60_000);
        assert!(matches!(world.state(at, id), SyncgroupState::Refused(_)), "{:?}", world.state(at, id));
        assert_eq!(world.rights(0, id, at), None);
    }
    let invitation = world.invite(0, id, Rights::Read);
    world.ask_to_join(2, invitation).unwrap();
    world.run(60_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active, "but an admin does");
    let invitation = world.invite(3, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    world.run(60_000);
    assert!(matches!(world.state(1, id), SyncgroupState::Refused(_)), "that was for the other one");
}
