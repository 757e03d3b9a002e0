//! What can be chosen when a node opens.

use std::net::SocketAddr;
use std::time::Duration;

use driftless::{DeviceId, Limits, MergeFunction, Millis, Name, Rights, Timing, Wall};
use driftless_fjall::Options as StoreOptions;

/// Settings of a node. The defaults suit an application on a laptop or a phone.
///
/// ```
/// use driftless_tokio::Options;
///
/// // A node that is only reached at the address that it is told to listen on.
/// let options = Options {
///     listen: Some("127.0.0.1:0".parse().unwrap()),
///     discovery: false,
///     ..Options::default()
/// };
/// assert!(options.peers.is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    /// What other members see as this device's name. By default the name of the host.
    pub name: Option<Name>,
    /// Where to listen for links. By default on a free port, on all interfaces.
    pub listen: Option<SocketAddr>,
    /// Whether to look for devices in the neighbourhood, and to be found there, by multicast DNS.
    pub discovery: bool,
    /// Devices whose addresses are known beforehand.
    pub peers: Vec<(DeviceId, SocketAddr)>,
    /// How much of everything the replica takes.
    pub limits: Limits,
    /// How long the replica waits.
    pub timing: Timing,
    /// How links behave.
    pub network: Network,
    /// How read-write batches are tried again.
    pub retry: Retry,
    /// The application's own merges. Register the same ones each time: a node without one shows such rows
    /// otherwise, and a watch that goes on after others were registered begins anew.
    pub merges: Merges,
    /// How the store on disk behaves.
    pub store: StoreOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: None,
            listen: None,
            discovery: true,
            peers: Vec::new(),
            limits: Limits::default(),
            timing: Timing::default(),
            network: Network::default(),
            retry: Retry::default(),
            merges: Merges::default(),
            store: StoreOptions::default(),
        }
    }
}

impl Options {
    /// What other members see as this device's name.
    pub fn device_name(&self) -> Name {
        self.name.clone().unwrap_or_else(crate::replica::host_name)
    }
}

/// How links behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// How long an attempt to reach a device may take, over all its addresses.
    pub connect_timeout: Duration,
    /// How long a device that calls may take to prove who it is.
    pub handshake_timeout: Duration,
    /// After how much silence a link is tested.
    pub keep_alive: Duration,
    /// After how much silence a link is given up. Both ends count; the shorter time wins.
    pub idle_timeout: Duration,
    /// How many callers may be proving who they are at a time. More are refused.
    pub handshakes: usize,
    /// How many links that others opened are held at a time. More are refused.
    pub inbound_links: usize,
    /// Bytes that may wait to be sent on a link.
    pub send_buffer: u32,
    /// Bytes received on a link that may wait for the replica. A frame that is larger waits alone.
    pub receive_buffer: u32,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(4),
            idle_timeout: Duration::from_secs(12),
            handshakes: 64,
            inbound_links: 128,
            send_buffer: 1 << 20,
            receive_buffer: 1 << 20,
        }
    }
}

/// How [`crate::Database::run_in_batch`] tries again when others have changed what a batch has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How many times a batch is tried, the first included.
    pub attempts: u32,
    /// The longest wait before the second attempt; doubled each time up to `wait_max`. Each wait is drawn at
    /// random up to its bound, so that several that stand in each other's way part.
    pub wait: Duration,
    /// The longest wait between two attempts.
    pub wait_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 30, wait: Duration::from_millis(1), wait_max: Duration::from_millis(100) }
    }
}

/// The application's own merges (S-16): functions that give rows of their policy their value.
///
/// ```
/// use driftless::MergeFunction;
/// use driftless_tokio::{Merges, Options};
///
/// /// Keeps the longest text.
/// struct Longest;
///
/// impl MergeFunction for Longest {
///     fn name(&self) -> &str {
///         "longest"
///     }
///     fn merge(&self, bases: &[&[u8]], operations: &[&[u8]]) -> Option<Vec<u8>> {
///         bases.iter().chain(operations).max_by_key(|text| text.len()).map(|text| text.to_vec())
///     }
/// }
///
/// let options = Options { merges: Merges::new().with(&Longest), ..Options::default() };
/// # let _ = options;
/// ```
#[derive(Clone, Default)]
pub struct Merges(Vec<&'static dyn MergeFunction>);

impl Merges {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, and this one. Of two of one name the first counts.
    #[must_use]
    pub fn with(mut self, function: &'static dyn MergeFunction) -> Self {
        self.0.push(function);
        self
    }

    pub(crate) fn as_slice(&self) -> &[&'static dyn MergeFunction] {
        &self.0
    }
}

impl std::fmt::Debug for Merges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|function| function.name())).finish()
    }
}

/// What an invitation allows.
///
/// ```
/// use driftless_tokio::InviteOptions;
/// use driftless::Rights;
///
/// let readers = InviteOptions { rights: Rights::Read, reusable: true, ..InviteOptions::default() };
/// assert_eq!(InviteOptions::default().rights, Rights::Write);
/// # let _ = readers;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InviteOptions {
    /// What the newcomer may do. By default read and write.
    pub rights: Rights,
    /// How long the invitation is good. By default a day.
    pub valid_for: Duration,
    /// Whether several devices may use it. By default one.
    pub reusable: bool,
    /// The last moment for which the newcomer will be a member; see [`crate::Syncgroup::set_rights_until`]. By default
    /// there is none.
    pub ends: Option<Wall>,
}

impl Default for InviteOptions {
    fn default() -> Self {
        let valid_for = Duration::from_secs(24 * 60 * 60);
        Self { rights: Rights::Write, valid_for, reusable: false, ends: None }
    }
}

/// A span as the core counts it.
pub(crate) fn millis(span: Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
