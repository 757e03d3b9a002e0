//! Raising conflicts: when, and by whom first (S-17, S-18).
//!
//! ```text
//!   a row splits ──► look (once nothing is on its way) ──► wait for one's turn ──► raised ──► answered
//!                      ▲                                        │  ▲                │        │
//!                      └── restart, a resolver attaches         └──┴── other heads ─┘        │
//!                                                                  └──── a refused answer ───┘
//! ```
//!
//! Conflicts are looked for at the end of a round, so that what others have resolved already is not asked again.
//! Then devices take turns: the members that may write, in an order that each conflict turns round by its
//! heads, so that no clock decides and no device does all the work. Where resolutions meet all the same, they
//! are a new conflict, and the turns get twice as long for those whose resolutions they were: as soon as a turn is
//! longer than a resolution takes to arrive, whoever comes first is the only one. So a conflict among resolvers that
//! always answer ends after each has met others at most about
//! log2(delay / [`Timing::resolve`](crate::Timing::resolve)) times. Only one's own resolutions count: whoever merely
//! writes, and be it again and again, makes nobody wait. And nobody waits longer than [`REMEMBERED`], whatever comes.
//!
//! Which conflicts are open stands in the store; what is kept here is only whose turn it is, and bounded.

mod turns;
mod waiting;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use self::turns::{Turns, heads_of, name_of, split};
use self::waiting::{Look, Met, More, Waiting};
use super::conflict::{Conflict, ConflictedRow};
use super::{Policy, whole};
use crate::dice::Dice;
use crate::event::RowRef;
use crate::hash::Hash;
use crate::id::Name;
use crate::read::{self, Gathering};
use crate::replica::load::entries;
use crate::replica::plan::{Effects, Plan};
use crate::replica::{Replica, Stop};
use crate::store::key::{self, GroupIx};
use crate::store::{Fault, Scan, Table, View};
use crate::syncgroup::group::{Group, Stage};
use crate::time::{Millis, Mono, Now};

/// Rows of a database that wait for a turn or an answer of its application, or of the core, at most; further ones
/// wait in the store.
const MOST_WAITING: usize = 1_024;
/// Rows of a database that are raised to its application and not answered, at most: one that does not answer keeps
/// nobody else from being asked.
const MOST_RAISED: usize = 64;
/// Conflicts raised in one step, at most.
const MOST_AT_ONCE: usize = 16;
/// How long it is remembered of a row that has come together how often its resolutions have met: longer than one is
/// on its way between devices that reach each other. After longer silence the turns begin anew, and double again. So
/// all turns together are not longer either, unless [`Timing::resolve`](crate::Timing::resolve) has them so.
const REMEMBERED: Millis = Millis(10 * 60 * 1_000);
/// The turns double no more often than this.
const MOST_DOUBLINGS: u32 = 12;

/// Which conflicts are to be raised when.
#[derive(Debug, Clone)]
pub(crate) struct Raiser {
    /// How long nothing must have come before it is looked.
    settle: Millis,
    turn: Millis,
    /// The databases whose application resolves.
    attached: BTreeSet<Name>,
    looks: BTreeMap<GroupIx, Look>,
    waiting: BTreeMap<Bytes, Waiting>,
    met: BTreeMap<Bytes, Met>,
    /// Syncgroups that have more rows in conflict than may wait at a time.
    more: BTreeMap<GroupIx, More>,
    questions: u64,
    /// Syncgroups with rows that are the core's to decide, but for others to which batches tie them and which nobody
    /// here decides. Whatever changes about any conflict may free them.
    tied: BTreeSet<GroupIx>,
}

/// What has come due.
#[derive(Debug, Default)]
pub(crate) struct Raised {
    /// For the application.
    pub(crate) conflicts: Vec<Conflict>,
    /// For the core itself; then none are for the application, as the answer may decide rows of those.
    pub(crate) own: Option<Conflict>,
}

impl Raiser {
    /// After a boot every syncgroup is looked at once.
    pub(crate) fn new(settle: Millis, turn: Millis, groups: impl Iterator<Item = GroupIx>) -> Self {
        let looks = groups.map(|ix| (ix, Look::at_all(Mono(0), false))).collect();
        Self {
            settle,
            turn,
            attached: BTreeSet::new(),
            looks,
            waiting: BTreeMap::new(),
            met: BTreeMap::new(),
            more: BTreeMap::new(),
            questions: 0,
            tied: BTreeSet::new(),
        }
    }

