//! Shrinking: a plan that fails is cut down to what the failure needs.
//!
//! What Zeller's delta debugging does to a list of steps is done here to everything that a plan decides: steps,
//! replicas, syncgroups and keys, the faults of the surroundings, what is written, and when. A candidate counts
//! if it is simpler (see [`size`]; what it costs is weighed too) and still fails in the same way: by the same oracle
//! and the same rule. Passes follow each other until none finds anything more:
//!
//! | pass | tries |
//! |---|---|
//! | end | what comes after the failure is dropped |
//! | setup | the surroundings become calm, all of them or one by one, or at least rounder |
//! | kinds | all steps of a kind, of a replica or of a syncgroup at once |
//! | steps | steps in chunks, from half of all down to single ones, the last first |
//! | cast | two replicas, syncgroups, invitations or keys become one; the rest gets low numbers |
//! | chance | what chance decided about frames and links is stated by steps, of which few are needed |
//! | details | what steps say becomes plain: fewer changes, short values, usual rights |
//! | times | a second between any two steps, or at least round times |
//! | start | the last steps alone, right at the start |
//! | pairs | two steps at once, where none can go alone |
//! | tighten | steps right after each other, instead of slow surroundings |
//!
//! Everything is deterministic. Threads try several candidates at once, of which the first in order counts, so
//! their number changes how long it takes, and not what comes out.

mod acts;
mod cast;
mod chance;
mod cost;
mod details;
mod numbers;
mod setup;
mod steps;
mod times;

use std::collections::BTreeSet;

use self::cost::Cost;
pub use self::cost::size;
use crate::facts::Facts;
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::run::{Failure, Options};
use crate::suite::{attempt, compare};
use crate::world::Sabotage;

/// Runs a plan and says how it fails, if it does. Whoever has invariants of their own checks them here.
pub type Judge<'j> = dyn Fn(&Plan, Option<&mut Facts>) -> Option<Failure> + Sync + 'j;

/// How much may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// How many plans are executed at most.
    pub executions: u64,
    /// How many at a time.
    pub jobs: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { executions: 5_000, jobs: 1 }
    }
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The pass that is going on.
    pub pass: &'static str,
    /// How many plans were executed.
    pub executions: u64,
    /// The [`size`] of the smallest plan.
    pub size: usize,
    /// How many steps it has.
    pub steps: usize,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest plan that was found.
    pub plan: Plan,
    /// How it fails.
    pub failure: Failure,
    /// How many plans were executed.
    pub executions: u64,
    /// Whether the effort was over before the passes were.
    pub gave_up: bool,
}

/// There is nothing to shrink.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plan does not fail, so there is nothing to shrink")]
pub struct Passes;

/// A judge that knows the oracles only, and breaks something on purpose if so wanted.
pub fn judge(sabotage: Option<Sabotage>) -> impl Fn(&Plan, Option<&mut Facts>) -> Option<Failure> + Sync {
    move |plan, facts| attempt(plan, Options { sabotage, facts, ..Options::default() }).failure
}

/// A judge that runs each plan twice, and takes it as failed too if the runs [differ](compare).
pub fn judge_twice(
    sabotage: Option<Sabotage>,
) -> impl Fn(&Plan, Option<&mut Facts>) -> Option<Failure> + Sync {
    move |plan, facts| {
        let mut outcome = attempt(plan, Options { sabotage, facts, ..Options::default() });
        compare(&mut outcome, &attempt(plan, Options { sabotage, ..Options::default() }));
        outcome.failure
    }
}

/// Cuts a plan down while it fails in the same way.
///
/// ```
/// use driftless_sim::shrink::{self, Effort};
/// use driftless_sim::{Plan, Profile, world::Sabotage};
///
/// let judge = shrink::judge(Some(Sabotage::CorruptsRows));
/// let plan = Plan::draw(0, &Profile::default());
/// let shrunk = shrink::shrink(&plan, &judge, Effort::default(), &mut |_| {}).unwrap();
/// // Somebody makes a syncgroup, and writes.
/// assert_eq!(shrunk.plan.steps.len(), 2);
/// ```
///
/// # Errors
/// [`Passes`] if the plan does not fail.
pub fn shrink(
    plan: &Plan,
    judge: &Judge<'_>,
    effort: Effort,
    progress: &mut dyn FnMut(Progress),
) -> Result<Shrunk, Passes> {
    // Without it panics do not say where they are, and one is like any other.
    crate::suite::quiet_attempts();
    let failure = judge(plan, None).ok_or(Passes)?;
    let shrinker = Shrinker {
        judge,
        effort,
        progress,
        target: Target::of(&failure),
        cost: Cost::of(plan),
        plan: plan.clone(),
        failure,
        executions: 1,
        known: BTreeSet::new(),
        pass: "start",
    };
    Ok(shrinker.run())
}

/// The way in which a plan fails.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    oracle: Oracle,
    rule: &'static str,
    /// Where it panicked, if it did: that is another failure than what a rule's check finds, and than one elsewhere.
    panic: Option<String>,
    /// Whether it takes two runs to see it.
    twice: bool,
}

