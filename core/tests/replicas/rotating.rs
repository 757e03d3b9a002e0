//! Devices that take another key, and thieves of the one before (S-1).

use driftless::verify::Problem;

use super::*;

mod words;

/// What a device has as its `n`th key.
fn secret(at: usize, n: u8) -> SecretKey {
    let mut bytes = [n + 100; 32];
    bytes[0] = at as u8 + 1;
    SecretKey(bytes)
}

impl World {
    /// The next key of a device, as its driver would keep it first.
    fn next_key(&self, at: usize, n: u8) -> NewKey {
        let node = &self.nodes[at];
        let chain = node.core.keys().rolled_over(&node.secret, &secret(at, n), &Ed25519).unwrap();
        NewKey { secret: secret(at, n), chain }
    }

    fn keep_key(&mut self, at: usize, new: &NewKey) {
        self.nodes[at].secret = new.secret.clone();
        self.nodes[at].chain = Some(new.chain.clone());
    }

    fn rotate(&mut self, at: usize, n: u8) {
        let new = self.next_key(at, n);
        self.keep_key(at, &new);
        let outcome = self.command(at, Command::RotateKey(Box::new(new.clone())));
        assert_eq!(outcome, Ok(Outcome::KeyRotated(new.chain)));
    }

    /// Somebody else who has a device's secret and a copy of its disk.
    fn thief_of(&mut self, at: usize) -> usize {
        let thief = self.nodes.len();
        self.arrive();
        self.nodes[thief].secret = self.nodes[at].secret.clone();
        self.nodes[thief].chain = self.nodes[at].chain.clone();
        let store = self.nodes[at].store.clone();
        self.reboot(thief, store, Continuity::Unknown);
        self.nodes[thief].notices.clear();
        thief
    }

    fn unlink_all(&mut self, at: usize) {
        self.links_of(at).into_iter().for_each(|link| self.unlink(link));
    }

    fn member_of(&self, at: usize, id: SyncgroupId, whom: usize) -> Member {
        let device = self.nodes[whom].core.public_key().device();
        let members = self.nodes[at].core.members(&id).unwrap();
        members.into_iter().find(|member| member.device == device).unwrap()
    }

    fn heard(&self, at: usize, is_it: impl Fn(&Notice) -> bool) -> usize {
        self.nodes[at].notices.iter().filter(|notice| is_it(notice)).count()
    }

    /// The same, among some.
    fn assert_same_among(&self, id: SyncgroupId, among: &[usize]) {
        for at in among {
            let first = &self.nodes[among[0]].core;
            assert_eq!(self.nodes[*at].core.held(&id), first.held(&id), "held by {at}");
            assert_eq!(self.rows(*at, id), self.rows(among[0], id), "rows of {at}");
            assert_eq!(self.nodes[*at].core.visible_digest(&id), first.visible_digest(&id), "digest of {at}");
        }
    }

    fn problems_of(&self, at: usize) -> Vec<Problem> {
        let node = &self.nodes[at];
        self.verify(at, &node.store).into_iter().flat_map(|verified| verified.problems).collect()
    }
}

fn is_ended(notice: &Notice) -> bool {
    matches!(notice, Notice::KeyEnded { .. })
}

#[test]
fn a_device_keeps_its_id_and_what_it_wrote_when_it_takes_another_key() {
    let (mut world, id) = World::together(3);
    world.put(1, id, "before", "kept");
    world.run(10_000);
    let (device, author) = (world.nodes[1].core.public_key().device(), world.nodes[1].core.author());
    for n in 1..=3 {
        world.rotate(1, n);
        assert!(world.links_of(1).is_empty(), "links by the key before are closed");
        assert_eq!(world.nodes[1].core.public_key().device(), device);
        assert_ne!(world.nodes[1].core.author(), author, "one log is of one key");
        world.link(0, 1);
        world.link(1, 2);
        world.put(1, id, "after", &format!("key {n}"));
        world.run(60_000);
        world.assert_same(id);
        assert_eq!(world.text(2, id, "after"), Some(format!("key {n}")));
        assert_eq!(world.text(2, id, "before").as_deref(), Some("kept"));
        assert_eq!(world.member_of(0, id, 1).rollovers, usize::from(n));
    }
    assert_eq!(world.heard(2, |it| matches!(it, Notice::KeyRotated { .. })), 3);
    assert_eq!(world.heard(1, |it| matches!(it, Notice::KeyRotated { .. })), 0, "it knows that itself");
    (0..3).for_each(|at| assert_eq!(world.problems_of(at), [], "store of {at}"));
    // Rows that are written at once are of the new key, wherever it had nothing to say before.
    let new = world.create(1, "more");
    assert!(world.nodes[1].core.held(&new).is_some());
    assert_eq!(world.problems_of(1), []);
}

