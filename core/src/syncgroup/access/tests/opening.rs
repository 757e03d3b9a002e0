//! What is granted to everybody: the specification of it, and stories.

use super::super::super::past;
use super::*;

// ---- the specification ----

impl History {
    /// What is granted to everybody.
    pub(super) fn openings(&self) -> Vec<(&Fact, Rights, Option<Wall>)> {
        let of = |fact: &Fact| {
            fact.says.iter().find_map(|record| match record {
                MetaRecord::Open { rights, ends } => Some((*rights, *ends)),
                _ => None,
            })
        };
        self.0.iter().filter_map(|fact| of(fact).map(|(rights, ends)| (fact, rights, ends))).collect()
    }

    /// Whether a generation counts: by an admin's right, or as it says no more than a member may.
    pub(super) fn counts(&self, fact: &Fact) -> bool {
        let begins = fact.says.iter().any(|record| matches!(record, MetaRecord::Genesis { .. }));
        let is_free = fact.says.iter().all(|record| {
            matches!(record, MetaRecord::Leave { .. } | MetaRecord::Enrol { .. } | MetaRecord::StrikeOff(_))
        });
        begins
            || self.authority(fact, LOWEST).is_some()
            || is_free && self.rights(fact.spot(), &fact.past).is_some()
            || self.is_let_in_by_a_member(fact)
    }

    /// Whether a generation lets in somebody as every member may, by what is granted to everybody.
    pub(super) fn is_let_in_by_a_member(&self, act: &Fact) -> bool {
        let gives: Vec<_> = self.grants().into_iter().filter(|given| given.by.spot() == act.spot()).collect();
        let says_nothing_else = act.says.iter().all(|record| {
            matches!(
                record,
                MetaRecord::Admit { .. } | MetaRecord::AdmitUser { .. } | MetaRecord::Enrol { .. }
            )
        });
        let with = act.says.iter().find_map(|record| match record {
            MetaRecord::Enrol { certificate, .. } => Some(To::Device(certificate.device_key().0[0])),
            _ => None,
        });
        let is_taken = |given: &Given<'_>| {
            self.is_taken(act, given) || with.is_some_and(|to| self.is_taken(act, &Given { to, ..*given }))
        };
        says_nothing_else
            && !gives.is_empty()
            && gives
                .iter()
                .all(|given| given.rights < Rights::Admin && self.is_open_for(act, given) && !is_taken(given))
            && self.rights(act.spot(), &act.past).is_some()
    }

    fn is_open_for(&self, act: &Fact, given: &Given<'_>) -> bool {
        self.openings().into_iter().any(|(opened, rights, ends)| {
            let mut left = Some((rights, ends));
            for fact in &self.0 {
                for record in &fact.says {
                    let MetaRecord::Close { grants, keep, ends, until } = record else { continue };
                    let spared =
                        until.iter().any(|(of, last)| *of == author(act.by) && act.generation <= *last);
                    if grants.contains(&opened.version()) && !spared && self.authority(fact, LOWEST).is_some()
                    {
                        left = left
                            .zip(*keep)
                            .map(|((rights, until), keep)| (rights.min(keep), least(until, *ends)));
                    }
                }
            }
            act.past.has(opened.place())
                && self.authority(opened, LOWEST).is_some()
                && left
                    .is_some_and(|(rights, ends)| covers((rights, ends), given) && !is_over(ends, act.stamp))
        })
    }

    /// The revocations that one repeats, written in another log of the same device.
    fn repeated(&self, fact: &Fact) -> Vec<&Fact> {
        let revokes = |record: &MetaRecord| {
            use MetaRecord::{Close, Revoke, RevokeUser, StrikeOff};
            matches!(record, Revoke { .. } | RevokeUser { .. } | Close { .. } | StrikeOff(_))
        };
        let named = fact.says.iter().filter_map(|record| match record {
            MetaRecord::Repeats { incarnation, generation } => Some((*incarnation, *generation)),
            _ => None,
        });
        let named: Vec<_> = named.collect();
        let is_named = |it: &&Fact| {
            let Author { device, incarnation } = author(it.by);
            device == author(fact.by).device && named.contains(&(incarnation, it.generation))
        };
        self.0.iter().filter(is_named).filter(|it| it.says.iter().any(revokes)).collect()
    }

    /// Whether an admin has taken away what is given, and none has given it again.
    fn is_taken(&self, act: &Fact, given: &Given<'_>) -> bool {
        let is_senior = |fact: &Fact, whom: To, grant: &Version| {
            let to = self.grants().into_iter().find(|it| it.to == whom && it.version() == *grant);
            // Whoever takes something from somebody knows that it was given.
            if !to.is_some_and(|it| fact.past.has(it.by.place())) {
                return false;
            }
            let rank = to.filter(|it| it.rights == Rights::Admin).and_then(|it| self.rank(&it, LOWEST));
            self.authority(fact, rank.unwrap_or(LOWEST)).is_some()
        };
        let given_again = |fact: &Fact| {
            self.grants().into_iter().any(|it| {
                let knew = it.by.with_itself().has(fact.place());
                let counts = || self.authority(it.by, LOWEST).is_some() || self.is_let_in_by_a_member(it.by);
                let other = it.by.spot() != act.spot() && act.past.has(it.by.place());
                it.to == given.to && other && covers((it.rights, it.ends), given) && knew && counts()
            })
        };
        self.0.iter().any(|fact| {
            fact.says.iter().any(|record| {
                let (whom, grants, keep, ends) = match (record, given.to) {
                    (MetaRecord::Revoke { device, grants, keep, ends, .. }, To::Device(n))
                        if *device == author(n).device =>
                    {
                        (given.to, grants, keep, ends)
                    }
                    (MetaRecord::RevokeUser { user: of, grants, keep, ends, .. }, To::User(n))
                        if *of == user(n).user() =>
                    {
                        (given.to, grants, keep, ends)
                    }
                    (MetaRecord::RevokeUser { user: of, grants, keep, ends, .. }, To::Device(n)) => {
                        let known = |n: u8, of: u8| {
                            let enrolments = self.enrolments(of, n);
                            enrolments.into_iter().any(|(enrolled, ..)| fact.past.has(enrolled.place()))
                        };
                        match (1..3).find(|it| *of == user(*it).user() && known(n, *it)) {
                            Some(of) => (To::User(of), grants, keep, ends),
                            None => return false,
                        }
                    }
                    _ => return false,
                };
                let is_excused = |fact: &Fact| fact.past.has(act.place()) || given_again(fact);
                !keep.is_some_and(|keep| covers((keep, *ends), given))
                    && grants.iter().any(|grant| is_senior(fact, whom, grant))
                    && !is_excused(fact)
                    && !self.repeated(fact).into_iter().any(is_excused)
            })
        })
    }
}

