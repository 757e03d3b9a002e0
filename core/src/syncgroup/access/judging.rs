//! One pass over all that admins have said, from the creator down.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::super::Rights;
use super::super::past::{Numbered, Past};
use super::cuts::Cuts;
use super::facts::{Act, Departure, Standing};
use super::keys::{EndedLogs, Word};
use super::taken::Taken;
use super::{Access, At, Ended, Grant, Holder, Nth, Revocation, Title};
use crate::id::{Author, DeviceId, Generation, Incarnation, UserId, Version};
use crate::object::history::Place;
use crate::store::key::AuthorIx;

/// The rank of a grant of `Admin`: how many grants lie between it and the creator's, and its version. The less, the
/// higher.
pub(crate) type Rank = (u32, Version);

/// Which acts are void, which revocations end which grants and certificates, and what was written again. Without any of
/// that it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    void: BTreeSet<Place>,
    ends: BTreeMap<(Holder, Version), Vec<Nth>>,
    /// What of all that keeps members from letting in somebody. Without anything that is granted to everybody it is empty.
    pub(super) taken: Taken,
    /// What was written again elsewhere, where that counts. What may be *held* does not hang on it, so it is empty where
    /// that is judged.
    cuts: Cuts,
    /// The logs whose key has ended.
    pub(super) ended: EndedLogs,
}

impl Judgement {
    /// Whether everything counts that was allowed when it was written.
    pub(crate) fn is_clean(&self) -> bool {
        self.void.is_empty() && self.ends.is_empty() && self.cuts.is_empty() && self.ended.is_empty()
    }

    /// Whether a generation was written again elsewhere, or lies beyond the end of its log.
    pub(crate) fn is_cut(&self, author: &Author, generation: Generation) -> bool {
        self.cuts.has(author, generation) || self.ended.has(author, generation)
    }

    /// The first generation of a log that was written again elsewhere.
    pub(super) fn first_cut(&self, author: &Author) -> Option<Generation> {
        self.cuts.first(author)
    }

    /// The logs whose key has ended.
    pub(super) fn ended(&self) -> &EndedLogs {
        &self.ended
    }

    /// An act counts after all.
    pub(super) fn count(&mut self, act: &Place) {
        self.void.remove(act);
    }

    /// An act does not count.
    pub(super) fn make_void(&mut self, act: Place) {
        self.void.insert(act);
    }

    /// Whether an act is void.
    pub(super) fn is_void(&self, act: &Place) -> bool {
        self.void.contains(act)
    }

    /// The revocations that count for a grant or a certificate.
    pub(super) fn ends(&self, holder: Holder, version: &Version) -> &[Nth] {
        if self.ends.is_empty() {
            return &[];
        }
        self.ends.get(&(holder, *version)).map_or(&[], Vec::as_slice)
    }
}

/// The ranks of grants of `Admin`.
pub(crate) type Ranks = BTreeMap<(Holder, Version), Rank>;

impl Access {
    /// Judges by what is known: by all, or by the facts in a past alone.
    pub(super) fn judged(&self, pasts: Numbered<'_>, known: Option<&Past>) -> Judgement {
        let is_known = |revocation: &Revocation| known.is_none_or(|past| past.has(revocation.by));
        let mut words = self.keys.places();
        let is_any_said = words.any(|place| known.is_none_or(|past| past.has(place)));
        let mut judgement = match is_any_said || self.revocations.values().any(is_known) {
            true => Court::new(self, pasts, known).sit().0,
            false => Judgement::default(),
        };
        if known.is_none() {
            judgement.cuts = self.cuts_by(&judgement, pasts);
        }
        judgement
    }

    /// The ranks of grants, by all that is known.
    pub(crate) fn ranks(&self, pasts: Numbered<'_>) -> Ranks {
        Court::new(self, pasts, None).sit().1
    }

