//! Arguments of `syncgroup`.

use std::time::Duration;

use clap::{Args, Subcommand};
use driftless::{DeviceId, Name};

use super::{Lasting, Membership, Preset, parse_span};

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
    ///   driftless syncgroup invite notes --for 30d     # a member for 30 days from now
    #[command(verbatim_doc_comment)]
    Invite(Invite),
    /// Join a syncgroup, and wait until all of it is here.
    ///
    /// One that is published at this device can be named as `driftless invitations` lists it.
    ///
    /// A device of a user's joins as such: what the invitation gives is granted to the user, for all its devices.
    Join {
        /// The invitation; - reads it from standard input. Or the syncgroup, as `driftless invitations` lists it.
        invitation: String,
        /// Of several that name the same syncgroup, the one of this device: its id or its key.
        #[arg(long, value_name = "DEVICE", value_parser = super::membership::parse_device)]
        by: Option<DeviceId>,
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
    /// Print what members are told of a syncgroup: what it is for, and where to meet; or say it anew
    ///
    /// Examples:
    ///   driftless syncgroup about notes
    ///   driftless syncgroup about notes --description 'Who waters the plants' --meet server=192.0.2.7:4433
    #[command(verbatim_doc_comment)]
    About(About),
    /// What an admin decides about members.
    #[command(flatten)]
    Membership(Membership),
    /// List the syncgroups of the database.
    List,
    /// List the members of a syncgroup.
    Members {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// Those too that have left or were removed. Whose time is over is listed in any case.
        #[arg(long)]
        all: bool,
    },
}

/// Arguments of `syncgroup about`.
#[derive(Debug, Args)]
pub struct About {
    /// The syncgroup: its name, its id, or the start of its id.
    pub syncgroup: String,
    /// Say what it is for; an empty text takes that back. Only admins may.
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Say that a member can be met at an address, IP:PORT; once for each place. All that was said before of
    /// meeting places is taken back. All members try these addresses.
    #[arg(long, value_name = "MEMBER=ADDRESS", value_parser = parse_meet)]
    pub meet: Vec<(String, String)>,
    /// Say that this device can be met where it listens now.
    #[arg(long)]
    pub meet_here: bool,
    /// Take back all meeting places.
    #[arg(long, conflicts_with_all = ["meet", "meet_here"])]
    pub meet_nobody: bool,
    /// Only if nobody has said anything since: the version that this command printed.
    #[arg(long, value_name = "VERSION")]
    pub unless_changed: Option<String>,
}

fn parse_meet(text: &str) -> Result<(String, String), String> {
    let (member, address) = text.rsplit_once('=').ok_or("write MEMBER=IP:PORT, as server=192.0.2.7:4433")?;
    Ok((member.to_owned(), address.to_owned()))
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
    /// Until when the newcomer will be a member.
    #[command(flatten)]
    pub lasting: Lasting,
}
