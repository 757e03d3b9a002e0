//! A node against devices that prove who they are and then misbehave.

use std::time::Duration;

use bytes::Bytes;
use driftless::store::SharedMemStore;
use driftless::{Continuity, Ed25519, Identity, SecretKey, SignatureScheme};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::link::{DeviceKey, Endpoint, Incoming};
use crate::{Network, Node, Options, address};

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn garbage_in_good_frames_ends_the_link_and_the_node_lives() {
    let options =
        Options { listen: Some(([127, 0, 0, 1], 0).into()), discovery: false, ..Options::default() };
    let identity = Identity { chain: None, secret: SecretKey([1; 32]), continuity: Continuity::Unknown };
    let node = Node::start(SharedMemStore::new(), &identity, options).unwrap();
    let node_address = address::of(node.local_addrs()[0]);

    for (seed, length) in [(1, 1), (2, 40), (3, 5_000)] {
        let secret = SecretKey([90 + seed; 32]);
        let key = DeviceKey::new(&secret, &Ed25519.public(&secret).into()).unwrap();
        let (events, mut incoming) = mpsc::unbounded_channel();
        let listen = Some(([127, 0, 0, 1], 0).into());
        let hostile = Endpoint::bind(listen, key, Network::default(), events).unwrap();
        hostile.dial(node.device(), vec![node_address.clone()], Vec::new());
        let ended = async {
            let mut line = None;
            while let Some(event) = incoming.recv().await {
                match event {
                    Incoming::LinkUp { line: up, .. } => {
                        up.send(Bytes::from(vec![0xff; length]));
                        line = Some(up);
                    }
                    Incoming::LinkDown { reason, .. } => return reason,
                    _ => {}
                }
            }
            drop(line);
            String::new()
        };
        let reason = timeout(LONG, ended).await.expect("the link is closed");
        assert!(reason.starts_with("the other device"), "{reason}");
    }
    assert!(timeout(LONG, node.status()).await.unwrap().is_ok());
    timeout(LONG, node.shutdown()).await.unwrap();
}
