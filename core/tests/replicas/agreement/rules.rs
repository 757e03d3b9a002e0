//! What merging rows show, from all that was written and what of it counts: by the definitions, without folds.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use driftless::{Elements, Fields, Merge, Operation, counter};

use super::super::name;
use super::{Done, What};

const LETTERS: [&str; 3] = ["a", "b", "c"];

fn path(which: usize) -> Vec<String> {
    ["x", "x.y", "x.y.z", "w"][which % 4].split('.').map(str::to_owned).collect()
}

/// One of the operations of a merge.
pub(super) fn operation(merge: &Merge, which: usize) -> Operation {
    let letter = LETTERS[which % 3];
    match merge {
        Merge::Counter => Operation::Add(10_i64.pow(which as u32) - 4),
        Merge::Set if which < 5 => Operation::Insert(letter.into()),
        Merge::Set => Operation::Remove(letter.into()),
        Merge::Fields if which < 6 => Operation::SetField { path: path(which), value: letter.into() },
        Merge::Fields => Operation::RemoveField { path: path(which) },
        _ => Operation::Named { merge: name("joined"), operation: letter.into() },
    }
}

/// One of the values that can be put.
pub(super) fn value(merge: &Merge, which: usize) -> Bytes {
    match merge {
        Merge::Counter => counter::format(which as i128 * 1_000_000_000),
        Merge::Set => LETTERS[..which].iter().map(|it| Bytes::from(*it)).collect::<Elements>().to_bytes(),
        Merge::Fields => {
            let leaf = |path: Vec<String>| (path, Bytes::from(format!("put {which}")));
            Fields((0..which).filter(|it| it % 2 == which % 2).map(path).map(leaf).collect()).to_bytes()
        }
        _ => Bytes::from(format!("put {which}")),
    }
}

/// The puts and deletes that no other one knew, the last first, and the operations that none knew, in order of time.
fn standing(done: &[Done], counts: &BTreeSet<usize>) -> (Vec<usize>, Vec<usize>) {
    let is_base = |it: &usize| matches!(done[*it].what, What::Put(_) | What::Delete);
    let is_replaced = |it: &usize| counts.iter().any(|by| is_base(by) && done[*by].past.contains(it));
    let left = counts.iter().copied().filter(|it| !is_replaced(it));
    let (mut bases, live): (Vec<_>, Vec<_>) = left.partition(is_base);
    bases.reverse();
    (bases, live)
}

/// The elements that are in a set, each with what brought it.
pub(super) fn brought(done: &[Done], counts: &BTreeSet<usize>) -> BTreeSet<(Bytes, usize)> {
    let (bases, live) = standing(done, counts);
    let mut brought = BTreeSet::new();
    for it in bases.iter().chain(&live) {
        match &done[*it].what {
            What::Put(value) => {
                brought
                    .extend(Elements::from_bytes(value).unwrap().0.into_iter().map(|element| (element, *it)));
            }
            What::Operate(Operation::Insert(element)) => _ = brought.insert((element.clone(), *it)),
            _ => {}
        }
    }
    for it in &live {
        if let What::Take(element, by) = &done[*it].what {
            brought.retain(|(known, brought_by)| known != element || !by.contains(brought_by));
        }
    }
    brought
}

/// What readers see.
pub(super) fn shown(merge: &Merge, done: &[Done], counts: &BTreeSet<usize>) -> Option<Bytes> {
    let (bases, live) = standing(done, counts);
    let put = |it: &usize| if let What::Put(value) = &done[*it].what { Some(value.clone()) } else { None };
    let puts: Vec<Bytes> = bases.iter().filter_map(put).collect();
    if live.is_empty() && puts.len() < 2 || live.is_empty() && *merge == Merge::Counter {
        // One is shown as it is, and of several puts of a counter the last.
        return if *merge == Merge::Counter { put(bases.first()?) } else { puts.into_iter().next() };
    }
    Some(match merge {
        Merge::Counter => {
            let base = bases.first().and_then(put).map_or(0, |value| counter::parse(&value).unwrap());
            let added = live.iter().map(|it| match done[*it].what {
                What::Operate(Operation::Add(amount)) => i128::from(amount),
                _ => unreachable!(),
            });
            counter::format(base + added.sum::<i128>())
        }
        Merge::Set => {
            brought(done, counts).into_iter().map(|(element, _)| element).collect::<Elements>().to_bytes()
        }
        Merge::Fields => fields(done, &bases, &live),
        _ => {
            let appended = live.iter().map(|it| match &done[*it].what {
                What::Operate(Operation::Named { operation, .. }) => operation.clone(),
                _ => unreachable!(),
            });
            puts.into_iter().chain(appended).collect::<Vec<_>>().join(&b'|').into()
        }
    })
}

fn fields(done: &[Done], bases: &[usize], live: &[usize]) -> Bytes {
    // Each change: when, where, and what to.
    let mut changes: Vec<(usize, Vec<String>, Option<Bytes>)> = Vec::new();
    for it in bases.iter().chain(live) {
        match &done[*it].what {
            What::Put(value) => {
                let fields = Fields::from_bytes(value).unwrap().0.into_iter();
                changes.extend(fields.map(|(path, value)| (*it, path, Some(value))));
            }
            What::Operate(Operation::SetField { path, value }) => {
                changes.push((*it, path.clone(), Some(value.clone())));
            }
            What::Operate(Operation::RemoveField { path }) => changes.push((*it, path.clone(), None)),
            _ => {}
        }
    }
    let stays = |(at, path, _): &&(usize, Vec<String>, Option<Bytes>)| {
        !changes.iter().any(|(later, above, _)| later > at && path.starts_with(above))
    };
    let left: BTreeMap<&Vec<String>, &Bytes> =
        changes.iter().filter(stays).filter_map(|(_, path, value)| Some((path, value.as_ref()?))).collect();
    // Where something is below a field it is a tree, and has no value of its own.
    let is_leaf =
        |path: &Vec<String>| !left.keys().any(|other| other.len() > path.len() && other.starts_with(path));
    let leaves = left
        .iter()
        .filter(|(path, _)| is_leaf(path))
        .map(|(path, value)| ((*path).clone(), (*value).clone()));
    Fields(leaves.collect()).to_bytes()
}
