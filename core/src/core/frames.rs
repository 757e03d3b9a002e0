//! Frames: what comes of what a peer says.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Core, Stopping, forks};
use crate::action::{Action, CloseReason, Notice, Outbox};
use crate::id::{Author, Incarnation, LinkId, SyncgroupId};
use crate::keys::KeyChain;
use crate::log::Checkpoint;
use crate::replica::Stop;
use crate::replica::plan::Plan;
use crate::store::key::GroupIx;
use crate::store::{Fault, View};
use crate::sync::receive::{self, Received, Sender};
use crate::syncgroup::admission::{self, Answer, Request};
use crate::syncgroup::command::Means;
use crate::syncgroup::group::Group;
use crate::syncgroup::{publish, remove};
use crate::time::Now;
use crate::wire::{Deltas, Message, Offer, Publish};

impl Core {
    pub(super) fn received(
        &mut self,
        now: Now,
        link: LinkId,
        frame: &Bytes,
        view: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        if self.stopping != Stopping::No || self.sync.device(link).is_none() || self.sync.is_refused(link) {
            return Ok(());
        }
        let message = match Message::decode(frame) {
            Ok(message) => message,
            Err(error) => {
                self.peer_fault(now, link, CloseReason::Garbled, error.what, out);
                return Ok(());
            }
        };
        // What is asked for may have to be written down, and nothing is before the other end has shown what it holds of
        // this device's own logs (S-2). It will be asked again.
        let is_asked = matches!(message, Message::Join { .. } | Message::Declined { .. });
        if is_asked && !self.sync.has_heard(link) {
            return Ok(());
        }
        let result = match message {
            Message::Deltas(deltas) => return self.deltas(now, link, deltas, view, out),
            Message::Offer(offer) => self.offer(now, link, offer, view, out)?,
            Message::Forked(forked) => return self.forked(now, link, forked, view, out),
            Message::Join { asking, name, withdraw, wrote } => {
                let request = Request { asking: &asking, name, withdraw, wrote };
                return self.join(now, link, request, view, out);
            }
            Message::Joined { syncgroup, nonce, answer } => {
                return self.joined(now, link, (&syncgroup, nonce), answer, view, out);
            }
            Message::Publish(all) => {
                self.published(now, link, all, out);
                Ok(())
            }
            Message::NoneOffered { revision } => {
                self.sync.none_offered(link, revision);
                Ok(())
            }
            Message::KeyEnded(chain) => self.key_ended(&chain, out),
            Message::Declined { syncgroup, nonce } => {
                return self.declined(now, link, (&syncgroup, nonce), view, out);
            }
            Message::Hello(hello) => {
                let result = self.step(now.mono, out, |sync, step| sync.hello(link, hello, step));
                let device = self.sync.device(link).filter(|it| self.sync.link_to(it) == Some(link));
                device.into_iter().for_each(|device| self.offered.meets(&device, link));
                result
            }
            Message::Announce(news) => {
                self.step(now.mono, out, |sync, step| sync.announced(link, news, step))
            }
            Message::Pull(pull) => self.step(now.mono, out, |sync, step| sync.pulled(link, pull, step)),
            Message::Introduction(introduction) => {
                self.step(now.mono, out, |sync, step| sync.introduced(link, introduction, step))
            }
            Message::Summary(theirs) => {
                self.replica.settle_knowledge();
                self.step(now.mono, out, |sync, step| sync.summary(link, &theirs, step));
                let equal = self.sync.agreed_on(link);
                return self.agreed(now, link, equal, view, out);
            }
            // Each syncgroup costs a look at all of its authors; so it is named once.
            Message::Digests(digests) if !digests.is_sorted_by(|one, next| one.0 < next.0) => {
                Err((CloseReason::Protocol, "digests that say something twice, or out of order"))
            }
            Message::Digests(digests) => {
                self.replica.settle_knowledge();
                let equal = self.step(now.mono, out, |sync, step| sync.digests(link, &digests, step));
                return self.agreed(now, link, equal, view, out);
            }
        };
        if let Err((reason, detail)) = result {
            self.peer_fault(now, link, reason, detail, out);
        }
        Ok(())
    }

