//! Drawn histories. Each line is a version: its name, what it did, its parents, and after `=` what it copies. Names sort like
//! authors;
//! stamps grow from line to line, so a line lies above all lines that it can name.

use alloc::string::String;
use alloc::vec;

use bytes::Bytes;
use core::cell::Cell;

use super::*;
use crate::id::{CollectionId, DeviceId, Incarnation};
use crate::log::record::Repeated;
use crate::resolve::merge::Operations;

struct Drawn {
    nodes: Vec<(char, Node)>,
    reads: Cell<usize>,
}

fn author_of(name: char) -> Author {
    Author { device: DeviceId([1; 16]), incarnation: Incarnation(u64::from(name)) }
}

impl Versions for Drawn {
    fn node(&self, place: Place) -> Result<Option<Node>, Fault> {
        self.reads.set(self.reads.get() + 1);
        Ok(self.nodes.get(place.0 as usize).map(|(_, node)| node.clone()))
    }
    fn author(&self, ix: AuthorIx) -> Result<Author, Fault> {
        Ok(author_of(self.nodes[ix as usize].0))
    }
    fn author_ix(&self, author: &Author) -> Result<Option<AuthorIx>, Fault> {
        Ok(self.nodes.iter().position(|(name, _)| author_of(*name) == *author).map(|ix| ix as AuthorIx))
    }
}

fn leaf_of(name: char) -> Tag {
    Tag([name as u8; 16])
}

fn draw(lines: &[&str]) -> Drawn {
    let nodes = lines.iter().enumerate().map(|(at, line)| {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap().chars().next().unwrap();
        let content = match words.next().unwrap() {
            "put" => Content::Put(Bytes::from(String::from(name))),
            "del" => Content::Delete,
            "add" => Content::Operate(Operations::Counter(1)),
            other => panic!("{other}"),
        };
        // A capital letter is void.
        let void = name.is_uppercase();
        let version = |name| Version { author: author_of(name), generation: 1 };
        let (copied, parents): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with('='));
        let parents = parents.iter().map(|parent| version(parent.chars().next().unwrap())).collect();
        let repeats = copied.first().map(|copied| {
            let name = copied.chars().nth(1).unwrap();
            let stamp = lines.iter().position(|line| line.starts_with(name)).unwrap() as u64 + 1;
            Repeated { version: version(name), stamp: Hlc(stamp), copies: Some(leaf_of(name)) }
        });
        let (collection, key) = (CollectionId::default(), Bytes::new());
        let record = RowRecord { collection, key, parents, repeats, pick: false, content };
        (name, Node { stamp: Hlc(at as u64 + 1), batch: None, leaf: leaf_of(name), record, void })
    });
    Drawn { nodes: nodes.collect(), reads: Cell::new(0) }
}

fn places(drawn: &Drawn, names: &str) -> Vec<Place> {
    let place = |name| drawn.nodes.iter().position(|(other, _)| *other == name).unwrap();
    names.chars().map(|name| (place(name) as AuthorIx, 1)).collect()
}

fn ancestor(drawn: &Drawn, heads: &str) -> Option<char> {
    let found = common_ancestor(drawn, &places(drawn, heads), 1_000).unwrap();
    found.map(|((ix, _), _)| drawn.nodes[ix as usize].0)
}

/// The heads, the bases and the live operations, in alphabetical order.
fn counted(drawn: &Drawn, tips: &str) -> [String; 3] {
    let Counting { heads, bases, live } = counting(drawn, &places(drawn, tips)).unwrap();
    let names = |mut places: Vec<AuthorIx>| {
        places.sort_unstable();
        places.into_iter().map(|ix| drawn.nodes[ix as usize].0).collect()
    };
    let of = |heads: &[RowHead]| names(heads.iter().map(|head| head.author).collect());
    [of(&heads), of(&bases), names(live.iter().map(|((ix, _), _)| *ix).collect())]
}

#[test]
fn a_copy_counts_beneath_what_was_built_on_what_it_copies() {
    let drawn = draw(&["a add", "X add a", "c add a =X", "m add X", "r put m", "s put c"]);
    assert_eq!(counted(&drawn, "cX"), ["c", "", "ac"]);
    assert_eq!(counted(&drawn, "cXm"), ["cm", "", "acm"]);
    assert_eq!(counted(&drawn, "cmr"), ["cr", "r", ""], "it is replaced, and stays a head");
    assert_eq!(counted(&drawn, "rs"), ["rs", "rs", ""]);
    assert_eq!(counted(&drawn, "Xs"), ["s", "s", ""]);
}

