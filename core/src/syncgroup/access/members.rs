//! Who is a member, who was one, and what made an end of that.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::super::past::{Numbered, Past};
use super::super::{Member, Rights, User};
use super::facts::{Enrolment, Holder, Left, Revocation, Standing};
use super::{Access, Nth};
use crate::id::{Author, DeviceId, Generation, UserId, Version};
use crate::keys::KeyChain;
use crate::object::history::Place;
use crate::time::{Hlc, Wall};

impl Access {
    /// Whether a device is or was a member.
    pub(crate) fn is_known(&self, device: &DeviceId) -> bool {
        let has_any = |it: &Standing| !it.grants.is_empty() || !it.enrolments().is_empty();
        self.standings.get(device).is_some_and(has_any)
    }

    /// Whether a device was a member and is none any more, or not now.
    pub(crate) fn is_former(&self, device: &DeviceId) -> bool {
        self.is_known(device) && self.rights(device).is_none()
    }

    /// Whether a device is no member any more, and not because it left: that goes by its latest admission, as it may
    /// have been let in again. It was removed, or its time is over: for others that is the same.
    pub(crate) fn is_removed(&self, device: &DeviceId) -> bool {
        let has_left = |standing: &Standing| {
            standing.latest().is_some_and(|grant| {
                self.has_left(standing, &grant.version, |_| true, self.judgement.ended())
            })
        };
        self.is_former(device) && !self.standings.get(device).is_some_and(has_left)
    }

    /// Whether others have made an end of all by which a device was a member, but of what it had ended itself by departures
    /// of which they knew.
    pub(crate) fn is_ended_by_others(&self, device: &DeviceId, others_know: impl Fn(Place) -> bool) -> bool {
        let standing = self.standings.get(device).into_iter();
        let mut titles = standing.flat_map(|it| self.titles(device).map(move |title| (it, title)));
        titles.all(|(standing, title)| {
            self.has_left(standing, &title.version(), &others_know, self.judgement.ended())
                || self.left_by_others(device, &title).is_none()
        })
    }

    /// Whether the facts in a past say all that is known of a device's departure.
    pub(crate) fn has_departed_in(&self, device: &DeviceId, past: &Past) -> bool {
        self.standings.contains_key(device) && self.departures(device).all(|departure| past.has(departure.by))
    }

    /// Whether a device is known to be no member any more, by something of which somebody did not know.
    pub(crate) fn has_gone_since(
        &self,
        pasts: Numbered<'_>,
        device: &DeviceId,
        knew: impl Fn(Place) -> bool,
    ) -> bool {
        let is_news = self.departures(device).any(|departure| !knew(departure.by))
            || self.what_removed(pasts, device, &[]).into_iter().any(|place| !knew(place));
        is_news && self.is_former(device)
    }

    /// From which generation on what an author wrote as an admin is void.
    pub(crate) fn first_void(&self, author: &Author) -> Option<Generation> {
        let titles = self.titles(&author.device);
        let parts = titles.flat_map(|title| title.parts(author.device));
        let ends = parts.flat_map(|(holder, version)| self.ends(holder, version));
        // When what it wrote is stamped is not known yet.
        let ends = ends.filter(|(end, _)| end.keep < Some(Rights::Admin) || end.ends < Wall::NEVER);
        ends.map(|(end, _)| end.until.get(author).map_or(1, |last| last.saturating_add(1))).min()
    }

    /// What a device that is no member any more has to know to see that: of each grant what ended it, or what made void the
    /// generation that gave it, be it that its key had ended, with that generation itself; and of each enrolment what struck
    /// it off. The first of several, as others may know more than the device may learn. And the enrolments themselves: whoever
    /// ended what the user was granted need not have known of them, and without them that says nothing of the device. For
    /// certificates that it has shown, and that are [unheard of](Access::unheard_of), the same of what their users were
    /// granted. Where its time is over, the grants say that.
    pub(crate) fn what_ended(
        &self,
        pasts: Numbered<'_>,
        device: &DeviceId,
        unheard_of: &[(UserId, u64)],
    ) -> BTreeSet<Place> {
        let (mut found, given) = self.what_made_an_end(pasts, device, unheard_of);
        found.extend(given);
        let of_users = unheard_of.iter().flat_map(|(user, _)| self.standing_grants_to(user));
        found.extend(of_users.map(|(grant, _)| grant.place()));
        found.extend(self.standing_titles(device).map(|(title, _)| title.grant.place()));
        if let Some(standing) = self.standings.get(device) {
            found.extend(standing.departures().iter().map(|departure| departure.by));
            found.extend(standing.enrolments().iter().map(Enrolment::place));
        }
        found
    }

