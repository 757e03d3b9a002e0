//! The user's key and certificate beside a store (S-3).

use driftless::{Ed25519, Name, SecretKey, SignatureScheme};
use driftless_fjall::{OpenError, certificate, create_user_key, keep_certificate, user_key};

#[test]
fn a_users_key_is_private_is_kept_and_is_never_replaced() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    assert!(user_key(dir).unwrap().is_none());
    let made = create_user_key(dir, Name::new("Anna").unwrap()).unwrap();
    let read = user_key(dir).unwrap().unwrap();
    assert_eq!((read.id(), read.name()), (made.id(), made.name()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.join("user.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
    let again = create_user_key(dir, Name::new("Bert").unwrap());
    assert!(matches!(again, Err(OpenError::UserThere { .. })), "{again:?}");
    assert_eq!(user_key(dir).unwrap().unwrap().id(), made.id());
}

#[test]
fn a_damaged_user_key_or_certificate_is_named() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let anna = create_user_key(dir, Name::new("Anna").unwrap()).unwrap();
    let path = dir.join("user.key");
    let whole = std::fs::read_to_string(&path).unwrap();
    let secret = whole.lines().last().unwrap().strip_prefix("secret ").unwrap();
    let another = whole.replace(secret, &"0".repeat(64));
    let shorter = whole[..whole.len() - 8].to_owned();
    for text in ["", "something else\n", &another, &shorter] {
        std::fs::write(&path, text).unwrap();
        let read = user_key(dir);
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
