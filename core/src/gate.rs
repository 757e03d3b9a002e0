//! The durability barrier. Whatever would reveal a commit to a peer, or tell the application that it is safe,
//! waits here until the commit will survive a crash (S-9).
//!
//! A device that sends its generation 7, crashes, loses it, and writes another generation 7 has forked its
//! history for ever. So nothing leaves that was made from a state which is not durable: every frame and every
//! reply notes the last commit at the moment it was made, and leaves in order once that commit is durable.

use alloc::collections::VecDeque;

use crate::action::{Action, Outbox};
use crate::id::{CommitSeq, LinkId};

#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    durable: CommitSeq,
    waiting: VecDeque<(CommitSeq, Action)>,
    /// How many of those that wait are replies.
    replies: usize,
}

impl Gate {
    /// Lets an action out as soon as `seq` is durable, and after all that came before it.
    pub(crate) fn pass(&mut self, seq: CommitSeq, action: Action, out: &mut Outbox) {
        if seq <= self.durable && self.waiting.is_empty() {
            out.push(action);
        } else {
            self.replies += usize::from(matches!(action, Action::Reply { .. }));
            self.waiting.push_back((seq, action));
        }
    }

    /// Everything up to `seq` is durable.
    pub(crate) fn open(&mut self, seq: CommitSeq, out: &mut Outbox) {
        self.durable = self.durable.max(seq);
        while self.waiting.front().is_some_and(|(seq, _)| *seq <= self.durable) {
            if let Some((_, action)) = self.waiting.pop_front() {
                self.replies -= usize::from(matches!(action, Action::Reply { .. }));
                out.push(action);
            }
        }
        if self.waiting.is_empty() {
            // A replica may be idle from now on, and shall keep no room for what has left.
            self.waiting = VecDeque::new();
        }
    }

    /// Drops what waits for a link that is gone.
    pub(crate) fn forget(&mut self, gone: LinkId) {
        self.waiting.retain(|(_, action)| !matches!(action, Action::Send { link, .. } if *link == gone));
    }

    /// How many replies wait.
    pub(crate) fn replies(&self) -> usize {
        self.replies
    }

    /// Whether nothing waits, and all up to `seq` is durable.
    pub(crate) fn is_clear(&self, seq: CommitSeq) -> bool {
        self.waiting.is_empty() && self.durable >= seq
    }
}
