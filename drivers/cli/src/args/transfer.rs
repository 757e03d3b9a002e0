//! Arguments of the commands that take many rows in and out.

use std::path::PathBuf;

use clap::Args;

use super::CollectionArgs;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// A file of JSON Lines, a directory, or - for JSON Lines on standard input.
    pub path: PathBuf,
    /// Leave out what is too large for a row, instead of refusing the whole.
    #[arg(long)]
    pub skip_large: bool,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// The file or directory to write; - is standard output.
    #[arg(default_value = "-")]
    pub path: PathBuf,
    /// Write a directory tree: a file for each row. Understood by itself if PATH is a directory.
    #[arg(long)]
    pub tree: bool,
    /// Leave out rows whose keys cannot be paths, instead of refusing the whole.
    #[arg(long)]
    pub skip_unsafe: bool,
    /// Overwrite files that are there.
    #[arg(long)]
    pub force: bool,
}
