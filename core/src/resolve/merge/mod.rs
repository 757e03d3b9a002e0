//! Merges: rows whose value is *derived* from operations, on every device alike, and never written (S-16).
//!
//! A row's **live** operations are the valid ones that no put or delete has in its past; its **bases** are the
//! puts and deletes that no other put or delete has in its past. What readers see is a function of these two
//! sets, whatever the order in which their members arrived:
//!
//! | merge | bases | live operations |
//! |---|---|---|
//! | [`Merge::Counter`] | the last base, a decimal number | their sum is added |
//! | [`Merge::Set`] | the union of all puts | elements inserted, without those removed by whoever saw them inserted |
//! | [`Merge::Fields`] | each field of each put, at that put's stamp | each field by its last change |
//! | [`Merge::Named`] | all puts, last first | by a function of the embedder's, in the order of stamps |
//!
//! What that means for a put, a delete and something void beside operations is said at [`Merge`]. Operations
//! of another merge than the schema names are kept, and do not show: they show again should the schema go back.
//! A base that is no value of the merge (text under a counter) counts as the neutral one as soon as there are
//! operations, and is shown as it is until then.

pub mod counter;
pub(crate) mod fields;
mod set;

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::fields::{FieldChange, Registers};
pub use self::set::Elements;
use self::set::{SetChange, Tags};
use crate::id::{Name, Version};
use crate::time::Hlc;
use crate::wire::codec::{DecodeError, Decoded};

/// How a merging row is merged (S-16).
///
/// A row's **bases** are its puts and deletes that no other put or delete knew, its **live** operations those that no
/// put or delete knew. What readers see is a function of these, whatever the order in which they arrived. So
///
/// * a **put beside operations** takes the place of those that its author knew; the others apply on top of it;
/// * a **delete beside operations** takes the place of those that its author knew; where somebody else operated
///   meanwhile the row is there again, with just that;
/// * an operation that is **void**, as its author was removed, counts as never made; where a put or a delete is void,
///   what it had taken the place of counts again, and operations on top of it stay.
///
/// Several bases stand where their authors did not know of each other: what becomes of them each merge says for itself.
///
/// The names of variants are never reused: their order is the encoding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Merge {
    /// A number to which devices add. Its value is a decimal number: see [`counter`].
    ///
    /// It is the last base and the sum of the live operations. Of several bases the others do not count; if the last one
    /// is a delete, it is the sum alone, and without live operations the row is not there.
    Counter,
    /// A set of byte strings: see [`Elements`]. An element that one device removes while another one inserts
    /// it stays.
    ///
    /// It is the union of all puts that stand and of what live operations inserted, without what live operations removed
    /// of that. A removal is about the insertions and puts that its author saw the element come from, and no others. A
    /// delete adds nothing, and takes nothing from a put that it did not know. A removal that is void leaves the element;
    /// an insertion that is void leaves none, unless somebody else inserted it too. What a put or a delete had replaced
    /// stands again if that is void, also beside a removal whose author saw nothing of it.
    Set,
    /// A tree of fields, each with a value of bytes: see [`Fields`](crate::Fields).
    ///
    /// Each field is as its last change says, or the last change of one above it. A put changes all fields that it has,
    /// at its time, and hides no others that it did not know. So fields that only one of several puts has are all there.
    /// A delete removes what it knew, and nothing else. A change that is void leaves the field as the one before it did.
    Fields,
    /// By a function that the embedder registers under this name: see [`MergeFunction`].
    ///
    /// It is given all puts that stand, the last first, and all live operations in the order of their stamps. Deletes it is
    /// not told of: what they knew is not among the rest. Neither is what is void.
    Named(Name),
}

impl fmt::Display for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Merge::Counter => f.write_str("counter"),
            Merge::Set => f.write_str("set"),
            Merge::Fields => f.write_str("fields"),
            Merge::Named(name) => write!(f, "\"{name}\""),
        }
    }
}

