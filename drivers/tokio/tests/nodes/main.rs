//! Whole nodes in one process, over loopback: what an application sees.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "these tests run real nodes")]

mod batches;
mod disk;
mod help;
mod keys;
mod local;
mod merging;
mod removal;
mod resolving;
mod shared;
mod users;
mod watching;
