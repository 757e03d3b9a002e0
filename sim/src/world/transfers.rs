//! Who pays: transfers between accounts, each in one batch, by tellers who look first.

use std::ops::ControlFlow;

use bytes::Bytes;
use driftless::read::{self, Collection};
use driftless::{LocalWrite, Operation, Precondition, Refusal, RowRef, SyncgroupId};

use super::queue::Happening;
use super::{World, label};
use crate::coverage::Point;
use crate::oracle::Checked;
use crate::plan::{Account, Ledger, balance};

/// How often a transfer is tried.
const ATTEMPTS: u32 = 6;
/// How often a teller looks whether accounts are in a conflict no more, and how long it waits in between, in
/// milliseconds.
const LOOKS: u32 = 12;
const BETWEEN_LOOKS: u64 = 1_500;

/// A transfer that somebody is at.
#[derive(Debug, Clone)]
pub(crate) struct Payment {
    pub(super) replica: usize,
    boot: u64,
    syncgroup: SyncgroupId,
    from: Account,
    to: Account,
    amount: i64,
    think_ms: u64,
    attempt: u32,
    looks: u32,
    read: Option<Read>,
}

/// What was read before a transfer.
#[derive(Debug, Clone)]
struct Read {
    /// What the two accounts held.
    values: (i64, i64),
    /// What makes sure that they have not changed.
    require: Vec<Precondition>,
}

/// What a teller finds who looks.
enum Found {
    /// The accounts.
    Accounts(Read),
    /// A conflict about them stands, or nobody has said yet what becomes of those.
    Undecided,
    /// One of them cannot be there.
    Nothing,
}

