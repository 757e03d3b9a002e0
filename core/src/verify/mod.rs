//! Checking a whole store: that all of it is what its authors signed, and that rows show what follows from that.
//!
//! A [`Verification`] reads the store as a peer would that gets everything from it, and takes nothing on trust: each
//! generation goes through the same gate as one that comes over a link (signatures, hash trees, causes, stamps,
//! rights), into an empty store beside it, the scratch. What rows come to there is compared with the rows that are
//! read here. It is driven like a core: it reads two views, and makes commits for the scratch.
//!
//! It costs what it costs to receive everything, and to read all of it twice. This device's own logs carry no signature of its own in the store:
//! of those it is shown that they are whole, allowed, and what rows are made of.

mod compare;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use self::compare::Comparison;
use crate::config::{Config, Identity};
use crate::dice::Dice;
use crate::hash::Tag;
use crate::id::{Author, Generation, Name, SyncgroupId};
use crate::replica::plan::Plan;
use crate::replica::{BootError, Replica};
use crate::store::key::GroupIx;
use crate::store::{Commit, Fault, View};
use crate::sync::link::{Share, Way};
use crate::sync::receive::{self, Received, Sender};
use crate::sync::serve::{self, Chunk, Signed};
use crate::syncgroup::group::Group;
use crate::time::{Mono, Now, Wall};

/// Rows that are named of those that differ, at most, in each syncgroup.
pub const MAX_NAMED_ROWS: usize = 16;

/// Later than any stamp, and far from where sums overflow.
const END_OF_TIME: Wall = Wall(1 << 60);

/// Something in a store that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[non_exhaustive]
pub enum Problem {
    /// Something cannot be read.
    #[error("something cannot be read: {0}")]
    Unreadable(String),
    /// A log is not what its author signed.
    #[error("what is stored is not what was signed: {0}")]
    Unproven(String),
    /// A generation builds on something that is not there, or was not allowed.
    #[error("generation {generation} of {author:?} is not allowed, or builds on something that is not there")]
    NotAllowed {
        /// Whose.
        author: Author,
        /// Which.
        generation: Generation,
    },
    /// What is noted beside a generation, and follows from it, is wrong.
    #[error("what is noted beside generation {generation} of {author:?} does not follow from it")]
    Noted {
        /// Whose.
        author: Author,
        /// Which.
        generation: Generation,
    },
    /// A row is not what was written to it.
    #[error("row \"{key}\" of \"{collection}\" is not what was written to it")]
    Row {
        /// The collection; its id if it has no name.
        collection: String,
        /// The key, with what is no text in it escaped.
        key: String,
    },
    /// Rows are right, and the digest over them is not.
    #[error("the digest over the rows is wrong")]
    Digest,
    /// It is not noted which generations the next one is to build on.
    #[error("what the next generation is to build on does not follow from what is held")]
    Frontier,
    /// Collections or schemas are not those that admins made.
    #[error("the {0} are not those that admins made")]
    Metadata(&'static str),
}

/// What was found in a syncgroup.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Which.
    pub syncgroup: SyncgroupId,
    /// What its members call it.
    pub name: Option<Name>,
    /// The authors of which something is held.
    pub authors: usize,
    /// The generations that were verified.
    pub generations: u64,
    /// The rows that were compared. None where generations wait for other parts of their batches (S-28): what rows
    /// show then depends on when parts arrived.
    pub rows: Option<u64>,
    /// What is not as it should be.
    pub problems: Vec<Problem>,
}

