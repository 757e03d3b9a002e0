//! What the page gets of a run, as it gets it: lists of lists, because there are many. Times are milliseconds;
//! replicas, authors, syncgroups, rows, values and texts are numbers into the other lists; −1 is none.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// Bytes of descriptions that are kept.
const MOST_TEXT: usize = 24 << 20;

/// In place of a value: it was deleted.
pub(super) const DELETION: i64 = -1;
/// In place of a value: it is an operation of a merging row.
pub(super) const OPERATION: i64 = -2;

/// A run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Kept {
    pub(super) frames: Vec<KeptFrame>,
    /// At, replica, kind, text.
    pub(super) events: Vec<(u64, i64, usize, i64)>,
    /// At, replica, syncgroup, author, last generation held; 0 is nothing any more.
    pub(super) held: Vec<(u64, usize, usize, usize, u64)>,
    /// At, replica, syncgroup, text.
    pub(super) states: Vec<(u64, usize, usize, i64)>,
    /// At, replica, row, what readers see: a value or −1, whether it is in conflict, heads, the last one first.
    pub(super) shown: Vec<(u64, usize, usize, i64, bool, Vec<KeptHead>)>,
    pub(super) generations: Vec<KeptGeneration>,
    /// Syncgroup, collection, key.
    pub(super) rows: Vec<(usize, String, String)>,
    /// Start, bytes.
    pub(super) values: Vec<(String, usize)>,
    /// At, and the pairs of replicas from whom to whom nothing gets through from then on.
    pub(super) cuts: Vec<(u64, Vec<(usize, usize)>)>,
    /// Number, replica, peer, up at, down at.
    pub(super) links: Vec<(u64, usize, usize, u64, i64)>,
    /// From, to, replica: commits were not durable.
    pub(super) at_risk: Vec<(u64, i64, usize)>,
    /// What was not kept.
    pub(super) left_out: LeftOut,
}

/// A frame.
#[derive(Debug)]
pub(super) struct KeptFrame {
    pub(super) sent: u64,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) kind: usize,
    pub(super) group: i64,
    pub(super) bytes: u64,
    pub(super) text: i64,
    pub(super) lost: Lost,
    pub(super) arrivals: Vec<Arrival>,
}

impl Serialize for KeptFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { sent, from, to, kind, group, bytes, text, lost, arrivals } = self;
        (sent, from, to, kind, group, bytes, text, *lost as u8, arrivals).serialize(serializer)
    }
}

/// A generation that was written.
#[derive(Debug)]
pub(super) struct KeptGeneration {
    pub(super) at: u64,
    pub(super) replica: usize,
    pub(super) group: usize,
    pub(super) author: usize,
    pub(super) generation: u64,
    pub(super) text: i64,
    /// Its stamp: the wall clock in milliseconds, and the counter.
    pub(super) stamp: (u64, u64),
    pub(super) changes: Vec<Change>,
}

impl Serialize for KeptGeneration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { at, replica, group, author, generation, text, stamp, changes } = self;
        (at, replica, group, author, generation, text, stamp.0, stamp.1, changes).serialize(serializer)
    }
}

/// Author, generation, value, or one of [`DELETION`] and [`OPERATION`].
pub(super) type KeptHead = (usize, u64, i64);
/// At, and how: see [`How`].
pub(super) type Arrival = (u64, u8);
/// Row, value or one of [`DELETION`] and [`OPERATION`], parents: author, generation.
pub(super) type Change = (usize, i64, Vec<(usize, u64)>);

/// What could not be kept.
#[derive(Debug, Default, Serialize)]
pub(super) struct LeftOut {
    pub(super) frames: u64,
    pub(super) events: u64,
    pub(super) texts: u64,
}

/// How a frame arrived.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum How {
    /// Not yet, or never: the run ended, or nobody is there.
    Awaited = 0,
    /// As it should.
    Taken = 1,
    /// Behind one that was sent later.
    Overtaken = 2,
    /// At an end that was gone.
    NobodyThere = 3,
}

/// Why a frame did not arrive.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Lost {
    No = 0,
    /// There was a cut between the two.
    Cut = 1,
    /// By chance, by the plan, or because its link was broken.
    OnTheWay = 2,
}

/// Kinds of events, by number.
pub(super) const EVENT_KINDS: [&str; 16] = [
    "step",
    "command",
    "reply",
    "refused",
    "commit",
    "durable",
    "link-up",
    "link-down",
    "no-answer",
    "found",
    "out-of-sight",
    "notice",
    "start",
    "crash",
    "stop",
    "healed",
];

/// Texts, each kept once.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) list: Vec<String>,
    numbers: BTreeMap<String, usize>,
    bytes: usize,
    pub(super) left_out: u64,
}

impl Texts {
    pub(super) fn put(&mut self, text: String) -> i64 {
        if text.is_empty() {
            return -1;
        }
        if let Some(number) = self.numbers.get(&text) {
            return *number as i64;
        }
        if self.bytes + text.len() > MOST_TEXT {
            self.left_out += 1;
            return -1;
        }
        self.bytes += text.len();
        self.numbers.insert(text.clone(), self.list.len());
        self.list.push(text);
        self.list.len() as i64 - 1
    }
}
