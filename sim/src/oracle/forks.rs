//! Forks: who holds which branch, and what a device writes again of its own (S-2, S-26).
//!
//! Only hostile devices fork their logs here, and what their branches say is the same, generation by generation: so the
//! model need not tell them apart. Who holds which is asked of stores.

use std::collections::{BTreeMap, BTreeSet};

use driftless::inspect::{self, Content, Entry};
use driftless::{Action, Author, Notice, SyncgroupId, Version};

use super::rows::fault;
use super::{Checked, Oracle, Seen, Violation, Watch};
use crate::coverage::{Coverage, Point};
use crate::model::{Fact, Generation, RowKey};

impl Watch {
    /// Counts forks that are proven, or heard of.
    pub(super) fn count_forks(&self, replica: usize, notices: &[&Notice], coverage: &mut Coverage) {
        for notice in notices {
            let Notice::Forked { by, .. } = notice else { continue };
            let is_own = by.author.device == self.devices[replica];
            coverage.hit(if is_own { Point::ForkProven } else { Point::ForkHeard });
        }
    }

    /// A device has written again what it had written on a branch: all of it, in order, each as it was.
    pub(super) fn branch_again(
        &mut self,
        seen: Seen<'_>,
        notices: &[&Notice],
        actions: &[Action],
        coverage: &mut Coverage,
    ) -> Checked {
        for notice in notices {
            let Notice::WrittenAgain { syncgroup, author, successor, batches } = notice else { continue };
            let wrong = |what: String| Err(Violation::new(Oracle::SilentLoss, "S-2", seen.replica, what));
            coverage.hit(Point::BranchWrittenAgain);
            let mut brought = BTreeMap::new();
            for action in actions {
                let Action::Commit(commit) = action else { continue };
                let all = inspect::generations(commit, seen.store).map_err(fault(seen))?;
                let own =
                    all.into_iter().filter(|(group, it, _)| group == syncgroup && it.author == *successor);
                brought.extend(own.map(|(_, version, content)| (version, content)));
            }
            // Of a branch that comes in pieces each begins where the one before ended; of another one it is not known where it
            // begins.
            let of = (*syncgroup, *author, *successor);
            let mut is_under_way = self.repeated.contains_key(&of);
            let cut = || self.cut_of(syncgroup, author).unwrap_or(0);
            let mut last = self.repeated.get(&of).copied().unwrap_or_else(cut);
            let begins = brought.values().filter(|content| begins_a_log(content)).count();
            if brought.len() != *batches + begins {
                return wrong(format!("says that it wrote {batches} batches again, and wrote {brought:?}"));
            }
            for (version, content) in brought {
                let past = self.past_of(syncgroup, &version, &content);
                let stamp = Some(content.stamp);
                if begins_a_log(&content) {
                    let (rolled, says) = (
                        self.word_on_keys(*syncgroup, version),
                        Fact::StandsFor(self.stood_for(syncgroup, &version.author, &content)),
                    );
                    let begins = Generation { past, stamp, rolled, says, ..Generation::default() };
                    self.model.record(*syncgroup, version, begins);
                    continue;
                }
                let rows: BTreeSet<_> = content.entries.iter().filter_map(key_of).collect();
                let old = loop {
                    last += 1;
                    let old = Version { author: *author, generation: last };
                    let Some(it) = self.model.generation(syncgroup, &old) else {
                        return wrong(format!("wrote {version:?} again, which {author:?} never wrote"));
                    };
                    let keys: BTreeSet<_> = it.rows.keys().map(|row| row.key.clone()).collect();
                    if keys == rows {
                        break it.clone();
                    }
                    if is_under_way && !it.rows.is_empty() {
                        return wrong(format!("wrote {version:?} again, and not {old:?}, which came before"));
                    }
                };
                is_under_way = true;
                let parents = old.parents.clone().or(Some(BTreeMap::<RowKey, BTreeSet<Version>>::new()));
                let Generation { rows, .. } = old;
                let again = Generation { past, stamp, rows, parents, ..Generation::default() };
                self.model.record(*syncgroup, version, again);
            }
            if is_under_way {
                self.repeated.insert(of, last);
            }
        }
        Ok(())
    }

    /// What was written again by keys that the device had before, of a branch that it now writes again by another one.
    fn stood_for(&self, group: &SyncgroupId, author: &Author, content: &Content) -> BTreeSet<Version> {
        let logs = content.entries.iter().filter_map(|entry| match entry {
            Entry::Cut { incarnation, .. } => Some(Author { incarnation: *incarnation, ..*author }),
            _ => None,
        });
        let logs: BTreeSet<Author> = logs.collect();
        let known = self.model.generations(group).map(|(version, _)| *version);
        known.filter(|version| logs.contains(&version.author)).collect()
    }

    /// How much counts of a log that is forked, by all that anybody has said.
    fn cut_of(&self, group: &SyncgroupId, author: &Author) -> Option<u64> {
        let forks = self.model.facts(group).filter_map(|(_, it)| match it.says {
            Fact::Forks(of, last) if of == *author => Some(last),
            _ => None,
        });
        forks.min()
    }

    /// The pairs of replicas that hold different branches somewhere, and so go on asking each other, more and more rarely.
    pub(crate) fn kept_apart(&self, all: &[Seen<'_>]) -> BTreeSet<(usize, usize)> {
        let groups = all.iter().flat_map(|seen| seen.core.syncgroups()).map(|info| info.id);
        let groups: BTreeSet<SyncgroupId> = groups.collect();
        let pairs =
            all.iter().enumerate().flat_map(|(at, one)| all[at + 1..].iter().map(move |it| (one, it)));
        let apart = pairs.filter(|(one, other)| {
            groups.iter().any(|group| self.hold_different_branches(group, one, other))
        });
        apart.map(|(one, other)| (one.replica, other.replica)).collect()
    }

    /// Whether two replicas hold different branches of a log on which others have built: neither can have what is built on
    /// the other's.
    pub(super) fn hold_different_branches(
        &self,
        group: &SyncgroupId,
        one: &Seen<'_>,
        other: &Seen<'_>,
    ) -> bool {
        let forked: BTreeSet<Author> = self
            .model
            .facts(group)
            .filter_map(|(_, it)| if let Fact::Forks(author, _) = it.says { Some(author) } else { None })
            .collect();
        forked.iter().any(|author| {
            let Some(last) = self.cut_of(group, author) else { return false };
            let branch = |seen: &Seen<'_>| {
                // Only what others build on of it is counted there.
                let held = seen.core.held(group)?.get(author).copied().filter(|held| *held > last)?;
                let at = Version { author: *author, generation: last + 1 };
                inspect::leaf(seen.store, group, &at).ok().flatten().filter(|_| held > last)
            };
            matches!((branch(one), branch(other)), (Some(one), Some(other)) if one != other)
        })
    }
}

/// Whether a generation says of which key its log is, and nothing else than what such a log does as it begins.
fn begins_a_log(content: &Content) -> bool {
    let rolls_over = content.entries.iter().any(|entry| matches!(entry, Entry::Rollover { .. }));
    rolls_over && content.entries.iter().all(|it| matches!(it, Entry::Rollover { .. } | Entry::Cut { .. }))
}

fn key_of(entry: &Entry) -> Option<bytes::Bytes> {
    match entry {
        Entry::Row { key, .. } => Some(key.clone()),
        _ => None,
    }
}
