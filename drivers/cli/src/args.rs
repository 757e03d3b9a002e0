//! The command line, as clap reads it and `--help` tells it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use driftless::read::Marker;
use driftless::{DeviceId, Name};

mod conflicts;
mod membership;
mod merging;

pub use self::conflicts::{Conflicts, Log, Resolve};
pub use self::membership::{Membership, Preset};
pub(crate) use self::merging::parse_policy;
pub use self::merging::{Add, ChangeSet, Field, Policy, Schema, SchemaAction};

/// Keep your own copy of shared data, work offline, and converge with your peers.
///
/// A data directory holds one device: its key, its databases, its rows. `serve` connects it to others; every
/// other command talks to a running `serve` of the same directory, or does its work alone if there is none.
#[derive(Debug, Parser)]
#[command(name = "driftless", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What applies to every command.
    #[command(flatten)]
    pub global: Global,
}

const EXAMPLES: &str = "\
Examples:
  See it work: three replicas with conflicts, a cut and a crash
    driftless demo

  On one device: share a collection, and stay reachable
    driftless serve &
    driftless syncgroup create notes
    driftless put notes hello 'first words'
    driftless syncgroup invite notes

  On another device: join with what the last command printed
    driftless serve &
    driftless syncgroup join driftless:AbC...
    driftless watch notes

Exit status: 0 done; 1 the answer is no (not found, refused, not complete in time, differs); 2 wrong usage,
or something failed.";

