//! Suites of seeds, the plans of fixed defects, and the oracles tested by defects on purpose.

use std::ops::Range;

use driftless_sim::plan::Profile;
use driftless_sim::suite::{self, Suite, attempt};
use driftless_sim::world::Sabotage;
use driftless_sim::{Faults, Options, Plan, Sim, execute, seeds};

/// How many seeds a sabotage may take to be noticed.
const SEEDS_TO_NOTICE: u64 = 100;

/// Defects of which others see what follows from them as often as the oracle that guards the rule, so that chance says
/// who is first. Their own oracle must still notice them in some run.
const SEEN_BY_OTHERS_TOO: [Sabotage; 1] = [
    // Rows that are void for devices and not for the model, and generations that it would not permit.
    Sabotage::WithholdsRemovals,
];

#[test]
fn fifty_seeds_keep_all_rules_and_are_the_same_when_run_again() {
    let suite = Suite {
        profile: Profile::default(),
        seeds: seeds(0..50),
        shard: Default::default(),
        jobs: 2,
        check_determinism: true,
    };
    let mut stories = Vec::new();
    let summary = suite.run(&|| true, &mut |outcome| {
        stories.extend(driftless_sim::report::failed(outcome, "driftless-sim replay <seed>"));
    });
    assert!(stories.is_empty(), "{}", stories.join("\n\n"));
    assert!(summary.passed(), "never happened: {:?}", summary.missing);
    assert!(summary.vacuous * 5 < summary.runs, "{} of {} runs meant little", summary.vacuous, summary.runs);
}

#[test]
fn plans_of_fixed_defects_pass() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "plan") {
            let plan: Plan = std::fs::read_to_string(&path).unwrap().parse().unwrap();
            let outcome = attempt(&plan, Options::default());
            assert!(outcome.failure.is_none(), "{}\n{}", path.display(), outcome.failure.unwrap());
        }
    }
}

#[test]
fn every_defect_on_purpose_is_noticed_by_the_oracle_that_guards_against_it() {
    // What only a hostile device can make use of shows where there is one in every run, and not in every one; and what
    // happens where a disk is set back, where that happens most. That two clocks are ahead at once, and one of them is set
    // right and what it wrote is written again before the other one is, happens once in some hundred seeds; and that a teller
    // meets an account about which whole batches disagree, where there are such rules in every run.
    let profiles: [(Profile, Range<u64>); 6] = [
        ("harsh", 0..SEEDS_TO_NOTICE),
        ("hostile", 0..150),
        ("removals", 0..20),
        ("disks", 0..100),
        ("clocks", 260..290),
        ("policies", 40..60),
    ]
    .map(|(name, seeds)| (name.parse().unwrap(), seeds));
    let seeds =
        || profiles.iter().flat_map(|(profile, seeds)| seeds.clone().map(move |seed| (seed, profile)));
    let noticed = suite::each(2, Sabotage::ALL, |sabotage| {
        let is_seen_by_others = SEEN_BY_OTHERS_TOO.contains(sabotage);
        seeds().find_map(|(seed, profile)| {
            let plan = Plan::draw(seed, profile);
            let options = Options { sabotage: Some(*sabotage), ..Options::default() };
            let failure = attempt(&plan, options).failure;
            failure.filter(|failure| !is_seen_by_others || failure.violation.oracle == sabotage.noticed_by())
        })
    });
    for (sabotage, failure) in Sabotage::ALL.iter().zip(noticed) {
        let failure = failure.unwrap_or_else(|| panic!("nobody noticed {sabotage}"));
        let oracle = failure.violation.oracle.clone();
        assert_eq!(oracle, sabotage.noticed_by(), "{sabotage} was noticed as\n{failure}");
    }
}

#[test]
fn an_invariant_of_the_embedder_stops_the_run_that_breaks_it() {
    let outcome = Sim::new(1)
        .replicas(3)
        .faults(Faults::none())
        .invariant("nothing is ever written", |world| {
            match world.coverage().count(driftless_sim::Point::Write) {
                0 => Ok(()),
                count => Err(format!("{count} batches were written")),
            }
        })
        .run();
    let failure = outcome.failure.expect("something is written");
    assert!(failure.violation.to_string().contains("nothing is ever written"), "{failure}");
}

#[test]
fn a_run_that_is_cut_short_is_the_start_of_the_whole_run() {
    let plan = Plan::draw(3, &Profile::default());
    let lines = |until: Option<u64>| {
        let mut lines = Vec::new();
        let mut note = |line: &str| lines.push(line.to_owned());
        execute(&plan, Options { trace: Some(&mut note), until, ..Options::default() });
        lines
    };
    let (part, whole) = (lines(Some(4_000)), lines(None));
    assert!(!part.is_empty() && part.len() < whole.len());
    assert_eq!(part[..], whole[..part.len()]);
}
