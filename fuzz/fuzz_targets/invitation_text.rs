//! See `driftless_fuzz::invitation_text`.
#![cfg_attr(fuzzing, no_main)]

driftless_fuzz::fuzz_main!(invitation_text);
