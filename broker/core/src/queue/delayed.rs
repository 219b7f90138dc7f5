//! Messages that are not ready yet (`x-delay`): they join the end of the queue when they are due.
//!
//! Deviation: RabbitMQ's plug-in holds them in the exchange and routes them when they are due; here
//! they are routed first and replicated like everything else.

use std::collections::{BTreeMap, BTreeSet};

use crate::queue::message::MessageRef;

/// When and which: the order in which messages become due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    /// Replicated time, milliseconds.
    pub(super) at_ms: i64,
    pub(super) message: MessageRef,
}

/// What is needed of a message when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Postponed {
    pub(super) size: u32,
    pub(super) priority: u8,
    pub(super) ttl_ms: Option<u64>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Delayed {
    pub(super) map: BTreeMap<Due, Postponed>,
    pub(super) dirty: BTreeSet<Due>,
}

impl Delayed {
    pub(super) fn insert(&mut self, due: Due, postponed: Postponed) {
        self.map.insert(due, postponed);
        self.dirty.insert(due);
    }

    pub(super) fn next_ms(&self) -> Option<i64> {
        self.map.first_key_value().map(|(due, _)| due.at_ms)
    }

    pub(super) fn pop_due(&mut self, now_ms: i64) -> Option<(Due, Postponed)> {
        if self.next_ms()? > now_ms {
            return None;
        }
        let (due, postponed) = self.map.pop_first()?;
        self.dirty.insert(due);
        Some((due, postponed))
    }

    pub(super) fn clear(&mut self) {
        self.dirty.extend(self.map.keys().copied());
        self.map.clear();
    }
}
