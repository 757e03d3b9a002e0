//! Oracles of conduct: what a replica answers to whom, and what an honest run never sees.

use std::collections::BTreeMap;

use bytes::Bytes;
use driftless::read::Row;
use driftless::{
    Action, CommitSeq, Core, DeviceId, Edit, LocalWrite, Merge, NoAnswer, Notice, Policy, Precondition,
    Refusal, Rights, RowRef, SyncgroupId, SyncgroupInfo, SyncgroupState, Version, Wall, Written,
};

use super::{Checked, Oracle, Seen, Violation, Watch};
use crate::coverage::{Coverage, Point};
use crate::model::{Fact, RowKey, Rows, Rules, Shown, View, is_base, merge_of};

/// What should become of a batch.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteExpected {
    /// What it comes to in each syncgroup where it comes to anything.
    pub(crate) rows: BTreeMap<SyncgroupId, Rows>,
    /// The schema that it changes: its rules, and the generation in which it does.
    pub(super) schema: Option<(SyncgroupId, Version, Rules)>,
    /// What it says of who may do what, and in which generation.
    pub(super) fact: Option<(SyncgroupId, Version, Fact)>,
    /// Whether it answers a conflict.
    pub(super) is_answer: bool,
    /// Who asks for what lay ahead of the clock to be written again, as another author.
    pub(super) reissues: Option<driftless::Author>,
    /// The author that goes on by another key.
    pub(crate) rotates: Option<driftless::Author>,
    /// The generation that it should become there.
    pub(super) versions: BTreeMap<SyncgroupId, Version>,
    /// The reasons for which it may be refused; if there is none, it must be written.
    pub(super) reasons: Vec<Refusal>,
    /// Whether the reasons are all about syncgroups in which it comes to nothing.
    pub(super) optional: bool,
    /// Whether it may be refused because what allows it is held and not shown yet (S-28).
    pub(super) waits: bool,
}

impl WriteExpected {
    /// Whether nothing can keep it from being taken.
    pub(crate) fn must_be_taken(&self) -> bool {
        self.reasons.is_empty() && !self.waits
    }

    /// A device takes another key: it goes on as another author than this, and may be refused.
    pub(crate) fn of_rotation(author: driftless::Author) -> Self {
        Self { rotates: Some(author), optional: true, ..Self::default() }
    }
}

impl Watch {
    /// Says what should become of a batch that is about to be handed to a replica.
    pub(crate) fn expect(&self, core: &Core, batch: &LocalWrite, stopping: bool) -> WriteExpected {
        let infos = infos(core);
        let mut changes: BTreeMap<SyncgroupId, Vec<(RowKey, Edit)>> = BTreeMap::new();
        for change in &batch.changes {
            changes.entry(change.row.syncgroup).or_default().push((key(&change.row), change.edit.clone()));
        }
        let mut expected = WriteExpected { optional: !stopping, ..WriteExpected::default() };
        if stopping {
            expected.reasons.push(Refusal::ShuttingDown);
        }
        for (group, changes) in changes {
            expected.waits |= infos.get(&group).is_some_and(|info| info.waiting > 0);
            let shown = core.knowledge(&group).unwrap_or_default();
            let held = core.held(&group).unwrap_or_default();
            let collections = changes.iter().map(|(row, _)| &row.collection);
            let mut reasons = self.reasons(core, &group, Rights::Write, collections);
            reasons.extend(
                changes
                    .iter()
                    .filter_map(|(row, edit)| unsuited(&self.model.policy(&group, row, &held), edit)),
            );
            let rows = self.model.net_effect(&group, View { shown: &shown, held: &held }, changes);
            expected.optional &= reasons.is_empty() || rows.is_empty();
            expected.reasons.extend(reasons);
            expected.comes_to(core, group, rows);
        }
        for (index, precondition) in batch.preconditions.iter().enumerate() {
            if !self.holds(core, precondition) {
                expected.reasons.push(Refusal::Precondition { index });
                expected.optional = false;
            }
        }
        expected
    }

