//! Saying what is not so, and saying too much.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::forge::ForgedLog;
use super::{Flood, Forged, Forgery, Lie, Stage};
use crate::dice::Dice;
use crate::hash::{Hash, Tag};
use crate::id::{Author, Incarnation, Name, PublicKey, SyncgroupId};
use crate::limits::{Limits, MAX_FRAME, MAX_OFFERS};
use crate::log::Checkpoint;
use crate::log::fork::{Branch, Fork};
use crate::sync::handshake::PROTOCOL;
use crate::syncgroup::group::Asking;
use crate::syncgroup::invitation::Whom;
use crate::syncgroup::{Invitation, Rights, Terms};
use crate::time::Millis;
use crate::wire::{
    Announce, Deltas, Entry, Forked, Hello, Holdings, Introduction, Message, Offer, Offered, Publish, Pull,
    Says,
};

/// How often is too often.
const MANY: u64 = 100;
/// Incarnations of one device: enough to be felt, and within what everybody takes.
const INCARNATIONS: u64 = 20;

impl Stage<'_> {
    /// What somebody has signed whom others know.
    fn reference(&self) -> Option<(Author, Checkpoint)> {
        let replica = &self.core.replica;
        let mut logs = replica.group(&self.syncgroup)?.logs.iter();
        logs.find_map(|(ix, log)| Some((replica.authors.get(*ix)?, log.proof.as_ref()?.checkpoint.clone())))
    }
}