/// A store that is being checked.
///
/// ```
/// # use driftless::store::MemStore;
/// # use driftless::{Config, Continuity, Core, Identity, Name, Outbox, SecretKey};
/// use driftless::verify::Verification;
/// # let config = Config::new(Name::new("laptop").unwrap());
/// # let identity = Identity { chain: None, secret: SecretKey([1; 32]), continuity: Continuity::Shown };
/// # let mut store = MemStore::new();
/// # let mut out = Outbox::new();
/// # Core::boot(&config, &identity, [1; 32], &store, &mut out).unwrap();
/// # while let Some(action) = out.pop() {
/// #     if let driftless::Action::Commit(commit) = action { store.apply(&commit); }
/// # }
///
/// let mut scratch = MemStore::new();
/// let (mut verification, first) = Verification::begin(&config, &identity, [2; 32], &store).unwrap();
/// scratch.apply(&first);
/// while let Some(commit) = verification.step(&store, &scratch).unwrap() {
///     scratch.apply(&commit);
/// }
/// for verified in verification.finish(&store, &scratch) {
///     assert!(verified.problems.is_empty(), "{verified:?}");
/// }
/// ```
#[derive(Debug)]
pub struct Verification {
    from: Replica,
    copy: Replica,
    /// What comes right after the first commit.
    second: Option<Commit>,
    /// What is still to be copied.
    work: Vec<(GroupIx, Box<Share>)>,
    signed: Signed,
    done: u64,
    problems: BTreeMap<GroupIx, Vec<Problem>>,
}

impl Verification {
    /// Begins to check a store, and returns the first commit for an empty one beside it. `seed` is random; nothing is
    /// written to the store itself.
    ///
    /// # Errors
    /// [`BootError`] if the store cannot be used at all.
    pub fn begin(
        config: &Config,
        identity: &Identity,
        seed: [u8; 32],
        view: &dyn View,
    ) -> Result<(Self, Commit), BootError> {
        let keys = identity.keys(config.signatures).ok_or(BootError::BrokenChain)?;
        let drawn = Dice::new(&seed, "verification").u64();
        let life = keys.chain.life(drawn);
        let (from, ..) = Replica::load(keys.clone(), config, true, life, view)?;
        let nothing = crate::store::MemStore::new();
        let (mut copy, first, _) = Replica::load(keys, config, false, life, &nothing)?;
        // What is there was taken when there was room for it.
        copy.limits.authors = usize::MAX;
        let mut plan = Plan::new(&copy, &nothing);
        from.groups.values().for_each(|group| plan.set_record(group.ix, group.record.clone()));
        let effects = plan.finish();
        let second = copy.apply(effects);
        let work = from.groups.values().rev().map(|group| (group.ix, everything(&from, group))).collect();
        let (signed, problems) = (Signed::new(), BTreeMap::new());
        Ok((Self { from, copy, second, work, signed, done: 0, problems }, first))
    }

    /// How many generations were checked, and how many there are.
    pub fn progress(&self) -> (u64, u64) {
        let logs = self.from.groups.values().flat_map(|group| group.logs.values());
        (self.done, logs.map(|log| log.held()).sum())
    }

    /// Goes on. The commit is for the scratch, and must be in it before the next step; `None` when nothing is left to
    /// be copied.
    ///
    /// # Errors
    /// [`Fault`] if the scratch cannot be read; what cannot be read of the store is among the problems.
    pub fn step(&mut self, view: &dyn View, scratch: &dyn View) -> Result<Option<Commit>, Fault> {
        if let Some(commit) = self.second.take() {
            return Ok(Some(commit));
        }
        while let Some((ix, mut share)) = self.work.pop() {
            if share.behind.is_empty() {
                continue;
            }
            match self.copy_some(ix, &mut share, view, scratch)? {
                Ok(commit) => {
                    self.work.push((ix, share));
                    if commit.is_some() {
                        return Ok(commit);
                    }
                }
                // What follows in this syncgroup builds on what is wrong.
                Err(problem) => self.problems.entry(ix).or_default().push(problem),
            }
        }
        // A part that never came was not waited for for ever, and what rows come to does not depend on when they were
        // shown.
        let mut plan = Plan::new(&self.copy, scratch);
        plan.release(Mono(u64::MAX))?;
        let effects = plan.finish();
        Ok(self.copy.apply(effects))
    }

