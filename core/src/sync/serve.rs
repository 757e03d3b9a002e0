//! Giving out generations: chunks, causes first, from a cursor that is plain data (S-21).
//!
//! What is to be sent of each author stands in the share's beliefs. Runs of several authors are merged by
//! their stamps, which lie above all stamps in their past; should an author have stamped wrongly, dependencies
//! are checked all the same.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::link::Share;
use crate::id::{Author, Generation};
use crate::log::generation::Encoded;
use crate::log::tree::Known;
use crate::log::{Checkpoint, Proof};
use crate::replica::Replica;
use crate::replica::stored::{LogNodes, Stored};
use crate::store::key::{AuthorIx, GroupIx};
use crate::store::{Fault, Table, View};
use crate::syncgroup::group::Group;
use crate::wire::{Deltas, Run};

/// Checkpoints of this device's own logs that were signed already.
pub(crate) type Signed = BTreeMap<(GroupIx, AuthorIx), Checkpoint>;

/// A chunk to be sent.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) deltas: Deltas,
    /// New checkpoints of own logs.
    pub(crate) signed: Vec<(AuthorIx, Checkpoint)>,
}

/// What is sent of one author.
struct Cursor {
    ix: AuthorIx,
    first: Generation,
    goal: Generation,
    next: Encoded,
    taken: Vec<Bytes>,
}

impl Cursor {
    /// How much the other end will hold with what is taken so far.
    fn reach(&self) -> Generation {
        self.first + self.taken.len() as u64 - 1
    }
}

/// Fills a chunk for a share.
pub(crate) fn chunk(
    replica: &Replica,
    view: &dyn View,
    group: &Group,
    share: &Share,
    signed: &Signed,
) -> Result<Option<Chunk>, Fault> {
    let server = Server { replica, view, group, share };
    let mut cursors: BTreeMap<Author, Cursor> = BTreeMap::new();
    for author in &share.behind {
        let goal = share.beliefs.get(author).map_or(0, |belief| belief.goal);
        server.open(*author, goal, &mut cursors)?;
    }
    let mut size = 0;
    while let Some(author) = server.next(&mut cursors)? {
        let Some(cursor) = cursors.get_mut(&author) else { break };
        if size > 0 && size + cursor.next.bytes.len() > replica.limits.chunk_bytes {
            break;
        }
        size += cursor.next.bytes.len();
        cursor.taken.push(cursor.next.bytes.clone());
        if cursor.reach() < cursor.goal {
            cursor.next = server.read(cursor.ix, cursor.reach() + 1)?;
        }
    }
    let mut chunk = Chunk { deltas: Deltas { name: share.name, runs: Vec::new() }, signed: Vec::new() };
    for (author, cursor) in cursors.into_iter().filter(|(_, cursor)| !cursor.taken.is_empty()) {
        let Some(proof) = server.prove(&author, &cursor, signed, &mut chunk.signed)? else { continue };
        let Cursor { first, taken: generations, .. } = cursor;
        chunk.deltas.runs.push(Run { author, first, generations, proof });
    }
    Ok((!chunk.deltas.runs.is_empty()).then_some(chunk))
}

struct Server<'a> {
    replica: &'a Replica,
    view: &'a dyn View,
    group: &'a Group,
    share: &'a Share,
}

impl Server<'_> {
    fn read(&self, author: AuthorIx, generation: Generation) -> Result<Encoded, Fault> {
        let get = |table: Table, key: &Bytes| self.view.get(table, key);
        Stored::get(&get, self.group.ix, author, generation)?.encoded()
    }

    /// Starts to send an author up to `goal`, or goes further than before.
    fn open(
        &self,
        author: Author,
        goal: Generation,
        cursors: &mut BTreeMap<Author, Cursor>,
    ) -> Result<(), Fault> {
        let Some(ix) = self.replica.authors.find(&author) else { return Ok(()) };
        let goal = goal.min(self.group.held(ix));
        if let Some(cursor) = cursors.get_mut(&author) {
            if cursor.reach() == cursor.goal && goal > cursor.goal {
                cursor.next = self.read(ix, cursor.reach() + 1)?;
            }
            cursor.goal = cursor.goal.max(goal);
            return Ok(());
        }
        let sent = self.sent(&author);
        if sent < goal {
            let next = self.read(ix, sent + 1)?;
            cursors.insert(author, Cursor { ix, first: sent + 1, goal, next, taken: Vec::new() });
        }
        Ok(())
    }

    fn sent(&self, author: &Author) -> Generation {
        self.share.beliefs.get(author).map_or(0, |belief| belief.sent)
    }

    /// The author whose next generation comes first: all causes of it are there or were taken. Causes that
    /// nobody asked for come along.
    fn next(&self, cursors: &mut BTreeMap<Author, Cursor>) -> Result<Option<Author>, Fault> {
        loop {
            let mut first = None;
            let mut missing = Vec::new();
            for (author, cursor) in cursors.iter().filter(|(_, cursor)| cursor.reach() < cursor.goal) {
                let reach =
                    |author: &Author| cursors.get(author).map_or_else(|| self.sent(author), Cursor::reach);
                let before = missing.len();
                let dependencies = &cursor.next.header.dependencies;
                missing.extend(
                    dependencies
                        .iter()
                        .filter(|d| reach(&d.author) < d.generation)
                        .map(|d| (d.author, d.generation)),
                );
                let at = (cursor.next.header.stamp, *author);
                if missing.len() == before && first.is_none_or(|best| at < best) {
                    first = Some(at);
                }
            }
            if let Some((_, author)) = first {
                return Ok(Some(author));
            }
            let goals = |cursors: &BTreeMap<Author, Cursor>| cursors.values().map(|c| c.goal).sum::<u64>();
            let before = (cursors.len(), goals(cursors));
            for (author, generation) in missing {
                self.open(author, generation, cursors)?;
            }
            // What is held is closed under causes, so this only ends where there is nothing to send.
            if (cursors.len(), goals(cursors)) == before {
                return Ok(None);
            }
        }
    }

    /// What proves the run that was taken. Own logs are signed anew as far as they go; others are shown by the
    /// latest checkpoint that is known.
    fn prove(
        &self,
        author: &Author,
        cursor: &Cursor,
        signed: &Signed,
        new: &mut Vec<(AuthorIx, Checkpoint)>,
    ) -> Result<Option<Proof>, Fault> {
        let Some(log) = self.group.logs.get(&cursor.ix) else { return Ok(None) };
        let get = |table: Table, key: &Bytes| self.view.get(table, key);
        let nodes = LogNodes { get: &get, group: self.group.ix, author: cursor.ix };
        let (checkpoint, given): (_, &[_]) = if author.device == self.replica.keys.device {
            let known = signed.get(&(self.group.ix, cursor.ix)).filter(|known| known.size == log.held());
            let checkpoint = known.copied().unwrap_or_else(|| {
                Checkpoint::sign(&self.group.record.id, author, &log.tree, &self.replica.keys)
            });
            if known.is_none() {
                new.push((cursor.ix, checkpoint));
            }
            (checkpoint, &[])
        } else {
            let Some(proof) = &log.proof else { return Ok(None) };
            (proof.checkpoint, &proof.completion)
        };
        let known = Known { nodes: &nodes, held: log.held(), size: checkpoint.size, completion: given };
        let completion = known.completion_from(cursor.reach())?;
        Ok(Some(Proof { checkpoint, completion }))
    }
}
