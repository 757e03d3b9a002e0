//! Where syncgroups are published, and what is published here.

use std::net::SocketAddr;

use driftless::{DeviceId, Invitation, Publication, PublicationStatus, Rights};
use driftless_tokio::{Node, socket_addr};
use tokio::sync::mpsc::Sender;

use super::{find_syncgroup, problem, rights_word, tell, tell_syncgroup};
use crate::protocol::{OfferText, Problem, PublicationText, Response, SyncgroupRef};

pub(super) async fn publish(
    node: &Node,
    of: &SyncgroupRef,
    (device, rights): (DeviceId, Option<Rights>),
    at: &[SocketAddr],
    out: &Sender<Response>,
) -> Result<(), Problem> {
    let syncgroup = find_syncgroup(node, of).await?;
    match rights {
        Some(rights) => syncgroup.publish(device, rights, at).await?,
        None => syncgroup.unpublish(device).await?,
    }
    tell_syncgroup(&syncgroup, out).await
}

pub(super) async fn offers(node: &Node, out: &Sender<Response>) -> Result<(), Problem> {
    for invitation in node.invitations().await? {
        let offer = OfferText {
            syncgroup: invitation.syncgroup().to_string(),
            name: invitation.name().to_string(),
            rights: rights_word(invitation.rights()),
            by: invitation.issuer().device().to_string(),
            invitation: invitation.to_string(),
        };
        tell(out, Response::Offer(offer)).await?;
    }
    Ok(())
}

pub(super) async fn decline(node: &Node, invitation: &str) -> Result<(), Problem> {
    let invitation: Invitation = invitation.parse().map_err(|error| problem(false, &error))?;
    Ok(node.decline(&invitation).await?)
}

pub(super) fn publication_text(publication: &Publication) -> PublicationText {
    let address =
        |it: &driftless::Address| socket_addr(it).map_or_else(|| it.to_string(), |it| it.to_string());
    PublicationText {
        device: publication.device.to_string(),
        rights: rights_word(publication.rights),
        addresses: publication.addresses.iter().map(address).collect(),
        status: match publication.status {
            PublicationStatus::Pending => "pending".to_owned(),
            PublicationStatus::Rejected => "rejected".to_owned(),
            PublicationStatus::Running => "running".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        },
    }
}
