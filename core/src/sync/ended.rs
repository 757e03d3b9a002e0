//! Telling a device that it is no member any more, and why (S-36).
//!
//! Whoever knows that the other end of a link has left, or was removed, shares nothing with it, and says so. A device
//! that does not know that of itself, as it was removed or its disk was set back to before it left, asks; and gets
//! what ended its membership with what that builds on, which it was entitled to all along, and nothing more; but if it was
//! let in again in vain, by somebody who was removed itself, that, too.
//!
//! ```text
//!   removed                           member
//!      ── offer ──►  ◄── offer: ended ──
//!      ── pull ──────────────────────►      only what ended it, and its causes
//!      ◄─────────────────── deltas ──
//!      (removed, and knows it)
//! ```

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::compare::held;
use super::link::{Share, Way};
use super::{Step, Sync};
use crate::hash::Tag;
use crate::id::{Author, Incarnation, LinkId};
use crate::log::Checkpoint;
use crate::replica::Replica;
use crate::store::key::GroupIx;
use crate::wire::Offered;

/// How often a device asks on a link. Whoever is asked may be wrong, and have nothing to tell.
const TRIES: u32 = 6;

/// Whether something is taken that is not shared.
fn is_apart(share: &Share) -> bool {
    share.way != Way::Both && share.way.takes()
}

impl Sync {
    /// Notes of which syncgroups the other end of a link says that this device is no member any more, as far as that is
    /// worth asking: it is or was a member itself, or shows what this device has signed, which only members have. The
    /// same may be worth asking later that was not when it was said, as it overtook the admission. Says whether there is
    /// anything new to ask about.
    pub(super) fn believe_ended(&mut self, id: LinkId, step: &Step<'_>) -> bool {
        let keys = &step.replica.keys;
        let names = match self.links.get(&id) {
            Some(link) if !link.said_ended.is_empty() => self.names(id, step.replica),
            _ => BTreeMap::new(), // As nearly always.
        };
        let Some(link) = self.links.get_mut(&id) else { return false };
        let device = link.device;
        let is_believed = |offered: &&Offered| {
            let group = names.get(&offered.name).and_then(|ix| step.replica.groups.get(ix));
            group.is_some_and(|group| {
                let own = |incarnation| Author { device: keys.device, incarnation };
                let is_signed = |(incarnation, checkpoint): &(Incarnation, Checkpoint)| {
                    checkpoint.verify(&group.record.id, &own(*incarnation), keys)
                };
                group.is_joined() && (group.knows(&device) || offered.yours.iter().any(is_signed))
            })
        };
        let believed = link.said_ended.iter().filter(is_believed).map(|offered| offered.name).collect();
        let before = core::mem::replace(&mut link.their_ended, believed);
        !link.their_ended.is_subset(&before)
    }

    /// This device was admitted to a syncgroup.
    pub(crate) fn admitted(&mut self, ix: GroupIx) {
        self.links.values_mut().for_each(|link| link.admitted.extend([ix]));
    }

    /// Whether this device was admitted to a syncgroup while a link was up: what has come over it may be older.
    pub(crate) fn was_admitted(&self, id: LinkId, ix: GroupIx) -> bool {
        self.links.get(&id).is_none_or(|link| link.admitted.contains(&ix))
    }

    /// The syncgroups of which the other end of a link says that this device is no member any more.
    pub(crate) fn says_ended(&self, id: LinkId, replica: &Replica) -> Vec<GroupIx> {
        let Some(link) = self.links.get(&id).filter(|link| !link.said_ended.is_empty()) else {
            return Vec::new();
        };
        let names = self.names(id, replica);
        link.said_ended.iter().filter_map(|said| names.get(&said.name).copied()).collect()
    }

    /// Databases are paused, or not any more: what others said meanwhile may be asked about now, and what is taken from
    /// those who share nothing is asked for again.
    pub(crate) fn pauses_changed(&mut self, step: &mut Step<'_>) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        links.into_iter().for_each(|link| self.ask_what_ended(link, step));
        let groups: Vec<GroupIx> = step.replica.groups.keys().copied().collect();
        groups.into_iter().for_each(|ix| self.pull_next(ix, step));
    }

