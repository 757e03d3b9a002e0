//! The oracle of what members are told of a syncgroup (S-30).

use driftless::{Core, Refusal, SpecChange, SpecVersion, SyncgroupId};

use super::{Checked, Oracle, Seen, Violation, Watch, WriteExpected};
use crate::coverage::Point;
use crate::model::Fact;

impl WriteExpected {
    /// What it exercises, if it is a wish that members be told something else.
    pub(crate) fn describes(&self) -> Option<Point> {
        let is_stale = |reason: &Refusal| matches!(reason, Refusal::SpecChanged(_));
        match self.reasons.as_slice() {
            [] => (self.must_be_taken() && self.fact.is_some()).then_some(Point::Described),
            [reason] if is_stale(reason) => Some(Point::DescribedTooLate),
            _ => None,
        }
    }
}

impl Watch {
    /// Says what should become of the wish that members be told something else.
    pub(crate) fn expect_spec(
        &self,
        core: &Core,
        group: SyncgroupId,
        change: &SpecChange,
        unless_changed: Option<SpecVersion>,
        stopping: bool,
    ) -> WriteExpected {
        let mut expected = self.expect_admin(core, &group, stopping);
        let (spec, version) = self.model.spec(&group, &core.held(&group).unwrap_or_default());
        if unless_changed.is_some_and(|read| read != version) {
            expected.reasons.push(Refusal::SpecChanged(version));
        }
        let change = SpecChange {
            description: change.description.clone().filter(|it| *it != spec.description),
            rendezvous: change.rendezvous.clone().filter(|it| *it != spec.rendezvous),
        };
        let changes = change != SpecChange::default();
        expected.says(core, group, changes.then_some(Fact::Describes(change)));
        expected
    }

    /// Members are told what was said last (S-30).
    pub(super) fn tells_the_spec(&self, seen: Seen<'_>) -> Checked {
        for info in seen.core.syncgroups() {
            let (spec, version) = self.model.spec(&info.id, &seen.core.held(&info.id).unwrap_or_default());
            if (&info.spec, info.spec_version) != (&spec, version) {
                let (told, at) = (&info.spec, info.spec_version);
                let what = format!("tells {told:?} by {at} of {:?}; it is {spec:?} by {version}", info.id);
                return Err(Violation::new(Oracle::Model, "S-30", seen.replica, what));
            }
        }
        Ok(())
    }
}
