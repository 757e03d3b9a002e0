//! Everything that the core can ask for, and what it tells.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::{
    Address, Author, CollectionId, DeviceId, Generation, LinkId, Name, PublicKey, RequestId, SyncgroupId,
    UserId, Version,
};
use crate::keys::KeyChain;
use crate::resolve::conflict::{Conflict, NoAnswer};
use crate::resolve::{Merge, Policy};
use crate::store::Commit;
use crate::syncgroup::{Invitation, Rights, SpecVersion, SyncgroupState};
use crate::time::{Hlc, Millis, Wall};

/// What the core asks its driver to do. Actions are performed in order; a [`Action::Commit`] before the next
/// call of `Core::handle`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Apply these writes now, make them durable soon, then say [`crate::Event::Durable`].
    Commit(Commit),
    /// Send a frame. It costs its length of the link's credit.
    Send {
        /// On which link.
        link: LinkId,
        /// The bytes.
        frame: Bytes,
    },
    /// Try to open a link to a device, at any of these addresses, and accept nobody else there.
    Connect {
        /// Whom to reach.
        device: DeviceId,
        /// Where to try.
        addresses: Vec<Address>,
        /// By which keys it is known, if it has told of any after its first; by several chains, where one of its keys has
        /// signed for two. Whoever answers and shows no chain that starts with one of these is somebody with a former key.
        /// It may be an old copy of the device, so a link to it is of use if nobody else answers; it is not to be taken
        /// before (S-1).
        keys: Vec<KeyChain>,
    },
    /// Close a link, then say [`crate::Event::LinkDown`].
    Disconnect {
        /// Which link.
        link: LinkId,
        /// What to tell the other end.
        reason: CloseReason,
    },
    /// Announce this device in the neighbourhood, or stop doing so (S-40).
    Advertise {
        /// Whether to be found.
        on: bool,
    },
    /// A batch is written and visible to local readers. It is not yet safe: the reply follows when it is.
    Written {
        /// Which command.
        request: RequestId,
        /// What it wrote, a part for each syncgroup.
        parts: Vec<Written>,
    },
    /// The answer to a command. A success is told only once what was done will survive a crash (S-9).
    Reply {
        /// Which command.
        request: RequestId,
        /// How it went.
        result: Result<Outcome, Refusal>,
    },
    /// Rows changed, in one commit; local and remote changes alike (S-52).
    Changed(Vec<RowChange>),
    /// Conflicts for the application's resolver (S-17). Answer each by [`crate::Command::Resolve`]; until then
    /// readers see the last version. What is not answered is raised again after a restart.
    Resolve(Vec<Conflict>),
    /// Something worth knowing happened.
    Notice(Notice),
    /// The shutdown is complete: everything accepted is durable, every link is closed.
    Stopped,
}

/// The part of a batch that one syncgroup got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The syncgroup.
    pub syncgroup: SyncgroupId,
    /// The version that its rows got.
    pub version: Version,
    /// The stamp of that version.
    pub stamp: Hlc,
}

/// How a command succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The batch is safe on this device. Empty if there was nothing to change.
    Written(Vec<Written>),
    /// The syncgroup exists.
    Created(SyncgroupId),
    /// The collection exists.
    CollectionCreated(CollectionId),
    /// The resolver is noted.
    ResolverNoted,
    /// Whether the database is paused is as asked for, and survives a restart.
    PauseNoted,
    /// The schema is as asked for.
    SchemaSet(CollectionId),
    /// What members are told is as asked for, by these changes of it.
    SpecSet(SyncgroupId, SpecVersion),
    /// The invitation, to be handed on.
    Invited(Invitation),
    /// The request to join is kept, and will be tried until it is answered.
    Joining(SyncgroupId),
    /// This device has left.
    Left(SyncgroupId),
    /// The device is no member any more, here.
    Ejected(SyncgroupId, DeviceId),
    /// The device has these rights, here.
    RightsSet(SyncgroupId, DeviceId, Rights),
    /// The user may do this much, by each device that is enrolled, here; `None` is nothing.
    UserRightsSet(SyncgroupId, UserId, Option<Rights>),
    /// So much is granted to everybody, here; `None` is nothing.
    EverybodysRightsSet(SyncgroupId, Option<Rights>),
    /// The device is one of the user's, here.
    Enrolled(SyncgroupId, UserId, DeviceId),
    /// The device is none of the user's any more, here.
    StruckOff(SyncgroupId, UserId, DeviceId),
    /// The device is asked to take part, until it answers (S-33).
    Published(SyncgroupId, DeviceId),
    /// It is asked no more.
    Unpublished(SyncgroupId, DeviceId),
    /// The offer is declined; whoever made it is told when there is a link to it.
    Declined(SyncgroupId),
    /// All whom this device may remove are no members any more, and neither is it.
    Destroyed(SyncgroupId),
    /// What lay ahead of the clock does so no more (S-27).
    Reissued(Reissued),
    /// The device has this key, and says so wherever it is a member.
    KeyRotated(KeyChain),
}

