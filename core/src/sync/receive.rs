//! Taking in generations: verify, judge, apply, all of a chunk in one commit (S-23, S-26).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use bytes::Bytes;

use crate::action::Notice;
use crate::hash::Hash;
use crate::id::{Author, Generation};
use crate::keys::KeyChain;
use crate::log::fork::{Branch, Fork};
use crate::log::generation::{Dependency, Encoded, Header};
use crate::log::record::{MetaRecord, Record};
use crate::log::tree::{Known, Nodes, Tree};
use crate::log::{Checkpoint, Log, Proof};
use crate::replica::plan::{Origin, Plan};
use crate::store::Fault;
use crate::store::key::GroupIx;
use crate::syncgroup::past::Past;
use crate::syncgroup::{judge, user};
use crate::time::{Hlc, Now, Wall};
use crate::wire::{Deltas, Run};

/// Of how many authors in one chunk the application is told that they are ahead of time.
const MOST_TOLD: usize = 16;

/// Who sends a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// Whoever it is, this replica has no reason not to take all that it has.
    Anybody,
    /// It was removed, as far as is known here: it may have been let in again, and shows it by what members wrote.
    Removed,
}

/// What came of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// How many generations were applied.
    pub(crate) applied: usize,
    /// How many bytes they were.
    pub(crate) bytes: usize,
    /// What the sender has shown to hold.
    pub(crate) shown: Vec<(Author, Generation)>,
    /// Runs that start behind what is held: something before them was lost, is late, or was held back.
    pub(crate) later: Vec<(Author, RangeInclusive<Generation>)>,
    /// How far runs went of which something was in order, or may be, and could not be applied yet.
    pub(crate) held_back: Vec<(Author, Generation)>,
    /// What runs have proven that are other branches of logs than those that are here.
    pub(crate) forks: Vec<Fork>,
    /// Forked logs of which somebody builds on another branch than the one that is here.
    pub(crate) wanted: BTreeSet<(GroupIx, Author)>,
    /// And those that have made way.
    pub(crate) made_way: BTreeSet<(GroupIx, Author)>,
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

/// Plans to apply a chunk. What cannot be applied yet is left out: it will be asked for again. So is, where it comes
/// from somebody who was removed, what neither a member wrote nor anything builds on that a member wrote.
pub(crate) fn receive(
    plan: &mut Plan<'_>,
    group: GroupIx,
    from: Sender,
    deltas: Deltas,
    now: Now,
) -> Result<Result<Received, Wrong>, Fault> {
    let mut received = Received::default();
    branches(plan, group, &deltas.runs, &mut received)?;
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
            match verify(plan, group, run, held)? {
                Ok(Some(run)) => runs.push(run),
                // It comes again whenever all is asked for, and may never be taken.
                Ok(None) => received.held_back.push((author, last)),
                Err(wrong) => return Ok(Err(wrong)),
            }
        }
    }
    // Runs depend on one another, and a stamp lies above those of all causes: in the order of stamps whatever can be
    // applied at all can be when its turn comes. So each generation is looked at once.
    let mut turns: BTreeSet<(Hlc, usize)> =
        runs.iter().enumerate().filter_map(|(at, run)| Some((run.next()?, at))).collect();
    let needed = match from {
        Sender::Removed => needed(plan, group, &runs),
        Sender::Anybody => BTreeMap::new(),
    };
    let mut room = plan.replica.limits.authors.saturating_sub(plan.log_count(group));
    let mut from_the_future = 0;
    while let Some((_, at)) = turns.pop_first() {
        let Some(run) = runs.get_mut(at) else { continue };
        let Some(encoded) = run.generations.get(run.applied) else { continue };
        let is_new = run.base == 0 && run.applied == 0;
        if is_new && room == 0 {
            continue;
        }
        let is_needed = || needed.get(&run.author).is_some_and(|last| run.number() <= *last);
        if from == Sender::Removed && !is_members(plan, group, &run.author) && !is_needed() {
            continue;
        }
        let (records, past) = match ready(plan, group, run, encoded, now.wall)? {
            Ready::Yes(records, past) => (records, past),
            Ready::No => continue, // And nothing that follows on it.
            Ready::TooEarly => {
                let syncgroup = plan.record(group).map(|record| record.id);
                if let Some(syncgroup) = syncgroup.filter(|_| from_the_future < MOST_TOLD) {
                    plan.notice(Notice::FromTheFuture { author: run.author, syncgroup });
                }
                from_the_future += 1;
                continue;
            }
        };
        // Once, as what is held has been; and not before it is allowed, so that what it costs has a bound.
        let id = plan.record(group).map(|record| record.id);
        if let Some(Err(wrong)) = id.map(|id| user::verify(&records, &id, &plan.replica.keys)) {
            return Ok(Err(wrong));
        }
        // Only now does the author get a number: who is not allowed anything leaves no trace.
        let ix = plan.enter(run.author);
        plan.append(group, ix, encoded, &records, past, Origin::Received(now))?;
        room -= usize::from(is_new);
        run.applied += 1;
        received.applied += 1;
        received.bytes += encoded.bytes.len();
        turns.extend(run.next().map(|stamp| (stamp, at)));
    }
    let held_back = runs.iter().filter(|run| run.applied < run.generations.len());
    received.held_back.extend(held_back.map(|run| (run.author, run.last())));
    for run in runs.into_iter().filter(|run| run.applied > 0) {
        let ix = plan.enter(run.author);
        plan.set_proof(group, ix, run.proof_of_applied()?);
    }
    Ok(Ok(received))
}

