//! Inputs for a stable toolchain: no coverage guides them, so they start from valid ones.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The longest input made.
const MAX_LEN: usize = 16 << 10;
/// Values at which lengths, counts and variants tend to go wrong.
const EDGES: [u8; 8] = [0x00, 0x01, 0x7f, 0x80, 0x81, 0xfe, 0xff, b'\n'];

/// An endless stream of inputs: the seeds first, then mutations of them, some of them random from scratch. The
/// same number gives the same stream.
#[derive(Debug)]
pub struct Inputs {
    seeds: Vec<Vec<u8>>,
    rng: ChaCha8Rng,
    made: usize,
}

impl Inputs {
    /// The stream of this number over these seeds.
    pub fn new(seeds: Vec<Vec<u8>>, number: u64) -> Self {
        Self { seeds, rng: ChaCha8Rng::seed_from_u64(number), made: 0 }
    }

    fn below(&mut self, end: usize) -> usize {
        // The bias of a remainder does not matter here.
        (self.rng.next_u64() % end.max(1) as u64) as usize
    }

    fn random(&mut self) -> Vec<u8> {
        let scale = self.below(12);
        let len = self.below(1 << scale);
        let mut data = vec![0; len];
        self.rng.fill_bytes(&mut data);
        data
    }

    fn pick(&mut self) -> Vec<u8> {
        let at = self.below(self.seeds.len());
        self.seeds.get(at).cloned().unwrap_or_default()
    }

    fn change(&mut self, data: &mut Vec<u8>) {
        let at = self.below(data.len());
        let span = self.below(16).min(data.len() - at);
        match self.below(8) {
            0 => data.truncate(at),
            1 => drop(data.drain(at..at + span)),
            2 => {
                let piece = data[at..at + span].to_vec();
                data.splice(at..at, piece);
            }
            3 => {
                let other = self.pick();
                let from = self.below(other.len());
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
            4 => {
                let edge = EDGES[self.below(EDGES.len())];
                data.insert(at, edge);
            }
            5 if !data.is_empty() => data[at] = EDGES[self.below(EDGES.len())],
            6 if !data.is_empty() => data[at] ^= 1 << self.below(8),
            _ => {
                let noise = self.random();
                data.splice(at..at + span, noise.into_iter().take(16));
            }
        }
        data.truncate(MAX_LEN);
    }
}

impl Iterator for Inputs {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.made += 1;
        if let Some(seed) = self.seeds.get(self.made - 1) {
            return Some(seed.clone());
        }
        if self.made.is_multiple_of(16) {
            return Some(self.random());
        }
        let mut data = self.pick();
        for _ in 0..=self.below(6) {
            self.change(&mut data);
        }
        Some(data)
    }
}
