//! Drawing schemas, and whatever makes them matter: changes of rows that merge, resolvers, watchers, transfers.

use std::collections::BTreeMap;

use driftless::{Merge, Policy};

use super::account::{Account, Ledger};
use super::draw::{Drawing, Group};
use super::edit::policies;
use super::{Act, Edit, Faults, ResolverKind, RowLabel, RuleChange, RuleText, Setup, What};
use crate::dice::{Concern, Dice};

/// From when on which rules are meant to count.
type Change = (u64, Vec<RuleText>);

/// The schemas of a plan, for those who draw what is written.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    /// The rules of each collection, each with the moment from which on they are meant to count.
    rules: BTreeMap<(u8, u8), Vec<Change>>,
}

impl Drawing<'_> {
    /// Draws schemas, resolvers, watchers and transfers, if this seed has them.
    pub(super) fn policies(&mut self, groups: &[Group], faults: Faults, setup: &mut Setup) -> Schemas {
        let mut dice = self.dice(Concern::Policies);
        let mut schemas = Schemas::default();
        if dice.below(100) >= u64::from(self.profile.workload.policies) {
            return schemas;
        }
        if dice.one_in(2) {
            setup.timing.resolve = dice.skewed(50, 2_000);
        }
        if dice.one_in(3) {
            setup.watch_log = Some(dice.skewed(1, 40));
        }
        // A few policies in each run: more of each.
        let mut all = policies();
        dice.shuffle(&mut all);
        let mut kinds: Vec<Policy> =
            all.into_iter().take(dice.between(1, 8) as usize).map(|(_, policy)| policy).collect();
        // Conflicts that somebody must decide need two who write at once: rarer than what merges.
        for policy in [Policy::AppResolves, Policy::BatchWins, Policy::Defer] {
            if dice.one_in(2) {
                kinds.extend([policy.clone(), policy]);
            }
        }
        for group in groups {
            self.schemas(&mut dice, group, &kinds, &mut schemas);
        }
        self.resolvers(faults);
        self.watchers(groups);
        self.transfers(groups);
        schemas
    }

    fn schemas(&mut self, dice: &mut Dice, group: &Group, kinds: &[Policy], schemas: &mut Schemas) {
        for collection in 0..group.collections {
            let soon = group.made_at() + dice.skewed(50, 2_000);
            let mut times = vec![soon];
            for _ in 0..dice.below(3) {
                times.push(dice.between(soon, self.safety_ms));
            }
            times.sort_unstable();
            for at in times {
                let anybody = dice.one_in(4);
                let (creator, _) = group.members[0];
                let replica = if anybody { group.writer(dice, at) } else { creator };
                let known = schemas.rules.entry((group.label, collection)).or_default();
                let group = group.label;
                let (rules, act) = match known.last() {
                    Some((_, before)) if dice.one_in(2) => {
                        let changes = changes(dice, kinds);
                        let rules = changed(before, &changes);
                        (rules, Act::ChangeSchema { replica, group, collection, changes })
                    }
                    _ => {
                        let rules = rules(dice, kinds);
                        (rules.clone(), Act::Schema { replica, group, collection, rules })
                    }
                };
                known.push((at, rules));
                self.step(at, act);
            }
        }
    }

    fn resolvers(&mut self, faults: Faults) {
        use ResolverKind::{Absent, Correct, Crashing, Silent, Slow, Stubborn};
        const KINDS: [ResolverKind; 10] =
            [Absent, Absent, Correct, Correct, Correct, Slow, Crashing, Stubborn, Stubborn, Silent];
        let mut dice = self.dice(Concern::Resolvers);
        let dies = faults.crashes;
        for replica in 0..self.replicas {
            let mut at = dice.skewed(0, self.safety_ms / 2);
            for _ in 0..dice.between(1, 3) {
                let kind = dice.pick(&KINDS).copied().unwrap_or(Absent);
                let kind = if kind == Crashing && !dies { Stubborn } else { kind };
                self.step(at, Act::Resolver { replica, kind });
                at += dice.skewed(1_000, self.safety_ms);
            }
        }
    }

    fn watchers(&mut self, groups: &[Group]) {
        let mut dice = self.dice(Concern::Watchers);
        for replica in 0..self.replicas {
            for watcher in 0..dice.below(3) as u8 {
                let Some(group) = dice.pick(groups) else { return };
                let collection = dice.below(u64::from(group.collections)) as u8;
                let prefix = dice.pick(&["", "", "k", "k1", "b"]).copied().unwrap_or_default().to_owned();
                let page = dice.one_in(3).then(|| dice.between(1, 4) as usize);
                let mut at = group.made_at() + dice.skewed(100, self.safety_ms);
                for _ in 0..dice.between(1, 4) {
                    let (prefix, group) = (prefix.clone(), group.label);
                    self.step(at, Act::Watch { replica, watcher, group, collection, prefix, page });
                    at += dice.skewed(1_000, 20_000);
                    if dice.one_in(2) {
                        self.step(at, Act::Unwatch { replica, watcher });
                        at += dice.skewed(500, 20_000);
                    }
                }
            }
        }
    }

    fn transfers(&mut self, groups: &[Group]) {
        let mut dice = self.dice(Concern::Transfers);
        for group in groups {
            let teller = group.writer(&mut dice, self.safety_ms / 2);
            for _ in 0..dice.skewed(0, 24) {
                let at = dice.between(group.made_at() + 200, self.safety_ms);
                let ledger = if dice.one_in(2) { Ledger::Shared } else { Ledger::Own };
                let replica = if ledger == Ledger::Shared { group.writer(&mut dice, at) } else { teller };
                let numbers = dice.between(2, 4);
                self.transfer(&mut dice, group, (at, replica), (ledger, numbers));
            }
        }
        self.whole_transfers(groups);
    }

    /// Several tellers write to the same accounts, often several at about the same moment. So few that all of them can
    /// be in dispute at once ([`driftless::limits::MAX_DISPUTED_VERSIONS`]).
    fn whole_transfers(&mut self, groups: &[Group]) {
        let mut dice = Dice::new(self.seed, Concern::Transfers, &[1]);
        for group in groups {
            let numbers = dice.between(2, 6);
            let mut burst = 0;
            for _ in 0..dice.skewed(0, 30) {
                let at = if burst > 0 && dice.one_in(2) {
                    burst + dice.below(300)
                } else {
                    dice.between(group.made_at() + 1_000, self.safety_ms)
                };
                burst = at;
                let replica = group.writer(&mut dice, at);
                self.transfer(&mut dice, group, (at, replica), (Ledger::Whole, numbers));
            }
        }
    }

    /// Somebody takes from one of so many accounts of a ledger, and gives to another.
    fn transfer(
        &mut self,
        dice: &mut Dice,
        group: &Group,
        (at, replica): (u64, usize),
        (ledger, numbers): (Ledger, u64),
    ) {
        let account = |dice: &mut Dice, number| {
            let collection = dice.below(u64::from(group.collections)) as u8;
            Account { collection, number: number as u8, ledger }
        };
        let number = dice.below(numbers);
        let from = account(dice, number);
        let other = (number + dice.between(1, numbers - 1)) % numbers;
        let to = account(dice, other);
        let amount = dice.between(1, 90) as i64;
        let think_ms = dice.skewed(0, 1_500);
        self.step(at, Act::Transfer { replica, group: group.label, from, to, amount, think_ms });
    }
}

