//! Less chance: what chance decided about frames and links is stated by steps, most of which are not needed.

use super::cost::Cost;
use super::{Shrinker, Target};
use crate::facts::Facts;
use crate::plan::{Act, Plan, Step};

/// With more decisions of chance than this, stating them would take longer than it is worth.
const MOST_STATED: usize = 2_000;

impl Shrinker<'_> {
    pub(super) fn state_chance(&mut self) {
        let network = &self.plan.setup.network;
        if network.loss_ppm + network.duplicate_ppm + network.reorder_ppm + network.corrupt_ppm > 0 {
            self.state(
                |step| matches!(step.act, Act::Frame { .. }),
                |plan| {
                    let network = &mut plan.setup.network;
                    (network.loss_ppm, network.duplicate_ppm) = (0, 0);
                    (network.reorder_ppm, network.corrupt_ppm) = (0, 0);
                },
            );
        }
        if self.plan.setup.network.link_life_ms.is_some() {
            self.state(
                |step| matches!(step.act, Act::Break { .. }),
                |plan| plan.setup.network.link_life_ms = None,
            );
        }
    }

    /// Replaces what chance decided by steps, and cuts these down; goes back if that is not simpler.
    fn state(&mut self, kind: impl Fn(&Step) -> bool, calm: impl FnOnce(&mut Plan)) {
        let mut facts = Facts::default();
        (self.judge)(&self.plan, Some(&mut facts));
        self.executions += 1;
        let stated: Vec<Step> = facts.chance.into_iter().filter(|step| kind(step)).collect();
        if stated.len() > MOST_STATED || self.tired() {
            return;
        }
        let before = (self.plan.clone(), self.failure.clone(), self.cost.clone());
        let mut plan = self.plan.clone();
        calm(&mut plan);
        let acts: Vec<Act> = stated.iter().map(|step| step.act.clone()).collect();
        plan.steps.extend(stated);
        plan.steps.sort_by_key(|step| step.at);
        self.executions += 1;
        let failure = (self.judge)(&plan, None).filter(|failure| Target::of(failure) == self.target);
        let Some(failure) = failure else { return };
        (self.cost, self.plan, self.failure) = (Cost::of(&plan), plan, failure);
        self.drop_steps_that(&|step| acts.contains(&step.act));
        if self.cost >= before.2 {
            (self.plan, self.failure, self.cost) = before;
        }
    }
}
