//! A look at the engine's sorted files before it opens them.
//!
//! The engine asks for memory by numbers that it has read but not verified. Where such a number is damaged
//! it asks for more than there is, and then the process ends: no error, and nothing to catch. This module
//! reads the same numbers first, and compares them with checksums and with the sizes of the files:
//!
//! - The list of files (`v`) is compared as a whole with the checksum in `current`, which the engine writes
//!   but does not read. So a wrong count in it is found, and any other damage of it too.
//! - Each file on that list must end in a table of contents that has the checksum in the file's trailer, and
//!   that names nothing outside the file. Files that are not on the list are what a crash left half written;
//!   the engine removes them.
//! - The references of a table to files of large values have no checksum. Their number must fit their size.
//!
//! Everything else in these files has a checksum that the engine verifies before it believes a length, or a
//! length of at most 4 GiB.
//!
//! ```text
//!   keyspaces/N/current    list:u64 check:u128 type:u8                     check: of all of the file vLIST
//!   keyspaces/N/vLIST      an archive; sections `tables` and `blob_files` list the files
//!   keyspaces/N/tables/ID  an archive; section `linked_blob_files`, if any: count:u32 (u64 u64 u64 u64)*count
//!   keyspaces/N/blobs/ID   an archive
//!
//!   archive    := sections.. contents trailer
//!   contents   := "TOC!" count:u32 (position:u64 length:u64 name:u16 name..)*count
//!   trailer    := "SFA!" 1 0 check:u128 position:u64 length:u64            check: of the contents
//!   tables     := levels:u8 (runs:u8 (count:u32 (id:u64 0 check:u128 sequence:u64)*count)*runs)*levels
//!   blob_files := count:u32 (id:u64 0 check:u128)*count
//! ```
//!
//! Numbers are little-endian; checks are XXH3 of 128 bits.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// The directory of the keyspaces in that of the store.
pub(crate) const KEYSPACES: &str = "keyspaces";
/// The keyspaces: the engine's own, and ours.
pub(crate) const NAMES: [&str; 2] = ["0", "1"];

const TRAILER: u64 = 38;
const TRAILER_START: &[u8] = b"SFA!\x01\x00";
const CONTENTS_START: &[u8] = b"TOC!";
/// Bytes of a table's reference to a file of large values.
const REFERENCE: u64 = 32;
/// What follows the id of a table, and of a file of large values, in a list of files.
const AFTER_TABLE: usize = 25;
const AFTER_BLOBS: usize = 17;

/// What speaks against opening the files.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// In which file.
    pub(crate) path: PathBuf,
    pub(crate) why: Why,
}

#[derive(Debug)]
pub(crate) enum Why {
    /// It is not as it was written.
    Broken(&'static str),
    /// The system refused to read it.
    Io(io::Error),
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Broken("the file is missing"),
            io::ErrorKind::UnexpectedEof => Self::Broken("the file is too short"),
            _ => Self::Io(error),
        }
    }
}

/// Looks at the sorted files of all keyspaces. It changes nothing.
pub(crate) fn check(store: &Path) -> Result<(), Trouble> {
    for name in NAMES {
        let keyspace = store.join(KEYSPACES).join(name);
        let list = at(keyspace.join("current"), current)?;
        let files = at(keyspace.join(format!("v{}", list.number)), |path| list.read(path))?;
        for id in files.tables {
            at(keyspace.join("tables").join(id.to_string()), table)?;
        }
        for id in files.blobs {
            at(keyspace.join("blobs").join(id.to_string()), |path| Archive::open(path).map(drop))?;
        }
    }
    Ok(())
}

/// Adds to what is wrong in which file it is.
fn at<T>(path: PathBuf, look: impl FnOnce(&Path) -> Result<T, Why>) -> Result<T, Trouble> {
    look(&path).map_err(|why| Trouble { path, why })
}

/// Which list of files is in force.
struct List {
    number: u64,
    check: u128,
}

/// The tables and the files of large values that are in use.
struct Files {
    tables: Vec<u64>,
    blobs: Vec<u64>,
}

fn current(path: &Path) -> Result<List, Why> {
    let mut bytes = [0; 25];
    let mut file = File::open(path)?;
    if file.metadata()?.len() != bytes.len() as u64 {
        return Err(Why::Broken("the file has the wrong size"));
    }
    file.read_exact(&mut bytes)?;
    let mut fields = Fields(&bytes);
    let (number, check) = (fields.u64()?, fields.u128()?);
    if fields.0 != [0] {
        return Err(Why::Broken("it names a checksum of another kind"));
    }
    Ok(List { number, check })
}

