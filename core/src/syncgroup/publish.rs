//! Publication: a named device is asked to take part, until it has answered (S-33).
//!
//! What is to be published where stands in the syncgroup's log, so that *the log is the queue*: it survives restarts, all
//! admins share it, and whoever becomes one works it off too. Each admin that has a link to the device offers it an
//! invitation of its own that nobody else can use; from there on the device joins like any other (S-32), and is a member
//! like any other.
//!
//! Each request to publish is an *attempt*, named by its version. Of several at one device the last counts; and if that
//! turns out to be void, the one before. So whoever withdraws one, or hears that it was declined, says so of all that it
//! knows. Of what is said of an attempt, that it was withdrawn comes before that it was declined, in whatever order that
//! arrives (S-20). Nobody says that it has succeeded: whoever is a member is one. Once anything has been said of the
//! device's membership after an attempt, and it is no member, the attempt is over: whoever has left, or was removed, is
//! not asked again because of what was asked before.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::access::Access;
use super::command::{Means, active, require};
use super::group::{Group, Stage};
use super::invitation::Whom;
use super::{Invitation, Rights, Terms};
use crate::action::{Notice, Outcome, Refusal};
use crate::crypto::Keys;
use crate::hash;
use crate::id::{Address, DeviceId, PublicKey, SyncgroupId, Version};
use crate::limits;
use crate::log::record::{MetaRecord, Record};
use crate::replica::Stop;
use crate::replica::plan::Plan;
use crate::time::{Hlc, Wall};

/// Attempts that are kept of those of which all but the last do not count, or not any more.
const MOST_KEPT: usize = 4 * limits::MAX_PUBLICATIONS;
/// Attempts at one device that end at once: the last ones.
const MOST_ENDED: usize = 8;

/// A device that a syncgroup is published at: an admin wants it to take part (S-33).
///
/// ```
/// use driftless::{Address, Command, Limits, PublicKey, PublicationStatus, Rights, SyncgroupId};
/// # let (syncgroup, server) = (SyncgroupId([7; 32]), PublicKey([8; 32]).device());
///
/// let command = Command::Publish {
///     syncgroup,
///     device: server,
///     rights: Rights::Write,
///     addresses: Address::new("quic:sync.example.org:4433").into_iter().collect(),
/// };
/// // The server is asked until it answers; `SyncgroupInfo::publications` tells how far that is:
/// assert!(PublicationStatus::Running > PublicationStatus::Rejected);
/// assert!(PublicationStatus::Rejected > PublicationStatus::Pending);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Publication {
    /// Which device.
    pub device: DeviceId,
    /// What it may do once it takes part.
    pub rights: Rights,
    /// Where it can be reached, at most [`limits::MAX_ADDRESSES`].
    pub addresses: Vec<Address>,
    /// The generation that asked for it.
    pub attempt: Version,
    /// What has become of that.
    pub status: PublicationStatus,
}

/// What has become of a publication (S-20). What is greater overrules what is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PublicationStatus {
    /// The device has not answered. Admins go on asking it.
    Pending,
    /// It has declined. It is not asked again, and may still change its mind.
    Rejected,
    /// It is a member.
    Running,
}

/// What an admin wants published.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attempt {
    at: (Hlc, Version),
    rights: Rights,
    addresses: Vec<Address>,
    /// This attempt at the device and those before it, the last [`MOST_ENDED`].
    all: BTreeSet<(Hlc, Version)>,
}

/// How an attempt ended, other than by success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Declined,
    Withdrawn,
}

/// What is to be published where, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Publications {
    /// The last attempt at each device.
    attempts: BTreeMap<DeviceId, Attempt>,
    ends: BTreeMap<(DeviceId, Version), End>,
}

impl Publications {
    /// Takes in what a generation that counts says.
    pub(super) fn take(&mut self, record: &MetaRecord, at: (Hlc, Version)) {
        match record {
            MetaRecord::Publish { device, rights, addresses } => {
                let last = self.attempts.entry(*device).or_insert_with(|| {
                    let all = BTreeSet::new();
                    Attempt { at, rights: *rights, addresses: addresses.clone(), all }
                });
                if last.at < at {
                    (last.at, last.rights, last.addresses) = (at, *rights, addresses.clone());
                }
                last.all.insert(at);
                if last.all.len() > MOST_ENDED {
                    last.all.pop_first();
                }
                // Which ones go follows from the set of those that came, whatever their order.
                if self.attempts.len() > MOST_KEPT {
                    let first = self.attempts.iter().min_by_key(|(_, attempt)| attempt.at);
                    first.map(|(device, _)| *device).map(|device| self.attempts.remove(&device));
                }
            }
            MetaRecord::Unpublish { device, attempt } => self.end(*device, *attempt, End::Withdrawn),
            MetaRecord::Decline { device, attempt } => self.end(*device, *attempt, End::Declined),
            _ => {}
        }
    }

