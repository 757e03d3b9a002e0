//! One run: a plan is executed, in two phases, until it is done or a rule is broken.
//!
//! 1. *Safety*: the steps of the plan, with all its faults. What must always be true is checked all the time.
//! 2. *Liveness*: the faults end, everybody runs and is within reach. Now all must come to agree within
//!    [`Setup::liveness_ms`](crate::plan::Setup::liveness_ms), and then be quiet.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::app::Hosted;
use crate::coverage::{Coverage, Point};
use crate::facts::Facts;
use crate::oracle::{Checked, Oracle, Violation};
use crate::page::Recording;
use crate::plan::{Plan, Setup, Step, Waits};
use crate::trace::{Trace, TraceLine};
use crate::world::{LONGEST_THOUGHT, Sabotage, World};

/// How often it is asked in the liveness phase whether all agree, in milliseconds.
const ASK_EVERY: u64 = 1_000;
/// How many frames two replicas may exchange to find out what they lack, and how many a part of a batch may take
/// to get to a replica.
const FRAMES_PER_PAIR: u64 = 60;
const FRAMES_PER_PART: u64 = 20;
/// How long nothing may be sent once all agree.
const QUIET: u64 = 600_000;
/// Frames of two that hold different branches, for each time that they may ask each other.
const FRAMES_PER_QUESTION: u64 = 8;

/// Something of the embedder's that must be true at any time: `Err` says what is wrong. Shrinking asks it from
/// several threads.
pub type Invariant<'i> = dyn Fn(&World<'_>) -> Result<(), String> + Sync + 'i;

/// How to execute a plan.
#[derive(Default)]
pub struct Options<'o> {
    /// Takes the trace.
    pub trace: Option<&'o mut TraceLine<'o>>,
    /// Takes what the page of the run shows.
    pub record: Option<&'o mut Recording>,
    /// Stop at this moment of virtual time.
    pub until: Option<u64>,
    /// What else must be true, by name.
    pub invariants: &'o [(String, Box<Invariant<'o>>)],
    /// What is broken on purpose.
    pub sabotage: Option<Sabotage>,
    /// Takes what became of the plan.
    pub facts: Option<&'o mut Facts>,
    /// The application under test.
    pub app: Option<&'o dyn Hosted>,
    /// Leave out the digest of the trace: to measure what it costs.
    pub without_digest: bool,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("until", &self.until)
            .field("sabotage", &self.sabotage)
            .finish_non_exhaustive()
    }
}

/// What came out of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The seed of its plan.
    pub seed: u64,
    /// The rule that was broken, if one was.
    pub failure: Option<Failure>,
    /// Why the run means little even if nothing failed.
    pub vacuous: Option<&'static str>,
    /// Equal for equal runs, and for no others.
    pub digest: Digest,
    /// How much happened.
    pub figures: Figures,
    /// What was exercised.
    pub coverage: Coverage,
    /// The points of an application that were reached, and how often: see [`crate::app`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sometimes: BTreeMap<String, u64>,
}

/// How much happened in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Replicas.
    pub replicas: u64,
    /// Events that were given to cores.
    pub events: u64,
    /// Frames that were sent.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Batches acknowledged as safe; one over several syncgroups counts once.
    pub batches: u64,
    /// Virtual time in milliseconds.
    pub virtual_ms: u64,
    /// How long after the end of the faults all agreed, in milliseconds of virtual time.
    pub agreed_after_ms: u64,
}

/// A digest of everything that went into the cores and came out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A rule that was broken, and where in the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The rule.
    pub violation: Violation,
    /// The moment of virtual time, in milliseconds.
    pub at: u64,
    /// Whether the faults had ended.
    pub healed: bool,
    /// The step of the plan that had been taken last, counted from 0.
    pub step: Option<(usize, Step)>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { oracle, rule, replicas, what } = &self.violation;
        let phase = if self.healed { "liveness" } else { "safety" };
        writeln!(f, "  rule      {rule}, by the oracle of {oracle}")?;
        writeln!(f, "  replicas  {replicas:?}")?;
        writeln!(f, "  time      {} ms, in the {phase} phase", self.at)?;
        if let Some((index, step)) = &self.step {
            let step = serde_json::to_string(step).map_err(|_| fmt::Error)?;
            writeln!(f, "  after     step {index}: {step}")?;
        }
        write!(f, "  seen      {what}")
    }
}

