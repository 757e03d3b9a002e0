//! Which logs of a device are of a key that it has no more, and where these end (S-1).
//!
//! A device that takes another key goes on in other logs, so each log is of one key all its life. What a device has
//! written since, it shows to be of its new key in the first generation of each log: there stands the chain of its keys up to
//! the one that the log is of, and of each of its logs from before the last generation that stays, with the root there. A log
//! that says nothing is of the first key. How many keys come before its own follows from a log's name already
//! ([`Incarnation`]): so nobody who has an earlier key can sign anything under the name of a later log.
//!
//! ```text
//!   first key:    o──o──o──o │ ×──×        whoever has stolen the key can go on writing here, for nothing
//!                          │ │
//!   second key:            └─► K──o──o     K: "the second key is mine; of my first log four stay"
//! ```
//!
//! * That a chain holds follows from itself, and where the old logs end is said by the **new** key: who has the old one
//!   cannot move the end.
//! * A word counts where its device might be here when it said so, by whatever right, as a cut does: so who is removed, or has
//!   the key of somebody who is, undoes nothing by another key. It is judged when the turn comes of what gives that right.
//! * It undoes nothing that was given, ended or left by what lies in the past of an act of somebody **senior** who did not
//!   know of it: there others have built on it.
//! * Of several words of one key, as the device was set back and began anew, the one that leaves most counts. Of a key that
//!   has ended itself those logs have a say that were known to the key after it.
//! * If one key has signed for **two**, somebody has stolen it, and nobody can tell who. Then the one counts that was said
//!   first by its stamp, and of one stamp the one of the smaller version: the same everywhere, whatever arrived first. A
//!   thief can pretend to have been earlier. So of the logs before as much stays as either of them leaves, and
//!   [`Access::is_disputed`] tells admins of it, who can remove the device.
//!
//! A log that says so may be forked itself. Where that is so from its first generation on, others may have another one: what
//! it says does not count, and the device says it again in the log in which it writes the branch again.
//!
//! All other logs of the device are void from where they end: see [`super::judging`]. What may be *held* is judged by what
//! the past of a generation says of that, as all else.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::super::Rights;
use super::super::past::{Numbered, Past, PastIx};
use super::facts::Act;
use super::{Access, Source, Title};
use crate::hash::Tag;
use crate::id::{Author, DeviceId, Generation, Incarnation, PublicKey, Version};
use crate::keys::KeyChain;
use crate::log::record::Until;
use crate::object::history::Place;
use crate::time::Hlc;

/// What the logs of devices say of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keys(BTreeMap<DeviceId, BTreeMap<Incarnation, Word>>);

/// What the first generation of a log says of the device's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    place: Place,
    at: (Hlc, Version),
    /// The metadata in its past, itself included.
    past: PastIx,
    chain: KeyChain,
    /// What was drawn for the log's name.
    nonce: u64,
    /// Of each log, which branches stay, and how much of each.
    until: BTreeMap<Incarnation, BTreeSet<(Generation, Tag)>>,
}

/// The logs of devices that have had another key before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EndedLogs(BTreeMap<DeviceId, Line>);

/// The keys of a device that count.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    chain: KeyChain,
    /// The logs whose words count.
    heard: BTreeSet<Incarnation>,
    /// The logs of the key that it has now.
    current: BTreeSet<Incarnation>,
    /// Those that say that they are of a key by which it does not go.
    others: BTreeSet<Incarnation>,
    /// Of logs of earlier keys the last generation that stays; of those that are not named none.
    until: BTreeMap<Incarnation, Generation>,
    /// One of its keys has signed for two.
    is_disputed: bool,
    /// What it gives, ends or leaves so far is not undone, wherever its logs end: others have built on it.
    built: Past,
}

