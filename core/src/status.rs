//! Questions to a replica that is running: they read memory only, and change nothing.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::core::Core;
use crate::id::{Author, CommitSeq, DeviceId, Generation, Name, PublicKey, SyncgroupId, UserId};
use crate::keys::KeyChain;
use crate::replica::IncompleteBatch;
use crate::sync::LinkStatus;
use crate::syncgroup::{Invitation, Member, SyncgroupInfo, User};
use crate::time::{Hlc, Millis, Wall};
use crate::user::{StrikingOff, UserKey};

/// Generations of one syncgroup: for each author the last one of its log (S-21), and with it all before.
pub type Knowledge = BTreeMap<Author, Generation>;

impl Core {
    /// This device's first public key: by it others know the device, whatever key it has now (S-1).
    pub fn public_key(&self) -> PublicKey {
        self.replica.keys.first()
    }

    /// This device's keys, from the first to the one that it has now.
    pub fn keys(&self) -> &KeyChain {
        &self.replica.keys.chain
    }

    /// Who this replica writes as.
    pub fn author(&self) -> Author {
        self.replica.author()
    }

    /// The number of the last commit handed out.
    pub fn last_commit(&self) -> CommitSeq {
        self.replica.seq
    }

    /// The last stamp that this replica gave or took in (S-7): everything that it writes from now on comes after.
    pub fn last_stamp(&self) -> Hlc {
        self.replica.stamp
    }

    /// The wall clock as this replica has seen it last, with the last event: who is a member now, where rights end, is told
    /// by that. Before the first event it is 0.
    pub fn clock(&self) -> Wall {
        self.replica.ends.clock()
    }

    /// How far ahead of a clock that shows `now` this replica stamps what it writes, if that is further than it would take
    /// itself (S-27): nobody sees it before that time. `None` if it is not.
    pub fn ahead_of(&self, now: Wall) -> Option<Millis> {
        let is_ahead = self.replica.stamp > Hlc::last_of(now + self.replica.limits.drift);
        is_ahead.then(|| Millis(self.replica.stamp.wall().0.saturating_sub(now.0)))
    }

    /// The databases whose exchange is paused, ordered (S-37).
    pub fn paused(&self) -> impl Iterator<Item = &Name> {
        self.replica.paused.names()
    }

    /// All syncgroups on this device, ordered by database and id.
    pub fn syncgroups(&self) -> Vec<SyncgroupInfo> {
        let device = self.replica.keys.device;
        let all = self
            .replica
            .groups
            .values()
            .map(|group| group.info(&device, self.replica.waiting.count(group.ix)));
        let mut all: Vec<_> = all.collect();
        all.sort_by(|a, b| (&a.database, a.id).cmp(&(&b.database, b.id)));
        all
    }

    /// The members of a syncgroup and those that left, by device; `None` if it is not here.
    pub fn members(&self, syncgroup: &SyncgroupId) -> Option<Vec<Member>> {
        self.replica.group(syncgroup).map(|group| group.metadata.access.members())
    }

    /// The users to whom something is or was granted in a syncgroup, by user; `None` if it is not here (S-3).
    pub fn users(&self, syncgroup: &SyncgroupId) -> Option<Vec<User>> {
        self.replica.group(syncgroup).map(|group| group.metadata.access.users())
    }

    /// What this device was offered and has not answered: syncgroups that are published here, by who offers them (S-33).
    /// What somebody offered on an earlier link, and has not said again on the one that there is now, is left out.
    pub fn invitations(&self) -> Vec<Invitation> {
        self.offered.open(&self.replica).cloned().collect()
    }

    /// The greatest number of a user's certificates for a device in a syncgroup, whatever became of it; a new one takes a
    /// greater one (S-3).
    pub fn certificate(&self, syncgroup: &SyncgroupId, user: &UserId, device: &DeviceId) -> Option<u64> {
        self.replica.group(syncgroup)?.metadata.access.last_certificate(user, device)
    }

