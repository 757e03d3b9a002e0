//! Who may do what: grants, what ends them, and which of all that counts (S-20, S-34, S-35).
//!
//! Grants, departures and revocations are facts that only add up, each named by its version, so they merge in any
//! order. What of them counts is *judged*, by all facts that are known, and anew when a revocation comes along:
//!
//! * A generation is **valid** if for what it does there is a grant in its past that counts for it.
//! * A grant **counts** if the generation that gave it is valid; for its device's generations that do not know of a
//!   departure which ended it; and as far as valid revocations of it allow.
//! * A **revocation** leaves a grant as it was for the generations that it names, which are those that its author
//!   knew; for all others nothing is left of it, or less. So it reaches back to what was written beside it.
//! * Every grant of `Admin` has a **rank**: how many grants lie between it and the creator, and then its version.
//!   Whoever acts by a grant may revoke a grant of `Admin` only if that one has a greater rank: so two admins who
//!   remove each other while apart have one outcome, and nothing is ever judged by what hangs on it.
//!
//! By this order judging is one pass, from the creator down (S-35): when the turn of a grant comes, all is known that
//! may end it. A rank belongs to a grant, and not to its holder by its best grant, for a holder may have lost that one
//! and been let in again by somebody who ranks below it: what is judged first must not rest on what is judged later.
//!
//! That a revocation *names* the generations which it leaves alone, instead of leaving alone what is in its past,
//! saves everybody a walk through that past. What its author names wrongly harms nobody but the one whom its author
//! may remove altogether.
//!
//! # Users
//!
//! A grant may be given to a **user** (S-3). It has one rank, and all the user's devices act by it: its turn is the turn
//! of whatever they did by it. A device acts by it at generations that have in their past
//!
//! * the grant, as it would a grant of its own;
//! * an **enrolment** of the device: the user's certificate, which any member may have written down, and which the device
//!   has not ended by leaving. It stands by the user's signature, even if the generation that holds it is void: whoever
//!   passes it on gives nothing, so it does not matter what that one may do;
//! * unless the user has **struck the device off**: a statement that ends all its certificates up to a number, but for
//!   the generations that it names. That reaches back like a revocation. It stands by the user's signature too, so no
//!   sibling can make one, and neither rank nor right of whoever passes it on is asked for.
//!
//! So enrolments and strikings-off are judged by nobody: they are there or not, like departures. The pass stays one
//! pass: what is new at a turn are facts that were known before it began. What admins end is grants: a user's as a
//! whole, for all its devices. Of a single device only the user's own word, or its own departure, ends the certificate.
//!
//! # Cuts
//!
//! A device may say that it has written again what it had written in another log of its own (see [`cuts`]). That makes
//! no act void: what it gave, others may have built on; and it is written again anyway. It counts as long as the device
//! might be here when it said so: else who is removed could undo what was left of it. A proof that somebody has forked a log
//! ends that log with what both branches have in common (S-26, S-35), and makes no act void either; it counts by itself,
//! whoever wrote it down. What the device gives again in another log of its own ends where that ends which it repeats: see
//! [`again`].
//!
//! # Ends
//!
//! A grant, and a certificate, may have an **end**: a moment. Neither is for a generation that is stamped later; that
//! follows from what both say, so it is the same everywhere and for ever, and takes part in all of the above: what a
//! device writes after its end nobody holds, and what an admin grants after its own end nobody does. What was written in
//! time stays, whatever it gives: that a right ends is no mistrust of what was done by it. A revocation that leaves
//! something may leave it until an end, too, so that a right is shortened as it is lessened. Of several grants, and of
//! several certificates, each stands by itself: the later end counts, and an old one that turns up again takes nothing
//! away.
//!
//! # Everybody
//!
//! What is granted to **everybody** (S-3) makes nobody a member: it lets members let in others, see [`opening`].
//!
//! Who is a member *now* is another question, which goes by this device's clock: see [`ending`].
//!
//! # Keys
//!
//! Of a device that has taken another key the logs from before have an end (see [`keys`]). What lies beyond it is a thief's:
//! its acts are void, and what would otherwise stand by the device's own word, departures and cuts, does not.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::Rights;
use super::past::{Numbered, Past};
use crate::hash::Tag;
use crate::id::{Author, DeviceId, Generation, Incarnation, Name, PublicKey, UserId, Version};
use crate::limits;
use crate::log::record::MetaRecord;
use crate::object::history::Place;
use crate::time::Wall;

