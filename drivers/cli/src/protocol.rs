//! What a client command and a running `serve` say to each other: JSON Lines over the control socket.
//!
//! ```text
//! client  {"driftless":12,"nonce":null}
//! server  {"driftless":12,"device":"0011…","challenge":null}
//! client  {"do":"scan","database":"default",…}
//! server  {"is":"rows",…}  {"is":"rows",…}  {"is":"end"}
//! client  {"do":"get",…}
//! server  {"is":"error",…}
//! ```
//!
//! Over TCP, where anybody may listen and anybody may call, both first show that they can read the data directory:
//!
//! ```text
//! client  {"driftless":12,"nonce":"a93c…"}
//! server  {"driftless":12,"device":null,"challenge":{"nonce":"07d1…","proof":"e44b…"}}
//! client  "5b20…"
//! server  {"driftless":12,"device":"0011…","challenge":null}
//! ```
//!
//! One request at a time; each is answered by any number of items and then by `end` or `error`. A client that
//! closes the connection ends what it asked for. Without a running `serve` the same requests are answered by
//! the same code within the command itself, so that there is one behaviour, not two.

use std::net::SocketAddr;
use std::time::Duration;

use driftless::{DeviceId, Name, Rights};
use serde::{Deserialize, Serialize};

mod conflicts;
mod greeting;
mod users;

pub use self::conflicts::{
    AncestorText, AnswerText, ChoiceText, ConflictText, DidText, EntryText, HeadText, OperationText,
    RowInConflict, RuleText, ValueText, Who,
};
pub use self::greeting::{Challenge, Hello, Welcome, Word};
pub use self::users::{DrawnUp, UserRequest, UserText};
use crate::text::{base64, base64_option};

/// The version of the protocol. Client and server are usually the same binary; where they are not, they refuse
/// each other instead of guessing.
pub const VERSION: u32 = 12;

/// The longest line: the largest batch, in base64, with room for what is around it.
pub const MAX_LINE: usize = 16 << 20;

/// Which collection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CollectionRef {
    /// The database.
    pub database: Name,
    /// The collection.
    pub collection: Name,
    /// Its syncgroup, by name or id or the start of its id, if the name alone is not enough.
    pub syncgroup: Option<String>,
}

/// Which syncgroup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SyncgroupRef {
    /// The database.
    pub database: Name,
    /// Name, id, or the start of the id.
    pub syncgroup: String,
}

