//! What a hostile device can say, behind the feature `hostile`: for simulators, and for nothing else.
//!
//! A device that means harm has its own key, speaks the wire format and can compute whatever it likes. Here it
//! borrows the state of a [`Core`] that runs as usual, which knows what to lie about, and makes frames that no
//! core would send: the driver puts them on a link beside the core's own. Nothing here changes the core.
//!
//! * [`forge`] makes generations. Most are wrong in some way; the few that are valid, though odd, are described
//!   in [`Forged::made`], so that a simulator knows what honest replicas may come to hold.
//! * [`lie`] says something untrue about what is held.
//! * [`flood`] says too much.
//! * [`hello_from_nobody`] begins on a link that was got by a key which has ended.

mod forge;
mod say;
mod users;

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::forge::forge;
pub use self::say::{flood, hello_from_nobody, lie};
use crate::config::Identity;
use crate::core::Core;
use crate::crypto::{Keys, SecretKey};
use crate::event::Edit;
use crate::hash::Tag;
use crate::id::{
    Author, CollectionId, DeviceId, Generation, Incarnation, LinkId, PublicKey, SyncgroupId, UserId, Version,
};
use crate::keys::Life;
use crate::resolve::Rule;
use crate::store::View;
use crate::sync::handshake;
use crate::syncgroup::Rights;
use crate::time::{Hlc, Wall};

/// Where and with what something hostile is said.
#[derive(Clone, Copy)]
pub struct Stage<'s> {
    /// The device that says it, by the core that it runs besides.
    pub core: &'s Core,
    /// The store of that core.
    pub view: &'s dyn View,
    /// The link on which it will be said.
    pub link: LinkId,
    /// The device at its other end.
    pub peer: DeviceId,
    /// About which syncgroup. Its id is enough: the core need not be a member.
    pub syncgroup: SyncgroupId,
    /// A collection of it.
    pub collection: CollectionId,
    /// What time it is.
    pub wall: Wall,
    /// A key that some device had before the one that it has, with the chain up to that: somebody has stolen it.
    pub stolen: Option<&'s Identity>,
    /// Random bytes, from which everything is drawn.
    pub seed: [u8; 32],
}

impl core::fmt::Debug for Stage<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Stage").field("link", &self.link).field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Stage<'_> {
    /// What the syncgroup is called on the link; `None` before both ends have said hello.
    fn name(&self) -> Option<Tag> {
        Some(handshake::name(&self.core.sync.salt(self.link)?, &self.syncgroup))
    }

    /// The name of a log that this device might have, or another one that still has its first key.
    fn life(&self, device: &DeviceId, drawn: u64) -> Life {
        let chain = &self.core.replica.keys.chain;
        if *device == chain.device() { chain.life(drawn) } else { chain.up_to(0).life(drawn) }
    }

    /// An author of whom nobody has heard, of the device at the other end.
    fn nobody(&self) -> Author {
        Author { device: self.peer, incarnation: self.life(&self.peer, self.draw("nobody")).incarnation }
    }

    /// What a forged log is signed with.
    fn keys(&self, forgery: Forgery) -> Option<Keys> {
        let own = &self.core.replica.keys;
        match forgery {
            Forgery::FormerKey => self.stolen?.keys(own.scheme),
            Forgery::RivalKey => {
                let former = self.stolen?.keys(own.scheme)?;
                let secret = SecretKey(self.bytes("rival"));
                let chain = former.chain.rolled_over(&former.secret, &secret, own.scheme).ok()?;
                Keys::of(secret, chain, own.scheme)
            }
            _ => Some(own.clone()),
        }
    }

    /// A number drawn for a purpose.
    fn draw(&self, purpose: &str) -> u64 {
        crate::dice::Dice::new(&self.seed, purpose).u64()
    }

    fn bytes<const N: usize>(&self, purpose: &str) -> [u8; N] {
        crate::dice::Dice::new(&self.seed, purpose).bytes()
    }
}

macro_rules! kinds {
    ($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $doc:literal])+ $kind:ident,)+ }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum $name { $($(#[doc = $doc])+ $kind,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$kind,)+];
        }
    };
}

