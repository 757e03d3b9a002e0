//! The oracles: what must be true, checked while a run goes on.
//!
//! A [`Watch`] stands beside the replicas. It sees what each one is asked, what it answers and what its store
//! holds; it keeps the [reference model](crate::model); and it stops the run at the first [`Violation`].
//!
//! | oracle | checked | in |
//! |---|---|---|
//! | model | touched rows after each commit, all rows when readers look | `rows` |
//! | causality | after each commit | `knowledge`, `parts` |
//! | durability | at each restart | `process` |
//! | no silent loss | at each restart, and in the end | `process`, `settled` |
//! | convergence | in the end | `settled` |
//! | access | at each admission and removal, and for each generation that a replica comes to hold | `access`, `removals` |
//! | access | when readers look: who is said to have which rights | `rights` |
//! | clocks | at each write, and for each generation that a replica comes to hold | `knowledge`, `access` |
//! | no silent loss | when a device writes again what lay ahead of its clock | `reissue` |
//! | bounds | at each event, and when readers look | `bounds` |
//! | conduct | always: replies, notices, refusals, deadlines, panics | `answers` |
//! | conflicts | when they are raised and answered, when readers look, and in the end | `conflicts`, `questions` |
//! | accounts | when they change, and when readers look | `accounts` |
//! | conduct | when devices call each other, and when it changes whether they let themselves be found | `contact` |
//! | watching | whenever somebody who watches looks | `watching` |

mod access;
mod accounts;
mod answers;
mod bounds;
mod collections;
mod conflicts;
mod contact;
mod forks;
mod knowledge;
mod parts;
mod paused;
mod process;
mod publications;
mod questions;
mod reissue;
mod removals;
mod rights;
mod rows;
pub(crate) mod settled;
mod spec;
mod users;
mod watching;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use driftless::inspect::{self, Entry};
use driftless::store::MemStore;
use driftless::{
    Action, Author, CommitSeq, Core, DeviceId, Hlc, Knowledge, Name, Notice, SyncgroupId, Version, Wall,
    Written,
};
use serde::Serialize;

pub(crate) use self::answers::WriteExpected;
pub(crate) use self::conflicts::Ruling;
use self::parts::Parts;
pub(crate) use self::parts::Patience;
pub(crate) use self::watching::Watcher;
use crate::coverage::Coverage;
use crate::merges::Merges;
use crate::model::{Model, Rolled, Views};
use crate::world::Sabotage;

/// The generation that a replica writes next in a syncgroup. In a log that is not of its device's first key what it says of
/// that comes first.
fn next(core: &Core, group: &SyncgroupId) -> Version {
    let author = core.author();
    let held = core.held(group).unwrap_or_default().get(&author).copied().unwrap_or(0);
    let says_its_key = held == 0 && core.keys().rollovers() > 0;
    Version { author, generation: held + 1 + u64::from(says_its_key) }
}

/// Who noticed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Oracle {
    /// Readers see something else than the reference model.
    Model,
    /// Replicas do not come to agree, or do not come to rest.
    Convergence,
    /// Something that was acknowledged is gone.
    SilentLoss,
    /// An effect without its causes, or a batch in part.
    Causality,
    /// A crash took what it must not take.
    Durability,
    /// Somebody did or has what they may not.
    Access,
    /// A stamp that cannot be.
    Clocks,
    /// Something costs or holds more than it has a reason to.
    Bounds,
    /// A replica does something that an honest one does not do.
    Conduct,
    /// A conflict is raised or answered as it should not be, or stays open.
    Conflicts,
    /// Somebody who watches is told something else than what happened.
    Watching,
    /// An invariant of the embedder's.
    Invariant(String),
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Oracle::Model => "model",
            Oracle::Convergence => "convergence",
            Oracle::SilentLoss => "no silent loss",
            Oracle::Causality => "causality",
            Oracle::Durability => "durability",
            Oracle::Access => "access",
            Oracle::Clocks => "clocks",
            Oracle::Bounds => "bounds",
            Oracle::Conduct => "conduct",
            Oracle::Conflicts => "conflicts",
            Oracle::Watching => "watching",
            Oracle::Invariant(name) => return write!(f, "invariant \"{name}\""),
        })
    }
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{oracle} ({rule}): {what}")]
pub struct Violation {
    /// Who noticed.
    pub oracle: Oracle,
    /// Which rule of the semantics.
    pub rule: &'static str,
    /// At which replicas.
    pub replicas: Vec<usize>,
    /// What was seen, and what should have been.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(oracle: Oracle, rule: &'static str, replica: usize, what: impl Into<String>) -> Self {
        Self { oracle, rule, replicas: vec![replica], what: what.into() }
    }
}

