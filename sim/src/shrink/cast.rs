//! A smaller cast: two replicas, syncgroups, invitations, collections or keys become one, and the rest gets low
//! numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::Shrinker;
use super::steps::groups;
use crate::plan::{Act, Plan};

impl Shrinker<'_> {
    pub(super) fn smaller_cast(&mut self) {
        self.leave_out_replicas();
        self.merge_replicas();
        self.merge_groups();
        self.merge_invitations();
        self.merge_rows();
        self.low_numbers();
    }

    /// Replicas that do nothing, all at once or one by one; then those that do something.
    fn leave_out_replicas(&mut self) {
        let used: BTreeSet<usize> = self.plan.steps.iter().flat_map(|step| step.act.replicas()).collect();
        let idle: Vec<usize> = (0..self.plan.setup.replicas).filter(|it| !used.contains(it)).collect();
        let mut plan = self.plan.clone();
        idle.iter().rev().for_each(|replica| leave_out(&mut plan, *replica));
        if plan.setup.replicas > 0 {
            self.one(plan);
        }
        let mut replica = self.plan.setup.replicas;
        while replica > 0 && self.plan.setup.replicas > 1 {
            replica -= 1;
            let mut plan = self.plan.clone();
            leave_out(&mut plan, replica);
            self.one(plan);
        }
    }

    /// One replica does what two did.
    fn merge_replicas(&mut self) {
        loop {
            let count = self.plan.setup.replicas;
            let pairs = (0..count).rev().flat_map(|from| (0..count).map(move |to| (from, to)));
            let plan = self.plan.clone();
            let candidates = pairs.filter(|(from, to)| from != to).map(|(from, to)| {
                let mut plan = plan.clone();
                for step in &mut plan.steps {
                    if let Act::Cut { .. }
                    | Act::Gather { .. }
                    | Act::Part { .. }
                    | Act::Break { .. }
                    | Act::Clog { .. }
                    | Act::Attack { .. }
                    | Act::Frame { .. } = step.act
                    {
                        continue;
                    }
                    step.act.replicas_mut().into_iter().filter(|it| **it == from).for_each(|it| *it = to);
                }
                leave_out(&mut plan, from);
                plan
            });
            if self.first(candidates).is_none() {
                return;
            }
        }
    }

    /// One syncgroup is what two were.
    fn merge_groups(&mut self) {
        loop {
            let all: Vec<u8> = groups(&self.plan).into_iter().collect();
            let pairs = all.iter().rev().flat_map(|from| all.iter().map(move |to| (*from, *to)));
            let plan = self.plan.clone();
            let candidates = pairs.filter(|(from, to)| from != to).map(|(from, to)| {
                let mut plan = plan.clone();
                plan.steps.retain(|step| !matches!(step.act, Act::Create { group, .. } if group == from));
                for step in &mut plan.steps {
                    step.act.groups_mut().into_iter().filter(|it| **it == from).for_each(|it| *it = to);
                }
                plan
            });
            if self.first(candidates).is_none() {
                return;
            }
        }
    }

    /// One invitation for two who join.
    fn merge_invitations(&mut self) {
        loop {
            let invites = self.plan.steps.iter().filter_map(|step| match step.act {
                Act::Invite { ticket, .. } => Some(ticket),
                _ => None,
            });
            let all: Vec<u32> = invites.collect();
            let pairs = all.iter().rev().flat_map(|from| all.iter().map(move |to| (*from, *to)));
            let plan = self.plan.clone();
            let candidates = pairs.filter(|(from, to)| from != to).map(|(from, to)| {
                let mut plan = plan.clone();
                plan.steps.retain(|step| !matches!(step.act, Act::Invite { ticket, .. } if ticket == from));
                for step in &mut plan.steps {
                    match &mut step.act {
                        Act::Invite { ticket, reusable, .. } if *ticket == to => *reusable = true,
                        Act::Join { ticket, .. } if *ticket == from => *ticket = to,
                        _ => {}
                    }
                }
                plan
            });
            if self.first(candidates).is_none() {
                return;
            }
        }
    }

    /// All in one collection, and all of one key; or at least some of it.
    fn merge_rows(&mut self) {
        let mut plan = self.plan.clone();
        for row in plan.steps.iter_mut().flat_map(|step| step.act.rows_mut()) {
            (row.collection, row.key) = (0, 0);
        }
        if self.one(plan) {
            return;
        }
        let mut plan = self.plan.clone();
        plan.steps.iter_mut().flat_map(|step| step.act.rows_mut()).for_each(|row| row.collection = 0);
        self.one(plan);
        let rows =
            self.plan.clone().steps.iter_mut().flat_map(|step| step.act.rows_mut()).map(|it| *it).collect();
        let rows: BTreeSet<_> = rows;
        for from in rows.iter().rev() {
            let plan = self.plan.clone();
            let others = rows.iter().filter(|to| *to < from && to.group == from.group);
            self.first(others.map(|to| {
                let mut plan = plan.clone();
                let all = plan.steps.iter_mut().flat_map(|step| step.act.rows_mut());
                all.filter(|it| **it == *from).for_each(|it| *it = *to);
                plan
            }));
        }
    }

    /// Labels count from 0, as they come.
    fn low_numbers(&mut self) {
        let mut plan = self.plan.clone();
        let (mut tickets, mut texts) = (BTreeMap::new(), BTreeMap::new());
        let (mut labels, mut keys) = (BTreeMap::new(), BTreeMap::new());
        for step in &mut plan.steps {
            for group in step.act.groups_mut() {
                let next = labels.len() as u8;
                *group = *labels.entry(*group).or_insert(next);
            }
            for row in step.act.rows_mut() {
                let next = keys.len() as u8;
                row.key = *keys.entry(row.key).or_insert(next);
            }
            match &mut step.act {
                Act::Invite { ticket, .. }
                | Act::Join { ticket, .. }
                | Act::InviteDevice { ticket, .. }
                | Act::JoinAs { ticket, .. } => {
                    let next = tickets.len() as u32 + 1;
                    *ticket = *tickets.entry(*ticket).or_insert(next);
                }
                Act::Write { text, .. } => {
                    let next = texts.len() as u64 + 1;
                    *text = *texts.entry(*text).or_insert(next);
                }
                _ => {}
            }
        }
        self.one(plan);
    }
}

