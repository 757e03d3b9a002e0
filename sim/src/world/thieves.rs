//! Thieves: hostile replicas that have a key which some device had before the one that it has (S-1).
//!
//! They forge logs of that device, which is an attack like others, and they call in its name. Whoever knows that the key
//! has ended must tell them that, and nothing else.

use driftless::inspect::{self, Frame};
use driftless::{Continuity, Identity, KeyChain, LinkId};

use super::World;
use super::queue::Happening;
use crate::coverage::Point;
use crate::dice::{Concern, Dice};
use crate::oracle::{Checked, Oracle, Violation};

/// The called end of a link of somebody who calls in another device's name.
#[derive(Debug, Clone)]
pub(crate) struct Impostor {
    /// The keys that are shown, the last of which has ended.
    shown: KeyChain,
    /// Whoever was called knew that then.
    was_known: bool,
}

impl World<'_> {
    /// A key that somebody other than `to` had before the one that it has: the attacker has got hold of it.
    pub(super) fn stolen(&self, to: usize, moment: &[u64]) -> Option<Identity> {
        let others = self.replicas.iter().filter(|it| it.index != to);
        let keys: Vec<_> = others.filter_map(|it| it.former.last()).collect();
        let mut dice = Dice::new(self.plan.seed, Concern::Thefts, moment);
        let (secret, chain) = dice.pick(&keys)?;
        let (secret, chain) = (secret.clone(), Some(chain.clone()));
        Some(Identity { secret, chain, continuity: Continuity::Unknown })
    }

    /// A thief calls as the device whose key it has. Says whether it could.
    pub(super) fn call_as_another(&mut self, from: usize, to: usize, moment: &[u64]) -> bool {
        let Some(shown) = self.stolen(to, moment).and_then(|it| it.chain) else { return false };
        if self.replicas[to].core.is_none()
            || !self.network.can_be_called(to)
            || self.network.cut_between(from, to)
        {
            return false;
        }
        let (caller, called) = self.network.open(self.now, from, to);
        self.impostors.insert(called, Impostor { shown, was_known: false });
        self.queue.push(self.now + self.network.way(caller), Happening::Accepted { link: called });
        let mut dice = Dice::new(self.plan.seed, Concern::Thefts, &[moment, &[1]].concat());
        self.put_on_wire(from, caller, driftless::hostile::hello_from_nobody(dice.bytes()));
        self.trace.note(self.now, || format!("r{from} calls r{to} by a key that it has stolen"));
        self.coverage.hit(Point::ThiefCalls);
        true
    }

    /// What the other end of a link shows to be, as it comes up; and whether the link is somebody else's in its name.
    pub(super) fn shown_keys(&mut self, link: LinkId, replica: usize, peer: usize) -> (KeyChain, bool) {
        let Some(it) = self.impostors.get_mut(&link) else {
            return (self.replicas[peer].chain.clone(), false);
        };
        let core = self.replicas[replica].core.as_ref();
        it.was_known = core.is_some_and(|core| self.watch.knows_later_key(replica, core, &it.shown));
        let shown = it.shown.clone();
        let owner = self.replicas.iter().find(|it| it.device == shown.device());
        match owner.filter(|_| self.sabotage.as_ref().is_some_and(|it| it.takes_former_keys())) {
            Some(owner) => (owner.chain.clone(), true),
            None => (shown, true),
        }
    }

    /// Whether somebody calls over a link in the name of another device.
    pub(super) fn is_impostors(&self, link: LinkId) -> bool {
        self.impostors.contains_key(&link) || self.impostors.contains_key(&super::network::other(link))
    }

    /// Whoever calls in another device's name hangs up: whom it has called, and has not heard of the end of its key, does not
    /// look for that device meanwhile.
    pub(super) fn hang_up_on_thieves(&mut self) {
        let links: Vec<LinkId> = self.impostors.keys().copied().collect();
        links.into_iter().for_each(|link| self.break_link(link));
    }

    /// Whoever has shown a key that has ended, as the other end knew, is told of that, and of nothing else.
    pub(super) fn tells_no_thief(&mut self, replica: usize, link: LinkId, frame: &[u8]) -> Checked {
        let Some(Impostor { shown, was_known: true }) = self.impostors.get(&link) else { return Ok(()) };
        match inspect::frame(frame) {
            Some(Frame::KeyEnded(chain)) if chain.device() == shown.device() => {
                self.coverage.hit(Point::ThiefRefused);
                Ok(())
            }
            said => {
                let peer = self.network.ends(link).map(|(_, peer)| peer);
                let replicas = [replica].into_iter().chain(peer).collect();
                let what = format!("takes whoever has shown {shown:?} for that device, and says {said:?}");
                Err(Violation { oracle: Oracle::Access, rule: "S-1", replicas, what })
            }
        }
    }
}