impl EndedLogs {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last generation of a log that stays; `None` if it has no end. One that says nothing yet, and by its name is of no
    /// earlier key, is about to say of which it is.
    pub(super) fn end(&self, author: &Author) -> Option<Generation> {
        let (line, log) = (self.0.get(&author.device)?, &author.incarnation);
        if line.others.contains(log) {
            return Some(0);
        }
        let until = || line.until.get(log).copied().unwrap_or(0);
        (log.rollovers() < line.chain.rollovers()).then(until)
    }

    /// Whether what a generation gives, ends or leaves is undone: it lies beyond the end of its log, and nobody senior who did
    /// not know that has built on it.
    pub(super) fn undoes(&self, author: &Author, place: Place) -> bool {
        self.has(author, place.1) && !self.0.get(&author.device).is_some_and(|line| line.built.has(place))
    }

    /// Whether a generation lies beyond the end of its log.
    pub(super) fn has(&self, author: &Author, generation: Generation) -> bool {
        self.end(author).is_some_and(|last| generation > last)
    }

    /// The devices of whose logs others stay than by another state of knowledge.
    pub(super) fn changed<'e>(&'e self, before: &'e Self) -> impl Iterator<Item = DeviceId> + 'e {
        let all = self.0.keys().chain(before.0.keys().filter(|device| !self.0.contains_key(device)));
        all.copied().filter(|device| self.0.get(device) != before.0.get(device))
    }

    /// The first generation of a log that stays by one of two states of knowledge and not by the other.
    pub(super) fn first_changed(&self, before: &Self, author: &Author) -> Option<Generation> {
        let (now, then) = (self.end(author), before.end(author));
        let least = now.into_iter().chain(then).min();
        least.filter(|_| now != then).map(|last| last.saturating_add(1))
    }
}

impl Word {
    /// The generation that says it, for whoever judges what its author might do there.
    pub(super) fn act(&self) -> Act {
        let (stamp, version) = self.at;
        Act { author: version.author, place: self.place, stamp, past: self.past, beside: Rights::Read }
    }
}

impl Keys {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The devices that have said something.
    pub(super) fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.0.keys()
    }

    /// What a device has said.
    pub(super) fn words(&self, device: &DeviceId) -> impl Iterator<Item = &Word> {
        self.0.get(device).into_iter().flat_map(BTreeMap::values)
    }

    /// The logs that say something.
    pub(super) fn logs(&self) -> impl Iterator<Item = Author> {
        let logs = self.0.iter();
        logs.flat_map(|(device, said)| said.keys().map(|log| Author { device: *device, incarnation: *log }))
    }

    /// Where all of it was said.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.0.values().flat_map(BTreeMap::values).map(|word| word.place)
    }

    /// Takes in what the first generation of a log says.
    pub(super) fn take(&mut self, from: Source, (chain, nonce): (&KeyChain, u64), until: &[Until]) {
        let (at, past) = ((from.stamp, from.version()), from.past);
        let mut word =
            Word { place: from.place, at, past, chain: chain.clone(), nonce, until: BTreeMap::new() };
        for Until { incarnation, last, tag } in until {
            word.until.entry(*incarnation).or_default().insert((*last, *tag));
        }
        self.0.entry(from.author.device).or_default().insert(from.author.incarnation, word);
    }

    /// What a log says; `None` if that is nothing.
    fn of(&self, author: &Author) -> Option<&Word> {
        self.0.get(&author.device)?.get(&author.incarnation)
    }
}

impl EndedLogs {
    /// Finds out anew which logs of a device end, by those of its words that count. `built` is what was built on.
    pub(super) fn hear(
        &mut self,
        keys: &Keys,
        device: DeviceId,
        (heard, built): (&BTreeSet<Incarnation>, Past),
        known: impl Fn(&Word) -> bool,
    ) {
        let Some(said) = keys.0.get(&device) else { return };
        let line = Line::of(said, heard, known).map(|line| (device, Line { built, ..line }));
        self.0.extend(line);
    }

    /// Forgets a device.
    pub(super) fn forget(&mut self, device: &DeviceId) {
        self.0.remove(device);
    }
}

