//! People: what the steps of a plan ask of a replica.

use bytes::Bytes;
use driftless::{
    Command, Invitation, LocalWrite, Millis, Name, Precondition, Rendezvous, RowRef, SpecChange, SyncgroupId,
};

use super::replica::{Invited, Question, Remembered};
use super::{World, address, label};
use crate::coverage::Point;
use crate::model::{Content, Granted};
use crate::oracle::{Checked, Violation, WriteExpected};
use crate::plan::{Act, Edit, Require, RowLabel};

/// Who waits for which invitation, in which database, and as whose device, by which certificate.
type Waits = (usize, u32, u8, Option<(u8, u8)>);

/// By how much a clock is wrong when people notice.
const NOTICED_MS: u64 = 60_000;

/// What people told each other, outside of the system.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// The syncgroups that came about, by label.
    pub(super) groups: std::collections::BTreeMap<u8, SyncgroupId>,
    /// The invitations that were made, by label.
    pub(super) tickets: std::collections::BTreeMap<u32, Invitation>,
    /// Who waits for which invitation, and wants it in which database.
    waiting: Vec<Waits>,
    /// Who answers what to offers.
    pub(super) attitudes: super::publishing::Attitudes,
    /// Who was asked to resolve what, and has not answered.
    pub(super) asked: std::collections::BTreeMap<super::policies::Asked, std::collections::BTreeSet<usize>>,
}

impl People {
    /// The syncgroups that came about, by label.
    pub(super) fn groups(&self) -> &std::collections::BTreeMap<u8, SyncgroupId> {
        &self.groups
    }

    /// Whether a device has made an invitation.
    pub(super) fn has_invited(&self, device: &driftless::DeviceId) -> bool {
        self.tickets.values().any(|invitation| invitation.issuer().device() == *device)
    }
}