fn least(one: Option<Wall>, other: Option<Wall>) -> Option<Wall> {
    one.into_iter().chain(other).min()
}

fn covers((rights, ends): (Rights, Option<Wall>), given: &Given<'_>) -> bool {
    let lasts = ends.is_none_or(|ends| given.ends.is_some_and(|end| end <= ends));
    rights >= given.rights && lasts
}

// ---- stories ----

/// 1 begins, lets in 2 to read, and opens the syncgroup.
fn opened(rights: Rights) -> (History, Version) {
    let mut history = History::new();
    history.say(1, &[0], vec![admit(2, Rights::Read)]);
    let opening = history.say(1, &[1], vec![open(rights)]);
    (history, opening)
}

#[test]
fn a_member_that_only_reads_lets_in_others_with_what_everybody_is_granted_and_no_more() {
    let (mut history, _) = opened(Rights::Write);
    history.say(2, &[2], vec![admit(3, Rights::Write)]);
    assert!(history.may_hold_the_last());
    history.say(3, &[3], vec![admit(4, Rights::Read)]);
    assert!(history.may_hold_the_last(), "and these let in the next");
    let access = history.all();
    assert_eq!((rights(&access, 3), rights(&access, 4)), (Some(Rights::Write), Some(Rights::Read)));
    for more in [
        admit(5, Rights::Admin),
        until(open(Rights::Read), None),
        revoke(2, &[version(1, 2)], None, 0),
        MetaRecord::Collection { name: name() },
    ] {
        history.say(3, &[4], vec![admit(5, Rights::Read), more]);
        assert!(!history.may_hold_the_last(), "{:?}", history.0.pop());
    }
    history.say(6, &[4], vec![admit(5, Rights::Read)]);
    assert!(!history.may_hold_the_last(), "who is no member lets in nobody");
}

