//! Conflicts that the application resolves.

use driftless::{Choice, Conflict, Millis, NoAnswer, Policy, Refusal, Resolution, Rule, Timing};
use driftless_tokio::{Collection, Error, Node, Options};

use crate::help::{database, join, node_in, node_on, options, rows, shows, soon, with_notes};
use driftless::store::SharedMemStore;

/// Devices take turns: short ones, so that tests need not wait.
fn quick(name: &str) -> Options {
    let mut timing = Timing::default();
    timing.resolve = Millis(20);
    Options { timing, ..options(name) }
}

/// Both write these rows while they cannot reach each other, and meet again.
async fn split(ann: &Node, bob: &Node, policy: Policy, keys: &[&str]) -> (Collection, Collection) {
    let (syncgroup, notes) = with_notes(ann).await;
    soon(notes.set_schema(vec![Rule { prefix: "".into(), policy }])).await.unwrap();
    let at_bob = join(&syncgroup, bob).await;
    bob.set_online(false);
    for key in keys {
        soon(at_bob.put(key, "of bob")).await.unwrap();
        soon(notes.put(key, "of ann")).await.unwrap();
    }
    bob.set_online(true);
    for key in keys {
        in_conflict(&notes, key).await;
        in_conflict(&at_bob, key).await;
    }
    (notes, at_bob)
}

