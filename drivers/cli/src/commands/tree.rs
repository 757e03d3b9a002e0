//! Rows as a directory tree. Keys come from anybody who may write, so none may lead out of the target.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Why a key cannot be a path below the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsafe {
    #[error("it is empty")]
    Empty,
    #[error("it has a zero byte")]
    Nul,
    #[error("it is absolute")]
    Absolute,
    #[error("it has the component \".\" or \"..\"")]
    Dots,
    #[error("it has an empty component")]
    EmptyComponent,
    #[error("it is no file name on this system")]
    Name,
    #[error("another key needs a directory of this name")]
    Below,
}

/// The bytes of a file's name, at most.
const MOST_NAME: usize = 255;

/// The path that a key stands for, relative to the target.
pub(super) fn path(key: &[u8]) -> Result<PathBuf, Unsafe> {
    if key.is_empty() {
        return Err(Unsafe::Empty);
    }
    if key.contains(&0) {
        return Err(Unsafe::Nul);
    }
    if key.starts_with(b"/") {
        return Err(Unsafe::Absolute);
    }
    for component in key.split(|&byte| byte == b'/') {
        match component {
            b"" => return Err(Unsafe::EmptyComponent),
            b"." | b".." => return Err(Unsafe::Dots),
            // What all file systems that are in use have in common.
            long if long.len() > MOST_NAME => return Err(Unsafe::Name),
            _ => {}
        }
    }
    let path = to_path(key)?;
    // What this platform makes of it must be what was looked at above: drives and backslashes, for example.
    let parts = key.split(|&byte| byte == b'/').count();
    let normal = path.components().filter(|part| matches!(part, Component::Normal(_))).count();
    if normal != parts || path.components().count() != parts || cfg!(windows) && key.contains(&b':') {
        return Err(Unsafe::Name);
    }
    Ok(path)
}

fn to_path(key: &[u8]) -> Result<PathBuf, Unsafe> {
    #[cfg(unix)]
    return Ok(PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(key)));
    #[cfg(not(unix))]
    std::str::from_utf8(key).map(PathBuf::from).map_err(|_| Unsafe::Name)
}

/// Looks at keys in their order and finds those that need to be a directory and a file at once.
#[derive(Debug, Default)]
pub(super) struct Overlaps {
    /// Keys of which each is a prefix of the next, and of the key looked at last.
    prefixes: Vec<Vec<u8>>,
}

impl Overlaps {
    /// Whether a key that was seen before would have to be a directory for this one.
    pub(super) fn check(&mut self, key: &[u8]) -> Result<(), Unsafe> {
        while self.prefixes.last().is_some_and(|prefix| !key.starts_with(prefix)) {
            self.prefixes.pop();
        }
        let below = self.prefixes.iter().any(|prefix| key.get(prefix.len()) == Some(&b'/'));
        self.prefixes.push(key.to_vec());
        if below { Err(Unsafe::Below) } else { Ok(()) }
    }
}

/// A directory that files are written below.
#[derive(Debug)]
pub(super) struct Target {
    root: PathBuf,
    force: bool,
}

impl Target {
    /// Takes a directory, and makes it if it is not there. With `force`, files that are there are replaced.
    pub(super) fn new(root: &Path, force: bool) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot make the directory {}", root.display()))?;
        Ok(Self { root: root.to_owned(), force })
    }

    /// Writes a file at a path that [`path`] has made.
    pub(super) fn write(&self, path: &Path, content: &[u8]) -> Result<()> {
        let full = self.root.join(path);
        self.make_parents(path)?;
        match self.create(&full, content) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("{} is there already; overwrite with --force", full.display())
            }
            Err(error) => Err(error).with_context(|| format!("cannot write {}", full.display())),
        }
    }

    fn create(&self, full: &Path, content: &[u8]) -> io::Result<()> {
        if self.force {
            // Removed, not opened: what is there may be a link to something else.
            match fs::remove_file(full) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        OpenOptions::new().write(true).create_new(true).open(full)?.write_all(content)
    }

    /// Makes the directories of a path one by one, and goes through no link.
    fn make_parents(&self, path: &Path) -> Result<()> {
        let mut directory = self.root.clone();
        for part in path.parent().into_iter().flat_map(Path::components) {
            directory.push(part);
            match fs::create_dir(&directory) {
                Ok(()) => continue,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot make {}", directory.display()));
                }
            }
            let kind = fs::symlink_metadata(&directory)
                .with_context(|| format!("cannot look at {}", directory.display()))?;
            if !kind.is_dir() {
                bail!("{} is in the way: it is no directory", directory.display());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_leads_out_of_the_target_is_refused() {
        let wrong = [
            (&b""[..], Unsafe::Empty),
            (b"a\0b", Unsafe::Nul),
            (b"/etc/passwd", Unsafe::Absolute),
            (b"..", Unsafe::Dots),
            (b"a/../../b", Unsafe::Dots),
            (b"a/.", Unsafe::Dots),
            (b"a//b", Unsafe::EmptyComponent),
            (b"a/", Unsafe::EmptyComponent),
        ];
        for (key, why) in wrong {
            assert_eq!(path(key), Err(why), "{key:?}");
        }
        let long = [&b"a/"[..], &[b'k'; 256]].concat();
        assert_eq!(path(&long), Err(Unsafe::Name), "no file system takes it");
        assert!(path(&long[..long.len() - 1]).is_ok());
        for right in ["a", "a/b.c", "...", "..a/b", "with blank"] {
            assert_eq!(path(right.as_bytes()), Ok(PathBuf::from(right)));
        }
    }

    #[test]
    fn a_file_that_would_have_to_be_a_directory_is_found() {
        let mut overlaps = Overlaps::default();
        let verdicts: Vec<bool> = [&b"a"[..], b"a-b", b"a-b/c", b"a/b", b"a/b/c", b"ab", b"b", b"b/c"]
            .iter()
            .map(|key| overlaps.check(key).is_ok())
            .collect();
        assert_eq!(verdicts, [true, true, false, false, false, true, true, false]);
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_through_a_link() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = Target::new(dir.path(), true).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        assert!(target.write(Path::new("link/file"), b"x").is_err());
        std::os::unix::fs::symlink(outside.path().join("file"), dir.path().join("file")).unwrap();
        target.write(Path::new("file"), b"x").unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"x");
    }
}
