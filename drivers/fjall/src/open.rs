//! Opening a data directory.
//!
//! ```text
//!   lock         held while the directory is open
//!   format       the version of this layout
//!   device.key   the device's secret; with device.key.lock, held while it is changed
//!   mark         how far the store had got
//!   store/       the engine's files; made as store.new/, so that a store is whole or not there
//!   damaged/     what was cut off where the store was damaged
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftless::{CommitSeq, Continuity, Ed25519, Identity, KeyChain, NewKey, SignatureScheme};

use crate::error::{Attempt, OpenError};
use crate::files::Locked;
use crate::journal::{self, Journals};
use crate::key::{DeviceKey, KEY, KeyFile};
use crate::mark::{self, Mark, MarkFile, Marks, NoMark};
use crate::passphrase::Passphrase;
use crate::sorted::{self, Trouble, Why};
use crate::store::{self, Engine, FjallStore};
use crate::user::UserKeyFile;
use crate::{STORE, files};

const FORMAT_TITLE: &str = "driftless data directory ";
const FORMAT: u32 = 1;
/// For how long the lock may be held by those who only look whether it is: see [`see_unused`].
const LOOKING: Duration = Duration::from_millis(100);
/// For how long one waits for others who change the device's key: each of them tries a passphrase, and writes.
const CHANGING: Duration = Duration::from_secs(30);
/// What is locked meanwhile.
const KEY_LOCK: &str = "device.key.lock";

/// How to open a data directory.
#[derive(Debug, Clone)]
pub struct Options {
    state_dir: Option<PathBuf>,
    passphrase: Option<Passphrase>,
    accept_loss: bool,
    read_only: bool,
    cache_bytes: u64,
    memtable_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            state_dir: None,
            passphrase: None,
            accept_loss: false,
            read_only: false,
            cache_bytes: 64 << 20,
            memtable_bytes: 16 << 20,
        }
    }
}

impl Options {
    /// The usual settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the mark is kept that shows that a store continues. It should be a place that backups of the
    /// data directory do not reach. By default it is `driftless` in `$XDG_STATE_HOME`, or in
    /// `~/.local/state` (`%LOCALAPPDATA%` on Windows).
    #[must_use]
    pub fn state_dir(self, path: impl Into<PathBuf>) -> Self {
        Self { state_dir: Some(path.into()), ..self }
    }

    /// What the device's key is locked by. A key that is made is locked by it; one that is there and not locked stays
    /// so: see [`set_passphrase`]. Trying a passphrase takes 64 MiB of memory for some tenths of a second.
    #[must_use]
    pub fn passphrase(self, passphrase: Passphrase) -> Self {
        Self { passphrase: Some(passphrase), ..self }
    }

    /// Whether to go on with what the store still shows although it was damaged or set back. What is cut
    /// off is kept in `damaged/`, and the replica writes as a new incarnation (S-2).
    #[must_use]
    pub fn accept_loss(self, accept: bool) -> Self {
        Self { accept_loss: accept, ..self }
    }

    /// Whether the store is opened to be read alone. Nothing can be committed, and the marks are left alone unless a
    /// loss is accepted: looking into a backup does not make it the store that continues. What a crash left is mended
    /// all the same.
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// Bytes of memory for what was read from disk; 64 MiB by default.
    #[must_use]
    pub fn cache_bytes(self, bytes: u64) -> Self {
        Self { cache_bytes: bytes, ..self }
    }

    /// Bytes of commits that are collected in memory before they are sorted to disk; 16 MiB by default. A
    /// store keeps the number that it was made with.
    #[must_use]
    pub fn memtable_bytes(self, bytes: u64) -> Self {
        Self { memtable_bytes: bytes, ..self }
    }
}

/// An open data directory.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: FjallStore,
    /// Whose it is, and whether it continues: what the core wants at boot.
    pub identity: Identity,
    /// Why [`Continuity`] is unknown; `None` if it is shown. The next one who opens the directory is told the same,
    /// unless a commit was made and synced meanwhile.
    pub doubt: Option<Doubt>,
}

