//! What the thread of the replica publishes, and everybody else reads: the latest snapshot of the store, and
//! whether the node is still open.

use std::sync::Arc;

use driftless::store::View;
use tokio::sync::watch;

use crate::error::Closed;

/// A look at one moment of the store, whatever store it is.
pub(crate) type AnyView = Arc<dyn View + Send + Sync>;

/// See the module. Who waits for news is woken by each commit, and costs nothing until then.
pub(crate) struct Published(watch::Sender<Result<AnyView, Closed>>);

impl Published {
    pub(crate) fn new(view: AnyView) -> Self {
        Self(watch::Sender::new(Ok(view)))
    }

    /// The store as it is now.
    pub(crate) fn now(&self) -> Result<AnyView, Closed> {
        self.0.borrow().clone()
    }

    /// Shows readers the store after another commit.
    pub(crate) fn publish(&self, view: AnyView) {
        self.0.send_if_modified(|now| {
            let is_open = now.is_ok();
            if is_open {
                *now = Ok(view);
            }
            is_open
        });
    }

    /// Hears of every commit from now on.
    pub(crate) fn follow(&self) -> Following {
        Following(self.0.subscribe())
    }

    /// Ends reading and watching. The first reason stays.
    pub(crate) fn close(&self, reason: &Closed) {
        self.0.send_if_modified(|now| {
            let was_open = now.is_ok();
            if was_open {
                *now = Err(reason.clone());
            }
            was_open
        });
    }
}

/// Somebody who wants to hear of commits. Only the latest view is kept.
pub(crate) struct Following(watch::Receiver<Result<AnyView, Closed>>);

impl Following {
    /// The store as it is now: [`Following::changed`] tells of anything later.
    pub(crate) fn now(&mut self) -> Result<AnyView, Closed> {
        self.0.borrow_and_update().clone()
    }

    /// Waits for something later than what was last seen. It can be cancelled.
    pub(crate) async fn changed(&mut self) {
        // An error means that nothing more will come: the next look says why.
        let _ = self.0.changed().await;
    }
}
