//! Giving out generations: chunks, causes first, from a cursor that is plain data (S-21).
//!
//! What is to be sent of each author stands in the share's beliefs. Runs of several authors are merged by
//! their stamps, which lie above all stamps in their past; should an author have stamped wrongly, dependencies
//! are checked all the same.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::link::{Share, Way};
use crate::id::{Author, Generation};
use crate::limits;
use crate::log::generation::{Encoded, Header};
use crate::log::tree::{Known, Tree};
use crate::log::{Checkpoint, Log, Proof};
use crate::replica::Replica;
use crate::replica::plan::Plan;
use crate::replica::stored::{LogNodes, Stored};
use crate::store::key::{AuthorIx, GroupIx};
use crate::store::{Fault, Table, View};
use crate::syncgroup::group::Group;
use crate::time::Hlc;
use crate::wire::{Deltas, Run, Says};

/// How many authors' next generations are looked at for one chunk, beside those that they build on. Each chunk looks
/// again: more would cost more than what is sent.
const MOST_OPEN: usize = 64;
/// Of how many forked logs something is said at a time.
const MOST_DOUBTED: usize = 16;
/// Bytes of a generation that are kept from looking at it until its turn comes; larger ones are read again then.
const MOST_KEPT: usize = 16 << 10;
/// Bytes of a run beside its generations and the hashes of its proof, at most.
const RUN_BYTES: usize = 256;
/// Bytes of a key that took the place of another, with what signs for it.
const KEY_BYTES: usize = 96;
/// Bytes of a hash.
const HASH_BYTES: usize = 32;

/// Checkpoints of this device's own logs that were signed already.
pub(crate) type Signed = BTreeMap<(GroupIx, AuthorIx), Checkpoint>;

/// A chunk to be sent.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) deltas: Deltas,
    /// New checkpoints of own logs.
    pub(crate) signed: Vec<(AuthorIx, Checkpoint)>,
    /// Authors of which nothing more can be sent for now.
    pub(crate) stuck: Vec<Author>,
    /// What is to be said of logs of which the other end holds another branch.
    pub(crate) forked: Vec<(Author, Says)>,
}

/// What is sent of one author.
struct Cursor {
    ix: AuthorIx,
    first: Generation,
    goal: Generation,
    next: Next,
    taken: Vec<Bytes>,
}

/// A generation whose turn has not come.
struct Next {
    stamp: Hlc,
    /// What it builds on, as far as the other end is not known to get it before: that only ever becomes less.
    missing: Vec<(Author, Generation)>,
    size: usize,
    bytes: Option<Bytes>,
}

impl Next {
    fn of(encoded: Encoded) -> Self {
        let Header { stamp, dependencies, .. } = encoded.header;
        let missing = dependencies.iter().map(|cause| (cause.author, cause.generation)).collect();
        let size = encoded.bytes.len();
        Self { stamp, missing, size, bytes: (size <= MOST_KEPT).then_some(encoded.bytes) }
    }
}

impl Cursor {
    /// How much the other end will hold with what is taken so far.
    fn reach(&self) -> Generation {
        self.first + self.taken.len() as u64 - 1
    }
}

