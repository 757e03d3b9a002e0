//! An ordered map that mostly holds a few entries, and may hold many.
//!
//! A node of a [`BTreeMap`] has room for eleven entries, so a map of one takes what eleven take. Of what a replica keeps
//! for each link and each syncgroup most maps hold one or two; and a simulator has very many replicas. So a few entries
//! are kept in a list that has room for no more than there are, or hardly any. Many are kept in a tree: whoever sends
//! what is kept here cannot have entries moved about without end.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, btree_map};
use alloc::vec::{self, Vec};
use core::borrow::Borrow;
use core::fmt;
use core::iter::Chain;
use core::ops::Bound;

/// More entries than this are kept in a tree.
const FEW: usize = 16;

/// An ordered map, with the methods of a [`BTreeMap`].
#[derive(Clone)]
pub(crate) enum SmallMap<K, V> {
    /// In the order of keys.
    Few(Vec<(K, V)>),
    /// Boxed, so that a map is no larger than a list. It stays a tree however few are left.
    Many(Box<BTreeMap<K, V>>),
}

impl<K, V> SmallMap<K, V> {
    pub(crate) const fn new() -> Self {
        Self::Few(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many(tree) => tree.len(),
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let (list, tree) = match self {
            Self::Few(list) => (Some(list), None),
            Self::Many(tree) => (None, Some(tree)),
        };
        let few = list.into_iter().flatten().map(|(key, value)| (key, value));
        few.chain(tree.into_iter().flat_map(|tree| tree.iter()))
    }

    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&K, &mut V)> {
        let (list, tree) = match self {
            Self::Few(list) => (Some(list), None),
            Self::Many(tree) => (None, Some(tree)),
        };
        let few = list.into_iter().flatten().map(|(key, value)| (&*key, value));
        few.chain(tree.into_iter().flat_map(|tree| tree.iter_mut()))
    }

    pub(crate) fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.iter_mut().map(|(_, value)| value)
    }
}

/// Where a key is in a list, or would be.
fn place<K: Borrow<Q>, V, Q: Ord + ?Sized>(list: &[(K, V)], key: &Q) -> Result<usize, usize> {
    list.binary_search_by(|(it, _)| it.borrow().cmp(key))
}

impl<K: Ord, V> SmallMap<K, V> {
    pub(crate) fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Few(list) => {
                place(list, key).ok().and_then(|at| list.get(at)).map(|(key, value)| (key, value))
            }
            Self::Many(tree) => tree.get_key_value(key),
        }
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_key_value(key).map(|(_, value)| value)
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Few(list) => place(list, key).ok().and_then(|at| list.get_mut(at)).map(|(_, value)| value),
            Self::Many(tree) => tree.get_mut(key),
        }
    }

    pub(crate) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// Makes a tree of a full list that is to take in one more key.
    fn make_room<Q: Ord + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Few(list) if place(list, key).is_ok() => {}
            Self::Few(list) if list.len() >= FEW => {
                let list = core::mem::take(list);
                *self = Self::Many(Box::new(list.into_iter().collect()));
            }
            // Room for one more, and later for a quarter more at a time.
            Self::Few(list) if list.len() == list.capacity() => list.reserve_exact(1 + list.len() / 4),
            _ => {}
        }
    }

    /// Sets an entry, and returns the value that it had.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.make_room(&key);
        match self {
            Self::Few(list) => match place(list, &key) {
                Ok(at) => list.get_mut(at).map(|(_, before)| core::mem::replace(before, value)),
                Err(at) => {
                    list.insert(at, (key, value));
                    None
                }
            },
            Self::Many(tree) => tree.insert(key, value),
        }
    }

    /// The value of a key, which is made if there is none.
    #[allow(clippy::indexing_slicing, reason = "it has just been found there, or been put there")]
    pub(crate) fn or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.make_room(&key);
        match self {
            Self::Few(list) => {
                let at = place(list, &key).unwrap_or_else(|at| {
                    list.insert(at, (key, make()));
                    at
                });
                &mut list[at].1
            }
            Self::Many(tree) => tree.entry(key).or_insert_with(make),
        }
    }

    /// Takes an entry out.
    pub(crate) fn remove_entry<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Few(list) => place(list, key).ok().map(|at| list.remove(at)),
            Self::Many(tree) => tree.remove_entry(key),
        }
    }

    /// Takes an entry out, and returns its value.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// Keeps those entries for which this holds.
    pub(crate) fn retain(&mut self, mut keeps: impl FnMut(&K, &mut V) -> bool) {
        match self {
            Self::Few(list) => list.retain_mut(|(key, value)| keeps(key, value)),
            Self::Many(tree) => tree.retain(keeps),
        }
    }

    /// The entries with keys between two bounds, of which the first is not above the second.
    pub(crate) fn range<Q: Ord + ?Sized>(
        &self,
        bounds: (Bound<&Q>, Bound<&Q>),
    ) -> impl DoubleEndedIterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let (list, tree) = match self {
            Self::Few(list) => {
                let is_below = |(it, _): &(K, V)| match bounds.0 {
                    Bound::Included(from) => it.borrow() < from,
                    Bound::Excluded(from) => it.borrow() <= from,
                    Bound::Unbounded => false,
                };
                let is_within = |(it, _): &(K, V)| match bounds.1 {
                    Bound::Included(to) => it.borrow() <= to,
                    Bound::Excluded(to) => it.borrow() < to,
                    Bound::Unbounded => true,
                };
                let rest = list.split_at(list.partition_point(is_below)).1;
                (Some(rest.split_at(rest.partition_point(is_within)).0), None)
            }
            Self::Many(tree) => (None, Some(tree.range::<Q, _>(bounds))),
        };
        let few = list.into_iter().flatten().map(|(key, value)| (key, value));
        few.chain(tree.into_iter().flatten())
    }
}

