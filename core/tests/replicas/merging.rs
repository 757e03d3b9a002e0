//! Rows whose value is derived (S-16).

use std::collections::BTreeSet;

use super::*;

fn counting(count: usize) -> (World, SyncgroupId) {
    let (mut world, id) = World::together(count);
    world.schema(0, id, &[("n/", Policy::Merge(Merge::Counter)), ("s/", Policy::Merge(Merge::Set))]);
    world.run(60_000);
    (world, id)
}

/// Cuts two replicas off from each other, and links them again.
fn apart(world: &mut World, act: impl FnOnce(&mut World)) {
    for link in world.links_of(0) {
        world.unlink(link);
    }
    act(world);
    for at in 1..world.nodes.len() {
        world.link(0, at);
    }
    world.run(60_000);
}

#[test]
fn a_counter_that_crosses_is_exact() {
    // Two increments, merged twice, each side adding more before it hears of the other's.
    let (mut world, id) = counting(2);
    let add = |world: &mut World, at, n| world.operate(at, id, "n/x", Operation::Add(n));
    add(&mut world, 0, 1);
    apart(&mut world, |world| {
        add(world, 0, 10);
        add(world, 1, 100);
    });
    assert_eq!(world.text(0, id, "n/x").as_deref(), Some("111"));
    apart(&mut world, |world| {
        add(world, 0, 1_000);
        add(world, 0, 10_000);
        add(world, 1, 100_000);
    });
    assert_eq!(world.text(0, id, "n/x").as_deref(), Some("111111"));
    assert!(!world.get(0, id, "n/x").unwrap().in_conflict);
    world.assert_same(id);
}

#[test]
fn a_put_and_a_delete_take_what_they_knew_and_leave_what_they_did_not() {
    let (mut world, id) = counting(3);
    world.operate(0, id, "n/x", Operation::Add(5));
    world.run(60_000);
    apart(&mut world, |world| {
        world.put(0, id, "n/x", "40");
        world.operate(1, id, "n/x", Operation::Add(2));
    });
    assert_eq!(world.text(2, id, "n/x").as_deref(), Some("42"));
    world.assert_same(id);
    apart(&mut world, |world| {
        world.delete(0, id, "n/x").unwrap();
        world.operate(1, id, "n/x", Operation::Add(7));
        world.operate(1, id, "n/x", Operation::Add(1));
    });
    assert_eq!(world.text(2, id, "n/x").as_deref(), Some("8"));
    world.assert_same(id);
    world.delete(2, id, "n/x").unwrap();
    world.run(60_000);
    assert_eq!(world.text(0, id, "n/x"), None);
    world.assert_same(id);
}

#[test]
fn what_a_batch_does_to_one_row_adds_up() {
    let (mut world, id) = counting(2);
    let row = world.row(id, "n/x");
    let batch =
        LocalWrite::new().operate(row.clone(), Operation::Add(3)).operate(row.clone(), Operation::Add(4));
    world.command(0, Command::Write(batch)).unwrap();
    assert_eq!(world.text(0, id, "n/x").as_deref(), Some("7"));
    let batch = LocalWrite::new().put(row.clone(), "10").operate(row.clone(), Operation::Add(5));
    world.command(0, Command::Write(batch)).unwrap();
    assert_eq!(world.text(0, id, "n/x").as_deref(), Some("15"));
    let batch = LocalWrite::new().delete(row.clone()).operate(row, Operation::Add(1));
    world.command(0, Command::Write(batch)).unwrap();
    world.run(60_000);
    assert_eq!(world.text(1, id, "n/x").as_deref(), Some("1"));
    world.assert_same(id);
}

#[test]
fn an_element_that_is_removed_while_somebody_inserts_it_stays() {
    let (mut world, id) = counting(2);
    let elements = |world: &World, at| {
        Elements::from_bytes(&world.get(at, id, "s/x").unwrap().value)
            .unwrap()
            .0
            .into_iter()
            .collect::<Vec<_>>()
    };
    world.operate(0, id, "s/x", Operation::Insert("a".into()));
    world.operate(0, id, "s/x", Operation::Insert("b".into()));
    world.run(60_000);
    apart(&mut world, |world| {
        world.operate(0, id, "s/x", Operation::Remove("a".into()));
        world.operate(0, id, "s/x", Operation::Remove("b".into()));
        world.operate(1, id, "s/x", Operation::Insert("a".into()));
    });
    assert_eq!(elements(&world, 0), ["a"]);
    world.assert_same(id);
}

