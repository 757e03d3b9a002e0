//! `user`, `device` and `whoami`: people with several devices.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use driftless::{Certificate, DeviceId, Incarnation, Invitation, Name, PublicKey, UserKey, Wall};
use driftless_fjall::Passphrase;
use driftless_tokio::Options;
use serde_json::json;

use super::Context;
use super::syncgroup::{may, print_syncgroup};
use crate::args::{Device, User};
use crate::output::table;
use crate::protocol::{DrawnUp, Request, Response, UserRequest};
use crate::session::{Reach, Session};
use crate::text;

/// What lies between the parts of a pass: the certificate, and invitations.
const BETWEEN: char = '+';
/// The longest text that can be a pass, with room for line breaks.
const MAX_PASS: u64 = 1 << 20;

pub(super) async fn user(context: &mut Context, command: User) -> Result<()> {
    let User::Create { name } = command;
    let mut session = context.first_session(Reach::Alone).await?;
    let found = device_key(&mut session).await;
    session.close().await;
    let (device, key) = found?;
    if let Some(certificate) = driftless_fjall::certificate(&context.dir)? {
        bail!(
            "this device is one of user \"{}\" already; a user's key is made on a device that is nobody's yet",
            text::escape(certificate.user_name().as_str().as_bytes())
        );
    }
    let passphrase = context.unlock.present(&context.dir)?;
    let is_locked = passphrase.is_some();
    let user = new_user(&context.dir, &name, passphrase.as_ref())?;
    let certificate = user.certify(key, Options::default().device_name(), number()?);
    driftless_fjall::keep_certificate(&context.dir, &certificate)?;
    if context.out.json {
        let (id, name) = (user.id().to_string(), user.name().as_str());
        context.out.object(&json!({ "user": id, "name": name, "device": device }))?;
    } else {
        context.out.line(&format!("user {}", user.id()))?;
    }
    let file = context.dir.join("user.key");
    let locked = if is_locked { ", locked by the passphrase of the device's key" } else { "" };
    context.out.remark(&format!(
        "the user's key is in {}{locked}: keep a copy of it somewhere safe. Next, for another device: driftless device \
         add KEY NAME",
        file.display()
    ));
    Ok(())
}

/// A new user's key, or the one that was made already when a run before this was interrupted.
fn new_user(dir: &Path, name: &Name, passphrase: Option<&Passphrase>) -> Result<UserKey> {
    match driftless_fjall::user_key(dir, passphrase)? {
        None => Ok(driftless_fjall::create_user_key(dir, name, passphrase)?),
        Some(key) if key.name() == name => Ok(key),
        Some(key) => {
            let kept = text::escape(key.name().as_str().as_bytes());
            bail!(
                "the key of user \"{kept}\" is kept on this device: go on with it by driftless user create \"{kept}\"; \
                 another user's is made in another data directory, --dir"
            )
        }
    }
}

pub(super) async fn device(context: &mut Context, command: Device) -> Result<()> {
    match command {
        Device::Add { key, name, valid, lasting } => add(context, key, name, valid, lasting.end()).await,
        Device::Join { pass, timeout } => join(context, pass, timeout).await,
        Device::Revoke { device } => revoke(context, device).await,
        Device::List => list(context).await,
    }
}

