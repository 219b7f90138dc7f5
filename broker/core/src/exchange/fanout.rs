//! Fanout exchanges: every binding. Knows neither keys nor arguments.

use crate::exchange::targets::Targets;
use crate::exchange::{Binding, Destination};

/// All destinations.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fanout(Targets);

impl Fanout {
    pub(super) fn add(&mut self, binding: &Binding) {
        self.0.add(binding.destination);
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.0.remove(binding.destination);
    }

    pub(super) fn collect(&self, matched: &mut Vec<Destination>) {
        self.0.collect(matched);
    }
}
