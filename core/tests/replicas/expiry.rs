//! Rights end (S-34, S-36): by the stamp of what is written, and by the clock of whoever gives and takes.

use super::users::{family, key};
use super::*;

/// Longer than everything that happens meanwhile.
const SOON: Millis = Millis(200_000);

impl World {
    /// Says what somebody may do until some time from now, and until when that is.
    fn lend(&mut self, at: usize, id: SyncgroupId, whom: usize, rights: Rights, span: Millis) -> Wall {
        let (device, end) = (self.device(whom), self.now.wall + span);
        let command = Command::SetRights { syncgroup: id, device, rights, ends: Some(end) };
        assert_eq!(self.command(at, command), Ok(Outcome::RightsSet(id, device, rights)));
        end
    }

    fn extend(&mut self, at: usize, id: SyncgroupId, whom: usize, rights: Rights) {
        let device = self.device(whom);
        let command = Command::SetRights { syncgroup: id, device, rights, ends: None };
        assert_eq!(self.command(at, command), Ok(Outcome::RightsSet(id, device, rights)));
    }

    fn write(&mut self, at: usize, id: SyncgroupId, key: &str, value: &str) -> Result<Outcome, Refusal> {
        let batch = LocalWrite::new().put(self.row(id, key), value.as_bytes().to_vec());
        self.command(at, Command::Write(batch))
    }

    /// What a replica does while its clock shows something else than all others'.
    fn by_clock<T>(&mut self, wall: Wall, act: impl FnOnce(&mut Self) -> T) -> T {
        let right = self.now.wall;
        self.set_clocks(wall);
        let done = act(self);
        self.set_clocks(right);
        done
    }

    fn set_clocks(&mut self, wall: Wall) {
        self.now.wall = wall;
        // They are looked at with every event.
        (0..self.nodes.len()).for_each(|at| self.event(at, Event::Tick));
        self.deliver();
    }

    fn states_told(&self, at: usize, id: SyncgroupId) -> Vec<SyncgroupState> {
        let told = self.nodes[at].notices.iter().filter_map(|notice| match notice {
            Notice::Syncgroup { syncgroup, state } if *syncgroup == id => Some(*state),
            _ => None,
        });
        told.collect()
    }
}

#[test]
fn a_member_whose_time_is_over_hears_of_it_and_goes_on_reading() {
    let (mut world, id) = World::together(3);
    let end = world.lend(0, id, 1, Rights::Write, SOON);
    world.put(1, id, "in time", "by 1");
    world.run(SOON.0 - 1);
    assert_eq!((world.info(1, id).rights, world.info(1, id).ends), (Some(Rights::Write), Some(end)));
    assert!(world.write(1, id, "last", "at the last moment").is_ok() && world.now.wall < end);
    world.run(1);
    assert_eq!(world.state(1, id), SyncgroupState::Active, "the end belongs to what is before it");
    world.run(1);
    assert_eq!(world.state(1, id), SyncgroupState::Expired);
    assert_eq!(world.states_told(1, id).last(), Some(&SyncgroupState::Expired));
    assert_eq!((world.info(1, id).rights, world.info(1, id).ends), (None, Some(end)));
    assert_eq!(world.write(1, id, "after", "refused"), Err(Refusal::Expired(end)));
    assert_eq!(world.text(1, id, "in time").as_deref(), Some("by 1"));
    world.put(0, id, "secret", "for members");
    world.run(60_000);
    assert_eq!(world.text(1, id, "secret"), None, "nothing is given to it any more");
    for key in ["in time", "last"] {
        assert!(world.text(2, id, key).is_some(), "{key} stays");
    }
    assert_eq!(world.info(2, id).members, 2);
    let member = world.member(2, id, 1);
    assert_eq!((member.rights, member.ends, member.expired, member.removed), (None, Some(end), true, false));
    world.assert_same_at(id, &[0, 2]);
    let before = world.sent;
    world.run(86_400_000);
    assert_eq!(world.sent, before, "nothing to say for a day");
}

