//! Syncgroups that are opened to everybody, whom members let in then, and what ends that.

use driftless::Rights;

use super::Act;
use super::draw::{Drawing, Group, database};
use super::removals::lasts;
use crate::dice::{Concern, Dice};

/// The first label of an invitation by a member.
const TICKETS: u32 = 800;
/// Between something that a member and something that an admin does beside it, at most, in milliseconds: often not enough to
/// hear of it.
const BESIDE: u64 = 8_000;

impl Drawing<'_> {
    /// Somebody opens a syncgroup, members invite, and whom they let in invites the next; some of it is closed meanwhile, and
    /// some who were let in are removed, and asked again.
    pub(super) fn opening(&mut self, groups: &[Group]) {
        let mut dice = Dice::new(self.seed, Concern::People, &[9]);
        for number in 0..dice.skewed(1, 3) as u32 {
            let Some(group) = dice.pick(groups) else { return };
            self.opened(&mut dice, group, number);
        }
    }

    fn opened(&mut self, dice: &mut Dice, group: &Group, number: u32) {
        let (creator, label) = (group.members.first().map_or(0, |(replica, _)| *replica), group.label);
        let member = |dice: &mut Dice| dice.pick(&group.members).map_or(creator, |(replica, _)| *replica);
        let by = if dice.one_in(4) { member(dice) } else { creator };
        let made_at = group.made_at();
        let opened_at = dice.between(made_at, made_at + self.safety_ms * 2 / 3);
        let rights = [Rights::Read, Rights::Write, Rights::Write][dice.index(3)];
        self.step(opened_at, Act::Open { replica: by, group: label, rights, lasts_ms: lasts(dice) });
        let first = u32::from(label) * 1_000 + TICKETS + 10 * number;
        let (mut host, mut at) = (member(dice), opened_at);
        for ticket in first..first + dice.between(1, 4) as u32 {
            at += dice.skewed(10, 20_000);
            let guest = dice.index(self.replicas);
            self.invited(dice, (host, label), at, ticket, guest);
            if dice.one_in(3) {
                // An admin removes it, about when it is invited again.
                let then = at + dice.skewed(10, 20_000);
                self.step(then, Act::Eject { replica: by, group: label, peer: guest });
                let again = then.saturating_sub(BESIDE / 2) + dice.below(BESIDE);
                let host = member(dice);
                self.invited(dice, (host, label), again, ticket + 5, guest);
            }
            host = if dice.one_in(2) { guest } else { member(dice) };
        }
        let then = opened_at + dice.skewed(100, 2 * (at - opened_at) + BESIDE);
        match dice.below(4) {
            0 => {}
            1 => {
                let (rights, lasts_ms) = (Rights::Read, lasts(dice));
                self.step(then, Act::Open { replica: by, group: label, rights, lasts_ms });
            }
            _ => {
                let replica = if dice.one_in(3) { member(dice) } else { by };
                self.step(then, Act::Close { replica, group: label });
                // Somebody asks about then.
                let beside = then.saturating_sub(BESIDE / 2) + dice.below(BESIDE);
                let (host, guest) = (member(dice), dice.index(self.replicas));
                self.invited(dice, (host, label), beside, first + 9, guest);
            }
        }
    }

    /// A member invites, and somebody takes it, as a device by itself or as one of a user's.
    fn invited(&mut self, dice: &mut Dice, (host, group): (usize, u8), at: u64, ticket: u32, guest: usize) {
        let rights = [Rights::Read, Rights::Write, Rights::Write, Rights::Admin][dice.index(4)];
        let (reusable, valid_ms, lasts_ms) = (false, 24 * 3_600_000, lasts(dice));
        self.step(at, Act::Invite { replica: host, group, ticket, rights, reusable, valid_ms, lasts_ms });
        let joins_at = at + dice.skewed(1, 5_000);
        let (replica, database) = (guest, database(dice));
        let act = match dice.one_in(5) {
            true => Act::JoinAs { replica, ticket, user: dice.below(2) as u8, number: 0, database },
            false => Act::Join { replica, ticket, database },
        };
        self.step(joins_at, act);
    }
}
