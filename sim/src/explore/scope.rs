//! The world of an exploration: a few replicas, all linked, with nothing left to chance. What happens next is a
//! choice, and the whole of it can be copied.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use driftless::store::{MemStore, Scan, Table, View};
use driftless::{
    Action, Command, CommitSeq, Config, Continuity, Core, Event, Identity, Invitation, LinkId, LocalWrite,
    Millis, Mono, Now, Outbox, Outcome, PublicKey, RequestId, Rights, RowRef, SecretKey, SignatureScheme,
    SyncgroupId, Wall, Written, inspect,
};
use serde::{Deserialize, Serialize};

use super::{Defect, Explore};
use crate::KeyedHash;
use crate::coverage::Coverage;
use crate::merges::Merges;
use crate::oracle::{Checked, Oracle, Patience, Seen, Violation, Watch};
use crate::suite::guarded;
use crate::world::{Disk, label};

/// The wall clock of all replicas: it stands still, stamps move on by their counters.
const WALL: Wall = Wall(1_767_225_600_000);
/// More than anything here ever sends.
const CREDIT: u64 = 1 << 40;

/// Something that can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Move {
    /// Somebody writes the row.
    Write(usize),
    /// The sync of a disk is through.
    Synced(usize),
    /// The first frame on the way arrives.
    Arrives {
        /// Who sent it.
        from: usize,
        /// To whom.
        to: usize,
    },
    /// The first frame on the way is lost.
    Lost {
        /// Who sent it.
        from: usize,
        /// To whom.
        to: usize,
    },
    /// A replica's deadline has come.
    Tick(usize),
    /// Nothing else happens until the next deadline of any.
    Waits,
    /// A process dies, and starts again.
    Crash {
        /// Which.
        replica: usize,
        /// How many of the commits that are not durable survive.
        keep: usize,
    },
}

#[derive(Debug, Clone)]
struct Device {
    secret: SecretKey,
    key: PublicKey,
    core: Core,
    disk: Disk,
    /// Up to where the sync that is running covers.
    syncing: Option<CommitSeq>,
    boots: u64,
    requests: u64,
    /// Batches that wait for their reply, with the last commit when they were handled.
    asked: BTreeMap<RequestId, CommitSeq>,
    answers: Vec<Outcome>,
}

/// All of it.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    devices: Vec<Device>,
    /// Frames on their way, in order, with the link that they were sent on.
    wires: BTreeMap<(usize, usize), VecDeque<(LinkId, Bytes)>>,
    /// The link between two devices now, as each names it.
    links: BTreeMap<(usize, usize), LinkId>,
    next_link: u64,
    mono: u64,
    watch: Watch,
    /// No application has registered any.
    merges: Merges,
    group: Option<SyncgroupId>,
    written: u64,
    left: Left,
    defect: Option<Defect>,
}

/// How much may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    writes: u64,
    crashes: u64,
    losses: u64,
    timeouts: u64,
}

impl Scope {
    /// A syncgroup of which all replicas are members, and nothing on its way.
    pub(super) fn new(explore: &Explore) -> Result<Self, Violation> {
        guarded(|| Self::start(explore))
    }

    fn start(explore: &Explore) -> Result<Self, Violation> {
        let secret = |index: usize| SecretKey([index as u8 + 1; 32]);
        let names = (0..explore.replicas).map(|index| KeyedHash.public(&secret(index)).device()).collect();
        let mut scope = Self {
            devices: Vec::new(),
            wires: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 1,
            mono: 0,
            watch: Watch::new(names, &[], None, None),
            merges: Merges::default(),
            group: None,
            written: 0,
            left: Left { writes: 0, crashes: 0, losses: 0, timeouts: 0 },
            defect: None,
        };
        for index in 0..explore.replicas {
            let secret = secret(index);
            let (disk, mut out) = (Disk::default(), Outbox::new());
            let core = boot(index, &secret, 1, disk.store(), &mut out)?;
            let key = KeyedHash.public(&secret);
            let (asked, answers) = (BTreeMap::new(), Vec::new());
            let device =
                Device { secret, key, core, disk, syncing: None, boots: 1, requests: 0, asked, answers };
            scope.devices.push(device);
            scope.perform(index, out, None)?;
        }
        for one in 0..explore.replicas {
            for other in one + 1..explore.replicas {
                scope.link(one, other)?;
            }
        }
        scope.found()?;
        let Explore { writes, crashes, losses, timeouts, defect, .. } = *explore;
        scope.left = Left { writes, crashes, losses, timeouts };
        scope.defect = defect;
        Ok(scope)
    }

