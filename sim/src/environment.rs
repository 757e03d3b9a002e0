//! What tests are told by the environment.

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

/// Which runs are wanted instead of the usual ones, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// These seeds.
    pub(crate) seeds: Option<Range<u64>>,
    /// This plan.
    pub(crate) plan: Option<PathBuf>,
    /// Where failures are kept.
    pub(crate) dir: Option<PathBuf>,
    /// How many runs at a time.
    pub(crate) jobs: Option<usize>,
}

/// A variable that says nothing sensible: to pass over it would be to run something else than was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value} makes no sense: write {name}={like}")]
pub(crate) struct NoSense {
    name: &'static str,
    value: String,
    like: &'static str,
}

impl Wishes {
    /// What the environment says.
    #[allow(clippy::disallowed_methods, reason = "tests are told by the environment what to run")]
    pub(crate) fn of_environment() -> Result<Self, NoSense> {
        Self::of(&|name| std::env::var(name).ok())
    }

    fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, NoSense> {
        let seeds = parsed(variable, "DRIFTLESS_SIM_SEEDS", "0..1000", parse_seeds)?;
        let seed = parsed(variable, "DRIFTLESS_SIM_SEED", "17", parse_seed)?;
        let jobs = parsed(variable, "DRIFTLESS_SIM_JOBS", "2", number::<usize>)?;
        Ok(Self {
            seeds: seed.or(seeds),
            plan: variable("DRIFTLESS_SIM_PLAN").map(PathBuf::from),
            dir: variable("DRIFTLESS_SIM_DIR").map(PathBuf::from),
            jobs: jobs.map(|jobs| jobs.max(1)),
        })
    }
}

fn parsed<T>(
    variable: &dyn Fn(&str) -> Option<String>,
    name: &'static str,
    like: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, NoSense> {
    let Some(value) = variable(name) else { return Ok(None) };
    parse(&value).map(Some).ok_or(NoSense { name, value, like })
}

fn number<N: FromStr>(text: &str) -> Option<N> {
    text.trim().parse().ok()
}

/// Reads one seed. The last number is none: no range has it.
fn parse_seed(text: &str) -> Option<Range<u64>> {
    let seed: u64 = number(text)?;
    Some(seed..seed.checked_add(1)?)
}

/// Reads `A..B`.
pub(crate) fn parse_seeds(text: &str) -> Option<Range<u64>> {
    let (from, to) = text.split_once("..")?;
    let range = number(from)?..number(to)?;
    (!range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(said: &[(&str, &str)]) -> Result<Wishes, NoSense> {
        Wishes::of(&|name| said.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn one_seed_counts_more_than_many_and_nothing_said_is_nothing_wanted() {
        assert_eq!(wishes(&[]), Ok(Wishes::default()));
        assert_eq!(wishes(&[("DRIFTLESS_SIM_SEEDS", "3..9")]).unwrap().seeds, Some(3..9));
        let both = [("DRIFTLESS_SIM_SEEDS", "3..9"), ("DRIFTLESS_SIM_SEED", "5")];
        assert_eq!(wishes(&both).unwrap().seeds, Some(5..6));
        assert_eq!(wishes(&[("DRIFTLESS_SIM_JOBS", "0")]).unwrap().jobs, Some(1));
    }

    #[test]
    fn what_makes_no_sense_is_not_passed_over() {
        for (name, value) in [
            ("DRIFTLESS_SIM_SEED", "five"),
            ("DRIFTLESS_SIM_SEED", "18446744073709551615"),
            ("DRIFTLESS_SIM_SEEDS", "9..3"),
            ("DRIFTLESS_SIM_SEEDS", "9"),
            ("DRIFTLESS_SIM_JOBS", "-1"),
        ] {
            let error = wishes(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }
}
