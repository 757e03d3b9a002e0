//! What a run exercised. A suite in which something interesting never happened has proven little, so the
//! places where it happens are counted, and a suite that is large enough fails if one stays at zero.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use crate::plan::Profile;

macro_rules! points {
    ($($group:ident { $($(#[doc = $doc:literal])+ $point:ident = $name:literal $(, from $least:literal)?;)+ })+) => {
        /// Something worth seeing in some run.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        #[non_exhaustive]
        pub enum Point { $($($(#[doc = $doc])+ #[serde(rename = $name)] $point,)+)+ }

        impl Point {
            /// All of them, in the order of the report: group by group.
            pub const ALL: &'static [Point] = &[$($(Point::$point,)+)+];

            /// A short name.
            pub fn name(self) -> &'static str {
                match self { $($(Point::$point => $name,)+)+ }
            }

            /// What it is about.
            pub fn group(self) -> Topic {
                match self { $($(Point::$point => Topic::$group,)+)+ }
            }

            /// How many seeds a suite of the default profile has at least when it must have seen this;
            /// `None` if it is counted only.
            pub fn required_from(self) -> Option<u64> {
                match self { $($(Point::$point => { #[allow(unused_mut, unused_assignments)] let mut least = None; $(least = Some($least);)? least })+)+ }
            }
        }
    };
}

/// What a [`Point`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// Rows, conflicts, syncgroups: what the protocol is for.
    Protocol,
    /// Schemas, and what becomes of conflicts.
    Conflicts,
    /// What those who watch are told.
    Watching,
    /// Links and frames.
    Network,
    /// Stores.
    Disk,
    /// How replicas start, stop and sleep.
    Process,
    /// What replicas believe the time to be.
    Clocks,
    /// Who joins, leaves and stays away.
    People,
    /// What replicas do that do not keep to the protocol.
    Hostile,
}

impl Topic {
    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Protocol => "protocol",
            Topic::Conflicts => "conflicts",
            Topic::Watching => "watching",
            Topic::Network => "network",
            Topic::Disk => "disk",
            Topic::Process => "process",
            Topic::Clocks => "clocks",
            Topic::People => "people",
            Topic::Hostile => "hostile",
        }
    }
}

points! {
    Protocol {
        /// A batch was written.
        Write = "write", from 10;
        /// A batch over rows of several collections.
        BatchOverCollections = "batch over two collections", from 50;
        /// A batch that became generations in several syncgroups.
        BatchOverSyncgroups = "batch over two syncgroups", from 100;
        /// A part of a batch was held, and waited for another.
        BatchWaited = "batch waited for its other part", from 100;
        /// A part of a batch had waited for long enough, or too much waited, and it was shown without another.
        BatchSplit = "batch split at a bound", from 300;
        /// A part of a batch was shown without another because the device had left a syncgroup.
        BatchSplitByLeaving = "batch split by leaving";
        /// The status told of a batch that waited.
        WaitListed = "waiting batch told of", from 100;
        /// The status told of a batch that was shown in part.
        SplitListed = "batch in part told of", from 300;
        /// A row was deleted.
        Delete = "delete", from 50;
        /// A row that was not there was deleted, which wrote nothing.
        DeleteOfNothing = "delete of nothing", from 100;
        /// A batch with a precondition that held.
        PreconditionHeld = "precondition held", from 100;
        /// A batch with a precondition that did not hold.
        PreconditionFailed = "precondition failed", from 100;
        /// Readers saw a row with two heads.
        TwoHeads = "conflict, two heads", from 50;
        /// Readers saw a row with three heads or more.
        ThreeHeads = "conflict, three heads", from 300;
        /// Concurrent heads that say the same, which is no conflict.
        SameContent = "same content, no conflict", from 100;
        /// A conflict in which a deletion takes part.
        DeletionInConflict = "conflict with a deletion", from 300;
        /// A write closed a conflict.
        ConflictClosed = "conflict closed by a write", from 300;
        /// A collection was added later.
        CollectionAdded = "collection added", from 100;
        /// A collection came of which there were rows already.
        CollectionCame = "collection came after its rows";
        /// One device had syncgroups in two databases.
        TwoDatabases = "two databases", from 100;
        /// A replica got generations of an author to whom it had no link.
        Relayed = "relayed by a third", from 50;
        /// A run with Ed25519 signatures.
        RealSignatures = "real signatures", from 300;
        /// A member made itself known to another that had not heard of it.
        Introduced = "introduced by itself", from 300;
    }
    People {
        /// A device was admitted.
        Admitted = "admitted", from 10;
        /// A device asked to join while the network was cut.
        JoinInPartition = "join in a partition", from 300;
        /// A request to join was refused.
        JoinRefused = "join refused", from 300;
        /// A device left a syncgroup.
        Left = "left", from 100;
        /// A write was refused because the syncgroup had not arrived.
        RefusedPending = "write refused: pending", from 300;
        /// A write was refused for lack of rights.
        RefusedForbidden = "write refused: rights", from 300;
        /// A write was refused because the device had left.
        RefusedNotMember = "write refused: not a member", from 300;
        /// A device that had lost everything was admitted again.
        Rejoined = "joined again after losing all", from 300;
        /// A device was removed by another.
        Removed = "removed", from 100;
        /// A device heard that it was removed.
        HeardOfRemoval = "heard of its removal", from 100;
        /// A device wrote that had been removed, and had not heard of it.
        WroteOn = "a removed device wrote on", from 300;
        /// What had been applied became void, and was undone.
        Undone = "void after it was applied", from 1_000;
        /// What had become void counts after all.
        UndoneAgain = "void, and counts again";
        /// Something void was taken, as others had taken it before they knew.
        VoidTaken = "void when it was taken", from 3_000;
        /// Two devices removed each other while apart.
        RemovedEachOther = "removed each other while apart";
        /// A removed device was let in again.
        Readmitted = "let in again", from 1_000;
        /// A right was given that ends, or was left until an end.
        EndSet = "a right that ends", from 1_000;
        /// The time of a device was over, and it noticed.
        Expired = "a device whose time was over", from 1_000;
        /// Somebody's time was over for what they wanted to do.
        RefusedExpired = "refused: time over", from 1_000;
        /// A device lost a right, and stayed.
        RightsLowered = "rights lowered", from 1_000;
        /// A device got more rights.
        RightsRaised = "rights raised", from 300;
        /// Somebody tried to overrule an admin above it.
        RefusedSenior = "refused: a senior admin", from 1_000;
        /// Something was granted to everybody.
        Opened = "opened to everybody", from 1_000;
        /// That became less, or ended.
        Closed = "closed to everybody", from 1_000;
        /// A member that is no admin let in somebody, and another one took it.
        LetInByMember = "let in by a member", from 1_000;
        /// A member that is no admin let in somebody beside the end of what was granted to everybody, or of what it might do
        /// itself.
        LetInBesideClosing = "let in beside a closing";
        /// A member let in somebody whom an admin removed, or took something from, as if it had not heard of that.
        LetInRemoved = "let in whom an admin removed";
        /// A member that is no admin would invite with more than is granted to everybody.
        RefusedNotOpen = "refused: not open", from 1_000;
        /// Something was granted to a user.
        UserAdmitted = "user admitted", from 300;
        /// A device was let in as one of a user's, in one step with the user.
        UserJoined = "user joined with its device", from 1_000;
        /// A device was let in as one of a user's by a member that is none of its.
        EnrolledByOthers = "enrolled by another's device", from 1_000;
        /// A member wrote down whose device another is.
        DeviceEnrolled = "device enrolled", from 300;
        /// A user struck a device off.
        StruckOff = "struck off", from 300;
        /// A user struck a device off that had written something beside that.
        StruckOffBesideWrites = "struck off, and wrote beside that", from 1_000;
        /// What was granted to a user became less, or ended.
        UserRevoked = "user lost rights", from 1_000;
        /// A device wrote rows by what was granted to its user alone.
        WroteAsUser = "wrote as a user's device", from 300;
        /// A syncgroup was destroyed.
        Destroyed = "syncgroup destroyed", from 1_000;
        /// Somebody said what a syncgroup is for, or where to meet.
        Described = "described", from 100;
        /// The same, after somebody else had, whom one did not know of.
        DescribedTooLate = "described too late", from 1_000;
        /// A device made or joined no further syncgroup, as it was in enough.
        TooManySyncgroups = "refused: too many syncgroups", from 300;
        /// A syncgroup was published at a device.
        Published = "published", from 100;
        /// Somebody answered where a syncgroup was published.
        OfferAnswered = "offer answered", from 300;
        /// Members were told that a device takes part at which a syncgroup is published.
        PublicationRunning = "publication running", from 300;
        /// Members were told that such a device has declined.
        PublicationRejected = "publication rejected", from 1_000;
        /// A publication was withdrawn.
        Unpublished = "publication withdrawn", from 1_000;
        /// The exchange of a database was paused.
        SyncPaused = "exchange paused", from 100;
        /// A device wrote in a paused database.
        WroteWhilePaused = "write while paused", from 300;
        /// What was paused still was after a restart.
        PausedOverRestart = "paused over a restart", from 1_000;
        /// A device took another key.
        KeyRotated = "another key", from 100;
        /// What a device had said of its key did not count, so it said it again in other logs.
        KeySaidAgain = "another key, said again";
        /// What was written while a clock was ahead was written again.
        Reissued = "written again", from 3_000;
        /// What somebody else had written so far ahead was dropped.
        DroppedAhead = "dropped as it was ahead";
        /// A device that had taken what was written again later did not count it.
        CutVoided = "written again where others had it";
        /// A device was never seen again.
        Vanished = "vanished for ever", from 100;
        /// A device that had made invitations was never seen again.
        VanishedAdmin = "the issuer of invitations vanished", from 300;
    }
    Conflicts {
        /// A write was refused because the row merges, or merges in another way.
        RefusedPolicy = "write refused: policy", from 300;
        /// A schema was changed.
        SchemaChanged = "schema changed", from 50;
        /// Somebody changes some rules, and leaves the others as they are.
        SomeRulesChanged = "single rules changed", from 50;
        /// A schema was changed while rows that it is about were in conflict.
        SchemaUnderConflict = "schema changed under conflict", from 300;
        /// Operations of several devices on one row.
        OperationsBeside = "operations side by side", from 100;
        /// A counter was put beside operations.
        PutBesideOperation = "counter put beside operations", from 300;
        /// An element was removed beside its insertion.
        RemoveBesideInsert = "element removed beside insertion", from 300;
        /// A conflict was raised to a resolver.
        Raised = "conflict raised", from 100;
        /// A row with three heads was raised to a resolver.
        ThreeHeadsRaised = "three heads raised", from 1_000;
        /// A conflict that three batches or more tie together was raised.
        GroupOfThreeBatches = "conflict of three batches", from 300;
        /// A conflict over several syncgroups was raised.
        GroupOverSyncgroups = "conflict over syncgroups", from 1_000;
        /// Readers saw a conflict that is left open.
        Deferred = "conflict deferred", from 300;
        /// A conflict that was left open was handed to a resolver.
        DeferredRaised = "deferred conflict raised", from 1_000;
        /// An answer was written.
        Answered = "conflict answered", from 100;
        /// An answer was refused because the rows had changed.
        StaleAnswer = "stale answer", from 300;
        /// An answer was refused because the schema had changed, and nobody need answer any more.
        NeedlessAnswer = "answer that nobody needs any more";
        /// Two devices had the same conflict raised at the same time.
        TwoResolvers = "two resolvers at once", from 1_000;
        /// Answers of two devices met.
        ResolutionsMet = "resolution met a resolution", from 1_000;
        /// A resolver died over a question.
        ResolverDied = "resolver died", from 300;
        /// Whole batches won and lost.
        BatchWon = "whole batch won", from 300;
        /// A batch was written at last, after a precondition had failed.
        Retried = "batch retried on a precondition", from 300;
        /// Transfers on several devices, or several on one, and their total was looked at.
        TotalKept = "total of accounts looked at", from 100;
        /// Of transfers that stood against each other some lost, each as a whole with what was built on it.
        TransfersLost = "whole transfers lost", from 300;
        /// A teller waited until a conflict about accounts was decided.
        TellerWaited = "teller waited for a decision", from 300;
    }
    Watching {
        /// Somebody who watches was told of a batch.
        BatchTold = "watch told of a batch", from 100;
        /// A watch went on where it had stopped.
        WatchResumed = "watch resumed", from 100;
        /// A watch went on after a restart.
        WatchRestarted = "watch resumed after a restart", from 300;
        /// A watch was away for too long.
        WatchTooOld = "watch too old", from 300;
        /// A watch had a marker of another life of the store.
        WatchUnknown = "watch with a marker of another life", from 1_000;
        /// A watch was told the state because the schema had changed.
        WatchSchema = "watch met another schema", from 300;
        /// A watch ended because its device is no member any more.
        WatchEnded = "watch ended", from 1_000;
    }
    Network {
        /// A batch was written while the network was cut.
        PartitionDuringWrite = "write in a partition", from 50;
        /// The network was cut in one direction only.
        OneWayPartition = "one-way partition", from 100;
        /// A link broke.
        LinkBroken = "link broken", from 50;
        /// A link broke with frames on the way.
        LinkBrokenMidway = "link broken with frames in flight", from 100;
        /// An attempt to connect failed.
        ConnectFailed = "connect failed", from 50;
        /// A frame was lost.
        FrameLost = "frame lost", from 50;
        /// A frame arrived a second time.
        FrameTwice = "frame delivered twice", from 50;
        /// A frame arrived before one that was sent earlier.
        FrameOvertook = "frame overtook another", from 50;
        /// A link was closed at once, as there were enough.
        TooManyLinks = "link closed: too many";
        /// A frame was larger than the credit that the link had.
        CreditOverdrawn = "credit overdrawn";
        /// A frame was damaged on its way, which its driver noticed, and the link broke.
        FrameCorrupted = "frame corrupted", from 100;
        /// A frame had to wait because its link was clogged.
        Clogged = "frames held up on a clogged link", from 100;
        /// A frame had to wait for the frames before it.
        Narrow = "frames held up on a narrow link", from 100;
        /// Somebody was called who can only call.
        CannotBeCalled = "called in vain: behind a gateway", from 100;
        /// A device that went on running did not let itself be found any more.
        NotToBeFound = "not to be found any more", from 300;
        /// A neighbourhood came about.
        Gathered = "neighbourhood gathered", from 100;
        /// A neighbourhood ceased to be.
        Parted = "neighbourhood parted", from 100;
    }
    Disk {
        /// It died with commits that were not durable, and all of them survived.
        CrashKeptAll = "crash that kept all commits", from 300;
        /// It died with commits that were not durable, and some were lost.
        CrashLostCommits = "crash that lost commits", from 100;
        /// A crash took generations of the device itself.
        CrashLostOwn = "crash that lost own writes", from 100;
        /// A store could not be read, and the replica was closed.
        ReadFailed = "read failed, replica halted", from 100;
        /// A store had to fetch first what was asked for, and the event was offered again.
        ReadAgain = "read failed, event offered again", from 100;
        /// A replica could not start because its store could not be read.
        BootFailed = "boot failed", from 300;
        /// A commit could not be written, and the replica was closed.
        DiskFull = "disk full, replica halted", from 100;
        /// A sync took long.
        SlowSync = "slow sync", from 100;
        /// The whole disk was copied.
        CopyMade = "copy of the disk made", from 100;
        /// An old copy of the whole disk took the place of the disk.
        SetBack = "disk set back to a copy", from 100;
        /// Such a copy did not have all that its device had written.
        SetBackLostOwn = "disk set back behind own writes", from 300;
        /// A disk was set back, and its driver believes that it continues.
        SetBackUnnoticed = "disk set back, token and all", from 1_000;
        /// Others told a device that it had written more than it holds.
        SetBackHeard = "heard from others that the disk was set back", from 1_000;
        /// A device got generations of its own from others, which it had lost.
        GotBackOwn = "got back own writes from others", from 300;
        /// A disk was lost.
        DiskLost = "disk lost", from 100;
        /// A store was found to be damaged.
        DamageFound = "damage found by checksum", from 100;
    }
    Process {
        /// The process died.
        Crash = "crash", from 50;
        /// It died after a commit, before the rest of what the core asked for was done.
        CrashMidway = "crash midway through actions", from 100;
        /// A restart with proof that the store continues.
        RestartShown = "restart, continuity shown", from 50;
        /// A restart without.
        RestartUnknown = "restart, new incarnation", from 100;
        /// A clean shutdown came to its end.
        Shutdown = "clean shutdown", from 100;
        /// A process slept while events came for it.
        Paused = "process asleep", from 100;
        /// It slept so long that others gave up on it.
        PausedLinksBroke = "process asleep, links broke", from 100;
        /// A replica was restarted with other settings.
        Reconfigured = "restarted with other settings", from 100;
    }
    Clocks {
        /// A batch was stamped by a clock that was wrong by a second or more.
        SkewedWrite = "write with a clock wrong by seconds", from 100;
        /// A clock jumped forwards.
        ClockForward = "clock jumped forwards", from 100;
        /// A clock jumped backwards.
        ClockBack = "clock jumped backwards", from 100;
        /// A clock stood at 1970.
        Clock1970 = "clock at 1970", from 300;
        /// A run in which clocks drift.
        ClockDrift = "clock drifts", from 100;
        /// A stamp lay ahead of its clock, because of what was in its past.
        StampPushed = "stamp pushed ahead of the clock", from 100;
        /// Generations were held back because they were stamped too far ahead.
        HeldBack = "held back: from the future", from 100;
    }
    Hostile {
        /// A hostile device was admitted to a syncgroup.
        HostileMember = "hostile member", from 100;
        /// A device attacked that was never a member.
        HostileStranger = "hostile stranger attacks", from 100;
        /// An old frame was sent again.
        FrameReplayed = "old frame replayed", from 100;
        /// A frame was sent back to whom it came from.
        FrameReflected = "frame reflected", from 100;
        /// Something that is no frame was sent as one.
        Garbage = "garbage sent", from 100;
        /// A generation was forged that nobody may accept.
        Forged = "generation forged", from 100;
        /// A generation made by other means than a core was valid, and accepted.
        ForgedAccepted = "odd generation accepted", from 100;
        /// A device told something wrong of what it holds.
        Lie = "lie about knowledge", from 100;
        /// A device asked or sent far more than it should.
        Flood = "flood", from 100;
        /// A replica was offered another branch of a log than the one that it holds, and proved the fork.
        ForkProven = "fork proven", from 1_000;
        /// A replica heard from another one that a log is forked.
        ForkHeard = "heard of a fork", from 1_000;
        /// A device wrote again what it had written on a branch of a log of its own.
        BranchWrittenAgain = "branch written again", from 3_000;
        /// Somebody forged a log of a device by a key that this one had before.
        ThiefForges = "forged by a former key", from 1_000;
        /// Such a log was taken by somebody who did not know better.
        ThiefBelieved = "former key believed", from 3_000;
        /// Somebody called as a device by a key that this one had before.
        ThiefCalls = "called by a former key", from 1_000;
        /// And was told that the key has ended.
        ThiefRefused = "former key refused", from 1_000;
        /// An honest replica closed a link and said why.
        FaultBlamed = "hostile device blamed", from 100;
    }
}

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// How often each [`Point`] came up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Coverage(BTreeMap<Point, u64>);

impl Coverage {
    /// Counts one more.
    pub(crate) fn hit(&mut self, point: Point) {
        *self.0.entry(point).or_default() += 1;
    }

    /// How often it came up.
    pub fn count(&self, point: Point) -> u64 {
        self.0.get(&point).copied().unwrap_or(0)
    }

    /// Adds what another run saw.
    pub fn merge(&mut self, other: &Coverage) {
        for (point, count) in &other.0 {
            *self.0.entry(*point).or_default() += count;
        }
    }

    /// What a suite of so many seeds of a profile should have seen and did not.
    pub fn missing(&self, seeds: u64, profile: &Profile) -> Vec<Point> {
        let is_default = *profile == Profile::default();
        let own = if is_default { &[] } else { profile.is_for() };
        let due = |point: &&Point| match is_default {
            true => point.required_from().is_some_and(|least| seeds >= least),
            false => own.contains(point) && seeds >= Profile::SEEN_FROM,
        };
        Point::ALL.iter().filter(due).copied().filter(|point| self.count(*point) == 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_suite_misses_what_never_happened_and_a_small_one_does_not() {
        let mut coverage = Coverage::default();
        for point in Point::ALL.iter().filter(|point| **point != Point::ThreeHeads) {
            coverage.hit(*point);
        }
        let (default, large) = (Profile::default(), "large".parse().unwrap());
        assert_eq!(coverage.missing(1_000, &default), [Point::ThreeHeads]);
        assert_eq!(coverage.missing(20, &default), []);
        assert_eq!(coverage.missing(100, &large), [Point::ThreeHeads], "that is what it is for");
        assert_eq!(coverage.missing(99, &large), []);
        assert_eq!(coverage.missing(1_000, &"clocks".parse().unwrap()), []);
        let mut sum = Coverage::default();
        sum.merge(&coverage);
        sum.merge(&coverage);
        assert_eq!(sum.count(Point::Crash), 2);
    }

    #[test]
    fn coverage_is_read_back_as_it_was_written() {
        let mut coverage = Coverage::default();
        coverage.hit(Point::TwoHeads);
        let text = serde_json::to_string(&coverage).unwrap();
        assert_eq!(text, r#"{"conflict, two heads":1}"#);
        assert_eq!(serde_json::from_str::<Coverage>(&text).unwrap(), coverage);
    }
}
