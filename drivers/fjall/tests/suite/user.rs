//! The user's key and certificate beside a store (S-3).

use driftless::{Ed25519, Name, SecretKey, SignatureScheme};
use driftless_fjall::{
    OpenError, Options, Passphrase, certificate, create_user_key, is_locked, keep_certificate,
    keeps_user_key, open, set_passphrase, user_key,
};

#[test]
fn a_users_key_is_private_is_kept_and_is_never_replaced() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    assert!(user_key(dir, None).unwrap().is_none());
    let made = create_user_key(dir, &Name::new("Anna").unwrap(), None).unwrap();
    let read = user_key(dir, None).unwrap().unwrap();
    assert_eq!((read.id(), read.name()), (made.id(), made.name()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.join("user.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
    let again = create_user_key(dir, &Name::new("Bert").unwrap(), None);
    assert!(matches!(again, Err(OpenError::UserThere { .. })), "{again:?}");
    assert_eq!(user_key(dir, None).unwrap().unwrap().id(), made.id());
}

#[test]
fn a_users_key_is_not_locked_by_another_passphrase_than_the_devices() {
    let home = tempfile::tempdir().unwrap();
    let (dir, state) = (&home.path().join("data"), home.path().join("state"));
    let (one, slip) = (Passphrase::new("one").unwrap(), Passphrase::new("onr").unwrap());
    drop(open(dir, Options::new().state_dir(state)).unwrap());
    set_passphrase(dir, None, Some(&one)).unwrap();
    let create = |passphrase| create_user_key(dir, &Name::new("Anna").unwrap(), passphrase);
    assert!(matches!(create(Some(&slip)), Err(OpenError::WrongPassphrase { .. })));
    assert!(matches!(create(None), Err(OpenError::KeyLocked { .. })));
    assert!(!keeps_user_key(dir).unwrap());
    let made = create(Some(&one)).unwrap();
    assert_eq!(user_key(dir, Some(&one)).unwrap().unwrap().id(), made.id());
}

#[test]
fn a_damaged_user_key_or_certificate_is_named() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let anna = create_user_key(dir, &Name::new("Anna").unwrap(), None).unwrap();
    let path = dir.join("user.key");
    let whole = std::fs::read_to_string(&path).unwrap();
    let secret = whole.lines().last().unwrap().strip_prefix("secret ").unwrap();
    let another = whole.replace(secret, &"0".repeat(64));
    let shorter = whole[..whole.len() - 8].to_owned();
    for text in ["", "something else\n", &another, &shorter] {
        std::fs::write(&path, text).unwrap();
        let read = user_key(dir, None);
        assert!(matches!(read, Err(OpenError::UserDamaged { .. })), "{text:?}: {read:?}");
    }
    assert!(certificate(dir).unwrap().is_none());
    let phone = Ed25519.public(&SecretKey([8; 32]));
    let word = anna.certify(phone, Name::new("phone").unwrap(), 1);
    keep_certificate(dir, &word).unwrap();
    assert_eq!(certificate(dir).unwrap(), Some(word.clone()));
    std::fs::write(dir.join("certificate"), &word.to_string()[..40]).unwrap();
    assert!(matches!(certificate(dir), Err(OpenError::UserDamaged { .. })));
}

#[test]
fn a_users_key_is_locked_with_the_devices_and_opens_by_the_same_passphrase_alone() {
    let home = tempfile::tempdir().unwrap();
    let (dir, state) = (&home.path().join("data"), home.path().join("state"));
    let (one, two) = (Passphrase::new("one").unwrap(), Passphrase::new("two").unwrap());
    drop(open(dir, Options::new().state_dir(state)).unwrap());
    let made = create_user_key(dir, &Name::new("Anna").unwrap(), None).unwrap();
    let path = dir.join("user.key");
    let plain = std::fs::read_to_string(&path).unwrap();
    let secret = plain.lines().last().unwrap().strip_prefix("secret ").unwrap();

    set_passphrase(dir, None, Some(&one)).unwrap();
    let locked = std::fs::read_to_string(&path).unwrap();
    assert!(!locked.contains(secret) && keeps_user_key(dir).unwrap() && is_locked(dir).unwrap());
    assert!(matches!(user_key(dir, None), Err(OpenError::KeyLocked { .. })));
    assert!(matches!(user_key(dir, Some(&two)), Err(OpenError::WrongPassphrase { .. })));
    assert_eq!(user_key(dir, Some(&one)).unwrap().unwrap().id(), made.id());
    // Another name would be another user to those who read it.
    std::fs::write(&path, locked.replace("name Anna", "name Bert")).unwrap();
    assert!(matches!(user_key(dir, Some(&one)), Err(OpenError::WrongPassphrase { .. })));
    std::fs::write(&path, &locked).unwrap();

    assert!(matches!(set_passphrase(dir, Some(&two), Some(&one)), Err(OpenError::WrongPassphrase { .. })));
    set_passphrase(dir, Some(&one), Some(&two)).unwrap();
    let changed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(user_key(dir, Some(&two)).unwrap().unwrap().id(), made.id());
    set_passphrase(dir, Some(&two), None).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), plain);
    assert!(!is_locked(dir).unwrap());

    // As if the machine had stopped between the two keys: the same change can be made again.
    std::fs::write(&path, changed).unwrap();
    assert!(is_locked(dir).unwrap(), "or nobody would be asked");
    set_passphrase(dir, None, Some(&two)).unwrap();
    assert_eq!(user_key(dir, Some(&two)).unwrap().unwrap().id(), made.id());
}

#[test]
fn a_users_key_can_be_locked_when_it_is_made() {
    let home = tempfile::tempdir().unwrap();
    let passphrase = Passphrase::new("from the start").unwrap();
    let made = create_user_key(home.path(), &Name::new("Anna").unwrap(), Some(&passphrase)).unwrap();
    assert!(matches!(user_key(home.path(), None), Err(OpenError::KeyLocked { .. })));
    assert_eq!(user_key(home.path(), Some(&passphrase)).unwrap().unwrap().id(), made.id());
}
