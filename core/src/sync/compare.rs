//! Finding out who lacks what: summaries, digests, announcements and pulls (S-21, S-22, S-25).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Step, Sync, holdings};
use crate::action::{Action, CloseReason, Notice};
use crate::hash::{self, Hash, Tag};
use crate::id::{Author, Generation, LinkId};
use crate::replica::Replica;
use crate::small::SmallMap;
use crate::store::key::GroupIx;
use crate::sync::link::{Belief, Gives, Link, Share, Way};
use crate::syncgroup::group::Group;
use crate::time::Mono;
use crate::wire::{Announce, Entry, Holdings, Message, Pull, Summary};

/// How many times as many authors as this replica takes another one may list.
const MOST_LISTED: usize = 4;

/// In the place of a hash over what readers see: it cannot be compared now.
const UNKNOWN: Hash = Hash([0; 32]);

/// What this replica knows of a syncgroup, in a hash.
fn digest(replica: &Replica, ix: GroupIx) -> Tag {
    let knowledge = replica.groups.get(&ix).map(|group| group.known(&replica.authors)).unwrap_or_default();
    hash::derive(hash::SUMMARY, &[&knowledge.to_bytes()]).tag()
}

/// The same over all that is shared on a link, and over what readers see of it. Both ends go through the
/// shared syncgroups in the order of their names on the link. While parts of batches wait, what readers see does
/// not follow from what is held alone: then the second hash is [`UNKNOWN`].
fn summary(replica: &Replica, link: &Link) -> (Hash, Hash) {
    let (mut knowledge, mut visible) = (Vec::new(), Vec::new());
    let mut waits = false;
    for (name, ix) in link.shared() {
        let Some(group) = replica.groups.get(&ix) else { continue };
        knowledge.extend_from_slice(&name.0);
        knowledge.extend_from_slice(&group.known(&replica.authors).to_bytes());
        visible.extend_from_slice(&group.tip.visible.to_bytes());
        waits |= replica.waiting.waits_in(ix);
    }
    let visible = if waits { UNKNOWN } else { hash::derive(hash::SUMMARY, &[&visible]) };
    (hash::derive(hash::SUMMARY, &[&knowledge]), visible)
}

pub(super) fn held(replica: &Replica, ix: GroupIx, author: &Author) -> Generation {
    let author = replica.authors.find(author);
    author.and_then(|author| Some(replica.groups.get(&ix)?.held(author))).unwrap_or(0)
}

impl Sync {
    /// What this replica would say now of what it shares on a link.
    #[cfg(feature = "hostile")]
    pub(crate) fn honest_summary(&self, id: LinkId, replica: &Replica) -> Option<Summary> {
        let link = self.links.get(&id)?;
        let (knowledge, visible) = summary(replica, link);
        let (offer, seen) = (link.revision, link.their_revision);
        Some(Summary { offer, seen, knowledge, visible, answer: false })
    }

    /// Makes sure that both ends hold the same, unless generations are on their way: then later.
    pub(super) fn confirm(&mut self, id: LinkId, step: &mut Step<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.agreed || link.their_revision == 0 {
            link.confirm = None;
            return;
        }
        if link.is_busy() && link.tries == 0 {
            // As long as chunks go to and fro they set `tries` back, and nothing needs to be compared.
            link.confirm = Some(step.now + self.timing.patience);
            link.tries = 1;
            return;
        }
        if link.credit <= 0 {
            // What was sent before is still on its way out.
            link.confirm = Some(step.now + self.timing.patience);
            return;
        }
        let tries = link.tries;
        link.tries = tries.saturating_add(1);
        self.send_summary(id, false, step);
        let patience = self.patience(tries);
        if let Some(link) = self.links.get_mut(&id) {
            link.confirm = Some(step.now + patience);
        }
    }

    fn send_summary(&mut self, id: LinkId, answer: bool, step: &mut Step<'_>) {
        let Some(link) = self.links.get(&id) else { return };
        let (knowledge, visible) = summary(step.replica, link);
        let (offer, seen) = (link.revision, link.their_revision);
        self.send(id, &Message::Summary(Summary { offer, seen, knowledge, visible, answer }), step);
    }

