//! `init`, `status`, `network`: this device, and its place in the network.

use std::time::Duration;

use anyhow::{Result, bail};
use driftless_tokio::Options;
use serde_json::json;

use super::{Context, membership};
use crate::args::{Init, Switch};
use crate::output::table;
use crate::protocol::{IncompleteText, Request, Response, StatusText, SyncgroupText};
use crate::session::{self, Reach, Session, explain};
use crate::text::time;
use crate::{settings, text};

pub(super) async fn init(context: &mut Context, args: Init) -> Result<()> {
    let made = !session::is_initialised(&context.dir);
    let device = if made || args.repair.accept_loss {
        let store = context.unlock.options(&context.dir)?.accept_loss(args.repair.accept_loss);
        let options = Options { discovery: false, store, ..Options::default() };
        let opened = settings::open_listening(&context.dir, None, options).await;
        let node = opened.map_err(|error| explain(&error, &context.dir))?;
        let device = node.device().to_string();
        node.shutdown().await;
        device
    } else {
        status_of(context).await?.0.device
    };
    let dir = context.dir.display().to_string();
    if context.out.json {
        context.out.object(&json!({ "device": device, "dir": dir, "made": made }))?;
    } else {
        context.out.line(&format!("device {device}"))?;
        let verb = if made { "made" } else { "is there already" };
        context
            .out
            .remark(&format!("{dir} {verb}. Next: driftless serve, and driftless syncgroup create NAME"));
    }
    Ok(())
}

pub(super) async fn status(context: &mut Context) -> Result<()> {
    let (status, served) = status_of(context).await?;
    if context.out.json {
        let mut object = serde_json::to_value(&status)?;
        if !served {
            // It is in the network for a moment only, if at all, and nobody will find it there.
            object["online"] = json!(false);
            object["addresses"] = json!([]);
        }
        object["served"] = json!(served);
        object["dir"] = json!(context.dir.display().to_string());
        return Ok(context.out.object(&object)?);
    }
    for line in describe(&status, served) {
        context.out.line(&line)?;
    }
    Ok(())
}

async fn status_of(context: &Context) -> Result<(StatusText, bool)> {
    let mut session = context.session(Reach::Alone).await?;
    let served = session.is_remote();
    let answer = session.one(Request::Status).await;
    session.close().await;
    match answer? {
        Response::Status(status) => Ok((status, served)),
        other => bail!("the answer is not a status but {other:?}; this is a defect"),
    }
}

fn describe(status: &StatusText, served: bool) -> Vec<String> {
    let mut lines = vec![format!("device      {}", status.device)];
    lines.push(match (served, status.online) {
        (true, true) => "served      yes".to_owned(),
        (true, false) => "served      yes, but out of the network: driftless network on".to_owned(),
        (false, _) => "served      no: driftless serve connects it".to_owned(),
    });
    if served {
        for address in &status.addresses {
            lines.push(format!("address     {}@{address}", status.device));
        }
        let traffic = &status.traffic;
        let (sent, received) = (text::bytes(traffic.sent), text::bytes(traffic.received));
        lines.push(format!("traffic     {sent} sent, {received} received"));
    }
    if let Some(key) = &status.key_ended {
        lines.push(format!(
            "key ended   members go by key {key} in the place of this device's: put the newest device.key into the data \
             directory, or let in a new device and remove this one"
        ));
    }
    if let Some(ahead) = status.ahead_ms {
        // To the second: nobody needs to know more.
        let ahead = humantime::format_duration(Duration::from_secs(ahead / 1_000));
        lines.push(format!(
            "mute        what is written here is stamped {ahead} ahead of the clock, and nobody takes it before; if the \
             clock is right now: driftless reissue"
        ));
    }
    for database in &status.paused {
        lines.push(format!("paused      database {database}: driftless resume --db {database}"));
    }
    for link in &status.links {
        let agreed = if link.agreed { "in agreement" } else { "exchanging" };
        let shared = text::plural(link.shared, "shared syncgroup");
        lines.push(format!("link        {}  {shared}, {agreed}", link.device));
    }
    for device in &status.wanted {
        lines.push(format!("no link     {device}  wanted, not reached"));
    }
    lines.extend(status.incomplete.iter().map(|batch| incomplete(batch, &status.syncgroups)));
    if status.syncgroups.is_empty() {
        lines.push("syncgroups  none: driftless syncgroup create NAME, or join".to_owned());
    } else {
        lines.push(String::new());
        lines.extend(syncgroup_lines(&status.syncgroups));
    }
    lines
}

