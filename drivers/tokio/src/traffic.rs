//! Counting what goes over the wire.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use driftless::LinkId;
use serde::Serialize;

/// What a node has sent and received since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Frames of the replica sent.
    pub frames_sent: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Bytes in the frames sent.
    pub frame_bytes_sent: u64,
    /// Bytes in the frames received.
    pub frame_bytes_received: u64,
    /// Bytes of UDP datagrams sent on links: with encryption, acknowledgements and repetitions.
    pub wire_bytes_sent: u64,
    /// Bytes of UDP datagrams received on links.
    pub wire_bytes_received: u64,
}

/// The running counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    frames_sent: AtomicU64,
    frames_received: AtomicU64,
    frame_bytes_sent: AtomicU64,
    frame_bytes_received: AtomicU64,
    wire: Mutex<Wire>,
}

/// Datagrams are counted by each connection: those that are gone are summed up.
#[derive(Debug, Default)]
struct Wire {
    sent: u64,
    received: u64,
    open: BTreeMap<LinkId, quinn::Connection>,
}

impl Counters {
    pub(crate) fn sent(&self, bytes: usize) {
        self.frames_sent.fetch_add(1, Ordering::Relaxed);
        self.frame_bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.frames_received.fetch_add(1, Ordering::Relaxed);
        self.frame_bytes_received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn link_opened(&self, link: LinkId, connection: quinn::Connection) {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner).open.insert(link, connection);
    }

    pub(crate) fn link_closed(&self, link: LinkId) {
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = wire.open.remove(&link) {
            let stats = connection.stats();
            wire.sent += stats.udp_tx.bytes;
            wire.received += stats.udp_rx.bytes;
        }
    }

    pub(crate) fn read(&self) -> Traffic {
        let wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        let mut traffic = Traffic {
            frames_sent: self.frames_sent.load(Ordering::Relaxed),
            frames_received: self.frames_received.load(Ordering::Relaxed),
            frame_bytes_sent: self.frame_bytes_sent.load(Ordering::Relaxed),
            frame_bytes_received: self.frame_bytes_received.load(Ordering::Relaxed),
            wire_bytes_sent: wire.sent,
            wire_bytes_received: wire.received,
        };
        for connection in wire.open.values() {
            let stats = connection.stats();
            traffic.wire_bytes_sent += stats.udp_tx.bytes;
            traffic.wire_bytes_received += stats.udp_rx.bytes;
        }
        traffic
    }
}
