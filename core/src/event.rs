//! Everything that can happen to a replica.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{
    Address, CommitSeq, DeviceId, LinkId, Name, PublicKey, RequestId, SyncgroupId, UserId, Version,
};
use crate::keys::{KeyChain, NewKey};
use crate::read::Row;
use crate::resolve::conflict::Resolution;
use crate::resolve::{Operation, Policy, Rule};
use crate::syncgroup::{Invitation, Rights, SpecChange, SpecVersion};
use crate::time::{Millis, Wall};
use crate::user::{Certificate, StrikingOff};

/// What a driver tells the core.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The moment that `Core::next_deadline` named has come. An early or a needless tick does no harm.
    Tick,
    /// The application asks for something. Each command gets exactly one [`crate::Action::Reply`].
    Command {
        /// The driver's name for it.
        request: RequestId,
        /// What is asked.
        command: Command,
    },
    /// A device may be reached at an address: from discovery, from configuration, from an invitation.
    PeerFound {
        /// Which device.
        device: DeviceId,
        /// Where.
        address: Address,
    },
    /// An address is not advertised any more. Where an invitation, a syncgroup or a publication names it, the device is
    /// still looked for there.
    PeerLost {
        /// Which device.
        device: DeviceId,
        /// Where it was.
        address: Address,
    },
    /// A link is open, and both ends have proven to own their keys.
    LinkUp {
        /// The driver's name for the link, never used before.
        link: LinkId,
        /// The keys of the device at the other end, as it shows them. It has proved to own the last one; that these before
        /// have signed for it the core checks.
        peer: KeyChain,
        /// Whether this end opened it.
        initiated: bool,
        /// Where the peer can be called back, if the driver knows.
        address: Option<Address>,
    },
    /// A link is gone. The driver says so once for each link, also for those that the core closed.
    LinkDown {
        /// Which link.
        link: LinkId,
    },
    /// The attempt that [`crate::Action::Connect`] asked for has failed.
    ConnectFailed {
        /// Which device was to be reached.
        device: DeviceId,
    },
    /// A whole frame has arrived. It may be garbage.
    Received {
        /// On which link.
        link: LinkId,
        /// The bytes.
        frame: Bytes,
    },
    /// The driver can take more bytes for a link. At first a link has no credit: the driver grants some when
    /// it opens, and gives back what it has put on the wire.
    Writable {
        /// Which link.
        link: LinkId,
        /// Bytes in addition to the credit that is left.
        credit: u64,
    },
    /// Everything up to this commit will survive a crash.
    Durable {
        /// The last such commit.
        seq: CommitSeq,
    },
    /// Take on no more work, finish what was accepted, say good-bye (S-54).
    Shutdown,
}

