//! `invitations` and `decline`: what others have published at this device, and what is answered.

use anyhow::{Result, bail};
use driftless::{DeviceId, Invitation};
use serde_json::json;

use super::Context;
use crate::output::table;
use crate::protocol::{OfferText, Request, Response};
use crate::session::{Reach, Session};
use crate::text;

pub(super) async fn list(context: &mut Context) -> Result<()> {
    let mut session = context.session(Reach::Alone).await?;
    let served = session.is_remote();
    let found = collect(&mut session).await;
    session.close().await;
    let found = found?;
    if context.out.json {
        return Ok(found
            .iter()
            .try_for_each(|offer| context.out.object(&serde_json::to_value(offer).unwrap_or_default()))?);
    }
    if found.is_empty() {
        let why =
            if served { "" } else { "; nobody can offer any while no server runs here: driftless serve" };
        context.out.remark(&format!("no invitations{why}"));
        return Ok(());
    }
    let mut table = table(&["SYNCGROUP", "NAME", "RIGHTS", "BY"]);
    for offer in found {
        let name = text::escape_short(offer.name.as_bytes(), 64);
        table.add_row(vec![offer.syncgroup, name, offer.rights, offer.by]);
    }
    for line in table.to_string().lines() {
        context.out.line(line.trim_end())?;
    }
    Ok(())
}

pub(super) async fn decline(context: &mut Context, text: &str, by: Option<DeviceId>) -> Result<()> {
    let mut session = context.session(Reach::Alone).await?;
    let served = session.is_remote();
    let answer = async {
        let invitation = find(&mut session, text, by).await?;
        let mut answer = session.ask(Request::Decline { invitation: invitation.to_string() }).await?;
        while answer.next().await?.is_some() {}
        Ok::<_, anyhow::Error>(invitation)
    };
    let answer = answer.await;
    session.close().await;
    let invitation = answer?;
    let (id, name) =
        (invitation.syncgroup().to_string(), text::escape(invitation.name().as_str().as_bytes()));
    if context.out.json {
        context.out.object(&json!({ "declined": id }))?;
    } else {
        context.out.line(&format!("{name} ({id}) is declined"))?;
    }
    if !served {
        context
            .out
            .remark("no server runs here: whoever offers it again is not answered by what was declined now");
    }
    Ok(())
}

/// The invitation that is meant: its own text, or what names one that this device was offered, and by whom. Of several
/// none is taken unasked: any device can offer a syncgroup under any name and id.
pub(super) async fn find(session: &mut Session, text: &str, by: Option<DeviceId>) -> Result<Invitation> {
    if let Ok(invitation) = text.parse() {
        require_issuer(&invitation, by)?;
        return Ok(invitation);
    }
    let (offers, by) = (collect(session).await?, by.map(|by| by.to_string()));
    let is_meant = |offer: &&OfferText| {
        let is_called = offer.name == text || text.len() >= 4 && offer.syncgroup.starts_with(text);
        is_called && by.as_ref().is_none_or(|by| offer.by == *by)
    };
    let shown = text::escape_short(text.as_bytes(), 64);
    match offers.iter().filter(is_meant).collect::<Vec<_>>()[..] {
        [one] => Ok(one.invitation.parse()?),
        [] => {
            let by = by.map(|by| format!(" by device {by}")).unwrap_or_default();
            bail!(
                "nothing that is called \"{shown}\" is published at this device{by}: see driftless invitations"
            )
        }
        _ => bail!(
            "\"{shown}\" can be several invitations: give the id, as driftless invitations prints it, and where \
             several devices offer that, whose is meant: --by DEVICE"
        ),
    }
}

/// An invitation that was given as such is the one of the device that was named.
pub(super) fn require_issuer(invitation: &Invitation, by: Option<DeviceId>) -> Result<()> {
    let issuer = invitation.issuer().device();
    match by {
        Some(by) if by != issuer => bail!("the invitation is by device {issuer}, and not by {by}"),
        _ => Ok(()),
    }
}

async fn collect(session: &mut Session) -> Result<Vec<OfferText>> {
    let mut answer = session.ask(Request::Offers).await?;
    let mut found = Vec::new();
    while let Some(item) = answer.next().await? {
        if let Response::Offer(offer) = item {
            found.push(offer);
        }
    }
    Ok(found)
}
