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

mod calm;
mod draw;
mod edit;
mod faults;
mod policies;
mod swarm;
mod text;
mod usual;

use serde::{Deserialize, Serialize};

pub use self::edit::{Account, Edit, RuleText, What};
pub(crate) use self::edit::{OWN, SHARED};
pub use self::swarm::{Faults, Profile, UnknownProfile, Workload};
pub(crate) use self::text::differences;
pub use self::text::{ParsePlanError, RowLabel};
use self::usual::*;

/// What happens in a run, and in what surroundings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// From which the choices of the run are drawn that the plan does not state.
    pub seed: u64,
    /// What lasts.
    pub setup: Setup,
    /// What happens, in order of time.
    pub steps: Vec<Step>,
}

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
    /// Replicas that do not keep to the protocol: see [`Act::Attack`].
    pub hostile: Vec<usize>,
    /// Readers look at a replica about this often.
    pub readers_ms: u64,
    /// How many generations may wait for other parts of their batches on one replica.
    pub waiting: usize,
    /// Of how many commits it is kept what they changed; `None` is as many as usual.
    pub watch_log: Option<u64>,
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

/// Something that happens at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub act: Act,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Act {
    /// Somebody makes a syncgroup.
    Create {
        /// On which replica.
        replica: usize,
        /// Its label from now on.
        group: u8,
        /// In which database of the device.
        #[serde(default, skip_serializing_if = "is_zero")]
        database: u8,
        /// With the collections 0, 1, … up to this many.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        collections: u8,
    },
    /// Somebody adds a collection.
    AddCollection {
        /// On which replica.
        replica: usize,
        /// To which syncgroup.
        group: u8,
        /// Its label.
        collection: u8,
    },
    /// Somebody makes an invitation.
    Invite {
        /// On which replica.
        replica: usize,
        /// To which syncgroup.
        group: u8,
        /// Its label from now on.
        ticket: u32,
        /// What the newcomer may do.
        #[serde(default = "write", skip_serializing_if = "is_write")]
        rights: driftless::Rights,
        /// Whether several devices may use it.
        #[serde(default, skip_serializing_if = "is_false")]
        reusable: bool,
        /// How long it is good.
        #[serde(default = "a_day", skip_serializing_if = "is_a_day")]
        valid_ms: u64,
    },
    /// Somebody takes an invitation, as soon as it is made.
    Join {
        /// On which replica.
        replica: usize,
        /// Which invitation.
        ticket: u32,
        /// Into which database of the device.
        #[serde(default, skip_serializing_if = "is_zero")]
        database: u8,
    },
    /// Somebody leaves a syncgroup.
    Leave {
        /// On which replica.
        replica: usize,
        /// Which syncgroup.
        group: u8,
    },
    /// Somebody writes a batch.
    Write {
        /// On which replica.
        replica: usize,
        /// What its values say. Equal texts of equal length are equal values.
        text: u64,
        /// What it changes.
        changes: Vec<Edit>,
        /// What must still hold for it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        require: Vec<Require>,
    },
    /// Somebody says what becomes of conflicts in a collection.
    Schema {
        /// On which replica.
        replica: usize,
        /// In which syncgroup.
        group: u8,
        /// In which collection.
        collection: u8,
        /// All its rules.
        rules: Vec<RuleText>,
    },
    /// Somebody takes an amount from one account and gives it to another, in one batch: so all accounts together
    /// come to nothing, whatever is read as a whole.
    Transfer {
        /// On which replica.
        replica: usize,
        /// In which syncgroup.
        group: u8,
        /// From which account.
        from: Account,
        /// To which.
        to: Account,
        /// How much.
        amount: i64,
        /// How long it takes from reading the accounts to writing them; if they have changed by then, it is done
        /// again. Shared accounts are counters, which need not be read.
        #[serde(default)]
        think_ms: u64,
    },
    /// An application's resolver attaches to all databases of a device, or goes.
    Resolver {
        /// On which replica.
        replica: usize,
        /// What it is like.
        kind: ResolverKind,
    },
    /// Somebody watches rows. Who watches goes on after a restart.
    Watch {
        /// On which replica.
        replica: usize,
        /// The watcher's number on that device; it takes the place of an earlier one, and goes on where that one
        /// stopped if it watched the same.
        watcher: u8,
        /// In which syncgroup.
        group: u8,
        /// In which collection.
        collection: u8,
        /// Rows whose keys start so.
        #[serde(default)]
        prefix: String,
        /// How many updates it takes when it looks; `None` is all there are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<usize>,
    },
    /// Somebody stops watching, and keeps the marker.
    Unwatch {
        /// On which replica.
        replica: usize,
        /// Which watcher.
        watcher: u8,
    },
    /// The process dies at once.
    Crash {
        /// Which.
        replica: usize,
        /// How many of the commits that are not durable survive; `None` is for chance to say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<usize>,
        /// Half of the first commit that does not survive is on the disk.
        #[serde(default, skip_serializing_if = "is_false")]
        torn: bool,
    },
    /// The process dies right after one of its next commits, before anything else is done.
    CrashAtCommit {
        /// Which.
        replica: usize,
        /// How many commits go well before.
        after: u32,
        /// How many of the commits that are not durable survive; `None` is for chance to say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<usize>,
    },
    /// The process is asked to stop, and finishes in good order.
    Shutdown {
        /// Which.
        replica: usize,
    },
    /// A process that is not running starts.
    Restart {
        /// Which.
        replica: usize,
        /// Whether the driver can show that its store continues.
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        shown: bool,
        /// What is set otherwise from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        settings: Option<Settings>,
    },
    /// The process sleeps for a while: what happens to it, happens when it wakes.
    Pause {
        /// Which.
        replica: usize,
        /// For how long.
        ms: u64,
        /// Whether others give up on it meanwhile, and its links break.
        #[serde(default, skip_serializing_if = "is_false")]
        links_break: bool,
    },
    /// A device is never seen again, nor its disk.
    Vanish {
        /// Which.
        replica: usize,
    },
    /// From now on a wall clock is wrong by so much. Undone by the same with 0.
    SetClock {
        /// Which.
        replica: usize,
        /// By how much, in milliseconds; what would be before 1970 is 1970.
        ms: i64,
    },
    /// The store fails to read, after some more reads.
    FailReads {
        /// Which.
        replica: usize,
        /// How many reads go well before.
        #[serde(default, skip_serializing_if = "is_zero")]
        after: u32,
        /// The driver fetches what is missing and offers the event again; otherwise the replica is closed, and
        /// opened again after a while.
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        again: bool,
    },
    /// The disk is full: a commit cannot be written, and the replica is closed, and opened again after a while.
    FillDisk {
        /// Which.
        replica: usize,
        /// How many commits go well before.
        #[serde(default, skip_serializing_if = "is_zero")]
        after: u32,
    },
    /// A sync of the disk takes longer.
    SlowSync {
        /// Which.
        replica: usize,
        /// By how much.
        ms: u64,
    },
    /// Something on the disk is not what it was, which its checksums show when it is next read. The replica is
    /// closed, and starts again from the latest copy of its disk, or from nothing.
    Damage {
        /// Which.
        replica: usize,
    },
    /// Somebody copies the whole disk, as far as it is durable.
    Copy {
        /// Which.
        replica: usize,
    },
    /// The process is stopped, and the copy takes the place of the disk. Without a copy nothing happens.
    Restore {
        /// Which.
        replica: usize,
    },
    /// The process dies with all that its disk had; its key is kept elsewhere.
    LoseDisk {
        /// Which.
        replica: usize,
    },
    /// Frames from some replicas to others are lost, and no link comes about between them.
    Cut {
        /// From these.
        from: Vec<usize>,
        /// To those.
        to: Vec<usize>,
        /// Also in the other direction.
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        both: bool,
    },
    /// Every cut is undone.
    Heal,
    /// What two replicas send each other is held up for a while.
    Clog {
        /// The one.
        a: usize,
        /// The other.
        b: usize,
        /// For how long.
        ms: u64,
    },
    /// Some devices come together, and find each other.
    Gather {
        /// Which.
        members: Vec<usize>,
    },
    /// They part, and lose sight of each other.
    Part {
        /// Which.
        members: Vec<usize>,
    },
    /// Every link between two replicas breaks.
    Break {
        /// The one.
        a: usize,
        /// The other.
        b: usize,
    },
    /// A device finds out where another is.
    Find {
        /// Who finds.
        replica: usize,
        /// Whom.
        peer: usize,
    },
    /// What was found is not there any more.
    LoseSight {
        /// Who had found.
        replica: usize,
        /// Whom.
        peer: usize,
    },
    /// Decides the fate of one frame, instead of chance.
    Frame {
        /// Who sends it.
        from: usize,
        /// To whom.
        to: usize,
        /// The how-manyeth of all frames between the two in this direction, counted from 0.
        nth: u64,
        /// What becomes of it.
        fate: Fate,
    },
    /// A hostile replica does something to another.
    Attack {
        /// Who attacks.
        replica: usize,
        /// Whom.
        peer: usize,
        /// In which syncgroup, of which it at least knows the id.
        group: u8,
        /// What it does.
        attack: Attack,
    },
}

