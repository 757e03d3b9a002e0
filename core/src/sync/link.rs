//! What is noted of a link: who is there, what both ends share, and what the other end is believed to hold.
//! A wrong belief costs a retry, never correctness (S-25).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::hash::{Hash, Tag};
use crate::id::{Author, DeviceId, Generation, PublicKey, UserId};
use crate::keys::KeyChain;
use crate::object::history::Place;
use crate::replica::Replica;
use crate::store::key::GroupIx;
use crate::syncgroup::group::Group;
use crate::time::{Millis, Mono};
use crate::wire::{Hello, Offered};

/// A link, from `LinkUp` until it is closed.
///
/// ```text
///   LinkUp ──► hello each way ──► offer each way ──► summary ──► equal: agreed, silent
///                                                        └─ not: digests ─► pull ─► deltas ─► summary
/// ```
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) device: DeviceId,
    /// What it has shown, and by what it has proved to be that.
    pub(crate) keys: KeyChain,
    /// The key of which it was told that it counts, in the place of the one that it has shown; and when the link is closed, as
    /// that one has ended.
    pub(crate) told: Option<PublicKey>,
    pub(crate) refused: Option<Mono>,
    pub(crate) nonce: [u8; 16],
    /// The other end's hello, and the salt that both make.
    pub(crate) hello: Option<(Hello, Hash)>,
    /// Bytes that the driver will still take. Small frames are sent without; deltas wait for it.
    pub(crate) credit: i64,
    /// The offer last sent: its number, and which name stands for which syncgroup.
    pub(crate) revision: u32,
    pub(crate) offered: BTreeMap<Tag, GroupIx>,
    /// Syncgroups of which the other end is no member any more.
    pub(crate) ended: BTreeMap<Tag, GroupIx>,
    /// The offer last received.
    pub(crate) their_revision: u32,
    pub(crate) their_names: BTreeSet<Tag>,
    /// Syncgroups of which this device is no member any more, as the other end says, with what shows that it is one.
    pub(crate) said_ended: Vec<Offered>,
    /// Those of them of which that is worth asking about.
    pub(crate) their_ended: BTreeSet<Tag>,
    pub(crate) shares: BTreeMap<GroupIx, Box<Share>>,
    /// Syncgroups to which this device was admitted since the link is up: what comes over it may be older.
    pub(crate) admitted: BTreeSet<GroupIx>,
    /// Syncgroups that are not offered, and taken all the same.
    pub(crate) taken: BTreeMap<Tag, GroupIx>,
    /// When to introduce this device, and how often it did since the offers last changed.
    pub(crate) introduce: Option<Mono>,
    pub(crate) introductions: u32,
    /// As whose device the other end has introduced itself, of which syncgroup, with the numbers of the certificates.
    pub(crate) shown: BTreeMap<GroupIx, Vec<(UserId, u64)>>,
    /// Whose word the other end has shown in vain, of which syncgroup: nobody knew them, or it was paused. The first few.
    pub(crate) turned_away: BTreeSet<(GroupIx, DeviceId)>,
    /// Both ends are known to hold the same.
    pub(crate) agreed: bool,
    /// When to make sure of it, and how often that was tried since something last happened.
    pub(crate) confirm: Option<Mono>,
    pub(crate) tries: u32,
    /// When to tell of generations that came from elsewhere.
    pub(crate) announce: Option<Mono>,
    /// When to say hello again.
    pub(crate) handshake: Option<Mono>,
    /// When to ask again to be admitted.
    pub(crate) join: Option<Mono>,
    /// The nonces of what was last offered to the other end of what is published there, the number of that, when to offer
    /// it again, and how often it was offered.
    pub(crate) published: Vec<[u8; 16]>,
    pub(crate) publish_revision: u32,
    pub(crate) publish: Option<Mono>,
    pub(crate) publish_tries: u32,
    /// The number of what the other end has last offered.
    pub(crate) their_publish_revision: u32,
    /// Requests to join that the other end has withdrawn, the latest ones: a copy may still be under way.
    pub(crate) withdrawn: VecDeque<[u8; 16]>,
    /// An alarm was raised already.
    pub(crate) alarmed: bool,
}

