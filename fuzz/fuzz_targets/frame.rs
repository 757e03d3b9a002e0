//! See `driftless_fuzz::frame`.
#![cfg_attr(fuzzing, no_main)]

driftless_fuzz::fuzz_main!(frame);