#[test]
fn what_was_written_in_time_and_nobody_has_arrives_when_the_time_is_extended() {
    let (mut world, id) = World::together(3);
    world.lend(0, id, 1, Rights::Write, SOON);
    world.run(60_000);
    world.apart();
    world.put(1, id, "in time", "and nobody has it");
    world.run(SOON.0);
    world.all_linked();
    assert_eq!(world.state(1, id), SyncgroupState::Expired);
    assert_eq!(world.text(0, id, "in time"), None);
    world.extend(0, id, 1, Rights::Write);
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    assert_eq!(world.states_told(1, id).last(), Some(&SyncgroupState::Active));
    assert_eq!(world.info(1, id).ends, None);
    assert_eq!(world.text(2, id, "in time").as_deref(), Some("and nobody has it"));
    world.put(1, id, "again", "by 1");
    world.run(60_000);
    world.assert_same(id);
}

#[test]
fn what_is_dated_back_after_the_end_nobody_takes_whose_clock_is_right() {
    let (mut world, id) = World::together(3);
    let end = world.lend(0, id, 1, Rights::Write, SOON);
    world.run(60_000);
    world.apart();
    world.run(SOON.0);
    // A thief sets the clock back: to the device its time is not over, and what it writes is stamped in time.
    let forged = world.by_clock(Wall(end.0 - 1_000), |world| world.write(1, id, "forged", "dated back"));
    assert!(forged.is_ok());
    world.link(0, 1);
    world.run(60_000);
    assert_eq!(world.text(0, id, "forged"), None);
    world.link(1, 2);
    world.run(60_000);
    world.put(0, id, "row", "after");
    world.link(0, 2);
    world.run(60_000);
    assert_eq!(world.text(2, id, "forged"), None);
    assert_eq!(world.text(1, id, "row"), None);
    world.assert_same_at(id, &[0, 2]);
}

#[test]
fn what_is_stamped_after_the_end_nobody_takes_whatever_its_clock() {
    let (mut world, id) = World::together(3);
    let end = world.lend(0, id, 1, Rights::Write, SOON);
    world.run(60_000);
    // A clock that is ahead by less than the limit: what it stamps is taken, and later than the clock of others.
    let ahead = Wall(end.0 + 1);
    world.set_clocks(Wall(end.0 - 2));
    world.by_clock(ahead, |world| world.put(2, id, "row", "stamped after the end"));
    world.run(1);
    assert_eq!(world.state(1, id), SyncgroupState::Active, "by its clock it is a member");
    assert_eq!(world.text(1, id, "row").as_deref(), Some("stamped after the end"));
    let held = world.nodes[1].core.held(&id);
    assert_eq!(world.write(1, id, "row", "later still"), Err(Refusal::Expired(end)));
    assert_eq!(world.nodes[1].core.held(&id), held);
}

#[test]
fn replicas_whose_clocks_differ_come_to_hold_the_same() {
    let (mut world, id) = World::together(4);
    let end = world.lend(0, id, 1, Rights::Write, SOON);
    world.run(60_000);
    world.apart();
    world.put(1, id, "in time", "by 1");
    // By 2's clock the time of 1 is not over yet; by 0's and 3's it is.
    world.by_clock(Wall(end.0 - 10_000), |world| {
        let link = world.link(1, 2);
        world.run(5_000);
        world.unlink(link);
    });
    assert_eq!(world.text(2, id, "in time").as_deref(), Some("by 1"));
    world.set_clocks(end + Millis(1_000));
    world.link(0, 1);
    world.link(1, 3);
    world.run(60_000);
    assert_eq!(world.text(0, id, "in time"), None, "not from 1");
    world.all_linked();
    world.assert_same_at(id, &[0, 2, 3]);
    assert_eq!(world.text(3, id, "in time").as_deref(), Some("by 1"), "but from a member");
    assert_eq!(world.judged(3), [], "and it counts as it is");
}

