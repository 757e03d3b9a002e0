//! Rows: their heads, what readers see, and their history.

pub(crate) mod history;
mod row;

pub(crate) use self::row::{HeadContent, Merging, RowHead, RowState, sort};