/// The starts of keys that have rules of their own, beside those of the accounts.
const PREFIXES: [&str; 5] = ["", "k", "k0", "k1", "k2"];

/// Changes of a few rules.
fn changes(dice: &mut Dice, kinds: &[Policy]) -> Vec<RuleChange> {
    let mut changes = BTreeMap::new();
    for _ in 0..dice.between(1, 3) {
        let prefix = dice.pick(&PREFIXES).copied().unwrap_or_default();
        let policy = if dice.one_in(3) { None } else { dice.pick(kinds).cloned() };
        changes.insert(prefix.to_owned(), policy);
    }
    changes.into_iter().map(|(prefix, policy)| RuleChange { prefix, policy }).collect()
}

/// Rules after changes.
fn changed(before: &[RuleText], changes: &[RuleChange]) -> Vec<RuleText> {
    let mut rules: BTreeMap<_, _> =
        before.iter().map(|rule| (rule.prefix.clone(), Some(rule.policy.clone()))).collect();
    rules.extend(changes.iter().map(|change| (change.prefix.clone(), change.policy.clone())));
    rules.into_iter().filter_map(|(prefix, policy)| Some(RuleText { prefix, policy: policy? })).collect()
}

fn rules(dice: &mut Dice, kinds: &[Policy]) -> Vec<RuleText> {
    let ledgers = Ledger::ALL.map(|ledger| (ledger.letter().to_string(), ledger.policy()));
    let mut rules = BTreeMap::from(ledgers);
    for _ in 0..dice.between(1, 4) {
        let prefix = dice.pick(&PREFIXES).copied().unwrap_or_default();
        rules.extend(dice.pick(kinds).map(|policy| (prefix.to_owned(), policy.clone())));
    }
    rules.into_iter().map(|(prefix, policy)| RuleText { prefix, policy }).collect()
}

