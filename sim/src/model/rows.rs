//! What rows show in a set of generations, and what a batch comes to there.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use driftless::{Edit, Hlc, Knowledge, Name, Operation, Policy, SyncgroupId, Version};

use super::{Content, Fact, Generation, Model, RowKey, Rows, Undone, View, holds, merge};

/// A version that nothing supersedes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Which.
    pub version: Version,
    /// Its stamp.
    pub stamp: Hlc,
    /// What it says; `None` if it deleted the row, or is an operation.
    pub value: Option<Bytes>,
    /// Whether it is an operation.
    pub is_operation: bool,
}

/// What counts of a row in a set of generations, the greatest (stamp, version) first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The versions that nothing supersedes.
    pub heads: Vec<Head>,
    /// The puts and deletes that no put or delete supersedes.
    pub bases: Vec<Head>,
    /// The operations that no put or delete supersedes.
    pub live: Vec<Live>,
}

/// Operations that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Which version, and its stamp.
    pub at: (Hlc, Version),
    /// What it did, in order.
    pub operations: Vec<Operation>,
    /// What its removals took out of a set.
    pub undoes: Undone,
}

impl Seen {
    /// Whether bases say different things (S-11).
    pub fn is_split(&self) -> bool {
        self.bases.iter().any(|base| base.value != self.bases[0].value)
    }
}

/// A row as readers should see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its value.
    pub value: Bytes,
    /// The version that is shown.
    pub version: Version,
    /// Its stamp.
    pub stamp: Hlc,
    /// Whether another head says something else.
    pub in_conflict: bool,
}

impl Model {
    /// Whether there is a collection in a set of generations: that the syncgroup began with, or somebody added, whatever
    /// they were allowed to. What is written where there is none is found once it is there.
    pub fn has_collection(&self, group: &SyncgroupId, name: &Name, held: &Knowledge) -> bool {
        let adds = |it: &Generation| matches!(&it.says, Fact::AddsCollection(of) if of == name);
        let mut added = self.facts(group).filter(|(_, it)| adds(it)).peekable();
        added.peek().is_none() || added.any(|(version, _)| holds(held, version))
    }

    /// The versions of a row in a set of generations.
    pub(super) fn versions<'m>(
        &'m self,
        group: &SyncgroupId,
        row: &'m RowKey,
        held: &'m Knowledge,
    ) -> impl Iterator<Item = (&'m Version, &'m Generation, &'m Content)> {
        let group = self.groups.get(group);
        let versions = group.and_then(|group| group.rows.get(row)).into_iter().flatten();
        versions.filter(|version| holds(held, version)).filter_map(move |version| {
            let generation = group?.generations.get(version)?;
            Some((version, generation, generation.rows.get(row)?))
        })
    }

    /// What counts of a row in a set of generations.
    pub fn seen<'v>(&self, group: &SyncgroupId, row: &RowKey, view: impl Into<View<'v>>) -> Seen {
        let Some(known) = self.groups.get(group) else { return Seen::default() };
        let view = view.into();
        let here = self.versions(group, row, view.shown);
        let mut here: Vec<_> =
            here.filter(|(version, ..)| !self.is_void(group, version, view.held)).collect();
        here.sort_by_key(|(version, generation, _)| std::cmp::Reverse((generation.stamp, **version)));
        let superseded = |version: &Version| here.iter().any(|(by, ..)| known.supersedes(row, by, version));
        let replaced = |version: &Version| {
            here.iter().any(|(by, _, content)| {
                !matches!(content, Content::Operate(_)) && known.supersedes(row, by, version)
            })
        };
        let mut seen = Seen::default();
        for (version, generation, content) in &here {
            let head = Head {
                version: **version,
                stamp: generation.stamp.unwrap_or_default(),
                value: content.value().cloned(),
                is_operation: matches!(content, Content::Operate(_)),
            };
            if !superseded(version) {
                seen.heads.push(head.clone());
            }
            match content {
                _ if replaced(version) => {}
                Content::Operate(operations) => seen.live.push(Live {
                    at: (head.stamp, head.version),
                    operations: operations.clone(),
                    undoes: generation.undoes.get(row).cloned().unwrap_or_default(),
                }),
                _ => seen.bases.push(head),
            }
        }
        seen
    }

    /// The heads of a row in a set of generations, the last first.
    pub fn heads<'v>(&self, group: &SyncgroupId, row: &RowKey, view: impl Into<View<'v>>) -> Vec<Head> {
        self.seen(group, row, view).heads
    }

    /// What readers see of a row; `None` if it is not there.
    pub fn shown(&self, group: &SyncgroupId, row: &RowKey, view: View<'_>) -> Option<Shown> {
        self.show(&self.seen(group, row, view), &self.policy(group, row, view.held))
    }

    /// What readers see under a policy.
    pub fn show(&self, seen: &Seen, policy: &Policy) -> Option<Shown> {
        let last = seen.heads.first()?;
        let value = match policy {
            Policy::Merge(merge) => merge::merged(merge, &self.merges, &seen.bases, &seen.live)?,
            _ => seen.bases.first()?.value.clone()?,
        };
        let in_conflict = !matches!(policy, Policy::Merge(_)) && seen.is_split();
        Some(Shown { value, version: last.version, stamp: last.stamp, in_conflict })
    }

    /// What a batch comes to, for an author with this view of the syncgroup: of several puts and deletes of
    /// one row the last counts, operations are done to what was put before, and deleting what is not there is
    /// nothing, unless versions disagree whether it is (S-4).
    pub fn net_effect(
        &self,
        group: &SyncgroupId,
        view: View<'_>,
        changes: impl IntoIterator<Item = (RowKey, Edit)>,
    ) -> Rows {
        let mut rows = Rows::new();
        for (row, edit) in changes {
            let content = match (edit, rows.remove(&row)) {
                (Edit::Put(value), _) => Content::Put(value),
                (Edit::Delete, _) => Content::Delete,
                (Edit::Operate(operation), None) => Content::Operate(vec![operation]),
                (Edit::Operate(operation), Some(Content::Operate(mut before))) => {
                    before.push(operation);
                    Content::Operate(before)
                }
                (Edit::Operate(operation), Some(before)) => {
                    match merge::one(&self.merges, before.value(), &operation) {
                        Some(value) => Content::Put(value),
                        None => Content::Delete,
                    }
                }
            };
            rows.insert(row, content);
        }
        let matters =
            |row: &RowKey| self.shown(group, row, view).is_some() || self.seen(group, row, view).is_split();
        rows.retain(|row, content| *content != Content::Delete || matters(row));
        rows
    }

    /// What the removals of a batch take out of sets, for an author with this view of the syncgroup.
    pub fn undone(&self, group: &SyncgroupId, rows: &Rows, view: View<'_>) -> BTreeMap<RowKey, Undone> {
        let mut undone = BTreeMap::new();
        for (row, content) in rows {
            let Content::Operate(operations) = content else { continue };
            let removed: BTreeSet<&Bytes> = merge::removed(operations).collect();
            if !removed.is_empty() {
                let Seen { bases, live, .. } = self.seen(group, row, view);
                let there = merge::there(&bases, &live.iter().collect::<Vec<_>>()).into_iter();
                undone.insert(row.clone(), there.filter(|(element, _)| removed.contains(element)).collect());
            }
        }
        undone
    }
}
