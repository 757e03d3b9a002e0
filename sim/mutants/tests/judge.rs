//! Runs the plans of all fixed defects, and a bounded suite of seeds; anything that goes wrong is enough.

use driftless_sim::plan::Profile;
use driftless_sim::suite::{Suite, attempt};
use driftless_sim::{Options, Plan, seeds};

/// From what plans are drawn, and how many.
const SEEDS: [(&str, u64); 6] =
    [("default", 60), ("harsh", 30), ("removals", 30), ("people", 30), ("policies", 30), ("hostile", 30)];

#[test]
fn plans_of_fixed_defects_pass() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../regressions");
    let mut plans = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "plan") {
            let plan: Plan = std::fs::read_to_string(&path).unwrap().parse().unwrap();
            let failure = attempt(&plan, Options::default()).failure;
            assert!(failure.is_none(), "{}\n{}", path.display(), failure.unwrap());
            plans += 1;
        }
    }
    assert!(plans > 50, "{plans} plans in {folder}");
}

#[test]
fn seeds_keep_all_rules() {
    for (profile, count) in SEEDS {
        let profile: Profile = profile.parse().unwrap();
        let suite = Suite {
            profile,
            seeds: seeds(0..count),
            shard: Default::default(),
            jobs: 1,
            check_determinism: false,
        };
        suite.run(&|| true, &mut |outcome| {
            if let Some(failure) = &outcome.failure {
                // One is enough.
                panic!("seed {}: {failure}", outcome.seed);
            }
        });
    }
}
