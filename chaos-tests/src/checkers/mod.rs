//! Judges of a history: one property a file, in Jepsen's definitions.
//!
//! A checker takes a finished [`History`] and returns what violates its property. Checkers know
//! no broker and no simulator, so they judge a history of real processes as well.
//!
//! Source: `jepsen.tests.kafka`, `jepsen.redpanda`.

mod aborted_read;
mod at_most_once;
pub mod coverage;
mod duplicate;
mod high_watermark;
mod inconsistent_offsets;
pub(crate) mod kept;
mod lost_write;
mod nonmonotonic_poll;
mod nonmonotonic_send;
mod one_leader;
mod order;
mod phantom_read;
mod poll_skip;
pub(crate) mod queues;
#[cfg(test)]
pub(crate) mod testing;
mod unseen;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::History;
pub use order::{PartitionOrder, VersionOrder};

/// What must hold of every history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Property {
    /// No committed write below a read position stays unread.
    LostWrite,
    /// After the final drain every acknowledged value was read.
    Unseen,
    /// A value of a deduplicating producer stands at one offset.
    Duplicate,
    /// An offset holds one value.
    InconsistentOffsets,
    /// A consumer never goes back.
    NonmonotonicPoll,
    /// A consumer never jumps over a record.
    PollSkip,
    /// A producer's records keep their order.
    NonmonotonicSend,
    /// A value whose send failed is never read (G1a).
    AbortedRead,
    /// A value that nobody sent is never read.
    PhantomRead,
    /// The high watermark never goes back, and nothing above it is shown.
    HighWatermark,
    /// A term of a group has one leader.
    OneLeader,
    /// What is sent or processed without repetition never appears twice.
    AtMostOnce,
    /// What stands at or above the log start is there.
    Retained,
    /// The log start never goes back, nor further than somebody asked.
    LogStart,
    /// The newest record of a key survives compaction.
    NewestOfKey,
    /// A confirmed message stays until a consumer is done with it.
    QueueLost,
    /// A message that nobody published is never delivered.
    QueueUnexpected,
    /// A publish is enqueued once, and so is what a queue deduplicates.
    QueueDuplicate,
    /// A message that comes again says so.
    QueueRedelivered,
    /// What was certainly settled does not come again.
    QueueSettled,
    /// A single active consumer gets a publisher's messages in their order.
    QueueOrder,
    /// A message that is to wait does.
    QueueEarly,
    /// A message of a higher priority goes first.
    QueuePriority,
    /// What was ready when a queue was purged is gone.
    QueuePurged,
    /// A queue with a limit never has more messages.
    QueueTooLong,
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LostWrite => "lost-write",
            Self::Unseen => "unseen",
            Self::Duplicate => "duplicate",
            Self::InconsistentOffsets => "inconsistent-offsets",
            Self::NonmonotonicPoll => "nonmonotonic-poll",
            Self::PollSkip => "poll-skip",
            Self::NonmonotonicSend => "nonmonotonic-send",
            Self::AbortedRead => "aborted-read",
            Self::PhantomRead => "phantom-read",
            Self::HighWatermark => "high-watermark",
            Self::OneLeader => "one-leader",
            Self::AtMostOnce => "at-most-once",
            Self::Retained => "retained",
            Self::LogStart => "log-start",
            Self::NewestOfKey => "newest-of-key",
            Self::QueueLost => "queue-lost",
            Self::QueueUnexpected => "queue-unexpected",
            Self::QueueDuplicate => "queue-duplicate",
            Self::QueueRedelivered => "queue-redelivered",
            Self::QueueSettled => "queue-settled",
            Self::QueueOrder => "queue-order",
            Self::QueueEarly => "queue-early",
            Self::QueuePriority => "queue-priority",
            Self::QueuePurged => "queue-purged",
            Self::QueueTooLong => "queue-too-long",
        })
    }
}

/// One violation of one property.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// What was violated.
    pub property: Property,
    /// Where and how, with the numbers.
    pub detail: String,
}

impl Anomaly {
    const fn new(property: Property, detail: String) -> Self {
        Self { property, detail }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.detail)
    }
}

/// Runs every checker; empty = the history is good.
#[must_use]
pub fn check_all(history: &History) -> Vec<Anomaly> {
    let order = VersionOrder::of(history);
    let mut anomalies = lost_write::check(history, &order);
    anomalies.extend(unseen::check(history, &order));
    anomalies.extend(duplicate::check(history, &order));
    anomalies.extend(inconsistent_offsets::check(&order));
    anomalies.extend(nonmonotonic_poll::check(history));
    anomalies.extend(poll_skip::check(history, &order));
    anomalies.extend(nonmonotonic_send::check(history, &order));
    anomalies.extend(aborted_read::check(history));
    anomalies.extend(phantom_read::check(history));
    anomalies.extend(high_watermark::check(history));
    anomalies.extend(one_leader::check(history));
    anomalies.extend(at_most_once::check(history, &order));
    anomalies
}

#[cfg(test)]
mod tests {
    use super::testing::Script;
    use super::*;

    #[test]
    fn an_empty_history_is_good() {
        assert_eq!(check_all(&History::default()), Vec::new());
    }

    #[test]
    fn an_ordinary_history_is_good() {
        let mut script = Script::new();
        for value in 0..5 {
            script.send_ok(0, value, i64::try_from(value).unwrap());
        }
        script.poll(1, 0, &[(0, 0), (1, 1)]);
        script.poll(1, 0, &[(2, 2), (3, 3), (4, 4)]);
        script.drained();

        assert_eq!(check_all(&script.history()), Vec::new());
    }

    #[test]
    fn every_property_has_its_own_name() {
        let anomaly = Anomaly::new(Property::LostWrite, "partition 0".to_owned());

        assert_eq!(anomaly.to_string(), "lost-write: partition 0");
    }
}
