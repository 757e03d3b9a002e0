//! What an application can do with syncgroups (S-31).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::access::Left;
use super::group::{Group, GroupRecord, Stage};
use super::invitation::Whom;
use super::metadata::{Metadata, genesis};
use super::{Invitation, Rights, SyncgroupState, Terms, admission, open, publish, remove, spec, user};
use crate::action::{Notice, Outcome, Refusal};
use crate::event::Command;
use crate::hash;
use crate::id::{Address, Author, CollectionId, Name, SyncgroupId};
use crate::limits;
use crate::log::record::{MetaRecord, Record};
use crate::replica::plan::Plan;
use crate::replica::{Replica, Stop};
use crate::resolve::{Merge, Policy, Rule};
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
        Command::SetSchema { syncgroup, collection, rules } => {
            set_schema(plan, means, &syncgroup, collection, &Wanted::All(rules))
        }
        Command::ChangeSchema { syncgroup, collection, changes } => {
            set_schema(plan, means, &syncgroup, collection, &Wanted::Some(changes))
        }
        Command::Invite { syncgroup, rights, ends, valid_for, reusable, addresses } => {
            let group = active(plan.replica, &syncgroup)?;
            lies_ahead(means, ends)?;
            may_invite(plan.replica, group, Left::new(rights, ends))?;
            let terms = Terms {
                syncgroup,
                rights,
                expires: means.wall + valid_for,
                reusable,
                nonce: means.nonce,
                whom: Whom::Anybody,
                ends,
            };
            Ok(Outcome::Invited(invite(plan.replica, group, terms, addresses)?))
        }
        Command::Reissue => crate::replica::reissue::reissue(plan, means),
        Command::RotateKey(new) => crate::replica::rotate::rotate(plan, means, *new),
        Command::Pause { database, paused } => pause(plan, database, paused),
        Command::Join { database, invitation } => admission::join(plan, means, database, invitation, None),
        Command::JoinAs { database, invitation, certificate } => {
            admission::join(plan, means, database, invitation, Some(certificate))
        }
        Command::Leave { syncgroup } => remove::leave(plan, means, &syncgroup),
        Command::Eject { syncgroup, device } => remove::eject(plan, means, &syncgroup, device),
        Command::SetRights { syncgroup, device, rights, ends } => {
            lies_ahead(means, ends)?;
            remove::set_rights(plan, means, &syncgroup, device, Left::new(rights, ends))
        }
        Command::SetSpec { syncgroup, change, unless_changed } => {
            spec::set(plan, means, &syncgroup, change, unless_changed)
        }
        Command::Publish { syncgroup, device, rights, addresses } => {
            publish::publish(plan, means, (syncgroup, device), rights, addresses)
        }
        Command::Unpublish { syncgroup, device } => publish::unpublish(plan, means, (syncgroup, device)),
        Command::Decline { invitation } => decline(plan.replica, &invitation),
        Command::Destroy { syncgroup } => remove::destroy(plan, means, &syncgroup),
        Command::InviteDevice { syncgroup, user, valid_for, addresses } => {
            user::invite_device(plan, means, (syncgroup, user), valid_for, addresses)
        }
        Command::AdmitUser { syncgroup, user, name, rights, ends } => {
            lies_ahead(means, ends)?;
            user::set_rights(plan, means, &syncgroup, (user, name), Left::new(rights, ends))
        }
        Command::Open { syncgroup, rights, ends } => {
            lies_ahead(means, ends)?;
            open::set(plan, means, &syncgroup, Some(Left::new(rights, ends)))
        }
        Command::Close { syncgroup } => open::set(plan, means, &syncgroup, None),
        Command::EjectUser { syncgroup, user } => user::eject(plan, means, &syncgroup, user),
        Command::Enrol { syncgroup, certificate } => user::enrol(plan, means, &syncgroup, certificate),
        Command::StrikeOff { syncgroup, striking } => user::strike_off(plan, means, &syncgroup, striking),
        // Noted where conflicts are raised: nothing is stored.
        Command::Resolver { .. } => Ok(Outcome::ResolverNoted),
        Command::Resolve(resolution) => {
            crate::resolve::answer::resolve(plan, means.wall, means.nonce, resolution).map(Outcome::Written)
        }
        Command::Write(batch) => {
            crate::batch::write(plan, means.wall, means.nonce, batch).map(Outcome::Written)
        }
    }
}

/// Whether what shall end has an end that is still to come.
fn lies_ahead(means: &Means<'_>, ends: Option<Wall>) -> Result<(), Refusal> {
    match ends.filter(|ends| *ends <= means.wall) {
        Some(ends) => Err(Refusal::InThePast(ends)),
        None => Ok(()),
    }
}