#[test]
fn a_clock_that_is_set_right_sets_right_who_is_a_member() {
    let (mut world, id) = World::together(3);
    let end = world.lend(0, id, 1, Rights::Write, SOON);
    world.run(60_000);
    let right = world.now.wall;
    world.set_clocks(end + Millis(1));
    assert_eq!(world.state(1, id), SyncgroupState::Expired);
    let store = world.nodes[1].store.clone();
    world.reboot(1, store, Continuity::Shown);
    world.run(1_000);
    assert_eq!(world.state(1, id), SyncgroupState::Expired, "also after a restart");
    // While it was not running, too.
    let store = world.nodes[1].store.clone();
    world.now.wall = right;
    world.reboot(1, store, Continuity::Shown);
    world.run(1_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    world.link(0, 1);
    world.link(1, 2);
    world.put(1, id, "row", "as if nothing had been");
    world.run(60_000);
    world.assert_same(id);
    assert_eq!(world.rights(0, id, 1), Some(Rights::Write));
}

#[test]
fn an_admin_whose_time_is_over_can_do_nothing_more_and_what_it_did_stays() {
    let (mut world, id) = World::together(4);
    let end = world.lend(0, id, 1, Rights::Admin, SOON);
    world.run(60_000);
    let device = world.device(2);
    let command = Command::SetRights { syncgroup: id, device, rights: Rights::Admin, ends: None };
    world.command(1, command).unwrap();
    let late = world.invite(1, id, Rights::Write);
    world.run(SOON.0);
    let device = world.device(3);
    assert_eq!(world.command(1, Command::Eject { syncgroup: id, device }), Err(Refusal::Expired(end)));
    let command = Command::CreateCollection { syncgroup: id, collection: name("more") };
    assert_eq!(world.command(1, command), Err(Refusal::Expired(end)));
    assert_eq!(world.rights(0, id, 2), Some(Rights::Admin));
    assert_eq!(late.ends(), None);
    world.eject(2, id, 3);
    world.run(60_000);
    assert_eq!(world.state(3, id), SyncgroupState::Removed);
    world.ask_to_join(3, late).unwrap();
    world.run(60_000);
    assert!(matches!(world.state(3, id), SyncgroupState::Refused(_)), "{:?}", world.state(3, id));
}

#[test]
fn who_is_an_admin_for_some_time_is_what_it_was_before_only_if_that_is_said() {
    let (mut world, id) = World::together(2);
    world.lend(0, id, 1, Rights::Admin, SOON);
    world.run(60_000);
    assert_eq!(world.rights(0, id, 1), Some(Rights::Admin));
    world.run(SOON.0);
    assert_eq!(world.rights(0, id, 1), None, "what it may do is what was said last");
    world.extend(0, id, 1, Rights::Read);
    world.run(60_000);
    assert_eq!((world.rights(0, id, 1), world.info(1, id).rights), (Some(Rights::Read), Some(Rights::Read)));
    assert_eq!(world.write(1, id, "row", "refused"), Err(Refusal::Forbidden("write")));
}

#[test]
fn a_time_can_be_made_longer_and_shorter() {
    let (mut world, id) = World::together(3);
    let seen = |world: &World| (world.member(2, id, 1).rights, world.member(2, id, 1).ends);
    let long = world.lend(0, id, 1, Rights::Write, Millis(9 * SOON.0));
    world.run(60_000);
    assert_eq!(seen(&world), (Some(Rights::Write), Some(long)));
    let short = world.lend(0, id, 1, Rights::Write, SOON);
    world.apart();
    // It has not heard of that, and goes on as before: what is stamped in time stays, and what is not is undone.
    world.put(1, id, "row", "in time");
    world.run(SOON.0 + 60_000);
    assert!(world.now.wall > short);
    world.put(1, id, "row", "too late");
    let link = world.link(1, 2);
    world.run(10_000);
    assert_eq!(world.text(2, id, "row").as_deref(), Some("too late"), "nor has 2");
    world.unlink(link);
    world.all_linked();
    assert_eq!(seen(&world), (None, Some(short)));
    assert_eq!(world.text(2, id, "row").as_deref(), Some("in time"));
    assert_eq!(world.judged(2), [(world.device(1), 1, 0)]);
    world.assert_same_at(id, &[0, 2]);
    assert_eq!(world.state(1, id), SyncgroupState::Expired, "it hears of it");
    let again = world.lend(0, id, 1, Rights::Read, SOON);
    world.run(60_000);
    assert_eq!(
        (seen(&world), world.state(1, id)),
        ((Some(Rights::Read), Some(again)), SyncgroupState::Active)
    );
    world.assert_same(id);
}

#[test]
fn an_end_in_the_past_is_refused_and_one_that_never_comes_is_none() {
    let (mut world, id) = World::together(2);
    let device = world.device(1);
    let set = |ends| Command::SetRights { syncgroup: id, device, rights: Rights::Write, ends: Some(ends) };
    let past = Wall(world.now.wall.0 - 1);
    assert_eq!(world.command(0, set(past)), Err(Refusal::InThePast(past)));
    let invite = Command::Invite {
        syncgroup: id,
        rights: Rights::Write,
        ends: Some(past),
        valid_for: Millis(1_000),
        reusable: false,
        addresses: vec![],
    };
    assert_eq!(world.command(0, invite), Err(Refusal::InThePast(past)));
    let held = world.nodes[0].core.held(&id);
    assert!(world.command(0, set(Wall(u64::MAX))).is_ok());
    assert_eq!(world.nodes[0].core.held(&id), held, "that is as it was");
    for far in [u64::MAX - 1, 1 << 48, (1 << 48) - 1] {
        assert!(world.command(0, set(Wall(far))).is_ok());
        world.run(86_400_000);
        assert_eq!((world.state(1, id), world.info(1, id).ends), (SyncgroupState::Active, Some(Wall(far))));
        world.put(1, id, "row", &format!("{far}"));
    }
    world.run(60_000);
    world.assert_same(id);
}

#[test]
fn an_invitation_lets_in_until_an_end_and_not_after_it() {
    let mut world = World::new(3);
    let id = world.create(0, "notes");
    world.all_linked();
    let end = world.now.wall + SOON;
    let invite = |world: &mut World| {
        let command = Command::Invite {
            syncgroup: id,
            rights: Rights::Write,
            ends: Some(end),
            valid_for: Millis(3_600_000),
            reusable: false,
            addresses: vec![],
        };
        match world.command(0, command) {
            Ok(Outcome::Invited(invitation)) => invitation,
            other => panic!("{other:?}"),
        }
    };
    let (one, other) = (invite(&mut world), invite(&mut world));
    assert_eq!(one.to_string().parse::<Invitation>().unwrap().ends(), Some(end));
    world.ask_to_join(1, one).unwrap();
    world.run(60_000);
    assert_eq!((world.state(1, id), world.info(1, id).ends), (SyncgroupState::Active, Some(end)));
    world.apart();
    world.run(SOON.0);
    assert_eq!(world.state(1, id), SyncgroupState::Expired);
    assert!(matches!(world.ask_to_join(2, other.clone()), Err(Refusal::Invitation(_))));
    // Whose clock is behind asks, and is told.
    world.by_clock(Wall(end.0 - 1), |world| world.ask_to_join(2, other)).unwrap();
    world.link(0, 2);
    world.run(60_000);
    assert_eq!(world.state(2, id), SyncgroupState::Refused(JoinRefusal::Expired));
    let anew = world.invite(0, id, Rights::Read);
    world.link(0, 1);
    world.ask_to_join(1, anew).unwrap();
    world.run(60_000);
    assert_eq!((world.state(1, id), world.info(1, id).rights), (SyncgroupState::Active, Some(Rights::Read)));
}

#[test]
fn what_is_granted_to_a_user_ends_for_all_its_devices() {
    let (mut world, id) = family(3);
    let (user, end) = (key(1).public(), world.now.wall + SOON);
    let set =
        |ends| Command::AdmitUser { syncgroup: id, user, name: name("user 1"), rights: Rights::Write, ends };
    world.command(0, set(Some(end))).unwrap();
    world.run(60_000);
    let listed = world.nodes[1].core.users(&id).unwrap();
    assert_eq!(
        (listed[0].rights, listed[0].ends, listed[0].expired),
        (Some(Rights::Write), Some(end), false)
    );
    world.run(SOON.0);
    for at in [1, 2] {
        assert_eq!(world.state(at, id), SyncgroupState::Expired, "{at}");
        assert!(world.member(0, id, at).expired);
    }
    let listed = world.nodes[0].core.users(&id).unwrap();
    assert_eq!((listed[0].rights, listed[0].ends, listed[0].expired), (None, Some(end), true));
    world.command(0, set(None)).unwrap();
    world.run(60_000);
    world.put(2, id, "row", "again");
    world.run(60_000);
    world.assert_same(id);
}

#[test]
fn a_device_is_a_users_until_its_certificate_ends_and_longer_by_another_one() {
    let (mut world, id) = family(4);
    let end = world.now.wall + SOON;
    let lent = |world: &World, number, end| {
        let key_of = world.nodes[3].core.public_key();
        key(1).certify_until(key_of, name("lent"), number, end)
    };
    let certificate = lent(&world, 1, end);
    assert_eq!(certificate.to_string().parse(), Ok(certificate.clone()));
    let invitation = world.invite_device(2, id, &key(1));
    let join =
        Command::JoinAs { database: name("db"), invitation, certificate: Box::new(certificate.clone()) };
    world.command(3, join).unwrap();
    world.run(60_000);
    assert_eq!((world.state(3, id), world.info(3, id).ends), (SyncgroupState::Active, Some(end)));
    world.put(3, id, "row", "in time");
    world.run(SOON.0);
    assert_eq!(world.state(3, id), SyncgroupState::Expired);
    assert_eq!(world.state(1, id), SyncgroupState::Active, "the user's other devices go on");
    let enrol = Command::Enrol { syncgroup: id, certificate };
    assert!(matches!(world.command(1, enrol), Err(Refusal::Certificate(_))));
    // Any member passes on what the user has signed, and an old one takes nothing away.
    let longer = world.now.wall + SOON;
    let certificate = lent(&world, 2, longer);
    world.command(1, Command::Enrol { syncgroup: id, certificate }).unwrap();
    world.run(60_000);
    assert_eq!((world.state(3, id), world.info(3, id).ends), (SyncgroupState::Active, Some(longer)));
    world.assert_same(id);
}

#[test]
fn whoever_leaves_after_its_time_is_over_has_left_though_somebody_extends_it() {
    let (mut world, id) = World::together(3);
    world.lend(0, id, 1, Rights::Write, SOON);
    world.run(SOON.0 + 60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Expired);
    assert_eq!(world.command(1, Command::Leave { syncgroup: id }), Ok(Outcome::Left(id)));
    assert_eq!(world.state(1, id), SyncgroupState::Left);
    world.extend(0, id, 1, Rights::Write);
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Left);
    let member = world.member(0, id, 1);
    assert_eq!((member.rights, member.removed), (None, false), "it has given that back");
    world.assert_same_at(id, &[0, 2]);
}

