//! Arguments of `syncgroup`.

use std::time::Duration;

use clap::{Args, Subcommand};
use driftless::Name;

use super::{Membership, Preset, parse_span};

/// What to do with syncgroups.
#[derive(Debug, Subcommand)]
pub enum Syncgroup {
    /// Make a syncgroup, with this device as its admin.
    Create {
        /// What its members call it.
        name: Name,
        /// Its collections. By default one of the same name.
        collections: Vec<Name>,
        /// Make it though this database has a syncgroup or a collection of such a name: commands then need
        /// --syncgroup, or an id, to tell them apart.
        #[arg(long)]
        another: bool,
    },
    /// Add a collection to a syncgroup. Adding one that is there is not an error.
    AddCollection {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// The collection.
        collection: Name,
    },
    /// Print an invitation: whoever has it may join
    ///
    /// Examples:
    ///   driftless syncgroup invite notes
    ///   driftless syncgroup invite notes --rights read-only --reusable --valid 7d
    #[command(verbatim_doc_comment)]
    Invite(Invite),
    /// Join a syncgroup, and wait until all of it is here.
    ///
    /// A device of a user's joins as such: what the invitation gives is granted to the user, for all its devices.
    Join {
        /// The invitation; - reads it from standard input.
        invitation: String,
        /// How long to wait. Joining goes on after that as long as `serve` runs.
        #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = parse_span)]
        timeout: Duration,
        /// Join as this device alone, though it is one of a user's.
        #[arg(long)]
        alone: bool,
    },
    /// Leave a syncgroup. Its rows stay here and can be read.
    Leave {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
    },
    /// What an admin decides about members.
    #[command(flatten)]
    Membership(Membership),
    /// List the syncgroups of the database.
    List,
    /// List the members of a syncgroup.
    Members {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// Those too that have left or were removed.
        #[arg(long)]
        all: bool,
    },
}

/// Arguments of `syncgroup invite`.
#[derive(Debug, Args)]
pub struct Invite {
    /// The syncgroup: its name, its id, or the start of its id.
    pub syncgroup: String,
    /// What the newcomer may do.
    #[arg(long, value_name = "PRESET", group = "given")]
    pub rights: Option<Preset>,
    /// The newcomer may read: the same as --rights read-only.
    #[arg(long, group = "given")]
    pub read: bool,
    /// The newcomer may read and write: the same as --rights read-write. This is the default.
    #[arg(long, group = "given")]
    pub write: bool,
    /// The newcomer may read and write, and invite others: the same as --rights admin.
    #[arg(long, group = "given")]
    pub admin: bool,
    /// Several devices may use it.
    #[arg(long)]
    pub reusable: bool,
    /// How long it is good, for example 30min, 12h or 7d.
    #[arg(long, value_name = "SPAN", default_value = "7d", value_parser = parse_span)]
    pub valid: Duration,
}
