//! Processes: how they start, stop and die.

use driftless::{Action, Event, Outbox};

use super::World;
use super::network::other;
use super::observe::Process;
use super::queue::Happening;
use super::replica::End;
use super::sabotage::Saboteur;
use crate::coverage::Point;
use crate::dice::{Concern, Dice};
use crate::facts::Happened;
use crate::oracle::{Checked, Oracle, Violation};

/// How long a process may take to stop, in milliseconds.
pub(super) const TIME_TO_STOP: u64 = 60_000;

impl World<'_> {
    /// Starts a process from what its disk has.
    pub(super) fn boot(&mut self, replica: usize, shown: bool) -> Checked {
        let shown = shown && !self.replicas[replica].doubtful;
        let again = self.replicas[replica].boots > 0;
        if again {
            self.coverage.hit(if shown { Point::RestartShown } else { Point::RestartUnknown });
        }
        self.trace.note(self.now, || format!("r{replica} starts, continuity shown: {shown}"));
        self.observe_process(replica, Process::Starts { shown });
        let survived = self.replicas[replica].disk.store().seq();
        let mut out = Outbox::new();
        let (seed, setup) = (self.plan.seed, &self.plan.setup);
        let sabotage = self.sabotage.as_ref().map(|saboteur| saboteur.kind);
        let may_fail = self.replicas[replica].disk.may_fail();
        if let Err(error) = self.replicas[replica].boot(seed, setup, shown, sabotage, &mut out) {
            if let (true, driftless::BootError::Fault(fault)) = (may_fail, &error) {
                return self.boot_failed(replica, fault);
            }
            let what = format!("does not start from what its disk has: {error}");
            return Err(Violation::new(Oracle::Durability, "S-10", replica, what));
        }
        if let Some(saboteur) = &self.sabotage {
            saboteur.booted(&mut self.replicas[replica]);
        }
        self.watch.restarts(replica, survived);
        let mut actions: Vec<Action> = std::iter::from_fn(|| out.pop()).collect();
        for action in &actions {
            self.trace.action(self.now, replica, action);
            if let Action::Commit(commit) = action {
                self.commit(replica, commit)?;
                if self.replicas[replica].end == Some(End::Failed) {
                    return self.end_if_due(replica);
                }
            }
        }
        self.observe_start(replica, &actions);
        if let Some(seen) = self.replicas[replica].seen() {
            self.watch.restarted(seen, survived, &mut self.coverage)?;
        }
        actions.retain(|action| !matches!(action, Action::Commit(_)));
        for action in actions {
            self.do_one(replica, action)?;
        }
        self.is_to_be_found(replica)?;
        self.application_starts(replica, shown, survived)?;
        if self.healed {
            self.resume_all(replica)?;
        }
        self.schedule(replica);
        self.neighbours(replica);
        self.end_if_due(replica)
    }

    /// Asks a process to stop.
    pub(super) fn shutdown(&mut self, replica: usize) -> Checked {
        let it = &mut self.replicas[replica];
        if it.core.is_none() || it.stopping {
            return Ok(());
        }
        it.stopping = true;
        let boot = it.boots;
        self.queue.push(self.now + TIME_TO_STOP, Happening::Overdue { replica, boot });
        self.feed(replica, Event::Shutdown, None)?;
        let too_early = |saboteur: &Saboteur| saboteur.stops_too_early(&self.replicas[replica]);
        if self.sabotage.as_ref().is_some_and(too_early) {
            self.do_one(replica, Action::Stopped)?;
        }
        Ok(())
    }

    /// The process dies now.
    pub(super) fn crash(&mut self, replica: usize, keep: Option<usize>) -> Checked {
        if self.replicas[replica].core.is_none() {
            return Ok(());
        }
        // Who watches has mostly seen all there was: a crash can take what they saw.
        self.watchers_look(replica, false)?;
        self.coverage.hit(Point::Crash);
        let it = &mut self.replicas[replica];
        let at_risk = it.disk.at_risk();
        let keep = keep.unwrap_or_else(|| {
            let mut dice = Dice::new(self.plan.seed, Concern::Crash, &[replica as u64, it.boots]);
            dice.below(at_risk as u64 + 1) as usize
        });
        if self.sabotage.as_ref().is_some_and(Saboteur::tears) {
            it.disk.tear(keep);
        }
        let lost = it.disk.crash(keep);
        if let Some(saboteur) = &mut self.sabotage {
            let others = 0..self.plan.setup.replicas;
            let apart: Vec<usize> =
                others.filter(|other| self.network.cut_between(replica, *other)).collect();
            saboteur.crash(it, &apart);
        }
        match (at_risk, lost) {
            (0, _) => {}
            (_, 0) => self.coverage.hit(Point::CrashKeptAll),
            _ => self.coverage.hit(Point::CrashLostCommits),
        }
        self.trace
            .note(self.now, || format!("r{replica} dies; {lost} of {at_risk} commits at risk are lost"));
        self.note(replica, Happened::Died { lost, at_risk });
        self.observe_process(replica, Process::Dies { lost, at_risk });
        self.end_process(replica);
        Ok(())
    }

    /// The process is gone: others will notice.
    pub(super) fn end_process(&mut self, replica: usize) {
        self.replicas[replica].gone();
        let mut dice = Dice::new(self.plan.seed, Concern::LinkEnd, &[replica as u64, self.now]);
        for link in self.network.links_of(replica) {
            self.network.take_down(link);
            self.note_break(link);
            self.queue.push(self.now + dice.skewed(0, 5_000), Happening::Down { link: other(link) });
        }
    }

    /// After an event: a process whose end is due is gone.
    pub(super) fn end_if_due(&mut self, replica: usize) -> Checked {
        let it = &mut self.replicas[replica];
        match it.end.take() {
            None => return Ok(()),
            Some(End::Crash(keep)) => self.crash(replica, keep)?,
            Some(End::Failed) => {
                self.recover(replica);
                return Ok(());
            }
            Some(End::Stopped) => {
                it.disk.crash(usize::MAX);
                self.trace.note(self.now, || format!("r{replica} has stopped"));
                self.observe_process(replica, Process::Stopped);
                self.end_process(replica);
            }
        }
        if self.healed {
            self.queue.push(self.now + 1_000, Happening::Restart { replica });
        }
        Ok(())
    }
}
