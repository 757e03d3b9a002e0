//! Conflicts between devices: shown, resolved, and kept in the history.

use serde_json::{Value, json};

use crate::support::{Home, Server, both_ways, eventually};

/// Two devices that have both written these rows while they were apart. They have met again.
fn split(policy: &str, keys: &[&str]) -> (Home, Home, [Server; 2]) {
    let here = Home::with_notes();
    let server = here.serve();
    here.run(["schema", "notes", "set", "", policy]).ok();
    let there = here.joined(&[]);
    here.run(["network", "off"]).ok();
    for key in keys {
        there.run(["put", "notes", key, "from there"]).ok();
        here.run(["put", "notes", key, "from here"]).ok();
    }
    here.run(["network", "on"]).ok();
    let other = there.serve();
    for home in [&here, &there] {
        eventually("both versions are there", || conflicts(home).len() == keys.len());
    }
    (here, there, [server, other])
}

fn conflicts(home: &Home) -> Vec<Value> {
    home.run(["conflicts", "notes", "--json"]).json()
}

fn version(conflict: &Value, value: &str) -> String {
    let heads = conflict["heads"].as_array().unwrap();
    let head = heads.iter().find(|head| head["value"] == value).unwrap();
    head["version"].as_str().unwrap().to_owned()
}

#[test]
fn conflicts_are_listed_with_their_versions_and_resolved_for_everybody() {
    let (here, there, _servers) = split("app-resolves", &["a", "b", "c/x"]);
    let listed = conflicts(&here);
    assert_eq!(listed[0]["policy"], "app-resolves");
    assert_eq!(listed[0]["heads"].as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["heads"][0]["value"], home_value(&here, "a"), "the shown one comes first");
    let text = here.run(["conflicts", "notes", "--prefix", "c/"]).ok();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert!(lines[0].starts_with("conflict ") && lines[1] == "c/x  (app-resolves)", "{text}");
    assert!(text.contains("from there"), "{text}");
    assert_eq!(here.run(["conflicts", "notes", "--json", "--limit", "2"]).json().len(), 2);

    here.run(["resolve", "notes", "a", &pick(&listed[0], "from there")]).ok();
    // The short form that people read is as good.
    let short = text.lines().find(|line| line.contains("from here")).unwrap();
    let short = short.split_whitespace().nth(1).unwrap();
    here.run(["resolve", "notes", "c/x", &format!("pick:{short}")]).ok();
    there.run(["resolve", "notes", "b", "value:from both"]).ok();
    for home in [&here, &there] {
        eventually("nothing is in conflict", || conflicts(home).is_empty());
        assert_eq!(home_value(home, "a"), "from there");
        assert_eq!(home_value(home, "b"), "from both");
        assert_eq!(home_value(home, "c/x"), "from here");
    }
    assert!(here.run(["conflicts", "notes"]).stderr.contains("no row is in conflict"));
    assert!(here.run(["resolve", "notes", "a", "delete"]).failed(1).contains("in no conflict"));
}

fn pick(conflict: &Value, value: &str) -> String {
    format!("pick:{}", version(conflict, value))
}

fn home_value(home: &Home, key: &str) -> String {
    home.run(["get", "notes", key]).ok()
}

#[test]
fn a_conflict_that_the_last_version_wins_can_be_decided_otherwise() {
    let (here, there, _servers) = split("last-wins", &["a", "b"]);
    let shown = home_value(&here, "a");
    let other = if shown == "from here" { "from there" } else { "from here" };
    let listed = conflicts(&here);
    here.run(["resolve", "notes", "a", &pick(&listed[0], other)]).ok();
    here.run(["resolve", "notes", "b", "delete"]).ok();
    eventually("it has arrived", || conflicts(&there).is_empty());
    assert_eq!(home_value(&there, "a"), other);
    assert!(there.run(["get", "notes", "b"]).failed(1).contains("no row"));
}