#[test]
fn a_certificate_whose_time_is_over_keeps_nobody_from_ending_what_the_device_was_granted_itself() {
    let (mut world, id) = family(4);
    let certificate =
        key(1).certify_until(world.nodes[3].core.public_key(), name("lent"), 1, world.now.wall + SOON);
    let invitation = world.invite_device(2, id, &key(1));
    let certificate = Box::new(certificate);
    world.command(3, Command::JoinAs { database: name("db"), invitation, certificate }).unwrap();
    world.run(60_000);
    world.extend(0, id, 3, Rights::Admin);
    let device = world.device(3);
    let eject = Command::Eject { syncgroup: id, device };
    let refused = world.command(0, eject.clone());
    assert_eq!(refused, Err(Refusal::DeviceOf { device, user: key(1).id() }));
    world.run(SOON.0);
    assert_eq!(world.state(3, id), SyncgroupState::Active, "by what it was granted itself");
    assert_eq!(world.command(0, eject), Ok(Outcome::Ejected(id, device)));
    world.run(60_000);
    assert_eq!(world.member(2, id, 3).rights, None);
    assert_eq!(world.state(3, id), SyncgroupState::Expired, "its user can make another certificate");
}

#[test]
fn what_an_expired_member_dates_back_is_undone_once_it_is_removed() {
    let (mut world, id) = World::together(4);
    let end = world.lend(0, id, 1, Rights::Write, SOON);
    world.run(60_000);
    world.apart();
    world.run(SOON.0);
    // 3's clock is behind as well, so it takes what is dated back.
    world.by_clock(Wall(end.0 - 60_000), |world| {
        world.put(1, id, "row", "dated back");
        let link = world.link(1, 3);
        world.run(10_000);
        world.unlink(link);
    });
    world.link(0, 3);
    world.run(60_000);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("dated back"), "nobody can tell");
    world.apart();
    world.by_clock(Wall(end.0 - 60_000), |world| world.put(1, id, "row", "and again"));
    world.eject(0, id, 1);
    assert!(world.member(0, id, 1).removed && !world.member(0, id, 1).expired);
    world.by_clock(Wall(end.0 - 60_000), |world| {
        let link = world.link(1, 3);
        world.run(10_000);
        world.unlink(link);
    });
    assert_eq!(world.text(3, id, "row").as_deref(), Some("and again"));
    world.all_linked();
    assert_eq!(world.text(3, id, "row").as_deref(), Some("dated back"), "what the admin had seen stays");
    world.assert_same_at(id, &[0, 2, 3]);
    // Whoever knows that it is no member any more does not ask why, and does not hear that an admin has confirmed it.
    assert_eq!(world.state(1, id), SyncgroupState::Expired);
}