    fn end(&mut self, device: DeviceId, attempt: Version, end: End) {
        let known = self.ends.entry((device, attempt)).or_insert(end);
        *known = end.max(*known);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// What counts, by device.
    pub(crate) fn list(&self, access: &Access) -> Vec<Publication> {
        let live = self.attempts.iter().filter_map(|(device, attempt)| {
            let status = self.status(device, attempt, access)?;
            Some((attempt.at, device, attempt, status))
        });
        // Members are bounded as such.
        let (mut live, mut waiting): (Vec<_>, Vec<_>) =
            live.partition(|(.., status)| *status == PublicationStatus::Running);
        waiting.sort_unstable_by_key(|(at, ..)| core::cmp::Reverse(*at));
        live.extend(waiting.into_iter().take(limits::MAX_PUBLICATIONS));
        live.sort_unstable_by_key(|(_, device, ..)| **device);
        let publication =
            |((_, version), device, attempt, status): (_, &DeviceId, &Attempt, _)| Publication {
                device: *device,
                rights: attempt.rights,
                addresses: attempt.addresses.clone(),
                attempt: version,
                status,
            };
        live.into_iter().map(publication).collect()
    }

    /// What is to be said of all attempts at a device as they end; nothing of those of which that was said, or more.
    pub(super) fn ending(&self, device: DeviceId, end: End) -> Vec<Record> {
        let all = self.attempts.get(&device).into_iter().flat_map(|last| &last.all);
        let lasting =
            all.filter(|(_, attempt)| self.ends.get(&(device, *attempt)).is_none_or(|it| *it < end));
        let record = |&(_, attempt): &(Hlc, Version)| match end {
            End::Withdrawn => MetaRecord::Unpublish { device, attempt },
            End::Declined => MetaRecord::Decline { device, attempt },
        };
        lasting.map(record).map(Record::Meta).collect()
    }

    /// What has become of an attempt; `None` if it does not count any more.
    fn status(&self, device: &DeviceId, attempt: &Attempt, access: &Access) -> Option<PublicationStatus> {
        let end = self.ends.get(&(*device, attempt.at.1));
        if end == Some(&End::Withdrawn) {
            return None;
        }
        // Also if its time is over: to let it in again is to extend that, and not to ask it anew.
        if access.stands(device) {
            return Some(PublicationStatus::Running);
        }
        let is_over = access.last_word_on(device).is_some_and(|stamp| stamp > attempt.at.0);
        let open = if end.is_some() { PublicationStatus::Rejected } else { PublicationStatus::Pending };
        (!is_over).then_some(open)
    }
}

impl Group {
    /// Where this syncgroup is published.
    pub(crate) fn publications(&self) -> Vec<Publication> {
        self.metadata.publications()
    }

    /// Whether this device, as an admin, is to ask another one to take part, which has not answered.
    fn waits_for(&self, device: &DeviceId, own: &DeviceId) -> bool {
        let is_asked = |it: &Publication| it.device == *device && it.status == PublicationStatus::Pending;
        let is_admin = self.metadata.access.rights(own) == Some(Rights::Admin);
        is_admin && self.record.stage == Stage::Active && self.publications().iter().any(is_asked)
    }

    /// What this device, as an admin, has to offer to others; nothing while the syncgroup is not here for others (S-37).
    pub(crate) fn to_be_offered(&self, own: &DeviceId) -> Vec<Publication> {
        let is_admin = || self.metadata.access.rights(own) == Some(Rights::Admin);
        if self.paused || self.record.stage != Stage::Active || !self.metadata.publishes() || !is_admin() {
            return Vec::new();
        }
        let mut all = self.publications();
        all.retain(|it| it.status == PublicationStatus::Pending);
        all
    }

    /// The publication that an invitation of this device's stands for, as long as it counts.
    fn publication_of(&self, device: &DeviceId, nonce: &[u8; 16], issuer: &DeviceId) -> Option<Publication> {
        let is_it = |it: &Publication| it.device == *device && self.offer_nonce(it, issuer) == *nonce;
        self.publications().into_iter().find(is_it)
    }

