//! Conflicts that belong together (S-17), and what is left of them where heads decide which batches win.
//!
//! * Two rows belong together if one batch wrote a head of each, and so on from row to row; what a batch wrote in
//!   other syncgroups counts where it is shown.
//! * Only rows that somebody must decide lead on to others; other rows of their batches come along.
//! * Where whole batches win and an operation is in the way, the last batch wins, then the last of those that agree with
//!   the winners, and so on. A row gets what a winner says; if only losers wrote it, what it was before them. Where none
//!   is in the way see `whole`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use driftless::{Author, Hlc, Knowledge, Policy, SyncgroupId, Version};

use super::{Content, Head, Model, RowKey, Rows, View, Views, holds};

/// A row, wherever it is.
pub type Place = (SyncgroupId, RowKey);

/// Rows that belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conflict {
    /// What is known of each.
    pub rows: BTreeMap<Place, ConflictedRow>,
    /// How many batches tie them.
    pub batches: usize,
}

/// A row of a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictedRow {
    /// What its schema says.
    pub policy: Policy,
    /// Whether it is in conflict itself.
    pub in_conflict: bool,
    /// Its heads, the last first.
    pub heads: Vec<Head>,
    /// The last version that all heads have in their past, and what it says, if there are several heads.
    pub ancestor: Option<(Version, Option<Bytes>)>,
}

impl ConflictedRow {
    /// Whether somebody must decide it.
    pub fn is_open(&self) -> bool {
        let policy = matches!(self.policy, Policy::AppResolves | Policy::Defer | Policy::BatchWins);
        self.in_conflict && policy
    }
}

fn batch(head: &Head) -> Batch {
    (head.stamp, head.version.author)
}

impl Conflict {
    /// The rows that somebody must decide.
    pub fn open(&self) -> impl Iterator<Item = (&Place, &ConflictedRow)> {
        self.rows.iter().filter(|(_, row)| row.is_open())
    }
}

/// A batch, by what is the same in all its parts: an author gives each stamp once.
pub(super) type Batch = (Hlc, Author);

impl Model {
    /// The rows that belong to a row.
    pub fn conflict(&self, start: &Place, views: Views<'_>) -> Conflict {
        let mut conflict = Conflict::default();
        let mut batches = BTreeSet::new();
        let mut todo = vec![start.clone()];
        while let Some(place) = todo.pop() {
            if conflict.rows.contains_key(&place) {
                continue;
            }
            let row = self.conflicted_row(&place, views);
            if row.is_open() || conflict.rows.is_empty() {
                for head in &row.heads {
                    batches.insert(batch(head));
                    for (group, version) in self.parts(&place.0, &head.version, views.shown) {
                        let wrote = self.generation(&group, &version).map(|it| &it.rows);
                        todo.extend(wrote.into_iter().flatten().filter_map(|(row, _)| {
                            let heads = self.heads(&group, row, views.of(&group)?);
                            let is_head = heads.iter().any(|head| head.version == version);
                            is_head.then(|| (group, row.clone()))
                        }));
                    }
                }
            }
            conflict.rows.insert(place, row);
        }
        conflict.batches = batches.len();
        conflict
    }

    fn conflicted_row(&self, (group, row): &Place, views: Views<'_>) -> ConflictedRow {
        let nothing = Knowledge::new();
        let view = views.of(group).unwrap_or(View::from(&nothing));
        let seen = self.seen(group, row, view);
        let policy = self.policy(group, row, view.held);
        let in_conflict = !matches!(policy, Policy::Merge(_)) && seen.is_split();
        let is_common = |version: &Version| {
            seen.heads.iter().all(|head| {
                self.groups.get(group).is_some_and(|known| known.supersedes(row, &head.version, version))
            })
        };
        let several = in_conflict && seen.heads.len() > 1;
        let counts = |version: &Version| !self.is_void(group, version, view.held);
        let common = self.versions(group, row, view.shown);
        let common = common.filter(|(version, ..)| is_common(version) && counts(version));
        let last =
            common.filter(|_| several).max_by_key(|(version, generation, _)| (generation.stamp, **version));
        let ancestor = last.map(|(version, _, content)| (*version, content.value().cloned()));
        ConflictedRow { policy, in_conflict, heads: seen.heads, ancestor }
    }

