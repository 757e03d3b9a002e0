//! Offering syncgroups to the devices at which they are published (S-33).
//!
//! An admin says to such a device all that it offers it, and says it again, later and later, as long as there is
//! anything. An offer that is withdrawn, or needs no answer any more, is missing from what is said next; that there is
//! nothing any more is said until it is heard. What is said follows from what is held alone, so nothing has to be kept but
//! what was said last on a link. On a new link nothing was: whoever has nothing to offer stays silent, and the other end
//! counts nothing of what was offered on links before (see [`Offered`](crate::syncgroup::offered::Offered)).

use alloc::vec::Vec;

use super::{Step, Sync};
use crate::id::{DeviceId, LinkId};
use crate::limits;
use crate::wire::{Message, Publish};

impl Sync {
    /// Offers the device at the other end what is published there: if that has changed, or `again`.
    pub(super) fn publish(&mut self, id: LinkId, again: bool, step: &mut Step<'_>) {
        let Some(link) = self.links.get(&id).filter(|link| link.hello.is_some()) else { return };
        let (device, own) = (link.device, step.replica.keys.device);
        let here = step.replica.groups.values().flat_map(|group| {
            let offers = group.to_be_offered(&own).into_iter().filter(|it| it.device == device);
            offers.map(move |it| (group, it))
        });
        let offers: Vec<_> = here.take(limits::MAX_OFFERS).collect();
        let nonces: Vec<_> = offers.iter().map(|(group, it)| group.offer_nonce(it, &own)).collect();
        let is_new = nonces != link.published;
        if !is_new && !again {
            return;
        }
        let keys = &step.replica.keys;
        let invitations = offers.iter().filter_map(|(group, it)| group.offer_of(it, keys)).collect();
        let tries = if is_new { 0 } else { link.publish_tries };
        let revision = link.publish_revision.saturating_add(u32::from(is_new));
        let at = step.now + self.patience(tries);
        if let Some(link) = self.links.get_mut(&id) {
            link.published = nonces;
            link.publish_revision = revision;
            link.publish = Some(at);
            link.publish_tries = tries.saturating_add(1);
        }
        self.send(id, &Message::Publish(Publish { revision, invitations }), step);
    }

    /// The other end has heard that it is offered nothing any more.
    pub(crate) fn none_offered(&mut self, id: LinkId, revision: u32) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.published.is_empty() && link.publish_revision == revision {
            link.publish = None;
        }
    }

    /// Whether what the other end offers is the last that it has said, on the one link to it that counts.
    pub(crate) fn takes_offers(&mut self, id: LinkId, revision: u32) -> bool {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.hello.is_some()) else { return false };
        let is_late = revision < link.their_publish_revision;
        link.their_publish_revision = link.their_publish_revision.max(revision);
        !is_late
    }

    /// A link to a device that is ready to be used.
    pub(crate) fn link_to(&self, device: &DeviceId) -> Option<LinkId> {
        let is_ready = |link: &&super::Link| link.device == *device && link.hello.is_some();
        self.links.iter().find(|(_, link)| is_ready(&&***link)).map(|(id, _)| *id)
    }
}
