//! Judging against a specification that says the same without any order of going about it.

use alloc::collections::BTreeSet;
use alloc::vec;

use proptest::prelude::*;

use super::super::judge;
use super::super::past::{NO_PAST, Pasts};
use super::*;
use crate::id::PublicKey;
use crate::log::record::Record;
use crate::store::key::AuthorIx;
use crate::time::{Hlc, Wall};
use crate::user::{Certificate, StrikingOff};

mod ending;
mod opening;
mod unheard;
mod users;

/// The log of a device; from 50 on, another one of the device with 50 less.
fn author(n: u8) -> Author {
    Author { device: PublicKey([n % 50; 32]).device(), incarnation: Incarnation(u64::from(n)) }
}

fn version(n: u8, generation: Generation) -> Version {
    Version { author: author(n), generation }
}

fn name() -> Name {
    Name::new("device").unwrap()
}

fn admit(n: u8, rights: Rights) -> MetaRecord {
    MetaRecord::Admit { key: PublicKey([n; 32]), name: name(), rights, ends: None, request: None }
}

/// The same until an end, if there is one.
fn until(says: MetaRecord, at: Option<u64>) -> MetaRecord {
    let mut says = says;
    match &mut says {
        MetaRecord::Admit { ends, .. }
        | MetaRecord::AdmitUser { ends, .. }
        | MetaRecord::Revoke { ends, .. }
        | MetaRecord::RevokeUser { ends, .. }
        | MetaRecord::Open { ends, .. }
        | MetaRecord::Close { ends, .. } => *ends = at.map(Wall),
        MetaRecord::Enrol { certificate, .. } => {
            *certificate = at.map_or(certificate.clone(), |at| certificate.clone().until(Wall(at)));
        }
        _ => {}
    }
    says
}

fn revoke(n: u8, grants: &[Version], keep: Option<Rights>, until: Generation) -> MetaRecord {
    let until = vec![(author(n).incarnation, until)];
    MetaRecord::Revoke { device: author(n).device, grants: grants.to_vec(), keep, ends: None, until }
}

fn user(n: u8) -> PublicKey {
    PublicKey([100 + n; 32])
}

fn admit_user(n: u8, rights: Rights) -> MetaRecord {
    MetaRecord::AdmitUser { key: user(n), name: name(), rights, ends: None, request: None }
}

fn enrol(of: u8, n: u8, number: u64) -> MetaRecord {
    let certificate = Certificate::unsigned(user(of), PublicKey([n; 32]), number);
    MetaRecord::Enrol { certificate, request: None }
}

fn strike_off(of: u8, n: u8, number: u64, until: Generation) -> MetaRecord {
    let until = vec![(author(n).incarnation, until)];
    MetaRecord::StrikeOff(StrikingOff::unsigned(user(of), author(n).device, number, until))
}

fn revoke_user(of: u8, grants: &[Version], keep: Option<Rights>, until: &[(u8, Generation)]) -> MetaRecord {
    let until = until.iter().map(|(n, last)| (author(*n), *last)).collect();
    MetaRecord::RevokeUser { user: user(of).user(), grants: grants.to_vec(), keep, ends: None, until }
}

fn open(rights: Rights) -> MetaRecord {
    MetaRecord::Open { rights, ends: None }
}

fn close(grants: &[Version], keep: Option<Rights>, until: &[(u8, Generation)]) -> MetaRecord {
    let until = until.iter().map(|(n, last)| (author(*n), *last)).collect();
    MetaRecord::Close { grants: grants.to_vec(), keep, ends: None, until }
}

/// A generation of metadata: who wrote it, with what in its past (not itself), and what it says.
#[derive(Debug, Clone)]
struct Fact {
    by: u8,
    generation: Generation,
    /// Its wall time.
    stamp: u64,
    past: Past,
    says: Vec<MetaRecord>,
}

/// A generation of a device: which, and its wall time.
type Spot = (u8, Generation, u64);

impl Fact {
    fn version(&self) -> Version {
        version(self.by, self.generation)
    }

    fn spot(&self) -> Spot {
        (self.by, self.generation, self.stamp)
    }

    fn place(&self) -> Place {
        (AuthorIx::from(self.by), self.generation)
    }

    fn records(&self) -> Vec<Record> {
        self.says.iter().cloned().map(Record::Meta).collect()
    }

