//! The `driftless` command: a node, a client, and a demo.
//!
//! A data directory is one device. `driftless serve` holds it and connects it to others; every other command
//! either talks to that server over the [`control`] socket, in the words of [`protocol`], or, if there is none,
//! holds the directory for a moment itself ([`session`]). Either way [`service`] answers it.
//!
//! This library is how the command is made, not something to build on: applications use `driftless-tokio`.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a command has clocks, threads and an environment on purpose"
)]

pub mod args;
mod commands;
pub mod control;
mod demo;
mod output;
pub mod passphrase;
pub mod protocol;
pub mod row;
pub mod service;
pub mod session;
mod settings;
pub mod shown;
mod source;
pub mod text;

use std::process::ExitCode;

use args::Cli;
use protocol::Problem;

/// The answer is no, and this is why: exit status 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct No(pub String);

/// Runs the command and reports how it went.
pub fn run(cli: Cli) -> ExitCode {
    let json = cli.global.json;
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::anyhow!("cannot start: {error}"))
        .and_then(|runtime| {
            let outcome = runtime.block_on(commands::run(cli));
            // Standard input may be waited for by a thread that cannot be interrupted.
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
            outcome
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let no =
                error.is::<No>() || error.downcast_ref::<Problem>().is_some_and(|problem| problem.refused);
            let code = if no { 1 } else { 2 };
            if json {
                let object = serde_json::json!({ "error": format!("{error:#}"), "status": code });
                eprintln!("{object}");
            } else {
                eprintln!("driftless: {error:#}");
            }
            ExitCode::from(code)
        }
    }
}

/// Whether somebody who read the output, `head` for example, has had enough: that is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.downcast_ref::<output::Closed>().is_some_and(|closed| broken(&closed.0))
}
