//! The handle of a node.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use driftless::store::Store;
use driftless::{
    Command, Core, DeviceId, Identity, Invitation, KeyChain, Name, NewKey, Outcome, PublicKey, Reissued,
    Status, Written,
};
use driftless_fjall::Passphrase;
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::Database;
use crate::address;
use crate::error::{self, Closed, Error, OpenError};
use crate::link::Wire;
use crate::news::{News, Notices};
use crate::options::{Merges, Options, Retry};
use crate::reading::Snapshot;
use crate::replica::{self, Request};
use crate::resolver::Queue;
use crate::shared::Published;
use crate::traffic::Traffic;

/// A running replica: its store, its links, its discovery. Clones are handles of the same node; when the last
/// is dropped, the node shuts down by itself.
///
/// A node brings its own threads along: its futures can be awaited on any executor.
///
/// ```
/// use driftless_tokio::{Node, Options};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let store = driftless_tokio::StoreOptions::new().state_dir(dir.path().join("state"));
/// # let options = Options { discovery: false, store, ..Options::default() };
/// let node = Node::open(dir.path().join("data"), options)?;
/// println!("this is {}, reached at {:?}", node.device(), node.local_addrs());
/// println!("{} links are open", node.status().await?.replica.links.len());
/// node.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) public_key: PublicKey,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) published: Arc<Published>,
    pub(crate) wire: Arc<Wire>,
    pub(crate) io: tokio::runtime::Handle,
    pub(crate) news: broadcast::WeakSender<News>,
    pub(crate) retry: Retry,
    pub(crate) merges: Merges,
    /// Where its key is kept, if this node has opened that itself.
    pub(crate) dir: Option<PathBuf>,
    /// One key after the other.
    pub(crate) rotating: Arc<tokio::sync::Mutex<()>>,
}

/// A look at a node.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct NodeStatus {
    /// The replica: its syncgroups, its links, whom it would like to reach.
    pub replica: Status,
    /// Whether links are allowed, see [`Node::set_online`].
    pub online: bool,
    /// How far ahead of this device's clock it stamps what it writes, if that is further than others take (S-27):
    /// nobody sees it before that time. See [`Node::reissue`].
    pub ahead: Option<Duration>,
    /// Where other devices can reach this one, as far as it can tell.
    pub listening: Vec<SocketAddr>,
    /// What went over the wire since the node was opened.
    pub traffic: Traffic,
}

impl Node {
    /// Opens the node of a data directory, and makes both if they are not there. It blocks for as long as it
    /// takes to open the store.
    ///
    /// # Errors
    /// [`OpenError`] if the directory is in use, or damaged, or if the address to listen on cannot be had.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let opened = driftless_fjall::open(dir.as_ref(), options.store.clone())?;
        if let Some(doubt) = &opened.doubt {
            tracing::info!(%doubt, "this device goes on as a new incarnation");
        }
        let mut inner = replica::start(opened.store, &opened.identity, options)?;
        inner.dir = Some(dir.as_ref().to_path_buf());
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Starts a node on any store.
    ///
    /// # Errors
    /// As [`Node::open`].
    pub fn start<S>(store: S, identity: &Identity, options: Options) -> Result<Self, OpenError>
    where
        S: Store + Send + 'static,
    {
        replica::start(store, identity, options).map(|inner| Self { inner: Arc::new(inner) })
    }

    /// This device.
    pub fn device(&self) -> DeviceId {
        self.inner.public_key.device()
    }

    /// This device's first public key: others know it by that, whatever key it has now.
    pub fn public_key(&self) -> PublicKey {
        self.inner.public_key
    }

