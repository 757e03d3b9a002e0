//! Several nodes.

use std::time::Duration;

use driftless::{Refusal, Rights, SyncgroupState};
use driftless_tokio::{Error, InviteOptions};

use crate::help::{converged, database, join, join_with, linked, node, rows, shows, soon, with_notes};

#[tokio::test]
async fn rows_written_on_one_device_arrive_on_the_other() {
    let (ann, bob) = (node("ann"), node("bob"));
    let (syncgroup, at_ann) = with_notes(&ann).await;
    soon(at_ann.put("before", "joining")).await.unwrap();
    let at_bob = join(&syncgroup, &bob).await;
    assert_eq!(at_bob.get("before").unwrap().unwrap().value, "joining");

    soon(at_ann.put("milk", "2 l")).await.unwrap();
    shows(&at_bob, "milk", Some("2 l")).await;
    soon(at_bob.put("milk", "3 l")).await.unwrap();
    shows(&at_ann, "milk", Some("3 l")).await;
    soon(at_bob.delete("milk")).await.unwrap();
    shows(&at_ann, "milk", None).await;

    let members = soon(syncgroup.members()).await.unwrap();
    assert_eq!(members.len(), 2);
    let status = soon(ann.status()).await.unwrap();
    assert_eq!(status.replica.links.len(), 1);
    assert!(status.traffic.frames_sent > 0 && status.traffic.wire_bytes_sent > 0);
}

#[tokio::test]
async fn large_values_arrive_whole() {
    let (ann, bob) = (node("ann"), node("bob"));
    let (syncgroup, at_ann) = with_notes(&ann).await;
    let at_bob = join(&syncgroup, &bob).await;
    for index in 0..8u8 {
        soon(at_ann.put([index], vec![index; driftless::limits::MAX_VALUE])).await.unwrap();
    }
    let rows = converged(&[&at_ann, &at_bob]).await;
    assert_eq!(rows.len(), 8);
}

#[tokio::test]
async fn three_devices_that_write_at_once_converge() {
    let (ann, bob, eve) = (node("ann"), node("bob"), node("eve"));
    let (syncgroup, at_ann) = with_notes(&ann).await;
    let at_bob = join(&syncgroup, &bob).await;
    let at_eve = join(&syncgroup, &eve).await;
    for round in 0..20 {
        for (name, collection) in [("ann", &at_ann), ("bob", &at_bob), ("eve", &at_eve)] {
            soon(collection.put("same", format!("{name} {round}"))).await.unwrap();
            soon(collection.put(format!("{name}/{round}"), "x")).await.unwrap();
        }
    }
    shows(&at_ann, "eve/19", Some("x")).await;
    shows(&at_ann, "bob/19", Some("x")).await;
    shows(&at_bob, "ann/19", Some("x")).await;
    let rows = converged(&[&at_ann, &at_bob, &at_eve]).await;
    assert_eq!(rows.len(), 61);
}

#[tokio::test]
async fn what_was_written_offline_arrives_afterwards() {
    let (ann, bob) = (node("ann"), node("bob"));
    let (syncgroup, at_ann) = with_notes(&ann).await;
    let at_bob = join(&syncgroup, &bob).await;
    let mut notices = bob.notices();
    bob.set_online(false);
    soon(at_bob.put("from", "bob")).await.unwrap();
    soon(at_ann.put("also from", "ann")).await.unwrap();
    assert_eq!(rows(&at_bob).len(), 1);
    assert!(!soon(bob.status()).await.unwrap().online);

    bob.set_online(true);
    linked(&mut notices, &ann).await;
    shows(&at_ann, "from", Some("bob")).await;
    shows(&at_bob, "also from", Some("ann")).await;
}

#[tokio::test]
async fn who_may_read_may_not_write() {
    let (ann, bob) = (node("ann"), node("bob"));
    let (syncgroup, at_ann) = with_notes(&ann).await;
    let options = InviteOptions { rights: Rights::Read, ..InviteOptions::default() };
    let at_bob = join_with(&syncgroup, &bob, options).await;
    assert!(matches!(soon(at_bob.put("a", "1")).await, Err(Error::Refused(Refusal::Forbidden(_)))));
    soon(at_ann.put("a", "1")).await.unwrap();
    shows(&at_bob, "a", Some("1")).await;
}

#[tokio::test]
async fn joining_goes_on_in_the_background_when_nobody_is_there() {
    let (ann, bob) = (node("ann"), node("bob"));
    let (syncgroup, _) = with_notes(&ann).await;
    let invitation = soon(syncgroup.invite(InviteOptions::default())).await.unwrap();
    ann.set_online(false);
    let late = soon(database(&bob).join(&invitation, Duration::from_millis(200))).await.unwrap_err();
    let Error::JoinTimeout { syncgroup: id, state, .. } = late else { panic!("{late}") };
    assert_eq!((id, state), (syncgroup.id(), SyncgroupState::Joining));

    let mut notices = bob.notices();
    ann.set_online(true);
    let at_bob = soon(database(&bob).syncgroup(&id.to_string())).await.unwrap();
    while soon(at_bob.info()).await.unwrap().state != SyncgroupState::Active {
        soon(notices.next()).await.unwrap();
    }
}

#[tokio::test]
async fn a_used_invitation_is_refused() {
    let (ann, bob, eve) = (node("ann"), node("bob"), node("eve"));
    let (syncgroup, _) = with_notes(&ann).await;
    let invitation = soon(syncgroup.invite(InviteOptions::default())).await.unwrap();
    let patience = Duration::from_secs(30);
    soon(database(&bob).join(&invitation, patience)).await.unwrap();
    let refused = soon(database(&eve).join(&invitation, patience)).await;
    assert!(matches!(refused, Err(Error::JoinRefused(_))), "{refused:?}");
    // The device that used it has it already.
    let again = soon(database(&bob).join(&invitation, patience)).await;
    assert!(matches!(again, Err(Error::Refused(Refusal::AlreadyHere(_)))), "{again:?}");
}

#[tokio::test]
async fn who_has_left_reads_what_is_there() {
    let (ann, bob) = (node("ann"), node("bob"));
    let (syncgroup, at_ann) = with_notes(&ann).await;
    soon(at_ann.put("a", "1")).await.unwrap();
    let at_bob = join(&syncgroup, &bob).await;
    soon(soon(database(&bob).syncgroup("family")).await.unwrap().leave()).await.unwrap();
    assert_eq!(at_bob.get("a").unwrap().unwrap().value, "1");
    assert!(matches!(soon(at_bob.put("a", "2")).await, Err(Error::Refused(Refusal::NotMember))));
}