    /// Takes in what the other end knows, in one hash.
    pub(crate) fn summary(&mut self, id: LinkId, theirs: &Summary, step: &mut Step<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if theirs.seen != link.revision {
            // An offer got lost.
            self.offer(id, true, step);
            return;
        }
        if theirs.offer != link.their_revision {
            if !theirs.answer {
                self.send_summary(id, true, step);
            }
            return;
        }
        let (knowledge, visible) = summary(step.replica, link);
        if knowledge == theirs.knowledge {
            let comparable = visible != UNKNOWN && theirs.visible != UNKNOWN;
            if comparable && visible != theirs.visible && !link.alarmed {
                link.alarmed = true;
                step.out.push(Action::Notice(Notice::Diverged { device: link.device }));
            }
            self.agreed(id, step);
            if !theirs.answer {
                self.send_summary(id, true, step);
            }
        } else if !theirs.answer {
            let digests = link.shared().map(|(name, ix)| (*name, digest(step.replica, ix))).collect();
            self.send(id, &Message::Digests(digests), step);
            self.disagreed(id, step);
        }
    }

    /// Both ends hold the same: the link falls silent.
    fn agreed(&mut self, id: LinkId, step: &mut Step<'_>) {
        let max = step.replica.limits.authors;
        let Some(link) = self.links.get_mut(&id) else { return };
        link.agreed = true;
        link.confirm = None;
        link.announce = None;
        link.tries = 0;
        let mut done = Vec::new();
        for (ix, share) in link.shares.iter_mut().filter(|(_, share)| share.way == Way::Both) {
            same(step.replica, *ix, share, max);
            done.push(*ix);
        }
        for ix in done {
            self.pull_done(id, ix, step);
        }
    }

    /// The ends differ, or may: compare again before long.
    pub(crate) fn disagreed(&mut self, id: LinkId, step: &Step<'_>) {
        let tries = self.links.get(&id).map_or(0, |link| link.tries);
        let patience = self.patience(tries);
        let Some(link) = self.links.get_mut(&id) else { return };
        link.agreed = false;
        link.confirm = Some(link.confirm.map_or(step.now + patience, |at| at.min(step.now + patience)));
    }

    /// Takes in one hash for each shared syncgroup, each once. Returns those of which both ends hold the same.
    pub(crate) fn digests(
        &mut self,
        id: LinkId,
        digests: &[(Tag, Tag)],
        step: &mut Step<'_>,
    ) -> BTreeSet<GroupIx> {
        let max = step.replica.limits.authors;
        let (mut differ, mut equal) = (BTreeSet::new(), BTreeSet::new());
        for (name, theirs) in digests {
            let Some(link) = self.links.get_mut(&id) else { return equal };
            let Some((ix, share)) = link.share_mut(name).filter(|(_, share)| share.way == Way::Both) else {
                continue;
            };
            if digest(step.replica, ix) == *theirs {
                same(step.replica, ix, share, max);
                equal.insert(ix);
            } else if share.pull.is_none() {
                share.differs = true;
                differ.insert(ix);
            }
        }
        if !differ.is_empty() {
            self.disagreed(id, step);
        }
        for ix in differ {
            if !self.pull(id, ix, step) {
                // Another link is being pulled from; the other end shall pull from here meanwhile.
                let Some(share) = self.links.get(&id).and_then(|link| link.shares.get(&ix)) else { continue };
                let all = holdings(step.replica, ix, share.name, None);
                self.send(id, &Message::Announce(Announce(all)), step);
            }
        }
        equal
    }

    // ---- announcements ----

    /// Tells of generations that came from elsewhere.
    pub(super) fn announce(&mut self, id: LinkId, step: &mut Step<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.announce = None;
        let mut news = Vec::new();
        for (ix, share) in link.shares.iter_mut() {
            let untold = core::mem::take(&mut share.untold);
            if !untold.is_empty() {
                news.push(holdings(step.replica, *ix, share.name, Some(&untold)));
            }
        }
        for holdings in news {
            self.send(id, &Message::Announce(Announce(holdings)), step);
        }
    }

