//! Faults that need more than a rate: when, to whom, how badly. Each kind has a stream of choices of its own,
//! so that switching one off leaves the others as they were.

use driftless::hostile::{Flood, Forgery, Lie};
use driftless::{Policy, Rights};

use super::draw::{Drawing, Group, database, quick_waits};
use super::{Act, Attack, Faults, Settings, Setup, Waits};
use crate::dice::{Concern, Dice};

/// How far ahead a clock may be set: what was stamped by it is held back by others for so long.
const FARTHEST: u64 = 15 * 60 * 1_000;
/// Further back than 1970.
const BEFORE_1970: i64 = -2_000_000_000_000;
/// The first label of invitations for those who lost everything.
const SECOND_TICKETS: u32 = 500_000;

impl Drawing<'_> {
    pub(super) fn faults(&mut self, faults: Faults, groups: &[Group], setup: &mut Setup) {
        let mut links = self.dice(Concern::Links);
        if faults.corruption {
            setup.network.corrupt_ppm = links.skewed(200, 20_000) as u32;
        }
        if faults.call_only {
            setup.network.call_only = self.some_of(&mut links, self.replicas / 2);
        }
        if faults.clogs {
            self.clogs(&mut links);
        }
        if faults.neighbourhoods {
            self.neighbourhoods();
        }
        if faults.disks {
            self.disks();
        }
        if faults.pauses {
            self.pauses();
        }
        if faults.settings {
            self.settings();
        }
        if faults.jumps {
            self.jumps(setup);
        }
        if faults.rotations {
            self.rotations();
        }
        // Who is hostile is nobody on whom others depend: what they could get from it alone they cannot expect.
        let outsider = faults.hostile.then(|| self.outsider(groups)).flatten();
        if let Some(hostile) = outsider {
            setup.hostile = vec![hostile];
            self.attacks(hostile, groups);
            if faults.rotations {
                // By clocks that are wrong a rival may be the first, and its owner has to be let in anew.
                self.thefts(hostile, groups, !faults.clocks && !faults.jumps);
            }
        }
        if faults.losses {
            self.losses(groups, outsider);
        }
        if faults.vanishing {
            self.vanishing(outsider);
        }
    }

    /// Up to so many replicas, at least one.
    fn some_of(&self, dice: &mut Dice, most: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.replicas).collect();
        dice.shuffle(&mut all);
        all.truncate(dice.between(1, most.max(1) as u64) as usize);
        all.sort_unstable();
        all
    }

    fn clogs(&mut self, dice: &mut Dice) {
        for _ in 0..dice.skewed(1, 12) {
            let (a, b) = (dice.index(self.replicas), dice.index(self.replicas));
            let (at, ms) = (dice.between(0, self.safety_ms), dice.skewed(100, 30_000));
            if a != b {
                self.step(at, Act::Clog { a, b, ms });
            }
        }
    }

    fn neighbourhoods(&mut self) {
        let mut dice = self.dice(Concern::Neighbourhoods);
        for _ in 0..dice.between(1, 4) {
            let members = self.some_of(&mut dice, self.replicas);
            let at = dice.between(0, self.safety_ms);
            let until = at + dice.skewed(1_000, 40_000);
            if members.len() > 1 {
                self.step(at, Act::Gather { members: members.clone() });
                self.step(until, Act::Part { members });
            }
        }
    }

    fn disks(&mut self) {
        let mut dice = self.dice(Concern::Disks);
        for _ in 0..dice.skewed(2, 10) {
            let (replica, at) = (dice.index(self.replicas), dice.between(0, self.safety_ms));
            let after = dice.skewed(0, 200) as u32;
            let (again, ms) = (dice.one_in(2), dice.skewed(500, 20_000));
            let act = match dice.below(5) {
                0 | 1 => Act::FailReads { replica, after, again },
                2 => Act::FillDisk { replica, after: after / 10 },
                3 => Act::SlowSync { replica, ms },
                _ => Act::Crash { replica, keep: None },
            };
            let back = at + dice.skewed(10, 10_000);
            if matches!(act, Act::Crash { .. }) {
                self.step(back, Act::Restart { replica, shown: true, settings: None });
            }
            self.step(at, act);
        }
    }

    fn pauses(&mut self) {
        let mut dice = self.dice(Concern::Pauses);
        for _ in 0..dice.between(1, 4) {
            let (replica, at) = (dice.index(self.replicas), dice.between(0, self.safety_ms));
            let ms = dice.skewed(200, 60_000).min(self.safety_ms.saturating_sub(at));
            self.step(at, Act::Pause { replica, ms, links_break: dice.one_in(2) });
        }
    }

    fn settings(&mut self) {
        let mut dice = self.dice(Concern::Settings);
        for _ in 0..dice.between(1, 3) {
            let (replica, at) = (dice.index(self.replicas), dice.between(0, self.safety_ms));
            let timing = if dice.one_in(3) { Waits::default() } else { quick_waits(&mut dice) };
            let settings = Settings { timing, chunk_bytes: dice.skewed(300, 256 << 10) as usize };
            let back = at + dice.skewed(10, 5_000);
            self.step(at, Act::Shutdown { replica });
            self.step(back, Act::Restart { replica, shown: true, settings: Some(settings) });
        }
    }

    fn jumps(&mut self, setup: &mut Setup) {
        let mut dice = self.dice(Concern::Jumps);
        setup.drift_ppm = (0..self.replicas).map(|_| dice.between(0, 20_000) as i64 - 10_000).collect();
        let mut farthest = 0;
        for _ in 0..dice.between(1, 4) {
            let (replica, at) = (dice.index(self.replicas), dice.between(0, self.safety_ms));
            let by = dice.skewed(1_000, FARTHEST);
            let ms = match dice.below(6) {
                0..=2 => by as i64,
                3 | 4 => -(by as i64 * 100),
                _ => BEFORE_1970,
            };
            let back = dice.one_in(2).then(|| at + dice.skewed(100, 20_000));
            let again = back.filter(|_| ms > 0 && dice.one_in(2)).map(|back| back + dice.skewed(1, 20_000));
            // Only what others do not take need be written again.
            let ms = if again.is_some() { dice.between(FARTHEST / 2, FARTHEST) as i64 } else { ms };
            farthest = farthest.max(ms.max(0) as u64);
            self.step(at, Act::SetClock { replica, ms });
            if let Some(back) = back {
                self.step(back, Act::SetClock { replica, ms: 0 });
            }
            if let Some(again) = again {
                self.step(again, Act::Reissue { replica });
            }
        }
        // What is stamped too far ahead is taken only when its time has come.
        setup.liveness_ms += 2 * farthest;
    }

    /// Devices take other keys, some of them shortly before their process dies, so that only their driver knows of it.
    fn rotations(&mut self) {
        let mut dice = self.dice(Concern::Rotations);
        for _ in 0..dice.between(1, 4) {
            let (replica, at) = (dice.index(self.replicas), dice.between(0, self.safety_ms));
            self.step(at, Act::Rotate { replica });
            if dice.one_in(4) {
                self.step(at, Act::Crash { replica, keep: Some(0) });
                self.step(
                    at + dice.skewed(10, 5_000),
                    Act::Restart { replica, shown: dice.one_in(2), settings: None },
                );
            }
        }
    }

    /// A device that has made no syncgroup, and invites nobody.
    fn outsider(&self, groups: &[Group]) -> Option<usize> {
        let needed = |replica: usize| {
            let creates =
                groups.iter().any(|group| group.members.first().is_some_and(|(it, _)| *it == replica));
            let invites = |act: &Act| matches!(act, Act::Invite { replica: it, .. } | Act::InviteDevice { replica: it, .. } if *it == replica);
            creates || self.steps.iter().any(|step| invites(&step.act))
        };
        (0..self.replicas).rev().find(|replica| !needed(*replica))
    }

    fn attacks(&mut self, hostile: usize, groups: &[Group]) {
        let mut dice = self.dice(Concern::Hostile);
        let removes = self.profile.workload.removals > 0;
        // What thieves of keys do is drawn beside: see `thefts`.
        let forgeries = Forgery::ALL.iter().copied().filter(|it| *it != Forgery::RivalKey);
        let forgeries = forgeries.filter(|it| removes || !it.is_revocation());
        let forgeries: Vec<Forgery> = forgeries.collect();
        if dice.one_in(3) {
            // A stranger: it is invited nowhere, but may have heard of what there is.
            let joins = |act: &Act| matches!(act, Act::Join { replica, .. } | Act::JoinAs { replica, .. } if *replica == hostile);
            self.steps.retain(|step| !joins(&step.act));
        }
        for _ in 0..dice.skewed(4, 40) {
            let (peer, at) = (dice.index(self.replicas), dice.between(self.safety_ms / 8, self.safety_ms));
            let Some(group) = dice.pick(groups).map(|group| group.label) else { return };
            let attack = match dice.below(10) {
                0 => Attack::Replay,
                1 => Attack::Reflect,
                2 => Attack::Garbage,
                3 => Attack::Mangle,
                4..=6 => Attack::Forge(*dice.pick(&forgeries).unwrap_or(&Forgery::BadSignature)),
                7 | 8 => Attack::Lie(*dice.pick(Lie::ALL).unwrap_or(&Lie::Summary)),
                _ => Attack::Flood(*dice.pick(Flood::ALL).unwrap_or(&Flood::Hellos)),
            };
            if peer != hostile {
                self.step(at, Act::Attack { replica: hostile, peer, group, attack });
            }
        }
        if dice.one_in(3) {
            self.forks(hostile, groups, &mut dice);
        }
    }

    /// Somebody gets hold of keys that devices had before, and is heard of by some while they do not know better yet.
    fn thefts(&mut self, hostile: usize, groups: &[Group], rivals: bool) {
        let mut dice = self.dice(Concern::Thefts);
        let rotations = self.steps.iter().filter(|step| matches!(step.act, Act::Rotate { .. }));
        let rotations: Vec<u64> = rotations.map(|step| step.at).collect();
        for at in rotations {
            let Some(group) = dice.pick(groups).map(|group| group.label) else { return };
            for _ in 0..dice.between(1, 4) {
                let (peer, at) = (dice.index(self.replicas), at + dice.skewed(10, 20_000));
                let attack = match dice.below(6) {
                    0 | 1 => Attack::CallAsAnother,
                    2 if rivals => Attack::Forge(Forgery::RivalKey),
                    _ => Attack::Forge(Forgery::FormerKey),
                };
                if peer != hostile {
                    self.step(at, Act::Attack { replica: hostile, peer, group, attack });
                }
            }
        }
    }

    /// Different branches of one log, to different replicas.
    fn forks(&mut self, hostile: usize, groups: &[Group], dice: &mut Dice) {
        let Some(group) = dice.pick(groups).map(|group| group.label) else { return };
        for _ in 0..dice.between(2, 4) {
            let (peer, at) = (dice.index(self.replicas), dice.between(self.safety_ms / 4, self.safety_ms));
            let attack = Attack::Forge(Forgery::Forks);
            if peer != hostile {
                self.step(at, Act::Attack { replica: hostile, peer, group, attack });
            }
        }
    }

    fn losses(&mut self, groups: &[Group], except: Option<usize>) {
        let mut dice = self.dice(Concern::Losses);
        // Devices decide such conflicts on their own, also before they have heard that they were set back.
        let whole_batches = self.steps.iter().any(|step| lets_batches_win(&step.act));
        for nth in 0..dice.between(1, 2) as u32 {
            let replica = dice.index(self.replicas);
            let at = dice.between(self.safety_ms / 4, self.safety_ms);
            let copied = dice.between(0, at);
            let back = at + dice.skewed(100, 10_000);
            let how = dice.below(4);
            let unnoticed = !dice.one_in(3) && !whole_batches;
            if Some(replica) == except {
                continue;
            }
            match how {
                0 | 1 => {
                    self.step(copied, Act::Copy { replica });
                    self.step(at, Act::Restore { replica, unnoticed });
                    continue;
                }
                2 => self.step(at, Act::Damage { replica }),
                _ => self.step(at, Act::LoseDisk { replica }),
            }
            self.step(back, Act::Restart { replica, shown: false, settings: None });
            self.invite_again(&mut dice, nth, (replica, back), groups);
        }
    }

    /// Whoever lost everything is invited again, by the creators of the syncgroups that it was in.
    fn invite_again(&mut self, dice: &mut Dice, nth: u32, (replica, from): (usize, u64), groups: &[Group]) {
        for group in groups {
            let creator = group.members.first().map_or(replica, |(creator, _)| *creator);
            if creator == replica || !group.members.iter().any(|(member, _)| *member == replica) {
                continue;
            }
            let ticket = SECOND_TICKETS + nth * 1_000 + u32::from(group.label);
            let (label, at) = (group.label, from + dice.skewed(10, 5_000));
            let rights = if dice.one_in(3) { Rights::Admin } else { Rights::Write };
            let valid_ms = 24 * 3_600_000;
            let act = Act::Invite {
                replica: creator,
                group: label,
                ticket,
                rights,
                reusable: false,
                valid_ms,
                lasts_ms: 0,
            };
            self.step(at, act);
            let joins = at + dice.skewed(1, 5_000);
            self.step(joins, Act::Join { replica, ticket, database: database(dice) });
        }
    }

    fn vanishing(&mut self, except: Option<usize>) {
        let mut dice = self.dice(Concern::Vanishing);
        for _ in 0..dice.between(1, (self.replicas as u64 / 4).max(1)) {
            let replica = dice.index(self.replicas);
            let at = dice.between(self.safety_ms / 4, self.safety_ms);
            if Some(replica) != except {
                self.step(at, Act::Vanish { replica });
            }
        }
    }
}

/// Whether somebody says that whole batches win.
fn lets_batches_win(act: &Act) -> bool {
    match act {
        Act::Schema { rules, .. } => rules.iter().any(|rule| rule.policy == Policy::BatchWins),
        Act::ChangeSchema { changes, .. } => {
            changes.iter().any(|change| change.policy == Some(Policy::BatchWins))
        }
        _ => false,
    }
}
