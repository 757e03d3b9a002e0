//! Every order of events of a small scope, on the real core.
//!
//! A run draws one order out of very many. For two or three replicas and a few writes all of them can be walked:
//! after each event the whole state is copied for each event that can come next. States that were met before are
//! recognised by a [digest](driftless::Core::state_digest), and not gone into again. The same oracles watch.
//!
//! ```
//! use driftless_sim::explore::Explore;
//!
//! let found = Explore { replicas: 2, writes: 1, ..Explore::default() }.run(&mut |_| true);
//! assert!(found.failure.is_none() && found.exhausted);
//! ```
//!
//! What is a choice: which replica writes next; when a sync is through; which frame arrives next (those of one
//! direction arrive in order); which frame is lost; when a process dies, and what it keeps. What is none: time.
//! It stands still while anything else can happen, but for [`Explore::timeouts`]. All clocks are right, and links
//! come back at once.

mod kept;
mod scope;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use self::kept::{NoOrder, Order};
pub use self::scope::Move;
use self::scope::Scope;
use crate::dice::{Concern, Dice};
use crate::oracle::Violation;

/// What is explored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explore {
    /// How many replicas; 2 or 3 is what can be walked.
    pub replicas: usize,
    /// How many batches are written in all, each by any replica.
    pub writes: u64,
    /// How many crashes there are at most.
    pub crashes: u64,
    /// How many frames are lost at most.
    pub losses: u64,
    /// How often a wait is over at most while something else could still happen.
    pub timeouts: u64,
    /// How many different states are gone into at most: each takes some 40 bytes.
    pub max_states: usize,
    /// How many events follow each other at most.
    pub max_depth: usize,
    /// What is broken on purpose.
    pub defect: Option<Defect>,
}

impl Default for Explore {
    fn default() -> Self {
        Self {
            replicas: 2,
            writes: 2,
            crashes: 0,
            losses: 0,
            timeouts: 0,
            max_states: 2_000_000,
            max_depth: 2_000,
            defect: None,
        }
    }
}

/// Something that is broken on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Defect {
    /// A sync that is through is taken to cover what was applied while it ran.
    SyncCoversTooMuch,
    /// A process panics when a sync is through.
    SyncPanics,
}

/// What an exploration found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Different states.
    pub states: usize,
    /// Events taken: at least one leads to each state.
    pub transitions: u64,
    /// States in which nothing can happen any more.
    pub ends: u64,
    /// The longest way from the start.
    pub depth: usize,
    /// Whether all of the scope was walked.
    pub exhausted: bool,
    /// The first rule that was broken, and the way there.
    pub failure: Option<Broken>,
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub violation: Violation,
    /// What happened from the start on.
    pub path: Vec<Move>,
    /// The same in words.
    pub story: Vec<String>,
}

/// A state on the way, with what has not been tried there yet.
struct Place {
    scope: Scope,
    untried: Vec<Move>,
    came_by: Option<Move>,
}

impl Explore {
    /// Walks all orders, depth first. `more` is asked every thousand events whether it is still wanted.
    pub fn run(&self, more: &mut dyn FnMut(&Found) -> bool) -> Found {
        let mut found = Found::default();
        let start = match Scope::new(self) {
            Ok(start) => start,
            Err(violation) => {
                found.failure = Some(Broken { violation, path: Vec::new(), story: Vec::new() });
                return found;
            }
        };
        let mut seen = BTreeSet::from([start.digest()]);
        found.exhausted = true;
        let mut way = vec![Place { untried: untried(&start), scope: start, came_by: None }];
        while let Some(place) = way.last_mut() {
            let Some(next) = place.untried.pop() else {
                way.pop();
                continue;
            };
            let mut scope = place.scope.clone();
            found.transitions += 1;
            let taken = scope.take(next);
            let moves = if taken.is_ok() { untried(&scope) } else { Vec::new() };
            let ended = moves.is_empty();
            let checked = taken.and_then(|()| if ended { scope.check_end() } else { Ok(()) });
            if let Err(violation) = checked {
                found.exhausted = false;
                let path: Vec<Move> = way.iter().filter_map(|place| place.came_by).chain([next]).collect();
                found.failure = Some(Broken { violation, story: self.tell(&path), path });
                break;
            }
            if found.transitions.is_multiple_of(1_000) && !more(&found) {
                found.exhausted = false;
                break;
            }
            if !seen.insert(scope.digest()) {
                continue;
            }
            found.states = seen.len();
            found.depth = found.depth.max(way.len());
            found.ends += u64::from(ended);
            if seen.len() >= self.max_states || way.len() >= self.max_depth {
                found.exhausted = false;
                if seen.len() >= self.max_states {
                    break;
                }
                continue;
            }
            way.push(Place { untried: moves, scope, came_by: Some(next) });
        }
        found.states = seen.len();
        found
    }