/// Which way generations go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Both ends offer the syncgroup.
    Both,
    /// They do not both, as they do not agree on who is a member.
    Apart {
        /// From the other end, which has introduced itself, or says that this device is no member any more.
        takes: bool,
        gives: Gives,
    },
}

/// What the other end is given, which has asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    Nothing,
    /// What ended its membership, and what that builds on (S-36).
    Ended,
    All,
}

impl Way {
    /// Whether generations are taken from the other end.
    pub(crate) fn takes(self) -> bool {
        matches!(self, Way::Both | Way::Apart { takes: true, .. })
    }

    pub(crate) fn gives(self) -> Gives {
        match self {
            Way::Both => Gives::All,
            Way::Apart { gives, .. } => gives,
        }
    }
}

/// A syncgroup that both ends share, or one gives to the other.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    pub(crate) name: Tag,
    pub(crate) way: Way,
    /// Whether the other end has told all that it holds.
    pub(crate) known: bool,
    pub(crate) beliefs: BTreeMap<Author, Belief>,
    /// How much the other end has said that it holds, and the tag of the root there, of logs of which it may be sent more:
    /// what follows in another branch of such a log is of no use to it.
    pub(crate) said: BTreeMap<Author, (Generation, Tag)>,
    /// Authors of whose logs the other end holds something else: it is told.
    pub(crate) doubted: BTreeSet<Author>,
    /// Authors of whose forks the other end was shown the proof.
    pub(crate) shown: BTreeSet<Author>,
    /// Authors of which something is to be sent.
    pub(crate) behind: BTreeSet<Author>,
    /// Authors of which the other end is to be told.
    pub(crate) untold: BTreeSet<Author>,
    /// Authors of which the other end holds more than this one.
    pub(crate) ahead: BTreeSet<Author>,
    /// A pull is under way; when to give up on it.
    pub(crate) pull: Option<Mono>,
    /// How often a pull brought nothing since one brought something.
    pub(crate) tries: u32,
    pub(crate) progress: Progress,
    /// Both ends' digests differ, and what the other end holds is not known.
    pub(crate) differs: bool,
}

/// How pulling goes on. Whoever is pulled from may send little at a time, and never all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Since when less than [`ENOUGH`] has come.
    since: Mono,
    bytes: usize,
    /// When the last pull ended.
    ended: Mono,
}

/// Bytes of generations after which a pull counts as if it had just begun.
const ENOUGH: usize = 64 << 10;
/// How many times as long as for an answer one waits for that much: by default that is less than 4 KiB a second. Where an
/// honest end is as slow, others are asked as well, and something may come twice.
const SLOW: u64 = 8;

impl Progress {
    /// A pull begins. One that follows at once on another goes on with it, unless it takes the turn of a slow one.
    pub(crate) fn begin(&mut self, now: Mono, patience: Millis, is_turn: bool) {
        if is_turn || now > self.ended + patience {
            (self.since, self.bytes) = (now, 0);
        }
    }

    /// It has brought something.
    pub(crate) fn bring(&mut self, now: Mono, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= ENOUGH {
            (self.since, self.bytes) = (now, 0);
        }
    }

    pub(crate) fn end(&mut self, now: Mono) {
        self.ended = now;
    }

    /// Whether it brings so little that nothing and nobody else shall wait for it.
    pub(crate) fn is_slow(&self, now: Mono, patience: Millis) -> bool {
        now > self.since + Millis(patience.0.saturating_mul(SLOW))
    }
}

/// What the other end is believed to hold of one author's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Belief {
    /// It said so, or sent it.
    pub(crate) has: Generation,
    /// It was sent this much.
    pub(crate) sent: Generation,
    /// It shall be sent this much.
    pub(crate) goal: Generation,
    /// It was sent this much at some time, whatever it said later.
    pub(crate) peak: Generation,
    /// From it came this much in order, and was held back here.
    pub(crate) came: Generation,
}

/// An open link.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LinkStatus {
    /// The device at the other end.
    pub device: DeviceId,
    /// How many syncgroups both ends share.
    pub shared: usize,
    /// Whether both ends are known to hold the same.
    pub agreed: bool,
}

