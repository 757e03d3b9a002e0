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
            if let (Some(value), Some(calm)) = (now.pointer(&path), calm.pointer(&path)) {
                let mut values = tighter(&path, value);
                values.extend(match &path[..] {
                    "/hostile" | "/network/call_only" => fewer(value),
                    "/skew_ms" | "/drift_ppm" => plainer(value, calm, false),
                    _ => plainer(value, calm, true),
                });
                let plans: Vec<Plan> =
                    values.into_iter().filter_map(|value| self.with(&path, value)).collect();
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

/// Limits that may become tighter than they were, because less is then needed to reach them; and the least that
/// still makes sense, as in plans that are drawn.
const LIMITS: &[(&str, u64)] =
    &[("/network/credit", 2_000), ("/network/bytes_per_ms", 8), ("/chunk_bytes", 300)];

/// Tighter limits to try instead of one.
fn tighter(path: &str, value: &Value) -> Vec<Value> {
    let least = LIMITS.iter().find(|(limit, _)| *limit == path).map(|(_, least)| *least);
    let (Some(least), Some(now)) = (least, value.as_u64()) else { return Vec::new() };
    let above = rounder(now).into_iter().filter(|limit| *limit > least);
    [least].into_iter().chain(above).filter(|limit| *limit < now).map(Value::from).collect()
}

/// Shorter lists to try instead of one: each without one of its elements.
fn fewer(value: &Value) -> Vec<Value> {
    let Value::Array(values) = value else { return Vec::new() };
    let without = |index: usize| {
        let mut values = values.clone();
        values.remove(index);
        Value::from(values)
    };
    (0..values.len()).map(without).collect()
}

/// Rounder values to try instead of one, which may be a range from a shortest to a longest time. Nothing becomes less calm than it was, except for limits: a plan that fails because its
/// surroundings are impossible, such as a link that takes no byte, would tell nothing.
fn plainer(value: &Value, calm: &Value, range: bool) -> Vec<Value> {
    match value {
        Value::Number(number) => match number.as_u64() {
            Some(number) => between(number, number, calm.as_u64()).into_iter().map(Value::from).collect(),
            None => Vec::new(),
        },
        // The shortest and the longest time: leave chance no choice.
        Value::Array(values) if range && values.len() == 2 => {
            let numbers: Vec<u64> = values.iter().filter_map(Value::as_u64).collect();
            let (Some(low), Some(high)) = (numbers.iter().min().copied(), numbers.iter().max().copied())
            else {
                return Vec::new();
            };
            let calm = calm.get(0).and_then(Value::as_u64);
            let mut same = between(low, high, calm);
            same.extend(numbers);
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
                    let rounder = between(old.unsigned_abs(), old.unsigned_abs(), Some(0)).into_iter();
                    rounder.map(move |size| with(index, (size as i64).saturating_mul(old.signum())))
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Round numbers within a range that is stretched to what is calm; without a number that is calm, above it.
fn between(low: u64, high: u64, calm: Option<u64>) -> Vec<u64> {
    let within = low.min(calm.unwrap_or(low))..=high.max(calm.unwrap_or(u64::MAX));
    rounder(high.max(calm.unwrap_or(high))).into_iter().filter(|number| within.contains(number)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_rounder_and_never_less_calm() {
        assert_eq!(tighter("/network/credit", &json!(9_500)), [json!(2_000), json!(5_000)]);
        let all = |value: Value, calm: Value| plainer(&value, &calm, true);
        assert_eq!(all(json!(4_321), json!(10_000)), [json!(5_000)]);
        assert_eq!(all(json!(43), json!(5)), [5, 10, 20].map(|it| json!(it)));
        assert_eq!(all(json!(43), json!(null)), [json!(50)]);
        assert_eq!(all(json!([2, 30]), json!([5, 5]))[..2], [json!([2, 2]), json!([5, 5])]);
        let skews = plainer(&json!([0, -70]), &json!([0, 0]), false);
        assert_eq!(skews, [0, -1, -2, -5].map(|skew| json!([0, skew])));
    }
}
