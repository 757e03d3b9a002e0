//! What an application can do with syncgroups (S-31), and what an admin does for those who ask to join.

use alloc::vec::Vec;

use super::group::{Group, GroupRecord, Stage};
use super::metadata::genesis;
use super::{Invitation, JoinRefusal, Rights, Terms};
use crate::action::{Notice, Outcome, Refusal};
use crate::event::Command;
use crate::hash;
use crate::id::{Address, Author, CollectionId, Generation, Name, PublicKey, SyncgroupId};
use crate::limits;
use crate::log::record::{MetaRecord, Record};
use crate::replica::plan::Plan;
use crate::replica::{Replica, Stop};
use crate::time::Wall;

/// What a command may use besides the replica.
pub(crate) struct Means<'m> {
    pub(crate) wall: Wall,
    /// Fresh random bytes.
    pub(crate) nonce: [u8; 16],
    /// What this device calls itself.
    pub(crate) name: &'m Name,
}

/// Plans a command; batches are planned elsewhere.
pub(crate) fn run(plan: &mut Plan<'_>, means: &Means<'_>, command: Command) -> Result<Outcome, Stop> {
    match command {
        Command::CreateSyncgroup { database, name, collections } => {
            create(plan, means, database, name, collections)
        }
        Command::CreateCollection { syncgroup, collection } => {
            create_collection(plan, means, &syncgroup, collection)
        }
        Command::Invite { syncgroup, rights, valid_for, reusable, addresses } => {
            let group = active(plan.replica, &syncgroup)?;
            require(plan.replica, group, Rights::Admin, "invite")?;
            let terms =
                Terms { syncgroup, rights, expires: means.wall + valid_for, reusable, nonce: means.nonce };
            Ok(Outcome::Invited(invite(plan.replica, group, terms, addresses)?))
        }
        Command::Join { database, invitation } => join(plan, means, database, invitation),
        Command::Leave { syncgroup } => leave(plan, means, &syncgroup),
        Command::Write(batch) => {
            crate::batch::write(plan, means.wall, means.nonce, batch).map(Outcome::Written)
        }
    }
}

fn create(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    database: Name,
    name: Name,
    collections: Vec<Name>,
) -> Result<Outcome, Stop> {
    let ix = new_group(plan.replica)?;
    let replica = plan.replica;
    let records: Vec<_> = genesis(name, means.nonce, replica.keys.public, means.name.clone(), collections)
        .into_iter()
        .map(Record::Meta)
        .collect();
    let stamp = plan.next_stamp(means.wall);
    let encoded = plan.encode(ix, stamp, &records, None)?;
    if encoded.bytes.len() > limits::MAX_GENERATION {
        return Err(Refusal::BatchTooLarge { size: encoded.bytes.len() }.into());
    }
    let id = id_of(&replica.author(), &encoded.leaf);
    plan.set_record(ix, GroupRecord { id, database, stage: Stage::Active });
    plan.append_own(ix, &encoded, &records)?;
    plan.notice(Notice::Syncgroup { syncgroup: id, state: Stage::Active.state() });
    Ok(Outcome::Created(id))
}

/// The id of the syncgroup that starts with this generation (S-30).
pub(crate) fn id_of(creator: &Author, leaf: &hash::Hash) -> SyncgroupId {
    let incarnation = creator.incarnation.0.to_be_bytes();
    hash::derive(hash::SYNCGROUP, &[&creator.device.0, &incarnation, &leaf.0]).into()
}

fn new_group(replica: &Replica) -> Result<u32, Refusal> {
    let limit = replica.limits.syncgroups;
    if replica.groups.len() >= limit {
        return Err(Refusal::Limit { what: "syncgroups", limit });
    }
    Ok(replica.next_group())
}

