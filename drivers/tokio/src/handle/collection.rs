//! The handle of a collection.

use bytes::Bytes;
use driftless::read::{self, Marker};
use driftless::{Command, Conflict, Name, Operation, Outcome, Policy, RowRef, Rule, SyncgroupId};

use super::{Database, Receipt};
use crate::error::Error;
use crate::reading::{ConflictRow, Head, HistoryEntry, Range, Row, Rows};
use crate::watch::Watch;

/// A collection: rows of a syncgroup, each a key and a value of bytes.
///
/// Reads show what is on this device, at once; writes are visible to them at once, and the futures of writes
/// are done when what was written will survive a crash.
///
/// ```
/// use driftless_tokio::{Node, Options, Range, Update};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let store = driftless_tokio::StoreOptions::new().state_dir(dir.path().join("state"));
/// # let options = Options { discovery: false, store, ..Options::default() };
/// let node = Node::open(dir.path().join("data"), options)?;
/// let db = node.database("default")?;
/// db.create_syncgroup("family", &["notes"]).await?;
///
/// let notes = db.collection("notes")?;
/// notes.put("milk", "2 l").await?;
/// notes.put("bread", "one").await?;
/// assert_eq!(notes.get("milk")?.unwrap().value, "2 l");
///
/// // A watch tells the rows that are there, then what changes.
/// let mut watch = notes.watch("mil")?;
/// let Some(Update::State { rows, complete: Some(_), .. }) = watch.next().await? else { panic!() };
/// assert_eq!(rows.len(), 1);
///
/// notes.delete("milk").await?;
/// let Some(Update::Batch { rows, .. }) = watch.next().await? else { panic!() };
/// assert_eq!((&rows[0].key[..], &rows[0].value), (&b"milk"[..], &None));
///
/// let left: Vec<_> = notes.scan(Range::all())?.collect::<Result<_, _>>()?;
/// assert_eq!(left[0].key, "bread");
/// # node.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Collection {
    database: Database,
    stored: read::Collection,
}

impl Collection {
    pub(crate) fn new(database: Database, stored: read::Collection) -> Self {
        let stored = stored.with_merges(database.node().merges().as_slice());
        Self { database, stored }
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.stored.name
    }

    /// The syncgroup that it belongs to.
    pub fn syncgroup(&self) -> SyncgroupId {
        self.stored.syncgroup
    }

    /// The database that it belongs to.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Sets a row to a value.
    ///
    /// # Errors
    /// [`Error::Refused`] says why the replica does not want to, for example if the value is too long.
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<Receipt, Error> {
        let mut batch = self.database.batch();
        batch.put(self, key, value);
        batch.commit().await
    }