    /// The strikings-off that end a device's certificates of this number, with their stamps.
    pub(super) fn strikings_of(
        &self,
        user: &UserId,
        device: &DeviceId,
        number: u64,
    ) -> impl Iterator<Item = (Hlc, Nth)> {
        let strikings = self.users.get(user).into_iter().flat_map(|user| &user.strikings);
        let of_device = strikings.filter(move |(struck, last, _)| struck == device && *last >= number);
        of_device.filter_map(|(.., nth)| Some((self.revocations.get(nth)?.stamp, *nth)))
    }

    /// Of the certificates that a device has shown those of which nobody here has heard that they were written down; or that
    /// the device has ended by leaving, as it `knows` itself, so it must have become the user's again.
    pub(crate) fn unheard_of(
        &self,
        device: &DeviceId,
        shown: &[(UserId, u64)],
        knows: impl Fn(Place) -> bool,
    ) -> Vec<(UserId, u64)> {
        let standing = self.standings.get(device);
        let mut departures = standing.into_iter().flat_map(Standing::departures);
        let knows_all = departures.all(|departure| knows(departure.by));
        let is_unheard_of = |(user, number): &&(UserId, u64)| {
            let Some(standing) = standing else { return true };
            let enrolments = standing.enrolments().iter();
            let mut enrolments = enrolments.filter(|it| it.user == *user && it.number >= *number);
            enrolments
                .all(|it| knows_all && self.has_left(standing, &it.version, |_| true, self.judgement.ended()))
        };
        shown.iter().filter(is_unheard_of).copied().collect()
    }

    /// Whether a certificate would let a device in if somebody wrote it down.
    pub(crate) fn would_let_in(&self, device: &DeviceId, user: &UserId, number: u64) -> bool {
        self.rights_of(user).is_some() && !self.is_struck_off(user, device, number)
    }

    /// The revocations that count for a grant or a certificate.
    pub(super) fn ends(&self, holder: Holder, version: Version) -> impl Iterator<Item = (&Revocation, Nth)> {
        let ends = self.judgement.ends(holder, &version).iter();
        ends.filter_map(|nth| Some((self.revocations.get(nth)?, *nth)))
    }

    /// When the last thing was said that let a device in, or made an end of that, of what counts.
    pub(crate) fn last_word_on(&self, device: &DeviceId) -> Option<Hlc> {
        let titles = || self.titles(device).filter(|it| !self.judgement.is_void(&it.grant.place()));
        let given = titles().map(|it| it.enrolment.map_or(it.grant.stamp, |by| by.stamp.max(it.grant.stamp)));
        let ended = titles().flat_map(|it| it.parts(*device)).flat_map(|(holder, it)| self.ends(holder, it));
        let left = self.departures(device).map(|departure| departure.stamp);
        given.chain(ended.map(|(end, _)| end.stamp)).chain(left).max()
    }

    /// The devices that may do anything now, with what they may do.
    pub(crate) fn joined(&self) -> impl Iterator<Item = (&DeviceId, Rights)> {
        self.standings.keys().filter_map(|device| Some((device, self.rights(device)?)))
    }

    /// The devices to which anything is left, though their time may be over.
    pub(crate) fn standing(&self) -> impl Iterator<Item = &DeviceId> {
        self.standings.keys().filter(|device| self.stands(device))
    }

