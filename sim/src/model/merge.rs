//! What merging rows show, said by what was done to them, without folds and without regard to the order in which
//! anything arrived (S-16).
//!
//! * A *counter* is the number that the last base put, or 0, and all that was added to it since.
//! * A *set* has the elements that somebody put or inserted, except those that somebody removed who saw it. What one saw
//!   is what counted by all that one held, and was not removed: if something that had replaced an insertion is void
//!   later, that insertion counts again, and so does it after a removal whose author saw nothing of it.
//! * A tree of *fields* has the fields that were put or set and that nothing later removed or set, there or above;
//!   where something is below a field, it is a tree and has no value of its own.
//! * What is *joined* is all puts, the last first, and then all that was appended, in order of time.
//! * A merge of the application under test is what its function makes of the same two lists.
//!
//! As long as nobody has operated on it, one put is shown as it is, whatever it says; and so is the last of
//! several puts of a counter.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use driftless::{Author, DeviceId, Elements, Fields, Hlc, Incarnation, Merge, Operation, Version};

use super::{Head, Live, merge_of};
use crate::merges::Merges;

/// What a row shows; bases and operations come with the last first.
pub(super) fn merged(merge: &Merge, merges: &Merges, bases: &[Head], live: &[Live]) -> Option<Bytes> {
    // All operations of one version are of one merge: others are refused.
    let is_of = |live: &&Live| live.operations.iter().any(|operation| merge_of(operation) == *merge);
    let live: Vec<&Live> = live.iter().filter(is_of).collect();
    let puts: Vec<&Bytes> = bases.iter().filter_map(|base| base.value.as_ref()).collect();
    if live.is_empty() {
        match (merge, &puts[..]) {
            (Merge::Counter, _) => return bases.first()?.value.clone(),
            (_, []) => return None,
            (_, [one]) => return Some((*one).clone()),
            _ => {}
        }
    }
    Some(match merge {
        Merge::Counter => counter(bases, &live),
        Merge::Set => set(bases, &live),
        Merge::Fields => fields(bases, &live),
        Merge::Named(name) => match merges.named(name) {
            Some(function) => {
                let puts: Vec<&[u8]> = puts.iter().map(|put| &put[..]).collect();
                let done: Vec<&[u8]> = done(&live).map(|operation| &operation[..]).collect();
                function.merge(&puts, &done)?.into()
            }
            None => joined(&puts, &live),
        },
        _ => return None,
    })
}

/// What an operation makes of a value that was put, or of nothing.
pub(super) fn one(merges: &Merges, value: Option<&Bytes>, operation: &Operation) -> Option<Bytes> {
    let author = Author { device: DeviceId([0; 16]), incarnation: Incarnation(0) };
    let version = |generation| Version { author, generation };
    let base = Head { version: version(1), stamp: Hlc(1), value: value.cloned(), is_operation: false };
    let operations = vec![operation.clone()];
    let undoes = removed(&operations).map(|element| (element.clone(), base.version)).collect();
    merged(&merge_of(operation), merges, &[base], &[Live { at: (Hlc(2), version(2)), undoes, operations }])
}

/// Whether a value can be put where rows merge.
pub fn is_base(merge: &Merge, value: &[u8]) -> bool {
    match merge {
        Merge::Counter => number(value).is_some(),
        Merge::Set => Elements::from_bytes(value).is_some(),
        Merge::Fields => Fields::from_bytes(value).is_some(),
        _ => true,
    }
}

fn number(value: &[u8]) -> Option<i128> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn counter(bases: &[Head], live: &[&Live]) -> Bytes {
    let start = bases.first().and_then(|base| number(base.value.as_ref()?)).unwrap_or(0);
    let amount = |operation: &Operation| match operation {
        Operation::Add(amount) => i128::from(*amount),
        _ => 0,
    };
    let added: i128 = live.iter().flat_map(|live| &live.operations).map(amount).sum();
    Bytes::from((start + added).to_string())
}

fn set(bases: &[Head], live: &[&Live]) -> Bytes {
    Elements(there(bases, live).into_iter().map(|(element, _)| element).collect()).to_bytes()
}

/// The elements of a set, each with the versions that put or inserted it and were not removed.
pub(super) fn there(bases: &[Head], live: &[&Live]) -> BTreeSet<(Bytes, Version)> {
    let mut there = BTreeSet::new();
    for base in bases {
        let elements = base.value.as_ref().and_then(|value| Elements::from_bytes(value)).unwrap_or_default();
        there.extend(elements.0.into_iter().map(|element| (element, base.version)));
    }
    for live in live {
        let stays = last_of_each(&live.operations).into_iter().filter(|(_, stays)| *stays);
        there.extend(stays.map(|(element, _)| (element.clone(), live.at.1)));
    }
    for undone in live.iter().flat_map(|live| &live.undoes) {
        there.remove(undone);
    }
    there
}

/// The elements that a batch removes.
pub(super) fn removed(operations: &[Operation]) -> impl Iterator<Item = &Bytes> {
    last_of_each(operations).into_iter().filter(|(_, stays)| !stays).map(|(element, _)| element)
}