impl Line {
    /// Finds what follows for the logs of a device from words that count; `None` if none does.
    fn of(
        all: &BTreeMap<Incarnation, Word>,
        heard: &BTreeSet<Incarnation>,
        known: impl Fn(&Word) -> bool,
    ) -> Option<Self> {
        let said: BTreeMap<_, _> = all.iter().filter(|(log, _)| heard.contains(log)).collect();
        let (chain, is_disputed) = counting(said.values().copied().collect())?;
        let on_line = |word: &Word| chain.starts_with(&word.chain);
        let by_key = said.iter().map(|(log, word)| (*log, *word));
        let (mut by_key, rivals): (Vec<_>, Vec<_>) = by_key.partition(|(_, word)| on_line(word));
        // The last key first: what it says decides which logs of the keys before have a say.
        by_key.sort_by_key(|(_, word)| core::cmp::Reverse(word.chain.rollovers()));
        // What is of another line is so whether or not its word counts. What goes on from this one is not.
        let is_other = |word: &Word| !on_line(word) && !word.chain.starts_with(&chain);
        let others = all.iter().filter(|(_, word)| is_other(word) && known(word)).map(|(log, _)| *log);
        let mut line = Self {
            heard: heard.clone(),
            current: BTreeSet::new(),
            others: others.collect(),
            until: BTreeMap::new(),
            is_disputed,
            built: Past::default(),
            chain: chain.clone(),
        };
        // Nobody can tell who the thief is: so neither leaves less than the other of what came before both.
        for (_, word) in rivals {
            line.leave(word, word.chain.common(&chain) + 1);
        }
        for (log, word) in by_key {
            let key = word.chain.rollovers();
            if key == chain.rollovers() {
                line.current.insert(*log);
            } else if line.until.get(log).is_none_or(|last| *last == 0) {
                continue;
            }
            line.leave(word, key);
        }
        Some(line)
    }

    /// Takes in how much a word leaves of the logs of the first keys, so many.
    fn leave(&mut self, word: &Word, keys: usize) {
        for (of, branches) in &word.until {
            if of.rollovers() < keys && !self.others.contains(of) {
                let known = self.until.entry(*of).or_default();
                *known = branches.last().map_or(*known, |(last, _)| (*known).max(*last));
            }
        }
    }

    /// Whether a word says something of a log of an earlier key: it counts, and its log is of the key that the device has now,
    /// or stays; or it is of another line that goes on from that key.
    fn has_a_say(&self, log: &Incarnation, word: &Word, of: &Incarnation) -> bool {
        let stays = || self.current.contains(log) || self.until.get(log).is_some_and(|last| *last > 0);
        let is_later = match self.chain.starts_with(&word.chain) {
            true => stays() && word.chain.rollovers() > of.rollovers(),
            false => word.chain.common(&self.chain) >= of.rollovers(),
        };
        self.heard.contains(log) && is_later
    }
}

/// The chain that counts, and whether there was a choice: from the first key on, at each step the key that was signed for.
fn counting(mut rest: Vec<&Word>) -> Option<(KeyChain, bool)> {
    let (mut counts, mut is_disputed) = (None, false);
    for step in 1.. {
        let mut next: BTreeMap<PublicKey, (Hlc, Version)> = BTreeMap::new();
        for word in &rest {
            if let Some(key) = word.chain.keys().nth(step) {
                let first = next.entry(key).or_insert(word.at);
                *first = word.at.min(*first);
            }
        }
        is_disputed |= next.len() > 1;
        let Some((key, _)) = next.into_iter().min_by_key(|(_, at)| *at) else { break };
        rest.retain(|word| word.chain.keys().nth(step) == Some(key));
        let longest = rest.iter().find(|word| word.chain.rollovers() == step);
        counts = longest.map(|word| &word.chain).or(counts);
    }
    counts.map(|chain| (chain.clone(), is_disputed))
}

