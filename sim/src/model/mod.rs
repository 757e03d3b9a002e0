//! The reference model: what replicas should show, said as plainly as possible.
//!
//! It keeps every generation that was ever written, each with what its author knew at that moment, and
//! computes from a set of generations what readers of that set must see, by the definitions and without any
//! cleverness. It shares no code with the core: of `driftless` it uses names (versions, stamps, vectors) and
//! nothing that decides.
//!
//! The definitions:
//!
//! * The *past* of a generation is what its author held just before writing it (S-6).
//! * A version of a row *supersedes* another if the other is in its past: an author names all heads that it
//!   knows as parents, so that is the same as being a descendant (S-11). One that was made by other means than a
//!   replica names its parents itself, and supersedes these and what they supersede.
//! * Versions that do not count by the set, as somebody was removed or has written them again (see `access`), are
//!   *void*. They supersede like others, and what somebody writes who holds them does not supersede them, for it does
//!   not name them.
//! * The *heads* of a row in a set of generations are its versions in the set that count, and that no version in the
//!   set which counts supersedes (S-11), be it by way of void ones.
//! * The *bases* of a row are its puts and deletes that no other put or delete supersedes; its *live*
//!   operations are those that no put or delete supersedes (S-16).
//! * The base with the greatest (stamp, version) is *shown*, unless the row merges; if it is a deletion, the row
//!   is not there (S-13, S-14). Without operations the bases are the heads. How rows merge is said in `merge`.
//! * A row is *in conflict* if another base says something else, and it does not merge (S-11, S-19). What
//!   conflicts belong together is said in `conflict`.
//! * What becomes of a row is said by the schema: see `schema`.

mod access;
mod conflict;
mod everybody;
mod facts;
mod keys;
mod merge;
mod publications;
mod rows;
mod schema;
mod spec;
mod taking;
mod users;
mod whole;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use driftless::{DeviceId, Hlc, Knowledge, Merge, Name, Operation, PublicKey, SyncgroupId, Version};

pub use self::conflict::{Conflict, ConflictedRow, Place};
pub use self::facts::{Enrolled, Fact, Granted, Revoked, Struck, Whom};
pub use self::keys::Rolled;
pub use self::merge::is_base;
pub use self::publications::Published;
pub use self::rows::{Head, Live, Seen, Shown};
pub use self::schema::{Rules, changes_to_write, rules_to_write};
use crate::merges::Merges;

/// A row within its syncgroup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// Its collection.
    pub collection: Name,
    /// Its key.
    pub key: Bytes,
}

/// What a batch does to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Sets it.
    Put(Bytes),
    /// Removes it.
    Delete,
    /// Changes it by these operations, in order.
    Operate(Vec<Operation>),
}

impl Content {
    /// The value that it sets.
    pub fn value(&self) -> Option<&Bytes> {
        if let Content::Put(value) = self { Some(value) } else { None }
    }
}

/// The rows of a batch in one syncgroup.
pub type Rows = BTreeMap<RowKey, Content>;

/// A generation, as it was when it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generation {
    /// What its author held just before.
    pub past: Knowledge,
    /// Its stamp.
    pub stamp: Option<Hlc>,
    /// The rows that it changed; none if it holds metadata.
    pub rows: Rows,
    /// What it says of the syncgroup itself.
    pub says: Fact,
    /// The versions that its rows say they supersede; `None` if that is all heads in its past.
    pub parents: Option<BTreeMap<RowKey, BTreeSet<Version>>>,
    /// What its removals take out of sets: what its author saw there (see `merge`).
    pub undoes: BTreeMap<RowKey, Undone>,
    /// The rules of schemas that it sets or takes away.
    pub rules: Rules,
    /// Which batch it is a part of, if that touched several syncgroups.
    pub batch: Option<u64>,
    /// Of which key its log is, if it says so.
    pub rolled: Option<Rolled>,
}

/// Elements of a set, each with a version that put or inserted it.
pub type Undone = BTreeSet<(Bytes, Version)>;

