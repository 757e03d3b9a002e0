//! Reading rows: on a snapshot of the store, without the replica's thread.
//!
//! Reads are plain functions, not futures: they wait for nobody but the store, which mostly answers from
//! memory. Who reads very many rows on an async executor does it on a thread for blocking work.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;

use bytes::Bytes;
use driftless::read;
pub use driftless::read::{ConflictRow, Edited, Entry as HistoryEntry, Head, Row};
use driftless::{Conflict, Rule};

use crate::error::Error;
use crate::shared::AnyView;

/// Rows in the first page of a scan that has no limit; later pages are larger, so that neither a short look
/// nor a long walk is expensive.
const FIRST_PAGE_ROWS: usize = 32;
/// Rows in the largest page of a scan.
const LARGEST_PAGE_ROWS: usize = 1_024;
/// Bytes of values in a page of a scan; the row that reaches it is the last.
const PAGE_BYTES: usize = 1 << 20;

/// Which rows of a collection to read, and in which order.
///
/// ```
/// use driftless_tokio::Range;
///
/// let all = Range::all();
/// let some = Range::prefix("user/").reversed().limit(10);
/// let between = Range::between("a", "m"); // "m" not included
/// # let _ = (all, some, between);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    from: Bytes,
    /// Not included; `None` is the end of the collection.
    to: Option<Bytes>,
    reverse: bool,
    limit: usize,
}

impl Range {
    /// All rows.
    pub fn all() -> Self {
        Self { from: Bytes::new(), to: None, reverse: false, limit: usize::MAX }
    }

    /// The rows whose keys start with `prefix`.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        let prefix = prefix.as_ref();
        Self {
            from: Bytes::copy_from_slice(prefix),
            to: read::prefix_end(prefix).map(Bytes::from),
            ..Self::all()
        }
    }

    /// The rows from the key `from` up to, not including, the key `to`.
    pub fn between(from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        Self::starting(from).ending(to)
    }

    /// The rows from the key `from` on.
    pub fn starting(from: impl AsRef<[u8]>) -> Self {
        Self { from: Bytes::copy_from_slice(from.as_ref()), ..Self::all() }
    }

    /// The same, but ending before the key `to`, if it does not end earlier.
    #[must_use]
    pub fn ending(mut self, to: impl AsRef<[u8]>) -> Self {
        let to = Bytes::copy_from_slice(to.as_ref());
        self.to = Some(self.to.map_or(to.clone(), |end| end.min(to)));
        self
    }

    /// The same, from the last key to the first.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.reverse = !self.reverse;
        self
    }

    /// The same, with at most this many rows.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = self.limit.min(rows);
        self
    }

    /// The bounds, as a precondition names them.
    pub(crate) fn bounds(&self) -> (Bytes, Option<Bytes>) {
        (self.from.clone(), self.to.clone())
    }

    /// The bounds of what was read of it, if `last` was the last row; all of it if there is none.
    pub(crate) fn up_to(&self, last: Option<&Bytes>) -> (Bytes, Option<Bytes>) {
        match last {
            None => self.bounds(),
            Some(last) if self.reverse => (last.clone(), self.to.clone()),
            Some(last) => (self.from.clone(), Some(successor(last))),
        }
    }

    /// The same, without a limit.
    pub(crate) fn unlimited(self) -> Self {
        Self { limit: usize::MAX, ..self }
    }

    /// How many rows are wanted at most.
    pub(crate) fn rows(&self) -> usize {
        self.limit
    }

    pub(crate) fn is_reversed(&self) -> bool {
        self.reverse
    }

    /// Whether no row can be in it, or none is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        self.limit == 0 || self.to.as_ref().is_some_and(|to| *to <= self.from)
    }

    /// Which of two keys comes first.
    pub(crate) fn order(&self, key: &Bytes, other: &Bytes) -> Ordering {
        if self.reverse { other.cmp(key) } else { key.cmp(other) }
    }
}

