//! The device's key: made once from the system's randomness, and never replaced.
//!
//! The file is text: a title, the name of the device, and the secret, as it is or locked by a passphrase. The name
//! follows from the secret, so it also tells whether the secret is still the one that was written.

use std::path::Path;

use data_encoding::HEXLOWER;
use driftless::{DeviceId, Ed25519, SecretKey, SignatureScheme};
use zeroize::Zeroizing;

use crate::error::{Attempt, OpenError};
use crate::files;
use crate::passphrase::{Locked, Passphrase};

const OPEN_TITLE: &str = "driftless device key 1";
const LOCKED_TITLE: &str = "driftless device key 2";

pub(crate) const NO_SECRET: &str = "the secret is not 64 hexadecimal digits";

/// Reads a secret that stands in a key file as it is.
pub(crate) fn parse_secret(text: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// A new secret, from the system's randomness.
pub(crate) fn draw_secret() -> Result<[u8; 32], OpenError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(OpenError::Randomness)?;
    Ok(secret)
}

/// The file of the device's key, in its data directory.
pub(crate) const KEY: &str = "device.key";

/// A key as it stands in its file.
#[derive(Debug)]
pub(crate) enum KeyFile {
    Open(DeviceKey),
    Locked { device: DeviceId, secret: Locked },
}

/// What comes before a locked secret, and is bound to it.
fn head(device: &DeviceId) -> String {
    format!("{LOCKED_TITLE}\ndevice {device}\n")
}

impl KeyFile {
    /// Reads the file; `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, OpenError> {
        let Some(bytes) = files::read_if_there(path).attempt("read the device's key", path)? else {
            return Ok(None);
        };
        let damaged = |what| OpenError::KeyDamaged { path: path.to_path_buf(), what };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is not text"))?;
        let mut lines = text.lines();
        let title = lines.next();
        let missing = || damaged("a line is missing");
        let device = lines.next().and_then(|line| line.strip_prefix("device ")).ok_or_else(missing);
        match title {
            Some(OPEN_TITLE) => {
                let device = device?;
                let secret =
                    lines.next().and_then(|line| line.strip_prefix("secret ")).ok_or_else(missing)?;
                let key = DeviceKey::new(parse_secret(secret).ok_or_else(|| damaged(NO_SECRET))?);
                if key.device.to_string() != device {
                    return Err(damaged("the secret does not belong to the device that it names"));
                }
                Ok(Some(Self::Open(key)))
            }
            Some(LOCKED_TITLE) => {
                let device = device?.parse().map_err(|_| damaged("it names no device"))?;
                let (stretching, locked) = lines.next().zip(lines.next()).ok_or_else(missing)?;
                let secret = Locked::from_lines(stretching, locked);
                let secret = secret.ok_or_else(|| damaged("the locked secret cannot be read"))?;
                Ok(Some(Self::Locked { device, secret }))
            }
            _ => Err(damaged("it does not begin as a key file")),
        }
    }

    /// The key, by its passphrase if it is locked.
    pub(crate) fn open(self, passphrase: Option<&Passphrase>, path: &Path) -> Result<DeviceKey, OpenError> {
        let (device, secret) = match self {
            Self::Open(key) => return Ok(key),
            Self::Locked { device, secret } => (device, secret),
        };
        let path = path.to_path_buf();
        let Some(passphrase) = passphrase else { return Err(OpenError::KeyLocked { path }) };
        let key = secret.open(passphrase, &head(&device))?.map(DeviceKey::new);
        key.filter(|key| key.device == device).ok_or(OpenError::WrongPassphrase { path })
    }
}

/// A secret key with the device that it makes.
#[derive(Debug)]
pub(crate) struct DeviceKey {
    pub(crate) secret: SecretKey,
    pub(crate) device: DeviceId,
}

impl DeviceKey {
    fn new(secret: [u8; 32]) -> Self {
        let secret = SecretKey(secret);
        Self { device: Ed25519.public(&secret).device(), secret }
    }

    /// Makes a key and writes it.
    pub(crate) fn create(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, OpenError> {
        let key = Self::new(draw_secret()?);
        key.write(path, passphrase)?;
        Ok(key)
    }

    /// Writes the key, locked if there is a passphrase.
    pub(crate) fn write(&self, path: &Path, passphrase: Option<&Passphrase>) -> Result<(), OpenError> {
        let Self { secret: SecretKey(secret), device } = self;
        let text = Zeroizing::new(match passphrase {
            None => format!("{OPEN_TITLE}\ndevice {device}\nsecret {}\n", HEXLOWER.encode(secret)),
            Some(by) => head(device) + &Locked::new(secret, by, &head(device))?.to_lines(),
        });
        files::write_private(path, text.as_bytes()).attempt("write the device's key", path)
    }
}