/// What was done about generations that lay ahead of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reissued {
    /// Who this device writes as from now on: another author than before, unless nothing lay ahead.
    pub author: Author,
    /// How many batches of this device were written again.
    pub batches: usize,
    /// How many generations of other devices were dropped. They come again.
    pub dropped: usize,
}

/// Why a command was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such syncgroup here.
    #[error("there is no syncgroup {0} on this device; join it, or create one")]
    NoSyncgroup(SyncgroupId),
    /// The syncgroup has no such collection.
    #[error("the syncgroup has no collection \"{0}\"; an admin can add it")]
    NoCollection(Name),
    /// The syncgroup is not complete here yet (S-32).
    #[error("the syncgroup is still arriving; write again when it is complete")]
    Pending,
    /// This device has left the syncgroup, or never became a member.
    #[error("this device is not a member of the syncgroup; what it has can be read, not changed")]
    NotMember,
    /// The time is over for which this device might do that, as its clock and what it has heard of say (S-7).
    #[error(
        "the time is over for which this device may do that in the syncgroup; what it has can be read, and an admin can \
         extend its time"
    )]
    Expired(Wall),
    /// What shall end would have ended already, by this device's clock.
    #[error("the end lies in the past; name one that is still to come")]
    InThePast(Wall),
    /// The right is missing.
    #[error("this device lacks the right to {0} in the syncgroup; an admin can grant it by an invitation")]
    Forbidden(&'static str),
    /// What is granted to everybody makes nobody an admin.
    #[error("everybody can be granted to read, or to read and write; admins are invited one by one")]
    NotForEverybody,
    /// This device is no admin, and everybody is granted less than it would give, or for less long; or an admin has taken
    /// that away from the one to whom it would give it.
    #[error(
        "who is no admin lets in others with no more rights, and for no longer, than everybody is granted in the \
         syncgroup; ask an admin to invite, or to open it further"
    )]
    NotOpen,
    /// A precondition does not hold.
    #[error("precondition {index} does not hold any more: read again and retry")]
    Precondition {
        /// Which, counted from 0.
        index: usize,
    },
    /// Somebody has changed since what members are told.
    #[error(
        "the description or the meeting places were changed since (now at {0}): read them again and retry"
    )]
    SpecChanged(SpecVersion),
    /// A key is longer than allowed.
    #[error("a key has at most {max} bytes, this one has {size}", max = crate::limits::MAX_KEY)]
    KeyTooLong {
        /// Its bytes.
        size: usize,
    },
    /// A value is longer than allowed.
    #[error("a value has at most {max} bytes, this one has {size}; split it", max = crate::limits::MAX_VALUE)]
    ValueTooLong {
        /// Its bytes.
        size: usize,
    },
    /// The schema cannot be.
    #[error("the schema is refused: {0}")]
    Schema(String),
    /// The row's policy is another than the operation is for.
    #[error("the row is no {merge}: its policy is {policy:?}; an admin can change the schema")]
    OtherPolicy {
        /// What the operation is for.
        merge: Merge,
        /// What the schema says.
        policy: Policy,
    },
    /// A value that cannot be merged.
    #[error("the row is a {0}, and this is no value of one")]
    NotMergeable(Merge),
    /// A field without a name.
    #[error("the path of a field is empty; it needs at least one name")]
    NoField,
    /// The operations of a row and the batch cannot be told together.
    #[error("the changes of one row in this batch do not go together; write them in two batches")]
    Unjoinable,
    /// The answer is none to its conflict (S-17).
    #[error(transparent)]
    NoAnswer(Box<NoAnswer>),
    /// The batch is larger than a generation may be.
    #[error("a batch has at most {max} bytes once encoded, this one has {size}; split it", max = crate::limits::MAX_GENERATION)]
    BatchTooLarge {
        /// Its bytes.
        size: usize,
    },
    /// The batch touches too many syncgroups.
    #[error("a batch touches at most {max} syncgroups, this one touches {count}", max = crate::limits::MAX_BATCH_PARTS)]
    TooManyParts {
        /// How many.
        count: usize,
    },
    /// The syncgroup is here already.
    #[error("the syncgroup is on this device already, in database \"{0}\"")]
    AlreadyHere(Name),
    /// The device is no member.
    #[error("device {0} is not a member of the syncgroup")]
    NoMember(DeviceId),
    /// The device is a member already.
    #[error("device {0} is a member of the syncgroup already; change its rights, or remove it")]
    IsMember(DeviceId),
    /// The device is not asked to take part.
    #[error("the syncgroup is not published at device {0}")]
    NotPublished(DeviceId),
    /// Whoever made the device an admin, or was made one before it, would have to do that.
    #[error("device {0} is an admin whom this device cannot overrule; ask the one who made it an admin")]
    Senior(DeviceId),
    /// Nothing is granted to the user.
    #[error("nothing is granted to user {0} in the syncgroup; an admin can grant it something")]
    NoUser(UserId),
    /// Whoever made the user an admin, or was made one before it, would have to do that.
    #[error("user {0} is an admin whom this device cannot overrule; ask the one who made it an admin")]
    SeniorUser(UserId),
    /// The device is a member as one of a user's.
    #[error(
        "device {device} is one of user {user}'s: the user can strike it off, and an admin can remove the user"
    )]
    DeviceOf {
        /// The device.
        device: DeviceId,
        /// Whose it is.
        user: UserId,
    },
    /// A certificate, or a striking-off, is not valid.
    #[error("the certificate is not valid: {0}")]
    Certificate(&'static str),
    /// It is this device itself.
    #[error("this device cannot do that to itself; leave the syncgroup, or ask another admin")]
    Yourself,
    /// Whoever would leave is the last who can admit and appoint others.
    #[error("this device is the only admin, and others are members; invite another admin first")]
    LastAdmin,
    /// The invitation is not valid.
    #[error("the invitation is not valid: {0}")]
    Invitation(&'static str),
    /// A syncgroup, or what this device may do there, was made by a clock that was far ahead: nothing of that can be
    /// written again. An admin whose clock was ahead can do so with what it said; a syncgroup itself has to be made
    /// anew.
    #[error(
        "in syncgroup {0} this device may write only by what was written while a clock was far ahead; if another \
         device's clock was, have it write that again first; else copy what is in it into a new one, and leave it"
    )]
    MadeAhead(SyncgroupId),
    /// A limit of this replica is reached.
    #[error("the limit of {limit} {what} is reached")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: usize,
    },
    /// The new key is none that this device's present one has signed for.
    #[error("that key is not this device's next one: its chain must go on from the one that the device has")]
    Key,
    /// Too much waits to become durable.
    #[error("too many requests are waiting for the disk; try again in a moment")]
    Busy,
    /// The replica is shutting down.
    #[error("the replica is shutting down")]
    ShuttingDown,
}

