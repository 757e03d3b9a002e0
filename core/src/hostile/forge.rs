//! Making generations.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{Content, Forged, Forgery, Made, Stage};
use crate::crypto::Keys;
use crate::event::Edit;
use crate::hash::{self, Hash, Tag};
use crate::id::{Author, DeviceId, Name, PublicKey, SyncgroupId, Version};
use crate::keys::{KeyChain, Life};
use crate::limits;
use crate::log::generation::{BatchPart, Dependency, Encoded, Header};
use crate::log::record::{MetaRecord, Record, RowRecord, Until};
use crate::log::tree::Tree;
use crate::log::{self, Checkpoint, Proof};
use crate::replica::plan::Plan;
use crate::resolve::merge::Operations;
use crate::resolve::{Merge, Operation, Policy, Rule};
use crate::syncgroup::Rights;
use crate::syncgroup::metadata::genesis;
use crate::time::{Hlc, Millis};
use crate::wire::{Deltas, Message, Run};

/// How far ahead is too far, and how far is not.
const FAR: Millis = Millis(3_600_000);
const NEAR: Millis = Millis(240_000);
/// A kind of record that there will hardly ever be.
const UNKNOWN_KIND: u8 = 200;

/// Makes a log, and the frames that carry it; `None` while the link cannot carry any.
pub fn forge(stage: &Stage<'_>, forgery: Forgery) -> Option<Forged> {
    let name = stage.name()?;
    let life = match forgery {
        Forgery::Forks => forked(stage)?,
        _ => stage.keys(forgery)?.chain.life(stage.draw("incarnation")),
    };
    let mut log = ForgedLog::new(stage, forgery, life)?;
    log.add(0);
    let needs_two =
        matches!(forgery, Forgery::StampBack | Forgery::Gap | Forgery::PartTwice | Forgery::Forks);
    if stage.draw("length").is_multiple_of(2) || needs_two {
        log.add(1);
    }
    if forgery == Forgery::Forks && stage.draw("longer").is_multiple_of(2) {
        log.add(2);
    }
    let run = log.run();
    let frame = Message::Deltas(Deltas { name, runs: alloc::vec![run] }).encode();
    Some(Forged { frames: alloc::vec![frame], made: log.made })
}

/// The log of an incarnation of the hostile device's, which nothing else writes.
pub(super) struct ForgedLog<'s> {
    pub(super) stage: &'s Stage<'s>,
    pub(super) forgery: Forgery,
    keys: Keys,
    life: Life,
    author: Author,
    dependencies: Vec<Dependency>,
    tree: Tree,
    generations: Vec<Bytes>,
    stamp: Hlc,
    pub(super) made: Vec<Made>,
}

impl<'s> ForgedLog<'s> {
    pub(super) fn new(stage: &'s Stage<'s>, forgery: Forgery, life: Life) -> Option<Self> {
        let keys = stage.keys(forgery)?;
        let device = if forgery == Forgery::OthersName { stage.peer } else { keys.device };
        let ahead = match forgery {
            Forgery::Future => FAR,
            // A rival is no earlier than its owner's next key, as far as clocks go.
            Forgery::SoonFuture | Forgery::RivalKey => NEAR,
            _ => Millis(0),
        };
        Some(Self {
            author: Author { device, incarnation: life.incarnation },
            life,
            dependencies: dependencies(stage, forgery)?,
            tree: Tree::default(),
            generations: Vec::new(),
            stamp: match admitted_at(stage).filter(|_| starts_early(forgery)) {
                Some(stamp) => Hlc(stamp.0 + 1),
                None => Hlc::after(Hlc::default(), stage.wall + ahead),
            },
            made: Vec::new(),
            stage,
            forgery,
            keys,
        })
    }

