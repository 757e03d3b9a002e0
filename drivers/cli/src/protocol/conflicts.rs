//! What lies behind rows: rules, operations, versions.

use driftless::Name;
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::text::{base64, base64_option};

/// A rule of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleText {
    /// What the keys start with.
    #[serde(with = "base64")]
    pub prefix: Vec<u8>,
    /// The policy, as the command line names it.
    pub policy: String,
}

/// A change of a merging row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum OperationText {
    /// Add to a counter.
    Add {
        /// How much.
        amount: i64,
    },
    /// Put an element into a set.
    Insert {
        /// The element.
        #[serde(with = "base64")]
        element: Vec<u8>,
    },
    /// Take an element out of a set.
    Remove {
        /// The element.
        #[serde(with = "base64")]
        element: Vec<u8>,
    },
    /// Set a field, or remove it.
    Field {
        /// The names on the way to it.
        path: Vec<String>,
        /// Its value; `None` removes it.
        #[serde(with = "base64_option")]
        value: Option<Vec<u8>>,
    },
    /// Something that only a function of the application's understands.
    Named {
        /// The name of the function.
        merge: Name,
        /// What it is given.
        #[serde(with = "base64")]
        operation: Vec<u8>,
    },
}

/// What shall become of a row in conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChoiceText {
    /// The version whose text starts like this.
    Pick(String),
    /// Another value.
    Value(#[serde(with = "base64")] Vec<u8>),
    /// No row.
    Delete,
}

/// Who wrote a version, when, and with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The version.
    pub version: String,
    /// The same, as people read it.
    pub short: String,
    /// The device that wrote it.
    pub device: String,
    /// What the device calls itself, if that is known.
    pub name: Option<String>,
    /// When, by its clock: milliseconds since 1970.
    pub wall_ms: u64,
    /// The batch that it is a part of, if that touched several syncgroups, in hexadecimal: the same in all of them.
    /// Within a syncgroup all rows of a batch have the same version.
    pub batch: Option<String>,
}

/// A row in conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictText {
    /// Its key.
    #[serde(with = "base64")]
    pub key: Vec<u8>,
    /// What becomes of the conflict.
    pub policy: String,
    /// Its versions, the one that is shown first.
    pub heads: Vec<HeadText>,
}

/// A version that stands against others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadText {
    /// Who wrote it.
    #[serde(flatten)]
    pub who: Who,
    /// Its value; `None` deleted the row, or is an operation.
    #[serde(with = "base64_option")]
    pub value: Option<Vec<u8>>,
    /// Whether it is an operation, from when the row still merged: it has no value of its own.
    pub is_operation: bool,
}

/// What a version did to its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DidText {
    /// Set it to a value.
    Put,
    /// Removed it.
    Delete,
    /// Changed it by operations of a merge.
    Operate {
        /// The merge, in a word.
        merge: String,
        /// What it did, in order.
        operations: Vec<OperationText>,
    },
}

/// A version in the history of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryText {
    /// Who wrote it.
    #[serde(flatten)]
    pub who: Who,
    /// What it did.
    pub did: DidText,
    /// What it was set to, by a put.
    #[serde(with = "base64_option")]
    pub value: Option<Vec<u8>>,
    /// What that is.
    pub kind: Kind,
    /// The versions that it knew.
    pub parents: Vec<String>,
    /// Whether it chose one of several versions.
    pub is_pick: bool,
    /// Whether no other version is on top of it.
    pub is_head: bool,
}