#[test]
fn of_several_copies_one_counts_and_what_replaced_one_replaced_all() {
    let drawn = draw(&["a add", "X add a", "c add a =X", "d add a =X", "m add d", "r put m"]);
    assert_eq!(counted(&drawn, "cdX")[2], "ac");
    assert_eq!(counted(&drawn, "dc")[2], "ac", "whatever comes first");
    assert_eq!(counted(&drawn, "cm"), ["cm", "", "acm"]);
    assert_eq!(counted(&drawn, "cr"), ["cr", "r", ""]);
    let puts = draw(&["a put", "X put a", "c put a =X", "m put X"]);
    assert_eq!(counted(&puts, "cm"), ["cm", "m", ""]);
    assert_eq!(counted(&puts, "mcX"), ["cm", "m", ""]);
}

#[test]
fn nothing_copies_what_another_device_wrote_and_no_row_loses_its_last_head() {
    let mut drawn = draw(&["a put", "b put a =a", "c put b =a"]);
    assert_eq!(counted(&drawn, "c")[0], "c");
    assert_eq!(counted(&drawn, "cb")[0], "c");
    drawn = draw(&["a add", "X add a", "c add a =X", "r put X"]);
    assert_eq!(counted(&drawn, "cr")[2], "");
    if let Some(repeated) = &mut drawn.nodes[2].1.record.repeats {
        repeated.version.author.device = DeviceId([2; 16]);
    }
    assert_eq!(counted(&drawn, "cr")[2], "c");
}

#[test]
fn linear() {
    let drawn = draw(&["a put", "b put a", "c put b", "d put c"]);
    assert_eq!(ancestor(&drawn, "db"), Some('b'), "an ancestor of the other head");
    assert_eq!(ancestor(&drawn, "d"), Some('d'));
}

#[test]
fn diamond() {
    let drawn = draw(&["a put", "b put a", "c put a", "d put b c", "e put b"]);
    assert_eq!(ancestor(&drawn, "bc"), Some('a'));
    assert_eq!(ancestor(&drawn, "de"), Some('b'));
}

#[test]
fn criss_cross_has_two_nearest_and_the_last_counts() {
    //   a ─┬─ b ─┬─ d        b and c are both nearest common ancestors of d and e
    //      └─ c ─┴─ e
    let drawn = draw(&["a put", "b put a", "c put a", "d put b c", "e put b c"]);
    assert_eq!(ancestor(&drawn, "de"), Some('c'));
    assert_eq!(ancestor(&drawn, "ed"), Some('c'));
}

#[test]
fn disjoint_roots_have_none() {
    let drawn = draw(&["a put", "b put", "c put a", "d put b"]);
    assert_eq!(ancestor(&drawn, "cd"), None);
}

#[test]
fn three_heads_and_more() {
    let drawn = draw(&["a put", "b put a", "c put a", "d put b", "e put b", "f put c", "g put"]);
    assert_eq!(ancestor(&drawn, "de"), Some('b'));
    assert_eq!(ancestor(&drawn, "def"), Some('a'));
    assert_eq!(ancestor(&drawn, "edf"), Some('a'));
    assert_eq!(ancestor(&drawn, "defg"), None);
}

#[test]
fn a_resolution_that_meets_a_resolution() {
    //   a ─┬─ b ─┬─ r (resolves b, c) ── x
    //      └─ c ─┴─ s (resolves b, c)
    let drawn = draw(&["a put", "b put a", "c put a", "r put b c", "s put b c", "x put r"]);
    assert_eq!(ancestor(&drawn, "rs"), Some('c'));
    assert_eq!(ancestor(&drawn, "xs"), Some('c'));
}

#[test]
fn a_parent_that_is_not_held_leads_nowhere() {
    let mut drawn = draw(&["a put", "b put a", "c put a"]);
    let gone = Version { author: author_of('z'), generation: 1 };
    drawn.nodes[1].1.record.parents.push(gone);
    assert_eq!(ancestor(&drawn, "bc"), Some('a'));
}

