//! Plainer details: what steps say comes nearer to what they usually say.
//!
//! Like the setup, the fields of a step are found by their names in the text of a plan.

use serde_json::{Value, json};

use super::Shrinker;
use super::numbers::{roughness, rounder};
use crate::plan::{Act, Plan, Step, What};

/// Fields that say who or what is meant: other passes change them.
const NAMES: &[&str] = &[
    "at",
    "do",
    "replica",
    "peer",
    "a",
    "b",
    "from",
    "to",
    "group",
    "ticket",
    "nth",
    "text",
    "changes",
    "require",
    "collection",
    "members",
    "attack",
    "act",
];

/// The longest value that takes the place of several.
const LARGEST_WRITE: u64 = 20_000;

/// The fewest bytes that a frame of deltas still makes sense with, as in plans that are drawn.
const LEAST_CHUNK: u64 = 300;

/// What a field of a step usually says; of numbers 0, of what may be left out nothing.
fn usual(field: &str, value: &Value) -> Value {
    match (field, value) {
        ("rights", _) => json!("Write"),
        ("valid_ms", _) => json!(24 * 3_600_000),
        ("collections", _) => json!(1),
        ("both" | "shown" | "again", _) => json!(true),
        (_, Value::Bool(_)) => json!(false),
        ("keep" | "settings" | "page", _) => Value::Null,
        ("prefix", _) => json!(""),
        ("amount", _) => json!(1),
        (_, Value::Number(_)) => json!(0),
        _ => value.clone(),
    }
}

/// How far what a step says is from what such a step usually says.
pub(super) fn effort(act: &Act) -> u64 {
    let Ok(Value::Object(fields)) = serde_json::to_value(act) else { return 0 };
    let told = fields.iter().filter(|(name, _)| !NAMES.contains(&name.as_str()));
    let unusual: u64 = told.map(|(name, value)| distance(name, value)).sum();
    unusual + labels(act)
}

fn distance(field: &str, value: &Value) -> u64 {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| distance(name, value)).sum(),
        value if *value == usual(field, value) => 0,
        Value::Number(number) => 1 + roughness(size(number).1),
        Value::Array(values) => values.len() as u64,
        _ => 1,
    }
}

/// A number: what is before it, and how large it is.
fn size(number: &serde_json::Number) -> (i64, u64) {
    let whole = number.as_i64().unwrap_or(0);
    (whole.signum(), number.as_u64().unwrap_or(whole.unsigned_abs()))
}

/// Low labels are easier to tell apart than high ones.
fn labels(act: &Act) -> u64 {
    let mut act = act.clone();
    let groups: u64 = act.groups_mut().into_iter().map(|group| u64::from(*group)).sum();
    let rows: u64 =
        act.rows_mut().into_iter().map(|row| u64::from(row.collection) + u64::from(row.key)).sum();
    let own = match &act {
        Act::Invite { ticket, .. } | Act::Join { ticket, .. } => u64::from(*ticket),
        Act::InviteDevice { ticket, user, .. } | Act::JoinAs { ticket, user, .. } => {
            u64::from(*ticket) + u64::from(*user)
        }
        Act::AdmitUser { user, .. }
        | Act::EjectUser { user, .. }
        | Act::Enrol { user, .. }
        | Act::StrikeOff { user, .. } => u64::from(*user),
        Act::Write { text, require, .. } => {
            let stale = require.iter().filter(|require| !require.fresh).count();
            let ranges = require.iter().filter(|require| require.to.is_some()).count();
            text + 10 * (stale + ranges) as u64
        }
        Act::Cut { from, to, .. } => (from.len() + to.len()) as u64,
        Act::Gather { members } | Act::Part { members } => members.len() as u64,
        Act::AddCollection { collection, .. }
        | Act::Schema { collection, .. }
        | Act::ChangeSchema { collection, .. }
        | Act::Watch { collection, .. } => u64::from(*collection),
        Act::App { act, .. } => super::acts::effort(act),
        _ => 0,
    };
    groups + rows + own
}

