//! How runs of an application go: kept plans first, then seeds, on several threads; what fails is cut down and told.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use super::report::{Found, Origin};
use super::{App, Report, Runs};
use crate::environment::Wishes;
use crate::facts::Facts;
use crate::plan::Plan;
use crate::run::{Failure, Options, Outcome};
use crate::shrink::{Effort, Shrunk, shrink};
use crate::story;
use crate::suite::{attempt, compare, quiet_attempts};

/// One of so many seeds is run twice, to see whether the application is deterministic.
const TWICE: u64 = 16;

impl<A: App> Runs<A> {
    /// What was asked for, and otherwise everything.
    pub(super) fn run_as(&self, wishes: &Wishes) -> Report {
        quiet_attempts();
        let mut report = Report::new(self.app.name(), self.kept.clone());
        let whole = wishes.plan.is_none() && wishes.seeds.is_none();
        let files = match &wishes.plan {
            Some(plan) => vec![plan.clone()],
            None if whole => self.kept_plans(&mut report),
            None => Vec::new(),
        };
        for file in files {
            self.file(&file, &mut report);
            if report.found.is_some() || !report.troubles.is_empty() {
                return report;
            }
        }
        if wishes.plan.is_none() {
            let seeds = wishes.seeds.clone().unwrap_or_else(|| self.seeds.clone());
            self.all(seeds, wishes.jobs.unwrap_or_else(cores), &mut report);
            if report.runs == 0 {
                report.troubles.push("nothing was run: there is no seed, and no plan".to_owned());
            }
        }
        if whole && report.found.is_none() {
            report.judge_coverage(&self.sometimes);
        }
        report
    }

    /// The plans that are kept, by name.
    fn kept_plans(&self, report: &mut Report) -> Vec<PathBuf> {
        let Some(dir) = &self.kept else { return Vec::new() };
        let entries = std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match entries {
            Ok(entries) => {
                let paths = entries.into_iter().map(|entry| entry.path());
                let mut plans: Vec<PathBuf> =
                    paths.filter(|path| path.extension().is_some_and(|it| it == "plan")).collect();
                plans.sort();
                plans
            }
            Err(error) => {
                report.troubles.push(format!("{}: {error}", dir.display()));
                Vec::new()
            }
        }
    }

    /// One plan from a file, which is told as it is. It may be kept because two runs of it differ.
    fn file(&self, path: &Path, report: &mut Report) {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        let plan = text.and_then(|text| text.parse::<Plan>().map_err(|error| error.to_string()));
        let plan = plan.and_then(|plan| match &plan.app {
            Some(app) if *app == report.app => Ok(plan),
            Some(app) => Err(format!("it is for the application \"{app}\", not for \"{}\"", report.app)),
            None => Err("it is for no application".to_owned()),
        });
        match plan {
            Err(error) => report.troubles.push(format!("{}: {error}", path.display())),
            Ok(plan) => {
                let mut facts = Facts::default();
                let outcome = self.twice(&plan, Some(&mut facts));
                report.add(&outcome);
                let story = story::tell(&plan, &facts, outcome.failure.as_ref());
                report.found = outcome.failure.map(|failure| Found {
                    origin: Origin::File(path.to_owned()),
                    size: crate::shrink::size(&plan),
                    plan,
                    failure,
                    story: story.clone(),
                    shrunk: None,
                    kept: None,
                });
                report.story = Some(story);
            }
        }
    }

    fn attempt(&self, plan: &Plan, facts: Option<&mut Facts>) -> Outcome {
        attempt(plan, Options { app: Some(&self.app), facts, ..Options::default() })
    }

    /// One seed, some of them twice.
    fn seed(&self, seed: u64) -> Outcome {
        let plan = Plan::draw_for(seed, &self.profile, &self.app);
        if seed.is_multiple_of(TWICE) { self.twice(&plan, None) } else { self.attempt(&plan, None) }
    }

    /// One plan, twice.
    fn twice(&self, plan: &Plan, facts: Option<&mut Facts>) -> Outcome {
        let mut outcome = self.attempt(plan, facts);
        compare(&mut outcome, &self.attempt(plan, None));
        outcome
    }

