//! The handle of a syncgroup.

use std::net::SocketAddr;

use driftless::{
    Address, Command, DeviceId, Invitation, Member, Outcome, Rendezvous, Rights, SpecChange, SpecVersion,
    SyncgroupId, SyncgroupInfo, Wall, limits,
};

use super::{Collection, Database};
use crate::address;
use crate::error::{self, Error};
use crate::options::{InviteOptions, millis};

/// A syncgroup: devices that share collections.
#[derive(Debug, Clone)]
pub struct Syncgroup {
    database: Database,
    id: SyncgroupId,
}

/// Where a device can be met, for [`Syncgroup::describe`].
///
/// ```
/// let server = driftless::PublicKey([7; 32]).device();
/// let place = driftless_tokio::rendezvous(server, "192.0.2.7:4433".parse().unwrap());
/// assert_eq!(place.address.as_str(), "quic:192.0.2.7:4433");
/// assert_eq!(driftless_tokio::socket_addr(&place.address), "192.0.2.7:4433".parse().ok());
/// ```
pub fn rendezvous(device: DeviceId, addr: SocketAddr) -> Rendezvous {
    Rendezvous { device, address: address::of(addr) }
}

/// The socket address in an address; `None` if this driver cannot call it.
pub fn socket_addr(address: &Address) -> Option<SocketAddr> {
    address::parse(address)
}

impl Syncgroup {
    pub(crate) fn new(database: Database, id: SyncgroupId) -> Self {
        Self { database, id }
    }

    /// Its id.
    pub fn id(&self) -> SyncgroupId {
        self.id
    }

    /// The database that it belongs to on this device.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// How it stands: its name, its collections, how far this device is in it.
    ///
    /// # Errors
    /// [`Error::UnknownSyncgroup`] if it is not on this device; [`Error::Closed`].
    pub async fn info(&self) -> Result<SyncgroupInfo, Error> {
        let all = self.database.syncgroups().await?;
        all.into_iter().find(|info| info.id == self.id).ok_or_else(|| self.unknown())
    }