impl Shrinker<'_> {
    pub(super) fn plain_details(&mut self) {
        // All at once, which mostly is enough.
        let mut plan = self.plan.clone();
        for step in &mut plan.steps {
            if let Some(plain) = plain(step) {
                *step = plain;
            }
        }
        self.one(plan);
        self.one_large_write();
        self.smaller_acts();
        self.acts_at_once();
        self.same_act_at_once();
        for place in (0..self.plan.steps.len()).rev() {
            self.plain_step(place);
        }
        for place in (0..self.plan.steps.len()).rev() {
            self.fewer_changes(place);
            self.fewer_named(place);
            self.fewer_rules(place);
            self.shorter_values(place);
            self.plainer_act(place);
        }
    }

    /// One write of as many bytes as all have together, instead of all: where only the amount counts.
    fn one_large_write(&mut self) {
        let plan = self.plan.clone();
        let is_write = |step: &Step| matches!(step.act, Act::Write { .. });
        let bytes = |step: &Step| match &step.act {
            Act::Write { changes, .. } => {
                changes.iter().filter_map(|edit| edit.what.bytes()).map(u64::from).sum()
            }
            _ => 0,
        };
        let all: u64 = plan.steps.iter().map(bytes).sum();
        let writes = plan.steps.iter().enumerate().filter(|(_, step)| is_write(step)).map(|(place, _)| place);
        let candidates = writes.filter_map(|kept| {
            let mut plan = plan.clone();
            if let Act::Write { changes, .. } = &mut plan.steps[kept].act {
                changes.truncate(1);
                changes.first_mut()?.what = What::Text(all.min(LARGEST_WRITE) as u32);
            }
            let mut place = 0;
            plan.steps.retain(|step| {
                place += 1;
                !is_write(step) || place - 1 == kept
            });
            Some(plan)
        });
        self.first(candidates);
    }

    /// Each field of a step that is unusual.
    fn plain_step(&mut self, place: usize) {
        let Ok(Value::Object(fields)) = serde_json::to_value(&self.plan.steps[place]) else { return };
        for (name, value) in fields.iter().filter(|(name, _)| !NAMES.contains(&name.as_str())) {
            let mut plans: Vec<Plan> =
                self.with_field(place, &format!("/{name}"), usual(name, value)).into_iter().collect();
            let numbers: Vec<(String, (i64, u64))> = match value {
                Value::Number(number) => vec![(format!("/{name}"), size(number))],
                Value::Object(inner) => inner
                    .iter()
                    .filter_map(|(inner, value)| Some((format!("/{name}/{inner}"), (1, value.as_u64()?))))
                    .collect(),
                _ => Vec::new(),
            };
            for (path, (sign, number)) in numbers {
                let signed = |it: u64| if sign < 0 { Value::from(-(it as i64)) } else { it.into() };
                let least = if path.ends_with("/chunk_bytes") { LEAST_CHUNK } else { 0 };
                let plainer = rounder(number).into_iter().filter(|it| *it >= least).map(signed);
                plans.extend(plainer.filter_map(|it| self.with_field(place, &path, it)));
            }
            self.first(plans);
        }
    }

    /// The plan with another value in a step.
    fn with_field(&self, place: usize, path: &str, value: Value) -> Option<Plan> {
        let mut step = serde_json::to_value(&self.plan.steps[place]).ok()?;
        *step.pointer_mut(path)? = value;
        self.with_step(place, serde_json::from_value(step).ok()?)
    }

    pub(super) fn with_step(&self, place: usize, step: Step) -> Option<Plan> {
        let mut plan = self.plan.clone();
        *plan.steps.get_mut(place)? = step;
        Some(plan)
    }

    /// Changes and preconditions of a batch, one by one; and preconditions that say less.
    fn fewer_changes(&mut self, place: usize) {
        let plan = self.plan.clone();
        let Act::Write { changes, require, .. } = &plan.steps[place].act else { return };
        let alter = |what: &dyn Fn(&mut Vec<crate::plan::Edit>, &mut Vec<crate::plan::Require>)| {
            let mut plan = plan.clone();
            if let Act::Write { changes, require, .. } = &mut plan.steps[place].act {
                what(changes, require);
            }
            plan
        };
        let mut plans = Vec::new();
        for index in 0..changes.len() {
            plans.push(alter(&|changes, _| {
                let change = changes.swap_remove(index);
                *changes = vec![change];
            }));
        }
        if changes.len() > 1 {
            for index in (0..changes.len()).rev() {
                plans.push(alter(&|changes, _| {
                    changes.remove(index);
                }));
            }
        }
        for index in (0..require.len()).rev() {
            plans.push(alter(&|_, require| {
                require.remove(index);
            }));
            plans.push(alter(&|_, require| require[index].fresh = true));
            plans.push(alter(&|_, require| require[index].to = None));
        }
        if self.first(plans).is_some() {
            self.fewer_changes(place);
        }
    }

    /// Rules of a schema, one by one.
    fn fewer_rules(&mut self, place: usize) {
        let plan = self.plan.clone();
        let rules = match &plan.steps[place].act {
            Act::Schema { rules, .. } => rules.len(),
            Act::ChangeSchema { changes, .. } => changes.len(),
            _ => return,
        };
        let plans = (0..rules).rev().map(|index| {
            let mut plan = plan.clone();
            match &mut plan.steps[place].act {
                Act::Schema { rules, .. } => drop(rules.remove(index)),
                Act::ChangeSchema { changes, .. } => drop(changes.remove(index)),
                _ => {}
            }
            plan
        });
        if self.first(plans).is_some() {
            self.fewer_rules(place);
        }
    }

    /// Fewer replicas on the two sides of a cut, or in a neighbourhood.
    fn fewer_named(&mut self, place: usize) {
        fn lists(act: &mut Act) -> (Vec<&mut Vec<usize>>, usize) {
            match act {
                Act::Cut { from, to, .. } => (vec![from, to], 1),
                Act::Gather { members } | Act::Part { members } => (vec![members], 2),
                _ => (Vec::new(), 0),
            }
        }
        let plan = self.plan.clone();
        let mut act = plan.steps[place].act.clone();
        let (all, least) = lists(&mut act);
        let shorter = all.iter().enumerate().filter(|(_, list)| list.len() > least);
        let one_less = shorter.flat_map(|(side, list)| (0..list.len()).map(move |index| (side, index)));
        let plans = one_less.map(|(side, index)| {
            let mut plan = plan.clone();
            lists(&mut plan.steps[place].act).0[side].remove(index);
            plan
        });
        if self.first(plans).is_some() {
            self.fewer_named(place);
        }
    }

    fn shorter_values(&mut self, place: usize) {
        let count = match &self.plan.steps[place].act {
            Act::Write { changes, .. } => changes.len(),
            _ => 0,
        };
        for index in 0..count {
            let plan = self.plan.clone();
            let Act::Write { changes, .. } = &plan.steps[place].act else { return };
            let Some(bytes) = changes.get(index).and_then(|edit| edit.what.bytes()) else { continue };
            // An empty value is a case of its own: one byte is plainer.
            let rounder = rounder(bytes.into()).into_iter().filter(|bytes| *bytes > 0);
            self.first(rounder.map(|bytes| {
                let mut plan = plan.clone();
                if let Act::Write { changes, .. } = &mut plan.steps[place].act {
                    changes[index].what = What::Text(bytes as u32);
                }
                plan
            }));
        }
    }
}

/// A step that says what such a step usually says.
fn plain(step: &Step) -> Option<Step> {
    let mut value = serde_json::to_value(step).ok()?;
    for (name, field) in value.as_object_mut()? {
        if !NAMES.contains(&name.as_str()) {
            *field = usual(name, field);
        }
    }
    let mut step: Step = serde_json::from_value(value).ok()?;
    if let Act::Write { changes, .. } = &mut step.act {
        for edit in changes.iter_mut().filter(|edit| edit.what.bytes().is_some()) {
            edit.what = What::Text(1);
        }
    }
    Some(step)
}
