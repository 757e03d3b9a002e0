//! Swarm testing: each seed also draws which kinds of fault and of work are on, and how strongly, so that
//! runs differ in kind and not only in order. A run with everything at once hides what a run with two faults
//! shows.

use std::str::FromStr;

use crate::coverage::Point;
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
    /// Of how many seeds in a hundred devices are removed, and get other rights.
    pub removals: u8,
    /// In how many of a hundred runs users have several devices.
    pub users: u8,
    /// Of how many seeds in a hundred the exchange of databases is paused for a while.
    pub paused: u8,
    /// Of how many seeds in a hundred the collections have schemas, and with them resolvers, watchers and
    /// transfers.
    pub policies: u8,
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
    /// Frames are corrupted, and links break for it.
    pub corruption: bool,
    /// Links are clogged for a while.
    pub clogs: bool,
    /// Some devices cannot be called.
    pub call_only: bool,
    /// Neighbourhoods come and go.
    pub neighbourhoods: bool,
    /// Disks fail to read, are full, or slow.
    pub disks: bool,
    /// Disks are damaged, lost, or set back to an old copy.
    pub losses: bool,
    /// Processes sleep.
    pub pauses: bool,
    /// Replicas are restarted with other settings.
    pub settings: bool,
    /// Wall clocks drift and jump.
    pub jumps: bool,
    /// Devices take other keys.
    pub rotations: bool,
    /// Devices vanish for ever.
    pub vanishing: bool,
    /// A device does not keep to the protocol.
    pub hostile: bool,
    /// Limits are low.
    pub limits: bool,
    /// Each seed has about half of what is on. Otherwise every seed has all of it.
    pub swarm: bool,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::each(false)
    }

    /// Everything may go wrong, in another choice for each seed.
    pub fn swarm() -> Self {
        Self { swarm: true, ..Self::all() }
    }

    /// Everything goes wrong in every run.
    pub fn all() -> Self {
        Self::each(true)
    }

    fn each(on: bool) -> Self {
        Self {
            crashes: on,
            shutdowns: on,
            partitions: on,
            broken_links: on,
            frames: on,
            slowness: on,
            clocks: on,
            discovery: on,
            corruption: on,
            clogs: on,
            call_only: on,
            neighbourhoods: on,
            disks: on,
            losses: on,
            pauses: on,
            settings: on,
            jumps: on,
            rotations: on,
            vanishing: on,
            hostile: on,
            limits: on,
            swarm: false,
        }
    }

    /// What of it one seed has. Each draw is made whether or not it can matter, so that switching one kind
    /// off leaves the others as they were.
    pub(super) fn choose(self, dice: &mut Dice) -> Self {
        if !self.swarm {
            return self;
        }
        let mut one_in = |n, possible: bool| dice.one_in(n) && possible;
        let mut on = |possible| one_in(2, possible);
        let usual = Self {
            crashes: on(self.crashes),
            shutdowns: on(self.shutdowns),
            partitions: on(self.partitions),
            broken_links: on(self.broken_links),
            frames: on(self.frames),
            slowness: on(self.slowness),
            clocks: on(self.clocks),
            discovery: on(self.discovery),
            corruption: on(self.corruption),
            clogs: on(self.clogs),
            call_only: on(self.call_only),
            neighbourhoods: on(self.neighbourhoods),
            disks: on(self.disks),
            pauses: on(self.pauses),
            settings: on(self.settings),
            jumps: on(self.jumps),
            ..Self::none()
        };
        // What takes something away for good comes less often: much can be asked only of runs without it.
        Self {
            losses: one_in(4, self.losses),
            vanishing: one_in(4, self.vanishing),
            hostile: one_in(3, self.hostile),
            limits: one_in(3, self.limits),
            rotations: one_in(3, self.rotations),
            ..usual
        }
    }
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            writes: (20, 120),
            groups: 3,
            keys: 8,
            value_bytes: 2_000,
            leaves: true,
            removals: 25,
            users: 20,
            paused: 15,
            policies: 60,
        }
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
        ("network", "partitions, broken, clogged and narrow links, lost and corrupted frames only"),
        ("disks", "disks that fail, fill, are damaged, lost and set back, and crashes"),
        ("clocks", "clocks that are wrong, drift and jump, and crashes"),
        (
            "people",
            "devices that sleep, are removed, moved about and vanish, and neighbourhoods that come and go",
        ),
        ("hostile", "a device that does not keep to the protocol in every run, and lost frames"),
        ("large", "8 to 16 replicas, more and larger writes"),
        ("policies", "schemas, resolvers, watchers and transfers in every run, on few keys"),
        ("removals", "devices that are removed and let in again, and rights that change, in every run"),
    ];

    /// How many seeds a suite has at least when it must have seen what its profile is for.
    pub const SEEN_FROM: u64 = 100;

    /// What the profile is for, if it is one of [`Profile::NAMES`]: each of it happens in one run of ten or more. Of the
    /// default profile the points themselves say when they must have been seen.
    pub fn is_for(&self) -> &'static [Point] {
        use Point::*;
        let mut names = Self::NAMES.iter().map(|(name, _)| *name);
        match names.find(|name| name.parse().as_ref() == Ok(self)).unwrap_or_default() {
            "calm" => &[Write, Delete, TwoHeads, Relayed],
            "harsh" => {
                &[Crash, FrameLost, DiskLost, SetBack, ClockBack, Paused, Vanished, Reconfigured, Forged]
            }
            "crashes" => &[Crash, CrashMidway, CrashLostCommits, RestartShown, RestartUnknown, Shutdown],
            "network" => &[
                PartitionDuringWrite,
                OneWayPartition,
                LinkBroken,
                FrameLost,
                FrameTwice,
                FrameOvertook,
                FrameCorrupted,
                Clogged,
                Narrow,
                CannotBeCalled,
            ],
            "disks" => &[ReadFailed, DiskFull, SlowSync, SetBack, GotBackOwn, DiskLost, DamageFound],
            "clocks" => &[SkewedWrite, ClockForward, ClockBack, Clock1970, ClockDrift, StampPushed, HeldBack],
            "people" => &[Paused, Removed, UserAdmitted, DeviceEnrolled, Vanished, Gathered, Parted],
            "hostile" => &[
                HostileMember,
                HostileStranger,
                FrameReplayed,
                FrameReflected,
                Garbage,
                Forged,
                ForgedAccepted,
                ForkProven,
                ForkHeard,
                BranchWrittenAgain,
                Lie,
                Flood,
                FaultBlamed,
            ],
            "large" => &[Write, TwoHeads, ThreeHeads, Relayed],
            "policies" => &[SchemaChanged, RefusedPolicy, Raised, Answered, Deferred, BatchWon, BatchTold],
            "removals" => &[
                Removed,
                HeardOfRemoval,
                WroteOn,
                RightsRaised,
                EndSet,
                Expired,
                RefusedSenior,
                UserRevoked,
                StruckOff,
                Destroyed,
            ],
            _ => &[],
        }
    }
}

