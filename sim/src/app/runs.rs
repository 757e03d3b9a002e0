//! Many runs of an application: the body of a test.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{App, Report};
use crate::environment::Wishes;
use crate::plan::{Faults, Profile, Workload};

/// Runs of an application, on as many devices and seeds as wanted.
///
/// What is not said is usual: 100 seeds, 2 to 5 devices, 10 to 60 acts, all faults in another choice for each seed.
///
/// ```no_run
/// # use driftless_sim::app::{App, Chance, Device, Schema};
/// # #[derive(Clone)] struct Inventory;
/// # impl App for Inventory {
/// #     type Act = u8;
/// #     fn schema(&self) -> Schema { Schema::new().collection("stock", &[]) }
/// #     fn draw(&self, _: &mut Chance) -> u8 { 0 }
/// #     fn act(&mut self, _: &mut Device<'_>, _: u8) {}
/// # }
/// use driftless_sim::app::Runs;
///
/// # #[cfg(any())]
/// #[test]
/// fn nothing_is_sold_twice() {
/// # }
/// # fn nothing_is_sold_twice() {
///     Runs::new(Inventory).seeds(0..200).kept("tests/plans").sometimes(["sold out", "crash"]).check();
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Runs<A> {
    pub(super) app: A,
    pub(super) seeds: Range<u64>,
    pub(super) profile: Profile,
    pub(super) kept: Option<PathBuf>,
    pub(super) sometimes: Vec<String>,
    pub(super) effort: u64,
}

impl<A: App> Runs<A> {
    /// The usual runs of an application.
    pub fn new(app: A) -> Self {
        let workload =
            Workload { writes: (10, 60), groups: 1, leaves: false, policies: 0, ..Workload::default() };
        let faults = Faults { hostile: false, ..Faults::swarm() };
        let profile = Profile { replicas: (2, 5), workload, faults, ..Profile::default() };
        Self { app, seeds: 0..100, profile, kept: None, sometimes: Vec::new(), effort: 3_000 }
    }

    /// Which seeds.
    #[must_use]
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// How many devices there are, at least and at most.
    #[must_use]
    pub fn devices(mut self, fewest: usize, most: usize) -> Self {
        let fewest = fewest.max(1);
        self.profile.replicas = (fewest, most.max(fewest));
        self
    }

    /// How often users do something in a run, at least and at most.
    #[must_use]
    pub fn acts(mut self, fewest: u64, most: u64) -> Self {
        self.profile.workload.writes = (fewest, most.max(fewest));
        self
    }

    /// Whether devices leave.
    #[must_use]
    pub fn leaves(mut self, leave: bool) -> Self {
        self.profile.workload.leaves = leave;
        self
    }

    /// For how long things go wrong, in milliseconds of virtual time, at least and at most.
    #[must_use]
    pub fn lasting(mut self, shortest_ms: u64, longest_ms: u64) -> Self {
        let shortest = shortest_ms.max(1_000);
        self.profile.safety_ms = (shortest, longest_ms.max(shortest));
        self
    }

    /// What may go wrong.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.profile.faults = faults;
        self
    }

    /// A directory with plans, `*.plan`, that are run before all seeds: failures of former times.
    #[must_use]
    pub fn kept(mut self, plans: impl Into<PathBuf>) -> Self {
        self.kept = Some(plans.into());
        self
    }

    /// Points that must be reached in some run: those of [`Device::sometimes`](super::Device::sometimes), or names of
    /// the simulator's own (see [`Point`](crate::Point)), such as `crash` or `write in a partition`. They are asked for where
    /// all seeds of the test are run, and not where the environment names others.
    #[must_use]
    pub fn sometimes<P: Into<String>>(mut self, points: impl IntoIterator<Item = P>) -> Self {
        self.sometimes.extend(points.into_iter().map(Into::into));
        self
    }

    /// How many plans are tried at most to make a failure smaller.
    #[must_use]
    pub fn effort(mut self, plans: u64) -> Self {
        self.effort = plans;
        self
    }

    /// Runs all of it.
    ///
    /// # Panics
    /// If something is wrong: the text says what, tells the story, and how to see it again.
    #[track_caller]
    #[allow(clippy::panic, reason = "this is an assertion, for tests")]
    pub fn check(&self) {
        let wishes = Wishes::of_environment().unwrap_or_else(|error| panic!("{error}"));
        let mut report = self.run_as(&wishes);
        if let Some(found) = report.found.as_mut() {
            let dir = wishes.dir.as_deref().unwrap_or(Path::new("driftless-failures"));
            found.keep(dir, &report.app);
        }
        assert!(report.passed(), "{report}");
        if wishes.plan.is_some() {
            // Test harnesses show what passing tests print if they are asked to.
            println!("{report}");
        }
    }

    /// Runs all of it, whatever the environment says, and tells how it went. Nothing is written to files.
    pub fn run(&self) -> Report {
        self.run_as(&Wishes::default())
    }
}