/// Whether an offer may be declined; that it is, is noted where offers are kept: nothing is stored.
fn decline(replica: &Replica, invitation: &Invitation) -> Result<Outcome, Stop> {
    if invitation.device() != Some(replica.keys.device) {
        return Err(Refusal::Invitation("it is no offer to this device").into());
    }
    if !invitation.verify(&replica.keys) {
        return Err(Refusal::Invitation("its signature is wrong").into());
    }
    let id = invitation.syncgroup();
    match replica.group(&id).map(|group| (group, group.state(&replica.keys.device))) {
        Some((group, SyncgroupState::Joining | SyncgroupState::Pending | SyncgroupState::Active)) => {
            Err(Refusal::AlreadyHere(group.record.database.clone()).into())
        }
        _ => Ok(Outcome::Declined(id)),
    }
}

fn pause(plan: &mut Plan<'_>, database: Name, paused: bool) -> Result<Outcome, Stop> {
    let Replica { paused: known, limits, .. } = plan.replica;
    if known.contains(&database) != paused {
        // A database may have no syncgroup: something must bound how many names are kept.
        let limit = limits.syncgroups;
        if paused && known.len() >= limit {
            return Err(Refusal::Limit { what: "paused databases", limit }.into());
        }
        plan.set_paused(known.with(database, paused));
    }
    Ok(Outcome::PauseNoted)
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
    let genesis = genesis(name, means.nonce, replica.keys.first(), means.name.clone(), collections);
    let records: Vec<_> = genesis.into_iter().chain(plan.word_on_keys(ix)?).map(Record::Meta).collect();
    if !Metadata::default().has_room(None, &records) {
        let limit = limits::MAX_METADATA / limits::METADATA_RECORD;
        return Err(Refusal::Limit { what: "collections, made by one device", limit }.into());
    }
    let stamp = plan.next_stamp(means.wall);
    let encoded = plan.encode(ix, stamp, &records, None)?;
    if encoded.bytes.len() > limits::MAX_GENERATION {
        return Err(Refusal::BatchTooLarge { size: encoded.bytes.len() }.into());
    }
    let id = id_of(&replica.author(), &encoded.leaf);
    plan.set_record(ix, GroupRecord { id, database, stage: Stage::Active });
    plan.append_own(ix, &encoded, &records, Vec::new())?;
    plan.notice(Notice::Syncgroup { syncgroup: id, state: SyncgroupState::Active });
    Ok(Outcome::Created(id))
}

/// The id of the syncgroup that starts with this generation (S-30).
pub(crate) fn id_of(creator: &Author, leaf: &hash::Hash) -> SyncgroupId {
    let incarnation = creator.incarnation.0.to_be_bytes();
    hash::derive(hash::SYNCGROUP, &[&creator.device.0, &incarnation, &leaf.0]).into()
}

pub(super) fn new_group(replica: &Replica) -> Result<u32, Refusal> {
    let limit = replica.limits.syncgroups;
    if replica.groups.len() >= limit {
        return Err(Refusal::Limit { what: "syncgroups", limit });
    }
    Ok(replica.next_group())
}

pub(crate) fn active<'r>(replica: &'r Replica, id: &SyncgroupId) -> Result<&'r Group, Refusal> {
    let group = replica.group(id).ok_or(Refusal::NoSyncgroup(*id))?;
    match group.record.stage {
        Stage::Active => Ok(group),
        Stage::Joining(_) | Stage::Pending(_) => Err(Refusal::Pending),
        Stage::Removed => Err(over(replica, group, Rights::Read).unwrap_or(Refusal::NotMember)),
        _ => Err(Refusal::NotMember),
    }
}

/// Why this device may not do something any more that it may do otherwise: its time is over.
fn over(replica: &Replica, group: &Group, right: Rights) -> Option<Refusal> {
    let over = group.metadata.access.over_since(&replica.keys.device, right, replica.moment());
    over.map(Refusal::Expired)
}

pub(crate) fn require(
    replica: &Replica,
    group: &Group,
    right: Rights,
    to: &'static str,
) -> Result<(), Refusal> {
    match group.metadata.access.rights_when(&replica.keys.device, replica.moment()) {
        Some(rights) if rights >= right => Ok(()),
        Some(_) => Err(over(replica, group, right).unwrap_or(Refusal::Forbidden(to))),
        // Whatever it wanted to do: it could do something once.
        None => {
            let over = over(replica, group, right).or_else(|| over(replica, group, Rights::Read));
            Err(over.unwrap_or(Refusal::NotMember))
        }
    }
}

