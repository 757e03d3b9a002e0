//! What came out of the runs of an application.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::coverage::{Coverage, Point};
use crate::plan::Plan;
use crate::run::{Failure, Outcome};

/// What came out of all runs. Its text is for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The application.
    pub app: String,
    /// How many runs there were.
    pub runs: u64,
    /// How many of them did too little to mean anything.
    pub vacuous: u64,
    /// The first that failed.
    pub found: Option<Found>,
    /// Points of the application that were reached, and how often.
    pub sometimes: BTreeMap<String, u64>,
    /// What of the simulator's own was exercised.
    pub coverage: Coverage,
    /// Points that should have been reached, and were not.
    pub missing: Vec<String>,
    /// Plans that could not be read.
    pub troubles: Vec<String>,
    /// What happened in the last plan that came from a file.
    pub story: Option<String>,
    pub(super) keeps: Option<PathBuf>,
}

/// A run that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Where its plan comes from.
    pub origin: Origin,
    /// The plan, cut down.
    pub plan: Plan,
    /// How it fails.
    pub failure: Failure,
    /// What happens in it.
    pub story: String,
    /// How many decisions it takes: see [`crate::shrink::size`].
    pub size: usize,
    /// If it was cut down: from how many decisions, and by how many runs.
    pub shrunk: Option<(usize, u64)>,
    /// Where it was written to, or why it could not be.
    pub kept: Option<Result<PathBuf, String>>,
}

/// Where a plan comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It was drawn.
    Seed(u64),
    /// It was read.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Seed(seed) => write!(f, "seed {seed}"),
            Origin::File(path) => write!(f, "the plan {}", path.display()),
        }
    }
}

impl Report {
    pub(super) fn new(app: String, keeps: Option<PathBuf>) -> Self {
        Self { app, keeps, ..Self::default() }
    }

    /// Whether all is well.
    pub fn passed(&self) -> bool {
        self.found.is_none() && self.missing.is_empty() && self.troubles.is_empty()
    }

    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.vacuous += u64::from(outcome.vacuous.is_some());
        self.coverage.merge(&outcome.coverage);
        for (point, count) in &outcome.sometimes {
            *self.sometimes.entry(point.clone()).or_default() += count;
        }
    }

    /// A green report is worth what the runs had the chance to see.
    pub(super) fn judge_coverage(&mut self, wanted: &[String]) {
        if self.runs > 0 && self.vacuous == self.runs {
            self.troubles.push("no run did enough to mean anything: was anything ever written?".to_owned());
        }
        let reached = |point: &str| {
            let own = Point::ALL.iter().find(|known| known.name() == point);
            self.sometimes.contains_key(point) || own.is_some_and(|own| self.coverage.count(*own) > 0)
        };
        self.missing = wanted.iter().filter(|point| !reached(point)).cloned().collect();
    }
}

impl Found {
    /// Writes the plan to a file, unless it comes from one.
    pub(super) fn keep(&mut self, dir: &Path, app: &str) {
        let Origin::Seed(seed) = self.origin else { return };
        let path = dir.join(format!("{}-{seed}.plan", app.to_lowercase()));
        let mut text = format!("# {app}: {}\n#\n", self.failure.violation.oracle);
        for line in self.story.lines() {
            text.push_str(format!("# {line}").trim_end());
            text.push('\n');
        }
        text.push_str(&self.plan.to_string());
        let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, text));
        let written = written.and_then(|()| path.canonicalize());
        self.kept = Some(written.map_err(|error| format!("{}: {error}", path.display())));
    }

    /// The command that runs it again.
    fn again(&self) -> String {
        let test = test();
        match (&self.origin, &self.kept) {
            (Origin::File(path), _) => format!("DRIFTLESS_SIM_PLAN={} cargo test{test}", path.display()),
            (Origin::Seed(_), Some(Ok(path))) => {
                format!("DRIFTLESS_SIM_PLAN={} cargo test{test}", path.display())
            }
            (Origin::Seed(seed), _) => format!("DRIFTLESS_SIM_SEED={seed} cargo test{test}"),
        }
    }
}

/// The test that goes on, for a command line: test harnesses call the threads of tests by the tests' names.
#[allow(clippy::disallowed_methods, reason = "what is printed for people does not matter to any run")]
fn test() -> String {
    let thread = std::thread::current();
    let name = thread.name().filter(|name| *name != "main");
    name.map(|name| format!(" {name}")).unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app, runs, vacuous, .. } = self;
        for trouble in &self.troubles {
            writeln!(f, "{app}: {trouble}")?;
        }
        if let Some(found) = &self.found {
            return write!(f, "{}", Told(app, found, self.keeps.as_deref()));
        }
        if let Some(story) = &self.story {
            writeln!(f, "{story}\n")?;
        }
        write!(f, "{app}: {runs} runs, none failed, {vacuous} vacuous")?;
        for (point, count) in &self.sometimes {
            write!(f, "\n  {count:>7}  {point}")?;
        }
        for point in &self.missing {
            write!(f, "\n    never  {point}")?;
        }
        Ok(())
    }
}

struct Told<'f>(&'f str, &'f Found, Option<&'f Path>);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told(app, found, keeps) = self;
        writeln!(f, "{app} fails with {}: {}", found.origin, found.failure.violation.oracle)?;
        writeln!(f, "{}\n\n{}\n", found.failure, found.story)?;
        if let Some((from, runs)) = found.shrunk {
            let (size, steps) = (found.size, found.plan.steps.len());
            writeln!(f, "  shrunk    from {from} decisions to {size}, in {steps} steps, by {runs} runs")?;
        }
        match &found.kept {
            Some(Ok(path)) => writeln!(f, "  kept      {}", path.display())?,
            Some(Err(error)) => writeln!(f, "  not kept  {error}")?,
            None => {}
        }
        write!(f, "  again     {}", found.again())?;
        if let (Some(Ok(_)), Some(dir)) = (&found.kept, keeps) {
            write!(f, "\n  for good  once it is repaired, move the plan to {}", dir.display())?;
        }
        Ok(())
    }
}