/// Why a set of generations cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Impossible {
    /// It holds something that nobody wrote, or that was lost before it was durable.
    Unwritten(Version),
    /// It holds a generation and not all of its past.
    WithoutCause {
        /// The generation.
        effect: Version,
        /// The latest of what its author knew of another author.
        cause: Version,
    },
}

/// Whether a generation is void where some revocations are known.
type Question = (SyncgroupId, Vec<Version>, Version);

/// Everything ever written.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// The merges of the application under test: definitions of its own, which are taken as they are.
    pub(crate) merges: Merges,
    groups: BTreeMap<SyncgroupId, Group>,
    /// Whether a generation is void where some revocations are known: found out once.
    verdicts: RefCell<BTreeMap<Question, bool>>,
}

#[derive(Debug, Clone, Default)]
struct Group {
    generations: BTreeMap<Version, Generation>,
    /// All versions of each row.
    rows: BTreeMap<RowKey, BTreeSet<Version>>,
    /// The generations that say something of the syncgroup itself.
    facts: BTreeSet<Version>,
    /// The generations that change schemas.
    schemas: BTreeSet<Version>,
    /// The generations that say of which key their log is.
    rolled: BTreeSet<Version>,
}

impl Group {
    fn facts(&self) -> impl Iterator<Item = (&Version, &Generation)> {
        self.facts.iter().filter_map(|version| self.generations.get_key_value(version))
    }

    /// The set of all generations.
    fn everything(&self) -> Knowledge {
        // Later generations of an author come later, and take the place of earlier ones.
        self.generations.keys().map(|version| (version.author, version.generation)).collect()
    }

    /// Whether a version of a row is a descendant of another one.
    fn supersedes(&self, row: &RowKey, version: &Version, other: &Version) -> bool {
        let Some(versions) = self.rows.get(row) else { return false };
        let (mut work, mut seen) = (vec![version], BTreeSet::new());
        while let Some(version) = work.pop() {
            let Some(generation) = self.generations.get(version) else { continue };
            match &generation.parents {
                None if holds(&generation.past, other) => return true,
                None => {}
                Some(parents) => {
                    let parents = parents.get(row).into_iter().flatten().filter(|it| versions.contains(*it));
                    if parents.clone().any(|parent| parent == other) {
                        return true;
                    }
                    // Ways that meet again are gone once.
                    work.extend(parents.filter(|it| seen.insert(*it)));
                }
            }
        }
        false
    }
}

/// What a device has of a syncgroup: rows count as soon as they are shown, schemas as soon as they are held. Rows
/// are held and not shown while they wait for the other parts of their batches (S-28).
#[derive(Debug, Clone, Copy)]
pub struct View<'k> {
    /// The generations whose rows are shown.
    pub shown: &'k Knowledge,
    /// The generations that are held.
    pub held: &'k Knowledge,
}

/// The same for all syncgroups.
#[derive(Debug, Clone, Copy)]
pub struct Views<'k> {
    /// The generations whose rows are shown.
    pub shown: &'k BTreeMap<SyncgroupId, Knowledge>,
    /// The generations that are held.
    pub held: &'k BTreeMap<SyncgroupId, Knowledge>,
}

impl<'k> Views<'k> {
    /// What there is of a syncgroup, if there is anything.
    pub fn of(self, group: &SyncgroupId) -> Option<View<'k>> {
        Some(View { shown: self.shown.get(group)?, held: self.held.get(group)? })
    }
}

impl<'k> From<&'k Knowledge> for View<'k> {
    /// Nothing waits.
    fn from(all: &'k Knowledge) -> Self {
        Self { shown: all, held: all }
    }
}

/// Whether a set of generations, described by its vector, has this one.
pub fn holds(knowledge: &Knowledge, version: &Version) -> bool {
    knowledge.get(&version.author).is_some_and(|last| *last >= version.generation)
}