impl Target {
    fn of(failure: &Failure) -> Self {
        let violation = &failure.violation;
        // What comes after the place says which numbers it was about, and may well be another for a smaller plan.
        let panic = violation.what.strip_prefix("panicked");
        let panic = panic.and_then(|place| Some(place.split(": ").next()?.to_owned()));
        let twice = failure.is_of_two_runs();
        Self { oracle: violation.oracle.clone(), rule: violation.rule, panic, twice }
    }
}

/// A plan on its way down.
struct Shrinker<'s> {
    judge: &'s Judge<'s>,
    effort: Effort,
    progress: &'s mut dyn FnMut(Progress),
    target: Target,
    /// The simplest plan that fails, how it does, and what it costs.
    plan: Plan,
    failure: Failure,
    cost: Cost,
    executions: u64,
    /// What was tried and did not fail in the same way, by hash.
    known: BTreeSet<[u8; 32]>,
    pass: &'static str,
}

impl Shrinker<'_> {
    fn run(mut self) -> Shrunk {
        type Pass<'s> = fn(&mut Shrinker<'s>);
        let passes: [(&'static str, Pass<'_>); 11] = [
            ("end", Shrinker::drop_what_comes_after),
            ("setup", Shrinker::calm_setup),
            ("kinds", Shrinker::drop_kinds),
            ("steps", Shrinker::drop_steps),
            ("cast", Shrinker::smaller_cast),
            ("chance", Shrinker::state_chance),
            ("details", Shrinker::plain_details),
            ("times", Shrinker::round_times),
            ("start", Shrinker::start_at_once),
            ("pairs", Shrinker::drop_pairs),
            ("tighten", Shrinker::tighten),
        ];
        loop {
            let before = self.cost.clone();
            for (name, pass) in passes {
                self.pass = name;
                self.report();
                pass(&mut self);
            }
            if self.cost == before || self.tired() {
                break;
            }
        }
        let gave_up = self.tired();
        Shrunk { plan: self.plan, failure: self.failure, executions: self.executions, gave_up }
    }

    fn report(&mut self) {
        let (executions, pass) = (self.executions, self.pass);
        (self.progress)(Progress { pass, executions, size: size(&self.plan), steps: self.plan.steps.len() });
    }

    fn tired(&self) -> bool {
        self.executions >= self.effort.executions
    }

    /// Goes on from the first of some candidates that is simpler and fails in the same way. Says which it was.
    fn first(&mut self, candidates: impl IntoIterator<Item = Plan>) -> Option<usize> {
        let mut candidates = candidates.into_iter().enumerate().peekable();
        while candidates.peek().is_some() && !self.tired() {
            let mut batch: Vec<(usize, Plan, Cost, [u8; 32])> = Vec::new();
            while batch.len() < self.effort.jobs.max(1) {
                let Some((place, plan)) = candidates.next() else { break };
                let (cost, hash) = (Cost::of(&plan), hash(&plan));
                let twice = batch.iter().any(|(.., other)| *other == hash);
                if cost < self.cost && !twice && !self.known.contains(&hash) {
                    batch.push((place, plan, cost, hash));
                }
            }
            let failures = self.attempt_all(&batch);
            for ((place, plan, cost, hash), failure) in batch.into_iter().zip(failures) {
                // What was tried beyond the first that counts does not count: more threads must not mean more.
                self.executions += 1;
                if let Some(failure) = failure.filter(|failure| Target::of(failure) == self.target) {
                    (self.plan, self.cost, self.failure) = (plan, cost, failure);
                    self.report();
                    return Some(place);
                }
                self.known.insert(hash);
                if self.tired() {
                    break;
                }
            }
            self.report();
        }
        None
    }

    /// Tries one candidate.
    fn one(&mut self, candidate: Plan) -> bool {
        self.first([candidate]).is_some()
    }

    fn attempt_all(&self, batch: &[(usize, Plan, Cost, [u8; 32])]) -> Vec<Option<Failure>> {
        let judge = self.judge;
        if let [(_, plan, ..)] = batch {
            return vec![judge(plan, None)];
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                batch.iter().map(|(_, plan, ..)| scope.spawn(move || judge(plan, None))).collect();
            // A judge that panics has nothing to say for this candidate.
            threads.into_iter().map(|thread| thread.join().unwrap_or(None)).collect()
        })
    }
}

fn hash(plan: &Plan) -> [u8; 32] {
    *blake3::hash(plan.to_string().as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Violation;

    #[test]
    fn panics_are_told_apart_by_where_they_are_and_not_by_what_they_say() {
        let target = |what: &str| {
            let violation = Violation::new(Oracle::Conduct, "S-53", 0, what);
            Target::of(&Failure { violation, at: 0, healed: false, step: None })
        };
        let one = target("panicked at core/src/log/tree.rs:12:5: index 3: out of bounds");
        assert_eq!(one, target("panicked at core/src/log/tree.rs:12:5: index 4: out of bounds"));
        assert_ne!(one, target("panicked at core/src/log/mod.rs:12:5: index 3: out of bounds"));
        assert_ne!(one, target("sends a frame of 9 bytes, more than a frame may have"));
        assert_eq!(target("sends a frame of 8 bytes"), target("sends a frame of 9 bytes"));
    }
}
