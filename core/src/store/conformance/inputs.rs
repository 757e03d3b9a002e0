//! What the checks write: keys that are easy to get wrong, and random commits.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use crate::store::{Table, Write};

/// Keys next to each other in awkward ways.
pub(super) fn awkward_keys() -> Vec<Bytes> {
    let mut long = vec![b'a'; 1_100];
    let mut keys: Vec<Vec<u8>> = [
        &b""[..],
        b"\x00",
        b"\x00\x00",
        b"\x01",
        b"a",
        b"a\x00",
        b"a\xff",
        b"aa",
        b"ab",
        b"b",
        b"\x7f",
        b"\x80",
        b"\xfe",
        b"\xff",
        b"\xff\x00",
        b"\xff\xff",
        b"\xff\xff\xff",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    keys.push(long.clone());
    long.push(0);
    keys.push(long);
    keys.push(vec![0xff; 1_100]);
    keys.into_iter().map(Bytes::from).collect()
}

/// Up to six writes, one for each (table, key), over so few keys that they meet.
pub(super) fn random_writes(rng: &mut ChaCha8Rng) -> Vec<Write> {
    let mut writes = Vec::<Write>::new();
    for _ in 0..below(rng, 7) {
        let (table, key) = (pick(rng, &Table::ALL), random_key(rng));
        let size = [0, 1, 30, 200, 5_000].get(below(rng, 5)).copied().unwrap_or(1);
        let value = (below(rng, 4) > 0).then(|| random_bytes(rng, size));
        if !writes.iter().any(|write| write.table == table && write.key == key) {
            writes.push(Write { table, key, value });
        }
    }
    writes
}

pub(super) fn random_key(rng: &mut ChaCha8Rng) -> Bytes {
    let mut key = Vec::new();
    for _ in 0..below(rng, 4) {
        key.push(pick(rng, b"\x00a\xff"));
    }
    Bytes::from(key)
}

pub(super) fn random_bytes(rng: &mut ChaCha8Rng, size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    rng.fill_bytes(&mut bytes);
    Bytes::from(bytes)
}

/// A number from 0 up to, not including, `end`, which is small.
#[allow(clippy::cast_possible_truncation, reason = "the ends are small")]
pub(super) fn below(rng: &mut ChaCha8Rng, end: usize) -> usize {
    (rng.next_u32() as usize).checked_rem(end).unwrap_or(0)
}

#[allow(clippy::indexing_slicing, reason = "the choices are constants, none of them empty")]
pub(super) fn pick<T: Copy>(rng: &mut ChaCha8Rng, choices: &[T]) -> T {
    choices[below(rng, choices.len())]
}