    fn deltas(
        &mut self,
        now: Now,
        link: LinkId,
        deltas: Deltas,
        view: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let Some(ix) = self.sync.shared(link, &deltas.name) else { return Ok(()) };
        if self.replica.is_paused(ix) {
            return Ok(()); // It was asked for before, and will be again.
        }
        let name = deltas.name;
        let mut plan = Plan::new(&self.replica, view);
        let group = self.replica.groups.get(&ix);
        let takes_all = group.is_none_or(|group| self.sync.takes_all(link, &self.replica, group));
        let from = if takes_all { Sender::Anybody } else { Sender::Removed };
        let author = self.replica.author();
        let had = plan.held(ix, &author);
        let mut dice = self.dice.clone();
        let mut received: Received = match receive::receive(&mut plan, ix, from, deltas, now)? {
            Ok(received) => received,
            Err(wrong) => {
                self.peer_fault(now, link, CloseReason::BadRun, wrong, out);
                return Ok(());
            }
        };
        // What this device has written under its present name, and does not hold, was taken from it: its store was set
        // back (S-2). Offers tell that first; but of a syncgroup that the store did not know any more, they could not.
        if plan.held(ix, &author) > had {
            reincarnate(&mut plan, ix, author, dice.u64());
        }
        received.forks.retain(|fork| !self.is_late(link, ix, &fork.author));
        for fork in core::mem::take(&mut received.forks) {
            forks::write(&mut plan, ix, fork, now.wall, &mut dice)?;
        }
        forks::leave_forked(&mut plan, ix, &mut dice);
        admission::settle(&mut plan, now)?;
        if self.sync.says_ended(link, &self.replica).contains(&ix) {
            self.find_lost_admissions(&mut plan, link, [ix]);
        }
        let effects = plan.finish();
        if received.applied > 0 {
            self.is_of_use(link);
        }
        self.dice = dice;
        self.replica.note_wanted(&received.wanted, &received.made_way);
        // What the sender has is noted first, so that it is not told of it.
        self.apply_first(now.mono, effects, out, |core, gained, out| {
            core.step(now.mono, out, |sync, step| sync.received(link, &name, &received, step));
            core.gained(now.mono, gained, out);
        });
        Ok(())
    }

    /// An offer tells how far this device's own log has got, in its own word. If that is more than is here, or something
    /// else, the store was set back: nothing more is written under the old name (S-2).
    fn offer(
        &mut self,
        now: Now,
        link: LinkId,
        offer: Offer,
        view: &dyn View,
        out: &mut Outbox,
    ) -> Result<Result<(), (CloseReason, &'static str)>, Fault> {
        if !offer.is_in_order() {
            let wrong = (CloseReason::Protocol, "an offer that says something twice, or out of order");
            return Ok(Err(wrong));
        }
        let names = self.sync.names(link, &self.replica);
        let mut plan = Plan::new(&self.replica, view);
        let mut set_back = None;
        for offered in &offer.syncgroups {
            let Some(ix) = names.get(&offered.name) else { continue };
            if set_back.is_none() && self.is_set_back(&plan, *ix, &offered.yours)? {
                set_back = Some(*ix);
            }
        }
        if let Some(ix) = set_back {
            let drawn = self.dice.u64();
            reincarnate(&mut plan, ix, self.replica.author(), drawn);
        }
        let ended = offer.syncgroups.iter().filter(|offered| offered.ended);
        let ended: Vec<GroupIx> = ended.filter_map(|offered| names.get(&offered.name).copied()).collect();
        let groups = ended.iter().filter_map(|ix| self.replica.groups.get(ix));
        groups.for_each(|group| remove::departed(&mut plan, group));
        let in_use = ended.into_iter().filter(|ix| !self.replica.is_paused(*ix));
        self.find_lost_admissions(&mut plan, link, in_use);
        let effects = plan.finish();
        self.apply(now, effects, out);
        // Whoever shows a key in the place of which another one counts is not the device that is looked for.
        if let Some(device) = self.sync.device(link).filter(|_| !self.sync.is_told(link)) {
            self.peers.heard(&device);
        }
        Ok(self.step(now.mono, out, |sync, step| sync.offered(link, offer, step)))
    }

