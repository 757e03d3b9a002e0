//! Passphrases: what keeps a device's key from whoever reads the disk.
//!
//! The passphrase is stretched by Argon2id (RFC 9106), and what comes of it encrypts the secret with XChaCha20-Poly1305
//! (draft-irtf-cfrg-xchacha), together with the lines before it in the key file, so that none of them can be changed.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, AeadInOut, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use crate::error::OpenError;

/// What RFC 9106 recommends where memory is constrained: 64 MiB, three passes, four lanes.
const USUAL: Work = Work { memory_kib: 64 << 10, passes: 3, lanes: 4 };
/// More than this no key file may ask for: 1 GiB, and so on.
const MOST: Work = Work { memory_kib: 1 << 20, passes: 64, lanes: 64 };

const SALT: usize = 16;
const NONCE: usize = 24;
const SECRET: usize = 32;
const TAG: usize = 16;

/// What a device's key is locked by. It prints as nothing, and its memory is cleared when it is dropped.
///
/// It is taken byte for byte, so on a device where a keyboard writes a letter in another form it is another one.
///
/// ```
/// use driftless_fjall::Passphrase;
/// assert!(Passphrase::new("correct horse battery staple").is_some());
/// assert!(Passphrase::new("").is_none(), "that would lock nothing");
/// ```
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a text as passphrase; `None` if there is nothing in it.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = Zeroizing::new(text.into());
        (!text.is_empty()).then_some(Self(text))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// How much work it is to try a passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Work {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// A secret that a passphrase has locked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Locked {
    work: Work,
    salt: [u8; SALT],
    nonce: [u8; NONCE],
    sealed: [u8; SECRET + TAG],
}

impl Locked {
    /// Locks a secret, bound to `bound`.
    pub(crate) fn new(
        secret: &[u8; SECRET],
        passphrase: &Passphrase,
        bound: &str,
    ) -> Result<Self, OpenError> {
        let mut locked = Self { work: USUAL, salt: [0; SALT], nonce: [0; NONCE], sealed: [0; SECRET + TAG] };
        getrandom::fill(&mut locked.salt).map_err(OpenError::Randomness)?;
        getrandom::fill(&mut locked.nonce).map_err(OpenError::Randomness)?;
        locked.seal(secret, passphrase, bound)?;
        Ok(locked)
    }

    fn seal(&mut self, secret: &[u8; SECRET], passphrase: &Passphrase, bound: &str) -> Result<(), OpenError> {
        self.sealed[..SECRET].copy_from_slice(secret);
        let (text, tag) = self.sealed.split_at_mut(SECRET);
        let bound = format!("{bound}{}\n", stretching(self.work, &self.salt));
        let cipher = cipher(self.work, &self.salt, passphrase)?;
        let sealed = cipher.encrypt_inout_detached(&XNonce::from(self.nonce), bound.as_bytes(), text.into());
        // Nothing but the length of a text could be wrong.
        tag.copy_from_slice(&sealed.unwrap_or_default());
        Ok(())
    }

    /// The secret; `None` if the passphrase is another one, or something was changed.
    pub(crate) fn open(
        &self,
        passphrase: &Passphrase,
        bound: &str,
    ) -> Result<Option<[u8; SECRET]>, OpenError> {
        let bound = format!("{bound}{}\n", stretching(self.work, &self.salt));
        let payload = Payload { msg: &self.sealed, aad: bound.as_bytes() };
        let cipher = cipher(self.work, &self.salt, passphrase)?;
        let secret = cipher.decrypt(&XNonce::from(self.nonce), payload).ok().map(Zeroizing::new);
        Ok(secret.and_then(|secret| secret.as_slice().try_into().ok()))
    }

    /// Its two lines of a key file.
    pub(crate) fn to_lines(&self) -> String {
        let (nonce, sealed) = (HEXLOWER.encode(&self.nonce), HEXLOWER.encode(&self.sealed));
        format!("{}\nlocked {nonce} {sealed}\n", stretching(self.work, &self.salt))
    }

