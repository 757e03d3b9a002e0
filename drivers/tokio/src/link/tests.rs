//! Links over loopback: who may link, what passes, what a hostile end can do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use driftless::limits::MAX_FRAME;
use driftless::{
    Address, CloseReason, DeviceId, Ed25519, KeyChain, LinkId, PublicKey, SecretKey, SignatureScheme,
};
use quinn::crypto::rustls::QuicClientConfig;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

use super::{DeviceKey, Endpoint, Incoming, Line};
use crate::address;
use crate::options::Network;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

struct Device {
    endpoint: Endpoint,
    events: UnboundedReceiver<Incoming>,
    public: PublicKey,
}

struct Up {
    link: LinkId,
    peer: PublicKey,
    initiated: bool,
    line: Line,
}

fn keys(seed: u8) -> (SecretKey, PublicKey) {
    let secret = SecretKey([seed; 32]);
    let public = Ed25519.public(&secret);
    (secret, public)
}

fn options() -> Network {
    Network { connect_timeout: Duration::from_secs(3), ..Network::default() }
}

impl Device {
    fn new(seed: u8) -> Self {
        Self::with(seed, options())
    }

    fn with(seed: u8, options: Network) -> Self {
        let (secret, public) = keys(seed);
        Self::of(DeviceKey::new(&secret, &public.into()).unwrap(), public, options)
    }

    fn of(key: DeviceKey, public: PublicKey, options: Network) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let endpoint = Endpoint::bind(Some(([127, 0, 0, 1], 0).into()), key, options, sender).unwrap();
        Self { endpoint, events, public }
    }

    fn device(&self) -> DeviceId {
        self.public.device()
    }

    fn address(&self) -> Address {
        address::of(self.endpoint.wire().local_addr())
    }

    fn dial(&self, other: &Device) {
        self.endpoint.dial(other.device(), vec![other.address()], Vec::new());
    }

    async fn event(&mut self) -> Incoming {
        timeout(LONG, self.events.recv()).await.expect("something happens").expect("the endpoint lives")
    }

    async fn up(&mut self) -> Up {
        match self.event().await {
            Incoming::LinkUp { link, peer, initiated, line, .. } => {
                Up { link, peer: peer.current(), initiated, line }
            }
            other => panic!("expected a link, got {}", describe(&other)),
        }
    }

    /// Receives until a frame comes.
    async fn frame(&mut self) -> Bytes {
        loop {
            match self.event().await {
                Incoming::Received { frame, .. } => return frame,
                Incoming::Writable { .. } => {}
                other => panic!("expected a frame, got {}", describe(&other)),
            }
        }
    }

    /// Receives until a link is down.
    async fn down(&mut self) -> (LinkId, String) {
        loop {
            match self.event().await {
                Incoming::LinkDown { link, reason, .. } => return (link, reason),
                Incoming::Received { .. } | Incoming::Writable { .. } => {}
                other => panic!("expected the end of a link, got {}", describe(&other)),
            }
        }
    }

    async fn cannot_connect(&mut self) -> DeviceId {
        match self.event().await {
            Incoming::ConnectFailed { device } => device,
            other => panic!("expected a failure, got {}", describe(&other)),
        }
    }

    /// Whether nothing has happened here, once a later link has come up.
    async fn still_works(&mut self) {
        let mut friend = Device::new(99);
        friend.dial(self);
        let up = self.up().await;
        assert_eq!(up.peer, friend.public);
        let line = friend.up().await.line;
        line.send(Bytes::from_static(b"still there?"));
        assert_eq!(self.frame().await, "still there?");
    }
}

fn describe(incoming: &Incoming) -> String {
    match incoming {
        Incoming::LinkUp { peer, .. } => format!("a link to {peer:?}"),
        Incoming::LinkDown { reason, .. } => format!("the end of a link: {reason}"),
        Incoming::ConnectFailed { .. } => "a failure to connect".to_owned(),
        Incoming::Received { frame, .. } => format!("a frame of {} bytes", frame.len()),
        Incoming::Writable { .. } => "credit".to_owned(),
        Incoming::PeerFound { .. } | Incoming::PeerLost { .. } => "news of a peer".to_owned(),
    }
}

