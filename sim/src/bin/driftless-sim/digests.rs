//! `driftless-sim digests`.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use driftless_sim::digests::{Difference, Digests};

use crate::Trouble;
use crate::bar::{bar, jobs};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Compare what runs do now with what is kept.
    #[arg(long, required_unless_present = "accept", conflicts_with = "accept")]
    check: bool,
    /// Keep what runs do now, because it is meant to be so.
    #[arg(long)]
    accept: bool,
    /// Where digests are kept.
    #[arg(long, value_name = "FILE", default_value = "sim/digests.txt")]
    file: PathBuf,
    /// How many runs at a time.
    #[arg(long, value_name = "N", default_value_t = jobs())]
    jobs: usize,
}

pub(crate) fn digests(args: &Args) -> Result<bool, Trouble> {
    let path = args.file.display().to_string();
    // The file first: whoever names a wrong one need not wait.
    let kept = match std::fs::read_to_string(&args.file) {
        Ok(text) => Digests::read(&text).map_err(|cause| Trouble::Digests { path: path.clone(), cause })?,
        Err(error) if args.accept && error.kind() == std::io::ErrorKind::NotFound => Digests::default(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Trouble::NoDigests(path)),
        Err(cause) => return Err(Trouble::File { what: "read", path, cause }),
    };
    let bar = bar(Digests::count() as u64, true);
    let now = Digests::measure(args.jobs, &mut || bar.inc(1));
    bar.finish_and_clear();
    conclude(args, &kept, &now)
}

/// Compares what is kept with what runs do now, or keeps that. What fails is neither well nor worth keeping.
fn conclude(args: &Args, kept: &Digests, now: &Digests) -> Result<bool, Trouble> {
    let path = args.file.display().to_string();
    for (profile, seed) in now.failed() {
        println!(
            "seed {seed} of the profile {profile} fails: driftless-sim replay {seed} --profile {profile}"
        );
    }
    let all_pass = now.failed().is_empty();
    let differences = kept.differences(now);
    if args.accept {
        if !all_pass {
            println!("{path} is left as it is: runs that fail cannot be accepted");
            return Ok(false);
        }
        std::fs::write(&args.file, now.written()).map_err(Trouble::file("write", &path))?;
        let count: usize = differences.iter().map(|difference| difference.count).sum();
        println!("{path}: {count} of {} digests are new or changed", Digests::count());
        return Ok(true);
    }
    if differences.is_empty() {
        println!("{} runs do what they did when {path} was written", Digests::count());
        return Ok(all_pass);
    }
    for difference in &differences {
        println!("{}", told(difference));
    }
    println!(
        "\nRuns do something else than when {path} was written. If the change is meant to alter what happens in\n\
         runs, or which plans are drawn, take this over and commit it:\n\n  driftless-sim digests --accept\n\n\
         Otherwise compare the trace of the first seed that differs with that of the version before:\n\n  \
         driftless-sim replay {} --profile {} --trace FILE",
        differences[0].seed, differences[0].profile
    );
    Ok(false)
}

fn told(difference: &Difference) -> String {
    let Difference { profile, seed, kept, now, count } = difference;
    let nothing = || "nothing".to_owned();
    format!(
        "profile {profile}: the first seed that differs is {seed}: it was {}, and is {}; {count} seeds differ",
        kept.clone().unwrap_or_else(nothing),
        now.clone().unwrap_or_else(nothing)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(accept: bool, file: PathBuf) -> Args {
        Args { check: !accept, accept, file, jobs: 1 }
    }

    #[test]
    fn a_run_that_fails_is_neither_well_nor_accepted() {
        let file = std::env::temp_dir().join(format!("driftless-sim-digests-{}", std::process::id()));
        let read = |text: &str| Digests::read(text).unwrap();
        let (well, failed) = (read("calm 0 aa"), read("calm 0 aa-failed"));
        // Whether it failed before or not.
        assert!(!conclude(&args(false, file.clone()), &failed, &failed).unwrap());
        assert!(!conclude(&args(false, file.clone()), &well, &failed).unwrap());
        assert!(!conclude(&args(true, file.clone()), &well, &failed).unwrap());
        assert!(!file.exists(), "what fails is not written");
        assert!(conclude(&args(false, file.clone()), &well, &well).unwrap());
        assert!(conclude(&args(true, file.clone()), &failed, &well).unwrap());
        assert_eq!(read(&std::fs::read_to_string(&file).unwrap()), well);
        std::fs::remove_file(file).unwrap();
    }
}
