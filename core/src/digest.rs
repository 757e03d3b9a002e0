//! A digest of a core's state, for tools that recognise states they have seen.

use core::fmt::{self, Write};

use crate::core::Core;
use crate::time::Mono;

impl Core {
    /// A digest of everything in memory that decides what this core will do: equal for equal states, on every
    /// machine, for one version of this code.
    ///
    /// Moments of the monotonic clock count by their distance from `now`, and all that have passed count alike,
    /// so that two states which differ only in when they came about are one. Streams of random choices do not
    /// count: they decide the exact length of waits, and nonces. Hashes count by their first bytes, so this is no commitment against anybody.
    pub fn state_digest(&self, now: Mono) -> [u8; 16] {
        let mut digest = Relative { hasher: blake3::Hasher::new(), now, state: State::Elsewhere(0) };
        // A hasher takes everything.
        let _ = write!(digest, "{self:?}");
        let mut short = [0; 16];
        digest.hasher.finalize_xof().fill(&mut short);
        short
    }
}

/// What stands before a moment in the debug form of anything.
const MOMENT: &[u8] = b"Mono(";

/// Hashes a debug form, with moments as distances from now.
struct Relative {
    hasher: blake3::Hasher,
    now: Mono,
    state: State,
}

enum State {
    /// So many bytes of [`MOMENT`] have just passed.
    Elsewhere(usize),
    /// Within the digits of a moment.
    Moment(u64),
}

impl Write for Relative {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (index, byte) in text.bytes().enumerate() {
            match &mut self.state {
                State::Moment(moment) if byte.is_ascii_digit() => {
                    *moment = moment.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                    plain = index + 1;
                }
                State::Moment(moment) => {
                    let distance = moment.saturating_sub(self.now.0);
                    self.hasher.update(&distance.to_le_bytes());
                    self.state = State::Elsewhere(0);
                }
                State::Elsewhere(passed) => {
                    *passed = match MOMENT.get(*passed) {
                        Some(expected) if *expected == byte => *passed + 1,
                        _ => usize::from(MOMENT.first() == Some(&byte)),
                    };
                    if *passed == MOMENT.len() {
                        self.hasher.update(text.as_bytes().get(plain..=index).unwrap_or_default());
                        plain = index + 1;
                        self.state = State::Moment(0);
                    }
                }
            }
        }
        self.hasher.update(text.as_bytes().get(plain..).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(now: u64, what: &dyn fmt::Debug) -> blake3::Hash {
        let mut digest =
            Relative { hasher: blake3::Hasher::new(), now: Mono(now), state: State::Elsewhere(0) };
        write!(digest, "{what:?}").unwrap();
        digest.hasher.finalize()
    }

    #[test]
    fn moments_count_by_their_distance_from_now_and_all_else_as_it_is() {
        let state = |moment, other| (1, Some(Mono(moment)), "Mono", other);
        assert_eq!(digest(100, &state(250, 7)), digest(1_100, &state(1_250, 7)));
        assert_eq!(digest(300, &state(250, 7)), digest(400, &state(250, 7)));
        assert_ne!(digest(100, &state(250, 7)), digest(100, &state(251, 7)));
        assert_ne!(digest(100, &state(250, 7)), digest(1_100, &state(1_250, 8)));
    }
}
