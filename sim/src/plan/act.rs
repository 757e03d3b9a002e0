//! What can happen in a run, and the words that it takes to say it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::account::Account;
use super::edit::{Edit, RuleChange, RuleText};
use super::setup::Waits;
use super::text::RowLabel;
use super::usual::*;

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
        /// How long the newcomer may do that, from when it is made; 0 is for ever.
        #[serde(default, skip_serializing_if = "is_zero")]
        lasts_ms: u64,
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
    /// Somebody removes a device from a syncgroup.
    Eject {
        /// On which replica.
        replica: usize,
        /// From which syncgroup.
        group: u8,
        /// Whom.
        peer: usize,
    },
    /// Somebody gives a device other rights.
    SetRights {
        /// On which replica.
        replica: usize,
        /// In which syncgroup.
        group: u8,
        /// Whose.
        peer: usize,
        /// What it may do from now on.
        rights: driftless::Rights,
        /// For how long; 0 is for ever.
        #[serde(default, skip_serializing_if = "is_zero")]
        lasts_ms: u64,
    },
    /// Somebody says what a syncgroup is for, and where to meet.
    Describe {
        /// On which replica.
        replica: usize,
        /// Which syncgroup.
        group: u8,
        /// What it is for, as a number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<u8>,
        /// Which replicas can be met where they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        meet: Option<Vec<usize>>,
        /// Only if nothing of that has changed since somebody there looked at it last.
        #[serde(default, skip_serializing_if = "is_false")]
        unless_changed: bool,
    },
    /// Somebody publishes a syncgroup at a device.
    Publish {
        /// On which replica.
        replica: usize,
        /// Which syncgroup.
        group: u8,
        /// At which replica.
        peer: usize,
        /// What that one may do then.
        #[serde(default = "write", skip_serializing_if = "is_write")]
        rights: driftless::Rights,
    },
    /// Somebody withdraws that.
    Unpublish {
        /// On which replica.
        replica: usize,
        /// Which syncgroup.
        group: u8,
        /// At which replica.
        peer: usize,
    },
    /// From now on whoever is at a replica accepts whenever a syncgroup is published there.
    Accept {
        /// On which replica.
        replica: usize,
        /// Which syncgroup.
        group: u8,
        /// Into which database of the device.
        #[serde(default, skip_serializing_if = "is_zero")]
        database: u8,
    },
    /// From now on they decline it.
    Decline {
        /// On which replica.
        replica: usize,
        /// Which syncgroup.
        group: u8,
    },
    /// Somebody says what a user may do, by whatever device.
    AdmitUser {
        /// On which replica.
        replica: usize,
        /// In which syncgroup.
        group: u8,
        /// The user's number.
        user: u8,
        /// What it may do from now on.
        rights: driftless::Rights,
        /// For how long; 0 is for ever.
        #[serde(default, skip_serializing_if = "is_zero")]
        lasts_ms: u64,
    },
    /// Somebody grants everybody something: then any member may let in others with no more.
    Open {
        /// On which replica.
        replica: usize,
        /// In which syncgroup.
        group: u8,
        /// What.
        #[serde(default = "write", skip_serializing_if = "is_write")]
        rights: driftless::Rights,
        /// For how long; 0 is for ever.
        #[serde(default, skip_serializing_if = "is_zero")]
        lasts_ms: u64,
    },
    /// Somebody ends all that is granted to everybody.
    Close {
        /// On which replica.
        replica: usize,
        /// In which syncgroup.
        group: u8,
    },
    /// Somebody ends what was granted to a user.
    EjectUser {
        /// On which replica.
        replica: usize,
        /// In which syncgroup.
        group: u8,
        /// The user's number.
        user: u8,
    },
    /// Somebody makes an invitation for the devices of a user.
    InviteDevice {
        /// On which replica.
        replica: usize,
        /// To which syncgroup.
        group: u8,
        /// Its label from now on.
        ticket: u32,
        /// The user's number.
        user: u8,
    },
    /// Somebody takes an invitation as a device of a user, which has certified it.
    JoinAs {
        /// On which replica.
        replica: usize,
        /// Which invitation.
        ticket: u32,
        /// The user's number.
        user: u8,
        /// The certificate's.
        #[serde(default, skip_serializing_if = "is_zero")]
        number: u8,
        /// Into which database of the device.
        #[serde(default, skip_serializing_if = "is_zero")]
        database: u8,
    },
    /// Somebody writes down that a device is one of a user's, which has certified it.
    Enrol {
        /// On which replica.
        replica: usize,
        /// In which syncgroup.
        group: u8,
        /// Which device.
        peer: usize,
        /// The user's number.
        user: u8,
        /// The certificate's.
        #[serde(default, skip_serializing_if = "is_zero")]
        number: u8,
    },
    /// A user strikes a device off, by what is known on a replica, where that is written down.
    StrikeOff {
        /// On which replica.
        replica: usize,
        /// In which syncgroup.
        group: u8,
        /// Which device.
        peer: usize,
        /// The user's number.
        user: u8,
    },
    /// Somebody destroys a syncgroup.
    Destroy {
        /// On which replica.
        replica: usize,
        /// Which syncgroup.
        group: u8,
    },
    /// Somebody pauses the exchange of a database with others. Undone by `resume-sync`, and when all faults end.
    PauseSync {
        /// On which replica.
        replica: usize,
        /// Which database of the device.
        #[serde(default, skip_serializing_if = "is_zero")]
        database: u8,
    },
    /// Somebody resumes it.
    ResumeSync {
        /// On which replica.
        replica: usize,
        /// Which database of the device.
        #[serde(default, skip_serializing_if = "is_zero")]
        database: u8,
    },
    /// Somebody has a device write again what it wrote while its clock was far ahead.
    Reissue {
        /// On which replica.
        replica: usize,
    },
    /// Somebody gives a device another key.
    Rotate {
        /// Which replica.
        replica: usize,
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
    /// Somebody uses the application under test: see [`crate::app`].
    App {
        /// On which replica.
        replica: usize,
        /// What they do, in the application's own words.
        act: Value,
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
    /// Somebody changes some of these rules, and leaves the others as they are.
    ChangeSchema {
        /// On which replica.
        replica: usize,
        /// In which syncgroup.
        group: u8,
        /// In which collection.
        collection: u8,
        /// Which rules.
        changes: Vec<RuleChange>,
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
        /// again. Counters need not be read. Where whole batches win it waits until the accounts are in no conflict.
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
        /// The driver's token was copied with it: it believes that its store continues, and the device goes on as the
        /// author that it was. Whoever writes then, before others have shown what they hold of its log, writes twice
        /// under one name, which is a fork, and the model knows one thing by one name: so until the device has heard, nobody
        /// uses it, and it reaches only those who can tell it. Where nobody can, and where whole batches win, as that is
        /// decided by devices on their own, no plan is drawn like this; in the former case, and for an application,
        /// the token does not match. Undone when all faults end: the driver is told.
        #[serde(default, skip_serializing_if = "is_false")]
        unnoticed: bool,
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
    /// Calls in the name of a device that has another key by now, by the one that it had before.
    CallAsAnother,
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
