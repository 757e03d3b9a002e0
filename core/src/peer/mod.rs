//! Whom to reach: devices that share a syncgroup or can admit to one, where they were seen, and when to try
//! again (S-38, S-39).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::ControlFlow;

use crate::action::{Action, Outbox};
use crate::config::Timing;
use crate::dice::Dice;
use crate::id::{Address, DeviceId};
use crate::keys::KeyChain;
use crate::limits;
use crate::replica::Replica;
use crate::store::{Fault, Scan, Table, View};
use crate::syncgroup::group::{Group, Stage};
use crate::time::{Millis, Mono};

/// What is known of a device.
#[derive(Debug, Clone, Default)]
struct Peer {
    addresses: BTreeSet<Address>,
    /// Where people have said that it is to be met, as of the last review.
    told: BTreeSet<Address>,
    /// Where it was seen, and is not any more, and is looked for only because people have said so.
    withdrawn: BTreeSet<Address>,
    /// The store has just these.
    stored: bool,
    /// Attempts that failed since one succeeded.
    failures: u32,
    /// How often it broke the protocol since it was last of use.
    faults: u32,
    /// When the next attempt may be made.
    next: Mono,
    /// An attempt is under way.
    dialing: bool,
}

impl Peer {
    /// Adds an address, in the place of another one where there are too many: first of those that nobody has told.
    fn add(&mut self, address: &Address) {
        self.stored &= !self.addresses.insert(address.clone());
        self.withdrawn.remove(address);
        while self.addresses.len() > limits::MAX_ADDRESSES {
            let mut others = self.addresses.iter().filter(|other| *other != address);
            let untold = others.clone().find(|other| !self.told.contains(*other));
            let other = untold.or_else(|| others.next()).cloned();
            other.map(|other| self.addresses.remove(&other));
        }
    }

    fn remove(&mut self, address: &Address) {
        self.stored &= !self.addresses.remove(address);
    }
}

/// All devices of which an address is known, and those worth reaching.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    known: BTreeMap<DeviceId, Peer>,
    wanted: BTreeSet<DeviceId>,
    /// Whether this device announces itself.
    advertised: Option<bool>,
    timing: Timing,
    dice: Dice,
    max: usize,
}

impl Peers {
    /// The devices that were reached before.
    pub(crate) fn load(view: &dyn View, max: usize, timing: Timing, dice: Dice) -> Result<Self, Fault> {
        let mut peers =
            Self { known: BTreeMap::new(), wanted: BTreeSet::new(), advertised: None, timing, dice, max };
        view.scan(&Scan::all(Table::Peer).limit(max), &mut |key, value| {
            // Addresses are hints: what cannot be read is forgotten.
            if let (Ok(id), Ok(addresses)) = (key.try_into(), postcard::from_bytes(value)) {
                peers.known.insert(DeviceId(id), Peer { addresses, stored: true, ..Peer::default() });
            }
            ControlFlow::Continue(())
        })?;
        Ok(peers)
    }

    /// Notes where a device was seen. Returns what to store of it, if that has changed.
    pub(crate) fn found(&mut self, device: DeviceId, address: &Address, now: Mono) -> Option<Vec<u8>> {
        self.note(device, address, now);
        self.unstored(&device)
    }

    /// Notes where a link leads to. Returns what to store of it, if that has changed.
    pub(crate) fn reached(&mut self, device: DeviceId, address: &Address, now: Mono) -> Option<Vec<u8>> {
        self.hint(device, address, now);
        self.unstored(&device)
    }

    fn unstored(&mut self, device: &DeviceId) -> Option<Vec<u8>> {
        let peer = self.known.get_mut(device).filter(|peer| !peer.stored)?;
        peer.stored = true;
        Some(postcard::to_allocvec(&peer.addresses).unwrap_or_default())
    }

    /// Notes where a device should be, by an invitation, by what a syncgroup says or by a link. What is known already is no
    /// news, nor is what others have pushed out: how often the device was not reached stays counted.
    fn hint(&mut self, device: DeviceId, address: &Address, now: Mono) {
        match self.known.get_mut(&device) {
            Some(peer) if peer.addresses.contains(address) => {}
            Some(peer) if peer.addresses.len() >= limits::MAX_ADDRESSES => peer.add(address),
            _ => self.note(device, address, now),
        }
    }

