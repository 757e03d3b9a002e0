//! What a syncgroup's log says about the syncgroup: its name, its collections, who may do what.
//!
//! All of it are facts that only add up, each named by its version, so they merge without an ancestor and in any
//! order (S-20). Who may do what is in [`super::access`], what becomes of conflicts in [`crate::resolve::schema`].

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Rights;
use super::access::{Access, Source};
use super::publish::{End, Publication, Publications};
use super::spec;
use crate::id::{CollectionId, DeviceId, Name, PublicKey, UserId};
use crate::limits;
use crate::log::record::{MetaRecord, Record};
use crate::object::history::Place;
use crate::resolve::schema::Schemas;
use crate::store::key::AuthorIx;
use crate::user::Certificate;

/// A syncgroup's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    name: Option<Name>,
    collections: BTreeMap<CollectionId, Name>,
    pub(crate) access: Access,
    schemas: Schemas,
    spec: spec::Registers,
    publications: Publications,
    /// The generations that say something of schemas, of the spec, or of publications.
    ruled: BTreeSet<Place>,
    /// Nonces of this device's invitations that were used, as itself has said: any member may name one.
    used: BTreeSet<[u8; 16]>,
    /// Nonces of requests that were granted. They are kept apart: any member may name one.
    granted: BTreeSet<[u8; 16]>,
    /// How much each author has written of all this.
    spent: BTreeMap<AuthorIx, usize>,
    /// This device's certificates, by user and number: to be shown to whoever has not heard of them.
    own: BTreeMap<(UserId, u64), Box<Certificate>>,
}

impl Metadata {
    /// Takes in what is true whether or not the generation that says it is valid. Says whether that has to be judged
    /// again. A collection is there once anybody who was allowed to has added it, even if that became void: others
    /// may have rows in it.
    pub(crate) fn take(&mut self, from: Source, record: &MetaRecord) -> bool {
        *self.spent.entry(from.place.0).or_default() += record.cost();
        match record {
            MetaRecord::Genesis { name, .. } => self.name = Some(name.clone()),
            MetaRecord::Admit { request, .. } | MetaRecord::AdmitUser { request, .. } => {
                self.granted.extend(request.map(|used| used.request));
            }
            MetaRecord::Collection { name } => {
                self.collections.insert(CollectionId::of(name), name.clone());
            }
            MetaRecord::Rule { .. }
            | MetaRecord::Spec(_)
            | MetaRecord::Publish { .. }
            | MetaRecord::Unpublish { .. }
            | MetaRecord::Decline { .. } => {
                self.ruled.insert(from.place);
            }
            MetaRecord::Enrol { request, .. } => self.granted.extend(request),
            MetaRecord::Leave { .. }
            | MetaRecord::Revoke { .. }
            | MetaRecord::RevokeUser { .. }
            | MetaRecord::StrikeOff(_)
            | MetaRecord::Cut { .. }
            | MetaRecord::Fork(_)
            | MetaRecord::Repeats { .. }
            | MetaRecord::Open { .. }
            | MetaRecord::Close { .. }
            | MetaRecord::Rollover { .. } => {}
        }
        self.access.take(from, record)
    }

    /// Takes in what is read from the store, where it may be `void`. `own` is this device.
    pub(crate) fn reload(&mut self, own: &DeviceId, from: Source, record: &MetaRecord, void: bool) {
        self.take(from, record);
        self.keep_own(own, from, record);
        if !void {
            self.rule(from, record);
        }
    }

    /// Keeps a certificate of this device, and which of its invitations it has let somebody in by.
    pub(crate) fn keep_own(&mut self, own: &DeviceId, from: Source, record: &MetaRecord) {
        match record {
            MetaRecord::Enrol { certificate, .. } if certificate.device() == *own => {
                let of = (certificate.user(), certificate.number());
                self.own.entry(of).or_insert_with(|| Box::new(certificate.clone()));
            }
            MetaRecord::Admit { request, .. } | MetaRecord::AdmitUser { request, .. }
                if from.author.device == *own =>
            {
                self.used.extend(request.map(|used| used.invitation));
            }
            _ => {}
        }
    }

