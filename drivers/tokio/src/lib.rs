//! Driftless on tokio: a replica with QUIC links, discovery in the neighbourhood, a store on disk, and the
//! handle that applications use.
//!
//! ```
//! use driftless_tokio::{Node, Options};
//! # use driftless_tokio::StoreOptions;
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let (here, there) = (dir.path().join("here"), dir.path().join("there"));
//! # let options = || Options {
//! #     listen: Some("127.0.0.1:0".parse().unwrap()),
//! #     discovery: false,
//! #     store: StoreOptions::new().state_dir(dir.path().join("state")),
//! #     ..Options::default()
//! # };
//! // One device makes a syncgroup, and invites.
//! let laptop = Node::open(&here, options())?;
//! let db = laptop.database("default")?;
//! let family = db.create_syncgroup("family", &["notes"]).await?;
//! db.collection("notes")?.put("milk", "2 l").await?;
//! let invitation = family.invite(Default::default()).await?;
//!
//! // Another one joins, and has what the first one wrote.
//! let phone = Node::open(&there, options())?;
//! let db = phone.database("default")?;
//! db.join(&invitation, Duration::from_secs(30)).await?;
//! assert_eq!(db.collection("notes")?.get("milk")?.unwrap().value, "2 l");
//! # laptop.shutdown().await;
//! # phone.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! The replica itself is [`driftless::Core`], a state machine that knows no clock, socket or disk. This crate
//! is the world around it:
//!
//! ```text
//!   Node, Database,      requests   ┌──────────────────────┐  frames    ┌─ link ─┐
//!   Collection, Batch ────────────► │  the replica's thread │ ─────────► │ link   │ QUIC
//!        │    ▲          replies    │   core + store        │ ◄───────── │ link   │
//!        │    └──────────────────── │                       │  credit    └────────┘
//!        │                          └──┬────────────────▲───┘ ◄───────── discovery
//!        │  snapshots, changes         │ sync           │ durable
//!        └─────────────────────────────┼──────┐      ┌──┴────────┐
//!                                      └──────┼─────►│ disk      │
//!                                             ▼      └───────────┘
//!                                     published moment
//! ```
//!
//! - One thread owns the core and the store. Everything reaches it as an event, one at a time; what the core
//!   asks for is done in order, a commit before the next event.
//! - Another thread makes commits durable; all commits that come while it works share its next turn.
//! - Reads use a snapshot that the replica's thread publishes after each commit, and never wait. A watch is a place in
//!   the log of changes that the store keeps: a commit wakes it, and it reads on; so a slow one costs nothing.
//! - Batches that are read through are optimistic: what they have read is checked when they are written, and
//!   [`Database::run_in_batch`] runs them again if somebody else was faster.
//! - Conflicts that the application resolves wait in the store; a [`Resolver`] gets them one by one.
//! - Links are QUIC connections. Both ends prove to own their device keys before a byte of theirs counts; a
//!   slow or a flooding peer fills its own buffers, which are bounded, and nobody else's.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a driver has clocks and threads on purpose; the core and the simulator have none"
)]

mod address;
mod discovery;
mod error;
mod handle;
mod link;
mod news;
mod options;
mod reading;
mod replica;
mod resolver;
mod shared;
mod traffic;
mod watch;

pub use driftless::read::{Marker, Resumed, RowUpdate, Update, WatchEnd};
pub use driftless_fjall::{Options as StoreOptions, Passphrase};

pub use crate::error::{Closed, Error, OpenError};
pub use crate::handle::{
    Batch, Collection, Database, Node, NodeStatus, Receipt, Submitted, Syncgroup, rendezvous, socket_addr,
};
pub use crate::news::{News, Notices};
pub use crate::options::{InviteOptions, Merges, Network, Options, Retry};
pub use crate::reading::{ConflictRow, Edited, Head, HistoryEntry, Range, Row, Rows, Snapshot};
pub use crate::resolver::Resolver;
pub use crate::traffic::Traffic;
pub use crate::watch::Watch;
