//! Taking in generations: verify, judge, apply, all of a chunk in one commit (S-23, S-26).

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use crate::action::Notice;
use crate::hash::Hash;
use crate::id::{Author, Generation};
use crate::log::generation::Encoded;
use crate::log::record::Record;
use crate::log::tree::{Known, Nodes, Tree};
use crate::log::{Log, Proof};
use crate::replica::plan::{Origin, Plan};
use crate::store::Fault;
use crate::store::key::GroupIx;
use crate::syncgroup::{judge, user};
use crate::time::{Hlc, Now, Wall};
use crate::wire::{Deltas, Run};

/// What came of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// How many generations were applied.
    pub(crate) applied: usize,
    /// What the sender has shown to hold.
    pub(crate) shown: Vec<(Author, Generation)>,
    /// Runs that start behind what is held: something before them was lost, is late, or was held back.
    pub(crate) later: Vec<(Author, RangeInclusive<Generation>)>,
    /// How far runs went of which something was in order, and could not be applied yet.
    pub(crate) held_back: Vec<(Author, Generation)>,
}

/// Why a chunk is the sender's fault, whatever else one knows (S-26).
pub(crate) type Wrong = &'static str;

/// A run that continues what is held, and is proven to be its author's.
struct Verified {
    author: Author,
    /// What was held before.
    base: Generation,
    generations: Vec<Encoded>,
    applied: usize,
    proof: Proof,
}

/// Plans to apply a chunk. What cannot be applied yet is left out: it will be asked for again.
pub(crate) fn receive(
    plan: &mut Plan<'_>,
    group: GroupIx,
    deltas: Deltas,
    now: Now,
) -> Result<Result<Received, Wrong>, Fault> {
    let mut received = Received::default();
    let mut runs = Vec::with_capacity(deltas.runs.len());
    for run in deltas.runs {
        let (author, first, last) = (run.author, run.first, run.last());
        if first == 0 || run.generations.is_empty() {
            return Ok(Err("a run without generations"));
        }
        received.shown.push((author, last));
        let held = plan.held(group, &author);
        if first > held + 1 {
            received.later.push((author, first..=last));
        } else if last > held {
            match verify(plan, group, run, held) {
                Ok(run) => runs.extend(run),
                Err(wrong) => return Ok(Err(wrong)),
            }
        }
    }
    // Runs depend on one another: go round until nothing more can be applied.
    loop {
        let before = received.applied;
        for run in &mut runs {
            while let Some(encoded) = run.generations.get(run.applied) {
                let Some((records, past)) = ready(plan, group, run, encoded, now.wall)? else { break };
                // Once, as what is held has been; and not before it is allowed, so that what it costs has a bound.
                let id = plan.record(group).map(|record| record.id);
                if let Some(Err(wrong)) = id.map(|id| user::verify(&records, &id, &plan.replica.keys)) {
                    return Ok(Err(wrong));
                }
                // Only now does the author get a number: who is not allowed anything leaves no trace.
                let ix = plan.enter(run.author);
                plan.append(group, ix, encoded, &records, past, Origin::Received(now))?;
                run.applied += 1;
                received.applied += 1;
            }
        }
        if received.applied == before {
            break;
        }
    }
    let held_back = runs.iter().filter(|run| run.applied < run.generations.len());
    received.held_back = held_back.map(|run| (run.author, run.last())).collect();
    for run in runs.into_iter().filter(|run| run.applied > 0) {
        let ix = plan.enter(run.author);
        plan.set_proof(group, ix, run.proof_of_applied()?);
    }
    Ok(Ok(received))
}

/// Checks that a run continues the author's log and leads to what its author signed. `None` if there are
/// more authors than this replica takes.
fn verify(plan: &Plan<'_>, group: GroupIx, run: Run, held: Generation) -> Result<Option<Verified>, Wrong> {
    let Run { author, first, generations, proof } = run;
    let log = plan.author_ix(&author).and_then(|ix| plan.log(group, ix));
    let Log { mut tree, stamp, proof: known, .. } = log.cloned().unwrap_or_default();
    if held == 0 && plan.log_count(group) >= plan.replica.limits.authors {
        return Ok(None);
    }
    let skip = usize::try_from(held + 1 - first).unwrap_or(usize::MAX);
    let mut stamp: Hlc = stamp;
    let mut encoded = Vec::with_capacity(generations.len().saturating_sub(skip));
    for bytes in generations.into_iter().skip(skip) {
        let generation = Encoded::read(bytes).map_err(|error| error.what)?;
        if generation.header.stamp <= stamp {
            return Err("a stamp not above the one before");
        }
        stamp = generation.header.stamp;
        tree.append(generation.leaf);
        encoded.push(generation);
    }
    let checkpoint = &proof.checkpoint;
    if tree.root_at(checkpoint.size, &proof.completion) != Some(checkpoint.root) {
        return Err("a run that does not lead to its checkpoint");
    }
    let is_known = known.is_some_and(|known| known.checkpoint == *checkpoint);
    let keys = &plan.replica.keys;
    let id = plan.record(group).map(|record| record.id);
    if !is_known && !id.is_some_and(|id| checkpoint.verify(&id, &author, keys)) {
        return Err("a checkpoint that its author did not sign");
    }
    Ok(Some(Verified { author, base: held, generations: encoded, applied: 0, proof }))
}

