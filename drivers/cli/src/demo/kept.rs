//! What the demo leaves behind, and the commands to look at it and to remove it, as they can be pasted.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use driftless::Name;

use super::COLLECTION;
use crate::text::quoted;

/// The database that commands use if they are told none.
const DEFAULT_DATABASE: &str = "default";

/// Where the replicas of a demo note what must not mix with what the user's own replicas note.
pub(super) fn state_dir(root: &Path) -> PathBuf {
    root.join("state")
}

/// The directory that holds all replicas of a demo, and stays.
#[derive(Debug)]
pub(super) struct Kept {
    root: PathBuf,
    /// This command, as a shell finds it.
    program: String,
    database: Name,
}

impl Kept {
    pub(super) fn new(root: PathBuf, database: &Name) -> Self {
        Self { root, program: program(), database: database.clone() }
    }

    /// The commands that show the rows and the state of the replica in a directory.
    pub(super) fn look(&self, dir: &Path) -> [String; 2] {
        let database = match self.database.as_str() {
            DEFAULT_DATABASE => String::new(),
            other => format!(" --db {}", quoted(OsStr::new(other))),
        };
        let (state, dir) = (self.state(), quoted(dir.as_os_str()));
        let command = |what: &str| format!("{state}{} --dir {dir}{what}", self.program);
        [command(&format!("{database} scan {COLLECTION}")), command(" status")]
    }

    /// The command that removes everything.
    pub(super) fn remove(&self) -> String {
        let root = quoted(self.root.as_os_str());
        if cfg!(windows) { format!("Remove-Item -Recurse -Force {root}") } else { format!("rm -rf {root}") }
    }

    /// With the same state directory a replica goes on as what it was, and nothing of it is left elsewhere. Where
    /// a command cannot be given a variable of its own, it is left out: then the replica goes on as a new
    /// incarnation, which shows the same.
    fn state(&self) -> String {
        if cfg!(windows) {
            return String::new();
        }
        format!("XDG_STATE_HOME={} ", quoted(state_dir(&self.root).as_os_str()))
    }
}

/// The name of this command where a shell finds this very file by it, or else its path.
fn program() -> String {
    let Ok(running) = std::env::current_exe() else { return "driftless".to_owned() };
    let name = running.file_name().unwrap_or(OsStr::new("driftless"));
    let search = std::env::var_os("PATH").unwrap_or_default();
    // The first file of the name is the one that a shell takes.
    let found = std::env::split_paths(&search).map(|dir| dir.join(name)).find(|path| path.is_file());
    let same = |found: PathBuf| match (found.canonicalize(), running.canonicalize()) {
        (Ok(found), Ok(running)) => found == running,
        _ => false,
    };
    if found.is_some_and(same) { quoted(name) } else { called(quoted(running.as_os_str())) }
}

/// PowerShell takes a quoted path for a text unless it is told to call it.
fn called(program: String) -> String {
    if cfg!(windows) && program.starts_with('\'') { format!("& {program}") } else { program }
}
