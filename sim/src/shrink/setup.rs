//! Calmer surroundings. Fields are found by their names in the text of a plan, so that this need not know them.

use serde_json::Value;

use super::Shrinker;
use super::numbers::rounder;
use crate::plan::{Plan, Setup, differences};

impl Shrinker<'_> {
    /// Everything calm; else each field calm, or at least rounder.
    pub(super) fn calm_setup(&mut self) {
        let setup = &self.plan.setup;
        let calm = Setup::calm(setup.replicas, setup.safety_ms);
        let mut plan = self.plan.clone();
        plan.setup = calm.clone();
        if self.one(plan) {
            return;
        }
        let Ok(calm) = serde_json::to_value(calm) else { return };
        let Ok(now) = differences(&self.plan.setup) else { return };
        // Whole groups first, such as all of the network.
        for path in paths(&now, 1).into_iter().chain(paths(&now, 2)) {
            if let Some(plan) = calm.pointer(&path).and_then(|value| self.with(&path, value.clone())) {
                self.one(plan);
            }
        }
        let Ok(now) = differences(&self.plan.setup) else { return };
        for path in paths(&now, 2) {
            if let Some(value) = now.pointer(&path) {
                let plans: Vec<Plan> =
                    plainer(value).into_iter().filter_map(|value| self.with(&path, value)).collect();
                self.first(plans);
            }
        }
    }

    /// Setups in which one thing more is calm.
    pub(super) fn calmer_setups(&self) -> Vec<Setup> {
        let setup = &self.plan.setup;
        let calm = serde_json::to_value(Setup::calm(setup.replicas, setup.safety_ms));
        let (Ok(calm), Ok(now)) = (calm, differences(setup)) else { return Vec::new() };
        let calmer = |path: &String| Some(self.with(path, calm.pointer(path)?.clone())?.setup);
        paths(&now, 2).iter().filter_map(calmer).collect()
    }

    /// The plan with another value in its setup.
    fn with(&self, path: &str, value: Value) -> Option<Plan> {
        let mut setup = serde_json::to_value(&self.plan.setup).ok()?;
        *setup.pointer_mut(path)? = value;
        let setup = serde_json::from_value(setup).ok()?;
        Some(Plan { setup, ..self.plan.clone() })
    }
}

/// The places in an object, down to some depth.
fn paths(value: &Value, depth: usize) -> Vec<String> {
    let Value::Object(fields) = value else { return vec![String::new()] };
    if depth == 0 {
        return vec![String::new()];
    }
    let told = fields.iter();
    told.flat_map(|(name, value)| {
        paths(value, depth - 1).into_iter().map(move |rest| format!("/{name}{rest}"))
    })
    .collect()
}

/// Values to try instead of one.
fn plainer(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => match number.as_u64() {
            Some(number) => rounder(number).into_iter().map(Value::from).collect(),
            None => Vec::new(),
        },
        // The shortest and the longest time: leave chance no choice.
        Value::Array(values) if values.len() == 2 && values.iter().all(Value::is_u64) => {
            let most = values.iter().filter_map(Value::as_u64).max().unwrap_or(0);
            let mut same: Vec<u64> = rounder(most);
            same.extend(values.iter().filter_map(Value::as_u64));
            same.into_iter().map(|number| Value::from(vec![number, number])).collect()
        }
        // One clock right after the other; else rounder ones.
        Value::Array(values) => {
            let wrong = (0..values.len()).filter(|index| values[*index] != 0);
            let with = |index: usize, value: i64| {
                let mut values = values.clone();
                values[index] = value.into();
                Value::from(values)
            };
            wrong
                .flat_map(|index| {
                    let old = values[index].as_i64().unwrap_or(0);
                    let rounder = rounder(old.unsigned_abs()).into_iter();
                    rounder.map(move |size| with(index, (size as i64).saturating_mul(old.signum())))
                })
                .collect()
        }
        _ => Vec::new(),
    }
}
