//! Counters: their values are decimal numbers, so that people and other programs can read them.

use alloc::string::ToString;

use bytes::Bytes;

/// Reads the value of a counter: a decimal number, with a sign or without. `None` if it is none.
///
/// ```
/// use driftless::counter;
/// assert_eq!(counter::parse(b"-12"), Some(-12));
/// assert_eq!(counter::parse(b"twelve"), None);
/// assert_eq!(counter::format(7), "7");
/// ```
pub fn parse(value: &[u8]) -> Option<i128> {
    core::str::from_utf8(value).ok()?.parse().ok()
}

/// Writes the value of a counter.
pub fn format(number: i128) -> Bytes {
    number.to_string().into()
}