    /// Writes the next generation.
    pub(super) fn add(&mut self, nth: u64) {
        let step = if self.forgery == Forgery::StampBack { 0 } else { nth };
        let stamp = Hlc(self.stamp.0 + step);
        let dependencies = if nth == 0 { self.dependencies.clone() } else { Vec::new() };
        let version = Version { author: self.author, generation: nth + 1 };
        let named = dependencies.iter().map(|it| Version { author: it.author, generation: it.generation });
        let named = named.collect();
        let batch = self.batch();
        let parts = batch.as_ref().map(|_| self.elsewhere().into_iter().collect());
        // Nobody looks at it: so branches differ that say the same.
        let differs = (self.forgery == Forgery::Forks && nth > 0).then(|| self.stage.draw("branch"));
        let acknowledged = differs.map(|generation| Version { author: self.author, generation });
        let header = Header { stamp, body: Hash::default(), dependencies, batch, acknowledged };
        let (mut records, content) = self.content(nth);
        let word = (nth == 0).then(|| self.word()).flatten();
        let rolled = word.as_ref().map(|(until, _)| {
            let until = until.iter().map(|it| (it.incarnation, it.last));
            (self.keys.chain.keys().skip(1).collect(), until.collect())
        });
        records.extend(word.map(|(until, chain)| {
            Record::Meta(MetaRecord::Rollover { chain, nonce: self.life.nonce, until })
        }));
        let content = if self.forgery.is_never_valid() { Content::Never } else { content };
        let encoded = if self.forgery == Forgery::UnknownKind {
            Encoded::seal(header, &[UNKNOWN_KIND, 1, 7])
        } else {
            Encoded::write(header, &self.author, &records)
        };
        self.tree.append(encoded.leaf);
        let mut bytes = encoded.bytes.to_vec();
        if self.forgery == Forgery::AlteredBody
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 1;
        }
        self.generations.push(bytes.into());
        self.made.push(Made { version, stamp, dependencies: named, batch: parts, rolled, content });
    }

    /// What a log has to say of its key as it begins, if that is not its device's first: of its own other logs what it
    /// would say that stays, and of a stolen one's nothing.
    fn word(&self) -> Option<(Vec<Until>, KeyChain)> {
        let replica = &self.stage.core.replica;
        let is_own = self.keys.chain == replica.keys.chain;
        let plan = Plan::new(replica, self.stage.view);
        let group = replica.group(&self.stage.syncgroup).filter(|_| is_own);
        let word = group.and_then(|group| plan.word_on_keys(group.ix).ok().flatten());
        let until = match word {
            Some(MetaRecord::Rollover { until, .. }) => until,
            _ => Vec::new(),
        };
        (self.keys.chain.rollovers() > 0).then(|| (until, self.keys.chain.clone()))
    }

    fn content(&self, nth: u64) -> (Vec<Record>, Content) {
        let keys = &self.stage.core.replica.keys;
        let ghost = || PublicKey(self.stage.bytes("ghost"));
        let meta = |record| alloc::vec![Record::Meta(record)];
        let Ok(name) = Name::new("hostile") else { return (Vec::new(), Content::Never) };
        match self.forgery {
            Forgery::Genesis => {
                let records =
                    genesis(name.clone(), self.stage.bytes("nonce"), keys.first(), name, Vec::new());
                (records.into_iter().map(Record::Meta).collect(), Content::Never)
            }
            Forgery::AdmitsGhost | Forgery::LetsInBeside | Forgery::LetsInRemoved => {
                let removed = || self.stage.removed().unwrap_or_else(ghost);
                let key = if self.forgery == Forgery::LetsInRemoved { removed() } else { ghost() };
                let admit = MetaRecord::Admit { key, name, rights: Rights::Write, ends: None, request: None };
                (meta(admit), Content::Admits(key.device(), Rights::Write))
            }
            Forgery::LetsInAgain => match self.stage.key_of(&self.stage.peer) {
                Some(key) => {
                    let (rights, ends, request) = (Rights::Read, None, None);
                    let admit = MetaRecord::Admit { key, name, rights, ends, request };
                    (meta(admit), Content::Admits(key.device(), rights))
                }
                None => self.row(nth),
            },
            Forgery::PromotesItself => {
                let admit = MetaRecord::Admit {
                    key: keys.first(),
                    name,
                    rights: Rights::Admin,
                    ends: None,
                    request: None,
                };
                (meta(admit), Content::Admits(keys.device, Rights::Admin))
            }
            Forgery::EndsOthers => {
                let group = self.stage.core.replica.group(&self.stage.syncgroup);
                let grants =
                    group.map(|group| group.metadata.access.grants(&self.stage.peer)).unwrap_or_default();
                (meta(MetaRecord::Leave { grants }), Content::EndsOthers)
            }
            Forgery::Removes => self.revocation(self.stage.peer, None, false),
            Forgery::RemovesAll => self.revocation(self.stage.peer, None, true),
            Forgery::Overthrows => {
                let admitter = self.admission().map_or(self.stage.peer, |it| it.author.device);
                self.revocation(admitter, Some(Rights::Write), true)
            }
            Forgery::StrangeCertificate
            | Forgery::MisplacedCertificate
            | Forgery::RepeatsCertificate
            | Forgery::StrangeUser
            | Forgery::AdmitsOwnUser
            | Forgery::LetsInRemovedAsUser
            | Forgery::RemovesUser
            | Forgery::SiblingStrikes => self.of_users().unwrap_or_else(|| self.row(nth)),
            Forgery::Rule | Forgery::LongRule => {
                let collection = self.stage.collection;
                let long = Bytes::from(alloc::vec![b'k'; limits::MAX_KEY + 1]);
                let prefix = if self.forgery == Forgery::LongRule { long } else { Bytes::from_static(b"k") };
                let policies = [Policy::Defer, Policy::BatchWins, Policy::Merge(Merge::Counter)];
                let [policy, ..] = rotated(policies, self.stage.draw("policy"));
                let rule = Rule { prefix: prefix.clone(), policy: policy.clone() };
                (
                    meta(MetaRecord::Rule { collection, prefix, policy: Some(policy) }),
                    Content::Rule { collection, rule },
                )
            }
            _ => self.row(nth),
        }
    }

    /// An operation, of whatever merge.
    fn operation(&self) -> Operation {
        let merge = || Name::new("hostile").ok();
        match (self.forgery, merge()) {
            (Forgery::LargeOperation, Some(merge)) => {
                Operation::Named { merge, operation: alloc::vec![7; limits::MAX_VALUE + 1].into() }
            }
            (Forgery::NamelessField, _) => Operation::RemoveField { path: Vec::new() },
            (_, merge) => {
                let path = alloc::vec!["x".into()];
                let operations = [
                    Operation::Add(i64::MAX),
                    Operation::Insert("hostile".into()),
                    Operation::SetField { path, value: "hostile".into() },
                    merge.map_or(Operation::Add(i64::MIN), |merge| Operation::Named {
                        merge,
                        operation: "h".into(),
                    }),
                ];
                let [operation, ..] = rotated(operations, self.stage.draw("operation"));
                operation
            }
        }
    }

    /// What it says of a batch that it is a part of.
    fn batch(&self) -> Option<BatchPart> {
        let id = self.stage.bytes("batch");
        let nowhere = |nth: usize| {
            let mut syncgroup = SyncgroupId(self.stage.bytes("nowhere"));
            syncgroup.0[0] ^= nth as u8;
            BatchPart::tag(&id, &syncgroup)
        };
        let others = match self.forgery {
            Forgery::StrangeParts => (1..limits::MAX_BATCH_PARTS).map(nowhere).collect(),
            Forgery::TooManyParts => (0..limits::MAX_BATCH_PARTS).map(nowhere).collect(),
            Forgery::LacksPart | Forgery::PartTwice => {
                let there = self.elsewhere().map(|syncgroup| BatchPart::tag(&id, &syncgroup));
                alloc::vec![there.unwrap_or_else(|| nowhere(0))]
            }
            _ => return None,
        };
        Some(BatchPart { id, others })
    }

    /// Another syncgroup that the device knows, where it says that another part is.
    fn elsewhere(&self) -> Option<SyncgroupId> {
        let lacks = matches!(self.forgery, Forgery::LacksPart | Forgery::PartTwice);
        let mut known = self.stage.core.replica.groups.values().map(|group| group.record.id);
        known.rfind(|id| lacks && *id != self.stage.syncgroup)
    }

    /// Takes grants from a device, and says how much of what it wrote stays.
    fn revocation(&self, device: DeviceId, keep: Option<Rights>, all: bool) -> (Vec<Record>, Content) {
        let replica = &self.stage.core.replica;
        let Some(group) = replica.group(&self.stage.syncgroup) else { return (Vec::new(), Content::Never) };
        let grants = group.metadata.access.grants(&device);
        let until = if all { Vec::new() } else { group.written_by(&device, &replica.authors) };
        let revoke =
            MetaRecord::Revoke { device, grants: grants.clone(), keep, ends: None, until: until.clone() };
        (alloc::vec![Record::Meta(revoke)], Content::Revokes { device, grants, keep, until })
    }

    fn row(&self, nth: u64) -> (Vec<Record>, Content) {
        let missing = Version { author: self.stage.nobody(), generation: 7 };
        let parents = match self.forgery {
            Forgery::MissingParent => alloc::vec![missing],
            Forgery::LaterParent => alloc::vec![self.later().unwrap_or(missing)],
            // What admitted the device is no version of a row.
            Forgery::OddParent => self.admission().into_iter().collect(),
            _ => Vec::new(),
        };
        let drawn = if self.forgery == Forgery::Forks { nth } else { self.stage.draw("key") };
        let key = Bytes::from(alloc::format!("k{}", drawn % 4));
        let operates =
            matches!(self.forgery, Forgery::Operates | Forgery::LargeOperation | Forgery::NamelessField);
        let edit = match operates {
            true => Edit::Operate(self.operation()),
            false => Edit::Put(Bytes::from(alloc::format!("hostile {nth} of {:?}", self.author))),
        };
        let row = RowRecord {
            collection: self.stage.collection,
            key: key.clone(),
            parents: parents.clone(),
            repeats: None,
            pick: false,
            content: match &edit {
                Edit::Put(value) => log::record::Content::Put(value.clone()),
                Edit::Delete => log::record::Content::Delete,
                Edit::Operate(operation) => {
                    log::record::Content::Operate(Operations::prepare(operation.clone(), |_| Vec::new()))
                }
            },
        };
        let collection = self.stage.collection;
        (alloc::vec![Record::Row(row)], Content::Row { collection, key, parents, edit })
    }

    /// A generation with a later stamp.
    fn later(&self) -> Option<Version> {
        let replica = &self.stage.core.replica;
        let group = replica.group(&self.stage.syncgroup)?;
        let later = group.logs.iter().find(|(_, log)| log.stamp > self.stamp)?;
        Some(Version { author: replica.authors.get(*later.0)?, generation: later.1.held() })
    }

    fn admission(&self) -> Option<Version> {
        admission(self.stage, &self.stage.core.replica.keys.device)
    }

    /// The whole log as a run, signed.
    pub(super) fn run(&self) -> Run {
        let by = (&self.keys, self.life.told());
        let mut checkpoint = Checkpoint::sign(&self.stage.syncgroup, &self.author, &self.tree, by);
        match self.forgery {
            Forgery::BadSignature => {
                let mut bytes = checkpoint.signature.to_bytes();
                bytes[0] ^= 1;
                checkpoint.signature = crate::crypto::Signature::from_bytes(&bytes);
            }
            Forgery::WrongRoot => checkpoint.root = Hash(self.stage.bytes("root")),
            _ => {}
        }
        let (first, skip) = if self.forgery == Forgery::Gap { (2, 1) } else { (1, 0) };
        let generations = self.generations.iter().skip(skip).cloned().collect();
        Run { author: self.author, first, generations, proof: Proof { checkpoint, completion: Vec::new() } }
    }
}

