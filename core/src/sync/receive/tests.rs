use super::*;
use crate::config::Config;
use crate::crypto::{Ed25519, Keys, SecretKey};
use crate::event::Command;
use crate::id::{CollectionId, Incarnation, Name, SyncgroupId, Version};
use crate::limits;
use crate::log::Checkpoint;
use crate::log::record::{MetaRecord, RowRecord};
use crate::replica::Replica;
use crate::store::{MemStore, Table, View};
use crate::syncgroup::Rights;
use crate::syncgroup::command::{self, Means};
use crate::user::UserKey;

mod bounds;
mod keys;

const WALL: Wall = Wall(1_000_000);

/// A replica with a syncgroup that has a collection.
struct Here {
    replica: Replica,
    store: MemStore,
    id: SyncgroupId,
    collection: CollectionId,
}

fn here() -> Here {
    let name = Name::new("notes").unwrap();
    let (keys, mut store) = (Keys::new(SecretKey([1; 32]), &Ed25519), MemStore::new());
    let config = Config::new(name.clone());
    let (mut replica, boot, _) =
        Replica::load(keys, &config, false, crate::keys::Life::first(1), &store).unwrap();
    store.apply(&boot);
    let mut plan = Plan::new(&replica, &store);
    let means = Means { wall: WALL, nonce: [1; 16], name: &name };
    let (database, collections) = (name.clone(), alloc::vec![name.clone()]);
    let create = Command::CreateSyncgroup { database, name: name.clone(), collections };
    command::run(&mut plan, &means, create).unwrap();
    let effects = plan.finish();
    store.apply(&replica.apply(effects).unwrap());
    let id = replica.groups.values().next().unwrap().record.id;
    Here { replica, store, id, collection: CollectionId::of(&name) }
}

/// A log of single puts, as somebody with these keys would write and sign it.
fn run(here: &Here, keys: &Keys, count: u64, change: impl Fn(u64, &mut Header)) -> Run {
    let put = |n: u64| {
        alloc::vec![Record::Row(RowRecord {
            collection: here.collection,
            key: alloc::vec![n as u8].into(),
            parents: Vec::new(),
            repeats: None,
            pick: false,
            content: crate::log::record::Content::Put(alloc::vec![1].into()),
        })]
    };
    run_of(here, keys, count, change, put)
}

/// A log of such records.
fn run_of(
    here: &Here,
    keys: &Keys,
    count: u64,
    change: impl Fn(u64, &mut Header),
    records: impl Fn(u64) -> Vec<Record>,
) -> Run {
    log_of(here, (keys, Incarnation(9)), count, change, records)
}

fn log_of(
    here: &Here,
    (keys, incarnation): (&Keys, Incarnation),
    count: u64,
    change: impl Fn(u64, &mut Header),
    records: impl Fn(u64) -> Vec<Record>,
) -> Run {
    let author = Author { device: keys.device, incarnation };
    let mut tree = Tree::default();
    let mut generations = Vec::new();
    for n in 1..=count {
        let mut header = Header {
            stamp: Hlc((WALL.0 + n) << 16),
            body: Hash::default(),
            dependencies: Vec::new(),
            batch: None,
            acknowledged: None,
        };
        change(n, &mut header);
        let encoded = Encoded::write(header, &author, &records(n));
        tree.append(encoded.leaf);
        generations.push(encoded.bytes);
    }
    let checkpoint = Checkpoint::sign(&here.id, &author, &tree, (keys, 0));
    Run { author, first: 1, generations, proof: Proof { checkpoint, completion: Vec::new() } }
}

fn take(here: &Here, runs: Vec<Run>) -> (Result<usize, Wrong>, bool) {
    take_from(here, Sender::Anybody, runs)
}

fn take_from(here: &Here, from: Sender, runs: Vec<Run>) -> (Result<usize, Wrong>, bool) {
    let mut plan = Plan::new(&here.replica, &here.store);
    let deltas = Deltas { name: crate::hash::Tag::default(), runs };
    let result = receive(&mut plan, 0, from, deltas, Now { wall: WALL, ..Now::default() }).unwrap();
    let is_trace = here.replica.clone().apply(plan.finish()).is_some();
    (result.map(|received| received.applied), is_trace)
}

fn stranger() -> Keys {
    Keys::new(SecretKey([2; 32]), &Ed25519)
}

/// Another incarnation of this device has its rights, once the genesis is in its past (S-2).
fn myself(here: &Here, count: u64, change: impl Fn(u64, &mut Header)) -> Run {
    run(here, &here.replica.keys, count, |n, header| {
        if n == 1 {
            header.dependencies.push(genesis(here));
        }
        change(n, header);
    })
}