/// Checks that a run continues the author's log and leads to what its author signed. `None` if it cannot be taken: there
/// are more authors than this replica takes, or what is held is another branch of the log.
fn verify(
    plan: &Plan<'_>,
    group: GroupIx,
    run: Run,
    held: Generation,
) -> Result<Result<Option<Verified>, Wrong>, Fault> {
    let Run { author, first, generations, proof } = run;
    let log = plan.author_ix(&author).and_then(|ix| plan.log(group, ix));
    let Log { mut tree, stamp, proof: known, .. } = log.cloned().unwrap_or_default();
    if held == 0 && plan.log_count(group) >= plan.replica.limits.authors {
        return Ok(Ok(None));
    }
    let skip = usize::try_from(held + 1 - first).unwrap_or(usize::MAX);
    let mut encoded = Vec::with_capacity(generations.len().saturating_sub(skip));
    for bytes in generations.iter().skip(skip).cloned() {
        let generation = match Encoded::read(bytes) {
            Ok(generation) => generation,
            Err(error) => return Ok(Err(error.what)),
        };
        tree.append(generation.leaf);
        encoded.push(generation);
    }
    let checkpoint = &proof.checkpoint;
    let id = plan.record(group).map(|record| record.id);
    let is_known = known.as_ref().is_some_and(|known| known.checkpoint == *checkpoint);
    let is_signed = || {
        let keys = &plan.replica.keys;
        // The same keys were looked at with what is held.
        let are_known = known.as_ref().is_some_and(|known| {
            let Checkpoint { keys, nonce, .. } = &known.checkpoint;
            (keys, nonce) == (&checkpoint.keys, &checkpoint.nonce)
        });
        id.is_some_and(|id| match are_known {
            true => checkpoint.verify_by_known(&id, &author, keys),
            false => checkpoint.verify(&id, &author, keys),
        })
    };
    let root = tree.root_at(checkpoint.size, &proof.completion);
    if root != Some(checkpoint.root) {
        // More of another branch of the log may have come from elsewhere, also between two chunks of one answer: whoever
        // sends the run did not know. What is held leads to the checkpoint by which it came, and to no other branch's.
        let is_branch =
            root.is_some() && !is_known && (first > 1 || leads(&generations, &proof)) && is_signed();
        let wrong = "a run that does not lead to its checkpoint";
        return Ok(if is_branch { Ok(None) } else { Err(wrong) });
    }
    let mut stamp: Hlc = stamp;
    for generation in &encoded {
        if generation.header.stamp <= stamp {
            return Ok(Err("a stamp not above the one before"));
        }
        stamp = generation.header.stamp;
    }
    if !is_known && !is_signed() {
        return Ok(Err("a checkpoint that its author did not sign"));
    }
    if !is_of_log(plan, group, &author, held, &encoded, &checkpoint.keys) {
        return Ok(Err("a checkpoint by another key than that of the log"));
    }
    Ok(Ok(Some(Verified { author, base: held, generations: encoded, applied: 0, proof })))
}

