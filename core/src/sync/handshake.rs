//! The start of a link: hello, of several links to one device the one to keep, and offers of what to share.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::link::{Share, Way};
use super::{Step, Sync};
use crate::action::CloseReason;
use crate::hash::{self, Hash, Tag};
use crate::id::{DeviceId, LinkId, SyncgroupId};
use crate::replica::Replica;
use crate::store::key::GroupIx;
use crate::wire::{Hello, Message, Offer, Offered};

/// The version of the protocol that this code speaks.
pub(crate) const PROTOCOL: u32 = 3;
/// How many words of this device are looked at that the other end shows as it says that this one is no member.
const MOST_SIGNED: usize = 4;

/// The salt of a link, the same at both ends.
pub(crate) fn salt(one: (&DeviceId, &[u8; 16]), other: (&DeviceId, &[u8; 16])) -> Hash {
    let (low, high) = if one.0 < other.0 { (one, other) } else { (other, one) };
    hash::derive(hash::LINK_SALT, &[&low.0.0, low.1, &high.0.0, high.1])
}

/// The name of a syncgroup on a link of this salt.
pub(crate) fn name(salt: &Hash, syncgroup: &SyncgroupId) -> Tag {
    hash::derive(hash::LINK_NAME, &[&salt.0, &syncgroup.0]).tag()
}

impl Sync {
    pub(super) fn say_hello(&mut self, id: LinkId, wanted: bool, step: &mut Step<'_>) {
        let boot = self.boot;
        let Some(link) = self.links.get(&id) else { return };
        let hello = Hello { protocol: PROTOCOL, nonce: link.nonce, boot, wanted };
        let tries = link.tries;
        self.send(id, &Message::Hello(hello), step);
        let patience = self.patience(tries);
        if let Some(link) = self.links.get_mut(&id) {
            // Until the other end's offer is here, hello is said again.
            link.handshake = (link.their_revision == 0).then(|| step.now + patience);
            link.tries = link.tries.saturating_add(u32::from(wanted));
        }
    }

    /// Takes in a hello. `Err` is the other end's fault.
    pub(crate) fn hello(
        &mut self,
        id: LinkId,
        hello: Hello,
        step: &mut Step<'_>,
    ) -> Result<(), (CloseReason, &'static str)> {
        if hello.protocol != PROTOCOL {
            return Err((CloseReason::Version, "another version of the protocol"));
        }
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let (device, wanted) = (link.device, hello.wanted);
        let is_first = match &link.hello {
            None => true,
            Some((known, _)) if known.nonce == hello.nonce => false,
            Some(_) => return Err((CloseReason::Protocol, "a second hello with another nonce")),
        };
        if is_first {
            let salt = salt((&step.replica.keys.device, &link.nonce), (&device, &hello.nonce));
            link.hello = Some((hello, salt));
            link.tries = 0;
            if let Some((other, reason)) = self.surplus(id) {
                self.close(other, reason, step);
                if other == id {
                    return Ok(());
                }
            }
        } else if wanted {
            self.say_hello(id, false, step);
        }
        self.offer(id, true, step);
        self.ask_to_join(id, step);
        self.publish(id, false, step);
        Ok(())
    }

    /// Of several links to one device, one to be closed: the one of an earlier boot, which is dead, or else the
    /// one with the smaller salt, which both ends see alike. Who shows keys of which neither lead to the others is not one
    /// device, but two of which one is a thief's: neither takes the other's place.
    fn surplus(&self, id: LinkId) -> Option<(LinkId, CloseReason)> {
        let link = self.links.get(&id)?;
        let (hello, salt) = link.hello.as_ref()?;
        let mut others = self.links.iter().filter(|(other, l)| **other != id && l.may_be(&link.keys));
        let (other, rival) = others.find(|(_, l)| l.hello.is_some())?;
        let (their_hello, their_salt) = rival.hello.as_ref()?;
        let drop_rival = their_hello.boot != hello.boot || their_salt < salt;
        Some((if drop_rival { *other } else { id }, CloseReason::Duplicate))
    }

