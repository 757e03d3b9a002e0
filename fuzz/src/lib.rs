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

mod mutate;
mod text;

use std::process::ExitCode;

pub use mutate::Inputs;
pub use text::{invitation, invitation_text, names};

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
    Target { name: "invitation", body: invitation, seeds: text::invitation_seeds },
    Target { name: "invitation_text", body: invitation_text, seeds: text::invitation_text_seeds },
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
            $crate::replay($crate::$body)
        }
    };
}

/// Runs a body on each file named on the command line.
#[doc(hidden)]
pub fn replay(body: fn(&[u8])) -> ExitCode {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        eprintln!("give the files to run this target on; to fuzz, use cargo +nightly fuzz run TARGET");
        return ExitCode::from(2);
    }
    for file in files {
        match std::fs::read(&file) {
            Ok(data) => body(&data),
            Err(error) => {
                eprintln!("cannot read {}: {error}", file.display());
                return ExitCode::from(2);
            }
        }
        println!("{}: no defect", file.display());
    }
    ExitCode::SUCCESS
}
