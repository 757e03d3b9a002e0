//! What hostile members and former members cannot have others take, and at what cost.

use bytes::Bytes;

use super::*;
use crate::limits;
use crate::sync::link::{Share, Way};
use crate::sync::serve;
use crate::wire::Message;

/// The log of one generation of each of some incarnations, one on top of the other, the last one first.
fn tower(here: &Here, keys: &Keys, first: impl Fn() -> Dependency, height: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for nth in 0..height {
        let below = runs.first().map_or_else(&first, |run| on(run, 1));
        let change = |_, header: &mut Header| {
            header.stamp = Hlc((WALL.0 + 20 + nth) << 16);
            header.dependencies.push(below);
        };
        runs.insert(0, log_of(here, (keys, Incarnation(100 + nth)), 1, change, |_| row(here, Vec::new())));
    }
    runs
}

#[test]
fn runs_in_any_order_are_applied_in_one_go() {
    let here = here();
    let runs = tower(&here, &here.replica.keys, || genesis(&here), 50);
    assert_eq!(take(&here, runs.clone()), (Ok(50), true));
    assert_eq!(take(&here, runs.into_iter().rev().collect()), (Ok(50), true));
}

#[test]
fn no_more_logs_are_taken_than_there_is_room_for_though_they_come_in_one_chunk() {
    let mut here = here();
    here.replica.limits.authors = 3;
    let runs = tower(&here, &here.replica.keys, || genesis(&here), 5);
    assert_eq!(take(&here, runs), (Ok(2), true), "beside the one that is there");
}

#[test]
fn the_application_is_told_of_a_few_authors_that_are_ahead_of_time_and_once_of_each() {
    let here = here();
    let ahead = |_, header: &mut Header| {
        header.stamp = Hlc((WALL.0 + 86_400_000) << 16);
        header.dependencies.push(genesis(&here));
    };
    let runs = |count: u64| {
        let one = |nth| {
            log_of(&here, (&here.replica.keys, Incarnation(500 + nth)), 1, ahead, |_| row(&here, Vec::new()))
        };
        let mut runs: Vec<Run> = (0..count).map(one).collect();
        runs.extend(tower(&here, &here.replica.keys, || genesis(&here), 5));
        runs
    };
    let told = |runs| {
        let mut plan = Plan::new(&here.replica, &here.store);
        let deltas = Deltas { name: crate::hash::Tag::default(), runs };
        let now = Now { wall: WALL, ..Now::default() };
        let received = receive(&mut plan, 0, Sender::Anybody, deltas, now).unwrap().unwrap();
        assert_eq!(received.applied, 5);
        plan.finish().notices.len()
    };
    assert_eq!(told(runs(3)), 3);
    assert_eq!(told(runs(100)), MOST_TOLD);
}

/// One counter might be read differently everywhere, and some walks would take for ever.
#[test]
fn a_row_that_builds_on_a_later_version_is_not_taken() {
    let here = here();
    let version = |stamp: u64, incarnation, parents: &[u64]| {
        let change = |_, header: &mut Header| {
            header.stamp = Hlc((WALL.0 + stamp) << 16);
            header.dependencies.push(genesis(&here));
        };
        let parent = |incarnation: &u64| {
            let author = Author { device: here.replica.keys.device, incarnation: Incarnation(*incarnation) };
            Version { author, generation: 1 }
        };
        let parents: Vec<Version> = parents.iter().map(parent).collect();
        log_of(&here, (&here.replica.keys, Incarnation(incarnation)), 1, change, |_| {
            row(&here, parents.clone())
        })
    };
    let first = version(30, 100, &[]);
    assert_eq!(take(&here, alloc::vec![first.clone(), version(20, 101, &[100])]), (Ok(1), true));
    assert_eq!(take(&here, alloc::vec![first.clone(), version(30, 101, &[100])]), (Ok(1), true));
    assert_eq!(take(&here, alloc::vec![first.clone(), version(31, 101, &[100])]), (Ok(2), true));
    let later = alloc::vec![first, version(20, 101, &[100]), version(10, 102, &[101, 100])];
    assert_eq!(take(&here, later), (Ok(1), true));
    // The log of the parent goes on, and the parent itself was before.
    let longer = myself(&here, 40, |_, _| {});
    let of_longer = |stamp: u64, generation| {
        let change = |_, header: &mut Header| {
            header.stamp = Hlc((WALL.0 + stamp) << 16);
            header.dependencies.push(genesis(&here));
        };
        let parents = alloc::vec![Version { author: longer.author, generation }];
        log_of(&here, (&here.replica.keys, Incarnation(103)), 1, change, |_| row(&here, parents.clone()))
    };
    // Taken after all of that log: a later generation of it may be a parent only if it was written before.
    let held = |run| {
        let mut plan = Plan::new(&here.replica, &here.store);
        let now = Now { wall: WALL, ..Now::default() };
        let mut applied = 0;
        for runs in [alloc::vec![longer.clone()], alloc::vec![run]] {
            let deltas = Deltas { name: crate::hash::Tag::default(), runs };
            applied += receive(&mut plan, 0, Sender::Anybody, deltas, now).unwrap().unwrap().applied;
        }
        applied
    };
    assert_eq!(held(of_longer(20, 19)), 41);
    assert_eq!(held(of_longer(20, 20)), 40);
    assert_eq!(held(of_longer(20, 30)), 40);
}