#[test]
fn whom_a_member_lets_in_before_it_is_open_or_for_longer_nobody_holds() {
    let (mut history, _) = opened(Rights::Read);
    history.say(1, &[2], vec![until(open(Rights::Write), Some(20))]);
    for (heard, says, holds) in [
        (1, admit(3, Rights::Read), false),
        (2, admit(3, Rights::Write), false),
        (3, admit(3, Rights::Write), false),
        (3, until(admit(3, Rights::Write), Some(21)), false),
        (3, until(admit(3, Rights::Write), Some(20)), true),
    ] {
        history.say(2, &[heard], vec![says.clone()]);
        assert_eq!(history.may_hold_the_last(), holds, "{says:?}");
        history.0.pop();
    }
}

#[test]
fn closing_voids_whom_members_let_in_beside_it_and_what_rests_on_that() {
    let (mut history, opening) = opened(Rights::Write);
    history.say(2, &[2], vec![admit(3, Rights::Write)]);
    history.say(1, &[3], vec![close(&[opening], None, &[(2, 1)])]);
    history.say(2, &[3], vec![admit(4, Rights::Write)]);
    history.say(4, &[5], vec![admit(5, Rights::Write)]);
    let (access, pasts) = history.taken(&[0, 1, 2, 3, 4, 5, 6]);
    let now = |n| rights(&access, n);
    assert_eq!((now(3), now(4), now(5)), (Some(Rights::Write), None, None));
    let numbered = Numbered { held: &pasts, planned: &[] };
    for (n, let_in) in [(4, (2, 2)), (5, (4, 1))] {
        assert!(access.is_removed(&author(n).device), "it shall hear of it");
        assert_eq!(access.what_ended(numbered, &author(n).device, &[]), BTreeSet::from([(1, 4), let_in]));
    }
    history.say(2, &[4], vec![admit(6, Rights::Read)]);
    assert!(!history.may_hold_the_last(), "now it has heard");
}

#[test]
fn of_several_grants_to_everybody_one_is_enough() {
    let (mut history, opening) = opened(Rights::Write);
    history.say(1, &[2], vec![admit(3, Rights::Admin)]);
    history.say(3, &[3], vec![open(Rights::Write)]);
    history.say(1, &[3], vec![close(&[opening], None, &[])]);
    history.say(2, &[2, 4], vec![admit(4, Rights::Write)]);
    history.say(2, &[2], vec![admit(5, Rights::Write)]);
    assert_eq!(rights(&history.all(), 4), Some(Rights::Write));
    history.0.pop();
    history.0.pop();
    history.say(2, &[2], vec![admit(5, Rights::Write)]);
    assert_eq!(rights(&history.all(), 5), None);
}

#[test]
fn whom_an_admin_has_removed_no_member_lets_in_again_before_an_admin_has() {
    let (mut history, _) = opened(Rights::Write);
    history.say(1, &[2], vec![admit(3, Rights::Write)]);
    history.say(1, &[3], vec![revoke(3, &[version(1, 4)], None, 0)]);
    history.say(2, &[4], vec![admit(3, Rights::Read)]);
    assert!(!history.may_hold_the_last(), "it has heard of the removal");
    history.0.pop();
    history.say(2, &[3], vec![admit(3, Rights::Read)]);
    let access = history.all();
    assert_eq!(rights(&access, 3), None, "as if it had not");
    history.0.pop();
    let since = history.say(1, &[4], vec![admit(3, Rights::Read)]);
    // It leaves, so that there is something to give.
    history.say(3, &[5], vec![MetaRecord::Leave { grants: vec![since] }]);
    history.say(2, &[6], vec![admit(3, Rights::Write)]);
    assert!(!history.may_hold_the_last(), "no more than an admin has given since");
    history.0.pop();
    history.say(2, &[6], vec![admit(3, Rights::Read)]);
    assert!(history.may_hold_the_last());
    assert_eq!(rights(&history.all(), 3), Some(Rights::Read));
}

