//! Where imported rows come from: a file of JSON Lines, standard input, or a directory tree.
//!
//! Rows are read one by one, so that memory does not grow with the data.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use driftless::limits::{MAX_KEY, MAX_VALUE};

use crate::row::{self, Row};
use crate::text;

/// The longest line: the largest value as JSON that escapes every byte, with its key.
const MAX_LINE: u64 = 8 << 20;
/// How many of the things that are too large are named.
const NAMED: usize = 10;

/// Rows to be imported. It ends after the first error.
pub(crate) struct Source {
    rows: Rows,
    skip_large: bool,
    /// What was left out because it is too large.
    pub(crate) skipped: u64,
}

enum Rows {
    Lines { reader: Box<dyn BufRead + Send>, name: String, line: u64 },
    Tree { walk: Walk, files: u64 },
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("skipped", &self.skipped).finish_non_exhaustive()
    }
}

impl Source {
    /// Opens a file of JSON Lines, standard input (`-`), or a directory, of which `except` is left out. A
    /// directory is looked through at once, so that what cannot be imported is known before anything is.
    ///
    /// # Errors
    /// If it cannot be read, or holds what is too large for a row and is not to be skipped.
    pub(crate) fn open(path: &Path, except: Option<&Path>, skip_large: bool) -> Result<Self> {
        let rows = if path == Path::new("-") {
            lines(BufReader::new(io::stdin()), "standard input")
        } else if path.is_dir() {
            let walk = Walk::new(path, except)?;
            let files = check(walk.clone(), skip_large)?;
            Rows::Tree { walk, files }
        } else {
            let name = path.display().to_string();
            let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
            lines(BufReader::with_capacity(1 << 16, file), &name)
        };
        Ok(Self { rows, skip_large, skipped: 0 })
    }

    /// Reads JSON Lines from memory.
    pub(crate) fn from_text(text: &'static str, name: &str) -> Self {
        Self { rows: lines(text.as_bytes(), name), skip_large: false, skipped: 0 }
    }

    /// How many rows there will be, if that is known.
    pub(crate) fn total(&self) -> Option<u64> {
        match &self.rows {
            Rows::Lines { .. } => None,
            Rows::Tree { files, .. } => Some(*files),
        }
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(crate) fn next(&mut self) -> Result<Option<Row>> {
        loop {
            let (row, place) = match &mut self.rows {
                Rows::Lines { reader, name, line } => match next_line(reader, name, line)? {
                    Some(row) => (row, format!("{name}:{line}")),
                    None => return Ok(None),
                },
                Rows::Tree { walk, .. } => match walk.next()? {
                    Some(file) => (file.read()?, file.path.display().to_string()),
                    None => return Ok(None),
                },
            };
            let Some(what) = too_large(&row) else { return Ok(Some(row)) };
            if !self.skip_large {
                bail!("{place}: {what}; leave such rows out with --skip-large");
            }
            self.skipped += 1;
        }
    }
}

fn lines(reader: impl BufRead + Send + 'static, name: &str) -> Rows {
    Rows::Lines { reader: Box::new(reader), name: name.to_owned(), line: 0 }
}

fn next_line(reader: &mut Box<dyn BufRead + Send>, name: &str, number: &mut u64) -> Result<Option<Row>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        *number += 1;
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.with_context(|| format!("cannot read {name}"))? == 0 {
            return Ok(None);
        }
        if line.len() as u64 == MAX_LINE {
            bail!("{name}:{number}: the line is longer than any row can be; is this JSON Lines?");
        }
        // An editor may have put a byte order mark at the start of the file.
        let bytes = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| *number == 1).unwrap_or(&line);
        let text =
            std::str::from_utf8(bytes).with_context(|| format!("{name}:{number}: the line is no UTF-8"))?;
        if !text.trim().is_empty() {
            return row::parse(text).map(Some).with_context(|| format!("{name}:{number}: not a row"));
        }
    }
}

fn too_large(row: &Row) -> Option<String> {
    if row.key.len() > MAX_KEY {
        return Some(format!("the key has {} bytes, and may have {MAX_KEY}", row.key.len()));
    }
    (row.value.len() > MAX_VALUE).then(|| format!("the value has more than {MAX_VALUE} bytes"))
}

/// Counts the files of a tree; refuses those that are too large, naming them.
fn check(mut walk: Walk, skip_large: bool) -> Result<u64> {
    let (mut files, mut large, mut named) = (0, 0_u64, Vec::new());
    while let Some(file) = walk.next()? {
        if file.key.len() <= MAX_KEY && file.size <= MAX_VALUE as u64 {
            files += 1;
            continue;
        }
        large += 1;
        if named.len() < NAMED {
            named.push(format!("  {} ({})", text::escape(&file.key), text::bytes(file.size)));
        }
    }
    if large == 0 || skip_large {
        return Ok(files);
    }
    if large > named.len() as u64 {
        named.push(format!("  and {} more", large - named.len() as u64));
    }
    bail!(
        "{} too large for a row, of which the value has at most {MAX_VALUE} bytes and the key, here the path, at \
         most {MAX_KEY}:\n{}\nNothing was imported. Leave them out with --skip-large",
        if large == 1 { "one file is".to_owned() } else { format!("{large} files are") },
        named.join("\n")
    )
}

/// Walks through the regular files of a tree, in the order of their names, without following links.
#[derive(Debug, Clone)]
struct Walk {
    /// Directories that are still to be read, the next one last, each with its key.
    directories: Vec<(PathBuf, Vec<u8>)>,
    /// Files of the directory that is being read.
    files: VecDeque<TreeFile>,
    except: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct TreeFile {
    path: PathBuf,
    key: Vec<u8>,
    size: u64,
}

impl Walk {
    fn new(root: &Path, except: Option<&Path>) -> Result<Self> {
        let root = fs::canonicalize(root).with_context(|| format!("cannot read {}", root.display()))?;
        // What is not there cannot be met on the way either.
        let except = except.and_then(|path| fs::canonicalize(path).ok());
        Ok(Self { directories: vec![(root, Vec::new())], files: VecDeque::new(), except })
    }

    fn next(&mut self) -> Result<Option<TreeFile>> {
        loop {
            if let Some(file) = self.files.pop_front() {
                return Ok(Some(file));
            }
            match self.directories.pop() {
                Some((path, _)) if Some(&path) == self.except.as_ref() => {}
                Some((path, key)) => {
                    self.enter(&path, &key).with_context(|| format!("cannot read {}", path.display()))?;
                }
                None => return Ok(None),
            }
        }
    }

    fn enter(&mut self, directory: &Path, prefix: &[u8]) -> Result<()> {
        let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_unstable_by_key(fs::DirEntry::file_name);
        let mut below = Vec::new();
        for entry in entries {
            let mut key = prefix.to_vec();
            if !key.is_empty() {
                key.push(b'/');
            }
            key.extend(text::argument_bytes(&entry.file_name())?);
            // Links, sockets and devices are not content.
            let kind = entry.file_type()?;
            if kind.is_dir() {
                below.push((entry.path(), key));
            } else if kind.is_file() {
                self.files.push_back(TreeFile { size: entry.metadata()?.len(), path: entry.path(), key });
            }
        }
        self.directories.extend(below.into_iter().rev());
        Ok(())
    }
}

impl TreeFile {
    /// The row; of a file that is too large only as much as shows it.
    fn read(&self) -> Result<Row> {
        let mut value = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0).min(MAX_VALUE));
        let file = File::open(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        file.take(MAX_VALUE as u64 + 1)
            .read_to_end(&mut value)
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(Row { key: self.key.clone(), value })
    }
}
