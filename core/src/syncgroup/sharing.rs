//! Who is given and sent what of a syncgroup (S-34, S-36).
//!
//! | the other end | is given |
//! |---|---|
//! | a member | everything |
//! | one that has left, and may not rest yet | everything: nobody else may know what it wrote last |
//! | one that has left, or was removed, whether or not it has left besides, or has no time left | when it asks: what ended its membership, and what that builds on |
//! | anybody else | nothing, and is answered like about something that does not exist |
//!
//! Of a syncgroup whose database is paused nobody is given anything, and nothing is taken: it is answered like one that
//! is not here (S-37).
//!
//! A device that knows that it was removed gives what removed it, to others who were removed and ask, and to members
//! that have not heard of it, which share with it until they have. It takes what members offer, as they may know better:
//! whoever removed it may have been removed before.

use super::group::{Group, Stage};
use crate::id::{Author, DeviceId};
use crate::object::history::Place;
use crate::replica::Replica;
use crate::replica::authors::Authors;
use crate::store::key::AuthorIx;

impl Group {
    /// Whether this device gives and takes generations of this syncgroup.
    pub(crate) fn is_shared(&self) -> bool {
        match self.record.stage {
            _ if self.paused => false,
            Stage::Active | Stage::Pending(_) | Stage::Leaving(_) | Stage::Departing | Stage::Left => true,
            Stage::Removed => false,
            // Only whoever counts this device as a member will share it (S-32): somebody else than whom it asks may have
            // let it in. And whoever was here before may have written something, its departure above all, that must
            // arrive before it can be admitted again.
            Stage::Refused(..) | Stage::Joining(_) | Stage::Withdrawing(_) => true,
        }
    }

    /// Whether a device has left, and may rest: a member knows it. A device that has left itself is none, so
    /// what it knows is not enough: two that leave while apart would each take the other's word, and those whom
    /// only one of them knew would never hear of both. It goes by what others wrote: whatever has the departure
    /// in its past takes it along.
    fn has_left(&self, device: &DeviceId, authors: &Authors) -> bool {
        let access = &self.metadata.access;
        let is_others = |ix: AuthorIx| authors.get(ix).is_some_and(|author| author.device != *device);
        let others = || self.logs.iter().filter(|(ix, _)| is_others(**ix));
        let pasts = || others().map(|(_, log)| self.pasts.get(log.past));
        let is_passed_on = || pasts().any(|past| access.has_departed_in(device, past));
        let others_know = |departure: Place| pasts().any(|past| past.has(departure));
        // Who was removed beside its departure may rest, too: what it wrote last does not count.
        let may_rest = || is_passed_on() || access.is_ended_by_others(device, others_know);
        let has_left = access.is_former(device) && !access.is_removed(device);
        self.is_shared() && has_left && (!self.is_departed() || may_rest())
    }

    /// Whether a device is told that it is no member any more, so that it may ask why.
    pub(crate) fn has_ended_for(&self, device: &DeviceId, authors: &Authors) -> bool {
        self.has_left(device, authors) || self.was_removed(device)
    }

    fn was_removed(&self, device: &DeviceId) -> bool {
        (self.is_shared() || self.record.stage == Stage::Removed && !self.paused)
            && self.metadata.access.is_removed(device)
    }

    /// Whether this device was removed, and a member that counts it as one shall hear of that: nobody else may be left
    /// who would tell. That is so if it asks to be let in again, too: it is not before all that it wrote has arrived,
    /// and it may have written down its end itself. And so it is if it was let in again, as whoever did so may have lost both
    /// with its disk.
    pub(crate) fn has_news_of_its_end_for(&self, member: &DeviceId, own: &DeviceId) -> bool {
        let access = &self.metadata.access;
        let stage = &self.record.stage;
        // One that meant to leave, and was let in again meanwhile, takes that, and leaves.
        let may_come = self.asks_to_join() || stage.admitted().is_some() || *stage == Stage::Left;
        let knows = *stage == Stage::Removed || may_come && access.is_removed(own);
        !self.paused && knows && access.rights(member).is_some()
    }

