//! Damage of the files: what a power failure leaves is mended without a word, what was durable is missed by
//! name, and nothing wrong is ever shown.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use driftless::store::Store;
use driftless::{CommitSeq, Continuity};
use driftless_fjall::{OpenError, Options, open};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::history::{Home, copy, extend, verify};
use crate::process;

/// The journal that is written to, with the number of bytes in use.
fn journal(data: &Path) -> (PathBuf, u64) {
    let mut journals: Vec<_> = fs::read_dir(data.join("store"))
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let number = path.file_name()?.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok()?;
            Some((number, path))
        })
        .collect();
    journals.sort();
    let (_, path) = journals.pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    (path, used)
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

fn range(rng: &mut ChaCha8Rng, from: u64, to: u64) -> u64 {
    from + rng.next_u64() % (to - from)
}

#[test]
fn whatever_a_power_failure_does_to_what_was_not_durable_is_mended() {
    let home = Home::new();
    let options = || Options::new().state_dir(home.state());
    let mut store = open(&home.data(), options()).unwrap().store;
    extend(&mut store, 400);
    store.syncer()().unwrap();
    let (_, durable) = journal(&home.data());
    extend(&mut store, 300);
    drop(store);
    let (path, end) = journal(&home.data());
    assert!(end > durable);
    // The mark as it was at the last sync.
    let name = path.file_name().unwrap().to_owned();
    copy(&home.data(), &home.path("kept"));

    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut torn = 0;
    for round in 0..60 {
        fs::remove_dir_all(home.data()).unwrap();
        copy(&home.path("kept"), &home.data());
        let journal = home.data().join("store").join(&name);
        let at = range(&mut rng, durable, end);
        match round % 4 {
            0 => File::options().write(true).open(&journal).unwrap().set_len(at).unwrap(),
            1 => overwrite(&journal, at, &vec![0; (end - at) as usize]),
            2 => overwrite(&journal, at, &vec![0; 4096.min(end - at) as usize]),
            _ => overwrite(&journal, at, &at.to_le_bytes()),
        }
        let opened = open(&home.data(), options()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(opened.store.seq() >= CommitSeq(400));
        torn += u64::from(opened.store.seq() < CommitSeq(700));
        verify(&opened.store).unwrap();
        assert!(!home.data().join("damaged").exists());
        let mut store = opened.store;
        extend(&mut store, 5);
        drop(store);
        verify(&open(&home.data(), options()).unwrap().store).unwrap();
    }
    assert!(torn > 40, "the damage did nothing: {torn}");
}

#[test]
fn what_cannot_be_read_is_kept_where_nothing_before_it_tells_whether_it_was_durable() {
    let home = Home::with_commits(100);
    let (path, used) = journal(&home.data());
    // No commit can be read, and nothing tells whether one was durable, but for the mark.
    overwrite(&path, 0, &[9]);
    let error = home.open().unwrap_err();
    let expected = matches!(error, OpenError::SetBack { durable: CommitSeq(100), .. });
    assert!(expected, "{error}");
    // What could not be read is kept.
    let kept: Vec<_> = fs::read_dir(home.data().join("damaged")).unwrap().collect();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].as_ref().unwrap().metadata().unwrap().len() >= used);
}

#[test]
fn a_damaged_byte_in_durable_commits_is_named_and_nothing_is_touched() {
    let home = Home::new();
    let options = || Options::new().state_dir(home.state());
    let mut store = open(&home.data(), options()).unwrap().store;
    extend(&mut store, 400);
    store.syncer()().unwrap();
    drop(store);
    let (path, used) = journal(&home.data());
    let name = path.file_name().unwrap().to_owned();
    copy(&home.data(), &home.path("kept"));

    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for round in 0..40 {
        fs::remove_dir_all(home.data()).unwrap();
        copy(&home.path("kept"), &home.data());
        let journal = home.data().join("store").join(&name);
        let at = range(&mut rng, used / 10, used);
        let damaged = fs::read(&journal).unwrap()[at as usize] ^ (1 << (round % 8));
        overwrite(&journal, at, &[damaged]);
        let before = fs::read(&journal).unwrap();

        for _ in 0..2 {
            let error = open(&home.data(), options()).unwrap_err();
            let OpenError::Damaged { shown, durable, .. } = &error else { panic!("byte {at}: {error}") };
            assert!(*shown < *durable && *durable == CommitSeq(400), "{error}");
            let words = error.to_string();
            assert!(
                words.contains("byte") && words.contains("restore a backup, or accept the loss"),
                "{words}"
            );
        }
        assert!(fs::read(&journal).unwrap() == before, "the error changed the journal");

        let opened = open(&home.data(), options().accept_loss(true)).unwrap();
        assert_eq!(opened.identity.continuity, Continuity::Unknown);
        assert!(opened.store.seq() < CommitSeq(400));
        verify(&opened.store).unwrap();
        assert!(home.data().join("damaged").exists());
        drop(opened.store);
        verify(&open(&home.data(), options()).unwrap().store).unwrap();
    }
}

