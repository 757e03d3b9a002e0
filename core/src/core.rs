//! The core: boot, handle, next deadline. It routes, and decides nothing itself.
//!
//! Every event is taken in two steps. First a *plan*: it reads the store and decides, on `&self`, and may
//! fail. Then the plan is *applied*: memory changes, and actions go out; nothing can fail any more. So a store
//! that cannot be read leaves nothing half done.

mod forks;
mod frames;

use alloc::vec::Vec;

use self::forks::Unwritten;
use crate::action::{Action, CloseReason, Notice, Outbox, Outcome, Refusal};
use crate::config::{Config, Continuity, Identity};
use crate::dice::Dice;
use crate::event::{Command, Event, RowRef};
use crate::gate::Gate;
use crate::id::{Address, DeviceId, PublicKey, RequestId};
use crate::peer::Peers;
use crate::replica::load::BootError;
use crate::replica::plan::{Effects, Plan};
use crate::replica::{Replica, Stop, rotate};
use crate::resolve::conflict::Choice;
use crate::resolve::raise::{Raiser, Raising};
use crate::store::key::GroupIx;
use crate::store::{Fault, View};
use crate::sync::{Step, Sync, ended_key};
use crate::syncgroup::Invitation;
use crate::syncgroup::admission;
use crate::syncgroup::command::{self, Means};
use crate::syncgroup::offered::Offered;
use crate::time::{Hlc, Millis, Mono, Now};
use crate::wire::Message;

/// A replica: all its databases, all its links.
#[derive(Debug, Clone)]
pub struct Core {
    pub(crate) replica: Replica,
    pub(crate) sync: Sync,
    pub(crate) peers: Peers,
    raiser: Raiser,
    pub(crate) offered: Offered,
    gate: Gate,
    dice: Dice,
    max_links: usize,
    /// The application knows that what is written is stamped too far ahead.
    told_ahead: bool,
    unwritten: Unwritten,
    /// By which key others go in the place of this device's, as some member has shown.
    pub(crate) key_ended: Option<PublicKey>,
    /// In some syncgroup this device may have yet to say of which key it is.
    says_key: bool,
    stopping: Stopping,
}

/// How far a shutdown is (S-54).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    No,
    /// Waiting for what was accepted to become durable.
    Draining,
    Done,
}

impl Core {
    /// Builds the state from the store. The first actions wait in the outbox: perform them before the first
    /// call of [`Core::handle`].
    ///
    /// `seed` comes from good randomness at each boot: incarnations, salts and waiting times are drawn from
    /// it.
    ///
    /// # Errors
    /// [`BootError`] if the store cannot be used.
    pub fn boot(
        config: &Config,
        identity: &Identity,
        seed: [u8; 32],
        view: &dyn View,
        out: &mut Outbox,
    ) -> Result<Self, BootError> {
        let dice = |concern| Dice::new(&seed, concern);
        let keys = identity.keys(config.signatures).ok_or(BootError::BrokenChain)?;
        let continues = identity.continuity == Continuity::Shown;
        let life = keys.chain.life(dice("incarnation").u64());
        let (replica, commit, notices) = Replica::load(keys, config, continues, life, view)?;
        let limits = &replica.limits;
        let mut peers = Peers::load(view, limits.peers, config.timing, dice("peers"))?;
        out.push(Action::Commit(commit));
        notices.into_iter().for_each(|notice| out.push(Action::Notice(notice)));
        peers.review(&replica, Mono(0), out);
        let groups: Vec<GroupIx> = replica.groups.keys().copied().collect();
        let mut core = Self {
            sync: Sync::new(config.timing, dice("sync")),
            peers,
            raiser: Raiser::new(config.timing.confirm, config.timing.resolve, replica.groups.keys().copied()),
            offered: Offered::default(),
            gate: Gate::default(),
            dice: dice("nonces"),
            max_links: limits.links,
            told_ahead: false,
            unwritten: Unwritten::default(),
            key_ended: None,
            says_key: replica.keys.chain.rollovers() > 0,
            stopping: Stopping::No,
            replica,
        };
        groups.into_iter().for_each(|ix| core.note_unwritten(ix));
        Ok(core)
    }