    /// Takes in what the other end holds.
    pub(crate) fn announced(
        &mut self,
        id: LinkId,
        Announce(theirs): Announce,
        step: &mut Step<'_>,
    ) -> Result<(), (CloseReason, &'static str)> {
        let Some((ix, is_news)) = self.note(id, &theirs, false, step)? else { return Ok(()) };
        let own = step.replica.author();
        let own_held = held(step.replica, ix, &own);
        if let Some(share) = self.links.get_mut(&id).and_then(|link| link.shares.get_mut(&ix))
            && share.known
            && share.way == Way::Both
        {
            share.believe(own, own_held, usize::MAX, |belief| belief.goal = own_held.max(belief.sent));
        }
        if is_news {
            self.make_way(ix, step.now);
        }
        self.settle(id, ix, step);
        Ok(())
    }

    // ---- pulls ----

    /// Takes in a request for what goes beyond what the other end holds.
    pub(crate) fn pulled(
        &mut self,
        id: LinkId,
        Pull(theirs): Pull,
        step: &mut Step<'_>,
    ) -> Result<(), (CloseReason, &'static str)> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        link.give(theirs.name);
        let gives = link.share_mut(&theirs.name).map_or(Gives::Nothing, |(_, share)| share.way.gives());
        if gives == Gives::Nothing {
            return Ok(()); // Taking from somebody is no reason to give.
        }
        let Some((ix, _)) = self.note(id, &theirs, true, step)? else { return Ok(()) };
        if gives == Gives::Ended {
            self.tell_what_ended(id, ix, step);
            return Ok(());
        }
        let Some(share) = self.links.get_mut(&id).and_then(|link| link.shares.get_mut(&ix)) else {
            return Ok(());
        };
        let name = share.name;
        if theirs.whole {
            let all = holdings(step.replica, ix, name, None);
            self.send(id, &Message::Announce(Announce(all)), step);
        }
        self.disagreed(id, step);
        self.settle(id, ix, step);
        Ok(())
    }

    /// Notes what the other end says that it holds. A pull also says what to send, and from where. Says whether it is
    /// more than was known of.
    fn note(
        &mut self,
        id: LinkId,
        theirs: &Holdings,
        is_pull: bool,
        step: &Step<'_>,
    ) -> Result<Option<(GroupIx, bool)>, (CloseReason, &'static str)> {
        let max = step.replica.limits.authors;
        // What is not shared is not answered: like what does not exist (S-34).
        let Some(link) = self.links.get_mut(&id) else { return Ok(None) };
        let Some(ix) = link.named(&theirs.name) else { return Ok(None) };
        let group = step.replica.groups.get(&ix);
        let takes_all = group.is_none_or(|group| link.takes_all(step.replica, group));
        let device = link.device;
        let Some((ix, share)) = link.share_mut(&theirs.name) else { return Ok(None) };
        // Others may take some more, and have new logs of their own: what there is no room for is not noted.
        if theirs.entries.len() > MOST_LISTED.saturating_mul(max) {
            return Err((CloseReason::Protocol, "far more authors than this replica takes"));
        }
        if theirs.whole {
            share.known = true;
            share.differs = false;
            let listed: BTreeSet<_> = theirs.entries.iter().map(|entry| entry.author).collect();
            let ours = group.into_iter().flat_map(|group| group.logs.keys());
            let ours = ours.filter_map(|author| step.replica.authors.get(*author));
            let unlisted: Vec<_> = ours.filter(|author| !listed.contains(author)).collect();
            for author in unlisted {
                let entry = Entry { author, generation: 0, tag: Tag::default() };
                note_entry(step.replica, ix, share, &entry, true, is_pull, max);
            }
        }
        let mut is_news = false;
        for entry in &theirs.entries {
            let mut entry = *entry;
            if group.is_some_and(|group| !group.wants(&entry.author, takes_all)) {
                let here = held(step.replica, ix, &entry.author);
                if here < entry.generation {
                    (entry.generation, entry.tag) = (here, Tag::default());
                }
            }
            let known = share.beliefs.get(&entry.author).map_or(0, |belief| belief.has);
            // A device gets of its own log all that there is, when it asks: it may have lost it (S-2).
            let all = group.zip(step.replica.authors.find(&entry.author)).and_then(|(group, author)| {
                let is_own = is_pull && entry.author.device == device;
                group.logs.get(&author).map(|log| log.held()).filter(|_| is_own)
            });
            is_news |= entry.generation > known.max(held(step.replica, ix, &entry.author));
            note_entry(step.replica, ix, share, &entry, theirs.whole, is_pull, max);
            let held = held(step.replica, ix, &entry.author);
            all.into_iter().for_each(|all| {
                share.believe(entry.author, held, max, |belief| belief.goal = all.max(belief.sent));
            });
        }
        Ok(Some((ix, is_news)))
    }