fn genesis(here: &Here) -> Dependency {
    let tag = here.replica.groups[&0].logs[&0].tree.root().tag();
    Dependency { author: here.replica.author(), generation: 1, tag }
}

/// What a generation of a run that was written depends on.
fn on(run: &Run, generation: u64) -> Dependency {
    let mut tree = Tree::default();
    for bytes in run.generations.iter().take(generation as usize) {
        tree.append(Encoded::read(bytes.clone()).unwrap().leaf);
    }
    Dependency { author: run.author, generation, tag: tree.root().tag() }
}

fn row(here: &Here, parents: Vec<Version>) -> Vec<Record> {
    alloc::vec![Record::Row(RowRecord {
        collection: here.collection,
        key: b"row"[..].into(),
        parents,
        repeats: None,
        pick: false,
        content: crate::log::record::Content::Put(alloc::vec![1].into()),
    })]
}

/// A member's device, its keys, and its admission.
fn member(here: &mut Here) -> (Keys, Run) {
    let keys = stranger();
    let admit = MetaRecord::Admit {
        key: keys.first(),
        name: Name::new("member").unwrap(),
        rights: Rights::Write,
        ends: None,
        request: None,
    };
    let change = |_, header: &mut Header| {
        header.stamp = Hlc((WALL.0 + 1) << 16);
        header.dependencies.push(genesis(here));
    };
    let own = here.replica.keys.clone();
    let run = log_of(here, (&own, Incarnation(100)), 1, change, |_| alloc::vec![Record::Meta(admit.clone())]);
    keep(here, alloc::vec![run.clone()]);
    (keys, run)
}

/// Takes these, and stores them.
fn keep(here: &mut Here, runs: Vec<Run>) -> usize {
    let mut plan = Plan::new(&here.replica, &here.store);
    let deltas = Deltas { name: crate::hash::Tag::default(), runs };
    let now = Now { wall: WALL, ..Now::default() };
    let received = receive(&mut plan, 0, Sender::Anybody, deltas, now).unwrap().unwrap();
    let effects = plan.finish();
    if let Some(commit) = here.replica.apply(effects) {
        here.store.apply(&commit);
    }
    received.applied
}

#[test]
fn what_a_user_did_not_sign_is_its_senders_fault() {
    let here = here();
    let name = || Name::new("anna").unwrap();
    let anna = UserKey::new(name(), SecretKey([7; 32]), &Ed25519);
    let key = stranger().first();
    let certificate = || anna.certify(key, name(), 1);
    let strikes = |group: &SyncgroupId| anna.strike_off(group, key.device(), 1, Vec::new());
    let say = |record: MetaRecord| {
        let admits = MetaRecord::AdmitUser {
            key: anna.public(),
            name: name(),
            rights: Rights::Write,
            ends: None,
            request: None,
        };
        let record = |n| alloc::vec![Record::Meta(if n == 1 { admits.clone() } else { record.clone() })];
        let change = |n, header: &mut Header| header.dependencies.extend((n == 1).then(|| genesis(&here)));
        take(&here, alloc::vec![run_of(&here, &here.replica.keys, 2, change, record)]).0
    };
    let enrol = |certificate| MetaRecord::Enrol { certificate, request: None };
    assert_eq!(say(enrol(certificate())), Ok(2));
    assert_eq!(say(MetaRecord::StrikeOff(strikes(&here.id))), Ok(2));
    // Signed by another user, and made out to be this one's.
    let bert = UserKey::new(name(), SecretKey([8; 32]), &Ed25519);
    let forged = enrol(bert.certify(key, name(), 1).made_out_to(anna.public()));
    assert_eq!(say(forged), Err("a certificate that its user did not sign"));
    let forged = bert.strike_off(&here.id, key.device(), 1, Vec::new()).made_out_to(anna.public());
    let wrong = Err("a striking-off that its user did not sign");
    assert_eq!(say(MetaRecord::StrikeOff(forged)), wrong);
    let elsewhere = MetaRecord::StrikeOff(strikes(&SyncgroupId([9; 32])));
    assert_eq!(say(elsewhere), wrong);
}

