//! `driftless-sim report`.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use driftless_sim::Options;
use driftless_sim::page::{self, Recording};
use driftless_sim::suite::attempt;

use crate::Trouble;
use crate::input::Input;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Where to write the page.
    #[arg(short, long, value_name = "FILE", default_value = "driftless-page.html")]
    output: PathBuf,
    /// Stop at this moment of virtual time, in milliseconds.
    #[arg(long, value_name = "T")]
    until: Option<u64>,
}

/// Writes the page. A run that fails is what pages are for: it is no failure of this command.
pub(crate) fn report(args: &Args) -> Result<bool, Trouble> {
    let plan = args.input.load()?;
    let mut recording = Recording::new();
    let (until, sabotage) = (args.until, args.input.sabotage);
    let options = Options { record: Some(&mut recording), until, sabotage, ..Options::default() };
    let outcome = attempt(&plan, options);
    let again = format!("driftless-sim replay {}", args.input.again(&args.input.plan));
    let html = page::render(&plan, &outcome, &mut recording, &again);
    let path = args.output.display().to_string();
    std::fs::write(&args.output, html).map_err(Trouble::file("write the page to", &path))?;
    let verdict = if outcome.failure.is_some() { "failed" } else { "passed" };
    println!("seed {} {verdict}: {path}", outcome.seed);
    let (sent, kept) = recording.frames();
    if sent > kept as u64 {
        println!(
            "of {sent} frames the page has the first {kept}; --until T makes a page of the start of the run"
        );
    }
    Ok(true)
}
