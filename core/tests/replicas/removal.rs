//! Members are removed, and hear of it (S-34 … S-36).

use super::*;

impl World {
    pub(super) fn device(&self, at: usize) -> DeviceId {
        self.nodes[at].core.public_key().device()
    }

    pub(super) fn eject(&mut self, at: usize, id: SyncgroupId, whom: usize) {
        let device = self.device(whom);
        let outcome = self.command(at, Command::Eject { syncgroup: id, device });
        assert_eq!(outcome, Ok(Outcome::Ejected(id, device)));
    }

    pub(super) fn set_rights(&mut self, at: usize, id: SyncgroupId, whom: usize, rights: Rights) {
        let device = self.device(whom);
        let outcome = self.command(at, Command::SetRights { syncgroup: id, device, rights, ends: None });
        assert_eq!(outcome, Ok(Outcome::RightsSet(id, device, rights)));
    }

    pub(super) fn rights(&self, at: usize, id: SyncgroupId, of: usize) -> Option<Rights> {
        let members = self.nodes[at].core.members(&id).unwrap();
        members.into_iter().find(|member| member.device == self.device(of)).and_then(|member| member.rights)
    }

    pub(super) fn apart(&mut self) {
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            self.unlink(link);
        }
    }

    pub(super) fn all_linked(&mut self) {
        for at in 1..self.nodes.len() {
            for other in 0..at {
                self.link(other, at);
            }
        }
        self.run(60_000);
    }

    pub(super) fn judged(&self, at: usize) -> Vec<(DeviceId, usize, usize)> {
        let judged = self.nodes[at].notices.iter().filter_map(|notice| match notice {
            Notice::Judged { device, voided, restored, .. } => Some((*device, *voided, *restored)),
            _ => None,
        });
        judged.collect()
    }

    /// These replicas hold and show the same.
    pub(super) fn assert_same_at(&self, id: SyncgroupId, nodes: &[usize]) {
        let first = nodes[0];
        for at in nodes {
            assert_eq!(
                self.nodes[*at].core.knowledge(&id),
                self.nodes[first].core.knowledge(&id),
                "knowledge of {at}"
            );
            assert_eq!(
                self.nodes[*at].core.visible_digest(&id),
                self.nodes[first].core.visible_digest(&id),
                "digest of {at}"
            );
            assert_eq!(self.rows(*at, id), self.rows(first, id), "rows of {at}");
        }
    }
}

#[test]
fn a_removed_device_hears_of_it_and_goes_on_reading() {
    let (mut world, id) = World::together(3);
    world.put(1, id, "before", "by 1");
    world.run(10_000);
    world.eject(0, id, 1);
    world.run(10_000);
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
    assert_eq!(world.info(1, id).rights, None);
    assert_eq!(world.text(1, id, "before").as_deref(), Some("by 1"));
    let write = LocalWrite::new().put(world.row(id, "after"), "refused");
    assert_eq!(world.command(1, Command::Write(write)), Err(Refusal::NotMember));
    world.put(0, id, "secret", "for members");
    world.run(60_000);
    assert_eq!(world.text(1, id, "secret"), None, "nothing is given to it any more");
    assert_eq!(world.text(2, id, "secret").as_deref(), Some("for members"));
    assert_eq!(world.info(2, id).members, 2);
    let members = world.nodes[2].core.members(&id).unwrap();
    assert!(members.iter().any(|member| member.device == world.device(1) && member.removed));
    world.assert_same_at(id, &[0, 2]);
    let before = world.sent;
    world.run(86_400_000);
    assert_eq!(world.sent, before, "nothing to say for a day");
}

