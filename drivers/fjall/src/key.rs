//! The device's key: made from the system's randomness, and replaced when the device takes another one.
//!
//! The file is text: a title, the name of the device, the chain of its keys if it has had another one before, and the
//! secret, as it is or locked by a passphrase. The name follows from the secret, or from the chain that ends with it, so it
//! also tells whether the secret is still the one that was written.

use std::path::Path;

use data_encoding::HEXLOWER;
use driftless::{DeviceId, Ed25519, KeyChain, SecretKey, SignatureScheme};
use zeroize::Zeroizing;

use crate::error::{Attempt, OpenError};
use crate::files;
use crate::passphrase::{Locked, Passphrase};

const OPEN_TITLE: &str = "driftless device key 1";
const LOCKED_TITLE: &str = "driftless device key 2";
/// What the line of a chain of keys starts with.
const CHAIN: &str = "chain ";

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
    Locked { head: Head, secret: Locked },
}

/// Whose key it is.
#[derive(Debug)]
pub(crate) struct Head {
    device: DeviceId,
    chain: Option<KeyChain>,
}

impl Head {
    /// Its lines. They come before a locked secret, and are bound to it.
    fn to_lines(&self, title: &str) -> String {
        let chain = self.chain.as_ref();
        let chain =
            chain.map(|chain| format!("{CHAIN}{}\n", HEXLOWER.encode(&chain.to_bytes()))).unwrap_or_default();
        format!("{title}\ndevice {}\n{chain}", self.device)
    }

    /// The key with this secret; `None` if it is another one's.
    fn key(&self, secret: [u8; 32]) -> Option<DeviceKey> {
        let secret = SecretKey(secret);
        let public = Ed25519.public(&secret);
        let (is_whole, device) = match &self.chain {
            None => (true, public.device()),
            Some(chain) => (chain.current() == public && chain.verify(&Ed25519), chain.device()),
        };
        let key = DeviceKey { secret, chain: self.chain.clone(), device };
        Some(key).filter(|key| is_whole && key.device == self.device)
    }
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
        let chain = lines.clone().next().and_then(|line| line.strip_prefix(CHAIN));
        let chain = chain.map(|text| {
            lines.next();
            let bytes = HEXLOWER.decode(text.as_bytes()).ok();
            bytes
                .and_then(|bytes| KeyChain::from_bytes(&bytes))
                .ok_or_else(|| damaged("the chain of keys is none"))
        });
        let head = || {
            let device = device?.parse().map_err(|_| damaged("it names no device"))?;
            Ok(Head { device, chain: chain.transpose()? })
        };
        match title {
            Some(OPEN_TITLE) => {
                let head = head()?;
                let secret =
                    lines.next().and_then(|line| line.strip_prefix("secret ")).ok_or_else(missing)?;
                let key = head.key(parse_secret(secret).ok_or_else(|| damaged(NO_SECRET))?);
                let others = || damaged("the secret does not belong to the device that it names");
                Ok(Some(Self::Open(key.ok_or_else(others)?)))
            }
            Some(LOCKED_TITLE) => {
                let head = head()?;
                let (stretching, locked) = lines.next().zip(lines.next()).ok_or_else(missing)?;
                let secret = Locked::from_lines(stretching, locked);
                let secret = secret.ok_or_else(|| damaged("the locked secret cannot be read"))?;
                Ok(Some(Self::Locked { head, secret }))
            }
            _ => Err(damaged("it does not begin as a key file")),
        }
    }

    /// The key, by its passphrase if it is locked.
    pub(crate) fn open(self, passphrase: Option<&Passphrase>, path: &Path) -> Result<DeviceKey, OpenError> {
        let (head, secret) = match self {
            Self::Open(key) => return Ok(key),
            Self::Locked { head, secret } => (head, secret),
        };
        let path = path.to_path_buf();
        let Some(passphrase) = passphrase else { return Err(OpenError::KeyLocked { path }) };
        let key = secret.open(passphrase, &head.to_lines(LOCKED_TITLE))?.and_then(|secret| head.key(secret));
        key.ok_or(OpenError::WrongPassphrase { path })
    }
}

/// A secret key with the device that it makes.
#[derive(Debug)]
pub(crate) struct DeviceKey {
    pub(crate) secret: SecretKey,
    /// The keys up to this one, if there were others before.
    pub(crate) chain: Option<KeyChain>,
    pub(crate) device: DeviceId,
}

impl DeviceKey {
    fn new(secret: [u8; 32]) -> Self {
        let secret = SecretKey(secret);
        Self { device: Ed25519.public(&secret).device(), chain: None, secret }
    }

    /// Makes a key and writes it.
    pub(crate) fn create(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, OpenError> {
        let key = Self::new(draw_secret()?);
        key.write(path, passphrase)?;
        Ok(key)
    }

    /// Draws the key that takes the place of this one.
    pub(crate) fn next(&self) -> Result<Self, OpenError> {
        let secret = SecretKey(draw_secret()?);
        let chain = self.chain.clone().unwrap_or_else(|| KeyChain::new(Ed25519.public(&self.secret)));
        let chain = chain.rolled_over(&self.secret, &secret, &Ed25519).map_err(OpenError::NoMoreKeys)?;
        Ok(Self { device: self.device, chain: Some(chain), secret })
    }

    /// Writes the key, locked if there is a passphrase.
    pub(crate) fn write(&self, path: &Path, passphrase: Option<&Passphrase>) -> Result<(), OpenError> {
        let text = self.to_text(passphrase)?;
        files::write_private(path, text.as_bytes()).attempt("write the device's key", path)
    }

    /// Writes the key in the place of one whose file is that; if it is another one by now, it stays.
    pub(crate) fn replace(
        &self,
        path: &Path,
        passphrase: Option<&Passphrase>,
        before: Option<&[u8]>,
    ) -> Result<(), OpenError> {
        let text = self.to_text(passphrase)?;
        let replaced = files::replace_private(path, before, text.as_bytes());
        match replaced.attempt("write the device's key", path)? {
            true => Ok(()),
            false => Err(OpenError::KeyChanging { path: path.to_path_buf() }),
        }
    }

    fn to_text(&self, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>, OpenError> {
        let Self { secret: SecretKey(secret), chain, device } = self;
        let head = Head { device: *device, chain: chain.clone() };
        Ok(Zeroizing::new(match passphrase {
            None => format!("{}secret {}\n", head.to_lines(OPEN_TITLE), HEXLOWER.encode(secret)),
            Some(by) => {
                let head = head.to_lines(LOCKED_TITLE);
                Locked::new(secret, by, &head).map(|locked| head + &locked.to_lines())?
            }
        }))
    }
}