pub(super) async fn whoami(context: &mut Context) -> Result<()> {
    // On a new device it is the first command: its user adds it by what is printed here.
    let mut session = context.first_session(Reach::Alone).await?;
    let found = device_key(&mut session).await;
    session.close().await;
    let (device, key) = found?;
    let certificate = driftless_fjall::certificate(&context.dir)?;
    let holds_key = driftless_fjall::keeps_user_key(&context.dir)?;
    if context.out.json {
        let user = certificate.as_ref().map(|it| {
            json!({
                "user": it.user().to_string(),
                "name": it.user_name().as_str(),
                "device_name": it.name().as_str(),
                "holds_key": holds_key,
                "until": it.ends().map(|end| text::time(end.0)),
            })
        });
        return Ok(context.out.object(&json!({ "device": device, "key": key.to_string(), "user": user }))?);
    }
    context.out.line(&format!("device {device}"))?;
    context.out.line(&format!("key    {key}"))?;
    match certificate {
        Some(it) => {
            let name = text::escape_short(it.user_name().as_str().as_bytes(), 64);
            let kept = if holds_key { ", whose key is kept here" } else { "" };
            let until = it.ends().map_or_else(String::new, |end| format!(", until {}", text::time(end.0)));
            context.out.line(&format!("user   {} ({name}){kept}{until}", it.user()))?;
        }
        None => context.out.remark(
            "this device belongs to no user: driftless user create NAME makes one; or add this device where the \
             user's key is: driftless device add KEY NAME",
        ),
    }
    Ok(())
}

async fn device_key(session: &mut Session) -> Result<(String, PublicKey)> {
    match session.one(Request::User(Box::new(UserRequest::Device))).await? {
        Response::Device { device, key } => Ok((device, key.parse()?)),
        other => bail!("the answer is not a device but {other:?}; this is a defect"),
    }
}

