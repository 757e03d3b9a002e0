//! Atomic batches.

use bytes::Bytes;
use driftless::{Change, Command, Edit, Hlc, LocalWrite, Name, Outcome, Precondition, Version, Written};
use serde::Serialize;
use tokio::sync::oneshot;

use super::{Collection, Database};
use crate::error::Error;
use crate::reading::{Head, Range, Row};

/// Changes of rows in any collections of one database, written together or not at all.
///
/// What was read can be required to still hold, which makes read-modify-write safe:
///
/// ```
/// use driftless::Refusal;
/// use driftless_tokio::{Error, Node, Options};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let store = driftless_tokio::StoreOptions::new().state_dir(dir.path().join("state"));
/// # let options = Options { discovery: false, store, ..Options::default() };
/// let node = Node::open(dir.path().join("data"), options)?;
/// let db = node.database("default")?;
/// db.create_syncgroup("bank", &["accounts"]).await?;
/// let accounts = db.collection("accounts")?;
/// accounts.put("ann", "10").await?;
///
/// let seen = accounts.heads("ann")?;
/// let mut batch = db.batch();
/// batch.require_heads(&accounts, "ann", &seen);
/// batch.put(&accounts, "ann", "7").put(&accounts, "bob", "3");
/// batch.commit().await?;
///
/// // The row has moved on: the same condition does not hold any more, and nothing is written.
/// let mut stale = db.batch();
/// stale.require_heads(&accounts, "ann", &seen).delete(&accounts, "bob");
/// let refused = stale.commit().await;
/// assert!(matches!(refused, Err(Error::Refused(Refusal::Precondition { index: 0 }))));
/// assert!(accounts.get("bob")?.is_some());
/// # node.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    database: Database,
    write: LocalWrite,
    /// The database of a collection that does not belong here.
    stranger: Option<Name>,
}

impl Batch {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, write: LocalWrite::new(), stranger: None }
    }

    /// Adds: set a row to a value. Of several changes of one row the last counts.
    pub fn put(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
    ) -> &mut Self {
        self.change(collection, key.as_ref(), Edit::Put(value.into()))
    }

    /// Adds: remove a row.
    pub fn delete(&mut self, collection: &Collection, key: impl AsRef<[u8]>) -> &mut Self {
        self.change(collection, key.as_ref(), Edit::Delete)
    }

    /// Requires that a row still has exactly these heads; an empty list, that nobody ever wrote it.
    pub fn require_heads(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        heads: &[Head],
    ) -> &mut Self {
        self.check(collection);
        let heads = heads.iter().map(|head| head.version).collect();
        let row = collection.row(key.as_ref());
        self.write.preconditions.push(Precondition::Heads { row, heads });
        self
    }

    /// Requires that a range still shows exactly these rows. The order and the limit of the range do not
    /// matter: it is the whole range that must show them.
    pub fn require_range(&mut self, collection: &Collection, range: &Range, rows: &[Row]) -> &mut Self {
        self.check(collection);
        let mut rows: Vec<(Bytes, Version)> = rows.iter().map(|row| (row.key.clone(), row.version)).collect();
        rows.sort();
        let (from, to) = range.bounds();
        self.write.preconditions.push(Precondition::Range { from: collection.row(&from), to, rows });
        self
    }

    /// How many changes it holds.
    pub fn len(&self) -> usize {
        self.write.changes.len()
    }

    /// Whether it holds no change.
    pub fn is_empty(&self) -> bool {
        self.write.changes.is_empty()
    }

    /// Writes the batch, and waits until it is safe: readers see it, and it will survive a crash.
    ///
    /// # Errors
    /// [`Error::Refused`] if a requirement does not hold any more, or a limit is exceeded. Then nothing was
    /// written. After [`Error::Closed`] the batch may have been written or not.
    pub async fn commit(self) -> Result<Receipt, Error> {
        self.submit().await?.safe().await
    }

    /// Writes the batch, and waits only until readers on this device see it. Meanwhile more can be written;
    /// [`Submitted::safe`] waits for the rest.
    ///
    /// # Errors
    /// As [`Batch::commit`].
    pub async fn submit(self) -> Result<Submitted, Error> {
        if let Some(collection) = self.stranger {
            return Err(Error::OtherDatabase { batch: self.database.name().clone(), collection });
        }
        let node = self.database.node();
        let (seen, written) = oneshot::channel();
        let answer = node.write(Command::Write(self.write), seen).await?;
        match written.await {
            Ok(parts) => Ok(Submitted { database: self.database, receipt: Receipt { parts }, answer }),
            // It was refused, or there was nothing to change: the answer says which.
            Err(_) => match answer.await.map_err(|_| node.closed())?? {
                Outcome::Written(parts) => Ok(Submitted::settled(self.database, Receipt { parts })),
                _ => Err(Error::Unexpected("write")),
            },
        }
    }

    fn change(&mut self, collection: &Collection, key: &[u8], edit: Edit) -> &mut Self {
        self.check(collection);
        self.write.changes.push(Change { row: collection.row(key), edit });
        self
    }

    fn check(&mut self, collection: &Collection) {
        if collection.database().name() != self.database.name() {
            self.stranger = Some(collection.database().name().clone());
        }
    }
}

/// A batch that readers on this device see, but that a crash may still undo.
#[derive(Debug)]
pub struct Submitted {
    database: Database,
    receipt: Receipt,
    answer: oneshot::Receiver<Result<Outcome, Error>>,
}

impl Submitted {
    fn settled(database: Database, receipt: Receipt) -> Self {
        let (reply, answer) = oneshot::channel();
        // The receiver is at hand, so this cannot fail.
        let _ = reply.send(Ok(Outcome::Written(receipt.parts.clone())));
        Self { database, receipt, answer }
    }

    /// What was written.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Waits until the batch will survive a crash.
    ///
    /// # Errors
    /// [`Error::Closed`] if the node was closed before: the batch may be safe or not.
    pub async fn safe(self) -> Result<Receipt, Error> {
        match self.answer.await.map_err(|_| self.database.node().closed())?? {
            Outcome::Written(parts) => Ok(Receipt { parts }),
            _ => Err(Error::Unexpected("write")),
        }
    }
}

/// What a write has become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// A part for each syncgroup that was touched; empty if there was nothing to change.
    pub parts: Vec<Written>,
}

impl Receipt {
    /// The version that the rows got, if the write touched one syncgroup; of several, that in the first.
    pub fn version(&self) -> Option<Version> {
        self.parts.first().map(|part| part.version)
    }

    /// The stamp of that version.
    pub fn stamp(&self) -> Option<Hlc> {
        self.parts.first().map(|part| part.stamp)
    }
}
