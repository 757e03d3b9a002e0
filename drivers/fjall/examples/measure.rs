//! Measures the store: how fast rows are written, and how fast a store of many rows opens.
//!
//! ```text
//! cargo run --release -p driftless-fjall --example measure [ROWS] [DIRECTORY]
//! ```
//!
//! A row is one commit of three writes of 100 bytes, as the core makes them: an entry of the log, a head, and
//! a value that is there for each syncgroup. The directory should be on the disk that is to be measured.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures time")]

use std::error::Error;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Instant;

use driftless::CommitSeq;
use driftless::store::{Commit, Scan, Store, Table, View, Write};
use driftless_fjall::{FjallStore, Options, open};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let rows: u64 = args.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let root = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let root = root.join(format!("driftless-measure-{}", std::process::id()));
    let result = measure(rows, &root);
    std::fs::remove_dir_all(&root)?;
    result
}

fn measure(rows: u64, root: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let options = || Options::new().state_dir(root.join("state"));
    let dir = root.join("data");

    let mut store = open(&dir, options())?.store;
    let mut syncer = store.syncer();
    let start = Instant::now();
    for n in 1..=rows {
        store.apply(&row(n))?;
        if n % 1_000 == 0 {
            syncer()?;
        }
    }
    rate("rows written, synced every 1,000 by the same thread", rows, start);
    syncer()?;
    drop((store, syncer));

    let start = Instant::now();
    let store = open(&dir, options())?.store;
    println!("{:>12.3} s   to open {rows} rows after a clean end", start.elapsed().as_secs_f64());
    read(&store, rows)?;
    drop(store);
    let start = Instant::now();
    let store = open(&dir, options())?.store;
    println!("{:>12.3} s   to open them once more", start.elapsed().as_secs_f64());
    drop(store);
    grouped(open(&dir, options())?.store, rows / 4)
}

fn read(store: &FjallStore, rows: u64) -> Result<(), Box<dyn Error>> {
    let view = store.snapshot();
    let start = Instant::now();
    let gets = 100_000.min(rows);
    for n in 0..gets {
        view.get(Table::Row, &key(n * (rows / gets) + 1))?.ok_or("a row is missing")?;
    }
    rate("rows read one by one", gets, start);
    let (start, mut found) = (Instant::now(), 0);
    view.scan(&Scan::all(Table::Row), &mut |_, _| {
        found += 1;
        ControlFlow::Continue(())
    })?;
    rate("rows read in one scan", found, start);
    Ok(())
}

/// The same writes, with a thread that syncs whenever there is something new.
fn grouped(mut store: FjallStore, rows: u64) -> Result<(), Box<dyn Error>> {
    let (wake, waits) = mpsc::channel::<CommitSeq>();
    let mut syncer = store.syncer();
    let syncing = std::thread::spawn(move || {
        let (mut syncs, mut durable) = (0u64, CommitSeq(0));
        for applied in waits {
            if applied > durable {
                durable = syncer()?;
                syncs += 1;
            }
        }
        Ok::<_, driftless::Fault>(syncs)
    });
    let (start, first) = (Instant::now(), store.seq().0 + 1);
    for n in first..first + rows {
        store.apply(&row(n))?;
        wake.send(CommitSeq(n))?;
    }
    drop(wake);
    let syncs = syncing.join().map_err(|_| "the syncing thread stopped")??;
    rate("rows written, synced all the time by another thread", rows, start);
    println!("{:>12.1}     rows in a sync on average", rows as f64 / syncs.max(1) as f64);
    Ok(())
}

fn rate(what: &str, n: u64, start: Instant) {
    println!("{:>12.0} /s  {what}", n as f64 / start.elapsed().as_secs_f64());
}

/// Keys in no order, as those of applications are.
fn key(n: u64) -> [u8; 16] {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mixed.to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

fn row(n: u64) -> Commit {
    let value = [n as u8; 100];
    let writes = vec![
        Write::put(Table::Log, &n.to_be_bytes(), &value),
        Write::put(Table::Row, &key(n), &value),
        Write::put(Table::Tip, b"syncgroup", &value),
    ];
    Commit { seq: CommitSeq(n), writes }
}
