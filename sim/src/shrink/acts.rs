//! Plainer acts of an application: smaller numbers, shorter lists. What an act means is for the application to say;
//! what is none any more is passed over, so whatever fails in the same way will do.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Shrinker;
use super::numbers::{roughness, rounder};
use crate::plan::{Act, Plan, Setup, Step};

/// So many acts, at most, are tried at the same moment.
const MOST_AT_ONCE: usize = 5;

impl Shrinker<'_> {
    /// The same number smaller in all acts at once: what was delivered must still be as much as what was sold.
    pub(super) fn smaller_acts(&mut self) {
        let acts = |plan: &mut Plan, what: &dyn Fn(&mut Value)| {
            for step in &mut plan.steps {
                if let Act::App { act, .. } = &mut step.act {
                    what(act);
                }
            }
        };
        let mut paths = BTreeSet::new();
        for step in &self.plan.steps {
            if let Act::App { act, .. } = &step.act {
                numbers(act, "", &mut paths);
            }
        }
        let plan = self.plan.clone();
        let all: Vec<Option<&String>> = [None].into_iter().chain(paths.iter().map(Some)).collect();
        let candidates = all.into_iter().flat_map(|path| [0, 1, 2].map(move |most| (path, most)));
        self.first(candidates.map(|(path, most)| {
            let mut plan = plan.clone();
            acts(&mut plan, &|act| match path {
                Some(path) => act.pointer_mut(path).into_iter().for_each(|number| cap(number, most)),
                None => cap(act, most),
            });
            plan
        }));
    }

    /// The last acts at the same moment, and nothing goes wrong: mostly it takes no more for two users to get into
    /// each other's way.
    pub(super) fn acts_at_once(&mut self) {
        let plan = self.plan.clone();
        let is_act = |step: &&Step| matches!(step.act, Act::App { .. });
        let all = plan.steps.iter().filter(is_act).count();
        let candidates = (2..=all.min(MOST_AT_ONCE)).map(|count| {
            let mut plan = calm(&plan, |act| brings_together(act) || matches!(act, Act::App { .. }));
            let last: Vec<u64> = plan.steps.iter().filter(is_act).rev().take(count).map(|it| it.at).collect();
            let (first, end) = (last.last().copied().unwrap_or(0), plan.steps.last().map_or(0, |it| it.at));
            let acts = plan.steps.iter_mut().filter(|step| matches!(step.act, Act::App { .. }));
            acts.filter(|step| step.at >= first).for_each(|step| step.at = end);
            plan.steps.sort_by_key(|step| step.at);
            plan
        });
        self.first(candidates);
    }

    /// One act, by two users at the same moment, and nothing else: whatever else they may do, that is the simplest way to
    /// get into each other's way.
    pub(super) fn same_act_at_once(&mut self) {
        let plan = self.plan.clone();
        let acts = plan.steps.iter().filter_map(|step| match &step.act {
            Act::App { replica, act } => Some((*replica, act)),
            _ => None,
        });
        let acts: Vec<_> = acts.collect();
        let users: BTreeSet<_> = acts.iter().map(|(user, _)| *user).collect();
        let (end, together) = (plan.steps.last().map_or(0, |it| it.at), calm(&plan, brings_together));
        let candidates =
            acts.iter().flat_map(|(user, act)| users.iter().map(move |other| (*user, *other, *act)));
        let candidates = candidates.filter(|(user, other, _)| user != other);
        self.first(candidates.map(|(user, other, act)| {
            let mut plan = together.clone();
            let act = |replica| Step { at: end, act: Act::App { replica, act: act.clone() } };
            plan.steps.extend([act(user), act(other)]);
            plan
        }));
    }

    pub(super) fn plainer_act(&mut self, place: usize) {
        loop {
            let step = &self.plan.steps[place];
            let Act::App { replica, act } = &step.act else { return };
            let (at, replica) = (step.at, *replica);
            let plainer = plainer(act);
            let steps = plainer.into_iter().map(|act| Step { at, act: Act::App { replica, act } });
            let plans: Vec<_> = steps.filter_map(|step| self.with_step(place, step)).collect();
            if self.first(plans).is_none() {
                return;
            }
        }
    }
}

/// Whether it is one of the steps by which devices come together.
fn brings_together(act: &Act) -> bool {
    matches!(act, Act::Create { .. } | Act::Invite { .. } | Act::Join { .. })
}

