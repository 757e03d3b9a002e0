//! Parts as nobody should write them: what others claim delays, and never decides.

use super::*;
use crate::config::Config;
use crate::crypto::{Ed25519, Keys, SecretKey};
use crate::event::Command;
use crate::hash::{Hash, Tag};
use crate::id::{Author, CollectionId, Incarnation, Name, SyncgroupId};
use crate::log::Checkpoint;
use crate::log::generation::{Dependency, Header};
use crate::log::record::{Content, RowRecord};
use crate::log::tree::Tree;
use crate::replica::Replica;
use crate::store::MemStore;
use crate::sync::receive;
use crate::syncgroup::admission;
use crate::syncgroup::command::{self, Means};
use crate::syncgroup::group::{GroupRecord, Stage};
use crate::time::{Millis, Wall};
use crate::wire::{Deltas, Run};

const BATCH: [u8; 16] = [7; 16];

/// A replica with two syncgroups, and another incarnation of its device, which has its rights.
struct Here {
    replica: Replica,
    store: MemStore,
    ids: [SyncgroupId; 2],
    trees: BTreeMap<(Author, usize), Tree>,
    now: Now,
    notices: Vec<Notice>,
}

impl Here {
    fn new() -> Self {
        let name = Name::new("notes").unwrap();
        let (keys, mut store) = (Keys::new(SecretKey([1; 32]), &Ed25519), MemStore::new());
        let (mut replica, boot, _) =
            Replica::load(keys, &Config::new(name.clone()), false, crate::keys::Life::first(1), &store)
                .unwrap();
        store.apply(&boot);
        let now = Now { mono: Mono(5), wall: Wall(1_000_000) };
        for nonce in 0..2 {
            let mut plan = Plan::new(&replica, &store);
            let means = Means { wall: now.wall, nonce: [nonce; 16], name: &name };
            let (database, collections) = (name.clone(), alloc::vec![name.clone()]);
            let create = Command::CreateSyncgroup { database, name: name.clone(), collections };
            command::run(&mut plan, &means, create).unwrap();
            let effects = plan.finish();
            store.apply(&replica.apply(effects).unwrap());
        }
        let ids = [0, 1].map(|ix| replica.groups[&ix].record.id);
        Self { replica, store, ids, trees: Default::default(), now, notices: Vec::new() }
    }

    fn author(&self, incarnation: u64) -> Author {
        Author { device: self.replica.keys.device, incarnation: Incarnation(incarnation) }
    }

    /// That a generation is a part of the batch, with other parts in these of the two syncgroups.
    fn naming(&self, others: &[usize]) -> Option<BatchPart> {
        let others = others.iter().map(|at| BatchPart::tag(&BATCH, &self.ids[*at])).collect();
        Some(BatchPart { id: BATCH, others })
    }

    /// The next generation of the other incarnation arrives.
    fn arrive(&mut self, at: usize, stamp: u64, batch: Option<BatchPart>) {
        self.arrive_by(self.author(9), at, stamp, batch, Vec::new());
    }

    fn arrive_by(
        &mut self,
        author: Author,
        at: usize,
        stamp: u64,
        batch: Option<BatchPart>,
        parents: Vec<Version>,
    ) {
        let group = at as GroupIx;
        let genesis = Dependency {
            author: self.replica.author(),
            generation: 1,
            tag: self.replica.groups[&group].logs[&0].tree.root().tag(),
        };
        let header = Header {
            stamp: Hlc((self.now.wall.0 + stamp) << 16),
            body: Hash::default(),
            dependencies: alloc::vec![genesis],
            batch,
            acknowledged: None,
        };
        let record = Record::Row(RowRecord {
            collection: CollectionId::of(&Name::new("notes").unwrap()),
            key: Bytes::from_static(b"k"),
            parents,
            repeats: None,
            pick: false,
            content: Content::Put(Bytes::from_static(b"v")),
        });
        let encoded = Encoded::write(header, &author, &[record]);
        let tree = self.trees.entry((author, at)).or_default();
        tree.append(encoded.leaf);
        let checkpoint = Checkpoint::sign(&self.ids[at], &author, tree, (&self.replica.keys, 0));
        let proof = crate::log::Proof { checkpoint, completion: Vec::new() };
        let first = tree.size();
        let run = Run { author, first, generations: alloc::vec![encoded.bytes], proof };
        let mut plan = Plan::new(&self.replica, &self.store);
        let deltas = Deltas { name: Tag::default(), runs: alloc::vec![run] };
        assert_eq!(
            receive::receive(&mut plan, group, receive::Sender::Anybody, deltas, self.now)
                .unwrap()
                .unwrap()
                .applied,
            1
        );
        self.settle(plan.finish_settled(self.now));
    }

    fn settle(&mut self, mut effects: crate::replica::plan::Effects) {
        self.notices.append(&mut effects.notices);
        if let Some(commit) = self.replica.apply(effects) {
            self.store.apply(&commit);
        }
    }

    fn wait(&mut self, span: Millis) {
        self.now.mono = self.now.mono + span;
        let plan = Plan::new(&self.replica, &self.store);
        let effects = plan.finish_settled(self.now);
        self.settle(effects);
    }