#[test]
fn what_it_costs_is_what_lies_between() {
    // Two heads, ten changes apart each, on top of a long history.
    let record = |parents: Vec<Version>| RowRecord {
        collection: CollectionId::default(),
        key: Bytes::new(),
        parents,
        repeats: None,
        pick: false,
        content: Content::Delete,
    };
    struct Long(Cell<usize>, fn(Vec<Version>) -> RowRecord);
    const LENGTH: u64 = 100_000;
    impl Versions for Long {
        fn node(&self, (ix, generation): Place) -> Result<Option<Node>, Fault> {
            self.0.set(self.0.get() + 1);
            let version =
                |ix: AuthorIx, generation| Version { author: author_of(char::from(ix as u8)), generation };
            let parents = match (ix, generation) {
                (_, 1) => Vec::new(),
                (0, n) if n <= LENGTH => vec![version(0, n - 1)],
                (_, n) if n == LENGTH + 1 => {
                    vec![version(0, LENGTH)]
                }
                (ix, n) => vec![version(ix, n - 1)],
            };
            let (stamp, record) = (Hlc(generation * 2 + u64::from(ix)), (self.1)(parents));
            Ok(Some(Node { stamp, batch: None, leaf: Tag::default(), record, void: false }))
        }
        fn author(&self, ix: AuthorIx) -> Result<Author, Fault> {
            Ok(author_of(char::from(ix as u8)))
        }
        fn author_ix(&self, author: &Author) -> Result<Option<AuthorIx>, Fault> {
            Ok(Some(AuthorIx::from(author.device.0[0])))
        }
    }
    let long = Long(Cell::new(0), record);
    let found = common_ancestor(&long, &[(0, LENGTH + 10), (1, LENGTH + 10)], 1_000).unwrap();
    assert_eq!(found.map(|(place, _)| place), Some((0, LENGTH)));
    assert!(long.0.get() <= 100, "{} records read", long.0.get());
}

fn counted(drawn: &Drawn, heads: &str) -> (String, String) {
    let counting = counting(drawn, &places(drawn, heads)).unwrap();
    let name = |ix: AuthorIx| drawn.nodes[ix as usize].0;
    let mut bases: Vec<char> = counting.bases.iter().map(|base| name(base.author)).collect();
    let mut live: Vec<char> = counting.live.iter().map(|((ix, _), _)| name(*ix)).collect();
    bases.sort();
    live.sort();
    (bases.into_iter().collect(), live.into_iter().collect())
}

#[test]
fn a_put_takes_the_place_of_the_operations_that_it_knew_and_no_others() {
    let drawn = draw(&["p put", "a add p", "b add a", "c add p", "q put b", "d add c", "e add q d"]);
    assert_eq!(counted(&drawn, "bc"), ("p".into(), "abc".into()));
    assert_eq!(counted(&drawn, "qd"), ("q".into(), "cd".into()), "a and b were known to q");
    assert_eq!(counted(&drawn, "e"), ("q".into(), "cde".into()));
}

#[test]
fn an_operation_reached_beside_a_put_and_known_to_it_does_not_count() {
    //   o ─┬─ p put ─┐
    //      └─ a add ─┴─ b add        p knew o; a did not know p, and leads to o as well
    let drawn = draw(&["o add", "p put o", "a add o", "b add p a"]);
    assert_eq!(counted(&drawn, "b"), ("p".into(), "ab".into()));
    let two_puts = draw(&["o add", "p put o", "q del", "b add p q"]);
    assert_eq!(counted(&two_puts, "b"), ("pq".into(), "b".into()));
}

fn heads(drawn: &Drawn, tips: &str) -> String {
    let counting = counting(drawn, &places(drawn, tips)).unwrap();
    let mut heads: Vec<char> = counting.heads.iter().map(|it| drawn.nodes[it.author as usize].0).collect();
    heads.sort();
    heads.into_iter().collect()
}

#[test]
fn where_a_head_is_void_what_lies_beneath_it_is_seen_again() {
    let drawn = draw(&["a put", "V put a", "W del V", "b put a"]);
    assert_eq!(heads(&drawn, "W"), "a");
    assert_eq!(heads(&drawn, "Wb"), "b", "a has a successor that counts");
}

#[test]
fn what_was_built_on_a_void_version_supersedes_what_that_one_did() {
    let drawn = draw(&["a put", "b put", "V put a b", "c put V"]);
    assert_eq!(heads(&drawn, "c"), "c");
    assert_eq!(heads(&drawn, "cV"), "c");
}

#[test]
fn operations_that_only_a_void_put_had_replaced_count_again() {
    let drawn = draw(&["p put", "a add p", "V put a", "b add V"]);
    assert_eq!(counted(&drawn, "b"), ("p".into(), "ab".into()));
    let drawn = draw(&["p put", "A add p", "b add A"]);
    assert_eq!(counted(&drawn, "b"), ("p".into(), "b".into()), "a void operation adds nothing");
}

#[test]
fn a_void_version_is_no_common_ancestor() {
    let drawn = draw(&["a put", "V put a", "b put V", "c put V"]);
    assert_eq!(ancestor(&drawn, "bc"), Some('a'));
}
