//! Marks: how far a store had got, noted beside it, and once more where backups of it do not reach.
//!
//! ```text
//!   data directory/mark               token, last durable commit
//!   $XDG_STATE_HOME/driftless/ID      token, last durable commit
//! ```
//!
//! The token is drawn anew each time the directory opens, the number follows each sync. A directory whose
//! token is not the one outside, or whose store ends before the commit noted outside, is a copy, or was
//! restored from one: it does not continue what this device last wrote (S-2). Marks that say so stay until
//! something is durable that was written in this doubt. The file outside is locked while it stands for an
//! open directory, so that of two copies only one can continue.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use driftless::{CommitSeq, DeviceId};

use crate::error::{Attempt, OpenError};
use crate::files::{self, Locked};

const TITLE: &[u8; 8] = b"drift mk";
/// Title, token, number and check: less than a sector, so that a disk writes it whole.
const SIZE: usize = 8 + 16 + 8 + 16;

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) token: [u8; 16],
    pub(crate) durable: CommitSeq,
}

impl Mark {
    /// A mark with a new token.
    fn draw(durable: CommitSeq) -> Result<Self, OpenError> {
        let mut token = [0; 16];
        getrandom::fill(&mut token).map_err(OpenError::Randomness)?;
        Ok(Self { token, durable })
    }

    fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(TITLE);
        bytes[8..24].copy_from_slice(&self.token);
        bytes[24..32].copy_from_slice(&self.durable.0.to_be_bytes());
        let check = blake3::hash(&bytes[..32]);
        bytes[32..].copy_from_slice(&check.as_bytes()[..16]);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let token = bytes.get(8..24)?.try_into().ok()?;
        let durable = CommitSeq(u64::from_be_bytes(bytes.get(24..32)?.try_into().ok()?));
        let mark = Self { token, durable };
        (mark.to_bytes() == bytes).then_some(mark)
    }
}

/// A file that holds a mark, kept open and locked.
#[derive(Debug)]
pub(crate) struct MarkFile {
    path: PathBuf,
    file: Locked,
}

/// Why a mark cannot be kept somewhere.
#[derive(Debug)]
pub(crate) enum NoMark {
    /// Another process keeps it.
    Locked,
    /// The system refused.
    Io(io::Error),
}

impl MarkFile {
    /// Opens the file, made empty if it is not there, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, NoMark> {
        let file = files::open_private(path).map_err(NoMark::Io)?;
        let file = Locked::new(file).map_err(NoMark::Io)?.ok_or(NoMark::Locked)?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// What it says; `None` if it is new, or was not written by this code.
    pub(crate) fn read(&mut self) -> io::Result<Option<Mark>> {
        let mut bytes = Vec::with_capacity(SIZE);
        self.file.0.seek(SeekFrom::Start(0))?;
        (&self.file.0).take(SIZE as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Mark::from_bytes(&bytes))
    }

    /// Writes it in place. It reaches the disk when the system likes.
    fn write(&mut self, mark: Mark) -> io::Result<()> {
        self.file.0.seek(SeekFrom::Start(0))?;
        self.file.0.write_all(&mark.to_bytes())
    }

    /// Writes it in place and makes it durable, its name too.
    fn write_through(&mut self, mark: Mark) -> io::Result<()> {
        self.write(mark)?;
        self.file.0.sync_all()?;
        self.path.parent().map_or(Ok(()), files::sync_dir)
    }

    /// Writes it with a token that is nowhere else: the store does not continue what this device last wrote (S-2),
    /// until something is durable that was written in this doubt.
    pub(crate) fn disown(&mut self, mark: Mark) -> Result<(), OpenError> {
        let mark = Mark::draw(mark.durable)?;
        self.write_through(mark).attempt("write", &self.path)
    }

    /// Removes it: no mark is better than one that lags behind.
    fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Both marks of an open directory.
#[derive(Debug)]
pub(crate) struct Marks {
    inside: MarkFile,
    outside: Option<MarkFile>,
    /// What both say once they are written.
    mark: Mark,
    /// The files still say what was found in them.
    untouched: bool,
}

impl Marks {
    /// For a store whose last commit is `shown`. The files stay as they are.
    pub(crate) fn new(
        inside: MarkFile,
        outside: Option<MarkFile>,
        shown: CommitSeq,
    ) -> Result<Self, OpenError> {
        Ok(Self { inside, outside, mark: Mark::draw(shown)?, untouched: true })
    }

    /// Writes a new token: no copy that was made before continues any more.
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        self.write(MarkFile::write_through)?;
        self.untouched = false;
        Ok(())
    }

    /// Notes up to which commit the store is durable.
    ///
    /// What was found stays while there is nothing new. The first new commit holds the new incarnation: were
    /// the doubt gone before that is durable, whoever opens the store next would go on as the old one.
    pub(crate) fn note(&mut self, durable: CommitSeq) -> io::Result<()> {
        if self.untouched && durable == self.mark.durable {
            return Ok(());
        }
        self.mark.durable = durable;
        if self.untouched { self.renew() } else { self.write(MarkFile::write) }
    }

    fn write(&mut self, write: fn(&mut MarkFile, Mark) -> io::Result<()>) -> io::Result<()> {
        // Outside first: a crash in between leaves two tokens that differ, which is the safe side.
        if let Some(mut outside) = self.outside.take() {
            // A mark that lags behind could take an old copy for the store. Without one, no copy is.
            match write(&mut outside, self.mark) {
                Ok(()) => self.outside = Some(outside),
                Err(_) => outside.discard(),
            }
        }
        write(&mut self.inside, self.mark)
    }
}

/// Where the mark outside is: in `state`, or where the system keeps such things.
pub(crate) fn outside(state: Option<&Path>, device: DeviceId) -> Option<PathBuf> {
    let name = device.to_string();
    if let Some(state) = state {
        return Some(state.join(name));
    }
    let home = || {
        if cfg!(windows) {
            std::env::var_os("LOCALAPPDATA").map(PathBuf::from)
        } else {
            std::env::home_dir().map(|home| home.join(".local").join("state"))
        }
    };
    let set = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    // Relative paths are to be ignored, says the specification of these directories.
    let state = set.filter(|path| path.is_absolute()).or_else(home)?;
    state.is_absolute().then(|| state.join("driftless").join(name))
}