#[cfg(test)]
impl<K: Ord, V> core::ops::Index<&K> for SmallMap<K, V> {
    type Output = V;

    fn index(&self, key: &K) -> &V {
        self.get(key).unwrap()
    }
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SmallMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// However they are kept.
impl<K: PartialEq, V: PartialEq> PartialEq for SmallMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for SmallMap<K, V> {}

impl<K, V> IntoIterator for SmallMap<K, V> {
    type Item = (K, V);
    type IntoIter = Chain<vec::IntoIter<(K, V)>, btree_map::IntoIter<K, V>>;

    fn into_iter(self) -> Self::IntoIter {
        let (list, tree) = match self {
            Self::Few(list) => (list, BTreeMap::new()),
            Self::Many(tree) => (Vec::new(), *tree),
        };
        list.into_iter().chain(tree)
    }
}

impl<K: Ord, V> Extend<(K, V)> for SmallMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SmallMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// A stream of small numbers.
    fn numbers() -> impl Iterator<Item = u32> {
        core::iter::successors(Some(7_u32), |n| Some(n.wrapping_mul(1_103_515_245).wrapping_add(12_345)))
            .map(|n| n >> 16 & 31)
    }

    fn same(small: &SmallMap<u32, usize>, tree: &BTreeMap<u32, usize>) {
        assert!(small.iter().eq(tree) && small.iter().rev().eq(tree.iter().rev()));
        assert_eq!(small.len(), tree.len());
        assert_eq!(alloc::format!("{small:?}"), alloc::format!("{tree:?}"));
        for from in 0..33 {
            assert_eq!(
                (small.get(&from), small.contains_key(&from)),
                (tree.get(&from), tree.contains_key(&from))
            );
            let to = from + 5;
            for bounds in [
                (Bound::Included(&from), Bound::Excluded(&to)),
                (Bound::Excluded(&from), Bound::Included(&to)),
                (Bound::Unbounded, Bound::Included(&to)),
                (Bound::Included(&from), Bound::Unbounded),
            ] {
                assert!(small.range(bounds).eq(tree.range(bounds)), "{bounds:?}");
                assert!(small.range(bounds).rev().eq(tree.range(bounds).rev()), "{bounds:?}");
            }
        }
    }

    #[test]
    fn it_does_what_an_ordered_map_does_with_few_entries_and_with_many() {
        for most in [4, FEW, 32] {
            let (mut small, mut tree) = (SmallMap::new(), BTreeMap::new());
            for (step, key) in numbers().take(200).enumerate() {
                match step % 4 {
                    0 => assert_eq!(small.remove(&key), tree.remove(&key)),
                    _ if tree.len() >= most && !tree.contains_key(&key) => continue,
                    1 => assert_eq!(small.or_insert_with(key, || step), tree.entry(key).or_insert(step)),
                    _ => assert_eq!(small.insert(key, step), tree.insert(key, step)),
                }
                assert_eq!(small.get_mut(&key), tree.get_mut(&key));
                same(&small, &tree);
            }
            small.iter_mut().for_each(|(key, value)| *value = *key as usize);
            tree.iter_mut().for_each(|(key, value)| *value = *key as usize);
            same(&small, &tree);
        }
    }

    #[test]
    fn two_that_hold_the_same_are_equal_however_they_came_to_it() {
        let few: SmallMap<u32, u32> = (0..3).map(|n| (n, n)).collect();
        let mut many: SmallMap<u32, u32> = (0..=FEW as u32).map(|n| (n, n)).collect();
        assert_ne!(few, many);
        (3..=FEW as u32).for_each(|n| _ = many.remove(&n));
        assert!(matches!((&few, &many), (SmallMap::Few(_), SmallMap::Many(_))));
        assert_eq!(few, many);
        assert_eq!(alloc::format!("{few:?}"), "{0: 0, 1: 1, 2: 2}".to_string());
    }

    #[test]
    fn few_entries_take_hardly_more_room_than_they_need() {
        assert_eq!(size_of::<SmallMap<[u8; 16], u64>>(), 3 * size_of::<usize>());
        let mut map = SmallMap::new();
        for n in 0..FEW {
            map.insert(n, n);
            let SmallMap::Few(list) = &map else { panic!("a tree of {n}") };
            assert!(list.capacity() <= n + 1 + n / 4, "{} for {n}", list.capacity());
        }
        map.insert(FEW, FEW);
        assert!(matches!(map, SmallMap::Many(_)));
    }
}