impl Access {
    /// The keys of a device that has had others before, as far as that is known here.
    pub(crate) fn keys_of(&self, device: &DeviceId) -> Option<&KeyChain> {
        self.judgement.ended.0.get(device).map(|line| &line.chain)
    }

    /// Whether somebody who shows a chain has the key that the device has now, or a later one.
    pub(crate) fn is_current(&self, shown: &KeyChain) -> bool {
        self.keys_of(&shown.device()).is_none_or(|known| shown.starts_with(known))
    }

    /// The chain of which a log says that it is; `None` if it says nothing, and so is of the first key.
    pub(crate) fn key_of_log(&self, author: &Author) -> Option<&KeyChain> {
        self.keys.of(author).map(|word| &word.chain)
    }

    /// What was drawn for the name of a log of a later key than the first, as it says itself; 0 for another one.
    pub(crate) fn nonce_of(&self, author: &Author) -> u64 {
        self.keys.of(author).map_or(0, |word| word.nonce)
    }

    /// Whether one of a device's keys has signed for two that take its place: one of these is a thief's.
    pub(crate) fn is_disputed(&self, device: &DeviceId) -> bool {
        self.judgement.ended.0.get(device).is_some_and(|line| line.is_disputed)
    }

    /// Whether what a log says of its device's keys does not count, and would if it were said now: the device was let in by
    /// somebody since, who did not know of it or whose word ended what it was said by.
    pub(crate) fn says_in_vain(&self, pasts: Numbered<'_>, author: &Author) -> bool {
        let Some(word) = self.keys.of(author) else { return false };
        let device = &author.device;
        let line = self.judgement.ended.0.get(device);
        let counts = line.is_some_and(|line| line.heard.contains(&author.incarnation));
        let is_new = |title: &Title<'_>| {
            let past = pasts.get(word.past);
            !past.has(title.grant.place()) || title.enrolment.is_some_and(|it| !past.has(it.place()))
        };
        !counts && self.standing_titles(device).any(|(title, _)| is_new(&title))
    }

    /// Which branches of a log of an earlier key stay, by the word of later ones: of each up to which generation, and the tag
    /// of its tree there.
    pub(crate) fn stays(&self, author: &Author) -> impl Iterator<Item = (Generation, Tag)> {
        let line = self.judgement.ended.0.get(&author.device);
        let said = self.keys.0.get(&author.device).zip(line).into_iter();
        let log = author.incarnation;
        let counts = said.flat_map(move |(said, line)| {
            let counts = said.iter().filter(move |(of, word)| line.has_a_say(of, word, &log));
            counts.map(|(_, word)| word)
        });
        counts.filter_map(move |word| word.until.get(&log)).flatten().copied()
    }

    /// When and where it was said first that a log ends before one of its acts, and so undid that; `None` if nothing did. A
    /// word says nothing where another one of the same key is known that leaves the act.
    pub(super) fn what_undid(&self, author: &Author, act: Place) -> Option<(Hlc, Place)> {
        let line = self.judgement.ended.0.get(&author.device)?;
        if !self.judgement.ended.undoes(author, act) {
            return None;
        }
        let log = &author.incarnation;
        // Only a word on a later key than those which both have says that the log is of another line.
        let common = self.keys.of(author).map(|word| line.chain.common(&word.chain));
        let is_later = |word: &Word| common.is_some_and(|common| word.chain.rollovers() > common);
        let is_other =
            |word: &Word| line.others.contains(log) && line.chain.starts_with(&word.chain) && is_later(word);
        let words = self.keys.0.get(&author.device)?;
        let leaves = |word: &Word| {
            let mut branches = word.until.get(log).into_iter().flatten();
            branches.any(|(last, _)| *last >= act.1)
        };
        let left_by: Vec<&KeyChain> =
            words.values().filter(|word| leaves(word)).map(|word| &word.chain).collect();
        let says = words.iter().filter(|(of, word)| {
            line.heard.contains(of) && (line.has_a_say(of, word, log) || is_other(word))
        });
        let first = says.min_by_key(|(_, word)| (left_by.contains(&&word.chain), word.at));
        first.map(|(_, word)| (word.at.0, word.place))
    }

    /// Which words are known: all, or those in a past. Of what stands behind where a log is forked others may have another
    /// branch.
    pub(super) fn is_known_word(&self, known: Option<&Past>, word: &Word) -> bool {
        match known {
            Some(past) => past.has(word.place),
            None => !self.is_forked_word(&word.at.1.author),
        }
    }

    /// What follows from all words that are known, whether or not they count.
    pub(super) fn said_in(&self, known: Option<&Past>) -> EndedLogs {
        let mut ended = EndedLogs::default();
        let is_known = |word: &Word| self.is_known_word(known, word);
        for device in self.keys.devices() {
            let words = self.keys.words(device).filter(|word| is_known(word));
            let heard: BTreeSet<Incarnation> = words.map(|word| word.at.1.author.incarnation).collect();
            ended.hear(&self.keys, *device, (&heard, Past::default()), is_known);
        }
        ended
    }

    /// Whether a log begins in several ways.
    fn is_forked_word(&self, author: &Author) -> bool {
        self.fork(author).is_some_and(|(_, prefix)| prefix == 0)
    }

    /// Whether of some logs that say something of keys others may have another beginning.
    pub(super) fn has_forked_words(&self) -> bool {
        !self.forks.is_empty() && self.keys.logs().any(|author| self.is_forked_word(&author))
    }

    /// The last generation of a log that stays, if its key has ended.
    pub(crate) fn end_of(&self, author: &Author) -> Option<Generation> {
        self.judgement.ended.end(author)
    }

    /// Whether a generation lies beyond the end of a log whose key has ended.
    pub(crate) fn is_beyond_end(&self, author: &Author, generation: Generation) -> bool {
        self.judgement.ended.has(author, generation)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::crypto::{Ed25519, SecretKey, SignatureScheme};

    fn secret(n: u8) -> SecretKey {
        SecretKey([n; 32])
    }

    /// The chain of these keys.
    fn chain(keys: &[u8]) -> KeyChain {
        let first = KeyChain::new(Ed25519.public(&secret(keys[0])));
        keys.windows(2)
            .fold(first, |chain, two| chain.rolled_over(&secret(two[0]), &secret(two[1]), &Ed25519).unwrap())
    }

    /// A log, by a number of which the tens say of which key it is.
    fn log(n: u64) -> Author {
        let incarnation = Incarnation::of_key(n as usize / 10, n);
        Author { device: chain(&[1]).device(), incarnation }
    }

    /// What a log says: its number, when, its keys, and what stays.
    type Said<'s> = (u64, u64, &'s [u8], &'s [(u64, u64)]);

    fn take(keys: &mut Keys, (of, stamp, said, until): Said<'_>) {
        let from = Source {
            place: (of as u32, 1),
            author: log(of),
            stamp: Hlc(stamp),
            past: crate::syncgroup::past::NO_PAST,
            beside: Rights::Read,
        };
        let until = until.iter().map(|(of, last)| Until {
            incarnation: log(*of).incarnation,
            last: *last,
            tag: Tag::default(),
        });
        let until: Vec<_> = until.collect();
        keys.take(from, (&chain(said), of), &until);
    }

    /// What follows from all that is said.
    fn heard(keys: &Keys) -> EndedLogs {
        let mut ended = EndedLogs::default();
        for device in keys.devices() {
            let all = keys.words(device).map(|word| word.at.1.author.incarnation).collect();
            ended.hear(keys, *device, (&all, Past::default()), |_| true);
        }
        ended
    }

    /// Where each of some logs ends, whatever comes first.
    fn ends(said: &[Said<'_>], logs: &[u64]) -> Vec<Option<Generation>> {
        let found = |order: &[Said<'_>]| {
            let mut keys = Keys::default();
            order.iter().for_each(|it| take(&mut keys, *it));
            keys
        };
        let keys = found(said);
        for at in 0..said.len() {
            let mut order = said.to_vec();
            order.rotate_left(at);
            assert_eq!(found(&order), keys, "in another order");
            order.reverse();
            assert_eq!(found(&order), keys, "backwards");
        }
        let ended = heard(&keys);
        logs.iter().map(|it| ended.end(&log(*it))).collect()
    }

    #[test]
    fn a_log_ends_where_the_most_generous_word_of_a_later_key_says_that_stays_itself() {
        let two: Said<'_> = (11, 20, &[1, 2], &[(1, 3)]);
        let again: Said<'_> = (12, 30, &[1, 2], &[(1, 5), (11, 4)]);
        assert_eq!(ends(&[], &[1, 11]), [None, None]);
        assert_eq!(ends(&[two], &[1, 11, 9]), [Some(3), None, Some(0)]);
        assert_eq!(ends(&[two, again], &[1, 11, 12, 9]), [Some(5), None, None, Some(0)]);
        // The third key leaves nothing of the second one's later log: that has no say any more.
        let three: Said<'_> = (21, 40, &[1, 2, 3], &[(1, 2), (11, 6)]);
        assert_eq!(ends(&[two, again, three], &[1, 11, 12, 21]), [Some(3), Some(6), Some(0), None]);
        // Whoever has an ended key begins another log, and says that all stays: nobody asks.
        let thief: Said<'_> = (13, 50, &[1, 2], &[(1, 99), (11, 99)]);
        assert_eq!(ends(&[two, three, thief], &[1, 11, 13]), [Some(3), Some(6), Some(0)]);
    }

    #[test]
    fn a_log_of_the_present_key_or_a_later_one_has_no_end_before_it_says_anything() {
        let two: Said<'_> = (11, 20, &[1, 2], &[(1, 3)]);
        assert_eq!(ends(&[two], &[12, 21]), [None, None]);
        let three: Said<'_> = (21, 30, &[1, 2, 3], &[(1, 3), (11, 4)]);
        assert_eq!(ends(&[two, three], &[12, 22]), [Some(0), None]);
    }

    #[test]
    fn of_two_keys_for_one_the_first_counts_by_its_stamp_and_the_other_is_void() {
        let (owner, thief): (Said<'_>, Said<'_>) =
            ((11, 20, &[1, 2], &[(1, 3)]), (12, 21, &[1, 7], &[(1, 9)]));
        assert_eq!(ends(&[owner, thief], &[1, 11, 12]), [Some(9), None, Some(0)]);
        let early: Said<'_> = (12, 19, &[1, 7], &[(1, 9)]);
        assert_eq!(ends(&[owner, early], &[1, 11, 12]), [Some(9), Some(0), None]);
        // Whoever pretends to have been earlier leaves no less of what came before both.
        let mean: Said<'_> = (12, 19, &[1, 7], &[]);
        assert_eq!(ends(&[owner, mean], &[1, 11, 12]), [Some(3), Some(0), None]);
        // What only one of the lines has, the other has no say in.
        let third: Said<'_> = (21, 30, &[1, 2, 3], &[(1, 3), (11, 4), (12, 8)]);
        assert_eq!(ends(&[third, owner, mean], &[1, 11, 12, 21]), [Some(3), Some(0), None, Some(0)]);
        // A longer chain is no better: what counts is which key was first.
        let longer: Said<'_> = (31, 22, &[1, 7, 8, 9], &[(12, 5)]);
        assert_eq!(ends(&[owner, thief, longer], &[11, 12, 31]), [None, Some(0), Some(0)]);
        for (said, is_disputed) in [(vec![owner], false), (vec![owner, thief], true)] {
            let mut keys = Keys::default();
            said.into_iter().for_each(|it| take(&mut keys, it));
            assert_eq!(heard(&keys).0[&log(1).device].is_disputed, is_disputed);
        }
    }
}
