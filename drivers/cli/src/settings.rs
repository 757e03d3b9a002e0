//! Where the data directory is, and what this command keeps in it beside the store.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use driftless_tokio::{Node, OpenError, Options};

use crate::session::open_node;

/// The data directory that is meant if none is named.
///
/// # Errors
/// If this platform has no place for it.
pub(crate) fn default_dir() -> Result<PathBuf> {
    let base = dirs::data_dir().context("this user has no data directory; name one with --dir")?;
    Ok(base.join("driftless"))
}

/// Where the port of the last time is kept: a device that comes back where it was is found again at once, and
/// the addresses in its invitations stay good.
fn listen_path(dir: &Path) -> PathBuf {
    dir.join("listen")
}

/// The address of the last time, if there was one.
fn remembered(dir: &Path) -> Option<SocketAddr> {
    std::fs::read_to_string(listen_path(dir)).ok()?.trim().parse().ok()
}

/// Opens a node that listens where it is told to, or else where it did the last time, or else at a free port of
/// all interfaces; and remembers where. If it cannot listen where it did the last time, it listens at another port of that
/// interface for now, or if there is none such of all; the address that others were given stays the one to come back to.
///
/// # Errors
/// As [`Node::open`]: also if the address asked for cannot be had.
pub(crate) async fn open_listening(
    dir: &Path,
    asked: Option<SocketAddr>,
    options: Options,
) -> Result<Node, OpenError> {
    let Some(before) = remembered(dir).filter(|_| asked.is_none()) else {
        let node = listen(dir, asked, &options).await?;
        remember(dir, asked.map(|address| address.ip()), &node);
        return Ok(node);
    };
    let mut opened = listen(dir, Some(before), &options).await;
    for elsewhere in [Some(SocketAddr::new(before.ip(), 0)), None] {
        let Err(error @ OpenError::Listen { .. }) = &opened else { break };
        tracing::warn!("{error}; listening elsewhere for now");
        opened = listen(dir, elsewhere, &options).await;
    }
    opened
}

async fn listen(dir: &Path, address: Option<SocketAddr>, options: &Options) -> Result<Node, OpenError> {
    open_node(dir, Options { listen: address, ..options.clone() }).await
}

/// Keeps the port. That it could not be kept costs only what it would have gained.
fn remember(dir: &Path, ip: Option<IpAddr>, node: &Node) {
    let reachable = node.local_addrs();
    let Some(port) = reachable.first().map(SocketAddr::port) else { return };
    let any = if reachable.iter().any(SocketAddr::is_ipv6) {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    let address = SocketAddr::new(ip.unwrap_or(any), port);
    if let Err(error) = std::fs::write(listen_path(dir), format!("{address}\n")) {
        tracing::debug!("cannot keep the port: {error}");
    }
}
