//! What a recording is told of the run, if there is one. It reads, and changes nothing.

use driftless::{Action, LinkId};

use super::World;
use super::network::{Arrival, Passage};
use crate::page::recording::Sent;

/// What happens to a process.
#[derive(Debug, Clone, Copy)]
pub(super) enum Process {
    Starts {
        shown: bool,
    },
    Dies {
        lost: usize,
        at_risk: usize,
    },
    Stopped,
    /// It is gone for another reason.
    Gone {
        why: &'static str,
    },
}

impl World<'_> {
    pub(super) fn observe_step(&mut self, index: usize) {
        if let Some(recording) = self.trace.recording() {
            recording.step(self.now, index, &self.plan.steps[index].act);
        }
    }

    pub(super) fn observe_cuts(&mut self) {
        if let Some(recording) = self.trace.recording() {
            recording.cuts(self.now, self.network.cuts());
        }
    }

    pub(super) fn observe_heal(&mut self) {
        self.observe_cuts();
        if let Some(recording) = self.trace.recording() {
            recording.healed(self.now);
        }
    }

    pub(super) fn observe_process(&mut self, replica: usize, process: Process) {
        let Some(recording) = self.trace.recording() else { return };
        match process {
            Process::Starts { shown } => recording.starts(self.now, replica, shown),
            Process::Dies { lost, at_risk } => recording.dies(self.now, replica, lost, at_risk),
            Process::Stopped => recording.stopped(self.now, replica, "has stopped in good order"),
            Process::Gone { why } => recording.stopped(self.now, replica, why),
        }
    }

    pub(super) fn observe_frame(&mut self, from: usize, passage: &Passage, frame: &[u8]) {
        let Some(recording) = self.trace.recording() else { return };
        let Some((to, _)) = self.network.ends(passage.at) else { return };
        recording.sent(&Sent {
            at: self.now,
            from,
            to,
            arrives: (passage.at, passage.order),
            frame,
            arrivals: &passage.arrivals,
        });
    }

    pub(super) fn observe_arrival(&mut self, link: LinkId, order: u64, arrival: Option<Arrival>) {
        if let Some(recording) = self.trace.recording() {
            recording.arrives(self.now, link, order, arrival.map(|arrival| arrival.late));
        }
    }

    /// What a replica knows syncgroups by, before what it asks for is told of.
    pub(super) fn observe_names(&mut self, replica: usize, actions: &[Action]) {
        let core = self.replicas[replica].core.as_ref();
        if let (Some(recording), Some(core)) = (self.trace.recording(), core)
            && actions.iter().any(|action| matches!(action, Action::Commit(_)))
        {
            recording.learn(core);
        }
    }

    /// What a replica holds and shows, once its commits are applied.
    pub(super) fn observe(&mut self, replica: usize, actions: &[Action]) {
        let it = &self.replicas[replica];
        if let (Some(recording), Some(core)) = (self.trace.recording(), &it.core) {
            recording.observe(self.now, replica, core, it.disk.store(), actions);
        }
    }

    /// The same for a process that starts.
    pub(super) fn observe_start(&mut self, replica: usize, actions: &[Action]) {
        let it = &self.replicas[replica];
        if let (Some(recording), Some(core)) = (self.trace.recording(), &it.core) {
            recording.observe_start(self.now, replica, core, it.disk.store(), actions);
        }
    }
}
