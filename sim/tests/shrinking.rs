//! Shrinking: what comes out is small, still fails in the same way, and does not hang on how it was computed.

use driftless_sim::shrink::{self, Effort, Shrunk};
use driftless_sim::world::Sabotage;
use driftless_sim::{Facts, Plan, Profile, Sim, story};

/// In how many seeds a defect that is to be shrunk must be noticed.
const SEEDS: u64 = 100;

/// The first plan in which a defect is noticed by the oracle that must.
fn noticed(sabotage: Sabotage) -> Plan {
    let (profile, judge): (Profile, _) = ("harsh".parse().unwrap(), shrink::judge(Some(sabotage)));
    let mut plans = (0..SEEDS).map(|seed| Plan::draw(seed, &profile));
    let oracle = sabotage.noticed_by();
    let fails = |plan: &Plan| judge(plan, None).is_some_and(|failure| failure.violation.oracle == oracle);
    plans.find(fails).unwrap_or_else(|| panic!("{sabotage} is not noticed"))
}

fn shrunk(plan: &Plan, sabotage: Sabotage, effort: Effort) -> Shrunk {
    shrink::shrink(plan, &shrink::judge(Some(sabotage)), effort, &mut |_| {}).unwrap()
}

fn smallest_known(sabotage: Sabotage) -> Plan {
    let path = format!("{}/planted/{sabotage}.plan", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_smallest_known_plan_of_each_planted_defect_shows_it() {
    for sabotage in Sabotage::ALL {
        let plan = smallest_known(*sabotage);
        let failure = shrink::judge(Some(*sabotage))(&plan, None);
        let failure = failure.unwrap_or_else(|| panic!("the plan of {sabotage} passes"));
        assert_eq!(failure.violation.oracle, sabotage.noticed_by(), "{sabotage}: {failure}");
        assert_eq!(shrink::judge(None)(&plan, None), None, "without {sabotage} nothing is wrong");
    }
}

/// A disk, a frame that chance doubles, and an answer that comes too late; `driftless-sim bench --shrink` does
/// all of them.
#[test]
fn plans_shrink_to_about_the_smallest_known() {
    for sabotage in [Sabotage::TearsCommits, Sabotage::AltersSecondCopies, Sabotage::ConfusesAnswers] {
        let plan = noticed(sabotage);
        let shrunk = shrunk(&plan, sabotage, Effort { jobs: 2, ..Effort::default() });
        let (size, known) = (shrink::size(&shrunk.plan), shrink::size(&smallest_known(sabotage)));
        assert!(
            size <= 3 * known,
            "{sabotage}: {size} decisions, and {known} are known to do:\n{}",
            shrunk.plan
        );
        assert!(!shrunk.gave_up && shrink::size(&plan) > 10 * size, "{sabotage}");
        let again = shrink::judge(Some(sabotage))(&shrunk.plan.to_string().parse().unwrap(), None);
        assert_eq!(again, Some(shrunk.failure), "{sabotage}: the text of the plan fails in the same way");
    }
}

#[test]
fn neither_threads_nor_another_run_change_what_comes_out() {
    let sabotage = Sabotage::AltersLateFrames;
    let plan = noticed(sabotage);
    let one = shrunk(&plan, sabotage, Effort { jobs: 1, ..Effort::default() });
    let three = shrunk(&plan, sabotage, Effort { jobs: 3, ..Effort::default() });
    assert_eq!(one, three);
}

#[test]
fn effort_is_bounded_and_what_was_reached_by_then_still_fails() {
    let sabotage = Sabotage::CorruptsRows;
    let plan = noticed(sabotage);
    let little = shrunk(&plan, sabotage, Effort { executions: 6, jobs: 1 });
    assert!(little.gave_up && little.executions == 6);
    assert_eq!(shrink::judge(Some(sabotage))(&little.plan, None), Some(little.failure));
}

#[test]
fn what_breaks_an_invariant_of_the_embedder_is_shrunk_too() {
    let sim = Sim::new(3).invariant("at most two devices hold a syncgroup", |world| {
        let holders =
            world.devices().filter(|device| device.core.is_some_and(|core| !core.syncgroups().is_empty()));
        match holders.count() {
            0..=2 => Ok(()),
            more => Err(format!("{more} devices hold one")),
        }
    });
    let shrunk = sim.shrink(Effort::default()).unwrap();
    assert_eq!(sim.replay(&shrunk.plan).failure, Some(shrunk.failure));
    assert!(shrunk.plan.setup.replicas == 3 && shrunk.plan.steps.len() <= 5, "{}", shrunk.plan);
}

#[test]
fn a_plan_that_does_not_fail_is_not_shrunk() {
    let plan = Plan::draw(0, &"calm".parse().unwrap());
    let result = shrink::shrink(&plan, &shrink::judge(None), Effort::default(), &mut |_| {});
    assert_eq!(result, Err(shrink::Passes));
}

#[test]
fn the_story_of_a_planted_defect_says_what_was_done_and_what_was_seen() {
    let sabotage = Sabotage::ShunsWhoCrashedApart;
    let plan = smallest_known(sabotage);
    let mut facts = Facts::default();
    let failure = shrink::judge(Some(sabotage))(&plan, Some(&mut facts));
    let told = story::tell(&plan, &facts, failure.as_ref());
    for words in ["Two devices, A and B.", "A makes the syncgroup.", "The network is cut between", "crashes."]
    {
        assert!(told.contains(words), "{words}\n{told}");
    }
    assert!(told.contains("All faults end") && told.contains("The oracle of convergence"), "{told}");
}
