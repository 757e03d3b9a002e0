//! What a data directory keeps of its user beside the device's key (S-3): the user's key on the device on which it was
//! made, and the user's word for this device on all of them.
//!
//! The core is given neither: commands carry what the user has signed.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use driftless::{Certificate, Ed25519, Name, SecretKey, UserKey};

use crate::error::{Attempt, OpenError};
use crate::files;
use crate::key::{NO_SECRET, draw_secret, parse_secret};

const TITLE: &str = "driftless user key 1";

fn key_path(dir: &Path) -> PathBuf {
    dir.join("user.key")
}

fn certificate_path(dir: &Path) -> PathBuf {
    dir.join("certificate")
}

/// Reads the user's key of a data directory; `None` if the user's key is not kept there.
///
/// # Errors
/// [`OpenError::UserDamaged`] if the file is not as it was written.
pub fn user_key(dir: &Path) -> Result<Option<UserKey>, OpenError> {
    let path = key_path(dir);
    let Some(bytes) = files::read_if_there(&path).attempt("read the user's key", &path)? else {
        return Ok(None);
    };
    let damaged = |what| OpenError::UserDamaged { path: path.clone(), what };
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is not text"))?;
    let mut lines = text.lines();
    if lines.next() != Some(TITLE) {
        return Err(damaged("it does not begin as a user's key"));
    }
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let (Some(name), Some(user), Some(secret)) = (field("name"), field("user"), field("secret")) else {
        return Err(damaged("a line is missing"));
    };
    let name = Name::new(name).map_err(|_| damaged("the name is none"))?;
    let secret = parse_secret(secret).ok_or_else(|| damaged(NO_SECRET))?;
    let key = UserKey::new(name, SecretKey(secret), &Ed25519);
    if key.id().to_string() != user {
        return Err(damaged("the secret does not belong to the user that it names"));
    }
    Ok(Some(key))
}

/// Makes a user's key in a data directory, readable by its owner alone. One that is there is never replaced.
///
/// # Errors
/// [`OpenError::UserThere`] if there is one; [`OpenError::Randomness`].
pub fn create_user_key(dir: &Path, name: Name) -> Result<UserKey, OpenError> {
    if let Some(key) = user_key(dir)? {
        return Err(OpenError::UserThere { path: key_path(dir), name: key.name().clone() });
    }
    let secret = draw_secret()?;
    let key = UserKey::new(name, SecretKey(secret), &Ed25519);
    let (name, user, secret) = (key.name(), key.id(), HEXLOWER.encode(&secret));
    let text = format!("{TITLE}\nname {name}\nuser {user}\nsecret {secret}\n");
    let path = key_path(dir);
    files::write_private(&path, text.as_bytes()).attempt("write the user's key", &path)?;
    Ok(key)
}

/// Reads the user's word for the device of a data directory; `None` if it is nobody's.
///
/// # Errors
/// [`OpenError::UserDamaged`] if the file is not as it was written.
pub fn certificate(dir: &Path) -> Result<Option<Certificate>, OpenError> {
    let path = certificate_path(dir);
    let Some(bytes) = files::read_if_there(&path).attempt("read the device's certificate", &path)? else {
        return Ok(None);
    };
    let parsed = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or(OpenError::UserDamaged { path, what: "it is no certificate" })
}

/// Keeps the user's word for the device of a data directory, instead of an earlier one.
///
/// # Errors
/// [`OpenError::Io`].
pub fn keep_certificate(dir: &Path, certificate: &Certificate) -> Result<(), OpenError> {
    let path = certificate_path(dir);
    let text = format!("{certificate}\n");
    files::write_private(&path, text.as_bytes()).attempt("write the device's certificate", &path)
}
