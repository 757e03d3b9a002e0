//! Exchange between replicas: one state machine for each link (S-21 … S-26).
//!
//! A link is silent while both ends agree. Whoever gains generations sends its own outright to peers that
//! hold everything before, tells of others', and after a while makes sure, by comparing one hash, that both
//! ends hold the same. Nothing depends on a frame arriving: whatever gets lost is noticed by that comparison.
//!
//! Frames leave through the durability barrier (see [`crate::gate`]).

mod compare;
mod ended;
pub(crate) mod ended_key;
pub(crate) mod handshake;
mod introduce;
pub(crate) mod link;
mod publish;
pub(crate) mod receive;
pub(crate) mod serve;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::vec::Vec;

pub use self::link::LinkStatus;
use self::link::{Link, Share, Way};
pub(crate) use self::serve::{Chunk, Signed};
use crate::action::{Action, CloseReason, Notice, Outbox};
use crate::config::Timing;
use crate::dice::Dice;
use crate::gate::Gate;
use crate::id::{DeviceId, LinkId};
use crate::keys::KeyChain;
use crate::log::tree::Tree;
use crate::replica::Replica;
use crate::store::key::{AuthorIx, GroupIx};
use crate::store::{Fault, View};
use crate::syncgroup::group::Group;
use crate::time::{Millis, Mono};
use crate::wire::{Entry, Forked, Holdings, Message, Pull, Says};

/// Bytes that small frames may take beyond a link's credit.
const RESERVE: i64 = 4 << 20;

/// Links to one device over which nothing has been said, at most: nobody holds all that there are by saying nothing.
const MOST_SILENT: usize = 4;
/// Withdrawn requests that are remembered for each link.
const WITHDRAWN: usize = 32;

/// All links.
#[derive(Debug, Clone)]
pub(crate) struct Sync {
    /// Boxed, as a map has room for eleven of whatever it holds.
    links: BTreeMap<LinkId, Box<Link>>,
    /// From which link each syncgroup is being pulled: from one at a time, so that nothing is sent twice.
    pulls: BTreeMap<GroupIx, LinkId>,
    signed: Signed,
    timing: Timing,
    dice: Dice,
    /// Drawn at boot.
    boot: u64,
}

/// What a step of the exchange may use: the replica, the time, and the ways out.
pub(crate) struct Step<'s> {
    pub(crate) replica: &'s Replica,
    pub(crate) now: Mono,
    pub(crate) gate: &'s mut Gate,
    pub(crate) out: &'s mut Outbox,
}

impl Sync {
    pub(crate) fn new(timing: Timing, mut dice: Dice) -> Self {
        let boot = dice.u64();
        Self { links: BTreeMap::new(), pulls: BTreeMap::new(), signed: Signed::new(), timing, dice, boot }
    }

    /// Sends a message once everything that it may reveal is durable. To a peer that asks more than it takes
    /// answers nothing more is sent: for the exchange a lost frame, for this replica a bound (S-53).
    pub(crate) fn send(&mut self, id: LinkId, message: &Message, step: &mut Step<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.credit > -RESERVE {
            let frame = message.encode();
            link.credit -= i64::try_from(frame.len()).unwrap_or(i64::MAX);
            step.gate.pass(step.replica.seq, Action::Send { link: id, frame }, step.out);
        }
    }

    // ---- links come and go ----

    pub(crate) fn link_up(&mut self, link: LinkId, keys: KeyChain, step: &mut Step<'_>) {
        let device = keys.device();
        let mut silent = self.links.iter().filter(|(_, link)| link.may_be(&keys) && link.hello.is_none());
        // Of those the latest are the likeliest to be alive.
        if let Some(oldest) = silent.next().map(|(id, _)| *id).filter(|_| silent.count() + 1 >= MOST_SILENT) {
            self.close(oldest, CloseReason::Duplicate, step);
        }
        let reason = if !keys.verify(step.replica.keys.scheme) {
            Some(CloseReason::KeyEnded)
        } else if device == step.replica.keys.device {
            Some(CloseReason::Myself)
        } else if self.links.len() >= step.replica.limits.links {
            Some(CloseReason::TooManyLinks)
        } else {
            None
        };
        if let Some(reason) = reason {
            step.out.push(Action::Disconnect { link, reason });
            return;
        }
        let nonce = self.dice.bytes();
        self.links.insert(link, Box::new(Link::new(keys, nonce)));
        self.tell_of_its_end(link, step);
        if !self.is_refused(link) {
            self.say_hello(link, true, step);
        }
    }

    /// Grants credit to a link.
    pub(crate) fn writable(&mut self, link: LinkId, credit: u64) {
        if let Some(link) = self.links.get_mut(&link) {
            link.credit = link.credit.saturating_add(i64::try_from(credit).unwrap_or(i64::MAX));
        }
    }

