//! `driftless-sim merge`.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use driftless_sim::report;
use driftless_sim::shards::Merged;

use crate::Trouble;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// What `driftless-sim run --json` has written, a file for each shard.
    #[arg(value_name = "RESULTS", required = true)]
    results: Vec<PathBuf>,
    /// Print a line of JSON.
    #[arg(long)]
    json: bool,
}

/// How many failures are printed.
const PRINTED: usize = 20;

pub(crate) fn merge(args: &Args) -> Result<bool, Trouble> {
    let mut merged = Merged::default();
    for path in &args.results {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(Trouble::file("read", &name))?;
        merged.add(&name, &text);
    }
    merged.finish();
    let passed = merged.passed();
    if args.json {
        let (summary, problems) = (&merged.summary, &merged.problems);
        println!("{}", serde_json::json!({ "summary": summary, "problems": problems, "passed": passed }));
        return Ok(passed);
    }
    println!("{}", report::table(&merged.summary));
    println!("{}", report::verdict(&merged.summary));
    for (seed, what) in merged.failures.iter().take(PRINTED) {
        println!("seed {seed} failed: {what}");
    }
    if merged.failures.len() > PRINTED {
        println!("failed: {:?}", merged.summary.failed);
    }
    for problem in &merged.problems {
        println!("not a whole suite: {problem}");
    }
    Ok(passed)
}
