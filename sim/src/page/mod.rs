//! A run as a page to look at: one HTML file that needs no server and no network.
//!
//! It shows a lane for each replica over virtual time, frames as arrows between them, what was written, when it
//! was durable, who was down or cut off; and for the moment under the slider what each replica holds and what
//! its readers see, side by side, with the history of any row as a graph.
//!
//! ```
//! use driftless_sim::page::{self, Recording};
//! use driftless_sim::{Options, Plan, Profile, execute};
//!
//! let plan = Plan::draw(7, &Profile::default());
//! let mut recording = Recording::new();
//! let outcome = execute(&plan, Options { record: Some(&mut recording), ..Options::default() });
//! let html = page::render(&plan, &outcome, &mut recording, "driftless-sim replay 7");
//! assert!(html.starts_with("<!doctype html>"));
//! ```
//!
//! Whatever a run contains is data to the page: names and values are never taken for markup or code, and a
//! content security policy forbids the page to load anything.

mod kept;
mod naming;
pub(crate) mod recording;
mod words;

use serde_json::json;

pub use self::recording::Recording;
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::run::Outcome;

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
/// The script, in the order in which its parts build on each other.
const SCRIPT: [&str; 10] = [
    include_str!("js/run.js"),
    include_str!("js/axis.js"),
    include_str!("js/state.js"),
    include_str!("js/timeline.js"),
    include_str!("js/overview.js"),
    include_str!("js/pointer.js"),
    include_str!("js/panels.js"),
    include_str!("js/history.js"),
    include_str!("js/controls.js"),
    include_str!("js/selftest.js"),
];

/// Makes the page of a run that was recorded. `replay` is the command that runs it again.
pub fn render(plan: &Plan, outcome: &Outcome, recording: &mut Recording, replay: &str) -> String {
    let head = headline(plan, outcome, recording);
    let mut data = recording.data();
    data["head"] = head;
    data["replay"] = replay.into();
    data["plan"] = plan.to_string().into();
    data["outcome"] = json!(outcome);
    let risks: Vec<_> = recording.risks_left().collect();
    data["risks_left"] = json!(risks);
    // Whoever gives names to rows does not know the digest of a run before it is run.
    let nonce = format!("{}", outcome.digest);
    let title = format!("Seed {} {}", plan.seed, if outcome.failure.is_some() { "failed" } else { "passed" });
    fill(
        FRAME,
        &[
            ("title", &title),
            ("nonce", &nonce),
            ("style", STYLE),
            ("data", &script_safe(&data.to_string())),
            ("script", &SCRIPT.concat()),
        ],
    )
}

/// The headline in plain words.
fn headline(plan: &Plan, outcome: &Outcome, recording: &mut Recording) -> serde_json::Value {
    let figures = &outcome.figures;
    let seconds = |millis: u64| format!("{}.{} s", millis / 1_000, millis % 1_000 / 100);
    let Some(failure) = &outcome.failure else {
        let after = seconds(figures.agreed_after_ms);
        return json!({
            "verdict": if outcome.vacuous.is_some() { "vacuous" } else { "passed" },
            "title": format!("Seed {} kept all rules", plan.seed),
            "story": match outcome.vacuous {
                Some(why) => format!("It means little: {why}."),
                None => format!("All {} replicas agreed {after} after the faults had ended, and then were quiet.", plan.setup.replicas),
            },
            "at": -1,
            "replicas": [],
            "safety_ms": plan.setup.safety_ms,
        });
    };
    let violation = &failure.violation;
    let mut who = violation.replicas.clone();
    who.sort_unstable();
    let who: Vec<String> = who.iter().map(|replica| format!("r{replica}")).collect();
    let place = if who.is_empty() { String::new() } else { format!(" at {}", who.join(", ")) };
    let at = seconds(failure.at);
    let phase = if failure.healed {
        format!(", {} after all faults had ended", seconds(failure.at.saturating_sub(plan.setup.safety_ms)))
    } else {
        ", while faults went on".to_owned()
    };
    let what = recording.plain(&violation.what);
    json!({
        "verdict": "failed",
        "title": format!("Seed {} broke {}", plan.seed, violation.rule),
        "meaning": meaning(&violation.oracle),
        "story": format!("{at} into the run{phase}, the oracle “{}” found{place}: {what}", violation.oracle),
        "rule": violation.rule,
        "oracle": violation.oracle.to_string(),
        "what": what,
        "original": violation.what,
        "at": failure.at,
        "replicas": violation.replicas,
        "safety_ms": plan.setup.safety_ms,
    })
}

/// What it means that an oracle complains.
fn meaning(oracle: &Oracle) -> &'static str {
    match oracle {
        Oracle::Model => "Readers see something else than the reference model.",
        Oracle::Convergence => "Replicas do not come to agree, or do not come to rest.",
        Oracle::SilentLoss => "Something that was acknowledged is gone.",
        Oracle::Causality => "An effect is there without its causes, or a batch in part.",
        Oracle::Durability => "A crash took what it must not take.",
        Oracle::Access => "Somebody did or has what they may not.",
        Oracle::Clocks => "A stamp cannot be.",
        Oracle::Bounds => "Something costs or holds more than it has a reason to.",
        Oracle::Conduct => "A replica does something that an honest one does not do.",
        Oracle::Conflicts => "A conflict is raised or answered as it should not be, or stays open.",
        Oracle::Watching => "Somebody who watches is told something else than what happened.",
        Oracle::Invariant(_) => "An invariant of the application's does not hold.",
    }
}

/// JSON as the text of a script element: nothing in it can end the element or start a comment.
fn script_safe(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// Puts parts into the places of a template, `{{name}}`. What is put in is not looked at again.
fn fill(template: &str, parts: &[(&str, &str)]) -> String {
    let mut pieces = template.split("{{");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").unwrap_or(("", piece));
        text.push_str(parts.iter().find(|(of, _)| *of == name).map_or("", |(_, part)| part));
        text.push_str(rest);
    }
    text
}
