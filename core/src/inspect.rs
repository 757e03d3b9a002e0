//! Frames and commits, taken apart for people who look on: simulators, debuggers, traces.
//!
//! Nothing here decides anything, and no replica needs it. What it returns follows the protocol, and grows
//! with it: match with a wildcard.
//!
//! On a link a syncgroup goes by a name that only its members can compute ([`LinkNames`]); everything else in
//! a frame is in the clear for whoever holds it.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::hash::{Hash, Tag};
use crate::id::{
    Address, Author, CollectionId, DeviceId, Generation, Incarnation, Name, SyncgroupId, UserId, Version,
};
use crate::keys::KeyChain;
use crate::log::generation::Encoded;
use crate::log::record::{MetaRecord, Record};
use crate::read::{self, Edited};
use crate::replica::stored::{Stored, corrupt};
use crate::resolve::Policy;
use crate::store::key::{self, AuthorIx, GroupIx};
use crate::store::{Commit, Fault, Table, View};
use crate::sync::handshake;
use crate::syncgroup::group::GroupRecord;
use crate::syncgroup::{Invitation, JoinRefusal, Rights, SpecChange};
use crate::time::{Hlc, Wall};
use crate::user::{Certificate, StrikingOff};
use crate::wire::codec::DecodeError;
use crate::wire::{self, Message};

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// The first message of each end.
    Hello {
        /// The version of the protocol.
        protocol: u32,
        /// This end's half of the salt for names on the link.
        nonce: [u8; 16],
        /// Whether the other end's hello has not been heard yet.
        wanted: bool,
    },
    /// What the sender would share.
    Offer {
        /// Grows with every offer.
        revision: u32,
        /// The syncgroups.
        syncgroups: Vec<Tag>,
        /// Those of which the receiver is no member any more, as the sender knows.
        ended: Vec<Tag>,
    },
    /// Everything that the sender knows of what is shared, in one hash.
    Summary {
        /// Of what is known.
        knowledge: Hash,
        /// Of what readers see.
        visible: Hash,
        /// Whether it answers one.
        answer: bool,
    },
    /// The same for each shared syncgroup.
    Digests(Vec<(Tag, Tag)>),
    /// A request for what goes beyond what the sender holds.
    Pull(Holdings),
    /// News of what the sender holds.
    Announce(Holdings),
    /// What the sender holds, with the word of whoever admitted it: the receiver may not have heard of that.
    Introduction {
        /// Whoever admitted the sender.
        author: Author,
        /// As whose device the sender introduces itself.
        users: Vec<UserId>,
        /// What it holds.
        holdings: Holdings,
    },
    /// Generations.
    Deltas {
        /// Of which syncgroup.
        name: Tag,
        /// Each with its place.
        generations: Vec<(Version, Content)>,
    },
    /// The sender holds another branch of a log than the receiver.
    Forked {
        /// Of which syncgroup.
        name: Tag,
        /// Whose log it is.
        author: Author,
        /// Whether this is the proof of it.
        proven: bool,
    },
    /// A request to be admitted.
    Join {
        /// To which syncgroup.
        syncgroup: SyncgroupId,
        /// What the device calls itself.
        name: Name,
        /// Whether it has given up, and asks what has become of its request.
        withdraw: bool,
    },
    /// The answer.
    Joined {
        /// To which syncgroup.
        syncgroup: SyncgroupId,
        /// What the newcomer must hold to be complete.
        answer: Result<Vec<Version>, JoinRefusal>,
    },
    /// All that the sender offers the receiver to take part in (S-33).
    Publish(Vec<SyncgroupId>),
    /// What the receiver has offered is declined.
    Declined {
        /// The syncgroup that it has offered.
        syncgroup: SyncgroupId,
    },
    /// It has been heard that the receiver offers nothing any more.
    NoneOffered,
    /// The receiver's key has ended: its device has these.
    KeyEnded(KeyChain),
}

/// What the sender of a frame holds of a syncgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    /// The syncgroup.
    pub name: Tag,
    /// Whether nothing is held of authors that are not listed; otherwise nothing is said of them.
    pub whole: bool,
    /// The last generation held of each author.
    pub held: Vec<Version>,
}

