//! The surroundings of a run: what lasts as long as it does.

use serde::{Deserialize, Serialize};

/// The surroundings of a run. What a kept plan does not say is as in [`Setup::default`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Setup {
    /// How many replicas there are.
    pub replicas: usize,
    /// When the safety phase ends: then every fault is healed.
    pub safety_ms: u64,
    /// How long the replicas have from then on to agree.
    pub liveness_ms: u64,
    /// How generations are signed.
    pub signatures: Signatures,
    /// How long replicas wait for what.
    pub timing: Waits,
    /// Bytes of deltas in one frame.
    pub chunk_bytes: usize,
    /// The links.
    pub network: NetworkSetup,
    /// The disks.
    pub disk: DiskSetup,
    /// By how much each replica's wall clock is wrong.
    pub skew_ms: Vec<i64>,
    /// By how much each replica's wall clock is too fast, in a million. What is absent runs well.
    pub drift_ppm: Vec<i64>,
    /// Replicas that do not keep to the protocol: see [`Act::Attack`](super::Act::Attack).
    pub hostile: Vec<usize>,
    /// Readers look at a replica about this often.
    pub readers_ms: u64,
    /// How many generations may wait for other parts of their batches on one replica.
    pub waiting: usize,
    /// Of how many commits it is kept what they changed; `None` is as many as usual.
    pub watch_log: Option<u64>,
    /// What is limited more than usual.
    pub limits: LowLimits,
}

/// Limits of `driftless::Limits` that are so low that replicas reach them; `None` is as usual. None of them keeps those
/// who share something from agreeing: a limit of the logs that are taken would, so it is as usual always.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LowLimits {
    /// Syncgroups on one device: who is in so many makes and joins no more.
    pub syncgroups: Option<usize>,
    /// Links at a time: more are closed at once. Half of them are for calling others, so with fewer than twice as many
    /// as there are other replicas, some may have no link to anybody who could tell them more.
    pub links: Option<usize>,
    /// How far ahead of the local clock a generation may be stamped to be applied, in milliseconds.
    pub drift_ms: Option<u64>,
}

/// How generations are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signatures {
    /// By [`crate::KeyedHash`].
    Keyed,
    /// By Ed25519, as in the world.
    Ed25519,
}

/// The waits of `driftless::Timing`, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Waits {
    /// Before others are told of what came from elsewhere.
    pub relay: u64,
    /// Until both ends of a link make sure that they agree.
    pub confirm: u64,
    /// For an answer, the first time.
    pub patience: u64,
    /// For an answer, at most.
    pub patience_max: u64,
    /// Until a device that was not reached is tried again, the first time.
    pub redial: u64,
    /// The same, at most.
    pub redial_max: u64,
    /// For the other parts of a batch.
    pub parts: u64,
    /// For the device that comes before to resolve a conflict, the first time.
    pub resolve: u64,
}

impl From<driftless::Timing> for Waits {
    fn from(timing: driftless::Timing) -> Self {
        Self {
            relay: timing.relay.0,
            confirm: timing.confirm.0,
            patience: timing.patience.0,
            patience_max: timing.patience_max.0,
            redial: timing.redial.0,
            redial_max: timing.redial_max.0,
            parts: timing.parts.0,
            resolve: timing.resolve.0,
        }
    }
}

/// What the links are like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSetup {
    /// The shortest and the longest time on the way; each direction of each link draws its own within.
    pub latency_ms: (u64, u64),
    /// Up to so much more for each frame.
    pub jitter_ms: u64,
    /// Frames lost, in a million.
    pub loss_ppm: u32,
    /// Frames that arrive twice, in a million.
    pub duplicate_ppm: u32,
    /// Frames that are overtaken, in a million.
    pub reorder_ppm: u32,
    /// Frames that are corrupted, in a million.
    pub corrupt_ppm: u32,
    /// What a link carries; `None` is without limit.
    pub bytes_per_ms: Option<u64>,
    /// How many bytes a driver takes before it has put them on the wire.
    pub credit: u64,
    /// How long a link lasts, on average; `None` is for ever.
    pub link_life_ms: Option<u64>,
    /// Whether who is called learns how to call back.
    pub callback: bool,
    /// Whether devices in reach of each other find each other by themselves.
    pub neighbourhood: bool,
    /// Replicas that can call and cannot be called, as behind a gateway that translates addresses.
    pub call_only: Vec<usize>,
}

/// What the disks are like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskSetup {
    /// The shortest and the longest time that a sync takes.
    pub sync_ms: (u64, u64),
}
