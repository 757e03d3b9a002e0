//! What an admin decides about members.

use serde_json::json;

use crate::support::{Home, eventually, invitation};

/// Two devices that are served and share a collection, and the id of the second.
fn two() -> (Home, Home, String) {
    let (here, there) = (Home::with_notes(), Home::new());
    there.run(["init"]).ok();
    let id = there.run(["status", "--json"]).json()[0]["device"].as_str().unwrap().to_owned();
    (here, there, id)
}

#[test]
fn an_admin_grants_less_removes_and_lists_who_is_there() {
    let (here, there, id) = two();
    let _server = here.serve();
    let _other = there.serve();
    there.run(["syncgroup", "join", &invitation(&here, &[])]).ok();
    let granted = &here.run(["syncgroup", "grant", "notes", &id[..8], "read-only", "--json"]).json()[0];
    assert_eq!(granted["rights"], "read");
    eventually("the other may only read", || {
        let error = there.run(["put", "notes", "a", "1"]);
        error.status.code() == Some(1)
    });
    assert!(there.run(["syncgroup", "eject", "notes", &id]).failed(1).contains("right"));
    let removed = &here.run(["syncgroup", "eject", "notes", &id, "--json"]).json()[0];
    assert_eq!((&removed["rights"], &removed["removed"]), (&json!(null), &json!(true)));
    eventually("the other has heard", || {
        there.run(["syncgroup", "list", "--json"]).json()[0]["state"] == "removed"
    });
    assert!(there.run(["syncgroup", "list"]).ok().contains("ask for an invitation"));
    assert_eq!(here.run(["syncgroup", "members", "notes", "--json"]).json().len(), 1);
    let all = here.run(["syncgroup", "members", "notes", "--all"]).ok();
    assert!(all.contains("removed"), "{all}");
}

#[test]
fn a_name_that_a_user_and_a_device_share_means_neither() {
    let (here, other) = (Home::with_notes(), Home::new());
    let listed = |home: &Home| home.run(["syncgroup", "members", "notes", "--json"]).json();
    let own = listed(&here).remove(0);
    let (name, device) = (own["name"].as_str().unwrap(), own["device"].as_str().unwrap());
    // Users choose their names themselves.
    other.run(["user", "create", name]).ok();
    let user = other.run(["whoami", "--json"]).json()[0]["user"]["user"].as_str().unwrap().to_owned();
    let (_server, _other) = (here.serve(), other.serve());
    other.run(["syncgroup", "join", &invitation(&here, &["--rights", "read-only"])]).ok();
    let before = listed(&here);
    for change in [&["grant", "notes", name, "admin"][..], &["eject", "notes", name]] {
        let error = here.run([&["syncgroup"], change].concat()).failed(2);
        assert!(error.contains(&format!("user {user}")) && error.contains(device), "{error}");
    }
    assert_eq!(listed(&here), before, "neither is changed");
    let granted = &here.run(["syncgroup", "grant", "notes", &user, "read-write", "--json"]).json()[0];
    assert_eq!((&granted["user"], &granted["rights"]), (&json!(user), &json!("write")));
    // Nor does the name of a user that was removed mean the device, where the user may be meant to be let in again.
    here.run(["syncgroup", "eject", "notes", &user]).ok();
    let error = here.run(["syncgroup", "grant", "notes", name, "read-only"]).failed(2);
    assert!(error.contains(&format!("user {user}")) && error.contains(device), "{error}");
}

#[test]
fn a_member_that_is_not_there_is_named_as_such_and_destroying_needs_a_word() {
    let here = Home::with_notes();
    let error = here.run(["syncgroup", "eject", "notes", "nobody"]).failed(2);
    assert!(error.contains("the members are"), "{error}");
    let own = here.run(["status", "--json"]).json()[0]["device"].as_str().unwrap().to_owned();
    assert!(here.run(["syncgroup", "eject", "notes", &own]).failed(1).contains("leave"));
    assert!(here.run(["syncgroup", "destroy", "notes"]).failed(2).contains("--yes"));
    here.run(["syncgroup", "destroy", "notes", "--yes"]).ok();
    assert!(here.run(["put", "notes", "a", "1"]).failed(1).contains("not a member"));
}

