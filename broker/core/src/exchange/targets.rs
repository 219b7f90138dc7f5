//! The destinations behind one key: each once, however many bindings lead there.
//!
//! Bindings that differ in their arguments only share a key, so a destination is counted. Does not
//! know the bindings themselves.

use crate::exchange::Destination;
use crate::exchange::small_map::SmallMap;

/// Destinations with how many bindings lead to each.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Targets(SmallMap<Destination, u32>);

impl Targets {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, destination: Destination) {
        match self.0.get_mut(&destination) {
            Some(count) => *count = count.saturating_add(1),
            None => self.0.insert(destination, 1),
        }
    }

    pub(super) fn remove(&mut self, destination: Destination) {
        match self.0.get_mut(&destination) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => self.0.remove(&destination),
            None => {}
        }
    }

    /// Adds the destinations to what has matched.
    pub(super) fn collect(&self, matched: &mut Vec<Destination>) {
        match &self.0 {
            SmallMap::Few(list) => matched.extend(list.iter().map(|(to, _)| *to)),
            SmallMap::Many(tree) => matched.extend(tree.keys()),
        }
    }
}