impl Link {
    pub(crate) fn new(keys: KeyChain, nonce: [u8; 16]) -> Self {
        Self {
            device: keys.device(),
            keys,
            told: None,
            refused: None,
            nonce,
            hello: None,
            credit: 0,
            revision: 0,
            offered: BTreeMap::new(),
            ended: BTreeMap::new(),
            their_revision: 0,
            their_names: BTreeSet::new(),
            said_ended: Vec::new(),
            their_ended: BTreeSet::new(),
            admitted: BTreeSet::new(),
            shares: BTreeMap::new(),
            taken: BTreeMap::new(),
            introduce: None,
            introductions: 0,
            shown: BTreeMap::new(),
            turned_away: BTreeSet::new(),
            agreed: false,
            confirm: None,
            tries: 0,
            announce: None,
            handshake: None,
            join: None,
            published: Vec::new(),
            publish_revision: 0,
            publish: None,
            publish_tries: 0,
            their_publish_revision: 0,
            withdrawn: VecDeque::new(),
            alarmed: false,
        }
    }

    /// Whether the other end may be who shows these keys: one of both chains leads to the other.
    pub(crate) fn may_be(&self, keys: &KeyChain) -> bool {
        self.keys.starts_with(keys) || keys.starts_with(&self.keys)
    }

    /// Whether there is something to send, and credit to send it.
    pub(crate) fn can_serve(&self) -> bool {
        self.credit > 0 && self.shares.values().any(|share| share.is_due())
    }

    /// Whether generations are on their way, or shall be, in either direction.
    pub(crate) fn is_busy(&self) -> bool {
        self.shares.values().any(|share| !share.behind.is_empty() || share.pull.is_some())
    }

    /// As whose device the other end has introduced itself, of which nobody here has heard.
    pub(crate) fn unheard_of(&self, replica: &Replica, group: &Group) -> Vec<(UserId, u64)> {
        let Some(shown) = self.shown.get(&group.ix) else { return Vec::new() };
        let share = self.shares.get(&group.ix);
        let knows = |(author, generation): Place| {
            let author = replica.authors.get(author);
            let belief = author.and_then(|author| share?.beliefs.get(&author));
            belief.is_some_and(|belief| belief.has >= generation)
        };
        group.metadata.access.unheard_of(&self.device, shown, knows)
    }

    /// Whether everything is taken from the other end that any member may have: from one that was removed, as far as is
    /// known here, only what members wrote, with what that builds on, unless it has shown that it is a user's device. If it
    /// was let in again, one of them says so; and it cannot fill the disks of all others.
    pub(crate) fn takes_all(&self, replica: &Replica, group: &Group) -> bool {
        let access = &group.metadata.access;
        let lets_in = |(user, number): &(UserId, u64)| access.would_let_in(&self.device, user, *number);
        !access.is_removed(&self.device) || self.unheard_of(replica, group).iter().any(lets_in)
    }

    /// The syncgroup that a name stands for which came over the link.
    pub(crate) fn named(&self, name: &Tag) -> Option<GroupIx> {
        let names = [&self.offered, &self.taken, &self.ended];
        names.into_iter().find_map(|names| names.get(name)).copied()
    }

    /// The share under a name that came over the link, if it is shared.
    pub(crate) fn share_mut(&mut self, name: &Tag) -> Option<(GroupIx, &mut Share)> {
        let ix = self.named(name)?;
        self.shares.get_mut(&ix).map(|share| (ix, &mut **share))
    }

    /// Takes a syncgroup from the other end, whether or not it is shared.
    pub(crate) fn take(&mut self, name: Tag, ix: GroupIx) -> &mut Share {
        self.taken.insert(name, ix);
        let share = self.apart(name, ix);
        if let Way::Apart { takes, .. } = &mut share.way {
            *takes = true;
        }
        share
    }

    /// Takes a syncgroup that is not shared no more.
    pub(crate) fn stop_taking(&mut self, ix: GroupIx) {
        let Some(share) = self.shares.get_mut(&ix) else { return };
        let Way::Apart { takes, gives } = &mut share.way else { return };
        *takes = false;
        if *gives == Gives::Nothing {
            self.shares.remove(&ix);
        } else {
            share.pull = None;
            share.differs = false;
        }
    }

