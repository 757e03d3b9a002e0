//! Who breaks things: the places in the world where a defect can be, and what it must remember for that.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use driftless::read;
use driftless::store::{Commit, Table, Write};
use driftless::{
    Action, Command, Conflict, LocalWrite, Notice, Outcome, Refusal, RequestId, Rights, Rule, inspect,
};

use super::Sabotage;
use crate::model::{Content, RowKey};
use crate::oracle::WriteExpected;
use crate::plan::Fate;
use crate::world::network::Passage;
use crate::world::replica::{Question, Replica};

/// The longest frame that a network with [`Sabotage::CutsLargeFrames`] carries.
const LARGEST_FRAME: usize = 1_400;
/// What a frame may have before [`Sabotage::LosesCredit`] forgets it.
const LARGEST_CREDITED: u64 = 1_000;
/// From this time on, in milliseconds, a sync is slow.
const SLOW_SYNC: u64 = 1_000;
const TWO_DAYS: i64 = 48 * 3_600_000;

/// One defect in one run.
#[derive(Debug)]
pub(crate) struct Saboteur {
    pub(crate) kind: Sabotage,
    /// From whom to whom nothing gets through any more.
    dead: BTreeSet<(usize, usize)>,
    /// Between whom no link comes about any more, the lower first.
    shunned: BTreeSet<(usize, usize)>,
    /// How often each replica has crashed.
    crashes: BTreeMap<usize, u32>,
    /// How often each row of each store was written.
    versions: BTreeMap<(usize, Bytes), u32>,
    /// Who has made a syncgroup.
    creators: BTreeSet<usize>,
}

impl Saboteur {
    pub(crate) fn new(kind: Sabotage) -> Self {
        Self {
            kind,
            dead: BTreeSet::new(),
            shunned: BTreeSet::new(),
            crashes: BTreeMap::new(),
            versions: BTreeMap::new(),
            creators: BTreeSet::new(),
        }
    }

    /// A process dies, with these others on the other side of a cut.
    pub(crate) fn crash(&mut self, replica: &mut Replica, apart: &[usize]) {
        let index = replica.index;
        *self.crashes.entry(index).or_default() += 1;
        match self.kind {
            Sabotage::ForgetsDurable => {
                replica.disk.forget_durable();
            }
            Sabotage::ShunsWhoCrashedApart => {
                self.shunned.extend(apart.iter().map(|other| (index.min(*other), index.max(*other))));
            }
            _ => {}
        }
    }

    /// Whether the rows of the last commit that survives a crash are lost.
    pub(crate) fn tears(&self) -> bool {
        self.kind == Sabotage::TearsCommits
    }

    /// A process has started.
    pub(crate) fn booted(&self, replica: &mut Replica) {
        if self.kind == Sabotage::WakesInTheFuture && replica.boots > 1 {
            replica.clock.set_ahead(TWO_DAYS);
        }
    }

    /// Applies a commit, or something like it.
    pub(crate) fn commit(&mut self, replica: &mut Replica, commit: &Commit) {
        let row = commit.writes.iter().position(|write| write.table == Table::Row && write.value.is_some());
        let mut changed = commit.clone();
        let lost = match self.kind {
            Sabotage::LosesSchemas => Some(Table::Schema),
            Sabotage::LosesChanges => Some(Table::Change),
            _ => None,
        };
        changed.writes.retain(|write| Some(write.table) != lost);
        match (self.kind, row) {
            (Sabotage::CorruptsRows, Some(row)) => {
                let value = changed.writes[row].value.take().map(|value| flip(&value));
                changed.writes[row].value = value;
            }
            (Sabotage::LosesARow, Some(row)) => {
                changed.writes.remove(row);
            }
            (Sabotage::KeepsTheOldRow, _) => {
                changed.writes.retain(|write| write.table != Table::Row || !self.third(replica.index, write));
            }
            (Sabotage::DropsThreeHeads, Some(_)) => drop_three_heads(replica, &mut changed),
            _ => {}
        }
        replica.disk.apply(&changed);
    }

    /// Whether this is the third version of a row.
    fn third(&mut self, replica: usize, write: &Write) -> bool {
        let versions = self.versions.entry((replica, write.key.clone())).or_default();
        *versions += 1;
        *versions == 3
    }

    /// Whether commits are reported as durable at once, although the sync takes its time.
    pub(crate) fn lies(&self, sync_ms: u64) -> bool {
        match self.kind {
            Sabotage::DurableTooEarly => true,
            Sabotage::SlowSyncsLie => sync_ms >= SLOW_SYNC,
            _ => false,
        }
    }

    /// Whether a process says that it has stopped while commits are at risk.
    pub(crate) fn stops_too_early(&self, replica: &Replica) -> bool {
        self.kind == Sabotage::StopsTooEarly && replica.core.is_some() && replica.disk.at_risk() > 0
    }

