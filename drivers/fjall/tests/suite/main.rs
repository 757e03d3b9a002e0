//! Tests of the data directory and its store, through the public interface.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "these tests start processes and touch the disk on purpose"
)]

mod conformance;
mod crash;
mod damage;
mod directory;
mod full_disk;
mod history;
mod process;
mod user;
