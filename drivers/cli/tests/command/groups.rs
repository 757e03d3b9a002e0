//! Conflicts of several rows, which belong together because one batch has written them.

use serde_json::Value;

use crate::support::{Home, Server, eventually, invitation, write_batch};

/// Two devices of a syncgroup `notes` with collections `notes` and `tasks`. While they were apart each has written rows
/// by one batch: `notes/milk`, `notes/bread` and, there only, `notes/note`. They have met again.
struct Two {
    here: Home,
    there: Home,
    _servers: [Server; 2],
}

const BATCH_THERE: &str = "{\"key\": \"bread\", \"value\": \"there\"}\n{\"key\": \"milk\", \"value\": \"there\"}\n\
     {\"key\": \"note\", \"value\": \"there\"}\n";
const BATCH_HERE: &str =
    "{\"key\": \"bread\", \"value\": \"here\"}\n{\"key\": \"milk\", \"value\": \"here\"}\n";

fn two() -> Two {
    let here = Home::new();
    here.run(["syncgroup", "create", "notes", "notes", "tasks"]).ok();
    let server = here.serve();
    here.run(["schema", "notes", "set", "", "app-resolves"]).ok();
    here.run(["put", "notes", "milk", "before"]).ok();
    let there = here.joined(&[]);
    eventually("the first value is there", || there.run(["get", "notes", "milk"]).stdout == b"before");
    here.run(["network", "off"]).ok();
    there.run_with_input(["import", "notes", "-"], BATCH_THERE.as_bytes()).ok();
    here.run_with_input(["import", "notes", "-"], BATCH_HERE.as_bytes()).ok();
    here.run(["network", "on"]).ok();
    let other = there.serve();
    for home in [&here, &there] {
        eventually("the conflict is there", || conflicts(home).len() == 3);
    }
    Two { here, there, _servers: [server, other] }
}

fn conflicts(home: &Home) -> Vec<Value> {
    home.run(["conflicts", "notes", "--json"]).json()
}

fn state(home: &Home) -> String {
    conflicts(home)[0]["state"].as_str().unwrap().to_owned()
}

fn value(home: &Home, key: &str) -> String {
    home.run(["get", "notes", key]).ok()
}

#[test]
fn rows_of_one_batch_are_shown_together_and_resolved_by_one_batch() {
    let Two { here, there, _servers } = two();
    let listed = conflicts(&here);
    let of = |name: &str| listed.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("key"), ["bread", "milk", "note"]);
    assert_eq!(of("open"), [true, true, false], "what only one of them wrote comes along");
    assert!(listed.iter().all(|row| row["state"] == listed[0]["state"] && row["rows"] == 3));
    assert_eq!(listed[1]["ancestor"]["value"], "before");
    assert_eq!(listed[0]["ancestor"], Value::Null);
    assert_eq!(conflicts(&there), listed, "every device tells the same");
    let text = here.run(["conflicts", "notes"]);
    assert!(text.stderr.contains("driftless resolve notes bread pick:"), "{}", text.stderr);
    let text = text.ok();
    assert!(text.starts_with(&format!("conflict {}  3 rows that belong together", state(&here))), "{text}");
    let before: Vec<_> = text.lines().filter(|line| line.contains(" before ")).collect();
    assert!(before.len() == 1 && before[0].ends_with("before"), "{text}");
    // The conflict is told once, whichever of its rows the prefix names.
    assert_eq!(here.run(["conflicts", "notes", "--prefix", "mi", "--json"]).json(), listed);

    let missing = here.run(["resolve", "notes", "milk", "delete"]).failed(1);
    assert!(missing.contains("\"bread\" needs an answer") && missing.contains("--leave-others"), "{missing}");
    assert_eq!(conflicts(&here), listed, "nothing was written");
    let done = here.run(["resolve", "notes", "milk", "value:both", "bread", "delete", "note", "value:note"]);
    assert!(done.stderr.contains("3 rows resolved"), "{}", done.stderr);
    for home in [&here, &there] {
        eventually("nothing is in conflict", || conflicts(home).is_empty());
        assert_eq!((value(home, "milk"), value(home, "note")), ("both".to_owned(), "note".to_owned()));
        home.run(["get", "notes", "bread"]).failed(1);
    }
    let version = |key: &str| here.run(["log", "notes", key, "--json"]).json()[0]["version"].clone();
    assert_eq!(version("milk"), version("bread"), "it was one batch");
    assert_eq!(version("milk"), version("note"));
}

#[test]
fn an_answer_to_what_was_shown_is_refused_once_anything_of_it_has_changed() {
    let Two { here, there, _servers } = two();
    let shown = state(&here);
    // Even of a row that needs no answer.
    there.run(["put", "notes", "note", "again"]).ok();
    eventually("it has arrived", || value(&here, "note") == "again");
    let answer = ["resolve", "notes", "milk", "delete", "bread", "delete", "--state"];
    let stale = here.run([&answer[..], &[&shown]].concat()).failed(1);
    assert!(stale.contains("has changed since") && stale.contains(&state(&here)), "{stale}");
    assert_eq!(conflicts(&here).len(), 2, "nothing was written; the note does not come along any more");
    here.run([&answer[..], &[&state(&here)[..12]]].concat()).ok();
    assert!(conflicts(&here).is_empty());
}

