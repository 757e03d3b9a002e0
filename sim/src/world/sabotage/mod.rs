//! Defects on purpose: with each of them some run must fail, by the oracle that guards the rule. An oracle that
//! never fails proves nothing, and neither does a shrinker that never had anything to shrink.
//!
//! They sit where a driver, a store or a network can be wrong, outside of the core, and they are as different
//! as defects are: some show at once, some need two replicas or three, a crash, a cut, a certain order, or a
//! frame that comes twice.

mod saboteur;

use std::fmt;
use std::str::FromStr;

use driftless::{PublicKey, Rights, SecretKey, Signature, SignatureScheme};

pub(crate) use self::saboteur::Saboteur;
use crate::KeyedHash;
use crate::oracle::Oracle;
use crate::plan::Signatures;

macro_rules! planted {
    ($($(#[doc = $doc:literal])+ $defect:ident = $name:literal, noticed by $oracle:ident;)+) => {
        /// Something that is broken on purpose.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Sabotage { $($(#[doc = $doc])+ $defect,)+ }

        impl Sabotage {
            /// All of them.
            pub const ALL: &'static [Sabotage] = &[$(Sabotage::$defect,)+];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Sabotage::$defect => $name,)+ }
            }

            /// Who must notice.
            pub fn noticed_by(self) -> Oracle {
                match self { $(Sabotage::$defect => Oracle::$oracle,)+ }
            }
        }
    };
}

planted! {
    /// Disks lose a durable commit in a crash.
    ForgetsDurable = "forgets-durable", noticed by Durability;
    /// Disks report commits as durable as soon as they are applied.
    DurableTooEarly = "durable-too-early", noticed by Durability;
    /// Disks do the same, but only when the sync is going to take a second or more.
    SlowSyncsLie = "slow-syncs-lie", noticed by Durability;
    /// Of the last commit that survives a crash and was not durable, the rows are lost.
    TearsCommits = "tears-commits", noticed by Model;
    /// Stores change a byte of a row.
    CorruptsRows = "corrupts-rows", noticed by Model;
    /// Stores apply a commit without one of its rows.
    LosesARow = "loses-a-row", noticed by Model;
    /// Stores take no third version of a row.
    KeepsTheOldRow = "keeps-the-old-row", noticed by Model;
    /// Stores do not take a row with three heads.
    DropsThreeHeads = "drops-three-heads", noticed by Model;
    /// The network changes a byte of some frames.
    AltersFrames = "alters-frames", noticed by Conduct;
    /// The network changes a byte of a frame that arrives a second time.
    AltersSecondCopies = "alters-second-copies", noticed by Conduct;
    /// The network changes a byte of a frame that others overtake.
    AltersLateFrames = "alters-late-frames", noticed by Conduct;
    /// The network cuts off what is longer than 1,400 bytes.
    CutsLargeFrames = "cuts-large-frames", noticed by Conduct;
    /// From whom to whom one frame was lost, nothing ever gets through again.
    DiesOfALoss = "dies-of-a-loss", noticed by Convergence;
    /// Cuts in one direction are never healed.
    NeverHealsOneWay = "never-heals-one-way", noticed by Convergence;
    /// A driver does not give back the credit of frames of more than 1,000 bytes.
    LosesCredit = "loses-credit", noticed by Convergence;
    /// Nobody ever gets a link to one replica.
    Isolates = "isolates", noticed by Convergence;
    /// Nobody ever gets a link to a replica that crashed twice.
    ShunsWhoCrashedTwice = "shuns-who-crashed-twice", noticed by Convergence;
    /// Two replicas of which one crashed while the network was cut between them never get a link again.
    ShunsWhoCrashedApart = "shuns-who-crashed-apart", noticed by Convergence;
    /// Only who made a syncgroup can call and be called.
    OnlyCreatorsCall = "only-creators-call", noticed by Convergence;
    /// A driver does not answer a request to leave.
    NeverAnswersLeaves = "never-answers-leaves", noticed by Conduct;
    /// Of two writes that wait for an answer, the later gets that of the earlier.
    ConfusesAnswers = "confuses-answers", noticed by Conduct;
    /// A driver passes batches on without their preconditions.
    IgnoresPreconditions = "ignores-preconditions", noticed by Conduct;
    /// Instead of deleting a row, a driver writes an empty value.
    DeletesByEmptying = "deletes-by-emptying", noticed by Model;
    /// Of a batch over two syncgroups, a driver passes on what is for the first.
    SplitsBatches = "splits-batches", noticed by Conduct;
    /// Whoever may only read is not told that a write was refused.
    HushesReaders = "hushes-readers", noticed by Conduct;
    /// A write on a device that is stopping vanishes without an answer.
    HushesWhileStopping = "hushes-while-stopping", noticed by Conduct;
    /// Readers are not told of rows that somebody else has deleted.
    HidesDeletions = "hides-deletions", noticed by Model;
    /// A process that is asked to stop says that it has stopped before its commits are durable.
    StopsTooEarly = "stops-too-early", noticed by Durability;
    /// After a restart, the wall clock is two days ahead.
    WakesInTheFuture = "wakes-in-the-future", noticed by Clocks;
    /// The model does not hear of a batch: what was written and is not known to have been, nobody wrote.
    WithholdsABatch = "withholds-a-batch", noticed by Durability;
    /// The model believes that each author knew a batch more of some other than it did.
    InventsCauses = "invents-causes", noticed by Causality;
    /// Replicas do not wait for the other parts of batches, and do not say so.
    ShowsParts = "shows-parts", noticed by Causality;
    /// Replicas do not wait for the other parts of batches, and say that they did.
    WaitsTooShort = "waits-too-short", noticed by Causality;
    /// Replicas wait for the other parts of batches for twice as long as they should.
    WaitsTooLong = "waits-too-long", noticed by Causality;
    /// Applications are told that batches are safe which nobody ever wrote.
    PromisesTooMuch = "promises-too-much", noticed by SilentLoss;
    /// Replicas take every signature for right.
    BelievesSignatures = "believes-signatures", noticed by Durability;
    /// The model does not hear that devices are admitted.
    WithholdsAdmissions = "withholds-admissions", noticed by Access;
    /// A driver that is to open a syncgroup for reading opens it for writing.
    OpensTooFar = "opens-too-far", noticed by Access;
    /// Lists of members say of whoever may read that it may write.
    FlattersReaders = "flatters-readers", noticed by Access;
    /// The model does not hear that devices are removed.
    WithholdsRemovals = "withholds-removals", noticed by Access;
    /// The model does not hear that devices are enrolled as users'.
    WithholdsEnrolments = "withholds-enrolments", noticed by Access;
    /// A driver has rights last for ever that shall end.
    LastsForEver = "lasts-for-ever", noticed by Access;
    /// The model believes that whoever is a member now has been none for a day.
    EndsBefore = "ends-before", noticed by Access;
    /// The model does not hear that users strike devices off.
    WithholdsStrikings = "withholds-strikings", noticed by Access;
    /// The model does not hear that what was written again counts no more where it was.
    CountsTwice = "counts-twice", noticed by Model;
    /// The model does not hear that logs are forked: as if a proof cut nothing.
    WithholdsForks = "withholds-forks", noticed by Model;
    /// The model does not hear that devices take other keys: as if those before had not ended.
    WithholdsRollovers = "withholds-rollovers", noticed by Model;
    /// A driver takes whoever calls by a key that a device had before for that device.
    TakesFormerKeys = "takes-former-keys", noticed by Access;
    /// The model believes that a batch was stamped long ago.
    StampsLongAgo = "stamps-long-ago", noticed by Clocks;
    /// No event may cost more than a few reads.
    Thrift = "thrift", noticed by Bounds;
    /// Stores lose schemas.
    LosesSchemas = "loses-schemas", noticed by Model;
    /// Instead of changing some rules of a schema, a driver makes them all that there are.
    ReplacesSchemas = "replaces-schemas", noticed by Model;
    /// A driver says what a syncgroup is for though somebody has changed that since.
    DescribesAnyway = "describes-anyway", noticed by Conduct;
    /// A driver loses where to meet.
    LosesMeetingPlaces = "loses-meeting-places", noticed by Conduct;
    /// The network loses what is offered to devices at which a syncgroup is published.
    LosesOffers = "loses-offers", noticed by Convergence;
    /// A driver publishes syncgroups for reading only.
    PublishesForReading = "publishes-for-reading", noticed by Model;
    /// Stores lose which rows a commit changed.
    LosesChanges = "loses-changes", noticed by Watching;
    /// Conflicts are raised without one of their heads.
    HidesAHead = "hides-a-head", noticed by Conflicts;
    /// A driver asks its resolver twice about each conflict.
    AsksTwice = "asks-twice", noticed by Conflicts;
    /// Answers of resolvers get lost.
    DropsAnswers = "drops-answers", noticed by Conflicts;
    /// The model believes that where batches win as a whole, the first does.
    FirstBatchWins = "first-batch-wins", noticed by Model;
    /// A driver does not say which batches are shown in part.
    ForgetsSplits = "forgets-splits", noticed by Causality;
    /// A driver pauses another database than the one that it was asked to.
    PausesAnother = "pauses-another", noticed by Access;
    /// Transfers take, and do not give.
    TearsTransfers = "tears-transfers", noticed by Causality;
    /// Where whole batches win, tellers write to accounts about which a conflict stands.
    RushesTellers = "rushes-tellers", noticed by Causality;
    /// The model believes that where whole batches lose, only those do that wrote heads.
    OnlyHeadsLose = "only-heads-lose", noticed by Model;
    /// People write on a device that was set back, token and all, before others have told it what it had written.
    UsesTooSoon = "uses-too-soon", noticed by Durability;
    /// A driver goes on announcing a device that does not want to be found any more.
    KeepsAnnouncing = "keeps-announcing", noticed by Conduct;
    /// Replicas do not wait before they call again whom they did not reach.
    RedialsAtOnce = "redials-at-once", noticed by Conduct;
}

impl Sabotage {
    /// Changes how a replica is set up.
    pub(crate) fn config(self, config: &mut driftless::Config, signatures: Signatures) {
        if self == Sabotage::BelievesSignatures {
            config.signatures = match signatures {
                Signatures::Keyed => &Gullible(&KeyedHash),
                Signatures::Ed25519 => &Gullible(&driftless::Ed25519),
            };
        }
        if matches!(self, Sabotage::ShowsParts | Sabotage::WaitsTooShort) {
            config.timing.parts = driftless::Millis(0);
        }
        if self == Sabotage::RedialsAtOnce {
            config.timing.redial = driftless::Millis(0);
        }
        if self == Sabotage::WaitsTooLong {
            config.timing.parts.0 *= 2;
        }
    }

    /// Whether the model does not hear of this many-th batch.
    pub(crate) fn withholds(self, batch: u64) -> bool {
        self == Sabotage::WithholdsABatch && batch == 2
    }

    /// Whether the model does not hear of admissions.
    pub(crate) fn withholds_admissions(self) -> bool {
        self == Sabotage::WithholdsAdmissions
    }

    /// What a list of members says of one who has these rights.
    pub(crate) fn listed(self, rights: Rights) -> Rights {
        if self == Sabotage::FlattersReaders { rights.max(Rights::Write) } else { rights }
    }

    /// The moment for which the model is asked who is a member.
    pub(crate) fn moment(self, clock: driftless::Wall) -> driftless::Wall {
        if self == Sabotage::EndsBefore { clock + driftless::Millis(86_400_000) } else { clock }
    }

    /// Whether the model does not hear of removals.
    pub(crate) fn withholds_removals(self) -> bool {
        self == Sabotage::WithholdsRemovals
    }

    /// Whether the model does not hear of enrolments.
    pub(crate) fn withholds_enrolments(self) -> bool {
        self == Sabotage::WithholdsEnrolments
    }

    /// Whether the model does not hear of strikings-off.
    pub(crate) fn withholds_strikings(self) -> bool {
        self == Sabotage::WithholdsStrikings
    }

    /// Whether the model does not hear what counts no more as it was written again.
    pub(crate) fn withholds_cuts(self) -> bool {
        self == Sabotage::CountsTwice
    }

    /// Whether the model does not hear of forks.
    pub(crate) fn withholds_forks(self) -> bool {
        self == Sabotage::WithholdsForks
    }

    /// Whether the model does not hear that devices take other keys.
    pub(crate) fn withholds_rollovers(self) -> bool {
        self == Sabotage::WithholdsRollovers
    }

    /// The stamp that the oracle of clocks is told of this many-th batch.
    pub(crate) fn stamp(self, batch: u64, stamp: driftless::Hlc) -> driftless::Hlc {
        if self == Sabotage::StampsLongAgo && batch == 3 { driftless::Hlc::default() } else { stamp }
    }

    /// Whether the bounds are next to nothing.
    pub(crate) fn is_thrifty(self) -> bool {
        self == Sabotage::Thrift
    }

    /// What the model is told of what an author knew.
    pub(crate) fn past(self, author: &driftless::Author, past: &mut driftless::Knowledge) {
        if self == Sabotage::InventsCauses
            && let Some((_, last)) = past.iter_mut().find(|(other, _)| *other != author)
        {
            *last += 1;
        }
    }

    /// Whether the model believes that the first batch wins.
    pub(crate) fn first_batch_wins(self) -> bool {
        self == Sabotage::FirstBatchWins
    }

    /// Whether the model believes that only batches that wrote heads lose.
    pub(crate) fn only_heads_lose(self) -> bool {
        self == Sabotage::OnlyHeadsLose
    }

    /// A batch that the application is told of, beside one that there is.
    pub(crate) fn promise(self, part: &driftless::Written) -> Option<driftless::Version> {
        let generation = part.version.generation + 1_000;
        (self == Sabotage::PromisesTooMuch).then_some(driftless::Version { generation, ..part.version })
    }
}

/// Signs as another scheme does, and believes everything.
struct Gullible(&'static dyn SignatureScheme);

impl SignatureScheme for Gullible {
    fn public(&self, secret: &SecretKey) -> PublicKey {
        self.0.public(secret)
    }

    fn sign(&self, secret: &SecretKey, message: &[u8]) -> Signature {
        self.0.sign(secret, message)
    }

    fn verify(&self, _: &PublicKey, _: &[u8], _: &Signature) -> bool {
        true
    }
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no planted defect has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no planted defect \"{0}\"; `driftless-sim bench --shrink` lists them")]
pub struct UnknownSabotage(String);

impl FromStr for Sabotage {
    type Err = UnknownSabotage;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Sabotage::ALL.iter().find(|sabotage| sabotage.name() == name);
        found.copied().ok_or_else(|| UnknownSabotage(name.to_owned()))
    }
}
