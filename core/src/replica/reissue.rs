//! Ending the silence of a device whose clock was far ahead (S-2, S-6, S-27).
//!
//! What it wrote by such a clock nobody takes before that time, and what it writes once the clock is right must be
//! stamped above that, so nobody takes it either. So all that is stamped further ahead than others would take is [taken
//! back](super::take_back), and the device writes again what it had written itself, in the same order, as another
//! author:
//!
//! ```text
//!   as (D, 1):   o───o───o │ a───b───c        a, b, c are stamped years ahead
//!                        │ │
//!   as (D, 2):           └──► cut a…c ──► a' ──► b' ──► c' ──► whatever comes now
//! ```
//!
//! * **The same records**, with the parents that they had: where somebody has changed a row meanwhile, what is written
//!   again stands beside that, and does not take its place. Parents among what was taken back are replaced: own ones by
//!   what was written in their place, others' by what those had built on.
//! * **The same causes**, and none that its author did not know then.
//! * **Stamped as early as these causes allow**, one batch after the other. When it was really written nobody knows any
//!   more; but it was after these, and so whatever others wrote meanwhile, and this device did not know, counts as
//!   newer. By the time of now it would be last everywhere, and hide what is newer.
//! * **The first generation names those that count no more**: somebody whose clock was ahead as well may have them. Who
//!   holds them goes on holding them, void, like whatever is void: so nobody has to agree on what may be left out, and
//!   who lacks them takes them when their time has come, for nothing.
//!
//! What was written in a collection that is dropped itself, as somebody else had added it by such a clock, is found once
//! that comes again: a row stands under the name of its collection, and needs nothing else of it.
//!
//! What others wrote too far ahead is dropped. It comes again when its time has come, or written again by its author; where
//! this was the last device that had it, it does not.
//!
//! Whoever took something under the old name, by a clock that was ahead as well, may have done something to it before it
//! heard of the new one: have deleted the row, taken the element out of the set, removed the member. That is not done to
//! what is written again.
//! What does not count any more, as a right was taken from this device, is not written again: that would have it count.
//!
//! A log that is forked ends where its branches part (S-26), and its device writes again likewise what it had written on
//! either branch, each part from where others part to where the next ones do: here nothing is taken back, as others may have
//! built on it, and no record names what it stands for, as the proof of the fork says so of all of it.
//!
//! Where the device has taken another key since, it writes that by the key that it has by then, in a log that says so as it
//! begins and stands for what an earlier key has written again of the same branch. Of a log of an earlier key it writes again
//! only what it has said, by its word on its keys, to be its own: somebody else may have the key, and have begun the other
//! branch.
//!
//! All of it is one commit. Where something cannot be written again, as the syncgroup itself or what this device may do
//! there was made by such a clock, nothing is changed at all.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use bytes::Bytes;

use super::Stop;
use super::plan::Plan;
use super::stored::{Stored, corrupt};
use super::take_back::TakenBack;
use crate::action::{Notice, Outcome, Refusal, Reissued};
use crate::hash::{self, Hash};
use crate::id::{Author, Generation, SyncgroupId, Version};
use crate::keys::Life;
use crate::limits;
use crate::log::generation::{BatchPart, Dependency, Encoded, Header};
use crate::log::record::{Content, MetaRecord, Record, RowRecord, Until};
use crate::object::history::Place;
use crate::store::key::{self, AuthorIx, GroupIx};
use crate::store::{Fault, Table};
use crate::syncgroup::access::Cuts;
use crate::syncgroup::command::Means;
use crate::syncgroup::judge;
use crate::time::{Hlc, Wall};

/// A batch: when it was written, under which number, which one; and where its parts are.
type Batches = BTreeMap<(Hlc, AuthorIx, Option<[u8; 16]>, Option<GroupIx>), Vec<(GroupIx, Place)>>;

/// How far the new log in a syncgroup is.
struct Course {
    syncgroup: SyncgroupId,
    back: TakenBack,
    /// What counts no more where it was.
    cuts: Cuts,
    /// What is left, and in the past of what was written again.
    known: BTreeMap<AuthorIx, Generation>,
    /// The same of what was taken back.
    seen: BTreeSet<Place>,
    /// What the next generation has to name.
    pending: BTreeMap<Author, Generation>,
    /// What was written again, by what it was.
    names: BTreeMap<Version, Version>,
}

