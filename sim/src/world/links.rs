//! How replicas find each other, and how links come and go.

use bytes::Bytes;
use driftless::inspect::{self, Frame};
use driftless::{Address, CloseReason, Event, LinkId};

use super::network::{HeldUp, other};
use super::queue::Happening;
use super::{World, address, at_address};
use crate::coverage::Point;
use crate::dice::{Concern, Dice};
use crate::model::holds;
use crate::oracle::{Checked, Held, held};
use crate::plan::Fate;

/// How long a driver tries to reach an address that does not answer.
const DIAL_TIMEOUT: (u64, u64) = (1_000, 5_000);

impl World<'_> {
    /// A device finds another.
    pub(super) fn found(&mut self, replica: usize, peer: usize) -> Checked {
        let device = self.replicas[peer].device;
        self.feed(replica, Event::PeerFound { device, address: address(peer) }, None)
    }

    /// In a neighbourhood, and everywhere in the liveness phase, who advertises is found by the others.
    pub(super) fn advertise(&mut self, replica: usize) {
        if !self.in_neighbourhood() {
            return;
        }
        let boot = self.replicas[replica].boots;
        let mut dice = Dice::new(self.plan.seed, Concern::Discovery, &[replica as u64, boot, self.now]);
        for other in (0..self.replicas.len()).filter(|other| *other != replica) {
            let at = self.now + dice.skewed(1, 3_000);
            self.queue.push(at, Happening::Found { replica: other, peer: replica });
        }
    }

    /// Who starts finds those who advertise.
    pub(super) fn neighbours(&mut self, replica: usize) {
        if !self.in_neighbourhood() {
            return;
        }
        let boot = self.replicas[replica].boots;
        let mut dice = Dice::new(self.plan.seed, Concern::Discovery, &[replica as u64, boot]);
        for peer in (0..self.replicas.len()).filter(|peer| *peer != replica) {
            let at = self.now + dice.skewed(1, 3_000);
            if self.replicas[peer].advertises {
                self.queue.push(at, Happening::Found { replica, peer });
            }
        }
    }

    fn in_neighbourhood(&self) -> bool {
        self.healed || self.network.setup().neighbourhood
    }

    /// A core wants a link.
    pub(super) fn dial(&mut self, from: usize, device: driftless::DeviceId, addresses: &[Address]) {
        self.dials += 1;
        let mut dice = Dice::new(self.plan.seed, Concern::Connect, &[from as u64, self.dials]);
        let boot = self.replicas[from].boots;
        let way = self.network.latency(&mut dice);
        let target = addresses
            .iter()
            .filter_map(at_address)
            .find(|to| *to != from && self.replicas.get(*to).is_some_and(|it| it.device == device));
        match target {
            Some(to) if self.reachable(from, to) => {
                // There and back for the handshake.
                self.queue.push(self.now + 2 * way, Happening::Dialled { from, boot, to });
            }
            Some(to) if self.network.can_be_called(to) && !self.network.cut_between(from, to) => {
                self.queue.push(self.now + 2 * way, Happening::DialFailed { from, boot, device });
            }
            _ => {
                if target.is_some_and(|to| !self.network.can_be_called(to)) {
                    self.coverage.hit(Point::CannotBeCalled);
                }
                let at = self.now + dice.between(DIAL_TIMEOUT.0, DIAL_TIMEOUT.1);
                self.queue.push(at, Happening::DialFailed { from, boot, device });
            }
        }
    }

    fn reachable(&self, from: usize, to: usize) -> bool {
        let sabotaged = self.sabotage.as_ref().is_some_and(|saboteur| saboteur.unreachable(from, to));
        self.replicas[to].core.is_some()
            && self.network.can_be_called(to)
            && !self.network.cut_between(from, to)
            && self.may_talk(from, to)
            && !sabotaged
    }

    pub(super) fn dialled(&mut self, from: usize, boot: u64, to: usize) -> Checked {
        if self.replicas[from].boots != boot || self.replicas[from].core.is_none() {
            return Ok(());
        }
        if !self.reachable(from, to) {
            let device = self.replicas[to].device;
            let at = self.now + DIAL_TIMEOUT.0;
            self.queue.push(at, Happening::DialFailed { from, boot, device });
            return Ok(());
        }
        let (caller, called) = self.network.open(self.now, from, to);
        self.queue.push(self.now + self.network.way(caller), Happening::Accepted { link: called });
        if let Some(life) = self.network.setup().link_life_ms {
            let mut dice = Dice::new(self.plan.seed, Concern::LinkEnd, &[caller.0]);
            let at = self.now + dice.between(1, 2 * life);
            self.queue.push(at, Happening::Wear { link: caller });
        }
        self.link_up(caller, from, to, true)
    }

    /// The end that was called learns of the link, if it still is there to learn.
    pub(super) fn accepted(&mut self, link: LinkId) -> Checked {
        let Some((replica, peer)) = self.network.ends(link) else { return Ok(()) };
        if self.replicas[replica].core.is_none() {
            self.break_link(link);
            return Ok(());
        }
        if self.network.accept(link) { self.link_up(link, replica, peer, false) } else { Ok(()) }
    }

    fn link_up(&mut self, link: LinkId, replica: usize, peer: usize, initiated: bool) -> Checked {
        let (keys, is_impostor) = self.shown_keys(link, replica, peer);
        let known = initiated || self.network.setup().callback && !is_impostor;
        let address = known.then(|| address(peer));
        let event = Event::LinkUp { link, peer: keys, initiated, address };
        self.feed(replica, event, None)?;
        let credit = self.network.setup().credit;
        if self.network.owner(link) == Some(replica) {
            self.feed(replica, Event::Writable { link, credit }, None)?;
        }
        Ok(())
    }

    /// A link breaks, and both ends notice in their own time.
    pub(super) fn break_link(&mut self, link: LinkId) {
        if !self.note_break(link) {
            return;
        }
        let mut dice = Dice::new(self.plan.seed, Concern::LinkEnd, &[link.0 / 2, self.now]);
        for end in [link, other(link)] {
            self.queue.push(self.now + dice.skewed(0, 5_000), Happening::Down { link: end });
        }
    }

    /// A link breaks. Says whether it was whole before.
    pub(super) fn note_break(&mut self, link: LinkId) -> bool {
        let Some(in_flight) = self.network.break_link(link) else { return false };
        self.coverage.hit(Point::LinkBroken);
        if in_flight > 0 {
            self.coverage.hit(Point::LinkBrokenMidway);
        }
        self.trace.note(self.now, || format!("link {} breaks, {in_flight} frames in flight", link.0));
        true
    }

    /// A core closes a link: it hears so at once, the other end when what was sent before has arrived.
    pub(super) fn hang_up(&mut self, replica: usize, link: LinkId, reason: CloseReason) -> Checked {
        if self.network.owner(link) != Some(replica) {
            let what = format!("closes link {}, which it does not have", link.0);
            return Err(self.conduct(replica, "S-54", what));
        }
        if reason == CloseReason::TooManyLinks {
            self.coverage.hit(Point::TooManyLinks);
            let links = self.replicas[replica].core.as_ref().map_or(0, |core| core.status().links.len());
            self.watch.has_no_room(replica, links)?;
        }
        let peer = self.network.ends(link).map(|(_, peer)| peer);
        let is_hostile = [Some(replica), peer].into_iter().flatten().any(|it| self.replicas[it].hostile);
        if matches!(reason, CloseReason::Garbled | CloseReason::BadRun | CloseReason::Protocol) && !is_hostile
        {
            let what = format!("closes a link to an honest peer: {reason:?}");
            return Err(self.conduct(replica, "S-26", what));
        }
        self.queue.push(self.now, Happening::Down { link });
        let last = self.network.closes(self.now, link);
        self.queue.push(last, Happening::Closed { link: other(link) });
        Ok(())
    }

    pub(super) fn send(&mut self, replica: usize, link: LinkId, frame: Bytes) -> Checked {
        let bytes = frame.len() as u64;
        if bytes > driftless::limits::MAX_FRAME as u64 {
            let what = format!("sends a frame of {bytes} bytes, more than a frame may have");
            return Err(self.conduct(replica, "S-53", what));
        }
        if self.network.ends(link).is_some_and(|(owner, _)| owner != replica) {
            return Err(self.conduct(
                replica,
                "S-9",
                format!("sends on link {}, which is not its own", link.0),
            ));
        }
        self.tells_no_thief(replica, link, &frame)?;
        if let Some(read) = inspect::frame(&frame) {
            self.goes_over(replica, link, &read)?;
            if matches!(read, Frame::Introduction { .. }) {
                self.coverage.hit(Point::Introduced);
            }
        }
        self.put_on_wire(replica, link, frame);
        Ok(())
    }

    /// Puts a frame on the wire, whoever has made it.
    pub(super) fn put_on_wire(&mut self, replica: usize, link: LinkId, frame: Bytes) {
        let bytes = frame.len() as u64;
        let Some(mut passage) = self.network.send(self.now, link, bytes) else { return };
        self.note_frame(link, &frame, &passage);
        if passage.overdrawn {
            self.coverage.hit(Point::CreditOverdrawn);
        }
        if passage.fate == Fate::Lose {
            self.coverage.hit(Point::FrameLost);
        }
        match passage.held_up {
            Some(HeldUp::Clogged) => self.coverage.hit(Point::Clogged),
            Some(HeldUp::Narrow) => self.coverage.hit(Point::Narrow),
            None => {}
        }
        let mut frame = frame;
        let mut keeps_credit = false;
        if let (Some(saboteur), Some(pair)) = (&mut self.sabotage, self.network.ends(link)) {
            frame = saboteur.frame(self.network.frames, pair, &mut passage, &frame);
            keeps_credit = saboteur.keeps_credit(bytes);
        }
        self.observe_frame(replica, &passage, &frame);
        if !keeps_credit {
            self.queue.push(passage.leaves, Happening::Writable { link, credit: bytes });
        }
        for (index, arrival) in passage.arrivals.into_iter().enumerate() {
            let (mut frame, order, again, link) = (frame.clone(), passage.order, index > 0, passage.at);
            if let Some(saboteur) = self.sabotage.as_ref().filter(|_| again) {
                frame = saboteur.second_copy(frame);
            }
            let happening = match passage.fate {
                Fate::Corrupt => Happening::ArriveCorrupt { link, order },
                _ => Happening::Arrive { link, frame, order, again },
            };
            self.queue.push(arrival, happening);
        }
    }

    /// What a replica holds, noted before a commit only when somebody is to be found out as a relay.
    pub(super) fn relays(&self, replica: usize) -> Option<Held> {
        (self.coverage.count(Point::Relayed) == 0).then(|| self.watch.held(replica).clone())
    }

    /// Whether a replica got generations of an author to whom it has no link.
    pub(super) fn gained_unlinked(&self, replica: usize, before: &Held) -> bool {
        let Some(core) = self.replicas[replica].core.as_ref() else { return false };
        let gained = |(group, now): (&driftless::SyncgroupId, &driftless::Knowledge)| {
            now.iter().any(|(author, last)| {
                let version = driftless::Version { author: *author, generation: *last };
                let known = before.get(group).is_some_and(|before| holds(before, &version));
                let of = self.replicas.iter().position(|it| it.device == author.device);
                !known && of.is_some_and(|of| of != replica && !self.network.linked(replica, of))
            })
        };
        held(core).iter().any(gained)
    }
}
