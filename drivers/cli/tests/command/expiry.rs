//! Rights and certificates with an end.

use serde_json::json;

use crate::support::{Home, eventually, invitation};

fn state(home: &Home) -> serde_json::Value {
    home.run(["syncgroup", "list", "--json"]).json()[0].clone()
}

#[test]
fn a_right_ends_and_is_extended_and_all_that_is_said() {
    let (here, there) = (Home::with_notes(), Home::new());
    let (_server, _other) = (here.serve(), there.serve());
    there.run(["syncgroup", "join", &invitation(&here, &[])]).ok();
    let id = there.run(["status", "--json"]).json()[0]["device"].as_str().unwrap().to_owned();
    there.run(["put", "notes", "a", "in time"]).ok();
    let granted = here.run(["syncgroup", "grant", "notes", &id, "read-write", "--for", "4s"]).ok();
    assert!(granted.contains("may write until 20"), "{granted}");
    eventually("its time is over", || state(&there)["state"] == "expired");
    let now = state(&there);
    assert!(now["until"].is_string() && now["rights"] == json!(null), "{now}");
    assert!(now["explained"].as_str().unwrap().contains("extend"), "{now}");
    let error = there.run(["put", "notes", "a", "too late"]).failed(1);
    assert!(error.contains("was over at 20") && error.contains("driftless syncgroup grant"), "{error}");
    assert!(there.run(["get", "notes", "a"]).ok().contains("in time"), "it reads on");
    eventually("the other sees it", || {
        let members = here.run(["syncgroup", "members", "notes"]).ok();
        members.contains("expired") && members.contains("UNTIL")
    });
    let members = here.run(["syncgroup", "members", "notes", "--json"]).json();
    let member = members.iter().find(|it| it["device"] == json!(id)).unwrap();
    assert_eq!((&member["expired"], &member["removed"]), (&json!(true), &json!(false)));
    here.run(["syncgroup", "grant", "notes", &id, "read-write"]).ok();
    eventually("it is a member again", || there.run(["put", "notes", "a", "again"]).status.success());
    assert_eq!(state(&there)["until"], json!(null));
}

#[test]
fn an_end_is_one_that_is_still_to_come() {
    let here = Home::with_notes();
    let invite = |more: &[&str]| here.run([&["syncgroup", "invite", "notes"], more].concat());
    assert!(invite(&["--until", "2020-01-31"]).failed(1).contains("2020-01-31T23:59:59"));
    assert!(invite(&["--until", "soon"]).failed(2).contains("UTC"));
    assert!(invite(&["--until", "2999-01-31", "--for", "7d"]).failed(2).contains("--for"));
    invite(&["--until", "2999-01-31 12:00:00"]).ok();
}

#[test]
fn a_device_is_a_users_until_its_pass_says() {
    let (laptop, lent) = (Home::with_notes(), Home::new());
    laptop.run(["user", "create", "Anna"]).ok();
    lent.run(["init"]).ok();
    let key = lent.run(["whoami", "--json"]).json()[0]["key"].as_str().unwrap().to_owned();
    assert!(laptop.run(["device", "add", &key, "lent", "--until", "2020-01-31"]).failed(2).contains("past"));
    let (_server, _other) = (laptop.serve(), lent.serve());
    let add = |end: &str| {
        let added = laptop.run(["device", "add", &key, "lent", "--for", end, "--json"]).json();
        added[0]["pass"].as_str().unwrap().to_owned()
    };
    lent.run(["device", "join", &add("5s")]).ok();
    assert!(lent.run(["whoami"]).ok().contains("until 20"));
    eventually("its time is over", || state(&lent)["state"] == "expired");
    let listed = laptop.run(["device", "list"]).ok();
    assert!(listed.contains("expired") && listed.contains("UNTIL"), "{listed}");
    // The user's word for longer is written down where the pass is made: the device hears of it.
    add("30d");
    eventually("it is a member again", || lent.run(["put", "notes", "a", "again"]).status.success());
}
