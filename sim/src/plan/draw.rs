//! From a seed to a plan.

use driftless::Rights;

use super::policies::Schemas;
use super::{
    Act, DiskSetup, Edit, Faults, LowLimits, NetworkSetup, Plan, Profile, Require, RowLabel, Setup,
    Signatures, Step, Waits, What,
};
use crate::dice::{Concern, Dice};

/// How many databases a device has, at most.
const DATABASES: u8 = 2;

pub(super) fn plan(seed: u64, profile: &Profile) -> Plan {
    with(seed, profile, |drawing, faults, setup| {
        let groups = drawing.people();
        let schemas = drawing.policies(&groups, faults, setup);
        drawing.writes(&groups, &schemas);
        groups
    })
}

/// Draws a plan in which people do this, and faults come between.
pub(super) fn with(
    seed: u64,
    profile: &Profile,
    work: impl FnOnce(&mut Drawing<'_>, Faults, &mut Setup) -> Vec<Group>,
) -> Plan {
    let swarm = |number| Dice::new(seed, Concern::Swarm, &[number]);
    let faults = profile.faults.choose(&mut swarm(0));
    let mut size = swarm(1);
    let replicas = size.between(profile.replicas.0 as u64, profile.replicas.1 as u64) as usize;
    let safety_ms = size.between(profile.safety_ms.0, profile.safety_ms.1);
    let mut setup = setup(&mut swarm(2), faults, replicas, safety_ms);
    patience_for_parts(&mut swarm(3), &mut setup);
    if faults.limits {
        low_limits(&mut swarm(4), &mut setup);
    }
    let mut drawing = Drawing { seed, profile, safety_ms: setup.safety_ms, replicas, steps: Vec::new() };
    let groups = work(&mut drawing, faults, &mut setup);
    if faults.crashes || faults.shutdowns {
        drawing.processes(faults);
    }
    if faults.partitions {
        drawing.partitions();
    }
    if faults.broken_links {
        drawing.broken_links();
    }
    if !setup.network.neighbourhood {
        drawing.discovery();
    }
    drawing.faults(faults, &groups, &mut setup);
    let mut steps = drawing.steps;
    steps.sort_by_key(|step| step.at);
    Plan { seed, app: None, setup, steps }
}

fn setup(dice: &mut Dice, faults: Faults, replicas: usize, safety_ms: u64) -> Setup {
    let slow = faults.slowness;
    let signatures = if dice.one_in(16) { Signatures::Ed25519 } else { Signatures::Keyed };
    let latency = dice.skewed(0, if slow { 400 } else { 40 });
    let timing = if dice.one_in(2) { driftless::Timing::default().into() } else { quick_waits(dice) };
    let rate = |dice: &mut Dice, most: u64| {
        let rate = dice.skewed(500, most) as u32;
        if faults.frames && !dice.one_in(4) { rate } else { 0 }
    };
    let bytes_per_ms = dice.skewed(8, 2_000);
    let credit = dice.skewed(2_000, 1 << 20);
    let link_life = dice.skewed(2_000, 60_000);
    let narrow = dice.one_in(2);
    let flapping = dice.one_in(2);
    let chunk_bytes = dice.skewed(300, 256 << 10) as usize;
    let skews: Vec<i64> = (0..replicas).map(|_| dice.between(0, 120_000) as i64 - 60_000).collect();
    Setup {
        replicas,
        safety_ms,
        liveness_ms: 30 * 60 * 1_000,
        signatures,
        timing,
        chunk_bytes,
        network: NetworkSetup {
            latency_ms: (latency / 4, latency),
            jitter_ms: dice.skewed(0, latency.max(2)),
            loss_ppm: rate(dice, 200_000),
            duplicate_ppm: rate(dice, 200_000),
            reorder_ppm: rate(dice, 300_000),
            corrupt_ppm: 0,
            bytes_per_ms: (slow && narrow).then_some(bytes_per_ms),
            credit: if slow { credit } else { 1 << 20 },
            link_life_ms: (faults.broken_links && flapping).then_some(link_life),
            callback: dice.one_in(2),
            neighbourhood: !(faults.discovery && dice.one_in(2)),
            call_only: Vec::new(),
        },
        disk: DiskSetup { sync_ms: (dice.between(0, 5), dice.skewed(5, if slow { 3_000 } else { 50 })) },
        skew_ms: if faults.clocks { skews } else { vec![0; replicas] },
        drift_ppm: Vec::new(),
        hostile: Vec::new(),
        readers_ms: dice.between(1_000, 10_000),
        waiting: driftless::Limits::default().waiting,
        watch_log: None,
        limits: LowLimits::default(),
    }
}

/// How long, and how many of them, parts of batches wait for the others: sometimes for so little that batches are
/// seen in part.
fn patience_for_parts(dice: &mut Dice, setup: &mut Setup) {
    let (short, few) = (dice.skewed(10, 20_000), dice.skewed(0, 20) as usize);
    if dice.one_in(2) {
        setup.timing.parts = short;
    }
    if dice.one_in(8) {
        setup.waiting = few;
    }
}

/// Limits that are reached by so few replicas; each of them in some runs.
fn low_limits(dice: &mut Dice, setup: &mut Setup) {
    // As many as it takes for everybody to have a link to everybody, whoever calls.
    let links = 2 * (setup.replicas - 1);
    let (syncgroups, drift_ms) = (dice.between(1, 2), dice.skewed(2_000, 300_000));
    setup.limits = LowLimits {
        syncgroups: dice.one_in(3).then_some(syncgroups as usize),
        links: dice.one_in(2).then_some(links),
        drift_ms: dice.one_in(2).then_some(drift_ms),
    };
}

/// Short waits: more happens in a run.
pub(super) fn quick_waits(dice: &mut Dice) -> Waits {
    Waits {
        relay: dice.skewed(0, 200),
        confirm: dice.between(20, 1_000),
        patience: dice.between(200, 3_000),
        patience_max: dice.between(3_000, 30_000),
        redial: dice.between(50, 1_000),
        redial_max: dice.between(1_000, 20_000),
        ..Waits::default()
    }
}

/// A syncgroup of the plan.
pub(super) struct Group {
    pub(super) label: u8,
    pub(super) collections: u8,
    /// Who is meant to be in it from when on, the creator first; what becomes of that the run will show.
    pub(super) members: Vec<(usize, u64)>,
}

impl Group {
    pub(super) fn made_at(&self) -> u64 {
        self.members.first().map_or(0, |(_, from)| *from)
    }

    /// Somebody to write at a moment: mostly one who should be in by then.
    pub(super) fn writer(&self, dice: &mut Dice, at: u64) -> usize {
        let (anybody, creator) = (dice.one_in(6), dice.one_in(4));
        let ready = self.members.iter().filter(|(_, from)| anybody || *from <= at);
        let ready: Vec<usize> = ready.map(|(replica, _)| *replica).collect();
        let first = self.members.first().map_or(0, |(replica, _)| *replica);
        dice.pick(&ready).copied().filter(|_| !creator).unwrap_or(first)
    }
}

pub(super) struct Drawing<'p> {
    pub(super) seed: u64,
    pub(super) profile: &'p Profile,
    pub(super) safety_ms: u64,
    pub(super) replicas: usize,
    pub(super) steps: Vec<Step>,
}