    /// The devices of which something may count that did not, or the other way round. `before` is what was thought before
    /// `cause` came: nothing that was held builds on that, so what it gives, and whether it counts itself, is not asked.
    pub(crate) fn judged_anew(&self, before: &Judgement, cause: Place) -> BTreeSet<DeviceId> {
        let (now, new) = (&self.judgement, self.version_of(cause));
        let all = before.ends.keys().chain(now.ends.keys()).filter(|(_, version)| Some(*version) != new);
        let changed = all.filter(|key| before.ends.get(key) != now.ends.get(key));
        let mut holders: BTreeSet<Holder> = changed.map(|(holder, _)| *holder).collect();
        let void = before.void.symmetric_difference(&now.void);
        let void: BTreeSet<&Place> = void.filter(|place| **place != cause).collect();
        if !void.is_empty() {
            let is_given = |grants: &[Grant]| grants.iter().any(|it| void.contains(&it.place()));
            let devices = self.standings.iter().filter(|(_, standing)| is_given(&standing.grants));
            holders.extend(devices.map(|(device, _)| Holder::Device(*device)));
            let users = self.users.iter().filter(|(_, user)| is_given(&user.grants));
            holders.extend(users.map(|(user, _)| Holder::User(*user)));
        }
        let mut devices: BTreeSet<DeviceId> =
            now.cuts.changed(&before.cuts).map(|author| author.device).collect();
        // Whom a member may let in is not for its own grants alone to say.
        let acting = self.acts.authors().filter(|(ix, _)| void.iter().any(|(author, _)| author == ix));
        devices.extend(acting.map(|(_, author)| author.device));
        devices.extend(now.ended.changed(&before.ended));
        for holder in holders {
            match holder {
                Holder::Device(device) | Holder::DeviceOf(_, device) => devices.extend([device]),
                Holder::User(user) => devices.extend(self.devices_of(&user)),
                Holder::Everybody => {}
            }
        }
        devices
    }

    /// The generations of an author's log, of so many, of which that may be so.
    pub(crate) fn judged_anew_of(
        &self,
        before: &Judgement,
        (author, held): (&Author, Generation),
        cause: Place,
    ) -> Vec<RangeInclusive<Generation>> {
        let now = &self.judgement;
        if self.departs_anew(before, &author.device) {
            return alloc::vec![1..=held];
        }
        if now.void != before.void || now.ends != before.ends {
            let first = self.first_judged_anew(before, author, cause);
            return first.map(|first| first..=held).into_iter().collect();
        }
        if let Some(first) = now.ended.first_changed(&before.ended, author) {
            let cut = self.cut_anew(before, author).map(|range| *range.start()).min();
            return alloc::vec![first.min(cut.unwrap_or(first))..=held];
        }
        self.cut_anew(before, author).map(|range| *range.start()..=held.min(*range.end())).collect()
    }

    /// The generations of an author's log that have come to be written again elsewhere, or not to be.
    fn cut_anew(
        &self,
        before: &Judgement,
        author: &Author,
    ) -> impl Iterator<Item = RangeInclusive<Generation>> {
        let (before, now) = (&before.cuts, &self.judgement.cuts);
        now.added(before, author).into_iter().chain(before.added(now, author))
    }

    pub(super) fn first_judged_anew(
        &self,
        before: &Judgement,
        author: &Author,
        cause: Place,
    ) -> Option<Generation> {
        let (now, device, new) = (&self.judgement, &author.device, self.version_of(cause));
        if self.departs_anew(before, device) {
            return Some(1);
        }
        let ended = now.ended.first_changed(&before.ended, author);
        let cut = self.cut_anew(before, author).map(|range| *range.start()).chain(ended).min();
        if self.titles(device).any(|title| {
            let given = title.grant.place();
            given != cause && before.is_void(&given) != now.is_void(&given)
        }) {
            return Some(1);
        }
        // One that ends several may count for one of them, and for another not any more.
        let ends = |judgement: &Judgement| -> BTreeSet<(Holder, Version, Nth)> {
            let parts = self.titles(device).flat_map(|title| title.parts(*device));
            let parts = parts.filter(|(_, version)| Some(*version) != new);
            let ends = parts.flat_map(|(holder, version)| {
                let ends = judgement.ends(holder, &version).iter();
                ends.map(|nth| (holder, version, *nth)).collect::<Vec<_>>()
            });
            ends.collect()
        };
        let acts = before.void.symmetric_difference(&now.void).filter(|act| **act != cause);
        let acts = acts.filter(|(ix, _)| self.acts.authors().any(|(of, it)| of == *ix && it == author));
        let act = acts.map(|(_, generation)| *generation).min();
        let (before, now) = (ends(before), ends(now));
        let changed = before.symmetric_difference(&now);
        let changed = changed.filter_map(|(.., nth)| self.revocations.get(nth));
        let last = changed.map(|it| it.until.get(author).copied().unwrap_or(0)).min();
        let revoked = last.map(|last| last.saturating_add(1));
        revoked.into_iter().chain(cut).chain(act).min()
    }

