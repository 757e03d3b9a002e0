//! Time, always an argument: monotonic time for timers, wall time for the clock, and hybrid logical stamps.

use core::fmt;
use core::ops::Add;

use serde::{Deserialize, Serialize};

/// A span of time in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Millis(pub u64);

/// Milliseconds of a clock that only moves forward. Its zero is the driver's choice and means nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mono(pub u64);

impl Add<Millis> for Mono {
    type Output = Mono;
    fn add(self, span: Millis) -> Mono {
        Mono(self.0.saturating_add(span.0))
    }
}

/// Milliseconds since 1970-01-01 UTC, as some clock shows them: it may be wrong, and it may jump.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Wall(pub u64);

impl Wall {
    /// The end of time, which no clock reaches: what ends then has no end.
    pub const NEVER: Wall = Wall(u64::MAX);
}

impl Add<Millis> for Wall {
    type Output = Wall;
    fn add(self, span: Millis) -> Wall {
        Wall(self.0.saturating_add(span.0))
    }
}

/// Both clocks at the moment of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// The monotonic clock.
    pub mono: Mono,
    /// The wall clock.
    pub wall: Wall,
}

/// A hybrid logical stamp: milliseconds of the wall clock in the upper 48 bits, a counter in the lower 16
/// (Kulkarni and others, *Logical Physical Clocks*, 2014). A counter that overflows carries into the
/// milliseconds, which keeps the order.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The next stamp: above `past`, and as close to the wall clock as that allows (S-7).
    ///
    /// ```
    /// use driftless::{Hlc, Wall};
    /// let first = Hlc::after(Hlc::default(), Wall(1_000));
    /// let second = Hlc::after(first, Wall(1_000));
    /// let clock_set_back = Hlc::after(second, Wall(400));
    /// assert!(first < second && second < clock_set_back);
    /// assert_eq!(clock_set_back.wall(), Wall(1_000));
    /// ```
    pub fn after(past: Hlc, wall: Wall) -> Hlc {
        Hlc(past.0.saturating_add(1).max(wall.0.min(u64::MAX >> 16) << 16))
    }

    /// The last stamp with this wall time.
    pub(crate) fn last_of(wall: Wall) -> Hlc {
        Hlc(wall.0.min(u64::MAX >> 16) << 16 | 0xffff)
    }

    /// The wall time in the stamp.
    pub fn wall(self) -> Wall {
        Wall(self.0 >> 16)
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.0 >> 16, self.0 & 0xffff)
    }
}
