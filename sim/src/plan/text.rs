//! A plan as text: a header line with the version and the setup, then one step per line, each a JSON object.
//! Empty lines and lines that start with `#` are for people. What the setup does not say is calm.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::{Account, Edit, Plan, RuleChange, RuleText, Setup, Step};

/// The version of the format that this code writes, and the only one that it reads.
const VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(rename = "plan")]
    _version: u32,
    seed: u64,
    #[serde(default)]
    app: Option<String>,
    setup: Setup,
}

/// A text that is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePlanError {
    /// There is nothing in it.
    #[error(
        "the plan is empty: its first line must be a header like {{\"plan\":{VERSION},\"seed\":…,\"setup\":…}}"
    )]
    Empty,
    /// A line does not say what it should.
    #[error("line {line} of the plan cannot be read: {cause}")]
    Line {
        /// Which, counted from 1.
        line: usize,
        /// Why.
        cause: serde_json::Error,
    },
    /// It was written by another version.
    #[error(
        "the plan has format {0}, and this version of driftless-sim reads format {VERSION}: replay it with the \
         version that wrote it"
    )]
    Version(u64),
    /// A step has a field that steps of its kind do not have.
    #[error("line {line} of the plan has a field \"{field}\" that \"{step}\" does not have")]
    NoField {
        /// Which line, counted from 1.
        line: usize,
        /// The kind of step.
        step: String,
        /// The field.
        field: String,
    },
    /// It names a replica that is not in its setup.
    #[error("line {line} of the plan names replica {replica}, but the setup has {replicas}, counted from 0")]
    NoReplica {
        /// Which line, counted from 1.
        line: usize,
        /// The replica.
        replica: usize,
        /// How many there are.
        replicas: usize,
    },
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setup = differences(&self.setup).map_err(|_| fmt::Error)?;
        let (seed, replicas, safety) = (self.seed, self.setup.replicas, self.setup.safety_ms);
        write!(f, "{{\"plan\":{VERSION},\"seed\":{seed},")?;
        if let Some(app) = &self.app {
            write!(f, "\"app\":{},", Value::from(app.as_str()))?;
        }
        write!(f, "\"setup\":{{\"replicas\":{replicas},")?;
        write!(f, "\"safety_ms\":{safety}")?;
        for (name, value) in setup.as_object().into_iter().flatten() {
            write!(f, ",\"{name}\":{value}")?;
        }
        f.write_str("}}\n")?;
        self.steps.iter().try_for_each(|step| {
            f.write_str(&serde_json::to_string(step).map_err(|_| fmt::Error)?)?;
            f.write_char('\n')
        })
    }
}

impl FromStr for Plan {
    type Err = ParsePlanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let (line, header) = lines.next().ok_or(ParsePlanError::Empty)?;
        let cannot = |line| move |cause| ParsePlanError::Line { line, cause };
        // The version before anything else: what the rest means depends on it.
        let header: Value = serde_json::from_str(header).map_err(cannot(line))?;
        match header.get("plan").and_then(Value::as_u64) {
            Some(version) if version != u64::from(VERSION) => return Err(ParsePlanError::Version(version)),
            _ => {}
        }
        let Header { seed, app, mut setup, .. } = serde_json::from_value(header).map_err(cannot(line))?;
        let replicas = setup.replicas;
        setup.skew_ms.resize(replicas, 0);
        setup.drift_ppm.truncate(replicas);
        let named = setup.hostile.iter().chain(&setup.network.call_only);
        if let Some(replica) = named.copied().find(|replica| *replica >= replicas) {
            return Err(ParsePlanError::NoReplica { line, replica, replicas });
        }
        let mut steps = Vec::new();
        for (line, text) in lines {
            let step: Step = serde_json::from_str(text).map_err(cannot(line))?;
            if let Some((step, field)) = unknown_field(&step, text).map_err(cannot(line))? {
                return Err(ParsePlanError::NoField { line, step, field });
            }
            if let Some(replica) = step.act.replicas().into_iter().find(|replica| *replica >= replicas) {
                return Err(ParsePlanError::NoReplica { line, replica, replicas });
            }
            steps.push(step);
        }
        // Stable: steps of the same time stay in the order in which they were written.
        steps.sort_by_key(|step| step.at);
        Ok(Plan { seed, app, setup, steps })
    }
}

