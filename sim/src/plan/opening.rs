//! Syncgroups that are opened to everybody, whom members let in then, and what ends that.

use driftless::Rights;

use super::Act;
use super::draw::{Drawing, Group, database};
use super::removals::lasts;
use crate::dice::{Concern, Dice};

/// The first label of an invitation by a member.
const TICKETS: u32 = 800;
/// The first label of those by which a device comes in as a user's, and then by itself.
const RETURNS: u32 = 850;
/// Between something that a member and something that an admin does beside it, at most, in milliseconds: often not enough to
/// hear of it.
const BESIDE: u64 = 8_000;

/// What is granted to everybody, and for how long.
#[derive(Clone, Copy)]
struct Given {
    rights: Rights,
    lasts_ms: u64,
}

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
        let is_member = |replica: &usize| group.members.iter().any(|(member, _)| member == replica);
        let strangers: Vec<usize> = (0..self.replicas).filter(|it| !is_member(it)).collect();
        let anybody = self.replicas;
        let guest = |dice: &mut Dice| {
            let stranger = dice.pick(&strangers).copied().filter(|_| !dice.one_in(4));
            stranger.unwrap_or_else(|| dice.index(anybody))
        };
        let by = if dice.one_in(4) { member(dice) } else { creator };
        let made_at = group.made_at();
        let opened_at = dice.between(made_at, made_at + self.safety_ms * 2 / 3);
        let rights = [Rights::Read, Rights::Write, Rights::Write][dice.index(3)];
        let lasts_ms = if dice.one_in(2) { 0 } else { lasts(dice) };
        self.step(opened_at, Act::Open { replica: by, group: label, rights, lasts_ms });
        let first = u32::from(label) * 1_000 + TICKETS + 10 * number;
        let (mut host, mut at) = (member(dice), opened_at);
        let given = Given { rights, lasts_ms };
        for ticket in first..first + dice.between(1, 4) as u32 {
            at += dice.skewed(1_000, 20_000);
            let guest = guest(dice);
            self.invited(dice, (host, label), at, ticket, (guest, given));
            if dice.one_in(3) {
                // An admin removes it, and somebody lets it in again who has not heard of that, or has.
                let then = at + dice.skewed(5_000, 30_000);
                self.step(then, Act::Eject { replica: by, group: label, peer: guest });
                let host = member(dice);
                self.apart(dice, (by, host), then);
                let again = then.saturating_sub(BESIDE / 4) + dice.below(BESIDE);
                if dice.one_in(2) {
                    self.step(again.saturating_sub(500), Act::Leave { replica: guest, group: label });
                }
                self.invited(dice, (host, label), again, ticket + 5, (guest, given));
            }
            host = if dice.one_in(2) { guest } else { member(dice) };
        }
        if dice.one_in(3) {
            let (host, guest) = (member(dice), guest(dice));
            let ticket = u32::from(label) * 1_000 + RETURNS + 2 * number;
            self.returned(dice, (by, host, label), opened_at, ticket, (guest, given));
        }
        let then = opened_at + dice.skewed(1_000, 2 * (at - opened_at) + BESIDE);
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
                let (host, guest) = (member(dice), guest(dice));
                self.apart(dice, (replica, host), then);
                let beside = then.saturating_sub(BESIDE / 4) + dice.below(BESIDE);
                self.invited(dice, (host, label), beside, first + 9, (guest, given));
            }
        }
    }

    /// A device comes in as a user's, is removed with that user, and asks a member by itself, which has heard of that or not.
    fn returned(
        &mut self,
        dice: &mut Dice,
        (admin, host, group): (usize, usize, u8),
        at: u64,
        ticket: u32,
        (guest, given): (usize, Given),
    ) {
        let user = dice.below(2) as u8;
        let (rights, reusable, valid_ms, lasts_ms) = (Rights::Write, false, 24 * 3_600_000, 0);
        self.step(at, Act::Invite { replica: admin, group, ticket, rights, reusable, valid_ms, lasts_ms });
        let joins_at = at + dice.skewed(1, 5_000);
        let (replica, database) = (guest, database(dice));
        self.step(joins_at, Act::JoinAs { replica, ticket, user, number: 0, database });
        let then = joins_at + dice.skewed(3_000, 20_000);
        self.step(then, Act::EjectUser { replica: admin, group, user });
        self.apart(dice, (admin, host), then);
        let again = then.saturating_sub(BESIDE / 4) + dice.below(2 * BESIDE);
        if dice.one_in(3) {
            self.step(again.saturating_sub(500), Act::Leave { replica: guest, group });
        }
        self.invited(dice, (host, group), again, ticket + 1, (guest, given));
    }

    /// Where networks are cut at all, an admin may be cut off for a while from a member and all others, about a moment.
    fn apart(&mut self, dice: &mut Dice, (admin, member): (usize, usize), at: u64) {
        if self.profile.faults.partitions && admin != member && dice.one_in(2) {
            let others = (0..self.replicas).filter(|it| *it != admin).collect();
            let from = at.saturating_sub(BESIDE / 2);
            self.step(from, Act::Cut { from: vec![admin], to: others, both: true });
            self.step(at + 2 * BESIDE + dice.below(BESIDE), Act::Heal);
        }
    }

    /// A member invites, mostly with no more than is granted, and somebody takes it, as a device by itself or as one of a
    /// user's.
    fn invited(
        &mut self,
        dice: &mut Dice,
        (host, group): (usize, u8),
        at: u64,
        ticket: u32,
        (guest, given): (usize, Given),
    ) {
        let any = [Rights::Read, Rights::Write, Rights::Write, Rights::Admin][dice.index(4)];
        let (reusable, valid_ms) = (false, 24 * 3_600_000);
        let (rights, lasts_ms) = match dice.below(5) {
            0 => (any, lasts(dice)),
            1 => (Rights::Read, given.lasts_ms / 4),
            _ => (given.rights, given.lasts_ms / 4),
        };
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
