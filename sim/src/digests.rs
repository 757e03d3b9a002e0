//! The digests of a fixed set of runs, kept in a text file: a change that alters what runs do is noticed, and
//! is either a mistake or accepted on purpose.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::plan::{Plan, Profile};
use crate::run::{Digest, Options};
use crate::suite::attempt;

/// How many seeds are run of a profile: more where each of them differs in kind, fewer where a run is long.
fn seeds(profile: &str) -> u64 {
    match profile {
        "default" | "harsh" => 40,
        "large" => 3,
        _ => 15,
    }
}

/// Digests by profile and seed, as texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digests(BTreeMap<(String, u64), String>);

/// A line that is none of a file of digests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is \"{text}\"; it should be a profile, a seed and a digest, like \"default 7 00ff…\"")]
pub struct NotADigest {
    line: usize,
    text: String,
}

/// What differs in one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The profile.
    pub profile: String,
    /// The first seed that differs.
    pub seed: u64,
    /// Its digest in the file; `None` if the file does not have it.
    pub kept: Option<String>,
    /// Its digest now; `None` if it is not run any more.
    pub now: Option<String>,
    /// How many seeds of the profile differ.
    pub count: usize,
}

impl Digests {
    /// Runs the fixed set, so many runs at a time. `done` is called after each.
    pub fn measure(jobs: usize, done: &mut dyn FnMut()) -> Self {
        let all = Self::all();
        let next = AtomicUsize::new(0);
        let (sender, digests) = mpsc::channel();
        let mut measured = BTreeMap::new();
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                let (sender, next, all) = (sender.clone(), &next, &all);
                scope.spawn(move || {
                    while let Some((name, profile, seed)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let outcome = attempt(&Plan::draw(*seed, profile), Options::default());
                        let key = ((*name).to_owned(), *seed);
                        if sender.send((key, told(outcome.digest, outcome.failure.is_some()))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            for (key, digest) in digests {
                measured.insert(key, digest);
                done();
            }
        });
        Self(measured)
    }

    /// How many runs there are in the fixed set.
    pub fn count() -> usize {
        Self::all().len()
    }

    fn all() -> Vec<(&'static str, Profile, u64)> {
        let names =
            Profile::NAMES.iter().filter_map(|(name, _)| Some((*name, name.parse::<Profile>().ok()?)));
        names
            .flat_map(|(name, profile)| (0..seeds(name)).map(move |seed| (name, profile.clone(), seed)))
            .collect()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`NotADigest`] with the line that cannot be read.
    pub fn read(text: &str) -> Result<Self, NotADigest> {
        let mut digests = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || NotADigest { line: index + 1, text: line.to_owned() };
            let [profile, seed, digest] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                return Err(wrong());
            };
            let seed = seed.parse().map_err(|_| wrong())?;
            digests.insert((profile.to_owned(), seed), digest.to_owned());
        }
        Ok(Self(digests))
    }

    /// The profiles and seeds of the runs that fail. Such runs are never what is meant, however often they fail alike.
    pub fn failed(&self) -> Vec<(&str, u64)> {
        let failed = self.0.iter().filter(|(_, digest)| digest.ends_with(FAILED));
        failed.map(|((profile, seed), _)| (profile.as_str(), *seed)).collect()
    }

    /// As a file.
    pub fn written(&self) -> String {
        let mut text = String::from(
            "# The digests of a fixed set of runs: a profile, a seed, and the digest of everything that went into\n\
             # the cores and came out. `driftless-sim digests --check` compares them with what runs do now, and\n\
             # `driftless-sim digests --accept` takes over what they do now.\n",
        );
        for ((profile, seed), digest) in &self.0 {
            let _ = writeln!(text, "{profile} {seed} {digest}");
        }
        text
    }

    /// What differs between what was kept and what is now, for each profile.
    pub fn differences(&self, now: &Self) -> Vec<Difference> {
        let mut differences: Vec<Difference> = Vec::new();
        let mut keys: Vec<_> = self.0.keys().chain(now.0.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let (old, new) = (self.0.get(key), now.0.get(key));
            if old == new {
                continue;
            }
            let (profile, seed) = key;
            match differences.last_mut().filter(|last| last.profile == *profile) {
                Some(last) => last.count += 1,
                None => differences.push(Difference {
                    profile: profile.clone(),
                    seed: *seed,
                    kept: old.cloned(),
                    now: new.cloned(),
                    count: 1,
                }),
            }
        }
        differences
    }
}

/// What stands behind the digest of a run that failed.
const FAILED: &str = "-failed";

/// A digest as it is told: a run that fails says so.
fn told(digest: Digest, failed: bool) -> String {
    if failed { format!("{digest}{FAILED}") } else { digest.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_back_and_the_first_that_differs_is_named() {
        let kept = Digests::read("# told\n\ncalm 0 aa\ncalm 1 bb\ncalm 2 cc\nharsh 0 dd\n").unwrap();
        assert_eq!(Digests::read(&kept.written()).unwrap(), kept);
        assert_eq!(kept.differences(&kept), []);
        let now = Digests::read("calm 0 aa\ncalm 1 b0\ncalm 2 c0\n").unwrap();
        let [calm, harsh] = &kept.differences(&now)[..] else { panic!("two profiles differ") };
        assert_eq!((calm.seed, calm.count, calm.now.as_deref()), (1, 2, Some("b0")));
        assert_eq!((harsh.seed, harsh.count, harsh.now.as_deref()), (0, 1, None));
        assert_eq!(kept.failed(), []);
        assert!(Digests::read("calm x aa").is_err());
        assert!(Digests::read("calm 0").is_err());
    }

    #[test]
    fn runs_that_fail_are_named_however_often_they_fail_alike() {
        let failed = told(Digest([7; 32]), true);
        let now = Digests::read(&format!("calm 0 aa\ncalm 1 {failed}\nharsh 4 {failed}\n")).unwrap();
        assert_eq!(now.failed(), [("calm", 1), ("harsh", 4)]);
        assert_eq!(now.differences(&now.clone()), []);
    }
}
