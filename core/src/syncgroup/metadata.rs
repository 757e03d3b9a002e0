//! What a syncgroup's log says about the syncgroup: its name, its collections, who may do what.
//!
//! Grants and their ends are facts that only add up, each named by its version, so they merge without an
//! ancestor and in any order (S-20). Whether a generation is allowed is judged by the facts in *its own
//! causal past* (S-34), which are the same at every replica. So that this costs little, every generation
//! carries the number of the set of metadata in its past (see [`Pasts`]); nearly always it is the number of
//! the generation before.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Member, Rights};
use crate::id::{Author, CollectionId, DeviceId, Generation, Name, PublicKey, Version};
use crate::log::record::MetaRecord;
use crate::resolve::schema::Schemas;
use crate::store::key::AuthorIx;
use crate::time::Hlc;

/// The local number of a set of metadata generations.
pub(crate) type PastIx = u32;

/// The empty set: always number 0.
pub(crate) const NO_PAST: PastIx = 0;

/// A set of metadata generations closed under causes, as the last one of each author that has any.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Past(pub(crate) Vec<(AuthorIx, Generation)>);

impl Past {
    pub(crate) fn contains(&self, author: AuthorIx, generation: Generation) -> bool {
        let found = self.0.binary_search_by_key(&author, |(a, _)| *a);
        found.is_ok_and(|at| self.0.get(at).is_some_and(|(_, last)| generation <= *last))
    }

    pub(crate) fn add(&mut self, author: AuthorIx, generation: Generation) {
        match self.0.binary_search_by_key(&author, |(a, _)| *a) {
            Ok(at) => {
                if let Some((_, last)) = self.0.get_mut(at) {
                    *last = generation.max(*last);
                }
            }
            Err(at) => self.0.insert(at, (author, generation)),
        }
    }

    pub(crate) fn join(&mut self, other: &Past) {
        for (author, generation) in &other.0 {
            self.add(*author, *generation);
        }
    }
}

/// The sets of metadata that generations of one syncgroup have in their past, each with a number.
#[derive(Debug, Clone)]
pub(crate) struct Pasts {
    sets: Vec<Past>,
    numbers: BTreeMap<Past, PastIx>,
}

impl Default for Pasts {
    fn default() -> Self {
        Self { sets: alloc::vec![Past::default()], numbers: BTreeMap::from([(Past::default(), NO_PAST)]) }
    }
}

impl Pasts {
    pub(crate) fn get(&self, ix: PastIx) -> &Past {
        const EMPTY: &Past = &Past(Vec::new());
        self.sets.get(ix as usize).unwrap_or(EMPTY)
    }

    pub(crate) fn number(&self, past: &Past) -> Option<PastIx> {
        self.numbers.get(past).copied()
    }

    /// The number that the next new set will get.
    pub(crate) fn next(&self) -> PastIx {
        self.sets.len() as PastIx
    }

    /// Adds a set that is not there yet.
    pub(crate) fn push(&mut self, past: Past) {
        self.numbers.insert(past.clone(), self.next());
        self.sets.push(past);
    }
}

/// A right given to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    author: AuthorIx,
    version: Version,
    stamp: Hlc,
    rights: Rights,
    name: Name,
}

/// That some grants ended, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    author: AuthorIx,
    generation: Generation,
    grants: BTreeSet<Version>,
}

/// All that is known of one device in a syncgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Standing {
    grants: Vec<Grant>,
    ends: Vec<End>,
}

impl Standing {
    /// What the device may do, by the facts that `known` lets count.
    fn rights(&self, known: impl Fn(AuthorIx, Generation) -> bool) -> Option<Rights> {
        let ended = |grant: &Grant| {
            self.ends
                .iter()
                .any(|end| known(end.author, end.generation) && end.grants.contains(&grant.version))
        };
        let counts = |grant: &&Grant| known(grant.author, grant.version.generation) && !ended(grant);
        self.grants.iter().filter(counts).map(|grant| grant.rights).max()
    }
}

/// A syncgroup's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    name: Option<Name>,
    collections: BTreeMap<CollectionId, Name>,
    standings: BTreeMap<DeviceId, Standing>,
    schemas: Schemas,
    /// Nonces of invitations and requests that were used.
    used: BTreeSet<[u8; 16]>,
}