async fn linked(a: &mut Device, b: &mut Device) -> (Up, Up) {
    a.dial(b);
    (a.up().await, b.up().await)
}

/// A connection by hand, for those who do not keep to the protocol.
async fn raw(secret: u8, to: &Device) -> (quinn::Endpoint, quinn::Connection) {
    let (secret, public) = keys(secret);
    let crypto = DeviceKey::new(&secret, &public.into()).unwrap().client(to.device()).unwrap();
    raw_with(crypto, to).await.unwrap()
}

/// What such a caller says first, and what it says then.
fn greeting(secret: u8, to: &Device, then: &[u8]) -> Vec<u8> {
    let chain = KeyChain::new(keys(secret).1).to_bytes();
    let length = u16::try_from(chain.len()).unwrap().to_le_bytes();
    [&b"dft2"[..], &to.device().0, &length, &chain, then].concat()
}

async fn raw_with(
    crypto: QuicClientConfig,
    to: &Device,
) -> Result<(quinn::Endpoint, quinn::Connection), quinn::ConnectionError> {
    let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let remote = to.endpoint.wire().local_addr();
    let connection = endpoint.connect_with(config, remote, "anything.invalid").unwrap().await?;
    Ok((endpoint, connection))
}

#[tokio::test]
async fn both_ends_know_who_is_at_the_other_and_frames_of_every_size_pass() {
    let (mut ann, mut bob) = (Device::new(1), Device::new(2));
    let (at_ann, at_bob) = linked(&mut ann, &mut bob).await;
    assert_eq!((at_ann.peer, at_ann.initiated), (bob.public, true));
    assert_eq!((at_bob.peer, at_bob.initiated), (ann.public, false));
    for size in [1, 1_000, 100_000, MAX_FRAME] {
        let frame = Bytes::from(vec![size as u8; size]);
        at_ann.line.send(frame.clone());
        at_bob.line.send(frame.clone());
        assert_eq!(bob.frame().await, frame);
        assert_eq!(ann.frame().await, frame);
    }
    let traffic = ann.endpoint.wire().counters.read();
    assert_eq!((traffic.frames_received, traffic.frame_bytes_received), (4, 101_001 + MAX_FRAME as u64));
    assert!(traffic.wire_bytes_received > traffic.frame_bytes_received);
}

#[tokio::test]
async fn credit_comes_back_for_every_byte_that_was_sent() {
    let (mut ann, mut bob) = (Device::new(1), Device::new(2));
    let (at_ann, _at_bob) = linked(&mut ann, &mut bob).await;
    for _ in 0..100 {
        at_ann.line.send(Bytes::from(vec![7; 1_000]));
    }
    let mut credit = 0;
    while credit < 100_000 {
        assert!(matches!(ann.event().await, Incoming::Writable { link } if link == at_ann.link));
        credit += at_ann.line.take_credit();
    }
    assert_eq!(credit, 100_000);
}

#[tokio::test]
async fn a_device_that_answers_with_another_key_is_refused() {
    let (mut ann, mut bob) = (Device::new(1), Device::new(2));
    let wanted = keys(3).1.device();
    ann.endpoint.dial(wanted, vec![bob.address()], Vec::new());
    assert_eq!(ann.cannot_connect().await, wanted);
    bob.still_works().await;
}

/// A device's second key, and the chain that leads to it.
fn second_key(first: u8, second: u8) -> (SecretKey, KeyChain) {
    let (secret, public) = keys(first);
    let next = keys(second).0;
    let chain = KeyChain::new(public).rolled_over(&secret, &next, &Ed25519).unwrap();
    (next, chain)
}

#[tokio::test]
async fn a_device_with_another_key_is_reached_under_its_first_name() {
    let (secret, chain) = second_key(2, 7);
    let mut bob = Device::of(DeviceKey::new(&secret, &chain).unwrap(), keys(2).1, options());
    let mut ann = Device::new(1);
    let (at_ann, at_bob) = linked(&mut ann, &mut bob).await;
    assert_eq!((at_ann.peer, at_bob.peer), (chain.current(), ann.public));
    bob.dial(&ann);
    assert_eq!(ann.up().await.peer, chain.current());
}

