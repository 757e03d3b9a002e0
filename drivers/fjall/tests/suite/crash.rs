//! A process that writes all the time is killed at random moments (S-10).

use std::time::Duration;

use driftless::store::Store;
use driftless_fjall::{Options, open};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::history::{self, Home};
use crate::process;

/// Kills of the normal test; `DRIFTLESS_CRASHES` asks for more, `DRIFTLESS_SEED` for other moments.
const CRASHES: u64 = 40;

#[test]
fn a_killed_process_leaves_a_prefix_that_holds_all_that_it_called_durable() {
    let seed = process::number("DRIFTLESS_SEED", 1);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let home = Home::new();
    let (mut last, mut continued) = (0, 0);
    for crash in 0..process::number("DRIFTLESS_CRASHES", CRASHES) {
        let mut child = process::start("crash::writer", &home.path(""));
        let lines = process::hear(child.stdout.take().unwrap());
        let mut durable = lines.filter_map(|line| line.parse::<u64>().ok());
        let mut heard = 0;
        // Most are killed at work, some while they open the directory.
        if crash % 5 == 0 {
            std::thread::sleep(Duration::from_micros(u64::from(rng.next_u32() % 20_000)));
        } else {
            // By what is durable and not by time: on a busy machine there is as much to lose.
            let goal = last + 1 + u64::from(rng.next_u32()) % 200;
            while heard < goal {
                heard = durable.next().unwrap_or_else(|| panic!("the writer ended at {heard}"));
            }
        }
        std::thread::sleep(Duration::from_micros(u64::from(rng.next_u32() % 10_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let durable = durable.max().unwrap_or(0).max(heard);

        let opened = home.open().unwrap_or_else(|error| panic!("seed {seed}, crash {crash}: {error}"));
        let shown = opened.store.seq().0;
        assert!(shown >= durable.max(last), "seed {seed}, crash {crash}: {shown}, but {durable} was durable");
        history::verify(&opened.store).unwrap();
        continued += u64::from(opened.doubt.is_none());
        last = shown;
    }
    println!("{last} commits, {continued} of the openings after a kill continued");
    assert!(last > 1_000, "the crashes left the writer too little time: {last} commits");
    assert!(continued > 0, "a crash at work is no reason for doubt");
}

#[test]
#[ignore = "a role that another test starts as a process"]
fn writer() {
    let Some(home) = process::dir() else { return };
    let options = Options::new().state_dir(home.join("state")).memtable_bytes(256 << 10);
    let mut store = open(&home.join("data"), options).unwrap().store;
    let mut syncer = store.syncer();
    std::thread::spawn(move || {
        loop {
            process::say(&syncer().unwrap().0.to_string());
        }
    });
    loop {
        history::extend(&mut store, 1);
    }
}