/// What a generation says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// How long it is.
    pub bytes: usize,
    /// Its stamp.
    pub stamp: Hlc,
    /// What its author knew of others, without what follows from the rest.
    pub dependencies: Vec<Version>,
    /// The batch over several syncgroups that it is part of.
    pub batch: Option<[u8; 16]>,
    /// Its records, in order.
    pub entries: Vec<Entry>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// A row is changed.
    Row {
        /// Its collection.
        collection: CollectionId,
        /// Its key.
        key: Bytes,
        /// The heads that its author knew.
        parents: Vec<Version>,
        /// What becomes of it.
        edited: Edited,
    },
    /// The syncgroup comes into being.
    Genesis(Name),
    /// A device becomes a member, or gets other rights.
    Admit {
        /// Whom.
        device: DeviceId,
        /// What it calls itself.
        name: Name,
        /// What it may do.
        rights: Rights,
        /// The last moment for which it may, if there is one.
        ends: Option<Wall>,
    },
    /// A user may do something, by whatever device it has certified.
    AdmitUser {
        /// Whom.
        user: UserId,
        /// What it is called.
        name: Name,
        /// What it may do.
        rights: Rights,
        /// The last moment for which it may, if there is one.
        ends: Option<Wall>,
    },
    /// A device is one of a user's.
    Enrol(Certificate),
    /// A device is none of a user's any more.
    StrikeOff(StrikingOff),
    /// What was granted to a user ends, or becomes less.
    RevokeUser {
        /// Whom.
        user: UserId,
        /// What is left.
        keep: Option<Rights>,
        /// Until when, if not for ever.
        ends: Option<Wall>,
    },
    /// Something is granted to everybody.
    Open {
        /// What.
        rights: Rights,
        /// Until when, if not for ever.
        ends: Option<Wall>,
    },
    /// What was granted to everybody ends, or becomes less.
    Close {
        /// What is left.
        keep: Option<Rights>,
        /// Until when, if not for ever.
        ends: Option<Wall>,
    },
    /// What members are told is something else.
    Spec(SpecChange),
    /// A device is to take part (S-33).
    Publish {
        /// Which.
        device: DeviceId,
        /// What it may do then.
        rights: Rights,
        /// Where it can be reached.
        addresses: Vec<Address>,
    },
    /// What its author's device wrote in another log counts no more there: it is written again (S-27).
    Cut {
        /// In the log of which incarnation.
        incarnation: Incarnation,
        /// The first generation of which that is so.
        first: Generation,
        /// The last one.
        last: Generation,
    },
    /// Somebody has forked its log (S-26).
    Fork {
        /// Whose log it is.
        author: Author,
        /// How much of it counts: what both branches begin with.
        prefix: Generation,
    },
    /// What is given here was given before in another log of its author's device, and ends where that does (S-26).
    Repeats {
        /// In the log of which incarnation.
        incarnation: Incarnation,
        /// By which generation.
        generation: Generation,
    },
    /// Its author's log is of another key than those before (S-1).
    Rollover {
        /// The device's keys up to that.
        chain: KeyChain,
        /// The last generation that stays of each of its logs.
        until: Vec<(Incarnation, Generation)>,
    },
    /// It is asked no more.
    Unpublish {
        /// Which.
        device: DeviceId,
        /// The generation that had asked for it.
        attempt: Version,
    },
    /// It has declined.
    Decline {
        /// Which.
        device: DeviceId,
        /// The generation that had asked for it.
        attempt: Version,
    },
    /// The author's device leaves.
    Leave,
    /// A device loses rights.
    Revoke {
        /// Which.
        device: DeviceId,
        /// What is left to it.
        keep: Option<Rights>,
        /// Until when, if not for ever.
        ends: Option<Wall>,
    },
    /// A collection comes into being.
    Collection(Name),
    /// What becomes of conflicts of a collection's rows is decided.
    Rule {
        /// Of which collection.
        collection: CollectionId,
        /// Of the rows whose keys start so.
        prefix: Bytes,
        /// `None` takes a rule away.
        policy: Option<Policy>,
    },
    /// Something that a newer version brought.
    Unknown,
}