impl Model {
    /// Takes note of a generation.
    pub fn record(&mut self, group: SyncgroupId, version: Version, generation: Generation) {
        let group = self.groups.entry(group).or_default();
        for row in generation.rows.keys() {
            group.rows.entry(row.clone()).or_default().insert(version);
        }
        if generation.says != Fact::Nothing {
            group.facts.insert(version);
        }
        if !generation.rules.is_empty() {
            group.schemas.insert(version);
        }
        if generation.rolled.is_some() {
            group.rolled.insert(version);
        }
        group.generations.insert(version, generation);
    }

    /// Takes back a generation that was lost with its author before it was durable: it never was.
    pub fn withdraw(&mut self, group: &SyncgroupId, version: &Version) -> Option<Generation> {
        let group = self.groups.get_mut(group)?;
        let generation = group.generations.remove(version)?;
        self.verdicts.borrow_mut().clear();
        group.facts.remove(version);
        group.schemas.remove(version);
        group.rolled.remove(version);
        for row in generation.rows.keys() {
            if let Some(versions) = group.rows.get_mut(row) {
                versions.remove(version);
            }
        }
        Some(generation)
    }

    /// A generation.
    pub fn generation(&self, group: &SyncgroupId, version: &Version) -> Option<&Generation> {
        self.groups.get(group)?.generations.get(version)
    }

    /// All syncgroups.
    pub fn syncgroups(&self) -> impl Iterator<Item = &SyncgroupId> {
        self.groups.keys()
    }

    /// All generations of a syncgroup.
    pub fn generations(&self, group: &SyncgroupId) -> impl Iterator<Item = (&Version, &Generation)> {
        self.groups.get(group).into_iter().flat_map(|group| &group.generations)
    }

    /// The set of all generations of a syncgroup, whoever holds them.
    pub fn written(&self, group: &SyncgroupId) -> Knowledge {
        self.groups.get(group).map(Group::everything).unwrap_or_default()
    }

    /// The keys of a device after its first one, as far as a set of generations says.
    pub fn keys_of(&self, group: &SyncgroupId, device: &DeviceId, known: &Knowledge) -> Option<&[PublicKey]> {
        self.groups.get(group)?.keys_of(device, known)
    }

    /// Whether a generation says of which keys its log is, and what stays of others: whoever has become a member by what does
    /// not count by that may have to know it, though another word may have said as much before.
    pub fn is_word(&self, group: &SyncgroupId, version: &Version) -> bool {
        self.groups.get(group).is_some_and(|of| of.rolled.contains(version))
    }

    /// The generations that say something of a device's keys.
    pub fn words(&self, group: &SyncgroupId) -> impl Iterator<Item = (&Version, &Generation)> {
        let of = self.groups.get(group).into_iter();
        of.flat_map(|of| of.rolled.iter().filter_map(|by| Some((by, of.generations.get(by)?))))
    }

    /// Whether a log has said of which key it is, in what somebody holds, and that does not count, though its device has been
    /// let in since.
    pub fn says_in_vain(&self, group: &SyncgroupId, log: &driftless::Author, held: &Knowledge) -> bool {
        self.groups.get(group).is_some_and(|group| group.says_in_vain(log, held))
    }

    /// The generations that say something of a syncgroup itself.
    pub fn facts(&self, group: &SyncgroupId) -> impl Iterator<Item = (&Version, &Generation)> {
        self.groups.get(group).into_iter().flat_map(Group::facts)
    }

    /// The generations of a syncgroup that change schemas.
    pub fn schemas(&self, group: &SyncgroupId) -> impl Iterator<Item = (&Version, &Generation)> {
        let group = self.groups.get(group);
        let schemas = group.into_iter().flat_map(|group| &group.schemas);
        schemas.filter_map(move |version| Some((version, group?.generations.get(version)?)))
    }

    /// All rows of a syncgroup that were ever written.
    pub fn rows(&self, group: &SyncgroupId) -> impl Iterator<Item = &RowKey> {
        self.groups.get(group).into_iter().flat_map(|group| group.rows.keys())
    }