    /// A resolver has come, or gone.
    pub(crate) fn resolver(&mut self, replica: &Replica, database: &Name, attached: bool, now: Mono) {
        if attached {
            self.attached.insert(database.clone());
        } else {
            self.attached.remove(database);
        }
        for (ix, group) in replica.groups.iter().filter(|(_, group)| group.record.database == *database) {
            // What was raised before is raised again to the new one.
            let all = key::number(*ix);
            self.waiting.retain(|row, _| !row.starts_with(&all));
            // Also where it has gone: what the core decides, it still does.
            if group.record.stage == Stage::Active {
                self.looks.insert(*ix, Look::at_all(now, attached));
            }
        }
        self.make_room(now);
    }

    fn look_at(&mut self, ix: GroupIx, look: Look) {
        match self.looks.get_mut(&ix) {
            Some(known) => known.join(look),
            None => drop(self.looks.insert(ix, look)),
        }
    }

    /// Rows of a syncgroup have split, or come together.
    pub(crate) fn touched(&mut self, ix: GroupIx, now: Mono) {
        self.tied.insert(ix);
        self.look_at_tied(now);
    }

    fn look_at_tied(&mut self, now: Mono) {
        let due = now + self.settle;
        for ix in core::mem::take(&mut self.tied) {
            self.look_at(ix, Look::at_all(due, false));
        }
    }

    /// A row has come together. That makes room for others.
    pub(crate) fn closed(&mut self, row: &Bytes, now: Mono) {
        self.look_at_tied(now);
        let Some(known) = self.waiting.remove(row) else { return };
        self.ask_again(known.question, now + self.turn(known.rounds));
        let rounds = known.rounds + u32::from(known.is_resolved_here());
        if rounds > 0 {
            self.remember(row, rounds, now);
        }
        self.make_room(now);
    }

    /// How often resolutions of a row have met, should it come apart again soon.
    fn remember(&mut self, row: &Bytes, rounds: u32, now: Mono) {
        if self.met.len() >= MOST_WAITING {
            self.met.retain(|_, met| met.until > now);
        }
        // Of still more rows it is forgotten: their turns begin anew.
        if self.met.len() < MOST_WAITING {
            self.met.insert(row.clone(), Met { rounds, until: now + REMEMBERED });
        }
    }

    /// Looks on where there was no room, once half of it is free.
    fn make_room(&mut self, now: Mono) {
        if self.more.is_empty() {
            return;
        }
        for (ix, more) in core::mem::take(&mut self.more) {
            let is_free = |own| self.waiting_in(&more.database, own) < MOST_WAITING / 2;
            if more.own && is_free(true) || more.others && is_free(false) {
                let More { deferred, from, .. } = more;
                self.look_at(ix, Look { due: now, deferred, from: Some(from) });
            } else {
                self.more.insert(ix, more);
            }
        }
    }

    /// How many rows of a database wait for an answer of the core, or of somebody else.
    fn waiting_in(&self, database: &Name, own: bool) -> usize {
        let alike = |row: &&Waiting| row.is_own == own && !row.is_left && row.database == *database;
        self.waiting.values().filter(alike).count()
    }

    /// A row of a question has come together, or come apart otherwise, or is not to be answered any more: the others
    /// are another question then, and have another turn.
    fn ask_again(&mut self, question: Option<u64>, due: Mono) {
        let Some(question) = question else { return };
        for row in self.waiting.values_mut().filter(|row| row.question == Some(question)) {
            (row.question, row.is_left, row.is_own) = (None, false, row.wins);
            row.due = row.due.max(due);
        }
    }

    /// How long a turn is.
    fn turn(&self, rounds: u32) -> Millis {
        self.wait(rounds, 1, 1)
    }

    /// How long so many turns are, of as many as there are at most: these are over in time.
    fn wait(&self, rounds: u32, turns: u64, most: u64) -> Millis {
        let longest = (REMEMBERED.0 / most.max(1)).max(self.turn.0);
        Millis((self.turn.0 << rounds.min(MOST_DOUBLINGS)).min(longest).saturating_mul(turns))
    }