    /// A pull that has led to nothing so far, and may never, keeps no news waiting.
    fn make_way(&mut self, ix: GroupIx, now: Mono) {
        if self.pulling(ix).is_some_and(|share| share.tries > 0) {
            self.break_off(ix, now);
        }
    }

    /// What is being pulled of a syncgroup.
    pub(super) fn pulling(&self, ix: GroupIx) -> Option<&Share> {
        let link = self.links.get(self.pulls.get(&ix)?)?;
        link.shares.get(&ix).map(|share| &**share)
    }

    /// Ends a pull that brings nothing, or little: what it was about is asked for again later.
    fn break_off(&mut self, ix: GroupIx, now: Mono) {
        let link = self.pulls.remove(&ix).and_then(|by| self.links.get_mut(&by));
        if let Some(share) = link.and_then(|link| link.shares.get_mut(&ix)) {
            share.pull = None;
            share.progress.end(now);
        }
    }

    /// Starts to pull a syncgroup over a link. `false` if another link is being pulled from, and brings something.
    pub(super) fn pull(&mut self, id: LinkId, ix: GroupIx, step: &mut Step<'_>) -> bool {
        let is_slow = |share: &Share| share.progress.is_slow(step.now, self.timing.patience);
        let is_others = self.pulls.get(&ix).is_some_and(|by| *by != id && self.links.contains_key(by));
        if is_others && self.pulling(ix).is_some_and(|share| !is_slow(share)) {
            return false;
        }
        if step.replica.is_paused(ix) {
            return true; // What is taken from whoever does not share it is taken again once it is resumed (S-37).
        }
        let Some(tries) = self.links.get(&id).and_then(|link| link.shares.get(&ix)).map(|s| s.tries) else {
            return true;
        };
        if is_others {
            self.break_off(ix, step.now);
        }
        let patience = self.patience(tries);
        let Some(link) = self.links.get_mut(&id) else { return true };
        let group = step.replica.groups.get(&ix);
        let takes_all = group.is_none_or(|group| link.takes_all(step.replica, group));
        let Some(share) = link.shares.get_mut(&ix) else { return true };
        if share.pull.is_some() {
            return true; // One at a time.
        }
        share.pull = Some(step.now + patience);
        share.progress.begin(step.now, self.timing.patience, is_others);
        let only = (share.known && !share.differs).then_some(&share.ahead);
        let holdings = match group.filter(|_| !takes_all) {
            Some(group) => wanted(step.replica, group, share),
            None => holdings(step.replica, ix, share.name, only),
        };
        self.pulls.insert(ix, id);
        self.send(id, &Message::Pull(Pull(holdings)), step);
        true
    }

    /// Pulls what the other end has and this one lacks; ends the pull if that is nothing.
    pub(super) fn settle(&mut self, id: LinkId, ix: GroupIx, step: &mut Step<'_>) {
        let Some(share) = self.links.get(&id).and_then(|link| link.shares.get(&ix)) else { return };
        if !share.way.takes() {
            return; // Whoever only takes serves nothing.
        }
        if !share.ahead.is_empty() {
            self.pull(id, ix, step);
        } else if share.known && !share.differs && !self.waits_for_its_end(id, ix, step) {
            self.pull_done(id, ix, step);
        }
    }

