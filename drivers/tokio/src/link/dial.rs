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
use crate::address;

/// How long an address is tried alone before the next is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);
/// Any name will do: devices are known by their keys. It is not sent.
const SERVER_NAME: &str = "driftless.invalid";

/// Whom to reach, where, and by which keys it is known.
pub(super) struct Wanted {
    pub(super) device: DeviceId,
    pub(super) addresses: Vec<Address>,
    pub(super) keys: Vec<KeyChain>,
}

/// Tries to reach a device, and runs the link; or says that it failed.
pub(super) async fn dial(shared: Arc<Shared>, wanted: Wanted) {
    match first_to_answer(&shared, &wanted).await {
        Some(session) => Session::run(session, &shared, None).await,
        // The replica's thread may be gone: then nobody wants to know.
        None => drop(shared.events.send(Incoming::ConnectFailed { device: wanted.device })),
    }
}

async fn first_to_answer(shared: &Arc<Shared>, wanted: &Wanted) -> Option<Session> {
    let Wanted { device, addresses, .. } = wanted;
    shared.wire.online().await;
    let cut = shared.wire.cut();
    // While it waited, this device may have taken another.
    let key = shared.key();
    let crypto = match key.client(*device) {
        Ok(crypto) => crypto,
        Err(error) => {
            tracing::error!(%error, "cannot prepare a secure link");
            return None;
        }
    };
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(shared.transport.clone());
    // Somebody who has a former key of the device: an old copy of it, or a thief.
    let mut former = None;
    let attempts = race(shared, &config, (key.chain(), wanted), &mut former);
    let reached = tokio::select! {
        reached = timeout(shared.options.connect_timeout, attempts) => reached.ok().flatten(),
        () = cut => return None,
    };
    let reached = reached.or(former);
    if reached.is_none() {
        tracing::debug!(%device, ?addresses, "cannot reach a device");
    }
    reached
}

/// Attempts that have not answered when another one has are dropped, which closes them. Of those who answer by a former key
/// the first is kept, in case that nobody else answers.
async fn race(
    shared: &Arc<Shared>,
    config: &ClientConfig,
    (own, wanted): (&KeyChain, &Wanted),
    former: &mut Option<Session>,
) -> Option<Session> {
    let is_known = |session: &Session| {
        wanted.keys.is_empty() || wanted.keys.iter().any(|keys| session.peer().starts_with(keys))
    };
    let mut addresses = wanted.addresses.iter().filter_map(address::parse);
    let mut running = JoinSet::new();
    loop {
        let next = addresses.next();
        let more = next.is_some();
        if let Some(remote) = next {
            running.spawn(attempt(shared.clone(), config.clone(), (own.clone(), wanted.device), remote));
        } else if running.is_empty() {
            return None;
        }
        // Wait for an answer; or, if there are more addresses, for the end of the head start.
        tokio::select! {
            Some(ended) = running.join_next() => match ended {
                Ok(Some(session)) if is_known(&session) => return Some(session),
                Ok(Some(session)) => { former.get_or_insert(session); }
                _ => {}
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
