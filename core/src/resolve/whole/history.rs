//! The versions of rows that batches are in dispute about, as far as they are read.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::hash::{self, Hash};
use crate::id::{CollectionId, Version};
use crate::log::record::{Content, Record};
use crate::object::history::Place;
use crate::read;
use crate::replica::plan::Plan;
use crate::replica::stored::corrupt;
use crate::resolve::Policy;
use crate::store::key::GroupIx;
use crate::store::{Fault, Table};
use crate::time::Hlc;

/// A row, by local numbers.
pub(super) type RowPlace = (GroupIx, CollectionId, Bytes);

/// Why it cannot be said what becomes of whole batches.
#[derive(Debug)]
pub(super) enum Unable {
    Fault(Fault),
    /// More versions would have to be read than may be.
    TooMuch,
    /// An operation has no content by itself: it is from when the row still merged.
    Operation,
}

impl From<Fault> for Unable {
    fn from(fault: Fault) -> Self {
        Unable::Fault(fault)
    }
}

/// What a version says of its row, as far as it matters whether two say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Value(Hash),
    Nothing,
    Operation,
}

impl Says {
    fn of(content: &Content) -> Self {
        match content {
            Content::Put(value) => Says::Value(hash::derive(hash::DISPUTED_VALUE, &[value])),
            Content::Delete => Says::Nothing,
            Content::Operate(_) => Says::Operation,
        }
    }

    pub(super) fn agrees(self, other: Says) -> bool {
        self == other && self != Says::Operation
    }
}

/// A version of a row.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: (Hlc, Version),
    pub(super) says: Says,
    /// The versions that it builds on, once they have been read.
    pub(super) parents: Option<Vec<Place>>,
    /// Those that build on it, as far as they have been read.
    pub(super) children: Vec<Place>,
}

/// A row.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) heads: Vec<Place>,
    pub(super) nodes: BTreeMap<Place, Node>,
    /// The versions that are in dispute.
    pub(super) disputed: BTreeSet<Place>,
}

/// What a generation did to rows where whole batches win.
pub(super) struct Generation {
    pub(super) stamp: Hlc,
    pub(super) rows: BTreeMap<(CollectionId, Bytes), (Vec<Version>, Says)>,
    /// The other parts of its batch.
    pub(super) others: Vec<(GroupIx, Place)>,
    /// Whether it does not count (S-35). What builds on it then builds on what it built on.
    pub(super) is_void: bool,
}

/// Generations, each read once, and not more of them than may be.
pub(super) struct History<'p, 'a> {
    pub(super) plan: &'p Plan<'a>,
    known: BTreeMap<(GroupIx, Place), Option<Rc<Generation>>>,
    /// How many more versions may be read, with what they build on.
    left: usize,
}

impl<'p, 'a> History<'p, 'a> {
    pub(super) fn new(plan: &'p Plan<'a>, most: usize) -> Self {
        Self { plan, known: BTreeMap::new(), left: most }
    }

    /// A generation, if it is held.
    pub(super) fn get(&mut self, group: GroupIx, place: Place) -> Result<Option<Rc<Generation>>, Unable> {
        if let Some(known) = self.known.get(&(group, place)) {
            return Ok(known.clone());
        }
        let read = self.read(group, place)?.map(Rc::new);
        // What a version builds on is looked at as well: one other, nearly always.
        let cost = |generation: &Rc<Generation>| {
            generation.rows.values().map(|(parents, _)| 1 + parents.len().max(1)).sum()
        };
        let cost: usize = read.as_ref().map_or(1, cost);
        self.left = self.left.checked_sub(cost.max(1)).ok_or(Unable::TooMuch)?;
        self.known.insert((group, place), read.clone());
        Ok(read)
    }