    fn note(&mut self, device: DeviceId, address: &Address, now: Mono) {
        let is_known = self.known.contains_key(&device);
        if !is_known && self.known.len() >= self.max && !self.wanted.contains(&device) {
            return;
        }
        let soon = now + self.dice.about(self.timing.redial);
        let peer = self.known.entry(device).or_default();
        let is_new = !peer.addresses.contains(address);
        peer.add(address);
        // Whoever is seen is there: at a new place at once, at a known one soon, however often it failed.
        peer.failures = 0;
        peer.next = if is_new { now } else { peer.next.min(soon) };
    }

    /// A device is seen at an address no more. Where people have said that it is to be met there, it is still looked for,
    /// as it was before: that nobody is there now says nothing about later (S-38).
    pub(crate) fn lost(&mut self, device: &DeviceId, address: &Address) {
        match self.known.get_mut(device) {
            Some(peer) if peer.told.contains(address) => _ = peer.withdrawn.insert(address.clone()),
            Some(peer) => peer.remove(address),
            None => {}
        }
    }

    /// A link to a device is open. Whether that is worth anything turns out when it says something.
    pub(crate) fn linked(&mut self, device: &DeviceId) {
        if let Some(peer) = self.known.get_mut(device) {
            peer.dialing = false;
        }
    }

    /// A device has said what it would share: reaching it has succeeded. One that opens links and refuses them at once is
    /// tried as rarely as one that cannot be reached.
    pub(crate) fn heard(&mut self, device: &DeviceId) {
        if let Some(peer) = self.known.get_mut(device) {
            peer.failures = 0;
        }
    }

    /// It holds the same of some syncgroup, or has brought something: what it did wrong before counts no more.
    pub(crate) fn of_use(&mut self, device: &DeviceId) {
        if let Some(peer) = self.known.get_mut(device) {
            peer.faults = 0;
        }
    }

    /// It broke the protocol, and its link is closed: as if it had not been reached, and what it says first on the next
    /// link changes nothing about that.
    pub(crate) fn at_fault(&mut self, device: &DeviceId, now: Mono) {
        self.failed(device, now);
        if let Some(peer) = self.known.get_mut(device) {
            peer.faults = peer.faults.saturating_add(1);
        }
    }

    /// An attempt failed, or a link is gone: waits, longer each time, and not as long as others.
    pub(crate) fn failed(&mut self, device: &DeviceId, now: Mono) {
        if let Some(peer) = self.known.get_mut(device) {
            let times = peer.failures.max(peer.faults).min(20);
            let wait = self.timing.redial.0.saturating_mul(1 << times);
            peer.next = now + self.dice.about(Millis(wait.min(self.timing.redial_max.0)));
            peer.failures = peer.failures.saturating_add(1);
            peer.dialing = false;
        }
    }

    /// Syncgroups or members have changed: who is worth reaching, and is there a reason to be found (S-40)?
    pub(crate) fn review(&mut self, replica: &Replica, now: Mono, out: &mut Outbox) {
        let groups = || replica.groups.values();
        let own = replica.keys.device;
        self.wanted = groups().flat_map(|group| wanted(group, &own)).collect();
        self.wanted.remove(&own);
        self.is_told(&told(replica, &self.wanted), now);
        let on = groups().any(|group| {
            let stage = &group.record.stage;
            let rests = matches!(stage, Stage::Departing | Stage::Left | Stage::Removed);
            !rests && !group.paused
        });
        if self.advertised.replace(on) != Some(on) && (on || self.advertised.is_some()) {
            out.push(Action::Advertise { on });
        }
    }

    /// Looks for devices where people say now that they are to be met, and no more where they only did before.
    fn is_told(&mut self, told: &[(DeviceId, Address)], now: Mono) {
        self.known.values_mut().for_each(|peer| peer.told.clear());
        // All of them before any takes the place of another one.
        for (device, address) in told {
            let peer = self.known.get_mut(device).filter(|peer| peer.told.len() < limits::MAX_ADDRESSES);
            peer.map(|peer| peer.told.insert(address.clone()));
        }
        for (device, address) in told {
            self.hint(*device, address, now);
            let peer = self.known.get_mut(device).filter(|peer| peer.addresses.contains(address));
            peer.map(|peer| peer.told.insert(address.clone()));
        }
        for peer in self.known.values_mut() {
            let withdrawn = core::mem::take(&mut peer.withdrawn);
            let (kept, gone): (BTreeSet<_>, BTreeSet<_>) =
                withdrawn.into_iter().partition(|address| peer.told.contains(address));
            peer.withdrawn = kept;
            gone.iter().for_each(|address| peer.remove(address));
        }
    }

