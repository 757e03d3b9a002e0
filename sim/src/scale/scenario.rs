//! What is simulated at large, and what came of it.

use serde::Serialize;

/// The largest syncgroup: its creator is linked to all other members while they join.
pub const LARGEST_GROUP: u32 = 60;

/// Rows of a syncgroup.
pub(super) const ROWS: u64 = 16;
/// Bytes of a value.
pub(super) const VALUE: usize = 50;
/// Milliseconds of virtual time within which everybody must come to rest.
pub(super) const REST: u64 = 3_600_000;

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Scenario {
    /// From which all choices follow.
    pub seed: u64,
    /// How many replicas.
    pub replicas: u32,
    /// Members of each syncgroup, 2 to [`LARGEST_GROUP`]; the last one may have fewer.
    pub group: u32,
    /// Milliseconds between two writes of a replica, on average.
    pub pause: u64,
    /// Whether frames get lost, processes crash and links break.
    pub faults: bool,
}

/// Frames of a million that are lost.
pub(super) const LOST: u32 = 10_000;
/// Milliseconds between two crashes of a replica, and between two cuts of one of its links, on average.
pub(super) const CRASH: u64 = 200_000;

impl std::fmt::Display for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { replicas, group, pause, faults, .. } = self;
        write!(
            f,
            "{replicas} replicas in syncgroups of {group}, a ring with random chords each; every replica "
        )?;
        write!(
            f,
            "writes one of {ROWS} rows of {VALUE} bytes each {} s; frames take 1-50 ms",
            *pause as f64 / 1e3
        )?;
        if *faults {
            let each = CRASH / 1_000;
            write!(
                f,
                ", 1 in {} is lost; each replica crashes and loses a link each {each} s",
                1_000_000 / LOST
            )?;
        }
        Ok(())
    }
}

/// How much happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// Events that cores were given: calls of `Core::handle`.
    pub events: u64,
    /// Those that were deadlines, frames and durable commits; the others are commands and links.
    pub ticks: u64,
    /// See there.
    pub frames: u64,
    /// See there.
    pub durables: u64,
    /// Batches written.
    pub writes: u64,
    /// Commits that were applied.
    pub commits: u64,
    /// Bytes of frames that were sent.
    pub bytes: u64,
    /// Frames that were lost.
    pub lost: u64,
    /// Processes that crashed.
    pub crashes: u64,
    /// Links that broke by themselves.
    pub cuts: u64,
}

/// Where everybody came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Agreement {
    /// Syncgroups, all members of which hold and show the same.
    pub syncgroups: u32,
    /// Generations held by all replicas together.
    pub generations: u64,
    /// What all of them show, in a hash: the same for the same scenario.
    pub digest: crate::Digest,
}