#[test]
fn what_a_removed_device_wrote_beside_its_removal_is_undone_everywhere() {
    let (mut world, id) = World::together(4);
    world.put(1, id, "row", "before");
    world.run(10_000);
    world.apart();
    // 3 hears what 1 writes, 0 and 2 do not.
    world.put(1, id, "row", "beside");
    world.put(1, id, "new", "beside");
    let link = world.link(1, 3);
    world.run(10_000);
    assert_eq!(world.text(3, id, "row").as_deref(), Some("beside"));
    world.put(3, id, "other", "built on it");
    world.unlink(link);
    world.eject(0, id, 1);
    world.all_linked();
    world.assert_same_at(id, &[0, 2, 3]);
    assert_eq!(world.text(3, id, "row").as_deref(), Some("before"));
    assert_eq!(world.text(3, id, "new"), None);
    assert_eq!(world.text(0, id, "other").as_deref(), Some("built on it"), "3 was allowed to write");
    assert_eq!(world.judged(3), [(world.device(1), 2, 0)]);
    assert_eq!(world.judged(0), [], "it never saw them");
    let is_news = |change: &&RowChange| change.key == "row" && change.value.as_deref() == Some(b"before");
    assert_eq!(world.nodes[3].changed.iter().filter(is_news).count(), 2, "first, and again");
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
    assert_eq!(world.judged(1), [(world.device(1), 2, 0)]);
    assert_eq!(world.text(1, id, "row").as_deref(), Some("before"));
}

#[test]
fn what_was_built_on_what_became_void_stays_and_hides_what_that_replaced() {
    let (mut world, id) = World::together(3);
    world.put(0, id, "row", "old");
    world.run(10_000);
    world.apart();
    world.put(1, id, "row", "beside");
    world.link(1, 2);
    world.run(10_000);
    world.put(2, id, "row", "on top");
    world.apart();
    world.eject(0, id, 1);
    world.all_linked();
    world.assert_same_at(id, &[0, 2]);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("on top"));
    assert_eq!(world.heads(0, id, "row").len(), 1, "what is void still leads on to what it replaced");
}

#[test]
fn operations_and_conflicts_of_a_removed_device_are_undone_too() {
    let (mut world, id) = World::together(3);
    world.schema(0, id, &[("count/", Policy::Merge(Merge::Counter))]);
    world.run(10_000);
    world.operate(0, id, "count/x", Operation::Add(1));
    world.run(10_000);
    world.apart();
    world.operate(1, id, "count/x", Operation::Add(10));
    world.put(1, id, "row", "by 1");
    world.put(2, id, "row", "by 2");
    world.link(1, 2);
    world.run(10_000);
    world.operate(2, id, "count/x", Operation::Add(100));
    assert!(world.get(2, id, "row").unwrap().in_conflict);
    world.apart();
    world.eject(0, id, 1);
    world.all_linked();
    world.assert_same_at(id, &[0, 2]);
    assert_eq!(world.text(2, id, "count/x").as_deref(), Some("101"));
    assert_eq!(world.text(2, id, "row").as_deref(), Some("by 2"));
    assert!(!world.get(2, id, "row").unwrap().in_conflict);
}

/// A member that has not heard of the removal of another one says what that one said, and so it stays.
#[test]
fn an_answer_that_picked_what_becomes_void_stands_by_the_right_of_whoever_gave_it() {
    for policy in [Policy::AppResolves, Policy::BatchWins] {
        let (mut world, id) = World::together(3);
        world.schema(0, id, &[("", policy.clone())]);
        world.run(10_000);
        world.apart();
        world.put(2, id, "row", "by 2");
        world.run(10);
        world.put(1, id, "row", "by 1");
        world.link(1, 2);
        world.run(200);
        world.apart();
        if policy == Policy::AppResolves {
            let store = &world.nodes[2].store;
            let conflict = read::conflict(store, &world.collection(2, id), b"row").unwrap();
            let row = &conflict.rows[0];
            let picked =
                row.heads.iter().find(|head| head.value.as_deref() == Some(b"by 1")).unwrap().version;
            let answer = Resolution::new().answer(row, Choice::Pick(picked));
            world.command(2, Command::Resolve(answer)).unwrap();
        }
        world.run(60_000);
        assert!(!world.get(2, id, "row").unwrap().in_conflict, "{policy:?}");
        world.eject(0, id, 1);
        world.all_linked();
        world.assert_same_at(id, &[0, 2]);
        assert_eq!(world.text(0, id, "row").as_deref(), Some("by 1"), "{policy:?}");
        let heads = world.heads(0, id, "row");
        assert_eq!(heads.len(), 1);
        assert_eq!(heads[0].version.author.device, world.device(2), "{policy:?}");
    }
}