    /// Whether a departure of a device counts by one of two judgements and not by the other, as a log of its has another end:
    /// what it may do anywhere hangs on that.
    fn departs_anew(&self, before: &Judgement, device: &DeviceId) -> bool {
        let undoes = |judgement: &Judgement, it: &Departure| judgement.ended.undoes(&it.author, it.by);
        let standing = self.standings.get(device).into_iter();
        let mut departures = standing.flat_map(Standing::departures);
        departures.any(|it| undoes(before, it) != undoes(&self.judgement, it))
    }

    /// The departures of a device that count.
    pub(super) fn departures(&self, device: &DeviceId) -> impl Iterator<Item = &Departure> {
        let departures = self.standings.get(device).into_iter().flat_map(Standing::departures);
        departures.filter(|it| !self.judgement.ended.undoes(&it.author, it.by))
    }

    /// The version of an act.
    fn version_of(&self, place: Place) -> Option<Version> {
        self.acts.get(place).map(|act| Version { author: act.author, generation: place.1 })
    }
}

/// By how many strikings-off a certificate ends, at most: the first of those that end it, by number and version, which
/// is the same everywhere. More say nothing more; but a device that has many certificates, all struck off many times,
/// would cost everybody the product of both.
const MOST_STRUCK: usize = 16;
/// No revocation comes before it.
const LEAST: Nth = {
    let device = DeviceId([0; 16]);
    (Version { author: Author { device, incarnation: Incarnation(0) }, generation: 0 }, 0)
};