/// What a client asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// Write a batch, atomically; `end` comes when it is safe on this device.
    Write {
        /// Where.
        of: CollectionRef,
        /// The changes.
        changes: Vec<Change>,
    },
    /// A row: one item `row`.
    Get {
        /// Where.
        of: CollectionRef,
        /// Its key.
        #[serde(with = "base64")]
        key: Vec<u8>,
    },
    /// Rows in order: items `rows`.
    Scan {
        /// Where.
        of: CollectionRef,
        /// Which.
        range: Range,
        /// Whether the values are wanted.
        values: bool,
    },
    /// Change a merging row, in one batch.
    Operate {
        /// Where.
        of: CollectionRef,
        /// Its key.
        #[serde(with = "base64")]
        key: Vec<u8>,
        /// What to do, in order.
        operations: Vec<OperationText>,
    },
    /// How many rows there are: an item `count`.
    Count {
        /// Where.
        of: CollectionRef,
        /// Which.
        range: Range,
    },
    /// The rows of a prefix and then every change: items `state`, `batch`, `ended`. It ends once there is nothing
    /// left to watch.
    Watch {
        /// Where.
        of: Vec<CollectionRef>,
        /// The prefix of the keys.
        #[serde(with = "base64")]
        prefix: Vec<u8>,
        /// From where to go on.
        from: Option<String>,
    },
    /// The rules of a collection: an item `schema`.
    Schema {
        /// Where.
        of: CollectionRef,
    },
    /// Change one rule of a collection: an item `schema`.
    SetRule {
        /// Where.
        of: CollectionRef,
        /// Its prefix.
        #[serde(with = "base64")]
        prefix: Vec<u8>,
        /// Its policy, as text; `None` takes the rule away.
        policy: Option<String>,
    },
    /// The rows in conflict, with what belongs together: items `conflict`, each followed by its rows, items
    /// `conflict_row`, and each of these by its versions, items `head`.
    Conflicts {
        /// Where.
        of: CollectionRef,
        /// The prefix of the keys.
        #[serde(with = "base64")]
        prefix: Vec<u8>,
        /// How many conflicts at most.
        limit: Option<u64>,
        /// Whether the beginning of long ones is enough.
        brief: bool,
    },
    /// Resolve a conflict, by one batch: an item `resolved`.
    Resolve {
        /// Where the row is that tells which conflict.
        of: CollectionRef,
        /// What shall become of its rows.
        answers: Vec<AnswerText>,
        /// Whether the keys in `answers` are in base64.
        key_base64: bool,
        /// The state that was shown, or the start of it.
        state: Option<String>,
        /// Whether rows that need an answer and have none are left open.
        leave_others: bool,
    },
    /// The history of a row: items `entry`, the last version first.
    History {
        /// Where.
        of: CollectionRef,
        /// Its key.
        #[serde(with = "base64")]
        key: Vec<u8>,
        /// How many versions at most.
        limit: u64,
    },
    /// Make a syncgroup: an item `syncgroup`.
    CreateSyncgroup {
        /// Its database.
        database: Name,
        /// Its name.
        name: Name,
        /// Its collections.
        collections: Vec<Name>,
        /// Whether there may be others of these names in the database.
        another: bool,
    },
    /// Add a collection.
    AddCollection {
        /// To which syncgroup.
        of: SyncgroupRef,
        /// The collection.
        collection: Name,
    },
    /// Make an invitation: an item `invitation`.
    Invite {
        /// To which syncgroup.
        of: SyncgroupRef,
        /// What the newcomer may do.
        rights: Rights,
        /// The last moment for which it may, in milliseconds since 1970, if there shall be one.
        ends: Option<u64>,
        /// How long it is good.
        valid_for: Duration,
        /// Whether several devices may use it.
        reusable: bool,
    },
    /// Join, and wait until all is here: an item `syncgroup`.
    Join {
        /// The database.
        database: Name,
        /// The invitation's text.
        invitation: String,
        /// How long to wait.
        timeout: Duration,
    },
    /// Leave a syncgroup.
    Leave {
        /// Which.
        of: SyncgroupRef,
    },
    /// Give a member, or a user, other rights, or none: an item `member` or `user`.
    SetRights {
        /// In which syncgroup.
        of: SyncgroupRef,
        /// Whose: an id, the start of one, or a name.
        device: String,
        /// What it may do from now on; `None` removes it.
        rights: Option<Rights>,
        /// The last moment for which it may, in milliseconds since 1970, if there shall be one.
        ends: Option<u64>,
    },
    /// Grant everybody something, or nothing: an item `syncgroup`.
    SetOpen {
        /// In which syncgroup.
        of: SyncgroupRef,
        /// What; `None` closes it.
        rights: Option<Rights>,
        /// The last moment for which it is granted, in milliseconds since 1970, if there shall be one.
        ends: Option<u64>,
    },
    /// Remove everybody from a syncgroup, and leave: an item `syncgroup`.
    Destroy {
        /// Which.
        of: SyncgroupRef,
    },
    /// What members are told of a syncgroup: an item `syncgroup`.
    About {
        /// Which.
        of: SyncgroupRef,
    },
    /// Say anew what members are told: an item `syncgroup`. What is `None` stays.
    Describe {
        /// Of which syncgroup.
        of: SyncgroupRef,
        /// What it is for.
        description: Option<String>,
        /// Where to meet.
        meet: Option<Vec<MeetText>>,
        /// Whether this device can be met where it listens.
        meet_here: bool,
        /// Only if this still is the version.
        unless_changed: Option<String>,
    },
    /// Publish a syncgroup at a device, or withdraw that: an item `syncgroup`.
    Publish {
        /// Which.
        of: SyncgroupRef,
        /// At which device.
        device: DeviceId,
        /// What it may do then; `None` withdraws it.
        rights: Option<Rights>,
        /// Where it can be reached.
        at: Vec<SocketAddr>,
    },
    /// What is published at this device, and waits for an answer: items `offer`.
    Offers,
    /// Decline that.
    Decline {
        /// The invitation's text.
        invitation: String,
    },
    /// The syncgroups of a database: items `syncgroup`.
    Syncgroups {
        /// Which database.
        database: Name,
    },
    /// The members of a syncgroup: items `member`.
    Members {
        /// Which.
        of: SyncgroupRef,
    },
    /// Something about users and their devices.
    User(Box<UserRequest>),
    /// A look at the whole node: an item `status`.
    Status,
    /// Write again what lies ahead of the clock: an item `reissued`.
    Reissue,
    /// Take another key, which is kept already: an item `key_rotated`.
    RotateKey(NewKeyText),
    /// Leave the network, or come back.
    SetOnline {
        /// Whether to be in it.
        on: bool,
    },
    /// Pause the exchange of a database, or resume it.
    SetPaused {
        /// Which.
        database: Name,
        /// Whether it is paused from now on.
        paused: bool,
    },
}

