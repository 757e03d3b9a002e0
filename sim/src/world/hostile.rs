//! Hostile replicas: each runs a core as everybody does, and besides says what no core would.
//!
//! What they may say is made by [`driftless::hostile`]. What of it is valid is told to the oracles, which judge
//! by themselves whether anybody may accept it.

use std::collections::VecDeque;

use bytes::Bytes;
use driftless::hostile::{self, Made, Stage};
use driftless::{CollectionId, LinkId};

use super::queue::Happening;
use super::{World, label};
use crate::coverage::Point;
use crate::dice::{Concern, Dice};
use crate::oracle::Checked;
use crate::plan::{Act, Attack};

/// Frames that are remembered.
const REMEMBERED: usize = 200;
/// How often an attack waits for a link, and how long, in milliseconds.
const TRIES: u32 = 5;
const WAIT: u64 = 1_500;
/// Frames sent again, or mangled, in one attack.
const SEVERAL: u64 = 5;
/// The longest garbage.
const LONG: u64 = 4_000;

/// Frames that hostile replicas have got.
#[derive(Debug, Default)]
pub(crate) struct Wiretap(VecDeque<(usize, Bytes)>);

impl World<'_> {
    /// A hostile replica remembers what it gets.
    pub(super) fn overhear(&mut self, replica: usize, frame: &Bytes) {
        if self.replicas[replica].hostile {
            self.wiretap.0.push_back((replica, frame.clone()));
            if self.wiretap.0.len() > REMEMBERED {
                self.wiretap.0.pop_front();
            }
        }
    }

    /// Hostile replicas are gone: they have had their chance, and the others shall come to rest.
    pub(crate) fn expel_hostile(&mut self) {
        for replica in 0..self.replicas.len() {
            if self.replicas[replica].hostile {
                // One that does not run just now may be about to start again.
                self.take_away(replica, "does no more harm: all faults end");
                self.replicas[replica].vanished = true;
            }
        }
    }

    /// An attack of a step, once the attacker has a link.
    pub(super) fn attack_again(&mut self, step: usize, tries: u32) -> Checked {
        let plan = self.plan;
        let Act::Attack { replica, peer, group, attack } = &plan.steps[step].act else { return Ok(()) };
        let (from, to) = (*replica, *peer);
        if self.healed || !self.replicas[from].hostile || self.replicas[from].core.is_none() {
            return Ok(());
        }
        if *attack == Attack::CallAsAnother {
            let moment = self.moment(from, to);
            if !self.call_as_another(from, to, &moment) && tries < TRIES {
                self.queue.push(self.now + WAIT, Happening::Attack { step, tries: tries + 1 });
            }
            return Ok(());
        }
        let link = self.network.links_of(from).into_iter().find(|link| {
            self.network.ends(*link) == Some((from, to))
                && self.network.owner(*link) == Some(from)
                && !self.is_impostors(*link)
        });
        if let Some(link) = link
            && self.attack(link, (from, to), *group, *attack)
        {
            if !self.watch.was_ever_admitted(&self.replicas[from].device) {
                self.coverage.hit(Point::HostileStranger);
            }
            return Ok(());
        }
        if link.is_none() && tries == 0 {
            let address = super::address(to);
            self.dial(from, self.replicas[to].device, &[address]);
        }
        if tries < TRIES {
            self.queue.push(self.now + WAIT, Happening::Attack { step, tries: tries + 1 });
        }
        Ok(())
    }

    /// What an attack is drawn by. Several may come at one moment, as they have waited for the attacker to wake: each is
    /// another one, or what they forge would be different logs under one name.
    fn moment(&mut self, from: usize, to: usize) -> Vec<u64> {
        let (last, count) = self.attacks;
        self.attacks = (self.now, if last == self.now { count + 1 } else { 0 });
        let moment = vec![from as u64, to as u64, self.now];
        moment.into_iter().chain((self.attacks.1 > 0).then_some(self.attacks.1)).collect()
    }

    /// Attacks. Says whether it could.
    fn attack(&mut self, link: LinkId, (from, to): (usize, usize), group: u8, attack: Attack) -> bool {
        let moment = self.moment(from, to);
        let mut dice = Dice::new(self.plan.seed, Concern::Hostile, &moment);
        let (frames, made, point) = match attack {
            Attack::Replay => (self.overheard(&mut dice, None), Vec::new(), Point::FrameReplayed),
            Attack::Reflect => (self.overheard(&mut dice, Some(from)), Vec::new(), Point::FrameReflected),
            Attack::Garbage => (vec![garbage(&mut dice)], Vec::new(), Point::Garbage),
            Attack::Mangle => {
                let frames = self.overheard(&mut dice, None).iter().map(|it| mangle(&mut dice, it)).collect();
                (frames, Vec::new(), Point::Garbage)
            }
            Attack::CallAsAnother => return false,
            Attack::Forge(_) | Attack::Lie(_) | Attack::Flood(_) => {
                let Some(made) = self.make(link, (from, to), group, attack, (dice.bytes(), &moment)) else {
                    return false;
                };
                made
            }
        };
        if frames.is_empty() {
            return false;
        }
        self.coverage.hit(point);
        self.trace.note(self.now, || format!("r{from} attacks r{to} with {} frames", frames.len()));
        if let Some(id) = self.syncgroup(group) {
            self.watch.made(from, id, &made);
        }
        frames.into_iter().for_each(|frame| self.put_on_wire(from, link, frame));
        true
    }

    /// Frames from before; of one replica only those that it got.
    fn overheard(&self, dice: &mut Dice, by: Option<usize>) -> Vec<Bytes> {
        let from: Vec<&Bytes> = self
            .wiretap
            .0
            .iter()
            .filter(|(replica, _)| by.is_none_or(|by| by == *replica))
            .map(|(_, frame)| frame)
            .collect();
        (0..dice.between(1, SEVERAL)).filter_map(|_| dice.pick(&from).map(|it| (*it).clone())).collect()
    }

    /// Frames that take some knowledge to make, with what they say.
    fn make(
        &self,
        link: LinkId,
        (from, to): (usize, usize),
        group: u8,
        attack: Attack,
        (seed, moment): ([u8; 32], &[u64]),
    ) -> Option<(Vec<Bytes>, Vec<Made>, Point)> {
        let it = &self.replicas[from];
        let stolen = self.stolen(to, moment);
        let stage = Stage {
            core: it.core.as_ref()?,
            view: it.disk.store(),
            link,
            peer: self.replicas[to].device,
            syncgroup: self.syncgroup(group)?,
            collection: CollectionId::of(&label("c", 0)),
            wall: it.clock.now(self.now).wall,
            stolen: stolen.as_ref(),
            seed,
        };
        match attack {
            Attack::Forge(forgery) => {
                let forged = hostile::forge(&stage, forgery)?;
                let is_thiefs = matches!(forgery, hostile::Forgery::FormerKey | hostile::Forgery::RivalKey);
                Some((forged.frames, forged.made, if is_thiefs { Point::ThiefForges } else { Point::Forged }))
            }
            Attack::Lie(lie) => Some((hostile::lie(&stage, lie)?, Vec::new(), Point::Lie)),
            Attack::Flood(flood) => {
                let forged = hostile::flood(&stage, flood)?;
                Some((forged.frames, forged.made, Point::Flood))
            }
            _ => None,
        }
    }
}

fn garbage(dice: &mut Dice) -> Bytes {
    let length = dice.skewed(0, LONG);
    (0..length).map(|_| dice.below(256) as u8).collect::<Vec<u8>>().into()
}

/// Changes, takes out or doubles some bytes.
fn mangle(dice: &mut Dice, frame: &Bytes) -> Bytes {
    let mut bytes = frame.to_vec();
    for _ in 0..dice.between(1, 4) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.index(bytes.len());
        match dice.below(4) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = dice.below(256) as u8,
            2 => drop(bytes.remove(at)),
            _ => bytes.insert(at, bytes[at]),
        }
    }
    bytes.into()
}
