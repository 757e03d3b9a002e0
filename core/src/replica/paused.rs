//! The databases whose exchange with others is paused (S-37). They need not have a syncgroup, nor be known otherwise.

use alloc::collections::BTreeSet;

use bytes::Bytes;

use super::stored::corrupt;
use crate::id::Name;
use crate::store::key::meta;
use crate::store::{Fault, Table, View};
use crate::wire::codec::DecodeError;

/// The names of the databases that are paused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Paused(BTreeSet<Name>);

impl Paused {
    pub(super) fn load(view: &dyn View) -> Result<Self, Fault> {
        let Some(bytes) = view.get(Table::Meta, meta::PAUSED)? else { return Ok(Self::default()) };
        let wrong = |_| corrupt(Table::Meta, DecodeError { what: "the paused databases" });
        postcard::from_bytes(&bytes).map(Self).map_err(wrong)
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        // Serialising such a type into memory cannot fail; a store that holds less than that is refused at boot.
        postcard::to_allocvec(&self.0).unwrap_or_default().into()
    }

    pub(crate) fn contains(&self, database: &Name) -> bool {
        self.0.contains(database)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.iter()
    }

    /// The same with one database paused, or not.
    pub(crate) fn with(&self, database: Name, paused: bool) -> Self {
        let mut names = self.0.clone();
        if paused {
            names.insert(database);
        } else {
            names.remove(&database);
        }
        Self(names)
    }
}
