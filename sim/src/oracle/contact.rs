//! Oracles of contact: a device is to be found exactly while it has a reason to be (S-40), and tries to reach those whom
//! it shares something with, ever more rarely where that fails, and never gives up (S-39).

use std::collections::BTreeMap;

use driftless::{Command, DeviceId, Event, LinkId, Rights, SyncgroupInfo, SyncgroupState};

use super::{Checked, Oracle, Seen, Violation, Watch};
use crate::plan::Waits;

/// What a tick that is due may take beyond the moment it is due at.
const A_SECOND: u64 = 1_000;

/// What a replica has done to reach others since it started.
#[derive(Debug, Clone, Default)]
pub(super) struct Contacts {
    peers: BTreeMap<DeviceId, Contact>,
    /// Where links lead that it has not closed by itself.
    links: BTreeMap<LinkId, DeviceId>,
}

/// What it has done to reach one device.
#[derive(Debug, Clone, Copy, Default)]
struct Contact {
    /// It was found, and not lost from sight since.
    in_sight: bool,
    /// The core has an address of it: otherwise it cannot count failures, and whatever tells it one begins anew.
    is_known: bool,
    /// It is being called.
    calling: bool,
    /// Failures since it was last heard or found, as far as that is certain.
    failures: u32,
    /// When the last one was, if nothing has given a reason since to try sooner.
    failed: Option<u64>,
    /// Since when it is worth calling, can be, and is not.
    idle: Option<u64>,
}

impl Watch {
    /// Notes what an event means for a replica's ways to others.
    pub(crate) fn reaches(&mut self, replica: usize, now: u64, event: &Event) {
        let Contacts { peers, links } = &mut self.notes[replica].contacts;
        match event {
            Event::PeerFound { device, .. } => peers.entry(*device).or_default().is_seen(true),
            Event::PeerLost { device, .. } => peers.entry(*device).or_default().is_seen(false),
            // A person who takes an invitation says where its maker is, which may have been forgotten meanwhile.
            Event::Command {
                command: Command::Join { invitation, .. } | Command::JoinAs { invitation, .. },
                ..
            } => peers.entry(invitation.issuer().device()).or_default().is_told(),
            Event::ConnectFailed { device } => peers.entry(*device).or_default().fails(now),
            Event::LinkUp { link, peer, address, .. } => {
                links.insert(*link, peer.device());
                let contact = peers.entry(peer.device()).or_default();
                (contact.calling, contact.idle) = (false, None);
                if address.is_some() && !contact.is_known {
                    *contact = Contact { is_known: true, ..Contact::default() };
                }
            }
            // Whoever says anything may have been reached at last.
            Event::Received { link, .. } => {
                let contact = links.get(link).and_then(|device| peers.get_mut(device));
                contact.into_iter().for_each(|contact| contact.failures = 0);
            }
            Event::LinkDown { link } => {
                let contact = links.remove(link).and_then(|device| peers.get_mut(&device));
                contact.into_iter().for_each(|contact| contact.fails(now));
            }
            _ => {}
        }
    }

    /// A replica closes a link by itself: that it is gone then is no failure.
    pub(crate) fn closes(&mut self, replica: usize, link: LinkId) {
        self.notes[replica].contacts.links.remove(&link);
    }

    /// A replica calls a device (S-39): not while it does so already, and after each failure later than after the one
    /// before.
    pub(crate) fn calls(&mut self, replica: usize, now: u64, device: DeviceId, waits: &Waits) -> Checked {
        let contact = self.notes[replica].contacts.peers.entry(device).or_default();
        let wrong = |what| Err(Violation::new(Oracle::Conduct, "S-39", replica, what));
        if contact.calling {
            return wrong(format!("calls {device:?}, and is calling it already"));
        }
        let wait = contact.failures.checked_sub(1).map_or(0, |more| waits.redial << more.min(20));
        let wait = wait.min(waits.redial_max);
        if let Some(failed) = contact.failed.filter(|failed| now < failed + wait / 2) {
            return wrong(format!(
                "calls {device:?} {} ms after the last of {} failures, and should wait about {wait} ms",
                now - failed,
                contact.failures
            ));
        }
        (contact.calling, contact.is_known) = (true, true);
        (contact.failed, contact.idle) = (None, None);
        Ok(())
    }

