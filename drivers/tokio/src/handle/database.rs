//! The handle of a database.

use std::time::{Duration, Instant};

use bytes::Bytes;
use driftless::read::{self, Marker};
use driftless::{Command, Invitation, Name, Notice, Outcome, SyncgroupId, SyncgroupInfo, SyncgroupState};

use super::{Batch, Collection, Node, Syncgroup};
use crate::error::{self, Error};
use crate::news::News;
use crate::reading::Snapshot;
use crate::watch::Watch;

/// The shortest start of an id that stands up to a name.
const SHORTEST_ID: usize = 4;

/// A database: a namespace of syncgroups on this device, independent of all others. Devices that share a
/// syncgroup may have it in databases of different names.
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
/// let db = node.database("default")?;
/// let family = db.create_syncgroup("family", &["notes", "photos"]).await?;
/// let invitation = family.invite(Default::default()).await?;
/// println!("paste this on the other device: {invitation}");
///
/// let names: Vec<String> = db.collections()?.iter().map(|c| c.name().to_string()).collect();
/// assert_eq!(names, ["notes", "photos"]);
/// let problem = db.collection("note").unwrap_err();
/// assert!(problem.to_string().contains("it has \"notes\", \"photos\""));
/// # node.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Database {
    node: Node,
    name: Name,
}

