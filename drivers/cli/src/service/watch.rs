//! Answers `watch`.

use std::collections::BTreeMap;

use driftless::{Name, Rule, SyncgroupId};
use driftless_tokio::{Collection, Node, Resumed, RowUpdate, Update, WatchEnd};
use tokio::sync::mpsc::Sender;

use super::{PAGE_BYTES, find, kind, problem, state_word, tell};
use crate::protocol::{self, CollectionRef, Kind, Problem, Response};

pub(super) async fn watch(
    node: &Node,
    of: &[CollectionRef],
    prefix: &[u8],
    from: Option<String>,
    out: &Sender<Response>,
) -> Result<(), Problem> {
    let mut collections = Vec::with_capacity(of.len());
    for of in of {
        collections.push(find(node, of).await?);
    }
    let Some(database) = collections.first().map(Collection::database).cloned() else { return Ok(()) };
    let rows = collections.iter().map(|collection| (collection, prefix));
    let mut watch = match from {
        Some(marker) => database.watch_from(marker.parse().map_err(|error| problem(false, &error))?, rows)?,
        None => database.watch(rows)?,
    };
    let mut kinds = Kinds::new(&collections)?;
    loop {
        let response = match watch.next().await? {
            None => return Ok(()),
            Some(Update::State { because, begins, rows, complete }) => {
                // Whatever it is told again for, the schema may be another one than before, also while that was read.
                if begins {
                    kinds = Kinds::new(&collections)?;
                }
                let (because, complete) = (why_state(because), complete.map(|marker| marker.to_string()));
                Response::State { because, rows: kinds.texts(rows), complete }
            }
            Some(Update::Batch { marker, local, rows }) => {
                let mut rows = kinds.texts(rows);
                // A batch over many syncgroups may be more than goes into one item.
                while let Some(rest) = after_page(&mut rows) {
                    tell(out, Response::Batch { whole: false, marker: None, local, rows }).await?;
                    rows = rest;
                }
                let marker = marker.map(|marker| marker.to_string());
                Response::Batch { whole: true, marker, local, rows }
            }
            Some(Update::End { syncgroup, why }) => {
                let (because, explained) = why_end(why);
                Response::Ended { syncgroup: syncgroup.to_string(), because, explained }
            }
            Some(_) => continue,
        };
        tell(out, response).await?;
    }
}

/// Takes off what is beyond a page; `None` if nothing is.
fn after_page(rows: &mut Vec<protocol::Update>) -> Option<Vec<protocol::Update>> {
    let mut bytes = 0;
    let at = rows.iter().position(|row| {
        let is_full = bytes >= PAGE_BYTES;
        bytes += row.key.len() + row.value.as_ref().map_or(0, Vec::len);
        is_full
    })?;
    Some(rows.split_off(at))
}

/// The rules of the collections that are watched: they say what values are.
struct Kinds(BTreeMap<(SyncgroupId, Name), Vec<Rule>>);

impl Kinds {
    fn new(collections: &[Collection]) -> Result<Self, Problem> {
        let rules = |collection: &Collection| {
            Ok(((collection.syncgroup(), collection.name().clone()), collection.schema()?))
        };
        collections.iter().map(rules).collect::<Result<_, Problem>>().map(Self)
    }

    fn texts(&self, rows: Vec<RowUpdate>) -> Vec<protocol::Update> {
        let text = |row: RowUpdate| {
            let name = (row.syncgroup, row.collection);
            protocol::Update {
                kind: self.0.get(&name).map_or(Kind::Bytes, |rules| kind(rules, &row.key)),
                collection: name.1.to_string(),
                key: row.key.to_vec(),
                value: row.value.map(Into::into),
            }
        };
        rows.into_iter().map(text).collect()
    }
}

fn why_state(because: Resumed) -> String {
    match because {
        Resumed::Started => "started",
        Resumed::TooOld => "too_old",
        Resumed::Unknown => "unknown",
        Resumed::Schema => "schema",
        _ => "other",
    }
    .to_owned()
}

/// Why nothing more comes, in a word and in more.
fn why_end(why: WatchEnd) -> (String, String) {
    match why {
        WatchEnd::NotMember(state) => {
            let word = state_word(state);
            let explained = format!("this device is not a member of the syncgroup any more: {word}");
            (word, explained)
        }
        _ => ("gone".to_owned(), "the syncgroup is not on this device any more".to_owned()),
    }
}
