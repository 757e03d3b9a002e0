//! The device's key: made once from the system's randomness, and never replaced.
//!
//! The file is text: a title, the name of the device, and the secret. The name follows from the secret, so
//! it also tells whether the secret is still the one that was written.

use std::path::Path;

use data_encoding::HEXLOWER;
use driftless::{DeviceId, Ed25519, SecretKey, SignatureScheme};

use crate::error::{Attempt, OpenError};
use crate::files;

const TITLE: &str = "driftless device key 1";

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

    /// Reads the key; `None` if there is no file.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, OpenError> {
        let Some(bytes) = files::read_if_there(path).attempt("read the device's key", path)? else {
            return Ok(None);
        };
        let damaged = |what| OpenError::KeyDamaged { path: path.to_path_buf(), what };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is not text"))?;
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(damaged("it does not begin as a key file"));
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let (device, secret) = (field("device"), field("secret"));
        let (Some(device), Some(secret)) = (device, secret) else {
            return Err(damaged("a line is missing"));
        };
        let secret = HEXLOWER.decode(secret.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        let key = Self::new(secret.ok_or_else(|| damaged("the secret is not 64 hexadecimal digits"))?);
        if key.device.to_string() != device {
            return Err(damaged("the secret does not belong to the device that it names"));
        }
        Ok(Some(key))
    }

    /// Makes a key and writes it.
    pub(crate) fn create(path: &Path) -> Result<Self, OpenError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(OpenError::Randomness)?;
        let key = Self::new(secret);
        let text = format!("{TITLE}\ndevice {}\nsecret {}\n", key.device, HEXLOWER.encode(&secret));
        files::write_private(path, text.as_bytes()).attempt("write the device's key", path)?;
        Ok(key)
    }
}
