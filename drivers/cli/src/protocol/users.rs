//! What is said of users and their devices.

use std::time::Duration;

use driftless::{Certificate, Name, StrikingOff};
use serde::{Deserialize, Serialize};

/// What a client asks about users.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum UserRequest {
    /// This device's key: an item `device`.
    Device,
    /// Enrol a device of a user, and the one here, wherever that may be done: for each syncgroup an item `invitation`.
    AddDevice {
        /// In which database.
        database: Name,
        /// The user's word for the device.
        certificate: Certificate,
        /// The user's word for this one.
        own: Certificate,
        /// How long invitations are good.
        valid_for: Duration,
    },
    /// Join as a device of a user, and wait until all is here: an item `syncgroup`.
    Join {
        /// The database.
        database: Name,
        /// The invitation's text.
        invitation: String,
        /// The user's word for this device.
        certificate: Certificate,
        /// How long to wait.
        timeout: Duration,
    },
    /// The devices of a user: an item `member_of` for each syncgroup in which each is.
    Devices {
        /// In which database.
        database: Name,
        /// Whose.
        user: String,
    },
    /// What a user would sign to strike a device off: for each syncgroup an item `drawn_up`.
    DrawUp {
        /// In which database.
        database: Name,
        /// Whose it is.
        user: String,
        /// The device: an id, the start of one, or a name.
        device: String,
    },
    /// Write down what the user has signed.
    StrikeOff {
        /// In which database.
        database: Name,
        /// In which syncgroup.
        syncgroup: String,
        /// What is signed.
        striking: StrikingOff,
    },
}

/// A user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UserText {
    /// The user.
    pub user: String,
    /// What it is called.
    pub name: String,
    /// What it may do; `None` if that has ended.
    pub rights: Option<String>,
    /// Until when, if that has an end.
    #[serde(default)]
    pub until: Option<String>,
}

/// What a user signs to strike a device off.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DrawnUp {
    /// In which syncgroup.
    pub syncgroup: String,
    /// What its members call it.
    pub name: Option<String>,
    /// Which device.
    pub device: String,
    /// What it is called.
    pub device_name: String,
    /// Up to which certificate.
    pub number: u64,
    /// The last generation of each of its logs that is held.
    pub until: Vec<(u64, u64)>,
}