/// The result of a check.
pub(crate) type Checked = Result<(), Violation>;

/// What is held of each syncgroup.
pub(crate) type Held = BTreeMap<SyncgroupId, Knowledge>;

/// A replica as an oracle sees it after it has handled an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) replica: usize,
    pub(crate) core: &'a Core,
    pub(crate) store: &'a MemStore,
    /// What its application has registered.
    pub(crate) merges: &'a Merges,
}

/// What the oracles remember of a replica.
#[derive(Debug, Clone, Default)]
struct Notes {
    /// The author that it writes as.
    author: Option<Author>,
    /// What it held when it was last seen.
    held: Held,
    /// What of it its readers saw.
    shown: Held,
    /// The last commit that it asked for.
    seq: CommitSeq,
    /// The last commit that was reported to it as durable.
    reported: CommitSeq,
    /// What it held after each commit from the last durable one on.
    after: VecDeque<(CommitSeq, Held)>,
    /// What it wrote itself in commits that are not durable.
    wrote: VecDeque<(CommitSeq, SyncgroupId, Version)>,
    /// The databases that are paused for sure, with all that it had written when they became so.
    paused: BTreeMap<Name, Held>,
    /// The database of each syncgroup.
    databases: BTreeMap<SyncgroupId, Name>,
    /// The collections that each syncgroup had.
    collections: BTreeMap<SyncgroupId, Vec<Name>>,
    /// What it has done to reach others since it started.
    contacts: contact::Contacts,
    /// What its resolver was asked.
    questions: questions::Questions,
    /// What readers were told of each of its commits.
    told: watching::Told,
    /// What its clock shows.
    clock: Wall,
    /// Until when what leaves it may have been put together by another clock: that was set.
    clock_was_set: u64,
    /// The greatest stamp that it has given or taken: what it gives follows that (S-7).
    highest: Hlc,
}

/// What has become of a replica, so that less can be asked of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fate {
    /// It does not keep to the protocol.
    hostile: bool,
    /// It is not there any more.
    vanished: bool,
    /// Its disk was set back to an old copy, or to nothing.
    set_back: bool,
    /// Its driver did not notice: it went on as the author that it was.
    unnoticed: Option<Author>,
    /// Its disk was lost: it knows of no syncgroup unless it joins again.
    lost_all: bool,
}

impl Fate {
    /// Whether it is not there, or not what others take it for.
    pub(crate) fn is_changed(self) -> bool {
        self.hostile || self.vanished || self.set_back
    }
}