#[test]
fn a_log_says_of_which_others_of_its_device_it_stands_for_when_it_begins_and_never_of_itself() {
    let here = here();
    let cut = |incarnation, first, last| {
        Record::Meta(MetaRecord::Cut { incarnation: Incarnation(incarnation), first, last })
    };
    let other = || Record::Meta(MetaRecord::Collection { name: Name::new("more").unwrap() });
    let taken = |first: Vec<Record>, second: Vec<Record>| {
        let change = |n, header: &mut Header| header.dependencies.extend((n == 1).then(|| genesis(&here)));
        let records = |n| if n == 1 { first.clone() } else { second.clone() };
        take(&here, alloc::vec![run_of(&here, &here.replica.keys, 2, change, records)]).0
    };
    let ones = |incarnation, first, last| alloc::vec![cut(incarnation, first, last)];
    assert_eq!(taken(ones(1, 1, 1), alloc::vec![other()]), Ok(2));
    assert_eq!(taken(ones(77, 5, u64::MAX), alloc::vec![other()]), Ok(2), "of what is not here, too");
    assert_eq!(taken(ones(9, 1, 1), alloc::vec![other()]), Ok(0), "of itself");
    assert_eq!(taken(ones(1, 0, 1), alloc::vec![other()]), Ok(0));
    assert_eq!(taken(ones(1, 2, 1), alloc::vec![other()]), Ok(0));
    assert_eq!(taken(alloc::vec![other()], ones(1, 1, 1)), Ok(1), "not later on");
    let many = |count: usize| -> Vec<Record> { (0..count as u64).map(|n| cut(100 + n, 1, 1)).collect() };
    assert_eq!(taken(many(limits::MAX_CUTS), alloc::vec![other()]), Ok(2));
    assert_eq!(taken(many(limits::MAX_CUTS + 1), alloc::vec![other()]), Ok(0));
}

/// A proof that these keys' holder has forked a log that has nothing in common but its name.
fn fork(here: &Here, keys: &Keys, incarnation: u64) -> Fork {
    let author = Author { device: keys.device, incarnation: Incarnation(incarnation) };
    let branch = |of: u8| {
        let (leaf, mut tree) = (crate::log::tree::leaf(&[of]), Tree::default());
        tree.append(leaf);
        let checkpoint = Checkpoint::sign(&here.id, &author, &tree, (keys, 0));
        Branch { leaf, checkpoint, completion: Vec::new() }
    };
    Fork::new(author, &Tree::default(), branch(1), branch(2))
}

#[test]
fn a_fork_is_written_down_once_if_it_is_proven_and_so_many_of_one_device() {
    let here = here();
    let record = |fork: Fork| Record::Meta(MetaRecord::Fork(alloc::boxed::Box::new(fork)));
    let taken = |forks: Vec<Fork>| {
        let change = |n, header: &mut Header| header.dependencies.extend((n == 1).then(|| genesis(&here)));
        let records = |n: u64| alloc::vec![record(forks[n as usize - 1].clone())];
        take(&here, alloc::vec![run_of(&here, &here.replica.keys, forks.len() as u64, change, records)]).0
    };
    let of = |incarnation| fork(&here, &stranger(), incarnation);
    assert_eq!(taken(alloc::vec![of(1)]), Ok(1));
    assert_eq!(taken(alloc::vec![of(1), of(1)]), Ok(1), "it says nothing new");
    let elsewhere = Here { id: SyncgroupId([9; 32]), ..self::here() };
    let wrong = Err("a fork that is not proven");
    assert_eq!(taken(alloc::vec![fork(&elsewhere, &stranger(), 1)]), wrong);
    let mut of_another = of(1);
    of_another.author.device = here.replica.keys.device;
    assert_eq!(taken(alloc::vec![of_another]), wrong);
    let most = limits::MAX_FORKS as u64;
    assert_eq!(taken((0..=most).map(of).collect()), Ok(limits::MAX_FORKS));
    let mut others: Vec<Fork> = (0..most).map(of).collect();
    others.push(fork(&here, &Keys::new(SecretKey([3; 32]), &Ed25519), 1));
    assert_eq!(taken(others), Ok(limits::MAX_FORKS + 1), "of another device there is room");
}

#[test]
fn a_run_of_a_member_is_applied() {
    let here = here();
    let run = myself(&here, 3, |_, _| {});
    assert_eq!(take(&here, alloc::vec![run]), (Ok(3), true));
}

#[test]
fn a_stranger_is_not_at_fault_and_leaves_no_trace() {
    let here = here();
    let run = run(&here, &stranger(), 3, |_, _| {});
    assert_eq!(take(&here, alloc::vec![run]), (Ok(0), false));
    assert_eq!(here.store.get(Table::Author, &[0, 0, 0, 1]).unwrap(), None);
}

#[test]
fn rights_that_are_not_in_the_past_do_not_count() {
    let here = here();
    // The same device, but what it wrote does not build on what admitted it.
    let run = run(&here, &here.replica.keys, 1, |_, _| {});
    assert_eq!(take(&here, alloc::vec![run]), (Ok(0), false));
}