#[test]
fn a_thief_of_the_old_key_is_told_that_it_has_ended_and_gets_nothing() {
    let (mut world, id) = World::together(3);
    let thief = world.thief_of(1);
    world.rotate(1, 1);
    world.link(0, 1);
    world.run(10_000);
    world.put(0, id, "secret", "for members");
    world.put(thief, id, "forged", "by a thief");
    let before = world.nodes[0].core.held(&id);
    world.link(0, thief);
    world.run(60_000);
    assert_eq!(world.nodes[0].core.held(&id), before, "nothing of it is taken");
    assert_eq!(world.text(thief, id, "secret"), None);
    assert!(world.closed.contains(&CloseReason::KeyEnded));
    let current = world.nodes[1].core.keys().current();
    assert_eq!(
        world.nodes[thief].notices.iter().filter(|it| is_ended(it)).collect::<Vec<_>>(),
        [&Notice::KeyEnded { current, replaces: true }]
    );
    assert_eq!(world.nodes[thief].core.status().key_ended, Some(current));
}

#[test]
fn what_a_thief_wrote_before_that_was_known_is_void_everywhere_in_any_order() {
    for first in [0, 2] {
        let (mut world, id) = World::together(4);
        world.put(1, id, "row", "by its owner");
        world.run(20_000);
        let thief = world.thief_of(1);
        (0..4).for_each(|at| world.unlink_all(at));
        world.put(thief, id, "row", "by a thief");
        world.put(thief, id, "other", "by a thief");
        world.rotate(1, 1);
        world.put(1, id, "mine", "by its owner");
        // One half hears of the thief first, the other of the owner.
        world.link(first, thief);
        world.link(2 - first, 1);
        world.run(20_000);
        assert_eq!(world.text(first, id, "row").as_deref(), Some("by a thief"));
        world.unlink_all(thief);
        world.link(0, 2);
        world.link(2, 3);
        world.link(1, 3);
        world.run(120_000);
        let honest = [0, 1, 2, 3];
        world.assert_same_among(id, &honest);
        assert_eq!(world.text(3, id, "row").as_deref(), Some("by its owner"));
        assert_eq!(world.text(3, id, "other"), None);
        assert_eq!(world.text(3, id, "mine").as_deref(), Some("by its owner"));
        assert!(!world.member_of(3, id, 1).disputed);
        honest.into_iter().for_each(|at| assert_eq!(world.problems_of(at), [], "store of {at}"));
    }
}

#[test]
fn a_thief_neither_leaves_nor_admits_nor_cuts_in_the_name_of_a_device_that_has_another_key() {
    let (mut world, id) = World::together(3);
    let device = world.nodes[1].core.public_key().device();
    let raise = Command::SetRights { syncgroup: id, device, rights: Rights::Admin, ends: None };
    world.command(0, raise).unwrap();
    world.run(20_000);
    let thief = world.thief_of(1);
    (0..3).for_each(|at| world.unlink_all(at));
    // It lets in a friend, and then leaves.
    world.arrive();
    let friend = world.nodes.len() - 1;
    let invitation = world.invite(thief, id, Rights::Write);
    world.ask_to_join(friend, invitation).unwrap();
    world.link(thief, friend);
    world.run(20_000);
    world.put(friend, id, "friend", "of a thief");
    world.run(20_000);
    world.command(thief, Command::Leave { syncgroup: id }).unwrap();
    world.rotate(1, 1);
    world.link(0, friend);
    world.link(thief, 2);
    world.run(20_000);
    assert_eq!(world.member_of(2, id, 1).rights, None, "nobody knows better yet");
    world.unlink_all(thief);
    world.link(0, 1);
    world.link(1, 2);
    world.link(0, 2);
    world.run(120_000);
    world.assert_same_among(id, &[0, 1, 2]);
    assert_eq!(world.text(0, id, "friend"), None);
    assert_eq!(world.member_of(0, id, friend).rights, None);
    assert_eq!(world.member_of(2, id, 1).rights, Some(Rights::Admin));
    world.put(1, id, "row", "still here");
    world.run(20_000);
    assert_eq!(world.text(2, id, "row").as_deref(), Some("still here"));
}

