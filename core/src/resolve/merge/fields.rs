//! Trees of fields. Each field is a register of its own: its last change counts. Setting or removing a field
//! also removes what was below it before; and a field that is set below one makes a tree of it.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Base;
use crate::id::Version;
use crate::limits;
use crate::time::Hlc;

/// The names on the way to a field, the outermost first.
type Path = Vec<String>;

/// A change of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FieldChange {
    pub(crate) path: Path,
    /// `None` removes it.
    pub(crate) value: Option<Bytes>,
}

/// The value of a row of fields: each leaf of the tree, by the names on the way to it.
///
/// ```
/// use driftless::Fields;
/// let mut fields = Fields::default();
/// fields.0.insert(vec!["address".into(), "city".into()], "Basel".into());
/// assert_eq!(Fields::from_bytes(&fields.to_bytes()), Some(fields));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields(
    /// In order of their paths. No path is the beginning of another.
    pub BTreeMap<Vec<String>, Bytes>,
);

impl Fields {
    /// Reads the value of a row. `None` if it is no tree of fields.
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        let (fields, rest) = postcard::take_from_bytes::<Self>(value).ok()?;
        if !fields.0.keys().all(|path| is_path(path)) {
            return None;
        }
        // In order, a path that is the beginning of another comes right before one such.
        let mut pairs = fields.0.keys().zip(fields.0.keys().skip(1));
        let is_tree = pairs.all(|(path, next)| !next.starts_with(path));
        (rest.is_empty() && is_tree).then_some(fields)
    }

    /// The value of a row with these fields.
    pub fn to_bytes(&self) -> Bytes {
        // Serialising such a type into memory cannot fail.
        postcard::to_allocvec(self).unwrap_or_default().into()
    }
}

/// Whether a field can have this path: each change of one looks at all above it.
pub(crate) fn is_path(path: &[String]) -> bool {
    (1..=limits::MAX_PATH).contains(&path.len())
}

/// The last change of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Register {
    at: (Hlc, Version),
    value: Option<Bytes>,
}

/// The fields that a row's live operations have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registers(BTreeMap<Path, Register>);

impl Registers {
    pub(super) fn take(&mut self, changes: &[FieldChange], at: (Hlc, Version)) {
        for change in changes {
            self.set(&change.path, Register { at, value: change.value.clone() });
        }
    }

    /// Changes a field, unless it, or one above it, was changed later.
    fn set(&mut self, path: &[String], register: Register) {
        let later = |above: &Register| above.at > register.at;
        let is_hidden =
            (0..=path.len()).any(|len| path.get(..len).and_then(|p| self.0.get(p)).is_some_and(later));
        if is_hidden {
            return;
        }
        let from = path.to_vec();
        let below = self.0.range(from.clone()..).take_while(|(other, _)| other.starts_with(path));
        let earlier = below.filter(|(_, below)| below.at < register.at);
        let earlier: Vec<Path> = earlier.map(|(path, _)| path.clone()).collect();
        earlier.iter().for_each(|path| drop(self.0.remove(path)));
        self.0.insert(from, register);
    }

    pub(super) fn fields(&self, bases: &[Base]) -> Fields {
        let mut all = self.clone();
        for base in bases {
            let fields = base.value.as_deref().and_then(Fields::from_bytes).unwrap_or_default();
            for (path, value) in fields.0 {
                all.set(&path, Register { at: (base.stamp, base.version), value: Some(value) });
            }
        }
        let mut fields = BTreeMap::new();
        for (path, register) in &all.0 {
            // What is left below is later, or of the same generation: there is a tree now, and no leaf.
            let mut below =
                all.0.range(path.clone()..).skip(1).take_while(|(other, _)| other.starts_with(path));
            let is_tree = below.any(|(_, below)| below.value.is_some());
            if let (Some(value), false) = (&register.value, is_tree) {
                fields.insert(path.clone(), value.clone());
            }
        }
        Fields(fields)
    }
}
