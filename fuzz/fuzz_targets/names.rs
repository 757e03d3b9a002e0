//! See `driftless_fuzz::names`.
#![cfg_attr(fuzzing, no_main)]

driftless_fuzz::fuzz_main!(names);
