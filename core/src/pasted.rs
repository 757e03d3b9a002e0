//! Texts that people paste from one device to another: one word of letters and digits, with a checksum, so that a copy
//! that was cut short is noticed.

use alloc::string::String;
use core::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::hash::{self, Context};

/// Bytes of the checksum at the end.
const CHECKSUM: usize = 4;

/// A kind of such texts.
pub(crate) struct Pasted {
    /// What they start with.
    pub(crate) prefix: &'static str,
    /// What their checksum is taken under, so that none passes for one of another kind.
    pub(crate) checksum: Context,
}

/// Why a text is none of a kind.
pub(crate) enum Unread {
    /// It does not start like one.
    OtherKind,
    /// Its checksum is wrong.
    Damaged,
    /// Its checksum is right, but its content is not.
    Unreadable,
}

impl Pasted {
    /// Writes a value as text.
    pub(crate) fn write(&self, value: &impl Serialize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = postcard::to_allocvec(value).map_err(|_| fmt::Error)?;
        let sum = hash::derive(self.checksum, &[&bytes]);
        bytes.extend_from_slice(sum.prefix::<CHECKSUM>());
        write!(f, "{}{}", self.prefix, BASE64URL_NOPAD.encode(&bytes))
    }

    /// Reads a value back from its text.
    pub(crate) fn read<T: DeserializeOwned>(&self, text: &str) -> Result<T, Unread> {
        // What was broken over lines on its way is put together again.
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let code = text.strip_prefix(self.prefix).ok_or(Unread::OtherKind)?;
        let bytes = BASE64URL_NOPAD.decode(code.as_bytes()).map_err(|_| Unread::Damaged)?;
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(Unread::Damaged)?;
        if hash::derive(self.checksum, &[body]).prefix::<CHECKSUM>() != sum {
            return Err(Unread::Damaged);
        }
        match postcard::take_from_bytes(body) {
            Ok((value, [])) => Ok(value),
            _ => Err(Unread::Unreadable),
        }
    }
}
