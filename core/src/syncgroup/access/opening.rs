//! What is granted to everybody (S-3): the right to be let in by a member's act.
//!
//! Whoever writes down that somebody may do something acts as an admin, or as a **member** by a grant to everybody. A
//! generation that lets in somebody by such a grant is valid, where no admin's right makes it so, if
//!
//! * its author might be here when it wrote it, with the right to say what else it says there. What it may do itself does
//!   not limit whom it lets in: it passes on what an admin has granted, and not what is its own;
//! * a grant to everybody in its past covers what is given, its rights and its end. Such grants are an admin's acts, and
//!   end, or give less, by revocations like any others: but for the logs and generations that a revocation names, it
//!   reaches back to what was written beside it;
//! * no admin has **taken away** from just that device, or that user, what is given: a revocation of something that was
//!   granted to it counts as one of what is granted to everybody, as far as it goes for that one. So it has to have the
//!   generation in its past; else only an admin may give as much again, and members may once they know that one has. An
//!   admin's removal is undone by nobody else, neither later nor as if it had not been heard of. What was taken from a user
//!   was taken from the devices that the admin knew as its own, by their keys too. And with a user no device comes in, in
//!   the same generation, from which that was taken. See [`taken`](super::taken).
//!
//! And nobody holds one that gives no more than there is in its past, or lets in more than one at a time: see
//! [`Access::gives_more`].
//!
//! Nothing but grants of less than `Admin` is said in such a generation that anything else hangs on: so it ends nothing,
//! and all ranks and revocations are judged before the first of them. What one member lets in may let in the next; as
//! each rests on what was stamped before it, they are judged in the order of stamps, once.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::super::Rights;
use super::super::past::Numbered;
use super::facts::{Act, Opening, Standing};
use super::keys::EndedLogs;
use super::{Access, At, Grant, Holder, Judgement, Left, Nth, Revocation, Title};
use crate::id::{Author, DeviceId, Generation, Version};
use crate::limits;
use crate::object::history::Place;
use crate::store::key::AuthorIx;
use crate::time::Wall;

/// Whom a member lets in, and with what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LettingIn {
    pub(crate) whom: Holder,
    /// The device that comes in with its user.
    pub(crate) with: Option<DeviceId>,
    pub(crate) given: Left,
}

impl LettingIn {
    /// All from whom nothing of that must have been taken.
    fn all(self) -> impl Iterator<Item = Holder> {
        core::iter::once(self.whom).chain(self.with.map(Holder::Device))
    }
}

impl Access {
    /// Of the acts that no admin's right allows, makes valid those that what is granted to everybody does, where these logs
    /// have ended.
    pub(super) fn let_in_by_members(
        &self,
        judgement: &mut Judgement,
        pasts: Numbered<'_>,
        mut acts: Vec<(Act, Vec<(Holder, &Grant)>)>,
        ended: &EndedLogs,
    ) {
        acts.sort_unstable_by_key(|(act, _)| (act.stamp, act.place));
        let enrolled = self.enrolled_by_acts();
        let mut titles = BTreeMap::<DeviceId, Vec<Title<'_>>>::new();
        for (act, given) in acts {
            let Act { author, place, stamp, .. } = act;
            let past = pasts.get(act.past);
            let at = At { author, place: Some(place), generation: place.1, stamp, past };
            let device = author.device;
            let titles = titles.entry(device).or_insert_with(|| self.titles(&device).collect());
            // What was stamped before it has been judged. Mostly the next one rests on the same.
            titles.retain(|it| it.grant.stamp >= stamp || !judgement.is_void(&it.grant.place()));
            let mut supports =
                titles.iter().map(|it| self.has_by(judgement, at, it, ended) >= Some(act.beside));
            let by = supports.position(|supports| supports);
            by.into_iter().for_each(|by| titles.swap(0, by));
            let lets_in = |(whom, grant): &(Holder, &Grant)| {
                let given = Left { rights: grant.rights, ends: grant.ends };
                let it = LettingIn { whom: *whom, with: enrolled.get(&place).copied(), given };
                self.lets_in(judgement, pasts, at, it)
            };
            if by.is_some() && given.iter().all(lets_in) {
                judgement.count(&place);
            }
        }
    }

    /// By act, the device that it enrols.
    fn enrolled_by_acts(&self) -> BTreeMap<Place, DeviceId> {
        let all = self.standings.iter().flat_map(|(device, standing)| {
            standing.enrolments().iter().map(|enrolment| (enrolment.place(), *device))
        });
        all.filter(|(place, _)| self.acts.get(*place).is_some()).collect()
    }

