//! The entry for embedders: a simulation in a few lines.

use std::fmt;
use std::ops::Range;

use crate::environment::Wishes;
use crate::facts::Facts;
use crate::plan::{Faults, Plan, Profile};
use crate::run::{Invariant, Options, Outcome};
use crate::shrink::{Effort, Passes, Shrunk, shrink};
use crate::suite::{attempt, quiet_attempts};
use crate::world::World;

/// A simulation that is being set up. What is not said is drawn from the seed, as in [`Profile::default`].
pub struct Sim<'s> {
    seed: u64,
    profile: Profile,
    invariants: Vec<(String, Box<Invariant<'s>>)>,
}

impl fmt::Debug for Sim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("seed", &self.seed)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

impl<'s> Sim<'s> {
    /// A simulation of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, profile: Profile::default(), invariants: Vec::new() }
    }

    /// How many replicas there are; at least two.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        let replicas = replicas.max(2);
        self.profile.replicas = (replicas, replicas);
        self
    }

    /// How many batches are written.
    #[must_use]
    pub fn writes(mut self, writes: u64) -> Self {
        self.profile.workload.writes = (writes, writes);
        self
    }

    /// What may go wrong.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.profile.faults = faults;
        self
    }

    /// Everything else at once: see [`Profile`].
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Something else that must be true at any time. It is asked whenever readers look at a replica, and in
    /// the end; `Err` says what is wrong.
    #[must_use]
    pub fn invariant(
        mut self,
        name: &str,
        invariant: impl Fn(&World<'_>) -> Result<(), String> + Sync + 's,
    ) -> Self {
        self.invariants.push((name.to_owned(), Box::new(invariant)));
        self
    }

    /// The plan that will be executed.
    pub fn plan(&self) -> Plan {
        Plan::draw(self.seed, &self.profile)
    }

    /// Runs it.
    pub fn run(&self) -> Outcome {
        self.replay(&self.plan())
    }

    /// Runs another plan, such as one that was kept, with the same invariants. A panic is a failure of the run.
    ///
    /// # Panics
    /// If the plan is one of an application's: only [`Runs`](crate::app::Runs) of that application can do what its steps say.
    #[track_caller]
    pub fn replay(&self, plan: &Plan) -> Outcome {
        assert!(
            plan.app.is_none(),
            "this is a plan of the application {:?}: replay it by `Runs` of that application",
            plan.app.as_deref().unwrap_or_default()
        );
        quiet_attempts();
        attempt(plan, Options { invariants: &self.invariants, ..Options::default() })
    }

    /// Cuts the plan down to what its failure needs.
    ///
    /// # Errors
    /// [`Passes`] if it does not fail.
    pub fn shrink(&self, effort: Effort) -> Result<Shrunk, Passes> {
        let judge = |plan: &Plan, facts: Option<&mut Facts>| {
            attempt(plan, Options { invariants: &self.invariants, facts, ..Options::default() }).failure
        };
        shrink(&self.plan(), &judge, effort, &mut |_| {})
    }
}

impl Outcome {
    /// Panics if a rule was broken, and says which, and how to see it again.
    ///
    /// # Panics
    /// If the run failed.
    #[track_caller]
    #[allow(clippy::panic, reason = "this is an assertion, for tests")]
    pub fn assert_ok(&self) {
        if let Some(failure) = &self.failure {
            let seed = self.seed;
            panic!(
                "seed {seed} failed\n{failure}\n  again     set DRIFTLESS_SIM_SEED={seed}, and run the test again"
            );
        }
    }
}

/// The seeds that a test should run: these, unless the environment names others. `DRIFTLESS_SIM_SEED=5` is one,
/// `DRIFTLESS_SIM_SEEDS=100..200` is a range of them.
///
/// # Panics
/// If the environment names some that make no sense.
#[allow(clippy::panic, reason = "this is for tests, which would run something else than was asked for")]
pub fn seeds(usual: Range<u64>) -> Range<u64> {
    Wishes::of_environment().unwrap_or_else(|error| panic!("{error}")).seeds.unwrap_or(usual)
}
