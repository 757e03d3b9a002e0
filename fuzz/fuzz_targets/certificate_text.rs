//! See `driftless_fuzz::certificate_text`.
#![cfg_attr(fuzzing, no_main)]

driftless_fuzz::fuzz_main!(certificate_text);
