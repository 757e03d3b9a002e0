//! Two members of a syncgroup, and what their stores are asked when one of them writes and the other takes it over.

use driftless::*;

use crate::node::{self, Counts, Node};

pub(crate) const LINK: LinkId = LinkId(1);

/// Two members, linked.
pub(crate) struct Scene {
    pub(crate) here: Node,
    pub(crate) there: Node,
    syncgroup: SyncgroupId,
    collection: Name,
}

impl Scene {
    /// Members whose collection has this schema, and that keep so many commits for watches.
    pub(crate) fn new(rules: Vec<Rule>, watch_log: u64) -> Self {
        let name = Name::new("rows").expect("a name");
        let mut config = Config::new(name.clone());
        config.limits.watch_log = watch_log;
        let (mut here, mut there) = (Node::with(1, &config), Node::with(2, &config));
        let collections = vec![name.clone()];
        let create = Command::CreateSyncgroup { database: name.clone(), name: name.clone(), collections };
        let Outcome::Created(syncgroup) = here.command(create) else { panic!("no syncgroup") };
        if !rules.is_empty() {
            here.command(Command::SetSchema { syncgroup, collection: name.clone(), rules });
        }
        let (rights, valid_for) = (Rights::Write, Millis(1_000_000));
        let invite =
            Command::Invite { syncgroup, rights, ends: None, valid_for, reusable: false, addresses: vec![] };
        let Outcome::Invited(invitation) = here.command(invite) else { panic!("no invitation") };
        there.command(Command::Join { database: name.clone(), invitation });
        node::link(&mut here, &mut there, LINK.0);
        let mut scene = Self { here, there, syncgroup, collection: name };
        scene.settle();
        scene
    }

    pub(crate) fn row(&self, key: &str) -> RowRef {
        RowRef { syncgroup: self.syncgroup, collection: self.collection.clone(), key: key.to_owned().into() }
    }

    /// Lets time pass until both agree and are silent.
    pub(crate) fn settle(&mut self) {
        for _ in 0..30 {
            self.here.now += 1_000;
            self.there.now += 1_000;
            node::deliver(&mut self.here, &mut self.there, LINK);
        }
    }

    /// Writes a batch without telling anybody. Returns what that asked of the writer's store.
    pub(crate) fn write(&mut self, batch: LocalWrite) -> Counts {
        write(&mut self.here, batch)
    }

    /// The same on the other side.
    pub(crate) fn write_there(&mut self, batch: LocalWrite) -> Counts {
        write(&mut self.there, batch)
    }

    /// Hands over what was written, in one frame. Returns what taking it over asked of the other's store.
    pub(crate) fn take_over(&mut self) -> Counts {
        self.here.durable();
        self.here.handle(Event::Tick);
        let frame = self.here.frames.pop().expect("a frame of deltas");
        assert!(self.here.frames.is_empty(), "all in one frame");
        self.there.counting(|there| there.handle(Event::Received { link: LINK, frame }))
    }
}

fn write(node: &mut Node, batch: LocalWrite) -> Counts {
    let counts = node.counting(|node| {
        node.handle(Event::Command { request: RequestId(1), command: Command::Write(batch) });
    });
    node.replies.clear();
    counts
}
