//! How membership ends: by leaving, by being removed, for all at once (S-31, S-35).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::Rights;
use super::access::{Holder, Left, Rank};
use super::command::{Means, active, move_to, require};
use super::group::{Group, GroupRecord, Stage};
use super::user;
use crate::action::{Outcome, Refusal};
use crate::id::{DeviceId, SyncgroupId, Version};
use crate::limits;
use crate::log::record::{MetaRecord, Record};
use crate::object::history::Place;
use crate::replica::Stop;
use crate::replica::plan::Plan;
use crate::store::Fault;
use crate::store::key::GroupIx;
use crate::time::Wall;

/// Removes a member, or a device that has left: a copy of it may not know.
pub(super) fn eject(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    syncgroup: &SyncgroupId,
    device: DeviceId,
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, syncgroup)?;
    require(plan.replica, group, Rights::Admin, "remove members")?;
    if device == plan.replica.keys.device {
        return Err(Refusal::Yourself.into());
    }
    let revocation = Reach::new(plan, group).eject(device)?;
    write_ends(plan, group, means.wall, [revocation])?;
    Ok(Outcome::Ejected(*syncgroup, device))
}

/// Gives a member more rights, or takes some away; or gives them for longer, or for less long. What was written meanwhile
/// by what stays of them stays.
pub(super) fn set_rights(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    syncgroup: &SyncgroupId,
    device: DeviceId,
    wanted: Left,
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, syncgroup)?;
    require(plan.replica, group, Rights::Admin, "change rights")?;
    if device == plan.replica.keys.device {
        return Err(Refusal::Yourself.into());
    }
    let access = &group.metadata.access;
    if !access.stands(&device) {
        return Err(Refusal::NoMember(device).into());
    }
    let mut records = Vec::new();
    let by_user = access.by_user(&device, plan.moment()).is_some_and(|(left, _)| left > wanted);
    if by_user || !access.grants_above(Holder::Device(device), Some(wanted)).is_empty() {
        records.push(Reach::new(plan, group).revoke(device, Some(wanted))?);
    }
    // What is lessened leaves all that is wanted where it had that much.
    if !access.has(&device, wanted) {
        records.push(grant(plan, group, &device, wanted)?.ok_or(Refusal::NoMember(device))?);
    }
    write_ends(plan, group, means.wall, records)?;
    Ok(Outcome::RightsSet(*syncgroup, device, wanted.rights))
}

/// Writes records in their order: in one generation, unless they end more than fits in there.
pub(super) fn write_ends(
    plan: &mut Plan<'_>,
    group: &Group,
    wall: Wall,
    records: impl IntoIterator<Item = MetaRecord>,
) -> Result<(), Stop> {
    for records in in_parts(records.into_iter().flat_map(MetaRecord::in_parts)) {
        let stamp = plan.next_stamp(wall);
        plan.write(group.ix, stamp, &records, None)?;
    }
    Ok(())
}

/// Half of what a generation may have: the rest is for its header.
const MOST_BYTES: usize = limits::MAX_GENERATION / 2;

/// Records, in as many generations as they take. A departure comes by itself if not all fit: nobody writes after the last.
fn in_parts(records: impl Iterator<Item = MetaRecord>) -> Vec<Vec<Record>> {
    let (mut parts, mut size) = (Vec::<Vec<Record>>::new(), MOST_BYTES);
    let mut leaves = false;
    for record in records {
        let cost = record.cost();
        let is_departure = matches!(record, MetaRecord::Leave { .. });
        size += cost;
        match parts.last_mut().filter(|_| size <= MOST_BYTES && !(leaves && is_departure)) {
            Some(part) => part.push(Record::Meta(record)),
            None => {
                parts.push(alloc::vec![Record::Meta(record)]);
                size = cost;
            }
        }
        leaves = is_departure;
    }
    parts
}

/// Another grant to a device, with the key and the name by which it was admitted.
fn grant(
    plan: &Plan<'_>,
    group: &Group,
    device: &DeviceId,
    given: Left,
) -> Result<Option<MetaRecord>, Fault> {
    let (rights, ends) = (given.rights, given.end());
    let members = group.metadata.access.members();
    let Some(member) = members.iter().find(|member| member.device == *device) else { return Ok(None) };
    let Version { author, generation } = member.admitted;
    let Some(ix) = plan.author_ix(&author) else { return Ok(None) };
    let records = plan.stored(group.ix, ix, generation)?.encoded()?.records(&author).unwrap_or_default();
    Ok(records.into_iter().find_map(|record| match record {
        Record::Meta(MetaRecord::Admit { key, name, .. }) if key.device() == *device => {
            Some(MetaRecord::Admit { key, name, rights, ends, request: None })
        }
        Record::Meta(MetaRecord::Enrol { certificate: it, .. }) if it.device() == *device => {
            let (key, name) = (it.device_key(), it.name().clone());
            Some(MetaRecord::Admit { key, name, rights, ends, request: None })
        }
        _ => None,
    }))
}