#[test]
fn a_deletion_that_wins_already_closes_the_conflict_when_it_is_chosen() {
    let here = Home::with_notes();
    let _server = here.serve();
    here.run(["put", "notes", "a", "old"]).ok();
    here.run(["put", "notes", "b", "old"]).ok();
    let there = here.joined(&[]);
    eventually("the old values are there", || {
        ["a", "b"].iter().all(|key| there.run(["get", "notes", key]).stdout == b"old")
    });
    here.run(["network", "off"]).ok();
    for key in ["a", "b"] {
        there.run(["put", "notes", key, "from there"]).ok();
        here.run(["delete", "notes", key]).ok();
    }
    here.run(["network", "on"]).ok();
    let _other = there.serve();
    eventually("all versions are there", || conflicts(&here).len() == 2);
    let deletion = &conflicts(&here)[0]["heads"][0];
    assert_eq!(deletion["deleted"], true);
    let pick = format!("pick:{}", deletion["version"].as_str().unwrap());
    here.run(["resolve", "notes", "a", &pick]).ok();
    assert_eq!(conflicts(&here).len(), 1);
    here.run(["resolve", "notes", "b", "delete"]).ok();
    assert_eq!(conflicts(&here), [] as [Value; 0]);
    assert!(here.run(["get", "notes", "a"]).failed(1).contains("no row"));
    assert!(here.run(["get", "notes", "b"]).failed(1).contains("no row"));
}

#[test]
fn an_operation_of_a_row_that_merges_no_more_is_shown_as_one_and_not_picked() {
    let here = Home::with_notes();
    let _server = here.serve();
    here.run(["schema", "notes", "set", "", "counter"]).ok();
    let there = here.joined(&[]);
    here.run(["network", "off"]).ok();
    there.run(["put", "notes", "x", "5"]).ok();
    here.run(["put", "notes", "x", "10"]).ok();
    here.run(["add", "notes", "x", "20"]).ok();
    here.run(["schema", "notes", "set", "", "last-wins"]).ok();
    here.run(["network", "on"]).ok();
    let _other = there.serve();
    // One head is the other put, the other one an operation on a value that disagrees with it.
    eventually("both versions are there", || conflicts(&here).len() == 1);
    let listed = conflicts(&here);
    let heads = listed[0]["heads"].as_array().unwrap();
    let head = heads.iter().find(|head| head["operation"] == true).unwrap();
    assert_eq!(head.get("deleted"), None);
    let text = here.run(["conflicts", "notes"]).ok();
    assert!(text.contains("(operation)") && !text.contains("(deleted)"), "{text}");
    let pick = format!("pick:{}", head["version"].as_str().unwrap());
    let refused = here.run(["resolve", "notes", "x", &pick]).failed(1);
    assert!(refused.contains("is an operation") && refused.contains("value:TEXT"), "{refused}");
    assert_eq!(conflicts(&here), listed, "nothing was written");
    here.run(["resolve", "notes", "x", "value:25"]).ok();
    assert_eq!(conflicts(&here), [] as [Value; 0]);
    assert_eq!(home_value(&here, "x"), "25");
}

#[test]
fn an_answer_that_does_not_fit_is_refused_with_what_would() {
    let (here, _there, _servers) = split("defer", &["a"]);
    let answer = |answer: &[&str]| here.run([&["resolve", "notes"], answer].concat());
    let unknown = answer(&["a", "pick:ffff"]).failed(1);
    assert!(unknown.contains("they are"), "{unknown}");
    let several = answer(&["a", "pick:"]).failed(1);
    assert!(several.contains("fits several"), "{several}");
    assert!(answer(&["a"]).failed(2).contains("CHOICE"));
    for wrong in [&["a", "x"][..], &["a", "delete", "b"], &["a", "value"]] {
        let error = answer(wrong).failed(2);
        assert!(error.contains("pick:VERSION, value:TEXT, delete or leave"), "{error}");
    }
    assert!(answer(&["a", "leave"]).failed(2).contains("decides nothing"));
    assert!(answer(&["a", "delete", "a", "delete"]).failed(2).contains("twice"));
    assert!(answer(&["a", "value:-", "b", "value:-"]).failed(2).contains("standard input"));
    assert!(answer(&["a", "delete", "never", "delete"]).failed(1).contains("no part of this conflict"));
    assert!(answer(&["never", "delete"]).failed(1).contains("driftless conflicts notes"));
    assert!(answer(&["a", "delete", "--state", "x"]).failed(2).contains("driftless conflicts"));
    assert_eq!(conflicts(&here).len(), 1);
}

