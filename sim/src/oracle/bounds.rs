//! Oracles of bounds (S-53): how much one event may cost, and how much a replica may come to be.

use std::fmt::{self, Write as _};

use driftless::{Action, Refusal};

use super::{Checked, Oracle, Seen, Violation, Watch};
use crate::coverage::{Coverage, Point};
use crate::plan::LowLimits;

/// Entries that one event may read, whatever it is: several times what the largest chunk takes.
const MOST_READS: u64 = 20_000;
/// What is left of that by a planted defect.
const THRIFTY: u64 = 3;
/// Frames and other things that one event may cause.
const MOST_ACTIONS: usize = 1_000;
/// How large a replica may be in memory, as its debug form is long: for itself, for each generation held (which
/// stands for authors, links and what is believed of their other ends), and for each link.
const SIZE: u64 = 20_000;
const SIZE_PER_AUTHOR: u64 = 4_000;
const SIZE_PER_LINK: u64 = 60_000;
/// A byte of a frame, as `\\x07`.
const SIZE_PER_BYTE: u64 = 4;

impl Watch {
    /// An event was handled: so many entries were read for it, and this is to be done.
    pub(crate) fn worked(&self, replica: usize, reads: u64, actions: &[Action]) -> Checked {
        let most =
            if self.sabotage.is_some_and(crate::world::Sabotage::is_thrifty) { THRIFTY } else { MOST_READS };
        let wrong = |what| Err(Violation::new(Oracle::Bounds, "S-53", replica, what));
        if reads > most {
            return wrong(format!("read {reads} entries for one event"));
        }
        if actions.len() > MOST_ACTIONS {
            return wrong(format!("wants {} things to be done for one event", actions.len()));
        }
        Ok(())
    }

    /// Some limits are lower than usual.
    pub(crate) fn limited(&mut self, low: &LowLimits) {
        let limits = &mut self.limits;
        limits.syncgroups = low.syncgroups.unwrap_or(limits.syncgroups);
        limits.links = low.links.unwrap_or(limits.links);
        limits.drift.0 = low.drift_ms.unwrap_or(limits.drift.0);
    }

    /// Whether a replica has no more of anything than it may.
    pub(crate) fn within(&self, seen: Seen<'_>) -> Checked {
        let (groups, links) = (seen.core.syncgroups().len(), seen.core.status().links.len());
        for (count, limit, what) in
            [(groups, self.limits.syncgroups, "syncgroups"), (links, self.limits.links, "links")]
        {
            if count > limit {
                let what = format!("has {count} {what}, and takes {limit}");
                return Err(Violation::new(Oracle::Bounds, "S-53", seen.replica, what));
            }
        }
        Ok(())
    }

    /// Whether a replica that says that a limit is reached has reached it.
    pub(crate) fn limits_reached(
        &self,
        seen: Seen<'_>,
        refusal: &Refusal,
        coverage: &mut Coverage,
    ) -> Checked {
        let Refusal::Limit { what: "syncgroups", limit } = refusal else { return Ok(()) };
        coverage.hit(Point::TooManySyncgroups);
        let count = seen.core.syncgroups().len();
        if *limit != self.limits.syncgroups || count < *limit {
            let what = format!("is in {count} syncgroups, and says that {limit} are all that it takes");
            return Err(Violation::new(Oracle::Bounds, "S-53", seen.replica, what));
        }
        Ok(())
    }

    /// A replica closes a link because it has too many.
    pub(crate) fn has_no_room(&self, replica: usize, links: usize) -> Checked {
        if links < self.limits.links {
            let what = format!("has {links} links, and closes another one as if that were too many");
            return Err(Violation::new(Oracle::Bounds, "S-53", replica, what));
        }
        Ok(())
    }

    /// How large a replica is, against what it has a reason to be.
    ///
    /// On each link so many bytes may wait for the commits that they tell of to become durable.
    pub(crate) fn size(&self, seen: Seen<'_>, unsent: u64) -> Checked {
        let mut length = Length(0);
        // Counting cannot fail.
        let _ = write!(length, "{:?}", seen.core);
        let (groups, links) = (seen.core.syncgroups(), seen.core.status().links.len());
        let authors: usize =
            groups.iter().filter_map(|group| seen.core.knowledge(&group.id)).map(|held| held.len()).sum();
        let (authors, links) = (authors as u64, links as u64);
        let per_link = SIZE_PER_LINK + SIZE_PER_BYTE * unsent + authors * SIZE_PER_AUTHOR;
        let most = SIZE + authors * SIZE_PER_AUTHOR + links * per_link;
        if length.0 > most {
            let what = format!("has come to be {} large, with {authors} authors and {links} links", length.0);
            return Err(Violation::new(Oracle::Bounds, "S-53", seen.replica, what));
        }
        Ok(())
    }
}

/// Counts what is written.
struct Length(u64);

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len() as u64;
        Ok(())
    }
}
