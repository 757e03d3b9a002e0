//! Oracles of processes: what a crash may take (S-10), and what it may not.

use driftless::{CommitSeq, Version};

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
        let notes = std::mem::take(&mut self.notes[replica]);
        if survived < notes.reported {
            let (reported, survived) = (notes.reported.0, survived.0);
            return wrong(format!(
                "commit {reported} was reported durable, and {survived} is the last there is"
            ));
        }
        let nothing = Held::new();
        let after =
            notes.after.iter().rev().find(|(seq, _)| *seq <= survived).map_or(&nothing, |(_, held)| held);
        let held = super::held(seen.core);
        if held != *after {
            return wrong(format!(
                "after commit {} it held {after:?}; restarted from there it says it holds {held:?}",
                survived.0
            ));
        }
        self.lost(seen, &notes.held, after, coverage)?;
        let seq = seen.store.seq();
        let after = [(survived, held.clone()), (seq, held.clone())].into();
        let shown = super::shown(seen.core);
        self.parts.restarted(replica, &held, &shown);
        self.notes[replica] = Notes { held, shown, seq, reported: survived, after };
        self.look(seen)
    }

    /// Before a restart: the numbers of commits go on from what survived.
    pub(crate) fn restarts(&mut self, replica: usize, survived: CommitSeq) {
        self.notes[replica].seq = survived;
    }

    /// Takes back what a replica wrote and lost; nobody else may have it, and nobody may have been told that
    /// it is safe (S-9).
    fn lost(&mut self, seen: Seen<'_>, held: &Held, after: &Held, coverage: &mut Coverage) -> Checked {
        let (replica, device) = (seen.replica, seen.core.author().device);
        for (group, held) in held {
            for (author, last) in held {
                let kept = after.get(group).and_then(|after| after.get(author)).copied().unwrap_or(0);
                for generation in kept + 1..=*last {
                    let version = Version { author: *author, generation };
                    if self.safe.contains(&(*group, version, replica)) {
                        let what = format!("{version:?} of {group:?} was acknowledged as safe, and is gone");
                        return Err(Violation::new(Oracle::SilentLoss, "S-9", replica, what));
                    }
                    if author.device == device {
                        self.withdraw(replica, group, &version)?;
                        coverage.hit(Point::CrashLostOwn);
                    }
                }
            }
        }
        Ok(())
    }

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
        self.parts.withdraw(group, version);
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
