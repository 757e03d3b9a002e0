//! What happens at a node without being asked for.

use std::net::SocketAddr;

use driftless::{DeviceId, Notice};
use tokio::sync::broadcast;

/// How many items are kept for a slow listener.
pub(crate) const KEPT: usize = 1_024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// The replica has something to say.
    Notice(Notice),
    /// A link to a device is open.
    Linked {
        /// The device.
        device: DeviceId,
        /// Where it is.
        address: SocketAddr,
        /// Whether this node opened the link.
        initiated: bool,
    },
    /// A link to a device is gone.
    Unlinked {
        /// The device.
        device: DeviceId,
        /// Why, in words.
        reason: String,
    },
    /// The listener was too slow, and has missed this many items.
    Missed(u64),
}

/// The news of a node from some moment on. Made by [`crate::Node::notices`].
#[derive(Debug)]
pub struct Notices(broadcast::Receiver<News>);

impl Notices {
    pub(crate) fn new(receiver: broadcast::Receiver<News>) -> Self {
        Self(receiver)
    }

    /// The next item; `None` once the node is closed. It can be cancelled without losing any.
    pub async fn next(&mut self) -> Option<News> {
        match self.0.recv().await {
            Ok(news) => Some(news),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(News::Missed(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