    /// Stops announcing this device, and reaching others.
    pub(crate) fn withdraw(&mut self, out: &mut Outbox) {
        self.wanted.clear();
        if self.advertised.replace(false) == Some(true) {
            out.push(Action::Advertise { on: false });
        }
    }

    /// The devices worth reaching to which there is no link.
    pub(crate) fn missing<'p>(
        &'p self,
        linked: &'p BTreeSet<DeviceId>,
    ) -> impl Iterator<Item = &'p DeviceId> {
        self.wanted.difference(linked)
    }

    fn candidates<'p>(&'p self, linked: &'p BTreeSet<DeviceId>) -> impl Iterator<Item = (DeviceId, Mono)> {
        self.missing(linked).filter_map(|device| {
            let peer = self.known.get(device)?;
            (!peer.dialing && !peer.addresses.is_empty()).then_some((*device, peer.next))
        })
    }

    /// Whether there is anybody at all whom it is known how to reach, and who is not being called.
    pub(crate) fn may_dial(&self) -> bool {
        let is_candidate = |peer: &Peer| !peer.dialing && !peer.addresses.is_empty();
        !self.wanted.is_empty() && self.known.values().any(is_candidate)
    }

    /// When the next attempt is to be made.
    pub(crate) fn deadline(&self, linked: &BTreeSet<DeviceId>, max_links: usize) -> Option<Mono> {
        let room =
            linked.len() + self.known.values().filter(|peer| peer.dialing).count() < max_links.div_ceil(2);
        room.then(|| self.candidates(linked).map(|(_, next)| next).min()).flatten()
    }

    /// Makes the attempts that are due; `keys_of` says by which keys a device is known. Half of the links are left to those who
    /// call; not of a single one.
    pub(crate) fn dial(
        &mut self,
        linked: &BTreeSet<DeviceId>,
        (max_links, now): (usize, Mono),
        keys_of: impl Fn(&DeviceId) -> Vec<KeyChain>,
        out: &mut Outbox,
    ) {
        let due: Vec<_> = self.candidates(linked).filter(|(_, next)| *next <= now).collect();
        for (device, _) in due {
            if self.deadline(linked, max_links).is_none() {
                break;
            }
            if let Some(peer) = self.known.get_mut(&device) {
                peer.dialing = true;
                let addresses = peer.addresses.iter().cloned().collect();
                out.push(Action::Connect { device, addresses, keys: keys_of(&device) });
            }
        }
    }
}

/// Where people have said that devices are to be met: in invitations, in what syncgroups say of themselves, and in what is
/// published.
fn told(replica: &Replica, wanted: &BTreeSet<DeviceId>) -> Vec<(DeviceId, Address)> {
    let groups = || replica.groups.values();
    let mut told = Vec::new();
    for asking in groups().flat_map(|group| group.record.stage.requests()) {
        let issuer = asking.invitation.issuer().device();
        told.extend(asking.invitation.addresses().iter().map(|address| (issuer, address.clone())));
    }
    let places = groups().filter(|it| !it.paused).flat_map(|it| it.metadata.spec().rendezvous());
    let places = places.filter(|place| wanted.contains(&place.device));
    told.extend(places.map(|place| (place.device, place.address.clone())));
    for publication in groups().flat_map(|group| group.to_be_offered(&replica.keys.device)) {
        told.extend(publication.addresses.into_iter().map(|address| (publication.device, address)));
    }
    told
}

/// The devices that are worth reaching for a syncgroup: those that have it, and those that shall.
fn wanted(group: &Group, own: &DeviceId) -> Vec<DeviceId> {
    if group.paused {
        return Vec::new();
    }
    let members = || group.metadata.access.joined().map(|(device, _)| *device);
    match &group.record.stage {
        Stage::Joining(asking) | Stage::Withdrawing(asking) | Stage::Refused(_, asking) => {
            asking.iter().map(|asking| asking.invitation.issuer().device()).collect()
        }
        Stage::Pending(admitted) | Stage::Leaving(admitted) => members().chain([admitted.by]).collect(),
        Stage::Active => members().chain(group.to_be_offered(own).into_iter().map(|it| it.device)).collect(),
        Stage::Departing => members().collect(),
        // Whoever extends its time shall find it.
        Stage::Removed if group.metadata.access.is_expired(own) => members().collect(),
        Stage::Left | Stage::Removed => Vec::new(),
    }
}