/// A name that no profile has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no profile \"{0}\"; choose one of default, calm, harsh, crashes, network, disks, clocks, people, \
         hostile, large, policies, removals"
)]
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
                let faults = Faults {
                    partitions: true,
                    broken_links: true,
                    frames: true,
                    slowness: true,
                    corruption: true,
                    clogs: true,
                    call_only: true,
                    ..Faults::none()
                };
                Self { faults, ..base }
            }
            "disks" => {
                let faults = Faults {
                    crashes: true,
                    slowness: true,
                    disks: true,
                    losses: true,
                    rotations: true,
                    ..Faults::none()
                };
                Self { faults, ..base }
            }
            "clocks" => {
                let faults =
                    Faults { crashes: true, clocks: true, jumps: true, rotations: true, ..Faults::none() };
                Self { faults, ..base }
            }
            "people" => {
                let faults = Faults {
                    discovery: true,
                    neighbourhoods: true,
                    pauses: true,
                    vanishing: true,
                    partitions: true,
                    rotations: true,
                    ..Faults::none()
                };
                Self { faults, workload: Workload { removals: 60, users: 60, ..base.workload }, ..base }
            }
            "hostile" => {
                let faults = Faults {
                    hostile: true,
                    frames: true,
                    partitions: true,
                    rotations: true,
                    ..Faults::none()
                };
                Self { faults, workload: Workload { removals: 60, users: 60, ..base.workload }, ..base }
            }
            "removals" => {
                let faults = Faults {
                    discovery: true,
                    frames: true,
                    pauses: true,
                    partitions: true,
                    hostile: true,
                    swarm: true,
                    ..Faults::none()
                };
                Self { faults, workload: Workload { removals: 100, users: 60, ..base.workload }, ..base }
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
            "policies" => Self {
                replicas: (2, 5),
                workload: Workload {
                    keys: 4,
                    value_bytes: 60,
                    leaves: false,
                    policies: 100,
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
