//! Drawing plans for an application: one syncgroup, of which all become members, and what users do.

use driftless::Rights;

use super::draw::{self, Drawing, Group};
use super::{Act, Faults, Plan, Profile, ResolverKind};
use crate::app::{Chance, Hosted};
use crate::dice::{Concern, Dice};

pub(super) fn plan(seed: u64, profile: &Profile, app: &dyn Hosted) -> Plan {
    let plan = draw::with(seed, profile, |drawing, faults, _| {
        let group = drawing.members();
        if app.collections().asks() {
            drawing.deciders(faults);
        }
        drawing.acts(&group, app);
        vec![group]
    });
    Plan { app: Some(app.title()), ..plan }
}

impl Drawing<'_> {
    /// The first device makes the syncgroup, and invites the others.
    fn members(&mut self) -> Group {
        let mut dice = self.dice(Concern::People);
        let (creator, group) = (0, 0);
        self.step(100, Act::Create { replica: creator, group, database: 0, collections: 1 });
        let mut members = vec![(creator, 300)];
        for replica in 1..self.replicas {
            // Mostly early: who is no member yet can do nothing.
            let late = if dice.one_in(5) { self.safety_ms / 2 } else { self.safety_ms / 10 };
            let (ticket, at) = (replica as u32, 300 + dice.below(late));
            let rights = if dice.one_in(4) { Rights::Admin } else { Rights::Write };
            let (reusable, valid_ms) = (false, 24 * 3_600_000);
            self.step(
                at,
                Act::Invite { replica: creator, group, ticket, rights, reusable, valid_ms, lasts_ms: 0 },
            );
            let joins = at + dice.skewed(1, 2_000);
            self.step(joins, Act::Join { replica, ticket, database: 0 });
            members.push((replica, joins + 1_000));
        }
        if self.profile.workload.leaves && self.replicas > 2 && dice.one_in(4) {
            let replica = dice.between(1, self.replicas as u64 - 1) as usize;
            let at = dice.between(self.safety_ms / 2, self.safety_ms);
            self.step(at, Act::Leave { replica, group });
        }
        Group { label: group, collections: 1, members }
    }

    /// On some devices nobody decides conflicts for a while, or not soon.
    fn deciders(&mut self, faults: Faults) {
        let mut dice = self.dice(Concern::Resolvers);
        for replica in 0..self.replicas {
            let kind = match dice.below(6) {
                0 => ResolverKind::Absent,
                1 => ResolverKind::Slow,
                2 if faults.crashes => ResolverKind::Crashing,
                _ => continue,
            };
            let at = dice.below(self.safety_ms);
            self.step(at, Act::Resolver { replica, kind });
            if kind == ResolverKind::Absent {
                let back = at + dice.skewed(1_000, 30_000);
                self.step(back, Act::Resolver { replica, kind: ResolverKind::Correct });
            }
        }
    }

    /// What users do: often several at about the same moment.
    fn acts(&mut self, group: &Group, app: &dyn Hosted) {
        let (least, most) = self.profile.workload.writes;
        let count = self.dice(Concern::App).skewed(least, most);
        let mut burst = 0;
        for number in 0..count {
            let mut dice = Dice::new(self.seed, Concern::App, &[number]);
            let from = group.made_at();
            let at = if burst > 0 && dice.one_in(2) {
                burst + dice.below(50)
            } else {
                dice.between(from, self.safety_ms.max(from))
            };
            burst = at;
            let replica = group.writer(&mut dice, at);
            let act = app.idea(&mut Chance::new(Dice::new(self.seed, Concern::App, &[number, 1])));
            self.step(at, Act::App { replica, act });
        }
    }
}
