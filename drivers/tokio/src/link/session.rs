//! One link: a connection with its stream, from the greeting to the end.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use driftless::{CloseReason, DeviceId, Ed25519, KeyChain, LinkId};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::endpoint::Shared;
use super::frame::{self, FrameError, FrameReader};
use super::{Credit, Incoming, Line, code, tls};
use crate::address;

/// What both ends send first. The caller's opens the stream, the other's says that the link is accepted: TLS
/// alone does not tell a caller whether its own proof was good.
const GREETING: [u8; 4] = *b"dft2";
/// Bytes of a chain of keys, which follow with their number in front, at most.
const MOST_CHAIN: usize = 4 << 10;
/// Bytes read from a stream at a time, at most.
const PIECE: usize = 64 << 10;
/// What a frame costs of its link's budget beyond its bytes, so that many small ones are counted too.
const FRAME_OVERHEAD: usize = 64;
/// How long a link that is being closed waits for what was sent to arrive, and for the reason to be heard.
const LINGER: Duration = Duration::from_millis(1_000);

/// A connection whose other end has proven who it is, and has been greeted.
pub(super) struct Session {
    connection: Connection,
    peer: KeyChain,
    send: SendStream,
    receive: RecvStream,
}

/// Greets a device that was called.
pub(super) async fn called(
    connection: Connection,
    own: &KeyChain,
    expected: DeviceId,
) -> Result<Session, LinkError> {
    let (mut send, mut receive) = connection.open_bi().await?;
    greet(&mut send, own, Some(expected)).await?;
    let peer = expect_greeting(&connection, &mut receive, None).await?;
    if peer.device() != expected {
        connection.close(code::BAD_GREETING, b"this is another device");
        return Err(LinkError::OtherDevice);
    }
    Ok(Session { connection, peer, send, receive })
}

/// Greets a device that has called.
pub(super) async fn answered(connection: Connection, own: &KeyChain) -> Result<Session, LinkError> {
    let (mut send, mut receive) = connection.accept_bi().await?;
    let peer = expect_greeting(&connection, &mut receive, Some(own.device())).await?;
    greet(&mut send, own, None).await?;
    Ok(Session { connection, peer, send, receive })
}

/// Greets, and shows of which device the key is that was proven. A caller says first whom it means.
async fn greet(send: &mut SendStream, own: &KeyChain, whom: Option<DeviceId>) -> Result<(), LinkError> {
    let chain = own.to_bytes();
    let length = u16::try_from(chain.len()).map_err(|_| LinkError::NoKey)?;
    let whom = whom.as_ref().map_or(&[][..], |device| &device.0);
    send.write_all(&[&GREETING[..], whom, &length.to_le_bytes(), &chain].concat()).await?;
    Ok(())
}

/// Reads the other end's greeting: its keys, of which it has proven the last. That each was signed for by the one before
/// the core checks. A caller must mean this device.
async fn expect_greeting(
    connection: &Connection,
    receive: &mut RecvStream,
    meant: Option<DeviceId>,
) -> Result<KeyChain, LinkError> {
    let proven = tls::peer_key(connection).ok_or(LinkError::NoKey)?;
    let mut greeting = [0; GREETING.len()];
    receive.read_exact(&mut greeting).await?;
    if greeting != GREETING {
        connection.close(code::BAD_GREETING, b"this is no greeting");
        return Err(LinkError::Greeting);
    }
    if let Some(own) = meant {
        let mut whom = [0; 16];
        receive.read_exact(&mut whom).await?;
        if DeviceId(whom) != own {
            connection.close(code::BAD_GREETING, b"this is another device");
            return Err(LinkError::OtherDevice);
        }
    }
    let mut length = [0; 2];
    receive.read_exact(&mut length).await?;
    let mut chain = vec![0; usize::from(u16::from_le_bytes(length)).min(MOST_CHAIN)];
    receive.read_exact(&mut chain).await?;
    let chain =
        KeyChain::from_bytes(&chain).filter(|chain| chain.current() == proven && chain.verify(&Ed25519));
    if chain.is_none() {
        connection.close(code::BAD_GREETING, b"these are not the keys");
    }
    chain.ok_or(LinkError::Chain)
}

