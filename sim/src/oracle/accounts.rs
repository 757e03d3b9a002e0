//! Oracles of accounts: what a batch takes from one it gives to another, so all together they come to nothing in
//! every state that readers can see, as long as batches are whole (S-4, S-28).

use std::ops::ControlFlow;

use driftless::read;
use driftless::{Knowledge, Merge, Policy, SyncgroupId, Version};

use super::rows::{collections, fault};
use super::{Checked, Oracle, Seen, Violation, Watch};
use crate::coverage::{Coverage, Point};
use crate::model::{RowKey, holds};
use crate::plan::{OWN, SHARED};

impl Watch {
    /// Sums up the accounts of a syncgroup.
    pub(super) fn totals(&self, seen: Seen<'_>, group: &SyncgroupId, coverage: &mut Coverage) -> Checked {
        let Some(view) = self.views(seen.replica).of(group) else { return Ok(()) };
        for (kind, guaranteed) in
            [(OWN, self.in_turn(group, view.shown)), (SHARED, self.all_count(group, view.held))]
        {
            let mut sum = 0;
            let mut accounts = 0;
            for ((of, _), collection) in collections(seen)? {
                let (from, to) = ([kind as u8], [kind as u8 + 1]);
                read::scan(seen.store, &collection, &from, Some(&to), false, &mut |row| {
                    let number =
                        std::str::from_utf8(&row.value).ok().and_then(|text| text.parse::<i64>().ok());
                    let counts = of == *group;
                    accounts += i64::from(counts);
                    sum += number.filter(|_| counts).unwrap_or(0);
                    ControlFlow::Continue(())
                })
                .map_err(fault(seen))?;
            }
            if guaranteed && sum != 0 {
                let what =
                    format!("{accounts} accounts {kind} of {group:?} come to {sum} together, not to 0");
                return Err(Violation::new(Oracle::Causality, "S-28", seen.replica, what));
            }
            if guaranteed && accounts > 0 {
                coverage.hit(Point::TotalKept);
            }
        }
        Ok(())
    }

    /// Whether each transfer knew of all before it: then they add up whatever becomes of conflicts.
    fn in_turn(&self, group: &SyncgroupId, shown: &Knowledge) -> bool {
        let is_account = |row: &RowKey| row.key.starts_with(&[OWN as u8]);
        let here = self
            .model
            .generations(group)
            .filter(|(version, generation)| holds(shown, version) && generation.rows.keys().any(is_account));
        let mut all: Vec<(&Version, &Knowledge)> = here.map(|(version, it)| (version, &it.past)).collect();
        all.sort_by_key(|(_, past)| past.values().sum::<u64>());
        all.windows(2).all(|pair| holds(pair[1].1, pair[0].0))
    }

    /// Whether all shared accounts are counters.
    fn all_count(&self, group: &SyncgroupId, held: &Knowledge) -> bool {
        let mut shared = self.model.rows(group).filter(|row| row.key.starts_with(&[SHARED as u8]));
        shared.all(|row| self.model.policy(group, row, held) == Policy::Merge(Merge::Counter))
    }
}
