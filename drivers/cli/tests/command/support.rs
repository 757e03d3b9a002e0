//! Homes for devices, and the command run in them.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use driftless_fjall::Passphrase;
use driftless_tokio::{Node, Options, StoreOptions};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take, on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A place for data directories that nobody else sees.
pub(crate) struct Home {
    root: TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// A home with a device in it that has a syncgroup and a collection `notes`.
    pub(crate) fn with_notes() -> Self {
        let home = Self::new();
        home.run(["syncgroup", "create", "notes"]).ok();
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.program(env!("CARGO_BIN_EXE_driftless"), args)
    }

    /// Any program, in this home.
    pub(crate) fn program<S: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.root.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("DRIFTLESS_DIR", self.dir())
            .args(args)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        run(&mut self.command(args))
    }

    pub(crate) fn run_with_input<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Ran {
        let mut command = self.command(args);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        // A command that needs no more of its input may have closed it.
        let _ = child.stdin.take().unwrap().write_all(input);
        finish(child)
    }

    /// Starts a server that ends with this test.
    pub(crate) fn serve(&self) -> Server {
        self.serve_at(&self.dir())
    }

    /// Starts one that takes the passphrase of its key from a file.
    pub(crate) fn serve_unlocked(&self, file: &str) -> Server {
        self.serve_with(&self.dir(), &["--passphrase-file", file])
    }

    /// Another device, a member of the syncgroup `notes` of this one, which must be served.
    pub(crate) fn joined(&self, options: &[&str]) -> Self {
        let there = Self::new();
        there.run(["init"]).ok();
        there.run(["syncgroup", "join", &invitation(self, options)]).ok();
        there
    }

    pub(crate) fn serve_at(&self, dir: &Path) -> Server {
        self.serve_with(dir, &[])
    }

    /// Starts a server that is told where that of another device listens now.
    pub(crate) fn serve_beside(&self, other: &Self) -> Server {
        let status = other.run(["status", "--json"]).json().remove(0);
        let device = status["device"].as_str().unwrap();
        let peer = format!("--peer={device}@{}", status["addresses"][0].as_str().unwrap());
        self.serve_with(&self.dir(), &[&peer])
    }

    /// Starts one that takes part in whatever the device of this key publishes there.
    pub(crate) fn serve_hosting(&self, key: &str) -> Server {
        self.serve_with(&self.dir(), &["--host", key])
    }

    pub(crate) fn serve_with(&self, dir: &Path, more: &[&str]) -> Server {
        let args = ["serve", "--listen", "127.0.0.1:0", "--no-discovery", "--until-stdin-ends"];
        let mut command = self.command(args);
        let log = std::fs::File::options().create(true).append(true).open(self.path("serve.log")).unwrap();
        command.args(more).arg("--dir").arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut lines = Lines::new(child.stdout.take().unwrap());
        // Its first line comes when it answers.
        assert!(lines.next().is_some_and(|line| line.starts_with("device ")), "the server did not start");
        Server { child, _lines: lines }
    }
}

/// An invitation to the syncgroup `notes`.
pub(crate) fn invitation(home: &Home, options: &[&str]) -> String {
    home.run(["syncgroup", "invite", "notes"].iter().chain(options)).ok().trim().to_owned()
}

/// Opens a data directory, as an application would. No server may run there.
pub(crate) async fn open(home: &Home) -> Node {
    open_by(home, None).await
}

/// The same where the key is locked by a passphrase.
pub(crate) async fn open_by(home: &Home, passphrase: Option<&str>) -> Node {
    let store = StoreOptions::new().state_dir(home.path("state").join("driftless"));
    let passphrase = passphrase.map(|text| Passphrase::new(text).unwrap());
    let store = passphrase.into_iter().fold(store, StoreOptions::passphrase);
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let options = Options { discovery: false, listen, store, ..Options::default() };
    Node::open(home.dir(), options).unwrap()
}

/// Writes rows of several collections by one batch, as an application would. No server may run there.
pub(crate) fn write_batch(home: &Home, rows: &[(&str, &str, &'static str)]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let node = open(home).await;
        let database = node.database("default").unwrap();
        let mut batch = database.batch();
        for (collection, key, value) in rows {
            batch.put(&database.collection(collection).unwrap(), key, *value);
        }
        batch.commit().await.unwrap();
        node.shutdown().await;
    });
}

/// Asks until the answer is right: others need their time.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The same with a server and without one.
pub(crate) fn both_ways(test: impl Fn(&Home)) {
    test(&Home::with_notes());
    let home = Home::with_notes();
    let _server = home.serve();
    test(&home);
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{stderr}");
    Ran { status: output.status, stdout: output.stdout, stderr }
}

impl Ran {
    /// The output of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{}\n{}", self.status, self.stderr);
        String::from_utf8(self.stdout).unwrap()
    }

    /// The error of a command that must have ended with a status.
    #[track_caller]
    pub(crate) fn failed(self, status: i32) -> String {
        assert_eq!(self.status.code(), Some(status), "{}", self.stderr);
        assert!(!self.stderr.is_empty(), "it failed without a word");
        self.stderr
    }

    /// The output as JSON Lines.
    #[track_caller]
    pub(crate) fn json(self) -> Vec<Value> {
        let text = self.ok();
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        text.lines().map(parse).collect()
    }
}

/// A running `serve`. Dropping it ends it in good order.
pub(crate) struct Server {
    child: Child,
    /// Kept, so that the server can write.
    _lines: Lines,
}

impl Server {
    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it in good order, by a signal.
    #[cfg(unix)]
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a process as they come, each waited for only so long.
pub(crate) struct Lines(std::sync::mpsc::Receiver<String>);

impl Lines {
    pub(crate) fn new(stdout: ChildStdout) -> Self {
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self(lines)
    }

    pub(crate) fn next(&mut self) -> Option<String> {
        self.0.recv_timeout(PATIENCE).ok()
    }
}
