//! One simulated device: a core with its disk and its clocks, and the person in front of it.

use std::collections::BTreeMap;

use driftless::store::MemStore;
use driftless::verify::{Verification, Verified};
use driftless::{
    Author, CommitSeq, Config, Continuity, Core, DeviceId, Identity, KeyChain, Name, NewKey, Outbox,
    PublicKey, RequestId, Rights, SecretKey, SignatureScheme, SpecVersion, SyncgroupId, UserId, Version,
};

use super::clock::{Clock, WallClock};
use super::disk::Disk;
use super::label;
use super::sabotage::Sabotage;
use crate::KeyedHash;
use crate::app::Process;
use crate::dice::{Concern, Dice};
use crate::merges::Merges;
use crate::oracle::{Held, Seen, Watcher};
use crate::plan::{ResolverKind, RowLabel, Settings, Setup, Signatures, Waits};

/// A device.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) index: usize,
    secret: SecretKey,
    /// Its keys up to now, as its driver keeps them.
    pub(crate) chain: KeyChain,
    /// Each that it had before, with the chain up to that.
    pub(crate) former: Vec<(SecretKey, KeyChain)>,
    pub(crate) key: PublicKey,
    pub(crate) device: DeviceId,
    /// While the process runs.
    pub(crate) core: Option<Core>,
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    /// How its wall clock is wrong, whatever process runs.
    pub(crate) wall: WallClock,
    /// What was set otherwise than in the setup.
    pub(crate) settings: Option<Settings>,
    /// The latest copy of its disk, and what it held then.
    pub(crate) copy: Option<(MemStore, Held)>,
    /// Its disk was set back, and nothing is durable since: its driver must not say that its store continues.
    pub(crate) doubtful: bool,
    /// The author that it went on as when its disk was set back and its driver did not notice: nothing may be written
    /// under that name before others have told it what they hold of it.
    pub(crate) unheard: Option<Author>,
    /// The process has started so, and has not heard it.
    pub(crate) is_deaf: bool,
    /// When the process last woke.
    pub(crate) awake: u64,
    /// Until when the process sleeps.
    pub(crate) asleep: Option<u64>,
    /// It will never be seen again.
    pub(crate) vanished: bool,
    /// It does not keep to the protocol.
    pub(crate) hostile: bool,
    /// How often it was started: what belongs to an earlier process is void.
    pub(crate) boots: u64,
    /// The tick that is due next.
    pub(crate) tick_at: Option<u64>,
    /// Ticks at the same moment of virtual time.
    pub(crate) ticks: (u64, u32),
    /// A crash that waits for a commit.
    pub(crate) armed: Option<Armed>,
    /// An end that is due as soon as the event is handled.
    pub(crate) end: Option<End>,
    /// It was asked to stop.
    pub(crate) stopping: bool,
    /// It wants to be found.
    pub(crate) advertises: bool,
    /// Syncs of its disk, to draw each one's time.
    pub(crate) syncs: u64,
    /// What it was asked and has not answered.
    pub(crate) asked: BTreeMap<RequestId, Asked>,
    pub(super) next_request: u64,
    /// What the person in front of it saw when they last looked at a row or a range.
    pub(crate) remembered: BTreeMap<(RowLabel, Option<u8>), Remembered>,
    /// What its application's resolver is like, whether or not it runs.
    pub(crate) resolver: ResolverKind,
    /// Whether the resolver is attached.
    pub(crate) attached: bool,
    /// Questions put to the resolver: the answers of a stubborn one are numbered.
    pub(crate) questions: u64,
    /// The start and the commit at which readers last looked.
    pub(crate) looked_at: Option<(u64, CommitSeq)>,
    /// Who watches, by number.
    pub(crate) watchers: BTreeMap<u8, Watcher>,
    /// By which change people there knew what members are told, when they looked last.
    pub(crate) read_specs: BTreeMap<SyncgroupId, SpecVersion>,
    /// The application under test, while its process runs and it is not being called.
    pub(crate) process: Option<Box<dyn Process>>,
    /// The application has left a conflict open.
    pub(crate) leaves_open: bool,
    /// What its application has registered.
    pub(crate) merges: Merges,
}

/// What was looked at before a batch with preconditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remembered {
    Heads(Vec<Version>),
    Range(Vec<driftless::read::Row>),
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It dies, and so many of the commits at risk survive.
    Crash(Option<usize>),
    /// Its store has failed, and it was closed. What was applied is there when it is opened again.
    Failed,
    /// It has stopped in good order.
    Stopped,
}

