//! Comparing a syncgroup as it is stored with what was received from there.
//!
//! Both stores have local numbers of their own for authors and for sets of metadata, so these are translated.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::{MAX_NAMED_ROWS, Problem};
use crate::id::{Author, CollectionId, Generation};
use crate::object::RowState;
use crate::replica::Replica;
use crate::replica::load::entries;
use crate::replica::stored::{Stored, corrupt};
use crate::store::key::{self, AuthorIx};
use crate::store::{Fault, Scan, Table, View};
use crate::syncgroup::group::Group;
use crate::wire::codec::DecodeError;

/// A syncgroup in a store.
type Side<'s> = (&'s Replica, &'s Group, &'s dyn View);

/// What is stored, and what was received from there.
pub(super) struct Comparison<'s> {
    pub(super) ours: Side<'s>,
    pub(super) theirs: Side<'s>,
}

impl Comparison<'_> {
    /// Adds what differs to the problems. Returns how many rows were compared.
    pub(super) fn run(&self, problems: &mut Vec<Problem>) -> Result<u64, Fault> {
        for (table, what) in [(Table::Collection, "collections"), (Table::Schema, "schemas")] {
            if raw(self.ours, table)? != raw(self.theirs, table)? {
                problems.push(Problem::Metadata(what));
            }
        }
        self.logs(problems)?;
        self.marks(problems)?;
        if frontier(self.ours) != frontier(self.theirs) {
            problems.push(Problem::Frontier);
        }
        let before = problems.len();
        let rows = self.rows(problems)?;
        if problems.len() == before && self.ours.1.tip.visible != self.theirs.1.tip.visible {
            problems.push(Problem::Digest);
        }
        Ok(rows)
    }

    /// Compares what is noted beside generations, which themselves are known to be right: nodes of the log tree, and
    /// the metadata in their past. Of each author the first that is wrong is named.
    fn logs(&self, problems: &mut Vec<Problem>) -> Result<(), Fault> {
        let mut same = BTreeMap::new();
        for (ix, log) in self.ours.1.logs.iter() {
            let Some(author) = self.ours.0.authors.get(*ix) else { continue };
            let Some(their_ix) = self.theirs.0.authors.find(&author) else { continue };
            for generation in 1..=log.held() {
                let (one, other) =
                    (stored(self.ours, *ix, generation)?, stored(self.theirs, their_ix, generation)?);
                let is_same = *same
                    .entry((one.past, other.past))
                    .or_insert_with(|| past(self.ours, one.past) == past(self.theirs, other.past));
                if !is_same || one.nodes != other.nodes {
                    problems.push(Problem::Noted { author, generation });
                    break;
                }
            }
        }
        Ok(())
    }

    /// Compares which generations are marked: as holding metadata, and as void. Without the first a device would not know
    /// who is a member once it is started again.
    fn marks(&self, problems: &mut Vec<Problem>) -> Result<(), Fault> {
        for table in [Table::Metadata, Table::Void] {
            let (ours, theirs) = (marked(self.ours, table)?, marked(self.theirs, table)?);
            let wrong = ours.symmetric_difference(&theirs).take(MAX_NAMED_ROWS);
            problems.extend(wrong.map(|(author, generation)| {
                let (author, generation) = (*author, *generation);
                Problem::Noted { author, generation }
            }));
        }
        Ok(())
    }

    fn rows(&self, problems: &mut Vec<Problem>) -> Result<u64, Fault> {
        let (mut count, mut named) = (0, 0);
        let mut differs = |at: &[u8], problems: &mut Vec<Problem>| {
            named += 1;
            if named <= MAX_NAMED_ROWS {
                problems.push(self.row(at));
            }
        };
        each(self.ours, |at, bytes| {
            count += 1;
            let theirs = self.theirs.2.get(Table::Row, at)?;
            if !self.is_same(bytes, theirs)? {
                differs(at, problems);
            }
            Ok(())
        })?;
        each(self.theirs, |at, _| {
            if self.ours.2.get(Table::Row, at)?.is_none() {
                differs(at, problems);
            }
            Ok(())
        })?;
        // Local numbers are in none of these keys but that of the syncgroup, which is the same on both sides.
        let (ours, theirs) = (raw(self.ours, Table::Conflict)?, raw(self.theirs, Table::Conflict)?);
        let keys = |marks: Vec<(Bytes, Bytes)>| marks.into_iter().map(|(at, _)| at).collect::<BTreeSet<_>>();
        keys(ours).symmetric_difference(&keys(theirs)).for_each(|at| differs(at, problems));
        Ok(count)
    }

    /// Whether a row is the same on both sides.
    fn is_same(&self, ours: &[u8], theirs: Option<Bytes>) -> Result<bool, Fault> {
        let Some(theirs) = theirs else { return Ok(false) };
        let read = |bytes| RowState::from_bytes(bytes).map_err(|error| corrupt(Table::Row, error));
        let (ours, theirs) = (read(Bytes::copy_from_slice(ours))?, read(theirs)?);
        let their_number = |ix| self.theirs.0.authors.find(&self.ours.0.authors.get(ix)?);
        Ok(ours.renumbered(their_number).is_some_and(|ours| ours == theirs))
    }

    fn row(&self, at: &[u8]) -> Problem {
        let rest = key::split_number(at).map_or(at, |(_, rest)| rest);
        let (collection, key) = rest.split_first_chunk().unwrap_or((&[0; 8], rest));
        let collection = CollectionId(*collection);
        let name = self.ours.1.metadata.collections().get(&collection);
        Problem::Row {
            collection: name.map_or_else(|| alloc::format!("{collection:?}"), ToString::to_string),
            key: key.escape_ascii().to_string(),
        }
    }
}

