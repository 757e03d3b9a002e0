//! Arguments of `user` and `device`: people with several devices.

use std::time::Duration;

use clap::Subcommand;
use driftless::{Name, PublicKey};

use super::{Lasting, parse_span};

/// What to do with the user.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Make a user's key on this device, and make this device its first.
    ///
    /// The key stays here, in the file user.key of the data directory: with it devices are added and struck off. Keep a
    /// copy of it somewhere safe. Where this was interrupted, the same command goes on with the key that is there.
    Create {
        /// What others call the user.
        name: Name,
    },
}

/// What to do with the devices of the user.
#[derive(Debug, Subcommand)]
pub enum Device {
    /// Make another device one of the user's, and print a pass for it
    ///
    /// It takes the user's key, so it is done on the device on which that was made.
    /// The other device may then do what the user may, in every syncgroup of the
    /// database of which this device is a member; where this device is an admin and
    /// nothing is granted to the user yet, the user becomes an admin.
    ///
    /// Examples:
    ///   driftless whoami                    # on the other device: prints its key
    ///   driftless device add 5c0f...9ab1 phone
    ///   driftless device join driftless-device:AbC...    # on the other device
    ///   driftless device add 5c0f...9ab1 lent --for 14d
    #[command(verbatim_doc_comment)]
    Add {
        /// The other device's key, as `driftless whoami` prints it there.
        key: PublicKey,
        /// What the device is called.
        name: Name,
        /// How long the invitations in the pass are good, for example 30min, 12h or 7d.
        #[arg(long, value_name = "SPAN", default_value = "7d", value_parser = parse_span)]
        valid: Duration,
        /// Until when the device is one of the user's. To make that longer, add it anew; to make it shorter, revoke it
        /// first.
        #[command(flatten)]
        lasting: Lasting,
    },
    /// Use a pass on the device for which it was made: join all that it is for.
    Join {
        /// The pass, as `driftless device add` prints it; - reads it from standard input.
        pass: String,
        /// How long to wait for each syncgroup. Joining goes on after that as long as `serve` runs.
        #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = parse_span)]
        timeout: Duration,
    },
    /// Strike a device of the user off, in every syncgroup of the database.
    ///
    /// What it wrote stays as far as this device has it. What it wrote beside that does not count, wherever it is. It
    /// takes the user's key. A device that turns up again is added like a new one.
    Revoke {
        /// The device: its id, the start of its id, or its name if only one has it.
        device: String,
    },
    /// List the devices of the user, in every syncgroup of the database.
    List,
}