    /// Takes in an event and puts what is to be done into the outbox. The only way in.
    ///
    /// # Errors
    /// [`Fault`] if the store could not be read; then nothing has changed.
    pub fn handle(&mut self, now: Now, event: Event, view: &dyn View, out: &mut Outbox) -> Result<(), Fault> {
        let by = self.ahead_of(now.wall);
        let ahead = by.filter(|_| !self.told_ahead).map(|by| self.ahead(by, now, view)).transpose()?;
        // What was found in the store is due by this clock from now on; unless nothing comes of the event.
        let loaded = self.replica.waiting.is_loaded().then(|| self.replica.waiting.clone());
        self.replica.waiting.start(now, self.replica.parts);
        let looked = self.replica.look_at_clock(now);
        let handled = self.dispatch(now, event, view, out);
        if handled.is_err() {
            self.replica.forget_look(looked);
            if let Some(loaded) = loaded {
                self.replica.waiting = loaded;
            }
        }
        if handled.is_ok() && self.stopping == Stopping::No {
            ahead.into_iter().for_each(|notice| out.push(Action::Notice(notice)));
            self.told_ahead = by.is_some();
        }
        handled
    }

    /// What is told where it is stamped so far ahead of the clock that others would not take it.
    fn ahead(&self, by: Millis, now: Now, view: &dyn View) -> Result<Notice, Fault> {
        let last = Hlc::last_of(now.wall + self.replica.limits.drift);
        let written = Plan::new(&self.replica, view).written_after(last)?;
        Ok(Notice::Ahead { by, written })
    }

    fn dispatch(&mut self, now: Now, event: Event, view: &dyn View, out: &mut Outbox) -> Result<(), Fault> {
        match event {
            Event::Tick => self.tick(now, view, out),
            Event::Command { request, command } => self.command(now, request, command, view, out),
            Event::Received { link, frame } => self.received(now, link, &frame, view, out),
            Event::PeerFound { device, address } => {
                self.place(now, device, &address, Peers::found, view, out);
                Ok(())
            }
            event => {
                self.note(now, event, view, out)?;
                self.stop_if_drained(now, out);
                Ok(())
            }
        }
    }

    /// When to send the next [`Event::Tick`]; a moment in the past means at once.
    pub fn next_deadline(&self) -> Option<Mono> {
        if self.stopping != Stopping::No {
            return None;
        }
        if self.unwritten.is_due() {
            return Some(Mono(0));
        }
        let may_dial = self.peers.may_dial();
        let dial = may_dial.then(|| self.peers.deadline(&self.sync.linked(), self.max_links)).flatten();
        let (raise, parts) = (self.raiser.deadline(), self.replica.waiting.deadline());
        let ends = self.replica.ends.deadline();
        let says = self.says_key.then_some(Mono(0));
        self.sync.deadline().into_iter().chain(dial).chain(raise).chain(parts).chain(ends).chain(says).min()
    }

    // ---- events that need no plan, or hardly any ----

