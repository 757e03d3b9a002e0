//! A disk: what was applied, what of it would survive a crash, a sync that takes its time, and how it fails.
//!
//! ```text
//!            apply                    finish_sync                 crash(keep)
//!   commits ───────► applied, undoable ──────────► durable    loses all undoable ones but the first `keep`
//! ```

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::Bytes;
use driftless::store::{Commit, Each, MemStore, Scan, Table, View};
use driftless::{CommitSeq, Fault};

/// A store in memory with the memory of how to lose what is not durable.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    store: MemStore,
    /// What undoes each commit that is not durable, oldest first.
    undo: VecDeque<Commit>,
    /// What undoes the last commit that became durable: only a broken disk needs it.
    last_durable: Option<Commit>,
    syncing: bool,
    /// How the disk fails, or will.
    failure: Failure,
    /// Reads since the disk was made.
    reads: Cell<u64>,
}

/// How a disk fails.
#[derive(Debug, Clone, Default)]
struct Failure {
    /// So many reads from now, reads fail.
    reads: Cell<Option<Failing>>,
    /// So many commits from now, there is no more room.
    full: Option<u32>,
    /// Something is not what it was: whatever is read, its checksum is wrong.
    damaged: bool,
    /// The next sync takes so much longer.
    slow: u64,
}

/// Reads that will fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failing {
    /// How many go well before.
    pub(crate) after: u32,
    /// What is read only has to be fetched first; otherwise the store has failed.
    pub(crate) again: bool,
}

impl Disk {
    /// The store as it is.
    pub(crate) fn store(&self) -> &MemStore {
        &self.store
    }

    /// A disk that holds this, all of it durable.
    pub(crate) fn with(store: MemStore) -> Self {
        Self { store, ..Self::default() }
    }