mod again;
mod cuts;
mod ending;
mod facts;
mod judging;
mod keys;
mod members;
mod opening;
mod taken;
#[cfg(test)]
mod tests;
mod undone;

use self::again::Again;
pub(crate) use self::cuts::Cuts;
use self::cuts::Cutting;
use self::ending::Ends;
use self::facts::{
    Acts, Departure, Ended, Enrolment, Grant, Nth, Opening, Revocation, Standing, UserStanding,
};
pub(crate) use self::facts::{At, Holder, Left, Source, end};
pub(crate) use self::judging::{Judgement, Rank, Ranks};
use self::keys::{EndedLogs, Keys};
pub(crate) use self::opening::LettingIn;

/// What was judged lately by the facts in a past alone.
pub(crate) type Recent = VecDeque<(Past, Judgement)>;

/// Of how many pasts: logs that are taken in together may have as many.
const MOST_RECENT: usize = 16;

/// What a syncgroup's log says of who may do what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    standings: BTreeMap<DeviceId, Standing>,
    users: BTreeMap<UserId, UserStanding>,
    /// What is granted to everybody.
    openings: Vec<Opening>,
    revocations: BTreeMap<Nth, Revocation>,
    acts: Acts,
    /// What devices say that they have written again in another log of theirs.
    cuts: Cuts,
    /// By what generations: it counts where they do.
    cutting: BTreeMap<Place, Cutting>,
    /// What gives again what was given.
    again: Again,
    /// Proofs that logs are forked. They stand likewise.
    forks: BTreeMap<Author, Vec<Proven>>,
    /// Which keys devices have had.
    keys: Keys,
    genesis: Option<Place>,
    /// By all that is known.
    judgement: Judgement,
    /// When rights end, and by which clock they have.
    ends: Ends,
}

/// A proof that a log is forked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Proven {
    /// Where it stands.
    by: Place,
    /// How much the branches begin with.
    prefix: Generation,
    /// The same, in a tag.
    tag: Tag,
    /// The key of which the log is, if that is not its device's first.
    key: Option<PublicKey>,
}

/// Something by which a device may do something: a grant to it, or one to its user with what makes it the user's.
#[derive(Debug, Clone, Copy)]
struct Title<'a> {
    holder: Holder,
    grant: &'a Grant,
    enrolment: Option<&'a Enrolment>,
}

impl<'a> Title<'a> {
    /// What the device was given: a grant, or its enrolment. It is what a departure names.
    fn version(self) -> Version {
        self.enrolment.map_or(self.grant.version, |enrolment| enrolment.version)
    }

    /// The last moment, by their own stamps, for whose generations it is.
    fn ends(self) -> Wall {
        self.enrolment.map_or(self.grant.ends, |enrolment| enrolment.ends.min(self.grant.ends))
    }

    /// The certificate that makes the device its user's, if it has the title by that.
    fn certificate(self, device: DeviceId) -> Option<(Holder, Version)> {
        self.enrolment.map(|it| (Holder::DeviceOf(it.user, device), it.version))
    }

    /// What may have ended, each with who holds it.
    fn parts(self, device: DeviceId) -> impl Iterator<Item = (Holder, Version)> + use<'a> {
        core::iter::once((self.holder, self.grant.version)).chain(self.certificate(device))
    }
}

