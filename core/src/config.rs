//! What a driver gives the core at boot.

use alloc::vec::Vec;
use core::fmt;

use crate::crypto::{Ed25519, Keys, SecretKey, SignatureScheme};
use crate::id::Name;
use crate::keys::KeyChain;
use crate::limits::Limits;
use crate::resolve::MergeFunction;
use crate::time::Millis;

/// Settings of a replica.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// What other members see as this device's name.
    pub name: Name,
    /// How much of everything.
    pub limits: Limits,
    /// How soon is soon.
    pub timing: Timing,
    /// How generations are signed. All replicas that talk to each other must use the same scheme.
    pub signatures: &'static dyn SignatureScheme,
    /// The application's own merges, each under a name of its own (S-16). A device without one keeps the
    /// operations and cannot show their outcome. Which names there are is kept in the store: if they are others at the
    /// next boot, that is told like a change of the schemas that name them.
    pub merges: Vec<&'static dyn MergeFunction>,
}

impl Config {
    /// The usual settings, for a device of this name.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            limits: Limits::default(),
            timing: Timing::default(),
            signatures: &Ed25519,
            merges: Vec::new(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Spans of time that a replica waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// The longest wait before others are told of generations that came from elsewhere. The wait is random,
    /// so that of many neighbours one speaks first and the others need not.
    pub relay: Millis,
    /// How long after the last change both ends of a link make sure that they agree.
    pub confirm: Millis,
    /// How long to wait for an answer, the first time; doubled each time up to `patience_max`.
    pub patience: Millis,
    /// The longest wait for an answer.
    pub patience_max: Millis,
    /// How long the device that comes next waits for another to resolve a conflict (S-18), the first time;
    /// doubled each time that resolutions meet.
    pub resolve: Millis,
    /// The first wait before a device that was not reached is tried again; doubled each time up to
    /// `redial_max`.
    pub redial: Millis,
    /// The longest wait between two attempts to reach a device.
    pub redial_max: Millis,
    /// How long a part of a batch over several syncgroups waits for the others, from when it was first received.
    /// Then it is shown without them, and the application is told (S-28).
    pub parts: Millis,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            relay: Millis(20),
            confirm: Millis(500),
            patience: Millis(2_000),
            patience_max: Millis(300_000),
            resolve: Millis(2_000),
            redial: Millis(500),
            redial_max: Millis(60_000),
            parts: Millis(60_000),
        }
    }
}

/// Who this replica is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The secret half of the device's current key, made from good randomness and kept (S-1).
    pub secret: SecretKey,
    /// The chain of keys that ends with it, if the device has had another key before.
    pub chain: Option<KeyChain>,
    /// Whether the driver can show that the store is the one that this device last wrote (S-2).
    pub continuity: Continuity,
}

impl Identity {
    /// What the device signs with; `None` if the chain does not hold, or is of another key.
    pub(crate) fn keys(&self, scheme: &'static dyn SignatureScheme) -> Option<Keys> {
        match &self.chain {
            None => Some(Keys::new(self.secret.clone(), scheme)),
            Some(chain) => Keys::of(self.secret.clone(), chain.clone(), scheme),
        }
    }
}

/// Whether a store continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// A token kept outside the store, where backups do not copy it, says that nothing was set back.
    Shown,
    /// The store may be a copy or a backup: write as a new incarnation.
    Unknown,
}
