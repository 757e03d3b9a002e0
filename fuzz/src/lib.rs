//! Fuzz targets for everything in Driftless that reads bytes from outside.
//!
//! No input, however hostile, may panic a decoder, make it allocate without bound, or loop; and what a decoder
//! accepts must survive being encoded and decoded again. Each target's *body* is a plain function here, so that
//! it runs in three ways:
//!
//! - under libFuzzer, with a nightly toolchain: `cargo +nightly fuzz run invitation`;
//! - on stable, with generated and mutated inputs from a fixed seed: `cargo test -p driftless-fuzz`
//!   (`DRIFTLESS_FUZZ_INPUTS` sets how many inputs each target gets);
//! - on one kept input: `cargo run -p driftless-fuzz --bin invitation -- FILE`.
//!
//! To add a target: write its body, add it to [`TARGETS`], and copy a file in `fuzz_targets/` with its entry in
//! `Cargo.toml`. A test fails if one of these is forgotten.
// The fuzz crate runs what is given to it on the command line.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod exchange;
mod mutate;
mod text;

use std::path::Path;
use std::process::ExitCode;

use driftless::store::Table;

pub use driftless::fuzzing::{frame, generation, generation_body, row, stored_generation, syncgroup};
pub use exchange::replica;
pub use mutate::Inputs;
pub use text::{certificate, certificate_text, invitation, invitation_text, key_chain, names};

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of its binary, too.
    pub name: &'static str,
    /// What is run on each input. It panics when it finds a defect.
    pub body: fn(&[u8]),
    /// Valid inputs, to start mutating from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", body: frame, seeds: exchange::frames },
    Target { name: "generation", body: generation, seeds: || exchange::stored(Table::Log) },
    Target { name: "generation_body", body: generation_body, seeds: || exchange::stored(Table::Log) },
    Target { name: "replica", body: replica, seeds: exchange::conversations },
    Target { name: "row", body: row, seeds: || exchange::stored(Table::Row) },
    Target { name: "stored_generation", body: stored_generation, seeds: || exchange::stored(Table::Log) },
    Target { name: "syncgroup", body: syncgroup, seeds: || exchange::stored(Table::Syncgroup) },
    Target { name: "invitation", body: invitation, seeds: text::invitation_seeds },
    Target { name: "invitation_text", body: invitation_text, seeds: text::invitation_text_seeds },
    Target { name: "certificate", body: certificate, seeds: text::certificate_seeds },
    Target { name: "certificate_text", body: certificate_text, seeds: text::certificate_text_seeds },
    Target { name: "key_chain", body: key_chain, seeds: text::key_chain_seeds },
    Target { name: "names", body: names, seeds: text::name_seeds },
];

/// Makes a target's binary: libFuzzer's entry point when built by cargo-fuzz, otherwise a command that runs the
/// body on the files it is given.
#[macro_export]
macro_rules! fuzz_main {
    ($body:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::$body(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::replay(stringify!($body))
        }
    };
}

/// What a target's binary does outside libFuzzer: runs the body on the files it is given, or writes the valid
/// inputs that fuzzing starts from.
#[doc(hidden)]
pub fn replay(name: &str) -> ExitCode {
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
        eprintln!("{name} is not among the targets");
        return ExitCode::from(2);
    };
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let done = match arguments.as_slice() {
        [] => Err(format!("usage: {name} FILE... | {name} --write-seeds DIRECTORY")),
        [flag, directory] if flag == "--write-seeds" => write_seeds(target, Path::new(directory)),
        files => files.iter().try_for_each(|file| replay_file(target, Path::new(file))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn replay_file(target: &Target, file: &Path) -> Result<(), String> {
    let data = std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    (target.body)(&data);
    println!("{}: no defect", file.display());
    Ok(())
}

fn write_seeds(target: &Target, directory: &Path) -> Result<(), String> {
    let failed = |error| format!("cannot write seeds to {}: {error}", directory.display());
    std::fs::create_dir_all(directory).map_err(failed)?;
    for (index, seed) in (target.seeds)().iter().enumerate() {
        std::fs::write(directory.join(format!("seed-{index}")), seed).map_err(failed)?;
    }
    Ok(())
}
