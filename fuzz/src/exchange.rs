//! Two replicas that talk to each other: where the inputs come from that are as long and as valid as real ones,
//! and the replica that is talked to by a fuzzer.

use std::collections::VecDeque;
use std::sync::LazyLock;

use driftless::store::{MemStore, Scan, Table, View};
use driftless::{
    Action, Command, Config, Continuity, Core, Ed25519, Event, Identity, Invitation, LinkId, LocalWrite,
    Millis, Mono, Name, Now, Outbox, Outcome, PublicKey, RequestId, Rights, RowRef, SecretKey, SyncgroupId,
    UserKey, Wall, read,
};

/// The one link there is.
const LINK: LinkId = LinkId(1);
/// More credit than will ever be used.
const CREDIT: u64 = 1 << 40;
/// More actions than any frame may cause.
const MAX_ACTIONS: usize = 100_000;

/// A replica with a store in memory that is durable at once.
#[derive(Clone)]
struct Side {
    core: Core,
    store: MemStore,
    out: Outbox,
    now: Now,
    /// Frames that it has sent.
    sent: VecDeque<Vec<u8>>,
    answer: Option<Outcome>,
}

impl Side {
    fn boot(secret: u8) -> Self {
        let config = Config::new(name("fuzzed"));
        let identity =
            Identity { chain: None, secret: SecretKey([secret; 32]), continuity: Continuity::Unknown };
        let (store, mut out) = (MemStore::new(), Outbox::new());
        let core =
            Core::boot(&config, &identity, [secret; 32], &store, &mut out).expect("an empty store boots");
        let now = Now { mono: Mono(0), wall: Wall(1_767_225_600_000) };
        let mut side = Self { core, store, out, now, sent: VecDeque::new(), answer: None };
        side.perform();
        side
    }

    fn key(&self) -> PublicKey {
        self.core.public_key()
    }

    fn handle(&mut self, event: Event) {
        self.core.handle(self.now, event, &self.store, &mut self.out).expect("memory does not fail");
        self.perform();
    }

    fn perform(&mut self) {
        for _ in 0..MAX_ACTIONS {
            match self.out.pop() {
                Some(Action::Commit(commit)) => {
                    self.store.apply(&commit);
                    let durable = Event::Durable { seq: commit.seq };
                    self.core
                        .handle(self.now, durable, &self.store, &mut self.out)
                        .expect("memory does not fail");
                }
                Some(Action::Send { frame, .. }) => self.sent.push_back(frame.to_vec()),
                Some(Action::Reply { result, .. }) => self.answer = result.ok(),
                Some(_) => {}
                None => return,
            }
        }
        panic!("one event has caused more than {MAX_ACTIONS} actions");
    }

    fn command(&mut self, command: Command) -> Option<Outcome> {
        self.handle(Event::Command { request: RequestId(self.now.mono.0), command });
        self.answer.take()
    }

    /// Lets time pass, and everything happen that was due.
    fn wait(&mut self, span: Millis) {
        let until = self.now.mono + span;
        let mut ticks = 0;
        while let Some(next) = self.core.next_deadline().filter(|next| *next <= until) {
            self.now.mono = self.now.mono.max(next);
            self.handle(Event::Tick);
            ticks += 1;
            assert!(ticks < 10_000, "the replica wants to be woken without end");
        }
        self.now.mono = until;
        self.now.wall = self.now.wall + span;
    }

    fn link(&mut self, peer: PublicKey, initiated: bool) {
        self.handle(Event::LinkUp { link: LINK, peer: peer.into(), initiated, address: None });
        self.handle(Event::Writable { link: LINK, credit: CREDIT });
    }

    fn receive(&mut self, frame: Vec<u8>) {
        self.handle(Event::Received { link: LINK, frame: frame.into() });
    }

