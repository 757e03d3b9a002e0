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

#[test]
fn a_failure_is_no_failure_of_the_commands_that_are_for_failures() {
    let planted = ["planted/loses-a-row.plan", "--sabotage", "loses-a-row"];
    let with = |command: &str, more: &[&str]| {
        let mut args = vec![command.to_owned()];
        args.extend(planted.iter().chain(more).map(ToString::to_string));
        args
    };
    let page = std::env::temp_dir().join(format!("driftless-sim-page-{}.html", std::process::id()));
    let page = page.display().to_string();
    for (args, status) in [
        (with("replay", &[]), 1),
        (with("story", &[]), 1),
        (with("shrink", &[]), 0),
        (with("report", &["-o", &page]), 0),
        (with("shrink", &["--check-determinism"]), 0),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        says(&args, status);
    }
    std::fs::remove_file(page).unwrap();
    says(&["replay", "planted/loses-a-row.plan"], 0);
    assert!(says(&["shrink", "planted/loses-a-row.plan"], 2).contains("does not fail"));
    assert!(says(&["explore", "--max-states", "50"], 0).contains("a limit was reached"));
    for wrong in ["NaN", "inf", "-1"] {
        says(&["explore", "--minutes", wrong], 2);
    }
}

#[test]
fn the_help_says_which_commands_end_well_though_a_run_fails() {
    let help = says(&["--help"], 0);
    assert!(help.contains("Failures are what `shrink` and `report` are for"), "{help}");
}