/// Executes a plan.
pub fn execute<'o>(plan: &'o Plan, options: Options<'o>) -> Outcome {
    let Options { trace, until, invariants, sabotage, facts, record, app, without_digest } = options;
    let trace = Trace::new(trace, record);
    let trace = if without_digest { trace.without_digest() } else { trace };
    let mut world = World::new(plan, trace, sabotage, app);
    if facts.is_some() {
        world.take_notes();
    }
    let mut agreed_after = 0;
    let result = phases(&mut world, plan, until, invariants, &mut agreed_after);
    let (frames, bytes) = world.traffic();
    let failure = result.err().map(|violation| Failure {
        violation,
        at: world.now_ms(),
        healed: world.healed(),
        step: plan.steps.get(world.step()).map(|step| (world.step(), step.clone())),
    });
    let figures = Figures {
        replicas: plan.setup.replicas as u64,
        events: world.events(),
        frames,
        bytes,
        batches: world.safe_batches(),
        virtual_ms: world.now_ms(),
        agreed_after_ms: agreed_after,
    };
    let vacuous = vacuous(world.coverage(), &figures);
    let coverage = world.coverage().clone();
    if let (Some(facts), Some(notes)) = (facts, world.notes()) {
        *facts = notes;
    }
    let sometimes = world.application().map(|it| it.sometimes().clone()).unwrap_or_default();
    let digest = Digest(world.digest());
    Outcome { seed: plan.seed, failure, vacuous, digest, figures, coverage, sometimes }
}

