//! Faults of disks, processes and clocks, and how a replica gets on after them.

use std::cmp::Ordering;

use driftless::{Action, Author, Core, Event, Fault, Outbox, SyncgroupState, Wall};

use super::World;
use super::clock::WallClock;
use super::disk::{Disk, Failing};
use super::observe::Process;
use super::process::TIME_TO_STOP;
use super::queue::Happening;
use super::replica::End;
use crate::coverage::Point;
use crate::dice::{Concern, Dice};
use crate::facts::Happened;
use crate::oracle::{Checked, Held, Watcher, WriteExpected};
use crate::plan::{Act, Edit, ResolverKind, RowLabel, What};

impl World<'_> {
    // ---- disks ----

    /// Something of a disk is not as it should be, or will not be.
    pub(super) fn spoil_disk(&mut self, act: &Act) {
        match act {
            Act::FailReads { replica, after, again } => {
                self.replicas[*replica].disk.fail_reads(Failing { after: *after, again: *again });
            }
            Act::FillDisk { replica, after } => self.replicas[*replica].disk.fill(*after),
            Act::SlowSync { replica, ms } => self.replicas[*replica].disk.slow_down(*ms),
            Act::Damage { replica } => self.replicas[*replica].disk.damage(),
            Act::Copy { replica } => {
                let durable = self.replicas[*replica].disk.durable();
                let held = self.watch.held_after(*replica, durable.seq());
                self.replicas[*replica].copy = Some((durable, held));
                self.coverage.hit(Point::CopyMade);
            }
            _ => {}
        }
    }

    /// A core could not read its store. Nothing may have changed for it; either what it needs is fetched, and
    /// the event is offered again, or the replica is closed.
    pub(super) fn store_failed(
        &mut self,
        replica: usize,
        fault: &Fault,
        before: &Core,
        event: Event,
        out: &Outbox,
        expected: Option<&WriteExpected>,
    ) -> Checked {
        self.trace.note(self.now, || format!("r{replica} cannot read its store: {fault}"));
        let it = &mut self.replicas[replica];
        let same = it.core.as_ref().is_some_and(|core| format!("{core:?}") == format!("{before:?}"));
        if !same || !out.is_empty() {
            let what =
                format!("its store failed ({fault}), and something of the event was done all the same");
            return Err(self.conduct(replica, "S-10", what));
        }
        if let Fault::Need(_) = fault {
            it.disk.fetch();
            self.coverage.hit(Point::ReadAgain);
            return self.feed(replica, event, expected);
        }
        let is_damage = matches!(fault, Fault::Corrupt { .. });
        self.coverage.hit(if is_damage { Point::DamageFound } else { Point::ReadFailed });
        it.end = Some(End::Failed);
        self.end_if_due(replica)
    }

    /// A process whose store failed is gone, and will be started again.
    pub(super) fn recover(&mut self, replica: usize) {
        let it = &mut self.replicas[replica];
        // The process is closed, the machine runs on: what was applied is there.
        it.disk.crash(usize::MAX);
        self.trace.note(self.now, || format!("r{replica} is closed, as its store has failed"));
        self.note(replica, Happened::Failed);
        self.observe_process(replica, Process::Gone { why: "is closed, as its store has failed" });
        self.end_process(replica);
        self.start_later(replica);
    }

    pub(super) fn start_later(&mut self, replica: usize) {
        let boots = self.replicas[replica].boots;
        let mut dice = Dice::new(self.plan.seed, Concern::Recovery, &[replica as u64, boots]);
        self.queue.push(self.now + dice.skewed(100, 10_000), Happening::Restart { replica });
    }

    /// A replica could not start, because its store could not be read.
    pub(super) fn boot_failed(&mut self, replica: usize, fault: &Fault) -> Checked {
        self.coverage.hit(Point::BootFailed);
        self.replicas[replica].gone();
        if let Fault::Corrupt { .. } = fault {
            self.coverage.hit(Point::DamageFound);
            if self.replicas[replica].copy.is_some() {
                return self.restore(replica, false);
            }
            self.lose_disk(replica);
            return self.boot(replica, false);
        }
        self.replicas[replica].disk.fetch();
        self.start_later(replica);
        Ok(())
    }

    /// An old copy takes the place of the disk. Whether its driver notices makes a difference where somebody else does.
    pub(super) fn restore(&mut self, replica: usize, unnoticed: bool) -> Checked {
        let Some((store, held)) = self.replicas[replica].copy.clone() else { return Ok(()) };
        let author = self.replicas[replica].author_of(&store, &self.plan.setup);
        let author = author.filter(|_| unnoticed && self.application.is_none());
        let unheard = author.filter(|author| {
            let mut others = (0..self.replicas.len()).filter(|other| *other != replica);
            others.any(|other| self.knows_better(other, replica, author, &held))
        });
        self.coverage.hit(if unheard.is_some() { Point::SetBackUnnoticed } else { Point::SetBack });
        self.trace.note(self.now, || format!("r{replica} is set back to a copy of its disk: {unheard:?}"));
        self.take_away(
            replica,
            match unheard {
                Some(_) => "is set back to a copy of its disk, token and all",
                None => "is set back to a copy of its disk",
            },
        );
        let seq = store.seq();
        self.replicas[replica].disk = Disk::with(store);
        self.replicas[replica].doubtful = unheard.is_none();
        self.replicas[replica].unheard = unheard;
        self.replicas[replica].watchers.values_mut().for_each(Watcher::set_back);
        if self.watch.set_back(replica, held, seq, unheard) {
            self.coverage.hit(Point::SetBackLostOwn);
        }
        self.boot(replica, unheard.is_some())?;
        let uses_too_soon = self.sabotage.as_ref().is_some_and(super::Saboteur::uses_too_soon);
        if uses_too_soon && unheard.is_some() { self.use_too_soon(replica) } else { Ok(()) }
    }

    /// A defect for tests of the oracles: people write at once on a device that was set back and does not know.
    fn use_too_soon(&mut self, replica: usize) -> Checked {
        for group in self.people.groups().keys().copied().collect::<Vec<_>>() {
            let row = RowLabel { group, collection: 0, key: 0 };
            let changes = vec![Edit { row, what: What::Text(1) }];
            self.person(&Act::Write { replica, text: 0, changes, require: Vec::new() })?;
        }
        Ok(())
    }

    /// Whether a replica can tell another one that it has written more than it holds: it takes that one for a member of
    /// a syncgroup that both know, and has more of its log.
    fn knows_better(&self, replica: usize, other: usize, author: &Author, held: &Held) -> bool {
        let it = &self.replicas[replica];
        let Some(core) = it.core.as_ref().filter(|_| !it.hostile) else { return false };
        let mut groups = core.syncgroups().into_iter();
        groups.any(|group| {
            let more = self.watch.held(replica).get(&group.id).and_then(|held| held.get(author));
            let less = held.get(&group.id).map(|held| held.get(author).copied().unwrap_or(0));
            let members = core.members(&group.id).unwrap_or_default();
            let device = self.replicas[other].device;
            group.state == SyncgroupState::Active
                && !group.paused
                && members.iter().any(|member| member.device == device && member.rights.is_some())
                && less.is_some_and(|less| more.is_some_and(|more| *more > less))
        })
    }

    /// Whether two replicas may get a link: whoever has yet to hear of itself reaches only those who can tell it.
    pub(super) fn may_talk(&self, one: usize, other: usize) -> bool {
        let may_reach = |one: usize, other: usize| match self.replicas[one].unheard {
            Some(author) if self.replicas[one].has_yet_to_hear() => {
                self.knows_better(other, one, &author, self.watch.held(one))
            }
            _ => true,
        };
        may_reach(one, other) && may_reach(other, one)
    }

    /// A device that was set back has heard so, and goes on as another author: it can be used again.
    pub(super) fn hears_of_itself(&mut self, replica: usize) -> Checked {
        let it = &mut self.replicas[replica];
        if !it.is_deaf || it.core.is_none() || it.has_yet_to_hear() {
            return Ok(());
        }
        it.is_deaf = false;
        let resolves = it.resolver != ResolverKind::Absent;
        self.attach(replica, resolves)
    }

    /// The disk is gone.
    pub(super) fn lose_disk(&mut self, replica: usize) {
        self.trace.note(self.now, || format!("r{replica} loses its disk"));
        self.take_away(replica, "loses its disk");
        let it = &mut self.replicas[replica];
        it.disk = Disk::default();
        it.doubtful = true;
        it.unheard = None;
        it.copy = None;
        self.replicas[replica].watchers.values_mut().for_each(Watcher::set_back);
        self.watch.set_back(replica, Held::new(), driftless::CommitSeq(0), None);
        self.watch.lost_all(replica);
    }

    /// The process, if it runs, is gone with what it had.
    pub(super) fn take_away(&mut self, replica: usize, why: &'static str) {
        if self.replicas[replica].core.is_some() {
            self.observe_process(replica, Process::Gone { why });
            self.end_process(replica);
        }
    }

    // ---- processes ----

    /// A process falls asleep, unless it sleeps already: what waits for it to wake keeps its order.
    pub(super) fn pause(&mut self, replica: usize, ms: u64, links_break: bool) {
        let it = &self.replicas[replica];
        if it.core.is_none() || it.asleep.is_some() {
            return;
        }
        self.replicas[replica].asleep = Some(self.now + ms);
        self.queue.push(self.now + ms, Happening::Wake { replica });
        if links_break {
            for link in self.network.links_of(replica) {
                self.coverage.hit(Point::PausedLinksBroke);
                self.break_link(link);
            }
        }
    }

    /// What happens to a sleeping process happens when it wakes, in the same order.
    pub(super) fn unless_asleep(&mut self, happening: Happening) -> Option<Happening> {
        let Some(replica) = self.concerned(&happening) else { return Some(happening) };
        let it = &mut self.replicas[replica];
        let Some(until) = it.asleep else { return Some(happening) };
        self.coverage.hit(Point::Paused);
        match happening {
            Happening::Tick { boot, .. } if it.boots == boot && it.tick_at == Some(self.now) => {
                it.tick_at = Some(until);
                self.queue.push(until, happening);
            }
            Happening::Tick { .. } => {}
            Happening::Overdue { .. } => self.queue.push(until + TIME_TO_STOP, happening),
            happening => self.queue.push(until, happening),
        }
        None
    }

    /// The process that something would happen to.
    fn concerned(&self, happening: &Happening) -> Option<usize> {
        let replica = match happening {
            Happening::Step(index) => match &self.plan.steps[*index].act {
                Act::Create { replica, .. }
                | Act::AddCollection { replica, .. }
                | Act::Invite { replica, .. }
                | Act::Leave { replica, .. }
                | Act::Eject { replica, .. }
                | Act::SetRights { replica, .. }
                | Act::Publish { replica, .. }
                | Act::Unpublish { replica, .. }
                | Act::Describe { replica, .. }
                | Act::Destroy { replica, .. }
                | Act::AdmitUser { replica, .. }
                | Act::Open { replica, .. }
                | Act::Close { replica, .. }
                | Act::EjectUser { replica, .. }
                | Act::InviteDevice { replica, .. }
                | Act::Enrol { replica, .. }
                | Act::StrikeOff { replica, .. }
                | Act::PauseSync { replica, .. }
                | Act::ResumeSync { replica, .. }
                | Act::Reissue { replica }
                | Act::Rotate { replica }
                | Act::Write { replica, .. }
                | Act::App { replica, .. }
                | Act::Schema { replica, .. }
                | Act::ChangeSchema { replica, .. }
                | Act::Transfer { replica, .. }
                | Act::Resolver { replica, .. }
                | Act::Watch { replica, .. }
                | Act::Unwatch { replica, .. }
                | Act::Shutdown { replica }
                | Act::Attack { replica, .. }
                | Act::Find { replica, .. }
                | Act::LoseSight { replica, .. } => *replica,
                _ => return None,
            },
            Happening::Tick { replica, .. }
            | Happening::Synced { replica, .. }
            | Happening::Lie { replica, .. }
            | Happening::Found { replica, .. }
            | Happening::Lost { replica, .. }
            | Happening::Answer { replica, .. }
            | Happening::Attach { replica, .. }
            | Happening::Install { replica, .. }
            | Happening::News { replica, .. }
            | Happening::Overdue { replica, .. } => *replica,
            Happening::Pay(payment) => payment.replica,
            Happening::Dialled { from, .. } | Happening::DialFailed { from, .. } => *from,
            Happening::Arrive { link, .. }
            | Happening::ArriveCorrupt { link, .. }
            | Happening::Writable { link, .. }
            | Happening::Accepted { link }
            | Happening::Down { link }
            | Happening::Closed { link } => self.network.ends(*link)?.0,
            Happening::Wear { .. }
            | Happening::Silence { .. }
            | Happening::Wake { .. }
            | Happening::Attack { .. }
            | Happening::Restart { .. }
            | Happening::Look { .. } => return None,
        };
        Some(replica)
    }

    /// A process wakes, unless it has been put to sleep for longer since.
    pub(super) fn wake(&mut self, replica: usize) {
        let it = &mut self.replicas[replica];
        it.asleep = it.asleep.filter(|until| *until > self.now);
        it.awake = self.now;
    }

    /// A device is never seen again.
    pub(super) fn vanish(&mut self, replica: usize) {
        self.coverage.hit(Point::Vanished);
        if self.people.has_invited(&self.replicas[replica].device) {
            self.coverage.hit(Point::VanishedAdmin);
        }
        self.trace.note(self.now, || format!("r{replica} vanishes"));
        self.take_away(replica, "is never seen again");
        self.replicas[replica].vanished = true;
        self.watch.vanished(replica);
    }

    // ---- clocks ----

    /// A wall clock is set wrong, or right.
    pub(super) fn set_clock(&mut self, replica: usize, ms: i64) {
        let it = &mut self.replicas[replica];
        let (before, after) = (it.wall, WallClock { set_ms: ms, ..it.wall });
        it.set_clock(after);
        self.watch.clock_is_set(self.now, replica);
        match ms.cmp(&before.set_ms) {
            Ordering::Less => self.coverage.hit(Point::ClockBack),
            Ordering::Greater => self.coverage.hit(Point::ClockForward),
            Ordering::Equal => {}
        }
        if self.replicas[replica].clock.now(self.now).wall == Wall(0) {
            self.coverage.hit(Point::Clock1970);
        }
    }

    /// Counts what the clocks had to do with a batch.
    pub(super) fn stamped(&mut self, replica: usize, wall: Wall, actions: &[Action]) {
        let parts = actions.iter().filter_map(|action| match action {
            Action::Written { parts, .. } => parts.first(),
            _ => None,
        });
        for part in parts {
            if self.replicas[replica].wall.error(self.now).unsigned_abs() >= 1_000 {
                self.coverage.hit(Point::SkewedWrite);
            }
            if part.stamp.wall() > wall {
                self.coverage.hit(Point::StampPushed);
            }
        }
    }
}
