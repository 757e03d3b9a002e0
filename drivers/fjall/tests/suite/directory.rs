//! Opening, locking, keys, and what shows that a store continues (S-1, S-2).

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use driftless::store::Store;
use driftless::{CommitSeq, Continuity, Ed25519, SignatureScheme};
use driftless_fjall::{
    Doubt, OpenError, Options, Passphrase, is_locked, open, rotate_key, see_unused, set_passphrase,
};

use crate::history::{Home, commit, copy, extend, verify};
use crate::process;

#[test]
fn a_new_directory_is_private_and_its_store_is_empty_and_unknown() {
    let home = Home::new();
    let opened = home.open().unwrap();
    assert_eq!(opened.store.seq(), CommitSeq(0));
    assert_eq!(opened.identity.continuity, Continuity::Unknown);
    assert_eq!(opened.doubt, Some(Doubt::New));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home.data()), 0o700);
        assert_eq!(mode(&home.data().join("device.key")), 0o600);
    }
}

#[cfg(unix)]
#[test]
fn what_is_stored_is_private_in_a_directory_that_was_there_and_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    fs::create_dir_all(home.data()).unwrap();
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o755)).unwrap();
    drop(home.open().unwrap());
    let store = fs::metadata(home.data().join("store")).unwrap().permissions().mode();
    assert_eq!(store & 0o077, 0, "{store:o}");
}

#[test]
fn a_directory_that_opens_again_continues_with_the_same_key() {
    let home = Home::new();
    let mut first = home.open().unwrap();
    let secret = first.identity.secret;
    extend(&mut first.store, 10);
    first.store.syncer()().unwrap();
    drop(first.store);
    for n in 2..5 {
        let mut opened = home.open().unwrap();
        assert_eq!((opened.identity.continuity, opened.doubt), (Continuity::Shown, None));
        assert_eq!(opened.identity.secret, secret);
        assert_eq!(opened.store.seq(), CommitSeq(10 * (n - 1)));
        extend(&mut opened.store, 10);
        verify(&opened.store).unwrap();
        opened.store.syncer()().unwrap();
    }
}

#[test]
fn a_directory_set_back_to_an_earlier_copy_does_not_continue() {
    let home = Home::with_commits(10);
    copy(&home.data(), &home.path("backup"));
    let mut opened = home.open().unwrap();
    assert_eq!(opened.doubt, None);
    extend(&mut opened.store, 10);
    opened.store.syncer()().unwrap();
    drop(opened);

    fs::remove_dir_all(home.data()).unwrap();
    copy(&home.path("backup"), &home.data());
    let opened = home.open().unwrap();
    assert_eq!(opened.identity.continuity, Continuity::Unknown);
    assert_eq!(opened.doubt, Some(Doubt::OtherToken));
    verify(&opened.store).unwrap();
}

#[test]
fn a_doubt_lasts_until_something_that_was_written_in_it_is_durable() {
    let home = Home::with_commits(10);
    copy(&home.data(), &home.path("backup"));
    drop(home.open().unwrap());
    fs::remove_dir_all(home.data()).unwrap();
    copy(&home.path("backup"), &home.data());
    // Whoever opens it may give up before the new incarnation is in it.
    for _ in 0..2 {
        let opened = home.open().unwrap();
        assert_eq!(opened.doubt, Some(Doubt::OtherToken));
        opened.store.syncer()().unwrap();
    }
    let mut opened = home.open().unwrap();
    extend(&mut opened.store, 1);
    drop(opened);
    let opened = home.open().unwrap();
    assert_eq!(opened.doubt, Some(Doubt::OtherToken), "what is not durable ends no doubt");
    let mut store = opened.store;
    extend(&mut store, 1);
    store.syncer()().unwrap();
    drop(store);
    assert_eq!(home.open().unwrap().doubt, None, "from then on it is the one that continues");
    assert_eq!(open(&home.path("backup"), home.options()).unwrap().doubt, Some(Doubt::OtherToken));
}

#[test]
fn a_crash_between_the_two_marks_leaves_a_doubt() {
    let home = Home::with_commits(10);
    copy(&home.data(), &home.path("backup"));
    drop(home.open().unwrap());
    fs::remove_dir_all(home.data()).unwrap();
    copy(&home.path("backup"), &home.data());
    let mut store = home.open().unwrap().store;
    extend(&mut store, 1);
    store.syncer()().unwrap();
    drop(store);
    // The one outside was written, the one inside was not.
    fs::copy(home.path("backup").join("mark"), home.data().join("mark")).unwrap();
    let opened = home.open().unwrap();
    assert_eq!((opened.store.seq(), opened.doubt), (CommitSeq(11), Some(Doubt::OtherToken)));
}