/// A batch of which not all is here.
fn incomplete(batch: &IncompleteText, syncgroups: &[SyncgroupText]) -> String {
    let name = |id: &String| {
        let known = syncgroups.iter().find(|syncgroup| syncgroup.id == *id);
        let name = known.and_then(|syncgroup| syncgroup.name.as_deref());
        name.map_or_else(|| id.chars().take(12).collect(), |name| text::escape_short(name.as_bytes(), 40))
    };
    let missing = batch.missing.iter().map(name).collect::<Vec<_>>().join(", ");
    let what = if batch.shown { "in part    " } else { "waiting    " };
    let (whose, since) = (batch.device.chars().take(12).collect::<String>(), time(batch.since_ms));
    format!(
        "{what} a batch of {whose} in {}, here since {since}, lacks its part in {missing}: {}",
        name(&batch.syncgroup),
        batch.explained
    )
}

/// Syncgroups as a table, and below it what needs more than a word.
pub(super) fn syncgroup_lines(syncgroups: &[SyncgroupText]) -> Vec<String> {
    let table = syncgroup_table(syncgroups);
    let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    for syncgroup in syncgroups {
        if let Some(explained) = &syncgroup.explained {
            lines.push(format!("{} is {}: {explained}", short_id(syncgroup), syncgroup.state));
        }
        if syncgroup.open.is_some() {
            lines.push(format!("{} is {}", short_id(syncgroup), membership::openness(syncgroup)));
        }
        if syncgroup.waiting > 0 {
            lines.push(format!(
                "{} has {} whose rows wait for other parts of their batches",
                short_id(syncgroup),
                text::plural(syncgroup.waiting, "generation")
            ));
        }
    }
    lines
}

/// As much of an id as tells it from others.
fn short_id(syncgroup: &SyncgroupText) -> String {
    syncgroup.id.chars().take(12).collect()
}

fn syncgroup_table(syncgroups: &[SyncgroupText]) -> String {
    let mut table = table(&["SYNCGROUP", "ID", "DATABASE", "STATE", "RIGHTS", "MEMBERS", "COLLECTIONS"]);
    for syncgroup in syncgroups {
        let short = |text: &str| text::escape_short(text.as_bytes(), 40);
        table.add_row([
            syncgroup.name.as_deref().map_or("(arriving)".into(), short),
            short_id(syncgroup),
            short(&syncgroup.database),
            short(&syncgroup.state),
            syncgroup.rights.clone().unwrap_or_else(|| "none".into()),
            syncgroup.members.to_string(),
            text::escape_short(syncgroup.collections.join(", ").as_bytes(), 60),
        ]);
    }
    table.to_string()
}

pub(super) async fn network(context: &mut Context, state: Switch) -> Result<()> {
    let mut session = context.session(Reach::Alone).await?;
    if let Session::Local(_) = session {
        session.close().await;
        bail!("no server is running here, so this device is in no network; driftless serve connects it");
    }
    session.tell(Request::SetOnline { on: state == Switch::On }).await
}

/// Has what lies ahead of the clock written again.
pub(super) async fn reissue(context: &mut Context, clock_is_right: bool) -> Result<()> {
    if !clock_is_right {
        let shown = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
        bail!(
            "the clock of this device shows {shown}, and what it holds of a later time is taken back and written again; \
             if that is the right time, say so: driftless reissue --clock-is-right"
        );
    }
    let mut session = context.session(Reach::Alone).await?;
    let answer = session.one(Request::Reissue).await;
    session.close().await;
    let Response::Reissued { author, batches, dropped } = answer? else {
        bail!("the answer does not say what was written again; this is a defect");
    };
    let told = json!({ "author": author, "batches": batches, "dropped": dropped });
    if context.out.json {
        return Ok(context.out.object(&told)?);
    }
    let is_nothing = (batches, dropped) == (0, 0);
    let batches = if batches == 1 { "1 batch".to_owned() } else { format!("{batches} batches") };
    let dropped = match dropped {
        0 => String::new(),
        dropped => {
            let of_others = text::plural(dropped, "generation");
            format!("; {of_others} of other devices dropped, to come again when their time has come")
        }
    };
    context.out.remark(&match is_nothing {
        true => "nothing lies ahead of the clock".to_owned(),
        false => format!("{batches} written again{dropped}"),
    });
    Ok(())
}

pub(super) async fn set_paused(context: &mut Context, paused: bool) -> Result<()> {
    let database = context.global.db.clone();
    let mut session = context.first_session(Reach::Alone).await?;
    let told = session.tell(Request::SetPaused { database: database.clone(), paused }).await;
    session.close().await;
    told?;
    let remark = if paused {
        format!("database {database} is paused; driftless resume --db {database} lets it go on")
    } else {
        format!("database {database} goes on")
    };
    context.out.remark(&remark);
    Ok(())
}