/// What an application can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Write a batch.
    Write(LocalWrite),
    /// Make a syncgroup with this device as its admin.
    CreateSyncgroup {
        /// The database that it belongs to, on this device.
        database: Name,
        /// What its members call it.
        name: Name,
        /// Its first collections; more can be added.
        collections: Vec<Name>,
    },
    /// Add a collection to a syncgroup. Adding one that is there is not an error.
    CreateCollection {
        /// The syncgroup, of which this device must be an admin.
        syncgroup: SyncgroupId,
        /// The collection.
        collection: Name,
    },
    /// Say what becomes of conflicts in a collection (S-16). The rules take the place of all that there were;
    /// what two admins say while apart is merged prefix by prefix.
    SetSchema {
        /// The syncgroup, of which this device must be an admin.
        syncgroup: SyncgroupId,
        /// The collection.
        collection: Name,
        /// Its rules, at most [`crate::limits::MAX_RULES`], each prefix once.
        rules: Vec<Rule>,
    },
    /// Say what becomes of conflicts in some rows of a collection, and leave all other rules as they are: whatever
    /// this device has come to know of them, and whoever changes them in the same moment (S-16, S-20).
    ChangeSchema {
        /// The syncgroup, of which this device must be an admin.
        syncgroup: SyncgroupId,
        /// The collection.
        collection: Name,
        /// By prefix, the policy of its rule; `None` takes the rule away, if there is one. With them the schema has at
        /// most [`crate::limits::MAX_RULES`] rules.
        changes: BTreeMap<Bytes, Option<Policy>>,
    },
    /// Say whether the application's resolver is there, for all syncgroups of a database. While it is, conflicts
    /// under [`Policy::AppResolves`](crate::Policy::AppResolves) are raised to it ([`crate::Action::Resolve`]);
    /// those under [`Policy::Defer`](crate::Policy::Defer) once when it attaches. Attaching again raises all
    /// that are open once more. Nothing of it survives a restart: a resolver attaches again.
    Resolver {
        /// The database.
        database: Name,
        /// Whether it is there.
        attached: bool,
    },
    /// Pause the exchange of a database with others, or resume it (S-37). While it is paused nothing of its syncgroups
    /// is given or taken, nobody is dialled for them, and who asks gets the answer of one who does not have them.
    /// Rows are read and written as ever; others see what was written once the database is resumed. Batches over
    /// syncgroups of several databases are given in parts then, for which others wait a while (S-28). It survives a
    /// restart, also of a database that has no syncgroup yet.
    Pause {
        /// The database.
        database: Name,
        /// Whether it is paused from now on.
        paused: bool,
    },
    /// Write again what this device wrote while its clock was far ahead, now that the clock is right (S-27). Nobody
    /// takes that before its time, nor anything that is written after it: [`crate::Notice::Ahead`] tells of it.
    ///
    /// In all syncgroups of which this device is a member, what is stamped further ahead than [`crate::Limits::drift`]
    /// is taken back. Of that, what this device wrote is written again, under a new incarnation: whole batches, in
    /// order, beside whatever others have changed meanwhile, and before it. What others wrote so far ahead comes again
    /// from them when its time has come; where nobody else has it any more, it is gone. All of it is one step; who watches
    /// begins anew with the current state.
    ///
    /// Ask for it only when the clock is right: what it takes for the future is what it shows. Where nothing lies ahead
    /// nothing is changed.
    Reissue,
    /// Answer a conflict (S-17): one that was raised, or one that was found by [`crate::read::conflict`]. No
    /// resolver need be attached.
    Resolve(Resolution),
    /// Make an invitation: whoever holds it may join.
    Invite {
        /// The syncgroup, of which this device must be an admin.
        syncgroup: SyncgroupId,
        /// What the newcomer may do.
        rights: Rights,
        /// The last moment for which it may do that, if there shall be one: for what it stamps no later. See
        /// [`Command::SetRights`].
        ends: Option<Wall>,
        /// How long the invitation is good, by this device's clock.
        valid_for: Millis,
        /// Whether several devices may use it.
        reusable: bool,
        /// Where this device can be reached.
        addresses: Vec<Address>,
    },
    /// Join a syncgroup by an invitation. The reply comes when the request is kept and will be tried until it
    /// is answered; [`crate::Notice::Syncgroup`] tells how it goes on.
    Join {
        /// The database in which it shall appear, on this device.
        database: Name,
        /// The invitation.
        invitation: Invitation,
    },
    /// Join a syncgroup as a device of a user (S-3): by an invitation that an admin made, which then lets in the user with
    /// this device in one step; or by one for devices of the user that any member made, where something is granted to
    /// the user already. Replied to like [`Command::Join`].
    JoinAs {
        /// The database in which it shall appear, on this device.
        database: Name,
        /// The invitation.
        invitation: Invitation,
        /// The user's word that this device is its own.
        certificate: Box<Certificate>,
    },
    /// Make an invitation for the devices of a user, who may do something in the syncgroup: whoever shows this device a
    /// certificate of that user is let in. Any member may make one, for any user.
    InviteDevice {
        /// The syncgroup, of which this device must be a member.
        syncgroup: SyncgroupId,
        /// Whose devices.
        user: UserId,
        /// How long it is good, by this device's clock.
        valid_for: Millis,
        /// Where this device can be reached.
        addresses: Vec<Address>,
    },
    /// Say what a user may do, by whatever device it has certified (S-3). With less than it had its devices keep what is
    /// left, as with [`Command::SetRights`].
    AdmitUser {
        /// The syncgroup, of which this device must be an admin.
        syncgroup: SyncgroupId,
        /// The user's key.
        user: PublicKey,
        /// What the user is called.
        name: Name,
        /// What it may do from now on.
        rights: Rights,
        /// The last moment for which it may do that, if there shall be one.
        ends: Option<Wall>,
    },
    /// End what was granted to a user, for all its devices. What they wrote stays as far as this device has it. A device
    /// to which something was granted by itself keeps that.
    EjectUser {
        /// The syncgroup, of which this device must be an admin, and one that may overrule the user if it is one.
        syncgroup: SyncgroupId,
        /// Whom.
        user: UserId,
    },
    /// Open a syncgroup: grant everybody something, or other rights than before (S-3). Nobody is a member by that. But
    /// every member, whatever it may do itself, may invite then, with rights no greater than these and for no longer, and let
    /// in whoever shows such an invitation. What they give stays when this ends, as far as this device knows of it.
    ///
    /// A device that an admin has removed, or what it has taken from one or from a user, a member cannot let in again, or give
    /// back, nor let it in together with another user: only an admin can. Whoever comes by another device is somebody else;
    /// and a user that is a member may have its certificate for such a device written down, as always. With less
    /// than before, what members gave beyond it, and this device does not have yet, does not count.
    Open {
        /// The syncgroup, of which this device must be an admin.
        syncgroup: SyncgroupId,
        /// What members may give: to read, or to write.
        rights: Rights,
        /// The last moment for which they may, and until which they may give it, if there shall be one.
        ends: Option<Wall>,
    },
    /// Close a syncgroup: nothing is granted to everybody any more. Whom members have let in stays in, as far as this device
    /// has it; whom they let in beside that is no member, and what it wrote does not count.
    Close {
        /// The syncgroup, of which this device must be an admin.
        syncgroup: SyncgroupId,
    },
    /// Write down that a device is one of a user's. It takes no right but to be a member: the certificate and what was
    /// granted to the user are proof enough (S-3).
    Enrol {
        /// The syncgroup.
        syncgroup: SyncgroupId,
        /// The user's word for it.
        certificate: Certificate,
    },
    /// Write down that a device is none of a user's any more in a syncgroup. What it wrote stays as far as the statement
    /// says; what it wrote beside that does not count (S-35). It takes no right but to be a member; only the user's key
    /// makes such a statement: see [`crate::Core::striking_off`].
    StrikeOff {
        /// The syncgroup.
        syncgroup: SyncgroupId,
        /// The user's word for it.
        striking: StrikingOff,
    },
    /// Remove a device from a syncgroup. What it wrote stays as far as this device has it; what it wrote beside that
    /// does not count, wherever it is or comes to be (S-34, S-35). A device that hears of it goes on reading what it
    /// has. Of two admins who remove each other while apart the one stays who was made an admin by, or before, the
    /// other. A device that was removed can be invited again. One that has left can be removed too: a copy of it from
    /// before, which does not know that it has left, says nothing from then on.
    Eject {
        /// The syncgroup, of which this device must be an admin.
        syncgroup: SyncgroupId,
        /// Whom: a member, and no admin whom this device cannot overrule.
        device: DeviceId,
    },
    /// Give a member other rights, or for another time. With less than it had it keeps what is left; what it wrote by the
    /// right that it lost and this device does not have yet does not count.
    ///
    /// A right with an end is for what the member stamps no later (S-7): that counts, whenever it arrives; what is stamped
    /// later nobody takes. Once a device's clock is past the end of all that was granted to another one, it gives that one
    /// nothing any more, and takes from it only what members wrote, with what that builds on (S-36): what it wrote in time
    /// and nobody has yet waits until its time is extended, by another of these commands. A member notices its own end by
    /// its own clock: [`SyncgroupState::Expired`](crate::SyncgroupState::Expired). Whether it is over is never written
    /// down, so a clock that is set right sets that right, too.
    ///
    /// ```
    /// use driftless::{Command, DeviceId, Rights, SyncgroupId, Wall};
    /// # let (syncgroup, device) = (SyncgroupId([7; 32]), DeviceId([8; 16]));
    /// let new_year = Wall(1_798_761_600_000);
    /// let lend = Command::SetRights { syncgroup, device, rights: Rights::Write, ends: Some(new_year) };
    /// let extend = Command::SetRights { syncgroup, device, rights: Rights::Write, ends: None };
    /// # assert_ne!(lend, extend);
    /// ```
    SetRights {
        /// The syncgroup, of which this device must be an admin.
        syncgroup: SyncgroupId,
        /// Whose: a member other than this device; to take something from an admin it must be one whom this device
        /// may overrule.
        device: DeviceId,
        /// What it may do from now on.
        rights: Rights,
        /// The last moment for which it may do that, if there shall be one.
        ends: Option<Wall>,
    },
    /// Say what members are told of a syncgroup: what it is for, and where to meet (S-30).
    SetSpec {
        /// The syncgroup, of which this device must be an admin.
        syncgroup: SyncgroupId,
        /// What is to be said anew; the rest stays.
        change: SpecChange,
        /// Only if these still are the last changes, as [`crate::SyncgroupInfo::spec_version`] had it.
        unless_changed: Option<SpecVersion>,
    },
    /// Publish a syncgroup at a device (S-33): all admins that reach it ask it to take part, until it answers. It then is a
    /// member like any other. That it shall is kept in the syncgroup, and survives restarts;
    /// [`crate::SyncgroupInfo::publications`] tells how far it is. Where it has declined, it is asked anew. It is asked for
    /// at most [`crate::limits::MAX_OFFERS`] syncgroups at a time; one more is refused while those wait for its answer.
    Publish {
        /// The syncgroup, of which this device must be an admin.
        syncgroup: SyncgroupId,
        /// Which device: no member.
        device: DeviceId,
        /// What it may do as a member.
        rights: Rights,
        /// Where it can be reached, at most [`crate::limits::MAX_ADDRESSES`].
        addresses: Vec<Address>,
    },
    /// Withdraw a publication that has not come about. Whoever is a member already has to be removed instead.
    Unpublish {
        /// The syncgroup, of which this device must be an admin.
        syncgroup: SyncgroupId,
        /// Where it is published.
        device: DeviceId,
    },
    /// Decline to take part in a syncgroup that is published at this device: see [`crate::Notice::Invited`]. Whoever has
    /// offered it is told. Nothing of it survives a restart: what is offered after that is asked anew.
    Decline {
        /// The offer.
        invitation: Invitation,
    },
    /// Take another key (S-1). The device keeps its id; it closes its links, goes on as another author, and tells all
    /// members that the key before has ended. The driver must have kept the new key, durably, before it asks: from then
    /// on it is the device's, and whoever boots with it finishes what was not. Invitations that this device has made are
    /// void with the key before; its certificates stay.
    RotateKey(Box<NewKey>),
    /// Remove everybody whom this device may remove, and leave. If it created the syncgroup, nobody is left, and
    /// nobody can write any more; what devices have they can read.
    Destroy {
        /// The syncgroup, of which this device must be an admin.
        syncgroup: SyncgroupId,
    },
    /// Leave a syncgroup. Its rows stay on this device and can be read.
    Leave {
        /// The syncgroup.
        syncgroup: SyncgroupId,
    },
}