#[test]
fn whom_an_admin_has_removed_no_member_lets_in_with_a_user() {
    let (mut history, _) = opened(Rights::Write);
    history.say(1, &[2], vec![admit(3, Rights::Write)]);
    history.say(1, &[3], vec![revoke(3, &[version(1, 4)], None, 0)]);
    for removed_with_it in
        [vec![admit_user(1, Rights::Read), enrol(1, 3, 1)], vec![enrol(1, 3, 1), admit_user(1, Rights::Read)]]
    {
        history.say(2, &[4], removed_with_it.clone());
        assert!(!history.may_hold_the_last(), "it has heard of the removal");
        history.0.pop();
        history.say(2, &[3], removed_with_it);
        let access = history.all();
        assert_eq!(rights(&access, 3), None, "as if it had not");
        assert_eq!(access.rights_of(&user(1).user()), None);
        assert_eq!(history.ended(&access, 3), BTreeSet::from([(1, 5), (2, 1)]), "it is told of the removal");
        history.0.pop();
    }
    history.say(2, &[4], vec![admit_user(1, Rights::Read), enrol(1, 4, 1)]);
    assert!(history.may_hold_the_last(), "another device of it");
    assert_eq!(rights(&history.all(), 4), Some(Rights::Read));
    history.0.pop();
    history.say(1, &[4], vec![admit_user(1, Rights::Read), enrol(1, 3, 1)]);
    assert_eq!(rights(&history.all(), 3), Some(Rights::Read), "but an admin does");
}

#[test]
fn what_an_admin_has_lessened_no_member_gives_back() {
    let (mut history, _) = opened(Rights::Write);
    history.say(1, &[2], vec![admit(3, Rights::Write)]);
    history.say(1, &[3], vec![revoke(3, &[version(1, 4)], Some(Rights::Read), 0)]);
    for n in [2, 3] {
        history.say(n, &[4], vec![admit(3, Rights::Write)]);
        assert!(!history.may_hold_the_last(), "{n}");
        history.0.pop();
        history.say(n, &[3], vec![admit(3, Rights::Write)]);
        assert_eq!(rights(&history.all(), 3), Some(Rights::Read));
        history.0.pop();
    }
}

#[test]
fn whom_a_member_let_in_that_was_removed_since_stays_as_far_as_the_removal_says() {
    let (mut history, _) = opened(Rights::Write);
    history.say(2, &[2], vec![admit(3, Rights::Write)]);
    history.say(1, &[3], vec![revoke(2, &[version(1, 2)], None, 1)]);
    history.say(2, &[2], vec![admit(4, Rights::Write)]);
    let (access, pasts) = history.taken(&[0, 1, 2, 3, 4, 5]);
    assert_eq!((rights(&access, 3), rights(&access, 4)), (Some(Rights::Write), None));
    let numbered = Numbered { held: &pasts, planned: &[] };
    assert_eq!(access.what_ended(numbered, &author(4).device, &[]), BTreeSet::from([(1, 4), (2, 2)]));
}

#[test]
fn what_an_admin_that_might_not_has_opened_is_not_open() {
    let mut history = History::new();
    let two = history.say(1, &[0], vec![admit(2, Rights::Admin)]);
    history.say(1, &[1], vec![admit(3, Rights::Read)]);
    history.say(1, &[2], vec![revoke(2, &[two], None, 0)]);
    history.say(2, &[2], vec![open(Rights::Write)]);
    history.say(3, &[4], vec![admit(4, Rights::Write)]);
    let access = history.all();
    assert_eq!((rights(&access, 4), access.open_to_everybody()), (None, None));
}