/// A change of a row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    /// Its key.
    #[serde(with = "base64")]
    pub key: Vec<u8>,
    /// Its new value; `None` removes it.
    #[serde(with = "base64_option")]
    pub value: Option<Vec<u8>>,
}

/// A row that a watch has seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Update {
    /// Its collection.
    pub collection: String,
    /// The row's key.
    #[serde(with = "base64")]
    pub key: Vec<u8>,
    /// What it shows; `None` if it is gone.
    #[serde(with = "base64_option")]
    pub value: Option<Vec<u8>>,
    /// What the value is.
    pub kind: Kind,
}

/// What a value is, by the policy of its row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Bytes that only the application understands.
    #[default]
    Bytes,
    /// A decimal number.
    Counter,
    /// A set.
    Set,
    /// A tree of fields.
    Fields,
}

/// Which rows to scan.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Range {
    /// What the keys start with.
    #[serde(with = "base64")]
    pub prefix: Vec<u8>,
    /// The first key, included.
    #[serde(with = "base64_option")]
    pub from: Option<Vec<u8>>,
    /// Where to end, not included.
    #[serde(with = "base64_option")]
    pub to: Option<Vec<u8>>,
    /// From the last to the first.
    pub reverse: bool,
    /// How many at most.
    pub limit: Option<u64>,
}