#[test]
fn what_an_admin_did_beside_its_removal_is_undone() {
    let (mut world, id) = World::together(5);
    world.set_rights(0, id, 1, Rights::Admin);
    world.run(10_000);
    world.set_rights(0, id, 2, Rights::Admin);
    world.run(60_000);
    world.apart();
    // 1 was made an admin before 2.
    let command = Command::Eject { syncgroup: id, device: world.device(1) };
    assert_eq!(world.command(2, command), Err(Refusal::Senior(world.device(1))));
    world.eject(1, id, 2);
    world.eject(2, id, 4);
    world.schema(2, id, &[("", Policy::Defer)]);
    world.link(2, 3);
    world.link(2, 4);
    world.run(10_000);
    assert_eq!(world.rights(3, id, 4), None);
    assert_eq!(world.state(4, id), SyncgroupState::Removed);
    world.apart();
    world.all_linked();
    world.run(600_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    assert_eq!(world.state(2, id), SyncgroupState::Removed);
    assert_eq!(world.state(4, id), SyncgroupState::Active, "whoever removed it had been removed");
    world.put(4, id, "k", "back");
    world.run(60_000);
    world.assert_same_at(id, &[0, 1, 3, 4]);
    for at in [0, 1, 3, 4] {
        assert_eq!(world.rights(at, id, 1), Some(Rights::Admin));
        assert_eq!(world.rights(at, id, 2), None);
        let collection = world.collection(at, id);
        assert_eq!(read::schema(&world.nodes[at].store, &collection).unwrap(), [], "its rule is void");
    }
}

#[test]
fn an_admin_cannot_remove_whoever_made_it_one() {
    let (mut world, id) = World::together(3);
    world.set_rights(0, id, 1, Rights::Admin);
    world.run(10_000);
    for command in [
        Command::Eject { syncgroup: id, device: world.device(0) },
        Command::SetRights { syncgroup: id, device: world.device(0), rights: Rights::Read, ends: None },
    ] {
        assert_eq!(world.command(1, command), Err(Refusal::Senior(world.device(0))));
    }
    let command = Command::Eject { syncgroup: id, device: world.device(1) };
    assert_eq!(world.command(1, command), Err(Refusal::Yourself));
    let command = Command::Eject { syncgroup: id, device: world.device(0) };
    assert!(matches!(world.command(2, command), Err(Refusal::Forbidden(_))));
    world.eject(1, id, 2);
    world.run(10_000);
    let command = Command::Eject { syncgroup: id, device: world.device(2) };
    assert_eq!(world.command(1, command), Err(Refusal::NoMember(world.device(2))));
}

#[test]
fn who_may_only_read_from_now_on_keeps_what_it_wrote_before() {
    let (mut world, id) = World::together(3);
    world.put(1, id, "row", "before");
    world.run(10_000);
    world.set_rights(0, id, 1, Rights::Read);
    world.run(10_000);
    let write = LocalWrite::new().put(world.row(id, "after"), "refused");
    assert_eq!(world.command(1, Command::Write(write)), Err(Refusal::Forbidden("write")));
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    world.put(0, id, "more", "still told");
    world.run(10_000);
    assert_eq!(world.text(1, id, "more").as_deref(), Some("still told"));
    world.set_rights(0, id, 1, Rights::Write);
    world.run(10_000);
    world.put(1, id, "row", "again");
    world.run(60_000);
    world.assert_same(id);
    assert_eq!(world.text(2, id, "row").as_deref(), Some("again"));
}

#[test]
fn a_removed_device_can_be_let_in_again_and_what_was_void_stays_so() {
    let (mut world, id) = World::together(3);
    world.apart();
    world.put(1, id, "beside", "void");
    world.eject(0, id, 1);
    world.all_linked();
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    world.put(1, id, "after", "counts");
    world.run(60_000);
    world.assert_same(id);
    assert_eq!(world.rows(2, id), [("after".to_owned(), "counts".to_owned())]);
}

#[test]
fn a_restart_judges_alike() {
    let (mut world, id) = World::together(3);
    world.schema(0, id, &[("a", Policy::Defer)]);
    world.set_rights(0, id, 1, Rights::Admin);
    world.run(60_000);
    world.apart();
    world.schema(1, id, &[("a", Policy::AppResolves)]);
    world.put(1, id, "row", "beside");
    world.link(1, 2);
    world.run(10_000);
    world.eject(0, id, 1);
    world.apart();
    world.all_linked();
    let (members, rows) = (world.nodes[2].core.members(&id), world.rows(2, id));
    let rules = |world: &World| {
        let collection = world.collection(2, id);
        read::schema(&world.nodes[2].store, &collection).unwrap()
    };
    assert_eq!(rules(&world)[0].policy, Policy::Defer);
    let (info, digest) = (world.info(2, id), world.nodes[2].core.visible_digest(&id));
    let store = world.nodes[2].store.clone();
    world.reboot(2, store, Continuity::Shown);
    assert_eq!(world.nodes[2].core.members(&id), members);
    assert_eq!((world.info(2, id), world.rows(2, id)), (info, rows));
    assert_eq!(world.nodes[2].core.visible_digest(&id), digest);
    world.link(0, 2);
    world.put(2, id, "more", "goes on");
    world.run(60_000);
    world.assert_same_at(id, &[0, 2]);
    assert_eq!(rules(&world)[0].policy, Policy::Defer);
}

#[test]
fn whoever_creates_a_syncgroup_can_destroy_it_and_everybody_hears() {
    let (mut world, id) = World::together(3);
    world.put(1, id, "row", "stays readable");
    world.run(10_000);
    let links = world.links_of(2);
    links.into_iter().for_each(|link| world.unlink(link));
    assert_eq!(world.command(0, Command::Destroy { syncgroup: id }), Ok(Outcome::Destroyed(id)));
    world.run(60_000);
    assert_eq!(world.state(0, id), SyncgroupState::Left);
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
    // 2 hears of it from one who was removed as well.
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    world.link(1, 2);
    world.run(60_000);
    assert_eq!(world.state(2, id), SyncgroupState::Removed);
    assert_eq!(world.text(2, id, "row").as_deref(), Some("stays readable"));
    assert_eq!(world.info(2, id).members, 0);
    let before = world.sent;
    world.run(86_400_000);
    assert_eq!(world.sent, before);
}

#[test]
fn who_was_let_in_by_what_a_disk_has_lost_can_ask_again() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    world.run(1_000);
    let lost = world.nodes[0].store.clone();
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    let link = world.link(0, 1);
    // The answer arrives, and nothing of the syncgroup.
    while world.state(1, id) == SyncgroupState::Joining {
        let (at, on, frame) = world.frames.pop_front().expect("a frame");
        world.event(at, Event::Received { link: on, frame });
    }
    world.unlink(link);
    assert_eq!(world.state(1, id), SyncgroupState::Pending);
    world.reboot(0, lost, Continuity::Unknown);
    world.link(0, 1);
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Pending, "nobody knows of it");
    let again = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, again).unwrap();
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    world.put(1, id, "row", "written");
    world.run(60_000);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("written"));
}