    /// Everything up to the start of the exploration, in one order.
    fn found(&mut self) -> Checked {
        let (group, rows) = (label("g", 0), label("c", 0));
        let create =
            Command::CreateSyncgroup { database: label("db", 0), name: group, collections: vec![rows] };
        self.ask(0, create)?;
        self.settle()?;
        self.group = self.devices[0].answers.iter().find_map(|answer| match answer {
            Outcome::Created(id) => Some(*id),
            _ => None,
        });
        let Some(syncgroup) = self.group else { return Err(trouble(0, "made no syncgroup")) };
        let invite = Command::Invite {
            syncgroup,
            rights: Rights::Admin,
            ends: None,
            valid_for: Millis(86_400_000),
            reusable: true,
            addresses: Vec::new(),
        };
        self.ask(0, invite)?;
        self.settle()?;
        let invitation: Option<Invitation> = self.devices[0].answers.iter().find_map(|answer| match answer {
            Outcome::Invited(invitation) => Some(invitation.clone()),
            _ => None,
        });
        let Some(invitation) = invitation else { return Err(trouble(0, "made no invitation")) };
        for replica in 1..self.devices.len() {
            self.watch.shows(self.devices[replica].key.device(), &invitation, None);
            self.ask(replica, Command::Join { database: label("db", 0), invitation: invitation.clone() })?;
            self.settle()?;
        }
        self.check_end()
    }

    /// Takes the first move until there is none.
    fn settle(&mut self) -> Checked {
        while let Some(next) = self.moves().first().copied() {
            self.take(next)?;
        }
        Ok(())
    }

