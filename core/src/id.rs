//! Who and what: identifiers, each a type of its own so that none can be taken for another.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::hash::{self, Hash};
use crate::limits;

/// Writes bytes as lowercase hexadecimal.
fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads exactly `N` bytes of hexadecimal.
fn unhex<const N: usize>(text: &str) -> Result<[u8; N], ParseIdError> {
    let wrong = || ParseIdError { expected: N * 2, found: text.chars().count() };
    let mut bytes = [0; N];
    let decoded = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| wrong())?;
    if decoded.len() != N {
        return Err(wrong());
    }
    bytes.copy_from_slice(&decoded);
    Ok(bytes)
}

/// A text that is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits, found {found} characters")]
pub struct ParseIdError {
    /// How many digits the identifier has.
    pub expected: usize,
    /// How many characters were given.
    pub found: usize,
}

macro_rules! hex_id {
    ($name:ident, $len:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex(&self.0, f)
            }
        }
        impl fmt::Debug for $name {
            /// The first eight digits: enough to tell identifiers apart in a trace.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex(self.0.get(..4).unwrap_or(&self.0), f)
            }
        }
        impl core::str::FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                unhex::<$len>(text).map(Self)
            }
        }
    };
}

/// An Ed25519 public key: what a device proves to own when it opens a link, or by which a user signs for devices.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublicKey(pub [u8; 32]);
hex_id!(PublicKey, 32);

impl PublicKey {
    /// The device whose first key this is (S-1).
    pub fn device(&self) -> DeviceId {
        let mut id = [0; 16];
        id.copy_from_slice(hash::derive(hash::DEVICE, &[&self.0]).prefix::<16>());
        DeviceId(id)
    }

    /// The user whose key this is (S-3).
    pub fn user(&self) -> UserId {
        let mut id = [0; 16];
        id.copy_from_slice(hash::derive(hash::USER, &[&self.0]).prefix::<16>());
        UserId(id)
    }
}

/// A user: 16 bytes of BLAKE3 over a context of its own and the user's public key (S-3). So no key names a user and a
/// device by the same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserId(pub [u8; 16]);
hex_id!(UserId, 16);

/// A device: 16 bytes of BLAKE3 over a context and its first public key (S-1). Its hexadecimal form is the
/// device's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceId(pub [u8; 16]);
hex_id!(DeviceId, 16);

/// One life of a device's store: random bits, drawn anew whenever the driver cannot show that the store continues (S-2), and
/// when the device takes another key. Before them stands how many keys it had before the one that it has; and if there were
/// any, the rest is a hash of what was drawn and of all its keys up to that one: so a log's name tells of which key it is, and
/// nobody who has another one can sign anything of that name (S-1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// How many bits follow from what was drawn.
    const DRAWN: u32 = 59;

    /// The one of a device that has had so many keys before the one that it has: see [`crate::keys::KeyChain::life`].
    pub(crate) fn of_key(rollovers: usize, drawn: u64) -> Self {
        const { assert!(limits::MAX_ROLLOVERS >> (u64::BITS - Self::DRAWN) == 0) };
        Self(((rollovers as u64) << Self::DRAWN) | (drawn & (u64::MAX >> (u64::BITS - Self::DRAWN))))
    }

    /// How many keys the device had before the one that its log is of.
    pub(crate) fn rollovers(self) -> usize {
        (self.0 >> Self::DRAWN) as usize
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Whose log it is: a device in one of its incarnations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Author {
    /// The device.
    pub device: DeviceId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}", self.device, self.incarnation.0)
    }
}

impl fmt::Debug for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.{:04x}", self.device, self.incarnation.0 >> 48)
    }
}

/// The number of a generation in its author's log of one syncgroup: 1, 2, 3 … without gaps. 0 is "none".
pub type Generation = u64;

/// A version of a row, or of a piece of metadata: the generation that wrote it. Globally unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// Who wrote it.
    pub author: Author,
    /// In which generation of its log.
    pub generation: Generation,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.author, self.generation)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.author, self.generation)
    }
}

/// A syncgroup: the hash of its genesis (S-30). Only those who were told it know it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SyncgroupId(pub [u8; 32]);
hex_id!(SyncgroupId, 32);

impl From<Hash> for SyncgroupId {
    fn from(hash: Hash) -> Self {
        Self(hash.0)
    }
}

/// A collection within its syncgroup: 8 bytes of a hash of its name, so that two admins who create the same
/// name while apart mean the same collection.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CollectionId(pub [u8; 8]);
hex_id!(CollectionId, 8);

impl CollectionId {
    /// The id of the collection of this name.
    pub fn of(name: &Name) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(hash::derive(hash::COLLECTION, &[name.as_str().as_bytes()]).prefix::<8>());
        Self(id)
    }
}

/// The name of a database, a collection, a syncgroup, a device or a user: 1 to 64 bytes of text without control
/// characters and without leading or trailing blanks.
///
/// ```
/// use driftless::Name;
/// assert_eq!(Name::new("notes").unwrap().as_str(), "notes");
/// assert!(Name::new("").is_err());
/// assert!(Name::new("two\nlines").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Name(Box<str>);

impl Name {
    /// Checks a text and takes it as a name.
    ///
    /// # Errors
    /// [`NameError`] says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            Err(NameError::Empty)
        } else if text.len() > limits::MAX_NAME {
            Err(NameError::TooLong(text.len()))
        } else if text.chars().any(char::is_control) || text.trim() != text {
            Err(NameError::Characters)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl core::str::FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It is empty.
    #[error("a name must not be empty")]
    Empty,
    /// It has this many bytes.
    #[error("a name has at most {max} bytes, this one has {0}", max = limits::MAX_NAME)]
    TooLong(usize),
    /// It holds control characters, or blanks at an end.
    #[error("a name has no control characters, and no blanks at its ends")]
    Characters,
}

/// A link between this device and another, as named by the driver: never used twice between two boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LinkId(pub u64);

/// A command of the application, as named by the driver, so that replies find their way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// The number of a commit of this store: 1, 2, 3 … since the store was made, across restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CommitSeq(pub u64);

/// Where a device may be reached: 1 to 256 bytes whose meaning belongs to the driver, for example
/// `quic:192.0.2.7:4433`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Address(String);

impl Address {
    /// Takes a text as an address; `None` if it is empty or too long.
    pub fn new(text: &str) -> Option<Self> {
        (1..=limits::MAX_ADDRESS).contains(&text.len()).then(|| Self(text.to_string()))
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| serde::de::Error::custom("an address has 1 to 256 bytes"))
    }
}
