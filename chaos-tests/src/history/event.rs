//! What happened around the operations: faults, leaders, phases.
//!
//! Owns the vocabulary; who records an event and who judges it stand elsewhere.

use serde::{Deserialize, Serialize};

use crate::faults::FaultClass;

/// Something other than a client's operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A fault began.
    FaultStarted {
        /// Its kind.
        class: FaultClass,
        /// For people: which brokers, how much.
        detail: String,
    },
    /// A fault did something: a host stopped, a write was held back, bytes vanished.
    FaultTookEffect {
        /// Its kind.
        class: FaultClass,
        /// How often.
        times: u64,
    },
    /// A broker was seen leading a group.
    Leader {
        /// Raft group.
        group: u64,
        /// Raft term.
        term: u64,
        /// The leader.
        broker: u32,
    },
    /// Every fault ended; from here on the cluster must make progress.
    Healed,
    /// All replicas of all groups agreed again.
    Converged,
    /// A new consumer has read every partition from its start to its end.
    Drained,
}

/// An event and when it happened, in simulated microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedEvent {
    /// Since the start.
    pub at_us: u64,
    /// What happened.
    pub event: Event,
}
