//! Which generations lie beyond the end of a key, said as plainly as possible (S-1).
//!
//! * A device that takes another key goes on in other logs, and says in the first generation of each of which keys it is,
//!   and how much stays of each log from before. A log that says nothing is of the first key.
//! * Such a word *counts* if its device might be here when it said so: by a grant that counts, that lies in its past, which
//!   its device had not left, and of which something is left for it. No word is judged by what its own device has said of
//!   keys.
//! * The device's *line* is the keys that it had, one after the other, by the words that count. Where they part, it is the
//!   one of which a word was stamped first.
//! * A log of keys that are not on the line, nor go on from it, ends before it begins. A log of earlier keys on the line ends
//!   where the most generous word says of a later one that itself stays; or of another line, as far as it has keys in common
//!   with this one. One that no such word names ends before it begins.
//! * What is said beyond the end of a log does not count, nor what it grants, ends or leaves: unless somebody *senior* who did not
//!   know of any of these words has built on it.
//! * What is judged first is judged by the words of which that may hang: whoever acts by a grant that makes it an admin has its
//!   words judged when the turn of that grant comes, by this one, those before it, and lesser ones that admins gave; and in
//!   the end by all.

use std::collections::BTreeMap;

use driftless::{Author, DeviceId, Knowledge, PublicKey, Rights, Version};

use super::access::{For, Grant, Seniority, Way};
use super::{Group, holds};

/// What a log says of its key: the keys that its device has had up to that, and what stays of the device's other logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rolled {
    /// The keys after the first one; the last is that of the log.
    pub keys: Vec<PublicKey>,
    /// The last generation that stays of each log.
    pub until: Knowledge,
}

/// When something is judged: at the turn of a grant that makes an admin, or in the end.
pub(super) type Turn = Option<Seniority>;

/// By which words on keys it is judged what was left and who let in others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// By those that count.
    Judged,
    /// As if all counted, and undid no act: so it is judged which do.
    AsSaid,
}

/// The words of a device, each with the log that says it.
type Said<'g> = BTreeMap<Author, (&'g Version, &'g Rolled)>;

/// The keys of a device that count.
struct Line<'g> {
    of: &'g Group,
    keys: &'g [PublicKey],
    /// The words that count.
    heard: Said<'g>,
    /// All that are known.
    known: Said<'g>,
}

impl Line<'_> {
    /// How much stays of a log; `None` if it has no end.
    fn end(&self, log: &Author) -> Option<u64> {
        let known = self.known.get(log).map_or(&[][..], |(_, word)| &word.keys);
        if !self.keys.starts_with(known) && !known.starts_with(self.keys) {
            return Some(0);
        }
        // How many keys come before its own its name tells, whether or not it is known which.
        let before = self.of.word(log).map_or(0, |word| word.keys.len());
        (before < self.keys.len()).then(|| {
            let later = self.heard.iter().filter(|(by, (_, word))| match self.keys.starts_with(&word.keys) {
                true => word.keys.len() > before && self.end(by) != Some(0),
                false => in_common(&word.keys, self.keys) >= before,
            });
            later.filter_map(|(_, (_, word))| word.until.get(log).copied()).max().unwrap_or(0)
        })
    }
}

