//! Many runs, on several threads: each run keeps to one of them, so its outcome does not depend on how many
//! there are.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe, resume_unwind};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::ScopedJoinHandle;

use serde::Serialize;

use crate::coverage::{Coverage, Point};
use crate::oracle::{Oracle, Violation};
use crate::plan::{Plan, Profile};
use crate::run::{Digest, Failure, Figures, Options, Outcome, execute};

/// What a suite runs.
#[derive(Debug, Clone)]
pub struct Suite {
    /// From what plans are drawn.
    pub profile: Profile,
    /// The seeds; those of other shards are passed over.
    pub seeds: Range<u64>,
    /// Which part of the seeds.
    pub shard: Shard,
    /// How many threads.
    pub jobs: usize,
    /// Whether to run each seed twice and compare.
    pub check_determinism: bool,
}

/// One of several equal parts of a suite, written `i/n`, with `i` from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    pub(crate) index: u64,
    pub(crate) of: u64,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self { index: 0, of: 1 }
    }
}

/// A text that names no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no shard: write 2/8 for the third of eight")]
pub struct NotAShard(String);

impl FromStr for Shard {
    type Err = NotAShard;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once('/').and_then(|(index, of)| {
            let shard = Self { index: index.parse().ok()?, of: of.parse().ok()? };
            (shard.index < shard.of).then_some(shard)
        });
        parsed.ok_or_else(|| NotAShard(text.to_owned()))
    }
}

/// Seeds, written `A..B`, without B.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(pub Range<u64>);

/// A text that names no seeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no range of seeds: write 0..1000")]
pub struct NotSeeds(String);

impl FromStr for Seeds {
    type Err = NotSeeds;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        crate::environment::parse_seeds(text).map(Self).ok_or_else(|| NotSeeds(text.to_owned()))
    }
}

/// What came out of all runs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// How many runs there were.
    pub runs: u64,
    /// The seeds of those that failed, in order.
    pub failed: Vec<u64>,
    /// How many meant little.
    pub vacuous: u64,
    /// How much happened in all runs together.
    pub figures: Figures,
    /// What they exercised together.
    pub coverage: Coverage,
    /// What they should have exercised and did not.
    pub missing: Vec<Point>,
    /// Most runs meant little, so all of them together do.
    pub means_little: bool,
}

impl Summary {
    /// Whether nothing failed, and everything was exercised that should have been.
    pub fn passed(&self) -> bool {
        self.failed.is_empty() && self.missing.is_empty() && !self.means_little
    }

    /// All runs of a whole suite are there: a green one is worth what they had the chance to see.
    pub(crate) fn judge_coverage(&mut self, profile: &Profile) {
        self.missing = self.coverage.missing(self.runs, profile);
        self.means_little = self.runs == 0 || 2 * self.vacuous > self.runs;
    }

    /// Adds a run.
    fn add(&mut self, outcome: &Outcome) {
        let (failed, vacuous) = (outcome.failure.is_some(), outcome.vacuous.is_some());
        self.add_run(outcome.seed, failed, vacuous, &outcome.figures, &outcome.coverage);
    }

    /// Adds a run of which this is known.
    pub(crate) fn add_run(
        &mut self,
        seed: u64,
        failed: bool,
        vacuous: bool,
        run: &Figures,
        coverage: &Coverage,
    ) {
        self.runs += 1;
        self.vacuous += u64::from(vacuous);
        if failed {
            self.failed.push(seed);
        }
        self.coverage.merge(coverage);
        let sum = &mut self.figures;
        sum.replicas += run.replicas;
        sum.events += run.events;
        sum.frames += run.frames;
        sum.bytes += run.bytes;
        sum.batches += run.batches;
        sum.virtual_ms += run.virtual_ms;
        sum.agreed_after_ms = sum.agreed_after_ms.max(run.agreed_after_ms);
    }
}

impl Suite {
    /// How many seeds it has.
    #[allow(clippy::len_without_is_empty, reason = "a suite without seeds is of no use to anybody")]
    pub fn len(&self) -> u64 {
        let seeds = self.seeds.end.saturating_sub(self.seeds.start);
        seeds.saturating_sub(self.shard.index).div_ceil(self.shard.of)
    }

