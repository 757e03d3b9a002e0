//! Stories of rights that end.

use super::*;

/// What a device may do at a moment after some fact, by stamps.
fn when(history: &History, n: u8, heard: usize, stamp: u64) -> Option<Rights> {
    let access = history.all();
    access.rights_at(&access.judgement, at((n, 9, stamp), &history.0[heard].with_itself()))
}

fn with_clock(history: &History, clock: u64) -> Access {
    let mut access = history.all();
    access.set_clock(Wall(clock));
    access
}

#[test]
fn a_grant_is_for_what_is_stamped_no_later_than_its_end() {
    let mut history = History::new();
    history.say(1, &[0], vec![until(admit(2, Rights::Write), Some(7))]);
    assert_eq!((when(&history, 2, 1, 7), when(&history, 2, 1, 8)), (Some(Rights::Write), None));
    // By the grant in its past alone: what else is known changes nothing.
    history.say(1, &[1], vec![admit(2, Rights::Read)]);
    assert_eq!((when(&history, 2, 1, 8), when(&history, 2, 2, 8)), (None, Some(Rights::Read)));
}

#[test]
fn a_certificate_is_for_what_is_stamped_no_later_than_its_end() {
    let mut history = History::new();
    history.say(1, &[0], vec![until(admit_user(1, Rights::Write), Some(9))]);
    history.say(1, &[1], vec![until(enrol(1, 2, 1), Some(5))]);
    history.say(1, &[2], vec![until(enrol(1, 3, 1), Some(50))]);
    let of = |n, stamp| when(&history, n, 3, stamp);
    assert_eq!((of(2, 5), of(2, 6)), (Some(Rights::Write), None));
    assert_eq!((of(3, 9), of(3, 10)), (Some(Rights::Write), None), "what the user was granted ends before");
}

#[test]
fn an_old_certificate_that_turns_up_again_shortens_nothing() {
    let mut history = History::new();
    history.say(1, &[0], vec![admit_user(1, Rights::Write)]);
    history.say(1, &[1], vec![until(enrol(1, 2, 1), Some(5))]);
    history.say(1, &[2], vec![until(enrol(1, 2, 1), Some(20))]);
    assert_eq!(when(&history, 2, 3, 20), Some(Rights::Write), "the later end counts");
    let before = history.clone();
    history.say(1, &[3], vec![until(enrol(1, 2, 1), Some(5))]);
    assert!(!history.may_hold_the_last(), "it says nothing new");
    assert_eq!(when(&history, 2, 4, 20), Some(Rights::Write));
    // Shortening takes a striking-off, after which the old ones are of no use.
    let mut history = before;
    history.say(1, &[3], vec![strike_off(1, 2, 1, 3)]);
    history.say(1, &[4], vec![until(enrol(1, 2, 2), Some(10))]);
    assert_eq!((when(&history, 2, 5, 10), when(&history, 2, 5, 11)), (Some(Rights::Write), None));
    history.say(1, &[5], vec![until(enrol(1, 2, 1), Some(20))]);
    assert_eq!(when(&history, 2, 6, 11), None);
}

#[test]
fn what_an_admin_grants_in_time_stays_and_what_it_grants_later_nobody_holds() {
    let mut history = History::new();
    history.say(1, &[0], vec![until(admit(2, Rights::Admin), Some(3))]);
    history.say(2, &[1], vec![admit(3, Rights::Write)]);
    assert_eq!(history.0[2].stamp, 3);
    assert!(history.may_hold_the_last());
    let access = with_clock(&history, 1_000);
    assert_eq!((rights(&access, 2), rights(&access, 3)), (None, Some(Rights::Write)));
    // Also where it has to be judged by all that is known, as there is a revocation.
    history.say(1, &[2], vec![revoke(4, &[], None, 0)]);
    assert_eq!(rights(&with_clock(&history, 1_000), 3), Some(Rights::Write));
    history.say(2, &[2], vec![admit(4, Rights::Write)]);
    assert_eq!(history.0[4].stamp, 4);
    assert!(!history.may_hold_the_last());
    assert_eq!(rights(&history.all(), 4), None, "and if somebody did, it would not count");
}

