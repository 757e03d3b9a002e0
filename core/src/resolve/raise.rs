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
//! are a new conflict, and the turns get twice as long: as soon as a turn is longer than a resolution takes to
//! arrive, whoever comes first is the only one. So a conflict among resolvers that always answer ends after
//! at most about log2(delay / [`Timing::resolve`](crate::Timing::resolve)) rounds.
//!
//! Which conflicts are open stands in the store; what is kept here is only whose turn it is, and bounded.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::conflict::{Conflict, ConflictedRow};
use super::{Policy, whole};
use crate::dice::Dice;
use crate::event::RowRef;
use crate::hash::{self, Hash};
use crate::id::{CollectionId, Name};
use crate::object::RowState;
use crate::read::{self, Gathering};
use crate::replica::load::entries;
use crate::replica::plan::{Effects, Plan};
use crate::replica::stored::corrupt;
use crate::replica::{Replica, Stop};
use crate::store::key::{self, GroupIx};
use crate::store::{Fault, Scan, Table, View};
use crate::syncgroup::Rights;
use crate::syncgroup::group::{Group, Stage};
use crate::time::{Millis, Mono, Now};
use crate::wire::codec::DecodeError;

/// Rows of a database that wait for a turn or an answer of its application, or of the core, at most; further ones
/// wait in the store.
const MOST_WAITING: usize = 1_024;
/// Rows of a database that are raised to its application and not answered, at most: one that does not answer keeps
/// nobody else from being asked.
const MOST_RAISED: usize = 64;
/// Conflicts raised in one step, at most.
const MOST_AT_ONCE: usize = 16;
/// No device waits for more turns than this.
const MOST_TURNS: u64 = 16;
/// How long it is remembered of a row that has come together how often its resolutions have met: longer than one is
/// on its way between devices that reach each other. After longer silence the turns begin anew, and double again.
const REMEMBERED: Millis = Millis(10 * 60 * 1_000);
/// The turns double no more often than this.
const MOST_DOUBLINGS: u32 = 12;

/// A row whose conflict is known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    heads: Hash,
    /// When it is this device's turn.
    due: Mono,
    /// How often resolutions have met.
    rounds: u32,
    raised: bool,
    /// The core answers, unless the row is tied to others that it does not decide.
    is_own: bool,
    /// An answer has left it open: nothing is waited for any more.
    is_left: bool,
    database: Name,
}

impl Waiting {
    /// Whether there is room for it among what is raised.
    fn has_room(&self, full: &BTreeSet<Name>) -> bool {
        self.is_own || !full.contains(&self.database)
    }
}

/// A row that has come together: what comes apart again soon is the same conflict going on.
#[derive(Debug, Clone, Copy)]
struct Met {
    rounds: u32,
    until: Mono,
}