    /// By which certificates this device is a member, as far as is known here. Of each user's the latest first.
    pub(crate) fn own_certificates(&self) -> impl Iterator<Item = &Certificate> {
        let stands = |it: &&Certificate| {
            self.access.rights_of(&it.user()).is_some()
                && self.access.is_enrolled_by(&it.user(), &it.device(), it.number())
        };
        self.own.values().rev().map(Box::as_ref).filter(stands)
    }

    /// Whether an author, after all that is held of its log, may write these records (S-53). That follows from its log
    /// alone, so it is the same everywhere.
    pub(crate) fn has_room(&self, author: Option<AuthorIx>, records: &[Record]) -> bool {
        let mut metadata = metadata_of(records).peekable();
        if metadata.peek().is_none() {
            return true;
        }
        let ends = metadata.all(MetaRecord::ends_something);
        let limit = limits::MAX_METADATA + if ends { limits::METADATA_RESERVE } else { 0 };
        self.fits(author, records, limit)
    }

    /// Whether one may let in somebody by these records who may do so only by what is granted to everybody (S-53).
    pub(crate) fn has_room_to_let_in(&self, author: Option<AuthorIx>, records: &[Record]) -> bool {
        self.fits(author, records, limits::MEMBER_METADATA)
    }

    fn fits(&self, author: Option<AuthorIx>, records: &[Record], limit: usize) -> bool {
        let spent = author.and_then(|author| self.spent.get(&author)).copied().unwrap_or(0);
        metadata_of(records).map(MetaRecord::cost).sum::<usize>() <= limit.saturating_sub(spent)
    }

    /// Takes in what a generation that is valid says of schemas, of the spec, and of publications.
    pub(crate) fn rule(&mut self, from: Source, record: &MetaRecord) {
        let at = (from.stamp, from.version());
        match record {
            MetaRecord::Rule { collection, prefix, policy } => {
                self.schemas.set(*collection, prefix, policy.as_ref(), at);
            }
            MetaRecord::Spec(change) => self.spec.set(change, at),
            other => self.publications.take(other, at),
        }
    }

    /// Forgets all that, as other generations count now; and says which generations say something of it.
    pub(crate) fn forget_rules(&mut self) -> Vec<Place> {
        self.schemas = Schemas::default();
        self.spec = spec::Registers::default();
        self.publications = Publications::default();
        self.ruled.iter().copied().collect()
    }

    /// What becomes of conflicts.
    pub(crate) fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// What members are told.
    pub(crate) fn spec(&self) -> &spec::Registers {
        &self.spec
    }

    /// Where it is published.
    pub(crate) fn publications(&self) -> Vec<Publication> {
        self.publications.list(&self.access)
    }

    /// What is to be said as all attempts to publish it at a device end.
    pub(super) fn publications_end(&self, device: DeviceId, end: End) -> Vec<Record> {
        self.publications.ending(device, end)
    }

    /// Whether it was ever to be published anywhere.
    pub(crate) fn publishes(&self) -> bool {
        !self.publications.is_empty()
    }

    /// What members call the syncgroup; `None` before its genesis is here.
    pub(crate) fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    pub(crate) fn collections(&self) -> &BTreeMap<CollectionId, Name> {
        &self.collections
    }

    /// Whether an invitation of this device has led to an admission.
    pub(crate) fn is_used(&self, nonce: &[u8; 16]) -> bool {
        self.used.contains(nonce)
    }

    /// Whether a request has.
    pub(crate) fn is_granted(&self, nonce: &[u8; 16]) -> bool {
        self.granted.contains(nonce)
    }
}

