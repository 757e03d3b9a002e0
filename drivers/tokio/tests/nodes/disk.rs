//! Nodes with data directories.

use std::path::Path;
use std::time::Duration;

use driftless_tokio::{Node, Options, StoreOptions};
use mdns_sd::{ServiceDaemon, ServiceEvent, ServiceInfo};

use crate::help::{database, join, linked, node, node_in, options, shows, soon, with_notes};

#[tokio::test]
async fn a_node_opens_again_with_everything_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let ann = node_in(dir.path(), options("ann"));
    let device = ann.device();
    let (_, notes) = with_notes(&ann).await;
    soon(notes.put("a", "1")).await.unwrap();
    soon(ann.shutdown()).await;

    let again = node_in(dir.path(), options("ann"));
    assert_eq!(again.device(), device);
    let notes = database(&again).collection("notes").unwrap();
    assert_eq!(notes.get("a").unwrap().unwrap().value, "1");
    soon(notes.put("b", "2")).await.unwrap();
}

#[tokio::test]
async fn a_directory_belongs_to_one_node_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let _ann = node_in(dir.path(), options("ann"));
    let store = StoreOptions::new().state_dir(dir.path().join("state"));
    let second = Node::open(dir.path().join("data"), Options { store, ..options("ann") });
    assert!(second.is_err());
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let listen = taken.local_addr().unwrap();
    let store = StoreOptions::new().state_dir(dir.path().join("state"));
    let refused =
        Node::open(dir.path().join("data"), Options { listen: Some(listen), store, ..options("ann") });
    let error = refused.unwrap_err().to_string();
    assert!(error.contains(&listen.to_string()), "{error}");
    // The directory is free again.
    soon(node_in(dir.path(), options("ann")).shutdown()).await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_restored_copy_that_could_not_start_at_once_still_writes_under_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("backup"));
    let ann = node_in(dir.path(), options("ann"));
    let (_, notes) = with_notes(&ann).await;
    soon(notes.put("a", "1")).await.unwrap();
    soon(ann.shutdown()).await;
    copy(&data, &backup);
    let ann = node_in(dir.path(), options("ann"));
    soon(database(&ann).collection("notes").unwrap().put("lost", "2")).await.unwrap();
    soon(ann.shutdown()).await;
    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);

    // It opens, and ends before it has written anything: somebody else listens where it should.
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let store = StoreOptions::new().state_dir(dir.path().join("state"));
    let listen = taken.local_addr().ok();
    Node::open(&data, Options { listen, store, ..options("ann") }).unwrap_err();

    let ann = node_in(dir.path(), options("ann"));
    let notes = database(&ann).collection("notes").unwrap();
    soon(notes.put("b", "3")).await.unwrap();
    let author = |key: &str| notes.heads(key).unwrap()[0].version.author;
    assert_eq!(author("a").device, author("b").device);
    assert_ne!(author("a").incarnation, author("b").incarnation);
    soon(ann.shutdown()).await;

    // By now it is the one that continues.
    let ann = node_in(dir.path(), options("ann"));
    let notes = database(&ann).collection("notes").unwrap();
    soon(notes.put("c", "4")).await.unwrap();
    assert_eq!(notes.heads("b").unwrap()[0].version.author, notes.heads("c").unwrap()[0].version.author);
}

#[tokio::test]
async fn a_loss_is_accepted_for_good_though_nothing_else_happens() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let ann = node_in(dir.path(), options("ann"));
    with_notes(&ann).await;
    soon(ann.shutdown()).await;
    std::fs::remove_dir_all(data.join("store")).unwrap();
    let store = StoreOptions::new().state_dir(dir.path().join("state")).accept_loss(true);
    let ann = Node::open(&data, Options { store, ..options("ann") }).unwrap();
    // What a crash would leave.
    let crashed = async {
        loop {
            let left = tempfile::tempdir().unwrap();
            copy(dir.path(), left.path());
            let store = StoreOptions::new().state_dir(left.path().join("state"));
            match Node::open(left.path().join("data"), Options { store, ..options("ann") }) {
                Ok(_) => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    let opened = tokio::time::timeout(Duration::from_secs(5), crashed).await;
    assert!(opened.is_ok(), "the loss would have to be accepted again");
    soon(ann.shutdown()).await;
}

#[tokio::test]
async fn a_device_that_comes_back_finds_the_others_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (ann, bob) = (node("ann"), node_in(dir.path(), options("bob")));
    let (syncgroup, at_ann) = with_notes(&ann).await;
    join(&syncgroup, &bob).await;
    soon(bob.shutdown()).await;
    soon(at_ann.put("meanwhile", "x")).await.unwrap();

    let bob = node_in(dir.path(), options("bob"));
    shows(&database(&bob).collection("notes").unwrap(), "meanwhile", Some("x")).await;
}

#[tokio::test]
async fn a_device_is_called_where_the_application_says_that_it_is() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ann, bob) = (node_in(here.path(), options("ann")), node_in(there.path(), options("bob")));
    let (syncgroup, _) = with_notes(&ann).await;
    join(&syncgroup, &bob).await;
    soon(ann.shutdown()).await;
    soon(bob.shutdown()).await;

    // Both come back somewhere else, so that what they remember of each other leads nowhere.
    let ann = node_in(here.path(), options("ann"));
    let bob = node_in(there.path(), options("bob"));
    let mut notices = bob.notices();
    soon(ann.add_peer(bob.device(), bob.local_addrs()[0])).await.unwrap();
    linked(&mut notices, &ann).await;
}

/// Whether what is multicast on this machine comes back to it.
async fn has_multicast() -> bool {
    const SERVICE: &str = "_driftlessprobe._udp.local.";
    let name = format!("probe-{}", std::process::id());
    let heard = async {
        let daemon = ServiceDaemon::new().ok()?;
        daemon.set_service_name_len_max(30).ok()?;
        let found = daemon.browse(SERVICE).ok()?;
        let host = format!("{name}.local.");
        let service = ServiceInfo::new(SERVICE, &name, &host, "", 9, None).ok()?.enable_addr_auto();
        daemon.register(service).ok()?;
        while let Ok(event) = found.recv_async().await {
            if matches!(event, ServiceEvent::ServiceResolved(_)) {
                let _ = daemon.shutdown();
                return Some(());
            }
        }
        None
    };
    matches!(tokio::time::timeout(Duration::from_secs(10), heard).await, Ok(Some(())))
}

#[tokio::test]
async fn devices_in_the_neighbourhood_find_each_other() {
    if !has_multicast().await {
        println!("skipped: multicast does not come back to this machine");
        return;
    }
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ann, bob) = (node_in(here.path(), options("ann")), node_in(there.path(), options("bob")));
    let (syncgroup, _) = with_notes(&ann).await;
    join(&syncgroup, &bob).await;
    soon(ann.shutdown()).await;
    soon(bob.shutdown()).await;

    // Both come back somewhere else, so that what they remember of each other leads nowhere.
    let found = |name| Options { listen: None, discovery: true, ..options(name) };
    let ann = node_in(here.path(), found("ann"));
    let mut notices = ann.notices();
    let bob = node_in(there.path(), found("bob"));
    linked(&mut notices, &bob).await;
    let notes = database(&ann).collection("notes").unwrap();
    soon(notes.put("a", "1")).await.unwrap();
    shows(&database(&bob).collection("notes").unwrap(), "a", Some("1")).await;
}