/// The oracles of a run.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    model: Model,
    notes: Vec<Notes>,
    devices: Vec<DeviceId>,
    fates: Vec<Fate>,
    /// Invitations that were shown.
    shown: Vec<access::Shown>,
    /// What devices were offered, each with the attempts of which it may be one: those before it was first told of.
    invited: Vec<publications::Invited>,
    /// Who has declined which attempts, offered by whom.
    declined: BTreeSet<(SyncgroupId, DeviceId, DeviceId, Version)>,
    /// Generations that were made by other means than a core.
    made: BTreeSet<(SyncgroupId, Version)>,
    /// Those of them that are said to be by another device than by which they were made.
    stolen: BTreeSet<(SyncgroupId, Version)>,
    /// Departures of others, and who has held them at some time.
    heard: BTreeSet<(SyncgroupId, Version, usize)>,
    /// What was written again, and what it is called since.
    again: BTreeMap<(SyncgroupId, Version), Version>,
    /// What was taken back and not written again, as it did not count.
    dropped: BTreeSet<(SyncgroupId, Version)>,
    /// Of logs that are forked, and the authors as which their devices write branches of them again: up to where they have.
    repeated: BTreeMap<(SyncgroupId, Author, Author), u64>,
    /// Of each author as which a device went on then, how many batches it has written again, and how many generations of
    /// others it has dropped.
    reissued: BTreeMap<Author, (usize, usize)>,
    /// What is said of keys in what was just written.
    rolled: BTreeMap<(SyncgroupId, Version), Rolled>,
    /// Generations that were judged.
    judged: BTreeSet<(SyncgroupId, Version)>,
    /// Parts of batches that were acknowledged as safe, with the replica that wrote them.
    safe: BTreeSet<(SyncgroupId, Version, usize)>,
    /// How many batches these are of.
    acknowledged: u64,
    /// Batches over several syncgroups.
    parts: Parts,
    /// The fastest clock of all replicas.
    fastest: Wall,
    /// What a replica has held back since it was too far ahead of its clock: of which log, and what it held of it then.
    held_back: BTreeMap<(usize, SyncgroupId, Author), u64>,
    /// The greatest stamp that any replica has taken: clocks follow it.
    greatest: Hlc,
    /// What is broken on purpose.
    sabotage: Option<Sabotage>,
    batches: u64,
    /// Batches over several syncgroups, to tell them apart; and the one being written.
    serial: u64,
    batch: Option<u64>,
    /// What replicas wrote by themselves in the last event.
    unasked: conflicts::Unasked,
    /// By how much clocks were ever apart, or a stamp was ahead of the clock of whoever gave it, in milliseconds.
    most_apart: u64,
    /// The generations that are answers to conflicts.
    resolutions: BTreeSet<(SyncgroupId, Version)>,
    /// How often each row was resolved since the faults ended.
    resolved: BTreeMap<(SyncgroupId, crate::model::RowKey), u64>,
    healed: bool,
    /// Of how many commits it is kept what they changed, if fewer than usual.
    watch_log: Option<u64>,
    /// How much of some things a replica takes.
    limits: driftless::Limits,
    /// The rows are an application's, so none of them is an account of the simulator's.
    has_app: bool,
}

impl Watch {
    pub(crate) fn new(
        devices: Vec<DeviceId>,
        hostile: &[usize],
        watch_log: Option<u64>,
        sabotage: Option<Sabotage>,
    ) -> Self {
        let replicas = devices.len();
        let fate = |replica| Fate { hostile: hostile.contains(&replica), ..Fate::default() };
        Self {
            model: Model::default(),
            notes: vec![Notes::default(); replicas],
            fates: (0..replicas).map(fate).collect(),
            devices,
            shown: Vec::new(),
            invited: Vec::new(),
            declined: BTreeSet::new(),
            made: BTreeSet::new(),
            stolen: BTreeSet::new(),
            heard: BTreeSet::new(),
            dropped: BTreeSet::new(),
            again: BTreeMap::new(),
            repeated: BTreeMap::new(),
            reissued: BTreeMap::new(),
            rolled: BTreeMap::new(),
            judged: BTreeSet::new(),
            safe: BTreeSet::new(),
            acknowledged: 0,
            parts: Parts::new(replicas),
            fastest: Wall::default(),
            most_apart: 0,
            held_back: BTreeMap::new(),
            greatest: Hlc::default(),
            sabotage,
            batches: 0,
            serial: 0,
            batch: None,
            unasked: conflicts::Unasked::new(),
            resolutions: BTreeSet::new(),
            resolved: BTreeMap::new(),
            healed: false,
            watch_log,
            limits: driftless::Limits::default(),
            has_app: false,
        }
    }

    /// The rows are an application's, with merges of its own.
    pub(crate) fn has_app(&mut self, merges: Merges) {
        self.has_app = true;
        self.model.merges = merges;
    }

    /// The clock of a replica shows this.
    pub(crate) fn shows_time(&mut self, replica: usize, wall: Wall) {
        self.notes[replica].clock = wall;
    }

    /// Clocks of those who keep to the protocol are apart by so many milliseconds, or a stamp and its clock are.
    pub(crate) fn are_apart(&mut self, millis: u64) {
        self.most_apart = self.most_apart.max(millis);
    }

    /// The moment at which what a replica writes next is stamped.
    fn moment(&self, core: &Core) -> Option<Wall> {
        let clock = self.clock_of(core.author().device)?;
        Some(Hlc::after(core.last_stamp(), clock).wall())
    }

    fn clock_of(&self, device: DeviceId) -> Option<Wall> {
        let at = self.devices.iter().position(|it| *it == device)?;
        Some(self.notes[at].clock)
    }

