//! The oracle of pauses: of a paused database nothing is given and nothing is taken (S-37).

use driftless::{Knowledge, Name, SyncgroupId};

use super::{Checked, Held, Oracle, Seen, Violation, Watch};
use crate::coverage::{Coverage, Point};

impl Watch {
    /// A replica has said that a database of its is paused. Before that, and until somebody wants it to be resumed,
    /// nothing is known for sure.
    pub(crate) fn is_paused(&mut self, replica: usize, database: Name) {
        let own: Held = self.model.syncgroups().map(|group| (*group, self.own(replica, group))).collect();
        self.notes[replica].paused.insert(database, own);
    }

    /// Somebody wants a database to be resumed.
    pub(crate) fn resumes(&mut self, replica: usize, database: &Name) {
        self.notes[replica].paused.remove(database);
    }

    /// Whether a replica knows anything to be paused.
    pub(crate) fn has_paused(&self, replica: usize) -> bool {
        !self.notes[replica].paused.is_empty()
    }

    /// Whether it knows that the database of a syncgroup is paused.
    pub(crate) fn is_paused_in(&self, replica: usize, group: &SyncgroupId) -> bool {
        self.paused_in(replica, group).is_some()
    }

    /// All that a replica has written, wherever it is: after its disk was lost, only others may hold it.
    fn own(&self, replica: usize, group: &SyncgroupId) -> Knowledge {
        let mut own = self.model.written(group);
        own.retain(|author, _| author.device == self.devices[replica]);
        own
    }

    /// Checks what a replica has come to hold: none of it may come to a paused database, or from one.
    pub(super) fn pauses(
        &self,
        seen: Seen<'_>,
        before: &Held,
        held: &Held,
        coverage: &mut Coverage,
    ) -> Checked {
        let nothing = Knowledge::new();
        let own = self.devices[seen.replica];
        for (group, held) in held {
            let before = before.get(group).unwrap_or(&nothing);
            let gained =
                held.iter().filter(|(author, last)| before.get(author).is_none_or(|had| had < *last));
            for (author, last) in gained {
                let is_own = author.device == own;
                if let Some(database) = self.paused_in(seen.replica, group) {
                    if !is_own {
                        let what = format!("takes {author:?}/{last} of {group:?}, and {database} is paused");
                        return Err(Violation::new(Oracle::Access, "S-37", seen.replica, what));
                    }
                    coverage.hit(Point::WroteWhilePaused);
                }
                let of = self.devices.iter().position(|device| *device == author.device);
                let Some(of) = of.filter(|of| !is_own && !self.fates[*of].hostile) else { continue };
                let Some(database) = self.paused_in(of, group) else { continue };
                let then =
                    self.notes[of].paused[database].get(group).and_then(|own| own.get(author)).copied();
                if *last > then.unwrap_or(0) {
                    let what = format!(
                        "has {author:?}/{last} of {group:?}, which its author wrote while {database} was paused"
                    );
                    return Err(Violation::new(Oracle::Access, "S-37", seen.replica, what));
                }
            }
        }
        Ok(())
    }

    /// The database of a syncgroup on a replica, if it is paused there.
    fn paused_in(&self, replica: usize, group: &SyncgroupId) -> Option<&Name> {
        let notes = &self.notes[replica];
        let database = notes.databases.get(group)?;
        notes.paused.get_key_value(database).map(|(database, _)| database)
    }

    /// Checks after a start that what was paused still is.
    pub(super) fn still_paused(&self, seen: Seen<'_>, coverage: &mut Coverage) -> Checked {
        let found: Vec<&Name> = seen.core.paused().collect();
        for database in self.notes[seen.replica].paused.keys() {
            if !found.contains(&database) {
                let what = format!("was told to pause {database}, and has forgotten it");
                return Err(Violation::new(Oracle::Access, "S-37", seen.replica, what));
            }
            coverage.hit(Point::PausedOverRestart);
        }
        Ok(())
    }
}