/// What in a setup is not calm.
pub(crate) fn differences(setup: &Setup) -> serde_json::Result<Value> {
    let calm = Setup::calm(setup.replicas, setup.safety_ms);
    let mut value = serde_json::to_value(setup)?;
    without(&mut value, &serde_json::to_value(calm)?);
    Ok(value)
}

/// Takes out of an object what is the same in another.
fn without(value: &mut Value, other: &Value) {
    let (Value::Object(fields), Value::Object(others)) = (value, other) else { return };
    fields.retain(|name, field| {
        let Some(other) = others.get(name) else { return true };
        if field == other {
            return false;
        }
        without(field, other);
        true
    });
}

/// A field of a step's text that was passed over when it was read: most likely a slip of the pen.
fn unknown_field(step: &Step, text: &str) -> serde_json::Result<Option<(String, String)>> {
    let (Value::Object(said), Value::Object(read)) =
        (serde_json::from_str(text)?, serde_json::to_value(step)?)
    else {
        return Ok(None);
    };
    let kind = read.get("do").and_then(Value::as_str).unwrap_or_default().to_owned();
    // What is not written again is either usual or unknown: only of the latter any nonsense is taken.
    let nonsense = serde_json::json!({ "": "" });
    let unknown = said.keys().filter(|name| !read.contains_key(*name)).find(|name| {
        let mut said = said.clone();
        said.insert((*name).clone(), nonsense.clone());
        serde_json::from_value::<Step>(Value::Object(said)).is_ok()
    });
    Ok(unknown.map(|name| (kind, name.clone())))
}

impl super::Act {
    /// The replicas that it names, the one that does something first.
    pub(crate) fn replicas(&self) -> Vec<usize> {
        self.clone().replicas_mut().into_iter().map(|replica| *replica).collect()
    }

    /// The same, to give them other numbers.
    pub(crate) fn replicas_mut(&mut self) -> Vec<&mut usize> {
        use super::Act::*;
        match self {
            Create { replica, .. }
            | AddCollection { replica, .. }
            | Invite { replica, .. }
            | Join { replica, .. }
            | Leave { replica, .. }
            | Destroy { replica, .. }
            | AdmitUser { replica, .. }
            | Open { replica, .. }
            | Close { replica, .. }
            | EjectUser { replica, .. }
            | InviteDevice { replica, .. }
            | JoinAs { replica, .. }
            | Accept { replica, .. }
            | Decline { replica, .. }
            | PauseSync { replica, .. }
            | ResumeSync { replica, .. }
            | Reissue { replica }
            | Rotate { replica }
            | Write { replica, .. }
            | App { replica, .. }
            | Schema { replica, .. }
            | ChangeSchema { replica, .. }
            | Transfer { replica, .. }
            | Resolver { replica, .. }
            | Watch { replica, .. }
            | Unwatch { replica, .. }
            | Crash { replica, .. }
            | CrashAtCommit { replica, .. }
            | Shutdown { replica }
            | Restart { replica, .. }
            | Pause { replica, .. }
            | Vanish { replica }
            | SetClock { replica, .. }
            | FailReads { replica, .. }
            | FillDisk { replica, .. }
            | SlowSync { replica, .. }
            | Damage { replica }
            | Copy { replica }
            | Restore { replica, .. }
            | LoseDisk { replica } => vec![replica],
            Cut { from, to, .. } => from.iter_mut().chain(to).collect(),
            Gather { members } | Part { members } => members.iter_mut().collect(),
            Heal => Vec::new(),
            Break { a, b } | Clog { a, b, .. } => vec![a, b],
            Describe { replica, meet, .. } => {
                std::iter::once(replica).chain(meet.iter_mut().flatten()).collect()
            }
            Find { replica, peer }
            | LoseSight { replica, peer }
            | Attack { replica, peer, .. }
            | Eject { replica, peer, .. }
            | SetRights { replica, peer, .. }
            | Publish { replica, peer, .. }
            | Unpublish { replica, peer, .. }
            | Enrol { replica, peer, .. }
            | StrikeOff { replica, peer, .. } => vec![replica, peer],
            Frame { from, to, .. } => vec![from, to],
        }
    }
}

