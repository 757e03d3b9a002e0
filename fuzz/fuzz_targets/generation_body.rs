//! See `driftless_fuzz::generation_body`.
#![cfg_attr(fuzzing, no_main)]

driftless_fuzz::fuzz_main!(generation_body);