impl World<'_> {
    /// A step of people's.
    pub(super) fn person(&mut self, act: &Act) -> Checked {
        match act {
            Act::Create { replica, group, database, collections } => {
                let command = Command::CreateSyncgroup {
                    database: label("db", *database),
                    name: label("g", *group),
                    collections: match self.application() {
                        Some(application) => application.names(),
                        None => (0..*collections).map(|number| label("c", number)).collect(),
                    },
                };
                self.ask(*replica, command, Question::Create(*group))
            }
            Act::AddCollection { replica, group, collection } => {
                let Some(syncgroup) = self.group_at(*replica, *group) else { return Ok(()) };
                let collection = label("c", *collection);
                let command = Command::CreateCollection { syncgroup, collection };
                self.ask_as_admin(*replica, syncgroup, command, Question::Other)
            }
            Act::Invite { replica, group, ticket, rights, reusable, valid_ms, lasts_ms } => {
                let Some(syncgroup) = self.group_at(*replica, *group) else { return Ok(()) };
                let command = Command::Invite {
                    syncgroup,
                    rights: *rights,
                    ends: self.end(*replica, *lasts_ms),
                    valid_for: Millis(*valid_ms),
                    reusable: *reusable,
                    addresses: vec![address(*replica)],
                };
                let question = Question::Invite(*ticket, syncgroup, Invited::Anybody(*rights));
                let gives = Granted { rights: *rights, ends: self.end(*replica, *lasts_ms) };
                let it = &self.replicas[*replica];
                let Some(core) = it.core.as_ref() else { return Ok(()) };
                let expected = self.watch.expect_invitation(core, syncgroup, gives, it.stopping);
                self.ask_expecting(*replica, command, question, &expected)
            }
            Act::Join { replica, ticket, database } => {
                self.people.waiting.push((*replica, *ticket, *database, None));
                self.hand_over()
            }
            Act::JoinAs { replica, ticket, user, number, database } => {
                self.people.waiting.push((*replica, *ticket, *database, Some((*user, *number))));
                self.hand_over()
            }
            Act::Leave { replica, group } => {
                let Some(syncgroup) = self.group_at(*replica, *group) else { return Ok(()) };
                let it = &self.replicas[*replica];
                let Some(core) = it.core.as_ref() else { return Ok(()) };
                let expected = self.watch.expect_leave(core, syncgroup, it.stopping);
                self.ask_expecting(*replica, Command::Leave { syncgroup }, Question::Other, &expected)
            }
            Act::Eject { replica, group, peer } => {
                let (Some(syncgroup), device) =
                    (self.group_at(*replica, *group), self.replicas[*peer].device)
                else {
                    return Ok(());
                };
                self.set_rights(*replica, syncgroup, (device, None), Command::Eject { syncgroup, device })
            }
            Act::SetRights { replica, group, peer, rights, lasts_ms } => {
                let (Some(syncgroup), device) =
                    (self.group_at(*replica, *group), self.replicas[*peer].device)
                else {
                    return Ok(());
                };
                let (rights, ends) = (*rights, self.end(*replica, *lasts_ms));
                let command = Command::SetRights { syncgroup, device, rights, ends };
                self.set_rights(*replica, syncgroup, (device, Some(Granted { rights, ends })), command)
            }
            Act::Open { replica, group, rights, lasts_ms } => {
                let ends = self.end(*replica, *lasts_ms);
                self.open(*replica, *group, Some(Granted { rights: *rights, ends }))
            }
            Act::Close { replica, group } => self.open(*replica, *group, None),
            Act::Destroy { replica, group } => {
                let Some(syncgroup) = self.group_at(*replica, *group) else { return Ok(()) };
                let it = &self.replicas[*replica];
                let Some(core) = it.core.as_ref() else { return Ok(()) };
                let expected = self.watch.expect_end(core, syncgroup, it.stopping);
                self.ask_of_access(*replica, Command::Destroy { syncgroup }, &expected)
            }
            Act::Describe { replica, group, description, meet, unless_changed } => {
                let Some(syncgroup) = self.group_at(*replica, *group) else { return Ok(()) };
                let place = |peer: &usize| Rendezvous {
                    device: self.replicas[*peer].device,
                    address: address(*peer),
                };
                let change = SpecChange {
                    description: description.map(|number| format!("purpose {number}")),
                    rendezvous: meet.as_ref().map(|all| all.iter().map(place).collect()),
                };
                self.describe(*replica, syncgroup, change, *unless_changed)
            }
            Act::PauseSync { replica, database } => self.pause_sync(*replica, label("db", *database), true),
            Act::ResumeSync { replica, database } => self.pause_sync(*replica, label("db", *database), false),
            Act::Reissue { replica } => {
                let it = &self.replicas[*replica];
                // What a hostile device makes of its past is its own affair.
                let is_hostile = self.plan.setup.hostile.contains(replica);
                let Some(core) = it.core.as_ref().filter(|_| !is_hostile) else { return Ok(()) };
                let wall = it.clock.now(self.now).wall;
                let expected = self.watch.expect_reissue(core, wall, it.stopping);
                self.ask_expecting(*replica, Command::Reissue, Question::Other, &expected)
            }
            Act::Rotate { replica } => {
                let it = &mut self.replicas[*replica];
                let Some(author) = it.core.as_ref().filter(|_| !it.stopping).map(|core| core.author()) else {
                    return Ok(());
                };
                let Some(new) = it.next_key(self.plan.seed, &self.plan.setup) else { return Ok(()) };
                self.coverage.hit(Point::KeyRotated);
                let expected = WriteExpected::of_rotation(author);
                self.ask_expecting(*replica, Command::RotateKey(Box::new(new)), Question::Other, &expected)
            }
            Act::Write { replica, text, changes, require } => self.write(*replica, *text, changes, require),
            Act::App { replica, act } => self.use_application(*replica, act),
            Act::Publish { .. } | Act::Unpublish { .. } | Act::Accept { .. } | Act::Decline { .. } => {
                self.publishing_step(act)
            }
            Act::AdmitUser { .. }
            | Act::EjectUser { .. }
            | Act::InviteDevice { .. }
            | Act::Enrol { .. }
            | Act::StrikeOff { .. } => self.user_step(act),
            act => self.policy_step(act),
        }
    }

    /// Somebody says what a syncgroup is for, and where to meet; maybe going by what it was when it was looked at last.
    fn describe(
        &mut self,
        replica: usize,
        syncgroup: SyncgroupId,
        change: SpecChange,
        unless_changed: bool,
    ) -> Checked {
        let it = &mut self.replicas[replica];
        let Some(core) = it.core.as_ref() else { return Ok(()) };
        let infos = core.syncgroups();
        let now = infos.iter().find(|info| info.id == syncgroup).map(|info| info.spec_version);
        let read = it.read_specs.insert(syncgroup, now.unwrap_or_default());
        let unless_changed = unless_changed.then(|| read.or(now).unwrap_or_default());
        let expected = self.watch.expect_spec(core, syncgroup, &change, unless_changed, it.stopping);
        expected.describes().into_iter().for_each(|point| self.coverage.hit(point));
        let command = Command::SetSpec { syncgroup, change, unless_changed };
        let command = match &self.sabotage {
            Some(saboteur) => saboteur.metadata(command),
            None => command,
        };
        self.ask_of_access(replica, command, &expected)
    }

    /// Somebody wants a device to have other rights, or none.
    fn set_rights(
        &mut self,
        replica: usize,
        syncgroup: SyncgroupId,
        (device, rights): (driftless::DeviceId, Option<Granted>),
        command: Command,
    ) -> Checked {
        let it = &self.replicas[replica];
        let Some(core) = it.core.as_ref() else { return Ok(()) };
        let expected = self.watch.expect_rights(core, syncgroup, device, rights, it.stopping);
        let command = match &self.sabotage {
            Some(saboteur) => saboteur.metadata(command),
            None => command,
        };
        self.ask_of_access(replica, command, &expected)
    }

    /// Somebody wants so much to be granted to everybody, or nothing.
    fn open(&mut self, replica: usize, group: u8, wanted: Option<Granted>) -> Checked {
        let Some(syncgroup) = self.group_at(replica, group) else { return Ok(()) };
        let it = &self.replicas[replica];
        let Some(core) = it.core.as_ref() else { return Ok(()) };
        let expected = self.watch.expect_opening(core, syncgroup, wanted, it.stopping);
        let command = match wanted {
            Some(Granted { rights, ends }) => Command::Open { syncgroup, rights, ends },
            None => Command::Close { syncgroup },
        };
        let command = match &self.sabotage {
            Some(saboteur) => saboteur.metadata(command),
            None => command,
        };
        self.ask_of_access(replica, command, &expected)
    }

    /// When something ends that somebody at a replica wants to last for so long, by the clock there; never where that
    /// clock is so wrong that they notice.
    pub(super) fn end(&self, replica: usize, lasts_ms: u64) -> Option<driftless::Wall> {
        let it = &self.replicas[replica];
        let is_right = it.wall.error(self.now).unsigned_abs() <= NOTICED_MS;
        (lasts_ms > 0 && is_right).then(|| it.clock.now(self.now).wall + Millis(lasts_ms))
    }

    /// Somebody pauses the exchange of a database, or resumes it.
    fn pause_sync(&mut self, replica: usize, database: Name, paused: bool) -> Checked {
        // Who was asleep may come to it when nothing is paused any more.
        if self.replicas[replica].core.is_none() || paused && self.healed {
            return Ok(());
        }
        // What was asked before, and is answered later, says nothing any more.
        for asked in self.replicas[replica].asked.values_mut() {
            if matches!(&asked.what, Question::Pause(earlier) if *earlier == database) {
                asked.what = Question::Other;
            }
        }
        if !paused {
            self.watch.resumes(replica, &database);
        }
        let question = if paused { Question::Pause(database.clone()) } else { Question::Other };
        let database = match &self.sabotage {
            Some(saboteur) => saboteur.database(database),
            None => database,
        };
        self.ask(replica, Command::Pause { database, paused }, question)
    }

    /// When all faults have ended, nothing is paused any more.
    pub(super) fn resume_all(&mut self, replica: usize) -> Checked {
        let core = self.replicas[replica].core.as_ref();
        let paused: Vec<Name> = core.into_iter().flat_map(|core| core.paused()).cloned().collect();
        paused.into_iter().try_for_each(|database| self.pause_sync(replica, database, false))
    }

    /// The syncgroup of a label, if it exists and this replica has heard of it.
    pub(super) fn group_at(&self, replica: usize, group: u8) -> Option<SyncgroupId> {
        let id = *self.people.groups.get(&group)?;
        let core = self.replicas[replica].core.as_ref()?;
        core.syncgroups().iter().any(|info| info.id == id).then_some(id)
    }

    /// Gives invitations to those who wait for one.
    fn hand_over(&mut self) -> Checked {
        for waits in std::mem::take(&mut self.people.waiting) {
            let (replica, ticket, database, user) = waits;
            let running = self.replicas[replica].is_usable();
            match self.people.tickets.get(&ticket) {
                Some(invitation) if running => {
                    let invitation = invitation.clone();
                    if self.network.is_cut() {
                        self.coverage.hit(Point::JoinInPartition);
                    }
                    let certificate = user.map(|user| self.certificate(replica, user));
                    let device = self.replicas[replica].device;
                    self.watch.shows(device, &invitation, certificate.as_ref());
                    let database = label("db", database);
                    let command = match certificate {
                        Some(certificate) => {
                            let certificate = Box::new(certificate);
                            Command::JoinAs { database, invitation, certificate }
                        }
                        None => Command::Join { database, invitation },
                    };
                    self.ask(replica, command, Question::Other)?;
                }
                _ => self.people.waiting.push(waits),
            }
        }
        Ok(())
    }

    fn write(&mut self, replica: usize, text: u64, changes: &[Edit], require: &[Require]) -> Checked {
        let mut batch = LocalWrite::new();
        for edit in changes {
            let Some(row) = self.row(replica, &edit.row) else { continue };
            let edit = edit.what.edit(|bytes| value(text, bytes));
            batch.changes.push(driftless::Change { row, edit });
        }
        if batch.changes.is_empty() {
            return Ok(());
        }
        for require in require {
            if let Some(precondition) = self.precondition(replica, require) {
                batch = batch.require(precondition);
            }
        }
        self.hand_in(replica, batch)?;
        Ok(())
    }

    /// Gives a batch to a replica. Says whether it was written.
    pub(super) fn hand_in(&mut self, replica: usize, batch: LocalWrite) -> Result<bool, Violation> {
        let had_precondition = !batch.preconditions.is_empty();
        let deletes = batch.changes.iter().any(|change| change.edit == driftless::Edit::Delete);
        let Some(core) = self.replicas[replica].core.as_ref() else { return Ok(false) };
        let expected = self.watch.expect(core, &batch, self.replicas[replica].stopping);
        let batch = match &self.sabotage {
            Some(saboteur) => saboteur.batch(batch, &expected),
            None => batch,
        };
        let was_written = self.ask_for(replica, Command::Write(batch), &expected)?;
        if was_written {
            if expected.rows.keys().any(|group| self.watch.is_removed_elsewhere(replica, group)) {
                self.coverage.hit(Point::WroteOn);
            }
            if let Some(core) = self.replicas[replica].core.as_ref()
                && expected.rows.keys().any(|group| self.watch.writes_as_user(core, group))
            {
                self.coverage.hit(Point::WroteAsUser);
            }
            self.coverage.hit(Point::Write);
            let rows: Vec<_> = expected.rows.values().flatten().collect();
            let collections = expected.rows.values().map(|rows| {
                rows.keys().map(|row| &row.collection).collect::<std::collections::BTreeSet<_>>().len()
            });
            for (is_so, point) in [
                (self.network.is_cut(), Point::PartitionDuringWrite),
                (had_precondition, Point::PreconditionHeld),
                (collections.max() > Some(1), Point::BatchOverCollections),
                (expected.rows.len() > 1, Point::BatchOverSyncgroups),
                (rows.iter().any(|(_, content)| **content == Content::Delete), Point::Delete),
            ] {
                if is_so {
                    self.coverage.hit(point);
                }
            }
        } else if deletes && expected.rows.is_empty() && expected.must_be_taken() {
            self.coverage.hit(Point::DeleteOfNothing);
        }
        if was_written {
            self.watchers_may_look(replica)?;
        }
        Ok(was_written)
    }

    fn row(&self, replica: usize, row: &RowLabel) -> Option<RowRef> {
        let syncgroup = self.group_at(replica, row.group)?;
        let key = Bytes::from(format!("k{}", row.key));
        Some(RowRef { syncgroup, collection: label("c", row.collection), key })
    }

    /// Somebody looks before writing, or relies on what they saw when they last did.
    fn precondition(&mut self, replica: usize, require: &Require) -> Option<Precondition> {
        let row = self.row(replica, &require.row)?;
        let core = self.replicas[replica].core.as_ref()?;
        let info = core.syncgroups().into_iter().find(|info| info.id == row.syncgroup)?;
        if !info.collections.contains(&row.collection) {
            return None;
        }
        let end = require.to.map(|to| Bytes::from(format!("k{to}")));
        let now = match require.to {
            None => Remembered::Heads(self.watch.heads(core, &row)),
            Some(_) => Remembered::Range(self.watch.range(core, &row, end.as_ref())),
        };
        let memory = &mut self.replicas[replica].remembered;
        let before = memory.insert((require.row, require.to), now.clone());
        let seen = if require.fresh { now } else { before.unwrap_or(now) };
        Some(match seen {
            Remembered::Heads(heads) => Precondition::Heads { row, heads },
            Remembered::Range(rows) => Precondition::Range { from: row, to: end, rows },
        })
    }

    /// Between two happenings: people see what has changed.
    pub(super) fn people_look(&mut self) -> Checked {
        let ready = |(replica, ticket, ..): &Waits| {
            self.people.tickets.contains_key(ticket) && self.replicas[*replica].is_usable()
        };
        if self.people.waiting.iter().any(ready) {
            self.hand_over()?;
        }
        if self.people.attitudes.is_empty() { Ok(()) } else { self.answer_offers() }
    }

    /// Nobody waits for an invitation any more.
    pub(crate) fn people_go_home(&mut self) {
        self.people.waiting.clear();
    }

    /// The syncgroup that a step made under this label.
    pub fn syncgroup(&self, label: u8) -> Option<SyncgroupId> {
        self.people.groups.get(&label).copied()
    }
}

/// What a batch says: its text, made as long as the plan says.
fn value(text: u64, bytes: u32) -> Bytes {
    let text = format!("w{text} ");
    text.bytes().cycle().take(bytes as usize).collect::<Vec<u8>>().into()
}

/// The name of a collection of a plan.
pub fn collection(label_number: u8) -> Name {
    label("c", label_number)
}
