//! Watches.

use driftless::store::SharedMemStore;
use driftless::{Limits, Merge, Policy, Rule, SyncgroupState};
use driftless_tokio::{Options, Resumed, RowUpdate, Update, Watch, WatchEnd};

use crate::help::{database, join, node, node_in, node_on, options, soon, with_notes};

async fn next(watch: &mut Watch) -> Update {
    soon(watch.next()).await.unwrap().expect("the watch goes on")
}

fn keys(rows: &[RowUpdate]) -> Vec<&[u8]> {
    rows.iter().map(|row| &row.key[..]).collect()
}

/// The keys of a state that comes in one page, and why it comes.
async fn state(watch: &mut Watch) -> (Resumed, Vec<Vec<u8>>) {
    match next(watch).await {
        Update::State { because, rows, complete: Some(_), .. } => {
            (because, keys(&rows).into_iter().map(<[u8]>::to_vec).collect())
        }
        other => panic!("{other:?}"),
    }
}

async fn batch(watch: &mut Watch) -> Vec<RowUpdate> {
    match next(watch).await {
        Update::Batch { rows, .. } => rows,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_watch_tells_the_state_then_each_batch_whole() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    soon(notes.put("a/1", "1")).await.unwrap();
    soon(notes.put("b/1", "1")).await.unwrap();
    let mut watch = notes.watch("a/").unwrap();
    assert_eq!(state(&mut watch).await, (Resumed::Started, vec![b"a/1".to_vec()]));
    assert_eq!(watch.try_next().unwrap(), None);

    let mut batch = database(&node).batch();
    batch.put(&notes, "a/2", "2").put(&notes, "b/2", "2").delete(&notes, "a/1");
    soon(batch.commit()).await.unwrap();
    let Update::Batch { rows, local, .. } = next(&mut watch).await else { panic!() };
    assert!(local);
    assert_eq!(keys(&rows), [b"a/1", b"a/2"]);
    assert_eq!((rows[0].value.as_deref(), rows[1].value.as_deref()), (None, Some(&b"2"[..])));
    assert_eq!(watch.try_next().unwrap(), None);
}

#[tokio::test]
async fn the_state_comes_in_pages_of_one_moment_and_changes_meanwhile_follow() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    let mut all = database(&node).batch();
    for index in 0..1_000 {
        all.put(&notes, format!("{index:04}"), "x");
    }
    soon(all.commit()).await.unwrap();
    let mut watch = notes.watch("").unwrap();
    let (mut seen, mut pages) = (0, 0);
    loop {
        let Update::State { rows, complete, .. } = next(&mut watch).await else { panic!() };
        assert!(rows.iter().all(|row| row.value.as_deref() == Some(b"x")));
        seen += rows.len();
        pages += 1;
        soon(notes.put("0000", format!("changed after page {pages}"))).await.unwrap();
        if complete.is_some() {
            break;
        }
        assert_eq!(watch.marker(), None);
    }
    assert_eq!(seen, 1_000);
    assert!(pages > 1);
    for page in 1..=pages {
        let rows = batch(&mut watch).await;
        assert_eq!(rows[0].value.as_ref().unwrap(), &format!("changed after page {page}"));
    }
}

#[tokio::test]
async fn a_slow_reader_gets_what_it_missed_or_the_state_and_is_told() {
    let mut limits = Limits::default();
    limits.watch_log = 20;
    let node = node_on(SharedMemStore::new(), Options { limits, ..options("ann") });
    let (_, notes) = with_notes(&node).await;
    let mut watch = notes.watch("").unwrap();
    assert_eq!(state(&mut watch).await.0, Resumed::Started);
    for index in 0..10 {
        soon(notes.put(format!("{index:02}"), "x")).await.unwrap();
    }
    for index in 0..10 {
        assert_eq!(keys(&batch(&mut watch).await), [format!("{index:02}").as_bytes()]);
    }
    for index in 0..50 {
        soon(notes.put(format!("{index:02}"), "x")).await.unwrap();
    }
    let (because, keys) = state(&mut watch).await;
    assert_eq!((because, keys.len()), (Resumed::TooOld, 50));
    soon(notes.put("after", "x")).await.unwrap();
    assert_eq!(batch(&mut watch).await[0].key, "after");
}