fn phases(
    world: &mut World<'_>,
    plan: &Plan,
    until: Option<u64>,
    invariants: &[(String, Box<Invariant<'_>>)],
    agreed_after: &mut u64,
) -> Checked {
    let end = until.unwrap_or(u64::MAX);
    let setup = &plan.setup;
    let mut invariant = |world: &World<'_>| check(invariants, world);
    world.start()?;
    world.run_until(setup.safety_ms.min(end), &mut invariant)?;
    if end <= setup.safety_ms {
        return Ok(());
    }
    world.people_go_home();
    world.heal()?;
    let deadline = setup.safety_ms + setup.liveness_ms;
    let (before, _) = world.traffic();
    loop {
        let next = world.now_ms() + ASK_EVERY;
        world.run_until(next.min(end), &mut invariant)?;
        if end <= next {
            return Ok(());
        }
        // Whoever waits in vain may do so; but what it waits for may be on its way.
        let may_wait_yet =
            next < setup.safety_ms + world.longest_wait(|it| it.patience_max).min(setup.liveness_ms / 2);
        match world.agreed() {
            Ok(()) if may_wait_yet && world.anybody_waits() => {}
            // What cannot be taken yet will be asked for until it can.
            Ok(()) if next < deadline && world.awaits_its_time() => {}
            Ok(()) => break,
            Err(violation) if next >= deadline => return Err(violation),
            Err(_) => {}
        }
    }
    *agreed_after = world.now_ms() - setup.safety_ms;
    thrift(setup, world, before, *agreed_after)?;
    world.expel_hostile();
    world.watchers_catch_up()?;
    world.settled()?;
    world.application_settled()?;
    invariant(world)?;
    rest(world, setup, end, &mut invariant)?;
    if end <= world.now_ms() {
        // It was cut short: something may be on its way that was not there when all agreed.
        return Ok(());
    }
    world.watchers_catch_up()?;
    world.agreed()?;
    world.settled()?;
    world.verified()?;
    world.application_settled()?;
    invariant(world)
}

/// To agree took no more frames than there was a reason for: for each pair of replicas some to begin with and
/// one a second, and for each part of a batch some for each replica (S-22).
fn thrift(setup: &Setup, world: &World<'_>, before: u64, took_ms: u64) -> Checked {
    let (after, _) = world.traffic();
    let replicas = setup.replicas as u64;
    let most = 1_000
        + replicas * replicas * (FRAMES_PER_PAIR + took_ms / 1_000)
        + replicas * world.safe_parts() * FRAMES_PER_PART;
    if after - before > most {
        let what =
            format!("{} frames were sent until all agreed, {took_ms} ms after the faults", after - before);
        let replicas = (0..setup.replicas).collect();
        return Err(Violation { oracle: Oracle::Bounds, rule: "S-22", replicas, what });
    }
    Ok(())
}

/// All agree: after what is on its way has arrived and every wait is over, nobody sends anything (S-22), but for offers
/// that wait for an answer (S-33). Those who hold different branches of a log on which others have built do not agree,
/// and ask each other again, as rarely as anything is asked (S-26).
fn rest(
    world: &mut World<'_>,
    setup: &Setup,
    end: u64,
    invariant: &mut dyn FnMut(&World<'_>) -> Checked,
) -> Checked {
    let waits = |it: &Waits| 2 * (it.patience_max + it.redial_max + it.confirm + it.relay);
    // A conflict that was left open may be answered still: after as many turns as there are members.
    let turns = LONGEST_THOUGHT + setup.replicas as u64 * world.longest_wait(|it| it.resolve);
    let settle = 60_000 + world.longest_wait(waits) + turns;
    world.run_until((world.now_ms() + settle).min(end), invariant)?;
    let (before, mut apart) = (world.frames_between(), world.kept_apart());
    let quiet = world.now_ms() + QUIET;
    world.run_until(quiet.min(end), invariant)?;
    if end < quiet {
        return Ok(());
    }
    let wrong = |replicas, what| Err(Violation { oracle: Oracle::Convergence, rule: "S-22", replicas, what });
    // They may meet in between, and agree from then on.
    apart.extend(world.kept_apart());
    let mut sent = 0;
    for (pair, after) in world.frames_between() {
        let since = after - before.get(&pair).copied().unwrap_or(0);
        if !apart.contains(&pair) {
            sent += since;
        } else if since > FRAMES_PER_QUESTION * world.questions_within(QUIET, pair) {
            let what = format!("{since} frames were sent in {QUIET} ms by two that hold different branches");
            return wrong(vec![pair.0, pair.1], what);
        }
    }
    // Who was asked to take part and has not answered is asked again, as rarely as anything is tried.
    if sent > world.offers_within(QUIET) {
        let what = format!("{sent} frames were sent in {QUIET} ms although all agree");
        return wrong((0..setup.replicas).collect(), what);
    }
    Ok(())
}

fn check(invariants: &[(String, Box<Invariant<'_>>)], world: &World<'_>) -> Checked {
    for (name, invariant) in invariants {
        invariant(world).map_err(|what| Violation {
            oracle: Oracle::Invariant(name.clone()),
            rule: "the embedder's",
            replicas: Vec::new(),
            what,
        })?;
    }
    Ok(())
}

/// Why a run in which nothing failed means little.
fn vacuous(coverage: &Coverage, figures: &Figures) -> Option<&'static str> {
    if coverage.count(Point::Admitted) == 0 {
        Some("nobody was admitted to any syncgroup")
    } else if figures.batches < 3 {
        Some("fewer than three batches were written")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A conflict that was left open is answered after all have come to agree.
    const ANSWERED_LATE: &str = r#"
{"plan":1,"seed":104,"setup":{"replicas":2,"safety_ms":12000}}
{"at":1000,"do":"create","replica":1,"group":0}
{"at":2000,"do":"invite","replica":1,"group":0,"ticket":0}
{"at":3000,"do":"join","replica":0,"ticket":0}
{"at":7000,"do":"cut","from":[0],"to":[1]}
{"at":7000,"do":"write","replica":1,"text":4,"changes":["g0/c0/k1=5"]}
{"at":8000,"do":"write","replica":0,"text":1,"changes":["g0/c0/k0=1"]}
{"at":8000,"do":"write","replica":1,"text":2,"changes":["g0/c0/k0=2"]}
{"at":9000,"do":"heal"}
{"at":10000,"do":"change-schema","replica":1,"group":0,"collection":0,"changes":["k=defer"]}
{"at":11999,"do":"resolver","replica":0,"kind":"correct"}"#;

    #[test]
    fn a_run_that_is_cut_short_while_it_rests_is_not_judged_as_one_that_has_ended() {
        let plan: Plan = ANSWERED_LATE.trim_start().parse().unwrap();
        let whole = execute(&plan, Options::default());
        assert_eq!(whole.failure, None);
        let agreed = plan.setup.safety_ms + whole.figures.agreed_after_ms;
        // The answer is on its way for less than a tenth of a second.
        let answer = (agreed..agreed + 3_000).step_by(20);
        for until in answer.chain((agreed..whole.figures.virtual_ms).step_by(20_000)) {
            let part = execute(&plan, Options { until: Some(until), ..Options::default() });
            assert_eq!(part.failure, None, "until {until} ms");
            assert_eq!(part.figures.virtual_ms, until);
        }
    }

    /// What readers look at more often is added up more often.
    #[test]
    fn accounts_are_added_up_when_readers_look() {
        let sums = |safety_ms: u64| {
            let plan = format!(
                r#"{{"plan":1,"seed":1,"setup":{{"replicas":2,"safety_ms":{safety_ms}}}}}
{{"at":1000,"do":"create","replica":0,"group":0}}
{{"at":2000,"do":"transfer","replica":0,"group":0,"from":"c0/a0","to":"c0/a1","amount":1,"think_ms":0}}"#
            );
            let outcome = execute(&plan.parse().unwrap(), Options::default());
            assert_eq!(outcome.failure, None);
            outcome.coverage.count(Point::TotalKept)
        };
        let (few, many) = (sums(9_000), sums(900_000));
        assert!(few > 0 && many > few, "{few} sums, and {many} in a hundred times the time");
    }

    #[test]
    fn batches_are_counted_once_however_many_parts_they_have() {
        let plan = r#"{"plan":1,"seed":1,"setup":{"replicas":2,"safety_ms":9000}}
{"at":1000,"do":"create","replica":0,"group":0}
{"at":2000,"do":"create","replica":0,"group":1}
{"at":3000,"do":"write","replica":0,"text":1,"changes":["g0/c0/k0=3","g1/c0/k0=1"]}
{"at":4000,"do":"write","replica":0,"text":2,"changes":["g1/c0/k0=1"]}"#;
        let outcome = execute(&plan.parse().unwrap(), Options::default());
        assert_eq!((outcome.failure, outcome.figures.batches), (None, 2));
    }
}