/// Removes everybody whom this device may remove, and leaves.
pub(super) fn destroy(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    syncgroup: &SyncgroupId,
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, syncgroup)?;
    require(plan.replica, group, Rights::Admin, "destroy it")?;
    let own = plan.replica.keys.device;
    let reach = Reach::new(plan, group);
    let others = group.metadata.access.standing().copied().filter(|device| *device != own);
    let mut records: Vec<MetaRecord> = Vec::new();
    for device in others {
        let holder = Holder::Device(device);
        if let Some(grants) = reach.all_above(holder, None).filter(|grants| !grants.is_empty()) {
            records.push(reach.end(device, grants, None));
        }
    }
    records.extend(user::all_ended(plan, group, &reach));
    records.push(MetaRecord::Leave { grants: group.metadata.access.all_of(&own) });
    write_ends(plan, group, means.wall, records)?;
    go(plan, group);
    Ok(Outcome::Destroyed(*syncgroup))
}

/// What an admin may end (S-35).
pub(super) struct Reach<'g> {
    group: &'g Group,
    authors: &'g crate::replica::authors::Authors,
    ranks: super::access::Ranks,
    /// Its own rank, at the moment of what it writes next.
    rank: Option<Rank>,
    moment: Wall,
}

impl<'g> Reach<'g> {
    pub(super) fn new(plan: &Plan<'g>, group: &'g Group) -> Self {
        let own = plan.replica.keys.device;
        let ranks = plan.pasts(group.ix).map(|pasts| group.metadata.access.ranks(pasts)).unwrap_or_default();
        let moment = plan.moment();
        let rank = group.metadata.access.rank(&own, &ranks, moment);
        Self { group, authors: &plan.replica.authors, ranks, rank, moment }
    }

    /// Whether it may end a grant: any that makes no admin, and of the others those of a greater rank than its own.
    fn covers(&self, holder: Holder, grant: &Version) -> bool {
        let theirs = self.ranks.get(&(holder, *grant));
        self.rank.is_some_and(|own| theirs.is_none_or(|theirs| own < *theirs))
    }

    /// Ends all grants to a device that give more than `keep`.
    fn revoke(&self, device: DeviceId, keep: Option<Left>) -> Result<MetaRecord, Refusal> {
        let access = &self.group.metadata.access;
        // What it may do as a user's device is not its own to lose; what it might do once is no reason.
        if let Some((_, user)) = access.by_user(&device, self.moment).filter(|(left, _)| Some(*left) > keep) {
            return Err(Refusal::DeviceOf { device, user });
        }
        let grants = self.all_above(Holder::Device(device), keep).ok_or(Refusal::Senior(device))?;
        Ok(self.end(device, grants, keep))
    }

    /// Ends all grants to a device, those too that it has left.
    fn eject(&self, device: DeviceId) -> Result<MetaRecord, Refusal> {
        let access = &self.group.metadata.access;
        let forsaken = access.forsaken(&device);
        let is_here = access.stands(&device);
        if !is_here && forsaken.is_empty() {
            return Err(Refusal::NoMember(device));
        }
        let mine = |grant: &Version| self.covers(Holder::Device(device), grant);
        let forsaken: Vec<Version> = forsaken.into_iter().filter(mine).collect();
        if !is_here && forsaken.is_empty() {
            return Err(Refusal::Senior(device));
        }
        let mut revocation = self.revoke(device, None)?;
        if let MetaRecord::Revoke { grants, .. } = &mut revocation {
            grants.extend(forsaken);
            // All that there is was granted to its user, though the time of that may be over.
            if let (true, Some((_, user))) = (grants.is_empty(), access.by_user(&device, Wall(0))) {
                return Err(Refusal::DeviceOf { device, user });
            }
        }
        Ok(revocation)
    }