    fn pull_done(&mut self, id: LinkId, ix: GroupIx, step: &mut Step<'_>) {
        let share = self.links.get_mut(&id).and_then(|link| link.shares.get_mut(&ix));
        if let Some(share) = share.filter(|share| share.pull.is_some()) {
            share.pull = None;
            share.progress.end(step.now);
        }
        if self.pulls.get(&ix) == Some(&id) {
            self.pulls.remove(&ix);
            self.pull_next(ix, step);
        }
    }

    /// A pull did not bring all in time: another link may do better; if there is none, once more, and more
    /// patiently.
    pub(super) fn pull_failed(&mut self, id: LinkId, ix: GroupIx, step: &mut Step<'_>) {
        if let Some(share) = self.links.get_mut(&id).and_then(|link| link.shares.get_mut(&ix)) {
            share.pull = None;
            share.progress.end(step.now);
            share.tries = share.tries.saturating_add(1);
            // What was believed led to nothing.
            share.differs = true;
        }
        if self.pulls.get(&ix) == Some(&id) {
            self.pulls.remove(&ix);
        }
        self.give_up_asking(id, ix, step);
        self.pull_next(ix, step);
    }

    /// Pulls a syncgroup from the link that has most lately been of use, of those that hold more.
    pub(super) fn pull_next(&mut self, ix: GroupIx, step: &mut Step<'_>) {
        let share = |link: &Link| {
            let share = link.shares.get(&ix).filter(|share| share.way.takes())?;
            (!share.ahead.is_empty() || share.differs).then_some(share.tries)
        };
        let best = self.links.iter().filter_map(|(id, link)| Some((share(link)?, *id))).min();
        if let Some((_, id)) = best {
            self.pull(id, ix, step);
        }
    }

    /// Generations came over a link: notes what its other end has shown to hold, and goes on pulling if
    /// something is still missing.
    pub(crate) fn received(
        &mut self,
        id: LinkId,
        name: &Tag,
        received: &super::receive::Received,
        step: &mut Step<'_>,
    ) {
        let max = step.replica.limits.authors;
        let patience = self.patience(0);
        let confirm = step.now + self.timing.confirm;
        let Some(link) = self.links.get_mut(&id) else { return };
        let group = link.named(name).and_then(|ix| step.replica.groups.get(&ix));
        let takes_all = group.is_none_or(|group| link.takes_all(step.replica, group));
        let Some((ix, share)) = link.share_mut(name) else { return };
        for (author, last) in &received.shown {
            let held = held(step.replica, ix, author);
            // What is not taken is not asked for.
            let wants = group.is_none_or(|group| group.wants(author, takes_all));
            // Nor again what lies beyond the reach of a forked log.
            let ix = step.replica.authors.find(author);
            let is_forked =
                group.zip(ix).is_some_and(|(group, author)| group.tip.forked.contains_key(&author));
            let wants = wants && !is_forked;
            share.believe(*author, held, max, |belief| {
                belief.has = belief.has.max(if wants { *last } else { held.min(*last) });
                belief.sent = belief.sent.max(*last);
                belief.goal = belief.goal.max(belief.sent);
            });
        }
        let (mut gap, mut held_back) = (false, !received.held_back.is_empty());
        for (author, last) in &received.held_back {
            let held = held(step.replica, ix, author);
            share.believe(*author, held, max, |belief| belief.came = *last);
        }
        for (author, run) in &received.later {
            let held = held(step.replica, ix, author);
            if !share.beliefs.contains_key(author) && share.beliefs.len() >= max {
                held_back = true; // For want of room even for what is believed of it.
                continue;
            }
            share.believe(*author, held, max, |belief| {
                // What follows on what was held back is held back as well; otherwise something is missing.
                let follows = *run.start() <= belief.came.saturating_add(1);
                belief.came = if follows { belief.came.max(*run.end()) } else { belief.came };
                (gap, held_back) = (gap || !follows, held_back || follows);
            });
        }
        if received.applied == 0 && held_back && !gap {
            // It will come again, and may be held back again for long: no wait gets shorter by that.
            self.settle(id, ix, step);
            return;
        }
        if received.applied > 0 {
            share.tries = 0;
            share.progress.bring(step.now, received.bytes);
        }
        // More may be on its way; after a gap something is not. What was here already says nothing: one who sends that, or
        // nothing at all, would be waited for without end.
        share.pull = share.pull.map(|old| match received.applied {
            _ if gap => old.min(confirm),
            0 => old,
            _ => step.now + patience,
        });
        let lacks = !share.ahead.is_empty();
        link.agreed = false;
        link.tries = 0;
        link.confirm = Some(link.confirm.map_or(confirm, |at| at.min(confirm)));
        // What was sent outright and did not fit shows that something before it is missing.
        if !(lacks && received.applied == 0 && gap) {
            self.settle(id, ix, step);
        } else if !self.pulls.contains_key(&ix) {
            self.pull(id, ix, step);
        }
    }
}

