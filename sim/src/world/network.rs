//! The network: links between pairs of replicas, and what becomes of each frame.
//!
//! A link has two ends, each known to its replica by a [`LinkId`] of its own. A frame takes the latency of its
//! direction and some jitter; frames of one direction arrive in order, but for those that are late on
//! purpose. What chance decides about a frame is drawn from the number of the frame between the two replicas,
//! so that it stays the same when other frames come and go.

use std::collections::BTreeMap;

use driftless::LinkId;

use crate::dice::{Concern, Dice};
use crate::plan::{Fate, NetworkSetup};

/// All links.
#[derive(Debug)]
pub(crate) struct Network {
    setup: NetworkSetup,
    seed: u64,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    /// From whom to whom nothing gets through.
    cut: BTreeMap<(usize, usize), ()>,
    /// Between whom everything waits, until when. The lower number comes first.
    clogged: BTreeMap<(usize, usize), u64>,
    /// How many frames were sent from whom to whom.
    pub(super) sent: BTreeMap<(usize, usize), u64>,
    /// Fates that the plan decides.
    fates: BTreeMap<(usize, usize, u64), Fate>,
    /// Frames sent in all.
    pub(crate) frames: u64,
    /// Bytes sent in all.
    pub(crate) bytes: u64,
}

#[derive(Debug)]
struct Link {
    ends: [End; 2],
    broken: bool,
    in_flight: u64,
}

#[derive(Debug)]
struct End {
    replica: usize,
    up: bool,
    /// To the other end.
    latency: u64,
    /// When the wire is free again.
    free_at: u64,
    /// When the last frame that keeps the order arrives.
    arrives_at: u64,
    /// Frames sent from here, and the last one that arrived there.
    sent: u64,
    seen: Option<u64>,
    /// What the core may still send, as the driver counts it.
    credit: i64,
}

/// What becomes of a frame that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Passage {
    /// The end at which it arrives.
    pub(crate) at: LinkId,
    /// Its place in its direction.
    pub(crate) order: u64,
    /// When it has left this end.
    pub(crate) leaves: u64,
    /// When it arrives, once, twice or not at all.
    pub(crate) arrivals: Vec<u64>,
    /// Whether the link had less credit than the frame has bytes.
    pub(crate) overdrawn: bool,
    /// The how-manyeth between the two replicas in this direction.
    pub(crate) nth: u64,
    /// What was decided for it; a broken or a cut link takes it all the same.
    pub(crate) fate: Fate,
    /// Whether chance decided that.
    pub(crate) by_chance: bool,
    /// What kept it from leaving at once.
    pub(crate) held_up: Option<HeldUp>,
}

/// What keeps a frame from leaving at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeldUp {
    /// The link is clogged.
    Clogged,
    /// Frames before it.
    Narrow,
}

fn split(link: LinkId) -> (u64, usize) {
    (link.0 / 2, (link.0 % 2) as usize)
}

fn join(number: u64, end: usize) -> LinkId {
    LinkId(number * 2 + end as u64)
}

/// The other end of a link.
pub(crate) fn other(link: LinkId) -> LinkId {
    LinkId(link.0 ^ 1)
}

impl Network {
    pub(crate) fn new(seed: u64, setup: NetworkSetup) -> Self {
        Self {
            setup,
            seed,
            links: BTreeMap::new(),
            next_link: 1,
            cut: BTreeMap::new(),
            clogged: BTreeMap::new(),
            sent: BTreeMap::new(),
            fates: BTreeMap::new(),
            frames: 0,
            bytes: 0,
        }
    }

    pub(crate) fn setup(&self) -> &NetworkSetup {
        &self.setup
    }

    /// Ends all faults but cuts: no frame is lost, no link wears out.
    pub(crate) fn heal_for_ever(&mut self) {
        self.fates.clear();
        let setup = &mut self.setup;
        (setup.loss_ppm, setup.duplicate_ppm, setup.reorder_ppm, setup.corrupt_ppm) = (0, 0, 0, 0);
        setup.link_life_ms = None;
        setup.call_only.clear();
        self.clogged.clear();
    }

