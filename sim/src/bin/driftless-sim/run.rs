//! `driftless-sim run`.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use driftless_sim::shards::Part;
use driftless_sim::suite::{Seeds, Shard, Suite, Summary};
use driftless_sim::{Outcome, Plan, Profile, report};
use indicatif::ProgressBar;

use crate::Trouble;
use crate::bar::{bar, jobs};
use crate::input::twice;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Which seeds, from A up to and without B.
    #[arg(long, value_name = "A..B", default_value = "0..200", conflicts_with = "minutes")]
    seeds: Seeds,
    /// For how long, instead: seeds from 0 on until the time is over.
    #[arg(long, value_name = "M", value_parser = minutes)]
    minutes: Option<Duration>,
    /// How many runs at a time.
    #[arg(long, value_name = "N", default_value_t = jobs())]
    jobs: usize,
    /// What plans are drawn from: default, calm, harsh, crashes, network, disks, clocks, people, hostile, large,
    /// policies or removals.
    #[arg(long, value_name = "NAME", default_value = "default")]
    profile: String,
    /// Only one of several equal parts of the seeds.
    #[arg(long, value_name = "i/n", default_value = "0/1")]
    shard: Shard,
    /// Run each seed twice, and compare.
    #[arg(long)]
    check_determinism: bool,
    /// Print a line of JSON for each run, and one for the suite.
    #[arg(long)]
    json: bool,
    /// Where plans of failed runs are written.
    #[arg(long, value_name = "DIR", default_value = "driftless-failures")]
    failures: PathBuf,
}

/// How many failures are printed in full: the first say what is wrong, the rest say how often.
const PRINTED: usize = 10;

/// Reads a number of minutes.
pub(crate) fn minutes(text: &str) -> Result<Duration, String> {
    let minutes = text.parse::<f64>().ok().filter(|minutes| (0.0..=1e6).contains(minutes));
    let minutes = minutes.ok_or("write a number of minutes from 0 to a million, such as 0.5")?;
    Ok(Duration::from_secs_f64(minutes * 60.0))
}

pub(crate) fn run(args: &Args) -> Result<bool, Trouble> {
    let profile: Profile = args.profile.parse()?;
    let limit = args.minutes;
    let suite = Suite {
        profile,
        seeds: if limit.is_some() { 0..u64::MAX } else { args.seeds.0.clone() },
        shard: args.shard,
        jobs: args.jobs,
        check_determinism: args.check_determinism,
    };
    let start = Instant::now();
    let length = limit.map_or(suite.len(), |limit| limit.as_millis() as u64);
    let bar = bar(length, !args.json);
    let (mut runs, mut failures, mut trouble) = (0_u64, 0, None);
    let more = || limit.is_none_or(|limit| start.elapsed() < limit);
    let summary = suite.run(&more, &mut |outcome| {
        if let Err(error) = finished(args, &suite, outcome, &bar, &mut failures) {
            trouble.get_or_insert(error);
        }
        match limit {
            Some(limit) => bar.set_position(start.elapsed().min(limit).as_millis() as u64),
            None => bar.inc(1),
        }
        runs += 1;
        let rate = runs as f64 / start.elapsed().as_secs_f64().max(0.001);
        bar.set_message(format!("{rate:.1} seeds/s, {failures} failed"));
    });
    bar.finish_and_clear();
    if let Some(error) = trouble {
        return Err(error);
    }
    conclude(args, &summary, start.elapsed())?;
    Ok(summary.passed())
}

/// Prints a line of JSON.
fn tell(line: &str) -> Result<(), Trouble> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        // Whoever reads has gone: there is nobody to tell.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Trouble::file("write", "the results")),
    }
}

fn conclude(args: &Args, summary: &Summary, took: Duration) -> Result<(), Trouble> {
    if args.json {
        let part = Part {
            profile: args.profile.clone(),
            seeds: args.minutes.is_none().then(|| format!("{}..{}", args.seeds.0.start, args.seeds.0.end)),
            shard: args.shard.to_string(),
        };
        let passed = summary.passed();
        let closing = serde_json::json!({ "suite": part, "summary": summary, "passed": passed });
        return tell(&closing.to_string());
    }
    println!("{}", report::table(summary));
    println!("{}", report::verdict(summary));
    let seconds = took.as_secs_f64().max(0.001);
    println!("took {seconds:.1} s, {:.0} seeds per minute", summary.runs as f64 * 60.0 / seconds);
    if summary.failed.len() > PRINTED {
        println!("failed: {:?}", summary.failed);
    }
    Ok(())
}

/// A run has ended: its line, and if it failed, its plan and its story.
fn finished(
    args: &Args,
    suite: &Suite,
    outcome: &Outcome,
    bar: &ProgressBar,
    failures: &mut usize,
) -> Result<(), Trouble> {
    if args.json {
        tell(&serde_json::to_string(outcome)?)?;
    }
    let Some(failure) = &outcome.failure else { return Ok(()) };
    *failures += 1;
    let path = keep(args, &Plan::draw(outcome.seed, &suite.profile))?;
    let again = format!("{}{}", path.display(), twice(failure));
    let story = report::failed(outcome, &format!("driftless-sim replay {again}"));
    if let Some(story) = story.filter(|_| *failures <= PRINTED) {
        bar.suspend(|| eprintln!("{story}\n  shrink    driftless-sim shrink {again}\n"));
    }
    Ok(())
}

/// Writes the plan of a failed run to a file.
fn keep(args: &Args, plan: &Plan) -> Result<PathBuf, Trouble> {
    let path = args.failures.join(format!("{}-{}.plan", args.profile, plan.seed));
    let trouble =
        |cause| Trouble::File { what: "write the plan to", path: path.display().to_string(), cause };
    std::fs::create_dir_all(&args.failures).map_err(trouble)?;
    std::fs::write(&path, plan.to_string()).map_err(trouble)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_read_and_what_is_no_time_is_refused() {
        assert_eq!(minutes("0.5"), Ok(Duration::from_secs(30)));
        assert_eq!(minutes("0"), Ok(Duration::ZERO));
        assert!(["NaN", "inf", "-1", "1e7", "five", ""].iter().all(|text| minutes(text).is_err()));
    }
}