/// What applies to every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The data directory. By default the user's data directory of this platform.
    #[arg(long, global = true, value_name = "DIR", env = "DRIFTLESS_DIR", help_heading = "Global options")]
    pub dir: Option<PathBuf>,
    /// The database in it.
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "default",
        help_heading = "Global options"
    )]
    pub db: Name,
    /// Print JSON: one object, or one on each line.
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Print no progress and no remarks, only results and errors.
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the data directory and this device's key, and print the device.
    Init(Init),
    /// Connect to peers, keep everything in sync, and serve the other commands, until interrupted.
    Serve(Serve),
    /// Set a row.
    ///
    /// Examples:
    ///   driftless put notes hello 'first words'
    ///   driftless put photos cat.jpg @cat.jpg
    ///   date | driftless put notes now
    #[command(verbatim_doc_comment)]
    Put(Put),
    /// Print the value of a row, byte for byte. Exit status 1 if it is not there.
    ///
    /// A set is printed with one element on each line, and fields with one field on each line, unless --raw.
    Get(Get),
    /// Remove rows. Removing what is not there is not an error.
    Delete(Delete),
    /// Print rows in the order of their keys.
    ///
    /// Examples:
    ///   driftless scan notes --prefix 2026- --keys
    ///   driftless scan notes --reverse --limit 10 --json
    #[command(verbatim_doc_comment)]
    Scan(Scan),
    /// Count rows. It costs as much as reading them.
    Count(Count),
    /// Print the rows, then every change as it comes, until interrupted.
    ///
    /// Changes come in whole batches, and each batch is followed by a marker: a line that begins with =. With
    /// --from a watch goes on from there, also after days and restarts; if what has changed since is not known
    /// any more, all rows are printed again, and it is said so.
    ///
    /// Examples:
    ///   driftless watch notes
    ///   driftless watch notes tasks --prefix 2026/ --json
    ///   driftless watch notes --from 0f3c2a9e51b7d844-118
    #[command(verbatim_doc_comment)]
    Watch(Watch),
    /// Show or change what becomes of conflicts in a collection, for all its members.
    ///
    /// Each rule gives a policy to the rows whose keys start with a prefix; the longest prefix counts, and where
    /// there is none the last version wins. Policies:
    ///
    ///   last-wins     the last version is shown; the next write closes the conflict
    ///   defer         the same, but the conflict is left open until somebody resolves it
    ///   app-resolves  conflicts are raised to the application, or resolved by `driftless resolve`
    ///   batch-wins    of batches in conflict the last one wins as a whole
    ///   counter       a number, changed by `driftless add`
    ///   set           a set, changed by `driftless set-add` and `driftless set-remove`
    ///   fields        a tree of fields, changed by `driftless field`
    ///   merge:NAME    by a function that the application has registered under this name
    ///
    /// Examples:
    ///   driftless schema notes
    ///   driftless schema stock set count/ counter
    ///   driftless schema stock set '' app-resolves
    ///   driftless schema stock unset count/
    #[command(verbatim_doc_comment)]
    Schema(Schema),
    /// Add to a counter; devices that count at the same time do not undo each other.
    ///
    /// Examples:
    ///   driftless schema stock set count/ counter
    ///   driftless add stock count/apples 12
    ///   driftless add stock count/apples -3
    #[command(verbatim_doc_comment)]
    Add(Add),
    /// Put elements into a set.
    ///
    /// Examples:
    ///   driftless schema notes set tags/ set
    ///   driftless set-add notes tags/monday home garden
    #[command(verbatim_doc_comment)]
    SetAdd(ChangeSet),
    /// Take elements out of a set. What others put in meanwhile stays.
    SetRemove(ChangeSet),
    /// Change one field of a row of fields; others may change other fields meanwhile.
    #[command(subcommand)]
    Field(Field),
    /// List conflicts: rows that are answered together, with their versions and what these have in common.
    ///
    /// Rows that one batch has written belong together, also in several collections: whoever decides about one of
    /// them should see the others. Long values and very many versions or rows are cut, and it is said so; --json,
    /// which prints an object for each row, cuts nothing.
    ///
    /// Examples:
    ///   driftless conflicts notes
    ///   driftless conflicts notes --prefix 2026/ --json
    #[command(verbatim_doc_comment)]
    Conflicts(Conflicts),
    /// Resolve a conflict, in one batch, for everybody.
    ///
    /// Say of each row that needs an answer what shall become of it; what is chosen takes the place of all its versions:
    ///
    ///   pick:VERSION  one of its versions, as `driftless conflicts` prints it, or the start of one
    ///   value:TEXT    another value; value:@FILE is the content of a file, value:- standard input
    ///   delete        no row
    ///   leave         it stays open
    ///
    /// A row of another collection is named as `driftless conflicts` prints it, COLLECTION/KEY. An answer is refused
    /// if a row has other versions by the time it is written; with --state also if anything else in the conflict is
    /// not as it was printed.
    ///
    /// Examples:
    ///   driftless resolve notes milk pick:3f2a9c01d4e5/4
    ///   driftless resolve notes milk 'value:2 l of oat milk' bread delete --state 5be1f7a2c09d4e13
    ///   driftless resolve notes milk delete --leave-others
    #[command(verbatim_doc_comment)]
    Resolve(Resolve),
    /// Show the history of a row, the last version first: who made it what, and when.
    ///
    /// Examples:
    ///   driftless log notes milk
    ///   driftless log notes milk --limit 3 --json
    #[command(verbatim_doc_comment)]
    Log(Log),
    /// Read rows from JSON Lines or from a directory tree.
    ///
    /// A line of JSON Lines is {"key": TEXT, "value": ANYTHING}; keys and values that are not text are
    /// "key_base64" and "value_base64". A value that is a text is stored as that text, anything else as the JSON
    /// that stands there. Of a directory tree, each file is a row: its path is the key, its content the value.
    ///
    /// Examples:
    ///   driftless import cities cities.jsonl
    ///   driftless import site ./public --skip-large
    ///   some-command | driftless import cities -
    #[command(verbatim_doc_comment)]
    Import(Import),
    /// Write rows as JSON Lines or as a directory tree: the inverse of import.
    ///
    /// Examples:
    ///   driftless export cities > cities.jsonl
    ///   driftless export site ./copy --tree
    #[command(verbatim_doc_comment)]
    Export(Export),
    /// Share collections with other devices.
    #[command(subcommand, visible_alias = "sg")]
    Syncgroup(Syncgroup),
    /// Show this device, its syncgroups, its links and what crossed the wire.
    Status,
    /// Leave the network or come back to it, while `serve` goes on.
    Network {
        /// Whether to be in it.
        state: Switch,
    },
    /// Run three replicas, make trouble, and show that they converge.
    ///
    /// Three processes of this command serve three data directories and talk over QUIC on this machine. Two join
    /// the first by invitation. Each imports a third of the data; all three write the same rows at once; one is
    /// cut off, another is killed and started again. Then everything heals, and every row of every replica is
    /// compared. Exit status 1 if anything differs.
    ///
    /// The data directories stay, in a new temporary directory, and the commands to look at each of them and to
    /// remove them all are printed at the end.
    ///
    /// Examples:
    ///   driftless demo
    ///   driftless demo --from ~/Pictures --clean
    #[command(verbatim_doc_comment)]
    Demo(Demo),
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// What applies to a directory that is damaged.
    #[command(flatten)]
    pub repair: Repair,
}