    /// The greatest stamp that an author has handed out in any syncgroup.
    pub fn last_stamp(&self, author: &driftless::Author) -> Option<Hlc> {
        let from = |generation| Version { author: *author, generation };
        let own = |group: &Group| {
            let mut own = group.generations.range(from(0)..=from(u64::MAX)).rev();
            own.find_map(|(_, generation)| generation.stamp)
        };
        self.groups.values().filter_map(own).max()
    }

    /// The greatest stamp in a set of generations.
    pub fn latest_stamp(&self, group: &SyncgroupId, held: &Knowledge) -> Option<Hlc> {
        let held = self.generations(group).filter(|(version, _)| holds(held, version));
        held.filter_map(|(_, generation)| generation.stamp).max()
    }

    /// Whether a set of generations can be: everything in it was written, and is there with its past (S-29).
    ///
    /// # Errors
    /// [`Impossible`] names the first generation that cannot be there.
    pub fn check(&self, group: &SyncgroupId, held: &Knowledge) -> Result<(), Impossible> {
        let mut wanted = held.iter().filter(|(_, last)| **last > 0);
        wanted.try_for_each(|(author, last)| {
            // An author's pasts only grow, so the past of the last is the past of all.
            let effect = Version { author: *author, generation: *last };
            let generation = self.generation(group, &effect).ok_or(Impossible::Unwritten(effect))?;
            let mut past = generation.past.iter();
            match past.find(|(author, last)| held.get(author).copied().unwrap_or(0) < **last) {
                Some((author, last)) => {
                    let cause = Version { author: *author, generation: *last };
                    Err(Impossible::WithoutCause { effect, cause })
                }
                None => Ok(()),
            }
        })
    }
}

/// By which merge an operation is understood (S-16).
pub fn merge_of(operation: &Operation) -> Merge {
    match operation {
        Operation::Add(_) => Merge::Counter,
        Operation::Insert(_) | Operation::Remove(_) => Merge::Set,
        Operation::Named { merge, .. } => Merge::Named(merge.clone()),
        _ => Merge::Fields,
    }
}

#[cfg(test)]
mod tests {
    use driftless::{Author, DeviceId, Edit, Incarnation};

    use super::*;

    const GROUP: SyncgroupId = SyncgroupId([1; 32]);

    fn author(number: u8) -> Author {
        Author { device: DeviceId([number; 16]), incarnation: Incarnation(0) }
    }

    fn version(number: u8, generation: u64) -> Version {
        Version { author: author(number), generation }
    }

    fn row(key: &str) -> RowKey {
        RowKey { collection: Name::new("c").unwrap(), key: Bytes::copy_from_slice(key.as_bytes()) }
    }

    fn vector(held: &[(u8, u64)]) -> Knowledge {
        held.iter().map(|(number, last)| (author(*number), *last)).collect()
    }

    /// Author, its generation, its past, its stamp, what it says of row "x".
    type Entry = (u8, u64, &'static [(u8, u64)], u64, Option<&'static str>);

    fn history(entries: &[Entry]) -> Model {
        let mut model = Model::default();
        for (number, generation, past, stamp, value) in entries {
            let put = |text: &'static str| Content::Put(Bytes::from_static(text.as_bytes()));
            let rows = Rows::from([(row("x"), value.map_or(Content::Delete, put))]);
            let (past, stamp) = (vector(past), Some(Hlc(*stamp)));
            let generation_ = Generation { past, stamp, rows, ..Generation::default() };
            model.record(GROUP, version(*number, *generation), generation_);
        }
        model
    }

