//! Atomic batches: changes, and what they rest on.

use bytes::Bytes;
use driftless::{
    Change, Command, Edit, Hlc, LocalWrite, Name, Operation, Outcome, Precondition, Version, Written,
};
use serde::Serialize;
use tokio::sync::oneshot;

use super::reads::{Changes, Reads};
use super::{Collection, Database};
use crate::error::Error;
use crate::reading::{Head, Range, Row};

/// Changes of rows in any collections of one database, written together or not at all.
///
/// A batch can be read through: it reads on one snapshot, sees its own changes, and remembers what it has read.
/// When it is written, all of that must still be so: the rows, and for ranges also that no row has been added or
/// removed. If it is not, nothing is written. [`Database::run_in_batch`] then runs it again.
///
/// ```
/// use driftless::Refusal;
/// use driftless_tokio::{Error, Node, Options, Range};
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
/// let mut batch = db.batch();
/// assert_eq!(batch.get(&accounts, "ann")?.unwrap(), "10");
/// batch.put(&accounts, "ann", "7").put(&accounts, "bob", "3");
/// assert_eq!(batch.count(&accounts, Range::all())?, 2); // It sees its own changes.
/// batch.commit().await?;
///
/// // Somebody opens an account while another batch counts them: nothing is written.
/// let mut stale = db.batch();
/// let open = stale.count(&accounts, Range::all())?;
/// accounts.put("eve", "0").await?;
/// stale.put(&accounts, "how many", format!("{open}"));
/// assert!(matches!(stale.commit().await, Err(Error::Refused(Refusal::Precondition { .. }))));
/// assert!(accounts.get("how many")?.is_none());
/// # node.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    database: Database,
    changes: Changes,
    required: Vec<Precondition>,
    reads: Reads,
    /// The database of a collection that does not belong here.
    stranger: Option<Name>,
}

impl Batch {
    pub(crate) fn new(database: Database) -> Self {
        Self {
            database,
            changes: Changes::new(),
            required: Vec::new(),
            reads: Reads::default(),
            stranger: None,
        }
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

    /// Adds: add to a counter.
    pub fn add(&mut self, collection: &Collection, key: impl AsRef<[u8]>, amount: i64) -> &mut Self {
        self.operate(collection, key, Operation::Add(amount))
    }

    /// Adds: put an element into a set.
    pub fn insert(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        element: impl Into<Bytes>,
    ) -> &mut Self {
        self.operate(collection, key, Operation::Insert(element.into()))
    }

    /// Adds: take an element out of a set. What others insert meanwhile stays.
    pub fn remove(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        element: impl Into<Bytes>,
    ) -> &mut Self {
        self.operate(collection, key, Operation::Remove(element.into()))
    }

    /// Adds: set a field of a row of fields, and remove what was below it. The path has the outermost name
    /// first.
    pub fn set_field(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        path: &[&str],
        value: impl Into<Bytes>,
    ) -> &mut Self {
        self.operate(collection, key, Operation::SetField { path: names(path), value: value.into() })
    }

    /// Adds: remove a field and all below it.
    pub fn remove_field(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        path: &[&str],
    ) -> &mut Self {
        self.operate(collection, key, Operation::RemoveField { path: names(path) })
    }

    /// Adds: change a merging row in a way that leaves room for the changes of others (S-16). The collection's
    /// schema must name the operation's merge; [`Collection::set_schema`] says how.
    pub fn operate(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        operation: Operation,
    ) -> &mut Self {
        self.change(collection, key.as_ref(), Edit::Operate(operation))
    }

    /// What a row shows, with this batch's changes, if it is there.
    ///
    /// # Errors
    /// [`Error::Read`] if the store fails; [`Error::Closed`]; [`Error::OtherDatabase`];
    /// [`Error::Refused`] if this batch changes the row in a way that will be refused.
    pub fn get(&mut self, collection: &Collection, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        self.check(collection);
        self.is_at_home()?;
        self.reads.row(collection, key.as_ref(), &self.changes)
    }

    /// What the rows of a range show, with this batch's changes: keys and values, in the order of the range. A
    /// range with a limit requires nothing of the rows beyond the last one returned.
    ///
    /// # Errors
    /// As [`Batch::get`].
    #[expect(clippy::needless_pass_by_value, reason = "ranges are given away wherever rows are read")]
    pub fn scan(&mut self, collection: &Collection, range: Range) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.check(collection);
        self.is_at_home()?;
        self.reads.range(collection, &range, &self.changes)
    }

