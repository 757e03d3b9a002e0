//! What members are told of a syncgroup.

use driftless::{Rendezvous, SpecChange};
use driftless_tokio::{Syncgroup, rendezvous, socket_addr};

use super::membership::find_member;
use crate::protocol::{MeetText, Problem};

pub(super) fn meet_text(place: &Rendezvous) -> MeetText {
    // What this driver cannot call is shown as it is.
    let address =
        socket_addr(&place.address).map_or_else(|| place.address.to_string(), |addr| addr.to_string());
    MeetText { member: place.device.to_string(), address }
}

/// The places that are meant.
pub(super) async fn places(
    syncgroup: &Syncgroup,
    meet: Option<Vec<MeetText>>,
    meet_here: bool,
) -> Result<Option<Vec<Rendezvous>>, Problem> {
    let Some(meet) = meet else { return Ok(None) };
    let mut places = if meet_here { syncgroup.here() } else { Vec::new() };
    if meet_here && places.is_empty() {
        let message = "this device is not in the network now: driftless network on";
        return Err(Problem { refused: false, message: message.into() });
    }
    for MeetText { member, address } in meet {
        let device = find_member(syncgroup, &member).await?;
        let address = address.parse().map_err(|_| Problem {
            refused: false,
            message: format!(
                "\"{address}\" is no address: write an IP address and a port, as 192.0.2.7:4433"
            ),
        })?;
        places.push(rendezvous(device, address));
    }
    Ok(Some(places))
}

pub(super) async fn describe(
    syncgroup: &Syncgroup,
    description: Option<String>,
    rendezvous: Option<Vec<Rendezvous>>,
    unless_changed: Option<String>,
) -> Result<(), Problem> {
    let unless_changed = match unless_changed {
        None => None,
        Some(read) => {
            let now = syncgroup.info().await?.spec_version;
            if now.to_string() != read {
                let message = format!("what members are told was changed since: it is at version {now} now");
                return Err(Problem { refused: true, message });
            }
            Some(now)
        }
    };
    syncgroup.describe(SpecChange { description, rendezvous }, unless_changed).await?;
    Ok(())
}
