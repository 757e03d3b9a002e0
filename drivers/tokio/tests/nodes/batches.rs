//! Batches that are read through.

use driftless::{Elements, Fields, Merge, Policy, Refusal, Rule, counter};
use driftless_tokio::{Batch, Collection, Error, Node, Options, Range, Retry};
use std::time::Duration;

use crate::help::{database, join, node, node_on, options, rows, shows, soon, with_notes};
use driftless::store::SharedMemStore;

/// A collection with a prefix for each merge.
async fn with_merges(node: &Node) -> Collection {
    let (_, notes) = with_notes(node).await;
    merging(&notes).await;
    notes
}

async fn merging(notes: &Collection) {
    let rule = |prefix: &'static str, merge| Rule { prefix: prefix.into(), policy: Policy::Merge(merge) };
    let rules = vec![rule("n/", Merge::Counter), rule("s/", Merge::Set), rule("f/", Merge::Fields)];
    soon(notes.set_schema(rules)).await.unwrap();
}

fn is_stale<T: std::fmt::Debug>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Refused(Refusal::Precondition { .. })))
}

fn keys(shown: &[(bytes::Bytes, bytes::Bytes)]) -> Vec<&str> {
    shown.iter().map(|(key, _)| std::str::from_utf8(key).unwrap()).collect()
}

#[tokio::test]
async fn a_batch_sees_the_store_with_its_own_changes() {
    let node = node("ann");
    let notes = with_merges(&node).await;
    for key in ["a", "b", "c", "d"] {
        soon(notes.put(key, "stored")).await.unwrap();
    }
    soon(notes.add("n/x", 5)).await.unwrap();
    let mut batch = database(&node).batch();
    batch.put(&notes, "b", "own").delete(&notes, "c").put(&notes, "bb", "new").put(&notes, "zz", "last");
    batch.add(&notes, "n/x", 2).add(&notes, "n/new", 1).add(&notes, "n/x", -10);
    batch.insert(&notes, "s/x", "red").insert(&notes, "s/x", "blue").remove(&notes, "s/x", "red");
    batch.set_field(&notes, "f/x", &["a", "b"], "1").set_field(&notes, "f/x", &["c"], "2");
    batch.remove_field(&notes, "f/x", &["a"]);

    let number = |value: Option<bytes::Bytes>| counter::parse(&value.unwrap()).unwrap();
    assert_eq!(batch.get(&notes, "a").unwrap().unwrap(), "stored");
    assert_eq!(batch.get(&notes, "b").unwrap().unwrap(), "own");
    assert_eq!(batch.get(&notes, "c").unwrap(), None);
    assert_eq!(batch.get(&notes, "never").unwrap(), None);
    assert_eq!(number(batch.get(&notes, "n/x").unwrap()), -3);
    assert_eq!(number(batch.get(&notes, "n/new").unwrap()), 1);
    let set = Elements::from_bytes(&batch.get(&notes, "s/x").unwrap().unwrap()).unwrap();
    assert_eq!(set, Elements::from_iter(["blue".into()]));
    let fields = Fields::from_bytes(&batch.get(&notes, "f/x").unwrap().unwrap()).unwrap();
    assert_eq!(fields.0.into_iter().collect::<Vec<_>>(), [(vec!["c".to_owned()], "2".into())]);

    let plain = Range::between("a", "e");
    assert_eq!(keys(&batch.scan(&notes, plain.clone()).unwrap()), ["a", "b", "bb", "d"]);
    assert_eq!(keys(&batch.scan(&notes, plain.clone().limit(3)).unwrap()), ["a", "b", "bb"]);
    assert_eq!(keys(&batch.scan(&notes, plain.reversed().limit(2)).unwrap()), ["d", "bb"]);
    assert_eq!(keys(&batch.scan(&notes, Range::all().reversed().limit(1)).unwrap()), ["zz"]);
    assert_eq!(batch.count(&notes, Range::prefix("n/")).unwrap(), 2);
    assert_eq!(batch.count(&notes, Range::all().limit(0)).unwrap(), 0);
    let ahead = batch.scan(&notes, Range::all()).unwrap();
    soon(batch.commit()).await.unwrap();
    let written: Vec<_> = ahead.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert_eq!(written, rows(&notes), "what the batch saw is what it wrote");
}

#[tokio::test]
async fn what_was_read_and_then_changed_refuses_the_batch() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    let db = database(&node);
    for key in ["b", "d", "f"] {
        soon(notes.put(key, "1")).await.unwrap();
    }
    // What a batch reads, what others do then, and whether that matters.
    type Read = fn(&mut Batch, &Collection);
    let read_row: Read = |batch, notes| drop(batch.get(notes, "b").unwrap());
    let read_absent: Read = |batch, notes| drop(batch.get(notes, "a").unwrap());
    let read_range: Read = |batch, notes| drop(batch.scan(notes, Range::between("b", "e")).unwrap());
    let read_first: Read = |batch, notes| drop(batch.scan(notes, Range::all().limit(2)).unwrap());
    let read_last: Read = |batch, notes| drop(batch.scan(notes, Range::all().reversed().limit(1)).unwrap());
    let read_own: Read = |batch, notes| {
        batch.put(notes, "b", "blind");
        batch.get(notes, "b").unwrap();
    };
    let cases: [(&str, Read, &str, bool); 11] = [
        ("a row", read_row, "b", true),
        ("another row", read_row, "d", false),
        ("a row that was not there", read_absent, "a", true),
        ("a phantom within", read_range, "c", true),
        ("a row within", read_range, "d", true),
        ("a row right behind the range", read_range, "e", false),
        ("a phantom among the first", read_first, "aa", true),
        ("behind the first", read_first, "g", false),
        ("a phantom behind the last", read_last, "z", true),
        ("before the last", read_last, "e", false),
        ("a row that was put without a look", read_own, "b", false),
    ];
    for (case, read, changed, is_refused) in cases {
        for change in [Some("2"), None] {
            for key in ["a", "aa", "c", "e", "g", "z", "outcome"] {
                soon(notes.delete(key)).await.unwrap();
            }
            for key in ["b", "d", "f"] {
                soon(notes.put(key, "1")).await.unwrap();
            }
            if change.is_none() && notes.get(changed).unwrap().is_none() {
                continue;
            }
            let mut batch = db.batch();
            read(&mut batch, &notes);
            batch.put(&notes, "outcome", "written");
            match change {
                Some(value) => soon(notes.put(changed, value)).await.unwrap(),
                None => soon(notes.delete(changed)).await.unwrap(),
            };
            let result = soon(batch.commit()).await;
            assert_eq!(is_stale(&result), is_refused, "{case}: {result:?}");
            assert_eq!(notes.get("outcome").unwrap().is_none(), is_refused, "{case}");
        }
    }
}

