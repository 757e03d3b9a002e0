//! The clocks of the machine, as the core knows them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftless::{Mono, Now, Wall};
use tokio::time::{Instant, sleep_until};

/// Monotonic time counts from here.
#[derive(Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(&self) -> Now {
        Now { mono: Mono(millis(self.0.elapsed())), wall: wall() }
    }

    /// Waits until a moment; for ever if there is none, and not at all if it has passed.
    pub(super) async fn until(&self, moment: Option<Mono>) {
        match moment {
            None => std::future::pending().await,
            Some(moment) if moment <= self.now().mono => {}
            Some(Mono(millis)) => match self.0.checked_add(Duration::from_millis(millis)) {
                Some(instant) => sleep_until(instant).await,
                None => std::future::pending().await,
            },
        }
    }
}

/// What the wall clock shows. One that stands before 1970 counts as 1970: the core knows that clocks lie.
pub(crate) fn wall() -> Wall {
    Wall(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