/// A choice, drawn: it comes first.
fn rotated<T, const N: usize>(mut of: [T; N], drawn: u64) -> [T; N] {
    of.rotate_left((drawn % N as u64) as usize);
    of
}

/// The generation that admitted a device, if it was.
fn admission(stage: &Stage<'_>, device: &DeviceId) -> Option<Version> {
    let group = stage.core.replica.group(&stage.syncgroup)?;
    let members = group.metadata.access.members();
    members.into_iter().find(|it| it.device == *device).map(|it| it.admitted)
}

/// Whether it is stamped right after that.
fn starts_early(forgery: Forgery) -> bool {
    matches!(forgery, Forgery::LaterParent | Forgery::Forks)
}

/// The incarnation of which the device makes several logs, as long as it is admitted by the same generation.
fn forked(stage: &Stage<'_>) -> Option<Life> {
    let device = stage.core.replica.keys.device;
    let Version { author, generation } = admission(stage, &device)?;
    let (incarnation, generation) = (author.incarnation.0.to_le_bytes(), generation.to_le_bytes());
    let parts = [&device.0[..], &stage.syncgroup.0, &author.device.0, &incarnation, &generation];
    let drawn = u64::from_le_bytes(*hash::derive(hash::DICE, &parts).prefix());
    Some(stage.life(&device, drawn))
}