/// With how many keys both begin.
fn in_common(one: &[PublicKey], other: &[PublicKey]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

impl Group {
    /// What a log says of its key.
    fn word(&self, log: &Author) -> Option<&Rolled> {
        self.generations.get(&Version { author: *log, generation: 1 })?.rolled.as_ref()
    }

    /// The words of a device in a set of generations.
    fn words(&self, device: &DeviceId, known: &Knowledge) -> Said<'_> {
        let said = self.rolled.iter().filter(|by| by.author.device == *device && holds(known, by));
        said.filter_map(|by| Some((by.author, (by, self.generations.get(by)?.rolled.as_ref()?)))).collect()
    }

    /// The line of a device by some of its words, if there are any.
    fn line<'g>(&'g self, heard: Said<'g>, known: Said<'g>) -> Option<Line<'g>> {
        let said_at = |by: &Version| self.generations.get(by).map(|it| (it.stamp, *by));
        let mut on_line: Vec<_> = heard.values().copied().collect();
        for key in 0.. {
            let going_on = on_line.iter().filter(|(_, word)| word.keys.len() > key);
            let Some((_, first)) = going_on.min_by_key(|(by, _)| said_at(by)).copied() else { break };
            let next = first.keys[key];
            on_line.retain(|(_, word)| word.keys.get(key).is_none_or(|it| *it == next));
        }
        let keys = on_line.iter().map(|(_, word)| &word.keys[..]).max_by_key(|keys| keys.len())?;
        Some(Line { of: self, keys, heard, known })
    }

    /// The line of a device, where some facts are known, at a turn.
    fn line_at(&self, device: &DeviceId, known: &Knowledge, turn: Turn) -> Option<Line<'_>> {
        let words = self.words(device, known);
        let mut heard = words.clone();
        heard.retain(|_, (by, _)| self.word_counts(by, known, turn));
        self.line(heard, words)
    }

    /// Whether a device might be here when it said something of keys, as far as that is known at a turn.
    fn word_counts(&self, word: &Version, known: &Knowledge, turn: Turn) -> bool {
        let Some(said) = self.generations.get(word) else { return false };
        let at = For::generation((word.author, word.generation), said.moment());
        let device = &word.author.device;
        let ways = self.ways(device).into_iter().filter(|way| {
            way.is_in(&said.past) && !self.has_departed(way.given(), device, &said.past, |_| true)
        });
        let ways: Vec<Way<'_>> = ways.collect();
        let is_left = |way: &Way<'_>, above| {
            self.left_above(way, known, above, at).is_some_and(|left| left.at(said.moment()).is_some())
        };
        let makes_admin = |grant: &Grant<'_>| grant.gives.rights == Rights::Admin;
        let here = self.ways(device).into_iter().filter(|way| makes_admin(&way.grant) && way.is_in(known));
        // What is judged at a turn must not hang on what is judged later.
        let mut turns = here.filter_map(|way| match turn {
            Some(turn) if turn.1 == *way.grant.by => Some(turn),
            _ => self.seniority_below(&way.grant, known, turn),
        });
        let at_a_turn = turns.any(|turn| {
            ways.iter().any(|way| {
                let counts = match makes_admin(&way.grant) {
                    true => turn.1 == *way.grant.by,
                    false => self.authority(way.grant.by, known, Some(turn)).is_some(),
                };
                counts && is_left(way, Some(turn))
            })
        });
        let in_the_end = || {
            ways.iter().any(|way| {
                let counted = self.counted_by(&way.grant, known, Words::AsSaid);
                counted.is_some_and(|senior| is_left(way, senior.filter(|_| makes_admin(&way.grant))))
            })
        };
        at_a_turn || turn.is_none() && in_the_end()
    }

    /// Whether a generation lies beyond the end of its log, where some words are known.
    pub(super) fn is_ended(&self, version: &Version, known: &Knowledge) -> bool {
        self.is_ended_at(version, known, None)
    }

    fn is_ended_at(&self, version: &Version, known: &Knowledge, turn: Turn) -> bool {
        let line = self.line_at(&version.author.device, known, turn);
        line.and_then(|line| line.end(&version.author)).is_some_and(|end| version.generation > end)
    }

    /// Whether what a generation grants, ends or leaves is undone: it lies beyond the end of its log, and nobody senior who did
    /// not know that has built on it.
    pub(super) fn is_undone(&self, version: &Version, known: &Knowledge, turn: Turn) -> bool {
        let Some(line) = self.line_at(&version.author.device, known, turn) else { return false };
        let is_ended = line.end(&version.author).is_some_and(|end| version.generation > end);
        is_ended && !self.is_built_on(version, known, (&line, turn))
    }

    /// Whether somebody senior to its device has built on it: of an admin, by the grant at whose turn it was heard first.
    fn is_built_on(&self, version: &Version, known: &Knowledge, (line, turn): (&Line<'_>, Turn)) -> bool {
        let turn = turn.or_else(|| self.first_turn(&version.author.device, known));
        let acts =
            self.facts().filter(|(by, _)| holds(known, by) && by.author.device != version.author.device);
        let acts = acts
            .filter(|(by, it)| it.says.grants(&by.author.device).is_some() || !it.says.revokes().is_empty());
        acts.filter(|(_, it)| holds(&it.past, version)).any(|(by, it)| {
            !line.heard.values().any(|(word, _)| holds(&it.past, word))
                && self.authority(by, known, turn).is_some()
        })
    }

    /// The first turn at which a word of a device counts; `None` if it does at none.
    fn first_turn(&self, device: &DeviceId, known: &Knowledge) -> Turn {
        let ways = self.ways(device).into_iter();
        let here = ways.filter(|way| way.grant.gives.rights == Rights::Admin && way.is_in(known));
        let turns = here.filter_map(|way| self.seniority_below(&way.grant, known, None));
        let words = self.words(device, known);
        turns.filter(|turn| words.values().any(|(by, _)| self.word_counts(by, known, Some(*turn)))).min()
    }

    /// Whether a generation lies beyond the end of its log by all words in a set of generations, whether or not they count.
    pub(super) fn is_said_to_be_ended(&self, version: &Version, known: &Knowledge) -> bool {
        let words = self.words(&version.author.device, known);
        let line = self.line(words.clone(), words);
        line.and_then(|line| line.end(&version.author)).is_some_and(|end| version.generation > end)
    }

    /// Whether a log has said of which key it is, where somebody knows something, and that does not count, though its device
    /// has been let in since in a way that counts.
    pub(super) fn says_in_vain(&self, log: &Author, known: &Knowledge) -> bool {
        let said = self.words(&log.device, known);
        let Some(((by, _), past)) =
            said.get(log).and_then(|it| Some((it, &self.generations.get(it.0)?.past)))
        else {
            return false;
        };
        let ways = self.ways(&log.device).into_iter();
        let mut new = ways.filter(|way| way.is_in(known) && !way.is_in(past));
        !self.word_counts(by, known, None) && new.any(|way| self.counted(&way.grant, known).is_some())
    }

    /// The keys of a device after its first one, by a set of generations.
    pub(super) fn keys_of(&self, device: &DeviceId, known: &Knowledge) -> Option<&[PublicKey]> {
        self.line_at(device, known, None).map(|line| line.keys)
    }
}