impl Access {
    /// Takes in a fact. Says whether what counts may be something else by it: then it has to be judged again.
    pub(crate) fn take(&mut self, from: Source, record: &MetaRecord) -> bool {
        match record {
            MetaRecord::Genesis { .. } => {
                self.genesis = Some(from.place);
                false
            }
            MetaRecord::Admit { key, name, rights, ends, .. } => {
                let grant = grant(from, self.ends.note(*rights, *ends), name);
                facts::add(&mut self.standings.entry(key.device()).or_default().grants, grant);
                self.acts.take(from);
                self.concerns(Holder::Device(key.device()), from.version()) || !self.keys.is_empty()
            }
            MetaRecord::AdmitUser { key, name, rights, ends, .. } => {
                let grant = grant(from, self.ends.note(*rights, *ends), name);
                let user = self.users.entry(key.user()).or_default();
                facts::add(&mut user.grants, grant);
                user.key = Some(*key);
                self.acts.take(from);
                self.concerns(Holder::User(key.user()), from.version()) || !self.keys.is_empty()
            }
            MetaRecord::Enrol { certificate, .. } => {
                let (user, device) = (certificate.user(), certificate.device());
                let enrolment = Enrolment {
                    author: from.place.0,
                    version: from.version(),
                    stamp: from.stamp,
                    user,
                    name: certificate.name().clone(),
                    number: certificate.number(),
                    ends: self.ends.note(Rights::Read, certificate.ends()).ends,
                };
                self.standings.entry(device).or_default().enrol(enrolment);
                let of = self.users.entry(user).or_default();
                of.devices.insert(device);
                // It may have been struck off before, or have said something of its keys.
                of.strikings.iter().any(|(struck, ..)| *struck == device)
                    || self.keys.words(&device).next().is_some()
                    || self.judgement.taken.is_from(Holder::User(user))
            }
            MetaRecord::Leave { grants } => {
                let grants = grants.iter().copied().collect();
                let departure = Departure { author: from.author, by: from.place, stamp: from.stamp, grants };
                self.standings.entry(from.author.device).or_default().depart(departure);
                // What knows of it was judged so before.
                false
            }
            MetaRecord::Revoke { device, grants, keep, ends, until } => {
                let until = until.iter().map(|(incarnation, last)| (author(*device, *incarnation), *last));
                let what = Ended::Grants(Holder::Device(*device), grants.iter().copied().collect());
                self.revoke(from, what, (*keep, *ends), until.collect());
                self.acts.take(from);
                true
            }
            MetaRecord::RevokeUser { user, grants, keep, ends, until } => {
                let what = Ended::Grants(Holder::User(*user), grants.iter().copied().collect());
                self.revoke(from, what, (*keep, *ends), until.iter().copied().collect());
                self.acts.take(from);
                true
            }
            MetaRecord::StrikeOff(striking) => {
                let device = striking.device;
                let spared = striking.until.iter();
                let until = spared.map(|(incarnation, last)| (author(device, *incarnation), *last));
                let nth = self.revoke(from, Ended::Certificates, (None, None), until.collect());
                let user = self.users.entry(striking.user()).or_default();
                user.strikings.push((device, striking.number, nth));
                true
            }
            MetaRecord::Cut { incarnation, first, last } => {
                let (author, range) = (author(from.author.device, *incarnation), *first..=*last);
                self.cuts.take(author, range.clone());
                let cutting =
                    || Cutting { by: from.author, stamp: from.stamp, past: from.past, cuts: Vec::new() };
                self.cutting.entry(from.place).or_insert_with(cutting).cuts.push((author, range));
                true
            }
            MetaRecord::Repeats { incarnation, generation } => {
                let author = author(from.author.device, *incarnation);
                self.again.take(from.version(), Version { author, generation: *generation });
                self.anything_ends()
            }
            MetaRecord::Fork(fork) => {
                let proven = Proven { by: from.place, prefix: fork.prefix, tag: fork.tag(), key: fork.key() };
                self.forks.entry(fork.author).or_default().push(proven);
                self.cuts.take(fork.author, fork.prefix.saturating_add(1)..=Generation::MAX);
                true
            }
            MetaRecord::Open { rights, ends } => {
                let (author, version) = (from.place.0, from.version());
                let given = self.ends.note(*rights, *ends);
                self.openings.push(Opening { author, version, given });
                self.acts.take(from);
                self.anything_ends()
            }
            MetaRecord::Close { grants, keep, ends, until } => {
                let what = Ended::Grants(Holder::Everybody, grants.iter().copied().collect());
                self.revoke(from, what, (*keep, *ends), until.iter().copied().collect());
                self.acts.take(from);
                true
            }
            MetaRecord::Rollover { chain, nonce, until } => {
                self.keys.take(from, (chain, *nonce), until);
                true
            }
            MetaRecord::Collection { .. }
            | MetaRecord::Rule { .. }
            | MetaRecord::Spec(_)
            | MetaRecord::Publish { .. }
            | MetaRecord::Unpublish { .. }
            | MetaRecord::Decline { .. } => false,
        }
    }

