//! Times that can be read: a second between any two steps, or at least something round.

use super::Shrinker;
use super::cost::PLAIN_GAP;
use super::numbers::{roughness, rounder};
use crate::plan::{Act, Plan};

/// Up to so many gaps, windows of them are closed: there are about half as many windows as their square.
const MOST_TIGHTENED: usize = 14;

/// How long it is from each step to the next, and from the last to the end of the safety phase. Steps that
/// decide the fate of a frame have no time of their own.
pub(super) fn gaps(plan: &Plan) -> Vec<u64> {
    let mut last = 0;
    let times = timed(plan).into_iter().map(|place| plan.steps[place].at).chain([plan.setup.safety_ms]);
    times.map(|at| at.saturating_sub(std::mem::replace(&mut last, at))).collect()
}

fn timed(plan: &Plan) -> Vec<usize> {
    let steps = plan.steps.iter().enumerate();
    steps.filter(|(_, step)| !matches!(step.act, Act::Frame { .. })).map(|(place, _)| place).collect()
}

impl Plan {
    /// The same steps with these gaps.
    fn with_gaps(mut self, gaps: &[u64]) -> Plan {
        let mut at = 0;
        for (place, gap) in timed(&self).into_iter().zip(gaps) {
            at += gap;
            self.steps[place].at = at;
        }
        self.setup.safety_ms = at + gaps.last().copied().unwrap_or(PLAIN_GAP);
        self.steps.sort_by_key(|step| match step.act {
            Act::Frame { .. } => 0,
            _ => step.at,
        });
        self
    }
}

impl Shrinker<'_> {
    pub(super) fn round_times(&mut self) {
        let mut plan = self.plan.clone();
        plan.steps
            .iter_mut()
            .filter(|step| matches!(step.act, Act::Frame { .. }))
            .for_each(|step| step.at = 0);
        plan.steps.sort_by_key(|step| step.at);
        if plan != self.plan {
            self.one(plan);
        }
        let count = gaps(&self.plan).len();
        let even = self.plan.clone().with_gaps(&vec![PLAIN_GAP; count]);
        // With more time in the end for what was begun.
        let mut patient = even.clone();
        patient.setup.safety_ms += 9 * PLAIN_GAP;
        if self.first([even, patient]).is_none() {
            for place in 0..count {
                self.round_gap(place);
            }
        }
        let plan = self.plan.clone();
        self.first((0..plan.seed.min(3)).map(|seed| Plan { seed, ..plan.clone() }));
    }

    /// Instead of a fault of the surroundings, such as a slow disk, some steps that follow each other at once.
    pub(super) fn tighten(&mut self) {
        let count = gaps(&self.plan).len();
        if count > MOST_TIGHTENED {
            return;
        }
        let plan = self.plan.clone();
        let gaps = gaps(&plan);
        // From the longest window to the shortest: the gaps from one step to another are closed.
        let windows =
            (1..count).rev().flat_map(|length| (1..count - length).rev().map(move |from| (from, length)));
        let windows: Vec<(usize, usize)> = windows.collect();
        for calmer in self.calmer_setups() {
            let candidates = windows.iter().map(|(from, length)| {
                let mut gaps = gaps.clone();
                gaps[*from..from + length].fill(0);
                Plan { setup: calmer.clone(), ..plan.clone() }.with_gaps(&gaps)
            });
            if self.first(candidates).is_some() {
                return;
            }
        }
    }

    /// Only the last steps, right at the start, when processes have just begun.
    pub(super) fn start_at_once(&mut self) {
        let plan = self.plan.clone();
        let places = timed(&plan);
        let candidates = places.iter().skip(1).rev().map(|first| {
            let mut later = plan.clone();
            later.steps.drain(..first);
            let mut gaps = gaps(&later);
            gaps[0] = 1;
            later.with_gaps(&gaps)
        });
        self.first(candidates);
    }

    fn round_gap(&mut self, place: usize) {
        let plan = self.plan.clone();
        let gaps = gaps(&plan);
        let Some(gap) = gaps.get(place).copied() else { return };
        let mut others = vec![PLAIN_GAP];
        others.extend(rounder(gap));
        others.sort_by_key(|gap| if *gap == PLAIN_GAP { 0 } else { roughness(*gap).max(1) });
        self.first(others.into_iter().filter(|other| *other != gap).map(|other| {
            let mut gaps = gaps.clone();
            gaps[place] = other;
            plan.clone().with_gaps(&gaps)
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moved_by_what_lies_between_them() {
        let plan: Plan = concat!(
            r#"{"plan":1,"seed":1,"setup":{"replicas":2,"safety_ms":5000}}"#,
            "\n",
            r#"{"at":0,"do":"frame","from":0,"to":1,"nth":3,"fate":"lose"}"#,
            "\n",
            r#"{"at":1200,"do":"crash","replica":1}"#,
            "\n",
            r#"{"at":3000,"do":"restart","replica":1,"shown":true}"#,
        )
        .parse()
        .unwrap();
        assert_eq!(gaps(&plan), [1_200, 1_800, 2_000]);
        assert_eq!(plan.clone().with_gaps(&gaps(&plan)), plan);
        let other = plan.with_gaps(&[10, 20, 30]);
        assert_eq!((other.steps[1].at, other.steps[2].at, other.setup.safety_ms), (10, 30, 60));
    }
}
