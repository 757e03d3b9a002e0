//! What a store must show: one map, read in the most naive way.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::CommitSeq;
use crate::store::{Commit, Scan, Table};

/// Keys with their values, in the order of a scan.
pub(super) type Entries = Vec<(Bytes, Bytes)>;

/// A store as one map.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    entries: BTreeMap<(Table, Bytes), Bytes>,
    pub(super) seq: CommitSeq,
}

impl Model {
    pub(super) fn apply(&mut self, commit: &Commit) {
        for write in &commit.writes {
            let key = (write.table, write.key.clone());
            match &write.value {
                Some(value) => drop(self.entries.insert(key, value.clone())),
                None => drop(self.entries.remove(&key)),
            }
        }
        self.seq = commit.seq;
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Option<Bytes> {
        self.entries.get(&(table, Bytes::copy_from_slice(key))).cloned()
    }

    pub(super) fn scan(&self, scan: &Scan<'_>) -> Entries {
        let inside = |table: Table, key: &[u8]| {
            table == scan.table && key >= scan.from && scan.to.is_none_or(|to| key < to)
        };
        let mut found: Entries = self
            .entries
            .iter()
            .filter(|((table, key), _)| inside(*table, key))
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect();
        if scan.reverse {
            found.reverse();
        }
        found.truncate(scan.limit);
        found
    }
}

/// Where two lists part, in words.
pub(super) fn first_difference(expected: &Entries, found: &Entries) -> Option<(String, String)> {
    let at = expected.iter().zip(found).take_while(|(expected, found)| expected == found).count();
    let show = |entries: &Entries| match entries.get(at) {
        Some((key, value)) => format!("{} = {} as entry {}", brief(key), brief(value), at + 1),
        None => format!("an end after {at} entries"),
    };
    (at < expected.len() || at < found.len()).then(|| (show(expected), show(found)))
}

/// A scan in words.
pub(super) fn describe(scan: &Scan<'_>, seq: CommitSeq) -> String {
    let to = scan.to.map_or("the end".into(), brief);
    let order = if scan.reverse { ", in reverse" } else { "" };
    let limit = if scan.limit == usize::MAX { String::new() } else { format!(", at most {}", scan.limit) };
    let (table, from) = (scan.table.name(), brief(scan.from));
    format!("a scan of {table} from {from} to {to}{order}{limit}, at commit {}", seq.0)
}

/// Bytes as text that fits on a line.
pub(super) fn brief(bytes: &[u8]) -> String {
    match bytes.get(..24) {
        Some(start) => format!("\"{}…\" ({} bytes)", start.escape_ascii(), bytes.len()),
        None => format!("\"{}\"", bytes.escape_ascii()),
    }
}
