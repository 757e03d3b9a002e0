//! Who says what a syncgroup is for, and where to meet.

use super::Act;
use super::draw::{Drawing, Group};
use crate::dice::{Concern, Dice};

impl Drawing<'_> {
    /// Members say what syncgroups are for, mostly those who may; some go by what they read a while ago.
    pub(super) fn describing(&mut self, groups: &[Group]) {
        let mut dice = Dice::new(self.seed, Concern::People, &[5]);
        for _ in 0..dice.skewed(1, 8) {
            let Some(group) = dice.pick(groups) else { return };
            let (label, made_at) = (group.label, group.made_at());
            let creator = group.members.first().map_or(0, |(replica, _)| *replica);
            let member = dice.pick(&group.members).map_or(creator, |(replica, _)| *replica);
            let replica = if dice.one_in(2) { creator } else { member };
            let at = dice.between(made_at + self.safety_ms / 10, self.safety_ms);
            let description = (!dice.one_in(3)).then(|| dice.below(5) as u8);
            let places = dice.below(3);
            let meet = (!dice.one_in(3)).then(|| (0..places).map(|_| dice.index(self.replicas)).collect());
            let unless_changed = dice.one_in(3);
            self.step(at, Act::Describe { replica, group: label, description, meet, unless_changed });
        }
    }
}