/// A generation's records and the metadata in its past, if all that it builds on is held, its time has come
/// and it is allowed.
fn ready(
    plan: &mut Plan<'_>,
    group: GroupIx,
    run: &Verified,
    encoded: &Encoded,
    wall: Wall,
) -> Result<Option<(Vec<Record>, crate::syncgroup::past::Past)>, Fault> {
    let generation = run.base + run.applied as u64 + 1;
    if plan.held(group, &run.author) + 1 != generation {
        return Ok(None); // A second run of the same author, in the same chunk.
    }
    if encoded.header.stamp.wall() > wall + plan.replica.limits.drift {
        if let Some(syncgroup) = plan.record(group).map(|record| record.id) {
            plan.notice(Notice::FromTheFuture { author: run.author, syncgroup });
        }
        return Ok(None);
    }
    for dependency in &encoded.header.dependencies {
        if plan.held(group, &dependency.author) < dependency.generation {
            return Ok(None);
        }
        // The same number of another branch is something else.
        let Some(ix) = plan.author_ix(&dependency.author) else { return Ok(None) };
        if plan.tag(group, ix, dependency.generation)? != dependency.tag {
            return Ok(None);
        }
        // A stamp that does not lie above its causes would lead walks through history astray (S-7). All that
        // it takes to see it is in the generation's own past, so it is refused alike everywhere.
        if plan.stamp(group, ix, dependency.generation)? >= encoded.header.stamp {
            return Ok(None);
        }
    }
    // Records that cannot be read are judged like kinds that a newer version brought: not now.
    let Ok(records) = encoded.records(&run.author) else { return Ok(None) };
    let held = |author| match author {
        author if author == run.author => generation - 1,
        author => plan.held(group, &author),
    };
    let parents = records.iter().filter_map(|record| match record {
        Record::Row(row) => Some(&row.parents),
        _ => None,
    });
    if parents.flatten().any(|parent| held(parent.author) < parent.generation) {
        return Ok(None);
    }
    let past = plan.past_of(group, &run.author, &encoded.header.dependencies)?;
    let allowed = judge::is_allowed(plan, group, &run.author, generation, encoded, &records, &past);
    Ok(allowed.then_some((records, past)))
}

impl Verified {
    fn last(&self) -> Generation {
        self.base + self.generations.len() as u64
    }

    /// The proof for as much of the run as was applied.
    fn proof_of_applied(self) -> Result<Proof, Fault> {
        let Proof { checkpoint, completion } = self.proof;
        if self.applied == self.generations.len() {
            return Ok(Proof { checkpoint, completion });
        }
        let leaves: Vec<_> = self.generations.iter().map(|generation| generation.leaf).collect();
        let held = self.base + leaves.len() as u64;
        let nodes = RunNodes { base: self.base, leaves: &leaves };
        let known = Known { nodes: &nodes, held, size: checkpoint.size, completion: &completion };
        let completion = known.completion_from(self.base + self.applied as u64)?;
        Ok(Proof { checkpoint, completion })
    }
}

/// Nodes over the leaves of a run.
struct RunNodes<'a> {
    base: Generation,
    leaves: &'a [Hash],
}

