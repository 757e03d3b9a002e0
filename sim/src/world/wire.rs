//! What goes over links, as oracles look at it: nobody is sent what it may not have, and nothing of what is paused.

use std::collections::BTreeMap;

use driftless::inspect::{Frame, LinkNames};
use driftless::{LinkId, SyncgroupId, Tag};

use super::World;
use crate::oracle::{Checked, Oracle, Violation};

/// The nonces of both ends of each link, by its number: by them syncgroups have names there.
#[derive(Debug, Default)]
pub(crate) struct Hellos(BTreeMap<u64, BTreeMap<usize, [u8; 16]>>);

impl World<'_> {
    /// A replica sends something. Whoever is honest asks for nothing that it may not have, and is looked at by what it
    /// comes to hold; a hostile replica reads what comes over the wire.
    pub(super) fn goes_over(&mut self, replica: usize, link: LinkId, frame: &Frame) -> Checked {
        let Some((_, peer)) = self.network.ends(link) else { return Ok(()) };
        if let Frame::Hello { nonce, .. } = frame {
            self.hellos.0.entry(link.0 / 2).or_default().entry(replica).or_insert(*nonce);
        }
        if !self.replicas[replica].hostile {
            self.keeps_to_itself(replica, link, frame)?;
        }
        let Frame::Deltas { name, generations } = frame else { return Ok(()) };
        let wrong = |rule, what: String| {
            let replicas = vec![replica, peer];
            Err(Violation { oracle: Oracle::Access, rule, replicas, what })
        };
        if !self.watch.was_ever_admitted(&self.replicas[peer].device) {
            let what = format!("sends generations to replica {peer}, which was never admitted to anything");
            return wrong("S-34", what);
        }
        let Some(group) = self.named(replica, link, name) else { return Ok(()) };
        let is_hostile = self.replicas[peer].hostile;
        let is_over = self.watch.is_over_for(replica, peer, &group)
            && (is_hostile || !self.watch.was_clock_set(self.now, replica));
        let may_have = |version| match is_over {
            true => self.watch.is_given_after_the_end(peer, &group, version),
            false => !is_hostile || self.watch.is_given(peer, &group, version),
        };
        match generations.iter().find(|(version, _)| !may_have(version)) {
            Some((version, _)) => {
                let when = if is_over { ", whose time is over" } else { "" };
                let to = format!("replica {peer}{when}");
                wrong("S-36", format!("sends {version:?} of {group:?} to {to}, which may not have it"))
            }
            None => Ok(()),
        }
    }

    /// Nothing that a replica says by itself is about a database that it knows to be paused (S-37). What it answers says
    /// that there is nothing, as of everything that is not there.
    fn keeps_to_itself(&self, replica: usize, link: LinkId, frame: &Frame) -> Checked {
        if !self.watch.has_paused(replica) {
            return Ok(());
        }
        let (tags, groups) = about(frame);
        let named = tags.into_iter().filter_map(|tag| self.named(replica, link, tag));
        match named.chain(groups.iter().copied()).find(|group| self.watch.is_paused_in(replica, group)) {
            Some(group) => {
                let what = format!("says something of {group:?}, which is paused: {frame:?}");
                Err(Violation::new(Oracle::Access, "S-37", replica, what))
            }
            None => Ok(()),
        }
    }

    /// The syncgroup that a name stands for on a link.
    fn named(&self, replica: usize, link: LinkId, name: &Tag) -> Option<SyncgroupId> {
        let (_, peer) = self.network.ends(link)?;
        let nonces = self.hellos.0.get(&(link.0 / 2))?;
        let end = |replica: usize| Some((&self.replicas[replica].device, nonces.get(&replica)?));
        let names = LinkNames::new(end(replica)?, end(peer)?);
        self.watch.syncgroups().find(|group| names.of(group) == *name).copied()
    }
}

/// The syncgroups of which a frame says something that nobody had to ask for, by name or by themselves.
fn about(frame: &Frame) -> (Vec<&Tag>, &[SyncgroupId]) {
    match frame {
        Frame::Offer { syncgroups, ended, .. } => (syncgroups.iter().chain(ended).collect(), &[]),
        Frame::Digests(all) => (all.iter().map(|(name, _)| name).collect(), &[]),
        Frame::Pull(holdings) | Frame::Announce(holdings) | Frame::Introduction { holdings, .. } => {
            (vec![&holdings.name], &[])
        }
        Frame::Deltas { name, .. } | Frame::Forked { name, .. } => (vec![name], &[]),
        Frame::Join { syncgroup, .. } => (Vec::new(), std::slice::from_ref(syncgroup)),
        Frame::Publish(offered) => (Vec::new(), offered),
        _ => (Vec::new(), &[]),
    }
}
