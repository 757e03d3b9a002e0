//! Logs that are forked: finding it out with whoever holds another branch, and what becomes of this device's own (S-2, S-26).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Core;
use crate::action::{CloseReason, Outbox};
use crate::dice::Dice;
use crate::hash::Tag;
use crate::id::{Author, DeviceId, Generation, LinkId};
use crate::log::fork::Fork;
use crate::replica::forks::{Found, MOST_COMPARED};
use crate::replica::plan::{Effects, Plan};
use crate::replica::reissue;
use crate::store::key::{AuthorIx, GroupIx};
use crate::store::{Fault, View};
use crate::time::{Now, Wall};
use crate::wire::{Entry, Forked, Message, Says};

/// A log of a syncgroup.
type Place = (GroupIx, AuthorIx);

/// This device's own logs that are forked: of each the branch that was looked at, so that it is written again.
#[derive(Debug, Clone, Default)]
pub(super) struct Unwritten {
    seen: BTreeMap<Place, Seen>,
    due: BTreeSet<Place>,
    /// Over which links somebody was asked how they go on behind some size, and whether an answer has come.
    asked: BTreeMap<(LinkId, GroupIx, AuthorIx, Generation), bool>,
}

/// A branch that is written again.
pub(super) struct Again {
    at: Place,
    /// How many batches were new.
    batches: usize,
    effects: Effects,
}

/// A branch: what it comes to, and where others are known to part from it.
type Seen = (Tag, Vec<Generation>);

impl Unwritten {
    /// Whether something is to be done.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// A link is gone.
    pub(super) fn forget(&mut self, link: LinkId) {
        self.asked.retain(|(asked, ..), _| *asked != link);
    }

    /// An answer has come.
    fn answered(&mut self, link: LinkId, (ix, log): Place) {
        let of_log = (link, ix, log, 0)..=(link, ix, log, Generation::MAX);
        self.asked.range_mut(of_log).for_each(|(_, answered)| *answered = true);
    }
}

impl Core {
    /// The other end holds another branch of a log (S-26): both find out where they part, until one can prove it.
    pub(super) fn forked(
        &mut self,
        now: Now,
        link: LinkId,
        Forked { name, author, says }: Forked,
        view: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let Some(ix) = self.sync.shared(link, &name).filter(|ix| !self.replica.is_paused(*ix)) else {
            return Ok(());
        };
        if let Some(log) = self.replica.authors.find(&author) {
            self.unwritten.answered(link, (ix, log));
        }
        let mut plan = Plan::new(&self.replica, view);
        let (mut fork, mut answer, mut asked) = (None, None, None);
        match says {
            Says::Tags(tags) if tags.len() > MOST_COMPARED => {
                let wrong = "more sizes of a log than are compared at a time";
                self.peer_fault(now, link, CloseReason::Protocol, wrong, out);
                return Ok(());
            }
            Says::Tags(tags) => {
                let is_asked = self.sync.device(link) == Some(author.device);
                answer = match plan.compare_branch(ix, &author, &tags, is_asked)? {
                    Found::At(prefix, branch) if is_asked => Some(Says::Branch(prefix, branch)),
                    Found::At(prefix, _) if !plan.needs_fork(ix, &author, prefix) => {
                        plan.fork(ix, &author)?.map(|fork| Says::Proof(Box::new(fork)))
                    }
                    Found::At(prefix, branch) => Some(Says::Branch(prefix, branch)),
                    Found::Between(tags) => Some(Says::Tags(tags)),
                    // That there is nothing else: or it is asked again, as if the question had been lost.
                    Found::Same => (is_asked && !tags.is_empty()).then(|| Says::Tags(Vec::new())),
                };
            }
            Says::Branch(..) if self.is_late(link, ix, &author) => {}
            Says::Proof(proof) if self.is_late(link, ix, &proof.author) => {}
            Says::Branch(prefix, branch) if plan.needs_fork(ix, &author, prefix) => {
                fork = plan.prove_fork(ix, &author, prefix, *branch)?;
                // The other end has half of it, and may not be able to take what is written here.
                answer = fork.clone().map(|fork| Says::Proof(Box::new(fork)));
            }
            Says::Proof(proof) if plan.needs_proof(ix, &proof) => {
                let id = plan.record(ix).map(|record| record.id);
                if !id.is_some_and(|id| proof.is_proof(&id, &self.replica.keys)) {
                    let wrong = "a fork that is not proven";
                    self.peer_fault(now, link, CloseReason::BadRun, wrong, out);
                    return Ok(());
                }
                fork = Some(*proof);
            }
            Says::Branch(prefix, branch) if plan.lacks_branch(ix, &author, (prefix, &branch.leaf))? => {
                let log = plan.author_ix(&author).filter(|_| prefix <= plan.held(ix, &author));
                let tag = log.map(|log| plan.tag(ix, log, prefix)).transpose()?.filter(|_| prefix > 0);
                let entry = Entry { author, generation: prefix, tag: tag.unwrap_or_default() };
                asked = Some(entry);
            }
            Says::Branch(..) | Says::Proof(_) => {}
        }
        if let Some(fork) = fork {
            let mut dice = self.dice.clone();
            write(&mut plan, ix, fork, now.wall, &mut dice)?;
            let effects = plan.finish();
            self.dice = dice;
            self.apply(now, effects, out);
        }
        if let Some(entry) = asked {
            self.step(now.mono, out, |sync, step| sync.ask_for(link, name, entry, step));
        }
        if let Some(says) = answer {
            let message = Message::Forked(Forked { name, author, says });
            self.step(now.mono, out, |sync, step| sync.send(link, &message, step));
        }
        Ok(())
    }

