//! `log`.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::Context;
use super::who::{VALUE_WIDTH, batch, json_who, name, when};
use crate::args::Log;
use crate::output::{Output, table};
use crate::protocol::{DidText, EntryText, Request, Response};
use crate::{No, shown, text};

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
    context.out.flush()?;
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