    fn note(&mut self, now: Now, event: Event, view: &dyn View, out: &mut Outbox) -> Result<(), Fault> {
        match event {
            Event::LinkUp { link, peer, address, .. } => {
                if self.stopping != Stopping::No {
                    out.push(Action::Disconnect { link, reason: CloseReason::Shutdown });
                    return Ok(());
                }
                let device = peer.device();
                self.peers.linked(&device);
                self.step(now.mono, out, |sync, step| sync.link_up(link, peer, step));
                // Where somebody is who has a former key of the device, it is not.
                if let Some(address) = address.filter(|_| !self.sync.is_refused(link)) {
                    self.place(now, device, &address, Peers::reached, view, out);
                }
                if self.sync.device(link).is_none() || self.sync.is_told(link) {
                    // There was no room for it, and will hardly be at once; or it is not the device that is looked for.
                    self.peers.failed(&device, now.mono);
                }
            }
            Event::LinkDown { link } => {
                if let Some(device) = self.sync.device(link) {
                    self.peers.failed(&device, now.mono);
                }
                self.unwritten.forget(link);
                self.step(now.mono, out, |sync, step| sync.link_down(link, step));
            }
            Event::ConnectFailed { device } => self.peers.failed(&device, now.mono),
            Event::PeerLost { device, address } => self.peers.lost(&device, &address),
            Event::Writable { link, credit } => self.sync.writable(link, credit),
            Event::Durable { seq } => self.gate.open(seq, out),
            Event::Shutdown if self.stopping == Stopping::No => {
                self.stopping = Stopping::Draining;
                self.peers.withdraw(out);
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes where a device is.
    fn place(
        &mut self,
        now: Now,
        device: DeviceId,
        address: &Address,
        note: impl FnOnce(&mut Peers, DeviceId, &Address, Mono) -> Option<Vec<u8>>,
        view: &dyn View,
        out: &mut Outbox,
    ) {
        if device == self.replica.keys.device || self.stopping != Stopping::No {
            return;
        }
        if let Some(addresses) = note(&mut self.peers, device, address, now.mono) {
            let mut plan = Plan::new(&self.replica, view);
            plan.put_peer(&device, &addresses);
            let effects = plan.finish();
            self.apply(now, effects, out);
        }
    }

    // ---- time ----

    fn tick(&mut self, now: Now, view: &dyn View, out: &mut Outbox) -> Result<(), Fault> {
        if self.stopping != Stopping::No {
            return Ok(());
        }
        if let Some(again) = self.write_again(view)? {
            self.written_again(now, again, out);
            return Ok(()); // All else comes with the next tick, which comes at once.
        }
        let chunks = self.sync.plan_chunks(&self.replica, view)?;
        let releases = self.replica.waiting.deadline().is_some_and(|due| due <= now.mono);
        let passed: Vec<GroupIx> = self.replica.ends.passed().collect();
        // The view does not show what is just released: conflicts are for the next tick then, which comes at once.
        let settles = releases || !passed.is_empty();
        let raising = if settles || self.says_key { None } else { self.raising(now, view)? };
        if settles || self.says_key {
            let mut plan = Plan::new(&self.replica, view);
            if settles {
                passed.iter().for_each(|ix| plan.touch(*ix));
                admission::settle(&mut plan, now)?;
            }
            let mut dice = self.dice.clone();
            if rotate::speaks_in_vain(&plan) {
                plan.reincarnate(dice.u64());
            }
            rotate::say_key(&mut plan, now.wall)?;
            self.dice = dice;
            let effects = plan.finish();
            // What comes of it may be a reason to look again.
            self.says_key = false;
            if settles {
                self.replica.ends_are_settled();
            }
            self.apply_passing(now, effects, !passed.is_empty(), out);
        }
        if self.sync.compares(now.mono) {
            self.replica.settle_knowledge();
        }
        self.step(now.mono, out, |sync, step| {
            sync.send_chunks(chunks, step);
            sync.tick(step);
        });
        if self.peers.may_dial() {
            let keys_of = |device: &DeviceId| ended_key::known_keys(&self.replica, device);
            self.peers.dial(&self.sync.linked(), (self.max_links, now.mono), keys_of, out);
        }
        if let Some(Raising { raiser, dice, effects, conflicts }) = raising {
            self.raiser = raiser;
            self.dice = dice;
            self.apply(now, effects, out);
            if !conflicts.is_empty() {
                out.push(Action::Resolve(conflicts));
            }
        }
        Ok(())
    }

    /// Conflicts whose turn has come.
    fn raising(&self, now: Now, view: &dyn View) -> Result<Option<Raising>, Fault> {
        Raising::plan(&self.raiser, &self.dice, &self.replica, now, view, |ix| {
            self.sync.is_arriving(ix, now.mono)
        })
    }

    // ---- commands ----

    fn command(
        &mut self,
        now: Now,
        request: RequestId,
        command: Command,
        view: &dyn View,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        let limit = self.replica.limits.pending_requests;
        let refusal = if self.stopping != Stopping::No {
            Some(Refusal::ShuttingDown)
        } else if self.gate.replies() >= limit {
            Some(Refusal::Busy)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            out.push(Action::Reply { request, result: Err(refusal) });
            return Ok(());
        }
        // The stream of nonces moves on only if the plan is applied.
        let mut dice = self.dice.clone();
        let name = self.replica.name.clone();
        let means = Means { wall: now.wall, nonce: dice.bytes(), name: &name };
        let resolver = match &command {
            Command::Resolver { database, attached } => Some((database.clone(), *attached)),
            _ => None,
        };
        let rows = |is_meant: fn(&Choice) -> bool| -> Vec<RowRef> {
            let Command::Resolve(answer) = &command else { return Vec::new() };
            let meant = answer.answers.iter().filter(|answer| is_meant(&answer.choice));
            meant.map(|answer| answer.row.clone()).collect()
        };
        let (answered, written) = (rows(|_| true), rows(|choice| *choice != Choice::Leave));
        let offer = match &command {
            Command::Join { invitation, .. } => Some((invitation.clone(), true)),
            Command::Decline { invitation } => Some((invitation.clone(), false)),
            _ => None,
        };
        let resumed = match &command {
            Command::Pause { database, paused: false } => Some(database.clone()),
            _ => None,
        };
        // A batch of this device's is whole at once, and nothing waits for it.
        let may_release = !matches!(command, Command::Write(_) | Command::Resolve(_));
        let mut plan = Plan::new(&self.replica, view);
        let outcome = match command::run(&mut plan, &means, command) {
            Ok(outcome) => outcome,
            Err(Stop::Fault(fault)) => return Err(fault),
            Err(Stop::Refused(refusal)) => {
                self.raiser.refused(&self.replica, answered.iter(), now.mono);
                out.push(Action::Reply { request, result: Err(refusal) });
                return Ok(());
            }
        };
        if may_release {
            admission::settle(&mut plan, now)?;
        }
        for link in self.sync.all().into_iter().filter(|_| resumed.is_some()) {
            let ended = self.sync.says_ended(link, &self.replica).into_iter().filter(|ix| {
                let group = self.replica.groups.get(ix);
                group.map(|group| &group.record.database) == resumed.as_ref()
            });
            self.find_lost_admissions(&mut plan, link, ended);
        }
        let effects = plan.finish();
        self.dice = dice;
        if let Some((database, attached)) = resolver {
            self.raiser.resolver(&self.replica, &database, attached, now.mono);
        }
        if let Some((invitation, accepts)) = offer {
            self.answer_offer(now.mono, &invitation, accepts, out);
        }
        self.raiser.resolves(&self.replica, written.iter());
        self.apply(now, effects, out);
        self.raiser.answered(&self.replica, answered.iter(), now.mono);
        if let Outcome::Written(parts) = &outcome {
            out.push(Action::Written { request, parts: parts.clone() });
        }
        let reply = Action::Reply { request, result: Ok(outcome) };
        self.gate.pass(self.replica.seq, reply, out);
        Ok(())
    }

    /// An offer to take part was answered: whoever declines tells whoever made it, who waits for that (S-33).
    fn answer_offer(&mut self, now: Mono, invitation: &Invitation, accepts: bool, out: &mut Outbox) {
        if accepts {
            self.offered.accepted(invitation);
            return;
        }
        self.offered.decline(invitation);
        if let Some(link) = self.sync.link_to(&invitation.issuer().device()) {
            let (syncgroup, nonce) = (invitation.syncgroup(), invitation.terms.nonce);
            let message = Message::Declined { syncgroup, nonce };
            self.step(now, out, |sync, step| sync.send(link, &message, step));
        }
    }

    // ---- applying ----

    /// Lets the exchange take a step.
    fn step<T>(
        &mut self,
        now: Mono,
        out: &mut Outbox,
        take: impl FnOnce(&mut Sync, &mut Step<'_>) -> T,
    ) -> T {
        let mut step = Step { replica: &self.replica, now, gate: &mut self.gate, out };
        take(&mut self.sync, &mut step)
    }

    /// Makes a planned change, and all that follows from it.
    fn apply(&mut self, now: Now, effects: Effects, out: &mut Outbox) {
        self.apply_first(now.mono, effects, out, |core, gained, out| core.gained(now.mono, gained, out));
    }

    /// The same, after somebody's rights may have ended: then it changes who shares what with whom.
    fn apply_passing(&mut self, now: Now, mut effects: Effects, passing: bool, out: &mut Outbox) {
        effects.passes_ends |= passing;
        self.apply(now, effects, out);
    }

    fn apply_first(
        &mut self,
        now: Mono,
        mut effects: Effects,
        out: &mut Outbox,
        follow: impl FnOnce(&mut Self, &Gained, &mut Outbox),
    ) {
        let groups: Vec<_> = effects.gains().map(|(ix, authors)| (ix, authors.collect())).collect();
        // Having left itself, a device shares with others that have as well until anybody's generation shows that
        // their departure is known: any may.
        let has_left = |ix: &GroupIx| self.replica.groups.get(ix).is_some_and(|group| group.is_departed());
        let sharing = effects.changes_sharing() || groups.iter().any(|(ix, _)| has_left(ix));
        let gained = Gained { groups, sharing, pauses: effects.changes_pauses() };
        for (ix, closed) in &effects.split {
            match closed {
                Some(row) => self.raiser.closed(row, now),
                None => self.raiser.touched(*ix, now),
            }
        }
        if gained.sharing {
            // Membership and schemas say who resolves what.
            gained.groups.iter().for_each(|(ix, _)| self.raiser.touched(*ix, now));
        }
        let changes = core::mem::take(&mut effects.changes);
        let notices = core::mem::take(&mut effects.notices);
        let changes_key = effects.changes_key();
        let begins_anew = effects.reincarnates(self.replica.life);
        if let Some(commit) = self.replica.apply(effects) {
            out.push(Action::Commit(commit));
        }
        gained.groups.iter().for_each(|(ix, _)| self.note_unwritten(*ix));
        if !changes.is_empty() {
            out.push(Action::Changed(changes));
        }
        notices.into_iter().for_each(|notice| out.push(Action::Notice(notice)));
        follow(self, &gained, out);
        // It may be a member by now where it was none, or write where it could not; and what it has said may be gone, or lie
        // where its log is forked.
        self.says_key |= (gained.sharing || begins_anew) && self.replica.keys.chain.rollovers() > 0;
        if changes_key {
            self.key_ended = None;
            self.step(now, out, |sync, step| {
                sync.forget_signed();
                sync.close_all(CloseReason::KeyRotated, step);
            });
        }
    }

    fn gained(&mut self, now: Mono, gained: &Gained, out: &mut Outbox) {
        self.step(now, out, |sync, step| {
            for (ix, authors) in &gained.groups {
                sync.gained(*ix, authors, step);
            }
            if gained.sharing {
                sync.sharing_changed(step);
            }
            if gained.pauses {
                sync.pauses_changed(step);
            }
        });
        if gained.sharing {
            self.peers.review(&self.replica, now, out);
        }
    }

    fn stop_if_drained(&mut self, now: Now, out: &mut Outbox) {
        if self.stopping == Stopping::Draining && self.gate.is_clear(self.replica.seq) {
            self.stopping = Stopping::Done;
            self.step(now.mono, out, |sync, step| sync.close_all(CloseReason::Shutdown, step));
            out.push(Action::Stopped);
        }
    }
}

/// What a change has brought.
struct Gained {
    groups: Vec<(GroupIx, Vec<u32>)>,
    /// Who shares what with whom may have changed.
    sharing: bool,
    /// Databases are paused, or not any more.
    pauses: bool,
}
