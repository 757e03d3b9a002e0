//! What somebody may take from others (S-35).

use std::collections::BTreeSet;

use driftless::{DeviceId, Knowledge, Rights, SyncgroupId, Version, Wall};

use super::access::{For, Seniority, Way};
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
        let admin = of.standing(Whom::Device(*by), held).into_iter();
        let own = admin
            .filter(|(.., left)| left.at(when) == Some(Rights::Admin))
            .map(|(_, senior, _)| senior)
            .min();
        let theirs = of.standing(whom, held).into_iter().filter(|(way, ..)| way.enrolled.is_none());
        let more = theirs.filter(|(.., left)| !keep.is_some_and(|keep| keep.covers(*left)));
        let (may, may_not): (Vec<_>, Vec<_>) = more.partition(|(way, senior, _)| {
            way.grant.gives.rights != Rights::Admin || own.is_some_and(|own| own < *senior)
        });
        let is_over = |(.., left): &(Way<'_>, Seniority, Granted)| left.at(when).is_none();
        if !may_not.iter().all(is_over) || may.is_empty() && !may_not.is_empty() {
            return Err(may_not.into_iter().map(|(way, ..)| *way.grant.by).collect());
        }
        let grants = may.into_iter().map(|(way, ..)| *way.grant.by).collect();
        let is_theirs = |device: &DeviceId| match whom {
            Whom::Device(it) => it == *device,
            Whom::User(user) => of.enrolments(device).any(|(by, it)| it.user == user && holds(held, by)),
        };
        let logs = held.iter().filter(|(author, last)| is_theirs(&author.device) && **last > 0);
        let until = logs.map(|(author, last)| (*author, *last)).collect();
        Ok(Revoked { grants, until, ..nothing() })
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
        let whom: BTreeSet<Whom> = granted.filter(|whom| *whom != Whom::Device(*by)).collect();
        let ended = whom.iter().filter_map(|whom| {
            let all = self.revoking(group, by, *whom, None, (held, when));
            all.ok().filter(|revoked| !revoked.grants.is_empty())
        });
        ended.collect()
    }
}

impl Group {
    /// What somebody has that still gives something in a set of generations, with what it gives, whatever the time is.
    pub(super) fn standing(&self, whom: Whom, held: &Knowledge) -> Vec<(Way<'_>, Seniority, Granted)> {
        let ways = match whom {
            Whom::Device(device) => {
                let mut ways = self.ways(&device);
                ways.retain(|way| !self.has_left(way.given(), &device, held));
                ways
            }
            Whom::User(_) => self.grants(whom).map(|grant| Way { grant, enrolled: None }).collect(),
        };
        let known = ways.into_iter().filter(|way| way.is_in(held));
        let left = known.filter_map(|way| {
            let senior = self.seniority(&way.grant, held)?;
            Some((way, senior, self.left(&way, held, Some(senior), For::default())?))
        });
        left.collect()
    }
}
