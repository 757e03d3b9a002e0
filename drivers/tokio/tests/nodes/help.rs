//! Nodes to test with, and waiting without sleeping.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use driftless::store::{SharedMemStore, Store};
use driftless::{Continuity, Identity, Name, SecretKey};
use driftless_tokio::{Collection, Database, InviteOptions, News, Node, Options, StoreOptions, Syncgroup};
use tokio::time::timeout;

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Loopback, no discovery.
pub(crate) fn options(name: &str) -> Options {
    Options {
        name: Some(Name::new(name).unwrap()),
        listen: Some(([127, 0, 0, 1], 0).into()),
        discovery: false,
        ..Options::default()
    }
}

/// A new device with any store.
pub(crate) fn node_on<S: Store + Send + 'static>(store: S, options: Options) -> Node {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).unwrap();
    let identity = Identity { chain: None, secret: SecretKey(secret), continuity: Continuity::Unknown };
    Node::start(store, &identity, options).unwrap()
}

/// A new device that forgets everything when it is closed.
pub(crate) fn node(name: &str) -> Node {
    node_on(SharedMemStore::new(), options(name))
}

/// A device with a data directory.
pub(crate) fn node_in(dir: &Path, options: Options) -> Node {
    let store = StoreOptions::new().state_dir(dir.join("state"));
    Node::open(dir.join("data"), Options { store, ..options }).unwrap()
}

/// The database that tests use.
pub(crate) fn database(node: &Node) -> Database {
    node.database("default").unwrap()
}

/// A syncgroup with a collection "notes".
pub(crate) async fn with_notes(node: &Node) -> (Syncgroup, Collection) {
    let db = database(node);
    let syncgroup = soon(db.create_syncgroup("family", &["notes"])).await.unwrap();
    let notes = db.collection("notes").unwrap();
    (syncgroup, notes)
}

/// Has another device join, with the right to write.
pub(crate) async fn join(syncgroup: &Syncgroup, node: &Node) -> Collection {
    join_with(syncgroup, node, InviteOptions::default()).await
}

pub(crate) async fn join_with(syncgroup: &Syncgroup, node: &Node, options: InviteOptions) -> Collection {
    let invitation = soon(syncgroup.invite(options)).await.unwrap();
    // As an application would: through a string.
    let invitation = invitation.to_string().parse().unwrap();
    database(node).join(&invitation, LONG).await.unwrap();
    database(node).collection("notes").unwrap()
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(LONG, what).await.expect("it should not take so long")
}

/// Waits until a row shows a value.
pub(crate) async fn shows(collection: &Collection, key: &str, value: Option<&str>) {
    let mut watch = collection.watch(key).unwrap();
    let arrived = async {
        loop {
            let row = collection.get(key).unwrap();
            if row.as_ref().map(|row| &row.value[..]) == value.map(str::as_bytes) {
                return;
            }
            watch.next().await.unwrap();
        }
    };
    soon(arrived).await;
}

/// Waits until several collections show the same rows, and returns these.
pub(crate) async fn converged(collections: &[&Collection]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut watches: Vec<_> = collections.iter().map(|collection| collection.watch("").unwrap()).collect();
    let same = async {
        loop {
            let all: Vec<_> = collections.iter().map(|collection| rows(collection)).collect();
            if all.windows(2).all(|pair| pair[0] == pair[1]) {
                return all[0].clone();
            }
            let changes: Vec<_> = watches.iter_mut().map(|watch| Box::pin(watch.next())).collect();
            first_of(changes).await;
        }
    };
    soon(same).await
}

/// The rows of a collection.
pub(crate) fn rows(collection: &Collection) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = collection.scan(driftless_tokio::Range::all()).unwrap();
    rows.map(|row| row.unwrap()).map(|row| (row.key.to_vec(), row.value.to_vec())).collect()
}

async fn first_of<F: Future + Unpin>(mut futures: Vec<F>) {
    std::future::poll_fn(|context| {
        let ready = futures.iter_mut().any(|future| std::pin::Pin::new(future).poll(context).is_ready());
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Waits for a link to a device.
pub(crate) async fn linked(notices: &mut driftless_tokio::Notices, with: &Node) {
    let heard = async {
        loop {
            match notices.next().await {
                Some(News::Linked { device, .. }) if device == with.device() => return,
                Some(_) => {}
                None => panic!("the node is closed"),
            }
        }
    };
    soon(heard).await;
}
