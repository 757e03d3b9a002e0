//! What no core would write, and what becomes of it where it arrives (S-26): rules, operations and parts of batches that
//! a member has made up.

use driftless::hostile::{self, Content, Forgery, Made, Stage};

use super::*;

impl World {
    /// Device 1 sends something that it has made up to device 0.
    fn forge(&mut self, id: SyncgroupId, forgery: Forgery, seed: u8) -> Vec<Made> {
        let made = self.forge_between((1, 0), id, forgery, [seed; 32]);
        self.run(5_000);
        made
    }

    /// A device sends something that it has made up to another one.
    fn forge_between(
        &mut self,
        (from, to): (usize, usize),
        id: SyncgroupId,
        forgery: Forgery,
        seed: [u8; 32],
    ) -> Vec<Made> {
        let (link, (_, far, _)) = self
            .links
            .iter()
            .find(|(_, (near, _, peer))| (*near, *peer) == (from, to))
            .map(|(a, b)| (*a, *b))
            .unwrap();
        let node = &self.nodes[from];
        let stage = Stage {
            core: &node.core,
            view: &node.store,
            link,
            peer: self.nodes[to].core.public_key().device(),
            syncgroup: id,
            collection: self.collection(from, id).id,
            wall: self.now.wall,
            stolen: None,
            seed,
        };
        let forged = hostile::forge(&stage, forgery).unwrap();
        self.frames.extend(forged.frames.into_iter().map(|frame| (to, far, frame)));
        self.deliver();
        forged.made
    }

    /// How many of these a device holds, and how many of them its readers see.
    fn taken(&self, at: usize, id: SyncgroupId, made: &[Made]) -> (usize, usize) {
        let core = &self.nodes[at].core;
        let count = |known: Option<Knowledge>| {
            let known = known.unwrap_or_default();
            let has = |made: &&Made| {
                known.get(&made.version.author).is_some_and(|last| *last >= made.version.generation)
            };
            made.iter().filter(has).count()
        };
        (count(core.held(&id)), count(core.knowledge(&id)))
    }

    fn splits(&self, at: usize) -> usize {
        self.nodes[at].notices.iter().filter(|notice| matches!(notice, Notice::BatchSplit { .. })).count()
    }

    /// After all that, honest writes go everywhere, and all show the same.
    fn go_on(&mut self, id: SyncgroupId) {
        for at in 0..self.nodes.len() {
            self.put(at, id, &format!("after/{at}"), "honest");
        }
        self.run(60_000);
        self.assert_same(id);
    }
}

#[test]
fn a_rule_counts_only_if_an_admin_made_it() {
    let (mut world, id) = World::together(3);
    let rules =
        |world: &World, at: usize| read::schema(&world.nodes[at].store, &world.collection(at, id)).unwrap();
    let made = world.forge(id, Forgery::Rule, 1);
    assert_eq!(world.taken(0, id, &made), (0, 0));
    assert_eq!(rules(&world, 0), []);
    let device = world.nodes[1].core.public_key().device();
    let command = Command::SetRights { syncgroup: id, device, rights: Rights::Admin, ends: None };
    world.command(0, command).unwrap();
    world.run(10_000);
    let made = world.forge(id, Forgery::Rule, 2);
    assert_eq!(world.taken(0, id, &made), (made.len(), made.len()));
    let Content::Rule { rule, .. } = &made[0].content else { unreachable!() };
    for at in 0..3 {
        assert_eq!(rules(&world, at), std::slice::from_ref(rule));
    }
    world.go_on(id);
}

#[test]
fn what_cannot_be_read_is_not_taken_and_whoever_passes_it_on_is_not_blamed() {
    let (mut world, id) = World::together(3);
    let device = world.nodes[1].core.public_key().device();
    let command = Command::SetRights { syncgroup: id, device, rights: Rights::Admin, ends: None };
    world.command(0, command).unwrap();
    world.run(10_000);
    for forgery in [Forgery::LongRule, Forgery::LargeOperation, Forgery::NamelessField] {
        let made = world.forge(id, forgery, 1);
        assert_eq!(world.taken(0, id, &made), (0, 0), "{forgery:?}");
    }
    assert_eq!(world.closed, []);
    world.go_on(id);
}