/// What to do with a directory that is damaged.
#[derive(Debug, Clone, Copy, Args)]
pub struct Repair {
    /// Go on though the data directory has lost something, and receive again what other members hold.
    #[arg(long)]
    pub accept_loss: bool,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// In the network.
    On,
    /// Out of it: links are closed, and none are taken.
    Off,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen (UDP). By default on all interfaces, at the port of the last time.
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where a device can be reached; may be given several times.
    #[arg(long = "peer", value_name = "DEVICE@IP:PORT", value_parser = parse_peer)]
    pub peers: Vec<(DeviceId, SocketAddr)>,
    /// What applies to a directory that is damaged.
    #[command(flatten)]
    pub repair: Repair,
    /// Neither look for devices in the neighbourhood nor be found there.
    #[arg(long)]
    pub no_discovery: bool,
    /// Stop when standard input ends, so that a server never outlives the program that started it.
    #[arg(long, hide = true)]
    pub until_stdin_ends: bool,
}

/// Which collection.
#[derive(Debug, Clone, Args)]
pub struct CollectionArgs {
    /// The collection.
    pub collection: Name,
    /// The syncgroup that it belongs to, where several have a collection of this name: its name, its id, or the
    /// start of its id.
    #[arg(long, value_name = "SYNCGROUP")]
    pub syncgroup: Option<String>,
}

/// Arguments of `put`.
#[derive(Debug, Args)]
pub struct Put {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// The row's key.
    pub key: OsString,
    /// The value: a text, @FILE for the content of a file, or - for standard input, which is also what is read if
    /// no value is given.
    #[arg(allow_negative_numbers = true)]
    pub value: Option<OsString>,
    /// KEY is in base64.
    #[arg(long)]
    pub key_base64: bool,
}

/// Arguments of `get`.
#[derive(Debug, Args)]
pub struct Get {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// The row's key.
    pub key: OsString,
    /// KEY is in base64.
    #[arg(long)]
    pub key_base64: bool,
    /// Print sets and fields as the bytes that they are stored as.
    #[arg(long)]
    pub raw: bool,
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// The rows' keys.
    #[arg(required = true, value_name = "KEY")]
    pub keys: Vec<OsString>,
    /// The keys are in base64.
    #[arg(long)]
    pub key_base64: bool,
}

/// Arguments of `scan`.
#[derive(Debug, Args)]
pub struct Scan {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// Only keys that start with this.
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<OsString>,
    /// Only keys from this one on.
    #[arg(long, value_name = "KEY")]
    pub from: Option<OsString>,
    /// Only keys before this one.
    #[arg(long, value_name = "KEY")]
    pub to: Option<OsString>,
    /// From the last key to the first.
    #[arg(long)]
    pub reverse: bool,
    /// At most this many rows.
    #[arg(long, value_name = "ROWS")]
    pub limit: Option<u64>,
    /// Print keys only.
    #[arg(long)]
    pub keys: bool,
}

/// Arguments of `count`.
#[derive(Debug, Args)]
pub struct Count {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// Only keys that start with this.
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<OsString>,
    /// Only keys from this one on.
    #[arg(long, value_name = "KEY")]
    pub from: Option<OsString>,
    /// Only keys before this one.
    #[arg(long, value_name = "KEY")]
    pub to: Option<OsString>,
}

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// The collections.
    #[arg(required = true, value_name = "COLLECTION")]
    pub collections: Vec<Name>,
    /// The syncgroup that they belong to, where several have collections of these names: its name, its id, or
    /// the start of its id.
    #[arg(long, value_name = "SYNCGROUP")]
    pub syncgroup: Option<String>,
    /// Only keys that start with this.
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<OsString>,
    /// Go on from where another watch of the same rows stopped, as it printed it.
    #[arg(long, value_name = "MARKER")]
    pub from: Option<Marker>,
    /// Do not print the rows that are there at the start.
    #[arg(long)]
    pub changes_only: bool,
    /// Stop once there were this many changes, after the whole batch that brought the last of them.
    #[arg(long, value_name = "CHANGES")]
    pub limit: Option<u64>,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// A file of JSON Lines, a directory, or - for JSON Lines on standard input.
    pub path: PathBuf,
    /// Leave out what is too large for a row, instead of refusing the whole.
    #[arg(long)]
    pub skip_large: bool,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Which collection.
    #[command(flatten)]
    pub of: CollectionArgs,
    /// The file or directory to write; - is standard output.
    #[arg(default_value = "-")]
    pub path: PathBuf,
    /// Write a directory tree: a file for each row. Understood by itself if PATH is a directory.
    #[arg(long)]
    pub tree: bool,
    /// Leave out rows whose keys cannot be paths, instead of refusing the whole.
    #[arg(long)]
    pub skip_unsafe: bool,
    /// Overwrite files that are there.
    #[arg(long)]
    pub force: bool,
}

