//! What a syncgroup's log says about the syncgroup: its name, its collections, who may do what.
//!
//! All of it are facts that only add up, each named by its version, so they merge without an ancestor and in any
//! order (S-20). Who may do what is in [`super::access`], what becomes of conflicts in [`crate::resolve::schema`].

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Rights;
use super::access::{Access, Source};
use crate::id::{CollectionId, Name, PublicKey};
use crate::log::record::MetaRecord;
use crate::object::history::Place;
use crate::resolve::schema::Schemas;

/// A syncgroup's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    name: Option<Name>,
    collections: BTreeMap<CollectionId, Name>,
    pub(crate) access: Access,
    schemas: Schemas,
    /// The generations that say something of schemas.
    ruled: BTreeSet<Place>,
    /// Nonces of invitations and requests that were used.
    used: BTreeSet<[u8; 16]>,
}

impl Metadata {
    /// Takes in what is true whether or not the generation that says it is valid. Says whether that has to be judged
    /// again. A collection is there once anybody who was allowed to has added it, even if that became void: others
    /// may have rows in it.
    pub(crate) fn take(&mut self, from: Source, record: &MetaRecord) -> bool {
        match record {
            MetaRecord::Genesis { name, .. } => self.name = Some(name.clone()),
            MetaRecord::Admit { request, .. } | MetaRecord::AdmitUser { request, .. } => {
                self.used.extend(request.iter().flat_map(|used| [used.invitation, used.request]));
            }
            MetaRecord::Collection { name } => {
                self.collections.insert(CollectionId::of(name), name.clone());
            }
            MetaRecord::Rule { .. } => {
                self.ruled.insert(from.place);
            }
            MetaRecord::Enrol { request, .. } => self.used.extend(request),
            MetaRecord::Leave { .. }
            | MetaRecord::Revoke { .. }
            | MetaRecord::RevokeUser { .. }
            | MetaRecord::StrikeOff(_) => {}
        }
        self.access.take(from, record)
    }

    /// Takes in the rules of a generation that is valid.
    pub(crate) fn rule(&mut self, from: Source, record: &MetaRecord) {
        if let MetaRecord::Rule { collection, prefix, policy } = record {
            self.schemas.set(*collection, prefix, policy.as_ref(), (from.stamp, from.version()));
        }
    }

    /// Forgets all rules, as those of other generations count now; and says which generations say something of them.
    pub(crate) fn forget_rules(&mut self) -> Vec<Place> {
        self.schemas = Schemas::default();
        self.ruled.iter().copied().collect()
    }

    /// What becomes of conflicts.
    pub(crate) fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// What members call the syncgroup; `None` before its genesis is here.
    pub(crate) fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    pub(crate) fn collections(&self) -> &BTreeMap<CollectionId, Name> {
        &self.collections
    }

    /// Whether an invitation or a request has led to an admission.
    pub(crate) fn is_used(&self, nonce: &[u8; 16]) -> bool {
        self.used.contains(nonce)
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
