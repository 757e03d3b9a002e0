//! Several replicas, joined by links that lose nothing and take no time: what an application sees when
//! nothing goes wrong, and what the core does about input that is wrong. Faults are the simulator's.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use driftless::read::{self, Row};
use driftless::store::MemStore;
use driftless::*;

mod agreement;
mod branches;
mod disagreeing;
mod exchange;
mod expiry;
mod faults;
#[cfg(feature = "hostile")]
mod forged;
mod forks;
mod merging;
mod offering;
mod opening;
mod parts;
mod pausing;
mod publishing;
mod raising;
mod reading;
mod reissue;
mod removal;
mod resolving;
mod rotating;
mod rules;
mod telling;
mod users;
mod verifying;
mod watching;
mod whole;
mod withholding;

/// A replica and the store that it runs on.
struct Node {
    core: Core,
    store: MemStore,
    secret: SecretKey,
    chain: Option<KeyChain>,
    boots: u8,
    config: Config,
    replies: BTreeMap<u64, Result<Outcome, Refusal>>,
    notices: Vec<Notice>,
    changed: Vec<RowChange>,
    raised: Vec<Conflict>,
    advertised: bool,
    requests: u64,
    stopped: bool,
    /// Commits are reported durable at once, unless this is off.
    durable: bool,
    /// Whom it wanted to reach, and where.
    called: Vec<(DeviceId, Vec<Address>)>,
    /// Whom it wants to reach answers, and says nothing.
    is_answered: bool,
}