#[test]
fn a_copy_that_is_opened_to_be_read_stays_a_copy_and_takes_no_commits() {
    let home = Home::with_commits(10);
    copy(&home.data(), &home.path("backup"));
    let marks =
        |data: &Path| (fs::read(data.join("mark")).unwrap(), fs::read_dir(home.state()).unwrap().count());
    let before = marks(&home.path("backup"));
    let mut looked = open(&home.path("backup"), home.options().read_only(true)).unwrap();
    assert_eq!((looked.identity.continuity, &looked.doubt), (Continuity::Unknown, &Some(Doubt::ReadOnly)));
    verify(&looked.store).unwrap();
    assert_eq!(home.open().unwrap().doubt, None, "the device itself is not disturbed");
    assert!(looked.store.apply(&commit(11)).is_err() && looked.store.syncer()().is_err());
    drop(looked);
    assert_eq!(marks(&home.path("backup")), before);
    assert_eq!(home.open().unwrap().doubt, None);
}

#[test]
fn a_copy_made_while_the_directory_was_open_does_not_continue_either() {
    let home = Home::new();
    let mut store = home.open().unwrap().store;
    extend(&mut store, 10);
    store.syncer()().unwrap();
    copy(&home.data(), &home.path("backup"));
    extend(&mut store, 10);
    store.syncer()().unwrap();
    drop(store);

    fs::remove_dir_all(home.data()).unwrap();
    copy(&home.path("backup"), &home.data());
    let doubt = Doubt::Behind { shown: CommitSeq(10), durable: CommitSeq(20) };
    assert_eq!(home.open().unwrap().doubt, Some(doubt));
}

#[test]
fn of_two_copies_only_one_continues() {
    let home = Home::with_commits(10);
    copy(&home.data(), &home.path("copy"));
    let first = open(&home.path("copy"), home.options()).unwrap();
    assert_eq!(first.doubt, None);
    let second = home.open().unwrap();
    assert_eq!(second.doubt, Some(Doubt::OtherCopyOpen));
    drop((first, second));
    assert_eq!(open(&home.path("copy"), home.options()).unwrap().doubt, None);
    assert_eq!(home.open().unwrap().doubt, Some(Doubt::OtherToken));
}

#[test]
fn without_a_place_for_the_mark_the_directory_opens_in_doubt() {
    let home = Home::with_commits(10);
    fs::remove_dir_all(home.state()).unwrap();
    assert_eq!(home.open().unwrap().doubt, Some(Doubt::NoMarkOutside));

    fs::remove_dir_all(home.state()).unwrap();
    fs::write(home.state(), "a file where a directory should be").unwrap();
    let opened = home.open().unwrap();
    assert!(matches!(opened.doubt, Some(Doubt::NoPlaceOutside(_))), "{:?}", opened.doubt);
    assert_eq!(opened.identity.continuity, Continuity::Unknown);
    verify(&opened.store).unwrap();
}

#[test]
fn a_store_without_its_own_mark_opens_in_doubt() {
    let home = Home::with_commits(10);
    fs::write(home.data().join("mark"), "no mark").unwrap();
    let mut opened = home.open().unwrap();
    assert_eq!(opened.doubt, Some(Doubt::NoMark));
    extend(&mut opened.store, 1);
    opened.store.syncer()().unwrap();
    drop(opened);
    assert_eq!(home.open().unwrap().doubt, None);
}