/// A crash that waits for a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Armed {
    pub(crate) after: u32,
    pub(crate) keep: Option<usize>,
}

/// What a replica was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) what: Question,
    /// The last commit when it had been handled.
    pub(crate) seq: CommitSeq,
}

/// What was asked, as far as the answer matters to others.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    /// A batch, with what it was said to have become.
    Write(Vec<driftless::Written>),
    /// A syncgroup of this label.
    Create(u8),
    /// An invitation of this label, to this syncgroup.
    Invite(u32, SyncgroupId, Invited),
    /// That the exchange of this database pause.
    Pause(Name),
    Other,
}

/// Whom an invitation lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invited {
    /// Whoever holds it, with these rights.
    Anybody(Rights),
    /// The devices of a user.
    DevicesOf(UserId),
}

impl Replica {
    pub(crate) fn new(index: usize, seed: u64, setup: &Setup) -> Self {
        let secret = SecretKey(Dice::new(seed, Concern::Key, &[index as u64]).bytes());
        let key = scheme(setup.signatures).public(&secret);
        Self {
            index,
            secret,
            chain: key.into(),
            former: Vec::new(),
            key,
            device: key.device(),
            core: None,
            disk: Disk::default(),
            clock: Clock::new(0, WallClock::default()),
            wall: WallClock {
                skew_ms: setup.skew_ms.get(index).copied().unwrap_or(0),
                drift_ppm: setup.drift_ppm.get(index).copied().unwrap_or(0),
                set_ms: 0,
            },
            settings: None,
            copy: None,
            doubtful: false,
            unheard: None,
            is_deaf: false,
            awake: 0,
            asleep: None,
            vanished: false,
            hostile: setup.hostile.contains(&index),
            boots: 0,
            tick_at: None,
            ticks: (0, 0),
            armed: None,
            end: None,
            stopping: false,
            advertises: false,
            syncs: 0,
            asked: BTreeMap::new(),
            next_request: 1,
            remembered: BTreeMap::new(),
            resolver: ResolverKind::Absent,
            attached: false,
            questions: 0,
            looked_at: None,
            watchers: BTreeMap::new(),
            read_specs: BTreeMap::new(),
            process: None,
            leaves_open: false,
            merges: Merges::usual(),
        }
    }

    /// Starts the process. The first actions are in the outbox.
    pub(crate) fn boot(
        &mut self,
        seed: u64,
        setup: &Setup,
        shown: bool,
        sabotage: Option<Sabotage>,
        out: &mut Outbox,
    ) -> Result<(), driftless::BootError> {
        self.boots += 1;
        let numbers = [self.index as u64, self.boots];
        let offset = Dice::new(seed, Concern::Clock, &numbers).below(1 << 40);
        self.clock = Clock::new(offset, self.wall);
        let continuity = if shown { Continuity::Shown } else { Continuity::Unknown };
        let identity = self.identity(continuity);
        let random = Dice::new(seed, Concern::Boot, &numbers).bytes();
        let mut config = self.config(setup);
        sabotage.iter().for_each(|sabotage| sabotage.config(&mut config, setup.signatures));
        self.core = Some(Core::boot(&config, &identity, random, &self.disk, out)?);
        self.is_deaf = self.has_yet_to_hear();
        Ok(())
    }

    fn identity(&self, continuity: Continuity) -> Identity {
        let chain = Some(&self.chain).filter(|chain| chain.rollovers() > 0).cloned();
        Identity { chain, secret: self.secret.clone(), continuity }
    }

    /// Its driver draws another key, and keeps it. `None` if it has had as many as it may.
    pub(crate) fn next_key(&mut self, seed: u64, setup: &Setup) -> Option<NewKey> {
        let numbers = [self.index as u64, 1 + self.chain.rollovers() as u64];
        let secret = SecretKey(Dice::new(seed, Concern::Key, &numbers).bytes());
        let chain = self.chain.rolled_over(&self.secret, &secret, scheme(setup.signatures)).ok()?;
        let former = std::mem::replace(&mut self.secret, secret.clone());
        self.former.push((former, std::mem::replace(&mut self.chain, chain.clone())));
        Some(NewKey { secret, chain })
    }

