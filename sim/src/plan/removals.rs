//! Who removes whom, and what is changed of rights.

use driftless::Rights;

use super::Act;
use super::draw::{Drawing, Group, database};
use crate::dice::{Concern, Dice};

/// Between a removal and another one that answers it, at most, in milliseconds: often not enough to hear of it.
const ANSWERED_WITHIN: u64 = 8_000;

impl Drawing<'_> {
    /// Members are removed and let in again, and get other rights; now and then a syncgroup is destroyed.
    pub(super) fn removals(&mut self, groups: &[Group]) {
        let mut dice = Dice::new(self.seed, Concern::People, &[2]);
        let mut lasting = Dice::new(self.seed, Concern::People, &[6]);
        let tickets = 500;
        for number in 0..dice.skewed(1, 8) {
            let Some(group) = dice.pick(groups) else { return };
            let (creator, label) = (group.members.first().map_or(0, |(replica, _)| *replica), group.label);
            let member = |dice: &mut Dice| dice.pick(&group.members).map_or(creator, |(replica, _)| *replica);
            let (one, two) = (member(&mut dice), member(&mut dice));
            let by = if dice.one_in(2) { creator } else { one };
            let at = dice.between(group.made_at() + self.safety_ms / 8, self.safety_ms);
            match dice.below(12) {
                0..=4 => {
                    self.step(at, Act::Eject { replica: by, group: label, peer: two });
                    if dice.one_in(3) {
                        // It is let in again.
                        let (ticket, then) = (
                            u32::from(label) * 1_000 + tickets + number as u32,
                            at + dice.skewed(10, 20_000),
                        );
                        let rights = if dice.one_in(2) { Rights::Write } else { Rights::Admin };
                        let invite = Act::Invite {
                            replica: by,
                            group: label,
                            ticket,
                            rights,
                            reusable: false,
                            valid_ms: 24 * 3_600_000,
                            lasts_ms: lasts(&mut lasting),
                        };
                        self.step(then, invite);
                        let joins = then + dice.skewed(1, 10_000);
                        let database = database(&mut dice);
                        self.step(joins, Act::Join { replica: two, ticket, database });
                    }
                }
                5..=6 => {
                    // Two become admins, and remove each other.
                    let before = at.saturating_sub(dice.skewed(100, 10_000));
                    for peer in [one, two] {
                        let rights = Rights::Admin;
                        self.step(
                            before,
                            Act::SetRights { replica: creator, group: label, peer, rights, lasts_ms: 0 },
                        );
                    }
                    self.step(at, Act::Eject { replica: one, group: label, peer: two });
                    let then = at + dice.below(ANSWERED_WITHIN);
                    self.step(then, Act::Eject { replica: two, group: label, peer: one });
                }
                7..=10 => {
                    let rights = [Rights::Read, Rights::Write, Rights::Admin][dice.index(3)];
                    let lasts_ms = lasts(&mut lasting);
                    let said = Act::SetRights { replica: by, group: label, peer: two, rights, lasts_ms };
                    self.step(at, said);
                    if lasts_ms > 0 && lasting.one_in(2) {
                        // It is to stay for longer, or for less long; in time or not.
                        let then = at + lasting.between(1, 2 * lasts_ms);
                        let lasts_ms = if lasting.one_in(3) { 0 } else { lasts(&mut lasting) };
                        let peer = two;
                        self.step(then, Act::SetRights { replica: by, group: label, peer, rights, lasts_ms });
                    }
                }
                _ => {
                    let replica = if dice.one_in(2) { creator } else { one };
                    let late = at.max(self.safety_ms * 3 / 4);
                    self.step(late, Act::Destroy { replica, group: label });
                }
            }
        }
    }
}

/// For how long somebody may do something: mostly for ever, which is 0.
pub(super) fn lasts(dice: &mut Dice) -> u64 {
    if dice.one_in(2) { 0 } else { dice.skewed(1_000, 120_000) }
}