fn metadata_of(records: &[Record]) -> impl Iterator<Item = &MetaRecord> {
    records.iter().filter_map(|record| if let Record::Meta(meta) = record { Some(meta) } else { None })
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
        MetaRecord::Admit { key, name: device, rights: Rights::Admin, ends: None, request: None },
    ];
    records.extend(collections.into_iter().map(|name| MetaRecord::Collection { name }));
    records
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::past::NO_PAST;
    use super::*;
    use crate::id::{Author, DeviceId, Incarnation};
    use crate::log::record::Used;
    use crate::time::Hlc;

    fn collection() -> MetaRecord {
        MetaRecord::Collection { name: Name::new("notes").unwrap() }
    }

    fn from(author: AuthorIx, generation: u64) -> Source {
        let device = DeviceId([author as u8; 16]);
        let author_of = Author { device, incarnation: Incarnation(1) };
        let (place, stamp) = ((author, generation), Hlc(generation));
        Source { place, author: author_of, stamp, past: NO_PAST, beside: Rights::Read }
    }

    #[test]
    fn who_has_written_all_that_one_may_can_still_end_things_and_others_can_write() {
        let mut metadata = Metadata::default();
        let (adds, leaves) = (Record::Meta(collection()), Record::Meta(MetaRecord::Leave { grants: vec![] }));
        let most = limits::MAX_METADATA / limits::METADATA_RECORD;
        for generation in 1..=most as u64 {
            assert!(metadata.has_room(Some(0), core::slice::from_ref(&adds)), "{generation}");
            metadata.take(from(0, generation), &collection());
        }
        assert!(!metadata.has_room(Some(0), core::slice::from_ref(&adds)));
        assert!(!metadata.has_room(Some(0), &[leaves.clone(), adds.clone()]), "not under that cover");
        assert!(metadata.has_room(Some(0), core::slice::from_ref(&leaves)));
        assert!(metadata.has_room(Some(1), core::slice::from_ref(&adds)), "another author");
        assert!(metadata.has_room(None, &[adds]), "one of whom nothing is held");
        for generation in 0..(limits::METADATA_RESERVE / limits::METADATA_RECORD) as u64 {
            metadata.take(from(0, most as u64 + generation), &MetaRecord::Leave { grants: vec![] });
        }
        assert!(!metadata.has_room(Some(0), &[leaves]), "that has an end, too");
        assert!(metadata.has_room(Some(0), &[]), "rows are no metadata");
    }

    #[test]
    fn an_invitation_is_used_by_what_its_issuer_says_and_by_nobody_else() {
        let mut metadata = Metadata::default();
        let name = Name::new("device").unwrap();
        let by = |author: AuthorIx| {
            let request = Some(Used { invitation: [author as u8; 16], request: [9; 16] });
            let key = PublicKey([7; 32]);
            MetaRecord::Admit { key, name: name.clone(), rights: Rights::Read, ends: None, request }
        };
        let own = DeviceId([1; 16]);
        // 2 names an invitation of 1.
        metadata.reload(&own, from(2, 1), &by(1), false);
        assert!(!metadata.is_used(&[1; 16]));
        metadata.reload(&own, from(1, 1), &by(1), true);
        assert!(metadata.is_used(&[1; 16]), "even if it is void");
        assert!(metadata.is_granted(&[9; 16]));
    }

    #[test]
    fn who_lets_in_others_by_what_everybody_is_granted_reaches_a_bound_below_that_of_admins() {
        let mut metadata = Metadata::default();
        let key = PublicKey([7; 32]);
        let name = Name::new("device").unwrap();
        let admits = MetaRecord::Admit { key, name, rights: Rights::Read, ends: None, request: None };
        let record = Record::Meta(admits.clone());
        let mut admitted = 0;
        while metadata.has_room_to_let_in(Some(0), core::slice::from_ref(&record)) {
            admitted += 1;
            metadata.take(from(0, admitted), &admits);
        }
        assert!((500..5_000).contains(&admitted), "{admitted}");
        assert!(metadata.has_room(Some(0), core::slice::from_ref(&record)), "as an admin it may go on");
        assert!(metadata.has_room_to_let_in(Some(1), &[record]), "and so may others");
    }
}
