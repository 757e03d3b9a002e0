//! What embedders see of a world: for invariants of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use driftless::read::{self, Row};
use driftless::store::MemStore;
use driftless::verify::Verified;
use driftless::{Core, Name, SyncgroupId};

use super::World;
use crate::coverage::Coverage;
use crate::merges::Merges;
use crate::oracle::settled::waits;
use crate::oracle::{Checked, Oracle, Seen, Violation};
use crate::plan::Waits;

/// One of so many seeds verifies the stores of its replicas: that costs as much as receiving everything once more.
const VERIFIED_EVERY: u64 = 8;

/// A device of a [`World`], at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Device<'w> {
    /// Its number.
    pub index: usize,
    /// Its core, while its process runs.
    pub core: Option<&'w Core>,
    /// Its store.
    pub store: &'w MemStore,
    merges: &'w Merges,
}

impl Device<'_> {
    /// The rows that readers see of a collection on this device; none if it is not there.
    pub fn rows(&self, syncgroup: &SyncgroupId, collection: &Name) -> Vec<Row> {
        let mut rows = Vec::new();
        let collections = read::collections(self.store).unwrap_or_default();
        let wanted = collections.iter().filter(|it| it.syncgroup == *syncgroup && it.name == *collection);
        for collection in wanted.map(|it| it.clone().with_merges(self.merges.list())) {
            // A store in memory does not fail; one that is damaged is for the oracles to find.
            let _ = read::scan(self.store, &collection, &[], None, false, &mut |row| {
                rows.push(row);
                ControlFlow::Continue(())
            });
        }
        rows
    }
}

impl World<'_> {
    /// Milliseconds of virtual time since the start.
    pub fn now_ms(&self) -> u64 {
        self.now
    }

    /// Whether the faults have ended: what converges may now be expected to.
    pub fn healed(&self) -> bool {
        self.healed
    }

    /// All devices.
    pub fn devices(&self) -> impl Iterator<Item = Device<'_>> {
        self.replicas.iter().map(|it| Device {
            index: it.index,
            core: it.core.as_ref(),
            store: it.disk.store(),
            merges: &it.merges,
        })
    }

    /// What came up until now.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// The step of the plan that was taken last, by its place.
    pub(crate) fn step(&self) -> usize {
        self.step
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        self.trace.digest()
    }

    pub(crate) fn events(&self) -> u64 {
        self.trace.events
    }

    /// The longest that any replica may wait for something, as they are set up now.
    pub(crate) fn longest_wait(&self, of: impl Fn(&Waits) -> u64) -> u64 {
        self.replicas.iter().map(|it| of(it.waits(&self.plan.setup))).max().unwrap_or_default()
    }

    /// How often two replicas may ask each other within some time, once nothing comes of it.
    pub(crate) fn questions_within(&self, millis: u64, pair: (usize, usize)) -> u64 {
        let asks =
            |replica: usize| 1 + millis / self.replicas[replica].waits(&self.plan.setup).patience_max.max(1);
        asks(pair.0) + asks(pair.1)
    }

    /// Frames sent so far between the replicas of each pair, the lower number first.
    pub(crate) fn frames_between(&self) -> BTreeMap<(usize, usize), u64> {
        let mut between = BTreeMap::new();
        for ((from, to), count) in &self.network.sent {
            *between.entry((*from.min(to), *from.max(to))).or_default() += count;
        }
        between
    }

    /// Frames and bytes sent.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.network.frames, self.network.bytes)
    }

    pub(crate) fn safe_batches(&self) -> u64 {
        self.watch.safe_batches()
    }

    pub(crate) fn safe_parts(&self) -> u64 {
        self.watch.safe_parts()
    }

    fn all_seen(&self) -> Vec<Seen<'_>> {
        let honest = self.replicas.iter().filter(|it| !it.hostile);
        honest.filter_map(super::replica::Replica::seen).collect()
    }

    /// Whether everybody runs, has answered everything, and agrees.
    pub(crate) fn agreed(&self) -> Checked {
        for it in self.replicas.iter().filter(|it| !it.hostile && !it.vanished) {
            let wrong = |oracle, what: String| Err(Violation::new(oracle, "S-54", it.index, what));
            if it.core.is_none() {
                return wrong(Oracle::Convergence, "does not run".into());
            }
            // Replies are conduct, also those that never come.
            if let Some((request, asked)) = it.asked.first_key_value() {
                return wrong(Oracle::Conduct, format!("has not answered {request:?}: {:?}", asked.what));
            }
        }
        self.watch.agreed(&self.all_seen())?;
        self.resolved()
    }

    /// The pairs of replicas that hold different branches of a log on which others have built, the lower number first.
    pub(crate) fn kept_apart(&self) -> BTreeSet<(usize, usize)> {
        self.watch.kept_apart(&self.all_seen())
    }

    /// Whether anybody still lacks what it has held back because its time had not come, or somebody's time is about to be
    /// over.
    pub(crate) fn awaits_its_time(&self) -> bool {
        let all = self.all_seen();
        self.watch.awaits_its_time(&all) || self.watch.awaits_an_end(&all)
    }

    /// Whether anybody waits to get in or out.
    pub(crate) fn anybody_waits(&self) -> bool {
        let all = self.all_seen();
        all.iter().flat_map(|seen| seen.core.syncgroups()).any(|group| waits(group.state))
    }

    /// Checks everything that must be true once everybody agrees.
    pub(crate) fn settled(&self) -> Checked {
        self.watch.settled(&self.all_seen())
    }

    /// In one of several runs: whether each store, as a whole, is what was signed, and its rows what follows from that.
    pub(crate) fn verified(&self) -> Checked {
        if !self.plan.seed.is_multiple_of(VERIFIED_EVERY) {
            return Ok(());
        }
        for seen in self.all_seen() {
            let found = self.replicas[seen.replica].verify(self.plan.seed, &self.plan.setup);
            let wrong = match found {
                Ok(found) => found.into_iter().find(|verified| !verified.problems.is_empty()),
                Err(what) => return Err(Violation::new(Oracle::Model, "S-26", seen.replica, what)),
            };
            if let Some(Verified { syncgroup, problems, .. }) = wrong {
                let what = format!("its store of {syncgroup:?} is not what was signed: {problems:?}");
                return Err(Violation::new(Oracle::Model, "S-26", seen.replica, what));
            }
        }
        Ok(())
    }
}
