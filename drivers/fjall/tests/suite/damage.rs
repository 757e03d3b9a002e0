//! Damage of the files: what a power failure leaves is mended without a word, what was durable is missed by
//! name, and nothing wrong is ever shown.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use driftless::store::{Commit, Store, Table, Write};
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

/// The files in a place that may be missing, in order.
fn kept(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if dir.exists() {
        list(dir, &mut files);
    }
    files
}

#[test]
fn what_cannot_be_read_is_kept_where_nothing_before_it_tells_whether_it_was_durable() {
    let home = Home::new();
    // Large memtables: with small ones the engine may have sorted all commits to disk by now, and nothing
    // would be missed.
    let options = || Options::new().state_dir(home.state());
    let damaged = home.data().join("damaged");
    let mut store = open(&home.data(), options()).unwrap().store;
    // Twice: what is kept the second time does not replace what was.
    for times in 1..=2 {
        extend(&mut store, 100);
        store.syncer()().unwrap();
        drop(store);
        let (path, used) = journal(&home.data());
        // No commit can be read, and nothing tells whether one was durable, but for the mark.
        overwrite(&path, 0, &[9]);
        let before = fs::read(&path).unwrap();
        for read_only in [false, true, false] {
            let error = open(&home.data(), options().read_only(read_only)).unwrap_err();
            let expected = matches!(error, OpenError::SetBack { durable: CommitSeq(100), .. });
            assert!(expected, "{error}");
            assert!(fs::read(&path).unwrap() == before, "the error changed the journal");
            assert_eq!(kept(&damaged).len(), times - 1, "and nothing is kept that is where it was");
        }
        store = open(&home.data(), options().accept_loss(true)).unwrap().store;
        let kept = kept(&damaged);
        assert_eq!(kept.len(), times);
        for copy in kept {
            assert!(fs::metadata(copy).unwrap().len() >= used);
        }
    }
}

#[test]
fn after_an_accepted_loss_a_store_does_not_continue_though_its_marks_lag_behind() {
    let home = Home::new();
    let options = || Options::new().state_dir(home.state());
    let mut store = open(&home.data(), options()).unwrap().store;
    let device = mark_outside(&home);
    let marks = [home.data().join("mark"), home.state().join(device)];
    extend(&mut store, 5);
    store.syncer()().unwrap();
    let early = marks.each_ref().map(|mark| fs::read(mark).unwrap());
    extend(&mut store, 45);
    store.syncer()().unwrap();
    let (_, middle) = journal(&home.data());
    extend(&mut store, 50);
    store.syncer()().unwrap();
    drop(store);
    // The first journal holds half of the commits, and so was durable before the second was begun.
    let (first, used) = journal(&home.data());
    let number: u64 = first.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let second = first.with_file_name(format!("{}.jnl", number + 1));
    let bytes = fs::read(&first).unwrap();
    fs::write(&second, &bytes[middle as usize..used as usize]).unwrap();
    fs::write(&first, &bytes[..middle as usize]).unwrap();
    // A power failure has left the marks as the system had last written them by itself.
    for (mark, early) in marks.iter().zip(early) {
        fs::write(mark, early).unwrap();
    }
    overwrite(&first, middle / 2, &[0xee; 16]);
    assert!(matches!(open(&home.data(), options()), Err(OpenError::Damaged { .. })));

    for round in 0..3 {
        let opened = open(&home.data(), options().accept_loss(round == 0)).unwrap();
        let shown = opened.store.seq();
        assert!(CommitSeq(5) <= shown && shown < CommitSeq(50), "{shown:?}");
        assert_eq!(opened.identity.continuity, Continuity::Unknown, "round {round}: {:?}", opened.doubt);
        verify(&opened.store).unwrap();
        let kept = kept(&home.data().join("damaged"));
        let sizes: Vec<_> = kept.iter().map(|file| fs::metadata(file).unwrap().len()).collect();
        assert!(sizes.len() == 2 && sizes.contains(&(used - middle)), "{kept:?}: {sizes:?}");
    }
    // Once it has said under which name it goes on, it continues.
    let mut store = open(&home.data(), options()).unwrap().store;
    extend(&mut store, 1);
    store.syncer()().unwrap();
    drop(store);
    assert_eq!(open(&home.data(), options()).unwrap().identity.continuity, Continuity::Shown);
}