#[test]
fn what_a_syncgroup_is_for_and_where_to_meet_is_said_once_and_known_to_all() {
    let (here, there) = (Home::with_notes(), Home::new());
    assert!(here.run(["syncgroup", "about", "notes"]).ok().contains("nobody has said what it is for"));
    assert!(here.run(["syncgroup", "about", "notes", "--meet-here"]).failed(2).contains("driftless serve"));
    let server = here.serve();
    let other = there.serve();
    there.run(["syncgroup", "join", &invitation(&here, &[])]).ok();
    let own = here.run(["status", "--json"]).json()[0]["device"].as_str().unwrap().to_owned();
    let told =
        here.run(["syncgroup", "about", "notes", "--description", "Who waters the plants", "--meet-here"]);
    let told = told.ok();
    assert!(told.contains("Who waters the plants") && told.contains(&format!("meet {own} at ")), "{told}");
    eventually("the other knows", || {
        let about = &there.run(["syncgroup", "about", "notes", "--json"]).json()[0];
        about["description"] == "Who waters the plants" && about["meet"][0]["member"] == own.as_str()
    });
    assert!(there.run(["syncgroup", "about", "notes", "--meet-nobody"]).failed(1).contains("right"));

    let version = here.run(["syncgroup", "about", "notes", "--json"]).json()[0]["version"].clone();
    let version = version.as_str().unwrap().to_owned();
    let once = ["syncgroup", "about", "notes", "--meet-nobody", "--unless-changed", &version];
    assert!(!here.run(once).ok().contains("meet "), "that is taken back");
    let stale = here.run(["syncgroup", "about", "notes", "--description", "x", "--unless-changed", &version]);
    assert!(stale.failed(1).contains("changed since"));
    let wrong = here.run(["syncgroup", "about", "notes", "--meet", "nobody=192.0.2.7:1"]).failed(2);
    assert!(wrong.contains("the members are"), "{wrong}");
    let wrong = here.run(["syncgroup", "about", "notes", "--meet", &format!("{own}=plants")]).failed(2);
    assert!(wrong.contains("192.0.2.7:4433"), "{wrong}");
    drop((server, other));
}

#[test]
fn a_member_lets_in_others_as_long_as_and_as_far_as_the_syncgroup_is_open() {
    let (here, there, _) = two();
    let third = Home::new();
    third.run(["init"]).ok();
    let _server = here.serve();
    let _other = there.serve();
    there.run(["syncgroup", "join", &invitation(&here, &["--rights", "read-only"])]).ok();
    let invite = |more: &[&str]| there.run([&["syncgroup", "invite", "notes"], more].concat());
    assert!(invite(&[]).failed(1).contains("lacks the right to invite"));
    assert!(here.run(["syncgroup", "open", "notes", "--rights", "admin"]).failed(1).contains("one by one"));
    let opened = here.run(["syncgroup", "open", "notes", "--rights", "read-only", "--for", "30d"]).ok();
    assert!(opened.contains("any member may let in others, who may read until"), "{opened}");
    eventually("the member has heard", || there.run(["syncgroup", "list"]).ok().contains("is open"));
    assert!(invite(&["--rights", "read-only"]).failed(1).contains("no more rights, and for no longer"));
    let invited = invite(&["--rights", "read-only", "--for", "1d"]).ok();
    third.run(["syncgroup", "join", invited.trim()]).ok();
    let listed = || here.run(["syncgroup", "members", "notes", "--json"]).json();
    eventually("the admin has heard", || listed().len() == 3);
    let about = &here.run(["syncgroup", "about", "notes", "--json"]).json()[0];
    assert!(about["open"] == "read" && about["open_until"].is_string(), "{about}");
    let closed = here.run(["syncgroup", "close", "notes"]).ok();
    assert!(closed.contains("closed"), "{closed}");
    eventually("the member has heard of that", || !there.run(["syncgroup", "list"]).ok().contains("is open"));
    assert!(
        invite(&["--rights", "read-only", "--for", "1d"]).failed(1).contains("lacks the right to invite")
    );
    assert_eq!(listed().len(), 3, "whom members have let in stays");
}
