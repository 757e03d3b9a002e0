//! `put`, `get`, `delete`, `scan`, `count`.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use driftless::limits;
use serde_json::{Map, Value, json};

use super::Context;
use crate::args::{Count, Delete, Get, KeysWithin, Put, Scan};
use crate::protocol::{Change, Kind, Range, Request, Response, RowText};
use crate::session::Reach;
use crate::{No, row, shown, text};

pub(super) async fn put(context: &mut Context, args: Put) -> Result<()> {
    let key = text::key(&args.key, args.key_base64)?;
    let value = value(args.value.as_deref())?;
    let request =
        Request::Write { of: context.collection(args.of), changes: vec![Change { key, value: Some(value) }] };
    context.tell(request).await
}

/// The value that an argument stands for.
pub(super) fn value(argument: Option<&OsStr>) -> Result<Vec<u8>> {
    match argument {
        Some(text) => value_of(&text::argument_bytes(text)?),
        None => value_of(STANDARD_INPUT),
    }
}

/// What stands for standard input.
pub(super) const STANDARD_INPUT: &[u8] = b"-";

/// The value that the bytes of an argument stand for.
pub(super) fn value_of(bytes: &[u8]) -> Result<Vec<u8>> {
    if bytes == STANDARD_INPUT {
        return read_bounded(std::io::stdin().lock(), "standard input");
    }
    match bytes.strip_prefix(b"@") {
        None => Ok(bytes.to_vec()),
        Some(path) => {
            let path =
                std::str::from_utf8(path).context("the file's name is no UTF-8: use - and a redirection")?;
            let file = std::fs::File::open(Path::new(path)).with_context(|| format!("cannot read {path}"))?;
            read_bounded(file, path)
        }
    }
}

/// Reads no more than what shows that it is too much.
fn read_bounded(source: impl std::io::Read, name: &str) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    source
        .take(limits::MAX_VALUE as u64 + 1)
        .read_to_end(&mut value)
        .with_context(|| format!("cannot read {name}"))?;
    if value.len() > limits::MAX_VALUE {
        anyhow::bail!("{name} is larger than a value may be, which is {} bytes; split it", limits::MAX_VALUE);
    }
    Ok(value)
}

pub(super) async fn get(context: &mut Context, args: Get) -> Result<()> {
    let key = text::key(&args.key, args.key_base64)?;
    let request = Request::Get { of: context.collection(args.of), key: key.clone() };
    let Response::Row { row: Some(found) } = context.one(request).await? else {
        return Err(No(format!("there is no row \"{}\"", text::escape(&key))).into());
    };
    let kind = if args.raw { Kind::Bytes } else { found.kind };
    if context.out.json {
        return Ok(context.out.line(&json_line(kind, &found.key, &found.value))?);
    }
    match shown::lines(kind, &found.value) {
        Some(lines) => lines.iter().try_for_each(|line| Ok(context.out.line(line)?)),
        None => Ok(context.out.raw(&found.value)?),
    }
}

pub(super) async fn delete(context: &mut Context, args: Delete) -> Result<()> {
    let keys = args.keys.iter().map(|key| text::key(key, args.key_base64)).collect::<Result<Vec<_>>>()?;
    let changes = keys.into_iter().map(|key| Change { key, value: None }).collect();
    context.tell(Request::Write { of: context.collection(args.of), changes }).await
}

pub(super) async fn count(context: &mut Context, args: Count) -> Result<()> {
    let range = range(&args.keys_within)?;
    let Response::Count { rows } =
        context.one(Request::Count { of: context.collection(args.of), range }).await?
    else {
        anyhow::bail!("the answer is no count; this is a defect");
    };
    if context.out.json {
        return Ok(context.out.object(&json!({ "rows": rows }))?);
    }
    Ok(context.out.line(&rows.to_string())?)
}

/// The rows that options name.
fn range(KeysWithin { prefix, from, to }: &KeysWithin) -> Result<Range> {
    let bytes = |text: &Option<OsString>| text.as_deref().map(text::argument_bytes).transpose();
    Ok(Range {
        prefix: bytes(prefix)?.unwrap_or_default(),
        from: bytes(from)?,
        to: bytes(to)?,
        ..Range::default()
    })
}

pub(super) async fn scan(context: &mut Context, args: Scan) -> Result<()> {
    let range = range(&args.keys_within)?;
    let range = Range { reverse: args.reverse, limit: args.limit, ..range };
    let request = Request::Scan { of: context.collection(args.of), range, values: !args.keys };
    let mut session = context.session(Reach::Alone).await?;
    let outcome = print_rows(context, &mut session, request, args.keys).await;
    session.close().await;
    outcome
}

async fn print_rows(
    context: &mut Context,
    session: &mut crate::session::Session,
    request: Request,
    keys: bool,
) -> Result<()> {
    let mut answer = session.ask(request).await?;
    while let Some(item) = answer.next().await? {
        let Response::Rows { rows } = item else { continue };
        for row in rows {
            context.out.line(&line(&row, keys, context.out.json))?;
        }
    }
    Ok(())
}

fn line(row: &RowText, keys: bool, json: bool) -> String {
    match (json, keys) {
        (true, true) => row::print(&row.key, None),
        (true, false) => json_line(row.kind, &row.key, &row.value),
        (false, true) => text::escape(&row.key),
        (false, false) => format!("{}\t{}", text::escape(&row.key), shown::line(row.kind, &row.value)),
    }
}

/// A row as JSON: in the form that `import` reads, except for sets and fields, which are shown as what they are.
fn json_line(kind: Kind, key: &[u8], value: &[u8]) -> String {
    if !shown::is_rendered(kind, value) {
        return row::print(key, Some(value));
    }
    let mut object = Map::new();
    text::insert_bytes(&mut object, "key", key);
    shown::insert(&mut object, kind, value);
    Value::Object(object).to_string()
}