impl Metadata {
    /// Takes in the metadata of a generation that was judged valid.
    pub(crate) fn apply(
        &mut self,
        by: (AuthorIx, Author),
        generation: Generation,
        stamp: Hlc,
        record: &MetaRecord,
    ) {
        let (ix, author) = by;
        let version = Version { author, generation };
        match record {
            MetaRecord::Genesis { name, .. } => self.name = Some(name.clone()),
            MetaRecord::Admit { key, name, rights, request } => {
                let device = key.device();
                let grant = Grant { author: ix, version, stamp, rights: *rights, name: name.clone() };
                self.standings.entry(device).or_default().grants.push(grant);
                self.used.extend(request.iter().flat_map(|used| [used.invitation, used.request]));
            }
            MetaRecord::Leave { grants } => {
                let end = End { author: ix, generation, grants: grants.iter().copied().collect() };
                self.standings.entry(author.device).or_default().ends.push(end);
            }
            MetaRecord::Collection { name } => {
                self.collections.insert(CollectionId::of(name), name.clone());
            }
            MetaRecord::Rule { collection, prefix, policy } => {
                self.schemas.set(*collection, prefix, policy.as_ref(), (stamp, version));
            }
        }
    }

    /// What becomes of conflicts.
    pub(crate) fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// What a device may do by the facts in a past (S-34).
    pub(crate) fn rights_in(&self, device: &DeviceId, past: &Past) -> Option<Rights> {
        self.standings.get(device)?.rights(|author, generation| past.contains(author, generation))
    }

    /// What a device may do by all that is known here.
    pub(crate) fn rights(&self, device: &DeviceId) -> Option<Rights> {
        self.standings.get(device)?.rights(|_, _| true)
    }

    /// Whether a device was a member and is none any more.
    pub(crate) fn is_former(&self, device: &DeviceId) -> bool {
        self.standings.get(device).is_some_and(|standing| standing.rights(|_, _| true).is_none())
    }

    /// Whether a device is or was a member.
    pub(crate) fn is_known(&self, device: &DeviceId) -> bool {
        self.standings.contains_key(device)
    }

    /// Whether the facts in a past say all that is known of a device's departure.
    pub(crate) fn has_departed_in(&self, device: &DeviceId, past: &Past) -> bool {
        let ends = self.standings.get(device).map(|standing| &standing.ends);
        ends.is_some_and(|ends| ends.iter().all(|end| past.contains(end.author, end.generation)))
    }

    /// Whether a device is known to be no member any more, by a departure of which somebody did not know.
    pub(crate) fn has_left_since(
        &self,
        device: &DeviceId,
        knew: impl Fn(AuthorIx, Generation) -> bool,
    ) -> bool {
        let ends = self.standings.get(device).map(|standing| &standing.ends);
        let is_news = ends.is_some_and(|ends| ends.iter().any(|end| !knew(end.author, end.generation)));
        is_news && self.is_former(device)
    }

    /// The grants to a device that have not ended.
    pub(crate) fn grants(&self, device: &DeviceId) -> Vec<Version> {
        let Some(standing) = self.standings.get(device) else { return Vec::new() };
        let ended = |version: &Version| standing.ends.iter().any(|end| end.grants.contains(version));
        standing.grants.iter().map(|grant| grant.version).filter(|version| !ended(version)).collect()
    }

    /// What members call the syncgroup; `None` before its genesis is here.
    pub(crate) fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    pub(crate) fn collections(&self) -> &BTreeMap<CollectionId, Name> {
        &self.collections
    }

    /// The devices that may do anything, with what they may do.
    pub(crate) fn joined(&self) -> impl Iterator<Item = (&DeviceId, Rights)> {
        self.standings.iter().filter_map(|(device, standing)| Some((device, standing.rights(|_, _| true)?)))
    }

    /// Whether an invitation or a request has led to an admission.
    pub(crate) fn is_used(&self, nonce: &[u8; 16]) -> bool {
        self.used.contains(nonce)
    }

    /// Everybody who was ever admitted, by device.
    pub(crate) fn members(&self) -> Vec<Member> {
        let member = |(device, standing): (&DeviceId, &Standing)| {
            // Of several admissions the latest gives the name: the same everywhere, whatever arrived first.
            let latest = standing.grants.iter().max_by_key(|grant| (grant.stamp, grant.version))?;
            let rights = standing.rights(|_, _| true);
            Some(Member { device: *device, name: latest.name.clone(), rights, admitted: latest.version })
        };
        self.standings.iter().filter_map(member).collect()
    }
}