    fn copy_some(
        &mut self,
        ix: GroupIx,
        share: &mut Share,
        view: &dyn View,
        scratch: &dyn View,
    ) -> Result<Result<Option<Commit>, Problem>, Fault> {
        let Some(group) = self.from.groups.get(&ix) else { return Ok(Ok(None)) };
        let chunk = match serve::chunk(&self.from, view, group, share, &self.signed) {
            Ok(chunk) if !chunk.deltas.runs.is_empty() => chunk,
            Ok(_) => return Ok(Err(self.first_missing(ix, group))),
            Err(fault) => return Ok(Err(Problem::Unreadable(fault.to_string()))),
        };
        let Chunk { deltas, signed, .. } = chunk;
        self.signed.extend(signed.into_iter().map(|(author, checkpoint)| ((ix, author), checkpoint)));
        let mut sent = 0;
        for run in &deltas.runs {
            sent += run.generations.len();
            share.believe(run.author, run.last(), usize::MAX, |belief| belief.sent = run.last());
        }
        let now = Now { mono: Mono(0), wall: END_OF_TIME };
        let mut plan = Plan::new(&self.copy, scratch);
        let received: Received = match receive::receive(&mut plan, ix, Sender::Anybody, deltas, now)? {
            Ok(received) => received,
            Err(wrong) => return Ok(Err(Problem::Unproven(wrong.to_string()))),
        };
        // No more than that: the copy takes part in nothing, and writes nothing of its own.
        plan.release(now.mono)?;
        let effects = plan.finish();
        let commit = self.copy.apply(effects);
        self.done += received.applied as u64;
        if received.applied < sent {
            let problem = self.first_missing(ix, group);
            self.problems.entry(ix).or_default().push(problem);
            share.behind.clear();
        }
        Ok(Ok(commit))
    }

    /// The first generation of somebody's that could not be copied.
    fn first_missing(&self, ix: GroupIx, group: &Group) -> Problem {
        let copied = |author: &Author| {
            let copy = self.copy.groups.get(&ix);
            let author = self.copy.authors.find(author);
            author.zip(copy).and_then(|(author, copy)| copy.logs.get(&author)).map_or(0, |log| log.held())
        };
        let mut missing = group.logs.iter().filter_map(|(author, log)| {
            let author = self.from.authors.get(*author)?;
            let copied = copied(&author);
            (copied < log.held()).then_some(Problem::NotAllowed { author, generation: copied + 1 })
        });
        missing.next().unwrap_or_else(|| Problem::Unproven("the logs are not in order".to_string()))
    }

    /// Compares what was received with what is stored, once [`Verification::step`] has nothing more to do. Ordered as
    /// syncgroups came to the device.
    pub fn finish(mut self, view: &dyn View, scratch: &dyn View) -> Vec<Verified> {
        let mut found = Vec::new();
        for (ix, group) in &self.from.groups {
            let mut problems = self.problems.remove(ix).unwrap_or_default();
            let copy = self.copy.groups.get(ix);
            let waits = self.from.waiting.waits_in(*ix);
            let mut rows = None;
            if let Some(copied) = copy.filter(|_| problems.is_empty() && !waits) {
                let (ours, theirs) = ((&self.from, &**group, view), (&self.copy, &**copied, scratch));
                let comparison = Comparison { ours, theirs };
                match comparison.run(&mut problems) {
                    Ok(count) => rows = Some(count),
                    Err(fault) => problems.push(Problem::Unreadable(fault.to_string())),
                }
            }
            found.push(Verified {
                syncgroup: group.record.id,
                name: group.metadata.name().cloned(),
                authors: group.logs.len(),
                generations: copy.map_or(0, |copy| copy.logs.values().map(|log| log.held()).sum()),
                rows,
                problems,
            });
        }
        found
    }
}

/// A share by which all of a syncgroup is still to be sent.
fn everything(replica: &Replica, group: &Group) -> Box<Share> {
    let mut share = Box::new(Share::new(Tag::default(), Way::Both));
    for (author, log) in &group.logs {
        if let Some(author) = replica.authors.get(*author) {
            share.believe(author, log.held(), usize::MAX, |belief| belief.goal = log.held());
        }
    }
    share
}
