//! The application under test, on each device: it starts with its process, is told of what changes, decides
//! conflicts, does what users do; and its invariants are asked (see [`crate::app`]).

use std::collections::{BTreeMap, BTreeSet};

use driftless::read::Collection;
use driftless::store::MemStore;
use driftless::{
    Action, Choice, Conflict, Core, LocalWrite, Name, NoAnswer, Notice, Refusal, Resolution, Rights, Rule,
    SyncgroupId, SyncgroupState, Wall, Written, read,
};
use serde_json::Value;

use super::World;
use super::queue::Happening;
use super::replica::Question;
use crate::app::{Broken, Checked as Check, Device, Host, Hosted, NotWritten, Process, Schema};
use crate::oracle::{Checked, Oracle, Ruling, Violation};

/// The syncgroup of an application.
const GROUP: u8 = 0;

/// The application under test.
#[derive(Debug)]
pub(crate) struct Application<'t> {
    app: &'t dyn Hosted,
    schema: Schema,
    /// The device that made the syncgroup, and sets the schema.
    creator: Option<usize>,
    /// Where rows have changed since the invariants were asked.
    unchecked: BTreeSet<usize>,
    /// Where a process is going to be told of changes.
    telling: BTreeSet<usize>,
    /// The points that were reached, and how often.
    sometimes: BTreeMap<String, u64>,
}

impl<'t> Application<'t> {
    pub(super) fn new(app: &'t dyn Hosted) -> Self {
        Self {
            app,
            schema: app.collections(),
            creator: None,
            unchecked: BTreeSet::new(),
            telling: BTreeSet::new(),
            sometimes: BTreeMap::new(),
        }
    }

    /// The collections of its syncgroup.
    pub(super) fn names(&self) -> Vec<Name> {
        self.schema.names().cloned().collect()
    }

    /// Whether it has a resolver.
    pub(super) fn resolves(&self) -> bool {
        self.schema.asks()
    }

    /// The points that were reached, and how often.
    pub(crate) fn sometimes(&self) -> &BTreeMap<String, u64> {
        &self.sometimes
    }
}