    /// An answer was refused: what it was about is raised again, later and later, since nothing may be as wrong as
    /// the resolver.
    pub(crate) fn refused<'r>(
        &mut self,
        replica: &Replica,
        rows: impl Iterator<Item = &'r RowRef>,
        now: Mono,
    ) {
        let mut asked: BTreeMap<u64, Mono> = BTreeMap::new();
        for row in rows {
            let Some(name) = name_of(replica, row) else { continue };
            let is_asked = |waiting: &&Waiting| waiting.question.is_some();
            let Some(known) = self.waiting.get(&name).filter(is_asked) else { continue };
            let due = now + self.turn(known.rounds + 1);
            if let Some(question) = known.question {
                let latest = asked.entry(question).or_default();
                *latest = due.max(*latest);
            }
            if let Some(waiting) = self.waiting.get_mut(&name) {
                waiting.rounds += 1;
                waiting.due = due;
                (waiting.question, waiting.is_own) = (None, waiting.wins);
            }
        }
        // It may have named some of the rows alone: the others wait for no other answer than these.
        asked.into_iter().for_each(|(question, due)| self.ask_again(Some(question), due));
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        let looks = self.looks.values().map(|look| look.due);
        let full = self.full();
        let turns = self.waiting.values().filter(|row| row.question.is_none() && row.has_room(&full));
        looks.chain(turns.map(|row| row.due)).min()
    }

    /// The databases whose applications have been asked enough.
    fn full(&self) -> BTreeSet<Name> {
        let mut asked: BTreeMap<&Name, usize> = BTreeMap::new();
        for row in self.waiting.values().filter(|row| row.question.is_some() && !row.is_own && !row.is_left) {
            *asked.entry(&row.database).or_default() += 1;
        }
        let full = asked.into_iter().filter(|(_, asked)| *asked >= MOST_RAISED);
        full.map(|(database, _)| database.clone()).collect()
    }

    /// This device is about to write these rows, as an answer.
    pub(crate) fn resolves<'r>(&mut self, replica: &Replica, rows: impl Iterator<Item = &'r RowRef>) {
        for name in rows.filter_map(|row| name_of(replica, row)) {
            self.waiting.get_mut(&name).into_iter().for_each(|row| row.is_answered = true);
        }
    }

    /// An answer was taken: rows that it leaves open wait for nobody. Of more than there is room for it is forgotten, and
    /// they may be raised again.
    pub(crate) fn answered<'r>(
        &mut self,
        replica: &Replica,
        rows: impl Iterator<Item = &'r RowRef>,
        now: Mono,
    ) {
        self.questions += 1;
        let question = Some(self.questions);
        let mut left = self.waiting.values().filter(|row| row.is_left).count();
        let mut asked = BTreeSet::new();
        for name in rows.filter_map(|row| name_of(replica, row)) {
            let Some(row) = self.waiting.get_mut(&name) else { continue };
            if !row.is_left {
                asked.extend(row.question);
            }
            if row.is_left || left < MOST_WAITING {
                left += usize::from(!row.is_left);
                (row.is_left, row.question) = (true, question);
            } else {
                self.waiting.remove(&name);
            }
        }
        // Of a conflict that is not whole the answer may be to some rows alone.
        asked.into_iter().for_each(|question| self.ask_again(Some(question), now + self.turn(0)));
        self.make_room(now);
    }

    /// Looks, and raises what is due. `is_arriving` says whether more of a syncgroup is on its way.
    pub(crate) fn tick(
        &mut self,
        now: Mono,
        replica: &Replica,
        view: &dyn View,
        is_arriving: impl Fn(GroupIx) -> bool,
    ) -> Result<Raised, Fault> {
        let due = self.looks.iter().filter(|(_, look)| look.due <= now);
        let due: Vec<_> = due.map(|(ix, look)| (*ix, look.clone())).collect();
        for (ix, look) in due {
            if is_arriving(ix) {
                self.looks.insert(ix, Look { due: now + self.settle, ..look });
                continue;
            }
            self.looks.remove(&ix);
            if let Some(group) = replica.groups.get(&ix) {
                self.look(now, replica, group, look, view)?;
            }
        }
        self.raise(now, replica, view)
    }

    /// Finds the rows of a syncgroup that are to be resolved.
    fn look(
        &mut self,
        now: Mono,
        replica: &Replica,
        group: &Group,
        Look { deferred, from, .. }: Look,
        view: &dyn View,
    ) -> Result<(), Fault> {
        let all = key::number(group.ix);
        let from = from.unwrap_or_else(|| all.clone());
        let here = self.waiting.keys().filter(|row| row.starts_with(&all) && **row >= from);
        let mut gone: BTreeSet<Bytes> = here.cloned().collect();
        let mut again = Vec::new();
        let turn = Turns::of(replica, group);
        let end = group.ix.checked_add(1).map(key::number);
        let database = &group.record.database;
        let (mut others, mut own) = (self.waiting_in(database, false), self.waiting_in(database, true));
        if let Some(turn) = turn {
            for (row_key, _) in entries(view, &Scan::range(Table::Conflict, &from, end.as_deref()))? {
                let Some((collection, key)) = split(&row_key) else { continue };
                let policy = group.metadata.schemas().policy(&collection, &key);
                let is_attached = || self.attached.contains(&group.record.database);
                let is_known = self.waiting.contains_key(&row_key);
                let resolves = match policy {
                    Policy::BatchWins => true,
                    Policy::AppResolves => is_attached(),
                    Policy::Defer => is_attached() && (deferred || is_known),
                    _ => false,
                };
                if !resolves {
                    continue;
                }
                let wins = *policy == Policy::BatchWins;
                let alike = if wins { &mut own } else { &mut others };
                if !is_known && *alike >= MOST_WAITING {
                    let (database, from) = (database.clone(), row_key.clone());
                    let none = More { database, deferred, from, own: false, others: false };
                    let more = self.more.entry(group.ix).or_insert(none);
                    // It may come before those that an earlier look has found no room for.
                    more.from = core::mem::take(&mut more.from).min(row_key);
                    more.deferred |= deferred;
                    (more.own, more.others) = (more.own || wins, more.others || !wins);
                    continue;
                }
                gone.remove(&row_key);
                let heads = heads_of(view, &row_key)?;
                let known = self.waiting.get(&row_key);
                if known.is_some_and(|row| row.heads == heads && row.wins == wins) {
                    continue;
                }
                let question = known.and_then(|row| row.question);
                let met = self.met.get(&row_key).filter(|met| met.until > now).map(|met| met.rounds);
                // Other heads alone are no resolutions that have met: anybody may write them.
                let rounds = known.map(|row| row.rounds).or(met).unwrap_or(0);
                let due = now + self.wait(rounds, turn.before(&heads), turn.most());
                *alike += usize::from(!is_known);
                again.push((question, due));
                self.waiting.insert(
                    row_key,
                    Waiting {
                        heads,
                        due,
                        rounds,
                        question: None,
                        wins,
                        is_own: wins,
                        is_left: false,
                        is_answered: false,
                        database: database.clone(),
                    },
                );
            }
        }
        for row in gone.iter().filter_map(|row| self.waiting.get(row)) {
            again.push((row.question, now + self.turn(row.rounds)));
        }
        self.waiting.retain(|row, _| !gone.contains(row));
        again.into_iter().for_each(|(question, due)| self.ask_again(question, due));
        self.make_room(now);
        Ok(())
    }

    /// Whether there is anybody to answer. Where batches win as a whole the core is, but not for rows that they
    /// tie to others which are the application's to decide: those wait for its resolver.
    fn is_answered(&self, conflict: &Conflict) -> bool {
        let mut others = conflict.open().filter(|row| row.policy != Policy::BatchWins).peekable();
        others.peek().is_none() || others.any(|row| self.attached.contains(&row.database))
    }

    /// Nobody here answers a conflict: none of its rows need be looked at before something changes.
    fn give_up(&mut self, replica: &Replica, conflict: &Conflict) {
        for name in conflict.open().filter_map(|row| name_of(replica, &row.row)) {
            if self.waiting.get(&name).is_some_and(|row| row.question.is_none()) {
                let given_up = self.waiting.remove(&name).filter(|row| row.wins);
                self.tied.extend(given_up.and(key::split_number(&name)).map(|(ix, _)| ix));
            }
        }
    }

    /// Raises the conflicts whose turn has come.
    fn raise(&mut self, now: Mono, replica: &Replica, view: &dyn View) -> Result<Raised, Fault> {
        let mut raised = Raised::default();
        let mut full = self.full();
        let due = self
            .waiting
            .iter()
            .filter(|(_, row)| row.question.is_none() && row.due <= now && row.has_room(&full));
        let due: Vec<Bytes> = due.map(|(row, _)| row.clone()).collect();
        if due.is_empty() {
            return Ok(raised);
        }
        let collections = read::collections(view)?;
        let gathering = Gathering::new(view, &collections)?;
        for row_key in due {
            // What the core answers to one conflict may decide rows of others: those are looked at in the next step.
            if raised.own.is_some() || raised.conflicts.len() >= MOST_AT_ONCE {
                break;
            }
            if self.waiting.get(&row_key).is_none_or(|row| row.question.is_some() || !row.has_room(&full)) {
                continue; // It was raised with another one, or others have taken the last room.
            }
            let Some((collection, key)) = split(&row_key) else { continue };
            let ix = key::split_number(&row_key).map(|(ix, _)| ix);
            let known = collections.iter().find(|known| Some(known.index) == ix && known.id == collection);
            let conflict = known.map(|known| gathering.gather(known, &key)).transpose()?;
            // Its schema may have changed since it was looked at: then it comes along with others at most, as their
            // batches wrote it, and they have turns of their own.
            let is_open = |row: &ConflictedRow| name_of(replica, &row.row).as_ref() == Some(&row_key);
            let conflict = conflict.filter(|conflict| conflict.open().any(is_open));
            let Some(conflict) = conflict else {
                self.waiting.remove(&row_key);
                continue;
            };
            if !self.is_answered(&conflict) {
                self.give_up(replica, &conflict);
                continue;
            }
            let is_own = conflict.open().all(|row| row.policy == Policy::BatchWins);
            if is_own && !raised.conflicts.is_empty() {
                continue; // It is answered in the next step, and may decide some of those.
            }
            if !is_own && conflict.open().any(|row| full.contains(&row.database)) {
                // A batch that wins ties it to what its application has yet to answer.
                let rounds = self.waiting.get(&row_key).map_or(0, |row| row.rounds);
                let due = now + self.turn(rounds + 4);
                self.waiting.get_mut(&row_key).into_iter().for_each(|row| row.due = due);
                continue;
            }
            // Of more rows than are told together those come first which nobody has left open so far.
            let conflict = match known.filter(|_| !is_own && !conflict.is_whole) {
                None => conflict,
                Some(known) => gathering.gather_among(known, &key, |(ix, collection, key)| {
                    let row = self.waiting.get(&key::row(*ix, collection, key));
                    row.is_none_or(|row| !row.is_left)
                })?,
            };
            self.questions += 1;
            for row in conflict.open() {
                if let Some(name) = name_of(replica, &row.row) {
                    let heads = heads_of(view, &name)?;
                    self.is_raised(now, replica, (name, row), heads, is_own);
                }
            }
            full = self.full();
            if is_own {
                raised.own = Some(conflict);
            } else {
                raised.conflicts.push(conflict);
            }
        }
        self.make_room(now);
        Ok(raised)
    }

    /// A row is raised as it is now. It may have changed since it was looked at, or not have been looked at since it split:
    /// the next look shall find nothing new then.
    fn is_raised(
        &mut self,
        now: Mono,
        replica: &Replica,
        (name, row): (Bytes, &ConflictedRow),
        heads: Hash,
        is_own: bool,
    ) {
        let (question, wins) = (Some(self.questions), row.policy == Policy::BatchWins);
        if let Some(known) = self.waiting.get_mut(&name) {
            let is_same = known.heads == heads;
            known.is_left &= is_same;
            known.is_answered &= is_same;
            (known.heads, known.wins, known.question, known.is_own) = (heads, wins, question, is_own);
            return;
        }
        // What the core answers is decided at once. And of what would not be raised by itself nothing is kept.
        let may_write = replica.group(&row.row.syncgroup).is_some_and(|it| Turns::of(replica, it).is_some());
        if is_own || !may_write || !wins && !self.attached.contains(&row.database) {
            return;
        }
        let met = self.met.get(&name).filter(|met| met.until > now).map(|met| met.rounds);
        let (rounds, database) = (met.unwrap_or(0), row.database.clone());
        let (due, is_left, is_answered) = (now, false, false);
        let waiting = Waiting { heads, due, rounds, question, wins, is_own, is_left, is_answered, database };
        self.waiting.insert(name, waiting);
    }
}

