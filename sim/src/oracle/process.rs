//! Oracles of processes: what a crash may take (S-10), and what it may not.

use driftless::{Author, CommitSeq, Version};

use super::{Checked, Held, Notes, Oracle, Seen, Violation, Watch};
use crate::coverage::{Coverage, Point};

impl Watch {
    /// A replica has started again from what its disk had, and its first actions are done.
    ///
    /// `survived` is the last commit that the disk had, before the boot added any.
    pub(crate) fn restarted(
        &mut self,
        seen: Seen<'_>,
        survived: CommitSeq,
        coverage: &mut Coverage,
    ) -> Checked {
        let replica = seen.replica;
        let wrong = |what| Err(Violation::new(Oracle::Durability, "S-10", replica, what));
        if survived < self.notes[replica].reported {
            let (reported, survived) = (self.notes[replica].reported.0, survived.0);
            return wrong(format!(
                "commit {reported} was reported durable, and {survived} is the last there is"
            ));
        }
        let after = self.held_after(replica, survived);
        let held = super::held(seen.core);
        let notes = std::mem::take(&mut self.notes[replica]);
        if held != after {
            return wrong(format!(
                "after commit {} it held {after:?}; restarted from there it says it holds {held:?}",
                survived.0
            ));
        }
        self.lost(replica, &notes, survived, coverage)?;
        // Whoever asked before is not answered any more.
        let device = self.devices[replica];
        self.reissued.retain(|author, _| author.device != device);
        let seq = seen.store.seq();
        let after = [(survived, held.clone()), (seq, held.clone())].into();
        let shown = super::shown(seen.core);
        self.parts.restarted(replica, &held, &shown);
        let groups = seen.core.syncgroups();
        let collections = groups.iter().map(|info| (info.id, info.collections.clone())).collect();
        let databases = groups.into_iter().map(|info| (info.id, info.database)).collect();
        let (wrote, contacts, questions) = Default::default();
        let mut told = notes.told;
        told.survived(survived);
        let (reported, paused, author) = (survived, notes.paused, Some(seen.core.author()));
        self.notes[replica] = Notes {
            author,
            clock: notes.clock,
            clock_was_set: notes.clock_was_set,
            highest: notes.highest,
            contacts,
            held,
            shown,
            seq,
            reported,
            after,
            wrote,
            collections,
            databases,
            paused,
            questions,
            told,
        };
        self.still_paused(seen, coverage)?;
        self.look(seen, coverage)
    }

    /// What a replica held after a commit, not before the last one that is reported to be durable.
    pub(crate) fn held_after(&self, replica: usize, seq: CommitSeq) -> Held {
        let after = self.notes[replica].after.iter().rev().find(|(at, _)| *at <= seq);
        after.map(|(_, held)| held.clone()).unwrap_or_default()
    }

    /// A replica's disk is set back to what it was after an earlier commit. What it wrote since is not taken
    /// back: others may have it. It cannot be held to have it itself any more. If nobody noticed, it goes on as the author that it was. Says
    /// whether it had written anything since.
    pub(crate) fn set_back(
        &mut self,
        replica: usize,
        held: Held,
        seq: CommitSeq,
        unnoticed: Option<Author>,
    ) -> bool {
        let device = self.devices[replica];
        self.fates[replica].set_back = true;
        self.fates[replica].unnoticed = unnoticed;
        let before = &self.notes[replica].held;
        let is_less = before.iter().any(|(group, before)| {
            let own = before.iter().filter(|(author, _)| author.device == device);
            own.into_iter().any(|(author, last)| {
                held.get(group).and_then(|held| held.get(author)).is_none_or(|now| now < last)
            })
        });
        let after = [(seq, held.clone())].into();
        let told = super::watching::Told::set_back(seq);
        let highest = self.notes[replica].highest;
        self.notes[replica] = Notes { held, seq, reported: seq, after, told, highest, ..Notes::default() };
        is_less
    }

    /// A replica has nothing any more.
    pub(crate) fn lost_all(&mut self, replica: usize) {
        self.fates[replica].lost_all = true;
    }

    /// A replica is never seen again.
    pub(crate) fn vanished(&mut self, replica: usize) {
        self.fates[replica].vanished = true;
    }

    /// Before a restart: the numbers of commits go on from what survived.
    pub(crate) fn restarts(&mut self, replica: usize, survived: CommitSeq) {
        self.notes[replica].seq = survived;
    }

    /// Takes back what a replica wrote and lost; nobody else may have it, and nobody may have been told that
    /// it is safe (S-9).
    fn lost(
        &mut self,
        replica: usize,
        notes: &Notes,
        survived: CommitSeq,
        coverage: &mut Coverage,
    ) -> Checked {
        for (_, group, version) in notes.wrote.iter().filter(|(seq, ..)| *seq > survived) {
            if self.safe.contains(&(*group, *version, replica)) {
                let what = format!("{version:?} of {group:?} was acknowledged as safe, and is gone");
                return Err(Violation::new(Oracle::SilentLoss, "S-9", replica, what));
            }
            self.withdraw(replica, group, version)?;
            coverage.hit(Point::CrashLostOwn);
        }
        Ok(())
    }

    /// A generation never was: another one may come to have its version, and is another matter.
    fn withdraw(&mut self, replica: usize, group: &driftless::SyncgroupId, version: &Version) -> Checked {
        let others = (0..self.notes.len()).filter(|other| *other != replica);
        let holders: Vec<usize> = others.filter(|other| self.held_by(*other, group, version)).collect();
        if let [holder, ..] = holders[..] {
            let what = format!(
                "{version:?} of {group:?} was lost in a crash before it was durable, but replica {holder} has it"
            );
            let replicas = [replica].into_iter().chain(holders).collect();
            return Err(Violation { oracle: Oracle::Durability, rule: "S-9", replicas, what });
        }
        self.model.withdraw(group, version);
        self.again.retain(|(of, _), now| (of, &*now) != (group, version));
        self.parts.withdraw(group, version);
        self.judged.remove(&(*group, *version));
        self.resolutions.remove(&(*group, *version));
        self.heard.retain(|(of, departure, _)| (of, departure) != (group, version));
        Ok(())
    }

    /// A replica said that it has stopped: everything that it committed must be durable (S-54).
    pub(crate) fn stopped(&self, replica: usize) -> Checked {
        let notes = &self.notes[replica];
        if notes.reported < notes.seq {
            let what = format!("stopped before commit {} was durable", notes.seq.0);
            return Err(Violation::new(Oracle::Durability, "S-54", replica, what));
        }
        Ok(())
    }
}
