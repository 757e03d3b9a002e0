//! Users with several devices (S-3).

use crate::support::{Home, eventually, invitation};

/// A device's key, as it prints it.
fn key(home: &Home) -> String {
    home.run(["whoami", "--json"]).json()[0]["key"].as_str().unwrap().to_owned()
}

fn rights(home: &Home, device: &str) -> Option<String> {
    let members = home.run(["syncgroup", "members", "notes", "--all", "--json"]).json();
    let member = members.iter().find(|member| member["device"] == device)?;
    member["rights"].as_str().map(ToOwned::to_owned)
}

#[test]
fn a_second_device_of_a_user_is_added_with_a_pass_and_struck_off() {
    let (laptop, phone) = (Home::with_notes(), Home::new());
    phone.run(["init"]).ok();
    assert!(laptop.run(["device", "add", &key(&phone), "phone"]).failed(2).contains("driftless user create"));
    let made = &laptop.run(["user", "create", "Anna", "--json"]).json()[0];
    assert_eq!(made["name"], "Anna");
    let me = &laptop.run(["whoami", "--json"]).json()[0];
    assert_eq!((&me["user"]["user"], &me["user"]["holds_key"]), (&made["user"], &true.into()));
    assert!(laptop.run(["user", "create", "Bert"]).failed(2).contains("already"));

    let (served, other) = (laptop.serve(), phone.serve());
    let pass = laptop.run(["device", "add", &key(&phone), "phone"]).ok();
    phone.run(["device", "join", pass.trim()]).ok();
    assert!(phone.run(["whoami"]).ok().contains("Anna"));
    phone.run(["put", "notes", "from", "the phone"]).ok();
    eventually("the laptop has it", || laptop.run(["get", "notes", "from"]).stdout == b"the phone");
    let listed = laptop.run(["device", "list"]).ok();
    assert!(listed.contains("phone") && listed.contains("this device"), "{listed}");
    for device in laptop.run(["device", "list", "--json"]).json() {
        assert_eq!((&device["user"], &device["user_name"]), (&made["user"], &"Anna".into()));
    }
    let device = phone.run(["whoami", "--json"]).json()[0]["device"].as_str().unwrap().to_owned();
    assert_eq!(rights(&laptop, &device).as_deref(), Some("admin"));

    // Not by the admin alone, and not by the device itself.
    assert!(laptop.run(["syncgroup", "eject", "notes", &device]).failed(1).contains("device revoke"));
    assert!(phone.run(["device", "revoke", "phone"]).failed(2).contains("driftless user create"));
    assert!(laptop.run(["device", "revoke", "tablet"]).failed(2).contains("device list"));
    assert!(laptop.run(["device", "revoke", "phone"]).ok().contains("struck off in notes"));
    eventually("the phone has heard", || {
        phone.run(["syncgroup", "list", "--json"]).json()[0]["state"] == "removed"
    });
    assert_eq!(rights(&laptop, &device), None);
    assert_eq!(laptop.run(["get", "notes", "from"]).ok(), "the phone", "what was known of it stays");
    drop((served, other));
}

#[test]
fn a_device_that_is_called_by_the_id_of_another_one_is_not_struck_off_for_it() {
    let (laptop, phone, tablet) = (Home::with_notes(), Home::new(), Home::new());
    phone.run(["init"]).ok();
    tablet.run(["init"]).ok();
    let id = |home: &Home| home.run(["whoami", "--json"]).json()[0]["device"].as_str().unwrap().to_owned();
    let (phone_id, tablet_id) = (id(&phone), id(&tablet));
    laptop.run(["user", "create", "Anna"]).ok();
    laptop.run(["device", "add", &key(&phone), "phone"]).ok();
    laptop.run(["device", "add", &key(&tablet), &phone_id]).ok();
    assert!(laptop.run(["device", "revoke", &phone_id]).ok().contains(&format!("phone ({phone_id})")));
    assert_eq!(rights(&laptop, &phone_id), None);
    // Nor where there is nothing left to strike off.
    for text in [phone_id.as_str(), "phone"] {
        assert!(laptop.run(["device", "revoke", text]).failed(2).contains("device list"));
    }
    assert_eq!(rights(&laptop, &tablet_id).as_deref(), Some("admin"));
    laptop.run(["device", "revoke", &tablet_id[..8]]).ok();
    assert_eq!(rights(&laptop, &tablet_id), None);
}