    /// All parts of a batch that are shown.
    fn parts(
        &self,
        group: &SyncgroupId,
        version: &Version,
        shown: &BTreeMap<SyncgroupId, Knowledge>,
    ) -> Vec<(SyncgroupId, Version)> {
        let batch = self.generation(group, version).and_then(|generation| generation.batch);
        let others = shown.iter().filter(|(other, _)| batch.is_some() && *other != group);
        let others = others.filter_map(|(other, shown)| {
            let mut generations = self.generations(other).filter(|(version, _)| holds(shown, version));
            let part = generations.find(|(_, generation)| generation.batch == batch)?;
            Some((*other, *part.0))
        });
        [(*group, *version)].into_iter().chain(others).collect()
    }

    /// What is left where the heads of rows decide which batches win.
    pub fn heads_win(&self, conflict: &Conflict, views: Views<'_>) -> BTreeMap<SyncgroupId, Rows> {
        let mut against: BTreeMap<Batch, BTreeSet<Batch>> = BTreeMap::new();
        for (_, row) in conflict.open() {
            for head in &row.heads {
                let others = row.heads.iter().filter(|other| other.value != head.value);
                let others = others.map(batch);
                against.entry(batch(head)).or_default().extend(others);
            }
        }
        let mut winners = BTreeSet::new();
        for (batch, others) in against.iter().rev() {
            if winners.is_disjoint(others) {
                winners.insert(*batch);
            }
        }
        let mut rows: BTreeMap<SyncgroupId, Rows> = BTreeMap::new();
        for ((group, key), row) in conflict.rows.iter().filter(|(_, row)| row.policy == Policy::BatchWins) {
            let winner = row.heads.iter().find(|head| winners.contains(&batch(head)));
            let loses = row.heads.iter().any(|head| against.contains_key(&batch(head)));
            let content = match winner {
                Some(head) if row.in_conflict => self.picked(group, key, &head.version, views.of(group)),
                None if loses => match views.of(group).and_then(|view| self.before(group, key, row, view)) {
                    Some(Content::Operate(_)) => continue,
                    before => before.unwrap_or(Content::Delete),
                },
                _ => continue,
            };
            rows.entry(*group).or_default().insert(key.clone(), content);
        }
        rows
    }

    /// What a row gets where a version of it is picked. An operation is no content by itself: it stands for what it
    /// was done to, which is what the row shows where it does not merge.
    pub fn picked(
        &self,
        group: &SyncgroupId,
        key: &RowKey,
        version: &Version,
        view: Option<View<'_>>,
    ) -> Content {
        let content = self.generation(group, version).and_then(|generation| generation.rows.get(key));
        match (content, view) {
            (Some(Content::Operate(_)), Some(view)) => {
                let last = self.seen(group, key, view).bases.into_iter().next();
                last.and_then(|base| base.value).map_or(Content::Delete, Content::Put)
            }
            (content, _) => content.cloned().unwrap_or(Content::Delete),
        }
    }

    /// The last version of a row that is no head.
    fn before(
        &self,
        group: &SyncgroupId,
        key: &RowKey,
        row: &ConflictedRow,
        view: View<'_>,
    ) -> Option<Content> {
        let is_head = |version: &Version| row.heads.iter().any(|head| head.version == *version);
        let counts = |version: &Version| !self.is_void(group, version, view.held);
        let earlier = self.versions(group, key, view.shown);
        let earlier = earlier.filter(|(version, ..)| !is_head(version) && counts(version));
        let last = earlier.max_by_key(|(version, generation, _)| (generation.stamp, **version));
        last.map(|(.., content)| content.clone())
    }
}