/// A part of a batch, made ready.
struct Part {
    group: GroupIx,
    was: Version,
    at: Hlc,
    records: Vec<Record>,
}

/// Takes back what is stamped further ahead than others take, and writes again what of it is this device's.
pub(crate) fn reissue(plan: &mut Plan<'_>, means: &Means<'_>) -> Result<Outcome, Stop> {
    let last = Hlc::last_of(means.wall + plan.replica.limits.drift);
    let mut told = Reissued { author: plan.own(), batches: 0, dropped: 0 };
    if plan.last_stamp() <= last {
        return Ok(Outcome::Reissued(told));
    }
    let drawn = hash::derive(hash::REISSUE, &[&means.nonce]).0;
    plan.reincarnate(drawn.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)));
    told.author = plan.own();
    let own = plan.enter(told.author);
    let (mut courses, mut batches) = (BTreeMap::new(), Batches::new());
    let groups = plan.replica.groups.values().filter(|group| group.record.stage.is_read());
    for (ix, syncgroup) in groups.map(|group| (group.ix, group.record.id)) {
        let back = plan.take_back(ix, last, (own, 1))?;
        let all: usize = back.logs().map(|(_, range)| range.clone().count()).sum();
        let mut course = Course::new(syncgroup, back);
        let mine = course.collect(plan, ix, &mut batches)?;
        told.dropped += all - mine;
        let device = told.author.device;
        let is_let_in = plan.metadata(ix).is_some_and(|it| it.access.rights(&device).is_some());
        let was_let_in =
            plan.replica.group(&syncgroup).map(|it| it.metadata.access.rights(&device).is_some());
        if !is_let_in && (was_let_in == Some(true) || !course.cuts.is_empty()) {
            return Err(Refusal::MadeAhead(syncgroup).into());
        }
        courses.insert(ix, course);
    }
    plan.settle_stamp();
    let mut stamp = Hlc::default();
    told.batches = batches.len();
    for (nth, ((_, _, batch, _), places)) in batches.into_iter().enumerate() {
        let id = batch.map(|_| batch_id(&means.nonce, nth as u64));
        stamp = again(plan, &mut courses, places, (stamp, id))?;
    }
    plan.forget_changes()?;
    plan.tell_once()?;
    Ok(Outcome::Reissued(told))
}

/// What is left to be written again of a branch of one of this device's own logs that is forked (S-26), as far as to where
/// another one parts from it that has a name of its own: what counted there, and the author under which it is written again.
struct Unwritten {
    branch: RangeInclusive<Generation>,
    /// Those that say something that this device was allowed to say.
    said: Vec<Generation>,
    /// Under which life's name.
    successor: Author,
    life: Life,
    /// How many generations come first there that say something of the log itself.
    first: Generation,
    /// How many of those that say something are written again.
    written: usize,
}

/// Writes again what one of this device's own logs says that is forked, behind where the branches part (S-2): so what its
/// user wrote is lost on none. What is written is the same wherever it is done, generation by generation: two copies of one
/// device, or one whose store was set back again, write it once. Returns how many batches were written.
pub(crate) fn write_branch_again(plan: &mut Plan<'_>, group: GroupIx, ix: AuthorIx) -> Result<usize, Fault> {
    let Some(syncgroup) = plan.record(group).map(|record| record.id) else { return Ok(0) };
    let (own, author, mut all) = (plan.life(), plan.author(ix), 0);
    for left in plan.unwritten(group, ix)? {
        let before = plan.held(group, &left.successor).max(left.first);
        plan.write_as(left.life);
        let done = write_branch(plan, group, (ix, syncgroup), &left);
        plan.write_as(own);
        match done {
            Err(Stop::Fault(fault)) => return Err(fault),
            // What it may not say any more, or would not fit, ends it there; what was written before that stands.
            Err(Stop::Refused(_)) | Ok(()) => {}
        }
        let batches = plan.held(group, &left.successor).saturating_sub(before) as usize;
        if batches > 0 {
            plan.notice(Notice::WrittenAgain { syncgroup, author, successor: left.successor, batches });
        }
        all += batches;
    }
    Ok(all)
}

