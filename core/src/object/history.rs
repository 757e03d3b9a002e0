//! The history of a row: its versions lead on to their parents, in the log (S-15).
//!
//! Every walk goes from the latest stamp to the earliest. A stamp lies above all stamps in its causal past,
//! and above those of all versions that it builds on, which is checked before a generation is applied. So a version comes
//! up only after all its descendants: what is known of it by then is final, and a walk can stop as soon as nothing
//! that is left can change its answer.
//! So it costs what lies between the heads and the answer, and not the length of the history; and where something is a copy
//! of what its device had written on another branch of its log (S-26), what lies above that.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::row::{HeadContent, RowHead};
use crate::hash::Tag;
use crate::id::{Author, Generation, Version};
use crate::log::record::{Content, RowRecord};
use crate::store::Fault;
use crate::store::key::AuthorIx;
use crate::time::Hlc;

/// A version, with its author as a local number.
pub(crate) type Place = (AuthorIx, Generation);

/// A version of the row, as its record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// The stamp of its generation.
    pub(crate) stamp: Hlc,
    /// The batch that its generation is a part of, if that touched several syncgroups.
    pub(crate) batch: Option<[u8; 16]>,
    /// The tag of the leaf of its generation.
    pub(crate) leaf: Tag,
    pub(crate) record: RowRecord,
    /// Whether it is void: it leads on to its parents, and counts for nothing else (S-11).
    pub(crate) void: bool,
}

/// Where the versions of one row are looked up.
pub(crate) trait Versions {
    /// The version at a place; `None` if the generation is not held or does not change the row, in which case
    /// it is nobody's parent.
    fn node(&self, place: Place) -> Result<Option<Node>, Fault>;

    fn author(&self, ix: AuthorIx) -> Result<Author, Fault>;

    fn author_ix(&self, author: &Author) -> Result<Option<AuthorIx>, Fault>;
}

/// Versions still to be visited, by their stamps, each with what is known of it.
struct Queue<'v, V: ?Sized, K> {
    versions: &'v V,
    waiting: BTreeMap<(Hlc, Version), (Place, Node, K)>,
    /// The stamps of those that were added: each comes up once, whatever a damaged store says.
    stamps: BTreeMap<Version, Hlc>,
    /// How many versions may still be read.
    reads: usize,
}

impl<'v, V: Versions + ?Sized, K> Queue<'v, V, K> {
    fn new(versions: &'v V, reads: usize) -> Self {
        Self { versions, waiting: BTreeMap::new(), stamps: BTreeMap::new(), reads }
    }

    /// Adds a version, or what another way to it has shown. `false` if no more may be read.
    fn add(&mut self, place: Place, known: K, join: impl FnOnce(&mut K, K)) -> Result<bool, Fault> {
        let version = Version { author: self.versions.author(place.0)?, generation: place.1 };
        if let Some(stamp) = self.stamps.get(&version) {
            if let Some((.., before)) = self.waiting.get_mut(&(*stamp, version)) {
                join(before, known);
            }
            return Ok(true);
        }
        let Some(left) = self.reads.checked_sub(1) else { return Ok(false) };
        self.reads = left;
        if let Some(node) = self.versions.node(place)? {
            self.stamps.insert(version, node.stamp);
            self.waiting.insert((node.stamp, version), (place, node, known));
        }
        Ok(true)
    }

    fn next(&mut self) -> Option<(Version, Place, Node, K)> {
        self.waiting.pop_last().map(|((_, version), (place, node, known))| (version, place, node, known))
    }

    fn parents(&self, node: &Node) -> Result<Vec<Place>, Fault> {
        let mut places = Vec::with_capacity(node.record.parents.len());
        for parent in &node.record.parents {
            if let Some(ix) = self.versions.author_ix(&parent.author)? {
                places.push((ix, parent.generation));
            }
        }
        Ok(places)
    }
}

/// What counts of a row.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    /// The versions that no other one has in its past.
    pub(crate) heads: Vec<RowHead>,
    /// The puts and deletes that no other put or delete has in its past.
    pub(crate) bases: Vec<RowHead>,
    /// The operations that no put or delete has in its past.
    pub(crate) live: Vec<(Place, Node)>,
}

/// Which version something is the same as, and its leaf: a device's versions of one number are not the same where its log
/// is forked (S-26).
type Same = (Version, Tag);

impl Node {
    /// The version that this one copies, in another log of its device.
    pub(crate) fn copies(&self, author: &Author) -> Option<Same> {
        let copied = self.record.repeats.filter(|it| it.version.author.device == author.device)?;
        Some((copied.version, copied.copies?))
    }

    fn same(&self, version: &Version) -> Same {
        self.copies(&version.author).unwrap_or((*version, self.leaf))
    }
}

/// A version that no put or delete has in its past.
struct Uncovered {
    version: Version,
    place: Place,
    node: Node,
    /// Whether some other one that counts has it in its past.
    known: bool,
    /// Whether it counts itself.
    counts: bool,
}

/// What a walk has found.
#[derive(Default)]
struct Walk {
    uncovered: Vec<Uncovered>,
    /// What a put or a delete has in its past, under whatever name.
    covered: BTreeSet<Same>,
}

