//! Messages. A syncgroup is named by a hash salted with the link, so that whoever does not know its id
//! learns nothing (S-22).

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::codec::{DecodeError, Decoded};
use crate::hash::{Hash, Tag};
use crate::id::{Author, Generation, Incarnation, Name, SyncgroupId};
use crate::keys::KeyChain;
use crate::limits;
use crate::log::fork::{Branch, Fork};
use crate::log::generation::MIN_GENERATION;
use crate::log::{Checkpoint, Proof};
use crate::syncgroup::group::Asking;
use crate::syncgroup::{Invitation, JoinRefusal};
use crate::user::Certificate;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Message {
    Hello(Hello),
    Offer(Offer),
    Summary(Summary),
    /// For each shared syncgroup what is known of it, by one hash; in the order of names.
    Digests(Vec<(Tag, Tag)>),
    Pull(Pull),
    Announce(Announce),
    Deltas(Deltas),
    /// A request to be admitted, sent to the issuer of the invitation; or, by whoever has given up on it, the
    /// question whether it was admitted.
    Join {
        asking: Asking,
        name: Name,
        withdraw: bool,
        /// What the asker itself has written in the syncgroup: it must be known to whoever answers.
        wrote: Vec<(Incarnation, Generation)>,
    },
    /// The answer: what the newcomer must hold to be complete.
    Joined {
        syncgroup: SyncgroupId,
        nonce: [u8; 16],
        answer: Result<Vec<(Author, Generation)>, JoinRefusal>,
    },
    Introduction(Introduction),
    Publish(Publish),
    /// The receiver's invitation of this nonce is declined.
    Declined {
        syncgroup: SyncgroupId,
        nonce: [u8; 16],
    },
    /// The receiver's word that it offers nothing any more has come: it need not be said again.
    NoneOffered {
        revision: u32,
    },
    Forked(Forked),
    /// The receiver's key has ended: its device has these by now (S-1).
    KeyEnded(KeyChain),
}

/// The sender holds another branch of a log than the receiver (S-26).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Forked {
    /// In which syncgroup.
    pub(crate) name: Tag,
    pub(crate) author: Author,
    pub(crate) says: Says,
}

/// What is said of a log that is forked. Each answers the one before, until one end can prove it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Says {
    /// Tags of the log tree at some sizes, rising. Somewhere among them the branches part.
    Tags(Vec<(Generation, Tag)>),
    /// They part behind this size, and so the sender's goes on.
    Branch(Generation, Box<Branch>),
    /// The proof, for whoever does not know it yet.
    Proof(Box<Fork>),
}

/// All that the sender offers the receiver: syncgroups that are published there (S-33). What it offered before, and does
/// not name, it does not offer any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Publish {
    /// Grows with every change on this link: what is older does not count.
    pub(crate) revision: u32,
    pub(crate) invitations: Vec<Invitation>,
}

/// The first message of each end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    /// Both nonces together salt the names on this link.
    pub(crate) nonce: [u8; 16],
    /// Drawn at boot: a link to an earlier boot is dead.
    pub(crate) boot: u64,
    /// Whether the sender has not heard the other end's hello yet.
    pub(crate) wanted: bool,
}

/// What the sender would share with the receiver. What both offer is shared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// Grows with every offer on this link: the greatest counts.
    pub(crate) revision: u32,
    pub(crate) syncgroups: Vec<Offered>,
}

impl Offer {
    /// Whether each syncgroup is named once, with one word of each incarnation, in their order. So nobody can have
    /// more signatures verified than there are syncgroups.
    pub(crate) fn is_in_order(&self) -> bool {
        let names: BTreeSet<&Tag> = self.syncgroups.iter().map(|offered| &offered.name).collect();
        let is_sorted = |offered: &Offered| offered.yours.is_sorted_by(|one, next| one.0 < next.0);
        names.len() == self.syncgroups.len() && self.syncgroups.iter().all(is_sorted)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Offered {
    pub(crate) name: Tag,
    /// The receiver's own word for each of its logs, as far as the sender has it: the first thing compared on a
    /// link. Whoever has signed for more than it holds was set back (S-2). In the order of incarnations.
    pub(crate) yours: Vec<(Incarnation, Checkpoint)>,
    /// The sender knows that the receiver is no member any more: nothing is shared. Whoever does not know that of
    /// itself may ask for what ended it, by a pull.
    pub(crate) ended: bool,
}

/// Everything that the sender knows of what is shared, in one hash (S-22).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// The sender's latest offer, and the latest that it has of the receiver.
    pub(crate) offer: u32,
    pub(crate) seen: u32,
    /// A hash of knowledge, and one of visible state: where the first are equal the second must be (S-12), unless
    /// one is zero: something is held there and not shown yet (S-28), and what readers see cannot be compared.
    pub(crate) knowledge: Hash,
    pub(crate) visible: Hash,
    /// Whether this answers the receiver's own summary.
    pub(crate) answer: bool,
}

/// How much of one author's log, and a tag of the tree's root there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) author: Author,
    pub(crate) generation: Generation,
    pub(crate) tag: Tag,
}

