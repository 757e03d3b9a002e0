//! Answers `conflicts`, `resolve` and `log`.

use std::collections::BTreeMap;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use driftless::{Choice, ConflictedRow, DeviceId, Hlc, Resolution, Version};
use driftless_tokio::{Collection, Edited, Node};
use tokio::sync::mpsc::Sender;

use super::schema::{merge_word, word};
use super::{find, kind, operations, tell};
use crate::protocol::{
    ChoiceText, CollectionRef, ConflictText, DidText, EntryText, HeadText, Kind, Problem, Response, Who,
};

/// Rows that are read at a time.
const PAGE: usize = 256;

pub(super) async fn list(
    node: &Node,
    of: &CollectionRef,
    prefix: &[u8],
    limit: Option<u64>,
    out: &Sender<Response>,
) -> Result<(), Problem> {
    let collection = find(node, of).await?;
    let names = Names::of(&collection).await?;
    let (mut left, mut from) = (limit.unwrap_or(u64::MAX), prefix.to_vec());
    while left > 0 {
        let page = collection.conflicts(&from, PAGE)?;
        let is_last = page.len() < PAGE;
        for row in page {
            if left == 0 || !row.key.starts_with(prefix) {
                return Ok(());
            }
            left -= 1;
            // The first key after a key is that key with a zero byte at its end.
            from = [&row.key[..], &[0]].concat();
            let head = |head: driftless_tokio::Head| HeadText {
                who: names.who(head.version, head.stamp, None),
                value: head.value.map(Into::into),
                is_operation: head.is_operation,
            };
            let heads = row.heads.into_iter().map(head).collect();
            let conflict = ConflictText { key: row.key.into(), policy: word(&row.policy), heads };
            tell(out, Response::Conflict(conflict)).await?;
        }
        if is_last {
            break;
        }
    }
    Ok(())
}

pub(super) async fn resolve(
    node: &Node,
    of: &CollectionRef,
    key: &[u8],
    choice: ChoiceText,
) -> Result<(), Problem> {
    let no = |message: String| Problem { refused: true, message };
    let collection = find(node, of).await?;
    let conflict = collection.conflict(key)?;
    let wanted = conflict.rows.iter().find(|row| {
        row.row.syncgroup == collection.syncgroup()
            && row.row.collection == *collection.name()
            && row.row.key == key
    });
    let Some(row) = wanted.filter(|row| row.in_conflict) else {
        return Err(no(format!(
            "the row \"{}\" is in no conflict; driftless conflicts {} lists those that are",
            key.escape_ascii(),
            of.collection
        )));
    };
    let choice = match choice {
        ChoiceText::Pick(text) => Choice::Pick(head(row, &text).map_err(no)?),
        ChoiceText::Value(value) => Choice::Put(value.into()),
        ChoiceText::Delete => Choice::Delete,
    };
    if !row.needs_answer() {
        return write(&collection, row, value(row, choice).map_err(no)?).await;
    }
    // Other rows of the same batches are left as they are: each is answered by a command of its own.
    let others = conflict.open().filter(|other| other.row != row.row);
    let answer = others.fold(Resolution::new(), |answer, other| answer.answer(other, Choice::Leave));
    collection.database().resolve(answer.answer(row, choice)).await?;
    Ok(())
}

/// What a row shall be by a choice; `None` if it shall not be there.
fn value(row: &ConflictedRow, choice: Choice) -> Result<Option<Bytes>, String> {
    let version = match choice {
        Choice::Pick(version) => version,
        Choice::Put(value) => return Ok(Some(value)),
        _ => return Ok(None),
    };
    match row.heads.iter().find(|head| head.version == version) {
        Some(head) if head.is_operation => Err(format!(
            "the version {} is an operation, from when the row still merged: it has no value of its own that \
             could be picked; say what the row shall be by --value or --delete, or pick another version",
            short(&version)
        )),
        head => Ok(head.and_then(|head| head.value.clone())),
    }
}

/// Closes a conflict that asks nobody: by the next write, on top of the versions that were seen.
async fn write(collection: &Collection, row: &ConflictedRow, value: Option<Bytes>) -> Result<(), Problem> {
    let key = &row.row.key;
    let seen: Vec<Version> = row.heads.iter().map(|head| head.version).collect();
    let mut batch = collection.database().batch();
    batch.require_versions(collection, key, &seen);
    match value {
        Some(value) => batch.put(collection, key, value),
        None => batch.delete(collection, key),
    };
    batch.commit().await?;
    Ok(())
}

/// The head whose text, long or short, starts like this.
fn head(row: &ConflictedRow, text: &str) -> Result<Version, String> {
    let asked = text.to_ascii_lowercase();
    let fits = |version: &Version| version.to_string().starts_with(&asked) || short(version) == asked;
    let fitting: Vec<Version> = row.heads.iter().map(|head| head.version).filter(fits).collect();
    let list = |versions: &[Version]| versions.iter().map(short).collect::<Vec<_>>().join(", ");
    match fitting.as_slice() {
        [one] => Ok(*one),
        [] => {
            let all: Vec<Version> = row.heads.iter().map(|head| head.version).collect();
            Err(format!("no version in conflict starts with \"{text}\"; they are {}", list(&all)))
        }
        several => Err(format!("\"{text}\" fits several versions: {}", list(several))),
    }
}

/// A version as people read it: the start of its device, and its number.
fn short(version: &Version) -> String {
    let device = version.author.device.to_string();
    format!("{}/{}", &device[..12.min(device.len())], version.generation)
}

pub(super) async fn history(
    node: &Node,
    of: &CollectionRef,
    key: &[u8],
    limit: u64,
    out: &Sender<Response>,
) -> Result<(), Problem> {
    let collection = find(node, of).await?;
    let names = Names::of(&collection).await?;
    let kind = kind(&collection.schema()?, key);
    for entry in collection.history(key, usize::try_from(limit).unwrap_or(usize::MAX))? {
        let (did, value) = match entry.edited {
            Edited::Put(value) => (DidText::Put, Some(value.into())),
            Edited::Operated { merge, operations } => {
                let operations = operations.into_iter().filter_map(operations::text).collect();
                (DidText::Operate { merge: merge_word(&merge), operations }, None)
            }
            _ => (DidText::Delete, None),
        };
        let entry = EntryText {
            who: names.who(entry.version, entry.stamp, entry.batch),
            did,
            kind: if value.is_some() { kind } else { Kind::Bytes },
            value,
            parents: entry.parents.iter().map(ToString::to_string).collect(),
            is_pick: entry.is_pick,
            is_head: entry.is_head,
        };
        tell(out, Response::Entry(entry)).await?;
    }
    Ok(())
}

/// What the members of a syncgroup call themselves.
struct Names(BTreeMap<DeviceId, String>);

impl Names {
    async fn of(collection: &Collection) -> Result<Self, Problem> {
        let syncgroup = collection.database().syncgroup(&collection.syncgroup().to_string()).await?;
        let members = syncgroup.members().await?;
        Ok(Self(members.into_iter().map(|member| (member.device, member.name.to_string())).collect()))
    }

    fn who(&self, version: Version, stamp: Hlc, batch: Option<[u8; 16]>) -> Who {
        Who {
            version: version.to_string(),
            short: short(&version),
            device: version.author.device.to_string(),
            name: self.0.get(&version.author.device).cloned(),
            wall_ms: stamp.wall().0,
            batch: batch.map(|id| HEXLOWER.encode(&id)),
        }
    }
}