    /// How many generations of the other incarnation are shown in each syncgroup.
    fn shown(&self) -> [u64; 2] {
        let ix = self.replica.authors.find(&self.author(9));
        [0, 1].map(|group| {
            ix.map_or(0, |ix| {
                self.replica.waiting.last_shown(group, ix, self.replica.groups[&group].held(ix))
            })
        })
    }

    fn heads(&self, group: GroupIx) -> usize {
        let key = key::row(group, &CollectionId::of(&Name::new("notes").unwrap()), b"k");
        Plan::new(&self.replica, &self.store).row(&key).unwrap().heads.len()
    }
}

impl Plan<'_> {
    fn finish_settled(mut self, now: Now) -> crate::replica::plan::Effects {
        admission::settle(&mut self, now).unwrap();
        self.finish()
    }
}

#[test]
fn a_part_that_does_not_name_the_batch_back_is_none() {
    for back in [None, Some(false), Some(true)] {
        let mut here = Here::new();
        here.arrive(0, 1, here.naming(&[1]));
        assert_eq!(here.shown(), [0, 0]);
        let part = match back {
            None => None,
            Some(false) => here.naming(&[]),
            Some(true) => here.naming(&[0]),
        };
        here.arrive(1, 1, part);
        assert_eq!(here.shown(), [1, 1], "{back:?}");
        assert!(here.notices.is_empty());
    }
}

#[test]
fn what_stands_in_the_place_of_a_part_is_not_waited_for_even_if_it_waits_itself() {
    let mut here = Here::new();
    // It names a batch of its own, whose other part is missing; and it is no part of the first.
    let other = BatchPart { id: [8; 16], others: alloc::vec![BatchPart::tag(&[8; 16], &here.ids[0])] };
    here.arrive(1, 1, Some(other));
    assert_eq!(here.shown(), [0, 0]);
    here.arrive(0, 1, here.naming(&[1]));
    assert_eq!(here.shown(), [1, 1], "each is overtaken by the other");
}

#[test]
fn a_part_that_was_overtaken_is_not_waited_for() {
    let mut here = Here::new();
    here.arrive(0, 2, here.naming(&[1]));
    here.arrive(1, 1, None);
    assert_eq!(here.shown(), [0, 1], "the part may still come");
    here.arrive(1, 3, None);
    assert_eq!(here.shown(), [1, 2]);
    assert!(here.notices.is_empty());
}

#[test]
fn a_parent_in_no_past_is_waited_for_and_superseded_all_the_same() {
    let mut here = Here::new();
    here.arrive(0, 2, here.naming(&[1]));
    // Somebody whose only link to the first is that it names a version of it as a parent.
    let parent = Version { author: here.author(9), generation: 1 };
    here.arrive_by(here.author(10), 0, 3, None, alloc::vec![parent]);
    assert_eq!((here.shown(), here.heads(0)), ([0, 0], 0));
    here.wait(Millis(60_000));
    assert_eq!((here.shown(), here.heads(0)), ([1, 0], 1));
    let why = |notice: &Notice| matches!(notice, Notice::BatchSplit { why: Split::Time, .. });
    assert_eq!(here.notices.iter().filter(|notice| why(notice)).count(), 1);
}

#[test]
fn a_chain_of_parts_that_never_come_delays_nothing_beyond_its_own_bound() {
    let mut here = Here::new();
    for n in 1..=6 {
        let id = [n; 16];
        let part = BatchPart { id, others: alloc::vec![BatchPart::tag(&id, &here.ids[1])] };
        here.arrive(0, u64::from(n), Some(part));
        here.wait(Millis(20_000));
    }
    // Received at 0, 20, 40 … 100 seconds; now it is 120.
    assert_eq!(here.shown(), [4, 0]);
    here.wait(Millis(40_000));
    assert_eq!(here.shown(), [6, 0]);
}

#[test]
fn what_waits_where_this_device_was_removed_is_found_again_as_the_part_that_it_is() {
    let mut here = Here::new();
    here.arrive(0, 1, here.naming(&[1]));
    assert_eq!(here.shown(), [0, 0]);
    let mut plan = Plan::new(&here.replica, &here.store);
    let record = here.replica.groups[&0].record.clone();
    plan.set_record(0, GroupRecord { stage: Stage::Removed, ..record });
    let effects = plan.finish();
    here.settle(effects);
    let name = Name::new("notes").unwrap();
    let keys = Keys::new(SecretKey([1; 32]), &Ed25519);
    let (replica, boot, _) =
        Replica::load(keys, &Config::new(name), true, crate::keys::Life::first(1), &here.store).unwrap();
    here.store.apply(&boot);
    here.replica = replica;
    here.replica.waiting.start(here.now, here.replica.parts);
    assert_eq!(here.shown(), [0, 0]);
    here.wait(Millis(1));
    assert_eq!(here.shown(), [1, 0]);
    let told = |notice: &Notice| matches!(notice, Notice::BatchSplit { why: Split::Left, .. });
    assert_eq!(here.notices.iter().filter(|notice| told(notice)).count(), 1, "{:?}", here.notices);
}