    /// The device that comes in with somebody by an act.
    pub(super) fn enrolled_with(&self, whom: Holder, act: Place) -> Option<DeviceId> {
        let Holder::User(user) = whom else { return None };
        self.devices_of(&user).copied().find(|device| {
            let standing = self.standings.get(device).into_iter();
            standing.flat_map(Standing::enrolments).any(|it| it.user == user && it.place() == act)
        })
    }

    /// Whether a member may let in somebody with so much at one of its generations, by what is granted to everybody.
    pub(crate) fn lets_in(
        &self,
        judgement: &Judgement,
        pasts: Numbered<'_>,
        at: At<'_>,
        it: LettingIn,
    ) -> bool {
        let given = it.given;
        let known = |place: Place| at.past.has(place) && Some(place) != at.place;
        let of = (at.author, at.generation);
        let covers = |opening: &Opening| {
            let mut ends = self.ends_of_opening(judgement, opening);
            let left = ends.try_fold(opening.given, |left, end| end.lessens_for(left, of));
            left.is_some_and(|left| left.covers(given) && at.stamp.wall() <= left.ends)
        };
        let counts = |opening: &&Opening| known(opening.place()) && !judgement.is_void(&opening.place());
        given.rights < Rights::Admin
            && self.openings.iter().filter(counts).any(covers)
            && self.what_took_of(judgement, pasts, at, it).next().is_none()
    }

