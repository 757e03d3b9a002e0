//! Whether a generation is allowed, and whether it counts (S-34).
//!
//! It is *allowed* by the metadata in its own causal past, so alike at every replica and for ever: what is not is never
//! held. That goes by its stamp, too, where rights end. It *counts* by all that is known, and may cease to when a revocation is heard of that its author had not heard
//! of: then it is **void**, held and passed on like everything else, for others may have built on it, and not shown.

use super::Rights;
use super::access::{Access, At, Holder, Judgement, Left, LettingIn};
use super::command::id_of;
use super::metadata::Metadata;
use super::past::{Numbered, Past};
use crate::id::{Author, Generation};
use crate::keys::KeyChain;
use crate::limits;
use crate::log::generation::Encoded;
use crate::log::record::{MetaRecord, Record};
use crate::object::history::Place;
use crate::replica::plan::Plan;
use crate::store::key::GroupIx;
use crate::time::Hlc;

/// The right that a record needs; `None` if no right allows it.
fn needed(record: &Record) -> Option<Rights> {
    match record {
        Record::Row(_) => Some(Rights::Write),
        Record::Meta(
            MetaRecord::Admit { .. }
            | MetaRecord::AdmitUser { .. }
            | MetaRecord::Revoke { .. }
            | MetaRecord::RevokeUser { .. }
            | MetaRecord::Collection { .. }
            | MetaRecord::Rule { .. }
            | MetaRecord::Spec(_)
            | MetaRecord::Publish { .. }
            | MetaRecord::Unpublish { .. }
            | MetaRecord::Decline { .. }
            | MetaRecord::Close { .. },
        ) => Some(Rights::Admin),
        // Who may say who may do what is said by name.
        Record::Meta(MetaRecord::Open { rights, .. }) => (*rights < Rights::Admin).then_some(Rights::Admin),
        // Certificates, strikings-off and forks are proven by signatures of their own: whoever may be here may pass them on.
        // What a device has written is its own to take back, as long as it may be here.
        Record::Meta(
            MetaRecord::Leave { .. }
            | MetaRecord::Enrol { .. }
            | MetaRecord::StrikeOff(_)
            | MetaRecord::Cut { .. }
            | MetaRecord::Fork(_)
            | MetaRecord::Repeats { .. }
            | MetaRecord::Rollover { .. },
        ) => Some(Rights::Read),
        Record::Meta(MetaRecord::Genesis { .. }) | Record::Unknown => None,
    }
}

/// The right that all of some records take.
pub(crate) fn needed_for(records: &[Record]) -> Rights {
    records.iter().filter_map(needed).max().unwrap_or(Rights::Read)
}

/// The right that all of some records take that let in nobody.
pub(crate) fn needed_beside(records: &[Record]) -> Rights {
    let others = records.iter().filter(|record| lets_in(record).is_none());
    others.filter_map(needed).max().unwrap_or(Rights::Read)
}

/// Whom a record lets in, and with what.
fn lets_in(record: &Record) -> Option<(Holder, Left)> {
    match record {
        Record::Meta(MetaRecord::Admit { key, rights, ends, .. }) => {
            Some((Holder::Device(key.device()), Left::new(*rights, *ends)))
        }
        Record::Meta(MetaRecord::AdmitUser { key, rights, ends, .. }) => {
            Some((Holder::User(key.user()), Left::new(*rights, *ends)))
        }
        _ => None,
    }
}

/// All whom a generation lets in.
fn letting_in(records: &[Record]) -> impl Iterator<Item = LettingIn> {
    let with = records.iter().find_map(|record| match record {
        Record::Meta(MetaRecord::Enrol { certificate, .. }) => Some(certificate.device()),
        _ => None,
    });
    records.iter().filter_map(lets_in).map(move |(whom, given)| LettingIn { whom, with, given })
}

/// By what its author may write something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// What it may do itself.
    Rights,
    /// That, and what is granted to everybody.
    Everybody,
}

/// By what the author of a generation may write it, if it may, by a judgement.
pub(crate) fn right_for(
    access: &Access,
    judgement: &Judgement,
    pasts: Numbered<'_>,
    at: At<'_>,
    records: &[Record],
) -> Option<By> {
    let rights = access.rights_at(judgement, at)?;
    if rights >= needed_for(records) {
        return Some(By::Rights);
    }
    let is_open = |it| access.lets_in(judgement, pasts, at, it);
    let may = rights >= needed_beside(records) && letting_in(records).all(is_open);
    may.then_some(By::Everybody)
}

/// The same where anybody may hold it: judged by its own past, a member lets in one at a time, and gives more than there is.
pub(crate) fn allowed_by(
    access: &Access,
    judgement: &Judgement,
    pasts: Numbered<'_>,
    at: At<'_>,
    records: &[Record],
) -> Option<By> {
    let by = right_for(access, judgement, pasts, at, records)?;
    let mut let_in = records.iter().filter_map(lets_in);
    let gives_more = |(whom, given)| access.gives_more(judgement, at, whom, given);
    let is_news = let_in.next().is_some_and(gives_more) && let_in.next().is_none();
    (by == By::Rights || is_news).then_some(by)
}