#[test]
fn nothing_is_no_generation() {
    let here = here();
    let change = |n, header: &mut Header| header.dependencies.extend((n == 1).then(|| genesis(&here)));
    let run = run_of(&here, &here.replica.keys, 2, change, |_| Vec::new());
    assert_eq!(take(&here, alloc::vec![run]), (Ok(0), false));
}

/// Somebody who was removed shows what members wrote, and what that builds on: nothing else, or it could fill disks.
#[test]
fn of_whoever_was_removed_only_what_members_build_on_is_taken() {
    let mut here = here();
    let (gone, admits) = member(&mut here);
    let keys = here.replica.keys.clone();
    let at = |stamp: u64, on: Vec<Dependency>| {
        move |_, header: &mut Header| {
            header.stamp = Hlc((WALL.0 + stamp) << 16);
            header.dependencies.clone_from(&on);
        }
    };
    let granted = Version { author: admits.author, generation: 1 };
    let revoke = MetaRecord::Revoke {
        device: gone.device,
        grants: alloc::vec![granted],
        keep: None,
        ends: None,
        until: Vec::new(),
    };
    let say = |_| alloc::vec![Record::Meta(revoke.clone())];
    let removes = log_of(&here, (&keys, Incarnation(101)), 1, at(2, alloc::vec![on(&admits, 1)]), say);
    assert_eq!(keep(&mut here, alloc::vec![removes]), 1);

    let first = |n, header: &mut Header| {
        header.stamp = Hlc((WALL.0 + 10 + n) << 16);
        header.dependencies.extend((n == 1).then(|| on(&admits, 1)));
    };
    let wrote = run(&here, &gone, 5, first);
    assert_eq!(take(&here, alloc::vec![wrote.clone()]), (Ok(5), true), "from a member");
    assert_eq!(take_from(&here, Sender::Removed, alloc::vec![wrote.clone()]), (Ok(0), false));
    let builds = log_of(&here, (&keys, Incarnation(102)), 1, at(30, alloc::vec![on(&wrote, 3)]), |_| {
        row(&here, Vec::new())
    });
    assert_eq!(take_from(&here, Sender::Removed, alloc::vec![wrote.clone(), builds]), (Ok(4), true));
    // By a longer way: another one who was removed, or was never let in, lies between.
    let through = tower(&here, &gone, || on(&wrote, 2), 1);
    let way = alloc::vec![on(&through[0], 1)];
    let builds = log_of(&here, (&keys, Incarnation(102)), 1, at(30, way), |_| row(&here, Vec::new()));
    let all = alloc::vec![builds, wrote, through[0].clone()];
    assert_eq!(take_from(&here, Sender::Removed, all), (Ok(4), true));
}

