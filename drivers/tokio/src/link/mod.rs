//! Links: QUIC connections between devices that have proven who they are.
//!
//! ```text
//!            called: accept ──► handshake ──► greeting ─┐
//!                                                       ├──► LinkUp ──► frames both ways ──► LinkDown
//!   Connect: dial all addresses ► handshake ► greeting ─┘      │
//!                └── none answers: ConnectFailed               └── one bidirectional stream
//! ```
//!
//! Each link is a task of its own. It talks to the replica's thread by [`Incoming`] events, whose number is
//! bounded by what links may have in flight:
//!
//! - *to the wire*: the core sends no more than its credit, and gets credit back as frames are handed to the
//!   QUIC stream, which takes them as fast as the network and the other end do;
//! - *from the wire*: a link reads on only while the frames that the replica has not looked at yet fit its
//!   budget. A peer that floods fills its own budget, then QUIC's window, then waits.

mod dial;
mod endpoint;
mod frame;
mod session;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use driftless::{Address, CloseReason, DeviceId, KeyChain, LinkId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

pub(crate) use self::endpoint::Endpoint;
pub(crate) use self::tls::DeviceKey;
use crate::traffic::Counters;

/// What links and discovery tell the replica's thread.
pub(crate) enum Incoming {
    LinkUp {
        link: LinkId,
        peer: KeyChain,
        initiated: bool,
        remote: SocketAddr,
        line: Line,
    },
    /// The last event of its link. The permit is the place of a link that another device has opened: it is given
    /// back when nothing of the link waits any more. Links that come and go faster than the replica looks at
    /// them would take up ever more memory otherwise.
    LinkDown {
        link: LinkId,
        reason: String,
        _place: Option<OwnedSemaphorePermit>,
    },
    ConnectFailed {
        device: DeviceId,
    },
    /// The permit is the frame's part of its link's budget: it is given back when the frame was looked at.
    Received {
        link: LinkId,
        frame: Bytes,
        _budget: OwnedSemaphorePermit,
    },
    /// Frames were handed to QUIC: [`Line::take_credit`] says how many bytes.
    Writable {
        link: LinkId,
    },
    PeerFound {
        device: DeviceId,
        address: Address,
    },
    PeerLost {
        device: DeviceId,
        address: Address,
    },
}

/// The replica's end of a link. Dropping it closes the link.
pub(crate) struct Line {
    /// Frames to be put on the wire: no more than the core has credit for.
    frames: mpsc::UnboundedSender<Bytes>,
    /// Beside the frames, for the wire may not take any more.
    closing: oneshot::Sender<CloseReason>,
    credit: Arc<Credit>,
}

impl Line {
    /// Sends a frame, as soon as the wire takes it.
    pub(crate) fn send(&self, frame: Bytes) {
        // A link that is gone says so by `LinkDown`.
        let _ = self.frames.send(frame);
    }

    /// Closes the link, after what was sent, unless the other end does not read that.
    pub(crate) fn close(self, reason: CloseReason) {
        let _ = self.closing.send(reason);
    }

    /// Bytes that were handed to QUIC since the last call.
    pub(crate) fn take_credit(&self) -> u64 {
        self.credit.take()
    }
}

/// Bytes handed to QUIC that the core has not heard of.
#[derive(Default)]
struct Credit(AtomicU64);

impl Credit {
    /// Adds bytes, and says whether the core has to be told: it has not been since it last took some.
    fn add(&self, bytes: u64) -> bool {
        self.0.fetch_add(bytes, Ordering::AcqRel) == 0
    }

    fn take(&self) -> u64 {
        self.0.swap(0, Ordering::AcqRel)
    }
}

/// What the endpoint and its links share with the handle.
pub(crate) struct Wire {
    pub(crate) counters: Counters,
    local: SocketAddr,
    online: watch::Sender<Online>,
}

/// Whether links are allowed.
#[derive(Clone, Copy)]
struct Online {
    now: bool,
    /// How many times they were cut, so that a short cut is noticed too.
    cuts: u64,
}

impl Wire {
    fn new(local: SocketAddr) -> Self {
        let online = watch::Sender::new(Online { now: true, cuts: 0 });
        Self { counters: Counters::default(), local, online }
    }

    /// Where the socket is bound.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn set_online(&self, online: bool) {
        self.online.send_modify(|state| {
            state.cuts += u64::from(state.now && !online);
            state.now = online;
        });
    }

    pub(crate) fn is_online(&self) -> bool {
        self.online.borrow().now
    }

    /// Waits until links are allowed.
    async fn online(&self) {
        // The sender is `self`, so this cannot fail.
        let _ = self.online.subscribe().wait_for(|state| state.now).await;
    }

    /// Waits until links are cut, counted from the call of this function.
    fn cut(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut states = self.online.subscribe();
        let cuts = states.borrow().cuts;
        async move {
            // An error means that the endpoint is gone, and the link with it.
            let _ = states.wait_for(|state| !state.now || state.cuts != cuts).await;
        }
    }
}

/// Why a link was closed, as a QUIC application code: the core's reasons as they are, the driver's own above.
mod code {
    use driftless::CloseReason;
    use quinn::VarInt;

    /// Nothing more was to be said.
    pub(super) const DONE: VarInt = VarInt::from_u32(0);
    /// The application has cut this device off.
    pub(super) const OFFLINE: VarInt = VarInt::from_u32(0x101);
    /// What came is no frame.
    pub(super) const BAD_FRAME: VarInt = VarInt::from_u32(0x102);
    /// What came first is no greeting.
    pub(super) const BAD_GREETING: VarInt = VarInt::from_u32(0x103);

    pub(super) fn of(reason: CloseReason) -> VarInt {
        VarInt::from_u32(u32::from(reason as u8))
    }

    /// A code in words.
    pub(super) fn describe(code: VarInt) -> &'static str {
        const REASONS: [(CloseReason, &str); 10] = [
            (CloseReason::Shutdown, "the other device is shutting down"),
            (CloseReason::Duplicate, "there is another link to the same device"),
            (CloseReason::TooManyLinks, "the other device has as many links as it wants"),
            (CloseReason::Garbled, "the other device could not decode a frame"),
            (CloseReason::BadRun, "the other device found generations that do not verify"),
            (CloseReason::Protocol, "the other device found a message that makes no sense"),
            (CloseReason::Version, "the other device speaks another version of the protocol"),
            (CloseReason::Myself, "the other device is this device itself"),
            (CloseReason::KeyEnded, "the other device knows that this device's key has ended"),
            (CloseReason::KeyRotated, "the other device takes another key"),
        ];
        let known = REASONS.iter().find(|(reason, _)| of(*reason) == code).map(|(_, words)| *words);
        known.unwrap_or(match code {
            DONE => "the other device closed it",
            OFFLINE => "the other device went offline",
            BAD_FRAME => "the other device received something that is no frame",
            BAD_GREETING => "the other device received something that is no greeting",
            _ => "the other device closed it for a reason that this version does not know",
        })
    }
}
