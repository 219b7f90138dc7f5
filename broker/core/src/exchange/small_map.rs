//! A sorted map that is small when it holds little and shares structure when it holds much.
//!
//! A B-tree of `imbl` takes kilobytes for a single entry, and most nodes of a trie have one child;
//! a sorted list is copied whole when a shared one is changed, and a root may have a hundred
//! thousand. So: a list up to a size, a tree beyond it. Knows nothing of what it holds.

use std::borrow::Borrow;
use std::fmt;

use imbl::OrdMap;

use crate::exchange::limits::SMALL_MAP_COUNT_MAX;

/// The map.
#[derive(Clone)]
pub(super) enum SmallMap<K, V> {
    /// Sorted by key.
    Few(Vec<(K, V)>),
    /// More than the list may hold.
    Many(OrdMap<K, V>),
}

impl<K: Ord + Clone, V: Clone> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<K: Ord + Clone + fmt::Debug, V: Clone + fmt::Debug> fmt::Debug for SmallMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Compares the entries, not how they are kept.
impl<K: Ord + Clone, V: Clone + PartialEq> PartialEq for SmallMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<K: Ord + Clone, V: Clone> SmallMap<K, V> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many(tree) => tree.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self {
            Self::Few(list) => {
                let at = find(list, key).ok()?;
                list.get(at).map(|(_, value)| value)
            }
            Self::Many(tree) => tree.get(key),
        }
    }

    pub(super) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self {
            Self::Few(list) => {
                let at = find(list, key).ok()?;
                list.get_mut(at).map(|(_, value)| value)
            }
            Self::Many(tree) => tree.get_mut(key),
        }
    }

    /// Puts an entry in, or replaces its value.
    pub(super) fn insert(&mut self, key: K, value: V) {
        match self {
            Self::Many(tree) => {
                tree.insert(key, value);
            }
            Self::Few(list) => match find(list, key.borrow()) {
                Ok(at) => list[at].1 = value,
                Err(at) => {
                    list.insert(at, (key, value));
                    if list.len() > SMALL_MAP_COUNT_MAX {
                        *self = Self::Many(std::mem::take(list).into_iter().collect());
                    }
                }
            },
        }
    }

    pub(super) fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self {
            Self::Few(list) => {
                if let Ok(at) = find(list, key) {
                    list.remove(at);
                }
            }
            Self::Many(tree) => {
                tree.remove(key);
                // Half the size, so that one entry coming and going does not turn it each time.
                if tree.len() <= SMALL_MAP_COUNT_MAX / 2 {
                    *self = Self::Few(std::mem::take(tree).into_iter().collect());
                }
            }
        }
    }

    /// Shows the entries by ascending key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let (few, many) = match self {
            Self::Few(list) => (Some(list), None),
            Self::Many(tree) => (None, Some(tree)),
        };
        let few = few.into_iter().flatten().map(|(key, value)| (key, value));
        few.chain(many.into_iter().flatten())
    }
}

fn find<K, V, Q>(list: &[(K, V)], key: &Q) -> Result<usize, usize>
where
    K: Borrow<Q>,
    Q: Ord + ?Sized,
{
    list.binary_search_by(|(other, _)| other.borrow().cmp(key))
}
