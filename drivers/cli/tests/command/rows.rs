//! Rows: put, get, delete, scan, count.

use serde_json::{Value, json};

use crate::support::{Home, both_ways};

#[test]
fn what_is_put_can_be_read_until_it_is_deleted() {
    both_ways(|home| {
        home.run(["put", "notes", "hello", "first words"]).ok();
        assert_eq!(home.run(["get", "notes", "hello"]).ok(), "first words");
        home.run(["put", "notes", "hello", "-5"]).ok();
        assert_eq!(home.run(["get", "notes", "hello"]).ok(), "-5");
        home.run(["delete", "notes", "hello", "never there"]).ok();
        assert!(home.run(["get", "notes", "hello"]).failed(1).contains("no row \"hello\""));
    });
}

#[test]
fn values_come_from_arguments_files_and_standard_input_byte_for_byte() {
    both_ways(|home| {
        let bytes = b"\x00\xff binary \n";
        std::fs::write(home.path("file"), bytes).unwrap();
        home.run(["put", "notes", "file", &format!("@{}", home.path("file").display())]).ok();
        home.run_with_input(["put", "notes", "piped"], bytes).ok();
        home.run_with_input(["put", "notes", "dash", "-"], b"").ok();
        assert_eq!(home.run(["get", "notes", "file"]).stdout, bytes);
        assert_eq!(home.run(["get", "notes", "piped"]).stdout, bytes);
        assert_eq!(home.run(["get", "notes", "dash"]).ok(), "");
        let row = &home.run(["get", "notes", "file", "--json"]).json()[0];
        assert_eq!(row, &json!({"key": "file", "value_base64": "AP8gYmluYXJ5IAo="}));
    });
}

#[test]
fn keys_that_are_no_text_can_be_given_and_are_shown() {
    both_ways(|home| {
        home.run(["put", "notes", "/wA=", "odd", "--key-base64"]).ok();
        assert_eq!(home.run(["get", "notes", "/wA=", "--key-base64"]).ok(), "odd");
        assert_eq!(home.run(["scan", "notes"]).ok(), "\\xff\\u{0}\todd\n");
        let row = &home.run(["scan", "notes", "--json"]).json()[0];
        assert_eq!(row, &json!({"key_base64": "/wA=", "value": "odd"}));
        assert!(home.run(["get", "notes", "*", "--key-base64"]).failed(2).contains("no base64"));
    });
}

#[test]
fn a_scan_shows_the_range_that_was_asked_for() {
    both_ways(|home| {
        for key in ["a", "b/1", "b/2", "b/3", "c"] {
            home.run(["put", "notes", key, key]).ok();
        }
        let scan = |options: &[&str]| {
            let args = ["scan", "notes", "--keys"].iter().chain(options);
            home.run(args).ok().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(scan(&[]), ["a", "b/1", "b/2", "b/3", "c"]);
        assert_eq!(scan(&["--prefix", "b/"]), ["b/1", "b/2", "b/3"]);
        assert_eq!(scan(&["--from", "b/2", "--to", "c"]), ["b/2", "b/3"]);
        assert_eq!(scan(&["--prefix", "b/", "--from", "b/3"]), ["b/3"]);
        assert_eq!(scan(&["--reverse", "--limit", "2"]), ["c", "b/3"]);
        assert_eq!(scan(&["--prefix", "b/", "--reverse"]), ["b/3", "b/2", "b/1"]);
        assert_eq!(scan(&["--limit", "0"]), [""; 0]);
    });
}

#[test]
fn rows_are_counted_by_range() {
    both_ways(|home| {
        for key in ["a", "b/1", "b/2", "c"] {
            home.run(["put", "notes", key, "x"]).ok();
        }
        let count = |options: &[&str]| home.run(["count", "notes"].iter().chain(options)).ok();
        assert_eq!(count(&[]), "4\n");
        assert_eq!(count(&["--prefix", "b/"]), "2\n");
        assert_eq!(count(&["--from", "b/2", "--to", "c"]), "1\n");
        assert_eq!(home.run(["count", "notes", "--json"]).json(), [json!({"rows": 4})]);
    });
}

#[test]
fn what_cannot_be_a_row_is_refused_with_the_bound() {
    both_ways(|home| {
        let long = "k".repeat(1_025);
        assert!(home.run(["put", "notes", &long, "x"]).failed(2).contains("1024"));
        let large = vec![b'v'; (1 << 20) + 1];
        assert!(home.run_with_input(["put", "notes", "large"], &large).failed(2).contains("1048576"));
        home.run_with_input(["put", "notes", "largest"], &large[1..]).ok();
        assert_eq!(home.run(["get", "notes", "largest"]).ok().len(), 1 << 20);
    });
}

#[test]
fn an_unknown_collection_is_refused_with_those_that_are_there_and_how_to_make_one() {
    both_ways(|home| {
        for args in [&["get", "nots", "a"][..], &["put", "nots", "a", "b"], &["scan", "nots"]] {
            let error = home.run(args).failed(2);
            assert!(error.contains("\"notes\"") && error.contains("syncgroup create"), "{error}");
        }
    });
}

#[test]
fn wrong_usage_is_told_apart_from_an_answer() {
    let home = Home::new();
    for args in [&["put"][..], &["frobnicate"], &["get", "notes"], &["scan", "notes", "--limit", "x"]] {
        assert!(home.run(args).failed(2).contains("--help"));
    }
    assert!(home.run(["get", "notes", "a"]).failed(2).contains("driftless init"));
    let error = home.run(["get", "notes", "a", "--json"]).failed(2);
    assert_eq!(serde_json::from_str::<Value>(&error).unwrap()["status"], 2);
}

#[test]
fn the_help_of_every_command_shows_without_a_data_directory() {
    let home = Home::new();
    let commands = [
        "init",
        "serve",
        "put",
        "get",
        "delete",
        "scan",
        "count",
        "watch",
        "schema",
        "add",
        "set-add",
        "set-remove",
        "field",
        "conflicts",
        "resolve",
        "log",
        "import",
        "export",
        "status",
        "network",
        "demo",
    ];
    for command in commands {
        assert!(home.run([command, "--help"]).ok().contains("Usage: driftless"), "{command}");
    }
    for command in ["create", "add-collection", "invite", "join", "leave", "list", "members"] {
        assert!(home.run(["syncgroup", command, "--help"]).ok().contains("Usage: driftless"), "{command}");
    }
    assert!(home.run(["--help"]).ok().contains("Exit status"));
    assert!(!home.dir().exists());
}
