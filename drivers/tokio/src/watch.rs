//! Watching rows: the current state first, then every later change.
//!
//! ```text
//!            enlist                 all pages read              the queue is full
//!   (start) ───────► State pages ─────────────────► Changes ───────────────────────► Lagged ─► (start)
//! ```
//!
//! The replica's thread puts changes into a bounded queue, and never waits for whoever watches. A queue that
//! would grow beyond its [`Backlog`] is emptied instead: the reader is told that it has lagged, and gets the
//! current state afresh. So a slow reader misses steps in between, never the outcome (S-52).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use driftless::{CollectionId, CommitSeq, RowChange, SyncgroupId, read};
use tokio::sync::Notify;

use crate::error::{Closed, Error};
use crate::options::Backlog;
use crate::reading::{Range, Row, Rows, Snapshot};
use crate::shared::Published;

/// Rows in one page of the state, at most.
const PAGE_ROWS: usize = 256;
/// Bytes of values in one page of the state; the row that reaches it is the last.
const PAGE_BYTES: usize = 1 << 20;

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchItem {
    /// A page of the state as it is when the watch starts, in the order of keys. There is at least one page,
    /// maybe an empty one.
    State {
        /// Rows that are there.
        rows: Vec<Row>,
        /// Whether this is the last page: from now on changes follow.
        complete: bool,
    },
    /// What a commit changed in the rows watched: a whole batch, or several that arrived together.
    Changed(Vec<RowUpdate>),
    /// The reader was too slow, and changes were dropped. The state follows afresh: rows that are not in it are
    /// gone.
    Lagged,
}

/// A row that has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowUpdate {
    /// Its key.
    pub key: Bytes,
    /// What it shows now; `None` if it is not there any more.
    pub value: Option<Bytes>,
    /// Whether this device's application changed it.
    pub local: bool,
}

/// A watch of the rows of a collection whose keys start with a prefix. Made by
/// [`crate::Collection::watch`]; dropping it ends it.
pub struct Watch {
    published: Arc<Published>,
    collection: read::Collection,
    queue: Arc<Queue>,
    /// The pages of the state that are still to be told.
    state: Option<Rows>,
}

impl Watch {
    pub(crate) fn start(
        published: Arc<Published>,
        collection: read::Collection,
        prefix: &[u8],
        backlog: Backlog,
    ) -> Result<Self, Error> {
        let queue = Arc::new(Queue::new(collection.syncgroup, collection.id, prefix, backlog));
        let mut watch = Self { published, collection, queue, state: None };
        watch.restart()?;
        Ok(watch)
    }

    /// The next item. It waits until there is one, and can be cancelled without losing any.
    ///
    /// # Errors
    /// [`Error::Closed`] once the node is closed; [`Error::Read`] if the store fails.
    pub async fn next(&mut self) -> Result<WatchItem, Error> {
        loop {
            if let Some(item) = self.try_next()? {
                return Ok(item);
            }
            self.queue.news.notified().await;
        }
    }

    /// The next item, if it is there already.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub fn try_next(&mut self) -> Result<Option<WatchItem>, Error> {
        if let Some(rows) = &mut self.state {
            let (page, complete) = rows.page(PAGE_ROWS, PAGE_BYTES)?;
            if complete {
                self.state = None;
            }
            return Ok(Some(WatchItem::State { rows: page, complete }));
        }
        match self.queue.take()? {
            Taken::Changes(changes) => Ok(Some(WatchItem::Changed(changes))),
            Taken::Nothing => Ok(None),
            Taken::Lagged => {
                self.restart()?;
                Ok(Some(WatchItem::Lagged))
            }
        }
    }

    fn restart(&mut self) -> Result<(), Error> {
        let moment = self.published.enlist(&self.queue)?;
        let range = Range::prefix(&self.queue.prefix);
        self.state = Some(Rows::new(&Snapshot::new(moment.view), self.collection.clone(), range));
        Ok(())
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("collection", &self.collection.name).finish_non_exhaustive()
    }
}

/// Changes on their way to one watch.
pub(crate) struct Queue {
    syncgroup: SyncgroupId,
    collection: CollectionId,
    prefix: Vec<u8>,
    backlog: Backlog,
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Changes up to this commit are in the state that the reader was given.
    since: CommitSeq,
    batches: VecDeque<Vec<RowUpdate>>,
    rows: usize,
    bytes: usize,
    lagged: bool,
    closed: Option<Closed>,
}

enum Taken {
    Changes(Vec<RowUpdate>),
    Nothing,
    Lagged,
}

impl Queue {
    fn new(syncgroup: SyncgroupId, collection: CollectionId, prefix: &[u8], backlog: Backlog) -> Self {
        Self {
            syncgroup,
            collection,
            prefix: prefix.to_vec(),
            backlog,
            waiting: Mutex::default(),
            news: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empties the queue; changes after `since` count from now on.
    pub(crate) fn restart(&self, since: CommitSeq) {
        *self.lock() = Waiting { since, ..Waiting::default() };
    }

    /// Takes in what concerns this watch of the changes of a commit.
    pub(crate) fn offer(&self, seq: CommitSeq, changes: &[RowChange]) {
        let batch: Vec<RowUpdate> = changes
            .iter()
            .filter(|change| change.syncgroup == self.syncgroup && change.collection == self.collection)
            .filter(|change| change.key.starts_with(&self.prefix))
            .map(|change| RowUpdate {
                key: change.key.clone(),
                value: change.value.clone(),
                local: change.local,
            })
            .collect();
        if batch.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        if seq <= waiting.since || waiting.lagged {
            return;
        }
        waiting.rows += batch.len();
        waiting.bytes += size(&batch);
        let full = waiting.rows > self.backlog.rows || waiting.bytes > self.backlog.bytes;
        // A single batch is kept whatever its size: it is in memory already, and dropping it could only be
        // followed by dropping it again.
        if full && !waiting.batches.is_empty() {
            *waiting = Waiting { lagged: true, ..Waiting::default() };
        } else {
            waiting.batches.push_back(batch);
        }
        drop(waiting);
        self.news.notify_one();
    }

    pub(crate) fn close(&self, reason: &Closed) {
        self.lock().closed = Some(reason.clone());
        self.news.notify_one();
    }

    fn take(&self) -> Result<Taken, Closed> {
        let mut waiting = self.lock();
        if let Some(batch) = waiting.batches.pop_front() {
            waiting.rows -= batch.len();
            waiting.bytes -= size(&batch);
            return Ok(Taken::Changes(batch));
        }
        match &waiting.closed {
            Some(reason) => Err(reason.clone()),
            None if waiting.lagged => Ok(Taken::Lagged),
            None => Ok(Taken::Nothing),
        }
    }
}

fn size(batch: &[RowUpdate]) -> usize {
    batch.iter().map(|row| row.key.len() + row.value.as_ref().map_or(0, Bytes::len)).sum()
}