impl Nodes for RunNodes<'_> {
    fn node(&self, level: u32, end: u64) -> Result<Hash, Fault> {
        // A complete subtree by itself is a tree whose root is its only peak.
        let end = usize::try_from(end.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let start = end.saturating_sub(1 << level);
        let mut tree = Tree::default();
        for leaf in self.leaves.get(start..end).unwrap_or_default() {
            tree.append(*leaf);
        }
        Ok(tree.root())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::crypto::{Ed25519, Keys, SecretKey};
    use crate::event::Command;
    use crate::id::{CollectionId, Incarnation, Name, SyncgroupId, Version};
    use crate::limits;
    use crate::log::Checkpoint;
    use crate::log::generation::Header;
    use crate::log::record::{MetaRecord, RowRecord};
    use crate::replica::Replica;
    use crate::store::{MemStore, Table, View};
    use crate::syncgroup::Rights;
    use crate::syncgroup::command::{self, Means};
    use crate::user::UserKey;

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
        let (mut replica, boot, _) = Replica::load(keys, &config, false, Incarnation(1), &store).unwrap();
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
        let author = Author { device: keys.device, incarnation: Incarnation(9) };
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
        let checkpoint = Checkpoint::sign(&here.id, &author, &tree, keys);
        Run { author, first: 1, generations, proof: Proof { checkpoint, completion: Vec::new() } }
    }

    fn take(here: &Here, runs: Vec<Run>) -> (Result<usize, Wrong>, bool) {
        let mut plan = Plan::new(&here.replica, &here.store);
        let deltas = Deltas { name: crate::hash::Tag::default(), runs };
        let result = receive(&mut plan, 0, deltas, Now { wall: WALL, ..Now::default() }).unwrap();
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

    fn genesis(here: &Here) -> crate::log::generation::Dependency {
        let tag = here.replica.groups[&0].logs[&0].tree.root().tag();
        crate::log::generation::Dependency { author: here.replica.author(), generation: 1, tag }
    }

    #[test]
    fn what_a_user_did_not_sign_is_its_senders_fault() {
        let here = here();
        let name = || Name::new("anna").unwrap();
        let anna = UserKey::new(name(), SecretKey([7; 32]), &Ed25519);
        let key = stranger().public;
        let certificate = || anna.certify(key, name(), 1);
        let strikes = |group: &SyncgroupId| anna.strike_off(group, key.device(), 1, Vec::new());
        let say = |record: MetaRecord| {
            let admits = MetaRecord::AdmitUser {
                key: anna.public(),
                name: name(),
                rights: Rights::Write,
                request: None,
            };
            let record = |n| alloc::vec![Record::Meta(if n == 1 { admits.clone() } else { record.clone() })];
            let change =
                |n, header: &mut Header| header.dependencies.extend((n == 1).then(|| genesis(&here)));
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
    fn more_metadata_than_an_author_may_write_is_not_taken_and_nobodys_fault() {
        let here = here();
        let name = Name::new("more").unwrap();
        let in_each = 10_000;
        let records = |_| alloc::vec![Record::Meta(MetaRecord::Collection { name: name.clone() }); in_each];
        let change = |n, header: &mut Header| header.dependencies.extend((n == 1).then(|| genesis(&here)));
        let run = |count| run_of(&here, &here.replica.keys, count, change, records);
        let most = limits::MAX_METADATA / (in_each * limits::METADATA_RECORD);
        assert_eq!(take(&here, alloc::vec![run(most as u64)]).0, Ok(most));
        assert_eq!(take(&here, alloc::vec![run(most as u64 + 2)]).0, Ok(most), "and nothing that follows");
    }

    #[test]
    fn a_departure_that_ends_nothing_is_not_taken() {
        let here = here();
        let own = genesis(&here);
        let granted = Version { author: own.author, generation: 1 };
        let change = |n, header: &mut Header| header.dependencies.extend((n == 1).then(|| genesis(&here)));
        let leave = |grants: &[Version]| Record::Meta(MetaRecord::Leave { grants: grants.to_vec() });
        let taken = |records: &dyn Fn(u64) -> Vec<Record>| {
            take(&here, alloc::vec![run_of(&here, &here.replica.keys, 3, change, records)]).0
        };
        assert_eq!(taken(&|_| alloc::vec![leave(&[])]), Ok(0));
        assert_eq!(taken(&|_| alloc::vec![leave(&[Version { generation: 7, ..granted }])]), Ok(0));
        assert_eq!(taken(&|_| alloc::vec![leave(&[granted]), leave(&[granted])]), Ok(0), "once");
        assert_eq!(taken(&|_| alloc::vec![leave(&[granted])]), Ok(1), "and not again");
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
        add(signed, &|run| run.proof.checkpoint.key = stranger().public);
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
                header.dependencies =
                    alloc::vec![crate::log::generation::Dependency { author: other, generation: 1, tag }];
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
}
