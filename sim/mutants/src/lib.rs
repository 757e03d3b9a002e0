//! Judges mutants of the core: `sim/MUTANTS.md` tells how they are made, and what came of it.
//!
//! A crate of its own, so that for each mutant no more is built than what judges it. The judge itself is
//! `tests/judge.rs`: the plans of all fixed defects, and a bounded suite of seeds.
