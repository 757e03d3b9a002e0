//! The merges that the applications of simulated devices have registered (S-16).

use std::fmt;

use driftless::{MergeFunction, Name};

/// What is registered on every device.
#[derive(Clone, Default)]
pub(crate) struct Merges(Vec<&'static dyn MergeFunction>);

impl Merges {
    /// Those of an application under test.
    pub(crate) fn new(functions: Vec<&'static dyn MergeFunction>) -> Self {
        Self(functions)
    }

    /// The one of the simulator's own workloads.
    pub(crate) fn usual() -> Self {
        Self(vec![&Joined])
    }

    /// As a core and its readers are told them.
    pub(crate) fn list(&self) -> &[&'static dyn MergeFunction] {
        &self.0
    }

    /// The one of a name.
    pub(crate) fn named(&self, name: &Name) -> Option<&'static dyn MergeFunction> {
        self.0.iter().find(|function| function.name() == name.as_str()).copied()
    }
}

impl fmt::Debug for Merges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|function| function.name())).finish()
    }
}

/// Joins puts and what was appended.
struct Joined;

impl MergeFunction for Joined {
    fn name(&self) -> &str {
        "joined"
    }

    fn merge(&self, bases: &[&[u8]], operations: &[&[u8]]) -> Option<Vec<u8>> {
        let all: Vec<&[u8]> = bases.iter().chain(operations).copied().collect();
        Some(all.join(&b'|'))
    }
}