#[test]
fn who_destroys_a_syncgroup_takes_nothing_from_an_admin_senior_to_it_nor_what_that_one_wrote_before() {
    let (mut world, id) = World::together(3);
    world.apart();
    world.put(1, id, "row", "by a writer, of whom nobody has heard");
    world.set_rights(0, id, 1, Rights::Admin);
    world.set_rights(0, id, 2, Rights::Admin);
    world.link(0, 2);
    world.run(60_000);
    assert_eq!(world.command(2, Command::Destroy { syncgroup: id }), Ok(Outcome::Destroyed(id)));
    world.all_linked();
    world.run(60_000);
    assert_eq!(world.state(2, id), SyncgroupState::Left);
    world.assert_same_at(id, &[0, 1]);
    assert_eq!(world.text(0, id, "row").as_deref(), Some("by a writer, of whom nobody has heard"));
}

#[test]
fn a_removed_device_gets_nothing_by_introducing_itself() {
    let (mut world, id) = World::together(3);
    world.apart();
    world.eject(0, id, 1);
    world.put(0, id, "secret", "for members");
    world.link(0, 2);
    world.run(10_000);
    // 1 has not heard of its removal, and goes on; 2 has.
    world.put(1, id, "beside", "void");
    let held = world.nodes[2].core.knowledge(&id);
    world.link(1, 2);
    world.run(600_000);
    assert_eq!(world.text(1, id, "secret"), None);
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
    assert_eq!(world.nodes[2].core.knowledge(&id), held, "and nothing is taken from it");
}