    /// Whether this device has signed something of its log that is no prefix of what is here.
    fn is_set_back(
        &self,
        plan: &Plan<'_>,
        ix: GroupIx,
        yours: &[(Incarnation, Checkpoint)],
    ) -> Result<bool, Fault> {
        let author = self.replica.author();
        let signed = yours.iter().find(|(incarnation, _)| *incarnation == author.incarnation);
        let (Some((_, signed)), Some(record)) = (signed, plan.record(ix)) else { return Ok(false) };
        let is_prefix = match plan.author_ix(&author) {
            Some(own) if signed.size <= plan.held(ix, &author) => {
                plan.tag(ix, own, signed.size)? == signed.root.tag()
            }
            _ => signed.size == 0,
        };
        // A thief's word is none of this device's.
        let own = &self.replica.keys.chain;
        let is_own = signed.keys.starts_with(own) || own.starts_with(&signed.keys);
        Ok(!is_prefix && is_own && signed.verify(&record.id, &author, &self.replica.keys))
    }

    fn join(
        &mut self,
        now: Now,
        link: LinkId,
        request: Request<'_>,
        view: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let (syncgroup, nonce) = (request.asking.invitation.syncgroup(), request.asking.nonce);
        let Some(keys) = self.sync.keys(link).cloned() else { return Ok(()) };
        if !self.sync.is_wanted(link, nonce, request.withdraw) {
            return Ok(());
        }
        let own_name = self.replica.name.clone();
        let means = Means { wall: now.wall, nonce: [0; 16], name: &own_name };
        let mut plan = Plan::new(&self.replica, view);
        let answer = match admission::admit(&mut plan, &means, &keys, request) {
            Ok(Some(answer)) => answer,
            Err(Stop::Fault(fault)) => return Err(fault),
            Ok(None) | Err(Stop::Refused(_)) => return Ok(()),
        };
        let effects = plan.finish();
        self.apply(now, effects, out);
        let message = Message::Joined { syncgroup, nonce, answer };
        self.step(now.mono, out, |sync, step| sync.send(link, &message, step));
        Ok(())
    }

    fn joined(
        &mut self,
        now: Now,
        link: LinkId,
        (id, nonce): (&SyncgroupId, [u8; 16]),
        answer: Answer,
        view: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let Some(group) = self.replica.group(id) else { return Ok(()) };
        let mut asking = group.record.stage.requests().iter();
        let Some(asking) = asking.find(|asking| asking.nonce == nonce) else { return Ok(()) };
        let issuer = &asking.invitation.issuer;
        let is_answer = self.sync.keys(link).is_some_and(|keys| keys.starts_with(issuer));
        let is_too_long = answer.as_ref().is_ok_and(|vector| vector.len() > self.replica.limits.authors);
        if !is_answer || is_too_long {
            return Ok(());
        }
        let ix = group.ix;
        let mut plan = Plan::new(&self.replica, view);
        admission::answered(&mut plan, group, asking, answer, now.wall)?;
        admission::settle(&mut plan, now)?;
        let effects = plan.finish();
        self.sync.admitted(ix);
        self.apply(now, effects, out);
        Ok(())
    }

    /// Both ends of a link hold the same of some syncgroups, and one of them may wait for what the other has lost.
    fn agreed(
        &mut self,
        now: Now,
        link: LinkId,
        equal: BTreeSet<GroupIx>,
        view: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        if !equal.is_empty() {
            self.is_of_use(link);
        }
        for ix in &equal {
            self.ask_for_branches(now, link, *ix, view, out)?;
        }
        let mut plan = Plan::new(&self.replica, view);
        let mut is_all = true;
        for group in self.admitted_before(link, equal) {
            is_all &= admission::all_is_here(&mut plan, group, now.wall)?;
        }
        let effects = plan.finish();
        self.apply(now, effects, out);
        if !is_all {
            self.step(now.mono, out, |sync, step| sync.disagreed(link, step));
        }
        Ok(())
    }

    /// The other end of a link says that this device is no member of some syncgroups any more, and may have let it in
    /// itself.
    pub(super) fn find_lost_admissions(
        &self,
        plan: &mut Plan<'_>,
        link: LinkId,
        ended: impl IntoIterator<Item = GroupIx>,
    ) {
        self.admitted_before(link, ended).for_each(|group| remove::find_lost_admission(plan, group));
    }

