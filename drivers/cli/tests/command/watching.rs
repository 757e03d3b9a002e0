//! `watch`: states, batches, markers.

use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::support::{Home, Lines};

/// A running `watch` and what it prints.
struct Watching {
    child: Child,
    lines: Lines,
}

impl Watching {
    fn start(home: &Home, options: &[&str]) -> Self {
        let args = ["watch", "notes"].iter().chain(options);
        let mut child = home.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = Lines::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("a line in time")
    }

    fn event(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// The marker of an event of this name.
    fn marker(&mut self, event: &str) -> String {
        let found = self.event();
        assert_eq!(found["event"], event, "{found}");
        found["marker"].as_str().unwrap().to_owned()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watch_shows_the_rows_and_then_every_change_with_a_marker_after_each_batch() {
    let home = Home::with_notes();
    let _server = home.serve();
    home.run(["put", "notes", "a/old", "1"]).ok();
    let mut watch = Watching::start(&home, &["--prefix", "a/", "--limit", "2", "--json"]);
    assert_eq!(watch.event(), json!({"event": "state", "key": "a/old", "value": "1"}));
    watch.marker("ready");
    home.run(["put", "notes", "a/new", "2"]).ok();
    home.run(["put", "notes", "b/other", "3"]).ok();
    home.run(["delete", "notes", "a/old"]).ok();
    assert_eq!(watch.event(), json!({"event": "put", "key": "a/new", "value": "2", "local": true}));
    let first = watch.marker("batch");
    assert_eq!(watch.event(), json!({"event": "delete", "key": "a/old", "local": true}));
    let second = watch.marker("batch");
    assert_ne!(second, first);
    assert_eq!(watch.event(), json!({"event": "end", "because": "limit", "marker": second}));
    assert!(watch.child.wait().unwrap().success());
}

#[test]
fn a_limit_ends_a_watch_after_a_whole_batch_and_the_marker_goes_on_from_there() {
    let home = Home::with_notes();
    let _server = home.serve();
    let mut watch = Watching::start(&home, &["--limit", "2", "--json"]);
    watch.marker("ready");
    home.run_with_input(
        ["import", "notes", "-"],
        b"{\"key\":\"a\",\"value\":1}\n{\"key\":\"b\",\"value\":2}\n{\"key\":\"c\",\"value\":3}\n",
    )
    .ok();
    home.run(["put", "notes", "d", "4"]).ok();
    for key in ["a", "b", "c"] {
        assert_eq!(watch.event()["key"], key, "all of the batch");
    }
    let marker = watch.marker("batch");
    assert_eq!(watch.event(), json!({"event": "end", "because": "limit", "marker": marker}));
    assert!(watch.child.wait().unwrap().success());
    let mut watch = Watching::start(&home, &["--from", &marker, "--limit", "1"]);
    assert_eq!(watch.line(), "+ d\t4", "nothing is lost and nothing comes twice");
}

#[test]
fn of_batches_that_come_together_none_is_missed_by_a_watch_that_goes_on_after_the_first() {
    let here = Home::with_notes();
    let _server = here.serve();
    let there = here.joined(&[]);
    here.run(["network", "off"]).ok();
    let keys = ["a", "b", "c", "d"];
    keys.iter().for_each(|key| _ = there.run(["put", "notes", key, "1"]).ok());
    let mut watch = Watching::start(&here, &["--limit", "1", "--json"]);
    let mut marker = watch.marker("ready");
    here.run(["network", "on"]).ok();
    let _other = there.serve();
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < keys.len() {
        loop {
            let event = watch.event();
            match event["event"].as_str().unwrap() {
                "put" => seen.push(event["key"].as_str().unwrap().to_owned()),
                "batch" => marker = event["marker"].as_str().map_or(marker, str::to_owned),
                "end" => break,
                other => panic!("{other}"),
            }
        }
        watch = Watching::start(&here, &["--limit", "1", "--json", "--from", &marker]);
    }
    assert_eq!(seen, keys, "each is told once, and in order");
}

#[test]
fn a_watch_goes_on_from_a_marker_also_after_a_restart() {
    let home = Home::with_notes();
    let server = home.serve();
    let mut watch = Watching::start(&home, &["--json"]);
    let marker = watch.marker("ready");
    drop(watch);
    home.run(["put", "notes", "a", "1"]).ok();
    home.run(["delete", "notes", "a", "b"]).ok();
    drop(server);
    let _server = home.serve();
    home.run(["put", "notes", "c", "3"]).ok();
    let mut watch = Watching::start(&home, &["--json", "--from", &marker]);
    assert_eq!(watch.event()["key"], "a");
    let after = watch.marker("batch");
    assert_eq!(watch.event(), json!({"event": "delete", "key": "a", "local": true}));
    watch.marker("batch");
    assert_eq!(watch.event()["key"], "c");
    drop(watch);
    // In words: the marker stands on a line of its own.
    let mut watch = Watching::start(&home, &["--from", &after, "--limit", "2"]);
    assert_eq!(watch.line(), "- a");
    assert!(watch.line().starts_with("= "));
    assert_eq!(watch.line(), "+ c\t3");
}

#[test]
fn a_marker_of_another_store_is_answered_with_all_rows_and_why() {
    let home = Home::with_notes();
    let _server = home.serve();
    home.run(["put", "notes", "a", "1"]).ok();
    let mut watch = Watching::start(&home, &["--json", "--from", "00000000000000ff-7"]);
    assert_eq!(watch.event(), json!({"event": "again", "because": "unknown"}));
    assert_eq!(watch.event()["key"], "a");
    watch.marker("ready");
    let wrong = home.run(["watch", "notes", "--from", "yesterday"]).failed(2);
    assert!(wrong.contains("as a watch printed it"), "{wrong}");
}

#[test]
fn several_collections_are_watched_together_and_a_syncgroup_that_is_left_ends_it() {
    let home = Home::with_notes();
    let _server = home.serve();
    home.run(["syncgroup", "add-collection", "notes", "tasks"]).ok();
    home.run(["put", "tasks", "a", "1"]).ok();
    let mut watch = Watching::start(&home, &["tasks", "--json"]);
    assert_eq!(watch.event(), json!({"event": "state", "collection": "tasks", "key": "a", "value": "1"}));
    watch.marker("ready");
    home.run(["put", "notes", "b", "2"]).ok();
    assert_eq!(watch.event()["collection"], "notes");
    watch.marker("batch");
    home.run(["syncgroup", "leave", "notes"]).ok();
    let end = watch.event();
    assert_eq!(end["event"], "end");
    assert_eq!(end["because"], "left");
    assert!(end["explained"].as_str().unwrap().contains("not a member"), "{end}");
    assert!(watch.child.wait().unwrap().success());
}

#[test]
fn changes_only_leaves_out_what_is_there_at_the_start_and_not_what_is_told_again() {
    let home = Home::with_notes();
    let _server = home.serve();
    home.run(["put", "notes", "a", "1"]).ok();
    let mut watch = Watching::start(&home, &["--changes-only", "--json"]);
    watch.marker("ready");
    home.run(["schema", "notes", "set", "a", "counter"]).ok();
    assert_eq!(watch.event(), json!({"event": "again", "because": "schema"}));
    assert_eq!(watch.event(), json!({"event": "state", "key": "a", "value": "1"}));
    watch.marker("ready");
    drop(watch);
    let mut watch = Watching::start(&home, &["--changes-only", "--json", "--from", "00000000000000ff-7"]);
    assert_eq!(watch.event(), json!({"event": "again", "because": "unknown"}));
    assert_eq!(watch.event()["key"], "a");
    watch.marker("ready");
}
