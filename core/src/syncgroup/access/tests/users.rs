//! Stories of users and their devices (S-3).

use super::*;

/// 1 creates, and grants something to user 1, whose device 2 is enrolled, and 3 after it.
fn family(given: Rights) -> History {
    let mut history = History::new();
    history.say(1, &[0], vec![admit_user(1, given)]);
    history.say(1, &[1], vec![enrol(1, 2, 1)]);
    history.say(2, &[2], vec![enrol(1, 3, 1)]);
    history
}

fn at(access: &Access, n: u8, generation: Generation, past: &Past) -> Option<Rights> {
    access.rights_at(&access.judgement, super::at((n, generation, 99), past))
}

#[test]
fn what_is_granted_to_a_user_all_its_enrolled_devices_may_do() {
    let history = family(Rights::Write);
    let access = history.all();
    assert_eq!((rights(&access, 2), rights(&access, 3)), (Some(Rights::Write), Some(Rights::Write)));
    assert_eq!(rights(&access, 4), None, "not enrolled");
    assert_eq!(access.rights_of(&user(1).user()), Some(Rights::Write));
    assert_eq!(at(&access, 3, 1, &history.0[2].with_itself()), None, "its enrolment is not in this past");
    assert_eq!(at(&access, 3, 1, &history.0[3].with_itself()), Some(Rights::Write));
}

#[test]
fn an_enrolment_stands_whatever_becomes_of_whoever_wrote_it_down() {
    let mut history = family(Rights::Write);
    let four = history.say(1, &[2], vec![admit(4, Rights::Read)]);
    history.say(4, &[4], vec![enrol(1, 5, 1)]);
    history.say(1, &[4], vec![revoke(4, &[four], None, 0)]);
    let access = history.all();
    assert_eq!((rights(&access, 4), rights(&access, 5)), (None, Some(Rights::Write)));
}

#[test]
fn a_device_that_was_struck_off_keeps_what_was_known_of_it_and_nothing_else() {
    let mut history = family(Rights::Write);
    history.say(2, &[3], vec![strike_off(1, 3, 1, 4)]);
    let access = history.all();
    assert_eq!((rights(&access, 2), rights(&access, 3)), (Some(Rights::Write), None));
    assert!(access.is_removed(&author(3).device), "it shall hear of it");
    assert_eq!(history.ended(&access, 3), BTreeSet::from([(2, 1), (2, 2)]), "and what let it in");
    let past = history.0[3].with_itself();
    assert_eq!((at(&access, 3, 4, &past), at(&access, 3, 5, &past)), (Some(Rights::Write), None));
}

#[test]
fn an_old_certificate_lets_nobody_in_again_and_a_new_one_does() {
    let mut history = family(Rights::Write);
    history.say(2, &[3], vec![strike_off(1, 3, 1, 0)]);
    history.say(1, &[2], vec![enrol(1, 3, 0)]);
    assert_eq!(rights(&history.all(), 3), None, "even where nobody had heard");
    history.say(1, &[4], vec![enrol(1, 3, 2)]);
    assert_eq!(rights(&history.all(), 3), Some(Rights::Write));
}

#[test]
fn who_removes_a_user_removes_all_its_devices_and_none_that_is_let_in_by_itself() {
    let mut history = family(Rights::Write);
    history.say(1, &[3], vec![admit(3, Rights::Read)]);
    history.say(1, &[4], vec![revoke_user(1, &[version(1, 2)], None, &[(2, 7)])]);
    let access = history.all();
    assert_eq!((rights(&access, 2), rights(&access, 3)), (None, Some(Rights::Read)));
    let past = history.0[3].with_itself();
    assert_eq!((at(&access, 2, 7, &past), at(&access, 2, 8, &past)), (Some(Rights::Write), None));
    assert_eq!(history.ended(&access, 2), BTreeSet::from([(1, 3), (1, 5)]), "and what let it in");
}

#[test]
fn a_user_ranks_by_its_grant_whichever_device_acts() {
    let mut history = family(Rights::Admin);
    let four = history.say(3, &[3], vec![admit(4, Rights::Admin)]);
    history.say(4, &[4], vec![revoke_user(1, &[version(1, 2)], None, &[])]);
    assert_eq!(rights(&history.all(), 2), Some(Rights::Admin), "the user is senior to 4");
    history.say(2, &[4], vec![revoke(4, &[four], None, 0)]);
    let access = history.all();
    assert_eq!((rights(&access, 3), rights(&access, 4)), (Some(Rights::Admin), None));
}

