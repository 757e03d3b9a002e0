//! The store: one ordered keyspace of the engine, in which the first byte of a key is its table.
//!
//! One keyspace, not one for each table: the engine writes keyspaces to disk one by one, so after damage one
//! table could show commits that another has lost. A single keyspace always shows a prefix of the commits.
//! The number of the last commit is an entry of its own, written in the same batch.

use std::error::Error as _;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use driftless::CommitSeq;
use driftless::store::{Commit, Each, Fault, Scan, Store, Syncer, Table, View};
use fjall::{
    AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions,
    PersistMode, Readable,
};

use crate::files::Locked;
use crate::journal;
use crate::mark::Marks;

/// The key of the number of the last commit. No table has this byte.
pub(crate) const LAST_COMMIT: &[u8] = b"\xff";
/// A key in the first batch after a loss that was accepted: commits before it may be missing from journals.
pub(crate) const RESUMED: &[u8] = b"\xfe";
const KEYSPACE: &str = "tables";
/// Values from here on are kept apart from the keys, so that merging keys does not copy them.
const LARGE_VALUE: u32 = 64 << 10;
/// Values from here on are handed out without a copy.
const SHARED_VALUE: usize = 4 << 10;
/// Memtables that may wait to be written before commits wait: one less than where the engine waits, which
/// it would do for ever if writing them failed meanwhile.
const WAITING_MEMTABLES: usize = 3;
const WAIT: Duration = Duration::from_millis(1);

/// The engine's files, opened.
pub(crate) struct Engine {
    keyspace: Keyspace,
    database: Database,
    path: PathBuf,
}

impl Engine {
    /// Opens an existing store, or an empty one in an empty directory.
    pub(crate) fn open(path: &Path, cache_bytes: u64, memtable_bytes: u64) -> fjall::Result<Self> {
        let fresh = !path.exists();
        let database = Database::builder(path)
            .cache_size(cache_bytes)
            // The least that the engine allows: journals are replayed when a store opens.
            .max_journaling_size(64 << 20)
            // Set here because another crate may build the engine with another default. Of compressed values
            // the length has no checksum, and `journal` does not read them.
            .journal_compression(CompressionType::None)
            // Commits are handed to the system when they are to become durable, many at a time.
            .manual_journal_persist(true)
            .open()?;
        if !fresh && !database.keyspace_exists(KEYSPACE) {
            return Err(fjall::Error::Unrecoverable);
        }
        let keyspace = database.keyspace(KEYSPACE, || {
            KeyspaceCreateOptions::default()
                .manual_journal_persist(true)
                .max_memtable_size(memtable_bytes)
                .with_kv_separation(Some(
                    KvSeparationOptions::default()
                        .separation_threshold(LARGE_VALUE)
                        .compression(CompressionType::None),
                ))
        })?;
        Ok(Self { keyspace, database, path: path.to_path_buf() })
    }

    /// The number of the last commit; `None` if its entry is not one.
    pub(crate) fn last_commit(&self) -> fjall::Result<Option<u64>> {
        let Some(value) = self.keyspace.get(LAST_COMMIT)? else { return Ok(Some(0)) };
        Ok((*value).try_into().ok().map(u64::from_be_bytes))
    }

    /// Begins, or begins anew: the journals need not hold the commits up to this one.
    pub(crate) fn resume_at(&self, last: u64) -> fjall::Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.keyspace, LAST_COMMIT, last.to_be_bytes());
        batch.insert(&self.keyspace, RESUMED, last.to_be_bytes());
        batch.commit()
    }

    /// Hands all commits so far to the system.
    pub(crate) fn flush(&self) -> fjall::Result<()> {
        self.database.persist(PersistMode::Buffer)
    }

    fn commit(&self, commit: &Commit) -> fjall::Result<()> {
        // The engine stops when it cannot write a memtable; `flush` then says so.
        while self.keyspace.tree.sealed_memtable_count() >= WAITING_MEMTABLES {
            self.flush()?;
            std::thread::sleep(WAIT);
        }
        let mut batch = self.database.batch();
        for write in &commit.writes {
            let key = stored_key(write.table, &write.key);
            match &write.value {
                Some(value) => batch.insert(&self.keyspace, key, &**value),
                None => batch.remove(&self.keyspace, key),
            }
        }
        batch.insert(&self.keyspace, LAST_COMMIT, commit.seq.0.to_be_bytes());
        batch.commit()
    }
}

