//! See `driftless_fuzz::invitation`.
#![cfg_attr(fuzzing, no_main)]

driftless_fuzz::fuzz_main!(invitation);
