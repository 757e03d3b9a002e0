//! Making oneself known to a member that has not heard of one's admission (S-32, S-34).
//!
//! Whoever admits a device tells the others in the course of time. Until then, and for ever if it is lost before,
//! the newcomer knows members to whom it is a stranger: they offer it nothing, so nothing is shared, and neither
//! would ever tell the other. The newcomer breaks the silence: it shows a word that the one who admitted the
//! other has signed, which only members pass on, and says what it holds. The other *takes* what it lacks, and gives
//! nothing; every generation proves itself. Among them is the admission, and from then on they share as all do.
//!
//! It is the same the other way round, where whoever admitted a newcomer is lost before it has answered: a member that
//! has heard of the admission shows the word of that one, which issued the newcomer's invitation.
//!
//! A device that was let in again after it had been removed is a stranger to whoever knows the removal only, and
//! introduces itself like a newcomer. From a device that was removed nothing is asked but what members wrote, as
//! far as is known, and it is told of nothing in return: if it was let in again, one of them says so.
//!
//! It may have said so itself: while apart, it wrote down that it is a user's device. So a device that is told that it is
//! no member any more shows its certificates. If the user may still do something, the device is a member by that, and
//! all is taken from it; and if not, it is told of that as well.
//!
//! Whoever has had no answer for long falls silent. Where the other was paused, say, and is no more, it says its offer
//! again, and the newcomer introduces itself again.
//!
//! ```text
//!   newcomer                          member
//!      ── offer ──►  ◄── offer ──       offers nothing to a stranger
//!      ── introduction ──────────►      known signature? then takes
//!      ◄─────────────────── pull ──
//!      ── deltas ────────────────►      here is the admission
//!      ◄────────────────── offer ──     shares
//! ```

use alloc::vec::Vec;

use super::compare::held;
use super::handshake::name;
use super::link::Gives;
use super::{Step, Sync, holdings};
use crate::action::CloseReason;
use crate::hash::Tag;
use crate::id::{Author, DeviceId, LinkId};
use crate::log::Checkpoint;
use crate::replica::Replica;
use crate::store::key::GroupIx;
use crate::syncgroup::group::Group;
use crate::user::Certificate;
use crate::wire::{Announce, Entry, Introduction, Message};

/// How often a device introduces itself on a link before it takes the other for one who is no member.
const TRIES: u32 = 6;
/// How many introductions in vain are remembered on a link.
const TURNED_AWAY: usize = 8;
/// How many certificates a device shows.
const MOST_SHOWN: usize = 4;

impl Sync {
    /// Sees to it that this device introduces itself, if the other end of a link, which is a member, does not
    /// offer something that this one does.
    pub(super) fn plan_introduction(&mut self, id: LinkId, step: &Step<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.introductions = 0;
        let is_needed = link.their_revision > 0 && link.unanswered().next().is_some();
        link.introduce = is_needed.then_some(step.now + self.timing.confirm);
    }

    /// Introduces this device where it has had no answer.
    pub(super) fn introduce(&mut self, id: LinkId, step: &mut Step<'_>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.introduce = None;
        if link.introductions >= TRIES {
            return;
        }
        let tries = link.introductions;
        let is_ended = |name: &Tag| link.said_ended.iter().any(|said| said.name == *name);
        let introductions: Vec<_> = link
            .unanswered()
            .filter_map(|(name, ix)| {
                let mut introduction = introduction(step.replica, &link.device, name, ix, tries)?;
                if is_ended(&name) {
                    let own = step.replica.groups.get(&ix)?.metadata.own_certificates();
                    introduction.certificates = own.take(MOST_SHOWN).cloned().collect();
                }
                Some(Message::Introduction(introduction))
            })
            .collect();
        if introductions.is_empty() {
            return; // Until there is somebody whose word can be shown.
        }
        introductions.iter().for_each(|message| self.send(id, message, step));
        let at = step.now + self.patience(tries);
        if let Some(link) = self.links.get_mut(&id) {
            link.introductions += 1;
            link.introduce = Some(at);
        }
    }

    /// There may be something to show by now that was not there when the offers last changed.
    pub(super) fn plan_first_introduction(&mut self, id: LinkId, step: &Step<'_>) {
        if self.links.get(&id).is_some_and(|link| link.introductions == 0 && link.introduce.is_none()) {
            self.plan_introduction(id, step);
        }
    }

