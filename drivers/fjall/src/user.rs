//! What a data directory keeps of its user beside the device's key (S-3): the user's key on the device on which it was
//! made, and the user's word for this device on all of them.
//!
//! The core is given neither: commands carry what the user has signed.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use driftless::{Certificate, Ed25519, Name, SecretKey, UserId, UserKey};
use zeroize::Zeroizing;

use crate::error::{Attempt, OpenError};
use crate::files;
use crate::key::{KEY, KeyFile, NO_SECRET, draw_secret, parse_secret};
use crate::passphrase::{Locked, Passphrase};

const OPEN_TITLE: &str = "driftless user key 1";
const LOCKED_TITLE: &str = "driftless user key 2";

fn key_path(dir: &Path) -> PathBuf {
    dir.join("user.key")
}

fn certificate_path(dir: &Path) -> PathBuf {
    dir.join("certificate")
}

/// A user's key as it stands in its file.
pub(crate) struct UserKeyFile {
    name: Name,
    user: UserId,
    secret: Secret,
    path: PathBuf,
}

enum Secret {
    Open(Zeroizing<[u8; 32]>),
    Locked(Locked),
}

/// What comes before a locked secret, and is bound to it.
fn head(name: &Name, user: &UserId) -> String {
    format!("{LOCKED_TITLE}\nname {name}\nuser {user}\n")
}

fn key_of(name: &Name, secret: &[u8; 32]) -> UserKey {
    UserKey::new(name.clone(), SecretKey(*secret), &Ed25519)
}

impl UserKeyFile {
    /// Reads the file of a data directory; `None` if there is none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = key_path(dir);
        let Some(bytes) = files::read_if_there(&path).attempt("read the user's key", &path)? else {
            return Ok(None);
        };
        let damaged = |what| OpenError::UserDamaged { path: path.clone(), what };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is not text"))?;
        let mut lines = text.lines();
        let is_locked = match lines.next() {
            Some(OPEN_TITLE) => false,
            Some(LOCKED_TITLE) => true,
            _ => return Err(damaged("it does not begin as a user's key")),
        };
        let missing = || damaged("a line is missing");
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let (name, user) = (field("name").ok_or_else(missing)?, field("user").ok_or_else(missing)?);
        let name = Name::new(name).map_err(|_| damaged("the name is none"))?;
        let user: UserId = user.parse().map_err(|_| damaged("it names no user"))?;
        let secret = if is_locked {
            let (stretching, locked) = lines.next().zip(lines.next()).ok_or_else(missing)?;
            let secret = Locked::from_lines(stretching, locked);
            Secret::Locked(secret.ok_or_else(|| damaged("the locked secret cannot be read"))?)
        } else {
            let secret = parse_secret(field("secret").ok_or_else(missing)?);
            let secret = Zeroizing::new(secret.ok_or_else(|| damaged(NO_SECRET))?);
            if key_of(&name, &secret).id() != user {
                return Err(damaged("the secret does not belong to the user that it names"));
            }
            Secret::Open(secret)
        };
        Ok(Some(Self { name, user, secret, path }))
    }

    pub(crate) fn is_locked(&self) -> bool {
        matches!(self.secret, Secret::Locked(_))
    }

    /// The secret, by one of these passphrases if it is locked.
    fn secret(&self, passphrases: &[&Passphrase]) -> Result<Zeroizing<[u8; 32]>, OpenError> {
        let path = || self.path.clone();
        let locked = match &self.secret {
            Secret::Open(secret) => return Ok(secret.clone()),
            Secret::Locked(_) if passphrases.is_empty() => return Err(OpenError::KeyLocked { path: path() }),
            Secret::Locked(locked) => locked,
        };
        for passphrase in passphrases {
            let secret = locked.open(passphrase, &head(&self.name, &self.user))?.map(Zeroizing::new);
            if let Some(secret) = secret.filter(|secret| key_of(&self.name, secret).id() == self.user) {
                return Ok(secret);
            }
        }
        Err(OpenError::WrongPassphrase { path: path() })
    }

    /// The same key, to be written so that another passphrase opens it, or none. If it was left by the new one already, as
    /// an earlier change was interrupted, that is fine.
    pub(crate) fn relocked(
        self,
        present: Option<&Passphrase>,
        new: Option<&Passphrase>,
    ) -> Result<impl FnOnce() -> Result<(), OpenError> + use<>, OpenError> {
        let passphrases: Vec<&Passphrase> = present.into_iter().chain(new).collect();
        let secret = self.secret(&passphrases)?;
        let text = text(&self.name, &secret, new)?;
        Ok(move || write(&self.path, &text))
    }
}