#[test]
fn an_operation_on_what_does_not_merge_is_kept_and_shows_once_it_does() {
    let (mut world, id) = World::together(3);
    let (mut seed, mut sum) = (0, 0);
    let key = loop {
        seed += 1;
        let made = world.forge(id, Forgery::Operates, seed);
        assert_eq!(world.taken(2, id, &made), (made.len(), made.len()));
        let Content::Row { key, edit: Edit::Operate(operation), .. } = &made[0].content else {
            unreachable!()
        };
        let text = std::str::from_utf8(key).unwrap().to_owned();
        assert_eq!(world.get(0, id, &text), None, "nothing was put, and nothing merges");
        if let Operation::Add(amount) = operation {
            sum += i128::from(*amount) * made.len() as i128;
            break text;
        }
    };
    world.go_on(id);
    world.schema(0, id, &[("k", Policy::Merge(Merge::Counter))]);
    world.run(10_000);
    for at in 0..3 {
        assert_eq!(world.text(at, id, &key), Some(sum.to_string()));
    }
    world.operate(2, id, &key, Operation::Add(-7));
    world.go_on(id);
    assert_eq!(
        world.text(0, id, &key),
        Some((sum - 7).to_string()),
        "a sum that no batch could say is no trouble"
    );
}

#[test]
fn parts_in_syncgroups_that_nobody_knows_are_not_waited_for() {
    let (mut world, id) = World::together(3);
    let made = world.forge(id, Forgery::StrangeParts, 1);
    for at in 0..3 {
        assert_eq!(world.taken(at, id, &made), (made.len(), made.len()));
        assert_eq!(world.splits(at), 0);
    }
    world.go_on(id);
}

#[test]
fn more_parts_than_a_batch_may_have_are_the_senders_fault() {
    let (mut world, id) = World::together(3);
    let made = world.forge(id, Forgery::TooManyParts, 1);
    assert_eq!(world.taken(0, id, &made), (0, 0));
    let blamed = |notice: &Notice| matches!(notice, Notice::PeerFault { .. });
    assert!(world.nodes[0].notices.iter().any(blamed), "{:?}", world.nodes[0].notices);
    assert_eq!(world.closed.len(), 1);
}

#[test]
fn a_part_that_there_is_not_is_waited_for_only_by_whoever_could_have_it_and_not_for_long() {
    for forgery in [Forgery::LacksPart, Forgery::PartTwice] {
        let (mut world, id) = World::together(3);
        let other = world.create(0, "other");
        let invitation = world.invite(0, other, Rights::Write);
        world.ask_to_join(1, invitation).unwrap();
        world.run(60_000);
        let mut changes = read::Changes::new(vec![(world.collection(0, id), Bytes::new())]);
        while changes.next(&world.nodes[0].store, 100).unwrap().is_some() {}
        let made = world.forge(id, forgery, 1);
        assert_eq!(made[0].batch, Some(vec![other]));
        let all = made.len();
        assert_eq!(world.taken(0, id, &made), (all, 0), "{forgery:?}: it waits");
        assert_eq!(world.taken(2, id, &made), (all, all), "{forgery:?}: who is not in the other one sees it");
        world.run(120_000);
        for at in 0..3 {
            assert_eq!(world.taken(at, id, &made), (all, all));
        }
        assert_eq!((world.splits(0), world.splits(2)), (all, 0));
        // Whoever checks the store afterwards waits for nothing.
        let verified = world.verify(0, &world.nodes[0].store);
        assert!(verified.iter().all(|it| it.problems.is_empty() && it.rows.is_some()), "{verified:?}");
        // A batch has one part in a syncgroup: whoever watches is told of each by itself.
        let mut told = 0;
        while let Some(update) = changes.next(&world.nodes[0].store, 100).unwrap() {
            let read::Update::Batch { rows, .. } = update else { panic!("{update:?}") };
            assert_eq!(rows.len(), 1);
            told += 1;
        }
        assert_eq!(told, all);
        world.go_on(id);
    }
}