    /// Asks why the other end of a link says that this device is no member any more, where this one thinks it is.
    pub(super) fn ask_what_ended(&mut self, id: LinkId, step: &mut Step<'_>) {
        let names = self.names(id, step.replica);
        let Some(link) = self.links.get_mut(&id) else { return };
        let asks = |name: &Tag| {
            let group = step.replica.groups.get(names.get(name)?)?;
            group.asks_what_ended().then_some((*name, group.ix))
        };
        let asked: Vec<(Tag, GroupIx)> = link.their_ended.iter().filter_map(asks).collect();
        for (name, ix) in &asked {
            link.take(*name, *ix).differs = true;
        }
        for (_, ix) in asked {
            self.pull(id, ix, step);
        }
    }

    /// Whether the other end has yet to show why this device is no member any more. It has that, though what it says that it
    /// holds may be from before, and overtaken: it is asked again, and given up on in time.
    pub(super) fn waits_for_its_end(&self, id: LinkId, ix: GroupIx, step: &Step<'_>) -> bool {
        let group = step.replica.groups.get(&ix);
        self.links.get(&id).is_some_and(|link| {
            let share = link.shares.get(&ix).filter(|share| is_apart(share));
            share.is_some_and(|share| link.their_ended.contains(&share.name))
        }) && group.is_some_and(|group| group.asks_what_ended())
    }

    /// Stops asking where this device knows by now, and where nobody has anything to tell.
    pub(super) fn stop_asking(&mut self, id: LinkId, step: &mut Step<'_>) {
        let Some(link) = self.links.get(&id) else { return };
        let is_over = |ix: GroupIx, share: &Share| {
            let group = step.replica.groups.get(&ix);
            is_apart(share)
                && link.said_ended.iter().any(|said| said.name == share.name)
                && group.is_none_or(|group| !group.asks_what_ended())
        };
        let over: Vec<GroupIx> = {
            let over = link.shares.iter().filter(|(ix, share)| is_over(**ix, share));
            over.map(|(ix, _)| *ix).collect()
        };
        for ix in over {
            self.stop_taking(id, ix);
            self.pull_next(ix, step);
        }
    }

    /// A pull brought nothing: gives up on a link where that has happened often, unless what came is only held back.
    /// Whoever was removed has nothing that would be worth waiting for.
    pub(super) fn give_up_asking(&mut self, id: LinkId, ix: GroupIx, step: &Step<'_>) {
        let Some(link) = self.links.get(&id) else { return };
        let is_held_back = |share: &Share| {
            share.beliefs.iter().any(|(author, belief)| belief.came > held(step.replica, ix, author))
        };
        let group = step.replica.groups.get(&ix);
        let was_removed = group.is_some_and(|group| group.metadata.access.is_removed(&link.device));
        let is_over = link.shares.get(&ix).is_some_and(|share| {
            let asks = link.their_ended.contains(&share.name) && !is_held_back(share);
            is_apart(share) && share.tries >= TRIES && (asks || was_removed)
        });
        if is_over {
            self.stop_taking(id, ix);
        }
    }

    fn stop_taking(&mut self, id: LinkId, ix: GroupIx) {
        if let Some(link) = self.links.get_mut(&id) {
            link.stop_taking(ix);
        }
        if self.pulls.get(&ix) == Some(&id) {
            self.pulls.remove(&ix);
        }
    }

    /// Gives to the other end what ended its membership. What that builds on comes along.
    pub(super) fn tell_what_ended(&mut self, id: LinkId, ix: GroupIx, step: &Step<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let max = step.replica.limits.authors;
        let Some(group) = step.replica.groups.get(&ix) else { return };
        let ended = group.metadata.access.what_ended(
            group.numbered(),
            &link.device,
            &link.unheard_of(step.replica, group),
        );
        let Some(share) = link.shares.get_mut(&ix) else { return };
        let believed: Vec<Author> = share.beliefs.keys().copied().collect();
        for author in believed {
            share.believe(author, 0, max, |belief| belief.goal = belief.sent);
        }
        for (author, generation) in ended {
            let Some(author) = step.replica.authors.get(author) else { continue };
            share.believe(author, 0, max, |belief| belief.goal = generation.max(belief.sent));
        }
    }
}
