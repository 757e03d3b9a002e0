//! `syncgroup eject`, `grant`, `open`, `close` and `destroy`: what an admin decides about members.

use anyhow::{Result, bail};
use driftless::Rights;

use super::Context;
use super::syncgroup::{asked, reference, remark_how_others_learn};
use crate::args::Membership;
use crate::protocol::{MemberText, Request, Response, SyncgroupText, UserText};
use crate::session::Reach;
use crate::text;

pub(super) async fn membership(context: &mut Context, command: Membership) -> Result<()> {
    match command {
        Membership::Eject { syncgroup, device } => set_rights(context, syncgroup, device, None, None).await,
        Membership::Grant { syncgroup, device, rights, lasting } => {
            set_rights(context, syncgroup, device, Some(rights.into()), lasting.end()).await
        }
        Membership::Publish { syncgroup, device, rights, at } => {
            let (of, rights) = (reference(context, syncgroup), Some(rights.into()));
            publish(
                context,
                Request::Publish { of, device, rights, at },
                "is asked to take part until it answers",
            )
            .await
        }
        Membership::Unpublish { syncgroup, device } => {
            let of = reference(context, syncgroup);
            let request = Request::Publish { of, device, rights: None, at: Vec::new() };
            publish(context, request, "is asked no more").await
        }
        Membership::Open { syncgroup, rights, lasting } => {
            set_open(context, syncgroup, Some(rights.into()), lasting.end()).await
        }
        Membership::Close { syncgroup } => set_open(context, syncgroup, None, None).await,
        Membership::Destroy { syncgroup, yes } => destroy(context, syncgroup, yes).await,
    }
}

async fn set_rights(
    context: &mut Context,
    syncgroup: String,
    device: String,
    rights: Option<Rights>,
    ends: Option<u64>,
) -> Result<()> {
    let request = Request::SetRights { of: reference(context, syncgroup), device, rights, ends };
    let mut session = context.session(Reach::Alone).await?;
    let served = session.is_remote();
    let answer = session.one(request).await;
    session.close().await;
    let (object, line) = match answer? {
        Response::Member(member) => (serde_json::to_value(&member)?, told(&member)),
        Response::User(user) => (serde_json::to_value(&user)?, told_of_user(&user)),
        _ => bail!("the answer is not a member; this is a defect"),
    };
    if context.out.json {
        context.out.object(&object)?;
    } else {
        context.out.line(&line)?;
    }
    remark_how_others_learn(context, served);
    Ok(())
}

async fn set_open(
    context: &mut Context,
    syncgroup: String,
    rights: Option<Rights>,
    ends: Option<u64>,
) -> Result<()> {
    let request = Request::SetOpen { of: reference(context, syncgroup), rights, ends };
    let session = context.session(Reach::Alone).await?;
    let served = session.is_remote();
    let syncgroup = asked(context, session, request).await?;
    if !context.out.json {
        context.out.line(&openness(&syncgroup))?;
    }
    remark_how_others_learn(context, served);
    Ok(())
}

/// What is granted to everybody, in a line.
pub(super) fn openness(syncgroup: &SyncgroupText) -> String {
    match &syncgroup.open {
        Some(rights) => {
            let until = until(syncgroup.open_until.as_deref());
            format!("open: any member may let in others, who may {rights}{until}")
        }
        None => "closed: only admins let in others".to_owned(),
    }
}

async fn publish(context: &mut Context, request: Request, what: &str) -> Result<()> {
    let device = match &request {
        Request::Publish { device, .. } => device.to_string(),
        _ => String::new(),
    };
    let session = context.session(Reach::Alone).await?;
    let served = session.is_remote();
    asked(context, session, request).await?;
    if !context.out.json {
        context.out.line(&format!("{device} {what}"))?;
    }
    remark_how_others_learn(context, served);
    Ok(())
}

fn told(member: &MemberText) -> String {
    let name = text::escape_short(member.name.as_bytes(), 64);
    match &member.rights {
        Some(rights) => format!("{name} ({}) may {rights}{}", member.device, until(member.until.as_deref())),
        None => format!("{name} ({}) is removed", member.device),
    }
}

fn until(end: Option<&str>) -> String {
    end.map_or_else(String::new, |end| format!(" until {end}"))
}

fn told_of_user(user: &UserText) -> String {
    let name = text::escape_short(user.name.as_bytes(), 64);
    match &user.rights {
        Some(rights) => {
            let until = until(user.until.as_deref());
            format!("user {name} ({}) may {rights}{until}, by all its devices", user.user)
        }
        None => format!("user {name} ({}) is removed, with all its devices", user.user),
    }
}

async fn destroy(context: &mut Context, syncgroup: String, yes: bool) -> Result<()> {
    if !yes {
        bail!(
            "nobody can write in the syncgroup any more when it is destroyed, and there is no way back: \
             say so with --yes"
        );
    }
    let request = Request::Destroy { of: reference(context, syncgroup) };
    let session = context.session(Reach::Alone).await?;
    let served = session.is_remote();
    let syncgroup = asked(context, session, request).await?;
    if syncgroup.members > 0 {
        context.out.remark(&format!("{} members stay, whom this device cannot overrule", syncgroup.members));
    }
    remark_how_others_learn(context, served);
    Ok(())
}
