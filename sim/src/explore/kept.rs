//! An order of events as text, so that it can be kept and walked again.
//!
//! It is no [plan](crate::plan): a plan says when things happen, and what takes no time happens as soon as it can; an
//! order says which of all that can happen comes next, and a tick may wait for a frame. So it names its scope, and each
//! choice.
//!
//! ```text
//! # What happens, for people.
//! {"explore":1,"replicas":2,"writes":1}
//! {"write":0}
//! {"synced":0}
//! {"arrives":{"from":0,"to":1}}
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Broken, Explore, Move, Scope};

/// The version of the format.
const VERSION: u32 = 1;

/// A scope, and one order of events in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The scope.
    pub explore: Explore,
    /// What happens, one after the other.
    pub path: Vec<Move>,
    /// The same in words, for people: not read back.
    pub story: Vec<String>,
}

/// The scope as text. How much is walked at most says nothing of one order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    explore: u32,
    replicas: usize,
    #[serde(default)]
    writes: u64,
    #[serde(default)]
    crashes: u64,
    #[serde(default)]
    losses: u64,
    #[serde(default)]
    timeouts: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    defect: Option<super::Defect>,
}

/// Why an order cannot be read, or not be walked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoOrder {
    /// There is nothing in it.
    #[error("an order of events starts with a line that names its scope")]
    Empty,
    /// It was written by another version.
    #[error("the order has format {0}, and this version of driftless-sim reads format {VERSION}")]
    Version(u32),
    /// A line says nothing that is known.
    #[error("line {line}: {what}")]
    Line {
        /// Which, counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// Something cannot happen when its turn comes: the code is another than the one that the order is of.
    #[error("event {event} of the order, {next:?}, cannot happen where its turn comes")]
    Impossible {
        /// Which, counted from 1.
        event: usize,
        /// What should happen.
        next: Move,
    },
}

impl Order {
    /// The way to a rule that was broken.
    pub fn of(explore: &Explore, broken: &Broken) -> Self {
        Self { explore: explore.clone(), path: broken.path.clone(), story: broken.story.clone() }
    }

    /// Whether a text is one, and no plan.
    pub fn is_one(text: &str) -> bool {
        text.lines().find(|line| !is_comment(line)).is_some_and(|line| line.starts_with("{\"explore\""))
    }

    /// Walks it, and says which rule it breaks, if it does.
    ///
    /// # Errors
    /// [`NoOrder::Impossible`] if something cannot happen where its turn comes.
    pub fn walk(&self) -> Result<Option<Broken>, NoOrder> {
        let (mut path, mut story) = (Vec::new(), Vec::new());
        let mut scope = match Scope::new(&self.explore) {
            Ok(scope) => scope,
            Err(violation) => return Ok(Some(Broken { violation, path, story })),
        };
        for next in &self.path {
            if !scope.moves().contains(next) {
                return Err(NoOrder::Impossible { event: path.len() + 1, next: *next });
            }
            story.push(scope.tell(*next));
            path.push(*next);
            if let Err(violation) = scope.take(*next) {
                return Ok(Some(Broken { violation, path, story }));
            }
        }
        if !scope.moves().is_empty() {
            return Ok(None);
        }
        Ok(scope.check_end().err().map(|violation| Broken { violation, path, story }))
    }
}

fn is_comment(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, sentence) in self.story.iter().enumerate() {
            writeln!(f, "# {:>5}  {sentence}", index + 1)?;
        }
        let Explore { replicas, writes, crashes, losses, timeouts, defect, .. } = self.explore;
        let header = Header { explore: VERSION, replicas, writes, crashes, losses, timeouts, defect };
        writeln!(f, "{}", serde_json::to_string(&header).map_err(|_| fmt::Error)?)?;
        for next in &self.path {
            writeln!(f, "{}", serde_json::to_string(next).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

impl FromStr for Order {
    type Err = NoOrder;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !is_comment(line));
        let wrong = |line: usize| {
            move |what: serde_json::Error| NoOrder::Line { line: line + 1, what: what.to_string() }
        };
        let (number, header) = lines.next().ok_or(NoOrder::Empty)?;
        let header: Header = serde_json::from_str(header).map_err(wrong(number))?;
        if header.explore != VERSION {
            return Err(NoOrder::Version(header.explore));
        }
        let Header { replicas, writes, crashes, losses, timeouts, defect, .. } = header;
        let explore = Explore { replicas, writes, crashes, losses, timeouts, defect, ..Explore::default() };
        let path: Result<Vec<Move>, NoOrder> =
            lines.map(|(number, line)| serde_json::from_str(line).map_err(wrong(number))).collect();
        Ok(Self { explore, path: path?, story: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Defect;
    use super::*;

    fn broken() -> (Explore, Broken) {
        let defect = Some(Defect::SyncCoversTooMuch);
        let explore = Explore { writes: 2, crashes: 1, defect, ..Explore::default() };
        let broken = explore.run(&mut |_| true).failure.expect("it is found");
        (explore, broken)
    }

    #[test]
    fn a_failure_is_read_back_and_fails_again_in_the_same_way() {
        let (explore, broken) = broken();
        let text = Order::of(&explore, &broken).to_string();
        assert!(Order::is_one(&text) && !Order::is_one("{\"plan\":1,\"seed\":3}"));
        let order: Order = text.parse().unwrap();
        assert_eq!(order.walk(), Ok(Some(broken)));
    }

    #[test]
    fn an_order_that_is_sound_or_breaks_off_breaks_no_rule() {
        let (explore, broken) = broken();
        let mut order = Order::of(&explore, &broken);
        order.explore.defect = None;
        assert_eq!(order.walk().map(|broken| broken.map(|it| it.violation)), Ok(None));
        order.path.truncate(1);
        assert_eq!(order.walk(), Ok(None));
    }

    #[test]
    fn what_cannot_happen_and_what_cannot_be_read_is_named() {
        let text = "# nothing\n{\"explore\":1,\"replicas\":2,\"writes\":1}\n";
        let order: Order = format!("{text}{{\"write\":0}}\n{{\"write\":1}}\n").parse().unwrap();
        assert_eq!(order.walk(), Err(NoOrder::Impossible { event: 2, next: Move::Write(1) }));
        let read = |text: &str| text.parse::<Order>().map(|_| ());
        assert!(matches!(read(&format!("{text}{{\"sings\":0}}")), Err(NoOrder::Line { line: 3, .. })));
        assert_eq!(read("{\"explore\":2,\"replicas\":2}"), Err(NoOrder::Version(2)));
        assert_eq!(read("# nothing\n"), Err(NoOrder::Empty));
    }
}