#[test]
fn more_metadata_than_an_author_may_write_is_not_taken_and_nobodys_fault() {
    let here = here();
    let name = Name::new("more").unwrap();
    let in_each = 10_000;
    let records = |_| alloc::vec![Record::Meta(MetaRecord::Collection { name: name.clone() }); in_each];
    let change = |n, header: &mut Header| header.dependencies.extend((n == 1).then(|| genesis(&here)));
    let run = |count| run_of(&here, &here.replica.keys, count, change, records);
    let most = limits::MAX_METADATA / (in_each * limits::METADATA_RECORD);
    assert_eq!(take(&here, alloc::vec![run(most as u64)]).0, Ok(most));
    assert_eq!(take(&here, alloc::vec![run(most as u64 + 2)]).0, Ok(most), "and nothing that follows");
}

#[test]
fn a_departure_that_ends_nothing_is_not_taken() {
    let here = here();
    let own = genesis(&here);
    let granted = Version { author: own.author, generation: 1 };
    let change = |n, header: &mut Header| header.dependencies.extend((n == 1).then(|| genesis(&here)));
    let leave = |grants: &[Version]| Record::Meta(MetaRecord::Leave { grants: grants.to_vec() });
    let taken = |records: &dyn Fn(u64) -> Vec<Record>| {
        take(&here, alloc::vec![run_of(&here, &here.replica.keys, 3, change, records)]).0
    };
    assert_eq!(taken(&|_| alloc::vec![leave(&[])]), Ok(0));
    assert_eq!(taken(&|_| alloc::vec![leave(&[Version { generation: 7, ..granted }])]), Ok(0));
    assert_eq!(taken(&|_| alloc::vec![leave(&[granted]), leave(&[granted])]), Ok(0), "once");
    assert_eq!(taken(&|_| alloc::vec![leave(&[granted])]), Ok(1), "and not again");
}

/// Logs with the longest proofs that there can be: a frame that carries them is no longer than others.
#[test]
fn what_proves_a_run_counts_in_a_chunk() {
    let mut here = here();
    let (keys, admits) = member(&mut here);
    let levels = 62;
    let crowd: Vec<Run> = (0..60)
        .map(|nth| {
            let change = |_, header: &mut Header| {
                header.stamp = Hlc((WALL.0 + 10 + nth) << 16);
                header.dependencies.push(on(&admits, 1));
            };
            let run = log_of(&here, (&keys, Incarnation(nth)), 1, change, |_| row(&here, Vec::new()));
            // Its author says that it goes on for long.
            let mut tree = Tree::default();
            tree.append(Encoded::read(run.generations[0].clone()).unwrap().leaf);
            let (size, completion) = (1 << levels, alloc::vec![Hash([7; 32]); levels]);
            let root = tree.root_at(size, &completion).unwrap();
            let checkpoint =
                Checkpoint::sign(&here.id, &run.author, &Tree::load(size, &Only(root)).unwrap(), (&keys, 0));
            Run { proof: Proof { checkpoint, completion }, ..run }
        })
        .collect();
    let authors: Vec<Author> = crowd.iter().map(|run| run.author).collect();
    assert_eq!(keep(&mut here, crowd), 60);
    here.replica.limits.chunk_bytes = 20_000;
    let mut share = Share::new(crate::hash::Tag::default(), Way::Both);
    for author in authors {
        share.believe(author, 0, 100, |belief| belief.goal = 1);
    }
    let group = here.replica.groups.get(&0).unwrap();
    let chunk = serve::chunk(&here.replica, &here.store, group, &share, &BTreeMap::new()).unwrap();
    let size = Message::Deltas(chunk.deltas).encode().len();
    assert!((10_000..=20_000).contains(&size), "{size} bytes");
}

/// A tree of one peak.
struct Only(Hash);

impl Nodes for Only {
    fn node(&self, _: u32, _: u64) -> Result<Hash, Fault> {
        Ok(self.0)
    }
}