#[tokio::test]
async fn a_late_operation_from_elsewhere_counts_as_a_change_of_a_range() {
    let (ann, bob) = (node("ann"), node("bob"));
    let (syncgroup, notes) = with_notes(&ann).await;
    merging(&notes).await;
    let at_bob = join(&syncgroup, &bob).await;
    bob.set_online(false);
    // The earlier stamp: when it arrives, the last version of the row stays.
    soon(at_bob.add("n/x", 1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    soon(notes.add("n/x", 10)).await.unwrap();
    let mut batch = database(&ann).batch();
    assert_eq!(batch.scan(&notes, Range::prefix("n/")).unwrap()[0].1, "10");
    batch.put(&notes, "sum", "10");
    bob.set_online(true);
    shows(&notes, "n/x", Some("11")).await;
    assert!(is_stale(&soon(batch.commit()).await));
}

#[tokio::test]
async fn batches_that_get_in_each_others_way_are_run_again() {
    let retry = Retry { attempts: 1_000, ..Retry::default() };
    let node = node_on(SharedMemStore::new(), Options { retry, ..options("ann") });
    let (_, notes) = with_notes(&node).await;
    soon(notes.put("total", "0")).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (db, notes) = (database(&node), notes.clone());
            tokio::spawn(async move {
                for round in 0..10 {
                    let (notes, key) = (&notes, format!("by/{task}/{round}"));
                    db.run_in_batch(|batch| {
                        let total = batch.get(notes, "total")?.unwrap();
                        let total: u64 = std::str::from_utf8(&total).unwrap().parse().unwrap();
                        assert_eq!(batch.count(notes, Range::prefix("by/"))?, total);
                        batch.put(notes, "total", (total + 1).to_string()).put(notes, &key, "");
                        Ok::<_, Error>(())
                    })
                    .await
                    .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        soon(task).await.unwrap();
    }
    assert_eq!(notes.get("total").unwrap().unwrap().value, "80");
    assert_eq!(notes.count(Range::prefix("by/")).unwrap(), 80);
}

#[tokio::test]
async fn a_batch_that_is_always_overtaken_gives_up_and_says_so() {
    let retry = Retry { attempts: 3, wait: Duration::from_micros(10), wait_max: Duration::from_micros(20) };
    let node = node_on(SharedMemStore::new(), Options { retry, ..options("ann") });
    let (_, notes) = with_notes(&node).await;
    let db = database(&node);
    let mut runs = 0;
    let result = soon(db.run_in_batch_async(async |batch: &mut Batch| {
        batch.get(&notes, "a")?;
        batch.put(&notes, "b", "never");
        runs += 1;
        notes.put("a", format!("{runs}")).await?;
        Ok::<_, Error>(())
    }))
    .await;
    assert!(matches!(result, Err(Error::Contended { attempts: 3 })), "{result:?}");
    assert!(result.unwrap_err().to_string().contains("3 times"));
    assert_eq!(runs, 3);
    assert_eq!(notes.get("b").unwrap(), None);
}

#[tokio::test]
async fn an_error_within_a_batch_ends_it_and_reading_alone_asks_nobody() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    let db = database(&node);
    let failed = soon(db.run_in_batch(|batch| {
        batch.put(&notes, "a", "never");
        Err::<(), _>(Error::Unexpected("own reasons"))
    }))
    .await;
    assert!(matches!(failed, Err(Error::Unexpected("own reasons"))));
    assert_eq!(notes.get("a").unwrap(), None);
    // Somebody changes what was read: it was so on the snapshot all the same.
    let (count, receipt) = soon(db.run_in_batch_async(async |batch: &mut Batch| {
        let count = batch.count(&notes, Range::all())?;
        notes.put(format!("{count}"), "x").await?;
        Ok::<_, Error>(count)
    }))
    .await
    .unwrap();
    assert_eq!((count, receipt.parts.len()), (0, 0));
}

#[tokio::test]
async fn an_operation_on_a_row_of_another_policy_is_refused_with_what_to_do() {
    let node = node("ann");
    let (_, notes) = with_notes(&node).await;
    let refused = soon(notes.add("a", 1)).await.unwrap_err();
    assert!(refused.to_string().contains("schema"), "{refused}");
    let mut batch = database(&node).batch();
    batch.insert(&notes, "a", "x");
    assert!(matches!(batch.get(&notes, "a"), Err(Error::Refused(Refusal::OtherPolicy { .. }))));
    let mut stranger = node.database("other").unwrap().batch();
    assert!(matches!(stranger.get(&notes, "a"), Err(Error::OtherDatabase { .. })));
}
