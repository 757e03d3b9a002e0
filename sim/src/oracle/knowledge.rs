//! Oracles of knowledge: what is held was written, comes with its causes, and is not given up.

use driftless::{Hlc, Knowledge, SyncgroupId, Version, Written};

use super::{Checked, Held, Oracle, Seen, Violation, Watch, WriteExpected, part};
use crate::coverage::Coverage;
use crate::model::{Generation, Impossible, Rows};

impl Watch {
    /// Checks that a replica gave up nothing that it held.
    pub(super) fn gave_up(&self, replica: usize, before: &Held, held: &Held) -> Checked {
        for (group, old) in before {
            let new = held.get(group);
            let gave_up = old
                .iter()
                .find(|(author, last)| new.and_then(|new| new.get(author)).copied().unwrap_or(0) < **last);
            if let Some((author, last)) = gave_up {
                let what = format!("held {author:?}/{last} of {group:?}, and does not any more");
                return Err(Violation::new(Oracle::SilentLoss, "S-21", replica, what));
            }
        }
        Ok(())
    }

    /// Takes note of the generations that a replica wrote itself. It builds on what its readers see.
    pub(super) fn take_note(
        &mut self,
        seen: Seen<'_>,
        before: &Held,
        held: &Held,
        parts: &[Written],
        expected: Option<&WriteExpected>,
    ) -> Checked {
        let author = seen.core.author();
        let nothing = Knowledge::new();
        for (group, new) in held {
            let old = before.get(group).unwrap_or(&nothing);
            let last = old.get(&author).copied().unwrap_or(0);
            for generation in last + 1..=new.get(&author).copied().unwrap_or(0) {
                let version = Version { author, generation };
                let written = part(parts, group, &version);
                self.record(seen.replica, *group, version, old, written, expected)?;
            }
        }
        for part in parts {
            if !held.get(&part.syncgroup).is_some_and(|held| crate::model::holds(held, &part.version)) {
                let what = format!("wrote {:?}, and does not hold it", part.version);
                return Err(Violation::new(Oracle::SilentLoss, "S-9", seen.replica, what));
            }
        }
        Ok(())
    }

    /// Takes note of a generation at its birth, and checks its stamp (S-7).
    fn record(
        &mut self,
        replica: usize,
        group: SyncgroupId,
        version: Version,
        past: &Knowledge,
        written: Option<&Written>,
        expected: Option<&WriteExpected>,
    ) -> Checked {
        let mut past = past.clone();
        past.insert(version.author, version.generation - 1);
        let Some(written) = written else {
            let generation = Generation { past, stamp: None, rows: Rows::new() };
            self.model.record(group, version, generation);
            return Ok(());
        };
        let latest = self.model.latest_stamp(&group, &past).unwrap_or_default();
        let wrong = |what: String| Err(Violation::new(Oracle::Causality, "S-7", replica, what));
        if written.stamp <= latest {
            let stamp = written.stamp;
            return wrong(format!(
                "{version:?} is stamped {stamp:?}, which is not above {latest:?} in its past"
            ));
        }
        if written.stamp.wall() > latest.wall().max(self.fastest) && written.stamp != Hlc(latest.0 + 1) {
            let (stamp, fastest) = (written.stamp, self.fastest);
            return wrong(format!(
                "{version:?} is stamped {stamp:?}, and no clock shows more than {fastest:?}"
            ));
        }
        self.batches += 1;
        if let Some(sabotage) = self.sabotage {
            if sabotage.withholds(self.batches) {
                return Ok(());
            }
            sabotage.past(&version.author, &mut past);
        }
        let rows = expected.and_then(|expected| expected.rows.get(&group)).cloned().unwrap_or_default();
        self.model.record(group, version, Generation { past, stamp: Some(written.stamp), rows });
        Ok(())
    }

    /// Whether what a replica holds can be held (S-9, S-29).
    pub(super) fn causality(&self, replica: usize, held: &Held, _coverage: &mut Coverage) -> Checked {
        for (group, held) in held {
            self.model
                .check(group, held)
                .map_err(|impossible| self.impossible(replica, group, &impossible))?;
        }
        Ok(())
    }

    fn impossible(&self, replica: usize, group: &SyncgroupId, impossible: &Impossible) -> Violation {
        match impossible {
            Impossible::Unwritten(version) => {
                let what = format!(
                    "holds {version:?} of {group:?}, which nobody wrote, or which its author lost in a crash \
                     before it was durable"
                );
                Violation::new(Oracle::Durability, "S-9", replica, what)
            }
            Impossible::WithoutCause { effect, cause } => {
                let what = format!("holds {effect:?} of {group:?} without {cause:?}, which is in its past");
                Violation::new(Oracle::Causality, "S-29", replica, what)
            }
        }
    }
}