/// Says something untrue; `None` while the link cannot carry it.
pub fn lie(stage: &Stage<'_>, lie: Lie) -> Option<Vec<Bytes>> {
    let name = stage.name()?;
    let author = |nth: u64| Author {
        device: stage.peer,
        incarnation: stage.life(&stage.peer, stage.draw("somebody").wrapping_add(nth)).incarnation,
    };
    let entry = |author| Entry { author, generation: 1_000, tag: Tag(stage.bytes("tag")) };
    let held = |name| {
        let group = stage.core.replica.group(&stage.syncgroup)?;
        Some(crate::sync::holdings(&stage.core.replica, group.ix, name, None))
    };
    let message = match lie {
        Lie::Summary => {
            let mut summary = stage.core.sync.honest_summary(stage.link, &stage.core.replica)?;
            summary.knowledge = Hash(stage.bytes("knowledge"));
            summary.answer = stage.draw("answer").is_multiple_of(2);
            Message::Summary(summary)
        }
        Lie::Visible => {
            let mut summary = stage.core.sync.honest_summary(stage.link, &stage.core.replica)?;
            summary.visible = Hash(stage.bytes("visible"));
            Message::Summary(summary)
        }
        Lie::Digests => Message::Digests(alloc::vec![(name, Tag(stage.bytes("digest")))]),
        Lie::More => {
            let mut holdings = held(name)?;
            for entry in &mut holdings.entries {
                entry.generation += 1_000;
                entry.tag = Tag(stage.bytes("tag"));
            }
            Message::Announce(Announce(holdings))
        }
        Lie::Ghosts => {
            let entries = (0..INCARNATIONS).map(|nth| entry(author(nth))).collect();
            Message::Announce(Announce(Holdings { name, whole: false, entries }))
        }
        Lie::Nothing => Message::Pull(Pull(Holdings { name, whole: true, entries: Vec::new() })),
        Lie::SetBack => {
            let summary = stage.core.sync.honest_summary(stage.link, &stage.core.replica)?;
            // The incarnations are right, and what they are said to have signed is not.
            let replica = &stage.core.replica;
            let known = replica.group(&stage.syncgroup);
            let known =
                known.map(|group| group.written_by(&stage.peer, &replica.authors)).unwrap_or_default();
            let forged = |(incarnation, last): (Incarnation, u64)| {
                let author = Author { device: stage.peer, incarnation };
                let tree = crate::log::tree::Tree::default();
                let signed = Checkpoint::sign(&stage.syncgroup, &author, &tree, (&replica.keys, 0));
                (incarnation, Checkpoint { size: last + 5, ..signed })
            };
            let mut yours: Vec<_> = known.into_iter().map(forged).collect();
            yours.sort_unstable_by_key(|(incarnation, _)| *incarnation);
            let offered = Offered { name, yours, ended: false };
            let revision = summary.offer.saturating_add(1);
            Message::Offer(Offer { revision, syncgroups: alloc::vec![offered] })
        }
        Lie::OtherNonce => Message::Hello(hello(stage)),
        Lie::Withdraws => {
            let summary = stage.core.sync.honest_summary(stage.link, &stage.core.replica)?;
            let revision = summary.offer.saturating_add(1);
            Message::Offer(Offer { revision, syncgroups: Vec::new() })
        }
        Lie::Introduction => {
            let author = author(0);
            let tree = crate::log::tree::Tree::default();
            let keys = &stage.core.replica.keys;
            let checkpoint = Checkpoint::sign(&stage.syncgroup, &author, &tree, (keys, 0));
            let holdings = Holdings { name, whole: true, entries: alloc::vec![entry(author)] };
            let certificates = Vec::new();
            Message::Introduction(Introduction { author, checkpoint, certificates, holdings })
        }
        Lie::Certificates => {
            let (author, checkpoint) = stage.reference()?;
            let certificates = stage.false_certificates();
            Message::Introduction(Introduction { author, checkpoint, certificates, holdings: held(name)? })
        }
        Lie::Publishes => {
            let keys = &stage.core.replica.keys;
            let to = |whom| invitation(stage, stage.syncgroup, 0, whom);
            let others = Invitation {
                issuer: PublicKey(stage.bytes("issuer")).into(),
                ..to(Whom::Device(stage.peer))?
            };
            let unsigned =
                Invitation { signature: to(Whom::Anybody)?.signature, ..to(Whom::Device(stage.peer))? };
            let others = [others, unsigned, to(Whom::Device(keys.device))?, to(Whom::Anybody)?];
            publish(others.into())
        }
        Lie::Declines => {
            // What is published anywhere, as the other would have offered it, under whatever nonce that has.
            let group = stage.core.replica.group(&stage.syncgroup)?;
            let publications = group.publications();
            let nonce = publications.first().map(|it| group.offer_nonce(it, &stage.peer));
            let nonce = nonce.unwrap_or_else(|| stage.bytes("nonce"));
            Message::Declined { syncgroup: stage.syncgroup, nonce }
        }
        Lie::Forked => {
            let of_peer = author(0);
            let keys = &stage.core.replica.keys;
            let branch = |purpose| {
                let leaf = Hash(stage.bytes(purpose));
                let mut tree = crate::log::tree::Tree::default();
                tree.append(leaf);
                let checkpoint = Checkpoint::sign(&stage.syncgroup, &of_peer, &tree, (keys, 0));
                Branch { leaf, checkpoint, completion: Vec::new() }
            };
            let prefix = crate::log::tree::Tree::default();
            let fork = Fork::new(of_peer, &prefix, branch("one"), branch("other"));
            Message::Forked(Forked { name, author: of_peer, says: Says::Proof(Box::new(fork)) })
        }
        Lie::Joined => Message::Joined {
            syncgroup: stage.syncgroup,
            nonce: stage.bytes("nonce"),
            answer: Ok(alloc::vec![(author(0), u64::MAX)]),
        },
    };
    Some(alloc::vec![message.encode()])
}

fn publish(invitations: Vec<Invitation>) -> Message {
    Message::Publish(Publish { revision: u32::MAX, invitations })
}

fn hello(stage: &Stage<'_>) -> Hello {
    Hello { protocol: PROTOCOL, nonce: stage.bytes("nonce"), boot: stage.draw("boot"), wanted: true }
}

/// What somebody says first on a link that it has got in another device's name.
pub fn hello_from_nobody(seed: [u8; 32]) -> Bytes {
    let dice = |purpose| Dice::new(&seed, purpose);
    let (nonce, boot) = (dice("nonce").bytes(), dice("boot").u64());
    Message::Hello(Hello { protocol: PROTOCOL, nonce, boot, wanted: true }).encode()
}