impl World<'_> {
    /// The application under test, if there is one.
    pub(crate) fn application(&self) -> Option<&Application<'_>> {
        self.application.as_ref()
    }

    /// A process of the application starts with its device.
    pub(super) fn application_boots(&mut self, replica: usize) {
        let Some(application) = &self.application else { return };
        let it = &mut self.replicas[replica];
        it.process = (!it.hostile && it.core.is_some()).then(|| application.app.start());
        let boot = it.boots;
        self.queue.push(self.now, Happening::Install { replica, boot });
        self.tell(replica);
    }

    /// The syncgroup was made: its creator says what becomes of conflicts, as soon as it can.
    pub(super) fn application_has_group(&mut self, label: u8, creator: usize) {
        if let Some(application) = self.application.as_mut().filter(|_| label == GROUP) {
            application.creator = Some(creator);
            let boot = self.replicas[creator].boots;
            self.queue.push(self.now, Happening::Install { replica: creator, boot });
        }
    }

    /// The creator sets the schema, wherever it is not as it should be: a crash may have taken it back.
    pub(super) fn install(&mut self, replica: usize) -> Checked {
        let Some(syncgroup) = self.group_at(replica, GROUP) else { return Ok(()) };
        let Some(application) = self.application.as_ref().filter(|it| it.creator == Some(replica)) else {
            return Ok(());
        };
        let rules = |(name, rules): (&Name, &[Rule])| (name.clone(), rules.to_vec());
        let wanted: Vec<(Name, Vec<Rule>)> = application.schema.rules().map(rules).collect();
        for (name, rules) in wanted {
            let may = self.replicas[replica].core.as_ref().is_some_and(|core| {
                let mut infos = core.syncgroups().into_iter();
                infos.any(|info| {
                    info.id == syncgroup
                        && info.state == SyncgroupState::Active
                        && info.rights == Some(Rights::Admin)
                        && info.collections.contains(&name)
                })
            });
            let present = self.collections_of(replica, syncgroup);
            if may && !self.has_rules(replica, &present, &name, &rules) {
                self.rule(replica, syncgroup, name, Ruling::All(rules))?;
            }
        }
        self.tell(replica);
        Ok(())
    }

    fn collections_of(&self, replica: usize, syncgroup: SyncgroupId) -> BTreeMap<Name, Collection> {
        let all = read::collections(self.replicas[replica].disk.store()).unwrap_or_default();
        let here = all.into_iter().filter(|it| it.syncgroup == syncgroup);
        let merges = self.replicas[replica].merges.list();
        here.map(|it| (it.name.clone(), it.with_merges(merges))).collect()
    }

    fn has_rules(
        &self,
        replica: usize,
        present: &BTreeMap<Name, Collection>,
        name: &Name,
        rules: &[Rule],
    ) -> bool {
        let store = self.replicas[replica].disk.store();
        let schema = present.get(name).map(|collection| read::schema(store, collection));
        schema.is_some_and(|schema| schema.is_ok_and(|schema| schema == rules))
    }

    /// The syncgroup of the application with its collections, once a device has all of it and the schema.
    fn ready(&self, replica: usize) -> Option<(SyncgroupId, BTreeMap<Name, Collection>)> {
        let application = self.application.as_ref()?;
        let it = &self.replicas[replica];
        let id = self.group_at(replica, GROUP)?;
        let mut infos = it.core.as_ref()?.syncgroups().into_iter();
        if !infos.any(|info| info.id == id && info.state == SyncgroupState::Active) {
            return None;
        }
        let present = self.collections_of(replica, id);
        let mut schema = application.schema.rules();
        let is_here = schema.all(|(name, rules)| self.has_rules(replica, &present, name, rules));
        is_here.then_some((id, present))
    }

    /// Calls a process of the application, if its device is ready for it.
    fn call<R>(
        &mut self,
        replica: usize,
        what: impl FnOnce(&mut dyn Process, &mut Device<'_>) -> R,
    ) -> Result<Option<R>, Violation> {
        let Some((syncgroup, collections)) = self.ready(replica) else { return Ok(None) };
        let Some(author) = self.replicas[replica].core.as_ref().map(Core::author) else { return Ok(None) };
        let Some(mut process) = self.replicas[replica].process.take() else { return Ok(None) };
        let boot = self.replicas[replica].boots;
        let mut device = Device::new(self, (replica, author), syncgroup, collections);
        let result = what(&mut *process, &mut device);
        let (points, violation) = device.done();
        let it = &mut self.replicas[replica];
        if it.boots == boot && it.core.is_some() {
            it.process = Some(process);
        }
        if let Some(application) = &mut self.application {
            for point in points {
                *application.sometimes.entry(point.to_owned()).or_default() += 1;
            }
        }
        violation.map_or(Ok(Some(result)), Err)
    }

    /// A user does something.
    pub(super) fn use_application(&mut self, replica: usize, act: &Value) -> Checked {
        self.call(replica, |process, device| process.act(device, act)).map(drop)
    }

    /// Soon the process is told that something is new.
    fn tell(&mut self, replica: usize) {
        let boot = self.replicas[replica].boots;
        if let Some(application) = &mut self.application {
            application.unchecked.insert(replica);
            if application.telling.insert(replica) {
                self.queue.push(self.now, Happening::News { replica, boot });
            }
        }
    }

    /// The process is told.
    pub(super) fn news(&mut self, replica: usize, boot: u64) -> Checked {
        if let Some(application) = &mut self.application {
            application.telling.remove(&replica);
        }
        if self.replicas[replica].boots != boot {
            return Ok(());
        }
        self.call(replica, |process, device| process.changed(device)).map(drop)
    }

    /// What a core asked for may be news.
    pub(super) fn application_hears(&mut self, replica: usize, actions: &[Action]) {
        let is_news = |action: &Action| match action {
            Action::Changed(changes) => !changes.is_empty(),
            Action::Notice(Notice::Syncgroup { .. } | Notice::Schema { .. }) => true,
            _ => false,
        };
        if self.application.is_some() && actions.iter().any(is_news) {
            self.tell(replica);
        }
    }

    /// Somebody looks at what an application shows.
    pub(super) fn application_is_seen(&mut self, replica: usize) {
        if let Some(application) = &mut self.application {
            application.unchecked.insert(replica);
        }
    }

    /// The invariants, where something has changed.
    pub(super) fn check_application(&mut self) -> Checked {
        let Some(application) = &mut self.application else { return Ok(()) };
        let unchecked = std::mem::take(&mut application.unchecked);
        unchecked.into_iter().try_for_each(|replica| {
            let checked = self.call(replica, |process, device| process.check(device))?;
            verdict(replica, checked)
        })
    }

    /// The invariants of the end, everywhere.
    pub(crate) fn application_settled(&mut self) -> Checked {
        for replica in 0..self.replicas.len() {
            let checked = self.call(replica, |process, device| {
                process.check(device).and_then(|()| process.settled(device))
            })?;
            verdict(replica, checked)?;
        }
        Ok(())
    }

    /// How the application decides a conflict; nothing if there is no application, or it is not there.
    pub(super) fn decide(
        &mut self,
        replica: usize,
        conflict: &Conflict,
    ) -> Result<Option<Resolution>, Violation> {
        if self.application.is_none() {
            return Ok(None);
        }
        let decided = self.call(replica, |process, device| process.resolve(device, conflict))?;
        let mut resolution = decided.unwrap_or_default();
        let named = |row: &driftless::ConflictedRow, resolution: &Resolution| {
            resolution.answers.iter().any(|answer| answer.row == row.row)
        };
        for row in conflict.open().filter(|row| !named(row, &resolution.clone())).collect::<Vec<_>>() {
            resolution = resolution.answer(row, Choice::Leave);
        }
        let leaves = resolution.answers.iter().any(|answer| answer.choice == Choice::Leave);
        self.replicas[replica].leaves_open |= leaves;
        Ok(Some(resolution))
    }

    /// An answer of the application's that was refused, unless that only came of what happened meanwhile.
    pub(super) fn no_answer(&self, replica: usize, refusal: &Refusal) -> Checked {
        match refusal {
            Refusal::NoAnswer(reason)
                if self.application.is_some()
                    && !matches!(**reason, NoAnswer::Stale(_) | NoAnswer::TakesNone(..)) =>
            {
                verdict(
                    replica,
                    Some(Err(Broken {
                        invariant: "what the application decides is an answer to the conflict",
                        seen: reason.to_string(),
                    })),
                )
            }
            _ => Ok(()),
        }
    }
}

