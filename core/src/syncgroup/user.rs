//! What can be done with users (S-3): grants to them, and what they have signed.

use alloc::vec::Vec;

use super::access::{Holder, Left, end};
use super::command::{Means, active, require};
use super::group::Group;
use super::invitation::Whom;
use super::past::Past;
use super::remove::{Reach, write_ends};
use super::{Invitation, JoinRefusal, Rights, Terms};
use crate::action::{Outcome, Refusal};
use crate::crypto::Keys;
use crate::id::{Address, Author, Generation, Name, PublicKey, SyncgroupId, UserId};
use crate::limits;
use crate::log::record::{MetaRecord, Record, Used};
use crate::replica::Stop;
use crate::replica::plan::Plan;
use crate::time::{Millis, Wall};
use crate::user::{Certificate, StrikingOff};

/// Whether what users, and keys for others, have signed in a generation is signed by them. Nobody who checks that passes on what is not: so it
/// is the fault of whoever does (S-26).
pub(crate) fn verify(records: &[Record], syncgroup: &SyncgroupId, keys: &Keys) -> Result<(), &'static str> {
    records.iter().try_for_each(|record| match record {
        Record::Meta(MetaRecord::Enrol { certificate, .. }) if !certificate.verify(keys) => {
            Err("a certificate that its user did not sign")
        }
        Record::Meta(MetaRecord::StrikeOff(striking)) if !striking.verify(syncgroup, keys) => {
            Err("a striking-off that its user did not sign")
        }
        Record::Meta(MetaRecord::Fork(fork)) if !fork.is_proof(syncgroup, keys) => {
            Err("a fork that is not proven")
        }
        Record::Meta(MetaRecord::Rollover { chain, .. }) if !chain.verify(keys.scheme) => {
            Err("a key for which the one before did not sign")
        }
        _ => Ok(()),
    })
}

/// Makes an invitation for the devices of a user: whoever holds it, and shows a certificate of that user, is let in.
pub(super) fn invite_device(
    plan: &Plan<'_>,
    means: &Means<'_>,
    (syncgroup, user): (SyncgroupId, UserId),
    valid_for: Millis,
    addresses: Vec<Address>,
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, &syncgroup)?;
    require(plan.replica, group, Rights::Read, "invite devices")?;
    let rights = group.metadata.access.rights_of(&user).ok_or(Refusal::NoUser(user))?;
    let (expires, whom) = (means.wall + valid_for, Whom::DevicesOf(user));
    let ends = None; // Its certificates say that, and what is granted to the user.
    let terms = Terms { syncgroup, rights, expires, reusable: true, nonce: means.nonce, whom, ends };
    let name = group.metadata.name().cloned().ok_or(Refusal::Pending)?;
    let addresses = addresses.into_iter().take(limits::MAX_ADDRESSES).collect();
    Ok(Outcome::Invited(Invitation::sign(terms, name, addresses, &plan.replica.keys)))
}

/// Grants a user something, or other rights than it had.
pub(super) fn set_rights(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    syncgroup: &SyncgroupId,
    (key, name): (PublicKey, Name),
    wanted: Left,
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, syncgroup)?;
    require(plan.replica, group, Rights::Admin, "say what users may do")?;
    let user = key.user();
    let access = &group.metadata.access;
    let mut records = Vec::new();
    if !access.grants_above(Holder::User(user), Some(wanted)).is_empty() {
        records.push(revoke(plan, group, user, Some(wanted))?);
    }
    // What is lessened leaves all that is wanted where it had that much.
    let (rights, ends) = (wanted.rights, wanted.end());
    if !access.has_user(&user, wanted) {
        records.push(MetaRecord::AdmitUser { key, name, rights, ends, request: None });
    }
    write(plan, means, group, records)?;
    Ok(Outcome::UserRightsSet(*syncgroup, user, Some(rights)))
}