#[tokio::test]
async fn a_caller_shows_nothing_of_itself_before_it_knows_that_it_has_reached_whom_it_means() {
    for (first, second, is_meant) in
        [(2, None, true), (2, Some(7), true), (3, None, false), (3, Some(7), false)]
    {
        let (secret, chain) = match second {
            Some(second) => second_key(first, second),
            None => (keys(first).0, keys(first).1.into()),
        };
        let shown = super::tls::Shown::default();
        let crypto = DeviceKey::new(&secret, &chain).unwrap().server_that_notes(shown.clone());
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let answers = quinn::Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap();
        let address = address::of(answers.local_addr().unwrap());
        let mut ann = Device::new(1);
        let wanted = keys(2).1.device();
        ann.endpoint.dial(wanted, vec![address], Vec::new());
        let connection = timeout(LONG, async { answers.accept().await.unwrap().await }).await.unwrap();
        // Nobody greets it.
        drop(connection);
        assert_eq!(ann.cannot_connect().await, wanted);
        assert_eq!(!shown.lock().unwrap().is_empty(), is_meant, "{first} {second:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_shown_but_not_owned_is_refused_on_both_sides() {
    let (secret, _) = keys(6);
    let (_, stolen) = keys(1);
    let mut thief = Device::of(DeviceKey::new(&secret, &stolen.into()).unwrap(), stolen, options());
    let (mut ann, mut bob) = (Device::new(1), Device::new(2));

    thief.dial(&bob);
    assert_eq!(thief.cannot_connect().await, bob.device());
    bob.still_works().await;

    bob.dial(&thief);
    loop {
        match bob.event().await {
            Incoming::ConnectFailed { device } => break assert_eq!(device, ann.device()),
            Incoming::LinkDown { .. } => {}
            other => panic!("expected a failure, got {}", describe(&other)),
        }
    }
    ann.still_works().await;
}

#[tokio::test]
async fn a_caller_without_a_key_is_refused() {
    let mut ann = Device::new(1);
    let crypto = DeviceKey::new(&keys(2).0, &keys(2).1.into()).unwrap().client_without_key(ann.device());
    if let Ok((_endpoint, connection)) = raw_with(crypto, &ann).await {
        // A caller believes that it is through before the other end has looked at its proof.
        let end = timeout(LONG, connection.closed()).await.unwrap();
        assert!(matches!(end, quinn::ConnectionError::ConnectionClosed(_)), "{end}");
    }
    ann.still_works().await;
}

#[tokio::test]
async fn a_caller_of_another_protocol_is_refused() {
    let mut ann = Device::new(1);
    let crypto = DeviceKey::new(&keys(2).0, &keys(2).1.into()).unwrap().client_speaking(ann.device(), b"h3");
    assert!(raw_with(crypto, &ann).await.is_err());
    ann.still_works().await;
}

#[tokio::test]
async fn a_caller_that_does_not_greet_never_becomes_a_link() {
    let short = Network { handshake_timeout: Duration::from_millis(300), ..options() };
    let mut ann = Device::with(1, short);
    let (_silent, says_nothing) = raw(2, &ann).await;
    assert!(timeout(LONG, says_nothing.closed()).await.is_ok());

    let (_rude, says_garbage) = raw(2, &ann).await;
    let (mut send, _receive) = says_garbage.open_bi().await.unwrap();
    send.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(timeout(LONG, says_garbage.closed()).await.is_ok());
    ann.still_works().await;
}

#[tokio::test]
async fn what_is_no_frame_ends_the_link_and_nothing_else() {
    let mut ann = Device::new(1);
    let too_long = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
    for garbage in [&too_long[..], &[0; 4], &[0xff; 1_000]] {
        let (_endpoint, connection) = raw(2, &ann).await;
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(&greeting(2, &ann, b"\x00\x00\x00\x02ok")).await.unwrap();
        let up = ann.up().await;
        assert_eq!(ann.frame().await, "ok");
        send.write_all(garbage).await.unwrap();
        let (down, reason) = ann.down().await;
        assert_eq!(down, up.link);
        assert!(reason.contains("no frame"), "{reason}");
    }
    ann.still_works().await;
}

#[tokio::test]
async fn a_stream_that_ends_within_a_frame_ends_the_link() {
    let mut ann = Device::new(1);
    let (_endpoint, connection) = raw(2, &ann).await;
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&greeting(2, &ann, b"\x00\x00\x00\x05hal")).await.unwrap();
    send.finish().unwrap();
    let _up = ann.up().await;
    assert!(ann.down().await.1.contains("too early"));
    ann.still_works().await;
}

#[tokio::test]
async fn a_flood_waits_at_its_sender() {
    let budget = 64 << 10;
    let (mut ann, mut bob) =
        (Device::new(1), Device::with(2, Network { receive_buffer: budget, ..options() }));
    let (at_ann, at_bob) = linked(&mut ann, &mut bob).await;
    const FRAMES: usize = 1_000;
    for _ in 0..FRAMES {
        at_ann.line.send(Bytes::from(vec![7; 10_000]));
    }
    // Bob's replica looks at nothing: what is on its way stays within the budget, whatever is sent.
    let mut held = Vec::new();
    while let Ok(Some(event)) = timeout(Duration::from_millis(500), bob.events.recv()).await {
        held.push(event);
    }
    assert!((1..=6).contains(&held.len()), "{} frames", held.len());
    // Looked at late, it all arrives.
    let mut seen = held.len();
    drop(held);
    while seen < FRAMES {
        bob.frame().await;
        seen += 1;
    }
    drop(at_bob);
}

#[tokio::test]
async fn what_was_sent_before_closing_arrives_and_so_does_the_reason() {
    let (mut ann, mut bob) = (Device::new(1), Device::new(2));
    let (at_ann, at_bob) = linked(&mut ann, &mut bob).await;
    at_ann.line.send(Bytes::from(vec![7; 300_000]));
    at_ann.line.close(CloseReason::Duplicate);
    assert_eq!(bob.frame().await.len(), 300_000);
    let (link, reason) = bob.down().await;
    assert_eq!(link, at_bob.link);
    assert!(reason.contains("another link"), "{reason}");
    assert_eq!(ann.down().await.0, at_ann.link);
}

#[tokio::test]
async fn whoever_reads_nothing_keeps_no_link_that_is_closed() {
    let mut ann = Device::new(1);
    let (_endpoint, connection) = raw(2, &ann).await;
    let (mut send, _unread) = connection.open_bi().await.unwrap();
    send.write_all(&greeting(2, &ann, b"")).await.unwrap();
    let up = ann.up().await;
    // More than fits both ends' buffers: the last of it waits for the other end to read.
    for _ in 0..16 {
        up.line.send(Bytes::from(vec![7; MAX_FRAME]));
    }
    up.line.close(CloseReason::TooManyLinks);
    let (link, reason) = ann.down().await;
    assert_eq!(link, up.link);
    assert!(reason.contains("TooManyLinks"), "{reason}");
    let end = timeout(LONG, connection.closed()).await.expect("the connection ends");
    assert!(matches!(end, quinn::ConnectionError::ApplicationClosed(_)), "{end}");
    ann.still_works().await;
}

#[tokio::test]
async fn the_first_address_that_answers_wins() {
    let (mut ann, mut bob) = (Device::new(1), Device::new(2));
    // A socket that never answers, an address of another kind, and the right one.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addresses = vec![
        address::of(silent.local_addr().unwrap()),
        Address::new("tcp:127.0.0.1:1").unwrap(),
        bob.address(),
    ];
    ann.endpoint.dial(bob.device(), addresses, Vec::new());
    assert_eq!(ann.up().await.peer, bob.public);
    assert_eq!(bob.up().await.peer, ann.public);
}

