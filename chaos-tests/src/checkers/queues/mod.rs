//! Judges of what happened to queues: total-queue and set-full, in Jepsen's words, and what AMQP adds.
//!
//! What is promised. A confirmed message is in every queue that its exchange names, until a consumer acks it,
//! or rejects it for good where nothing is made of dead letters; one that dies elsewhere is published to its
//! dead-letter queue, at least once (`lost`). Nothing is delivered that nobody published, nor what was
//! returned to its publisher (`unexpected`). A publish is enqueued once, and so are all that have the same
//! id in a queue that deduplicates (`duplicate`). A message that comes again says so (`redelivered`).
//! Settled is settled, *once a later method of the same channel about the same queue was answered*: an
//! ack alone is never answered, and one that is lost with its connection is none (`settled`). A single
//! active consumer gets each publisher's messages in their order (`order`). A message that is to wait does
//! (`early`); one of a higher priority goes first (`priority`). A purge, once answered, has left nothing of
//! what was ready before (`purged`), and takes nothing that is published behind it; a queue that drops its
//! oldest messages never has more than its limit (`too_long`), and drops none before it has so many (`gone`).
//!
//! Source: `jepsen.checker` (`total-queue`, `set-full`), RabbitMQ's documentation of quorum queues.

mod coverage;
mod duplicate;
mod early;
mod gone;
mod lost;
mod order;
mod priority;
mod purged;
mod redelivered;
mod settled;
#[cfg(test)]
mod testing;
mod too_long;
mod unexpected;

pub use coverage::QueueCoverage;
pub(crate) use lost::unaccounted;

use super::Anomaly;
use crate::history::QueueHistory;

/// Judges everything.
pub(crate) fn check(history: &QueueHistory) -> Vec<Anomaly> {
    let mut anomalies = lost::check(history);
    anomalies.extend(unexpected::check(history));
    anomalies.extend(duplicate::check(history));
    anomalies.extend(redelivered::check(history));
    anomalies.extend(settled::check(history));
    anomalies.extend(order::check(history));
    anomalies.extend(early::check(history));
    anomalies.extend(priority::check(history));
    anomalies.extend(purged::check(history));
    anomalies.extend(too_long::check(history));
    anomalies
}

#[cfg(test)]
mod tests {
    use super::testing::Script;
    use super::*;
    use crate::history::{Queue, Route, Settlement};

    #[test]
    fn an_ordinary_history_is_good() {
        let mut script = Script::new();
        script.publish_ok(1, Route::To(Queue::Work));
        script.publish_ok(2, Route::To(Queue::Limited));
        script.publish_ok(3, Route::Fanout);
        script.settled(1, Queue::Work, 1, Settlement::Acked);
        script.settled(1, Queue::Work, 3, Settlement::Returned);
        script.again(1, Queue::Work, 3, Settlement::Acked);
        script.settled(2, Queue::Copies, 3, Settlement::Acked);
        script.settled(3, Queue::Limited, 2, Settlement::Rejected);
        script.died(4, Queue::Limited, 2, Settlement::Acked);

        assert_eq!(check(&script.drained()), Vec::new());
    }
}