    /// Why something that needs a right may be refused in one syncgroup.
    pub(super) fn reasons<'n>(
        &self,
        core: &Core,
        group: &SyncgroupId,
        right: Rights,
        collections: impl Iterator<Item = &'n driftless::Name>,
    ) -> Vec<Refusal> {
        let info = core.syncgroups().into_iter().find(|info| info.id == *group);
        let Some(info) = info else { return vec![Refusal::NoSyncgroup(*group)] };
        let held = core.held(group).unwrap_or_default();
        let (device, moment) = (core.author().device, self.moment(core));
        let rights = self.model.rights(group, &device, &held, moment);
        let at_another_time = self.model.rights(group, &device, &held, None);
        let mut reasons = match info.state {
            SyncgroupState::Active
                if rights < Some(right)
                    && (at_another_time >= Some(right) || rights.is_none() && at_another_time.is_some()) =>
            {
                vec![Refusal::Expired(Wall::default())]
            }
            SyncgroupState::Active if rights < Some(right) => vec![Refusal::Forbidden("")],
            SyncgroupState::Expired if rights.is_none() => vec![Refusal::Expired(Wall::default())],
            SyncgroupState::Active => Vec::new(),
            SyncgroupState::Joining | SyncgroupState::Pending => vec![Refusal::Pending],
            _ => vec![Refusal::NotMember],
        };
        let missing = collections.filter(|name| !info.collections.contains(name));
        reasons.extend(missing.map(|name| Refusal::NoCollection(name.clone())));
        reasons
    }

    fn holds(&self, core: &Core, precondition: &Precondition) -> bool {
        match precondition {
            Precondition::Heads { row, heads } => {
                let mut real = self.heads(core, row);
                let mut heads = heads.clone();
                real.sort();
                heads.sort();
                real == heads
            }
            Precondition::Range { from, to, rows } => self.range(core, from, to.as_ref()) == *rows,
            _ => true,
        }
    }

    /// What a range shows, for a precondition.
    pub(crate) fn range(&self, core: &Core, from: &RowRef, to: Option<&Bytes>) -> Vec<Row> {
        let shown = core.knowledge(&from.syncgroup).unwrap_or_default();
        let held = core.held(&from.syncgroup).unwrap_or_default();
        let view = View { shown: &shown, held: &held };
        let within = |row: &&RowKey| {
            row.collection == from.collection && row.key >= from.key && to.is_none_or(|to| row.key < *to)
        };
        let rows = self.model.rows(&from.syncgroup).filter(within);
        rows.filter_map(|row| {
            let Shown { value, version, stamp, in_conflict } =
                self.model.shown(&from.syncgroup, row, view)?;
            Some(Row { key: row.key.clone(), value, version, stamp, in_conflict })
        })
        .collect()
    }

    /// The heads of a row, for a precondition.
    pub(crate) fn heads(&self, core: &Core, row: &RowRef) -> Vec<Version> {
        let shown = core.knowledge(&row.syncgroup).unwrap_or_default();
        let held = core.held(&row.syncgroup).unwrap_or_default();
        let view = View { shown: &shown, held: &held };
        self.model.heads(&row.syncgroup, &key(row), view).iter().map(|head| head.version).collect()
    }

    /// Checks what a replica said at once, and returns what it said it wrote.
    pub(super) fn answers(
        &mut self,
        seen: Seen<'_>,
        wall: Wall,
        actions: &[Action],
        expected: Option<&WriteExpected>,
        coverage: &mut Coverage,
    ) -> Result<Vec<Written>, Violation> {
        let replica = seen.replica;
        let wrong = |rule, what| Violation::new(Oracle::Conduct, rule, replica, what);
        let mut parts = None;
        for action in actions {
            match action {
                Action::Written { parts: written, .. } => {
                    if expected.is_none() || parts.is_some() {
                        return Err(wrong(
                            "S-4",
                            "says that a batch is written, and none was asked for".into(),
                        ));
                    }
                    parts = Some(written.clone());
                }
                Action::Notice(notice) => {
                    self.honest(replica, wall, notice, coverage)?;
                    if let Notice::Publications { syncgroup } = notice {
                        self.count_publications(seen.core, syncgroup, coverage);
                    }
                    if let Notice::Invited { invitation } = notice {
                        self.invited(self.devices[replica], invitation);
                    }
                    if let Notice::FromTheFuture { author, syncgroup } = notice {
                        let held = seen.core.knowledge(syncgroup).unwrap_or_default();
                        let held = held.get(author).copied().unwrap_or(0);
                        self.held_back.insert((replica, *syncgroup, *author), held);
                    }
                }
                _ => {}
            }
        }
        let parts = parts.unwrap_or_default();
        if let Some(expected) = expected {
            let refused = actions.iter().find_map(|action| match action {
                Action::Reply { result: Err(refusal), .. } => Some(refusal),
                _ => None,
            });
            match refused {
                Some(refusal) => expected.refused(refusal, coverage).map_err(|what| wrong("S-4", what))?,
                None => expected.written(&parts).map_err(|what| wrong("S-4", what))?,
            }
        }
        Ok(parts)
    }

    /// What a command was to say, besides rows, it has said (S-4): members, rights, schemas.
    pub(super) fn said(&self, replica: usize, expected: &WriteExpected, actions: &[Action]) -> Checked {
        let is_refused = actions.iter().any(|action| matches!(action, Action::Reply { result: Err(_), .. }));
        let mut places = expected.said();
        match places.find(|(group, version)| self.model.generation(group, version).is_none()) {
            Some((group, version)) if !is_refused => {
                let what = format!("was to say something in {group:?}, by {version:?}, and did not");
                Err(Violation::new(Oracle::Conduct, "S-4", replica, what))
            }
            _ => Ok(()),
        }
    }

    /// Something was answered that what was committed up to then has to outlast (S-9).
    pub(crate) fn is_durable(&self, replica: usize, seq: CommitSeq) -> Checked {
        let reported = self.notes[replica].reported;
        if reported < seq {
            let what = format!("acknowledged commit {} when {} was the last durable one", seq.0, reported.0);
            return Err(Violation::new(Oracle::Durability, "S-9", replica, what));
        }
        Ok(())
    }

    /// What is never heard where all are honest, and no disk was set back (S-2, S-12, S-26, S-27).
    fn honest(&self, replica: usize, wall: Wall, notice: &Notice, coverage: &mut Coverage) -> Checked {
        let is_hostile = |device: &DeviceId| {
            self.devices.iter().position(|it| it == device).is_some_and(|at| self.fates[at].hostile)
        };
        if self.fates[replica].hostile {
            return Ok(());
        }
        if let Notice::Syncgroup { syncgroup, state: SyncgroupState::Refused(why) } = notice {
            self.refused_rightly(replica, syncgroup, *why)?;
        }
        let (rule, what) = match notice {
            Notice::Diverged { device } if !is_hostile(device) => {
                ("S-12", format!("found that {device:?} shows something else with the same knowledge"))
            }
            Notice::PeerFault { device, reason, detail } if !is_hostile(device) => {
                ("S-26", format!("blames {device:?}, which is honest: {reason:?}, {detail}"))
            }
            Notice::SetBack { author, .. } if self.fates[replica].unnoticed != Some(*author) => {
                ("S-2", format!("believes that {author:?} was set back unnoticed, and it was not"))
            }
            Notice::Forked { author, .. } if !is_hostile(&author.device) => {
                ("S-26", format!("believes that {author:?} has forked its log, and it is honest"))
            }
            Notice::FromTheFuture { author, syncgroup }
                if !is_hostile(&author.device)
                    && !self.is_behind(wall)
                    && !self.is_made_by_a_thief(syncgroup, author) =>
            {
                ("S-27", format!("holds back what {author:?} wrote, and no clock is that wrong"))
            }
            Notice::Ahead { by, .. } if !self.is_behind(wall) => {
                ("S-27", format!("takes itself to be {by:?} ahead, and no clock is that wrong"))
            }
            notice => {
                self.count(notice, coverage);
                return Ok(());
            }
        };
        Err(Violation::new(Oracle::Conduct, rule, replica, what))
    }

    /// While it runs, a device writes as one author, and as another one only because it has heard that its store was set
    /// back, and tells so (S-2), or as it is told to write again what lay ahead of its clock (S-27); or as what it has said of
    /// its keys somewhere does not count there (S-1).
    pub(super) fn same_author(
        &mut self,
        seen: Seen<'_>,
        actions: &[Action],
        coverage: &mut Coverage,
    ) -> Checked {
        let now = seen.core.author();
        let Some(before) = self.notes[seen.replica].author.replace(now).filter(|before| *before != now)
        else {
            return Ok(());
        };
        let tells = |action: &Action| match action {
            Action::Notice(Notice::Forked { author, .. }) => *author == before,
            Action::Notice(Notice::SetBack { author, successor, .. }) => {
                (*author, *successor) == (before, now)
            }
            _ => false,
        };
        if !actions.iter().any(tells) {
            let says_in_vain = |group: SyncgroupId| {
                let held = seen.core.knowledge(&group).unwrap_or_default();
                self.model.says_in_vain(&group, &before, &held)
            };
            if seen.core.syncgroups().iter().any(|it| says_in_vain(it.id)) {
                coverage.hit(Point::KeySaidAgain);
                return Ok(());
            }
            let what = format!("goes on as {now:?}, and does not say what has become of {before:?}");
            return Err(Violation::new(Oracle::Conduct, "S-2", seen.replica, what));
        }
        coverage.hit(Point::SetBackHeard);
        Ok(())
    }

    /// Whether some clock, or a stamp that clocks follow, was further ahead of this one than stamps may be.
    fn is_behind(&self, wall: Wall) -> bool {
        self.fastest.max(self.greatest.wall()) > wall + self.limits.drift
    }

    fn count(&self, notice: &Notice, coverage: &mut Coverage) {
        match notice {
            Notice::Admitted { syncgroup, device, .. } | Notice::Enrolled { syncgroup, device, .. } => {
                coverage.hit(Point::Admitted);
                if let Notice::Enrolled { granted, user, version, .. } = notice {
                    let is_own = self.is_device_of(syncgroup, user, &version.author.device);
                    for (is_so, point) in
                        [(granted.is_some(), Point::UserJoined), (!is_own, Point::EnrolledByOthers)]
                    {
                        if is_so {
                            coverage.hit(point);
                        }
                    }
                }
                if self.model.was_removed(syncgroup, device) {
                    coverage.hit(Point::Readmitted);
                }
                let fate = self.devices.iter().position(|it| it == device).map(|at| self.fates[at]);
                if fate.is_some_and(|fate| fate.hostile) {
                    coverage.hit(Point::HostileMember);
                }
                if fate.is_some_and(|fate| fate.lost_all) {
                    coverage.hit(Point::Rejoined);
                }
            }
            Notice::Syncgroup { state: SyncgroupState::Refused(_), .. } => coverage.hit(Point::JoinRefused),
            Notice::PeerFault { .. } => coverage.hit(Point::FaultBlamed),
            Notice::FromTheFuture { .. } => coverage.hit(Point::HeldBack),
            Notice::Syncgroup { state: SyncgroupState::Removed, .. } => coverage.hit(Point::HeardOfRemoval),
            Notice::Syncgroup { state: SyncgroupState::Expired, .. } => coverage.hit(Point::Expired),
            Notice::Judged { voided, restored, .. } => {
                let points = [(*voided, Point::Undone), (*restored, Point::UndoneAgain)];
                points.into_iter().filter(|(count, _)| *count > 0).for_each(|(_, point)| coverage.hit(point));
            }
            _ => {}
        }
    }

    /// A batch was acknowledged as safe; `seq` is the commit that wrote it (S-9).
    pub(crate) fn acknowledged(&mut self, replica: usize, parts: &[Written], seq: CommitSeq) -> Checked {
        if !parts.is_empty() {
            self.is_durable(replica, seq)?;
        }
        self.acknowledged += u64::from(!parts.is_empty());
        self.safe.extend(parts.iter().map(|part| (part.syncgroup, part.version, replica)));
        if let Some(sabotage) = self.sabotage {
            let promised = |part: &Written| Some((part.syncgroup, sabotage.promise(part)?, replica));
            self.safe.extend(parts.iter().filter_map(promised));
        }
        Ok(())
    }
}