impl Host for World<'_> {
    fn store(&self, replica: usize) -> &MemStore {
        self.replicas[replica].disk.store()
    }

    fn wall(&self, replica: usize) -> Wall {
        self.replicas[replica].clock.now(self.now).wall
    }

    fn write(
        &mut self,
        replica: usize,
        batch: LocalWrite,
    ) -> Result<Result<Vec<Written>, NotWritten>, Violation> {
        if !self.replicas[replica].is_usable() {
            return Ok(Err(NotWritten::Ended));
        }
        let (boot, request) = (self.replicas[replica].boots, self.replicas[replica].next_request);
        self.refusal = None;
        let was_written = self.hand_in(replica, batch)?;
        let it = &self.replicas[replica];
        if it.boots != boot || it.core.is_none() {
            return Ok(Err(NotWritten::Ended));
        }
        if let Some(refusal) = self.refusal.take() {
            return Ok(Err(refusal.into()));
        }
        let asked = it.asked.get(&driftless::RequestId(request)).filter(|_| was_written);
        Ok(Ok(match asked.map(|asked| &asked.what) {
            Some(Question::Write(parts)) => parts.clone(),
            _ => Vec::new(),
        }))
    }
}

/// An invariant that does not hold is a rule that was broken.
fn verdict(replica: usize, checked: Option<Check>) -> Checked {
    match checked {
        Some(Err(Broken { invariant, seen })) => {
            let oracle = Oracle::Invariant(invariant.to_owned());
            Err(Violation::new(oracle, "the application's", replica, seen))
        }
        _ => Ok(()),
    }
}