impl List {
    fn read(&self, path: &Path) -> Result<Files, Why> {
        if check_of(File::open(path)?)? != self.check {
            return Err(Why::Broken("it has another checksum than the file `current` says"));
        }
        let archive = Archive::open(path)?;
        let tables = archive.read("tables")?;
        let blobs = archive.read("blob_files")?;
        Ok(Files { tables: tables_in(&tables)?, blobs: ids(&mut Fields(&blobs), AFTER_BLOBS)? })
    }
}

fn tables_in(section: &[u8]) -> Result<Vec<u64>, Why> {
    let mut fields = Fields(section);
    let mut tables = Vec::new();
    for _ in 0..fields.u8()? {
        for _ in 0..fields.u8()? {
            tables.extend(ids(&mut fields, AFTER_TABLE)?);
        }
    }
    Ok(tables)
}

/// A count and so many ids, each with `rest` bytes after it. The vector grows with what is there.
fn ids(fields: &mut Fields<'_>, rest: usize) -> Result<Vec<u64>, Why> {
    let mut ids = Vec::new();
    for _ in 0..fields.u32()? {
        ids.push(fields.u64()?);
        fields.take(rest)?;
    }
    Ok(ids)
}

fn table(path: &Path) -> Result<(), Why> {
    let archive = Archive::open(path)?;
    let Some(section) = archive.section("linked_blob_files") else { return Ok(()) };
    let mut file = &archive.file;
    file.seek(SeekFrom::Start(section.position))?;
    let mut count = [0; 4];
    file.read_exact(&mut count)?;
    if section.length != 4 + REFERENCE * u64::from(u32::from_le_bytes(count)) {
        return Err(Why::Broken("the number of its references to large values does not fit their size"));
    }
    Ok(())
}

/// A file with sections, of which the table of contents is as it was written.
struct Archive {
    file: File,
    sections: Vec<Section>,
}

struct Section {
    name: Vec<u8>,
    position: u64,
    length: u64,
}

impl Archive {
    fn open(path: &Path) -> Result<Self, Why> {
        let mut file = File::open(path)?;
        let end = file.metadata()?.len().checked_sub(TRAILER).ok_or(Why::Broken("the file is too short"))?;
        file.seek(SeekFrom::Start(end))?;
        let mut trailer = [0; TRAILER as usize];
        file.read_exact(&mut trailer)?;
        let mut fields = Fields(&trailer);
        if fields.take(TRAILER_START.len())? != TRAILER_START {
            return Err(Why::Broken("it has no trailer"));
        }
        let (check, position, length) = (fields.u128()?, fields.u64()?, fields.u64()?);
        // This also limits what is read now to the size of the file.
        if position.checked_add(length) != Some(end) {
            return Err(Why::Broken("its trailer points to a wrong place"));
        }
        file.seek(SeekFrom::Start(position))?;
        if check_of((&file).take(length))? != check {
            return Err(Why::Broken("its table of contents has a wrong checksum"));
        }
        file.seek(SeekFrom::Start(position))?;
        let mut contents = Vec::new();
        (&file).take(length).read_to_end(&mut contents)?;
        Ok(Self { file, sections: sections(&contents, position)? })
    }

    fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name.as_bytes())
    }

    /// The bytes of a section that must be there.
    fn read(&self, name: &str) -> Result<Vec<u8>, Why> {
        let section = self.section(name).ok_or(Why::Broken("a section is missing"))?;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(section.position))?;
        let mut bytes = Vec::new();
        file.take(section.length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Reads a table of contents; all that it names must be before `end`.
fn sections(contents: &[u8], end: u64) -> Result<Vec<Section>, Why> {
    let mut fields = Fields(contents);
    if fields.take(CONTENTS_START.len())? != CONTENTS_START {
        return Err(Why::Broken("it has no table of contents"));
    }
    let mut sections = Vec::new();
    for _ in 0..fields.u32()? {
        let (position, length) = (fields.u64()?, fields.u64()?);
        let name = usize::from(fields.u16()?);
        let name = fields.take(name)?.to_vec();
        if position.checked_add(length).is_none_or(|last| last > end) {
            return Err(Why::Broken("a section points beyond the file"));
        }
        sections.push(Section { name, position, length });
    }
    Ok(sections)
}

/// The checksum of all that can be read.
fn check_of(mut input: impl Read) -> io::Result<u128> {
    let mut check = Xxh3::new();
    let mut block = vec![0; 1 << 14];
    loop {
        match input.read(&mut block)? {
            0 => return Ok(check.digest128()),
            read => check.update(&block[..read]),
        }
    }
}

/// Fields one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Why> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(Why::Broken("a length points beyond its section"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Why> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, Why> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, Why> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Why> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Why> {
        self.array().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Result<u128, Why> {
        self.array().map(u128::from_le_bytes)
    }
}