kinds! {
    /// How a log is made that no core would write. Each is the log of an incarnation that the device makes up.
    Forgery {
        /// The signature is wrong.
        BadSignature,
        /// It is said to be another device's log.
        OthersName,
        /// The signed root is not that of the run.
        WrongRoot,
        /// A body is not the one that its header names.
        AlteredBody,
        /// A stamp is not above the one before.
        StampBack,
        /// A run that starts at a later generation than the first.
        Gap,
        /// It depends on something that nobody has.
        MissingCause,
        /// It depends on another content of a generation that there is.
        WrongTag,
        /// It depends on nothing, so on nothing that permits it (back-dated).
        NoCause,
        /// It depends on its device's admission alone, as if it knew nothing of what came since (back-dated).
        OldCauses,
        /// It is stamped an hour ahead.
        Future,
        /// It is stamped four minutes ahead, which is within the limit.
        SoonFuture,
        /// It makes the syncgroup anew (a rival genesis).
        Genesis,
        /// It admits a device that does not exist.
        AdmitsGhost,
        /// It lets in a device that does not exist by what was granted to everybody, as if it knew nothing of what came since.
        LetsInBeside,
        /// It lets in a device that an admin has removed, likewise.
        LetsInRemoved,
        /// It lets in such a device as that of a user that it makes up, likewise.
        LetsInRemovedAsUser,
        /// It lets in the device to which it is sent, which is a member already.
        LetsInAgain,
        /// It makes its own device an admin.
        PromotesItself,
        /// It says that others' grants end.
        EndsOthers,
        /// It removes the device to which it is sent.
        Removes,
        /// The same, and says that this one had written nothing.
        RemovesAll,
        /// It takes what makes an admin from its own device's admitter.
        Overthrows,
        /// It enrols a device by a certificate that its device has signed in a user's name.
        StrangeCertificate,
        /// It enrols another device by a certificate that a user has signed for one of its own.
        MisplacedCertificate,
        /// It writes down again a certificate that there is, as if it knew nothing of what came since.
        RepeatsCertificate,
        /// It enrols its own device as that of a user whom nobody has granted anything.
        StrangeUser,
        /// It makes a user of its own an admin.
        AdmitsOwnUser,
        /// It takes from a user all that it was granted, for all that its devices wrote.
        RemovesUser,
        /// It strikes off a device by a statement that its device has signed in a user's name, as a sibling might.
        SiblingStrikes,
        /// It says what becomes of conflicts, which takes an admin.
        Rule,
        /// The same, for keys longer than any can be.
        LongRule,
        /// It operates on a row, whether or not that merges, and whether or not in this way.
        Operates,
        /// Its operation is larger than any value may be.
        LargeOperation,
        /// It sets a field that has no name.
        NamelessField,
        /// It is a part of a batch in as many syncgroups as may be, of which nobody has ever heard.
        StrangeParts,
        /// It is a part of a batch in more syncgroups than may be.
        TooManyParts,
        /// It is a part of a batch in another syncgroup, where there is no such part.
        LacksPart,
        /// Two generations that are the same part of such a batch.
        PartTwice,
        /// It has a record of a kind that nobody knows.
        UnknownKind,
        /// Its row builds on a version that nobody has.
        MissingParent,
        /// Its row builds on a version of something else.
        OddParent,
        /// Its row builds on a version that was stamped later.
        LaterParent,
        /// An ordinary write.
        Ordinary,
        /// One of several logs of one incarnation, which begin with the same generation (a fork). What they say is the same,
        /// generation by generation; and yet they are others, and only one can be had.
        Forks,
        /// It is the log of another device, signed by a key that this one had before (S-1), which was stolen.
        FormerKey,
        /// The same by a key for which that one has signed, in the place of its owner's next one.
        RivalKey,
    }
}

kinds! {
    /// Something untrue about what is held.
    Lie {
        /// That all is the same, or something else.
        Summary,
        /// That the same is held, and something else shown.
        Visible,
        /// Digests of nothing.
        Digests,
        /// To hold far more than there is.
        More,
        /// To hold logs of authors that do not exist.
        Ghosts,
        /// To hold nothing.
        Nothing,
        /// That the other has written more than it did.
        SetBack,
        /// To have another nonce than it said.
        OtherNonce,
        /// To share nothing any more.
        Withdraws,
        /// An answer to a request that was not made.
        Joined,
        /// That the other has admitted it, without its signature.
        Introduction,
        /// To be a user's device, by what no user has signed, or of another device.
        Certificates,
        /// That somebody else offers a syncgroup, and offers that are for somebody else.
        Publishes,
        /// That it declines what was offered to others.
        Declines,
        /// That others have forked their logs, by what proves nothing.
        Forked,
    }
}

kinds! {
    /// More than one should say.
    Flood {
        /// Many hellos.
        Hellos,
        /// Many requests for everything.
        Pulls,
        /// More syncgroups than anybody takes.
        Offers,
        /// More authors than anybody takes.
        Announces,
        /// Many requests to join.
        Joins,
        /// The same generations again and again.
        Deltas,
        /// A frame larger than frames may be.
        LargeFrame,
        /// Logs of many incarnations.
        Incarnations,
        /// Many offers of syncgroups that nobody has.
        Publishes,
    }
}

