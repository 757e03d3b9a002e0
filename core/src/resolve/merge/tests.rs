//! Whatever the order and the grouping, merging comes to the same.

use alloc::string::{String, ToString};
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::id::{Author, DeviceId, Incarnation};
use crate::resolve::Fields;

fn version(author: u8, generation: u64) -> Version {
    Version { author: Author { device: DeviceId([author; 16]), incarnation: Incarnation(0) }, generation }
}

fn put(author: u8, stamp: u64, value: Bytes) -> Base {
    Base { stamp: Hlc(stamp), version: version(author, 1), value: Some(value) }
}

fn text(bytes: &Option<Bytes>) -> String {
    String::from_utf8(bytes.clone().unwrap().to_vec()).unwrap()
}

fn element() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(Bytes::from)
}

fn path() -> impl Strategy<Value = Vec<String>> {
    let name = prop::sample::select(vec!["x", "y"]).prop_map(|name| name.to_string());
    prop::collection::vec(name, 1..4)
}

fn operations() -> impl Strategy<Value = Operations> {
    let removed = prop::collection::vec((1u8..4, 1u64..5).prop_map(|(a, g)| version(a, g)), 0..4);
    prop_oneof![
        any::<i64>().prop_map(Operations::Counter),
        (element(), prop::option::of(removed))
            .prop_map(|(element, removes)| Operations::Set(vec![SetChange { element, removes }])),
        (path(), prop::option::of(element()))
            .prop_map(|(path, value)| Operations::Fields(vec![FieldChange { path, value }])),
        element().prop_map(|bytes| Operations::Named(Name::new("longest").unwrap(), vec![bytes])),
    ]
}

struct Joined;

impl MergeFunction for Joined {
    fn name(&self) -> &str {
        "longest"
    }
    fn merge(&self, bases: &[&[u8]], operations: &[&[u8]]) -> Option<Vec<u8>> {
        Some([bases, operations].concat().concat())
    }
}

fn all_shown(folds: &[Fold], bases: &[Base]) -> Vec<Option<Bytes>> {
    let merges = [Merge::Counter, Merge::Set, Merge::Fields, Merge::Named(Name::new("longest").unwrap())];
    merges.iter().map(|merge| shown(merge, bases, folds, &[&Joined])).collect()
}

proptest! {
    #[test]
    fn any_order_of_operations_comes_to_the_same(
        list in prop::collection::vec((operations(), 0u64..6), 0..12).prop_flat_map(|list| {
            let numbered: Vec<_> = list.into_iter().enumerate().collect();
            (Just(numbered.clone()), Just(numbered).prop_shuffle())
        }),
    ) {
        let fold = |list: &[(usize, (Operations, u64))]| {
            let mut folds = Vec::new();
            for (number, (operations, stamp)) in list {
                // Of three authors, each with its own generations; stamps may tie between authors.
                let (author, generation) = ((number % 3) as u8 + 1, (number / 3) as u64 + 1);
                take(&mut folds, operations, Hlc(stamp * 100 + generation), version(author, generation));
            }
            folds
        };
        let (one, other) = (fold(&list.0), fold(&list.1));
        let fields = Fields(BTreeMap::from([(vec!["x".to_string()], Bytes::from("base"))]));
        let bases = [put(9, 301, fields.to_bytes()), put(8, 200, Elements::from_iter([Bytes::from("a")]).to_bytes())];
        prop_assert_eq!(all_shown(&one, &[]), all_shown(&other, &[]));
        prop_assert_eq!(all_shown(&one, &bases), all_shown(&other, &bases));
    }

    #[test]
    fn operations_come_back_from_their_bytes(operations in operations()) {
        prop_assert_eq!(Operations::from_bytes(&operations.to_bytes()).unwrap(), operations);
    }
}

use alloc::collections::BTreeMap;

#[test]
fn a_counter_adds_to_the_last_put_and_counts_on_after_a_delete() {
    let mut folds = Vec::new();
    take(&mut folds, &Operations::Counter(5), Hlc(3), version(1, 2));
    take(&mut folds, &Operations::Counter(-2), Hlc(4), version(2, 1));
    let bases = [put(3, 9, "10".into()), put(4, 8, "1000".into())];
    assert_eq!(text(&shown(&Merge::Counter, &bases, &folds, &[])), "13");
    let deleted = [Base { value: None, ..put(3, 9, Bytes::new()) }];
    assert_eq!(text(&shown(&Merge::Counter, &deleted, &folds, &[])), "3");
    assert_eq!(shown(&Merge::Counter, &deleted, &[], &[]), None);
    assert_eq!(text(&shown(&Merge::Counter, &[put(1, 1, "no number".into())], &[], &[])), "no number");
    assert_eq!(text(&shown(&Merge::Counter, &[put(1, 1, "no number".into())], &folds, &[])), "3");
}