/// Whether whoever has signed may sign for a log: with the key of which the log says in its first generation that it is, or
/// with one that the device has taken since (S-1).
fn is_of_log(
    plan: &Plan<'_>,
    group: GroupIx,
    author: &Author,
    held: Generation,
    new: &[Encoded],
    signer: &KeyChain,
) -> bool {
    if held > 0 {
        let known = plan.metadata(group).and_then(|metadata| metadata.access.key_of_log(author));
        return known.is_none_or(|chain| signer.starts_with(chain));
    }
    // What cannot be read is not taken anyway.
    let records = new.first().and_then(|first| first.records(author).ok()).unwrap_or_default();
    records.iter().all(|record| match record {
        Record::Meta(MetaRecord::Rollover { chain, .. }) => signer.starts_with(chain),
        _ => true,
    })
}

/// Finds runs of other branches of logs than those that are here. Where the log is known to be forked, and nobody builds on
/// what is here of it, and somebody does on another one, that makes way. Notes what they prove that is not known yet.
fn branches(plan: &mut Plan<'_>, group: GroupIx, runs: &[Run], received: &mut Received) -> Result<(), Fault> {
    let mut others = BTreeMap::new();
    for run in runs {
        others.extend(other_branch(plan, group, run)?.map(|other| (run.author, (run, other))));
    }
    for run in runs.iter().filter(|_| plan.is_any_forked(group)) {
        let headers = run.generations.iter().filter_map(|bytes| Encoded::read_trusted(bytes.clone()).ok());
        for named in headers.flat_map(|it| it.header.dependencies).filter(|it| it.author != run.author) {
            let is_other = match others.get(&named.author) {
                Some((run, (prefix, _))) if named.generation > *prefix => is_on(plan, group, run, &named)?,
                _ => plan.is_of_another_branch(group, &named)?,
            };
            if is_other {
                received.wanted.insert((group, named.author));
            }
        }
    }
    let mut authors = Vec::new();
    for (run, (prefix, branch)) in others.into_values() {
        if plan.needs_fork(group, &run.author, prefix) {
            received.forks.extend(plan.prove_fork(group, &run.author, prefix, branch)?);
            continue;
        }
        let lacks = plan.lacks_branch(group, &run.author, (prefix, &branch.leaf))?;
        if plan.may_make_way(group, (&run.author, prefix), &received.wanted, lacks)? {
            authors.push(run.author);
            if !lacks || plan.is_of_former_key(&run.author) {
                received.made_way.insert((group, run.author));
            }
        } else {
            received.held_back.push((run.author, run.last())); // It may never be taken.
        }
    }
    plan.make_way(group, &authors)
}

