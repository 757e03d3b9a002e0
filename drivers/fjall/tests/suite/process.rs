//! Roles that this binary plays as a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

const DIR: &str = "DRIFTLESS_TEST_DIR";

/// Starts the test of this name, which is a role, on a directory.
pub(crate) fn start(role: &str, dir: &Path) -> Child {
    start_with(Command::new(std::env::current_exe().unwrap()), role, dir)
}

/// The same, with a command that runs this binary, given as its last arguments.
pub(crate) fn start_with(mut command: Command, role: &str, dir: &Path) -> Child {
    command
        .args(["--exact", role, "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The directory that this process, which plays a role, was given.
pub(crate) fn dir() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// Tells the parent something.
pub(crate) fn say(words: &str) {
    let mut out = std::io::stdout().lock();
    // The parent may be gone, or have stopped listening.
    let _ = writeln!(out, "\n> {words}").and_then(|()| out.flush());
}

/// What a child says, line by line. Lines of the test framework are left out.
pub(crate) fn hear(out: ChildStdout) -> impl Iterator<Item = String> {
    BufReader::new(out)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("> ").map(Into::into))
}

/// A number that the environment may set, for longer or other runs.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
