//! What an application can do with syncgroups (S-31), and what an admin does for those who ask to join.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::group::{Admitted, Asking, Group, GroupRecord, Stage};
use super::metadata::{Metadata, genesis};
use super::{Invitation, JoinRefusal, Rights, Terms, remove, spec, user};
use crate::action::{Notice, Outcome, Refusal};
use crate::event::Command;
use crate::hash;
use crate::id::{
    Address, Author, CollectionId, DeviceId, Generation, Incarnation, Name, PublicKey, SyncgroupId, Version,
};
use crate::limits;
use crate::log::record::{MetaRecord, Record, Used};
use crate::replica::plan::Plan;
use crate::replica::{Replica, Stop};
use crate::resolve::{Merge, Policy, Rule};
use crate::store::Fault;
use crate::store::key::GroupIx;
use crate::time::{Now, Wall};
use crate::user::Certificate;

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
        Command::Invite { syncgroup, rights, valid_for, reusable, addresses } => {
            let group = active(plan.replica, &syncgroup)?;
            require(plan.replica, group, Rights::Admin, "invite")?;
            let terms = Terms {
                syncgroup,
                rights,
                expires: means.wall + valid_for,
                reusable,
                nonce: means.nonce,
                user: None,
            };
            Ok(Outcome::Invited(invite(plan.replica, group, terms, addresses)?))
        }
        Command::Pause { database, paused } => pause(plan, database, paused),
        Command::Join { database, invitation } => join(plan, means, database, invitation, None),
        Command::JoinAs { database, invitation, certificate } => {
            join(plan, means, database, invitation, Some(certificate))
        }
        Command::Leave { syncgroup } => remove::leave(plan, means, &syncgroup),
        Command::Eject { syncgroup, device } => remove::eject(plan, means, &syncgroup, device),
        Command::SetRights { syncgroup, device, rights } => {
            remove::set_rights(plan, means, &syncgroup, device, rights)
        }
        Command::SetSpec { syncgroup, change, unless_changed } => {
            spec::set(plan, means, &syncgroup, change, unless_changed)
        }
        Command::Destroy { syncgroup } => remove::destroy(plan, means, &syncgroup),
        Command::InviteDevice { syncgroup, user, valid_for, addresses } => {
            user::invite_device(plan, means, (syncgroup, user), valid_for, addresses)
        }
        Command::AdmitUser { syncgroup, user, name, rights } => {
            user::set_rights(plan, means, &syncgroup, (user, name), rights)
        }
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
    let records: Vec<_> = genesis(name, means.nonce, replica.keys.public, means.name.clone(), collections)
        .into_iter()
        .map(Record::Meta)
        .collect();
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

pub(super) fn active<'r>(replica: &'r Replica, id: &SyncgroupId) -> Result<&'r Group, Refusal> {
    let group = replica.group(id).ok_or(Refusal::NoSyncgroup(*id))?;
    match group.record.stage {
        Stage::Active => Ok(group),
        Stage::Joining(_) | Stage::Pending(_) => Err(Refusal::Pending),
        _ => Err(Refusal::NotMember),
    }
}

