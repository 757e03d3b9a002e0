//! Logs that are forked: finding it out with whoever holds another branch, and what becomes of this device's own (S-2, S-26).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Core;
use crate::action::{CloseReason, Outbox};
use crate::dice::Dice;
use crate::hash::Tag;
use crate::id::LinkId;
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
    seen: BTreeMap<Place, Tag>,
    due: BTreeSet<Place>,
    /// Of which somebody was asked for another branch.
    asked: BTreeSet<(LinkId, GroupIx, AuthorIx)>,
}

impl Unwritten {
    /// Whether something is to be done.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// A link is gone.
    pub(super) fn forget(&mut self, link: LinkId) {
        self.asked.retain(|(asked, ..)| *asked != link);
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
                    Found::At(prefix, branch) if is_asked => Some(Says::Branch(prefix, *branch)),
                    Found::At(prefix, _) if !plan.needs_fork(ix, &author, prefix) => {
                        plan.fork(ix, &author)?.map(|fork| Says::Proof(Box::new(fork)))
                    }
                    Found::At(prefix, branch) => Some(Says::Branch(prefix, *branch)),
                    Found::Between(tags) => Some(Says::Tags(tags)),
                    Found::Same => None,
                };
            }
            Says::Branch(prefix, branch) if plan.needs_fork(ix, &author, prefix) => {
                fork = plan.prove_fork(ix, &author, prefix, branch)?;
                // The other end has half of it, and may not be able to take what is written here.
                answer = fork.clone().map(|fork| Says::Proof(Box::new(fork)));
            }
            Says::Proof(proof) if plan.needs_fork(ix, &proof.author, proof.prefix) => {
                let id = plan.record(ix).map(|record| record.id);
                if !id.is_some_and(|id| proof.is_proof(&id, &self.replica.keys)) {
                    let wrong = "a fork that is not proven";
                    self.peer_fault(now, link, CloseReason::BadRun, wrong, out);
                    return Ok(());
                }
                fork = Some(*proof);
            }
            Says::Branch(prefix, branch) if plan.lacks_branch(ix, &author, &branch.leaf)? => {
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
        let Some(group) = self.replica.groups.get(&ix).filter(|group| !group.tip.forked.is_empty()) else {
            return Ok(()); // As nearly always.
        };
        let Some(name) = self.sync.name_of(link, ix) else { return Ok(()) };
        let plan = Plan::new(&self.replica, view);
        let mut asked = Vec::new();
        for log in group.tip.forked.keys() {
            let Some(author) = self.replica.authors.get(*log) else { continue };
            let Some((_, prefix)) = group.metadata.access.fork(&author) else { continue };
            // Once on a link: what has come by it and says nothing is not asked for again.
            if self.unwritten.asked.contains(&(link, ix, *log)) || prefix > plan.held(ix, &author) {
                continue;
            }
            let mut lacks = false;
            for leaf in group.metadata.access.branches(&author) {
                lacks |= plan.lacks_branch(ix, &author, &leaf)?;
            }
            if lacks {
                self.unwritten.asked.insert((link, ix, *log));
                let tag = if prefix > 0 { Some((prefix, plan.tag(ix, *log, prefix)?)) } else { None };
                asked.push((author, Says::Tags(tag.into_iter().collect())));
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
            let is_seen = self.unwritten.seen.get(&(ix, *log)) == Some(&held.tree.root().tag());
            if author != own && held.held() > prefix && !is_seen {
                self.unwritten.due.insert((ix, *log));
            }
        }
    }

    /// Plans to write one of them again.
    pub(super) fn write_again(&self, view: &dyn View) -> Result<Option<(Place, Effects)>, Fault> {
        let Some((ix, log)) = self.unwritten.due.first().copied() else { return Ok(None) };
        let mut plan = Plan::new(&self.replica, view);
        reissue::write_branch_again(&mut plan, ix, log)?;
        Ok(Some(((ix, log), plan.finish())))
    }

    /// It is done.
    pub(super) fn written_again(&mut self, now: Now, at: Place, effects: Effects, out: &mut Outbox) {
        let held = self.replica.groups.get(&at.0).and_then(|group| group.logs.get(&at.1));
        self.unwritten.seen.insert(at, held.map(|log| log.tree.root().tag()).unwrap_or_default());
        self.unwritten.due.remove(&at);
        self.apply(now, effects, out);
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