/// A change of a merging row that leaves room for the changes of others.
///
/// ```
/// use driftless::{LocalWrite, Name, Operation, RowRef, SyncgroupId};
/// # let syncgroup = SyncgroupId([7; 32]);
/// let row = RowRef { syncgroup, collection: Name::new("stock").unwrap(), key: "apples".into() };
/// let batch = LocalWrite::new().operate(row, Operation::Add(-3));
/// # assert_eq!(batch.changes.len(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Adds to a counter.
    Add(i64),
    /// Puts an element into a set.
    Insert(Bytes),
    /// Takes an element out of a set. What others insert meanwhile stays.
    Remove(Bytes),
    /// Sets a field, and removes what was below it.
    SetField {
        /// The names on the way to it, the outermost first; at least one.
        path: Vec<alloc::string::String>,
        /// Its value.
        value: Bytes,
    },
    /// Removes a field and all below it.
    RemoveField {
        /// The names on the way to it, the outermost first; at least one.
        path: Vec<alloc::string::String>,
    },
    /// Something that only a registered function understands.
    Named {
        /// The name of the function.
        merge: Name,
        /// What it is given.
        operation: Bytes,
    },
}

impl Operation {
    /// By which merge it is understood.
    pub fn merge(&self) -> Merge {
        match self {
            Operation::Add(_) => Merge::Counter,
            Operation::Insert(_) | Operation::Remove(_) => Merge::Set,
            Operation::SetField { .. } | Operation::RemoveField { .. } => Merge::Fields,
            Operation::Named { merge, .. } => Merge::Named(merge.clone()),
        }
    }
}

/// A merge of the embedder's, for example of documents of a CRDT library. Register it in
/// [`Config::merges`](crate::Config::merges) on every device that reads such rows; a device without it keeps
/// the operations, and shows the last put.
///
/// ```
/// /// Keeps the longest text.
/// #[derive(Debug)]
/// struct Longest;
///
/// impl driftless::MergeFunction for Longest {
///     fn name(&self) -> &str {
///         "longest"
///     }
///     fn merge(&self, bases: &[&[u8]], operations: &[&[u8]]) -> Option<Vec<u8>> {
///         let all = bases.iter().chain(operations);
///         all.max_by_key(|text| text.len()).map(|text| text.to_vec())
///     }
/// }
/// assert_eq!(driftless::MergeFunction::merge(&Longest, &[b"abc"], &[b"ab", b"abcd"]).unwrap(), b"abcd");
/// ```
pub trait MergeFunction: Sync {
    /// The name that schemas and operations call it by.
    fn name(&self) -> &str;

    /// The value of a row with these puts, the last first, and these live operations, in the order of
    /// `(stamp, version)`, which is the same everywhere and respects causes. `None` if the row is not there.
    ///
    /// It must be a function of its arguments alone, and not panic: they may come from anybody who may write.
    fn merge(&self, bases: &[&[u8]], operations: &[&[u8]]) -> Option<Vec<u8>>;
}

/// The functions that an embedder has registered.
pub(crate) type Functions = [&'static dyn MergeFunction];

/// What a record of operations says: all changes of one row in one generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Operations {
    Counter(i64),
    Set(Vec<SetChange>),
    Fields(Vec<FieldChange>),
    Named(Name, Vec<Bytes>),
}

impl Operations {
    pub(crate) fn merge(&self) -> Merge {
        match self {
            Operations::Counter(_) => Merge::Counter,
            Operations::Set(_) => Merge::Set,
            Operations::Fields(_) => Merge::Fields,
            Operations::Named(name, _) => Merge::Named(name.clone()),
        }
    }