    /// All seeds up to the first that fails.
    fn all(&self, seeds: Range<u64>, jobs: usize, report: &mut Report) {
        // Seeds are counted from the first one, so that this stays far from the last number that there is.
        let (next, failed) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let (start, count) = (seeds.start, seeds.end.saturating_sub(seeds.start));
        let (sender, outcomes) = mpsc::channel();
        let mut first: Option<(u64, Failure)> = None;
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                let (sender, next, failed) = (sender.clone(), &next, &failed);
                scope.spawn(move || {
                    loop {
                        let nth = next.fetch_add(1, Ordering::Relaxed);
                        // The first that fails counts, whichever thread is faster: those before it are run.
                        if nth >= count || start + nth > failed.load(Ordering::Relaxed) {
                            break;
                        }
                        let seed = start + nth;
                        let outcome = self.seed(seed);
                        if outcome.failure.is_some() {
                            failed.fetch_min(seed, Ordering::Relaxed);
                        }
                        if sender.send(outcome).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            for outcome in outcomes {
                report.add(&outcome);
                if let Some(failure) = outcome.failure
                    && first.as_ref().is_none_or(|(seed, _)| outcome.seed < *seed)
                {
                    first = Some((outcome.seed, failure));
                }
            }
        });
        report.found = first.map(|(seed, failure)| self.found(seed, failure, jobs));
    }

    /// A seed that fails, cut down and told.
    fn found(&self, seed: u64, failure: Failure, jobs: usize) -> Found {
        let plan = Plan::draw_for(seed, &self.profile, &self.app);
        let twice = failure.is_of_two_runs();
        let judge = |plan: &Plan, facts: Option<&mut Facts>| {
            let outcome = if twice { self.twice(plan, facts) } else { self.attempt(plan, facts) };
            outcome.failure
        };
        let effort = Effort { executions: self.effort, jobs };
        let from = crate::shrink::size(&plan);
        let shrunk = shrink(&plan, &judge, effort, &mut |_| {});
        // What fails only now and then is told as it was drawn.
        let (plan, failure, shrunk) = match shrunk {
            Ok(Shrunk { plan, failure, executions, .. }) => (plan, failure, Some((from, executions))),
            Err(_) => (plan, failure, None),
        };
        let mut facts = Facts::default();
        self.attempt(&plan, Some(&mut facts));
        let story = story::tell(&plan, &facts, Some(&failure));
        let size = crate::shrink::size(&plan);
        Found { origin: Origin::Seed(seed), plan, failure, story, size, shrunk, kept: None }
    }
}

/// How many runs go on at a time, if nobody says.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Chance, Device, Schema};
    use super::*;

    /// Somebody writes down how often.
    #[derive(Clone)]
    struct Notes;

    impl App for Notes {
        type Act = u8;

        fn schema(&self) -> Schema {
            Schema::new().collection("notes", &[])
        }

        fn draw(&self, chance: &mut Chance) -> u8 {
            chance.below(9) as u8
        }

        fn act(&mut self, device: &mut Device<'_>, act: u8) {
            let _ = device.write(Batch::new().put("notes", "last", vec![act]));
        }
    }

    fn runs() -> Runs<Notes> {
        Runs::new(Notes).devices(2, 2).acts(8, 8).lasting(5_000, 5_000)
    }

    #[test]
    fn a_test_that_runs_nothing_does_not_pass() {
        let report = runs().seeds(3..3).run();
        assert!(!report.passed() && report.to_string().contains("nothing was run"), "{report}");
        let wishes = Wishes { seeds: Some(3..3), ..Wishes::default() };
        assert!(!runs().run_as(&wishes).passed());
        let one = runs().seeds(3..4).run();
        assert!(one.passed() && one.runs == 1, "{one}");
    }

    /// Somebody writes down what differs each time.
    #[derive(Clone)]
    struct Whims;

    impl App for Whims {
        type Act = u8;

        fn schema(&self) -> Schema {
            Notes.schema()
        }

        fn draw(&self, chance: &mut Chance) -> u8 {
            Notes.draw(chance)
        }

        fn act(&mut self, device: &mut Device<'_>, _: u8) {
            static TIMES: AtomicU64 = AtomicU64::new(0);
            let times = TIMES.fetch_add(1, Ordering::Relaxed);
            let _ = device.write(Batch::new().put_number("notes", "last", times as i64));
        }
    }

    #[test]
    fn what_differs_each_time_is_cut_down_and_seen_again_from_its_file() {
        let runs = Runs::new(Whims).devices(2, 2).acts(8, 8).seeds(16..17);
        let mut found = runs.run().found.expect("it differs each time");
        assert!(found.failure.is_of_two_runs() && found.shrunk.is_some(), "{}", found.failure);
        assert!(found.plan.steps.len() < 5, "{}", found.plan);
        let dir = std::env::temp_dir().join(format!("driftless-sim-whims-{}", std::process::id()));
        found.keep(&dir, "Whims");
        let plan = found.kept.unwrap().unwrap();
        let again = runs.run_as(&Wishes { plan: Some(plan), ..Wishes::default() });
        std::fs::remove_dir_all(dir).unwrap();
        assert!(again.found.is_some_and(|found| found.failure.is_of_two_runs()));
    }

    #[test]
    fn the_last_seeds_are_run_once_and_none_after_them() {
        let wishes = Wishes { seeds: Some(u64::MAX - 2..u64::MAX), jobs: Some(3), ..Wishes::default() };
        let report = runs().run_as(&wishes);
        assert!(report.passed() && report.runs == 2, "{report}");
    }
}