    fn with_itself(&self) -> Past {
        let mut past = self.past.clone();
        past.add(AuthorIx::from(self.by), self.generation);
        past
    }
}

/// A history: each line is a device, whom of the others it has heard up to now, and what it says.
#[derive(Debug, Clone, Default)]
struct History(Vec<Fact>);

impl History {
    /// Device 1 creates the syncgroup.
    fn new() -> Self {
        let nonce = [0; 16];
        let says = vec![MetaRecord::Genesis { name: name(), nonce }, admit(1, Rights::Admin)];
        Self(vec![Fact { by: 1, generation: 1, stamp: 1, past: Past::default(), says }])
    }

    fn last(&self, by: u8) -> Generation {
        self.0.iter().filter(|fact| fact.by == by).map(|fact| fact.generation).max().unwrap_or(0)
    }

    /// A device says something, having heard these facts besides its own, with all that they build on.
    fn say(&mut self, by: u8, heard: &[usize], says: Vec<MetaRecord>) -> Version {
        let generation = self.last(by) + 1;
        let mut past = Past::default();
        let own = self.0.iter().filter(|fact| fact.by == by);
        let heard = heard.iter().filter_map(|at| self.0.get(*at));
        own.chain(heard).for_each(|fact| past.join(&fact.with_itself()));
        let known = self.0.iter().filter(|fact| past.has(fact.place()));
        let stamp = known.map(|fact| fact.stamp).max().unwrap_or(0) + 1;
        self.0.push(Fact { by, generation, stamp, past, says });
        version(by, generation)
    }

    /// All facts, taken in in this order.
    fn taken(&self, order: &[usize]) -> (Access, Pasts) {
        let (mut access, mut pasts) = (Access::default(), Pasts::default());
        for at in order {
            self.take_in(*at, &mut access, &mut pasts);
        }
        access.judge(Numbered { held: &pasts, planned: &[] });
        (access, pasts)
    }

    /// A fact is taken in. Says whether all has to be judged again.
    fn take_in(&self, at: usize, access: &mut Access, pasts: &mut Pasts) -> bool {
        let fact = &self.0[at];
        let past = fact.with_itself();
        let number = pasts.number(&past).unwrap_or_else(|| {
            pasts.push(past);
            pasts.next() - 1
        });
        assert_ne!(number, NO_PAST);
        let (stamp, beside) = (Hlc(fact.stamp << 16), judge::needed_beside(&fact.records()));
        let from = Source { place: fact.place(), author: author(fact.by), stamp, past: number, beside };
        fact.says.iter().fold(false, |is_news, record| access.take(from, record) | is_news)
    }

    /// A fact is taken in and judged, as it is where all that is in its past is known.
    fn judge_in(&self, at: usize, access: &mut Access, pasts: &mut Pasts) {
        let is_news = self.take_in(at, access, pasts);
        let (fact, numbered) = (&self.0[at], Numbered { held: pasts, planned: &[] });
        if is_news {
            access.judge(numbered);
        } else {
            let past = fact.with_itself();
            let at = At { place: Some(fact.place()), ..self::at(fact.spot(), &past) };
            judge::judge_alone(access, numbered, at, &fact.records());
        }
    }

    /// The facts in an order in which causes come first.
    fn in_order(&self, seed: u64) -> Vec<usize> {
        let (mut left, mut order, mut random) = ((0..self.0.len()).collect::<Vec<_>>(), Vec::new(), seed | 1);
        while !left.is_empty() {
            let is_next = |at: &usize| {
                let others = left.iter().filter(|other| *other != at);
                others.into_iter().all(|other| !self.0[*at].past.has(self.0[*other].place()))
            };
            let next: Vec<usize> = left.iter().copied().filter(is_next).collect();
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let next = next[(random >> 33) as usize % next.len()];
            left.retain(|at| *at != next);
            order.push(next);
        }
        order
    }

