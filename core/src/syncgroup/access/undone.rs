//! What made an end of a membership: what a device is told that is a member no more (S-36).
//!
//! Somebody may have ended the same in several ways, one after the other; and to what was written in the knowledge of the first
//! the device has no right. So it is told of one way, the one that was complete first.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::super::Rights;
use super::super::past::Numbered;
use super::facts::{Act, Opening, Revocation};
use super::{Access, At, Grant, Holder, Left, LettingIn, Nth, Title};
use crate::id::{DeviceId, UserId};
use crate::object::history::Place;
use crate::time::Hlc;

/// Generations that together make an end of something, and when the last of them was written. Of two the first is the less.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Reason {
    complete: Hlc,
    all: BTreeSet<Place>,
}

impl Reason {
    fn and(mut self, other: Reason) -> Self {
        self.complete = self.complete.max(other.complete);
        self.all.extend(other.all);
        self
    }
}

impl From<&Revocation> for Reason {
    fn from(end: &Revocation) -> Self {
        Self { complete: end.stamp, all: BTreeSet::from([end.by]) }
    }
}

/// Why acts are void, by where they stand.
type Reasons = BTreeMap<Place, Reason>;

impl Access {
    /// What made an end of all by which a device was a member, but its own departure; of the certificates that it has
    /// shown and nobody here has heard of, likewise.
    pub(super) fn what_removed(
        &self,
        pasts: Numbered<'_>,
        device: &DeviceId,
        unheard_of: &[(UserId, u64)],
    ) -> BTreeSet<Place> {
        self.what_made_an_end(pasts, device, unheard_of).0
    }