/// Replicas by number, and the links between them.
struct World {
    nodes: Vec<Node>,
    now: Now,
    links: BTreeMap<LinkId, (usize, LinkId, usize)>,
    next_link: u64,
    /// Frames under way: to whom, on which link.
    frames: VecDeque<(usize, LinkId, Bytes)>,
    /// All frames sent so far.
    sent: usize,
    bytes: usize,
    closed: Vec<CloseReason>,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn boot(
    secret: &SecretKey,
    config: &Config,
    seed: u8,
    store: &MemStore,
    continuity: Continuity,
) -> (Core, Outbox) {
    let identity = Identity { chain: None, secret: secret.clone(), continuity };
    let mut out = Outbox::new();
    let core = Core::boot(config, &identity, [seed; 32], store, &mut out).unwrap();
    (core, out)
}

impl World {
    fn new(count: usize) -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            now: Now { mono: Mono(1_000), wall: Wall(1_700_000_000_000) },
            links: BTreeMap::new(),
            next_link: 1,
            frames: VecDeque::new(),
            sent: 0,
            bytes: 0,
            closed: Vec::new(),
        };
        (0..count).for_each(|_| world.arrive());
        world
    }

    /// One more replica, that nothing leads to yet.
    fn arrive(&mut self) {
        let at = self.nodes.len();
        let secret = SecretKey([at as u8 + 1; 32]);
        let config = Config::new(name(&format!("node {at}")));
        let store = MemStore::new();
        let (core, out) = boot(&secret, &config, at as u8, &store, Continuity::Unknown);
        self.nodes.push(Node {
            core,
            store,
            secret,
            chain: None,
            boots: at as u8,
            config,
            replies: BTreeMap::new(),
            notices: Vec::new(),
            changed: Vec::new(),
            raised: Vec::new(),
            advertised: false,
            requests: 0,
            stopped: false,
            durable: true,
            called: Vec::new(),
            is_answered: false,
        });
        self.perform(at, out);
    }

    /// Restarts a replica on a store.
    fn reboot(&mut self, at: usize, store: MemStore, continuity: Continuity) {
        for link in self.links_of(at) {
            self.unlink(link);
        }
        let node = &mut self.nodes[at];
        let identity = Identity { chain: node.chain.clone(), secret: node.secret.clone(), continuity };
        let mut out = Outbox::new();
        node.boots += 1;
        let core = Core::boot(&node.config, &identity, [100 + node.boots; 32], &store, &mut out).unwrap();
        (node.core, node.store) = (core, store);
        self.perform(at, out);
    }

    fn links_of(&self, at: usize) -> Vec<LinkId> {
        self.links.iter().filter(|(_, (near, ..))| *near == at).map(|(link, _)| *link).collect()
    }

    fn event(&mut self, at: usize, event: Event) {
        let mut out = Outbox::new();
        let node = &mut self.nodes[at];
        node.core.handle(self.now, event, &node.store, &mut out).unwrap();
        self.perform(at, out);
    }

    fn perform(&mut self, at: usize, mut out: Outbox) {
        while let Some(action) = out.pop() {
            match action {
                Action::Commit(commit) => {
                    self.nodes[at].store.apply(&commit);
                    if self.nodes[at].durable {
                        // After the actions of this call: like a disk, not like a function.
                        let mut later = Outbox::new();
                        std::mem::swap(&mut later, &mut out);
                        self.perform(at, later);
                        self.event(at, Event::Durable { seq: commit.seq });
                    }
                }
                Action::Send { link, frame } => {
                    let Some((_, far, peer)) = self.links.get(&link).copied() else { continue };
                    self.sent += 1;
                    self.bytes += frame.len();
                    self.frames.push_back((peer, far, frame));
                }
                Action::Reply { request, result } => {
                    let before = self.nodes[at].replies.insert(request.0, result);
                    assert!(before.is_none(), "one reply for each command");
                }
                Action::Notice(notice) => self.nodes[at].notices.push(notice),
                Action::Resolve(conflicts) => self.nodes[at].raised.extend(conflicts),
                Action::Changed(changes) => self.nodes[at].changed.extend(changes),
                Action::Advertise { on } => self.nodes[at].advertised = on,
                Action::Disconnect { link, reason } => {
                    self.closed.push(reason);
                    self.unlink(link);
                }
                Action::Stopped => self.nodes[at].stopped = true,
                Action::Connect { device, addresses, .. } => {
                    self.nodes[at].called.push((device, addresses));
                    let mut keys = self.nodes.iter().map(|node| node.core.keys().clone());
                    let key = keys.find(|key| key.device() == device);
                    let answer = match key.filter(|_| self.nodes[at].is_answered) {
                        Some(peer) => {
                            let link = LinkId(self.next_link);
                            self.next_link += 1;
                            Event::LinkUp { link, peer, initiated: true, address: None }
                        }
                        None => Event::ConnectFailed { device },
                    };
                    self.event(at, answer);
                }
                Action::Written { .. } => {}
                other => panic!("an action that this test does not know: {other:?}"),
            }
        }
    }

    /// Opens a link between two replicas; returns the first one's end.
    fn link(&mut self, a: usize, b: usize) -> LinkId {
        let (near, far) = (LinkId(self.next_link), LinkId(self.next_link + 1));
        self.next_link += 2;
        self.links.insert(near, (a, far, b));
        self.links.insert(far, (b, near, a));
        for (at, link, peer, initiated) in [(a, near, b, true), (b, far, a, false)] {
            let peer = self.nodes[peer].core.keys().clone();
            self.event(at, Event::LinkUp { link, peer, initiated, address: None });
            self.event(at, Event::Writable { link, credit: 1 << 40 });
        }
        near
    }

    fn unlink(&mut self, link: LinkId) {
        if let Some((at, far, peer)) = self.links.remove(&link) {
            self.links.remove(&far);
            self.frames.retain(|(_, on, _)| *on != link && *on != far);
            self.event(at, Event::LinkDown { link });
            self.event(peer, Event::LinkDown { link: far });
        }
    }

    /// Delivers frames and ticks that are due, until nothing is under way.
    fn deliver(&mut self) {
        self.deliver_if(|_| true);
    }

    /// Delivers ticks that are due, and of the frames those that are not lost.
    fn deliver_if(&mut self, arrives: impl Fn(&[u8]) -> bool) {
        let mut ticks = 0;
        loop {
            if let Some((at, link, frame)) = self.frames.pop_front() {
                if arrives(&frame) {
                    self.event(at, Event::Received { link, frame });
                }
                continue;
            }
            let due = |node: &Node| node.core.next_deadline().is_some_and(|at| at <= self.now.mono);
            match (0..self.nodes.len()).find(|at| due(&self.nodes[*at])) {
                Some(at) => self.event(at, Event::Tick),
                None => return,
            }
            ticks += 1;
            assert!(ticks < 10_000, "the deadline of a replica never is ahead of now");
        }
    }

    /// Lets time pass, to every moment at which a replica wants to act.
    fn run(&mut self, millis: u64) {
        self.run_if(millis, |_| true);
    }

    /// The same, while frames get lost.
    fn run_if(&mut self, millis: u64, arrives: impl Fn(&[u8]) -> bool) {
        let end = self.now.mono + Millis(millis);
        loop {
            self.deliver_if(&arrives);
            let next = self.nodes.iter().filter_map(|node| node.core.next_deadline()).min();
            match next {
                Some(next) if next <= end => {
                    let passed = next.0.saturating_sub(self.now.mono.0).max(1);
                    self.now.mono = self.now.mono + Millis(passed);
                    self.now.wall = self.now.wall + Millis(passed);
                }
                _ => {
                    let passed = end.0.saturating_sub(self.now.mono.0);
                    self.now.mono = end;
                    self.now.wall = self.now.wall + Millis(passed);
                    return;
                }
            }
        }
    }

    fn command(&mut self, at: usize, command: Command) -> Result<Outcome, Refusal> {
        let request = self.ask(at, command);
        self.nodes[at].replies.remove(&request).expect("a reply")
    }

    fn ask(&mut self, at: usize, command: Command) -> u64 {
        self.nodes[at].requests += 1;
        let request = self.nodes[at].requests;
        self.event(at, Event::Command { request: RequestId(request), command });
        request
    }

    fn create(&mut self, at: usize, collection: &str) -> SyncgroupId {
        let collections = vec![name(collection)];
        let command = Command::CreateSyncgroup { database: name("db"), name: name(collection), collections };
        match self.command(at, command).unwrap() {
            Outcome::Created(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn invite(&mut self, at: usize, syncgroup: SyncgroupId, rights: Rights) -> Invitation {
        let command = Command::Invite {
            syncgroup,
            rights,
            ends: None,
            valid_for: Millis(3_600_000),
            reusable: false,
            addresses: vec![],
        };
        match self.command(at, command).unwrap() {
            Outcome::Invited(invitation) => invitation,
            other => panic!("{other:?}"),
        }
    }

    fn ask_to_join(&mut self, at: usize, invitation: Invitation) -> Result<Outcome, Refusal> {
        self.command(at, Command::Join { database: name("db"), invitation })
    }

    /// Everybody joins a new syncgroup of the first replica, and everybody is linked to everybody.
    fn together(count: usize) -> (Self, SyncgroupId) {
        let mut world = Self::new(count);
        let id = world.create(0, "notes");
        for at in 1..count {
            for other in 0..at {
                world.link(other, at);
            }
            let invitation = world.invite(0, id, Rights::Write);
            world.ask_to_join(at, invitation).unwrap();
            world.run(5_000);
            assert_eq!(world.state(at, id), SyncgroupState::Active);
        }
        world.run(60_000);
        (world, id)
    }

    fn state(&self, at: usize, id: SyncgroupId) -> SyncgroupState {
        self.info(at, id).state
    }

    fn info(&self, at: usize, id: SyncgroupId) -> SyncgroupInfo {
        self.nodes[at].core.syncgroups().into_iter().find(|info| info.id == id).expect("the syncgroup")
    }

    fn row(&self, id: SyncgroupId, key: &str) -> RowRef {
        RowRef { syncgroup: id, collection: name("notes"), key: Bytes::copy_from_slice(key.as_bytes()) }
    }

    fn put(&mut self, at: usize, id: SyncgroupId, key: &str, value: &str) {
        let batch = LocalWrite::new().put(self.row(id, key), value.as_bytes().to_vec());
        self.command(at, Command::Write(batch)).unwrap();
    }

    fn schema(&mut self, at: usize, id: SyncgroupId, rules: &[(&'static str, Policy)]) {
        let rule = |(prefix, policy): &(&'static str, Policy)| Rule {
            prefix: (*prefix).into(),
            policy: policy.clone(),
        };
        let rules = rules.iter().map(rule).collect();
        let command = Command::SetSchema { syncgroup: id, collection: name("notes"), rules };
        assert!(matches!(self.command(at, command), Ok(Outcome::SchemaSet(_))));
    }

    fn operate(&mut self, at: usize, id: SyncgroupId, key: &str, operation: Operation) {
        let batch = LocalWrite::new().operate(self.row(id, key), operation);
        self.command(at, Command::Write(batch)).unwrap();
    }

    fn delete(&mut self, at: usize, id: SyncgroupId, key: &str) -> Result<Outcome, Refusal> {
        let batch = LocalWrite::new().delete(self.row(id, key));
        self.command(at, Command::Write(batch))
    }

    fn collection(&self, at: usize, id: SyncgroupId) -> read::Collection {
        let all = read::collections(&self.nodes[at].store).unwrap();
        all.into_iter().find(|found| found.syncgroup == id).expect("the collection")
    }

    fn get(&self, at: usize, id: SyncgroupId, key: &str) -> Option<Row> {
        read::get(&self.nodes[at].store, &self.collection(at, id), key.as_bytes()).unwrap()
    }

    fn text(&self, at: usize, id: SyncgroupId, key: &str) -> Option<String> {
        self.get(at, id, key).map(|row| String::from_utf8(row.value.to_vec()).unwrap())
    }

    fn heads(&self, at: usize, id: SyncgroupId, key: &str) -> Vec<read::Head> {
        read::heads(&self.nodes[at].store, &self.collection(at, id), key.as_bytes()).unwrap()
    }

    fn rows(&self, at: usize, id: SyncgroupId) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let collection = self.collection(at, id);
        read::scan(&self.nodes[at].store, &collection, b"", None, false, &mut |row| {
            let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            rows.push((text(&row.key), text(&row.value)));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        rows
    }

    /// All replicas hold and show the same.
    fn assert_same(&self, id: SyncgroupId) {
        let first = &self.nodes[0];
        for (at, node) in self.nodes.iter().enumerate() {
            assert_eq!(node.core.knowledge(&id), first.core.knowledge(&id), "knowledge of {at}");
            assert_eq!(node.core.visible_digest(&id), first.core.visible_digest(&id), "digest of {at}");
            assert_eq!(self.rows(at, id), self.rows(0, id), "rows of {at}");
            let faults =
                |notice: &&Notice| matches!(notice, Notice::Diverged { .. } | Notice::PeerFault { .. });
            assert_eq!(node.notices.iter().filter(faults).count(), 0, "{:?}", node.notices);
        }
    }
}