    fn read(&self, group: GroupIx, place: Place) -> Result<Option<Generation>, Fault> {
        let plan = self.plan;
        let Some(encoded) = read::generation(plan.view(), group, place)? else { return Ok(None) };
        let records = encoded.records(&plan.author(place.0)).map_err(|error| corrupt(Table::Log, error))?;
        let rows = records.into_iter().filter_map(|record| match record {
            Record::Row(row) if *plan.policy(group, &row.collection, &row.key) == Policy::BatchWins => {
                Some(((row.collection, row.key), (row.parents, Says::of(&row.content))))
            }
            _ => None,
        });
        let groups = plan.replica.groups.iter().map(|(ix, group)| (*ix, &group.record.id));
        let others = read::other_parts(plan.view(), groups, (group, place.0), &encoded)?;
        let is_void = plan.is_void(group, place)?;
        Ok(Some(Generation { stamp: encoded.header.stamp, rows: rows.collect(), others, is_void }))
    }

    /// What a version says in full.
    pub(super) fn content(&self, row: &RowPlace, place: Place) -> Result<Option<Content>, Fault> {
        let (group, collection, key) = row;
        let Some(encoded) = read::generation(self.plan.view(), *group, place)? else { return Ok(None) };
        let records =
            encoded.records(&self.plan.author(place.0)).map_err(|error| corrupt(Table::Log, error))?;
        Ok(records.into_iter().find_map(|record| match record {
            Record::Row(row) if row.collection == *collection && row.key == *key => Some(row.content),
            _ => None,
        }))
    }
}

impl Row {
    /// Reads a version, if it is one of the row, and counts.
    pub(super) fn enter(
        &mut self,
        history: &mut History<'_, '_>,
        row: &RowPlace,
        place: Place,
    ) -> Result<bool, Unable> {
        if self.nodes.contains_key(&place) {
            return Ok(true);
        }
        let Some(generation) = history.get(row.0, place)?.filter(|it| !it.is_void) else { return Ok(false) };
        let Some((_, says)) = generation.rows.get(&(row.1, row.2.clone())) else { return Ok(false) };
        let version = Version { author: history.plan.author(place.0), generation: place.1 };
        let node =
            Node { name: (generation.stamp, version), says: *says, parents: None, children: Vec::new() };
        self.nodes.insert(place, node);
        Ok(true)
    }

    /// Reads what a version builds on.
    pub(super) fn descend(
        &mut self,
        history: &mut History<'_, '_>,
        row: &RowPlace,
        place: Place,
    ) -> Result<Vec<Place>, Unable> {
        if let Some(parents) = self.nodes.get(&place).and_then(|node| node.parents.as_ref()) {
            return Ok(parents.clone());
        }
        let (mut parents, mut reached) = (Vec::new(), BTreeSet::new());
        let mut void = vec![place];
        while let Some(by) = void.pop() {
            let Some(generation) = history.get(row.0, by)? else { continue };
            let Some((named, _)) = generation.rows.get(&(row.1, row.2.clone())) else { continue };
            for parent in named {
                let Some(author) = history.plan.author_ix(&parent.author) else { continue };
                let parent = (author, parent.generation);
                if !reached.insert(parent) {
                    continue;
                }
                if self.enter(history, row, parent)? {
                    parents.push(parent);
                    if let Some(node) = self.nodes.get_mut(&parent) {
                        node.children.push(place);
                    }
                } else {
                    void.push(parent);
                }
            }
        }
        if let Some(node) = self.nodes.get_mut(&place) {
            node.parents = Some(parents.clone());
        }
        Ok(parents)
    }

    /// Looks for a version from the heads down. It is none that readers know of if it is not found.
    pub(super) fn find(
        &mut self,
        history: &mut History<'_, '_>,
        row: &RowPlace,
        place: Place,
        stamp: Hlc,
    ) -> Result<bool, Unable> {
        while !self.nodes.contains_key(&place) {
            let unread = self.nodes.iter().filter(|(_, node)| node.parents.is_none() && node.name.0 > stamp);
            let Some(last) = unread.max_by_key(|(_, node)| node.name).map(|(place, _)| *place) else {
                return Ok(false);
            };
            self.descend(history, row, last)?;
        }
        Ok(true)
    }
}
