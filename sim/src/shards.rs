//! The results of several shards of a suite, as `driftless-sim run --json` writes them, into one summary.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::coverage::Coverage;
use crate::plan::Profile;
use crate::run::Figures;
use crate::suite::{Shard, Summary};

/// Which suite, or which part of one, a shard has run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The name of the profile.
    pub profile: String,
    /// The seeds of the whole suite, `A..B`; none if it ran for a time.
    pub seeds: Option<String>,
    /// Which shard, `i/n`.
    pub shard: String,
}

/// The last line of a shard's results.
#[derive(Debug, Clone, Deserialize)]
struct Closing {
    suite: Part,
    summary: Counted,
}

/// How many runs there are in a shard's results, and which of them failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Counted {
    runs: u64,
    failed: Vec<u64>,
}

/// A line for one run.
#[derive(Debug, Clone, Deserialize)]
struct Run {
    seed: u64,
    failure: Option<Value>,
    vacuous: Option<String>,
    figures: Figures,
    coverage: Coverage,
}

/// The results of shards.
#[derive(Debug, Clone, Default)]
pub struct Merged {
    /// Everything together.
    pub summary: Summary,
    /// What runs that failed say, by seed.
    pub failures: BTreeMap<u64, String>,
    /// Why this is not a whole suite.
    pub problems: Vec<String>,
    parts: BTreeMap<String, Part>,
    seeds: BTreeSet<u64>,
}

impl Merged {
    /// Whether it is a whole suite, in which nothing failed and nothing is missing.
    pub fn passed(&self) -> bool {
        self.problems.is_empty() && self.summary.passed()
    }

    /// Adds the results of a shard, from a file of this name.
    pub fn add(&mut self, name: &str, text: &str) {
        let (mut closing, mut counted): (Option<Counted>, _) = (None, Counted::default());
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            if let Err(error) = self.line(name, line, &mut closing, &mut counted) {
                self.problems.push(format!(
                    "{name}: line {} is no result of this version of `driftless-sim run --json`: {error}",
                    index + 1
                ));
                return;
            }
        }
        counted.failed.sort_unstable();
        let problem = match closing {
            None => "there is no summary at its end, so this shard was not finished".to_owned(),
            Some(said) if said != counted => format!(
                "{} runs are there, of which {} failed; its summary tells of {} and {}",
                counted.runs,
                counted.failed.len(),
                said.runs,
                said.failed.len()
            ),
            Some(_) => return,
        };
        self.problems.push(format!("{name}: {problem}"));
    }

    fn line(
        &mut self,
        name: &str,
        line: &str,
        closing: &mut Option<Counted>,
        counted: &mut Counted,
    ) -> serde_json::Result<()> {
        let value: Value = serde_json::from_str(line)?;
        if value.get("summary").is_some() {
            let Closing { suite, summary } = serde_json::from_value(value)?;
            *closing = Some(summary);
            if let Some((other, _)) = self.parts.iter().find(|(_, part)| **part == suite) {
                self.problems.push(format!("{name}: {other} has shard {} already", suite.shard));
            }
            self.parts.insert(name.to_owned(), suite);
            return Ok(());
        }
        let run: Run = serde_json::from_value(value)?;
        counted.runs += 1;
        counted.failed.extend(run.failure.is_some().then_some(run.seed));
        if !self.seeds.insert(run.seed) {
            self.problems.push(format!("{name}: seed {} was run by another shard too", run.seed));
            return Ok(());
        }
        if let Some(failure) = &run.failure {
            self.failures.insert(run.seed, brief(failure));
        }
        let (failed, vacuous) = (run.failure.is_some(), run.vacuous.is_some());
        self.summary.add_run(run.seed, failed, vacuous, &run.figures, &run.coverage);
        Ok(())
    }

    /// Nothing more comes: whether all shards of one suite are there, and what the whole should have exercised.
    pub fn finish(&mut self) {
        self.summary.failed.sort_unstable();
        let Some(first) = self.parts.values().next().cloned() else { return };
        if let Some((name, other)) =
            self.parts.iter().find(|(_, part)| (&part.profile, &part.seeds) != (&first.profile, &first.seeds))
        {
            self.problems.push(format!(
                "{name}: is of another suite: profile {} and seeds {}, not profile {} and seeds {}",
                other.profile,
                other.seeds.as_deref().unwrap_or("for a time"),
                first.profile,
                first.seeds.as_deref().unwrap_or("for a time"),
            ));
            return;
        }
        let shards: Vec<Shard> = self.parts.values().filter_map(|part| part.shard.parse().ok()).collect();
        let Some(of) = shards.first().map(|shard| shard.of) else { return };
        if shards.iter().any(|shard| shard.of != of) {
            self.problems.push("the suite was not cut into the same number of shards everywhere".to_owned());
        }
        let missing: Vec<String> = (0..of)
            .filter(|index| !shards.iter().any(|shard| shard.index == *index))
            .map(|index| format!("{index}/{of}"))
            .collect();
        if !missing.is_empty() {
            self.problems.push(format!("there are no results of shard {}", missing.join(", ")));
        }
        if let Ok(profile) = first.profile.parse::<Profile>() {
            self.summary.judge_coverage(&profile);
        }
    }
}