    #[test]
    fn a_version_that_knew_another_supersedes_it_and_one_that_did_not_stands_beside_it() {
        let model = history(&[
            (1, 1, &[], 10, Some("a")),
            (2, 1, &[(1, 1)], 20, Some("b")),
            (3, 1, &[(1, 1)], 30, Some("c")),
        ]);
        let heads = |held: &[(u8, u64)]| {
            let heads = model.heads(&GROUP, &row("x"), &vector(held));
            heads.iter().map(|head| head.version).collect::<Vec<_>>()
        };
        assert_eq!(heads(&[(1, 1)]), [version(1, 1)]);
        assert_eq!(heads(&[(1, 1), (2, 1)]), [version(2, 1)]);
        assert_eq!(heads(&[(1, 1), (2, 1), (3, 1)]), [version(3, 1), version(2, 1)]);
        let all = vector(&[(1, 1), (2, 1), (3, 1)]);
        let shown = model.shown(&GROUP, &row("x"), View::from(&all)).unwrap();
        assert_eq!((&shown.value[..], shown.in_conflict), (&b"c"[..], true));
    }

    #[test]
    fn a_made_version_supersedes_what_it_names_and_nothing_else_in_its_past() {
        let mut model = history(&[(1, 1, &[], 10, Some("a")), (2, 1, &[(1, 1)], 20, Some("b"))]);
        let rows = Rows::from([(row("x"), Content::Delete)]);
        let past = vector(&[(1, 1), (2, 1)]);
        let mut made = |number, parents: &[Version]| {
            let parents = Some([(row("x"), parents.iter().copied().collect())].into());
            let stamp = Some(Hlc(30));
            let made =
                Generation { past: past.clone(), stamp, rows: rows.clone(), parents, ..Default::default() };
            model.record(GROUP, version(number, 1), made);
        };
        made(3, &[]);
        made(4, &[version(2, 1)]);
        let heads = |held: &[(u8, u64)]| model.heads(&GROUP, &row("x"), &vector(held)).len();
        assert_eq!(heads(&[(1, 1), (2, 1), (3, 1)]), 2);
        assert_eq!(heads(&[(1, 1), (2, 1), (4, 1)]), 1, "also what its parent supersedes");
    }

    #[test]
    fn a_deletion_that_is_shown_hides_the_row_and_the_same_content_is_no_conflict() {
        let deleted = history(&[(1, 1, &[], 10, Some("a")), (2, 1, &[], 20, None)]);
        assert_eq!(deleted.shown(&GROUP, &row("x"), View::from(&vector(&[(1, 1), (2, 1)]))), None);
        let same = history(&[(1, 1, &[], 10, Some("a")), (2, 1, &[], 20, Some("a"))]);
        let shown = same.shown(&GROUP, &row("x"), View::from(&vector(&[(1, 1), (2, 1)]))).unwrap();
        assert!(!shown.in_conflict);
    }

    #[test]
    fn deleting_what_is_not_there_comes_to_nothing_and_of_several_changes_the_last_counts() {
        let model = history(&[(1, 1, &[], 10, Some("a"))]);
        let put = |text: &'static str| Edit::Put(Bytes::from_static(text.as_bytes()));
        let changes =
            [(row("x"), put("1")), (row("y"), Edit::Delete), (row("x"), Edit::Delete), (row("z"), put("2"))];
        let rows = model.net_effect(&GROUP, View::from(&vector(&[(1, 1)])), changes);
        assert_eq!(rows, Rows::from([(row("x"), Content::Delete), (row("z"), Content::Put("2".into()))]));
    }

    #[test]
    fn a_set_must_be_closed_under_causes_and_hold_only_what_was_written() {
        let mut model = history(&[(1, 1, &[], 10, Some("a")), (2, 1, &[(1, 1)], 20, Some("b"))]);
        assert_eq!(model.check(&GROUP, &vector(&[(1, 1), (2, 1)])), Ok(()));
        assert_eq!(
            model.check(&GROUP, &vector(&[(2, 1)])),
            Err(Impossible::WithoutCause { effect: version(2, 1), cause: version(1, 1) })
        );
        assert!(model.withdraw(&GROUP, &version(2, 1)).is_some());
        assert_eq!(
            model.check(&GROUP, &vector(&[(1, 1), (2, 1)])),
            Err(Impossible::Unwritten(version(2, 1)))
        );
        assert_eq!(
            model.shown(&GROUP, &row("x"), View::from(&vector(&[(1, 1)]))).unwrap().version,
            version(1, 1)
        );
    }
}