/// Some steps of a plan, and nothing goes wrong.
fn calm(plan: &Plan, keeps: impl Fn(&Act) -> bool) -> Plan {
    let mut plan = plan.clone();
    plan.setup = Setup::calm(plan.setup.replicas, plan.setup.safety_ms);
    plan.steps.retain(|step| keeps(&step.act));
    plan
}

/// Where the numbers of an act are.
fn numbers(act: &Value, path: &str, found: &mut BTreeSet<String>) {
    match act {
        Value::Number(_) => {
            found.insert(path.to_owned());
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(at, value)| numbers(value, &format!("{path}/{at}"), found));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| numbers(value, &format!("{path}/{name}"), found));
        }
        _ => {}
    }
}

/// Makes every number at most so large.
fn cap(act: &mut Value, most: u64) {
    match act {
        Value::Number(number) if number.as_u64().is_some_and(|it| it > most) => *act = most.into(),
        Value::Array(values) => values.iter_mut().for_each(|value| cap(value, most)),
        Value::Object(fields) => fields.values_mut().for_each(|value| cap(value, most)),
        _ => {}
    }
}

/// How far an act is from the plainest.
pub(super) fn effort(act: &Value) -> u64 {
    match act {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(whole), _) => roughness(whole),
            (None, Some(below)) => roughness(below.unsigned_abs()) + 1,
            _ => 1,
        },
        Value::String(text) => 1 + text.len() as u64,
        Value::Array(values) => values.iter().map(|value| 1 + effort(value)).sum(),
        Value::Object(fields) => fields.values().map(|value| 1 + effort(value)).sum(),
    }
}

/// What an act could be instead, one thing changed in each.
fn plainer(act: &Value) -> Vec<Value> {
    match act {
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(whole), _) => rounder(whole).into_iter().map(Value::from).collect(),
            (None, Some(below)) => {
                let above = below.unsigned_abs();
                let rounder = rounder(above).into_iter().filter_map(|it| i64::try_from(it).ok());
                [Value::from(above)].into_iter().chain(rounder.map(|it| Value::from(-it))).collect()
            }
            _ => vec![Value::from(0)],
        },
        Value::Array(values) => {
            let without = (0..values.len()).rev().map(|index| {
                let mut fewer = values.clone();
                fewer.remove(index);
                Value::Array(fewer)
            });
            let inside = values.iter().enumerate().flat_map(|(index, value)| {
                plainer(value).into_iter().map(move |plain| {
                    let mut values = values.clone();
                    values[index] = plain;
                    Value::Array(values)
                })
            });
            without.chain(inside).collect()
        }
        Value::Object(fields) => {
            let inside = fields.iter().flat_map(|(name, value)| {
                plainer(value).into_iter().map(move |plain| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), plain);
                    Value::Object(fields)
                })
            });
            inside.collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_number_and_each_list_may_become_plainer_by_itself() {
        let act = json!({ "sell": { "item": 0, "counts": [7, 1] } });
        let plainer = plainer(&act);
        for wanted in [
            json!({ "sell": { "item": 0, "counts": [7] } }),
            json!({ "sell": { "item": 0, "counts": [0, 1] } }),
            json!({ "sell": { "item": 0, "counts": [7, 0] } }),
        ] {
            assert!(plainer.contains(&wanted), "{wanted} is not in {plainer:?}");
        }
    }

    #[test]
    fn numbers_are_found_and_capped_wherever_they_are() {
        let mut act = json!({ "sell": { "item": 0, "counts": [7, -1, 2] }, "who": "me" });
        let mut found = BTreeSet::new();
        numbers(&act, "", &mut found);
        let paths = ["/sell/item", "/sell/counts/0", "/sell/counts/1", "/sell/counts/2"];
        assert_eq!(found, paths.map(str::to_owned).into());
        cap(&mut act, 1);
        assert_eq!(act, json!({ "sell": { "item": 0, "counts": [1, -1, 1] }, "who": "me" }));
    }

    #[test]
    fn smaller_numbers_and_shorter_lists_take_less_effort() {
        let effort = |act: Value| effort(&act);
        assert!(effort(json!(0)) < effort(json!(1)) && effort(json!(1)) < effort(json!(17)));
        assert!(effort(json!([1])) < effort(json!([1, 0])));
        assert!(effort(json!(3)) < effort(json!(-3)));
    }
}