    /// The author that it would go on as from a store that is believed to continue.
    pub(crate) fn author_of(&self, store: &MemStore, setup: &Setup) -> Option<Author> {
        let identity = self.identity(Continuity::Shown);
        let core = Core::boot(&self.config(setup), &identity, [0; 32], store, &mut Outbox::new());
        Some(core.ok()?.author())
    }

    fn config(&self, setup: &Setup) -> Config {
        let mut config = Config::new(name(self.index));
        config.signatures = scheme(setup.signatures);
        config.limits.chunk_bytes = self.chunk_bytes(setup);
        config.limits.waiting = setup.waiting;
        config.limits.watch_log = setup.watch_log.unwrap_or(config.limits.watch_log);
        let low = &setup.limits;
        config.limits.syncgroups = low.syncgroups.unwrap_or(config.limits.syncgroups);
        config.limits.links = low.links.unwrap_or(config.limits.links);
        config.limits.drift.0 = low.drift_ms.unwrap_or(config.limits.drift.0);
        config.merges = self.merges.list().to_vec();
        let waits = self.waits(setup);
        for (wait, millis) in [
            (&mut config.timing.relay, waits.relay),
            (&mut config.timing.confirm, waits.confirm),
            (&mut config.timing.patience, waits.patience),
            (&mut config.timing.patience_max, waits.patience_max),
            (&mut config.timing.redial, waits.redial),
            (&mut config.timing.redial_max, waits.redial_max),
            (&mut config.timing.parts, waits.parts),
            (&mut config.timing.resolve, waits.resolve),
        ] {
            wait.0 = millis;
        }
        config
    }

    /// Checks its whole store against what was signed.
    pub(crate) fn verify(&self, seed: u64, setup: &Setup) -> Result<Vec<Verified>, String> {
        let identity = self.identity(Continuity::Shown);
        let random = Dice::new(seed, Concern::Boot, &[self.index as u64]).bytes();
        let config = self.config(setup);
        let (store, mut scratch) = (self.disk.store(), MemStore::new());
        let begun = Verification::begin(&config, &identity, random, store);
        let (mut verification, first) = begun.map_err(|error| error.to_string())?;
        scratch.apply(&first);
        while let Some(commit) = verification.step(store, &scratch).map_err(|fault| fault.to_string())? {
            scratch.apply(&commit);
        }
        Ok(verification.finish(store, &scratch))
    }

    /// The process is gone, and what was only in its memory with it.
    pub(crate) fn gone(&mut self) {
        self.core = None;
        self.tick_at = None;
        self.armed = None;
        self.end = None;
        self.stopping = false;
        self.advertises = false;
        self.asleep = None;
        self.asked.clear();
        self.attached = false;
        self.process = None;
    }

    /// How long it waits for what, as it is set up now.
    pub(crate) fn waits<'s>(&'s self, setup: &'s Setup) -> &'s Waits {
        self.settings.as_ref().map_or(&setup.timing, |settings| &settings.timing)
    }

    /// How large its frames of deltas are about, as it is set up now.
    pub(crate) fn chunk_bytes(&self, setup: &Setup) -> usize {
        self.settings.as_ref().map_or(setup.chunk_bytes, |settings| settings.chunk_bytes)
    }

    /// Whether somebody can use the device now.
    pub(crate) fn is_usable(&self) -> bool {
        self.core.is_some() && !self.stopping && self.asleep.is_none() && !self.has_yet_to_hear()
    }

    /// Whether it was set back, does not know, and goes on as the author that it was.
    pub(crate) fn has_yet_to_hear(&self) -> bool {
        self.core.as_ref().is_some_and(|core| self.unheard == Some(core.author()))
    }

    /// Sets the wall clock wrong, or right.
    pub(crate) fn set_clock(&mut self, wall: WallClock) {
        self.wall = wall;
        self.clock.set(wall);
    }

    pub(crate) fn request(&mut self) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        request
    }

    /// As oracles see it, while it runs.
    pub(crate) fn seen(&self) -> Option<Seen<'_>> {
        let core = self.core.as_ref()?;
        Some(Seen { replica: self.index, core, store: self.disk.store(), merges: &self.merges })
    }
}

pub(crate) fn scheme(signatures: Signatures) -> &'static dyn SignatureScheme {
    match signatures {
        Signatures::Keyed => &KeyedHash,
        Signatures::Ed25519 => &driftless::Ed25519,
    }
}

/// What a device calls itself.
pub(crate) fn name(index: usize) -> Name {
    label("r", index)
}