    /// Takes in that a stranger is a member, as it says. What it says beyond that is an announcement.
    pub(crate) fn introduced(
        &mut self,
        id: LinkId,
        introduction: Introduction,
        step: &mut Step<'_>,
    ) -> Result<(), (CloseReason, &'static str)> {
        let Introduction { author, checkpoint, certificates, holdings } = introduction;
        if certificates.len() > MOST_SHOWN {
            return Err((CloseReason::Protocol, "more certificates than one may show"));
        }
        let Some(ix) = self.names(id, step.replica).get(&holdings.name).copied() else { return Ok(()) };
        let Some(from) = self.device(id) else { return Ok(()) };
        let Some(group) = step.replica.groups.get(&ix) else { return Ok(()) };
        let is_current = |keys| group.metadata.access.is_current(keys);
        if !self.links.get(&id).is_some_and(|link| is_current(&link.keys)) {
            return Ok(());
        }
        let is_genuine = || checkpoint.verify(&group.record.id, &author, &step.replica.keys);
        if !group.may_take(&author.device) {
            let link = self.links.get_mut(&id);
            if let Some(link) = link.filter(|link| link.turned_away.len() < TURNED_AWAY && is_genuine()) {
                link.turned_away.insert((ix, author.device));
            }
            return Ok(());
        }
        if !is_genuine() {
            return Ok(()); // Like a syncgroup that is not here.
        }
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let is_signed = |it: &&Certificate| it.device() == from && it.verify(&step.replica.keys);
        let shown: Vec<_> =
            certificates.iter().filter(is_signed).map(|it| (it.user(), it.number())).collect();
        // One that shows nothing may be an older one, and have come late.
        if !shown.is_empty() {
            link.shown.insert(ix, shown);
        }
        let takes_all = link.takes_all(step.replica, group);
        let mut entries = holdings.entries.iter();
        let is_news = |entry: &Entry| {
            group.wants(&entry.author, takes_all) && entry.generation > held(step.replica, ix, &entry.author)
        };
        if group.metadata.access.is_removed(&from) && !entries.any(is_news) {
            self.judge_shown(id, step);
            return Ok(());
        }
        link.take(holdings.name, ix);
        self.announced(id, Announce(holdings), step)?;
        self.judge_shown(id, step);
        Ok(())
    }

    /// The other end may have shown as whose device it takes itself for a member. If it is one by that, as far as is known
    /// here by now, what it holds is taken; and if not, it is told why, if it has asked.
    pub(super) fn judge_shown(&mut self, id: LinkId, step: &mut Step<'_>) {
        let shown = self.links.get(&id).into_iter().flat_map(|link| link.shown.keys().copied());
        for ix in shown.collect::<Vec<_>>() {
            let (Some(link), Some(group)) = (self.links.get_mut(&id), step.replica.groups.get(&ix)) else {
                continue;
            };
            if !group.metadata.access.is_removed(&link.device) {
                continue;
            }
            let name = link.hello.as_ref().map(|(_, salt)| name(salt, &group.record.id));
            let is_taken = link.shares.get(&ix).is_some_and(|share| share.way.takes());
            let is_offered = |name: &Tag| link.their_names.contains(name);
            if link.takes_all(step.replica, group) {
                if let Some(name) = name.filter(is_offered).filter(|_| !is_taken) {
                    link.take(name, ix).differs = true;
                    self.pull(id, ix, step);
                }
            } else if link.shares.get(&ix).is_some_and(|share| share.way.gives() == Gives::Ended) {
                self.tell_what_ended(id, ix, step);
            }
        }
    }
}

/// What this device shows to another: the word of one whom that one knows if it knows anybody, and what is held here.
/// Each try shows another one's, as nobody can tell who that is.
fn introduction(
    replica: &Replica,
    to: &DeviceId,
    name: Tag,
    ix: GroupIx,
    tries: u32,
) -> Option<Introduction> {
    let group = replica.groups.get(&ix)?;
    let mut references = references(replica, group, to);
    references.extend(self::references(replica, group, &replica.keys.device));
    let (author, checkpoint) = references.get(tries as usize % references.len().max(1))?.clone();
    let holdings = holdings(replica, ix, name, None);
    Some(Introduction { author, checkpoint, certificates: Vec::new(), holdings })
}

/// Those who let in a device that is still a member, with their signatures: who admitted it, or enrolled it, and who
/// admitted its user.
fn references(replica: &Replica, group: &Group, device: &DeviceId) -> Vec<(Author, Checkpoint)> {
    let mut references: Vec<(Author, Checkpoint)> = Vec::new();
    for author in group.metadata.access.who_let_in(device) {
        let log = replica.authors.find(&author).and_then(|ix| group.logs.get(&ix));
        let signed = log.and_then(|log| match &log.proof {
            _ if author.device == replica.keys.device => {
                let by = (&replica.keys, group.metadata.access.nonce_of(&author));
                Some((author, Checkpoint::sign(&group.record.id, &author, &log.tree, by)))
            }
            proof => Some((author, proof.as_ref()?.checkpoint.clone())),
        });
        references.extend(signed.filter(|_| references.iter().all(|(known, _)| *known != author)));
    }
    references
}
