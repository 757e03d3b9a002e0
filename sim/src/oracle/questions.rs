//! The oracle of questions: a resolver is asked about the same conflict once (S-17).

use std::collections::BTreeMap;

use driftless::{Conflict, RowRef, SyncgroupId, Version};

use super::{Checked, Oracle, Seen, Violation, Watch};
use crate::model::holds;

/// A conflict as somebody was asked about it: its rows, those as well in which nothing is to be decided, and their
/// heads. Where any of that changes it is another question.
type Question = Vec<(RowRef, Vec<Version>)>;

/// What a resolver was asked since it came, and what had been said up to then of members and schemas where it
/// reaches: that alone makes anything what it was before.
pub(super) type Questions = BTreeMap<Question, usize>;

impl Watch {
    /// An application is asked to resolve a conflict.
    pub(super) fn asked_once(&mut self, seen: Seen<'_>, conflict: &Conflict) -> Checked {
        if !conflict.is_whole {
            return Ok(()); // Of those it is asked part by part.
        }
        let heads = |row: &driftless::ConflictedRow| row.heads.iter().map(|head| head.version).collect();
        let question: Question = conflict.rows.iter().map(|row| (row.row.clone(), heads(row))).collect();
        let said = self.said_where(seen, &question);
        match self.notes[seen.replica].questions.insert(question.clone(), said) {
            Some(before) if before == said => {
                let what = format!("raises a conflict again of which nothing has changed: {question:?}");
                Err(Violation::new(Oracle::Conflicts, "S-17", seen.replica, what))
            }
            _ => Ok(()),
        }
    }

    /// How much a replica holds of what may judge the rows of a question anew.
    fn said_where(&self, seen: Seen<'_>, question: &Question) -> usize {
        let groups = || question.iter().map(|(row, _)| row.syncgroup);
        let known = |group: SyncgroupId| {
            let held = seen.core.held(&group).unwrap_or_default();
            let said = self.model.facts(&group).chain(self.model.schemas(&group));
            said.filter(|(version, _)| holds(&held, version)).count()
        };
        groups().map(known).sum()
    }

    /// A resolver has come, or gone: whatever it was asked the next one is asked again.
    pub(crate) fn forgets_questions(&mut self, replica: usize) {
        self.notes[replica].questions.clear();
    }

    /// An answer to some rows was refused: what it was about is asked again.
    pub(crate) fn is_still_open<'r>(&mut self, replica: usize, rows: impl Iterator<Item = &'r RowRef>) {
        let rows: Vec<&RowRef> = rows.collect();
        let is_about = |question: &Question| question.iter().any(|(row, _)| rows.contains(&row));
        self.notes[replica].questions.retain(|question, _| !is_about(question));
    }
}