/// A look at one moment of all databases of a node: reads on it agree with each other, whatever is written
/// meanwhile. It is what a read-only batch would be. Keep it no longer than needed: the store keeps everything
/// that it shows.
///
/// ```
/// use driftless_tokio::{Node, Options, Range};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let store = driftless_tokio::StoreOptions::new().state_dir(dir.path().join("state"));
/// # let options = Options { discovery: false, store, ..Options::default() };
/// let node = Node::open(dir.path().join("data"), options)?;
/// let db = node.database("default")?;
/// db.create_syncgroup("family", &["notes"]).await?;
/// let notes = db.collection("notes")?;
/// notes.put("milk", "1 l").await?;
/// notes.put("milk", "2 l").await?;
///
/// let before = db.snapshot()?;
/// notes.delete("milk").await?;
/// assert_eq!(before.get(&notes, "milk")?.unwrap().value, "2 l");
/// assert_eq!(before.count(&notes, Range::prefix("mi"))?, 1);
/// assert_eq!(notes.count(Range::all())?, 0);
///
/// // Who made it what: the deletion, and the two puts.
/// let history = notes.history("milk", 10)?;
/// assert_eq!(history.len(), 3);
/// assert_eq!(history[0].version.author.device, node.device());
/// # node.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Snapshot {
    view: AnyView,
}

impl Snapshot {
    pub(crate) fn new(view: AnyView) -> Self {
        Self { view }
    }

    /// The row of this key, if it is there.
    ///
    /// # Errors
    /// [`Error::Read`] if the store fails.
    pub fn get(&self, collection: &crate::Collection, key: impl AsRef<[u8]>) -> Result<Option<Row>, Error> {
        Ok(read::get(&*self.view, collection.stored(), key.as_ref())?)
    }

    /// The heads of this key, the shown one first: several if the row is in conflict, none if nobody ever
    /// wrote it. They can be required by [`crate::Batch::require_heads`].
    ///
    /// # Errors
    /// [`Error::Read`] if the store fails.
    pub fn heads(&self, collection: &crate::Collection, key: impl AsRef<[u8]>) -> Result<Vec<Head>, Error> {
        Ok(read::heads(&*self.view, collection.stored(), key.as_ref())?)
    }

    /// The rows of a range, read page by page as the iterator goes on.
    pub fn scan(&self, collection: &crate::Collection, range: Range) -> Rows {
        Rows::new(self, collection.stored().clone(), range)
    }

    /// How many rows a range has, at most as many as its limit. It costs as much as reading them.
    ///
    /// # Errors
    /// [`Error::Read`] if the store fails.
    pub fn count(&self, collection: &crate::Collection, range: Range) -> Result<u64, Error> {
        if range.limit != usize::MAX {
            return self.scan(collection, range).try_fold(0, |count, row| row.map(|_| count + 1));
        }
        Ok(read::count(&*self.view, collection.stored(), &range.from, range.to.as_deref())?)
    }

    /// The history of a row, the last version first, `limit` versions at most: who made it what, when, and on
    /// top of what, as far as it is kept.
    ///
    /// # Errors
    /// [`Error::Read`] if the store fails.
    pub fn history(
        &self,
        collection: &crate::Collection,
        key: impl AsRef<[u8]>,
        limit: usize,
    ) -> Result<Vec<HistoryEntry>, Error> {
        Ok(read::history(&*self.view, collection.stored(), key.as_ref(), limit)?)
    }

    /// The nearest version that all heads of a row rest on; `None` if there is none, or if more than `limit`
    /// versions lie between.
    ///
    /// # Errors
    /// [`Error::Read`] if the store fails.
    pub fn common_ancestor(
        &self,
        collection: &crate::Collection,
        key: impl AsRef<[u8]>,
        limit: usize,
    ) -> Result<Option<HistoryEntry>, Error> {
        Ok(read::common_ancestor(&*self.view, collection.stored(), key.as_ref(), limit)?)
    }

