//! What is left of a conflict where batches win or lose as a whole.
//!
//! On rows where whole batches win:
//!
//! * A batch is *in dispute* if it wrote a head of the row that is asked about; if it wrote a version of a row that is
//!   not in the past of all versions of batches in dispute there; or if a version in dispute took the place of its
//!   version and of another one that said something else.
//! * From the last batch in dispute to the first each *wins* together with all in dispute that it builds on, if then
//!   on every row the versions that nobody supersedes, among those of winners and those that are not in dispute, say
//!   the same.
//! * A row that was in dispute gets what the last of these versions says.
//! * Void versions take no part. What takes the place of one takes the place of what that one took the place of.
//!
//! Where an operation would have to be decided about, which has no content by itself, only the heads of rows count: see
//! `heads_win`.

use std::collections::{BTreeMap, BTreeSet};

use driftless::{Knowledge, Policy, SyncgroupId, Version};

use super::conflict::{Batch, Conflict, Place};
use super::{Content, Generation, Model, RowKey, Rows, Views};

/// A version of a row.
struct Told<'m> {
    version: Version,
    batch: Batch,
    generation: &'m Generation,
    content: &'m Content,
}

/// The versions of all rows where whole batches win.
type All<'m> = BTreeMap<Place, Vec<Told<'m>>>;

impl Model {
    /// What is left where batches win or lose as a whole: which rows are written, and what they become.
    pub fn batch_wins(&self, conflict: &Conflict, views: Views<'_>) -> BTreeMap<SyncgroupId, Rows> {
        let Some((start, _)) = conflict.open().next() else { return BTreeMap::new() };
        let all = self.where_batches_win(views);
        let disputed = self.in_dispute(&all, start, views);
        let won = self.winners(&all, &disputed);
        let mut rows: BTreeMap<SyncgroupId, Rows> = BTreeMap::new();
        for ((group, key), versions) in &all {
            let touched: Vec<_> = versions.iter().filter(|it| disputed.contains(&it.batch)).collect();
            if touched.is_empty() {
                continue;
            }
            let left = versions.iter().filter(|it| !disputed.contains(&it.batch) || won.contains(&it.batch));
            let last = left.max_by_key(|it| (it.generation.stamp, it.version)).map(|it| it.content);
            let is_operation = |content: &Content| matches!(content, Content::Operate(_));
            if touched.iter().any(|it| is_operation(it.content)) || last.is_some_and(is_operation) {
                return self.heads_win(conflict, views);
            }
            let last = last.cloned().unwrap_or(Content::Delete);
            let Some(view) = views.of(group) else { continue };
            let heads = self.heads(group, key, view);
            if heads.iter().any(|head| head.value.as_ref() != last.value()) {
                rows.entry(*group).or_default().insert(key.clone(), last);
            }
        }
        rows
    }

    fn where_batches_win<'m>(&'m self, views: Views<'m>) -> All<'m> {
        let mut all = All::new();
        for (group, shown) in views.shown {
            let Some(view) = views.of(group) else { continue };
            for row in self.rows(group) {
                if self.policy(group, row, view.held) != Policy::BatchWins {
                    continue;
                }
                let versions = self.versions(group, row, shown);
                let versions = versions.filter(|(version, ..)| !self.is_void(group, version, view.held));
                let versions = versions.map(|(version, generation, content)| {
                    let batch = (generation.stamp.unwrap_or_default(), version.author);
                    Told { version: *version, batch, generation, content }
                });
                all.insert((*group, row.clone()), versions.collect());
            }
        }
        all
    }