    /// Everything that is durable.
    pub(crate) fn durable(&self) -> MemStore {
        let mut store = self.store.clone();
        self.undo.iter().rev().for_each(|undo| store.undo(undo));
        store
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
    /// now, whose last commit is returned, with how much longer than usual it will take.
    pub(crate) fn start_sync(&mut self) -> Option<(CommitSeq, u64)> {
        if self.syncing || self.undo.is_empty() {
            return None;
        }
        self.syncing = true;
        Some((self.store.seq(), std::mem::take(&mut self.failure.slow)))
    }

    /// The sync that covers commits up to `seq` is through.
    pub(crate) fn finish_sync(&mut self, seq: CommitSeq) {
        self.syncing = false;
        while self.undo.front().is_some_and(|undo| undo.seq <= seq) {
            self.last_durable = self.undo.pop_front();
        }
    }

    /// The process dies: of the commits that are not durable the first `keep` survive, each of them whole. Says how many
    /// are lost. Half a commit is nothing that a store may show: that one drops it is for tests of that one's journal.
    pub(crate) fn crash(&mut self, keep: usize) -> usize {
        let lost = self.undo.len().saturating_sub(keep);
        for undo in self.undo.drain(keep.min(self.undo.len())..).rev() {
            self.store.undo(&undo);
        }
        self.settle();
        lost
    }

    /// Whoever reads a disk after a crash can rely on what he finds there. What failed is mended, but for
    /// damage: a checksum stays wrong.
    fn settle(&mut self) {
        self.last_durable = self.undo.pop_back().or(self.last_durable.take());
        self.undo.clear();
        self.syncing = false;
        self.failure = Failure { damaged: self.failure.damaged, ..Failure::default() };
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

    // ---- failures ----

    pub(crate) fn fail_reads(&mut self, failing: Failing) {
        self.failure.reads.set(Some(failing));
    }

    /// So many commits from now the disk is full.
    pub(crate) fn fill(&mut self, after: u32) {
        self.failure.full = Some(after);
    }

    pub(crate) fn damage(&mut self) {
        self.failure.damaged = true;
    }

    pub(crate) fn slow_down(&mut self, ms: u64) {
        self.failure.slow += ms;
    }

    /// Everything is mended.
    pub(crate) fn mend(&mut self) {
        self.failure = Failure::default();
    }

    /// Whether it may fail to read.
    pub(crate) fn may_fail(&self) -> bool {
        self.failure.damaged || self.failure.reads.get().is_some()
    }

    /// Whether there is no room for the next commit.
    pub(crate) fn is_full(&mut self) -> bool {
        match &mut self.failure.full {
            Some(0) => true,
            Some(after) => {
                *after -= 1;
                false
            }
            None => false,
        }
    }

    /// What was to be fetched has been.
    pub(crate) fn fetch(&self) {
        self.failure.reads.set(None);
    }

    /// How often it was read until now: entries, whether one by one or in a scan.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.get()
    }

    fn read(&self, table: Table, key: &[u8]) -> Result<(), Fault> {
        self.reads.set(self.reads.get() + 1);
        if self.failure.damaged {
            return Err(Fault::Corrupt { table, what: "the checksum of a block".to_owned() });
        }
        match self.failure.reads.get() {
            Some(Failing { after: 0, again: true }) => {
                Err(Fault::Need(vec![(table, Bytes::copy_from_slice(key))]))
            }
            Some(Failing { after: 0, again: false }) => {
                Err(Fault::Store("a block cannot be read".to_owned()))
            }
            Some(Failing { after, again }) => {
                self.failure.reads.set(Some(Failing { after: after - 1, again }));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl View for Disk {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.read(table, key)?;
        self.store.get(table, key)
    }

    fn scan(&self, scan: &Scan<'_>, each: Each<'_>) -> Result<(), Fault> {
        self.read(scan.table, scan.from)?;
        let mut failed = None;
        self.store.scan(scan, &mut |key, value| match self.read(scan.table, key) {
            Ok(()) => each(key, value),
            Err(fault) => {
                failed = Some(fault);
                std::ops::ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use driftless::store::Write;

    use super::*;

    fn commit(seq: u64) -> Commit {
        let text = seq.to_string();
        let more = format!("{seq}+");
        let writes = vec![
            Write::put(Table::Row, text.as_bytes(), b"x"),
            Write::put(Table::Row, more.as_bytes(), b"y"),
        ];
        Commit { seq: CommitSeq(seq), writes }
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
        let (covered, _) = disk.start_sync().unwrap();
        disk.apply(&commit(3));
        assert_eq!(disk.start_sync(), None);
        disk.finish_sync(covered);
        assert_eq!(disk.at_risk(), 1);
        assert_eq!(Disk::with(disk.durable()).store(), &disk.durable());
        assert_eq!(keys(&Disk::with(disk.durable())), "12");
        disk.slow_down(70);
        assert_eq!(disk.start_sync(), Some((CommitSeq(3), 70)));
    }

    #[test]
    fn a_crash_leaves_a_prefix_that_has_everything_durable() {
        for keep in 0..=4 {
            let mut disk = Disk::default();
            (1..=5).for_each(|seq| disk.apply(&commit(seq)));
            disk.finish_sync(CommitSeq(2));
            assert_eq!(disk.crash(keep), 3 - keep.min(3));
            assert_eq!(keys(&disk), "12345"[..2 + keep.min(3)]);
            assert_eq!(disk.store().seq().0, 2 + keep.min(3) as u64);
            assert_eq!(disk.at_risk(), 0);
            disk.apply(&commit(disk.store().seq().0 + 1));
            assert_eq!(disk.start_sync(), Some((disk.store().seq(), 0)));
        }
    }

    #[test]
    fn reads_fail_when_they_shall_and_in_the_way_they_shall() {
        let mut disk = Disk::default();
        disk.apply(&commit(1));
        let read = |disk: &Disk| disk.get(Table::Row, b"1");
        disk.fail_reads(Failing { after: 1, again: true });
        assert!(read(&disk).is_ok());
        assert!(matches!(read(&disk), Err(Fault::Need(_))));
        disk.fetch();
        assert!(read(&disk).is_ok());
        disk.fail_reads(Failing { after: 0, again: false });
        let scanned = disk.scan(&Scan::all(Table::Row), &mut |_, _| std::ops::ControlFlow::Continue(()));
        assert!(matches!(scanned, Err(Fault::Store(_))));
        disk.damage();
        disk.crash(0);
        assert!(matches!(read(&disk), Err(Fault::Corrupt { .. })), "a crash mends no damage");
        disk.mend();
        assert!(read(&disk).is_ok());
    }

    #[test]
    fn a_disk_is_full_after_so_many_commits() {
        let mut disk = Disk::default();
        disk.fill(2);
        assert_eq!([disk.is_full(), disk.is_full(), disk.is_full()], [false, false, true]);
        disk.crash(0);
        assert!(!disk.is_full(), "whoever opens it again has made room");
    }
}