#[test]
fn a_boot_with_a_key_that_the_store_does_not_know_yet_goes_on_with_it() {
    let (mut world, id) = World::together(2);
    world.put(1, id, "row", "before");
    world.run(20_000);
    world.unlink_all(1);
    // Nobody has this one but its own disk.
    world.put(1, id, "late", "before");
    let new = world.next_key(1, 1);
    world.keep_key(1, &new);
    // The machine stopped before the command was given.
    let (store, author) = (world.nodes[1].store.clone(), world.nodes[1].core.author());
    world.reboot(1, store, Continuity::Shown);
    assert_ne!(world.nodes[1].core.author(), author);
    world.run(1_000);
    world.link(0, 1);
    world.run(60_000);
    world.assert_same(id);
    assert_eq!(world.text(0, id, "late").as_deref(), Some("before"), "the new key signs for the old log");
    assert_eq!(world.member_of(0, id, 1).rollovers, 1);
    // The same command again changes nothing.
    let author = world.nodes[1].core.author();
    let outcome = world.command(1, Command::RotateKey(Box::new(new.clone())));
    assert_eq!(outcome, Ok(Outcome::KeyRotated(new.chain)));
    assert_eq!(world.nodes[1].core.author(), author);
}

#[test]
fn a_store_refuses_a_key_that_has_ended_and_one_that_its_device_never_took() {
    let mut world = World::new(1);
    let store = world.nodes[0].store.clone();
    let old = world.nodes[0].secret.clone();
    let rival = world.next_key(0, 2);
    world.rotate(0, 1);
    let boot = |secret: &SecretKey, chain: Option<KeyChain>, store: &MemStore| {
        let identity = Identity { chain, secret: secret.clone(), continuity: Continuity::Shown };
        Core::boot(&world.nodes[0].config, &identity, [0; 32], store, &mut Outbox::new()).err()
    };
    let now = &world.nodes[0].store;
    assert_eq!(boot(&old, None, now), Some(BootError::FormerKey { key: 0, store: 1 }));
    assert_eq!(boot(&rival.secret, Some(rival.chain.clone()), now), Some(BootError::OtherKey));
    assert_eq!(boot(&rival.secret, Some(rival.chain.clone()), &store), None, "an older store takes it");
    assert_eq!(boot(&old, Some(rival.chain), &store), Some(BootError::BrokenChain));
    let chain = world.nodes[0].chain.clone();
    assert_eq!(boot(&world.nodes[0].secret, chain, now), None);
}

#[test]
fn a_key_that_the_present_one_did_not_sign_for_is_refused_and_changes_nothing() {
    let (mut world, id) = World::together(2);
    let stranger = KeyChain::from(Ed25519.public(&SecretKey([77; 32])));
    let theirs = stranger.rolled_over(&SecretKey([77; 32]), &SecretKey([78; 32]), &Ed25519).unwrap();
    let mine = world.next_key(1, 1);
    let author = world.nodes[1].core.author();
    for new in [
        NewKey { secret: SecretKey([78; 32]), chain: theirs },
        NewKey { secret: SecretKey([79; 32]), chain: mine.chain },
    ] {
        let outcome = world.command(1, Command::RotateKey(Box::new(new)));
        assert_eq!(outcome, Err(Refusal::Key));
    }
    assert_eq!(world.nodes[1].core.author(), author);
    world.put(1, id, "row", "as before");
    world.run(10_000);
    world.assert_same(id);
}