/// Of what one batch does to one element the last counts: whether that inserts it.
fn last_of_each(operations: &[Operation]) -> BTreeMap<&Bytes, bool> {
    let mut last = BTreeMap::new();
    for operation in operations {
        match operation {
            Operation::Insert(element) => last.insert(element, true),
            Operation::Remove(element) => last.insert(element, false),
            _ => None,
        };
    }
    last
}

/// A change of a field: when, by which version, the how-manyeth of its batch; where; and what to.
type FieldChange<'c> = ((Hlc, Version, usize), Vec<String>, Option<&'c Bytes>);

fn fields(bases: &[Head], live: &[&Live]) -> Bytes {
    let trees: Vec<(&Head, Fields)> =
        bases.iter().filter_map(|base| Some((base, Fields::from_bytes(base.value.as_ref()?)?))).collect();
    let mut changes: Vec<FieldChange<'_>> = Vec::new();
    for (base, fields) in &trees {
        let at = (base.stamp, base.version, 0);
        changes.extend(fields.0.iter().map(|(path, value)| (at, path.clone(), Some(value))));
    }
    for live in live {
        for (index, operation) in live.operations.iter().enumerate() {
            let at = (live.at.0, live.at.1, index);
            match operation {
                Operation::SetField { path, value } => changes.push((at, path.clone(), Some(value))),
                Operation::RemoveField { path } => changes.push((at, path.clone(), None)),
                _ => {}
            }
        }
    }
    let hidden = |(at, path, _): &&FieldChange<'_>| {
        changes.iter().any(|(later, above, _)| later > at && path.starts_with(above))
    };
    let counts: Vec<&FieldChange<'_>> = changes.iter().filter(|change| !hidden(change)).collect();
    let is_tree = |path: &Vec<String>| {
        let mut below = counts.iter().filter(|(.., value)| value.is_some());
        below.any(|(_, other, _)| other.len() > path.len() && other.starts_with(path))
    };
    let leaves = counts.iter().filter_map(|(_, path, value)| Some((path, (*value)?)));
    let leaves = leaves.filter(|(path, _)| !is_tree(path));
    Fields(leaves.map(|(path, value)| (path.clone(), value.clone())).collect()).to_bytes()
}

fn joined(puts: &[&Bytes], live: &[&Live]) -> Bytes {
    let text: Vec<&Bytes> = puts.iter().copied().chain(done(live)).collect();
    text.iter().map(|text| &text[..]).collect::<Vec<_>>().join(&b'|').into()
}

/// What was done to a row by operations that only a function understands, in order of time.
fn done<'l>(live: &'l [&Live]) -> impl Iterator<Item = &'l Bytes> {
    live.iter().rev().flat_map(|live| &live.operations).filter_map(|operation| match operation {
        Operation::Named { operation, .. } => Some(operation),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(by: u64, saw: u64, operation: Operation) -> Live {
        let author = |by| Author { device: DeviceId([by as u8; 16]), incarnation: Incarnation(0) };
        let version = |by| Version { author: author(by), generation: 1 };
        let operations = vec![operation];
        let undoes = removed(&operations).map(|element| (element.clone(), version(saw))).collect();
        Live { at: (Hlc(by), version(by)), undoes, operations }
    }

    #[test]
    fn an_element_is_gone_where_its_remover_saw_it_and_stays_where_not() {
        let (insert, remove) = (Operation::Insert("a".into()), Operation::Remove("a".into()));
        let is_there = |list: &[Live]| {
            Elements::from_bytes(&merged(&Merge::Set, &Merges::default(), &[], list).unwrap())
                .unwrap()
                .0
                .contains(&b"a"[..])
        };
        assert!(is_there(&[live(1, 0, insert.clone())]));
        assert!(!is_there(&[live(2, 1, remove.clone()), live(1, 0, insert.clone())]));
        assert!(is_there(&[live(3, 1, insert.clone()), live(2, 1, remove), live(1, 0, insert)]));
    }

    #[test]
    fn a_later_change_above_takes_what_is_below_and_what_is_below_makes_a_tree() {
        let set = |path: &[&str], value: &'static str| Operation::SetField {
            path: path.iter().map(ToString::to_string).collect(),
            value: value.into(),
        };
        let remove = Operation::RemoveField { path: vec!["a".into()] };
        let names = |list: &[Live]| {
            let fields =
                Fields::from_bytes(&merged(&Merge::Fields, &Merges::default(), &[], list).unwrap()).unwrap();
            fields.0.keys().map(|path| path.join(".")).collect::<Vec<_>>()
        };
        let (low, high) = (live(2, 0, set(&["a", "b"], "1")), live(1, 0, set(&["a"], "2")));
        assert_eq!(names(&[low.clone(), high.clone()]), ["a.b"]);
        assert_eq!(names(&[live(3, 0, remove), low, high]), [] as [&str; 0]);
    }

    #[test]
    fn a_counter_starts_from_what_was_put_and_from_nothing_where_that_is_no_number() {
        let value =
            |put: &'static str| one(&Merges::default(), Some(&put.into()), &Operation::Add(-3)).unwrap();
        assert_eq!(value("10"), "7");
        assert_eq!(value("ten"), "-3");
        assert_eq!(one(&Merges::default(), None, &Operation::Add(4)).unwrap(), "4");
    }
}