/// What the sender holds of one syncgroup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Holdings {
    pub(crate) name: Tag,
    /// Whether authors that are not listed are not held at all; otherwise nothing is said of them.
    pub(crate) whole: bool,
    pub(crate) entries: Vec<Entry>,
}

/// A request for what goes beyond these holdings (S-21).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pull(pub(crate) Holdings);

/// News of what the sender holds (S-25).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Announce(pub(crate) Holdings);

/// A member that the receiver may not have heard of makes itself known, by what only members have: a word that
/// another member has signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Introduction {
    /// Whoever admitted the sender.
    pub(crate) author: Author,
    pub(crate) checkpoint: Checkpoint,
    /// Whose device the sender is, if the receiver says that it is no member any more, and may not have heard of that.
    pub(crate) certificates: Vec<Certificate>,
    /// All that the sender holds of the syncgroup.
    pub(crate) holdings: Holdings,
}

/// Generations of one syncgroup: of each author one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deltas {
    pub(crate) name: Tag,
    pub(crate) runs: Vec<Run>,
}

/// Consecutive generations of one author, and what proves them (S-26).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) author: Author,
    pub(crate) first: Generation,
    #[serde(deserialize_with = "generations")]
    pub(crate) generations: Vec<Bytes>,
    pub(crate) proof: Proof,
}

/// Reads generations, none of which is shorter than one can be: so that what holds them takes no more memory than they do.
fn generations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Bytes>, D::Error> {
    struct Generations;

    impl<'de> Visitor<'de> for Generations {
        type Value = Vec<Bytes>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("generations")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Bytes>, A::Error> {
            let mut generations = Vec::new();
            while let Some(generation) = seq.next_element::<Bytes>()? {
                if generation.len() < MIN_GENERATION {
                    return Err(A::Error::invalid_length(generation.len(), &self));
                }
                generations.push(generation);
            }
            Ok(generations)
        }
    }

    deserializer.deserialize_seq(Generations)
}

impl Run {
    /// The last generation of the run.
    pub(crate) fn last(&self) -> Generation {
        self.first.saturating_add(self.generations.len() as u64).saturating_sub(1)
    }
}

impl Message {
    pub(crate) fn encode(&self) -> Bytes {
        // Serialising into memory cannot fail for these types; an empty frame would be refused as garbled.
        postcard::to_allocvec(self).unwrap_or_default().into()
    }

    /// Reads a frame. Whatever it allocates is bounded by a small multiple of the frame's length: no count is taken on trust,
    /// and nothing that many of may come in a frame is much larger in memory than it is there.
    pub(crate) fn decode(frame: &[u8]) -> Decoded<Self> {
        if frame.len() > limits::MAX_FRAME {
            return Err(DecodeError { what: "a frame larger than allowed" });
        }
        match postcard::take_from_bytes(frame) {
            Ok((message, [])) => Ok(message),
            Ok(_) => Err(DecodeError { what: "the end of a message" }),
            Err(_) => Err(DecodeError { what: "a message" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::crypto::{Ed25519, Keys, SecretKey};
    use crate::hash::Hash;
    use crate::id::SyncgroupId;
    use crate::log::generation::{Encoded, Header};
    use crate::log::tree::Tree;
    use crate::time::Hlc;

    #[test]
    fn what_is_too_short_to_be_a_generation_is_not_read() {
        let author = Author { device: crate::id::DeviceId([1; 16]), incarnation: Incarnation(1) };
        let keys = Keys::new(SecretKey([1; 32]), &Ed25519);
        let checkpoint = Checkpoint::sign(&SyncgroupId([1; 32]), &author, &Tree::default(), (&keys, 0));
        let read = |generations: Vec<Bytes>| {
            let run = Run {
                author,
                first: 1,
                generations,
                proof: Proof { checkpoint: checkpoint.clone(), completion: Vec::new() },
            };
            let message = Message::Deltas(Deltas { name: Tag::default(), runs: vec![run] });
            Message::decode(&message.encode()).map(|read| read == message)
        };
        let header = Header {
            stamp: Hlc(1),
            body: Hash::default(),
            dependencies: Vec::new(),
            batch: None,
            acknowledged: None,
        };
        let shortest = Encoded::write(header, &author, &[]).bytes;
        let wrong = Err(DecodeError { what: "a message" });
        assert_eq!(read(vec![shortest.clone(); 100]), Ok(true));
        assert_eq!(read(vec![shortest.clone(), shortest.slice(1..)]), wrong);
        // One byte each, on the wire.
        assert_eq!(read(vec![Bytes::new(); 1 << 20]), wrong);
    }
}