#[test]
fn a_second_process_is_told_who_has_the_directory() {
    let home = Home::new();
    let mut child = process::start("directory::holder", &home.path(""));
    let mut lines = process::hear(child.stdout.take().unwrap());
    assert_eq!(lines.next().as_deref(), Some("open"));
    for error in [see_unused(&home.data()).unwrap_err(), home.open().unwrap_err()] {
        assert!(matches!(error, OpenError::InUse { holder: Some(id), .. } if id == child.id()), "{error}");
    }
    let error = home.open().unwrap_err();
    assert!(error.to_string().contains(&format!("in use by process {}: stop it", child.id())), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    see_unused(&home.data()).unwrap();
    home.open().unwrap();
}

#[test]
#[ignore = "a role that another test starts as a process"]
fn holder() {
    let Some(home) = process::dir() else { return };
    let _opened = open(&home.join("data"), Options::new().state_dir(home.join("state"))).unwrap();
    process::say("open");
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn whoever_looks_whether_a_directory_is_in_use_is_in_nobodys_way() {
    let home = Home::with_commits(1);
    let enough = AtomicBool::new(false);
    let opened: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                // Now and then somebody has it.
                let _ = see_unused(&home.data());
            }
        });
        let opened = (0..40).map(|_| home.open().map(drop)).collect();
        enough.store(true, Ordering::Relaxed);
        opened
    });
    let refused: Vec<_> = opened.into_iter().filter_map(Result::err).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn snapshots_and_syncers_keep_the_directory_locked() {
    let home = Home::with_commits(10);
    let store = home.open().unwrap().store;
    let (snapshot, syncer) = (store.snapshot(), store.syncer());
    drop(store);
    assert!(matches!(home.open(), Err(OpenError::InUse { .. })));
    drop(snapshot);
    assert!(matches!(home.open(), Err(OpenError::InUse { .. })));
    drop(syncer);
    home.open().unwrap();
}

#[test]
fn a_directory_with_other_things_in_it_is_left_alone() {
    let home = Home::new();
    fs::create_dir_all(home.data()).unwrap();
    fs::write(home.data().join("thesis.txt"), "years of work").unwrap();
    let error = home.open().unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert_eq!(fs::read_dir(home.data()).unwrap().count(), 1);
}

#[test]
fn a_damaged_or_missing_key_is_named_and_never_replaced() {
    let home = Home::with_commits(10);
    let path = home.data().join("device.key");
    let key = fs::read_to_string(&path).unwrap();
    let other = |text: String| {
        fs::write(&path, &text).unwrap();
        let error = home.open().unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "the file is left as it is");
        error
    };
    let secret = key.rfind("secret ").unwrap() + 7;
    let digit = if key.as_bytes()[secret] == b'0' { "1" } else { "0" };
    for text in [
        String::new(),
        key[..key.len() - 10].into(),
        key[..20].into(),
        format!("{}{digit}{}", &key[..secret], &key[secret + 1..]),
        key.replace("driftless", "something"),
        "\u{fffd}".repeat(50),
    ] {
        let error = other(text);
        assert!(matches!(error, OpenError::KeyDamaged { .. }), "{error}");
        assert!(error.to_string().contains("restore the key file"), "{error}");
    }
    fs::remove_file(&path).unwrap();
    let error = home.open().unwrap_err();
    assert!(matches!(error, OpenError::KeyMissing { .. }), "{error}");
    assert!(!path.exists());
    fs::write(&path, key).unwrap();
    verify(&home.open().unwrap().store).unwrap();
}