impl Session {
    /// The keys that the other end has shown, of which it has proven the last.
    pub(super) fn peer(&self) -> &KeyChain {
        &self.peer
    }

    /// Runs the link until it ends. `LinkUp` and `LinkDown` are told once each. A link that was opened by the other
    /// end takes up a `place` until then.
    pub(super) async fn run(self, shared: &Arc<Shared>, place: Option<OwnedSemaphorePermit>) {
        let Self { connection, peer, send, receive } = self;
        let cut = shared.wire.cut();
        let link = shared.next_link();
        let (frames, queue) = mpsc::unbounded_channel();
        let (closing, closed) = oneshot::channel();
        let credit = Arc::new(Credit::default());
        let line = Line { frames, closing, credit: credit.clone() };
        let initiated = place.is_none();
        let remote: SocketAddr = address::canonical(connection.remote_address());
        if shared.events.send(Incoming::LinkUp { link, peer, initiated, remote, line }).is_err() {
            return;
        }
        shared.wire.counters.link_opened(link, connection.clone());
        let ended = tokio::select! {
            ended = converse(shared, link, &connection, (send, receive), (queue, closed), &credit) => ended,
            () = cut => LinkError::Offline,
        };
        connection.close(ended.code(), ended.to_string().as_bytes());
        shared.wire.counters.link_closed(link);
        // The replica's thread may be gone: then nobody wants to know.
        let _ = shared.events.send(Incoming::LinkDown { link, reason: ended.to_string(), _place: place });
    }
}

/// Reads and writes until one end is done, or the link breaks.
async fn converse(
    shared: &Shared,
    link: LinkId,
    connection: &Connection,
    (mut send, receive): (SendStream, RecvStream),
    (queue, closed): (mpsc::UnboundedReceiver<Bytes>, oneshot::Receiver<CloseReason>),
    credit: &Credit,
) -> LinkError {
    let mut reading = pin!(read(shared, link, receive));
    tokio::select! {
        read = &mut reading => match read {
            // The other end has said all it had to say, and closes with a reason as soon as it knows that
            // it has arrived.
            Ok(()) => match timeout(LINGER, connection.closed()).await {
                Ok(reason) => LinkError::Lost(reason),
                Err(_) => LinkError::Done(None),
            },
            Err(error) => error,
        },
        written = write_until(closed, write(shared, link, &mut send, queue, credit)) => match written {
            Ok(reason) => {
                // Reading goes on, for whoever does not read would seem to be gone.
                let drained = async {
                    let _ = reading.await;
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = linger(&mut send) => {}
                    () = drained => {}
                }
                LinkError::Done(Some(reason))
            }
            Err(error) => error,
        },
    }
}

/// Reads frames until the other end finishes its stream.
async fn read(shared: &Shared, link: LinkId, mut receive: RecvStream) -> Result<(), LinkError> {
    let budget = shared.options.receive_buffer;
    let free = Arc::new(Semaphore::new(budget as usize));
    let mut reader = FrameReader::default();
    while let Some(piece) = receive.read_chunk(PIECE, true).await? {
        reader.push(&piece.bytes);
        while let Some(frame) = reader.next()? {
            let cost = u32::try_from(frame.len() + FRAME_OVERHEAD).unwrap_or(u32::MAX).min(budget);
            // The semaphore is never closed. Waiting here is what holds the other end back.
            let Ok(_budget) = free.clone().acquire_many_owned(cost).await else { return Ok(()) };
            shared.wire.counters.received(frame.len());
            if shared.events.send(Incoming::Received { link, frame, _budget }).is_err() {
                return Ok(());
            }
        }
    }
    if reader.is_within_frame() { Err(LinkError::CutShort) } else { Ok(()) }
}

