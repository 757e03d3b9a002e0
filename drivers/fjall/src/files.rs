//! Files that only their owner may read, written whole or not at all, and locks.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Creates a directory for its owner alone, and those above it; one that is there is left as it is.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Leaves a directory to its owner alone, where the system knows such a thing.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Opens a file for reading and writing, made for its owner alone if it is not there.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a file for its owner alone: of this name, or with a number after it if that is taken.
pub(crate) fn create_beside(dir: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let (mut path, mut number) = (dir.join(name), 1);
    loop {
        match options.open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
        path = dir.join(format!("{name}.{number}"));
    }
}

/// Writes a file for its owner alone. After a crash it is there as a whole, or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = draft(path, bytes)?;
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// The same in the place of a file that holds `before`. Returns whether it does: one that was changed meanwhile is left.
pub(crate) fn replace_private(path: &Path, before: Option<&[u8]>, bytes: &[u8]) -> io::Result<bool> {
    let draft = draft(path, bytes)?;
    if read_if_there(path)?.as_deref() != before {
        fs::remove_file(&draft)?;
        return Ok(false);
    }
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), sync_dir)?;
    Ok(true)
}

/// Writes what is to take a file's place, durably, beside it.
fn draft(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let draft = path.with_extension("new");
    let mut file = open_private(&draft)?;
    file.set_len(0)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(draft)
}

/// Makes the names in a directory durable, where the system can be asked to.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Reads a file that may be missing.
pub(crate) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file that no other process, and nobody else in this one, may lock meanwhile.
#[derive(Debug)]
pub(crate) struct Locked(pub(crate) File);

impl Locked {
    /// Locks a file; `None` if it is locked already.
    pub(crate) fn new(file: File) -> io::Result<Option<Self>> {
        Self::patiently(file, Duration::ZERO)
    }

    /// The same, but waits for a while for whoever has it locked.
    pub(crate) fn patiently(file: File, patience: Duration) -> io::Result<Option<Self>> {
        let since = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self(file))),
                Err(TryLockError::WouldBlock) if since.elapsed() >= patience => return Ok(None),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }
}

impl Drop for Locked {
    /// Closing the file is not enough: a process that is being started at this moment has a copy of it.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_changed_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_private(&path, b"first").unwrap();
        assert!(!replace_private(&path, Some(b"another"), b"second").unwrap());
        assert!(!replace_private(&path, None, b"second").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left of it");
        assert!(replace_private(&path, Some(b"first"), b"second").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"second");
    }
}