impl Drawing<'_> {
    pub(super) fn dice(&self, concern: Concern) -> Dice {
        Dice::new(self.seed, concern, &[u64::MAX])
    }

    pub(super) fn step(&mut self, at: u64, act: Act) {
        self.steps.push(Step { at: at.min(self.safety_ms.saturating_sub(1)), act });
    }

    /// Who makes, joins and leaves which syncgroup.
    fn people(&mut self) -> Vec<Group> {
        let mut dice = self.dice(Concern::People);
        let mut groups = Vec::new();
        let count = dice.skewed(1, u64::from(self.profile.workload.groups.max(1))).max(1) as u8;
        for label in 0..count {
            groups.push(self.group(&mut dice, label));
        }
        if self.profile.workload.leaves && dice.one_in(2) {
            for _ in 0..dice.between(1, 2) {
                let label = dice.index(groups.len()) as u8;
                let members = &groups[usize::from(label)].members;
                let (replica, _) = members[dice.index(members.len())];
                let at = dice.between(self.safety_ms / 3, self.safety_ms);
                self.step(at, Act::Leave { replica, group: label });
            }
        }
        let drawn = Dice::new(self.seed, Concern::People, &[1]).below(100);
        if drawn < u64::from(self.profile.workload.removals) {
            self.removals(&groups);
        }
        let drawn = Dice::new(self.seed, Concern::People, &[4]).below(100);
        if drawn < u64::from(self.profile.workload.users) {
            self.users(&groups);
        }
        let drawn = Dice::new(self.seed, Concern::People, &[8, 1]).below(100);
        if drawn < u64::from(self.profile.workload.removals) {
            self.opening(&groups);
        }
        if Dice::new(self.seed, Concern::People, &[6]).one_in(4) {
            self.describing(&groups);
        }
        if Dice::new(self.seed, Concern::People, &[8]).one_in(3) {
            self.publishing(&groups);
        }
        let drawn = Dice::new(self.seed, Concern::People, &[3]).below(100);
        if drawn < u64::from(self.profile.workload.paused) {
            self.paused_databases();
        }
        groups
    }

    fn group(&mut self, dice: &mut Dice, label: u8) -> Group {
        let creator = dice.index(self.replicas);
        let made_at = dice.between(0, self.safety_ms / 20);
        let mut collections = dice.between(1, 3) as u8;
        let act = Act::Create { replica: creator, group: label, database: database(dice), collections };
        self.step(made_at, act);
        let mut members = vec![(creator, made_at + 100)];
        let mut others: Vec<usize> = (0..self.replicas).filter(|replica| *replica != creator).collect();
        dice.shuffle(&mut others);
        for (index, joiner) in others.into_iter().enumerate() {
            // The first other one always joins: a syncgroup of one tests nothing.
            if index > 0 && dice.one_in(7) {
                continue;
            }
            let inviter = if dice.one_in(4) { members[dice.index(members.len())].0 } else { creator };
            let joins_at = self.invitation(dice, made_at, label, inviter, joiner);
            members.push((joiner, joins_at + 1_000));
        }
        if dice.one_in(2) {
            let replica = if dice.one_in(3) { members[dice.index(members.len())].0 } else { creator };
            let at = dice.between(made_at, self.safety_ms);
            self.step(at, Act::AddCollection { replica, group: label, collection: collections });
            collections += 1;
        }
        Group { label, collections, members }
    }

    /// Says when the invitation is taken.
    fn invitation(&mut self, dice: &mut Dice, from: u64, group: u8, inviter: usize, joiner: usize) -> u64 {
        let ticket = u32::from(group) * 1_000 + joiner as u32;
        let late = if dice.one_in(4) { self.safety_ms } else { self.safety_ms / 4 };
        let at = dice.between(from, from + late);
        let rights = match dice.below(10) {
            0 => Rights::Read,
            1..=3 => Rights::Admin,
            _ => Rights::Write,
        };
        let valid_ms = if dice.one_in(20) { dice.between(1, 5_000) } else { 24 * 3_600_000 };
        let reusable = dice.one_in(3);
        self.step(
            at,
            Act::Invite { replica: inviter, group, ticket, rights, reusable, valid_ms, lasts_ms: 0 },
        );
        let joins_at = at + dice.skewed(1, 10_000);
        self.step(joins_at, Act::Join { replica: joiner, ticket, database: database(dice) });
        if dice.one_in(8) {
            // Somebody else gets hold of it too.
            let replica = dice.index(self.replicas);
            let then = at + dice.skewed(1, 10_000);
            self.step(then, Act::Join { replica, ticket, database: database(dice) });
        }
        joins_at
    }

    fn writes(&mut self, groups: &[Group], schemas: &Schemas) {
        let workload = &self.profile.workload;
        let keys = u64::from(workload.keys.max(1));
        let mut all = self.dice(Concern::Writes);
        let count = all.skewed(workload.writes.0, workload.writes.1);
        let keys = all.between(1, keys);
        let largest = u64::from(workload.value_bytes);
        // In some runs many batches are about several syncgroups.
        let wide = all.one_in(2);
        // Bursts: several devices write at about the same moment, so that conflicts come about.
        let mut burst = 0;
        let mut last: Option<(u64, Vec<Edit>)> = None;
        for number in 0..count {
            let mut dice = Dice::new(self.seed, Concern::Writes, &[number]);
            let at = if burst > 0 && dice.one_in(2) {
                burst + dice.below(50)
            } else {
                dice.between(0, self.safety_ms)
            };
            burst = at;
            let Some(first) = dice.pick(groups) else { return };
            let at = at.max(first.made_at());
            let stranger = dice.one_in(20);
            let replica = if stranger { dice.index(self.replicas) } else { first.writer(&mut dice, at) };
            let mut changes = Vec::new();
            for _ in 0..dice.skewed(1, 6) {
                let group = if dice.one_in(5) { dice.pick(groups).unwrap_or(first) } else { first };
                let row = row(&mut dice, group, keys);
                let what =
                    if dice.one_in(5) { What::Delete } else { What::Text(dice.skewed(0, largest) as u32) };
                changes.push(Edit { row, what });
            }
            let mut more = Dice::new(self.seed, Concern::Writes, &[number, 1]);
            if wide && more.one_in(3) {
                let others =
                    groups.iter().filter(|group| group.label != first.label && group.made_at() <= at);
                let what = What::Text(9);
                changes.extend(
                    others.map(|group| Edit { row: row(&mut more, group, keys), what: what.clone() }),
                );
            }
            schemas.suit(&mut Dice::new(self.seed, Concern::Policies, &[number]), at, &mut changes);
            let mut require = Vec::new();
            if dice.one_in(5) {
                let row = row(&mut dice, first, keys);
                let to = dice.one_in(3).then(|| row.key.saturating_add(dice.between(0, 3) as u8));
                require.push(Require { row, to, fresh: dice.one_in(2) });
            }
            let (at, text, changes) = match last.take() {
                // Somebody else writes just the same at about the same time, which is no conflict.
                Some((before, same)) if dice.one_in(12) => (before + dice.below(50), number - 1, same),
                _ => (at, number, changes),
            };
            if text == number {
                last = Some((at, changes.clone()));
            }
            self.step(at, Act::Write { replica, text, changes, require });
        }
    }

    fn processes(&mut self, faults: Faults) {
        let mut dice = self.dice(Concern::Process);
        for _ in 0..dice.skewed(1, 12) {
            let replica = dice.index(self.replicas);
            let at = dice.between(0, self.safety_ms);
            let clean = faults.shutdowns && (!faults.crashes || dice.one_in(3));
            let keep = match dice.below(4) {
                0 => Some(0),
                1 => Some(usize::MAX),
                _ => None,
            };
            let after = dice.skewed(0, 20) as u32;
            let at_commit = dice.one_in(2);
            let act = match (clean, at_commit) {
                (true, _) => Act::Shutdown { replica },
                (false, true) => Act::CrashAtCommit { replica, after, keep },
                (false, false) => Act::Crash { replica, keep },
            };
            self.step(at, act);
            let back = at + dice.skewed(10, 20_000);
            let shown = !dice.one_in(5);
            self.step(back, Act::Restart { replica, shown, settings: None });
        }
    }

    fn partitions(&mut self) {
        let mut dice = self.dice(Concern::Partitions);
        for _ in 0..dice.skewed(1, 6) {
            let at = dice.between(0, self.safety_ms);
            let mut all: Vec<usize> = (0..self.replicas).collect();
            dice.shuffle(&mut all);
            let cut = dice.between(1, self.replicas.saturating_sub(1).max(1) as u64) as usize;
            let to = all.split_off(cut.min(all.len()));
            let both = !dice.one_in(3);
            self.step(at, Act::Cut { from: all, to, both });
            let until = at + dice.skewed(500, 40_000);
            self.step(until, Act::Heal);
        }
    }

    fn broken_links(&mut self) {
        let mut dice = Dice::new(self.seed, Concern::LinkEnd, &[u64::MAX]);
        for _ in 0..dice.skewed(1, 20) {
            let (a, b) = (dice.index(self.replicas), dice.index(self.replicas));
            let at = dice.between(0, self.safety_ms);
            if a != b {
                self.step(at, Act::Break { a, b });
            }
        }
    }

    /// Without a neighbourhood, some find some others at some time.
    fn discovery(&mut self) {
        let mut dice = self.dice(Concern::Discovery);
        for replica in 0..self.replicas {
            for peer in 0..self.replicas {
                let at = dice.skewed(0, self.safety_ms);
                if replica == peer || dice.one_in(2) {
                    continue;
                }
                self.step(at, Act::Find { replica, peer });
                if dice.one_in(4) {
                    let then = dice.between(at, self.safety_ms);
                    self.step(then, Act::LoseSight { replica, peer });
                }
            }
        }
    }
}