#[test]
fn a_schema_can_change_and_rows_show_what_it_says() {
    let (mut world, id) = counting(2);
    world.put(0, id, "n/x", "1");
    world.operate(1, id, "n/x", Operation::Add(1));
    world.run(60_000);
    assert_eq!(world.text(0, id, "n/x").as_deref(), Some("2"));
    world.schema(0, id, &[]);
    world.run(60_000);
    assert_eq!(world.text(0, id, "n/x").as_deref(), Some("1"), "the last put");
    world.assert_same(id);
    let refused =
        world.command(1, Command::Write(LocalWrite::new().operate(world.row(id, "n/x"), Operation::Add(1))));
    assert!(matches!(refused, Err(Refusal::OtherPolicy { merge: Merge::Counter, .. })), "{refused:?}");
    world.schema(0, id, &[("", Policy::Merge(Merge::Counter))]);
    world.run(60_000);
    assert_eq!(world.text(1, id, "n/x").as_deref(), Some("2"), "operations were kept");
}

#[test]
fn schemas_that_cannot_be_are_refused_with_a_reason() {
    let (mut world, id) = World::together(2);
    let set = |world: &mut World, at, rules: Vec<Rule>| {
        let command = Command::SetSchema { syncgroup: id, collection: name("notes"), rules };
        world.command(at, command).unwrap_err().to_string()
    };
    let rule = |prefix: Bytes, policy| Rule { prefix, policy };
    let twice = vec![rule("a".into(), Policy::Defer), rule("a".into(), Policy::LastWins)];
    assert!(set(&mut world, 0, twice).contains("two rules are for the prefix \"a\""));
    let unknown = vec![rule("a".into(), Policy::Merge(Merge::Named(name("automerge"))))];
    assert!(set(&mut world, 0, unknown).contains("no merge function \"automerge\""));
    let long = vec![rule(vec![7; 2_000].into(), Policy::Defer)];
    assert!(set(&mut world, 0, long).contains("2000 bytes"));
    assert!(set(&mut world, 1, vec![]).contains("lacks the right"));
}

#[test]
fn one_rule_is_changed_and_all_others_stay() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("a", Policy::Defer), ("b", Policy::AppResolves)]);
    let change = |world: &mut World, at: usize, changes: Vec<(&'static str, Option<Policy>)>| {
        let changes = changes.into_iter().map(|(prefix, policy)| (prefix.into(), policy)).collect();
        let command = Command::ChangeSchema { syncgroup: id, collection: name("notes"), changes };
        world.command(at, command)
    };
    let rules = |world: &World| {
        let rules = read::schema(&world.nodes[0].store, &world.collection(0, id)).unwrap();
        rules
            .into_iter()
            .map(|rule| (String::from_utf8(rule.prefix.to_vec()).unwrap(), rule.policy))
            .collect()
    };
    let expect = |world: &World, expected: &[(&str, Policy)]| {
        let found: Vec<(String, Policy)> = rules(world);
        let expected: Vec<_> =
            expected.iter().map(|(at, policy)| ((*at).to_owned(), policy.clone())).collect();
        assert_eq!(found, expected);
    };
    let counter = Policy::Merge(Merge::Counter);
    change(&mut world, 0, vec![("a", None), ("c", Some(counter.clone()))]).unwrap();
    expect(&world, &[("b", Policy::AppResolves), ("c", counter.clone())]);
    // What is so already is not written, and what is not there is not taken away.
    let written = world.info(0, id).generations;
    change(&mut world, 0, vec![("never", None), ("c", Some(counter))]).unwrap();
    assert_eq!(world.info(0, id).generations, written);
    // With what is there it must be a schema.
    let many: Vec<_> =
        (0..limits::MAX_RULES - 2).map(|at| (&*format!("m{at}").leak(), Some(Policy::Defer))).collect();
    change(&mut world, 0, many).unwrap();
    let refused = change(&mut world, 0, vec![("one more", Some(Policy::Defer))]).unwrap_err().to_string();
    assert!(refused.contains("257 rules"), "{refused}");
    change(&mut world, 0, vec![("b", None), ("one more", Some(Policy::Defer))]).unwrap();
    let refused = change(&mut world, 1, vec![("c", None)]).unwrap_err().to_string();
    assert!(refused.contains("lacks the right"), "{refused}");
}