/// The records that found a syncgroup: generation 1 of its creator, whose hash is the syncgroup's id (S-30).
pub(crate) fn genesis(
    name: Name,
    nonce: [u8; 16],
    key: PublicKey,
    device: Name,
    collections: Vec<Name>,
) -> Vec<MetaRecord> {
    let mut records = alloc::vec![
        MetaRecord::Genesis { name, nonce },
        MetaRecord::Admit { key, name: device, rights: Rights::Admin, request: None },
    ];
    records.extend(collections.into_iter().map(|name| MetaRecord::Collection { name }));
    records
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Incarnation;

    fn author(n: u8) -> Author {
        Author { device: PublicKey([n; 32]).device(), incarnation: Incarnation(u64::from(n)) }
    }

    fn admit(n: u8, rights: Rights) -> MetaRecord {
        let name = Name::new("device").unwrap();
        MetaRecord::Admit { key: PublicKey([n; 32]), name, rights, request: None }
    }

    /// Author 1 admits 2 twice; 2 leaves after the first; 3 is admitted by 1 and by 2.
    fn facts() -> Vec<(u8, Generation, MetaRecord)> {
        let first = Version { author: author(1), generation: 1 };
        alloc::vec![
            (1, 1, admit(2, Rights::Admin)),
            (1, 2, admit(3, Rights::Write)),
            (2, 1, MetaRecord::Leave { grants: alloc::vec![first] }),
            (1, 3, admit(2, Rights::Read)),
            (2, 2, admit(3, Rights::Admin)),
            (2, 3, MetaRecord::Collection { name: Name::new("notes").unwrap() }),
            (
                1,
                4,
                MetaRecord::Rule {
                    collection: CollectionId::of(&Name::new("notes").unwrap()),
                    prefix: bytes::Bytes::new(),
                    policy: Some(crate::resolve::Policy::Defer),
                }
            ),
            (
                2,
                4,
                MetaRecord::Rule {
                    collection: CollectionId::of(&Name::new("notes").unwrap()),
                    prefix: bytes::Bytes::new(),
                    policy: Some(crate::resolve::Policy::AppResolves),
                }
            ),
        ]
    }

    fn after(order: &[usize]) -> Metadata {
        let mut metadata = Metadata::default();
        let facts = facts();
        for (n, generation, record) in order.iter().map(|&at| &facts[at]) {
            metadata.apply((u32::from(*n), author(*n)), *generation, Hlc(*generation), record);
        }
        metadata
    }

    proptest! {
        #[test]
        fn metadata_is_the_same_in_any_order(order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle()) {
            let (one, two) = (after(&[0, 1, 2, 3, 4, 5, 6, 7]), after(&order));
            prop_assert_eq!(one.members(), two.members());
            prop_assert_eq!(one.collections(), two.collections());
            prop_assert_eq!(one.schemas(), two.schemas());
            for known in 0..4u64 {
                let mut past = Past::default();
                past.add(1, known);
                past.add(2, known / 2);
                for n in 1..4 {
                    let device = author(n).device;
                    prop_assert_eq!(one.rights_in(&device, &past), two.rights_in(&device, &past));
                }
            }
        }
    }

    #[test]
    fn rights_follow_the_past_and_not_what_is_known_elsewhere() {
        let metadata = after(&[0, 1, 2, 3, 4, 5]);
        let two = author(2).device;
        let past = |of: &[(AuthorIx, Generation)]| {
            let mut past = Past::default();
            of.iter().for_each(|(author, generation)| past.add(*author, *generation));
            past
        };
        assert_eq!(metadata.rights_in(&two, &past(&[])), None);
        assert_eq!(metadata.rights_in(&two, &past(&[(1, 1)])), Some(Rights::Admin));
        assert_eq!(metadata.rights_in(&two, &past(&[(1, 2), (2, 1)])), None, "it has left");
        assert_eq!(metadata.rights_in(&two, &past(&[(1, 3), (2, 1)])), Some(Rights::Read), "admitted again");
        assert_eq!(metadata.rights(&two), Some(Rights::Read));
        assert_eq!(metadata.rights(&author(9).device), None);
    }

    #[test]
    fn pasts_join_as_sets() {
        let mut one = Past(alloc::vec![(1, 4), (5, 1)]);
        one.join(&Past(alloc::vec![(1, 2), (3, 7), (5, 2)]));
        assert_eq!(one.0, [(1, 4), (3, 7), (5, 2)]);
        assert!(one.contains(3, 7) && !one.contains(3, 8) && !one.contains(2, 1));
    }
}