pub(super) fn database(dice: &mut Dice) -> u8 {
    dice.below(u64::from(DATABASES)) as u8
}

fn row(dice: &mut Dice, group: &Group, keys: u64) -> RowLabel {
    let collection = dice.below(u64::from(group.collections)) as u8;
    // Low keys are hot.
    let key = dice.skewed(0, keys.saturating_sub(1)) as u8;
    RowLabel { group: group.label, collection, key }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_plan_and_another_seed_another() {
        let profile = Profile::default();
        assert_eq!(plan(9, &profile), plan(9, &profile));
        assert_ne!(plan(9, &profile), plan(10, &profile));
    }

    #[test]
    fn steps_come_in_order_of_time_and_within_the_safety_phase() {
        for seed in 0..200 {
            let plan = plan(seed, &Profile::default());
            assert!(plan.steps.is_sorted_by_key(|step| step.at), "seed {seed}");
            assert!(plan.steps.iter().all(|step| step.at < plan.setup.safety_ms), "seed {seed}");
            let named = plan.steps.iter().flat_map(|step| step.act.replicas()).max();
            assert!(named < Some(plan.setup.replicas), "seed {seed}");
        }
    }

    #[test]
    fn a_kind_of_fault_that_is_off_leaves_the_work_as_it_was() {
        let work = |profile: &Profile| {
            let works = |act: &Act| matches!(act, Act::Write { .. } | Act::Join { .. } | Act::Create { .. });
            plan(3, profile).steps.into_iter().filter(|step| works(&step.act)).collect::<Vec<_>>()
        };
        let harsh = Profile { faults: Faults::all(), ..Profile::default() };
        let milder = Profile { faults: Faults { crashes: false, ..Faults::all() }, ..Profile::default() };
        assert_eq!(work(&harsh), work(&milder));
    }

    #[test]
    fn a_calm_plan_has_no_faults() {
        let plan = plan(3, &"calm".parse().unwrap());
        assert_eq!(plan.setup.network.loss_ppm, 0);
        assert!(plan.setup.skew_ms.iter().all(|skew| *skew == 0));
        assert!(!plan.steps.iter().any(|step| matches!(step.act, Act::Crash { .. } | Act::Cut { .. })));
    }
}