/// Ends all that was granted to a user.
pub(super) fn eject(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    syncgroup: &SyncgroupId,
    user: UserId,
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, syncgroup)?;
    require(plan.replica, group, Rights::Admin, "remove users")?;
    if group.metadata.access.present_of(&user).is_none() {
        return Err(Refusal::NoUser(user).into());
    }
    let record = revoke(plan, group, user, None)?;
    write(plan, means, group, [record])?;
    Ok(Outcome::UserRightsSet(*syncgroup, user, None))
}

fn revoke(plan: &Plan<'_>, group: &Group, user: UserId, keep: Option<Left>) -> Result<MetaRecord, Refusal> {
    let grants = Reach::new(plan, group).all_above(Holder::User(user), keep);
    let grants = grants.ok_or(Refusal::SeniorUser(user))?;
    let (keep, ends) = (keep.map(|keep| keep.rights), keep.and_then(Left::end));
    Ok(MetaRecord::RevokeUser { user, grants, keep, ends, until: written_by(plan, group, &user) })
}

/// The end of all that was granted to users and this device may end.
pub(super) fn all_ended(plan: &Plan<'_>, group: &Group, reach: &Reach<'_>) -> Vec<MetaRecord> {
    let access = &group.metadata.access;
    let ended = access.users().into_iter().filter_map(|it| {
        let (user, holder) = (it.user, Holder::User(it.user));
        let grants = reach.all_above(holder, None).filter(|grants| !grants.is_empty())?;
        let until = written_by(plan, group, &user);
        Some(MetaRecord::RevokeUser { user, grants, keep: None, ends: None, until })
    });
    ended.collect()
}

/// What is held of the logs of a user's devices.
fn written_by(plan: &Plan<'_>, group: &Group, user: &UserId) -> Vec<(Author, Generation)> {
    let authors = &plan.replica.authors;
    let logs = group.metadata.access.devices_of(user).flat_map(|device| {
        let own = group.written_by(device, authors).into_iter();
        own.map(|(incarnation, last)| (Author { device: *device, incarnation }, last))
    });
    logs.collect()
}

/// Writes down that a device is a user's.
pub(super) fn enrol(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    syncgroup: &SyncgroupId,
    certificate: Certificate,
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, syncgroup)?;
    require(plan.replica, group, Rights::Read, "enrol devices")?;
    let (user, device) = (certificate.user(), certificate.device());
    if end(certificate.ends()) < means.wall {
        return Err(Refusal::Certificate("its time is over; its user can make another one").into());
    }
    let record = enrolment(plan, group, certificate, None)?;
    write(plan, means, group, record)?;
    Ok(Outcome::Enrolled(*syncgroup, user, device))
}

/// What enrols a device of a user to whom something is granted; `None` if it is enrolled already.
fn enrolment(
    plan: &Plan<'_>,
    group: &Group,
    certificate: Certificate,
    request: Option<[u8; 16]>,
) -> Result<Option<MetaRecord>, Refusal> {
    let (user, device, number) = (certificate.user(), certificate.device(), certificate.number());
    let ends = end(certificate.ends());
    if !certificate.verify(&plan.replica.keys) {
        return Err(Refusal::Certificate("its user did not sign it"));
    }
    let access = &group.metadata.access;
    if access.rights_of(&user).is_none() {
        return Err(Refusal::NoUser(user));
    }
    if access.is_struck_off(&user, &device, number) {
        return Err(Refusal::Certificate("the device was struck off; its user can make another certificate"));
    }
    let record = MetaRecord::Enrol { certificate, request };
    Ok((!access.is_enrolled(&user, &device, number, ends)).then_some(record))
}

