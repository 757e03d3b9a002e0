//! `driftless-sim`: runs suites of simulations, replays failures, cuts them down, tells them and shows them.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the command shows its progress in real time; runs know only virtual time"
)]

mod bar;
mod bench;
mod digests;
mod explore;
mod input;
mod merge;
mod page;
mod replay;
mod run;
mod shrink;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Simulates many replicas of Driftless on networks, disks and clocks that fail, and checks that they keep
/// the rules.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  Run seeds for ten minutes; plans of those that fail are written to driftless-failures/
    driftless-sim run --minutes 10

  Look at one: tell it, cut it down to what the failure needs, show it in a browser
    driftless-sim story 4711
    driftless-sim shrink driftless-failures/default-4711.plan -o small.plan
    driftless-sim report small.plan -o page.html

Exit status:
  0  all is well, as far as was looked: `explore` says if a limit cut it short
  1  a rule was broken, or something is not as it should be: a suite did not see what it should have seen, runs do
     something else than they did, or a planted defect was not noticed, or not cut down far enough
  2  wrong usage, or something could not be done: read, written, or shrunk because it does not fail
Failures are what `shrink` and `report` are for: they end with 0 when they have cut one down or shown it.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds.
    Run(run::Args),
    /// Run one plan or seed again.
    Replay(replay::Args),
    /// Cut a plan that fails down to what the failure needs.
    Shrink(shrink::Args),
    /// Tell what happens in a plan or seed.
    Story(input::Input),
    /// Write a run as a page to look at, in one HTML file.
    Report(page::Args),
    /// Walk every order of events of a small scope.
    Explore(explore::Args),
    /// Print the plan of a seed.
    Plan(replay::PlanArgs),
    /// Check, or accept, what a fixed set of seeds does.
    Digests(digests::Args),
    /// Put the results of shards together.
    Merge(merge::Args),
    /// Measure the simulator itself.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    driftless_sim::suite::quiet_attempts();
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Shrink(args) => shrink::shrink(&args),
        Command::Story(input) => replay::tell(&input),
        Command::Report(args) => page::report(&args),
        Command::Explore(args) => explore::explore(&args),
        Command::Plan(args) => replay::print(&args),
        Command::Digests(args) => digests::digests(&args),
        Command::Merge(args) => merge::merge(&args),
        Command::Bench(args) => bench::bench(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("driftless-sim: {error}");
            ExitCode::from(2)
        }
    }
}

/// What the command itself cannot do, apart from what runs find.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("cannot {what} {path}: {cause}")]
    File { what: &'static str, path: String, cause: std::io::Error },
    #[error("{path}: {cause}")]
    Plan { path: String, cause: driftless_sim::plan::ParsePlanError },
    #[error(
        "{path} is a plan for the application \"{app}\", which this command does not know: run the application's own \
         test with DRIFTLESS_SIM_PLAN={path}"
    )]
    Application { path: String, app: String },
    #[error("\"{0}\" is neither a file with a plan nor the number of a seed")]
    NeitherPlanNorSeed(String),
    #[error("{0} does not fail, so there is nothing to shrink")]
    Passes(String),
    #[error(
        "there is no {0}: run this at the top of the repository, name the file by --file, or make it by --accept"
    )]
    NoDigests(String),
    #[error(
        "there is no {0} to compare with: run this at the top of the repository, name the directory by --known, or \
         make it by --keep"
    )]
    NoKnownPlan(String),
    #[error("{path}: {cause}")]
    Order { path: String, cause: driftless_sim::explore::NoOrder },
    #[error("{0} is an order of events that `explore` has found, which only `replay` walks")]
    OnlyReplayed(String),
    #[error("{path}: {cause}")]
    Digests { path: String, cause: driftless_sim::digests::NotADigest },
    #[error("the scenario failed: {0}")]
    Scenario(String),
    #[error("a measurement in a process of its own failed: {0}")]
    Measurement(String),
    #[error(transparent)]
    Profile(#[from] driftless_sim::plan::UnknownProfile),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Trouble {
    /// An order of events that cannot be read, or not be walked.
    fn order(path: &str) -> impl FnOnce(driftless_sim::explore::NoOrder) -> Self + use<> {
        let path = path.to_owned();
        move |cause| Self::Order { path, cause }
    }

    /// A file that cannot be read or written.
    fn file(what: &'static str, path: &str) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |cause| Self::File { what, path, cause }
    }
}