    /// Forgets a link that is gone.
    pub(crate) fn link_down(&mut self, link: LinkId, step: &mut Step<'_>) {
        if self.links.remove(&link).is_some() {
            step.gate.forget(link);
            self.drop_pulls(link, step);
        }
    }

    /// Asks others for what was asked for over a link.
    fn drop_pulls(&mut self, link: LinkId, step: &mut Step<'_>) {
        let pulled: Vec<_> = self.pulls.iter().filter(|(_, by)| **by == link).map(|(ix, _)| *ix).collect();
        for ix in pulled {
            self.pulls.remove(&ix);
            self.pull_next(ix, step);
        }
    }

    /// Closes a link.
    fn close(&mut self, link: LinkId, reason: CloseReason, step: &mut Step<'_>) {
        self.link_down(link, step);
        step.out.push(Action::Disconnect { link, reason });
    }

    /// Closes a link whose other end broke the protocol (S-26).
    pub(crate) fn fault(&mut self, link: LinkId, reason: CloseReason, detail: &str, step: &mut Step<'_>) {
        let Some(device) = self.device(link) else { return };
        step.out.push(Action::Notice(Notice::PeerFault { device, reason, detail: detail.to_string() }));
        self.close(link, reason, step);
    }

    /// Closes all links.
    pub(crate) fn close_all(&mut self, reason: CloseReason, step: &mut Step<'_>) {
        while let Some((&link, _)) = self.links.first_key_value() {
            self.close(link, reason, step);
        }
    }

    pub(crate) fn device(&self, link: LinkId) -> Option<DeviceId> {
        self.links.get(&link).map(|link| link.device)
    }

    pub(crate) fn keys(&self, link: LinkId) -> Option<&KeyChain> {
        self.links.get(&link).map(|link| &link.keys)
    }

    /// This device has another key: what was signed by the one before is signed anew.
    pub(crate) fn forget_signed(&mut self) {
        self.signed.clear();
    }

    /// The syncgroup that a name stands for, if it is taken from the other end of a link.
    pub(crate) fn shared(&self, link: LinkId, name: &crate::hash::Tag) -> Option<GroupIx> {
        let link = self.links.get(&link)?;
        link.named(name).filter(|ix| link.shares.get(ix).is_some_and(|share| share.way.takes()))
    }

    /// Asks for what follows in a log upon so much of it, whatever is known of what the other end holds.
    pub(crate) fn ask_for(
        &mut self,
        link: LinkId,
        name: crate::hash::Tag,
        entry: Entry,
        step: &mut Step<'_>,
    ) {
        let holdings = Holdings { name, whole: false, entries: alloc::vec![entry] };
        self.send(link, &Message::Pull(Pull(holdings)), step);
    }

    /// The name of a syncgroup on a link, if it is shared there.
    pub(crate) fn name_of(&self, link: LinkId, ix: GroupIx) -> Option<crate::hash::Tag> {
        let share = self.links.get(&link)?.shares.get(&ix)?;
        (share.way == Way::Both).then_some(share.name)
    }

    /// Whether everything is taken over a link that any member may have: see [`Link::takes_all`].
    pub(crate) fn takes_all(&self, link: LinkId, replica: &Replica, group: &Group) -> bool {
        self.links.get(&link).is_none_or(|link| link.takes_all(replica, group))
    }

    /// The syncgroups of which both ends of a link are known to hold the same, if that is so of all that they share.
    pub(crate) fn agreed_on(&self, link: LinkId) -> BTreeSet<GroupIx> {
        let link = self.links.get(&link).filter(|link| link.agreed);
        link.into_iter().flat_map(|link| link.shared()).map(|(_, ix)| ix).collect()
    }