#[test]
fn what_was_taken_from_a_user_no_member_gives_to_a_device_that_was_known_as_its() {
    let (mut history, _) = opened(Rights::Write);
    let granted = history.say(1, &[2], vec![admit_user(1, Rights::Write)]);
    history.say(1, &[3], vec![enrol(1, 3, 1)]);
    history.say(1, &[4], vec![revoke_user(1, &[granted], None, &[])]);
    history.say(2, &[5], vec![admit(3, Rights::Read)]);
    assert!(!history.may_hold_the_last(), "it has heard of the removal");
    history.0.pop();
    history.say(2, &[4], vec![admit(3, Rights::Read)]);
    let access = history.all();
    assert_eq!(rights(&access, 3), None, "as if it had not");
    let ended = history.ended(&access, 3);
    assert!(ended.contains(&(1, 6)), "it is told of the removal: {ended:?}");
    // Whoever has lost all signs what it likes.
    history.0.pop();
    history.say(1, &[5], vec![enrol(1, 4, 1)]);
    history.say(2, &[6], vec![admit(4, Rights::Read)]);
    assert!(history.may_hold_the_last());
    assert_eq!(rights(&history.all(), 4), Some(Rights::Read));
    history.say(1, &[6], vec![admit(3, Rights::Read)]);
    assert_eq!(rights(&history.all(), 3), Some(Rights::Read), "but an admin does");
    history.say(3, &[8], vec![enrol(1, 5, 1)]);
    assert!(history.may_hold_the_last());
}

#[test]
fn of_two_ways_in_which_a_membership_ended_a_device_is_told_of_the_first() {
    let (mut history, opening) = opened(Rights::Write);
    let by_member = history.say(2, &[2], vec![admit(3, Rights::Write)]);
    // 4 is let in beside the removal of 3, by which it loses that, and beside the closing, by which it would.
    history.say(1, &[3], vec![revoke(3, &[by_member], None, 0)]);
    history.say(1, &[4], vec![close(&[opening], None, &[])]);
    history.say(3, &[3], vec![admit(4, Rights::Write)]);
    let access = history.all();
    assert_eq!(rights(&access, 4), None);
    assert_eq!(history.ended(&access, 4), BTreeSet::from([(1, 4), (3, 1)]));
    // And the other way round.
    let (mut history, opening) = opened(Rights::Write);
    let by_member = history.say(2, &[2], vec![admit(3, Rights::Write)]);
    history.say(1, &[3], vec![close(&[opening], None, &[(2, 1)])]);
    history.say(1, &[4], vec![revoke(3, &[by_member], None, 0)]);
    history.say(3, &[3], vec![admit(4, Rights::Write)]);
    assert_eq!(history.ended(&history.all(), 4), BTreeSet::from([(1, 4), (3, 1)]));
}

#[test]
fn a_member_lets_in_one_at_a_time_with_more_than_it_has_and_not_for_ever() {
    let (mut history, _) = opened(Rights::Write);
    let may = |history: &History, says: Vec<MetaRecord>| {
        let mut history = history.clone();
        history.say(2, &[history.0.len() - 1], says);
        history.may_hold_the_last()
    };
    assert!(!may(&history, vec![admit(3, Rights::Read), admit(4, Rights::Read)]));
    history.say(2, &[2], vec![admit(3, Rights::Read)]);
    assert!(!may(&history, vec![admit(3, Rights::Read)]));
    assert!(!may(&history, vec![until(admit(3, Rights::Read), Some(1_000))]));
    assert!(may(&history, vec![admit(3, Rights::Write)]));
    history.say(3, &[3], vec![MetaRecord::Leave { grants: vec![version(2, 1)] }]);
    assert!(may(&history, vec![admit(3, Rights::Read)]), "it has left");
    // Each time a little longer: that is something new, but not for ever.
    let mut ends = 1_000;
    while may(&history, vec![until(admit(4, Rights::Read), Some(ends))]) {
        history.say(2, &[history.0.len() - 1], vec![until(admit(4, Rights::Read), Some(ends))]);
        ends += 1;
    }
    assert_eq!(ends - 1_000, limits::MAX_LET_IN as u64);
    assert!(may(&history, vec![admit(5, Rights::Read)]), "somebody else");
    history.say(3, &[history.0.len() - 1], vec![MetaRecord::Leave { grants: vec![] }]);
    history.0.pop();
    history.say(1, &[history.0.len() - 1], vec![admit(6, Rights::Read)]);
    history.say(6, &[history.0.len() - 1], vec![admit(4, Rights::Read)]);
    assert!(history.may_hold_the_last(), "and others may");
    // An admin may say what it likes.
    history.say(1, &[history.0.len() - 1], vec![admit(4, Rights::Read), admit(5, Rights::Read)]);
    assert!(history.may_hold_the_last());
}