    /// What becomes of a frame on its way; `nth` counts all frames of the run.
    pub(crate) fn frame(
        &mut self,
        nth: u64,
        pair: (usize, usize),
        passage: &mut Passage,
        frame: &Bytes,
    ) -> Bytes {
        let late = matches!(passage.fate, Fate::Late(_));
        match self.kind {
            Sabotage::AltersFrames if nth.is_multiple_of(10) => return flip(frame),
            Sabotage::AltersLateFrames if late => return flip(frame),
            Sabotage::CutsLargeFrames if frame.len() > LARGEST_FRAME => return frame.slice(..LARGEST_FRAME),
            Sabotage::LosesOffers if matches!(inspect::frame(frame), Some(inspect::Frame::Publish(_))) => {
                passage.arrivals.clear();
            }
            Sabotage::DiesOfALoss => {
                if passage.fate == Fate::Lose {
                    self.dead.insert(pair);
                }
                if self.dead.contains(&pair) {
                    passage.arrivals.clear();
                }
            }
            _ => {}
        }
        frame.clone()
    }

    /// A frame as it arrives for the second time.
    pub(crate) fn second_copy(&self, frame: Bytes) -> Bytes {
        if self.kind == Sabotage::AltersSecondCopies { flip(&frame) } else { frame }
    }

    /// Whether the credit for a frame of so many bytes is lost.
    pub(crate) fn keeps_credit(&self, bytes: u64) -> bool {
        self.kind == Sabotage::LosesCredit && bytes > LARGEST_CREDITED
    }

    /// Whether cuts in one direction stay.
    pub(crate) fn keeps_one_way_cuts(&self) -> bool {
        self.kind == Sabotage::NeverHealsOneWay
    }

    pub(crate) fn unreachable(&self, from: usize, to: usize) -> bool {
        let crashed_twice = |it: usize| self.crashes.get(&it).is_some_and(|crashes| *crashes > 1);
        match self.kind {
            Sabotage::Isolates => from == 0 || to == 0,
            Sabotage::ShunsWhoCrashedTwice => crashed_twice(from) || crashed_twice(to),
            Sabotage::ShunsWhoCrashedApart => self.shunned.contains(&(from.min(to), from.max(to))),
            Sabotage::OnlyCreatorsCall => !self.creators.contains(&from) && !self.creators.contains(&to),
            _ => false,
        }
    }

    /// Whether drivers take former keys for present ones.
    pub(crate) fn takes_former_keys(&self) -> bool {
        self.kind == Sabotage::TakesFormerKeys
    }

    /// Whether a driver goes on announcing a device that does not want to be found.
    pub(crate) fn keeps_announcing(&self) -> bool {
        self.kind == Sabotage::KeepsAnnouncing
    }

    /// Whether people write on a device that was set back before it has heard of itself.
    pub(crate) fn uses_too_soon(&self) -> bool {
        self.kind == Sabotage::UsesTooSoon
    }

    /// What a driver makes of a batch before it passes it on.
    pub(crate) fn batch(&self, mut batch: LocalWrite, expected: &WriteExpected) -> LocalWrite {
        match self.kind {
            Sabotage::IgnoresPreconditions => batch.preconditions.clear(),
            Sabotage::DeletesByEmptying => {
                for change in &mut batch.changes {
                    let row =
                        RowKey { collection: change.row.collection.clone(), key: change.row.key.clone() };
                    let rows = expected.rows.get(&change.row.syncgroup);
                    if rows.and_then(|rows| rows.get(&row)) == Some(&Content::Delete) {
                        change.edit = driftless::Edit::Put(Bytes::new());
                    }
                }
            }
            Sabotage::SplitsBatches => {
                if let Some(first) = batch.changes.first().map(|change| change.row.syncgroup) {
                    batch.changes.retain(|change| change.row.syncgroup == first);
                }
            }
            _ => {}
        }
        batch
    }

    /// A conflict as the application gets it, as often as it does.
    pub(crate) fn raised(&self, mut conflict: Conflict) -> Vec<Conflict> {
        if self.kind == Sabotage::HidesAHead
            && let Some(row) = conflict.rows.first_mut()
        {
            row.heads.pop();
        }
        let times = if self.kind == Sabotage::AsksTwice { 2 } else { 1 };
        vec![conflict; times]
    }

    /// Whether answers of resolvers get lost.
    pub(crate) fn drops_answers(&self) -> bool {
        self.kind == Sabotage::DropsAnswers
    }

    /// Whether tellers write on top of conflicts.
    pub(crate) fn rushes_tellers(&self) -> bool {
        self.kind == Sabotage::RushesTellers
    }

