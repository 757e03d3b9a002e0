//! Members are removed, and their rights changed.

use driftless::{Refusal, Rights, SyncgroupState};
use driftless_tokio::Error;

use crate::help::{join, node, shows, soon, with_notes};

#[tokio::test]
async fn a_removed_device_is_told_and_reads_on() {
    let (ann, bob) = (node("ann"), node("bob"));
    let (syncgroup, at_ann) = with_notes(&ann).await;
    let at_bob = join(&syncgroup, &bob).await;
    soon(at_bob.put("a", "1")).await.unwrap();
    shows(&at_ann, "a", Some("1")).await;
    let mut notices = bob.notices();
    soon(syncgroup.eject(bob.device())).await.unwrap();
    let there = soon(at_bob.database().syncgroup("family")).await.unwrap();
    while soon(there.info()).await.unwrap().state != SyncgroupState::Removed {
        soon(notices.next()).await.unwrap();
    }
    assert!(matches!(soon(at_bob.put("a", "2")).await, Err(Error::Refused(Refusal::NotMember))));
    assert_eq!(at_bob.get("a").unwrap().unwrap().value, "1");
    let members = soon(syncgroup.members()).await.unwrap();
    assert!(members.iter().any(|member| member.device == bob.device() && member.removed));
}

#[tokio::test]
async fn rights_are_changed_and_a_syncgroup_is_destroyed() {
    let (ann, bob) = (node("ann"), node("bob"));
    let (syncgroup, at_ann) = with_notes(&ann).await;
    let at_bob = join(&syncgroup, &bob).await;
    let mut notices = bob.notices();
    soon(syncgroup.set_rights(bob.device(), Rights::Admin)).await.unwrap();
    let there = soon(at_bob.database().syncgroup("family")).await.unwrap();
    soon(at_ann.put("a", "1")).await.unwrap();
    shows(&at_bob, "a", Some("1")).await;
    let refused = soon(there.eject(ann.device())).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::Senior(_)))), "{refused:?}");
    soon(syncgroup.destroy()).await.unwrap();
    while soon(there.info()).await.unwrap().state != SyncgroupState::Removed {
        soon(notices.next()).await.unwrap();
    }
    assert_eq!(soon(there.info()).await.unwrap().members, 0);
}
