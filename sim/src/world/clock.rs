//! Clocks: one virtual time for the world, and what each replica believes.

use driftless::{Mono, Now, Wall};

/// Where the wall clocks of all runs start, 2026-01-01 UTC: any moment far from 1970 will do.
const START_OF_WORLD: u64 = 1_767_225_600_000;

/// A replica's clocks.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    /// The monotonic clock's zero means nothing, so each boot has another.
    mono_offset: u64,
    wall: WallClock,
}

/// How a wall clock is wrong. It goes on being so when its process starts again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WallClock {
    /// By how much it is ahead.
    pub(crate) skew_ms: i64,
    /// By how much it is too fast, in a million.
    pub(crate) drift_ppm: i64,
    /// By how much it was set wrong.
    pub(crate) set_ms: i64,
}

impl WallClock {
    /// By how much it is ahead at a moment, in milliseconds.
    pub(crate) fn error(&self, at: u64) -> i64 {
        let drifted = i64::try_from(at).unwrap_or(i64::MAX).saturating_mul(self.drift_ppm) / 1_000_000;
        self.skew_ms.saturating_add(drifted).saturating_add(self.set_ms)
    }

    /// What it shows at a moment.
    pub(crate) fn shows(&self, at: u64) -> Wall {
        Wall((START_OF_WORLD + at).saturating_add_signed(self.error(at)))
    }
}

impl Clock {
    pub(crate) fn new(mono_offset: u64, wall: WallClock) -> Self {
        Self { mono_offset, wall }
    }

    /// Sets the wall clock.
    pub(crate) fn set(&mut self, wall: WallClock) {
        self.wall = wall;
    }

    /// Puts the wall clock ahead, by milliseconds.
    pub(crate) fn set_ahead(&mut self, by_ms: i64) {
        self.wall.skew_ms = self.wall.skew_ms.saturating_add(by_ms);
    }

    /// What the replica reads at a moment of virtual time.
    pub(crate) fn now(&self, at: u64) -> Now {
        Now { mono: Mono(at + self.mono_offset), wall: self.wall.shows(at) }
    }

    /// When in virtual time the replica's monotonic clock shows this.
    pub(crate) fn moment(&self, mono: Mono) -> u64 {
        mono.0.saturating_sub(self.mono_offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_on_the_replicas_clock_is_the_same_moment_in_virtual_time() {
        let clock = Clock::new(1_000_000, WallClock { skew_ms: -30_000, ..WallClock::default() });
        let now = clock.now(500);
        assert_eq!(clock.moment(now.mono), 500);
        assert_eq!(now.wall, Wall(START_OF_WORLD + 500 - 30_000));
        assert_eq!(clock.moment(Mono(3)), 0);
    }

    #[test]
    fn a_clock_drifts_and_can_be_set_and_never_shows_what_was_before_1970() {
        let wall = WallClock { drift_ppm: 1_000, set_ms: 7, ..WallClock::default() };
        let mut clock = Clock::new(0, wall);
        assert_eq!(clock.now(10_000).wall, Wall(START_OF_WORLD + 10_000 + 10 + 7));
        clock.set(WallClock { set_ms: i64::MIN, ..wall });
        assert_eq!(clock.now(10_000).wall, Wall(0));
    }
}
