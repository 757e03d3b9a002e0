//! Why a data directory does not open.

use std::io;
use std::path::{Path, PathBuf};

use driftless::{CommitSeq, KeyChainError};

/// Why a data directory does not open. The text says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The operating system refused something.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory holds something else.
    #[error("{} is not empty and is no data directory: choose an empty or a new directory", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// A process has the directory open.
    #[error(
        "the data directory {} is in use by {}: stop it, or choose another directory",
        path.display(),
        holder.map_or_else(|| "another process".into(), |id| format!("process {id}"))
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that has it open, where it can be read.
        holder: Option<u32>,
    },
    /// The directory was written by a newer version.
    #[error("the data directory {} has format {found}, this version reads format {known}: use a newer version", path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this version reads.
        known: u32,
    },
    /// The device has had as many keys as it may.
    #[error(transparent)]
    NoMoreKeys(KeyChainError),
    /// There is a store, but not the key of its device.
    #[error(
        "the device's key {} is missing, and its store cannot be used without it: restore the key file, \
         or choose an empty directory and join again as a new device",
        path.display()
    )]
    KeyMissing {
        /// Where the key should be.
        path: PathBuf,
    },
    /// The file of the device's key is not as it was written.
    #[error(
        "the device's key {} is damaged ({what}): restore the key file, or choose an empty directory and \
         join again as a new device",
        path.display()
    )]
    KeyDamaged {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Somebody else is changing the device's key, or has just put another one in its place.
    #[error("the device's key {} is being changed by somebody else: see which one it is, and try again", path.display())]
    KeyChanging {
        /// The key file.
        path: PathBuf,
    },
    /// A key, the device's or the user's, is locked, and no passphrase was given.
    #[error("the key {} is locked: give its passphrase", path.display())]
    KeyLocked {
        /// The key file.
        path: PathBuf,
    },
    /// The passphrase does not open a key, the device's or the user's.
    #[error(
        "the passphrase does not open the key {}: it is another one, or the file was changed; try again, or \
         restore the key file",
        path.display()
    )]
    WrongPassphrase {
        /// The key file.
        path: PathBuf,
    },
    /// A passphrase cannot be tried.
    #[error("the passphrase cannot be tried, which takes some memory ({0}): free some, and try again")]
    Stretching(argon2::Error),
    /// The file of a user's key, or of its word for this device, is not as it was written.
    #[error("{} is damaged ({what}): restore the file from a backup", path.display())]
    UserDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is a user's key already.
    #[error("{} is there, the key of user \"{name}\": a data directory holds one user's key", path.display())]
    UserThere {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        name: driftless::Name,
    },
    /// The store shows less than what was durable: it was set back to an older state, or has lost its end.
    #[error(
        "the store in {} ends at commit {}, but commit {} was durable: it was set back or is damaged; \
         restore a newer backup, or accept the loss when opening, to go on from commit {} as a new \
         incarnation and receive again what other members hold",
        path.display(), shown.0, durable.0, shown.0
    )]
    SetBack {
        /// The data directory.
        path: PathBuf,
        /// The last commit that the store shows.
        shown: CommitSeq,
        /// The last commit that was durable.
        durable: CommitSeq,
    },
    /// The end of the store can still be used up to a damaged place.
    #[error(
        "the store in {} is damaged: {what}; commits up to {} can be read, commit {} was durable; restore a \
         backup, or accept the loss when opening, to go on from what can be read as a new incarnation and \
         receive again what other members hold",
        path.display(), shown.0, durable.0
    )]
    Damaged {
        /// The data directory.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
        /// The last commit before the damage, as far as it is known.
        shown: CommitSeq,
        /// The last commit that was durable, as far as it is known.
        durable: CommitSeq,
    },
    /// The file that says in which format the data directory is, is missing or damaged.
    #[error(
        "the file {} {what}: it says how everything beside it is kept; restore it from a backup, or if nothing but \
         this version has written there, write the line \"{line}\" into it",
        path.display()
    )]
    FormatUnknown {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
        /// What this version writes there.
        line: String,
    },
    /// The store cannot be used at all.
    #[error(
        "the store in {} cannot be read: {what}; restore a backup, or move {} away and accept the loss when \
         opening, to start from nothing as a new incarnation and receive again what other members hold",
        path.display(), path.join(crate::STORE).display()
    )]
    Unreadable {
        /// The data directory.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// The operating system gave no random bytes.
    #[error("the system gives no randomness for a key: {0}; try again")]
    Randomness(getrandom::Error),
}

/// Adds to an error of the system what was attempted, and on what.
pub(crate) trait Attempt<T> {
    fn attempt(self, what: &'static str, path: &Path) -> Result<T, OpenError>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, what: &'static str, path: &Path) -> Result<T, OpenError> {
        self.map_err(|source| OpenError::Io { what, path: path.to_path_buf(), source })
    }
}