#[test]
fn who_keeps_a_right_for_less_long_loses_only_what_it_wrote_after_that() {
    let mut history = History::new();
    let two = history.say(1, &[0], vec![admit(2, Rights::Admin)]);
    history.say(1, &[1], vec![until(revoke(2, &[two], Some(Rights::Admin), 0), Some(4))]);
    let three = history.say(2, &[1], vec![admit(3, Rights::Write)]);
    assert_eq!(three, version(2, 1));
    for _ in 0..2 {
        history.say(2, &[], vec![MetaRecord::Collection { name: name() }]);
    }
    history.say(2, &[], vec![admit(4, Rights::Write)]);
    assert_eq!((history.0[3].stamp, history.0[6].stamp), (3, 6));
    let access = with_clock(&history, 4);
    assert_eq!([2, 3, 4].map(|n| rights(&access, n)), [Some(Rights::Admin), Some(Rights::Write), None]);
    let access = with_clock(&history, 5);
    assert_eq!([2, 3, 4].map(|n| rights(&access, n)), [None, Some(Rights::Write), None]);
    let two = author(2).device;
    assert!(access.is_expired(&two) && access.is_removed(&two));
    let ended = BTreeSet::from([(1, 2), (1, 3)]);
    assert_eq!(history.ended(&access, 2), ended, "it may not have heard that it ends earlier");
    let four = author(4).device;
    assert!(access.is_removed(&four) && !access.is_expired(&four));
    let ended = BTreeSet::from([(1, 3), (2, 4)]);
    assert_eq!(
        history.ended(&access, 4),
        ended,
        "nor may whom it let in after that; and by what it was let in"
    );
}

#[test]
fn who_is_a_member_now_goes_by_the_clock_and_nothing_of_it_is_kept() {
    let mut history = History::new();
    history.say(1, &[0], vec![until(admit(2, Rights::Admin), Some(100))]);
    history.say(1, &[1], vec![until(admit(2, Rights::Read), Some(200))]);
    let two = author(2).device;
    let seen = |clock| {
        let access = with_clock(&history, clock);
        let members = access.members();
        let member = members.iter().find(|it| it.device == two).unwrap();
        (member.rights, member.ends.map(|end| end.0), member.expired, member.removed)
    };
    let in_turn = [0, 100, 101, 200, 201, 100].map(seen);
    let admin = (Some(Rights::Admin), Some(100), false, false);
    let reads = (Some(Rights::Read), Some(200), false, false);
    let over = (None, Some(200), true, false);
    assert_eq!(in_turn, [admin, admin, reads, reads, over, admin], "a clock that is set back undoes it");
    let same = |clock| with_clock(&history, clock).same_until().map(|(first, last)| (first.0, last.0));
    assert_eq!(
        [50, 100, 101, 500].map(same),
        [Some((0, 100)), Some((0, 100)), Some((101, 200)), Some((201, u64::MAX))]
    );
    assert_eq!(History::new().all().same_until(), None);
}

#[test]
fn who_left_has_left_whatever_the_time() {
    let mut history = History::new();
    let two = history.say(1, &[0], vec![until(admit(2, Rights::Write), Some(100))]);
    history.say(2, &[1], vec![MetaRecord::Leave { grants: vec![two] }]);
    for clock in [0, 1_000] {
        let (access, two) = (with_clock(&history, clock), author(2).device);
        assert!(access.is_former(&two) && !access.is_removed(&two) && !access.is_expired(&two));
    }
}

#[test]
fn an_end_that_no_stamp_or_clock_reaches_is_none_and_one_in_the_past_gives_nothing() {
    let never_reached = (u64::MAX >> 16) + 1;
    for end in [never_reached, u64::MAX - 1, u64::MAX] {
        let mut history = History::new();
        history.say(1, &[0], vec![until(admit(2, Rights::Write), Some(end))]);
        assert_eq!(when(&history, 2, 1, u64::MAX >> 16), Some(Rights::Write), "{end}");
        assert_eq!(rights(&with_clock(&history, end), 2), Some(Rights::Write));
    }
    let mut history = History::new();
    history.say(1, &[0], vec![until(admit(2, Rights::Write), Some(u64::MAX))]);
    assert!(!history.all().has_ends(), "nothing is waited for");
    let mut history = History::new();
    history.say(1, &[0], vec![until(admit(2, Rights::Write), Some(1))]);
    // What uses a grant is stamped after it.
    assert_eq!(when(&history, 2, 1, history.0[1].stamp + 1), None);
    assert!(with_clock(&history, 2).is_expired(&author(2).device));
}
