//! A plan and what became of it, told in plain sentences: who did what when, what happened meanwhile, what
//! there was after the faults ended, and what the oracle saw.
//!
//! Devices are called A, B, C …, rows `c0/k1` for key 1 of collection 0.

mod names;
mod rows;
mod sentence;
mod surroundings;
mod trouble;

use self::names::Names;
use crate::facts::{Facts, Happened, Remark};
use crate::plan::{Act, Plan};
use crate::run::Failure;

/// Where a line of a story is broken.
const WIDTH: usize = 100;
/// How wide the times are.
const TIMES: usize = 12;

/// Tells the story of a plan, with what became of it and how it ended.
pub fn tell(plan: &Plan, facts: &Facts, failure: Option<&Failure>) -> String {
    let names = Names::new(plan, facts);
    let mut lines = vec![Line { at: None, text: surroundings::tell(plan, &names) }];
    let end = failure.map_or(u64::MAX, |failure| failure.at);
    let mut teller = Teller { plan, names: &names, cut: Vec::new(), lines: Vec::new(), last: None };
    let told = plan.steps.iter().take_while(|step| step.at <= end).count();
    (0..told).for_each(|place| teller.step(place, facts));
    facts.remarks.iter().for_each(|remark| teller.remark(remark));
    teller.never_sent(facts);
    if end >= plan.setup.safety_ms {
        let text = "All faults end: everybody runs, and can reach everybody.".to_owned();
        teller.lines.push(Line { at: Some(plan.setup.safety_ms), text });
    }
    // Stable: what happens at the same moment is told in the order in which it was noted.
    teller.lines.sort_by_key(|line| line.at);
    lines.append(&mut teller.lines);
    if let Some(failure) = failure {
        let violation = &failure.violation;
        let text = format!(
            "The oracle of {} ({}) stops the run, at {}: {}.",
            violation.oracle,
            violation.rule,
            names.devices(&violation.replicas),
            names.in_text(&violation.what)
        );
        lines.push(Line { at: Some(failure.at), text });
    }
    lines.iter().map(Line::told).collect::<Vec<_>>().join("\n")
}

struct Line {
    at: Option<u64>,
    text: String,
}

impl Line {
    /// With its time in front, and broken where it grows long.
    fn told(&self) -> String {
        let (mut told, indent) = match self.at {
            Some(at) => (format!("{:>width$} s  ", seconds(at), width = TIMES - 4), " ".repeat(TIMES)),
            None => (String::new(), String::new()),
        };
        let mut column = told.chars().count();
        for (index, word) in self.text.split(' ').enumerate() {
            let length = word.chars().count();
            if index > 0 && column + 1 + length > WIDTH {
                told.push('\n');
                told.push_str(&indent);
                column = indent.len();
            } else if index > 0 {
                told.push(' ');
                column += 1;
            }
            told.push_str(word);
            column += length;
        }
        told
    }
}

/// Milliseconds as seconds.
fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

struct Teller<'p> {
    plan: &'p Plan,
    names: &'p Names,
    /// From whom to whom nothing gets through.
    cut: Vec<(usize, usize)>,
    lines: Vec<Line>,
    /// Who did something last, if that was while cut off.
    last: Option<usize>,
}

impl Teller<'_> {
    fn step(&mut self, place: usize, facts: &Facts) {
        let step = &self.plan.steps[place];
        if let Act::Frame { .. } = step.act {
            return; // Told when the frame is sent.
        }
        let sentence = sentence::tell(&step.act, self.names);
        let mut text = match actor(&step.act) {
            Some(actor) => self.with_cut(actor, &sentence),
            None => sentence,
        };
        if facts.passed_over.contains(&place) {
            text.push_str(" (Which makes no sense now, and is passed over.)");
        }
        match &step.act {
            Act::Cut { from, to, both } => {
                for (a, b) in from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))) {
                    self.cut.push((a, b));
                    if *both {
                        self.cut.push((b, a));
                    }
                }
            }
            Act::Heal => self.cut.clear(),
            _ => {}
        }
        self.lines.push(Line { at: Some(step.at), text });
    }

    /// A sentence about somebody, who may be cut off, and others who do something meanwhile.
    fn with_cut(&mut self, actor: usize, sentence: &str) -> String {
        let parted =
            |other: &usize| self.cut.contains(&(actor, *other)) || self.cut.contains(&(*other, actor));
        let others: Vec<usize> = (0..self.plan.setup.replicas).filter(parted).collect();
        if others.is_empty() {
            self.last = None;
            return sentence.to_owned();
        }
        let meanwhile = self.last.is_some_and(|last| others.contains(&last));
        let told_before = self.last == Some(actor);
        self.last = Some(actor);
        let name = self.names.device(actor);
        let Some(rest) = sentence.strip_prefix(&name) else { return sentence.to_owned() };
        match (meanwhile, told_before) {
            (true, _) => format!("Meanwhile {name}{rest}"),
            (_, true) => sentence.to_owned(),
            _ => format!("{name}, cut off from {},{rest}", self.names.devices(&others)),
        }
    }

    fn remark(&mut self, remark: &Remark) {
        let name = self.names.device(remark.replica);
        let text = match &remark.what {
            Happened::Died { at_risk: 0, .. } => format!("{name} is dead; everything it had was durable."),
            Happened::Died { lost, at_risk } => {
                format!("{name} is dead; {lost} of its {at_risk} commits that were not durable are lost.")
            }
            Happened::Failed => format!("The store of {name} fails, and {name} is closed."),
            Happened::Started => format!("{name} is opened again."),
            Happened::HeardOfItself => {
                format!("{name} hears what it had written, and goes on as another author.")
            }
            Happened::Refused(why) => format!("{name} refuses: {why}."),
            Happened::State(..) if self.says_itself(remark) => return,
            Happened::State(group, state) => {
                format!("{name} {}.", sentence::state(state, &self.names.group_of(group)))
            }
            Happened::Frame { to, nth, kind, fate } => {
                let frame = format!("{} frame from {name} to {}", ordinal(nth + 1), self.names.device(*to));
                format!("The {frame}, {}, {}.", sentence::with_article(kind), sentence::fate(*fate))
            }
        };
        self.lines.push(Line { at: Some(remark.at), text });
    }

    /// Whether somebody asked for just this at this moment.
    fn says_itself(&self, remark: &Remark) -> bool {
        let asks = |act: &Act| match act {
            Act::Create { replica, .. }
            | Act::Join { replica, .. }
            | Act::JoinAs { replica, .. }
            | Act::Leave { replica, .. } => *replica == remark.replica,
            _ => false,
        };
        self.plan.steps.iter().any(|step| step.at == remark.at && asks(&step.act))
    }

    /// Frames of which the plan decides, and which nobody ever sent.
    fn never_sent(&mut self, facts: &Facts) {
        for step in &self.plan.steps {
            let Act::Frame { from, to, nth, fate } = step.act else { continue };
            let sent = facts.remarks.iter().any(|remark| {
                remark.replica == from
                    && matches!(remark.what, Happened::Frame { to: t, nth: n, .. } if (t, n) == (to, nth))
            });
            if !sent && fate != crate::plan::Fate::Arrive {
                let (from, to) = (self.names.device(from), self.names.device(to));
                let text = format!("(The {} frame from {from} to {to} is never sent.)", ordinal(nth + 1));
                self.lines.push(Line { at: Some(step.at), text });
            }
        }
    }
}

