//! Arguments of what an admin decides about members.

use clap::{Subcommand, ValueEnum};
use driftless::Rights;

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
