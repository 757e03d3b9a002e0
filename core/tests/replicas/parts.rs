//! Batches over several syncgroups are seen whole (S-28).

use driftless::read::{Changes, Update};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

mod ended;

const WRITER: usize = 0;
/// Who has one syncgroup only, and passes it on.
const RELAYS: [usize; 2] = [1, 2];
const READER: usize = 3;

/// A writer and a reader of two syncgroups who are never linked, and a relay for each: so the parts of a batch
/// arrive when the test says.
struct Apart {
    world: World,
    groups: [SyncgroupId; 2],
}

impl std::ops::Deref for Apart {
    type Target = World;
    fn deref(&self) -> &World {
        &self.world
    }
}

impl std::ops::DerefMut for Apart {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Apart {
    fn new() -> Self {
        Self::with(4)
    }

    fn with(nodes: usize) -> Self {
        let mut world = World::new(nodes);
        let groups = [world.create(WRITER, "notes"), world.create(WRITER, "notes")];
        for (group, relay) in groups.into_iter().zip(RELAYS) {
            world.admit(group, relay, Rights::Admin);
            world.admit(group, READER, Rights::Write);
        }
        let mut apart = Self { world, groups };
        for at in 0..2 {
            apart.pass(at);
        }
        apart
    }

    /// Takes what there is of one syncgroup to its relay, and from there to the reader.
    fn pass(&mut self, at: usize) {
        for (from, to) in [(WRITER, RELAYS[at]), (RELAYS[at], READER)] {
            let link = self.world.link(from, to);
            self.world.run(3_000);
            self.world.unlink(link);
        }
    }

    fn write(&mut self, key: &str) -> Vec<Written> {
        let groups = self.groups;
        self.world.write_all(&groups, key)
    }

    /// Whether the reader sees a key in each syncgroup.
    fn sees(&self, key: &str) -> [bool; 2] {
        self.groups.map(|group| self.world.text(READER, group, key).is_some())
    }

    fn splits(&self) -> Vec<Notice> {
        let splits = |notice: &&Notice| matches!(notice, Notice::BatchSplit { .. });
        self.world.nodes[READER].notices.iter().filter(splits).cloned().collect()
    }

    fn waiting(&self) -> [u64; 2] {
        self.groups.map(|group| self.world.info(READER, group).waiting)
    }

    /// In the end everybody agrees, and nobody ever was alarmed.
    fn assert_settled(&mut self) {
        for relay in RELAYS {
            self.world.link(WRITER, relay);
            self.world.link(relay, READER);
        }
        self.world.run(180_000);
        for (group, relay) in self.groups.into_iter().zip(RELAYS) {
            for at in [relay, READER] {
                let (one, two) = (&self.world.nodes[WRITER].core, &self.world.nodes[at].core);
                assert_eq!(one.held(&group), two.held(&group), "held by {at}");
                assert_eq!(one.knowledge(&group), two.knowledge(&group), "shown at {at}");
                assert_eq!(one.visible_digest(&group), two.visible_digest(&group), "digest of {at}");
                assert_eq!(self.world.rows(WRITER, group), self.world.rows(at, group), "rows of {at}");
            }
        }
        let alarms = |notice: &Notice| matches!(notice, Notice::Diverged { .. } | Notice::PeerFault { .. });
        assert!(self.world.nodes.iter().all(|node| !node.notices.iter().any(alarms)));
        assert_eq!(self.waiting(), [0, 0]);
    }
}

impl World {
    /// The writer admits somebody, over a link that ends with it.
    fn admit(&mut self, group: SyncgroupId, at: usize, rights: Rights) {
        let invitation = self.invite(WRITER, group, rights);
        self.ask_to_join(at, invitation).unwrap();
        let link = self.link(WRITER, at);
        self.run(5_000);
        assert_eq!(self.state(at, group), SyncgroupState::Active);
        self.unlink(link);
    }

