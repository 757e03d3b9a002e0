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
    /// At most this many conflicts, each with all its rows.
    #[arg(long, value_name = "CONFLICTS")]
    pub limit: Option<u64>,
}

/// Arguments of `resolve`.
#[derive(Debug, Args)]
pub struct Resolve {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// Rows, each followed by what shall become of it: pick:VERSION, value:TEXT, delete or leave.
    #[arg(required = true, num_args = 2.., value_names = ["KEY", "CHOICE"])]
    pub answers: Vec<OsString>,
    /// Only if the conflict is as `driftless conflicts` printed it with this after the word "conflict".
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    pub state: Option<String>,
    /// Leave the rows of the conflict open that are not named.
    #[arg(long)]
    pub leave_others: bool,
    /// The keys are in base64.
    #[arg(long)]
    pub key_base64: bool,
}

/// The shortest start of a state that stands for it.
const SHORTEST_STATE: usize = 8;

fn parse_state(text: &str) -> Result<String, String> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && (SHORTEST_STATE..=32).contains(&text.len()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("it is what `driftless conflicts` prints, at least its first {SHORTEST_STATE} characters"))
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