    /// A transfer as a driver passes it on.
    pub(crate) fn transfer(&self, batch: &mut LocalWrite) {
        if self.kind == Sabotage::TearsTransfers {
            batch.changes.truncate(1);
        }
    }

    /// What a core tells, as the driver passes it on.
    pub(crate) fn told(&self, actions: &mut Vec<Action>) {
        match self.kind {
            Sabotage::HidesDeletions => {
                for action in actions {
                    if let Action::Changed(changes) = action {
                        changes.retain(|change| change.local || change.value.is_some());
                    }
                }
            }
            Sabotage::ShowsParts => {
                actions.retain(|action| !matches!(action, Action::Notice(Notice::BatchSplit { .. })));
            }
            Sabotage::HushesReaders => actions.retain(|action| {
                !matches!(action, Action::Reply { result: Err(Refusal::Forbidden("write")), .. })
            }),
            Sabotage::HushesWhileStopping => actions
                .retain(|action| !matches!(action, Action::Reply { result: Err(Refusal::ShuttingDown), .. })),
            _ => {}
        }
    }

    /// What a driver makes of a change of rules, or of what members are told.
    pub(crate) fn metadata(&self, command: Command) -> Command {
        match command {
            Command::SetSpec { syncgroup, change, .. } if self.kind == Sabotage::DescribesAnyway => {
                Command::SetSpec { syncgroup, change, unless_changed: None }
            }
            Command::SetSpec { syncgroup, mut change, unless_changed }
                if self.kind == Sabotage::LosesMeetingPlaces =>
            {
                change.rendezvous = change.rendezvous.map(|_| Vec::new());
                Command::SetSpec { syncgroup, change, unless_changed }
            }
            Command::Publish { syncgroup, device, addresses, .. }
                if self.kind == Sabotage::PublishesForReading =>
            {
                Command::Publish { syncgroup, device, rights: Rights::Read, addresses }
            }
            Command::Open { syncgroup, ends, .. } if self.kind == Sabotage::OpensTooFar => {
                Command::Open { syncgroup, rights: Rights::Write, ends }
            }
            Command::SetRights { syncgroup, device, rights, .. } if self.kind == Sabotage::LastsForEver => {
                Command::SetRights { syncgroup, device, rights, ends: None }
            }
            Command::ChangeSchema { syncgroup, collection, changes }
                if self.kind == Sabotage::ReplacesSchemas =>
            {
                let rules = changes.into_iter();
                let rules = rules.filter_map(|(prefix, policy)| Some(Rule { prefix, policy: policy? }));
                Command::SetSchema { syncgroup, collection, rules: rules.collect() }
            }
            command => command,
        }
    }

    /// Which database is paused, or resumed, instead of this one.
    pub(crate) fn database(&self, database: driftless::Name) -> driftless::Name {
        let is_another = self.kind == Sabotage::PausesAnother;
        if is_another { driftless::Name::new("another").unwrap_or(database) } else { database }
    }

    /// To which request a reply goes, if it goes to any.
    pub(crate) fn reply(
        &mut self,
        replica: &Replica,
        request: RequestId,
        result: &Result<Outcome, Refusal>,
    ) -> Option<RequestId> {
        let waits_for_write = |id: &RequestId| {
            replica.asked.get(id).is_some_and(|asked| matches!(asked.what, Question::Write(_)))
        };
        match (self.kind, result) {
            (_, Ok(Outcome::Created(_))) => {
                self.creators.insert(replica.index);
                Some(request)
            }
            (Sabotage::NeverAnswersLeaves, Ok(Outcome::Left(_))) => None,
            (Sabotage::ConfusesAnswers, Ok(Outcome::Written(_))) => {
                let last = replica.asked.keys().rfind(|id| waits_for_write(id));
                Some(last.copied().unwrap_or(request))
            }
            _ => Some(request),
        }
    }
}

/// Takes rows out of a commit that would have three heads after it.
fn drop_three_heads(replica: &Replica, commit: &mut Commit) {
    let mut after = replica.disk.store().clone();
    after.apply(commit);
    let mut crowded: Vec<Bytes> = Vec::new();
    for collection in read::collections(&after).unwrap_or_default() {
        let _ = read::scan(&after, &collection, &[], None, false, &mut |row| {
            let heads = if row.in_conflict { read::heads(&after, &collection, &row.key).ok() } else { None };
            if heads.is_some_and(|heads| heads.len() > 2) {
                crowded.push(row.key);
            }
            std::ops::ControlFlow::Continue(())
        });
    }
    let is_crowded = |write: &Write| crowded.iter().any(|key| write.key.ends_with(key));
    commit.writes.retain(|write| write.table != Table::Row || !is_crowded(write));
}

/// Changes the last byte.
fn flip(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes.into()
}