    /// What took away from somebody, or from the device that comes in with it, what a generation gives.
    pub(super) fn what_took_of<'a>(
        &'a self,
        judgement: &'a Judgement,
        pasts: Numbered<'a>,
        at: At<'a>,
        it: LettingIn,
    ) -> impl Iterator<Item = Nth> + 'a {
        it.all().flat_map(move |whom| self.what_took(judgement, pasts, at, whom, it.given))
    }

    /// Whether a member gives somebody more at one of its generations than that one has already, as far as it knew, and has
    /// not done so too often (S-53). Else it could have so much given that nobody could end it.
    pub(crate) fn gives_more(&self, judgement: &Judgement, at: At<'_>, whom: Holder, given: Left) -> bool {
        let known = |place: Place| at.past.has(place) && Some(place) != at.place;
        let (grants, standing) = match whom {
            Holder::Device(device) => {
                let standing = self.standings.get(&device);
                (standing.map(|it| &it.grants), standing)
            }
            Holder::User(user) => (self.users.get(&user).map(|it| &it.grants), None),
            Holder::DeviceOf(..) | Holder::Everybody => (None, None),
        };
        let grants = || grants.into_iter().flatten().filter(|grant| known(grant.place()));
        let own = grants().map(|grant| grant.version);
        let own = own.filter(|version| version.author.device == at.author.device).collect();
        let covers = |grant: &Grant| {
            let has_left =
                standing.is_some_and(|it| self.has_left(it, &grant.version, known, judgement.ended()));
            let ends = judgement.ends(whom, &grant.version).iter();
            let mut ends = ends.filter_map(|nth| self.revocations.get(nth));
            let left = Left { rights: grant.rights, ends: grant.ends };
            !has_left
                && !judgement.is_void(&grant.place())
                && ends.try_fold(left, |left, end| end.lessens(left)).is_some_and(|left| left.covers(given))
        };
        self.distinct_grants(&own) < limits::MAX_LET_IN && !grants().any(covers)
    }

    /// How many grants of one device these are, where what it gives again in another log counts once. Of one log no two are
    /// the same, whatever it says.
    fn distinct_grants(&self, grants: &BTreeSet<Version>) -> usize {
        let mut again = BTreeSet::new();
        let is_new = |grant: &&Version| {
            let others = self.again.repeated(grant).iter();
            let mut others = others.filter(|other| other.author != grant.author && grants.contains(other));
            !others.any(|other| again.insert((grant.author, *other)))
        };
        grants.iter().filter(is_new).count()
    }

    /// Whether there is room for one more generation that lets in somebody by what is granted to everybody (S-53): its device
    /// has done such things, in all its logs, less often than one may; and so have all devices together that nobody has
    /// made admins.
    pub(crate) fn has_room_to_let_in(&self, at: At<'_>) -> bool {
        let count = |device| self.acts.count_of(device, at.past);
        let is_admin = |device: &DeviceId| {
            self.titles(device).any(|title| {
                title.grant.rights == Rights::Admin
                    && at.past.has(title.grant.place())
                    && title.enrolment.is_none_or(|it| at.past.has(it.place()))
            })
        };
        let members = || self.acts.devices().filter(|device| !is_admin(device));
        count(at.author.device) < limits::MAX_LET_IN_BY_DEVICE
            && (self.acts.count() < limits::MAX_LET_IN_BY_ALL
                || members().map(count).sum::<usize>() < limits::MAX_LET_IN_BY_ALL)
    }

    fn ends_of_opening<'a>(
        &'a self,
        judgement: &'a Judgement,
        opening: &Opening,
    ) -> impl Iterator<Item = &'a Revocation> {
        let ends = judgement.ends(Holder::Everybody, &opening.version).iter();
        ends.filter_map(|nth| self.revocations.get(nth))
    }

    /// Whether an admission that a device waits for does not count, whatever it gives: its giver had no right to give
    /// any but by what is granted to everybody, and that has ended for the generation that gave it, or was taken away from
    /// the device before whoever let it in had heard of that. `knew` says of what that one had heard.
    pub(crate) fn is_closed_for(
        &self,
        device: &DeviceId,
        (author, generation): (Author, Generation),
        knew: impl Fn(Place) -> bool,
    ) -> bool {
        let taken = &self.judgement.taken;
        let is_news = |nth: Nth| {
            self.revocations.get(&nth).is_some_and(|end| end.keep.is_none() && !knew(end.by))
                && !taken.repeated(&nth).iter().any(|place| knew(*place))
        };
        let was_admin = self.titles(&author.device).any(|title| title.grant.rights == Rights::Admin);
        self.was_opened()
            && !was_admin
            && (taken.ends_of(Holder::Device(*device)).any(is_news)
                || !self.is_open_at(author, generation) && taken.ends_of(Holder::Everybody).any(is_news))
    }

    /// Whether anything that is granted to everybody is left for a generation, whenever that is stamped.
    pub(crate) fn is_open_at(&self, author: Author, generation: Generation) -> bool {
        let mut counting = self.openings.iter().filter(|opening| !self.judgement.is_void(&opening.place()));
        counting.any(|opening| {
            let mut ends = self.ends_of_opening(&self.judgement, opening);
            ends.try_fold(opening.given, |left, end| end.lessens_for(left, (author, generation))).is_some()
        })
    }

    /// What is granted to everybody and nobody has ended, and what is left of each. Their time may be over.
    pub(super) fn standing_openings(&self) -> impl Iterator<Item = (&Opening, Left)> {
        let counting = self.openings.iter().filter(|opening| !self.judgement.is_void(&opening.place()));
        counting.filter_map(|opening| {
            let mut ends = self.ends_of_opening(&self.judgement, opening);
            Some((opening, ends.try_fold(opening.given, |left, end| end.lessens(left))?))
        })
    }

    /// The last that was granted to everybody, whatever became of that.
    #[cfg(feature = "hostile")]
    pub(crate) fn last_opened(&self) -> Option<Version> {
        self.openings
            .iter()
            .map(|opening| opening.version)
            .max_by_key(|version| (version.generation, *version))
    }

    /// Whether anything was ever granted to everybody.
    pub(crate) fn was_opened(&self) -> bool {
        !self.openings.is_empty()
    }

    /// The most that is granted to everybody now, and until when.
    pub(crate) fn open_to_everybody(&self) -> Option<Left> {
        let now =
            self.standing_openings().map(|(_, left)| left).filter(|left| left.at(self.clock()).is_some());
        now.max()
    }

    /// All that is left of what is granted to everybody, whatever the time is.
    pub(crate) fn openness(&self) -> Vec<Left> {
        self.standing_openings().map(|(_, left)| left).collect()
    }

    /// Whether as much is granted to everybody, for as long.
    pub(crate) fn has_everybody(&self, given: Left) -> bool {
        self.standing_openings().any(|(_, left)| left.covers(given))
    }

    /// Whether a member may let in others with so much at a moment, by what is granted to everybody.
    pub(crate) fn is_open_for(&self, given: Left, moment: Wall) -> bool {
        self.standing_openings().any(|(_, left)| left.covers(given) && moment <= left.ends)
    }

    /// The logs in which somebody was let in, or what was granted was ended.
    pub(crate) fn acting(&self) -> impl Iterator<Item = AuthorIx> {
        self.acts.authors().map(|(ix, _)| ix)
    }
}