/// However often members let in a device of which an admin has taken all, and however often admins take that and give it
/// again: what is looked at grows with all that was said, and not with its square.
#[test]
fn judging_whom_members_let_in_costs_as_much_as_was_said() {
    let looks = |members: usize, admin: usize| {
        let (mut history, _) = opened(Rights::Write);
        let mut last = history.0.len() - 1;
        for _ in 0..admin {
            let granted = history.say(1, &[last], vec![admit(3, Rights::Write)]);
            history.say(1, &[last], vec![revoke(3, &[granted], None, 0)]);
            last = history.0.len() - 1;
        }
        for _ in 0..members {
            history.say(2, &[2], vec![admit(3, Rights::Read)]);
        }
        let all: Vec<usize> = (0..history.0.len()).collect();
        let (mut access, pasts) = history.taken(&all);
        let before = past::looks();
        access.judge(Numbered { held: &pasts, planned: &[] });
        let looks = past::looks() - before;
        assert_eq!(rights(&access, 3), None);
        looks
    };
    let (few, many) = (looks(50, 1), looks(400, 1));
    assert!(few > 50, "something is looked at: {few}");
    assert!(many <= few * 9, "members: {few}, {many}");
    let (few, many) = (looks(50, 50), looks(400, 400));
    assert!(many <= few * 16, "members and admins: {few}, {many}");
}

#[test]
fn judging_whom_members_let_in_as_they_come_costs_as_much_as_they_are() {
    let looks = |members: usize| {
        let (mut history, _) = opened(Rights::Write);
        let granted = history.say(1, &[2], vec![admit(3, Rights::Write)]);
        history.say(1, &[3], vec![revoke(3, &[granted], None, 0)]);
        let knew = history.0.len() - 1;
        for nth in 0..members {
            history.say(2, &[knew], vec![until(admit(4, Rights::Read), Some(1_000 + nth as u64))]);
        }
        let (mut access, mut pasts) = (Access::default(), Pasts::default());
        let before = past::looks();
        (0..history.0.len()).for_each(|at| history.judge_in(at, &mut access, &mut pasts));
        assert_eq!(rights(&access, 4), Some(Rights::Read));
        past::looks() - before
    };
    let (few, many) = (looks(50), looks(400));
    assert!(few > 50, "something is looked at: {few}");
    assert!(many <= few * 9, "{few}, {many}");
}

#[test]
fn a_removal_that_is_written_again_is_the_same_removal() {
    let (mut history, _) = opened(Rights::Write);
    history.say(1, &[2], vec![admit(3, Rights::Write)]);
    let removed = history.say(1, &[3], vec![revoke(3, &[version(1, 4)], None, 0)]);
    let given = history.say(1, &[4], vec![admit(3, Rights::Write)]);
    history.say(3, &[5], vec![MetaRecord::Leave { grants: vec![given] }]);
    let knew = history.0.len() - 1;
    history.say(2, &[knew], vec![admit(3, Rights::Read)]);
    assert_eq!(rights(&history.all(), 3), Some(Rights::Read), "an admin has given it since");
    // Another log of the admin says the same, and has not heard of that.
    let again = |removed: Version| {
        let (incarnation, generation) = (removed.author.incarnation, removed.generation);
        vec![MetaRecord::Repeats { incarnation, generation }, revoke(3, &[version(1, 4)], None, 0)]
    };
    history.say(51, &[3], again(removed));
    assert_eq!(rights(&history.all(), 3), Some(Rights::Read));
    history.say(2, &[knew, history.0.len() - 1], vec![admit(3, Rights::Write)]);
    assert!(history.may_hold_the_last(), "whoever knows of both gives it as much");
    history.0.pop();
    history.0.pop();
    history.say(51, &[3], again(version(1, 7)));
    assert_eq!(rights(&history.all(), 3), None, "one that repeats something else is another");
    history.0.pop();
    // One that had what the member gave in its past has ended that as it liked.
    let member = history.0.len() - 1;
    let spares = history.say(1, &[member], vec![revoke(3, &[version(1, 4)], Some(Rights::Read), 9)]);
    assert_eq!(rights(&history.all(), 3), Some(Rights::Read));
    let (incarnation, generation) = (spares.author.incarnation, spares.generation);
    let repeats = MetaRecord::Repeats { incarnation, generation };
    history.say(51, &[3], vec![repeats, revoke(3, &[version(1, 4)], None, 9)]);
    assert_eq!(rights(&history.all(), 3), Some(Rights::Read));
}

