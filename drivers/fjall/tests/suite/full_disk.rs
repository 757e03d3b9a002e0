//! Disks that do not take any more: the failure has the system's words, and nothing is half applied.

use std::path::Path;
use std::process::Command;

use driftless::store::{Fault, Store};
use driftless_fjall::{FjallStore, Options, open};

use crate::history::{self, Home};
use crate::process;

/// Commits until the disk refuses; gives the failure, and the last commit that was durable.
fn fill(store: &mut FjallStore) -> (Fault, u64) {
    let mut syncer = store.syncer();
    let mut durable = 0;
    loop {
        let n = store.seq().0 + 1;
        let step = store.apply(&history::commit(n)).and_then(|()| {
            if n.is_multiple_of(100) {
                durable = syncer()?.0;
            }
            Ok(())
        });
        if let Err(fault) = step {
            assert_eq!(
                store.apply(&history::commit(n)),
                Err(fault.clone()),
                "nothing is written after a failure"
            );
            assert_eq!(syncer(), Err(fault.clone()), "nothing is durable after a failure");
            return (fault, durable);
        }
    }
}

fn options(home: &Path, memtable_bytes: u64) -> Options {
    Options::new().state_dir(home.join("state")).memtable_bytes(memtable_bytes)
}

/// Runs a role, and says whether the machine lets it.
fn run(script: &str, role: &str, home: &Path) -> Option<String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(std::env::current_exe().unwrap());
    let mut child = process::start_with(shell, role, home);
    let lines: Vec<_> = process::hear(child.stdout.take().unwrap()).collect();
    if lines.is_empty() {
        println!("not run: this machine does not let `{script}`");
        child.wait().unwrap();
        return None;
    }
    assert!(child.wait().unwrap().success(), "{lines:?}");
    lines.into_iter().nth(1)
}

#[test]
#[cfg(unix)]
fn a_file_that_may_not_grow_is_a_named_failure() {
    let home = Home::new();
    // The limit is just above the size that the engine gives its journals when it makes them, and nothing is
    // sorted into other files before.
    let script = "trap '' XFSZ; ulimit -f $((65 * 1024 * 1024 / 512)) && exec \"$@\"";
    let Some(words) = run(script, "full_disk::writer_of_a_journal", &home.path("")) else { return };
    assert!(words.contains("File too large") || words.contains("in the background failed"), "{words}");
    let opened = home.open().unwrap();
    assert_eq!(opened.doubt, None);
    history::verify(&opened.store).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_a_named_failure_and_the_store_opens_again_once_there_is_space() {
    let home = Home::new();
    std::fs::create_dir_all(home.path("disk")).unwrap();
    let script = "exec unshare -rm sh -c 'mount -t tmpfs -o size=96m tmpfs \"$DRIFTLESS_TEST_DIR\" && exec \"$@\"' sh \"$@\"";
    let Some(words) = run(script, "full_disk::writer", &home.path("disk")) else { return };
    assert!(words.contains("No space left") || words.contains("in the background failed"), "{words}");
}

#[test]
#[ignore = "a role that other tests start as a process"]
fn writer() {
    write_until_refused(16 << 20);
}

#[test]
#[ignore = "a role that other tests start as a process"]
fn writer_of_a_journal() {
    write_until_refused(1 << 30);
}

fn write_until_refused(memtable_bytes: u64) {
    let Some(home) = process::dir() else { return };
    let ballast = home.join("ballast");
    std::fs::write(&ballast, vec![1; 16 << 20]).unwrap();
    let mut store = open(&home.join("data"), options(&home, memtable_bytes)).unwrap().store;
    process::say("started");
    let (fault, durable) = fill(&mut store);
    let Fault::Store(words) = fault else { panic!("{fault}") };
    let applied = store.seq().0;
    drop(store);
    process::say(&words);

    std::fs::remove_file(ballast).unwrap();
    let store = open(&home.join("data"), options(&home, memtable_bytes)).unwrap().store;
    let shown = store.seq().0;
    // The commit that failed may have reached the disk all the same, but never a part of it.
    assert!((durable..=applied + 1).contains(&shown), "{durable} durable, {applied} applied, {shown} shown");
    history::verify(&store).unwrap();
}