/// The stamp of that.
fn admitted_at(stage: &Stage<'_>) -> Option<Hlc> {
    let admission = admission(stage, &stage.core.replica.keys.device)?;
    let plan = Plan::new(&stage.core.replica, stage.view);
    let group = stage.core.replica.group(&stage.syncgroup)?;
    plan.stamp(group.ix, plan.author_ix(&admission.author)?, admission.generation).ok()
}

/// What the log says that it builds on.
fn dependencies(stage: &Stage<'_>, forgery: Forgery) -> Option<Vec<Dependency>> {
    let nobody = stage.nobody();
    let replica = &stage.core.replica;
    let plan = Plan::new(replica, stage.view);
    let mut named: Vec<Version> = match (forgery, replica.group(&stage.syncgroup)) {
        (Forgery::NoCause, _) | (_, None) => Vec::new(),
        (Forgery::OldCauses | Forgery::RepeatsCertificate | Forgery::LaterParent | Forgery::Forks, _) => {
            admission(stage, &replica.keys.device).into_iter().collect()
        }
        // As if it knew nothing of what came since, that the key has ended above all.
        (Forgery::FormerKey | Forgery::RivalKey, _) if stage.draw("causes").is_multiple_of(2) => {
            admission(stage, &stage.keys(forgery)?.device).into_iter().collect()
        }
        (Forgery::LetsInBeside | Forgery::LetsInRemoved | Forgery::LetsInRemovedAsUser, Some(group)) => {
            let opened = group.metadata.access.last_opened();
            admission(stage, &replica.keys.device).into_iter().chain(opened).collect()
        }
        (_, Some(group)) => {
            let frontier = group.tip.frontier.iter();
            frontier.map(|(ix, last)| Version { author: plan.author(*ix), generation: *last }).collect()
        }
    };
    named.sort();
    // Of each author the last.
    named.reverse();
    named.dedup_by_key(|version| version.author);
    named.reverse();
    let tagged = named.into_iter().filter_map(|version| {
        let group = replica.group(&stage.syncgroup)?;
        let tag = plan.tag(group.ix, plan.author_ix(&version.author)?, version.generation).ok()?;
        Some(Dependency { author: version.author, generation: version.generation, tag })
    });
    let mut dependencies: Vec<Dependency> = tagged.collect();
    match forgery {
        Forgery::MissingCause => {
            dependencies.push(Dependency { author: nobody, generation: 7, tag: Tag::default() });
            dependencies.sort_by_key(|dependency| dependency.author);
        }
        Forgery::WrongTag => dependencies.iter_mut().for_each(|it| it.tag = Tag(stage.bytes("tag"))),
        _ => {}
    }
    Some(dependencies)
}