#[test]
fn whoever_has_left_gives_nothing_to_a_device_that_was_removed() {
    let (mut world, id) = World::together(3);
    world.apart();
    world.eject(0, id, 1);
    world.put(0, id, "secret", "for members");
    world.link(0, 2);
    world.run(10_000);
    world.apart();
    assert_eq!(world.command(2, Command::Leave { syncgroup: id }), Ok(Outcome::Left(id)));
    world.link(1, 2);
    world.run(600_000);
    assert_eq!(world.text(1, id, "secret"), None);
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
}

#[test]
fn a_device_set_back_to_before_it_left_hears_that_it_has_left() {
    let (mut world, id) = World::together(3);
    let backup = world.nodes[1].store.clone();
    assert_eq!(world.command(1, Command::Leave { syncgroup: id }), Ok(Outcome::Left(id)));
    world.run(60_000);
    world.put(0, id, "secret", "for members");
    world.run(10_000);
    world.reboot(1, backup, Continuity::Unknown);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    world.link(1, 0);
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Left);
    assert_eq!(world.text(1, id, "secret"), None);
    let before = world.sent;
    world.run(86_400_000);
    assert_eq!(world.sent, before);
}

#[test]
fn a_device_that_has_left_can_be_removed_so_that_a_copy_of_it_says_nothing() {
    for removed in [false, true] {
        let (mut world, id) = World::together(3);
        let copy = world.nodes[1].store.clone();
        world.put(1, id, "mine", "before it left");
        world.run(10_000);
        world.command(1, Command::Leave { syncgroup: id }).unwrap();
        world.run(60_000);
        if removed {
            world.eject(0, id, 1);
            let device = world.nodes[1].core.author().device;
            let again = Command::Eject { syncgroup: id, device };
            assert_eq!(world.command(0, again), Err(Refusal::NoMember(device)), "once is enough");
            world.run(60_000);
        }
        world.apart();
        world.reboot(1, copy, Continuity::Unknown);
        world.put(1, id, "theirs", "by a copy that does not know that it has left");
        world.link(1, 2);
        world.run(60_000);
        assert_eq!(world.text(2, id, "theirs").is_none(), removed);
        assert_eq!(world.text(2, id, "mine").as_deref(), Some("before it left"));
        assert_eq!(world.state(1, id), SyncgroupState::Left);
    }
}

#[test]
fn stamps_lie_above_those_of_what_is_void() {
    let (mut world, id) = World::together(3);
    world.apart();
    // Four minutes ahead is within what clocks may differ by.
    let wall = world.now.wall;
    world.now.wall = wall + Millis(240_000);
    world.put(1, id, "beside", "from a fast clock");
    world.now.wall = wall;
    world.link(1, 2);
    world.run(10_000);
    world.apart();
    world.eject(0, id, 1);
    world.all_linked();
    for at in [0, 2] {
        world.put(at, id, "row", "after");
        world.run(60_000);
    }
    world.assert_same_at(id, &[0, 2]);
}