#[test]
fn a_copy_from_before_learns_that_its_key_has_ended_and_goes_on_with_the_new_one() {
    let (mut world, id) = World::together(3);
    world.put(1, id, "row", "first");
    world.run(20_000);
    let (old, backup) = (world.nodes[1].secret.clone(), world.nodes[1].store.clone());
    world.rotate(1, 1);
    world.link(0, 1);
    world.run(20_000);
    world.put(1, id, "row", "second");
    world.run(20_000);
    // The disk is lost, and the backup has the key of its time.
    let newest = (world.nodes[1].secret.clone(), world.nodes[1].chain.clone());
    (world.nodes[1].secret, world.nodes[1].chain) = (old, None);
    world.reboot(1, backup, Continuity::Unknown);
    world.put(1, id, "meanwhile", "on the copy");
    world.nodes[1].notices.clear();
    world.link(0, 1);
    world.run(60_000);
    assert_eq!(world.heard(1, is_ended), 1);
    assert_eq!(world.text(1, id, "meanwhile").as_deref(), Some("on the copy"), "it works on by itself");
    assert_eq!(world.text(0, id, "meanwhile"), None);
    // Its owner finds the key.
    (world.nodes[1].secret, world.nodes[1].chain) = newest;
    let store = world.nodes[1].store.clone();
    world.reboot(1, store, Continuity::Shown);
    world.link(0, 1);
    world.link(1, 2);
    world.run(120_000);
    world.assert_same_among(id, &[0, 1, 2]);
    assert_eq!(
        world.text(2, id, "meanwhile").as_deref(),
        Some("on the copy"),
        "nothing that was written is lost"
    );
    assert_eq!(world.text(2, id, "row").as_deref(), Some("second"));
    assert_eq!(world.problems_of(1), []);
}

#[test]
fn of_two_keys_for_one_the_same_counts_everywhere_and_admins_are_told() {
    for first in [0, 2] {
        let (mut world, id) = World::together(4);
        world.put(1, id, "row", "before");
        world.run(20_000);
        let thief = world.thief_of(1);
        (0..4).for_each(|at| world.unlink_all(at));
        world.rotate(1, 1);
        world.put(1, id, "row", "by the owner");
        world.run(1_000);
        world.rotate(thief, 2);
        world.put(thief, id, "row", "by the thief");
        world.link(first, 1);
        world.link(2 - first, thief);
        world.run(20_000);
        world.link(0, 2);
        world.link(2, 3);
        world.run(120_000);
        world.assert_same_among(id, &[0, 2, 3]);
        assert_eq!(world.text(0, id, "row").as_deref(), Some("by the owner"), "it was the first to say so");
        for at in [0, 2, 3] {
            assert!(world.member_of(at, id, 1).disputed, "{at}");
            assert_eq!(world.heard(at, |it| matches!(it, Notice::KeysDisputed { .. })), 1, "{at}");
        }
        assert!(world.heard(thief, |it| matches!(it, Notice::KeyEnded { replaces: false, .. })) > 0);
        // An admin makes an end of it.
        let device = world.nodes[1].core.public_key().device();
        world.command(0, Command::Eject { syncgroup: id, device }).unwrap();
        world.run(60_000);
        world.assert_same_among(id, &[0, 2, 3]);
        assert_eq!(world.member_of(3, id, 1).rights, None);
        [0, 2, 3].into_iter().for_each(|at| assert_eq!(world.problems_of(at), [], "store of {at}"));
    }
}

