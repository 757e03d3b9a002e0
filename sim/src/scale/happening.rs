//! What is going to happen, in order.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use bytes::Bytes;
use driftless::CommitSeq;

/// Which end of an edge.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    First = 0,
    Second = 1,
}

/// Something that is going to happen.
#[derive(Debug)]
pub(super) enum Happening {
    /// A core's deadline, unless another came first.
    Tick { at: u32, boot: u32 },
    /// A disk has synced.
    Synced { at: u32, boot: u32, seq: CommitSeq },
    /// A frame arrives, if the link still is the one that it was sent on.
    Arrive { edge: u32, life: u32, end: End, frame: Bytes },
    /// A process starts again.
    Restart { at: u32 },
    /// An edge is linked again.
    Link { edge: u32 },
    /// A replica's application writes.
    Write { at: u32 },
    /// Somebody crashes, and a link breaks.
    Fault,
}

#[derive(Debug)]
struct Entry {
    at: u64,
    order: u64,
    happening: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A priority queue by (virtual time, sequence number): what was put in first happens first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: BinaryHeap<Reverse<Entry>>,
    next: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: u64, happening: Happening) {
        self.entries.push(Reverse(Entry { at, order: self.next, happening }));
        self.next += 1;
    }

    pub(super) fn pop(&mut self) -> Option<(u64, Happening)> {
        self.entries.pop().map(|Reverse(entry)| (entry.at, entry.happening))
    }
}
