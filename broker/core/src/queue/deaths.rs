//! The history of a message that was dead-lettered (`x-death`), and the rule that ends cycles.
//!
//! Pure rules for whoever publishes a dead letter; the front end turns them into header tables.
//! Source: RabbitMQ's dead letter exchanges (`x-death`, "automatically dropped cycles").

use crate::queue::event::DeathReason;

/// Everything that died in one queue for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// The queue it died in.
    pub queue: String,
    /// Why.
    pub reason: DeathReason,
    /// How often.
    pub count: u64,
    /// The exchange it had been published to, the first time.
    pub exchange: String,
    /// The routing keys it had been published with (CC, too, not BCC), the first time.
    pub routing_keys: Vec<String>,
    /// When, the first time, seconds since 1970.
    pub time_s: u64,
    /// The `expiration` that the message had, if it expired by it: it is taken off, so that it does
    /// not expire again.
    pub original_expiration: Option<String>,
}

/// The deaths of one message, the most recent first, one of each queue and reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deaths {
    /// The most recent first.
    pub deaths: Vec<Death>,
}

impl Deaths {
    /// Adds a death: a known pair of queue and reason is counted up and comes first.
    pub fn record(&mut self, death: Death) {
        let is_same = |known: &Death| known.queue == death.queue && known.reason == death.reason;
        let Some(at) = self.deaths.iter().position(is_same) else {
            self.deaths.insert(0, death);
            return;
        };
        self.deaths[at].count = self.deaths[at].count.saturating_add(1);
        self.deaths[..=at].rotate_right(1);
    }

    /// Whether a message with this history must not be routed to `queue`: it died there before, and
    /// no client has rejected it since. Without the rule it would go round for ever.
    #[must_use]
    pub fn is_cycle(&self, queue: &str) -> bool {
        let mut since = self.deaths.iter();
        since
            .find(|death| death.reason == DeathReason::Rejected || death.queue == queue)
            .is_some_and(|death| death.reason != DeathReason::Rejected)
    }
}
