//! Another key for a device (S-1).

use driftless_tokio::InviteOptions;

use crate::help::{LONG, database, node, node_in, options, shows, soon, with_notes};

#[tokio::test]
async fn a_node_takes_another_key_and_goes_on_sharing() {
    let dir = tempfile::tempdir().unwrap();
    let (host, guest) = (node("host"), node_in(dir.path(), options("guest")));
    let (syncgroup, at_host) = with_notes(&host).await;
    let invitation = soon(syncgroup.invite(InviteOptions::default())).await.unwrap();
    let there = soon(database(&guest).join(&invitation, LONG)).await.unwrap();
    let notes = there.collection("notes").unwrap();
    soon(notes.put("a", "by the first key")).await.unwrap();
    shows(&at_host, "a", Some("by the first key")).await;
    let (device, first) = (guest.device(), guest.public_key());
    let keys = soon(guest.rotate_key(None)).await.unwrap();
    assert_eq!((keys.device(), keys.rollovers()), (device, 1));
    assert_ne!(keys.current(), first);
    soon(notes.put("b", "by the second key")).await.unwrap();
    shows(&at_host, "b", Some("by the second key")).await;
    soon(at_host.put("c", "to the second key")).await.unwrap();
    shows(&notes, "c", Some("to the second key")).await;
    let members = soon(syncgroup.members()).await.unwrap();
    let member = members.iter().find(|member| member.device == device).unwrap();
    assert_eq!((member.rollovers, member.disputed), (1, false));
}
