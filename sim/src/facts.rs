//! What became of a plan in a run, as far as the plan does not say it: what chance decided, what made no sense,
//! what was refused, what a crash took. Shrinking turns chance into steps by it, and stories tell it.

use std::collections::{BTreeMap, BTreeSet};

use driftless::inspect::{self, Frame};
use driftless::{DeviceId, SyncgroupId};

use crate::plan::{Act, Fate, Step};

/// What became of a plan in a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What chance decided before the faults ended, as the steps that decide the same.
    pub chance: Vec<Step>,
    /// The steps, by their place, that made no sense when their time came.
    pub passed_over: BTreeSet<usize>,
    /// What happened, in order.
    pub remarks: Vec<Remark>,
    /// The replicas' devices.
    pub devices: Vec<DeviceId>,
    /// The syncgroups that were made, by their labels.
    pub groups: BTreeMap<u8, SyncgroupId>,
}

/// Something that happened at a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// When, in milliseconds of virtual time.
    pub at: u64,
    /// Where.
    pub replica: usize,
    /// What.
    pub what: Happened,
}

/// What can happen, beyond what a plan says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happened {
    /// The process died.
    Died {
        /// How many commits were lost.
        lost: usize,
        /// Of how many that were not durable.
        at_risk: usize,
    },
    /// Its store failed, and it was closed.
    Failed,
    /// It started again by itself.
    Started,
    /// It was asked for something, and refused.
    Refused(String),
    /// It heard that its store was set back, and goes on as another author.
    HeardOfItself,
    /// A syncgroup came to another state there.
    State(SyncgroupId, String),
    /// A frame that it sent did not simply arrive.
    Frame {
        /// To whom.
        to: usize,
        /// The how-manyeth between the two in this direction, counted from 0.
        nth: u64,
        /// What is in it.
        kind: &'static str,
        /// What becomes of it.
        fate: Fate,
    },
}

impl Facts {
    /// Takes note of something that happened.
    pub(crate) fn remark(&mut self, at: u64, replica: usize, what: Happened) {
        self.remarks.push(Remark { at, replica, what });
    }

    /// Takes note of what chance has decided, as the step that decides the same.
    pub(crate) fn chose(&mut self, at: u64, act: Act) {
        self.chance.push(Step { at, act });
    }
}

/// What is in a frame.
pub(crate) fn kind(frame: &[u8]) -> &'static str {
    match inspect::frame(frame) {
        Some(Frame::Hello { .. }) => "hello",
        Some(Frame::Offer { .. }) => "offer",
        Some(Frame::Summary { .. }) => "summary",
        Some(Frame::Digests(_)) => "digests",
        Some(Frame::Pull(_)) => "pull",
        Some(Frame::Announce(_)) => "announce",
        Some(Frame::Introduction { .. }) => "introduction",
        Some(Frame::Deltas { .. }) => "deltas",
        Some(Frame::Join { .. }) => "join",
        Some(Frame::Joined { .. }) => "answer to a join",
        Some(Frame::Publish(_)) => "offers to take part",
        Some(Frame::Declined { .. } | Frame::NoneOffered) => "answer to an offer",
        Some(Frame::Forked { .. }) => "fork",
        Some(Frame::KeyEnded(_)) => "end of a key",
        _ => "garbage",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Plan, Profile};
    use crate::run::{Options, execute};

    fn facts(plan: &Plan) -> (crate::run::Outcome, Facts) {
        let mut facts = Facts::default();
        let outcome = execute(plan, Options { facts: Some(&mut facts), ..Options::default() });
        (outcome, facts)
    }

    #[test]
    fn steps_that_decide_what_chance_decided_make_the_same_run() {
        let profile: Profile = "harsh".parse().unwrap();
        for seed in 0..10 {
            let plan = Plan::draw(seed, &profile);
            let (by_chance, facts) = facts(&plan);
            assert_eq!(by_chance, execute(&plan, Options::default()), "taking notes changes nothing");
            let mut stated = plan.clone();
            let network = &mut stated.setup.network;
            (network.loss_ppm, network.duplicate_ppm, network.reorder_ppm) = (0, 0, 0);
            let frames = facts.chance.iter().filter(|step| matches!(step.act, Act::Frame { .. }));
            stated.steps.splice(0..0, frames.cloned());
            let stated = execute(&stated, Options::default());
            assert_eq!(stated.digest, by_chance.digest, "seed {seed}");
        }
    }

    #[test]
    fn a_step_without_effect_is_named() {
        let header = r#"{"plan":1,"seed":1,"setup":{"replicas":2,"safety_ms":5000}}"#;
        let steps = [
            r#"{"at":100,"do":"create","replica":0,"group":0,"database":0,"collections":1}"#,
            r#"{"at":200,"do":"write","replica":1,"text":1,"changes":["g0/c0/k0=1"]}"#,
            r#"{"at":300,"do":"write","replica":0,"text":1,"changes":["g0/c0/k0=1"]}"#,
            r#"{"at":400,"do":"restart","replica":0,"shown":true}"#,
            r#"{"at":500,"do":"crash","replica":0}"#,
            r#"{"at":600,"do":"crash","replica":0}"#,
        ];
        let plan: Plan = format!("{header}\n{}", steps.join("\n")).parse().unwrap();
        assert_eq!(facts(&plan).1.passed_over, [1, 3, 5].into());
    }
}
