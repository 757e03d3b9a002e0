//! A syncgroup is published at a device, which accepts or declines.

use crate::support::{Home, eventually};

/// What a device prints of itself.
fn whoami(home: &Home) -> (String, String) {
    let own = home.run(["whoami", "--json"]).json().remove(0);
    (own["device"].as_str().unwrap().to_owned(), own["key"].as_str().unwrap().to_owned())
}

fn address(home: &Home) -> String {
    home.run(["status", "--json"]).json()[0]["addresses"][0].as_str().unwrap().to_owned()
}

/// What a device sees of what is published at another one.
fn status(home: &Home, device: &str) -> String {
    let about = home.run(["syncgroup", "about", "notes", "--json"]).json().remove(0);
    let all = about["publications"].as_array().unwrap().clone();
    let found = all.iter().find(|it| it["device"] == device);
    found.map_or_else(|| "none".to_owned(), |it| it["status"].as_str().unwrap().to_owned())
}

#[test]
fn who_is_asked_sees_it_and_takes_part_and_what_it_writes_comes_back() {
    let (here, there) = (Home::with_notes(), Home::new());
    there.run(["init"]).ok();
    let (_server, _other) = (here.serve(), there.serve());
    let (device, key) = whoami(&there);
    assert!(there.run(["invitations"]).ok().is_empty());
    here.run(["put", "notes", "monday", "water"]).ok();
    here.run(["syncgroup", "publish", "notes", &key, "--at", &address(&there)]).ok();
    assert_eq!(status(&here, &device), "pending");
    eventually("it is asked", || !there.run(["invitations", "--json"]).json().is_empty());
    let offer = there.run(["invitations", "--json"]).json().remove(0);
    assert_eq!((offer["name"].as_str(), offer["rights"].as_str()), (Some("notes"), Some("write")));
    assert_eq!(offer["by"].as_str(), Some(whoami(&here).0.as_str()));
    assert!(there.run(["get", "notes", "monday"]).failed(2).contains("notes"), "nothing is there before");
    there.run(["syncgroup", "join", &offer["syncgroup"].as_str().unwrap()[..8]]).ok();
    assert_eq!(there.run(["get", "notes", "monday"]).ok(), "water");
    assert!(there.run(["invitations"]).ok().is_empty());
    there.run(["put", "notes", "tuesday", "by the server"]).ok();
    eventually("it is back", || here.run(["get", "notes", "tuesday"]).status.success());
    assert_eq!(status(&here, &device), "running");
    assert!(here.run(["syncgroup", "about", "notes"]).ok().contains(&format!("published at {device}")));
    assert!(here.run(["syncgroup", "publish", "notes", &device]).failed(1).contains("member"));
}

#[test]
fn who_declines_is_asked_no_more_and_what_is_withdrawn_is_gone() {
    let (here, there) = (Home::with_notes(), Home::new());
    there.run(["init"]).ok();
    let (_server, _other) = (here.serve(), there.serve());
    let (device, at) = (whoami(&there).0, address(&there));
    let publish =
        || here.run(["syncgroup", "publish", "notes", &device, "--at", &at, "--rights", "read-only"]).ok();
    publish();
    eventually("it is asked", || !there.run(["invitations", "--json"]).json().is_empty());
    assert!(there.run(["decline", "nothing"]).failed(2).contains("driftless invitations"));
    there.run(["decline", "notes"]).ok();
    eventually("that is heard", || status(&here, &device) == "rejected");
    assert!(there.run(["invitations"]).ok().is_empty());
    publish();
    eventually("it is asked anew", || !there.run(["invitations", "--json"]).json().is_empty());
    here.run(["syncgroup", "unpublish", "notes", &device]).ok();
    assert_eq!(status(&here, &device), "none");
    eventually("that is gone", || there.run(["invitations", "--json"]).json().is_empty());
    assert!(here.run(["syncgroup", "publish", "notes", "nobody"]).failed(2).contains("whoami"));
}

#[test]
fn of_what_several_admins_offer_one_is_named_by_its_device() {
    let (one, two, there) = (Home::with_notes(), Home::new(), Home::new());
    for home in [&two, &there] {
        home.run(["init"]).ok();
    }
    let _servers = [one.serve(), two.serve(), there.serve()];
    let invitation = one.run(["syncgroup", "invite", "notes", "--rights", "admin"]).ok();
    two.run(["syncgroup", "join", invitation.trim()]).ok();
    let (device, at) = (whoami(&there).0, address(&there));
    one.run(["syncgroup", "publish", "notes", &device, "--at", &at]).ok();
    let offers = || there.run(["invitations", "--json"]).json();
    eventually("both ask it", || offers().len() == 2);
    let id = offers()[0]["syncgroup"].as_str().unwrap().to_owned();
    assert_eq!(offers()[1]["syncgroup"].as_str(), Some(&id[..]));
    for name in ["notes", &id] {
        assert!(there.run(["syncgroup", "join", name]).failed(2).contains("--by DEVICE"));
        assert!(there.run(["decline", name]).failed(2).contains("--by DEVICE"));
        assert!(there.run(["decline", name, "--by", &device]).failed(2).contains("driftless invitations"));
    }
    let (by, key) = whoami(&two);
    let text = offers().into_iter().find(|it| it["by"] == by[..]).unwrap()["invitation"].clone();
    let text = text.as_str().unwrap();
    assert!(there.run(["decline", text, "--by", &device]).failed(2).contains("and not by"));
    assert!(there.run(["syncgroup", "join", text, "--by", &device]).failed(2).contains("and not by"));
    there.run(["syncgroup", "join", &id, "--by", &key]).ok();
    eventually("it takes part", || status(&one, &device) == "running");
    assert!(offers().is_empty());
}

#[test]
fn a_server_takes_part_by_itself_in_what_a_device_publishes_that_it_was_told_to_host() {
    let (here, there) = (Home::with_notes(), Home::new());
    there.run(["init"]).ok();
    let _server = here.serve();
    let (device, key) = (whoami(&there).0, whoami(&here).1);
    let _other = there.serve_hosting(&key);
    here.run(["syncgroup", "publish", "notes", &device, "--at", &address(&there)]).ok();
    eventually("it takes part", || status(&here, &device) == "running");
    here.run(["put", "notes", "a", "1"]).ok();
    eventually("it has it", || there.run(["get", "notes", "a"]).status.success());
}