/// An admin may write a rule for a collection that there is not. If the rule becomes void, that collection is one
/// without rules, should anybody make it, on every device.
#[test]
fn a_void_rule_is_none_also_for_a_collection_that_there_is_not() {
    let rules = |is_first: bool| {
        let mut here = here();
        let (keys, admits) = member(&mut here);
        let own = here.replica.keys.clone();
        let at = |stamp: u64, on: Vec<Dependency>| {
            move |_, header: &mut Header| {
                header.stamp = Hlc((WALL.0 + stamp) << 16);
                header.dependencies.clone_from(&on);
            }
        };
        let name = Name::new("member").unwrap();
        let admin =
            MetaRecord::Admit { key: keys.first(), name, rights: Rights::Admin, ends: None, request: None };
        let say = |_| alloc::vec![Record::Meta(admin.clone())];
        let promotes = log_of(&here, (&own, Incarnation(101)), 1, at(2, alloc::vec![on(&admits, 1)]), say);
        keep(&mut here, alloc::vec![promotes.clone()]);
        let collection = CollectionId::of(&Name::new("nowhere").unwrap());
        let policy = Some(crate::resolve::Policy::Defer);
        let rule = MetaRecord::Rule { collection, prefix: Default::default(), policy };
        let say = |_| alloc::vec![Record::Meta(rule.clone())];
        let ruled = log_of(&here, (&keys, Incarnation(9)), 1, at(3, alloc::vec![on(&promotes, 1)]), say);
        let grants = [&admits, &promotes].map(|run| Version { author: run.author, generation: 1 });
        let revoke = MetaRecord::Revoke {
            device: keys.device,
            grants: grants.to_vec(),
            keep: None,
            ends: None,
            until: Vec::new(),
        };
        let say = |_| alloc::vec![Record::Meta(revoke.clone())];
        let removes = log_of(&here, (&own, Incarnation(102)), 1, at(4, alloc::vec![on(&promotes, 1)]), say);
        let order = if is_first { [ruled, removes] } else { [removes, ruled] };
        let kept: Vec<usize> = order.into_iter().map(|run| keep(&mut here, alloc::vec![run])).collect();
        assert_eq!(kept, [1, 1]);
        let stored = here.store.get(Table::Schema, &crate::store::key::collection(0, &collection)).unwrap();
        stored
            .map(|bytes| postcard::from_bytes::<Vec<crate::resolve::Rule>>(&bytes).unwrap())
            .unwrap_or_default()
    };
    assert_eq!((rules(true), rules(false)), (Vec::new(), Vec::new()));
}

/// A row comes before metadata in its generation, and is found there.
#[test]
fn a_row_beside_metadata_has_a_history() {
    let mut here = here();
    let name = Name::new("more").unwrap();
    let records = |_| {
        let mut records = row(&here, Vec::new());
        records.push(Record::Meta(MetaRecord::Collection { name: name.clone() }));
        records.push(Record::Meta(MetaRecord::Collection { name: Name::new("much more").unwrap() }));
        records
    };
    let run =
        run_of(&here, &here.replica.keys, 1, |_, header| header.dependencies.push(genesis(&here)), records);
    assert_eq!(keep(&mut here, alloc::vec![run]), 1);
    let collections = crate::read::collections(&here.store).unwrap();
    let collection = collections.iter().find(|it| it.id == here.collection).unwrap();
    assert_eq!(crate::read::history(&here.store, collection, b"row", 10).unwrap().len(), 1);
}