#[test]
fn the_history_of_a_row_tells_who_made_it_what() {
    let (here, _there, _servers) = split("app-resolves", &["a"]);
    here.run(["resolve", "notes", "a", &pick(&conflicts(&here)[0], "from there")]).ok();
    here.run(["delete", "notes", "a"]).ok();
    let log = here.run(["log", "notes", "a", "--json"]).json();
    let did: Vec<&str> = log.iter().map(|entry| entry["did"].as_str().unwrap()).collect();
    assert_eq!(did, ["delete", "put", "put", "put"]);
    assert_eq!((&log[0]["head"], &log[1]["pick"]), (&true.into(), &true.into()));
    assert_eq!(log[1]["parents"].as_array().unwrap().len(), 2);
    assert_ne!(log[2]["device"], log[3]["device"]);
    assert!(
        log.iter().all(|entry| entry["name"].is_string() && entry["when"].as_str().unwrap().ends_with('Z'))
    );
    let text = here.run(["log", "notes", "a", "--limit", "2"]).ok();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("delete") && text.contains("pick"), "{text}");
    assert!(here.run(["log", "notes", "never"]).failed(1).contains("nobody ever wrote"));
}

#[test]
fn the_history_tells_what_operations_did_and_which_batch_they_are_of() {
    both_ways(|home| {
        for (prefix, policy) in [("n", "counter"), ("s", "set"), ("f", "fields")] {
            home.run(["schema", "notes", "set", prefix, policy]).ok();
        }
        home.run(["put", "notes", "n", "10"]).ok();
        home.run(["add", "notes", "n", "-3"]).ok();
        home.run(["set-add", "notes", "s", "home", "attic"]).ok();
        home.run(["set-remove", "notes", "s", "attic"]).ok();
        home.run(["field", "set", "notes", "f", "address.city", "Basel"]).ok();
        home.run(["field", "unset", "notes", "f", "address"]).ok();
        let did = |key: &str| {
            let log = home.run(["log", "notes", key, "--json"]).json();
            log.into_iter()
                .map(|entry| (entry["did"].clone(), entry["operations"].clone()))
                .collect::<Vec<_>>()
        };
        let operate = |operations: Value| (json!("operate"), operations);
        assert_eq!(did("n"), [operate(json!([{"add": -3}])), (json!("put"), Value::Null)]);
        let inserted = json!([{"insert": "home"}, {"insert": "attic"}]);
        assert_eq!(did("s"), [operate(json!([{"remove": "attic"}])), operate(inserted)]);
        let set = json!([{"set": ["address", "city"], "value": "Basel"}]);
        assert_eq!(did("f"), [operate(json!([{"unset": ["address"]}])), operate(set)]);
        let words = |key: &str| {
            let log = home.run(["log", "notes", key]).ok();
            let words = |line: &str| line.split_whitespace().skip(3).collect::<Vec<_>>().join(" ");
            log.lines().skip(1).map(words).collect::<Vec<_>>()
        };
        assert_eq!(words("n"), ["counter -3", "put 10"]);
        assert_eq!(words("s"), ["set -attic", "set +home, +attic"]);
        assert_eq!(words("f"), ["fields -address", "fields address.city=Basel"]);
        // A batch within one syncgroup needs no name beside its version.
        assert!(
            home.run(["log", "notes", "n", "--json"]).json().iter().all(|entry| entry["batch"].is_null())
        );
    });
}
