//! Which generations lie beyond the end of a key, said as plainly as possible (S-1).
//!
//! * A device that takes another key goes on in other logs, and says in the first generation of each of which key that is,
//!   and how much stays of each log from before. A log that says nothing is of the first key.
//! * The device's key, where some of that is known, is the latest of which something is known.
//! * Of a log of an earlier key there stays what is left by the most generous word of a later one that itself stays; of one
//!   that no word names, nothing.

use std::collections::BTreeMap;

use driftless::{Author, DeviceId, Knowledge, Version};

use super::{Group, holds};

/// What a log says of its key: how many its device had before, and what stays of the device's other logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rolled {
    /// How many keys the device had before this one.
    pub key: usize,
    /// The last generation that stays of each log.
    pub until: Knowledge,
}

impl Group {
    /// What a log says of its key.
    fn word(&self, author: &Author) -> Option<&Rolled> {
        self.generations.get(&Version { author: *author, generation: 1 })?.rolled.as_ref()
    }

    /// Whether a generation lies beyond the end of its key, where some words are known.
    pub(super) fn is_ended(&self, version: &Version, known: &Knowledge) -> bool {
        let device = version.author.device;
        let words: BTreeMap<Author, &Rolled> = self
            .rolled
            .iter()
            .filter(|by| by.author.device == device && holds(known, by))
            .filter_map(|by| Some((by.author, self.word(&by.author)?)))
            .collect();
        let Some(latest) = words.values().map(|word| word.key).max() else { return false };
        let key = self.word(&version.author).map_or(0, |word| word.key);
        key < latest && version.generation > self.end(&version.author, key, &words)
    }

    /// How many keys a device had before the latest of which something is known.
    pub(super) fn latest_key(&self, device: &DeviceId, known: &Knowledge) -> Option<usize> {
        let words = self.rolled.iter().filter(|by| by.author.device == *device && holds(known, by));
        words.filter_map(|by| Some(self.word(&by.author)?.key)).max()
    }

    /// How much stays of a log of an earlier key.
    fn end(&self, author: &Author, key: usize, words: &BTreeMap<Author, &Rolled>) -> u64 {
        let latest = words.values().map(|word| word.key).max().unwrap_or(0);
        let later = words.iter().filter(|(_, word)| word.key > key);
        let stays = later.filter(|(by, word)| word.key == latest || self.end(by, word.key, words) > 0);
        stays.filter_map(|(_, word)| word.until.get(author).copied()).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use driftless::{Incarnation, SyncgroupId};

    use super::*;
    use crate::model::{Generation, Model};

    const GROUP: SyncgroupId = SyncgroupId([1; 32]);

    fn version(log: u64, generation: u64) -> Version {
        let author = Author { device: DeviceId([1; 16]), incarnation: Incarnation(log) };
        Version { author, generation }
    }

    fn says(model: &mut Model, log: u64, key: usize, until: &[(u64, u64)]) {
        let until = until.iter().map(|(log, last)| (version(*log, 1).author, *last)).collect();
        let rolled = Some(Rolled { key, until });
        model.record(GROUP, version(log, 1), Generation { rolled, ..Generation::default() });
    }

    #[test]
    fn the_most_generous_word_of_a_later_key_that_stays_says_where_a_log_ends() {
        let mut model = Model::default();
        says(&mut model, 2, 1, &[(1, 3)]);
        says(&mut model, 3, 1, &[(1, 5)]);
        let of = |model: &Model, it, logs: &[u64]| {
            let known = logs.iter().map(|log| (version(*log, 1).author, 1)).collect();
            model.groups[&GROUP].is_ended(&it, &known)
        };
        assert!(!of(&model, version(1, 9), &[]));
        assert!(!of(&model, version(1, 3), &[2]) && of(&model, version(1, 4), &[2]));
        assert!(!of(&model, version(1, 5), &[2, 3]) && of(&model, version(1, 6), &[2, 3]));
        assert!(of(&model, version(7, 1), &[2]), "a log that no word names");
        // The second key ends as well, and of its second log nothing stays.
        says(&mut model, 4, 2, &[(1, 2), (2, 1)]);
        assert!(!of(&model, version(1, 3), &[2, 3, 4]) && of(&model, version(1, 4), &[2, 3, 4]));
        assert!(of(&model, version(3, 1), &[2, 3, 4]) && !of(&model, version(2, 1), &[2, 3, 4]));
        assert!(!of(&model, version(4, 1), &[2, 3, 4]));
    }
}
