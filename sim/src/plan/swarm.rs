//! Swarm testing: each seed also draws which kinds of fault and of work are on, and how strongly, so that
//! runs differ in kind and not only in order. A run with everything at once hides what a run with two faults
//! shows.

use std::str::FromStr;

use crate::dice::Dice;

/// What a suite draws its plans from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The fewest and the most replicas.
    pub replicas: (usize, usize),
    /// How long the safety phase lasts, in milliseconds of virtual time.
    pub safety_ms: (u64, u64),
    /// What people do.
    pub workload: Workload,
    /// What goes wrong.
    pub faults: Faults,
}

/// How much people do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The fewest and the most batches.
    pub writes: (u64, u64),
    /// The most syncgroups, at least 1.
    pub groups: u8,
    /// The most keys in a collection, at least 1: few keys, many conflicts.
    pub keys: u8,
    /// The longest value in bytes.
    pub value_bytes: u32,
    /// Whether devices leave.
    pub leaves: bool,
}

/// What may go wrong. A field that is on is drawn anew for each seed; one that is off never happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// Crashes, and restarts after them.
    pub crashes: bool,
    /// Clean shutdowns, and restarts after them.
    pub shutdowns: bool,
    /// The network falls apart.
    pub partitions: bool,
    /// Links break.
    pub broken_links: bool,
    /// Frames are lost, doubled and overtaken.
    pub frames: bool,
    /// Links are slow, disks are slow.
    pub slowness: bool,
    /// Wall clocks are wrong, within the drift limit.
    pub clocks: bool,
    /// Devices do not all find each other by themselves.
    pub discovery: bool,
    /// Each seed has about half of what is on. Otherwise every seed has all of it.
    pub swarm: bool,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self {
            crashes: false,
            shutdowns: false,
            partitions: false,
            broken_links: false,
            frames: false,
            slowness: false,
            clocks: false,
            discovery: false,
            swarm: false,
        }
    }

    /// Everything may go wrong, in another choice for each seed.
    pub fn swarm() -> Self {
        Self { swarm: true, ..Self::all() }
    }

    /// Everything goes wrong in every run.
    pub fn all() -> Self {
        Self {
            crashes: true,
            shutdowns: true,
            partitions: true,
            broken_links: true,
            frames: true,
            slowness: true,
            clocks: true,
            discovery: true,
            swarm: false,
        }
    }

    /// What of it one seed has. Each draw is made whether or not it can matter, so that switching one kind
    /// off leaves the others as they were.
    pub(super) fn choose(self, dice: &mut Dice) -> Self {
        if !self.swarm {
            return self;
        }
        let mut on = |possible: bool| dice.one_in(2) && possible;
        Self {
            crashes: on(self.crashes),
            shutdowns: on(self.shutdowns),
            partitions: on(self.partitions),
            broken_links: on(self.broken_links),
            frames: on(self.frames),
            slowness: on(self.slowness),
            clocks: on(self.clocks),
            discovery: on(self.discovery),
            swarm: false,
        }
    }
}

impl Default for Workload {
    fn default() -> Self {
        Self { writes: (20, 120), groups: 3, keys: 8, value_bytes: 2_000, leaves: true }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            replicas: (3, 8),
            safety_ms: (10_000, 90_000),
            workload: Workload::default(),
            faults: Faults::swarm(),
        }
    }
}

impl Profile {
    /// The names that [`Profile::from_str`] knows, each with what it is for.
    pub const NAMES: &'static [(&'static str, &'static str)] = &[
        ("default", "3 to 8 replicas, another choice of faults for each seed"),
        ("calm", "nothing goes wrong"),
        ("harsh", "every kind of fault in every run"),
        ("crashes", "crashes and shutdowns only"),
        ("network", "partitions, broken links and lost frames only"),
        ("large", "8 to 16 replicas, more and larger writes"),
    ];
}

/// A name that no profile has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no profile \"{0}\"; choose one of default, calm, harsh, crashes, network, large")]
pub struct UnknownProfile(String);

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let base = Self::default();
        Ok(match name {
            "default" => base,
            "calm" => Self { faults: Faults::none(), ..base },
            "harsh" => Self { faults: Faults::all(), ..base },
            "crashes" => Self { faults: Faults { crashes: true, shutdowns: true, ..Faults::none() }, ..base },
            "network" => {
                let faults = Faults { partitions: true, broken_links: true, frames: true, ..Faults::none() };
                Self { faults, ..base }
            }
            "large" => Self {
                replicas: (8, 16),
                workload: Workload {
                    writes: (50, 300),
                    groups: 4,
                    keys: 40,
                    value_bytes: 20_000,
                    ..base.workload
                },
                ..base
            },
            other => return Err(UnknownProfile(other.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_profile_has_its_name() {
        for (name, _) in Profile::NAMES {
            assert!(name.parse::<Profile>().is_ok(), "{name}");
        }
        assert!("unheard-of".parse::<Profile>().is_err());
    }
}