#[test]
fn an_element_stays_if_it_was_inserted_beside_its_removal() {
    let mut folds = Vec::new();
    let insert = |element| Operations::prepare(Operation::Insert(element), |_| vec![]);
    take(&mut folds, &insert("a".into()), Hlc(1), version(1, 1));
    let seen = inserted_by(&folds, &[], b"a");
    assert_eq!(seen, [version(1, 1)]);
    take(&mut folds, &insert("a".into()), Hlc(2), version(2, 1));
    let remove = Operations::prepare(Operation::Remove("a".into()), |_| seen.clone());
    take(&mut folds, &remove, Hlc(3), version(1, 2));
    let elements = |folds: &[Fold], bases: &[Base]| {
        Elements::from_bytes(&shown(&Merge::Set, bases, folds, &[]).unwrap()).unwrap().0
    };
    assert_eq!(elements(&folds, &[]).len(), 1);
    let both = Operations::prepare(Operation::Remove("a".into()), |e| inserted_by(&folds, &[], e));
    take(&mut folds, &both, Hlc(4), version(1, 3));
    assert_eq!(elements(&folds, &[]).len(), 0);
    // What a put brought can be removed like anything else.
    let bases = [put(5, 9, Elements::from_iter([Bytes::from("a"), Bytes::from("z")]).to_bytes())];
    assert_eq!(elements(&folds, &bases).len(), 2);
    let of_base = Operations::prepare(Operation::Remove("z".into()), |e| inserted_by(&folds, &bases, e));
    take(&mut folds, &of_base, Hlc(10), version(1, 4));
    assert_eq!(elements(&folds, &bases), [Bytes::from("a")].into());
}

#[test]
fn fields_merge_each_by_itself_and_a_later_change_above_takes_what_is_below() {
    let set = |path: &[&str], value: &'static str| {
        Operations::Fields(vec![FieldChange {
            path: path.iter().map(ToString::to_string).collect(),
            value: Some(value.into()),
        }])
    };
    let remove = |path: &[&str]| {
        Operations::Fields(vec![FieldChange {
            path: path.iter().map(ToString::to_string).collect(),
            value: None,
        }])
    };
    let list = [
        (set(&["name"], "Ann"), 1, 1),
        (set(&["address", "city"], "Basel"), 2, 2),
        (set(&["address", "street"], "Ring"), 5, 1),
        (remove(&["address"]), 4, 3),
    ];
    let mut folds = Vec::new();
    for (at, (operations, stamp, author)) in list.iter().enumerate() {
        take(&mut folds, operations, Hlc(*stamp), version(*author, at as u64 + 1));
    }
    let fields = Fields::from_bytes(&shown(&Merge::Fields, &[], &folds, &[]).unwrap()).unwrap();
    let names: Vec<String> = fields.0.keys().map(|path| path.join(".")).collect();
    assert_eq!(names, ["address.street", "name"]);
    take(&mut folds, &set(&["address"], "unknown"), Hlc(9), version(1, 9));
    let fields = Fields::from_bytes(&shown(&Merge::Fields, &[], &folds, &[]).unwrap()).unwrap();
    assert_eq!(fields.0.keys().map(|path| path.join(".")).collect::<Vec<_>>(), ["address", "name"]);
}

#[test]
fn changes_of_a_batch_join_to_one_of_each_thing() {
    let mut sum = Operations::Counter(i64::MAX);
    assert_eq!(sum.join(Operations::Counter(1)), Err(Operations::Counter(1)), "too much for one batch");
    assert_eq!(sum.join(Operations::Counter(-1)), Ok(()));
    let change = |path: &[&str], value: Option<&'static str>| FieldChange {
        path: path.iter().map(ToString::to_string).collect(),
        value: value.map(Bytes::from),
    };
    let mut fields = Operations::Fields(vec![change(&["a", "b"], Some("1")), change(&["c"], Some("2"))]);
    fields.join(Operations::Fields(vec![change(&["a"], None)])).unwrap();
    assert_eq!(fields, Operations::Fields(vec![change(&["c"], Some("2")), change(&["a"], None)]));
    assert!(fields.join(Operations::Counter(1)).is_err());
}

#[test]
fn the_path_of_a_field_has_a_bounded_number_of_names() {
    let path = |length: usize| vec![String::from("x"); length];
    let change =
        |length| Operations::Fields(vec![FieldChange { path: path(length), value: None }]).to_bytes();
    let tree = |length| Fields(BTreeMap::from([(path(length), Bytes::from("value"))])).to_bytes();
    for (length, is_right) in [(0, false), (1, true), (64, true), (65, false)] {
        assert_eq!(Operations::from_bytes(&change(length)).is_ok(), is_right, "{length}");
        assert_eq!(Fields::from_bytes(&tree(length)).is_some(), is_right, "{length}");
    }
}