/// Judges the generation of this number by an author, given the metadata in its past.
pub(crate) fn is_allowed(
    plan: &Plan<'_>,
    group: GroupIx,
    author: &Author,
    generation: Generation,
    encoded: &Encoded,
    records: &[Record],
    past: &Past,
) -> bool {
    let has_room = |metadata: &Metadata| metadata.has_room(plan.author_ix(author), records);
    if !plan.metadata(group).is_none_or(has_room) {
        return false;
    }
    if let Some(Record::Meta(MetaRecord::Genesis { .. })) = records.first() {
        let id = plan.record(group).map(|record| record.id);
        return generation == 1
            && Some(id_of(author, &encoded.leaf)) == id
            && says_its_key(author, generation, records);
    }
    // Nobody needs to write nothing, but to join what a header cannot name: else those who may only read could write as
    // much as they like.
    if records.is_empty() && encoded.header.dependencies.len() < limits::MAX_DEPENDENCIES {
        return false;
    }
    let (Some(metadata), Some(pasts)) = (plan.metadata(group), plan.pasts(group)) else { return false };
    let at = At { author: *author, place: None, generation, stamp: encoded.header.stamp, past };
    let by = |judgement: &Judgement| allowed_by(&metadata.access, judgement, pasts, at, records);
    let by = plan.judging(group, |recent| metadata.access.judged_in(pasts, past, recent, by));
    let is_right = match by {
        None => false,
        Some(By::Rights) => true,
        Some(By::Everybody) => {
            metadata.has_room_to_let_in(plan.author_ix(author), records)
                && metadata.access.has_room_to_let_in(at)
        }
    };
    if !is_right || records.iter().any(|record| needed(record).is_none()) {
        return false;
    }
    let granted = records.iter().find_map(|record| match record {
        Record::Meta(MetaRecord::AdmitUser { key, .. }) => Some(key.user()),
        _ => None,
    });
    let mut said = records.iter().filter_map(|record| match record {
        Record::Meta(meta @ (MetaRecord::Enrol { .. } | MetaRecord::StrikeOff(_))) => Some(meta),
        _ => None,
    });
    // One at a time, so that the bounds hold which count those in its past.
    let is_sayable = said.next().is_none_or(|meta| metadata.access.may_say(past, meta, granted));
    let mut departures = records.iter().filter_map(|record| match record {
        Record::Meta(MetaRecord::Leave { grants }) => Some(grants),
        _ => None,
    });
    let may_leave = |ended: &alloc::vec::Vec<_>| metadata.access.may_leave(&author.device, past, ended);
    let is_departure = departures.next().is_none_or(may_leave) && departures.next().is_none();
    let is_cut = |record: &Record| matches!(record, Record::Meta(MetaRecord::Cut { .. }));
    // Nobody saws off the branch on which it sits; and all that a log stands for it says when it begins.
    let is_of_another_log = |record: &Record| match record {
        Record::Meta(MetaRecord::Cut { incarnation, first, last }) => {
            generation == 1 && *incarnation != author.incarnation && (1..=*last).contains(first)
        }
        _ => true,
    };
    let cuts = records.iter().filter(|record| is_cut(record)).count();
    let mut forks = records.iter().filter_map(|record| match record {
        Record::Meta(MetaRecord::Fork(fork)) => Some(fork),
        _ => None,
    });
    let is_news = forks
        .next()
        .is_none_or(|it| metadata.access.may_prove(Some(past), (&it.author, it.prefix), it.key()));
    let repeats = |record: &&Record| matches!(record, Record::Meta(MetaRecord::Repeats { .. }));
    is_sayable
        && says_its_key(author, generation, records)
        && is_departure
        && is_news
        && forks.next().is_none()
        && records.iter().all(is_of_another_log)
        && cuts <= limits::MAX_CUTS
        && records.iter().filter(repeats).count() <= limits::MAX_FORKS
        && said.next().is_none()
}

/// Takes in what becomes of a generation that was allowed, and gives something by which nothing else that is known is judged
/// otherwise: see [`Access::take`].
pub(crate) fn judge_alone(access: &mut Access, pasts: Numbered<'_>, at: At<'_>, records: &[Record]) {
    if let Some(place) = at.place
        && records.iter().any(|record| lets_in(record).is_some())
        && !access.judgement().is_clean()
    {
        let counts = right_for(access, access.judgement(), pasts, at, records).is_some();
        access.judge_alone(place, counts);
    }
}

/// Whether of the keys of its device a generation says what it has to: the first of a log that is not of the first key of
/// which the log is, and any other nothing. That the chain holds is looked at elsewhere.
fn says_its_key(author: &Author, generation: Generation, records: &[Record]) -> bool {
    let mut chains = records.iter().filter_map(|record| match record {
        Record::Meta(MetaRecord::Rollover { chain, nonce, .. }) => Some((chain, *nonce)),
        _ => None,
    });
    let rollovers = author.incarnation.rollovers();
    let is_own = |(chain, nonce): (&KeyChain, u64)| {
        chain.device() == author.device
            && chain.rollovers() == rollovers
            && chain.owns(author.incarnation, nonce)
    };
    let says = chains.next();
    says.is_some() == (generation == 1 && rollovers > 0) && says.is_none_or(is_own) && chains.next().is_none()
}

/// Whether a generation that was allowed counts by a judgement. `past` is the metadata in its past, itself included.
pub(crate) fn counts(
    metadata: &Metadata,
    (judgement, pasts): (&Judgement, Numbered<'_>),
    author: &Author,
    (place, stamp): (Place, Hlc),
    records: &[Record],
    past: &Past,
) -> bool {
    if judgement.is_clean() {
        return true;
    }
    if judgement.is_cut(author, place.1) {
        return false;
    }
    let at = At { author: *author, place: Some(place), generation: place.1, stamp, past };
    right_for(&metadata.access, judgement, pasts, at, records).is_some()
}
