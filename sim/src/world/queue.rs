//! What is going to happen, in order.

use std::collections::BTreeMap;

use bytes::Bytes;
use driftless::{CommitSeq, Conflict, DeviceId, LinkId};

use super::transfers::Payment;

/// Something that is going to happen in a run.
#[derive(Debug, Clone)]
pub(crate) enum Happening {
    /// A step of the plan.
    Step(usize),
    /// A core's deadline.
    Tick { replica: usize, boot: u64 },
    /// A sync of a disk is through.
    Synced { replica: usize, boot: u64, seq: CommitSeq },
    /// A frame comes to an end of a link.
    Arrive { link: LinkId, frame: Bytes, order: u64, again: bool },
    /// A frame that was damaged on its way comes to an end of a link.
    ArriveCorrupt { link: LinkId, order: u64 },
    /// A driver has put bytes on the wire.
    Writable { link: LinkId, credit: u64 },
    /// A disk says that everything is durable, which is not true: a defect on purpose.
    Lie { replica: usize, boot: u64 },
    /// An attempt to connect comes to the other side.
    Dialled { from: usize, boot: u64, to: usize },
    /// An attempt to connect has failed.
    DialFailed { from: usize, boot: u64, device: DeviceId },
    /// The end of a link that was called learns of it.
    Accepted { link: LinkId },
    /// An end of a link learns that the link is gone.
    Down { link: LinkId },
    /// An end of a link learns that the other end closed it.
    Closed { link: LinkId },
    /// A link has lasted its time.
    Wear { link: LinkId },
    /// A link that may be cut is noticed to be dead, if it still is cut.
    Silence { link: LinkId },
    /// A device finds another.
    Found { replica: usize, peer: usize },
    /// A device loses sight of another.
    Lost { replica: usize, peer: usize },
    /// A process starts again by itself: after its disk failed, and once all faults have ended.
    Restart { replica: usize },
    /// A process is no more waited for to stop.
    Overdue { replica: usize, boot: u64 },
    /// A process wakes.
    Wake { replica: usize },
    /// A hostile replica does what a step says, once it has a link.
    Attack { step: usize, tries: u32 },
    /// A resolver answers, or is to.
    Answer { replica: usize, boot: u64, conflict: Box<Conflict> },
    /// A resolver comes or goes.
    Attach { replica: usize, boot: u64, attached: bool },
    /// Somebody has thought about a transfer.
    Pay(Box<Payment>),
    /// The application sets its schema.
    Install { replica: usize, boot: u64 },
    /// The application is told that something has changed.
    News { replica: usize, boot: u64 },
    /// Readers look at a replica.
    Look { replica: usize },
}

/// A priority queue by (virtual time, sequence number): what was put in first happens first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: BTreeMap<(u64, u64), Happening>,
    next: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: u64, happening: Happening) {
        self.entries.insert((at, self.next), happening);
        self.next += 1;
    }

    /// When the next one happens.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.entries.keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Happening)> {
        self.entries.pop_first().map(|((at, _), happening)| (at, happening))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_first_comes_first_and_of_the_same_time_what_was_put_in_first() {
        let mut queue = Queue::default();
        for (at, step) in [(5, 0), (3, 1), (5, 2), (3, 3)] {
            queue.push(at, Happening::Step(step));
        }
        let mut order = Vec::new();
        while let Some((at, Happening::Step(step))) = queue.pop() {
            order.push((at, step));
        }
        assert_eq!(order, [(3, 1), (3, 3), (5, 0), (5, 2)]);
    }
}