    fn in_dispute(&self, all: &All<'_>, (group, row): &Place, views: Views<'_>) -> BTreeSet<Batch> {
        let mut disputed: BTreeSet<Batch> = BTreeSet::new();
        let heads = views.of(group).map(|view| self.heads(group, row, view));
        disputed.extend(heads.into_iter().flatten().map(|head| (head.stamp, head.version.author)));
        loop {
            let mut more = BTreeSet::new();
            for ((group, row), versions) in all {
                let Some(view) = views.of(group) else { continue };
                let knew = |one: &Told<'_>, other: &Told<'_>| self.knew(group, row, one, other);
                for it in versions.iter().filter(|it| disputed.contains(&it.batch)) {
                    more.extend(versions.iter().filter(|other| !knew(it, other)).map(|other| other.batch));
                    let parents = self.replaced_by(group, row, it, versions, view.held);
                    let says = |it: &&Told<'_>| match it.content {
                        Content::Operate(_) => None,
                        content => Some(content.value().cloned()),
                    };
                    let first = parents.first().and_then(says);
                    if parents.len() > 1 && parents.iter().any(|it| says(it).is_none() || says(it) != first) {
                        more.extend(parents.iter().map(|parent| parent.batch));
                    }
                }
            }
            let before = disputed.len();
            disputed.extend(more);
            if disputed.len() == before {
                return disputed;
            }
        }
    }

    fn winners(&self, all: &All<'_>, disputed: &BTreeSet<Batch>) -> BTreeSet<Batch> {
        // What each builds on, step by step.
        let mut beneath: BTreeMap<Batch, BTreeSet<Batch>> = BTreeMap::new();
        for ((group, row), versions) in all {
            for it in versions.iter().filter(|it| disputed.contains(&it.batch)) {
                let known = versions.iter().filter(|other| self.knew(group, row, it, other));
                let known = known.map(|other| other.batch).filter(|batch| disputed.contains(batch));
                beneath.entry(it.batch).or_default().extend(known);
            }
        }
        let mut won: BTreeSet<Batch> = BTreeSet::new();
        for batch in disputed.iter().rev() {
            let mut with = won.clone();
            let mut todo = vec![*batch];
            while let Some(batch) = todo.pop() {
                if with.insert(batch) {
                    todo.extend(beneath.get(&batch).into_iter().flatten());
                }
            }
            let agree = all.iter().all(|((group, row), versions)| {
                if !versions.iter().any(|it| disputed.contains(&it.batch)) {
                    return true;
                }
                let left = |it: &&Told<'_>| !disputed.contains(&it.batch) || with.contains(&it.batch);
                let left: Vec<_> = versions.iter().filter(left).collect();
                let is_last = |it: &&&Told<'_>| !left.iter().any(|by| self.knew(group, row, by, it));
                let mut last = left.iter().filter(is_last).map(|it| it.content.value());
                let first = last.next();
                last.all(|value| Some(value) == first)
            });
            if agree {
                won = with;
            }
        }
        won
    }

    fn knew(&self, group: &SyncgroupId, row: &RowKey, one: &Told<'_>, other: &Told<'_>) -> bool {
        self.groups.get(group).is_some_and(|known| known.supersedes(row, &one.version, &other.version))
    }

    /// The versions that one took the place of, and where one of them is void those that it took the place of.
    fn replaced_by<'v, 'm>(
        &self,
        group: &SyncgroupId,
        row: &RowKey,
        it: &Told<'_>,
        versions: &'v [Told<'m>],
        held: &Knowledge,
    ) -> Vec<&'v Told<'m>> {
        let mut replaced = BTreeSet::new();
        let mut todo = self.named_by(group, row, it.generation);
        while let Some(version) = todo.pop() {
            if replaced.insert(version) && self.is_void(group, &version, held) {
                let void = self.generation(group, &version).filter(|it| it.rows.contains_key(row));
                todo.extend(void.into_iter().flat_map(|it| self.named_by(group, row, it)));
            }
        }
        versions.iter().filter(|other| replaced.contains(&other.version)).collect()
    }

    /// The versions of a row that a generation which wrote it names.
    fn named_by(&self, group: &SyncgroupId, row: &RowKey, generation: &Generation) -> Vec<Version> {
        match &generation.parents {
            Some(parents) => parents.get(row).into_iter().flatten().copied().collect(),
            None => {
                let heads = self.heads(group, row, &generation.past);
                heads.into_iter().map(|head| head.version).collect()
            }
        }
    }
}