    /// What was done, as an application says it.
    pub(crate) fn into_told(self) -> Vec<Operation> {
        match self {
            Operations::Counter(amount) => alloc::vec![Operation::Add(amount)],
            Operations::Set(changes) => changes
                .into_iter()
                .map(|SetChange { element, removes }| match removes {
                    None => Operation::Insert(element),
                    Some(_) => Operation::Remove(element),
                })
                .collect(),
            Operations::Fields(changes) => changes
                .into_iter()
                .map(|FieldChange { path, value }| match value {
                    Some(value) => Operation::SetField { path, value },
                    None => Operation::RemoveField { path },
                })
                .collect(),
            Operations::Named(merge, list) => {
                let operation = |operation| Operation::Named { merge: merge.clone(), operation };
                list.into_iter().map(operation).collect()
            }
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Serialising such a type into memory cannot fail; empty operations would be refused.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Decoded<Self> {
        match postcard::take_from_bytes::<Self>(bytes) {
            Ok((operations, [])) if operations.is_sound() => Ok(operations),
            _ => Err(DecodeError { what: "operations" }),
        }
    }

    /// Gives the insertions that it undoes other names, those that have any; or adds these, where both count.
    pub(crate) fn rename(&mut self, name: impl Fn(&Version) -> Option<Version>, both: bool) {
        let Operations::Set(changes) = self else { return };
        for removals in changes.iter_mut().filter_map(|change| change.removes.as_mut()) {
            let named: Vec<Version> = removals.iter().filter_map(&name).collect();
            removals.retain(|version| both || name(version).is_none());
            removals.extend(named);
        }
    }

    /// Whether all fields have a name, and not too long a path: one without would be the whole tree, which is no field of
    /// it.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Operations::Fields(changes) => changes.iter().all(|change| fields::is_path(&change.path)),
            _ => true,
        }
    }

    /// An operation as it is written, with what its author sees of the row: for an element of a set, the
    /// versions that inserted it.
    pub(crate) fn prepare(operation: Operation, inserted_by: impl Fn(&[u8]) -> Vec<Version>) -> Self {
        match operation {
            Operation::Add(amount) => Operations::Counter(amount),
            Operation::Insert(element) => Operations::Set(alloc::vec![SetChange { element, removes: None }]),
            Operation::Remove(element) => {
                let removes = Some(inserted_by(&element));
                Operations::Set(alloc::vec![SetChange { element, removes }])
            }
            Operation::SetField { path, value } => {
                Operations::Fields(alloc::vec![FieldChange { path, value: Some(value) }])
            }
            Operation::RemoveField { path } => {
                Operations::Fields(alloc::vec![FieldChange { path, value: None }])
            }
            Operation::Named { merge, operation } => Operations::Named(merge, alloc::vec![operation]),
        }
    }

    /// Adds a later change of the same row in the same batch. Gives it back if it is of another merge, or if
    /// the two together cannot be said.
    pub(crate) fn join(&mut self, later: Operations) -> Result<(), Operations> {
        match (self, later) {
            (Operations::Counter(sum), Operations::Counter(amount)) => {
                *sum = sum.checked_add(amount).ok_or(Operations::Counter(amount))?;
            }
            (Operations::Set(changes), Operations::Set(later)) => {
                for change in later {
                    changes.retain(|before| before.element != change.element);
                    changes.push(change);
                }
            }
            (Operations::Fields(changes), Operations::Fields(later)) => {
                for change in later {
                    changes.retain(|before| !before.path.starts_with(&change.path));
                    changes.push(change);
                }
            }
            (Operations::Named(name, list), Operations::Named(other, later)) if *name == other => {
                list.extend(later);
            }
            (_, later) => return Err(later),
        }
        Ok(())
    }
}

/// A put or a delete that counts for a merging row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) stamp: Hlc,
    pub(crate) version: Version,
    /// `None` deletes.
    pub(crate) value: Option<Bytes>,
}

/// An operation for a function of the embedder's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct NamedOperation {
    stamp: Hlc,
    version: Version,
    bytes: Vec<Bytes>,
}

/// All live operations of one merge of a row, folded together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fold {
    Counter(i128),
    Set(Tags),
    Fields(Registers),
    /// Ordered: only the embedder's function could fold them.
    Named(Name, Vec<NamedOperation>),
}

impl Fold {
    fn neutral(merge: &Merge) -> Self {
        match merge {
            Merge::Counter => Fold::Counter(0),
            Merge::Set => Fold::Set(Tags::default()),
            Merge::Fields => Fold::Fields(Registers::default()),
            Merge::Named(name) => Fold::Named(name.clone(), Vec::new()),
        }
    }

    fn merge(&self) -> Merge {
        match self {
            Fold::Counter(_) => Merge::Counter,
            Fold::Set(_) => Merge::Set,
            Fold::Fields(_) => Merge::Fields,
            Fold::Named(name, _) => Merge::Named(name.clone()),
        }
    }