#[test]
fn after_an_accepted_loss_commits_go_on_although_the_journals_have_a_gap() {
    // Small memtables: the sorted files are ahead of the place where the journal is damaged.
    let home = Home::with_commits(2_000);
    let (path, used) = journal(&home.data());
    overwrite(&path, used / 4, &[0xee; 16]);
    assert!(matches!(home.open(), Err(OpenError::Damaged { .. })));
    let mut opened = open(&home.data(), home.options().accept_loss(true)).unwrap();
    let shown = opened.store.seq();
    verify(&opened.store).unwrap();
    for _ in 0..3 {
        extend(&mut opened.store, 20);
        opened.store.syncer()().unwrap();
        drop(opened);
        opened = home.open().unwrap();
        verify(&opened.store).unwrap();
    }
    assert_eq!(opened.store.seq(), CommitSeq(shown.0 + 60));
}

#[test]
fn damage_anywhere_is_an_error_or_harmless_and_never_shows_anything_wrong() {
    let home = Home::with_commits(3_000);
    // Opened once more, so that there are several generations of files.
    drop(home.open().unwrap());
    copy(&home.data(), &home.path("kept"));
    let mut files = Vec::new();
    list(&home.path("kept"), &mut files);
    let mut rng = ChaCha8Rng::seed_from_u64(process::number("DRIFTLESS_SEED", 7));
    let rounds = process::number("DRIFTLESS_DAMAGES", 200);
    let (mut named, mut faults, mut harmless) = (0, 0, 0);
    for round in 0..rounds {
        fs::remove_dir_all(home.data()).unwrap();
        copy(&home.path("kept"), &home.data());
        let file = &files[rng.next_u32() as usize % files.len()];
        let path = home.data().join(file.strip_prefix(home.path("kept")).unwrap());
        let what = damage(&path, &mut rng);
        match home.open() {
            Err(error) => {
                named += 1;
                let words = error.to_string();
                let next =
                    ["restore", "accept", "newer version", "choose"].iter().any(|step| words.contains(step));
                assert!(next, "round {round}, {what} of {}: no next step in: {words}", path.display());
            }
            Ok(opened) => match verify(&opened.store) {
                Ok(()) if opened.store.seq() == CommitSeq(3_000) => harmless += 1,
                Ok(()) => panic!("round {round}, {what} of {}: commits are missing", path.display()),
                Err(_) => faults += 1,
            },
        }
    }
    println!("{named} named when opening, {faults} found when reading, {harmless} harmless");
    assert!(named > 0 && faults > 0 && harmless > 0);
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
    files.sort();
}

/// Does something bad to a file, and says what.
fn damage(path: &Path, rng: &mut ChaCha8Rng) -> String {
    let len = fs::metadata(path).unwrap().len();
    let at = if len == 0 { 0 } else { range(rng, 0, len) };
    match rng.next_u32() % 6 {
        0 => {
            fs::remove_file(path).unwrap();
            "the removal".into()
        }
        1 => {
            File::options().write(true).open(path).unwrap().set_len(at).unwrap();
            format!("a cut at {at}")
        }
        2 => {
            overwrite(path, at, &vec![0; 512.min(len - at) as usize]);
            format!("zeros at {at}")
        }
        3 => {
            overwrite(path, at, &at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
            format!("garbage at {at}")
        }
        4 => {
            overwrite(path, len, b"garbage");
            "garbage at the end".into()
        }
        _ => {
            let flipped = fs::read(path).unwrap().get(at as usize).map_or(1, |byte| byte ^ (1 << (at % 8)));
            overwrite(path, at, &[flipped]);
            format!("a flipped bit at {at}")
        }
    }
}