/// Who does something in a step.
fn actor(act: &Act) -> Option<usize> {
    match act {
        Act::Cut { .. } | Act::Break { .. } | Act::Gather { .. } | Act::Part { .. } => None,
        act => match act.replicas()[..] {
            [actor] => Some(actor),
            _ => None,
        },
    }
}

fn ordinal(number: u64) -> String {
    let end = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Options, execute};

    fn story(steps: &[&str], replicas: usize) -> String {
        let header = format!(r#"{{"plan":1,"seed":1,"setup":{{"replicas":{replicas},"safety_ms":20000}}}}"#);
        let plan: Plan = format!("{header}\n{}", steps.join("\n")).parse().unwrap();
        let mut facts = Facts::default();
        let outcome = execute(&plan, Options { facts: Some(&mut facts), ..Options::default() });
        tell(&plan, &facts, outcome.failure.as_ref())
    }

    #[test]
    fn who_is_cut_off_and_what_happens_meanwhile_is_told() {
        let told = story(
            &[
                r#"{"at":1000,"do":"create","replica":0,"group":0}"#,
                r#"{"at":2000,"do":"invite","replica":0,"group":0,"ticket":1}"#,
                r#"{"at":3000,"do":"join","replica":1,"ticket":1}"#,
                r#"{"at":8000,"do":"cut","from":[1],"to":[0]}"#,
                r#"{"at":9000,"do":"write","replica":1,"text":1,"changes":["g0/c0/k1-","g0/c0/k2=40"]}"#,
                r#"{"at":9500,"do":"write","replica":0,"text":2,"changes":["g0/c0/k2=7"]}"#,
                r#"{"at":12000,"do":"heal"}"#,
            ],
            2,
        );
        for sentence in [
            "Two devices, A and B.",
            "1.000 s  A makes the syncgroup.",
            "B takes invitation 1.",
            "B is admitted to the syncgroup, and has yet to get it.",
            "B has all of the syncgroup.",
            "B, cut off from A, deletes c0/k1 and writes 40 bytes to c0/k2.",
            "Meanwhile A writes 7 bytes to c0/k2.",
            "The network heals.",
            "20.000 s  All faults end",
        ] {
            assert!(told.contains(sentence), "{sentence}\n{told}");
        }
    }

    #[test]
    fn what_happens_to_a_device_that_is_cut_off_is_told_in_its_own_words() {
        let told = story(
            &[
                r#"{"at":1000,"do":"copy","replica":1}"#,
                r#"{"at":2000,"do":"cut","from":[1],"to":[0]}"#,
                r#"{"at":3000,"do":"restore","replica":1}"#,
            ],
            2,
        );
        assert!(told.contains("3.000 s  The disk of B is set back to the copy"), "{told}");
    }

    #[test]
    fn frames_and_crashes_are_told_with_what_became_of_them() {
        let told = story(
            &[
                r#"{"at":0,"do":"frame","from":0,"to":1,"nth":1,"fate":"lose"}"#,
                r#"{"at":0,"do":"frame","from":0,"to":1,"nth":900,"fate":"lose"}"#,
                r#"{"at":1000,"do":"create","replica":0,"group":0}"#,
                r#"{"at":2000,"do":"crash","replica":0}"#,
                r#"{"at":3000,"do":"crash","replica":0}"#,
            ],
            2,
        );
        for sentence in [
            "The 901st frame from A to B is never sent.",
            "A crashes.",
            "A is dead; everything it had was durable.",
            "passed over",
        ] {
            assert!(told.contains(sentence), "{sentence}\n{told}");
        }
    }

    #[test]
    fn no_line_is_longer_than_it_should_be() {
        let plan = Plan::draw(1, &"harsh".parse().unwrap());
        let mut facts = Facts::default();
        let outcome = execute(&plan, Options { facts: Some(&mut facts), ..Options::default() });
        let told = tell(&plan, &facts, outcome.failure.as_ref());
        assert!(told.lines().count() > plan.steps.len() / 2);
        assert!(told.lines().all(|line| line.chars().count() <= WIDTH), "{told}");
    }
}