    /// Reads these lines; `None` if they are not as they were written, or ask for more work than anybody should do.
    pub(crate) fn from_lines(stretching: &str, locked: &str) -> Option<Self> {
        let mut words = stretching.strip_prefix("argon2id ")?.split(' ');
        let mut number = || words.next()?.parse::<u32>().ok();
        let work = Work { memory_kib: number()?, passes: number()?, lanes: number()? };
        let is_bounded =
            work.memory_kib <= MOST.memory_kib && work.passes <= MOST.passes && work.lanes <= MOST.lanes;
        let salt = bytes(words.next()?)?;
        let (nonce, sealed) = locked.strip_prefix("locked ")?.split_once(' ')?;
        let locked = Self { work, salt, nonce: bytes(nonce)?, sealed: bytes(sealed)? };
        (is_bounded && words.next().is_none()).then_some(locked)
    }
}

fn stretching(work: Work, salt: &[u8; SALT]) -> String {
    format!("argon2id {} {} {} {}", work.memory_kib, work.passes, work.lanes, HEXLOWER.encode(salt))
}

fn cipher(work: Work, salt: &[u8; SALT], passphrase: &Passphrase) -> Result<XChaCha20Poly1305, OpenError> {
    let mut key = Zeroizing::new([0; 32]);
    Params::new(work.memory_kib, work.passes, work.lanes, Some(32))
        .map(|params| Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
        .and_then(|argon2| argon2.hash_password_into(passphrase.0.as_bytes(), salt, &mut *key))
        .map_err(OpenError::Stretching)?;
    Ok(XChaCha20Poly1305::new(&Key::from(*key)))
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text).unwrap()
    }

    #[test]
    fn a_secret_comes_back_by_its_passphrase_and_by_no_other() {
        let locked = Locked::new(&[7; SECRET], &passphrase("open"), "device x\n").unwrap();
        let open = |by: &str, bound: &str| locked.open(&passphrase(by), bound).unwrap();
        assert_eq!(open("open", "device x\n"), Some([7; SECRET]));
        assert_eq!(open("Open", "device x\n"), None);
        assert_eq!(open("open", "device y\n"), None, "it is bound to its device");
        let lines = locked.to_lines();
        let (stretching, rest) = lines.split_once('\n').unwrap();
        assert_eq!(Locked::from_lines(stretching, rest.trim_end()), Some(locked));
    }

    #[test]
    fn a_locked_secret_that_was_changed_anywhere_does_not_open() {
        let by = passphrase("open");
        // With little work, as it is tried often.
        let work = Work { memory_kib: 32, passes: 1, lanes: 1 };
        let mut locked = Locked { work, salt: [3; SALT], nonce: [4; NONCE], sealed: [0; SECRET + TAG] };
        locked.seal(&[7; SECRET], &by, "d").unwrap();
        let text = locked.to_lines();
        assert!(read(&text).unwrap().open(&by, "d").unwrap().is_some());
        let digits = text.char_indices().filter(|(_, c)| c.is_ascii_hexdigit() && !c.is_ascii_alphabetic());
        let mut tried = 0;
        for (at, digit) in digits.filter(|(at, _)| *at > "argon2id".len()) {
            let other = if digit == '1' { "2" } else { "1" };
            let mut changed = text.clone();
            changed.replace_range(at..=at, other);
            assert!(read(&changed).is_none_or(|it| !matches!(it.open(&by, "d"), Ok(Some(_)))), "{changed}");
            tried += 1;
        }
        assert!(tried > 60);
    }

    fn read(text: &str) -> Option<Locked> {
        let (stretching, rest) = text.split_once('\n')?;
        Locked::from_lines(stretching, rest.trim_end())
    }

    #[test]
    fn a_file_that_asks_for_too_much_work_is_refused_before_any_is_done() {
        let locked = Locked::new(&[7; SECRET], &passphrase("open"), "d").unwrap().to_lines();
        for more in ["1048577 3 4", "65536 65 4", "65536 3 65", "4294967296 3 4", "65536 3", "65536 3 4 4"] {
            let text = locked.replacen("65536 3 4", more, 1);
            assert_ne!(text, locked);
            assert_eq!(read(&text), None, "{more}");
        }
    }
}
