//! `driftless-sim replay`, `driftless-sim story` and `driftless-sim plan`.

use std::fs::File;
use std::io::{BufWriter, Write};

use clap::Args as ClapArgs;
use driftless_sim::suite::{attempt, compare};
use driftless_sim::{Facts, Options, report, story};

use crate::Trouble;
use crate::input::{Input, draw, twice};

/// Of plans with more steps than this, nobody reads the story.
const SHORT_STORY: usize = 40;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Write everything that happens to a file; `-` is the standard output.
    #[arg(long, value_name = "FILE")]
    trace: Option<String>,
    /// Stop at this moment of virtual time, in milliseconds.
    #[arg(long, value_name = "T")]
    until: Option<u64>,
    /// Run it twice, and compare.
    #[arg(long)]
    check_determinism: bool,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PlanArgs {
    /// The seed.
    seed: u64,
    /// From what its plan is drawn.
    #[arg(long, value_name = "NAME", default_value = "default")]
    profile: String,
}

pub(crate) fn replay(args: &Args) -> Result<bool, Trouble> {
    if let Some(order) = args.input.order()? {
        return crate::explore::replay(&args.input.plan, &order);
    }
    let plan = args.input.load()?;
    let (until, sabotage) = (args.until, args.input.sabotage);
    let mut trace = args.trace.as_deref().map(open).transpose()?;
    let mut line = |line: &str| {
        if let Some(file) = &mut trace {
            // A trace that cannot be written is cut short; the outcome counts.
            let _ = writeln!(file, "{line}");
        }
    };
    let trace = args.trace.is_some().then_some(&mut line as &mut driftless_sim::TraceLine<'_>);
    let mut facts = Facts::default();
    let options = Options { trace, until, sabotage, facts: Some(&mut facts), ..Options::default() };
    let mut outcome = attempt(&plan, options);
    if args.check_determinism {
        compare(&mut outcome, &attempt(&plan, Options { until, sabotage, ..Options::default() }));
    }
    let again = args.input.again(&args.input.plan) + outcome.failure.as_ref().map_or("", twice);
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else if let Some(failed) = report::failed(&outcome, &format!("driftless-sim replay {again}")) {
        if plan.steps.len() <= SHORT_STORY {
            println!("{}\n", story::tell(&plan, &facts, outcome.failure.as_ref()));
        } else {
            println!("long plans make long stories: driftless-sim shrink {again}\n");
        }
        println!("{failed}");
    } else {
        let figures = &outcome.figures;
        println!(
            "seed {} passed: {} replicas, {} events, {} frames, {} batches, agreed after {} ms, digest {}",
            outcome.seed,
            figures.replicas,
            figures.events,
            figures.frames,
            figures.batches,
            figures.agreed_after_ms,
            outcome.digest
        );
        if let Some(why) = outcome.vacuous {
            println!("vacuous: {why}");
        }
    }
    Ok(outcome.failure.is_none())
}

pub(crate) fn print(args: &PlanArgs) -> Result<bool, Trouble> {
    print!("{}", draw(args.seed, &args.profile)?);
    Ok(true)
}

/// Tells what happens in a plan.
pub(crate) fn tell(input: &Input) -> Result<bool, Trouble> {
    let plan = input.load()?;
    let mut facts = Facts::default();
    let options = Options { facts: Some(&mut facts), sabotage: input.sabotage, ..Options::default() };
    let outcome = attempt(&plan, options);
    println!("{}", story::tell(&plan, &facts, outcome.failure.as_ref()));
    if outcome.failure.is_none() {
        println!("Everybody agrees {} ms later, and no rule is broken.", outcome.figures.agreed_after_ms);
    }
    Ok(outcome.failure.is_none())
}

fn open(path: &str) -> Result<Box<dyn Write>, Trouble> {
    if path == "-" {
        return Ok(Box::new(std::io::stdout().lock()));
    }
    let file = File::create(path);
    let file =
        file.map_err(|cause| Trouble::File { what: "write the trace to", path: path.into(), cause })?;
    Ok(Box::new(BufWriter::new(file)))
}
