//! Logs that their authors have forked: proofs of it, and what becomes of the branch that is here (S-26, S-35).
//!
//! ```text
//!   common prefix        the branch that is here
//!   o───o───o───o │ x───x───x │ x───x
//!                 │     ▲     │
//!             the cut   │   the reach: so much others build on
//!                    somebody's generation
//! ```
//!
//! What lies behind the cut is void. What others build on of it is held by all who hold what they wrote, passed on and
//! counted, like whatever is void. What lies beyond that is held by whoever has it, and counts on neither side, or the
//! holders of two branches would never come to rest. And nothing that is written from now on builds on it.
//!
//! Where others build on one branch only, whoever holds another one takes that instead ([`Plan::make_way`]). Where they
//! build on several, whoever holds one cannot have what builds on another.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::plan::Plan;
use super::stored::{LogNodes, corrupt};
use super::take_back::TakenBack;
use super::{Replica, Stop};
use crate::action::Notice;
use crate::hash::{Hash, Tag};
use crate::id::{Author, Generation, Version};
use crate::keys::{KeyChain, Life};
use crate::log::fork::{self, Branch, Fork};
use crate::log::generation::{Dependency, Encoded};
use crate::log::record::{MetaRecord, Record};
use crate::log::tree::Known;
use crate::log::{Checkpoint, Log};
use crate::object::history::Place;
use crate::store::key::{AuthorIx, GroupIx};
use crate::store::{Fault, Table};
use crate::syncgroup::group::Reach;
use crate::time::{Hlc, Wall};

/// Sizes of a log that are compared at a time.
const COMPARED: u64 = 16;
/// And that may be compared at a time.
pub(crate) const MOST_COMPARED: usize = 64;

/// What is found out about a log of which somebody else holds another branch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    /// As far as both go, they hold the same.
    Same,
    /// They part somewhere among these sizes.
    Between(Vec<(Generation, Tag)>),
    /// They part behind this size: and so the branch goes on that is here.
    At(Generation, Box<Branch>),
}

impl Replica {
    /// Notes of which forked logs somebody builds on another branch, and which have made way for one.
    pub(crate) fn note_wanted(
        &mut self,
        wanted: &BTreeSet<(GroupIx, Author)>,
        made_way: &BTreeSet<(GroupIx, Author)>,
    ) {
        for of in wanted {
            self.wanted.entry(*of).or_insert(false);
        }
        self.wanted.extend(made_way.iter().map(|of| (*of, true)));
    }
}