/// A store on disk. It is made by [`crate::open`].
///
/// Its snapshots and syncers keep the data directory open and locked as long as they live.
#[derive(Debug)]
pub struct FjallStore {
    shared: Arc<Shared>,
    seq: CommitSeq,
}

/// What the store, its snapshots and its syncers share. Fields are dropped in this order: the lock last.
struct Shared {
    engine: Engine,
    /// The last commit applied, where syncers see it.
    applied: AtomicU64,
    /// The first failure. The system may have dropped what it could not write, so nothing is written after.
    failure: Mutex<Option<String>>,
    durable: Mutex<Durable>,
    _lock: Locked,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("path", &self.engine.path).finish_non_exhaustive()
    }
}

/// What a sync writes to.
struct Durable {
    /// The journal that the engine writes to, as of the last sync.
    journal: Option<(u64, File)>,
    marks: Marks,
}

impl FjallStore {
    pub(crate) fn new(engine: Engine, seq: CommitSeq, marks: Marks, lock: Locked) -> Self {
        let durable = Mutex::new(Durable { journal: None, marks });
        let applied = AtomicU64::new(seq.0);
        Self {
            shared: Arc::new(Shared { engine, applied, failure: Mutex::default(), durable, _lock: lock }),
            seq,
        }
    }

    /// Has every commit and every sync fail.
    pub(crate) fn refuse_writes(&self) {
        self.shared.fail(format!("{} was opened to be read alone", self.shared.engine.path.display()));
    }
}

impl Store for FjallStore {
    type Snapshot = FjallSnapshot;

    fn snapshot(&self) -> FjallSnapshot {
        FjallSnapshot { moment: self.shared.engine.database.snapshot(), shared: self.shared.clone() }
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), Fault> {
        self.shared.check()?;
        if commit.seq.0 != self.seq.0 + 1 {
            let words = format!("commit {} was given after commit {}", commit.seq.0, self.seq.0);
            return Err(self.shared.fail(words));
        }
        self.shared.engine.commit(commit).map_err(|error| {
            let what = format!("cannot write commit {} in", commit.seq.0);
            self.shared.fail_engine(&what, &error)
        })?;
        self.seq = commit.seq;
        self.shared.applied.store(commit.seq.0, Ordering::Release);
        Ok(())
    }

    fn seq(&self) -> CommitSeq {
        self.seq
    }

    fn syncer(&self) -> Syncer {
        let shared = self.shared.clone();
        Box::new(move || shared.sync())
    }
}

impl Shared {
    /// Nothing has failed so far.
    fn check(&self) -> Result<(), Fault> {
        locked(&self.failure).clone().map_or(Ok(()), |words| Err(Fault::Store(words)))
    }

    /// Notes a failure; the first one stays.
    fn fail(&self, words: String) -> Fault {
        Fault::Store(locked(&self.failure).get_or_insert(words).clone())
    }

    fn fail_engine(&self, what: &str, error: &fjall::Error) -> Fault {
        self.fail(format!("{what} {}: {}", self.engine.path.display(), describe(error)))
    }

    /// Makes durable what was applied before the call.
    ///
    /// The engine's own sync keeps commits out while the disk works, so that a group would rarely be more
    /// than one commit. Here the engine only hands its bytes to the system, and the journal is synced through
    /// a second handle. It is enough to sync the last journal: the engine syncs one before it begins another.
    fn sync(&self) -> Result<CommitSeq, Fault> {
        let mut durable = locked(&self.durable);
        self.check()?;
        let seq = CommitSeq(self.applied.load(Ordering::Acquire));
        self.engine.flush().map_err(|error| self.fail_engine("cannot write the journal of", &error))?;
        durable.sync(&self.engine.path, seq).map_err(|error| {
            self.fail(format!(
                "cannot make commit {} in {} durable: {error}",
                seq.0,
                self.engine.path.display()
            ))
        })?;
        Ok(seq)
    }
}