/// A row as a plan names it: `g0/c1/k3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowLabel {
    /// The syncgroup.
    pub group: u8,
    /// The collection.
    pub collection: u8,
    /// The key.
    pub key: u8,
}

impl fmt::Display for RowLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}/c{}/k{}", self.group, self.collection, self.key)
    }
}

impl FromStr for RowLabel {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        let mut part = |letter: char| parts.next()?.strip_prefix(letter)?.parse().ok();
        let label = (|| Some(Self { group: part('g')?, collection: part('c')?, key: part('k')? }))();
        label.filter(|_| parts.next().is_none()).ok_or_else(|| NotALabel(text.to_owned()))
    }
}

/// A text that names no row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no row, no change, no rule and no account: write g0/c1/k3, g0/c1/k3=40, g0/c1/k3-, k1=counter or \
     c1/a3"
)]
pub struct NotALabel(pub(super) String);

macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}
as_text!(RowLabel);
as_text!(Edit);
as_text!(RuleText);
as_text!(RuleChange);
as_text!(Account);

#[cfg(test)]
mod tests {
    use super::super::{Act, Profile};
    use super::*;

    #[test]
    fn every_drawn_plan_is_read_back_as_it_was_written() {
        for seed in 0..50 {
            let plan = Plan::draw(seed, &Profile::default());
            assert_eq!(plan.to_string().parse::<Plan>().unwrap(), plan, "seed {seed}");
        }
    }

    #[test]
    fn a_plan_may_have_comments_and_is_put_in_order_of_time() {
        let plan = Plan::draw(1, &Profile::default());
        let header = plan.to_string().lines().next().unwrap().to_owned();
        let text = format!(
            "# a story\n{header}\n\n{}\n# and before that\n{}\n",
            r#"{"at":200,"do":"write","replica":0,"text":1,"changes":["g0/c0/k1=9","g0/c1/k2-"]}"#,
            r#"{"at":100,"do":"crash","replica":1}"#,
        );
        let plan: Plan = text.parse().unwrap();
        assert_eq!(plan.steps[0].act, Act::Crash { replica: 1, keep: None });
        assert_eq!(plan.steps.len(), 2);
    }

    /// Kept plans say only what is not calm: whoever changes what is calm changes them all.
    #[test]
    fn what_a_plan_does_not_say_stays_what_it_was() {
        let plan: Plan = r#"{"plan":1,"seed":3,"setup":{"replicas":2,"safety_ms":20000}}"#.parse().unwrap();
        let calm = serde_json::to_string(&plan.setup).unwrap();
        let kept = concat!(
            r#"{"replicas":2,"safety_ms":20000,"liveness_ms":1800000,"signatures":"keyed","timing":{"relay":20,"#,
            r#""confirm":500,"patience":2000,"patience_max":300000,"redial":500,"redial_max":60000,"#,
            r#""parts":60000,"resolve":2000},"#,
            r#""chunk_bytes":262144,"network":{"latency_ms":[50,50],"jitter_ms":0,"loss_ppm":0,"#,
            r#""duplicate_ppm":0,"reorder_ppm":0,"corrupt_ppm":0,"bytes_per_ms":null,"credit":1048576,"#,
            r#""link_life_ms":null,"callback":true,"neighbourhood":true,"call_only":[]},"#,
            r#""disk":{"sync_ms":[5,5]},"skew_ms":[0,0],"drift_ppm":[],"hostile":[],"#,
            r#""readers_ms":5000,"waiting":10000,"watch_log":null,"#,
            r#""limits":{"syncgroups":null,"links":null,"drift_ms":null}}"#,
        );
        assert_eq!(calm, kept, "give a new field a default that changes nothing, and add it here");
        assert_eq!(
            plan.to_string(),
            "{\"plan\":1,\"seed\":3,\"setup\":{\"replicas\":2,\"safety_ms\":20000}}\n"
        );
    }

