//! What comes of a plan: what is to be written, and how memory changes with it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Draft, Plan};
use crate::action::{Notice, RowChange};
use crate::crypto::Keys;
use crate::id::{Author, CommitSeq};
use crate::keys::Life;
use crate::replica::Replica;
use crate::replica::changes::ChangeEntry;
use crate::replica::cited::Citations;
use crate::replica::paused::Paused;
use crate::replica::release::Moves;
use crate::replica::stored::StateRecord;
use crate::store::key::{self, AuthorIx, GroupIx};
use crate::store::{Commit, Table, Write};
use crate::syncgroup::metadata::Metadata;
use crate::time::Hlc;

/// Old changes of rows that one commit drops, at most.
const MOST_PRUNED: u64 = 64;

/// A planned change, free of what it was planned on.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    writes: Vec<Write>,
    authors: Vec<Author>,
    drafts: BTreeMap<GroupIx, Draft>,
    pub(crate) changes: Vec<RowChange>,
    pub(crate) split: BTreeSet<(GroupIx, Option<Bytes>)>,
    moves: Moves,
    stamp: Option<Hlc>,
    pruned: CommitSeq,
    life: Option<Life>,
    keys: Option<Keys>,
    paused: Option<Paused>,
    cited: Citations,
    forgets_cited: bool,
    pub(crate) notices: Vec<Notice>,
    /// Somebody's rights may have ended since who shares what with whom was looked at.
    pub(crate) passes_ends: bool,
}

impl Effects {
    /// The syncgroups that change, and of each the authors of which it gains generations, or loses some.
    pub(crate) fn gains(&self) -> impl Iterator<Item = (GroupIx, impl Iterator<Item = AuthorIx>)> {
        self.drafts.iter().map(|(ix, draft)| (*ix, draft.logs.keys().copied()))
    }

    /// Whether it pauses databases, or resumes them.
    pub(crate) fn changes_pauses(&self) -> bool {
        self.paused.is_some()
    }

    /// Whether this device signs with another key from now on.
    pub(crate) fn changes_key(&self) -> bool {
        self.keys.is_some()
    }

    /// Whether this device goes on as another author than that one.
    pub(crate) fn reincarnates(&self, before: Life) -> bool {
        self.life.is_some_and(|life| life != before)
    }

    /// Whether it changes who shares what with whom.
    pub(crate) fn changes_sharing(&self) -> bool {
        let changes = |draft: &Draft| {
            let is_known_elsewhere = draft.pasts.next() > 0;
            draft.created.is_some()
                || draft.record.is_some()
                || draft.metadata.is_some()
                || is_known_elsewhere
        };
        self.changes_pauses() || self.passes_ends || self.drafts.values().any(changes)
    }
}