#[tokio::test]
async fn a_device_that_does_not_answer_is_given_up_once() {
    let mut ann = Device::with(1, Network { connect_timeout: Duration::from_millis(300), ..options() });
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = keys(3).1.device();
    ann.endpoint.dial(nobody, vec![address::of(silent.local_addr().unwrap())], Vec::new());
    assert_eq!(ann.cannot_connect().await, nobody);
    ann.endpoint.dial(nobody, vec![], Vec::new());
    assert_eq!(ann.cannot_connect().await, nobody);
    ann.still_works().await;
}

#[tokio::test]
async fn offline_all_links_end_and_calls_wait_until_it_is_over() {
    let (mut ann, mut bob) = (Device::new(1), Device::new(2));
    let _up = linked(&mut ann, &mut bob).await;
    ann.endpoint.wire().set_online(false);
    assert!(ann.down().await.1.contains("went offline"));
    assert!(bob.down().await.1.contains("went offline"));

    bob.dial(&ann);
    assert_eq!(bob.cannot_connect().await, ann.device());
    ann.dial(&bob);
    assert!(ann.events.try_recv().is_err());

    ann.endpoint.wire().set_online(true);
    assert_eq!(ann.up().await.peer, bob.public);
    assert_eq!(bob.up().await.peer, ann.public);
}

