//! `import`: rows from JSON Lines or a directory tree, in batches.

use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::sync::mpsc;

use super::Context;
use crate::args::Import;
use crate::protocol::{Change, CollectionRef, Request};
use crate::session::{Reach, Session};
use crate::source::Source;
use crate::text;

/// Rows in a batch.
const BATCH_ROWS: usize = 512;
/// Bytes of keys and values after which a batch is full.
const BATCH_BYTES: usize = 1 << 20;
/// Batches that are read before they can be written.
const AHEAD: usize = 2;

pub(super) async fn import(context: &mut Context, args: Import) -> Result<()> {
    let of = context.collection(args.of);
    let path = args.path.clone();
    let except = context.dir.clone();
    let source =
        tokio::task::spawn_blocking(move || Source::open(&path, Some(&except), args.skip_large)).await??;
    let mut session = context.session(Reach::Alone).await?;
    let outcome = write(context, &mut session, &of, Batcher::start(source)).await;
    session.close().await;
    outcome
}

async fn write(
    context: &mut Context,
    session: &mut Session,
    of: &CollectionRef,
    mut batches: Batcher,
) -> Result<()> {
    let started = Instant::now();
    let bar = context.out.progress(batches.total, "rows");
    let (mut rows, mut bytes) = (0, 0);
    let outcome = async {
        while let Some(batch) = batches.next().await? {
            let (more_rows, more_bytes) = (batch.changes.len() as u64, batch.bytes as u64);
            session.tell(Request::Write { of: of.clone(), changes: batch.changes }).await?;
            rows += more_rows;
            bytes += more_bytes;
            bar.set_position(rows);
        }
        anyhow::Ok(())
    }
    .await;
    bar.finish_and_clear();
    outcome.with_context(|| match rows {
        0 => "nothing was imported".to_owned(),
        rows => format!("{} before it are imported, the rest is not", text::plural(rows, "row")),
    })?;
    let skipped = batches.skipped().await;
    if context.out.json {
        context.out.object(&json!({ "rows": rows, "bytes": bytes, "skipped": skipped }))?;
    } else {
        let seconds = started.elapsed().as_secs_f64();
        let (rows, bytes) = (text::plural(rows, "row"), text::bytes(bytes));
        context.out.remark(&format!("imported {rows}, {bytes}, in {seconds:.1} s"));
        if skipped > 0 {
            context.out.remark(&format!("left out {}: too large", text::plural(skipped, "row")));
        }
    }
    Ok(())
}

/// Rows to be written at once.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
    /// Bytes of keys and values.
    pub(crate) bytes: usize,
}

/// Reads a source on a thread of its own, a few batches ahead of whoever writes them.
#[derive(Debug)]
pub(crate) struct Batcher {
    batches: mpsc::Receiver<Result<Batch>>,
    reading: tokio::task::JoinHandle<u64>,
    /// How many rows there will be, if that is known.
    pub(crate) total: Option<u64>,
}

impl Batcher {
    pub(crate) fn start(mut source: Source) -> Self {
        let total = source.total();
        let (out, batches) = mpsc::channel(AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            loop {
                let batch = next_batch(&mut source).transpose();
                let Some(batch) = batch else { return source.skipped };
                let failed = batch.is_err();
                if out.blocking_send(batch).is_err() || failed {
                    return source.skipped;
                }
            }
        });
        Self { batches, reading, total }
    }

    /// The next batch; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Batch>> {
        self.batches.recv().await.transpose()
    }

    /// How many rows were left out, once the end is reached.
    pub(crate) async fn skipped(self) -> u64 {
        drop(self.batches);
        self.reading.await.unwrap_or(0)
    }
}

fn next_batch(source: &mut Source) -> Result<Option<Batch>> {
    let mut batch = Batch::default();
    while batch.changes.len() < BATCH_ROWS && batch.bytes < BATCH_BYTES {
        let Some(row) = source.next()? else { break };
        batch.bytes += row.key.len() + row.value.len();
        batch.changes.push(Change { key: row.key, value: Some(row.value) });
    }
    Ok((!batch.changes.is_empty()).then_some(batch))
}