    /// Gives to the other end, which has asked, what it may have though it does not offer the syncgroup itself.
    pub(crate) fn give(&mut self, name: Tag) {
        let offered = self.offered.get(&name).map(|ix| (*ix, Gives::All));
        let ended = self.ended.get(&name).map(|ix| (*ix, Gives::Ended));
        let Some((ix, all)) = offered.or(ended) else { return };
        if let Way::Apart { gives, .. } = &mut self.apart(name, ix).way {
            *gives = all;
        }
    }

    fn apart(&mut self, name: Tag, ix: GroupIx) -> &mut Share {
        let way = Way::Apart { takes: false, gives: Gives::Nothing };
        self.shares.entry(ix).or_insert_with(|| Box::new(Share::new(name, way)))
    }

    /// What goes one way goes on to do so, unless it is not offered any more that gave a reason to. Says whether
    /// anything goes on.
    pub(crate) fn goes_on(&self, share: &mut Share) -> bool {
        let Way::Apart { takes, gives } = &mut share.way else { return false };
        *takes &= self.their_names.contains(&share.name) || self.their_ended.contains(&share.name);
        let has_reason = match gives {
            Gives::Nothing => true,
            Gives::Ended => self.ended.contains_key(&share.name),
            Gives::All => self.offered.contains_key(&share.name),
        };
        if !has_reason {
            *gives = Gives::Nothing;
            // What it was to be sent is not its any more.
            share.behind.clear();
            share.doubted.clear();
            share.beliefs.values_mut().for_each(|belief| belief.goal = belief.sent);
        }
        share.way.takes() || share.way.gives() != Gives::Nothing
    }

    /// What both ends share, in the order of its names on the link.
    pub(crate) fn shared(&self) -> impl Iterator<Item = (&Tag, GroupIx)> {
        let both = |ix: &GroupIx| self.shares.get(ix).is_some_and(|share| share.way == Way::Both);
        self.offered.iter().filter(move |(_, ix)| both(ix)).map(|(name, ix)| (name, *ix))
    }

    /// What is offered, and the other end does not offer.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = (Tag, GroupIx)> {
        let is_answered = |name: &Tag| self.their_names.contains(name);
        self.offered.iter().filter(move |(name, _)| !is_answered(name)).map(|(name, ix)| (*name, *ix))
    }

    /// The earliest moment at which something is to be done.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let pulls = self.shares.values().filter_map(|share| share.pull);
        let own = [
            self.confirm,
            self.announce,
            self.handshake,
            self.join,
            self.introduce,
            self.publish,
            self.refused,
        ];
        own.into_iter().flatten().chain(pulls).min()
    }
}

impl Share {
    pub(crate) fn new(name: Tag, way: Way) -> Self {
        Self {
            name,
            way,
            known: false,
            beliefs: BTreeMap::new(),
            said: BTreeMap::new(),
            doubted: BTreeSet::new(),
            shown: BTreeSet::new(),
            behind: BTreeSet::new(),
            untold: BTreeSet::new(),
            ahead: BTreeSet::new(),
            pull: None,
            tries: 0,
            progress: Progress::default(),
            differs: false,
        }
    }

    /// Whether there is something to send.
    pub(crate) fn is_due(&self) -> bool {
        !self.behind.is_empty() || !self.doubted.is_empty()
    }

    /// Notes a belief, and what follows from it beside what is held here. Of more authors than `max` nothing
    /// is noted.
    pub(crate) fn believe(
        &mut self,
        author: Author,
        held: Generation,
        max: usize,
        change: impl FnOnce(&mut Belief),
    ) {
        if !self.beliefs.contains_key(&author) && self.beliefs.len() >= max {
            return;
        }
        let belief = self.beliefs.entry(author).or_default();
        change(belief);
        let Belief { has, sent, goal, .. } = *belief;
        let mark = |set: &mut BTreeSet<Author>, on| if on { set.insert(author) } else { set.remove(&author) };
        mark(&mut self.behind, goal > sent);
        mark(&mut self.ahead, has > held);
        if has >= held {
            self.untold.remove(&author);
        }
    }

    /// Both ends hold the same of this author.
    pub(crate) fn agree(&mut self, author: Author, held: Generation, max: usize) {
        self.believe(author, held, max, |belief| {
            *belief = Belief { has: held, sent: held, goal: held, peak: held, came: held }
        });
    }
}