#[test]
fn an_invitation_that_a_device_of_a_user_takes_is_for_the_user() {
    let (host, anna, phone) = (Home::with_notes(), Home::new(), Home::new());
    anna.run(["user", "create", "Anna"]).ok();
    // The first command on the phone.
    phone.run(["whoami"]).ok();
    let (_host, _anna, _phone) = (host.serve(), anna.serve(), phone.serve());
    let text = invitation(&host, &["--rights", "read-only"]);
    anna.run(["syncgroup", "join", &text]).ok();
    let pass = anna.run(["device", "add", &key(&phone), "phone"]).ok();
    phone.run(["device", "join", pass.trim()]).ok();
    let lacking = phone.run(["put", "notes", "a", "1"]).failed(1);
    assert!(lacking.contains("right to write") && lacking.contains("driftless syncgroup grant"), "{lacking}");
    let granted = &host.run(["syncgroup", "grant", "notes", "Anna", "read-write", "--json"]).json()[0];
    assert_eq!((&granted["name"], &granted["rights"]), (&"Anna".into(), &"write".into()));
    eventually("the phone may write", || phone.run(["put", "notes", "a", "1"]).status.success());
    let members = host.run(["syncgroup", "members", "notes"]).ok();
    assert!(members.contains("USER") && members.contains("Anna") && members.contains("phone"), "{members}");
    host.run(["syncgroup", "eject", "notes", "Anna"]).ok();
    for home in [&anna, &phone] {
        eventually("both have heard", || {
            home.run(["syncgroup", "list", "--json"]).json()[0]["state"] == "removed"
        });
    }
}

#[test]
fn an_invitation_that_a_device_of_a_user_takes_alone_is_for_that_device() {
    let (host, anna, phone) = (Home::with_notes(), Home::new(), Home::new());
    phone.run(["init"]).ok();
    anna.run(["user", "create", "Anna"]).ok();
    let (_host, _anna, _phone) = (host.serve(), anna.serve(), phone.serve());
    let text = invitation(&host, &[]);
    anna.run(["syncgroup", "join", "--alone", &text]).ok();
    anna.run(["put", "notes", "a", "1"]).ok();
    eventually("the host has it", || host.run(["get", "notes", "a"]).stdout == b"1");
    assert!(!host.run(["syncgroup", "members", "notes"]).ok().contains("Anna"));
    // So another device of the user does not get in by its pass.
    let pass = anna.run(["device", "add", &key(&phone), "phone"]).ok();
    phone.run(["device", "join", pass.trim(), "--timeout", "5s"]);
    assert!(!phone.run(["put", "notes", "b", "2"]).status.success());
}

#[test]
fn a_pass_is_for_the_device_for_which_it_was_made() {
    let (laptop, phone, tablet) = (Home::with_notes(), Home::new(), Home::new());
    laptop.run(["user", "create", "Anna"]).ok();
    phone.run(["init"]).ok();
    tablet.run(["init"]).ok();
    let pass = laptop.run(["device", "add", &key(&phone), "phone"]).ok();
    assert!(tablet.run(["device", "join", pass.trim()]).failed(2).contains("driftless whoami"));
    let cut = &pass[..pass.len() / 2];
    assert!(phone.run(["device", "join", cut]).failed(2).contains("damaged"));
    assert!(phone.run(["device", "join", "driftless:abc"]).failed(2).contains("no certificate"));
    let own = key(&laptop);
    assert!(laptop.run(["device", "add", &own, "itself"]).failed(2).contains("this device"));
}