    /// Some wall clock shows this, as the plan has it.
    pub(crate) fn clock(&mut self, wall: Wall) {
        self.fastest = self.fastest.max(wall);
    }

    /// What a replica held when it was last seen.
    pub(crate) fn held(&self, replica: usize) -> &Held {
        &self.notes[replica].held
    }

    /// How many batches were acknowledged as safe.
    pub(crate) fn safe_batches(&self) -> u64 {
        self.acknowledged
    }

    /// How many parts these have, one in each syncgroup.
    pub(crate) fn safe_parts(&self) -> u64 {
        self.safe.len() as u64
    }

    /// A replica has handled an event, and its commit, if there was one, is applied.
    pub(crate) fn handled(
        &mut self,
        seen: Seen<'_>,
        wall: Wall,
        patience: Patience,
        actions: &[Action],
        expected: Option<&WriteExpected>,
        coverage: &mut Coverage,
    ) -> Checked {
        let committed = self.commits(seen.replica, actions)?;
        let parts = self.answers(seen, wall, actions, expected, coverage)?;
        let was_asked_to = expected.and_then(|it| it.reissues.or(it.rotates));
        let goes_on_as_another = was_asked_to.is_some_and(|before| before != seen.core.author());
        let is_reissue = goes_on_as_another && expected.is_some_and(|it| it.reissues.is_some());
        if goes_on_as_another {
            self.notes[seen.replica].author = Some(seen.core.author());
        }
        self.find_keys(seen, actions)?;
        self.same_author(seen, actions, coverage)?;
        if !committed {
            if let Some(expected) = expected {
                self.said(seen.replica, expected, actions)?;
            }
            return match parts.first() {
                Some(part) => Err(Violation::new(
                    Oracle::Conduct,
                    "S-4",
                    seen.replica,
                    format!("{:?} is said to be written, but nothing was committed", part.version),
                )),
                None => Ok(()),
            };
        }
        let (held, shown) = (held(seen.core), shown(seen.core));
        let before = std::mem::replace(&mut self.notes[seen.replica].held, held.clone());
        let before_shown = std::mem::replace(&mut self.notes[seen.replica].shown, shown.clone());
        let was = Views { shown: &before_shown, held: &before };
        let again = match is_reissue {
            true => self.written_again(seen, wall, was, actions, coverage)?,
            false => Vec::new(),
        };
        self.sees_stamps(seen.replica, &before, &held);
        if is_reissue || is_less(&before, &held) {
            self.forgets_questions(seen.replica);
        }
        let notices: Vec<&Notice> = actions.iter().filter_map(notice).collect();
        if !is_reissue {
            self.gave_up(seen.replica, &before, &held, &notices)?;
        }
        self.count_forks(seen.replica, &notices, coverage);
        self.branch_again(seen, &notices, actions, coverage)?;
        self.batch = (parts.len() > 1).then(|| self.next_batch());
        self.unasked.clear();
        let mut batches = if is_reissue { again } else { vec![parts] };
        if expected.is_none() {
            batches.extend(self.own_answers(seen, was, &shown, coverage)?);
        }
        if !is_reissue {
            self.take_note(seen, wall, was, &shown, (&batches.concat(), actions), expected)?;
        }
        if let Some(expected) = expected {
            self.said(seen.replica, expected, actions)?;
        }
        self.causality(seen.replica, &held, coverage)?;
        self.causality(seen.replica, &shown, coverage)?;
        self.access(seen, wall, &before, &held, coverage)?;
        self.pauses(seen, &before, &held, coverage)?;
        self.whole_batches(seen, patience, &before_shown, &batches, actions, coverage)?;
        self.changed_rows(seen, was, actions, coverage)?;
        self.told(seen, (&before_shown, &shown), (&before, &held), actions)?;
        let notes = &mut self.notes[seen.replica];
        notes.after.push_back((notes.seq, held));
        let groups = seen.core.syncgroups();
        notes.collections = groups.iter().map(|info| (info.id, info.collections.clone())).collect();
        notes.databases = groups.into_iter().map(|info| (info.id, info.database)).collect();
        Ok(())
    }

