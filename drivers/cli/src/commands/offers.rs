//! `invitations` and `decline`: what others have published at this device, and what is answered.

use anyhow::{Result, bail};
use driftless::Invitation;
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

pub(super) async fn decline(context: &mut Context, text: &str) -> Result<()> {
    let mut session = context.session(Reach::Alone).await?;
    let served = session.is_remote();
    let answer = async {
        let invitation = find(&mut session, text).await?;
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

/// The invitation that is meant: its own text, or what names one that this device was offered.
pub(super) async fn find(session: &mut Session, text: &str) -> Result<Invitation> {
    if let Ok(invitation) = text.parse() {
        return Ok(invitation);
    }
    let offers = collect(session).await?;
    let is_meant =
        |offer: &&OfferText| offer.name == text || text.len() >= 4 && offer.syncgroup.starts_with(text);
    match offers.iter().filter(is_meant).collect::<Vec<_>>()[..] {
        [one] => Ok(one.invitation.parse()?),
        [] => {
            bail!("nothing that is called \"{text}\" is published at this device: see driftless invitations")
        }
        _ => bail!("\"{text}\" can be several invitations: give the id, as driftless invitations prints it"),
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
