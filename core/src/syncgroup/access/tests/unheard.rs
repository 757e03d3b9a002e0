//! Admins that end, or repeat, what nobody has said yet: what others hold, and what counts, is the same whatever comes first.

use super::*;

/// 1 begins, lets in 2 and 3 to read, and opens the syncgroup.
fn opened() -> History {
    let mut history = History::new();
    history.say(1, &[0], vec![admit(2, Rights::Read)]);
    history.say(1, &[1], vec![admit(3, Rights::Read)]);
    history.say(1, &[2], vec![open(Rights::Write)]);
    history
}

/// Whether anybody may hold a generation, where all is known.
fn may_hold(history: &History, at: usize) -> bool {
    let (access, pasts) = history.taken(&(0..history.0.len()).collect::<Vec<_>>());
    let (fact, pasts) = (&history.0[at], Numbered { held: &pasts, planned: &[] });
    let (at, records) = (super::at(fact.spot(), &fact.past), fact.records());
    let allowed = |judgement: &Judgement| judge::allowed_by(&access, judgement, pasts, at, &records);
    access.judged_in(pasts, at.past, &mut Recent::new(), allowed).is_some()
}

#[test]
fn what_a_removal_names_that_nobody_has_given_yet_keeps_nobody_from_being_let_in() {
    let mut history = opened();
    history.say(1, &[3], vec![revoke(4, &[version(51, 1)], None, 0)]);
    history.say(2, &[4], vec![admit(4, Rights::Write)]);
    let let_in = history.0.len() - 1;
    assert!(may_hold(&history, let_in));
    // Now it is given, in another log of the same admin, and what it named with it.
    history.say(51, &[3], vec![admit(4, Rights::Write)]);
    assert!(may_hold(&history, let_in), "whoever has that holds no less than others");
    assert_eq!(rights(&history.all(), 4), Some(Rights::Write));
}

#[test]
fn what_a_removal_says_to_repeat_that_removed_nobody_excuses_nothing() {
    let mut history = opened();
    let raised = history.0.len();
    history.say(2, &[3], vec![admit(3, Rights::Write)]);
    let repeats = MetaRecord::Repeats { incarnation: author(51).incarnation, generation: 1 };
    history.say(1, &[3], vec![repeats, revoke(3, &[version(1, 3)], None, 0)]);
    let removed = raised + 1;
    // It had heard of whom 2 had let in; but it lets in somebody else.
    history.say(51, &[raised], vec![admit(5, Rights::Read)]);
    let other = removed + 1;
    let judged = |last: [usize; 3]| {
        let (mut access, mut pasts) = (Access::default(), Pasts::default());
        (0..raised).chain(last).for_each(|at| history.judge_in(at, &mut access, &mut pasts));
        access
    };
    let (one, two) = (judged([raised, removed, other]), judged([raised, other, removed]));
    assert_eq!(one.judgement, two.judgement);
    assert_eq!(rights(&one, 3), None, "an admin has removed it, and knew nothing of what 2 gave it");
    assert_eq!(one.judgement, history.all().judgement);
}
