//! Arguments of the commands that read and write rows.

use std::ffi::OsString;

use clap::Args;
use driftless::Name;
use driftless::read::Marker;

/// Which collection.
#[derive(Debug, Clone, Args)]
pub struct CollectionArgs {
    /// The collection.
    pub collection: Name,
    /// The syncgroup that it belongs to, where several have a collection of this name: its name, its id, or the
    /// start of its id.
    #[arg(long, value_name = "SYNCGROUP")]
    pub syncgroup: Option<String>,
}

/// Arguments of `put`.
#[derive(Debug, Args)]
pub struct Put {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// The row's key.
    pub key: OsString,
    /// The value: a text, @FILE for the content of a file, or - for standard input, which is also what is read if
    /// no value is given.
    #[arg(allow_negative_numbers = true)]
    pub value: Option<OsString>,
    /// KEY is in base64.
    #[arg(long)]
    pub key_base64: bool,
}

/// Arguments of `get`.
#[derive(Debug, Args)]
pub struct Get {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// The row's key.
    pub key: OsString,
    /// KEY is in base64.
    #[arg(long)]
    pub key_base64: bool,
    /// Print sets and fields as the bytes that they are stored as.
    #[arg(long)]
    pub raw: bool,
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// The rows' keys.
    #[arg(required = true, value_name = "KEY")]
    pub keys: Vec<OsString>,
    /// The keys are in base64.
    #[arg(long)]
    pub key_base64: bool,
}

/// Arguments of `scan`.
#[derive(Debug, Args)]
pub struct Scan {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// Which keys.
    #[command(flatten)]
    pub keys_within: KeysWithin,
    /// From the last key to the first.
    #[arg(long)]
    pub reverse: bool,
    /// At most this many rows.
    #[arg(long, value_name = "ROWS")]
    pub limit: Option<u64>,
    /// Print keys only.
    #[arg(long)]
    pub keys: bool,
}

/// Arguments of `count`.
#[derive(Debug, Args)]
pub struct Count {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// Which keys.
    #[command(flatten)]
    pub keys_within: KeysWithin,
}

/// A range of keys.
#[derive(Debug, Args)]
pub struct KeysWithin {
    /// Only keys that start with this.
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<OsString>,
    /// Only keys from this one on.
    #[arg(long, value_name = "KEY")]
    pub from: Option<OsString>,
    /// Only keys before this one.
    #[arg(long, value_name = "KEY")]
    pub to: Option<OsString>,
}

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// The collections.
    #[arg(required = true, value_name = "COLLECTION")]
    pub collections: Vec<Name>,
    /// The syncgroup that they belong to, where several have collections of these names: its name, its id, or
    /// the start of its id.
    #[arg(long, value_name = "SYNCGROUP")]
    pub syncgroup: Option<String>,
    /// Only keys that start with this.
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<OsString>,
    /// Go on from where another watch of the same rows stopped, as it printed it.
    #[arg(long, value_name = "MARKER")]
    pub from: Option<Marker>,
    /// Do not print the rows that are there at the start; if some changes were missed, all rows are printed.
    #[arg(long)]
    pub changes_only: bool,
    /// Stop once there were this many changes, after the whole batch that brought the last of them.
    #[arg(long, value_name = "CHANGES")]
    pub limit: Option<u64>,
}