    /// The nonce of the invitation that an admin issues for an attempt: always the same, so that it is one invitation
    /// however often it is offered, and nothing has to be kept to know it again.
    pub(crate) fn offer_nonce(&self, publication: &Publication, issuer: &DeviceId) -> [u8; 16] {
        let Version { author, generation } = publication.attempt;
        let incarnation = author.incarnation.0.to_be_bytes();
        let parts: [&[u8]; 6] = [
            &self.record.id.0,
            &author.device.0,
            &incarnation,
            &generation.to_be_bytes(),
            &publication.device.0,
            &issuer.0,
        ];
        hash::derive(hash::PUBLICATION, &parts).tag().0
    }

    /// The invitation for a publication, for that device alone. It is good as long as the publication counts.
    pub(crate) fn offer_of(&self, publication: &Publication, keys: &Keys) -> Option<Invitation> {
        let terms = Terms {
            syncgroup: self.record.id,
            rights: publication.rights,
            expires: Wall(u64::MAX),
            reusable: false,
            nonce: self.offer_nonce(publication, &keys.device),
            whom: Whom::Device(publication.device),
            ends: None,
        };
        let name = self.metadata.name()?.clone();
        Some(Invitation::sign(terms, name, Vec::new(), keys))
    }
}

/// Whether a device that asks may use an invitation that this admin has issued. An offer makes a member of somebody who
/// is none, and nothing more of somebody who is: several admins make one each, and whoever got in by one still has the
/// others, whatever it was left since. That goes for one whose time is over, too: to let it in again is to extend that.
pub(super) fn is_for(group: &Group, terms: &Terms, device: &DeviceId, issuer: &PublicKey) -> bool {
    match terms.whom {
        Whom::Anybody => true,
        Whom::DevicesOf(_) => false,
        Whom::Device(it) => {
            it == *device
                && !group.metadata.access.stands(device)
                && group.publication_of(device, &terms.nonce, &issuer.device()).is_some()
        }
    }
}

/// Asks that a device take part.
pub(super) fn publish(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    (syncgroup, device): (SyncgroupId, DeviceId),
    rights: Rights,
    addresses: Vec<Address>,
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, &syncgroup)?;
    require(plan.replica, group, Rights::Admin, "publish it")?;
    if addresses.len() > limits::MAX_ADDRESSES {
        return Err(Refusal::Limit { what: "addresses of a device", limit: limits::MAX_ADDRESSES }.into());
    }
    if group.metadata.access.stands(&device) {
        return Err(Refusal::IsMember(device).into());
    }
    let present = group.publications();
    let known = present.iter().find(|it| it.device == device);
    let is_asked = |it: &Publication| {
        it.status == PublicationStatus::Pending && it.rights == rights && it.addresses == addresses
    };
    // What is so already is not written again.
    if !known.is_some_and(is_asked) {
        let limit = limits::MAX_PUBLICATIONS;
        let waiting = present.iter().filter(|it| it.status != PublicationStatus::Running).count();
        if known.is_none() && waiting >= limit {
            return Err(Refusal::Limit { what: "publications of a syncgroup", limit }.into());
        }
        let own = &plan.replica.keys.device;
        let others = plan.replica.groups.values().filter(|it| it.ix != group.ix);
        if others.filter(|it| it.waits_for(&device, own)).count() >= limits::MAX_OFFERS {
            let (what, limit) = ("syncgroups that wait for an answer of one device", limits::MAX_OFFERS);
            return Err(Refusal::Limit { what, limit }.into());
        }
        let record = MetaRecord::Publish { device, rights, addresses };
        write(plan, means.wall, group, &[Record::Meta(record)])?;
    }
    Ok(Outcome::Published(syncgroup, device))
}

/// Asks a device no more.
pub(super) fn unpublish(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    (syncgroup, device): (SyncgroupId, DeviceId),
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, &syncgroup)?;
    require(plan.replica, group, Rights::Admin, "withdraw a publication")?;
    if group.metadata.access.stands(&device) {
        return Err(Refusal::IsMember(device).into());
    }
    if group.publications().iter().all(|it| it.device != device) {
        return Err(Refusal::NotPublished(device).into());
    }
    write(plan, means.wall, group, &group.metadata.publications_end(device, End::Withdrawn))?;
    Ok(Outcome::Unpublished(syncgroup, device))
}