    /// What a replica says of its key in what it has written.
    fn find_keys(&mut self, seen: Seen<'_>, actions: &[Action]) -> Checked {
        self.rolled.clear();
        for action in actions {
            let Action::Commit(commit) = action else { continue };
            let device = self.devices[seen.replica];
            for (group, version, content) in
                inspect::generations(commit, seen.store).map_err(rows::fault(seen))?
            {
                if version.author.device != device || version.generation != 1 {
                    continue;
                }
                for entry in &content.entries {
                    let Entry::Rollover { chain, until: said } = entry else { continue };
                    let mut until = Knowledge::new();
                    for (incarnation, last) in said {
                        let stays = until.entry(Author { device, incarnation: *incarnation }).or_default();
                        *stays = (*stays).max(*last);
                    }
                    self.rolled
                        .insert((group, version), Rolled { keys: chain.keys().skip(1).collect(), until });
                }
            }
        }
        Ok(())
    }

    /// What was just said of keys, for the model.
    fn word_on_keys(&mut self, group: SyncgroupId, version: Version) -> Option<Rolled> {
        let said = self.rolled.remove(&(group, version));
        said.filter(|_| !self.withholds_rollovers())
    }

    /// What a replica held and showed when it was last seen.
    fn views(&self, replica: usize) -> Views<'_> {
        Views { shown: &self.notes[replica].shown, held: &self.notes[replica].held }
    }

    /// Tells batches over several syncgroups apart.
    fn next_batch(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Whether there was a commit: at most one for each event, numbered without gaps.
    fn commits(&mut self, replica: usize, actions: &[Action]) -> Result<bool, Violation> {
        let notes = &mut self.notes[replica];
        let mut committed = false;
        for action in actions {
            let Action::Commit(commit) = action else { continue };
            let wrong = |what: String| Violation::new(Oracle::Conduct, "S-10", replica, what);
            if committed {
                return Err(wrong(format!("two commits for one event, the second is {:?}", commit.seq)));
            }
            if commit.seq.0 != notes.seq.0 + 1 {
                return Err(wrong(format!("commit {} follows commit {}", commit.seq.0, notes.seq.0)));
            }
            let mut keys = BTreeSet::new();
            if let Some(twice) = commit.writes.iter().find(|write| !keys.insert((write.table, &write.key))) {
                let (table, key) = (twice.table.name(), &twice.key);
                return Err(wrong(format!("commit {} writes {table} {key:?} twice", commit.seq.0)));
            }
            notes.seq = commit.seq;
            committed = true;
        }
        Ok(committed)
    }

    /// A commit was reported to a replica as durable.
    pub(crate) fn reported(&mut self, replica: usize, seq: CommitSeq) {
        let notes = &mut self.notes[replica];
        notes.reported = notes.reported.max(seq);
        while notes.after.get(1).is_some_and(|(next, _)| *next <= seq) {
            notes.after.pop_front();
        }
        while notes.wrote.front().is_some_and(|(by, ..)| *by <= seq) {
            notes.wrote.pop_front();
        }
    }

    /// Whether a replica held something when it was last seen.
    fn held_by(&self, replica: usize, group: &SyncgroupId, version: &Version) -> bool {
        self.notes[replica].held.get(group).is_some_and(|held| crate::model::holds(held, version))
    }
}

/// Whether less is held than before of anything: something was taken back, or given up.
fn is_less(before: &Held, held: &Held) -> bool {
    before.iter().any(|(group, before)| {
        let now = held.get(group);
        before.iter().any(|(author, last)| now.and_then(|now| now.get(author)).is_none_or(|now| now < last))
    })
}

/// What a core says that it holds.
pub(crate) fn held(core: &Core) -> Held {
    let groups = core.syncgroups();
    groups.iter().filter_map(|group| Some((group.id, core.held(&group.id)?))).collect()
}

/// What a core says that its readers see.
pub(crate) fn shown(core: &Core) -> Held {
    let groups = core.syncgroups();
    groups.iter().filter_map(|group| Some((group.id, core.knowledge(&group.id)?))).collect()
}

/// The part of a batch that a syncgroup got.
fn part<'a>(parts: &'a [Written], group: &SyncgroupId, version: &Version) -> Option<&'a Written> {
    parts.iter().find(|part| part.syncgroup == *group && part.version == *version)
}

fn notice(action: &Action) -> Option<&Notice> {
    if let Action::Notice(notice) = action { Some(notice) } else { None }
}