/// A failure in a line.
fn brief(failure: &Value) -> String {
    let text = |name: &str| {
        let value = failure.pointer(&format!("/violation/{name}"));
        value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default()
    };
    format!("{} ({}): {}", text("oracle"), text("rule"), text("what"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Suite;

    /// What a shard of a small suite writes.
    fn shard(text: &str) -> String {
        let suite = Suite {
            profile: "calm".parse().unwrap(),
            seeds: 0..5,
            shard: text.parse().unwrap(),
            jobs: 1,
            check_determinism: false,
        };
        let mut lines = Vec::new();
        let summary = suite.run(&|| true, &mut |outcome| lines.push(serde_json::to_string(outcome).unwrap()));
        let part = Part { profile: "calm".into(), seeds: Some("0..5".into()), shard: text.into() };
        lines.push(serde_json::json!({ "suite": part, "summary": summary, "passed": true }).to_string());
        lines.join("\n")
    }

    fn merged(files: &[(&str, &str)]) -> Merged {
        let mut merged = Merged::default();
        files.iter().for_each(|(name, text)| merged.add(name, text));
        merged.finish();
        merged
    }

    #[test]
    fn shards_together_are_the_whole_suite() {
        let whole = merged(&[("whole", &shard("0/1"))]);
        let parts = merged(&[("a", &shard("0/2")), ("b", &shard("1/2"))]);
        assert!(whole.passed() && parts.passed(), "{:?}", parts.problems);
        assert_eq!(parts.summary.runs, 5);
        assert_eq!(whole.summary.coverage, parts.summary.coverage);
        assert_eq!(whole.summary.figures, parts.summary.figures);
    }

    #[test]
    fn what_is_not_there_or_there_twice_is_named() {
        let (one, two) = (shard("0/2"), shard("1/2"));
        let problems = |files: &[(&str, &str)]| merged(files).problems.join("; ");
        assert!(problems(&[("a", &one)]).contains("no results of shard 1/2"));
        assert!(problems(&[("a", &one), ("b", &one), ("c", &two)]).contains("a has shard 0/2 already"));
        let cut = two.lines().next().unwrap();
        assert!(problems(&[("a", &one), ("b", cut)]).contains("b: there is no summary"));
        assert!(problems(&[("a", &one), ("b", &two.replace("calm", "harsh"))]).contains("another suite"));
        assert!(problems(&[("a", "{}")]).contains("line 1"));
        let (_, rest) = one.split_once('\n').unwrap();
        let lost = problems(&[("a", rest), ("b", &two)]);
        assert!(
            lost.contains("a: 2 runs are there, of which 0 failed; its summary tells of 3 and 0"),
            "{lost}"
        );
    }

    #[test]
    fn a_failure_in_one_shard_fails_the_whole() {
        let failure = r#""failure":{"violation":{"oracle":"model","rule":"S-11","what":"it is wrong"}}"#;
        let one = shard("0/2").replacen(r#""failure":null"#, failure, 1);
        let one = one.replace(r#""failed":[]"#, r#""failed":[0]"#);
        let merged = merged(&[("a", &one), ("b", &shard("1/2"))]);
        assert!(!merged.passed() && merged.problems.is_empty(), "{:?}", merged.problems);
        assert_eq!(merged.failures, [(0, "model (S-11): it is wrong".to_owned())].into());
    }
}
