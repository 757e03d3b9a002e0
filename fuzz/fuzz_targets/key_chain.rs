//! See `driftless_fuzz::key_chain`.
#![cfg_attr(fuzzing, no_main)]

driftless_fuzz::fuzz_main!(key_chain);