/// Reads a frame; `None` if it is garbage.
pub fn frame(bytes: &[u8]) -> Option<Frame> {
    Some(match Message::decode(bytes).ok()? {
        Message::Hello(hello) => {
            Frame::Hello { protocol: hello.protocol, nonce: hello.nonce, wanted: hello.wanted }
        }
        Message::Offer(offer) => {
            let names = |ended| {
                let offered = offer.syncgroups.iter().filter(move |offered| offered.ended == ended);
                offered.map(|offered| offered.name).collect()
            };
            Frame::Offer { revision: offer.revision, syncgroups: names(false), ended: names(true) }
        }
        Message::Summary(summary) => {
            Frame::Summary { knowledge: summary.knowledge, visible: summary.visible, answer: summary.answer }
        }
        Message::Digests(digests) => Frame::Digests(digests),
        Message::Pull(pull) => Frame::Pull(holdings(&pull.0)),
        Message::Announce(news) => Frame::Announce(holdings(&news.0)),
        Message::Introduction(introduction) => {
            let wire::Introduction { author, certificates, holdings: held, .. } = introduction;
            let users = certificates.iter().map(Certificate::user).collect();
            Frame::Introduction { author, users, holdings: holdings(&held) }
        }
        Message::Deltas(deltas) => {
            let generations = deltas.runs.iter().flat_map(|run| {
                let numbered = (run.first..).zip(&run.generations);
                numbered.filter_map(|(generation, bytes)| {
                    let version = Version { author: run.author, generation };
                    Some((version, content(&run.author, Encoded::read(bytes.clone()).ok()?)?))
                })
            });
            Frame::Deltas { name: deltas.name, generations: generations.collect() }
        }
        Message::Join { asking, name, withdraw, .. } => {
            Frame::Join { syncgroup: asking.invitation.syncgroup(), name, withdraw }
        }
        Message::Joined { syncgroup, answer, .. } => Frame::Joined {
            syncgroup,
            answer: answer.map(|vector| {
                vector.into_iter().map(|(author, generation)| Version { author, generation }).collect()
            }),
        },
        Message::Publish(all) => Frame::Publish(all.invitations.iter().map(Invitation::syncgroup).collect()),
        Message::Declined { syncgroup, .. } => Frame::Declined { syncgroup },
        Message::NoneOffered { .. } => Frame::NoneOffered,
        Message::Forked(wire::Forked { name, author, says }) => {
            Frame::Forked { name, author, proven: matches!(says, wire::Says::Proof(_)) }
        }
        Message::KeyEnded(chain) => Frame::KeyEnded(chain),
    })
}

fn holdings(holdings: &wire::Holdings) -> Holdings {
    let held = holdings.entries.iter();
    let held = held.map(|entry| Version { author: entry.author, generation: entry.generation }).collect();
    Holdings { name: holdings.name, whole: holdings.whole, held }
}

fn content(author: &Author, encoded: Encoded) -> Option<Content> {
    let entries = encoded.records(author).ok()?.into_iter().map(entry).collect();
    let dependencies = encoded.header.dependencies.iter();
    Some(Content {
        bytes: encoded.bytes.len(),
        stamp: encoded.header.stamp,
        dependencies: dependencies
            .map(|it| Version { author: it.author, generation: it.generation })
            .collect(),
        batch: encoded.header.batch.map(|batch| batch.id),
        entries,
    })
}

fn entry(record: Record) -> Entry {
    match record {
        Record::Row(row) => Entry::Row {
            collection: row.collection,
            key: row.key,
            parents: row.parents,
            edited: row.content.into(),
        },
        Record::Meta(MetaRecord::Genesis { name, .. }) => Entry::Genesis(name),
        Record::Meta(MetaRecord::Admit { key, name, rights, ends, .. }) => {
            Entry::Admit { device: key.device(), name, rights, ends }
        }
        Record::Meta(MetaRecord::AdmitUser { key, name, rights, ends, .. }) => {
            Entry::AdmitUser { user: key.user(), name, rights, ends }
        }
        Record::Meta(MetaRecord::Enrol { certificate, .. }) => Entry::Enrol(certificate),
        Record::Meta(MetaRecord::StrikeOff(striking)) => Entry::StrikeOff(striking),
        Record::Meta(MetaRecord::RevokeUser { user, keep, ends, .. }) => {
            Entry::RevokeUser { user, keep, ends }
        }
        Record::Meta(MetaRecord::Leave { .. }) => Entry::Leave,
        Record::Meta(MetaRecord::Rollover { chain, until, .. }) => {
            let until = until.iter().map(|it| (it.incarnation, it.last)).collect();
            Entry::Rollover { chain, until }
        }
        Record::Meta(MetaRecord::Revoke { device, keep, ends, .. }) => Entry::Revoke { device, keep, ends },
        Record::Meta(MetaRecord::Spec(change)) => Entry::Spec(change),
        Record::Meta(MetaRecord::Publish { device, rights, addresses }) => {
            Entry::Publish { device, rights, addresses }
        }
        Record::Meta(MetaRecord::Unpublish { device, attempt }) => Entry::Unpublish { device, attempt },
        Record::Meta(MetaRecord::Decline { device, attempt }) => Entry::Decline { device, attempt },
        Record::Meta(MetaRecord::Cut { incarnation, first, last }) => Entry::Cut { incarnation, first, last },
        Record::Meta(MetaRecord::Repeats { incarnation, generation }) => {
            Entry::Repeats { incarnation, generation }
        }
        Record::Meta(MetaRecord::Open { rights, ends }) => Entry::Open { rights, ends },
        Record::Meta(MetaRecord::Close { keep, ends, .. }) => Entry::Close { keep, ends },
        Record::Meta(MetaRecord::Fork(fork)) => Entry::Fork { author: fork.author, prefix: fork.prefix },
        Record::Meta(MetaRecord::Collection { name }) => Entry::Collection(name),
        Record::Meta(MetaRecord::Rule { collection, prefix, policy }) => {
            Entry::Rule { collection, prefix, policy }
        }
        Record::Unknown => Entry::Unknown,
    }
}

