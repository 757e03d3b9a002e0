//! Very many replicas at once, to measure what they cost.
//!
//! A [`World`](crate::World) watches everything that a few replicas do. Here it is the other way round: as many real
//! cores as fit into memory, each with its store, exchange by the real protocol, and only the end is looked at: all
//! members of a syncgroup must then hold and show the same.
//!
//! ```text
//!   boot ──► found ─────────────────────► work ─────────────────────────────► settle
//!            syncgroups of bounded size,  everybody writes now and then,       faults end, all is silent,
//!            admitted by the protocol     frames are late and lost,            members are compared
//!                                         processes crash, links break
//! ```
//!
//! The members of a syncgroup stand in a ring with one random chord each, so nobody has more than three links, and
//! cost follows links and pending events, never the square of anything. One syncgroup of everybody would not scale:
//! each member keeps the list of all. What is simpler than in a [`World`](crate::World): links are made by the
//! topology and not dialled, their bandwidth has no end, and clocks are right.

mod happening;
mod node;
mod scenario;
mod topology;

use std::collections::VecDeque;

use driftless::{
    Command, Event, Invitation, LinkId, LocalWrite, Millis, Name, Outcome, RequestId, Rights, RowRef,
    SyncgroupId,
};

use self::happening::{End, Happening, Queue};
use self::node::{Node, performed};
pub use self::scenario::{Agreement, Happened, LARGEST_GROUP, Scenario};
use self::scenario::{CRASH, LOST, REST, ROWS, VALUE};
use self::topology::{Edge, edge_of, life_of, name};
use crate::dice::{Concern, Dice};

/// The replicas, and what is going to happen to them.
#[derive(Debug)]
pub struct Scale {
    scenario: Scenario,
    now: u64,
    queue: Queue,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// Of each syncgroup, the first of its edges.
    first_edge: Vec<u32>,
    groups: Vec<Option<SyncgroupId>>,
    replies: VecDeque<(u32, Outcome)>,
    dice: Dice,
    collection: Name,
    working: bool,
    happened: Happened,
}

impl Scale {
    /// Boots all replicas, each on a store of its own.
    ///
    /// # Errors
    /// A sentence if there can be no such scenario.
    pub fn boot(scenario: Scenario) -> Result<Self, String> {
        if !(2..=LARGEST_GROUP).contains(&scenario.group) || scenario.replicas < 2 || scenario.pause == 0 {
            return Err(format!(
                "a scenario has at least 2 replicas, 2 to {LARGEST_GROUP} in each syncgroup, and a pause between writes"
            ));
        }
        let collection = Name::new("rows").map_err(|error| error.to_string())?;
        let mut scale = Self {
            now: 0,
            queue: Queue::default(),
            nodes: Vec::with_capacity(scenario.replicas as usize),
            edges: Vec::new(),
            first_edge: Vec::new(),
            groups: vec![None; scenario.replicas.div_ceil(scenario.group) as usize],
            replies: VecDeque::new(),
            dice: Dice::new(scenario.seed, Concern::Swarm, &[]),
            collection,
            working: false,
            happened: Happened::default(),
            scenario,
        };
        scale.lay_edges();
        for at in 0..scenario.replicas {
            scale.nodes.push(Node::default());
            scale.start(at)?;
        }
        scale.run(None)?;
        Ok(scale)
    }

    /// How much happened so far.
    pub fn happened(&self) -> Happened {
        self.happened
    }

