//! `watch`.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::Context;
use crate::args::Watch;
use crate::protocol::{CollectionRef, Request, Response, Update};
use crate::session::{Reach, Session};
use crate::{shown, text};

pub(super) async fn watch(context: &mut Context, args: Watch) -> Result<()> {
    let prefix = args.prefix.as_deref().map(text::argument_bytes).transpose()?.unwrap_or_default();
    let of = |collection: &driftless::Name| CollectionRef {
        database: context.global.db.clone(),
        collection: collection.clone(),
        syncgroup: args.syncgroup.clone(),
    };
    let of = args.collections.iter().map(of).collect();
    let from = args.from.map(|marker| marker.to_string());
    let request = Request::Watch { of, prefix, from };
    let mut session = context.session(Reach::Network).await?;
    if !session.is_remote() {
        context.out.remark("no server is running here: connected to the network while this command runs");
    }
    let outcome = tokio::select! {
        outcome = print(context, &mut session, request, &args) => outcome,
        () = super::serve::interrupted() => Ok(()),
    };
    session.close().await;
    outcome
}

async fn print(context: &mut Context, session: &mut Session, request: Request, args: &Watch) -> Result<()> {
    let mut answer = session.ask(request).await?;
    let (limit, mut seen) = (args.limit.unwrap_or(u64::MAX), 0u64);
    let is_one = args.collections.len() == 1;
    let mut within_state = false;
    let mut is_enough = limit == 0;
    while !is_enough {
        let Some(item) = answer.next().await? else { break };
        match item {
            Response::State { because, rows, complete } => {
                if !within_state && because != "started" {
                    print_again(context, &because)?;
                }
                within_state = complete.is_none();
                // What has been missed since is a change as well, and all rows are what tells it.
                let is_left_out = args.changes_only && because == "started";
                for row in rows.iter().filter(|_| !is_left_out) {
                    print_row(context, "state", row, is_one, None)?;
                }
                if let Some(marker) = complete {
                    print_marker(context, "ready", &marker)?;
                }
            }
            Response::Batch { whole, marker, local, rows } => {
                for row in &rows {
                    let event = if row.value.is_some() { "put" } else { "delete" };
                    print_row(context, event, row, is_one, Some(local))?;
                }
                seen = seen.saturating_add(rows.len() as u64);
                // A marker says from where to go on: batches that came together are followed by one, and so there may
                // be more of them than was asked for.
                if whole && marker.is_none() {
                    print_boundary(context)?;
                }
                if let Some(marker) = marker {
                    print_marker(context, "batch", &marker)?;
                    is_enough = seen >= limit;
                    if is_enough {
                        print_limit(context, &marker)?;
                    }
                }
            }
            Response::Ended { syncgroup, because, explained } => {
                print_end(context, &syncgroup, &because, &explained)?;
            }
            _ => {}
        }
        context.out.flush()?;
    }
    Ok(())
}

fn print_row(
    context: &mut Context,
    event: &str,
    row: &Update,
    is_one: bool,
    local: Option<bool>,
) -> Result<()> {
    if context.out.json {
        let mut object = Map::new();
        object.insert("event".into(), json!(event));
        if !is_one {
            object.insert("collection".into(), json!(row.collection));
        }
        text::insert_bytes(&mut object, "key", &row.key);
        if let Some(value) = &row.value {
            shown::insert(&mut object, row.kind, value);
        }
        if let Some(local) = local {
            object.insert("local".into(), json!(local));
        }
        return Ok(context.out.object(&Value::Object(object))?);
    }
    let sign = match event {
        "state" => ' ',
        "put" => '+',
        _ => '-',
    };
    let collection =
        if is_one { String::new() } else { format!("{}\t", text::escape(row.collection.as_bytes())) };
    let value =
        row.value.as_ref().map(|value| format!("\t{}", shown::line(row.kind, value))).unwrap_or_default();
    Ok(context.out.line(&format!("{sign} {collection}{}{value}", text::escape(&row.key)))?)
}

/// Where a watch can go on: after the state, and after each batch.
fn print_marker(context: &mut Context, event: &str, marker: &str) -> Result<()> {
    if context.out.json {
        return Ok(context.out.object(&json!({ "event": event, "marker": marker }))?);
    }
    context.out.line(&format!("= {marker}"))?;
    if event == "ready" {
        // What is printed before it must not come after it.
        context.out.flush()?;
        context
            .out
            .remark("everything is shown, changes follow; --from with the last marker goes on from there");
    }
    Ok(())
}

/// A batch is whole, and another one follows that came with it.
fn print_boundary(context: &mut Context) -> Result<()> {
    if context.out.json {
        context.out.object(&json!({ "event": "batch" }))?;
    }
    Ok(())
}

/// All rows follow, though some were printed before.
fn print_again(context: &mut Context, because: &str) -> Result<()> {
    if context.out.json {
        return Ok(context.out.object(&json!({ "event": "again", "because": because }))?);
    }
    let why = match because {
        "too_old" => "what has changed since is not known any more",
        "unknown" => "the marker is not of this data directory as it is now",
        "schema" => "the schema has changed, or what merges its rows, and with that maybe what they show",
        other => other,
    };
    context.out.flush()?;
    context.out.remark(&format!("{why}: all rows follow; any that is not among them is not there"));
    Ok(())
}

/// As many changes as were asked for are printed.
fn print_limit(context: &mut Context, marker: &str) -> Result<()> {
    if context.out.json {
        return Ok(context.out.object(&json!({ "event": "end", "because": "limit", "marker": marker }))?);
    }
    context.out.flush()?;
    context.out.remark(&format!("as many changes as --limit asks for; --from {marker} goes on from here"));
    Ok(())
}

/// Nothing more comes of a syncgroup.
fn print_end(context: &mut Context, syncgroup: &str, because: &str, explained: &str) -> Result<()> {
    if context.out.json {
        let end = json!({
            "event": "end", "because": because, "syncgroup": syncgroup, "explained": explained,
        });
        return Ok(context.out.object(&end)?);
    }
    context.out.flush()?;
    context.out.remark(&format!("nothing more will come of syncgroup {syncgroup}: {explained}"));
    Ok(())
}
