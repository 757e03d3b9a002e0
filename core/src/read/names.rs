//! What local numbers stand for, and what policies say: each looked up once for one reader, and only if it is
//! needed.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::cmp::Ordering;

use bytes::Bytes;

use super::{Collection, Head, Row, schema};
use crate::hash::Tag;
use crate::id::{Author, CollectionId, Version};
use crate::log::record::Record;
use crate::object::history::{Node, Place, Versions};
use crate::object::{HeadContent, RowHead, RowState};
use crate::replica::authors::Authors;
use crate::replica::stored::{Stored, corrupt};
use crate::resolve::{Policy, Rule};
use crate::store::key::{self, AuthorIx, GroupIx};
use crate::store::{Fault, Table, View};
use crate::time::Hlc;
use crate::wire::codec::{DecodeError, Reader};

/// A reader's memory.
pub(super) struct Names<'v> {
    pub(super) view: &'v dyn View,
    pub(super) collection: &'v Collection,
    authors: BTreeMap<AuthorIx, Author>,
    rules: Option<Vec<Rule>>,
}

impl<'v> Names<'v> {
    pub(super) fn new(view: &'v dyn View, collection: &'v Collection) -> Self {
        Self { view, collection, authors: BTreeMap::new(), rules: None }
    }

    pub(super) fn author(&mut self, ix: AuthorIx) -> Result<Author, Fault> {
        if let Some(author) = self.authors.get(&ix) {
            return Ok(*author);
        }
        let author = author(self.view, ix)?;
        self.authors.insert(ix, author);
        Ok(author)
    }

    pub(super) fn version(&mut self, head: &RowHead) -> Result<Version, Fault> {
        Ok(Version { author: self.author(head.author)?, generation: head.generation })
    }

    pub(super) fn head(&mut self, head: &RowHead) -> Result<Head, Fault> {
        let is_operation = head.content == HeadContent::Operate;
        Ok(Head {
            version: self.version(head)?,
            stamp: head.stamp,
            value: head.value().cloned(),
            is_operation,
        })
    }

    /// The policy of a row: the longest prefix counts.
    pub(super) fn policy(&mut self, key: &[u8]) -> Result<Policy, Fault> {
        let rules = match &mut self.rules {
            Some(rules) => rules,
            none => none.insert(schema(self.view, self.collection)?),
        };
        let matching = rules.iter().filter(|rule| key.starts_with(&rule.prefix));
        let longest = matching.max_by_key(|rule| rule.prefix.len());
        Ok(longest.map(|rule| rule.policy.clone()).unwrap_or_default())
    }

    /// What readers see of a row.
    pub(super) fn value(&mut self, key: &[u8], state: &RowState) -> Result<Option<Bytes>, Fault> {
        if state.is_plain() {
            return Ok(state.last().and_then(|head| head.value().cloned()));
        }
        let policy = self.policy(key)?;
        let functions = &self.collection.merges.0;
        Ok(state.value(&policy, functions, self.authors_of(state)?))
    }

    /// Looks up everybody who wrote what is kept of a row.
    pub(super) fn authors_of(&mut self, state: &RowState) -> Result<impl Fn(AuthorIx) -> Author, Fault> {
        const NOBODY: Author =
            Author { device: crate::id::DeviceId([0; 16]), incarnation: crate::id::Incarnation(0) };
        let beneath = state.merging.iter().flat_map(|merging| &merging.beneath);
        for head in state.heads.iter().chain(beneath) {
            self.author(head.author)?;
        }
        Ok(|ix| self.authors.get(&ix).copied().unwrap_or(NOBODY))
    }

    pub(super) fn row(&mut self, key: Bytes, state: &RowState) -> Result<Option<Row>, Fault> {
        let Some(value) = self.value(&key, state)? else { return Ok(None) };
        let Some(last) = state.last() else { return Ok(None) };
        let version = self.version(last)?;
        let in_conflict = !state.is_plain() && state.in_conflict(&self.policy(&key)?);
        Ok(Some(Row { key, value, version, stamp: last.stamp, in_conflict }))
    }
}