    /// Whether the last fact is allowed by what is in its own past: otherwise nobody holds it, and nobody judges it.
    fn may_hold_the_last(&self) -> bool {
        let Some(fact) = self.0.last() else { return true };
        let known: Vec<usize> = (0..self.0.len()).filter(|at| fact.past.has(self.0[*at].place())).collect();
        let (alone, pasts) = self.taken(&known);
        let pasts = Numbered { held: &pasts, planned: &[] };
        let at = at(fact.spot(), &fact.past);
        let granted = fact.says.iter().find_map(|record| match record {
            MetaRecord::AdmitUser { key, .. } => Some(key.user()),
            _ => None,
        });
        let may_say = fact.says.iter().all(|record| alone.may_say(&fact.past, record, granted));
        may_say && judge::allowed_by(&alone, &alone.judgement, pasts, at, &fact.records()).is_some()
    }

    fn all(&self) -> Access {
        self.taken(&(0..self.0.len()).collect::<Vec<_>>()).0
    }

    /// What a device is told that is no member any more, where all of it is known.
    fn ended(&self, access: &Access, n: u8) -> BTreeSet<Place> {
        let (_, pasts) = self.taken(&(0..self.0.len()).collect::<Vec<_>>());
        access.what_ended(Numbered { held: &pasts, planned: &[] }, &author(n).device, &[])
    }
}

fn at((by, generation, stamp): Spot, past: &Past) -> At<'_> {
    At { author: author(by), place: None, generation, stamp: Hlc(stamp << 16), past }
}

// ---- the specification ----

/// Who holds a grant: a device, or a user.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Device(u8),
    User(u8),
}

/// A grant, as the specification sees it.
#[derive(Clone, Copy)]
struct Given<'h> {
    by: &'h Fact,
    to: To,
    rights: Rights,
    ends: Option<Wall>,
}

/// Whether an end lies before a moment.
fn is_over(ends: Option<Wall>, stamp: u64) -> bool {
    ends.is_some_and(|end| end.0 < stamp)
}

impl Given<'_> {
    fn version(&self) -> Version {
        version(self.by.by, self.by.generation)
    }
}

