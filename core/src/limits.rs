//! Limits. The constants here belong to the protocol: they decide what is valid, so they are the same at
//! every replica. What a replica may choose for itself is in [`Limits`]; reaching one of those delays or
//! refuses a peer, and never decides what is valid (S-53).

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// Bytes of a row's key.
pub const MAX_KEY: usize = 1024;
/// Bytes of a row's value: 1 MiB.
pub const MAX_VALUE: usize = 1 << 20;
/// Bytes of a generation as encoded, header and body: 4 MiB.
pub const MAX_GENERATION: usize = 4 << 20;
/// Dependencies that a generation names. An author that knows more concurrent authors than this joins them
/// by several generations.
pub const MAX_DEPENDENCIES: usize = 1024;
/// Parents that a record names: heads of one row.
pub const MAX_PARENTS: usize = 1024;
/// Names in the path of a field of a row that merges by fields.
pub const MAX_PATH: usize = 64;
/// Rows of one conflict that are told together.
pub const MAX_CONFLICT_ROWS: usize = 1024;
/// Versions that are read to decide which of the batches in a conflict win as a whole, each with those that it builds on,
/// or one; beyond that only the heads of rows decide.
pub const MAX_DISPUTED_VERSIONS: usize = 8_192;
/// Rules of one collection's schema. Of more, which several admins may have made while apart, the last count.
pub const MAX_RULES: usize = 256;
/// Prefixes of one collection for which it is kept that they have a rule, or have one no more.
pub const MAX_REGISTERS: usize = 4 * MAX_RULES;
/// Syncgroups that one batch touches.
pub const MAX_BATCH_PARTS: usize = 64;
/// Enrolments of one user's devices in a syncgroup, and as many strikings-off, that a generation may have in its past to
/// add another: whoever may read can write them down, and they are kept in memory.
pub const MAX_ENROLMENTS_OF_USER: usize = 1_024;
/// Enrolments of all users' devices together, likewise.
pub const MAX_ENROLMENTS: usize = 16_384;
/// Bytes of metadata that one author may write in a syncgroup: who is a member, what collections and rules there are.
/// All of it is kept in memory. A record counts as [`METADATA_RECORD`] bytes at least. A device that goes on under a new
/// name is another author: how many there may be [`Limits::authors`] says.
pub const MAX_METADATA: usize = 16 << 20;
/// What a record of metadata counts for at least.
pub const METADATA_RECORD: usize = 256;
/// Bytes beyond [`MAX_METADATA`] for what only ends something: whoever has used up the rest can still leave, and remove
/// others.
pub const METADATA_RESERVE: usize = 8 << 20;
/// Bytes of metadata that an author may have written in a syncgroup, with what it writes, to let in somebody as no admin, by
/// what is granted to everybody: some 1,000 admissions. So whoever is let in cannot fill the memory of all others.
pub const MEMBER_METADATA: usize = 256 << 10;
/// Generations by which one device has let in others, or ended what they had, in all its logs, in the past of one that lets
/// in somebody by what is granted to everybody: a device that goes on under a new name has no more of them by that, as far as
/// its new log knows of the others.
pub const MAX_LET_IN_BY_DEVICE: usize = 1_024;
/// The same of all devices that nobody has made admins, in that past. Where there are as many, only admins let in others.
pub const MAX_LET_IN_BY_ALL: usize = 16_384;
/// How often one device may have let in another one, or a user, as no admin, by what is granted to everybody, in the past of
/// a generation that does so once more. What it gives again as its log is forked counts once.
pub const MAX_LET_IN: usize = 16;
/// Grants that one record ends, or about as many as it names logs that it spares. Whoever ends more says so in several
/// records, and those in as many generations as they take.
pub const MAX_ENDED: usize = 8_192;
/// How often a device may take another key. Each is proven by all before it, wherever a signature is shown.
pub const MAX_ROLLOVERS: usize = 16;
/// Ranges of generations of a device's other logs that a log may say it stands for.
pub const MAX_CUTS: usize = 64;
/// Proofs that logs of one device are forked which a generation may have in its past to add another: whoever looks at one
/// looks at all that came since.
pub const MAX_FORKS: usize = 16;
/// Bytes of a name.
pub const MAX_NAME: usize = 64;
/// Bytes of an address.
pub const MAX_ADDRESS: usize = 256;
/// Addresses in an invitation, or kept of one device.
pub const MAX_ADDRESSES: usize = 8;
/// Bytes of a syncgroup's description.
pub const MAX_DESCRIPTION: usize = 4_096;
/// Places where members of a syncgroup can be met.
pub const MAX_RENDEZVOUS: usize = 32;
/// Devices at which a syncgroup is published that are no members yet. Of more, which several admins may have asked for
/// while apart, the last count.
pub const MAX_PUBLICATIONS: usize = 64;
/// Syncgroups that one device offers to another at a time. More are not published there until it has answered.
pub const MAX_OFFERS: usize = 16;
/// Requests to join one syncgroup that wait for an answer at the same time.
pub const MAX_REQUESTS: usize = 8;
/// Bytes of a frame: one generation of the largest size fits, with its proofs.
pub const MAX_FRAME: usize = MAX_GENERATION + (1 << 20);

/// Limits that a replica chooses. The defaults suit a laptop or a phone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// Syncgroups in all databases together. Each costs some kilobytes of memory.
    pub syncgroups: usize,
    /// Authors in the logs of one syncgroup. Each costs about 1 KiB of memory.
    pub authors: usize,
    /// Links at a time; more are closed at once, with a reason.
    pub links: usize,
    /// Devices of which addresses are kept.
    pub peers: usize,
    /// Commands that wait for durability; more are refused as busy.
    pub pending_requests: usize,
    /// Bytes of deltas put into one frame, unless a single generation is larger.
    pub chunk_bytes: usize,
    /// Commits of which it is kept which rows they changed: a watch that was interrupted for longer starts from
    /// the current state. With 0 none is kept: writes are spared that, and watches tell the current state each time.
    pub watch_log: u64,
    /// Generations, in all syncgroups together, whose rows wait for other parts of their batches. Of more the
    /// oldest are shown in part, and the application is told (S-28).
    pub waiting: usize,
    /// The bytes of those generations. They stand in the log anyway; what waits is kept in memory in short.
    pub waiting_bytes: usize,
    /// How far ahead of the local clock a generation may be stamped to be applied (S-27).
    pub drift: Millis,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            syncgroups: 1_000,
            authors: 10_000,
            links: 64,
            peers: 4_096,
            pending_requests: 10_000,
            chunk_bytes: 256 << 10,
            watch_log: 100_000,
            waiting: 10_000,
            waiting_bytes: 64 << 20,
            drift: Millis(5 * 60 * 1_000),
        }
    }
}
