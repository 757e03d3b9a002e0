//! Batches over several syncgroups of which not all has come.

use serde_json::Value;

use crate::support::{Home, eventually, write_batch};

fn incomplete(home: &Home) -> Vec<Value> {
    let status = home.run(["status", "--json"]).json().remove(0);
    status["incomplete"].as_array().unwrap().clone()
}

fn id(home: &Home, name: &str) -> Value {
    let listed = home.run(["syncgroup", "list", "--json"]).json();
    listed.iter().find(|syncgroup| syncgroup["name"] == name).unwrap()["id"].clone()
}

#[test]
fn a_batch_that_waits_for_its_other_part_is_shown_in_the_status() {
    let (here, relay, there) = (Home::with_notes(), Home::new(), Home::new());
    here.run(["syncgroup", "create", "work", "tasks"]).ok();
    let server = here.serve();
    for (home, syncgroups) in [(&relay, &["notes"][..]), (&there, &["notes", "work"])] {
        home.run(["init"]).ok();
        for syncgroup in syncgroups {
            let invitation = here.run(["syncgroup", "invite", syncgroup]).ok();
            home.run(["syncgroup", "join", invitation.trim()]).ok();
        }
    }
    drop(server);
    write_batch(&here, &[("notes", "k", "v"), ("tasks", "k", "v")]);
    assert_eq!(incomplete(&here), [] as [Value; 0]);
    // A device that has one of the syncgroups only passes on what it has.
    let server = here.serve();
    let _relay = relay.serve_beside(&here);
    eventually("the relay has its part", || relay.run(["get", "notes", "k"]).stdout == b"v");
    assert_eq!(incomplete(&relay), [] as [Value; 0], "it does not read the other syncgroup");
    drop(server);
    let other = there.serve_beside(&relay);
    eventually("one part has come", || !incomplete(&there).is_empty());
    let told = incomplete(&there).remove(0);
    assert_eq!((&told["syncgroup"], &told["missing"][0]), (&id(&here, "notes"), &id(&here, "work")));
    assert_eq!(told["shown"], false);
    there.run(["get", "notes", "k"]).failed(1);
    let text = there.run(["status"]).ok();
    assert!(text.contains("in notes") && text.contains("lacks its part in work"), "{text}");
    assert!(text.contains("has 1 generation whose rows wait"), "{text}");
    drop(other);
    let _server = here.serve();
    let _other = there.serve_beside(&here);
    eventually("all has come", || there.run(["get", "notes", "k"]).stdout == b"v");
    assert_eq!(incomplete(&there), [] as [Value; 0]);
}
