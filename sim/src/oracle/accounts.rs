//! Oracles of accounts: what a batch takes from one it gives to another, so all together they come to nothing in
//! every state that readers can see, as long as batches are whole (S-4, S-28) and the ledger is kept in a way that
//! conserves a total.

use std::ops::ControlFlow;

use driftless::read;
use driftless::{Knowledge, Policy, SyncgroupId, Version};

use super::collections::collections;
use super::rows::fault;
use super::{Checked, Oracle, Seen, Violation, Watch};
use crate::coverage::{Coverage, Point};
use crate::model::{RowKey, View, holds};
use crate::plan::{Ledger, balance};

impl Watch {
    /// Sums up the accounts of a syncgroup.
    pub(super) fn totals(&self, seen: Seen<'_>, group: &SyncgroupId, coverage: &mut Coverage) -> Checked {
        let Some(view) = self.views(seen.replica).of(group) else { return Ok(()) };
        for ledger in Ledger::ALL {
            let guaranteed = match ledger {
                Ledger::Own => self.in_turn(group, view),
                Ledger::Shared => self.all_count(group, view.held),
                Ledger::Whole => self.none_is_open(group, view),
            };
            let (accounts, sum) = total(seen, group, ledger)?;
            let letter = ledger.letter();
            if guaranteed && sum != 0 {
                let what =
                    format!("{accounts} accounts {letter} of {group:?} come to {sum} together, not to 0");
                return Err(Violation::new(Oracle::Causality, "S-28", seen.replica, what));
            }
            if guaranteed && accounts > 0 {
                coverage.hit(Point::TotalKept);
            }
        }
        Ok(())
    }

    /// Whether each transfer knew of all before it: then they add up whatever becomes of conflicts. What is built on a
    /// transfer that has become void stays, so nothing is promised where something is.
    fn in_turn(&self, group: &SyncgroupId, view: View<'_>) -> bool {
        let is_account = |row: &RowKey| Ledger::Own.has(&row.key);
        let here = self.model.generations(group).filter(|(version, generation)| {
            holds(view.shown, version) && generation.rows.keys().any(is_account)
        });
        let mut all: Vec<(&Version, &Knowledge)> = here.map(|(version, it)| (version, &it.past)).collect();
        all.sort_by_key(|(_, past)| past.values().sum::<u64>());
        let stays = |version: &Version| !self.model.is_void(group, version, view.held);
        all.windows(2).all(|pair| holds(pair[1].1, pair[0].0) && (stays(pair[0].0) || !stays(pair[1].0)))
    }

    /// Whether all shared accounts are counters.
    fn all_count(&self, group: &SyncgroupId, held: &Knowledge) -> bool {
        let mut shared = self.model.rows(group).filter(|row| Ledger::Shared.has(&row.key));
        shared.all(|row| self.model.policy(group, row, held) == Ledger::Shared.policy())
    }

    /// Whether no transfer is undecided where they win or lose as a whole (S-16), and none was ever decided in another
    /// way. Tellers know that the policy stands before they begin. What is built on a transfer that has become void
    /// stays, so nothing is promised where somebody was removed.
    fn none_is_open(&self, group: &SyncgroupId, view: View<'_>) -> bool {
        let mut rows = self.model.rows(group).filter(|row| Ledger::Whole.has(&row.key));
        let rules = self.model.schemas(group).filter(|(version, _)| holds(view.held, version));
        let mut of_accounts = rules
            .flat_map(|(_, generation)| &generation.rules)
            .filter(|((_, prefix), _)| Ledger::Whole.has(prefix));
        of_accounts.all(|(_, policy)| policy.as_ref() == Some(&Policy::BatchWins))
            && !self.model.has_revocations(group, view.held)
            && rows.all(|row| {
                self.model.policy(group, row, view.held) == Policy::BatchWins
                    && !self.model.seen(group, row, view).is_split()
            })
    }
}

/// How many accounts of a ledger there are, and what they come to.
fn total(seen: Seen<'_>, group: &SyncgroupId, ledger: Ledger) -> Result<(usize, i64), Violation> {
    let (mut accounts, mut sum) = (0, 0);
    let (from, to) = ([ledger.letter() as u8], [ledger.letter() as u8 + 1]);
    for (_, collection) in collections(seen)?.into_iter().filter(|((of, _), _)| of == group) {
        read::scan(seen.store, &collection, &from, Some(&to), false, &mut |row| {
            accounts += 1;
            sum += balance(&row.value).unwrap_or(0);
            ControlFlow::Continue(())
        })
        .map_err(fault(seen))?;
    }
    Ok((accounts, sum))
}