impl Database {
    pub(crate) fn new(node: Node, name: Name) -> Self {
        Self { node, name }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The node that it is on.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Makes a syncgroup with these collections. This device is its admin.
    ///
    /// # Errors
    /// [`Error::Name`] if a text is no name; [`Error::Refused`] if the replica does not want to.
    pub async fn create_syncgroup(&self, name: &str, collections: &[&str]) -> Result<Syncgroup, Error> {
        let name = error::name(name)?;
        let collections = collections.iter().map(|text| error::name(text)).collect::<Result<_, _>>()?;
        let command = Command::CreateSyncgroup { database: self.name.clone(), name, collections };
        match self.node.command(command).await? {
            Outcome::Created(id) => Ok(Syncgroup::new(self.clone(), id)),
            _ => Err(Error::Unexpected("create a syncgroup")),
        }
    }

    /// Joins a syncgroup by an invitation, and waits until this device is admitted and has everything that the
    /// syncgroup held at that moment. If that takes longer than `patience`, joining goes on in the background.
    ///
    /// # Errors
    /// [`Error::JoinRefused`] if an admin does not admit this device; [`Error::JoinGivenUp`] if the syncgroup is
    /// left meanwhile, or this device removed; [`Error::JoinTimeout`];
    /// [`Error::Refused`], for example if the syncgroup is here already.
    pub async fn join(&self, invitation: &Invitation, patience: Duration) -> Result<Syncgroup, Error> {
        self.join_by(self.by(invitation), patience).await
    }

    pub(super) async fn join_by(&self, command: Command, patience: Duration) -> Result<Syncgroup, Error> {
        let started = Instant::now();
        // Listen before asking, so that no news is missed.
        let mut notices = self.node.notices();
        let syncgroup = self.ask_to_join(command).await?;
        loop {
            let state = syncgroup.info().await?.state;
            match state {
                SyncgroupState::Active => return Ok(syncgroup),
                SyncgroupState::Refused(refusal) => return Err(refusal.into()),
                SyncgroupState::Leaving
                | SyncgroupState::Left
                | SyncgroupState::Removed
                | SyncgroupState::Expired => {
                    return Err(Error::JoinGivenUp { syncgroup: syncgroup.id() });
                }
                _ => {}
            }
            let news = async {
                loop {
                    match notices.next().await {
                        Some(News::Notice(Notice::Syncgroup { syncgroup: id, .. }))
                            if id == syncgroup.id() =>
                        {
                            return Ok(());
                        }
                        Some(News::Missed(_)) => return Ok(()),
                        Some(_) => {}
                        None => return Err(self.node.closed()),
                    }
                }
            };
            let waited = started.elapsed();
            match self.node.timeout(patience.saturating_sub(waited), news).await {
                Some(heard) => heard?,
                None => return Err(Error::JoinTimeout { syncgroup: syncgroup.id(), state, waited }),
            }
        }
    }

    /// Asks to join a syncgroup by an invitation. The request is kept, across restarts, and tried until it is
    /// answered; [`Syncgroup::info`] and [`Node::notices`] tell how it goes on.
    ///
    /// # Errors
    /// [`Error::Refused`], for example if the syncgroup is here already.
    pub async fn join_later(&self, invitation: &Invitation) -> Result<Syncgroup, Error> {
        self.ask_to_join(self.by(invitation)).await
    }

    fn by(&self, invitation: &Invitation) -> Command {
        Command::Join { database: self.name.clone(), invitation: invitation.clone() }
    }

    pub(super) async fn ask_to_join(&self, command: Command) -> Result<Syncgroup, Error> {
        match self.node.command(command).await? {
            Outcome::Joining(id) => Ok(Syncgroup::new(self.clone(), id)),
            _ => Err(Error::Unexpected("join a syncgroup")),
        }
    }

    /// Pauses the exchange of this database with others (S-37): nothing of its syncgroups is given or taken, and who
    /// asks for them gets the answer of one who does not have them. Rows are read and written as ever; others see
    /// what was written once the database is [resumed](Self::resume). It survives a restart, and it may be said before
    /// the database has any syncgroup. Returns when that is safe.
    ///
    /// ```
    /// # use driftless_tokio::{Node, Options};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let store = driftless_tokio::StoreOptions::new().state_dir(dir.path().join("state"));
    /// # let options = Options { discovery: false, store, ..Options::default() };
    /// # let node = Node::open(dir.path().join("data"), options)?;
    /// let drafts = node.database("drafts")?;
    /// drafts.pause().await?;
    /// let group = drafts.create_syncgroup("book", &["pages"]).await?;
    /// drafts.collection("pages")?.put("1", "not for others yet").await?;
    /// assert!(drafts.is_paused().await?);
    /// drafts.resume().await?;
    /// # node.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] if too many databases are paused; [`Error::Closed`] if the node is closed.
    pub async fn pause(&self) -> Result<(), Error> {
        self.set_paused(true).await
    }

    /// Lets the exchange of this database go on. Doing so where it goes on is not an error.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node is closed.
    pub async fn resume(&self) -> Result<(), Error> {
        self.set_paused(false).await
    }

    async fn set_paused(&self, paused: bool) -> Result<(), Error> {
        match self.node.command(Command::Pause { database: self.name.clone(), paused }).await? {
            Outcome::PauseNoted => Ok(()),
            _ => Err(Error::Unexpected("pause a database")),
        }
    }

    /// Whether the exchange of this database is paused.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node is closed.
    pub async fn is_paused(&self) -> Result<bool, Error> {
        let name = self.name.clone();
        self.node.look(move |core| core.paused().any(|paused| *paused == name)).await
    }

    /// The syncgroups of this database, ordered by id.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node is closed.
    pub async fn syncgroups(&self) -> Result<Vec<SyncgroupInfo>, Error> {
        let name = self.name.clone();
        self.node
            .look(move |core| {
                let mut all = core.syncgroups();
                all.retain(|syncgroup| syncgroup.database == name);
                all
            })
            .await
    }

    /// The syncgroup of this id, or of this name, or of an id that starts like this. Whoever makes a syncgroup chooses
    /// its name: a whole id comes before all names, and a name that others' ids start with, by four digits or more,
    /// means neither.
    ///
    /// # Errors
    /// [`Error::UnknownSyncgroup`] and [`Error::AmbiguousSyncgroup`] list the candidates.
    pub async fn syncgroup(&self, name_or_id: &str) -> Result<Syncgroup, Error> {
        let all = self.syncgroups().await?;
        let id = name_or_id.to_ascii_lowercase();
        if let Some(whole) = all.iter().find(|info| info.id.to_string() == id) {
            return Ok(Syncgroup::new(self.clone(), whole.id));
        }
        let named = |info: &SyncgroupInfo| info.name.as_ref().is_some_and(|name| name.as_str() == name_or_id);
        let begun = |info: &SyncgroupInfo| !id.is_empty() && info.id.to_string().starts_with(&id);
        let is_short = id.len() < SHORTEST_ID && all.iter().any(named);
        let fits = |info: &&SyncgroupInfo| named(info) || !is_short && begun(info);
        let fitting: Vec<&SyncgroupInfo> = all.iter().filter(fits).collect();
        let (database, asked) = (self.name.clone(), name_or_id.to_owned());
        match fitting.as_slice() {
            [one] => Ok(Syncgroup::new(self.clone(), one.id)),
            [] => {
                let candidates = all.iter().map(describe).collect();
                Err(Error::UnknownSyncgroup { database, asked, candidates })
            }
            several => {
                let candidates = several.iter().copied().map(describe_whole).collect();
                Err(Error::AmbiguousSyncgroup { database, asked, candidates })
            }
        }
    }

    /// The collections of this database, ordered by name.
    ///
    /// # Errors
    /// [`Error::Read`] if the store fails; [`Error::Closed`] if the node is closed.
    pub fn collections(&self) -> Result<Vec<Collection>, Error> {
        let mut all = read::collections(&**self.snapshot()?.view())?;
        all.retain(|collection| collection.database == self.name);
        Ok(all.into_iter().map(|stored| Collection::new(self.clone(), stored)).collect())
    }

    /// The collection of this name.
    ///
    /// # Errors
    /// [`Error::UnknownCollection`] lists the collections that are there; [`Error::AmbiguousCollection`] the
    /// syncgroups that have one of this name: [`Syncgroup::collection`] tells them apart.
    pub fn collection(&self, name: &str) -> Result<Collection, Error> {
        self.collection_in(None, name)
    }

    pub(crate) fn collection_in(
        &self,
        syncgroup: Option<SyncgroupId>,
        name: &str,
    ) -> Result<Collection, Error> {
        let name = error::name(name)?;
        let mut all = self.collections()?;
        all.retain(|collection| syncgroup.is_none_or(|id| id == collection.syncgroup()));
        let (mut fitting, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|collection| *collection.name() == name);
        let database = self.name.clone();
        match (fitting.len(), fitting.pop()) {
            (1, Some(one)) => Ok(one),
            (_, None) => {
                let mut candidates: Vec<_> =
                    others.iter().map(|collection| collection.name().clone()).collect();
                candidates.dedup();
                Err(Error::UnknownCollection { database, name, candidates })
            }
            (_, Some(last)) => {
                fitting.push(last);
                let candidates = fitting.iter().map(Collection::syncgroup).collect();
                Err(Error::AmbiguousCollection { database, name, candidates })
            }
        }
    }

    /// An empty batch: changes that are written together or not at all.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// Watches rows of several collections: of each those whose keys start with a prefix. The current state comes
    /// first, then every change, batch by batch; see [`Watch`]. Collections of other databases can be among
    /// them: what a watch sees is what one store holds.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node is closed.
    pub fn watch<'c, P: AsRef<[u8]>>(
        &self,
        rows: impl IntoIterator<Item = (&'c Collection, P)>,
    ) -> Result<Watch, Error> {
        self.start_watch(None, rows)
    }

    /// The same, from where a watch of the same rows stopped: only what has changed since. What a marker leads to
    /// is kept for the last [`driftless::Limits::watch_log`] commits; one that is older, or of another store, is
    /// answered with the current state, and with why.
    ///
    /// # Errors
    /// As [`Database::watch`].
    pub fn watch_from<'c, P: AsRef<[u8]>>(
        &self,
        marker: Marker,
        rows: impl IntoIterator<Item = (&'c Collection, P)>,
    ) -> Result<Watch, Error> {
        self.start_watch(Some(marker), rows)
    }

    fn start_watch<'c, P: AsRef<[u8]>>(
        &self,
        from: Option<Marker>,
        rows: impl IntoIterator<Item = (&'c Collection, P)>,
    ) -> Result<Watch, Error> {
        let stored = |(collection, prefix): (&Collection, P)| {
            (collection.stored().clone(), Bytes::copy_from_slice(prefix.as_ref()))
        };
        Watch::start(self.node.published().follow(), rows.into_iter().map(stored).collect(), from)
    }

    /// A look at one moment.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node is closed.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        self.node.snapshot()
    }
}

/// The same among those that a text may mean: only the whole id means one for certain.
fn describe_whole(info: &SyncgroupInfo) -> String {
    match &info.name {
        Some(name) => format!("{name} ({})", info.id),
        None => info.id.to_string(),
    }
}

/// A syncgroup in a list of candidates.
fn describe(info: &SyncgroupInfo) -> String {
    match &info.name {
        Some(name) => format!("{name} ({:?})", info.id),
        None => info.id.to_string(),
    }
}
