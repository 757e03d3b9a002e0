//! What can go wrong, and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use driftless::{BootError, Fault, JoinRefusal, Name, NameError, Refusal, SyncgroupId, SyncgroupState};

/// Why a node could not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] driftless_fjall::OpenError),
    /// The replica in it cannot be started.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The address to listen on cannot be had.
    #[error("cannot listen on UDP {address}: {source}; choose another address or port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The device's key cannot be used to prove who this device is.
    #[error("cannot prepare secure links with this device's key: {0}")]
    Tls(#[from] rustls::Error),
    /// The operating system gives no threads or no randomness.
    #[error("cannot {doing}: {source}; the machine may be short of threads or memory")]
    System {
        /// What was attempted.
        doing: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
}

/// Why something that was asked of a node was not done.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The replica refused. Nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The node is closed.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The store could not be read.
    #[error("cannot read: {0}")]
    Read(#[from] Fault),
    /// The device's key could not be replaced, and is the one that it was.
    #[error("the key was not replaced: {0}")]
    Key(String),
    /// The device's new key is in its file, and the running node has not taken it.
    #[error("the new key is kept, and the device takes it when its directory is opened again: {why}")]
    KeyKept {
        /// How many keys the device had before it.
        rollovers: usize,
        /// Why not at once.
        why: Box<Error>,
    },
    /// A text is no name.
    #[error("\"{text}\" is no name: {source}")]
    Name {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// No collection has this name.
    #[error("database \"{database}\" has no collection \"{name}\"; {}", Candidates("it has", .candidates))]
    UnknownCollection {
        /// Where it was looked for.
        database: Name,
        /// What was asked for.
        name: Name,
        /// The collections that are there.
        candidates: Vec<Name>,
    },
    /// Several syncgroups have a collection of this name.
    #[error(
        "several syncgroups of database \"{database}\" have a collection \"{name}\": ask one of them for it; {}",
        Candidates("they are", .candidates)
    )]
    AmbiguousCollection {
        /// Where it was looked for.
        database: Name,
        /// What was asked for.
        name: Name,
        /// The syncgroups that have it.
        candidates: Vec<SyncgroupId>,
    },
    /// No syncgroup has this name, or an id that starts with it.
    #[error("database \"{database}\" has no syncgroup \"{asked}\"; {}", Candidates("it has", .candidates))]
    UnknownSyncgroup {
        /// Where it was looked for.
        database: Name,
        /// What was asked for.
        asked: String,
        /// The syncgroups that are there, by id and name.
        candidates: Vec<String>,
    },
    /// Several syncgroups have this name, or ids that start with it.
    #[error(
        "several syncgroups of database \"{database}\" go by \"{asked}\": ask by id; {}",
        Candidates("they are", .candidates)
    )]
    AmbiguousSyncgroup {
        /// Where it was looked for.
        database: Name,
        /// What was asked for.
        asked: String,
        /// The syncgroups that fit, by id and name.
        candidates: Vec<String>,
    },
    /// An admin refused to admit this device.
    #[error("the request to join was refused: {0}")]
    JoinRefused(#[from] JoinRefusal),
    /// The syncgroup was left while somebody waited until it was joined.
    #[error("syncgroup {syncgroup} was left before it was complete here; to be a member, join it again")]
    JoinGivenUp {
        /// Which syncgroup.
        syncgroup: SyncgroupId,
    },
    /// Joining takes longer than the caller wanted to wait. It goes on in the background.
    #[error(
        "the syncgroup is not complete after {} s ({}); joining goes on in the background, \
         as soon as the device that made the invitation, or a member, can be reached",
        .waited.as_secs(),
        how_far(*.state)
    )]
    JoinTimeout {
        /// Which syncgroup.
        syncgroup: SyncgroupId,
        /// How far it is.
        state: SyncgroupState,
        /// How long the caller waited.
        waited: Duration,
    },
    /// A batch holds a row of another database.
    #[error(
        "a batch stays within one database: this one is of \"{batch}\", the collection of \"{collection}\""
    )]
    OtherDatabase {
        /// The batch's database.
        batch: Name,
        /// The collection's database.
        collection: Name,
    },
    /// A read-write batch was run as often as allowed, and each time somebody else was faster. Nothing was written.
    #[error(
        "the batch was run {attempts} times, and each time something that it had read was changed before it could be \
         written; read less in it, or run it again later"
    )]
    Contended {
        /// How many times.
        attempts: u32,
    },
    /// The replica answered something else than was asked: a defect.
    #[error(
        "the replica gave an answer that does not fit the question ({0}); this is a defect, please report it"
    )]
    Unexpected(&'static str),
}

/// The node is closed: it was shut down, or a fault ended it.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the node is closed: {reason}")]
pub struct Closed {
    reason: Arc<str>,
}

impl Closed {
    pub(crate) fn new(reason: &str) -> Self {
        Self { reason: reason.into() }
    }

    /// The node was shut down because somebody asked for it.
    pub(crate) fn by_request() -> Self {
        Self::new("it was shut down")
    }

    /// Why, in words.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Closed({:?})", self.reason)
    }
}

/// How far joining has come, as words within a sentence.
fn how_far(state: SyncgroupState) -> &'static str {
    match state {
        SyncgroupState::Pending => "this device is admitted, rows are arriving",
        _ => "this device is not admitted yet",
    }
}

/// A list of what would have been possible, as the end of a sentence.
struct Candidates<'a, T>(&'static str, &'a [T]);

impl<T: fmt::Display> fmt::Display for Candidates<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        let Self(intro, list) = self;
        if list.is_empty() {
            return f.write_str("it has none yet");
        }
        write!(f, "{intro} ")?;
        for (index, item) in list.iter().take(SHOWN).enumerate() {
            write!(f, "{}\"{item}\"", if index == 0 { "" } else { ", " })?;
        }
        match list.len().checked_sub(SHOWN) {
            Some(more) if more > 0 => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

/// Takes a text as a name.
pub(crate) fn name(text: &str) -> Result<Name, Error> {
    Name::new(text).map_err(|source| Error::Name { text: text.to_owned(), source })
}
