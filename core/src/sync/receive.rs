//! Taking in generations: verify, judge, apply, all of a chunk in one commit (S-23, S-26).

use alloc::vec::Vec;

use crate::action::Notice;
use crate::hash::Hash;
use crate::id::{Author, Generation};
use crate::log::generation::Encoded;
use crate::log::record::Record;
use crate::log::tree::{Known, Nodes, Tree};
use crate::log::{Log, Proof};
use crate::replica::plan::Plan;
use crate::store::Fault;
use crate::store::key::{AuthorIx, GroupIx};
use crate::syncgroup::judge;
use crate::time::{Hlc, Wall};
use crate::wire::{Deltas, Run};

/// What came of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// How many generations were applied.
    pub(crate) applied: usize,
    /// What the sender has shown to hold.
    pub(crate) shown: Vec<(Author, Generation)>,
    /// Something before a run is missing: a frame was lost, or is late.
    pub(crate) gap: bool,
}

/// Why a chunk is the sender's fault, whatever else one knows (S-26).
pub(crate) type Wrong = &'static str;

/// A run that continues what is held, and is proven to be its author's.
struct Verified {
    author: Author,
    ix: AuthorIx,
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
    wall: Wall,
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
            received.gap = true;
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
                let Some((records, past)) = ready(plan, group, run, encoded, wall)? else { break };
                plan.append(group, run.ix, encoded, &records, past)?;
                run.applied += 1;
                received.applied += 1;
            }
        }
        if received.applied == before {
            break;
        }
    }
    for run in runs.into_iter().filter(|run| run.applied > 0) {
        let ix = run.ix;
        plan.set_proof(group, ix, run.proof_of_applied()?);
    }
    Ok(Ok(received))
}

/// Checks that a run continues the author's log and leads to what its author signed. `None` if there are
/// more authors than this replica takes.
fn verify(
    plan: &mut Plan<'_>,
    group: GroupIx,
    run: Run,
    held: Generation,
) -> Result<Option<Verified>, Wrong> {
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
    let ix = plan.enter(author);
    Ok(Some(Verified { author, ix, base: held, generations: encoded, applied: 0, proof }))
}

/// A generation's records and the metadata in its past, if all that it builds on is held, its time has come
/// and it is allowed.
fn ready(
    plan: &mut Plan<'_>,
    group: GroupIx,
    run: &Verified,
    encoded: &Encoded,
    wall: Wall,
) -> Result<Option<(Vec<Record>, crate::syncgroup::metadata::Past)>, Fault> {
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
    let past = plan.past_of(group, run.ix, &encoded.header.dependencies)?;
    let allowed = judge::is_allowed(plan, group, &run.author, generation, encoded, &records, &past);
    Ok(allowed.then_some((records, past)))
}

impl Verified {
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
