//! The last offset of each key in the dirty part of a log, bounded in bytes.
//!
//! Keeps whole keys, not hashes of them as Kafka does: two keys are never taken for one. Does not
//! know records.

use std::collections::BTreeMap;

use crate::ids::Offset;

/// Memory that one key takes beside its bytes, roughly.
const KEY_OVERHEAD_BYTES: usize = 64;

/// See the module.
#[derive(Debug, Clone)]
pub struct KeyMap {
    newest: BTreeMap<Box<[u8]>, Offset>,
    bytes: usize,
    bytes_max: usize,
}

impl KeyMap {
    /// An empty map that is full at `bytes_max` bytes.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self {
            newest: BTreeMap::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Whether a batch with keys of `bytes` bytes, `count` of them new, still fits. An empty map
    /// takes any one batch, so that a pass always gets on.
    #[must_use]
    pub fn has_room(&self, count: usize, bytes: usize) -> bool {
        let more = bytes.saturating_add(count.saturating_mul(KEY_OVERHEAD_BYTES));
        self.newest.is_empty() || self.bytes.saturating_add(more) <= self.bytes_max
    }

    /// Takes note of a record; offsets come in ascending order.
    pub fn observe(&mut self, key: &[u8], offset: Offset) {
        if let Some(known) = self.newest.get_mut(key) {
            *known = offset.max(*known);
            return;
        }
        self.bytes += key.len() + KEY_OVERHEAD_BYTES;
        self.newest.insert(key.into(), offset);
    }

    /// The last offset of a key that was observed.
    #[must_use]
    pub fn newest(&self, key: &[u8]) -> Option<Offset> {
        self.newest.get(key).copied()
    }

    /// Whether the key is known.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.newest.contains_key(key)
    }

    /// Counts the keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.newest.len()
    }

    /// Tells whether no key was observed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }
}
