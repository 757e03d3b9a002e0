//! Round numbers, which people read more easily than exact ones.

/// How hard a number is to read: its digits before the zeros at its end weigh most, then its length.
pub(super) fn roughness(number: u64) -> u64 {
    if number == 0 {
        return 0;
    }
    let (mut rest, mut length) = (number, 0);
    while rest > 0 {
        (rest, length) = (rest / 10, length + 1);
    }
    let mut digits = length;
    rest = number;
    while rest.is_multiple_of(10) {
        (rest, digits) = (rest / 10, digits - 1);
    }
    digits * 20 + length
}

/// Numbers to try instead of one, the best first: 0, 1, 2, 5, 10, 20 … up to somewhat above it.
pub(super) fn rounder(number: u64) -> Vec<u64> {
    let mut numbers = vec![0];
    let mut unit: u64 = 1;
    while unit <= number.saturating_mul(2) {
        numbers.extend([unit, 2 * unit, 5 * unit]);
        match unit.checked_mul(10) {
            Some(next) if next < u64::MAX / 10 => unit = next,
            _ => break,
        }
    }
    numbers.retain(|other| *other <= number.saturating_mul(2) && roughness(*other) < roughness(number));
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_and_short_numbers_are_easier() {
        let easier = [0, 1, 10, 500, 1_000, 40_000, 12, 120, 1_234, 9_999_999];
        assert!(easier.is_sorted_by_key(|number| roughness(*number)));
        assert!(rounder(0).is_empty());
        assert_eq!(rounder(1), [0]);
        assert_eq!(rounder(37), [0, 1, 2, 5, 10, 20, 50]);
        assert!(rounder(u64::MAX).iter().all(|other| roughness(*other) < roughness(u64::MAX)));
    }
}
