//! Another key for the device (S-1).

use serde_json::json;

use crate::support::{Home, eventually};

#[test]
fn a_device_gets_another_key_with_a_server_and_without_and_goes_on_sharing() {
    let here = Home::with_notes();
    let server = here.serve();
    let there = here.joined(&[]);
    there.run(["put", "notes", "a", "by the first key"]).ok();
    let device = there.run(["whoami", "--json"]).json()[0]["device"].clone();

    let told = &there.run(["key", "rotate", "--json"]).json()[0];
    assert_eq!((&told["device"], &told["rollovers"]), (&device, &json!(1)));
    there.run(["put", "notes", "b", "by the second key"]).ok();
    let served = there.serve();
    eventually("the row of the second key arrives", || {
        here.run(["scan", "notes"]).ok().contains("by the second key")
    });
    let told = &there.run(["key", "rotate", "--json"]).json()[0];
    assert_eq!((&told["device"], &told["rollovers"]), (&device, &json!(2)));
    there.run(["put", "notes", "c", "by the third key"]).ok();
    eventually("the row of the third key arrives", || {
        here.run(["scan", "notes"]).ok().contains("by the third key")
    });
    here.run(["put", "notes", "d", "to the third key"]).ok();
    eventually("and the other way round", || there.run(["scan", "notes"]).ok().contains("to the third key"));
    let members = here.run(["syncgroup", "members", "notes", "--json"]).json();
    let member = members.iter().find(|member| member["device"] == device).unwrap();
    assert_eq!((&member["rollovers"], &member["disputed"]), (&json!(2), &json!(false)));
    served.terminate();
    server.terminate();
    for home in [&here, &there] {
        assert_eq!(home.run(["verify", "--json"]).json()[0]["problems"], json!([]));
    }
    assert!(Home::new().run(["key", "rotate"]).failed(2).contains("no data directory"));
}

#[test]
fn the_key_before_is_refused_by_name() {
    let here = Home::with_notes();
    let _server = here.serve();
    let there = here.joined(&[]);
    let old = std::fs::read(there.dir().join("device.key")).unwrap();
    there.run(["key", "rotate"]).ok();
    let served = there.serve();
    there.run(["put", "notes", "a", "by the second key"]).ok();
    eventually("the row arrives", || here.run(["scan", "notes"]).ok().contains("by the second key"));
    served.terminate();
    let new = std::fs::read(there.dir().join("device.key")).unwrap();
    std::fs::write(there.dir().join("device.key"), old).unwrap();
    let refused = there.run(["status"]).failed(2);
    assert!(refused.contains("give the key that it took last"), "{refused}");
    std::fs::write(there.dir().join("device.key"), new).unwrap();
    assert_eq!(there.run(["get", "notes", "a"]).ok(), "by the second key");
}
