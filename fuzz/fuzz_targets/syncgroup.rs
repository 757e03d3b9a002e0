//! See `driftless_fuzz::syncgroup`.
#![cfg_attr(fuzzing, no_main)]

driftless_fuzz::fuzz_main!(syncgroup);
