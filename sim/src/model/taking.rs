//! What somebody may take from others (S-35).

use std::collections::BTreeSet;

use driftless::{DeviceId, Knowledge, Rights, SyncgroupId, Version, Wall};

use super::access::{For, Grant, Seniority, Way};
use super::{Granted, Group, Model, Revoked, Whom, holds};

impl Model {
    /// What somebody would lose if a device left them no more than `keep`, and no longer, by all that it holds, at a moment;
    /// `Err` names the grants that are not its to end. Of a device only what is granted to it by itself. What is over by
    /// then, and not its to end, is left alone, unless there is nothing else.
    ///
    /// # Errors
    /// Nothing can be taken from a senior.
    pub fn revoking(
        &self,
        group: &SyncgroupId,
        by: &DeviceId,
        whom: Whom,
        keep: Option<Granted>,
        (held, when): (&Knowledge, Option<Wall>),
    ) -> Result<Revoked, BTreeSet<Version>> {
        let nothing = || Revoked { whom, grants: BTreeSet::new(), keep, until: Knowledge::new() };
        let Some(of) = self.groups.get(group) else { return Ok(nothing()) };
        let own = of.best(by, (held, when));
        let theirs = of.standing(whom, held).into_iter().filter(|(way, ..)| way.enrolled.is_none());
        let more = theirs.filter(|(.., left)| !keep.is_some_and(|keep| keep.covers(*left)));
        let (may, may_not): (Vec<_>, Vec<_>) = more.partition(|(way, senior, _)| {
            way.grant.gives.rights != Rights::Admin
                || own.zip(*senior).is_some_and(|(own, senior)| own < senior)
        });
        let is_over = |(.., left): &(Way<'_>, Option<Seniority>, Granted)| left.at(when).is_none();
        if !may_not.iter().all(is_over) || may.is_empty() && !may_not.is_empty() {
            return Err(may_not.into_iter().map(|(way, ..)| *way.grant.by).collect());
        }
        let grants = may.into_iter().map(|(way, ..)| *way.grant.by).collect();
        let is_theirs = |device: &DeviceId| match whom {
            Whom::Device(it) => it == *device,
            Whom::User(user) => of.enrolments(device).any(|(by, it)| it.user == user && holds(held, by)),
            Whom::Everybody => true,
        };
        let logs = held.iter().filter(|(author, last)| is_theirs(&author.device) && **last > 0);
        let until = logs.map(|(author, last)| (*author, *last)).collect();
        Ok(Revoked { grants, until, ..nothing() })
    }

    /// What a device would lose by being removed: what is left to it, and what nothing ended but its own departure, as a
    /// copy of it may not know of that. `Err` where that is not for `by` to take.
    pub fn ejecting(
        &self,
        group: &SyncgroupId,
        by: &DeviceId,
        device: &DeviceId,
        (held, when): (&Knowledge, Option<Wall>),
    ) -> Result<Revoked, BTreeSet<Version>> {
        let mut revoked = self.revoking(group, by, Whom::Device(*device), None, (held, when))?;
        let Some(of) = self.groups.get(group) else { return Ok(revoked) };
        let own = of.best(by, (held, when));
        let forsaken = of.forsaken(device, held);
        let mine = forsaken.iter().filter(|(grant, senior)| {
            grant.gives.rights != Rights::Admin || own.zip(*senior).is_some_and(|(own, senior)| own < senior)
        });
        revoked.grants.extend(mine.map(|(grant, _)| *grant.by));
        match revoked.grants.is_empty() && !forsaken.is_empty() {
            true => Err(forsaken.into_iter().map(|(grant, _)| *grant.by).collect()),
            false => Ok(revoked),
        }
    }

    /// Whether nothing but its own departure ended something that was granted to a device.
    pub fn is_forsaken(&self, group: &SyncgroupId, device: &DeviceId, held: &Knowledge) -> bool {
        self.groups.get(group).is_some_and(|of| !of.forsaken(device, held).is_empty())
    }

    /// What everybody would lose of whom a device may take it, by all that it holds.
    pub fn destroying(
        &self,
        group: &SyncgroupId,
        by: &DeviceId,
        (held, when): (&Knowledge, Option<Wall>),
    ) -> Vec<Revoked> {
        let Some(of) = self.groups.get(group) else { return Vec::new() };
        let granted = of.facts().filter_map(|(version, it)| Some(it.says.grants(&version.author.device)?.0));
        let whom: BTreeSet<Whom> =
            granted.filter(|whom| ![Whom::Device(*by), Whom::Everybody].contains(whom)).collect();
        let ended = whom.iter().filter_map(|whom| {
            let all = self.revoking(group, by, *whom, None, (held, when));
            all.ok().filter(|revoked| !revoked.grants.is_empty())
        });
        ended.collect()
    }
}

impl Group {
    /// By how senior a grant a device is an admin at a moment, if it is one.
    fn best(&self, device: &DeviceId, (held, when): (&Knowledge, Option<Wall>)) -> Option<Seniority> {
        let all = self.standing(Whom::Device(*device), held).into_iter();
        let admin = all.filter(|(.., left)| left.at(when) == Some(Rights::Admin));
        admin.filter_map(|(_, senior, _)| senior).min()
    }

    /// The grants to a device itself that count, and of which something would be left if it had not left.
    fn forsaken(&self, device: &DeviceId, held: &Knowledge) -> Vec<(Grant<'_>, Option<Seniority>)> {
        let ways = self.ways(device).into_iter().filter(|way| way.enrolled.is_none() && way.is_in(held));
        let left = ways.filter(|way| self.has_left(way.given(), device, held, (held, None)));
        let counts = left.filter_map(|way| {
            let senior = self.counted(&way.grant, held)?;
            self.left(&way, held, senior, For::default()).map(|_| (way.grant, senior))
        });
        counts.collect()
    }

    /// What somebody has that still gives something in a set of generations, with what it gives, whatever the time is.
    pub(super) fn standing(
        &self,
        whom: Whom,
        held: &Knowledge,
    ) -> Vec<(Way<'_>, Option<Seniority>, Granted)> {
        let ways = match whom {
            Whom::Device(device) => {
                let mut ways = self.ways(&device);
                ways.retain(|way| !self.has_left(way.given(), &device, held, (held, None)));
                ways
            }
            Whom::User(_) | Whom::Everybody => {
                self.grants(whom).map(|grant| Way { grant, enrolled: None }).collect()
            }
        };
        let known = ways.into_iter().filter(|way| way.is_in(held));
        let left = known.filter_map(|way| {
            let senior = self.counted(&way.grant, held)?;
            Some((way, senior, self.left(&way, held, senior, For::default())?))
        });
        left.collect()
    }
}