/// Fills a chunk for a share. It has no runs if nothing can be sent.
pub(crate) fn chunk(
    replica: &Replica,
    view: &dyn View,
    group: &Group,
    share: &Share,
    signed: &Signed,
) -> Result<Chunk, Fault> {
    let server = Server { replica, view, group, share };
    let mut cursors: BTreeMap<Author, Cursor> = BTreeMap::new();
    let mut stuck: Vec<Author> = share.behind.iter().take(MOST_OPEN).copied().collect();
    for author in &stuck {
        let goal = share.beliefs.get(author).map_or(0, |belief| belief.goal);
        server.open(*author, goal, &mut cursors)?;
    }
    stuck.retain(|author| !cursors.contains_key(author));
    let mut forked = Vec::new();
    for author in share.doubted.iter().chain(&stuck).take(MOST_DOUBTED) {
        forked.extend(server.doubt(author)?.map(|says| (*author, says)));
    }
    // Somebody who does not share takes what members did not write only together with what builds on it.
    let most = match share.way {
        Way::Both => replica.limits.chunk_bytes,
        Way::Apart { .. } => replica.limits.chunk_bytes.max(limits::MAX_GENERATION),
    };
    let mut size = 0;
    let is_all = loop {
        let next = server.next(&mut cursors)?;
        let Some((author, cursor)) = next.and_then(|author| Some((author, cursors.get_mut(&author)?))) else {
            break true;
        };
        let run = if cursor.taken.is_empty() { server.run_bytes(&author, cursor.ix) } else { 0 };
        if size > 0 && size + run + cursor.next.size > most {
            break false;
        }
        size += run + cursor.next.size;
        let bytes = match cursor.next.bytes.take() {
            Some(bytes) => bytes,
            None => server.read(cursor.ix, cursor.reach() + 1)?.bytes,
        };
        cursor.taken.push(bytes);
        if cursor.reach() < cursor.goal {
            cursor.next = Next::of(server.read(cursor.ix, cursor.reach() + 1)?);
        }
    };
    let deltas = Deltas { name: share.name, runs: Vec::new() };
    let mut chunk = Chunk { deltas, signed: Vec::new(), stuck, forked };
    let open: Vec<Author> = cursors.keys().copied().collect();
    for (author, cursor) in cursors.into_iter().filter(|(_, cursor)| !cursor.taken.is_empty()) {
        let Some(proof) = server.prove(&author, &cursor, signed, &mut chunk.signed)? else { continue };
        let Cursor { first, taken: generations, .. } = cursor;
        chunk.deltas.runs.push(Run { author, first, generations, proof });
    }
    // What is open now builds on what cannot be sent, and must not keep others from being looked at.
    if is_all || chunk.deltas.runs.is_empty() {
        chunk.stuck.extend(open);
    }
    Ok(chunk)
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

    /// Whether the other end, which was sent this much of a log, has said that it holds something else of it (S-26).
    fn is_branch(&self, author: &Author, ix: AuthorIx, sent: Generation) -> Result<bool, Fault> {
        let said = self.share.said.get(author).filter(|(size, _)| *size == sent);
        let Some((size, tag)) = said else { return Ok(false) };
        let get = |table: Table, key: &Bytes| self.view.get(table, key);
        let nodes = LogNodes { get: &get, group: self.group.ix, author: ix };
        Ok(Tree::load(*size, &nodes)?.root().tag() != *tag)
    }

    /// What is said of a log of which the other end holds another branch: the proof, if it is known here; otherwise what
    /// there is here of the log, so that it can find out where they part.
    fn doubt(&self, author: &Author) -> Result<Option<Says>, Fault> {
        let Some(ix) = self.replica.authors.find(author) else { return Ok(None) };
        let (plan, group) = (Plan::new(self.replica, self.view), self.group.ix);
        let belief = self.share.beliefs.get(author).copied().unwrap_or_default();
        let fork = self.group.metadata.access.fork(author);
        if fork.is_some_and(|(_, prefix)| belief.has > prefix) && self.share.doubted.contains(author) {
            return Ok(plan.fork(group, author)?.map(|fork| Says::Proof(Box::new(fork))));
        }
        let differs = belief.has.min(self.group.held(ix));
        let is_known = fork.is_some_and(|(_, prefix)| belief.has > prefix);
        let is_other = belief.has == self.group.held(ix) || self.is_branch(author, ix, belief.has)?;
        if self.share.way != Way::Both || is_known || differs == 0 || !is_other {
            return Ok(None);
        }
        Ok(Some(Says::Tags(plan.tags_between(group, ix, 0, differs)?)))
    }

    /// Starts to send an author up to `goal`, or goes further than before. Nothing is sent of another branch of a log than
    /// the one that the other end holds: it could not be taken, nor could what else is in the chunk.
    fn open(
        &self,
        author: Author,
        goal: Generation,
        cursors: &mut BTreeMap<Author, Cursor>,
    ) -> Result<(), Fault> {
        let Some(ix) = self.replica.authors.find(&author) else { return Ok(()) };
        let goal = goal.min(self.group.logs.get(&ix).map_or(0, |log| log.held()));
        if let Some(cursor) = cursors.get_mut(&author) {
            if cursor.reach() == cursor.goal && goal > cursor.goal {
                cursor.next = Next::of(self.read(ix, cursor.reach() + 1)?);
            }
            cursor.goal = cursor.goal.max(goal);
            return Ok(());
        }
        let sent = self.sent(&author);
        if sent < goal && !self.is_branch(&author, ix, sent)? {
            let next = Next::of(self.read(ix, sent + 1)?);
            cursors.insert(author, Cursor { ix, first: sent + 1, goal, next, taken: Vec::new() });
        }
        Ok(())
    }

    /// Bytes of a run without its generations, at most: its proof has a hash for each level of the author's tree.
    fn run_bytes(&self, author: &Author, ix: AuthorIx) -> usize {
        let log = self.group.logs.get(&ix);
        let size = log.map_or(0, |log| match &log.proof {
            Some(proof) if !self.signs(author, log) => proof.checkpoint.size,
            _ => log.held(),
        });
        let keys = log.map_or(0, |log| match &log.proof {
            Some(proof) if !self.signs(author, log) => proof.checkpoint.keys.rollovers(),
            _ => self.replica.keys.chain.rollovers(),
        });
        RUN_BYTES + KEY_BYTES * keys + HASH_BYTES * (u64::BITS - size.leading_zeros()) as usize
    }

    /// Whether this device signs for a log: its own, unless the key of that has ended, and somebody else may have gone on
    /// with it, or begun another branch.
    fn signs(&self, author: &Author, log: &Log) -> bool {
        let end = self.group.metadata.access.end_of(author);
        author.device == self.replica.keys.device
            && end.is_none_or(|end| log.proof.is_none() && log.held() <= end)
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
            let open = cursors.iter().filter(|(_, cursor)| cursor.reach() < cursor.goal);
            let open: Vec<Author> = open.map(|(author, _)| *author).collect();
            for author in open {
                let Some(cursor) = cursors.get_mut(&author) else { continue };
                let (at, mut lacks) =
                    ((cursor.next.stamp, author), core::mem::take(&mut cursor.next.missing));
                let reach = |of: &Author| cursors.get(of).map_or_else(|| self.sent(of), Cursor::reach);
                lacks.retain(|(of, generation)| reach(of) < *generation);
                if lacks.is_empty() {
                    first = first.min(Some(at)).or(Some(at));
                    continue;
                }
                missing.extend_from_slice(&lacks);
                if let Some(cursor) = cursors.get_mut(&author) {
                    cursor.next.missing = lacks;
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
        let (checkpoint, given): (_, &[_]) = if self.signs(author, log) {
            let is_it = |known: &&Checkpoint| known.size == log.held() && known.root == log.tree.root();
            let known = signed.get(&(self.group.ix, cursor.ix)).filter(is_it);
            let checkpoint = known.cloned().unwrap_or_else(|| {
                let nonce = self.group.metadata.access.nonce_of(author);
                Checkpoint::sign(&self.group.record.id, author, &log.tree, (&self.replica.keys, nonce))
            });
            if known.is_none() {
                new.push((cursor.ix, checkpoint.clone()));
            }
            (checkpoint, &[])
        } else {
            let Some(proof) = &log.proof else { return Ok(None) };
            (proof.checkpoint.clone(), &proof.completion)
        };
        let known = Known { nodes: &nodes, held: log.held(), size: checkpoint.size, completion: given };
        let completion = known.completion_from(cursor.reach())?;
        Ok(Some(Proof { checkpoint, completion }))
    }
}
