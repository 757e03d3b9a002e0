//! The QUIC endpoint: one UDP socket, through which this device calls others and is called.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use driftless::{Address, CloseReason, DeviceId, KeyChain, LinkId};
use quinn::{EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::dial::{self, Wanted};
use super::session::{self, Session};
use super::tls::DeviceKey;
use super::{Incoming, Wire, code};
use crate::error::OpenError;
use crate::options::Network;

/// Bytes that the operating system is asked to hold for the socket, each way: enough for a burst while the
/// reading task waits for its turn. It may grant less.
const SOCKET_BUFFER: usize = 2 << 20;
/// Bytes that callers may send before their handshake is looked at, each and together.
const EARLY_BYTES: (u64, u64) = (64 << 10, 4 << 20);
/// How long closing waits for the other ends to hear of it.
const GOODBYE: Duration = Duration::from_millis(500);

/// See the module. Clones are the same endpoint.
#[derive(Clone)]
pub(crate) struct Endpoint {
    shared: Arc<Shared>,
}

/// What all tasks of an endpoint share.
pub(super) struct Shared {
    pub(super) quic: quinn::Endpoint,
    key: RwLock<DeviceKey>,
    pub(super) options: Network,
    pub(super) transport: Arc<TransportConfig>,
    pub(super) wire: Arc<Wire>,
    pub(super) events: mpsc::UnboundedSender<Incoming>,
    /// Callers that may be proving who they are.
    handshakes: Arc<Semaphore>,
    /// Links that others may open.
    inbound: Arc<Semaphore>,
    next_link: AtomicU64,
}

impl Endpoint {
    /// Binds the socket and begins to accept links. It must be called within the runtime that runs the links.
    pub(crate) fn bind(
        listen: Option<SocketAddr>,
        key: DeviceKey,
        options: Network,
        events: mpsc::UnboundedSender<Incoming>,
    ) -> Result<Self, OpenError> {
        let socket = match listen {
            Some(address) => bind(address).map_err(|source| OpenError::Listen { address, source })?,
            None => bind_anywhere()?,
        };
        let system = |source| OpenError::System { doing: "set up the UDP socket", source };
        let local = socket.local_addr().map_err(system)?;
        let transport = Arc::new(transport(&options));
        let server = server(&key, &transport, &options)?;
        let runtime = Arc::new(TokioRuntime);
        let quic =
            quinn::Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime).map_err(system)?;
        let shared = Arc::new(Shared {
            quic,
            key: RwLock::new(key),
            transport,
            wire: Arc::new(Wire::new(local)),
            events,
            handshakes: Arc::new(Semaphore::new(options.handshakes)),
            inbound: Arc::new(Semaphore::new(options.inbound_links)),
            next_link: AtomicU64::new(1),
            options,
        });
        tokio::spawn(accept(shared.clone()));
        Ok(Self { shared })
    }

    /// Proves this device by another key from now on. Links that there are stay as they are.
    pub(crate) fn take_key(&self, key: DeviceKey) -> Result<(), rustls::Error> {
        let server = server(&key, &self.shared.transport, &self.shared.options)?;
        *self.shared.key.write().unwrap_or_else(PoisonError::into_inner) = key;
        self.shared.quic.set_server_config(Some(server));
        Ok(())
    }

    pub(crate) fn wire(&self) -> &Arc<Wire> {
        &self.shared.wire
    }

    /// Tries to reach a device. It ends in exactly one `LinkUp` or `ConnectFailed`. While the node is offline
    /// the attempt waits. Who shows no chain that starts with one of `keys` has a former key, and is taken last.
    pub(crate) fn dial(&self, device: DeviceId, addresses: Vec<Address>, keys: Vec<KeyChain>) {
        tokio::spawn(dial::dial(self.shared.clone(), Wanted { device, addresses, keys }));
    }

    /// Closes what is still open, and waits a moment for the other ends to hear of it.
    pub(crate) async fn close(&self) {
        self.shared.quic.close(code::of(CloseReason::Shutdown), b"shutting down");
        if timeout(GOODBYE, self.shared.quic.wait_idle()).await.is_err() {
            tracing::debug!("some links did not hear the good-bye");
        }
    }
}

impl Shared {
    /// What this device proves itself by now.
    pub(super) fn key(&self) -> DeviceKey {
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn next_link(&self) -> LinkId {
        LinkId(self.next_link.fetch_add(1, Ordering::Relaxed))
    }
}

/// How calls are answered.
fn server(
    key: &DeviceKey,
    transport: &Arc<TransportConfig>,
    options: &Network,
) -> Result<ServerConfig, rustls::Error> {
    let mut server = ServerConfig::with_crypto(Arc::new(key.server()?));
    server.transport_config(transport.clone());
    server.max_incoming(options.handshakes.saturating_mul(2).max(16));
    server.incoming_buffer_size(EARLY_BYTES.0).incoming_buffer_size_total(EARLY_BYTES.1);
    Ok(server)
}

/// Both versions of IP if the machine has both.
fn bind_anywhere() -> Result<UdpSocket, OpenError> {
    let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    bind(everywhere).or_else(|error| {
        tracing::debug!(%error, "no IPv6, listening on IPv4 only");
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        bind(address).map_err(|source| OpenError::Listen { address, source })
    })
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Smaller buffers cost throughput, nothing else.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// One stream per link, and nothing else.
fn transport(options: &Network) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let window = VarInt::from_u32(options.receive_buffer.max(64 << 10));
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(window)
        .receive_window(window)
        .send_window(u64::from(options.send_buffer))
        .keep_alive_interval(Some(options.keep_alive))
        .max_idle_timeout(IdleTimeout::try_from(options.idle_timeout).ok());
    transport
}

/// Takes calls until the endpoint is closed.
async fn accept(shared: Arc<Shared>) {
    while let Some(incoming) = shared.quic.accept().await {
        if !shared.wire.is_online() {
            incoming.refuse();
            continue;
        }
        // When many are calling at once, an address must prove that it can be called back before it costs
        // more than a packet.
        let busy = shared.handshakes.available_permits() < shared.options.handshakes / 2;
        if busy && !incoming.remote_address_validated() {
            // It cannot fail for an address that is not validated yet.
            let _ = incoming.retry();
            continue;
        }
        match (shared.handshakes.clone().try_acquire_owned(), shared.inbound.clone().try_acquire_owned()) {
            (Ok(handshake), Ok(inbound)) => {
                tokio::spawn(answer(shared.clone(), incoming, handshake, inbound));
            }
            _ => {
                tracing::debug!(remote = %incoming.remote_address(), "refused a call: too many at once");
                incoming.refuse();
            }
        }
    }
}

/// Has a caller prove who it is, then runs the link.
async fn answer(
    shared: Arc<Shared>,
    incoming: quinn::Incoming,
    handshake: OwnedSemaphorePermit,
    inbound: OwnedSemaphorePermit,
) {
    let remote = incoming.remote_address();
    // The handshake is by the key of the moment when the call came, which may have been a moment before this one. Then the
    // chain that is shown does not lead to it, and the caller calls again.
    let chain = shared.key().chain().clone();
    let greeted = async { session::answered(incoming.accept()?.await?, &chain).await };
    match timeout(shared.options.handshake_timeout, greeted).await {
        Ok(Ok(session)) => {
            drop(handshake);
            Session::run(session, &shared, Some(inbound)).await;
        }
        Ok(Err(error)) => tracing::debug!(%remote, %error, "a call has failed"),
        Err(_) => tracing::debug!(%remote, "a call took too long"),
    }
}
