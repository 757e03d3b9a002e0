//! Oracles of the end: everybody agrees (S-12), and nothing that was acknowledged is lost (S-9).

use std::collections::BTreeSet;

use driftless::read;
use driftless::{Author, DeviceId, SyncgroupId, SyncgroupState};

use super::collections::collections;
use super::rows::{fault, name};
use super::{Checked, Oracle, Seen, Violation, Watch};
use crate::coverage::Coverage;
use crate::model::Whom;

/// How long it may take until what follows from an end is the same everywhere, in milliseconds.
const AFTER_AN_END: u64 = 20_000;
/// What ends later than that ends when nobody looks any more, in milliseconds.
const LATER: u64 = 1_800_000;

impl Watch {
    /// Whether all replicas agree: nobody waits to get in or out, and the active members of each syncgroup hold the
    /// same. Says who does not.
    pub(crate) fn agreed(&self, all: &[Seen<'_>]) -> Checked {
        for seen in all {
            for group in seen.core.syncgroups() {
                if waits(group.state) && !self.may_wait(*seen, &group.id, all) {
                    let what = format!("is still {:?} in {:?}", group.state, group.id);
                    return Err(Violation::new(Oracle::Convergence, "S-32", seen.replica, what));
                }
            }
        }
        for (group, active) in self.active(all) {
            self.know_their_end(&group, &active, all)?;
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
            self.members(&group, &active, all)?;
            self.arrived(&group, &active, all)?;
        }
        self.offered(all)?;
        self.not_withdrawn(all)
    }

    /// Whether anybody still lacks what it has held back because its time had not come (S-27): a member, somebody whom a
    /// member takes for one and who did not get in when it asked, or somebody who has left and found no member who would
    /// know, for those go on telling each other.
    pub(crate) fn awaits_its_time(&self, all: &[Seen<'_>]) -> bool {
        let is_hostile = |author: &Author| {
            let by = self.devices.iter().position(|device| *device == author.device);
            by.is_some_and(|by| self.fates[by].hostile)
        };
        let state = |seen: &Seen<'_>, group: &SyncgroupId| {
            let infos = seen.core.syncgroups();
            infos.into_iter().find(|info| info.id == *group).map(|info| info.state)
        };
        // What was taken back, and has never come further, comes no more.
        let is_somewhere = |group: &SyncgroupId, author: &Author, held: u64| {
            all.iter().any(|it| it.core.held(group).is_some_and(|it| it.get(author) > Some(&held)))
        };
        let mut held_back = self.held_back.iter().filter(|((.., author), _)| !is_hostile(author));
        held_back.any(|(of, held)| {
            use SyncgroupState::{Active, Left, Pending, Refused};
            let (replica, group, author) = of;
            let Some(seen) = all.iter().find(|seen| seen.replica == *replica) else { return false };
            let has_left_too = || {
                all.iter()
                    .any(|it| self.devices[it.replica] == author.device && state(it, group) == Some(Left))
            };
            let device = &self.devices[*replica];
            let is_let_in = || {
                all.iter()
                    .any(|it| state(it, group) == Some(Active) && lists(it, group, device) == Some(true))
            };
            let takes = match state(seen, group) {
                Some(Active | Pending) => true,
                Some(Refused(_)) => is_let_in(),
                Some(Left) => has_left_too(),
                _ => false,
            };
            let known = seen.core.knowledge(group).unwrap_or_default();
            takes && is_somewhere(group, author, *held) && known.get(author).copied().unwrap_or(0) <= *held
        })
    }

    /// Whether a replica is a member by all that was ever written and its own clock.
    pub(super) fn is_member(&self, group: &SyncgroupId, replica: usize) -> bool {
        self.model.is_member(group, &self.devices[replica], Some(self.notes[replica].clock))
    }

    /// Whether a replica is no member, and would not be one if it had not left: its time is over.
    fn is_over(&self, group: &SyncgroupId, replica: usize) -> bool {
        let (device, clock) = (self.devices[replica], self.notes[replica].clock);
        let is_its = |whom: &Whom| match whom {
            Whom::Device(of) => *of == device,
            Whom::User(user) => self.is_device_of(group, user, &device),
            Whom::Everybody => false,
        };
        !self.is_member(group, replica)
            && self.model.ends_in(group).any(|(whom, end)| is_its(&whom) && end < clock)
    }

    /// Whether somebody's time is about to be over, or was a moment ago, by some clock: until then who is a member is not
    /// the same everywhere, or will not stay so while anybody looks.
    pub(crate) fn awaits_an_end(&self, all: &[Seen<'_>]) -> bool {
        let clocks = || all.iter().map(|seen| self.notes[seen.replica].clock.0);
        let (Some(first), Some(last)) = (clocks().min(), clocks().max()) else { return false };
        let mut ends = self.model.all_ends();
        ends.any(|end| end.0.saturating_add(AFTER_AN_END) >= first && end.0 <= last.saturating_add(LATER))
    }

    /// Whoever is no member any more has heard of it from those whom it takes for members and who know (S-36). Who has
    /// extended its own time just before it was over is one; but nobody takes that from it whose clock says that it is.
    fn know_their_end(&self, group: &SyncgroupId, active: &[Seen<'_>], all: &[Seen<'_>]) -> Checked {
        for seen in active {
            let device = self.devices[seen.replica];
            let held = seen.core.knowledge(group).unwrap_or_default();
            // Whoever has all that another one has knows no less: it may have been let in again since.
            let knows_more = |other: &Seen<'_>| {
                let theirs = other.core.knowledge(group).unwrap_or_default();
                theirs.iter().any(|(author, last)| held.get(author).is_none_or(|own| own < last))
            };
            let tells = |other: &&Seen<'_>| {
                lists(seen, group, &self.devices[other.replica]) == Some(true)
                    && lists(other, group, &device) == Some(false)
                    && !self.was_extended_beside(group, seen.replica, other)
                    && knows_more(other)
            };
            if let Some(other) = all.iter().find(tells) {
                let what =
                    format!("takes itself for a member of {group:?}; replica {} knows better", other.replica);
                return Err(disagreement("S-36", seen, other, what));
            }
        }
        Ok(())
    }