/// What is found out in the course of one pass.
struct Court<'a> {
    access: &'a Access,
    pasts: Numbered<'a>,
    known: Option<&'a Past>,
    /// The logs whose key has ended, by the words that count so far.
    ended: EndedLogs,
    /// The logs of these words.
    heard: BTreeMap<DeviceId, BTreeSet<Incarnation>>,
    /// The first turn at which any word of a device counted: who is senior to it goes by that.
    turns: BTreeMap<DeviceId, Rank>,
    /// What is valid, each with the rank of the grant that allows it.
    admitted: Vec<(Rank, Act)>,
    /// The grants that each act gives.
    given: BTreeMap<Place, Vec<(Holder, &'a Grant)>>,
    /// The revocations that each act makes.
    made: BTreeMap<Place, Vec<(Nth, &'a Revocation)>>,
    /// What nothing has allowed yet.
    acts: BTreeMap<DeviceId, Vec<Act>>,
    /// Grants of `Admin` whose turn has not come.
    queue: BTreeSet<(Rank, Holder, Version)>,
    valid: BTreeSet<Place>,
    /// What valid revocations end, each with the rank by which it was made.
    ends: BTreeMap<(Holder, Version), Vec<(Rank, Nth)>>,
    /// What strikings-off end: known before the first turn, as nobody's right is asked for.
    struck: BTreeMap<(Holder, Version), Vec<Nth>>,
    ranks: Ranks,
}

impl<'a> Court<'a> {
    fn new(access: &'a Access, pasts: Numbered<'a>, known: Option<&'a Past>) -> Self {
        let is_known = |place: Place| known.is_none_or(|past| past.has(place));
        let mut court = Self {
            access,
            pasts,
            known,
            ended: EndedLogs::default(),
            heard: BTreeMap::new(),
            turns: BTreeMap::new(),
            admitted: Vec::new(),
            given: BTreeMap::new(),
            made: BTreeMap::new(),
            acts: BTreeMap::new(),
            queue: BTreeSet::new(),
            valid: BTreeSet::new(),
            ends: BTreeMap::new(),
            struck: BTreeMap::new(),
            ranks: Ranks::new(),
        };
        let to_devices =
            access.standings.iter().map(|(it, standing)| (Holder::Device(*it), &standing.grants));
        let to_users = access.users.iter().map(|(it, user)| (Holder::User(*it), &user.grants));
        for (holder, grants) in to_devices.chain(to_users) {
            for grant in grants.iter().filter(|grant| is_known(grant.place())) {
                court.given.entry(grant.place()).or_default().push((holder, grant));
            }
        }
        let mut strikings: BTreeMap<(UserId, DeviceId), BTreeSet<(u64, Nth)>> = BTreeMap::new();
        for (user, device, number, nth) in access.strikings() {
            if access.revocations.get(&nth).is_some_and(|it| is_known(it.by)) {
                strikings.entry((user, device)).or_default().insert((number, nth));
            }
        }
        for ((user, device), strikings) in &strikings {
            let standing = access.standings.get(device).into_iter();
            let certified = standing.flat_map(Standing::enrolments).filter(|it| it.user == *user);
            for enrolment in certified.filter(|it| is_known(it.place())) {
                let first = (enrolment.number, LEAST);
                let ends = strikings.range(first..).take(MOST_STRUCK).map(|(_, nth)| *nth);
                let ends: Vec<Nth> = ends.collect();
                if !ends.is_empty() {
                    court.struck.insert((Holder::DeviceOf(*user, *device), enrolment.version), ends);
                }
            }
        }
        for (nth, revocation) in access.revocations.iter().filter(|(_, it)| is_known(it.by)) {
            court.made.entry(revocation.by).or_default().push((*nth, revocation));
        }
        for act in access.acts.iter().filter(|act| is_known(act.place)) {
            court.acts.entry(act.author.device).or_default().push(act);
        }
        court
    }

    fn sit(mut self) -> (Judgement, Ranks) {
        if let Some(genesis) = self.access.genesis {
            // The creator's own grant lies at no distance from itself.
            self.admit(genesis, None);
        }
        while let Some((rank, holder, grant)) = self.queue.pop_first() {
            self.ranks.insert((holder, grant), rank);
            let devices: Vec<DeviceId> = match holder {
                Holder::Device(device) | Holder::DeviceOf(_, device) => alloc::vec![device],
                Holder::User(user) => self.access.devices_of(&user).copied().collect(),
                Holder::Everybody => Vec::new(),
            };
            let titles = |device: &DeviceId| -> Vec<Title<'a>> {
                let given = self.access.titles(device);
                let by_it = given.filter(|title| title.holder == holder && title.grant.version == grant);
                let is_known = |place: Place| self.known.is_none_or(|past| past.has(place));
                // All acts are looked at with each grant, so nothing else may hang on how many grants there are.
                by_it.filter(|title| title.enrolment.is_none_or(|it| is_known(it.place()))).collect()
            };
            let titles = devices.into_iter().map(|device| (device, titles(&device)));
            let titles: Vec<_> = titles.filter(|(_, titles)| !titles.is_empty()).collect();
            // What they say of their keys first: it says which of their acts there are.
            for (device, titles) in &titles {
                self.hear_admin(*device, titles, rank);
            }
            for (device, titles) in titles {
                let waiting = self.acts.remove(&device).unwrap_or_default();
                let (supported, waiting): (Vec<Act>, Vec<Act>) =
                    waiting.into_iter().partition(|act| self.supports(&titles, rank, act));
                self.acts.insert(device, waiting);
                for act in supported {
                    self.admit(act.place, Some(rank));
                    self.admitted.push((rank, act));
                }
            }
        }
        let is_known = |place: &Place| self.known.is_none_or(|past| past.has(*place));
        let acts = self.access.acts.iter().filter(|act| is_known(&act.place));
        let unsupported: Vec<Act> = acts.filter(|act| !self.valid.contains(&act.place)).collect();
        let void = unsupported.iter().map(|act| act.place).collect();
        let given =
            self.given.values().flatten().map(|(holder, grant)| (*holder, grant.version, grant.place()));
        let openings = self.access.openings.iter().filter(|opening| is_known(&opening.place()));
        let given =
            given.chain(openings.map(|opening| (Holder::Everybody, opening.version, opening.place())));
        let mut takes = BTreeSet::new();
        let ended = given.filter_map(|(holder, grant, place): (Holder, Version, Place)| {
            let is_junior = |by: &Rank| self.ranks.get(&(holder, grant)).is_none_or(|rank| by < rank);
            let ends = self.ends_of(holder, grant).filter(|(by, _)| is_junior(by));
            let ends: Vec<Nth> = ends.map(|(_, nth)| *nth).collect();
            let knew = |nth: &&Nth| self.access.knew(self.pasts, nth, place);
            takes.extend(ends.iter().filter(knew).map(|nth| (holder, *nth)));
            (!ends.is_empty()).then_some(((holder, grant), ends))
        });
        let ended: Vec<_> = ended.collect();
        let ends = ended.into_iter().chain(core::mem::take(&mut self.struck)).map(|(key, mut ends)| {
            ends.sort_unstable();
            ends.dedup();
            (key, ends)
        });
        let mut judgement = Judgement { void, ends: ends.collect(), ..Judgement::default() };
        let mut by_members = Vec::new();
        if self.access.was_opened() {
            let by_admins = self.given.iter().filter(|(act, _)| self.valid.contains(act));
            let given = by_admins.flat_map(|(_, given)| given).map(|(holder, grant)| (*holder, *grant));
            judgement.taken = self.access.taken(self.pasts, self.known, takes, given);
            let given = |act: Act| Some((act, self.given.get(&act.place)?.clone()));
            let acts = unsupported.into_iter().filter(|act| act.beside < Rights::Admin);
            by_members = acts.filter_map(given).collect();
        }
        self.hear_members(&judgement, &by_members);
        by_members.retain(|(act, _)| !self.ended.undoes(&act.author, act.place));
        self.access.let_in_by_members(&mut judgement, self.pasts, by_members, &self.ended);
        judgement.ended = self.ended;
        (judgement, self.ranks)
    }

    /// Looks which words of a device count at the turn of a grant of `Admin`, of which these are its titles: by that, or by a
    /// lesser one which an admin has given, as it may have said so before.
    fn hear_admin(&mut self, device: DeviceId, titles: &[Title<'a>], rank: Rank) {
        if self.access.keys.words(&device).next().is_none() {
            return; // As nearly always.
        }
        let lesser = self
            .access
            .titles(&device)
            .filter(|title| title.grant.rights != Rights::Admin && self.valid.contains(&title.grant.place()));
        let by_any: Vec<Title<'_>> = titles.iter().copied().chain(lesser).collect();
        self.hear(device, Some(rank), |court, act| court.left(&by_any, rank, act).is_some());
    }

    /// Looks which words count that nobody said by a grant of `Admin`: those of devices that might be here, be it that
    /// members let them in. What of the acts and departures of these members is undone by words may hang on this one: so here
    /// no act is, and of departures what any word says.
    fn hear_members(&mut self, judgement: &Judgement, by_members: &[(Act, Vec<(Holder, &Grant)>)]) {
        let (access, pasts) = (self.access, self.pasts);
        let waiting: Vec<DeviceId> = access.keys.devices().copied().collect();
        if waiting.is_empty() {
            return;
        }
        let (mut judgement, said) = (judgement.clone(), access.said_in(self.known));
        access.let_in_by_members(&mut judgement, pasts, by_members.to_vec(), &said);
        for device in waiting {
            self.hear(device, None, |court, act| {
                let Act { author, place, stamp, past, .. } = *act;
                let at = At { author, place: Some(place), generation: place.1, stamp, past: pasts.get(past) };
                access.rights_by(&judgement, at, &court.ended).is_some()
            });
        }
    }

    /// Looks which words of a device count, at the turn of a grant or in the end, and finds out anew which of its logs end by
    /// them. No word is judged by what its own device has said.
    fn hear(&mut self, device: DeviceId, rank: Option<Rank>, counts: impl Fn(&Self, &Act) -> bool) {
        let (access, past) = (self.access, self.known);
        let known = |word: &Word| access.is_known_word(past, word);
        let mut words = access.keys.words(&device).filter(|word| known(word)).map(Word::act).peekable();
        if words.peek().is_none() {
            return;
        }
        self.ended.forget(&device);
        let mut heard = self.heard.remove(&device).unwrap_or_default();
        let mut acts: Vec<Act> = Vec::new();
        for act in words {
            if heard.contains(&act.author.incarnation) || counts(self, &act) {
                heard.insert(act.author.incarnation);
                acts.push(act);
            }
        }
        let turn = self.turns.get(&device).copied();
        if let Some(first) = turn.or(rank).filter(|_| !acts.is_empty()) {
            self.turns.insert(device, first);
        }
        let built = self.built(&device, rank.or(turn), &acts);
        self.ended.hear(&access.keys, device, (&heard, built), known);
        self.heard.insert(device, heard);
    }

    /// What lies in the past of what others did by higher grants and did not know any of these words of a device; of any, if
    /// it never was an admin.
    fn built(&self, device: &DeviceId, rank: Option<Rank>, words: &[Act]) -> Past {
        let (pasts, logs) = (self.pasts, self.access.logs_of(device));
        if logs.is_empty() {
            return Past::default(); // As of most: there is nothing to undo.
        }
        let others = self.admitted.iter().filter(|(by, act)| {
            let past = pasts.get(act.past);
            act.author.device != *device
                && rank.is_none_or(|rank| *by < rank)
                && !words.iter().any(|word| past.has(word.place))
        });
        let mut built = Past::default();
        for (_, act) in others {
            let known = pasts.get(act.past).0.iter().filter(|(ix, _)| logs.contains(ix));
            known.for_each(|(ix, last)| built.add(*ix, *last));
        }
        built
    }

    /// What ends a grant under any of its names, each with the rank by which it was made.
    fn ends_of(&self, holder: Holder, grant: Version) -> impl Iterator<Item = &(Rank, Nth)> {
        self.access.again.names(grant).filter_map(move |name| self.ends.get(&(holder, name))).flatten()
    }

    /// An act is valid, by a grant of this rank: what it gives may be used, and what it ends may end.
    fn admit(&mut self, place: Place, by: Option<Rank>) {
        self.valid.insert(place);
        let depth = by.map_or(0, |(depth, _)| depth.saturating_add(1));
        for (holder, grant) in self.given.get(&place).into_iter().flatten() {
            if grant.rights == Rights::Admin {
                let rank = self.access.again.rank(depth, &grant.version);
                self.queue.insert((rank, *holder, grant.version));
            }
        }
        let Some(by) = by else { return };
        for (nth, revocation) in self.made.get(&place).into_iter().flatten() {
            let Ended::Grants(holder, grants) = &revocation.what else { continue };
            for grant in grants {
                self.ends.entry((*holder, *grant)).or_default().push((by, *nth));
            }
        }
    }

    /// Whether a grant of `Admin`, whose turn it is, allows an act of a device: `titles` are what it has by that.
    fn supports(&self, titles: &[Title<'_>], rank: Rank, act: &Act) -> bool {
        !self.ended.undoes(&act.author, act.place) && self.left(titles, rank, act) == Some(Rights::Admin)
    }

    /// What a grant of `Admin`, whose turn it is, leaves to a device at one of its generations.
    fn left(&self, titles: &[Title<'_>], rank: Rank, act: &Act) -> Option<Rights> {
        let past = self.pasts.get(act.past);
        let known = |other: Place| other != act.place && past.has(other);
        let titles = titles.iter().filter(|title| {
            act.stamp.wall() <= title.ends()
                && known(title.grant.place())
                && title.enrolment.is_none_or(|enrolment| known(enrolment.place()))
        });
        let left = titles.filter_map(|title| {
            let device = act.author.device;
            let standing = self.access.standings.get(&device);
            let has_left =
                standing.is_none_or(|it| self.access.has_left(it, &title.version(), known, &self.ended));
            let struck = title.certificate(device).and_then(|it| self.struck.get(&it)).into_iter().flatten();
            let ends = self.ends_of(title.holder, title.grant.version);
            let ends = ends.filter(|(by, _)| *by < rank).map(|(_, nth)| nth);
            let mut ends = ends.chain(struck).filter_map(|nth| self.access.revocations.get(nth));
            let place = (act.author, act.place.1);
            let left = ends.try_fold(Rights::Admin, |rights, it| it.leaves(rights, place, act.stamp));
            left.filter(|_| !has_left)
        });
        left.max()
    }
}

impl Access {
    /// The logs in which a device has given, ended or left something.
    fn logs_of(&self, device: &DeviceId) -> BTreeSet<AuthorIx> {
        let departures = self.standings.get(device).into_iter().flat_map(Standing::departures);
        self.acts.logs_of(device).chain(departures.map(|it| it.by.0)).collect()
    }

    /// All strikings-off: whose, of which device, up to which certificate.
    fn strikings(&self) -> impl Iterator<Item = (UserId, DeviceId, u64, Nth)> {
        self.users.iter().flat_map(|(user, standing)| {
            standing.strikings.iter().map(|(device, number, nth)| (*user, *device, *number, *nth))
        })
    }
}
