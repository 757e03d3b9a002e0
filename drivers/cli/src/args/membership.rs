//! Arguments of what an admin decides about members.

use std::net::SocketAddr;

use clap::{Subcommand, ValueEnum};
use driftless::{DeviceId, PublicKey, Rights};

/// Reads a device, by its id or its key.
pub(super) fn parse_device(text: &str) -> Result<DeviceId, String> {
    let by_key = || text.parse::<PublicKey>().map(|key| key.device());
    text.parse()
        .or_else(|_| by_key())
        .map_err(|_| "write the device's id or key: driftless whoami prints both".into())
}

/// What an admin decides about members.
#[derive(Debug, Subcommand)]
pub enum Membership {
    /// Remove a device, or a user with all its devices, from a syncgroup.
    ///
    /// What it wrote stays as far as this device has it. What it wrote beside that does not count, wherever it is.
    /// The device is told, goes on reading what it has, and can be invited again.
    Eject {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// The device, or the user: its id, the start of its id, or its name if only one has it.
        device: String,
    },
    /// Say what a member, or a user with all its devices, may do from now on.
    Grant {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// The device, or the user: its id, the start of its id, or its name if only one has it.
        device: String,
        /// What it may do.
        rights: Preset,
    },
    /// Publish a syncgroup at a device: it is asked to take part until it answers
    ///
    /// All admins ask it, whenever they reach it, across restarts. Once it accepts, it is a member like any other;
    /// `driftless syncgroup about` tells how far that is.
    ///
    /// Examples:
    ///   driftless syncgroup publish notes KEY --at 192.0.2.7:4433
    ///   on that device: driftless invitations, or driftless serve --host DEVICE
    #[command(verbatim_doc_comment)]
    Publish {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// The device: its id or its key, as `driftless whoami` prints it there.
        #[arg(value_parser = parse_device)]
        device: DeviceId,
        /// What it may do.
        #[arg(long, value_name = "PRESET", default_value = "read-write")]
        rights: Preset,
        /// Where it can be reached, IP:PORT; once for each address. Devices in the neighbourhood are found without.
        #[arg(long, value_name = "ADDRESS")]
        at: Vec<SocketAddr>,
    },
    /// Withdraw that, as long as the device has not accepted.
    Unpublish {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// The device: its id or its key.
        #[arg(value_parser = parse_device)]
        device: DeviceId,
    },
    /// Remove everybody, and leave; what devices have they can read.
    ///
    /// An admin who did not create the syncgroup removes those only whom it may overrule.
    Destroy {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// Do it without being asked.
        #[arg(long)]
        yes: bool,
    },
}

/// What a member may do, as people think of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Read everything.
    ReadOnly,
    /// Read and write rows.
    ReadWrite,
    /// Read and write rows, and say who else may.
    Admin,
}

impl From<Preset> for Rights {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::ReadOnly => Rights::Read,
            Preset::ReadWrite => Rights::Write,
            Preset::Admin => Rights::Admin,
        }
    }
}