impl Forgery {
    /// Whether it takes rights from a device.
    pub fn is_revocation(self) -> bool {
        matches!(self, Forgery::Removes | Forgery::RemovesAll | Forgery::Overthrows | Forgery::RemovesUser)
    }

    /// Whether nobody may ever accept it, whatever the device is permitted.
    pub fn is_never_valid(self) -> bool {
        match self {
            Forgery::OldCauses
            | Forgery::Future
            | Forgery::SoonFuture
            | Forgery::AdmitsGhost
            | Forgery::LetsInBeside
            | Forgery::LetsInRemoved
            | Forgery::LetsInRemovedAsUser
            | Forgery::LetsInAgain
            | Forgery::PromotesItself
            | Forgery::EndsOthers
            | Forgery::Removes
            | Forgery::RemovesAll
            | Forgery::Overthrows
            | Forgery::RepeatsCertificate
            | Forgery::StrangeUser
            | Forgery::AdmitsOwnUser
            | Forgery::RemovesUser
            | Forgery::Rule
            | Forgery::Operates
            | Forgery::StrangeParts
            | Forgery::LacksPart
            | Forgery::PartTwice
            | Forgery::OddParent
            | Forgery::Ordinary
            | Forgery::Forks
            | Forgery::FormerKey
            | Forgery::RivalKey => false,
            Forgery::BadSignature
            | Forgery::OthersName
            | Forgery::WrongRoot
            | Forgery::AlteredBody
            | Forgery::StampBack
            | Forgery::Gap
            | Forgery::MissingCause
            | Forgery::WrongTag
            | Forgery::NoCause
            | Forgery::Genesis
            | Forgery::StrangeCertificate
            | Forgery::MisplacedCertificate
            | Forgery::SiblingStrikes
            | Forgery::LongRule
            | Forgery::LargeOperation
            | Forgery::NamelessField
            | Forgery::TooManyParts
            | Forgery::UnknownKind
            | Forgery::MissingParent
            | Forgery::LaterParent => true,
        }
    }
}

/// What was forged.
#[derive(Debug, Clone, Default)]
pub struct Forged {
    /// To be sent in this order.
    pub frames: Vec<Bytes>,
    /// The generations in them, each in full where it can be understood at all.
    pub made: Vec<Made>,
}

/// A generation that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Which.
    pub version: Version,
    /// Its stamp.
    pub stamp: Hlc,
    /// What it says that it depends on, besides the one before it.
    pub dependencies: Vec<Version>,
    /// Whether it is a part of a batch, and in which syncgroups that there are it says the other parts to be. There are
    /// none.
    pub batch: Option<Vec<SyncgroupId>>,
    /// What its log says of its device's key, if it begins it: the keys after the first one, and what stays of its other logs.
    pub rolled: Option<MadeWord>,
    /// What it says.
    pub content: Content,
}

/// The keys of a device after its first one, and what stays of its other logs.
pub type MadeWord = (Vec<PublicKey>, Vec<(Incarnation, Generation)>);

/// What a made generation says.
#[derive(Debug, Clone)]
pub enum Content {
    /// A row is changed.
    Row {
        /// Its collection.
        collection: CollectionId,
        /// Its key.
        key: Bytes,
        /// The versions that it says it supersedes.
        parents: Vec<Version>,
        /// What becomes of it.
        edit: Edit,
    },
    /// Somebody says what becomes of conflicts in a collection.
    Rule {
        /// The collection.
        collection: CollectionId,
        /// The rule.
        rule: Rule,
    },
    /// A device is admitted.
    Admits(DeviceId, Rights),
    /// Something is granted to a user.
    AdmitsUser(UserId, Rights),
    /// The same, and in one step a device is enrolled as its, by a first certificate.
    AdmitsAs(UserId, DeviceId, Rights),
    /// A device is enrolled as a user's, by the certificate of this number.
    Enrols(UserId, DeviceId, u64),
    /// A user loses grants, for all that its devices wrote.
    RevokesUser {
        /// Whom.
        user: UserId,
        /// The grants.
        grants: Vec<Version>,
    },
    /// Some grants, not its own, are said to end.
    EndsOthers,
    /// A device loses grants.
    Revokes {
        /// Which device.
        device: DeviceId,
        /// The grants.
        grants: Vec<Version>,
        /// What is left of them.
        keep: Option<Rights>,
        /// The last generation of each of its logs for which they stay as they were.
        until: Vec<(Incarnation, Generation)>,
    },
    /// Nothing that anybody may ever accept.
    Never,
}
