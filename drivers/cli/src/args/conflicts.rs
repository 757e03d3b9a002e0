//! Arguments of the commands that show what lies behind rows.

use std::ffi::OsString;

use clap::Args;

use super::CollectionArgs;

/// Arguments of `conflicts`.
#[derive(Debug, Args)]
pub struct Conflicts {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// Only keys that start with this.
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<OsString>,
    /// At most this many rows.
    #[arg(long, value_name = "ROWS")]
    pub limit: Option<u64>,
}

/// Arguments of `resolve`.
#[derive(Debug, Args)]
pub struct Resolve {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// The row's key.
    pub key: OsString,
    /// What shall become of it.
    #[command(flatten)]
    pub choice: Choice,
    /// KEY is in base64.
    #[arg(long)]
    pub key_base64: bool,
}

/// What shall become of a row in conflict.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Choice {
    /// One of its versions, as `driftless conflicts` prints it, or the start of one.
    #[arg(long, value_name = "VERSION")]
    pub pick: Option<String>,
    /// Another value: a text, @FILE for the content of a file, or - for standard input.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub value: Option<OsString>,
    /// No row.
    #[arg(long)]
    pub delete: bool,
}

/// Arguments of `log`.
#[derive(Debug, Args)]
pub struct Log {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// The row's key.
    pub key: OsString,
    /// At most this many versions.
    #[arg(long, value_name = "VERSIONS", default_value_t = 20)]
    pub limit: u64,
    /// KEY is in base64.
    #[arg(long)]
    pub key_base64: bool,
}