/// A change of what readers see of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// The syncgroup.
    pub syncgroup: SyncgroupId,
    /// The collection.
    pub collection: CollectionId,
    /// The key.
    pub key: Bytes,
    /// What is shown now; `None` if the row is not there.
    pub value: Option<Bytes>,
    /// Whether this device's application made the change.
    pub local: bool,
}

/// News that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A syncgroup has come to another state on this device.
    Syncgroup {
        /// Which.
        syncgroup: SyncgroupId,
        /// Its state now.
        state: SyncgroupState,
    },
    /// The schema of a collection is another now, or since the last boot a merge that it names was registered or is
    /// missing: rows may show something else, though nobody wrote them. Or the collection has come when there were rows of
    /// it already, which had been written again without it ([`Command::Reissue`](crate::Command::Reissue)).
    Schema {
        /// In which syncgroup.
        syncgroup: SyncgroupId,
        /// The collection.
        collection: CollectionId,
    },
    /// What members are told of a syncgroup is something else now: see [`crate::SyncgroupInfo::spec`].
    Spec {
        /// Of which syncgroup.
        syncgroup: SyncgroupId,
    },
    /// What is granted to everybody in a syncgroup is something else now (S-3): see [`crate::SyncgroupInfo::open`]. That the
    /// time of it is over is not told.
    Openness {
        /// In which syncgroup.
        syncgroup: SyncgroupId,
    },
    /// Where a syncgroup is published, or what has become of that, is something else now (S-33): see
    /// [`crate::SyncgroupInfo::publications`].
    Publications {
        /// Of which syncgroup.
        syncgroup: SyncgroupId,
    },
    /// This device, as an admin, has heard that a device declines to take part in a syncgroup that is published there
    /// (S-33).
    Declined {
        /// In which syncgroup.
        syncgroup: SyncgroupId,
        /// Which device.
        device: DeviceId,
        /// The generation that had asked it.
        attempt: Version,
        /// The generation that says so.
        version: Version,
    },
    /// An admin of a syncgroup wants this device to take part (S-33): the syncgroup is published here. Accept it by
    /// [`crate::Command::Join`], or refuse by [`crate::Command::Decline`]; until then nothing happens.
    /// [`crate::Core::invitations`] lists what waits for that.
    Invited {
        /// What was offered, with its [issuer](Invitation::issuer), who was linked under that key. That this one is an
        /// admin of anything turns out when it lets this device in.
        invitation: Box<Invitation>,
    },
    /// This device has admitted another, as an admin or by what is granted to everybody.
    Admitted {
        /// To which syncgroup.
        syncgroup: SyncgroupId,
        /// Whom.
        device: DeviceId,
        /// What it may do.
        rights: Rights,
        /// The last moment for which it may, if there is one.
        ends: Option<Wall>,
        /// By which generation.
        version: Version,
    },
    /// This device has let in a device of a user, by its certificate (S-3).
    Enrolled {
        /// To which syncgroup.
        syncgroup: SyncgroupId,
        /// Whose device.
        user: UserId,
        /// Whom.
        device: DeviceId,
        /// By which of the user's certificates; `None` if it was enrolled already, and the user was granted more.
        number: Option<u64>,
        /// What it has granted to the user in the same step, as an admin or by what is granted to everybody.
        granted: Option<Rights>,
        /// The last moment for which that is granted, if there is one.
        ends: Option<Wall>,
        /// By which generation.
        version: Version,
    },
    /// This device is no member of a syncgroup any more: an admin has removed it (S-36). What it has can be read. What
    /// it wrote before it heard of that, and the admin had not seen, does not count: [`Notice::Judged`] says how much.
    Removed {
        /// From which syncgroup.
        syncgroup: SyncgroupId,
    },
    /// It turned out that generations which were held do not count, or count after all: somebody was removed, or
    /// lost a right, or it turned out that whoever did that might not (S-35); or their device has written them again,
    /// and they count there (S-27). Rows show what remains.
    Judged {
        /// In which syncgroup.
        syncgroup: SyncgroupId,
        /// Whose generations; this device's own among them.
        device: DeviceId,
        /// How many do not count any more.
        voided: usize,
        /// How many do again.
        restored: usize,
    },
    /// A peer knows of generations of this device that this device does not: its store was set back. It
    /// goes on as another author (S-2).
    SetBack {
        /// In which syncgroup.
        syncgroup: SyncgroupId,
        /// The author whose log goes on elsewhere.
        author: Author,
        /// The author that this device writes as from now on.
        successor: Author,
    },
    /// It is proven that an author has signed two logs under one name: two copies of one device ran, or a store was set back
    /// and nobody noticed, or it lies (S-26). What is behind where they part does not count any more. A device of which that
    /// is so goes on as another author, and writes again what it had written there: see [`Notice::WrittenAgain`].
    Forked {
        /// In which syncgroup.
        syncgroup: SyncgroupId,
        /// Whose log it is.
        author: Author,
        /// The last generation that still counts; 0 if none does.
        last: Generation,
        /// The generation that proves it.
        by: Version,
    },
    /// This device has written again what it had written in a log that is forked, behind where the branches part: the same
    /// changes, on top of the same, so what others have changed since is newer (S-2).
    WrittenAgain {
        /// In which syncgroup.
        syncgroup: SyncgroupId,
        /// The log that is forked.
        author: Author,
        /// The author under which it stands now.
        successor: Author,
        /// How many batches.
        batches: usize,
    },
    /// A member has shown that this device has another key by now: somebody has taken it with this one's signature (S-1). If it
    /// was this device itself, then it is a copy from before that, and others take nothing from it any more: give it
    /// the key that it took, which is in no older copy; or let in a new device in its place. If it was nobody whom
    /// you know, the key was stolen: have an admin remove the device.
    KeyEnded {
        /// The key that members go by.
        current: PublicKey,
        /// Whether it takes the place of the one that this device has; else, of one before that.
        replaces: bool,
    },
    /// A device's key has signed for two that take its place: one of these is a thief's, and nobody can tell which one counts
    /// rightly (S-1). What the other one wrote is void. It is told once for each syncgroup: an admin should remove the
    /// device.
    KeysDisputed {
        /// In which syncgroup.
        syncgroup: SyncgroupId,
        /// Which device.
        device: DeviceId,
    },
    /// A member has taken another key, and goes on under the same id (S-1).
    KeyRotated {
        /// In which syncgroup.
        syncgroup: SyncgroupId,
        /// Which device.
        device: DeviceId,
        /// How often it has done so by now.
        rollovers: usize,
    },
    /// Two replicas with the same knowledge show different rows: a defect, or a damaged store (S-12).
    Diverged {
        /// The device that shows something else.
        device: DeviceId,
    },
    /// A part of a batch is shown, and others are not, in syncgroups that this device reads or read when the part
    /// came (S-28). They are shown when they arrive; until then [`crate::Status::incomplete`] tells of it.
    BatchSplit {
        /// Where the part is shown.
        syncgroup: SyncgroupId,
        /// The version of its rows.
        version: Version,
        /// Where other parts are missing.
        missing: Vec<SyncgroupId>,
        /// Why it was not waited for longer.
        why: Split,
    },
    /// A peer broke the protocol, and its link was closed.
    PeerFault {
        /// Which device.
        device: DeviceId,
        /// What it did.
        reason: CloseReason,
        /// In more words.
        detail: String,
    },
    /// What this device writes is stamped further ahead of its clock than others take (S-27): its clock was ahead when
    /// it wrote, or took in, what is held here; or it is behind now. If the clock is right now,
    /// [`crate::Command::Reissue`] ends that; until then nobody sees what is written. It is told when that begins, and
    /// at the first event after a boot.
    Ahead {
        /// How far ahead of the clock the last stamp is.
        by: Millis,
        /// How many generations of this device others do not take before their time.
        written: u64,
    },
    /// Generations are not applied yet, because they are stamped further ahead than the limit allows
    /// (S-27).
    FromTheFuture {
        /// Whose.
        author: Author,
        /// In which syncgroup.
        syncgroup: SyncgroupId,
    },
}