    /// The same, and of what was given in vain the generations that gave it: the device may never have seen by what it was let
    /// in, as whoever gave that may have had a clock that was ahead.
    pub(super) fn what_made_an_end(
        &self,
        pasts: Numbered<'_>,
        device: &DeviceId,
        unheard_of: &[(UserId, u64)],
    ) -> (BTreeSet<Place>, BTreeSet<Place>) {
        let (mut found, mut given, mut reasons) = (BTreeSet::new(), BTreeSet::new(), Reasons::new());
        let standing = self.standings.get(device);
        // Its own departure is told anyway, and of what ended the same later it may not hear.
        let has_left = |title: &Title<'_>| {
            standing.is_some_and(|it| self.has_left(it, &title.version(), |_| true, self.judgement.ended()))
        };
        let titles = self.titles(device).filter(|title| !has_left(title));
        let titles = titles.map(|it| (it.holder, it.grant, it.parts(*device).collect::<Vec<_>>(), None));
        let of_users = unheard_of.iter().flat_map(|(user, number)| {
            let standing = self.users.get(user).into_iter();
            let struck = self.strikings_of(user, device, *number).min();
            let grants = standing.flat_map(|user| &user.grants);
            let holder = Holder::User(*user);
            grants.map(move |grant| (holder, grant, alloc::vec![(holder, grant.version)], struck))
        });
        for (holder, grant, parts, struck) in titles.chain(of_users).collect::<Vec<_>>() {
            let is_over = |end: &Revocation| end.keep_at(self.clock()).is_none();
            let ends = parts.into_iter().flat_map(|(holder, version)| self.ends(holder, version));
            let ends = ends.filter(|(end, _)| is_over(end)).map(|(end, nth)| (end.stamp, nth));
            let first = ends.chain(struck).min().and_then(|(_, nth)| self.revocations.get(&nth));
            let void = self.why_void(pasts, &mut reasons, (holder, grant)).filter(|it| !it.all.is_empty());
            let first = first.map(Reason::from);
            let is_void = void.as_ref().is_some_and(|void| first.as_ref().is_none_or(|first| void < first));
            given.extend(is_void.then(|| grant.place()));
            let reason = first.into_iter().chain(void).min();
            found.extend(reason.into_iter().flat_map(|reason| reason.all));
        }
        (found, given)
    }

    /// Why the generation is void that gave something, if it is. All that it rests on was there before it.
    fn why_void(&self, pasts: Numbered<'_>, reasons: &mut Reasons, of: (Holder, &Grant)) -> Option<Reason> {
        let is_open =
            |reasons: &Reasons, place: &Place| self.judgement.is_void(place) && !reasons.contains_key(place);
        let mut work = alloc::vec![Given::Right(of.0, of.1)];
        while let Some(given) = work.last().copied() {
            let place = given.place();
            let Some(act) = self.acts.get(place).filter(|_| is_open(reasons, &place)) else {
                work.pop();
                continue;
            };
            let past = pasts.get(act.past);
            let titles = self.titles(&act.author.device).map(|title| Given::Right(title.holder, title.grant));
            let openings = self.openings.iter().map(Given::Opening);
            let rests_on = titles.chain(openings).filter(|it| {
                let before = it.place();
                before != place && past.has(before) && is_open(reasons, &before)
            });
            let rests_on: Vec<Given<'_>> = rests_on.collect();
            if rests_on.is_empty() {
                reasons.insert(place, self.reason(pasts, reasons, act, given));
                work.pop();
            }
            work.extend(rests_on);
        }
        self.judgement.is_void(&of.1.place()).then(|| reasons.get(&of.1.place()).cloned()).flatten()
    }

    /// Why an act is void that gives something: its log had ended, or its author might not give that.
    fn reason(&self, pasts: Numbered<'_>, reasons: &Reasons, act: Act, gives: Given<'_>) -> Reason {
        let no_right = self.why_not_right(pasts, reasons, act, gives);
        let word = self.what_undid(&act.author, act.place);
        let word = word.map(|(stamp, place)| Reason { complete: stamp, all: BTreeSet::from([place]) });
        word.into_iter().chain((!no_right.all.is_empty()).then_some(no_right)).min().unwrap_or_default()
    }

    /// Why its author might not give that: it was no admin, and as a member might not, or was none.
    fn why_not_right(&self, pasts: Numbered<'_>, reasons: &Reasons, act: Act, gives: Given<'_>) -> Reason {
        let no_admin = self.why_less(pasts, reasons, act, Rights::Admin).unwrap_or_default();
        let Given::Right(whom, grant) = gives else { return no_admin };
        if grant.rights == Rights::Admin || act.beside == Rights::Admin {
            return no_admin;
        }
        let Act { author, place, stamp, .. } = act;
        let at = At { author, place: Some(place), generation: place.1, stamp, past: pasts.get(act.past) };
        let given = Left { rights: grant.rights, ends: grant.ends };
        let it = LettingIn { whom, with: self.enrolled_with(whom, place), given };
        let taken = self.first(self.what_took_of(&self.judgement, pasts, at, it)).map(Reason::from);
        let ways =
            [taken, self.why_closed(reasons, at, given), self.why_less(pasts, reasons, act, act.beside)];
        no_admin.and(ways.into_iter().flatten().min().unwrap_or_default())
    }

    /// Why the author of an act had less than a right; `None` if it had it.
    fn why_less(&self, pasts: Numbered<'_>, reasons: &Reasons, act: Act, right: Rights) -> Option<Reason> {
        let (device, past) = (act.author.device, pasts.get(act.past));
        let known = |place: Place| past.has(place) && place != act.place;
        let standing = self.standings.get(&device);
        let might = self.titles(&device).filter(|title| {
            title.grant.rights >= right
                && act.stamp.wall() <= title.ends()
                && known(title.grant.place())
                && title.enrolment.is_none_or(|enrolment| known(enrolment.place()))
                && !standing
                    .is_some_and(|it| self.has_left(it, &title.version(), known, self.judgement.ended()))
        });
        might.into_iter().try_fold(Reason::default(), |all, title| {
            let ends = title.parts(device).flat_map(|(holder, version)| self.ends(holder, version));
            let of = (act.author, act.place.1);
            let less = |end: &Revocation| end.leaves(title.grant.rights, of, act.stamp) < Some(right);
            let first = self.first(ends.filter(|(end, _)| less(end)).map(|(_, nth)| nth)).map(Reason::from);
            let void = reasons.get(&title.grant.place()).cloned();
            Some(all.and(first.into_iter().chain(void).min()?))
        })
    }

    /// Why nothing that was granted to everybody covers what a generation gives; `None` if something does.
    fn why_closed(&self, reasons: &Reasons, at: At<'_>, given: Left) -> Option<Reason> {
        let known = |opening: &&Opening| {
            let place = opening.place();
            at.past.has(place)
                && Some(place) != at.place
                && opening.given.covers(given)
                && at.stamp.wall() <= opening.given.ends
        };
        self.openings.iter().filter(known).try_fold(Reason::default(), |all, opening| {
            let less = |end: &Revocation| {
                let left = end.lessens_for(opening.given, (at.author, at.generation));
                !left.is_some_and(|left| left.covers(given) && at.stamp.wall() <= left.ends)
            };
            let ends = self.ends(Holder::Everybody, opening.version).filter(|(end, _)| less(end));
            let first = self.first(ends.map(|(_, nth)| nth)).map(Reason::from);
            let void = reasons.get(&opening.place()).cloned();
            Some(all.and(first.into_iter().chain(void).min()?))
        })
    }

    /// Of several revocations the one that was made first.
    fn first(&self, all: impl Iterator<Item = Nth>) -> Option<&Revocation> {
        let all = all.filter_map(|nth| Some((self.revocations.get(&nth)?, nth)));
        all.min_by_key(|(end, nth)| (end.stamp, *nth)).map(|(end, _)| end)
    }
}

/// What an act gives on which something may rest.
#[derive(Debug, Clone, Copy)]
enum Given<'a> {
    Right(Holder, &'a Grant),
    Opening(&'a Opening),
}

impl Given<'_> {
    fn place(self) -> Place {
        match self {
            Given::Right(_, grant) => grant.place(),
            Given::Opening(opening) => opening.place(),
        }
    }
}