/// Why it cannot be shown that a store is the one that this device last wrote (S-2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Doubt {
    /// Nothing was written to it yet.
    #[error("the store is new")]
    New,
    /// It is to be read alone, and nobody has looked: see [`Options::read_only`].
    #[error("the store was opened to be read alone")]
    ReadOnly,
    /// Its own mark is missing or damaged.
    #[error("the store has no mark of its own")]
    NoMark,
    /// There is no mark outside.
    #[error("there is no mark outside the directory: it was moved to this machine, or the mark was removed")]
    NoMarkOutside,
    /// There is no place for a mark outside, or it cannot be used.
    #[error("no mark can be kept outside the directory: {0}")]
    NoPlaceOutside(String),
    /// Another copy of this directory is open.
    #[error("another copy of this directory is open")]
    OtherCopyOpen,
    /// The mark outside has another token: another copy was opened since.
    #[error("another copy of this directory was opened since, or this one was restored from a backup")]
    OtherToken,
    /// The store ends before what was durable by the mark outside.
    #[error("the store ends at commit {}, but got as far as {} before", shown.0, durable.0)]
    Behind {
        /// Its last commit.
        shown: CommitSeq,
        /// The last one that was durable.
        durable: CommitSeq,
    },
    /// A loss was accepted.
    #[error("a loss was accepted: commits after {} are gone, at least {} was durable", shown.0, durable.0)]
    LossAccepted {
        /// The last commit that is left.
        shown: CommitSeq,
        /// The last one that was durable, as far as it is known.
        durable: CommitSeq,
    },
}

/// Opens the data directory of a replica; makes one where there is nothing, or an empty directory.
///
/// # Errors
/// [`OpenError`] says what is wrong, and what can be done. Nothing is lost by trying: what the store held is
/// still there, where it was or in `damaged/`.
#[allow(clippy::needless_pass_by_value, reason = "options are made for one call")]
pub fn open(path: &Path, options: Options) -> Result<Opened, OpenError> {
    let dir = Dir { path, options: &options };
    files::create_private_dir(path).attempt("create the data directory", path)?;
    dir.refuse_foreign()?;
    let lock = dir.lock()?;
    dir.check_format()?;
    let key = dir.key()?;
    let mut inside = match MarkFile::open(&path.join("mark")) {
        Ok(mark) => mark,
        Err(NoMark::Io(error)) => return Err(error).attempt("open", &path.join("mark")),
        Err(NoMark::Locked) => return Err(in_use(dir.path)),
    };
    let mark = inside.read().attempt("read", &path.join("mark"))?;
    let durable = mark.map_or(CommitSeq(0), |mark| mark.durable);
    let Started { engine, shown, is_cut } = dir.engine(&mut inside, mark)?;

    let (outside, doubt) =
        if options.read_only { (None, Some(Doubt::ReadOnly)) } else { dir.outside(&key, mark, shown) };
    let doubt = if is_cut || shown < durable {
        Some(Doubt::LossAccepted { shown, durable })
    } else if shown == CommitSeq(0) {
        Some(Doubt::New)
    } else {
        doubt
    };
    let mut marks = Marks::new(inside, outside, shown)?;
    if doubt.is_none() {
        marks.renew().attempt("write", &path.join("mark"))?;
    }

    let continuity = if doubt.is_none() { Continuity::Shown } else { Continuity::Unknown };
    let store = FjallStore::new(engine, shown, marks, lock);
    if options.read_only {
        store.refuse_writes();
    }
    Ok(Opened { store, identity: Identity { chain: key.chain, secret: key.secret, continuity }, doubt })
}

/// Whether a key in a data directory, the device's or the user's, is locked by a passphrase. Where there is no directory, or no key yet, it is not.
///
/// # Errors
/// [`OpenError`] if the key cannot be read.
pub fn is_locked(path: &Path) -> Result<bool, OpenError> {
    let is_locked = matches!(KeyFile::read(&path.join(KEY))?, Some(KeyFile::Locked { .. }));
    Ok(is_locked || UserKeyFile::read(path)?.is_some_and(|file| file.is_locked()))
}