    /// The rows in conflict, by key, from the key `from` on, `limit` at most.
    ///
    /// # Errors
    /// [`Error::Read`] if the store fails.
    pub fn conflicts(
        &self,
        collection: &crate::Collection,
        from: impl AsRef<[u8]>,
        limit: usize,
    ) -> Result<Vec<ConflictRow>, Error> {
        Ok(read::conflicts(&*self.view, collection.stored(), from.as_ref(), limit)?)
    }

    /// The conflict that a row is in, with all rows that batches tie to it: what [`crate::Database::resolve`]
    /// answers. [`Conflict::open`] names none if the row is in no conflict.
    ///
    /// # Errors
    /// [`Error::Read`] if the store fails.
    pub fn conflict(&self, collection: &crate::Collection, key: impl AsRef<[u8]>) -> Result<Conflict, Error> {
        Ok(read::conflict(&*self.view, collection.stored(), key.as_ref())?)
    }

    /// The rules of a collection's schema, by prefix.
    ///
    /// # Errors
    /// [`Error::Read`] if the store fails.
    pub fn schema(&self, collection: &crate::Collection) -> Result<Vec<Rule>, Error> {
        Ok(read::schema(&*self.view, collection.stored())?)
    }

    pub(crate) fn view(&self) -> &AnyView {
        &self.view
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// The rows of a range, in order, in bounded memory. It ends after the first error.
pub struct Rows {
    view: AnyView,
    collection: read::Collection,
    /// What is left to be read.
    rest: Option<Range>,
    page: VecDeque<Row>,
    page_rows: usize,
}

impl Rows {
    pub(crate) fn new(snapshot: &Snapshot, collection: read::Collection, range: Range) -> Self {
        Self {
            view: snapshot.view.clone(),
            collection,
            rest: Some(range).filter(|range| range.limit > 0),
            page: VecDeque::new(),
            page_rows: FIRST_PAGE_ROWS,
        }
    }

    /// Reads the next rows, as many as the bounds allow, and says whether they are the last.
    pub(crate) fn page(&mut self, max_rows: usize, max_bytes: usize) -> Result<(Vec<Row>, bool), Error> {
        let Some(range) = self.rest.take() else { return Ok((Vec::new(), true)) };
        let wanted = max_rows.min(range.limit);
        let (mut rows, mut bytes, mut more) = (Vec::new(), 0, false);
        read::scan(
            &*self.view,
            &self.collection,
            &range.from,
            range.to.as_deref(),
            range.reverse,
            &mut |row| {
                // One row is looked at beyond the page, to know whether the page is the last.
                if rows.len() == wanted || bytes >= max_bytes {
                    more = true;
                    return ControlFlow::Break(());
                }
                bytes += row.key.len() + row.value.len();
                rows.push(row);
                ControlFlow::Continue(())
            },
        )?;
        if more && rows.len() < range.limit {
            self.rest = rows.last().map(|last| range.after(&last.key, rows.len()));
        }
        Ok((rows, self.rest.is_none()))
    }
}

impl Range {
    /// What is left of a range after `rows` rows, of which `last` is the last.
    fn after(self, last: &Bytes, rows: usize) -> Self {
        let limit = self.limit - rows;
        if self.reverse {
            return Self { to: Some(last.clone()), limit, ..self };
        }
        Self { from: successor(last), limit, ..self }
    }
}

/// The first key after a key is that key with a zero byte at its end.
fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

impl Iterator for Rows {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && self.rest.is_some() {
            match self.page(self.page_rows, PAGE_BYTES) {
                Ok((rows, _)) => self.page = rows.into(),
                Err(error) => return Some(Err(error)),
            }
            self.page_rows = (self.page_rows * 2).min(LARGEST_PAGE_ROWS);
        }
        self.page.pop_front().map(Ok)
    }
}

impl std::iter::FusedIterator for Rows {}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("rest", &self.rest).finish_non_exhaustive()
    }
}
