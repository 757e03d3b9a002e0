//! `conflicts`, `resolve`, `log`.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::{Context, rows};
use crate::args::{Conflicts, Log, Resolve};
use crate::output::{Output, table};
use crate::protocol::{ChoiceText, ConflictText, DidText, EntryText, HeadText, Request, Response, Who};
use crate::{No, shown, text};

/// How much of a value a line shows.
const VALUE_WIDTH: usize = 60;
/// How much of a device's name.
const NAME_WIDTH: usize = 24;

pub(super) async fn conflicts(context: &mut Context, args: Conflicts) -> Result<()> {
    let prefix = args.prefix.as_deref().map(text::argument_bytes).transpose()?.unwrap_or_default();
    let of = context.collection(args.of);
    let mut found = false;
    let request = Request::Conflicts { of, prefix, limit: args.limit };
    let print = |out: &mut Output, item| {
        let Response::Conflict(conflict) = item else { bail!("the answer is no conflict; this is a defect") };
        found = true;
        if out.json {
            return Ok(out.object(&json_conflict(&conflict))?);
        }
        let key = text::escape(&conflict.key);
        out.line(&format!("{key}  ({}; the first is shown)", conflict.policy))?;
        let heads = heads_table(&conflict.heads);
        heads.lines().try_for_each(|line| Ok(out.line(&format!("  {}", line.trim_end()))?))
    };
    context.each(request, print).await?;
    if !found && !context.out.json {
        context.out.remark("no row is in conflict");
    }
    Ok(())
}

fn heads_table(heads: &[HeadText]) -> String {
    let mut table = table(&["VERSION", "WHEN", "WHO", "VALUE"]);
    for HeadText { who, value, is_operation } in heads {
        let value = match value {
            Some(value) => text::escape_short(value, VALUE_WIDTH),
            None if *is_operation => "(operation)".to_owned(),
            None => "(deleted)".to_owned(),
        };
        table.add_row([who.short.clone(), when(who), name(who), value]);
    }
    table.to_string()
}

fn json_conflict(conflict: &ConflictText) -> Value {
    let head = |head: &HeadText| {
        let mut object = json_who(&head.who);
        match &head.value {
            Some(value) => text::insert_bytes(&mut object, "value", value),
            None => {
                let what = if head.is_operation { "operation" } else { "deleted" };
                object.insert(what.to_owned(), json!(true));
            }
        }
        Value::Object(object)
    };
    let mut object = Map::new();
    text::insert_bytes(&mut object, "key", &conflict.key);
    object.insert("policy".to_owned(), json!(conflict.policy));
    object.insert("heads".to_owned(), conflict.heads.iter().map(head).collect());
    Value::Object(object)
}

pub(super) async fn resolve(context: &mut Context, args: Resolve) -> Result<()> {
    let key = text::key(&args.key, args.key_base64)?;
    let choice = match (args.choice.pick, args.choice.value) {
        (Some(version), _) => ChoiceText::Pick(version),
        (None, Some(value)) => ChoiceText::Value(rows::value(Some(&value))?),
        (None, None) => ChoiceText::Delete,
    };
    context.tell(Request::Resolve { of: context.collection(args.of), key, choice }).await
}

pub(super) async fn log(context: &mut Context, args: Log) -> Result<()> {
    let key = text::key(&args.key, args.key_base64)?;
    let of = context.collection(args.of);
    let mut entries = Vec::new();
    let request = Request::History { of, key: key.clone(), limit: args.limit };
    let take = |_: &mut Output, item| {
        let Response::Entry(entry) = item else { bail!("the answer is no version; this is a defect") };
        entries.push(entry);
        Ok(())
    };
    context.each(request, take).await?;
    if entries.is_empty() {
        return Err(No(format!("nobody ever wrote the row \"{}\"", text::escape(&key))).into());
    }
    if context.out.json {
        return entries.iter().try_for_each(|entry| Ok(context.out.object(&json_entry(entry))?));
    }
    for line in log_table(&entries).lines() {
        context.out.line(line.trim_end())?;
    }
    context.out.remark("* nothing that is known here has taken its place");
    if entries.iter().any(|entry| entry.who.batch.is_some()) {
        context.out.remark("BATCH: the same in all syncgroups that the batch touched");
    }
    Ok(())
}

fn log_table(entries: &[EntryText]) -> String {
    // Few batches touch several syncgroups, and a version names the others well enough.
    let batches = entries.iter().any(|entry| entry.who.batch.is_some());
    let header: &[&str] = &["VERSION", "WHEN", "WHO", "DID", "VALUE", "BATCH"];
    let mut table = table(&header[..if batches { 6 } else { 5 }]);
    for EntryText { who, did, value, kind, is_pick, is_head, .. } in entries {
        let (did, what) = match did {
            DidText::Delete if *is_pick => ("pick", "(deleted)".to_owned()),
            DidText::Delete => ("delete", String::new()),
            DidText::Operate { merge, operations } => (&merge[..], shown::operations_line(operations)),
            DidText::Put => {
                let value = value.as_ref().map(|value| shown::line(*kind, value)).unwrap_or_default();
                (if *is_pick { "pick" } else { "put" }, value)
            }
        };
        let mark = if *is_head { "*" } else { "" };
        let version = format!("{}{mark}", who.short);
        let mut row = vec![version, when(who), name(who), did.to_owned(), text::cut(&what, VALUE_WIDTH)];
        row.extend(batches.then(|| batch(who)));
        table.add_row(row);
    }
    table.to_string()
}

/// As much of a batch's name as tells it from others.
fn batch(who: &Who) -> String {
    who.batch.as_ref().map_or_else(String::new, |id| id[..12.min(id.len())].to_owned())
}

fn json_entry(entry: &EntryText) -> Value {
    let mut object = json_who(&entry.who);
    let did = match &entry.did {
        DidText::Put => "put",
        DidText::Delete => "delete",
        DidText::Operate { .. } => "operate",
    };
    object.insert("did".to_owned(), json!(did));
    if let DidText::Operate { merge, operations } = &entry.did {
        object.insert("merge".to_owned(), json!(merge));
        object.insert("operations".to_owned(), operations.iter().map(shown::operation_object).collect());
    }
    if let Some(value) = &entry.value {
        shown::insert(&mut object, entry.kind, value);
    }
    object.insert("parents".to_owned(), json!(entry.parents));
    object.insert("pick".to_owned(), json!(entry.is_pick));
    object.insert("head".to_owned(), json!(entry.is_head));
    Value::Object(object)
}

fn json_who(who: &Who) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("version".to_owned(), json!(who.version));
    object.insert("device".to_owned(), json!(who.device));
    object.insert("name".to_owned(), json!(who.name));
    object.insert("when".to_owned(), json!(when(who)));
    object.insert("batch".to_owned(), json!(who.batch));
    object
}

/// A time, in UTC.
fn when(who: &Who) -> String {
    // A stamp may say anything: one that is beyond what can be written is shown as its number.
    const LAST: u64 = 253_402_300_799_999;
    if who.wall_ms > LAST {
        return format!("{} ms", who.wall_ms);
    }
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(who.wall_ms)).to_string()
}

fn name(who: &Who) -> String {
    let unknown = || format!("({})", &who.device[..12.min(who.device.len())]);
    who.name.as_ref().map_or_else(unknown, |name| text::escape_short(name.as_bytes(), NAME_WIDTH))
}