    /// Where other devices can reach this one, as far as it can tell: the addresses of its network interfaces
    /// with the port of the node, or the one that it was told to listen on.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        address::reachable(self.inner.wire.local_addr())
    }

    /// The database of this name. A database need not be made: it is there as soon as a syncgroup is in it.
    ///
    /// # Errors
    /// [`Error::Name`] if the text is no name.
    pub fn database(&self, name: &str) -> Result<Database, Error> {
        Ok(Database::new(self.clone(), error::name(name)?))
    }

    /// A look at the node.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node is closed.
    pub async fn status(&self) -> Result<NodeStatus, Error> {
        let (replica, ahead) = self.look(|core| (core.status(), core.ahead_of(replica::wall()))).await?;
        Ok(NodeStatus {
            replica,
            ahead: ahead.map(|ahead| Duration::from_millis(ahead.0)),
            online: self.is_online(),
            listening: self.local_addrs(),
            traffic: self.traffic(),
        })
    }

    /// Says where a device can be reached.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node is closed.
    pub async fn add_peer(&self, device: DeviceId, addr: SocketAddr) -> Result<(), Error> {
        self.request(Request::Peer { device, address: address::of(addr) }).await
    }

    /// Cuts the node off from all others, or lets it link again. While it is off all links are closed, none is
    /// opened and none accepted; everything else works. It starts online.
    pub fn set_online(&self, online: bool) {
        self.inner.wire.set_online(online);
    }

    /// Whether links are allowed.
    pub fn is_online(&self) -> bool {
        self.inner.wire.is_online()
    }

    /// What went over the wire since the node was opened.
    pub fn traffic(&self) -> Traffic {
        self.inner.wire.counters.read()
    }

    /// What happens from now on without being asked for.
    pub fn notices(&self) -> Notices {
        let receiver = match self.inner.news.upgrade() {
            Some(sender) => sender.subscribe(),
            // The node is closed: a receiver without a sender says so.
            None => broadcast::channel(1).1,
        };
        Notices::new(receiver)
    }

    /// Syncgroups that admins want this device to take part in, and that it has not answered (S-33):
    /// [`News::Notice`] with [`driftless::Notice::Invited`] tells of each as it comes. Take one by
    /// [`crate::Database::join`], or [`Node::decline`] it.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node is closed.
    pub async fn invitations(&self) -> Result<Vec<Invitation>, Error> {
        self.look(Core::invitations).await
    }

    /// Declines to take part. Whoever has asked is told when it can be, and asks no more.
    ///
    /// # Errors
    /// [`Error::Refused`] if the invitation is none that was offered to this device, or was accepted.
    pub async fn decline(&self, invitation: &Invitation) -> Result<(), Error> {
        match self.command(Command::Decline { invitation: invitation.clone() }).await? {
            Outcome::Declined(_) => Ok(()),
            _ => Err(Error::Unexpected("decline an offer")),
        }
    }

    /// Writes again what this device wrote while its clock was far ahead, which others do not take before that time,
    /// nor anything that is written after it (S-27): [`driftless::Notice::Ahead`] tells of it, and
    /// [`NodeStatus::ahead`]. To be asked for when the clock is right, as it goes by that; where nothing lies ahead
    /// nothing is changed. See [`driftless::Command::Reissue`].
    ///
    /// ```
    /// # use driftless_tokio::{Node, Options};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let store = driftless_tokio::StoreOptions::new().state_dir(dir.path().join("state"));
    /// # let node = Node::open(dir.path().join("data"), Options { discovery: false, store, ..Options::default() })?;
    /// if node.status().await?.ahead.is_some() {
    ///     println!("{} batches are written again", node.reissue().await?.batches);
    /// }
    /// # node.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] if it cannot be: nothing is changed then. [`Error::Closed`] if the node is closed.
    pub async fn reissue(&self) -> Result<Reissued, Error> {
        match self.command(Command::Reissue).await? {
            Outcome::Reissued(reissued) => Ok(reissued),
            _ => Err(Error::Unexpected("write again what lies ahead")),
        }
    }

    /// Gives this device another key (S-1): it keeps its id and all that it may, and the key that it had ends, wherever that is
    /// known. It is kept in the data directory before anything else happens, locked by the same passphrase; if the node is
    /// closed in between, it goes on from there when it is opened again. Links are opened anew. Invitations that this
    /// device has made are void.
    ///
    /// ```
    /// use driftless_tokio::{Node, Options};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let store = driftless_tokio::StoreOptions::new().state_dir(dir.path().join("state"));
    /// # let node = Node::open(dir.path().join("data"), Options { discovery: false, store, ..Options::default() })?;
    /// let device = node.device();
    /// let keys = node.rotate_key(None).await?;
    /// assert_eq!((keys.device(), keys.rollovers()), (device, 1));
    /// # node.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Look at [`Status::key_ended`](driftless::Status::key_ended) first: a copy of a device from before it took another key
    /// needs that one, and no third.
    ///
    /// # Errors
    /// [`Error::Key`] if the key cannot be read, made or written: unless the disk failed at the very end, nothing is changed
    /// then. It is so too if this node was not opened by [`Node::open`]: then make the key and keep it yourself, for
    /// [`Node::take_key`]. [`Error::KeyKept`] if the key is in its file and this node could not take it any more: it is the
    /// device's, and the directory is opened with it the next time. [`Error::Closed`] if the node was closed meanwhile: which
    /// key the file holds it tells when it is opened again.
    pub async fn rotate_key(&self, passphrase: Option<Passphrase>) -> Result<KeyChain, Error> {
        let dir = self.inner.dir.clone();
        let dir = dir.ok_or_else(|| Error::Key("this node did not open the directory".into()))?;
        // Once the key is in its file, the device has it: so it takes it, whether or not anybody waits for that.
        let node = self.clone();
        let taken = self.inner.io.spawn(async move {
            let turn = node.inner.rotating.clone().lock_owned().await;
            let made = node.inner.io.spawn_blocking(move || {
                let made = driftless_fjall::rotate_key(&dir, passphrase.as_ref());
                (made, turn)
            });
            let (made, _turn) = made.await.map_err(|_| node.closed())?;
            let new = made.map_err(|error| Error::Key(error.to_string()))?;
            let kept = new.chain.clone();
            let taken = node.take_key(new).await;
            taken.map_err(|error| Error::KeyKept { rollovers: kept.rollovers(), why: Box::new(error) })
        });
        taken.await.map_err(|_| self.closed())?
    }

    /// As [`Node::rotate_key`], with a key that the application has made, by [`KeyChain::rolled_over`], and has kept durably.
    ///
    /// # Errors
    /// [`Error::Refused`] if the chain does not go on from the key that the device has. [`Error::Closed`] if the node is
    /// closed.
    pub async fn take_key(&self, new: NewKey) -> Result<KeyChain, Error> {
        match self.command(Command::RotateKey(Box::new(new))).await? {
            Outcome::KeyRotated(chain) => Ok(chain),
            _ => Err(Error::Unexpected("take another key")),
        }
    }

    /// A look at one moment of all databases.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node is closed.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        Ok(Snapshot::new(self.inner.published.now()?))
    }

    /// Closes the node: what was accepted is finished and made durable, links are closed with a good-bye, the
    /// data directory is free when this returns. All other handles get [`Error::Closed`] from now on.
    pub async fn shutdown(&self) {
        let (done, finished) = oneshot::channel();
        if self.inner.requests.send(Request::Shutdown(done)).await.is_ok() {
            // An error means that the node has ended without answering: it is closed as well.
            let _ = finished.await;
        }
        // A node that was closing already is waited for too.
        self.inner.requests.closed().await;
    }

    pub(crate) fn published(&self) -> &Arc<Published> {
        &self.inner.published
    }

    pub(crate) fn retry(&self) -> Retry {
        self.inner.retry
    }

    pub(crate) fn merges(&self) -> &Merges {
        &self.inner.merges
    }

    /// Has the replica look something up.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let look = move |core: &Core| drop(reply.send(question(core)));
        self.request(Request::Look(Box::new(look))).await?;
        answer.await.map_err(|_| self.closed())
    }

    /// Has the replica carry out a command, and waits until what it did is safe.
    pub(crate) async fn command(&self, command: Command) -> Result<Outcome, Error> {
        let (reply, answer) = oneshot::channel();
        let command = Box::new(command);
        self.request(Request::Command { command, written: None, reply }).await?;
        answer.await.map_err(|_| self.closed())?
    }

    /// As [`Node::command`], for a write: `written` hears of it as soon as readers see it.
    pub(crate) async fn write(
        &self,
        command: Command,
        written: oneshot::Sender<Vec<Written>>,
    ) -> Result<oneshot::Receiver<Result<Outcome, Error>>, Error> {
        let (reply, answer) = oneshot::channel();
        let command = Box::new(command);
        self.request(Request::Command { command, written: Some(written), reply }).await?;
        Ok(answer)
    }

    /// Attaches a resolver to a database, in the place of one that was attached. What is open is raised, what the
    /// queue has missed included.
    pub(crate) async fn attach(&self, database: &Name, queue: &Arc<Queue>) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let (database, queue) = (database.clone(), Arc::downgrade(queue));
        self.request(Request::Attach { database, queue, reply }).await?;
        match answer.await.map_err(|_| self.closed())?? {
            Outcome::ResolverNoted => Ok(()),
            _ => Err(Error::Unexpected("attach a resolver")),
        }
    }

    /// Detaches a resolver, if it still is the one of its database.
    pub(crate) fn detach(&self, database: &Name, queue: &Arc<Queue>) {
        let request = Request::Detach { database: database.clone(), queue: Arc::downgrade(queue) };
        // If the replica is too busy to hear of it, it finds nobody there when it raises the next conflict.
        let _ = self.inner.requests.try_send(request);
    }

    #[cfg(test)]
    pub(crate) fn requests(&self) -> &mpsc::Sender<Request> {
        &self.inner.requests
    }

    async fn request(&self, request: Request) -> Result<(), Error> {
        self.inner.requests.send(request).await.map_err(|_| self.closed())
    }

    /// Waits for `work`, but not longer than `patience`, by the clock of the node's own threads.
    pub(crate) async fn timeout<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Option<T> {
        let (ring, alarm) = oneshot::channel::<()>();
        let clock = self.inner.io.spawn(async move {
            tokio::time::sleep(patience).await;
            drop(ring);
        });
        let result = tokio::select! {
            biased;
            result = work => Some(result),
            _ = alarm => None,
        };
        clock.abort();
        result
    }

    /// Waits, by the clock of the node's own threads.
    pub(crate) async fn sleep(&self, span: Duration) {
        // It never ends before the time has passed.
        let _: Option<()> = self.timeout(span, std::future::pending()).await;
    }

    /// Why nobody answers any more.
    pub(crate) fn closed(&self) -> Error {
        match self.inner.published.now() {
            Err(closed) => closed.into(),
            Ok(_) => Closed::by_request().into(),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("device", &self.device()).finish_non_exhaustive()
    }
}
