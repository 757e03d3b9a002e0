//! A data directory for a Driftless replica: its store on [fjall](https://docs.rs/fjall), its key, and the
//! proof that it continues.
//!
//! [`open`] makes or opens the directory, and gives what a driver needs to boot a replica: a
//! [`driftless::store::Store`] and an [`driftless::Identity`].
//!
//! ```
//! use driftless::store::{Commit, Store, Table, View, Write};
//! use driftless::{CommitSeq, Continuity};
//! use driftless_fjall::{Options, open};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! # let (dir, state) = (home.path().join("data"), home.path().join("state"));
//! let options = Options::new().state_dir(&state);
//! let mut store = open(&dir, options.clone())?.store;
//! store.apply(&Commit { seq: CommitSeq(1), writes: vec![Write::put(Table::Row, b"key", b"value")] })?;
//! let mut syncer = store.syncer();
//! assert_eq!(syncer()?, CommitSeq(1));
//! drop((store, syncer));
//!
//! let opened = open(&dir, options)?;
//! assert_eq!(opened.identity.continuity, Continuity::Shown);
//! assert_eq!(opened.store.snapshot().get(Table::Row, b"key")?.as_deref(), Some(&b"value"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - A commit is one atomic batch of the engine. It is visible at once, and survives the end of the process
//!   or of the machine from the moment a syncer returned its number, or a higher one (S-10).
//! - After a crash the store shows a prefix of the commits. A batch that was being written is cut off
//!   without a word, for nobody was told of it.
//! - Where something that was durable is missing or damaged, [`open`] says so with an [`OpenError`] that
//!   names what is there, what should be, and what can be done; it changes nothing of the store unless
//!   [`Options::accept_loss`] is given. Then what was cut off is kept, and the store does not continue
//!   ([`driftless::Continuity::Unknown`]), however little of that loss the marks know.
//! - Of the sorted files, [`open`] verifies the list of them, the end of each, and every length by which the
//!   engine would ask for memory without limit. Damage elsewhere in them is found when it is read, by
//!   checksums, and is a [`driftless::Fault::Corrupt`].
//! - A directory that was copied, or restored from a backup, opens with [`driftless::Continuity::Unknown`],
//!   as does one for which that cannot be ruled out; [`Opened::doubt`] says why. It does so until a commit
//!   that was made meanwhile is durable: the first one of a replica holds its new incarnation. A backup that
//!   also restores the mark outside (see [`Options::state_dir`]) is not noticed here, but by peers (S-2).
//!
//! After a failed write nothing more is written: every later call gives the first failure again. The
//! directory can be opened again from what is durable.
//!
//! # What is not found
//!
//! The engine trusts some of what it reads while it merges sorted files in the background, and [`open`] does
//! not read these files as a whole:
//!
//! - The length in front of a large value can make a merge ask for up to 4 GiB before it finds the damage.
//!   Where there is not so much memory, the system may end the process.
//! - A table's references to files of large values have no checksum of their own; only their number is
//!   verified. Wrong ones can make a merge remove large values that are in use, which are then missed when
//!   they are read.
//! - Damage done to a file while the store is open, after it was verified, can be as bad as it was before.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a store reads the environment and the disk: that is what it is for"
)]

mod error;
mod files;
mod journal;
mod key;
mod mark;
mod open;
mod passphrase;
mod sorted;
mod store;
mod user;

pub use crate::error::OpenError;
pub use crate::open::{Doubt, Opened, Options, is_locked, open, rotate_key, see_unused, set_passphrase};
pub use crate::passphrase::Passphrase;
pub use crate::store::{FjallSnapshot, FjallStore};
pub use crate::user::{certificate, create_user_key, keep_certificate, keeps_user_key, user_key};

/// The directory of the engine's files in a data directory.
pub(crate) const STORE: &str = "store";
