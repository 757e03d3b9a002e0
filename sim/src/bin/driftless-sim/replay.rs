//! `driftless-sim replay` and `driftless-sim plan`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use clap::Args as ClapArgs;
use driftless_sim::suite::{attempt, compare};
use driftless_sim::{Options, Plan, Profile, report};

use crate::Trouble;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// A file with a plan, or a seed.
    #[arg(value_name = "PLAN|SEED")]
    plan: String,
    /// From what the plan of a seed is drawn.
    #[arg(long, value_name = "NAME", default_value = "default")]
    profile: String,
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
    let plan = load(&args.plan, &args.profile)?;
    let mut trace = args.trace.as_deref().map(open).transpose()?;
    let mut line = |line: &str| {
        if let Some(file) = &mut trace {
            // A trace that cannot be written is cut short; the outcome counts.
            let _ = writeln!(file, "{line}");
        }
    };
    let trace = args.trace.is_some().then_some(&mut line as &mut driftless_sim::TraceLine<'_>);
    let mut outcome = attempt(&plan, Options { trace, until: args.until, ..Options::default() });
    if args.check_determinism {
        compare(&mut outcome, &attempt(&plan, Options { until: args.until, ..Options::default() }));
    }
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else if let Some(story) = report::failed(&outcome, &format!("driftless-sim replay {}", args.plan)) {
        println!("{story}");
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

/// A plan from a file, or of a seed.
fn load(text: &str, profile: &str) -> Result<Plan, Trouble> {
    if Path::new(text).exists() {
        let path = || text.to_owned();
        let plan = std::fs::read_to_string(text).map_err(|cause| Trouble::File {
            what: "read",
            path: path(),
            cause,
        })?;
        return plan.parse().map_err(|cause| Trouble::Plan { path: path(), cause });
    }
    let seed = text.parse().map_err(|_| Trouble::NeitherPlanNorSeed(text.to_owned()))?;
    draw(seed, profile)
}

fn draw(seed: u64, profile: &str) -> Result<Plan, Trouble> {
    let profile: Profile = profile.parse()?;
    Ok(Plan::draw(seed, &profile))
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
