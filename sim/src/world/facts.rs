//! Notes of what becomes of the plan, for those who want to know. Taking them changes nothing.

use bytes::Bytes;
use driftless::{Action, LinkId, Notice};

use super::World;
use super::network::Passage;
use crate::facts::{Facts, Happened, kind};
use crate::plan::{Act, Fate};

impl World<'_> {
    /// From now on, notes are taken.
    pub(crate) fn take_notes(&mut self) {
        self.facts = Some(Facts::default());
    }

    /// The notes that were taken.
    pub(crate) fn notes(&mut self) -> Option<Facts> {
        let mut facts = self.facts.take()?;
        facts.devices = self.replicas.iter().map(|it| it.device).collect();
        facts.groups = self.people.groups().clone();
        Some(facts)
    }

    pub(super) fn note(&mut self, replica: usize, what: Happened) {
        if let Some(facts) = &mut self.facts {
            facts.remark(self.now, replica, what);
        }
    }

    /// Whether a step finds what it needs: mostly that the replicas which it names run.
    pub(super) fn possible(&self, act: &Act) -> bool {
        if act.replicas().first().is_some_and(|first| self.replicas[*first].vanished) {
            return false;
        }
        match act {
            Act::Restart { replica, .. } => self.replicas[*replica].core.is_none(),
            Act::Restore { replica, .. } => self.replicas[*replica].copy.is_some(),
            Act::Attack { replica, .. } => self.replicas[*replica].hostile,
            Act::SetClock { .. }
            | Act::FailReads { .. }
            | Act::FillDisk { .. }
            | Act::SlowSync { .. }
            | Act::Damage { .. }
            | Act::Copy { .. }
            | Act::LoseDisk { .. }
            | Act::Vanish { .. } => true,
            act => act.replicas().iter().all(|replica| self.replicas[*replica].core.is_some()),
        }
    }

    /// A step was taken; it was possible or not, and it gave some core an event or none.
    pub(super) fn note_passed_over(&mut self, index: usize, possible: bool, fed: bool) {
        let did = match &self.plan.steps[index].act {
            // These have their effect later.
            Act::Join { .. }
            | Act::JoinAs { .. }
            | Act::Transfer { .. }
            | Act::Cut { .. }
            | Act::Heal
            | Act::Clog { .. }
            | Act::Gather { .. }
            | Act::Part { .. }
            | Act::Frame { .. } => true,
            // And these have one also where no core hears of it at once.
            Act::Crash { .. }
            | Act::CrashAtCommit { .. }
            | Act::Restart { .. }
            | Act::Break { .. }
            | Act::Pause { .. }
            | Act::Vanish { .. }
            | Act::SetClock { .. }
            | Act::FailReads { .. }
            | Act::FillDisk { .. }
            | Act::SlowSync { .. }
            | Act::Damage { .. }
            | Act::Copy { .. }
            | Act::Restore { .. }
            | Act::LoseDisk { .. }
            | Act::Attack { .. } => possible,
            _ => possible && fed,
        };
        if let Some(facts) = self.facts.as_mut().filter(|_| !did) {
            facts.passed_over.insert(index);
        }
    }

    /// A link wears out, which is a chance that a step can decide.
    pub(super) fn note_wear(&mut self, link: LinkId) {
        if let (Some(facts), Some((a, b))) = (&mut self.facts, self.network.ends(link)) {
            facts.chose(self.now, Act::Break { a, b });
        }
    }

    pub(super) fn note_action(&mut self, replica: usize, action: &Action) {
        if self.facts.is_none() {
            return;
        }
        match action {
            Action::Reply { result: Err(refusal), .. } => {
                self.note(replica, Happened::Refused(refusal.to_string()));
            }
            Action::Notice(Notice::SetBack { .. }) => self.note(replica, Happened::HeardOfItself),
            Action::Notice(Notice::Syncgroup { syncgroup, state }) => {
                self.note(replica, Happened::State(*syncgroup, format!("{state:?}")));
            }
            _ => {}
        }
    }

    pub(super) fn note_frame(&mut self, link: LinkId, frame: &Bytes, passage: &Passage) {
        let Some(facts) = self.facts.as_mut().filter(|_| passage.fate != Fate::Arrive) else { return };
        let Some((from, to)) = self.network.ends(link) else { return };
        let (nth, fate) = (passage.nth, passage.fate);
        if passage.by_chance {
            facts.chose(0, Act::Frame { from, to, nth, fate });
        }
        facts.remark(self.now, from, Happened::Frame { to, nth, kind: kind(frame), fate });
    }
}