    /// Removes a row. Removing one that is not there is not an error, and changes nothing unless versions disagree
    /// whether it is there: then that is decided.
    ///
    /// # Errors
    /// As [`Collection::put`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Receipt, Error> {
        let mut batch = self.database.batch();
        batch.delete(self, key);
        batch.commit().await
    }

    /// Adds to a counter: a row of the policy [`driftless::Merge::Counter`].
    ///
    /// # Errors
    /// As [`Collection::operate`].
    pub async fn add(&self, key: impl AsRef<[u8]>, amount: i64) -> Result<Receipt, Error> {
        self.operate(key, Operation::Add(amount)).await
    }

    /// Puts an element into a set: a row of the policy [`driftless::Merge::Set`].
    ///
    /// # Errors
    /// As [`Collection::operate`].
    pub async fn insert(&self, key: impl AsRef<[u8]>, element: impl Into<Bytes>) -> Result<Receipt, Error> {
        self.operate(key, Operation::Insert(element.into())).await
    }

    /// Takes an element out of a set. What others insert meanwhile stays.
    ///
    /// # Errors
    /// As [`Collection::operate`].
    pub async fn remove(&self, key: impl AsRef<[u8]>, element: impl Into<Bytes>) -> Result<Receipt, Error> {
        self.operate(key, Operation::Remove(element.into())).await
    }

    /// Sets a field of a row of the policy [`driftless::Merge::Fields`], and removes what was below it. The path
    /// has the outermost name first.
    ///
    /// # Errors
    /// As [`Collection::operate`].
    pub async fn set_field(
        &self,
        key: impl AsRef<[u8]>,
        path: &[&str],
        value: impl Into<Bytes>,
    ) -> Result<Receipt, Error> {
        let mut batch = self.database.batch();
        batch.set_field(self, key, path, value);
        batch.commit().await
    }

    /// Removes a field and all below it.
    ///
    /// # Errors
    /// As [`Collection::operate`].
    pub async fn remove_field(&self, key: impl AsRef<[u8]>, path: &[&str]) -> Result<Receipt, Error> {
        let mut batch = self.database.batch();
        batch.remove_field(self, key, path);
        batch.commit().await
    }

    /// Changes a merging row in a way that leaves room for the changes of others (S-16).
    ///
    /// # Errors
    /// [`Error::Refused`], for example if the schema does not name the operation's merge.
    pub async fn operate(&self, key: impl AsRef<[u8]>, operation: Operation) -> Result<Receipt, Error> {
        let mut batch = self.database.batch();
        batch.operate(self, key, operation);
        batch.commit().await
    }

    /// The row of this key, if it is there.
    ///
    /// # Errors
    /// [`Error::Read`] if the store fails; [`Error::Closed`] if the node is closed.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Row>, Error> {
        self.database.snapshot()?.get(self, key)
    }

    /// The heads of this key, the shown one first: several if the row is in conflict, none if nobody ever
    /// wrote it.
    ///
    /// # Errors
    /// As [`Collection::get`].
    pub fn heads(&self, key: impl AsRef<[u8]>) -> Result<Vec<Head>, Error> {
        self.database.snapshot()?.heads(self, key)
    }

    /// The rows of a range as they are now, read page by page as the iterator goes on.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node is closed.
    pub fn scan(&self, range: Range) -> Result<Rows, Error> {
        Ok(self.database.snapshot()?.scan(self, range))
    }

    /// How many rows a range has now, at most as many as its limit. It costs as much as reading them.
    ///
    /// # Errors
    /// As [`Collection::get`].
    pub fn count(&self, range: Range) -> Result<u64, Error> {
        self.database.snapshot()?.count(self, range)
    }

    /// The history of a row, the last version first, `limit` versions at most, as far as it is kept.
    ///
    /// # Errors
    /// As [`Collection::get`].
    pub fn history(&self, key: impl AsRef<[u8]>, limit: usize) -> Result<Vec<HistoryEntry>, Error> {
        self.database.snapshot()?.history(self, key, limit)
    }

    /// The rows in conflict, by key, from the key `from` on, `limit` at most: whatever a policy will do about
    /// them. See [`Collection::set_schema`].
    ///
    /// # Errors
    /// As [`Collection::get`].
    pub fn conflicts(&self, from: impl AsRef<[u8]>, limit: usize) -> Result<Vec<ConflictRow>, Error> {
        self.database.snapshot()?.conflicts(self, from, limit)
    }

    /// The conflict that a row is in, with all rows that batches tie to it: what [`Database::resolve`] answers.
    ///
    /// # Errors
    /// As [`Collection::get`].
    pub fn conflict(&self, key: impl AsRef<[u8]>) -> Result<Conflict, Error> {
        self.database.snapshot()?.conflict(self, key)
    }

    /// The rules of its schema, by prefix: what becomes of conflicts. Where none matches the last version wins.
    ///
    /// # Errors
    /// As [`Collection::get`].
    pub fn schema(&self) -> Result<Vec<Rule>, Error> {
        self.database.snapshot()?.schema(self)
    }

    /// Says what becomes of conflicts in this collection, for all members. The rules take the place of all that
    /// there were; of several that match a key the longest prefix counts. [`Collection::set_rule`] changes one of them.
    ///
    /// ```
    /// use driftless::{Merge, Policy, Rule, counter};
    /// # use driftless_tokio::{Node, Options};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let store = driftless_tokio::StoreOptions::new().state_dir(dir.path().join("state"));
    /// # let options = Options { discovery: false, store, ..Options::default() };
    /// # let node = Node::open(dir.path().join("data"), options)?;
    /// # let db = node.database("default")?;
    /// # db.create_syncgroup("shop", &["stock"]).await?;
    /// let stock = db.collection("stock")?;
    /// stock
    ///     .set_schema(vec![
    ///         Rule { prefix: "".into(), policy: Policy::Defer },
    ///         Rule { prefix: "count/".into(), policy: Policy::Merge(Merge::Counter) },
    ///         Rule { prefix: "tags/".into(), policy: Policy::Merge(Merge::Set) },
    ///     ])
    ///     .await?;
    ///
    /// // Devices that count at the same time do not undo each other.
    /// stock.add("count/apples", 12).await?;
    /// stock.add("count/apples", -5).await?;
    /// let row = stock.get("count/apples")?.unwrap();
    /// assert_eq!(counter::parse(&row.value), Some(7));
    /// # node.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] if this device is no admin of the syncgroup, or says why the rules cannot be.
    pub async fn set_schema(&self, rules: Vec<Rule>) -> Result<(), Error> {
        let (syncgroup, collection) = (self.stored.syncgroup, self.stored.name.clone());
        self.schema_command(Command::SetSchema { syncgroup, collection, rules }).await
    }

    /// Says what becomes of conflicts in the rows whose keys start with `prefix`, for all members. All other rules stay
    /// as they are, whoever changes them in the same moment.
    ///
    /// ```
    /// use driftless::Policy;
    /// # use driftless_tokio::{Node, Options};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let store = driftless_tokio::StoreOptions::new().state_dir(dir.path().join("state"));
    /// # let options = Options { discovery: false, store, ..Options::default() };
    /// # let node = Node::open(dir.path().join("data"), options)?;
    /// # let db = node.database("default")?;
    /// # db.create_syncgroup("shop", &["stock"]).await?;
    /// let stock = db.collection("stock")?;
    /// stock.set_rule("", Policy::Defer).await?;
    /// stock.set_rule("order/", Policy::AppResolves).await?;
    /// stock.remove_rule("").await?;
    /// assert_eq!(stock.schema()?.len(), 1);
    /// # node.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Collection::set_schema`].
    pub async fn set_rule(&self, prefix: impl Into<Bytes>, policy: Policy) -> Result<(), Error> {
        self.change_rule(prefix.into(), Some(policy)).await
    }

    /// Takes the rule of a prefix away, if there is one, and leaves all others as they are.
    ///
    /// # Errors
    /// As [`Collection::set_schema`].
    pub async fn remove_rule(&self, prefix: impl Into<Bytes>) -> Result<(), Error> {
        self.change_rule(prefix.into(), None).await
    }

    async fn change_rule(&self, prefix: Bytes, policy: Option<Policy>) -> Result<(), Error> {
        let (syncgroup, collection) = (self.stored.syncgroup, self.stored.name.clone());
        let changes = [(prefix, policy)].into();
        self.schema_command(Command::ChangeSchema { syncgroup, collection, changes }).await
    }

    async fn schema_command(&self, command: Command) -> Result<(), Error> {
        match self.database.node().command(command).await? {
            Outcome::SchemaSet(_) => Ok(()),
            _ => Err(Error::Unexpected("set a schema")),
        }
    }

    /// Watches the rows whose keys start with `prefix`: the current state first, then every change.
    /// [`Database::watch`] watches several collections at once.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node is closed.
    pub fn watch(&self, prefix: impl AsRef<[u8]>) -> Result<Watch, Error> {
        self.database.watch([(self, prefix)])
    }

    /// The same, from where a watch of the same rows stopped: only what has changed since, as long as that is
    /// known ([`driftless::Limits::watch_log`]).
    ///
    /// # Errors
    /// As [`Collection::watch`].
    pub fn watch_from(&self, marker: Marker, prefix: impl AsRef<[u8]>) -> Result<Watch, Error> {
        self.database.watch_from(marker, [(self, prefix)])
    }

    pub(crate) fn stored(&self) -> &read::Collection {
        &self.stored
    }

    pub(crate) fn row(&self, key: &[u8]) -> RowRef {
        RowRef {
            syncgroup: self.stored.syncgroup,
            collection: self.stored.name.clone(),
            key: Bytes::copy_from_slice(key),
        }
    }
}