#[test]
fn a_device_with_another_key_is_let_in_and_its_own_old_invitations_let_in_nobody() {
    let mut world = World::new(4);
    let id = world.create(0, "notes");
    world.rotate(1, 1);
    let old = world.invite(0, id, Rights::Write);
    let invitation = world.invite(0, id, Rights::Admin);
    world.link(0, 1);
    world.ask_to_join(1, invitation).unwrap();
    world.run(10_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    world.put(1, id, "row", "new here");
    world.run(20_000);
    world.assert_same_among(id, &[0, 1]);
    assert_eq!(world.member_of(0, id, 1).rollovers, 1, "it has said of which key it is");
    // Whoever has the key before could go on inviting by it.
    world.rotate(0, 1);
    world.link(0, 2);
    world.ask_to_join(2, old).unwrap();
    world.run(10_000);
    assert_eq!(world.state(2, id), SyncgroupState::Refused(JoinRefusal::NotValid));
    let new = world.invite(0, id, Rights::Write);
    world.link(0, 3);
    world.ask_to_join(3, new).unwrap();
    world.run(10_000);
    assert_eq!(world.state(3, id), SyncgroupState::Active);
}

#[test]
fn a_store_that_was_set_back_behind_its_key_loses_nothing_that_others_have() {
    let (mut world, id) = World::together(3);
    let early = world.nodes[1].store.clone();
    world.put(1, id, "first", "by the first key");
    world.run(20_000);
    world.rotate(1, 1);
    world.link(0, 1);
    world.put(1, id, "second", "by the second key");
    world.run(20_000);
    // The key was kept elsewhere. The store knows nothing of what it wrote by either.
    world.reboot(1, early, Continuity::Unknown);
    world.put(1, id, "third", "after that");
    world.link(0, 1);
    world.link(1, 2);
    world.run(120_000);
    world.assert_same_among(id, &[0, 1, 2]);
    for (key, value) in
        [("first", "by the first key"), ("second", "by the second key"), ("third", "after that")]
    {
        assert_eq!(world.text(2, id, key).as_deref(), Some(value));
    }
}

/// What its disk had lost ends with the key, and so do memberships that were given by it: whoever had one hears of that.
#[test]
fn whoever_was_let_in_by_what_a_disk_has_lost_hears_that_its_key_has_ended() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    world.run(1_000);
    let early = world.nodes[0].store.clone();
    let invitation = world.invite(0, id, Rights::Write);
    world.link(0, 1);
    world.ask_to_join(1, invitation).unwrap();
    world.run(20_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    world.reboot(0, early, Continuity::Shown);
    world.rotate(0, 1);
    world.link(0, 1);
    world.run(120_000);
    assert_eq!(world.member_of(0, id, 1).rights, None);
    assert_eq!(world.state(1, id), SyncgroupState::Removed);
    // It can be let in anew.
    let invitation = world.invite(0, id, Rights::Write);
    world.ask_to_join(1, invitation).unwrap();
    world.run(60_000);
    assert_eq!(world.state(1, id), SyncgroupState::Active);
    world.put(1, id, "row", "here again");
    world.run(20_000);
    world.assert_same(id);
}

/// How often a device has written something again of a branch.
fn written_again(world: &World, at: usize) -> usize {
    let batches = world.nodes[at].notices.iter().filter_map(|notice| match notice {
        Notice::WrittenAgain { batches, .. } => Some(*batches),
        _ => None,
    });
    batches.sum()
}

/// Branches of the log of a device that has had another key, each at one member.
fn branches_at(world: &mut World, id: SyncgroupId, backup: MemStore) {
    for (at, keys, store) in [(0, &["a", "aa"][..], None), (2, &["b"][..], Some(backup))] {
        if let Some(store) = store {
            world.reboot(1, store, Continuity::Shown);
        }
        keys.iter().for_each(|key| world.put(1, id, key, "of one branch"));
        let link = world.link(at, 1);
        world.run(20_000);
        assert_eq!(world.text(at, id, keys[0]).as_deref(), Some("of one branch"));
        world.unlink(link);
    }
}

#[test]
fn a_device_with_another_key_writes_again_what_it_wrote_where_its_log_is_forked() {
    // Behind its word on its key, and before that.
    for begins in [true, false] {
        let (mut world, id) = World::together(3);
        world.put(1, id, "before", "by the first key");
        world.run(20_000);
        (0..3).for_each(|at| world.unlink_all(at));
        let backup = |world: &World| world.nodes[1].store.clone();
        let mut early = None;
        if begins {
            world.rotate(1, 1);
            world.put(1, id, "common", "to both branches");
        } else {
            // The boot takes the key, and says so only at its first tick.
            let new = world.next_key(1, 1);
            world.keep_key(1, &new);
            let store = backup(&world);
            world.reboot(1, store, Continuity::Shown);
            early = Some(backup(&world));
            world.run(1_000);
        }
        let early = early.unwrap_or_else(|| backup(&world));
        branches_at(&mut world, id, early);
        world.link(0, 2);
        world.run(60_000);
        world.link(0, 1);
        world.link(1, 2);
        world.run(120_000);
        world.assert_same(id);
        for key in ["before", "a", "aa", "b"] {
            assert!(world.text(2, id, key).is_some(), "{key} {begins}");
        }
        assert_eq!(written_again(&world, 1), 3);
        world.put(1, id, "later", "as another author");
        world.run(20_000);
        world.assert_same(id);
        assert_eq!(world.member_of(0, id, 1).rollovers, 1);
        assert!(!world.member_of(0, id, 1).disputed);
        (0..3).for_each(|at| assert_eq!(world.problems_of(at), [], "store of {at}"));
        assert_eq!(world.closed, []);
    }
}

#[test]
fn a_backup_from_before_another_key_loses_nothing_of_what_was_written_by_either() {
    for continuity in [Continuity::Shown, Continuity::Unknown] {
        let (mut world, id) = World::together(3);
        world.schema(0, id, &[("n/", Policy::Merge(Merge::Counter))]);
        world.put(1, id, "common", "to both branches");
        world.run(20_000);
        let (old, backup) = (world.nodes[1].secret.clone(), world.nodes[1].store.clone());
        world.put(1, id, "by the first key", "kept");
        world.operate(1, id, "n/a", Operation::Add(1));
        world.run(20_000);
        world.rotate(1, 1);
        world.link(0, 1);
        world.put(1, id, "by the second key", "kept");
        world.operate(1, id, "n/a", Operation::Add(10));
        world.run(20_000);
        // The disk is lost, and the backup has the key of its time.
        let newest = (world.nodes[1].secret.clone(), world.nodes[1].chain.clone());
        world.unlink_all(1);
        (world.nodes[1].secret, world.nodes[1].chain) = (old, None);
        world.reboot(1, backup, continuity);
        world.put(1, id, "on the copy", "kept");
        world.operate(1, id, "n/a", Operation::Add(100));
        world.link(0, 1);
        world.run(20_000);
        assert_eq!(world.text(0, id, "on the copy"), None, "nobody takes anything from the key before");
        (world.nodes[1].secret, world.nodes[1].chain) = newest;
        let store = world.nodes[1].store.clone();
        world.reboot(1, store, Continuity::Shown);
        world.link(0, 1);
        world.link(1, 2);
        world.run(180_000);
        world.assert_same(id);
        for key in ["common", "by the first key", "by the second key", "on the copy"] {
            assert!(world.text(2, id, key).is_some(), "{key} {continuity:?}");
        }
        assert_eq!(world.text(2, id, "n/a").as_deref(), Some("111"), "each counts once, {continuity:?}");
        (0..3).for_each(|at| assert_eq!(world.problems_of(at), [], "store of {at}"));
        let frames = world.sent;
        world.run(3_600_000);
        assert_eq!(world.sent, frames, "they have come to rest");
    }
}

#[test]
fn a_thief_who_forks_a_log_of_the_key_before_has_nothing_written_again_in_its_place() {
    let (mut world, id) = World::together(4);
    world.put(1, id, "common", "to both branches");
    world.run(20_000);
    (0..4).for_each(|at| world.unlink_all(at));
    let thief = world.nodes.len();
    world.arrive();
    world.nodes[thief].secret = world.nodes[1].secret.clone();
    let store = world.nodes[1].store.clone();
    world.reboot(thief, store, Continuity::Shown);
    world.put(1, id, "mine", "by its owner");
    world.put(1, id, "mine too", "by its owner");
    world.rotate(1, 1);
    // Under the same name, and within what stays of it.
    world.put(thief, id, "forged", "by a thief");
    world.link(thief, 0);
    world.link(1, 2);
    world.run(20_000);
    assert_eq!(world.text(0, id, "forged").as_deref(), Some("by a thief"), "it does not know better yet");
    world.unlink_all(thief);
    world.link(0, 3);
    world.link(0, 2);
    world.link(1, 0);
    world.run(180_000);
    world.assert_same_among(id, &[0, 1, 2, 3]);
    for at in [0, 1, 3] {
        assert_eq!(world.text(at, id, "forged"), None, "{at}");
        assert_eq!(world.text(at, id, "mine").as_deref(), Some("by its owner"), "{at}");
        assert_eq!(world.text(at, id, "mine too").as_deref(), Some("by its owner"), "{at}");
    }
    (0..4).for_each(|at| assert_eq!(world.problems_of(at), [], "store of {at}"));
    let frames = world.sent;
    world.run(3_600_000);
    assert_eq!(world.sent, frames, "they have come to rest");
}

#[test]
fn what_lay_ahead_of_the_clock_is_written_again_by_the_key_that_the_device_has_by_then() {
    let (mut world, id) = World::together(3);
    world.put(1, id, "before", "in time");
    world.run(20_000);
    world.ahead(Millis(365 * 24 * 3_600_000), |world| {
        world.put(1, id, "by the first key", "ahead");
        world.rotate(1, 1);
        world.put(1, id, "by the second key", "ahead");
    });
    world.link(0, 1);
    world.run(20_000);
    assert_eq!(world.text(0, id, "by the first key"), None, "it is mute");
    world.command(1, Command::Reissue).unwrap();
    world.link(1, 2);
    world.run(60_000);
    world.assert_same(id);
    for key in ["before", "by the first key", "by the second key"] {
        assert!(world.text(2, id, key).is_some(), "{key}");
    }
    assert_eq!(world.member_of(0, id, 1).rollovers, 1, "that it has another key is not forgotten");
    (0..3).for_each(|at| assert_eq!(world.problems_of(at), [], "store of {at}"));
}
