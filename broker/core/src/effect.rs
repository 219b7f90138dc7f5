//! What a machine asks its host to do after an entry is applied.
//!
//! Effects are harmless when repeated and when lost: the host may replay a log from an older
//! state and see them again. Every effect here is meant for every replica, not only the leader.

use crate::ids::{BrokerId, GroupNumber, LogIndex, Offset};
use crate::partition::VoidReason;
use crate::queue::QueueEvent;

/// One thing for the host to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Records below `log_end` are committed: wake the fetches that wait.
    Committed {
        /// The next offset of the partition; it is also the high watermark.
        log_end: Offset,
    },
    /// The entry took no effect on any replica: count it.
    Voided {
        /// Where the entry stands in the Raft log.
        log_index: LogIndex,
        /// Why it is void.
        reason: VoidReason,
    },
    /// A segment is full: keep a checkpoint of the state as it is now.
    Checkpoint {
        /// The last entry that the checkpoint contains.
        log_index: LogIndex,
        /// The next offset at that entry.
        log_end: Offset,
    },
    /// Records below `log_start` are gone: move the snapshot and purge.
    LogStartAdvanced {
        /// The first offset that is still readable.
        log_start: Offset,
        /// Entries at or below this log index are needed by nobody.
        floor: LogIndex,
    },
    /// The metadata image has changed: publish it.
    ImageChanged,
    /// A partition group was made or its description changed.
    GroupChanged {
        /// The group.
        group: GroupNumber,
    },
    /// A partition group is gone for ever: destroy its replica here.
    GroupRemoved {
        /// The group.
        group: GroupNumber,
    },
    /// A broker registered, was fenced or came back.
    BrokerChanged {
        /// The broker.
        broker: BrokerId,
    },
    /// Something happened to a queue.
    Queue(QueueEvent),
}

/// Collects the effects of one or more entries, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    effects: Vec<Effect>,
}

impl Effects {
    /// Makes an empty collection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an effect at the end.
    pub fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Takes everything out, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    /// Shows what is collected, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Effect] {
        &self.effects
    }

    /// Tells whether nothing is collected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }
}