impl Plan<'_> {
    /// Of rows in collections that are not there nobody is told. One may be gone in between, and be written again.
    fn tell_of_what_is_there(&mut self) {
        let mut changes = core::mem::take(&mut self.changes);
        changes.retain(|change| {
            let group = self.replica.group(&change.syncgroup);
            group.is_none_or(|group| self.has_collection(group.ix, &change.collection))
        });
        self.changes = changes;
    }

    /// Ends planning.
    pub(crate) fn finish(mut self) -> Effects {
        self.tell_publications();
        self.tell_of_what_is_there();
        self.moves.store(&self.replica.waiting, &mut self.staged);
        let news = self.log_of_changes();
        let Self {
            staged,
            authors,
            drafts,
            changes,
            split,
            moves,
            stamp,
            pruned,
            life,
            keys,
            paused,
            notices,
            cited,
            forgets_cited,
            ..
        } = self;
        let mut writes = staged.into_writes();
        // What nothing in a plan reads back joins only here.
        let tips = drafts.iter().filter_map(|(ix, draft)| Some((*ix, draft.tip.as_ref()?)));
        writes.extend(tips.map(|(ix, tip)| put(Table::Tip, key::number(ix), tip.to_bytes())));
        writes.extend(news);
        Effects {
            writes,
            authors: authors.into_list(),
            drafts,
            changes,
            split,
            moves,
            stamp: Some(stamp),
            pruned,
            life,
            keys,
            paused,
            cited: cited.into_inner(),
            forgets_cited,
            notices,
            passes_ends: false,
        }
    }

    /// Tells where it has changed where a syncgroup is published, or what has become of that (S-33). That follows from
    /// what members say of it, and from who is one; so it is looked at once, when all is planned.
    fn tell_publications(&mut self) {
        let told = self.drafts.iter().filter_map(|(ix, draft)| {
            let now = draft.metadata.as_ref().filter(|metadata| metadata.publishes());
            let before = self.replica.groups.get(ix).map(|group| &group.metadata);
            let before = before.filter(|metadata| metadata.publishes());
            if draft.metadata.is_none() || now.is_none() && before.is_none() {
                return None;
            }
            let list = |it: Option<&Metadata>| it.map(Metadata::publications).unwrap_or_default();
            let syncgroup = self.record(*ix)?.id;
            (list(now) != list(before)).then_some(Notice::Publications { syncgroup })
        });
        let told: Vec<_> = told.collect();
        self.notices.extend(told);
    }

    /// Keeps what changed for those who watch, and drops what is too old.
    fn log_of_changes(&mut self) -> Vec<Write> {
        let limit = self.replica.limits.watch_log;
        if self.news.is_empty() || limit == 0 || self.forgets_changes {
            return Vec::new();
        }
        let seq = CommitSeq(self.replica.seq.0 + 1);
        // Commits that changed no row left nothing, and take nothing away: catch up with them by and by.
        let due = CommitSeq(seq.0.saturating_sub(limit));
        let last = due.min(CommitSeq(self.replica.pruned.0 + MOST_PRUNED));
        let old = self.replica.pruned.0 + 1..=last.0;
        self.pruned = last;
        let remove = |old| Write { table: Table::Change, key: key::change(CommitSeq(old)), value: None };
        let news = put(Table::Change, key::change(seq), ChangeEntry::to_bytes(&self.news));
        core::iter::once(news).chain(old.map(remove)).collect()
    }
}

fn put(table: Table, key: Bytes, value: Bytes) -> Write {
    Write { table, key, value: Some(value) }
}

impl Replica {
    /// Makes a planned change, and returns the commit that stores it, if there is anything to store.
    pub(crate) fn apply(&mut self, effects: Effects) -> Option<Commit> {
        let Effects { forgets_cited, keys, .. } = effects;
        let Effects { mut writes, authors, drafts, moves, stamp, pruned, life, paused, cited, .. } = effects;
        // Another branch may come in the place of what was taken back.
        if forgets_cited {
            self.cited = Citations::default();
        }
        self.cited.extend(cited);
        self.pruned = self.pruned.max(pruned);
        authors.into_iter().for_each(|author| self.authors.push(author));
        self.stamp = stamp.unwrap_or(self.stamp);
        self.keys = keys.unwrap_or_else(|| self.keys.clone());
        let reincarnated = life.is_some();
        self.life = life.unwrap_or(self.life);
        for (ix, mut draft) in drafts {
            if let Some(mut group) = draft.created.take() {
                group.paused = self.paused.contains(&group.record.database);
                self.by_id.insert(group.record.id, ix);
                self.groups.insert(ix, group);
            }
            let Some(group) = self.groups.get_mut(&ix) else { continue };
            for (author_ix, log) in draft.logs {
                group.knowledge.grow(author_ix);
                match log {
                    Some(log) => _ = group.logs.insert(author_ix, log),
                    None => _ = group.logs.remove(&author_ix),
                }
            }
            draft.pasts.into_list().into_iter().for_each(|past| group.pasts.push(past));
            if let Some(record) = draft.record {
                group.record = record;
            }
            if let Some(tip) = draft.tip {
                let before = core::mem::replace(&mut group.tip, tip);
                let forked = before.forked.keys().chain(group.tip.forked.keys());
                forked.for_each(|author| group.knowledge.grow(*author));
            }
            if let Some(metadata) = draft.metadata {
                group.metadata = metadata;
                self.note_ends(ix);
            }
        }
        moves.apply(&mut self.waiting);
        if let Some(paused) = paused {
            self.paused = paused;
            for group in self.groups.values_mut() {
                group.paused = self.paused.contains(&group.record.database);
            }
        }
        if writes.is_empty() && !reincarnated {
            return None;
        }
        self.seq = CommitSeq(self.seq.0 + 1);
        writes.push(StateRecord::new(self.seq, self.life).to_write());
        Some(Commit { seq: self.seq, writes })
    }
}