/// Writes until the replica has closed the link and all is written. Whoever does not read that keeps no link by it.
async fn write_until(
    closed: oneshot::Receiver<CloseReason>,
    writing: impl Future<Output = Result<(), LinkError>>,
) -> Result<CloseReason, LinkError> {
    // A line that is dropped gives no reason.
    let mut closed = pin!(async { closed.await.unwrap_or(CloseReason::Shutdown) });
    let mut writing = pin!(writing);
    tokio::select! {
        written = &mut writing => {
            written?;
            Ok(closed.await)
        }
        reason = &mut closed => match timeout(LINGER, writing).await {
            Ok(written) => written.map(|()| reason),
            Err(_) => Err(LinkError::Done(Some(reason))),
        },
    }
}

/// Writes frames until the replica has no more.
async fn write(
    shared: &Shared,
    link: LinkId,
    send: &mut SendStream,
    mut queue: mpsc::UnboundedReceiver<Bytes>,
    credit: &Credit,
) -> Result<(), LinkError> {
    while let Some(frame) = queue.recv().await {
        write_frame(send, &frame).await?;
        shared.wire.counters.sent(frame.len());
        if credit.add(frame.len() as u64) {
            // The replica's thread may be gone: then the queue ends.
            let _ = shared.events.send(Incoming::Writable { link });
        }
    }
    Ok(())
}

async fn write_frame(send: &mut SendStream, frame: &Bytes) -> Result<(), LinkError> {
    let header = Bytes::copy_from_slice(&frame::header(frame)?);
    send.write_all_chunks(&mut [header, frame.clone()]).await?;
    Ok(())
}

/// Waits for what was sent to arrive, within reason.
async fn linger(send: &mut SendStream) {
    if send.finish().is_ok() && timeout(LINGER, send.stopped()).await.is_err() {
        tracing::debug!("what was sent last may not have arrived");
    }
}

/// Why a link could not be opened, or has ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("{}", lost(.0))]
    Lost(#[from] ConnectionError),
    #[error("the address cannot be called: {0}")]
    Connect(#[from] quinn::ConnectError),
    #[error("the stream has ended: {0}")]
    Write(quinn::WriteError),
    #[error("the stream has ended: {0}")]
    Read(quinn::ReadError),
    #[error("the other end has shown no key")]
    NoKey,
    #[error("the other end does not begin with a greeting")]
    Greeting,
    #[error("the keys that the other end shows do not lead to the one that it has proven to own")]
    Chain,
    #[error("another device is meant, or answers")]
    OtherDevice,
    #[error("what came is no frame: {0}")]
    Frame(#[from] FrameError),
    #[error("the stream has ended too early")]
    CutShort,
    #[error("this device went offline")]
    Offline,
    #[error("{}", done(*.0))]
    Done(Option<CloseReason>),
}

impl LinkError {
    /// What the other end is told.
    fn code(&self) -> VarInt {
        match self {
            Self::Frame(_) | Self::CutShort => code::BAD_FRAME,
            Self::Greeting | Self::Chain | Self::OtherDevice => code::BAD_GREETING,
            Self::Offline => code::OFFLINE,
            Self::Done(Some(reason)) => code::of(*reason),
            _ => code::DONE,
        }
    }
}

impl From<quinn::WriteError> for LinkError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::ConnectionLost(error) => Self::Lost(error),
            other => Self::Write(other),
        }
    }
}

impl From<quinn::ReadError> for LinkError {
    fn from(error: quinn::ReadError) -> Self {
        match error {
            quinn::ReadError::ConnectionLost(error) => Self::Lost(error),
            other => Self::Read(other),
        }
    }
}

impl From<quinn::ReadExactError> for LinkError {
    fn from(error: quinn::ReadExactError) -> Self {
        match error {
            quinn::ReadExactError::FinishedEarly(_) => Self::CutShort,
            quinn::ReadExactError::ReadError(error) => error.into(),
        }
    }
}

/// The end of a connection in words.
fn lost(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) => code::describe(close.error_code).to_owned(),
        ConnectionError::TimedOut => "the other device does not answer any more".to_owned(),
        ConnectionError::LocallyClosed => "this device closed it".to_owned(),
        other => other.to_string(),
    }
}

fn done(reason: Option<CloseReason>) -> String {
    match reason {
        Some(reason) => format!("this device closed it ({reason:?})"),
        None => "the other device has finished".to_owned(),
    }
}
