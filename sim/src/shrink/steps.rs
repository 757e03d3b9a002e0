//! Fewer steps.

use std::collections::BTreeSet;

use super::Shrinker;
use crate::plan::{Act, Plan, Step};

/// Up to so many steps, pairs of them are tried: more would take too long, and need it less.
const MOST_PAIRED: usize = 24;

impl Shrinker<'_> {
    /// What comes after the failure cannot matter to it.
    pub(super) fn drop_what_comes_after(&mut self) {
        let at = self.failure.at;
        if self.failure.healed || at == 0 {
            return;
        }
        let mut plan = self.plan.clone();
        plan.steps.retain(|step| step.at <= at);
        let mut short = plan.clone();
        short.setup.safety_ms = at + 1;
        self.first([short, plan]);
    }

    /// All steps of a kind at once, of a replica, or of a syncgroup.
    pub(super) fn drop_kinds(&mut self) {
        let mut kinds: Vec<std::mem::Discriminant<Act>> = Vec::new();
        for step in &self.plan.steps {
            let kind = std::mem::discriminant(&step.act);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        for kind in kinds {
            let plan = self.without(|step| std::mem::discriminant(&step.act) == kind);
            self.one(plan);
        }
        for replica in 0..self.plan.setup.replicas {
            let plan = self.without(|step| step.act.replicas() == [replica]);
            self.one(plan);
        }
        for group in groups(&self.plan).into_iter().rev() {
            let plan = self.without(|step| step.act.groups() == BTreeSet::from([group]));
            self.one(plan);
        }
    }

    fn without(&self, what: impl Fn(&Step) -> bool) -> Plan {
        let mut plan = self.plan.clone();
        plan.steps.retain(|step| !what(step));
        plan
    }

    pub(super) fn drop_steps(&mut self) {
        self.drop_steps_that(&|_| true);
    }

    /// Delta debugging over those steps that may go: chunks of them, each size half of the one before, the
    /// last first, for what comes later depends on what comes earlier. Then single ones, until none can go.
    pub(super) fn drop_steps_that(&mut self, may_go: &dyn Fn(&Step) -> bool) {
        let mut chunk = self.places(may_go).len().div_ceil(2);
        while chunk > 0 && !self.tired() {
            let dropped = self.drop_chunks(chunk, may_go);
            if chunk > 1 || !dropped {
                chunk /= 2;
            }
        }
    }

    /// Goes once over the steps in chunks of this size. Says whether any could go.
    fn drop_chunks(&mut self, chunk: usize, may_go: &dyn Fn(&Step) -> bool) -> bool {
        let mut dropped = false;
        let mut end = self.places(may_go).len();
        while end > 0 && !self.tired() {
            let places = self.places(may_go);
            end = end.min(places.len());
            // From this end on down, chunk by chunk, lazily: what is behind the first success is not built.
            let plan = self.plan.clone();
            let ends: Vec<usize> = (1..=end).rev().step_by(chunk).collect();
            let candidates = ends.iter().map(|end| {
                let gone: BTreeSet<usize> = places[end.saturating_sub(chunk)..*end].iter().copied().collect();
                let mut plan = plan.clone();
                let mut place = 0;
                plan.steps.retain(|_| {
                    place += 1;
                    !gone.contains(&(place - 1))
                });
                plan
            });
            let Some(index) = self.first(candidates) else { break };
            dropped = true;
            end = ends[index].saturating_sub(chunk);
        }
        dropped
    }

    fn places(&self, may_go: &dyn Fn(&Step) -> bool) -> Vec<usize> {
        let steps = self.plan.steps.iter().enumerate();
        steps.filter(|(_, step)| may_go(step)).map(|(place, _)| place).collect()
    }

    /// Two steps at once: those that only make sense together, or undo each other.
    pub(super) fn drop_pairs(&mut self) {
        loop {
            let count = self.plan.steps.len();
            if count > MOST_PAIRED {
                return;
            }
            let pairs = (0..count).rev().flat_map(|two| (0..two).rev().map(move |one| (one, two)));
            let plan = self.plan.clone();
            let candidates = pairs.map(|(one, two)| {
                let mut plan = plan.clone();
                plan.steps.remove(two);
                plan.steps.remove(one);
                plan
            });
            if self.first(candidates).is_none() {
                return;
            }
        }
    }
}

/// The syncgroups that a plan names.
pub(super) fn groups(plan: &Plan) -> BTreeSet<u8> {
    plan.steps.iter().flat_map(|step| step.act.groups()).collect()
}

impl Act {
    /// The syncgroups that it names.
    pub(super) fn groups(&self) -> BTreeSet<u8> {
        self.clone().groups_mut().into_iter().map(|group| *group).collect()
    }

    /// The same, to give them other labels.
    pub(super) fn groups_mut(&mut self) -> Vec<&mut u8> {
        match self {
            Act::Create { group, .. }
            | Act::AddCollection { group, .. }
            | Act::Invite { group, .. }
            | Act::Leave { group, .. }
            | Act::Eject { group, .. }
            | Act::SetRights { group, .. }
            | Act::Publish { group, .. }
            | Act::Unpublish { group, .. }
            | Act::Accept { group, .. }
            | Act::Decline { group, .. }
            | Act::Describe { group, .. }
            | Act::Destroy { group, .. }
            | Act::AdmitUser { group, .. }
            | Act::Open { group, .. }
            | Act::Close { group, .. }
            | Act::EjectUser { group, .. }
            | Act::InviteDevice { group, .. }
            | Act::Enrol { group, .. }
            | Act::StrikeOff { group, .. }
            | Act::Schema { group, .. }
            | Act::ChangeSchema { group, .. }
            | Act::Transfer { group, .. }
            | Act::Watch { group, .. }
            | Act::Attack { group, .. } => vec![group],
            Act::Write { .. } => self.rows_mut().into_iter().map(|row| &mut row.group).collect(),
            _ => Vec::new(),
        }
    }

    /// The rows that it names.
    pub(super) fn rows_mut(&mut self) -> Vec<&mut crate::plan::RowLabel> {
        match self {
            Act::Write { changes, require, .. } => {
                let changed = changes.iter_mut().map(|edit| &mut edit.row);
                changed.chain(require.iter_mut().map(|require| &mut require.row)).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::plan::Plan;

    #[test]
    fn every_step_that_names_a_syncgroup_is_known_to() {
        let mut kinds = std::collections::BTreeSet::new();
        for profile in ["harsh", "policies", "people"].map(|name| name.parse().unwrap()) {
            for step in (0..20).flat_map(|seed| Plan::draw(seed, &profile).steps) {
                let Value::Object(fields) = serde_json::to_value(&step).unwrap() else { continue };
                let Some(group) = fields.get("group").and_then(Value::as_u64) else { continue };
                assert!(step.act.groups().contains(&(group as u8)), "{step:?}");
                kinds.insert(fields["do"].to_string());
            }
        }
        for kind in ["schema", "change-schema", "transfer", "watch", "attack", "create"] {
            assert!(kinds.contains(&format!("\"{kind}\"")), "{kind} is not in {kinds:?}");
        }
    }
}