#[test]
fn rows_that_are_not_named_are_left_open_where_that_is_asked_for() {
    let Two { here, there, _servers } = two();
    let done = here.run(["resolve", "notes", "milk", "value:both", "--leave-others"]);
    assert!(done.stderr.contains("1 row resolved; 1 row left open"), "{}", done.stderr);
    assert_eq!(value(&here, "milk"), "both");
    eventually("it has arrived", || value(&there, "milk") == "both");
    let left = |home: &Home| {
        conflicts(home)
            .iter()
            .filter(|row| row["open"] == true)
            .map(|row| row["key"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!((left(&here), left(&there)), (vec!["bread".into()], vec!["bread".into()]));
    // The same can be said of each row by itself.
    here.run(["resolve", "notes", "bread", "leave"]).failed(2);
    let answer = here.run(["resolve", "notes", "bread", "delete", "--json"]).json();
    assert_eq!(answer, [serde_json::json!({ "resolved": 1, "left": 0 })]);
}

#[test]
fn a_conflict_over_several_collections_and_syncgroups_is_resolved_from_any_of_them() {
    let (here, there) = (Home::with_notes(), Home::new());
    here.run(["syncgroup", "create", "work", "tasks"]).ok();
    there.run(["init"]).ok();
    let server = here.serve();
    for (syncgroup, collection) in [("notes", "notes"), ("work", "tasks")] {
        here.run(["schema", collection, "set", "", "app-resolves"]).ok();
        let invitation = here.run(["syncgroup", "invite", syncgroup]).ok();
        there.run(["syncgroup", "join", invitation.trim()]).ok();
    }
    eventually("the schema is there", || !there.run(["schema", "tasks", "--json"]).json().is_empty());
    drop(server);
    write_batch(&here, &[("notes", "k", "here"), ("tasks", "k", "here")]);
    write_batch(&there, &[("notes", "k", "there"), ("tasks", "k", "there")]);
    let _server = here.serve();
    let _other = there.serve_beside(&here);
    eventually("the conflict is there", || conflicts(&here).len() == 2);
    let listed = conflicts(&here);
    let names = |listed: &[Value]| {
        let mut names: Vec<_> = listed.iter().map(|row| row["row"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&listed), ["k", "tasks/k"]);
    assert_eq!(names(&here.run(["conflicts", "tasks", "--json"]).json()), ["k", "notes/k"]);
    // Of one batch over two syncgroups the versions differ, and its name does not.
    let batch = |row: &Value, value: &str| {
        let heads = row["heads"].as_array().unwrap();
        heads.iter().find(|head| head["value"] == value).unwrap()["batch"].clone()
    };
    assert!(batch(&listed[0], "here").is_string());
    assert_eq!(batch(&listed[0], "here"), batch(&listed[1], "here"));
    assert_ne!(batch(&listed[0], "here"), batch(&listed[0], "there"));
    let text = here.run(["conflicts", "notes"]).ok();
    assert!(text.contains("tasks/k  (app-resolves)") && text.contains("BATCH"), "{text}");

    there.run(["resolve", "tasks", "k", "value:both", "notes/k", "delete"]).ok();
    for home in [&here, &there] {
        eventually("nothing is in conflict", || conflicts(home).is_empty());
        assert_eq!(home.run(["get", "tasks", "k"]).ok(), "both");
        home.run(["get", "notes", "k"]).failed(1);
    }
    let batch = |collection: &str| here.run(["log", collection, "k", "--json"]).json()[0]["batch"].clone();
    assert_eq!(batch("notes"), batch("tasks"), "it was one batch");
}

#[test]
fn long_values_are_cut_for_people_and_whole_for_programs_however_many_versions_there_are() {
    let here = Home::with_notes();
    let _server = here.serve();
    here.run(["schema", "notes", "set", "", "app-resolves"]).ok();
    let invitation = invitation(&here, &["--reusable"]);
    // Several versions of the largest size: more than one line of the control protocol takes.
    let others: Vec<Home> = (0..12)
        .map(|_| {
            let home = Home::new();
            home.run(["init"]).ok();
            home.run(["syncgroup", "join", &invitation]).ok();
            home
        })
        .collect();
    here.run(["network", "off"]).ok();
    for (at, home) in others.iter().enumerate() {
        let letter = b'a' + u8::try_from(at).unwrap();
        home.run_with_input(["put", "notes", "k"], &vec![letter; 1 << 20]).ok();
    }
    here.run(["network", "on"]).ok();
    for (at, home) in others.iter().enumerate() {
        let server = home.serve();
        eventually("it has arrived", || {
            // One version alone is no conflict.
            let listed = here.run(["conflicts", "notes"]).ok();
            let is_first = at == 0 && here.run(["get", "notes", "k"]).stdout.len() == 1 << 20;
            is_first || listed.matches("(1.00 MiB)").count() == at + 1
        });
        drop(server);
    }
    let listed = conflicts(&here);
    let heads = listed[0]["heads"].as_array().unwrap();
    assert!(heads.iter().all(|head| head["value"].as_str().unwrap().len() == 1 << 20));
    let text = here.run(["conflicts", "notes"]).ok();
    assert!(text.len() < 12 * 250, "{} bytes", text.len());
    assert_eq!(text.matches("(1.00 MiB)").count(), 12, "{text}");
}
