//! The `driftless` command. What it can do is told by `driftless --help`, how it is made by its library.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    driftless_cli::run(driftless_cli::args::Cli::parse())
}