pub(super) fn require(
    replica: &Replica,
    group: &Group,
    right: Rights,
    to: &'static str,
) -> Result<(), Refusal> {
    match group.metadata.access.rights(&replica.keys.device) {
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

fn join(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    database: Name,
    invitation: Invitation,
    certificate: Option<Box<Certificate>>,
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
    match (&certificate, invitation.user()) {
        (None, Some(_)) => {
            return Err(Refusal::Invitation("it is for the devices of a user; show a certificate").into());
        }
        (Some(it), Some(user)) if it.user() != user => {
            return Err(Refusal::Invitation("it is for the devices of another user").into());
        }
        (Some(it), _) if it.device_key() != replica.keys.public => {
            return Err(Refusal::Certificate("it is for another device").into());
        }
        (Some(it), _) if !it.verify(&replica.keys) => {
            return Err(Refusal::Certificate("its user did not sign it").into());
        }
        _ => {}
    }
    let known = replica.group(&id);
    let asking = Asking { invitation, nonce: means.nonce, certificate };
    let (ix, stage) = match known.map(|group| (group, &group.record.stage)) {
        None => (new_group(replica)?, Stage::Joining(alloc::vec![asking])),
        Some((group, Stage::Active | Stage::Pending(_))) => {
            return Err(Refusal::AlreadyHere(group.record.database.clone()).into());
        }
        // It is still a member: it only need not leave.
        Some((group, Stage::Leaving(admitted))) => (group.ix, Stage::Pending(admitted.clone())),
        // What has been withdrawn is asked for no more; what is here already stays.
        Some((group, Stage::Withdrawing(_))) => (group.ix, Stage::Joining(alloc::vec![asking])),
        Some((group, stage)) => (group.ix, Stage::Joining(beside(stage.requests(), asking)?)),
    };
    let database = known.map_or(database, |group| group.record.database.clone());
    let state = stage.state();
    plan.set_record(ix, GroupRecord { id, database, stage });
    plan.notice(Notice::Syncgroup { syncgroup: id, state });
    Ok(Outcome::Joining(id))
}

/// A request with those before it that have not been answered: they may be granted yet. One by the same invitation is
/// the same request.
fn beside(earlier: &[Asking], asking: Asking) -> Result<Vec<Asking>, Refusal> {
    let mut all = earlier.to_vec();
    let same = all.iter().position(|it| it.invitation.terms.nonce == asking.invitation.terms.nonce);
    let nonce = same.map_or(asking.nonce, |at| all.remove(at).nonce);
    if all.len() >= limits::MAX_REQUESTS {
        return Err(Refusal::Limit { what: "requests to join", limit: limits::MAX_REQUESTS });
    }
    all.push(Asking { nonce, ..asking });
    Ok(all)
}

pub(super) fn move_to(plan: &mut Plan<'_>, group: &Group, stage: Stage) {
    let state = stage.state();
    plan.set_record(group.ix, GroupRecord { stage, ..group.record.clone() });
    plan.notice(Notice::Syncgroup { syncgroup: group.record.id, state });
}

/// What a device asks of the issuer of an invitation.
pub(crate) struct Request<'r> {
    pub(crate) asking: &'r Asking,
    /// What it calls itself.
    pub(crate) name: Name,
    /// It has given up, and only wants to know whether it is a member.
    pub(crate) withdraw: bool,
    /// What it has written in the syncgroup before.
    pub(crate) wrote: Vec<(Incarnation, Generation)>,
}

/// What a newcomer must hold to be complete, or why it is not admitted (S-32).
pub(crate) type Answer = Result<Vec<(Author, Generation)>, JoinRefusal>;

/// The answer to a request: an admin's, or of a member that a device of a user asks. Whether the syncgroup is here is
/// told only to those who show an invitation of one of its admins, or are what a member's says. No answer while
/// something is missing that the asker wrote: it may have left.
pub(crate) fn admit(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    key: &PublicKey,
    request: Request<'_>,
) -> Result<Option<Answer>, Stop> {
    let replica = plan.replica;
    let Request { asking: Asking { invitation, nonce, certificate }, name, withdraw, wrote } = request;
    let (terms, device) = (&invitation.terms, key.device());
    let unknown = Ok(Some(Err(JoinRefusal::NotValid)));
    let Some(group) = replica.group(&terms.syncgroup).filter(|group| group.is_shared()) else {
        return unknown;
    };
    if !invitation.verify(&replica.keys) {
        return unknown;
    }
    let is_missing = |(incarnation, last): &(Incarnation, Generation)| {
        plan.held(group.ix, &Author { device, incarnation: *incarnation }) < *last
    };
    if group.metadata.access.rights(&device).is_some() && wrote.iter().any(is_missing) {
        return Ok(None);
    }
    let had = group.metadata.access.rights(&device);
    let is_admin = |device: &DeviceId| group.metadata.access.rights(device) == Some(Rights::Admin);
    // A request that was granted once is an old copy, whatever has happened since.
    let is_old = group.metadata.is_used(nonce);
    let access = &group.metadata.access;
    let may_answer = group.record.stage == Stage::Active
        && access.rights(&replica.keys.device).is_some()
        && !withdraw
        && !is_old;
    let may_admit = may_answer
        && terms.user.is_none()
        && is_admin(&invitation.issuer.device())
        && is_admin(&replica.keys.device);
    let is_time = |may: bool| match may {
        false => Err(JoinRefusal::NotValid),
        true if terms.expires <= means.wall => Err(JoinRefusal::Expired),
        true if group.logs.len() >= replica.limits.authors => Err(JoinRefusal::Full),
        true => Ok(()),
    };
    let is_used = !terms.reusable && group.metadata.is_used(&terms.nonce);
    // What the invitation gives, as long as it does.
    let granted = is_time(may_admit).and(if is_used { Err(JoinRefusal::Used) } else { Ok(terms.rights) });
    let request = Used { invitation: terms.nonce, request: *nonce };
    let records = match certificate {
        Some(it) if terms.user.is_some_and(|user| user != it.user()) => Err(JoinRefusal::NotValid),
        Some(it) => user::admission(plan, group, (key, it), request, (granted, is_time(may_answer))),
        None if granted.is_ok_and(|rights| had >= Some(rights)) => Err(JoinRefusal::NotValid),
        None => granted
            .map(|rights| alloc::vec![MetaRecord::Admit { key: *key, name, rights, request: Some(request) }]),
    };
    match records {
        // A member is one, whatever became of the invitation: the answer to an earlier request got lost.
        Err(refusal) if had.is_none() => return Ok(Some(Err(refusal))),
        Ok(records) if !records.is_empty() => {
            let notice = |version| admitted(terms.syncgroup, device, &records, version);
            let all: Vec<_> = records.iter().cloned().map(Record::Meta).collect();
            if !group.metadata.has_room(plan.author_ix(&replica.author()), &all) {
                return Ok(Some(Err(JoinRefusal::Full)));
            }
            let stamp = plan.next_stamp(means.wall);
            let version = plan.write(group.ix, stamp, &all, None)?;
            plan.notice(notice(version));
        }
        _ => {}
    }
    Ok(Some(Ok(vector(plan, group))))
}

/// What is told of an admission.
fn admitted(syncgroup: SyncgroupId, device: DeviceId, records: &[MetaRecord], version: Version) -> Notice {
    let (mut user, mut number, mut granted) = (None, None, None);
    for record in records {
        match record {
            MetaRecord::AdmitUser { key, rights, .. } => (user, granted) = (Some(key.user()), Some(*rights)),
            MetaRecord::Enrol { certificate: it, .. } => {
                (user, number) = (Some(it.user()), Some(it.number()));
            }
            _ => {}
        }
    }
    match user {
        Some(user) => Notice::Enrolled { syncgroup, user, device, number, granted, version },
        None => Notice::Admitted { syncgroup, device, version },
    }
}

/// What is held of a syncgroup, with what is being planned.
fn vector(plan: &Plan<'_>, group: &Group) -> Vec<(Author, Generation)> {
    let own = plan.replica.author();
    let others = group.logs.keys().map(|ix| plan.author(*ix)).filter(|author| *author != own);
    let authors = others.chain([own]);
    let mut vector: Vec<_> = authors.map(|author| (author, plan.held(group.ix, &author))).collect();
    vector.sort();
    vector
}

/// A request was answered.
pub(crate) fn answered(
    plan: &mut Plan<'_>,
    group: &Group,
    asking: &Asking,
    answer: Answer,
    wall: Wall,
) -> Result<(), Fault> {
    let (by, stage) = (asking.invitation.issuer().device(), &group.record.stage);
    let others = || stage.requests().iter().filter(|it| it.nonce != asking.nonce).cloned().collect();
    let is_latest = stage.requests().last().is_some_and(|last| last.nonce == asking.nonce);
    match (answer, stage) {
        (Ok(vector), Stage::Withdrawing(_)) => {
            return arrive(plan, group, Stage::Leaving(Admitted { by, vector }), wall);
        }
        (Ok(vector), _) => return arrive(plan, group, Stage::Pending(Admitted { by, vector }), wall),
        (Err(_), Stage::Withdrawing(all)) if all.len() == 1 => move_to(plan, group, Stage::Left),
        (Err(refusal), Stage::Joining(_)) if is_latest => {
            move_to(plan, group, Stage::Refused(refusal, others()));
        }
        // Nobody need hear of it, as another one is waited for, or the latest was refused already.
        (Err(_), stage) => {
            let stage = match stage {
                Stage::Withdrawing(_) => Stage::Withdrawing(others()),
                Stage::Refused(refusal, _) => Stage::Refused(*refusal, others()),
                _ => Stage::Joining(others()),
            };
            plan.set_record(group.ix, GroupRecord { stage, ..group.record.clone() });
        }
    }
    Ok(())
}

/// Shows what need not wait any more, and moves on where a syncgroup has become complete by what was planned.
pub(crate) fn settle(plan: &mut Plan<'_>, now: Now) -> Result<(), Fault> {
    // Who turns out to be a member reads from now on: what it sees from now on it sees whole.
    let touched: Vec<_> = plan.touched().collect();
    for ix in touched {
        find_admission(plan, ix);
        remove::find_return(plan, ix);
    }
    plan.release(now.mono)?;
    let touched: Vec<_> = plan.touched().collect();
    for ix in touched {
        complete(plan, ix, now.wall)?;
        remove::find_removal(plan, ix);
    }
    Ok(())
}

/// The admission of this device may come from others before the answer to its request, or without one: whoever gave it
/// may be gone.
fn find_admission(plan: &mut Plan<'_>, ix: GroupIx) {
    let Some(group) = plan.replica.groups.get(&ix) else { return };
    let stage = plan.record(ix).map(|record| record.stage.clone());
    let Some((stage, metadata)) = stage.zip(plan.metadata(ix)) else { return };
    if !stage.may_be_admitted() {
        return;
    }
    let grants = metadata.access.grants(&plan.replica.keys.device).into_iter();
    let vector: Vec<_> = grants.map(|grant| (grant.author, grant.generation)).collect();
    let is_leaving = stage.withdraws();
    if let Some((author, _)) = vector.first() {
        let admitted = Admitted { by: author.device, vector };
        move_to(plan, group, if is_leaving { Stage::Leaving(admitted) } else { Stage::Pending(admitted) });
    }
}

/// A syncgroup may have become complete here (S-32).
fn complete(plan: &mut Plan<'_>, ix: GroupIx, wall: Wall) -> Result<(), Fault> {
    let Some(group) = plan.replica.groups.get(&ix) else { return Ok(()) };
    match plan.record(ix).map(|record| &record.stage) {
        Some(Stage::Pending(admitted)) if is_here(plan, ix, admitted) => move_to(plan, group, Stage::Active),
        Some(Stage::Leaving(admitted)) if is_here(plan, ix, admitted) => {
            remove::finish_leave(plan, group, wall)?;
        }
        // Somebody gave it a right that did not know that it leaves.
        Some(Stage::Departing | Stage::Left) if is_member(plan, ix) => {
            remove::finish_leave(plan, group, wall)?;
        }
        _ => {}
    }
    Ok(())
}

fn is_member(plan: &Plan<'_>, ix: GroupIx) -> bool {
    let own = &plan.replica.keys.device;
    plan.metadata(ix).is_some_and(|metadata| metadata.access.rights(own).is_some())
}

/// Moves to a stage, or past it if what it waits for is here.
fn arrive(plan: &mut Plan<'_>, group: &Group, stage: Stage, wall: Wall) -> Result<(), Fault> {
    match &stage {
        Stage::Pending(admitted) if is_here(plan, group.ix, admitted) => move_to(plan, group, Stage::Active),
        Stage::Leaving(admitted) if is_here(plan, group.ix, admitted) => {
            remove::finish_leave(plan, group, wall)?;
        }
        _ => move_to(plan, group, stage),
    }
    Ok(())
}

/// Whether all is shown that there was at admission: this device's own generations build on it.
fn is_here(plan: &Plan<'_>, ix: GroupIx, admitted: &Admitted) -> bool {
    let shown = |author| plan.author_ix(author).map_or(0, |author| plan.last_shown(ix, author));
    admitted.vector.iter().all(|(author, last)| shown(author) >= *last)
}