fn stored((_, group, view): Side<'_>, author: AuthorIx, generation: Generation) -> Result<Stored, Fault> {
    Stored::get(&|table, key| view.get(table, key), group.ix, author, generation)
}

/// A set of metadata, by the full names of its authors.
fn past((replica, group, _): Side<'_>, ix: crate::syncgroup::PastIx) -> Vec<(Option<Author>, Generation)> {
    let places = group.pasts.get(ix).0.iter();
    let mut named: Vec<_> = places.map(|(author, last)| (replica.authors.get(*author), *last)).collect();
    named.sort_unstable();
    named
}

/// The generations of a syncgroup that are marked in a table.
fn marked(side: Side<'_>, table: Table) -> Result<BTreeSet<(Author, Generation)>, Fault> {
    let place = |at: &[u8]| {
        let (_, rest) = key::split_number(at)?;
        let (author, rest) = key::split_number(rest)?;
        Some((side.0.authors.get(author)?, Generation::from_be_bytes(rest.try_into().ok()?)))
    };
    let wrong = || corrupt(table, DecodeError { what: "which generation it is" });
    raw(side, table)?.into_iter().map(|(at, _)| place(&at).ok_or_else(wrong)).collect()
}

/// What the next generation builds on, by the full names of authors.
fn frontier((replica, group, _): Side<'_>) -> BTreeSet<(Option<Author>, Generation)> {
    group.tip.frontier.iter().map(|(author, last)| (replica.authors.get(*author), *last)).collect()
}

/// Calls with each row of a syncgroup as it is stored.
fn each(
    (_, group, view): Side<'_>,
    mut row: impl FnMut(&[u8], &[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let (from, end) = (key::number(group.ix), group.ix.checked_add(1).map(key::number));
    let mut failed = Ok(());
    view.scan(&Scan::range(Table::Row, &from, end.as_deref()), &mut |at, bytes| match row(at, bytes) {
        Ok(()) => ControlFlow::Continue(()),
        Err(fault) => {
            failed = Err(fault);
            ControlFlow::Break(())
        }
    })?;
    failed
}

fn raw((_, group, view): Side<'_>, table: Table) -> Result<Vec<(Bytes, Bytes)>, Fault> {
    let (from, end) = (key::number(group.ix), group.ix.checked_add(1).map(key::number));
    entries(view, &Scan::range(table, &from, end.as_deref()))
}
