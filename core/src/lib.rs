//! Driftless: an embeddable peer-to-peer synchronisation engine, as a pure state machine.
//!
//! Devices that share data keep a full copy each, work offline, find each other, and converge. This crate is
//! what decides: it has no clock, no socket, no disk, no thread, no randomness of its own. A *driver* tells it
//! what happens ([`Event`]) and does what it asks for ([`Action`]); ready ones exist for tokio with QUIC and an
//! embedded store. The same inputs give the same outputs, bit for bit, everywhere: that is what lets a
//! simulator run thousands of replicas from a seed.
//!
//! # The words
//!
//! A **row** has a key and a value, and belongs to a **collection**. Collections belong to a **syncgroup**:
//! the unit of sharing, with members and their rights. All that happens in a syncgroup, rows and membership
//! alike, is one replicated **log**: each device appends **generations**, atomic batches numbered 1, 2, 3 …,
//! and names in each what it knew. A **database** is a device's own name space for syncgroups.
//!
//! Writes on different devices that did not know of each other are **concurrent**; every device then shows the
//! same one of them, the last by a hybrid clock, and keeps the others as further **heads** of the row until
//! the next write closes the conflict. That is the usual [`Policy`]; a collection's **schema** can name others
//! for rows whose keys start with a prefix: to be resolved by the application, or merged from **operations**.
//!
//! # Running it
//!
//! One call takes in an event; actions are performed in order; a commit is applied before the next call. This
//! is a whole driver, for a replica with nobody to talk to:
//!
//! ```
//! use driftless::store::{MemStore, View};
//! use driftless::{read, *};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new(Name::new("my laptop")?);
//! let identity = Identity { chain: None, secret: SecretKey([7; 32]), continuity: Continuity::Unknown };
//! let (mut store, mut out) = (MemStore::new(), Outbox::new());
//! let mut core = Core::boot(&config, &identity, [42; 32], &store, &mut out)?;
//!
//! /// Performs what the core asks for; returns the answer to a command, once it is safe.
//! fn perform(core: &mut Core, store: &mut MemStore, out: &mut Outbox) -> Option<Result<Outcome, Refusal>> {
//!     let (now, mut answer) = (Now { mono: Mono(0), wall: Wall(1_767_225_600_000) }, None);
//!     while let Some(action) = out.pop() {
//!         match action {
//!             Action::Commit(commit) => {
//!                 store.apply(&commit); // A disk would sync here, or soon; this is as durable as it gets.
//!                 core.handle(now, Event::Durable { seq: commit.seq }, store, out).ok()?;
//!             }
//!             Action::Reply { result, .. } => answer = Some(result),
//!             _ => {} // Send, Connect, Advertise …: for a driver with a network.
//!         }
//!     }
//!     answer
//! }
//! # let now = Now { mono: Mono(0), wall: Wall(1_767_225_600_000) };
//! perform(&mut core, &mut store, &mut out);
//! let notes = Name::new("notes")?;
//! let command = Command::CreateSyncgroup {
//!     database: Name::new("default")?, name: notes.clone(), collections: vec![notes.clone()],
//! };
//! core.handle(now, Event::Command { request: RequestId(1), command }, &store, &mut out)?;
//! let Some(Ok(Outcome::Created(syncgroup))) = perform(&mut core, &mut store, &mut out) else { panic!() };
//!
//! let row = RowRef { syncgroup, collection: notes, key: "monday".into() };
//! let command = Command::Write(LocalWrite::new().put(row, "water the plants"));
//! core.handle(now, Event::Command { request: RequestId(2), command }, &store, &mut out)?;
//! assert!(matches!(perform(&mut core, &mut store, &mut out), Some(Ok(Outcome::Written(_)))));
//!
//! let collection = &read::collections(&store)?[0];
//! assert_eq!(read::get(&store, collection, b"monday")?.unwrap().value, "water the plants");
//! # Ok(())
//! # }
//! ```
//!
//! Besides commits a real driver performs [`Action::Send`] and [`Action::Connect`], tells of
//! [`Event::LinkUp`] once both ends have proven their keys, grants credit ([`Event::Writable`]), and sends
//! [`Event::Tick`] when [`Core::next_deadline`] has come.
//!
//! # What is kept
//!
//! Comments and tests cite rules by number:
//!
//! - **S-1** a device is named by its first key, and shows on every link which one it has now, and how it came to it;
//! - **S-2** a store that was set back goes on as another author, and gets its log back from others;
//! - **S-3** a user's key certifies devices, and strikes them off; what is granted to a user its devices may do; what is
//!   granted to everybody makes nobody a member: by that, members let in others;
//! - **S-4, S-5** a batch is written whole or not at all, if what it requires still holds;
//! - **S-6** a record names the versions that it takes the place of, a generation what its author knew; one that is
//!   written again keeps that, and names what it repeats;
//! - **S-7** stamps lie above all stamps in their causal past; causality is never derived from them;
//! - **S-8** an author's generations are the leaves of a hash tree, whose root the author signs;
//! - **S-9, S-10** nothing is shown to a peer, or called safe, before it is durable; after a crash there is a
//!   prefix of what was committed;
//! - **S-11 … S-14** heads and shown rows depend on the *set* of generations held, not on their order;
//! - **S-15** a row's history is in the log, and its walks are the same everywhere;
//! - **S-16 … S-19** conflicts are settled by policy: by the last, by the application, by the core, or by merging
//!   operations; a conflict among resolvers that answer ends;
//! - **S-20** metadata merges without an ancestor: each fact is named by its version;
//! - **S-21 … S-26** exchange is pull with push as a hint; every run of generations is proven to be its
//!   author's; whatever breaks off continues from what is held;
//! - **S-27** what is stamped more than five minutes ahead of the clock waits until its time comes; whoever wrote it by
//!   a clock that was wrong can write it again, as another author, and then it counts there and nowhere else;
//! - **S-28** batches are seen whole: a part waits, for a bounded time, for the others that this device reads;
//! - **S-29** no effect without its causes;
//! - **S-30** what members are told of a syncgroup is, field by field, what was said last by an admin;
//! - **S-31** what can be done with syncgroups: they are made, joined, left and destroyed; members are removed;
//! - **S-32** a newcomer writes once it holds what was there at its admission;
//! - **S-33** a syncgroup is published at a named device: it is asked until it answers, and decides itself;
//! - **S-34** a generation is allowed by the grants in its own causal past, as far as its stamp lies before their ends, so
//!   alike everywhere; it counts as far as no revocation that is known takes from it what it was allowed by;
//! - **S-35** what does not count is *void*: held and passed on, as others may have built on it, and not shown. Whether
//!   something counts follows from what is held, whatever arrived first. Only a senior overrules an admin;
//! - **S-36** a removed device gets nothing more, but what removed it with what that builds on, and is told; so is, by the
//!   clock of whoever would give it something, one whose time is over;
//! - **S-37** the exchange of a database can be paused; what is paused looks like what is not there;
//! - **S-38 … S-40** whom to reach is learned from discovery, invitations, members and past success; failures are
//!   tried again later and later; a device announces itself as long as it has a reason to;
//! - **S-43** the stamps of one author never go backwards, across restarts too;
//! - **S-48** is about forgetting, which is not there yet: its field in the header is;
//! - **S-52** a watch delivers every change, batch by batch, and resumes where it stopped;
//! - **S-53** everything that a peer can cause to grow has a bound;
//! - **S-54** a shutdown takes on nothing new, makes durable what was accepted, and closes links with a reason;
//! - **S-56** for any row it can be said who wrote what is shown, when, on top of what, and what lost against it.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod action;
mod batch;
mod config;
mod core;
mod crypto;
mod dice;
mod digest;
mod event;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gate;
mod hash;
#[cfg(feature = "hostile")]
pub mod hostile;
mod id;
pub mod inspect;
mod keys;
pub mod limits;
mod log;
mod object;
mod pasted;
mod peer;
pub mod read;
mod replica;
mod resolve;
mod status;
pub mod store;
mod sync;
mod syncgroup;
mod time;
mod user;
pub mod verify;
mod wire;