    /// One order drawn from a seed: what a random run would do. The way there, if a rule was broken.
    pub fn walk(&self, seed: u64) -> Option<Broken> {
        let mut scope = match Scope::new(self) {
            Ok(scope) => scope,
            Err(violation) => return Some(Broken { violation, path: Vec::new(), story: Vec::new() }),
        };
        let mut dice = Dice::new(seed, Concern::Walk, &[]);
        let mut path = Vec::new();
        loop {
            let moves = scope.moves();
            let checked = if moves.is_empty() {
                scope.check_end()
            } else {
                let next = moves[dice.below(moves.len() as u64) as usize];
                path.push(next);
                scope.take(next)
            };
            match checked {
                Err(violation) => return Some(Broken { violation, story: self.tell(&path), path }),
                Ok(()) if moves.is_empty() || path.len() >= self.max_depth => return None,
                Ok(()) => {}
            }
        }
    }

    /// A way from the start, in words.
    fn tell(&self, path: &[Move]) -> Vec<String> {
        let Ok(mut scope) = Scope::new(self) else { return Vec::new() };
        let mut story = Vec::new();
        for next in path {
            story.push(scope.tell(*next));
            if scope.take(*next).is_err() {
                break;
            }
        }
        story
    }
}

/// What can happen next, to be taken from the end.
fn untried(scope: &Scope) -> Vec<Move> {
    let mut moves = scope.moves();
    moves.reverse();
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of all orders, without recognising anything.
    fn ends(scope: &Scope, found: &mut BTreeSet<[u8; 16]>, orders: &mut u64) {
        let moves = scope.moves();
        if moves.is_empty() {
            scope.check_end().unwrap();
            found.insert(scope.digest());
            *orders += 1;
        }
        for next in moves {
            let mut scope = scope.clone();
            scope.take(next).unwrap();
            ends(&scope, found, orders);
        }
    }

    #[test]
    fn states_that_are_recognised_hide_no_end() {
        let explore = Explore { writes: 1, losses: 1, ..Explore::default() };
        let (mut all, mut orders) = (BTreeSet::new(), 0);
        ends(&Scope::new(&explore).unwrap(), &mut all, &mut orders);
        let found = explore.run(&mut |_| true);
        assert!(found.exhausted);
        assert_eq!(found.ends, all.len() as u64);
        assert!(orders > 2 * found.ends, "{orders} orders");
    }

    #[test]
    fn every_order_of_two_writes_and_of_a_write_and_a_crash_keeps_all_rules() {
        for (writes, crashes, losses) in [(2, 0, 0), (1, 1, 0), (1, 0, 1)] {
            let found = Explore { writes, crashes, losses, ..Explore::default() }.run(&mut |_| true);
            assert_eq!(found.failure, None);
            assert!(found.exhausted && found.ends > 1, "{found:?}");
        }
    }

    #[test]
    fn a_defect_of_order_is_found_that_random_orders_hardly_ever_find() {
        let defect = Some(Defect::SyncCoversTooMuch);
        let explore = Explore { writes: 2, crashes: 1, defect, ..Explore::default() };
        let found = explore.run(&mut |_| true);
        let broken = found.failure.expect("it is found");
        assert_eq!(broken.violation.oracle, crate::Oracle::Durability);
        assert_eq!(broken.story.len(), broken.path.len());
        assert!(broken.story.last().unwrap().contains("crashes"), "{:#?}", broken.story);
        let walks = 1_000;
        let by_chance = (0..walks).filter(|seed| explore.walk(*seed).is_some()).count();
        println!(
            "{} events until it is found; {by_chance} of {walks} random orders find it",
            found.transitions
        );
        assert!(by_chance * 20 < walks as usize, "{by_chance} of {walks} random orders find it");
        assert_eq!(Explore { defect: None, ..explore }.walk(3), None);
    }

    #[test]
    fn a_panic_is_found_with_the_way_to_it() {
        crate::suite::quiet_attempts();
        let explore = Explore { defect: Some(Defect::SyncPanics), ..Explore::default() };
        for broken in [explore.run(&mut |_| true).failure, explore.walk(3)] {
            let broken = broken.expect("it is found");
            assert_eq!(broken.violation.oracle, crate::Oracle::Conduct);
            let what = &broken.violation.what;
            assert!(what.starts_with("panicked at ") && what.contains("on purpose"), "{what}");
            assert!(matches!(broken.path.last(), Some(Move::Synced(_))), "{:?}", broken.path);
            assert_eq!(broken.story.len(), broken.path.len());
        }
    }

    #[test]
    fn an_exploration_that_reaches_a_limit_says_so() {
        let explore = Explore { writes: 2, max_states: 100, ..Explore::default() };
        let found = explore.run(&mut |_| true);
        assert!(!found.exhausted && found.states == 100);
        assert_eq!(explore.run(&mut |_| true), found);
        let found = Explore { max_depth: 5, max_states: 1_000, ..explore }.run(&mut |_| true);
        assert!(!found.exhausted && found.depth == 5);
    }
}