#[test]
fn a_newer_format_is_named() {
    let home = Home::with_commits(1);
    fs::write(home.data().join("format"), "driftless data directory 2\n").unwrap();
    let error = home.open().unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn a_format_that_is_missing_or_damaged_is_named_with_what_mends_it() {
    let home = Home::with_commits(10);
    let path = home.data().join("format");
    let written = fs::read_to_string(&path).unwrap();
    for damage in [None, Some(""), Some("driftless data directory one\n")] {
        match damage {
            None => fs::remove_file(&path).unwrap(),
            Some(text) => fs::write(&path, text).unwrap(),
        }
        let error = home.open().unwrap_err();
        assert!(matches!(error, OpenError::FormatUnknown { .. }), "{error}");
        let words = error.to_string();
        let line = words.rsplit('"').nth(1).unwrap();
        assert_eq!(line, written.trim_end());
        fs::write(&path, line).unwrap();
        verify(&home.open().unwrap().store).unwrap();
    }
    // Nor is a directory taken for somebody else's that has lost its store and this file.
    fs::remove_file(&path).unwrap();
    fs::remove_dir_all(home.data().join("store")).unwrap();
    fs::write(home.data().join("listen"), "127.0.0.1:1").unwrap();
    assert!(matches!(home.open(), Err(OpenError::SetBack { .. })));
    open(&home.data(), home.options().accept_loss(true)).unwrap();
}

#[test]
fn a_store_that_shows_less_than_was_durable_is_named_with_both_numbers() {
    let home = Home::with_commits(10);
    copy(&home.data().join("store"), &home.path("store"));
    let mut store = home.open().unwrap().store;
    extend(&mut store, 20);
    store.syncer()().unwrap();
    drop(store);
    fs::remove_dir_all(home.data().join("store")).unwrap();
    copy(&home.path("store"), &home.data().join("store"));

    for _ in 0..2 {
        let error = home.open().unwrap_err();
        let (shown, durable) = (CommitSeq(10), CommitSeq(30));
        let expected =
            matches!(error, OpenError::SetBack { shown: s, durable: d, .. } if (s, d) == (shown, durable));
        assert!(expected, "{error}");
        let words = error.to_string();
        assert!(
            words.contains("commit 10") && words.contains("commit 30") && words.contains("restore"),
            "{words}"
        );
    }
    let opened = open(&home.data(), home.options().accept_loss(true)).unwrap();
    let doubt = Doubt::LossAccepted { shown: CommitSeq(10), durable: CommitSeq(30) };
    assert_eq!((opened.identity.continuity, opened.doubt), (Continuity::Unknown, Some(doubt)));
    verify(&opened.store).unwrap();
    drop(opened.store);
    assert!(matches!(home.open(), Err(OpenError::SetBack { .. })), "nothing was made of what is left");
    let mut store = open(&home.data(), home.options().accept_loss(true)).unwrap().store;
    extend(&mut store, 1);
    store.syncer()().unwrap();
    drop(store);
    assert_eq!(home.open().unwrap().doubt, None);
}

#[test]
fn a_store_that_is_gone_is_not_silently_made_anew() {
    let home = Home::with_commits(10);
    fs::remove_dir_all(home.data().join("store")).unwrap();
    let error = home.open().unwrap_err();
    assert!(
        matches!(error, OpenError::SetBack { shown: CommitSeq(0), durable: CommitSeq(10), .. }),
        "{error}"
    );
    let opened = open(&home.data(), home.options().accept_loss(true)).unwrap();
    let doubt = Doubt::LossAccepted { shown: CommitSeq(0), durable: CommitSeq(10) };
    assert_eq!((opened.store.seq(), opened.doubt), (CommitSeq(0), Some(doubt)));
    assert_eq!(opened.identity.continuity, Continuity::Unknown);
}

#[test]
fn what_a_crash_left_of_making_a_store_is_swept_away() {
    let home = Home::with_commits(0);
    fs::rename(home.data().join("store"), home.data().join("store.new")).unwrap();
    fs::remove_file(home.data().join("store.new/version")).unwrap();
    let opened = home.open().unwrap();
    assert_eq!(opened.doubt, Some(Doubt::New));
    assert!(!home.data().join("store.new").exists());
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text).unwrap()
}

#[test]
fn a_key_that_is_locked_opens_by_its_passphrase_alone_and_is_nowhere_in_the_directory() {
    let home = Home::new();
    let mut opened = open(&home.data(), home.options().passphrase(passphrase("first"))).unwrap();
    let secret = opened.identity.secret;
    extend(&mut opened.store, 1);
    opened.store.syncer()().unwrap();
    drop(opened.store);
    assert!(is_locked(&home.data()).unwrap());
    let readable = data_encoding::HEXLOWER.encode(&secret.0);
    let text = fs::read_to_string(home.data().join("device.key")).unwrap();
    assert!(!text.contains(&readable), "{text}");
    assert!(matches!(home.open(), Err(OpenError::KeyLocked { .. })));
    let wrong = open(&home.data(), home.options().passphrase(passphrase("another")));
    assert!(matches!(wrong, Err(OpenError::WrongPassphrase { .. })));
    let opened = open(&home.data(), home.options().passphrase(passphrase("first"))).unwrap();
    assert_eq!((opened.identity.secret, opened.doubt), (secret, None));
}

#[test]
fn a_passphrase_is_set_changed_and_taken_away_and_the_device_stays_the_same() {
    let home = Home::with_commits(10);
    let (first, second) = (passphrase("first"), passphrase("second"));
    let opened = home.open().unwrap();
    let in_use = set_passphrase(&home.data(), None, Some(&first));
    assert!(matches!(in_use, Err(OpenError::InUse { .. })));
    let secret = opened.identity.secret;
    drop(opened.store);
    set_passphrase(&home.data(), None, Some(&first)).unwrap();
    let text = fs::read(home.data().join("device.key")).unwrap();
    for wrong in [None, Some(&second)] {
        assert!(set_passphrase(&home.data(), wrong, None).is_err());
    }
    assert_eq!(fs::read(home.data().join("device.key")).unwrap(), text, "nothing has changed");
    set_passphrase(&home.data(), Some(&first), Some(&second)).unwrap();
    set_passphrase(&home.data(), Some(&second), None).unwrap();
    assert!(!is_locked(&home.data()).unwrap());
    let opened = home.open().unwrap();
    assert_eq!((opened.identity.secret, opened.doubt), (secret, None));
    verify(&opened.store).unwrap();
}

