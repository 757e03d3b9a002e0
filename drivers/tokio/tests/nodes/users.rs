//! Users with several devices (S-3).

use std::time::Duration;

use driftless::{Ed25519, Name, Refusal, Rights, SecretKey, SyncgroupState, UserKey};
use driftless_tokio::{Error, InviteOptions};

use crate::help::{LONG, database, node, shows, soon, with_notes};

#[tokio::test]
async fn a_user_joins_with_one_device_and_brings_another_which_it_strikes_off() {
    let (host, laptop, phone) = (node("host"), node("laptop"), node("phone"));
    let anna = UserKey::new(Name::new("Anna").unwrap(), SecretKey([9; 32]), &Ed25519);
    let certify =
        |node: &driftless_tokio::Node, name| anna.certify(node.public_key(), Name::new(name).unwrap(), 1);
    let (syncgroup, at_host) = with_notes(&host).await;
    let invitation = soon(syncgroup.invite(InviteOptions::default())).await.unwrap();
    let (first, second) = (certify(&laptop, "laptop"), certify(&phone, "phone"));
    let there = soon(database(&laptop).join_as(&invitation, &first, LONG)).await.unwrap();
    let [user] = &soon(syncgroup.users()).await.unwrap()[..] else { panic!("one user") };
    assert_eq!((user.user, user.rights), (anna.id(), Some(Rights::Write)));

    let pass = soon(there.invite_device(anna.id(), Duration::from_secs(60))).await.unwrap();
    let refused = soon(database(&phone).join_later(&pass)).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::Invitation(_)))), "{refused:?}");
    let at_phone = soon(database(&phone).join_as(&pass, &second, LONG)).await.unwrap();
    soon(at_phone.collection("notes").unwrap().put("a", "from the phone")).await.unwrap();
    shows(&at_host, "a", Some("from the phone")).await;

    let mut notices = phone.notices();
    soon(there.strike_off(phone.device(), &anna)).await.unwrap();
    while soon(at_phone.info()).await.unwrap().state != SyncgroupState::Removed {
        soon(notices.next()).await.unwrap();
    }
    let refused = soon(there.enrol(&second)).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::Certificate(_)))), "{refused:?}");
    let unknown = soon(there.strike_off(host.device(), &anna)).await;
    assert!(matches!(unknown, Err(Error::Refused(Refusal::NoMember(_)))), "{unknown:?}");
    soon(syncgroup.eject_user(anna.id())).await.unwrap();
    let members = soon(syncgroup.members()).await.unwrap();
    assert_eq!(members.iter().filter(|member| member.rights.is_some()).count(), 1);
}