/// Finds what counts of a row, from some of its versions on, among which are all that nothing else has in its past.
/// Costs what lies above the bases.
///
/// What a device has written again of a branch of its log (S-26) counts beneath what others have built on it under its
/// old name, and of several copies one counts.
pub(crate) fn counting<V: Versions + ?Sized>(versions: &V, tips: &[Place]) -> Result<Counting, Fault> {
    let mut walk = Walk::from(versions, tips, None)?;
    let copies = walk.uncovered.iter().filter(|it| it.node.copies(&it.version.author).is_some());
    let copied = copies.filter_map(|it| Some(it.node.record.repeats?.stamp));
    if let Some(first) = copied.min() {
        walk = Walk::from(versions, tips, Some(first))?;
        walk.discount_copies();
    }
    let mut counting = Counting::default();
    for Uncovered { place, node, known, counts, .. } in walk.uncovered {
        // A copy that does not count stays a head like an operation that has no effect: should what replaced it turn out to
        // be void, it is found again from here.
        let content = if counts { content(&node) } else { HeadContent::Operate };
        let is_base = content != HeadContent::Operate;
        let head = RowHead { author: place.0, generation: place.1, stamp: node.stamp, content };
        if is_base {
            counting.bases.push(head.clone());
        } else if counts {
            counting.live.push((place, node));
        }
        if !known {
            counting.heads.push(head);
        }
    }
    Ok(counting)
}

fn content(node: &Node) -> HeadContent {
    match &node.record.content {
        Content::Operate(_) => HeadContent::Operate,
        Content::Put(value) => HeadContent::Put(value.clone()),
        Content::Delete => HeadContent::Delete,
    }
}

impl Walk {
    /// Walks as far as something counts; or further, as far as to what is stamped so, to see whether what has copies lies in
    /// somebody's past.
    fn from<V: Versions + ?Sized>(versions: &V, tips: &[Place], first: Option<Hlc>) -> Result<Self, Fault> {
        // What is known of a version: whether one that counts has it in its past, and whether a put or a delete has.
        let mut queue: Queue<'_, V, (bool, bool)> = Queue::new(versions, usize::MAX);
        let join = |before: &mut (bool, bool), more: (bool, bool)| {
            *before = (before.0 | more.0, before.1 | more.1);
        };
        for tip in tips {
            queue.add(*tip, (false, false), join)?;
        }
        let mut walk = Self::default();
        while queue.waiting.values().any(|(.., (_, covered))| !covered)
            || first.is_some() && queue.waiting.last_key_value().map(|((stamp, _), _)| *stamp) >= first
        {
            let Some((version, place, node, (known, covered))) = queue.next() else { break };
            let is_base = !matches!(node.record.content, Content::Operate(_));
            for parent in queue.parents(&node)? {
                queue.add(parent, (known || !node.void, covered || is_base && !node.void), join)?;
            }
            if first.is_some() {
                walk.covered.extend(covered.then(|| node.same(&version)));
            }
            if !node.void && !covered {
                walk.uncovered.push(Uncovered { version, place, node, known, counts: true });
            }
        }
        if first.is_some() {
            let waiting = queue.waiting.iter().filter(|(_, (.., (_, covered)))| *covered);
            walk.covered.extend(waiting.map(|((_, version), (_, node, _))| node.same(version)));
        }
        Ok(walk)
    }

    /// Finds which copies do not count: those of what a put or a delete has in its past, and all but one of the same.
    fn discount_copies(&mut self) {
        let Self { uncovered, covered, .. } = self;
        uncovered.sort_by_key(|it| it.version);
        let mut found = BTreeSet::new();
        for it in uncovered {
            let is_first = found.insert(it.node.same(&it.version));
            let copied = it.node.copies(&it.version.author);
            it.counts = copied.is_none_or(|copied| is_first && !covered.contains(&copied));
        }
    }
}

/// The nearest common ancestor of some heads: of their common ancestors that have no other such descendant the
/// last by `(stamp, version)`, so the same one everywhere, also where merges crossed. A head that is an
/// ancestor of all others is one; one that is void is none. `None` if there is none, or none within `limit` versions read.
pub(crate) fn common_ancestor<V: Versions + ?Sized>(
    versions: &V,
    heads: &[Place],
    limit: usize,
) -> Result<Option<(Place, Node)>, Fault> {
    // What is known of a version: which heads have it in their past.
    let mut queue: Queue<'_, V, Vec<bool>> = Queue::new(versions, limit);
    let join = |before: &mut Vec<bool>, more: Vec<bool>| {
        before.iter_mut().zip(more).for_each(|(before, more)| *before |= more);
    };
    for (at, head) in heads.iter().enumerate() {
        if !queue.add(*head, (0..heads.len()).map(|other| other == at).collect(), join)? {
            return Ok(None);
        }
    }
    while let Some((_, place, node, reached)) = queue.next() {
        if reached.iter().all(|reached| *reached) && !node.void {
            return Ok(Some((place, node)));
        }
        for parent in queue.parents(&node)? {
            if !queue.add(parent, reached.clone(), join)? {
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// The versions of a row from its heads on, the last first, `limit` at most. A version may have more parents than
/// that: those that are not read for it are left out.
pub(crate) fn versions<V: Versions + ?Sized>(
    versions: &V,
    heads: &[Place],
    limit: usize,
) -> Result<Vec<(Place, Node)>, Fault> {
    let mut queue: Queue<'_, V, ()> =
        Queue::new(versions, limit.saturating_mul(2).saturating_add(heads.len()));
    for head in heads {
        queue.add(*head, (), |(), ()| ())?;
    }
    let mut found = Vec::new();
    while found.len() < limit
        && let Some((_, place, node, ())) = queue.next()
    {
        for parent in queue.parents(&node)? {
            queue.add(parent, (), |(), ()| ())?;
        }
        found.push((place, node));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