    /// The writer puts one row of the same key into each of these syncgroups.
    fn write_all(&mut self, groups: &[SyncgroupId], key: &str) -> Vec<Written> {
        let rows = groups.iter().map(|group| self.row(*group, key)).collect::<Vec<_>>();
        let batch = rows.into_iter().fold(LocalWrite::new(), |batch, row| batch.put(row, "v"));
        match self.command(WRITER, Command::Write(batch)) {
            Ok(Outcome::Written(parts)) => parts,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn parts_that_come_from_different_peers_are_shown_together_whichever_comes_first() {
    for first in [0, 1] {
        let mut apart = Apart::new();
        let parts = apart.write("batch");
        apart.pass(first);
        assert_eq!(apart.sees("batch"), [false; 2], "it waits");
        assert_eq!(apart.waiting()[first], 1);
        let group = apart.groups[first];
        let (held, shown) =
            (apart.nodes[READER].core.held(&group), apart.nodes[READER].core.knowledge(&group));
        let part = parts.iter().find(|part| part.syncgroup == group).unwrap();
        assert_eq!(held.unwrap()[&part.version.author], part.version.generation);
        assert_eq!(shown.unwrap()[&part.version.author], part.version.generation - 1);
        apart.pass(1 - first);
        assert_eq!(apart.sees("batch"), [true; 2]);
        assert_eq!(apart.splits(), []);
        apart.assert_settled();
    }
}

#[test]
fn what_waits_is_passed_on() {
    let mut apart = Apart::with(5);
    let group = apart.groups[0];
    apart.admit(group, 4, Rights::Read);
    apart.write("batch");
    apart.pass(0);
    assert_eq!(apart.sees("batch"), [false; 2]);
    apart.link(READER, 4);
    apart.run(3_000);
    assert_eq!(
        apart.text(4, group, "batch").as_deref(),
        Some("v"),
        "it reads one of the two, and waits for nothing"
    );
    assert_eq!(apart.sees("batch"), [false; 2]);
    apart.pass(1);
    apart.assert_settled();
}

#[test]
fn what_builds_on_a_part_waits_with_it() {
    let mut apart = Apart::new();
    let [one, two] = apart.groups;
    apart.write("batch");
    apart.put(WRITER, one, "by the same", "v");
    let link = apart.link(WRITER, RELAYS[0]);
    apart.run(3_000);
    apart.unlink(link);
    apart.put(RELAYS[0], one, "by another who saw it", "v");
    apart.put(RELAYS[1], two, "by one who did not", "v");
    apart.pass(0);
    assert_eq!(apart.rows(READER, one).len(), 0, "no effect without its cause");
    assert_eq!(apart.waiting(), [3, 0]);
    let link = apart.link(RELAYS[1], READER);
    apart.run(3_000);
    apart.unlink(link);
    assert!(
        apart.text(READER, two, "by one who did not").is_some(),
        "what does not build on it is shown at once"
    );
    apart.pass(1);
    assert_eq!(apart.rows(READER, one).len(), 3);
    assert_eq!(apart.sees("batch"), [true; 2]);
    apart.assert_settled();
}

#[test]
fn batches_that_follow_each_other_are_shown_in_one_commit() {
    let mut apart = Apart::new();
    let keys = ["first", "second", "third"];
    keys.iter().for_each(|key| drop(apart.write(key)));
    apart.pass(0);
    assert_eq!(apart.waiting(), [3, 0]);
    let before = apart.nodes[READER].core.last_commit();
    apart.pass(1);
    assert_eq!(apart.nodes[READER].core.last_commit().0, before.0 + 1);
    assert!(keys.iter().all(|key| apart.sees(key) == [true; 2]));
    apart.assert_settled();
}

#[test]
fn a_watch_tells_of_the_parts_as_one_batch() {
    let mut apart = Apart::new();
    let watched = apart.groups.map(|group| (apart.collection(READER, group), Bytes::new()));
    let mut changes = Changes::new(watched.to_vec());
    while changes.next(&apart.nodes[READER].store, 100).unwrap().is_some() {}
    apart.write("batch");
    let group = apart.groups[0];
    apart.put(WRITER, group, "after", "v");
    apart.pass(0);
    assert_eq!(changes.next(&apart.nodes[READER].store, 100).unwrap(), None);
    apart.pass(1);
    let mut told = Vec::new();
    while let Some(update) = changes.next(&apart.nodes[READER].store, 100).unwrap() {
        let Update::Batch { rows, local: false, .. } = update else { panic!("{update:?}") };
        told.push(rows.iter().map(|row| (row.syncgroup, row.key.clone())).collect::<Vec<_>>());
    }
    let [mut batch, after] = told.try_into().unwrap();
    batch.sort();
    let mut expected = apart.groups.map(|group| (group, Bytes::from("batch")));
    expected.sort();
    assert_eq!(batch, expected);
    assert_eq!(after, [(apart.groups[0], Bytes::from("after"))]);
}

#[test]
fn what_this_device_writes_does_not_build_on_what_waits() {
    let mut apart = Apart::new();
    let [one, _] = apart.groups;
    apart.write("batch");
    apart.pass(0);
    apart.put(READER, one, "batch", "mine");
    assert_eq!(apart.text(READER, one, "batch").as_deref(), Some("mine"));
    let link = apart.link(RELAYS[0], READER);
    apart.run(3_000);
    apart.unlink(link);
    assert_eq!(apart.heads(RELAYS[0], one, "batch").len(), 2, "neither knew of the other");
    apart.pass(1);
    assert_eq!(apart.heads(READER, one, "batch").len(), 2);
    apart.assert_settled();
}

#[test]
fn a_syncgroup_that_is_not_read_is_not_waited_for() {
    let mut apart = Apart::new();
    let third = apart.create(WRITER, "notes");
    let all = [apart.groups[0], third, apart.groups[1]];
    apart.write_all(&all, "batch");
    apart.pass(0);
    assert_eq!(apart.sees("batch"), [false; 2]);
    apart.pass(1);
    assert_eq!(apart.sees("batch"), [true; 2]);
    apart.write_all(&all[..2], "another");
    apart.pass(0);
    assert_eq!(apart.sees("another"), [true, false], "nothing of it is anywhere else that this device reads");
    assert_eq!(apart.splits(), []);
    apart.assert_settled();
}

#[test]
fn a_part_is_not_waited_for_longer_than_the_bound() {
    let mut apart = Apart::new();
    let [one, two] = apart.groups;
    let parts = apart.write("batch");
    apart.put(WRITER, one, "after", "v");
    apart.pass(0);
    apart.run(50_000);
    assert_eq!(apart.rows(READER, one), []);
    apart.run(10_000);
    assert_eq!(apart.sees("batch"), [true, false]);
    assert!(apart.text(READER, one, "after").is_some());
    let version = parts.iter().find(|part| part.syncgroup == one).unwrap().version;
    let told = Notice::BatchSplit { syncgroup: one, version, missing: vec![two], why: Split::Time };
    assert_eq!(apart.splits(), [told]);
    apart.pass(1);
    assert_eq!(apart.sees("batch"), [true; 2], "what comes late is shown at once");
    assert_eq!(apart.splits().len(), 1);
    apart.assert_settled();
}

#[test]
fn what_is_not_all_here_is_told_until_it_is_and_after_a_restart_too() {
    let mut apart = Apart::new();
    let [one, two] = apart.groups;
    let incomplete = |apart: &Apart| apart.nodes[READER].core.status().incomplete;
    let began = apart.now.wall;
    let parts = apart.write("batch");
    apart.pass(0);
    let version = parts.iter().find(|part| part.syncgroup == one).unwrap().version;
    let told = incomplete(&apart);
    let [waits] = &told[..] else { panic!("{told:?}") };
    let (missing, since) = (vec![two], waits.since);
    assert_eq!(*waits, IncompleteBatch { syncgroup: one, version, missing, since, shown: None });
    assert!(began <= since && since <= apart.now.wall);
    let reboot = |apart: &mut Apart| {
        let store = apart.nodes[READER].store.clone();
        apart.reboot(READER, store, Continuity::Shown);
        apart.run(1);
    };
    reboot(&mut apart);
    assert_eq!(incomplete(&apart), told);
    apart.run(60_000);
    assert_eq!(apart.sees("batch"), [true, false]);
    let split = vec![IncompleteBatch { shown: Some(Split::Time), ..waits.clone() }];
    assert_eq!(incomplete(&apart), split);
    reboot(&mut apart);
    assert_eq!(incomplete(&apart), split);
    apart.pass(1);
    assert_eq!(apart.sees("batch"), [true; 2]);
    assert_eq!(incomplete(&apart), []);
    reboot(&mut apart);
    assert_eq!(incomplete(&apart), []);
    // Of very many the last ones are remembered.
    for n in 0..200 {
        apart.write(&format!("batch {n:03}"));
    }
    apart.pass(0);
    apart.run(60_000);
    let told = incomplete(&apart);
    assert_eq!(told.len(), 64);
    let last = told.iter().map(|batch| batch.version.generation).max();
    assert_eq!(last, Some(version.generation + 200));
}

#[test]
fn of_more_than_may_wait_the_oldest_are_shown_in_part() {
    let mut apart = Apart::new();
    apart.nodes[READER].config.limits.waiting = 10;
    let store = apart.nodes[READER].store.clone();
    apart.reboot(READER, store, Continuity::Shown);
    for n in 0..30 {
        apart.write(&format!("batch {n:02}"));
    }
    apart.pass(0);
    let shown = apart.rows(READER, apart.groups[0]).len();
    assert!((20..30).contains(&shown), "{shown} of 30 are shown");
    assert_eq!(apart.waiting(), [30 - shown as u64, 0]);
    assert!(apart.text(READER, apart.groups[0], "batch 00").is_some() && !apart.sees("batch 29")[0]);
    let is_number = |notice: &Notice| matches!(notice, Notice::BatchSplit { why: Split::Number, .. });
    assert_eq!(apart.splits().iter().filter(|notice| is_number(notice)).count(), shown);
    apart.pass(1);
    assert_eq!(apart.splits().len(), shown, "the others were whole");
    apart.assert_settled();

    let mut apart = Apart::new();
    apart.nodes[READER].config.limits.waiting_bytes = 0;
    let store = apart.nodes[READER].store.clone();
    apart.reboot(READER, store, Continuity::Shown);
    apart.write("batch");
    apart.pass(0);
    assert_eq!(apart.sees("batch"), [true, false]);
    apart.assert_settled();
}

#[test]
fn a_restart_neither_forgets_what_waits_nor_since_when() {
    let restart = |apart: &mut Apart| {
        let store = apart.nodes[READER].store.clone();
        apart.reboot(READER, store, Continuity::Shown);
    };
    let mut apart = Apart::new();
    let group = apart.groups[0];
    apart.write("batch");
    apart.put(WRITER, group, "after", "v");
    apart.pass(0);
    let knows =
        |apart: &Apart| (apart.nodes[READER].core.held(&group), apart.nodes[READER].core.knowledge(&group));
    let before = knows(&apart);
    restart(&mut apart);
    assert_eq!(knows(&apart), before);
    assert_eq!(apart.waiting(), [2, 0]);
    apart.pass(1);
    assert_eq!(apart.sees("batch"), [true; 2]);
    assert_eq!(apart.rows(READER, group).len(), 2);

    let mut apart = Apart::new();
    apart.write("batch");
    apart.pass(0);
    apart.run(30_000);
    restart(&mut apart);
    apart.run(20_000);
    assert_eq!(apart.sees("batch"), [false; 2]);
    apart.run(20_000);
    assert_eq!(apart.sees("batch"), [true, false], "it had waited before");
    apart.assert_settled();

    // A clock that was set back while the device was off.
    let mut apart = Apart::new();
    apart.write("batch");
    apart.pass(0);
    apart.now.wall = Wall(apart.now.wall.0 - 86_400_000);
    restart(&mut apart);
    apart.run(59_000);
    assert_eq!(apart.sees("batch"), [false; 2]);
    apart.run(2_000);
    assert_eq!(apart.sees("batch"), [true, false]);
}

#[test]
fn a_jump_of_the_wall_clock_changes_no_wait() {
    for jump in [-86_400_000_i64, 86_400_000] {
        let mut apart = Apart::new();
        apart.write("batch");
        apart.pass(0);
        apart.now.wall = Wall(apart.now.wall.0.saturating_add_signed(jump));
        apart.run(50_000);
        assert_eq!(apart.sees("batch"), [false; 2], "{jump}");
        apart.run(10_000);
        assert_eq!(apart.sees("batch"), [true, false], "{jump}");
    }
}

#[test]
fn whoever_leaves_a_syncgroup_does_not_wait_for_its_parts() {
    let mut apart = Apart::new();
    let [one, two] = apart.groups;
    apart.write("batch");
    apart.put(WRITER, one, "after", "v");
    apart.pass(0);
    apart.command(READER, Command::Leave { syncgroup: two }).unwrap();
    assert_eq!(apart.sees("batch"), [true, false]);
    assert!(apart.text(READER, one, "after").is_some());
    let why = |notice: &Notice| match notice {
        Notice::BatchSplit { syncgroup, missing, why, .. } => (*syncgroup, missing.clone(), *why),
        other => panic!("{other:?}"),
    };
    assert_eq!(apart.splits().iter().map(why).collect::<Vec<_>>(), [(one, vec![two], Split::Left)]);

    // What waits in the syncgroup that is left is shown there.
    let mut apart = Apart::new();
    apart.write("batch");
    apart.pass(0);
    let left = apart.groups[0];
    apart.command(READER, Command::Leave { syncgroup: left }).unwrap();
    assert_eq!(apart.sees("batch"), [true, false]);
    apart.pass(1);
    assert_eq!(apart.sees("batch"), [true; 2]);
}

#[test]
fn a_syncgroup_is_complete_when_all_of_it_is_shown() {
    // The reader is in one syncgroup, and gets the other from its relay, who has seen the batch.
    let mut world = World::new(4);
    let groups = [world.create(WRITER, "notes"), world.create(WRITER, "notes")];
    let [one, two] = groups;
    world.admit(one, RELAYS[0], Rights::Admin);
    world.admit(two, READER, Rights::Write);
    world.write_all(&groups, "batch");
    let link = world.link(WRITER, RELAYS[0]);
    world.run(3_000);
    world.unlink(link);
    let invitation = world.invite(RELAYS[0], one, Rights::Write);
    world.ask_to_join(READER, invitation).unwrap();
    let link = world.link(RELAYS[0], READER);
    world.run(5_000);
    assert_eq!(world.state(READER, one), SyncgroupState::Pending, "all is held, and not all is shown");
    let write = LocalWrite::new().put(world.row(one, "mine"), "v");
    assert_eq!(world.command(READER, Command::Write(write.clone())), Err(Refusal::Pending));
    world.unlink(link);
    world.link(WRITER, READER);
    world.run(3_000);
    assert_eq!(world.state(READER, one), SyncgroupState::Active);
    assert_eq!(world.text(READER, one, "batch").as_deref(), Some("v"));
    assert_eq!(world.text(READER, two, "batch").as_deref(), Some("v"));
    assert!(world.command(READER, Command::Write(write)).is_ok());
}

#[test]
fn parts_that_wait_are_also_looked_for_where_the_device_comes_to_read() {
    let mut apart = Apart::new();
    let third = apart.create(WRITER, "notes");
    let [one, two] = apart.groups;
    apart.write_all(&[one, two, third], "batch");
    apart.pass(0);
    // Admitted to the third while a part waits for the second; nothing of the third has come.
    let invitation = apart.invite(WRITER, third, Rights::Write);
    apart.ask_to_join(READER, invitation).unwrap();
    let link = apart.link(WRITER, READER);
    while apart.state(READER, third) == SyncgroupState::Joining {
        let Some((at, on, frame)) = apart.frames.pop_front() else { panic!("no answer") };
        apart.event(at, Event::Received { link: on, frame });
    }
    assert_eq!(apart.state(READER, third), SyncgroupState::Pending);
    apart.unlink(link);
    apart.pass(1);
    assert_eq!(apart.sees("batch"), [false; 2], "a part is missing in the third");
    apart.link(WRITER, READER);
    apart.run(3_000);
    assert_eq!(apart.sees("batch"), [true; 2]);
    assert_eq!(apart.text(READER, third, "batch").as_deref(), Some("v"));
    assert_eq!(apart.splits(), []);
}

/// What may happen in a world of parts.
#[derive(Debug, Clone)]
enum Step {
    /// A device writes into some of the three syncgroups.
    Write {
        by: Index,
        groups: [bool; 3],
        key: u8,
    },
    Link(Index, Index),
    Unlink(Index),
    /// So many frames arrive.
    Frames(u8),
    Restart(Index),
    /// So many milliseconds pass.
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<Index>(), any::<[bool; 3]>(), 0..4u8).prop_map(|(by, groups, key)| Step::Write { by, groups, key }),
        3 => (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Step::Link(a, b)),
        2 => any::<Index>().prop_map(Step::Unlink),
        6 => (1..12u8).prop_map(Step::Frames),
        1 => any::<Index>().prop_map(Step::Restart),
        2 => (1..600u16).prop_map(Step::Wait),
    ]
}

/// Devices by the syncgroups that they read.
const READS: [&[usize]; 6] = [&[0, 1, 2], &[0, 1, 2], &[0, 1], &[1, 2], &[0], &[2]];

/// Every batch puts its own number, so a row shows which batch it is of; what a row of a batch does not show any
/// more was changed by one that knew it, or stands beside it in conflict.
fn assert_whole(world: &World, groups: &[SyncgroupId], batches: &[Vec<Written>]) {
    for (at, reads) in READS.iter().enumerate() {
        let shows = |part: &&Written| {
            let shown = world.nodes[at].core.knowledge(&part.syncgroup).unwrap();
            shown.get(&part.version.author).is_some_and(|last| *last >= part.version.generation)
        };
        for batch in batches {
            let here = batch.iter().filter(|part| reads.iter().any(|group| groups[*group] == part.syncgroup));
            let here: Vec<_> = here.collect();
            let shown = here.iter().copied().filter(shows).count();
            assert!(shown == 0 || shown == here.len(), "{at} shows {shown} of {} parts", here.len());
            for part in here.into_iter().filter(shows) {
                let store = &world.nodes[at].store;
                let collection = world.collection(at, part.syncgroup);
                let is_there = (0..4u8).any(|key| {
                    let history = read::history(store, &collection, &[key], 1_000).unwrap();
                    history.iter().any(|entry| entry.version == part.version)
                });
                assert!(is_there, "{at} says that it shows {part:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_reader_ever_sees_a_batch_in_part(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new(READS.len());
        let groups: Vec<_> = (0..3).map(|_| world.create(WRITER, "notes")).collect();
        for (at, reads) in READS.iter().enumerate().skip(1) {
            reads.iter().for_each(|group| world.admit(groups[*group], at, Rights::Write));
        }
        let all = |world: &mut World| {
            for b in 0..READS.len() {
                for a in 0..b {
                    world.link(a, b);
                }
            }
            world.run(20_000);
        };
        all(&mut world);
        world.links.keys().copied().collect::<Vec<_>>().into_iter().for_each(|link| world.unlink(link));
        let mut batches = Vec::new();
        for step in steps {
            match step {
                Step::Write { by, groups: chosen, key } => {
                    let by = by.index(READS.len());
                    let mut batch = LocalWrite::new();
                    for group in READS[by].iter().filter(|group| chosen[**group]) {
                        let row = RowRef { syncgroup: groups[*group], collection: name("notes"), key: vec![key].into() };
                        batch = batch.put(row, batches.len().to_string());
                    }
                    let Ok(Outcome::Written(parts)) = world.command(by, Command::Write(batch)) else { panic!() };
                    batches.push(parts);
                }
                Step::Link(a, b) => {
                    let (a, b) = (a.index(READS.len()), b.index(READS.len()));
                    let is_linked = world.links.values().any(|(near, _, far)| (*near, *far) == (a, b));
                    if a != b && !is_linked {
                        world.link(a, b);
                    }
                }
                Step::Unlink(which) if !world.links.is_empty() => {
                    let link = *world.links.keys().nth(which.index(world.links.len())).unwrap();
                    world.unlink(link);
                }
                Step::Unlink(_) => {}
                Step::Frames(count) => {
                    for _ in 0..count {
                        if let Some((at, link, frame)) = world.frames.pop_front() {
                            world.event(at, Event::Received { link, frame });
                            assert_whole(&world, &groups, &batches);
                        }
                        let due = |node: &Node| node.core.next_deadline().is_some_and(|at| at <= world.now.mono);
                        if let Some(at) = world.nodes.iter().position(due) {
                            world.event(at, Event::Tick);
                        }
                    }
                }
                Step::Restart(which) => {
                    let at = which.index(READS.len());
                    let store = world.nodes[at].store.clone();
                    world.reboot(at, store, Continuity::Shown);
                }
                Step::Wait(millis) => world.now.mono = world.now.mono + Millis(u64::from(millis)),
            }
            assert_whole(&world, &groups, &batches);
        }
        world.links.keys().copied().collect::<Vec<_>>().into_iter().for_each(|link| world.unlink(link));
        all(&mut world);
        world.run(120_000);
        assert_whole(&world, &groups, &batches);
        for node in &world.nodes {
            let bad = |notice: &&Notice| {
                matches!(notice, Notice::Diverged { .. } | Notice::PeerFault { .. } | Notice::BatchSplit { .. })
            };
            prop_assert_eq!(node.notices.iter().find(bad), None);
        }
        for (at, reads) in READS.iter().enumerate() {
            for group in reads.iter().map(|group| groups[*group]) {
                prop_assert_eq!(world.nodes[at].core.knowledge(&group), world.nodes[0].core.held(&group));
                prop_assert_eq!(world.rows(at, group), world.rows(0, group));
            }
        }
    }
}