/// What a server answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Response {
    /// A row, if it is there.
    Row {
        /// The row.
        row: Option<RowText>,
    },
    /// Some rows.
    Rows {
        /// The rows.
        rows: Vec<RowText>,
    },
    /// Rows that are there, as a watch begins or begins again.
    State {
        /// Why it begins: `started`, `too_old`, `unknown` or `schema`.
        because: String,
        /// The rows.
        rows: Vec<Update>,
        /// If changes follow now: from where.
        complete: Option<String>,
    },
    /// What a batch has changed, or some of that.
    Batch {
        /// Whether that is all of it, with what came before.
        whole: bool,
        /// From where to go on after it; `None` if more of it follows, or another batch that came with it.
        marker: Option<String>,
        /// Whether this device wrote it.
        local: bool,
        /// The rows.
        rows: Vec<Update>,
    },
    /// There is nothing more to come of a syncgroup.
    Ended {
        /// Which.
        syncgroup: String,
        /// Why, in a word: how far this device is in it (`left`, …), or `gone`.
        because: String,
        /// The same in more words.
        explained: String,
    },
    /// How many.
    Count {
        /// Rows.
        rows: u64,
    },
    /// The rules of a collection.
    Schema {
        /// By prefix.
        rules: Vec<RuleText>,
    },
    /// A conflict.
    Conflict(ConflictText),
    /// A row of it.
    ConflictRow(RowInConflict),
    /// A version of that.
    Head(HeadText),
    /// What an answer has done.
    Resolved {
        /// How many rows it has decided.
        rows: u64,
        /// How many it has left open.
        left: u64,
    },
    /// A version in the history of a row.
    Entry(EntryText),
    /// A syncgroup.
    Syncgroup(SyncgroupText),
    /// An invitation.
    Invitation {
        /// The text to hand on.
        invitation: String,
        /// Addresses in it.
        addresses: Vec<String>,
    },
    /// The device has another key.
    KeyRotated {
        /// The device.
        device: String,
        /// The key that it has now.
        key: String,
        /// How often it has taken another one.
        rollovers: u64,
    },
    /// What lay ahead of the clock was written again.
    Reissued {
        /// The author as which this device goes on.
        author: String,
        /// How many batches.
        batches: u64,
        /// How many generations of other devices were dropped, to come again.
        dropped: u64,
    },
    /// What is published at this device.
    Offer(OfferText),
    /// A member.
    Member(MemberText),
    /// A user.
    User(UserText),
    /// This device.
    Device {
        /// Its id.
        device: String,
        /// Its public key.
        key: String,
    },
    /// A member of a syncgroup, where several are told of.
    MemberOf {
        /// Which syncgroup.
        syncgroup: String,
        /// What its members call it.
        name: Option<String>,
        /// The member.
        member: MemberText,
    },
    /// What a user signs to strike a device off.
    DrawnUp(DrawnUp),
    /// A look at the node.
    Status(StatusText),
    /// The request is done.
    End,
    /// The request was not done.
    Error(Problem),
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// Whether the answer is no, rather than that something failed.
    pub refused: bool,
    /// What, and what to do next.
    pub message: String,
}

/// A row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RowText {
    /// Its key.
    #[serde(with = "base64")]
    pub key: Vec<u8>,
    /// Its value; empty if it was not asked for.
    #[serde(with = "base64")]
    pub value: Vec<u8>,
    /// Whether it is in conflict.
    pub in_conflict: bool,
    /// What the value is.
    #[serde(default)]
    pub kind: Kind,
}

/// A syncgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncgroupText {
    /// Its id.
    pub id: String,
    /// What its members call it.
    pub name: Option<String>,
    /// Its database.
    pub database: String,
    /// How far this device is, in a word.
    pub state: String,
    /// What the word does not say: why it is refused, what a state that should pass waits for.
    pub explained: Option<String>,
    /// What this device may do, in a word.
    pub rights: Option<String>,
    /// Until when it may do that, or could, if that has an end.
    #[serde(default)]
    pub until: Option<String>,
    /// What is granted to everybody, in a word, if anything is: with so much any member may let in others.
    #[serde(default)]
    pub open: Option<String>,
    /// Until when, if that has an end.
    #[serde(default)]
    pub open_until: Option<String>,
    /// Its collections.
    pub collections: Vec<String>,
    /// How many members it has.
    pub members: u64,
    /// Generations held.
    pub generations: u64,
    /// Those of them whose rows are not shown yet, because parts of their batches are missing.
    #[serde(default)]
    pub waiting: u64,
    /// What it is for.
    pub description: String,
    /// Where members can be met.
    pub meet: Vec<MeetText>,
    /// Which changes of these two were the last.
    pub version: String,
    /// Where it is published.
    #[serde(default)]
    pub publications: Vec<PublicationText>,
}

/// Where a syncgroup is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicationText {
    /// At which device.
    pub device: String,
    /// What that may do once it takes part, in a word.
    pub rights: String,
    /// Where it can be reached.
    pub addresses: Vec<String>,
    /// What has become of it: `pending`, `rejected` or `running`.
    pub status: String,
}