fn write_branch(
    plan: &mut Plan<'_>,
    group: GroupIx,
    (ix, syncgroup): (AuthorIx, SyncgroupId),
    left: &Unwritten,
) -> Result<(), Stop> {
    let again = plan.enter(left.successor);
    let mut back = TakenBack::default();
    back.add(ix, left.branch.clone());
    let mut course = Course::new(syncgroup, back);
    let before = plan.before(group, ix, left)?;
    let mut stamp = course.begin_branch(plan, group, (ix, again), left)?;
    for (generation, number) in left.said.iter().zip(left.first + 1..) {
        let least = stamp.max(course.learn(plan, group, (ix, *generation))?);
        if number <= left.first + left.written as Generation {
            let header = plan.stored(group, again, number)?.encoded()?.header;
            header.dependencies.iter().for_each(|it| _ = course.pending.remove(&it.author));
            let was = Version { author: plan.author(ix), generation: *generation };
            course.names.insert(was, Version { author: left.successor, generation: number });
            stamp = header.stamp;
            continue;
        }
        let Part { was, at, mut records, .. } = course.part(plan, group, (ix, *generation))?;
        records.retain(|record| !stands_anyway(record));
        if records.iter().any(gives_or_takes) {
            // What was given to somebody may have been ended under a name that it had before; and what was taken from
            // somebody, given again by whoever knew of that.
            let of_keys = before.iter().map(|it| (it.incarnation, number - left.first + it.says_its_key()));
            let names = core::iter::once((was.author.incarnation, was.generation)).chain(of_keys);
            let said = records.iter().filter(|record| says_what_it_repeats(record)).count();
            let room = limits::MAX_FORKS.saturating_sub(said);
            let repeats = names.take(room).map(|(incarnation, generation)| {
                Record::Meta(MetaRecord::Repeats { incarnation, generation })
            });
            records.splice(0..0, repeats.collect::<Vec<_>>());
        }
        stamp = Hlc::after(least.max(at), Wall(0));
        let version = course.write(plan, group, (stamp, None), records)?;
        course.names.insert(was, version);
    }
    Ok(())
}

/// What stands whatever becomes of the generation that says so need not be said again.
fn stands_anyway(record: &Record) -> bool {
    begins_a_log(record) || matches!(record, Record::Meta(MetaRecord::Fork(_)))
}

fn says_something(record: &Record) -> bool {
    !stands_anyway(record) && !says_what_it_repeats(record)
}

fn says_what_it_repeats(record: &Record) -> bool {
    matches!(record, Record::Meta(MetaRecord::Repeats { .. }))
}

fn gives_or_takes(record: &Record) -> bool {
    use MetaRecord::{Admit, AdmitUser, Close, Enrol, Open, Revoke, RevokeUser};
    let Record::Meta(record) = record else { return false };
    matches!(
        record,
        Admit { .. }
            | AdmitUser { .. }
            | Enrol { .. }
            | Open { .. }
            | Revoke { .. }
            | RevokeUser { .. }
            | Close { .. }
    )
}

