//! Watching for the moments at which somebody's rights end, by this device's clock.
//!
//! Who is a member now follows from what is held and the clock ([`crate::syncgroup::access`]). The clock is looked at with
//! every event; where somebody's rights have ended since, or have not ended after all as the clock was set back, what
//! follows from membership is found out anew at the next tick, which comes at once.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Replica;
use crate::store::key::GroupIx;
use crate::syncgroup::group::Group;
use crate::time::{Hlc, Millis, Mono, Now, Wall};

/// How long no look at the clock is asked for, at most: a clock may be set, and timers stand still while a device sleeps.
/// Nothing is given or taken without an event, and so without a look; it is only the application that would hear late.
const MOST_WAIT: Millis = Millis(10 * 60 * 1000);

/// What is noted of the ends of rights.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    /// The clocks at the last event; `None` before the first.
    now: Option<Now>,
    /// The syncgroups in which rights end, and between which moments everybody may do there what they may now.
    same: BTreeMap<GroupIx, (Wall, Wall)>,
    /// Those of them where that was not so any more, until what follows from it is found out.
    passed: BTreeSet<GroupIx>,
}

impl Ends {
    /// The clock at the last event.
    pub(crate) fn clock(&self) -> Wall {
        self.now.map_or(Wall(0), |now| now.wall)
    }

    /// When to look again.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let now = self.now?;
        if !self.passed.is_empty() {
            return Some(Mono(0));
        }
        let last = self.same.values().map(|(_, last)| *last).min()?;
        let left = Millis(last.0.saturating_sub(now.wall.0).saturating_add(1));
        Some(now.mono + left.min(MOST_WAIT))
    }

    /// The syncgroups in which somebody may do something else than when that was looked at last.
    pub(crate) fn passed(&self) -> impl Iterator<Item = GroupIx> {
        self.passed.iter().copied()
    }
}

/// What was noted before a look at the clock.
#[derive(Debug)]
pub(crate) struct Before {
    now: Option<Now>,
    /// Of the syncgroups in which something has ended since: when they were looked at, and whether that was found out.
    looked: Vec<(GroupIx, Wall, bool)>,
}

impl Replica {
    /// Notes what the clocks show. Returns what was noted before.
    pub(crate) fn look_at_clock(&mut self, now: Now) -> Before {
        let before = self.ends.now.replace(now);
        let is_over =
            |(first, last): &(Wall, Wall)| before.is_none() || now.wall < *first || now.wall > *last;
        let passed = self.ends.same.iter().filter(|(_, same)| is_over(same)).map(|(ix, _)| *ix);
        let passed: Vec<GroupIx> = passed.collect();
        let looked = passed.into_iter().filter_map(|ix| {
            let clock = self.groups.get(&ix)?.metadata.access.clock();
            self.note_ends(ix);
            Some((ix, clock, !self.ends.passed.insert(ix)))
        });
        Before { now: before, looked: looked.collect() }
    }

    /// Nothing has come of the event: what was noted of the clocks is what was noted before.
    pub(crate) fn forget_look(&mut self, before: Before) {
        self.ends.now = before.now;
        for (ix, clock, was_passed) in before.looked {
            self.note_ends_at(ix, clock);
            if !was_passed {
                self.ends.passed.remove(&ix);
            }
        }
    }

    /// Notes anew when something ends in a syncgroup.
    pub(super) fn note_ends(&mut self, ix: GroupIx) {
        self.note_ends_at(ix, self.ends.clock());
    }

    fn note_ends_at(&mut self, ix: GroupIx, clock: Wall) {
        let Some(group) = self.groups.get_mut(&ix) else { return };
        group.metadata.access.set_clock(clock);
        match group.metadata.access.same_until() {
            Some(same) => self.ends.same.insert(ix, same),
            None => self.ends.same.remove(&ix),
        };
    }

    /// What follows from all ends that have passed is found out.
    pub(crate) fn ends_are_settled(&mut self) {
        self.ends.passed.clear();
    }

    /// The moment at which what this device writes next is stamped, at the earliest: by that it is judged whether it
    /// still may.
    pub(crate) fn moment(&self) -> Wall {
        Hlc::after(self.stamp, self.ends.clock()).wall()
    }

    /// The clock of a syncgroup that is new here.
    pub(super) fn start_clock(&self, group: &mut Group) {
        group.metadata.access.set_clock(self.ends.clock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_look_is_just_after_the_next_end_and_not_too_far_away() {
        let now = Now { mono: Mono(5), wall: Wall(1_000) };
        let mut ends = Ends { now: Some(now), ..Ends::default() };
        assert_eq!(ends.deadline(), None);
        ends.same.insert(0, (Wall(0), Wall::NEVER));
        assert_eq!(ends.deadline(), Some(now.mono + MOST_WAIT));
        ends.same.insert(1, (Wall(0), Wall(1_000)));
        assert_eq!(ends.deadline(), Some(Mono(6)), "the end itself belongs to what is before it");
        ends.passed.insert(1);
        assert_eq!(ends.deadline(), Some(Mono(0)));
    }
}