    /// What was acknowledged as safe is held by every member, also if its author has left since. What is gone
    /// with its author's disk before it reached anybody is nowhere.
    fn arrived(&self, group: &SyncgroupId, active: &[Seen<'_>], all: &[Seen<'_>]) -> Checked {
        for (_, version, author) in self.safe.iter().filter(|(of, ..)| of == group) {
            let version = &self.called_now(group, version);
            let is_there = active.iter().any(|seen| self.held_by(seen.replica, group, version));
            let is_elsewhere = || self.stands_apart_from(*author, group, active, all);
            if self.model.is_void_in_the_end(group, version)
                || !is_there && (self.may_be_gone(group, *author, active) || is_elsewhere())
            {
                continue;
            }
            if let Some(seen) = active.iter().find(|seen| !self.held_by(seen.replica, group, version)) {
                let what = format!(
                    "does not hold {version:?} of {group:?}, which replica {author} was told is safe"
                );
                return Err(Violation::new(Oracle::SilentLoss, "S-9", seen.replica, what));
            }
        }
        Ok(())
    }

    /// Whether a replica is none of those who stand together, and others stand apart from them: what it wrote may be with
    /// those.
    fn stands_apart_from(
        &self,
        replica: usize,
        group: &SyncgroupId,
        together: &[Seen<'_>],
        all: &[Seen<'_>],
    ) -> bool {
        together.iter().all(|seen| seen.replica != replica)
            && self.active(all).iter().filter(|(id, _)| id == group).count() > 1
    }

    /// Whether what a replica was told is safe may be held by no member: its disk is not what it was, or it has
    /// left, and whoever it told may not be what it was; or its time was over before it could tell anybody. Or nobody of
    /// those who are there has it for a member, as whoever let it in has another disk than then, and has taken another key: what
    /// the disk had lost by then does not count.
    fn may_be_gone(&self, group: &SyncgroupId, author: usize, active: &[Seen<'_>]) -> bool {
        let is_anybody_changed = self.fates.iter().any(|fate| fate.is_changed());
        let written = self.model.written(group);
        let mut changed = self.devices.iter().zip(&self.fates).filter(|(_, fate)| fate.is_changed());
        let mut is_ended = || {
            changed.any(|(device, _)| {
                self.model.keys_of(group, device, &written).is_some()
                    && self.has_let_in(group, device, &self.devices[author])
            })
        };
        let is_listed = || active.iter().any(|seen| lists(seen, group, &self.devices[author]) == Some(true));
        self.fates[author].is_changed()
            || self.is_over(group, author)
            || is_anybody_changed && !self.is_member(group, author)
            || is_ended() && !is_listed()
    }

    /// Whether a replica may still wait to be let in: whoever would let it in is not there, or is not what it was, or the
    /// time of both was over before it had all, and nobody who knows it and is in, or is about to be, could tell it more. Or its disk was set back behind its
    /// own departure, which nobody tells it of: whoever has left gets nothing more.
    fn may_wait(&self, seen: Seen<'_>, group: &SyncgroupId, all: &[Seen<'_>]) -> bool {
        let device = self.devices[seen.replica];
        let knows_more = |other: &Seen<'_>| {
            let members = other.core.members(group).unwrap_or_default();
            let is_listed = members.iter().any(|member| member.device == device && member.rights.is_some());
            is_listed && other.core.knowledge(group) != seen.core.knowledge(group)
        };
        let active =
            self.active(all).into_iter().filter(|(id, _)| id == group).flat_map(|(_, active)| active);
        let is_pending = |other: &&Seen<'_>| {
            let mut groups = other.core.syncgroups().into_iter();
            groups.any(|info| info.id == *group && info.state == SyncgroupState::Pending)
        };
        let pending = all.iter().filter(|other| other.replica != seen.replica).filter(is_pending).copied();
        let has_left =
            !self.model.departures(group, &device).is_empty() && !self.is_member(group, seen.replica);
        let has_forgotten = self.fates[seen.replica].set_back && has_left;
        has_forgotten
            || (self.waits_in_vain(&device, group) || self.is_over(group, seen.replica))
                && !active.chain(pending).any(|other| knows_more(&other))
    }