    /// Whether this device has left, as far as it knows.
    pub(crate) fn is_departed(&self) -> bool {
        matches!(self.record.stage, Stage::Departing | Stage::Left) || self.record.stage.may_be_admitted()
    }

    fn asks_to_join(&self) -> bool {
        !self.record.stage.requests().is_empty()
    }

    /// Whether a peer may be told of this syncgroup: it may read it, as far as is known here (S-34). Before all
    /// is here that there was at admission, little is known: whoever admitted a newcomer counts as a member for it
    /// until then, unless it has gone since, and while there is nothing at all, whoever can name the syncgroup
    /// may send it, for what it sends proves itself. Two devices that have both left tell each other what nobody
    /// wrote in the knowledge of it, until one of them finds a member.
    pub(crate) fn may_share_with(&self, device: &DeviceId, replica: &Replica) -> bool {
        let access = &self.metadata.access;
        if !self.is_shared() {
            return false;
        }
        let has_admitted = match &self.record.stage {
            Stage::Pending(admitted) | Stage::Leaving(admitted) => {
                // It knew of what had ended before: whoever let this device in after that had been let in again.
                let knew = |(author, generation): Place| {
                    let author = replica.authors.get(author);
                    admitted.vector.iter().any(|(it, last)| Some(*it) == author && generation <= *last)
                };
                // Whoever was a member before has more to give than what it was sent since: it waits for its admission,
                // which members pass on (see `may_take`).
                let is_new = !access.is_known(&replica.keys.device);
                is_new
                    && admitted.by == *device
                    && !access.is_expired(device)
                    && !access.has_gone_since(self.numbered(), device, knew)
            }
            _ => false,
        };
        let is_empty = self.metadata.name().is_none();
        if has_admitted || is_empty {
            return true;
        }
        // Whoever was removed, and asks to be let in again, has nothing to tell before.
        if access.is_removed(&replica.keys.device) {
            return false;
        }
        let is_leaving = access.is_former(device)
            && !access.is_removed(device)
            && !self.has_left(device, &replica.authors);
        is_leaving || access.rights(device).is_some()
    }

    /// Whether generations are taken from whoever shows a word that a member has signed, beside those that share:
    /// as long as this device is a member itself, or was removed, or wants to become one: then the issuer of its
    /// invitation is known, too, and if it was one before, those whom it knew then.
    pub(crate) fn may_take(&self, signer: &DeviceId) -> bool {
        match &self.record.stage {
            _ if self.paused => false,
            stage if stage.may_be_admitted() => {
                let mut issuers = stage.requests().iter().map(|asking| asking.invitation.issuer().device());
                self.metadata.access.is_known(signer) || issuers.any(|issuer| issuer == *signer)
            }
            Stage::Removed => self.metadata.access.is_known(signer),
            Stage::Pending(admitted) | Stage::Leaving(admitted) if admitted.by == *signer => true,
            // Who is leaving seeks somebody who shall know of it: it may be one of whom it has not heard.
            stage => *stage != Stage::Left && self.is_shared() && self.metadata.access.is_known(signer),
        }
    }

    /// Whether a log is asked for where somebody has more of it: all, or what members wrote.
    pub(crate) fn wants(&self, author: &Author, takes_all: bool) -> bool {
        takes_all || self.metadata.access.rights(&author.device).is_some()
    }

    /// Whether a device is or was a member, as far as this one knows.
    pub(crate) fn knows(&self, device: &DeviceId) -> bool {
        let has_admitted = match &self.record.stage {
            Stage::Pending(admitted) | Stage::Leaving(admitted) => admitted.by == *device,
            _ => false,
        };
        has_admitted || self.metadata.access.is_known(device)
    }

    /// Whether this device counts itself as a member.
    pub(crate) fn is_joined(&self) -> bool {
        matches!(self.record.stage, Stage::Active | Stage::Pending(_) | Stage::Leaving(_))
    }

    /// Whether this device wants to know why others think that it is no member any more.
    pub(crate) fn asks_what_ended(&self) -> bool {
        !self.paused && self.is_joined()
    }
}
