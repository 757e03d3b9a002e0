//! Rows that merge show what the rules say (S-16), on every device, in whatever order and groups anything arrives:
//! operations, puts and deletes beside them, and what becomes void because its author was removed.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

mod rules;

/// The devices that write; the others only read. The first one is the admin, the last one may be removed.
const WRITERS: usize = 3;
const DEVICES: usize = 5;
const REMOVED: usize = WRITERS - 1;

/// Joins what was put, the last first, and what was appended, in order.
#[derive(Debug)]
struct Joined;

impl MergeFunction for Joined {
    fn name(&self) -> &str {
        "joined"
    }
    fn merge(&self, bases: &[&[u8]], operations: &[&[u8]]) -> Option<Vec<u8>> {
        Some([bases, operations].concat().join(&b'|'))
    }
}

static MERGES: &[&dyn MergeFunction] = &[&Joined];

fn all_merges() -> [Merge; 4] {
    [Merge::Counter, Merge::Set, Merge::Fields, Merge::Named(name("joined"))]
}

/// Something that happens; numbers choose among what the merge has.
#[derive(Debug, Clone, Copy)]
enum Act {
    Operate(usize, usize),
    Put(usize, usize),
    Delete(usize),
    /// Two devices exchange all that they have.
    Meet(usize, usize),
    /// The admin removes the last writer, by what it has heard of it.
    Remove,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..WRITERS, 0..8_usize).prop_map(|(at, which)| Act::Operate(at, which)),
        3 => (0..WRITERS, 0..4_usize).prop_map(|(at, which)| Act::Put(at, which)),
        2 => (0..WRITERS).prop_map(Act::Delete),
        8 => (0..DEVICES, 1..DEVICES).prop_map(|(one, by)| Act::Meet(one, (one + by) % DEVICES)),
        1 => Just(Act::Remove),
    ]
}

/// A script, and the order in which all devices meet in the end.
fn script() -> impl Strategy<Value = (Vec<Act>, Vec<(usize, usize)>)> {
    let all: Vec<_> = (1..DEVICES).flat_map(|other| (0..other).map(move |one| (one, other))).collect();
    (prop::collection::vec(act(), 1..24), Just(all).prop_shuffle())
}

/// What was written: by whom, on top of what it knew.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    by: usize,
    past: BTreeSet<usize>,
    what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Put(Bytes),
    Delete,
    Operate(Operation),
    /// The removal of an element that these versions had brought.
    Take(Bytes, BTreeSet<usize>),
}

/// Devices that are only linked while they meet, one row, and what each knows of it.
struct Trial {
    world: World,
    id: SyncgroupId,
    merge: Merge,
    done: Vec<Done>,
    known: Vec<BTreeSet<usize>>,
    /// What does not count for whoever knows of the removal, and who does.
    void: BTreeSet<usize>,
    heard: BTreeSet<usize>,
}

