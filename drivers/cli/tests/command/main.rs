//! The `driftless` command as people and scripts use it: the real binary, with and without a server.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::needless_pass_by_value,
    reason = "these tests start processes and touch the disk"
)]

mod answering;
mod conflicts;
mod expiry;
mod groups;
mod keys;
mod membership;
mod merging;
mod parts;
mod publishing;
mod rows;
mod sharing;
mod stress;
mod support;
mod transfer;
mod upkeep;
mod users;
mod watching;