/// What a header cannot name for lack of room must not be what allows its author to write.
#[test]
fn a_crowd_of_logs_keeps_nobody_from_writing_in_a_new_log() {
    let mut world = World::new(4);
    // Dependencies are in the order of authors: the crowd comes before the admin.
    let device = |at: &usize| world.nodes[*at].core.public_key().device();
    let mut order: Vec<usize> = (0..4).collect();
    order.sort_by_key(device);
    let [crowd, newcomer, other, admin] = order[..] else { unreachable!() };
    let id = world.create(admin, "notes");
    for at in [crowd, newcomer, other] {
        world.link(admin, at);
        let invitation = world.invite(admin, id, Rights::Write);
        world.ask_to_join(at, invitation).unwrap();
        world.run(60_000);
    }
    world.apart();
    world.link(crowd, newcomer);
    world.run(5_000);
    for nth in 0..1_030_u16 {
        let [low, high] = nth.to_le_bytes();
        let mut seed = [0; 32];
        (seed[0], seed[1]) = (low, high);
        let made = world.forge_between((crowd, newcomer), id, Forgery::OldCauses, seed);
        assert_eq!(world.taken(newcomer, id, &made).0, made.len());
    }
    // It begins a new log.
    let store = world.nodes[newcomer].store.clone();
    world.reboot(newcomer, store, Continuity::Unknown);
    world.put(newcomer, id, "row", "written in a crowd");
    world.link(newcomer, other);
    world.run(60_000);
    assert_eq!(world.text(other, id, "row").as_deref(), Some("written in a crowd"));
}

#[test]
fn a_row_that_builds_on_a_later_version_is_taken_by_nobody() {
    let (mut world, id) = World::together(3);
    world.put(2, id, "k0", "later");
    world.run(5_000);
    for seed in 0..8 {
        let made = world.forge(id, Forgery::LaterParent, seed);
        assert_eq!(world.taken(0, id, &made), (0, 0));
    }
    world.go_on(id);
}

/// What its removal had left of what a device wrote stays, whatever it signs and shows later.
#[test]
fn a_removed_device_cannot_show_that_it_had_forked_its_log() {
    let (mut world, id) = World::together(3);
    let made = world.forge_between((1, 0), id, Forgery::Forks, [1; 32]);
    world.run(10_000);
    assert_eq!(world.taken(2, id, &made), (made.len(), made.len()));
    world.eject(0, id, 1);
    let rows = world.rows(0, id);
    let other = world.forge_between((1, 0), id, Forgery::Forks, [2; 32]);
    assert_eq!(made[0].version, other[0].version);
    world.run(60_000);
    for at in [0, 2] {
        let is_fork = |notice: &&Notice| matches!(notice, Notice::Forked { .. });
        assert_eq!(world.nodes[at].notices.iter().find(is_fork), None, "at {at}");
        assert_eq!(world.rows(at, id), rows, "at {at}");
    }
    world.assert_same_at(id, &[0, 2]);
}

/// What the device forks is proven by whoever is offered the other branch, and a proof that is none is blamed on whoever
/// brings it.
#[test]
fn a_member_that_forks_its_log_is_found_out_and_one_that_says_so_of_others_is_blamed() {
    let (mut world, id) = World::together(3);
    let made = world.forge_between((1, 0), id, Forgery::Forks, [1; 32]);
    world.run(10_000);
    assert_eq!(world.taken(2, id, &made), (made.len(), made.len()));
    let other = world.forge_between((1, 0), id, Forgery::Forks, [2; 32]);
    assert_eq!(made[0].version, other[0].version);
    world.run(10_000);
    for at in [0, 2] {
        let forked = world.nodes[at].notices.iter().filter_map(|notice| match notice {
            Notice::Forked { author, last, .. } => Some((*author, *last)),
            _ => None,
        });
        assert_eq!(forked.collect::<Vec<_>>(), [(made[0].version.author, 1)], "at {at}");
    }
    world.run(60_000);
    world.go_on(id);
    assert_eq!(world.closed, []);
    let (near, (_, far, _)) =
        world.links.iter().find(|(_, it)| (it.0, it.2) == (1, 0)).map(|(a, b)| (*a, *b)).unwrap();
    let node = &world.nodes[1];
    let stage = Stage {
        core: &node.core,
        view: &node.store,
        link: near,
        peer: world.device(0),
        syncgroup: id,
        collection: world.collection(1, id).id,
        wall: world.now.wall,
        stolen: None,
        seed: [3; 32],
    };
    let frames = hostile::lie(&stage, hostile::Lie::Forked).unwrap();
    world.frames.extend(frames.into_iter().map(|frame| (0, far, frame)));
    world.run(1_000);
    assert!(world.closed.contains(&CloseReason::BadRun), "{:?}", world.closed);
}
