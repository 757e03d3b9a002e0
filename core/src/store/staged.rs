//! Changes that are being planned, over the view that they are planned on: they can be read back before they
//! are committed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;

use super::{Fault, Scan, Table, View, Write};

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

    /// Whether there is anything whose key begins so.
    pub(crate) fn has_under(&self, table: Table, prefix: &Bytes) -> Result<bool, Fault> {
        let later = self.writes.range((table, prefix.clone())..);
        let mut under = later.take_while(|((of, key), _)| *of == table && key.starts_with(prefix));
        let mut has = under.any(|(_, value)| value.is_some());
        if !has {
            self.view.scan(&Scan::range(table, prefix, None), &mut |key, _| {
                let is_under = key.starts_with(prefix);
                let key = (table, Bytes::copy_from_slice(key));
                has = is_under && !matches!(self.writes.get(&key), Some(None));
                if is_under && !has { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
        }
        Ok(has)
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
