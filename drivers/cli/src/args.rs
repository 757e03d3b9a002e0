//! The command line, as clap reads it and `--help` tells it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use driftless::{DeviceId, Name};

mod conflicts;
mod device;
mod membership;
mod merging;
mod rows;
mod syncgroup;
mod transfer;
mod user;

pub use self::conflicts::{Conflicts, Log, Resolve};
use self::device::parse_span;
pub use self::device::{Demo, Init, Key, Passphrase, Repair, Serve, Switch};
pub use self::membership::{Lasting, Membership, Preset};
pub(crate) use self::merging::parse_policy;
pub use self::merging::{Add, ChangeSet, Field, Policy, Schema, SchemaAction};
pub use self::rows::{CollectionArgs, Count, Delete, Get, KeysWithin, Put, Scan, Watch};
pub use self::syncgroup::{About, Invite, Syncgroup};
pub use self::transfer::{Export, Import};
pub use self::user::{Device, User};

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

  Two devices of one's own as one user: print the key of the second, on it
    driftless whoami
  On the first, make the user, and a pass for the second
    driftless user create Anna
    driftless device add KEY phone
  On the second again, with what the last command printed
    driftless device join PASS

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
    /// A file whose first line is the passphrase of the keys, if they are locked. By default it is asked for.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "DRIFTLESS_PASSPHRASE_FILE",
        help_heading = "Global options"
    )]
    pub passphrase_file: Option<PathBuf>,
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
    /// Set a row
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
    /// Print rows in the order of their keys
    ///
    /// Examples:
    ///   driftless scan notes --prefix 2026- --keys
    ///   driftless scan notes --reverse --limit 10 --json
    #[command(verbatim_doc_comment)]
    Scan(Scan),
    /// Count rows. It costs as much as reading them.
    Count(Count),
    /// Print the rows, then every change as it comes, until interrupted
    ///
    /// Changes come in whole batches, and after a batch, or several that came together,
    /// follows a marker: a line that begins with =. With --from a watch goes on from
    /// there, also after days and restarts; if what has changed since is not known any
    /// more, all rows are printed again, and it is said so. With --json an event
    /// "batch" ends each batch, and has the marker if there is one.
    ///
    /// Examples:
    ///   driftless watch notes
    ///   driftless watch notes tasks --prefix 2026/ --json
    ///   driftless watch notes --from 0f3c2a9e51b7d844-118
    #[command(verbatim_doc_comment)]
    Watch(Watch),
    /// Show or change what becomes of conflicts in a collection, for all its members
    ///
    /// Each rule gives a policy to the rows whose keys start with a prefix; the
    /// longest prefix counts, and where there is none the last version wins.
    /// Policies:
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
    /// Add to a counter; devices that count at the same time do not undo each other
    ///
    /// Examples:
    ///   driftless schema stock set count/ counter
    ///   driftless add stock count/apples 12
    ///   driftless add stock count/apples -3
    #[command(verbatim_doc_comment)]
    Add(Add),
    /// Put elements into a set
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
    /// List conflicts: rows that are answered together, with their versions and what these have in common
    ///
    /// Rows that one batch has written belong together, also in several collections:
    /// whoever decides about one of them should see the others. Long values and very
    /// many versions or rows are cut, and it is said so; --json, which prints an
    /// object for each row, cuts nothing.
    ///
    /// Examples:
    ///   driftless conflicts notes
    ///   driftless conflicts notes --prefix 2026/ --json
    #[command(verbatim_doc_comment)]
    Conflicts(Conflicts),
    /// Resolve a conflict, in one batch, for everybody
    ///
    /// Say of each row that needs an answer what shall become of it; what is chosen
    /// takes the place of all its versions:
    ///
    ///   pick:VERSION  one of its versions, as `driftless conflicts` prints it, or the start of one
    ///   value:TEXT    another value; value:@FILE is the content of a file, value:- standard input
    ///   delete        no row
    ///   leave         it stays open
    ///
    /// A row of another collection is named as `driftless conflicts` prints it,
    /// COLLECTION/KEY. An answer is refused if a row has other versions by the time
    /// it is written; with --state also if anything else in the conflict is not as it
    /// was printed.
    ///
    /// Examples:
    ///   driftless resolve notes milk pick:3f2a9c01d4e5/4
    ///   driftless resolve notes milk 'value:2 l of oat milk' bread delete --state 5be1f7a2c09d4e13
    ///   driftless resolve notes milk delete --leave-others
    #[command(verbatim_doc_comment)]
    Resolve(Resolve),
    /// Show the history of a row, the last version first: who made it what, and when
    ///
    /// Examples:
    ///   driftless log notes milk
    ///   driftless log notes milk --limit 3 --json
    #[command(verbatim_doc_comment)]
    Log(Log),
    /// Read rows from JSON Lines or from a directory tree
    ///
    /// A line of JSON Lines is {"key": TEXT, "value": ANYTHING}; keys and values that
    /// are not text are "key_base64" and "value_base64". A value that is a text is
    /// stored as that text, anything else as the JSON that stands there. Of a
    /// directory tree, each file is a row: its path is the key, its content the
    /// value.
    ///
    /// Examples:
    ///   driftless import cities cities.jsonl
    ///   driftless import site ./public --skip-large
    ///   some-command | driftless import cities -
    #[command(verbatim_doc_comment)]
    Import(Import),
    /// Write rows as JSON Lines or as a directory tree: the inverse of import
    ///
    /// Examples:
    ///   driftless export cities > cities.jsonl
    ///   driftless export site ./copy --tree
    #[command(verbatim_doc_comment)]
    Export(Export),
    /// Share collections with other devices.
    #[command(subcommand, visible_alias = "sg")]
    Syncgroup(Syncgroup),
    /// List what others want this device to take part in, and it has not answered
    ///
    /// They have published a syncgroup here. Whoever runs this device decides:
    ///
    ///   driftless syncgroup join ID     takes part, as by any invitation
    ///   driftless decline ID            tells them that it does not
    ///
    /// Where several devices offer the same syncgroup, --by DEVICE says whose invitation is meant.
    #[command(verbatim_doc_comment)]
    Invitations,
    /// Decline to take part in a syncgroup that is published at this device
    Decline {
        /// The syncgroup: its name, its id, or the start of its id, as `driftless invitations` lists it; or the
        /// invitation.
        offer: String,
        /// Of several that name the same syncgroup, the one of this device: its id or its key.
        #[arg(long, value_name = "DEVICE", value_parser = membership::parse_device)]
        by: Option<DeviceId>,
    },
    /// Make a user: somebody with several devices, to whom something can be granted for all of them.
    #[command(subcommand)]
    User(User),
    /// Add devices to the user, strike them off, and list them.
    #[command(subcommand)]
    Device(Device),
    /// Show this device, its key, and the user whose device it is.
    Whoami,
    /// Show this device, its syncgroups, its links and what crossed the wire.
    Status,
    /// Leave the network or come back to it, while `serve` goes on.
    Network {
        /// Whether to be in it.
        state: Switch,
    },
    /// Let others neither have nor change anything of a database, until it is resumed
    ///
    /// Rows are read and written as ever, and others see what was written once the
    /// database is resumed. It survives restarts. Whoever asks for a paused syncgroup
    /// gets the answer of a device that does not have it.
    ///
    /// Examples:
    ///   driftless pause
    ///   driftless pause --db drafts
    #[command(verbatim_doc_comment)]
    Pause,
    /// Let a paused database go on.
    Resume,
    /// Write again what this device wrote while its clock was far ahead
    ///
    /// Others do not take what is stamped more than five minutes ahead before that
    /// time has come, nor what is written after it: such a device is mute, and
    /// `driftless status` says so. Set the clock right first, for this goes by it.
    /// Then whole batches are written again, in their order, as if they had been
    /// written as early as what they build on: what others have changed meanwhile
    /// counts as newer, and stands beside them. Nothing of it is lost, and nothing
    /// counts twice. What others wrote too far ahead is dropped here. It comes again
    /// when its time has come, or when they do the same, if any device still has it.
    /// Who watches rows gets the current state anew.
    ///
    /// Examples:
    ///   date
    ///   driftless reissue --clock-is-right
    #[command(verbatim_doc_comment)]
    Reissue {
        /// The clock of this device shows the right time.
        #[arg(long)]
        clock_is_right: bool,
    },
    /// Check everything stored here against what its authors have signed
    ///
    /// Every signature, hash and right is checked as if all of it came from a
    /// stranger, and every row against what was written. It needs the data directory
    /// for itself, room for a second copy of it in the temporary directory, and about
    /// the time that receiving everything would take. Nothing is changed. Exit
    /// status 1 if anything is not as it should be.
    ///
    /// Examples:
    ///   driftless verify
    ///   driftless verify --dir /mnt/backup/driftless --json
    #[command(verbatim_doc_comment)]
    Verify,
    /// Lock this device's key by a passphrase, or stop that
    ///
    /// Whoever can read the data directory can be this device, unless its key is
    /// locked; and its user, if that one's key is kept here. Both are locked by
    /// one passphrase. Rows are not encrypted: for them, encrypt the disk.
    ///
    /// Examples:
    ///   driftless passphrase set
    ///   driftless serve --passphrase-file /run/credentials/driftless
    #[command(subcommand, verbatim_doc_comment)]
    Passphrase(Passphrase),
    /// Give this device another key
    ///
    /// The device keeps its id, its rights and its rows. The key that it had ends: once
    /// others have heard of that, whoever has a copy of it can neither be this device
    /// nor write in its name. Do so when a disk, a backup or a passphrase may be in
    /// other hands, and from time to time.
    ///
    /// Do it where the device is up to date, and then let it meet the others: what it
    /// wrote by the old key and has lost itself, though others have it, may not count
    /// any more. A backup from before has the old key, and is a stranger to
    /// everybody: make a new one. Invitations that this device has made are void;
    /// certificates stay. It can be done 16 times.
    ///
    /// Examples:
    ///   driftless key rotate
    ///   driftless key rotate --passphrase-file /run/credentials/driftless --json
    #[command(subcommand, verbatim_doc_comment)]
    Key(Key),
    /// Run three replicas, make trouble, and show that they converge
    ///
    /// Three processes of this command serve three data directories and talk over
    /// QUIC on this machine. Two join the first by invitation. Each imports a third
    /// of the data; all three write the same rows at once; one is cut off, another is
    /// killed and started again. Then everything heals, and every row of every
    /// replica is compared. Exit status 1 if anything differs.
    ///
    /// The data directories stay, in a new temporary directory, and the commands to
    /// look at each of them and to remove them all are printed at the end.
    ///
    /// Examples:
    ///   driftless demo
    ///   driftless demo --from ~/Pictures --clean
    #[command(verbatim_doc_comment)]
    Demo(Demo),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
