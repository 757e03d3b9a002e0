//! A plan: everything that is decided about a run before it starts.
//!
//! A seed is good for one version of the code; a plan states decisions in the terms of the system, so a kept
//! plan still means the same when the code around it has changed. It is a list of [`Step`]s with their times,
//! and a [`Setup`] for everything that lasts. Steps that make no sense when their time comes (a write on a
//! device that is down) are passed over, so that any step can be taken out of a plan and the rest still runs.
//!
//! Replicas are named by number, syncgroups, collections and keys by small labels: `g0/c1/k3` is key 3 of
//! collection 1 of syncgroup 0. Times are milliseconds of virtual time since the start of the run.
//!
//! # As text
//!
//! ```text
//! # A story, for people.
//! {"plan":1,"seed":7,"setup":{"replicas":2,"safety_ms":20000,"network":{"loss_ppm":50000}}}
//! {"at":100,"do":"create","replica":0,"group":0}
//! {"at":2000,"do":"write","replica":0,"text":1,"changes":["g0/c0/k1=40"]}
//! ```
//!
//! The first line is the header, every other line a step. What the setup does not say is calm (see
//! [`Setup::default`]), and what a step does not say is usual. So that kept plans outlive changes of the code:
//!
//! * A new field of the setup has a default that changes nothing, and the defaults that there are stay.
//! * A new kind of step changes nothing for plans without it; a new field of a step has a default.
//! * Whoever takes a field or a kind of step away, or changes its meaning, raises the version of the format:
//!   then older plans are refused, instead of meaning something else without a word.
//! * What a plan leaves to chance is drawn for each replica, link and frame from a stream of its own, so that
//!   a change in one place does not change what chance does in another. A shrunk plan leaves it little.

mod account;
mod act;
mod application;
mod calm;
mod describing;
mod draw;
mod edit;
mod faults;
mod opening;
mod paused;
mod policies;
mod publishing;
mod removals;
mod setup;
mod swarm;
mod text;
mod users;
mod usual;

use serde::{Deserialize, Serialize};

use crate::app::Hosted;

pub(crate) use self::account::balance;
pub use self::account::{Account, Ledger};
pub use self::act::{Act, Attack, Fate, Require, ResolverKind, Settings};
pub use self::edit::{Edit, RuleChange, RuleText, What};
pub use self::setup::{DiskSetup, LowLimits, NetworkSetup, Setup, Signatures, Waits};
pub use self::swarm::{Faults, Profile, UnknownProfile, Workload};
pub(crate) use self::text::differences;
pub use self::text::{ParsePlanError, RowLabel};

/// What happens in a run, and in what surroundings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// From which the choices of the run are drawn that the plan does not state.
    pub seed: u64,
    /// The application that it is for, if it is for one: see [`crate::app`].
    pub app: Option<String>,
    /// What lasts.
    pub setup: Setup,
    /// What happens, in order of time.
    pub steps: Vec<Step>,
}

/// Something that happens at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub act: Act,
}

impl Plan {
    /// Draws the plan of a seed.
    pub fn draw(seed: u64, profile: &Profile) -> Self {
        draw::plan(seed, profile)
    }

    /// Draws the plan of a seed for an application.
    pub fn draw_for(seed: u64, profile: &Profile, app: &dyn Hosted) -> Self {
        application::plan(seed, profile, app)
    }

    /// When the safety phase ends.
    pub fn safety_ends(&self) -> u64 {
        self.setup.safety_ms
    }
}