/// However many logs there are of which the other end holds another branch.
#[test]
fn logs_that_cannot_be_sent_keep_no_other_from_being_sent() {
    let mut here = here();
    let (keys, admits) = member(&mut here);
    let change = |n, header: &mut Header| {
        header.stamp = Hlc((WALL.0 + 10 + n) << 16);
        header.dependencies.extend((n == 1).then(|| on(&admits, 1)));
    };
    let (branches, others) = (140, 10);
    let log = |nth| log_of(&here, (&keys, Incarnation(nth)), 2, change, |_| row(&here, Vec::new()));
    let crowd: Vec<Run> = (0..branches + others).map(log).collect();
    let authors: Vec<Author> = crowd.iter().map(|run| run.author).collect();
    assert_eq!(keep(&mut here, crowd), 2 * authors.len());
    let mut share = Share::new(crate::hash::Tag::default(), Way::Both);
    for author in &authors {
        share.believe(*author, 0, 1_000, |belief| (belief.sent, belief.goal) = (1, 2));
        if author.incarnation.0 < branches {
            share.said.insert(*author, (1, crate::hash::Tag([7; 16])));
        }
    }
    let group = here.replica.groups.get(&0).unwrap();
    let mut sent = Vec::new();
    for _ in 0..4 {
        let chunk = serve::chunk(&here.replica, &here.store, group, &share, &BTreeMap::new()).unwrap();
        for run in &chunk.deltas.runs {
            share.believe(run.author, 0, 1_000, |belief| belief.sent = run.last());
            sent.push(run.author.incarnation.0);
        }
        for author in &chunk.stuck {
            share.believe(*author, 0, 1_000, |belief| belief.goal = belief.sent);
        }
    }
    assert_eq!(sent, (branches..branches + others).collect::<Vec<_>>());
    assert!(share.behind.is_empty());
}

/// A view that counts the bytes that are read from it.
struct Counting<'v>(&'v dyn View, core::cell::Cell<usize>);

impl View for Counting<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        let value = self.0.get(table, key)?;
        self.1.set(self.1.get() + value.as_ref().map_or(0, Bytes::len));
        Ok(value)
    }

    fn scan(&self, scan: &crate::store::Scan<'_>, each: crate::store::Each<'_>) -> Result<(), Fault> {
        self.0.scan(scan, each)
    }
}

/// Somebody has written large generations, and goes on with small ones that each build on some of them.
#[test]
fn what_is_built_on_large_generations_does_not_have_them_read_again_and_again() {
    let mut here = here();
    let (each, count) = (200_000, 16);
    let content = |here: &Here, value: usize| {
        alloc::vec![Record::Row(RowRecord {
            collection: here.collection,
            key: b"large"[..].into(),
            parents: Vec::new(),
            repeats: None,
            pick: false,
            content: crate::log::record::Content::Put(alloc::vec![1; value].into()),
        })]
    };
    let change = |here: &Here| {
        let genesis = genesis(here);
        move |n, header: &mut Header| header.dependencies.extend((n == 1).then_some(genesis))
    };
    let keys = here.replica.keys.clone();
    let large = log_of(&here, (&keys, Incarnation(300)), count, change(&here), |_| content(&here, each));
    assert_eq!(keep(&mut here, alloc::vec![large.clone()]), count as usize);
    for (nth, limit) in [(400, (count as usize + 1) * each), (401, each)] {
        let change = |n, header: &mut Header| {
            header.stamp.0 += 1_000 << 16;
            header.dependencies = alloc::vec![on(&large, n % (count - 1) + 1)];
        };
        let run = log_of(&here, (&keys, Incarnation(nth)), 300, change, |_| row(&here, Vec::new()));
        let counting = Counting(&here.store, core::cell::Cell::new(0));
        let mut plan = Plan::new(&here.replica, &counting);
        let deltas = Deltas { name: crate::hash::Tag::default(), runs: alloc::vec![run] };
        let now = Now { wall: WALL, ..Now::default() };
        let received = receive(&mut plan, 0, Sender::Anybody, deltas, now).unwrap().unwrap();
        assert_eq!(received.applied, 300);
        let effects = plan.finish();
        let read = counting.1.get();
        assert!(read <= limit, "{read} bytes read, after {} others", nth - 400);
        let commit = here.replica.apply(effects).unwrap();
        here.store.apply(&commit);
    }
}

#[test]
fn what_is_dated_back_below_what_it_builds_on_is_not_taken() {
    let mut here = here();
    let (keys, admits) = member(&mut here);
    for (stamp, taken) in [(0, 0), (1, 0), (2, 1)] {
        let change = |_, header: &mut Header| {
            header.stamp = Hlc((WALL.0 + stamp) << 16);
            header.dependencies.push(on(&admits, 1));
        };
        let run = log_of(&here, (&keys, Incarnation(9)), 1, change, |_| row(&here, Vec::new()));
        assert_eq!(take(&here, alloc::vec![run]).0, Ok(taken), "{stamp}");
    }
}
