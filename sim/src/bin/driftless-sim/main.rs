//! `driftless-sim`: runs suites of simulations, and replays failures.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the command shows its progress in real time; runs know only virtual time"
)]

mod replay;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Simulates many replicas of Driftless on networks, disks and clocks that fail, and checks that they keep
/// the rules.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds.
    Run(run::Args),
    /// Run one plan or seed again.
    Replay(replay::Args),
    /// Print the plan of a seed.
    Plan(replay::PlanArgs),
}

fn main() -> ExitCode {
    driftless_sim::suite::quiet_panics();
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Plan(args) => replay::print(&args),
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
    #[error("\"{0}\" is neither a file with a plan nor a seed")]
    NeitherPlanNorSeed(String),
    #[error(transparent)]
    Profile(#[from] driftless_sim::plan::UnknownProfile),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}