/// The generations that a commit brings into a store, own ones and others', read after it was applied.
///
/// # Errors
/// [`Fault`] if the store cannot say whose they are.
pub fn generations(commit: &Commit, view: &dyn View) -> Result<Vec<(SyncgroupId, Version, Content)>, Fault> {
    let mut found = Vec::new();
    for write in commit.writes.iter().filter(|write| write.table == Table::Log) {
        let (Some(value), Some((group, author, generation))) = (&write.value, log_key(&write.key)) else {
            continue;
        };
        let (group, author) = (syncgroup(view, group)?, read::author(view, author)?);
        let encoded = Stored::from_bytes(value.clone(), generation)?.encoded()?;
        if let Some(content) = content(&author, encoded) {
            found.push((group, Version { author, generation }, content));
        }
    }
    Ok(found)
}

/// The leaf of a generation that is held, in its author's log tree: it says which of several branches it is of (S-26).
///
/// # Errors
/// [`Fault`] if the store cannot be read.
pub fn leaf(view: &dyn View, group: &SyncgroupId, version: &Version) -> Result<Option<Hash>, Fault> {
    let authors = crate::replica::load::load_authors(view)?;
    let Some(author) = authors.find(&version.author) else { return Ok(None) };
    for (number, _) in crate::replica::load::entries(view, &crate::store::Scan::all(Table::Syncgroup))? {
        let Some((ix, _)) = key::split_number(&number) else { continue };
        if syncgroup(view, ix)? == *group {
            let at = key::log(ix, author, version.generation);
            let Some(bytes) = view.get(Table::Log, &at)? else { return Ok(None) };
            return Ok(Some(Stored::from_bytes(bytes, version.generation)?.encoded()?.leaf));
        }
    }
    Ok(None)
}

/// A key of the log, taken apart.
fn log_key(bytes: &[u8]) -> Option<(GroupIx, AuthorIx, Generation)> {
    let (group, rest) = key::split_number(bytes)?;
    let (author, rest) = key::split_number(rest)?;
    Some((group, author, Generation::from_be_bytes(rest.try_into().ok()?)))
}

fn syncgroup(view: &dyn View, ix: GroupIx) -> Result<SyncgroupId, Fault> {
    let wrong = || corrupt(Table::Syncgroup, DecodeError { what: "a syncgroup" });
    let bytes = view.get(Table::Syncgroup, &key::number(ix))?.ok_or_else(wrong)?;
    postcard::from_bytes::<GroupRecord>(&bytes).map(|record| record.id).map_err(|_| wrong())
}

/// The names by which syncgroups go on one link.
#[derive(Debug, Clone, Copy)]
pub struct LinkNames(Hash);

impl LinkNames {
    /// On the link between two devices, each with the nonce of its hello; in either order.
    pub fn new(one: (&DeviceId, &[u8; 16]), other: (&DeviceId, &[u8; 16])) -> Self {
        Self(handshake::salt(one, other))
    }