    /// Checks everything that must be true in the end, once all agree on what they hold.
    pub(crate) fn settled(&self, all: &[Seen<'_>]) -> Checked {
        for seen in all {
            // What was reached in the course of the run was counted then.
            self.look(*seen, &mut Coverage::default())?;
            self.all_heads(*seen)?;
            self.conflicts(*seen)?;
        }
        for (group, active) in self.active(all) {
            same_view(&group, &active)?;
            for (_, version, author) in self.safe.iter().filter(|(of, ..)| *of == group) {
                let version = &self.called_now(&group, version);
                let members = || active.iter().map(|seen| seen.replica);
                let is_there = members().any(|replica| self.held_by(replica, &group, version));
                // What does not count may have reached nobody: its author is told that it does not.
                let is_void = self.model.is_void_in_the_end(&group, version);
                // Its author holds it for ever, unless that one's disk is not what it was; or it did not count then, and does
                // not now, and was taken back as it lay ahead of the clock.
                let is_dropped = is_void && self.dropped.contains(&(group, *version));
                let by = (!self.fates[*author].is_changed() && !is_dropped).then_some(*author);
                let is_elsewhere = || self.stands_apart_from(*author, &group, &active, all);
                let is_expected =
                    !is_void && (is_there || !self.may_be_gone(&group, *author, &active) && !is_elsewhere());
                let expected: BTreeSet<usize> = members().filter(|_| is_expected).chain(by).collect();
                self.kept(all, &group, version, &expected)?;
            }
        }
        Ok(())
    }

    /// The syncgroups, each with the replicas that are active members of it. One that was set back to a time when
    /// it was a member may believe that it still is one. Those that do not know of each other, and of nobody who knows
    /// both, as whoever let them in is gone since, have no reason to look for each other: they stand apart. So does who is
    /// a member by what nobody takes from it any more, as its time is over for them.
    fn active<'a>(&self, all: &[Seen<'a>]) -> Vec<(SyncgroupId, Vec<Seen<'a>>)> {
        let groups = all.iter().flat_map(|seen| seen.core.syncgroups()).map(|group| group.id);
        let groups: BTreeSet<SyncgroupId> = groups.collect();
        let is_active = |seen: &&Seen<'a>, id: &SyncgroupId| {
            let mut groups = seen.core.syncgroups().into_iter();
            let fate = self.fates[seen.replica];
            groups.any(|group| group.id == *id && group.state == SyncgroupState::Active)
                && (!fate.set_back || self.is_member(id, seen.replica))
        };
        let mut apart = Vec::new();
        for id in groups {
            let mut left: Vec<Seen<'a>> = all.iter().filter(|seen| is_active(seen, &id)).copied().collect();
            while !left.is_empty() {
                let mut together = self.together(&id, &mut left);
                // Those who hold different branches of a log on which others have built stand apart as well.
                while let Some(first) = together.first().copied() {
                    let (same, others) =
                        together.into_iter().partition(|it| !self.hold_different_branches(&id, &first, it));
                    apart.push((id, same));
                    together = others;
                }
            }
        }
        apart
    }

    /// Takes out the first, with all that know it or know somebody who does, and so on.
    fn together<'a>(&self, group: &SyncgroupId, left: &mut Vec<Seen<'a>>) -> Vec<Seen<'a>> {
        let knows = |one: &Seen<'_>, other: &Seen<'_>| {
            lists(one, group, &self.devices[other.replica]) == Some(true)
                && !self.was_extended_beside(group, one.replica, other)
        };
        let mut together = vec![left.remove(0)];
        while let Some(at) =
            left.iter().position(|it| together.iter().any(|other| knows(it, other) || knows(other, it)))
        {
            together.push(left.remove(at));
        }
        together.sort_by_key(|seen| seen.replica);
        together
    }

    /// Whether another replica takes one for somebody whose time is over, though it has been extended.
    fn was_extended_beside(&self, group: &SyncgroupId, replica: usize, other: &Seen<'_>) -> bool {
        self.is_member(group, replica) && takes_for_over(other, group, &self.devices[replica])
    }

    /// Who is listed as a member is one, and who is one is listed (S-30).
    fn members(&self, group: &SyncgroupId, active: &[Seen<'_>], all: &[Seen<'_>]) -> Checked {
        let Some(first) = active.first() else { return Ok(()) };
        let listed = first.core.members(group).unwrap_or_default();
        let listed: BTreeSet<_> =
            listed.into_iter().filter(|member| member.rights.is_some()).map(|member| member.device).collect();
        let real: BTreeSet<_> = active.iter().map(|seen| self.devices[seen.replica]).collect();
        let odd = |seen: &&Seen<'_>| {
            let device = self.devices[seen.replica];
            listed.contains(&device) != real.contains(&device)
                && !self.is_excused(*first, **seen, group)
                && !self.hold_different_branches(group, first, seen)
        };
        let Some(odd) = all.iter().find(odd) else { return Ok(()) };
        let device = self.devices[odd.replica];
        let state = odd.core.syncgroups().into_iter().find(|info| info.id == *group).map(|info| info.state);
        let state = state.map_or("a stranger".to_owned(), |state| format!("{state:?}"));
        let is = if listed.contains(&device) { "a member" } else { "none" };
        let what = format!("lists replica {} as {is} of {group:?}; that one says it is {state}", odd.replica);
        Err(Violation {
            oracle: Oracle::Convergence,
            rule: "S-30",
            replicas: vec![first.replica, odd.replica],
            what,
        })
    }

    /// Whether a replica may be something else than a member believes: it has lost its memory, waits for one
    /// who does not come, has told nobody of its departure who still knows, or was enrolled as a user's device and does
    /// not know that it might ask, or did not know when it left. Or it takes nothing from that member any more.
    fn is_excused(&self, first: Seen<'_>, odd: Seen<'_>, group: &SyncgroupId) -> bool {
        let device = self.devices[odd.replica];
        let state = odd.core.syncgroups().into_iter().find(|info| info.id == *group).map(|info| info.state);
        if matches!(state, None | Some(SyncgroupState::Refused(_) | SyncgroupState::Left))
            && self.is_enrolled_unasked(group, &device)
        {
            return true;
        }
        let departures = self.model.departures(group, &device);
        // Whoever tells one member of its departure may rest; that one may be gone since.
        let was_told_in_vain = departures.iter().any(|departure| {
            let told = (0..self.fates.len()).filter(|it| self.heard.contains(&(*group, *departure, *it)));
            told.into_iter().any(|it| self.fates[it].is_changed())
        });
        self.fates[odd.replica].set_back
            || self.was_extended_beside(group, first.replica, &odd)
            || self.waits_in_vain(&device, group)
            || was_told_in_vain && !self.knows_departure(first, group, &device)
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
            if self.notes[seen.replica]
                .held
                .get(group)
                .is_some_and(|held| self.model.is_void(group, version, held))
            {
                continue;
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

/// Whether a device waits to get in or out.
pub(crate) fn waits(state: SyncgroupState) -> bool {
    matches!(state, SyncgroupState::Joining | SyncgroupState::Pending | SyncgroupState::Leaving)
}

/// Whether a replica counts a device as a member, or as one that was one; `None` if it has not heard of it.
fn lists(seen: &Seen<'_>, group: &SyncgroupId, device: &DeviceId) -> Option<bool> {
    let members = seen.core.members(group)?;
    members.iter().find(|member| member.device == *device).map(|member| member.rights.is_some())
}

/// Whether a replica lists a device as one whose time is over.
fn takes_for_over(seen: &Seen<'_>, group: &SyncgroupId, device: &DeviceId) -> bool {
    let members = seen.core.members(group).unwrap_or_default();
    members.iter().any(|member| member.device == *device && member.expired)
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
            info.map(|info| (info.name, info.collections, info.members, info.generations, info.publications))
        };
        if info(first) != info(other) {
            let what = format!("of {group:?} one says {:?}, the other {:?}", info(first), info(other));
            return Err(disagreement("S-20", first, other, what));
        }
    }
    Ok(())
}

fn disagreement(rule: &'static str, one: &Seen<'_>, two: &Seen<'_>, what: String) -> Violation {
    Violation { oracle: Oracle::Convergence, rule, replicas: vec![one.replica, two.replica], what }
}