/// An atomic batch (S-4).
///
/// ```
/// use driftless::{LocalWrite, Name, RowRef, SyncgroupId};
/// # let group = SyncgroupId([7; 32]);
/// let row = |key: &str| RowRef {
///     syncgroup: group,
///     collection: Name::new("notes").unwrap(),
///     key: key.as_bytes().to_vec().into(),
/// };
/// let batch = LocalWrite::new().put(row("a"), "first").put(row("b"), "second").delete(row("c"));
/// assert_eq!(batch.changes.len(), 3);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalWrite {
    /// The changes, in order. Of several puts and deletes of one row the last counts; operations add up.
    pub changes: Vec<Change>,
    /// What must still hold for the batch to be written.
    pub preconditions: Vec<Precondition>,
}

impl LocalWrite {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds: set a row to a value.
    #[must_use]
    pub fn put(mut self, row: RowRef, value: impl Into<Bytes>) -> Self {
        self.changes.push(Change { row, edit: Edit::Put(value.into()) });
        self
    }

    /// Adds: remove a row.
    #[must_use]
    pub fn delete(mut self, row: RowRef) -> Self {
        self.changes.push(Change { row, edit: Edit::Delete });
        self
    }

    /// Adds: change a merging row (S-16).
    #[must_use]
    pub fn operate(mut self, row: RowRef, operation: Operation) -> Self {
        self.changes.push(Change { row, edit: Edit::Operate(operation) });
        self
    }