impl WriteExpected {
    /// Where it says something besides rows.
    fn said(&self) -> impl Iterator<Item = (SyncgroupId, Version)> {
        let fact = self.fact.iter().map(|(group, version, _)| (*group, *version));
        fact.chain(self.schema.iter().map(|(group, version, _)| (*group, *version)))
    }

    /// Adds what is to become of rows of a syncgroup.
    pub(super) fn comes_to(&mut self, core: &Core, group: SyncgroupId, rows: Rows) {
        if !rows.is_empty() {
            self.versions.insert(group, super::next(core, &group));
            self.rows.insert(group, rows);
        }
    }

    /// Whether a refusal has a reason (S-4, S-32, S-34).
    fn refused(&self, refusal: &Refusal, coverage: &mut Coverage) -> Result<(), String> {
        let same = |reason: &&Refusal| match (reason, refusal) {
            (Refusal::Forbidden(_), Refusal::Forbidden(_)) => true,
            (Refusal::Certificate(_), Refusal::Certificate(_)) => true,
            (Refusal::Expired(_), Refusal::Expired(_)) => true,
            // The new state that comes with it is checked where it is looked at.
            (Refusal::NoAnswer(reason), Refusal::NoAnswer(refusal)) => match (&**reason, &**refusal) {
                (NoAnswer::Stale(_), NoAnswer::Stale(_)) => true,
                (reason, refusal) => reason == refusal,
            },
            (reason, refusal) => *reason == refusal,
        };
        let may_wait = self.waits && *refusal == Refusal::Pending;
        if !may_wait && !self.reasons.iter().any(|reason| same(&reason)) {
            return Err(format!("refused a batch: {refusal}; the reasons there are: {:?}", self.reasons));
        }
        match refusal {
            Refusal::Pending => coverage.hit(Point::RefusedPending),
            Refusal::NotMember => coverage.hit(Point::RefusedNotMember),
            Refusal::Expired(_) => coverage.hit(Point::RefusedExpired),
            Refusal::Forbidden(_) => coverage.hit(Point::RefusedForbidden),
            Refusal::Senior(_) => coverage.hit(Point::RefusedSenior),
            Refusal::NotOpen => coverage.hit(Point::RefusedNotOpen),
            Refusal::Precondition { .. } => coverage.hit(Point::PreconditionFailed),
            Refusal::OtherPolicy { .. } | Refusal::NotMergeable(_) => coverage.hit(Point::RefusedPolicy),
            _ => {}
        }
        Ok(())
    }

