//! One node by itself.

use driftless::store::{Commit, SharedMemStore, Store, Syncer};
use driftless::{
    Action, Command, CommitSeq, Config, Continuity, Core, Event, Fault, Identity, Limits, Millis, Mono, Name,
    Now, Outbox, Refusal, RequestId, SecretKey, Wall,
};
use driftless_tokio::{Error, Node, Options, Range};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::help::{database, node, node_on, options, rows, soon, with_notes};

#[tokio::test]
async fn rows_are_put_read_and_deleted() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    let receipt = soon(notes.put("milk", "2 l")).await.unwrap();
    let row = notes.get("milk").unwrap().unwrap();
    assert_eq!((&row.value[..], Some(row.version)), (&b"2 l"[..], receipt.version()));
    assert_eq!(notes.heads("milk").unwrap().len(), 1);
    assert!(notes.heads("bread").unwrap().is_empty());

    soon(notes.delete("milk")).await.unwrap();
    assert_eq!(notes.get("milk").unwrap(), None);
    assert!(soon(notes.delete("milk")).await.unwrap().parts.is_empty());
}

#[tokio::test]
async fn ranges_are_read_in_order_in_both_directions_and_in_pages() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    let mut batch = database(&node).batch();
    for index in 0..3_000 {
        batch.put(&notes, format!("row/{index:04}"), format!("{index}"));
    }
    batch.put(&notes, "other", "x");
    soon(batch.commit()).await.unwrap();

    let keys = |range| -> Vec<String> {
        let rows = notes.scan(range).unwrap();
        rows.map(|row| String::from_utf8(row.unwrap().key.to_vec()).unwrap()).collect()
    };
    let all = keys(Range::prefix("row/"));
    assert_eq!(all.len(), 3_000);
    assert!(all.is_sorted());
    let mut reversed = keys(Range::prefix("row/").reversed());
    reversed.reverse();
    assert_eq!(reversed, all);
    assert_eq!(keys(Range::prefix("row/").limit(40)), all[..40]);
    assert_eq!(keys(Range::all().reversed().limit(1)), ["row/2999"]);
    assert_eq!(keys(Range::between("row/0010", "row/0012")), ["row/0010", "row/0011"]);
    assert_eq!(keys(Range::all().limit(0)), [""; 0]);
}

#[tokio::test]
async fn a_snapshot_stays_as_it_is() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    soon(notes.put("a", "1")).await.unwrap();
    let snapshot = node.snapshot().unwrap();
    soon(notes.put("a", "2")).await.unwrap();
    soon(notes.put("b", "2")).await.unwrap();
    assert_eq!(snapshot.get(&notes, "a").unwrap().unwrap().value, "1");
    assert_eq!(snapshot.scan(&notes, Range::all()).count(), 1);
    assert_eq!(rows(&notes).len(), 2);
}

#[tokio::test]
async fn a_batch_is_written_whole_or_not_at_all() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    let db = database(&node);
    soon(notes.put("a", "1")).await.unwrap();

    let range = Range::prefix("");
    let seen: Vec<_> = notes.scan(range.clone()).unwrap().collect::<Result<_, _>>().unwrap();
    soon(notes.put("b", "1")).await.unwrap();
    let mut batch = db.batch();
    batch.require_range(&notes, &range, &seen).put(&notes, "c", "1");
    let refused = soon(batch.commit()).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::Precondition { index: 0 }))), "{refused:?}");
    assert_eq!(rows(&notes).len(), 2);

    let mut batch = db.batch();
    batch.put(&notes, "d", "1").put(&notes, [7; 2_000], "the key is too long");
    assert!(matches!(soon(batch.commit()).await, Err(Error::Refused(Refusal::KeyTooLong { size: 2_000 }))));
    assert_eq!(rows(&notes).len(), 2);
}

#[tokio::test]
async fn a_batch_stays_within_one_database() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    let mut batch = node.database("other").unwrap().batch();
    batch.put(&notes, "a", "1");
    assert!(matches!(soon(batch.commit()).await, Err(Error::OtherDatabase { .. })));
}

