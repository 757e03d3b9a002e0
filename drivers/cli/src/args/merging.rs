//! Arguments of the commands for schemas and merging rows.

use std::ffi::OsString;

use clap::{Args, Subcommand};
use driftless::{Merge, Name};

use super::CollectionArgs;

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// What to do. By default the rules are shown.
    #[command(subcommand)]
    pub action: Option<SchemaAction>,
}

/// What to do with a schema.
#[derive(Debug, Subcommand)]
pub enum SchemaAction {
    /// Show the rules.
    Show,
    /// Give a policy to the rows whose keys start with a prefix.
    Set {
        /// The prefix; '' is all rows.
        prefix: OsString,
        /// The policy: last-wins, defer, app-resolves, batch-wins, counter, set, fields or merge:NAME.
        #[arg(value_parser = parse_policy)]
        policy: Policy,
    },
    /// Take a rule away.
    Unset {
        /// Its prefix.
        prefix: OsString,
    },
}

/// A policy, as the command line names it.
pub type Policy = driftless::Policy;

/// Reads a policy.
///
/// # Errors
/// If there is none of this name: with those that there are.
pub(crate) fn parse_policy(text: &str) -> Result<Policy, String> {
    Ok(match text {
        "last-wins" => Policy::LastWins,
        "defer" => Policy::Defer,
        "app-resolves" => Policy::AppResolves,
        "batch-wins" => Policy::BatchWins,
        "counter" => Policy::Merge(Merge::Counter),
        "set" => Policy::Merge(Merge::Set),
        "fields" => Policy::Merge(Merge::Fields),
        _ => match text.strip_prefix("merge:").map(Name::new) {
            Some(Ok(name)) => Policy::Merge(Merge::Named(name)),
            Some(Err(error)) => return Err(format!("\"{text}\" names no merge: {error}")),
            None => {
                return Err(
                    "policies are last-wins, defer, app-resolves, batch-wins, counter, set, fields, and \
                            merge:NAME for a function of the application's"
                        .to_owned(),
                );
            }
        },
    })
}

/// Arguments of `add`.
#[derive(Debug, Args)]
pub struct Add {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// The row's key.
    pub key: OsString,
    /// How much; below zero it is taken away.
    #[arg(allow_negative_numbers = true, value_parser = parse_amount)]
    pub amount: i64,
    /// KEY is in base64.
    #[arg(long)]
    pub key_base64: bool,
}

fn parse_amount(text: &str) -> Result<i64, String> {
    let wrong = |_| format!("it is a whole number between {} and {}", i64::MIN, i64::MAX);
    text.parse().map_err(wrong)
}

/// Arguments of `set-add` and `set-remove`.
#[derive(Debug, Args)]
pub struct ChangeSet {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// The row's key.
    pub key: OsString,
    /// The elements.
    #[arg(required = true, value_name = "ELEMENT")]
    pub elements: Vec<OsString>,
    /// KEY is in base64.
    #[arg(long)]
    pub key_base64: bool,
}

/// What to do with a field.
#[derive(Debug, Subcommand)]
pub enum Field {
    /// Set a field, and remove what was below it
    ///
    /// Examples:
    ///   driftless schema people set '' fields
    ///   driftless field set people ann address.city Basel
    #[command(verbatim_doc_comment)]
    Set {
        /// Which collection.
        #[command(flatten)]
        of: CollectionArgs,
        /// The row's key.
        key: OsString,
        /// The names on the way to the field, with dots between; a dot within a name is written \. (with one backslash)
        path: String,
        /// The value: a text, @FILE for the content of a file, or - for standard input.
        #[arg(allow_negative_numbers = true)]
        value: OsString,
        /// KEY is in base64.
        #[arg(long)]
        key_base64: bool,
    },
    /// Remove a field and all below it.
    Unset {
        /// Which collection.
        #[command(flatten)]
        of: CollectionArgs,
        /// The row's key.
        key: OsString,
        /// The names on the way to the field, with dots between; a dot within a name is written \. (with one backslash)
        path: String,
        /// KEY is in base64.
        #[arg(long)]
        key_base64: bool,
    },
}