/// Conflicts that are going to be raised. Nothing has changed yet: the store may have failed on the way.
pub(crate) struct Raising {
    pub(crate) raiser: Raiser,
    pub(crate) dice: Dice,
    /// The answers to those that the core answers itself.
    pub(crate) effects: Effects,
    /// For the application.
    pub(crate) conflicts: Vec<Conflict>,
}

impl Raising {
    /// Those whose turn has come; `None` before anybody's turn.
    pub(crate) fn plan(
        raiser: &Raiser,
        dice: &Dice,
        replica: &Replica,
        now: Now,
        view: &dyn View,
        is_arriving: impl Fn(GroupIx) -> bool,
    ) -> Result<Option<Self>, Fault> {
        if raiser.deadline().is_none_or(|due| due > now.mono) {
            return Ok(None);
        }
        let (mut raiser, mut dice) = (raiser.clone(), dice.clone());
        let raised = raiser.tick(now.mono, replica, view, is_arriving)?;
        let mut plan = Plan::new(replica, view);
        if let Some(conflict) = &raised.own {
            match whole::answer(&mut plan, now.wall, &mut dice, conflict) {
                Ok(()) => {}
                Err(Stop::Fault(fault)) => return Err(fault),
                // Others may have no such reason, and take their turns; or it passes, and this device answers later.
                Err(Stop::Refused(_)) => {
                    raiser.refused(replica, conflict.open().map(|row| &row.row), now.mono);
                }
            }
        }
        Ok(Some(Self { raiser, dice, effects: plan.finish(), conflicts: raised.conflicts }))
    }
}
