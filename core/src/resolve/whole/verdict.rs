//! Which of the batches in dispute win, and what is left of the rows: see [the module above](super).

use alloc::collections::BTreeSet;

use super::dispute::{Batch, Dispute};
use super::history::{Row, RowPlace};
use crate::object::history::Place;

/// The batches that win.
pub(super) struct Verdict(BTreeSet<Batch>);

impl Verdict {
    /// From the last batch to the first: each wins together with all in dispute that it builds on, if every row then
    /// says one thing.
    pub(super) fn on(dispute: &Dispute<'_, '_>) -> Self {
        let mut won = Self(BTreeSet::new());
        for batch in dispute.batches.keys().rev() {
            if won.0.contains(batch) {
                continue;
            }
            let mut more = won.with(dispute, *batch);
            let rows: BTreeSet<&RowPlace> = more
                .iter()
                .filter_map(|batch| dispute.batches.get(batch))
                .flat_map(|versions| versions.iter().map(|(row, _)| row))
                .collect();
            more.extend(&won.0);
            let together = Self(more);
            if rows.into_iter().filter_map(|row| dispute.rows.get(row)).all(|row| together.agree(row)) {
                won = together;
            }
        }
        won
    }

    /// A batch and all that it builds on, as far as that has not won yet.
    fn with(&self, dispute: &Dispute<'_, '_>, batch: Batch) -> BTreeSet<Batch> {
        let mut all = BTreeSet::from([batch]);
        let mut todo = alloc::vec![batch];
        while let Some(batch) = todo.pop() {
            for (row, version) in dispute.batches.get(&batch).into_iter().flatten() {
                let Some(row) = dispute.rows.get(row) else { continue };
                let parents = row.nodes.get(version).and_then(|node| node.parents.as_ref());
                let disputed = parents.into_iter().flatten().filter(|parent| row.disputed.contains(*parent));
                for parent in disputed.filter_map(|parent| Dispute::batch(row, *parent)) {
                    if !self.0.contains(&parent) && all.insert(parent) {
                        todo.push(parent);
                    }
                }
            }
        }
        all
    }

    fn wins(&self, row: &Row, version: &Place) -> bool {
        row.disputed.contains(version)
            && Dispute::batch(row, *version).is_some_and(|batch| self.0.contains(&batch))
    }

    /// Whether the last of a row's versions that win say the same. All of them build on what is not in dispute.
    fn agree(&self, row: &Row) -> bool {
        let last = row.disputed.iter().filter_map(|version| Some((version, row.nodes.get(version)?)));
        let mut last = last.filter(|(version, node)| {
            self.wins(row, version) && !node.children.iter().any(|child| self.wins(row, child))
        });
        let Some((_, first)) = last.next() else { return true };
        last.all(|(_, node)| node.says.agrees(first.says))
    }

    /// The last version of a row that does not lose.
    pub(super) fn last(&self, row: &Row) -> Option<Place> {
        let stays = |version: &Place| !row.disputed.contains(version) || self.wins(row, version);
        let left = row.nodes.iter().filter(|(version, _)| stays(version));
        left.max_by_key(|(_, node)| node.name).map(|(version, _)| *version)
    }
}