    /// The logs that are forked, each with how much counts of it.
    pub(crate) fn forked(&self) -> impl Iterator<Item = (&Author, Generation)> {
        self.forks.keys().filter_map(|author| Some((author, self.fork(author)?.1)))
    }

    /// Where it stands that a log is forked, and how much of it counts by that.
    pub(crate) fn fork(&self, author: &Author) -> Option<(Place, Generation)> {
        let proofs = self.forks.get(author)?.iter().map(|it| (it.by, it.prefix));
        proofs.min_by_key(|(by, prefix)| (*prefix, *by))
    }

    /// Where branches of a log part, the first place first: how much they begin with there, and that in a tag.
    pub(crate) fn partings(&self, author: &Author) -> BTreeSet<(Generation, Tag)> {
        self.forks.get(author).into_iter().flatten().map(|it| (it.prefix, it.tag)).collect()
    }

    /// Whether no other proof cuts a log as early as the one that stands there.
    pub(crate) fn is_first_proof(&self, author: &Author, by: Place) -> bool {
        let proofs = self.forks.get(author).map_or(&[][..], Vec::as_slice);
        let cut = proofs.iter().find(|it| it.by == by).map(|it| it.prefix);
        cut.is_some_and(|cut| proofs.iter().all(|it| it.by == by || it.prefix > cut))
    }

    /// Whether a proof that a log is forked says something new beside those in a past, or all that are known, and there
    /// is room for it (S-53).
    pub(crate) fn may_prove(
        &self,
        past: Option<&Past>,
        (author, prefix): (&Author, Generation),
        key: Option<PublicKey>,
    ) -> bool {
        let device = author.device;
        let from = Author { device, incarnation: Incarnation(0) };
        let to = Author { device, incarnation: Incarnation(u64::MAX) };
        let of_device = self.forks.range(from..=to).flat_map(|(of, all)| all.iter().map(move |it| (of, it)));
        let known = of_device.filter(|(_, it)| past.is_none_or(|past| past.has(it.by)));
        // Several members may have written down the same.
        // Whoever has an earlier key forks as many logs of that as there is time for.
        let known = known.filter(|(of, it)| it.key == key || *of == author);
        let known: BTreeSet<(&Author, Generation)> = known.map(|(of, it)| (of, it.prefix)).collect();
        let is_new = known.iter().all(|(of, cut)| *of != author || prefix < *cut);
        is_new && known.len() < limits::MAX_FORKS
    }

    /// Whether something that was given, or a key, may have ended: then every act has to be judged.
    fn anything_ends(&self) -> bool {
        !self.revocations.is_empty() || !self.keys.is_empty()
    }

    fn revoke(
        &mut self,
        from: Source,
        what: Ended,
        (keep, ends): (Option<Rights>, Option<Wall>),
        until: BTreeMap<Author, Generation>,
    ) -> Nth {
        let ends = keep.map_or(Wall::NEVER, |rights| self.ends.note(rights, ends).ends);
        let revocation = Revocation { by: from.place, stamp: from.stamp, what, keep, ends, until };
        let version = from.version();
        let of_it = (version, 0)..=(version, u32::MAX);
        let nth = (version, self.revocations.range(of_it).count() as u32);
        self.revocations.insert(nth, revocation);
        nth
    }

