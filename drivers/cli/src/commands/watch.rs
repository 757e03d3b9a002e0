//! `watch`.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::Context;
use crate::args::Watch;
use crate::protocol::{Request, Response};
use crate::session::{Reach, Session};
use crate::text;

pub(super) async fn watch(context: &mut Context, args: Watch) -> Result<()> {
    let prefix = args.prefix.as_deref().map(text::argument_bytes).transpose()?.unwrap_or_default();
    let request = Request::Watch { of: context.collection(args.of.clone()), prefix };
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
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(item) = answer.next().await? else { break };
        match item {
            Response::State { rows, complete } => {
                for row in rows.iter().filter(|_| !args.changes_only) {
                    print_row(context, "state", &row.key, Some(&row.value), None)?;
                }
                if complete {
                    print_event(context, "ready", "everything is shown, changes follow")?;
                }
            }
            Response::Changed { changes } => {
                for change in changes.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                    let event = if change.value.is_some() { "put" } else { "delete" };
                    print_row(context, event, &change.key, change.value.as_deref(), Some(change.local))?;
                    left -= 1;
                }
            }
            Response::Lagged => {
                print_event(context, "lagged", "changes were dropped, all rows follow again")?;
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
    key: &[u8],
    value: Option<&[u8]>,
    local: Option<bool>,
) -> Result<()> {
    if context.out.json {
        let mut object = Map::new();
        object.insert("event".into(), json!(event));
        text::insert_bytes(&mut object, "key", key);
        if let Some(value) = value {
            text::insert_bytes(&mut object, "value", value);
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
    let value = value.map(|value| format!("\t{}", text::escape(value))).unwrap_or_default();
    Ok(context.out.line(&format!("{sign} {}{value}", text::escape(key)))?)
}

fn print_event(context: &mut Context, event: &str, remark: &str) -> Result<()> {
    if context.out.json {
        context.out.object(&json!({ "event": event }))?;
    } else {
        // What is printed before it must not come after it.
        context.out.flush()?;
        context.out.remark(remark);
    }
    Ok(())
}
