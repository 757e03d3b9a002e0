//! The oracle of rights: who may do what is what the model finds by what the replica holds that says so (S-30, S-34).

use std::collections::BTreeMap;

use driftless::{Knowledge, Rights, SyncgroupInfo, SyncgroupState, Wall};

use super::{Checked, Oracle, Seen, Violation, Watch};
use crate::model::{Granted, Whom};

impl Watch {
    /// Members and users are listed with the rights that they have, and nobody is left out who has any.
    pub(super) fn tells_the_rights(&self, seen: Seen<'_>) -> Checked {
        for info in seen.core.syncgroups() {
            let held = seen.core.held(&info.id).unwrap_or_default();
            let members = seen.core.members(&info.id).unwrap_or_default().into_iter();
            let members = members.map(|it| (Whom::Device(it.device), self.listed(it.rights)));
            let users = seen.core.users(&info.id).unwrap_or_default().into_iter();
            let users = users.map(|it| (Whom::User(it.user), it.rights));
            // Who is listed as a former member has none.
            let listed = members.chain(users).filter_map(|(whom, rights)| Some((whom, rights?)));
            let listed: BTreeMap<Whom, Rights> = listed.collect();
            let clock = seen.core.clock();
            let now = Some(self.sabotage.map_or(clock, |it| it.moment(clock)));
            let real = self.model.all_rights(&info.id, &held, now);
            self.tells_the_ends(seen, &info.id, &held)?;
            self.tells_the_openness(seen, &info, &held)?;
            let rights = |of: &BTreeMap<Whom, Rights>, whom: &Whom| of.get(whom).copied();
            let mut all = listed.keys().chain(real.keys());
            if let Some(odd) = all.find(|whom| rights(&listed, whom) != rights(&real, whom)) {
                let (told, has) = (rights(&listed, odd), rights(&real, odd));
                let what = format!("lists {odd:?} of {:?} with {told:?}, which has {has:?}", info.id);
                return Err(Violation::new(Oracle::Access, "S-34", seen.replica, what));
            }
            let own = rights(&real, &Whom::Device(seen.core.author().device));
            self.knows_its_own(seen, &info, own)?;
        }
        Ok(())
    }

    /// Members and users are listed with the end of what they may do, or with the end that has come.
    fn tells_the_ends(&self, seen: Seen<'_>, group: &driftless::SyncgroupId, held: &Knowledge) -> Checked {
        let now = Some(seen.core.clock());
        let members = seen.core.members(group).unwrap_or_default().into_iter();
        let members = members.map(|it| (Whom::Device(it.device), it.ends, it.expired));
        let users = seen.core.users(group).unwrap_or_default().into_iter();
        let users = users.map(|it| (Whom::User(it.user), it.ends, it.expired));
        for (whom, ends, expired) in members.chain(users) {
            let left = self.model.left_to(group, whom, held);
            // For ever is later than any time.
            let latest = |ends: Option<Wall>| (ends.is_none(), ends);
            let most = left.iter().max_by_key(|it| (it.at(now), latest(it.ends), it.rights));
            let is_over = most.is_some_and(|it| it.at(now).is_none());
            let real = most.and_then(|it| it.ends);
            if (ends, expired) != (real, is_over) {
                let what = format!(
                    "says that the time of {whom:?} in {group:?} ends {ends:?}, over: {expired}; that is {real:?}, {is_over}"
                );
                return Err(Violation::new(Oracle::Access, "S-34", seen.replica, what));
            }
        }
        Ok(())
    }

    /// It is told what is granted to everybody.
    fn tells_the_openness(&self, seen: Seen<'_>, info: &SyncgroupInfo, held: &Knowledge) -> Checked {
        let real = self.model.open(&info.id, held, Some(seen.core.clock()));
        let told = info.open.map(|it| Granted { rights: it.rights, ends: it.ends });
        if told == real {
            return Ok(());
        }
        let what = format!("says that everybody is granted {told:?} in {:?}; that is {real:?}", info.id);
        Err(Violation::new(Oracle::Access, "S-3", seen.replica, what))
    }

    fn listed(&self, rights: Option<Rights>) -> Option<Rights> {
        let sabotage = self.sabotage;
        rights.map(|rights| sabotage.map_or(rights, |it| it.listed(rights)))
    }

    /// Whether what follows from an end may not be found out yet: that is done by the next tick, which is due.
    pub(super) fn is_due(&self, seen: Seen<'_>, info: &SyncgroupInfo) -> bool {
        let at_once = seen.core.next_deadline() == Some(driftless::Mono(0));
        at_once && self.model.ends_in(&info.id).next().is_some()
    }

    /// A device knows what it may do itself, and whether it is a member.
    fn knows_its_own(&self, seen: Seen<'_>, info: &SyncgroupInfo, own: Option<Rights>) -> Checked {
        // Its stamps may lie ahead of the clock by which its time is not over yet: then it cannot even leave.
        let is_mute = || {
            let held = seen.core.held(&info.id).unwrap_or_default();
            let (device, moment) = (seen.core.author().device, self.moment(seen.core));
            self.model.rights(&info.id, &device, &held, moment).is_none()
        };
        let is_right = match info.state {
            _ if self.is_due(seen, info) => true,
            SyncgroupState::Active => own.is_some(),
            // What lets it in may be on its way, or may not be shown yet; or what it must hold before it can leave.
            SyncgroupState::Pending | SyncgroupState::Leaving => true,
            SyncgroupState::Left => own.is_none() || is_mute(),
            _ => own.is_none(),
        };
        if info.rights == own && is_right {
            return Ok(());
        }
        let SyncgroupInfo { id, state, rights, .. } = info;
        let what = format!("says that it is {state:?} in {id:?}, and has {rights:?}; it has {own:?}");
        Err(Violation::new(Oracle::Access, "S-34", seen.replica, what))
    }
}