impl Durable {
    fn sync(&mut self, store: &Path, seq: CommitSeq) -> io::Result<()> {
        let last = journal::list(store)?.pop().ok_or(io::ErrorKind::NotFound)?;
        let journal = match self.journal.take() {
            Some((number, file)) if number == last.0 => file,
            _ => File::options().write(true).open(last.1)?,
        };
        journal.sync_all()?;
        self.journal = Some((last.0, journal));
        self.marks.note(seq)
    }
}

/// One moment of a [`FjallStore`]. While it is held, the disk space of what was overwritten since is too.
#[derive(Clone)]
pub struct FjallSnapshot {
    moment: fjall::Snapshot,
    shared: Arc<Shared>,
}

impl fmt::Debug for FjallSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallSnapshot").field("store", &self.shared).finish_non_exhaustive()
    }
}

impl View for FjallSnapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        let value = self.moment.get(&self.shared.engine.keyspace, stored_key(table, key));
        let value = value.map_err(|error| self.fault(table, &error))?;
        Ok(value.map(|value| {
            if value.len() < SHARED_VALUE { Bytes::copy_from_slice(&value) } else { Bytes::from_owner(value) }
        }))
    }

    fn scan(&self, scan: &Scan<'_>, each: Each<'_>) -> Result<(), Fault> {
        if scan.limit == 0 || scan.to.is_some_and(|to| to <= scan.from) {
            return Ok(());
        }
        let from = stored_key(scan.table, scan.from);
        let to = scan.to.map_or_else(|| vec![scan.table as u8 + 1], |to| stored_key(scan.table, to));
        let range = (Bound::Included(from), Bound::Excluded(to));
        let mut entries = self.moment.range(&self.shared.engine.keyspace, range);
        for _ in 0..scan.limit {
            let entry = if scan.reverse { entries.next_back() } else { entries.next() };
            let Some(entry) = entry else { break };
            let (key, value) = entry.into_inner().map_err(|error| self.fault(scan.table, &error))?;
            if let ControlFlow::Break(()) = each(key.get(1..).unwrap_or_default(), &value) {
                break;
            }
        }
        Ok(())
    }
}

impl FjallSnapshot {
    /// What the system refused is a failure of the store; what does not look as it was written is damage.
    fn fault(&self, table: Table, error: &fjall::Error) -> Fault {
        let words = format!("{} in {}", describe(error), self.shared.engine.path.display());
        if refused_by_system(error).is_some() {
            Fault::Store(words)
        } else {
            Fault::Corrupt { table, what: words }
        }
    }
}

/// A table's byte, then the key. Engines want keys that are not empty; these never are.
fn stored_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + key.len());
    stored.push(table as u8);
    stored.extend_from_slice(key);
    stored
}

/// The error of the operating system behind one of the engine, unless it only says that a file is not as it
/// was written.
pub(crate) fn refused_by_system(error: &fjall::Error) -> Option<io::Error> {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound, Other, UnexpectedEof};
    let cause = io_cause(error)?;
    let damage = matches!(cause.kind(), NotFound | UnexpectedEof | InvalidData | InvalidInput | Other);
    (!damage).then(|| io::Error::new(cause.kind(), cause.to_string()))
}

fn io_cause(error: &fjall::Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref() {
            return Some(error);
        }
        cause = inner.source();
    }
    None
}

/// The engine's errors in words.
pub(crate) fn describe(error: &fjall::Error) -> String {
    match (error, refused_by_system(error)) {
        (_, Some(cause)) => cause.to_string(),
        (fjall::Error::Poisoned, None) => {
            "an earlier write in the background failed, most often because the disk is full".into()
        }
        (error, None) => {
            let inner = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            format!("a file is not as it was written ({inner})")
        }
    }
}

/// A lock that a panic elsewhere does not spoil: what it guards is whole at every step.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