/// Why a batch is seen in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Split {
    /// It has waited for as long as [`crate::Timing::parts`] says.
    Time,
    /// More waits than [`crate::Limits`] allow.
    Number,
    /// This device has left a syncgroup that has a part of it.
    Left,
}

/// Why a link is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
#[repr(u8)]
pub enum CloseReason {
    /// This replica is shutting down.
    Shutdown = 1,
    /// There is another link to the same device.
    Duplicate = 2,
    /// This replica has as many links as it wants.
    TooManyLinks = 3,
    /// A frame that cannot be decoded.
    Garbled = 4,
    /// Generations that do not verify (S-26).
    BadRun = 5,
    /// A message that makes no sense here.
    Protocol = 6,
    /// Another version of the protocol.
    Version = 7,
    /// The peer is this device itself.
    Myself = 8,
    /// The key that the peer has shown has ended, or its chain of keys does not hold (S-1).
    KeyEnded = 9,
    /// This replica has taken another key, and will be there with that.
    KeyRotated = 10,
}

/// Where the core puts its actions, in order. The driver takes them out and keeps the buffer.
#[derive(Debug, Clone, Default)]
pub struct Outbox(VecDeque<Action>);

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next action.
    pub fn pop(&mut self) -> Option<Action> {
        self.0.pop_front()
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, action: Action) {
        self.0.push_back(action);
    }
}