/// A syncgroup that is published at this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferText {
    /// Its id.
    pub syncgroup: String,
    /// What its members call it.
    pub name: String,
    /// What this device may do in it.
    pub rights: String,
    /// Which device offers it.
    pub by: String,
    /// The invitation.
    pub invitation: String,
}

/// Where a member can be met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeetText {
    /// Which: its id; in requests its name, or the start of its id, too.
    pub member: String,
    /// Where: an IP address and a port.
    pub address: String,
}

/// A key that takes the place of the device's.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewKeyText {
    /// Its secret half, in hexadecimal.
    pub secret: String,
    /// The chain of the device's keys that ends with it, likewise.
    pub chain: String,
}

impl std::fmt::Debug for NewKeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewKeyText(..)")
    }
}

/// A member.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MemberText {
    /// The device.
    pub device: String,
    /// What it called itself.
    pub name: String,
    /// What it may do now; `None` once it has left or was removed, or its time is over.
    pub rights: Option<String>,
    /// Until when it may do that, or could, if that has an end.
    #[serde(default)]
    pub until: Option<String>,
    /// Whether it is none now only because its time is over.
    #[serde(default)]
    pub expired: bool,
    /// Whether it is none any more because it was removed.
    #[serde(default)]
    pub removed: bool,
    /// How often it has taken another key.
    #[serde(default)]
    pub rollovers: u64,
    /// One of its keys has signed for two that take its place, so one of these is a thief's.
    #[serde(default)]
    pub disputed: bool,
    /// Whether it is this device.
    pub this: bool,
    /// The user whose device it is, if it is one's.
    pub user: Option<String>,
    /// What that user is called.
    pub user_name: Option<String>,
}

/// A look at a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusText {
    /// This device.
    pub device: String,
    /// Where it listens.
    pub addresses: Vec<String>,
    /// Whether it is in the network.
    pub online: bool,
    /// How far ahead of its clock it stamps what it writes, in milliseconds, if others do not take that.
    #[serde(default)]
    pub ahead_ms: Option<u64>,
    /// The key by which members go in the place of this device's, as some have shown.
    #[serde(default)]
    pub key_ended: Option<String>,
    /// The databases that are paused.
    #[serde(default)]
    pub paused: Vec<String>,
    /// All its syncgroups, of all databases.
    pub syncgroups: Vec<SyncgroupText>,
    /// Its links.
    pub links: Vec<LinkText>,
    /// Devices that it would like to reach.
    pub wanted: Vec<String>,
    /// Batches over several syncgroups of which not all is here.
    #[serde(default)]
    pub incomplete: Vec<IncompleteText>,
    /// What crossed the wire since it started.
    pub traffic: TrafficText,
}

/// A part of a batch over several syncgroups, where another part has not come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncompleteText {
    /// Where this part is.
    pub syncgroup: String,
    /// The version of its rows.
    pub version: String,
    /// The device that wrote it.
    pub device: String,
    /// Where parts are missing.
    pub missing: Vec<String>,
    /// When this part came: milliseconds since 1970, by the clock of this device.
    pub since_ms: u64,
    /// Whether its rows are shown without the others.
    pub shown: bool,
    /// Why they are shown, or what is waited for.
    pub explained: String,
}

/// An open link.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LinkText {
    /// The device at the other end.
    pub device: String,
    /// How many syncgroups are shared.
    pub shared: u64,
    /// Whether both ends are known to hold the same.
    pub agreed: bool,
}

/// What crossed the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficText {
    /// Bytes sent, with encryption and acknowledgements.
    pub sent: u64,
    /// Bytes received, likewise.
    pub received: u64,
    /// Frames of the engine sent.
    pub frames_sent: u64,
    /// Frames received.
    pub frames_received: u64,
}