    /// Judges by all that is known. Returns what was thought before.
    pub(crate) fn judge(&mut self, pasts: Numbered<'_>) -> Judgement {
        let judgement = self.judged(pasts, None);
        core::mem::replace(&mut self.judgement, judgement)
    }

    /// Whether anything that is known may end what was just given to somebody, or takes from that one what others give it.
    /// Otherwise nothing but the generation that gives it need be judged: none that is known has it in its past.
    fn concerns(&self, holder: Holder, given: Version) -> bool {
        let ends = |end: &Revocation| match &end.what {
            Ended::Grants(of, grants) => *of == holder && grants.contains(&given),
            Ended::Certificates => false,
        };
        self.judgement.taken.is_from(holder) || self.revocations.values().any(ends)
    }

    /// Takes in what was found of a generation that gives something by which nothing else is judged otherwise.
    pub(crate) fn judge_alone(&mut self, place: Place, counts: bool) {
        if !counts {
            self.judgement.make_void(place);
        }
    }

    /// What counts by all that is known.
    pub(crate) fn judgement(&self) -> &Judgement {
        &self.judgement
    }

    /// What a device may do at one of its generations, by the facts in the past of that alone.
    #[cfg(test)]
    pub(crate) fn rights_in(&self, pasts: Numbered<'_>, at: At<'_>, recent: &mut Recent) -> Option<Rights> {
        self.judged_in(pasts, at.past, recent, |judgement| self.rights_at(judgement, at))
    }

    /// What is asked of a judgement by the facts in a past alone: what everybody may hold is judged so, the same
    /// everywhere and for ever. `recent` is kept from one generation to the next: mostly the next one has the same past, and
    /// judging by that takes a look at all facts in it.
    pub(crate) fn judged_in<T>(
        &self,
        pasts: Numbered<'_>,
        past: &Past,
        recent: &mut Recent,
        ask: impl FnOnce(&Judgement) -> T,
    ) -> T {
        let known = |place: Place| past.has(place);
        let mut ends = self.revocations.values().map(|revocation| revocation.by).chain(self.keys.places());
        if !ends.any(known) {
            ask(&Judgement::default())
        } else if self.revocations.values().all(|it| known(it.by))
            && self.keys.places().all(known)
            && (self.keys.is_empty() || self.acts.iter().all(|act| known(act.place)))
            && !self.has_forked_words()
        {
            // Further grants, which are not in the past, change nothing for those that are; unless a key has ended, and
            // they build on something of it.
            ask(&self.judgement)
        } else {
            if let Some((_, judgement)) = recent.iter().find(|(of, _)| of == past) {
                return ask(judgement);
            }
            let judged = self.judged(pasts, Some(past));
            let answer = ask(&judged);
            recent.truncate(MOST_RECENT - 1);
            recent.push_front((past.clone(), judged));
            answer
        }
    }

    /// What a device may do at one of its generations, by a judgement.
    pub(crate) fn rights_at(&self, judgement: &Judgement, at: At<'_>) -> Option<Rights> {
        if self.genesis.is_some() && at.place == self.genesis {
            return Some(Rights::Admin);
        }
        // Whoever knows that its key has ended, and how much stays, writes no more by it.
        if judgement.ended().has(&at.author, at.generation) {
            return None;
        }
        self.rights_by(judgement, at, judgement.ended())
    }

    /// The same, wherever its log ends: the logs that end are these, for the departures of its device.
    fn rights_by(&self, judgement: &Judgement, at: At<'_>, ended: &EndedLogs) -> Option<Rights> {
        let titles = self.titles(&at.author.device);
        titles.filter_map(|title| self.has_by(judgement, at, &title, ended)).max()
    }

