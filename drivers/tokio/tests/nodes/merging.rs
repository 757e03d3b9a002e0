//! Rows that are merged, and what lies behind a row.

use driftless::store::SharedMemStore;
use driftless::{Elements, Fields, Merge, MergeFunction, Name, Operation, Policy, Rights, Rule};
use driftless_tokio::{Collection, Edited, InviteOptions, Merges, Options, Resumed, Update, Watch};

use crate::help::{
    converged, database, join, join_with, node, node_in, node_on, options, shows, soon, with_notes,
};

/// All words, in order, each once.
struct Words;

impl MergeFunction for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn merge(&self, bases: &[&[u8]], operations: &[&[u8]]) -> Option<Vec<u8>> {
        let all = bases.iter().chain(operations).flat_map(|text| text.split(|byte| *byte == b' '));
        let words: std::collections::BTreeSet<&[u8]> = all.collect();
        Some(words.into_iter().collect::<Vec<_>>().join(&b' '))
    }
}

fn words() -> Name {
    Name::new("words").unwrap()
}

async fn schema(notes: &Collection) {
    let rule = |prefix: &'static str, merge| Rule { prefix: prefix.into(), policy: Policy::Merge(merge) };
    let rules = vec![rule("n/", Merge::Counter), rule("s/", Merge::Set), rule("f/", Merge::Fields)];
    soon(notes.set_schema(rules)).await.unwrap();
}

#[tokio::test]
async fn what_two_devices_do_while_apart_is_merged() {
    let (ann, bob) = (node("ann"), node("bob"));
    let (syncgroup, notes) = with_notes(&ann).await;
    schema(&notes).await;
    soon(notes.insert("s/x", "both know it")).await.unwrap();
    let at_bob = join(&syncgroup, &bob).await;
    bob.set_online(false);
    for (notes, own, amount) in [(&notes, "ann", 5), (&at_bob, "bob", -2)] {
        soon(notes.add("n/x", amount)).await.unwrap();
        soon(notes.insert("s/x", own)).await.unwrap();
        soon(notes.set_field("f/x", &["by", own], "x")).await.unwrap();
    }
    soon(notes.remove("s/x", "both know it")).await.unwrap();
    soon(at_bob.set_field("f/x", &["gone"], "x")).await.unwrap();
    soon(at_bob.remove_field("f/x", &["gone"])).await.unwrap();
    bob.set_online(true);
    shows(&notes, "n/x", Some("3")).await;
    converged(&[&notes, &at_bob]).await;
    let set = Elements::from_bytes(&at_bob.get("s/x").unwrap().unwrap().value).unwrap();
    assert_eq!(set, Elements::from_iter(["ann".into(), "bob".into()]));
    let fields = Fields::from_bytes(&at_bob.get("f/x").unwrap().unwrap().value).unwrap();
    let paths: Vec<String> = fields.0.keys().map(|path| path.join(".")).collect();
    assert_eq!(paths, ["by.ann", "by.bob"]);
    assert!(!at_bob.get("n/x").unwrap().unwrap().in_conflict);
}