/// Says too much; `None` while the link cannot carry it.
pub fn flood(stage: &Stage<'_>, flood: Flood) -> Option<Forged> {
    let name = stage.name()?;
    let (limits, nobody) = (Limits::default(), stage.draw("nobody"));
    let many = |message: Message| core::iter::repeat_n(message.encode(), MANY as usize).collect();
    let mut made = Vec::new();
    let frames: Vec<Bytes> = match flood {
        Flood::Hellos => many(Message::Hello(hello(stage))),
        Flood::Pulls => many(Message::Pull(Pull(Holdings { name, whole: true, entries: Vec::new() }))),
        Flood::Offers => {
            let one = |nth: usize| {
                let mut tag = [0; 16];
                tag.iter_mut().zip(nth.to_le_bytes()).for_each(|(byte, new)| *byte = new);
                Offered { name: Tag(tag), yours: Vec::new(), ended: false }
            };
            let syncgroups = (0..=limits.syncgroups).map(one).collect();
            alloc::vec![Message::Offer(Offer { revision: u32::MAX, syncgroups }).encode()]
        }
        Flood::Announces => {
            let entry = |nth: usize| Entry {
                author: Author {
                    device: stage.peer,
                    incarnation: stage.life(&stage.peer, nobody.wrapping_add(nth as u64)).incarnation,
                },
                generation: 1,
                tag: Tag::default(),
            };
            let entries = (0..=4 * limits.authors).map(entry).collect();
            alloc::vec![Message::Announce(Announce(Holdings { name, whole: false, entries })).encode()]
        }
        Flood::Joins => (0..MANY).filter_map(|nth| join(stage, nth)).map(|join| join.encode()).collect(),
        Flood::Deltas => {
            let forged = super::forge(stage, Forgery::Ordinary)?;
            made = forged.made;
            let frames = forged.frames.iter();
            frames.flat_map(|frame| core::iter::repeat_n(frame.clone(), MANY as usize)).collect()
        }
        Flood::LargeFrame => alloc::vec![alloc::vec![7; MAX_FRAME + 1].into()],
        Flood::Incarnations => {
            let mut runs = Vec::new();
            for nth in 0..INCARNATIONS {
                let own = stage.core.replica.keys.device;
                let life = stage.life(&own, nobody.wrapping_add(nth));
                let mut log = ForgedLog::new(stage, Forgery::Ordinary, life)?;
                log.add(0);
                runs.push(log.run());
                made.extend(log.made);
            }
            alloc::vec![Message::Deltas(Deltas { name, runs }).encode()]
        }
        Flood::Publishes => {
            let offers = |frame: u64| {
                let nths = (0..2 * MAX_OFFERS as u64).map(|nth| frame * 1_000 + nth);
                let ghost = |nth: u64| {
                    SyncgroupId(Dice::new(&stage.seed, "ghost").bytes::<32>().map(|byte| byte ^ nth as u8))
                };
                nths.filter_map(|nth| invitation(stage, ghost(nth), nth, Whom::Device(stage.peer))).collect()
            };
            (0..MANY).map(|frame| publish(offers(frame)).encode()).collect()
        }
    };
    Some(Forged { frames, made })
}

/// A request that shows an invitation which the device has signed itself.
fn join(stage: &Stage<'_>, nth: u64) -> Option<Message> {
    let invitation = invitation(stage, stage.syncgroup, nth, Whom::Anybody)?;
    let (nonce, name) = (invitation.terms.nonce, invitation.name.clone());
    let asking = Asking { invitation, nonce, certificate: None };
    Some(Message::Join { asking, name, withdraw: false, wrote: Vec::new() })
}

/// An invitation that the device has signed itself.
fn invitation(stage: &Stage<'_>, syncgroup: SyncgroupId, nth: u64, whom: Whom) -> Option<Invitation> {
    let mut nonce: [u8; 16] = stage.bytes("nonce");
    nonce.iter_mut().zip(nth.to_le_bytes()).for_each(|(byte, nth)| *byte ^= nth);
    let expires = stage.wall + Millis(1_000_000);
    let terms = Terms { syncgroup, rights: Rights::Admin, expires, reusable: true, nonce, whom, ends: None };
    let name = Name::new("hostile").ok()?;
    Some(Invitation::sign(terms, name, Vec::new(), &stage.core.replica.keys))
}
