//! Tests of your own application, on many devices, under faults, from a seed.
//!
//! An [`App`] says what the application is: which collections, rules and merges it has, what its users do, what it
//! writes when they do it, how it resolves conflicts, and what must never be seen. [`Runs`] makes a test of it. Everything
//! around it is the simulator's: devices that join, networks that fall apart, processes that die between two
//! commits, disks that are set back, clocks that are wrong. A run that shows something wrong is cut down to what it
//! takes, kept as a plan, and told as a story, with the command that runs it again.
//!
//! ```
//! use driftless_sim::app::{App, Batch, Chance, Checked, Device, Runs, Schema, ensure};
//! # use driftless::{Merge, Policy};
//! # use serde::{Deserialize, Serialize};
//!
//! /// A poll: everybody votes once, and all votes are counted.
//! #[derive(Clone)]
//! struct Poll;
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! struct Vote(u8);
//!
//! impl App for Poll {
//!     type Act = Vote;
//!     fn schema(&self) -> Schema {
//!         Schema::new().collection("votes", &[("", Policy::Merge(Merge::Counter))]).collection("voters", &[])
//!     }
//!     fn draw(&self, chance: &mut Chance) -> Vote {
//!         Vote(chance.below(3) as u8)
//!     }
//!     fn act(&mut self, device: &mut Device<'_>, Vote(option): Vote) {
//!         let me = device.me();
//!         if device.get("voters", &me).is_none() {
//!             let vote = Batch::new().add("votes", option.to_string(), 1).put("voters", &me, "has voted");
//!             let _ = device.write(vote); // Whoever may not write yet votes another time.
//!         }
//!     }
//!     fn check(&self, device: &Device<'_>) -> Checked {
//!         let votes: i64 = (0..3).map(|option| device.number("votes", option.to_string())).sum();
//!         let voters = device.rows("voters").len();
//!         ensure(votes == voters as i64, "one vote for each voter", format_args!("{votes} of {voters}"))
//!     }
//! }
//!
//! // This is the body of a #[test].
//! Runs::new(Poll).seeds(0..20).check();
//! ```
//!
//! # How the application sees the world
//!
//! * A value of the [`App`] is one process of the application on one device: a clone of the one that [`Runs`] was
//!   given is made when the process starts, and is gone when it ends. So its fields are what the application keeps in
//!   memory; what is to survive must be written.
//! * It has one syncgroup, of which all devices become members sooner or later, most with the right to write, some as
//!   admins. It is called when its device has the whole syncgroup, and the [`Schema`] is there.
//! * It is called by one device at a time, so what it reads stays as it is until it returns. What it has read and
//!   keeps in memory from one call to the next may be outdated: see [`Batch::unless_changed`].
//! * It must be deterministic: the same calls, the same writes. [`Runs`] runs some seeds and each plan of a file twice, and
//!   compares.
//! * Panics are failures, so `assert!` will do where something is wrong with the application itself.
//!
//! # What is checked
//!
//! [`App::check`] is asked of each device whenever its rows change, and when readers look; [`App::settled`] when all
//! faults have ended and all agree. All [oracles](crate::Oracle) of the simulator stay on duty: in your tests the
//! engine is tested too. The invariants of an application are mostly about more than the engine promises: that all
//! come to agree does not mean that they agree on something sensible.
//!
//! # Sometimes
//!
//! A test that has never seen a conflict says nothing about conflicts. [`Device::sometimes`] marks a place that some
//! run must reach, and [`Runs::sometimes`] fails if none does.
//!
//! # From the environment
//!
//! | variable | what it does |
//! |---|---|
//! | `DRIFTLESS_SIM_SEEDS=0..5000` | runs these seeds instead |
//! | `DRIFTLESS_SIM_SEED=17` | runs this one |
//! | `DRIFTLESS_SIM_PLAN=FILE` | runs this plan, and tells its story (which passing tests show with `-- --nocapture`) |
//! | `DRIFTLESS_SIM_DIR=DIR` | where failures are kept, otherwise `driftless-failures` |
//! | `DRIFTLESS_SIM_JOBS=2` | how many runs at a time, otherwise as many as there are cores |
//!
//! # What it does not do
//!
//! * All rows of the application are in one syncgroup.
//! * No member of it is hostile, unless [`Faults::hostile`](crate::Faults) is switched on: who may write may write
//!   anything, and hardly any invariant stands that.
//! * Users do one thing at a time, on one device each.

mod batch;
mod chance;
mod course;
mod device;
mod hosted;
mod report;
mod runs;
mod schema;

use std::fmt;

use driftless::{Choice, Conflict, MergeFunction, Resolution};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::batch::{Batch, NotWritten};
pub use self::chance::Chance;
pub use self::device::Device;
pub(crate) use self::device::Host;
pub use self::hosted::{Hosted, Process};
pub use self::report::{Found, Origin, Report};
pub use self::runs::Runs;
pub use self::schema::Schema;