#[tokio::test]
async fn rules_that_are_changed_at_the_same_time_are_all_kept() {
    let ann = node("ann");
    let (_, notes) = with_notes(&ann).await;
    soon(notes.set_rule("old", Policy::Defer)).await.unwrap();
    let changes = (0..50).map(|at| {
        let notes = notes.clone();
        tokio::spawn(async move {
            match at {
                0 => notes.remove_rule("old").await,
                _ => notes.set_rule(format!("p{at:02}"), Policy::AppResolves).await,
            }
        })
    });
    for change in changes.collect::<Vec<_>>() {
        soon(change).await.unwrap().unwrap();
    }
    let kept: Vec<_> = notes.schema().unwrap().into_iter().map(|rule| rule.prefix).collect();
    assert_eq!(kept, (1..50).map(|at| format!("p{at:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_embedders_merge_shows_where_it_is_registered() {
    let with_words = |name| Options { merges: Merges::new().with(&Words), ..options(name) };
    let (ann, bob) =
        (node_on(SharedMemStore::new(), with_words("ann")), node_on(SharedMemStore::new(), options("bob")));
    let (syncgroup, notes) = with_notes(&ann).await;
    let rule = Rule { prefix: "w/".into(), policy: Policy::Merge(Merge::Named(words())) };
    soon(notes.set_schema(vec![rule.clone()])).await.unwrap();
    soon(notes.put("w/x", "old new")).await.unwrap();
    let admin = InviteOptions { rights: Rights::Admin, ..InviteOptions::default() };
    let at_bob = join_with(&syncgroup, &bob, admin).await;
    // A device that does not know the function keeps the rule, and makes none.
    let more = Rule { prefix: "n/".into(), policy: Policy::Merge(Merge::Counter) };
    soon(at_bob.set_schema(vec![rule.clone(), more])).await.unwrap();
    let unknown = Rule { prefix: "x/".into(), ..rule.clone() };
    let refused = soon(at_bob.set_schema(vec![rule, unknown])).await.unwrap_err();
    assert!(refused.to_string().contains("register it first"), "{refused}");
    for word in ["red", "blue", "old"] {
        let operation = Operation::Named { merge: words(), operation: word.into() };
        soon(at_bob.operate("w/x", operation)).await.unwrap();
    }
    shows(&notes, "w/x", Some("blue new old red")).await;
    assert_eq!(at_bob.get("w/x").unwrap().unwrap().value, "old new", "it shows the last put");
    let mut batch = database(&ann).batch();
    batch.operate(&notes, "w/x", Operation::Named { merge: words(), operation: "green".into() });
    assert_eq!(batch.get(&notes, "w/x").unwrap().unwrap(), "blue green new old red");
}

#[tokio::test]
async fn a_watch_that_goes_on_is_told_that_a_merge_was_registered_or_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let with = || node_in(dir.path(), Options { merges: Merges::new().with(&Words), ..options("ann") });
    let without = || node_in(dir.path(), options("ann"));
    let node = with();
    let db = database(&node);
    soon(db.create_syncgroup("family", &["notes", "plain"])).await.unwrap();
    let notes = db.collection("notes").unwrap();
    soon(notes.set_rule("", Policy::Merge(Merge::Named(words())))).await.unwrap();
    soon(notes.put("x", "old")).await.unwrap();
    soon(notes.operate("x", Operation::Named { merge: words(), operation: "new".into() })).await.unwrap();
    let mut watch = notes.watch("").unwrap();
    let (_, shown) = state(&mut watch).await;
    assert_eq!(shown, "new old");
    let mut marker = watch.marker().unwrap();
    let plain = marker;
    soon(node.shutdown()).await;
    // It is missing, then it is there again: what was known is not what is shown.
    for (is_there, shows) in [(false, "old"), (true, "new old")] {
        let node = if is_there { with() } else { without() };
        let notes = database(&node).collection("notes").unwrap();
        let mut watch = notes.watch_from(marker, "").unwrap();
        assert_eq!(state(&mut watch).await, (Resumed::Schema, shows.to_owned()));
        marker = watch.marker().unwrap();
        soon(node.shutdown()).await;
    }
    let node = with();
    let db = database(&node);
    let notes = db.collection("notes").unwrap();
    let mut watch = notes.watch_from(marker, "").unwrap();
    assert_eq!(watch.try_next().unwrap(), None, "the same is registered as before");
    // Where no rule names it nothing is told, however much has come and gone.
    let elsewhere = db.collection("plain").unwrap();
    let mut quiet = elsewhere.watch_from(plain, "").unwrap();
    assert_eq!(quiet.try_next().unwrap(), None);
    soon(node.shutdown()).await;
}

/// Why a state comes, and what its only row shows.
async fn state(watch: &mut Watch) -> (Resumed, String) {
    match soon(watch.next()).await.unwrap() {
        Some(Update::State { because, rows, complete: Some(_), .. }) => {
            let [row] = &rows[..] else { panic!("{rows:?}") };
            (because, String::from_utf8(row.value.clone().unwrap().to_vec()).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_history_of_a_row_tells_who_made_it_what_on_top_of_what() {
    let (ann, bob) = (node("ann"), node("bob"));
    let (syncgroup, notes) = with_notes(&ann).await;
    let first = soon(notes.put("a", "1")).await.unwrap().version().unwrap();
    let at_bob = join(&syncgroup, &bob).await;
    let second = soon(at_bob.delete("a")).await.unwrap().version().unwrap();
    shows(&notes, "a", None).await;
    let third = soon(notes.put("a", "3")).await.unwrap().version().unwrap();
    let history = notes.history("a", 10).unwrap();
    let seen: Vec<_> =
        history.iter().map(|entry| (entry.version, &entry.edited, &entry.parents[..])).collect();
    let (one, three) = (Edited::Put("1".into()), Edited::Put("3".into()));
    assert_eq!(
        seen,
        [(third, &three, &[second][..]), (second, &Edited::Deleted, &[first]), (first, &one, &[])]
    );
    assert_eq!(history[1].version.author.device, bob.device());
    assert!(history[0].is_head && !history[1].is_head);
    assert!(history.is_sorted_by(|a, b| a.stamp > b.stamp));
    assert_eq!(notes.history("a", 1).unwrap().len(), 1);
    assert!(notes.history("never", 10).unwrap().is_empty());
}