    /// What can happen next, always in the same order.
    pub(super) fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        let all = || 0..self.devices.len();
        moves.extend(all().filter(|it| self.devices[*it].syncing.is_some()).map(Move::Synced));
        let due =
            |replica: &usize| self.devices[*replica].core.next_deadline().is_some_and(|at| at.0 <= self.mono);
        moves.extend(all().filter(due).map(Move::Tick));
        let busy = || self.wires.iter().filter(|(_, wire)| !wire.is_empty()).map(|(ends, _)| *ends);
        moves.extend(busy().map(|(from, to)| Move::Arrives { from, to }));
        if self.left.losses > 0 {
            moves.extend(busy().map(|(from, to)| Move::Lost { from, to }));
        }
        if self.left.writes > 0 {
            moves.extend(all().map(Move::Write));
        }
        if self.left.crashes > 0 {
            for replica in all() {
                let kept = 0..=self.devices[replica].disk.at_risk();
                moves.extend(kept.map(|keep| Move::Crash { replica, keep }));
            }
        }
        // Waits run out when all else is done, and a few times before.
        let idle = moves.iter().all(|it| matches!(it, Move::Write(_) | Move::Crash { .. }));
        let ahead = self.devices.iter().any(|it| it.core.next_deadline().is_some_and(|at| at.0 > self.mono));
        if ahead && (idle || self.left.timeouts > 0) {
            moves.push(Move::Waits);
        }
        moves
    }

    /// Lets something happen. After a panic nothing more can be asked of this.
    pub(super) fn take(&mut self, next: Move) -> Checked {
        guarded(|| self.happens(next))
    }

    fn happens(&mut self, next: Move) -> Checked {
        match next {
            Move::Write(replica) => {
                self.left.writes -= 1;
                self.write(replica)
            }
            Move::Synced(replica) => self.synced(replica),
            Move::Arrives { from, to } => {
                let Some((link, frame)) = self.wires.get_mut(&(from, to)).and_then(VecDeque::pop_front)
                else {
                    return Ok(());
                };
                self.feed(to, Event::Received { link, frame }, None)
            }
            Move::Lost { from, to } => {
                self.left.losses -= 1;
                self.wires.entry((from, to)).or_default().pop_front();
                Ok(())
            }
            Move::Tick(replica) => self.feed(replica, Event::Tick, None),
            Move::Waits => {
                let idle = self
                    .moves()
                    .iter()
                    .all(|it| matches!(it, Move::Write(_) | Move::Crash { .. } | Move::Waits));
                if !idle {
                    self.left.timeouts -= 1;
                }
                let deadlines = self.devices.iter().filter_map(|it| it.core.next_deadline());
                self.mono = deadlines.map(|at| at.0).filter(|at| *at > self.mono).min().unwrap_or(self.mono);
                Ok(())
            }
            Move::Crash { replica, keep } => {
                self.left.crashes -= 1;
                self.crash(replica, keep)
            }
        }
    }

    fn write(&mut self, replica: usize) -> Checked {
        let Some(syncgroup) = self.group else { return Ok(()) };
        self.written += 1;
        let row = RowRef { syncgroup, collection: label("c", 0), key: Bytes::from_static(b"k0") };
        let batch = LocalWrite::new().put(row, format!("w{}", self.written));
        let device = &mut self.devices[replica];
        device.requests += 1;
        let request = RequestId(device.requests);
        device.asked.insert(request, CommitSeq(0));
        let expected = self.watch.expect(&device.core, &batch, false);
        self.feed(replica, Event::Command { request, command: Command::Write(batch) }, Some(&expected))
    }

    fn ask(&mut self, replica: usize, command: Command) -> Checked {
        let device = &mut self.devices[replica];
        device.requests += 1;
        let request = RequestId(device.requests);
        self.feed(replica, Event::Command { request, command }, None)
    }

    #[allow(clippy::panic, reason = "it is a defect on purpose")]
    fn synced(&mut self, replica: usize) -> Checked {
        let device = &mut self.devices[replica];
        let Some(covered) = device.syncing.take() else { return Ok(()) };
        device.disk.finish_sync(covered);
        let seq = match self.defect {
            Some(Defect::SyncCoversTooMuch) => device.disk.store().seq(),
            Some(Defect::SyncPanics) => panic!("a sync is through, on purpose"),
            None => covered,
        };
        device.syncing = device.disk.start_sync().map(|(covers, _)| covers);
        self.watch.reported(replica, seq);
        self.feed(replica, Event::Durable { seq }, None)
    }

    fn crash(&mut self, replica: usize, keep: usize) -> Checked {
        let device = &mut self.devices[replica];
        device.disk.crash(keep);
        device.syncing = None;
        device.asked.clear();
        device.boots += 1;
        let survived = device.disk.store().seq();
        let mut out = Outbox::new();
        device.core = boot(replica, &device.secret, device.boots, device.disk.store(), &mut out)?;
        self.watch.restarts(replica, survived);
        let actions: Vec<Action> = std::iter::from_fn(|| out.pop()).collect();
        self.apply(replica, &actions);
        let mut coverage = Coverage::default();
        let device = &self.devices[replica];
        let seen = Seen { replica, core: &device.core, store: device.disk.store(), merges: &self.merges };
        self.watch.restarted(seen, survived, &mut coverage)?;
        self.perform_rest(replica, actions)?;
        for other in (0..self.devices.len()).filter(|other| *other != replica) {
            self.wires.remove(&(replica, other));
            self.wires.remove(&(other, replica));
            if let Some(link) = self.links.remove(&(other, replica)) {
                self.feed(other, Event::LinkDown { link }, None)?;
            }
            self.link(replica, other)?;
        }
        Ok(())
    }

    /// Two devices get a link.
    fn link(&mut self, one: usize, other: usize) -> Checked {
        for (replica, peer) in [(one, other), (other, one)] {
            let link = LinkId(self.next_link);
            self.next_link += 1;
            self.links.insert((replica, peer), link);
        }
        for (replica, peer) in [(one, other), (other, one)] {
            let link = self.links[&(replica, peer)];
            let peer = self.devices[peer].key;
            self.feed(
                replica,
                Event::LinkUp { link, peer: peer.into(), initiated: replica == one, address: None },
                None,
            )?;
            self.feed(replica, Event::Writable { link, credit: CREDIT }, None)?;
        }
        Ok(())
    }

    fn feed(
        &mut self,
        replica: usize,
        event: Event,
        expected: Option<&crate::oracle::WriteExpected>,
    ) -> Checked {
        let device = &mut self.devices[replica];
        let mut out = Outbox::new();
        let now = Now { mono: Mono(self.mono), wall: WALL };
        if let Err(fault) = device.core.handle(now, event, device.disk.store(), &mut out) {
            return Err(trouble(replica, &format!("its store is sound, and it says: {fault}")));
        }
        self.perform(replica, out, expected)
    }

    fn perform(
        &mut self,
        replica: usize,
        mut out: Outbox,
        expected: Option<&crate::oracle::WriteExpected>,
    ) -> Checked {
        let actions: Vec<Action> = std::iter::from_fn(|| out.pop()).collect();
        self.apply(replica, &actions);
        let device = &self.devices[replica];
        let seen = Seen { replica, core: &device.core, store: device.disk.store(), merges: &self.merges };
        // As configured by default; one syncgroup has no batches in parts.
        let config = Config::new(label("r", replica));
        let (bound, waiting) = (config.timing.parts.0, config.limits.waiting);
        let patience = Patience { now: self.mono, awake: 0, bound, waiting };
        self.watch.clock(WALL);
        self.watch.handled(seen, WALL, patience, &actions, expected, &mut Coverage::default())?;
        self.perform_rest(replica, actions)
    }

    fn apply(&mut self, replica: usize, actions: &[Action]) {
        let device = &mut self.devices[replica];
        for action in actions {
            if let Action::Commit(commit) = action {
                device.disk.apply(commit);
                if device.syncing.is_none() {
                    device.syncing = device.disk.start_sync().map(|(covers, _)| covers);
                }
            }
        }
    }

    fn perform_rest(&mut self, replica: usize, actions: Vec<Action>) -> Checked {
        for action in actions {
            match action {
                Action::Send { link, frame } => {
                    let to = self.links.iter().find(|((from, _), of)| *from == replica && **of == link);
                    if let Some(((_, to), _)) = to {
                        let (to, there) = (*to, self.links[&(*to, replica)]);
                        self.wires.entry((replica, to)).or_default().push_back((there, frame));
                    }
                }
                Action::Written { request, .. } => {
                    let device = &mut self.devices[replica];
                    device.asked.insert(request, device.disk.store().seq());
                }
                Action::Reply { request, result } => {
                    let asked = self.devices[replica].asked.remove(&request);
                    match (result, asked) {
                        (Ok(Outcome::Written(parts)), Some(seq)) => self.safe(replica, &parts, seq)?,
                        (Ok(outcome), _) => self.devices[replica].answers.push(outcome),
                        (Err(refusal), _) => return Err(trouble(replica, &format!("refuses: {refusal}"))),
                    }
                }
                Action::Disconnect { reason, .. } => {
                    return Err(trouble(
                        replica,
                        &format!("closes the only link to an honest peer: {reason:?}"),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn safe(&mut self, replica: usize, parts: &[Written], seq: CommitSeq) -> Checked {
        self.watch.acknowledged(replica, parts, seq)
    }

    /// Nothing can happen any more: all must agree, and show the same.
    pub(super) fn check_end(&self) -> Checked {
        guarded(|| self.is_well())
    }

    fn is_well(&self) -> Checked {
        let all: Vec<Seen<'_>> = self
            .devices
            .iter()
            .enumerate()
            .map(|(replica, it)| Seen {
                replica,
                core: &it.core,
                store: it.disk.store(),
                merges: &self.merges,
            })
            .collect();
        self.watch.agreed(&all)?;
        self.watch.settled(&all)?;
        all.into_iter().try_for_each(|seen| self.watch.look(seen, &mut Coverage::default()))
    }

    /// Equal for states from which the same can happen.
    pub(super) fn digest(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        for device in &self.devices {
            hasher.update(&device.core.state_digest(Mono(self.mono)));
            hash_store(device.disk.store(), &mut hasher);
            let at_risk = device.disk.at_risk() as u64;
            for number in [at_risk, device.syncing.map_or(0, |seq| seq.0), device.asked.len() as u64] {
                hasher.update(&number.to_le_bytes());
            }
        }
        for ((from, to), wire) in self.wires.iter().filter(|(_, wire)| !wire.is_empty()) {
            hasher.update(&[*from as u8, *to as u8, wire.len() as u8]);
            for (link, frame) in wire {
                hasher
                    .update(&link.0.to_le_bytes())
                    .update(&(frame.len() as u64).to_le_bytes())
                    .update(frame);
            }
        }
        let Left { writes, crashes, losses, timeouts } = self.left;
        for number in [writes, crashes, losses, timeouts] {
            hasher.update(&number.to_le_bytes());
        }
        let mut short = [0; 16];
        hasher.finalize_xof().fill(&mut short);
        short
    }

    /// A move in words, before it is taken.
    pub(super) fn tell(&self, next: Move) -> String {
        match next {
            Move::Write(replica) => format!("r{replica} writes w{} to g0/c0/k0", self.written + 1),
            Move::Synced(replica) => format!("the sync of r{replica}'s disk is through"),
            Move::Arrives { from, to } => format!("{} of r{from} arrives at r{to}", self.first(from, to)),
            Move::Lost { from, to } => format!("{} of r{from} to r{to} is lost", self.first(from, to)),
            Move::Tick(replica) => format!("r{replica} does what is due"),
            Move::Waits => "nothing happens until the next wait is over".to_owned(),
            Move::Crash { replica, keep } => {
                let risk = self.devices[replica].disk.at_risk();
                format!(
                    "r{replica} crashes, keeps {keep} of {risk} commits that were not durable, and starts again"
                )
            }
        }
    }

    fn first(&self, from: usize, to: usize) -> &'static str {
        let frame = self.wires.get(&(from, to)).and_then(VecDeque::front);
        match frame.and_then(|(_, frame)| inspect::frame(frame)) {
            Some(inspect::Frame::Hello { .. }) => "a hello",
            Some(inspect::Frame::Offer { .. }) => "an offer",
            Some(inspect::Frame::Summary { .. }) => "a summary",
            Some(inspect::Frame::Digests(_)) => "digests",
            Some(inspect::Frame::Pull(_)) => "a pull",
            Some(inspect::Frame::Announce(_)) => "an announcement",
            Some(inspect::Frame::Introduction { .. }) => "an introduction",
            Some(inspect::Frame::Deltas { .. }) => "deltas",
            _ => "a frame",
        }
    }
}

fn hash_store(store: &MemStore, hasher: &mut blake3::Hasher) {
    for table in Table::ALL {
        // A store in memory does not fail.
        let _ = store.scan(&Scan::all(table), &mut |key, value| {
            for bytes in [key, value] {
                hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
            }
            std::ops::ControlFlow::Continue(())
        });
        hasher.update(&[table as u8]);
    }
}

fn boot(
    index: usize,
    secret: &SecretKey,
    boots: u64,
    store: &MemStore,
    out: &mut Outbox,
) -> Result<Core, Violation> {
    let mut config = Config::new(label("r", index));
    config.signatures = &KeyedHash;
    let continuity = if boots == 1 { Continuity::Unknown } else { Continuity::Shown };
    let identity = Identity { chain: None, secret: secret.clone(), continuity };
    let mut seed = [index as u8; 32];
    seed[..8].copy_from_slice(&boots.to_le_bytes());
    Core::boot(&config, &identity, seed, store, out).map_err(|error| {
        let what = format!("does not start from what its disk has: {error}");
        Violation::new(Oracle::Durability, "S-10", index, what)
    })
}

fn trouble(replica: usize, what: &str) -> Violation {
    Violation::new(Oracle::Conduct, "S-4", replica, what)
}
