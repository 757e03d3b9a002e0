//! How client and server meet.

use data_encoding::HEXLOWER;
use driftless::DeviceId;
use serde::{Deserialize, Serialize};

/// The first line of a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`](super::VERSION).
    pub driftless: u32,
    /// What the server has to answer for, where the socket itself does not show whose it is.
    pub nonce: Option<Word>,
}

/// The first line of a server, and its second to a client that it has challenged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Welcome {
    /// [`VERSION`](super::VERSION).
    pub driftless: u32,
    /// Whose server it is; `None` if that is not told yet.
    pub device: Option<DeviceId>,
    /// What the client has to answer, where the socket itself does not show that it may ask.
    pub challenge: Option<Challenge>,
}

/// How a server shows that it can read the data directory, and asks for the same. A client that finds it right answers
/// with a [`Word`], its own proof.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Challenge {
    /// What the client has to answer for.
    pub nonce: Word,
    /// The server's proof.
    pub proof: Word,
}

/// 32 bytes that nobody can guess, in hexadecimal digits.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Word(pub [u8; 32]);

impl Word {
    /// Draws one.
    ///
    /// # Errors
    /// If the operating system gives no randomness.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        HEXLOWER.encode(&word.0)
    }
}

impl TryFrom<String> for Word {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("expected 64 hexadecimal digits")
    }
}

impl std::fmt::Debug for Word {
    /// Some of them are secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Word")
    }
}
