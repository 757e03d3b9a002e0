//! What the command says, and its exit status.

use std::process::{Command, Output};

fn driftless_sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_driftless-sim"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(args)
        .output()
        .unwrap()
}

/// What it says, after it has ended with this status.
fn says(args: &[&str], status: i32) -> String {
    let output = driftless_sim(args);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(output.status.code(), Some(status), "{args:?}:\n{text}");
    text
}

#[test]
fn defects_are_not_shrunk_with_nothing_to_compare_with() {
    let bench = ["bench", "--shrink", "--defect", "loses-a-row", "--known"];
    let text = says(&[&bench[..], &["misspelt"]].concat(), 2);
    assert!(text.contains("there is no misspelt/loses-a-row.plan"), "{text}");
    let text = says(&[&bench[..], &["planted", "--seeds", "0..2"]].concat(), 0);
    assert!(text.contains("compared with the smallest known plan"), "{text}");
}