#[cfg(test)]
mod tests {
    use driftless::{Hlc, Incarnation, Rights, SyncgroupId};

    use super::*;
    use crate::model::{Fact, Generation, Granted, Model, Revoked, Whom};

    const GROUP: SyncgroupId = SyncgroupId([1; 32]);
    const DEVICE: DeviceId = DeviceId([1; 16]);

    fn version(log: u64, generation: u64) -> Version {
        let author = Author { device: DEVICE, incarnation: Incarnation(log) };
        Version { author, generation }
    }

    /// What another device, of whose key nothing is said, has written.
    fn other(number: u8, generation: u64) -> Version {
        let author = Author { device: DeviceId([number; 16]), incarnation: Incarnation(0) };
        Version { author, generation }
    }

    fn vector(past: &[Version]) -> Knowledge {
        past.iter().map(|it| (it.author, it.generation)).collect()
    }

    fn add(model: &mut Model, it: Version, past: &[Version], says: Fact) {
        model.record(GROUP, it, Generation { past: vector(past), says, ..Generation::default() });
    }

    /// The second device lets in the first one, to write.
    fn begun() -> Model {
        let mut model = Model::default();
        add(&mut model, other(2, 1), &[], Fact::Begins);
        let granted = Granted::for_ever(Rights::Write);
        add(&mut model, other(2, 2), &[other(2, 1)], Fact::Admits(DEVICE, granted));
        model
    }

    /// What a log says: its number, when, its keys after the first one, what stays.
    type Word<'w> = (u64, u64, &'w [u8], &'w [(u64, u64)]);

    fn says(model: &mut Model, (log, stamp, keys, until): Word<'_>, past: &[Version]) {
        let until = until.iter().map(|(log, last)| (version(*log, 1).author, *last)).collect();
        let rolled = Some(Rolled { keys: keys.iter().map(|key| PublicKey([*key; 32])).collect(), until });
        let (past, stamp) = (vector(past), Some(Hlc(stamp << 16)));
        model.record(GROUP, version(log, 1), Generation { past, stamp, rolled, ..Generation::default() });
    }

    /// Whether a generation is ended where the words of these logs are known.
    fn is_ended(model: &Model, it: Version, logs: &[u64]) -> bool {
        let mut known = vector(&[other(2, 9)]);
        known.extend(logs.iter().map(|log| (version(*log, 1).author, 1)));
        model.groups[&GROUP].is_ended(&it, &known)
    }

