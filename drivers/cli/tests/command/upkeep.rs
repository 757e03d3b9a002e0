//! Pausing a database, and checking a whole store.

use serde_json::json;

use crate::support::{Home, eventually};

#[test]
fn what_is_written_while_paused_is_seen_by_others_after_it() {
    let here = Home::with_notes();
    let _server = here.serve();
    let there = here.joined(&[]);
    let _other = there.serve();
    here.run(["pause"]).ok();
    let status = here.run(["status"]).ok();
    assert!(status.contains("driftless resume --db default"), "{status}");
    assert_eq!(here.run(["status", "--json"]).json()[0]["paused"], json!(["default"]));
    here.run(["put", "notes", "draft", "1"]).ok();
    there.run(["put", "notes", "other", "2"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(there.run(["scan", "notes"]).ok(), "other\t2\n");
    assert_eq!(here.run(["scan", "notes"]).ok(), "draft\t1\n");
    here.run(["resume"]).ok();
    eventually("both have both", || {
        [&here, &there].iter().all(|home| home.run(["count", "notes"]).ok().trim() == "2")
    });
}

#[test]
fn a_pause_can_come_before_anything_else_and_lasts() {
    let home = Home::new();
    home.run(["pause", "--db", "drafts"]).ok();
    home.run(["pause", "--db", "drafts"]).ok();
    assert_eq!(home.run(["status", "--json"]).json()[0]["paused"], json!(["drafts"]));
    home.run(["resume", "--db", "drafts"]).ok();
    assert_eq!(home.run(["status", "--json"]).json()[0]["paused"], json!([]));
}

#[test]
fn nothing_is_written_again_unless_the_clock_is_said_to_be_right() {
    let home = Home::with_notes();
    home.run(["put", "notes", "a", "1"]).ok();
    let error = home.run(["reissue"]).failed(2);
    assert!(error.contains("--clock-is-right"), "{error}");
    let told = &home.run(["reissue", "--clock-is-right", "--json"]).json()[0];
    assert_eq!((&told["batches"], &told["dropped"]), (&json!(0), &json!(0)));
    assert!(!home.run(["status"]).ok().contains("mute"));
    assert_eq!(home.run(["get", "notes", "a"]).ok(), "1");
}

#[test]
fn a_store_is_verified_from_end_to_end() {
    let here = Home::with_notes();
    let server = here.serve();
    let there = here.joined(&[]);
    let error = here.run(["verify"]).failed(2);
    assert!(error.contains("driftless serve"), "{error}");
    for key in ["a", "b", "c"] {
        there.run(["put", "notes", key, "1"]).ok();
    }
    server.terminate();
    let mark = std::fs::read(there.dir().join("mark")).unwrap();
    let table = there.run(["verify"]).ok();
    assert_eq!(std::fs::read(there.dir().join("mark")).unwrap(), mark, "looking changes nothing");
    assert!(table.contains("notes") && table.contains("none"), "{table}");
    let found = &there.run(["verify", "--json"]).json()[0];
    assert_eq!(
        (&found["name"], &found["rows"], &found["problems"]),
        (&json!("notes"), &json!(3), &json!([]))
    );
    assert!(there.run(["get", "notes", "a"]).ok() == "1", "and it goes on as before");
    assert!(Home::new().run(["verify"]).failed(2).contains("no data directory"));
}

#[test]
fn a_locked_key_is_asked_for_by_every_command_that_opens_the_directory_and_by_no_other() {
    let home = Home::new();
    let file = |name: &str, text: &str| {
        let path = home.path(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (first, second, empty) = (file("first", "one\n"), file("second", "two"), file("empty", "\n"));
    let created = home.run(["init", "--json"]).json();
    assert!(
        home.run(["passphrase", "set", "--new-file", &empty]).failed(2).contains("at least one character")
    );
    assert!(home.run(["passphrase", "set"]).failed(2).contains("--new-file"));
    home.run(["passphrase", "set", "--new-file", &first]).ok();
    let asked = home.run(["status"]).failed(2);
    assert!(asked.contains("locked") && asked.contains("--passphrase-file"), "{asked}");
    let wrong = home.run(["status", "--passphrase-file", &second]).failed(2);
    assert!(wrong.contains("does not open"), "{wrong}");
    let status = home.run(["status", "--json", "--passphrase-file", &first]).json();
    assert_eq!(status[0]["device"], created[0]["device"], "it is the same device");
    home.run(["passphrase", "set", "--passphrase-file", &first, "--new-file", &second]).ok();
    home.run(["verify", "--passphrase-file", &second]).ok();

    let _server = home.serve_unlocked(&second);
    home.run(["syncgroup", "create", "notes"]).ok();
    home.run(["put", "notes", "k", "by a server that has the key"]).ok();
    // Nobody is asked for a passphrase first that would be of no use.
    assert!(home.run(["verify"]).failed(2).contains("stop `driftless serve`"));
    assert!(home.run(["passphrase", "remove"]).failed(2).contains("stop `driftless serve`"));
    let in_use = home.run(["passphrase", "remove", "--passphrase-file", &second]).failed(2);
    assert!(in_use.contains("stop `driftless serve`"), "{in_use}");
}

#[test]
fn a_key_can_be_locked_when_it_is_made_and_unlocked_again() {
    let home = Home::new();
    let file = home.path("passphrase");
    std::fs::write(&file, "from the start").unwrap();
    let file = file.display().to_string();
    home.run(["init", "--passphrase-file", &file]).ok();
    home.run(["status"]).failed(2);
    home.run(["passphrase", "remove", "--passphrase-file", &file]).ok();
    home.run(["status"]).ok();
}
