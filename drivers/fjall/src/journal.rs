//! A look at the store's journals before the engine opens them.
//!
//! The engine ends a journal at the first place that it cannot read, and cuts off the rest without a word;
//! at a wrong checksum it does not open at all. Neither tells a batch that was being written when the power
//! failed, which nobody misses, from a batch that was durable. This module can tell, because each batch
//! holds the number of its commit: the numbers must follow each other without a gap, up to the last one
//! that was durable.
//!
//! ```text
//!   journal   := batch* zero*                  files N.jnl in the order of N; the last is written to
//!   batch     := 1 count:u32 sequence:u64  item*count  3 check:u64 "FJL" 3
//!   item      := 2 type:u8 compression:u8 keyspace:u64 key:u16 size:u32 stored:u32 key.. value..
//! ```
//!
//! Numbers are little-endian; the check is XXH3 over the items. This is format 3 of the engine, which says
//! so in a file of its own; the engine is not asked to open any other.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::files;
use crate::store::{LAST_COMMIT, RESUMED};

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const TRAILER: &[u8] = b"FJL\x03";
/// No store gets as far as this; the engine stops when it has no numbers left. The sequence number of a batch
/// is the only one without a checksum, and nothing follows the last.
const LAST_SEQUENCE: u64 = 1 << 62;

/// What the journals hold.
#[derive(Debug, Default)]
pub(crate) struct Journals {
    /// The last commit that can be read; `None` if there is no commit in the journals.
    pub(crate) last: Option<u64>,
    /// The first place that cannot be read.
    pub(crate) trouble: Option<Trouble>,
}

/// A place where a journal cannot be read.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// In which file.
    pub(crate) path: PathBuf,
    /// After how many bytes.
    pub(crate) at: u64,
    /// What is wrong there.
    pub(crate) what: &'static str,
    /// The journals that follow.
    pub(crate) later: Vec<PathBuf>,
}

impl Journals {
    /// Reads all journals of a store.
    pub(crate) fn read(store: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        let mut sequence = None;
        let mut paths = list(store)?.into_iter().map(|(_, path)| path);
        while let Some(path) = paths.next() {
            let mut reader = Reader::open(&path)?;
            loop {
                let at = reader.at;
                let what = match reader.batch() {
                    Ok(None) => break,
                    Ok(Some(batch)) => match batch.follows(found.last, sequence) {
                        None => {
                            (found.last, sequence) = (Some(batch.commit), Some(batch.sequence));
                            continue;
                        }
                        Some(what) => what,
                    },
                    Err(Stop::Broken(what)) => what,
                    Err(Stop::Io(error)) => return Err(error),
                };
                found.trouble = Some(Trouble { path, at, what, later: paths.collect() });
                return Ok(found);
            }
        }
        Ok(found)
    }
}

impl Trouble {
    /// Cuts the journals here. What is cut off is moved into `aside`, if there is such a place; then this
    /// gives the copy of the rest of this journal. Nothing that is there is replaced.
    pub(crate) fn cut(&self, aside: Option<&Path>) -> io::Result<Option<Kept>> {
        let mut kept = None;
        if let Some(aside) = aside {
            files::create_private_dir(aside)?;
            let mut rest = File::open(&self.path)?;
            io::Seek::seek(&mut rest, io::SeekFrom::Start(self.at))?;
            let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (copy, mut file) =
                files::create_beside(aside, &format!("{}.from-{}", name(&self.path), self.at))?;
            io::copy(&mut rest, &mut file)?;
            file.sync_all()?;
            kept = Some(Kept { copy, journal: self.path.clone() });
            for path in &self.later {
                let (place, _) = files::create_beside(aside, &name(path))?;
                fs::rename(path, place)?;
            }
            files::sync_dir(aside)?;
        }
        let journal = File::options().write(true).open(&self.path)?;
        journal.set_len(self.at)?;
        journal.sync_all()?;
        self.path.parent().map_or(Ok(()), files::sync_dir)?;
        Ok(kept)
    }
}

/// A copy of what was cut off a journal.
#[derive(Debug)]
pub(crate) struct Kept {
    copy: PathBuf,
    journal: PathBuf,
}

impl Kept {
    /// Puts it back, where the journal was cut at its start.
    pub(crate) fn put_back(self) -> io::Result<()> {
        fs::rename(&self.copy, &self.journal)?;
        self.journal.parent().map_or(Ok(()), files::sync_dir)?;
        self.leave_no_trace();
        Ok(())
    }