/// Whether this device may invite with so much: as an admin, or by what is granted to everybody.
fn may_invite(replica: &Replica, group: &Group, given: Left) -> Result<(), Refusal> {
    let (access, moment) = (&group.metadata.access, replica.moment());
    let is_member = access.rights_when(&replica.keys.device, moment).is_some();
    match require(replica, group, Rights::Admin, "invite") {
        Err(Refusal::Forbidden(_) | Refusal::Expired(_))
            if is_member && access.is_open_for(given, moment) =>
        {
            Ok(())
        }
        Err(Refusal::Forbidden(_)) if access.open_to_everybody().is_some() => Err(Refusal::NotOpen),
        other => other,
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

/// What a schema shall be.
enum Wanted {
    /// These rules and no others.
    All(Vec<Rule>),
    /// As it is, but for the rules of these prefixes.
    Some(BTreeMap<Bytes, Option<Policy>>),
}

impl Wanted {
    fn rules(&self, present: &[Rule]) -> Vec<Rule> {
        let changes = match self {
            Wanted::All(rules) => return rules.clone(),
            Wanted::Some(changes) => changes,
        };
        let others = present.iter().filter(|rule| !changes.contains_key(&rule.prefix)).cloned();
        let set = changes
            .iter()
            .filter_map(|(prefix, policy)| Some(Rule { prefix: prefix.clone(), policy: policy.clone()? }));
        others.chain(set).collect()
    }

    /// Whether the rule of a prefix is to be taken away if it is none of those that are wanted. One that does not
    /// count, as others came after it, is not among these, and may count again.
    fn takes_away(&self, prefix: &Bytes) -> bool {
        match self {
            Wanted::All(_) => true,
            Wanted::Some(changes) => changes.contains_key(prefix),
        }
    }
}

/// Writes what has to change for a collection's schema to be as wanted.
fn set_schema(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    syncgroup: &SyncgroupId,
    collection: Name,
    wanted: &Wanted,
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, syncgroup)?;
    require(plan.replica, group, Rights::Admin, "change the schema")?;
    let id = CollectionId::of(&collection);
    if group.metadata.collections().get(&id) != Some(&collection) {
        return Err(Refusal::NoCollection(collection).into());
    }
    let present = group.metadata.schemas().of(&id);
    let rules = check_rules(plan.replica, &present, wanted.rules(&present))?;
    let mut changes = group.metadata.schemas().changes(&id, rules);
    changes.retain(|(prefix, policy)| policy.is_some() || wanted.takes_away(prefix));
    if !changes.is_empty() {
        let record = |(prefix, policy)| Record::Meta(MetaRecord::Rule { collection: id, prefix, policy });
        let records: Vec<_> = changes.into_iter().map(record).collect();
        let stamp = plan.next_stamp(means.wall);
        plan.write(group.ix, stamp, &records, None)?;
    }
    Ok(Outcome::SchemaSet(id))
}

/// The policies by prefix, if they make a schema. What is `present` may stay, though this device does not know it.
fn check_rules(
    replica: &Replica,
    present: &[Rule],
    rules: Vec<Rule>,
) -> Result<BTreeMap<Bytes, Policy>, Refusal> {
    let refused = |why: String| Err(Refusal::Schema(why));
    if rules.len() > limits::MAX_RULES {
        return refused(format!(
            "it has {} rules, and at most {} are allowed",
            rules.len(),
            limits::MAX_RULES
        ));
    }
    let mut wanted = BTreeMap::new();
    for rule in rules {
        let is_new = !present.contains(&rule);
        let Rule { prefix, policy } = rule;
        if prefix.len() > limits::MAX_KEY {
            return refused(format!(
                "a prefix has {} bytes, and keys at most {}",
                prefix.len(),
                limits::MAX_KEY
            ));
        }
        if let Policy::Merge(Merge::Named(name)) = &policy
            && is_new
            && !replica.merges.0.iter().any(|merge| merge.name() == name.as_str())
        {
            return refused(format!("this device has no merge function \"{name}\"; register it first"));
        }
        if wanted.insert(prefix.clone(), policy).is_some() {
            return refused(format!("two rules are for the prefix \"{}\"", prefix.escape_ascii()));
        }
    }
    Ok(wanted)
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

pub(super) fn move_to(plan: &mut Plan<'_>, group: &Group, stage: Stage) {
    let own = &plan.replica.keys.device;
    let is_expired = plan.metadata(group.ix).is_some_and(|metadata| metadata.access.is_expired(own));
    let state = stage.state(is_expired);
    plan.set_record(group.ix, GroupRecord { stage, ..group.record.clone() });
    plan.notice(Notice::Syncgroup { syncgroup: group.record.id, state });
}
