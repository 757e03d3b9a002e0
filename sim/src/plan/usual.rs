//! What steps usually say, and therefore need not. Like the [calm](super::calm) setup this is part of the format
//! of kept plans, and stays.

use driftless::Rights;

const A_DAY: u64 = 24 * 3_600_000;

pub(super) fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

pub(super) fn one() -> u8 {
    1
}

pub(super) fn is_one(number: &u8) -> bool {
    *number == 1
}

pub(super) fn write() -> Rights {
    Rights::Write
}

pub(super) fn is_write(rights: &Rights) -> bool {
    *rights == Rights::Write
}

pub(super) fn a_day() -> u64 {
    A_DAY
}

pub(super) fn is_a_day(millis: &u64) -> bool {
    *millis == A_DAY
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn is_yes(it: &bool) -> bool {
    *it
}

pub(super) fn is_false(it: &bool) -> bool {
    !*it
}