#[tokio::test]
async fn unknown_and_ambiguous_names_are_answered_with_candidates() {
    let node = node("ann");
    let (family, _) = with_notes(&node).await;
    let db = database(&node);
    let work = soon(db.create_syncgroup("work", &["notes", "tasks"])).await.unwrap();

    let unknown = db.collection("task").unwrap_err();
    assert!(unknown.to_string().contains("it has \"notes\""), "{unknown}");
    let ambiguous = db.collection("notes").unwrap_err();
    let Error::AmbiguousCollection { candidates, .. } = &ambiguous else { panic!("{ambiguous}") };
    assert_eq!(candidates.len(), 2);
    assert_eq!(work.collection("notes").unwrap().syncgroup(), work.id());
    assert_eq!(db.collection("tasks").unwrap().syncgroup(), work.id());

    assert_eq!(soon(db.syncgroup("family")).await.unwrap().id(), family.id());
    let prefix = &family.id().to_string()[..16];
    assert_eq!(soon(db.syncgroup(prefix)).await.unwrap().id(), family.id());
    let unknown = soon(db.syncgroup("friends")).await.unwrap_err();
    assert!(unknown.to_string().contains("work"), "{unknown}");

    let elsewhere = node.database("other").unwrap();
    assert!(elsewhere.collections().unwrap().is_empty());
    assert!(soon(elsewhere.syncgroups()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_syncgroup_is_found_by_its_id_whatever_others_are_called() {
    let node = node("ann");
    let db = database(&node);
    let one = soon(db.create_syncgroup("family", &["notes"])).await.unwrap();
    let id = one.id().to_string();
    // Whoever invites to a syncgroup has chosen its name.
    let other = soon(db.create_syncgroup(&id, &["notes"])).await.unwrap();
    assert_eq!(soon(db.syncgroup(&id)).await.unwrap().id(), one.id());
    assert_eq!(soon(db.syncgroup(&other.id().to_string())).await.unwrap().id(), other.id());
    soon(db.create_syncgroup(&id[..12], &["notes"])).await.unwrap();
    let Err(Error::AmbiguousSyncgroup { candidates, .. }) = soon(db.syncgroup(&id[..12])).await else {
        panic!("one comes before the other");
    };
    assert!(candidates.len() == 2 && candidates.iter().any(|it| it.contains(&id)), "{candidates:?}");
}

#[tokio::test]
async fn a_closed_node_says_so_everywhere() {
    let node = node("ann");
    let (syncgroup, notes) = with_notes(&node).await;
    let mut watch = notes.watch("").unwrap();
    let mut notices = node.notices();
    soon(node.shutdown()).await;
    soon(node.shutdown()).await;
    assert!(matches!(soon(notes.put("a", "1")).await, Err(Error::Closed(_))));
    assert!(matches!(notes.get("a"), Err(Error::Closed(_))));
    assert!(matches!(notes.watch(""), Err(Error::Closed(_))));
    assert!(matches!(soon(node.status()).await, Err(Error::Closed(_))));
    assert!(matches!(soon(syncgroup.info()).await, Err(Error::Closed(_))));
    let ended = async { while watch.next().await.is_ok() {} };
    soon(ended).await;
    let ended = async { while notices.next().await.is_some() {} };
    soon(ended).await;
}

#[tokio::test]
async fn a_node_without_handles_closes_by_itself() {
    let node = node("ann");
    let mut notices = node.notices();
    drop(node);
    let ended = async { while notices.next().await.is_some() {} };
    soon(ended).await;
}

/// A store in memory whose disk does as it is told.
struct Moody {
    store: SharedMemStore,
    disk: Arc<Disk>,
}

#[derive(Default)]
struct Disk {
    state: Mutex<State>,
    changed: Condvar,
    syncs: AtomicUsize,
}

#[derive(Default)]
struct State {
    held: bool,
    full: bool,
}

impl Disk {
    fn set(&self, held: bool, full: bool) {
        *self.state.lock().unwrap() = State { held, full };
        self.changed.notify_all();
    }
}

impl Store for Moody {
    type Snapshot = <SharedMemStore as Store>::Snapshot;

    fn snapshot(&self) -> Self::Snapshot {
        self.store.snapshot()
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), Fault> {
        if self.disk.state.lock().unwrap().full {
            return Err(Fault::Store("no space left on device".to_owned()));
        }
        self.store.apply(commit)
    }

    fn seq(&self) -> CommitSeq {
        self.store.seq()
    }

    fn syncer(&self) -> Syncer {
        let (mut sync, disk) = (self.store.syncer(), self.disk.clone());
        Box::new(move || {
            disk.syncs.fetch_add(1, Ordering::Relaxed);
            let state = disk.state.lock().unwrap();
            drop(disk.changed.wait_while(state, |state| state.held).unwrap());
            sync()
        })
    }
}

fn moody() -> (Moody, Arc<Disk>) {
    let disk = Arc::new(Disk::default());
    (Moody { store: SharedMemStore::new(), disk: disk.clone() }, disk)
}

#[tokio::test]
async fn a_write_is_visible_at_once_and_safe_only_when_the_disk_says_so() {
    let (store, disk) = moody();
    let node = node_on(store, options("ann"));
    let (_, notes) = with_notes(&node).await;
    disk.set(true, false);
    let mut batch = database(&node).batch();
    batch.put(&notes, "a", "1");
    let submitted = soon(batch.submit()).await.unwrap();
    assert_eq!(notes.get("a").unwrap().unwrap().value, "1");
    let version = submitted.receipt().version();

    let mut safe = Box::pin(submitted.safe());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(safe.as_mut().poll(&mut context).is_pending());
    disk.set(false, false);
    assert_eq!(soon(safe).await.unwrap().version(), version);
}

#[tokio::test]
async fn writes_that_wait_for_the_disk_share_its_next_turn() {
    let (store, disk) = moody();
    let node = node_on(store, options("ann"));
    let (_, notes) = with_notes(&node).await;
    disk.set(true, false);
    let before = disk.syncs.load(Ordering::Relaxed);
    let mut submitted = Vec::new();
    for index in 0..100 {
        let mut batch = database(&node).batch();
        batch.put(&notes, format!("{index}"), "x");
        submitted.push(soon(batch.submit()).await.unwrap());
    }
    disk.set(false, false);
    for submitted in submitted {
        soon(submitted.safe()).await.unwrap();
    }
    let syncs = disk.syncs.load(Ordering::Relaxed) - before;
    assert!(syncs <= 3, "{syncs} turns for 100 writes");
}

#[tokio::test]
async fn a_full_disk_closes_the_node_and_says_why() {
    let (store, disk) = moody();
    let node = node_on(store, options("ann"));
    let (_, notes) = with_notes(&node).await;
    disk.set(false, true);
    let refused = soon(notes.put("a", "1")).await.unwrap_err();
    assert!(matches!(&refused, Error::Closed(_)), "{refused}");
    assert!(refused.to_string().contains("no space left"), "{refused}");
    assert!(matches!(notes.get("a"), Err(Error::Closed(_))));
    soon(node.shutdown()).await;
}

/// What a device has written whose clock was ahead by so much.
fn written_ahead(identity: &Identity, by: Duration) -> SharedMemStore {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + by;
    let now = Now { mono: Mono(1), wall: Wall(now.as_millis() as u64) };
    let name = |text| Name::new(text).unwrap();
    let (mut store, mut out) = (SharedMemStore::new(), Outbox::new());
    let commit = |out: &mut Outbox, store: &mut SharedMemStore| {
        while let Some(action) = out.pop() {
            if let Action::Commit(commit) = action {
                store.apply(&commit).unwrap();
            }
        }
    };
    let config = Config::new(name("ann"));
    let mut core = Core::boot(&config, identity, [1; 32], &store.snapshot(), &mut out).unwrap();
    commit(&mut out, &mut store);
    let command =
        Command::CreateSyncgroup { database: name("default"), name: name("family"), collections: Vec::new() };
    let event = Event::Command { request: RequestId(1), command };
    core.handle(now, event, &store.snapshot(), &mut out).unwrap();
    commit(&mut out, &mut store);
    store
}

#[tokio::test]
async fn what_lies_ahead_goes_by_how_far_ahead_this_node_takes_anything() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for (ahead, drift, is_ahead) in [(10, 5, true), (10, 60, false), (3, 5, false), (3, 1, true)] {
        let identity = Identity { chain: None, secret: SecretKey([3; 32]), continuity: Continuity::Shown };
        let store = written_ahead(&identity, minutes(ahead));
        let mut limits = Limits::default();
        limits.drift = Millis(minutes(drift).as_millis() as u64);
        let node = Node::start(store, &identity, Options { limits, ..options("ann") }).unwrap();
        let told = soon(node.status()).await.unwrap().ahead;
        assert_eq!(told.is_some(), is_ahead, "{ahead} minutes, of {drift}");
        assert!(told.is_none_or(|told| told > minutes(ahead - 1) && told <= minutes(ahead)), "{told:?}");
        soon(node.shutdown()).await;
    }
}
