//! What is held of a syncgroup, as one hash: the sum over all authors of what is held of each.
//!
//! Replicas compare it when a while has passed since something came, and not with every generation. So what an author
//! adds is hashed only when somebody asks, however much has come since the last time.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

use crate::hash::{self, Hash, SetDigest};
use crate::id::Author;
use crate::log::Log;
use crate::log::tree::Tree;
use crate::replica::authors::Authors;
use crate::small::SmallMap;
use crate::store::key::AuthorIx;
use crate::syncgroup::group::Reach;

/// Logs, as far as they count.
#[derive(Clone, Copy)]
pub(crate) struct Counted<'a> {
    pub(crate) logs: &'a SmallMap<AuthorIx, Box<Log>>,
    pub(crate) forked: &'a BTreeMap<AuthorIx, Reach>,
}

impl<'a> Counted<'a> {
    /// What counts of an author's log; `None` if nothing is held.
    pub(crate) fn tree(self, author: AuthorIx) -> Option<&'a Tree> {
        let log = self.logs.get(&author)?;
        let tree = self.forked.get(&author).map_or(&log.tree, |reach| &reach.tree);
        (tree.size() > 0).then_some(tree)
    }
}

/// The sum, and which parts of it are out of date.
#[derive(Clone, Default)]
pub(crate) struct Knowledge {
    sum: SetDigest,
    /// What the sum counts of each author, by author.
    counted: Vec<(AuthorIx, Hash)>,
    /// Whose logs have changed since.
    grown: BTreeSet<AuthorIx>,
}

/// It follows from the logs, whenever it was last brought up to date: two that differ in that are one state.
impl fmt::Debug for Knowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Knowledge")
    }
}

impl Knowledge {
    /// An author's log has grown, or is shorter than it was.
    pub(crate) fn grow(&mut self, author: AuthorIx) {
        self.grown.insert(author);
    }

    /// The sum over these logs.
    pub(crate) fn digest(&self, logs: &Counted<'_>, authors: &Authors) -> SetDigest {
        let mut sum = self.sum;
        for ix in &self.grown {
            if let Ok(at) = self.place(*ix) {
                self.counted.get(at).iter().for_each(|(_, hash)| sum.remove(hash));
            }
            known(*ix, logs, authors).iter().for_each(|hash| sum.add(hash));
        }
        sum
    }

    /// Brings the sum up to date, so that the next one who asks need not hash the same again.
    pub(crate) fn settle(&mut self, logs: &Counted<'_>, authors: &Authors) {
        for ix in core::mem::take(&mut self.grown) {
            let hash = known(ix, logs, authors);
            hash.iter().for_each(|hash| self.sum.add(hash));
            match (self.place(ix), hash) {
                (Ok(at), Some(hash)) => {
                    if let Some((_, counted)) = self.counted.get_mut(at) {
                        self.sum.remove(counted);
                        *counted = hash;
                    }
                }
                (Ok(at), None) => self.sum.remove(&self.counted.remove(at).1),
                (Err(at), Some(hash)) => self.counted.insert(at, (ix, hash)),
                (Err(_), None) => {}
            }
        }
    }

    fn place(&self, author: AuthorIx) -> Result<usize, usize> {
        self.counted.binary_search_by_key(&author, |(ix, _)| *ix)
    }
}

/// What an author's log adds: numbers *and* content.
fn known(ix: AuthorIx, logs: &Counted<'_>, authors: &Authors) -> Option<Hash> {
    let (tree, author): (_, Author) = (logs.tree(ix)?, authors.get(ix)?);
    let incarnation = author.incarnation.0.to_le_bytes();
    let parts: [&[u8]; 4] = [&author.device.0, &incarnation, &tree.size().to_le_bytes(), &tree.root().0];
    Some(hash::derive(hash::KNOWLEDGE, &parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DeviceId, Incarnation};

    #[test]
    fn it_follows_from_the_logs_alone_whenever_it_is_settled() {
        let mut authors = Authors::default();
        for n in 0..3 {
            authors.push(Author { device: DeviceId([n; 16]), incarnation: Incarnation(1) });
        }
        let mut logs: SmallMap<AuthorIx, Box<Log>> = SmallMap::new();
        let (mut lazy, mut eager) = (Knowledge::default(), Knowledge::default());
        let mut seen = BTreeSet::new();
        for (step, ix) in [0, 1, 0, 0, 2, 1, 2, 2, 0].into_iter().enumerate() {
            logs.or_insert_with(ix, Box::default).tree.append(hash::derive(hash::LEAF, &[&[step as u8]]));
            let counted = Counted { logs: &logs, forked: &BTreeMap::new() };
            lazy.grow(ix);
            eager.grow(ix);
            eager.settle(&counted, &authors);
            if step == 4 {
                lazy.settle(&counted, &authors);
            }
            let digest = lazy.digest(&counted, &authors);
            assert_eq!(digest, eager.digest(&counted, &authors));
            assert!(seen.insert(digest), "each step is something else to know");
            let mut anew = Knowledge::default();
            logs.keys().for_each(|ix| anew.grow(*ix));
            assert_eq!(anew.digest(&counted, &authors), digest, "as after a boot");
        }
    }
}