#[tokio::test]
async fn a_cut_however_short_ends_all_links() {
    let (mut ann, mut bob) = (Device::new(1), Device::new(2));
    let _up = linked(&mut ann, &mut bob).await;
    ann.endpoint.wire().set_online(false);
    ann.endpoint.wire().set_online(true);
    assert!(ann.down().await.1.contains("went offline"));
    assert!(bob.down().await.1.contains("went offline"));
}

#[tokio::test]
async fn a_link_whose_other_end_vanishes_ends_by_itself() {
    let quick = Network {
        keep_alive: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(500),
        ..options()
    };
    let mut ann = Device::with(1, quick.clone());
    let (address, device) = (ann.address(), ann.device());
    let elsewhere = tokio::runtime::Runtime::new().unwrap();
    let vanishing = elsewhere.spawn(async move {
        let mut vanishing = Device::with(2, quick);
        vanishing.endpoint.dial(device, vec![address], Vec::new());
        let up = vanishing.up().await;
        (vanishing, up)
    });
    let up = ann.up().await;
    let _vanishing = vanishing.await.unwrap();
    // The other end stops where it stands: nobody says good-bye.
    elsewhere.shutdown_background();
    let (link, reason) = ann.down().await;
    assert_eq!(link, up.link);
    assert!(reason.contains("does not answer"), "{reason}");
    ann.still_works().await;
}

#[tokio::test]
async fn callers_beyond_the_limit_are_refused() {
    let mut ann = Device::with(1, Network { inbound_links: 1, ..options() });
    let (mut bob, mut eve) = (Device::new(2), Device::new(3));
    let (at_bob, _at_ann) = linked(&mut bob, &mut ann).await;
    eve.dial(&ann);
    assert_eq!(eve.cannot_connect().await, ann.device());

    at_bob.line.close(CloseReason::Shutdown);
    ann.down().await;
    bob.down().await;
    ann.still_works().await;
}

#[tokio::test]
async fn a_link_that_came_and_went_counts_until_the_replica_has_heard_of_its_end() {
    let mut ann = Device::with(1, Network { inbound_links: 1, ..options() });
    let (mut bob, mut eve) = (Device::new(2), Device::new(3));
    bob.dial(&ann);
    let at_bob = bob.up().await;
    at_bob.line.send(Bytes::from_static(b"hello"));
    at_bob.line.close(CloseReason::Shutdown);
    bob.down().await;
    // Ann's replica looks at nothing: that the link is up, the frame, and that the link is down.
    let gone = async {
        while ann.events.len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, gone).await.expect("the link goes");
    eve.dial(&ann);
    assert_eq!(eve.cannot_connect().await, ann.device());

    ann.up().await;
    ann.down().await;
    ann.still_works().await;
}

#[tokio::test]
async fn closing_the_endpoint_ends_all_links() {
    let (mut ann, mut bob) = (Device::new(1), Device::new(2));
    let _up = linked(&mut ann, &mut bob).await;
    timeout(LONG, ann.endpoint.close()).await.unwrap();
    assert!(bob.down().await.1.contains("shutting down"));
    ann.down().await;
    bob.still_works().await;
}