/// A device has declined what this one offered. What is known already is not written again.
pub(crate) fn declined(
    plan: &mut Plan<'_>,
    wall: Wall,
    (syncgroup, device): (&SyncgroupId, DeviceId),
    nonce: &[u8; 16],
) -> Result<(), Stop> {
    let Some(group) = plan.replica.group(syncgroup) else { return Ok(()) };
    let own = plan.replica.keys.device;
    let mut offered = group.to_be_offered(&own).into_iter().filter(|it| it.device == device);
    if let Some(it) = offered.find(|it| group.offer_nonce(it, &own) == *nonce) {
        let (syncgroup, attempt) = (*syncgroup, it.attempt);
        let version = write(plan, wall, group, &group.metadata.publications_end(device, End::Declined))?;
        plan.notice(Notice::Declined { syncgroup, device, attempt, version });
    }
    Ok(())
}

fn write(plan: &mut Plan<'_>, wall: Wall, group: &Group, records: &[Record]) -> Result<Version, Stop> {
    let stamp = plan.next_stamp(wall);
    plan.write(group.ix, stamp, records, None)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::id::{Author, Incarnation};

    fn version(generation: u64) -> Version {
        let author = Author { device: DeviceId([1; 16]), incarnation: Incarnation(0) };
        Version { author, generation }
    }

    fn publish(device: DeviceId) -> MetaRecord {
        MetaRecord::Publish { device, rights: Rights::Write, addresses: vec![] }
    }

    proptest! {
        #[test]
        fn what_is_published_comes_to_the_same_in_any_order(
            said in prop::collection::vec((0..3_u8, 0..3_u8, 0..10_u64), 0..12),
            order in any::<u8>(),
        ) {
            let mut said: Vec<_> = (1..).zip(said).map(|(nth, (kind, device, of))| {
                let (device, attempt) = (DeviceId([device; 16]), version(of));
                let record = match kind {
                    0 => publish(device),
                    1 => MetaRecord::Unpublish { device, attempt },
                    _ => MetaRecord::Decline { device, attempt },
                };
                (record, (Hlc(nth), version(nth)))
            }).collect();
            let all = |said: &[(MetaRecord, (Hlc, Version))]| {
                let mut all = Publications::default();
                said.iter().for_each(|(record, at)| all.take(record, *at));
                all
            };
            let one = all(&said);
            let len = said.len().max(1);
            said.rotate_left(usize::from(order) % len);
            prop_assert_eq!(&all(&said), &one);
            said.reverse();
            prop_assert_eq!(&all(&said), &one);
        }
    }

    #[test]
    fn of_more_than_there_may_be_the_last_count_whatever_came_first() {
        let device = |nth: u64| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&nth.to_be_bytes());
            DeviceId(id)
        };
        let most = MOST_KEPT as u64;
        let mut order: Vec<u64> = (1..=2 * most).collect();
        let all = |order: &[u64]| {
            let mut all = Publications::default();
            order.iter().for_each(|nth| all.take(&publish(device(*nth)), (Hlc(*nth), version(*nth))));
            all
        };
        let one = all(&order);
        assert_eq!(one.attempts.len(), MOST_KEPT);
        let listed = one.list(&Access::default());
        assert_eq!(listed.len(), limits::MAX_PUBLICATIONS);
        assert_eq!(listed.last().map(|it| it.device), Some(device(2 * most)));
        order.rotate_left(100);
        order.reverse();
        assert_eq!(all(&order), one);
    }

    #[test]
    fn that_it_was_withdrawn_comes_before_that_it_was_declined() {
        let (mut all, device) = (Publications::default(), DeviceId([7; 16]));
        let status = |all: &Publications| all.list(&Access::default()).first().map(|it| it.status);
        all.take(&publish(device), (Hlc(1), version(1)));
        assert_eq!(status(&all), Some(PublicationStatus::Pending));
        all.take(&MetaRecord::Decline { device, attempt: version(1) }, (Hlc(3), version(3)));
        assert_eq!(status(&all), Some(PublicationStatus::Rejected));
        all.take(&MetaRecord::Unpublish { device, attempt: version(1) }, (Hlc(2), version(2)));
        assert_eq!(status(&all), None);
        all.take(&publish(device), (Hlc(4), version(4)));
        assert_eq!(status(&all), Some(PublicationStatus::Pending), "it is asked anew");
    }
}
