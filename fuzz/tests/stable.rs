//! Runs every fuzz target on a stable toolchain, and checks that none was forgotten.
#![allow(clippy::disallowed_methods)] // How long to run comes from the environment.

use std::panic::{AssertUnwindSafe, catch_unwind};

use driftless_fuzz::{Inputs, TARGETS};

fn inputs_per_target() -> usize {
    std::env::var("DRIFTLESS_FUZZ_INPUTS").map_or(20_000, |text| {
        text.parse().unwrap_or_else(|_| panic!("DRIFTLESS_FUZZ_INPUTS is a number of inputs, not {text:?}"))
    })
}

#[test]
fn no_target_finds_a_defect_in_generated_inputs() {
    let count = inputs_per_target();
    for target in TARGETS {
        for (index, data) in Inputs::new((target.seeds)(), 1).take(count).enumerate() {
            if catch_unwind(AssertUnwindSafe(|| (target.body)(&data))).is_err() {
                let file = std::env::temp_dir().join(format!("driftless-fuzz-{}-{index}", target.name));
                std::fs::write(&file, &data).unwrap();
                panic!(
                    "{name}: input {index} of {count} found a defect; see it again with\n  \
                     cargo run -p driftless-fuzz --bin {name} -- {file}",
                    name = target.name,
                    file = file.display(),
                );
            }
        }
        println!("{}: {count} inputs, no defect", target.name);
    }
}

#[test]
fn the_same_number_gives_the_same_inputs() {
    let stream = |number| Inputs::new(vec![b"seed".to_vec()], number).take(100).collect::<Vec<_>>();
    assert_eq!(stream(7), stream(7));
    assert_ne!(stream(7), stream(8));
}

#[test]
fn every_target_has_a_binary_and_a_manifest_entry() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(here.join("Cargo.toml")).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(here.join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort_unstable();
    let mut names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    assert_eq!(files, names, "fuzz_targets/ and TARGETS differ");
    for name in names {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name} is not in Cargo.toml"
        );
    }
}