    /// Whether the other end of a link has said what it would share, and so what it holds of this device's own logs.
    pub(crate) fn has_heard(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|link| link.their_revision > 0)
    }

    /// Whether a request to join is still wanted. One that withdraws overtakes its own copies.
    pub(crate) fn is_wanted(&mut self, link: LinkId, nonce: [u8; 16], withdraw: bool) -> bool {
        let Some(link) = self.links.get_mut(&link) else { return false };
        let is_withdrawn = link.withdrawn.contains(&nonce);
        if withdraw && !is_withdrawn {
            link.withdrawn.truncate(WITHDRAWN - 1);
            link.withdrawn.push_front(nonce);
        }
        withdraw || !is_withdrawn
    }

    /// Whether more of a syncgroup has been asked for, and may well come. Where asking has led to nothing, or to little, it
    /// may do so for ever: what is stamped in the future, say, is told of, and not taken.
    pub(crate) fn is_arriving(&self, ix: GroupIx, now: Mono) -> bool {
        let is_slow = |share: &Share| share.progress.is_slow(now, self.timing.patience);
        self.pulling(ix).is_some_and(|share| share.tries == 0 && !is_slow(share))
    }

    /// All links.
    pub(crate) fn all(&self) -> Vec<LinkId> {
        self.links.keys().copied().collect()
    }

    /// The devices that links lead to. Who shows a key in the place of which another one counts is not the device: that is
    /// still looked for.
    pub(crate) fn linked(&self) -> BTreeSet<DeviceId> {
        self.links.values().filter(|link| link.told.is_none()).map(|link| link.device).collect()
    }

    pub(crate) fn status(&self) -> Vec<LinkStatus> {
        let status = self.links.values().map(|link| LinkStatus {
            device: link.device,
            shared: link.shared().count(),
            agreed: link.agreed,
        });
        status.collect()
    }

    // ---- what is held has changed ----

    /// Generations were applied: sends own ones to peers that are ready, prepares to tell of others, and to
    /// compare.
    pub(crate) fn gained(&mut self, ix: GroupIx, authors: &[AuthorIx], step: &mut Step<'_>) {
        let Some(group) = step.replica.groups.get(&ix) else { return };
        let own = step.replica.author();
        let max = step.replica.limits.authors;
        for link in self.links.values_mut() {
            let Some(share) = link.shares.get_mut(&ix) else { continue };
            let way = share.way;
            for &author_ix in authors {
                let Some(author) = step.replica.authors.get(author_ix) else { continue };
                let held = group.held(author_ix);
                let push = author == own && share.known && way == Way::Both;
                share.believe(author, held, max, |belief| {
                    if push {
                        belief.goal = held;
                    }
                });
                let lacks = share.beliefs.get(&author).is_none_or(|belief| belief.has < held);
                if lacks && !push && way == Way::Both {
                    share.untold.insert(author);
                    let at = step.now + self.dice.about(self.timing.relay);
                    link.announce = Some(link.announce.map_or(at, |soon| soon.min(at)));
                }
            }
            if way != Way::Both {
                continue;
            }
            link.agreed = false;
            link.tries = 0;
            let at = step.now + self.timing.confirm;
            link.confirm = Some(link.confirm.map_or(at, |soon| soon.min(at)));
        }
        // What was being pulled over one link may have come over another.
        if let Some(by) = self.pulls.get(&ix).copied() {
            self.settle(by, ix, step);
        }
    }

    /// Who shares what with whom may have changed: new offers, and requests to join.
    pub(crate) fn sharing_changed(&mut self, step: &mut Step<'_>) {
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            self.tell_of_its_end(link, step);
            self.offer(link, false, step);
            self.plan_first_introduction(link, step);
            if self.believe_ended(link, step) {
                self.ask_what_ended(link, step);
            }
            self.stop_asking(link, step);
            self.judge_shown(link, step);
            self.ask_to_join(link, step);
            self.publish(link, false, step);
        }
    }

    // ---- time ----

    /// When something is to be done; `Mono(0)` means at once.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        if self.links.values().any(|link| link.can_serve()) {
            return Some(Mono(0));
        }
        self.links.values().filter_map(|link| link.deadline()).min()
    }

    /// Whether it is time to compare on some link.
    pub(crate) fn compares(&self, now: Mono) -> bool {
        self.links.values().any(|link| link.confirm.is_some_and(|at| at <= now))
    }

    /// Plans the next chunk for each link that has credit.
    pub(crate) fn plan_chunks(
        &self,
        replica: &Replica,
        view: &dyn View,
    ) -> Result<Vec<(LinkId, GroupIx, Chunk)>, Fault> {
        let mut chunks = Vec::new();
        for (id, link) in self.links.iter().filter(|(_, link)| link.can_serve()) {
            let Some((&ix, share)) = link.shares.iter().find(|(_, share)| share.is_due()) else {
                continue;
            };
            let Some(group) = replica.groups.get(&ix) else { continue };
            chunks.push((*id, ix, serve::chunk(replica, view, group, share, &self.signed)?));
        }
        Ok(chunks)
    }

    /// Sends what was planned.
    pub(crate) fn send_chunks(&mut self, chunks: Vec<(LinkId, GroupIx, Chunk)>, step: &mut Step<'_>) {
        let max = step.replica.limits.authors;
        for (id, ix, chunk) in chunks {
            let Some(share) = self.links.get_mut(&id).and_then(|link| link.shares.get_mut(&ix)) else {
                continue;
            };
            let mut is_new = false;
            for run in &chunk.deltas.runs {
                let held = compare::held(step.replica, ix, &run.author);
                share.believe(run.author, held, max, |belief| {
                    is_new |= run.last() > belief.peak;
                    belief.peak = belief.peak.max(run.last());
                    belief.sent = belief.sent.max(run.last());
                });
            }
            // The comparison will find what is missing.
            for author in &chunk.stuck {
                let held = compare::held(step.replica, ix, author);
                share.believe(*author, held, max, |belief| belief.goal = belief.sent);
            }
            share.doubted.clear();
            let name = share.name;
            share
                .shown
                .extend(chunk.forked.iter().filter(|it| matches!(it.1, Says::Proof(_))).map(|it| it.0));
            for (author, says) in chunk.forked {
                self.send(id, &Message::Forked(Forked { name, author, says }), step);
            }
            if chunk.deltas.runs.is_empty() {
                continue;
            }
            for (author, checkpoint) in chunk.signed {
                self.signed.insert((ix, author), checkpoint);
            }
            self.send(id, &Message::Deltas(chunk.deltas), step);
            // What was sent before and is asked for again may be held back there.
            if let Some(link) = self.links.get_mut(&id).filter(|_| is_new) {
                link.tries = 0;
            }
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, step: &mut Step<'_>) {
        self.close_refused(step);
        let now = step.now;
        let due = |at: Option<Mono>| at.is_some_and(|at| at <= now);
        let late: Vec<_> =
            self.links.iter().filter(|(_, link)| due(link.deadline())).map(|(id, _)| *id).collect();
        for id in late {
            let Some(link) = self.links.get(&id) else { continue };
            let (handshake, join, publish) = (due(link.handshake), due(link.join), due(link.publish));
            let (announce, confirm, introduce) = (due(link.announce), due(link.confirm), due(link.introduce));
            let shares = link.shares.iter().filter(|(_, share)| due(share.pull));
            let pulls: Vec<_> = shares.map(|(ix, _)| *ix).collect();
            if handshake {
                self.say_hello(id, true, step);
                self.offer(id, true, step);
            }
            if join {
                self.ask_to_join(id, step);
            }
            if publish {
                self.publish(id, true, step);
            }
            pulls.into_iter().for_each(|ix| self.pull_failed(id, ix, step));
            if announce {
                self.announce(id, step);
            }
            if confirm {
                self.confirm(id, step);
            }
            if introduce {
                self.introduce(id, step);
            }
        }
    }

    /// How long to wait for an answer after some tries.
    fn patience(&mut self, tries: u32) -> Millis {
        let span = self.timing.patience.0.saturating_mul(1 << tries.min(20));
        self.dice.about(Millis(span.min(self.timing.patience_max.0)))
    }

    /// Asks the device at the other end to be admitted where it has issued an invitation.
    fn ask_to_join(&mut self, id: LinkId, step: &mut Step<'_>) {
        let patience = self.patience(0);
        let Some(link) = self.links.get_mut(&id) else { return };
        link.join = None;
        if link.hello.is_none() {
            return;
        }
        let requests = step.replica.groups.values().flat_map(|group| {
            let asking = group.record.stage.requests().iter().filter(|_| !group.paused);
            let theirs = asking.filter(|asking| link.keys.starts_with(&asking.invitation.issuer));
            theirs.map(|asking| {
                let (asking, name) = (asking.clone(), step.replica.name.clone());
                let wrote = group.written_by(&step.replica.keys.device, &step.replica.authors);
                Message::Join { asking, name, withdraw: group.record.stage.withdraws(), wrote }
            })
        });
        let requests: Vec<_> = requests.collect();
        link.join = (!requests.is_empty()).then_some(step.now + patience);
        requests.iter().for_each(|request| self.send(id, request, step));
    }
}

/// What is held of a syncgroup: all of it, or of some authors.
pub(crate) fn holdings(
    replica: &Replica,
    ix: GroupIx,
    name: crate::hash::Tag,
    only: Option<&BTreeSet<crate::id::Author>>,
) -> Holdings {
    let entry = |author_ix: AuthorIx| {
        let group = replica.groups.get(&ix)?;
        let author = replica.authors.get(author_ix)?;
        let tree = group.counted_of(author_ix);
        let generation = tree.map_or(0, Tree::size);
        Some(Entry { author, generation, tag: tree.map(|tree| tree.root().tag()).unwrap_or_default() })
    };
    let entries = match only {
        None => {
            let logs = replica.groups.get(&ix).map(|group| &group.logs);
            logs.into_iter().flat_map(BTreeMap::keys).filter_map(|author| entry(*author)).collect()
        }
        Some(only) => {
            let unknown = |author| Entry { author, generation: 0, tag: crate::hash::Tag::default() };
            let one = |author: &crate::id::Author| {
                replica.authors.find(author).and_then(entry).unwrap_or_else(|| unknown(*author))
            };
            only.iter().map(one).collect()
        }
    };
    Holdings { name, whole: only.is_none(), entries }
}
