//! Schemas, counters, sets and fields.

use std::process::Stdio;

use serde_json::json;

use crate::support::{Home, both_ways, eventually, run};

#[test]
fn a_schema_is_shown_and_changed_rule_by_rule() {
    both_ways(|home| {
        let quiet = home.run(["schema", "notes"]);
        assert!(quiet.stderr.contains("last version wins"), "{}", quiet.stderr);
        assert_eq!(quiet.ok(), "");
        home.run(["schema", "notes", "set", "", "defer"]).ok();
        home.run(["schema", "notes", "set", "count/", "last-wins"]).ok();
        let shown = home.run(["schema", "notes", "set", "count/", "counter"]).ok();
        let words: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1..], [vec!["(all", "rows)", "defer"], vec!["count/", "counter"]]);
        let rules = home.run(["schema", "notes", "show", "--json"]).json();
        assert_eq!(
            rules,
            [json!({"prefix": "", "policy": "defer"}), json!({"prefix": "count/", "policy": "counter"})]
        );
        home.run(["schema", "notes", "unset", ""]).ok();
        assert_eq!(home.run(["schema", "notes", "--json"]).json().len(), 1);
        assert!(home.run(["schema", "notes", "unset", "x"]).failed(1).contains("no rule"));
        let unknown = home.run(["schema", "notes", "set", "x", "coutner"]).failed(2);
        assert!(unknown.contains("app-resolves"), "{unknown}");
        let unregistered = home.run(["schema", "notes", "set", "x", "merge:words"]).failed(1);
        assert!(unregistered.contains("register"), "{unregistered}");
    });
}

#[test]
fn rules_that_are_changed_at_the_same_time_are_all_kept() {
    let home = Home::with_notes();
    let _server = home.serve();
    home.run(["schema", "notes", "set", "old", "defer"]).ok();
    let prefixes: Vec<String> = (0..24).map(|at| format!("p{at:02}")).collect();
    let change = |args: &[&str]| {
        let mut command = home.command([&["schema", "notes"], args].concat());
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let mut running: Vec<_> = prefixes.iter().map(|prefix| change(&["set", prefix, "counter"])).collect();
    running.push(change(&["unset", "old"]));
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    let rules = home.run(["schema", "notes", "--json"]).json();
    let kept: Vec<&str> = rules.iter().map(|rule| rule["prefix"].as_str().unwrap()).collect();
    assert_eq!(kept, prefixes);
}

#[test]
fn counters_sets_and_fields_are_changed_and_shown_as_what_they_are() {
    both_ways(|home| {
        for (prefix, policy) in [("n/", "counter"), ("s/", "set"), ("f/", "fields")] {
            home.run(["schema", "notes", "set", prefix, policy]).ok();
        }
        home.run(["add", "notes", "n/x", "12"]).ok();
        home.run(["add", "notes", "n/x", "-5"]).ok();
        home.run(["set-add", "notes", "s/x", "home", "garden", "attic"]).ok();
        home.run(["set-remove", "notes", "s/x", "attic"]).ok();
        home.run(["field", "set", "notes", "f/x", "address.city", "Basel"]).ok();
        home.run(["field", "set", "notes", "f/x", "name", "-1"]).ok();
        home.run(["field", "set", "notes", "f/x", "gone", "x"]).ok();
        home.run(["field", "unset", "notes", "f/x", "gone"]).ok();
        assert_eq!(home.run(["get", "notes", "n/x"]).ok(), "7");
        assert_eq!(home.run(["get", "notes", "s/x"]).ok(), "garden\nhome\n");
        assert_eq!(home.run(["get", "notes", "f/x"]).ok(), "address.city\tBasel\nname\t-1\n");
        assert_eq!(
            home.run(["scan", "notes"]).ok(),
            "f/x\taddress.city=Basel, name=-1\nn/x\t7\ns/x\t{garden, home}\n"
        );
        assert_eq!(
            home.run(["scan", "notes", "--json"]).json(),
            [
                json!({"key": "f/x", "fields": {"address": {"city": "Basel"}, "name": "-1"}}),
                json!({"key": "n/x", "value": 7}),
                json!({"key": "s/x", "set": ["garden", "home"]}),
            ]
        );
        // What is stored can be had, exported, and put back.
        let raw = home.run(["get", "notes", "s/x", "--raw"]).stdout;
        home.run_with_input(["put", "notes", "s/copy"], &raw).ok();
        assert_eq!(
            home.run(["get", "notes", "s/copy", "--json"]).json()[0]["set"],
            json!(["garden", "home"])
        );
        let exported = home.run(["export", "notes"]).ok();
        home.run(["delete", "notes", "f/x", "s/x", "n/x"]).ok();
        home.run_with_input(["import", "notes", "-"], exported.as_bytes()).ok();
        assert_eq!(home.run(["get", "notes", "f/x"]).ok(), "address.city\tBasel\nname\t-1\n");
    });
}

#[test]
fn a_change_that_does_not_fit_the_policy_is_refused_with_what_to_do() {
    both_ways(|home| {
        home.run(["schema", "notes", "set", "s/", "set"]).ok();
        let error = home.run(["add", "notes", "a", "1"]).failed(1);
        assert!(error.contains("driftless schema") && error.contains("counter"), "{error}");
        assert!(home.run(["add", "notes", "s/x", "1"]).failed(1).contains("its policy is set"));
        assert!(home.run(["put", "notes", "s/x", "text"]).failed(1).contains("driftless set-add"));
        assert!(home.run(["field", "set", "notes", "a", "x..y", "1"]).failed(2).contains("address.city"));
    });
}

#[test]
fn devices_that_count_while_apart_do_not_undo_each_other() {
    let here = Home::with_notes();
    let _server = here.serve();
    here.run(["schema", "notes", "set", "", "counter"]).ok();
    let there = here.joined(&[]);
    // Without a server each is alone.
    there.run(["add", "notes", "x", "5"]).ok();
    here.run(["add", "notes", "x", "20"]).ok();
    there.run(["add", "notes", "x", "-1"]).ok();
    let _other = there.serve();
    eventually("both have counted", || here.run(["get", "notes", "x"]).stdout == b"24");
    eventually("everywhere", || there.run(["get", "notes", "x"]).stdout == b"24");
}

#[cfg(unix)]
#[test]
fn the_commands_of_the_front_page_do_what_it_says() {
    let page = include_str!("../../../../README.md");
    let section =
        page.split("\n## ").find(|section| section.starts_with("When several write at once")).unwrap();
    let script = section.split("```").nth(1).unwrap().strip_prefix("sh\n").unwrap();
    let home = Home::new();
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_driftless")).parent().unwrap();
    let ran = run(home.program("/bin/sh", ["-e", "-c", script]).env("PATH", bin));
    assert!(ran.stderr.contains("no row is in conflict"), "{}", ran.stderr);
    let printed = ran.ok();
    assert!(printed.contains("\n7") && printed.contains("20 apples"), "{printed}");
    assert_eq!(home.run(["get", "stock", "person/ann"]).ok(), "address.city\tBasel\n");
}
