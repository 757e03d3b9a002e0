//! Who publishes what where, and what is answered there.

use driftless::Rights;

use super::Act;
use super::draw::{Drawing, Group, database};
use crate::dice::{Concern, Dice};

impl Drawing<'_> {
    /// Syncgroups are published at devices, mostly at some that are no members, and by admins; most of these answer, some
    /// before they are asked, and some change their minds.
    pub(super) fn publishing(&mut self, groups: &[Group]) {
        let mut dice = Dice::new(self.seed, Concern::People, &[7]);
        for _ in 0..dice.skewed(1, 5) {
            let Some(group) = dice.pick(groups) else { return };
            let (label, made_at) = (group.label, group.made_at());
            let creator = group.members.first().map_or(0, |(replica, _)| *replica);
            let member = dice.pick(&group.members).map_or(creator, |(replica, _)| *replica);
            let is_member = |replica: &usize| group.members.iter().any(|(member, _)| member == replica);
            let strangers: Vec<usize> = (0..self.replicas).filter(|it| !is_member(it)).collect();
            let anybody = dice.index(self.replicas);
            let stranger = dice.pick(&strangers).copied().filter(|_| !dice.one_in(5));
            let peer = stranger.unwrap_or(anybody);
            let replica = if dice.one_in(4) { member } else { creator };
            let at = dice.between(made_at + self.safety_ms / 10, self.safety_ms);
            let rights = [Rights::Read, Rights::Write, Rights::Write, Rights::Admin][dice.index(4)];
            self.step(at, Act::Publish { replica, group: label, peer, rights });
            let answers_at = dice.between(made_at, self.safety_ms);
            let database = database(&mut dice);
            match dice.below(8) {
                0 => {}
                1..=2 => self.step(answers_at, Act::Decline { replica: peer, group: label }),
                _ => self.step(answers_at, Act::Accept { replica: peer, group: label, database }),
            }
            let then = at + dice.skewed(10, 20_000);
            match dice.below(6) {
                0 => self.step(then, Act::Unpublish { replica, group: label, peer }),
                1 => self.step(then, Act::Publish { replica: creator, group: label, peer, rights }),
                2 => self.step(then, Act::Accept { replica: peer, group: label, database }),
                _ => {}
            }
        }
    }
}