    /// Runs it. `done` is called for each run, in the order in which they end; `more` is asked before each
    /// whether it is still wanted. Whether it saw enough is said of the whole suite: of a part it is for
    /// [`crate::shards`] to say.
    pub fn run(&self, more: &(dyn Fn() -> bool + Sync), done: &mut dyn FnMut(&Outcome)) -> Summary {
        // Seeds are counted from the first one, so that this stays far from the last number that there is.
        let (next, count) = (AtomicU64::new(0), self.len());
        let (sender, outcomes) = mpsc::channel();
        let mut summary = Summary::default();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                let (sender, next) = (sender.clone(), &next);
                scope.spawn(move || {
                    while more() {
                        let nth = next.fetch_add(1, Ordering::Relaxed);
                        if nth >= count || sender.send(self.one(self.seed(nth))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            for outcome in outcomes {
                summary.add(&outcome);
                done(&outcome);
            }
        });
        summary.failed.sort_unstable();
        if self.shard.of == 1 {
            summary.judge_coverage(&self.profile);
        }
        summary
    }

    /// The nth of its seeds.
    fn seed(&self, nth: u64) -> u64 {
        self.seeds.start + self.shard.index + nth * self.shard.of
    }

    /// Runs one seed, twice if so wanted.
    fn one(&self, seed: u64) -> Outcome {
        let plan = Plan::draw(seed, &self.profile);
        let mut outcome = attempt(&plan, Options::default());
        if self.check_determinism {
            compare(&mut outcome, &attempt(&plan, Options::default()));
        }
        outcome
    }
}

/// Does something with each of some items, on so many threads, and says what came of each, in their order.
pub fn each<T: Sync, R: Send>(jobs: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let one = || {
            let places = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            let taken = places.map_while(|ix| Some((ix, items.get(ix)?)));
            taken.map(|(ix, item)| (ix, work(item))).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(one)).collect();
        let join =
            |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        threads.into_iter().flat_map(join).collect()
    });
    done.sort_unstable_by_key(|(ix, _)| *ix);
    done.into_iter().map(|(_, result)| result).collect()
}

/// How failures begin of which one run knows nothing.
const DIFFER: &str = "two runs of one plan differ";

/// Takes a run as failed if another run of its plan was not the same in everything: in whether and how it failed, too.
pub fn compare(outcome: &mut Outcome, again: &Outcome) {
    if outcome != again {
        let violation = violation(format!("{DIFFER}: {}", differences(outcome, again)));
        let place = outcome.failure.take().or_else(|| again.failure.clone());
        outcome.failure = Some(match place {
            Some(place) => Failure { violation, ..place },
            None => Failure { violation, at: 0, healed: false, step: None },
        });
    }
}

/// In what two runs differ.
fn differences(one: &Outcome, other: &Outcome) -> String {
    let verdict = |outcome: &Outcome| match &outcome.failure {
        None => "passes".to_owned(),
        Some(failure) => format!("fails at {} ms, {}", failure.at, failure.violation),
    };
    let count = |outcome: &Outcome, point: &Point| outcome.coverage.count(*point).to_string();
    let mut parts = vec![
        ("the verdict".to_owned(), verdict(one), verdict(other)),
        ("the digest".to_owned(), one.digest.to_string(), other.digest.to_string()),
        ("the meaning".to_owned(), format!("{:?}", one.vacuous), format!("{:?}", other.vacuous)),
        ("the figures".to_owned(), format!("{:?}", one.figures), format!("{:?}", other.figures)),
    ];
    let points = Point::ALL.iter();
    parts.extend(
        points.map(|point| (format!("\"{}\"", point.name()), count(one, point), count(other, point))),
    );
    parts.push((
        "the application's points".to_owned(),
        format!("{:?}", one.sometimes),
        format!("{:?}", other.sometimes),
    ));
    let differ = parts.into_iter().filter(|(_, one, other)| one != other);
    let told: Vec<String> = differ.map(|(part, one, other)| format!("{part}: {one} / {other}")).collect();
    told.join("; ")
}

impl Failure {
    /// Whether it takes two runs to see it: see [`compare`].
    pub fn is_of_two_runs(&self) -> bool {
        self.violation.what.starts_with(DIFFER)
    }
}

thread_local! {
    /// Where the last panic of this thread was, for the report.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether this thread is attempting something of which a panic is a failure.
    static ATTEMPTS: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics within [`attempt`] and [explorations](crate::explore) from being printed as they happen, as they are
/// reported as failures. All others are printed: nobody else would tell of them.
pub fn quiet_attempts() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if ATTEMPTS.get() {
                PANIC.with(|last| *last.borrow_mut() = info.location().map(ToString::to_string));
            } else {
                before(info);
            }
        }));
    });
}

/// Executes a plan, and takes a panic as a failure.
pub fn attempt<'o>(plan: &'o Plan, options: Options<'o>) -> Outcome {
    caught(|| execute(plan, options)).unwrap_or_else(|what| Outcome {
        seed: plan.seed,
        failure: Some(failure(what)),
        vacuous: None,
        digest: Digest([0; 32]),
        figures: Figures::default(),
        coverage: Coverage::default(),
        sometimes: std::collections::BTreeMap::new(),
    })
}