    /// Everybody who was ever admitted, by device.
    pub(crate) fn members(&self) -> Vec<Member> {
        let member = |(device, standing): (&DeviceId, &Standing)| {
            let latest = standing.latest()?;
            let (rights, present) = (self.rights(device), self.present(device));
            let expired = rights.is_none() && present.is_some();
            let removed = self.is_removed(device) && !expired;
            let (user, ends) = (self.user_now(device).or(latest.user), present.and_then(Left::end));
            let (name, admitted) = (latest.name.clone(), latest.version);
            let rollovers = self.keys_of(device).map_or(0, KeyChain::rollovers);
            let disputed = self.is_disputed(device);
            let (device, name) = (*device, name);
            Some(Member { device, name, rights, ends, expired, admitted, removed, user, rollovers, disputed })
        };
        self.standings.iter().filter_map(member).collect()
    }

    /// Everybody to whom something was ever granted as a user, by user.
    pub(crate) fn users(&self) -> Vec<User> {
        let user = |user: &UserId| {
            let standing = self.users.get(user)?;
            let (grants, key) = (standing.grants.iter(), standing.key?);
            let latest = grants.max_by_key(|grant| (grant.stamp, grant.version))?;
            let (name, granted) = (latest.name.clone(), latest.version);
            let (rights, present) = (self.rights_of(user), self.present_of(user));
            let expired = rights.is_none() && present.is_some();
            let ends = present.and_then(Left::end);
            Some(User { user: *user, key, name, rights, ends, expired, granted })
        };
        self.users.keys().filter_map(user).collect()
    }

    /// The devices that were enrolled as a user's, whatever became of that.
    pub(crate) fn devices_of(&self, user: &UserId) -> impl Iterator<Item = &DeviceId> {
        self.users.get(user).into_iter().flat_map(|user| &user.devices)
    }

    /// Whether a certificate of a device is known that nobody has ended, of this number or a greater one, and good for as
    /// long.
    pub(crate) fn is_enrolled(&self, user: &UserId, device: &DeviceId, number: u64, ends: Wall) -> bool {
        self.has_certificate(user, device, |it| it.number >= number && it.ends >= ends)
    }

    /// Whether a device is a user's by the certificate of this number, which nobody has ended.
    pub(crate) fn is_enrolled_by(&self, user: &UserId, device: &DeviceId, number: u64) -> bool {
        self.has_certificate(user, device, |it| it.number == number)
    }

    fn has_certificate(&self, user: &UserId, device: &DeviceId, is_it: impl Fn(&Enrolment) -> bool) -> bool {
        let Some(standing) = self.standings.get(device) else { return false };
        let holder = Holder::DeviceOf(*user, *device);
        standing.enrolments().iter().any(|it| {
            it.user == *user
                && is_it(it)
                && !self.has_left(standing, &it.version, |_| true, self.judgement.ended())
                && self.judgement.ends(holder, &it.version).is_empty()
        })
    }

    /// What a device ends that leaves: what is granted to it, and its enrolments, of which none shall let it in again when
    /// something else is granted to its user.
    pub(crate) fn all_of(&self, device: &DeviceId) -> Vec<Version> {
        let mut versions = self.grants(device);
        let mut seen: BTreeSet<Version> = versions.iter().copied().collect();
        let standing = self.standings.get(device).into_iter();
        let enrolments = standing.flat_map(|it| it.enrolments().iter().map(move |enrolment| (it, enrolment)));
        for (standing, Enrolment { version, .. }) in enrolments {
            let has_left = self.has_left(standing, version, |_| true, self.judgement.ended());
            if !has_left && seen.insert(*version) {
                versions.push(*version);
            }
        }
        versions
    }

    /// Whether certificates of a device of this number are struck off.
    pub(crate) fn is_struck_off(&self, user: &UserId, device: &DeviceId, number: u64) -> bool {
        self.strikings_of(user, device, number).next().is_some()
    }

    /// The greatest number of a user's certificates for a device.
    pub(crate) fn last_certificate(&self, user: &UserId, device: &DeviceId) -> Option<u64> {
        let enrolments = self.standings.get(device).into_iter().flat_map(Standing::enrolments);
        enrolments.filter(|it| it.user == *user).map(|it| it.number).max()
    }
}
