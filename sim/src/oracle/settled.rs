//! Oracles of the end: everybody agrees (S-12), and nothing that was acknowledged is lost (S-9).

use std::collections::BTreeSet;

use driftless::read;
use driftless::{SyncgroupId, SyncgroupState};

use super::rows::{collections, fault, name};
use super::{Checked, Oracle, Seen, Violation, Watch};

impl Watch {
    /// Whether all replicas agree: nobody waits to get in, and the active members of each syncgroup hold the
    /// same. Says who does not.
    pub(crate) fn agreed(&self, all: &[Seen<'_>]) -> Checked {
        for seen in all {
            for group in seen.core.syncgroups() {
                if matches!(group.state, SyncgroupState::Joining | SyncgroupState::Pending) {
                    let what = format!("is still {:?} in {:?}", group.state, group.id);
                    return Err(Violation::new(Oracle::Convergence, "S-32", seen.replica, what));
                }
            }
        }
        for (group, active) in active(all) {
            let Some((first, rest)) = active.split_first() else { continue };
            for other in rest {
                let knows = |seen: &Seen<'_>| (seen.core.held(&group), seen.core.knowledge(&group));
                let (one, two) = (knows(first), knows(other));
                if one != two {
                    let what = format!(
                        "of {group:?} replica {} holds {one:?}, replica {} holds {two:?}",
                        first.replica, other.replica
                    );
                    return Err(disagreement("S-21", first, other, what));
                }
            }
            if let Some(seen) =
                active.iter().find(|seen| seen.core.held(&group) != seen.core.knowledge(&group))
            {
                let what = format!("of {group:?} not all is shown that is held");
                return Err(Violation::new(Oracle::Convergence, "S-28", seen.replica, what));
            }
            members(&group, &active, all)?;
            self.arrived(&group, &active)?;
        }
        Ok(())
    }

    /// What was acknowledged as safe is held by every member, also if its author has left since.
    fn arrived(&self, group: &SyncgroupId, active: &[Seen<'_>]) -> Checked {
        for (_, version, author) in self.safe.iter().filter(|(of, ..)| of == group) {
            if let Some(seen) = active.iter().find(|seen| !self.held_by(seen.replica, group, version)) {
                let what = format!(
                    "does not hold {version:?} of {group:?}, which replica {author} was told is safe"
                );
                return Err(Violation::new(Oracle::SilentLoss, "S-9", seen.replica, what));
            }
        }
        Ok(())
    }

    /// Checks everything that must be true in the end, once all agree on what they hold.
    pub(crate) fn settled(&self, all: &[Seen<'_>]) -> Checked {
        for seen in all {
            self.look(*seen)?;
            self.all_heads(*seen)?;
        }
        for (group, active) in active(all) {
            same_view(&group, &active)?;
            for (of, version, author) in &self.safe {
                if *of == group {
                    let members = active.iter().map(|seen| seen.replica);
                    let expected: BTreeSet<usize> = members.chain([*author]).collect();
                    self.kept(all, &group, version, &expected)?;
                }
            }
        }
        Ok(())
    }

    /// A batch that was acknowledged is held, and each of its rows is a head there or is in the past of one.
    fn kept(
        &self,
        all: &[Seen<'_>],
        group: &SyncgroupId,
        version: &driftless::Version,
        expected: &BTreeSet<usize>,
    ) -> Checked {
        for seen in all.iter().filter(|seen| expected.contains(&seen.replica)) {
            let lost = |what| Err(Violation::new(Oracle::SilentLoss, "S-9", seen.replica, what));
            if !self.held_by(seen.replica, group, version) {
                return lost(format!(
                    "does not hold {version:?} of {group:?}, which was acknowledged as safe"
                ));
            }
            let collections = collections(*seen)?;
            let rows = self.model.generation(group, version).map(|it| &it.rows);
            for row in rows.into_iter().flatten().map(|(row, _)| row) {
                let Some(collection) = collections.get(&(*group, row.collection.clone())) else {
                    return lost(format!("has no collection {}", row.collection));
                };
                let heads = read::heads(seen.store, collection, &row.key).map_err(fault(*seen))?;
                if !heads.iter().any(|head| self.covers(group, &head.version, version)) {
                    let row = name(group, row);
                    return lost(format!(
                        "{row} shows neither {version:?}, acknowledged as safe, nor what knew it"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The syncgroups, each with the replicas that are active members of it.
fn active<'a>(all: &[Seen<'a>]) -> Vec<(SyncgroupId, Vec<Seen<'a>>)> {
    let groups = all.iter().flat_map(|seen| seen.core.syncgroups()).map(|group| group.id);
    let groups: BTreeSet<SyncgroupId> = groups.collect();
    let is_active = |seen: &&Seen<'a>, id: &SyncgroupId| {
        let mut groups = seen.core.syncgroups().into_iter();
        groups.any(|group| group.id == *id && group.state == SyncgroupState::Active)
    };
    groups
        .into_iter()
        .map(|id| (id, all.iter().filter(|seen| is_active(seen, &id)).copied().collect()))
        .collect()
}

/// Replicas that hold the same show the same, by their own digests too (S-12).
fn same_view(group: &SyncgroupId, active: &[Seen<'_>]) -> Checked {
    let Some((first, rest)) = active.split_first() else { return Ok(()) };
    for other in rest {
        if first.core.visible_digest(group) != other.core.visible_digest(group) {
            let what = format!("the digests of what is shown of {group:?} differ");
            return Err(disagreement("S-12", first, other, what));
        }
        let (one, two) = (first.core.members(group), other.core.members(group));
        if one != two {
            let what = format!("the members of {group:?} are {one:?} here and {two:?} there");
            return Err(disagreement("S-20", first, other, what));
        }
        let info = |seen: &Seen<'_>| {
            let info = seen.core.syncgroups().into_iter().find(|info| info.id == *group);
            info.map(|info| (info.name, info.collections, info.members, info.generations))
        };
        if info(first) != info(other) {
            let what = format!("of {group:?} one says {:?}, the other {:?}", info(first), info(other));
            return Err(disagreement("S-20", first, other, what));
        }
    }
    Ok(())
}

/// Who is listed as a member is one, and who is one is listed (S-30).
fn members(group: &SyncgroupId, active: &[Seen<'_>], all: &[Seen<'_>]) -> Checked {
    let Some(first) = active.first() else { return Ok(()) };
    let listed = first.core.members(group).unwrap_or_default();
    let listed: BTreeSet<_> =
        listed.into_iter().filter(|member| member.rights.is_some()).map(|member| member.device).collect();
    let real: BTreeSet<_> = active.iter().map(|seen| seen.core.author().device).collect();
    let odd = |seen: &&Seen<'_>| {
        let device = seen.core.author().device;
        listed.contains(&device) != real.contains(&device)
    };
    let Some(odd) = all.iter().find(odd) else { return Ok(()) };
    let state = odd.core.syncgroups().into_iter().find(|info| info.id == *group).map(|info| info.state);
    let state = state.map_or("a stranger".to_owned(), |state| format!("{state:?}"));
    let is = if listed.contains(&odd.core.author().device) { "a member" } else { "none" };
    let what = format!("lists replica {} as {is} of {group:?}; that one says it is {state}", odd.replica);
    Err(Violation {
        oracle: Oracle::Convergence,
        rule: "S-30",
        replicas: vec![first.replica, odd.replica],
        what,
    })
}

fn disagreement(rule: &'static str, one: &Seen<'_>, two: &Seen<'_>, what: String) -> Violation {
    Violation { oracle: Oracle::Convergence, rule, replicas: vec![one.replica, two.replica], what }
}