    /// The grants to a device or a user that give more than `keep`; `None` if one of them is not its to end. Then none
    /// is ended: whoever stays an admin shall not lose what it wrote before it became one. One whose time is over makes
    /// nobody an admin any more: it is left alone where it is not its to end.
    pub(super) fn all_above(&self, holder: Holder, keep: Option<Left>) -> Option<Vec<Version>> {
        let grants = self.group.metadata.access.grants_above(holder, keep);
        let is_over = |left: &Left| left.at(self.moment).is_none();
        let (mine, others): (Vec<_>, Vec<_>) =
            grants.into_iter().partition(|(grant, _)| self.covers(holder, grant));
        let may = others.iter().all(|(_, left)| is_over(left)) && (others.is_empty() || !mine.is_empty());
        // One generation may have given the same several times.
        let mut seen = BTreeSet::new();
        may.then(|| mine.into_iter().map(|(grant, _)| grant).filter(|grant| seen.insert(*grant)).collect())
    }

    /// What the device has written, as far as that is here, stays.
    fn end(&self, device: DeviceId, grants: Vec<Version>, keep: Option<Left>) -> MetaRecord {
        let until = self.group.written_by(&device, self.authors);
        let (keep, ends) = (keep.map(|keep| keep.rights), keep.and_then(Left::end));
        MetaRecord::Revoke { device, grants, keep, ends, until }
    }
}

/// Notices that this device is a member after all, though it was removed: somebody let it in again who did not know of
/// the removal, or has extended its time, or the clock was set back to before that was over.
pub(super) fn find_return(plan: &mut Plan<'_>, ix: GroupIx) {
    let Some(group) = plan.replica.groups.get(&ix) else { return };
    let is_removed = plan.record(ix).is_some_and(|record| record.stage == Stage::Removed);
    let own = &plan.replica.keys.device;
    if is_removed && plan.metadata(ix).is_some_and(|metadata| metadata.access.rights(own).is_some()) {
        move_to(plan, group, Stage::Active);
    }
}

/// Notices that this device is no member any more, as it was removed, or its time is over, or it has left before its disk
/// was set back.
pub(super) fn find_removal(plan: &mut Plan<'_>, ix: GroupIx) {
    let Some(group) = plan.replica.groups.get(&ix) else { return };
    let own = &plan.replica.keys.device;
    let (Some(record), Some(metadata)) = (plan.record(ix), plan.metadata(ix)) else { return };
    let Some(pasts) = plan.pasts(ix) else { return };
    let access = &metadata.access;
    let is_over = match &record.stage {
        Stage::Active => access.is_former(own),
        // What was known to whoever let it in again does not count: the new admission is on its way.
        Stage::Pending(admitted) | Stage::Leaving(admitted) => {
            let knew = |(author, generation): Place| {
                let author = plan.author(author);
                admitted.vector.iter().any(|(it, last)| *it == author && generation <= *last)
            };
            // Whoever let this device in may have been removed before, and nobody has heard of it; or it was no admin, and
            // nothing was granted to everybody any more.
            let mut by_admitter = admitted.vector.iter().filter(|(author, _)| author.device == admitted.by);
            let is_none = access.rights(&admitted.by).is_none();
            let is_nowhere = access.rights(&admitted.by) != Some(Rights::Admin)
                && by_admitter.any(|(author, last)| {
                    let is_void = access.first_void(author).is_some_and(|first| first <= *last);
                    is_void && (is_none || !access.is_open_at(*author, *last))
                        || access.is_closed_for(own, (*author, *last), knew)
                });
            // What let it in is here, and its time is over: nobody will send the rest.
            let mut by_admitter = admitted.vector.iter().filter(|(author, _)| author.device == admitted.by);
            let is_late =
                access.is_expired(own) && by_admitter.all(|(author, last)| plan.held(ix, author) >= *last);
            access.has_gone_since(pasts, own, knew) || is_late || is_nowhere && access.rights(own).is_none()
        }
        _ => false,
    };
    if is_over {
        end(plan, group);
    }
}

/// Whoever let in this device says that it is no member any more, which it has been before, as this device knows. If
/// that is all, then it was set back to before it let it in again.
pub(crate) fn find_lost_admission(plan: &mut Plan<'_>, group: &Group) {
    let own = &plan.replica.keys.device;
    let waits = plan.record(group.ix).is_some_and(|record| record.stage.admitted().is_some());
    if waits && plan.metadata(group.ix).is_some_and(|metadata| metadata.access.is_former(own)) {
        end(plan, group);
    }
}

/// This device is no member any more, and knows it.
fn end(plan: &mut Plan<'_>, group: &Group) {
    let own = &plan.replica.keys.device;
    let Some(access) = plan.metadata(group.ix).map(|metadata| &metadata.access) else { return };
    let leaves = plan.record(group.ix).is_some_and(|record| matches!(record.stage, Stage::Leaving(_)));
    let was_removed = access.is_removed(own) || !access.is_known(own);
    move_to(plan, group, if was_removed && !leaves { Stage::Removed } else { Stage::Left });
}

