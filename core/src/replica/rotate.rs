//! Taking another key (S-1).
//!
//! The driver makes the key, has the old one sign for it, and keeps both the secret and the chain before anything else
//! happens: from then on the device has that key, whatever comes. So there are two ways to get here, and they do the same:
//! a command, and a boot with a chain that is longer than the one that the store knows, as the machine stopped in between or
//! the store was set back.
//!
//! The device goes on as another author, so each log is of one key. In every syncgroup that it is in, it says so at once
//! in the first generation of its new log: with that the others know that the old key has ended, and what of its logs stays
//! (see `syncgroup/access/keys`). Where it cannot write yet, as the syncgroup is still arriving, it says so as soon as it
//! can, and in any case before anything else in that log.

use alloc::vec::Vec;

use super::Stop;
use super::plan::Plan;
use crate::action::{Outcome, Refusal};
use crate::crypto::Keys;
use crate::hash;
use crate::id::{Author, DeviceId};
use crate::keys::NewKey;
use crate::log::record::{MetaRecord, Until};
use crate::store::Fault;
use crate::store::key::GroupIx;
use crate::syncgroup::command::Means;
use crate::syncgroup::group::{Group, Stage};
use crate::time::Wall;

/// Takes another key.
pub(crate) fn rotate(plan: &mut Plan<'_>, means: &Means<'_>, new: NewKey) -> Result<Outcome, Stop> {
    let now = &plan.replica.keys;
    if now.chain.starts_with(&new.chain) {
        return Ok(Outcome::KeyRotated(now.chain.clone())); // It was asked for before, and maybe one after it.
    }
    let keys = Keys::of(new.secret, new.chain, now.scheme).filter(|keys| keys.chain.is_beyond(&now.chain));
    let keys = keys.ok_or(Refusal::Key)?;
    let chain = keys.chain.clone();
    let drawn = hash::derive(hash::ROLLOVER, &[&means.nonce]).0;
    plan.take_key(keys);
    plan.reincarnate(drawn.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)));
    say_key(plan, means.wall)?;
    Ok(Outcome::KeyRotated(chain))
}

/// Says of which key this device is wherever it has not yet, and can.
pub(crate) fn say_key(plan: &mut Plan<'_>, wall: Wall) -> Result<(), Fault> {
    let silent: Vec<GroupIx> = silent(plan).collect();
    for group in silent {
        if !is_news(plan, group)? {
            continue;
        }
        match plan.begin_log(group, wall) {
            Err(Stop::Fault(fault)) => return Err(fault),
            // What lets it write may have to wait for the rest of a batch: it is looked at again.
            Ok(()) | Err(Stop::Refused(_)) => {}
        }
    }
    Ok(())
}

/// Whether this device has said somewhere of which key it is and that does not count, as it was removed beside it, and it has
/// been let in again since: then it has to begin other logs to say it again.
pub(crate) fn speaks_in_vain(plan: &Plan<'_>) -> bool {
    let own = plan.own();
    let mut groups = plan.replica.groups.values().filter(|group| might_write(group, &own.device));
    plan.keys().chain.rollovers() > 0
        && groups.any(|group| {
            let says_in_vain = |pasts| group.metadata.access.says_in_vain(pasts, &own);
            plan.pasts(group.ix).is_some_and(says_in_vain)
        })
}

/// Whether nothing that counts says it yet, or not that all stays of earlier keys' logs that this device would say does.
/// Otherwise it says so again, in a log that it begins as its store may have been set back, only before anything else there.
fn is_news(plan: &Plan<'_>, group: GroupIx) -> Result<bool, Fault> {
    let Some(access) = plan.metadata(group).map(|metadata| &metadata.access) else { return Ok(false) };
    let (device, keys) = (plan.own().device, &plan.keys().chain);
    if access.keys_of(&device).is_none_or(|known| !known.starts_with(keys)) {
        return Ok(true);
    }
    let Some(MetaRecord::Rollover { until, .. }) = plan.word_on_keys(group)? else { return Ok(false) };
    Ok(until.into_iter().any(|Until { incarnation, last, tag }| {
        !access.stays(&Author { device, incarnation }).any(|said| said == (last, tag))
    }))
}

/// The syncgroups in which this device has written nothing yet under its present name, and might.
fn silent(plan: &Plan<'_>) -> impl Iterator<Item = GroupIx> {
    let (own, has_rolled) = (plan.own(), plan.keys().chain.rollovers() > 0);
    let groups =
        plan.replica.groups.values().filter(move |group| {
            has_rolled && might_write(group, &own.device) && plan.held(group.ix, &own) == 0
        });
    groups.map(|group| group.ix)
}

fn might_write(group: &Group, device: &DeviceId) -> bool {
    group.record.stage == Stage::Active && group.metadata.access.rights(device).is_some()
}