/// Does a part of a run, and takes a panic as a rule that was broken.
pub(crate) fn guarded<T>(part: impl FnOnce() -> Result<T, Violation>) -> Result<T, Violation> {
    caught(part).unwrap_or_else(|what| Err(violation(what)))
}

/// What comes out of something, or what it says when it panics.
fn caught<T>(what: impl FnOnce() -> T) -> Result<T, String> {
    let before = ATTEMPTS.replace(true);
    let caught = panic::catch_unwind(AssertUnwindSafe(what));
    ATTEMPTS.set(before);
    caught.map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        let place = PANIC.with(|last| last.borrow_mut().take());
        let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
        format!("panicked{place}: {text}")
    })
}

fn violation(what: String) -> Violation {
    Violation { oracle: Oracle::Conduct, rule: "S-53", replicas: Vec::new(), what }
}

fn failure(what: String) -> Failure {
    Failure { violation: violation(what), at: 0, healed: false, step: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_and_ranges_are_read_and_wrong_ones_refused() {
        assert_eq!("2/8".parse(), Ok(Shard { index: 2, of: 8 }));
        assert_eq!("3..9".parse(), Ok(Seeds(3..9)));
        assert!(["8/8", "1", "x/2", ""].iter().all(|text| text.parse::<Shard>().is_err()));
        assert!(["9..3", "1", "..", "x..2"].iter().all(|text| text.parse::<Seeds>().is_err()));
    }

    #[test]
    fn two_runs_that_differ_in_anything_are_a_failure_that_says_in_what() {
        let one = attempt(&Plan::draw(1, &"calm".parse().unwrap()), Options::default());
        let differ = |one: &Outcome, change: &dyn Fn(&mut Outcome)| {
            let (mut compared, mut again) = (one.clone(), one.clone());
            change(&mut again);
            compare(&mut compared, &again);
            let failure = compared.failure.expect("they differ");
            assert!(failure.is_of_two_runs(), "{failure}");
            failure
        };
        let fails = Failure { at: 70, ..failure("it is wrong".to_owned()) };
        let failure = differ(&one, &|again| again.failure = Some(fails.clone()));
        let what = &failure.violation.what;
        assert!(
            what.contains("the verdict: passes / fails at 70 ms") && what.contains("it is wrong"),
            "{what}"
        );
        assert_eq!(failure.at, 70);
        let broken = Outcome { failure: Some(fails), ..one.clone() };
        let what = differ(&broken, &|again| again.failure = None).violation.what;
        assert!(what.contains("it is wrong / passes"), "{what}");
        for (change, part) in [
            (
                &(|again: &mut Outcome| again.digest = Digest([0; 32])) as &dyn Fn(&mut Outcome),
                "the digest: ",
            ),
            (&|again| again.figures.frames += 1, "the figures: "),
            (&|again| again.vacuous = Some("nothing"), "the meaning: None / "),
            (&|again| again.coverage.hit(Point::Crash), "\"crash\": 0 / 1"),
            (&|again| again.sometimes.extend([("sold".to_owned(), 1)]), "the application's points: "),
        ] {
            let what = differ(&one, change).violation.what;
            assert!(what.contains(part) && !what.contains("the verdict"), "{what}");
        }
        for same in [one, broken] {
            let mut compared = same.clone();
            compare(&mut compared, &same);
            assert_eq!(compared, same);
        }
    }

    fn seeds_of(suite: &Suite, most: usize) -> Vec<u64> {
        let (mut seeds, asked) = (Vec::new(), AtomicU64::new(0));
        let more = || asked.fetch_add(1, Ordering::Relaxed) < most as u64;
        suite.run(&more, &mut |outcome| seeds.push(outcome.seed));
        seeds.sort_unstable();
        seeds
    }

    #[test]
    fn the_last_seeds_are_run_once_and_none_after_them() {
        let last = u64::MAX;
        let suite = Suite {
            profile: "calm".parse().unwrap(),
            seeds: last - 3..last,
            shard: Shard::default(),
            jobs: 2,
            check_determinism: false,
        };
        assert_eq!(seeds_of(&suite, 20), [last - 3, last - 2, last - 1]);
        let part = Suite { shard: Shard { index: 1, of: 2 }, ..suite.clone() };
        assert_eq!(seeds_of(&part, 20), [last - 2]);
        let none = Suite { shard: Shard { index: 5, of: 6 }, ..suite };
        assert_eq!(seeds_of(&none, 20), [0_u64; 0]);
    }
}