/// Where a run parts with what is here of its log, and how it goes on there; `None` if it does not, or its author did not
/// sign it.
fn other_branch(plan: &Plan<'_>, group: GroupIx, run: &Run) -> Result<Option<(Generation, Branch)>, Fault> {
    let Run { author, first, generations, proof: Proof { checkpoint, completion } } = run;
    let (Some(ix), held) = (plan.author_ix(author), plan.held(group, author)) else { return Ok(None) };
    if *first == 0 || *first > held {
        return Ok(None); // As nearly always.
    }
    let base = first - 1;
    let mut tree = plan.tree(group, ix, base)?;
    let (mut leaves, mut parts) = (Vec::with_capacity(generations.len()), None);
    for bytes in generations {
        let Ok(generation) = Encoded::read(bytes.clone()) else { return Ok(None) };
        tree.append(generation.leaf);
        leaves.push(generation.leaf);
        if parts.is_none() && tree.size() <= held && plan.tag(group, ix, tree.size())? != tree.root().tag() {
            parts = Some((tree.size() - 1, generation.leaf));
        }
    }
    let Some((prefix, leaf)) = parts else { return Ok(None) };
    let id = plan.record(group).map(|record| record.id);
    let is_signed = id.is_some_and(|id| checkpoint.verify(&id, author, &plan.replica.keys));
    if tree.root_at(checkpoint.size, completion) != Some(checkpoint.root) || !is_signed {
        return Ok(None);
    }
    let nodes = RunNodes { base, leaves: &leaves };
    let known = Known { nodes: &nodes, held: tree.size(), size: checkpoint.size, completion };
    let completion = known.completion_from(prefix + 1)?;
    Ok(Some((prefix, Branch { leaf, checkpoint: checkpoint.clone(), completion })))
}

/// Whether a generation builds on a run that parts from what is here, as far as the run goes.
fn is_on(plan: &Plan<'_>, group: GroupIx, run: &Run, named: &Dependency) -> Result<bool, Fault> {
    let Some(ix) = plan.author_ix(&run.author) else { return Ok(false) };
    let mut tree = plan.tree(group, ix, run.first - 1)?;
    let count = usize::try_from(named.generation.min(run.last()) - tree.size()).unwrap_or(usize::MAX);
    for bytes in run.generations.iter().take(count) {
        let Ok(generation) = Encoded::read_trusted(bytes.clone()) else { return Ok(false) };
        tree.append(generation.leaf);
    }
    Ok(tree.size() < named.generation || tree.root().tag() == named.tag)
}

/// Whether a run that starts with its log leads to its checkpoint. Whatever else one knows, that can be told.
fn leads(generations: &[Bytes], Proof { checkpoint, completion }: &Proof) -> bool {
    let mut tree = Tree::default();
    for bytes in generations {
        let Ok(generation) = Encoded::read(bytes.clone()) else { return false };
        tree.append(generation.leaf);
    }
    tree.root_at(checkpoint.size, completion) == Some(checkpoint.root)
}

/// Whether an author may write, by what is known so far.
fn is_members(plan: &Plan<'_>, group: GroupIx, author: &Author) -> bool {
    plan.metadata(group).is_some_and(|metadata| {
        let access = &metadata.access;
        access.rights(&author.device).is_some() && !access.is_beyond_end(author, plan.held(group, author) + 1)
    })
}

/// How much of each author the members' generations among these build on, step by step.
fn needed(plan: &Plan<'_>, group: GroupIx, runs: &[Verified]) -> BTreeMap<Author, Generation> {
    let of: BTreeMap<Author, &Verified> = runs.iter().map(|run| (run.author, run)).collect();
    let mut needed: BTreeMap<Author, Generation> = BTreeMap::new();
    let members = of.values().filter(|run| is_members(plan, group, &run.author));
    let mut todo: Vec<(Author, Generation)> = members.map(|run| (run.author, run.last())).collect();
    while let Some((author, last)) = todo.pop() {
        let before = needed.insert(author, last).unwrap_or(0);
        if before >= last {
            needed.insert(author, before);
            continue;
        }
        let Some(run) = of.get(&author) else { continue };
        let from = usize::try_from(before.saturating_sub(run.base)).unwrap_or(usize::MAX);
        let to =
            usize::try_from(last.saturating_sub(run.base)).unwrap_or(usize::MAX).min(run.generations.len());
        let new = run.generations.get(from..to).unwrap_or_default();
        let dependencies = new.iter().flat_map(|encoded| &encoded.header.dependencies);
        todo.extend(dependencies.map(|dependency| (dependency.author, dependency.generation)));
    }
    needed
}