#[test]
fn the_same_run_twice_in_a_chunk_counts_once() {
    let here = here();
    let run = myself(&here, 3, |_, _| {});
    assert_eq!(take(&here, alloc::vec![run.clone(), run]), (Ok(3), true));
}

#[test]
fn what_a_sender_is_to_blame_for_is_told_by_name() {
    let here = here();
    let good = || myself(&here, 4, |_, _| {});
    let mut cases: Vec<(Run, Wrong)> = Vec::new();
    let mut add = |wrong, change: &dyn Fn(&mut Run)| {
        let mut run = good();
        change(&mut run);
        cases.push((run, wrong));
    };
    let leads = "a run that does not lead to its checkpoint";
    let signed = "a checkpoint that its author did not sign";
    add(leads, &|run| drop(run.generations.pop()));
    add(leads, &|run| run.generations.swap(0, 1));
    add(leads, &|run| run.proof.completion.push(Hash::default()));
    add(leads, &|run| run.proof.checkpoint.size += 1);
    add(signed, &|run| run.author.incarnation = Incarnation(8));
    add(signed, &|run| run.proof.checkpoint.keys = stranger().chain);
    add("a run without generations", &|run| run.generations.clear());
    add("a run without generations", &|run| run.first = 0);
    cases.push((myself(&here, 2, |_, header| header.stamp = Hlc(7)), "a stamp not above the one before"));
    for (run, wrong) in cases {
        let swapped = run.generations.first() != good().generations.first();
        let (result, is_trace) = take(&here, alloc::vec![run]);
        assert!(!is_trace);
        assert!(result == Err(wrong) || swapped && result.is_err(), "{result:?}, not {wrong}");
    }
}

#[test]
fn a_gap_and_a_missing_cause_wait() {
    let here = here();
    let mut late = myself(&here, 4, |_, _| {});
    late.generations.remove(0);
    late.first = 2;
    assert_eq!(take(&here, alloc::vec![late]), (Ok(0), false));
    let other = Author { device: stranger().device, incarnation: Incarnation(3) };
    let missing = myself(&here, 4, |n, header| {
        if n == 3 {
            let tag = crate::hash::Tag::default();
            header.dependencies = alloc::vec![Dependency { author: other, generation: 1, tag }];
        }
    });
    // The part before it is applied, and can be proven to others as far as it goes.
    assert_eq!(take(&here, alloc::vec![missing]), (Ok(2), true));
}

#[test]
fn a_part_of_a_run_keeps_a_proof_of_just_that_part() {
    let here = here();
    for size in 1..12u64 {
        let whole = myself(&here, size, |_, _| {});
        let leaves: Vec<_> =
            whole.generations.iter().map(|bytes| Encoded::read(bytes.clone()).unwrap()).collect();
        for applied in 1..=size {
            let mut tree = Tree::default();
            leaves.iter().take(applied as usize).for_each(|g| drop(tree.append(g.leaf)));
            let verified = Verified {
                author: whole.author,
                base: 0,
                generations: leaves.clone(),
                applied: applied as usize,
                proof: whole.proof.clone(),
            };
            let proof = verified.proof_of_applied().unwrap();
            assert_eq!(tree.root_at(size, &proof.completion), Some(proof.checkpoint.root));
        }
    }
}

/// What was sent when both held the same may arrive after something else of that author; and when its next chunk comes, what
/// was in the one before is not here.
#[test]
fn another_branch_of_what_is_held_is_nobodys_fault() {
    let mut here = here();
    let branch = |here: &Here, count, at: u64| {
        myself(here, count, |n, header| header.stamp.0 += if n > 2 { at } else { 0 })
    };
    let from = |run: &Run, first: u64| {
        let mut rest = run.clone();
        rest.first = first;
        rest.generations = rest.generations.split_off(first as usize - 1);
        rest
    };
    let (held, other) = (branch(&here, 4, 0), branch(&here, 6, 1));
    assert_eq!(keep(&mut here, alloc::vec![held.clone()]), 4);
    let wrong = (Err("a run that does not lead to its checkpoint"), false);
    for first in 1..=5 {
        let rest = from(&other, first);
        let mut unsigned = rest.clone();
        unsigned.proof.checkpoint.root = Hash([1; 32]);
        let mut too_long = rest.clone();
        too_long.proof.completion.push(Hash([1; 32]));
        assert_eq!(take(&here, alloc::vec![rest]), (Ok(0), false), "from {first}");
        assert_eq!(take(&here, alloc::vec![unsigned]), wrong, "from {first}");
        assert_eq!(take(&here, alloc::vec![too_long]), wrong, "from {first}");
    }
    // All of a log leads to its checkpoint whatever else is held.
    let mut mixed = other.clone();
    mixed.generations[3] = held.generations[3].clone();
    assert_eq!(take(&here, alloc::vec![mixed]), wrong);
    // And what is held leads to the checkpoint by which it came: nothing else does.
    let mut long = branch(&here, 6, 2);
    assert_eq!(long.generations[..2], held.generations[..2]);
    let mut part = long.clone();
    part.generations.truncate(5);
    let leaf = Encoded::read(long.generations.pop().unwrap()).unwrap().leaf;
    part.proof.completion = alloc::vec![leaf];
    let mut fresh = self::here();
    assert_eq!(keep(&mut fresh, alloc::vec![part.clone()]), 5);
    let mut last = from(&other, 6);
    last.proof = Proof { checkpoint: part.proof.checkpoint, completion: Vec::new() };
    assert_eq!(take(&fresh, alloc::vec![last]), wrong);
}

