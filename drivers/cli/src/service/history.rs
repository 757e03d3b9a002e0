//! Answers `log`.

use driftless_tokio::{Edited, Node};
use tokio::sync::mpsc::Sender;

use super::schema::merge_word;
use super::who::Names;
use super::{find, kind, operations, tell};
use crate::protocol::{CollectionRef, DidText, EntryText, Kind, Problem, Response};

pub(super) async fn history(
    node: &Node,
    of: &CollectionRef,
    key: &[u8],
    limit: u64,
    out: &Sender<Response>,
) -> Result<(), Problem> {
    let collection = find(node, of).await?;
    let syncgroup = collection.syncgroup();
    let mut names = Names::new(collection.database());
    names.learn(syncgroup).await?;
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
            who: names.who(&syncgroup, entry.version, entry.stamp, entry.batch),
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