impl Trial {
    fn new(merge: Merge) -> Self {
        let (mut world, id) = World::together(DEVICES);
        for at in 0..DEVICES {
            // As many as fit into a frame: the smaller, the more ways to cut the same into groups.
            world.nodes[at].config.limits.chunk_bytes = 200 + 300 * at;
            world.nodes[at].config.merges = MERGES.to_vec();
            let store = world.nodes[at].store.clone();
            world.reboot(at, store, Continuity::Shown);
        }
        world.schema(0, id, &[("", Policy::Merge(merge.clone()))]);
        world.all_linked();
        world.apart();
        let (known, void, heard) = (vec![BTreeSet::new(); DEVICES], BTreeSet::new(), BTreeSet::new());
        Self { world, id, merge, done: Vec::new(), known, void, heard }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Operate(at, which) => {
                let operation = rules::operation(&self.merge, which);
                let what = match &operation {
                    Operation::Remove(element) => {
                        let seen = rules::brought(&self.done, &self.counting(at));
                        let by = seen.into_iter().filter(|(it, _)| it == element).map(|(_, by)| by).collect();
                        What::Take(element.clone(), by)
                    }
                    _ => What::Operate(operation.clone()),
                };
                self.write(at, |batch, row| batch.operate(row, operation), what);
            }
            Act::Put(at, which) => {
                let value = rules::value(&self.merge, which);
                self.write(at, |batch, row| batch.put(row, value.clone()), What::Put(value.clone()));
            }
            Act::Delete(at) => self.write(at, LocalWrite::delete, What::Delete),
            Act::Meet(one, other) => self.meet(one, other),
            Act::Remove if self.heard.is_empty() => {
                self.world.eject(0, self.id, REMOVED);
                let unheard = (0..self.done.len()).filter(|it| !self.known[0].contains(it));
                self.void = unheard.filter(|it| self.done[*it].by == REMOVED).collect();
                self.heard.insert(0);
            }
            Act::Remove => {}
        }
        (0..DEVICES).for_each(|at| self.check(at));
    }

    fn write(&mut self, at: usize, batch: impl FnOnce(LocalWrite, RowRef) -> LocalWrite, what: What) {
        self.world.run(10);
        let batch = batch(LocalWrite::new(), self.world.row(self.id, "row"));
        let Outcome::Written(parts) = self.world.command(at, Command::Write(batch)).unwrap() else {
            unreachable!()
        };
        if !parts.is_empty() {
            let (number, past) = (self.done.len(), self.known[at].clone());
            if at == REMOVED && !self.heard.is_empty() {
                self.void.insert(number);
            }
            self.known[at].insert(number);
            self.done.push(Done { by: at, past, what });
        }
    }

    fn meet(&mut self, one: usize, other: usize) {
        let gone = |at: usize, other: usize| at == REMOVED && self.heard.contains(&other);
        if gone(one, other) || gone(other, one) {
            return;
        }
        let link = self.world.link(one, other);
        self.world.run(5_000);
        self.world.unlink(link);
        let all: BTreeSet<usize> = self.known[one].union(&self.known[other]).copied().collect();
        (self.known[one], self.known[other]) = (all.clone(), all);
        if self.heard.contains(&one) || self.heard.contains(&other) {
            self.heard.extend([one, other]);
        }
    }

    /// What counts for a device.
    fn counting(&self, at: usize) -> BTreeSet<usize> {
        let void = if self.heard.contains(&at) { self.void.clone() } else { BTreeSet::new() };
        self.known[at].difference(&void).copied().collect()
    }

    /// A device shows what the rules say.
    fn check(&self, at: usize) {
        let collection = self.world.collection(at, self.id).with_merges(MERGES);
        let row = read::get(&self.world.nodes[at].store, &collection, b"row").unwrap();
        assert!(row.as_ref().is_none_or(|row| !row.in_conflict));
        let expected = rules::shown(&self.merge, &self.done, &self.counting(at));
        assert_eq!(row.map(|row| row.value), expected, "at {at}: {:?}", self.done);
    }
}

fn check(merge: Merge, acts: &[Act], meetings: &[(usize, usize)]) {
    let mut trial = Trial::new(merge);
    acts.iter().for_each(|act| trial.act(*act));
    // Twice: then everybody has heard of everything, and the last ones at once of most of it.
    for (one, other) in meetings.iter().chain(meetings) {
        trial.act(Act::Meet(*one, *other));
    }
    let stay = (0..DEVICES).filter(|at| *at != REMOVED || trial.heard.is_empty()).collect::<Vec<_>>();
    trial.world.assert_same_at(trial.id, &stay);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_counter_is_the_last_base_and_what_was_added_beside_it((acts, meetings) in script()) {
        check(Merge::Counter, &acts, &meetings);
    }

    #[test]
    fn a_set_has_what_was_put_or_inserted_and_not_removed_by_who_saw_it((acts, meetings) in script()) {
        check(Merge::Set, &acts, &meetings);
    }

    #[test]
    fn fields_have_their_last_change_each((acts, meetings) in script()) {
        check(Merge::Fields, &acts, &meetings);
    }

    #[test]
    fn a_function_gets_all_puts_and_what_was_done_beside_them_in_order((acts, meetings) in script()) {
        check(Merge::Named(name("joined")), &acts, &meetings);
    }
}

#[test]
fn what_crosses_twice_comes_out_the_same_for_every_merge() {
    use Act::{Delete, Meet, Operate, Put, Remove};
    let crossing = [
        Put(0, 1),
        Meet(0, 1),
        Meet(0, 2),
        Operate(0, 0),
        Operate(1, 1),
        Operate(2, 2),
        Meet(0, 1),
        Meet(1, 2),
        // Each side goes on before it has heard of the other one again.
        Operate(0, 3),
        Put(1, 2),
        Delete(2),
        Operate(2, 4),
        Meet(1, 2),
        Meet(0, 1),
        Operate(0, 5),
        Operate(1, 6),
        Operate(2, 7),
        Meet(1, 2),
    ];
    for merge in all_merges() {
        for acts in [crossing.to_vec(), [&crossing[..], &[Remove, Operate(1, 0)]].concat()] {
            check(merge.clone(), &acts, &[(0, 1), (0, 2), (3, 1), (4, 0), (3, 4), (1, 4)]);
        }
    }
}