impl World<'_> {
    pub(super) fn transfer(
        &mut self,
        replica: usize,
        syncgroup: SyncgroupId,
        (from, to, amount): (Account, Account, i64),
        think_ms: u64,
    ) -> Checked {
        if from.ledger == Ledger::Shared {
            let batch = LocalWrite::new()
                .operate(row(syncgroup, from), Operation::Add(-amount))
                .operate(row(syncgroup, to), Operation::Add(amount));
            return self.hand_in(replica, self.torn(batch)).map(drop);
        }
        let boot = self.replicas[replica].boots;
        let (attempt, looks, read) = (1, 0, None);
        self.look_at_accounts(
            Payment { replica, boot, syncgroup, from, to, amount, think_ms, attempt, looks, read },
            think_ms,
        );
        Ok(())
    }

    /// Reads the accounts of a transfer, and thinks for a while; or comes back later.
    fn look_at_accounts(&mut self, mut payment: Payment, think_ms: u64) {
        let after = match self.read_accounts(&payment) {
            Found::Accounts(read) => {
                payment.read = Some(read);
                think_ms
            }
            Found::Undecided if payment.looks < LOOKS => {
                self.coverage.hit(Point::TellerWaited);
                payment.looks += 1;
                BETWEEN_LOOKS
            }
            Found::Undecided | Found::Nothing => return,
        };
        self.queue.push(self.now + after, Happening::Pay(Box::new(payment)));
    }

    /// The moment to write a transfer: if the accounts have changed, they are read again.
    pub(super) fn pay(&mut self, mut payment: Payment) -> Checked {
        let Payment { replica, syncgroup, from, to, amount, think_ms, .. } = payment;
        if self.replicas[replica].boots != payment.boot || self.replicas[replica].core.is_none() {
            return Ok(());
        }
        let Some(Read { values, require }) = payment.read.take() else {
            self.look_at_accounts(payment, think_ms);
            return Ok(());
        };
        let mut batch = LocalWrite::new();
        for (account, value) in [(from, values.0 - amount), (to, values.1 + amount)] {
            batch = batch.put(row(syncgroup, account), self.entry(replica, account, value));
        }
        batch.preconditions = require;
        if self.hand_in(replica, self.torn(batch))? {
            if payment.attempt > 1 {
                self.coverage.hit(Point::Retried);
            }
            return Ok(());
        }
        let changed = matches!(self.refusal.take(), Some(Refusal::Precondition { .. }));
        payment.attempt += 1;
        if changed && payment.attempt <= ATTEMPTS {
            let think_ms = think_ms / u64::from(payment.attempt);
            self.look_at_accounts(payment, think_ms);
        }
        Ok(())
    }

    /// What stands in an account after a transfer. Two versions that say the same are no conflict, so where transfers
    /// may meet it says which one it was.
    fn entry(&self, replica: usize, account: Account, value: i64) -> String {
        match account.ledger {
            Ledger::Whole => format!("{value} r{replica} {}", self.replicas[replica].next_request),
            _ => value.to_string(),
        }
    }

    fn torn(&self, mut batch: LocalWrite) -> LocalWrite {
        if let Some(saboteur) = &self.sabotage {
            saboteur.transfer(&mut batch);
        }
        batch
    }

    /// Reads both accounts.
    fn read_accounts(&self, payment: &Payment) -> Found {
        let Payment { replica, syncgroup, from, to, .. } = *payment;
        let it = &self.replicas[replica];
        let store = it.disk.store();
        let Ok(all) = read::collections(store) else { return Found::Nothing };
        let of = |account: Account| -> Option<&Collection> {
            let name = label("c", account.collection);
            all.iter().find(|it| it.syncgroup == syncgroup && it.name == name)
        };
        let value = |account: Account| -> Option<i64> {
            let row = read::get(store, of(account)?, account.key().as_bytes()).ok()?;
            Some(row.and_then(|row| balance(&row.value)).unwrap_or(0))
        };
        let unchanged = |account: Account| -> Option<Precondition> {
            let heads = read::heads(store, of(account)?, account.key().as_bytes()).ok()?;
            let heads = heads.into_iter().map(|head| head.version).collect();
            Some(Precondition::Heads { row: row(syncgroup, account), heads })
        };
        // Of the second one, what is read is all accounts in its collection.
        let none_changed = || -> Option<Precondition> {
            let letter = from.ledger.letter() as u8;
            let (start, end) = (Bytes::from_owner([letter]), Bytes::from_owner([letter + 1]));
            let mut rows = Vec::new();
            read::scan(store, of(to)?, &start, Some(&end), false, &mut |row| {
                rows.push(row);
                ControlFlow::Continue(())
            })
            .ok()?;
            let from = RowRef { key: start, ..row(syncgroup, to) };
            Some(Precondition::Range { from, to: Some(end), rows })
        };
        let is_whole = from.ledger == Ledger::Whole;
        let read = || -> Option<Read> {
            let values = (value(from)?, value(to)?);
            let second = if is_whole { unchanged(to)? } else { none_changed()? };
            Some(Read { values, require: vec![unchanged(from)?, second] })
        };
        let is_decided = |account: Account| of(account).is_none_or(|of| is_decided(store, of, account));
        let rushes = self.sabotage.as_ref().is_some_and(super::Saboteur::rushes_tellers);
        if is_whole && !rushes && !(is_decided(from) && is_decided(to)) {
            return Found::Undecided;
        }
        if it.core.is_none() || from == to {
            Found::Nothing
        } else {
            read().map_or(Found::Nothing, Found::Accounts)
        }
    }
}

fn row(syncgroup: SyncgroupId, account: Account) -> RowRef {
    RowRef { syncgroup, collection: label("c", account.collection), key: account.key().into() }
}

/// Whether transfers win or lose as a whole here, and no two stand against each other. A write on top of a conflict
/// would close it for that one account, and leave what the loser did to the other.
fn is_decided(store: &driftless::store::MemStore, collection: &Collection, account: Account) -> bool {
    let rules = read::schema(store, collection).unwrap_or_default();
    let stands = rules.iter().any(|rule| {
        rule.policy == account.ledger.policy() && rule.prefix == account.ledger.letter().to_string()
    });
    let heads = read::heads(store, collection, account.key().as_bytes()).unwrap_or_default();
    stands && heads.windows(2).all(|pair| pair[0].value == pair[1].value)
}