    /// What a device may do by one of its titles at one of its generations.
    fn has_by(
        &self,
        judgement: &Judgement,
        at: At<'_>,
        title: &Title<'_>,
        ended: &EndedLogs,
    ) -> Option<Rights> {
        let device = at.author.device;
        let standing = self.standings.get(&device)?;
        let known = |place: Place| at.past.has(place) && Some(place) != at.place;
        let counts = known(title.grant.place())
            && at.stamp.wall() <= title.ends()
            && title.enrolment.is_none_or(|enrolment| known(enrolment.place()))
            && !judgement.is_void(&title.grant.place())
            && !self.has_left(standing, &title.version(), known, ended);
        if !counts {
            return None;
        }
        let ends = title.parts(device).flat_map(|(holder, version)| judgement.ends(holder, &version));
        let mut ends = ends.filter_map(|nth| self.revocations.get(nth));
        let place = (at.author, at.generation);
        ends.try_fold(title.grant.rights, |rights, end| end.leaves(rights, place, at.stamp))
    }

    /// All by which a device may do something, or might once.
    fn titles(&self, device: &DeviceId) -> impl Iterator<Item = Title<'_>> {
        let standing = self.standings.get(device);
        let holder = Holder::Device(*device);
        let own = standing.into_iter().flat_map(|standing| &standing.grants);
        let own = own.map(move |grant| Title { holder, grant, enrolment: None });
        let enrolments = standing.into_iter().flat_map(Standing::enrolments);
        let of_users = enrolments.flat_map(|enrolment| {
            let holder = Holder::User(enrolment.user);
            let grants = self.users.get(&enrolment.user).into_iter().flat_map(|user| &user.grants);
            grants.map(move |grant| Title { holder, grant, enrolment: Some(enrolment) })
        });
        own.chain(of_users)
    }

    /// What is left of a title for what its device writes from now on, whatever the time is.
    fn left(&self, device: &DeviceId, standing: &Standing, title: &Title<'_>) -> Option<Left> {
        if self.has_left(standing, &title.version(), |_| true, self.judgement.ended()) {
            return None;
        }
        self.left_by_others(device, title)
    }

    /// The same, whether or not the device has left.
    fn left_by_others(&self, device: &DeviceId, title: &Title<'_>) -> Option<Left> {
        if self.judgement.is_void(&title.grant.place()) {
            return None;
        }
        let parts = title.parts(*device);
        let ends = parts.flat_map(|(holder, version)| self.judgement.ends(holder, &version));
        let mut ends = ends.filter_map(|nth| self.revocations.get(nth));
        let given = Left { rights: title.grant.rights, ends: title.ends() };
        ends.try_fold(given, |left, end| end.lessens(left))
    }

    /// The titles of a device that nobody has ended, and what is left of each. Their time may be over.
    fn standing_titles<'a>(&'a self, device: &'a DeviceId) -> impl Iterator<Item = (Title<'a>, Left)> {
        let standing = self.standings.get(device).into_iter();
        let titles = standing.flat_map(|standing| self.titles(device).map(move |title| (standing, title)));
        titles.filter_map(|(standing, title)| {
            let left = self.left(device, standing, &title)?;
            Some((title, left))
        })
    }

    /// The grants to a user that nobody has ended, and what is left of each. Their time may be over.
    fn standing_grants_to<'a>(&'a self, user: &UserId) -> impl Iterator<Item = (&'a Grant, Left)> {
        let holder = Holder::User(*user);
        let grants = self.users.get(user).into_iter().flat_map(|user| &user.grants);
        let grants = grants.filter(|grant| !self.judgement.is_void(&grant.place()));
        grants.filter_map(move |grant| {
            let ends = self.judgement.ends(holder, &grant.version).iter();
            let mut ends = ends.filter_map(|nth| self.revocations.get(nth));
            let given = Left { rights: grant.rights, ends: grant.ends };
            Some((grant, ends.try_fold(given, |left, end| end.lessens(left))?))
        })
    }

    /// The first generation of a log of which its device says that it has written it again elsewhere. What follows on it
    /// may come in years, or never.
    pub(crate) fn first_cut(&self, author: &Author) -> Option<Generation> {
        self.judgement.first_cut(author)
    }

    /// The grants to a device that nobody has ended, and its enrolments.
    pub(crate) fn grants(&self, device: &DeviceId) -> Vec<Version> {
        self.versions(device, |_| true)
    }

    /// What was given to a device, of all that has some rest that is meant.
    fn versions(&self, device: &DeviceId, is_meant: impl Fn(Left) -> bool) -> Vec<Version> {
        let meant = self.standing_titles(device).filter(|(_, left)| is_meant(*left));
        // By one enrolment a device has all that its user was granted.
        let mut seen = BTreeSet::new();
        meant.map(|(title, _)| title.version()).filter(|version| seen.insert(*version)).collect()
    }

    /// Who let in a device: whoever wrote down its enrolments, and gave the grants to it and to its users, that nobody has
    /// ended.
    pub(crate) fn who_let_in(&self, device: &DeviceId) -> Vec<Author> {
        let titles = self.standing_titles(device).map(|(title, _)| title);
        titles.flat_map(|title| [title.version().author, title.grant.version.author]).collect()
    }

    /// All that lets in a device and nobody has ended: its enrolments, and the grants to it and to its users.
    pub(crate) fn let_in_by(&self, device: &DeviceId) -> Vec<Place> {
        let titles = self.standing_titles(device).map(|(title, _)| title);
        titles
            .flat_map(|title| title.enrolment.map(Enrolment::place).into_iter().chain([title.grant.place()]))
            .collect()
    }

    /// The grants to a device or a user that give more than something, or for longer, and what is left of each. Those whose
    /// time is over are among them: what somebody writes and dates back may rest on them.
    pub(crate) fn grants_above(&self, holder: Holder, keep: Option<Left>) -> Vec<(Version, Left)> {
        let is_more = |left: Left| !keep.is_some_and(|keep| keep.covers(left));
        match holder {
            Holder::User(user) => {
                let more = self.standing_grants_to(&user).filter(|(_, left)| is_more(*left));
                more.map(|(grant, left)| (grant.version, left)).collect()
            }
            Holder::Device(device) => {
                let own = self.standing_titles(&device).filter(|(title, _)| title.enrolment.is_none());
                let more = own.filter(|(_, left)| is_more(*left));
                more.map(|(title, left)| (title.grant.version, left)).collect()
            }
            Holder::Everybody => {
                let more = self.standing_openings().filter(|(_, left)| is_more(*left));
                more.map(|(opening, left)| (opening.version, left)).collect()
            }
            Holder::DeviceOf(..) => Vec::new(),
        }
    }

    /// The grants to a device itself that nothing has ended but its own departure. A departure ends them for what is
    /// written in the knowledge of it: a copy of the device from before can go on by them.
    pub(crate) fn forsaken(&self, device: &DeviceId) -> Vec<Version> {
        let Some(standing) = self.standings.get(device) else { return Vec::new() };
        let own = self.titles(device).filter(|title| title.enrolment.is_none());
        let has_left =
            |title: &Title<'_>| self.has_left(standing, &title.version(), |_| true, self.judgement.ended());
        let left = own.filter(has_left);
        let grants = left.filter(|title| self.left_by_others(device, title).is_some());
        grants.map(|title| title.grant.version).collect()
    }

    /// The best rank by which a device acts as an admin at a moment.
    pub(crate) fn rank(&self, device: &DeviceId, ranks: &Ranks, moment: Wall) -> Option<Rank> {
        let is_admin = |left: Left| left.at(moment) == Some(Rights::Admin);
        let admin = self.standing_titles(device).filter(|(_, left)| is_admin(*left));
        admin.filter_map(|(title, _)| ranks.get(&(title.holder, title.grant.version)).copied()).min()
    }

    /// Whether a departure ends something that stands in its past, as far as the device's own departures go: others say
    /// nothing, and there might be any number of them (S-53).
    pub(crate) fn may_leave(&self, device: &DeviceId, past: &Past, ended: &[Version]) -> bool {
        let known = |place: Place| past.has(place);
        let logs = self.said_in(Some(past));
        let Some(standing) = self.standings.get(device) else { return false };
        self.titles(device).any(|title| {
            ended.contains(&title.version())
                && known(title.grant.place())
                && title.enrolment.is_none_or(|enrolment| known(enrolment.place()))
                && !self.has_left(standing, &title.version(), known, &logs)
        })
    }

    /// Whether there are as many certificates in a past as there may be, of all users (S-53). Each counts once, however
    /// many have written it down: else one member that repeats what others say could leave no room for anything new.
    pub(crate) fn is_full(&self, past: &Past) -> bool {
        let of_device = |standing: &Standing| {
            distinct(standing.enrolments().iter().filter(|it| past.has(it.place()))).len()
        };
        self.standings.values().map(of_device).sum::<usize>() >= limits::MAX_ENROLMENTS
    }

    /// Whether a generation with this past, or with this grant to the user in itself, may say that a device is a user's,
    /// or is none any more: the user was granted something, it is not said already, and there is room (S-53).
    pub(crate) fn may_say(&self, past: &Past, record: &MetaRecord, with: Option<UserId>) -> bool {
        let known = |place: Place| past.has(place);
        let is_user = |user: &UserId| {
            let grants = self.users.get(user).into_iter().flat_map(|user| &user.grants);
            with == Some(*user) || grants.map(Grant::place).any(known)
        };
        let strikings = |user: &UserId| {
            let all = self.users.get(user).into_iter().flat_map(|user| &user.strikings);
            let by = |nth: &Nth| self.revocations.get(nth).is_some_and(|it| known(it.by));
            all.filter(move |(_, _, nth)| by(nth))
        };
        match record {
            MetaRecord::Enrol { certificate, .. } => {
                let ended = self.said_in(Some(past));
                let (user, device) = (certificate.user(), certificate.device());
                let devices = self.users.get(&user).into_iter().flat_map(|user| &user.devices);
                let standings = devices.filter_map(|device| self.standings.get(device));
                let of_device = |standing: &Standing| {
                    let of_user = standing.enrolments().iter();
                    distinct(of_user.filter(|it| it.user == user && known(it.place()))).len()
                };
                let of_user: usize = standings.map(of_device).sum();
                let is_there = self.standings.get(&device).is_some_and(|standing| {
                    standing.enrolments().iter().any(|it| {
                        it.user == user
                            && it.number == certificate.number()
                            && it.ends >= end(certificate.ends())
                            && known(it.place())
                            && !self.has_left(standing, &it.version, known, &ended)
                    })
                });
                is_user(&user) && !is_there && of_user < limits::MAX_ENROLMENTS_OF_USER && !self.is_full(past)
            }
            MetaRecord::StrikeOff(striking) => {
                let user = striking.user();
                let is_there = |(device, number, _): &(DeviceId, u64, Nth)| {
                    *device == striking.device && *number >= striking.number
                };
                let distinct: BTreeSet<(DeviceId, u64)> =
                    strikings(&user).map(|(device, number, _)| (*device, *number)).collect();
                is_user(&user)
                    && !strikings(&user).any(is_there)
                    && distinct.len() < limits::MAX_ENROLMENTS_OF_USER
            }
            _ => true,
        }
    }
}

/// The certificates of a device that some enrolments write down.
fn distinct<'e>(enrolments: impl Iterator<Item = &'e Enrolment>) -> BTreeSet<(UserId, u64, Wall)> {
    enrolments.map(|it| (it.user, it.number, it.ends)).collect()
}

fn grant(from: Source, given: Left, name: &Name) -> Grant {
    let (author, version) = (from.place.0, from.version());
    let Left { rights, ends } = given;
    Grant { author, version, stamp: from.stamp, rights, ends, name: name.clone() }
}

fn author(device: DeviceId, incarnation: Incarnation) -> Author {
    Author { device, incarnation }
}
