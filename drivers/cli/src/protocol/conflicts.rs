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

/// What shall become of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerText {
    /// Which row: its key, or its name as [`RowInConflict::name`] has it.
    #[serde(with = "base64")]
    pub row: Vec<u8>,
    /// What was chosen.
    pub choice: ChoiceText,
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
    /// It stays as it is.
    Leave,
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

/// Rows that are resolved together. It is followed by its rows, each of these by its versions: so no line grows with
/// how much there is of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictText {
    /// A tag of the rows and their versions, in hexadecimal: what an answer is to.
    pub state: String,
    /// How many rows belong together.
    pub rows: u64,
    /// How many of them follow, those first that an answer must decide.
    pub told: u64,
    /// Whether no more rows belong together than are told at once.
    pub is_whole: bool,
}

/// A row of a conflict. It is followed by its versions, the one that is shown first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowInConflict {
    /// What `resolve` calls it: its key in the collection that was asked for, its collection and its key in another.
    #[serde(with = "base64")]
    pub name: Vec<u8>,
    /// Its syncgroup.
    pub syncgroup: String,
    /// Its collection.
    pub collection: String,
    /// Its key.
    #[serde(with = "base64")]
    pub key: Vec<u8>,
    /// What becomes of conflicts there.
    pub policy: String,
    /// Whether its versions disagree; otherwise a batch of the conflict wrote it.
    pub in_conflict: bool,
    /// Whether an answer must decide it.
    pub is_open: bool,
    /// What its versions have in common, if that is held.
    pub ancestor: Option<AncestorText>,
    /// How many versions it has.
    pub heads: u64,
    /// How many of them follow.
    pub told: u64,
}

/// What versions in conflict have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AncestorText {
    /// The version.
    pub version: String,
    /// The same, as people read it.
    pub short: String,
    /// The device that wrote it.
    pub device: String,
    /// What the device calls itself, if that is known.
    pub name: Option<String>,
    /// Its value; `None` deleted the row.
    pub value: Option<ValueText>,
}

/// A value, or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueText {
    /// As much of it as was asked for.
    #[serde(with = "base64")]
    pub bytes: Vec<u8>,
    /// How many bytes the whole has.
    pub size: u64,
}

/// A version that stands against others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadText {
    /// Who wrote it.
    #[serde(flatten)]
    pub who: Who,
    /// Its value; `None` deleted the row, or is an operation.
    pub value: Option<ValueText>,
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
