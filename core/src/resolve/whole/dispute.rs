//! Which batches are in dispute: see [the module above](super).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use super::history::{History, Row, RowPlace, Says, Unable};
use crate::id::Author;
use crate::object::history::Place;
use crate::replica::plan::Plan;
use crate::store::key;
use crate::time::Hlc;

/// A batch, by what is the same in all its parts: an author gives each stamp once.
pub(super) type Batch = (Hlc, Author);

/// Batches in dispute, and the rows that they are in dispute about.
pub(super) struct Dispute<'p, 'a> {
    pub(super) history: History<'p, 'a>,
    pub(super) rows: BTreeMap<RowPlace, Row>,
    /// Each batch, with its versions.
    pub(super) batches: BTreeMap<Batch, Vec<(RowPlace, Place)>>,
    /// Rows of which more versions may be in dispute.
    unsettled: BTreeSet<RowPlace>,
}

impl<'p, 'a> Dispute<'p, 'a> {
    /// What is in dispute with the heads of a row. `most` versions are read.
    pub(super) fn about(plan: &'p Plan<'a>, start: &RowPlace, most: usize) -> Result<Self, Unable> {
        let mut dispute = Self {
            history: History::new(plan, most),
            rows: BTreeMap::new(),
            batches: BTreeMap::new(),
            unsettled: BTreeSet::new(),
        };
        dispute.open(start)?;
        let heads = dispute.rows.get(start).map(|row| row.heads.clone());
        for head in heads.into_iter().flatten() {
            dispute.add(start, head)?;
        }
        while let Some(row) = dispute.unsettled.pop_first() {
            dispute.settle(&row)?;
        }
        Ok(dispute)
    }

    /// The batch that wrote a version.
    pub(super) fn batch(row: &Row, place: Place) -> Option<Batch> {
        row.nodes.get(&place).map(|node| (node.name.0, node.name.1.author))
    }

    fn open(&mut self, place: &RowPlace) -> Result<(), Unable> {
        if self.rows.contains_key(place) {
            return Ok(());
        }
        let state = self.history.plan.row(&key::row(place.0, &place.1, &place.2))?;
        let mut row = Row::default();
        for head in &state.heads {
            let head = (head.author, head.generation);
            if row.enter(&mut self.history, place, head)? {
                row.heads.push(head);
            }
        }
        self.rows.insert(place.clone(), row);
        Ok(())
    }

    /// A version is in dispute, and with it all that its batch wrote.
    fn add(&mut self, row: &RowPlace, place: Place) -> Result<(), Unable> {
        let batch = self.rows.get(row).and_then(|row| Self::batch(row, place));
        let is_known = batch.is_some_and(|batch| self.batches.contains_key(&batch));
        self.mark(row, place)?;
        let Some(generation) = self.history.get(row.0, place)?.filter(|_| !is_known) else { return Ok(()) };
        let parts = core::iter::once((row.0, place)).chain(generation.others.iter().copied());
        for (group, place) in parts.collect::<Vec<_>>() {
            let counts = self.history.get(group, place)?.filter(|it| !it.is_void);
            let Some(generation) = counts else { continue };
            for (collection, key) in generation.rows.keys() {
                let row = (group, *collection, key.clone());
                self.open(&row)?;
                let Some(known) = self.rows.get_mut(&row) else { continue };
                if known.find(&mut self.history, &row, place, generation.stamp)? {
                    self.mark(&row, place)?;
                }
            }
        }
        Ok(())
    }

    fn mark(&mut self, place: &RowPlace, version: Place) -> Result<(), Unable> {
        let Some(row) = self.rows.get_mut(place) else { return Ok(()) };
        let Some(batch) = Self::batch(row, version) else { return Ok(()) };
        if row.nodes.get(&version).is_some_and(|node| node.says == Says::Operation) {
            return Err(Unable::Operation);
        }
        if row.disputed.insert(version) {
            self.batches.entry(batch).or_default().push((place.clone(), version));
            self.unsettled.insert(place.clone());
        }
        Ok(())
    }

    /// Finds what else is in dispute on a row.
    fn settle(&mut self, place: &RowPlace) -> Result<(), Unable> {
        loop {
            let Some(row) = self.rows.get_mut(place) else { return Ok(()) };
            let mut more = beside(row, &mut self.history, place)?;
            more.extend(brought_together(row));
            more.retain(|version| !row.disputed.contains(version));
            if more.is_empty() {
                return Ok(());
            }
            for version in more {
                self.add(place, version)?;
            }
        }
    }
}

/// The versions of a row that are not in the past of all that are in dispute there. It reads down to where all that
/// follows is, which is where the versions in dispute have come apart.
fn beside(row: &mut Row, history: &mut History<'_, '_>, place: &RowPlace) -> Result<Vec<Place>, Unable> {
    // What is in the past of all of them is in the past of the first ones.
    let is_first = |version: &Place| {
        let parents = row.nodes.get(version).and_then(|node| node.parents.as_ref());
        parents.is_none_or(|parents| !parents.iter().any(|parent| row.disputed.contains(parent)))
    };
    let first: Vec<Place> = row.disputed.iter().copied().filter(is_first).collect();
    // From the last to the first by stamps: a version comes up after all that build on it.
    let mut queue: BTreeMap<_, Place> = row.nodes.iter().map(|(place, node)| (node.name, *place)).collect();
    // Of each version which of the first ones have it in their past.
    let mut beneath: BTreeMap<Place, Vec<bool>> = BTreeMap::new();
    // Those in the queue that not all of them are known to have. What is below one that all have, all have too: that
    // has to be followed as long as another way may lead there.
    let mut doubtful: BTreeSet<Place> = row.nodes.keys().copied().collect();
    let mut found = Vec::new();
    while !doubtful.is_empty()
        && let Some((_, version)) = queue.pop_last()
    {
        let mut reached = beneath.remove(&version).unwrap_or_else(|| vec![false; first.len()]);
        if doubtful.remove(&version) {
            found.push(version);
        }
        if let Some(at) = first.iter().position(|it| *it == version)
            && let Some(reached) = reached.get_mut(at)
        {
            *reached = true;
        }
        for parent in row.descend(history, place, version)? {
            let known = beneath.entry(parent).or_insert_with(|| vec![false; first.len()]);
            known.iter_mut().zip(&reached).for_each(|(known, more)| *known |= more);
            let is_common = known.iter().all(|known| *known);
            let Some(node) = row.nodes.get(&parent) else { continue };
            queue.insert(node.name, parent);
            if is_common {
                doubtful.remove(&parent);
            } else {
                doubtful.insert(parent);
            }
        }
    }
    Ok(found)
}

/// The versions that one in dispute took the place of, where they said different things.
fn brought_together(row: &Row) -> Vec<Place> {
    let mut found = Vec::new();
    for version in &row.disputed {
        let parents = row.nodes.get(version).and_then(|node| node.parents.as_ref());
        let parents = parents.map_or(&[][..], Vec::as_slice);
        let mut says = parents.iter().filter_map(|parent| Some(row.nodes.get(parent)?.says));
        if let Some(first) = says.next()
            && says.any(|other| !other.agrees(first))
        {
            found.extend_from_slice(parents);
        }
    }
    found
}