/// Locks the keys in a data directory by another passphrase, or by none: the device's, and the user's if it is kept
/// there. The directory must not be open.
///
/// The keys stay the same ones. If the machine stops between the two, the same change can be made again. What was written without a passphrase before may still be found on the disk by whoever
/// looks at its raw blocks, and so in backups: where that matters, lock the key when it is made.
///
/// # Errors
/// [`OpenError`]: the present passphrase is missing or wrong, or the file cannot be written. Then nothing has changed.
pub fn set_passphrase(
    path: &Path,
    present: Option<&Passphrase>,
    new: Option<&Passphrase>,
) -> Result<(), OpenError> {
    let dir = Dir { path, options: &Options::default() };
    let key = path.join(KEY);
    // Before anything is made where nothing is.
    let missing = || OpenError::KeyMissing { path: key.clone() };
    KeyFile::read(&key)?.ok_or_else(missing)?;
    let _lock = dir.lock()?;
    let _turn = turn(path)?;
    let device = KeyFile::read(&key)?.ok_or_else(missing)?.open(present, &key)?;
    let user = UserKeyFile::read(path)?.map(|user| user.relocked(present, new)).transpose()?;
    user.map_or(Ok(()), |write| write())?;
    device.write(&key, new)
}

/// Draws another key for the device of a data directory, and puts it in the place of the one before, which signs for it; for
/// [`driftless::Command::RotateKey`]. From then on it is the device's: whoever opens the directory boots with it. It may be
/// open meanwhile. The key before is gone from the file; what was written may still be found on the disk by whoever looks
/// at its raw blocks, and in backups.
///
/// # Errors
/// [`OpenError`]: there is no key, the passphrase is missing or wrong, the device has had as many keys as it may, or the
/// file cannot be written. Then nothing has changed, unless the disk failed at the very end: then the file may hold the new
/// key, and the device boots with that.
pub fn rotate_key(path: &Path, passphrase: Option<&Passphrase>) -> Result<NewKey, OpenError> {
    let (dir, path) = (path, path.join(KEY));
    let missing = || OpenError::KeyMissing { path: path.clone() };
    // Before anything is made where nothing is.
    KeyFile::read(&path)?.ok_or_else(missing)?;
    // Of two who read the same key and each make another one only one would have what the file keeps.
    let _turn = turn(dir)?;
    let before = files::read_if_there(&path).attempt("read the device's key", &path)?;
    let file = KeyFile::read(&path)?.ok_or_else(missing)?;
    let is_locked = matches!(file, KeyFile::Locked { .. });
    let next = file.open(passphrase, &path)?.next()?;
    next.replace(&path, passphrase.filter(|_| is_locked), before.as_deref())?;
    let chain = next.chain.unwrap_or_else(|| KeyChain::new(Ed25519.public(&next.secret)));
    Ok(NewKey { secret: next.secret, chain })
}

/// Waits for whoever is changing the file of the device's key, and keeps others from it.
fn turn(dir: &Path) -> Result<Locked, OpenError> {
    let path = dir.join(KEY_LOCK);
    let file = files::open_private(&path).attempt("open", &path)?;
    let turn = Locked::patiently(file, CHANGING).attempt("lock", &path)?;
    turn.ok_or_else(|| OpenError::KeyChanging { path: dir.join(KEY) })
}

/// Sees whether anybody has a data directory open now, without opening it. Nothing is made where nothing is.
///
/// # Errors
/// [`OpenError::InUse`] if somebody has; [`OpenError::Io`] if that cannot be told.
pub fn see_unused(path: &Path) -> Result<(), OpenError> {
    let lock = path.join("lock");
    let file = match File::open(&lock) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.attempt("open", &lock)?,
    };
    // Shared, so that of several who look nobody sees another.
    match file.try_lock_shared() {
        Ok(()) => file.unlock().attempt("unlock", &lock),
        Err(TryLockError::WouldBlock) => Err(in_use(path)),
        Err(TryLockError::Error(error)) => Err(error).attempt("lock", &lock),
    }
}