    /// Whether a batch became what it should.
    fn written(&self, parts: &[Written]) -> Result<(), String> {
        if !self.reasons.is_empty() && !self.optional {
            return Err(format!("accepted a batch that should be refused: {:?}", self.reasons));
        }
        let real: BTreeMap<SyncgroupId, Version> =
            parts.iter().map(|part| (part.syncgroup, part.version)).collect();
        if real != self.versions || parts.len() != real.len() {
            return Err(format!("a batch became {real:?}; it should have become {:?}", self.versions));
        }
        Ok(())
    }
}

pub(super) fn infos(core: &Core) -> BTreeMap<SyncgroupId, SyncgroupInfo> {
    core.syncgroups().into_iter().map(|info| (info.id, info)).collect()
}

/// Why a change does not suit a row (S-16).
fn unsuited(policy: &Policy, edit: &Edit) -> Option<Refusal> {
    match (policy, edit) {
        (Policy::Merge(merge), Edit::Put(value)) if !is_base(merge, value) => {
            Some(Refusal::NotMergeable(merge.clone()))
        }
        (policy, Edit::Operate(operation)) => {
            let merge: Merge = merge_of(operation);
            let suits = *policy == Policy::Merge(merge.clone());
            (!suits).then(|| Refusal::OtherPolicy { merge, policy: policy.clone() })
        }
        _ => None,
    }
}

pub(super) fn key(row: &RowRef) -> RowKey {
    RowKey { collection: row.collection.clone(), key: row.key.clone() }
}
