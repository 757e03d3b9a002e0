//! See `driftless_fuzz::stored_generation`.
#![cfg_attr(fuzzing, no_main)]

driftless_fuzz::fuzz_main!(stored_generation);