fn text(
    name: &Name,
    secret: &[u8; 32],
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<String>, OpenError> {
    let user = key_of(name, secret).id();
    let text = match passphrase {
        None => format!("{OPEN_TITLE}\nname {name}\nuser {user}\nsecret {}\n", HEXLOWER.encode(secret)),
        Some(by) => {
            let head = head(name, &user);
            let locked = Locked::new(secret, by, &head)?.to_lines();
            head + &locked
        }
    };
    Ok(Zeroizing::new(text))
}

fn write(path: &Path, text: &str) -> Result<(), OpenError> {
    files::write_private(path, text.as_bytes()).attempt("write the user's key", path)
}

/// Whether the key of a user is kept in a data directory. No passphrase is needed to tell.
///
/// # Errors
/// [`OpenError::UserDamaged`] if the file is not as it was written.
pub fn keeps_user_key(dir: &Path) -> Result<bool, OpenError> {
    Ok(UserKeyFile::read(dir)?.is_some())
}

/// Reads the user's key of a data directory, by its passphrase if it is locked; `None` if the user's key is not kept
/// there.
///
/// # Errors
/// [`OpenError::UserDamaged`] if the file is not as it was written; [`OpenError::KeyLocked`] and
/// [`OpenError::WrongPassphrase`].
pub fn user_key(dir: &Path, passphrase: Option<&Passphrase>) -> Result<Option<UserKey>, OpenError> {
    let Some(file) = UserKeyFile::read(dir)? else { return Ok(None) };
    let passphrases: Vec<&Passphrase> = passphrase.into_iter().collect();
    let secret = file.secret(&passphrases)?;
    Ok(Some(key_of(&file.name, &secret)))
}

/// Makes a user's key in a data directory, readable by its owner alone, and locked if there is a passphrase: it should be
/// the one of the device's key, since [`set_passphrase`](crate::set_passphrase) changes both. One that is there is never
/// replaced.
///
/// # Errors
/// [`OpenError::UserThere`] if there is one; [`OpenError::WrongPassphrase`] and [`OpenError::KeyLocked`] if the device's
/// key is locked, and not by this passphrase; [`OpenError::Randomness`].
pub fn create_user_key(
    dir: &Path,
    name: &Name,
    passphrase: Option<&Passphrase>,
) -> Result<UserKey, OpenError> {
    refuse_second(dir)?;
    // A slip in the passphrase would lock the key for ever.
    let device = dir.join(KEY);
    KeyFile::read(&device)?.map(|key| key.open(passphrase, &device)).transpose()?;
    let secret = Zeroizing::new(draw_secret()?);
    let text = text(name, &secret, passphrase)?;
    // Of several that make one at the same time the others wait here, and then find it.
    let path = dir.join("user.lock");
    let lock = files::open_private(&path).and_then(|file| file.lock().map(|()| file));
    let _lock = lock.attempt("lock", &path)?;
    refuse_second(dir)?;
    write(&key_path(dir), &text)?;
    // Whoever still waits for it finds the key; so does whoever makes another. That it stays would not matter.
    let _ = std::fs::remove_file(path);
    Ok(key_of(name, &secret))
}

fn refuse_second(dir: &Path) -> Result<(), OpenError> {
    match UserKeyFile::read(dir)? {
        Some(UserKeyFile { path, name, .. }) => Err(OpenError::UserThere { path, name }),
        None => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_that_make_a_key_at_the_same_time_one_does() {
        let home = tempfile::tempdir().unwrap();
        let (anna, start) = (Name::new("Anna").unwrap(), std::sync::Barrier::new(8));
        let make = || {
            start.wait();
            create_user_key(home.path(), &anna, None).ok().map(|key| key.id())
        };
        let made: Vec<UserId> = std::thread::scope(|scope| {
            let running = [(); 8].map(|()| scope.spawn(make));
            running.into_iter().filter_map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(made, [user_key(home.path(), None).unwrap().unwrap().id()]);
    }
}