    /// Who is in it, and who has left or was removed.
    ///
    /// # Errors
    /// [`Error::UnknownSyncgroup`] if it is not on this device; [`Error::Closed`].
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let id = self.id;
        let members = self.database.node().look(move |core| core.members(&id)).await?;
        members.ok_or_else(|| self.unknown())
    }

    /// Makes an invitation: whoever holds it can join. It is one string that can be pasted anywhere. Who is no admin may
    /// make one that gives no more than [`Syncgroup::open`] grants to everybody.
    ///
    /// # Errors
    /// [`Error::Refused`] if this device is no admin of the syncgroup, and it is not open to as much.
    pub async fn invite(&self, options: InviteOptions) -> Result<Invitation, Error> {
        self.invited(Command::Invite {
            syncgroup: self.id,
            rights: options.rights,
            ends: options.ends,
            valid_for: millis(options.valid_for),
            reusable: options.reusable,
            addresses: self.addresses(),
        })
        .await
    }

    /// Where this device can be reached, as an invitation says it.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let own = self.database.node().local_addrs().into_iter();
        own.take(limits::MAX_ADDRESSES).map(address::of).collect()
    }

    /// What comes of a command that makes an invitation.
    pub(super) async fn invited(&self, command: Command) -> Result<Invitation, Error> {
        match self.database.node().command(command).await? {
            Outcome::Invited(invitation) => Ok(invitation),
            _ => Err(Error::Unexpected("make an invitation")),
        }
    }

    /// Removes a device. What it wrote stays as far as this device has it; what it wrote beside that does not count,
    /// wherever it is or comes to be. The device is told, keeps what it has, and can be invited again. One that has left
    /// can be removed too, so that a copy of it from before says nothing any more.
    ///
    /// # Errors
    /// [`Error::Refused`] if this device is no admin, if the other was no member or was removed already, is an admin whom this device cannot
    /// overrule, or is this device itself.
    pub async fn eject(&self, device: DeviceId) -> Result<(), Error> {
        match self.database.node().command(Command::Eject { syncgroup: self.id, device }).await? {
            Outcome::Ejected(..) => Ok(()),
            _ => Err(Error::Unexpected("remove a device")),
        }
    }

    /// Gives a member other rights: [`Rights::Read`], [`Rights::Write`], or [`Rights::Admin`]. What it wrote by a right
    /// that it loses, and this device does not have yet, does not count.
    ///
    /// # Errors
    /// [`Error::Refused`] for the same reasons as [`Syncgroup::eject`].
    pub async fn set_rights(&self, device: DeviceId, rights: Rights) -> Result<(), Error> {
        self.change_rights(device, rights, None).await
    }

    /// The same until an end: a right is for what the member stamps no later. After that it is given nothing any more, and
    /// reads what it has; what it wrote in time and nobody has yet arrives when its time is extended, by this or by
    /// [`Syncgroup::set_rights`]. What it may do is what was said last, so this also makes a time shorter.
    ///
    /// ```no_run
    /// # async fn lend(syncgroup: driftless_tokio::Syncgroup, tablet: driftless::DeviceId) -> Result<(), driftless_tokio::Error> {
    /// use driftless::{Rights, Wall};
    /// let new_year = Wall(1_798_761_600_000);
    /// syncgroup.set_rights_until(tablet, Rights::Write, new_year).await?;
    /// let members = syncgroup.members().await?;
    /// assert!(members.iter().any(|it| it.device == tablet && it.ends == Some(new_year) && !it.expired));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Syncgroup::set_rights`]; [`Error::Refused`] also if the end lies in the past.
    pub async fn set_rights_until(&self, device: DeviceId, rights: Rights, ends: Wall) -> Result<(), Error> {
        self.change_rights(device, rights, Some(ends)).await
    }

    async fn change_rights(&self, device: DeviceId, rights: Rights, ends: Option<Wall>) -> Result<(), Error> {
        let command = Command::SetRights { syncgroup: self.id, device, rights, ends };
        match self.database.node().command(command).await? {
            Outcome::RightsSet(..) => Ok(()),
            _ => Err(Error::Unexpected("change rights")),
        }
    }

    /// Opens it: grants everybody so much, [`Rights::Read`] or [`Rights::Write`] (S-3). Any member can let in others then, with
    /// no more than that and for no longer, whatever it may do itself. What was granted to everybody before is replaced:
    /// [`SyncgroupInfo::open`] tells what is. A device that an admin has removed no member lets in again.
    ///
    /// # Errors
    /// [`Error::Refused`] if this device is no admin, if it shall be [`Rights::Admin`], or if the end lies in the past.
    pub async fn open(&self, rights: Rights, ends: Option<Wall>) -> Result<(), Error> {
        self.everybodys(Command::Open { syncgroup: self.id, rights, ends }).await
    }

    /// Closes it: nothing is granted to everybody any more. Whom members have let in stays in, as far as this device has
    /// heard of it; whom they let in beside that is no member, wherever it is.
    ///
    /// # Errors
    /// [`Error::Refused`] if this device is no admin.
    pub async fn close(&self) -> Result<(), Error> {
        self.everybodys(Command::Close { syncgroup: self.id }).await
    }

    async fn everybodys(&self, command: Command) -> Result<(), Error> {
        match self.database.node().command(command).await? {
            Outcome::EverybodysRightsSet(..) => Ok(()),
            _ => Err(Error::Unexpected("say what everybody is granted")),
        }
    }

    /// Publishes it at a device (S-33): this device, and every other admin that reaches it, asks it to take part, until it
    /// answers; whether this device is restarted or not. It then is a member like any other, with these rights.
    /// `addrs` are where it may be reached, at most [`limits::MAX_ADDRESSES`]; devices in the neighbourhood are found
    /// without. [`SyncgroupInfo::publications`] tells how far that is. On the other device
    /// [`crate::Node::invitations`] lists what it is asked.
    ///
    /// # Errors
    /// [`Error::Refused`] if this device is no admin, or if the other is a member already.
    pub async fn publish(&self, device: DeviceId, rights: Rights, addrs: &[SocketAddr]) -> Result<(), Error> {
        let addresses = addrs.iter().copied().map(address::of).collect();
        let command = Command::Publish { syncgroup: self.id, device, rights, addresses };
        match self.database.node().command(command).await? {
            Outcome::Published(..) => Ok(()),
            _ => Err(Error::Unexpected("publish a syncgroup")),
        }
    }

    /// Withdraws that, as long as it has not come about.
    ///
    /// # Errors
    /// [`Error::Refused`] if this device is no admin, if it is not published there, or if the other is a member by now.
    pub async fn unpublish(&self, device: DeviceId) -> Result<(), Error> {
        match self.database.node().command(Command::Unpublish { syncgroup: self.id, device }).await? {
            Outcome::Unpublished(..) => Ok(()),
            _ => Err(Error::Unexpected("withdraw a publication")),
        }
    }

    /// Says what members are told: what the syncgroup is for, and where to meet (S-30). What is `None` stays as it is.
    /// With `unless_changed` only if these still are the last changes, as [`Syncgroup::info`] had them. Returns which they
    /// are now.
    ///
    /// # Errors
    /// [`Error::Refused`] if this device is no admin, if it is too much, or if somebody has changed it since.
    pub async fn describe(
        &self,
        change: SpecChange,
        unless_changed: Option<SpecVersion>,
    ) -> Result<SpecVersion, Error> {
        let command = Command::SetSpec { syncgroup: self.id, change, unless_changed };
        match self.database.node().command(command).await? {
            Outcome::SpecSet(_, version) => Ok(version),
            _ => Err(Error::Unexpected("say what a syncgroup is for")),
        }
    }

    /// Where this device can be met now, for [`Syncgroup::describe`]; empty if it listens nowhere.
    pub fn here(&self) -> Vec<Rendezvous> {
        let device = self.database.node().device();
        self.addresses().into_iter().map(|address| Rendezvous { device, address }).collect()
    }

    /// Removes everybody whom this device may remove, and leaves. If it created the syncgroup, nobody is left; what
    /// devices have they can read.
    ///
    /// # Errors
    /// [`Error::Refused`] if this device is no admin.
    pub async fn destroy(&self) -> Result<(), Error> {
        match self.database.node().command(Command::Destroy { syncgroup: self.id }).await? {
            Outcome::Destroyed(_) => Ok(()),
            _ => Err(Error::Unexpected("destroy a syncgroup")),
        }
    }

    /// Leaves it. Its rows stay on this device and can be read.
    ///
    /// # Errors
    /// [`Error::Refused`], for example if others would be left without an admin.
    pub async fn leave(&self) -> Result<(), Error> {
        match self.database.node().command(Command::Leave { syncgroup: self.id }).await? {
            Outcome::Left(_) => Ok(()),
            _ => Err(Error::Unexpected("leave a syncgroup")),
        }
    }

    /// Adds a collection. Adding one that is there is not an error.
    ///
    /// # Errors
    /// [`Error::Refused`] if this device is no admin of the syncgroup.
    pub async fn create_collection(&self, name: &str) -> Result<Collection, Error> {
        let command = Command::CreateCollection { syncgroup: self.id, collection: error::name(name)? };
        match self.database.node().command(command).await? {
            Outcome::CollectionCreated(_) => self.collection(name),
            _ => Err(Error::Unexpected("create a collection")),
        }
    }

    /// Its collection of this name.
    ///
    /// # Errors
    /// [`Error::UnknownCollection`] lists the collections that are there.
    pub fn collection(&self, name: &str) -> Result<Collection, Error> {
        self.database.collection_in(Some(self.id), name)
    }

    pub(super) fn unknown(&self) -> Error {
        Error::UnknownSyncgroup {
            database: self.database.name().clone(),
            asked: self.id.to_string(),
            candidates: Vec::new(),
        }
    }
}
