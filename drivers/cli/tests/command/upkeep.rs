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
    let table = there.run(["verify"]).ok();
    assert!(table.contains("notes") && table.contains("none"), "{table}");
    let found = &there.run(["verify", "--json"]).json()[0];
    assert_eq!(
        (&found["name"], &found["rows"], &found["problems"]),
        (&json!("notes"), &json!(3), &json!([]))
    );
    assert!(there.run(["get", "notes", "a"]).ok() == "1", "and it goes on as before");
    assert!(Home::new().run(["verify"]).failed(2).contains("no data directory"));
}
