//! A deterministic simulator for Driftless.
//!
//! It runs many replicas of the real [`driftless::Core`] in one thread and one virtual time, with networks
//! that lose and reorder, disks that forget what was not durable, clocks that are wrong and processes that
//! die; and it checks all the while, against a [reference model](model) and other [oracles](Oracle), that
//! the rules of the semantics hold. Everything follows from a seed, so that every failure can be replayed.
//!
//! ```
//! use driftless_sim::{Faults, Sim, world};
//!
//! let outcome = Sim::new(7)
//!     .replicas(4)
//!     .writes(20)
//!     .faults(Faults::swarm())
//!     .invariant("no row is longer than its writer made it", |world| {
//!         let Some(group) = world.syncgroup(0) else { return Ok(()) };
//!         for device in world.devices() {
//!             for row in device.rows(&group, &world::collection(0)) {
//!                 if row.value.len() > 2_000 {
//!                     return Err(format!("device {} shows {} bytes", device.index, row.value.len()));
//!                 }
//!             }
//!         }
//!         Ok(())
//!     })
//!     .run();
//! outcome.assert_ok();
//! ```
//!
//! # How it works
//!
//! * A seed is drawn into a [`Plan`]: who writes what when, and what goes wrong. A plan is text, and can be
//!   kept, changed and [executed](execute) without its seed.
//! * A [`World`] executes it: a queue of happenings in virtual time, each of which becomes an event of some
//!   core, whose actions become happenings.
//! * In the *safety* phase everything may fail, and what must always hold is checked. In the *liveness* phase
//!   all faults are healed, and everybody must come to agree and to rest.
//! * A [suite] runs many seeds, and [counts](Coverage) what they exercised.
//!
//! A run can be recorded, and looked at as a [page].
//!
//! The command `driftless-sim` runs suites, replays failures and writes pages.
#![forbid(unsafe_code)]

pub mod app;
mod coverage;
mod dice;
pub mod digests;
mod environment;
pub mod explore;
mod facts;
mod keyed;
mod merges;
pub mod model;
mod oracle;
pub mod page;
pub mod plan;
pub mod report;
mod run;
pub mod scale;
pub mod shards;
pub mod shrink;
mod sim;
pub mod story;
pub mod suite;
mod trace;
pub mod world;

pub use crate::coverage::{Coverage, Point, Topic};
pub use crate::facts::{Facts, Happened, Remark};
pub use crate::keyed::KeyedHash;
pub use crate::oracle::{Oracle, Violation};
pub use crate::plan::{Faults, Plan, Profile, Workload};
pub use crate::run::{Digest, Failure, Figures, Invariant, Options, Outcome, execute};
pub use crate::sim::{Sim, seeds};
pub use crate::trace::TraceLine;
pub use crate::world::World;

/// The examples of the project's front page, run like all others.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct FrontPage;