    #[test]
    fn the_most_generous_word_of_a_later_key_that_stays_says_where_a_log_ends() {
        let mut model = begun();
        let admitted = [other(2, 2)];
        says(&mut model, (2, 20, &[2], &[(1, 3)]), &admitted);
        says(&mut model, (3, 30, &[2], &[(1, 5)]), &admitted);
        let of = |model: &Model, it, logs: &[u64]| is_ended(model, it, logs);
        assert!(!of(&model, version(1, 9), &[]));
        assert!(!of(&model, version(1, 3), &[2]) && of(&model, version(1, 4), &[2]));
        assert!(!of(&model, version(1, 5), &[2, 3]) && of(&model, version(1, 6), &[2, 3]));
        assert!(of(&model, version(7, 1), &[2]), "a log that no word names");
        // The second key ends as well, and of its second log nothing stays.
        says(&mut model, (4, 40, &[2, 3], &[(1, 2), (2, 1)]), &admitted);
        assert!(!of(&model, version(1, 3), &[2, 3, 4]) && of(&model, version(1, 4), &[2, 3, 4]));
        assert!(of(&model, version(3, 1), &[2, 3, 4]) && !of(&model, version(2, 1), &[2, 3, 4]));
        assert!(!of(&model, version(4, 1), &[2, 3, 4]));
    }

    #[test]
    fn of_two_keys_for_one_the_first_counts_and_of_what_came_before_both_stays_what_either_leaves() {
        let mut model = begun();
        let admitted = [other(2, 2)];
        says(&mut model, (2, 20, &[2], &[(1, 3)]), &admitted);
        says(&mut model, (3, 30, &[7], &[(1, 5)]), &admitted);
        assert!(!is_ended(&model, version(2, 1), &[2, 3]) && is_ended(&model, version(3, 1), &[2, 3]));
        assert!(!is_ended(&model, version(1, 5), &[2, 3]) && is_ended(&model, version(1, 6), &[2, 3]));
        says(&mut model, (4, 10, &[8], &[]), &admitted);
        assert!(is_ended(&model, version(2, 1), &[2, 3, 4]) && !is_ended(&model, version(4, 1), &[2, 3, 4]));
        assert!(
            !is_ended(&model, version(1, 5), &[2, 3, 4]),
            "whoever pretends to be the first leaves no less"
        );
    }

    #[test]
    fn a_word_counts_where_its_device_might_be_here() {
        let mut model = begun();
        let revoked = Revoked {
            whom: Whom::Device(DEVICE),
            grants: [other(2, 2)].into(),
            keep: None,
            until: vector(&[version(1, 4)]),
        };
        add(&mut model, other(2, 3), &[other(2, 2)], Fact::Revokes(vec![revoked]));
        says(&mut model, (2, 20, &[2], &[]), &[other(2, 2)]);
        assert!(!is_ended(&model, version(1, 4), &[2]), "who is removed undoes nothing");
        let mut model = begun();
        says(&mut model, (2, 20, &[2], &[]), &[other(2, 1)]);
        assert!(!is_ended(&model, version(1, 4), &[2]), "nor who was not let in yet");
        let mut model = begun();
        add(&mut model, version(1, 1), &[other(2, 2)], Fact::Leaves);
        says(&mut model, (2, 20, &[2], &[]), &[other(2, 2), version(1, 1)]);
        assert!(!is_ended(&model, version(1, 1), &[2]), "nor who knew that it had left");
        let mut model = begun();
        says(&mut model, (2, 20, &[2], &[]), &[other(2, 2)]);
        assert!(is_ended(&model, version(1, 4), &[2]));
    }

    #[test]
    fn a_word_undoes_nothing_on_which_a_senior_has_built() {
        let mut model = Model::default();
        let admin = Granted::for_ever(Rights::Admin);
        let reader = |number| Fact::Admits(DeviceId([number; 16]), Granted::for_ever(Rights::Read));
        add(&mut model, other(2, 1), &[], Fact::Begins);
        add(&mut model, other(2, 2), &[other(2, 1)], Fact::Admits(DEVICE, admin));
        add(&mut model, version(1, 1), &[other(2, 2)], reader(5));
        add(&mut model, version(1, 2), &[version(1, 1), other(2, 2)], reader(6));
        says(&mut model, (2, 20, &[2], &[]), &[other(2, 2)]);
        let member = |model: &Model, number| model.is_member(&GROUP, &DeviceId([number; 16]), None);
        assert!(!member(&model, 5) && !member(&model, 6));
        add(&mut model, other(2, 3), &[other(2, 2), version(1, 1)], reader(7));
        assert!(member(&model, 5) && !member(&model, 6) && member(&model, 7));
        assert!(model.is_void_in_the_end(&GROUP, &version(1, 1)), "it ends all the same");
        // Who knew of it has not built on that.
        add(&mut model, other(2, 4), &[other(2, 3), version(1, 2), version(2, 1)], reader(8));
        assert!(!member(&model, 6));
    }
}
