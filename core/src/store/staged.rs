//! Changes that are being planned, over the view that they are planned on: they can be read back before they
//! are committed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Fault, Table, View, Write};

pub(crate) struct Staged<'v> {
    view: &'v dyn View,
    writes: BTreeMap<(Table, Bytes), Option<Bytes>>,
}

impl<'v> Staged<'v> {
    pub(crate) fn new(view: &'v dyn View) -> Self {
        Self { view, writes: BTreeMap::new() }
    }

    /// The view below, without the changes.
    pub(crate) fn view(&self) -> &'v dyn View {
        self.view
    }

    pub(crate) fn get(&self, table: Table, key: &Bytes) -> Result<Option<Bytes>, Fault> {
        // Most plans write one generation and read nothing back: look below at once.
        if !self.writes.is_empty()
            && let Some(value) = self.writes.get(&(table, key.clone()))
        {
            return Ok(value.clone());
        }
        self.view.get(table, key)
    }

    pub(crate) fn put(&mut self, table: Table, key: Bytes, value: Bytes) {
        self.writes.insert((table, key), Some(value));
    }

    pub(crate) fn remove(&mut self, table: Table, key: Bytes) {
        self.writes.insert((table, key), None);
    }

    /// The changes, one for each (table, key), in that order.
    pub(crate) fn into_writes(self) -> Vec<Write> {
        let write = |((table, key), value)| Write { table, key, value };
        self.writes.into_iter().map(write).collect()
    }
}
