//! `put`, `get`, `delete`, `scan`.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use driftless::limits;

use super::Context;
use crate::args::{Delete, Get, Put, Scan};
use crate::protocol::{Change, Range, Request, Response, RowText};
use crate::session::Reach;
use crate::{No, row, text};

pub(super) async fn put(context: &mut Context, args: Put) -> Result<()> {
    let key = text::key(&args.key, args.key_base64)?;
    let value = value(args.value.as_deref())?;
    let request =
        Request::Write { of: context.collection(args.of), changes: vec![Change { key, value: Some(value) }] };
    let mut session = context.session(Reach::Alone).await?;
    let outcome = session.tell(request).await;
    session.close().await;
    outcome
}

/// The value that an argument stands for.
fn value(argument: Option<&OsStr>) -> Result<Vec<u8>> {
    let bytes = match argument {
        Some(text) if text != "-" => text::argument_bytes(text)?,
        _ => return read_bounded(std::io::stdin().lock(), "standard input"),
    };
    match bytes.strip_prefix(b"@") {
        None => Ok(bytes),
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
    let mut session = context.session(Reach::Alone).await?;
    let answer = session.one(request).await;
    session.close().await;
    let Response::Row { row: Some(found) } = answer? else {
        return Err(No(format!("there is no row \"{}\"", text::escape(&key))).into());
    };
    if context.out.json {
        context.out.line(&row::print(&found.key, Some(&found.value)))?;
    } else {
        context.out.raw(&found.value)?;
    }
    Ok(())
}

pub(super) async fn delete(context: &mut Context, args: Delete) -> Result<()> {
    let keys = args.keys.iter().map(|key| text::key(key, args.key_base64)).collect::<Result<Vec<_>>>()?;
    let changes = keys.into_iter().map(|key| Change { key, value: None }).collect();
    let request = Request::Write { of: context.collection(args.of), changes };
    let mut session = context.session(Reach::Alone).await?;
    let outcome = session.tell(request).await;
    session.close().await;
    outcome
}

pub(super) async fn scan(context: &mut Context, args: Scan) -> Result<()> {
    let bytes = |text: Option<&OsStr>| text.map(text::argument_bytes).transpose();
    let range = Range {
        prefix: bytes(args.prefix.as_deref())?.unwrap_or_default(),
        from: bytes(args.from.as_deref())?,
        to: bytes(args.to.as_deref())?,
        reverse: args.reverse,
        limit: args.limit,
    };
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
        (true, _) => row::print(&row.key, (!keys).then_some(&row.value)),
        (false, true) => text::escape(&row.key),
        (false, false) => format!("{}\t{}", text::escape(&row.key), text::escape(&row.value)),
    }
}