/// Whether a generation can be applied.
enum Ready {
    /// All that it builds on is held, its time has come and it is allowed: its records, and the metadata in its past.
    Yes(Vec<Record>, Past),
    No,
    /// Its time has not come.
    TooEarly,
}

/// Looks at the generation of a run whose turn it is.
fn ready(
    plan: &mut Plan<'_>,
    group: GroupIx,
    run: &Verified,
    encoded: &Encoded,
    wall: Wall,
) -> Result<Ready, Fault> {
    let generation = run.number();
    if plan.held(group, &run.author) + 1 != generation {
        return Ok(Ready::No); // A second run of the same author, in the same chunk.
    }
    if encoded.header.stamp.wall() > wall + plan.replica.limits.drift {
        return Ok(Ready::TooEarly);
    }
    for dependency in &encoded.header.dependencies {
        if plan.held(group, &dependency.author) < dependency.generation {
            return Ok(Ready::No);
        }
        // The same number of another branch is something else.
        let Some(ix) = plan.author_ix(&dependency.author) else { return Ok(Ready::No) };
        if plan.tag(group, ix, dependency.generation)? != dependency.tag {
            return Ok(Ready::No);
        }
        // A stamp that does not lie above its causes would lead walks through history astray (S-7). All that
        // it takes to see it is in the generation's own past, so it is refused alike everywhere.
        if plan.stamp(group, ix, dependency.generation)? >= encoded.header.stamp {
            return Ok(Ready::No);
        }
    }
    // Records that cannot be read are judged like kinds that a newer version brought: not now.
    let Ok(records) = encoded.records(&run.author) else { return Ok(Ready::No) };
    let past = plan.past_of(group, &run.author, &encoded.header.dependencies)?;
    let allowed = judge::is_allowed(plan, group, &run.author, generation, encoded, &records, &past);
    let is_ready =
        allowed && follows_parents(plan, group, (run.author, generation), &encoded.header, &records)?;
    Ok(if is_ready { Ready::Yes(records, past) } else { Ready::No })
}

/// Whether all versions that rows build on are held, and stamped before. A parent need not lie in the causal past, but
/// walks through the history of a row rely on stamps all the same (S-15). Whoever has the parent finds the same.
fn follows_parents(
    plan: &Plan<'_>,
    group: GroupIx,
    (author, generation): (Author, Generation),
    header: &Header,
    records: &[Record],
) -> Result<bool, Fault> {
    let parents = records.iter().filter_map(|record| match record {
        Record::Row(row) => Some(&row.parents),
        _ => None,
    });
    // Stamps rise within a log: the last parent in each says it of all others.
    let mut last: BTreeMap<Author, Generation> = BTreeMap::new();
    for parent in parents.flatten() {
        let known = last.entry(parent.author).or_default();
        *known = parent.generation.max(*known);
    }
    for (of, parent) in last {
        if of == author {
            if parent >= generation {
                return Ok(false);
            }
            continue;
        }
        let Some(ix) = plan.author_ix(&of) else { return Ok(false) };
        let Some(log) = plan.log(group, ix).filter(|log| log.held() >= parent) else { return Ok(false) };
        if log.stamp >= header.stamp && plan.stamp(group, ix, parent)? >= header.stamp {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Verified {
    /// The number of the generation whose turn is next.
    fn number(&self) -> Generation {
        self.base + self.applied as u64 + 1
    }

    /// The stamp of the generation whose turn is next.
    fn next(&self) -> Option<Hlc> {
        self.generations.get(self.applied).map(|encoded| encoded.header.stamp)
    }

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
mod tests;
