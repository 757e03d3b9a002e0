//! See `driftless_fuzz::generation`.
#![cfg_attr(fuzzing, no_main)]

driftless_fuzz::fuzz_main!(generation);
