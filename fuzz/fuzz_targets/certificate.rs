//! See `driftless_fuzz::certificate`.
#![cfg_attr(fuzzing, no_main)]

driftless_fuzz::fuzz_main!(certificate);