    /// Whoever shares something with a device that is in sight, or that people have said where to meet (S-38), and has no
    /// link to it, calls it before long, whatever becomes of others (S-39).
    pub(crate) fn keeps_calling(&mut self, seen: Seen<'_>, now: u64, waits: &Waits) -> Checked {
        let links = seen.core.status().links;
        let groups = seen.core.syncgroups();
        let own = self.devices[seen.replica];
        let places = groups.iter().filter(|info| info.state == SyncgroupState::Active && !info.paused);
        let places = places.flat_map(|info| info.spec.rendezvous.iter().map(|place| place.device));
        let told: Vec<DeviceId> = places.filter(|device| *device != own).collect();
        let contacts = &mut self.notes[seen.replica].contacts;
        told.iter().for_each(|device| _ = contacts.peers.entry(*device).or_default());
        let calling = contacts.peers.values().filter(|contact| contact.calling).count();
        let has_room = links.len() + calling < self.limits.links / 2;
        let shared = groups.iter().filter(|info| info.state == SyncgroupState::Active && !info.paused);
        let members: Vec<DeviceId> = shared
            .flat_map(|info| seen.core.members(&info.id).unwrap_or_default())
            .filter(|member| member.rights.is_some())
            .map(|member| member.device)
            .collect();
        for (device, contact) in &mut contacts.peers {
            let is_due = has_room
                && (contact.in_sight || told.contains(device))
                && !contact.calling
                && members.contains(device)
                && links.iter().all(|link| link.device != *device);
            let idle = *contact.idle.get_or_insert(now);
            if !is_due {
                contact.idle = None;
            } else if now > idle + waits.redial_max + A_SECOND {
                let what =
                    format!("shares something with {device:?}, and has not called it for {} ms", now - idle);
                return Err(Violation::new(Oracle::Conduct, "S-39", seen.replica, what));
            }
        }
        Ok(())
    }

    /// A process sleeps, or is about to stop: it need not call anybody.
    pub(crate) fn need_not_call(&mut self, replica: usize) {
        self.notes[replica].contacts.peers.values_mut().for_each(|contact| contact.idle = None);
    }

    /// Whether a device lets itself be found exactly while it has a reason to (S-40). There are no private syncgroups yet.
    pub(crate) fn is_to_be_found(&self, seen: Seen<'_>, announces: bool, stopping: bool) -> Checked {
        let device = self.devices[seen.replica];
        if seen.core.syncgroups().iter().any(|info| self.is_due(seen, info)) {
            return Ok(());
        }
        let reason = seen.core.syncgroups().into_iter().find(|info| self.has_reason(info, seen, &device));
        let reason = reason.filter(|_| !stopping);
        let what = match (&reason, announces) {
            (Some(info), false) => {
                format!("is {:?} in {:?}, and does not let itself be found", info.state, info.id)
            }
            (None, true) => "lets itself be found, and has no reason to".to_owned(),
            _ => return Ok(()),
        };
        Err(Violation::new(Oracle::Conduct, "S-40", seen.replica, what))
    }

    /// A syncgroup that a device is in by what it holds, or waits to get into or out of. Who was refused may still be let
    /// in by somebody else. What is paused is shared with nobody.
    fn has_reason(&self, info: &SyncgroupInfo, seen: Seen<'_>, device: &DeviceId) -> bool {
        let is_in = || {
            let held = seen.core.held(&info.id).unwrap_or_default();
            self.model.rights(&info.id, device, &held, Some(seen.core.clock())) >= Some(Rights::Read)
        };
        let by_state = match info.state {
            SyncgroupState::Active => is_in(),
            SyncgroupState::Joining | SyncgroupState::Pending | SyncgroupState::Leaving => true,
            SyncgroupState::Refused(_) => true,
            _ => false,
        };
        by_state && !info.paused
    }
}

impl Contact {
    /// It is found, or lost from sight: what failed before says nothing any more.
    fn is_seen(&mut self, in_sight: bool) {
        *self = Self { in_sight, is_known: in_sight, calling: self.calling, ..Self::default() };
    }

    /// Somebody says where it is: that may be news, and then it is tried at once.
    fn is_told(&mut self) {
        (self.failures, self.failed) = (0, None);
    }

    fn fails(&mut self, now: u64) {
        (self.calling, self.idle) = (false, None);
        if self.is_known {
            self.failures = self.failures.saturating_add(1);
            self.failed = Some(now);
        }
    }
}