/// An application: one process of it, on one device.
pub trait App: Clone + Sync + 'static {
    /// Something that a user does. Plans keep it as JSON, and shrinking makes its numbers smaller and its lists
    /// shorter; what is then no act any more is passed over.
    type Act: Serialize + DeserializeOwned;

    /// Its collections, with the rules for their conflicts. The device that makes the syncgroup sets them.
    fn schema(&self) -> Schema;

    /// Its own merges, for rows that its schema merges by name (S-16): every device has them. The reference model takes
    /// them for what such rows should show, so whether they merge sensibly is for [`App::check`] to say.
    ///
    /// ```
    /// use driftless::{Merge, MergeFunction, Name, Operation, Policy};
    /// use driftless_sim::app::{App, Batch, Chance, Checked, Device, Runs, Schema, ensure};
    ///
    /// /// The highest score counts.
    /// struct Highest;
    ///
    /// impl MergeFunction for Highest {
    ///     fn name(&self) -> &str {
    ///         "highest"
    ///     }
    ///     fn merge(&self, bases: &[&[u8]], operations: &[&[u8]]) -> Option<Vec<u8>> {
    ///         bases.iter().chain(operations).max().map(|score| score.to_vec())
    ///     }
    /// }
    ///
    /// #[derive(Clone, Default)]
    /// struct Game(u8); // What this device has scored.
    ///
    /// impl App for Game {
    ///     type Act = u8;
    ///     fn schema(&self) -> Schema {
    ///         let highest = Merge::Named(Name::new("highest").unwrap());
    ///         Schema::new().collection("scores", &[("", Policy::Merge(highest))])
    ///     }
    ///     fn merges(&self) -> Vec<&'static dyn MergeFunction> {
    ///         vec![&Highest]
    ///     }
    ///     fn draw(&self, chance: &mut Chance) -> u8 {
    ///         chance.below(200) as u8
    ///     }
    ///     fn act(&mut self, device: &mut Device<'_>, score: u8) {
    ///         let (merge, operation) = (Name::new("highest").unwrap(), vec![score].into());
    ///         let batch = Batch::new().operate("scores", "all", Operation::Named { merge, operation });
    ///         if device.write(batch).is_ok() {
    ///             self.0 = self.0.max(score);
    ///         }
    ///     }
    ///     fn check(&self, device: &Device<'_>) -> Checked {
    ///         let shown = device.get("scores", "all").map_or(0, |score| score[0]);
    ///         ensure(shown >= self.0, "no score is lost", format_args!("{shown}, {} was scored here", self.0))
    ///     }
    /// }
    ///
    /// Runs::new(Game::default()).seeds(0..10).check();
    /// ```
    fn merges(&self) -> Vec<&'static dyn MergeFunction> {
        Vec::new()
    }

    /// Draws something that a user could do. It is asked of the application as [`Runs`] was given it, before the run.
    fn draw(&self, chance: &mut Chance) -> Self::Act;

    /// A user does something on a device.
    fn act(&mut self, device: &mut Device<'_>, act: Self::Act);

    /// The process has started, or rows have changed, by this device or by others. An application that writes here
    /// must come to an end of it, or the run fails for want of rest.
    fn changed(&mut self, device: &mut Device<'_>) {
        let _ = device;
    }

    /// Decides a conflict, where the schema leaves it to the application. Otherwise the version that readers see
    /// becomes the only one, which all devices choose alike.
    ///
    /// A row that is not answered, or answered by [`Choice::Leave`], stays open.
    fn resolve(&mut self, device: &Device<'_>, conflict: &Conflict) -> Resolution {
        let _ = device;
        let shown = |row: &driftless::ConflictedRow| {
            row.heads.first().map_or(Choice::Leave, |head| Choice::Pick(head.version))
        };
        conflict.open().fold(Resolution::new(), |resolution, row| resolution.answer(row, shown(row)))
    }

    /// What must be true of what a device shows at any time.
    ///
    /// # Errors
    /// [`Broken`], as by [`ensure`], says which invariant does not hold, and what is there instead.
    fn check(&self, device: &Device<'_>) -> Checked {
        let _ = device;
        Ok(())
    }

    /// What must be true in the end, once all faults have ended and all devices show the same.
    ///
    /// # Errors
    /// [`Broken`], as for [`App::check`].
    fn settled(&self, device: &Device<'_>) -> Checked {
        let _ = device;
        Ok(())
    }

    /// What plans and files call it: usually the name of its type.
    fn name(&self) -> String {
        let path = std::any::type_name::<Self>();
        let path = path.split('<').next().unwrap_or(path);
        path.rsplit("::").next().unwrap_or(path).to_owned()
    }
}

/// The result of a check.
pub type Checked = Result<(), Broken>;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which. Shrinking goes for the same one.
    pub invariant: &'static str,
    /// What was seen.
    pub seen: String,
}

/// Says that an invariant does not hold, unless it does.
///
/// ```
/// # use driftless_sim::app::ensure;
/// let stock = -3;
/// let broken = ensure(stock >= 0, "nothing is sold twice", format_args!("{stock} apples are left"));
/// assert_eq!(broken.unwrap_err().seen, "-3 apples are left");
/// ```
///
/// # Errors
/// [`Broken`] if it does not hold. What was seen is put into words only then.
pub fn ensure(holds: bool, invariant: &'static str, seen: impl fmt::Display) -> Checked {
    if holds { Ok(()) } else { Err(Broken { invariant, seen: seen.to_string() }) }
}