/// Writes down that a device is none of a user's any more.
pub(super) fn strike_off(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    syncgroup: &SyncgroupId,
    striking: StrikingOff,
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, syncgroup)?;
    require(plan.replica, group, Rights::Read, "pass on what a user has signed")?;
    let (user, device) = (striking.user(), striking.device);
    if !striking.verify(syncgroup, &plan.replica.keys) {
        let why = "the user did not sign the striking-off, or for another syncgroup";
        return Err(Refusal::Certificate(why).into());
    }
    let access = &group.metadata.access;
    if access.last_certificate(&user, &device).is_none() {
        return Err(Refusal::NoMember(device).into());
    }
    if !access.is_struck_off(&user, &device, striking.number) {
        write(plan, means, group, [MetaRecord::StrikeOff(striking)])?;
    }
    Ok(Outcome::StruckOff(*syncgroup, user, device))
}

/// What lets in a device that shows a certificate, and maybe its user in the same step.
pub(super) fn admission(
    plan: &Plan<'_>,
    group: &Group,
    (key, certificate): (&PublicKey, &Certificate),
    request: Used,
    (granted, may_enrol): (Result<Left, JoinRefusal>, Result<(), JoinRefusal>),
    wall: Wall,
) -> Result<Vec<MetaRecord>, JoinRefusal> {
    let (access, user) = (&group.metadata.access, certificate.user());
    let enrols = |has: bool| {
        let ends = end(certificate.ends());
        let is_there = access.is_enrolled(&user, &key.device(), certificate.number(), ends);
        let record = MetaRecord::Enrol { certificate: certificate.clone(), request: Some(request.request) };
        let with = (!has).then_some(user);
        let has_room = is_there || access.may_say(&everything(plan, group), &record, with);
        if has_room { Ok((!is_there).then_some(record)) } else { Err(JoinRefusal::Full) }
    };
    let is_struck_off = access.is_struck_off(&user, &key.device(), certificate.number());
    if certificate.device_key() != *key || !certificate.verify(&plan.replica.keys) || is_struck_off {
        return Err(JoinRefusal::NotValid);
    }
    let has = access.rights_of(&user);
    // Who asks as the device of a user that means nothing here learns of nothing, not even of the time (S-34).
    if end(certificate.ends()) < wall {
        let may_know = granted.is_ok() || has.is_some();
        return Err(if may_know { JoinRefusal::Expired } else { JoinRefusal::NotValid });
    }
    match granted {
        Ok(given) if !access.has_user(&user, given) => {
            let (key, name) = (certificate.user_key(), certificate.user_name().clone());
            let (rights, ends) = (given.rights, given.end());
            let admit = MetaRecord::AdmitUser { key, name, rights, ends, request: Some(request) };
            Ok(core::iter::once(admit).chain(enrols(has.is_some())?).collect())
        }
        // What the user has already is enough, and the certificate is all that it takes.
        _ if has.is_some() => may_enrol.and_then(|()| Ok(enrols(true)?.into_iter().collect())),
        Ok(_) => Err(JoinRefusal::NotValid),
        Err(refusal) => Err(refusal),
    }
}

/// All metadata that is held.
pub(super) fn everything(plan: &Plan<'_>, group: &Group) -> Past {
    let mut all = Past::default();
    for log in group.logs.values() {
        plan.pasts(group.ix).iter().for_each(|pasts| all.join(pasts.get(log.past)));
    }
    all
}

/// Writes records, if there are any to be written.
fn write(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    group: &Group,
    records: impl IntoIterator<Item = MetaRecord>,
) -> Result<(), Stop> {
    let records: Vec<MetaRecord> = records.into_iter().collect();
    if records.is_empty() {
        return Ok(());
    }
    let (access, past) = (&group.metadata.access, everything(plan, group));
    if let Some(record) = records.iter().find(|record| !access.may_say(&past, record, None)) {
        let of_all = ("certificates of all users", limits::MAX_ENROLMENTS);
        let of_user = ("certificates and strikings-off of a user", limits::MAX_ENROLMENTS_OF_USER);
        let is_full = matches!(record, MetaRecord::Enrol { .. }) && access.is_full(&past);
        let (what, limit) = if is_full { of_all } else { of_user };
        return Err(Refusal::Limit { what, limit }.into());
    }
    write_ends(plan, group, means.wall, records)
}