fn active<'r>(replica: &'r Replica, id: &SyncgroupId) -> Result<&'r Group, Refusal> {
    let group = replica.group(id).ok_or(Refusal::NoSyncgroup(*id))?;
    match group.record.stage {
        Stage::Active => Ok(group),
        Stage::Joining(_) | Stage::Pending(_) => Err(Refusal::Pending),
        Stage::Left | Stage::Refused(_) => Err(Refusal::NotMember),
    }
}

fn require(replica: &Replica, group: &Group, right: Rights, to: &'static str) -> Result<(), Refusal> {
    match group.metadata.rights(&replica.keys.device) {
        None => Err(Refusal::NotMember),
        Some(rights) if rights >= right => Ok(()),
        Some(_) => Err(Refusal::Forbidden(to)),
    }
}

fn create_collection(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    syncgroup: &SyncgroupId,
    name: Name,
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, syncgroup)?;
    require(plan.replica, group, Rights::Admin, "add collections")?;
    let id = CollectionId::of(&name);
    if !group.metadata.collections().contains_key(&id) {
        let stamp = plan.next_stamp(means.wall);
        plan.write(group.ix, stamp, &[Record::Meta(MetaRecord::Collection { name })], None)?;
    }
    Ok(Outcome::CollectionCreated(id))
}

fn invite(
    replica: &Replica,
    group: &Group,
    terms: Terms,
    mut addresses: Vec<Address>,
) -> Result<Invitation, Refusal> {
    let name = group.metadata.name().cloned().ok_or(Refusal::Pending)?;
    addresses.truncate(limits::MAX_ADDRESSES);
    Ok(Invitation::sign(terms, name, addresses, &replica.keys))
}

fn join(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    database: Name,
    invitation: Invitation,
) -> Result<Outcome, Stop> {
    let replica = plan.replica;
    let id = invitation.syncgroup();
    if !invitation.verify(&replica.keys) {
        return Err(Refusal::Invitation("its signature is wrong").into());
    }
    if invitation.issuer.device() == replica.keys.device {
        return Err(Refusal::Invitation("this device made it; use it on another device").into());
    }
    if invitation.expires() <= means.wall {
        return Err(Refusal::Invitation("it has expired; ask for a new one").into());
    }
    let known = replica.group(&id);
    let ix = match known {
        None => new_group(replica)?,
        Some(group) => match group.record.stage {
            Stage::Active | Stage::Pending(_) => {
                return Err(Refusal::AlreadyHere(group.record.database.clone()).into());
            }
            // A new invitation takes the place of the old one; what is here already stays.
            Stage::Joining(_) | Stage::Left | Stage::Refused(_) => group.ix,
        },
    };
    let database = known.map_or(database, |group| group.record.database.clone());
    plan.set_record(ix, GroupRecord { id, database, stage: Stage::Joining(invitation) });
    plan.notice(Notice::Syncgroup { syncgroup: id, state: super::SyncgroupState::Joining });
    Ok(Outcome::Joining(id))
}

fn leave(plan: &mut Plan<'_>, means: &Means<'_>, syncgroup: &SyncgroupId) -> Result<Outcome, Stop> {
    let replica = plan.replica;
    let group = replica.group(syncgroup).ok_or(Refusal::NoSyncgroup(*syncgroup))?;
    let device = replica.keys.device;
    match group.record.stage {
        Stage::Left => return Ok(Outcome::Left(*syncgroup)),
        Stage::Pending(_) => return Err(Refusal::Pending.into()),
        Stage::Joining(_) | Stage::Refused(_) => {}
        Stage::Active => {
            let others = || group.metadata.joined().filter(|(member, _)| **member != device);
            let is_admin = group.metadata.rights(&device) == Some(Rights::Admin);
            if is_admin && others().count() > 0 && !others().any(|(_, rights)| rights == Rights::Admin) {
                return Err(Refusal::LastAdmin.into());
            }
            let stamp = plan.next_stamp(means.wall);
            let grants = group.metadata.grants(&device);
            plan.write(group.ix, stamp, &[Record::Meta(MetaRecord::Leave { grants })], None)?;
        }
    }
    plan.set_record(group.ix, GroupRecord { stage: Stage::Left, ..group.record.clone() });
    plan.notice(Notice::Syncgroup { syncgroup: *syncgroup, state: super::SyncgroupState::Left });
    Ok(Outcome::Left(*syncgroup))
}