#[test]
fn rules_that_two_admins_add_while_apart_are_both_there() {
    let mut world = World::new(2);
    let id = world.create(0, "notes");
    let invitation = world.invite(0, id, Rights::Admin);
    world.ask_to_join(1, invitation).unwrap();
    world.link(0, 1);
    world.run(60_000);
    apart(&mut world, |world| {
        world.schema(0, id, &[("a", Policy::Defer)]);
        world.schema(1, id, &[("b", Policy::AppResolves)]);
    });
    let rules = |at: usize| read::schema(&world.nodes[at].store, &world.collection(at, id)).unwrap();
    assert_eq!(rules(0).len(), 2);
    assert_eq!(rules(0), rules(1));
}

#[test]
fn values_that_are_no_counter_are_refused_where_counters_are() {
    let (mut world, id) = counting(2);
    let write = LocalWrite::new().put(world.row(id, "n/x"), "many");
    assert_eq!(world.command(0, Command::Write(write)), Err(Refusal::NotMergeable(Merge::Counter)));
}

#[test]
fn a_field_without_a_name_is_refused() {
    let (mut world, id) = World::together(2);
    world.schema(0, id, &[("", Policy::Merge(Merge::Fields))]);
    for operation in
        [Operation::SetField { path: vec![], value: "x".into() }, Operation::RemoveField { path: vec![] }]
    {
        let batch = LocalWrite::new().operate(world.row(id, "k"), operation);
        assert_eq!(world.command(0, Command::Write(batch)), Err(Refusal::NoField));
    }
}

#[test]
fn what_a_batch_makes_of_a_row_by_itself_is_no_longer_than_a_value_may_be() {
    let (mut world, id) = counting(1);
    let half = |byte: u8| vec![byte; 600 << 10];
    let row = world.row(id, "s/x");
    let set = Elements(BTreeSet::from([half(1).into()])).to_bytes();
    let insert = || Operation::Insert(half(2).into());
    let too_long = |reply| matches!(reply, Err(Refusal::ValueTooLong { size }) if size > 1 << 20);
    let both = LocalWrite::new().put(row.clone(), set).operate(row.clone(), insert());
    assert!(too_long(world.command(0, Command::Write(both))));
    let large = Operation::Insert(vec![3; 2 << 20].into());
    let after = LocalWrite::new().delete(row.clone()).operate(row.clone(), large);
    assert!(too_long(world.command(0, Command::Write(after))));
    let one = LocalWrite::new().delete(row.clone()).operate(row, insert());
    assert!(world.command(0, Command::Write(one)).is_ok());
}

#[test]
fn an_operation_is_not_lost_after_a_put_where_nobody_can_tell_what_both_come_to() {
    let (mut world, id) = World::together(2);
    world.nodes[0].config.merges = vec![&Longest];
    let store = world.nodes[0].store.clone();
    world.reboot(0, store, Continuity::Shown);
    let merge = name("longest");
    world.schema(0, id, &[("d/", Policy::Merge(Merge::Named(merge.clone())))]);
    world.link(0, 1);
    world.run(60_000);
    let row = world.row(id, "d/x");
    let operation = || Operation::Named { merge: merge.clone(), operation: "longer".into() };
    let both = || LocalWrite::new().put(row.clone(), "long").operate(row.clone(), operation());
    assert_eq!(world.command(1, Command::Write(both())), Err(Refusal::Unjoinable), "it has no such function");
    assert!(world.command(0, Command::Write(both())).is_ok());
    world.run(10_000);
    for write in
        [LocalWrite::new().put(row.clone(), "long"), LocalWrite::new().operate(row.clone(), operation())]
    {
        assert!(world.command(1, Command::Write(write)).is_ok(), "in two batches");
    }
    world.run(10_000);
    let collection = world.collection(0, id).with_merges(&[&Longest]);
    let shown = read::get(&world.nodes[0].store, &collection, b"d/x").unwrap().unwrap();
    assert_eq!(shown.value, "longer");
}

/// The longest of all that was put or appended.
#[derive(Debug)]
struct Longest;

impl MergeFunction for Longest {
    fn name(&self) -> &str {
        "longest"
    }
    fn merge(&self, bases: &[&[u8]], operations: &[&[u8]]) -> Option<Vec<u8>> {
        [bases, operations].concat().into_iter().max_by_key(|it| it.len()).map(<[u8]>::to_vec)
    }
}