#[test]
fn what_a_member_gives_again_in_another_log_counts_once() {
    let (mut history, _) = opened(Rights::Write);
    let gives = |nth: u64| until(admit(4, Rights::Read), Some(1_000 + nth));
    const FEW: u64 = limits::MAX_LET_IN as u64 - 4;
    for nth in 0..FEW {
        history.say(2, &[2], vec![gives(nth)]);
    }
    let first = history.0.len() - 1;
    let goes_on = |repeats: &dyn Fn(u64) -> Generation| {
        let mut history = history.clone();
        for nth in 0..FEW {
            let (incarnation, generation) = (author(2).incarnation, repeats(nth));
            history.say(52, &[2], vec![MetaRecord::Repeats { incarnation, generation }, gives(nth)]);
        }
        history.say(52, &[first], vec![gives(FEW)]);
        history.may_hold_the_last()
    };
    assert!(goes_on(&|nth| nth + 1));
    assert!(!goes_on(&|_| 1), "all of a log are not the same");
    assert!(!goes_on(&|nth| nth + 100), "nor what nobody has heard of");
}

#[test]
fn a_device_and_all_together_let_in_so_many_by_what_everybody_is_granted_however_many_logs_they_have() {
    let (history, _) = opened(Rights::Write);
    let mut access = history.all();
    let log = |n: u8, nth: u32| {
        let incarnation = Incarnation(1_000 + u64::from(nth));
        (Author { incarnation, ..author(n) }, 1_000 * u32::from(n) + nth)
    };
    let mut says = |n: u8, nth: u32, many: usize| {
        let (author, ix) = log(n, nth);
        for generation in 1..=many as u64 {
            let key = PublicKey(core::array::from_fn(|at| (generation >> (at % 8 * 8)) as u8 ^ n ^ 0x80));
            let admit =
                MetaRecord::Admit { key, name: name(), rights: Rights::Read, ends: None, request: None };
            let (place, stamp) = ((ix, generation), Hlc(generation));
            access.take(Source { place, author, stamp, past: NO_PAST, beside: Rights::Read }, &admit);
        }
        (ix, many as u64)
    };
    // In several logs, each of which is below that.
    const MOST: usize = limits::MAX_LET_IN_BY_DEVICE;
    let logs = [says(2, 0, MOST / 2), says(2, 1, MOST / 2 - 1), says(2, 2, 1)];
    let admin = says(1, 0, 2 * limits::MAX_LET_IN_BY_ALL);
    let others: Vec<_> = (3..40).map(|n| says(n, 0, MOST - 1)).collect();
    let has_room = |n: u8, logs: &[Place]| {
        let mut past = history.0[2].with_itself();
        logs.iter().for_each(|(ix, last)| past.add(*ix, *last));
        let (author, _) = log(n, 9);
        access.has_room_to_let_in(At { author, place: None, generation: 1, stamp: Hlc(1), past: &past })
    };
    assert!(has_room(2, &logs[..2]) && has_room(3, &logs));
    assert!(!has_room(2, &logs));
    assert!(has_room(2, &[admin]), "what an admin does is none of theirs");
    let fits = limits::MAX_LET_IN_BY_ALL / (MOST - 1);
    assert!(has_room(50, &others[..fits]));
    assert!(!has_room(50, &others[..=fits]));
    assert!(has_room(50, &others[..fits - 1]), "whatever else is known");
}