async fn in_conflict(notes: &Collection, key: &str) {
    let mut watch = notes.watch(key).unwrap();
    let arrived = async {
        while notes.heads(key).unwrap().len() < 2 {
            watch.next().await.unwrap();
        }
    };
    // What is shown may stay as it is: then only the clock tells.
    let looked = async {
        while notes.heads(key).unwrap().len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    soon(async {
        tokio::select! { () = arrived => {}, () = looked => {} }
    })
    .await;
}

fn both(conflict: &Conflict) -> Resolution {
    conflict.open().fold(Resolution::new(), |answer, row| answer.answer(row, Choice::Put("of both".into())))
}

#[tokio::test]
async fn a_conflict_comes_to_the_resolver_and_its_answer_to_everybody() {
    let (ann, bob) =
        (node_on(SharedMemStore::new(), quick("ann")), node_on(SharedMemStore::new(), quick("bob")));
    let (notes, at_bob) = split(&ann, &bob, Policy::AppResolves, &["a"]).await;
    assert!(notes.get("a").unwrap().unwrap().in_conflict);
    assert_eq!(notes.conflicts("", 10).unwrap()[0].heads.len(), 2);
    let db = database(&ann);
    let mut resolver = soon(db.resolver()).await.unwrap();
    let conflict = soon(resolver.next()).await.unwrap().unwrap();
    assert_eq!(conflict, notes.conflict("a").unwrap());
    let mut values: Vec<_> = conflict.rows[0].heads.iter().map(|head| head.value.clone().unwrap()).collect();
    assert_eq!(values[0], notes.get("a").unwrap().unwrap().value, "the shown one first");
    values.sort();
    assert_eq!(values, ["of ann", "of bob"]);
    soon(resolver.resolve(both(&conflict))).await.unwrap();
    shows(&at_bob, "a", Some("of both")).await;
    assert!(!at_bob.get("a").unwrap().unwrap().in_conflict);
    assert!(notes.conflicts("", 10).unwrap().is_empty());

    let stale = soon(db.resolve(both(&conflict))).await.unwrap_err();
    let Error::Refused(Refusal::NoAnswer(reason)) = stale else { panic!("{stale}") };
    let NoAnswer::Stale(now) = *reason else { panic!("{reason}") };
    assert_eq!(now.rows[0].heads.len(), 1);
}

#[tokio::test]
async fn a_resolver_that_crashes_or_sleeps_blocks_nothing_and_the_next_one_gets_what_is_open() {
    let (ann, bob) =
        (node_on(SharedMemStore::new(), quick("ann")), node_on(SharedMemStore::new(), quick("bob")));
    let (notes, at_bob) = split(&ann, &bob, Policy::AppResolves, &["a", "b"]).await;
    let db = database(&ann);
    // This one takes a conflict and dies of it.
    let crashing = db.clone();
    let crashed = tokio::spawn(async move {
        let answer = async |_: Conflict| -> Resolution { panic!("this resolver dies") };
        crashing.resolve_with(answer).await
    });
    assert!(soon(crashed).await.unwrap_err().is_panic());
    // This one takes one and never answers.
    let mut sleeping = soon(db.resolver()).await.unwrap();
    assert!(soon(sleeping.next()).await.unwrap().is_some());
    soon(notes.put("other", "x")).await.unwrap();
    shows(&at_bob, "other", Some("x")).await;
    assert_eq!(notes.conflicts("", 10).unwrap().len(), 2);

    let last = db.clone();
    let task = tokio::spawn(async move { last.resolve_with(async |conflict| both(&conflict)).await });
    // Another one takes its place: it ends, with what it had not looked at.
    soon(async { while sleeping.next().await.unwrap().is_some() {} }).await;
    shows(&at_bob, "a", Some("of both")).await;
    shows(&at_bob, "b", Some("of both")).await;
    soon(ann.shutdown()).await;
    assert!(matches!(soon(task).await.unwrap(), Err(Error::Closed(_))));
}

#[tokio::test]
async fn what_is_open_survives_a_restart_and_is_raised_again() {
    let dir = tempfile::tempdir().unwrap();
    let (ann, bob) = (node_in(dir.path(), quick("ann")), node_on(SharedMemStore::new(), quick("bob")));
    let (_, at_bob) = split(&ann, &bob, Policy::AppResolves, &["a"]).await;
    soon(ann.shutdown()).await;
    let ann = node_in(dir.path(), quick("ann"));
    // Alone: nobody has to tell it again.
    ann.set_online(false);
    let db = database(&ann);
    let mut resolver = soon(db.resolver()).await.unwrap();
    let conflict = soon(resolver.next()).await.unwrap().unwrap();
    let pick = conflict.rows[0].heads[1].clone();
    let answer = Resolution::new().answer(&conflict.rows[0], Choice::Pick(pick.version));
    soon(resolver.resolve(answer)).await.unwrap();
    let notes = db.collection("notes").unwrap();
    assert_eq!(Some(notes.get("a").unwrap().unwrap().value), pick.value);
    assert!(notes.history("a", 1).unwrap()[0].is_pick);
    assert_eq!(rows(&at_bob).len(), 1);
}

#[tokio::test]
async fn an_answer_that_was_overtaken_is_dropped_and_what_is_still_open_is_asked_again() {
    let (ann, bob) =
        (node_on(SharedMemStore::new(), quick("ann")), node_on(SharedMemStore::new(), quick("bob")));
    let (notes, at_bob) = split(&ann, &bob, Policy::AppResolves, &["a", "b"]).await;
    let db = database(&ann);
    let rules = |policy: Policy| {
        let rule = |prefix: &'static str, policy| Rule { prefix: prefix.into(), policy };
        vec![rule("", Policy::AppResolves), rule("a", policy)]
    };
    let (thinking, asked) = (notes.clone(), std::cell::RefCell::new(Vec::new()));
    let resolver = db.resolve_with(async |conflict: Conflict| {
        let key = conflict.rows[0].row.key.clone();
        asked.borrow_mut().push(key.clone());
        let times = asked.borrow().iter().filter(|known| **known == key).count();
        match (&key[..], times) {
            // An admin says meanwhile that nobody need answer for this one.
            (b"a", 1) => thinking.set_schema(rules(Policy::LastWins)).await.unwrap(),
            // Somebody writes the other one meanwhile, which closes its conflict.
            (b"b", 1) => drop(thinking.put("b", "meanwhile").await.unwrap()),
            _ => {}
        }
        both(&conflict)
    });
    let seen = async {
        shows(&at_bob, "b", Some("meanwhile")).await;
        while notes.schema().unwrap() != rules(Policy::LastWins) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        // The answer follows at once, and nobody else can see that it is refused.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        soon(notes.set_schema(rules(Policy::AppResolves))).await.unwrap();
        shows(&at_bob, "a", Some("of both")).await;
    };
    tokio::select! {
        ended = resolver => panic!("the resolver has ended: {ended:?}"),
        () = seen => {}
    }
    let asked = asked.into_inner();
    assert_eq!(asked.iter().filter(|key| &key[..] == b"a").count(), 2, "{asked:?}");
}

#[tokio::test]
async fn what_is_left_open_shows_its_siblings_and_an_unfitting_answer_is_an_error() {
    let (ann, bob) =
        (node_on(SharedMemStore::new(), quick("ann")), node_on(SharedMemStore::new(), quick("bob")));
    let (notes, _) = split(&ann, &bob, Policy::Defer, &["a", "b"]).await;
    assert_eq!(notes.heads("a").unwrap().len(), 2);
    let page = notes.conflicts("b", 10).unwrap();
    assert_eq!((page.len(), &page[0].policy), (1, &Policy::Defer));
    assert_eq!(notes.conflicts("", 1).unwrap().len(), 1);
    let db = database(&ann);
    let wrong = soon(db.resolve_with(async |conflict| {
        let mut row = conflict.rows[0].clone();
        row.row.key = "never".into();
        both(&conflict).answer(&row, Choice::Delete)
    }))
    .await;
    let Err(Error::Refused(Refusal::NoAnswer(reason))) = wrong else { panic!("{wrong:?}") };
    assert!(matches!(*reason, NoAnswer::UnknownRow(_)), "{reason}");
    assert_eq!(notes.conflicts("", 10).unwrap().len(), 2);
}

#[tokio::test]
async fn conflicts_that_are_left_open_keep_no_others_from_coming() {
    let (ann, bob) =
        (node_on(SharedMemStore::new(), quick("ann")), node_on(SharedMemStore::new(), quick("bob")));
    // More than are raised at a time and not answered.
    let keys: Vec<_> = (0..70).map(|number| format!("{number:02}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let (notes, _) = split(&ann, &bob, Policy::AppResolves, &keys).await;
    let (db, left) = (database(&ann), std::cell::Cell::new(0));
    let resolver = db.resolve_with(async |conflict: Conflict| {
        left.set(left.get() + 1);
        if left.get() <= 66 { Resolution::new() } else { both(&conflict) }
    });
    let resolved = async {
        while notes.conflicts("", 100).unwrap().len() > 66 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ended = resolver => panic!("the resolver has ended: {ended:?}"),
        () = soon(resolved) => {}
    }
    let answered = rows(&notes).into_iter().filter(|(_, value)| value == b"of both").count();
    assert_eq!(answered, 4);
}
