//! Clocks: one virtual time for the world, and what each replica believes.

use driftless::{Mono, Now, Wall};

/// Where the wall clocks of all runs start, 2026-01-01 UTC: any moment far from 1970 will do.
const START_OF_WORLD: u64 = 1_767_225_600_000;

/// A replica's clocks.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    /// The monotonic clock's zero means nothing, so each boot has another.
    mono_offset: u64,
    skew_ms: i64,
}

impl Clock {
    pub(crate) fn new(mono_offset: u64, skew_ms: i64) -> Self {
        Self { mono_offset, skew_ms }
    }

    /// Puts the wall clock ahead, by milliseconds.
    pub(crate) fn set_ahead(&mut self, by_ms: i64) {
        self.skew_ms = self.skew_ms.saturating_add(by_ms);
    }

    /// What the replica reads at a moment of virtual time.
    pub(crate) fn now(&self, at: u64) -> Now {
        let wall = (START_OF_WORLD + at).saturating_add_signed(self.skew_ms);
        Now { mono: Mono(at + self.mono_offset), wall: Wall(wall) }
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
        let clock = Clock::new(1_000_000, -30_000);
        let now = clock.now(500);
        assert_eq!(clock.moment(now.mono), 500);
        assert_eq!(now.wall, Wall(START_OF_WORLD + 500 - 30_000));
        assert_eq!(clock.moment(Mono(3)), 0);
    }
}