/// What to do with syncgroups.
#[derive(Debug, Subcommand)]
pub enum Syncgroup {
    /// Make a syncgroup, with this device as its admin.
    Create {
        /// What its members call it.
        name: Name,
        /// Its collections. By default one of the same name.
        collections: Vec<Name>,
    },
    /// Add a collection to a syncgroup. Adding one that is there is not an error.
    AddCollection {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// The collection.
        collection: Name,
    },
    /// Print an invitation: whoever has it may join.
    ///
    /// Examples:
    ///   driftless syncgroup invite notes
    ///   driftless syncgroup invite notes --read --reusable --valid 7d
    #[command(verbatim_doc_comment)]
    Invite(Invite),
    /// Join a syncgroup, and wait until all of it is here.
    Join {
        /// The invitation; - reads it from standard input.
        invitation: String,
        /// How long to wait. Joining goes on after that as long as `serve` runs.
        #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = humantime::parse_duration)]
        timeout: Duration,
    },
    /// Leave a syncgroup. Its rows stay here and can be read.
    Leave {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
    },
    /// What an admin decides about members.
    #[command(flatten)]
    Membership(Membership),
    /// List the syncgroups of the database.
    List,
    /// List the members of a syncgroup.
    Members {
        /// The syncgroup: its name, its id, or the start of its id.
        syncgroup: String,
        /// Those too that have left or were removed.
        #[arg(long)]
        all: bool,
    },
}

/// Arguments of `syncgroup invite`.
#[derive(Debug, Args)]
pub struct Invite {
    /// The syncgroup: its name, its id, or the start of its id.
    pub syncgroup: String,
    /// The newcomer may read.
    #[arg(long, group = "rights")]
    pub read: bool,
    /// The newcomer may read and write. This is the default.
    #[arg(long, group = "rights")]
    pub write: bool,
    /// The newcomer may read and write, and invite others.
    #[arg(long, group = "rights")]
    pub admin: bool,
    /// Several devices may use it.
    #[arg(long)]
    pub reusable: bool,
    /// How long it is good, for example 30min, 12h or 7d.
    #[arg(long, value_name = "SPAN", default_value = "7d", value_parser = humantime::parse_duration)]
    pub valid: Duration,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Real data to use: a directory, or a file of JSON Lines. By default the chemical elements and the
    /// countries of the world, which come with this command.
    #[arg(long, value_name = "PATH")]
    pub from: Option<PathBuf>,
    /// Remove the three data directories at the end, instead of leaving them to be looked at.
    #[arg(long)]
    pub clean: bool,
    /// How long the replicas may take to converge.
    #[arg(long, value_name = "SPAN", default_value = "5min", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

fn parse_peer(text: &str) -> Result<(DeviceId, SocketAddr), String> {
    let wrong = |what: String| format!("{what}; expected DEVICE@IP:PORT, as `driftless status` prints it");
    let (device, address) = text.split_once('@').ok_or_else(|| wrong("there is no @".into()))?;
    let device = device.parse().map_err(|error| wrong(format!("\"{device}\" is no device: {error}")))?;
    let address = address.parse().map_err(|_| wrong(format!("\"{address}\" is no address and port")))?;
    Ok((device, address))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_peer_is_a_device_at_an_address() {
        let device = "00112233445566778899aabbccddeeff";
        let (parsed, address) = parse_peer(&format!("{device}@192.0.2.7:4433")).unwrap();
        assert_eq!((parsed.to_string().as_str(), address.port()), (device, 4433));
        for wrong in ["", device, "@1.2.3.4:5", &format!("{device}@1.2.3.4"), "12@1.2.3.4:5"] {
            assert!(parse_peer(wrong).unwrap_err().contains("DEVICE@IP:PORT"), "{wrong}");
        }
    }
}
