//! Answers `resolve`.

use bytes::Bytes;
use data_encoding::BASE64;
use driftless::{Choice, Conflict, ConflictedRow, Resolution, RowRef, Version};
use driftless_tokio::{Collection, Node};
use tokio::sync::mpsc::Sender;

use super::conflicts::{conflict_of, is_in, names, state};
use super::who::short;
use super::{find, tell};
use crate::protocol::{AnswerText, ChoiceText, CollectionRef, Problem, Response};
use crate::text;

/// Rows that a refusal names.
const NAMED: usize = 10;

/// What a client has answered, and to what.
pub(super) struct Asked {
    pub(super) answers: Vec<AnswerText>,
    pub(super) key_base64: bool,
    pub(super) state: Option<String>,
    pub(super) leave_others: bool,
}

pub(super) async fn resolve(
    node: &Node,
    of: &CollectionRef,
    asked: Asked,
    out: &Sender<Response>,
) -> Result<(), Problem> {
    let collection = find(node, of).await?;
    let conflict = find_conflict(&collection, &asked)?;
    if let Some(shown) = &asked.state {
        let now = state(&conflict);
        if !now.starts_with(shown.as_str()) {
            return Err(no(format!(
                "the conflict has changed since it was shown: it is {now} now; driftless conflicts {} shows it",
                collection.name()
            )));
        }
    }
    let mut answer = Resolution::new();
    for AnswerText { row, choice } in asked.answers {
        let row = find_row(&collection, &conflict, &row, asked.key_base64)?;
        if answer.answers.iter().any(|known| known.row == row.row) {
            return Err(wrong(format!("the row {} is answered twice", called(&collection, row))));
        }
        let choice = match choice {
            ChoiceText::Pick(text) => Choice::Pick(head(&collection, row, &text)?),
            ChoiceText::Value(value) => Choice::Put(value.into()),
            ChoiceText::Delete => Choice::Delete,
            ChoiceText::Leave => Choice::Leave,
        };
        answer = answer.answer(row, choice);
    }
    if asked.state.is_some() {
        // Rows that come along must be what they were, too.
        for row in conflict.rows.iter().filter(|row| !row.needs_answer()) {
            if !answer.answers.iter().any(|known| known.row == row.row) {
                answer = answer.answer(row, Choice::Leave);
            }
        }
    }
    let (rows, left) = write(&collection, &conflict, answer, asked.leave_others).await?;
    tell(out, Response::Resolved { rows, left }).await
}

/// The conflict that an answer is to: the first one that asks for an answer and has one of the rows; otherwise that of
/// a row which asks nobody.
fn find_conflict(collection: &Collection, asked: &Asked) -> Result<Conflict, Problem> {
    let snapshot = collection.database().snapshot()?;
    let mut found = None;
    for AnswerText { row, .. } in &asked.answers {
        let Some(key) = key(row, asked.key_base64) else { continue };
        let Some(conflict) = conflict_of(&snapshot, collection, &key)? else { continue };
        if conflict.open().next().is_some() {
            return Ok(conflict);
        }
        found = found.or(Some(conflict));
    }
    found.ok_or_else(|| {
        let rows = asked.answers.iter().map(|answer| quoted(&answer.row));
        no(format!(
            "{} in no conflict; driftless conflicts {} lists what is",
            list(rows, asked.answers.len(), "is", "are"),
            collection.name()
        ))
    })
}

/// The bytes of a key as it was given; `None` if it is none, and can only be a name.
fn key(text: &[u8], is_base64: bool) -> Option<Vec<u8>> {
    if is_base64 { BASE64.decode(text).ok() } else { Some(text.to_vec()) }
}

/// The row of a conflict that is called like this.
fn find_row<'c>(
    collection: &Collection,
    conflict: &'c Conflict,
    text: &[u8],
    is_base64: bool,
) -> Result<&'c ConflictedRow, Problem> {
    let is_own = |row: &&ConflictedRow| {
        is_in(row, collection) && key(text, is_base64).is_some_and(|key| row.row.key == key)
    };
    if let Some(row) = conflict.rows.iter().find(is_own) {
        return Ok(row);
    }
    let is_called = |row: &&ConflictedRow| {
        let encoded = is_base64.then(|| BASE64.encode(&row.row.key));
        let key = encoded.as_ref().map_or(&row.row.key[..], |encoded| encoded.as_bytes());
        names(row, collection, key).iter().any(|name| name == text)
    };
    let mut called = conflict.rows.iter().filter(is_called);
    match (called.next(), called.next()) {
        (Some(row), None) => Ok(row),
        (Some(one), Some(other)) => Err(wrong(format!(
            "{} can be the row of syncgroup {} and that of {}: begin with the id of one, and a slash",
            quoted(text),
            one.row.syncgroup,
            other.row.syncgroup
        ))),
        (None, _) => Err(no(format!(
            "the row {} is no part of this conflict: resolve it by a command of its own, if it is in one",
            quoted(text)
        ))),
    }
}

