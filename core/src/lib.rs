//! Driftless: an embeddable peer-to-peer synchronisation engine, as a pure state machine.
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
mod event;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gate;
mod hash;
mod id;
pub mod limits;
mod log;
mod object;
mod peer;
pub mod read;
mod replica;
mod status;
pub mod store;
mod sync;
mod syncgroup;
mod time;
mod wire;

pub use crate::action::{Action, CloseReason, Notice, Outbox, Outcome, Refusal, RowChange, Written};
pub use crate::config::{Config, Continuity, Identity, Timing};
pub use crate::core::Core;
pub use crate::crypto::{Ed25519, SecretKey, Signature, SignatureScheme};
pub use crate::event::{Change, Command, Event, LocalWrite, Precondition, RowRef};
pub use crate::hash::{Hash, SetDigest, Tag};
pub use crate::id::{
    Address, Author, CollectionId, CommitSeq, DeviceId, Generation, Incarnation, LinkId, Name, NameError,
    ParseIdError, PublicKey, RequestId, SyncgroupId, Version,
};
pub use crate::limits::Limits;
pub use crate::replica::BootError;
pub use crate::status::{Knowledge, LinkStatus, Status};
pub use crate::store::Fault;
pub use crate::syncgroup::{
    Invitation, InvitationError, JoinRefusal, Member, Rights, SyncgroupInfo, SyncgroupState,
};
pub use crate::time::{Hlc, Millis, Mono, Now, Wall};
