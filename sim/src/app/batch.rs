//! What an application writes at once.

use bytes::Bytes;
use driftless::{Change, Edit, LocalWrite, Name, Operation, Precondition, Refusal, RowRef, SyncgroupId};

use super::Device;
use super::schema::named;

/// Changes that are written together, or not at all (S-4).
///
/// ```
/// use driftless_sim::app::Batch;
/// let sale = Batch::new().add("stock", "apples", -3).put("sales", "till-1/42", "3 apples");
/// # assert_eq!(sale.len(), 2);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<(Name, Bytes, Edit)>,
    preconditions: Vec<Precondition>,
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a row to a value.
    #[must_use]
    pub fn put(self, collection: &str, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Self {
        self.change(collection, key, Edit::Put(value.into()))
    }

    /// Sets a row to a number.
    #[must_use]
    pub fn put_number(self, collection: &str, key: impl AsRef<[u8]>, number: i64) -> Self {
        self.put(collection, key, number.to_string())
    }

    /// Removes a row.
    #[must_use]
    pub fn delete(self, collection: &str, key: impl AsRef<[u8]>) -> Self {
        self.change(collection, key, Edit::Delete)
    }

    /// Adds to a row that is a counter by its schema.
    #[must_use]
    pub fn add(self, collection: &str, key: impl AsRef<[u8]>, amount: i64) -> Self {
        self.operate(collection, key, Operation::Add(amount))
    }

    /// Changes a row that merges by its schema (S-16).
    #[must_use]
    pub fn operate(self, collection: &str, key: impl AsRef<[u8]>, operation: Operation) -> Self {
        self.change(collection, key, Edit::Operate(operation))
    }

    /// Only if a row still is as the device shows it now. This is of use to a batch that is written in a later call
    /// of the application, or after another one.
    #[must_use]
    pub fn unless_changed(mut self, device: &Device<'_>, collection: &str, key: impl AsRef<[u8]>) -> Self {
        self.preconditions.push(device.unchanged(collection, key.as_ref()));
        self
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn change(mut self, collection: &str, key: impl AsRef<[u8]>, edit: Edit) -> Self {
        self.changes.push((named(collection), Bytes::copy_from_slice(key.as_ref()), edit));
        self
    }

    /// As a core is told it.
    pub(super) fn local_write(self, syncgroup: SyncgroupId) -> LocalWrite {
        let change = |(collection, key, edit)| Change { row: RowRef { syncgroup, collection, key }, edit };
        LocalWrite {
            changes: self.changes.into_iter().map(change).collect(),
            preconditions: self.preconditions,
        }
    }
}

/// Why a batch was not written. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotWritten {
    /// The engine refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The process has ended. Whether the batch that it wrote last is there, it will see when it starts again.
    #[error("the process has ended")]
    Ended,
}
