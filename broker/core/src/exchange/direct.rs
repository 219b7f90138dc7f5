//! Direct exchanges: the routing key equals the binding key.
//!
//! Knows no arguments: they tell bindings apart and do not match.

use std::sync::Arc;

use imbl::OrdMap;

use crate::exchange::targets::Targets;
use crate::exchange::{Binding, Destination};

/// Destinations by binding key.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Direct(OrdMap<Arc<[u8]>, Targets>);

impl Direct {
    pub(super) fn add(&mut self, binding: &Binding) {
        let targets = self.0.entry(Arc::clone(&binding.key)).or_default();
        targets.add(binding.destination);
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let Some(targets) = self.0.get_mut(&*binding.key) else {
            return;
        };
        targets.remove(binding.destination);
        if targets.is_empty() {
            self.0.remove(&*binding.key);
        }
    }

    pub(super) fn collect(&self, routing_key: &[u8], matched: &mut Vec<Destination>) {
        if let Some(targets) = self.0.get(routing_key) {
            targets.collect(matched);
        }
    }
}