impl Plan<'_> {
    /// Whether something is left to be written again of the branch of a forked log that is here.
    pub(super) fn is_unwritten(&self, group: GroupIx, ix: AuthorIx) -> Result<bool, Fault> {
        Ok(!self.unwritten(group, ix)?.is_empty())
    }

    /// By where branches part: of each part what is left of it. What is written again of one part is the same whatever is
    /// known of others.
    fn unwritten(&self, group: GroupIx, ix: AuthorIx) -> Result<Vec<Unwritten>, Fault> {
        let author = self.author(ix);
        let own = self.own_branch(group, ix)?;
        let mut partings = self.partings(group, &author)?;
        partings.retain(|prefix| *prefix < own);
        let ends = partings.iter().skip(1).copied().chain([own]);
        let mut unwritten = Vec::new();
        for (prefix, last) in partings.iter().zip(ends) {
            unwritten.extend(self.unwritten_part(group, (ix, author), prefix + 1..=last)?);
        }
        Ok(unwritten)
    }

    /// The names under which a branch may have been written again by keys that the device had before, the latest first.
    fn before(&self, group: GroupIx, ix: AuthorIx, left: &Unwritten) -> Result<Vec<Author>, Fault> {
        let leaf = self.stored(group, ix, *left.branch.start())?.encoded()?.leaf;
        let author = self.author(ix);
        let names = self.successors(&author, &leaf).filter(|it| *it != left.life);
        let mut names: Vec<Author> =
            names.map(|life| Author { incarnation: life.incarnation, ..author }).collect();
        names.reverse();
        Ok(names)
    }

    fn unwritten_part(
        &self,
        group: GroupIx,
        (ix, author): (AuthorIx, Author),
        branch: RangeInclusive<Generation>,
    ) -> Result<Option<Unwritten>, Fault> {
        let leaf = self.stored(group, ix, *branch.start())?.encoded()?.leaf;
        let mut said = Vec::new();
        for generation in branch.clone() {
            // What was void is so again where it is written again: no revocation spares anything of that log. So which
            // ones these are follows from the branch alone, whatever else is known.
            let encoded = self.stored(group, ix, generation)?.encoded()?;
            let records = encoded.records(&author).map_err(|error| corrupt(Table::Log, error))?;
            if records.iter().any(says_something) {
                said.push(generation);
            }
        }
        let mut left = Unwritten { branch, said, successor: author, life: self.life(), first: 0, written: 0 };
        for life in self.successors(&author, &leaf) {
            let successor = Author { incarnation: life.incarnation, ..author };
            left.first = successor.says_its_key();
            left.written = self.stays(group, &successor).saturating_sub(left.first) as usize;
            (left.successor, left.life) = (successor, life);
            if left.written >= left.said.len() {
                return Ok(None);
            }
        }
        Ok(Some(left))
    }
}

/// A name for a batch over several syncgroups: what is written again is another one, whose parts wait for each other
/// and not for what has the old name.
fn batch_id(nonce: &[u8; 16], nth: u64) -> [u8; 16] {
    hash::derive(hash::REISSUE, &[nonce, &nth.to_le_bytes()]).tag().0
}

/// Writes one batch again, all parts at one stamp, and returns that.
fn again(
    plan: &mut Plan<'_>,
    courses: &mut BTreeMap<GroupIx, Course>,
    places: Vec<(GroupIx, Place)>,
    (before, id): (Hlc, Option<[u8; 16]>),
) -> Result<Hlc, Stop> {
    let of = places.iter().filter_map(|(group, _)| courses.get(group));
    let ids: Vec<SyncgroupId> = of.map(|course| course.syncgroup).collect();
    let (mut least, mut parts) = (before, Vec::with_capacity(places.len()));
    for (group, place) in places {
        let Some(course) = courses.get_mut(&group) else { continue };
        let mut known = before.max(course.learn(plan, group, place)?);
        let cuts = core::mem::take(&mut course.cuts);
        if !cuts.is_empty() {
            let records: Vec<_> = cuts.records().map(Record::Meta).collect();
            known = Hlc::after(known, Wall(0));
            course.write(plan, group, (known, None), records)?;
        }
        least = least.max(known);
        let part = course.part(plan, group, place)?;
        least = least.max(part.at);
        parts.push(part);
    }
    let stamp = Hlc::after(least, Wall(0));
    for Part { group, was, records, .. } in parts {
        let Some(course) = courses.get_mut(&group) else { continue };
        let others = ids.iter().filter(|it| **it != course.syncgroup);
        let batch = id.map(|id| BatchPart { id, others: others.map(|it| BatchPart::tag(&id, it)).collect() });
        let batch = batch.filter(|batch| !batch.others.is_empty());
        let version = course.write(plan, group, (stamp, batch), records)?;
        course.names.insert(was, version);
    }
    Ok(stamp)
}

/// A generation as it was before it was taken back.
fn former(plan: &Plan<'_>, group: GroupIx, (ix, generation): Place) -> Result<Encoded, Fault> {
    let get = |table, key: &Bytes| plan.view().get(table, key);
    Stored::get(&get, group, ix, generation)?.encoded()
}

/// Whether a record is one that a log says as it begins, and no other generation may.
fn begins_a_log(record: &Record) -> bool {
    matches!(record, Record::Meta(MetaRecord::Cut { .. } | MetaRecord::Rollover { .. }))
}

