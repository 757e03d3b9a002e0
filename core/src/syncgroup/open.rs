//! Opening a syncgroup to everybody, and closing it (S-3).

use alloc::vec::Vec;

use super::Rights;
use super::access::{Holder, Left};
use super::command::{Means, active, require};
use super::group::Group;
use super::remove::write_ends;
use crate::action::{Outcome, Refusal};
use crate::id::{Author, Generation, SyncgroupId};
use crate::log::record::MetaRecord;
use crate::replica::Stop;
use crate::replica::plan::Plan;

/// Grants everybody something, or other rights than before; or nothing.
pub(super) fn set(
    plan: &mut Plan<'_>,
    means: &Means<'_>,
    syncgroup: &SyncgroupId,
    wanted: Option<Left>,
) -> Result<Outcome, Stop> {
    let group = active(plan.replica, syncgroup)?;
    require(plan.replica, group, Rights::Admin, "say what everybody is granted")?;
    if wanted.is_some_and(|wanted| wanted.rights == Rights::Admin) {
        return Err(Refusal::NotForEverybody.into());
    }
    let access = &group.metadata.access;
    let mut records = Vec::new();
    let above = access.grants_above(Holder::Everybody, wanted);
    if !above.is_empty() {
        let grants = above.into_iter().map(|(grant, _)| grant).collect();
        let (keep, ends) = (wanted.map(|wanted| wanted.rights), wanted.and_then(Left::end));
        let until = written_by_all(plan, group);
        records.push(MetaRecord::Close { grants, keep, ends, until });
    }
    // What is lessened leaves all that is wanted where there was that much.
    if let Some(wanted) = wanted.filter(|wanted| !access.has_everybody(*wanted)) {
        let (rights, ends) = (wanted.rights, wanted.end());
        records.push(MetaRecord::Open { rights, ends });
    }
    write_ends(plan, group, means.wall, records)?;
    Ok(Outcome::EverybodysRightsSet(*syncgroup, wanted.map(|wanted| wanted.rights)))
}

/// What is held of all logs in which somebody may have been let in.
fn written_by_all(plan: &Plan<'_>, group: &Group) -> Vec<(Author, Generation)> {
    group.metadata.access.acting().map(|ix| (plan.author(ix), group.held(ix))).collect()
}