    /// Offers what this replica would share over a link: if that has changed, or `again`.
    pub(super) fn offer(&mut self, id: LinkId, again: bool, step: &mut Step<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some((_, salt)) = link.hello.as_ref() else { return };
        let (mut offered, mut ended) = (BTreeMap::new(), BTreeMap::new());
        for group in step.replica.groups.values() {
            if !group.metadata.access.is_current(&link.keys) {
                continue; // Here it is nobody: see `ended_key`.
            }
            let name = name(salt, &group.record.id);
            let own = &step.replica.keys.device;
            let is_news =
                || link.their_names.contains(&name) && group.has_news_of_its_end_for(&link.device, own);
            if group.may_share_with(&link.device, step.replica) || is_news() {
                offered.insert(name, group.ix);
            } else if group.has_ended_for(&link.device, &step.replica.authors) {
                ended.insert(name, group.ix);
            }
        }
        // Whoever has introduced itself in vain does so again if it is told anything.
        let may_take = |(ix, signer): &(GroupIx, DeviceId)| {
            step.replica.groups.get(ix).is_some_and(|group| group.may_take(signer))
        };
        let turned_away = link.turned_away.len();
        link.turned_away.retain(|introduction| !may_take(introduction));
        let may_come = link.turned_away.len() < turned_away;
        let is_new = link.revision == 0 || may_come || offered != link.offered || ended != link.ended;
        if is_new {
            link.revision += 1;
            link.offered = offered;
            link.ended = ended;
        } else if !again {
            return;
        }
        let yours = |ix: &GroupIx| {
            let group = step.replica.groups.get(ix);
            group.map(|group| group.signed_by(&link.device, &step.replica.authors)).unwrap_or_default()
        };
        let one = |(name, ix): (&Tag, &GroupIx), ended| Offered { name: *name, yours: yours(ix), ended };
        let offered = link.offered.iter().map(|entry| one(entry, false));
        let syncgroups = offered.chain(link.ended.iter().map(|entry| one(entry, true))).collect();
        let offer = Offer { revision: link.revision, syncgroups };
        self.send(id, &Message::Offer(offer), step);
        if is_new {
            self.share(id, step);
        }
    }

    /// Takes in an offer. `Err` is the other end's fault.
    pub(crate) fn offered(
        &mut self,
        id: LinkId,
        offer: Offer,
        step: &mut Step<'_>,
    ) -> Result<(), (CloseReason, &'static str)> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        if offer.syncgroups.len() > step.replica.limits.syncgroups {
            return Err((CloseReason::Protocol, "more syncgroups than this replica takes"));
        }
        // An offer may overtake the hello that makes sense of it: it will come again.
        if link.hello.is_none() || offer.revision <= link.their_revision {
            return Ok(());
        }
        link.their_revision = offer.revision;
        let (mut ended, shared): (Vec<_>, Vec<_>) = offer.syncgroups.into_iter().partition(|it| it.ended);
        link.their_names = shared.into_iter().map(|offered| offered.name).collect();
        ended.iter_mut().for_each(|offered| offered.yours.truncate(MOST_SIGNED));
        link.said_ended = ended;
        link.handshake = None;
        self.believe_ended(id, step);
        // To whoever counts this device as a member, it may have to tell that it is none.
        self.offer(id, false, step);
        self.share(id, step);
        self.ask_what_ended(id, step);
        Ok(())
    }

    /// What both ends offer is shared. What has been shared before keeps its state.
    fn share(&mut self, id: LinkId, step: &mut Step<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let mut before = core::mem::take(&mut link.shares);
        for (name, ix) in link.offered.iter().filter(|(name, _)| link.their_names.contains(*name)) {
            let mut share = before.remove(ix).unwrap_or_else(|| Box::new(Share::new(*name, Way::Both)));
            share.way = Way::Both;
            link.shares.insert(*ix, share);
        }
        before.retain(|_, share| link.goes_on(share));
        link.shares.extend(before);
        let is_taken = |ix: &GroupIx| link.shares.get(ix).is_some_and(|share| share.way.takes());
        let pulled = self.pulls.iter().filter(|(ix, by)| **by == id && !is_taken(ix));
        let ended: Vec<GroupIx> = pulled.map(|(ix, _)| *ix).collect();
        // Even where nothing is shared, both must know that they have each other's latest offer. One end
        // compares at once; the other only if it does not hear of that.
        link.agreed = false;
        link.tries = 0;
        let is_first = step.replica.keys.device < link.device;
        let at = if is_first { step.now } else { step.now + self.timing.confirm };
        link.confirm = (link.their_revision > 0).then_some(at);
        for ix in ended {
            self.pulls.remove(&ix);
            self.pull_next(ix, step);
        }
        self.plan_introduction(id, step);
    }

    /// What salts the names on a link, once both ends have said hello.
    pub(crate) fn salt(&self, id: LinkId) -> Option<Hash> {
        Some(self.links.get(&id)?.hello.as_ref()?.1)
    }

    /// The syncgroups here by their names on a link: for comparing one's own logs, which comes before all
    /// else (S-2).
    pub(crate) fn names(&self, id: LinkId, replica: &Replica) -> BTreeMap<Tag, GroupIx> {
        let Some(salt) = self.salt(id) else { return BTreeMap::new() };
        replica.groups.values().map(|group| (name(&salt, &group.record.id), group.ix)).collect()
    }
}
