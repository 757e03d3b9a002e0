//! Events: what a core is told, and what it asks for.

use driftless::{Action, CommitSeq, Core, Event, Outbox};

use super::World;
use super::queue::Happening;
use super::replica::{End, Question};
use crate::coverage::Point;
use crate::dice::{Concern, Dice};
use crate::oracle::{Checked, Patience, WriteExpected};

/// Ticks at one moment of virtual time, above which a core is said to spin.
const MOST_TICKS: u32 = 10_000;

impl World<'_> {
    /// Gives an event to a core, and does what it asks for.
    pub(super) fn feed(&mut self, replica: usize, event: Event, expected: Option<&WriteExpected>) -> Checked {
        let it = &mut self.replicas[replica];
        let Some(core) = it.core.as_mut() else { return Ok(()) };
        self.trace.event(self.now, replica, &event);
        self.watch.reaches(replica, self.now, &event);
        let request = match &event {
            Event::Command { request, .. } => Some(*request),
            _ => None,
        };
        let is_stopping = matches!(event, Event::Shutdown);
        let now = it.clock.now(self.now);
        let mut out = Outbox::new();
        let before = it.disk.may_fail().then(|| (core.clone(), event.clone()));
        let reads = it.disk.reads();
        if let Err(fault) = core.handle(now, event, &it.disk, &mut out) {
            let Some((before, event)) = before else {
                let what = format!("its store is sound, and it says: {fault}");
                return Err(self.conduct(replica, "S-12", what));
            };
            return self.store_failed(replica, &fault, &before, event, &out, expected);
        }
        let reads = it.disk.reads() - reads;
        let mut actions: Vec<Action> = std::iter::from_fn(|| out.pop()).collect();
        self.watch.worked(replica, reads, &actions)?;
        if let Some(saboteur) = &self.sabotage {
            saboteur.told(&mut actions);
        }
        let may_change = is_stopping || actions.iter().any(may_change_reasons);
        self.perform(replica, request, actions, expected)?;
        if may_change {
            self.is_to_be_found(replica)?;
        }
        self.schedule(replica);
        self.end_if_due(replica)?;
        self.hears_of_itself(replica)
    }

    /// Does what a core asks for, the commit first, and lets the oracles look in between.
    pub(super) fn perform(
        &mut self,
        replica: usize,
        request: Option<driftless::RequestId>,
        actions: Vec<Action>,
        expected: Option<&WriteExpected>,
    ) -> Checked {
        self.observe_names(replica, &actions);
        for action in &actions {
            self.trace.action(self.now, replica, action);
            self.note_action(replica, action);
            if let Action::Commit(commit) = action {
                self.commit(replica, commit)?;
                if self.replicas[replica].end == Some(End::Failed) {
                    // Nothing was written: the driver closes the replica, and nobody hears of anything.
                    return Ok(());
                }
            }
        }
        let it = &mut self.replicas[replica];
        if let Some(asked) = request.and_then(|request| it.asked.get_mut(&request)) {
            asked.seq = it.disk.store().seq();
            if let Question::Write(said) = &mut asked.what {
                let parts = actions.iter().find_map(|action| match action {
                    Action::Written { parts, .. } => Some(parts.clone()),
                    _ => None,
                });
                *said = parts.unwrap_or_default();
            }
        }
        self.observe(replica, &actions);
        self.application_hears(replica, &actions);
        let relayed = self.relays(replica);
        let it = &self.replicas[replica];
        let wall = it.clock.now(self.now).wall;
        if let Some(seen) = it.seen() {
            let patience = Patience {
                now: self.now,
                awake: it.awake,
                bound: it.waits(&self.plan.setup).parts,
                waiting: self.plan.setup.waiting,
            };
            self.watch.clock(it.wall.shows(self.now));
            self.watch.handled(seen, wall, patience, &actions, expected, &mut self.coverage)?;
            self.stamped(replica, wall, &actions);
            if relayed.is_some_and(|before| self.gained_unlinked(replica, &before)) {
                self.coverage.hit(Point::Relayed);
            }
        }
        for action in actions {
            if matches!(self.replicas[replica].end, Some(End::Crash(_)))
                && !matches!(action, Action::Commit(_))
            {
                // The process died right after the commit.
                self.coverage.hit(Point::CrashMidway);
                continue;
            }
            self.do_one(replica, action)?;
        }
        Ok(())
    }

    pub(super) fn commit(&mut self, replica: usize, commit: &driftless::store::Commit) -> Checked {
        let it = &mut self.replicas[replica];
        if it.disk.is_full() {
            self.coverage.hit(Point::DiskFull);
            it.end = Some(End::Failed);
            return Ok(());
        }
        match &mut self.sabotage {
            Some(saboteur) => saboteur.commit(it, commit),
            None => it.disk.apply(commit),
        }
        match &mut it.armed {
            Some(armed) if armed.after == 0 => it.end = it.armed.take().map(|armed| End::Crash(armed.keep)),
            Some(armed) => armed.after -= 1,
            None => {}
        }
        self.sync(replica);
        Ok(())
    }

    /// Starts a sync of the disk, if there is something to make durable.
    pub(super) fn sync(&mut self, replica: usize) {
        let it = &mut self.replicas[replica];
        if let Some((seq, longer)) = it.disk.start_sync() {
            if longer > 0 {
                self.coverage.hit(Point::SlowSync);
            }
            it.syncs += 1;
            let mut dice = Dice::new(self.plan.seed, Concern::Disk, &[replica as u64, it.syncs]);
            let (low, high) = self.plan.setup.disk.sync_ms;
            let (boot, takes) = (it.boots, longer + dice.between(low, high));
            if self.sabotage.as_ref().is_some_and(|saboteur| saboteur.lies(takes)) {
                self.queue.push(self.now, Happening::Lie { replica, boot });
            }
            self.queue.push(self.now + takes, Happening::Synced { replica, boot, seq });
        }
    }

    pub(super) fn durable(&mut self, replica: usize, seq: CommitSeq) -> Checked {
        self.watch.reported(replica, seq);
        self.feed(replica, Event::Durable { seq }, None)
    }

    pub(super) fn do_one(&mut self, replica: usize, action: Action) -> Checked {
        match action {
            Action::Commit(_) | Action::Written { .. } | Action::Changed(_) | Action::Notice(_) => Ok(()),
            Action::Resolve(conflicts) => self.raised(replica, conflicts),
            Action::Send { link, frame } => self.send(replica, link, frame),
            Action::Connect { device, addresses, .. } => {
                let it = &self.replicas[replica];
                self.watch.calls(replica, self.now, device, it.waits(&self.plan.setup))?;
                self.dial(replica, device, &addresses);
                Ok(())
            }
            Action::Disconnect { link, reason } => {
                self.watch.closes(replica, link);
                self.hang_up(replica, link, reason)
            }
            Action::Advertise { on } => {
                if self.sabotage.as_ref().is_some_and(|saboteur| saboteur.keeps_announcing() && !on) {
                    return Ok(());
                }
                let it = &mut self.replicas[replica];
                if it.advertises && !on && !it.stopping {
                    self.coverage.hit(Point::NotToBeFound);
                }
                it.advertises = on;
                if on {
                    self.advertise(replica);
                }
                Ok(())
            }
            Action::Reply { request, result } => self.reply(replica, request, result),
            Action::Stopped => {
                if !self.replicas[replica].stopping {
                    return Err(self.conduct(replica, "S-54", "stopped, and nobody asked it to".into()));
                }
                self.watch.stopped(replica)?;
                self.coverage.hit(Point::Shutdown);
                self.replicas[replica].end = Some(End::Stopped);
                Ok(())
            }
            other => Err(self.conduct(replica, "S-4", format!("asks for something unheard of: {other:?}"))),
        }
    }

    /// Whether a device lets itself be found as it should, once it has done what its core wants.
    pub(super) fn is_to_be_found(&self, replica: usize) -> Checked {
        let it = &self.replicas[replica];
        match it.seen().filter(|_| it.end.is_none()) {
            Some(seen) => self.watch.is_to_be_found(seen, it.advertises, it.stopping),
            None => Ok(()),
        }
    }

    /// Asks for the next tick.
    pub(super) fn schedule(&mut self, replica: usize) {
        let it = &mut self.replicas[replica];
        let deadline = it.core.as_ref().and_then(Core::next_deadline);
        let due = deadline.map(|mono| it.clock.moment(mono).max(self.now));
        if due != it.tick_at {
            it.tick_at = due;
            if let Some(at) = due {
                self.queue.push(at, Happening::Tick { replica, boot: it.boots });
            }
        }
    }

    pub(super) fn tick(&mut self, replica: usize) -> Checked {
        let ticks = &mut self.replicas[replica].ticks;
        *ticks = if ticks.0 == self.now { (self.now, ticks.1 + 1) } else { (self.now, 1) };
        if ticks.1 > MOST_TICKS {
            let what = format!("spins: {MOST_TICKS} ticks, and its deadline still is not ahead of now");
            return Err(self.conduct(replica, "S-53", what));
        }
        self.feed(replica, Event::Tick, None)
    }
}

/// Whether a device may have another reason than before to be found.
fn may_change_reasons(action: &Action) -> bool {
    matches!(action, Action::Commit(_) | Action::Advertise { .. })
}