    /// Whether a device that was removed shows, after that, what voids what its removal had left of a removed device's logs. It
    /// is not taken from it: it could have shown that before. From a member that has not heard of the removal it is, as
    /// nobody can tell when it was shown to that one.
    pub(super) fn is_late(&self, link: LinkId, ix: GroupIx, author: &Author) -> bool {
        let Some(group) = self.replica.groups.get(&ix) else { return false };
        let is_removed = |device: &DeviceId| group.metadata.access.is_removed(device);
        self.sync.device(link).is_some_and(|from| is_removed(&from)) && is_removed(&author.device)
    }

    /// Both ends of a link hold the same of a syncgroup: asks whether the other one has a branch of one of this device's own
    /// logs that this device has lost, as its disk was set back, and could write again.
    pub(super) fn ask_for_branches(
        &mut self,
        now: Now,
        link: LinkId,
        ix: GroupIx,
        view: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let group = self.replica.groups.get(&ix);
        let Some(group) = group.filter(|group| !group.tip.forked.is_empty() && !group.paused) else {
            return Ok(()); // As nearly always.
        };
        let Some(name) = self.sync.name_of(link, ix) else { return Ok(()) };
        let plan = Plan::new(&self.replica, view);
        let mut asked = Vec::new();
        for log in group.tip.forked.keys() {
            let (own, device) = (self.replica.author(), self.replica.keys.device);
            let author = self.replica.authors.get(*log).filter(|it| it.device == device && *it != own);
            let Some(author) = author else { continue };
            for prefix in plan.partings(ix, &author)? {
                // Whatever branches are known: there may be more of them. And once on a link: what has come by it and
                // says nothing is not asked for again.
                let is_answered = self.unwritten.asked.entry((link, ix, *log, prefix)).or_default();
                if !*is_answered {
                    asked.push((author, Says::Tags(plan.ask_behind(ix, &author, prefix)?)));
                }
            }
        }
        for (author, says) in asked {
            let message = Message::Forked(Forked { name, author, says });
            self.step(now.mono, out, |sync, step| sync.send(link, &message, step));
        }
        Ok(())
    }

    /// Notes which of this device's own logs in a syncgroup are forked and not written again yet.
    pub(super) fn note_unwritten(&mut self, ix: GroupIx) {
        let Some(group) = self.replica.groups.get(&ix) else { return };
        let (own, device) = (self.replica.author(), self.replica.keys.device);
        for log in group.tip.forked.keys() {
            let Some(author) = self.replica.authors.get(*log).filter(|it| it.device == device) else {
                continue;
            };
            let Some(held) = group.logs.get(log) else { continue };
            let prefix = group.metadata.access.fork(&author).map_or(held.held(), |(_, prefix)| prefix);
            let is_seen = self.unwritten.seen.get(&(ix, *log)) == self.seen((ix, *log)).as_ref();
            if author != own && held.held() > prefix && !is_seen {
                self.unwritten.due.insert((ix, *log));
            }
        }
    }

    /// Plans to write one of them again.
    pub(super) fn write_again(&self, view: &dyn View) -> Result<Option<Again>, Fault> {
        let Some((ix, log)) = self.unwritten.due.first().copied() else { return Ok(None) };
        let mut plan = Plan::new(&self.replica, view);
        let batches = reissue::write_branch_again(&mut plan, ix, log)?;
        Ok(Some(Again { at: (ix, log), batches, effects: plan.finish() }))
    }

    /// It is done.
    pub(super) fn written_again(&mut self, now: Now, again: Again, out: &mut Outbox) {
        let Again { at, batches, effects } = again;
        if batches > 0 {
            // Others may have more branches, that could not be taken before.
            self.unwritten.asked.retain(|(_, ix, log, _), _| (*ix, *log) != at);
        }
        let seen = self.seen(at);
        seen.into_iter().for_each(|seen| _ = self.unwritten.seen.insert(at, seen));
        self.unwritten.due.remove(&at);
        self.apply(now, effects, out);
    }

    /// What there is to be seen of a branch.
    fn seen(&self, (ix, log): Place) -> Option<Seen> {
        let group = self.replica.groups.get(&ix)?;
        let known = group.metadata.access.partings(&self.replica.authors.get(log)?);
        let tag = group.logs.get(&log)?.tree.root().tag();
        Some((tag, known.into_iter().map(|(prefix, _)| prefix).collect()))
    }
}

/// Writes down that a log is forked. If that is this device's own, it goes on as another author, or what it writes would lie
/// behind the cut itself.
pub(super) fn write(
    plan: &mut Plan<'_>,
    ix: GroupIx,
    fork: Fork,
    wall: Wall,
    dice: &mut Dice,
) -> Result<(), Fault> {
    if fork.author == plan.own() && plan.may_write_fork(ix, &fork) {
        plan.reincarnate(dice.u64());
    }
    plan.write_fork(ix, fork, wall)
}

/// Goes on as another author, if it is proven that the present one's log is forked.
pub(super) fn leave_forked(plan: &mut Plan<'_>, ix: GroupIx, dice: &mut Dice) {
    let own = plan.own();
    if plan.metadata(ix).is_some_and(|metadata| metadata.access.fork(&own).is_some()) {
        plan.reincarnate(dice.u64());
    }
}