#[test]
fn what_a_struck_off_device_did_as_an_admin_beside_that_is_void() {
    let mut history = family(Rights::Admin);
    history.say(3, &[3], vec![admit(4, Rights::Write)]);
    history.say(2, &[3], vec![strike_off(1, 3, 1, 0)]);
    let access = history.all();
    assert_eq!((rights(&access, 4), rights(&access, 2)), (None, Some(Rights::Admin)));
    assert_eq!(history.ended(&access, 4), BTreeSet::from([(2, 2), (3, 1)]));
}

#[test]
fn a_device_that_left_comes_back_by_the_same_certificate() {
    let mut history = family(Rights::Write);
    history.say(3, &[3], vec![MetaRecord::Leave { grants: vec![version(2, 1)] }]);
    let access = history.all();
    assert_eq!(rights(&access, 3), None);
    assert!(access.is_former(&author(3).device) && !access.is_removed(&author(3).device));
    history.say(1, &[4], vec![enrol(1, 3, 1)]);
    assert!(history.may_hold_the_last());
    assert_eq!(rights(&history.all(), 3), Some(Rights::Write));
}

#[test]
fn what_is_said_already_or_of_a_user_without_a_grant_may_not_be_said() {
    let mut history = family(Rights::Write);
    let say = |history: &mut History, record| {
        history.say(2, &[3], vec![record]);
        let may = history.may_hold_the_last();
        if !may {
            history.0.pop();
        }
        may
    };
    assert!(!say(&mut history, enrol(1, 3, 1)), "enrolled already");
    assert!(!say(&mut history, enrol(2, 3, 1)), "nothing is granted to user 2");
    assert!(!say(&mut history, strike_off(2, 3, 1, 0)));
    assert!(say(&mut history, strike_off(1, 3, 1, 0)));
    assert!(!say(&mut history, strike_off(1, 3, 1, 9)), "struck off already");
    assert!(!say(&mut history, strike_off(1, 3, 0, 0)));
    assert!(say(&mut history, strike_off(1, 3, 2, 0)));
}

#[test]
fn a_user_has_no_more_certificates_than_there_is_room_for() {
    let mut history = family(Rights::Write);
    let mut number = 1;
    loop {
        number += 1;
        history.say(2, &[3], vec![enrol(1, 5, number)]);
        let fact = history.0.last().unwrap().clone();
        // All of them in one access, as judging each anew would take long.
        let before: Vec<usize> = (0..history.0.len() - 1).collect();
        if number.is_power_of_two() || number as usize + 4 > limits::MAX_ENROLMENTS_OF_USER {
            let (access, _) = history.taken(&before);
            if !access.may_say(&fact.past, &fact.says[0], None) {
                break;
            }
        }
        assert!(number < 2_000, "there is a bound");
    }
    // Two of the family, and those before this one.
    assert_eq!(number as usize, limits::MAX_ENROLMENTS_OF_USER);
}

#[test]
fn members_that_repeat_what_a_user_has_said_leave_room_for_more() {
    let mut history = family(Rights::Write);
    let members = 10..220;
    history.say(1, &[2], members.clone().map(|n| admit(n, Rights::Read)).collect());
    let let_in = history.0.len() - 1;
    for by in members.clone() {
        // Nobody has heard of another.
        for number in 1..=5 {
            history.say(by, &[let_in], vec![enrol(1, 5, number), strike_off(1, 6, number, 0)]);
        }
    }
    assert!(5 * members.len() > limits::MAX_ENROLMENTS_OF_USER);
    let heard: Vec<usize> = (0..history.0.len()).collect();
    history.say(2, &heard, vec![]);
    let (all, past) = (history.all(), history.0.last().unwrap().past.clone());
    assert!(!all.may_say(&past, &enrol(1, 5, 5), None), "said already");
    assert!(all.may_say(&past, &enrol(1, 5, 6), None));
    assert!(all.may_say(&past, &strike_off(1, 6, 6, 0), None));
}

/// Else one device that its own user certifies and strikes off again and again would cost everybody the product of both.
#[test]
fn a_certificate_ends_by_a_few_strikings_off_however_many_there_are() {
    let mut history = family(Rights::Write);
    // Several logs that do not know of one another.
    for by in 10..14 {
        history.say(1, &[2], vec![admit(by, Rights::Read)]);
        let let_in = history.0.len() - 1;
        for number in 1..=40 {
            history.say(by, &[let_in], vec![enrol(1, 3, number)]);
            history.say(by, &[let_in], vec![strike_off(1, 3, 40 + number, 0)]);
        }
    }
    let access = history.all();
    assert_eq!(rights(&access, 3), None);
    let device = author(3).device;
    let of_certificates = access.titles(&device).flat_map(|title| title.parts(device));
    let ends: Vec<usize> =
        of_certificates.map(|(holder, version)| access.judgement().ends(holder, &version).len()).collect();
    assert!(ends.len() > 160 && ends.iter().all(|ends| *ends <= 16), "{ends:?}");
}
