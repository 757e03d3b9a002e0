//! Reading rows: on a snapshot of the store, without the replica's thread.
//!
//! Reads are plain functions, not futures: they wait for nobody but the store, which mostly answers from
//! memory. Who reads very many rows on an async executor does it on a thread for blocking work.

use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;

use bytes::Bytes;
use driftless::read;
pub use driftless::read::{Head, Row};

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
}

/// A look at one moment of all databases of a node: reads on it agree with each other, whatever is written
/// meanwhile. Keep it no longer than needed: the store keeps everything that it shows.
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
        // The first key after a key is that key with a zero byte at its end.
        let mut next = Vec::with_capacity(last.len() + 1);
        next.extend_from_slice(last);
        next.push(0);
        Self { from: next.into(), limit, ..self }
    }
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