    /// Virtual time since the start, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now
    }

    /// Makes the syncgroups, and has everybody join; then links all by the topology.
    ///
    /// # Errors
    /// A sentence if a replica's store failed, or not everybody was admitted.
    pub fn found(&mut self) -> Result<(), String> {
        let creators: Vec<u32> = (0..self.scenario.replicas).step_by(self.scenario.group as usize).collect();
        for at in &creators {
            let (database, name) = (self.collection.clone(), self.collection.clone());
            let create =
                Command::CreateSyncgroup { database, name, collections: vec![self.collection.clone()] };
            self.command(*at, create)?;
        }
        self.run(None)?;
        for (at, outcome) in std::mem::take(&mut self.replies) {
            let Outcome::Created(syncgroup) = outcome else { continue };
            let group = self.group_of(at);
            self.groups[group] = Some(syncgroup);
            let (rights, valid_for) = (Rights::Write, Millis(u64::MAX >> 20));
            let invite = Command::Invite {
                syncgroup,
                rights,
                ends: None,
                valid_for,
                reusable: true,
                addresses: Vec::new(),
            };
            self.command(at, invite)?;
        }
        self.run(None)?;
        // A star around each creator, for as long as it takes to be admitted.
        let (topology, invitations) = (self.edges.len(), std::mem::take(&mut self.replies));
        for (at, outcome) in invitations {
            if let Outcome::Invited(invitation) = outcome {
                self.admit(at, &invitation)?;
            }
        }
        self.run(None)?;
        for edge in topology..self.edges.len() {
            self.unlink(edge as u32)?;
        }
        self.edges.truncate(topology);
        self.replies.clear();
        self.link_all()?;
        self.run(None)?;
        self.compare().map(drop)
    }

    fn admit(&mut self, creator: u32, invitation: &Invitation) -> Result<(), String> {
        for member in self.members(self.group_of(creator)).skip(1) {
            self.edges.push(Edge { ends: [creator, member], life: 0, up: false });
            self.link(self.edges.len() as u32 - 1)?;
            let join = Command::Join { database: self.collection.clone(), invitation: invitation.clone() };
            self.command(member, join)?;
        }
        Ok(())
    }

    /// Has everybody write, and faults happen, until cores were given so many events more.
    ///
    /// # Errors
    /// A sentence if a replica's store failed.
    pub fn work(&mut self, events: u64) -> Result<(), String> {
        if !std::mem::replace(&mut self.working, true) {
            for at in 0..self.scenario.replicas {
                let soon = self.now + self.dice.below(2 * self.scenario.pause);
                self.queue.push(soon, Happening::Write { at });
            }
            if self.scenario.faults {
                self.queue.push(self.now, Happening::Fault);
            }
        }
        let until = self.happened.events + events;
        self.run(Some(until))
    }

    /// Ends writes and faults, waits until all is silent, and compares all members of all syncgroups.
    ///
    /// # Errors
    /// A sentence that says who has not come to rest, or who differs from whom.
    pub fn settle(&mut self) -> Result<Agreement, String> {
        self.working = false;
        self.run(None)?;
        self.link_all()?;
        self.run(None)?;
        self.compare()
    }

    fn compare(&self) -> Result<Agreement, String> {
        let mut hasher = blake3::Hasher::new();
        let mut generations = 0;
        for group in 0..self.groups.len() {
            let id = self.groups[group].ok_or_else(|| format!("syncgroup {group} was not made"))?;
            let mut first = None;
            for at in self.members(group) {
                let core = self.nodes[at as usize].core.as_ref();
                let core = core.ok_or_else(|| format!("replica {at} has not started again"))?;
                let state = core.held(&id).zip(core.visible_digest(&id));
                let (held, shown) = state.ok_or_else(|| format!("replica {at} is in no syncgroup"))?;
                generations += held.values().sum::<u64>();
                match &first {
                    None => first = Some((held, shown)),
                    Some(same) if *same == (held, shown) => {}
                    Some(_) => return Err(format!("replica {at} differs from others of syncgroup {group}")),
                }
                let member = core.members(&id).is_some_and(|all| all.len() == self.members(group).len());
                if !member {
                    return Err(format!("replica {at} does not know all members of syncgroup {group}"));
                }
            }
            if let Some((_, shown)) = first {
                hasher.update(&shown);
            }
        }
        let syncgroups = self.groups.len() as u32;
        Ok(Agreement { syncgroups, generations, digest: crate::Digest(*hasher.finalize().as_bytes()) })
    }

    // ---- processes ----

    fn start(&mut self, at: u32) -> Result<(), String> {
        let node = &mut self.nodes[at as usize];
        let actions = node.start(self.scenario.seed, at)?;
        self.perform(at, actions)?;
        let is_founded = self.groups[self.group_of(at)].is_some();
        for edge in if is_founded { self.edges_of(at) } else { Vec::new() } {
            self.link(edge)?;
        }
        Ok(())
    }

    /// A process dies, and with it what was not durable.
    fn crash(&mut self, at: u32) -> Result<(), String> {
        if self.nodes[at as usize].crash() {
            self.happened.crashes += 1;
            for edge in self.edges_of(at) {
                self.unlink(edge)?;
            }
            let back = self.now + self.dice.between(1_000, 10_000);
            self.queue.push(back, Happening::Restart { at });
        }
        Ok(())
    }

    // ---- what happens ----

    /// Lets happen what is due, until nothing is, or cores were given so many events.
    fn run(&mut self, until: Option<u64>) -> Result<(), String> {
        let start = self.now;
        while until.is_none_or(|until| self.happened.events < until) {
            let Some((at, happening)) = self.queue.pop() else { break };
            self.now = at;
            if until.is_none() && at > start + REST {
                return Err("an hour has passed, and there are still replicas that are not silent".to_owned());
            }
            self.happen(happening)?;
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Tick { at, boot } => {
                let node = &mut self.nodes[at as usize];
                if node.boot == boot && node.tick_at == self.now {
                    node.tick_at = u64::MAX;
                    self.happened.ticks += 1;
                    return self.event(at, Event::Tick);
                }
            }
            Happening::Synced { at, boot, seq } => {
                if self.nodes[at as usize].boot == boot {
                    self.happened.durables += 1;
                    self.nodes[at as usize].synced(seq);
                    self.event(at, Event::Durable { seq })?;
                    self.sync(at);
                }
            }
            Happening::Arrive { edge, life, end, frame } => {
                let there = self.edges.get(edge as usize).filter(|there| there.up && there.life == life);
                if let Some(there) = there {
                    let at = there.ends[end as usize];
                    self.happened.frames += 1;
                    return self.event(at, Event::Received { link: name(edge, life), frame });
                }
            }
            Happening::Restart { at } => return self.start(at),
            Happening::Link { edge } => return self.link(edge),
            Happening::Write { at } if self.working => {
                self.write(at)?;
                let next = self.now + 1 + self.dice.below(2 * self.scenario.pause);
                self.queue.push(next, Happening::Write { at });
            }
            Happening::Fault if self.working => {
                let at = self.dice.below(u64::from(self.scenario.replicas)) as u32;
                self.crash(at)?;
                let edge = self.dice.below(self.edges.len() as u64) as u32;
                if self.edges[edge as usize].up {
                    self.happened.cuts += 1;
                    self.unlink(edge)?;
                    let back = self.now + self.dice.between(100, 20_000);
                    self.queue.push(back, Happening::Link { edge });
                }
                let next = self.now + (2 * CRASH / u64::from(self.scenario.replicas)).max(1);
                self.queue.push(self.dice.between(self.now + 1, next), Happening::Fault);
            }
            Happening::Write { .. } | Happening::Fault => {}
        }
        Ok(())
    }

    fn write(&mut self, at: u32) -> Result<(), String> {
        let Some(syncgroup) = self.groups[self.group_of(at)] else { return Ok(()) };
        let key = [self.dice.below(ROWS) as u8];
        let row = RowRef {
            syncgroup,
            collection: self.collection.clone(),
            key: bytes::Bytes::copy_from_slice(&key),
        };
        let value = vec![self.dice.below(256) as u8; VALUE];
        self.happened.writes += u64::from(self.nodes[at as usize].core.is_some());
        self.command(at, Command::Write(LocalWrite::new().put(row, value)))
    }

    fn command(&mut self, at: u32, command: Command) -> Result<(), String> {
        self.event(at, Event::Command { request: RequestId(1), command })
    }

    fn event(&mut self, at: u32, event: Event) -> Result<(), String> {
        let Some(actions) = self.nodes[at as usize].handle(self.now, event)? else { return Ok(()) };
        self.happened.events += 1;
        self.perform(at, actions)
    }

    fn perform(&mut self, at: u32, mut actions: driftless::Outbox) -> Result<(), String> {
        while let Some(action) = actions.pop() {
            match performed(action) {
                node::Performed::Commit(commit) => {
                    self.happened.commits += 1;
                    self.nodes[at as usize].commit(&commit);
                    self.sync(at);
                }
                node::Performed::Send(link, frame) => self.send(at, link, frame),
                node::Performed::Close(link) => {
                    let edge = edge_of(link);
                    self.unlink(edge)?;
                    let again = self.now + self.dice.between(500, 2_000);
                    self.queue.push(again, Happening::Link { edge });
                }
                node::Performed::Reply(outcome) => {
                    if !self.working {
                        self.replies.push_back((at, *outcome));
                    }
                }
                node::Performed::Nothing => {}
                node::Performed::Wrong(what) => return Err(format!("replica {at}: {what}")),
            }
        }
        let node = &mut self.nodes[at as usize];
        let deadline = node.core.as_ref().and_then(|core| core.next_deadline());
        if let Some(deadline) = deadline.map(|deadline| deadline.0.max(self.now))
            && deadline < node.tick_at
        {
            node.tick_at = deadline;
            self.queue.push(deadline, Happening::Tick { at, boot: node.boot });
        }
        Ok(())
    }

    fn send(&mut self, at: u32, link: LinkId, frame: bytes::Bytes) {
        let (index, life) = (edge_of(link), life_of(link));
        self.happened.bytes += frame.len() as u64;
        let Some(edge) = self.edges.get(index as usize).filter(|edge| edge.up && edge.life == life) else {
            return;
        };
        if self.working && self.scenario.faults && self.dice.ppm(LOST) {
            self.happened.lost += 1;
            return;
        }
        let end = if edge.ends[0] == at { End::Second } else { End::First };
        let arrives = self.now + self.dice.between(1, 50);
        self.queue.push(arrives, Happening::Arrive { edge: index, life, end, frame });
    }

    /// Begins a sync of a disk, unless one goes on or there is nothing to sync.
    fn sync(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        if let Some(seq) = node.begin_sync() {
            let done = self.now + self.dice.between(2, 10);
            self.queue.push(done, Happening::Synced { at, boot: node.boot, seq });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(scenario: Scenario, events: u64) -> (Agreement, Happened) {
        let mut scale = Scale::boot(scenario).unwrap();
        scale.found().unwrap();
        scale.work(events).unwrap();
        let agreement = scale.settle().unwrap();
        (agreement, scale.happened())
    }

    const SCENARIO: Scenario = Scenario { seed: 7, replicas: 23, group: 6, pause: 2_000, faults: true };

    #[test]
    fn everybody_agrees_in_the_end_whatever_gets_lost() {
        let (agreement, happened) = ran(SCENARIO, 60_000);
        assert_eq!(agreement.syncgroups, 4);
        assert!(agreement.generations > happened.writes, "others hold what one writes");
        for (count, what) in [
            (happened.writes, "writes"),
            (happened.crashes, "crashes"),
            (happened.cuts, "cuts"),
            (happened.lost, "lost frames"),
        ] {
            assert!(count > 5, "{count} {what}");
        }
    }

    #[test]
    fn the_same_scenario_comes_to_the_same_end_and_another_seed_to_another() {
        let one = ran(SCENARIO, 5_000);
        assert_eq!(one, ran(SCENARIO, 5_000));
        assert_ne!(one.0.digest, ran(Scenario { seed: 8, ..SCENARIO }, 5_000).0.digest);
    }

    #[test]
    fn the_work_for_each_replica_does_not_grow_with_their_number() {
        let found = |replicas| {
            let mut scale = Scale::boot(Scenario { replicas, ..SCENARIO }).unwrap();
            scale.found().unwrap();
            scale.happened().events / u64::from(replicas)
        };
        let (few, many) = (found(12), found(240));
        assert!(many <= few + few / 5, "{few} events for each of 12, {many} for each of 240");
    }

    #[test]
    fn a_scenario_that_cannot_be_is_refused() {
        for wrong in [
            Scenario { group: 1, ..SCENARIO },
            Scenario { group: LARGEST_GROUP + 1, ..SCENARIO },
            Scenario { replicas: 1, ..SCENARIO },
            Scenario { pause: 0, ..SCENARIO },
        ] {
            assert!(Scale::boot(wrong).unwrap_err().contains("at least 2 replicas"));
        }
    }
}
