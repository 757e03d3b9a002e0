//! What answers requests, within this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};

use bytes::Bytes;
use driftless::store::{Commit, Each, Scan, SharedMemStore, Store, Syncer, Table, View};
use driftless::{CommitSeq, Continuity, Fault, Identity, Limits, Merge, Name, Policy, SecretKey};
use driftless_cli::protocol::{AnswerText, ChoiceText, CollectionRef, Kind, Range, Request, Response};
use driftless_cli::service::answer;
use driftless_tokio::{Node, Options};
use tokio::sync::mpsc;

use crate::support::PATIENCE;

/// A store in memory that notes whether a thread reads it.
struct Noting {
    store: SharedMemStore,
    noted: Noted,
}

#[derive(Clone)]
struct Noted {
    thread: ThreadId,
    has_read: Arc<AtomicBool>,
}

#[derive(Clone)]
struct NotingView(<SharedMemStore as Store>::Snapshot, Noted);

impl NotingView {
    fn note(&self) {
        let is_noted = thread::current().id() == self.1.thread;
        self.1.has_read.fetch_or(is_noted, Ordering::Relaxed);
    }
}

impl View for NotingView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.note();
        self.0.get(table, key)
    }

    fn scan(&self, scan: &Scan<'_>, each: Each<'_>) -> Result<(), Fault> {
        self.note();
        self.0.scan(scan, each)
    }
}

impl Store for Noting {
    type Snapshot = NotingView;

    fn snapshot(&self) -> NotingView {
        NotingView(self.store.snapshot(), self.noted.clone())
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), Fault> {
        self.store.apply(commit)
    }

    fn seq(&self) -> CommitSeq {
        self.store.seq()
    }

    fn syncer(&self) -> Syncer {
        self.store.syncer()
    }
}

/// A node with a collection `notes`, on such a store.
async fn node(limits: Limits) -> (Node, Noted) {
    let noted = Noted { thread: thread::current().id(), has_read: Arc::default() };
    let store = Noting { store: SharedMemStore::new(), noted: noted.clone() };
    let identity = Identity { chain: None, secret: SecretKey([7; 32]), continuity: Continuity::Unknown };
    let listen = Some(([127, 0, 0, 1], 0).into());
    let options = Options { listen, discovery: false, limits, ..Options::default() };
    let node = Node::start(store, &identity, options).unwrap();
    node.database("default").unwrap().create_syncgroup("notes", &["notes"]).await.unwrap();
    (node, noted)
}

fn notes() -> CollectionRef {
    let name = |text| Name::new(text).unwrap();
    CollectionRef { database: name("default"), collection: name("notes"), syncgroup: None }
}

/// Asks, and passes on the items of the answer. They wait until they are taken.
fn ask(node: &Node, request: Request) -> mpsc::Receiver<Response> {
    let (out, items) = mpsc::channel(1);
    let node = node.clone();
    tokio::spawn(async move { answer(&node, request, &out).await });
    items
}

async fn next(items: &mut mpsc::Receiver<Response>) -> Response {
    tokio::time::timeout(PATIENCE, items.recv()).await.expect("an item in time").expect("an item")
}

#[tokio::test]
async fn nothing_that_waits_for_the_disk_holds_up_the_executor() {
    let (node, noted) = node(Limits::default()).await;
    let key = || b"a".to_vec();
    let (of, range) = (notes, Range::default);
    let collection = node.database("default").unwrap().collection("notes").unwrap();
    collection.put("a", "1").await.unwrap();
    noted.has_read.store(false, Ordering::Relaxed);
    let answers = || vec![AnswerText { row: key(), choice: ChoiceText::Delete }];
    let requests = [
        Request::Get { of: of(), key: key() },
        Request::Scan { of: of(), range: range(), values: true },
        Request::Count { of: of(), range: range() },
        Request::History { of: of(), key: key(), limit: 10 },
        Request::Schema { of: of() },
        Request::Conflicts { of: of(), prefix: Vec::new(), limit: None, brief: true },
        Request::Resolve {
            of: of(),
            answers: answers(),
            key_base64: false,
            state: None,
            leave_others: false,
        },
        Request::Watch { of: vec![of()], prefix: Vec::new(), from: None },
    ];
    for request in requests {
        let what = format!("{request:?}");
        let is_refused = matches!(request, Request::Resolve { .. });
        let mut items = ask(&node, request);
        let first = next(&mut items).await;
        assert_eq!(matches!(first, Response::Error(_)), is_refused, "{first:?}");
        assert!(!noted.has_read.load(Ordering::Relaxed), "{what}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn a_watch_knows_what_values_are_also_if_it_missed_that_the_schema_has_changed() {
    let mut limits = Limits::default();
    limits.watch_log = 4;
    let (node, _) = node(limits).await;
    let collection = node.database("default").unwrap().collection("notes").unwrap();
    collection.put("a", "1").await.unwrap();
    let mut items = ask(&node, Request::Watch { of: vec![notes()], prefix: Vec::new(), from: None });
    let kinds = |item: &Response| match item {
        Response::State { rows, .. } => rows.iter().map(|row| row.kind).collect(),
        _ => Vec::new(),
    };
    let first = next(&mut items).await;
    assert_eq!(kinds(&first), [Kind::Bytes]);
    // Nobody takes the items, and the log of changes is short.
    for n in 0..4 {
        collection.put("a", format!("{n}")).await.unwrap();
    }
    collection.set_rule("a", Policy::Merge(Merge::Counter)).await.unwrap();
    for n in 0..100 {
        collection.put("b", format!("{n}")).await.unwrap();
    }
    let again = loop {
        let item = next(&mut items).await;
        if matches!(item, Response::State { .. }) {
            break item;
        }
    };
    assert!(matches!(&again, Response::State { because, .. } if because == "too_old"), "{again:?}");
    assert_eq!(kinds(&again), [Kind::Counter, Kind::Bytes]);
    node.shutdown().await;
}