/// A look that is due.
#[derive(Debug, Clone, Copy)]
struct Look {
    due: Mono,
    /// Also at those that were left open.
    deferred: bool,
}

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
    more: BTreeMap<GroupIx, Look>,
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
        let look = Look { due: Mono(0), deferred: false };
        let looks = groups.map(|ix| (ix, look)).collect();
        Self {
            settle,
            turn,
            attached: BTreeSet::new(),
            looks,
            waiting: BTreeMap::new(),
            met: BTreeMap::new(),
            more: BTreeMap::new(),
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
            if attached && group.record.stage == Stage::Active {
                self.looks.insert(*ix, Look { due: now, deferred: true });
            }
        }
    }

    /// Rows of a syncgroup have split, or come together.
    pub(crate) fn touched(&mut self, ix: GroupIx, now: Mono) {
        self.tied.insert(ix);
        self.look_at_tied(now);
    }

    fn look_at_tied(&mut self, now: Mono) {
        let look = Look { due: now + self.settle, deferred: false };
        for ix in core::mem::take(&mut self.tied) {
            self.looks.entry(ix).or_insert(look);
        }
    }

    /// A row has come together. That makes room for others.
    pub(crate) fn closed(&mut self, row: &Bytes, now: Mono) {
        self.look_at_tied(now);
        let Some(known) = self.waiting.remove(row) else { return };
        if self.met.len() >= MOST_WAITING {
            self.met.retain(|_, met| met.until > now);
        }
        // Of still more rows it is forgotten: their turns begin anew.
        if self.met.len() < MOST_WAITING {
            self.met.insert(row.clone(), Met { rounds: known.rounds, until: now + REMEMBERED });
        }
        let like = |row: &&Waiting| row.is_own == known.is_own && row.database == known.database;
        if !self.more.is_empty() && self.waiting.values().filter(like).count() < MOST_WAITING / 2 {
            for (ix, look) in core::mem::take(&mut self.more) {
                self.looks.insert(ix, Look { due: now, ..look });
            }
        }
    }

    /// An answer was refused: what it was about is raised again, later and later, since nothing may be as wrong as
    /// the resolver.
    pub(crate) fn refused<'r>(
        &mut self,
        replica: &Replica,
        rows: impl Iterator<Item = &'r RowRef>,
        now: Mono,
    ) {
        for row in rows {
            let Some(name) = name_of(replica, row) else { continue };
            if let Some(waiting) = self.waiting.get_mut(&name).filter(|waiting| waiting.raised) {
                waiting.rounds += 1;
                waiting.due = now + Millis(self.turn.0 << waiting.rounds.min(MOST_DOUBLINGS));
                waiting.raised = false;
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        let looks = self.looks.values().map(|look| look.due);
        let full = self.full();
        let turns = self.waiting.values().filter(|row| !row.raised && row.has_room(&full));
        looks.chain(turns.map(|row| row.due)).min()
    }

    /// The databases whose applications have been asked enough.
    fn full(&self) -> BTreeSet<Name> {
        let mut asked: BTreeMap<&Name, usize> = BTreeMap::new();
        for row in self.waiting.values().filter(|row| row.raised && !row.is_own && !row.is_left) {
            *asked.entry(&row.database).or_default() += 1;
        }
        let full = asked.into_iter().filter(|(_, asked)| *asked >= MOST_RAISED);
        full.map(|(database, _)| database.clone()).collect()
    }

    /// An answer was taken: rows that it leaves open wait for nobody.
    pub(crate) fn answered<'r>(&mut self, replica: &Replica, rows: impl Iterator<Item = &'r RowRef>) {
        for name in rows.filter_map(|row| name_of(replica, row)) {
            if let Some(row) = self.waiting.get_mut(&name) {
                row.is_left = true;
            }
        }
    }

    /// Looks, and raises what is due. `is_arriving` says whether more of a syncgroup is on its way.
    pub(crate) fn tick(
        &mut self,
        now: Mono,
        replica: &Replica,
        view: &dyn View,
        is_arriving: impl Fn(GroupIx) -> bool,
    ) -> Result<Raised, Fault> {
        let due: Vec<_> =
            self.looks.iter().filter(|(_, look)| look.due <= now).map(|(ix, l)| (*ix, *l)).collect();
        for (ix, look) in due {
            if is_arriving(ix) {
                self.looks.insert(ix, Look { due: now + self.settle, ..look });
                continue;
            }
            self.looks.remove(&ix);
            if let Some(group) = replica.groups.get(&ix) {
                self.look(now, replica, group, look.deferred, view)?;
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
        deferred: bool,
        view: &dyn View,
    ) -> Result<(), Fault> {
        let all = key::number(group.ix);
        let mut gone: BTreeSet<Bytes> =
            self.waiting.keys().filter(|row| row.starts_with(&all)).cloned().collect();
        let turn = Turns::of(replica, group);
        let end = group.ix.checked_add(1).map(key::number);
        let database = &group.record.database;
        let waiting = |own: bool| {
            let here = self.waiting.values().filter(|row| row.is_own == own && row.database == *database);
            here.count()
        };
        let (mut others, mut own) = (waiting(false), waiting(true));
        if let Some(turn) = turn {
            for (row_key, _) in entries(view, &Scan::range(Table::Conflict, &all, end.as_deref()))? {
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
                let is_own = *policy == Policy::BatchWins;
                let alike = if is_own { &mut own } else { &mut others };
                if !is_known && *alike >= MOST_WAITING {
                    self.more.insert(group.ix, Look { due: now, deferred });
                    continue;
                }
                gone.remove(&row_key);
                let heads = heads_of(view, &row_key)?;
                let known = self.waiting.get(&row_key);
                if known.is_some_and(|row| row.heads == heads) {
                    continue;
                }
                let met = self.met.get(&row_key).filter(|met| met.until > now).map(|met| met.rounds + 1);
                let rounds = known.map(|row| row.rounds + 1).or(met).unwrap_or(0);
                let wait = self.turn.0 << rounds.min(MOST_DOUBLINGS);
                let due = now + Millis(wait.saturating_mul(turn.before(&heads)));
                *alike += usize::from(!is_known);
                let database = database.clone();
                let row = Waiting { heads, due, rounds, raised: false, is_own, is_left: false, database };
                self.waiting.insert(row_key, row);
            }
        }
        self.waiting.retain(|row, _| !gone.contains(row));
        Ok(())
    }

    /// Whether there is anybody to answer. Where batches win as a whole the core is, but not for rows that they
    /// tie to others which are the application's to decide: those wait for its resolver.
    fn is_answered(&self, conflict: &Conflict) -> bool {
        let mut others = conflict.open().filter(|row| row.policy != Policy::BatchWins).peekable();
        others.peek().is_none() || others.any(|row| self.attached.contains(&row.database))
    }

    /// Raises the conflicts whose turn has come.
    fn raise(&mut self, now: Mono, replica: &Replica, view: &dyn View) -> Result<Raised, Fault> {
        let mut raised = Raised::default();
        let mut full = self.full();
        let due = self.waiting.iter().filter(|(_, row)| !row.raised && row.due <= now && row.has_room(&full));
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
            if self.waiting.get(&row_key).is_none_or(|row| row.raised || !row.has_room(&full)) {
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
            let Some(conflict) = conflict.filter(|conflict| self.is_answered(conflict)) else {
                let given_up = self.waiting.remove(&row_key).filter(|row| row.is_own);
                self.tied.extend(given_up.and(ix));
                continue;
            };
            let is_own = conflict.open().all(|row| row.policy == Policy::BatchWins);
            if is_own && !raised.conflicts.is_empty() {
                continue; // It is answered in the next step, and may decide some of those.
            }
            if !is_own && conflict.open().any(|row| full.contains(&row.database)) {
                // A batch that wins ties it to what its application has yet to answer.
                if let Some(row) = self.waiting.get_mut(&row_key) {
                    row.due = now + Millis(self.turn.0 << MOST_DOUBLINGS.min(row.rounds + 4));
                }
                continue;
            }
            for row in conflict.open() {
                let Some(name) = name_of(replica, &row.row) else { continue };
                if let Some(waiting) = self.waiting.get_mut(&name) {
                    (waiting.raised, waiting.is_own) = (true, is_own);
                }
            }
            full = self.full();
            if is_own {
                raised.own = Some(conflict);
            } else {
                raised.conflicts.push(conflict);
            }
        }
        Ok(raised)
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

/// Whose turn it is: the members that may write, in the order of their names.
struct Turns {
    own: u64,
    members: u64,
}

impl Turns {
    /// `None` if this device may not write, so that it is never its turn.
    fn of(replica: &Replica, group: &Group) -> Option<Self> {
        if group.record.stage != Stage::Active {
            return None;
        }
        let writers = group.metadata.access.joined().filter(|(_, rights)| *rights >= Rights::Write);
        let (mut own, mut members) = (None, 0);
        for (device, _) in writers {
            if *device == replica.keys.device {
                own = Some(members);
            }
            members += 1;
        }
        Some(Self { own: own?, members })
    }

    /// How many others come first for a conflict.
    fn before(&self, heads: &Hash) -> u64 {
        let first = u64::from_le_bytes(*heads.prefix::<8>()) % self.members;
        ((self.own + self.members - first) % self.members).min(MOST_TURNS)
    }
}

fn name_of(replica: &Replica, row: &RowRef) -> Option<Bytes> {
    let group = replica.group(&row.syncgroup)?;
    Some(key::row(group.ix, &CollectionId::of(&row.collection), &row.key))
}

fn split(row_key: &Bytes) -> Option<(CollectionId, Bytes)> {
    let (_, rest) = key::split_number(row_key)?;
    let id = CollectionId(*rest.first_chunk()?);
    Some((id, row_key.slice(key::ROW_PREFIX..)))
}

/// A hash of a row's heads: the same on every device, whatever their local numbers.
fn heads_of(view: &dyn View, row_key: &Bytes) -> Result<Hash, Fault> {
    let Some(bytes) = view.get(Table::Row, row_key)? else { return Ok(Hash::default()) };
    let state = RowState::from_bytes(bytes).map_err(|error| corrupt(Table::Row, error))?;
    let mut all = Vec::with_capacity(32 * state.heads.len());
    for head in &state.heads {
        let bytes = view.get(Table::Author, &key::number(head.author))?;
        let missing = DecodeError { what: "an author" };
        all.extend_from_slice(&bytes.ok_or_else(|| corrupt(Table::Author, missing))?);
        all.extend_from_slice(&head.generation.to_le_bytes());
    }
    Ok(hash::derive(hash::HEADS, &[&all]))
}
