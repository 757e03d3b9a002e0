//! Links of devices whose key has ended (S-1).
//!
//! Whoever knows that a device has another key by now says so to whoever shows the one before, by the chain of keys, and
//! nothing else; and closes. So a thief of the old key gets nothing, and a copy of the device from before learns what has
//! become of it.
//!
//! Where another chain counts in a syncgroup than the one that is shown, though that is no shorter one, somebody has signed
//! for two keys. There the other end is a stranger; elsewhere it may be what it says.

use alloc::vec::Vec;

use super::link::Link;
use super::{Step, Sync};
use crate::action::CloseReason;
use crate::id::{DeviceId, LinkId};
use crate::keys::KeyChain;
use crate::replica::Replica;
use crate::time::Mono;
use crate::wire::Message;

/// By which keys some syncgroup here knows a device, if the chain that it shows does not lead there: first by such as go on
/// from that.
fn known<'r>(replica: &'r Replica, shown: &KeyChain) -> Option<&'r KeyChain> {
    let groups = replica.groups.values().filter(|group| !group.paused);
    let known = groups.filter_map(|group| group.metadata.access.keys_of(&shown.device()));
    known.filter(|known| !shown.starts_with(known)).max_by_key(|known| known.is_beyond(shown))
}

/// By which keys the syncgroups here know a device, if not by its first one alone: several chains, where they go by different
/// ones, and none that only begins another one.
pub(crate) fn known_keys(replica: &Replica, device: &DeviceId) -> Vec<KeyChain> {
    let groups = replica.groups.values().filter(|group| !group.paused);
    let mut found: Vec<KeyChain> = Vec::new();
    for chain in groups.filter_map(|group| group.metadata.access.keys_of(device)) {
        if !found.iter().any(|other| other.starts_with(chain)) {
            found.retain(|other| !chain.starts_with(other));
            found.push(chain.clone());
        }
    }
    found
}

impl Sync {
    /// Looks whether the key that the other end of a link has shown has ended. Then nothing more is taken from it, and it
    /// is told why before the link is closed.
    pub(super) fn tell_of_its_end(&mut self, id: LinkId, step: &mut Step<'_>) {
        let Some(link) = self.links.get(&id).filter(|link| link.refused.is_none()) else { return };
        let Some(known) = known(step.replica, &link.keys).filter(|known| link.told != Some(known.current()))
        else {
            return;
        };
        let (current, ends) = (known.current(), known.is_beyond(&link.keys));
        let (keys, nonce, credit) = (link.keys.clone(), link.nonce, link.credit);
        if ends {
            self.drop_pulls(id, step);
            let at = step.now + self.timing.patience;
            self.links.insert(
                id,
                alloc::boxed::Box::new(Link { refused: Some(at), credit, ..Link::new(keys, nonce) }),
            );
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.told = Some(current);
        }
        self.send(id, &Message::KeyEnded(known.clone()), step);
    }

    /// Whether the key that the other end of a link has shown has ended: whatever it says is not looked at.
    pub(crate) fn is_refused(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|link| link.refused.is_some())
    }

    /// Whether another key counts somewhere here in the place of the one that the other end has shown.
    pub(crate) fn is_told(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|link| link.told.is_some())
    }

    /// Closes links that were refused.
    pub(super) fn close_refused(&mut self, step: &mut Step<'_>) {
        let is_due = |at: Option<Mono>| at.is_some_and(|at| at <= step.now);
        let due = self.links.iter().filter(|(_, link)| is_due(link.refused)).map(|(id, _)| *id);
        for id in due.collect::<Vec<_>>() {
            self.close(id, CloseReason::KeyEnded, step);
        }
    }
}
