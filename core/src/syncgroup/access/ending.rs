//! Who may do something *now*, where rights end: by this device's clock.
//!
//! What may be held, and what counts, goes by the stamps of generations. Who is given what is written, and who is asked
//! for it, goes by the clock: a device all of whose grants have ended is treated like one that was removed (S-36), only
//! that nothing has to be said for it. Clocks differ, and are set right; so nothing follows from this that could not be
//! taken back, and each question is answered by the clock as it is.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::super::Rights;
use super::facts::{Left, end};
use super::{Access, Title};
use crate::id::{DeviceId, UserId, Version};
use crate::time::Wall;

/// When rights end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ends {
    /// This device's clock, as it was last looked at.
    clock: Wall,
    /// Every end that anybody has set.
    set: BTreeSet<Wall>,
}

impl Ends {
    /// Notes what is given until an end.
    pub(super) fn note(&mut self, rights: Rights, ends: Option<Wall>) -> Left {
        let left = Left { rights, ends: end(ends) };
        self.set.extend(left.end());
        left
    }
}

impl Access {
    /// Whether any right has an end.
    pub(crate) fn has_ends(&self) -> bool {
        !self.ends.set.is_empty()
    }

    /// Looks at the clock.
    pub(crate) fn set_clock(&mut self, clock: Wall) {
        self.ends.clock = clock;
    }

    /// The first and the last moment between which everybody may do the same as now; `None` if that is always.
    pub(crate) fn same_until(&self) -> Option<(Wall, Wall)> {
        let Ends { clock, set } = &self.ends;
        if set.is_empty() {
            return None;
        }
        let last = set.range(..*clock).next_back().map_or(Wall(0), |end| Wall(end.0.saturating_add(1)));
        Some((last, set.range(*clock..).next().copied().unwrap_or(Wall::NEVER)))
    }

    /// What a device may do now, by all that is known here.
    pub(crate) fn rights(&self, device: &DeviceId) -> Option<Rights> {
        self.rights_when(device, self.ends.clock)
    }

    /// What a device may do at a moment, by all that is known here.
    pub(crate) fn rights_when(&self, device: &DeviceId, moment: Wall) -> Option<Rights> {
        self.standing_titles(device).filter_map(|(_, left)| left.at(moment)).max()
    }

    /// What a user may do now, by whatever device, by all that is known here.
    pub(crate) fn rights_of(&self, user: &UserId) -> Option<Rights> {
        self.standing_grants_to(user).filter_map(|(_, left)| left.at(self.ends.clock)).max()
    }

    /// The grants to a device that give something now, and its enrolments.
    pub(crate) fn grants_now(&self, device: &DeviceId) -> Vec<Version> {
        self.versions(device, |left| left.at(self.ends.clock).is_some())
    }

    /// The most that a device may do now, and until when; or if its time is over, what it could do last.
    pub(crate) fn present(&self, device: &DeviceId) -> Option<Left> {
        present(self.standing_titles(device).map(|(_, left)| left), self.ends.clock)
    }

    /// The same of a user.
    pub(crate) fn present_of(&self, user: &UserId) -> Option<Left> {
        present(self.standing_grants_to(user).map(|(_, left)| left), self.ends.clock)
    }

    /// Whether a device is no member any more only because its time is over.
    pub(crate) fn is_expired(&self, device: &DeviceId) -> bool {
        self.rights(device).is_none() && self.stands(device)
    }

    /// Whether there is anything left to a device, though its time may be over.
    pub(crate) fn stands(&self, device: &DeviceId) -> bool {
        self.standing_titles(device).next().is_some()
    }

    /// When the time of a device was over for something that it might do otherwise; `None` if it is not over, or it never
    /// might.
    pub(crate) fn over_since(&self, device: &DeviceId, rights: Rights, moment: Wall) -> Option<Wall> {
        if self.rights_when(device, moment) >= Some(rights) {
            return None;
        }
        let enough = self.standing_titles(device).filter(|(_, left)| left.rights >= rights);
        enough.map(|(_, left)| left.ends).max()
    }

    /// Whether a device has as much, for as long.
    pub(crate) fn has(&self, device: &DeviceId, given: Left) -> bool {
        self.standing_titles(device).any(|(_, left)| left.covers(given))
    }

    /// Whether a user has as much, for as long.
    pub(crate) fn has_user(&self, user: &UserId, given: Left) -> bool {
        self.standing_grants_to(user).any(|(_, left)| left.covers(given))
    }

    /// The user as whose device a device may do the most at a moment, and what.
    pub(crate) fn by_user(&self, device: &DeviceId, moment: Wall) -> Option<(Left, UserId)> {
        let is_now = |(_, left): &(Title<'_>, Left)| left.at(moment).is_some();
        let titles = self.standing_titles(device).filter(is_now);
        titles.filter_map(|(title, left)| Some((left, title.enrolment?.user))).max()
    }

    /// The same now.
    pub(super) fn user_now(&self, device: &DeviceId) -> Option<UserId> {
        self.by_user(device, self.ends.clock).map(|(_, user)| user)
    }

    /// The clock, as it was last looked at.
    pub(crate) fn clock(&self) -> Wall {
        self.ends.clock
    }
}

/// Of what is left by several ways, what counts at a moment: the most of what is there then, or what ended last.
fn present(all: impl Iterator<Item = Left>, moment: Wall) -> Option<Left> {
    all.max_by_key(|left| match left.at(moment) {
        Some(rights) => (Some(rights), left.ends, rights),
        None => (None, left.ends, left.rights),
    })
}
