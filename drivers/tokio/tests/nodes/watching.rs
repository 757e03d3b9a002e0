//! Watches.

use driftless_tokio::{Backlog, Options, WatchItem};

use crate::help::{database, join, node, node_on, options, soon, with_notes};
use driftless::store::SharedMemStore;

fn keys(item: &WatchItem) -> Vec<&[u8]> {
    match item {
        WatchItem::State { rows, .. } => rows.iter().map(|row| &row.key[..]).collect(),
        WatchItem::Changed(changes) => changes.iter().map(|change| &change.key[..]).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn a_watch_tells_the_state_then_each_batch_whole() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    soon(notes.put("a/1", "1")).await.unwrap();
    soon(notes.put("b/1", "1")).await.unwrap();
    let mut watch = notes.watch("a/").unwrap();
    let state = soon(watch.next()).await.unwrap();
    assert!(matches!(state, WatchItem::State { complete: true, .. }));
    assert_eq!(keys(&state), [b"a/1"]);
    assert_eq!(watch.try_next().unwrap(), None);

    let mut batch = database(&node).batch();
    batch.put(&notes, "a/2", "2").put(&notes, "b/2", "2").delete(&notes, "a/1");
    soon(batch.commit()).await.unwrap();
    let item = soon(watch.next()).await.unwrap();
    let WatchItem::Changed(mut changes) = item else { panic!("{item:?}") };
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(changes.len(), 2);
    assert_eq!((&changes[0].key[..], &changes[0].value, changes[0].local), (&b"a/1"[..], &None, true));
    assert_eq!((&changes[1].key[..], changes[1].value.as_deref()), (&b"a/2"[..], Some(&b"2"[..])));
    assert_eq!(watch.try_next().unwrap(), None);
}

#[tokio::test]
async fn the_state_comes_in_pages_and_changes_meanwhile_follow() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    let mut batch = database(&node).batch();
    for index in 0..1_000 {
        batch.put(&notes, format!("{index:04}"), "x");
    }
    soon(batch.commit()).await.unwrap();
    let mut watch = notes.watch("").unwrap();
    soon(notes.put("0000", "changed")).await.unwrap();

    let (mut seen, mut pages) = (0, 0);
    loop {
        let WatchItem::State { rows, complete } = soon(watch.next()).await.unwrap() else { panic!() };
        assert!(rows.iter().all(|row| row.value == "x"));
        seen += rows.len();
        pages += 1;
        if complete {
            break;
        }
    }
    assert_eq!(seen, 1_000);
    assert!(pages > 1);
    assert_eq!(keys(&soon(watch.next()).await.unwrap()), [b"0000"]);
}

#[tokio::test]
async fn a_reader_that_lags_is_told_and_starts_again() {
    let backlog = Backlog { rows: 10, bytes: 1 << 20 };
    let node = node_on(SharedMemStore::new(), Options { backlog, ..options("ann") });
    let (_, notes) = with_notes(&node).await;
    let mut watch = notes.watch("").unwrap();
    assert_eq!(keys(&soon(watch.next()).await.unwrap()), [b""; 0]);
    for index in 0..50 {
        soon(notes.put(format!("{index:02}"), "x")).await.unwrap();
    }
    assert_eq!(soon(watch.next()).await.unwrap(), WatchItem::Lagged);
    let state = soon(watch.next()).await.unwrap();
    assert!(matches!(state, WatchItem::State { complete: true, .. }));
    assert_eq!(keys(&state).len(), 50);
    soon(notes.put("after", "x")).await.unwrap();
    assert_eq!(keys(&soon(watch.next()).await.unwrap()), [b"after"]);
}

#[tokio::test]
async fn changes_from_elsewhere_are_marked_as_such() {
    let (ann, bob) = (node("ann"), node("bob"));
    let (syncgroup, notes) = with_notes(&ann).await;
    let at_bob = join(&syncgroup, &bob).await;
    let mut watch = at_bob.watch("").unwrap();
    assert!(matches!(soon(watch.next()).await.unwrap(), WatchItem::State { .. }));
    soon(notes.put("a", "1")).await.unwrap();
    let item = soon(watch.next()).await.unwrap();
    let WatchItem::Changed(changes) = item else { panic!("{item:?}") };
    assert!(!changes[0].local);
    assert_eq!(changes[0].value.as_deref(), Some(&b"1"[..]));
}
