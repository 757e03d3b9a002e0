//! The handle of a collection.

use bytes::Bytes;
use driftless::{Name, RowRef, SyncgroupId, read};

use super::{Database, Receipt};
use crate::error::Error;
use crate::reading::{Head, Range, Row, Rows};
use crate::watch::Watch;

/// A collection: rows of a syncgroup, each a key and a value of bytes.
///
/// Reads show what is on this device, at once; writes are visible to them at once, and the futures of writes
/// are done when what was written will survive a crash.
///
/// ```
/// use driftless_tokio::{Node, Options, Range, WatchItem};
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
/// let WatchItem::State { rows, complete: true } = watch.next().await? else { panic!() };
/// assert_eq!(rows.len(), 1);
///
/// notes.delete("milk").await?;
/// let WatchItem::Changed(changes) = watch.next().await? else { panic!() };
/// assert_eq!((&changes[0].key[..], &changes[0].value), (&b"milk"[..], &None));
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

    /// Removes a row. Removing one that is not there changes nothing, and is not an error.
    ///
    /// # Errors
    /// As [`Collection::put`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<Receipt, Error> {
        let mut batch = self.database.batch();
        batch.delete(self, key);
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

    /// Watches the rows whose keys start with `prefix`: the current state first, then every change.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node is closed.
    pub fn watch(&self, prefix: impl AsRef<[u8]>) -> Result<Watch, Error> {
        let node = self.database.node();
        Watch::start(node.published().clone(), self.stored.clone(), prefix.as_ref(), node.backlog())
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