    /// The name of a syncgroup there.
    pub fn of(&self, syncgroup: &SyncgroupId) -> Tag {
        handshake::name(&self.0, syncgroup)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::store::MemStore;
    use crate::{
        Action, Command, Config, Continuity, Core, Event, Identity, LocalWrite, Mono, Now, Outbox, Outcome,
        RequestId, RowRef, SecretKey, Wall,
    };

    /// A replica for itself, that shows what each commit brings.
    struct Alone {
        core: Core,
        store: MemStore,
        out: Outbox,
    }

    impl Alone {
        fn new() -> Self {
            let config = Config::new(Name::new("alone").unwrap());
            let identity =
                Identity { chain: None, secret: SecretKey([1; 32]), continuity: Continuity::Unknown };
            let (store, mut out) = (MemStore::new(), Outbox::new());
            let core = Core::boot(&config, &identity, [2; 32], &store, &mut out).unwrap();
            let mut alone = Self { core, store, out };
            alone.perform();
            alone
        }

        fn perform(&mut self) -> (Vec<(SyncgroupId, Version, Content)>, Option<Outcome>) {
            let (mut brought, mut answer) = (Vec::new(), None);
            while let Some(action) = self.out.pop() {
                match action {
                    Action::Commit(commit) => {
                        self.store.apply(&commit);
                        brought.extend(generations(&commit, &self.store).unwrap());
                        self.handle(Event::Durable { seq: commit.seq });
                    }
                    Action::Reply { result, .. } => answer = result.ok(),
                    _ => {}
                }
            }
            (brought, answer)
        }

        fn handle(&mut self, event: Event) {
            let now = Now { mono: Mono(0), wall: Wall(1_767_225_600_000) };
            self.core.handle(now, event, &self.store, &mut self.out).unwrap();
        }

        fn ask(&mut self, command: Command) -> (Vec<(SyncgroupId, Version, Content)>, Option<Outcome>) {
            self.handle(Event::Command { request: RequestId(1), command });
            self.perform()
        }
    }

    #[test]
    fn a_commit_tells_which_generations_it_brings_and_what_they_build_on() {
        let mut alone = Alone::new();
        let notes = Name::new("notes").unwrap();
        let create = Command::CreateSyncgroup {
            database: notes.clone(),
            name: notes.clone(),
            collections: vec![notes.clone()],
        };
        let (brought, answer) = alone.ask(create);
        let Some(Outcome::Created(syncgroup)) = answer else { panic!("{answer:?}") };
        assert_eq!(brought.len(), 1);
        assert!(brought[0].2.entries.contains(&Entry::Genesis(notes.clone())));
        assert!(brought[0].2.entries.contains(&Entry::Collection(notes.clone())));
        let row = RowRef { syncgroup, collection: notes.clone(), key: "monday".into() };
        let (first, _) = alone.ask(Command::Write(LocalWrite::new().put(row.clone(), "water")));
        let (second, _) = alone.ask(Command::Write(LocalWrite::new().delete(row)));
        let [(group, version, content)] = &second[..] else { panic!("{second:?}") };
        assert_eq!((*group, version.generation), (syncgroup, 3));
        let collection = CollectionId::of(&notes);
        let deleted = Entry::Row {
            collection,
            key: "monday".into(),
            parents: vec![first[0].1],
            edited: Edited::Deleted,
        };
        assert_eq!(content.entries, [deleted]);
    }

    #[test]
    fn a_frame_is_told_from_garbage() {
        let pull = Message::Pull(wire::Pull(wire::Holdings {
            name: Tag([7; 16]),
            whole: true,
            entries: Vec::new(),
        }));
        let read = frame(&pull.encode());
        assert_eq!(read, Some(Frame::Pull(Holdings { name: Tag([7; 16]), whole: true, held: Vec::new() })));
        assert_eq!(frame(b"garbage"), None);
    }

    #[test]
    fn both_ends_of_a_link_know_a_syncgroup_by_the_same_name() {
        let (one, other) = ((DeviceId([1; 16]), [3; 16]), (DeviceId([2; 16]), [4; 16]));
        let group = SyncgroupId([5; 32]);
        let here = LinkNames::new((&one.0, &one.1), (&other.0, &other.1)).of(&group);
        let there = LinkNames::new((&other.0, &other.1), (&one.0, &one.1)).of(&group);
        assert_eq!(here, there);
        assert_ne!(here, LinkNames::new((&one.0, &other.1), (&other.0, &one.1)).of(&group));
    }
}