    #[test]
    fn what_a_step_does_not_say_stays_what_it_was() {
        let header = r#"{"plan":1,"seed":3,"setup":{"replicas":2,"safety_ms":20000}}"#;
        let short = [
            r#"{"at":1,"do":"create","replica":0,"group":0}"#,
            r#"{"at":2,"do":"invite","replica":0,"group":0,"ticket":1}"#,
            r#"{"at":3,"do":"join","replica":1,"ticket":1}"#,
            r#"{"at":4,"do":"crash","replica":0}"#,
            r#"{"at":5,"do":"restart","replica":0}"#,
            r#"{"at":6,"do":"cut","from":[0],"to":[1]}"#,
        ];
        let long = [
            r#"{"at":1,"do":"create","replica":0,"group":0,"database":0,"collections":1}"#,
            concat!(
                r#"{"at":2,"do":"invite","replica":0,"group":0,"ticket":1,"rights":"Write","reusable":false,"#,
                r#""valid_ms":86400000}"#
            ),
            r#"{"at":3,"do":"join","replica":1,"ticket":1,"database":0}"#,
            r#"{"at":4,"do":"crash","replica":0,"keep":null}"#,
            r#"{"at":5,"do":"restart","replica":0,"shown":true}"#,
            r#"{"at":6,"do":"cut","from":[0],"to":[1],"both":true}"#,
        ];
        let plan = |steps: &[&str]| format!("{header}\n{}", steps.join("\n")).parse::<Plan>().unwrap();
        assert_eq!(plan(&short), plan(&long));
        assert_eq!(plan(&long).to_string(), format!("{header}\n{}\n", short.join("\n")));
    }

    #[test]
    fn a_wrong_plan_is_refused_with_its_line() {
        let plan = Plan::draw(1, &Profile::default());
        let header = plan.to_string().lines().next().unwrap().to_owned();
        let error = |text: String| text.parse::<Plan>().unwrap_err().to_string();
        assert!(error(String::new()).contains("empty"));
        assert!(error(format!("{header}\nnonsense")).contains("line 2"));
        assert!(
            error(format!(r#"{header}{}{{"at":1,"do":"crash","replica":99}}"#, "\n")).contains("replica 99")
        );
        assert!(error(r#"{"plan":7,"unheard":"of"}"#.to_owned()).contains("format 7"));
        let unheard = header.replacen("\"setup\":{", "\"setup\":{\"lossy\":3,", 1);
        assert!(error(unheard).contains("unknown field `lossy`"));
        let step = |step: &str| error(format!("{header}\n\n{step}"));
        assert!(step(r#"{"at":1,"do":"fly"}"#).contains("line 3"));
        assert!(step(r#"{"at":1,"do":"fly"}"#).contains("unknown variant `fly`"));
        let slip = step(r#"{"at":1,"do":"crash","replica":0,"kep":3}"#);
        assert!(slip.contains("line 3") && slip.contains("\"kep\" that \"crash\" does not have"), "{slip}");
        for wrong in ["g0/c0/k0", "g0/c0=1", "g0/c0/k0/k0-", "g0/c0/k300=1", "x"] {
            assert!(wrong.parse::<Edit>().is_err(), "{wrong}");
        }
    }
}
