//! `syncgroup`: sharing collections with other devices.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use driftless::{DeviceId, Invitation, InvitationError, Name, Rights};
use serde_json::json;

use super::Context;
use super::network::syncgroup_lines;
use super::{about, membership};
use crate::args::{Invite, Syncgroup};
use crate::output::table;
use crate::protocol::{MemberText, Request, Response, SyncgroupRef, SyncgroupText, UserRequest};
use crate::session::{Reach, Session};
use crate::text;

/// The longest text that can be an invitation, with room for line breaks.
const MAX_INVITATION: u64 = 64 << 10;

pub(super) async fn syncgroup(context: &mut Context, command: Syncgroup) -> Result<()> {
    match command {
        Syncgroup::Create { name, collections, another } => create(context, name, collections, another).await,
        Syncgroup::AddCollection { syncgroup, collection } => {
            let request = Request::AddCollection { of: reference(context, syncgroup), collection };
            let session = context.session(Reach::Alone).await?;
            done(context, session, request, "has the collection").await
        }
        Syncgroup::Invite(args) => invite(context, args).await,
        Syncgroup::Join { invitation, by, timeout, alone } => {
            join(context, (invitation, by), timeout, alone).await
        }
        Syncgroup::Leave { syncgroup } => leave(context, syncgroup).await,
        Syncgroup::About(args) => about::about(context, args).await,
        Syncgroup::List => list(context).await,
        Syncgroup::Members { syncgroup, all } => members(context, syncgroup, all).await,
        Syncgroup::Membership(command) => membership::membership(context, command).await,
    }
}

pub(super) fn reference(context: &Context, syncgroup: String) -> SyncgroupRef {
    SyncgroupRef { database: context.global.db.clone(), syncgroup }
}

async fn create(context: &mut Context, name: Name, mut collections: Vec<Name>, another: bool) -> Result<()> {
    if collections.is_empty() {
        collections.push(name.clone());
    }
    let request =
        Request::CreateSyncgroup { database: context.global.db.clone(), name, collections, another };
    let session = context.first_session(Reach::Alone).await?;
    done(context, session, request, "is made").await
}

/// Asks for something that is answered by the syncgroup as it is then.
async fn done(context: &mut Context, mut session: Session, request: Request, verb: &str) -> Result<()> {
    let answer = session.one(request).await;
    session.close().await;
    print_syncgroup(context, answer?, verb)
}

pub(super) fn print_syncgroup(context: &mut Context, answer: Response, verb: &str) -> Result<()> {
    let Response::Syncgroup(syncgroup) = answer else {
        bail!("the answer is not a syncgroup but {answer:?}; this is a defect");
    };
    if context.out.json {
        return Ok(context.out.object(&serde_json::to_value(&syncgroup)?)?);
    }
    context.out.line(&syncgroup.id)?;
    context.out.flush()?;
    let name = syncgroup.name.as_deref().unwrap_or("the syncgroup");
    let collections: Vec<String> =
        syncgroup.collections.iter().map(|name| text::escape(name.as_bytes())).collect();
    context.out.remark(&format!(
        "{} {verb}; collections: {}",
        text::escape(name.as_bytes()),
        collections.join(", ")
    ));
    Ok(())
}

async fn invite(context: &mut Context, args: Invite) -> Result<()> {
    let rights = match (args.rights, args.read, args.admin) {
        (Some(preset), ..) => preset.into(),
        (_, true, _) => Rights::Read,
        (_, _, true) => Rights::Admin,
        _ => Rights::Write,
    };
    let request = Request::Invite {
        of: reference(context, args.syncgroup),
        rights,
        ends: args.lasting.end(),
        valid_for: args.valid,
        reusable: args.reusable,
    };
    let mut session = context.session(Reach::Alone).await?;
    let served = session.is_remote();
    let answer = session.one(request).await;
    session.close().await;
    let Response::Invitation { invitation, addresses } = answer? else {
        bail!("the answer is not an invitation; this is a defect");
    };
    if context.out.json {
        context.out.object(&json!({ "invitation": invitation, "addresses": addresses }))?;
    } else {
        context.out.line(&invitation)?;
        context.out.flush()?;
    }
    if !served {
        context.out.remark("nobody can join before a server runs here: driftless serve");
    }
    Ok(())
}

async fn join(
    context: &mut Context,
    (invitation, by): (String, Option<DeviceId>),
    timeout: Duration,
    alone: bool,
) -> Result<()> {
    let text = if invitation == "-" {
        let mut text = String::new();
        let limited = std::io::stdin().lock().take(MAX_INVITATION).read_to_string(&mut text);
        limited.context("cannot read the invitation from standard input")?;
        text
    } else {
        invitation
    };
    // Said before anything is opened or asked, so that the reason is the plain one.
    let parsed: Option<Invitation> = match text.parse() {
        Err(InvitationError::NotAnInvitation) => None,
        parsed => Some(parsed?),
    };
    if let Some(parsed) = &parsed {
        super::offers::require_issuer(parsed, by)?;
    }
    let mut session = context.first_session(Reach::Network).await?;
    let parsed = match parsed {
        Some(parsed) => parsed,
        // One that this device was offered has a name here.
        None => match super::offers::find(&mut session, text.trim(), by).await {
            Ok(parsed) => parsed,
            Err(error) => {
                session.close().await;
                return Err(error.context(InvitationError::NotAnInvitation));
            }
        },
    };
    let served = session.is_remote();
    context.out.remark(&format!(
        "joining {}, for at most {}",
        text::escape(parsed.name().as_str().as_bytes()),
        humantime::format_duration(timeout)
    ));
    let (database, invitation) = (context.global.db.clone(), parsed.to_string());
    let certificate =
        driftless_fjall::certificate(&context.dir)?.filter(|_| !alone && parsed.device().is_none());
    let request = match certificate {
        Some(certificate) => {
            Request::User(Box::new(UserRequest::Join { database, invitation, certificate, timeout }))
        }
        None => Request::Join { database, invitation, timeout },
    };
    let answer = tokio::select! {
        answer = session.one(request) => answer,
        () = super::serve::interrupted() => Err(crate::No("interrupted before the syncgroup was complete".into()).into()),
    };
    session.close().await;
    match answer {
        Ok(answer) => print_syncgroup(context, answer, "is complete here"),
        Err(error) if served => Err(error),
        Err(error) => {
            context.out.remark(
                "no server is running here: what is missing arrives when there is one, driftless serve",
            );
            Err(error)
        }
    }
}