pub(super) fn leave(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    syncgroup: &SyncgroupId,
) -> Result<Outcome, Stop> {
    let replica = plan.replica;
    let group = replica.group(syncgroup).ok_or(Refusal::NoSyncgroup(*syncgroup))?;
    let device = replica.keys.device;
    match &group.record.stage {
        Stage::Left | Stage::Departing | Stage::Leaving(_) | Stage::Withdrawing(_) => {}
        // Also for good: who lets it in again, or extends its time, is told that it has left.
        Stage::Removed => move_to(plan, group, Stage::Left),
        Stage::Refused(_, asking) if asking.is_empty() => move_to(plan, group, Stage::Left),
        Stage::Joining(asking) | Stage::Refused(_, asking) => {
            move_to(plan, group, Stage::Withdrawing(asking.clone()));
        }
        Stage::Pending(admitted) => move_to(plan, group, Stage::Leaving(admitted.clone())),
        Stage::Active => {
            let others = || group.metadata.access.joined().filter(|(member, _)| **member != device);
            let is_admin = group.metadata.access.rights(&device) == Some(Rights::Admin);
            if is_admin && others().count() > 0 && !others().any(|(_, rights)| rights == Rights::Admin) {
                return Err(Refusal::LastAdmin.into());
            }
            write_leave(plan, group, means.wall)?;
        }
    }
    Ok(Outcome::Left(*syncgroup))
}

fn write_leave(plan: &mut Plan<'_>, group: &Group, wall: Wall) -> Result<(), Stop> {
    let device = plan.replica.keys.device;
    let access = plan.metadata(group.ix).map(|metadata| &metadata.access);
    let is_member = access.is_some_and(|access| access.rights(&device).is_some());
    let grants = access.map(|access| access.all_of(&device)).unwrap_or_default();
    if !is_member {
        move_to(plan, group, Stage::Left);
        return Ok(());
    }
    write_ends(plan, group, wall, [MetaRecord::Leave { grants }])?;
    go(plan, group);
    Ok(())
}

/// This device has written that it leaves: some member shall know it.
fn go(plan: &mut Plan<'_>, group: &Group) {
    let is_alone = plan.metadata(group.ix).is_none_or(|metadata| metadata.access.joined().next().is_none());
    move_to(plan, group, if is_alone { Stage::Left } else { Stage::Departing });
}

/// Another member is known to know that this device has left.
pub(crate) fn departed(plan: &mut Plan<'_>, group: &Group) {
    if group.record.stage == Stage::Departing {
        plan.set_record(group.ix, GroupRecord { stage: Stage::Left, ..group.record.clone() });
    }
}