/// What can be set otherwise at a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long the replica waits for what.
    pub timing: Waits,
    /// Bytes of deltas in one frame.
    pub chunk_bytes: usize,
    // A version of the protocol to be upgraded to will stand here, once there is a second one.
}

/// What a hostile replica does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Attack {
    /// Sends frames again that it once got or sent, on whatever link.
    Replay,
    /// Sends back what it got from the other.
    Reflect,
    /// Sends bytes that are no frame.
    Garbage,
    /// Sends frames of its own with some bytes changed.
    Mangle,
    /// Sends generations that it has made up.
    Forge(driftless::hostile::Forgery),
    /// Says something wrong about what it holds, or knows.
    Lie(driftless::hostile::Lie),
    /// Asks or says more than it should.
    Flood(driftless::hostile::Flood),
}

/// What a resolver is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResolverKind {
    /// There is none.
    Absent,
    /// It answers soon, and on every device alike.
    Correct,
    /// It answers like a correct one, but late.
    Slow,
    /// It dies over the question, with its process or without, as long as faults are on.
    Crashing,
    /// It has another answer on every device, every time.
    Stubborn,
    /// It never answers.
    Silent,
}

impl ResolverKind {
    /// Whether it answers in the end.
    pub fn answers(self) -> bool {
        !matches!(self, Self::Absent | Self::Silent)
    }
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It arrives.
    Arrive,
    /// It does not.
    Lose,
    /// It arrives, and once more this many milliseconds later.
    Twice(u64),
    /// It arrives this many milliseconds late, and later ones overtake it.
    Late(u64),
    /// Some of it is changed on its way. Links are authenticated: the driver notices, and the link breaks.
    Corrupt,
}

/// What must hold for a batch, as somebody saw it who looked before writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Require {
    /// The row; of a range, the first.
    pub row: RowLabel,
    /// The key at which a range ends; `None` means the heads of the one row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u8>,
    /// Whether it was looked at just now, or when something was last required of it on that device.
    pub fresh: bool,
}

impl Plan {
    /// Draws the plan of a seed.
    pub fn draw(seed: u64, profile: &Profile) -> Self {
        draw::plan(seed, profile)
    }

    /// When the safety phase ends.
    pub fn safety_ends(&self) -> u64 {
        self.setup.safety_ms
    }
}