#[test]
fn a_device_that_was_let_in_again_convinces_a_member_that_knows_of_the_removal_alone() {
    let (mut world, id) = World::together(3);
    world.apart();
    world.put(1, id, "beside", "void");
    world.eject(0, id, 1);
    world.link(0, 2);
    world.run(10_000);
    world.apart();
    world.link(0, 1);
    world.run(60_000);
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    world.put(1, id, "after", "counts");
    // 0 is never seen again.
    world.apart();
    world.put(2, id, "news", "for members");
    world.link(1, 2);
    world.run(60_000);
    assert_eq!(world.rights(2, id, 1), Some(Rights::Write));
    assert_eq!(world.text(2, id, "after").as_deref(), Some("counts"));
    assert_eq!(world.text(1, id, "news").as_deref(), Some("for members"));
    world.assert_same_at(id, &[1, 2]);
    let before = world.sent;
    world.run(86_400_000);
    assert_eq!(world.sent, before);
}

#[test]
fn whoever_leaves_after_it_was_let_in_again_tells_of_that() {
    let (mut world, id) = World::together(2);
    world.eject(0, id, 1);
    world.run(60_000);
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    world.run(60_000);
    assert_eq!(world.command(1, Command::Leave { syncgroup: id }), Ok(Outcome::Left(id)));
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Left);
    assert_eq!(world.rights(0, id, 1), None);
    let members = world.nodes[0].core.members(&id).unwrap();
    assert!(members.iter().any(|member| member.device == world.device(1) && !member.removed));
}

#[test]
fn a_removed_device_tells_members_that_count_it_as_one_what_removed_it() {
    let (mut world, id) = World::together(3);
    world.apart();
    world.eject(0, id, 1);
    world.link(0, 1);
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
    // 0 is never seen again.
    world.apart();
    world.link(1, 2);
    world.run(60_000);
    assert_eq!(world.rights(2, id, 1), None);
    world.put(2, id, "secret", "for members");
    world.run(60_000);
    assert_eq!(world.text(1, id, "secret"), None);
    let before = world.sent;
    world.run(86_400_000);
    assert_eq!(world.sent, before);
}

#[test]
fn a_right_that_somebody_gives_who_has_not_heard_that_one_leaves_is_given_back() {
    let (mut world, id) = World::together(2);
    world.apart();
    world.set_rights(0, id, 1, Rights::Admin);
    assert_eq!(world.command(1, Command::Leave { syncgroup: id }), Ok(Outcome::Left(id)));
    world.all_linked();
    assert_eq!(world.state(1, id), SyncgroupState::Left);
    assert_eq!(world.rights(0, id, 1), None);
}

#[test]
fn an_earlier_request_to_join_is_granted_though_a_later_one_was_refused() {
    let mut world = World::new(4);
    let id = world.create(0, "notes");
    world.link(0, 1);
    let invitation = world.invite(0, id, Rights::Admin);
    world.ask_to_join(1, invitation).unwrap();
    world.run(10_000);
    let (good, used) = (world.invite(1, id, Rights::Write), world.invite(0, id, Rights::Write));
    world.link(0, 2);
    world.ask_to_join(2, used.clone()).unwrap();
    world.run(10_000);
    assert_eq!(world.state(2, id), SyncgroupState::Active);
    // 3 asks 1, which it does not reach, and 0, which refuses.
    world.ask_to_join(3, good).unwrap();
    world.ask_to_join(3, used).unwrap();
    world.link(0, 3);
    world.run(10_000);
    assert_eq!(world.state(3, id), SyncgroupState::Refused(JoinRefusal::Used));
    let store = world.nodes[3].store.clone();
    world.reboot(3, store, Continuity::Unknown);
    world.link(1, 3);
    world.run(10_000);
    assert_eq!(world.state(3, id), SyncgroupState::Active);
    assert_eq!(world.rights(0, id, 3), Some(Rights::Write));
}

#[test]
fn requests_to_join_that_wait_for_an_answer_are_bounded() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    let limit = limits::MAX_REQUESTS;
    for _ in 0..limit {
        let invitation = world.invite(0, id, Rights::Write);
        // The same one again is the same request.
        world.ask_to_join(1, invitation.clone()).unwrap();
        world.ask_to_join(1, invitation).unwrap();
    }
    let invitation = world.invite(0, id, Rights::Write);
    let refused = world.ask_to_join(1, invitation);
    assert_eq!(refused, Err(Refusal::Limit { what: "requests to join", limit }));
    world.link(0, 1);
    world.run(10_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
}