impl Schemas {
    /// What is meant to become of a row's conflicts at a moment.
    fn policy(&self, at: u64, row: RowLabel) -> Policy {
        let schemas = self.rules.get(&(row.group, row.collection)).into_iter().flatten();
        let Some((_, rules)) = schemas.take_while(|(from, _)| *from <= at).last() else {
            return Policy::LastWins;
        };
        let key = format!("k{}", row.key);
        let matching = rules.iter().filter(|rule| key.starts_with(&rule.prefix));
        matching.max_by_key(|rule| rule.prefix.len()).map(|rule| rule.policy.clone()).unwrap_or_default()
    }

    /// Makes of changes others that suit the rows, mostly.
    pub(super) fn suit(&self, dice: &mut Dice, at: u64, changes: &mut [Edit]) {
        if self.rules.is_empty() {
            return;
        }
        for change in changes {
            let odd = dice.one_in(60);
            let policy = if odd { Policy::Merge(Merge::Counter) } else { self.policy(at, change.row) };
            let Policy::Merge(merge) = policy else { continue };
            let replaces = dice.one_in(12);
            if change.what == What::Delete && dice.one_in(3) {
                continue;
            }
            change.what = suited(dice, &merge, replaces);
        }
    }
}

/// A change of a row that merges; one that takes the place of all, or one that leaves room for others.
fn suited(dice: &mut Dice, merge: &Merge, replaces: bool) -> What {
    const LETTERS: [&str; 4] = ["a", "b", "c", "d"];
    let letter = |dice: &mut Dice| dice.pick(&LETTERS).copied().unwrap_or("a").to_owned();
    let path = |dice: &mut Dice| -> Vec<String> {
        (0..dice.between(1, 3)).map(|_| if dice.one_in(2) { "x" } else { "y" }.to_owned()).collect()
    };
    let amount = |dice: &mut Dice| dice.between(0, 20) as i64 - 10;
    match (merge, replaces) {
        (Merge::Counter, true) => What::Number(amount(dice)),
        (Merge::Counter, false) => What::Add(amount(dice)),
        (Merge::Set, true) => What::Elements((0..dice.below(3)).map(|_| letter(dice)).collect()),
        (Merge::Set, false) if dice.one_in(3) => What::Remove(letter(dice)),
        (Merge::Set, false) => What::Insert(letter(dice)),
        (Merge::Fields, true) => What::Fields([(vec!["x".to_owned()], letter(dice))].into()),
        (Merge::Fields, false) if dice.one_in(4) => What::RemoveField(path(dice)),
        (Merge::Fields, false) => What::SetField(path(dice), letter(dice)),
        (_, true) => What::Text(dice.between(1, 8) as u32),
        (_, false) => What::Append(letter(dice)),
    }
}