impl Plan<'_> {
    /// The tags of a log at some sizes, the first of which is known to be the same elsewhere, and the last is not.
    pub(crate) fn tags_between(
        &self,
        group: GroupIx,
        author: AuthorIx,
        same: Generation,
        differs: Generation,
    ) -> Result<Vec<(Generation, Tag)>, Fault> {
        let steps = (differs - same).min(COMPARED);
        let size = |step| same + (u128::from(differs - same) * u128::from(step) / u128::from(steps)) as u64;
        let sizes = (0..=steps).map(size).filter(|size| *size > 0);
        sizes.map(|size| Ok((size, self.tag(group, author, size)?))).collect()
    }

    /// Compares a log with what somebody else holds of it, at rising sizes. Whoever `asks` wants what follows upon what is the
    /// same.
    pub(crate) fn compare_branch(
        &self,
        group: GroupIx,
        author: &Author,
        theirs: &[(Generation, Tag)],
        asks: bool,
    ) -> Result<Found, Fault> {
        let (Some(ix), held) = (self.author_ix(author), self.held(group, author)) else {
            return Ok(Found::Same);
        };
        let mut same = 0;
        for (size, tag) in theirs.iter().take_while(|(size, _)| *size <= held) {
            if *size <= same {
                return Ok(Found::Same); // Not rising.
            }
            if self.tag(group, ix, *size)? == *tag {
                same = *size;
            } else if *size == same + 1 {
                let branch = self.branch(group, ix, same)?;
                return Ok(branch.map_or(Found::Same, |branch| Found::At(same, Box::new(branch))));
            } else {
                return Ok(Found::Between(self.tags_between(group, ix, same, *size)?));
            }
        }
        if asks && same < held {
            let branch = self.branch(group, ix, same)?;
            return Ok(branch.map_or(Found::Same, |branch| Found::At(same, Box::new(branch))));
        }
        Ok(Found::Same)
    }

    /// How a log goes on that is held, behind so many generations.
    fn branch(&self, group: GroupIx, ix: AuthorIx, prefix: Generation) -> Result<Option<Branch>, Fault> {
        let author = self.author(ix);
        let Some((log, record)) = self.log(group, ix).zip(self.record(group)) else { return Ok(None) };
        let Log { tree, proof, .. } = log;
        let nonce = || self.metadata(group).map_or(0, |metadata| metadata.access.nonce_of(&author));
        let own = || Checkpoint::sign(&record.id, &author, tree, (&self.replica.keys, nonce()));
        let (checkpoint, given) = match proof {
            Some(proof) => (proof.checkpoint.clone(), &proof.completion[..]),
            None if author.device == self.replica.keys.device => (own(), &[][..]),
            None => return Ok(None),
        };
        let get = |table, key: &Bytes| self.staged.get(table, key);
        let nodes = LogNodes { get: &get, group, author: ix };
        let known = Known { nodes: &nodes, held: log.held(), size: checkpoint.size, completion: given };
        let completion = known.completion_from(prefix + 1)?;
        let leaf = self.stored(group, ix, prefix + 1)?.encoded()?.leaf;
        Ok(Some(Branch { leaf, checkpoint, completion }))
    }

    /// Where others part from the branch of a forked log that is here: behind so many generations, rising. A branch may have
    /// branches itself, where a disk was set back once and then further; those that part on another one are none of this.
    pub(crate) fn partings(&self, group: GroupIx, author: &Author) -> Result<Vec<Generation>, Fault> {
        let mut partings: Vec<Generation> = Vec::new();
        let (ix, held) = (self.author_ix(author), self.held(group, author));
        let known = self.metadata(group).map(|it| it.access.partings(author)).unwrap_or_default();
        for (prefix, tag) in known.into_iter().take_while(|(prefix, _)| *prefix <= held) {
            let is_here = match ix.filter(|_| prefix > 0 && !partings.is_empty()) {
                Some(ix) => self.tag(group, ix, prefix)? == tag,
                None => true,
            };
            if is_here && partings.last() != Some(&prefix) {
                partings.push(prefix);
            }
        }
        Ok(partings)
    }

    /// Whether a branch of one of this device's own logs, or more of the one that is here, is not written again and not here
    /// either.
    pub(crate) fn lacks_branch(
        &self,
        group: GroupIx,
        author: &Author,
        (prefix, leaf): (Generation, &Hash),
    ) -> Result<bool, Fault> {
        let (own, held) = (self.own(), self.held(group, author));
        let partings = match author.device == own.device && *author != own {
            true => self.partings(group, author)?,
            false => Vec::new(),
        };
        if !partings.contains(&prefix) {
            return Ok(!partings.is_empty() && prefix == held);
        }
        if self.successors(author, leaf).any(|life| {
            let successor = Author { incarnation: life.incarnation, ..*author };
            self.stays(group, &successor) > 0
        }) {
            return Ok(false);
        }
        match self.author_ix(author).filter(|_| held > prefix) {
            Some(ix) => Ok(self.stored(group, ix, prefix + 1)?.encoded()?.leaf != *leaf),
            None => Ok(true),
        }
    }

    /// What this device says of a log of its own that is forked, for others to say how it goes on with them behind this
    /// size: on another branch, or further on the one that is here.
    pub(crate) fn ask_behind(
        &self,
        group: GroupIx,
        author: &Author,
        prefix: Generation,
    ) -> Result<Vec<(Generation, Tag)>, Fault> {
        let (Some(ix), held) = (self.author_ix(author), self.held(group, author)) else {
            return Ok(Vec::new());
        };
        let sizes: BTreeSet<Generation> = [prefix, prefix + 1, held].into_iter().collect();
        let sizes = sizes.into_iter().filter(|size| (1..=held).contains(size));
        sizes.map(|size| Ok((size, self.tag(group, ix, size)?))).collect()
    }

    /// The names under which this device may have written a branch of a log of its own again: by each key that it has had since
    /// that of the log, the present one last.
    pub(super) fn successors(&self, author: &Author, leaf: &Hash) -> impl Iterator<Item = Life> {
        let chain = &self.keys().chain;
        let keys = author.incarnation.rollovers()..=chain.rollovers();
        keys.map(move |key| fork::successor(author, leaf, &chain.up_to(key)))
    }

    /// How much is held of a log that its key, should it have ended, leaves there.
    pub(crate) fn stays(&self, group: GroupIx, author: &Author) -> Generation {
        let end = self.metadata(group).and_then(|metadata| metadata.access.end_of(author));
        self.held(group, author).min(end.unwrap_or(Generation::MAX))
    }

    /// Whether a log is this device's own, and of a key that it has no more.
    pub(crate) fn is_of_former_key(&self, author: &Author) -> bool {
        let keys = self.keys();
        author.device == keys.device && author.incarnation.rollovers() < keys.chain.rollovers()
    }

    /// How much of the branch that is here of one of this device's own logs the device wrote itself. Of a log of its present key
    /// that is all; with an earlier one somebody else may have begun another branch: there it is what the device has said that
    /// stays, by its word on its keys (S-1).
    pub(super) fn own_branch(&self, group: GroupIx, ix: AuthorIx) -> Result<Generation, Fault> {
        let author = self.author(ix);
        let held = self.held(group, &author);
        if !self.is_of_former_key(&author) {
            return Ok(held);
        }
        let said = self.metadata(group).into_iter().flat_map(|metadata| metadata.access.stays(&author));
        let found = self.replica.found.get(&group).into_iter().flatten();
        let found = found.filter(|it| it.incarnation == author.incarnation).map(|it| (it.last, it.tag));
        let mut own = 0;
        for (last, tag) in said.chain(found) {
            if (own + 1..=held).contains(&last) && self.tag(group, ix, last)? == tag {
                own = last;
            }
        }
        Ok(own)
    }

    /// Puts a proof together from another branch of a log than the one that is here; `None` if it is none.
    pub(crate) fn prove_fork(
        &self,
        group: GroupIx,
        author: &Author,
        prefix: Generation,
        other: Branch,
    ) -> Result<Option<Fork>, Fault> {
        let Some(ix) = self.author_ix(author).filter(|_| prefix < self.held(group, author)) else {
            return Ok(None);
        };
        let (Some(own), Some(record)) = (self.branch(group, ix, prefix)?, self.record(group)) else {
            return Ok(None);
        };
        let fork = Fork::new(*author, &self.tree(group, ix, prefix)?, own, other);
        Ok(Some(fork).filter(|fork| fork.is_proof(&record.id, &self.replica.keys)))
    }

    /// Whether a proof says something new, for which there is room.
    pub(crate) fn needs_fork(&self, group: GroupIx, author: &Author, prefix: Generation) -> bool {
        self.metadata(group).is_some_and(|it| {
            let key = it.access.key_of_log(author).map(KeyChain::current);
            it.access.may_prove(None, (author, prefix), key)
        })
    }

    /// The same of a proof that is there.
    pub(crate) fn needs_proof(&self, group: GroupIx, fork: &Fork) -> bool {
        let of = (&fork.author, fork.prefix);
        self.metadata(group).is_some_and(|it| it.access.may_prove(None, of, fork.key()))
    }

    /// Whether a proof says something new, and this device may write it down.
    pub(crate) fn may_write_fork(&self, group: GroupIx, fork: &Fork) -> bool {
        let own = self.replica.keys.device;
        let is_read = self.record(group).is_some_and(|record| record.stage.is_read());
        let is_member = self.metadata(group).is_some_and(|it| it.access.rights(&own).is_some());
        is_read && is_member && self.needs_proof(group, fork)
    }

    /// Writes down a proof. What this device writes must not build on what the proof cuts.
    pub(crate) fn write_fork(&mut self, group: GroupIx, fork: Fork, wall: Wall) -> Result<(), Fault> {
        if !self.may_write_fork(group, &fork) {
            return Ok(());
        }
        let (author, before) = (self.enter(fork.author), self.tip(group));
        let built = self.built_upon(group, &[(fork.author, fork.prefix)])?;
        self.reach(group, author, fork.prefix, built.get(&fork.author).copied())?;
        let record = Record::Meta(MetaRecord::Fork(Box::new(fork)));
        match self.write(group, self.next_stamp(wall), core::slice::from_ref(&record), None) {
            Err(Stop::Fault(fault)) => Err(fault),
            Ok(_) => Ok(()),
            // Somebody else will write it, or this device when it is proven again.
            Err(Stop::Refused(_)) => {
                self.draft(group).tip = Some(before);
                Ok(())
            }
        }
    }

    /// The proof that a log is forked, as somebody has written it down.
    pub(crate) fn fork(&self, group: GroupIx, author: &Author) -> Result<Option<Fork>, Fault> {
        let known = self.metadata(group).and_then(|it| it.access.fork(author));
        let Some(((ix, generation), prefix)) = known else { return Ok(None) };
        let records = self.stored(group, ix, generation)?.encoded()?.records(&self.author(ix));
        Ok(records.unwrap_or_default().into_iter().find_map(|record| match record {
            Record::Meta(MetaRecord::Fork(fork)) if fork.author == *author && fork.prefix == prefix => {
                Some(*fork)
            }
            _ => None,
        }))
    }

    // ---- how far forked logs reach ----

    /// A proof has come: finds out how far the log reaches, and tells of it, if that is news.
    pub(super) fn forked(&mut self, group: GroupIx, by: Place, fork: &Fork) -> Result<(), Fault> {
        let Fork { author, prefix, .. } = fork;
        if !self.metadata(group).is_some_and(|it| it.access.is_first_proof(author, by)) {
            return Ok(());
        }
        let ix = self.enter(*author);
        let built = self.built_upon(group, &[(*author, *prefix)])?;
        self.reach(group, ix, *prefix, built.get(author).copied())?;
        if let Some(syncgroup) = self.record(group).map(|record| record.id) {
            let by = Version { author: self.author(by.0), generation: by.1 };
            self.notice(Notice::Forked { syncgroup, author: *author, last: *prefix, by });
        }
        Ok(())
    }

    /// Finds out anew how far all forked logs reach.
    pub(super) fn reach_anew(&mut self, group: GroupIx) -> Result<(), Fault> {
        let mut tip = self.tip(group);
        tip.forked.clear();
        self.draft(group).tip = Some(tip);
        let forked = self.metadata(group).into_iter().flat_map(|it| it.access.forked());
        let forked: Vec<(Author, Generation)> = forked.map(|(author, prefix)| (*author, prefix)).collect();
        let built = self.built_upon(group, &forked)?;
        for (author, prefix) in forked {
            let ix = self.enter(author);
            self.reach(group, ix, prefix, built.get(&author).copied())?;
        }
        Ok(())
    }

    /// Notes how far a log reaches that is cut there, where so much of it is `built` upon.
    fn reach(
        &mut self,
        group: GroupIx,
        ix: AuthorIx,
        prefix: Generation,
        built: Option<Generation>,
    ) -> Result<(), Fault> {
        let held = self.log(group, ix).map_or(0, Log::held);
        let last = built.unwrap_or(0).max(prefix);
        let tree = self.tree(group, ix, last.min(held))?;
        let mut tip = self.tip(group);
        tip.forked.insert(ix, Reach { last, tree });
        if tip.frontier.get(&ix).is_some_and(|shown| *shown > last) {
            tip.frontier.remove(&ix);
            // What that had in its past, nothing else may have.
            let causes = self.causes_of(group, ix, last)?.into_iter();
            let shown = causes.filter(|(author, last)| self.last_shown(group, *author) == *last);
            tip.frontier.extend(shown.chain((last > 0).then_some((ix, last))));
        }
        self.draft(group).tip = Some(tip);
        Ok(())
    }

    /// How much of logs that are cut there others build on, of those that go on behind the cut. However many they are, what
    /// was written since is read once.
    fn built_upon(
        &self,
        group: GroupIx,
        forked: &[(Author, Generation)],
    ) -> Result<BTreeMap<Author, Generation>, Fault> {
        let (mut built, mut first) = (BTreeMap::new(), None);
        for (author, prefix) in forked {
            let ix = self.author_ix(author).filter(|_| self.held(group, author) > *prefix);
            let Some(ix) = ix else { continue };
            // Whatever builds on what follows is stamped later.
            let stamp = self.stamp(group, ix, prefix + 1)?;
            first = first.into_iter().chain([stamp]).min();
            built.insert(*author, 0);
        }
        let Some(first) = first else { return Ok(built) };
        for other in self.authors_in(group) {
            let (by, held) = (self.author(other), self.log(group, other).map_or(0, Log::held));
            if held == 0 {
                continue;
            }
            for generation in self.held_until(group, other, held, first)? + 1..=held {
                let encoded = self.stored(group, other, generation)?.encoded()?;
                let records = encoded.records(&by).map_err(|error| corrupt(Table::Log, error))?;
                for (author, last) in named(&encoded, &records).filter(|(author, _)| *author != by) {
                    if let Some(built) = built.get_mut(&author) {
                        *built = last.max(*built);
                    }
                }
            }
        }
        Ok(built)
    }

    /// What the rest of a log builds on, behind so many generations.
    fn causes_of(&self, group: GroupIx, ix: AuthorIx, last: Generation) -> Result<BTreeSet<Place>, Fault> {
        let held = self.log(group, ix).map_or(0, Log::held);
        let mut causes = BTreeSet::new();
        for generation in last + 1..=held {
            let header = self.stored(group, ix, generation)?.encoded()?.header;
            let named = header.dependencies.iter();
            causes.extend(named.filter_map(|it| Some((self.author_ix(&it.author)?, it.generation))));
        }
        Ok(causes)
    }

    /// A generation is taken in that builds on these, or continues a forked log.
    pub(super) fn extend_reach(
        &mut self,
        group: GroupIx,
        (author, generation): Place,
        encoded: &Encoded,
        records: &[Record],
    ) -> Result<(), Fault> {
        if self.reaches(group).is_empty() {
            return Ok(()); // As nearly always.
        }
        let mut tip = self.tip(group);
        let mut grows = false;
        if let Some(reach) = tip.forked.get_mut(&author)
            && generation <= reach.last
            && let Some(log) = self.log(group, author)
        {
            reach.tree = log.tree.clone();
            grows = true;
        }
        for (of, generation) in named(encoded, records) {
            let Some(ix) = self.author_ix(&of).filter(|ix| *ix != author) else { continue };
            if let Some(reach) = tip.forked.get_mut(&ix).filter(|reach| reach.last < generation) {
                *reach = Reach { last: generation, tree: self.tree(group, ix, generation)? };
                grows = true;
            }
        }
        if grows {
            self.draft(group).tip = Some(tip);
        }
        Ok(())
    }

    // ---- another branch ----

    /// Whether logs are known to be forked.
    pub(crate) fn is_any_forked(&self, group: GroupIx) -> bool {
        !self.reaches(group).is_empty()
    }

    /// Whether somebody builds on something else of a forked log than what is here; or may do so, as it is more than what is
    /// here, of which nobody builds on the rest.
    pub(crate) fn is_of_another_branch(&self, group: GroupIx, named: &Dependency) -> Result<bool, Fault> {
        let Some(ix) = self.author_ix(&named.author) else { return Ok(false) };
        let Some(reach) = self.reaches(group).get(&ix) else { return Ok(false) };
        let held = self.held(group, &named.author);
        if named.generation > held {
            return Ok(held > reach.last);
        }
        Ok(self.tag(group, ix, named.generation)? != named.tag)
    }

    /// Whether something is here of a forked log on which nobody builds, and somebody does on another branch. A device does not
    /// give up what it has written itself before it has written that again; but then it does for whatever it `lacks`.
    /// Otherwise each log makes way once until the next start: whoever shows its branches in turns shall not have all of
    /// a syncgroup looked at each time. The other branch has to part behind what stays: else it would not follow on that.
    pub(crate) fn may_make_way(
        &self,
        group: GroupIx,
        (author, prefix): (&Author, Generation),
        wanted: &BTreeSet<(GroupIx, Author)>,
        lacks: bool,
    ) -> Result<bool, Fault> {
        let Some(ix) = self.author_ix(author) else { return Ok(false) };
        let of = (group, *author);
        let has_made_way = self.replica.wanted.get(&of);
        let is_wanted = has_made_way.map_or_else(|| wanted.contains(&of), |it| !it);
        // Whoever else has an earlier key can make up as many branches of its logs, and show them in turns.
        let lacks = lacks && !(self.is_of_former_key(author) && has_made_way == Some(&true));
        if !is_wanted && !lacks {
            return Ok(false);
        }
        let follows = |reach: &Reach| prefix >= reach.last && self.held(group, author) > reach.last;
        let is_beyond = self.reaches(group).get(&ix).is_some_and(follows);
        Ok(is_beyond && (author.device != self.own().device || !self.is_unwritten(group, ix)?))
    }

    /// Gives up what is here of a forked log beyond its reach, before anything else is planned, so that another branch can
    /// be taken in its place. It is void, and nothing builds on it.
    pub(crate) fn make_way(&mut self, group: GroupIx, authors: &[Author]) -> Result<(), Fault> {
        let mut back = TakenBack::default();
        for author in authors {
            let Some(ix) = self.author_ix(author) else { continue };
            let held = self.held(group, author);
            let reach = self.reaches(group).get(&ix).map(|reach| reach.last);
            if let Some(last) = reach.filter(|last| *last < held) {
                back.add(ix, last + 1..=held);
            }
        }
        let by = back.logs().next().map(|(ix, range)| (ix, *range.end()));
        match by {
            Some(by) => self.take_back_all(group, &back, (by, Hlc::default())),
            None => Ok(()),
        }
    }
}

/// What a generation names of others: it is held where all of that is.
fn named(encoded: &Encoded, records: &[Record]) -> impl Iterator<Item = (Author, Generation)> {
    let dependencies = encoded.header.dependencies.iter().map(|it| (it.author, it.generation));
    let parents = records.iter().flat_map(|record| match record {
        Record::Row(row) => row.parents.as_slice(),
        _ => &[],
    });
    dependencies.chain(parents.map(|it| (it.author, it.generation)))
}
