//! Syncgroups between devices, and what the command says of them.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Home, eventually, invitation};

#[test]
fn a_device_that_joins_gets_the_rows_and_both_see_later_writes() {
    let (here, there) = (Home::with_notes(), Home::new());
    let _server = here.serve();
    here.run(["put", "notes", "a", "from here"]).ok();
    there.run(["init"]).ok();
    let _other = there.serve();
    there.run(["syncgroup", "join", &invitation(&here, &[])]).ok();
    assert_eq!(there.run(["get", "notes", "a"]).ok(), "from here");
    there.run(["put", "notes", "b", "from there"]).ok();
    eventually("the row has come back", || here.run(["get", "notes", "b"]).stdout == b"from there");
    let members = here.run(["syncgroup", "members", "notes", "--json"]).json();
    assert_eq!(members.len(), 2);
    assert_eq!(members.iter().filter(|member| member["this"] == true).count(), 1);
    let status = &here.run(["status", "--json"]).json()[0];
    assert_eq!((&status["served"], status["links"].as_array().unwrap().len()), (&json!(true), 1));
    assert!(status["traffic"]["sent"].as_u64().unwrap() > 0);
}

#[test]
fn a_device_joins_without_a_server_of_its_own() {
    let (here, there) = (Home::with_notes(), Home::new());
    let _server = here.serve();
    here.run(["put", "notes", "a", "1"]).ok();
    there.run(["init"]).ok();
    there.run_with_input(["syncgroup", "join", "-"], invitation(&here, &[]).as_bytes()).ok();
    assert_eq!(there.run(["get", "notes", "a"]).ok(), "1");
}

#[test]
fn a_reader_cannot_write_and_a_used_invitation_admits_nobody_else() {
    let (here, reader, late) = (Home::with_notes(), Home::new(), Home::new());
    let _server = here.serve();
    let once = invitation(&here, &["--read"]);
    reader.run(["init"]).ok();
    reader.run(["syncgroup", "join", &once]).ok();
    assert!(reader.run(["put", "notes", "a", "1"]).failed(1).contains("right"));
    late.run(["init"]).ok();
    let error = late.run(["syncgroup", "join", &once]).failed(1);
    assert!(error.contains("refused"), "{error}");
    let listed = late.run(["syncgroup", "list", "--json"]).json().remove(0);
    assert_eq!(listed["state"], "refused");
    let why = listed["explained"].as_str().unwrap();
    assert!(why.contains("another device has used the invitation"), "{why}");
    assert!(late.run(["syncgroup", "list"]).ok().contains(why));
}

#[test]
fn joining_where_nobody_answers_ends_in_time_and_says_how_it_goes_on() {
    let (here, there) = (Home::with_notes(), Home::new());
    // Made without a server: nobody listens there.
    let invitation = invitation(&here, &["--reusable", "--valid", "7d"]);
    there.run(["init"]).ok();
    let error = there.run(["syncgroup", "join", &invitation, "--timeout", "1s"]).failed(1);
    assert!(error.contains("background") && error.contains("driftless serve"), "{error}");
    let syncgroups = there.run(["syncgroup", "list", "--json"]).json();
    assert_eq!(syncgroups[0]["state"], "joining");
}

#[test]
fn whoever_leaves_before_being_admitted_is_leaving_until_an_admin_was_asked() {
    let (here, there) = (Home::with_notes(), Home::new());
    let once = invitation(&here, &[]);
    there.run(["init"]).ok();
    let server = there.serve();
    let mut joining = there.command(["syncgroup", "join", &once]);
    let mut joining = joining.stderr(Stdio::piped()).spawn().unwrap();
    let list = || there.run(["syncgroup", "list", "--json"]).json();
    eventually("it is joining", || list().first().is_some_and(|syncgroup| syncgroup["state"] == "joining"));
    let id = list()[0]["id"].as_str().unwrap().to_owned();
    let left = there.run(["syncgroup", "leave", &id, "--json"]);
    assert!(left.stderr.contains("admin"), "{}", left.stderr);
    assert_eq!(left.json()[0]["state"], "leaving");
    // Who waits for it is told.
    let mut error = String::new();
    joining.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(joining.wait().unwrap().code(), Some(1), "{error}");
    assert!(error.contains("was left"), "{error}");
    let shown = there.run(["syncgroup", "list"]).ok();
    assert!(shown.contains("is leaving: others may still count this device"), "{shown}");
    drop(server);
    let _server = here.serve();
    // Joining again is to change one's mind.
    let again = there.run(["syncgroup", "join", &invitation(&here, &[])]);
    assert_eq!(again.ok().trim(), id);
    assert_eq!(list()[0]["state"], "active");
    assert!(list()[0]["explained"].is_null());
}

