//! Users with several devices: who is certified, enrolled where, and struck off.

use driftless::Rights;

use super::Act;
use super::draw::{Drawing, Group, database};
use super::removals::lasts;
use crate::dice::{Concern, Dice};

/// Users that there are.
const USERS: u64 = 2;
/// The first label of an invitation that has to do with users.
const TICKETS: u32 = 700;

impl Drawing<'_> {
    /// Users come to syncgroups with a device, and bring others; some are struck off, and some users lose what they had.
    pub(super) fn users(&mut self, groups: &[Group]) {
        let mut dice = Dice::new(self.seed, Concern::People, &[5]);
        for number in 0..dice.skewed(1, 4) {
            let Some(group) = dice.pick(groups) else { return };
            self.family(&mut dice, group, number as u32);
        }
    }

    fn family(&mut self, dice: &mut Dice, group: &Group, number: u32) {
        let (creator, label) = (group.members.first().map_or(0, |(replica, _)| *replica), group.label);
        let member = |dice: &mut Dice| dice.pick(&group.members).map_or(creator, |(replica, _)| *replica);
        let user = dice.below(USERS) as u8;
        let rights = [Rights::Read, Rights::Write, Rights::Write, Rights::Admin][dice.index(4)];
        let ticket = u32::from(label) * 1_000 + TICKETS + 10 * number;
        let mut lasting = Dice::new(self.seed, Concern::People, &[7, u64::from(number)]);
        let made_at = group.made_at();
        let at = dice.between(made_at, made_at + self.safety_ms / 3);
        let (one, two) = (dice.index(self.replicas), dice.index(self.replicas));
        // The user comes with a device, or is let in before it has any.
        let by = if dice.one_in(4) { member(dice) } else { creator };
        if dice.one_in(2) {
            let (reusable, valid_ms, lasts_ms) = (false, 24 * 3_600_000, lasts(&mut lasting));
            self.step(
                at,
                Act::Invite { replica: by, group: label, ticket, rights, reusable, valid_ms, lasts_ms },
            );
            let joins_at = at + dice.skewed(1, 5_000);
            let database = database(dice);
            self.step(joins_at, Act::JoinAs { replica: one, ticket, user, number: 0, database });
        } else {
            let lasts_ms = lasts(&mut lasting);
            self.step(at, Act::AdmitUser { replica: by, group: label, user, rights, lasts_ms });
            let enrols_at = at + dice.skewed(1, 5_000);
            let replica = if dice.one_in(2) { by } else { member(dice) };
            self.step(enrols_at, Act::Enrol { replica, group: label, peer: one, user, number: 0 });
        }
        // Another device of the same user, at whatever member.
        let at = at + dice.skewed(10, 20_000);
        let host = if dice.one_in(2) { one } else { member(dice) };
        self.second(dice, (host, label), at, (ticket + 1, user, 0), two);
        if dice.one_in(2) {
            let at = dice.between(at, self.safety_ms);
            let replica = if dice.one_in(2) { one } else { member(dice) };
            self.step(at, Act::StrikeOff { replica, group: label, peer: two, user });
            if dice.one_in(3) {
                // It turns up again, or was lost only for a while.
                let (host, again) = (member(dice), u8::from(!dice.one_in(3)));
                let then = at + dice.skewed(10, 20_000);
                self.second(dice, (host, label), then, (ticket + 2, user, again), two);
            }
        }
        let at = dice.between(at, self.safety_ms);
        match dice.below(6) {
            0 => self.step(at, Act::EjectUser { replica: by, group: label, user }),
            1 | 2 => {
                let rights = [Rights::Read, Rights::Write, Rights::Admin][dice.index(3)];
                let replica = if dice.one_in(2) { creator } else { one };
                let lasts_ms = lasts(&mut lasting);
                self.step(at, Act::AdmitUser { replica, group: label, user, rights, lasts_ms });
            }
            _ => {}
        }
    }

    /// A device of a user's asks a member to be let in, or is written down by it.
    fn second(
        &mut self,
        dice: &mut Dice,
        (host, group): (usize, u8),
        at: u64,
        (ticket, user, number): (u32, u8, u8),
        device: usize,
    ) {
        if dice.one_in(3) {
            self.step(at, Act::Enrol { replica: host, group, peer: device, user, number });
            return;
        }
        self.step(at, Act::InviteDevice { replica: host, group, ticket, user });
        let joins_at = at + dice.skewed(1, 5_000);
        let database = database(dice);
        self.step(joins_at, Act::JoinAs { replica: device, ticket, user, number, database });
    }
}