impl History {
    fn grants(&self) -> Vec<Given<'_>> {
        let of = |by| {
            move |record: &MetaRecord| match record {
                MetaRecord::Admit { key, rights, ends, .. } => {
                    Some(Given { by, to: To::Device(key.0[0]), rights: *rights, ends: *ends })
                }
                MetaRecord::AdmitUser { key, rights, ends, .. } => {
                    Some(Given { by, to: To::User(key.0[0] - 100), rights: *rights, ends: *ends })
                }
                _ => None,
            }
        };
        self.0.iter().flat_map(|fact| fact.says.iter().filter_map(of(fact))).collect()
    }

    /// The generations that say that a device is a user's, with the number and the end of the certificate.
    fn enrolments(&self, of: u8, n: u8) -> Vec<(&Fact, u64, Option<Wall>)> {
        let says = |fact: &Fact| {
            fact.says.iter().find_map(|record| match record {
                MetaRecord::Enrol { certificate: it, .. } => {
                    let is_it = it.user() == user(of).user() && it.device() == author(n).device;
                    is_it.then_some((it.number(), it.ends()))
                }
                _ => None,
            })
        };
        let found = self.0.iter().filter_map(|fact| Some((fact, says(fact)?)));
        found.map(|(fact, (number, ends))| (fact, number, ends)).collect()
    }

    /// Whether a grant is given to a device, or to a user whose it is, at a generation with this past.
    fn reaches(&self, given: &Given<'_>, at: Spot, past: &Past) -> bool {
        let known = |fact: &Fact| past.has(fact.place()) && fact.spot() != at;
        let stays = |version: Version| !self.has_left(at.0, version, past);
        known(given.by)
            && !is_over(given.ends, at.2)
            && match given.to {
                To::Device(n) => n == at.0 % 50 && stays(given.version()),
                To::User(of) => self.enrolments(of, at.0).into_iter().any(|(fact, number, ends)| {
                    known(fact)
                        && !is_over(ends, at.2)
                        && stays(version(fact.by, fact.generation))
                        && !self.is_struck_off(of, number, at)
                }),
            }
    }

    /// Whether a user has struck off a certificate of a device, for one of its generations.
    fn is_struck_off(&self, of: u8, number: u64, at: Spot) -> bool {
        self.0.iter().flat_map(|fact| &fact.says).any(|record| {
            let MetaRecord::StrikeOff(it) = record else { return false };
            let spared = it.until.iter().find(|(incarnation, _)| *incarnation == author(at.0).incarnation);
            it.user() == user(of).user()
                && it.device == author(at.0).device
                && it.number >= number
                && spared.is_none_or(|(_, last)| at.1 > *last)
        })
    }

    /// The best rank, below a bound, by which an admin's act is valid: that of a grant in its past which counts for it.
    fn authority(&self, act: &Fact, below: Rank) -> Option<Rank> {
        let at = act.spot();
        let admin = self
            .grants()
            .into_iter()
            .filter(|given| given.rights == Rights::Admin && self.reaches(given, at, &act.past));
        let ranked = admin.filter_map(|given| Some((self.rank(&given, below)?, given)));
        let counts = |(rank, given): &(Rank, Given<'_>)| {
            *rank < below && self.left(given, *rank, at) == Some(Rights::Admin)
        };
        ranked.filter(counts).map(|(rank, _)| rank).min()
    }

    /// The rank of a grant: one more step from the creator than that by which it was given. `None` if it is void.
    fn rank(&self, given: &Given<'_>, below: Rank) -> Option<Rank> {
        let begins = given.by.says.iter().any(|record| matches!(record, MetaRecord::Genesis { .. }));
        if begins {
            return Some((0, given.version()));
        }
        let (depth, _) = self.authority(given.by, below)?;
        Some((depth + 1, given.version()))
    }

    fn has_left(&self, n: u8, grant: Version, known: &Past) -> bool {
        self.0.iter().filter(|fact| fact.by % 50 == n % 50 && known.has(fact.place())).any(|fact| {
            let ends = |record: &MetaRecord| matches!(record, MetaRecord::Leave { grants } if grants.contains(&grant));
            fact.says.iter().any(ends)
        })
    }

    /// What is left of a grant at a generation, by the revocations that were made by those above a rank.
    fn left(&self, given: &Given<'_>, above: Rank, at: Spot) -> Option<Rights> {
        let mut left = Some(given.rights);
        for fact in &self.0 {
            for record in &fact.says {
                let (grants, keep, ends, last) = match (record, given.to) {
                    (MetaRecord::Revoke { device, grants, keep, ends, until }, To::Device(n))
                        if *device == author(n).device =>
                    {
                        let of = |(it, _): &&(Incarnation, Generation)| *it == author(at.0).incarnation;
                        (grants, keep, ends, until.iter().find(of).map(|(_, last)| *last))
                    }
                    (MetaRecord::RevokeUser { user: of, grants, keep, ends, until }, To::User(n))
                        if *of == user(n).user() =>
                    {
                        let of = |(it, _): &&(Author, Generation)| *it == author(at.0);
                        (grants, keep, ends, until.iter().find(of).map(|(_, last)| *last))
                    }
                    _ => continue,
                };
                if grants.contains(&given.version()) && self.authority(fact, above).is_some() {
                    let keep = keep.filter(|_| !is_over(*ends, at.2));
                    left = if at.1 <= last.unwrap_or(0) { left } else { left.min(keep) };
                }
            }
        }
        left
    }

    /// What a device may do at a generation with this past.
    fn rights(&self, at: Spot, past: &Past) -> Option<Rights> {
        let mut best = None;
        for given in self.grants().into_iter().filter(|given| self.reaches(given, at, past)) {
            let rank = self.rank(&given, LOWEST);
            if rank.is_none() && !self.is_let_in_by_a_member(given.by) {
                continue;
            }
            // Anybody may end what makes no admin.
            let above = rank.filter(|_| given.rights == Rights::Admin).unwrap_or(LOWEST);
            best = best.max(self.left(&given, above, at));
        }
        best
    }
}

const LOWEST: Rank = (
    u32::MAX,
    Version {
        author: Author { device: DeviceId([255; 16]), incarnation: Incarnation(u64::MAX) },
        generation: Generation::MAX,
    },
);

/// What somebody does next: who, whom they have heard, what, to whom, some numbers, and until when.
type Move = (u8, Vec<prop::sample::Index>, u8, u8, prop::sample::Index, u64, Option<u64>);

/// Some ends, before and after what is said, as stamps go.
fn ends() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![3 => Just(None), 2 => (2u64..12).prop_map(Some)]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let index = any::<prop::sample::Index>;
    prop::collection::vec(
        (1u8..5, prop::collection::vec(index(), 0..3), 0u8..23, 1u8..5, index(), 0u64..4, ends()),
        1..10,
    )
}