    /// Removes it: nobody misses what it holds.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.copy)?;
        self.leave_no_trace();
        Ok(())
    }

    /// Where something else is kept beside it the directory stays.
    fn leave_no_trace(&self) {
        let _ = self.copy.parent().map(fs::remove_dir);
    }
}

/// The journals with their numbers, in order.
pub(crate) fn list(store: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(store)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jnl")?.parse().ok());
        journals.extend(number.map(|number| (number, store.join(name))));
    }
    journals.sort();
    Ok(journals)
}

/// One batch, without its contents.
struct Batch {
    sequence: u64,
    commit: u64,
    /// A commit that says itself that those before it are not in the journals.
    resumed: bool,
}

impl Batch {
    /// What is wrong with the batch after these others.
    fn follows(&self, last: Option<u64>, sequence: Option<u64>) -> Option<&'static str> {
        if self.sequence > LAST_SEQUENCE || sequence.is_some_and(|sequence| self.sequence <= sequence) {
            Some("a batch is out of order")
        } else if !self.resumed && last.is_some_and(|last| last.checked_add(1) != Some(self.commit)) {
            Some("commits are missing before it")
        } else {
            None
        }
    }
}

/// Why a batch cannot be read.
enum Stop {
    Broken(&'static str),
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Reader {
    input: BufReader<File>,
    /// Bytes read, and bytes in the file.
    at: u64,
    len: u64,
    /// The item at hand.
    item: Vec<u8>,
}

impl Reader {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { input: BufReader::with_capacity(1 << 18, file), at: 0, len, item: Vec::new() })
    }

    /// The next batch; `None` at the end.
    fn batch(&mut self) -> Result<Option<Batch>, Stop> {
        if self.at == self.len {
            return Ok(None);
        }
        let [tag] = self.take()?;
        if tag == 0 {
            return self.zeros().map(|()| None);
        }
        if tag != START {
            return Err(Stop::Broken("there is no batch"));
        }
        let count = u32::from_le_bytes(self.take()?);
        let sequence = u64::from_le_bytes(self.take()?);
        let (mut check, mut commit, mut resumed) = (Xxh3::new(), None, false);
        for _ in 0..count {
            let (key, value) = self.item()?;
            check.update(&self.item);
            match &self.item[key.clone()] {
                LAST_COMMIT => commit = self.item[value].try_into().ok().map(u64::from_be_bytes),
                RESUMED => resumed = true,
                _ => {}
            }
        }
        let [tag] = self.take()?;
        let sum = u64::from_le_bytes(self.take()?);
        if tag != END || self.take::<4>()? != TRAILER {
            return Err(Stop::Broken("a batch has no end"));
        }
        if sum != check.digest() {
            return Err(Stop::Broken("a checksum is wrong"));
        }
        match commit {
            Some(commit) => Ok(Some(Batch { sequence, commit, resumed })),
            None => Err(Stop::Broken("a batch without the number of its commit")),
        }
    }

    /// Reads an item into `self.item`, and says where in it key and value are.
    fn item(&mut self) -> Result<(std::ops::Range<usize>, std::ops::Range<usize>), Stop> {
        let head: [u8; 21] = self.take()?;
        if head[0] != ITEM || head[2] != 0 {
            return Err(Stop::Broken("a batch has too few items"));
        }
        let key = usize::from(u16::from_le_bytes([head[11], head[12]]));
        let stored = u32::from_le_bytes([head[17], head[18], head[19], head[20]]);
        let rest = key as u64 + u64::from(stored);
        if rest > self.len - self.at {
            return Err(Stop::Broken("the file ends within a batch"));
        }
        let value = head.len() + key;
        self.item.resize(value + stored as usize, 0);
        self.item[..head.len()].copy_from_slice(&head);
        self.input.read_exact(&mut self.item[head.len()..])?;
        self.at += rest;
        Ok((head.len()..value, value..self.item.len()))
    }

    /// Nothing but zeros follows: the engine makes journals larger than their contents.
    fn zeros(&mut self) -> Result<(), Stop> {
        let mut block = vec![0; 1 << 18];
        loop {
            let read = self.input.read(&mut block)?;
            if read == 0 {
                return Ok(());
            }
            if block[..read].iter().any(|byte| *byte != 0) {
                return Err(Stop::Broken("there is no batch, but something after it"));
            }
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        if self.len - self.at < N as u64 {
            return Err(Stop::Broken("the file ends within a batch"));
        }
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }
}