#[test]
fn a_pass_of_another_user_does_not_take_a_device_over() {
    let (anna, bert) = (Home::with_notes(), Home::new());
    anna.run(["user", "create", "Anna"]).ok();
    bert.run(["user", "create", "Bert"]).ok();
    let pass = anna.run(["device", "add", &key(&bert), "stolen"]).ok();
    let (join, file) = (["device", "join", pass.trim()], bert.dir().join("certificate"));
    let own = std::fs::read(&file).unwrap();
    let error = bert.run(join).failed(2);
    assert!(error.contains("Bert") && error.contains("--dir") && !error.contains("move"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), own);
    // Nor is that left to chance where the user has not certified the device yet.
    std::fs::remove_file(&file).unwrap();
    assert!(bert.run(join).failed(2).contains("driftless user create"));
    assert!(!file.exists());
    // Where it has happened, the key does not act for the user who is not its own.
    std::fs::write(&file, pass.split('+').next().unwrap()).unwrap();
    let error = bert.run(["device", "add", &key(&anna), "laptop"]).failed(2);
    assert!(error.contains("Anna") && error.contains("Bert"), "{error}");
}

#[test]
fn a_device_of_a_user_who_is_gone_becomes_another_users() {
    let (host, lost, phone, laptop) = (Home::with_notes(), Home::new(), Home::new(), Home::new());
    phone.run(["init"]).ok();
    lost.run(["user", "create", "Anna"]).ok();
    laptop.run(["user", "create", "Anna"]).ok();
    let (_host, _laptop, server) = (host.serve(), laptop.serve(), lost.serve());
    let served = phone.serve_beside(&host);
    lost.run(["syncgroup", "join", &invitation(&host, &[])]).ok();
    let pass = lost.run(["device", "add", &key(&phone), "phone"]).ok();
    phone.run(["device", "join", pass.trim()]).ok();
    server.kill();
    host.run(["syncgroup", "eject", "notes", "Anna"]).ok();
    eventually("the phone has heard", || {
        phone.run(["syncgroup", "list", "--json"]).json()[0]["state"] == "removed"
    });
    drop(served);
    laptop.run(["syncgroup", "join", &invitation(&host, &[])]).ok();
    let pass = laptop.run(["device", "add", &key(&phone), "phone"]).ok();
    let join = ["device", "join", pass.trim()];
    let error = phone.run(join).failed(2);
    let dir = phone.dir();
    assert!(error.contains(&format!("move the file certificate in {} away", dir.display())), "{error}");
    std::fs::rename(dir.join("certificate"), dir.join("certificate.old")).unwrap();
    phone.run(join).ok();
    phone.run(["put", "notes", "from", "the phone"]).ok();
    let _phone = phone.serve_beside(&host);
    eventually("the laptop has it", || laptop.run(["get", "notes", "from"]).stdout == b"the phone");
}

#[test]
fn making_a_user_goes_on_where_it_was_interrupted() {
    let (laptop, phone) = (Home::new(), Home::new());
    phone.run(["init"]).ok();
    let create = |name| laptop.run(["user", "create", name, "--json"]);
    let made = create("Anna").json().remove(0);
    std::fs::remove_file(laptop.dir().join("certificate")).unwrap();
    let add = ["device", "add", &key(&phone), "phone"];
    assert!(laptop.run(add).failed(2).contains("driftless user create \"Anna\""));
    let error = laptop.run(["user", "create", "Bert"]).failed(2);
    assert!(error.contains("driftless user create \"Anna\""), "{error}");
    assert_eq!(create("Anna").json().remove(0), made);
    laptop.run(add).ok();
}

#[test]
fn a_users_key_is_locked_with_the_devices_key() {
    let (laptop, phone) = (Home::with_notes(), Home::new());
    let file = laptop.path("passphrase");
    std::fs::write(&file, "one").unwrap();
    let file = file.display().to_string();
    phone.run(["init"]).ok();
    laptop.run(["passphrase", "set", "--new-file", &file]).ok();
    let made = laptop.run(["user", "create", "Anna", "--passphrase-file", &file]);
    assert!(made.stderr.contains("locked by the passphrase"), "{}", made.stderr);
    made.ok();
    let _server = laptop.serve_unlocked(&file);
    // Whoever can talk to the node is not the user yet.
    assert!(laptop.run(["whoami"]).ok().contains("whose key is kept here"));
    let asked = laptop.run(["device", "add", &key(&phone), "phone"]).failed(2);
    assert!(asked.contains("locked") && asked.contains("--passphrase-file"), "{asked}");
    laptop.run(["device", "add", &key(&phone), "phone", "--passphrase-file", &file]).ok();
}