/// An admin's answer to a request to join: what the newcomer must hold to be complete, or why not (S-32).
/// Whether the syncgroup is here is told only to those who show an invitation of one of its admins.
pub(crate) fn admit(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    key: &PublicKey,
    name: Name,
    invitation: &Invitation,
) -> Result<Result<Vec<(Author, Generation)>, JoinRefusal>, Stop> {
    let replica = plan.replica;
    let (terms, device) = (&invitation.terms, key.device());
    let Ok(group) = active(replica, &terms.syncgroup) else { return Ok(Err(JoinRefusal::NotValid)) };
    let is_admin = |device: &crate::id::DeviceId| group.metadata.rights(device) == Some(Rights::Admin);
    if !invitation.verify(&replica.keys)
        || !is_admin(&invitation.issuer.device())
        || !is_admin(&replica.keys.device)
    {
        return Ok(Err(JoinRefusal::NotValid));
    }
    let used_by = group.metadata.used_by(&terms.nonce);
    let had = group.metadata.rights(&device);
    // Asked again by whom it already served: the answer got lost.
    let is_repeat = used_by == Some(&device) && had >= Some(terms.rights);
    if !is_repeat {
        if terms.expires <= means.wall {
            return Ok(Err(JoinRefusal::Expired));
        }
        if !terms.reusable && used_by.is_some() {
            return Ok(Err(JoinRefusal::Used));
        }
        if group.logs.len() >= replica.limits.authors {
            return Ok(Err(JoinRefusal::Full));
        }
        let invitation = Some(terms.nonce);
        let record = MetaRecord::Admit { key: *key, name, rights: terms.rights, invitation };
        let stamp = plan.next_stamp(means.wall);
        let version = plan.write(group.ix, stamp, &[Record::Meta(record)], None)?;
        plan.notice(Notice::Admitted { syncgroup: terms.syncgroup, device, version });
    }
    Ok(Ok(vector(plan, group)))
}

/// What is held of a syncgroup, with what is being planned.
fn vector(plan: &Plan<'_>, group: &Group) -> Vec<(Author, Generation)> {
    let own = plan.replica.author();
    let mut vector: Vec<_> = group
        .logs
        .keys()
        .map(|ix| plan.author(*ix))
        .filter(|author| *author != own)
        .map(|author| (author, plan.held(group.ix, &author)))
        .collect();
    vector.push((own, plan.held(group.ix, &own)));
    vector.sort();
    vector
}

/// A request to join was answered.
pub(crate) fn answered(
    plan: &mut Plan<'_>,
    group: &Group,
    answer: Result<Vec<(Author, Generation)>, JoinRefusal>,
) {
    let stage = match answer {
        Ok(vector) => {
            let complete = vector.iter().all(|(author, last)| plan.held(group.ix, author) >= *last);
            if complete { Stage::Active } else { Stage::Pending(vector) }
        }
        Err(refusal) => Stage::Refused(refusal),
    };
    let state = stage.state();
    plan.set_record(group.ix, GroupRecord { stage, ..group.record.clone() });
    plan.notice(Notice::Syncgroup { syncgroup: group.record.id, state });
}

/// Ends the pending state of a syncgroup that has become complete (S-32).
pub(crate) fn complete(plan: &mut Plan<'_>, group: &Group) {
    let Stage::Pending(vector) = &group.record.stage else { return };
    if vector.iter().all(|(author, last)| plan.held(group.ix, author) >= *last) {
        plan.set_record(group.ix, GroupRecord { stage: Stage::Active, ..group.record.clone() });
        let state = super::SyncgroupState::Active;
        plan.notice(Notice::Syncgroup { syncgroup: group.record.id, state });
    }
}