    /// Adds a precondition.
    #[must_use]
    pub fn require(mut self, precondition: Precondition) -> Self {
        self.preconditions.push(precondition);
        self
    }
}

/// Which row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowRef {
    /// The syncgroup of its collection.
    pub syncgroup: SyncgroupId,
    /// Its collection.
    pub collection: Name,
    /// Its key: at most [`crate::limits::MAX_KEY`] bytes.
    pub key: Bytes,
}

/// A change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The row.
    pub row: RowRef,
    /// What becomes of it.
    pub edit: Edit,
}

/// What a change does to its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Sets it to a value of at most [`crate::limits::MAX_VALUE`] bytes. In a merging row this takes the place
    /// of all that is known there.
    Put(Bytes),
    /// Removes it. Where it is not there this changes nothing, unless versions disagree about that: then it decides.
    Delete,
    /// Changes it in a way that leaves room for others. The schema must name the operation's merge.
    Operate(Operation),
}

/// What must still hold at the moment of writing. If it does not, nothing is written (S-4).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precondition {
    /// The row has exactly these heads, in any order; none means that nobody ever wrote it.
    Heads {
        /// The row.
        row: RowRef,
        /// Its heads.
        heads: Vec<Version>,
    },
    /// The range shows exactly these rows, as [`crate::read::scan`] tells them: none has come, gone or changed, be it
    /// by another version, by an operation on a row that merges, by a version that stands against the one that is
    /// shown, or by another schema. Of rows that are not there nothing is compared: nobody saw anything of them. So
    /// what was computed from a scan still holds: there are no phantoms (S-12).
    ///
    /// Rows that merge by functions of the application must have been read
    /// [with them](crate::read::Collection::with_merges). It costs what reading the range costs.
    Range {
        /// The first row of the range, included.
        from: RowRef,
        /// The key at which the range ends, not included; `None` is the end of the collection.
        to: Option<Bytes>,
        /// All its rows, ordered by key.
        rows: Vec<Row>,
    },
}