    pub(crate) fn cut(&mut self, from: &[usize], to: &[usize], both: bool) {
        for a in from {
            for b in to.iter().filter(|b| *b != a) {
                self.cut.insert((*a, *b), ());
                if both {
                    self.cut.insert((*b, *a), ());
                }
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// What is cut in one direction only.
    pub(crate) fn one_way_cuts(&self) -> Vec<(usize, usize)> {
        self.cut.keys().filter(|(a, b)| !self.cut.contains_key(&(*b, *a))).copied().collect()
    }

    /// From whom to whom nothing gets through.
    pub(crate) fn cuts(&self) -> impl Iterator<Item = (usize, usize)> {
        self.cut.keys().copied()
    }

    /// Holds up everything between two replicas.
    pub(crate) fn clog(&mut self, a: usize, b: usize, until: u64) {
        self.clogged.insert((a.min(b), a.max(b)), until);
    }

    /// Whether a replica can be called.
    pub(crate) fn can_be_called(&self, replica: usize) -> bool {
        !self.setup.call_only.contains(&replica)
    }

    /// Whether anything is cut anywhere.
    pub(crate) fn is_cut(&self) -> bool {
        !self.cut.is_empty()
    }

    /// Whether there is a cut between two replicas, in either direction.
    pub(crate) fn cut_between(&self, a: usize, b: usize) -> bool {
        self.cut.contains_key(&(a, b)) || self.cut.contains_key(&(b, a))
    }

    pub(crate) fn decide(&mut self, from: usize, to: usize, nth: u64, fate: Fate) {
        self.fates.insert((from, to, nth), fate);
    }

    /// How long a message of a new connection takes, and the same for the way back.
    pub(crate) fn latency(&self, dice: &mut Dice) -> u64 {
        dice.between(self.setup.latency_ms.0, self.setup.latency_ms.1)
    }

    /// Opens a link. The end that called is up at once, the other once it has been told.
    pub(crate) fn open(&mut self, now: u64, caller: usize, called: usize) -> (LinkId, LinkId) {
        let number = self.next_link;
        self.next_link += 1;
        let mut dice = Dice::new(self.seed, Concern::Connect, &[caller as u64, called as u64, number]);
        let mut end = |replica, up| End {
            replica,
            up,
            latency: self.latency(&mut dice),
            free_at: now,
            arrives_at: now,
            sent: 0,
            seen: None,
            credit: self.setup.credit as i64,
        };
        let ends = [end(caller, true), end(called, false)];
        self.links.insert(number, Link { ends, broken: false, in_flight: 0 });
        (join(number, 0), join(number, 1))
    }

    /// How long it takes from this end to the other.
    pub(crate) fn way(&self, link: LinkId) -> u64 {
        self.end(link).map_or(0, |end| end.latency)
    }

    /// When the other end learns that this one closed the link: behind everything that was sent before.
    pub(crate) fn closes(&self, now: u64, link: LinkId) -> u64 {
        self.end(link).map_or(now, |end| (now + end.latency).max(end.arrives_at))
    }

    /// The end of a link that was called is up now. Says whether the link still is.
    pub(crate) fn accept(&mut self, link: LinkId) -> bool {
        let (number, end) = split(link);
        let Some(link) = self.links.get_mut(&number).filter(|link| !link.broken) else { return false };
        link.ends[end].up = true;
        true
    }

    fn end(&self, link: LinkId) -> Option<&End> {
        let (number, end) = split(link);
        self.links.get(&number).map(|link| &link.ends[end])
    }

    /// Whose end this is, while it is up.
    pub(crate) fn owner(&self, link: LinkId) -> Option<usize> {
        self.end(link).filter(|end| end.up).map(|end| end.replica)
    }

    /// The replicas at both ends, this one first.
    pub(crate) fn ends(&self, link: LinkId) -> Option<(usize, usize)> {
        Some((self.end(link)?.replica, self.end(other(link))?.replica))
    }

    /// Links that are not broken, by their ends, of which at least one is at this replica.
    pub(crate) fn links_of(&self, replica: usize) -> Vec<LinkId> {
        let open = self.links.iter().filter(|(_, link)| !link.broken);
        open.filter_map(|(number, link)| {
            let end = link.ends.iter().position(|end| end.replica == replica)?;
            Some(join(*number, end))
        })
        .collect()
    }

    /// Links that are not broken, between replicas that a cut separates.
    pub(crate) fn cut_links(&self) -> Vec<LinkId> {
        let open = self.links.iter().filter(|(_, link)| !link.broken);
        let cut = |link: &Link| self.cut_between(link.ends[0].replica, link.ends[1].replica);
        open.filter(|(_, link)| cut(link)).map(|(number, _)| join(*number, 0)).collect()
    }

    /// Whether this end's replica has a link to that one.
    pub(crate) fn linked(&self, a: usize, b: usize) -> bool {
        self.links_of(a).into_iter().any(|link| self.ends(link) == Some((a, b)))
    }

    /// Sends a frame from an end; `None` if that end is down.
    pub(crate) fn send(&mut self, now: u64, from: LinkId, bytes: u64) -> Option<Passage> {
        let (number, index) = split(from);
        let receiver = self.end(other(from))?.replica;
        let (setup, seed) = (&self.setup, self.seed);
        let link = self.links.get_mut(&number).filter(|link| link.ends[index].up)?;
        let broken = link.broken;
        let end = &mut link.ends[index];
        let pair = (end.replica, receiver);
        let nth = self.sent.entry(pair).or_default();
        let mut dice = Dice::new(seed, Concern::Frame, &[pair.0 as u64, pair.1 as u64, *nth]);
        let drawn = draw_fate(setup, &mut dice);
        let jitter = dice.between(0, setup.jitter_ms);
        let drawn = if dice.ppm(setup.corrupt_ppm) { Fate::Corrupt } else { drawn };
        let decided = self.fates.get(&(pair.0, pair.1, *nth)).copied();
        let (fate, by_chance, place) = (decided.unwrap_or(drawn), decided.is_none(), *nth);
        *nth += 1;
        self.frames += 1;
        self.bytes += bytes;
        let on_wire = setup.bytes_per_ms.map_or(0, |rate| bytes / rate.max(1));
        let free_at = self.clogged.get(&(pair.0.min(pair.1), pair.0.max(pair.1))).copied().unwrap_or(0);
        let held_up = match () {
            () if free_at > now => Some(HeldUp::Clogged),
            // Behind what was clogged there may be others, on a link of any width.
            () if end.free_at > now && setup.bytes_per_ms.is_some() => Some(HeldUp::Narrow),
            () => None,
        };
        let leaves = end.free_at.max(now).max(free_at) + on_wire;
        end.free_at = leaves;
        let arrives = (leaves + end.latency + jitter).max(end.arrives_at);
        let arrivals = match fate {
            _ if broken || self.cut.contains_key(&pair) => Vec::new(),
            Fate::Lose => Vec::new(),
            Fate::Late(late) => vec![arrives + late],
            Fate::Twice(later) => vec![arrives, arrives + later],
            Fate::Arrive | Fate::Corrupt => vec![arrives],
        };
        if !matches!(fate, Fate::Late(_)) {
            end.arrives_at = arrives;
        }
        let order = end.sent;
        end.sent += 1;
        let overdrawn = end.credit < bytes as i64;
        end.credit -= bytes as i64;
        link.in_flight += arrivals.len() as u64;
        let at = other(from);
        Some(Passage { at, order, leaves, arrivals, overdrawn, nth: place, fate, by_chance, held_up })
    }

    /// A frame comes to an end of its link. Says whether it can be taken, and whether it overtook another.
    pub(crate) fn arrive(&mut self, at: LinkId, order: u64) -> Option<Arrival> {
        let (number, index) = split(at);
        let link = self.links.get_mut(&number)?;
        link.in_flight = link.in_flight.saturating_sub(1);
        if link.broken || !link.ends[index].up {
            return None;
        }
        let sender = &mut link.ends[1 - index];
        let late = sender.seen.is_some_and(|seen| order < seen);
        sender.seen = sender.seen.max(Some(order));
        Some(Arrival { late })
    }

    /// The driver has put bytes on the wire.
    pub(crate) fn give_credit(&mut self, link: LinkId, credit: u64) {
        let (number, end) = split(link);
        if let Some(link) = self.links.get_mut(&number) {
            link.ends[end].credit += credit as i64;
        }
    }

    /// A link breaks: nothing more arrives. Says how many frames were on their way; `None` if it was broken
    /// before.
    pub(crate) fn break_link(&mut self, link: LinkId) -> Option<u64> {
        let link = self.links.get_mut(&split(link).0).filter(|link| !link.broken)?;
        link.broken = true;
        Some(link.in_flight)
    }

    /// An end is told that its link is gone. Says whose end it is, if it was up.
    pub(crate) fn take_down(&mut self, link: LinkId) -> Option<usize> {
        let (number, index) = split(link);
        let entry = self.links.get_mut(&number)?;
        let end = &mut entry.ends[index];
        let owner = end.up.then_some(end.replica);
        end.up = false;
        if entry.broken && entry.ends.iter().all(|end| !end.up) {
            self.links.remove(&number);
        }
        owner
    }
}

/// A frame that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Whether a later one was there before it.
    pub(crate) late: bool,
}

fn draw_fate(setup: &NetworkSetup, dice: &mut Dice) -> Fate {
    let (lose, twice, late) =
        (dice.ppm(setup.loss_ppm), dice.ppm(setup.duplicate_ppm), dice.ppm(setup.reorder_ppm));
    let by = dice.skewed(1, 2_000);
    match (lose, twice, late) {
        (true, ..) => Fate::Lose,
        (_, true, _) => Fate::Twice(by),
        (.., true) => Fate::Late(by),
        _ => Fate::Arrive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Plan, Profile};

    fn network(change: impl FnOnce(&mut NetworkSetup)) -> Network {
        let calm: Profile = "calm".parse().unwrap();
        let mut setup = Plan::draw(1, &calm).setup.network;
        (setup.latency_ms, setup.jitter_ms) = ((10, 10), 0);
        change(&mut setup);
        Network::new(1, setup)
    }

    fn linked(network: &mut Network) -> (LinkId, LinkId) {
        let (a, b) = network.open(0, 0, 1);
        assert!(network.accept(b));
        (a, b)
    }

    #[test]
    fn frames_arrive_in_order_after_the_latency() {
        let mut network = network(|setup| setup.jitter_ms = 50);
        let (a, b) = linked(&mut network);
        let mut last = 10;
        for now in 0..100 {
            let passage = network.send(now, a, 100).unwrap();
            assert_eq!(passage.at, b);
            assert!(passage.arrivals[0] >= last);
            last = passage.arrivals[0];
        }
    }

    #[test]
    fn a_cut_is_felt_in_its_direction_only() {
        let mut network = network(|_| {});
        let (a, b) = linked(&mut network);
        network.cut(&[0], &[1], false);
        assert!(network.send(0, a, 1).unwrap().arrivals.is_empty());
        assert_eq!(network.send(0, b, 1).unwrap().arrivals.len(), 1);
        assert_eq!(network.cut_links(), [a]);
        network.heal();
        assert_eq!(network.send(0, a, 1).unwrap().arrivals.len(), 1);
    }

    #[test]
    fn a_fate_of_the_plan_overrules_chance() {
        let mut network = network(|setup| setup.loss_ppm = 1_000_000);
        let (a, _) = linked(&mut network);
        network.decide(0, 1, 1, Fate::Twice(30));
        assert!(network.send(0, a, 1).unwrap().arrivals.is_empty());
        assert_eq!(network.send(0, a, 1).unwrap().arrivals, [10, 40]);
    }

    #[test]
    fn a_broken_link_takes_what_is_on_its_way_with_it() {
        let mut network = network(|_| {});
        let (a, b) = linked(&mut network);
        let passage = network.send(0, a, 1).unwrap();
        assert_eq!(network.break_link(a), Some(1));
        assert_eq!(network.break_link(b), None);
        assert_eq!(network.arrive(b, passage.order), None);
        assert_eq!(network.take_down(a), Some(0));
        assert_eq!(network.send(1, a, 1), None);
        assert_eq!(network.take_down(b), Some(1));
        assert_eq!(network.take_down(b), None);
    }

    #[test]
    fn a_narrow_link_takes_its_time() {
        let mut network = network(|setup| setup.bytes_per_ms = Some(10));
        let (a, _) = linked(&mut network);
        assert_eq!(network.send(0, a, 100).unwrap().leaves, 10);
        assert_eq!(network.send(0, a, 100).unwrap().arrivals, [30]);
    }

    #[test]
    fn a_clogged_link_holds_up_both_directions_and_is_free_again_after_its_time() {
        let mut network = network(|_| {});
        let (a, b) = linked(&mut network);
        network.clog(1, 0, 500);
        for end in [a, b] {
            let passage = network.send(0, end, 1).unwrap();
            assert_eq!((passage.arrivals, passage.held_up), (vec![510], Some(HeldUp::Clogged)));
        }
        assert_eq!(network.send(600, a, 1).unwrap().arrivals, [610]);
    }

    #[test]
    fn a_frame_that_arrives_behind_a_later_one_was_overtaken() {
        let mut network = network(|_| {});
        let (a, b) = linked(&mut network);
        let (one, two) = (network.send(0, a, 1).unwrap(), network.send(0, a, 1).unwrap());
        assert_eq!(network.arrive(b, two.order), Some(Arrival { late: false }));
        assert_eq!(network.arrive(b, one.order), Some(Arrival { late: true }));
    }
}
