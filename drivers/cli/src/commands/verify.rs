//! `verify`: checks the whole store against what its authors signed.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use driftless::store::Store;
use driftless::verify::{Verification, Verified};
use driftless::{Config, Name};
use driftless_fjall::{Opened, Options};
use indicatif::ProgressBar;
use serde_json::json;

use super::Context;
use crate::No;
use crate::output::table;
use crate::session::{explain_alone, is_initialised};
use crate::text;

pub(super) async fn verify(context: &mut Context) -> Result<()> {
    let dir = context.dir.clone();
    if !is_initialised(&dir) {
        bail!("there is no data directory {}; name another with --dir", dir.display());
    }
    let bar = context.out.progress(Some(0), "generations");
    let shown = bar.clone();
    // Before anybody is asked for a passphrase.
    driftless_fjall::see_unused(&dir).map_err(|error| explain_alone(error, &dir))?;
    let options = context.unlock.options(&dir)?.read_only(true);
    let found = tokio::task::spawn_blocking(move || check(&dir, options, &shown)).await??;
    bar.finish_and_clear();
    let wrong = found.iter().map(|verified| verified.problems.len()).sum::<usize>();
    if context.out.json {
        for verified in &found {
            context.out.object(&json!({
                "syncgroup": verified.syncgroup.to_string(),
                "name": verified.name.as_ref().map(ToString::to_string),
                "authors": verified.authors,
                "generations": verified.generations,
                "rows": verified.rows,
                "problems": verified.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            }))?;
        }
    } else {
        context.out.line(&describe(&found))?;
        for (verified, problem) in
            found.iter().flat_map(|it| it.problems.iter().map(move |problem| (it, problem)))
        {
            let line = format!("{}: {problem}", name_of(verified));
            context.out.line(&text::escape_short(line.as_bytes(), 400))?;
        }
    }
    if wrong > 0 {
        let no = No(format!(
            "{wrong} things are not as they should be. What other members hold comes back if this directory is moved \
             away and the device joins again; a backup may have the rest"
        ));
        return Err(no.into());
    }
    Ok(())
}

/// Reads the store as somebody would that gets everything from it, into another one that is thrown away.
fn check(dir: &Path, options: Options, bar: &ProgressBar) -> Result<Vec<Verified>> {
    let Opened { store, identity, .. } =
        driftless_fjall::open(dir, options).map_err(|error| explain_alone(error, dir))?;
    let beside = tempfile::tempdir().context("cannot make a temporary directory for what is compared")?;
    let options = Options::new().state_dir(beside.path().join("state"));
    let mut scratch = driftless_fjall::open(&beside.path().join("scratch"), options)
        .context("cannot make a temporary store for what is compared")?
        .store;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system has no randomness")?;
    let config = Config::new(Name::new("verification")?);
    let view = store.snapshot();
    let (mut verification, first) = Verification::begin(&config, &identity, seed, &view)?;
    scratch.apply(&first)?;
    bar.set_length(verification.progress().1);
    while let Some(commit) = verification.step(&view, &scratch.snapshot())? {
        scratch.apply(&commit)?;
        bar.set_position(verification.progress().0);
    }
    Ok(verification.finish(&view, &scratch.snapshot()))
}

fn name_of(verified: &Verified) -> String {
    verified.name.as_ref().map_or_else(|| verified.syncgroup.to_string(), ToString::to_string)
}

fn describe(found: &[Verified]) -> String {
    if found.is_empty() {
        return "there is no syncgroup here, and nothing to verify".to_owned();
    }
    let mut table = table(&["syncgroup", "authors", "generations", "rows", "problems"]);
    for verified in found {
        table.add_row([
            text::escape_short(name_of(verified).as_bytes(), 40),
            verified.authors.to_string(),
            verified.generations.to_string(),
            verified
                .rows
                .map_or_else(|| "not compared: parts of batches are missing".into(), |rows| rows.to_string()),
            if verified.problems.is_empty() { "none".into() } else { verified.problems.len().to_string() },
        ]);
    }
    table.to_string()
}