    fn is_of(&self, merge: &Merge) -> bool {
        self.merge() == *merge
    }

    /// Takes in the operations of a record. The order does not matter.
    fn take(&mut self, operations: &Operations, stamp: Hlc, version: Version) {
        match (self, operations) {
            (Fold::Counter(sum), Operations::Counter(amount)) => *sum = sum.wrapping_add(i128::from(*amount)),
            (Fold::Set(tags), Operations::Set(changes)) => tags.take(changes, version),
            (Fold::Fields(registers), Operations::Fields(changes)) => {
                registers.take(changes, (stamp, version));
            }
            (Fold::Named(_, list), Operations::Named(_, bytes)) => {
                let operation = NamedOperation { stamp, version, bytes: bytes.clone() };
                let at = list.partition_point(|before| *before < operation);
                list.insert(at, operation);
            }
            _ => {}
        }
    }
}

/// Takes operations into the fold of their merge.
pub(crate) fn take(folds: &mut Vec<Fold>, operations: &Operations, stamp: Hlc, version: Version) {
    let merge = operations.merge();
    match folds.iter_mut().find(|fold| fold.is_of(&merge)) {
        Some(fold) => fold.take(operations, stamp, version),
        None => {
            let mut fold = Fold::neutral(&merge);
            fold.take(operations, stamp, version);
            // In one order, whichever came first: so rows are the same bytes wherever they come to the same.
            let at = folds.partition_point(|before| before.merge() < merge);
            folds.insert(at, fold);
        }
    }
}

/// The versions that put an element into a set and were not removed.
pub(crate) fn inserted_by(folds: &[Fold], bases: &[Base], element: &[u8]) -> Vec<Version> {
    let nothing = Tags::default();
    let tags = folds.iter().find_map(|fold| if let Fold::Set(tags) = fold { Some(tags) } else { None });
    tags.unwrap_or(&nothing).of(bases, element)
}

/// What readers see of a row with these bases, the last first, and these live operations. `None` if it is not
/// there.
pub(crate) fn shown(merge: &Merge, bases: &[Base], folds: &[Fold], functions: &Functions) -> Option<Bytes> {
    let last = || bases.first().and_then(|base| base.value.clone());
    let Some(fold) = folds.iter().find(|fold| fold.is_of(merge)) else {
        // Nothing but puts and deletes: one is shown as it is; several are merged where that means something.
        let puts = bases.iter().filter(|base| base.value.is_some()).count();
        return match merge {
            Merge::Counter => last(),
            _ if puts < 2 => bases.iter().find_map(|base| base.value.clone()),
            _ => show(&Fold::neutral(merge), bases, functions),
        };
    };
    show(fold, bases, functions)
}

fn show(fold: &Fold, bases: &[Base], functions: &Functions) -> Option<Bytes> {
    let last = || bases.first().and_then(|base| base.value.clone());
    match fold {
        Fold::Counter(sum) => {
            let base = last().and_then(|value| counter::parse(&value)).unwrap_or(0);
            Some(counter::format(base.wrapping_add(*sum)))
        }
        Fold::Set(tags) => Some(tags.elements(bases).to_bytes()),
        Fold::Fields(registers) => Some(registers.fields(bases).to_bytes()),
        Fold::Named(name, operations) => {
            let Some(function) = functions.iter().find(|function| function.name() == name.as_str()) else {
                return last();
            };
            let puts: Vec<&[u8]> = bases.iter().filter_map(|base| base.value.as_deref()).collect();
            let operations: Vec<&[u8]> = operations.iter().flat_map(|o| &o.bytes).map(|b| &b[..]).collect();
            function.merge(&puts, &operations).map(Bytes::from)
        }
    }
}

/// Whether a value can be the base of a merge; functions of the embedder's take anything.
pub(crate) fn is_base(merge: &Merge, value: &[u8]) -> bool {
    match merge {
        Merge::Counter => counter::parse(value).is_some(),
        Merge::Set => Elements::from_bytes(value).is_some(),
        Merge::Fields => fields::Fields::from_bytes(value).is_some(),
        Merge::Named(_) => true,
    }
}

#[cfg(test)]
mod tests;