fn in_use(path: &Path) -> OpenError {
    let read = || {
        let mut text = String::new();
        File::open(path.join("lock")).ok()?.take(20).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    };
    OpenError::InUse { path: path.to_path_buf(), holder: read() }
}

/// A store that was opened.
struct Started {
    engine: Engine,
    /// Its last commit.
    shown: CommitSeq,
    /// Whether something was cut off its journals that was durable, whatever the marks know of it.
    is_cut: bool,
}

/// What a place is where a journal cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Something was being written there when the process or the machine ended.
    Torn,
    /// The same, or something that was durable: only the sorted files can tell. The journal holds nothing before it.
    Open,
    /// Something is lost that was durable.
    Lost,
}

/// A data directory that is being opened.
struct Dir<'a> {
    path: &'a Path,
    options: &'a Options,
}

impl Dir<'_> {
    /// Leaves directories alone that hold something else.
    fn refuse_foreign(&self) -> Result<(), OpenError> {
        if ["format", STORE, KEY].iter().any(|ours| self.path.join(ours).exists()) {
            return Ok(());
        }
        let ours = ["lock", "format.new"];
        for entry in fs::read_dir(self.path).attempt("list", self.path)? {
            let name = entry.attempt("list", self.path)?.file_name();
            if !ours.iter().any(|known| name == *known) {
                return Err(OpenError::Foreign { path: self.path.to_path_buf() });
            }
        }
        Ok(())
    }

    /// Takes the lock, and leaves the number of this process for others to read.
    fn lock(&self) -> Result<Locked, OpenError> {
        let path = self.path.join("lock");
        let file = files::open_private(&path).attempt("open", &path)?;
        let lock = Locked::patiently(file, LOOKING).attempt("lock", &path)?;
        let Some(mut lock) = lock else { return Err(in_use(self.path)) };
        let note = |file: &mut File| {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())
        };
        note(&mut lock.0).attempt("write", &path)?;
        Ok(lock)
    }

    fn check_format(&self) -> Result<(), OpenError> {
        let (path, line) = (self.path.join("format"), format!("{FORMAT_TITLE}{FORMAT}"));
        let Some(bytes) = files::read_if_there(&path).attempt("read", &path)? else {
            if self.path.join(STORE).exists() {
                return Err(OpenError::FormatUnknown { path, what: "is missing", line });
            }
            let text = format!("{line}\n");
            return files::write_private(&path, text.as_bytes()).attempt("write", &path);
        };
        let text = String::from_utf8_lossy(&bytes);
        match text.strip_prefix(FORMAT_TITLE).and_then(|number| number.trim_end().parse().ok()) {
            Some(FORMAT) => Ok(()),
            Some(found) if found > FORMAT => {
                Err(OpenError::NewerFormat { path: self.path.to_path_buf(), found, known: FORMAT })
            }
            _ => Err(OpenError::FormatUnknown { path, what: "is damaged", line }),
        }
    }

    /// Reads the device's key, or makes it if there is no store either.
    fn key(&self) -> Result<DeviceKey, OpenError> {
        let (path, passphrase) = (self.path.join(KEY), self.options.passphrase.as_ref());
        match KeyFile::read(&path)? {
            Some(file) => file.open(passphrase, &path),
            None if self.path.join(STORE).exists() => Err(OpenError::KeyMissing { path }),
            None => DeviceKey::create(&path, passphrase),
        }
    }

    /// Opens the store, which is made if it is not there.
    fn engine(&self, inside: &mut MarkFile, mark: Option<Mark>) -> Result<Started, OpenError> {
        let path = self.path.join(STORE);
        let durable = mark.map_or(CommitSeq(0), |mark| mark.durable);
        if !path.exists() {
            if durable > CommitSeq(0) && !self.options.accept_loss {
                return Err(self.set_back(CommitSeq(0), durable));
            }
            self.make_store(&path)?;
        }
        self.check_files(&path)?;
        let journals = Journals::read(&path).attempt("read the journals of", &path)?;
        let (mut kept, mut is_cut) = (None, false);
        if let Some(trouble) = &journals.trouble {
            let verdict = self.judge(trouble, journals.last, durable)?;
            is_cut = verdict == Verdict::Lost;
            // Before it is cut: afterwards nothing else tells the next one who opens it.
            if let Some(mark) = mark.filter(|_| is_cut) {
                inside.disown(mark)?;
            }
            let aside = self.path.join("damaged");
            let aside = (verdict != Verdict::Torn).then_some(aside.as_path());
            let copy = trouble.cut(aside).attempt("cut off the damaged end of", &trouble.path)?;
            kept = copy.filter(|_| verdict == Verdict::Open);
        }
        let (engine, shown) = match self.look(&path, durable) {
            Ok(looked) => looked,
            Err(error) => {
                // Nothing was accepted, so nothing is to have changed.
                kept.map_or(Ok(()), |kept| kept.put_back()).attempt("put back the journal in", &path)?;
                return Err(error);
            }
        };
        if let Some(kept) = kept.filter(|_| shown >= durable.0) {
            kept.remove().attempt("remove what was cut off of", &path)?;
        }
        if journals.last.is_some_and(|last| last != shown) {
            engine.resume_at(shown).map_err(|error| self.unusable(&error))?;
        }
        Ok(Started { engine, shown: CommitSeq(shown), is_cut })
    }

    /// Starts the engine, and asks it for the last commit.
    fn look(&self, store: &Path, durable: CommitSeq) -> Result<(Engine, u64), OpenError> {
        let engine = self.start(store)?;
        let shown = engine.last_commit().map_err(|error| self.unusable(&error))?;
        let shown = shown.ok_or_else(|| self.unreadable("the number of the last commit is none"))?;
        if shown < durable.0 && !self.options.accept_loss {
            return Err(self.set_back(CommitSeq(shown), durable));
        }
        Ok((engine, shown))
    }

    /// Makes an empty store elsewhere and moves it into place: a crash leaves a whole store, or none.
    fn make_store(&self, path: &Path) -> Result<(), OpenError> {
        let draft = path.with_extension("new");
        if draft.exists() {
            fs::remove_dir_all(&draft).attempt("remove what a crash left in", &draft)?;
        }
        // The engine numbers its batches from 0, and forgets other snapshots while it holds one of number 0.
        // With a batch at the start there is none.
        let engine = self.start(&draft)?;
        // The directory around it may have been there, and be open to others.
        files::make_private(&draft).attempt("make private", &draft)?;
        engine.resume_at(0).map_err(|error| self.unusable(&error))?;
        drop(engine);
        fs::rename(&draft, path).and_then(|()| files::sync_dir(self.path)).attempt("create", path)
    }

    /// Refuses what the engine would make anew if it were missing, over the data that belongs to it, and what
    /// it cannot be trusted to read.
    fn check_files(&self, store: &Path) -> Result<(), OpenError> {
        if !store.join("version").exists() {
            return Err(self.unreadable("the file `version` is missing"));
        }
        // Without a journal the engine counts its batches from 0 again, and shows nothing of what is sorted.
        if journal::list(store).attempt("list", store)?.is_empty() {
            return Err(self.unreadable("its journal is missing"));
        }
        sorted::check(store).map_err(|Trouble { path, why }| match why {
            Why::Broken(what) => {
                let name = path.strip_prefix(store).unwrap_or(&path).display();
                self.unreadable(&format!("the file `{name}` is damaged: {what}"))
            }
            Why::Io(source) => OpenError::Io { what: "read", path, source },
        })
    }

    /// Decides about a journal that cannot be read to its end.
    fn judge(
        &self,
        trouble: &journal::Trouble,
        last: Option<u64>,
        durable: CommitSeq,
    ) -> Result<Verdict, OpenError> {
        // Every journal but the last was durable before the next was begun. In the last, what lies behind
        // the last durable commit was being written when the process or the machine ended. With no commit
        // before the place, the sorted files will tell which of the two it is; till then a copy is kept.
        let in_last = trouble.later.is_empty();
        if in_last && last.is_some_and(|last| last >= durable.0) {
            return Ok(Verdict::Torn);
        }
        if in_last && last.is_none() && trouble.at == 0 {
            return Ok(Verdict::Open);
        }
        if self.options.accept_loss {
            return Ok(Verdict::Lost);
        }
        let name = trouble.path.file_name().unwrap_or_default().to_string_lossy();
        Err(OpenError::Damaged {
            path: self.path.to_path_buf(),
            what: format!("{} at byte {} of the journal {name}", trouble.what, trouble.at),
            shown: CommitSeq(last.unwrap_or(0)),
            durable,
        })
    }

    /// Starts the engine. It asserts what it believes of its files; a wrong belief is damage, not a panic.
    fn start(&self, store: &Path) -> Result<Engine, OpenError> {
        let Options { cache_bytes, memtable_bytes, .. } = *self.options;
        let engine = catch_unwind(AssertUnwindSafe(|| Engine::open(store, cache_bytes, memtable_bytes)));
        match engine {
            Ok(engine) => engine.map_err(|error| self.unusable(&error)),
            Err(panic) => {
                let words = panic.downcast_ref::<String>().map(String::as_str);
                let words =
                    words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
                Err(self.unreadable(&format!("the engine stopped: {words}")))
            }
        }
    }

    /// Finds the mark outside and compares it; says why continuity is unknown, if it is.
    fn outside(
        &self,
        key: &DeviceKey,
        inside: Option<Mark>,
        shown: CommitSeq,
    ) -> (Option<MarkFile>, Option<Doubt>) {
        let no_place = |words: String| (None, Some(Doubt::NoPlaceOutside(words)));
        let Some(path) = mark::outside(self.options.state_dir.as_deref(), key.device) else {
            return no_place("no home directory is known".into());
        };
        let refused = |error: io::Error| no_place(format!("{}: {error}", path.display()));
        if let Some(Err(error)) = path.parent().map(files::create_private_dir) {
            return refused(error);
        }
        let mut file = match MarkFile::open(&path) {
            Ok(file) => file,
            Err(NoMark::Locked) => return (None, Some(Doubt::OtherCopyOpen)),
            Err(NoMark::Io(error)) => return refused(error),
        };
        let doubt = match (inside, file.read()) {
            (_, Err(error)) => return refused(error),
            (None, _) => Some(Doubt::NoMark),
            (_, Ok(None)) => Some(Doubt::NoMarkOutside),
            (Some(inside), Ok(Some(outside))) if inside.token != outside.token => Some(Doubt::OtherToken),
            (_, Ok(Some(outside))) if shown < outside.durable => {
                Some(Doubt::Behind { shown, durable: outside.durable })
            }
            _ => None,
        };
        (Some(file), doubt)
    }

    fn set_back(&self, shown: CommitSeq, durable: CommitSeq) -> OpenError {
        OpenError::SetBack { path: self.path.to_path_buf(), shown, durable }
    }

    fn unreadable(&self, what: &str) -> OpenError {
        OpenError::Unreadable { path: self.path.to_path_buf(), what: what.into() }
    }

    /// An error of the engine while it opens. A file that is not there, or ends too early, is damage.
    fn unusable(&self, error: &fjall::Error) -> OpenError {
        match error {
            fjall::Error::Locked => in_use(self.path),
            error => match store::refused_by_system(error) {
                Some(source) => {
                    OpenError::Io { what: "open the store in", path: self.path.to_path_buf(), source }
                }
                None => self.unreadable(&store::describe(error)),
            },
        }
    }
}
