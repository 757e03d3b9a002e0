//! A disk: what was applied, what of it would survive a crash, and a sync that takes its time.
//!
//! ```text
//!            apply                    finish_sync                 crash(keep)
//!   commits ───────► applied, undoable ──────────► durable    loses all undoable ones but the first `keep`
//! ```

use std::collections::VecDeque;

use driftless::CommitSeq;
use driftless::store::{Commit, MemStore, Table};

/// A store in memory with the memory of how to lose what is not durable.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    store: MemStore,
    /// What undoes each commit that is not durable, oldest first.
    undo: VecDeque<Commit>,
    /// What undoes the last commit that became durable: only a broken disk needs it.
    last_durable: Option<Commit>,
    syncing: bool,
}

impl Disk {
    /// The store as it is.
    pub(crate) fn store(&self) -> &MemStore {
        &self.store
    }

    /// Applies a commit.
    pub(crate) fn apply(&mut self, commit: &Commit) {
        self.undo.push_back(self.store.apply(commit));
    }

    /// How many commits a crash could lose now.
    pub(crate) fn at_risk(&self) -> usize {
        self.undo.len()
    }

    /// Starts a sync, unless one is running or there is nothing to do. It will cover everything applied up to
    /// now, whose last commit is returned.
    pub(crate) fn start_sync(&mut self) -> Option<CommitSeq> {
        if self.syncing || self.undo.is_empty() {
            return None;
        }
        self.syncing = true;
        Some(self.store.seq())
    }

    /// The sync that covers commits up to `seq` is through.
    pub(crate) fn finish_sync(&mut self, seq: CommitSeq) {
        self.syncing = false;
        while self.undo.front().is_some_and(|undo| undo.seq <= seq) {
            self.last_durable = self.undo.pop_front();
        }
    }

    /// The process dies: of the commits that are not durable the first `keep` survive. Says how many are
    /// lost.
    pub(crate) fn crash(&mut self, keep: usize) -> usize {
        let lost = self.undo.len().saturating_sub(keep);
        for _ in 0..lost {
            if let Some(undo) = self.undo.pop_back() {
                self.store.undo(&undo);
            }
        }
        self.settle();
        lost
    }

    /// Whoever reads a disk after a crash can rely on what he finds there.
    fn settle(&mut self) {
        self.last_durable = self.undo.pop_back().or(self.last_durable.take());
        self.undo.clear();
        self.syncing = false;
    }

    /// A defect for tests of the oracles: of the last of the commits at risk that survive, the rows are lost.
    pub(crate) fn tear(&mut self, keep: usize) {
        let Some(undo) = keep.min(self.undo.len()).checked_sub(1).and_then(|last| self.undo.get(last)) else {
            return;
        };
        let seq = self.store.seq();
        let rows = undo.writes.iter().filter(|write| write.table == Table::Row).cloned().collect();
        self.store.apply(&Commit { seq, writes: rows });
    }

    /// A defect for tests of the oracles: at the crash, a durable commit is lost too.
    pub(crate) fn forget_durable(&mut self) -> bool {
        match self.last_durable.take() {
            Some(undo) if self.undo.is_empty() && undo.seq == self.store.seq() => {
                self.store.undo(&undo);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use driftless::store::{Table, View, Write};

    use super::*;

    fn commit(seq: u64) -> Commit {
        let text = seq.to_string();
        Commit { seq: CommitSeq(seq), writes: vec![Write::put(Table::Row, text.as_bytes(), b"x")] }
    }

    fn keys(disk: &Disk) -> String {
        (1..=9).filter(|seq| has(disk, *seq)).map(|seq| seq.to_string()).collect()
    }

    fn has(disk: &Disk, seq: u64) -> bool {
        disk.store().get(Table::Row, seq.to_string().as_bytes()).unwrap().is_some()
    }

    #[test]
    fn a_sync_covers_what_was_applied_when_it_started() {
        let mut disk = Disk::default();
        disk.apply(&commit(1));
        disk.apply(&commit(2));
        let covered = disk.start_sync().unwrap();
        disk.apply(&commit(3));
        assert_eq!(disk.start_sync(), None);
        disk.finish_sync(covered);
        assert_eq!(disk.at_risk(), 1);
        assert_eq!(disk.start_sync(), Some(CommitSeq(3)));
    }

    #[test]
    fn a_crash_leaves_a_prefix_that_has_everything_durable() {
        for keep in 0..4 {
            let mut disk = Disk::default();
            (1..=5).for_each(|seq| disk.apply(&commit(seq)));
            disk.finish_sync(CommitSeq(2));
            assert_eq!(disk.crash(keep), 3 - keep.min(3));
            assert_eq!(keys(&disk), "12345"[..2 + keep.min(3)]);
            assert_eq!(disk.at_risk(), 0);
            disk.apply(&commit(disk.store().seq().0 + 1));
            assert_eq!(disk.start_sync(), Some(disk.store().seq()));
        }
    }
}