/// Writes an answer. Returns how many rows it decides, and how many it leaves open.
async fn write(
    collection: &Collection,
    conflict: &Conflict,
    mut answer: Resolution,
    leave_others: bool,
) -> Result<(u64, u64), Problem> {
    let is_named = |row: &&ConflictedRow| answer.answers.iter().any(|known| known.row == row.row);
    let others: Vec<&ConflictedRow> = conflict.open().filter(|row| !is_named(row)).collect();
    if !others.is_empty() && !leave_others {
        let rows = others.iter().map(|row| called(collection, row));
        return Err(no(format!(
            "{} an answer too: say what shall become of it, or use --leave-others to leave open what is not named",
            list(rows, others.len(), "needs", "need"),
        )));
    }
    for row in others {
        answer = answer.answer(row, Choice::Leave);
    }
    let decided = answer.answers.iter().filter(|answer| answer.choice != Choice::Leave).count();
    if decided == 0 {
        return Err(wrong("this decides nothing: every row that is named would stay as it is".to_owned()));
    }
    let is_left =
        |row: &RowRef| answer.answers.iter().any(|known| known.row == *row && known.choice == Choice::Leave);
    let left = conflict.open().filter(|row| is_left(&row.row)).count();
    match (conflict.open().next(), conflict.rows.first(), answer.answers.first()) {
        // It asks nobody: the next write closes it.
        (None, Some(row), Some(answer)) => {
            write_over(collection, row, value(row, &answer.choice)?).await?;
        }
        _ => _ = collection.database().resolve(answer).await?,
    }
    Ok((decided as u64, left as u64))
}

/// What a row shall be by a choice; `None` if it shall not be there.
fn value(row: &ConflictedRow, choice: &Choice) -> Result<Option<Bytes>, Problem> {
    let version = match choice {
        Choice::Pick(version) => version,
        Choice::Put(value) => return Ok(Some(value.clone())),
        _ => return Ok(None),
    };
    match row.heads.iter().find(|head| head.version == *version) {
        Some(head) if head.is_operation => Err(no(format!(
            "the version {} is an operation, from when the row still merged: it has no value of its own that \
             could be picked; say what the row shall be by value:TEXT or delete, or pick another version",
            short(version)
        ))),
        head => Ok(head.and_then(|head| head.value.clone())),
    }
}

/// Closes a conflict that asks nobody: by the next write, on top of the versions that were seen.
async fn write_over(
    collection: &Collection,
    row: &ConflictedRow,
    value: Option<Bytes>,
) -> Result<(), Problem> {
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
fn head(collection: &Collection, row: &ConflictedRow, text: &str) -> Result<Version, Problem> {
    let asked = text.to_ascii_lowercase();
    let fits = |version: &Version| version.to_string().starts_with(&asked) || short(version) == asked;
    let fitting: Vec<Version> = row.heads.iter().map(|head| head.version).filter(fits).collect();
    let list = |versions: &[Version]| versions.iter().take(NAMED).map(short).collect::<Vec<_>>().join(", ");
    match fitting.as_slice() {
        [one] => Ok(*one),
        [] => {
            let all: Vec<Version> = row.heads.iter().map(|head| head.version).collect();
            let row = called(collection, row);
            Err(no(format!("no version of {row} starts with \"{text}\"; they are {}", list(&all))))
        }
        several => Err(no(format!("\"{text}\" fits several versions: {}", list(several)))),
    }
}

/// A row, as a message names it.
fn called(collection: &Collection, row: &ConflictedRow) -> String {
    let names = names(row, collection, &row.row.key);
    quoted(names.first().map_or(&[], Vec::as_slice))
}

fn quoted(name: &[u8]) -> String {
    format!("\"{}\"", text::escape(name))
}

/// `the row "a" is`, `the rows "a", "b" are`, and no more names than one wants to read.
fn list(rows: impl Iterator<Item = String>, count: usize, one: &str, several: &str) -> String {
    let named: Vec<String> = rows.take(NAMED).collect();
    let more = count.saturating_sub(named.len());
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    let (plural, verb) = if count == 1 { ("", one) } else { ("s", several) };
    format!("the row{plural} {}{rest} {verb}", named.join(", "))
}

fn no(message: String) -> Problem {
    Problem { refused: true, message }
}

fn wrong(message: String) -> Problem {
    Problem { refused: false, message }
}
