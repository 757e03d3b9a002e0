//! `export`: rows as JSON Lines or as a directory tree.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use indicatif::ProgressBar;
use serde_json::json;

use super::Context;
use super::tree::{self, Overlaps, Target};
use crate::args::Export;
use crate::protocol::{CollectionRef, Range, Request, Response, RowText};
use crate::session::{Reach, Session};
use crate::{row, text};

/// How many of the keys that cannot be paths are named.
const NAMED: usize = 10;

/// What was written.
#[derive(Debug, Default)]
struct Written {
    rows: u64,
    bytes: u64,
    skipped: u64,
}

impl Written {
    fn count(&mut self, row: &RowText, bar: &ProgressBar) {
        self.rows += 1;
        self.bytes += (row.key.len() + row.value.len()) as u64;
        bar.set_position(self.rows);
    }
}

pub(super) async fn export(context: &mut Context, args: Export) -> Result<()> {
    let of = context.collection(args.of.clone());
    let to_stdout = args.path == Path::new("-");
    if to_stdout && args.tree {
        bail!("a directory tree needs a directory: driftless export {} DIRECTORY --tree", of.collection);
    }
    let as_tree = args.tree || !to_stdout && args.path.is_dir();
    let mut session = context.session(Reach::Alone).await?;
    let bar = context.out.progress(None, "rows");
    let outcome = if as_tree {
        to_tree(&mut session, &of, &args, &bar).await
    } else if to_stdout {
        to_lines(context, &mut session, &of, &bar).await
    } else {
        to_file(&mut session, &of, &args, &bar).await
    };
    bar.finish_and_clear();
    session.close().await;
    report(context, &outcome?, to_stdout)
}

fn report(context: &mut Context, written: &Written, to_stdout: bool) -> Result<()> {
    let Written { rows, bytes, skipped } = *written;
    if context.out.json && !to_stdout {
        context.out.object(&json!({ "rows": rows, "bytes": bytes, "skipped": skipped }))?;
        return Ok(());
    }
    context.out.flush()?;
    context.out.remark(&format!("exported {}, {}", text::plural(rows, "row"), text::bytes(bytes)));
    if skipped > 0 {
        context.out.remark(&format!("left out {}: the keys cannot be paths", text::plural(skipped, "row")));
    }
    Ok(())
}

/// Calls `each` for every row.
async fn scan(
    session: &mut Session,
    of: &CollectionRef,
    values: bool,
    mut each: impl FnMut(RowText) -> Result<()>,
) -> Result<()> {
    let mut answer = session.ask(Request::Scan { of: of.clone(), range: Range::default(), values }).await?;
    while let Some(item) = answer.next().await? {
        if let Response::Rows { rows } = item {
            rows.into_iter().try_for_each(&mut each)?;
        }
    }
    Ok(())
}

async fn to_lines(
    context: &mut Context,
    session: &mut Session,
    of: &CollectionRef,
    bar: &ProgressBar,
) -> Result<Written> {
    let mut written = Written::default();
    scan(session, of, true, |row| {
        written.count(&row, bar);
        Ok(context.out.line(&row::print(&row.key, Some(&row.value)))?)
    })
    .await?;
    Ok(written)
}

/// Writes beside the file first: what is there stays whole until all of the new is.
async fn to_file(
    session: &mut Session,
    of: &CollectionRef,
    args: &Export,
    bar: &ProgressBar,
) -> Result<Written> {
    let path = &args.path;
    if path.exists() && !args.force {
        bail!("{} is there already; overwrite with --force", path.display());
    }
    let partial = Partial::create(path)?;
    let mut file = BufWriter::new(&partial.file);
    let mut written = Written::default();
    scan(session, of, true, |row| {
        written.count(&row, bar);
        let line = row::print(&row.key, Some(&row.value));
        writeln!(file, "{line}").with_context(|| format!("cannot write {}", partial.path.display()))
    })
    .await?;
    file.flush().with_context(|| format!("cannot write {}", partial.path.display()))?;
    drop(file);
    partial.finish(path)?;
    Ok(written)
}

/// A file that is removed if it is not finished.
struct Partial {
    path: PathBuf,
    file: File,
    done: bool,
}

impl Partial {
    fn create(of: &Path) -> Result<Self> {
        let mut name = of.file_name().context("the path to export to names no file")?.to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let path = of.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file, done: false })
    }

    fn finish(mut self, to: &Path) -> Result<()> {
        self.file.sync_all().with_context(|| format!("cannot write {}", self.path.display()))?;
        fs::rename(&self.path, to).with_context(|| format!("cannot write {}", to.display()))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.done {
            // There is nobody to tell, and the reason why it is not done is told already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

async fn to_tree(
    session: &mut Session,
    of: &CollectionRef,
    args: &Export,
    bar: &ProgressBar,
) -> Result<Written> {
    let mut written =
        Written { skipped: check_keys(session, of, args.skip_unsafe).await?, ..Written::default() };
    let target = Target::new(&args.path, args.force)?;
    let mut overlaps = Overlaps::default();
    scan(session, of, true, |row| {
        // Looked at again: others may have written since.
        match tree::path(&row.key).and_then(|path| overlaps.check(&row.key).map(|()| path)) {
            Ok(path) => {
                target.write(&path, &row.value)?;
                written.count(&row, bar);
                Ok(())
            }
            Err(_) if args.skip_unsafe => Ok(()),
            Err(why) => bail!("the key \"{}\" cannot be a path: {why}", text::escape(&row.key)),
        }
    })
    .await?;
    Ok(written)
}

/// Looks at all keys before anything is written. Says how many are left out.
async fn check_keys(session: &mut Session, of: &CollectionRef, skip: bool) -> Result<u64> {
    let (mut wrong, mut named, mut overlaps) = (0, Vec::new(), Overlaps::default());
    scan(session, of, false, |row| {
        if let Err(why) = tree::path(&row.key).and_then(|_| overlaps.check(&row.key)) {
            wrong += 1;
            if named.len() < NAMED {
                named.push(format!("  {}: {why}", text::escape_short(&row.key, 80)));
            }
        }
        Ok(())
    })
    .await?;
    if wrong == 0 || skip {
        return Ok(wrong);
    }
    if wrong > named.len() as u64 {
        named.push(format!("  and {} more", wrong - named.len() as u64));
    }
    bail!(
        "{} cannot be paths:\n{}\nNothing was exported. Leave them out with --skip-unsafe, or export JSON Lines",
        text::plural(wrong, "key"),
        named.join("\n")
    )
}
