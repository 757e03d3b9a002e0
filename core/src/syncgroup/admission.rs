//! How a device becomes a member: it asks, an admin or another member answers, and what there was at that moment arrives
//! (S-32).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::access::{At, Holder, Left, LettingIn, end};
use super::command::{Means, move_to, new_group};
use super::group::{Admitted, Asking, Group, GroupRecord, Stage};
use super::invitation::Whom;
use super::past::Past;
use super::{Invitation, JoinRefusal, Rights, judge, publish, remove, user};
use crate::action::{Notice, Outcome, Refusal};
use crate::crypto::Keys;
use crate::id::{Author, DeviceId, Generation, Incarnation, Name, SyncgroupId, Version};
use crate::keys::KeyChain;
use crate::limits;
use crate::log::record::{MetaRecord, Record, Used};
use crate::replica::Stop;
use crate::replica::plan::Plan;
use crate::store::Fault;
use crate::store::key::GroupIx;
use crate::time::{Now, Wall};
use crate::user::Certificate;

/// Asks to be let in.
pub(super) fn join(
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
    if invitation.ends().is_some_and(|ends| ends < means.wall) {
        return Err(
            Refusal::Invitation("the time is over for which it would let in; ask for a new one").into()
        );
    }
    if invitation.device().is_some_and(|device| device != replica.keys.device) {
        return Err(Refusal::Invitation("it is for another device").into());
    }
    if certificate.is_some() && invitation.device().is_some() {
        return Err(
            Refusal::Invitation("it is for this device by itself; use it without a certificate").into()
        );
    }
    match (&certificate, invitation.user()) {
        (None, Some(_)) => {
            return Err(Refusal::Invitation("it is for the devices of a user; show a certificate").into());
        }
        (Some(it), Some(user)) if it.user() != user => {
            return Err(Refusal::Invitation("it is for the devices of another user").into());
        }
        (Some(it), _) if it.device_key() != replica.keys.first() => {
            return Err(Refusal::Certificate("it is for another device").into());
        }
        (Some(it), _) if it.ends().is_some_and(|ends| ends < means.wall) => {
            return Err(Refusal::Certificate("its time is over; its user can make another one").into());
        }
        (Some(it), _) if !it.verify(&replica.keys) => {
            return Err(Refusal::Certificate("its user did not sign it").into());
        }
        _ => {}
    }
    let known = replica.group(&id);
    let is_let_in = |group: &Group| group.metadata.access.rights(&replica.keys.device).is_some();
    let asking = Asking { invitation, nonce: means.nonce, certificate };
    let (ix, stage) = match known.map(|group| (group, &group.record.stage)) {
        None => (new_group(replica)?, Stage::Joining(alloc::vec![asking])),
        // The admission has not come, and may be gone with the disk of whoever wrote it: then asking again is the way in.
        Some((group, Stage::Pending(_) | Stage::Leaving(_))) if !is_let_in(group) => {
            (group.ix, Stage::Joining(alloc::vec![asking]))
        }
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
    let state = stage.state(false);
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

/// The answer to a request: an admin's, or of a member that a device of a user asks, or where everybody is granted what its
/// invitation gives. Whether the syncgroup is here is told only to those who show an invitation of one of its admins, or are
/// what a member's says. No answer while
/// something is missing that the asker wrote: it may have left. Whoever has left itself does not wait for that.
pub(crate) fn admit(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    keys: &KeyChain,
    request: Request<'_>,
) -> Result<Option<Answer>, Stop> {
    let replica = plan.replica;
    let Request { asking: Asking { invitation, nonce, certificate }, name, withdraw, wrote } = request;
    let (terms, device, key) = (&invitation.terms, keys.device(), &keys.first());
    let unknown = Ok(Some(Err(JoinRefusal::NotValid)));
    // First, so that it takes as long where there is no such syncgroup.
    if !invitation.verify(&replica.keys) {
        return unknown;
    }
    let Some(group) = replica.group(&terms.syncgroup).filter(|group| group.is_shared()) else {
        return unknown;
    };
    if !group.metadata.access.is_current(keys) {
        return unknown;
    }
    let is_missing = |(incarnation, last): &(Incarnation, Generation)| {
        plan.held(group.ix, &Author { device, incarnation: *incarnation }) < *last
    };
    if group.metadata.access.rights(&device).is_some() && wrote.iter().any(is_missing) {
        // Whoever has left itself gets nothing of that any more, and lets in nobody.
        return if group.is_joined() { Ok(None) } else { unknown };
    }
    let had = group.metadata.access.rights(&device);
    let is_admin = |device: &DeviceId| group.metadata.access.rights(device) == Some(Rights::Admin);
    // A request that was granted once is an old copy, whatever has happened since.
    let is_old = group.metadata.is_granted(nonce);
    let access = &group.metadata.access;
    let may_answer = group.record.stage == Stage::Active
        && access.rights(&replica.keys.device).is_some()
        && !withdraw
        && !is_old;
    // What the invitation gives, as long as it does.
    let given = Left::new(terms.rights, terms.ends);
    let whom = certificate.as_ref().map_or(Holder::Device(device), |it| Holder::User(it.user()));
    // An offer, or the way to one's user, no member makes by what is granted to everybody.
    let with = certificate.as_ref().map(|_| device);
    let is_open = || {
        let it = LettingIn { whom, with, given };
        terms.whom == Whom::Anybody && lets_in(plan, group, it, means.wall)
    };
    let may_admit = may_answer
        && publish::is_for(group, terms, &device, &replica.keys.first())
        // Its own alone: who else used another one's is known only when it arrives.
        && is_own(invitation, &replica.keys)
        && (is_admin(&replica.keys.device) || is_open());
    let is_time = |may: bool| match may {
        false => Err(JoinRefusal::NotValid),
        true if terms.expires <= means.wall => Err(JoinRefusal::Expired),
        true if end(terms.ends) < means.wall => Err(JoinRefusal::Expired),
        true if group.logs.len() >= replica.limits.authors => Err(JoinRefusal::Full),
        true => Ok(()),
    };
    let is_used = !terms.reusable && group.metadata.is_used(&terms.nonce);
    let granted = is_time(may_admit).and(if is_used { Err(JoinRefusal::Used) } else { Ok(given) });
    let request = Used { invitation: terms.nonce, request: *nonce };
    let records = match certificate {
        Some(it) if invitation.user().is_some_and(|user| user != it.user()) => Err(JoinRefusal::NotValid),
        // What is published at a device is so for that device, and not for its user.
        Some(_) if invitation.device().is_some() => Err(JoinRefusal::NotValid),
        Some(it) => {
            let may = (granted, is_time(may_answer));
            user::admission(plan, group, (key, it), request, may, means.wall)
        }
        None if granted.is_ok_and(|given| access.has(&device, given)) => Err(JoinRefusal::NotValid),
        None => granted.map(|given| {
            let (key, rights, ends) = (*key, given.rights, given.end());
            alloc::vec![MetaRecord::Admit { key, name, rights, ends, request: Some(request) }]
        }),
    };
    match records {
        // A member is one, whatever became of the invitation: the answer to an earlier request got lost.
        Err(refusal) if had.is_none() => return Ok(Some(Err(refusal))),
        Ok(records) if !records.is_empty() => {
            let notice = |version| admitted(terms.syncgroup, device, &records, version);
            let all: Vec<_> = records.iter().cloned().map(Record::Meta).collect();
            let (author, gives) =
                (plan.author_ix(&replica.author()), judge::needed_beside(&all) < judge::needed_for(&all));
            let has_room = match gives && !is_admin(&replica.keys.device) {
                true => {
                    let past = user::everything(plan, group);
                    group.metadata.has_room_to_let_in(author, &all)
                        && access.has_room_to_let_in(next(plan, group, means.wall, &past))
                }
                false => group.metadata.has_room(author, &all),
            };
            if !has_room {
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

/// Whether this device, as no admin, may let in somebody with so much now.
fn lets_in(plan: &Plan<'_>, group: &Group, it: LettingIn, wall: Wall) -> bool {
    let access = &group.metadata.access;
    let Some(pasts) = plan.pasts(group.ix).filter(|_| access.was_opened()) else { return false };
    let past = user::everything(plan, group);
    let at = next(plan, group, wall, &past);
    let judgement = access.judgement();
    access.lets_in(judgement, pasts, at, it) && access.gives_more(judgement, at, it.whom, it.given)
}

/// The next generation of this device's log, with all that is held in its past.
fn next<'p>(plan: &Plan<'_>, group: &Group, wall: Wall, past: &'p Past) -> At<'p> {
    let author = plan.replica.author();
    let generation = plan.held(group.ix, &author) + 1;
    At { author, place: None, generation, stamp: plan.next_stamp(wall), past }
}

/// Whether this device has issued an invitation. Those by a key that has ended are void with it, as others may have that
/// one; but for what is published, which gives nothing to anybody else than the device that was asked.
fn is_own(invitation: &Invitation, keys: &Keys) -> bool {
    match invitation.device() {
        Some(_) => keys.chain.starts_with(&invitation.issuer),
        None => keys.chain.current() == invitation.issuer.current(),
    }
}

/// What is told of an admission.
fn admitted(syncgroup: SyncgroupId, device: DeviceId, records: &[MetaRecord], version: Version) -> Notice {
    let (mut user, mut number, mut granted) = (None, None, None);
    let mut until = None;
    for record in records {
        match record {
            MetaRecord::Admit { rights, ends, .. } => (granted, until) = (Some(*rights), *ends),
            MetaRecord::AdmitUser { key, rights, ends, .. } => {
                (user, granted, until) = (Some(key.user()), Some(*rights), *ends);
            }
            MetaRecord::Enrol { certificate: it, .. } => {
                (user, number) = (Some(it.user()), Some(it.number()));
            }
            _ => {}
        }
    }
    match user {
        Some(user) => Notice::Enrolled { syncgroup, user, device, number, granted, ends: until, version },
        None => {
            Notice::Admitted { syncgroup, device, rights: granted.unwrap_or_default(), ends: until, version }
        }
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
    loop {
        plan.release(now.mono)?;
        let mut has_ended = false;
        let touched: Vec<_> = plan.touched().collect();
        for ix in touched {
            let was_read = plan.is_read(ix);
            complete(plan, ix, now.wall)?;
            remove::find_removal(plan, ix);
            has_ended |= was_read && !plan.is_read(ix);
        }
        // What waited for parts in a syncgroup that this device reads no more need not wait. It ends, as nothing here has
        // one read again.
        if !has_ended {
            return Ok(());
        }
    }
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
    let grants = metadata.access.grants_now(&plan.replica.keys.device).into_iter();
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

/// This device holds what the one holds that let it in, which had all that there was then. If something of that is missing,
/// it was lost with a disk that was set back; and what nobody may have is not waited for (S-32). Says whether nothing else
/// is waited for: what is held has to be shown first.
pub(crate) fn all_is_here(plan: &mut Plan<'_>, group: &Group, wall: Wall) -> Result<bool, Fault> {
    let Some(admitted) = group.record.stage.admitted() else { return Ok(true) };
    let place = |author| plan.author_ix(author).map(|ix| (group.held(ix), plan.last_shown(group.ix, ix)));
    let places = || admitted.vector.iter().map(|(it, last)| (place(it).unwrap_or((0, 0)), *last));
    if !places().any(|((held, _), last)| held < last) || !is_member(plan, group.ix) {
        return Ok(true);
    }
    if places().any(|((held, shown), last)| held >= last && shown < last) {
        return Ok(false);
    }
    match group.record.stage {
        Stage::Leaving(_) => remove::finish_leave(plan, group, wall)?,
        _ => move_to(plan, group, Stage::Active),
    }
    Ok(true)
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

/// Whether all is shown that there was at admission: this device's own generations build on it. What its author has
/// written again since may be stamped so that it comes in years: its place is taken (S-27), by the admission too. And
/// what became void with the membership of its author nobody passes on.
fn is_here(plan: &Plan<'_>, ix: GroupIx, admitted: &Admitted) -> bool {
    let shown = |author| plan.author_ix(author).map_or(0, |author| plan.last_shown(ix, author));
    let access = plan.metadata(ix).map(|metadata| &metadata.access);
    let first_void = |author: &Author| {
        let access = access.filter(|access| access.rights(&author.device).is_none())?;
        access.first_void(author)
    };
    let mut is_less = false;
    let is_shown = admitted.vector.iter().all(|(author, last)| {
        let first_cut = access.and_then(|access| access.first_cut(author));
        // Of a log whose key has ended nobody passes on what lies beyond its end either.
        let ended = access.and_then(|access| access.end_of(author)).map(|last| last.saturating_add(1));
        let first = first_cut.into_iter().chain(first_void(author)).chain(ended).min();
        let needed = first.map_or(*last, |first| first.saturating_sub(1).min(*last));
        is_less |= needed < *last;
        shown(author) >= needed
    });
    is_shown && (!is_less || is_member(plan, ix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::crypto::{Ed25519, Keys, SecretKey};
    use crate::event::Command;
    use crate::replica::Replica;
    use crate::store::MemStore;
    use crate::syncgroup::Terms;
    use crate::syncgroup::command::run;
    use crate::syncgroup::invitation::Whom;
    use crate::user::UserKey;

    const WALL: Wall = Wall(1_000_000);

    fn keys(of: u8) -> Keys {
        Keys::new(SecretKey([of; 32]), &Ed25519)
    }

    fn name() -> Name {
        Name::new("notes").unwrap()
    }

    fn means(name: &Name) -> Means<'_> {
        Means { wall: WALL, nonce: [1; 16], name }
    }

    /// A replica with a syncgroup in which device 2 is an admin too.
    fn here() -> (Replica, MemStore) {
        let (mut store, name) = (MemStore::new(), name());
        let config = Config::new(name.clone());
        let (mut replica, boot, _) =
            Replica::load(keys(1), &config, false, crate::keys::Life::first(1), &store).unwrap();
        store.apply(&boot);
        let mut plan = Plan::new(&replica, &store);
        let (database, collections) = (name.clone(), alloc::vec![name.clone()]);
        let create = Command::CreateSyncgroup { database, name: name.clone(), collections };
        run(&mut plan, &means(&name), create).unwrap();
        let key = keys(2).first();
        let admit = MetaRecord::Admit { key, name, rights: Rights::Admin, ends: None, request: None };
        plan.write(0, plan.next_stamp(WALL), &[Record::Meta(admit)], None).unwrap();
        let effects = plan.finish();
        store.apply(&replica.apply(effects).unwrap());
        (replica, store)
    }

    #[test]
    fn an_admin_lets_in_by_its_own_invitations_alone() {
        let (replica, store) = here();
        let answer = |issuer: &Keys| {
            let (syncgroup, nonce) = (replica.groups[&0].record.id, [7; 16]);
            let (expires, whom) = (WALL + crate::time::Millis(1_000), Whom::Anybody);
            let (rights, ends) = (Rights::Write, None);
            let terms = Terms { syncgroup, rights, expires, reusable: false, nonce, whom, ends };
            let invitation = Invitation::sign(terms, name(), Vec::new(), issuer);
            let asking = Asking { invitation, nonce: [8; 16], certificate: None };
            let request = Request { asking: &asking, name: name(), withdraw: false, wrote: Vec::new() };
            let mut plan = Plan::new(&replica, &store);
            admit(&mut plan, &means(&name()), &keys(3).chain, request).unwrap().unwrap()
        };
        assert!(answer(&replica.keys).is_ok());
        // Whoever issued it is an admin, and may have let in somebody by it by now.
        assert_eq!(answer(&keys(2)), Err(JoinRefusal::NotValid));
    }

    #[test]
    fn a_stranger_learns_nothing_by_an_invitation_and_a_certificate_of_its_own() {
        let (replica, store) = here();
        let user = UserKey::new(name(), SecretKey([9; 32]), &Ed25519);
        let answer = |syncgroup, ends| {
            let (nonce, expires, whom) = ([7; 16], WALL + crate::time::Millis(1_000), Whom::Anybody);
            let rights = Rights::Write;
            let terms = Terms { syncgroup, rights, expires, reusable: false, nonce, whom, ends: None };
            let invitation = Invitation::sign(terms, name(), Vec::new(), &keys(3));
            let certificate = user.certify_until(keys(3).first(), name(), 1, ends);
            let asking = Asking { invitation, nonce: [8; 16], certificate: Some(Box::new(certificate)) };
            let request = Request { asking: &asking, name: name(), withdraw: false, wrote: Vec::new() };
            let mut plan = Plan::new(&replica, &store);
            admit(&mut plan, &means(&name()), &keys(3).chain, request).unwrap().unwrap()
        };
        for ends in [Wall(WALL.0 - 1), WALL, Wall(WALL.0 + 1)] {
            let (here, nowhere) = (replica.groups[&0].record.id, SyncgroupId([5; 32]));
            assert_eq!(answer(here, ends), answer(nowhere, ends), "a certificate until {ends:?}");
        }
    }

    #[test]
    fn who_was_a_member_gives_nothing_to_one_whose_word_alone_lets_it_in_again() {
        let (replica, store) = here();
        let stranger = Author { device: keys(3).device, incarnation: Incarnation(3) };
        let may_share = |replica: &Replica| {
            let admitted = Admitted { by: stranger.device, vector: alloc::vec![(stranger, u64::MAX)] };
            let mut replica = replica.clone();
            let mut plan = Plan::new(&replica, &store);
            let group = &replica.groups[&0];
            plan.set_record(0, GroupRecord { stage: Stage::Pending(admitted), ..group.record.clone() });
            let effects = plan.finish();
            replica.apply(effects);
            let group = &replica.groups[&0];
            assert!(group.may_take(&stranger.device), "it may be an admin by now");
            group.may_share_with(&stranger.device, &replica)
        };
        assert!(!may_share(&replica));
        let mut newcomer = replica;
        newcomer.keys = keys(4);
        assert!(may_share(&newcomer), "who has all from it alone gives it nothing new");
    }
}
