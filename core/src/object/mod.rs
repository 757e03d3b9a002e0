//! Rows: their heads, and what readers see.

mod row;

pub(crate) use self::row::{RowHead, RowState, visible};
