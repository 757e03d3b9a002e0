//! What the thread of the replica publishes, and everybody else reads: the latest snapshot of the store, the
//! watches that want changes, and whether the node is still open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use driftless::store::View;
use driftless::{CommitSeq, RowChange};

use crate::error::Closed;
use crate::watch::Queue;

/// A look at one moment of the store, whatever store it is.
pub(crate) type AnyView = Arc<dyn View + Send + Sync>;

/// The latest published moment.
#[derive(Clone)]
pub(crate) struct Moment {
    /// Every commit up to this one is in the view.
    pub(crate) seq: CommitSeq,
    pub(crate) view: AnyView,
}

/// See the module.
pub(crate) struct Published(Mutex<Inner>);

struct Inner {
    now: Result<Moment, Closed>,
    watches: Vec<Weak<Queue>>,
}

impl Published {
    pub(crate) fn new(moment: Moment) -> Self {
        Self(Mutex::new(Inner { now: Ok(moment), watches: Vec::new() }))
    }

    /// Nothing here is left half done if a thread panics in between, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store as it is now.
    pub(crate) fn now(&self) -> Result<Moment, Closed> {
        self.lock().now.clone()
    }

    /// Shows a new moment to readers.
    pub(crate) fn publish(&self, moment: Moment) {
        let mut inner = self.lock();
        if inner.now.is_ok() {
            inner.now = Ok(moment);
        }
    }

    /// Has a watch start: it gets every change after the moment returned, and none that is in it.
    pub(crate) fn enlist(&self, queue: &Arc<Queue>) -> Result<Moment, Closed> {
        let mut inner = self.lock();
        let moment = inner.now.clone()?;
        queue.restart(moment.seq);
        let known = inner.watches.iter().any(|watch| std::ptr::eq(watch.as_ptr(), Arc::as_ptr(queue)));
        if !known {
            inner.watches.push(Arc::downgrade(queue));
        }
        Ok(moment)
    }

    /// Gives the changes of a commit to whom they concern.
    pub(crate) fn changed(&self, seq: CommitSeq, changes: &[RowChange]) {
        self.lock().watches.retain(|watch| match watch.upgrade() {
            Some(queue) => {
                queue.offer(seq, changes);
                true
            }
            None => false,
        });
    }

    /// Ends reading and watching. The first reason stays.
    pub(crate) fn close(&self, reason: &Closed) {
        let mut inner = self.lock();
        if inner.now.is_ok() {
            inner.now = Err(reason.clone());
        }
        for queue in inner.watches.drain(..).filter_map(|watch| watch.upgrade()) {
            queue.close(reason);
        }
    }
}