/// Asks for something that is answered by the syncgroup as it is then, and prints that where a program reads it.
pub(super) async fn asked(
    context: &mut Context,
    mut session: Session,
    request: Request,
) -> Result<SyncgroupText> {
    let answer = session.one(request).await;
    session.close().await;
    let Response::Syncgroup(syncgroup) = answer? else {
        bail!("the answer is not a syncgroup; this is a defect");
    };
    if context.out.json {
        context.out.object(&serde_json::to_value(&syncgroup)?)?;
    }
    Ok(syncgroup)
}

/// Says how others come to learn of what was done, if nobody tells them by now.
pub(super) fn remark_how_others_learn(context: &mut Context, served: bool) {
    if !served {
        context.out.remark("the others learn of it when a server runs here: driftless serve");
    }
}

async fn leave(context: &mut Context, syncgroup: String) -> Result<()> {
    let request = Request::Leave { of: reference(context, syncgroup) };
    let session = context.session(Reach::Alone).await?;
    let served = session.is_remote();
    let syncgroup = asked(context, session, request).await?;
    if let Some(explained) = syncgroup.explained {
        context.out.remark(&format!("{}: {explained}", syncgroup.state));
    } else {
        remark_how_others_learn(context, served);
    }
    Ok(())
}

async fn list(context: &mut Context) -> Result<()> {
    let mut session = context.session(Reach::Alone).await?;
    let found = collect_syncgroups(&mut session, context.global.db.clone()).await;
    session.close().await;
    let found = found?;
    if context.out.json {
        for syncgroup in &found {
            context.out.object(&serde_json::to_value(syncgroup)?)?;
        }
    } else if found.is_empty() {
        context.out.remark(&format!(
            "database \"{}\" has no syncgroup: driftless syncgroup create NAME, or driftless syncgroup join INVITATION",
            context.global.db
        ));
    } else {
        for line in syncgroup_lines(&found) {
            context.out.line(&line)?;
        }
    }
    Ok(())
}

async fn collect_syncgroups(session: &mut Session, database: Name) -> Result<Vec<SyncgroupText>> {
    let mut answer = session.ask(Request::Syncgroups { database }).await?;
    let mut found = Vec::new();
    while let Some(item) = answer.next().await? {
        if let Response::Syncgroup(syncgroup) = item {
            found.push(syncgroup);
        }
    }
    Ok(found)
}

async fn members(context: &mut Context, syncgroup: String, all: bool) -> Result<()> {
    let of = reference(context, syncgroup);
    let mut session = context.session(Reach::Alone).await?;
    let found = collect_members(&mut session, of).await;
    session.close().await;
    let mut found = found?;
    found.retain(|member| all || member.rights.is_some() || member.expired);
    if context.out.json {
        for member in &found {
            context.out.object(&serde_json::to_value(member)?)?;
        }
        return Ok(());
    }
    let has_users = found.iter().any(|member| member.user.is_some());
    let has_ends = found.iter().any(|member| member.until.is_some());
    let mut columns = vec!["DEVICE", "NAME", "RIGHTS"];
    columns.extend(has_ends.then_some("UNTIL"));
    columns.extend(has_users.then_some("USER"));
    columns.push("");
    let mut table = table(&columns);
    for member in found {
        let rights = may(&member);
        let until = member.until.unwrap_or_default();
        let this = if member.this { "this device" } else { "" };
        let name = text::escape_short(member.name.as_bytes(), 64);
        let user = member
            .user_name
            .map_or_else(|| member.user.unwrap_or_default(), |name| text::escape(name.as_bytes()));
        let mut row = vec![member.device, name, rights];
        row.extend(has_ends.then_some(until));
        row.extend(has_users.then_some(user));
        row.push(this.to_owned());
        table.add_row(row);
    }
    for line in table.to_string().lines() {
        context.out.line(line.trim_end())?;
    }
    Ok(())
}

/// What a member may do, or why it may nothing.
pub(super) fn may(member: &MemberText) -> String {
    match &member.rights {
        Some(rights) => rights.clone(),
        None if member.expired => "expired".to_owned(),
        None if member.removed => "removed".to_owned(),
        None => "left".to_owned(),
    }
}

async fn collect_members(session: &mut Session, of: SyncgroupRef) -> Result<Vec<MemberText>> {
    let mut answer = session.ask(Request::Members { of }).await?;
    let mut found = Vec::new();
    while let Some(item) = answer.next().await? {
        if let Response::Member(member) = item {
            found.push(member);
        }
    }
    Ok(found)
}