    /// How many rows a range has, with this batch's changes.
    ///
    /// # Errors
    /// As [`Batch::get`].
    pub fn count(&mut self, collection: &Collection, range: Range) -> Result<u64, Error> {
        Ok(self.scan(collection, range)?.len() as u64)
    }

    /// Requires that a row still has exactly these heads; an empty list, that nobody ever wrote it.
    pub fn require_heads(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        heads: &[Head],
    ) -> &mut Self {
        let versions: Vec<Version> = heads.iter().map(|head| head.version).collect();
        self.require_versions(collection, key, &versions)
    }

    /// The same, by the versions of the heads.
    pub fn require_versions(
        &mut self,
        collection: &Collection,
        key: impl AsRef<[u8]>,
        heads: &[Version],
    ) -> &mut Self {
        self.check(collection);
        let row = collection.row(key.as_ref());
        self.required.push(Precondition::Heads { row, heads: heads.to_vec() });
        self
    }

    /// Requires that a range still shows exactly these rows, as they were read: their values and versions, and
    /// whether they are in conflict. The order and the limit of the range do not matter: it is the whole range that
    /// must show them.
    pub fn require_range(&mut self, collection: &Collection, range: &Range, rows: &[Row]) -> &mut Self {
        self.check(collection);
        let mut rows = rows.to_vec();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        let (from, to) = range.bounds();
        self.required.push(Precondition::Range { from: collection.row(&from), to, rows });
        self
    }

    /// How many changes it holds. A put or a delete takes the place of those of its row before it.
    pub fn len(&self) -> usize {
        self.changes.values().map(Vec::len).sum()
    }

    /// Whether it holds no change.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether writing it would change and check nothing: what was read on one snapshot agrees with itself.
    pub(super) fn is_idle(&self) -> bool {
        self.changes.is_empty() && self.required.is_empty() && self.stranger.is_none()
    }

    /// Writes the batch, and waits until it is safe: readers see it, and it will survive a crash.
    ///
    /// # Errors
    /// [`Error::Refused`] if something that was read or required is not so any more, or a limit is exceeded. Then
    /// nothing was written. After [`Error::Closed`] the batch may have been written or not.
    pub async fn commit(self) -> Result<Receipt, Error> {
        self.submit().await?.safe().await
    }

    /// Writes the batch, and waits only until readers on this device see it. Meanwhile more can be written;
    /// [`Submitted::safe`] waits for the rest.
    ///
    /// # Errors
    /// As [`Batch::commit`].
    pub async fn submit(self) -> Result<Submitted, Error> {
        self.is_at_home()?;
        let changes = self.changes.into_iter();
        let changes = changes
            .flat_map(|(row, edits)| edits.into_iter().map(move |edit| Change { row: row.clone(), edit }));
        // What was required by hand comes first, so that a refusal's number tells which of these it is.
        let preconditions = self.required.into_iter().chain(self.reads.preconditions()).collect();
        let write = LocalWrite { changes: changes.collect(), preconditions };
        let node = self.database.node();
        let (seen, written) = oneshot::channel();
        let answer = node.write(Command::Write(write), seen).await?;
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
        let edits = self.changes.entry(collection.row(key)).or_default();
        if !matches!(edit, Edit::Operate(_)) {
            edits.clear();
        }
        edits.push(edit);
        self
    }

    fn check(&mut self, collection: &Collection) {
        if collection.database().name() != self.database.name() {
            self.stranger = Some(collection.database().name().clone());
        }
    }

    fn is_at_home(&self) -> Result<(), Error> {
        match &self.stranger {
            None => Ok(()),
            Some(collection) => Err(Error::OtherDatabase {
                batch: self.database.name().clone(),
                collection: collection.clone(),
            }),
        }
    }
}

fn names(path: &[&str]) -> Vec<String> {
    path.iter().map(ToString::to_string).collect()
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
