//! See `driftless_fuzz::row`.
#![cfg_attr(fuzzing, no_main)]

driftless_fuzz::fuzz_main!(row);
