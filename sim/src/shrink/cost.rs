//! How simple a plan is.

use serde_json::Value;

use super::numbers::roughness;
use crate::plan::{Act, Plan, differences};

/// What chance decides again and again weighs as much as so many stated decisions.
const CHANCE: usize = 3;
/// What any two steps may have between them without a word, in milliseconds.
pub(super) const PLAIN_GAP: u64 = 1_000;

/// What a shrinker minimises, the weightiest first. Each candidate that is taken is below the one before, so
/// shrinking comes to an end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    /// Decisions.
    size: usize,
    /// How far what steps say is from what they usually say.
    details: u64,
    /// How much is written, and how uneven that is.
    bytes: u64,
    /// How uneven times are.
    times: u64,
    /// How long the faults last.
    safety_ms: u64,
    seed: u64,
}

/// How many decisions a plan states: each replica, each step (a batch counts once for each change and each
/// precondition), and each field of the setup that is not calm, three times where it leaves frames or links to
/// chance.
pub fn size(plan: &Plan) -> usize {
    let steps: usize = plan.steps.iter().map(|step| weight(&step.act)).sum();
    plan.setup.replicas + steps + deviations(plan)
}

fn weight(act: &Act) -> usize {
    match act {
        Act::Write { changes, require, .. } => (changes.len() + require.len()).max(1),
        _ => 1,
    }
}

/// The fields of the setup that are not calm.
fn deviations(plan: &Plan) -> usize {
    let Ok(Value::Object(setup)) = differences(&plan.setup) else { return 0 };
    let field = |(name, value): (&String, &Value)| match value {
        Value::Array(numbers) if name == "skew_ms" || name == "drift_ppm" => {
            numbers.iter().filter(|wrong| **wrong != 0).count()
        }
        Value::Array(replicas) if name == "hostile" || name == "call_only" => replicas.len(),
        _ if name.ends_with("_ppm") || name == "link_life_ms" => CHANCE,
        _ => 1,
    };
    setup
        .iter()
        .map(|(name, value)| match value {
            Value::Object(fields) => fields.iter().map(field).sum(),
            value => field((name, value)),
        })
        .sum()
}

impl Cost {
    pub(super) fn of(plan: &Plan) -> Self {
        let (mut details, mut bytes) = (setup_roughness(plan), 0);
        for step in &plan.steps {
            details += super::details::effort(&step.act);
            if let Act::Write { changes, .. } = &step.act {
                bytes += changes
                    .iter()
                    .filter_map(|edit| edit.what.bytes())
                    .map(|it| roughness(it.into()))
                    .sum::<u64>();
            }
        }
        let safety_ms = plan.setup.safety_ms;
        let uneven = |gap: u64| if gap == PLAIN_GAP { 0 } else { roughness(gap).max(1) };
        let times = super::times::gaps(plan).into_iter().map(uneven).sum();
        Self { size: size(plan), details, bytes, times, safety_ms, seed: plan.seed }
    }
}

/// How rough the numbers are in what is not calm.
fn setup_roughness(plan: &Plan) -> u64 {
    fn sum(value: &Value) -> u64 {
        match value {
            Value::Number(number) => {
                roughness(number.as_u64().or(number.as_i64().map(i64::unsigned_abs)).unwrap_or(0))
            }
            Value::Array(values) => values.iter().map(sum).sum(),
            Value::Object(fields) => fields.values().map(sum).sum(),
            _ => 0,
        }
    }
    differences(&plan.setup).map_or(0, |value| sum(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(header: &str, steps: &[&str]) -> Plan {
        format!("{header}\n{}", steps.join("\n")).parse().unwrap()
    }

    #[test]
    fn a_plan_counts_its_replicas_its_steps_and_what_is_not_calm() {
        let calm = r#"{"plan":1,"seed":1,"setup":{"replicas":2,"safety_ms":5000}}"#;
        assert_eq!(size(&plan(calm, &[])), 2);
        let write = r#"{"at":1000,"do":"write","replica":0,"text":1,"changes":["g0/c0/k0=1","g0/c0/k1-"]}"#;
        assert_eq!(size(&plan(calm, &[write, r#"{"at":2000,"do":"heal"}"#])), 5);
        let rough = calm.replace(
            "5000",
            r#"5000,"skew_ms":[0,7],"network":{"loss_ppm":9,"callback":false},"disk":{"sync_ms":[1,9]}"#,
        );
        assert_eq!(size(&plan(&rough, &[])), 2 + 1 + 3 + 1 + 1);
    }

    #[test]
    fn fewer_decisions_count_more_than_round_numbers() {
        let header = r#"{"plan":1,"seed":1,"setup":{"replicas":2,"safety_ms":5000}}"#;
        let cost = |steps: &[&str]| Cost::of(&plan(header, steps));
        let rough = cost(&[r#"{"at":1234,"do":"crash","replica":1,"keep":3}"#]);
        let round = cost(&[r#"{"at":1000,"do":"crash","replica":1,"keep":3}"#]);
        let plain = cost(&[r#"{"at":1000,"do":"crash","replica":1}"#]);
        let two = cost(&[r#"{"at":1000,"do":"heal"}"#, r#"{"at":2000,"do":"heal"}"#]);
        assert!(plain < round && round < rough && rough < two);
    }
}
