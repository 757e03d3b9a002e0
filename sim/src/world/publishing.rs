//! People publish syncgroups, and answer where they are published (S-33).

use std::collections::BTreeMap;

use driftless::{Command, Invitation};

use super::replica::Question;
use super::{World, address, label};
use crate::coverage::Point;
use crate::oracle::Checked;
use crate::plan::Act;

/// What somebody at a replica answers to offers of a syncgroup, from when they have made up their mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attitude {
    /// Accept, into this database.
    Accept(u8),
    Decline,
}

/// By replica and syncgroup.
pub(super) type Attitudes = BTreeMap<(usize, u8), Attitude>;

impl World<'_> {
    /// A step that has to do with publication.
    pub(super) fn publishing_step(&mut self, act: &Act) -> Checked {
        match act {
            Act::Publish { replica, group, peer, rights } => {
                let Some(syncgroup) = self.group_at(*replica, *group) else { return Ok(()) };
                let (device, rights, addresses) =
                    (self.replicas[*peer].device, *rights, vec![address(*peer)]);
                let it = &self.replicas[*replica];
                let Some(core) = it.core.as_ref() else { return Ok(()) };
                let expected =
                    self.watch.expect_publish(core, (syncgroup, device), rights, &addresses, it.stopping);
                expected.publishes().into_iter().for_each(|point| self.coverage.hit(point));
                let command = Command::Publish { syncgroup, device, rights, addresses };
                let command = match &self.sabotage {
                    Some(saboteur) => saboteur.metadata(command),
                    None => command,
                };
                self.ask_of_access(*replica, command, &expected)
            }
            Act::Unpublish { replica, group, peer } => {
                let Some(syncgroup) = self.group_at(*replica, *group) else { return Ok(()) };
                let device = self.replicas[*peer].device;
                let it = &self.replicas[*replica];
                let Some(core) = it.core.as_ref() else { return Ok(()) };
                let expected = self.watch.expect_unpublish(core, (syncgroup, device), it.stopping);
                expected.publishes().into_iter().for_each(|point| self.coverage.hit(point));
                self.ask_of_access(*replica, Command::Unpublish { syncgroup, device }, &expected)
            }
            Act::Accept { replica, group, database } => {
                self.people.attitudes.insert((*replica, *group), Attitude::Accept(*database));
                self.answer_offers()
            }
            Act::Decline { replica, group } => {
                self.people.attitudes.insert((*replica, *group), Attitude::Decline);
                self.answer_offers()
            }
            _ => Ok(()),
        }
    }

    /// How often offers are repeated within so many milliseconds, at most, as they wait for an answer of a device that is
    /// there: each admin by its own patience.
    pub(crate) fn offers_within(&self, millis: u64) -> u64 {
        let cores = || self.replicas.iter().filter_map(|it| it.core.as_ref());
        let is_there = |device| cores().any(|core| core.author().device == device);
        let offers = self.replicas.iter().filter_map(|it| {
            let mut links: std::collections::BTreeSet<driftless::DeviceId> =
                std::collections::BTreeSet::new();
            for info in it.core.as_ref()?.syncgroups() {
                let pending = info
                    .publications
                    .iter()
                    .filter(|it| it.status == driftless::PublicationStatus::Pending && is_there(it.device));
                links.extend(pending.map(|it| it.device));
            }
            let patience = it.waits(&self.plan.setup).patience_max.max(1);
            Some(links.len() as u64 * (1 + 2 * millis / patience))
        });
        offers.sum()
    }

    /// Whoever has made up their mind about what is offered answers.
    pub(super) fn answer_offers(&mut self) -> Checked {
        let mut answers: Vec<(usize, Attitude, Invitation)> = Vec::new();
        for ((replica, group), attitude) in &self.people.attitudes {
            let it = &self.replicas[*replica];
            let (Some(core), Some(id)) = (it.core.as_ref(), self.people.groups.get(group)) else { continue };
            if !it.is_usable() || it.hostile {
                continue;
            }
            // Whoever is in as many as there may be does not ask again and again.
            let is_full = self.plan.setup.limits.syncgroups.is_some_and(|limit| {
                let groups = core.syncgroups();
                groups.len() >= limit && groups.iter().all(|group| group.id != *id)
            });
            if is_full {
                continue;
            }
            let offer = core.invitations().into_iter().find(|it| it.syncgroup() == *id);
            answers.extend(offer.map(|offer| (*replica, *attitude, offer)));
        }
        for (replica, attitude, invitation) in answers {
            let device = self.replicas[replica].device;
            self.coverage.hit(Point::OfferAnswered);
            match attitude {
                Attitude::Accept(database) => {
                    self.watch.shows(device, &invitation, None);
                    let database = label("db", database);
                    self.ask(replica, Command::Join { database, invitation }, Question::Other)?;
                }
                Attitude::Decline => {
                    self.watch.declines(device, &invitation);
                    self.ask(replica, Command::Decline { invitation }, Question::Other)?;
                }
            }
        }
        Ok(())
    }
}