impl Course {
    fn new(syncgroup: SyncgroupId, back: TakenBack) -> Self {
        Self {
            syncgroup,
            back,
            cuts: Cuts::default(),
            known: BTreeMap::new(),
            seen: BTreeSet::new(),
            pending: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    /// Finds what is to be written again. Returns how much of this device's own was taken back.
    fn collect(&mut self, plan: &Plan<'_>, group: GroupIx, batches: &mut Batches) -> Result<usize, Fault> {
        let (mut mine, mut stood_for) = (0, Vec::new());
        for (ix, range) in self.back.logs() {
            let author = plan.author(ix);
            if author.device != plan.own().device {
                continue;
            }
            for generation in range.clone() {
                mine += 1;
                if plan.view().get(Table::Void, &key::log(group, ix, generation))?.is_some() {
                    continue;
                }
                // What lies between two that are named does not count anyway: so it does no harm to name it.
                let is_full = self.cuts.count() >= limits::MAX_CUTS;
                let last = self
                    .cuts
                    .last(&author)
                    .filter(|last| is_full && (*range.start()..generation).contains(last));
                self.cuts.take(author, last.unwrap_or(generation)..=generation);
                let encoded = former(plan, group, (ix, generation))?;
                let records = encoded.records(&author).map_err(|error| corrupt(Table::Log, error))?;
                // What this log stood for the new one stands for, and says that when it begins.
                for record in &records {
                    if let Record::Meta(MetaRecord::Cut { incarnation, first, last }) = record {
                        stood_for.push((Author { incarnation: *incarnation, ..author }, *first..=*last));
                    }
                }
                // What only joins what a header cannot name says nothing.
                if records.iter().all(begins_a_log) {
                    continue;
                }
                let header = encoded.header;
                let id = header.batch.map(|part| part.id);
                let alone = id.is_none().then_some(group);
                batches.entry((header.stamp, ix, id, alone)).or_default().push((group, (ix, generation)));
            }
        }
        stood_for.into_iter().for_each(|(author, range)| self.cuts.take(author, range));
        Ok(mine)
    }

    /// Begins the log in which a branch is written again, by a device that has had another key before: it says of which key it is
    /// (S-1), and stands for what was written of the branch by keys before. What it says follows from the branch. Returns
    /// the stamp of that.
    fn begin_branch(
        &mut self,
        plan: &mut Plan<'_>,
        group: GroupIx,
        (ix, again): (AuthorIx, AuthorIx),
        left: &Unwritten,
    ) -> Result<Hlc, Stop> {
        let Some(generation) = left.said.first().filter(|_| left.first > 0) else {
            return Ok(Hlc::default());
        };
        let least = self.learn(plan, group, (ix, *generation))?;
        if plan.held(group, &left.successor) > 0 {
            let header = plan.stored(group, again, 1)?.encoded()?.header;
            header.dependencies.iter().for_each(|it| _ = self.pending.remove(&it.author));
            return Ok(header.stamp);
        }
        let mut records = alloc::vec![Record::Meta(self.word_of_branch(plan, group, ix, left)?)];
        records.extend(plan.before(group, ix, left)?.into_iter().map(|it| {
            let incarnation = it.incarnation;
            Record::Meta(MetaRecord::Cut { incarnation, first: 1, last: Generation::MAX })
        }));
        let stamp = Hlc::after(least, Wall(0));
        self.write(plan, group, (stamp, None), records)?;
        Ok(stamp)
    }

    /// What such a log says of the device's keys: beside what its word at the time says, so much stays of earlier logs as is in
    /// the past of the branch. Without that nobody could tell by its own past alone that it may be held.
    fn word_of_branch(
        &mut self,
        plan: &Plan<'_>,
        group: GroupIx,
        ix: AuthorIx,
        left: &Unwritten,
    ) -> Result<MetaRecord, Fault> {
        let (author, pending) = (plan.author(ix), self.pending.clone());
        let dependencies = self.dependencies(plan, group)?;
        self.pending = pending;
        let past = plan.past_of(group, &left.successor, &dependencies)?;
        let of_device = past.0.iter().filter(|(of, _)| plan.author(*of).device == author.device);
        let mut stays: BTreeMap<AuthorIx, Generation> = of_device.copied().collect();
        let prefix = left.branch.start() - 1;
        let known = stays.entry(ix).or_default();
        *known = prefix.max(*known);
        let mut until: BTreeSet<Until> = BTreeSet::new();
        for (of, last) in stays.into_iter().filter(|(_, last)| *last > 0) {
            let incarnation = plan.author(of).incarnation;
            until.insert(Until { incarnation, last, tag: plan.tag(group, of, last)? });
        }
        // Where the branch is all of its log, its own word is not in the past of what is written again.
        let begins = (prefix == 0).then(|| plan.stored(group, ix, 1)?.encoded()).transpose()?;
        let records = begins.and_then(|begins| begins.records(&author).ok()).unwrap_or_default();
        for record in records {
            let Record::Meta(MetaRecord::Rollover { until: said, .. }) = record else { continue };
            until.extend(said);
        }
        let until = until.into_iter().collect();
        Ok(MetaRecord::Rollover { chain: plan.keys().chain.clone(), nonce: left.life.nonce, until })
    }

    /// Takes in what a generation that was taken back had in its past. Returns the greatest stamp of what is new of
    /// that.
    fn learn(&mut self, plan: &Plan<'_>, group: GroupIx, place: Place) -> Result<Hlc, Fault> {
        let (mut work, mut greatest) = (alloc::vec![place], Hlc::default());
        while let Some((ix, generation)) = work.pop() {
            if !self.seen.insert((ix, generation)) {
                continue;
            }
            let dependencies = former(plan, group, (ix, generation))?.header.dependencies;
            let named =
                dependencies.iter().filter_map(|it| Some((plan.author_ix(&it.author)?, it.generation)));
            let before = (generation > 1).then_some((ix, generation - 1));
            for (ix, generation) in named.chain(before) {
                if self.back.has((ix, generation)) {
                    work.push((ix, generation));
                } else if self.known.get(&ix).is_none_or(|known| *known < generation) {
                    self.known.insert(ix, generation);
                    self.pending.insert(plan.author(ix), generation);
                    greatest = greatest.max(plan.stamp(group, ix, generation)?);
                }
            }
        }
        Ok(greatest)
    }

    /// What a generation said, in terms of what there is now.
    fn part(&self, plan: &Plan<'_>, group: GroupIx, place: Place) -> Result<Part, Stop> {
        let was = Version { author: plan.author(place.0), generation: place.1 };
        let encoded = former(plan, group, place)?;
        let records = encoded.records(&was.author).map_err(|error| corrupt(Table::Log, error))?;
        let mut part = Part { group, was, at: Hlc::default(), records: Vec::with_capacity(records.len()) };
        for record in records.into_iter().filter(|record| !begins_a_log(record)) {
            match record {
                Record::Row(mut row) => {
                    row.parents = self.parents(plan, group, &row)?;
                    for parent in &row.parents {
                        if let Some(ix) = plan.author_ix(&parent.author) {
                            part.at = part.at.max(plan.stamp(group, ix, parent.generation)?);
                        }
                    }
                    row.repeats = Some((was, encoded.header.stamp));
                    if let Content::Operate(operations) = &mut row.content {
                        operations.rename(|version| self.name(version));
                    }
                    part.records.push(Record::Row(row));
                }
                Record::Meta(meta) => part.records.extend(self.meta(meta).map(Record::Meta)),
                // Of a kind that a newer version of this program had brought: this one cannot write it.
                Record::Unknown => return Err(Refusal::MadeAhead(self.syncgroup).into()),
            }
        }
        Ok(part)
    }

    /// What a version is called now.
    fn name(&self, version: &Version) -> Version {
        self.names.get(version).copied().unwrap_or(*version)
    }

    /// The versions on which one builds, of those that there are now.
    fn parents(&self, plan: &Plan<'_>, group: GroupIx, row: &RowRecord) -> Result<Vec<Version>, Fault> {
        let get = |table, key: &Bytes| plan.view().get(table, key);
        let (mut found, mut seen, mut work) = (Vec::new(), BTreeSet::new(), row.parents.clone());
        while let Some(parent) = work.pop() {
            let Some(ix) = plan.author_ix(&parent.author).filter(|_| seen.insert(parent)) else { continue };
            let name = self.name(&parent);
            if name != parent || !self.back.has((ix, parent.generation)) {
                found.push(name);
                continue;
            }
            let of = (row.collection, &row.key);
            if let Some(node) = Stored::row(&get, group, ix, parent.author, parent.generation, of)? {
                work.extend(node.record.parents);
            }
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(limits::MAX_PARENTS);
        Ok(found)
    }

    /// What a record of metadata says, where it names what has another name now: what it ends, it ends under both. Others
    /// may have it under the old one, and have built on it.
    fn meta(&self, mut record: MetaRecord) -> impl Iterator<Item = MetaRecord> + use<> {
        let mut more = None;
        match &mut record {
            MetaRecord::Leave { grants }
            | MetaRecord::Revoke { grants, .. }
            | MetaRecord::RevokeUser { grants, .. }
            | MetaRecord::Close { grants, .. } => {
                let names = grants.iter().filter_map(|grant| self.names.get(grant).copied());
                let names: Vec<Version> = names.collect();
                grants.extend(names);
            }
            MetaRecord::Unpublish { device, attempt } => {
                let attempt = self.names.get(attempt).copied();
                more = attempt.map(|attempt| MetaRecord::Unpublish { device: *device, attempt });
            }
            MetaRecord::Decline { device, attempt } => {
                let attempt = self.names.get(attempt).copied();
                more = attempt.map(|attempt| MetaRecord::Decline { device: *device, attempt });
            }
            MetaRecord::Genesis { .. }
            | MetaRecord::Admit { .. }
            | MetaRecord::AdmitUser { .. }
            | MetaRecord::Enrol { .. }
            | MetaRecord::StrikeOff(_)
            | MetaRecord::Collection { .. }
            | MetaRecord::Rule { .. }
            | MetaRecord::Spec(_)
            | MetaRecord::Publish { .. }
            | MetaRecord::Cut { .. }
            | MetaRecord::Fork(_)
            | MetaRecord::Repeats { .. }
            | MetaRecord::Open { .. }
            | MetaRecord::Rollover { .. } => {}
        }
        core::iter::once(record).chain(more)
    }

    /// Writes the next generation of the new log.
    fn write(
        &mut self,
        plan: &mut Plan<'_>,
        group: GroupIx,
        (stamp, batch): (Hlc, Option<BatchPart>),
        mut records: Vec<Record>,
    ) -> Result<Version, Stop> {
        let author = plan.own();
        let says_its_key = |it: &Record| matches!(it, Record::Meta(MetaRecord::Rollover { .. }));
        if plan.held(group, &author) == 0 && !records.iter().any(says_its_key) {
            // The log begins here, and says of which key it is.
            records.extend(plan.word_on_keys(group)?.map(Record::Meta));
        }
        let dependencies = self.dependencies(plan, group)?;
        let past = plan.past_of(group, &author, &dependencies)?;
        let header = Header { stamp, body: Hash::default(), dependencies, batch, acknowledged: None };
        let mut encoded = Encoded::write(header.clone(), &author, &records);
        if encoded.bytes.len() > limits::MAX_GENERATION {
            // What it repeats is good to know, and no more than that.
            for record in &mut records {
                if let Record::Row(row) = record {
                    row.repeats = None;
                }
            }
            encoded = Encoded::write(header, &author, &records);
        }
        if encoded.bytes.len() > limits::MAX_GENERATION {
            return Err(Refusal::BatchTooLarge { size: encoded.bytes.len() }.into());
        }
        let generation = plan.held(group, &author) + 1;
        if !judge::is_allowed(plan, group, &author, generation, &encoded, &records, &past) {
            return Err(Refusal::MadeAhead(self.syncgroup).into());
        }
        plan.append_own(group, &encoded, &records, Vec::new())
    }

    /// What the next generation names of what it builds on; the rest is left for the one after.
    fn dependencies(&mut self, plan: &Plan<'_>, group: GroupIx) -> Result<Vec<Dependency>, Fault> {
        let mut dependencies = Vec::with_capacity(self.pending.len());
        for (author, generation) in &self.pending {
            let Some(ix) = plan.author_ix(author) else { continue };
            let tag = plan.tag(group, ix, *generation)?;
            dependencies.push(Dependency { author: *author, generation: *generation, tag });
        }
        plan.fit(group, &mut dependencies)?;
        dependencies.iter().for_each(|it| _ = self.pending.remove(&it.author));
        Ok(dependencies)
    }
}