    /// Draws up and signs that a device is none of a user's any more in a syncgroup, for [`crate::Command::StrikeOff`]:
    /// it ends every certificate of the device that is known here, and spares what is held here of what the device
    /// wrote. `None` if the device was never enrolled as one of this user's. The key is used and not kept.
    pub fn striking_off(
        &self,
        syncgroup: &SyncgroupId,
        device: &DeviceId,
        user: &UserKey,
    ) -> Option<StrikingOff> {
        let group = self.replica.group(syncgroup)?;
        let number = group.metadata.access.last_certificate(&user.id(), device)?;
        let until = group.written_by(device, &self.replica.authors);
        Some(user.strike_off(syncgroup, *device, number, until))
    }

    /// The generations of a syncgroup from which follows what readers see of it, durable or not; `None` if it is
    /// not here. What is held may be more: parts of batches wait for others (S-28).
    pub fn knowledge(&self, syncgroup: &SyncgroupId) -> Option<Knowledge> {
        let group = self.replica.group(syncgroup)?;
        let named = group.logs.iter().filter_map(|(ix, log)| {
            let shown = self.replica.waiting.last_shown(group.ix, *ix, log.held()).min(group.held(*ix));
            Some((self.replica.authors.get(*ix)?, shown)).filter(|(_, shown)| *shown > 0)
        });
        Some(named.collect())
    }

    /// The generations of a syncgroup that are held, durable or not: what others get from this device; `None` if
    /// it is not here. Of a log that is forked, that is no more than counts (S-26).
    pub fn held(&self, syncgroup: &SyncgroupId) -> Option<Knowledge> {
        let group = self.replica.group(syncgroup)?;
        let held = group.logs.keys().map(|ix| (*ix, group.held(*ix))).filter(|(_, held)| *held > 0);
        Some(held.filter_map(|(ix, held)| Some((self.replica.authors.get(ix)?, held))).collect())
    }

    /// The digest of what readers see of a syncgroup: equal at replicas that show the same rows (S-12).
    pub fn visible_digest(&self, syncgroup: &SyncgroupId) -> Option<[u8; 32]> {
        self.replica.group(syncgroup).map(|group| group.tip.visible.to_bytes())
    }

    /// A look at the whole replica.
    pub fn status(&self) -> Status {
        let linked = self.sync.linked();
        Status {
            device: self.replica.keys.device,
            author: self.author(),
            syncgroups: self.syncgroups(),
            paused: self.paused().cloned().collect(),
            links: self.sync.status(),
            wanted: self.peers.missing(&linked).copied().collect(),
            incomplete: self.replica.incomplete(),
            rollovers: self.replica.keys.chain.rollovers(),
            key_ended: self.key_ended,
        }
    }
}

/// A look at a replica.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// This device.
    pub device: DeviceId,
    /// Who it writes as.
    pub author: Author,
    /// Its syncgroups.
    pub syncgroups: Vec<SyncgroupInfo>,
    /// The databases whose exchange is paused; they need not have a syncgroup.
    pub paused: Vec<Name>,
    /// Its open links.
    pub links: Vec<LinkStatus>,
    /// Devices that it would like to reach and has no link to.
    pub wanted: Vec<DeviceId>,
    /// Batches over several syncgroups of which not all is here (S-28): first those whose rows wait, then those that
    /// are shown in part; of each at most 64, those first that came first. [`SyncgroupInfo::waiting`] counts all that
    /// waits, what builds on such batches included. It is kept across restarts. A part that does not count any more is
    /// told of until the rest has come, like any other: it may count again (S-35).
    pub incomplete: Vec<IncompleteBatch>,
    /// How often this device has taken another key (S-1).
    pub rollovers: usize,
    /// The key by which some member goes in the place of this device's: see [`crate::Notice::KeyEnded`].
    pub key_ended: Option<PublicKey>,
}