/// Leaves a syncgroup, unless that has to wait: then it is tried again when more has arrived.
pub(super) fn finish_leave(plan: &mut Plan<'_>, group: &Group, wall: Wall) -> Result<(), Fault> {
    match write_leave(plan, group, wall) {
        Err(Stop::Fault(fault)) => Err(fault),
        Ok(()) | Err(Stop::Refused(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::crypto::{Ed25519, Keys, SecretKey};
    use crate::event::Command;
    use crate::id::{Author, Incarnation, Name};
    use crate::keys::Life;
    use crate::replica::Replica;
    use crate::store::MemStore;
    use crate::syncgroup::command::run;

    const WALL: Wall = Wall(1_000_000);

    fn version(log: u64, generation: u64) -> Version {
        let author = Author { device: DeviceId([log as u8; 16]), incarnation: Incarnation(u64::MAX - log) };
        Version { author, generation }
    }

    #[test]
    fn what_ends_more_than_fits_into_a_generation_comes_in_several_in_order() {
        let all: Vec<Version> = (0..200_000).map(|n| version(n, u64::MAX - n)).collect();
        let device = DeviceId([9; 16]);
        let until = alloc::vec![(Incarnation(7), 8)];
        let ends =
            MetaRecord::Revoke { device, grants: all.clone(), keep: Some(Rights::Read), ends: None, until };
        let leave = MetaRecord::Leave { grants: all.clone() };
        let last = MetaRecord::Collection { name: Name::new("last").unwrap() };
        let parts = in_parts([ends.clone(), last.clone(), leave].into_iter().flat_map(MetaRecord::in_parts));
        let (mut ended, mut left) = (Vec::new(), Vec::new());
        for part in &parts {
            let size: usize =
                part.iter().map(|it| if let Record::Meta(it) = it { it.cost() } else { 0 }).sum();
            assert!(size < limits::MAX_GENERATION / 2 + 1, "{size}");
            let leaves =
                part.iter().filter(|it| matches!(it, Record::Meta(MetaRecord::Leave { .. }))).count();
            assert!(leaves <= 1, "of departures a generation has one");
            for record in part {
                match record {
                    Record::Meta(MetaRecord::Revoke { device: of, grants, keep, ends: None, until }) => {
                        assert_eq!((*of, *keep, until.len()), (device, Some(Rights::Read), 1));
                        ended.extend_from_slice(grants);
                    }
                    Record::Meta(MetaRecord::Leave { grants }) => left.extend_from_slice(grants),
                    other => assert_eq!((other, ended.len()), (&Record::Meta(last.clone()), all.len())),
                }
            }
        }
        assert_eq!((ended, left), (all.clone(), all));
        // What fits comes in one, as it was.
        let MetaRecord::Revoke { grants, .. } = &ends else { panic!("{ends:?}") };
        let few = MetaRecord::Leave { grants: grants[..3].to_vec() };
        let one: Vec<Vec<Record>> =
            in_parts([last.clone(), few.clone()].into_iter().flat_map(MetaRecord::in_parts));
        assert_eq!(one, [[Record::Meta(last), Record::Meta(few)]]);
        let nothing = MetaRecord::Leave { grants: Vec::new() };
        assert_eq!(nothing.clone().in_parts().collect::<Vec<_>>(), [nothing]);
    }

    #[test]
    fn what_ends_in_several_parts_says_not_much_more_than_there_is_to_say() {
        let all: Vec<Version> = (0..200_000).map(|n| version(n, n)).collect();
        let logs: Vec<_> = (0..20_000).map(|n| (version(n, 1).author, 1)).collect();
        let cost = |grants: &[Version], until: &[(Author, u64)]| {
            let (grants, until) = (grants.to_vec(), until.to_vec());
            let close = MetaRecord::Close { grants, keep: None, ends: None, until };
            let parts = in_parts(close.in_parts());
            let sizes = parts.iter().map(|part| {
                part.iter().map(|it| if let Record::Meta(it) = it { it.cost() } else { 0 }).sum::<usize>()
            });
            let sizes: Vec<usize> = sizes.collect();
            assert!(sizes.iter().all(|size| *size < limits::MAX_GENERATION), "{sizes:?}");
            sizes.into_iter().sum::<usize>()
        };
        let whole = cost(&all, &[]) + cost(&[], &logs);
        assert!(cost(&all, &logs) <= 2 * whole, "{} for {whole}", cost(&all, &logs));
    }

    #[test]
    fn a_device_is_removed_however_often_it_was_let_in() {
        let (mut store, name) = (MemStore::new(), Name::new("notes").unwrap());
        let keys = Keys::new(SecretKey([1; 32]), &Ed25519);
        let config = Config::new(name.clone());
        let (mut replica, boot, _) = Replica::load(keys, &config, false, Life::first(1), &store).unwrap();
        store.apply(&boot);
        let means = Means { wall: WALL, nonce: [1; 16], name: &name };
        let mut plan = Plan::new(&replica, &store);
        let (database, collections) = (name.clone(), Vec::new());
        run(&mut plan, &means, Command::CreateSyncgroup { database, name: name.clone(), collections })
            .unwrap();
        let other = Keys::new(SecretKey([2; 32]), &Ed25519);
        let (key, rights) = (other.first(), Rights::Write);
        let admit = MetaRecord::Admit { key, name: name.clone(), rights, ends: None, request: None };
        let granted = plan.write(0, plan.next_stamp(WALL), &[Record::Meta(admit)], None).unwrap();
        let effects = plan.finish();
        store.apply(&replica.apply(effects).unwrap());
        let held = |replica: &Replica| {
            let ix = replica.authors.find(&replica.author()).unwrap();
            replica.groups[&0].held(ix)
        };
        let before = held(&replica);
        let mut plan = Plan::new(&replica, &store);
        let group = &replica.groups[&0];
        // The one that it has comes last of all.
        let many = (0..200_000).map(|n| version(n, u64::MAX - n));
        let grants: Vec<Version> = many.chain([granted]).collect();
        let ends = Reach::new(&plan, group).end(other.device, grants, None);
        write_ends(&mut plan, group, WALL, [ends]).unwrap();
        let effects = plan.finish();
        store.apply(&replica.apply(effects).unwrap());
        assert!(held(&replica) > before + 1, "it took several generations");
        assert_eq!(replica.groups[&0].metadata.access.rights(&other.device), None);
    }
}
