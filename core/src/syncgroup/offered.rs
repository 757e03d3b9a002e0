//! What this device was offered: syncgroups that are published at it, and that its application may take (S-33).
//!
//! Who is asked decides. Until the application has accepted nothing of the syncgroup is made here, and nothing is stored:
//! whoever offered it says it again. An offer is the whole of what a device offers, so what it does not name any more is
//! withdrawn. Where a device has nothing to offer on a new link it says nothing; so what it offered on another one before
//! is not told of until it says it again.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::Invitation;
use super::group::Stage;
use super::invitation::Whom;
use crate::id::{DeviceId, LinkId, SyncgroupId};
use crate::keys::KeyChain;
use crate::limits;
use crate::replica::Replica;

/// Devices of which it is remembered what they offer.
const MOST_DEVICES: usize = 64;
/// Offers of which it is remembered that they were declined.
const MOST_DECLINED: usize = 256;
/// Offers of one device that the application is told of on a link, beside those that it declines: one that makes up ever
/// new ones is soon silent. Later ones are listed.
const MOST_TOLD: usize = 64;

/// A syncgroup, and the nonce of an invitation to it.
pub(crate) type Declined = (SyncgroupId, [u8; 16]);

#[derive(Debug, Clone, Default)]
pub(crate) struct Offered {
    by: BTreeMap<DeviceId, Offers>,
    declined: VecDeque<(DeviceId, Declined)>,
}

/// What one device offers.
#[derive(Debug, Clone)]
struct Offers {
    /// The link that it was last met on.
    link: LinkId,
    open: Vec<Invitation>,
    /// It was offered on a link before that one.
    is_old: bool,
    /// How many the application was told of on this link, and has not declined.
    told: usize,
}

/// What comes of an offer.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// What the application has not been told of.
    pub(crate) news: Vec<Invitation>,
    /// What it has declined before.
    pub(crate) declined: Vec<Declined>,
}

impl Offered {
    /// A device is there, on a link that is ready: all that it offers it will say anew.
    pub(crate) fn meets(&mut self, device: &DeviceId, link: LinkId) {
        if let Some(offers) = self.by.get_mut(device).filter(|offers| offers.link != link) {
            // What is open still is no news if it is said again.
            let open = core::mem::take(&mut offers.open);
            *offers = Offers { link, open, is_old: true, told: 0 };
        }
    }

    /// Takes in all that the owner of a key offers. What is not signed with it, or is for somebody else, does nothing;
    /// nor does what would change nothing here.
    pub(crate) fn take(
        &mut self,
        replica: &Replica,
        (keys, link): (&KeyChain, LinkId),
        linked: &BTreeSet<DeviceId>,
        invitations: Vec<Invitation>,
    ) -> Taken {
        let by = keys.device();
        // Whoever has gone is told of anew when it comes again.
        self.by.retain(|device, offers| !offers.open.is_empty() || linked.contains(device));
        let (told, before) = self.by.remove(&by).map(|it| (it.told, it.open)).unwrap_or_default();
        let mut taken = Taken::default();
        let mut now = Offers { link, open: Vec::new(), is_old: false, told };
        let mut syncgroups = BTreeSet::new();
        for invitation in invitations.into_iter().take(limits::MAX_OFFERS) {
            let declined = (invitation.syncgroup(), invitation.terms.nonce);
            let is_known = before.contains(&invitation);
            let is_good =
                is_known || invitation.issuer.current() == keys.current() && invitation.verify(&replica.keys);
            if !is_good || !is_open(replica, &invitation) || !syncgroups.insert(invitation.syncgroup()) {
                continue;
            }
            if self.declined.contains(&(by, declined)) {
                taken.declined.push(declined);
                continue;
            }
            if !is_known && now.told < MOST_TOLD {
                now.told += 1;
                taken.news.push(invitation.clone());
            }
            now.open.push(invitation);
        }
        if now.told == 0 && now.open.is_empty() {
            return taken;
        }
        if !self.has_room(linked) {
            return Taken { news: Vec::new(), ..taken };
        }
        self.by.insert(by, now);
        taken
    }

    /// Makes room for one more device, if need be in the place of one that could not be answered now.
    fn has_room(&mut self, linked: &BTreeSet<DeviceId>) -> bool {
        if self.by.len() >= MOST_DEVICES {
            let away = self.by.keys().find(|device| !linked.contains(*device)).copied();
            away.map(|device| self.by.remove(&device));
        }
        self.by.len() < MOST_DEVICES
    }

    /// An offer was accepted.
    pub(crate) fn accepted(&mut self, invitation: &Invitation) {
        let (by, of) = named(invitation);
        self.close(&by, &of);
        // Whoever accepts does not decline any more.
        self.declined.retain(|known| *known != (by, of));
    }

    /// An offer was declined, and shall be whenever it is made again.
    pub(crate) fn decline(&mut self, invitation: &Invitation) {
        let (by, of) = named(invitation);
        if self.close(&by, &of)
            && let Some(offers) = self.by.get_mut(&by)
        {
            offers.told = offers.told.saturating_sub(1);
        }
        if !self.declined.contains(&(by, of)) {
            self.declined.truncate(MOST_DECLINED - 1);
            self.declined.push_front((by, of));
        }
    }

    /// An offer was answered. Says whether it waited for that.
    fn close(&mut self, by: &DeviceId, of: &Declined) -> bool {
        let Some(offers) = self.by.get_mut(by) else { return false };
        let before = offers.open.len();
        offers.open.retain(|it| named(it).1 != *of);
        offers.open.len() < before
    }

    /// What waits for an answer.
    pub(crate) fn open(&self, replica: &Replica) -> impl Iterator<Item = &Invitation> {
        let last = self.by.values().filter(|offers| !offers.is_old);
        last.flat_map(|offers| &offers.open).filter(|invitation| is_open(replica, invitation))
    }
}

fn named(invitation: &Invitation) -> (DeviceId, Declined) {
    (invitation.issuer().device(), (invitation.syncgroup(), invitation.terms.nonce))
}

/// Whether an offer is to this device, and it neither takes part nor has asked to. Of a database that is paused nothing
/// is told, nor taken (S-37).
fn is_open(replica: &Replica, invitation: &Invitation) -> bool {
    let terms = &invitation.terms;
    let is_well_formed = terms.whom == Whom::Device(replica.keys.device)
        && invitation.issuer.device() != replica.keys.device
        && invitation.addresses.len() <= limits::MAX_ADDRESSES;
    let is_news = || match replica.group(&terms.syncgroup) {
        None => true,
        Some(group) => {
            let stage = &group.record.stage;
            let is_here = matches!(stage, Stage::Active | Stage::Pending(_) | Stage::Leaving(_));
            let is_asked = stage.requests().iter().any(|it| it.invitation.terms.nonce == terms.nonce);
            let is_joining = is_asked && matches!(stage, Stage::Joining(_));
            !(group.paused || is_here || is_joining)
        }
    };
    is_well_formed && is_news()
}
