//! Watches that are told how everything stands, and not just what changed: for each time there is a reason.

use driftless::CommitSeq;
use driftless::read::Resumed;

use super::super::{Checked, Oracle, Seen, Violation, Watch};
use super::Watcher;
use crate::coverage::{Coverage, Point};

impl Watch {
    /// Whether there is a reason to tell the state.
    pub(super) fn may_begin(
        &self,
        seen: Seen<'_>,
        watcher: &Watcher,
        because: Resumed,
        coverage: &mut Coverage,
    ) -> Checked {
        let (point, may) = match because {
            Resumed::Started => (None, watcher.marker.is_none()),
            Resumed::Unknown => (Some(Point::WatchUnknown), watcher.in_doubt),
            Resumed::TooOld => (Some(Point::WatchTooOld), self.is_too_old(seen, watcher)),
            Resumed::Schema => (Some(Point::WatchSchema), self.has_other_rules(seen, watcher)),
            _ => (None, false),
        };
        point.into_iter().for_each(|point| coverage.hit(point));
        if may {
            return Ok(());
        }
        let what = format!("the state is told because of {because:?}, and there is no reason");
        Err(Violation::new(Oracle::Watching, "S-52", seen.replica, what))
    }

    /// Whether more commits came since somebody stopped watching than it is kept of what they changed.
    fn is_too_old(&self, seen: Seen<'_>, watcher: &Watcher) -> bool {
        let kept = self.watch_log.unwrap_or(driftless::Limits::default().watch_log);
        let told = &self.notes[seen.replica].told;
        watcher.marker.is_some_and(|marker| {
            marker.seq.0 + kept < seen.store.seq().0 || told.anew.iter().any(|at| marker.seq < *at)
        })
    }

    /// Whether the schema of anything that is watched is another one than at some time since somebody stopped watching,
    /// as far as it is known what came since.
    fn has_other_rules(&self, seen: Seen<'_>, watcher: &Watcher) -> bool {
        let Some(marker) = watcher.marker else { return false };
        let known = &self.notes[seen.replica].told;
        let mut since = known.commits.range(CommitSeq(marker.seq.0 + 1)..).map(|(_, commit)| &commit.judged);
        marker.seq < known.unknown
            || since.any(|(before, after)| {
                watcher.watched.iter().any(|(group, name)| {
                    self.ruled_anew(group, name, before, after)
                        || self.came_after_rows(group, name, before, after)
                })
            })
    }
}