/// The name of the mark outside of the only device here.
fn mark_outside(home: &Home) -> std::ffi::OsString {
    fs::read_dir(home.state()).unwrap().next().unwrap().unwrap().file_name()
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
        let mut store = opened.store;
        extend(&mut store, 1);
        store.syncer()().unwrap();
        drop(store);
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
fn a_length_that_points_beyond_its_file_is_named_before_anything_is_made_of_it() {
    let home = with_sorted_files();
    copy(&home.data(), &home.path("kept"));
    let mut files = Vec::new();
    list(&home.path("kept").join("store").join("keyspaces"), &mut files);
    let mut seen = BTreeSet::new();
    for file in &files {
        let path = home.data().join(file.strip_prefix(home.path("kept")).unwrap());
        fs::remove_file(&path).unwrap();
        // Files that are out of use are not missed, and not read.
        let used = home.open().is_err();
        fs::remove_dir_all(home.data()).unwrap();
        copy(&home.path("kept"), &home.data());
        if used {
            seen.extend(expect_lengths_named(&home, &path));
        }
    }
    // Nothing was touched.
    verify(&home.open().unwrap().store).unwrap();
    let mut all = vec!["place of contents", "length of contents", "count of contents"];
    all.extend(["place of section", "length of section", "length of name"]);
    all.extend(["count of tables", "count of blob files", "count of statistics", "count of references"]);
    assert_eq!(seen, all.into_iter().collect());
}

/// A store of which some commits, with large values, are in sorted files.
fn with_sorted_files() -> Home {
    let home = Home::new();
    let tables = home.data().join("store").join("keyspaces").join("1").join("tables");
    loop {
        let mut store = home.open().unwrap().store;
        extend(&mut store, 100);
        store.syncer()().unwrap();
        drop(store);
        let mut files = Vec::new();
        list(&tables, &mut files);
        let large =
            |path| lengths(&fs::read(path).unwrap()).iter().any(|(what, ..)| *what == "count of references");
        if files.iter().any(large) {
            return home;
        }
    }
}

/// Damages each length in a file, and gives the names of those that were there.
fn expect_lengths_named(home: &Home, path: &Path) -> Vec<&'static str> {
    let bytes = fs::read(path).unwrap();
    let name = path.strip_prefix(home.data().join("store")).unwrap().display();
    let mut seen = Vec::new();
    for (what, at, size) in lengths(&bytes) {
        for huge in [[0xff; 8], [0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0]] {
            overwrite(path, at as u64, &huge[..size]);
            let Err(error) = home.open() else { panic!("{what} at {at} of {name} is not missed") };
            let words = error.to_string();
            assert!(matches!(error, OpenError::Unreadable { .. }), "{what} of {name}: {words}");
            assert!(words.contains(&format!("`{name}` is damaged")), "{what} of {name}: {words}");
            overwrite(path, at as u64, &bytes[at..at + size]);
        }
        seen.push(what);
    }
    seen
}

/// The lengths and counts in an archive of the engine, each with its place and its size; none in other files.
fn lengths(bytes: &[u8]) -> Vec<(&'static str, usize, usize)> {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let Some(trailer) = bytes.len().checked_sub(38).filter(|at| bytes[*at..].starts_with(b"SFA!")) else {
        return Vec::new();
    };
    let contents = number(trailer + 22);
    let mut found = vec![
        ("place of contents", trailer + 22, 8),
        ("length of contents", trailer + 30, 8),
        ("count of contents", contents + 4, 4),
    ];
    let mut at = contents + 8;
    while at < trailer {
        found.extend([
            ("place of section", at, 8),
            ("length of section", at + 8, 8),
            ("length of name", at + 16, 2),
        ]);
        let name = at + 18;
        let section = number(at);
        at = name + usize::from(u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]));
        match &bytes[name..at] {
            b"tables" => found.extend(counts_of_tables(bytes, section)),
            b"blob_files" => found.push(("count of blob files", section, 4)),
            b"blob_gc_stats" => found.push(("count of statistics", section, 4)),
            b"linked_blob_files" => found.push(("count of references", section, 4)),
            _ => {}
        }
    }
    found
}

/// The count of each run of tables, in whichever level it is: when the engine moves them down is its own affair.
fn counts_of_tables(bytes: &[u8], section: usize) -> Vec<(&'static str, usize, usize)> {
    const TABLE: usize = 8 + 1 + 16 + 8;
    let mut found = Vec::new();
    let mut at = section + 1;
    for _level in 0..bytes[section] {
        let runs = bytes[at];
        at += 1;
        for _run in 0..runs {
            found.push(("count of tables", at, 4));
            let tables = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            at += 4 + tables * TABLE;
        }
    }
    found
}

#[test]
fn a_missing_journal_is_missed_although_everything_is_in_sorted_files() {
    let home = with_sorted_files();
    let journals = fs::read_dir(home.data().join("store")).unwrap().map(|entry| entry.unwrap().path());
    for path in journals.filter(|path| path.extension().is_some_and(|ending| ending == "jnl")) {
        fs::remove_file(path).unwrap();
    }
    let error = home.open().unwrap_err();
    assert!(matches!(error, OpenError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("its journal is missing"), "{error}");
}

#[test]
fn a_sequence_number_that_leaves_none_for_later_batches_is_named() {
    let home = Home::new();
    let mut store = home.open().unwrap().store;
    // A batch as every other, but found by its first key, which comes a head after the sequence number.
    let key = b"the only commit, which is found by this key";
    store.apply(&Commit { seq: CommitSeq(1), writes: vec![Write::put(Table::Row, key, b"")] }).unwrap();
    store.syncer()().unwrap();
    drop(store);
    let (path, _) = journal(&home.data());
    let bytes = fs::read(&path).unwrap();
    let found = bytes.windows(key.len()).position(|window| window == key).unwrap();
    let sequence = found - 1 - 21 - 8;
    for huge in [u64::MAX, 1 << 63, (1 << 63) - 1] {
        overwrite(&path, sequence as u64, &huge.to_le_bytes());
        let error = home.open().unwrap_err();
        assert!(matches!(error, OpenError::Damaged { durable: CommitSeq(1), .. }), "{error}");
    }
    overwrite(&path, sequence as u64, &bytes[sequence..sequence + 8]);
    assert_eq!(home.open().unwrap().store.seq(), CommitSeq(1));
}

#[test]
fn sorted_files_that_a_crash_left_half_written_do_not_matter() {
    let home = with_sorted_files();
    let keyspace = home.data().join("store").join("keyspaces").join("1");
    for half in ["v4000000", "tables/4000000", "blobs/4000000"] {
        fs::write(keyspace.join(half), b"half of it").unwrap();
    }
    let opened = home.open().unwrap();
    verify(&opened.store).unwrap();
    assert!(!keyspace.join("tables/4000000").exists());
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
        // Shown only if the test fails.
        println!("round {round}: {what} of {}", path.display());
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