#[tokio::test]
async fn a_watch_goes_on_from_its_marker_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = node_in(dir.path(), options("ann"));
    let (_, notes) = with_notes(&node).await;
    let mut watch = notes.watch("a/").unwrap();
    state(&mut watch).await;
    soon(notes.put("a/1", "1")).await.unwrap();
    batch(&mut watch).await;
    let marker = watch.marker().unwrap();
    soon(notes.put("a/2", "2")).await.unwrap();
    soon(notes.put("b/2", "2")).await.unwrap();
    soon(node.shutdown()).await;

    let node = node_in(dir.path(), options("ann"));
    let notes = database(&node).collection("notes").unwrap();
    // As an application would: through a string.
    let marker = marker.to_string().parse().unwrap();
    let mut watch = notes.watch_from(marker, "a/").unwrap();
    assert_eq!(keys(&batch(&mut watch).await), [b"a/2"]);
    soon(notes.delete("a/1")).await.unwrap();
    assert_eq!(batch(&mut watch).await[0].value, None);
    assert_eq!(watch.try_next().unwrap(), None);
}

#[tokio::test]
async fn a_batch_over_several_collections_is_told_as_one() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    let db = database(&node);
    soon(db.create_syncgroup("work", &["tasks", "plans"])).await.unwrap();
    let (tasks, plans) = (db.collection("tasks").unwrap(), db.collection("plans").unwrap());
    // What one of them covers twice is told once.
    let mut watch = db.watch([(&notes, ""), (&notes, "a/"), (&tasks, "a/")]).unwrap();
    assert_eq!(state(&mut watch).await, (Resumed::Started, vec![]));
    let mut all = db.batch();
    all.put(&notes, "a/1", "x").put(&tasks, "a/1", "x").put(&tasks, "b/1", "x").put(&plans, "a/1", "x");
    soon(all.commit()).await.unwrap();
    let mut rows = batch(&mut watch).await;
    rows.sort_by(|a, b| a.collection.cmp(&b.collection));
    let seen: Vec<_> = rows.iter().map(|row| (row.collection.as_str(), &row.key[..])).collect();
    assert_eq!(seen, [("notes", &b"a/1"[..]), ("tasks", b"a/1")]);
    assert_eq!(watch.try_next().unwrap(), None);
}

#[tokio::test]
async fn another_schema_is_answered_with_the_state() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    soon(notes.put("a", "1")).await.unwrap();
    let mut watch = notes.watch("").unwrap();
    state(&mut watch).await;
    let rule = Rule { prefix: "a".into(), policy: Policy::Merge(Merge::Counter) };
    soon(notes.set_schema(vec![rule.clone()])).await.unwrap();
    assert_eq!(state(&mut watch).await, (Resumed::Schema, vec![b"a".to_vec()]));
    assert_eq!(notes.schema().unwrap(), [rule]);
    soon(notes.add("a", 5)).await.unwrap();
    assert_eq!(batch(&mut watch).await[0].value.as_deref(), Some(&b"6"[..]));
}

#[tokio::test]
async fn a_watch_of_a_syncgroup_that_was_left_ends_with_the_reason() {
    let node = node("ann");
    let (syncgroup, notes) = with_notes(&node).await;
    let mut watch = notes.watch("").unwrap();
    state(&mut watch).await;
    soon(syncgroup.leave()).await.unwrap();
    let end = next(&mut watch).await;
    let Update::End { syncgroup: ended, why: WatchEnd::NotMember(how) } = end else { panic!("{end:?}") };
    assert_eq!(ended, syncgroup.id());
    assert!(matches!(how, SyncgroupState::Left | SyncgroupState::Leaving), "{how:?}");
    assert!(watch.is_over());
    assert_eq!(soon(watch.next()).await.unwrap(), None);
}

#[tokio::test]
async fn changes_from_elsewhere_are_marked_as_such() {
    let (ann, bob) = (node("ann"), node("bob"));
    let (syncgroup, notes) = with_notes(&ann).await;
    let at_bob = join(&syncgroup, &bob).await;
    let mut watch = at_bob.watch("").unwrap();
    state(&mut watch).await;
    soon(notes.put("a", "1")).await.unwrap();
    let Update::Batch { rows, local, .. } = next(&mut watch).await else { panic!() };
    assert!(!local);
    assert_eq!(rows[0].value.as_deref(), Some(&b"1"[..]));
}
