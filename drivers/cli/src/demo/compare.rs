//! Compares the rows of all replicas, every one of them, without holding them all in memory.

use std::collections::VecDeque;

use anyhow::Result;

use super::replica::Replica;
use crate::protocol::{CollectionRef, Range, Request, Response, RowText};
use crate::session::{Answer, Session};
use crate::text;

/// How many differences are described.
const DESCRIBED: usize = 10;

/// What one replica shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) rows: u64,
    /// Bytes of keys and values.
    pub(super) bytes: u64,
    /// Rows of which there are versions that did not know of each other.
    pub(super) conflicts: u64,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// What each replica shows, in their order.
    pub(super) shown: Vec<Shown>,
    /// How many keys do not show the same everywhere.
    pub(super) differing: u64,
    /// The first of them, in words.
    pub(super) described: Vec<String>,
}

/// Reads every row of every replica, and compares them side by side.
pub(super) async fn compare(replicas: &[Replica], of: &CollectionRef) -> Result<Comparison> {
    let mut sessions: Vec<Session> = Vec::new();
    for replica in replicas {
        sessions.push(replica.another_session().await?);
    }
    let mut readers = Vec::new();
    for session in &mut sessions {
        let request = Request::Scan { of: of.clone(), range: Range::default(), values: true };
        readers.push(Reader { answer: session.ask(request).await?, page: VecDeque::new(), ended: false });
    }
    let mut comparison =
        Comparison { shown: vec![Shown::default(); replicas.len()], ..Comparison::default() };
    loop {
        for reader in &mut readers {
            reader.fill().await?;
        }
        let Some(key) =
            readers.iter().filter_map(|reader| reader.page.front()).map(|row| &row.key).min().cloned()
        else {
            return Ok(comparison);
        };
        let rows: Vec<Option<RowText>> = readers.iter_mut().map(|reader| reader.take(&key)).collect();
        comparison.take(replicas, &key, &rows);
    }
}

/// Rows of one replica, page by page.
struct Reader<'s> {
    answer: Answer<'s>,
    page: VecDeque<RowText>,
    ended: bool,
}

impl Reader<'_> {
    /// Makes sure that the next row is at hand, if there is one.
    async fn fill(&mut self) -> Result<()> {
        while self.page.is_empty() && !self.ended {
            match self.answer.next().await? {
                Some(Response::Rows { rows }) => self.page = rows.into(),
                Some(_) => {}
                None => self.ended = true,
            }
        }
        Ok(())
    }

    /// The next row, if it has this key.
    fn take(&mut self, key: &[u8]) -> Option<RowText> {
        self.page.front().filter(|row| row.key == key)?;
        self.page.pop_front()
    }
}

impl Comparison {
    fn take(&mut self, replicas: &[Replica], key: &[u8], rows: &[Option<RowText>]) {
        for (shown, row) in self.shown.iter_mut().zip(rows) {
            if let Some(row) = row {
                shown.rows += 1;
                shown.bytes += (row.key.len() + row.value.len()) as u64;
                shown.conflicts += u64::from(row.in_conflict);
            }
        }
        let value = |row: &Option<RowText>| row.as_ref().map(|row| row.value.clone());
        if rows.windows(2).all(|pair| value(&pair[0]) == value(&pair[1])) {
            return;
        }
        self.differing += 1;
        if self.described.len() < DESCRIBED {
            let each = replicas.iter().zip(rows).map(|(replica, row)| {
                let value = row.as_ref().map_or("nothing".into(), |row| text::escape_short(&row.value, 40));
                format!("{} shows {value}", replica.name)
            });
            let each: Vec<String> = each.collect();
            self.described.push(format!("{}: {}", text::escape_short(key, 60), each.join(", ")));
        }
    }
}
