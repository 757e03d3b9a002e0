//! Watching rows: the current state, then every later change, batch by batch (S-52).
//!
//! ```text
//!   from now on ─────► pages of the state ─────► batches ──────► the end, with a reason
//!                            ▲     ▲                │
//!   from a marker ───────────┼─────┴───── too old, ─┘
//!         │                  └─ unknown    another schema
//!         └──────────────────────────────► batches
//! ```
//!
//! A watch holds a place in the log of changes that the store keeps, and reads on from there whenever a commit
//! wakes it. So a slow reader costs no memory and holds nobody up; one that is slower than the log is long gets
//! the current state afresh, and is told so.

use bytes::Bytes;
use driftless::read::{self, Changes, Marker, Update};

use crate::error::Error;
use crate::shared::{AnyView, Following};

/// Rows in one page of the state, at most.
const PAGE: usize = 256;

/// A watch of rows. Made by [`crate::Database::watch`] and [`crate::Collection::watch`]; dropping it ends it.
///
/// What it tells are [`Update`]s: pages of the current state, then batches, each whole. The last batch of each commit
/// comes with a [`Marker`] from which another watch of the same rows can go on, also after a restart of the program;
/// what others wrote may come as many batches in one commit.
///
/// ```
/// use driftless_tokio::{Node, Options, Resumed, Update};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let store = driftless_tokio::StoreOptions::new().state_dir(dir.path().join("state"));
/// # let options = Options { discovery: false, store, ..Options::default() };
/// let node = Node::open(dir.path().join("data"), options)?;
/// let db = node.database("default")?;
/// db.create_syncgroup("work", &["notes", "tasks"]).await?;
/// let (notes, tasks) = (db.collection("notes")?, db.collection("tasks")?);
///
/// let mut watch = db.watch([(&notes, "2026/"), (&tasks, "")])?;
/// let Some(Update::State { complete: Some(start), .. }) = watch.next().await? else { panic!() };
///
/// let mut batch = db.batch();
/// batch.put(&notes, "2026/05", "plan").put(&tasks, "plan", "open").put(&notes, "2025/01", "not watched");
/// batch.commit().await?;
/// let Some(Update::Batch { rows, local, .. }) = watch.next().await? else { panic!() };
/// assert_eq!((rows.len(), local), (2, true));
///
/// // The same again, from where the state was complete.
/// let mut again = db.watch_from(start, [(&notes, "2026/"), (&tasks, "")])?;
/// let Some(Update::Batch { marker, .. }) = again.next().await? else { panic!() };
/// println!("kept for the next start: {}", marker.expect("it was alone in its commit"));
///
/// // A marker of another store is answered with the state.
/// let stranger = "00000000000000ff-7".parse()?;
/// let mut fresh = notes.watch_from(stranger, "2026/")?;
/// assert!(matches!(fresh.next().await?, Some(Update::State { because: Resumed::Unknown, .. })));
/// # node.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct Watch {
    following: Following,
    changes: Changes,
    /// While the state is told: all pages are of this moment.
    state: Option<AnyView>,
}

impl Watch {
    pub(crate) fn start(
        mut following: Following,
        rows: Vec<(read::Collection, Bytes)>,
        from: Option<Marker>,
    ) -> Result<Self, Error> {
        following.now()?;
        let rows = without_overlap(rows);
        let changes = match from {
            Some(marker) => Changes::resume(rows, marker),
            None => Changes::new(rows),
        };
        Ok(Self { following, changes, state: None })
    }

    /// What comes next; `None` once there is nothing left to watch, after the [`Update::End`] of the last
    /// syncgroup. It waits until something happens, and can be cancelled without losing anything.
    ///
    /// # Errors
    /// [`Error::Closed`] once the node is closed; [`Error::Read`] if the store fails.
    pub async fn next(&mut self) -> Result<Option<Update>, Error> {
        loop {
            let update = self.try_next()?;
            if update.is_some() || self.is_over() {
                return Ok(update);
            }
            self.following.changed().await;
        }
    }

    /// What comes next, if it is there already.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub fn try_next(&mut self) -> Result<Option<Update>, Error> {
        let view = self.following.now()?;
        let view = self.state.take().unwrap_or(view);
        let update = self.changes.next(&*view, PAGE)?;
        if let Some(Update::State { complete: None, .. }) = &update {
            self.state = Some(view);
        }
        Ok(update)
    }

    /// Where another watch of the same rows could go on, if all that this one has told was taken in. `None`
    /// within the pages of a state, and between batches of one commit.
    pub fn marker(&self) -> Option<Marker> {
        self.changes.marker()
    }

    /// Whether there is nothing left to watch.
    pub fn is_over(&self) -> bool {
        self.changes.is_over()
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("marker", &self.marker()).finish_non_exhaustive()
    }
}

/// The same rows, each named once: what another prefix of its collection covers already is left out.
fn without_overlap(mut rows: Vec<(read::Collection, Bytes)>) -> Vec<(read::Collection, Bytes)> {
    let mut at = 0;
    while at < rows.len() {
        let is_covered = rows.iter().enumerate().any(|(other, (collection, prefix))| {
            let (same, own) = &rows[at];
            let is_same = (collection.syncgroup, collection.id) == (same.syncgroup, same.id);
            // Of two that are equal the first stays.
            other != at && is_same && own.starts_with(prefix) && (own != prefix || other < at)
        });
        if is_covered {
            rows.remove(at);
        } else {
            at += 1;
        }
    }
    rows
}
