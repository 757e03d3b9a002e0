//! See `driftless_fuzz::replica`.
#![cfg_attr(fuzzing, no_main)]

driftless_fuzz::fuzz_main!(replica);