/// Of one user's devices mostly: they act as admins, and are struck off and enrolled beside that.
fn moves_of_users() -> impl Strategy<Value = Vec<Move>> {
    let index = any::<prop::sample::Index>;
    let of = |all: &'static [u8]| prop::sample::select(all);
    let until = prop::sample::select(&[0, 2][..]);
    prop::collection::vec(
        (
            of(&[1, 4, 4]),
            prop::collection::vec(index(), 0..3),
            of(&[0, 2, 12, 14, 15]),
            of(&[3, 4, 4]),
            index(),
            until,
            ends(),
        ),
        1..8,
    )
}

/// Of a syncgroup that is opened and closed: members let in others, who are removed, and let in again.
fn moves_of_openings() -> impl Strategy<Value = Vec<Move>> {
    let index = any::<prop::sample::Index>;
    let of = |all: &'static [u8]| prop::sample::select(all);
    prop::collection::vec(
        (
            1u8..7,
            prop::collection::vec(index(), 0..3),
            of(&[2, 2, 2, 8, 8, 10, 12, 16, 3, 4, 6, 18, 18, 20, 21, 22, 22, 23, 23]),
            of(&[5, 6, 4]),
            index(),
            0u64..4,
            ends(),
        ),
        1..12,
    )
}

fn played(moves: Vec<Move>) -> History {
    let mut history = History::new();
    // All histories begin with some admins.
    for n in 2..4 {
        history.say(1, &[0], vec![admit(n, Rights::Admin)]);
    }
    // Of users too, one with a device of its own.
    history.say(1, &[0], vec![admit_user(1, Rights::Admin)]);
    history.say(1, &[3], vec![enrol(1, 4, 0)]);
    for (by, heard, what, whom, which, last, ends) in moves {
        let heard: Vec<usize> = heard.iter().map(|at| at.index(history.0.len())).collect();
        let grants: Vec<Version> =
            history.grants().iter().filter(|it| it.to == To::Device(whom)).map(Given::version).collect();
        let of = 1 + (last as u8) % 2;
        let to_user: Vec<Version> =
            history.grants().iter().filter(|it| it.to == To::User(of)).map(Given::version).collect();
        let own = history.grants().into_iter().filter(|it| it.to == To::Device(by));
        let mut own: Vec<Version> = own.map(|it| it.version()).collect();
        let enrolled = (1..3).flat_map(|of| history.enrolments(of, by));
        own.extend(enrolled.map(|(fact, ..)| version(fact.by, fact.generation)));
        let openings: Vec<Version> = history.openings().iter().map(|(fact, ..)| fact.version()).collect();
        let number = which.index(3) as u64;
        let one = grants.get(which.index(grants.len().max(1))).copied().into_iter().collect::<Vec<_>>();
        let says = match what {
            0 | 1 => admit(whom, Rights::Admin),
            2 => admit(whom, Rights::Write),
            3 => MetaRecord::Leave { grants: own },
            4 | 5 => revoke(whom, &grants, None, history.last(whom)),
            6 => revoke(whom, &one, Some(Rights::Read), last),
            7 => revoke(whom, &grants, Some(Rights::Admin), last),
            9 => admit_user(of, Rights::Admin),
            10 => admit_user(of, Rights::Write),
            11..=13 => enrol(of, whom, number),
            14 | 15 => strike_off(of, whom, number, last),
            16 => revoke_user(of, &to_user, None, &[(whom, last)]),
            17 => revoke_user(of, &to_user, Some(Rights::Write), &[]),
            8 => admit(whom, Rights::Read),
            18 => open(Rights::Write),
            19 => open(Rights::Read),
            20 => close(&openings, None, &[(whom, last), (by, history.last(by))]),
            21 => close(&openings, Some(Rights::Read), &[(whom, last)]),
            22 => admit_user(of, Rights::Write),
            _ => revoke(whom, &grants, None, last),
        };
        let with = match what {
            22 => Some(enrol(of, whom, number)),
            // In another log of its own: something may be there that says the same, or something else, or nothing.
            23 => Some(MetaRecord::Repeats { incarnation: author(by).incarnation, generation: last }),
            _ => None,
        };
        let by = if what == 23 { by + 50 } else { by };
        history.say(by, &heard, core::iter::once(until(says, ends)).chain(with).collect());
        if !history.may_hold_the_last() {
            history.0.pop();
        }
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_counts_is_as_specified_and_the_same_in_any_order(
        moves in prop_oneof![moves(), moves_of_users(), moves_of_openings()],
        seed: u64,
    ) {
        let history = played(moves);
        let mut order: Vec<usize> = (0..history.0.len()).collect();
        let mut random = seed | 1;
        for at in (1..order.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            order.swap(at, (random >> 33) as usize % (at + 1));
        }
        let ((one, pasts), other) = (history.taken(&(0..history.0.len()).collect::<Vec<_>>()), history.taken(&order).0);
        prop_assert_eq!(&one.judgement, &other.judgement);
        for fact in &history.0 {
            let past = fact.with_itself();
            let at = At { place: Some(fact.place()), ..at(fact.spot(), &past) };
            let specified = if fact.generation == 1 && fact.by == 1 {
                Some(Rights::Admin)
            } else {
                history.rights(fact.spot(), &fact.past)
            };
            prop_assert_eq!(one.rights_at(&one.judgement, at), specified, "{:?}", fact);
            let numbered = Numbered { held: &pasts, planned: &[] };
            let counts = judge::right_for(&one, &one.judgement, numbered, at, &fact.records()).is_some();
            prop_assert_eq!(counts, specified.is_some() && history.counts(fact), "{:?}", fact);
        }
    }

    #[test]
    fn what_everybody_may_hold_follows_from_its_own_past_alone(
        moves in prop_oneof![moves(), moves_of_users(), moves_of_openings()],
    ) {
        let history = played(moves);
        let (access, pasts) = history.taken(&(0..history.0.len()).collect::<Vec<_>>());
        let mut recent = Recent::new();
        for fact in history.0.iter().skip(1) {
            // Only those facts that are in its past are known.
            let known: Vec<usize> = (0..history.0.len()).filter(|at| fact.past.has(history.0[*at].place())).collect();
            let (alone, of_it) = history.taken(&known);
            let at = at(fact.spot(), &fact.past);
            let by_all = access.rights_in(Numbered { held: &pasts, planned: &[] }, at, &mut recent);
            prop_assert_eq!(by_all, alone.rights_in(Numbered { held: &of_it, planned: &[] }, at, &mut Recent::new()), "{:?}", fact);
            prop_assert_eq!(by_all, alone.rights_at(&alone.judgement, at), "{:?}", fact);
            // What members let in as well: whoever has all of that in its past judges by it, wherever more is known.
            let records = fact.records();
            let allowed = |of: &Access, pasts, recent: &mut Recent| {
                of.judged_in(pasts, at.past, recent, |it| judge::allowed_by(of, it, pasts, at, &records))
            };
            let by_all = allowed(&access, Numbered { held: &pasts, planned: &[] }, &mut recent);
            prop_assert_eq!(by_all, allowed(&alone, Numbered { held: &of_it, planned: &[] }, &mut Recent::new()), "{:?}", fact);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_judged_as_it_comes_is_judged_as_if_all_had_come_at_once(
        moves in prop_oneof![moves(), moves_of_users(), moves_of_openings()],
        seed: u64,
    ) {
        let history = played(moves);
        let (mut access, mut pasts, mut taken) = (Access::default(), Pasts::default(), Vec::new());
        for next in history.in_order(seed) {
            history.judge_in(next, &mut access, &mut pasts);
            taken.push(next);
            prop_assert_eq!(&access.judgement, &history.taken(&taken).0.judgement, "after {:?}", history.0[next]);
        }
    }

    #[test]
    fn whatever_counts_otherwise_is_judged_anew(moves in prop_oneof![moves(), moves_of_users(), moves_of_openings()], seed: u64) {
        let history = played(moves);
        let mut taken = Vec::new();
        for next in history.in_order(seed) {
            let before = history.taken(&taken).0;
            let known = taken.clone();
            taken.push(next);
            let (now, pasts) = history.taken(&taken);
            let cause = history.0[next].place();
            let anew = now.judged_anew(&before.judgement, cause);
            let numbered = Numbered { held: &pasts, planned: &[] };
            for fact in known.iter().map(|at| &history.0[*at]) {
                let past = fact.with_itself();
                let at = At { place: Some(fact.place()), ..at(fact.spot(), &past) };
                let by = |judgement| judge::right_for(&now, judgement, numbered, at, &fact.records()).is_some();
                if by(&before.judgement) != by(&now.judgement) {
                    prop_assert!(anew.contains(&author(fact.by).device), "{fact:?}");
                    let first = now.first_judged_anew(&before.judgement, &author(fact.by), cause);
                    prop_assert!(first.is_some_and(|first| first <= fact.generation), "{fact:?}, and not before {first:?}");
                }
            }
            for (fact, generation) in known.iter().flat_map(|at| (1..9).map(|it| (&history.0[*at], it))) {
                for (n, later) in (1..7).flat_map(|n| [(n, 1), (n, 4)]) {
                    let past = fact.with_itself();
                    let at = at((n, generation, fact.stamp + later), &past);
                    if now.rights_at(&before.judgement, at) != now.rights_at(&now.judgement, at) {
                        prop_assert!(anew.contains(&author(n).device), "{n} at {generation}");
                        let first = now.first_judged_anew(&before.judgement, &author(n), cause);
                        prop_assert!(first.is_some_and(|first| first <= generation), "{n} at {generation}, and not before {first:?}");
                    }
                }
            }
        }
    }
}

// ---- stories ----

fn rights(access: &Access, n: u8) -> Option<Rights> {
    access.rights(&author(n).device)
}

#[test]
fn of_two_admins_who_remove_each_other_while_apart_the_elder_stays() {
    let mut history = History::new();
    let two = history.say(1, &[0], vec![admit(2, Rights::Admin)]);
    let three = history.say(1, &[1], vec![admit(3, Rights::Admin)]);
    history.say(3, &[2], vec![revoke(2, &[two], None, 0)]);
    assert_eq!(rights(&history.all(), 2), Some(Rights::Admin), "2 ranks above 3");
    history.say(2, &[2], vec![revoke(3, &[three], None, 0)]);
    let access = history.all();
    assert_eq!((rights(&access, 2), rights(&access, 3)), (Some(Rights::Admin), None));
    assert!(access.is_removed(&author(3).device));
    assert_eq!(history.ended(&access, 3), BTreeSet::from([(2, 1)]));
}

#[test]
fn the_creator_cannot_be_removed_and_may_remove_anybody() {
    let mut history = History::new();
    let two = history.say(1, &[0], vec![admit(2, Rights::Admin)]);
    history.say(2, &[1], vec![revoke(1, &[version(1, 1)], None, 1)]);
    assert_eq!(rights(&history.all(), 1), Some(Rights::Admin));
    history.say(1, &[1], vec![revoke(2, &[two], None, 0)]);
    let access = history.all();
    assert_eq!((rights(&access, 1), rights(&access, 2)), (Some(Rights::Admin), None));
}

#[test]
fn whom_a_removed_admin_admitted_meanwhile_is_no_member_and_whom_it_had_admitted_before_is() {
    let mut history = History::new();
    let two = history.say(1, &[0], vec![admit(2, Rights::Admin)]);
    history.say(2, &[1], vec![admit(3, Rights::Write)]);
    history.say(1, &[2], vec![revoke(2, &[two], None, 1)]);
    history.say(2, &[], vec![admit(4, Rights::Write)]);
    let access = history.all();
    assert_eq!((rights(&access, 3), rights(&access, 4)), (Some(Rights::Write), None));
    assert!(access.is_removed(&author(4).device), "it shall hear of it");
    assert_eq!(history.ended(&access, 4), BTreeSet::from([(1, 3), (2, 2)]), "of what removed 2");
}

#[test]
fn a_removal_by_somebody_who_was_removed_is_void() {
    let mut history = History::new();
    let two = history.say(1, &[0], vec![admit(2, Rights::Admin)]);
    let three = history.say(1, &[1], vec![admit(3, Rights::Write)]);
    history.say(2, &[2], vec![revoke(3, &[three], None, 0)]);
    assert_eq!(rights(&history.all(), 3), None);
    history.say(1, &[2], vec![revoke(2, &[two], None, 0)]);
    assert_eq!(rights(&history.all(), 3), Some(Rights::Write));
}

#[test]
fn who_was_let_in_again_is_a_member_by_the_new_grant() {
    let mut history = History::new();
    let two = history.say(1, &[0], vec![admit(2, Rights::Write)]);
    history.say(1, &[1], vec![revoke(2, &[two], None, 3)]);
    history.say(1, &[2], vec![admit(2, Rights::Read)]);
    let access = history.all();
    assert_eq!(rights(&access, 2), Some(Rights::Read));
    let (before, after) = (&history.0[1].with_itself(), &history.0[3].with_itself());
    let at = |generation, past| access.rights_at(&access.judgement, at((2, generation, 9), past));
    assert_eq!(at(3, before), Some(Rights::Write), "what the admin had seen stays");
    assert_eq!(at(4, before), None);
    assert_eq!(at(5, after), Some(Rights::Read));
}

#[test]
fn who_keeps_a_lesser_right_loses_only_what_took_more() {
    let mut history = History::new();
    let two = history.say(1, &[0], vec![admit(2, Rights::Admin)]);
    history.say(1, &[1], vec![revoke(2, &[two], Some(Rights::Write), 0)]);
    history.say(2, &[1], vec![admit(3, Rights::Write)]);
    let access = history.all();
    assert_eq!((rights(&access, 2), rights(&access, 3)), (Some(Rights::Write), None));
}

#[test]
fn who_left_was_not_removed() {
    let mut history = History::new();
    let two = history.say(1, &[0], vec![admit(2, Rights::Write)]);
    history.say(2, &[1], vec![MetaRecord::Leave { grants: vec![two] }]);
    let access = history.all();
    let device = author(2).device;
    assert!(access.is_former(&device) && !access.is_removed(&device));
    assert!(access.has_departed_in(&device, &history.0[2].with_itself()));
    assert!(!access.has_departed_in(&device, &history.0[1].with_itself()));
}

#[test]
fn what_a_revocation_that_ends_several_leaves_alone_for_one_of_them_counts_again() {
    // Of two admins, both let in by the creator, the grants of the first have the higher rank.
    let (first, second) = if author(2) < author(3) { (2, 3) } else { (3, 2) };
    let mut history = History::new();
    history.say(1, &[0], vec![admit(first, Rights::Admin)]);
    history.say(1, &[1], vec![admit(second, Rights::Admin)]);
    let by_creator = history.say(1, &[2], vec![admit_user(1, Rights::Admin)]);
    history.say(1, &[3], vec![enrol(1, 4, 0)]);
    history.say(1, &[4], vec![enrol(1, 5, 0)]);
    history.say(second, &[2], vec![admit_user(1, Rights::Admin)]);
    let may_write = history.say(first, &[1], vec![admit(6, Rights::Write)]);
    let is_admin = history.say(first, &[7], vec![admit(6, Rights::Admin)]);
    // Two devices of the user end that, each having seen another part of what 6 wrote.
    history.say(4, &[5, 6, 8], vec![revoke(6, &[may_write, is_admin], None, 50)]);
    history.say(5, &[5, 6, 8], vec![revoke(6, &[is_admin], Some(Rights::Write), 100)]);
    let before = history.all();
    // By what is left to the user they do not outrank it.
    history.say(1, &[5], vec![revoke_user(1, &[by_creator], None, &[])]);
    let now = history.all();
    let past = history.0[8].with_itself();
    let rights =
        |access: &Access, generation| access.rights_at(&access.judgement, at((6, generation, 99), &past));
    assert_eq!((rights(&before, 51), rights(&now, 51)), (None, Some(Rights::Admin)));
    let cause = history.0.last().unwrap().place();
    assert!(now.judged_anew(&before.judgement, cause).contains(&author(6).device));
    assert!(now.first_judged_anew(&before.judgement, &author(6), cause).unwrap() <= 51);
}

#[test]
fn what_ends_a_grant_ends_whatever_repeats_it_however_many_do() {
    let mut history = History::new();
    history.say(1, &[], vec![admit(2, Rights::Admin)]);
    let granted = history.say(1, &[], vec![admit(4, Rights::Write)]);
    let known = history.0.len() - 1;
    for _ in 0..20 {
        let (incarnation, generation) = (granted.author.incarnation, granted.generation);
        let again = vec![admit(4, Rights::Write), MetaRecord::Repeats { incarnation, generation }];
        history.say(1, &[], again);
    }
    assert_eq!(rights(&history.all(), 4), Some(Rights::Write));
    history.say(2, &[known], vec![revoke(4, &[granted], None, 0)]);
    assert_eq!(rights(&history.all(), 4), None);
}