/// A certificate's number: greater than any before, as long as the clock is.
fn number() -> Result<u64> {
    let since =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The user's key, and its word for this device.
async fn keys(context: &Context) -> Result<(UserKey, Certificate)> {
    let (dir, unlock) = (context.dir.clone(), context.unlock.clone());
    // Trying a passphrase is hard work on purpose.
    let found = tokio::task::spawn_blocking(move || {
        let is_kept = driftless_fjall::keeps_user_key(&dir)?;
        let passphrase = if is_kept { unlock.present(&dir)? } else { None };
        anyhow::Ok((
            driftless_fjall::user_key(&dir, passphrase.as_ref())?,
            driftless_fjall::certificate(&dir)?,
        ))
    });
    let (key, certificate) = found.await??;
    match (key, certificate) {
        (Some(key), Some(certificate)) if certificate.user() == key.id() => Ok((key, certificate)),
        (Some(key), Some(certificate)) => {
            let own = text::escape(key.name().as_str().as_bytes());
            bail!(
                "the file certificate in {} is by user \"{}\", and not by user \"{own}\", whose key is there: move it \
                 away, and driftless user create \"{own}\" makes the right one",
                context.dir.display(),
                text::escape(certificate.user_name().as_str().as_bytes())
            )
        }
        (Some(key), None) => bail!(
            "this device has no certificate by its user yet: make it with driftless user create \"{}\"",
            text::escape(key.name().as_str().as_bytes())
        ),
        (None, Some(certificate)) => bail!(
            "the key of user \"{}\" is not on this device: do it on the device on which driftless user create was run",
            text::escape(certificate.user_name().as_str().as_bytes())
        ),
        (None, None) => bail!("there is no user on this device: make one with driftless user create NAME"),
    }
}

async fn add(
    context: &mut Context,
    key: PublicKey,
    name: Name,
    valid_for: Duration,
    ends: Option<u64>,
) -> Result<()> {
    let (user, own) = keys(context).await?;
    if key == own.device_key() {
        bail!("this is the key of this device: give the one that driftless whoami prints on the other");
    }
    let number = number()?;
    let certificate = match ends.map(Wall) {
        None => user.certify(key, name, number),
        // A number is the time at which it was given.
        Some(Wall(end)) if end <= number => bail!("the end lies in the past; name one that is still to come"),
        Some(end) => user.certify_until(key, name, number, end),
    };
    let database = context.global.db.clone();
    let request = UserRequest::AddDevice { database, certificate: certificate.clone(), own, valid_for };
    let mut session = context.session(Reach::Alone).await?;
    let served = session.is_remote();
    let made = collect(&mut session, request, |item| match item {
        Response::Invitation { invitation, .. } => Some(invitation),
        _ => None,
    });
    let made = made.await;
    session.close().await;
    let invitations = made?;
    let pass = std::iter::once(certificate.to_string()).chain(invitations.iter().cloned());
    let pass = pass.collect::<Vec<_>>().join(&BETWEEN.to_string());
    if context.out.json {
        let device = certificate.device().to_string();
        context.out.object(&json!({ "pass": pass, "device": device, "syncgroups": invitations.len() }))?;
    } else {
        context.out.line(&pass)?;
        context.out.flush()?;
    }
    if invitations.is_empty() {
        context.out.remark(
            "it is for no syncgroup: this database has none in which something is granted to the user, or in which \
             this device is an admin",
        );
    } else if !served {
        context.out.remark("the other device cannot join before a server runs here: driftless serve");
    }
    Ok(())
}

async fn join(context: &mut Context, pass: String, timeout: Duration) -> Result<()> {
    let text = if pass == "-" {
        let mut text = String::new();
        let limited = std::io::stdin().lock().take(MAX_PASS).read_to_string(&mut text);
        limited.context("cannot read the pass from standard input")?;
        text
    } else {
        pass
    };
    let (certificate, invitations) = parse_pass(&text)?;
    let mut session = context.first_session(Reach::Network).await?;
    let outcome = join_all(context, &mut session, &certificate, invitations, timeout).await;
    let served = session.is_remote();
    session.close().await;
    if outcome.is_err() && !served {
        context
            .out
            .remark("no server is running here: what is missing arrives when there is one, driftless serve");
    }
    outcome
}

async fn join_all(
    context: &mut Context,
    session: &mut Session,
    certificate: &Certificate,
    invitations: Vec<Invitation>,
    timeout: Duration,
) -> Result<()> {
    let (_, key) = device_key(session).await?;
    if certificate.device_key() != key {
        bail!(
            "the pass is for device {}, and this one is {}: make one with the key that driftless whoami prints here",
            certificate.device(),
            key.device()
        );
    }
    refuse_other_user(&context.dir, certificate)?;
    driftless_fjall::keep_certificate(&context.dir, certificate)?;
    let mut failed = None;
    for invitation in invitations {
        let database = context.global.db.clone();
        let (invitation, certificate) = (invitation.to_string(), certificate.clone());
        let request = UserRequest::Join { database, invitation, certificate, timeout };
        match session.one(Request::User(Box::new(request))).await {
            Ok(answer) => print_syncgroup(context, answer, "is complete here")?,
            // The others are joined all the same.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Refuses the pass of another user than the one whose device this is: anybody who knows the device's key can make one.
fn refuse_other_user(dir: &Path, certificate: &Certificate) -> Result<()> {
    match driftless_fjall::certificate(dir)? {
        Some(kept) if kept.user() == certificate.user() => Ok(()),
        Some(kept) => {
            // Where the user's key is kept, the user is not gone.
            let instead = if driftless_fjall::keeps_user_key(dir)? {
                String::new()
            } else {
                format!(
                    "; or, if user \"{}\" is gone for good, move the file certificate in {} away, and join again",
                    text::escape(kept.user_name().as_str().as_bytes()),
                    dir.display()
                )
            };
            bail!(
                "the pass is by user \"{}\" ({}), and this device is one of user \"{}\" ({}): a device has one user; join \
                 with another data directory, --dir{instead}",
                text::escape(certificate.user_name().as_str().as_bytes()),
                certificate.user(),
                text::escape(kept.user_name().as_str().as_bytes()),
                kept.user()
            )
        }
        None if driftless_fjall::keeps_user_key(dir)? => bail!(
            "the key of a user is kept on this device, which has no certificate by it yet: make that with driftless \
             user create NAME, by the user's name"
        ),
        None => Ok(()),
    }
}

fn parse_pass(text: &str) -> Result<(Certificate, Vec<Invitation>)> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let mut parts = text.split(BETWEEN);
    let certificate = parts.next().unwrap_or_default().parse()?;
    let invitations = parts.map(|part| Ok(part.parse::<Invitation>()?)).collect::<Result<_>>()?;
    Ok((certificate, invitations))
}

async fn revoke(context: &mut Context, device: String) -> Result<()> {
    let (user, own) = keys(context).await?;
    let database = context.global.db.clone();
    let id = user.id().to_string();
    let mut session = context.session(Reach::Alone).await?;
    let outcome = async {
        let request = UserRequest::DrawUp { database: database.clone(), user: id, device };
        let drawn_up = collect(&mut session, request, |item| match item {
            Response::DrawnUp(drawn_up) => Some(drawn_up),
            _ => None,
        });
        let drawn_up: Vec<DrawnUp> = drawn_up.await?;
        for it in &drawn_up {
            let device: DeviceId = it.device.parse()?;
            if device == own.device() {
                bail!(
                    "this is the device itself: strike it off with the user's key on another one, or leave"
                );
            }
            let until =
                it.until.iter().map(|(incarnation, last)| (Incarnation(*incarnation), *last)).collect();
            let striking = user.strike_off(&it.syncgroup.parse()?, device, it.number, until);
            let (database, syncgroup) = (database.clone(), it.syncgroup.clone());
            session
                .tell(Request::User(Box::new(UserRequest::StrikeOff { database, syncgroup, striking })))
                .await?;
        }
        Ok(drawn_up)
    };
    let outcome = outcome.await;
    let served = session.is_remote();
    session.close().await;
    for it in outcome? {
        if context.out.json {
            context
                .out
                .object(&json!({ "device": it.device, "syncgroup": it.syncgroup, "name": it.name }))?;
        } else {
            let name = text::escape_short(it.device_name.as_bytes(), 64);
            let group = it.name.as_deref().unwrap_or(&it.syncgroup);
            let group = text::escape_short(group.as_bytes(), 64);
            context.out.line(&format!("{name} ({}) is struck off in {group}", it.device))?;
        }
    }
    if !served {
        context.out.remark("the others learn of it when a server runs here: driftless serve");
    }
    Ok(())
}

async fn list(context: &mut Context) -> Result<()> {
    let Some(certificate) = driftless_fjall::certificate(&context.dir)? else {
        bail!("there is no user on this device: make one with driftless user create NAME");
    };
    let (database, user) = (context.global.db.clone(), certificate.user().to_string());
    let mut session = context.session(Reach::Alone).await?;
    let found = collect(&mut session, UserRequest::Devices { database, user }, |item| match item {
        Response::MemberOf { syncgroup, name, member } => Some((syncgroup, name, member)),
        _ => None,
    });
    let found = found.await;
    session.close().await;
    let mut table = table(&["DEVICE", "NAME", "SYNCGROUP", "RIGHTS", "UNTIL", ""]);
    for (syncgroup, name, member) in found? {
        if context.out.json {
            let mut object = serde_json::to_value(&member)?;
            object["syncgroup"] = json!(syncgroup);
            object["syncgroup_name"] = json!(name);
            context.out.object(&object)?;
            continue;
        }
        let rights = may(&member);
        let until = member.until.unwrap_or_default();
        let this = if member.this { "this device" } else { "" };
        let group = name.map_or(syncgroup, |name| text::escape_short(name.as_bytes(), 64));
        let name = text::escape_short(member.name.as_bytes(), 64);
        table.add_row([member.device, name, group, rights, until, this.into()]);
    }
    if !context.out.json {
        for line in table.to_string().lines() {
            context.out.line(line.trim_end())?;
        }
    }
    Ok(())
}

/// The items of an answer that are of one kind.
async fn collect<T>(
    session: &mut Session,
    request: UserRequest,
    take: impl Fn(Response) -> Option<T>,
) -> Result<Vec<T>> {
    let mut answer = session.ask(Request::User(Box::new(request))).await?;
    let mut found = Vec::new();
    while let Some(item) = answer.next().await? {
        found.extend(take(item));
    }
    Ok(found)
}