/// What one generation says to others is kept in short, and another one may come in its place.
#[test]
fn what_builds_on_another_branch_of_what_was_taken_back_is_applied() {
    let mut here = here();
    let branch = |here: &Here, ahead: u64| myself(here, 3, |_, header| header.stamp.0 += ahead << 16);
    let upon = |here: &Here, incarnation: u64, run: &Run, stamp: u64| {
        let cause = on(run, 2);
        let change = |_, header: &mut Header| {
            header.stamp = Hlc((WALL.0 + stamp) << 16);
            header.dependencies = alloc::vec![cause];
        };
        let own = here.replica.keys.clone();
        log_of(here, (&own, Incarnation(incarnation)), 1, change, |_| row(here, Vec::new()))
    };
    let (one, other) = (branch(&here, 1_000), branch(&here, 0));
    let on_one = upon(&here, 20, &one, 2_000);
    assert_eq!(keep(&mut here, alloc::vec![one]), 3);
    assert_eq!(keep(&mut here, alloc::vec![on_one]), 1);
    let mut plan = Plan::new(&here.replica, &here.store);
    let own = plan.enter(here.replica.author());
    plan.take_back(0, Hlc((WALL.0 + 500) << 16), (own, 1)).unwrap();
    let effects = plan.finish();
    here.store.apply(&here.replica.apply(effects).unwrap());
    assert_eq!(here.replica.groups[&0].logs.len(), 1);
    let on_other = upon(&here, 21, &other, 100);
    assert_eq!(keep(&mut here, alloc::vec![other]), 3);
    assert_eq!(keep(&mut here, alloc::vec![on_other]), 1);
}

/// What it has written again of its own it gives up for what it has lost, and for nothing else.
#[test]
fn branches_of_its_own_log_are_taken_once_each_in_whatever_turns_they_come() {
    let mut here = here();
    let branch =
        |here: &Here, at: u64| myself(here, 4, |n, header| header.stamp.0 += if n > 2 { at } else { 0 });
    let (one, other) = (branch(&here, 0), branch(&here, 1));
    let author = one.author;
    assert_eq!(keep(&mut here, alloc::vec![one.clone()]), 4);
    let change = |here: &mut Here, change: &dyn Fn(&mut Plan<'_>)| {
        let mut plan = Plan::new(&here.replica, &here.store);
        change(&mut plan);
        let effects = plan.finish();
        here.replica.apply(effects).into_iter().for_each(|commit| _ = here.store.apply(&commit));
    };
    let again = |plan: &mut Plan<'_>| {
        let ix = plan.author_ix(&author).unwrap();
        crate::replica::reissue::write_branch_again(plan, 0, ix).unwrap();
    };
    let mut forks = Vec::new();
    {
        let mut plan = Plan::new(&here.replica, &here.store);
        let deltas = Deltas { name: crate::hash::Tag::default(), runs: alloc::vec![other.clone()] };
        let now = Now { wall: WALL, ..Now::default() };
        forks.extend(receive(&mut plan, 0, Sender::Anybody, deltas, now).unwrap().unwrap().forks);
    }
    assert_eq!((forks.len(), forks[0].prefix), (1, 2));
    change(&mut here, &|plan| plan.write_fork(0, forks[0].clone(), WALL).unwrap());
    assert_eq!(keep(&mut here, alloc::vec![other.clone()]), 0, "its own is not written again yet");
    change(&mut here, &again);
    assert_eq!(keep(&mut here, alloc::vec![other.clone()]), 2, "it has lost this one");
    change(&mut here, &again);
    for run in [&one, &other, &one, &other] {
        assert_eq!(keep(&mut here, alloc::vec![run.clone()]), 0, "both are written again");
    }
}