/// What a device that was removed is asked for, of what it has shown: it learns of nothing else. Of what members wrote
/// it is told how much is here, so that what that builds on need not come again.
fn wanted(replica: &Replica, group: &Group, share: &Share) -> Holdings {
    let of_members = share.beliefs.iter().filter(|(author, _)| group.wants(author, false));
    let entry = |(author, belief): (&Author, &Belief)| {
        let generation = held(replica, group.ix, author).min(belief.has);
        Entry { author: *author, generation, tag: Tag::default() }
    };
    Holdings { name: share.name, whole: false, entries: of_members.map(entry).collect() }
}

/// Both ends hold the same of a syncgroup.
fn same(replica: &Replica, ix: GroupIx, share: &mut Share, max: usize) {
    share.known = true;
    share.differs = false;
    share.tries = 0;
    share.untold.clear();
    let Some(group) = replica.groups.get(&ix) else { return };
    share.beliefs = SmallMap::new();
    share.said.clear();
    share.doubted.clear();
    share.behind.clear();
    share.ahead.clear();
    for ix in group.logs.keys() {
        if let Some(author) = replica.authors.get(*ix) {
            share.agree(author, group.held(*ix), max);
        }
    }
}

/// Whether somebody says that it holds another branch of a log, or does not know that it is forked. Where what it holds is
/// less than what is here, it is seen when more is to be sent.
fn holds_something_else(replica: &Replica, ix: GroupIx, share: &Share, entry: &Entry) -> bool {
    let Some((author, group)) = replica.authors.find(&entry.author).zip(replica.groups.get(&ix)) else {
        return false;
    };
    let is_other = || group.counted_of(author).is_some_and(|tree| tree.root().tag() != entry.tag);
    let held = group.held(author);
    match group.tip.forked.get(&author).zip(group.metadata.access.fork(&entry.author)) {
        Some((reach, _)) if entry.generation > reach.last => true,
        // What others build on is another branch here than there, and both ends may know.
        Some((_, (_, prefix))) if entry.generation > prefix => {
            !share.shown.contains(&entry.author) && (entry.generation != held || is_other())
        }
        _ => entry.generation == held && entry.tag != Tag::default() && is_other(),
    }
}

fn note_entry(
    replica: &Replica,
    ix: GroupIx,
    share: &mut Share,
    entry: &Entry,
    whole: bool,
    is_pull: bool,
    max: usize,
) {
    let held = held(replica, ix, &entry.author);
    share.believe(entry.author, held, max, |belief| {
        belief.has = if whole || is_pull { entry.generation } else { belief.has.max(entry.generation) };
        if is_pull {
            belief.sent = entry.generation;
            belief.goal = held.max(belief.sent);
        } else {
            belief.sent = belief.sent.max(entry.generation);
            belief.goal = belief.goal.max(belief.sent);
        }
    });
    if share.way == Way::Both && holds_something_else(replica, ix, share, entry) {
        share.doubted.insert(entry.author);
    }
    // Of what others wrote only as much is sent outright as is here already when it is asked for.
    let may_follow = entry.generation < held || entry.author == replica.author();
    let says = entry.tag != Tag::default() && share.beliefs.contains_key(&entry.author);
    if says && may_follow {
        share.said.insert(entry.author, (entry.generation, entry.tag));
    } else {
        share.said.remove(&entry.author);
    }
}