#[test]
fn no_key_is_locked_where_there_is_none() {
    let home = Home::new();
    assert!(!is_locked(&home.data()).unwrap());
    let missing = set_passphrase(&home.data(), None, Some(&passphrase("first")));
    assert!(matches!(missing, Err(OpenError::KeyMissing { .. })));
    assert!(!home.data().exists(), "nothing is made");
}

#[test]
fn another_key_takes_the_place_of_the_one_before_and_the_device_stays_the_same() {
    let home = Home::new();
    let opened = open(&home.data(), home.options().passphrase(passphrase("first"))).unwrap();
    let before = Ed25519.public(&opened.identity.secret);
    assert!(matches!(rotate_key(&home.data(), None), Err(OpenError::KeyLocked { .. })));
    let wrong = rotate_key(&home.data(), Some(&passphrase("another")));
    assert!(matches!(wrong, Err(OpenError::WrongPassphrase { .. })));
    let old = opened.identity.secret;
    // It may be open.
    let new = rotate_key(&home.data(), Some(&passphrase("first"))).unwrap();
    assert_eq!((new.chain.device(), new.chain.rollovers()), (before.device(), 1));
    assert!(new.secret != old && new.chain.verify(&Ed25519));
    drop(opened.store);
    assert!(is_locked(&home.data()).unwrap(), "it is locked like the one before");
    set_passphrase(&home.data(), Some(&passphrase("first")), None).unwrap();
    let again = rotate_key(&home.data(), None).unwrap();
    let opened = home.open().unwrap();
    assert_eq!(opened.identity.chain, Some(again.chain.clone()));
    assert_eq!((opened.identity.secret, again.chain.rollovers()), (again.secret, 2));
    drop(opened.store);
    let path = home.data().join("device.key");
    let text = fs::read_to_string(&path).unwrap();
    let chain = text.lines().find(|line| line.starts_with("chain ")).unwrap();
    // Whatever its digits are, another one is another chain.
    let other = |at: usize| {
        let digit = if &chain[at..=at] == "0" { "1" } else { "0" };
        text.replace(chain, &format!("{}{digit}{}", &chain[..at], &chain[at + 1..]))
    };
    let first = "chain ".len();
    let shorter = text.replace(&format!("{chain}\n"), "");
    for damaged in [shorter, other(first), other(chain.len() / 2), other(chain.len() - 1)] {
        assert_ne!(damaged, text);
        fs::write(&path, damaged).unwrap();
        assert!(matches!(home.open(), Err(OpenError::KeyDamaged { .. })));
    }
    fs::write(&path, text).unwrap();
    home.open().unwrap();
}

#[test]
fn of_several_who_rotate_the_key_at_once_each_goes_on_from_the_one_before() {
    let home = Home::new();
    let opened = home.open().unwrap();
    let made: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| rotate_key(&home.data(), None).unwrap())).collect();
        all.into_iter().map(|one| one.join().unwrap().chain).collect()
    });
    drop(opened.store);
    let mut rollovers: Vec<usize> = made.iter().map(|chain| chain.rollovers()).collect();
    rollovers.sort_unstable();
    assert_eq!(rollovers, (1..=8).collect::<Vec<_>>(), "no two took the place of the same");
    let kept = home.open().unwrap().identity.chain.unwrap();
    assert!(made.iter().all(|chain| kept.starts_with(chain)), "and none is lost");
}

#[test]
fn the_key_is_not_replaced_while_somebody_else_changes_it() {
    let home = Home::new();
    drop(home.open().unwrap());
    let lock = fs::File::create(home.data().join("device.key.lock")).unwrap();
    lock.lock().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let data = home.data();
    let rotating = std::thread::spawn(move || {
        let new = rotate_key(&data, None).unwrap();
        sender.send(new.chain.rollovers()).unwrap();
    });
    let text = fs::read(home.data().join("device.key")).unwrap();
    assert!(receiver.recv_timeout(std::time::Duration::from_millis(200)).is_err(), "it waits");
    assert_eq!(fs::read(home.data().join("device.key")).unwrap(), text);
    lock.unlock().unwrap();
    assert_eq!(receiver.recv().unwrap(), 1);
    rotating.join().unwrap();
}