    /// Those of some syncgroups where the other end of a link let in this device, which waits for what there was then. The
    /// link came up later, so nothing that came over it is older.
    fn admitted_before(
        &self,
        link: LinkId,
        groups: impl IntoIterator<Item = GroupIx>,
    ) -> impl Iterator<Item = &Group> {
        let device = self.sync.device(link);
        let groups = groups.into_iter().filter_map(|ix| self.replica.groups.get(&ix).map(Box::as_ref));
        groups.filter(move |group: &&Group| {
            let admitted = group.record.stage.admitted();
            admitted.map(|admitted| admitted.by) == device && !self.sync.was_admitted(link, group.ix)
        })
    }

    /// An admin offers what is published here (S-33).
    fn published(&mut self, now: Now, link: LinkId, all: Publish, out: &mut Outbox) {
        let Publish { revision, invitations } = all;
        if !self.sync.takes_offers(link, revision) {
            return;
        }
        let Some(keys) = self.sync.keys(link) else { return };
        let linked = self.sync.linked();
        let is_none = invitations.is_empty();
        let taken = self.offered.take(&self.replica, (keys, link), &linked, invitations);
        if is_none {
            let message = Message::NoneOffered { revision };
            self.step(now.mono, out, |sync, step| sync.send(link, &message, step));
        }
        for invitation in taken.news {
            out.push(Action::Notice(Notice::Invited { invitation: Box::new(invitation) }));
        }
        for (syncgroup, nonce) in taken.declined {
            let message = Message::Declined { syncgroup, nonce };
            self.step(now.mono, out, |sync, step| sync.send(link, &message, step));
        }
    }

    fn declined(
        &mut self,
        now: Now,
        link: LinkId,
        (syncgroup, nonce): (&SyncgroupId, [u8; 16]),
        view: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let Some(device) = self.sync.device(link) else { return Ok(()) };
        let mut plan = Plan::new(&self.replica, view);
        match publish::declined(&mut plan, now.wall, (syncgroup, device), &nonce) {
            Err(Stop::Fault(fault)) => return Err(fault),
            // What cannot be written now is heard again when it is offered again.
            Err(Stop::Refused(_)) => return Ok(()),
            Ok(()) => {}
        }
        let effects = plan.finish();
        self.apply(now, effects, out);
        Ok(())
    }

    /// A member shows that this device has another key by now. It is told once.
    fn key_ended(&mut self, chain: &KeyChain, out: &mut Outbox) -> Result<(), (CloseReason, &'static str)> {
        let own = &self.replica.keys;
        if chain.device() != own.device || !chain.verify(own.scheme) {
            return Err((CloseReason::Protocol, "a chain of keys that does not hold"));
        }
        let current = chain.current();
        // It may be from before this device took its key.
        if !own.chain.starts_with(chain) && self.key_ended != Some(current) {
            self.key_ended = Some(current);
            out.push(Action::Notice(Notice::KeyEnded { current, replaces: chain.is_beyond(&own.chain) }));
        }
        Ok(())
    }

    fn is_of_use(&mut self, link: LinkId) {
        if let Some(device) = self.sync.device(link) {
            self.peers.of_use(&device);
        }
    }

    pub(super) fn peer_fault(
        &mut self,
        now: Now,
        link: LinkId,
        reason: CloseReason,
        detail: &str,
        out: &mut Outbox,
    ) {
        if let Some(device) = self.sync.device(link) {
            self.peers.at_fault(&device, now.mono);
        }
        self.step(now.mono, out, |sync, step| sync.fault(link, reason, detail, step));
    }
}

/// Goes on as another author, as others know of more of this one's log than is here.
fn reincarnate(plan: &mut Plan<'_>, ix: GroupIx, author: Author, drawn: u64) {
    plan.reincarnate(drawn);
    if let Some(syncgroup) = plan.record(ix).map(|record| record.id) {
        let successor = plan.own();
        plan.notice(Notice::SetBack { syncgroup, author, successor });
    }
}
