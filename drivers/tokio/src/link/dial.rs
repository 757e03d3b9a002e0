//! Reaching a device that may be at several addresses: one after the other, with a short head start each, and
//! the first that answers wins (in the manner of RFC 8305).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use driftless::{Address, DeviceId, KeyChain};
use quinn::ClientConfig;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Incoming;
use super::endpoint::Shared;
use super::session::{self, LinkError, Session};
use super::tls::DeviceKey;
use crate::address;

/// How long an address is tried alone before the next is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);
/// Any name will do: devices are known by their keys. It is not sent.
const SERVER_NAME: &str = "driftless.invalid";

/// Tries to reach a device, and runs the link; or says that it failed.
pub(super) async fn dial(shared: Arc<Shared>, device: DeviceId, addresses: Vec<Address>) {
    let key = shared.key();
    match first_to_answer(&shared, &key, device, &addresses).await {
        Some(session) => Session::run(session, &shared, None).await,
        // The replica's thread may be gone: then nobody wants to know.
        None => drop(shared.events.send(Incoming::ConnectFailed { device })),
    }
}

async fn first_to_answer(
    shared: &Arc<Shared>,
    key: &DeviceKey,
    device: DeviceId,
    addresses: &[Address],
) -> Option<Session> {
    shared.wire.online().await;
    let cut = shared.wire.cut();
    let crypto = match key.client(device) {
        Ok(crypto) => crypto,
        Err(error) => {
            tracing::error!(%error, "cannot prepare a secure link");
            return None;
        }
    };
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(shared.transport.clone());
    let attempts = race(shared, &config, (key.chain(), device), addresses.iter().filter_map(address::parse));
    let reached = tokio::select! {
        reached = timeout(shared.options.connect_timeout, attempts) => reached.ok().flatten(),
        () = cut => None,
    };
    if reached.is_none() {
        tracing::debug!(%device, ?addresses, "cannot reach a device");
    }
    reached
}

/// Attempts that have not answered when another one has are dropped, which closes them.
async fn race(
    shared: &Arc<Shared>,
    config: &ClientConfig,
    (own, device): (&KeyChain, DeviceId),
    mut addresses: impl Iterator<Item = SocketAddr>,
) -> Option<Session> {
    let mut running = JoinSet::new();
    loop {
        let next = addresses.next();
        let more = next.is_some();
        if let Some(remote) = next {
            running.spawn(attempt(shared.clone(), config.clone(), (own.clone(), device), remote));
        } else if running.is_empty() {
            return None;
        }
        // Wait for an answer; or, if there are more addresses, for the end of the head start.
        tokio::select! {
            Some(ended) = running.join_next() => if let Ok(Some(session)) = ended {
                return Some(session);
            },
            () = sleep(HEAD_START), if more => {}
        }
    }
}

async fn attempt(
    shared: Arc<Shared>,
    config: ClientConfig,
    (own, device): (KeyChain, DeviceId),
    remote: SocketAddr,
) -> Option<Session> {
    let greeted = async {
        let connecting = shared.quic.connect_with(config, remote, SERVER_NAME).map_err(LinkError::from)?;
        session::called(connecting.await?, &own, device).await
    };
    match greeted.await {
        Ok(session) => Some(session),
        Err(error) => {
            tracing::debug!(%remote, %error, "an address does not answer as it should");
            None
        }
    }
}