#[test]
fn an_invitation_that_was_cut_short_is_refused_as_such() {
    let (here, there) = (Home::with_notes(), Home::new());
    let whole = invitation(&here, &[]);
    there.run(["init"]).ok();
    let error = there.run(["syncgroup", "join", &whole[..whole.len() - 3]]).failed(2);
    assert!(error.contains("cut short"), "{error}");
    assert!(there.run(["syncgroup", "join", "hello"]).failed(2).contains("driftless:"));
}

#[test]
fn syncgroups_go_by_name_and_by_the_start_of_their_id() {
    let home = Home::with_notes();
    let listed = home.run(["syncgroup", "list", "--json"]).json();
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    home.run(["syncgroup", "add-collection", &id[..8], "more"]).ok();
    home.run(["put", "more", "a", "1", "--syncgroup", "notes"]).ok();
    let error = home.run(["syncgroup", "members", "nots"]).failed(2);
    assert!(error.contains("notes"), "{error}");
    for taken in [&["other", "notes"][..], &["notes", "tasks"], &["notes"]] {
        let error = home.run([&["syncgroup", "create"], taken].concat()).failed(1);
        assert!(error.contains("already") && error.contains("--another"), "{error}");
    }
    home.run(["syncgroup", "create", "other", "notes", "--another"]).ok();
    let error = home.run(["put", "notes", "a", "1"]).failed(2);
    assert!(error.contains("--syncgroup"), "{error}");
    home.run(["put", "notes", "a", "1", "--syncgroup", "other"]).ok();
    assert_eq!(home.run(["get", "notes", "a", "--syncgroup", &id[..8]]).status.code(), Some(1));
}

#[test]
fn databases_are_apart() {
    let home = Home::with_notes();
    home.run(["syncgroup", "create", "notes", "--db", "work"]).ok();
    home.run(["put", "notes", "a", "1", "--db", "work"]).ok();
    assert_eq!(home.run(["scan", "notes"]).ok(), "");
    assert_eq!(home.run(["scan", "notes", "--db", "work"]).ok(), "a\t1\n");
}

#[test]
fn who_has_left_keeps_the_rows_and_cannot_write() {
    let (here, there) = (Home::with_notes(), Home::new());
    let _server = here.serve();
    here.run(["put", "notes", "a", "1"]).ok();
    there.run(["init"]).ok();
    let _other = there.serve();
    there.run(["syncgroup", "join", &invitation(&here, &[])]).ok();
    there.run(["syncgroup", "leave", "notes"]).ok();
    assert_eq!(there.run(["get", "notes", "a"]).ok(), "1");
    assert!(there.run(["put", "notes", "a", "2"]).failed(1).contains("not a member"));
    eventually("the other has learnt of it", || {
        let members = here.run(["syncgroup", "members", "notes", "--all", "--json"]).json();
        members.iter().any(|member| member["rights"].is_null())
    });
    assert_eq!(here.run(["syncgroup", "members", "notes", "--json"]).json().len(), 1, "it is not listed");
}

#[test]
fn a_device_that_is_offline_catches_up_when_it_is_back() {
    let (here, there) = (Home::with_notes(), Home::new());
    let _server = here.serve();
    there.run(["init"]).ok();
    assert!(there.run(["network", "off"]).failed(2).contains("driftless serve"));
    let _other = there.serve();
    there.run(["syncgroup", "join", &invitation(&here, &[])]).ok();
    there.run(["network", "off"]).ok();
    assert_eq!(there.run(["status", "--json"]).json()[0]["online"], false);
    here.run(["put", "notes", "a", "while away"]).ok();
    there.run(["put", "notes", "b", "meanwhile"]).ok();
    there.run(["network", "on"]).ok();
    eventually("both have both", || {
        there.run(["get", "notes", "a"]).status.success() && here.run(["get", "notes", "b"]).status.success()
    });
}

#[test]
fn every_command_speaks_json() {
    let home = Home::new();
    let first = |args: &[&str]| -> Value { home.run(args.iter().chain(&["--json"])).json().remove(0) };
    assert_eq!(first(&["init"])["made"], true);
    assert_eq!(first(&["init"])["made"], false);
    assert_eq!(first(&["syncgroup", "create", "notes"])["collections"], json!(["notes"]));
    assert_eq!(first(&["syncgroup", "add-collection", "notes", "more"])["name"], "notes");
    assert!(
        first(&["syncgroup", "invite", "notes"])["invitation"].as_str().unwrap().starts_with("driftless:")
    );
    assert_eq!(first(&["syncgroup", "list"])["rights"], "admin");
    assert_eq!(first(&["syncgroup", "members", "notes"])["this"], true);
    assert_eq!(first(&["status"])["served"], false);
    home.run(["put", "notes", "a", "[1]", "--json"]).ok();
    assert_eq!(first(&["get", "notes", "a"]), json!({"key": "a", "value": [1]}));
    assert_eq!(first(&["scan", "notes", "--keys"]), json!({"key": "a"}));
    assert_eq!(first(&["export", "notes"])["value"], json!([1]));
}