pub use crate::action::{
    Action, CloseReason, Notice, Outbox, Outcome, Refusal, Reissued, RowChange, Split, Written,
};
pub use crate::config::{Config, Continuity, Identity, Timing};
pub use crate::core::Core;
pub use crate::crypto::{Ed25519, SecretKey, Signature, SignatureScheme};
pub use crate::event::{Change, Command, Edit, Event, LocalWrite, Precondition, RowRef};
pub use crate::hash::{Hash, SetDigest, Tag};
pub use crate::id::{
    Address, Author, CollectionId, CommitSeq, DeviceId, Generation, Incarnation, LinkId, Name, NameError,
    ParseIdError, PublicKey, RequestId, SyncgroupId, UserId, Version,
};
pub use crate::keys::{KeyChain, KeyChainError, NewKey};
pub use crate::limits::Limits;
pub use crate::replica::{BootError, IncompleteBatch};
pub use crate::resolve::conflict::{
    Ancestor, Answer, Choice, Conflict, ConflictHead, ConflictedRow, NoAnswer, Resolution,
};
pub use crate::resolve::{Elements, Fields, Merge, MergeFunction, Operation, Policy, Rule, counter};
pub use crate::status::{Knowledge, Status};
pub use crate::store::Fault;
pub use crate::sync::LinkStatus;
pub use crate::syncgroup::{
    Invitation, InvitationError, JoinRefusal, Member, Open, Publication, PublicationStatus, Rendezvous,
    Rights, Spec, SpecChange, SpecVersion, SyncgroupInfo, SyncgroupState, User,
};
pub use crate::time::{Hlc, Millis, Mono, Now, Wall};
pub use crate::user::{Certificate, CertificateError, StrikingOff, UserKey};