/// Takes a replica out, with the steps that are about it alone or about it and one other.
fn leave_out(plan: &mut Plan, replica: usize) {
    plan.steps.retain_mut(|step| match &mut step.act {
        Act::Cut { from, to, .. } => {
            from.retain(|it| *it != replica);
            to.retain(|it| *it != replica);
            !from.is_empty() && !to.is_empty()
        }
        Act::Gather { members } | Act::Part { members } => {
            members.retain(|it| *it != replica);
            members.len() > 1
        }
        act => !act.replicas().contains(&replica),
    });
    for step in &mut plan.steps {
        step.act.replicas_mut().into_iter().filter(|it| **it > replica).for_each(|it| *it -= 1);
    }
    plan.setup.replicas -= 1;
    for each in [&mut plan.setup.skew_ms, &mut plan.setup.drift_ppm] {
        if replica < each.len() {
            each.remove(replica);
        }
    }
    for some in [&mut plan.setup.hostile, &mut plan.setup.network.call_only] {
        some.retain(|it| *it != replica);
        some.iter_mut().filter(|it| **it > replica).for_each(|it| *it -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_left_out_leaves_no_gap() {
        let mut plan: Plan = concat!(
            r#"{"plan":1,"seed":1,"setup":{"replicas":3,"safety_ms":5000,"skew_ms":[1,2,3],"hostile":[0,2],"network":{"call_only":[1]}}}"#,
            "\n",
            r#"{"at":1,"do":"crash","replica":1}"#,
            "\n",
            r#"{"at":2,"do":"cut","from":[0,1],"to":[2],"both":true}"#,
            "\n",
            r#"{"at":3,"do":"break","a":2,"b":0}"#,
            "\n",
            r#"{"at":4,"do":"gather","members":[0,1,2]}"#,
            "\n",
            r#"{"at":5,"do":"part","members":[0,1]}"#,
        )
        .parse()
        .unwrap();
        leave_out(&mut plan, 1);
        assert_eq!(plan.setup.skew_ms, [1, 3]);
        assert_eq!((&plan.setup.hostile[..], &plan.setup.network.call_only[..]), (&[0, 1][..], &[][..]));
        assert_eq!(plan.steps.split_off(2).len(), 1, "one alone does not part");
        assert_eq!(plan.steps[0].act, Act::Cut { from: vec![0], to: vec![1], both: true });
        assert_eq!(plan.steps[1].act, Act::Break { a: 1, b: 0 });
        leave_out(&mut plan, 1);
        assert_eq!((plan.setup.replicas, plan.steps), (1, vec![]));
    }
}