    fn write(&mut self, syncgroup: SyncgroupId, key: &str, value: &str) -> bool {
        let row = RowRef { syncgroup, collection: name("notes"), key: key.as_bytes().to_vec().into() };
        let write = LocalWrite::new().put(row, value.as_bytes().to_vec());
        matches!(self.command(Command::Write(write)), Some(Outcome::Written(_)))
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a plain word is a name")
}

/// What happened between two replicas.
struct Story {
    /// The admin, before it was first talked to.
    before: Side,
    syncgroup: SyncgroupId,
    /// Whoever talked to it.
    guest: PublicKey,
    /// All that the guest said: joining, asking, writing.
    said: Vec<Vec<u8>>,
    /// All that the admin said.
    heard: Vec<Vec<u8>>,
    /// The admin in the end.
    after: MemStore,
}

static STORY: LazyLock<Story> = LazyLock::new(tell);

fn tell() -> Story {
    let (mut host, mut guest) = (Side::boot(1), Side::boot(2));
    let command = Command::CreateSyncgroup {
        database: name("default"),
        name: name("notes"),
        collections: vec![name("notes"), name("more")],
    };
    let Some(Outcome::Created(syncgroup)) = host.command(command) else { panic!("a syncgroup can be made") };
    for number in 0..20 {
        assert!(host.write(syncgroup, &format!("row/{number:02}"), "from the host"));
    }
    let invitation = invite(&mut host, syncgroup);
    let before = host.clone();
    let (mut said, mut heard) = (Vec::new(), Vec::new());
    let mut talk = |host: &mut Side, guest: &mut Side| {
        for _ in 0..40 {
            while !host.sent.is_empty() || !guest.sent.is_empty() {
                for frame in std::mem::take(&mut guest.sent) {
                    said.push(frame.clone());
                    host.receive(frame);
                }
                for frame in std::mem::take(&mut host.sent) {
                    heard.push(frame.clone());
                    guest.receive(frame);
                }
            }
            host.wait(Millis(100));
            guest.wait(Millis(100));
        }
    };
    // As a user's device, so that all that users sign is among the inputs.
    let user = UserKey::new(name("user"), SecretKey([3; 32]), &Ed25519);
    let certificate = Box::new(user.certify(guest.key(), name("guest"), 1));
    guest.command(Command::JoinAs { database: name("default"), invitation, certificate });
    host.link(guest.key(), false);
    guest.link(host.key(), true);
    talk(&mut host, &mut guest);
    for number in 10..30 {
        assert!(
            guest.write(syncgroup, &format!("row/{number:02}"), "from the guest"),
            "the guest has joined"
        );
    }
    assert!(host.write(syncgroup, "row/15", "from both at once"));
    let lost = PublicKey([4; 32]);
    let certificate = user.certify(lost, name("lost"), 1);
    let enrolled = guest.command(Command::Enrol { syncgroup, certificate });
    assert!(matches!(enrolled, Some(Outcome::Enrolled(..))), "a member can enrol");
    let striking = guest.core.striking_off(&syncgroup, &lost.device(), &user).expect("it is enrolled");
    let struck = guest.command(Command::StrikeOff { syncgroup, striking });
    assert!(matches!(struck, Some(Outcome::StruckOff(..))), "a member can pass on a striking-off");
    // The second takes something of the first back.
    for rights in [Rights::Write, Rights::Read] {
        let opened = host.command(Command::Open { syncgroup, rights, ends: None });
        assert!(matches!(opened, Some(Outcome::EverybodysRightsSet(..))), "an admin can open it");
    }
    talk(&mut host, &mut guest);
    Story { before, syncgroup, guest: guest.key(), said, heard, after: host.store }
}

fn invite(host: &mut Side, syncgroup: SyncgroupId) -> Invitation {
    let command = Command::Invite {
        syncgroup,
        rights: Rights::Write,
        ends: None,
        valid_for: Millis(1 << 32),
        reusable: false,
        addresses: Vec::new(),
    };
    let Some(Outcome::Invited(invitation)) = host.command(command) else { panic!("an admin can invite") };
    invitation
}

/// Whatever a device says that has an open link, in several frames: each with its length in two bytes before it.
/// The replica must stay whole: it answers its application, and shows what was written before.
pub fn replica(data: &[u8]) {
    let story = &*STORY;
    let mut side = story.before.clone();
    side.link(story.guest, false);
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (frame, after) = after.split_at(length);
        side.receive(frame.to_vec());
        side.wait(Millis(100));
        rest = after;
    }
    side.handle(Event::LinkDown { link: LINK });
    side.wait(Millis(10_000));
    assert!(side.write(story.syncgroup, "after", "it goes on"), "the replica does not write any more");
    let collections = read::collections(&side.store).expect("memory does not fail");
    let notes =
        collections.iter().find(|found| found.name == name("notes")).expect("the collection is still there");
    let row = read::get(&side.store, notes, b"after").expect("memory does not fail");
    assert_eq!(row.expect("what was written is there").value, "it goes on");
}

/// Frames as they were said, one by one.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    STORY.said.iter().chain(&STORY.heard).cloned().collect()
}

/// Everything that the guest said, and the start of it.
pub(crate) fn conversations() -> Vec<Vec<u8>> {
    let conversation = |frames: &[Vec<u8>]| {
        let mut data = Vec::new();
        for frame in frames {
            let Ok(length) = u16::try_from(frame.len()) else { break };
            data.extend_from_slice(&length.to_be_bytes());
            data.extend_from_slice(frame);
        }
        data
    };
    let said = &STORY.said;
    [1, 2, 4, 8, said.len()].map(|count| conversation(&said[..count.min(said.len())])).into()
}

/// The values of a table in the end.
pub(crate) fn stored(table: Table) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    let scan = Scan::all(table).limit(64);
    let scanned = STORY.after.scan(&scan, &mut |_, value| {
        values.push(value.to_vec());
        std::ops::ControlFlow::Continue(())
    });
    scanned.expect("memory does not fail");
    values
}