/// The author of a local number.
pub(crate) fn author(view: &dyn View, ix: AuthorIx) -> Result<Author, Fault> {
    let wrong = |error| corrupt(Table::Author, error);
    let bytes = view.get(Table::Author, &key::number(ix))?;
    let bytes = bytes.ok_or_else(|| wrong(DecodeError { what: "an author" }))?;
    Reader::new(bytes).author("an author").map_err(wrong)
}

/// The versions of one row, in the log.
pub(super) struct RowVersions<'v> {
    pub(super) view: &'v dyn View,
    pub(super) collection: &'v Collection,
    pub(super) key: &'v Bytes,
    /// All authors of the store: a walk meets many of them.
    pub(super) authors: &'v Authors,
    pub(super) recent: &'v Recent,
}

/// The generations that were read last, with their records: who looks at the rows of a batch one after another finds
/// them in the same few. Empty, if it is not kept from one row to the next.
#[derive(Default)]
pub(super) struct Recent {
    kept: RefCell<VecDeque<Kept>>,
    /// Bytes of all generations that were read.
    bytes: Cell<usize>,
}

impl Recent {
    /// Bytes of all generations that were read so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get()
    }
}

/// How many.
const MOST_KEPT: usize = 4;

struct Kept {
    of: (GroupIx, Place),
    stamp: Hlc,
    batch: Option<[u8; 16]>,
    leaf: Tag,
    records: Vec<Record>,
    void: bool,
    /// Its size.
    bytes: usize,
}

impl Kept {
    fn read(
        view: &dyn View,
        (group, place): (GroupIx, Place),
        author: &Author,
    ) -> Result<Option<Self>, Fault> {
        let key = key::log(group, place.0, place.1);
        let Some(bytes) = view.get(Table::Log, &key)? else { return Ok(None) };
        let size = bytes.len();
        let encoded = Stored::from_bytes(bytes, place.1)?.encoded()?;
        let records = encoded.records(author).map_err(|error| corrupt(Table::Log, error))?;
        let batch = encoded.header.batch.as_ref().map(|part| part.id);
        let void = view.get(Table::Void, &key)?.is_some();
        let (stamp, leaf) = (encoded.header.stamp, encoded.leaf.tag());
        Ok(Some(Self { of: (group, place), stamp, batch, leaf, records, void, bytes: size }))
    }

    /// What it says of a row. Rows are in order, before all else.
    fn row(&self, collection: CollectionId, key: &Bytes) -> Option<Node> {
        let order = |record: &Record| match record {
            Record::Row(row) => (row.collection, &row.key).cmp(&(collection, key)),
            _ => Ordering::Greater,
        };
        let at = self.records.binary_search_by(order).ok()?;
        let Some(Record::Row(record)) = self.records.get(at) else { return None };
        let Self { stamp, batch, leaf, void, .. } = *self;
        Some(Node { stamp, batch, leaf, record: record.clone(), void })
    }
}

impl Versions for RowVersions<'_> {
    fn node(&self, place: Place) -> Result<Option<Node>, Fault> {
        let of = (self.collection.index, place);
        let mut recent = self.recent.kept.borrow_mut();
        if !recent.iter().any(|kept| kept.of == of) {
            let Some(kept) = Kept::read(self.view, of, &self.author(place.0)?)? else { return Ok(None) };
            self.recent.bytes.set(self.recent.bytes.get().saturating_add(kept.bytes));
            recent.truncate(MOST_KEPT - 1);
            recent.push_front(kept);
        }
        let kept = recent.iter().find(|kept| kept.of == of);
        Ok(kept.and_then(|kept| kept.row(self.collection.id, self.key)))
    }

    fn author(&self, ix: AuthorIx) -> Result<Author, Fault> {
        let wrong = || corrupt(Table::Author, DecodeError { what: "an author" });
        self.authors.get(ix).ok_or_else(wrong)
    }

    fn author_ix(&self, author: &Author) -> Result<Option<AuthorIx>, Fault> {
        Ok(self.authors.find(author))
    }
}
